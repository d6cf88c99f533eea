"""The risk gate, slow and obvious: every figure is computed anew from lists of what happened.

Nothing is kept in step: positions are the sum of fills, reservations the sum over open orders, the
throttle a fraction. Its structure is not the kernel's, so that a mistake is not made twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ffi import lib

INT64_MAX = 2**63 - 1
NEW, REPLACE, CANCEL = lib.SIGNAL_NEW, lib.SIGNAL_REPLACE, lib.SIGNAL_CANCEL


def saturated(value: int) -> int:
    """As an int64 that stops at its ends."""
    return max(-INT64_MAX, min(INT64_MAX, value))


@dataclass
class Order:
    """An open order: what it may still fill, and what it has."""

    instrument: int
    side: int
    leaves: int
    filled: int


@dataclass
class Market:
    """What is known of one instrument's market."""

    bid: int = 0
    ask: int = 0
    trade: int = 0
    state: int = 0
    operational: int = 0  # the market's own halts, each lifted by its own kind alone
    fresh_at: int | None = None  # the turn's time of the last fresh event since the last break
    ever: bool = False

    @property
    def reference(self) -> int:
        """Mid, else the one side there is, else the last trade; 0 for none."""
        sides = [price for price in (self.bid, self.ask) if price]
        return sum(sides) // len(sides) if sides else self.trade


