"""One-dimensional convolution as dense ops over overlapping windows, and no more of it than is asked for.

    (1, channels, time) is kept time-major: | c0 c1 .. at t0 | c0 c1 .. at t1 | ...   a window is one stretch

Who reads only the last step of a stack of convolutions needs only its receptive field: `demand_of` walks the graph
backwards and says of each value how many of its last steps anybody reads; the rest is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ffi import lib
from hotpath.errors import ModelError
from hotpath.models.lower_dense import dense_op
from hotpath.models.onnx_reader import Node
from hotpath.models.tensors import Array, Floats, Tensor, Value, copied, float32, fresh

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Compiler, Lowering


def _pads(call: Call, length: int, span: int, stride: int) -> tuple[int, int]:
    """Zeros before and after."""
    auto = call.text("auto_pad", "NOTSET")
    pads = call.integers("pads") or [0, 0]
    if auto == "VALID":
        return 0, 0
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        return (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
    if auto != "NOTSET" or len(pads) != 2 or min(pads) < 0:
        raise ModelError(f"{call.node.where()}: auto_pad {auto!r}, pads {pads}")
    return pads[0], pads[1]


def _time_major(call: Call, value: Tensor, first: int, last: int) -> int:
    """Reference of step `first`, of which all up to `last` lie behind one another; zeros where there is no step."""
    _, channels, here = value.shape
    end = value.trim + here
    lies_so = (channels == 1 or value.strides[1] == 1) and (here == 1 or value.strides[2] == channels)
    if lies_so and first >= value.trim and last < end:
        return value.ref + (first - value.trim) * channels
    room = fresh(call.program, (1, last - first + 1, channels))
    inner_first, inner_last = max(first, value.trim), min(last, end - 1)
    if inner_first > first or inner_last < last:
        call.program.op(lib.MODEL_FILL, r=[0, 0, 0, room.ref], n=[room.size])
    if inner_first <= inner_last:
        count = inner_last - inner_first + 1
        source = replace(
            value, ref=value.ref + (inner_first - value.trim) * value.strides[2], shape=(1, channels, count)
        )
        target = replace(room, ref=room.ref + (inner_first - first) * channels, shape=(1, count, channels))
        copied(call.program, source, target.transposed((0, 2, 1)))
    return room.ref


def _conv(call: Call) -> Sequence[Value]:
    value, weights = call.tensor(0), float32(call.known(1))
    if len(value.shape) != 3 or value.shape[0] != 1 or weights.ndim != 3:
        raise call.refuse(f"an input of shape {value.shape}: one sequence (1, channels, time)")
    if call.integer("group", 1) != 1:
        raise call.refuse("groups of channels")
    outputs, channels, taps = weights.shape
    if channels != value.shape[1]:
        raise ModelError(f"{call.node.where()}: {value.shape[1]} channels where the weights have {channels}")
    stride, dilation = (call.integers("strides") or [1])[0], (call.integers("dilations") or [1])[0]
    if stride < 1 or dilation < 1:
        raise ModelError(f"{call.node.where()}: stride {stride}, dilation {dilation}")
    length = value.trim + value.shape[2]
    span = dilation * (taps - 1) + 1
    before, after = _pads(call, length, span, stride)
    steps = (length + before + after - span) // stride + 1
    if steps < 1:
        raise ModelError(f"{call.node.where()}: {length} steps for a window of {span}")
    wanted = call.compiler.demand.get(call.node.outputs[0], steps)
    first = max(0, steps - wanted)
    third = call.known_or(2)
    bias = np.zeros(outputs, np.float32) if third is None else float32(third)
    start = _time_major(call, value, first * stride - before, (steps - 1) * stride - before + span - 1)
    return [_windows(call, start, weights, bias, rows=steps - first, stride=stride, dilation=dilation, trim=first)]


def _windows(
    call: Call, start: int, weights: Floats, bias: Floats, *, rows: int, stride: int, dilation: int, trim: int
) -> Tensor:
    """The dense ops: one, or one for each tap when these lie apart."""
    outputs, channels, taps = weights.shape
    target = call.program.scratch(rows * outputs)
    strides = (stride * channels, outputs)
    result = Tensor(target, (1, outputs, rows), (rows * outputs, 1, outputs), None, trim)
    if dilation == 1 or taps == 1:
        matrix = np.ascontiguousarray(weights.transpose(0, 2, 1)).reshape(outputs, taps * channels)
        return replace(result, producer=dense_op(call.program, start, matrix, bias, target, rows=rows, strides=strides))
    for tap in range(taps):
        source = start + tap * dilation * channels
        matrix = np.ascontiguousarray(weights[:, :, tap])
        if tap == 0:
            dense_op(call.program, source, matrix, bias, target, rows=rows, strides=strides)
        else:
            dense_op(call.program, source, matrix, target, target, rows=rows, strides=strides, bias_stride=outputs)
    return result


# ---- how much is asked for -----------------------------------------------------------------------------------

_ELEMENTWISE = """
BatchNormalization Cast Celu Dropout Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Mish Relu Selu Sigmoid
Softplus Softsign Tanh
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
PAIRWISE = frozenset({"Add", "Sub", "Mul", "Div"})
Demand = dict[str, int]


