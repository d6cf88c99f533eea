"""What each check of the gate had before it. That it agrees with the gate is held by every test that drives one."""

from __future__ import annotations

from typing import Any

from ffi import lib
from tests.support.gate_driver import DrivenGate
from tests.support.memory import fill_event
from tests.support.stages import INSTRUMENT_LIMITS


def rows_of(gate: DrivenGate, **fields: Any) -> dict[int, list[Any]]:
    """The rows of an intent that is not sent, by reason."""
    intent = {
        "type": lib.SIGNAL_NEW,
        "instrument": 0,
        "side": lib.SIDE_BUY,
        "price_ticks": 10_000,
        "quantity_lots": 10,
        "cause_input": lib.INPUT_NORM,
        "cause_sequence": 1000,
    } | fields
    fill_event(gate.intent, intent)
    found: dict[int, list[Any]] = {}
    for row in gate.measure(999):
        found.setdefault(int(row.reason), []).append(row)
    return found


def test_measures_say_value_and_threshold_of_each_limit() -> None:
    gate = DrivenGate()
    gate.market()
    gate.send(quantity_lots=7)
    rows = rows_of(gate)
    most = INSTRUMENT_LIMITS["order_quantity_lots_max"]
    assert [(row.value, row.threshold) for row in rows[lib.REJECT_QUANTITY]] == [(10, 0), (10, most)]
    assert (rows[lib.REJECT_POSITION][0].value, rows[lib.REJECT_POSITION][0].unit) == (17, lib.UNIT_LOTS)
    value = 10 * 10_000 * gate.entries[0].tick_value_micros
    assert rows[lib.REJECT_ORDER_VALUE][0].value == value
    assert rows[lib.REJECT_OPEN_ORDERS][0].value == 1
    assert rows[lib.REJECT_COLLAR][0].value == 0, "the price is the reference's"
    asked = [row for reason, each in rows.items() if reason != lib.REJECT_NOT_TRADING for row in each]
    assert all(row.outcome == lib.OUTCOME_PASSES for row in asked)


def test_measures_go_on_behind_the_check_that_refuses() -> None:
    gate = DrivenGate()
    gate.market()
    gate.plan.killed = 1
    rows = rows_of(gate, price_ticks=20_000)
    assert rows[lib.REJECT_KILLED][0].outcome == lib.OUTCOME_REFUSES
    assert rows[lib.REJECT_COLLAR][0].outcome == lib.OUTCOME_REFUSES
    assert rows[lib.REJECT_COLLAR][0].value == 1_000_000
    assert rows[lib.REJECT_POSITION][0].outcome == lib.OUTCOME_PASSES


def test_measures_change_nothing() -> None:
    gate = DrivenGate()
    gate.market()
    first = [(row.value, row.threshold) for rows in rows_of(gate).values() for row in rows]
    again = [(row.value, row.threshold) for rows in rows_of(gate).values() for row in rows]
    assert first == again and gate.counter(lib.RISK_OPEN_ORDERS) == 0


def test_order_that_lowers_the_worst_case_is_not_asked_for_gross_value() -> None:
    gate = DrivenGate()
    gate.market()
    buy, _ = gate.send(quantity_lots=10)
    gate.execution(lib.EXEC_FILL, buy, quantity_lots=10, side=lib.SIDE_BUY, price_ticks=10_000, session_sequence=1)
    rows = rows_of(gate, side=lib.SIDE_SELL, quantity_lots=10)
    assert rows[lib.REJECT_GROSS_VALUE][0].outcome == lib.OUTCOME_NOT_ASKED


def test_cancel_is_asked_for_its_order_alone() -> None:
    gate = DrivenGate()
    gate.market()
    order, _ = gate.send()
    rows = rows_of(gate, type=lib.SIGNAL_CANCEL, target_order_id=order, quantity_lots=0)
    assert set(rows) == {lib.REJECT_UNKNOWN_ORDER, lib.REJECT_DUPLICATE}
    assert rows[lib.REJECT_UNKNOWN_ORDER][0].outcome == lib.OUTCOME_PASSES


def test_trading_state_that_need_not_be_known_is_not_asked() -> None:
    gate = DrivenGate()
    gate.market()
    assert rows_of(gate)[lib.REJECT_NOT_TRADING][0].outcome == lib.OUTCOME_NOT_ASKED
    gate.gate.require_trading_state = 1
    assert rows_of(gate)[lib.REJECT_NOT_TRADING][0].outcome == lib.OUTCOME_REFUSES
