"""Folders in memory that live as long as the process that made them.

/dev/shm/hotpath-VERB-PID-START-XXXXXXXX    START: of the process, so that a later one with its number is another

A process that was killed cannot remove its folder, and memory that nobody owns is never given back; so whoever
makes one, or starts an engine, first removes those whose owner is gone; and with them the segments of replays,
engines that bear the number of their process and that nobody will start again under that name, and the lock
files of dead holders.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotpath.errors import SegmentError
from hotpath.holders import reap_locks
from hotpath.segments import SHM_FOLDER, list_engines, process_start_time, reap

REPLAY = re.compile(r"replay-(\d+)")
NAME = re.compile(r"hotpath-[a-z]+-(\d+)-(\d+)-\w+")


@contextmanager
def scratch_folder(verb: str) -> Iterator[Path]:
    """A folder in memory, removed when the block is left, or at the latest when the next one is made."""
    reap_leftovers()
    prefix = f"hotpath-{verb}-{os.getpid()}-{process_start_time(os.getpid())}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=SHM_FOLDER) as folder:
        yield Path(folder)


def reap_leftovers() -> None:
    """Remove what this user's dead processes left in memory: folders, segments of replays, lock files."""
    reap_scratch()
    reap_replays()
    reap_locks()


def reap_scratch(shm: Path = SHM_FOLDER) -> list[str]:
    """Remove this user's folders of dead processes; returns their names."""
    reaped = []
    for path in sorted(shm.glob("hotpath-*-*-*-*")):
        match = NAME.fullmatch(path.name)
        if match is None or path.is_symlink() or process_start_time(int(match[1])) == int(match[2]):
            continue
        try:
            if path.stat().st_uid != os.getuid():
                continue
        except FileNotFoundError:
            continue  # another process was quicker
        shutil.rmtree(path, ignore_errors=True)
        reaped.append(path.name)
    return reaped


def reap_replays() -> list[str]:
    """Remove the segments of this user's replays that were killed; returns the engines' names."""
    reaped = []
    for engine in list_engines():
        match = REPLAY.fullmatch(engine)
        if match is None or process_start_time(int(match[1])) is not None:
            continue  # alive, or its number is another's by now: then later
        try:
            reap(engine)
        except SegmentError:
            continue  # another user's
        reaped.append(engine)
    return reaped
