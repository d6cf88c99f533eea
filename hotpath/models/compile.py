"""From ONNX to a blob: `compile_model(onnx_bytes)`.

    bytes --onnx_reader--> graph --fold constants, follow shapes--> lower_*: one function per operator --> blob

One event is one row: an open first dimension is 1. Operators that the native executor lacks raise NotNativeError, and
ONNX Runtime may run the graph instead; what no executor should see raises ModelError.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ffi import lib
from hotpath.errors import ModelError, NotNativeError
from hotpath.models.blob import Program, reference
from hotpath.models.onnx_reader import Attribute, Node, OnnxModel, ValueInfo, check_allowed, read_onnx
from hotpath.models.tensors import Array, Tensor, Value, contiguous, placed

FLOAT = 1
RUN_BY_ONNXRUNTIME = 'run it by ONNX Runtime (executor = "onnxruntime")'


@dataclass(frozen=True)
class Port:
    """An input, output or state of a model: `count` floats at `offset` of that space."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class CompiledModel:
    """A blob, and the names that it does not hold itself."""

    blob: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    """Named by the graph's input; zero at a reset."""
    source_sha256: bytes


@dataclass
class Compiler:
    """What the lowerings share: the program, the values by name, how often each is used."""

    model: OnnxModel
    program: Program
    values: dict[str, Value]
    uses: dict[str, int]
    demand: dict[str, int]
    """How many of its last steps anybody reads, of values of which not all is read: lower_conv."""

    @property
    def opset(self) -> int:
        return self.model.opsets.get("", 0)


Lowering = Callable[["Call"], Sequence[Value]]


@dataclass
class Call:
    """One node to be lowered."""

    compiler: Compiler
    node: Node
    inputs: list[Value | None]

    @property
    def program(self) -> Program:
        return self.compiler.program

    @property
    def opset(self) -> int:
        return self.compiler.opset

    def refuse(self, what: str, *, next_step: str = RUN_BY_ONNXRUNTIME) -> NotNativeError:
        """The error, for raising."""
        return NotNativeError(f"{self.node.where()}: {what}", next_step=next_step)

    def value(self, index: int) -> Value:
        """An input that must be there."""
        value = self.optional(index)
        if value is None:
            raise ModelError(f"{self.node.where()}: input {index} is missing")
        return value

    def optional(self, index: int) -> Value | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int) -> Tensor:
        """An input as floats somewhere; a constant is put among the weights."""
        value = self.value(index)
        if isinstance(value, Tensor):
            return value
        return contiguous(self.program, value)

    def known(self, index: int) -> Array:
        """An input that must be constant."""
        value = self.value(index)
        if isinstance(value, Tensor):
            raise self.refuse(f"input {index} ({self.node.inputs[index]!r}) is not constant")
        return value

    def known_or(self, index: int) -> Array | None:
        return None if self.optional(index) is None else self.known(index)

    # ---- attributes ---------------------------------------------------------------------------------------

    def attribute(self, name: str) -> Attribute | None:
        return self.node.attributes.get(name)

    def _wrong(self, name: str) -> ModelError:
        return ModelError(f"{self.node.where()}: attribute {name!r} is of another type than it should be")

    def integer(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise self._wrong(name)
        return value

    def number(self, name: str, default: float) -> float:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, float):
            raise self._wrong(name)
        return value

    def text(self, name: str, default: str) -> str:
        value = self.node.attributes.get(name, default.encode())
        if not isinstance(value, bytes):
            raise self._wrong(name)
        return value.decode(errors="replace")

    def integers(self, name: str) -> list[int] | None:
        value = self.node.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or any(not isinstance(one, int) for one in value):
            raise self._wrong(name)
        return [one for one in value if isinstance(one, int)]

    def numbers(self, name: str) -> list[float]:
        value = self.node.attributes.get(name, [])
        if not isinstance(value, list) or any(not isinstance(one, float) for one in value):
            raise self._wrong(name)
        return [one for one in value if isinstance(one, float)]

    def texts(self, name: str) -> list[str]:
        value = self.node.attributes.get(name, [])
        if not isinstance(value, list) or any(not isinstance(one, bytes) for one in value):
            raise self._wrong(name)
        return [one.decode(errors="replace") for one in value if isinstance(one, bytes)]

    def used_once(self, value: Tensor, index: int) -> bool:
        """Whether input `index` is read by this node alone, so that the op that made it may be changed."""
        return value.producer is not None and self.compiler.uses[self.node.inputs[index]] == 1


def compile_model(
    data: bytes,
    *,
    outputs: Sequence[str] | None = None,
    state: Mapping[str, str] | None = None,
    dims: Mapping[str, int] | None = None,
) -> CompiledModel:
    """Compile an ONNX file.

    outputs: names of those wanted, in the file's order when None; without those that carry a state.
    state: graph input -> graph output that holds its next value.
    dims: sizes of open dimensions by name; an open first dimension is 1.
    Raises ModelError for what is refused, and NotNativeError for what ONNX Runtime may run instead.
    """
    model = read_onnx(data)
    check_allowed(model)
    sha256 = hashlib.sha256(data).digest()
    return _compile(model, sha256, outputs=outputs, state=dict(state or {}), dims=dict(dims or {}))


