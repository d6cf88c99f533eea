"""The C book as tests drive it: memory of its own, events as dicts."""

from __future__ import annotations

import mmap
from typing import Any

from ffi import ffi, lib
from tests.oracle_book import Event

FIELDS = {
    "order_ref": "order_ref",
    "price": "price_ticks",
    "quantity": "quantity_lots",
    "reference": "reference",
    "bid_price": "bid_price_ticks",
    "ask_price": "ask_price_ticks",
    "bid_quantity": "bid_quantity_lots",
    "ask_quantity": "ask_quantity_lots",
    "bid_depth": "bid_depth_lots",
    "ask_depth": "ask_depth_lots",
}


TOP = ("bid_price", "ask_price", "bid_quantity", "ask_quantity", "bid_depth", "ask_depth")


def fill(target: Any, event: Event) -> None:
    """Write an event without a top into a norm_event."""
    target.header.type, target.header.instrument, target.header.flags = (
        event["type"],
        event["instrument"],
        event["flags"],
    )
    for name in ("order_ref", "price", "quantity", "reference"):
        setattr(target, FIELDS[name], event[name])
    for name in TOP:
        setattr(target, FIELDS[name], -1)


def read(source: Any) -> Event:
    """A norm_event with its top."""
    event = {"type": source.header.type, "instrument": source.header.instrument, "flags": source.header.flags}
    event.update({name: getattr(source, field) for name, field in FIELDS.items()})
    return event


class DrivenBook:
    """A book in anonymous memory that was not zeroed for it."""

    def __init__(self, *, instruments: int = 4, orders_max: int = 1000, levels_max: int = 1000) -> None:
        config = ffi.new(
            "book_config *", {"instruments": instruments, "orders_max": orders_max, "levels_max": levels_max}
        )
        size = lib.book_bytes(config)
        assert size > 0
        self.memory = mmap.mmap(-1, size)  # page-aligned
        self.buffer = ffi.from_buffer(self.memory)
        ffi.memmove(self.buffer, b"\xa5" * size, size)
        self.book = lib.book_init(self.buffer, size, config)
        assert self.book != ffi.NULL
        self.event = ffi.new("norm_event *")

    def make_large(self) -> None:
        """Hold many orders and forget them, so that batches are applied as on a large book."""
        count = 8192
        batch, statuses = ffi.new("norm_event[]", count), ffi.new("uint8_t[]", count)
        for i in range(count):
            fill(batch[i], add(2**40 + i, 100, 1))
        lib.book_apply_batch(self.book, batch, statuses, count)
        assert bytes(ffi.buffer(statuses)) == bytes([lib.BOOK_OK]) * count
        lib.book_clear(self.book, 0)

    def apply(self, event: Event) -> tuple[int, Event]:
        """Status, and the event as the book left it."""
        fill(self.event, event)
        status: int = lib.book_apply(self.book, self.event)
        return status, read(self.event)

    def apply_batch(self, events: list[Event]) -> list[tuple[int, Event]]:
        """The same for each of many, in one call."""
        batch, statuses = ffi.new("norm_event[]", len(events)), ffi.new("uint8_t[]", len(events))
        for i, event in enumerate(events):
            fill(batch[i], event)
        lib.book_apply_batch(self.book, batch, statuses, len(events))
        return [(statuses[i], read(batch[i])) for i in range(len(events))]

    def levels(self, instrument: int, side: int, max_levels: int = 10) -> list[tuple[int, int, int]]:
        """(price, quantity, orders), best first."""
        out = ffi.new("book_level[]", max_levels)
        count = lib.book_depth(self.book, instrument, side, out, max_levels)
        return [(out[i].price_ticks, out[i].quantity_lots, out[i].orders) for i in range(count)]

    def find(self, ref: int) -> Any:
        """The order, or None."""
        order = ffi.new("book_order *")
        return order if lib.book_find(self.book, ref, order) == lib.BOOK_OK else None

    def queue(self, instrument: int, side: int, price: int) -> list[tuple[int, int, int, int]]:
        """(order_ref, quantity, ahead_lots, ahead_orders) in time priority."""
        out = ffi.new("book_order[]", 256)
        count = lib.book_queue(self.book, instrument, side, price, out, 256)
        return [(o.order_ref, o.quantity_lots, o.ahead_lots, o.ahead_orders) for o in out[0:count]]


def add(ref: int, price: int, quantity: int, *, instrument: int = 0, sell: bool = False) -> Event:
    """An order comes to rest."""
    flags = lib.FLAG_SELL if sell else 0
    return event(lib.NORM_ADD, ref, price=price, quantity=quantity, instrument=instrument, flags=flags)


def event(
    kind: int, ref: int, *, price: int = 0, quantity: int = 0, reference: int = 0, instrument: int = 0, flags: int = 0
) -> Event:
    """Any canonical event."""
    return {
        "type": kind,
        "instrument": instrument,
        "flags": flags,
        "order_ref": ref,
        "price": price,
        "quantity": quantity,
        "reference": reference,
    }


def same_home_refs(count: int) -> list[int]:
    """Order numbers that all hash to one line of the smallest map: the hash is a bijection, so turn it round."""
    mask = 2**64 - 1
    first, second = pow(0x9E3779B97F4A7C15, -1, 2**64), pow(0xD6E8FEB86659FD93, -1, 2**64)
    refs = []
    for i in range(count):
        value = (0x7 << 60 | i << 17) * second & mask
        refs.append((value ^ value >> 32) * first & mask)
    return refs
