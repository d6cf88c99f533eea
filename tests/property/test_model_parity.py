"""Exports of the libraries that people train with: native against ONNX Runtime, and each path against the others."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from ffi import ffi, lib
from hotpath.models.compile import compile_model
from hotpath.models.executor import NativeModel
from tests.support.model_families import FAMILIES

pytest.importorskip("skl2onnx", reason="skl2onnx is missing: pip install -e '.[dev]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is missing")

SEEDS = int(os.environ.get("HOTPATH_MODEL_SEEDS", "2"))
ABSOLUTE, RELATIVE = 1e-5, 1e-5


def paths() -> list[int]:
    """Those of this processor."""
    handle = ffi.new("model *")
    return [path for path in range(lib.MODEL_PATHS) if lib.model_path_set(handle, path)]


def session_of(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def reference(session: Any, row: np.ndarray) -> np.ndarray:
    """What ONNX Runtime says to one row, flat."""
    outputs = session.run(None, {session.get_inputs()[0].name: row[None]})
    return np.concatenate([np.asarray(output, np.float32).reshape(-1) for output in outputs])


def bits(values: np.ndarray) -> list[int]:
    found: list[int] = values.view(np.uint32).tolist()
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_native_equals_onnxruntime_within_tolerance_and_itself_bit_by_bit(family: str, seed: int) -> None:
    exported = FAMILIES[family](seed)
    blob = compile_model(exported.onnx).blob
    models = [NativeModel(blob, path=path) for path in paths()]
    session = session_of(exported.onnx)
    for row in exported.rows[:50]:
        first, *others = (model.run(row) for model in models)
        np.testing.assert_allclose(first, reference(session, row), rtol=RELATIVE, atol=ABSOLUTE)
        for other in others:
            assert bits(other) == bits(first)
