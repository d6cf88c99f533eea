"""Turn records replay: the same plans over the same inputs give the same commands, refusals and digest."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import ffi, lib
from tests.support.memory import without_times
from tests.support.risk_driver import DrivenRisk


def something_happens(risk: DrivenRisk, rng: random.Random) -> None:
    """One thing of the world: an input event, a limit, a kill, time, or a reader that catches up."""
    lockstep, control = risk.context.lockstep, risk.context.control
    orders = risk.rings["signal"].published
    match rng.randrange(12):
        case 0 | 1:
            kind = rng.choice([lib.NORM_ADD, lib.NORM_TRADE])
            risk.quote(instrument=rng.randrange(2), bid_price_ticks=rng.randrange(9_900, 10_000), type=kind)
        case 2:
            risk.quote(instrument=lib.NO_INSTRUMENT, type=rng.choice([lib.NORM_GAP, lib.NORM_SYSTEM]))
        case 3 | 4 | 5 | 6:
            kind = rng.choice([lib.SIGNAL_NEW, lib.SIGNAL_NEW, lib.SIGNAL_NEW, lib.SIGNAL_REPLACE, lib.SIGNAL_CANCEL])
            lots = rng.choice([1, 10, 20, 600])
            target, side = rng.randrange(orders + 1), rng.randrange(2)
            risk.intent(type=kind, instrument=rng.randrange(2), quantity_lots=lots, side=side, target_order_id=target)
        case 7 | 8:
            kinds = [lib.EXEC_ACCEPTED, lib.EXEC_FILL, lib.EXEC_CANCELED, lib.EXEC_REJECTED]
            lots, leaves = rng.randrange(1, 12), rng.choice([0, 3])
            risk.report(rng.choice(kinds), rng.randrange(orders + 1), quantity_lots=lots, leaves_lots=leaves)
        case 9:
            lockstep.now_ns += rng.choice([1, 10**6, 10**9])
        case 10:
            if rng.random() < 0.5:
                lib.control_kill(control)
            lib.control_arm(control, control.kill_epoch)
            control.cause[lib.CAUSE_OPERATOR] = rng.choice([0, 0, 0, 1])
        case _:
            risk.rings["cmd"].release("gateway")
            risk.rings["reject"].release("signal")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), batch_max=st.sampled_from([1, 3, 64]))
def test_replayed_turns_give_the_same_commands(seed: int, batch_max: int) -> None:
    rng = random.Random(seed)
    live = DrivenRisk(cmd_capacity=1024, reject_capacity=1024, batch_max=batch_max)
    live.limits.publish(entry={"position_lots_max": 60}, messages_per_second_max=20)
    live.turn()
    commands: list[bytes] = []
    for _ in range(200):
        something_happens(live, rng)
        if rng.random() < 0.4:
            live.turn()
    while live.turn():
        pass
    commands = without_times(live.rings["cmd"].events())
    replay = DrivenRisk(cmd_capacity=1024, reject_capacity=1024)
    replay.limits.publish(entry={"position_lots_max": 60}, messages_per_second_max=20)
    for name in ("norm", "exec", "signal"):
        size = live.rings[name].memory.size
        ffi.memmove(replay.rings[name].memory.buffer, live.rings[name].memory.buffer, size)
    for plan in live.context.plans():
        assert lib.risk_turn(replay.risk, plan) == 1
    assert replay.context.page.error == lib.STAGE_ERROR_NONE
    assert without_times(replay.rings["cmd"].events()) == commands
    assert without_times(replay.rings["reject"].events()) == without_times(live.rings["reject"].events())
    assert replay.risk.stage.digest == live.risk.stage.digest
    records, again = live.context.records.events(), replay.context.records.events()
    assert without_times(records) == without_times(again)
