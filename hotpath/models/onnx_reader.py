"""An ONNX file as data: read without the `onnx` package, within bounds, and nothing that could run, load or grow.

    bytes --wire.py--> Model(graph, opsets) --check_allowed--> operators, domains and opsets that are known

Refused wherever they stand: functions, subgraphs (Loop, If, Scan), external data, sparse tensors, sequences and maps of
inputs, training information, unknown fields, and anything beyond LIMITS. Each ModelError says what, where, what to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hotpath.errors import ModelError
from hotpath.models import wire
from hotpath.models.wire import Message, Table

Array = npt.NDArray[np.generic]
Attribute = float | int | bytes | list[float] | list[int] | list[bytes] | Array


@dataclass(frozen=True)
class Limits:
    """What a file may hold at most. The bounds of the blob (ffi/include/model.h) are narrower still for some graphs."""

    file_bytes: int = 256 << 20
    nodes: int = 4096
    tensors: int = 4096
    values: int = 64
    """Inputs, and outputs, of the graph or of one node; of a Concat too."""
    rank: int = 6
    dimension: int = 1 << 24
    elements: int = 1 << 26
    """Of all tensors and attribute lists together."""
    attributes: int = 64


LIMITS = Limits()

# TensorProto.DataType of what may stand in a file.
_TYPES: dict[int, np.dtype[np.generic]] = {
    1: np.dtype("f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("i4"),
    7: np.dtype("i8"),
    9: np.dtype("?"),
    11: np.dtype("f8"),
}
STRING = 8

_MODEL: Table = {
    1: ("ir_version", "one"), 2: ("producer", "one"), 3: ("producer_version", "one"), 4: ("domain", "skip"),
    5: ("model_version", "skip"), 6: ("doc", "skip"), 7: ("graph", "one"), 8: ("opset", "many"),
    14: ("metadata", "skip"), 20: ("training", "many"), 25: ("function", "many"),
}  # fmt: skip
_GRAPH: Table = {
    1: ("node", "many"), 2: ("name", "skip"), 5: ("initializer", "many"), 10: ("doc", "skip"), 11: ("input", "many"),
    12: ("output", "many"), 13: ("value_info", "skip"), 14: ("quantization", "many"), 15: ("sparse", "many"),
    16: ("metadata", "skip"),
}  # fmt: skip
_NODE: Table = {
    1: ("input", "many"), 2: ("output", "many"), 3: ("name", "one"), 4: ("op_type", "one"), 5: ("attribute", "many"),
    6: ("doc", "skip"), 7: ("domain", "one"), 8: ("overload", "one"), 9: ("metadata", "skip"),
}  # fmt: skip
_ATTRIBUTE: Table = {
    1: ("name", "one"), 2: ("f", "one"), 3: ("i", "one"), 4: ("s", "one"), 5: ("t", "one"), 6: ("g", "many"),
    7: ("floats", "many"), 8: ("ints", "many"), 9: ("strings", "many"), 10: ("tensors", "many"), 11: ("graphs", "many"),
    13: ("doc", "skip"), 14: ("tp", "many"), 15: ("tps", "many"), 20: ("type", "one"), 21: ("ref", "many"),
    22: ("sparse", "many"), 23: ("sparses", "many"),
}  # fmt: skip
_TENSOR: Table = {
    1: ("dims", "many"), 2: ("type", "one"), 3: ("segment", "many"), 4: ("floats", "many"), 5: ("int32s", "many"),
    6: ("strings", "many"), 7: ("int64s", "many"), 8: ("name", "one"), 9: ("raw", "one"), 10: ("doubles", "many"),
    11: ("uint64s", "many"), 12: ("doc", "skip"), 13: ("external", "many"), 14: ("location", "one"),
    16: ("metadata", "skip"),
}  # fmt: skip
_VALUE: Table = {1: ("name", "one"), 2: ("type", "one"), 3: ("doc", "skip"), 4: ("metadata", "skip")}
_TYPE: Table = {
    1: ("tensor", "one"), 4: ("sequence", "many"), 5: ("map", "many"), 6: ("denotation", "skip"), 8: ("sparse", "many"),
    9: ("optional", "many"),
}  # fmt: skip
_TENSOR_TYPE: Table = {1: ("element", "one"), 2: ("shape", "one")}
_SHAPE: Table = {1: ("dim", "many")}
_DIM: Table = {1: ("value", "one"), 2: ("parameter", "one"), 3: ("denotation", "skip")}
_OPSET: Table = {1: ("domain", "one"), 2: ("version", "one")}

# What no model of ours needs and a hostile one would like, by message; with the reason that people read.
_FORBIDDEN = {
    "training": "training information", "function": "a function of its own", "quantization": "quantization notes",
    "sparse": "a sparse tensor", "sparses": "sparse tensors", "g": "a subgraph (control flow)",
    "graphs": "subgraphs (control flow)", "tp": "a type as attribute", "tps": "types as attributes",
    "ref": "a reference to a function's attribute", "tensors": "a list of tensors", "segment": "a tensor in segments",
    "external": "data in another file", "uint64s": "unsigned numbers of 64 bits",
}  # fmt: skip
_NEXT = {
    "external": "export with the weights inside the file (torch: external_data=False)",
    "function": "export with functions inlined",
    "g": "export for a fixed number of steps",
    "graphs": "export for a fixed number of steps",
}


@dataclass(frozen=True)
class ValueInfo:
    """An input or output of the graph. A dimension is a number, or the name of one that is open ("" without a name)."""

    name: str
    type: int
    """TensorProto.DataType; 0 where it is not a tensor (the map of a ZipMap)."""
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Node:
    """One operator."""

    index: int
    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    """"" for an optional input that is left out."""
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]

    def where(self) -> str:
        """How messages name it."""
        return f"node {self.index} ({self.op_type}{f' {self.name!r}' if self.name else ''})"


@dataclass(frozen=True)
class OnnxModel:
    """A file that was read."""

    ir_version: int
    producer: str
    opsets: dict[str, int]
    nodes: tuple[Node, ...]
    tensors: dict[str, Array]
    inputs: tuple[ValueInfo, ...]
    """Those that are no initializers."""
    outputs: tuple[ValueInfo, ...]


@dataclass
class _Budget:
    """What is left of LIMITS.elements."""

    elements: int

    def take(self, count: int, where: str, limits: Limits) -> None:
        self.elements -= count
        if self.elements < 0:
            raise ModelError(f"{where}: the file holds more than {limits.elements} numbers")


@dataclass
class _Reader:
    limits: Limits
    budget: _Budget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = _Budget(self.limits.elements)

    def message(self, data: memoryview, table: Table, where: str) -> Message:
        fields_max = 4 * self.limits.elements if table is _TENSOR else 4 * max(self.limits.nodes, 1 << 16)
        if table is _ATTRIBUTE:
            fields_max = 4 * self.limits.elements
        found = wire.read_message(data, table, where, fields_max=fields_max)
        for name in _FORBIDDEN.keys() & found.keys():
            raise ModelError(f"{where}: {_FORBIDDEN[name]}", next_step=_NEXT.get(name, "export a plain graph"))
        return found

    # ---- tensors ------------------------------------------------------------------------------------------

    def tensor(self, data: memoryview, where: str) -> tuple[str, Array]:
        message = self.message(data, _TENSOR, where)
        name = wire.text(wire.octets(message, "name", where), where)
        where = f"{where} {name!r}"
        if wire.integer(message, "location", where) != 0:
            raise ModelError(f"{where}: {_FORBIDDEN['external']}", next_step=_NEXT["external"])
        shape = wire.integers(message, "dims", where, count_max=self.limits.rank)
        if any(not 0 <= size <= self.limits.dimension for size in shape):
            raise ModelError(f"{where}: a dimension of {shape} is not in 0..{self.limits.dimension}")
        count = math.prod(shape)
        self.budget.take(count, where, self.limits)
        kind = wire.integer(message, "type", where)
        if kind == STRING:
            strings = [bytes(one) for one in wire.each_octets(message, "strings", where)]
            if len(strings) != count:
                raise ModelError(f"{where}: {len(strings)} strings where its shape {shape} says {count}")
            return name, np.array(strings, dtype=object).reshape(shape)
        if kind not in _TYPES:
            raise ModelError(f"{where}: element type {kind}", next_step="use float, double, int32, int64 or bool")
        dtype = _TYPES[kind]
        values = self._tensor_values(message, dtype, count, where)
        if values.size != count:
            raise ModelError(f"{where}: {values.size} numbers where its shape {shape} says {count}")
        return name, values.reshape(shape)

    def _tensor_values(self, message: Message, dtype: np.dtype[Any], count: int, where: str) -> Array:
        if "raw" in message:
            raw = wire.octets(message, "raw", where)
            if len(raw) != count * dtype.itemsize or message.keys() & {"floats", "int32s", "int64s", "doubles"}:
                raise ModelError(f"{where}: {len(raw)} bytes where its shape says {count * dtype.itemsize}")
            stored = np.dtype("u1") if dtype == np.dtype("?") else dtype.newbyteorder("<")
            values: Array = np.frombuffer(bytes(raw), stored).astype(dtype)
            return values
        if dtype == np.dtype("f4"):
            return np.frombuffer(wire.packed(message, "floats", where, each=4, count_max=count), "<f4").astype(dtype)
        if dtype == np.dtype("f8"):
            return np.frombuffer(wire.packed(message, "doubles", where, each=8, count_max=count), "<f8").astype(dtype)
        name = "int64s" if dtype == np.dtype("i8") else "int32s"
        whole: Array = np.array(wire.integers(message, name, where, count_max=count), dtype="i8")
        if whole.size and dtype != np.dtype("?"):
            bounds = np.iinfo(dtype.name)
            if whole.min() < bounds.min or whole.max() > bounds.max:
                raise ModelError(f"{where}: a number beyond {dtype.name}")
        return whole.astype(dtype)

    # ---- nodes --------------------------------------------------------------------------------------------

    def attribute(self, data: memoryview, where: str) -> tuple[str, Attribute]:
        message = self.message(data, _ATTRIBUTE, where)
        name = wire.text(wire.octets(message, "name", where), where)
        where = f"{where}, attribute {name!r}"
        count_max = self.limits.elements
        given = message.keys() - {"name", "type"}
        if len(given) > 1:
            raise ModelError(f"{where}: {sorted(given)} at once")
        value: Attribute
        match wire.integer(message, "type", where):
            case 1:
                value = wire.number(message, "f", where)
            case 2:
                value = wire.integer(message, "i", where)
            case 3:
                value = bytes(wire.octets(message, "s", where))
            case 4:
                value = self.tensor(wire.octets(message, "t", where), where)[1]
            case 6:
                raw = wire.packed(message, "floats", where, each=4, count_max=count_max)
                value = np.frombuffer(raw, "<f4").tolist()
            case 7:
                value = wire.integers(message, "ints", where, count_max=count_max)
            case 8:
                value = [bytes(one) for one in wire.each_octets(message, "strings", where)]
            case other:
                raise ModelError(f"{where}: of type {other}", next_step="export a plain graph")
        if isinstance(value, list):
            self.budget.take(len(value), where, self.limits)
        return name, value

    def node(self, data: memoryview, index: int) -> Node:
        where = f"node {index}"
        message = self.message(data, _NODE, where)
        op_type = wire.text(wire.octets(message, "op_type", where), where)
        where = f"{where} ({op_type})"
        if len(wire.octets(message, "overload", where)):
            raise ModelError(f"{where}: an overload of a function", next_step=_NEXT["function"])
        ports = {
            side: tuple(wire.text(one, where) for one in wire.each_octets(message, side, where))
            for side in ("input", "output")
        }
        if max(len(ports["input"]), len(ports["output"])) > self.limits.values:
            raise ModelError(f"{where}: more than {self.limits.values} inputs or outputs")
        given = wire.each_octets(message, "attribute", where)
        if len(given) > self.limits.attributes:
            raise ModelError(f"{where}: more than {self.limits.attributes} attributes")
        attributes: dict[str, Attribute] = {}
        for one in given:
            name, value = self.attribute(one, where)
            if name in attributes:
                raise ModelError(f"{where}: attribute {name!r} comes twice")
            attributes[name] = value
        domain = wire.text(wire.octets(message, "domain", where), where)
        return Node(
            index=index,
            op_type=op_type,
            domain="" if domain == "ai.onnx" else domain,
            name=wire.text(wire.octets(message, "name", where), where),
            inputs=ports["input"],
            outputs=ports["output"],
            attributes=attributes,
        )

    # ---- the graph ----------------------------------------------------------------------------------------

    def value(self, data: memoryview, where: str, *, output: bool) -> ValueInfo:
        message = self.message(data, _VALUE, where)
        name = wire.text(wire.octets(message, "name", where), where)
        where = f"{where} {name!r}"
        kind = wire.read_message(wire.octets(message, "type", where), _TYPE, where, fields_max=16)
        if kind.keys() - {"tensor"}:
            if output and not kind.keys() - {"sequence"}:
                return ValueInfo(name, 0, ())  # a ZipMap's: known to check_allowed by its node
            raise ModelError(f"{where}: not a tensor", next_step="export with tensors as inputs and outputs")
        tensor = self.message(wire.octets(kind, "tensor", where), _TENSOR_TYPE, where)
        shape: list[int | str] = []
        dims = self.message(wire.octets(tensor, "shape", where), _SHAPE, where)
        for one in wire.each_octets(dims, "dim", where):
            dim = self.message(one, _DIM, where)
            size = wire.integer(dim, "value", where, default=-1)
            if size > self.limits.dimension:
                raise ModelError(f"{where}: a dimension of {size} (at most {self.limits.dimension})")
            shape.append(size if size >= 1 else wire.text(wire.octets(dim, "parameter", where), where))
        if len(shape) > self.limits.rank:
            raise ModelError(f"{where}: of rank {len(shape)} (at most {self.limits.rank})")
        return ValueInfo(name, wire.integer(tensor, "element", where), tuple(shape))

    def model(self, data: memoryview) -> OnnxModel:
        message = self.message(data, _MODEL, "the file")
        if "graph" not in message:
            raise ModelError("the file holds no graph", next_step="give the .onnx file that the exporter wrote")
        opsets: dict[str, int] = {}
        for one in wire.each_octets(message, "opset", "opset_import"):
            entry = self.message(one, _OPSET, "opset_import")
            domain = wire.text(wire.octets(entry, "domain", "opset_import"), "opset_import")
            domain = "" if domain == "ai.onnx" else domain
            version = wire.integer(entry, "version", "opset_import")
            if opsets.setdefault(domain, version) != version:  # skl2onnx writes the same one twice
                raise ModelError(f"opset_import: domain {domain!r} with versions {opsets[domain]} and {version}")
        graph = self.message(wire.octets(message, "graph", "the file"), _GRAPH, "graph")
        nodes = wire.each_octets(graph, "node", "graph")
        initializers = wire.each_octets(graph, "initializer", "graph")
        if len(nodes) > self.limits.nodes or len(initializers) > self.limits.tensors:
            raise ModelError(
                f"graph: {len(nodes)} nodes, {len(initializers)} tensors (at most {self.limits.nodes} each)"
            )
        tensors: dict[str, Array] = {}
        for data_of_one in initializers:
            name, values = self.tensor(data_of_one, "initializer")
            if name in tensors:
                raise ModelError(f"initializer {name!r} comes twice")
            tensors[name] = values
        ports = {
            side: [self.value(one, side, output=side == "output") for one in wire.each_octets(graph, side, "graph")]
            for side in ("input", "output")
        }
        if (
            not ports["input"]
            or not ports["output"]
            or max(map(len, ports.values())) > self.limits.values + len(tensors)
        ):
            raise ModelError(f"graph: {len(ports['input'])} inputs and {len(ports['output'])} outputs")
        return OnnxModel(
            ir_version=wire.integer(message, "ir_version", "the file"),
            producer=wire.text(wire.octets(message, "producer", "the file"), "the file"),
            opsets=opsets,
            nodes=tuple(self.node(one, index) for index, one in enumerate(nodes)),
            tensors=tensors,
            inputs=tuple(one for one in ports["input"] if one.name not in tensors),
            outputs=tuple(ports["output"]),
        )


def read_onnx(data: bytes, limits: Limits = LIMITS) -> OnnxModel:
    """Read the bytes of an ONNX file. Raises ModelError: what was found, where, what to do."""
    if len(data) > limits.file_bytes:
        raise ModelError(f"the file has {len(data)} bytes (at most {limits.file_bytes})")
    model = _Reader(limits).model(memoryview(data))
    _check_names(model)
    return model


def _check_names(model: OnnxModel) -> None:
    """Each value is made once, and before it is used: no cycles, no shadows."""
    made = {one.name for one in model.inputs} | set(model.tensors)
    if len({one.name for one in model.inputs}) != len(model.inputs):
        raise ModelError("graph: two inputs of one name")
    for node in model.nodes:
        for name in node.inputs:
            if name and name not in made:
                raise ModelError(
                    f"{node.where()}: {name!r} is used before it is made", next_step="the graph has a cycle"
                )
        for name in filter(None, node.outputs):
            if name in made:
                raise ModelError(f"{node.where()}: {name!r} is made twice")
            made.add(name)
    for output in model.outputs:
        if output.name not in made:
            raise ModelError(f"output {output.name!r} is never made")


# ---- what is allowed ---------------------------------------------------------------------------------------

OPSETS = {"": (7, 24), "ai.onnx.ml": (1, 5)}

# Without side effects, subgraphs or files. What they allocate is bounded by the child that tries them in ONNX Runtime,
# and by the compiler for the native executor.
_ONNX = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv Div
Dropout Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual HardSigmoid HardSwish Identity InstanceNormalization IsNaN LSTM LayerNormalization LeakyRelu Less
LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish Mul Neg Not Or PRelu Pad Pow RNN Range Reciprocal ReduceL2
ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Slice Softmax
Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh TopK Transpose Unsqueeze Where Xor
"""
_ONNX_ML = """
ArrayFeatureExtractor Binarizer CastMap FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor
Normalizer SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
OPERATORS = {"": frozenset(_ONNX.split()), "ai.onnx.ml": frozenset(_ONNX_ML.split())}


def check_allowed(model: OnnxModel) -> None:
    """Raises ModelError for a domain, opset or operator that is not on the lists above."""
    for domain, version in model.opsets.items():
        used = any(node.domain == domain for node in model.nodes)
        if domain not in OPSETS:
            if not used:
                continue
            raise ModelError(
                f"domain {domain!r} is not allowed", next_step=f"use operators of {', '.join(map(repr, OPSETS))}"
            )
        low, high = OPSETS[domain]
        if not low <= version <= high:
            raise ModelError(
                f"opset {version} of domain {domain!r} is not in {low}..{high}",
                next_step="export with another target opset",
            )
    for node in model.nodes:
        if node.domain not in OPERATORS or node.op_type not in OPERATORS[node.domain]:
            raise ModelError(
                f"{node.where()}: operator {node.domain or 'ai.onnx'}.{node.op_type} is not allowed",
                next_step="see docs/models.md for the list",
            )
        if node.domain not in model.opsets:
            raise ModelError(f"{node.where()}: its domain {node.domain!r} has no opset")
