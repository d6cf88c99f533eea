"""A book so simple that it is evidently right: dicts, lists and sums. The oracle of the C book's tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from ffi import lib

Event = dict[str, int]
Top = tuple[int, int, int, int, int, int]

PRICE_MAX = 2**62
QUANTITY_MAX = 2**60
OK: int = lib.BOOK_OK
IGNORED: int = lib.BOOK_IGNORED
UNKNOWN_ORDER: int = lib.BOOK_UNKNOWN_ORDER
DUPLICATE_ORDER: int = lib.BOOK_DUPLICATE_ORDER
BAD_EVENT: int = lib.BOOK_BAD_EVENT


@dataclass
class Order:
    """One live order."""

    instrument: int
    side: int
    price: int
    quantity: int


@dataclass
class OracleBook:
    """Orders by number and queues by (instrument, side, price), best found by sorting."""

    instruments: int
    orders: dict[int, Order] = field(default_factory=dict)
    queues: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)

    def levels(self, instrument: int, side: int) -> list[tuple[int, int, int]]:
        """(price, quantity, orders), best first."""
        found = [
            (price, sum(self.orders[ref].quantity for ref in refs), len(refs))
            for (of, on, price), refs in self.queues.items()
            if of == instrument and on == side
        ]
        return sorted(found, reverse=side == lib.SIDE_BUY)

    def top(self, instrument: int) -> Top:
        """bid price, ask price, bid quantity, ask quantity, bid depth, ask depth, as in a norm event."""
        if instrument >= self.instruments:
            return (0, 0, 0, 0, 0, 0)
        bids, asks = self.levels(instrument, lib.SIDE_BUY), self.levels(instrument, lib.SIDE_SELL)
        bid, ask = (bids or [(0, 0, 0)])[0], (asks or [(0, 0, 0)])[0]
        depths = (sum(level[1] for level in side[: lib.DEPTH_LEVELS]) for side in (bids, asks))
        return (bid[0], ask[0], bid[1], ask[1], *depths)  # type: ignore[return-value]

    def level_count(self) -> int:
        """Live levels of all instruments."""
        return len(self.queues)

    def ahead(self, ref: int) -> tuple[int, int]:
        """Lots and orders that stand before this one in its queue."""
        order = self.orders[ref]
        queue = self.queues[order.instrument, order.side, order.price]
        before = queue[: queue.index(ref)]
        return sum(self.orders[other].quantity for other in before), len(before)

    def clear(self, instrument: int) -> None:
        """Forget one instrument's orders, or all."""
        for ref in [r for r, o in self.orders.items() if instrument in (o.instrument, lib.NO_INSTRUMENT)]:
            self._remove(ref)

    def apply(self, event: Event) -> tuple[int, Event]:
        """Status, and what the event must say afterwards."""
        before_of = event["instrument"]
        known = self.orders.get(event["order_ref"])
        if event["type"] != lib.NORM_ADD and lib.NORM_ADD < event["type"] <= lib.NORM_REPLACE and known:
            before_of = known.instrument
        before = self.top(before_of)[:4]
        after = dict(event)
        status = self._change(after, known)
        top = self.top(after["instrument"])
        names = ("bid_price", "ask_price", "bid_quantity", "ask_quantity", "bid_depth", "ask_depth")
        after.update(zip(names, top, strict=True))
        after["flags"] &= ~(lib.FLAG_TOP | lib.FLAG_UNKNOWN_ORDER)
        if status == UNKNOWN_ORDER:
            after["flags"] |= lib.FLAG_UNKNOWN_ORDER
        if top[:4] != before:
            after["flags"] |= lib.FLAG_TOP
        return status, after

    def _change(self, event: Event, known: Order | None) -> int:
        if event["type"] == lib.NORM_ADD:
            return self._add(event, known)
        if not lib.NORM_ADD < event["type"] <= lib.NORM_REPLACE:
            return IGNORED
        if known is None:
            return UNKNOWN_ORDER
        event["instrument"] = known.instrument
        event["flags"] = event["flags"] & ~lib.FLAG_SELL | (lib.FLAG_SELL if known.side == lib.SIDE_SELL else 0)
        if event["type"] == lib.NORM_REPLACE:
            return self._replace(event, known)
        if event["type"] != lib.NORM_EXECUTE_PRICE:
            event["price"] = known.price
        if event["type"] == lib.NORM_DELETE:
            event["quantity"] = known.quantity
            self._remove(event["order_ref"])
            return OK
        if event["quantity"] <= 0:
            return BAD_EVENT
        left = known.quantity - event["quantity"]
        if left > 0:
            known.quantity = left
            return OK
        self._remove(event["order_ref"])
        return OK if left == 0 else BAD_EVENT

    def _add(self, event: Event, known: Order | None) -> int:
        if event["instrument"] >= self.instruments or not self._in_range(event):
            return BAD_EVENT
        if known:
            return DUPLICATE_ORDER
        side = lib.SIDE_SELL if event["flags"] & lib.FLAG_SELL else lib.SIDE_BUY
        if not self._fits(event["instrument"], side, event):
            return BAD_EVENT
        self._rest(event["order_ref"], Order(event["instrument"], side, event["price"], event["quantity"]))
        return OK

    def _replace(self, event: Event, known: Order) -> int:
        if not self._in_range(event):
            return BAD_EVENT
        if event["reference"] != event["order_ref"] and event["reference"] in self.orders:
            return DUPLICATE_ORDER
        if not self._fits(known.instrument, known.side, event):
            return BAD_EVENT
        self._remove(event["order_ref"])
        self._rest(event["reference"], Order(known.instrument, known.side, event["price"], event["quantity"]))
        return OK

    def _in_range(self, event: Event) -> bool:
        return 0 < event["price"] <= PRICE_MAX and 0 < event["quantity"] <= QUANTITY_MAX

    def _fits(self, instrument: int, side: int, event: Event) -> bool:
        queue = self.queues.get((instrument, side, event["price"]), [])
        return sum(self.orders[ref].quantity for ref in queue) + event["quantity"] <= QUANTITY_MAX

    def _rest(self, ref: int, order: Order) -> None:
        self.orders[ref] = order
        self.queues.setdefault((order.instrument, order.side, order.price), []).append(ref)

    def _remove(self, ref: int) -> None:
        order = self.orders.pop(ref)
        queue = self.queues[order.instrument, order.side, order.price]
        queue.remove(ref)
        if not queue:
            del self.queues[order.instrument, order.side, order.price]
