"""The limits of every scope, slow and obvious: each figure is worked out anew from lists of what happened.

Beside gate_oracle.py, which is the reference of the checks that every order must pass. Its structure is not the
kernel's: there are no cells, sums, buckets or heaps here, only lists, and a limit is read by its dotted name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ffi import lib
from hotpath.limits import LimitsCopy
from hotpath.limits.catalogue import Value

TICK = 100  # micros of one tick of one lot
MICROS = 10**6
MS = 10**6
NEW, REPLACE, CANCEL = lib.SIGNAL_NEW, lib.SIGNAL_REPLACE, lib.SIGNAL_CANCEL
Scope = tuple[str, int]


@dataclass
class Sent:
    """A message that was approved."""

    kind: int
    id: int
    instrument: int
    side: int
    account: int
    strategy: int
    price: int
    lots: int
    time: int
    score: float
    leaves: int = 0
    filled: int = 0

    def of(self, scope: Scope) -> bool:
        kind, number = scope
        return kind in ("firm", "venue") or number == getattr(self, kind)


@dataclass
class Fill:
    """Lots that were traded, signed, and who had sent the order."""

    order: Sent
    lots: int
    price: int
    time: int


@dataclass
class Breaker:
    rejects: list[int] = field(default_factory=list)
    tripped: int | None = None
    trial: int | None = None


@dataclass
class Windowed:
    """(time, amount, length of the window then): folded into windows one after the other whenever it is asked."""

    entries: list[tuple[int, int, int]] = field(default_factory=list)

    def halves(self, length: int, now: int) -> tuple[list[int], list[int]]:
        """Amounts of this window and of the one before."""
        start, this, before = 0, [], []  # type: ignore[var-annotated]
        for time, amount, span in self.entries:
            if time - start >= span:
                follows = time - start < 2 * span
                before, this = (this if follows else []), []
                start = start + span if follows else time
            this.append(amount)
        if now - start < length:
            return this, before
        return (this, []) if now - start < 2 * length else ([], [])


class Reference:
    """What the gate should say, and what it follows. `copy`: the limits in force; every instrument trades."""

    def __init__(self, copy: LimitsCopy) -> None:
        self.copy = copy
        self.orders: dict[int, Sent] = {}
        self.sent: list[Sent] = []
        self.fills: list[Fill] = []
        self.book: dict[int, tuple[int, int]] = {}
        self.depth: dict[int, tuple[int, int]] = {}
        self.last_trade: dict[int, int] = {}
        self.moves: dict[int, Windowed] = {}
        self.market_lots: dict[int, Windowed] = {}
        self.own_lots: dict[int, Windowed] = {}
        self.exits: dict[int, int] = {}
        self.recent: dict[tuple[int, int], list[Sent]] = {}
        self.buckets: dict[tuple[Scope, str], tuple[Fraction, int]] = {}
        self.breakers: dict[Scope, Breaker] = {}
        self.safe: dict[int, int] = {}
        self.curve: dict[Scope, list[int]] = {}  # profit since it was re-armed, after each event
        self.executions: dict[Scope, int] = {}
        self.rearmed: dict[Scope, int] = {}
        self.now = 0

    # ---- limits by name ----

    def name(self, scope: Scope) -> str:
        kind, number = scope
        if kind == "firm":
            return "firm"
        return f"{kind}.{self.copy.symbols[number] if kind == 'instrument' else number}"

    def value(self, scope: Scope, limit: str, scale: int = 1) -> Any:
        """In the kernel's units; None when it is off."""
        found: Value = self.copy.get(f"{self.name(scope)}.{limit}")
        if found is None or isinstance(found, bool):
            return found
        return round(found * scale)

    def own(self, instrument: int, limit: str, scale: int = 1) -> Any:
        return self.value(("instrument", instrument), limit, scale)

    # ---- what follows from what happened ----

    def reference(self, instrument: int) -> int:
        return sum(self.book[instrument]) // 2

    def position(self, scope: Scope, instrument: int) -> int:
        return sum(f.lots for f in self.fills if f.order.of(scope) and f.order.instrument == instrument)

    def open(self, scope: Scope, instrument: int | None, side: int | None) -> list[Sent]:
        wanted = (o for o in self.orders.values() if o.of(scope) and side in (None, o.side))
        return [o for o in wanted if instrument in (None, o.instrument)]

    def worst(self, scope: Scope, instrument: int, side: int = 0, more: int = 0) -> int:
        position = self.position(scope, instrument)
        buys = sum(o.leaves for o in self.open(scope, instrument, 0)) + (more if side == 0 else 0)
        sells = sum(o.leaves for o in self.open(scope, instrument, 1)) + (more if side == 1 else 0)
        return max(abs(position + buys), abs(position - sells))

    def cash(self, scope: Scope) -> int:
        return -sum(f.lots * f.price * TICK for f in self.fills if f.order.of(scope))

    def net(self, scope: Scope) -> int:
        return sum(self.position(scope, i) * self.reference(i) * TICK for i in self.book)

    def mark(self) -> None:
        """After every event: where each scope's profit stands."""
        for scope in self.every_scope():
            self.curve.setdefault(scope, [0]).append(self.cash(scope) + self.net(scope))

    def every_scope(self) -> set[Scope]:
        found: set[Scope] = {("firm", 0), *(("instrument", i) for i in self.book)}
        return found | {(kind, getattr(each, kind)) for each in self.sent for kind in ("account", "strategy")}

    def scopes(self, sent: Sent) -> list[Scope]:
        return [
            ("firm", 0),
            ("venue", 0),
            ("account", sent.account),
            ("strategy", sent.strategy),
            ("instrument", sent.instrument),
        ]

    def rearm(self, scope: Scope) -> None:
        epoch = self.value(scope, "rearm_epoch") or 0
        if self.rearmed.get(scope, 0) == epoch:
            return
        self.rearmed[scope] = epoch
        self.curve[scope] = [self.curve.get(scope, [0])[-1]]
        self.executions[scope] = 0
        self.breakers[scope] = Breaker()

    def waiting(self, scope: Scope) -> bool:
        """Re-armed, and nothing happened since."""
        return self.rearmed.get(scope, 0) != (self.value(scope, "rearm_epoch") or 0)

    # ---- decisions ----

    def decide(self, order: Sent, target_id: int) -> str:
        """The reason for which it is refused, "none" when it is booked."""
        target = self.orders.get(target_id)
        reason = self.first_breach(order, target)
        if reason in ("volatility", "spread", "depth", "score_jump") and self.own(order.instrument, "safe_ms", MS):
            self.safe[order.instrument] = self.now + self.own(order.instrument, "safe_ms", MS)
        if reason == "none":
            self.book_order(order, target)
        return reason

    def first_breach(self, order: Sent, target: Sent | None) -> str:
        if order.kind == CANCEL:
            return self.cancel_breach(order, target)
        if order.kind == REPLACE and (
            target is None or (target.instrument, target.side) != (order.instrument, order.side)
        ):
            return self.model_breach(order) or self.form_breach(order) or "unknown_order"
        lots = order.lots - (target.filled if target else 0)
        checks: tuple[Callable[[], str], ...] = (
            lambda: self.model_breach(order),
            lambda: self.form_breach(order),
            lambda: "quantity" if lots <= 0 else "",
            lambda: self.switch_breach(order, target, lots),
            lambda: self.collar_breach(order),
            lambda: self.timing_breach(order, target, lots),
            lambda: self.market_breach(order, target, lots),
            lambda: self.position_breach(order, target, lots),
            lambda: self.scope_breach(order, target, lots),
            lambda: self.throttle_breach(),
        )
        return next((found for check in checks if (found := check())), "none")

    def cancel_breach(self, order: Sent, target: Sent | None) -> str:
        if target is None or target.instrument != order.instrument:
            return "unknown_order"
        if self.now - target.time < self.own(order.instrument, "resting_ms_min", MS):
            return "resting"
        return next((r for s in self.scopes(order) if (r := self.rate_breach(s, "cancels", "cancel_rate"))), "none")

    def model_breach(self, order: Sent) -> str:
        most, jump = self.value(("firm", 0), "score_max", 1000), self.value(("firm", 0), "score_jump_max", 1000)
        if math.isnan(order.score) or (most is not None and abs(order.score) * 1000 > most):
            return "model"
        mine = [
            s.score
            for s in self.sent
            if s.kind != CANCEL and (s.strategy, s.instrument) == (order.strategy, order.instrument)
        ]
        return "score_jump" if jump is not None and mine and abs(order.score - mine[-1]) * 1000 > jump else ""

    def form_breach(self, order: Sent) -> str:
        bid, ask = self.book[order.instrument]
        if bid == ask and not self.own(order.instrument, "locked_allowed"):
            return "locked"
        if order.lots > self.own(order.instrument, "order_quantity_lots_max"):
            return "quantity"
        if order.price * order.lots * TICK > self.own(order.instrument, "order_value_currency_max", MICROS):
            return "order_value"
        reference = self.reference(order.instrument)
        away = Fraction(abs(order.price - reference) * 10**6, reference)
        return "collar" if away > self.own(order.instrument, "collar_ppm_max") else ""

    def is_exit(self, scope: Scope, order: Sent, target: Sent | None, lots: int) -> bool:
        holder = ("firm", 0) if scope[0] == "venue" else scope
        toward = self.position(holder, order.instrument) * (-1 if order.side == 0 else 1)
        others = [o for o in self.open(holder, order.instrument, order.side) if o is not target]
        return lots <= toward - sum(o.leaves for o in others)

    def switch_breach(self, order: Sent, target: Sent | None, lots: int) -> str:
        for scope in self.scopes(order):
            for switch in ("killed", "paused", "cancel_only"):
                if self.value(scope, switch):
                    return f"scope_{switch}"
            if self.value(scope, "reduce_only") and not self.is_exit(scope, order, target, lots):
                return "scope_reduce_only"
        return ""

    def range(self, instrument: int) -> list[int]:
        this, before = self.moves.setdefault(instrument, Windowed()).halves(
            self.own(instrument, "window_ms", MS), self.now
        )
        return this + before

    def collar_breach(self, order: Sent) -> str:
        i, buys = order.instrument, order.side == 0
        ticks, trade = self.own(i, "collar_ticks_max"), self.own(i, "trade_collar_ppm_max")
        if ticks is not None and abs(order.price - self.reference(i)) > ticks:
            return "collar_ticks"
        if trade is not None:
            last = self.last_trade.get(i, 0)
            if not last or Fraction(abs(order.price - last) * 10**6, last) > trade:
                return "trade_collar"
        best, through = self.book[i][1 if buys else 0], self.own(i, "through_ppm_max")
        if through is not None and Fraction((order.price - best) * (1 if buys else -1) * 10**6, best) > through:
            return "through"
        move, seen = self.own(i, "move_ppm_max"), self.range(i)
        if move is not None and seen:
            extreme = min(seen) if buys else max(seen)
            if Fraction((order.price - extreme) * (1 if buys else -1) * 10**6, extreme) > move:
                return "move"
        others = [o.price for o in self.open(("firm", 0), i, 1 - order.side)]
        meets = any(order.price >= price if buys else order.price <= price for price in others)
        return "self_trade" if meets and self.own(i, "no_self_trade") else ""

    def timing_breach(self, order: Sent, target: Sent | None, lots: int) -> str:
        i = order.instrument
        same = [
            s.time for s in self.recent.get((i, order.side), [])[-4:]
            if (s.strategy, s.price, s.lots) == (order.strategy, order.price, order.lots)
        ]  # fmt: skip
        if order.kind == NEW and same and self.now - max(same) < self.own(i, "duplicate_window_ms", MS):
            return "repeated_order"
        cooling = i in self.exits and self.now - self.exits[i] < self.own(i, "cooldown_ms", MS)
        if cooling and not self.is_exit(("instrument", i), order, target, lots):
            return "cooldown"
        return "resting" if target and self.now - target.time < self.own(i, "resting_ms_min", MS) else ""

    def market_breach(self, order: Sent, target: Sent | None, lots: int) -> str:
        i = order.instrument
        share, length = self.own(i, "participation_ppm_max"), self.own(i, "participation_window_ms", MS)
        if share is not None:
            own, market = (
                sum(sum(half) for half in table.setdefault(i, Windowed()).halves(length, self.now))
                for table in (self.own_lots, self.market_lots)
            )
            own += sum(o.leaves for o in self.open(("firm", 0), i, None)) + max(
                0, lots - (target.leaves if target else 0)
            )
            if own * 10**6 > share * market:
                return "participation"
        if self.is_exit(("instrument", i), order, target, lots):
            return ""
        volatility, seen = self.own(i, "volatility_ppm_max"), self.range(i)
        if volatility is not None and seen and Fraction((max(seen) - min(seen)) * 10**6, min(seen)) > volatility:
            return "volatility"
        bid, ask = self.book[i]
        spread = self.own(i, "spread_ppm_max")
        if spread is not None and Fraction((ask - bid) * 10**6, self.reference(i)) > spread:
            return "spread"
        if self.depth[i][1 if order.side == 0 else 0] < self.own(i, "depth_lots_min"):
            return "depth"
        safe = self.own(i, "safe_ms", MS) and self.now < self.safe.get(i, 0)
        return "safe_mode" if safe else ""

    def position_breach(self, order: Sent, target: Sent | None, lots: int) -> str:
        i, scope = order.instrument, ("instrument", order.instrument)
        if self.is_exit(scope, order, target, lots):
            return ""
        reach = self.position(scope, i) * (1 if order.side == 0 else -1) + lots
        reach += sum(o.leaves for o in self.open(scope, i, order.side))
        if reach > self.own(i, "position_lots_max"):
            return "position"
        if self.own(i, "no_short") and order.side == 1:
            return "no_short"
        firm, most = ("firm", 0), self.value(("firm", 0), "gross_value_currency_max", MICROS)
        if most is None or self.worst(firm, i, order.side, lots) <= self.worst(firm, i):
            return ""
        return "gross_value" if self.gross(firm, order, lots) > most else ""

    def gross(self, scope: Scope, order: Sent, more: int) -> int:
        """With so many lots more of the order's side."""
        return sum(
            self.worst(scope, i, order.side, more if i == order.instrument else 0) * self.reference(i) * TICK
            for i in self.book
        )

    def scope_breach(self, order: Sent, target: Sent | None, lots: int) -> str:
        for scope in self.scopes(order):
            found = self.conduct_breach(scope, order)
            if scope[0] != "venue" and not self.is_exit(scope, order, target, lots):
                found = self.exposure_breach(scope, order, target, lots) or found
            if found := found or self.open_breach(scope) or self.rates_breach(scope, order):
                return found
        most = self.value(("firm", 0), "open_orders_max")
        return "open_orders" if most is not None and len(self.orders) >= most else ""

    def exposure_breach(self, scope: Scope, order: Sent, target: Sent | None, lots: int) -> str:
        i, buys, sign = order.instrument, order.side == 0, 1 if order.side == 0 else -1
        added = max(0, lots - (target.leaves if target else 0))
        value = max(0, order.price * lots * TICK - (target.price * target.leaves * TICK if target else 0))
        if scope[0] in ("account", "strategy"):
            most = self.value(scope, "position_lots_max")
            reach = sign * self.position(scope, i) + sum(o.leaves for o in self.open(scope, i, order.side)) + added
            if most is not None and reach > most:
                return "scope_position"
        most = self.value(scope, "gross_value_currency_max", MICROS)
        raises = self.worst(scope, i, order.side, added) > self.worst(scope, i)
        if most is not None and scope[0] != "firm" and raises:
            all_of = self.gross(scope, order, added)
            mine = self.worst(scope, i, order.side, added) * self.reference(i) * TICK
            if (mine if scope[0] == "instrument" else all_of) > most:
                return "gross_value"
        side_open = sum(o.price * o.leaves * TICK for o in self.open(scope, None, order.side)) + value
        most = self.value(scope, "net_value_currency_max", MICROS)
        if most is not None and sign * self.net(scope) + side_open > most:
            return "net_value"
        most = self.value(scope, "credit_currency_max", MICROS)
        if most is not None and buys and side_open - self.cash(scope) > most:
            return "credit"
        traded = [f for f in self.fills if f.order.of(scope)]
        most = self.value(scope, "day_value_currency_max", MICROS)
        total = sum(abs(f.lots) * f.price * TICK for f in traded)
        if (
            most is not None
            and total + sum(o.price * o.leaves * TICK for o in self.open(scope, None, None)) + value > most
        ):
            return "day_value"
        most = self.value(scope, "day_lots_max")
        held = sum(abs(f.lots) for f in traded) + sum(o.leaves for o in self.open(scope, None, None))
        if most is not None and held + added > most:
            return "day_quantity"
        return self.loss_breach(scope)

    def loss_breach(self, scope: Scope) -> str:
        curve = self.curve.get(scope, [0])
        curve = curve[-1:] if self.waiting(scope) else curve
        loss, drawdown = (self.value(scope, f"day_{what}_currency_max", MICROS) for what in ("loss", "drawdown"))
        if loss is not None and max(0, -min(curve)) > loss:
            return "day_loss"
        peaks = [max(curve[: index + 1]) - value for index, value in enumerate(curve)]
        return "drawdown" if drawdown is not None and max(peaks) > drawdown else ""

    def conduct_breach(self, scope: Scope, order: Sent) -> str:
        ratio, free = self.value(scope, "messages_per_fill_max", 1000), self.value(scope, "messages_free")
        messages = sum(s.of(scope) for s in self.sent) + 1
        fills = max(1, sum(f.order.of(scope) for f in self.fills))
        if ratio is not None and messages > free and messages * 1000 > ratio * fills:
            return "order_to_trade"
        most = self.value(scope, "executions_max")
        if most is not None and (0 if self.waiting(scope) else self.executions.get(scope, 0)) >= most:
            return "executions"
        breaker = self.breakers.get(scope, Breaker())
        if self.value(scope, "breaker_rejects_max") is None or breaker.tripped is None or self.waiting(scope):
            return ""
        cooling = self.now - breaker.tripped < self.value(scope, "breaker_cooldown_ms", MS)
        return "breaker" if cooling or breaker.trial is not None else ""

    def open_breach(self, scope: Scope) -> str:
        most = None if scope[0] == "firm" else self.value(scope, "open_orders_max")
        return "open_orders" if most is not None and len(self.open(scope, None, None)) >= most else ""

    # ---- buckets ----

    def tokens(self, scope: Scope, kind: str, rate: int) -> Fraction:
        held, at = self.buckets.get((scope, kind), (Fraction(10**12), 0))
        return min(Fraction(rate), held + Fraction((self.now - at) * rate, 10**9))

    def rate_breach(self, scope: Scope, kind: str, reason: str, kept: int = 0) -> str:
        rate = self.value(scope, f"{kind}_per_second_max")
        return reason if rate is not None and self.tokens(scope, kind, rate) < 1 + kept else ""

    def rates_breach(self, scope: Scope, order: Sent) -> str:
        found = self.rate_breach(scope, "orders", "order_rate") if order.kind == NEW else ""
        found = found or (self.rate_breach(scope, "replaces", "replace_rate") if order.kind == REPLACE else "")
        if found or scope[0] == "firm":
            return found
        return self.rate_breach(scope, "messages", "message_rate", self.value(scope, "cancels_reserved"))

    def throttle_breach(self) -> str:
        return self.rate_breach(("firm", 0), "messages", "throttle")

    def charge(self, scope: Scope, kind: str) -> None:
        rate = self.value(scope, f"{kind}_per_second_max")
        if rate is not None:
            self.buckets[scope, kind] = (self.tokens(scope, kind, rate) - 1, self.now)

    # ---- what happens ----

    def book_order(self, order: Sent, target: Sent | None) -> None:
        for scope in self.scopes(order):
            self.rearm(scope)
            breaker = self.breakers.setdefault(scope, Breaker())
            if breaker.tripped is not None and order.kind != CANCEL:
                breaker.trial = order.id
            self.charge(scope, {NEW: "orders", REPLACE: "replaces", CANCEL: "cancels"}[order.kind])
            if scope[0] != "firm" or order.kind != CANCEL:
                self.charge(scope, "messages")
        self.sent.append(order)
        if order.kind == CANCEL:
            return
        order.time, order.filled = self.now, target.filled if target else 0
        order.leaves = order.lots - order.filled
        self.orders[order.id] = order
        if order.kind == NEW and self.own(order.instrument, "duplicate_window_ms"):
            self.recent.setdefault((order.instrument, order.side), []).append(order)

    def fill(self, order_id: int, lots: int, price: int) -> None:
        order = self.orders[order_id]
        before = abs(self.position(("firm", 0), order.instrument))
        self.fills.append(Fill(order, lots if order.side == 0 else -lots, price, self.now))
        if abs(self.position(("firm", 0), order.instrument)) < before:
            self.exits[order.instrument] = self.now
        self.mark()
        for scope in self.scopes(order):
            self.rearm(scope)
            self.executions[scope] = self.executions.get(scope, 0) + 1
        length = self.own(order.instrument, "participation_window_ms", MS)
        if length:
            self.own_lots.setdefault(order.instrument, Windowed()).entries.append((self.now, lots, length))
        order.filled += lots
        self.reduce(order_id, order.leaves - lots)

    def reduce(self, order_id: int, leaves: int) -> None:
        self.orders[order_id].leaves = leaves
        if leaves <= 0:
            del self.orders[order_id]

    def ended(self, order_id: int, *, refused: bool) -> None:
        """Cancelled, or refused by the venue."""
        order = self.orders[order_id]
        for scope in self.scopes(order):
            if refused:
                self.rearm(scope)
            breaker = self.breakers.setdefault(scope, Breaker())
            most, length = self.value(scope, "breaker_rejects_max"), self.value(scope, "breaker_window_ms", MS)
            failed = breaker.trial == order_id
            if failed:
                breaker.trial = None
            if not refused or most is None:
                continue
            breaker.rejects.append(self.now)
            window = Windowed([(time, 1, length) for time in breaker.rejects])
            this, before = window.halves(length, self.now)
            if failed or (breaker.tripped is None and len(this) + len(before) > most):
                breaker.tripped, breaker.trial = self.now, None
        self.reduce(order_id, 0)

    def accepted(self, order_id: int) -> None:
        for scope in self.scopes(self.orders[order_id]):
            if self.breakers.setdefault(scope, Breaker()).trial == order_id:
                self.breakers[scope] = Breaker()

    def quote(
        self, instrument: int, bid: int, ask: int, depth: tuple[int, int], trade: tuple[int, int] | None = None
    ) -> None:
        """A fresh book; `trade`: (price, lots) that the event told."""
        self.book[instrument], self.depth[instrument] = (bid, ask), depth
        length = self.own(instrument, "window_ms", MS)
        if length:
            entry = (self.now, self.reference(instrument), length)
            self.moves.setdefault(instrument, Windowed()).entries.append(entry)
        if trade:
            self.last_trade[instrument] = trade[0]
            length = self.own(instrument, "participation_window_ms", MS)
            if length:
                self.market_lots.setdefault(instrument, Windowed()).entries.append((self.now, trade[1], length))
        self.mark()
