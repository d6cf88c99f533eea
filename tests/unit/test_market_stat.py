"""hotpath/market_stat.py and hotpath/alerts.py: books, positions, open orders, limits in use, and what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.config_risk import InstrumentRisk, RiskConfig
from hotpath.limits.page import limits_copy, publish_copy, publish_limits, segment_bytes
from hotpath.rings import RingWriter
from hotpath.segments import HEADER_SIZE
from hotpath.stat import EngineStat, EngineView
from tests.fabricated_engine import FabricatedEngine

NAME = f"market-{os.getpid()}"
SYMBOLS = ["AAA", "BBB", "CCC"]
RISK = RiskConfig(open_orders_max=4, gross_value_currency_max=1000.0, defaults=InstrumentRisk(position_lots_max=100))


@pytest.fixture
def engine() -> Iterator[FabricatedEngine]:
    with FabricatedEngine(NAME) as fabricated:
        table = fabricated.segments["instruments"].cast("instrument_entry *")
        for index, symbol in enumerate(SYMBOLS):
            table[index].symbol, table[index].tick_value_micros = symbol.encode(), 100
        size = segment_bytes(len(SYMBOLS)) - HEADER_SIZE
        fabricated._create("limits", lib.SEGMENT_LIMITS, HEADER_SIZE + size, capacity=1, slot_size=size)
        publish_limits(fabricated.segments["limits"], RISK, SYMBOLS)
        lib.control_arm(fabricated.control, fabricated.control.kill_epoch)
        fabricated.gauge("gateway", session_up=1)
        yield fabricated


def quote(writer: RingWriter, instrument: int, bid: int, ask: int) -> None:
    event = np.zeros(1, dtype_of("norm_event"))
    event["header"]["type"], event["header"]["instrument"] = lib.NORM_ADD, instrument
    event["bid_price_ticks"], event["ask_price_ticks"] = bid, ask
    event["bid_quantity_lots"] = event["ask_quantity_lots"] = 10
    assert writer.publish(event) == 1


def tell(writer: RingWriter, kind: int, order: int, *, instrument: int = 0, **fields: int) -> None:
    event = np.zeros(1, dtype_of("exec_event"))
    event["header"]["type"], event["header"]["instrument"] = kind, instrument
    event["order_id"], event["match_id"] = order, order
    for name, value in fields.items():
        event[name] = value
    assert writer.publish(event) == 1


def seen(view: EngineView) -> dict[str, tuple[int, int, int, int]]:
    stat = view.snapshot()
    assert stat.positions_known
    return {
        each.symbol: (each.position_lots, each.open_orders, each.open_buy_lots, each.open_sell_lots)
        for each in stat.market
    }


def test_a_book_is_the_last_that_was_told_of_its_instrument(engine: FabricatedEngine) -> None:
    norm, view = RingWriter(NAME, "norm"), EngineView(NAME)
    assert view.snapshot().market == []
    for bid in (100, 101, 102):
        quote(norm, 0, bid, bid + 2)
        quote(norm, 2, 10 * bid, 10 * bid + 1)
    market = {each.symbol: each for each in view.snapshot().market}
    assert {name: (each.bid_price_ticks, each.ask_price_ticks) for name, each in market.items()} == {
        "AAA": (102, 104),
        "CCC": (1020, 1021),
    }
    assert market["AAA"].bid_lots == 10 and market["AAA"].position_lots_max == 100


def test_orders_are_followed_from_acceptance_to_their_end(engine: FabricatedEngine) -> None:
    execs, view = RingWriter(NAME, "exec"), EngineView(NAME)
    tell(execs, lib.EXEC_ACCEPTED, 1, leaves_lots=50, side=lib.SIDE_BUY)
    tell(execs, lib.EXEC_ACCEPTED, 2, leaves_lots=30, side=lib.SIDE_SELL, instrument=1)
    assert seen(view) == {"AAA": (0, 1, 50, 0), "BBB": (0, 1, 0, 30)}
    tell(execs, lib.EXEC_FILL, 1, quantity_lots=20, price_ticks=10, leaves_lots=30, side=lib.SIDE_BUY)
    assert seen(view)["AAA"] == (20, 1, 30, 0)
    tell(execs, lib.EXEC_REPLACED, 3, target_order_id=1, leaves_lots=40, side=lib.SIDE_BUY)
    assert seen(view)["AAA"] == (20, 1, 40, 0)
    tell(execs, lib.EXEC_CANCELED, 3, leaves_lots=0, side=lib.SIDE_BUY)
    tell(execs, lib.EXEC_FILL, 2, quantity_lots=30, price_ticks=7, side=lib.SIDE_SELL, instrument=1)
    assert seen(view) == {"AAA": (20, 0, 0, 0), "BBB": (-30, 0, 0, 0)}


def test_profit_is_the_ledgers_at_the_middle_of_the_book(engine: FabricatedEngine) -> None:
    norm, execs, view = RingWriter(NAME, "norm"), RingWriter(NAME, "exec"), EngineView(NAME)
    tell(execs, lib.EXEC_FILL, 1, quantity_lots=20, price_ticks=100, side=lib.SIDE_BUY)
    quote(norm, 0, 109, 111)
    held = view.snapshot().market[0]
    assert (held.realised_micros, held.unrealised_micros) == (0, 20 * 10 * 100)
    tell(execs, lib.EXEC_FILL, 2, quantity_lots=20, price_ticks=105, side=lib.SIDE_SELL)
    flat = view.snapshot().market[0]
    assert (flat.position_lots, flat.realised_micros, flat.unrealised_micros) == (0, 20 * 5 * 100, 0)


def test_who_comes_after_the_ring_went_round_does_not_guess_positions(engine: FabricatedEngine) -> None:
    execs, early = RingWriter(NAME, "exec"), EngineView(NAME)
    capacity = engine.segments["exec"].info.capacity
    for order in range(1, capacity + 10):
        tell(execs, lib.EXEC_FILL, order, quantity_lots=1, price_ticks=5, side=lib.SIDE_BUY)
        if order % 100 == 0:
            early.follow()
    assert seen(early)["AAA"][0] == capacity + 9
    assert not EngineView(NAME).snapshot().positions_known


def used(stat: EngineStat) -> dict[str, float | None]:
    return {each.name: each.used for each in stat.limits}


def test_use_of_limits_is_told_beside_what_they_are(engine: FabricatedEngine) -> None:
    execs, view = RingWriter(NAME, "exec"), EngineView(NAME)
    engine.gauge("risk", open_orders=3, gross_value_micros=250_000_000)
    tell(execs, lib.EXEC_FILL, 1, quantity_lots=60, price_ticks=10, side=lib.SIDE_BUY)
    tell(execs, lib.EXEC_ACCEPTED, 2, leaves_lots=30, side=lib.SIDE_BUY)
    stat = view.snapshot()
    assert used(stat)["firm.open_orders_max"] == 3 and used(stat)["firm.gross_value_currency_max"] == 250.0
    assert used(stat)["instrument.AAA.position_lots_max"] == 90, "with every open order filled"
    assert {each.name: each.limit for each in stat.limits}["instrument.AAA.position_lots_max"] == 100
    assert {(each.level, each.about) for each in stat.alerts} == {("warning", "instrument.AAA.position_lots_max")}


def test_a_scope_that_was_switched_off_is_told_with_the_version_that_did_it(engine: FabricatedEngine) -> None:
    view = EngineView(NAME)
    assert (view.snapshot().limits_version, view.snapshot().switches) == (1, {})
    from hotpath.limits.copy import LimitsCopy

    copy = LimitsCopy(SYMBOLS, limits_copy(RISK, SYMBOLS, version=2))
    copy.set("instrument.BBB.killed", True)
    copy.set("strategy.3.paused", True)
    copy.seal()
    publish_copy(engine.segments["limits"], copy.data)
    stat = view.snapshot()
    assert stat.limits_version == 2
    assert stat.switches == {"strategy.3": "paused", "instrument.BBB": "killed"}
    assert {each.about for each in stat.alerts} == {"strategy.3", "instrument.BBB"}


def test_alarms_stand_before_warnings_and_nothing_wrong_is_silence(engine: FabricatedEngine) -> None:
    view = EngineView(NAME)
    assert view.snapshot().alerts == []
    engine.count("feed", gaps_lost=2)
    engine.gauge("gateway", session_up=0)
    lib.control_cause(engine.control, lib.CAUSE_OPERATOR, lib.MODE_REDUCE_ONLY)
    alerts = view.snapshot().alerts
    assert [each.level for each in alerts] == ["alarm", "alarm", "warning"]
    assert [each.about for each in alerts] == ["feed", "gateway", "operator"]


def test_recent_latency_is_of_what_was_recorded_since(
    engine: FabricatedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, now = EngineView(NAME), [100.0]
    monkeypatch.setattr("hotpath.stat.time.monotonic", lambda: now[0])
    engine.record("feed", "feed", *[50] * 100)
    assert view.snapshot().hops["feed"].recent_count == 0, "there is no earlier look"
    now[0] += 1.5
    engine.record("feed", "feed", *[900] * 10)
    hop = view.snapshot().hops["feed"]
    assert (hop.count, hop.recent_count) == (110, 10) and hop.recent_p50_ns >= 900 > hop.p50_ns
    now[0] += 0.5
    assert view.snapshot().hops["feed"].recent_count == 10, "the window reaches back a second at least"
    now[0] += 1.5
    assert view.snapshot().hops["feed"].recent_count == 0
