"""Seats: every request, each bound, each reason to cut, and where executions go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ffi import ffi, lib
from tests.support.seat_driver import MILLISECOND_NS, SECOND_NS, DrivenSeats, placed, reasons, request_slots

SNAPSHOT = [("REPORT_ATTACHED", 0, 0), ("REPORT_END", 0, 0)]
BUY, SELL = lib.SIDE_BUY, lib.SIDE_SELL


@pytest.fixture
def driven() -> DrivenSeats:
    driven = DrivenSeats()
    assert driven.attach().told() == SNAPSHOT
    return driven


# ---- requests and where they go -------------------------------------------------------------------------


def test_new_order_becomes_an_intent_with_the_seats_own_account_and_strategy(driven: DrivenSeats) -> None:
    driven.client.new(2, side=SELL, price=321, lots=7, time_in_force=lib.TIF_IOC, score=0.25, bid_price_ticks=5)
    driven.turn()
    (intent,) = driven.signal_ring.events()
    assert driven.intents() == [("NEW", 321, 7, 0)]
    assert (intent["account"], intent["strategy"], intent["side"], intent["time_in_force"]) == (
        2,
        100,
        SELL,
        lib.TIF_IOC,
    )
    assert (intent["header"]["instrument"], intent["header"]["cause_input"]) == (2, lib.INPUT_INTAKE)
    assert intent["header"]["cause_sequence"] == driven.intake.published - 1
    assert (intent["score"], intent["bid_price_ticks"]) == (0.25, 5)


def test_reports_follow_an_order_to_its_end(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.fill(order_id, 4, leaves=6)
    driven.fill(order_id, 6, leaves=0)
    first, last = driven.client.reports()
    assert (first["token"], first["order_id"], first["match_id"]) == (token, order_id, 7)
    assert (first["leaves_lots"], first["cumulative_lots"], first["position_lots"]) == (6, 4, 4)
    assert (last["leaves_lots"], last["cumulative_lots"], last["position_lots"]) == (0, 10, 10)
    assert driven.seats.seat[0].open_orders == 0


def test_sell_moves_the_position_down(driven: DrivenSeats) -> None:
    _, order_id = placed(driven, side=SELL, lots=5)
    driven.fill(order_id, 5, leaves=0, side=SELL)
    assert driven.client.reports()[0]["position_lots"] == -5


@pytest.mark.parametrize("kind", ["EXEC_REJECTED", "EXEC_REFUSED"])
def test_order_that_comes_to_nothing_is_closed_and_told(driven: DrivenSeats, kind: str) -> None:
    token = driven.client.new()
    driven.turn()
    assert driven.execution(getattr(lib, kind), driven.last_id, reason=lib.REJECT_COLLAR) == 1
    (report,) = driven.client.reports()
    assert report["token"] == token and report["reason"] == lib.REJECT_COLLAR
    assert bool(report["header"]["flags"] & lib.FLAG_REFUSED) == (kind == "EXEC_REFUSED")
    assert driven.seats.seat[0].open_orders == 0


def test_replacement_takes_the_orders_place_under_its_own_token(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.fill(order_id, 3, leaves=7)
    replacement = driven.client.replace(token, price=105, lots=12)
    driven.turn()
    assert driven.intents()[-1] == ("REPLACE", 105, 12, order_id)
    new_id = driven.last_id
    driven.execution(lib.EXEC_REPLACED, new_id, target_order_id=order_id, leaves_lots=9, price_ticks=105)
    driven.fill(new_id, 9, leaves=0)
    fill, replaced, last = driven.client.reports()
    assert fill["token"] == token
    assert (replaced["token"], replaced["target_token"], replaced["leaves_lots"]) == (replacement, token, 9)
    assert (last["token"], last["cumulative_lots"], last["position_lots"]) == (replacement, 12, 12)


@pytest.mark.parametrize("kind", ["EXEC_REPLACE_REJECTED", "EXEC_REFUSED"])
def test_replacement_that_is_refused_leaves_its_order(driven: DrivenSeats, kind: str) -> None:
    token, order_id = placed(driven)
    replacement = driven.client.replace(token)
    driven.turn()
    driven.execution(getattr(lib, kind), driven.last_id, target_order_id=order_id)
    assert driven.client.told() == [("EXEC_REPLACE_REJECTED", replacement, token)]
    driven.client.cancel(token)
    driven.turn()
    assert driven.intents()[-1] == ("CANCEL", 100, 0, order_id)


def test_cancel_ends_the_order(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.cancel(token)
    driven.turn()
    assert driven.intents()[-1] == ("CANCEL", 100, 0, order_id)
    driven.execution(lib.EXEC_CANCELED, order_id, quantity_lots=10, leaves_lots=0)
    assert driven.client.told() == [("EXEC_CANCELED", token, 0)]
    assert driven.seats.seat[0].open_orders == 0


@pytest.mark.parametrize("kind", ["EXEC_CANCEL_REJECTED", "EXEC_REFUSED"])
def test_cancel_that_is_refused_leaves_the_order_to_be_cancelled_again(driven: DrivenSeats, kind: str) -> None:
    token, order_id = placed(driven)
    driven.client.cancel(token)
    driven.turn()
    named = order_id if kind == "EXEC_CANCEL_REJECTED" else driven.last_id
    driven.execution(getattr(lib, kind), named, reason=lib.REJECT_SESSION_DOWN)
    assert driven.client.told() == [("EXEC_CANCEL_REJECTED", token, 0)]
    driven.client.cancel(token)
    driven.turn()
    assert [intent[0] for intent in driven.intents()] == ["NEW", "CANCEL", "CANCEL"]


def test_cancel_refused_as_unknown_closes_the_order_and_a_late_fill_still_finds_its_seat(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.cancel(token)
    driven.turn()
    driven.execution(lib.EXEC_REFUSED, driven.last_id, reason=lib.REJECT_UNKNOWN_ORDER)
    assert driven.seats.seat[0].open_orders == 0
    driven.fill(order_id, 10, leaves=0)
    assert driven.client.reports()[-1]["position_lots"] == 10


def test_cancel_means_the_replacement_that_crossed_it_too(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.replace(token)
    driven.turn()
    replace_id = driven.last_id
    driven.client.cancel(token)
    driven.turn()
    assert driven.intents()[-1] == ("CANCEL", 100, 0, order_id)
    driven.execution(lib.EXEC_REPLACED, replace_id, target_order_id=order_id, leaves_lots=10, price_ticks=101)
    assert driven.intents()[-1] == ("CANCEL", 101, 0, replace_id)


def test_cancel_all_takes_one_instrument_or_all(driven: DrivenSeats) -> None:
    _, first = placed(driven, instrument=0)
    _, second = placed(driven, instrument=1)
    driven.client.cancel_all(1)
    driven.turn()
    assert [intent[3] for intent in driven.intents() if intent[0] == "CANCEL"] == [second]
    driven.client.cancel_all()
    driven.turn()
    assert [intent[3] for intent in driven.intents() if intent[0] == "CANCEL"] == [second, first]


def test_broken_trade_of_a_dead_order_moves_the_position_back(driven: DrivenSeats) -> None:
    _, order_id = placed(driven)
    driven.fill(order_id, 10, leaves=0)
    driven.execution(lib.EXEC_BROKEN, order_id, quantity_lots=10)
    assert [int(report["position_lots"]) for report in driven.client.reports()] == [10, 0]


def test_order_given_up_for_dead_that_lives_is_open_again(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.execution(lib.EXEC_CANCELED, order_id, leaves_lots=0)
    driven.accept(order_id, leaves=10)
    driven.client.cancel(token)
    driven.turn()
    assert driven.intents()[-1][0] == "CANCEL"


def test_execution_told_twice_by_the_venue_counts_once(driven: DrivenSeats) -> None:
    _, order_id = placed(driven)
    for _ in range(2):
        driven.execution(lib.EXEC_FILL, order_id, quantity_lots=4, leaves_lots=6, session=3, session_sequence=9)
    driven.execution(lib.EXEC_FILL, order_id, quantity_lots=4, leaves_lots=2, session=4, session_sequence=9)
    assert driven.client.reports()[-1]["position_lots"] == 8


def test_execution_of_nobody_here_is_left_to_the_built_in_strategy(driven: DrivenSeats) -> None:
    assert driven.execution(lib.EXEC_FILL, 999, quantity_lots=5) == 0
    assert driven.execution(lib.EXEC_SESSION_DOWN, 0, instrument=lib.NO_INSTRUMENT) == 0
    assert driven.client.told() == [("EXEC_SESSION_DOWN", 0, 0)]


# ---- bounds ---------------------------------------------------------------------------------------------


def test_open_orders_are_bounded() -> None:
    driven = DrivenSeats(open_orders_max=2)
    client = driven.attach()
    for _ in range(3):
        client.new()
    driven.turn()
    assert reasons(client.reports()) == ["open_orders"] and len(driven.intents()) == 2


def test_messages_are_bounded_by_a_bucket_that_time_fills() -> None:
    driven = DrivenSeats(open_orders_max=64, messages_per_second_max=2)
    client = driven.attach()
    for _ in range(3):
        client.new()
    driven.turn()
    assert reasons(client.reports()) == ["throttle"]
    client.cancel(1)
    driven.turn()
    assert driven.intents()[-1][0] == "CANCEL", "cancels are free"
    client.beat()
    driven.turn(after_ns=SECOND_NS // 2)
    client.new()
    client.new()
    driven.turn()
    assert reasons(client.reports()) == ["throttle"] and len(driven.intents()) == 4


def test_token_is_good_once(driven: DrivenSeats) -> None:
    driven.client.new()
    driven.client.token = 0
    driven.client.new()
    driven.turn()
    assert reasons(driven.client.reports()) == ["duplicate"] and len(driven.intents()) == 1


def test_one_replacement_and_one_cancel_at_a_time(driven: DrivenSeats) -> None:
    token, _ = placed(driven)
    driven.client.replace(token)
    driven.client.replace(token)
    driven.client.cancel(token)
    driven.client.cancel(token)
    driven.client.replace(token)
    driven.turn()
    assert reasons(driven.client.reports()) == ["busy"] * 3
    assert [intent[0] for intent in driven.intents()] == ["NEW", "REPLACE", "CANCEL"]


@pytest.mark.parametrize("change", [{"token": 77}, {"instrument": 1}, {"side": SELL}])
def test_replacement_of_what_is_not_there_is_refused(driven: DrivenSeats, change: dict[str, int]) -> None:
    placed(driven)
    driven.client.replace(**({"token": 1} | change))
    driven.turn()
    assert reasons(driven.client.reports()) == ["unknown_order"]


def test_no_seat_reaches_anothers_orders() -> None:
    driven = DrivenSeats(2)
    mine, other = driven.attach(0), driven.attach(1)
    mine.new()
    driven.turn()
    other.cancel(1)
    other.new(3)
    driven.turn()
    assert reasons(other.reports()) == ["unknown_order"]
    driven.fill(1, 10, leaves=0)
    assert "EXEC_FILL" not in str(other.told()) and mine.reports()[-1]["position_lots"] == 10


def test_full_signal_ring_refuses_and_says_so(driven: DrivenSeats) -> None:
    driven.client.new()
    driven.client.new()
    driven.turn(room=1)
    assert reasons(driven.client.reports()) == ["ring_full"] and len(driven.intents()) == 1


def test_wanted_cancels_that_found_no_room_leave_with_the_sweep(driven: DrivenSeats) -> None:
    for _ in range(4):
        placed(driven)
    driven.client.cancel_all()
    driven.turn(room=1)
    assert [intent[0] for intent in driven.intents()].count("CANCEL") == 1
    driven.turn(after_ns=2 * MILLISECOND_NS)
    assert sorted(intent[3] for intent in driven.intents() if intent[0] == "CANCEL") == [1, 2, 3, 4]


def test_wanted_cancel_without_an_answer_is_sent_again_ever_more_rarely(driven: DrivenSeats) -> None:
    placed(driven)
    driven.client.cancel_all()
    sent = []
    for second in range(16):
        driven.client.beat()
        driven.turn(after_ns=50 * MILLISECOND_NS)
        for _ in range(19):
            driven.client.beat()
            driven.turn(after_ns=50 * MILLISECOND_NS)
        sent.append([intent[0] for intent in driven.intents()].count("CANCEL"))
        assert driven.cut_reason() == "", second
    assert sent[0] == 1 and sent[-1] == 5, sent


def test_dead_orders_give_their_places_back(driven: DrivenSeats) -> None:
    for _ in range(3 * driven.seats.order_count):
        _, order_id = placed(driven)
        driven.fill(order_id, 10, leaves=0)
        driven.client.beat()
        driven.turn(after_ns=2 * MILLISECOND_NS)
    assert driven.client.page.refused == 0


def test_tokens_cannot_be_chosen_to_stand_in_each_others_way() -> None:
    """All of them would have one home in a table whose hash is known."""
    driven = DrivenSeats(open_orders_max=256, messages_per_second_max=10_000)
    client = driven.attach()
    mask = ffi.cast("uint64_t *", driven.seats.tokens)[1]
    tokens = np.arange(1, 4_000_000, dtype=np.uint64)
    chosen = tokens[known_home(tokens * np.uint64(lib.SEATS_MAX), mask) == 5][:200].tolist()
    assert len(chosen) == 200
    for token in chosen:
        client.token = token - 1
        client.new()
        driven.turn()
        client.reports()
    assert driven.seats.seat[0].open_orders == 200
    assert longest_run(ffi.cast("uint64_t *", ffi.cast("uint64_t *", driven.seats.tokens)[0]), mask) < 40


def known_home(keys: npt.NDArray[np.uint64], mask: int) -> npt.NDArray[np.uint64]:
    """Where keys stand in an id map, as id_map_inline.h says."""
    spread = keys * np.uint64(0x9E3779B97F4A7C15)
    return (spread ^ spread >> np.uint64(32)) & np.uint64(mask)


def longest_run(cells: Any, mask: int) -> int:
    """The most cells of an id map that stand side by side, taken."""
    longest = run = 0
    for index in range(mask + 1):
        run = run + 1 if cells[2 * index] else 0
        longest = max(longest, run)
    return longest


def test_market_time_is_of_instruments_alone(driven: DrivenSeats) -> None:
    """What the feed says itself bears the engine's time: a recorded market would seem to have leapt to today."""
    driven.plan.now_ns = driven.now_ns
    lib.seats_market(driven.seats, driven.plan, 0, 5 * SECOND_NS)
    lib.seats_market(driven.seats, driven.plan, lib.NO_INSTRUMENT, 10**18)
    driven.client.new()
    driven.turn()
    assert driven.signal_ring.events()[-1]["header"]["origin_time_ns"] == 5 * SECOND_NS + 1000