@dataclass
class GateOracle:
    """`entries` and `limits` are dicts by field name; `engine` holds the limits of the whole engine."""

    entries: list[dict[str, int]]
    limits: list[dict[str, int]]
    engine: dict[str, int]
    capacity: int
    require_state: bool = False
    orders: dict[int, Order] = field(default_factory=dict)
    fills: list[tuple[int, int, int]] = field(default_factory=list)  # instrument, signed lots, price
    markets: list[Market] = field(default_factory=list)
    approved: set[tuple[int, int, int, int, int]] = field(default_factory=set)
    tokens: Fraction | None = None
    tokens_at: int = 0
    looked: tuple[Fraction, int] = (Fraction(0), 0)  # the bucket, as the last decision saw it
    session: int = 0
    last_number: int = 0
    overfills: int = 0
    money: int = 0  # of adjustments
    unknown: int = 0
    duplicates: int = 0

    def __post_init__(self) -> None:
        self.markets = [Market() for _ in self.entries]

    # ---- what follows from what happened ----

    def position(self, instrument: int) -> int:
        return sum(lots for which, lots, _ in self.fills if which == instrument)

    def open_lots(self, instrument: int, side: int) -> int:
        return sum(o.leaves for o in self.orders.values() if (o.instrument, o.side) == (instrument, side))

    def worst(self, instrument: int, *, more_buy: int = 0, more_sell: int = 0) -> int:
        """Over every subset of the open orders the extremes are: all buys, or all sells."""
        position = self.position(instrument)
        all_buys = position + self.open_lots(instrument, lib.SIDE_BUY) + more_buy
        all_sells = position - self.open_lots(instrument, lib.SIDE_SELL) - more_sell
        return max(abs(all_buys), abs(all_sells))

    def value(self, instrument: int, price: int, lots: int) -> int:
        return saturated(price * lots * self.entries[instrument]["tick_value_micros"])

    def gross_parts(self) -> list[int]:
        return [self.value(i, market.reference, self.worst(i)) for i, market in enumerate(self.markets)]

    def gross(self) -> int:
        return saturated(sum(self.gross_parts()))

    def net(self) -> int:
        return saturated(sum(self.value(i, m.reference, self.position(i)) for i, m in enumerate(self.markets)))

    def cash(self) -> int:
        return saturated(self.money - sum(self.value(i, price, lots) for i, lots, price in self.fills))

    # ---- decisions ----

    def decide(self, intent: dict[str, Any], order_id: int, *, now: int, mode: int, killed: bool) -> int:
        """The reason for which the gate refuses; REJECT_NONE books the order."""
        instrument = intent["instrument"]
        if instrument >= len(self.entries) or intent["side"] > 1 or not NEW <= intent["type"] <= CANCEL:
            return int(lib.REJECT_INSTRUMENT)
        if intent["strategy"] >= lib.GATE_STRATEGIES_MAX or intent["cause_input"] >= lib.GATE_INPUTS:
            return int(lib.REJECT_DUPLICATE)
        if intent["type"] == CANCEL:
            target = self.orders.get(intent["target_order_id"])
            if target is None or target.instrument != instrument:
                return int(lib.REJECT_UNKNOWN_ORDER)
            return int(lib.REJECT_NONE) if self.remember(intent) else int(lib.REJECT_DUPLICATE)
        reason = self.first_breach(intent, now=now, mode=mode, killed=killed)
        if reason == lib.REJECT_NONE and not self.remember(intent):
            reason = lib.REJECT_DUPLICATE
        if reason == lib.REJECT_NONE:
            if self.engine["messages_per_second_max"] != lib.LIMIT_OFF:
                self.tokens, self.tokens_at = self.looked[0] - 1, max(self.tokens_at, self.looked[1])
            wanted = self.wanted(intent)
            self.orders[order_id] = Order(instrument, intent["side"], wanted, intent["quantity_lots"] - wanted)
        return int(reason)

    def wanted(self, intent: dict[str, Any]) -> int:
        quantity: int = intent["quantity_lots"]
        if intent["type"] == NEW:
            return quantity
        return quantity - self.orders[intent["target_order_id"]].filled

    def first_breach(self, intent: dict[str, Any], *, now: int, mode: int, killed: bool) -> int:
        """The checks in their documented order, each on its own."""
        i, side, quantity, price = (intent[k] for k in ("instrument", "side", "quantity_lots", "price_ticks"))
        entry, limit, market = self.entries[i], self.limits[i], self.markets[i]
        position = self.position(i)
        if killed:
            return int(lib.REJECT_KILLED)
        if mode == lib.MODE_REDUCE_ONLY and intent["type"] == NEW:
            toward_flat = -position if side == lib.SIDE_BUY else position
            if quantity > toward_flat - self.open_lots(i, side):
                return int(lib.REJECT_MODE)
        elif mode != lib.MODE_NORMAL:
            return int(lib.REJECT_MODE)
        if not entry["flags"] & lib.INSTRUMENT_TRADED:
            return int(lib.REJECT_INSTRUMENT)
        if min(entry["tick_value_micros"], entry["price_increment_ticks"]) <= 0:
            return int(lib.REJECT_INSTRUMENT)
        if entry["flags"] & lib.INSTRUMENT_RESTRICTED or limit["flags"] & lib.LIMIT_BLOCKED:
            return int(lib.REJECT_BLOCKED)
        if market.operational not in (lib.STATE_UNKNOWN, lib.STATE_TRADING):
            return int(lib.REJECT_NOT_TRADING)
        if market.state != lib.STATE_TRADING and (market.state != lib.STATE_UNKNOWN or self.require_state):
            return int(lib.REJECT_NOT_TRADING)
        if not market.ever:
            return int(lib.REJECT_NO_REFERENCE)
        if market.fresh_at is None or now - market.fresh_at > self.engine["stale_after_ns"]:
            return int(lib.REJECT_STALE_DATA)
        if market.bid and market.ask and market.bid > market.ask:
            return int(lib.REJECT_CROSSED)
        if market.bid and market.bid == market.ask:
            return int(lib.REJECT_LOCKED)
        if not market.reference:
            return int(lib.REJECT_NO_REFERENCE)
        if not 0 < quantity <= limit["order_quantity_lots_max"]:
            return int(lib.REJECT_QUANTITY)
        if price <= 0 or price % entry["price_increment_ticks"]:
            return int(lib.REJECT_PRICE)
        value = price * quantity * entry["tick_value_micros"]
        if value > limit["order_value_micros_max"] or value >= INT64_MAX:
            return int(lib.REJECT_ORDER_VALUE)
        if Fraction(abs(price - market.reference), market.reference) * 10**6 > limit["collar_ppm_max"]:
            return int(lib.REJECT_COLLAR)
        if intent["type"] == REPLACE:
            target = self.orders.get(intent["target_order_id"])
            if target is None or (target.instrument, target.side) != (i, side):
                return int(lib.REJECT_UNKNOWN_ORDER)
            if quantity <= target.filled:
                return int(lib.REJECT_QUANTITY)
        return self.exposure_breach(intent, now=now)

    def exposure_breach(self, intent: dict[str, Any], *, now: int) -> int:
        i, side = intent["instrument"], intent["side"]
        wanted, limit, position = self.wanted(intent), self.limits[i], self.position(i)
        reach = (position if side == lib.SIDE_BUY else -position) + self.open_lots(i, side) + wanted
        if reach > limit["position_lots_max"]:
            return int(lib.REJECT_POSITION)
        if limit["flags"] & lib.LIMIT_NO_SHORT and side == lib.SIDE_SELL and reach > 0:
            return int(lib.REJECT_NO_SHORT)
        more = {"more_buy": wanted} if side == lib.SIDE_BUY else {"more_sell": wanted}
        if self.worst(i, **more) > self.worst(i):
            parts = self.gross_parts()
            parts[i] = self.value(i, self.markets[i].reference, self.worst(i, **more))
            if sum(parts) > self.engine["gross_value_micros_max"] or parts[i] == INT64_MAX:
                return int(lib.REJECT_GROSS_VALUE)
        if len(self.orders) >= min(self.engine["open_orders_max"], self.capacity):
            return int(lib.REJECT_OPEN_ORDERS)
        rate = self.engine["messages_per_second_max"]
        if rate <= 0:
            return int(lib.REJECT_THROTTLE)
        if rate == lib.LIMIT_OFF:
            return int(lib.REJECT_NONE)
        grown = Fraction(rate) if self.tokens is None else self.tokens + Fraction((now - self.tokens_at) * rate, 10**9)
        self.looked = (min(Fraction(rate), grown), now)
        return int(lib.REJECT_NONE) if self.looked[0] >= 1 else int(lib.REJECT_THROTTLE)

    def remember(self, intent: dict[str, Any]) -> bool:
        """False when one at least as late, of the same strategy and input, was approved before."""
        if intent["strategy"] >= lib.GATE_STRATEGIES_MAX or intent["cause_input"] >= lib.GATE_INPUTS:
            return False
        strategy, source = intent["strategy"], intent["cause_input"]
        place = (intent["strategy_epoch"], intent["cause_sequence"], intent["leg"])
        if any(seen[2:] >= place for seen in self.approved if seen[:2] == (strategy, source)):
            return False
        self.approved.add((strategy, source, *place))
        return True

    # ---- what happens ----

    def execution(self, event: dict[str, Any]) -> None:
        """One execution event."""
        number = event.get("session_sequence", 0)
        if number:
            if event.get("session", 0) != self.session:
                self.session, self.last_number = event.get("session", 0), 0
            if number <= self.last_number:
                self.duplicates += 1
                return
            self.last_number = number
        if event["instrument"] >= len(self.entries):
            return
        kind, order_id = event["type"], event.get("order_id", 0)
        order = self.orders.get(order_id)
        leaves = max(0, event.get("leaves_lots", 0))
        if kind in (lib.EXEC_FILL, lib.EXEC_BROKEN):
            lots = event["quantity_lots"] * (1 if event["side"] == lib.SIDE_BUY else -1)
            lots = lots if kind == lib.EXEC_FILL else -lots
            self.fills.append((event["instrument"], lots, event["price_ticks"]))
            if kind == lib.EXEC_FILL:
                self.fill_order(order, event["quantity_lots"])
        elif kind == lib.EXEC_ADJUSTED:
            lots = event["quantity_lots"] * (1 if event["side"] == lib.SIDE_BUY else -1)
            self.fills.append((event["instrument"], lots, 0))
            self.money += event.get("venue_ref", 0)
        elif kind == lib.EXEC_CORRECTED and event.get("venue_ref"):
            lots = event["quantity_lots"] * (1 if event["side"] == lib.SIDE_BUY else -1)
            self.fills.append((event["instrument"], -lots, event["venue_ref"]))
            self.fills.append((event["instrument"], lots, event["price_ticks"]))
        elif kind == lib.EXEC_ACCEPTED:
            self.rests(order_id, event, filled=0)
        elif kind == lib.EXEC_REPLACED:
            target = self.orders.pop(event["target_order_id"], None)
            self.rests(order_id, event, filled=target.filled if target else 0)
        elif (kind == lib.EXEC_CANCELED and order) or (kind == lib.EXEC_RESTATED and order and leaves):
            order.leaves = leaves
        elif kind in (lib.EXEC_REJECTED, lib.EXEC_REFUSED, lib.EXEC_REPLACE_REJECTED) and order:
            order.leaves = 0
        self.orders = {key: value for key, value in self.orders.items() if value.leaves > 0}

    def fill_order(self, order: Order | None, quantity: int) -> None:
        if order is None:
            self.unknown += 1
            return
        self.overfills += quantity > order.leaves
        order.filled += quantity
        order.leaves -= quantity

    def rests(self, order_id: int, event: dict[str, Any], *, filled: int) -> None:
        order = self.orders.get(order_id)
        if order:
            order.filled = max(order.filled, filled)
            order.leaves = max(0, event["leaves_lots"])
        elif event["leaves_lots"] > 0 and order_id:
            self.unknown += 1
            if len(self.orders) < self.capacity:
                self.orders[order_id] = Order(event["instrument"], event["side"], event["leaves_lots"], filled)

    def market(self, event: dict[str, Any], *, now: int) -> None:
        """One market event."""
        if event["instrument"] >= len(self.entries):
            if event["type"] in (lib.NORM_GAP, lib.NORM_SILENT, lib.NORM_WHOLE, lib.NORM_CLEAR):
                for market in self.markets:
                    market.fresh_at = None
            return
        market = self.markets[event["instrument"]]
        if event["type"] == lib.NORM_STATUS:
            market.state = event["order_ref"]
        if event["type"] == lib.NORM_OPERATIONAL and event["order_ref"]:
            market.operational = event["order_ref"]
        if event["flags"] & lib.FLAG_STALE:
            market.fresh_at = None
            return
        market.ever, market.fresh_at = True, now
        market.bid, market.ask = event["bid_price_ticks"], event["ask_price_ticks"]
        if event["type"] in (lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_TRADE, lib.NORM_CROSS):
            market.trade = event["price_ticks"] or market.trade
