"""OrderService/Flatten: positions brought to zero by stated rules, under the gate, through the operator's own seat.

    tighten  the mode (all) or the instrument's switch becomes REDUCE_ONLY, and stays so
    sweep    instruments with open orders are killed by their switch until none is open, and released
    send     for each position IOC orders at the touch, in slices, until it is zero or time is up

Every order passes the gate as anybody's; a kill ends it at once. docs/control.md has the rules in words.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ffi import lib
from hotctl.server.books import Books
from hotctl.server.hands import Hands
from hotctl.server.limits import LimitsHands
from hotctl.server.mutations import FAILED, PARTIAL, Diff, Done, Plan
from hotctl.server.refusal import Refusal, no_such, not_now
from hotctl.v1 import order_pb2
from hotpath.coprocess import BUY, SELL, Coprocess, name_of, reason_of
from hotpath.errors import HotpathError, SeatError, SeatFullError, StaleVersionError
from hotpath.market_stat import MarketView

FLATTEN = "OrderService/Flatten"
TIMEOUT_MS, TIMEOUT_MS_MAX = 10_000, 300_000
SWEEP_SECONDS = 5.0  # of the time that there is, for cancels
ORDERS_TOLD = 1000
POLL_SECONDS = 0.002
LOOK_SECONDS = 0.25  # between two looks at what the journal says is held
AGAIN_SECONDS = 0.05  # after an order that was refused, or found nobody
MICROS = 1_000_000
ENDED = ("canceled", "rejected", "refused")


@dataclass
class Sent:
    """One reducing order."""

    symbol: str
    side: str
    quantity_lots: int
    price_ticks: int
    filled_lots: int = 0
    result: str = "would be sent"

    def message(self) -> Any:
        """As the protocol has it."""
        return order_pb2.FlattenOrder(**vars(self))

    def __str__(self) -> str:
        return (
            f"{self.side} {self.quantity_lots} {self.symbol} at {self.price_ticks}: {self.filled_lots} ({self.result})"
        )


@dataclass
class Left:
    """What one instrument still needs."""

    lots: int
    seat_lots: int = 0  # what the seat held when `lots` was looked up
    token: int = 0  # of the order that is under way; 0: none is
    not_before: float = 0.0


@dataclass
class Work:
    """One flattening under way."""

    seat: Coprocess
    market: MarketView
    symbols: list[str]
    slice_lots_max: int
    left: dict[str, Left] = field(default_factory=dict)
    sent: dict[int, Sent] = field(default_factory=dict)


class Flatten:
    """One at a time."""

    def __init__(self, hands: Hands, books: Books, limits: LimitsHands) -> None:
        self._hands = hands
        self._books = books
        self._limits = limits
        self._one = threading.Lock()

    # ---- what would be done ------------------------------------------------------------------------

    def plan(self, request: Any) -> Plan:
        self._seat_name()
        if request.timeout_ms > TIMEOUT_MS_MAX or request.slice_lots_max < 0:
            raise no_such(f"timeout_ms: at most {TIMEOUT_MS_MAX}; slice_lots_max: 0 or more")
        symbols = self._books.look()[2]
        if request.symbol and request.symbol not in symbols:
            raise no_such(f"symbol {request.symbol}: the engine has none of that name")
        self._refuse_held_back()
        held = self._held(request.symbol)
        copy = self._limits.read()
        scope = sorted({*held, *self._quoted(request.symbol)})
        killed = [symbol for symbol in scope if copy.get(f"instrument.{symbol}.killed")]
        if killed:
            raise not_now(f"killed: {', '.join(killed)}; hotctl arm --instrument brings it back, with a second person")
        changes = [Diff(f"position.{symbol}", str(lots), "0") for symbol, lots in sorted(held.items())]
        if request.symbol:
            switch = f"instrument.{request.symbol}.reduce_only"
            if not copy.get(switch):
                changes.insert(0, Diff(switch, "no", "yes"))
        elif self._hands.mode() < lib.MODE_REDUCE_ONLY:
            changes.insert(0, Diff("mode.operator", "normal", "reduce_only"))
        with_open = self._quoted(request.symbol)
        detail = f"{len(held)} positions to zero, {len(with_open)} instruments with orders to cancel"
        return Plan(
            changes=changes,
            detail=detail,
            token={"run_epoch": self._hands.run().run_epoch, "swept": with_open},
            extras={"orders": self._first_orders(held, request.slice_lots_max)} if request.mutation.dry_run else {},
        )

    def _seat_name(self) -> str:
        name = self._hands.config.control.seat
        if name not in [each.name for each in self._hands.config.coprocesses]:
            raise not_now(
                'flattening sends through a seat of its own, and this engine has none: [control] seat = "desk" and '
                '[[coprocesses]] name = "desk", then start it again'
            )
        return name

    def _refuse_held_back(self) -> None:
        """Raises Refusal while nothing could leave."""
        if lib.control_killed(self._hands.run().page):
            raise not_now("the engine is killed: no order leaves it, a reducing one neither")
        strict = [name for name, mode in self._hands.words().items() if mode >= lib.MODE_CANCEL_ONLY]
        if strict:
            raise not_now(f"held back by {', '.join(strict)}: nothing but cancels leaves; hotctl status tells why")

    def _held(self, symbol: str) -> dict[str, int]:
        """Lots by symbol, where there are any."""
        _, ledger, symbols = self._books.look()
        found = {symbols[index]: each.lots for index, each in list(ledger.positions.items()) if each.lots}
        return {name: lots for name, lots in found.items() if symbol in ("", name)}

    def _quoted(self, symbol: str) -> list[str]:
        """Symbols with open orders of whomever."""
        orders, _, symbols = self._books.look()
        return sorted({symbols[each.instrument] for each in list(orders.values())} & {symbol or s for s in symbols})

    def _first_orders(self, held: dict[str, int], slice_lots_max: int) -> list[Any]:
        market = MarketView(self._hands.engine)
        try:
            tops = market.tops()
            found = []
            for symbol, lots in sorted(held.items()):
                order = self._slice(symbol, lots, tops, slice_lots_max)
                unpriced = Sent(symbol, "sell" if lots > 0 else "buy", abs(lots), 0, 0, "no price is known yet")
                found.append((order or unpriced).message())
            return found
        finally:
            market.close()

    def _slice(self, symbol: str, lots: int, tops: dict[str, tuple[int, int, int, int]], most: int) -> Sent | None:
        """The next order: at the touch, no more than is shown there, than the limits let pass, than was asked for."""
        bid, bid_lots, ask, ask_lots = tops.get(symbol, (0, 0, 0, 0))
        price, shown = (bid, bid_lots) if lots > 0 else (ask, ask_lots)
        if price <= 0 or shown <= 0:
            return None
        copy = self._limits.read()
        bounds = [abs(lots), shown, most or abs(lots)]
        quantity = copy.get(f"instrument.{symbol}.order_quantity_lots_max")
        value = copy.get(f"instrument.{symbol}.order_value_currency_max")
        if quantity:
            bounds.append(int(quantity))
        if value:
            _, ledger, symbols = self._books.look()
            micros = price * ledger.tick_value(symbols.index(symbol))
            bounds.append(max(1, int(float(value) * MICROS) // micros) if micros else 1)
        return Sent(symbol, "sell" if lots > 0 else "buy", min(bounds), price)

    # ---- doing it ----------------------------------------------------------------------------------

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        if not self._one.acquire(blocking=False):
            raise not_now("another flattening is under way: hotctl audit list")
        try:
            return self._flatten(request, plan, who=f"{who} [{request_id}]")
        finally:
            self._one.release()

    def _flatten(self, request: Any, plan: Plan, *, who: str) -> Done:
        deadline = time.monotonic() + (request.timeout_ms or TIMEOUT_MS) / 1000
        why = request.mutation.reason
        self._tighten(request.symbol, who=who, why=why)
        trouble = self._sweep(plan.token["swept"], deadline, who=who, why=why)
        sent: list[Sent] = []
        if self._held(request.symbol):
            try:
                with Coprocess(self._hands.engine, self._seat_name(), timeout_seconds=2.0) as seat:
                    sent, ended = self._send(seat, request, deadline)
            except SeatError as error:
                ended = str(error)
            trouble = "; ".join(filter(None, (trouble, ended)))
        left = self._settled(request.symbol)
        orders = f"{len(sent)} orders, {sum(each.filled_lots for each in sent):,} lots"
        still = ", ".join(f"{symbol} {lots:+,}" for symbol, lots in sorted(left.items()))
        detail = f"flat, by {orders}" if not left else f"not flat: {still} left after {orders}"
        return Done(
            outcome=PARTIAL if left or trouble else Done().outcome,
            detail="; ".join(filter(None, (detail, trouble))),
            extras={
                "orders": [each.message() for each in sent[:ORDERS_TOLD]],
                "left": [order_pb2.Position(symbol=symbol, lots=lots) for symbol, lots in sorted(left.items())],
                "sent": "\n".join(str(each) for each in sent[:ORDERS_TOLD]),  # for the audit log
            },
        )

    def _tighten(self, symbol: str, *, who: str, why: str) -> None:
        if symbol:
            switch = f"instrument.{symbol}.reduce_only"
            if not self._limits.read().get(switch):
                self._limits.change_latest(lambda copy: copy.set(switch, True), who=who, why=why)
        elif self._hands.mode() < lib.MODE_REDUCE_ONLY:
            self._hands.set_mode(lib.MODE_REDUCE_ONLY)

    def _sweep(self, symbols: list[str], deadline: float, *, who: str, why: str) -> str:
        """Cancel what is open; returns what went wrong. Killed switches are lifted only when nobody changed the limits
        meanwhile: a kill that somebody else meant must stand."""
        if not symbols:
            return ""

        def switch(on: bool) -> Any:
            return lambda copy: [copy.set(f"instrument.{symbol}.killed", on) for symbol in symbols]

        version = self._limits.change_latest(switch(True), who=who, why=f"sweep: {why}")
        until = min(deadline, time.monotonic() + SWEEP_SECONDS)
        while self._open_in(symbols):
            if time.monotonic() > until:
                return f"orders are open yet in {', '.join(self._open_in(symbols))}: {', '.join(symbols)} stay killed"
            time.sleep(0.01)
        try:
            self._limits.change(version, switch(False), who=who, why=f"swept: {why}")
        except StaleVersionError:
            return f"others changed the limits meanwhile: {', '.join(symbols)} stay killed"
        return ""

    def _open_in(self, symbols: list[str]) -> list[str]:
        return [symbol for symbol in self._quoted("") if symbol in symbols]

    def _send(self, seat: Coprocess, request: Any, deadline: float) -> tuple[list[Sent], str]:
        """Orders until all is flat; returns them, and why it ended earlier."""
        market = MarketView(self._hands.engine)
        work = Work(seat, market, seat.symbols, request.slice_lots_max)
        page, look_at = self._hands.run().page, 0.0
        try:
            while True:
                if lib.control_killed(page):
                    return [*work.sent.values()], "the engine was killed meanwhile"
                self._hear(work)
                now = time.monotonic()
                under_way = any(each.token for each in work.left.values())
                if now >= deadline:
                    return [*work.sent.values()], "time is up"
                if now >= look_at and not under_way:
                    held = self._held(request.symbol)
                    if not held:
                        return [*work.sent.values()], ""
                    work.left = {s: Left(lots, seat.positions.get(seat.index_of(s), 0)) for s, lots in held.items()}
                    look_at = now + LOOK_SECONDS
                self._round(work, now)
                time.sleep(POLL_SECONDS)
        finally:
            market.close()

    def _round(self, work: Work, now: float) -> None:
        tops = work.market.tops()
        for symbol, left in work.left.items():
            lots = left.lots + work.seat.positions.get(work.seat.index_of(symbol), 0) - left.seat_lots
            if left.token or now < left.not_before or not lots:
                continue
            order = self._slice(symbol, lots, tops, work.slice_lots_max)
            if order is None:
                continue
            try:
                left.token = work.seat.order(
                    symbol,
                    SELL if order.side == "sell" else BUY,
                    quantity_lots=order.quantity_lots,
                    price_ticks=order.price_ticks,
                    time_in_force="ioc",
                )
            except SeatFullError:
                return
            order.result = "no answer yet"
            work.sent[left.token] = order

    def _hear(self, work: Work) -> None:
        """What became of orders."""
        for report in work.seat.reports():
            token, name = int(report["token"]), name_of(report)
            order = work.sent.get(token)
            if order is None:
                continue
            if name == "fill":
                order.filled_lots = int(report["cumulative_lots"])
            if name in ENDED or int(report["leaves_lots"]) <= 0:
                reason = reason_of(report) if name in ("rejected", "refused") else ""
                order.result = f"{name}: {reason}" if reason else "filled" if name == "fill" else name
                left = work.left.get(order.symbol)
                if left is not None and left.token == token:
                    left.token = 0
                    left.not_before = 0.0 if order.filled_lots else time.monotonic() + AGAIN_SECONDS

    def _settled(self, symbol: str) -> dict[str, int]:
        """What is held once the journal has the last fill."""
        until = time.monotonic() + 1.0
        while (left := self._held(symbol)) and time.monotonic() < until:
            time.sleep(0.05)
        return left

    # ---- after a death -----------------------------------------------------------------------------

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        """The seat was cut with the process, and its orders cancelled: what is held is what is left."""
        try:
            if self._hands.run().run_epoch != plan.token["run_epoch"]:
                return Done(outcome=FAILED, detail="the run that it was meant for has ended")
            left, copy = self._held(request.symbol), self._limits.settle()
        except (Refusal, HotpathError) as error:
            return Done(outcome=FAILED, detail=f"it was ended, and what it did is not known: {error}")
        killed = [symbol for symbol in plan.token["swept"] if copy.get(f"instrument.{symbol}.killed")]
        if not left and not killed:
            return Done(detail="flat")
        stay = f"; killed: {', '.join(killed)}" if killed else ""
        return Done(outcome=FAILED, detail=f"it was ended with {len(left)} positions left{stay}: flatten again")
