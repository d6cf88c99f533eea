"""The trading day's roll in the risk gate: what begins anew, and what must not."""

from __future__ import annotations

from ffi import lib
from tests.support.gate_driver import DrivenGate
from tests.support.risk_driver import DrivenRisk


def test_profit_counts_from_the_roll_and_positions_stay() -> None:
    gate = DrivenGate()
    gate.market()
    order, reason = gate.send()
    resting, other = gate.send()
    assert (reason, other) == (lib.REJECT_NONE, lib.REJECT_NONE)
    gate.execution(lib.EXEC_FILL, order, price_ticks=9_900, quantity_lots=10, side=lib.SIDE_BUY)
    assert gate.signed(lib.RISK_PNL_MICROS) > 0
    lib.gate_roll(gate.gate)
    assert gate.signed(lib.RISK_PNL_MICROS) == 0
    assert gate.counter(lib.RISK_BOUGHT_LOTS) == 0 and gate.counter(lib.RISK_ROLLS) == 1
    assert gate.state().position_lots == 10 and gate.state().open_buy_lots == 10, f"order {resting} is still open"


def test_stage_rolls_once_when_its_time_has_come() -> None:
    risk = DrivenRisk()
    risk.risk.roll_time_ns[0] = 1
    for _ in range(3):
        risk.quote()
        risk.turn()
    assert risk.counter(lib.RISK_ROLLS) == 1
    assert risk.risk.roll_time_ns[0] == 0
