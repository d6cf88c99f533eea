"""What does one event's score cost: native, and by everything that people run models with?

    rows of features in memory --> one model, one row a call --> outputs, compared with ONNX Runtime's     one core

    native, C API                    measured in C: model_run over both executors (hotpath/models/timing.py)
    Python run, IO binding,          measured in Python, by its clock: what a Python strategy pays
    LightGBM's and XGBoost's own

Candidates take turns in rounds. A span holds one reading of its clock.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import BenchError, Finding, Options, Table, ns_text, pinned
from hotpath.models.compile import compile_model
from hotpath.models.executor import Floats, NativeModel
from hotpath.models.ort import OrtModel, plan_of
from hotpath.models.timing import latency, spans

NEEDED = ("onnx", "onnxruntime", "skl2onnx", "onnxmltools", "lightgbm", "xgboost", "sklearn")
ROUNDS = 5
AIM_DENSE, AIM_TREES = 25.0, 5.0
Timings = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """A model, rows for it, and its own library's predictors by name."""

    name: str
    onnx: bytes
    rows: Floats
    own: dict[str, Callable[[Floats], Any]]
    aim: float = 0.0
    """Times quicker than Python's `run` that is aimed at; 0: none."""


# ---- families ------------------------------------------------------------------------------------------------


def _data(features: int, rows: int = 4000) -> tuple[Floats, Floats]:
    random = np.random.default_rng(1)
    values = random.normal(size=(rows, features)).astype(np.float32)
    target = values @ random.normal(size=features) + np.sin(3 * values[:, 0]) * 2
    return values, target.astype(np.float32)


