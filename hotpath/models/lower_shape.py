"""Operators that move, cut or describe: views where strides can say it, copies where they cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

import numpy as np

from ffi import lib
from hotpath.errors import ModelError
from hotpath.models.lower_elementwise import expanded, mapped
from hotpath.models.tensors import Array, Tensor, Value, contiguous, copied, float32, fresh, reshaped

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering

ELEMENTS_MAX = 1 << 24
"""Of a constant that the graph computes."""


def _view(call: Call, value: Tensor, made: Tensor) -> Tensor:
    """A view keeps the op behind it only where nobody else reads that."""
    return made if call.used_once(value, 0) else replace(made, producer=None)


def _reshape_to(call: Call, shape: tuple[int, ...]) -> Sequence[Value]:
    value = call.value(0)
    if math.prod(shape) != math.prod(value.shape):
        raise ModelError(f"{call.node.where()}: {value.shape} does not reshape to {shape}")
    if isinstance(value, Tensor):
        made = reshaped(call.program, value, shape)
        return [_view(call, value, made) if made.ref == value.ref else made]
    return [value.reshape(shape)]


def _reshape(call: Call) -> Sequence[Value]:
    source = call.value(0).shape
    wanted = [int(size) for size in call.known(1).reshape(-1)]
    if not call.integer("allowzero", 0):
        wanted = [source[axis] if size == 0 and axis < len(source) else size for axis, size in enumerate(wanted)]
    if wanted.count(-1) > 1 or any(size < -1 or size > ELEMENTS_MAX for size in wanted):
        raise ModelError(f"{call.node.where()}: a shape of {wanted}")
    known = math.prod(size for size in wanted if size != -1)
    if -1 in wanted and known:
        wanted[wanted.index(-1)] = math.prod(source) // known
    return _reshape_to(call, tuple(wanted))


def _axes(call: Call, rank: int, *, since: int = 13, index: int = 1) -> list[int] | None:
    """From the attribute, or since that opset from an input."""
    axes = call.integers("axes")
    if axes is None and call.opset >= since:
        array = call.known_or(index)
        axes = None if array is None else [int(axis) for axis in array.reshape(-1)]
    if axes is None:
        return None
    if any(not -rank <= axis < rank for axis in axes):
        raise ModelError(f"{call.node.where()}: axes {axes} of rank {rank}")
    return sorted({axis % rank for axis in axes})


def _squeeze(call: Call) -> Sequence[Value]:
    value = call.value(0)
    axes = _axes(call, len(value.shape))
    if axes is None:
        axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    keep = [axis for axis in range(len(value.shape)) if axis not in axes]
    shape = tuple(value.shape[axis] for axis in keep)
    if isinstance(value, Tensor) and math.prod(shape) == value.size:
        strides = tuple(value.strides[axis] for axis in keep)
        return [_view(call, value, replace(value, shape=shape, strides=strides))]
    return _reshape_to(call, shape)


def _unsqueeze(call: Call) -> Sequence[Value]:
    value = call.value(0)
    given = call.integers("axes")
    count = len(given) if given is not None else call.known(1).size
    rank = len(value.shape) + count
    axes = _axes(call, rank) or []
    shape, strides = list(value.shape), list(value.strides) if isinstance(value, Tensor) else []
    for axis in axes:
        shape.insert(axis, 1)
        if isinstance(value, Tensor):
            strides.insert(axis, 0)
    if isinstance(value, Tensor):
        return [_view(call, value, replace(value, shape=tuple(shape), strides=tuple(strides)))]
    return [value.reshape(shape)]


def _flatten(call: Call) -> Sequence[Value]:
    shape = call.value(0).shape
    axis = call.integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return _reshape_to(call, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _transpose(call: Call) -> Sequence[Value]:
    value = call.value(0)
    order = call.integers("perm") or list(range(len(value.shape)))[::-1]
    if sorted(order) != list(range(len(value.shape))):
        raise ModelError(f"{call.node.where()}: permutation {order} of rank {len(value.shape)}")
    if isinstance(value, Tensor):
        return [_view(call, value, value.transposed(tuple(order)))]
    return [value.transpose(order)]


def _identity(call: Call) -> Sequence[Value]:
    value = call.value(0)
    return [_view(call, value, value) if isinstance(value, Tensor) else value]


_WHOLE = {2: "u1", 3: "i1", 6: "i4", 7: "i8"}


def _cast(call: Call) -> Sequence[Value]:
    value, to = call.value(0), call.integer("to", 1)
    if not isinstance(value, Tensor):
        dtypes = {1: "f4", 9: "?", 11: "f8", **_WHOLE}
        if to not in dtypes:
            raise call.refuse(f"a cast to element type {to}")
        with np.errstate(invalid="ignore"):
            return [value.astype(dtypes[to])]
    if to in (1, 11):  # doubles are computed as floats: the tolerances of the manifest say whether that will do
        return _identity(call)
    if to == 9:
        return [mapped(call.program, mapped(call.program, value, lib.MODEL_NOT), lib.MODEL_NOT)]
    if to in (6, 7):
        return [mapped(call.program, value, lib.MODEL_TRUNCATE)]
    raise call.refuse(
        f"a cast to element type {to}", next_step="strings are chosen outside the model: drop that output"
    )


def _constant(call: Call) -> Sequence[Value]:
    for name, value in call.node.attributes.items():
        if isinstance(value, np.ndarray):
            return [value]
        if name == "value_float":
            return [np.array(value, np.float32)]
        if name == "value_floats":
            return [np.array(value, np.float32)]
        if name in ("value_int", "value_ints"):
            return [np.array(value, np.int64)]
    raise call.refuse("a constant that is no number")


def _shape(call: Call) -> Sequence[Value]:
    shape = call.value(0).shape
    end = call.integer("end", len(shape))
    return [np.array(shape[call.integer("start", 0) : end], np.int64)]


def _bounded(call: Call, shape: Sequence[int]) -> tuple[int, ...]:
    if any(size < 0 for size in shape) or math.prod(shape) > ELEMENTS_MAX:
        raise ModelError(f"{call.node.where()}: a tensor of shape {tuple(shape)}")
    return tuple(int(size) for size in shape)


def _constant_of_shape(call: Call) -> Sequence[Value]:
    value = call.attribute("value")
    fill = value if isinstance(value, np.ndarray) else np.zeros(1, np.float32)
    return [np.full(_bounded(call, call.known(0).tolist()), fill.item(), fill.dtype)]


def _range(call: Call) -> Sequence[Value]:
    start, limit, step = (call.known(index) for index in range(3))
    if step.item() == 0 or abs((limit.item() - start.item()) / step.item()) > ELEMENTS_MAX:
        raise ModelError(f"{call.node.where()}: from {start} to {limit} by {step}")
    return [np.arange(start.item(), limit.item(), step.item()).astype(start.dtype)]


def _expand(call: Call) -> Sequence[Value]:
    value = call.value(0)
    wanted = _bounded(call, call.known(1).tolist())
    try:
        shape = np.broadcast_shapes(value.shape, wanted)
    except ValueError as error:
        raise ModelError(f"{call.node.where()}: {value.shape} does not broadcast to {wanted}") from error
    _bounded(call, shape)
    if isinstance(value, Tensor):
        return [expanded(call.program, value, shape)]
    return [np.broadcast_to(value, shape).copy()]


# ---- cutting and joining -------------------------------------------------------------------------------------


@overload
def _cut(value: Tensor, axis: int, start: int, step: int, count: int) -> Tensor: ...
@overload
def _cut(value: Array, axis: int, start: int, step: int, count: int) -> Array: ...
def _cut(value: Value, axis: int, start: int, step: int, count: int) -> Value:
    """`count` elements of an axis."""
    if not isinstance(value, Tensor):
        index = [slice(None)] * value.ndim
        stop = start + step * count
        index[axis] = slice(start, stop if stop >= 0 else None, step)
        return value[tuple(index)]
    trim = value.trim if axis == len(value.shape) - 1 else 0
    shape = tuple(count if other == axis else size for other, size in enumerate(value.shape))
    strides = tuple(stride * step if other == axis else stride for other, stride in enumerate(value.strides))
    return replace(
        value,
        ref=value.ref + (start - trim) * value.strides[axis],
        shape=shape,
        strides=strides,
        producer=None,
        trim=0 if axis == len(value.shape) - 1 else value.trim,
    )


def _length(value: Value, axis: int) -> int:
    """Of an axis, what was trimmed included."""
    trim = value.trim if isinstance(value, Tensor) and axis == len(value.shape) - 1 else 0
    return value.shape[axis] + trim


def _slice(call: Call) -> Sequence[Value]:
    value = call.value(0)
    if call.opset < 10:
        starts, ends = call.integers("starts") or [], call.integers("ends") or []
        axes = call.integers("axes") or list(range(len(starts)))
        steps = [1] * len(starts)
    else:
        starts, ends = ([int(one) for one in call.known(index).reshape(-1)] for index in (1, 2))
        given_axes, given_steps = call.known_or(3), call.known_or(4)
        axes = [int(one) for one in given_axes.reshape(-1)] if given_axes is not None else list(range(len(starts)))
        steps = [int(one) for one in given_steps.reshape(-1)] if given_steps is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ModelError(f"{call.node.where()}: starts {starts}, ends {ends}, axes {axes}, steps {steps}")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(value.shape)
        first, last, each = slice(start, end, step).indices(_length(value, axis))
        count = len(range(first, last, each))
        if isinstance(value, Tensor) and count == 0:
            raise call.refuse("an empty slice")
        if (
            isinstance(value, Tensor)
            and value.trim
            and axis == len(value.shape) - 1
            and each == 1
            and first < value.trim
        ):
            trim = value.trim  # the steps before it are not there, and nobody reads them
            value = replace(_cut(value, axis, trim, 1, last - trim), trim=trim - first)
            continue
        value = _cut(value, axis, first, each, count)
    return [value]


def _gather(call: Call) -> Sequence[Value]:
    value, index = call.value(0), call.value(1)
    axis = call.integer("axis", 0) % max(len(value.shape), 1)
    if isinstance(index, Tensor):
        if isinstance(value, Tensor) or value.ndim != 1:
            raise call.refuse("an index that is computed")
        return [looked_up(call, value, index)]
    length = _length(value, axis)
    indices = np.asarray(index, np.int64)
    if indices.size == 0 or (indices < -length).any() or (indices >= length).any():
        raise ModelError(f"{call.node.where()}: indices {indices.tolist()} of an axis of {length}")
    indices = indices % length
    if not isinstance(value, Tensor):
        return [np.take(value, indices, axis)]
    if indices.ndim == 0:
        cut = _cut(value, axis, int(indices), 1, 1)
        assert isinstance(cut, Tensor)
        keep = [other for other in range(len(cut.shape)) if other != axis]
        return [
            replace(
                cut,
                shape=tuple(cut.shape[other] for other in keep),
                strides=tuple(cut.strides[other] for other in keep),
            )
        ]
    flat = indices.reshape(-1)
    steps = np.diff(flat)
    if flat.size == 1 or (steps == steps[0]).all():
        made = _cut(value, axis, int(flat[0]), int(steps[0]) if steps.size else 1, flat.size)
    else:
        made = joined(call, [_cut(value, axis, int(one), 1, 1) for one in flat], axis)
    assert isinstance(made, Tensor)
    if indices.ndim == 1:
        return [made]
    return [reshaped(call.program, made, (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]))]


def looked_up(call: Call, table: Array, index: Tensor) -> Tensor:
    """table[index] of a computed index."""
    at = contiguous(call.program, index)
    target = fresh(call.program, at.shape)
    ref = call.program.weights(float32(table.reshape(-1)))
    call.program.op(lib.MODEL_LOOKUP, r=[at.ref, ref, 0, target.ref], n=[at.size, table.size])
    return target


def joined(call: Call, values: Sequence[Value], axis: int) -> Tensor:
    """One behind the other along an axis."""
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    target = fresh(call.program, tuple(shape))
    at = 0
    for value in values:
        other = value if isinstance(value, Tensor) else contiguous(call.program, value)
        if other.shape[axis] == 0:
            continue
        if [size for place, size in enumerate(other.shape) if place != axis] != shape[:axis] + shape[axis + 1 :]:
            raise ModelError(f"{call.node.where()}: shapes {[each.shape for each in values]} along axis {axis}")
        copied(call.program, other, replace(target, ref=target.ref + at * target.strides[axis], shape=other.shape))
        at += other.shape[axis]
    return target


def _concat(call: Call) -> Sequence[Value]:
    values = [call.value(index) for index in range(len(call.inputs))]
    axis = call.integer("axis", 0) % max(len(values[0].shape), 1)
    arrays = [value for value in values if not isinstance(value, Tensor)]
    if len(arrays) == len(values):
        return [np.concatenate(arrays, axis)]
    return [joined(call, values, axis)]


def _split(call: Call) -> Sequence[Value]:
    value = call.value(0)
    axis = call.integer("axis", 0) % len(value.shape)
    sizes = call.integers("split")
    if sizes is None and call.opset >= 13 and call.optional(1) is not None:
        sizes = [int(one) for one in call.known(1).reshape(-1)]
    if sizes is None:
        parts = call.integer("num_outputs", len(call.node.outputs))
        each = -(-value.shape[axis] // max(parts, 1))
        sizes = [min(each, value.shape[axis] - each * part) for part in range(parts)]
    if any(size < 1 for size in sizes) or sum(sizes) != value.shape[axis]:
        raise ModelError(f"{call.node.where()}: parts of {sizes} of an axis of {value.shape[axis]}")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return [_cut(value, axis, int(start), 1, size) for start, size in zip(starts, sizes, strict=True)]


def _pad(call: Call) -> Sequence[Value]:
    value = call.tensor(0)
    if call.text("mode", "constant") != "constant":
        raise call.refuse("a padding that repeats what is inside")
    rank = len(value.shape)
    pads = call.integers("pads") if call.opset < 11 else [int(one) for one in call.known(1).reshape(-1)]
    axes_given = call.known_or(3) if call.opset >= 18 else None
    axes = list(range(rank)) if axes_given is None else [int(axis) % rank for axis in axes_given.reshape(-1)]
    fill_given = call.known_or(2) if call.opset >= 11 else None
    fill = call.number("value", 0.0) if fill_given is None else float(fill_given.item())
    if pads is None or len(pads) != 2 * len(axes) or any(pad < 0 for pad in pads):
        raise call.refuse(f"pads {pads}")
    if not any(pads):
        return _identity(call)
    before = dict(zip(axes, pads[: len(axes)], strict=True))
    after = dict(zip(axes, pads[len(axes) :], strict=True))
    shape = tuple(size + before.get(axis, 0) + after.get(axis, 0) for axis, size in enumerate(value.shape))
    if value.trim:  # what stands before the steps that are there is not read
        trim = value.trim + before.pop(rank - 1, 0)
        shape = (*shape[:-1], value.shape[-1] + after.get(rank - 1, 0))
        return [replace(padded(call, value, shape, [before.get(axis, 0) for axis in range(rank)], fill), trim=trim)]
    return [padded(call, value, shape, [before.get(axis, 0) for axis in range(rank)], fill)]


def padded(call: Call, value: Tensor, shape: tuple[int, ...], before: Sequence[int], fill: float) -> Tensor:
    """`value` within a larger tensor of `fill`."""
    target = fresh(call.program, _bounded(call, shape))
    call.program.op(lib.MODEL_FILL, r=[0, 0, 0, target.ref], n=[target.size], alpha=fill)
    offset = sum(one * stride for one, stride in zip(before, target.strides, strict=True))
    copied(call.program, value, replace(target, ref=target.ref + offset, shape=value.shape))
    return target


LOWERINGS: dict[str, Lowering] = {
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Identity": _identity,
    "Dropout": _identity,
    "Cast": _cast,
    "Constant": _constant,
    "Shape": _shape,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "Concat": _concat,
    "Split": _split,
    "Pad": _pad,
}
