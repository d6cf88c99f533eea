"""The drill in small: two of its troubles, and the bugs that its judge must see. ``make drill`` does them all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.drill.runs import PLANTS, run_once
from tests.support.engines import segments_of

# Of tests/drill: split, the gateway stopped before a venue that does not read; fused, no supervisor and a bare word.
SEEDS = (11, 33)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_order_byte_arrives_after_a_kill_is_effective(seed: int, tmp_path: Path) -> None:
    run = run_once(seed, tmp_path)
    assert not run.wrong, run.line()
    assert run.orders and run.by
    assert segments_of(f"drill{os.getpid()}-{seed}") == [], "what a killed supervisor could not remove"


@pytest.mark.parametrize("plant", ["effective too early", "ignores the epoch, not latched"])
def test_planted_bug_is_seen(plant: str, tmp_path: Path) -> None:
    run = run_once(0, tmp_path, plant=plant)
    for each in plant.split(", "):
        assert any(PLANTS[each] in wrong for wrong in run.wrong), run.line()
