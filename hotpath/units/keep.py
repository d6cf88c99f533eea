"""`hotpath keep`: the keeper of an engine whose processes are units; and how it is told that the engine shall stop.

``python -m hotpath.units.keep leave ROOM`` tells the keeper, and waits until it has drained and left.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

from hotpath.errors import ConfigError
from hotpath.report import RunReport
from hotpath.run import RunOptions, run_engine
from hotpath.supervisor import Outcome

ROOMS = Path("/run/hotpath")
PID_FILE = "keeper.pid"
LEAVE_SECONDS = 60.0  # for the drain, a gateway's rescue, and everybody's leaving


def keep(config: Path, room: Path, *, arm: bool = False) -> tuple[Outcome, RunReport]:
    """Hold the room until told to stop. Raises HotpathError."""
    if not room.is_dir():
        raise ConfigError(f"{room}: is no folder", next_step="the unit makes it (RuntimeDirectory=), or: mkdir -m 700")
    mark = room / PID_FILE
    mark.write_text(f"{os.getpid()}\n")
    try:
        return run_engine(config, RunOptions(arm=arm, room=room))
    finally:
        mark.unlink(missing_ok=True)


def leave(room: Path) -> int:
    """Tell the keeper to drain and stop, and wait for it. 0: it has left, or there was none."""
    try:
        descriptor = os.pidfd_open(int((room / PID_FILE).read_text()))
    except (OSError, ValueError):
        return 0
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return 0
    return 0 if select.select([descriptor], [], [], LEAVE_SECONDS)[0] else 1


if __name__ == "__main__":
    sys.exit(leave(Path(sys.argv[2])))
