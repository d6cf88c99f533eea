"""Small blobs of every op, made without any library of models: a corpus, and something to load."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ffi import lib
from hotpath.errors import HotpathError
from hotpath.models.blob import Program, reference
from hotpath.models.compile import compile_model
from hotpath.models.forest import Branch, Forest, Leaf
from hotpath.models.lower_dense import dense_op

MODELS = Path(__file__).parents[1] / "data" / "models"


def layer(inputs: int = 5, outputs: int = 19, *, seed: int = 1) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A blob of one dense layer; its matrix and its bias."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(outputs, inputs)).astype(np.float32)
    bias = random.normal(size=outputs).astype(np.float32)
    program = Program()
    program.input_count = inputs
    target = program.scratch(outputs)
    dense_op(program, reference(lib.MODEL_INPUT, 0), matrix, bias, target)
    return _finished(program, target, outputs), matrix, bias


def _finished(program: Program, source: int, count: int) -> bytes:
    program.op(lib.MODEL_EMIT, r=[source, 0, 0, reference(lib.MODEL_OUTPUT, 0)], n=[count])
    program.output_count = count
    return program.blob(bytes(32))


def forest(*, trees: int = 11, targets: int = 1, seed: int = 1) -> bytes:
    """Trees of four features, with base values, equality and NaN branches."""
    random = np.random.default_rng(seed)
    made = Forest(4, targets)

    def node_of(name: int) -> Branch | Leaf:
        if name >= 8 or (name >= 4 and random.random() < 0.3):
            return tuple((target, float(random.normal())) for target in range(targets))
        mode = str(random.choice(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_EQ", "BRANCH_GT"]))
        return Branch(int(random.integers(4)), mode, float(random.normal()), name % 2 == 0, 2 * name, 2 * name + 1)

    for _ in range(trees):
        made.add(1, node_of)
    region, counts = made.region(random.normal(size=targets).astype(np.float32))
    program = Program()
    program.input_count = 4
    target, leaves = program.scratch(targets), program.scratch(trees)
    program.op(lib.MODEL_TREES, r=[reference(lib.MODEL_INPUT, 0), program.weights(region), leaves, target], n=counts)
    return _finished(program, target, targets)


def functions() -> bytes:
    """Every op that the others lack, one behind the other over eight numbers."""
    program = Program()
    program.input_count = 8
    at = reference(lib.MODEL_INPUT, 0)
    weights = program.weights(np.linspace(-1, 1, 8))

    def op(kind: int, n: list[int], function: int = 0, alpha: float = 0.5, beta: float = 0.5) -> None:
        nonlocal at
        target = program.scratch(8)
        program.op(kind, function=function, r=[at, weights, weights, target, at], n=n, alpha=alpha, beta=beta)
        at = target

    for function in range(lib.MODEL_FUNCTIONS):
        op(lib.MODEL_MAP, [8], function)
    for function in range(lib.MODEL_COMBINES):
        op(lib.MODEL_COMBINE, [8, 2, 4], function)
    op(lib.MODEL_SCALE, [8, 4])
    for function in range(lib.MODEL_SOFTMAXES):
        op(lib.MODEL_SOFTMAX, [2, 4], function)
    for function in range(lib.MODEL_NORMALIZES):
        op(lib.MODEL_NORMALIZE, [2, 4], function)
    for function in range(lib.MODEL_REDUCES):
        op(lib.MODEL_REDUCE, [2, 2, 2], function)
    op(lib.MODEL_COPY, [2, 2, 2, 1, 2, 4, 4, 2, 1])
    op(lib.MODEL_SELECT, [8, 1, 0])
    op(lib.MODEL_GRU_CELL, [4, 1])
    op(lib.MODEL_LSTM_CELL, [2])
    op(lib.MODEL_LOOKUP, [8, 8])
    op(lib.MODEL_ARGMAX, [4, 2])
    op(lib.MODEL_FILL, [8])
    return _finished(program, at, 8)


def corpus() -> list[bytes]:
    """All of them, and the stored exports, compiled."""
    found = [layer()[0], layer(3, 40)[0], forest(), forest(targets=3), forest(trees=1), functions()]
    for path in sorted(MODELS.glob("*.onnx")):
        state = {"h": "h_next"} if "step" in path.stem else None
        try:
            blob = compile_model(path.read_bytes(), state=state).blob
        except HotpathError as error:
            raise AssertionError(f"{path.name} does not compile: {error}") from error
        if len(blob) < 6000:
            found.append(blob)
    return found
