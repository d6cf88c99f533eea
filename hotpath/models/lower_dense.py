"""Operators of sums: matrix products, normalisation, reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ffi import lib
from hotpath.errors import ModelError
from hotpath.models.blob import Op, Program, dense_blocks
from hotpath.models.lower_elementwise import combined, mapped
from hotpath.models.tensors import Floats, Tensor, Value, contiguous, float32, fresh

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering


def dense(
    program: Program, value: Tensor, weights: Floats, bias: Floats | None, shape: tuple[int, ...], *, rows: int = 1
) -> Tensor:
    """rows of `value`, which lies in C order, times weights (outputs, inputs), plus bias."""
    outputs, inputs = weights.shape
    target = fresh(program, shape)
    made = dense_op(program, value.ref, weights, bias, target.ref, rows=rows, strides=(inputs, outputs))
    return replace(target, producer=made)


def dense_op(
    program: Program,
    source: int,
    weights: Floats,
    bias: Floats | int | None,
    target: int,
    *,
    rows: int = 1,
    strides: tuple[int, int] = (0, 0),
    bias_stride: int = 0,
) -> Op:
    """The op itself. `bias` may be a reference to what another op made."""
    outputs, inputs = weights.shape
    if not isinstance(bias, int):
        bias = program.weights(np.zeros(outputs, np.float32) if bias is None else bias)
    return program.op(
        lib.MODEL_DENSE,
        r=[source, program.weights(dense_blocks(weights)), bias, target],
        n=[rows, inputs, outputs, *strides, bias_stride],
    )


def _matrix_product(call: Call) -> Sequence[Value]:
    left, right = call.value(0), call.value(1)
    if not isinstance(left, Tensor) and not isinstance(right, Tensor):
        return [np.matmul(left, right)]
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        raise call.refuse("a product of two computed matrices")
    if isinstance(left, Tensor):
        matrix = float32(call.known(1))
        if matrix.ndim != 2:
            if matrix.ndim < 2 or any(size != 1 for size in matrix.shape[:-2]):
                raise call.refuse(f"a product with a constant of shape {matrix.shape}")
            matrix = matrix.reshape(matrix.shape[-2:])
        if left.shape[-1] != matrix.shape[0]:
            raise ModelError(f"{call.node.where()}: {left.shape} times {matrix.shape}")
        source = contiguous(call.program, left)
        shape = (*left.shape[:-1], matrix.shape[1])
        return [dense(call.program, source, matrix.T, None, shape, rows=math.prod(left.shape[:-1]))]
    assert isinstance(right, Tensor)
    matrix = float32(call.known(0))
    if matrix.ndim != 2 or len(right.shape) != 2 or matrix.shape[1] != right.shape[0]:
        raise call.refuse(f"a constant of shape {matrix.shape} times {right.shape}")
    source = contiguous(call.program, right.transposed((1, 0)))
    made = dense(call.program, source, matrix, None, (right.shape[1], matrix.shape[0]), rows=right.shape[1])
    return [made.transposed((1, 0))]


def _gemm(call: Call) -> Sequence[Value]:
    left = call.tensor(0)
    matrix = float32(call.known(1))
    if matrix.ndim != 2 or len(left.shape) != 2:
        raise ModelError(f"{call.node.where()}: {left.shape} times {matrix.shape}")
    if call.integer("transA", 0):
        left = left.transposed((1, 0))
    weights = matrix if call.integer("transB", 0) else matrix.T
    if left.shape[1] != weights.shape[1]:
        raise ModelError(f"{call.node.where()}: {left.shape} times {weights.T.shape}")
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    rows, outputs = left.shape[0], weights.shape[0]
    source = contiguous(call.program, left)
    third = call.optional(2)
    bias = None
    if third is not None and not isinstance(third, Tensor) and third.size in (1, outputs) and third.ndim <= 2:
        bias = np.broadcast_to(float32(third).reshape(-1) * np.float32(beta), (outputs,))
        third = None
    made = dense(call.program, source, weights * np.float32(alpha), bias, (rows, outputs), rows=rows)
    if third is None:
        return [made]
    if isinstance(third, Tensor) and beta != 1.0:
        third = mapped(call.program, third, lib.MODEL_AFFINE, alpha=beta)
    elif not isinstance(third, Tensor):
        third = float32(third) * np.float32(beta)
    return [combined(call.program, made, third, lib.MODEL_ADD)]


# ---- normalisation -------------------------------------------------------------------------------------------


def _batch_norm(call: Call) -> Sequence[Value]:
    """scale (a - mean) / sqrt(var + epsilon) + bias by channel, folded into the dense op before where there is one."""
    value = call.tensor(0)
    scale, bias, mean, variance = (call.known(index).astype(np.float64) for index in range(1, 5))
    if call.integer("training_mode", 0):
        raise call.refuse("training mode", next_step="export in evaluation mode")
    factor = scale / np.sqrt(variance + call.number("epsilon", 1e-5))
    offset = bias - mean * factor
    made = value.producer
    channels = value.shape[1] if len(value.shape) > 1 else value.shape[0]
    if factor.size != channels:
        raise ModelError(f"{call.node.where()}: {factor.size} factors for {channels} channels")
    channel_stride = value.strides[1] if len(value.shape) > 1 else 1
    if (
        made is not None and call.used_once(value, 0) and made.kind == lib.MODEL_DENSE and not made.function
        and made.n[2] == channels and channel_stride == 1 and value.memory_order() is not None
    ):  # fmt: skip
        outputs, inputs = made.n[2], made.n[1]
        lanes = int(lib.MODEL_LANES)
        blocks = call.program.weight_values(made.r[1], -(-outputs // lanes) * lanes * inputs)
        matrix = blocks.reshape(-1, inputs, lanes).transpose(0, 2, 1).reshape(-1, inputs)[:outputs]
        before = call.program.weight_values(made.r[2], outputs)
        made.r[1] = call.program.weights(dense_blocks((matrix * factor[:, None]).astype(np.float32)))
        made.r[2] = call.program.weights((before * factor + offset).astype(np.float32))
        return [value]
    shape = (1, channels, *([1] * (len(value.shape) - 2))) if len(value.shape) > 1 else (channels,)
    times = combined(call.program, value, factor.astype(np.float32).reshape(shape), lib.MODEL_MULTIPLY)
    return [combined(call.program, times, offset.astype(np.float32).reshape(shape), lib.MODEL_ADD)]


def _layer_norm(call: Call) -> Sequence[Value]:
    value = contiguous(call.program, call.tensor(0))
    axis = call.integer("axis", -1) % len(value.shape)
    count = math.prod(value.shape[axis:])
    scale = float32(call.known(1)).reshape(-1)
    third = call.known_or(2)
    bias = np.zeros(count, np.float32) if third is None else float32(third).reshape(-1)
    if scale.size != count or bias.size != count:
        raise call.refuse(f"a scale of {scale.size} for rows of {count}")
    target = fresh(call.program, value.shape)
    call.program.op(
        lib.MODEL_NORMALIZE,
        function=lib.MODEL_LAYER_NORM,
        r=[value.ref, call.program.weights(scale), call.program.weights(bias), target.ref],
        n=[value.size // count, count],
        alpha=call.number("epsilon", 1e-5),
    )
    return [target]


# ---- reductions ----------------------------------------------------------------------------------------------


def reduced(program: Program, value: Tensor, axes: Sequence[int], function: int, *, keep: bool) -> Tensor:
    """Over some axes, which are moved together to the end where they are not neighbours."""
    rank = len(value.shape)
    others = [axis for axis in range(rank) if axis not in axes]
    first, last = min(axes), max(axes)
    if list(axes) == list(range(first, last + 1)):
        dense_value = contiguous(program, value)
        outer, inner = math.prod(value.shape[:first]), math.prod(value.shape[last + 1 :])
    else:
        dense_value = contiguous(program, value.transposed((*others, *axes)))
        outer, inner = math.prod(value.shape[axis] for axis in others), 1
    count = math.prod(value.shape[axis] for axis in axes)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    target = fresh(program, shape)
    program.op(lib.MODEL_REDUCE, function=function, r=[dense_value.ref, 0, 0, target.ref], n=[outer, count, inner])
    if keep:
        return target
    return replace(
        target,
        shape=tuple(target.shape[axis] for axis in others),
        strides=tuple(target.strides[axis] for axis in others),
    )


def _reduce(function: int, *, before: int = 0, after: int = 0, since: int = 18) -> Lowering:
    def lowering(call: Call) -> Sequence[Value]:
        value = call.tensor(0)
        axes = call.integers("axes")
        if axes is None and call.opset >= since and call.optional(1) is not None:
            axes = [int(axis) for axis in call.known(1).reshape(-1)]
        if not axes and call.integer("noop_with_empty_axes", 0):
            return [value]
        places = sorted({axis % len(value.shape) for axis in axes}) if axes else list(range(len(value.shape)))
        if before:
            value = mapped(call.program, value, before)
        made = reduced(call.program, value, places, function, keep=bool(call.integer("keepdims", 1)))
        return [mapped(call.program, made, after) if after else made]

    return lowering


def _pooled(function: int) -> Lowering:
    def lowering(call: Call) -> Sequence[Value]:
        value = call.tensor(0)
        return [reduced(call.program, value, list(range(2, len(value.shape))), function, keep=True)]

    return lowering


def _arg_max(call: Call) -> Sequence[Value]:
    value = call.tensor(0)
    rank = len(value.shape)
    axis = call.integer("axis", 0) % rank
    if call.integer("select_last_index", 0):
        raise call.refuse("the last of equal ones")
    if call.node.op_type == "ArgMin":
        value = mapped(call.program, value, lib.MODEL_NEGATE)
    order = (*(other for other in range(rank) if other != axis), axis)
    turned = contiguous(call.program, value.transposed(order))
    target = fresh(call.program, turned.shape[:-1])
    call.program.op(
        lib.MODEL_ARGMAX, r=[turned.ref, 0, 0, target.ref], n=[turned.size // turned.shape[-1], turned.shape[-1]]
    )
    if not call.integer("keepdims", 1):
        return [target]
    shape = tuple(1 if other == axis else size for other, size in enumerate(value.shape))
    return [replace(fresh_view(target), shape=shape, strides=Tensor._dense_strides(shape))]


def fresh_view(value: Tensor) -> Tensor:
    return replace(value, producer=None)


LOWERINGS: dict[str, Lowering] = {
    "MatMul": _matrix_product,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "ReduceSum": _reduce(lib.MODEL_SUM, since=13),
    "ReduceMean": _reduce(lib.MODEL_MEAN),
    "ReduceMax": _reduce(lib.MODEL_GREATEST),
    "ReduceMin": _reduce(lib.MODEL_LEAST),
    "ReduceSumSquare": _reduce(lib.MODEL_SUM, before=lib.MODEL_SQUARE),
    "ReduceL2": _reduce(lib.MODEL_SUM, before=lib.MODEL_SQUARE, after=lib.MODEL_SQRT),
    "GlobalAveragePool": _pooled(lib.MODEL_MEAN),
    "GlobalMaxPool": _pooled(lib.MODEL_GREATEST),
    "ArgMax": _arg_max,
    "ArgMin": _arg_max,
}
