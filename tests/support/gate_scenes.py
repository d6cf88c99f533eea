"""A scene for each limit in each scope: a short story, and one more order that stands exactly at the boundary.

    story (orders, fills, prices, time) -> the order -> with the limit at `passes` it passes, at `refuses` not

What stands before each check is worked out here by hand, not by the kernel: `passes` and `refuses` are one step apart.
The usual story: 5 lots bought at 10,000, 3 more open at 9,000; the order is to buy 10 at 10,000. A tick of a lot is
worth 100 micros, so a lot at 10,000 is worth one unit of currency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ffi import lib
from hotpath.limits import LimitsCopy
from hotpath.limits.catalogue import Value
from tests.support.gate_driver import DrivenGate
from tests.support.stages import ORIGIN_NS

MS = 1_000_000
ACCOUNT, STRATEGY = 1, 2
SYMBOLS = ["GOOG", "AAPL"]
HOLDERS = ("firm", "account.1", "strategy.2", "instrument.GOOG")
EVERYONE = ("venue.0", *HOLDERS)


class ScenedGate(DrivenGate):
    """A gate whose limits are set by name, and the few things that happen to it in a scene."""

    def __init__(self, limits: dict[str, Value], *, kernel: Any = lib) -> None:
        self.copy = LimitsCopy(SYMBOLS)
        for name in ("gross_value_currency_max", "open_orders_max", "messages_per_second_max"):
            self.copy.set(f"firm.{name}", None)
        self.copy.set("firm.stale_after_ms", 10**9)
        for symbol in SYMBOLS:
            self.copy.set(f"instrument.{symbol}.position_lots_max", 10**6)
            self.copy.set(f"instrument.{symbol}.order_quantity_lots_max", 10**6)
            self.copy.set(f"instrument.{symbol}.order_value_currency_max", 10**9)
            self.copy.set(f"instrument.{symbol}.collar_ppm_max", 10**6)
        super().__init__(now_ns=ORIGIN_NS, kernel=kernel)
        self.limit(limits)
        self.number = 0
        self.turn(0)
        self.market(bid_depth_lots=60, ask_depth_lots=70)

    def set_limits(self, **_: Any) -> None:
        """Those of the scene."""
        self.copy.seal()
        self.gate.limits = self.copy.header

    def limit(self, values: dict[str, Value]) -> None:
        """Limits that are in force from here on."""
        for name, value in values.items():
            self.copy.set(name, value, envelope=True)
        self.set_limits()

    def turn(self, milliseconds: float = 0) -> None:
        """A turn so much later."""
        self.plan.now_ns += round(milliseconds * MS)
        self.kernel.gate_begin(self.gate, self.plan)

    def order(self, **fields: Any) -> tuple[int, int]:
        """An order of the scene's trader: (order id, reason)."""
        return self.send(**({"account": ACCOUNT, "strategy": STRATEGY} | fields))

    def approved(self, **fields: Any) -> int:
        """An order that must pass."""
        order_id, reason = self.order(**fields)
        assert reason == lib.REJECT_NONE, reason
        return order_id

    def report(self, kind: int, order_id: int, **fields: Any) -> None:
        """An execution."""
        self.number += 1
        self.execution(kind, order_id, session_sequence=self.number, session=1, **fields)

    def filled(self, lots: int, *, price: int = 10_000, side: int = lib.SIDE_BUY, **fields: Any) -> int:
        """An order that was sent, and filled at its price."""
        order_id = self.approved(quantity_lots=lots, price_ticks=price, side=side, **fields)
        self.report(lib.EXEC_FILL, order_id, quantity_lots=lots, price_ticks=price, side=side)
        return order_id

    def quote(self, middle: int, *, half: int = 10, **fields: Any) -> None:
        """A book around a price."""
        self.market(bid_price_ticks=middle - half, ask_price_ticks=middle + half, **fields)


Story = Callable[[ScenedGate], dict[str, Any]]


