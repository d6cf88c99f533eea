"""Seats against a model: messages about chains of replacements in any order, late, twice or against each other.

The model knows no places, lists or tables: an order is a line of names, of which the last one is present. It says what
the co-process should hold, what is open and how much is left of it, and which of it is still to be cancelled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ffi import lib
from tests.support.seat_driver import SECOND_NS, DrivenSeats

LONG_NS = 300 * SECOND_NS  # longer than any wait for a cancel's answer
WORDS = ["ACCEPTED", "CANCELED", "RESTATED", "CANCEL_REJECTED", "REJECTED", "REPLACE_REJECTED", "REFUSED", "REPLACED"]
LEAVES = st.sampled_from([0, 3, 10])


@dataclass(eq=False)
class Line:
    """One order and all that replaced it."""

    present: int
    token: int
    side: int
    leaves: int
    target: int = 0  # id that the present one was to replace
    alive: bool = True
    replacing: tuple[int, int] | None = None  # id and token
    cancelling: int = 0
    asked: bool = False
    wanted: bool = False

    def close(self) -> None:
        self.alive = self.wanted = False


class Belief:
    """What one seat should believe."""

    def __init__(self, *, cancels_on_cut: bool) -> None:
        self.cancels_on_cut = cancels_on_cut
        self.attached = True
        self.position = 0
        self.line: dict[int, Line] = {}  # by every id that an execution may bear

    def lines(self) -> list[Line]:
        return list(dict.fromkeys(self.line.values()))

    def open(self) -> list[Line]:
        return [line for line in self.lines() if line.alive]

    def fill(self, order_id: int, lots: int, leaves: int) -> None:
        line = self.line[order_id]
        self.position += lots if line.side == lib.SIDE_BUY else -lots
        replacing = line.replacing[0] if line.replacing else 0
        if line.alive and order_id in (line.present, replacing):
            self.left(line, leaves)

    def broken(self, order_id: int, lots: int) -> None:
        self.position -= lots if self.line[order_id].side == lib.SIDE_BUY else -lots

    def left(self, line: Line, leaves: int) -> None:
        line.leaves = leaves
        if leaves == 0:
            line.close()

    def rests(self, line: Line, leaves: int) -> None:
        """The venue holds it, even if it was thought dead."""
        if not line.alive and leaves:
            line.alive = True
            line.wanted = bool(line.cancelling) or (self.cancels_on_cut and not self.attached)
        if line.alive:
            self.left(line, leaves)

    def replaced(self, line: Line, order_id: int, leaves: int) -> bool:
        """True when its successor is to be cancelled at once."""
        if line.replacing and order_id == line.replacing[0]:
            line.target, (line.present, line.token), line.replacing = line.present, line.replacing, None
            self.rests(line, leaves)
        elif order_id == line.present and not line.alive:
            self.rests(line, leaves)
            self.succeeds(line)
        else:
            return False
        line.cancelling = 0
        return line.alive and (line.asked or line.wanted)

    def succeeds(self, line: Line) -> None:
        """A replacement that was thought dead took its order's place all the same, and its order's wishes."""
        before = self.line.get(line.target)
        if before and before is not line and before.present == line.target:
            line.wanted |= line.alive and (before.wanted or bool(before.cancelling))
            before.close()

    def nothing(self, line: Line, order_id: int, *, sent: bool, unknown: bool) -> None:
        """An order, a replacement or a cancel came to nothing."""
        if line.replacing and order_id == line.replacing[0]:
            del self.line[order_id]
            if sent:  # and may yet be heard of, as an order of its own
                self.line[order_id] = Line(*line.replacing, line.side, 0, target=line.present, alive=False)
            line.replacing = None
        elif order_id == line.cancelling:
            line.cancelling, line.asked = 0, False
            if unknown and not sent:
                line.close()
        elif order_id == line.present:
            line.close()


class SeatMachine(RuleBasedStateMachine):
    """One seat, and a venue that says anything of any order that there ever was."""

    @initialize(policy=st.sampled_from([lib.SEAT_CANCEL, lib.SEAT_LEAVE]))
    def make(self, policy: int) -> None:
        self.driven = DrivenSeats(
            policy=policy,
            messages_per_second_max=1_000_000,
            heartbeat_ns=10**18,
            **dict.fromkeys(["signal_capacity", "orders_capacity", "reports_capacity", "intake_capacity"], 512),
        )
        self.client = self.driven.attach()
        self.belief = Belief(cancels_on_cut=policy == lib.SEAT_CANCEL)
        self.told = 0
        self.listen()

    def listen(self) -> list[Any]:
        """The intents since the last call; cancels among them are under way, sent for the present id of a line."""
        events = list(self.driven.signal_ring.events(self.told))
        for event in events:
            self.told += 1
            if event["header"]["type"] == lib.SIGNAL_CANCEL:
                line = self.belief.line[int(event["target_order_id"])]
                assert line.present == event["target_order_id"], "a cancel of what has been replaced"
                line.cancelling = self.told
        self.client.reports()
        return events

    def turn(self, after_ns: int = 1000) -> list[Any]:
        self.client.beat()
        self.driven.turn(after_ns=after_ns)
        return self.listen()

    def some(self, data: st.DataObject) -> Line:
        return data.draw(st.sampled_from(self.belief.open()))

    def any_open(self) -> bool:
        return self.belief.attached and bool(self.belief.open())

    # ---- what the co-process does

    @precondition(lambda self: self.belief.attached and len(self.belief.open()) < 6)
    @rule(side=st.sampled_from([lib.SIDE_BUY, lib.SIDE_SELL]))
    def new(self, side: int) -> None:
        token = self.client.new(side=side)
        assert len(self.turn()) == 1
        self.belief.line[self.told] = Line(self.told, token, side, 10)

    @precondition(any_open)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        line = self.some(data)
        busy = bool(line.replacing or line.cancelling or line.wanted)
        token = self.client.replace(line.token, side=line.side)
        intents = self.turn()
        assert busy != any(event["header"]["type"] == lib.SIGNAL_REPLACE for event in intents)
        if not busy:
            number = self.told - len(intents) + 1
            line.replacing = number, token
            self.belief.line[number] = line

    @precondition(any_open)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        line = self.some(data)
        busy = line.cancelling
        self.client.cancel(line.token)
        self.turn()
        if not busy:
            assert line.cancelling
            line.asked = True

    @precondition(lambda self: self.belief.attached)
    @rule()
    def cancel_all(self) -> None:
        self.client.cancel_all()
        for line in self.belief.open():
            line.wanted = True
        self.turn()

    @rule()
    def leave_or_come(self) -> None:
        if self.belief.attached:
            self.client.send(lib.REQUEST_RAISED)
            for line in self.belief.open():
                line.wanted |= self.belief.cancels_on_cut
            self.turn()
        else:
            self.driven.attach()
            self.listen()
        self.belief.attached = not self.belief.attached

    # ---- what the venue says of any of its orders

    def say(self, kind: str, order_id: int, **fields: int) -> None:
        known = self.driven.execution(getattr(lib, f"EXEC_{kind}"), order_id, **fields)
        assert known == 1, "an execution of a seat's order that would move the built-in strategy's position"

    def room(self, *, left: bool) -> None:
        self.driven.seats.output_limit = int(self.driven.signal.next) + (100 if left else 0)

    @precondition(lambda self: self.belief.line)
    @rule(data=st.data(), lots=st.integers(1, 5), leaves=LEAVES)
    def fill(self, data: st.DataObject, lots: int, leaves: int) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.belief.line)))
        self.say("FILL", order_id, quantity_lots=lots, leaves_lots=leaves)
        self.belief.fill(order_id, lots, leaves)

    @precondition(lambda self: self.belief.line)
    @rule(data=st.data(), lots=st.integers(1, 5))
    def broken(self, data: st.DataObject, lots: int) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.belief.line)))
        self.say("BROKEN", order_id, quantity_lots=lots)
        self.belief.broken(order_id, lots)

    @precondition(lambda self: any(line.replacing for line in self.belief.lines()))
    @rule(data=st.data(), leaves=LEAVES, left=st.booleans())
    def replace_went_through(self, data: st.DataObject, leaves: int, left: bool) -> None:
        under_way = [line.replacing[0] for line in self.belief.lines() if line.replacing]
        self.hear("REPLACED", data.draw(st.sampled_from(under_way)), leaves, left=left)

    @precondition(lambda self: self.belief.line)
    @rule(data=st.data(), kind=st.sampled_from(WORDS), leaves=LEAVES, left=st.booleans())
    def word(self, data: st.DataObject, kind: str, leaves: int, left: bool) -> None:
        self.hear(kind, data.draw(st.sampled_from(sorted(self.belief.line))), leaves, left=left)

    def hear(self, kind: str, order_id: int, leaves: int, *, left: bool) -> None:
        line = self.belief.line[order_id]
        target = line.present if line.replacing and line.replacing[0] == order_id else line.target
        self.room(left=left)
        self.say(kind, order_id, leaves_lots=leaves, target_order_id=target, price_ticks=100)
        if kind == "REPLACED":
            if self.belief.replaced(line, order_id, leaves):
                line.wanted |= not left
                self.listen()
                assert bool(line.cancelling) == left
        elif kind in ("REJECTED", "REPLACE_REJECTED", "REFUSED"):
            self.belief.nothing(line, order_id, sent=kind != "REFUSED", unknown=False)
        elif order_id != line.present:
            pass
        elif kind == "ACCEPTED":
            self.belief.rests(line, leaves)
        elif kind == "CANCEL_REJECTED":
            line.cancelling, line.asked = 0, False
        elif line.alive and (leaves or kind == "CANCELED"):
            self.belief.left(line, leaves)

    @precondition(lambda self: any(line.cancelling for line in self.belief.lines()))
    @rule(data=st.data(), reason=st.sampled_from([lib.REJECT_SESSION_DOWN, lib.REJECT_UNKNOWN_ORDER]))
    def cancel_refused(self, data: st.DataObject, reason: int) -> None:
        line = data.draw(st.sampled_from([line for line in self.belief.lines() if line.cancelling]))
        cancel = line.cancelling
        self.say("REFUSED", cancel, reason=reason)
        self.belief.nothing(line, cancel, sent=False, unknown=reason == lib.REJECT_UNKNOWN_ORDER)

    # ---- what must hold

    @rule()
    def long_wait(self) -> None:
        """What is wanted cancelled is asked for again, whatever was said."""
        wanted = {line.present for line in self.belief.open() if line.wanted}
        intents = self.turn(LONG_NS)
        assert {int(e["target_order_id"]) for e in intents} == wanted

    @invariant()
    def seat_believes_what_the_model_does(self) -> None:
        if not hasattr(self, "driven"):
            return
        seats, found = self.driven.seats, {}
        index = seats.seat[0].open.first
        while index != lib.SEAT_ORDER_NONE:
            order = seats.order[index]
            found[order.token] = (order.order_id, order.leaves_lots, order.wanted, order.asked, order.cancel_id)
            index = order.next
        expected = {
            line.token: (line.present, line.leaves, line.wanted, line.asked, line.cancelling)
            for line in self.belief.open()
        }
        assert found == expected
        assert seats.seat[0].position_lots[0] == self.belief.position
        assert self.driven.cut_reason() == "" or not self.belief.attached


# Shrinking a failure takes minutes on a busy machine: it is done when it is asked for.
PHASES = [phase for phase in Phase if phase is not Phase.shrink or "HOTPATH_SHRINK" in os.environ]
SeatMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None, phases=PHASES)
TestSeat = SeatMachine.TestCase


def test_model_would_have_caught_a_late_fill_that_closes_a_replacement() -> None:
    """The model's own check: a fill by a name that was given up counts for the position alone."""
    belief = Belief(cancels_on_cut=True)
    line = belief.line[1] = belief.line[2] = Line(1, 1, lib.SIDE_BUY, 10, replacing=(2, 2))
    belief.replaced(line, 2, 10)
    belief.fill(1, 4, 0)
    assert (line.alive, line.leaves, belief.position) == (True, 10, 4)
