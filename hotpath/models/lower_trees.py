"""Tree ensembles of ai.onnx.ml: TreeEnsembleRegressor, TreeEnsembleClassifier, TreeEnsemble.

What two classes with one score mean is ONNX Runtime's reading: the standard leaves it open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ffi import lib
from hotpath.errors import ModelError
from hotpath.models.forest import Branch, Forest, Leaf
from hotpath.models.lower_elementwise import mapped
from hotpath.models.lower_linear import class_labels, label_above, most_likely, transformed
from hotpath.models.lower_shape import joined
from hotpath.models.tensors import Floats, Tensor, Value, contiguous, fresh

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering

AGGREGATES = {
    "SUM": lib.MODEL_TREE_SUM,
    "AVERAGE": lib.MODEL_TREE_AVERAGE,
    "MIN": lib.MODEL_TREE_MIN,
    "MAX": lib.MODEL_TREE_MAX,
}
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")


@dataclass
class Listed:
    """The attributes nodes_*, tree by tree."""

    nodes: dict[tuple[int, int], Branch | None] = field(default_factory=dict)
    """None: a leaf."""
    leaves: dict[tuple[int, int], list[tuple[int, float]]] = field(default_factory=dict)
    roots: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


def _no_doubles(call: Call) -> None:
    for name in call.node.attributes:
        if name.endswith("_as_tensor"):
            raise call.refuse(f"{name}: thresholds of 64 bits", next_step="export with float32 inputs")


def _listed(call: Call, side: str) -> Listed:
    """`side`: "target" or "class", whose attributes hold the leaves' weights."""
    _no_doubles(call)
    names = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
    columns = [call.integers(f"nodes_{name}") or [] for name in names]
    modes, values = call.texts("nodes_modes"), call.numbers("nodes_values")
    count = len(columns[0])
    missing = call.integers("nodes_missing_value_tracks_true") or [0] * count
    if not count or {len(modes), len(values), len(missing), *map(len, columns)} != {count}:
        raise ModelError(f"{call.node.where()}: attributes nodes_* of different lengths")
    found = Listed()
    for tree, node, feature, yes, no, mode, value, tracks in zip(*columns, modes, values, missing, strict=True):
        key = (tree, node)
        if key in found.nodes:
            raise ModelError(f"{call.node.where()}: node {node} of tree {tree} comes twice")
        found.roots.setdefault(tree, node)
        found.counts[tree] = found.counts.get(tree, 0) + 1
        found.nodes[key] = None if mode == "LEAF" else Branch(feature, mode, value, bool(tracks), yes, no)
    ids = call.integers(f"{side}_ids") or []
    trees = call.integers(f"{side}_treeids") or []
    nodes = call.integers(f"{side}_nodeids") or []
    weights = call.numbers(f"{side}_weights")
    if {len(trees), len(nodes), len(weights)} != {len(ids)} or not ids:
        raise ModelError(f"{call.node.where()}: attributes {side}_* of different lengths")
    for target, tree, node, weight in zip(ids, trees, nodes, weights, strict=True):
        if found.nodes.get((tree, node), 0) is not None:
            raise ModelError(f"{call.node.where()}: a weight for node {node} of tree {tree}, which is no leaf")
        found.leaves.setdefault((tree, node), []).append((target, weight))
    return found


def _planted(call: Call, listed: Listed, features: int, targets: int) -> Forest:
    forest = Forest(features, targets)
    for tree, root in listed.roots.items():

        def node_of(name: int, tree: int = tree) -> Branch | Leaf:
            if (tree, name) not in listed.nodes:
                raise ModelError(f"{call.node.where()}: tree {tree} has no node {name}")
            node = listed.nodes[tree, name]
            return node if node is not None else tuple(listed.leaves.get((tree, name), ()))

        if forest.add(root, node_of) != listed.counts[tree]:
            raise ModelError(f"{call.node.where()}: tree {tree} has nodes that its root does not reach")
    return forest


def _grown(call: Call, forest: Forest, aggregate: int, base: Floats | None) -> Tensor:
    """The op. A row of a score for each target."""
    features = contiguous(call.program, call.tensor(0))
    region, counts = forest.region(base)
    leaves = call.program.scratch(len(forest.trees))
    target = fresh(call.program, (1, forest.targets))
    call.program.op(
        lib.MODEL_TREES,
        function=aggregate,
        r=[features.ref, call.program.weights(region), leaves, target.ref],
        n=counts,
    )
    return target


