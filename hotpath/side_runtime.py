"""What the Python processes beside the path have in common: signals, their page, their socket, their manners."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import zmq

from ffi import lib
from hotpath import host, segments
from hotpath.endpoints import SCHEME
from hotpath.engine import EngineSpec
from hotpath.errors import HotpathError, StageError
from hotpath.holders import Hold, hold
from hotpath.notify import Watchdog, notify
from hotpath.run_file import RunFile, read_run_file
from hotpath.topology import CLOCK_SEGMENT, side_segment

BEAT_SECONDS = 0.1
NO_CPU = 0xFFFFFFFF
OWNER_ONLY = 0o177  # umask of a socket that only its owner may open


class SideRuntime:
    """One process beside the path: ``while runtime.running: ...; runtime.beat()``."""

    def __init__(self, name: str, run_path: Path, *, nice: int = 0) -> None:
        """`nice`: how far it stands back behind others on its processor."""
        self.running = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to answer
        signal.signal(signal.SIGTERM, self._stop)
        host.die_with_parent()
        host.set_thread_name(name)
        self.name = name
        self.run: RunFile
        self.spec: EngineSpec
        self.run, self.spec = read_run_file(run_path)
        host.stand_aside(self.spec.placement, nice=nice)
        self._page_segment = self.attach(side_segment(name), lib.SEGMENT_STAGE, writable=True)
        self._clock_segment = self.attach(CLOCK_SEGMENT, lib.SEGMENT_CLOCK)
        self.page: Any = self._page_segment.cast("stage_page *")
        self.clock: Any = self._clock_segment.cast("clock_page *")
        self._beaten = 0.0
        self._watchdog = Watchdog()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.running = False

    def attach(self, segment: str, kind: int, *, writable: bool = False) -> segments.Segment:
        """A segment of this run."""
        return segments.attach(self.spec.name, segment, kind, writable=writable, run_epoch=self.run.run_epoch)

    def ready(self) -> None:
        """Tell the supervisor that the loop begins."""
        lib.stage_beat(self.page, self.clock)
        lib.stage_announce(self.page, lib.STAGE_READY, os.getpid(), NO_CPU)
        notify("READY=1", "STATUS=runs")

    def beat(self) -> None:
        """Tell that this process lives; call it at least every `engine.hang_ms`."""
        now = time.monotonic()
        if now - self._beaten >= BEAT_SECONDS:
            self._beaten = now
            lib.stage_beat(self.page, self.clock)
            self._watchdog.feed(int(self.page.heartbeat_time_ns))

    def stopped(self) -> None:
        """Tell that it leaves as it was told to."""
        lib.stage_announce(self.page, lib.STAGE_STOPPED, os.getpid(), NO_CPU)


@contextmanager
def bound(socket: zmq.Socket[bytes], address: str) -> Iterator[None]:
    """Bind a socket that only this user may connect to; its file goes when the context is left.

    ZeroMQ takes a path over from whoever is bound to it, without a word; a lock beside it keeps that to the
    dead. Raises HeldError that names the process which listens there, StageError when it cannot be made.
    """
    path = Path(address.removeprefix(SCHEME))
    held = None
    try:
        held = _hold_endpoint(path, address)
        before = os.umask(OWNER_ONLY)
        try:
            socket.bind(address)
        finally:
            os.umask(before)
        yield
        path.unlink(missing_ok=True)
    except zmq.ZMQError as error:
        raise StageError(f"{address}: cannot be listened on: {error.strerror}") from None
    finally:
        socket.close(linger=0)
        if held is not None:
            held.release()


def _hold_endpoint(path: Path, address: str) -> Hold:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StageError(f"{address}: cannot be made: {error.strerror}") from None
    return hold(
        path.with_name(f"{path.name}.lock"),
        f"the endpoint {address}",
        next_step="stop that process, or name another endpoint in the configuration",
    )


def run_side(name: str, body: Callable[[Path], None], arguments: list[str]) -> int:
    """Entry point of a process beside the path: RUN_FILE. Errors go to its log, which the supervisor reads."""
    try:
        body(Path(arguments[0]))
        return 0
    except HotpathError as error:
        print(f"{name}: {error}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)
        return error.exit_code
