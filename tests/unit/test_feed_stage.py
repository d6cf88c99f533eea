"""The feed stage: real days through to norm events, staleness, backpressure, replay by turns."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np

from ffi import ffi, lib
from tests.support.feed_driver import DrivenFeed, add_order, raw_message, raw_state
from tests.support.memory import without_times


def aapl(shared_data: Path) -> bytes:
    return (shared_data / "itch_aapl_20200130" / "locate-13-10k.bin").read_bytes()


def test_real_morning_has_the_oracles_top_after_every_message(shared_data: Path) -> None:
    feed = DrivenFeed(aapl(shared_data))
    events = feed.run()
    assert feed.counter(lib.FEED_MESSAGES) == feed.counter(lib.FEED_EVENTS) == len(events) == 10_000
    assert feed.counter(lib.FEED_BAD_MESSAGE) == feed.counter(lib.FEED_UNKNOWN_TYPE) == 0
    with (shared_data / "itch_aapl_20200130" / "bbo_oracle_itchbook.csv").open() as file:
        truth = list(csv.DictReader(file))
    assert len(truth) > 1000
    for row in truth:
        event = events[int(row["seq"]) - 1]
        for side in ("bid", "ask"):
            price = 0 if row[f"{side}_px"] == "nan" else round(float(row[f"{side}_px"]) * 10_000)
            found = (int(event[f"{side}_price_ticks"]), int(event[f"{side}_quantity_lots"]))
            assert found == (price, int(row[f"{side}_sz"])), (row, side)


def test_derived_day_has_the_top_of_every_row_of_its_order_book(shared_data: Path) -> None:
    folder = shared_data / "itch_goog_20120621_derived"
    feed = DrivenFeed((folder / "GOOG_20120621_L10.itch50").read_bytes(), locate=1, symbol=b"GOOG", orders_max=100_000)
    events = feed.run()
    assert feed.counter(lib.FEED_MESSAGES) == feed.counter(lib.FEED_EVENTS) == len(events) == 239_568
    assert feed.counter(lib.FEED_UNKNOWN_ORDER) == feed.counter(lib.FEED_BOOK_FULL) == 0
    with zipfile.ZipFile(folder / "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip") as archive:
        name = next(name for name in archive.namelist() if "orderbook" in name)
        truth = np.loadtxt(archive.open(name), np.int64, delimiter=",", usecols=(0, 1, 2, 3))
    after = np.loadtxt(folder / "GOOG_20120621_L10.idx", np.int64)
    rows = events[after - 1]
    names = ("ask_price_ticks", "ask_quantity_lots", "bid_price_ticks", "bid_quantity_lots")
    for column, field in enumerate(names):
        assert np.array_equal(rows[field], truth[:, column]), field


def test_replayed_turns_give_the_same_events_and_digest(shared_data: Path) -> None:
    live = DrivenFeed(aapl(shared_data), raw_capacity=16_384, norm_capacity=16_384, batch_max=37)
    while live.turn() or not live.source.finished:
        pass
    replay = DrivenFeed(raw_capacity=16_384, norm_capacity=16_384)
    ffi.memmove(replay.raw.memory.buffer, live.raw.memory.buffer, live.raw.memory.size)
    for plan in live.context.plans():
        assert lib.feed_turn(replay.feed, plan) == 1
    assert replay.feed.stage.digest == live.feed.stage.digest != 0
    assert without_times(replay.norm.events()) == without_times(live.norm.events())


def test_norm_that_is_full_holds_the_feed_back_and_loses_nothing(shared_data: Path) -> None:
    whole = DrivenFeed(aapl(shared_data)).run()
    narrow = DrivenFeed(aapl(shared_data), raw_capacity=64, norm_capacity=16).run()
    assert len(narrow) == len(whole)
    assert np.array_equal(narrow["order_ref"], whole["order_ref"])
    assert np.array_equal(narrow["bid_price_ticks"], whole["bid_price_ticks"])
    stuck = DrivenFeed(aapl(shared_data), raw_capacity=64, norm_capacity=16)
    for _ in range(10):
        stuck.turn()
    assert stuck.norm.published == 16 and stuck.counter(lib.FEED_NORM_FULL) > 0


def test_events_are_stale_from_gap_to_whole() -> None:
    feed = DrivenFeed()
    raw_message(feed, add_order(1))
    raw_state(feed, lib.RAW_GAP, 5)
    raw_message(feed, add_order(2))
    raw_state(feed, lib.RAW_GAP_CLOSED)
    raw_message(feed, add_order(3))
    feed.turn()
    events = feed.norm.events()
    assert events["header"]["type"].tolist() == [lib.NORM_ADD, lib.NORM_GAP, lib.NORM_ADD, lib.NORM_WHOLE, lib.NORM_ADD]
    assert [bool(flags & lib.FLAG_STALE) for flags in events["header"]["flags"]] == [False, True, True, False, False]
    assert events["quantity_lots"].tolist()[1] == 5 and events["quantity_lots"].tolist()[3] == 0


def test_lost_gap_stays_stale_until_the_next_session_and_is_never_called_whole() -> None:
    feed = DrivenFeed()
    for state in (lib.RAW_GAP, lib.RAW_GAP_LOST, lib.RAW_GAP, lib.RAW_GAP_CLOSED):
        raw_state(feed, state, 1)
    raw_message(feed, add_order(1))
    raw_state(feed, lib.RAW_SESSION)
    raw_message(feed, add_order(2))
    feed.turn()
    events = feed.norm.events()
    types = events["header"]["type"].tolist()
    assert types == [lib.NORM_GAP] * 3 + [lib.NORM_ADD, lib.NORM_CLEAR, lib.NORM_ADD]
    assert [bool(flags & lib.FLAG_STALE) for flags in events["header"]["flags"]] == [True] * 4 + [False] * 2
    assert feed.counter(lib.FEED_LIVE_ORDERS) == 1  # the old session's order is gone


def test_one_silent_line_is_told_and_nothing_is_stale() -> None:
    feed = DrivenFeed()
    for kind in (lib.RAW_LINE_SILENT, lib.RAW_LINE_HEARD):
        raw_state(feed, kind, lib.LINE_B)
        raw_message(feed, add_order(1 + kind))
    feed.turn()
    events = feed.norm.events()
    assert events["header"]["type"].tolist() == [lib.NORM_LINE, lib.NORM_ADD] * 2
    told = events[events["header"]["type"] == lib.NORM_LINE]
    assert told["order_ref"].tolist() == [ord("B")] * 2 and told["quantity_lots"].tolist() == [0, 1]
    assert not (events["header"]["flags"] & lib.FLAG_STALE).any()


def test_silence_is_said_once_and_ends_with_the_next_message() -> None:
    feed = DrivenFeed()
    feed.feed.stage.lockstep = ffi.NULL
    feed.feed.silence_ns = 1
    feed.feed.heard_time_ns = lib.clock_now(feed.context.clock) - 1000
    for _ in range(3):
        feed.turn()
    raw_message(feed, add_order(1))
    feed.turn()
    events = feed.norm.events()
    assert events["header"]["type"].tolist() == [lib.NORM_SILENT, lib.NORM_ADD]
    assert [bool(flags & lib.FLAG_STALE) for flags in events["header"]["flags"]] == [True, False]
    assert feed.counter(lib.FEED_SILENCES) == 1 and feed.counter(lib.FEED_STALE) == 0


def test_wait_behind_packet_mates_is_a_hop_of_its_own() -> None:
    feed = DrivenFeed()
    for ref in range(1, 5):
        raw_message(feed, add_order(ref), flags=lib.FLAG_PACKET_END if ref == 4 else 0)
    feed.turn()
    assert feed.context.hops[lib.HOP_WAIT].total_count == 3


def test_message_of_several_slots_is_one_malformed_message() -> None:
    feed = DrivenFeed()
    for offset in (0, 64):
        event = ffi.new("raw_event *", {"length": 64, "total": 128, "offset": offset})
        event.header.type = lib.RAW_MESSAGE
        lib.ring_publish(ffi.addressof(feed.feed, "raw"), event, ffi.sizeof("raw_event"))
    feed.turn()
    assert feed.counter(lib.FEED_MESSAGES) == feed.counter(lib.FEED_BAD_MESSAGE) == 1
    assert feed.norm.published == 0
