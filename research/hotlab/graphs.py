"""ONNX graphs that are written here, operator by operator: small, float32, one batch, known to load and to compile.

    inputs --Scaler--> Gemm --Relu--> Gemm ... --Sigmoid or nothing--> outputs

Exporters of large libraries bring operators, opsets and files beside the file that nobody asked for; a linear model
or a net is a handful of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hotlab.errors import need

OPSET, ML_OPSET, IR_VERSION = 15, 3, 8  # what ONNX Runtime has read for years
INPUT, OUTPUT = "inputs", "outputs"
Floats = npt.NDArray[np.float32]
Activation = Literal["relu", "tanh", "sigmoid", "identity"]
_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def dense_net(
    layers: Sequence[tuple[Floats, Floats]], *, hidden: Activation, last: Activation, mean: Floats, scale: Floats
) -> bytes:
    """A net of (weights of shape (inputs, outputs), biases); each input first becomes (input - mean) * scale."""
    helper, _ = _onnx()
    nodes: list[Any] = [
        helper.make_node("Scaler", [INPUT], ["x0"], domain="ai.onnx.ml", offset=mean.tolist(), scale=scale.tolist())
    ]
    initializers = []
    at = "x0"
    for index, (weights, bias) in enumerate(layers):
        final = index == len(layers) - 1
        activation = last if final else hidden
        initializers += [_tensor(f"w{index}", weights), _tensor(f"b{index}", bias)]
        summed = OUTPUT if final and activation == "identity" else f"s{index}"
        nodes.append(helper.make_node("Gemm", [at, f"w{index}", f"b{index}"], [summed]))
        at = summed
        if activation != "identity":
            at = OUTPUT if final else f"x{index + 1}"
            nodes.append(helper.make_node(_OPERATORS[activation], [summed], [at]))
    return _model(nodes, initializers, inputs=layers[0][0].shape[0], outputs=layers[-1][0].shape[1])


def run_dense(
    layers: Sequence[tuple[Floats, Floats]],
    rows: Floats,
    *,
    hidden: Activation,
    last: Activation,
    mean: Floats,
    scale: Floats,
) -> npt.NDArray[np.float64]:
    """The same net, in float64: what the graph is compared with."""
    at = (rows.astype(np.float64) - mean) * scale
    with np.errstate(all="ignore"):
        for index, (weights, bias) in enumerate(layers):
            at = at @ weights.astype(np.float64) + bias
            at = _activated(at, last if index == len(layers) - 1 else hidden)
    return at


def _activated(values: npt.NDArray[np.float64], activation: Activation) -> npt.NDArray[np.float64]:
    match activation:
        case "relu":
            return np.maximum(values, 0)
        case "tanh":
            return np.tanh(values)
        case "sigmoid":
            return 1 / (1 + np.exp(-values))
    return values


def _onnx() -> tuple[Any, Any]:
    need("onnx", extra="research", why="writing a model")
    from onnx import helper, numpy_helper

    return helper, numpy_helper


def _tensor(name: str, values: Floats) -> Any:
    return _onnx()[1].from_array(np.ascontiguousarray(values, np.float32), name)


def _model(nodes: list[Any], initializers: list[Any], *, inputs: int, outputs: int) -> bytes:
    helper, _ = _onnx()
    from onnx import TensorProto

    graph = helper.make_graph(
        nodes,
        "hotlab",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", outputs])],
        initializers,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="hotlab", ir_version=IR_VERSION)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def thresholds(data: bytes) -> list[tuple[int, float]]:
    """(feature, value) of every split of a model's trees; empty when it has none."""
    onnx = need("onnx", extra="research", why="reading a model")
    found = []
    for node in onnx.load_model_from_string(data).graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        attributes = {each.name: each for each in node.attribute}
        modes = attributes["nodes_modes"].strings
        features, values = attributes["nodes_featureids"].ints, attributes["nodes_values"].floats
        found += [(int(f), float(v)) for mode, f, v in zip(modes, features, values, strict=True) if mode != b"LEAF"]
    return found
