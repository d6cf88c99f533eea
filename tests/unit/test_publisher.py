"""The outgoing feed: numbering, packing, and the bounded store behind retransmission."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ffi import ffi, lib

SESSION = b"SIM0000001"


class Publisher:
    """The kernel and a reader of its packets that shares no code with it."""

    def __init__(self, *, store_bytes: int = 65536, store_messages: int = 4096, packet_bytes_max: int = 1472) -> None:
        config = ffi.new("publisher_config *")
        config.session = SESSION
        config.store_bytes, config.store_messages = store_bytes, store_messages
        config.instruments = 2
        config.packet_bytes_max = packet_bytes_max
        size = lib.publisher_bytes(config)
        assert size
        self.memory = ffi.new("uint8_t[]", size + 64)
        self.kernel = lib.publisher_init(self.memory + (-int(ffi.cast("uintptr_t", self.memory))) % 64, size, config)
        assert self.kernel != ffi.NULL
        self.target = ffi.new("uint8_t[]", 65536)

    def publish(self, body: bytes) -> None:
        assert lib.publisher_message(self.kernel, body, len(body)) == lib.PUBLISHER_OK

    def flush(self) -> list[bytes]:
        sizes = ffi.new("uint32_t[64]")
        packets, position = [], 0
        for size in sizes[0 : lib.publisher_flush(self.kernel, self.target, 65536, sizes, 64)]:
            packets.append(bytes(ffi.buffer(self.target + position, size)))
            position += size
        return packets

    def again(self, sequence: int, count: int) -> bytes:
        return bytes(ffi.buffer(self.target, lib.publisher_packet(self.kernel, sequence, count, self.target, 65536)))


def unpack(packet: bytes) -> tuple[int, list[bytes]]:
    session, sequence, count = struct.unpack_from(">10sQH", packet)
    assert session == SESSION
    position, messages = 20, []
    for _ in range(count):
        (length,) = struct.unpack_from(">H", packet, position)
        messages.append(packet[position + 2 : position + 2 + length])
        position += 2 + length
    assert position == len(packet)
    return sequence, messages


def test_messages_are_numbered_from_one_and_packed_in_order() -> None:
    publisher = Publisher(packet_bytes_max=100)
    bodies = [bytes([65 + i]) * (i + 1) for i in range(20)]
    for body in bodies:
        publisher.publish(body)
    seen: list[bytes] = []
    for packet in publisher.flush():
        assert len(packet) <= 100
        sequence, messages = unpack(packet)
        assert sequence == len(seen) + 1
        seen += messages
    assert seen == bodies and publisher.flush() == []


def test_what_was_sent_can_be_asked_for_again_and_nothing_else() -> None:
    publisher = Publisher()
    for i in range(10):
        publisher.publish(bytes([i + 1]) * 5)
    assert publisher.again(1, 1) == b""  # not yet sent
    publisher.flush()
    assert unpack(publisher.again(4, 3)) == (4, [bytes([i]) * 5 for i in (4, 5, 6)])
    assert unpack(publisher.again(9, 60000)) == (9, [bytes([i]) * 5 for i in (9, 10)])
    assert publisher.again(11, 1) == b"" and publisher.again(0, 5) == b"" and publisher.again(3, 0) == b""


@pytest.mark.parametrize(("store_bytes", "store_messages"), [(65536, 1 << 20), (1 << 20, 256)])
def test_the_store_keeps_the_newest_and_forgets_the_oldest(store_bytes: int, store_messages: int) -> None:
    publisher = Publisher(store_bytes=store_bytes, store_messages=store_messages)
    bodies = [struct.pack(">I", i) + bytes(i % 40) for i in range(1, 9001)]
    for start in range(0, len(bodies), 100):
        for body in bodies[start : start + 100]:
            publisher.publish(body)
        publisher.flush()
    oldest = lib.publisher_oldest_sequence(publisher.kernel)
    kept = lib.publisher_next_sequence(publisher.kernel) - oldest
    assert 256 <= kept < 9000 and publisher.again(oldest - 1, 1) == b""
    for sequence in range(oldest, 9001, 7):
        assert unpack(publisher.again(sequence, 1)) == (sequence, [bodies[sequence - 1]])


def test_signals_carry_the_next_sequence() -> None:
    publisher = Publisher()
    publisher.publish(b"x")
    publisher.flush()
    for count in (0, lib.MOLD_END_OF_SESSION):
        assert lib.publisher_signal(publisher.kernel, count, publisher.target) == 20
        assert bytes(ffi.buffer(publisher.target, 20)) == SESSION + struct.pack(">QH", 2, count)


def event_of(type_: int, **fields: Any) -> Any:
    event = ffi.new("norm_event *", fields)
    event.header.type = type_
    return event


def test_an_event_that_itch_cannot_say_is_refused() -> None:
    publisher = Publisher()
    assert lib.publisher_event(publisher.kernel, event_of(lib.NORM_DELETE, order_ref=1)) == lib.PUBLISHER_UNENCODABLE
    lib.publisher_instrument(publisher.kernel, 0, 1, b"AAAA    ")
    assert lib.publisher_event(publisher.kernel, event_of(lib.NORM_DELETE, order_ref=1)) == lib.PUBLISHER_OK
    assert lib.publisher_event(publisher.kernel, event_of(lib.NORM_GAP)) == lib.PUBLISHER_NOT_PUBLIC
    too_dear = event_of(lib.NORM_ADD, order_ref=2, price_ticks=1 << 32, quantity_lots=1)
    assert lib.publisher_event(publisher.kernel, too_dear) == lib.PUBLISHER_UNENCODABLE
    assert lib.publisher_next_sequence(publisher.kernel) == 2
