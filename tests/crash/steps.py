"""SIGKILL after each single instruction of the small sequences on which all else rests.

    ring      publish, release, an observer's copy                      ring_step.c
    intents   a gateway takes a command: check, frame, stamp, release   intent_step.c, both durabilities
    journal   events taken, sealed, written, released                   journal_step.c

The programs are compiled here with the sources that they are about; each checks itself after every kill, lets a
successor go on, and prints how many states it saw.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.crash.tally import Tally, Work

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-Iffi/include", "-Iffi/src", "-pthread"]
NOW = "-Wl,-z,now"  # symbols are bound at the start: no dynamic linker is stepped through
RING = ["ring", "wait", "segment"]
GATEWAY = [
    "clock",
    "control",
    "digest",
    "gateway_conserve",
    "gateway_kill",
    "gateway_reports",
    "histogram",
    "intent",
    "ouch",
    "ouch42",
    "ouch50",
]
GATEWAY += ["session", "soup", "stage", "venue"]  # gateway.c itself is a part of the program
SOURCES = {"ring_step": RING, "intent_step": [*RING, *GATEWAY], "journal_step": [*RING, "journal"]}
RING_ACTS = ("publish", "release", "copy")
INTENT_ACTS = tuple((act, promise) for promise in ("process", "power") for act in ("new", "replace", "cancel"))
QUICK_STRIDE = 37
PATIENCE_SECONDS = 900


def compile_steps(program: str, folder: Path) -> Path:
    """``tests/crash/<program>.c`` with the sources of this tree."""
    target = folder / program
    sources = [str(Path(__file__).with_name(f"{program}.c")), *(f"ffi/src/{name}.c" for name in SOURCES[program])]
    command = ["gcc", *FLAGS, NOW, *sources, "-o", str(target), "-lm", "-lrt"]
    done = subprocess.run(command, cwd=REPOSITORY, timeout=120, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} cannot be built (SOURCES above says of what): {done.stderr[-1500:]}")
    return target


def acts(folder: Path, *, stride: int, offset: int) -> Iterator[list[str]]:
    """Commands, each of one sequence."""
    sparse = [str(stride), str(offset)]
    intents, journal, ring = (compile_steps(name, folder) for name in ("intent_step", "journal_step", "ring_step"))
    yield from ([str(intents), *act, *sparse] for act in INTENT_ACTS)
    yield [str(journal), *sparse]
    yield from ([str(ring), act] for act in RING_ACTS)


def steps(work: Work) -> Tally:
    """All of them, two side by side."""
    tally = Tally()
    if platform.machine() != "x86_64":
        tally.notes.append("single steps are counted on x86-64 only")
        return tally
    stride = QUICK_STRIDE if work.quick else 1
    with ThreadPoolExecutor(1 if work.quick else 2) as pool:
        for done in pool.map(_run, acts(work.folder, stride=stride, offset=work.seed % stride)):
            if done.returncode:
                name = " ".join([Path(done.args[0]).name, *done.args[1:]])
                tally.wrong.append(f"{name}: {done.stderr.strip()[-300:] or done.returncode}")
                continue
            seen = dict(pair.split("=") for pair in done.stdout.split())
            tally.counts["SIGKILL"] += int(seen["states"])
            work.say(
                f"{seen['act']}: {seen['states']} instructions, the effect before the last {seen['after_the_effect']}"
            )
            if not 0 < int(seen["after_the_effect"]) <= int(seen["states"]):
                tally.wrong.append(f"{seen['act']}: no effect was seen, so nothing was tested")
    return tally


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
