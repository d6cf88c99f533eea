"""The risk stage: refusals find their way back, limits change hands whole, turns say what they saw."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ffi import ffi, lib
from hotpath import rings, segments
from tests.support.risk_driver import DrivenRisk


@pytest.fixture
def risk() -> DrivenRisk:
    driven = DrivenRisk()
    driven.quote()
    driven.turn()
    return driven


def reasons(risk: DrivenRisk) -> list[tuple[int, int]]:
    """(order id, reason) of all refusals."""
    return [(int(event["order_id"]), int(event["reason"])) for event in risk.rings["reject"].events()]


def test_approved_intent_becomes_a_command_with_its_digest(risk: DrivenRisk) -> None:
    order_id = risk.intent(quantity_lots=7, strategy=3, leg=2)
    assert risk.turn() == 1
    (command,) = risk.rings["cmd"].events()
    assert (command["order_id"], command["quantity_lots"], command["limits_version"]) == (order_id, 7, 1)
    assert (command["id"]["strategy"], command["id"]["leg"]) == (3, 2)
    image = ffi.from_buffer("cmd_event *", bytearray(command.tobytes()))
    assert lib.digest_command(image) == command["digest"]


def test_refusal_is_told_with_its_reason_and_counted(risk: DrivenRisk) -> None:
    large = risk.intent(quantity_lots=501)
    far = risk.intent(price_ticks=20_000)
    risk.turn()
    assert reasons(risk) == [(large, lib.REJECT_QUANTITY), (far, lib.REJECT_COLLAR)]
    assert risk.counter(lib.RISK_REJECTS + lib.REJECT_COLLAR) == 1
    assert risk.counter(lib.RISK_REJECTED) == risk.counter(lib.RISK_SIGNALS) == 2
    assert risk.rings["cmd"].published == 0


def test_full_cmd_ring_refuses_and_reserves_nothing() -> None:
    risk = DrivenRisk(cmd_capacity=2)
    risk.quote()
    orders = [risk.intent() for _ in range(4)]
    risk.turn()
    assert reasons(risk) == [(order_id, lib.REJECT_RING_FULL) for order_id in orders[2:]]
    assert risk.counter(lib.RISK_RING_FULL) == 2
    assert risk.risk.gate.instrument[0].open_buy_lots == 20
    risk.rings["cmd"].release("gateway")
    risk.intent()
    risk.turn()
    assert risk.rings["cmd"].published == 3


def test_slots_of_the_cmd_ring_are_kept_for_cancels() -> None:
    risk = DrivenRisk(cmd_capacity=8)
    risk.risk.cancels_kept = 2
    risk.quote()
    orders = [risk.intent() for _ in range(7)]
    cancels = [risk.intent(type=lib.SIGNAL_CANCEL, target_order_id=order_id) for order_id in orders[:3]]
    risk.turn()
    assert reasons(risk) == [(orders[6], lib.REJECT_RING_FULL), (cancels[2], lib.REJECT_RING_FULL)]
    assert [int(command["order_id"]) for command in risk.rings["cmd"].events()] == [*orders[:6], *cancels[:2]]


def test_intent_waits_until_its_refusal_would_have_a_place() -> None:
    risk = DrivenRisk(reject_capacity=2)
    risk.quote()
    for _ in range(5):
        risk.intent(quantity_lots=501)
    risk.turn()
    assert risk.counter(lib.RISK_SIGNALS) == 2
    assert risk.turn() == 0
    for _ in range(2):
        risk.rings["reject"].release("signal")
        risk.turn()
    assert risk.counter(lib.RISK_SIGNALS) == risk.rings["reject"].published == 5


def test_new_limits_come_into_force_even_after_an_idle_turn(risk: DrivenRisk) -> None:
    risk.limits.publish(entry={"order_quantity_lots_max": 5})
    assert risk.turn() == 0
    order_id = risk.intent(quantity_lots=6)
    risk.turn()
    assert reasons(risk) == [(order_id, lib.REJECT_QUANTITY)]
    assert [int(record["limits_version"]) for record in risk.context.records.events()] == [1, 2]


def test_half_written_limits_are_refused_and_counted_once(risk: DrivenRisk) -> None:
    risk.limits.write(entry={"order_quantity_lots_max": 5})
    header, entries = risk.limits.copy(risk.limits.page.generation + 1)
    entries[1].collar_ppm_max += 1
    risk.limits.switch()
    risk.intent(quantity_lots=6)
    for _ in range(3):
        risk.turn()
    assert risk.counter(lib.RISK_LIMITS_REFUSED) == 1 and risk.counter(lib.RISK_APPROVED) == 1
    assert header.version == 2 and risk.risk.gate.limits.version == 1
    risk.limits.publish(version=3, entry={"order_quantity_lots_max": 5})
    risk.intent(quantity_lots=6)
    risk.turn()
    assert risk.counter(lib.RISK_APPROVED) == 1 and risk.risk.gate.limits.version == 3


def test_limits_that_claim_more_entries_than_there_are_are_refused(risk: DrivenRisk) -> None:
    risk.limits.write()
    risk.limits.copy(risk.limits.page.generation + 1)[0].count = 2**60
    risk.limits.switch()
    risk.turn()
    assert risk.counter(lib.RISK_LIMITS_REFUSED) == 1


def test_other_limits_under_the_same_version_are_refused(risk: DrivenRisk) -> None:
    risk.limits.publish(version=1, entry={"order_quantity_lots_max": 10**6})
    risk.intent(quantity_lots=501)
    risk.turn()
    assert risk.counter(lib.RISK_LIMITS_REFUSED) == 1 and len(reasons(risk)) == 1


def test_start_without_whole_limits_fails() -> None:
    risk = DrivenRisk()
    risk.limits.copy(risk.limits.page.generation)[0].firm.open_orders_max += 1
    assert risk.start() == 0


def test_cause_of_an_intent_is_seen_before_it_whatever_the_batch() -> None:
    """One fresh price among many events of other kinds: the intent must not be decided without it."""
    risk = DrivenRisk(batch_max=4)
    for _ in range(200):
        risk.quote(instrument=1)
    risk.quote(instrument=0)
    risk.intent()
    risk.turn()
    assert risk.counter(lib.RISK_APPROVED) == 1


def test_plan_that_asks_for_absent_events_is_an_error_and_decides_nothing(risk: DrivenRisk) -> None:
    risk.intent()
    lib.risk_plan(risk.risk, risk.plan)
    risk.plan.input_sequence[lib.RISK_INPUT_NORM] += 1
    assert lib.risk_turn(risk.risk, risk.plan) == 0
    assert risk.context.page.error == lib.STAGE_ERROR_SEQUENCE
    assert risk.counter(lib.RISK_SIGNALS) == 0


def test_hole_in_the_turn_records_halts_in_the_stages_own_name(risk: DrivenRisk) -> None:
    for _ in range(risk.context.records.capacity):
        risk.quote()
        risk.turn()
        for name in ("norm",):
            risk.rings[name].release("risk")
    assert risk.context.control.cause[lib.CAUSE_RECORD_RISK] == lib.MODE_HALTED
    assert risk.context.control.cause[lib.CAUSE_JOURNAL] == lib.MODE_NORMAL
    order_id = risk.intent()
    risk.turn()
    assert reasons(risk) == [(order_id, lib.REJECT_MODE)]


def test_negative_hop_is_counted_never_wrapped(risk: DrivenRisk) -> None:
    risk.intent(ingress_time_ns=1000, feed_ns=500, publish_time_ns=1400)
    risk.turn()
    (command,) = risk.rings["cmd"].events()
    assert command["signal_ns"] == 0 and risk.counter(lib.RISK_NEGATIVE_HOPS) == 1


def test_stage_runs_on_segments_of_shared_memory() -> None:
    """The same stage, its rings made as the supervisor makes them."""
    engine = f"risktest{os.getpid()}"
    made: list[Any] = []
    readers = {"norm": "risk", "exec": "risk", "signal": "risk", "cmd": "gateway", "reject": "signal"}
    try:
        risk = DrivenRisk()
        for name, reader in readers.items():
            pair = rings.create_ring(engine, name, capacity=256, readers=[reader], run_epoch=1)
            made += pair
            risk.rings[name].memory, risk.rings[name].cursors = pair[0], {reader: pair[1]}  # type: ignore[assignment, dict-item]
            risk.rings[name].capacity = 256
        risk.attach()
        risk.pens = {name: risk.rings[name].writer() for name in ("norm", "exec", "signal")}
        risk.quote()
        good, bad = risk.intent(), risk.intent(quantity_lots=0)
        risk.turn()
        commands = risk.rings["cmd"].events()
        assert [int(event["order_id"]) for event in commands] == [good] and reasons(risk) == [
            (bad, lib.REJECT_QUANTITY)
        ]
        del risk, commands
    finally:
        made.clear()
        segments.unlink_all(segments.list_segments(engine))
