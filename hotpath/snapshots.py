"""The process `snapshots`: makes every stage again from the journal, off the path, and keeps its state now and then.

    journal --> turns, digest by digest --> state after turn N --> FOLDER/snapshots/STAGE.N.snapshot

A successor of a dead process then begins there (hotpath/recovery.py). It goes on from its own last state, so each
turn is made again once; and since it checks every digest, it tells within its interval when a run cannot be made
again. ``python -m hotpath.snapshots RUN_FILE JOURNAL``, started by the supervisor.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec

from hotpath import host
from hotpath.engine import EngineSpec, engine_memory
from hotpath.errors import HotpathError
from hotpath.front_ends import RawTrace, SeatTraces
from hotpath.journal import Journal
from hotpath.recovery import REBUILT, Past, StageRebuild
from hotpath.run_file import read_run_file
from hotpath.scratch import scratch_folder
from hotpath.stage_images import write_image
from hotpath.stages import ProcessStages
from hotpath.topology import Place, Placement

LOOK_SECONDS = 0.2
NICE = 10
OWNER_ONLY = 0o077

_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


class JournalPast(Past):
    """The events that the journal holds so far; no ring is looked at."""

    def head(self, ring: str) -> int:
        """Events that were written."""
        return self._journal.next(ring)

    def refresh(self) -> None:
        """Look for what was written since."""
        self._journal.refresh()

    @property
    def journal(self) -> Journal:
        """What it reads."""
        return self._journal


def shadow_spec(spec: EngineSpec, scratch: Path) -> EngineSpec:
    """The same engine with its deciding stages in one process, and neither feed nor venue."""
    replace = msgspec.structs.replace
    engine = replace(spec.config.engine, name=f"replay-{os.getpid()}", state_dir=str(scratch), topology="fused")
    config = replace(spec.config, engine=engine, feed=replace(spec.config.feed, kind="none"))
    place = Place(process="snapshots", stages=REBUILT, cpu=None, wait="yield")
    return dataclasses.replace(spec, config=config, placement=Placement((place,), ()))


def run_snapshots(run_path: Path, folder: Path) -> int:
    """Keep the state of every stage until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    host.die_with_parent()
    host.set_thread_name("snapshots")
    os.umask(OWNER_ONLY)
    run, spec = read_run_file(run_path)
    host.stand_aside(spec.placement, nice=NICE)
    interval = spec.config.journal.snapshot_s
    if not _wait(interval):  # a run that is over by then costs no memory
        return 0
    with scratch_folder("replay") as scratch:
        shadow = shadow_spec(spec, scratch)
        with engine_memory(shadow) as memory:
            stages = ProcessStages(
                shadow,
                shadow.placement.places[0],
                run_epoch=memory.run_epoch,
                replay_gateway=True,
                journal_epoch=run.run_epoch,
            )
            past = JournalPast(spec, run_epoch=run.run_epoch, folder=folder)
            _keep_on(stages, past, interval)
    return 0


def _keep_on(stages: ProcessStages, past: JournalPast, interval: float) -> None:
    rebuilds = [StageRebuild(stages, stage, past, lambda: None) for stage in REBUILT]
    raw, seats = RawTrace(), SeatTraces()
    for rebuild in rebuilds:
        rebuild.bind()
    while not _told_to_stop:
        began = time.monotonic()
        past.refresh()
        past.follow("raw", raw)
        if "intake" in past.journal.rings:
            past.follow("intake", seats)
        for rebuild in rebuilds:
            before = rebuild.turns
            rebuild.replay()
            if rebuild.turns == before or _told_to_stop:
                continue
            image = rebuild.image()
            image.raw, image.seats = raw, seats
            write_image(past.folder, image)
        _wait(interval - (time.monotonic() - began))


def _wait(seconds: float) -> bool:
    """Wait so long; False when told to stop meanwhile."""
    end = time.monotonic() + seconds
    while not _told_to_stop and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    return not _told_to_stop


def main(arguments: list[str]) -> int:
    """Entry point of the process: RUN_FILE JOURNAL."""
    try:
        return run_snapshots(Path(arguments[0]), Path(arguments[1]))
    except HotpathError as error:
        print(f"snapshots: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"snapshots: {arguments[1]}: cannot be written: {error.strerror}", file=sys.stderr)
        return 74


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