# ---- attaching and the snapshot -------------------------------------------------------------------------


def test_whoever_attaches_again_is_told_where_it_stands() -> None:
    driven = DrivenSeats(policy=lib.SEAT_LEAVE)
    driven.attach()
    first, first_id = placed(driven, lots=10)
    driven.fill(first_id, 4, leaves=6)
    placed(driven, instrument=3, side=SELL)
    lib.seat_bury(driven.client.page, driven.client.epoch)
    driven.turn(after_ns=MILLISECOND_NS)
    assert driven.cut_reason() == "dead" and len(driven.intents()) == 2
    client = driven.attach()
    attached, order, other, position, end = client.reports()
    assert [int(e["header"]["type"]) for e in (attached, order, other, position, end)] == [
        lib.REPORT_ATTACHED,
        lib.REPORT_ORDER,
        lib.REPORT_ORDER,
        lib.REPORT_POSITION,
        lib.REPORT_END,
    ]
    assert (order["token"], order["leaves_lots"], order["cumulative_lots"], order["order_id"]) == (
        first,
        6,
        4,
        first_id,
    )
    assert (other["side"], other["header"]["instrument"]) == (SELL, 3)
    assert (position["header"]["instrument"], position["position_lots"], end["token"]) == (0, 4, 2)
    client.cancel(first)
    driven.turn()
    assert driven.intents()[-1] == ("CANCEL", 100, 0, first_id)