@dataclass(frozen=True)
class Scene:
    """One boundary. `early`: the limit is in force from the beginning, as what counts for it is counted only then."""

    limit: str
    reason: str
    passes: Value
    refuses: Value
    story: Story
    limits: dict[str, Value] = field(default_factory=dict)
    early: bool = False
    tag: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.limit}{'-' + self.tag if self.tag else ''}"

    def run(self, value: Value, *, kernel: Any = lib) -> int:
        """The reason that the gate gives with the limit at `value`."""
        gate = ScenedGate(self.limits | ({self.limit: value} if self.early else {}), kernel=kernel)
        intent = self.story(gate)
        gate.limit({self.limit: value})
        return gate.order(**intent)[1]

    def check(self, *, kernel: Any = lib) -> None:
        """Both sides of the boundary."""
        wanted = int(getattr(lib, f"REJECT_{self.reason.upper()}"))
        found = self.run(self.passes, kernel=kernel), self.run(self.refuses, kernel=kernel)
        assert found == (lib.REJECT_NONE, wanted), f"{self.name}: {found} instead of {(0, wanted)}"


# ---- stories ---------------------------------------------------------------------------------------------

BUY: dict[str, Any] = {"quantity_lots": 10, "price_ticks": 10_000, "side": lib.SIDE_BUY}
SELL: dict[str, Any] = {"quantity_lots": 10, "price_ticks": 10_000, "side": lib.SIDE_SELL}


def usual(gate: ScenedGate) -> dict[str, Any]:
    """5 bought, 3 open; buy 10."""
    gate.filled(5)
    gate.approved(quantity_lots=3, price_ticks=9_000)
    return BUY


def mirrored(gate: ScenedGate) -> dict[str, Any]:
    """The same on the other side: 5 sold short, 3 open at 11,000; sell 10."""
    gate.filled(5, side=lib.SIDE_SELL)
    gate.approved(quantity_lots=3, price_ticks=11_000, side=lib.SIDE_SELL)
    return SELL


def replacing(gate: ScenedGate) -> dict[str, Any]:
    """5 bought, 4 open of which 1 is filled; to 10 in all: 6 beyond what is reserved. Every check is on the delta."""
    gate.filled(5)
    target = gate.approved(quantity_lots=4, price_ticks=10_000)
    gate.report(lib.EXEC_FILL, target, quantity_lots=1, price_ticks=10_000, side=lib.SIDE_BUY)
    return {"kind": lib.SIGNAL_REPLACE, "target_order_id": target, **BUY}


def at(price: int, side: int = lib.SIDE_BUY) -> Story:
    """An order at another price."""
    return lambda gate: {**BUY, "price_ticks": price, "side": side}


def after_trade(price: int, side: int = lib.SIDE_BUY) -> Story:
    """The last trade was at 10,050."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        gate.market(lib.NORM_TRADE, price_ticks=10_050, quantity_lots=100)
        return {**BUY, "price_ticks": price, "side": side}

    return story


def losing(gate: ScenedGate) -> dict[str, Any]:
    """5 lots: 0.05 lost at 9,900; back at 10,000 it still counts."""
    gate.filled(5)
    gate.quote(9_900)
    gate.quote(10_000)
    return BUY


def falling(gate: ScenedGate) -> dict[str, Any]:
    """5 lots: up 0.05, then 0.05 under where it began: 0.1 from the best."""
    gate.filled(5)
    for price in (10_100, 9_900, 10_000):
        gate.quote(price)
    return BUY


def moved(price: int, side: int, *, wait: float = 10, then: float = 0) -> Story:
    """References of 10,000 and then 10,100."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        gate.turn(1)
        gate.quote(10_000, bid_depth_lots=60, ask_depth_lots=70)
        gate.turn(wait)
        gate.quote(10_100)
        gate.turn(then)
        return {**BUY, "price_ticks": price, "side": side}

    return story


def participating(gate: ScenedGate) -> dict[str, Any]:
    """The market traded 100 lots, of which 5 were ours; 3 are open."""
    gate.turn(1)
    gate.market(lib.NORM_TRADE, price_ticks=10_000, quantity_lots=100)
    return usual(gate)


def traded_at(*trades: tuple[float, int]) -> Story:
    """The market traded so many lots at each of these milliseconds; then the usual."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        gate.turn(1)
        last = 0.0
        for milliseconds, lots in trades:
            gate.turn(milliseconds - last)
            last = milliseconds
            if lots:
                gate.market(lib.NORM_TRADE, price_ticks=10_000, quantity_lots=lots)
        return usual(gate)

    return story


def repeated_after(milliseconds: float, between: int) -> Story:
    """The same order was sent so long ago, and others since."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        gate.approved(**BUY)
        gate.turn(milliseconds)
        for index in range(between):
            gate.approved(quantity_lots=1, price_ticks=9_000 + index)
        return BUY

    return story


