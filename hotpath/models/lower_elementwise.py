"""Operators that take elements one by one: activations, arithmetic, comparisons.

They run in the order in which the elements lie, so that a transposed tensor is not moved for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ffi import lib
from hotpath.errors import NotNativeError
from hotpath.models.blob import Program
from hotpath.models.tensors import Array, Tensor, Value, constant, contiguous, copied, float32, fresh

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering

SELU = (1.67326319217681884765625, 1.05070102214813232421875)


def like(program: Program, value: Tensor) -> Tensor:
    """Room for as many elements, in the order in which these lie. `value` fills one stretch."""
    return replace(fresh(program, value.shape), strides=value.strides, trim=value.trim)


def stretch(program: Program, value: Tensor) -> Tensor:
    """The same, copied where it does not fill one stretch of memory."""
    return value if value.memory_order() is not None else contiguous(program, value)


def mapped(program: Program, value: Tensor, function: int, *, alpha: float = 0.0, beta: float = 0.0) -> Tensor:
    """One op over all elements."""
    source = stretch(program, value)
    target = like(program, source)
    made = program.op(
        lib.MODEL_MAP, function=function, r=[source.ref, 0, 0, target.ref], n=[source.size], alpha=alpha, beta=beta
    )
    return replace(target, producer=made)


def activated(call: Call, function: int, *, alpha: float = 0.0, beta: float = 0.0) -> Tensor:
    """An activation: written into the dense op before it, when that made the input for nobody else."""
    value = call.tensor(0)
    made = value.producer
    if made is not None and call.used_once(value, 0) and made.kind == lib.MODEL_DENSE and not made.function:
        made.function, made.alpha, made.beta = function, alpha, beta
        return replace(value, producer=None)
    return mapped(call.program, value, function, alpha=alpha, beta=beta)


def _plain(function: int) -> Lowering:
    return lambda call: [activated(call, function)]


def _with_alpha(function: int, default: float) -> Lowering:
    return lambda call: [activated(call, function, alpha=call.number("alpha", default))]


def _selu(call: Call) -> Sequence[Value]:
    alpha, gamma = call.number("alpha", SELU[0]), call.number("gamma", SELU[1])
    return [activated(call, lib.MODEL_SELU, alpha=alpha, beta=gamma)]


def _gelu(call: Call) -> Sequence[Value]:
    exact = call.text("approximate", "none") != "tanh"
    return [activated(call, lib.MODEL_GELU if exact else lib.MODEL_GELU_TANH)]


def _hard_sigmoid(call: Call) -> Sequence[Value]:
    return [activated(call, lib.MODEL_HARD_SIGMOID, alpha=call.number("alpha", 0.2), beta=call.number("beta", 0.5))]


def _clip(call: Call) -> Sequence[Value]:
    if call.opset < 11:
        low, high = call.number("min", -np.inf), call.number("max", np.inf)
    else:
        bounds = [call.known_or(1), call.known_or(2)]
        low = -np.inf if bounds[0] is None else float(bounds[0].item())
        high = np.inf if bounds[1] is None else float(bounds[1].item())
    value = call.value(0)
    if not isinstance(value, Tensor):
        return [np.clip(value, low, high).astype(value.dtype)]
    return [activated(call, lib.MODEL_CLIP, alpha=low, beta=high)]


# ---- two operands --------------------------------------------------------------------------------------------


def aligned(left: Value, right: Value) -> tuple[Value, Value]:
    """Without the first steps that only one of the two has: nobody reads them."""
    if isinstance(left, Tensor) and isinstance(right, Tensor) and left.trim != right.trim:
        trim = max(left.trim, right.trim)
        return _from(left, trim), _from(right, trim)
    return left, right


def _from(value: Tensor, trim: int) -> Tensor:
    gone = trim - value.trim
    if not gone or value.shape[-1] == 1:
        return value
    shape = (*value.shape[:-1], value.shape[-1] - gone)
    return replace(value, ref=value.ref + gone * value.strides[-1], shape=shape, producer=None, trim=trim)


def _broadcast_shape(call: Call, *values: Value) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(value.shape for value in values))
    except ValueError as error:
        raise NotNativeError(f"shapes {[value.shape for value in values]} do not broadcast") from error


def _in_order(value: Tensor, order: tuple[int, ...], array: Array) -> Array:
    """A constant of `value`'s shape, as the elements of `value` lie."""
    return array.transpose(order).reshape(-1)


