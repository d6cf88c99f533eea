"""Seats against a model: any stream of requests and executions leaves orders, positions and reports as told, and a
second kernel that is given the same intake and executions, but has no client, publishes the same intents."""

from __future__ import annotations

import random

import pytest

from ffi import ffi, lib
from tests.support.memory import without_times
from tests.support.seat_driver import COUNT, MILLISECOND_NS, Client, DrivenSeats

SEATS = 2
BUY = lib.SIDE_BUY


class Venue:
    """A venue that answers intents in order, now and then refusing, filling, and telling twice."""

    def __init__(self, driven: DrivenSeats, chance: random.Random) -> None:
        self.driven, self.chance = driven, chance
        self.read = 0
        self.live: dict[int, list[int]] = {}  # order id: [instrument, side, leaves, filled]
        self.position: dict[tuple[int, int], int] = {}  # of (account, instrument)
        self.account: dict[int, int] = {}
        self.told: list[tuple[int, int, dict[str, int]]] = []

    def tell(self, kind: int, order_id: int, **fields: int) -> None:
        self.told.append((kind, order_id, fields))
        known = self.driven.execution(kind, order_id, **fields)
        # A cancel that another one has overtaken is nobody's any more.
        assert known == 1 or fields.get("reason") == lib.REJECT_UNKNOWN_ORDER

    def answer(self) -> None:
        """To each new intent; sends cancels and replacements of its own accord nothing."""
        events = self.driven.signal_ring.events()[self.read :]
        for event in events:
            self.read += 1
            self.account[self.read] = int(event["account"])
            self.one(self.read, event)

    def one(self, order_id: int, event: object) -> None:
        kind = int(event["header"]["type"])  # type: ignore[index]
        target = int(event["target_order_id"])  # type: ignore[index]
        lots, instrument = int(event["quantity_lots"]), int(event["header"]["instrument"])  # type: ignore[index]
        if kind == lib.SIGNAL_NEW:
            if self.chance.random() < 0.1:
                self.tell(self.chance.choice([lib.EXEC_REFUSED, lib.EXEC_REJECTED]), order_id, instrument=instrument)
                return
            self.live[order_id] = [instrument, int(event["side"]), lots, 0]  # type: ignore[index]
            self.tell(lib.EXEC_ACCEPTED, order_id, leaves_lots=lots, instrument=instrument)
        elif kind == lib.SIGNAL_CANCEL:
            if target in self.live and self.chance.random() < 0.8:
                order = self.live.pop(target)
                self.tell(lib.EXEC_CANCELED, target, quantity_lots=order[2], leaves_lots=0, instrument=instrument)
            elif target in self.live:
                self.tell(lib.EXEC_CANCEL_REJECTED, target, instrument=instrument)
            else:
                self.tell(lib.EXEC_REFUSED, order_id, reason=lib.REJECT_UNKNOWN_ORDER, instrument=instrument)
        elif target in self.live and lots > self.live[target][3] and self.chance.random() < 0.8:
            order = self.live.pop(target)
            order[2] = lots - order[3]
            self.live[order_id] = order
            self.tell(lib.EXEC_REPLACED, order_id, target_order_id=target, leaves_lots=order[2], instrument=instrument)
        else:
            self.tell(lib.EXEC_REPLACE_REJECTED, order_id, target_order_id=target, instrument=instrument)

    def fill(self) -> None:
        if not self.live:
            return
        order_id = self.chance.choice(sorted(self.live))
        instrument, side, leaves, _ = self.live[order_id]
        lots = self.chance.randint(1, leaves)
        self.live[order_id][2] -= lots
        self.live[order_id][3] += lots
        key = self.account[order_id], instrument
        self.position[key] = self.position.get(key, 0) + (lots if side == BUY else -lots)
        if leaves == lots:
            del self.live[order_id]
        self.tell(
            lib.EXEC_FILL, order_id, quantity_lots=lots, leaves_lots=leaves - lots, side=side, instrument=instrument
        )


