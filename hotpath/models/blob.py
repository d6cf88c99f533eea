"""The blob's writer: ops and weights as ffi/include/model.h has them.

    program = Program(); ref = program.weights(array); out = program.scratch(64); program.op("DENSE", ...)
    program.blob(sha256)

Nothing here knows ONNX. What is written is checked by model_load like any other blob.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import NotNativeError

LANES = int(lib.MODEL_LANES)
OFFSET_MASK = (1 << lib.MODEL_SPACE_SHIFT) - 1


def reference(space: int, offset: int) -> int:
    """A place in a space, as an op holds it."""
    return space << int(lib.MODEL_SPACE_SHIFT) | offset


def space_of(ref: int) -> int:
    return ref >> int(lib.MODEL_SPACE_SHIFT)


@dataclass
class Op:
    """One op. `r` and `n` are filled up with 0."""

    kind: int
    function: int = 0
    r: list[int] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    alpha: float = 0.0
    beta: float = 0.0
    node: int = 0


class Program:
    """Ops, weights and the sizes of the spaces, as they grow."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.node = 0
        """Of the ONNX graph: whose ops are being written."""
        self.input_count = self.output_count = self.state_count = self.scratch_count = 0
        self._weights: list[npt.NDArray[np.uint32]] = []
        self._weight_count = 0
        self._known: dict[bytes, int] = {}

    def weights(self, values: npt.ArrayLike) -> int:
        """Place float32 values (words of 32 bits as they are), on MODEL_ALIGN bytes; equal ones once."""
        array = np.ascontiguousarray(values)
        words = (array if array.dtype == np.uint32 else array.astype(np.float32)).reshape(-1).view(np.uint32)
        key = words.tobytes()
        if key not in self._known:
            self._known[key] = self._weight_count
            padded = np.zeros(-(-words.size // LANES) * LANES, np.uint32)
            padded[: words.size] = words
            self._weights.append(padded)
            self._weight_count += padded.size
        if self._weight_count > lib.MODEL_FLOATS_MAX:
            raise NotNativeError(f"more than {lib.MODEL_FLOATS_MAX} weights")
        return reference(lib.MODEL_WEIGHTS, self._known[key])

    def weight_values(self, ref: int, count: int) -> npt.NDArray[np.float32]:
        """Values placed before: whole arrays only."""
        at = ref & OFFSET_MASK
        for array in self._weights:
            if at == 0:
                return array[:count].view(np.float32)
            at -= array.size
        raise AssertionError("a reference between two arrays")

    def scratch(self, count: int) -> int:
        """`count` floats of scratch, on MODEL_ALIGN bytes."""
        ref = reference(lib.MODEL_SCRATCH, self.scratch_count)
        self.scratch_count += -(-count // LANES) * LANES
        if self.scratch_count > lib.MODEL_FLOATS_MAX:
            raise NotNativeError(f"more than {lib.MODEL_FLOATS_MAX} floats of intermediate results")
        return ref

    def op(
        self,
        kind: int,
        *,
        function: int = 0,
        r: Sequence[int] = (),
        n: Sequence[int] = (),
        alpha: float = 0.0,
        beta: float = 0.0,
    ) -> Op:
        """Write one more op."""
        if len(self.ops) >= lib.MODEL_OPS_MAX:
            raise NotNativeError(f"more than {lib.MODEL_OPS_MAX} ops", next_step="shorten the sequence")
        one = Op(kind, function, list(r), list(n), alpha, beta, self.node)
        self.ops.append(one)
        return one

    def blob(self, source_sha256: bytes) -> bytes:
        """The finished blob."""
        ops = np.zeros(len(self.ops), dtype_of("model_op"))
        for row, one in zip(ops, self.ops, strict=True):
            row["kind"], row["function"], row["node"] = one.kind, one.function, one.node
            row["r"][: len(one.r)] = one.r
            row["n"][: len(one.n)] = [value & 0xFFFFFFFF for value in one.n]
            row["alpha"], row["beta"] = one.alpha, one.beta
        header = np.zeros(1, dtype_of("model_header"))
        ops_offset = header.itemsize
        weights_offset = -(-(ops_offset + ops.nbytes) // lib.MODEL_ALIGN) * lib.MODEL_ALIGN
        weights = np.concatenate([np.zeros(0, np.uint32), *self._weights])
        fields = {
            "magic": lib.MODEL_MAGIC,
            "size": weights_offset + weights.nbytes,
            "version": lib.MODEL_VERSION,
            "op_count": len(ops),
            "ops_offset": ops_offset,
            "weights_offset": weights_offset,
            "weight_count": weights.size,
            "input_count": self.input_count,
            "state_count": self.state_count,
            "scratch_count": self.scratch_count,
            "output_count": self.output_count,
        }
        for name, value in fields.items():
            header[0][name] = value
        header[0]["source_sha256"] = np.frombuffer(source_sha256, "u1")
        gap = bytes(weights_offset - ops_offset - ops.nbytes)
        return with_digest(header.tobytes() + ops.tobytes() + gap + weights.tobytes())


def with_digest(blob: bytes) -> bytes:
    """The blob with the digest that its bytes have."""
    at = int(ffi.offsetof("model_header", "digest")) + 8
    digest = int(lib.digest_bytes(lib.MODEL_MAGIC, blob[at:], len(blob) - at))
    return blob[: at - 8] + digest.to_bytes(8, "little") + blob[at:]


def dense_blocks(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A (outputs, inputs) matrix as MODEL_DENSE reads it: blocks of MODEL_LANES outputs, input by input."""
    outputs, inputs = matrix.shape
    padded = np.zeros((-(-outputs // LANES) * LANES, inputs), np.float32)
    padded[:outputs] = matrix
    return np.ascontiguousarray(padded.reshape(-1, LANES, inputs).transpose(0, 2, 1))