def rested(milliseconds: float, kind: int, **fields: Any) -> Story:
    """An order that has stood for so long."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        target = gate.approved(quantity_lots=4, price_ticks=9_000)
        gate.turn(milliseconds)
        return {**BUY, "kind": kind, "target_order_id": target, **fields}

    return story


def exited(gate: ScenedGate) -> dict[str, Any]:
    """Half of a position was sold 200 ms ago."""
    gate.filled(10)
    gate.filled(5, side=lib.SIDE_SELL)
    gate.turn(200)
    return BUY


def refused_twice(gate: ScenedGate) -> dict[str, Any]:
    """The venue refused two orders."""
    for _ in range(2):
        gate.report(lib.EXEC_REJECTED, gate.approved(quantity_lots=1))
    return BUY


def refused_and_cooled(milliseconds: float) -> Story:
    """The breaker tripped so long ago."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        refused_twice(gate)
        gate.turn(milliseconds)
        return BUY

    return story


def replaced_twice(gate: ScenedGate) -> dict[str, Any]:
    """Two replacements at this instant."""
    target = gate.approved(quantity_lots=4, price_ticks=9_000)
    for _ in range(2):
        gate.approved(kind=lib.SIGNAL_REPLACE, target_order_id=target, quantity_lots=4, price_ticks=9_000)
    return {"kind": lib.SIGNAL_REPLACE, "target_order_id": target, "quantity_lots": 4, "price_ticks": 9_000}


def cancelled_twice(gate: ScenedGate) -> dict[str, Any]:
    """Two cancels at this instant."""
    target = gate.approved(quantity_lots=4, price_ticks=9_000)
    for _ in range(2):
        gate.approved(kind=lib.SIGNAL_CANCEL, target_order_id=target)
    return {"kind": lib.SIGNAL_CANCEL, "target_order_id": target}


def later(milliseconds: float, **fields: Any) -> Story:
    """Nothing but time."""

    def story(gate: ScenedGate) -> dict[str, Any]:
        gate.turn(milliseconds)
        return {**BUY, **fields}

    return story


def scored(gate: ScenedGate) -> dict[str, Any]:
    """The strategy's last score was 0.5."""
    gate.approved(score=0.5)
    return {**BUY, "score": -0.25}


def of_generation(gate: ScenedGate) -> dict[str, Any]:
    """By the third model."""
    gate.plan.model_generation = 3
    gate.turn(0)
    gate.turn(600)
    return BUY


def own_offer(price: int, side: int) -> Story:
    """Orders of ours rest on the other side, the best of them at `price`; a better one has been cancelled."""
    other = lib.SIDE_SELL if side == lib.SIDE_BUY else lib.SIDE_BUY
    sign = 1 if other == lib.SIDE_SELL else -1

    def story(gate: ScenedGate) -> dict[str, Any]:
        better = gate.approved(side=other, price_ticks=price - 5 * sign, quantity_lots=1)
        for step in (20, 0, 10):
            gate.approved(side=other, price_ticks=price + step * sign, quantity_lots=1)
        gate.report(lib.EXEC_CANCELED, better, leaves_lots=0)
        return {**BUY, "side": side, "price_ticks": price}

    return story


def short_of(gate: ScenedGate) -> dict[str, Any]:
    """5 held; sell 10."""
    gate.filled(5)
    return SELL


def locked(gate: ScenedGate) -> dict[str, Any]:
    """Bid = offer."""
    gate.quote(10_000, half=0)
    return BUY


# ---- the scenes -------------------------------------------------------------------------------------------


def scenes() -> list[Scene]:
    """Every one."""
    return [*_holders(), *_rates(), *_orders(), *_markets(), *_switches(), *_firm()]


