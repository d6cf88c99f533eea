"""The limits of every scope equal a slow reference over any stream of orders, fills, prices, time and limit changes."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ffi import lib
from ffi.dtypes import enum_names
from hotpath.limits import LIMITS
from hotpath.limits.catalogue import Limit, Value
from tests.support.gate_reference import CANCEL, NEW, REPLACE, Reference, Sent
from tests.support.gate_scenes import ScenedGate

ACCOUNTS, STRATEGIES = (1, 65), (2, 3)  # both accounts have one home in the gate's table
PLACES = {
    "firm": ["firm"], "venue": ["venue.0"], "account": ["account.1"], "strategy": ["strategy.2"],
    "instrument": ["instrument.GOOG", "instrument.AAPL"],
}  # fmt: skip
ELSEWHERE = {  # by hand in test_gate_limits.py: they look at the intent or the clock alone
    "stale_after_ms", "intent_age_ms_max", "model_generation_min", "model_age_ms_max", "blocked", "outside_envelope",
    "envelope_lots_max", "envelope_order_value_currency_max", "envelope_gross_value_currency_max", "round_lots",
    "no_day", "no_ioc", "rearm_epoch",
}  # fmt: skip
NAMES = [
    (f"{place}.{limit.name}", limit)
    for limit in LIMITS if limit.name not in ELSEWHERE
    for scope in limit.scopes
    for place in PLACES[scope]
]  # fmt: skip
TALLY: Counter[str] = Counter()
REASONS = {code: name.removeprefix("REJECT_").lower() for code, name in enum_names("reject_reason").items()}


def values(limit: Limit) -> st.SearchStrategy[Any]:
    """Near what a few small orders come to."""
    if limit.bit:
        return st.just(True)
    if limit.unit == "ms":
        return st.sampled_from([1, 5, 20, 50])
    if limit.reason in ("day_loss", "drawdown"):
        return st.sampled_from([0.0, 0.0002, 0.001])
    if limit.unit in ("cancels/s", "replaces/s"):
        return st.sampled_from([0, 1, 3])
    if limit.unit == "currency":
        return st.sampled_from([0.0, 0.0005, 0.002, 0.01, 0.05, 0.1, 0.2])
    if limit.unit == "ppm":
        return st.sampled_from([0, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000])
    return st.sampled_from([0.2, 0.5] if limit.unit == "1" else [0, 1, 2, 3, 5, 10, 20])


CHOSEN = st.sampled_from(NAMES).flatmap(lambda each: st.tuples(st.just(each[0]), values(each[1])))
PRICES, LOTS, WHICH, SIDES = st.integers(96, 104), st.integers(1, 6), st.integers(0, 5), st.integers(0, 1)
WAITS = st.sampled_from([0.5, 1, 4, 5, 21, 49, 51, 400])
HALVES = st.sampled_from([1, 1, 1, 2, 2, 0])
OPS = st.one_of(
    *[st.tuples(st.just("new"), SIDES, SIDES, PRICES, LOTS, st.integers(0, 7))] * 5,
    st.tuples(st.just("replace"), WHICH, PRICES, LOTS),
    st.tuples(st.just("cancel"), WHICH),
    *[st.tuples(st.just("fill"), WHICH, LOTS)] * 4,
    st.tuples(st.just("end"), WHICH, st.booleans()),
    st.tuples(st.just("accept"), WHICH),
    *[st.tuples(st.just("quote"), SIDES, st.integers(97, 103), HALVES, st.integers(0, 12), st.booleans())] * 2,
    st.tuples(st.just("wait"), WAITS),
    st.tuples(st.just("rearm"), st.sampled_from(["firm", "account.1", "strategy.2", "instrument.GOOG"])),
)


class Pair:
    """The gate and its reference, told the same."""

    def __init__(self, chosen: dict[str, Value]) -> None:
        self.gate = ScenedGate({})
        self.gate.limit(chosen)
        self.reference = Reference(self.gate.copy)
        self.reference.now = int(self.gate.plan.now_ns)
        for instrument in (0, 1):
            self.quote(instrument, 100, 1, 10, trade=False)

    def quote(self, instrument: int, middle: int, half: int, lots: int, *, trade: bool) -> None:
        bid, ask = middle - half, middle + half
        depth = {"bid_depth_lots": lots, "ask_depth_lots": 12 - lots}
        fields: dict[str, Any] = {"price_ticks": middle, "quantity_lots": lots} if trade and lots else {}
        kind = lib.NORM_TRADE if fields else lib.NORM_ADD
        self.gate.market(kind, instrument=instrument, bid_price_ticks=bid, ask_price_ticks=ask, **depth, **fields)
        told = (middle, lots) if fields else None
        self.reference.quote(instrument, bid, ask, (lots, 12 - lots), told)

    def send(self, kind: int, instrument: int, side: int, price: int, lots: int, who: int, *, target: int = 0) -> None:
        account, strategy, score = ACCOUNTS[who & 1], STRATEGIES[who >> 1 & 1], 0.3 if who & 4 else -0.3
        order_id, reason = self.gate.order(
            kind=kind, instrument=instrument, side=side, price_ticks=price, quantity_lots=lots, account=account,
            strategy=strategy, score=score, target_order_id=target,
        )  # fmt: skip
        sent = Sent(kind, order_id, instrument, side, account, strategy, price, lots, self.reference.now, score)
        expected = self.reference.decide(sent, target)
        assert REASONS[reason] == expected
        TALLY[expected] += 1

    def some(self, index: int) -> Sent | None:
        orders = list(self.reference.orders.values())
        return orders[index % len(orders)] if orders else None

    def do(self, op: tuple[Any, ...]) -> None:
        """One thing, to both."""
        match op:
            case ("new", instrument, side, price, lots, who):
                self.send(NEW, instrument, side, price, lots, who)
            case ("quote", instrument, middle, half, lots, trade):
                self.quote(instrument, middle, half, lots, trade=trade)
            case ("wait", milliseconds):
                self.gate.turn(milliseconds)
                self.reference.now = int(self.gate.plan.now_ns)
            case ("rearm", place):
                name = f"{place}.rearm_epoch"
                self.gate.limit({name: int(self.gate.copy.get(name) or 0) + 1})
            case (kind, index, *rest) if order := self.some(index):
                self.to_order(kind, order, rest)

    def to_order(self, kind: str, order: Sent, rest: list[Any]) -> None:
        who = ACCOUNTS.index(order.account) | STRATEGIES.index(order.strategy) << 1
        at = {"instrument": order.instrument, "side": order.side}
        if kind == "replace":
            self.send(REPLACE, order.instrument, order.side, rest[0], rest[1], who, target=order.id)
        elif kind == "cancel":
            self.send(CANCEL, order.instrument, order.side, order.price, 1, who, target=order.id)
        elif kind == "fill":
            lots = min(rest[0], order.leaves)
            self.gate.report(lib.EXEC_FILL, order.id, quantity_lots=lots, price_ticks=order.price, **at)
            self.reference.fill(order.id, lots, order.price)
        elif kind == "accept":
            self.gate.report(lib.EXEC_ACCEPTED, order.id, leaves_lots=order.leaves, price_ticks=order.price, **at)
            self.reference.accepted(order.id)
        else:
            self.gate.report(lib.EXEC_REJECTED if rest[0] else lib.EXEC_CANCELED, order.id, leaves_lots=0, **at)
            self.reference.ended(order.id, refused=rest[0])


@pytest.mark.parametrize("name", sorted({limit.name for _, limit in NAMES}))
def test_gate_equals_its_reference_under(name: str) -> None:
    """This limit in some scope, and up to two others."""
    focus = st.sampled_from([each for each in NAMES if each[1].name == name]).flatmap(
        lambda each: st.tuples(st.just(each[0]), values(each[1]))
    )

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="HOTPATH_GATE_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(first=focus, others=st.lists(CHOSEN, max_size=2), ops=st.lists(OPS, min_size=15, max_size=40))
    def stream(first: tuple[str, Value], others: list[tuple[str, Value]], ops: list[tuple[Any, ...]]) -> None:
        chosen = dict([*others, first])
        for key in list(chosen):
            scope, _, limit = key.rpartition(".")
            for companion, value in COMPANIONS.get(limit, {}).items():
                chosen.setdefault(f"{scope}.{companion}", value)
        pair = Pair(chosen)
        for op in ops:
            pair.do(op)

    stream()


def test_streams_came_to_nearly_every_reason() -> None:
    """After those above: they are worth what they reached. The boundaries themselves are in test_gate_limits.py."""
    wanted = {limit.reason for _, limit in NAMES if limit.reason}
    assert TALLY["none"] > 100
    assert len(wanted - set(TALLY)) <= len(wanted) // 5, sorted(wanted - set(TALLY))


EXAMPLES = int(os.environ.get("HOTPATH_GATE_EXAMPLES", "10"))
COMPANIONS: dict[str, dict[str, Value]] = {  # without which a limit says nothing
    "breaker_rejects_max": {"breaker_window_ms": 20, "breaker_cooldown_ms": 5},
    "breaker_window_ms": {"breaker_rejects_max": 0, "breaker_cooldown_ms": 20},
    "breaker_cooldown_ms": {"breaker_rejects_max": 0, "breaker_window_ms": 20},
    "move_ppm_max": {"window_ms": 20},
    "volatility_ppm_max": {"window_ms": 20},
    "window_ms": {"volatility_ppm_max": 5_000, "move_ppm_max": 5_000},
    "participation_ppm_max": {"participation_window_ms": 20},
    "participation_window_ms": {"participation_ppm_max": 500_000},
    "safe_ms": {"spread_ppm_max": 30_000},
    "cancels_reserved": {"messages_per_second_max": 5},
    "messages_free": {"messages_per_fill_max": 2},
}
