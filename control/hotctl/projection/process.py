"""The process `projector`: beside an engine, killable at any instant, restarted with back-off.

It has no cursor: it reads the journal's files, stands back on its processor, and what it does to the database nobody on
the path waits for. Its page side.projector is for `hotpath stat`: a database that hangs is no reason to end it, so its
heartbeat is not watched.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ffi import lib
from hotctl.errors import DatabaseDownError
from hotctl.projection.projector import Projector, ProjectorStatus, explain
from hotpath.errors import HotpathError
from hotpath.side_runtime import SideRuntime

SMALLER = 10  # nice: it gives way to whatever else runs
LAST_SECONDS = 3.0  # to project what is left when the engine ends
OWNER_ONLY = 0o077  # umask


def run_projector(run_path: Path, folder: Path) -> None:
    """Follow until told to stop, then project what is left."""
    runtime = SideRuntime("projector", run_path, nice=SMALLER)
    os.umask(OWNER_ONLY)

    def show(status: ProjectorStatus) -> None:
        counter = runtime.page.counter
        counter[lib.PROJECTOR_EVENTS] = status.events
        counter[lib.PROJECTOR_LAG_EVENTS] = status.lag_events
        counter[lib.PROJECTOR_LAG_MS] = int(status.lag_seconds * 1000)
        counter[lib.PROJECTOR_UP] = status.up
        counter[lib.PROJECTOR_OUTAGES] = status.outages
        runtime.beat()

    projector = Projector.of(runtime.run.config, current=folder, told=show)
    runtime.ready()
    projector.follow(lambda: runtime.running)
    try:
        projector.catch_up(seconds=LAST_SECONDS)
    except DatabaseDownError as error:  # what is left is projected when it answers again
        projector.trouble = str(error)
    projector.tell(always=True)
    projector.database.close()
    runtime.stopped()


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
