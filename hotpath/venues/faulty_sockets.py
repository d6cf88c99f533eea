"""Sockets that misbehave: one copy of the feed, the retransmission server, one order session.

Each stands where a plain socket stood and does for its owner what that would have done, but for its faults; what
it has no method for, it hands on.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ffi import lib
from hotpath.venues.tap import Address

MILLISECOND_NS = 1_000_000
NAP_SECONDS = 0.0005  # of a socket that select finds ready and that does nothing: the simulator's own tick
HELD_MS_MAX = 20  # a packet that waits for others to overtake it waits no longer
HEADER_SIZE: int = lib.MOLD_HEADER_SIZE


class Strikes(Protocol):
    """What is needed of an Injector."""

    config: Any
    random: random.Random
    active: bool

    def draw(self) -> bool:
        """Whether the fault strikes here."""

    def strikes(self) -> bool:
        """The same, counted."""

    def happened(self) -> None:
        """Count what `draw` decided."""


After = Callable[[float, Callable[[], None]], None]  # (ms, what to do then)


class Wrapper:
    """A socket and the faults of its kind; a fault that is not configured here never strikes."""

    def __init__(self, plain: socket.socket, injectors: dict[str, Any]) -> None:
        self.plain = plain
        self.injectors: dict[str, Strikes] = injectors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def strikes(self, name: str) -> bool:
        """Ask one fault."""
        injector = self.injectors.get(name)
        return injector is not None and injector.strikes()


# ---- packets that are no packets ------------------------------------------------------------------------


def corrupted(packet: bytes, draw: random.Random) -> bytes:
    """Bytes that a receiver must know for broken: cut short, miscounted, of no session, or noise."""
    choice = draw.randrange(5)
    if choice == 0:
        return packet[: draw.randrange(len(packet))]
    if choice == 1:  # one message more than there is
        (count,) = struct.unpack_from(">H", packet, 18)
        return packet[:18] + struct.pack(">H", (count + 1) % 0xFFFE) + packet[HEADER_SIZE:]
    if choice == 2 and len(packet) > HEADER_SIZE + 2:  # the first message longer than the packet
        return packet[:HEADER_SIZE] + struct.pack(">H", len(packet)) + packet[HEADER_SIZE + 2 :]
    if choice == 3:
        return b"NOSESSION " + packet[10:]
    return draw.randbytes(HEADER_SIZE - 1)


def diverged(packet: bytes, draw: random.Random) -> bytes:
    """The same messages but for one byte of the first."""
    first = HEADER_SIZE + 2
    (length,) = struct.unpack_from(">H", packet, HEADER_SIZE)
    at = first + draw.randrange(1, max(2, length))
    return packet[:at] + bytes([packet[at] ^ (1 + draw.randrange(255))]) + packet[at + 1 :]


def misanswered(packet: bytes, draw: random.Random) -> bytes:
    """An answer to another question: another session's, one for later messages, or broken."""
    choice = draw.randrange(3)
    if choice == 0:
        return b"YESTERDAY " + packet[10:]
    if choice == 1 and len(packet) > HEADER_SIZE:  # the sequence of messages that it does not hold
        (sequence,) = struct.unpack_from(">Q", packet, 10)
        return packet[:10] + struct.pack(">Q", max(1, sequence - 1000)) + packet[18:]
    return corrupted(packet, draw)


# ---- the feed -------------------------------------------------------------------------------------------


class FaultyLine(Wrapper):
    """A feed's line on its way through a bad network."""

    def __init__(self, plain: socket.socket, injectors: dict[str, Any], after: After) -> None:
        super().__init__(plain, injectors)
        self._after = after
        self._lost = 0  # packets of a gap that are still to go
        self._silent_until_ns = 0
        self._held: deque[tuple[bytes, Address]] = deque()  # the line stands still: all of these come later
        self._standing_still = False
        self._overtaken: list[list[Any]] = []  # [packets still to pass, packet, target]

    def sendto(self, packet: memoryview | bytes, target: Address) -> int:
        """Send, or not; always says that it was sent."""
        data = bytes(packet)
        struck = {name for name, fault in self.injectors.items() if fault.draw()}
        if self._swallows(struck):
            return len(packet)
        if "delay" in struck and not self._standing_still:
            self._stand_still()
        if "corrupt" in struck:
            data = corrupted(data, self._happens("corrupt").random)
        elif "divergence" in struck and len(data) > HEADER_SIZE:
            fault = self._happens("divergence")
            other = diverged(data, fault.random)
            self._after(fault.config.delay_ms, lambda: self._pass(other, target))
            return len(packet)
        if "reorder" in struck:
            self._hold(data, target)
            return len(packet)
        self._pass(data, target)
        if "duplicate" in struck:
            self._happens("duplicate")
            self._pass(data, target)
        for entry in list(self._overtaken):
            entry[0] -= 1
            if entry[0] <= 0:
                self._release(entry)
        return len(packet)

    def _happens(self, name: str) -> Strikes:
        """Count one, and hand it out."""
        fault = self.injectors[name]
        fault.happened()
        return fault

    def _swallows(self, struck: set[str]) -> bool:
        """Lost in a gap or a silence."""
        now_ns = time.monotonic_ns()
        if "silence" in struck and now_ns >= self._silent_until_ns:
            self._silent_until_ns = now_ns + self._happens("silence").config.span_ms * MILLISECOND_NS
        if "gap" in struck and not self._lost:
            fault = self._happens("gap")
            self._lost = fault.random.randint(1, fault.config.packets_max)
        if now_ns < self._silent_until_ns:
            return True
        if not self._lost:
            return False
        self._lost -= 1
        return True

    def _stand_still(self) -> None:
        self._standing_still = True
        self._after(self._happens("delay").config.delay_ms, self._catch_up)

    def _hold(self, data: bytes, target: Address) -> None:
        """Until a few others have passed, or for a while."""
        fault = self._happens("reorder")
        entry = [fault.random.randint(1, fault.config.packets_max), data, target]
        self._overtaken.append(entry)
        self._after(HELD_MS_MAX, lambda: self._release(entry))

    def _pass(self, data: bytes, target: Address) -> None:
        if self._standing_still:
            self._held.append((data, target))
        else:
            self._leave(data, target)

    def _leave(self, data: bytes, target: Address) -> None:
        try:
            self.plain.sendto(data, target)
        except OSError:
            return  # lost, as on any network

    def _catch_up(self) -> None:
        self._standing_still = False
        while self._held:
            self._leave(*self._held.popleft())

    def _release(self, entry: list[Any]) -> None:
        if entry in self._overtaken:
            self._overtaken.remove(entry)
            self._pass(entry[1], entry[2])