def demand_of(compiler: Compiler, nodes: Sequence[Node]) -> Demand:
    """How many of its last steps anybody reads, of the values (1, channels, time) of which not all is read."""
    wanted: dict[str, int | None] = {}
    constants = {name: value for name, value in compiler.values.items() if not isinstance(value, Tensor)}
    for output in compiler.uses:
        if output in {one.name for one in compiler.model.outputs}:
            wanted[output] = None
    for node in reversed(nodes):
        asked = wanted.get(node.outputs[0]) if node.outputs[0] in wanted else 0
        for name, count in _asks(compiler, node, asked, constants).items():
            if count is None or wanted.get(name, 0) is None:
                wanted[name] = None
            else:
                wanted[name] = max(count, wanted.get(name) or 0)
    return {name: count for name, count in wanted.items() if count}


def _asks(compiler: Compiler, node: Node, asked: int | None, constants: dict[str, Array]) -> dict[str, int | None]:
    """Of each input, how many last steps the node reads when `asked` of its output are read. None: all."""
    everything: dict[str, int | None] = {name: None for name in node.inputs if name}
    cut = _cut_of(compiler, node, asked, constants)
    if cut is not None:
        return {**everything, node.inputs[0]: cut}
    if not asked:
        return everything
    if node.op_type in ELEMENTWISE:
        return {**everything, node.inputs[0]: asked}
    if node.op_type in PAIRWISE:
        flat = all(name not in constants or constants[name].shape[-1:] in ((), (1,)) for name in node.inputs)
        return dict.fromkeys(node.inputs, asked) if flat else everything
    if node.op_type == "Conv":
        return {**everything, node.inputs[0]: _window_asks(node, asked, constants)}
    return everything


def _window_asks(node: Node, asked: int, constants: dict[str, Array]) -> int | None:
    weights = constants.get(node.inputs[1])
    strides, dilations = node.attributes.get("strides", [1]), node.attributes.get("dilations", [1])
    pads = node.attributes.get("pads", [0, 0])
    if (
        weights is None
        or weights.ndim != 3
        or strides != [1]
        or node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    ):
        return None
    if not isinstance(dilations, list) or not isinstance(pads, list) or len(pads) != 2 or len(dilations) != 1:
        return None
    span = int(dilations[0]) * (int(weights.shape[2]) - 1)
    return max(1, asked + span - int(pads[1]))


def _cut_of(compiler: Compiler, node: Node, asked: int | None, constants: dict[str, Array]) -> int | None:
    """x[:, :, -k:] or x[:, :, :-k], as Gather, Slice or Pad: how many last steps it reads; None for anything else."""
    if node.op_type == "Gather" and node.attributes.get("axis") in (2, -1):
        index = constants.get(node.inputs[1])
        return 1 if index is not None and index.size == 1 and int(index.item()) == -1 else None
    if node.op_type == "Slice" and len(node.inputs) >= 4 and compiler.opset >= 10:
        given = [constants.get(name) for name in node.inputs[1:]]
        if any(one is None or one.size != 1 for one in given):
            return None
        numbers = [int(one.item()) for one in given if one is not None]
        start, end, axis, step = (*numbers, 1)[:4]
        if axis in (2, -1) and step == 1 and start < 0 and end > 1 << 20:
            return -start
        if axis in (2, -1) and step == 1 and start == 0 and end < 0 and asked:
            return asked - end
    if node.op_type == "Pad" and len(node.inputs) <= 3 and compiler.opset >= 11 and asked:
        pads = constants.get(node.inputs[1])
        if pads is not None and pads.size == 6 and not pads[[0, 1, 3, 4]].any() and int(pads.min()) >= 0:
            return max(1, asked - int(pads[5]))
    return None


LOWERINGS: dict[str, Lowering] = {"Conv": _conv}
