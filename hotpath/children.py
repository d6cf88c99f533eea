"""The processes that a supervisor starts: each with a log of its own, and what became of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hotpath.side_processes import SideProcess

BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SETTLED_SECONDS = 60.0  # a process that lived so long is not one that fails again and again


@dataclass
class Child:
    """One started process: of the path (`stages`), or beside it (`side`)."""

    name: str
    command: list[str]
    log_path: Path
    stages: tuple[str, ...] = ()
    side: SideProcess | None = None
    log_start: int = 0  # where in its log this process began
    started: float = 0.0  # monotonic seconds
    restarts: int = 0
    failures: int = 0  # in a row, none of them after SETTLED_SECONDS
    restart_at: float | None = None  # monotonic seconds; None: it runs
    left: bool = False  # it is dead and stays so
    process: subprocess.Popen[bytes] = field(init=False)  # the last one started

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log_path.open("ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
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
        self.restart_at = now + delay
        return delay

    def said(self) -> str:
        """The end of what this process said of itself, on one line; empty when it said nothing."""
        return " | ".join(self.lines()[-3:])

    def lines(self) -> list[str]:
        """The lines of its log, those that say something."""
        try:
            text = self.log_path.read_bytes()[self.log_start :].decode(errors="replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def kill(self) -> None:
        """End it now."""
        self.process.kill()
        self.process.wait()

    def end(self, *, seconds: float, tell: bool = False) -> None:
        """Give it `seconds` to end by itself, told to by SIGTERM or otherwise; then end it."""
        if tell and self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.kill()


def remarks_of(children: Sequence[Child]) -> list[str]:
    """What processes said of themselves so far, such as privileges that they miss: each remark once."""
    speakers: dict[str, list[str]] = {}
    for child in children:
        for line in child.lines():
            speaker, _, remark = line.partition(": ")
            speakers.setdefault(remark if speaker == child.name else line, []).append(child.name)
    return [f"{', '.join(names)}: {remark}" for remark, names in speakers.items()]


def describe_exit(code: int) -> str:
    """ "ended by SIGKILL" or "ended with exit code 70"."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