def _initializer(name: str, values: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def _graph(nodes: list[Any], tensors: list[Any], shape: list[int], outputs: list[int]) -> bytes:
    """A file of hand-written nodes, from x to y."""
    from onnx import TensorProto, helper

    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", outputs))
    ]
    graph = helper.make_graph(nodes, "bench", ports[:1], ports[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def dense(*sizes: int, aim: float = 0.0) -> Family:
    """Linear layers with ReLU between them."""
    from onnx import helper

    random = np.random.default_rng(2)
    nodes, tensors, at = [], [], "x"
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        tensors += [
            _initializer(f"w{index}", random.normal(size=(outputs, inputs)) / np.sqrt(inputs)),
            _initializer(f"b{index}", random.normal(size=outputs)),
        ]
        made = "y" if last else f"z{index}"
        nodes.append(helper.make_node("Gemm", [at, f"w{index}", f"b{index}"], [made], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [made], [f"a{index}"]))
            at = f"a{index}"
    name = ("MLP " if len(sizes) > 2 else "linear ") + "-".join(map(str, sizes))
    return Family(name, _graph(nodes, tensors, [1, sizes[0]], [1, sizes[-1]]), _data(sizes[0])[0], {}, aim)


def recurrent(kind: str, *, inputs: int = 32, hidden: int = 32) -> Family:
    """One step, and a head."""
    from onnx import helper

    random = np.random.default_rng(3)
    gates = {"GRU": 3, "LSTM": 4}[kind]
    tensors = [
        _initializer("w", random.normal(size=(1, gates * hidden, inputs)) / 6),
        _initializer("r", random.normal(size=(1, gates * hidden, hidden)) / 6),
        _initializer("b", random.normal(size=(1, 2 * gates * hidden)) / 6),
        _initializer("head", random.normal(size=(1, hidden))),
        _initializer("bias", [0.1]),
    ]
    more: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [
        helper.make_node(kind, ["x", "w", "r", "b"], ["", "h"], hidden_size=hidden, **more),
        helper.make_node("Flatten", ["h"], ["flat"], axis=2),
        helper.make_node("Gemm", ["flat", "head", "bias"], ["y"], transB=1),
    ]
    return Family(f"{kind} step, hidden {hidden}", _graph(nodes, tensors, [1, 1, inputs], [1, 1]), _data(inputs)[0], {})


def convolution(*, steps: int = 64, inputs: int = 32, channels: int = 32, layers: int = 3) -> Family:
    """Dilated causal convolutions over a window, read at its last step."""
    from onnx import helper, numpy_helper

    random = np.random.default_rng(4)
    nodes = [helper.make_node("Transpose", ["x"], ["a0"], perm=[0, 2, 1])]
    tensors = [
        numpy_helper.from_array(np.array(-1), "last"),
        _initializer("head", random.normal(size=(1, channels))),
        _initializer("bias", [0.1]),
    ]
    for layer in range(layers):
        width = inputs if layer == 0 else channels
        tensors.append(_initializer(f"w{layer}", random.normal(size=(channels, width, 3)) / np.sqrt(3 * width)))
        gap = 2**layer
        nodes += [
            helper.make_node(
                "Conv", [f"a{layer}", f"w{layer}"], [f"z{layer}"], dilations=[gap], pads=[2 * gap, 0], kernel_shape=[3]
            ),
            helper.make_node("Relu", [f"z{layer}"], [f"a{layer + 1}"]),
        ]
    nodes += [
        helper.make_node("Gather", [f"a{layers}", "last"], ["end"], axis=2),
        helper.make_node("Gemm", ["end", "head", "bias"], ["y"], transB=1),
    ]
    rows = np.random.default_rng(5).normal(size=(200, steps * inputs)).astype(np.float32)
    return Family(
        f"TCN {steps}x{inputs}, {layers} layers", _graph(nodes, tensors, [1, steps, inputs], [1, 1]), rows, {}
    )


def boosted(library: str, trees: int, size: int, *, aim: float = 0.0) -> Family:
    """LightGBM by leaves, XGBoost by depth; with their own predictors, one thread, one row."""
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    rows, target = _data(32)
    types = [("x", FloatTensorType([None, 32]))]
    own: dict[str, Callable[[Floats], Any]]
    model: Any
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "LightGBM":
            import lightgbm

            model = lightgbm.LGBMRegressor(n_estimators=trees, num_leaves=size, n_jobs=1, verbose=-1).fit(rows, target)
            exported = onnxmltools.convert_lightgbm(model, initial_types=types, target_opset=15)
            own = {"LightGBM's predict": lambda row: model.booster_.predict(row, num_threads=1)}
        else:
            import xgboost

            model = xgboost.XGBRegressor(n_estimators=trees, max_depth=size, n_jobs=1).fit(rows, target)
            exported = onnxmltools.convert_xgboost(model, initial_types=types, target_opset=15)
            booster = model.get_booster()
            booster.set_param({"nthread": 1})
            own = {"XGBoost's inplace_predict": booster.inplace_predict}
    what = f"{size} leaves" if library == "LightGBM" else f"depth {size}"
    return Family(f"{library} {trees} x {what}", exported.SerializeToString(), rows, own, aim)


def families(options: Options) -> list[Family]:
    """All of them; two in smoke size."""
    if options.size == "smoke":
        return [dense(32, 64, 32, 1, aim=AIM_DENSE), boosted("LightGBM", 20, 31, aim=AIM_TREES)]
    return [
        dense(32, 1, aim=AIM_DENSE),
        dense(32, 64, 32, 1, aim=AIM_DENSE),
        dense(32, 256, 128, 3),
        boosted("LightGBM", 100, 31, aim=AIM_TREES),
        boosted("XGBoost", 100, 5, aim=AIM_TREES),
        boosted("LightGBM", 500, 63),
        recurrent("GRU"),
        recurrent("LSTM"),
        convolution(),
    ]


# ---- measuring -----------------------------------------------------------------------------------------------


def _python_spans(call: Callable[[Floats], Any], rows: list[Floats], calls: int) -> Timings:
    made = np.empty(calls)
    clock = time.perf_counter_ns
    for index in range(calls):
        row = rows[index % len(rows)]
        begun = clock()
        call(row)
        made[index] = clock() - begun
    return made


def _session(data: bytes) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def candidates(family: Family, calls: int) -> dict[str, Callable[[], Timings]]:
    """What is compared, each a function that measures one round. Raises BenchError when outputs differ."""
    native = NativeModel(compile_model(family.onnx).blob)
    plan = plan_of(family.onnx)
    shape = plan.inputs[0].shape
    c_api, session = OrtModel(family.onnx, plan), _session(family.onnx)
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    rows = [row.reshape(shape) for row in family.rows[:200]]
    for row in rows[:50]:
        expected = session.run(None, {name: row})[0].reshape(-1)
        for what, got in (("native", native.run(row)), ("C API", c_api.run(row))):
            if not np.allclose(got, expected, rtol=1e-4, atol=1e-4):
                raise BenchError(f"{family.name}, {what}: {got} where ONNX Runtime says {expected}")
    binding = session.io_binding()
    bound = np.zeros(shape, np.float32)
    result = np.zeros(session.run(None, {name: rows[0]})[0].shape, np.float32)
    binding.bind_input(name, "cpu", 0, np.float32, shape, bound.ctypes.data)
    binding.bind_output(output, "cpu", 0, np.float32, result.shape, result.ctypes.data)

    def run_bound(row: Floats) -> None:
        np.copyto(bound, row)
        session.run_with_iobinding(binding)

    found: dict[str, Callable[[], Timings]] = {
        "native": lambda: spans(native, family.rows[:200], calls=10 * calls).astype(np.float64),
        "C API": lambda: spans(c_api, family.rows[:200], calls=calls).astype(np.float64),
        "IO binding": lambda: _python_spans(run_bound, rows, calls),
        "Python run": lambda: _python_spans(lambda row: session.run(None, {name: row}), rows, calls),
    }
    for what, predict in family.own.items():
        found[what] = lambda predict=predict: _python_spans(predict, rows, max(calls // 10, 5))  # type: ignore[misc]
    return found


def run(options: Options) -> Finding:
    """Every family."""
    finding = Finding("model")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        finding.skipped = f"{', '.join(missing)} (pip install -e '.[dev]')"
        return finding
    table = Table("One event's score, one core", ["model", "by", "p50", "p99", "p99.9", "times native", "aim"])
    calls = options.pick(smoke=50, quick=2000, full=10_000)
    with pinned(options.engine_cpu):
        for family in families(options):
            measure(finding, table, family, calls, ROUNDS if options.size != "smoke" else 1)
    table.notes.append(
        "native and C API are measured from C, the others from Python; each span holds one reading of its clock"
    )
    finding.tables.append(table)
    return finding


def measure(finding: Finding, table: Table, family: Family, calls: int, rounds: int) -> None:
    """One family's rows."""
    compared = candidates(family, calls)
    for one in compared.values():
        one()
    taken: dict[str, list[Timings]] = {name: [] for name in compared}
    for _ in range(rounds):
        for name, one in compared.items():
            taken[name].append(one())
    native_p50 = 0.0
    for name, parts in taken.items():
        p50, p99, p999 = np.percentile(np.concatenate(parts), [50, 99, 99.9], method="higher")
        native_p50 = native_p50 or float(p50)
        ratio = float(p50) / native_p50
        aim = ""
        if name == "Python run" and family.aim:
            aim = f"{family.aim:.0f}x: " + ("met" if ratio >= family.aim else f"missed ({ratio / family.aim:.0%})")
        times = "" if name == "native" else f"{ratio:.1f}x"
        table.rows.append([family.name, name, ns_text(p50), ns_text(p99), ns_text(p999), times, aim])
        finding.records.append(
            {"model": family.name, "by": name, "p50_ns": float(p50), "p99_ns": float(p99), "p999_ns": float(p999)}
        )
    native = NativeModel(compile_model(family.onnx).blob)
    cold = latency(native, family.rows[:200], calls=50 if calls > 100 else 5, cold=True)
    shown = [ns_text(value) for value in (cold.p50_ns, cold.p99_ns, cold.p999_ns)]
    table.rows.append([family.name, "native, caches empty", *shown, f"{cold.p50_ns / native_p50:.1f}x", ""])
    finding.records.append({"model": family.name, "by": "native, cold", "p50_ns": cold.p50_ns, "p99_ns": cold.p99_ns})