def _holders() -> Iterator[Scene]:
    for scope in HOLDERS:
        for tag, story in (("", usual), ("short", mirrored)):
            net = 17.7 if story is usual else 18.3
            if scope in ("account.1", "strategy.2"):
                yield Scene(f"{scope}.position_lots_max", "scope_position", 18, 17, story, tag=tag)
            yield Scene(f"{scope}.gross_value_currency_max", "gross_value", 18, 17.999999, story, tag=tag)
            yield Scene(f"{scope}.net_value_currency_max", "net_value", net, net - 0.000001, story, tag=tag)
            yield Scene(f"{scope}.day_value_currency_max", "day_value", net, net - 0.000001, story, tag=tag)
            yield Scene(f"{scope}.day_lots_max", "day_quantity", 18, 17, story, tag=tag)
        yield Scene(f"{scope}.credit_currency_max", "credit", 17.7, 17.699999, usual)
        # 6 bought, 3 open and 6 added: 15 in all
        yield Scene(f"{scope}.day_lots_max", "day_quantity", 15, 14, replacing, tag="replace")
        yield Scene(f"{scope}.credit_currency_max", "credit", 15, 14.999999, replacing, tag="replace")
        yield Scene(f"{scope}.net_value_currency_max", "net_value", 15, 14.999999, replacing, tag="replace")
        yield Scene(f"{scope}.day_value_currency_max", "day_value", 15, 14.999999, replacing, tag="replace")
        yield Scene(f"{scope}.day_loss_currency_max", "day_loss", 0.05, 0.049999, losing)
        yield Scene(f"{scope}.day_drawdown_currency_max", "drawdown", 0.1, 0.099999, falling)
    for scope in ("account.1", "strategy.2"):
        yield Scene(f"{scope}.position_lots_max", "scope_position", 15, 14, replacing, tag="replace")
        yield Scene(f"{scope}.gross_value_currency_max", "gross_value", 15, 14.999999, replacing, tag="replace")


def _rates() -> Iterator[Scene]:
    for scope in EVERYONE:
        throttle = "throttle" if scope == "firm" else "message_rate"
        yield Scene(f"{scope}.orders_per_second_max", "order_rate", 3, 2, usual, early=True)
        yield Scene(f"{scope}.messages_per_second_max", throttle, 3, 2, usual, early=True)
        yield Scene(f"{scope}.replaces_per_second_max", "replace_rate", 3, 2, replaced_twice, early=True)
        yield Scene(f"{scope}.cancels_per_second_max", "cancel_rate", 3, 2, cancelled_twice, early=True)
        yield Scene(f"{scope}.open_orders_max", "open_orders", 2, 1, usual)
        yield Scene(f"{scope}.messages_per_fill_max", "order_to_trade", 3, 2.999, usual, {f"{scope}.messages_free": 2})
        yield Scene(
            f"{scope}.messages_free",
            "order_to_trade",
            3,
            2,
            usual,
            {f"{scope}.messages_per_fill_max": 1.0},
            early=True,
            tag="free",
        )
        yield Scene(f"{scope}.executions_max", "executions", 2, 1, usual)
        breaker: dict[str, Value] = {f"{scope}.breaker_window_ms": 1000, f"{scope}.breaker_cooldown_ms": 500}
        yield Scene(f"{scope}.breaker_rejects_max", "breaker", 2, 1, refused_twice, breaker, early=True)
        tripped: dict[str, Value] = {f"{scope}.breaker_window_ms": 1000, f"{scope}.breaker_rejects_max": 1}
        yield Scene(
            f"{scope}.breaker_cooldown_ms", "breaker", 200, 201, refused_and_cooled(200), tripped, tag="cooling"
        )
        if scope != "firm":
            few: dict[str, Value] = {f"{scope}.messages_per_second_max": 4}
            yield Scene(f"{scope}.cancels_reserved", "message_rate", 1, 2, usual, few)