def _base(call: Call, targets: int) -> Floats | None:
    values = np.array(call.numbers("base_values"), np.float32)
    if not values.size:
        return None
    if values.size != targets:
        raise call.refuse(f"{values.size} base values for {targets} targets")
    return values


def _aggregate(call: Call) -> int:
    name = call.text("aggregate_function", "SUM")
    if name not in AGGREGATES:
        raise ModelError(f"{call.node.where()}: aggregate function {name!r}")
    return int(AGGREGATES[name])


def _regressor(call: Call) -> Sequence[Value]:
    features, targets = call.tensor(0).shape[-1], call.integer("n_targets", 1)
    if not 1 <= targets <= 4096:
        raise ModelError(f"{call.node.where()}: {targets} targets")
    forest = _planted(call, _listed(call, "target"), features, targets)
    scores = _grown(call, forest, _aggregate(call), _base(call, targets))
    if targets == 1 and call.text("post_transform", "NONE") in ("SOFTMAX", "SOFTMAX_ZERO"):
        raise call.refuse("a softmax of one score")
    return [transformed(call, scores)]


# ---- classes -------------------------------------------------------------------------------------------------


def _classifier(call: Call) -> Sequence[Value]:
    labels = class_labels(call)
    listed = _listed(call, "class")
    features = call.tensor(0).shape[-1]
    if labels.size > 2:
        forest = _planted(call, listed, features, labels.size)
        scores = _grown(call, forest, lib.MODEL_TREE_SUM, _base(call, labels.size))
        return [most_likely(call, scores, labels), transformed(call, scores)]
    if labels.size != 2:
        raise call.refuse(f"{labels.size} classes")
    spoken = {target for leaf in listed.leaves.values() for target, _ in leaf}
    silent = sum(node is None for node in listed.nodes.values()) != len(listed.leaves)
    if len(spoken) == 1 and not silent:
        return _one_score(call, listed, labels, features, spoken.pop())
    if spoken != {0, 1} or silent or any(len({t for t, _ in leaf}) != 2 for leaf in listed.leaves.values()):
        raise call.refuse("two classes of which some leaves name one and some the other")
    if call.numbers("base_values"):
        raise call.refuse("base values of two classes with a score each")
    if call.compiler.uses.get(call.node.outputs[0]):  # ONNX Runtime says 0 or 1, not a label, and not the greater one's
        raise call.refuse("the label of two classes with a score each", next_step="name the scores alone as output")
    scores = _grown(call, _planted(call, listed, features, 2), lib.MODEL_TREE_SUM, None)
    return [most_likely(call, scores, labels), transformed(call, scores)]


def _one_score(call: Call, listed: Listed, labels: Floats, features: int, spoken: int) -> Sequence[Value]:
    """All leaves speak of one class of the two: the other's score is made from it."""
    base = np.array(call.numbers("base_values"), np.float32)
    if spoken != 0 and base.size:
        raise call.refuse("a score of the second class with base values")
    if base.size > 1:
        raise call.refuse("two base values for one score")
    positive = all(weight >= 0 for leaf in listed.leaves.values() for _, weight in leaf)
    listed.leaves = {key: [(0, weight) for _, weight in leaf] for key, leaf in listed.leaves.items()}
    score = _grown(call, _planted(call, listed, features, 1), lib.MODEL_TREE_SUM, base if base.size else None)
    label = label_above(call, score, 0.5 if positive else 0.0, labels)
    kind = call.text("post_transform", "NONE")
    if spoken != 0:
        pair = joined(call, [np.zeros((1, 1), np.float32), score], 1)
        return [label, transformed(call, pair)]
    if kind not in ("NONE", "LOGISTIC"):
        raise call.refuse(f"post_transform {kind!r} of one score")
    if positive and kind == "NONE":
        other = mapped(call.program, score, lib.MODEL_AFFINE, alpha=-1.0, beta=1.0)
        return [label, joined(call, [other, score], 1)]
    pair = joined(call, [mapped(call.program, score, lib.MODEL_NEGATE), score], 1)
    return [label, transformed(call, pair)]