def test_newcomer_takes_the_place_of_one_that_is_not_yet_known_to_be_dead(driven: DrivenSeats) -> None:
    placed(driven)
    driven.attach()
    assert [int(e["header"]["type"]) for e in driven.recorded()].count(lib.SEAT_CUT) == 1
    assert driven.intents()[-1][0] == "CANCEL" and driven.cut_reason() == ""
    assert driven.client.told()[0][0] == "REPORT_ATTACHED"


def test_requests_of_an_attachment_that_is_over_are_never_read(driven: DrivenSeats) -> None:
    driven.client.new()
    driven.client.announce()
    driven.turn(after_ns=MILLISECOND_NS)
    driven.turn(after_ns=10 * MILLISECOND_NS)
    assert driven.intents() == []
    driven.client.open()
    driven.turn(after_ns=MILLISECOND_NS)
    assert driven.intents() == [] and driven.cut_reason() == ""


# ---- cuts -----------------------------------------------------------------------------------------------


def test_cut_cancels_what_is_open_and_refuses_until_it_attaches_again(driven: DrivenSeats) -> None:
    _, order_id = placed(driven)
    driven.client.send(lib.REQUEST_RAISED)
    driven.turn()
    assert driven.cut_reason() == "raised"
    assert driven.client.told() == [("REPORT_CUT", 1, 0)]
    assert driven.intents()[-1] == ("CANCEL", 100, 0, order_id)
    driven.client.new()
    driven.turn(after_ns=MILLISECOND_NS)
    assert len(driven.intents()) == 2
    driven.execution(lib.EXEC_CANCELED, order_id, leaves_lots=0)
    assert driven.attach().told() == [("REPORT_ATTACHED", 1, 0), ("REPORT_END", 1, 0)]


