"""The process `projector`: beside an engine, killable at any instant, restarted with back-off.

It has no page and no cursor: it reads the journal's files, stands back on its processor, and what it does to the
database nobody on the path waits for.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import msgspec

from hotctl.errors import DatabaseDownError
from hotctl.projection.projector import Projector, explain
from hotpath import host
from hotpath.errors import HotpathError, StageError
from hotpath.run_file import RunFile
from hotpath.topology import Placement

SMALLER = 10  # nice: it gives way to whatever else runs
LAST_SECONDS = 3.0  # to project what is left when the engine ends
OWNER_ONLY = 0o077  # umask

_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


def run_projector(run_path: Path, folder: Path) -> None:
    """Follow until told to stop, then project what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to answer
    signal.signal(signal.SIGTERM, _stop)
    host.die_with_parent()
    host.set_thread_name("projector")
    os.umask(OWNER_ONLY)
    try:
        run = msgspec.json.decode(run_path.read_bytes(), type=RunFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise StageError(f"{run_path}: no run can be read from it: {error}") from None
    host.stand_aside(Placement(run.places, ()), nice=SMALLER)
    projector = Projector.of(run.config, current=folder)
    projector.follow(lambda: not _told_to_stop)
    try:
        projector.catch_up(seconds=LAST_SECONDS)
    except DatabaseDownError as error:  # what is left is projected when it answers again
        projector.trouble = str(error)
    projector.tell(always=True)
    projector.database.close()


def main(arguments: list[str]) -> int:
    """Entry point: RUN_FILE JOURNAL_FOLDER."""
    try:
        run_projector(Path(arguments[0]), Path(arguments[1]))
        return 0
    except HotpathError as error:
        print(f"projector: {explain(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