# ---- TreeEnsemble of opset 5 -----------------------------------------------------------------------------------


def _tensor_attribute(call: Call, name: str) -> np.ndarray | None:
    value = call.attribute(name)
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        raise ModelError(f"{call.node.where()}: attribute {name!r} is no tensor")
    if value.dtype == np.float64:
        raise call.refuse(f"{name}: numbers of 64 bits", next_step="export with float32 inputs")
    return value.reshape(-1)


@dataclass
class _Joint:
    """The arrays of a TreeEnsemble."""

    features: list[int]
    modes: list[int]
    splits: list[float]
    missing: list[int]
    yes: list[int]
    yes_is_leaf: list[int]
    no: list[int]
    no_is_leaf: list[int]
    targets: list[int]
    weights: list[float]


def _joint(call: Call) -> _Joint:
    modes, splits, weights = (_tensor_attribute(call, name) for name in ("nodes_modes", "nodes_splits", "leaf_weights"))
    if modes is None or splits is None or weights is None:
        raise ModelError(f"{call.node.where()}: nodes_modes, nodes_splits and leaf_weights must be there")
    features = call.integers("nodes_featureids") or []
    columns = [
        call.integers(f"nodes_{name}") or [] for name in ("truenodeids", "trueleafs", "falsenodeids", "falseleafs")
    ]
    missing = call.integers("nodes_missing_value_tracks_true") or [0] * len(features)
    targets = call.integers("leaf_targetids") or []
    lengths = {modes.size, splits.size, len(missing), *map(len, columns)}
    if lengths != {len(features)} or len(targets) != len(weights):
        raise ModelError(f"{call.node.where()}: attributes of different lengths")
    yes, yes_is_leaf, no, no_is_leaf = columns
    return _Joint(
        features, modes.tolist(), splits.tolist(), missing, yes, yes_is_leaf, no, no_is_leaf, targets, weights.tolist()
    )  # fmt: skip


def _ensemble(call: Call) -> Sequence[Value]:
    """Nodes and leaves are numbered apart: here leaf k is node -1 - k."""
    joint = _joint(call)
    targets = call.integer("n_targets", 1)
    if not 1 <= targets <= 4096:
        raise ModelError(f"{call.node.where()}: {targets} targets")

    def name(index: int, is_leaf: int) -> int:
        if not 0 <= index < (len(joint.targets) if is_leaf else len(joint.features)):
            raise ModelError(f"{call.node.where()}: there is no {'leaf' if is_leaf else 'node'} {index}")
        return -1 - index if is_leaf else index

    def node_of(node: int) -> Branch | Leaf:
        if node < 0:
            return ((joint.targets[-1 - node], joint.weights[-1 - node]),)
        yes, no = name(joint.yes[node], joint.yes_is_leaf[node]), name(joint.no[node], joint.no_is_leaf[node])
        if yes == no and yes < 0:
            return node_of(yes)  # how a tree of one leaf is written
        mode = joint.modes[node]
        if not 0 <= mode < len(MODES):
            raise ModelError(f"{call.node.where()}: branch mode {mode}")
        if MODES[mode] == "BRANCH_MEMBER":
            raise call.refuse("branches on membership of a set")
        return Branch(joint.features[node], MODES[mode], joint.splits[node], bool(joint.missing[node]), yes, no)

    forest = Forest(call.tensor(0).shape[-1], targets)
    for root in call.integers("tree_roots") or []:
        forest.add(name(root, 0), node_of)
    aggregates = [lib.MODEL_TREE_AVERAGE, lib.MODEL_TREE_SUM, lib.MODEL_TREE_MIN, lib.MODEL_TREE_MAX]
    aggregate = call.integer("aggregate_function", 1)
    transforms = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
    transform = call.integer("post_transform", 0)
    if not 0 <= aggregate < len(aggregates) or not 0 <= transform < len(transforms):
        raise ModelError(f"{call.node.where()}: aggregate function {aggregate}, post_transform {transform}")
    scores = _grown(call, forest, aggregates[aggregate], None)
    return [transformed(call, scores, transforms[transform])]


LOWERINGS: dict[str, Lowering] = {
    "TreeEnsembleRegressor": _regressor,
    "TreeEnsembleClassifier": _classifier,
    "TreeEnsemble": _ensemble,
}
