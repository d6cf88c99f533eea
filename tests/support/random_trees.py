"""Tree ensembles by chance, as ONNX: every branch mode, NaN either way, thresholds that inputs hit exactly."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper

MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, -1e-45, 3.4e38, -3.4e38, float("inf"), float("-inf"), 1.0000001, 0.99999994]
"""What thresholds and features are taken from, so that they meet."""


@dataclass
class Ensemble:
    """The attributes of a TreeEnsembleRegressor or Classifier."""

    nodes: dict[str, list[Any]] = field(default_factory=dict)
    leaves: list[tuple[int, int]] = field(default_factory=list)
    """(tree, node) in the order of their numbers."""
    trees: int = 0

    def _add(self, **columns: Any) -> None:
        for name, value in columns.items():
            self.nodes.setdefault(f"nodes_{name}", []).append(value)


def grow(chance: random.Random, *, trees: int, features: int, depth_max: int, modes: list[str]) -> Ensemble:
    """Node numbers within a tree are in no order, as exporters may write them."""
    made = Ensemble(trees=trees)
    for tree in range(trees):
        shape: list[tuple[int, int] | None] = [None]  # children by place
        depths = [0]
        for place, depth in enumerate(depths):
            if depth < depth_max and (depth == 0 or chance.random() > 0.2):
                shape[place] = (len(shape), len(shape) + 1)
                shape += [None, None]
                depths += [depth + 1, depth + 1]
        names = list(range(len(shape)))
        chance.shuffle(names)
        for place, children in enumerate(shape):
            threshold = chance.choice(VALUES) if chance.random() < 0.7 else chance.gauss(0, 1)
            if children is None:
                made.leaves.append((tree, names[place]))
            made._add(
                treeids=tree,
                nodeids=names[place],
                featureids=chance.randrange(features) if children else 0,
                values=float(np.float32(threshold)) if children else 0.0,
                modes=chance.choice(modes) if children else "LEAF",
                truenodeids=names[children[0]] if children else 0,
                falsenodeids=names[children[1]] if children else 0,
                missing_value_tracks_true=chance.randrange(2) if children else 0,
            )
    return made


def rows(chance: random.Random, *, count: int, features: int, nan: bool = True) -> np.ndarray:
    """Features of which many meet a threshold, some are NaN."""
    made = np.array(
        [
            [chance.choice(VALUES) if chance.random() < 0.6 else chance.gauss(0, 1) for _ in range(features)]
            for _ in range(count)
        ],
        np.float32,
    )
    if nan:
        made[np.array([[chance.random() < 0.2 for _ in range(features)] for _ in range(count)])] = np.nan
    return made


def model(op_type: str, features: int, outputs: int, **attributes: Any) -> bytes:
    """The file of one node of ai.onnx.ml."""
    classifier = op_type == "TreeEnsembleClassifier"
    names = ["label", "scores"] if classifier else ["scores"]
    node = helper.make_node(op_type, ["x"], names, domain="ai.onnx.ml", **attributes)
    ports = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, outputs])]
    if classifier:
        ports.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [1]))
    graph = helper.make_graph(
        [node], "trees", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, features])], ports
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(made.SerializeToString())


def regressor(made: Ensemble, features: int, *, targets: int, pairs: list[tuple[int, float]], **more: Any) -> bytes:
    """`pairs`: target and weight of each leaf."""
    return model(
        "TreeEnsembleRegressor",
        features,
        targets,
        n_targets=targets,
        target_ids=[target for target, _ in pairs],
        target_weights=[weight for _, weight in pairs],
        target_treeids=[tree for tree, _ in made.leaves],
        target_nodeids=[node for _, node in made.leaves],
        **made.nodes,
        **more,
    )
