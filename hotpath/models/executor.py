"""A model that Python can run: for parity, golden files and notebooks. The path calls the same C (ffi/include/model.h).

model = NativeModel(compile_model(onnx_bytes).blob);  model.run(features)  ->  outputs
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotpath.errors import ModelError

Floats = npt.NDArray[np.float32]


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Zeroed bytes on MODEL_ALIGN bytes; the array owns them."""
    align = int(lib.MODEL_ALIGN)
    room = np.zeros(size + align, np.uint8)
    start = -room.ctypes.data % align
    return room[start : start + size]


class Runnable:
    """A loaded model of either executor, and a state of its own. Not for two threads at once."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        """`model *`, for C."""
        self.state: Floats = np.zeros(handle.state_count, np.float32)
        """Carried from run to run; `reset` zeroes it. Copy it to carry it to another model."""

    def run(self, inputs: npt.ArrayLike) -> Floats:
        """Outputs of one event, flat. Raises ModelError for a wrong number of inputs, or when the run fails."""
        values = np.ascontiguousarray(inputs, np.float32).reshape(-1)
        if values.size != self.handle.input_count:
            raise ModelError(f"{values.size} inputs where the model takes {self.handle.input_count}")
        outputs = np.empty(self.handle.output_count, np.float32)
        if self.run_into(values, outputs) == lib.MODEL_FAILED:
            raise ModelError("ONNX Runtime failed in a run")
        return outputs

    def run_into(self, inputs: Floats, outputs: Floats) -> int:
        """As `run`, into contiguous float32 arrays of the right sizes. Returns MODEL_OK, MODEL_NAN or MODEL_FAILED."""
        status = lib.model_run(
            self.handle,
            ffi.from_buffer("float[]", self.state),
            ffi.from_buffer("float[]", inputs),
            ffi.from_buffer("float[]", outputs),
        )
        return int(status)

    def reset(self) -> None:
        """Forget."""
        lib.model_reset(self.handle, ffi.from_buffer("float[]", self.state))


class NativeModel(Runnable):
    """A blob, loaded, with scratch."""

    def __init__(self, blob: bytes, *, path: int | None = None) -> None:
        """`path`: one of enum model_path; the processor's best when None. Raises ModelError for a bad blob or path."""
        self._blob = aligned(len(blob))
        self._blob[:] = np.frombuffer(blob, np.uint8)
        handle: Any = ffi.new("model *")
        op_index = ffi.new("uint32_t *")
        status = lib.model_load(handle, ffi.from_buffer(self._blob), len(blob), op_index)
        if status != lib.MODEL_OK:
            said = ffi.string(lib.model_status_text(status)).decode()
            raise ModelError(f"blob, op {op_index[0]}: {said}", next_step="compile it again from its ONNX file")
        if path is not None and not lib.model_path_set(handle, path):
            raise ModelError(f"this processor has no path {path}")
        self._scratch = aligned(4 * max(handle.scratch_count, 1)).view(np.float32)
        lib.model_bind(handle, ffi.from_buffer("float[]", self._scratch))
        super().__init__(handle)

    @property
    def work(self) -> int:
        """Elementary steps of one run."""
        return int(self.handle.work)
