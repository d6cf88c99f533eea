"""The seats' kernel as tests drive it: rings and pages of its own, a client beside each seat, executions by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from tests.support.memory import Memory, Ring, fill_event
from tests.support.stages import Context

COUNT = 4
MILLISECOND_NS = 10**6
SECOND_NS = 10**9
ATTACH_INTERVAL_NS = 10 * MILLISECOND_NS  # the front end takes note of a seat's attachments so far apart
NO_INSTRUMENT: int = lib.NO_INSTRUMENT


def page_memory(struct: str) -> tuple[Memory, Any]:
    """A page as its segment holds it; (owner, pointer)."""
    memory = Memory(ffi.sizeof(struct))
    return memory, ffi.cast(f"{struct} *", memory.pointer)


class Client:
    """A co-process without a process: it attaches, writes requests and reads reports."""

    def __init__(self, index: int, *, orders_capacity: int, reports_capacity: int) -> None:
        self.index = index
        self.orders = Ring("request_event", "signal", capacity=orders_capacity)
        self.reports_ring = Ring("report_event", "client", capacity=reports_capacity, dirty=True)
        self.page_memory, self.page = page_memory("seat_page")
        self.client_memory, self.client = page_memory("seat_client_page")
        self.event = ffi.new("request_event *")
        self.epoch = 0
        self.beats = 0
        self.token = 0
        self.read = 0

    def announce(self) -> None:
        """Ask for the seat."""
        self.epoch += 1
        self.read = self.reports_ring.published
        self.reports_ring.release("client")
        self.beats += 1
        lib.seat_client_announce(self.client, self.epoch, 1, 1, self.beats)

    def open(self) -> None:
        """Once the engine knows of it: reset the orders ring and begin."""
        assert lib.seat_client_known(self.page, self.epoch)
        lib.seat_client_reset(self.orders.memory.pointer, self.page.request_position)
        self.writer = ffi.new("ring_writer *")
        self.orders.attach_writer(self.writer)
        lib.seat_client_open(self.client, self.epoch)

    def beat(self) -> None:
        self.beats += 1
        lib.seat_client_beat(self.client, self.beats)

    def send(self, kind: int, **fields: Any) -> int:
        """Write one request as it stands; enum ring_status."""
        fill_event(self.event, {"type": kind, "attach_epoch": self.epoch, "score": 0.0} | fields)
        return int(lib.ring_publish(self.writer, self.event, ffi.sizeof("request_event")))

    def new(self, instrument: int = 0, *, side: int = 0, price: int = 100, lots: int = 10, **fields: Any) -> int:
        self.token += 1
        order = {"instrument": instrument, "side": side, "price_ticks": price, "quantity_lots": lots}
        assert self.send(lib.REQUEST_NEW, token=self.token, **(order | fields)) == lib.RING_OK
        return self.token

    def replace(self, token: int, instrument: int = 0, *, side: int = 0, price: int = 101, lots: int = 10) -> int:
        self.token += 1
        order = {"instrument": instrument, "side": side, "price_ticks": price, "quantity_lots": lots}
        assert self.send(lib.REQUEST_REPLACE, token=self.token, target_token=token, **order) == lib.RING_OK
        return self.token

    def cancel(self, token: int) -> None:
        assert self.send(lib.REQUEST_CANCEL, target_token=token, instrument=NO_INSTRUMENT) == lib.RING_OK

    def cancel_all(self, instrument: int = NO_INSTRUMENT) -> None:
        assert self.send(lib.REQUEST_CANCEL_ALL, instrument=instrument) == lib.RING_OK

    def reports(self) -> npt.NDArray[Any]:
        """The reports since the last call; releases them."""
        events = self.reports_ring.events(self.read)
        self.read = self.reports_ring.published
        self.reports_ring.release("client")
        return events

    def told(self) -> list[tuple[str, int, int]]:
        """(what, token, target token) of the reports since the last call."""
        names = enum_names("event_type")
        return [
            (names[int(e["header"]["type"])], int(e["token"]), int(e["target_token"]))
            for e in self.reports()
            if e["attach_epoch"] == self.epoch
        ]


class DrivenSeats:
    """Seats with their clients. `turn` polls, then decides on what stands in intake, as the signal stage does."""

    TERMS: ClassVar[dict[str, int]] = {
        "policy": lib.SEAT_CANCEL,
        "open_orders_max": 8,
        "messages_per_second_max": 1000,
        "heartbeat_ns": 100 * MILLISECOND_NS,
        "budget_ns": 20 * MILLISECOND_NS,
    }

    def __init__(
        self,
        count: int = 1,
        *,
        signal_capacity: int = 4096,
        orders_capacity: int = 1024,
        reports_capacity: int = 4096,
        intake_capacity: int = 8192,
        **terms: int,
    ) -> None:
        stage = ffi.new("stage_context *")
        self.context = Context(stage, lib.STAGE_SIGNAL, record=False)
        self.terms = self.TERMS | terms
        self.count = count
        self.signal_ring = Ring("signal_event", "risk", capacity=signal_capacity, dirty=True)
        self.signal = ffi.new("ring_writer *")
        self.signal_ring.attach_writer(self.signal)
        self.intake = Ring("request_event", "signal", capacity=intake_capacity, dirty=True)
        self.clients = [
            Client(index, orders_capacity=orders_capacity, reports_capacity=reports_capacity) for index in range(count)
        ]
        self.seats = self.make(live=True)
        self.plan = ffi.new("turn_plan *")
        self.now_ns = SECOND_NS
        self.exec_sequence = 0
        self.event = ffi.new("exec_event *")

    def make(self, *, live: bool) -> Any:
        """The kernel's state; a replay's has neither clients nor reports."""
        seats = ffi.new("seats *")
        size = lib.seats_bytes(self.count, COUNT, self.count * self.terms["open_orders_max"])
        memory = Memory(size, dirty=True)
        self.kept = [*getattr(self, "kept", []), memory]
        total = self.count * self.terms["open_orders_max"]
        assert lib.seats_init(seats, memory.pointer, size, self.count, COUNT, total) == 1
        seats.stage, seats.signal = self.context.stage_pointer, self.signal
        seats.answer_timeout_ns, seats.sweep_interval_ns = SECOND_NS, MILLISECOND_NS
        seats.strategy_epoch = 1
        if live:
            self.intake.attach_writer(ffi.addressof(seats, "intake"))
        self.intake.attach_reader(ffi.addressof(seats, "intake_in"), "signal")
        for index, client in enumerate(self.clients):
            seat = seats.seat[index]
            seat.account, seat.strategy = 2 + index, 100 + index
            for name, value in self.terms.items():
                setattr(seat, name, value)
            if not live:
                owner, seat.page = page_memory("seat_page")
                self.kept.append(owner)
                continue
            seat.page, seat.client = client.page, client.client
            client.orders.attach_reader(ffi.addressof(seat, "orders"), "signal")
            client.reports_ring.attach_writer(ffi.addressof(seat, "reports"))
        return seats

    @property
    def client(self) -> Client:
        return self.clients[0]

    def attach(self, index: int = 0) -> Client:
        """A client takes its seat; its snapshot is still to be read."""
        client = self.clients[index]
        client.announce()
        self.turn(after_ns=MILLISECOND_NS)
        if not lib.seat_client_known(client.page, client.epoch):
            self.turn(after_ns=ATTACH_INTERVAL_NS)
        client.open()
        self.turn(after_ns=MILLISECOND_NS)
        return client

    def turn(self, *, after_ns: int = 1000, timeless: bool = False, room: int = 4096) -> None:
        """The clock moves on, the front end looks, the turn decides and sweeps."""
        self.now_ns += after_ns
        lib.seats_poll(self.seats, self.now_ns, timeless)
        self.decide(self.seats, room=room)

    def decide(self, seats: Any, *, room: int = 4096) -> None:
        self.plan.now_ns = self.now_ns
        seats.output_limit = int(self.signal.next) + min(room, int(lib.ring_room(self.signal)))
        reader = ffi.addressof(seats, "intake_in")
        while lib.ring_available(reader, 1):
            event = ffi.cast("request_event *", lib.ring_at(reader, 0))
            lib.seats_request(seats, self.plan, seats.intake_in.next, event)
            lib.ring_advance(reader, 1)
        lib.ring_release(reader)
        lib.seats_sweep(seats, self.plan)
        self.signal_ring.release("risk")
        self.check(seats)

    def execution(self, kind: int, order_id: int, **fields: Any) -> int:
        """What became of an order; 1 when it is a seat's."""
        fill_event(self.event, {"type": kind, "order_id": order_id} | fields)
        mine = lib.seats_execution(self.seats, self.plan, self.exec_sequence, self.event)
        self.exec_sequence += 1
        self.check(self.seats)
        return int(mine)

    def accept(self, order_id: int, *, leaves: int = 10) -> None:
        assert self.execution(lib.EXEC_ACCEPTED, order_id, leaves_lots=leaves) == 1

    def fill(self, order_id: int, lots: int, *, leaves: int, side: int = 0) -> None:
        fields = {"quantity_lots": lots, "leaves_lots": leaves, "side": side, "price_ticks": 100, "match_id": 7}
        assert self.execution(lib.EXEC_FILL, order_id, **fields) == 1

    def intents(self) -> list[tuple[str, int, int, int]]:
        """(what, price, quantity, target order id) of every intent so far."""
        names = enum_names("event_type")
        return [
            (
                names[int(e["header"]["type"])].removeprefix("SIGNAL_"),
                int(e["price_ticks"]),
                int(e["quantity_lots"]),
                int(e["target_order_id"]),
            )
            for e in self.signal_ring.events()
        ]

    @property
    def last_id(self) -> int:
        """The order id that risk gives to the last intent."""
        return self.signal_ring.published

    def order_of(self, order_id: int) -> Any:
        """The place of an order, by its present id."""
        orders = (self.seats.order[index] for index in range(self.seats.order_count))
        return next(order for order in orders if order.order_id == order_id)

    def cut_reason(self, index: int = 0) -> str:
        """Why the seat was cut last; empty while it is taken."""
        page = self.clients[index].page
        if page.state == lib.SEAT_TAKEN:
            return ""
        return enum_names("seat_cut")[page.reason].removeprefix("SEAT_CUT_").lower()

    def recorded(self) -> npt.NDArray[Any]:
        """Every event of intake."""
        return self.intake.events()

    def check(self, seats: Any) -> None:
        """Lists are whole, gauges true, and each order is in the one list that its state says."""
        dead = self._walk(seats, seats.dead)
        seen = set(dead)
        wanted = 0
        for index in range(self.count):
            seat = seats.seat[index]
            opened = self._walk(seats, seat.open)
            assert len(opened) == seat.open_orders == seat.page.open_orders
            assert all(seats.order[i].seat == index and seats.order[i].state != lib.SEAT_ORDER_DEAD for i in opened)
            assert not seen & set(opened)
            seen |= set(opened)
            wanted += sum(seats.order[i].wanted for i in opened)
        assert all(seats.order[i].state == lib.SEAT_ORDER_DEAD for i in dead)
        assert seen == set(range(seats.order_count))
        assert wanted == seats.wanted_count

    @staticmethod
    def _walk(seats: Any, chain: Any) -> list[int]:
        found, index, before = [], chain.first, lib.SEAT_ORDER_NONE
        while index != lib.SEAT_ORDER_NONE:
            assert seats.order[index].previous == before
            found.append(index)
            before, index = index, seats.order[index].next
            assert len(found) <= seats.order_count
        assert chain.last == before
        return found


def placed(driven: DrivenSeats, **order: Any) -> tuple[int, int]:
    """An order that the venue holds; (token, order id)."""
    token = driven.client.new(**order)
    driven.turn()
    order_id = driven.last_id
    driven.accept(order_id, leaves=order.get("lots", 10))
    driven.client.reports()
    return token, order_id


def reasons(reports: npt.NDArray[Any]) -> list[str]:
    """The engine's own reasons in reports, as "open_orders"."""
    names = enum_names("reject_reason")
    return [
        names[int(e["reason"])].removeprefix("REJECT_").lower()
        for e in reports
        if int(e["header"]["flags"]) & lib.FLAG_REFUSED
    ]


def request_slots(client: Client) -> npt.NDArray[np.uint64]:
    """The orders ring's slots as words, for a client that writes what it likes."""
    words = np.frombuffer(
        client.orders.memory.mapping, "u8", client.orders.capacity * 16, lib.RING_SLOTS_OFFSET
    ).reshape(-1, 16)
    return words


assert dtype_of("request_event").itemsize == 128
