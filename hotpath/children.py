"""The processes that a supervisor starts: each with a log of its own, and what became of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hotpath.side_processes import SideProcess
from hotpath.spawn import module_command, module_environment

BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SETTLED_SECONDS = 60.0  # a process that lived so long is not one that fails again and again
WAIT_SECONDS = 0.005  # between two looks at whether a process has ended
KILL_SECONDS = 2.0  # for SIGKILL to take effect; a process that waits for a device takes longer
LOG_TAIL_BYTES = 64 << 10  # of a log, that is read again
LOG_BYTES_MAX = 64 << 20  # of a log, that is kept


class Started(Protocol):
    """What is known of a started process: a subprocess.Popen is one."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        """Reap it."""


@dataclass
class Child:
    """One started process: of the path (`stages`), or beside it (`side`).

    Each leads a session of its own, so that what happens to the terminal happens to the supervisor alone, and what
    a child started itself can be ended with it.
    """

    name: str
    command: list[str]
    log_path: Path
    stages: tuple[str, ...] = ()
    side: SideProcess | None = None
    without: tuple[str, ...] = ()  # variables of the environment that are none of its business
    log_start: int = 0  # where in its log this process began
    started: float = 0.0  # monotonic seconds
    restarts: int = 0
    failures: int = 0  # in a row, none of them after SETTLED_SECONDS
    restarted: list[float] = field(default_factory=list)  # monotonic seconds of each restart
    restart_at: float | None = None  # monotonic seconds; None: it runs
    left: bool = False  # it is dead and stays so
    rebuilds: bool = False  # the next one to start takes up its predecessor's state
    noticed_ns: int = 0  # engine clock at which its last death was noticed
    process: Started = field(init=False)  # the last one started

    def start(self) -> None:
        """Start it, or start it again. Raises OSError when the machine cannot."""
        with self.log_path.open("ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                module_command(*self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=module_environment(without=self.without),
                start_new_session=True,
            )
        self.started = time.monotonic()
        self.restart_at = None

    def restart_later(self) -> float:
        """Have it started again after a while, longer each time that it fails in a row; returns the seconds."""
        now = time.monotonic()
        if now - self.started > SETTLED_SECONDS:
            self.failures = 0
        delay = BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS) - 1)]
        self.failures += 1
        self.restarts += 1
        self.restarted.append(now)
        self.restart_at = now + delay
        return delay

    def recent_restarts(self, window_seconds: float) -> int:
        """Restarts within so long before now; 0: all of them."""
        since = time.monotonic() - window_seconds if window_seconds else 0.0
        return sum(each >= since for each in self.restarted)

    def said(self) -> str:
        """The end of what this process said of itself, on one line; empty when it said nothing."""
        return " | ".join(self.lines()[-3:])

    def lines(self) -> list[str]:
        """The last lines of its log, those that say something."""
        try:
            with self.log_path.open("rb") as log:
                length = log.seek(0, os.SEEK_END)
                log.seek(max(self.log_start, length - LOG_TAIL_BYTES))
                text = log.read(LOG_TAIL_BYTES).decode(errors="replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def bound_log(self) -> bool:
        """Begin its log anew when it has grown past all use; True when it had."""
        try:
            if self.log_path.stat().st_size <= LOG_BYTES_MAX:
                return False
            os.truncate(self.log_path, 0)  # it appends: its next line is the first
        except OSError:
            return False
        self.log_start = 0
        return True

    def exit_code(self) -> int | None:
        """None while it lives. At its end, what it started is ended too."""
        if self.process.returncode is None and self._ended():
            self._end_family()
            self.process.wait()
        return self.process.returncode

    def _ended(self) -> bool:
        """Whether it waits to be reaped. Until then its number is nobody else's."""
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # the kernel reaps by itself where SIGCHLD is ignored
            return True

    def wait(self, seconds: float) -> bool:
        """Wait for its end, so long; whether it came."""
        deadline = time.monotonic() + max(0.0, seconds)
        while self.exit_code() is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(WAIT_SECONDS)
        return True

    def kill(self) -> bool:
        """End it now, and what it started. False when it has not ended yet: it waits inside the kernel."""
        if self.exit_code() is None:
            self._end_family()
        return self.wait(KILL_SECONDS)

    def tell(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.exit_code() is None:
            os.kill(self.process.pid, number)

    def _end_family(self) -> None:
        """Its session, whose number is its own as long as it is not reaped."""
        with suppress(ProcessLookupError, PermissionError):  # of a process that changed its user, say
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self, *, seconds: float, tell: bool = False) -> None:
        """Give it `seconds` to end by itself, told to by SIGTERM or otherwise; then end it."""
        if tell:
            self.tell(signal.SIGTERM)
        if not self.wait(seconds):
            self.kill()


def remarks_of(children: Sequence[Child]) -> list[str]:
    """What processes said of themselves so far, such as privileges that they miss: each remark once."""
    speakers: dict[str, list[str]] = {}
    for child in children:
        for line in child.lines():
            speaker, _, remark = line.partition(": ")
            speakers.setdefault(remark if speaker == child.name else line, []).append(child.name)
    return [f"{', '.join(names)}: {remark}" for remark, names in speakers.items()]


def describe_exit(code: int | None) -> str:
    """ "ended by SIGKILL" or "ended with exit code 70"."""
    if code is None:
        return "was killed, and has not ended yet"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
