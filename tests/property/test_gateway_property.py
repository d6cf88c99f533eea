"""Any stream of commands, kills, modes and cuts: at most one frame for a command, one fate for each, and a
replay from the turn records stores the same frames."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from tests.gateway_driver import Gateway, Risk, World, make_config, run_until
from tests.scripted_venue import ScriptedVenue

# Common things often, so that a stream has orders to replace, to fill and to lose.
WEIGHTS = {
    "new": 8,
    "odd new": 1,
    "replace": 3,
    "cancel": 2,
    "again": 1,
    "corrupt": 1,
    "kill": 1,
    "kill in the turn": 1,
    "arm": 3,
    "mode": 1,
    "fill": 6,
    "cut": 1,
    "lose": 1,
    "restart": 1,
    "steps": 3,
}
operations = st.lists(
    st.tuples(st.sampled_from([what for what, weight in WEIGHTS.items() for _ in range(weight)]), st.integers(0, 100)),
    min_size=25,
    max_size=70,
)


class Play:
    """One stream of operations played against the venue."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.venue = ScriptedVenue()
        self.risk = Risk(self.world)
        self.config = make_config(session_port=self.venue.port)
        self.gateway = Gateway(self.world, self.config)
        self.commands: list[Any] = []  # as published, repeats included
        run_until(lambda: self.gateway.state == lib.SESSION_UP, self.step)

    def step(self) -> None:
        self.gateway.turn()
        self.venue.pump()

    def give(self, command: Any) -> None:
        self.risk.publish(command)
        self.commands.append(ffi.new("cmd_event *", command[0]))

    def some_order(self, number: int) -> int:
        """One of the last orders given, or one that never was."""
        return max(0, self.risk.next_order_id - 1 - number % 6)

    def do(self, what: str, number: int) -> None:
        control = self.world.control
        if what == "new":
            self.give(self.risk.command(quantity=number + 1, side=number % 2))
        elif what == "odd new":  # at the edge of what the wire can say
            self.give(self.risk.command(quantity=999_950 + number, price=number - 50, instrument=number % 4))
        elif what == "replace":
            self.give(self.risk.command(lib.CMD_REPLACE, target_order_id=self.some_order(number), quantity=50 + number))
        elif what == "cancel":
            self.give(self.risk.command(lib.CMD_CANCEL, target_order_id=self.some_order(number), quantity=0, price=0))
        elif what == "again" and self.commands:
            self.give(self.commands[number % len(self.commands)])
        elif what == "corrupt":
            command = self.risk.command()
            command.digest ^= 1 << (number % 64)
            self.give(command)
        elif what == "kill":
            lib.control_kill(control)
        elif what == "kill in the turn":
            lib.gateway_plan(self.gateway.c, self.gateway.plan)
            self.gateway.plan.now_ns = self.gateway.now_ns
            lib.control_kill(control)
            lib.gateway_turn(self.gateway.c, self.gateway.plan)
        elif what == "arm":
            lib.control_arm(control, control.kill_epoch)
        elif what == "mode":
            lib.control_cause(control, lib.CAUSE_OPERATOR, (0, 0, 1, 2, 3)[number % 5])
        elif what == "fill" and self.venue.live:
            ref = sorted(self.venue.live)[number % len(self.venue.live)]
            self.venue.fill(ref, 1 + number % self.venue.live[ref].leaves)
        elif what == "cut":
            self.venue.cut_after = number
        elif what == "lose":
            self.venue.drop_inbound_after = number % 3
        elif what == "restart":
            self.gateway.die()
            self.gateway = Gateway(self.world, self.config)
        for _ in range(number if what == "steps" else 3):
            self.step()

    def finish(self) -> None:
        """Let the session come back and everything be said."""
        self.venue.cut_after = self.venue.drop_inbound_after = None
        run_until(lambda: self.gateway.state == lib.SESSION_UP, self.step)
        for _ in range(20):
            self.step()
        self.risk.read()

    def close(self) -> None:
        self.gateway.die()
        self.venue.close()


