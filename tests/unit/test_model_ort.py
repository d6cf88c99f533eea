"""ONNX Runtime, driven from C: what its own Python package says, bit for bit, with no Python package in between."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from ffi import lib
from hotpath.errors import HostError, ModelError
from hotpath.models import ort
from hotpath.models.compile import Port, compile_model
from hotpath.models.executor import NativeModel

pytest.importorskip("onnx", reason="onnx is missing: pip install -e '.[dev]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is missing")

from tests.support import random_trees
from tests.support.model_parity import bits, reference, session_of

MODELS = Path(__file__).parents[1] / "data" / "models"
STEP = (MODELS / "torch-gru-step.onnx").read_bytes()
MLP = (MODELS / "torch-mlp-relu.onnx").read_bytes()


def test_version_is_the_packages() -> None:
    assert ort.version() == metadata.version("onnxruntime")


@pytest.mark.parametrize("path", [path for path in sorted(MODELS.glob("*.onnx")) if "step" not in path.stem], ids=str)
def test_c_api_equals_python_bit_by_bit(path: Path) -> None:
    data = path.read_bytes()
    model, session = ort.OrtModel(data, ort.plan_of(data)), session_of(data)
    shape = session.get_inputs()[0].shape
    random = np.random.default_rng(3)
    for _ in range(5):
        row = random.normal(size=shape).astype(np.float32)
        assert bits(model.run(row)) == bits(reference(session, row))
    model.close()


def test_state_is_carried_like_the_native_one() -> None:
    plan = ort.plan_of(STEP, state={"h": "h_next"})
    model, native = ort.OrtModel(STEP, plan), NativeModel(compile_model(STEP, state={"h": "h_next"}).blob)
    random = np.random.default_rng(4)
    for _ in range(50):
        x = random.normal(size=5).astype(np.float32)
        np.testing.assert_allclose(model.run(x), native.run(x), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(model.state, native.state, rtol=1e-5, atol=1e-5)
    model.reset()
    assert not model.state.any()
    model.close()


def test_labels_come_as_floats_and_nan_is_told() -> None:
    import random

    made = random_trees.grow(random.Random(1), trees=3, features=2, depth_max=2, modes=["BRANCH_LEQ"])
    columns = {
        "class_ids": [label for _ in made.leaves for label in range(3)],
        "class_weights": [0.1 * label for _ in made.leaves for label in range(3)],
        "class_treeids": [tree for tree, _ in made.leaves for _ in range(3)],
        "class_nodeids": [node for _, node in made.leaves for _ in range(3)],
    }
    data = random_trees.model("TreeEnsembleClassifier", 2, 3, classlabels_int64s=[5, 6, 7], **columns, **made.nodes)
    model = ort.OrtModel(data, ort.plan_of(data))
    assert model.run([0, 0])[0] == 7.0
    model.close()
    broken = ort.OrtModel(MLP, ort.plan_of(MLP))
    outputs = np.zeros(broken.handle.output_count, np.float32)
    nan = np.full(broken.handle.input_count, np.nan, np.float32)
    status = broken.run_into(nan, outputs)
    assert (status == lib.MODEL_NAN) == bool(np.isnan(outputs).any())
    broken.close()


def test_refusals_say_what_onnxruntime_said() -> None:
    plan = ort.plan_of(MLP)
    with pytest.raises(ModelError, match="ONNX Runtime refuses the model"):
        ort.OrtModel(MLP[: len(MLP) // 2], plan)
    renamed = ort.OrtPlan((Port("nobody", (1, 4), 0),), plan.outputs, (), (), plan.output_types)
    with pytest.raises(ModelError, match="nobody"):
        ort.OrtModel(MLP, renamed)
    with pytest.raises(ModelError, match="cannot be bound"):
        ort.OrtModel(MLP, ort.OrtPlan((Port("x", (0,), 0),), plan.outputs, (), (), plan.output_types))


def test_open_and_close_many_times_keeps_memory() -> None:
    import psutil

    plan, process = ort.plan_of(MLP), psutil.Process()
    for _ in range(5):
        ort.OrtModel(MLP, plan).close()
    before = process.memory_info().rss
    for _ in range(100):
        ort.OrtModel(MLP, plan).close()
    assert process.memory_info().rss - before < 20_000_000


def test_self_test_tells_a_library_that_answers_otherwise() -> None:
    plan = ort.plan_of(MLP)
    inputs = np.ones(plan.inputs[0].count, np.float32)
    right = session_of(MLP).run(None, {plan.inputs[0].name: inputs.reshape(plan.inputs[0].shape)})[0].reshape(-1)
    ort.self_test(MLP, plan, inputs, right)
    with pytest.raises(HostError, match="is right"):
        ort.self_test(MLP, plan, inputs, right + 1)


def test_python_package_is_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from hotpath.models import ort\n"
        f"data = Path({str(MODELS / 'torch-mlp-relu.onnx')!r}).read_bytes()\n"
        "model = ort.OrtModel(data, ort.plan_of(data)); model.run([0.5] * model.handle.input_count)\n"
        "print([name for name in ('onnxruntime', 'onnx', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
