"""The fault matrix, shortened, and the failures that it must report. The whole of it: ``make faults``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.matrix import QUICK, QUICK_INJECTIONS, Row, run_matrix

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    found = run_matrix(QUICK, seed=1, wanted=QUICK_INJECTIONS, jobs=2, replay=True)
    return {row.fault: row for row in found}


@pytest.mark.parametrize("fault", QUICK)
def test_engine_does_what_is_expected_under(fault: str, rows: dict[str, Row]) -> None:
    row = rows[fault]
    assert row.injected >= QUICK_INJECTIONS
    assert row.wrong == []


def test_every_planted_failure_is_caught(rows: dict[str, Row]) -> None:
    canaries = [row for fault, row in rows.items() if fault.startswith("canary")]
    assert len(canaries) > 5 and all(row.passed for row in canaries), canaries


def test_matrix_with_a_planted_failure_ends_in_failure() -> None:
    command = [sys.executable, "-m", "tests.faults", "--only", "gap", "--injections", "3", "--plant", "resent"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "orders sent twice" in done.stdout and "FAILED gap with resent planted" in done.stderr


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3])
def test_whole_matrix_with_other_seeds(seed: int) -> None:
    command = [sys.executable, "-m", "tests.faults", "--seed", str(seed)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout
