"""The risk gate's sharp corners, each by itself; the random streams are in tests/property."""

from __future__ import annotations

import pytest

from ffi import ffi, lib
from tests.support.gate_driver import DrivenGate
from tests.support.stages import ORIGIN_NS

OK = lib.REJECT_NONE


@pytest.fixture
def gate() -> DrivenGate:
    driven = DrivenGate()
    driven.market()
    return driven


def test_ten_thousand_orders_fit_whatever_gaps_their_numbers_have() -> None:
    """Half full is as full as the table gets, and no order is refused before."""
    for step in (1, 2, 3, 7, 64, 1024, 16384, 2**32):
        gate = DrivenGate(orders_max=10_000)
        gate.set_limits(entry={"position_lots_max": 10**9}, messages_per_second_max=10**9)
        gate.market()
        orders = [1 + step * index for index in range(10_000)]
        for order_id in orders:
            gate.order_id = order_id - 1
            assert gate.send(quantity_lots=1) == (order_id, OK)
        gate.order_id += 1
        assert gate.send()[1] == lib.REJECT_OPEN_ORDERS
        for order_id in orders[::2] + orders[1::2]:
            gate.execution(lib.EXEC_REJECTED, order_id)
        assert gate.gate.open_orders == gate.state().open_buy_lots == 0
        assert not any(gate.gate.order_id[place] for place in range(gate.gate.order_mask + 1))


def test_old_orders_do_not_crowd_out_new_ones() -> None:
    """A thousand orders that rest all day while a hundred thousand come and go."""
    gate = DrivenGate(orders_max=1024)
    gate.set_limits(entry={"position_lots_max": 10**9}, messages_per_second_max=10**9)
    gate.market()
    resting = [gate.send(quantity_lots=1)[0] for _ in range(1000)]
    for _ in range(20_000):
        order_id, reason = gate.send(quantity_lots=1)
        assert reason == OK
        gate.execution(lib.EXEC_REJECTED, order_id)
    for order_id in resting:
        gate.execution(lib.EXEC_CANCELED, order_id)
    assert gate.gate.open_orders == 0


def test_price_that_moved_during_a_gap_is_not_taken_for_the_old_one(gate: DrivenGate) -> None:
    """The first fresh event may move nothing; the top it bears is the truth all the same."""
    gate.market(lib.NORM_GAP, instrument=lib.NO_INSTRUMENT)
    gate.market(bid_price_ticks=19_990, ask_price_ticks=20_010, flags=lib.FLAG_STALE | lib.FLAG_TOP)
    assert gate.send()[1] == lib.REJECT_STALE_DATA
    gate.market(bid_price_ticks=19_990, ask_price_ticks=20_010, flags=0)
    assert gate.send(price_ticks=10_000)[1] == lib.REJECT_COLLAR
    assert gate.send(price_ticks=20_000)[1] == OK


def test_instrument_whose_last_event_was_stale_is_refused_and_no_other(gate: DrivenGate) -> None:
    gate.market(instrument=1)
    gate.market(flags=lib.FLAG_STALE)  # its own book is partial: the market has no gap
    assert gate.send()[1] == lib.REJECT_STALE_DATA
    assert gate.send(instrument=1)[1] == OK
    gate.market()
    assert gate.send()[1] == OK


def test_instrument_without_an_event_since_the_books_began_anew_is_refused(gate: DrivenGate) -> None:
    gate.market(instrument=1)
    for kind, flags in ((lib.NORM_CLEAR, lib.FLAG_STALE), (lib.NORM_WHOLE, 0)):
        gate.market(kind, instrument=lib.NO_INSTRUMENT, flags=flags)
    gate.market()
    assert gate.send()[1] == OK and gate.send(instrument=1)[1] == lib.REJECT_STALE_DATA


@pytest.mark.parametrize("bid_price_ticks", [10_020, 10_030])
def test_crossed_book_gives_no_price_to_hold_an_order_against(gate: DrivenGate, bid_price_ticks: int) -> None:
    order_id, _ = gate.send()
    gate.market(bid_price_ticks=bid_price_ticks, ask_price_ticks=10_020)
    assert gate.send()[1] == (lib.REJECT_CROSSED if bid_price_ticks > 10_020 else lib.REJECT_LOCKED)
    assert gate.send(lib.SIGNAL_CANCEL, target_order_id=order_id)[1] == OK
    gate.market()
    assert gate.send()[1] == OK


