"""What a process tells the service manager that started it: sd_notify(3), one datagram, no library.

Where no service manager listens (NOTIFY_SOCKET is not set) nothing is told.
"""

from __future__ import annotations

import os
import socket
import time

MICROS = 1_000_000
FEEDS = 4  # within the time after which the manager ends a silent process


def notify(*lines: str) -> bool:
    """Send lines such as "READY=1" or "STATUS=killed"; whether anybody listens. Raises nothing: nobody must answer."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, address.replace("@", "\0", 1))
        except OSError:  # a full queue or a manager that went away; a process of the path waits for neither
            return False
    return True


class Watchdog:
    """Feeds WatchdogSec= while work goes on: `feed` with a mark that moves only when it does."""

    def __init__(self) -> None:
        meant = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        text = os.environ.get("WATCHDOG_USEC", "") if meant else ""
        self.interval_seconds = int(text) / MICROS / FEEDS if text.isdigit() else 0.0  # 0: nobody watches
        self._fed, self._mark = 0.0, 0

    def feed(self, mark: int) -> bool:
        """Tell that the process lives, if `mark` has moved since the last time and it is time; whether it told."""
        now = time.monotonic()
        if not self.interval_seconds or mark == self._mark or now - self._fed < self.interval_seconds:
            return False
        self._fed, self._mark = now, mark
        return notify("WATCHDOG=1")
