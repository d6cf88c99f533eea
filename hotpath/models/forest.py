"""Tree ensembles as a blob holds them: one branch mode, breadth-first order, the region that model_trees.c reads.

    attributes of ONNX --lower_trees--> Forest --region()--> words of the region, and the counts of the op

Every branch becomes `a <= threshold` or `a == threshold`, with the first child for yes; strict and reversed ones by the
next float and by changing places, so that each float and NaN goes where ONNX sends it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotpath.errors import ModelError, NotNativeError

INFINITY = np.float32(np.inf)
NAN = np.float32(np.nan)
NODES_MAX = int(lib.MODEL_TREE_CHILD_MASK)
FEATURES_MAX = 1 << (32 - int(lib.MODEL_TREE_FEATURE_SHIFT))


@dataclass(frozen=True)
class Branch:
    """An inner node: which children, by the caller's own names for nodes."""

    feature: int
    mode: str
    threshold: float
    missing: bool
    """Whether NaN takes the branch."""
    yes: int
    no: int


Leaf = tuple[tuple[int, float], ...]
"""(target, weight) pairs."""
NodeOf = Callable[[int], Branch | Leaf]


@dataclass(frozen=True)
class Split:
    """A branch in the two modes that there are."""

    threshold: np.float32
    equal: bool
    missing: bool
    swapped: bool
    """The children have changed places."""


def _before(threshold: np.float32) -> np.float32:
    """a < t is a <= before(t); nothing is below minus infinity, nor compares with NaN."""
    if np.isnan(threshold) or threshold == -INFINITY:
        return NAN
    return np.float32(np.nextafter(threshold, -INFINITY))


def _or_always(threshold: np.float32) -> np.float32:
    """The limit of a reversed branch: what never holds, reversed, holds for every number."""
    return INFINITY if np.isnan(threshold) else threshold


def split_of(mode: str, threshold: float, *, missing: bool) -> Split:
    """The split that sends each float, and NaN, where `mode` does."""
    t = np.float32(threshold)
    match mode:
        case "BRANCH_LEQ":
            return Split(t, False, missing, False)
        case "BRANCH_LT":
            return Split(_before(t), False, missing, False)
        case "BRANCH_GT":  # not a <= t; NaN goes to yes only when missing says so
            return Split(_or_always(t), False, not missing, True)
        case "BRANCH_GTE":  # not a < t, of a NaN t never: then always the other way
            limit = INFINITY if np.isnan(t) else _before(t)
            return Split(limit, False, not missing, True)
        case "BRANCH_EQ":
            return Split(t, True, missing, False)
        case "BRANCH_NEQ":  # NaN differs from everything
            return Split(t, True, False, True)
        case _:
            raise ModelError(f"branch mode {mode!r}", next_step="use one of BRANCH_LEQ, LT, GTE, GT, EQ, NEQ")


@dataclass
class Forest:
    """Trees as they are added."""

    features: int
    targets: int
    words: list[int] = field(default_factory=list)
    thresholds: list[np.float32] = field(default_factory=list)
    trees: list[tuple[int, int, int]] = field(default_factory=list)
    """(first node, count, depth)."""
    leaves: list[Leaf] = field(default_factory=list)
    """Of every node; () for inner ones."""

    def add(self, root: int, node_of: NodeOf) -> int:
        """One tree, from its root. Returns its number of nodes. Raises ModelError for what is no tree."""
        first = len(self.words)
        waiting: deque[tuple[int, int]] = deque([(root, 0)])
        seen = {root}
        placed = 1
        depth = 0
        while waiting:
            name, depth = waiting.popleft()
            node = node_of(name)
            place = len(self.words) - first
            if not isinstance(node, Branch):
                self._leaf(place, node)
                continue
            if not 0 <= node.feature < self.features:
                raise ModelError(f"a tree asks for feature {node.feature} of {self.features}")
            split = split_of(node.mode, node.threshold, missing=node.missing)
            children = (node.no, node.yes) if split.swapped else (node.yes, node.no)
            for child in children:
                if child in seen:
                    raise ModelError(f"a tree reaches its node {child} twice: a cycle, or shared branches")
                seen.add(child)
                waiting.append((child, depth + 1))
            flags = lib.MODEL_TREE_EQUAL * split.equal | lib.MODEL_TREE_MISSING * split.missing
            self.words.append(node.feature << lib.MODEL_TREE_FEATURE_SHIFT | flags | placed)
            self.thresholds.append(split.threshold)
            self.leaves.append(())
            placed += 2
            if placed > NODES_MAX:
                raise NotNativeError(f"a tree of more than {NODES_MAX} nodes")
        self.trees.append((first, placed, depth))
        return placed

    def _leaf(self, place: int, leaf: Leaf) -> None:
        for target, _ in leaf:
            if not 0 <= target < self.targets:
                raise ModelError(f"a leaf speaks of target {target} of {self.targets}")
        self.words.append(lib.MODEL_TREE_MISSING | place)
        self.thresholds.append(INFINITY)
        self.leaves.append(leaf)

    def region(self, base: npt.NDArray[np.float32] | None) -> tuple[npt.NDArray[np.uint32], list[int]]:
        """(words of the region, counts of the op), as model_parts.h has them. `base`: a value for each target."""
        if not self.trees:
            raise ModelError("an ensemble without a tree")
        if self.features > FEATURES_MAX:
            raise NotNativeError(f"{self.features} features for trees (at most {FEATURES_MAX})")
        nodes = np.empty((len(self.words), 2), np.uint32)
        nodes[:, 0] = np.array(self.thresholds, np.float32).view(np.uint32)
        nodes[:, 1] = self.words
        trees = np.zeros((len(self.trees), 4), np.uint32)
        trees[:, :3] = self.trees
        by_depth = np.argsort(-trees[:, 2].astype(np.int64), kind="stable").astype(np.uint32)
        trees[by_depth, 3] = np.arange(len(trees), dtype=np.uint32)
        bases = np.zeros(self.targets, np.float32) if base is None else base.astype(np.float32)
        alone = self.targets == 1 and all(
            len(leaf) == 1 for leaf, word, place in self._with_places() if word & NODES_MAX == place
        )
        if alone:
            values = np.array([leaf[0][1] if leaf else 0 for leaf in self.leaves], np.float32).view(np.uint32)
            entries = 0
        else:
            counts = np.array([len(leaf) for leaf in self.leaves], np.uint32)
            entries = int(counts.sum())
            if entries == 0:
                raise ModelError("an ensemble whose leaves say nothing")
            pairs = np.empty((entries, 2), np.uint32)
            pairs[:, 0] = [target for leaf in self.leaves for target, _ in leaf]
            pairs[:, 1] = np.array([weight for leaf in self.leaves for _, weight in leaf], np.float32).view(np.uint32)
            values = np.concatenate([np.zeros(1, np.uint32), np.cumsum(counts, dtype=np.uint32), pairs.reshape(-1)])
        equal = any(word & lib.MODEL_TREE_EQUAL for word in self.words)
        parts = [nodes.reshape(-1), trees.reshape(-1), by_depth, bases.view(np.uint32), values]
        counts_of_op = [self.features, len(trees), len(nodes), self.targets, entries, int(equal), int(base is not None)]
        return np.concatenate(parts), counts_of_op

    def _with_places(self) -> list[tuple[Leaf, int, int]]:
        """(leaf, word, place in its tree) of every node."""
        places = np.concatenate([np.arange(count) for _, count, _ in self.trees])
        return [(leaf, word, int(place)) for leaf, word, place in zip(self.leaves, self.words, places, strict=True)]
