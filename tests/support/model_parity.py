"""ONNX Runtime as the oracle of a model: one thread, flat outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from ffi import ffi, lib

onnxruntime.set_default_logger_severity(3)


def paths() -> list[int]:
    """Those of this processor."""
    handle = ffi.new("model *")
    return [path for path in range(lib.MODEL_PATHS) if lib.model_path_set(handle, path)]


def session_of(data: bytes) -> Any:
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def reference(session: Any, *inputs: np.ndarray) -> np.ndarray:
    """What ONNX Runtime says to the inputs of one event, flat."""
    names = [port.name for port in session.get_inputs()]
    outputs = session.run(None, dict(zip(names, inputs, strict=True)))
    return np.concatenate([np.asarray(output, np.float32).reshape(-1) for output in outputs])


def bits(values: np.ndarray) -> list[int]:
    """Of float32."""
    found: list[int] = values.view(np.uint32).tolist()
    return found
