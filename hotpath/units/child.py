"""A process that the service manager starts, as the supervisor sees it: the same manners as hotpath.children.Child."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from hotpath.children import Child
from hotpath.units.tickets import Ticket, ended, give, taker, withdraw

ENDED_SECONDS = 1.0  # that the unit may take to say how its process ended; then it counts as killed


@dataclass
class UnitProcess:
    """Who has the ticket; `pid` 0: nobody yet."""

    pid: int = 0
    returncode: int | None = None
    descriptor: int = -1  # pidfd: a process number may be another's by now, this cannot
    seen_dead: float = 0.0  # monotonic seconds

    def wait(self, timeout: float | None = None) -> int:
        """How it ended: the caller has seen that it did."""
        del timeout
        return self.returncode or 0

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass
class UnitChild(Child):
    """One process of the engine whose unit waits in the room."""

    room: Path = field(kw_only=True)
    process: UnitProcess = field(init=False, default_factory=UnitProcess)
    _tickets: int = field(init=False, default=0)

    def start(self) -> None:
        """Give the unit its ticket. Raises OSError when the room cannot be written."""
        self.process.close()
        self._tickets += 1
        announces = self.side is None or bool(self.side.page)
        give(self.room, self.name, Ticket(self._tickets, tuple(self.command), self.without, announces))
        self.process = UnitProcess()
        self.started = time.monotonic()
        self.restart_at = None

    def lines(self) -> list[str]:
        """What it says goes to the system's journal."""
        return []

    def said(self) -> str:
        """Where to read what it said."""
        return f"journalctl -u hotpath-{self.name}@{self.room.name}"

    def bound_log(self) -> bool:
        """The system's journal bounds itself."""
        return False

    def exit_code(self) -> int | None:
        """None while it lives, or is awaited."""
        process = self.process
        if process.returncode is not None or (not process.pid and not self._find()):
            return process.returncode
        if process.descriptor >= 0 and not select.select([process.descriptor], [], [], 0)[0]:
            return None
        process.seen_dead = process.seen_dead or time.monotonic()
        code = ended(self.room, self.name)
        if code is None and time.monotonic() - process.seen_dead > ENDED_SECONDS:
            code = -signal.SIGKILL
        if code is not None:
            process.returncode = code
            process.close()
        return code

    def _find(self) -> bool:
        """Whether somebody has the ticket by now."""
        pid = taker(self.room, self.name, self._tickets)
        if pid is None:
            return False
        self.process.pid = pid
        try:
            self.process.descriptor = os.pidfd_open(pid)
        except ProcessLookupError:  # and is dead already
            pass
        return True

    def tell(self, number: int) -> None:
        """Send it a signal, if it lives; one that never came need not come any more."""
        if self.exit_code() is not None:
            return
        if self.process.descriptor >= 0:
            try:
                signal.pidfd_send_signal(self.process.descriptor, number)
            except ProcessLookupError:
                pass
        elif withdraw(self.room, self.name):
            self.process.returncode = -number

    def _end_family(self) -> None:
        """Its main process; the service manager ends the rest of the unit."""
        self.tell(signal.SIGKILL)