class FaultyRequests(Wrapper):
    """A retransmission server that answers late, never, or something else."""

    def __init__(self, plain: socket.socket, injectors: dict[str, Any], after: After) -> None:
        super().__init__(plain, injectors)
        self._after = after

    def sendto(self, packet: memoryview | bytes, target: Address) -> int:
        """Answer, or not; always says that it did."""
        data = bytes(packet)
        lost, wrong, late = (self.strikes(name) for name in ("answer_lost", "answer_wrong", "answer_late"))
        if lost:
            return len(packet)
        if wrong:
            data = misanswered(data, self.injectors["answer_wrong"].random)
        if late:
            self._after(self.injectors["answer_late"].config.delay_ms, lambda: self._leave(data, target))
        else:
            self._leave(data, target)
        return len(packet)

    def _leave(self, data: bytes, target: Address) -> None:
        try:
            self.plain.sendto(data, target)
        except OSError:
            return  # the requester is gone: it will ask again


# ---- the order session ------------------------------------------------------------------------------------


class FaultyConnection(Wrapper):
    """A session's socket that is cut at some byte, writes a byte at a time, or does nothing for a while."""

    def __init__(self, plain: socket.socket, injectors: dict[str, Any]) -> None:
        super().__init__(plain, injectors)
        self._sent = self._received = 0
        self._cut_out = self._drawn("cut_out")
        self._cut_in = self._drawn("cut_in")
        self._trickling = 0  # bytes that leave one by one
        self._rested = False
        self._mute_until_ns = self._stalled_until_ns = 0

    def _drawn(self, name: str) -> int | None:
        """The byte at which this connection will be cut; the injection is counted when it is."""
        fault = self.injectors.get(name)
        return fault.random.randint(1, fault.config.bytes_max) if fault is not None and fault.draw() else None

    def _cut(self, name: str) -> None:
        """As a network or a dying process would: in order, or by a reset that loses what was not yet read."""
        fault = self.injectors[name]
        fault.happened()
        if fault.random.random() < 0.5:
            self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError(f"{name}: cut on purpose")

    def _wait(self, until_ns: int) -> bool:
        """Whether it does nothing now. Its owner's select finds it ready all the same, so it naps."""
        if time.monotonic_ns() >= until_ns:
            return False
        time.sleep(NAP_SECONDS)
        return True

    def send(self, data: bytearray | bytes) -> int:
        """As socket.send."""
        if self._wait(self._mute_until_ns):
            raise BlockingIOError
        if self.strikes("mute"):
            self._mute_until_ns = time.monotonic_ns() + self.injectors["mute"].config.span_ms * MILLISECOND_NS
            raise BlockingIOError
        size = len(data)
        if not self._trickling and self.strikes("trickle"):
            self._trickling = size
        if self._trickling:
            self._rested = not self._rested
            if not self._rested:
                raise BlockingIOError  # the next byte in the next turn
            size = 1
        if self._cut_out is not None and self.injectors["cut_out"].active:
            if self._sent >= self._cut_out:
                self._cut("cut_out")
            size = min(size, self._cut_out - self._sent)
        sent = self.plain.send(bytes(data[:size]))
        self._sent += sent
        self._trickling = max(0, self._trickling - sent)
        return sent

    def recv(self, size: int) -> bytes:
        """As socket.recv."""
        if self._wait(self._stalled_until_ns):
            raise BlockingIOError
        if self.strikes("stall"):
            self._stalled_until_ns = time.monotonic_ns() + self.injectors["stall"].config.span_ms * MILLISECOND_NS
            raise BlockingIOError
        if self._cut_in is not None and self.injectors["cut_in"].active:
            if self._received >= self._cut_in:
                self._cut("cut_in")
            size = min(size, self._cut_in - self._received)
        data = self.plain.recv(size)
        self._received += len(data)
        return data
