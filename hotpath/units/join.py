"""A unit's process until the keeper has work for it: ``python -m hotpath.units.join PROCESS ROOM``.

It waits for its ticket and becomes the process that the ticket names, under the same number, so that the service
manager's main process is the stage itself.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hotpath.errors import HotpathError
from hotpath.notify import notify
from hotpath.spawn import module_command, module_environment
from hotpath.units.tickets import take

LOOK_SECONDS = 0.02


def join(process: str, room: Path) -> None:
    """Wait for the ticket, and become what it names. Raises StageError, OSError; else it does not return."""
    notify(f"STATUS=waits for the keeper of {room}")
    while (ticket := take(room, process)) is None:
        time.sleep(LOOK_SECONDS)
    if not ticket.announces:
        notify("READY=1", "STATUS=runs")
    os.execve(sys.executable, module_command(*ticket.command), module_environment(without=ticket.without))


def main(arguments: list[str]) -> int:
    """Entry point: PROCESS ROOM."""
    try:
        join(arguments[0], Path(arguments[1]))
    except HotpathError as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