def _compile(
    model: OnnxModel, sha256: bytes, *, outputs: Sequence[str] | None, state: dict[str, str], dims: dict[str, int]
) -> CompiledModel:
    program = Program()
    wanted = wanted_outputs(model, outputs, state)
    values: dict[str, Value] = dict(model.tensors)
    ports: list[Port] = []
    states: list[Port] = []
    for info in model.inputs:
        shape = shape_of(info, dims)
        if info.name in state:
            states.append(Port(info.name, shape, program.state_count))
            values[info.name] = placed(lib.MODEL_STATE, program.state_count, shape)
            program.state_count += math.prod(shape)
        else:
            ports.append(Port(info.name, shape, program.input_count))
            values[info.name] = placed(lib.MODEL_INPUT, program.input_count, shape)
            program.input_count += math.prod(shape)
    needed = _needed_nodes(model, {*wanted, *state.values()})
    uses: dict[str, int] = {}
    for name in [*wanted, *state.values(), *(name for node in needed for name in node.inputs)]:
        uses[name] = uses.get(name, 0) + 1
    compiler = Compiler(model, program, values, uses, {})
    from hotpath.models.lower_conv import demand_of
    from hotpath.models.operators import lower

    def run(node: Node) -> None:
        program.node = node.index
        made = lower(Call(compiler, node, [values[name] if name else None for name in node.inputs]))
        values.update({name: value for name, value in zip(node.outputs, made, strict=False) if name})

    folded = [node for node in needed if _is_folded(node, values, run)]
    compiler.demand = demand_of(compiler, needed)
    for node in needed:
        if node not in folded:
            run(node)
    return _finish(compiler, sha256, wanted, state, ports, states)


def _finish(
    compiler: Compiler,
    sha256: bytes,
    wanted: list[str],
    state: dict[str, str],
    inputs: list[Port],
    states: list[Port],
) -> CompiledModel:
    """Write outputs and states, last of all: a run that reads a state reads the one of before."""
    program, outputs = compiler.program, []
    for name in [*wanted, *state.values()]:
        if name not in compiler.values:
            raise NotNativeError(f"output {name!r} is not made by a native op")
        compiler.values[name] = contiguous(program, compiler.values[name])
    for name in wanted:
        value = contiguous(program, compiler.values[name])
        outputs.append(Port(name, value.shape, program.output_count))
        program.op(
            lib.MODEL_EMIT, r=[value.ref, 0, 0, reference(lib.MODEL_OUTPUT, program.output_count)], n=[value.size]
        )
        program.output_count += value.size
    for port in states:
        value = contiguous(program, compiler.values[state[port.name]])
        if value.size != port.count:
            raise ModelError(f"state {port.name!r} has {port.count} numbers, {state[port.name]!r} has {value.size}")
        program.op(lib.MODEL_EMIT, r=[value.ref, 0, 0, reference(lib.MODEL_STATE, port.offset)], n=[value.size])
    return CompiledModel(program.blob(sha256), tuple(inputs), tuple(outputs), tuple(states), sha256)


def wanted_outputs(model: OnnxModel, outputs: Sequence[str] | None, state: dict[str, str]) -> list[str]:
    """Names of the outputs to be written. Raises ModelError for one that is not there."""
    there = [one.name for one in model.outputs]
    for name in [*(outputs or ()), *state.values()]:
        if name not in there:
            raise ModelError(f"there is no output {name!r}", next_step=f"outputs: {', '.join(there)}")
    inputs = [one.name for one in model.inputs]
    for name in state:
        if name not in inputs:
            raise ModelError(f"there is no input {name!r} to carry", next_step=f"inputs: {', '.join(inputs)}")
    wanted = list(outputs) if outputs is not None else [name for name in there if name not in state.values()]
    if not wanted or len(set(wanted)) != len(wanted):
        raise ModelError("name at least one output, and each once", next_step=f"outputs: {', '.join(there)}")
    return wanted


def shape_of(info: ValueInfo, dims: dict[str, int]) -> tuple[int, ...]:
    """Of one event."""
    if info.type != FLOAT:
        raise NotNativeError(
            f"input {info.name!r} has element type {info.type}",
            next_step="export with float32 inputs",
        )
    shape: list[int] = []
    for axis, size in enumerate(info.shape):
        if isinstance(size, int):
            shape.append(size)
        elif size in dims:
            shape.append(dims[size])
        elif axis == 0 and len(info.shape) > 1:
            shape.append(1)
        else:
            raise ModelError(
                f"input {info.name!r}: dimension {axis} ({size!r}) is open", next_step="give its size in `dims`"
            )
    if math.prod(shape) < 1 or math.prod(shape) > lib.MODEL_FLOATS_MAX:
        raise ModelError(f"input {info.name!r} of shape {shape}")
    return tuple(shape)


FOLDED = frozenset(
    {"Constant", "ConstantOfShape", "Concat", "Reshape", "Slice", "Transpose", "Cast", "Gather", "Squeeze", "Unsqueeze"}
)
"""Of constants alone: how exporters write down a padding or a shape. Worked out before anything asks for it."""


def _is_folded(node: Node, values: dict[str, Value], run: Callable[[Node], None]) -> bool:
    if node.domain or node.op_type not in FOLDED:
        return False
    if any(name and (name not in values or isinstance(values[name], Tensor)) for name in node.inputs):
        return False
    run(node)
    return True


def _needed_nodes(model: OnnxModel, wanted: set[str]) -> list[Node]:
    """Those that the wanted values come from, in the file's order."""
    needed: list[Node] = []
    names = set(wanted)
    for node in reversed(model.nodes):
        if names & set(filter(None, node.outputs)):
            needed.append(node)
            names |= set(node.inputs)
    return needed[::-1]