def test_gap_and_fresh_event_of_one_turn_are_told_apart(gate: DrivenGate) -> None:
    gate.market(lib.NORM_GAP, instrument=lib.NO_INSTRUMENT)
    gate.market(lib.NORM_WHOLE, instrument=lib.NO_INSTRUMENT)
    assert gate.send()[1] == lib.REJECT_STALE_DATA
    gate.market()
    assert gate.send()[1] == OK


@pytest.mark.parametrize("now_ns", [0, 1, ORIGIN_NS])
def test_time_may_begin_anywhere(now_ns: int) -> None:
    gate = DrivenGate(now_ns=now_ns)
    assert gate.send()[1] == lib.REJECT_NO_REFERENCE
    gate.market()
    assert gate.send()[1] == OK
    gate.plan.now_ns = now_ns + 10**9 + 1
    assert gate.send()[1] == lib.REJECT_STALE_DATA


def test_longest_staleness_means_never() -> None:
    gate = DrivenGate()
    gate.set_limits(stale_after_ns=lib.LIMIT_OFF)
    gate.market()
    gate.plan.now_ns += 10**15
    assert gate.send()[1] == OK


def test_throttle_approves_no_more_than_its_rate_and_depth() -> None:
    gate = DrivenGate(orders_max=4096)
    gate.set_limits(messages_per_second_max=50, entry={"position_lots_max": 10**9}, stale_after_ns=lib.LIMIT_OFF)
    gate.market()
    times = []
    for _ in range(3000):
        gate.plan.now_ns += 1_000_000
        if gate.send(quantity_lots=1)[1] == OK:
            times.append(int(gate.plan.now_ns))
    for index, first in enumerate(times):
        within = sum(1 for time in times[index:] if time - first < 10**9)
        assert within <= 50 + 50
    assert len(times) == 50 + 149  # what the bucket held, and what 2.999 seconds brought


def test_clock_that_goes_back_gives_no_credit(gate: DrivenGate) -> None:
    gate.set_limits(messages_per_second_max=1, stale_after_ns=lib.LIMIT_OFF)
    assert [gate.send()[1] for _ in range(2)] == [OK, lib.REJECT_THROTTLE]
    for _ in range(3):
        gate.plan.now_ns -= 900_000_000
        assert gate.send()[1] == lib.REJECT_THROTTLE
        gate.plan.now_ns += 900_000_000
        assert gate.send()[1] == lib.REJECT_THROTTLE


def test_refused_intent_spends_neither_credit_nor_memory(gate: DrivenGate) -> None:
    gate.set_limits(messages_per_second_max=1)
    cause = {"cause_sequence": 5}
    assert gate.send(quantity_lots=501, **cause)[1] == lib.REJECT_QUANTITY
    assert gate.send(**cause)[1] == OK
    assert gate.send(cause_sequence=6)[1] == lib.REJECT_THROTTLE
    gate.plan.now_ns += 999_999_999
    assert gate.send(cause_sequence=6)[1] == lib.REJECT_THROTTLE
    gate.plan.now_ns += 1
    gate.market()
    assert gate.send(cause_sequence=6)[1] == OK


def test_repetition_is_known_per_strategy_input_and_epoch(gate: DrivenGate) -> None:
    assert gate.send(cause_sequence=9, leg=1)[1] == OK
    assert gate.send(cause_sequence=9, leg=1)[1] == lib.REJECT_DUPLICATE
    assert gate.send(cause_sequence=9, leg=0)[1] == lib.REJECT_DUPLICATE
    assert gate.send(cause_sequence=9, leg=2)[1] == OK
    assert gate.send(cause_sequence=1, cause_input=lib.INPUT_TIMER)[1] == OK
    assert gate.send(cause_sequence=1, cause_input=lib.INPUT_EXEC)[1] == OK
    assert gate.send(cause_sequence=1, strategy=1)[1] == OK
    assert gate.send(cause_sequence=1, strategy_epoch=1)[1] == OK
    assert gate.send(cause_sequence=99, strategy_epoch=0)[1] == lib.REJECT_DUPLICATE


