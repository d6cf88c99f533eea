"""What an ONNX file may not hold: each refusal says what and where; mutated files are refused or read, never more."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotpath.errors import HotpathError, ModelError, NotNativeError
from hotpath.models.compile import compile_model
from hotpath.models.onnx_reader import Limits, check_allowed, read_onnx

pytest.importorskip("onnx", reason="onnx is missing: pip install -e '.[dev]'")

from onnx import ModelProto, TensorProto, helper

MODELS = sorted((Path(__file__).parents[1] / "data" / "models").glob("*.onnx"))


def small(change: Any = None) -> bytes:
    """y = relu(x w), and what `change` does to it."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 3], np.ones(6, np.float32).tobytes(), raw=True)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 2), ("y", 3))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if change is not None:
        change(made)
    return bytes(made.SerializeToString())


def external(made: ModelProto) -> None:
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def loop(made: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    made.graph.node.append(helper.make_node("Loop", ["", ""], ["forever"], body=body))


def function(made: ModelProto) -> None:
    made.functions.add().name = "f"


def sparse(made: ModelProto) -> None:
    made.graph.sparse_initializer.add().dims.append(3)


def cycle(made: ModelProto) -> None:
    made.graph.node[0].input[0] = "y"


def twice(made: ModelProto) -> None:
    made.graph.node[1].output[0] = "z"


def huge(made: ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]


def negative(made: ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [-2, -3]


def short(made: ModelProto) -> None:
    made.graph.initializer[0].raw_data = b"1234"


def domain(made: ModelProto) -> None:
    made.graph.node[1].domain = "com.microsoft"
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def operator(made: ModelProto) -> None:
    made.graph.node[1].op_type = "If"


def opset(made: ModelProto) -> None:
    made.opset_import[0].version = 999


def two_opsets(made: ModelProto) -> None:
    made.opset_import.append(helper.make_opsetid("", 9))


def half(made: ModelProto) -> None:
    made.graph.initializer[0].data_type = TensorProto.FLOAT16


def sequence(made: ModelProto) -> None:
    made.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "data in another file"),
        (loop, "a subgraph"),
        (function, "a function of its own"),
        (sparse, "a sparse tensor"),
        (cycle, "'y' is used before it is made"),
        (twice, "'z' is made twice"),
        (huge, "numbers"),
        (negative, "a dimension"),
        (short, "4 bytes where its shape says 24"),
        (domain, "domain 'com.microsoft' is not allowed"),
        (operator, "ai.onnx.If is not allowed"),
        (opset, "opset 999"),
        (two_opsets, "versions 17 and 9"),
        (half, "element type 10"),
        (sequence, "not a tensor"),
    ],
)
def test_hostile_file_is_refused_with_what_and_where(change: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        check_allowed(read_onnx(small(change)))
    assert not isinstance(caught.value, NotNativeError)


def test_a_singular_field_twice_is_refused() -> None:
    """Protobuf merges two graphs into one; a reader that takes the last sees another model."""
    data = small()
    graph = ModelProto.FromString(data).graph.SerializeToString()
    with pytest.raises(ModelError, match="graph comes twice"):
        read_onnx(data + b"\x3a" + _varint(len(graph)) + graph)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


@pytest.mark.parametrize("tail", [b"\xff" * 11, b"\x3b", b"\x3a\xff\xff\xff\xff\x0f", b"\xfa\xff\x03\x00", b"\x08"])
def test_bytes_that_are_no_message_are_refused(tail: bytes) -> None:
    with pytest.raises(ModelError):
        read_onnx(small() + tail)


def test_limits_are_held() -> None:
    with pytest.raises(ModelError, match="bytes"):
        read_onnx(small(), Limits(file_bytes=10))
    with pytest.raises(ModelError, match="nodes"):
        read_onnx(small(), Limits(nodes=1))
    with pytest.raises(ModelError, match="more than 5 numbers"):
        read_onnx(small(), Limits(elements=5))


def test_names_that_are_not_there_are_told_with_those_that_are() -> None:
    with pytest.raises(ModelError, match="no output 'score'") as caught:
        compile_model(small(), outputs=["score"])
    assert caught.value.next_step == "outputs: y"
    with pytest.raises(ModelError, match="no input 'h'"):
        compile_model(small(), state={"h": "y"})


def test_mutated_files_are_read_or_refused() -> None:
    """No other exception, no hang: what is accepted compiles to a blob within its bounds or is refused."""
    chance = random.Random(1)
    files = [small(), *(path.read_bytes() for path in MODELS if path.stat().st_size < 4000)]
    accepted = 0
    for _ in range(1500):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] ^= 1 << chance.randrange(8)
                case 1:
                    data[at] = chance.randrange(256)
                case 2:
                    del data[at : at + chance.randint(1, 8)]
                case _:
                    data[at:at] = chance.randbytes(chance.randint(1, 4))
        try:
            compile_model(bytes(data))
            accepted += 1
        except HotpathError:
            pass
    assert 0 < accepted < 1500
