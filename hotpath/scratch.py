"""Folders in memory that live as long as the process that made them.

/dev/shm/hotpath-VERB-PID-START-XXXXXXXX    START: of the process, so that a later one with its number is another

A process that was killed cannot remove its folder, and memory that nobody owns is never given back; so whoever
makes one, or starts an engine, first removes those whose owner is gone.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotpath.segments import SHM_FOLDER, process_start_time

NAME = re.compile(r"hotpath-[a-z]+-(\d+)-(\d+)-\w+")


@contextmanager
def scratch_folder(verb: str) -> Iterator[Path]:
    """A folder in memory, removed when the block is left, or at the latest when the next one is made."""
    reap_scratch()
    prefix = f"hotpath-{verb}-{os.getpid()}-{process_start_time(os.getpid())}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=SHM_FOLDER) as folder:
        yield Path(folder)


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