class Trader:
    """A client that keeps what it is told, as a program would."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self.client, self.chance = client, chance
        self.open: dict[int, tuple[int, int]] = {}  # token: (instrument, side)
        self.position: dict[int, int] = {}

    def act(self) -> None:
        choice = self.chance.random()
        if choice < 0.5 or not self.open:
            side, instrument = self.chance.randrange(2), self.chance.randrange(COUNT)
            self.client.new(instrument, side=side, lots=self.chance.randint(1, 9))
        elif choice < 0.7:
            token = self.chance.choice(sorted(self.open))
            instrument, side = self.open[token]
            self.client.replace(token, instrument, side=side, lots=self.chance.randint(1, 12))
        elif choice < 0.95:
            self.client.cancel(self.chance.choice(sorted(self.open)))
        else:
            self.client.cancel_all(self.chance.choice([lib.NO_INSTRUMENT, 0]))

    def read(self) -> None:
        for report in self.client.reports():
            if int(report["attach_epoch"]) != self.client.epoch:
                continue
            kind, token = int(report["header"]["type"]), int(report["token"])
            instrument = int(report["header"]["instrument"])
            if kind == lib.REPORT_ATTACHED:
                self.open.clear()
                self.position.clear()
            if instrument < COUNT:
                self.position[instrument] = int(report["position_lots"])
            if kind in (lib.EXEC_ACCEPTED, lib.EXEC_REPLACED, lib.EXEC_FILL, lib.REPORT_ORDER):
                self.open.pop(int(report["target_token"]), None)
                self.open.pop(token, None)
                if report["leaves_lots"] > 0:
                    self.open[token] = instrument, int(report["side"])
            elif kind in (lib.EXEC_CANCELED, lib.EXEC_REJECTED, lib.EXEC_REFUSED):
                self.open.pop(token, None)


def play(seed: int, steps: int) -> None:
    chance = random.Random(seed)
    driven = DrivenSeats(
        SEATS, policy=chance.choice([lib.SEAT_CANCEL, lib.SEAT_LEAVE]), messages_per_second_max=1_000_000
    )
    traders = [Trader(driven.attach(index), chance) for index in range(SEATS)]
    venue = Venue(driven, chance)
    spare = driven.make(live=False)
    steps_told: list[int] = []
    for _ in range(steps):
        trader = chance.choice(traders)
        for _ in range(chance.randrange(4)):
            trader.act()
        if chance.random() < 0.02:
            driven.attach(trader.client.index)
        trader.client.beat()
        driven.turn(after_ns=chance.choice([1000, MILLISECOND_NS, 5 * MILLISECOND_NS]))
        if chance.random() < 0.7:
            venue.answer()
        for _ in range(chance.randrange(3)):
            venue.fill()
        for each in traders:
            each.client.beat()
            each.read()
        steps_told.append(len(venue.told))
    for _ in range(50):  # what is wanted cancelled is asked for until it is
        driven.turn(after_ns=MILLISECOND_NS)
        venue.answer()
        for each in traders:
            each.client.beat()
            each.read()
    for index, trader in enumerate(traders):
        assert driven.cut_reason(index) == ""
        assert len(trader.open) == driven.seats.seat[index].open_orders
        held = {i: lots for i, lots in trader.position.items() if lots}
        assert held == {i: lots for (account, i), lots in venue.position.items() if account == 2 + index and lots}
        assert len(trader.open) == sum(venue.account[order_id] == 2 + index for order_id in venue.live)
    assert spare.seat_count == SEATS


@pytest.mark.parametrize("seed", range(40))
def test_any_stream_leaves_orders_positions_and_reports_as_the_venue_has_them(seed: int) -> None:
    play(seed, 120)


def test_kernel_without_clients_decides_the_same_from_what_is_recorded() -> None:
    driven = DrivenSeats(messages_per_second_max=50, open_orders_max=5)
    client = driven.attach()
    executed: list[tuple[int, int]] = []  # order id, events of intake before it
    for number in range(120):
        client.new(number % COUNT)
        client.replace(client.token, number % COUNT)
        client.cancel(client.token - 1)
        client.beat()
        driven.turn(after_ns=10 * MILLISECOND_NS)
        if number % 3 and driven.seats.seat[0].open_orders:
            driven.execution(lib.EXEC_FILL, driven.seats.order[driven.seats.seat[0].open.first].order_id, leaves_lots=0)
            executed.append((int(driven.event.order_id), driven.intake.published))
        client.reports()
    live = without_times(driven.signal_ring.events())
    replay = DrivenSeats(messages_per_second_max=50, open_orders_max=5)
    replay.seats = again = replay.make(live=False)
    for number, event in enumerate(driven.recorded()):
        while executed and executed[0][1] <= number:
            replay.execution(lib.EXEC_FILL, executed.pop(0)[0], leaves_lots=0)
        replay.plan.now_ns = int(event["header"]["origin_time_ns"])
        again.output_limit = int(replay.signal.next) + 100
        pointer = ffi.from_buffer("request_event *", event.tobytes())
        lib.seats_request(again, replay.plan, number, pointer)
    assert without_times(replay.signal_ring.events()) == live and len(live) > 100
    assert again.seat[0].page.refused == driven.client.page.refused > 0
