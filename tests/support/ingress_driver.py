"""The ingress kernel as tests drive it: frames in, raw events and answers out, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffi import ffi, lib
from ffi.dtypes import enum_names
from hotpath.examples.ingress import push_itch
from hotpath.ingress import symbol_table
from tests.support.memory import Ring

SILENCE_NS = 1000


def norm_bytes(type_: int, *, symbol: bytes = b"AAPL", flags: int = 0, origin: int = 0, **fields: int) -> bytes:
    """A canonical event as it travels."""
    numbers = [fields.pop(name, 0) for name in ("order_ref", "price_ticks", "quantity_lots", "reference")]
    assert not fields, fields
    return push_itch.NORM.pack(origin, *numbers, symbol, type_, 0, flags, 0)


def raw_payload(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


class DrivenIngress:
    """One ring, read by a feed that keeps up unless told otherwise."""

    def __init__(self, *senders: str, capacity: int = 1024, symbols: tuple[bytes, ...] = (b"AAPL",)) -> None:
        self.ring = Ring("raw_event", "feed", capacity=capacity, dirty=True)
        self.writer = ffi.new("ring_writer *")
        self.ring.attach_writer(self.writer)
        self.counter = ffi.new("uint64_t[]", lib.COUNTERS_MAX)
        self.symbols = symbol_table(np.array(symbols, "S16"))
        self.c: Any = ffi.new("ingress *")
        self.c.ring, self.c.counter, self.c.silence_ns = self.writer, self.counter, SILENCE_NS
        self.c.symbol = ffi.cast("ingress_symbol *", ffi.from_buffer(self.symbols))
        self.c.symbol_count, self.c.sender_count = len(symbols), len(senders)
        for index, name in enumerate(senders):
            ffi.memmove(self.c.sender[index].name, name.encode(), len(name))
        lib.ingress_init(self.c)
        self._answer = ffi.new("ingress_answer *")
        self.now_ns = 1
        self._seen = 0

    def offer(self, frame: bytes) -> str:
        """The status in words; FULL means: again."""
        block = ffi.from_buffer(bytearray(frame)) if frame else ffi.NULL
        status = lib.ingress_take(self.c, ffi.cast("uint8_t *", block), len(frame), self.now_ns, self._answer)
        if status == lib.INGRESS_FULL:
            return "full"
        assert status == self._answer.status
        return enum_names("ingress_status")[status].removeprefix("INGRESS_").lower()

    def frame(
        self, kind: int, payload: bytes = b"", *, sender: str = "a", session: int = 7, sequence: int = 1, count: int = 0
    ) -> str:
        head = push_itch.FRAME.pack(b"HPIN", 1, kind, 0, sender.encode(), session, sequence, count, len(payload))
        return self.offer(head + payload)

    def session(self, sender: str = "a", *, session: int = 7, sequence: int = 1, snapshot: int = 0) -> str:
        return self.frame(lib.INGRESS_SESSION, sender=sender, session=session, sequence=sequence, count=snapshot)

    def raw(self, *messages: bytes, sender: str = "a", session: int = 7, sequence: int) -> str:
        payload = raw_payload(*messages)
        return self.frame(
            lib.INGRESS_RAW, payload, sender=sender, session=session, sequence=sequence, count=len(messages)
        )

    @property
    def next(self) -> int:
        """What the last answer said is taken."""
        return int(self._answer.next)

    def events(self) -> list[tuple[str, int]]:
        """What came into the ring since the last look: type, and `total` of a gap or the number of a message."""
        found = []
        for event in self.ring.events(self._seen):
            kind = enum_names("event_type")[int(event["header"]["type"])].removeprefix("RAW_").lower()
            found.append((kind, int(event["total"] if kind == "gap" else event["session_sequence"])))
        self._seen = self.ring.published
        self.ring.release("feed")
        return found

    def tick(self, *, later_ns: int = 0) -> None:
        self.now_ns += later_ns
        lib.ingress_tick(self.c, self.now_ns)

    def count(self, index: int) -> int:
        return int(self.counter[index])