def flags_of(driven: DrivenSeats) -> list[bool]:
    """Of every cancel so far: is it the engine's own?"""
    events = driven.signal_ring.events()
    cancels = events[events["header"]["type"] == lib.SIGNAL_CANCEL]
    return [bool(flags & lib.FLAG_PROTECTIVE) for flags in cancels["header"]["flags"].tolist()]


def test_cancels_of_a_seat_that_was_cut_are_protective_until_the_order_is_dead(driven: DrivenSeats) -> None:
    _, order_id = placed(driven)
    driven.client.send(lib.REQUEST_RAISED)
    driven.turn()
    assert flags_of(driven) == [True]
    driven.attach()
    driven.execution(lib.EXEC_CANCEL_REJECTED, order_id)
    driven.turn(after_ns=9 * SECOND_NS)  # the engine still wants it gone, though the seat is taken again
    assert flags_of(driven) == [True, True]


def test_no_co_process_makes_a_cancel_protective(driven: DrivenSeats) -> None:
    """Neither one cancel nor all, whatever flags the request bears."""
    token, _ = placed(driven)
    _, other_id = placed(driven)
    named = {"target_token": token, "instrument": lib.NO_INSTRUMENT}
    assert driven.client.send(lib.REQUEST_CANCEL, flags=0xFFFF, **named) == lib.RING_OK
    driven.turn()
    assert driven.client.send(lib.REQUEST_CANCEL_ALL, flags=0xFFFF, instrument=lib.NO_INSTRUMENT) == lib.RING_OK
    driven.turn()
    driven.execution(lib.EXEC_CANCEL_REJECTED, other_id)
    driven.client.beat()
    driven.turn(after_ns=50 * MILLISECOND_NS)
    driven.client.beat()
    assert flags_of(driven) and not any(flags_of(driven))
    assert driven.client.send(lib.REQUEST_NEW, token=99, flags=0xFFFF, price_ticks=100, quantity_lots=1) == lib.RING_OK
    driven.turn()
    assert driven.signal_ring.events()["header"]["flags"].tolist()[-1] == 0