def _orders() -> Iterator[Scene]:
    it = "instrument.GOOG"
    sell = lib.SIDE_SELL
    yield Scene(f"{it}.position_lots_max", "position", 18, 17, usual)
    yield Scene(f"{it}.position_lots_max", "position", 18, 17, mirrored, tag="short")
    yield Scene(f"{it}.envelope_lots_max", "envelope", 18, 17, usual)
    yield Scene(f"{it}.order_quantity_lots_max", "quantity", 10, 9, usual)
    yield Scene(f"{it}.order_value_currency_max", "order_value", 10, 9.999999, usual)
    yield Scene(f"{it}.collar_ppm_max", "collar", 10_000, 9_999, at(10_100))
    yield Scene(f"{it}.collar_ppm_max", "collar", 10_000, 9_999, at(9_900, sell), tag="sell")
    yield Scene(f"{it}.collar_ticks_max", "collar_ticks", 100, 99, at(10_100))
    yield Scene(f"{it}.collar_ticks_max", "collar_ticks", 100, 99, at(9_900), tag="below")
    yield Scene(f"{it}.trade_collar_ppm_max", "trade_collar", 4_976, 4_975, after_trade(10_100))
    yield Scene(f"{it}.trade_collar_ppm_max", "trade_collar", 4_976, 4_975, after_trade(10_000), tag="below")
    yield Scene(f"{it}.through_ppm_max", "through", 8_992, 8_991, at(10_100))
    yield Scene(f"{it}.through_ppm_max", "through", 9_010, 9_009, at(9_900, sell), tag="sell")
    window: dict[str, Value] = {f"{it}.window_ms": 100}
    for tag, wait, then in (("", 10, 0), ("before", 100, 50), ("kept", 10, 150)):
        yield Scene(
            f"{it}.move_ppm_max", "move", 15_000, 14_999, moved(10_150, 0, wait=wait, then=then), window, tag=tag
        )
        yield Scene(
            f"{it}.move_ppm_max",
            "move",
            14_852,
            14_851,
            moved(9_950, sell, wait=wait, then=then),
            window,
            tag=f"sell{tag}",
        )
        yield Scene(
            f"{it}.volatility_ppm_max",
            "volatility",
            10_000,
            9_999,
            moved(10_000, 0, wait=wait, then=then),
            window,
            tag=tag,
        )
    for between in (0, 3):
        story = repeated_after(500, between)
        yield Scene(f"{it}.duplicate_window_ms", "repeated_order", 500, 501, story, early=True, tag=f"after-{between}")
    yield Scene(f"{it}.resting_ms_min", "resting", 300, 301, rested(300, lib.SIGNAL_REPLACE))
    yield Scene(f"{it}.resting_ms_min", "resting", 300, 301, rested(300, lib.SIGNAL_CANCEL), tag="cancel")
    yield Scene(f"{it}.cooldown_ms", "cooldown", 200, 201, exited)
    for flag, reason, story in (
        ("blocked", "blocked", usual),
        ("outside_envelope", "envelope", usual),
        ("no_short", "no_short", short_of),
        ("round_lots", "round_lot", usual),
        ("no_day", "time_in_force", later(0, time_in_force=lib.TIF_DAY)),
        ("no_ioc", "time_in_force", later(0, time_in_force=lib.TIF_IOC)),
        ("no_self_trade", "self_trade", own_offer(10_020, lib.SIDE_BUY)),
    ):
        yield Scene(f"{it}.{flag}", reason, False, True, story)
    yield Scene(f"{it}.no_self_trade", "self_trade", False, True, own_offer(9_980, sell), tag="sell")
    yield Scene(f"{it}.locked_allowed", "locked", True, False, locked)


def _markets() -> Iterator[Scene]:
    it = "instrument.GOOG"
    yield Scene(f"{it}.spread_ppm_max", "spread", 2_000, 1_999, at(10_000))
    yield Scene(f"{it}.depth_lots_min", "depth", 70, 71, at(10_000))
    yield Scene(f"{it}.depth_lots_min", "depth", 60, 61, at(10_000, lib.SIDE_SELL), tag="sell")
    window: dict[str, Value] = {f"{it}.participation_window_ms": 100}
    yield Scene(f"{it}.participation_ppm_max", "participation", 180_000, 179_999, participating, window)
    for tag, trades, ppm in (
        ("both windows", ((0, 100), (150, 50)), 120_000),
        ("aligned", ((0, 100), (150, 50), (210, 0)), 360_000),
        ("long ago", ((0, 100), (350, 50)), 360_000),
    ):
        story = traded_at(*trades)
        yield Scene(f"{it}.participation_ppm_max", "participation", ppm, ppm - 1, story, window, tag=tag)


def _switches() -> Iterator[Scene]:
    for scope in EVERYONE:
        for switch in ("killed", "paused", "reduce_only", "cancel_only"):
            yield Scene(f"{scope}.{switch}", f"scope_{switch}", False, True, usual)


def _firm() -> Iterator[Scene]:
    yield Scene("firm.stale_after_ms", "stale_data", 400, 399, later(400))
    yield Scene("firm.intent_age_ms_max", "intent_age", 250, 249, later(250, ingress_time_ns=ORIGIN_NS))
    yield Scene("firm.score_max", "model", 0.75, 0.749, later(0, score=-0.75))
    yield Scene("firm.score_jump_max", "score_jump", 0.75, 0.749, scored)
    yield Scene("firm.model_generation_min", "model", 3, 4, of_generation)
    yield Scene("firm.model_age_ms_max", "model", 600, 599, of_generation)
    yield Scene("firm.envelope_order_value_currency_max", "envelope", 10, 9.999999, usual)
    yield Scene("firm.envelope_gross_value_currency_max", "envelope", 18, 17.999999, usual)
