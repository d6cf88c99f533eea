"""A little of ``make fuzz``: mutated packets under sanitizers; and proof that the harness would catch a fault.

HOTPATH_FUZZ_SEED replays a run, HOTPATH_FUZZ_PACKETS lengthens it.
"""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.harness import build_programs, run_program, run_target
from tests.fuzz.targets import ROWS

PACKETS = int(os.environ.get("HOTPATH_FUZZ_PACKETS", "100000"))
SEED = int(os.environ.get("HOTPATH_FUZZ_SEED", random.SystemRandom().randrange(2**63)))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each program, compiled, beside the corpora."""
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        build_programs(folder)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    return folder


@pytest.mark.parametrize("name", ROWS)
def test_no_mutated_packet_is_misread_and_each_canary_is_caught(programs: Path, name: str) -> None:
    print(f"replay: make fuzz FUZZ_ARGS='--only {name} --seed {SEED} --packets {PACKETS}'")
    row = run_target(programs, ROWS[name], seed=SEED, packets=PACKETS)
    assert not row.findings, row.findings[0].report
    assert row.missed == [] and {"overread", "overflow"} < set(row.caught)
    assert PACKETS <= row.packets <= row.packets_all


def test_a_seed_repeats_its_run(programs: Path) -> None:
    once, again, other = (run_program(programs, ROWS["seat"], seed=seed, packets=5000).stdout for seed in (7, 7, 8))
    assert once == again != other


def test_a_planted_fault_is_a_finding_with_the_command_that_shows_it(programs: Path) -> None:
    row = run_target(programs, ROWS["soup"], seed=5, packets=1000, plant="overread")
    assert not row.passed and "heap-buffer-overflow" in row.findings[0].report
    assert row.findings[0].replay() == "make fuzz FUZZ_ARGS='--only soup --seed 5 --packets 1000 --plant overread'"


def test_a_missed_canary_and_a_blind_corpus_fail_their_row(programs: Path) -> None:
    soup = ROWS["soup"]
    deaf = dataclasses.replace(soup, own_canaries={"nothing": "of the kind"})
    assert run_target(programs, deaf, seed=1, packets=100).missed == ["nothing"]
    blind = dataclasses.replace(soup, understood_min=1.01)
    assert run_target(programs, blind, seed=1, packets=100).findings[0].report.startswith("blind")


def test_the_command_ends_with_a_table_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "ingress", "--packets", "1000"]) == 0
    assert "nothing found, every canary caught" in capsys.readouterr().out
    assert main(["--only", "ingress", "--packets", "1000", "--plant", "gap"]) == 1
    said = capsys.readouterr()
    assert "failed: ingress" in said.out and "messages lost or doubled" in said.err
    assert main(["--only", "ingress", "--plant", "offset"]) == 2
