"""The ingress: takes frames that feed handlers push over ZeroMQ, and puts what is sound into the engine's ring.

    senders (DEALER) --frames--> ROUTER --ingress_take--> ring `ingress` --> front end of the feed --> raw
                     <--answers--

A ROUTER, so that each sender is answered: what was taken, how much room there is, why a frame was refused.
Checking, numbering and publishing are a kernel's (ffi/src/ingress.c); here frames are carried. While the ring
is full nothing is read: the queues fill, and a sender's own socket tells it to wait. docs/ingress.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.endpoints import ingress_endpoint
from hotpath.rings import RingWriter
from hotpath.side_runtime import SideRuntime, bound, run_side
from hotpath.topology import bell_segment

WAIT_MS = 20  # for a frame; also how often senders' silence is looked for
ROOM_WAIT_SECONDS = 0.0002
BURST_FRAMES = 64  # taken between two looks at the time; a sender is answered once in each
MILLISECOND_NS = 1_000_000
NO_FRAME = b"\0"  # stands for what has not the parts that a frame has
ANSWER_BYTES: int = ffi.sizeof("ingress_answer")


class Ingress:
    """The kernel's state, bound to the engine's ring."""

    def __init__(self, runtime: SideRuntime) -> None:
        spec = runtime.spec
        config = spec.config.ingress
        ring = next(ring for ring in spec.rings if ring.name == "ingress")
        bells = [
            bell_segment(place.process)
            for place in spec.placement.places
            if place.wait == "park" and set(place.stages) & set(ring.gating)
        ]
        self._clock = runtime.clock
        self._writer = RingWriter(spec.name, ring.name, gates=ring.gating, bells=bells, run_epoch=runtime.run.run_epoch)
        self._symbols = symbol_table(spec.instruments["symbol"])
        self.c: Any = ffi.new("ingress *")
        self.c.ring = self._writer.c
        self.c.symbol = ffi.cast("ingress_symbol *", ffi.from_buffer(self._symbols))
        self.c.symbol_count = len(self._symbols)
        self.c.counter = runtime.page.counter
        self.c.silence_ns = config.silence_ms * MILLISECOND_NS
        self.c.sender_count = len(config.senders)
        for index, name in enumerate(config.senders):
            ffi.memmove(self.c.sender[index].name, name.encode(), len(name))
        lib.ingress_init(self.c)
        self.answer = ffi.new("ingress_answer *")

    def take(self, frame: bytes) -> int:
        """enum ingress_status; after INGRESS_FULL the same frame must come again before any other."""
        now_ns = lib.clock_now(self._clock)
        return int(lib.ingress_take(self.c, ffi.from_buffer(frame), len(frame), now_ns, self.answer))

    def answer_bytes(self) -> bytes:
        """The answer to the last frame, as it goes out."""
        return bytes(ffi.buffer(self.answer, ANSWER_BYTES))

    def tick(self) -> None:
        """Look for senders that fell silent."""
        lib.ingress_tick(self.c, lib.clock_now(self._clock))


def symbol_table(symbols: Any) -> Any:
    """Symbols and their indices, dtype ``ingress_symbol``, sorted as the kernel searches."""
    table = np.zeros(len(symbols), dtype_of("ingress_symbol"))
    table["symbol"] = symbols
    table["instrument"] = np.arange(len(symbols))
    return table[np.argsort(table["symbol"], kind="stable")]


class Listener:
    """The socket, and the one frame that may have to wait."""

    def __init__(self, runtime: SideRuntime, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._ingress = Ingress(runtime)
        self._waiting: tuple[bytes, bytes] | None = None  # sender's address, frame

    def turn(self) -> None:
        """Take what has come, at most BURST_FRAMES, and answer each sender once; refusals each."""
        answers: dict[bytes, bytes] = {}
        for _ in range(BURST_FRAMES):
            item = self._waiting or self._receive(wait_ms=0 if answers else WAIT_MS)
            if item is None:
                break
            address, frame = item
            status = self._ingress.take(frame)
            self._waiting = item if status == lib.INGRESS_FULL else None
            if self._waiting:
                time.sleep(ROOM_WAIT_SECONDS)
                break
            if status > lib.INGRESS_GAP:
                self._answer(address, self._ingress.answer_bytes())
            else:
                answers[address] = self._ingress.answer_bytes()
        for address, answer in answers.items():
            self._answer(address, answer)
        self._ingress.tick()

    def _receive(self, *, wait_ms: int) -> tuple[bytes, bytes] | None:
        if not self._socket.poll(wait_ms):
            return None
        parts = self._socket.recv_multipart()
        return parts[0], parts[1] if len(parts) == 2 else NO_FRAME

    def _answer(self, address: bytes, answer: bytes) -> None:
        try:
            self._socket.send_multipart([address, answer], zmq.NOBLOCK)
        except zmq.Again:  # a sender that does not read its answers loses them
            return


def run_ingress(run_path: Path) -> None:
    """Listen until told to stop."""
    runtime = SideRuntime("ingress", run_path)
    config = runtime.spec.config
    context = zmq.Context(io_threads=1)
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    socket.set(zmq.RCVHWM, config.ingress.queue_frames_max)
    socket.set(zmq.SNDHWM, config.ingress.queue_frames_max)
    socket.set(zmq.MAXMSGSIZE, lib.INGRESS_FRAME_MAX)
    socket.set(zmq.LINGER, 0)
    with bound(socket, ingress_endpoint(config)):
        listener = Listener(runtime, socket)
        runtime.ready()
        while runtime.running:
            listener.turn()
            runtime.beat()
    context.term()
    runtime.stopped()


if __name__ == "__main__":
    sys.exit(run_side("ingress", run_ingress, sys.argv[1:]))
