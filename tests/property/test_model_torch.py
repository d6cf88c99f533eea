"""Torch's own exports, made anew: randomised shapes and seeds, both exporters. CI has the stored ones only."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("torch", reason="torch is missing: pip install torch onnxscript --index-url (its CPU index)")
pytest.importorskip("onnxscript", reason="onnxscript is missing: torch's newer exporter needs it")

from tests.property.test_model_parity import assert_parity
from tests.support.torch_families import exported, nets

SEEDS = int(os.environ.get("HOTPATH_MODEL_SEEDS", "2"))


@pytest.mark.parametrize("dynamo", [False, True], ids=["older", "dynamo"])
@pytest.mark.parametrize("name", nets(0))
@pytest.mark.parametrize("seed", range(SEEDS))
def test_torch_exports_agree(name: str, seed: int, dynamo: bool) -> None:
    net, shape = nets(seed)[name]
    made = exported(net, [shape], seed=seed, dynamo=dynamo)
    assert_parity(made.onnx, list(made.rows))