@pytest.mark.parametrize("killed, mode", [(1, lib.MODE_NORMAL), (0, lib.MODE_REDUCE_ONLY), (0, lib.MODE_CANCEL_ONLY)])
def test_cancels_while_the_engine_may_do_less_than_all_are_protective(
    driven: DrivenSeats, killed: int, mode: int
) -> None:
    token, _ = placed(driven)
    driven.plan.killed, driven.plan.mode = killed, mode
    driven.client.cancel(token)
    driven.turn()
    assert flags_of(driven) == [True]


def test_cut_may_leave_what_is_open() -> None:
    driven = DrivenSeats(policy=lib.SEAT_LEAVE)
    driven.attach()
    placed(driven)
    driven.client.send(lib.REQUEST_DETACH)
    driven.turn()
    assert driven.cut_reason() == "detached" and len(driven.intents()) == 1
    assert driven.client.page.state == lib.SEAT_EMPTY


def test_program_that_left_and_ended_has_left(driven: DrivenSeats) -> None:
    driven.client.send(lib.REQUEST_DETACH)
    lib.seat_bury(driven.client.page, driven.client.epoch)
    driven.turn(after_ns=MILLISECOND_NS)
    assert driven.cut_reason() == "detached"


def test_silence_cuts_and_a_heartbeat_does_not_need_to_tell_the_time(driven: DrivenSeats) -> None:
    for _ in range(10):
        driven.client.beat()
        driven.turn(after_ns=20 * MILLISECOND_NS)
    assert driven.cut_reason() == ""
    for _ in range(6):
        driven.turn(after_ns=20 * MILLISECOND_NS)
    assert driven.cut_reason() == "heartbeat"


