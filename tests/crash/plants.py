"""Bugs planted into a copy of the tree: a campaign that does not fail over them proves nothing.

    this tree --copied, four changes, built--> another tree --HOTPATH_PLANT=name--> the phase that must find it: exit 1
                                                            --no plant------------> the same phases: exit 0

Nothing of them is in the product: the changes are made to the text of the copy's sources, and one that finds nothing to
change any more is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash.tally import Tally, Work

REPOSITORY = Path(__file__).resolve().parent.parent.parent
COPIED = ("ffi", "hotpath", "tests", "control", "research", "pyproject.toml")
BUILD_SECONDS, PHASE_SECONDS = 900, 600
SWITCH = "HOTPATH_PLANT"
READER = """
#include <stdlib.h>
#include <string.h>
static int PLANTED;
__attribute__((constructor)) static void PLANTED_read(void) {
    const char *name = getenv("HOTPATH_PLANT");
    PLANTED = name && !strcmp(name, "PLANT_NAME");
}
"""


@dataclass(frozen=True)
class Plant:
    """One bug: what it does, where it is put, and which phase must fail over it."""

    name: str
    what: str
    source: str
    old: str
    new: str  # in which PLANTED says whether it is switched on
    phase: str


PLANTS = (
    Plant(
        "skip-crc",
        "records count as good whatever their checksum says",
        "journal.c",
        "if (mark == mark_of(first_sequence + done + i, crc[i]))",
        "if (PLANTED ? (uint32_t)mark == (uint32_t)(first_sequence + done + i + 1) "
        ": mark == mark_of(first_sequence + done + i, crc[i]))",
        "torn",
    ),
    Plant(
        "resend-unknown",
        "orders whose fate is not known yet are sent again",
        "gateway_reports.c",
        "    messages_drain(self, now_ns);\n}\n",
        "    static int done;\n"
        "    int begins = PLANTED && !done && self->session.state == SESSION_LOGGING_IN;\n"
        "    for (uint32_t i = self->first_open; begins && i < self->order_count; i++) {\n"
        "        const intent_record *record = &self->intents.records[self->orders[i].record];\n"
        "        session_queue(&self->session, record->frame, record->frame_length);\n"
        "    }\n"
        "    done |= begins;\n"
        "    messages_drain(self, now_ns);\n}\n",
        "gateway-calls",
    ),
    Plant(
        "swap-stores",
        "an intent's stamp is stored before its order",
        "gateway.c",
        "    uint32_t user_ref = (uint32_t)self->intents.page->next_user_ref;\n",
        "    uint32_t user_ref = (uint32_t)self->intents.page->next_user_ref;\n"
        "    if (PLANTED) __atomic_store_n(&record->stamp, self->intents.next + 1, __ATOMIC_RELEASE);\n",
        "steps",
    ),
    Plant(
        "drop-suppression",
        "a gateway that was started again tells anew what was told",
        "gateway_reports.c",
        "    int silent = sequence < self->published_sequence;\n",
        "    int silent = !PLANTED && sequence < self->published_sequence;\n",
        "gateway-calls",
    ),
)
NAMES = tuple(plant.name for plant in PLANTS)


class PlantError(Exception):
    """The copy cannot be made or built."""


def put(text: str, plant: Plant) -> str:
    """The source with the plant in it, behind the includes what switches it on."""
    if text.count(plant.old) != 1:
        raise PlantError(f"{plant.source} no longer holds what the plant {plant.name} changes")
    word = f"planted_{plant.name.replace('-', '_')}"
    text = text.replace(plant.old, plant.new.replace("PLANTED", word))
    place = text.index("\n", text.rindex("\n#include ") + 1) + 1
    while text[place:].startswith("#endif"):
        place = text.index("\n", place) + 1
    return text[:place] + READER.replace("PLANT_NAME", plant.name).replace("PLANTED", word) + text[place:]


@contextmanager
def planted_tree() -> Iterator[Path]:
    """A copy of this tree with all the plants in it, built, for a while. Raises PlantError."""
    with TemporaryDirectory(prefix="hotpath-plants-") as scratch:
        tree = Path(scratch)
        leave = shutil.ignore_patterns("__pycache__", "*.so", "_native.c", "*.egg-info")
        for name in COPIED:
            if (REPOSITORY / name).is_dir():
                shutil.copytree(REPOSITORY / name, tree / name, ignore=leave)
            else:
                shutil.copy(REPOSITORY / name, tree / name)
        for plant in PLANTS:
            path = tree / "ffi" / "src" / plant.source
            path.write_text(put(path.read_text(), plant))
        done = _run(tree, [sys.executable, "ffi/build.py"], plant="", seconds=BUILD_SECONDS)
        if done.returncode:
            raise PlantError(f"the planted tree cannot be built: {done.stderr[-2000:]}")
        yield tree


def _run(tree: Path, command: list[str], *, plant: str, seconds: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, SWITCH: plant}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds)


def campaign_in(tree: Path, phase: str, *, plant: str, seed: int) -> subprocess.CompletedProcess[str]:
    """A sample of one phase in the planted tree, with one plant switched on, or with none."""
    command = [sys.executable, "-m", "tests.crash.campaign", "--quick", "--only", phase, f"--seed={seed}"]
    return _run(tree, command, plant=plant, seconds=PHASE_SECONDS)


def found(done: subprocess.CompletedProcess[str]) -> str:
    """The first thing that did not hold; empty where the campaign passed, or ended for another reason."""
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("    FAILED")]
    return lines[0] if done.returncode == 1 and lines else ""


def canaries(work: Work) -> Tally:
    """Each plant must be found, and what finds it must hold without one."""
    tally = Tally()
    work.say("building a tree with planted bugs")
    with planted_tree() as tree:
        for phase in sorted({plant.phase for plant in PLANTS}):
            done = campaign_in(tree, phase, plant="", seed=work.seed)
            if done.returncode:
                tally.wrong.append(f"{phase} fails where nothing is planted: {done.stdout[-600:]}{done.stderr[-600:]}")
        for plant in PLANTS:
            done = campaign_in(tree, plant.phase, plant=plant.name, seed=work.seed)
            what = found(done)
            work.say(f"{plant.name} ({plant.what}): {what[:150] or 'MISSED'}")
            tally.counts["plants found"] += bool(what)
            if not what:
                tally.wrong.append(f"{plant.name} was not found: exit {done.returncode} {done.stderr[-600:]}")
    return tally