@pytest.mark.parametrize("field", ["tick_value_micros", "price_increment_ticks"])
@pytest.mark.parametrize("value", [0, -1])
def test_instrument_without_money_or_price_step_does_not_trade(field: str, value: int) -> None:
    gate = DrivenGate(**{field: value})
    gate.market()
    assert gate.send()[1] == lib.REJECT_INSTRUMENT


def test_overflow_is_a_breach_under_the_widest_limits() -> None:
    widest = 2**63 - 1
    gate = DrivenGate(tick_value_micros=2**40)
    names = ("position_lots_max", "order_quantity_lots_max", "order_value_micros_max", "collar_ppm_max")
    gate.set_limits(entry=dict.fromkeys(names, widest), gross_value_micros_max=widest)
    gate.market(bid_price_ticks=2**62 - 1, ask_price_ticks=2**62)
    for lots in (2, 2**40, widest):
        assert gate.send(price_ticks=2**62, quantity_lots=lots)[1] == lib.REJECT_ORDER_VALUE
    gate.market(bid_price_ticks=1, ask_price_ticks=2)
    assert gate.send(price_ticks=1, quantity_lots=2**22)[1] == OK
    gate.entries[0].tick_value_micros = 1
    gate.state().open_buy_lots = widest - 5
    assert gate.send(price_ticks=1, quantity_lots=10)[1] == lib.REJECT_POSITION


def test_position_can_be_reduced_while_gross_value_is_over_its_limit(gate: DrivenGate) -> None:
    order_id, _ = gate.send(quantity_lots=100)
    gate.execution(lib.EXEC_FILL, order_id, side=lib.SIDE_BUY, quantity_lots=100, price_ticks=10_000)
    gate.set_limits(gross_value_micros_max=1)
    assert gate.send(quantity_lots=1)[1] == lib.REJECT_GROSS_VALUE
    assert gate.send(side=lib.SIDE_SELL, quantity_lots=100)[1] == OK
    assert gate.send(side=lib.SIDE_SELL, quantity_lots=101)[1] == lib.REJECT_GROSS_VALUE


def test_numbers_of_a_new_venue_session_are_not_repetitions(gate: DrivenGate) -> None:
    buy = {"side": lib.SIDE_BUY, "quantity_lots": 1, "price_ticks": 10_000}
    for session, number in ((7, 1), (7, 2), (7, 2), (7, 1), (8, 1), (8, 1), (8, 2)):
        gate.execution(lib.EXEC_FILL, 999, session=session, session_sequence=number, **buy)
    assert gate.state().position_lots == 4
    assert gate.counter(lib.RISK_DUPLICATE_EXECUTIONS) == 3


def test_replacement_counts_beside_its_target_until_the_venue_has_answered(gate: DrivenGate) -> None:
    first, _ = gate.send(quantity_lots=10)
    second, reason = gate.send(lib.SIGNAL_REPLACE, target_order_id=first, quantity_lots=15)
    assert reason == OK and gate.state().open_buy_lots == 25
    gate.execution(lib.EXEC_FILL, first, side=lib.SIDE_BUY, quantity_lots=4, price_ticks=10_000)
    gate.execution(lib.EXEC_REPLACED, second, target_order_id=first, side=lib.SIDE_BUY, leaves_lots=11)
    assert (gate.state().position_lots, gate.state().open_buy_lots) == (4, 11)
    _, reason = gate.send(lib.SIGNAL_REPLACE, target_order_id=second, quantity_lots=4)
    assert reason == lib.REJECT_QUANTITY  # four are executed already: nothing would be left
    gate.execution(lib.EXEC_FILL, second, side=lib.SIDE_BUY, quantity_lots=11, price_ticks=10_000)
    assert (gate.state().position_lots, gate.state().open_buy_lots, gate.gate.open_orders) == (15, 0, 0)


def test_target_that_fills_before_its_replacement_leaves_no_reservation(gate: DrivenGate) -> None:
    first, _ = gate.send(quantity_lots=10)
    second, _ = gate.send(lib.SIGNAL_REPLACE, target_order_id=first, quantity_lots=15)
    gate.execution(lib.EXEC_FILL, first, side=lib.SIDE_BUY, quantity_lots=10, price_ticks=10_000)
    assert gate.state().open_buy_lots == 15
    gate.execution(lib.EXEC_REPLACE_REJECTED, second, target_order_id=first)
    assert (gate.state().open_buy_lots, gate.gate.open_orders) == (0, 0)


