"""ONNX Runtime for the C loop: its shared library found in the wheel, its ports told to C.

    plan = plan_of(onnx_bytes);  model = OrtModel(onnx_bytes, plan);  model.handle  ->  model_run (ffi/include/model.h)

The Python package `onnxruntime` is not imported: a stage loads the library alone. Only what `read_onnx` and
`check_allowed` passed comes here, and candidates first in a child with limits.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ffi import ffi, lib
from hotpath.errors import HostError, ModelError
from hotpath.models.compile import Port, shape_of, wanted_outputs
from hotpath.models.executor import Floats, Runnable, aligned
from hotpath.models.onnx_reader import OnnxModel, ValueInfo, check_allowed, read_onnx

TYPES = {lib.MODEL_ORT_FLOAT, lib.MODEL_ORT_INT32, lib.MODEL_ORT_INT64, lib.MODEL_ORT_BOOL, lib.MODEL_ORT_DOUBLE}


@cache
def library() -> Path:
    """The shared library of the installed wheel. Raises HostError when it is missing."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        raise HostError("onnxruntime is not installed", next_step="pip install onnxruntime")
    files = sorted((Path(found.origin).parent / "capi").glob("libonnxruntime.so*"))
    if not files:
        raise HostError(f"{Path(found.origin).parent} has no libonnxruntime.so", next_step="reinstall onnxruntime")
    return files[-1]


@cache
def api_base() -> Any:
    """What OrtGetApiBase returns. Raises HostError for a library without the API version that we use."""
    loaded = ctypes.CDLL(str(library()))
    loaded.OrtGetApiBase.restype = ctypes.c_void_p
    base = ffi.cast("void *", loaded.OrtGetApiBase())
    if lib.model_ort_version(base) == ffi.NULL:
        raise HostError(
            f"{library()} lacks version {lib.MODEL_ORT_API_VERSION} of its C API", next_step="upgrade onnxruntime"
        )
    return base


def version() -> str:
    """Of the library, as it says it."""
    text: str = ffi.string(lib.model_ort_version(api_base())).decode()
    return text


@dataclass(frozen=True)
class OrtPlan:
    """Names, shapes and element types for the binding; a manifest can keep it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    """Named by the graph's input."""
    next_states: tuple[str, ...]
    """The graph's output that replaces each state."""
    output_types: tuple[int, ...]


def plan_of(
    data: bytes,
    *,
    outputs: Sequence[str] | None = None,
    state: Mapping[str, str] | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> OrtPlan:
    """As `compile_model`; `shapes`: of outputs whose shape the file leaves open beyond the first dimension."""
    model = read_onnx(data)
    check_allowed(model)
    carried = dict(state or {})
    wanted = wanted_outputs(model, outputs, carried)
    infos = {info.name: info for info in model.outputs}
    sizes = dict(dims or {})
    inputs, states = _ports(model, carried, sizes)
    at, made = 0, []
    for name in wanted:
        shape = (shapes or {}).get(name) or _output_shape(infos[name], sizes)
        if infos[name].type not in TYPES:
            raise ModelError(
                f"output {name!r} has element type {infos[name].type}",
                next_step="name outputs that are numbers; export without a ZipMap",
            )
        made.append(Port(name, shape, at))
        at += math.prod(shape)
    return OrtPlan(
        inputs=inputs,
        outputs=tuple(made),
        states=states,
        next_states=tuple(carried[port.name] for port in states),
        output_types=tuple(infos[name].type for name in wanted),
    )


def _ports(model: OnnxModel, state: dict[str, str], dims: dict[str, int]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """(inputs, states), each with its place."""
    found: tuple[list[Port], list[Port]] = ([], [])
    for info in model.inputs:
        ports = found[info.name in state]
        ports.append(Port(info.name, shape_of(info, dims), sum(port.count for port in ports)))
    return tuple(found[0]), tuple(found[1])


def _output_shape(info: ValueInfo, dims: dict[str, int]) -> tuple[int, ...]:
    shape: list[int] = []
    for axis, size in enumerate(info.shape):
        if isinstance(size, int):
            shape.append(size)
        elif size in dims or axis == 0:
            shape.append(dims.get(size, 1))
        else:
            raise ModelError(f"output {info.name!r}: dimension {axis} is open", next_step="give its shape in `shapes`")
    return tuple(shape)


class OrtModel(Runnable):
    """A session that C runs, with a state of its own. Not for two threads at once; `close` off the hot core."""

    def __init__(self, data: bytes, plan: OrtPlan) -> None:
        """Raises ModelError with what ONNX Runtime said."""
        rows = [
            *((port, lib.MODEL_ORT_FLOAT, lib.MODEL_ORT_INPUT, port.name) for port in plan.inputs),
            *((port, lib.MODEL_ORT_FLOAT, lib.MODEL_ORT_STATE_INPUT, port.name) for port in plan.states),
            *(
                (port, kind, lib.MODEL_ORT_OUTPUT, port.name)
                for port, kind in zip(plan.outputs, plan.output_types, strict=True)
            ),
            *(
                (port, lib.MODEL_ORT_FLOAT, lib.MODEL_ORT_STATE_OUTPUT, name)
                for port, name in zip(plan.states, plan.next_states, strict=True)
            ),
        ]
        ports = ffi.new("model_ort_port[]", len(rows))
        for port, (given, kind, role, name) in zip(ports, rows, strict=True):
            encoded = name.encode()
            if len(encoded) >= lib.MODEL_ORT_NAME_MAX or len(given.shape) > lib.MODEL_ORT_RANK_MAX:
                raise ModelError(f"port {name!r}: its name or rank is beyond what the binding holds")
            port.name, port.type, port.role, port.offset = encoded, kind, role, given.offset
            port.rank = len(given.shape)
            port.shape[0 : port.rank] = given.shape
        room = lib.model_ort_room(ports, len(rows))
        if not room:
            raise ModelError(f"{len(rows)} ports that cannot be bound (at most {lib.MODEL_ORT_PORTS_MAX})")
        self._room = aligned(room)
        self._ort: Any = ffi.new("model_ort *")
        handle: Any = ffi.new("model *")
        status = lib.model_ort_open(
            handle,
            self._ort,
            api_base(),
            ffi.from_buffer(data),
            len(data),
            ports,
            len(rows),
            ffi.from_buffer(self._room),
        )
        if status != lib.MODEL_OK:
            said = ffi.string(self._ort.error).decode(errors="replace")
            raise ModelError(f"ONNX Runtime refuses the model: {said}")
        super().__init__(handle)

    @property
    def error(self) -> str:
        """What ONNX Runtime said when a run failed."""
        text: str = ffi.string(self._ort.error).decode(errors="replace")
        return text

    def close(self) -> None:
        """Release the session. The model must not be run any more."""
        lib.model_ort_close(self._ort)


def self_test(data: bytes, plan: OrtPlan, inputs: Floats, expected: Floats) -> None:
    """Run once and compare: whether this library is one whose table is where we think. Raises HostError."""
    model = OrtModel(data, plan)
    try:
        got = model.run(inputs)
    finally:
        model.close()
    if not np.allclose(got, expected, rtol=1e-4, atol=1e-5):
        raise HostError(f"ONNX Runtime {version()} answers {got.tolist()} where {expected.tolist()} is right")
