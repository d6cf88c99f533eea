"""The tap: publishes what passes through the engine's rings to whoever wants to look on.

    norm signal cmd exec reject intake --observer cursors--> batches by instrument --XPUB over ipc--> subscribers

It is an observer: the path never waits for it. Where it was too slow it lost events, counts them exactly,
and says so in each frame of that ring. A topic that nobody asked for is neither sorted nor sent. The format
is docs/tap.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from ffi import ffi, lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath.endpoints import tap_endpoint
from hotpath.engine import SLOT_SIZE
from hotpath.rings import RingReader
from hotpath.side_runtime import SideRuntime, bound, run_side

MAGIC = int.from_bytes(b"HPTAP001", "little")
NO_SYMBOL = "-"  # in the topic of an event that concerns no instrument
STATUS_TOPIC = b"status/"
STATUS_SECONDS = 1.0
SMALLER = 10  # nice: it gives way to what is not a spectator
FRAME_BYTES: int = ffi.sizeof("tap_frame")
BATCH: int = lib.TAP_BATCH_MAX


def topic_of(ring: str, symbol: str) -> bytes:
    """As ``norm/GOOG/``: the slash at the end keeps GOOG apart from GOOGL, since subscriptions are prefixes."""
    return f"{ring}/{symbol}/".encode()


class RingTap:
    """One ring: its observer cursor, and the topics that its events go to."""

    def __init__(self, runtime: SideRuntime, ring: str, frame: np.ndarray[Any, np.dtype[np.void]]) -> None:
        spec = runtime.spec
        self.ring = ring
        self.reader = RingReader(
            spec.name, ring, "tap", gating=False, dtype="norm_event", run_epoch=runtime.run.run_epoch
        )
        self.batch = np.empty(BATCH, self.reader.dtype)
        self._frame = frame
        self._sorted = np.empty_like(self.batch)
        self._runs = np.empty(BATCH, dtype_of("tap_run"))
        self._place = np.zeros(lib.INSTRUMENTS_MAX + 1, np.uint32)
        symbols = [*spec.symbols, NO_SYMBOL]
        self._topics = [topic_of(ring, symbol) for symbol in symbols]
        self._positions = [0] * len(symbols)
        self._tick_values = [*spec.instruments["tick_value_micros"].tolist(), 0]
        self._wanted = [False] * len(symbols)
        self.asked_for = False

    def subscriptions(self, prefixes: set[bytes]) -> None:
        """Take note of what is asked for: a frame is made only for a topic that begins with one of `prefixes`."""
        self._wanted = [any(topic.startswith(prefix) for prefix in prefixes) for topic in self._topics]
        self.asked_for = any(self._wanted)

    def send(self, socket: zmq.Socket[bytes], count: int) -> tuple[int, int]:
        """Send what is asked for of the batch's first `count` events; returns frames and events sent."""
        runs = lib.tap_sort(
            ffi.cast("norm_event *", ffi.from_buffer(self.batch)),
            count,
            ffi.cast("uint32_t *", ffi.from_buffer(self._place)),
            ffi.cast("norm_event *", ffi.from_buffer(self._sorted)),
            ffi.cast("tap_run *", ffi.from_buffer(self._runs)),
        )
        stamps = self._sorted["header"]["stamp"]
        slots = self._sorted.view(np.uint8).data
        frame, frames, events = self._frame, 0, 0
        frame["lost_count"] = self.reader.lost_count
        for instrument, start, size, _ in self._runs[:runs].tolist():
            topic = min(instrument, len(self._topics) - 1)
            if not self._wanted[topic]:
                continue
            frame["first_sequence"] = stamps[start] - 1
            frame["topic_position"] = self._positions[topic]
            frame["tick_value_micros"] = self._tick_values[topic]
            frame["count"] = size
            parts = [self._topics[topic], frame.tobytes(), slots[start * SLOT_SIZE : (start + size) * SLOT_SIZE]]
            socket.send_multipart(parts, zmq.NOBLOCK)
            self._positions[topic] += size
            frames += 1
            events += size
        return frames, events


class Tap:
    """Every tapped ring, and the socket."""

    def __init__(self, runtime: SideRuntime, socket: zmq.Socket[bytes]) -> None:
        self._runtime = runtime
        self._socket = socket
        self._prefixes: set[bytes] = set()
        frame = np.zeros((), dtype_of("tap_frame"))
        frame["magic"] = MAGIC
        frame["layout_hash"] = layout_hash()
        frame["run_epoch"] = runtime.run.run_epoch
        frame["tap_epoch"] = time.time_ns()
        frame["slot_size"] = SLOT_SIZE
        frame["engine"] = runtime.spec.name.encode()
        rings = [ring.name for ring in runtime.spec.rings if "tap" in ring.observers]
        self.rings = [RingTap(runtime, ring, frame) for ring in rings]
        self._status_at = 0.0

    def turn(self) -> bool:
        """One look at every ring; True when one of them had more than a batch."""
        self._hear()
        more = False
        counter = self._runtime.page.counter
        for ring in self.rings:
            count = ring.reader.copy_into(ring.batch)
            counter[lib.TAP_EVENTS] += count
            more |= count == BATCH
            if count and ring.asked_for:
                frames, events = ring.send(self._socket, count)
                counter[lib.TAP_FRAMES] += frames
                counter[lib.TAP_FRAME_EVENTS] += events
        counter[lib.TAP_LOST] = sum(ring.reader.lost_count for ring in self.rings)
        self._tell_status()
        return more

    def _hear(self) -> None:
        """Subscriptions come as messages: 1 and a prefix, or 0 and a prefix that is not wanted any more."""
        heard = False
        while self._socket.poll(0):
            message = self._socket.recv()
            heard = True
            (self._prefixes.add if message[:1] == b"\1" else self._prefixes.discard)(message[1:])
        if heard:
            self._runtime.page.counter[lib.TAP_SUBSCRIPTIONS] = len(self._prefixes)
            for ring in self.rings:
                ring.subscriptions(self._prefixes)

    def _tell_status(self) -> None:
        """Once a second: how far each ring is read, and what was lost there, for those whose frames were all lost."""
        now = time.monotonic()
        if now - self._status_at < STATUS_SECONDS:
            return
        self._status_at = now
        status = {
            "engine": self._runtime.spec.name,
            "run_epoch": self._runtime.run.run_epoch,
            "layout_hash": f"{layout_hash():016x}",
            "rings": {
                ring.ring: {"next_sequence": ring.reader.next_sequence, "lost": ring.reader.lost_count}
                for ring in self.rings
            },
        }
        self._socket.send_multipart([STATUS_TOPIC, msgspec.json.encode(status)], zmq.NOBLOCK)


def run_tap(run_path: Path) -> None:
    """Publish until told to stop."""
    runtime = SideRuntime("tap", run_path, nice=SMALLER)
    config = runtime.spec.config.tap
    context = zmq.Context(io_threads=1)
    socket: zmq.Socket[bytes] = context.socket(zmq.XPUB)
    socket.set(zmq.SNDHWM, config.queue_frames_max)
    socket.set(zmq.LINGER, 0)
    pause_ms = config.interval_ms
    with bound(socket, tap_endpoint(runtime.spec.config)):
        tap = Tap(runtime, socket)
        runtime.ready()
        while runtime.running:
            if not tap.turn():
                time.sleep(pause_ms / 1000)
            runtime.beat()
    context.term()
    runtime.stopped()


if __name__ == "__main__":
    sys.exit(run_side("tap", run_tap, sys.argv[1:]))