def test_order_given_up_that_turns_out_to_live_counts_again(gate: DrivenGate) -> None:
    order_id, _ = gate.send(quantity_lots=10)
    gate.execution(lib.EXEC_UNKNOWN, order_id)
    assert gate.state().open_buy_lots == 10
    gate.execution(lib.EXEC_CANCELED, order_id, quantity_lots=10)
    gate.execution(lib.EXEC_ACCEPTED, order_id, side=lib.SIDE_BUY, leaves_lots=10)
    assert (gate.state().open_buy_lots, gate.gate.open_orders) == (10, 1)
    assert gate.send(lib.SIGNAL_CANCEL, target_order_id=order_id, quantity_lots=0)[1] == OK


def test_order_dead_on_arrival_reserves_nothing(gate: DrivenGate) -> None:
    order_id, _ = gate.send()
    gate.execution(lib.EXEC_ACCEPTED, order_id, side=lib.SIDE_BUY, leaves_lots=0)
    assert (gate.state().open_buy_lots, gate.gate.open_orders) == (0, 0)


def test_kill_and_halt_refuse_all_but_cancels(gate: DrivenGate) -> None:
    order_id, _ = gate.send()
    for mode, killed, reason in ((0, 1, lib.REJECT_KILLED), (2, 0, lib.REJECT_MODE), (3, 0, lib.REJECT_MODE)):
        gate.plan.mode, gate.plan.killed = mode, killed
        assert gate.send()[1] == reason
        assert gate.send(lib.SIGNAL_REPLACE, target_order_id=order_id, quantity_lots=5)[1] == reason
        assert gate.send(lib.SIGNAL_CANCEL, target_order_id=order_id)[1] == OK


def test_gauges_hold_signed_values(gate: DrivenGate) -> None:
    order_id, _ = gate.send(quantity_lots=10, price_ticks=10_010)
    gate.execution(lib.EXEC_FILL, order_id, side=lib.SIDE_BUY, quantity_lots=10, price_ticks=10_010)
    assert gate.signed(lib.RISK_CASH_MICROS) == -10 * 10_010 * 100
    assert gate.signed(lib.RISK_PNL_MICROS) == -10 * 10 * 100
    gate.execution(lib.EXEC_BROKEN, order_id, side=lib.SIDE_BUY, quantity_lots=10, price_ticks=10_010)
    assert gate.signed(lib.RISK_CASH_MICROS) == gate.signed(lib.RISK_PNL_MICROS) == 0
    assert gate.counter(lib.RISK_POSITION_LOTS) == gate.counter(lib.RISK_BOUGHT_LOTS) == 0


def test_a_corrected_price_moves_cash_and_profit(gate: DrivenGate) -> None:
    order_id, _ = gate.send(quantity_lots=10, price_ticks=10_010)
    gate.execution(lib.EXEC_FILL, order_id, side=lib.SIDE_BUY, quantity_lots=10, price_ticks=10_010)
    change = {"side": lib.SIDE_BUY, "quantity_lots": 10, "price_ticks": 10_000}
    gate.execution(lib.EXEC_CORRECTED, order_id, venue_ref=0, **change)
    assert gate.signed(lib.RISK_CASH_MICROS) == -10 * 10_010 * 100, "a price that nobody knew is not taken back"
    gate.execution(lib.EXEC_CORRECTED, order_id, venue_ref=10_010, **change)
    assert gate.signed(lib.RISK_CASH_MICROS) == -10 * 10_000 * 100
    assert gate.signed(lib.RISK_PNL_MICROS) == 0
    assert gate.counter(lib.RISK_POSITION_LOTS) == gate.counter(lib.RISK_BOUGHT_LOTS) == 10


def test_only_the_latest_kill_can_be_armed() -> None:
    """Arming an epoch that has not come would make the next kill a dead letter."""
    page = ffi.new("control_page *")
    first = lib.control_kill(page)
    assert lib.control_arm(page, first + 1) == 0 and lib.control_killed(page)
    assert lib.control_arm(page, first) == 1 and not lib.control_killed(page)
    second = lib.control_kill(page)
    assert lib.control_arm(page, first) == 0 and lib.control_killed(page)
    assert lib.control_arm(page, second) == 1
