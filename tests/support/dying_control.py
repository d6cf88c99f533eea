"""A control process that is killed at a chosen line: ``python -m tests.support.dying_control CONFIG``.

    "0\n"   -->  a control process that lives                <-- its pid
    "N\n"   -->  one that is killed (SIGKILL, by itself) before the N-th line of what carries out mutations
    "?\n"   -->                                               <-- how many such lines the last one has run

Each is forked from this process, which has imported everything: a start costs milliseconds.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from hotctl.server.process import ControlServer
from hotpath.config import load_config

COUNTED = (
    "hotctl/audit.py",
    "hotctl/server/hands.py",
    "hotctl/server/limits.py",
    "hotctl/server/mutations.py",
    "hotctl/server/orders.py",
    "hotctl/server/overrides.py",
    "hotctl/server/strategies.py",
    "hotctl/server/trading.py",
    "hotpath/control/requests.py",
    "hotpath/latch.py",
    "hotpath/ledger/adjustments.py",
    "hotpath/limits/desk.py",
    "hotpath/limits/kept.py",
    "hotpath/limits_log.py",
)


class Counter:
    """Lines of COUNTED that calls have run, in memory that outlives the process."""

    def __init__(self, memory: mmap.mmap, kill_at: int) -> None:
        self._memory = memory
        self._kill_at = kill_at
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        counted = frame.f_code.co_filename.endswith(COUNTED)
        return self._line if counted and threading.current_thread().name.startswith("call") else None

    def _line(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            with self._lock:
                count = int.from_bytes(self._memory[:8], "little") + 1
                self._memory[:8] = count.to_bytes(8, "little")
            if count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def serve(path: str, counter: Counter) -> None:
    """The forked one."""
    threading.settrace(counter)
    server = ControlServer(load_config(Path(path)))
    signal.signal(signal.SIGTERM, server.stop_soon)
    server.start()
    os.write(1, f"{os.getpid()}\n".encode())
    server.serve()
    server.stop()


def main() -> None:
    """Fork on demand."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    for line in sys.stdin:
        if line.strip() == "?":
            os.write(1, f"{int.from_bytes(memory[:8], 'little')}\n".encode())
            continue
        memory[:8] = bytes(8)
        child = os.fork()
        if not child:
            serve(sys.argv[1], Counter(memory, int(line)))
            os._exit(0)
        os.waitpid(child, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
