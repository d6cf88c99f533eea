"""A sample of the crash campaign; all of it is ``make crash``."""

from __future__ import annotations

import pytest

from tests.crash.campaign import ENGINES, NAMES, run_campaign
from tests.crash.plants import PLANTS, REPOSITORY, Plant, put

ELSEWHERE = {ENGINES, "cuts"}  # whose samples are tests of their own
LONG = {"stale"}
SEED = 20261121


@pytest.mark.parametrize("phase", [name for name in NAMES if name not in ELSEWHERE | LONG])
def test_sample_of_each_phase_holds(phase: str) -> None:
    (row,) = run_campaign(SEED, only=[phase], quick=True)
    assert not row.tally.wrong
    assert row.tally.counts.total() > 0


@pytest.mark.soak
@pytest.mark.parametrize("phase", sorted(LONG))
def test_sample_of_a_long_phase_holds(phase: str) -> None:
    test_sample_of_each_phase_holds(phase)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_planted_bug_still_has_its_place(plant: Plant) -> None:
    """They are built and must be found in ``make crash``."""
    text = (REPOSITORY / "ffi" / "src" / plant.source).read_text()
    assert plant.name in put(text, plant)
