"""The tests of the gate catch what they should: a few planted bugs here, all of them in ``make mutants``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.judge import judge
from tests.mutants.plant import Mutant, mutants


@pytest.mark.parametrize("mutant", mutants()[5::24], ids=lambda mutant: mutant.name)
def test_planted_bug_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    assert judge(mutant, tmp_path) is not None


def test_gate_without_a_bug_is_not_accused(tmp_path: Path) -> None:
    assert judge(None, tmp_path) is None


@pytest.mark.soak
@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_every_planted_bug_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    assert judge(mutant, tmp_path) is not None
