"""The signal stage: each arrow of its diagram, time limits, and a working list that never goes astray."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ffi import ffi, lib
from tests.support.memory import Ring
from tests.support.stages import Context, instruments

SECOND_NS = 10**9
COUNT = 3
BUY, SELL = lib.SIDE_BUY, lib.SIDE_SELL


class DrivenSignal:
    """A strategy that follows the imbalance of the top at once; resting orders unless `style` says otherwise."""

    def __init__(self, *, style: int = lib.STYLE_JOIN, capacity: int = 4096) -> None:
        self.signal = ffi.new("signal_stage *")
        self.context = Context(self.signal.stage, lib.STAGE_SIGNAL)
        self.rings = {
            "norm": Ring("norm_event", "signal", capacity=4096),
            "exec": Ring("exec_event", "signal", capacity=4096),
            "reject": Ring("exec_event", "signal", capacity=4096),
            "signal": Ring("signal_event", "risk", capacity=capacity, dirty=True),
        }
        for name in ("norm", "exec", "reject"):
            self.rings[name].attach_reader(ffi.addressof(self.signal, name), "signal")
        self.rings["signal"].attach_writer(ffi.addressof(self.signal, "signal"))
        self.pens = {name: self.rings[name].writer() for name in ("norm", "exec", "reject")}
        config = self.signal.config
        for name in ("sample_every", "ema_fast", "sma_fast", "macd_fast", "macd_signal", "flow_window"):
            setattr(config.feature, name, 1)
        for name in (
            "zscore_window",
            "rsi_period",
            "atr_period",
            "volatility_bars",
            "ema_slow",
            "sma_slow",
            "macd_slow",
        ):
            setattr(config.feature, name, 2)
        config.feature.bar_ns = SECOND_NS
        assert lib.feature_config_check(ffi.addressof(config, "feature"), ffi.NULL) == lib.FEATURE_OK
        config.strategy.weight[lib.COMPONENT_MICROPRICE] = 1.0
        config.strategy.threshold, config.strategy.imbalance_scale = 0.5, 1.0
        config.strategy.momentum_scale = config.strategy.zscore_scale = config.strategy.rsi_scale = 1.0
        config.order_quantity_lots, config.position_lots_max = 10, 25
        config.answer_timeout_ns, config.order_life_ns = SECOND_NS, 10 * SECOND_NS
        config.style = style
        self.features = ffi.new("feature_state[]", COUNT)
        self.orders = ffi.new("working_order[]", COUNT)
        self.working = ffi.new("uint32_t[]", COUNT)
        self.entries = instruments(COUNT)
        self.signal.feature, self.signal.order, self.signal.working = self.features, self.orders, self.working
        self.signal.instruments, self.signal.instrument_count = self.entries, COUNT
        self.signal.batch_max, self.signal.sweep_interval_ns = 64, 1000
        lib.signal_init(self.signal)
        self.plan = ffi.new("turn_plan *")
        self.tick = 0

    def turn(self, *, after_ns: int = 0) -> None:
        self.context.lockstep.now_ns += after_ns
        lib.signal_plan(self.signal, self.plan)
        lib.signal_turn(self.signal, self.plan)
        self.check()

    def lean(
        self,
        side: int | None,
        *,
        bid: int = 100,
        spread: int = 2,
        instrument: int = 0,
        flags: int = lib.FLAG_TOP,
    ) -> None:
        """A book that leans to one side, or to none."""
        self.tick += 1
        bids, asks = {BUY: (900, 10), SELL: (10, 900), None: (100, 100)}[side]
        book = {"bid_price_ticks": bid, "ask_price_ticks": bid + spread, "bid_quantity_lots": bids + self.tick % 2}
        book |= {"ask_quantity_lots": asks, "bid_depth_lots": bids, "ask_depth_lots": asks}
        self.pens["norm"].publish(type=lib.NORM_ADD, instrument=instrument, flags=flags, **book)
        self.turn()

    def report(self, kind: int, order_id: int, *, ring: str = "exec", **fields: Any) -> None:
        self.pens[ring].publish(type=kind, order_id=order_id, **fields)
        self.turn()

    @property
    def order(self) -> Any:
        return self.orders[0]

    def intents(self) -> list[tuple[int, int, int, int, int]]:
        """(type, side, price, quantity, target) of all intents."""
        names = ("side", "price_ticks", "quantity_lots", "target_order_id")
        events = self.rings["signal"].events()
        return [(int(e["header"]["type"]), *(int(e[name]) for name in names)) for e in events]  # type: ignore[misc]

    def check(self) -> None:
        """The working list names each order that is not idle, once, and each knows its place."""
        listed = [self.working[i] for i in range(self.signal.working_count)]
        busy = [i for i in range(COUNT) if self.orders[i].state != lib.WORKING_IDLE]
        assert sorted(listed) == busy
        assert all(self.orders[instrument].list_index == place for place, instrument in enumerate(listed))
        assert all(self.orders[i].order_id for i in busy)


@pytest.fixture
def pending() -> DrivenSignal:
    driven = DrivenSignal()
    driven.lean(BUY)
    return driven


@pytest.fixture
def live(pending: DrivenSignal) -> DrivenSignal:
    pending.report(lib.EXEC_ACCEPTED, 1, leaves_lots=10)
    return pending


def test_what_people_say_of_a_position_counts_for_the_strategy() -> None:
    driven = DrivenSignal()
    driven.report(lib.EXEC_ADJUSTED, 0, side=BUY, quantity_lots=20)  # held over night
    assert driven.order.position_lots == 20 and driven.orders[1].position_lots == 0
    driven.lean(BUY)
    assert driven.intents() == []  # 20 and 10 are more than it may hold
    driven.report(lib.EXEC_ADJUSTED, 0, side=SELL, quantity_lots=5)  # a correction
    driven.lean(BUY)
    assert driven.order.position_lots == 15 and driven.intents() == [(lib.SIGNAL_NEW, BUY, 100, 10, 0)]


@pytest.mark.parametrize("style, price", [(lib.STYLE_JOIN, 100), (lib.STYLE_TAKE, 102)])
def test_score_past_the_threshold_places_an_order(style: int, price: int) -> None:
    driven = DrivenSignal(style=style)
    driven.lean(None)
    assert driven.intents() == []
    driven.lean(BUY)
    assert driven.intents() == [(lib.SIGNAL_NEW, BUY, price, 10, 0)]
    assert (driven.order.state, driven.order.order_id) == (lib.WORKING_PENDING, 1)
    driven.lean(BUY)
    assert len(driven.intents()) == 1


@pytest.mark.parametrize("kind", [lib.EXEC_REFUSED, lib.EXEC_REJECTED])
def test_refused_order_is_no_more(pending: DrivenSignal, kind: int) -> None:
    pending.report(kind, 1, ring="reject" if kind == lib.EXEC_REFUSED else "exec", reason=lib.REJECT_COLLAR)
    assert pending.order.state == lib.WORKING_IDLE


def test_order_dead_on_arrival_is_no_more(pending: DrivenSignal) -> None:
    pending.report(lib.EXEC_ACCEPTED, 1, leaves_lots=0)
    assert pending.order.state == lib.WORKING_IDLE


def test_fills_move_the_position_and_close_the_order(live: DrivenSignal) -> None:
    live.report(lib.EXEC_FILL, 1, quantity_lots=4, leaves_lots=6)
    assert (live.order.state, live.order.position_lots, live.order.leaves_lots) == (lib.WORKING_LIVE, 4, 6)
    live.report(lib.EXEC_FILL, 1, quantity_lots=6, leaves_lots=0)
    assert (live.order.state, live.order.position_lots) == (lib.WORKING_IDLE, 10)
    live.report(lib.EXEC_BROKEN, 1, quantity_lots=6)
    assert live.order.position_lots == 4


def test_turned_score_cancels(live: DrivenSignal) -> None:
    live.lean(SELL)
    assert live.intents()[-1] == (lib.SIGNAL_CANCEL, BUY, 100, 0, 1)
    assert live.order.state == lib.WORKING_CANCELING
    live.report(lib.EXEC_CANCELED, 1, quantity_lots=10, leaves_lots=0)
    assert live.order.state == lib.WORKING_IDLE


@pytest.mark.parametrize("mode", [lib.MODE_NORMAL, lib.MODE_CANCEL_ONLY])
def test_cancels_of_an_engine_that_may_do_less_than_all_are_protective(live: DrivenSignal, mode: int) -> None:
    live.context.control.cause[lib.CAUSE_OPERATOR] = mode
    live.lean(SELL)
    cancel = live.rings["signal"].events()[-1]
    assert cancel["header"]["type"] == lib.SIGNAL_CANCEL
    assert bool(cancel["header"]["flags"] & lib.FLAG_PROTECTIVE) == (mode != lib.MODE_NORMAL)


def test_cancel_that_the_venue_refuses_leaves_the_order_alive(live: DrivenSignal) -> None:
    live.lean(SELL)
    live.report(lib.EXEC_CANCEL_REJECTED, 1)
    assert live.order.state == lib.WORKING_LIVE


def test_touch_that_moves_away_is_followed(live: DrivenSignal) -> None:
    live.report(lib.EXEC_FILL, 1, quantity_lots=4, leaves_lots=6)
    live.lean(BUY, bid=101)
    assert live.intents()[-1] == (lib.SIGNAL_REPLACE, BUY, 101, 10, 1)
    live.report(lib.EXEC_REPLACED, 2, target_order_id=1, leaves_lots=6)
    order = live.order
    assert (order.state, order.order_id, order.price_ticks) == (lib.WORKING_LIVE, 2, 101)


def test_refused_replacement_leaves_the_first_order(live: DrivenSignal) -> None:
    live.lean(BUY, bid=101)
    live.report(lib.EXEC_REFUSED, 2, ring="reject", reason=lib.REJECT_THROTTLE)
    assert (live.order.state, live.order.order_id, live.order.price_ticks) == (lib.WORKING_LIVE, 1, 100)


def test_order_whose_refusal_was_never_heard_is_given_up(pending: DrivenSignal) -> None:
    """No answer: a cancel goes out; the gate knows of no such order; it must not be canceled for ever."""
    pending.turn(after_ns=SECOND_NS)
    assert pending.intents()[-1][0] == lib.SIGNAL_CANCEL
    pending.report(lib.EXEC_REFUSED, 2, ring="reject", reason=lib.REJECT_UNKNOWN_ORDER)
    assert pending.order.state == lib.WORKING_IDLE


def test_cancel_without_an_answer_is_given_up(live: DrivenSignal) -> None:
    live.turn(after_ns=10 * SECOND_NS)
    assert live.order.state == lib.WORKING_CANCELING
    live.turn(after_ns=SECOND_NS)
    assert live.order.state == lib.WORKING_IDLE


def test_full_ring_drops_the_intent_and_places_nothing() -> None:
    driven = DrivenSignal(capacity=1)
    driven.lean(BUY)
    driven.lean(BUY, instrument=1)
    assert driven.orders[1].state == lib.WORKING_IDLE
    assert driven.context.counter(lib.SIGNAL_RING_FULL) == 1


def test_position_beyond_its_bound_can_be_reduced() -> None:
    driven = DrivenSignal()
    driven.orders[0].position_lots = 60
    driven.lean(BUY)
    assert driven.intents() == []
    driven.lean(SELL)
    assert driven.intents() == [(lib.SIGNAL_NEW, SELL, 102, 10, 0)]


def test_stale_book_is_no_reason(pending: DrivenSignal) -> None:
    pending.lean(BUY, instrument=1, flags=lib.FLAG_TOP | lib.FLAG_STALE)
    assert len(pending.intents()) == 1


@pytest.mark.parametrize("spread", [0, -3])
def test_crossed_book_is_no_reason(pending: DrivenSignal, spread: int) -> None:
    pending.lean(BUY, instrument=1, spread=spread)
    assert len(pending.intents()) == 1
    assert pending.context.counter(lib.SIGNAL_SUPPRESSED_CROSSED) == 1


def test_day_that_rolls_begins_its_features_anew() -> None:
    driven = DrivenSignal()
    driven.lean(None)
    assert driven.features[0].ready
    driven.signal.roll_time_ns[0] = driven.context.lockstep.now_ns + 5
    driven.turn(after_ns=5)
    assert not driven.features[0].ready and driven.signal.roll_time_ns[0] == 0


@pytest.mark.parametrize("seed", range(8))
def test_no_order_of_executions_leads_the_working_list_astray(seed: int) -> None:
    """Anything may be said of any order at any time; every turn ends with the list's own check."""
    rng = random.Random(seed)
    driven = DrivenSignal(style=rng.choice([lib.STYLE_JOIN, lib.STYLE_TAKE]))
    kinds = list(range(lib.EXEC_ACCEPTED, lib.EXEC_SESSION_DOWN + 1))
    for _ in range(400):
        if rng.random() < 0.5:
            driven.lean(rng.choice([BUY, SELL, None]), instrument=rng.randrange(COUNT), bid=rng.randrange(98, 103))
        else:
            last = driven.rings["signal"].published
            ring, instrument = rng.choice(["exec", "exec", "reject"]), rng.choice([0, 1, 2, COUNT, lib.NO_INSTRUMENT])
            fields = {
                "leaves_lots": rng.choice([0, 5, -1]),
                "quantity_lots": rng.randrange(12),
                "side": rng.randrange(2),
            }
            fields |= {"target_order_id": rng.randrange(last + 2), "reason": rng.randrange(20)}
            driven.report(rng.choice(kinds), rng.randrange(last + 2), ring=ring, instrument=instrument, **fields)
        driven.turn(after_ns=rng.choice([0, 1000, SECOND_NS]))
