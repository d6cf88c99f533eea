"""The order state machine of docs/orders.md: whatever races between orders, cancels, replacements and fills,
position and worst case are the venue's own; and whatever order the venue's messages come in, no execution is
lost or counted twice, and what contradicts itself stops new orders."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffi import ffi, lib
from tests.gateway_driver import Gateway, Risk, World, make_config, run_until
from tests.scripted_venue import (
    Held,
    ScriptedVenue,
    WireOrder,
    accepted,
    broken,
    canceled,
    executed,
    rejected,
    replaced,
)
from tests.support.gate_driver import DrivenGate

PRICE = 10_000


class SlowVenue(ScriptedVenue):
    """Decides when it is told to, one message at a time, and its answers travel for as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox: list[WireOrder] = []
        self.travelling: list[bytes] = []
        self.filled: dict[int, int] = {}  # by user_ref, of the whole chain of replacements
        self.position = 0

    def _order(self, order: WireOrder) -> None:
        self.wire.append(order)
        if order.type == "Q":
            self.stream.append(b"Q" + bytes(8) + self.next_ref.to_bytes(4, "big"))
        else:
            self.inbox.append(order)

    def decide(self) -> None:
        """Take one message as a venue does: in order, each reference once, nothing for what is dead."""
        if not self.inbox:
            return
        order = self.inbox.pop(0)
        if order.type == "X":
            held = self.live.pop(order.user_ref, None)
            if held is not None:
                self.travelling.append(canceled(order.user_ref, held.leaves))
            return
        self.next_ref = order.user_ref + 1
        if order.type == "O" and order.price % 7 == 0:
            self.travelling.append(rejected(order.user_ref, 0x10))
        elif order.type == "O":
            self.live[order.user_ref] = Held(order, order.quantity)
            self.filled[order.user_ref] = 0
            self.travelling.append(accepted(order))
        else:
            self._replace(order)

    def _replace(self, order: WireOrder) -> None:
        held = self.live.pop(order.previous_ref, None)
        if held is None:
            self.travelling.append(rejected(order.user_ref, 0x10))
            return
        filled = self.filled[order.previous_ref]
        leaves = order.quantity - filled
        self.filled[order.user_ref] = filled
        original = WireOrder("O", order.user_ref, 0, held.order.side, order.quantity, held.order.symbol, order.price)
        if leaves > 0:
            self.live[order.user_ref] = Held(original, leaves)
        self.travelling.append(replaced(order, original, quantity=max(leaves, 0), state="L" if leaves > 0 else "D"))

    def execute(self, number: int) -> None:
        """Fill a part of some live order, or all of it."""
        if not self.live:
            return
        ref = sorted(self.live)[number % len(self.live)]
        held = self.live[ref]
        quantity = 1 + number % held.leaves
        held.leaves -= quantity
        self.filled[ref] += quantity
        self.position += quantity if held.order.side == "B" else -quantity
        if not held.leaves:
            del self.live[ref]
        self.travelling.append(executed(ref, quantity, PRICE, self.next_match))
        self.next_match += 1

    def deliver(self, count: int = 1) -> None:
        self.stream += self.travelling[:count]
        del self.travelling[:count]

    def leaves(self, side: str) -> int:
        return sum(held.leaves for held in self.live.values() if held.order.side == side)