def told(play: Play) -> list[int]:
    return [int(event["session_sequence"]) for event in play.risk.seen if event["session_sequence"]]


def check_commands(play: Play) -> None:
    records = play.world.intents()
    ids = [record["id"].tobytes() for record in records]
    assert len(ids) == len(set(ids)), "one intent for a command_id"
    orders = [record for record in records if record["type"] != lib.CMD_CANCEL]
    wire = play.venue.new_orders()
    assert max(Counter(order.user_ref for order in wire).values(), default=1) == 1
    frames = {int(record["user_ref"]): record for record in orders}
    for order in wire:
        record = frames[order.user_ref]
        assert int(order.client_order_id) == int(record["order_id"])
        assert (order.quantity, order.price) == (int(record["quantity_lots"]), int(record["price_ticks"]))
    stored = {int(record["order_id"]) for record in records}
    refused = {int(event["order_id"]) for event in play.risk.of_type(lib.EXEC_REFUSED)}
    asked = {int(command.order_id) for command in play.commands}
    assert stored | (refused - {0}) == asked, "each command has a fate"
    # A copy given again after its refusal may still pass; a stored order is never told to be refused.
    assert not {int(record["order_id"]) for record in orders} & refused or any_copy(play)


def any_copy(play: Play) -> bool:
    counts = Counter(int(command.order_id) for command in play.commands)
    return max(counts.values()) > 1


def check_reports(play: Play) -> None:
    spoken = [i + 1 for i, message in enumerate(play.venue.stream) if message[0:1] not in b"QS"]
    assert told(play) == spoken, "each report once, in order"
    ended = {
        int(event["order_id"])
        for event in play.risk.seen
        if event["header"]["type"] in (lib.EXEC_CANCELED, lib.EXEC_FILL, lib.EXEC_REPLACE_REJECTED)
        and event["leaves_lots"] == 0
    } | {int(event["target_order_id"]) for event in play.risk.of_type(lib.EXEC_REPLACED)}
    live = {int(frame["order_id"]) for frame in play.world.intents() if int(frame["user_ref"]) in play.venue.live}
    assert not ended & live, "an order said to be dead is dead at the venue"
    assert play.world.gateway_mode == lib.MODE_NORMAL


def replay_frames(play: Play, folder: Path) -> list[bytes]:
    """The frames that a replaying gateway stores, given the same commands and the recorded turns."""
    world = World(folder)
    risk = Risk(world)
    for command in play.commands:
        risk.publish(command)
    gateway = Gateway(world, make_config(replay=1))
    for turn in recorded_turns(play.world):
        plan = gateway.plan
        plan.now_ns = int(turn["header"]["origin_time_ns"])
        for field in ("kill_epoch", "limits_version", "mode", "killed"):
            setattr(plan, field, int(turn[field]))
        for i in range(lib.INPUTS_MAX):
            plan.input_sequence[i] = int(turn["input_sequence"][i])
        lib.gateway_turn(gateway.c, plan)
    assert int(gateway.c.cmd.next) == len(play.commands)
    assert int(gateway.c.exec.next) == 0, "a replay publishes nothing"
    frames = gateway.file.frames()
    gateway.die()
    return frames


def recorded_turns(world: World) -> Any:
    reader = ffi.new("ring_reader *")
    assert lib.ring_reader_attach(reader, world.ctl, world.ctl_cursor, lib.CURSOR_GATING) == lib.RING_OK
    target = np.zeros(1024, dtype_of("turn_event"))
    return target[: lib.ring_copy(reader, ffi.from_buffer(target), 1024, ffi.new("uint64_t *"))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations)
def test_any_stream_of_commands(stream: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder) / "live")
        try:
            for what, number in stream:
                play.do(what, number)
            play.finish()
            check_commands(play)
            check_reports(play)
            assert replay_frames(play, Path(folder) / "replay") == play.gateway.file.frames()
        finally:
            play.close()
