"""What the compiler knows of a value: a constant, or where its floats will lie.

A tensor is a view: place, shape, strides, as NumPy has them; transposing, slicing and reshaping move nothing where
strides can say it. Integers and booleans are floats too: exact up to 2^24, and a model's own indices are smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotpath.errors import NotNativeError
from hotpath.models.blob import Op, Program, reference, space_of

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tensor:
    """Floats at `ref + sum(index * stride)`."""

    ref: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    producer: Op | None = None
    """The op that made it, while nothing else may read what that op made."""
    trim: int = 0
    """First index of the last axis that is there at all: what nothing asks for is not computed."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def is_contiguous(self) -> bool:
        """Whether it lies as NumPy's C order."""
        return self._dense_strides(self.shape) == tuple(
            stride if size > 1 else dense
            for size, stride, dense in zip(self.shape, self.strides, self._dense_strides(self.shape), strict=True)
        )

    @staticmethod
    def _dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))

    def memory_order(self) -> tuple[int, ...] | None:
        """The axes by falling stride, when the elements fill one stretch in that order; else None."""
        order = tuple(sorted(range(len(self.shape)), key=lambda axis: (-self.strides[axis], axis)))
        expected = 1
        for axis in reversed(order):
            if self.shape[axis] == 1:
                continue
            if self.strides[axis] != expected:
                return None
            expected *= self.shape[axis]
        return order

    def transposed(self, axes: tuple[int, ...]) -> Tensor:
        return replace(
            self, shape=tuple(self.shape[axis] for axis in axes), strides=tuple(self.strides[axis] for axis in axes)
        )

    def broadcast(self, shape: tuple[int, ...]) -> Tensor:
        """With strides of 0, by NumPy's rules. Raises NotNativeError where these forbid it."""
        lead = len(shape) - len(self.shape)
        if lead < 0:
            raise NotNativeError(f"{self.shape} does not broadcast to {shape}")
        strides = [0] * lead
        for size, stride, wanted in zip(self.shape, self.strides, shape[lead:], strict=True):
            if size not in (1, wanted):
                raise NotNativeError(f"{self.shape} does not broadcast to {shape}")
            strides.append(0 if size == 1 and wanted != 1 else stride)
        return replace(self, shape=shape, strides=tuple(strides), producer=None)


Value = Tensor | Array


def fresh(program: Program, shape: tuple[int, ...]) -> Tensor:
    """Room in the scratch, in C order."""
    ref = program.scratch(max(math.prod(shape), 1))
    return Tensor(ref, shape, Tensor._dense_strides(shape))


def placed(space: int, offset: int, shape: tuple[int, ...]) -> Tensor:
    """A port of the program, in C order."""
    return Tensor(reference(space, offset), shape, Tensor._dense_strides(shape))


def constant(program: Program, values: Array) -> Tensor:
    """Numbers among the weights."""
    return Tensor(program.weights(float32(values)), values.shape, Tensor._dense_strides(values.shape))


def float32(values: Array) -> Floats:
    """As float32. Raises NotNativeError for text, and for integers that a float cannot hold."""
    if values.dtype == object:
        raise NotNativeError("text as a tensor", next_step="encode classes as numbers before the export")
    if values.dtype.kind in "iu" and values.size and int(np.abs(values.astype(np.int64)).max()) > 1 << 24:
        raise NotNativeError("an integer beyond 2^24, which a float32 cannot hold")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values.astype(np.float32))


def copied(program: Program, source: Tensor, target: Tensor) -> Tensor:
    """Copy element by element into `target`, a view of the same shape, by as few ops as three loops allow."""
    axes = [axis for axis, size in enumerate(source.shape) if size > 1]
    axes.sort(key=lambda axis: -target.strides[axis])
    loops: list[tuple[int, int, int]] = []
    for axis in axes:
        size, start, end = source.shape[axis], source.strides[axis], target.strides[axis]
        if loops and loops[-1][1] == size * start and loops[-1][2] == size * end:
            loops[-1] = (loops[-1][0] * size, start, end)
        else:
            loops.append((size, start, end))
    outer = loops[:-3]
    inner = [(1, 0, 0)] * (3 - len(loops[-3:])) + loops[-3:]
    for index in np.ndindex(*(size for size, _, _ in outer)):
        from_ref = source.ref + sum(i * start for i, (_, start, _) in zip(index, outer, strict=True))
        to_ref = target.ref + sum(i * end for i, (_, _, end) in zip(index, outer, strict=True))
        n = [size for size, _, _ in inner] + [start for _, start, _ in inner] + [end for _, _, end in inner]
        program.op(lib.MODEL_COPY, r=[from_ref, 0, 0, to_ref], n=n)
    return target


def contiguous(program: Program, value: Value) -> Tensor:
    """The same in C order, copied only where it lies otherwise."""
    if not isinstance(value, Tensor):
        return constant(program, value)
    if value.is_contiguous():
        return value
    return copied(program, value, replace(fresh(program, value.shape), trim=value.trim))


def reshaped(program: Program, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Another shape of as many elements, in C order."""
    if math.prod(shape) != value.size:
        raise NotNativeError(f"{value.shape} does not reshape to {shape}")
    dense = contiguous(program, value)
    return replace(dense, shape=shape, strides=Tensor._dense_strides(shape))


def is_writable(value: Tensor) -> bool:
    """Whether an op may still change what it wrote there."""
    return space_of(value.ref) == lib.MODEL_SCRATCH and value.producer is not None
