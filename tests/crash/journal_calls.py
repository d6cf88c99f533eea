"""A journal process killed before and after every system call of its life, and refused those that touch the disk.

Calls are numbered by name, as they come in a life that nobody cuts short. After each death what stands in the folder is
read: it holds all that was acknowledged, unchanged, and only what was published. The next process goes on with it; the
last one of a run ends it in order. What the disk refuses once ends the process with an error, and the rest still holds.
"""

from __future__ import annotations

import errno
import random
import subprocess
import sys
from pathlib import Path
from typing import Literal

from hotpath.journal.process import FAILED
from tests.crash.journal_run import JournalRun, journal_run
from tests.crash.tally import Tally, Work
from tests.crash.tracer import Do, Point

POLICIES: tuple[Literal["batch", "interval"], ...] = ("batch", "interval")
DEATHS_OF_A_RUN = 8
QUICK_RUNS = 4
RUNS_MAX = 300
QUICK_PLACES = 12
REPOSITORY = Path(__file__).resolve().parent.parent.parent
DISK_CALLS = frozenset({"fdatasync", "fsync", "pwrite64", "write", "fallocate", "rename", "ftruncate", "openat"})
ENDS_AT = frozenset({"fdatasync", "fsync"})  # always; a full disk may leave room enough for what is in hand
FAULTS = (errno.EIO, errno.ENOSPC)
WHOLE_ENGINES = "tests/e2e/test_journal_disk.py"


class Lives:
    """Journal processes of one policy, run by run, and every place that they came to."""

    def __init__(self, work: Work, policy: Literal["batch", "interval"], purpose: str) -> None:
        self.tally = Tally()
        self.places: dict[Point, None] = {}
        self._work = work
        self._policy = policy
        self._purpose = purpose
        self._chance = work.chance(f"journal {purpose} {policy}")
        self._runs = 0

    def chance(self) -> random.Random:
        return self._chance

    def run(self, deaths: list[Point], fault: int = 0) -> int:
        """Lives of one run, each cut short at its place, or refused there, then one that ends in order; returns how
        many places were tried: a life that does not come to its place ends the run."""
        folder = self._work.folder / f"{self._purpose}-{self._policy}-{self._runs}"
        self._runs += 1
        with journal_run(folder, self._policy, self._chance) as made:
            tried = 0
            if made.begin() is not None:
                self.tally.counts["SIGKILL"] += 1
                self.tally.wrong += [f"{self._policy}: killed once all was written: {each}" for each in made.wrong()]
            while tried < len(deaths) and not made.ended:
                self._life(made, deaths[tried], fault)
                tried += 1
            if not made.ended:
                self._life(made, None, 0)
                if not made.ended:
                    self.tally.wrong.append(f"{self._policy}: the run did not end")
            self.tally.counts["events"] += sum(ring.next for ring in made.rings)
        return tried

    def _life(self, made: JournalRun, wanted: Point | None, fault: int) -> None:
        cut = Do.FAIL if fault else Do.KILL
        life = made.life(lambda point: cut if point == wanted else Do.GO_ON, fault=fault or errno.EIO)
        self.places.update(dict.fromkeys(life.points))
        self.tally.counts["SIGKILL"] += life.killed_at is not None
        self.tally.counts["refused calls"] += life.failed_at is not None
        where = f"{self._policy}: {errno.errorcode[fault] if fault else 'killed'} {wanted or 'nowhere'}"
        self.tally.wrong += [f"{where}: {each}" for each in made.wrong()]
        if life.failed_at is not None and life.failed_at.call in ENDS_AT and life.exit_code != FAILED:
            self.tally.wrong.append(f"{where}: went on, exit {life.exit_code}")
        elif life.killed_at is None and life.failed_at is None and life.exit_code:
            self.tally.wrong.append(f"{where}: exit {life.exit_code}")


def journal_calls(work: Work) -> Tally:
    """Deaths at every call, under both policies."""
    tally = Tally()
    for policy in POLICIES:
        lives = Lives(work, policy, "calls")
        for _ in range(4):
            lives.run([])
        tried: set[Point] = set()
        for number in range(QUICK_RUNS if work.quick else RUNS_MAX):
            left = [point for point in lives.places if point not in tried]
            if not left or lives.tally.wrong:
                break
            deaths = lives.chance().sample(left, min(len(left), DEATHS_OF_A_RUN))
            tried.update(deaths[: lives.run(deaths)])
            if number % 10 == 0:
                work.say(f"{policy}: died at {len(tried)} of {len(lives.places)} places")
        tally.take(lives.tally)
        tally.notes.append(f"{policy}: {len(tried)} places")
    return tally


def refused_calls(work: Work) -> Tally:
    """Each call that touches the disk refused: it fails (EIO), it is full (ENOSPC). Whole engines, by their tests."""
    tally = Tally()
    for fault in FAULTS:
        lives = Lives(work, "interval", f"refused {errno.errorcode[fault]}")
        for _ in range(4):
            lives.run([])
        places = [point for point in lives.places if point.call in DISK_CALLS and not point.after]
        lives.chance().shuffle(places)
        places = places[: QUICK_PLACES if work.quick else None]
        while places and not lives.tally.wrong:
            places = places[max(lives.run(places[:DEATHS_OF_A_RUN], fault), 1) :]
        tally.take(lives.tally)
        work.say(f"{errno.errorcode[fault]}: {lives.tally.counts['refused calls']} calls refused")
    if not work.quick:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", WHOLE_ENGINES]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        tally.notes.append(f"{WHOLE_ENGINES}: {done.stdout.strip().splitlines()[-1]}")
        if done.returncode:
            tally.wrong.append(f"{WHOLE_ENGINES}: {done.stdout[-1500:]}")
    return tally