def _period(flat: Array) -> tuple[int, int]:
    """(inner, length) of the shortest constant that repeats to `flat`."""
    words = np.ascontiguousarray(flat).view(np.uint32)
    if (words == words[0]).all():
        return words.size, 1
    for length in range(2, words.size):
        if words.size % length == 0:
            if (words.reshape(-1, length) == words[:length]).all():
                return 1, length
            inner = words.size // length
            if (words.reshape(length, inner) == words[::inner, None]).all():
                return inner, length
    return 1, words.size


def combined(program: Program, left: Tensor, right: Value, function: int) -> Tensor:
    """One op over all elements of `left`, which has the result's shape."""
    a = stretch(program, left)
    order = a.memory_order()
    assert order is not None
    if isinstance(right, Tensor):
        b = right.broadcast(a.shape)
        if b.strides != a.strides:
            b = copied(program, b, like(program, a))
        ref, inner, length = b.ref, 1, a.size
    else:
        flat = float32(_in_order(a, order, np.broadcast_to(right, a.shape)))
        inner, length = _period(flat)
        ref = program.weights(flat[::inner][:length] if inner > 1 else flat[:length])
    target = like(program, a)
    made = program.op(lib.MODEL_COMBINE, function=function, r=[a.ref, ref, 0, target.ref], n=[a.size, inner, length])
    return replace(target, producer=made)


_SWAPPED = {
    lib.MODEL_SUBTRACT: lib.MODEL_SUBTRACT_FROM,
    lib.MODEL_DIVIDE: lib.MODEL_DIVIDE_INTO,
    lib.MODEL_LESS: lib.MODEL_GREATER,
    lib.MODEL_LESS_EQUAL: lib.MODEL_GREATER_EQUAL,
    lib.MODEL_GREATER: lib.MODEL_LESS,
    lib.MODEL_GREATER_EQUAL: lib.MODEL_LESS_EQUAL,
}