def test_engine_that_was_away_itself_cuts_nobody(driven: DrivenSeats) -> None:
    driven.turn(after_ns=10 * SECOND_NS)
    assert driven.cut_reason() == ""


def test_call_over_its_budget_cuts(driven: DrivenSeats) -> None:
    lib.seat_client_busy(driven.client.client, 5)
    for _ in range(4):
        driven.client.beat()
        driven.turn(after_ns=10 * MILLISECOND_NS)
    assert driven.cut_reason() == "budget"


def test_virtual_time_cuts_nobody_for_silence(driven: DrivenSeats) -> None:
    for _ in range(5):
        driven.turn(after_ns=SECOND_NS, timeless=True)
    assert driven.cut_reason() == ""


def test_unread_reports_cut() -> None:
    driven = DrivenSeats(reports_capacity=64, open_orders_max=64)
    client = driven.attach()
    for _ in range(40):
        client.new()
        driven.turn()
        driven.accept(driven.last_id)
    for order_id in range(1, 41):
        driven.accept(order_id)
    driven.turn(after_ns=MILLISECOND_NS)
    assert driven.cut_reason() == "reports_full" and client.page.reports_lost > 0
    assert driven.attach() is client and driven.cut_reason() == "", "its snapshot finds room"


@pytest.mark.parametrize("position", [2**64 - 1, 2**40, 10_000])
def test_report_cursor_that_cannot_be_cuts(driven: DrivenSeats, position: int) -> None:
    cursor = driven.seats.seat[0].reports.gate[0]
    placed(driven)
    ring_cursor(cursor).position = position
    driven.turn(after_ns=MILLISECOND_NS)
    assert driven.cut_reason() == "cursor"
    assert driven.attach().told()[0][0] == "REPORT_ATTACHED"


def ring_cursor(pointer: Any) -> Any:
    return ffi.cast("ring_cursor *", pointer)


