"""Trees end in the very leaf in which ONNX Runtime ends, whatever the branch mode, and sum in its order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotpath.errors import ModelError, NotNativeError
from hotpath.models.compile import compile_model
from hotpath.models.executor import NativeModel

pytest.importorskip("onnx", reason="onnx is missing: pip install -e '.[dev]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is missing")

from tests.support import random_trees
from tests.support.model_parity import reference, session_of

SEEDS = st.integers(0, 2**32)


def outputs(data: bytes, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(native, ONNX Runtime's) of each row."""
    native, session = NativeModel(compile_model(data).blob), session_of(data)
    return np.array([native.run(row) for row in rows]), np.array([reference(session, row[None]) for row in rows])


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_every_tree_ends_in_the_same_leaf(seed: int) -> None:
    """Each tree has a target of its own, and each leaf the number of its place as weight."""
    chance = random.Random(seed)
    features, trees = chance.randint(1, 6), chance.randint(1, 20)
    made = random_trees.grow(
        chance, trees=trees, features=features, depth_max=chance.randint(1, 5), modes=random_trees.MODES
    )
    pairs = [(tree, float(place)) for place, (tree, _) in enumerate(made.leaves)]
    data = random_trees.regressor(made, features, targets=max(trees, 2), pairs=pairs)
    native, expected = outputs(data, random_trees.rows(chance, count=20, features=features))
    assert native.tolist() == expected.tolist()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_one_target_sums_bit_for_bit(seed: int) -> None:
    chance = random.Random(seed)
    features = chance.randint(1, 6)
    mode = chance.choice(random_trees.MODES)
    made = random_trees.grow(chance, trees=chance.randint(1, 40), features=features, depth_max=4, modes=[mode])
    pairs = [(0, chance.gauss(0, 1)) for _ in made.leaves]
    aggregate = chance.choice(["SUM", "AVERAGE", "MIN", "MAX"])
    more: dict[str, Any] = {"aggregate_function": aggregate}
    if chance.random() < 0.5:
        more["base_values"] = [chance.gauss(0, 1)]
    data = random_trees.regressor(made, features, targets=1, pairs=pairs, **more)
    native, expected = outputs(data, random_trees.rows(chance, count=20, features=features))
    assert native.tolist() == expected.tolist()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_classes_and_transforms_agree(seed: int) -> None:
    chance = random.Random(seed)
    features, classes = chance.randint(1, 5), chance.randint(2, 5)
    made = random_trees.grow(chance, trees=chance.randint(1, 12), features=features, depth_max=3, modes=["BRANCH_LEQ"])
    alone = classes == 2 and chance.random() < 0.6
    lowest = 0.0 if chance.random() < 0.5 else -1.0
    columns: dict[str, list[Any]] = {"class_ids": [], "class_weights": [], "class_treeids": [], "class_nodeids": []}
    for tree, node in made.leaves:
        for label in range(1 if alone else classes):
            for name, value in zip(columns, (label, chance.uniform(lowest, 1), tree, node), strict=True):
                columns[name].append(value)
    transforms = ["NONE", "LOGISTIC"] if alone else ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
    more: dict[str, Any] = {"post_transform": chance.choice(transforms)}
    if alone and chance.random() < 0.5:
        more["base_values"] = [chance.gauss(0, 1)]
    labels = [7 + 3 * label for label in range(classes)]
    data = random_trees.model(
        "TreeEnsembleClassifier", features, classes, classlabels_int64s=labels, **columns, **made.nodes, **more
    )
    if classes == 2 and not alone:  # ONNX Runtime's label is not one of the two: refused, unless nobody wants it
        with pytest.raises(NotNativeError, match="the label of two classes"):
            compile_model(data)
        return
    native, expected = outputs(data, random_trees.rows(chance, count=20, features=features))
    assert native[:, 0].tolist() == expected[:, 0].tolist()
    np.testing.assert_allclose(native[:, 1:], expected[:, 1:], rtol=1e-5, atol=1e-6)


# ---- what is no tree -----------------------------------------------------------------------------------------


def broken(**change: Any) -> bytes:
    """One tree of three nodes, with one attribute wrong."""
    attributes: dict[str, Any] = {
        "n_targets": 1, "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.0, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
    }  # fmt: skip
    return random_trees.model("TreeEnsembleRegressor", 2, 1, **{**attributes, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodes_truenodeids": [0, 0, 0]}, "a cycle"),
        ({"nodes_truenodeids": [2, 0, 0]}, "reaches its node 2 twice"),
        ({"nodes_truenodeids": [9, 0, 0]}, "has no node 9"),
        ({"nodes_modes": ["LEAF", "LEAF", "LEAF"], "target_nodeids": [0, 0]}, "does not reach"),
        ({"nodes_featureids": [2, 0, 0]}, "feature 2 of 2"),
        ({"nodes_nodeids": [0, 1, 1]}, "comes twice"),
        ({"nodes_values": [0.0]}, "different lengths"),
        ({"nodes_modes": ["BRANCH_MAYBE", "LEAF", "LEAF"]}, "BRANCH_MAYBE"),
        ({"target_ids": [0, 1]}, "target 1 of 1"),
        ({"target_nodeids": [0, 2]}, "which is no leaf"),
        ({"target_weights": [1.0]}, "different lengths"),
        ({"n_targets": 1 << 40}, "targets"),
        ({"aggregate_function": "PRODUCT"}, "PRODUCT"),
    ],
)
def test_compiler_refuses_what_is_no_tree(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        compile_model(broken(**change))
    assert "node 0 (TreeEnsembleRegressor)" in str(caught.value)


def test_doubles_are_left_to_onnxruntime() -> None:
    from onnx import TensorProto, helper

    values = helper.make_tensor("v", TensorProto.DOUBLE, [3], [0.1, 0.0, 0.0])
    with pytest.raises(NotNativeError, match="64 bits"):
        compile_model(broken(nodes_values=None, nodes_values_as_tensor=values))


def test_deep_tree_is_walked_without_recursion() -> None:
    """A chain of 3,000 branches."""
    count = 3000
    nodes = {
        "nodes_treeids": [0] * (2 * count + 1), "nodes_nodeids": list(range(2 * count + 1)),
        "nodes_featureids": [0] * (2 * count + 1), "nodes_values": [float(i // 2) for i in range(2 * count + 1)],
        "nodes_modes": ["BRANCH_LEQ", "LEAF"] * count + ["LEAF"],
        "nodes_truenodeids": [i + 1 if i % 2 == 0 else 0 for i in range(2 * count)] + [0],
        "nodes_falsenodeids": [i + 2 if i % 2 == 0 else 0 for i in range(2 * count)] + [0],
        "target_treeids": [0] * (count + 1), "target_nodeids": [*range(1, 2 * count, 2), 2 * count],
        "target_ids": [0] * (count + 1), "target_weights": [float(i) for i in range(count + 1)],
    }  # fmt: skip
    native = NativeModel(compile_model(broken(**nodes)).blob)
    for value in (-1, 0, 0.5, 17, 2998.5, 2999, 1e9):
        assert native.run([value, 0])[0] == min(max(int(np.ceil(value)), 0), count)
    assert native.work > count