def expanded(program: Program, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Broadcast, and copied when that repeats anything."""
    if value.shape == shape:
        return value
    wide = value.broadcast(shape)
    return wide if wide.memory_order() is not None else copied(program, wide, fresh(program, shape))


def _combine(program: Program, shape: tuple[int, ...], left: Value, right: Value, function: int) -> Tensor:
    if not isinstance(left, Tensor) or (isinstance(right, Tensor) and left.size < right.size):
        left, right, function = right, left, _SWAPPED.get(function, function)
    assert isinstance(left, Tensor)
    return combined(program, expanded(program, left, shape), right, function)


def _bias_fused(call: Call, left: Value, right: Value, shape: tuple[int, ...]) -> Tensor | None:
    """A constant that is added to what a dense op made for this node alone, written into its bias."""
    for index, (value, bias) in enumerate(((left, right), (right, left))):
        if not isinstance(value, Tensor) or isinstance(bias, Tensor) or value.shape != shape:
            continue
        made = value.producer
        if made is None or not call.used_once(value, index) or made.kind != lib.MODEL_DENSE or made.function:
            continue
        outputs = made.n[2]
        if made.n[0] != 1 or bias.size not in (1, outputs) or value.size != outputs:
            continue
        before = call.program.weight_values(made.r[2], outputs)
        if before.any():  # two roundings, not one
            continue
        made.r[2] = call.program.weights(np.broadcast_to(float32(bias).reshape(-1), (outputs,)))
        return value
    return None


def _arithmetic(function: int, fold: Callable[..., Any]) -> Lowering:
    def lowering(call: Call) -> Sequence[Value]:
        values = [call.value(index) for index in range(len(call.inputs))]
        result: Value = values[0]
        for index, value in enumerate(values[1:]):
            if not isinstance(result, Tensor) and not isinstance(value, Tensor):
                with np.errstate(all="ignore"):
                    result = np.asarray(fold(result, value))
                continue
            result, value = aligned(result, value)
            shape = _broadcast_shape(call, result, value)
            fused = _bias_fused(call, result, value, shape) if function == lib.MODEL_ADD and index == 0 else None
            result = fused if fused is not None else _combine(call.program, shape, result, value, function)
        return [result]

    return lowering


def _divided(left: Array, right: Array) -> Array:
    return left // right if left.dtype.kind in "iu" else left / right  # type: ignore[operator]


def _mean(call: Call) -> Sequence[Value]:
    (total,) = _arithmetic(lib.MODEL_ADD, np.add)(call)
    if isinstance(total, Tensor):
        return [mapped(call.program, total, lib.MODEL_AFFINE, alpha=1 / len(call.inputs))]
    return [np.asarray(total / len(call.inputs))]  # type: ignore[operator]


def _power(call: Call) -> Sequence[Value]:
    base = call.value(0)
    if not isinstance(base, Tensor):
        return [np.power(base, call.known(1))]
    exponents = call.known(1)
    if exponents.size != 1:
        raise call.refuse("powers that differ by element")
    power = float(exponents.item())
    functions = {
        2.0: lib.MODEL_SQUARE, 0.5: lib.MODEL_SQRT, 1.0: lib.MODEL_IDENTITY, -1.0: lib.MODEL_RECIPROCAL,
    }  # fmt: skip
    if power in functions:
        return [mapped(call.program, base, functions[power])]
    if power == 3.0:
        return [combined(call.program, mapped(call.program, base, lib.MODEL_SQUARE), base, lib.MODEL_MULTIPLY)]
    raise call.refuse(f"the power {power}")


def _leaky(call: Call) -> Sequence[Value]:
    """max(a, 0) + slope * min(a, 0), slopes by channel."""
    slope, value = call.known(1), call.tensor(0)
    if slope.size == 1:
        return [activated(call, lib.MODEL_LEAKY_RELU, alpha=float(slope.item()))]
    high = mapped(call.program, value, lib.MODEL_RELU)
    low = combined(call.program, value, np.zeros((), np.float32), lib.MODEL_MINIMUM)
    return [combined(call.program, high, combined(call.program, low, slope, lib.MODEL_MULTIPLY), lib.MODEL_ADD)]


def _where(call: Call) -> Sequence[Value]:
    values = [call.value(index) for index in range(3)]
    shape = _broadcast_shape(call, *values)
    if not any(isinstance(value, Tensor) for value in values):
        return [np.where(*(np.asarray(value) for value in values))]
    refs, steps = [], []
    for value in values:
        if isinstance(value, Tensor):
            refs.append(contiguous(call.program, expanded(call.program, value, shape)).ref)
            steps.append(1)
        elif value.size == 1 and refs:
            refs.append(call.program.weights(float32(value)))
            steps.append(0)
        else:
            refs.append(constant(call.program, np.ascontiguousarray(np.broadcast_to(value, shape))).ref)
            steps.append(1)
    target = fresh(call.program, shape)
    made = call.program.op(lib.MODEL_SELECT, r=[*refs, target.ref], n=[target.size, *steps[1:]])
    return [replace(target, producer=made)]


def _unary(function: int, fold: Callable[..., Any]) -> Lowering:
    """One that shape computations use on constants too."""

    def lowering(call: Call) -> Sequence[Value]:
        value = call.value(0)
        if isinstance(value, Tensor):
            return [activated(call, function)]
        with np.errstate(all="ignore"):
            return [np.asarray(fold(value)).astype(value.dtype)]

    return lowering


def _softmax(function: int) -> Lowering:
    def lowering(call: Call) -> Sequence[Value]:
        value = call.tensor(0)
        rank = len(value.shape)
        if call.opset >= 13:
            axis = call.integer("axis", -1) % rank
            if axis != rank - 1 and any(size != 1 for size in value.shape[axis + 1 :]):
                order = (*(other for other in range(rank) if other != axis), axis)
                back = tuple(int(place) for place in np.argsort(order))
                turned = contiguous(call.program, value.transposed(order))
                return [softmaxed(call.program, turned, turned.shape[-1], function).transposed(back)]
            return [softmaxed(call.program, contiguous(call.program, value), value.shape[axis], function)]
        axis = call.integer("axis", 1) % rank  # the axes from there on are one
        count = int(np.prod(value.shape[axis:]))
        return [softmaxed(call.program, contiguous(call.program, value), count, function)]

    return lowering


def softmaxed(program: Program, value: Tensor, count: int, function: int) -> Tensor:
    """Over rows of `count`; `value` lies in C order."""
    target = fresh(program, value.shape)
    program.op(lib.MODEL_SOFTMAX, function=function, r=[value.ref, 0, 0, target.ref], n=[value.size // count, count])
    return target


def _compare(function: int, fold: Callable[..., Any]) -> Lowering:
    return _arithmetic(function, fold)


LOWERINGS: dict[str, Lowering] = {
    "Relu": _plain(lib.MODEL_RELU),
    "LeakyRelu": _with_alpha(lib.MODEL_LEAKY_RELU, 0.01),
    "PRelu": _leaky,
    "Elu": _with_alpha(lib.MODEL_ELU, 1.0),
    "Selu": _selu,
    "Celu": _with_alpha(lib.MODEL_CELU, 1.0),
    "Gelu": _gelu,
    "Sigmoid": _plain(lib.MODEL_SIGMOID),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda call: [activated(call, lib.MODEL_HARD_SWISH, alpha=1 / 6, beta=0.5)],
    "Tanh": _plain(lib.MODEL_TANH),
    "Softplus": _plain(lib.MODEL_SOFTPLUS),
    "Softsign": _plain(lib.MODEL_SOFTSIGN),
    "Mish": _plain(lib.MODEL_MISH),
    "Erf": _plain(lib.MODEL_ERF),
    "Exp": _unary(lib.MODEL_EXP, np.exp),
    "Log": _unary(lib.MODEL_LOG, np.log),
    "Sqrt": _unary(lib.MODEL_SQRT, np.sqrt),
    "Abs": _unary(lib.MODEL_ABS, np.abs),
    "Neg": _unary(lib.MODEL_NEGATE, np.negative),
    "Reciprocal": _unary(lib.MODEL_RECIPROCAL, np.reciprocal),
    "Sign": _unary(lib.MODEL_SIGN, np.sign),
    "Floor": _unary(lib.MODEL_FLOOR, np.floor),
    "Ceil": _unary(lib.MODEL_CEIL, np.ceil),
    "Round": _unary(lib.MODEL_ROUND, np.round),
    "Not": _unary(lib.MODEL_NOT, np.logical_not),
    "IsNaN": _plain(lib.MODEL_IS_NAN),
    "Clip": _clip,
    "Add": _arithmetic(lib.MODEL_ADD, np.add),
    "Sum": _arithmetic(lib.MODEL_ADD, np.add),
    "Sub": _arithmetic(lib.MODEL_SUBTRACT, np.subtract),
    "Mul": _arithmetic(lib.MODEL_MULTIPLY, np.multiply),
    "Div": _arithmetic(lib.MODEL_DIVIDE, _divided),
    "Max": _arithmetic(lib.MODEL_MAXIMUM, np.maximum),
    "Min": _arithmetic(lib.MODEL_MINIMUM, np.minimum),
    "Mean": _mean,
    "Pow": _power,
    "Less": _compare(lib.MODEL_LESS, np.less),
    "LessOrEqual": _compare(lib.MODEL_LESS_EQUAL, np.less_equal),
    "Greater": _compare(lib.MODEL_GREATER, np.greater),
    "GreaterOrEqual": _compare(lib.MODEL_GREATER_EQUAL, np.greater_equal),
    "Equal": _compare(lib.MODEL_EQUAL, np.equal),
    "And": _compare(lib.MODEL_AND, np.logical_and),
    "Or": _compare(lib.MODEL_OR, np.logical_or),
    "Xor": _compare(lib.MODEL_XOR, np.logical_xor),
    "Where": _where,
    "Softmax": _softmax(lib.MODEL_SOFTMAX_PLAIN),
    "LogSoftmax": _softmax(lib.MODEL_SOFTMAX_LOG),
}