class OrderPath:
    """Gate and gateway against the slow venue: what one says of the venue's orders, the other reserves."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.venue = SlowVenue()
        self.risk = Risk(self.world)
        self.gateway = Gateway(self.world, make_config(session_port=self.venue.port))
        self.gate = DrivenGate(count=3)
        self.gate.set_limits(entry={"position_lots_max": 10**9, "order_quantity_lots_max": 10**6})
        self.gate.market()
        self.orders: list[tuple[int, int, int]] = []  # order id, side, quantity
        run_until(lambda: self.gateway.state == lib.SESSION_UP, self.step)

    def step(self) -> None:
        self.gateway.turn()
        self.venue.pump()
        for event in self.risk.read():
            copy = ffi.new("exec_event *")
            ffi.memmove(copy, event.tobytes(), ffi.sizeof("exec_event"))
            lib.gate_execution(self.gate.gate, copy)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def send(self, kind: int, **fields: Any) -> int | None:
        """Through the gate and, when it approves, to the gateway."""
        order_id, reason = self.gate.send(kind, **fields)
        if reason != lib.REJECT_NONE:
            return None
        command = ffi.new("cmd_event *", self.gate.command[0])
        command.kill_epoch = int(self.world.control.kill_epoch)
        command.digest = lib.digest_command(command)
        self.risk.publish(command)
        return order_id

    def new(self, number: int) -> None:
        side, quantity = number % 2, 1 + number % 40
        order_id = self.send(lib.SIGNAL_NEW, side=side, quantity_lots=quantity, price_ticks=PRICE - number % 9)
        if order_id:
            self.orders.append((order_id, side, quantity))

    def replace(self, number: int) -> None:
        if not self.orders:
            return
        target, side, quantity = self.orders[number % len(self.orders)]
        wanted = max(1, quantity + number % 31 - 15)
        order_id = self.send(
            lib.SIGNAL_REPLACE, side=side, quantity_lots=wanted, target_order_id=target, price_ticks=PRICE - 1
        )
        if order_id:
            self.orders.append((order_id, side, wanted))

    def cancel(self, number: int) -> None:
        if not self.orders:
            return
        target, side, _ = self.orders[number % len(self.orders)]
        self.send(lib.SIGNAL_CANCEL, side=side, quantity_lots=0, target_order_id=target)

    @property
    def state(self) -> Any:
        return self.gate.state(0)

    def check_worst_case(self) -> None:
        """However far its messages have travelled, the venue cannot reach a position that is not reserved."""
        venue = self.venue
        assert venue.position + venue.leaves("B") <= self.state.position_lots + self.state.open_buy_lots
        assert venue.position - venue.leaves("S") >= self.state.position_lots - self.state.open_sell_lots

    def check_settled(self) -> None:
        """With every message delivered the two agree to the lot."""
        venue = self.venue
        assert self.state.position_lots == venue.position
        assert (self.state.open_buy_lots, self.state.open_sell_lots) == (venue.leaves("B"), venue.leaves("S"))
        assert self.gate.gate.open_orders == len(venue.live) == self.world.counter("OPEN_ORDERS")

    def close(self) -> None:
        self.gateway.die()
        self.venue.close()


WEIGHTS = {"new": 3, "replace": 3, "cancel": 2, "decide": 5, "fill": 4, "deliver": 4}
RACES = st.lists(
    st.tuples(st.sampled_from([what for what, weight in WEIGHTS.items() for _ in range(weight)]), st.integers(0, 1000)),
    min_size=20,
    max_size=60,
)


@given(races=RACES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_races_between_requests_and_fills_never_leave_anything_unreserved(races: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = OrderPath(Path(folder))
        actions = {"new": path.new, "replace": path.replace, "cancel": path.cancel, "fill": path.venue.execute}
        for what, number in races:
            if what == "decide":
                path.venue.decide()
            elif what == "deliver":
                path.venue.deliver(1 + number % 3)
            else:
                actions[what](number)
            path.steps(2)
            path.check_worst_case()
        while path.venue.inbox or path.venue.travelling:
            path.venue.decide()
            path.venue.deliver(100)
            path.steps(2)
        path.steps(4)
        path.check_settled()
        assert path.world.gateway_mode == lib.MODE_NORMAL, "an honest venue is believed"
        path.close()


STORIES = st.lists(
    st.tuples(st.sampled_from(["replace", "cancel", "fill", "fill", "fill", "break"]), st.integers(0, 1000)),
    min_size=1,
    max_size=8,
)


def tell(path: OrderPath, story: list[tuple[str, int]]) -> list[bytes]:
    """What an honest venue would say of two orders, in its own order."""
    venue = path.venue
    path.new(20)
    path.new(33)
    fills: list[tuple[int, int, int]] = []  # user_ref, match, signed quantity
    path.steps(2)
    venue.decide()
    venue.decide()
    for what, number in story:
        if what == "break" and fills:
            ref, match, signed = fills.pop(number % len(fills))
            venue.travelling.append(broken(ref, match))
            venue.position -= signed
        elif what == "fill" and venue.live:
            before, match = venue.position, venue.next_match
            ref = sorted(venue.live)[number % len(venue.live)]
            venue.execute(number)
            fills.append((ref, match, venue.position - before))
        elif what in ("replace", "cancel"):
            getattr(path, what)(number)
            path.steps(2)
            venue.decide()
    said, venue.travelling = venue.travelling, []
    return said


@given(
    story=STORIES,
    moves=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
    repeats=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=2),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_messages_in_any_order_and_twice_count_each_execution_once(
    story: list[tuple[str, int]], moves: list[tuple[int, int]], repeats: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = OrderPath(Path(folder))
        said = tell(path, story)
        for source, target in moves:
            said.insert(target % len(said), said.pop(source % len(said)))
        for source, target in repeats:
            said.insert(target % (len(said) + 1), said[source % len(said)])
        path.venue.stream += said
        path.steps(6)
        assert path.state.position_lots == path.venue.position
        if path.world.gateway_mode == lib.MODE_NORMAL:  # nothing contradicted itself: then all of it is known
            path.check_settled()
        path.close()