@pytest.mark.parametrize(
    "field",
    [
        {"type": 0},
        {"type": lib.SEAT_ATTACHED},
        {"type": lib.CTL_TURN},
        {"type": 255},
        {"instrument": 4},
        {"instrument": lib.NO_INSTRUMENT},
        {"side": 2},
        {"time_in_force": 2},
        {"price_ticks": 2**53 + 1},
        {"price_ticks": -(2**63)},
        {"quantity_lots": 2**62},
        {"token": 0},
        {"token": 2**60},
        {"target_token": 2**64 - 1},
        {"bid_price_ticks": 2**54},
        {"score": math.nan},
        {"score": math.inf},
        {"score": -1.01},
        {"attach_epoch": 0},
        {"attach_epoch": 2},
    ],
)
def test_request_that_no_honest_client_writes_cuts_and_is_never_recorded(
    driven: DrivenSeats, field: dict[str, Any]
) -> None:
    order: dict[str, Any] = {"type": lib.REQUEST_NEW, "token": 1, "price_ticks": 100, "quantity_lots": 10} | field
    driven.client.send(order.pop("type"), **order)
    driven.turn()
    assert driven.cut_reason() == "malformed" and driven.intents() == []
    assert {int(e["header"]["type"]) for e in driven.recorded()} <= {lib.SEAT_ATTACHED, lib.SEAT_CUT}


@pytest.mark.parametrize("stamp", [2, 77, 2**64 - 1, 2**63])
def test_impossible_stamp_cuts_and_the_next_attachment_begins_clean(driven: DrivenSeats, stamp: int) -> None:
    request_slots(driven.client)[0, 0] = stamp
    driven.turn()
    assert driven.cut_reason() == "sequence"
    driven.attach().new()
    driven.turn()
    assert len(driven.intents()) == 1 and driven.cut_reason() == ""


def test_ring_goes_round_many_times_without_a_cut() -> None:
    driven = DrivenSeats(orders_capacity=64, open_orders_max=8, messages_per_second_max=1_000_000)
    client = driven.attach()
    for _ in range(300):
        client.cancel(1)
        driven.turn()
        client.reports()
    assert driven.cut_reason() == "" and client.page.requests == 300


def test_flood_is_cut() -> None:
    driven = DrivenSeats(messages_per_second_max=1, orders_capacity=64)
    client = driven.attach()
    while not driven.cut_reason():
        for _ in range(32):
            client.cancel(1)
        client.reports()
        driven.turn()
        assert client.page.requests <= 2000
    assert driven.cut_reason() == "rate"


def test_attaching_again_gives_no_new_allowance() -> None:
    driven = DrivenSeats(messages_per_second_max=1, orders_capacity=64)
    client = driven.attach()
    for _ in range(SECOND_NS // (20 * MILLISECOND_NS)):
        driven.turn(after_ns=10 * MILLISECOND_NS)  # the next attachment is taken note of at once
        driven.attach()
        for _ in range(60):
            client.cancel(1)
        driven.turn()
        driven.turn()
        if driven.cut_reason():
            break
    assert driven.cut_reason() == "rate"
    client.announce()
    driven.turn(after_ns=20 * MILLISECOND_NS)
    assert driven.cut_reason() == "rate", "nor is it let in before the second is over"
    driven.turn(after_ns=SECOND_NS)
    assert driven.cut_reason() == ""


def test_attachments_by_the_thousand_cost_the_turn_a_hundred_a_second(driven: DrivenSeats) -> None:
    before = driven.intake.published
    for _ in range(2000):
        driven.client.announce()
        driven.turn(after_ns=MILLISECOND_NS // 2)
    assert driven.client.page.attachments <= 102 and driven.intake.published - before <= 202


def test_full_intake_leaves_requests_in_their_own_ring(driven: DrivenSeats) -> None:
    tight = DrivenSeats(intake_capacity=64)
    client = tight.attach()
    client.new()
    cursor = tight.intake.cursors["signal"]
    tight.now_ns += 1000
    ring_cursor(cursor_body(cursor)).position = 0
    for _ in range(40):
        client.cancel(9)
    for _ in range(4):
        lib.seats_poll(tight.seats, tight.now_ns, 0)
    assert tight.intake.published <= 64 and client.page.requests < 41


def cursor_body(memory: Any) -> Any:
    return ffi.cast("char *", memory.pointer) + lib.SEGMENT_HEADER_SIZE
