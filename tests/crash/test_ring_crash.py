"""The ring between processes that stream, die and are torn apart instruction by instruction.

The programs beside this file are compiled here, with the ring's own sources; each checks itself and prints
one line of key=value. What they may find and how they look for it stands at their heads.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-Iffi/include", "-Iffi/src", "-pthread"]
SOURCES = ["ffi/src/ring.c", "ffi/src/wait.c", "ffi/src/segment.c"]

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles ``tests/crash/<program>.c`` with the given extra flags; each combination once."""
    folder = tmp_path_factory.mktemp("ring")
    made: dict[tuple[str, ...], Path] = {}

    def compile_program(program: str, *flags: str) -> Path:
        key = (program, *flags)
        if key not in made:
            target = folder / f"{program}-{len(made)}"
            command = ["gcc", *FLAGS, *flags, str(HERE / f"{program}.c"), *SOURCES, "-o", str(target)]
            subprocess.run(command, cwd=REPOSITORY, check=True, timeout=60)
            made[key] = target
        return made[key]

    return compile_program


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What the program printed, when all its checks held."""
    assert done.returncode == 0, done.stderr
    return dict(pair.split("=") for pair in done.stdout.split())


def run(program: Path, *arguments: object, timeout: float = 100) -> dict[str, str]:
    command = [str(program), *map(str, arguments)]
    return figures(subprocess.run(command, capture_output=True, text=True, timeout=timeout))


# ---- streaming ------------------------------------------------------------------------------------------


def check_stream(program: Path, *, events: int, capacity: int, timeout: float) -> None:
    seen = run(program, events, capacity, timeout=timeout)
    assert int(seen["events"]) == int(seen["read"]) == events
    assert int(seen["observed"]) + int(seen["lost"]) == events


@pytest.mark.parametrize("capacity", [1, 16, 4096])
def test_two_processes_lose_tear_and_reorder_nothing(build: Build, capacity: int) -> None:
    check_stream(
        build("ring_stream", "-O2"), events=1_000_000 if capacity > 1 else 20_000, capacity=capacity, timeout=100
    )


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_million_events_between_two_processes(build: Build) -> None:
    check_stream(build("ring_stream", "-O2"), events=100_000_000, capacity=65536, timeout=1700)


# ---- asleep ---------------------------------------------------------------------------------------------


def test_no_wake_up_is_lost_between_parking_processes(build: Build) -> None:
    seen = run(build("ring_park", "-O2"), 5000)
    assert int(seen["rounds"]) == 10_000
    assert int(seen["asker_parks"]) + int(seen["echo_parks"]) > 100, "they never slept: nothing was asked"


@pytest.mark.soak
def test_no_wake_up_is_lost_in_a_million_rounds(build: Build) -> None:
    run(build("ring_park", "-O2"), 500_000, timeout=1000)


# ---- killed at random -----------------------------------------------------------------------------------


def test_killed_writers_and_readers_take_up_where_they_were(build: Build) -> None:
    seen = run(build("ring_kill", "-O2"), 500, 1)
    assert seen["read"] == seen["published"]
    assert int(seen["published"]) > 500


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_killed_writers_and_readers_take_up_whatever_the_instants(build: Build, seed: int) -> None:
    run(build("ring_kill", "-O2"), 2000, 1000 + seed)


# ---- killed at every instruction --------------------------------------------------------------------------


def check_every_instruction(build: Build, act: str, optimisation: str) -> None:
    # Symbols are bound at the start, so that no dynamic linker is stepped through.
    seen = run(build("ring_step", optimisation, "-Wl,-z,now"), act)
    assert int(seen["states"]) > 30
    # The act takes effect part of the way through: there were states on both sides of it.
    assert int(seen["after_the_effect"]) > 0
    if act != "copy":
        assert int(seen["after_the_effect"]) < int(seen["states"])


ACTS = ["publish", "release", "copy", "overwritten", "half"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="single steps are counted on x86-64 only")
@pytest.mark.parametrize("act", ACTS)
def test_a_stop_at_every_instruction_leaves_a_whole_ring(build: Build, act: str) -> None:
    check_every_instruction(build, act, "-O2")


@pytest.mark.soak
@pytest.mark.parametrize("act", ACTS)
def test_a_stop_at_every_instruction_of_unoptimised_code(build: Build, act: str) -> None:
    check_every_instruction(build, act, "-O0")


# Canaries: a fault planted in ring.c, the act that must find it, and what it finds.
FORGETS_THE_LAST_STAMP = (
    r"    while \(__atomic_load_n\(ring_slot\(writer.*?writer->next\+\+;",
    "",
    "writer.next == stamped",
)
NEVER_LOOKS_AGAIN = (r"return __atomic_load_n\(slot, __ATOMIC_RELAXED\) == stamp;", "return 1;", "whole(batch[i]")
PLANTED = {
    "publish": FORGETS_THE_LAST_STAMP,
    "overwritten": NEVER_LOOKS_AGAIN,
    "half": NEVER_LOOKS_AGAIN,
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="single steps are counted on x86-64 only")
@pytest.mark.parametrize("act", PLANTED)
def test_single_stepping_finds_a_planted_fault(act: str, tmp_path: Path) -> None:
    pattern, replacement, finding = PLANTED[act]
    planted, count = re.subn(pattern, replacement, (REPOSITORY / "ffi/src/ring.c").read_text(), flags=re.DOTALL)
    assert count == 1, "ring.c no longer holds what the canary changes"
    (tmp_path / "ring.c").write_text(planted)
    target = tmp_path / "ring_step"
    command = ["gcc", *FLAGS, "-O2", "-Wl,-z,now", str(HERE / "ring_step.c"), str(tmp_path / "ring.c"), *SOURCES[1:]]
    subprocess.run([*command, "-o", str(target)], cwd=REPOSITORY, check=True, timeout=60)
    done = subprocess.run([str(target), act], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert finding in done.stderr


# ---- two threads under the sanitizer ------------------------------------------------------------------------

SANITIZED = ("-O1", "-g", "-fsanitize=thread", "-Wno-tsan")  # fences: only observers rely on them


def run_threads(program: Path) -> subprocess.CompletedProcess[str]:
    # A fixed address layout: the sanitizer's runtime cannot map its shadow under some kernels' randomisation.
    command = ["setarch", "-R", str(program), "50000"]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_thread_sanitizer_finds_no_race(build: Build) -> None:
    done = run_threads(build("ring_threads", *SANITIZED))
    assert figures(done) == {"events": "50000"}
    assert "data race" not in done.stderr


@pytest.mark.parametrize("planted", ["RING_PUBLISH_ORDER", "RING_RELEASE_ORDER"])
def test_thread_sanitizer_reports_a_planted_relaxed_store(build: Build, planted: str) -> None:
    done = run_threads(build("ring_threads", *SANITIZED, f"-D{planted}=__ATOMIC_RELAXED"))
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
    assert done.returncode == 66, "the sanitizer's own exit code"
