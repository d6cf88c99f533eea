"""The paper venue against a slow model: flat lists, no shared code, every rule spelled out again."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import ffi, lib

INSTRUMENTS = 2
LATENCY_NS = 3
BUY, SELL = 0, 1


@dataclass
class Order:
    """One order of the slow model's book; `order_id` is 0 for the market's own."""

    ref: int
    instrument: int
    side: int
    price: int
    quantity: int
    order_id: int = 0
    filled: int = 0
    ioc: bool = False


def better(side: int, price: int, than: int) -> bool:
    return price > than if side == BUY else price < than


@dataclass
class SlowPaper:
    """The documented rules over one list of orders in order of arrival."""

    orders: list[Order] = field(default_factory=list)
    pending: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    reports: list[tuple[object, ...]] = field(default_factory=list)
    now: int = 0
    fill: int = lib.PAPER_FILL_QUEUE

    def queue(self, instrument: int, side: int) -> list[Order]:
        """Best price first, then oldest: the sort is stable."""
        standing = [o for o in self.orders if o.instrument == instrument and o.side == side]
        return sorted(standing, key=lambda o: -o.price if side == BUY else o.price)

    def by_id(self, order_id: int) -> Order | None:
        return next((o for o in self.orders if o.order_id == order_id and order_id), None)

    def by_ref(self, ref: int) -> Order | None:
        return next((o for o in self.orders if o.ref == ref and not o.order_id), None)

    def say(
        self, type_: int, order_id: int, *, quantity: int, price: int, leaves: int, filled: int, note: object
    ) -> None:
        self.reports.append((type_, self.now, order_id, price, quantity, leaves, filled, note))

    def shrink(self, order: Order, quantity: int) -> None:
        order.quantity -= quantity
        if order.quantity <= 0:
            self.orders.remove(order)

    def fill_resting(self, order: Order, quantity: int) -> None:
        order.filled += quantity
        price = order.price
        self.shrink(order, quantity)
        self.say(
            lib.EXEC_FILL,
            order.order_id,
            quantity=quantity,
            price=price,
            leaves=order.quantity,
            filled=order.filled,
            note="A",
        )

    def enter(self, order: Order) -> None:
        while order.quantity:
            queue = self.queue(order.instrument, 1 - order.side)
            if not queue or better(order.side, queue[0].price, order.price):
                break
            maker = queue[0]
            quantity = min(order.quantity, maker.quantity)
            order.quantity -= quantity
            order.filled += quantity
            self.say(
                lib.EXEC_FILL,
                order.order_id,
                quantity=quantity,
                price=maker.price,
                leaves=order.quantity,
                filled=order.filled,
                note="R",
            )
            if maker.order_id:
                self.fill_resting(maker, quantity)
            else:
                self.shrink(maker, quantity)
        if order.quantity and order.ioc:
            self.canceled(order, "I")
        elif order.quantity:
            self.orders.append(order)

    def canceled(self, order: Order, reason: str, *, gone: int = 0) -> None:
        self.say(
            lib.EXEC_CANCELED,
            order.order_id,
            quantity=gone or order.quantity,
            price=order.price,
            leaves=order.quantity if gone else 0,
            filled=order.filled,
            note=ord(reason),
        )

    def refused(self, type_: int, command: dict[str, int], reason: int) -> None:
        order_id = command["target"] if type_ == lib.EXEC_CANCEL_REJECTED else command["order_id"]
        self.say(type_, order_id, quantity=command["quantity"], price=command["price"], leaves=0, filled=0, note=reason)

    def effect(self, command: dict[str, int]) -> None:
        target = self.by_id(command["target"])
        if command["type"] == lib.CMD_CANCEL:
            if target is None:
                self.refused(lib.EXEC_CANCEL_REJECTED, command, lib.VENUE_OTHER)
                return
            if command["quantity"] > 0:
                gone = target.quantity - command["quantity"]
                if gone <= 0:
                    self.refused(lib.EXEC_CANCEL_REJECTED, command, lib.VENUE_BAD_QUANTITY)
                    return
                target.quantity -= gone
                self.canceled(target, "U", gone=gone)
                return
            self.orders.remove(target)
            self.canceled(target, "U")
            return
        filled = 0
        refusal = lib.EXEC_REJECTED
        reason = 0
        if command["type"] == lib.CMD_REPLACE:
            refusal = lib.EXEC_REPLACE_REJECTED
            if target is None:
                reason = lib.VENUE_REPLACE_NOT_ALLOWED
            else:
                filled = target.filled
        if not reason and command["quantity"] <= 0:
            reason = lib.VENUE_BAD_QUANTITY
        if not reason and command["price"] <= 0:
            reason = lib.VENUE_BAD_PRICE
        if not reason and target is not None and target.instrument != command["instrument"]:
            reason = lib.VENUE_BAD_SYMBOL
        if not reason and target is not None and target.side != command["side"]:
            reason = lib.VENUE_BAD_SIDE
        if not reason and command["quantity"] <= filled:
            reason = lib.VENUE_BAD_QUANTITY
        if reason:
            self.refused(refusal, command, reason)
            return
        if target is not None:
            self.orders.remove(target)
        left = command["quantity"] - filled
        order = Order(
            0,
            command["instrument"],
            command["side"],
            command["price"],
            left,
            command["order_id"],
            filled,
            bool(command["ioc"]),
        )
        accepted = lib.EXEC_ACCEPTED if target is None else lib.EXEC_REPLACED
        self.say(accepted, order.order_id, quantity=left, price=order.price, leaves=left, filled=filled, note=0)
        self.enter(order)

    def command(self, command: dict[str, int], origin: int) -> None:
        self.pending.append((max([origin + LATENCY_NS, *(due for due, _ in self.pending)]), command))

    def advance(self, until: int) -> None:
        while self.pending and self.pending[0][0] <= until:
            due, command = self.pending.pop(0)
            self.now = max(self.now, due)
            self.effect(command)

    def market(self, event: dict[str, int], time: int) -> None:
        self.advance(time - 1)
        self.now = max(self.now, time)
        type_, ref, quantity = event["type"], event["ref"], event["quantity"]
        order = self.by_ref(ref)
        if type_ == lib.NORM_ADD:
            self.arrive(Order(ref, event["instrument"], event["side"], event["price"], quantity))
        elif type_ == lib.NORM_REPLACE and order is not None:
            new = Order(event["reference"], order.instrument, order.side, event["price"], quantity)
            self.arrive(new)
            self.orders.remove(order)
        elif type_ == lib.NORM_EXECUTE and order is not None:
            left = quantity
            for ours in self.queue(order.instrument, order.side):
                if not left or better(order.side, order.price, ours.price):
                    break
                if not self.is_served(ours, order):
                    break
                if ours.order_id:
                    filled = min(left, ours.quantity)
                    left -= filled
                    self.fill_resting(ours, filled)
            self.shrink(order, quantity)
        elif type_ == lib.NORM_REDUCE and order is not None:
            self.shrink(order, quantity)
        elif type_ == lib.NORM_DELETE and order is not None:
            self.orders.remove(order)
        elif type_ == lib.NORM_TRADE:
            for side in (BUY, SELL):
                left = quantity
                for ours in self.queue(event["instrument"], side):
                    if left and ours.order_id and better(side, ours.price, event["price"]):
                        filled = min(left, ours.quantity)
                        left -= filled
                        self.fill_resting(ours, filled)

    def is_served(self, ours: Order, hit: Order) -> bool:
        """Whether an execution of `hit` goes on to look at what stands at `ours`, by the fill model."""
        if self.fill == lib.PAPER_FILL_QUEUE:
            return ours is not hit
        if self.fill == lib.PAPER_FILL_THROUGH:
            return not ours.order_id or ours.price != hit.price
        return True

    def arrive(self, new: Order) -> None:
        while new.quantity:
            queue = self.queue(new.instrument, 1 - new.side)
            if not queue or not queue[0].order_id or better(1 - new.side, new.price, queue[0].price):
                break
            if self.fill == lib.PAPER_FILL_THROUGH and new.price == queue[0].price:
                break
            quantity = min(new.quantity, queue[0].quantity)
            new.quantity -= quantity
            self.fill_resting(queue[0], quantity)
        if new.quantity:
            self.orders.append(new)


class Paper:
    """The kernel, its memory, and what it reported."""

    def __init__(self, *, orders_max: int = 64, reports_max: int = 128, **settings: int) -> None:
        self.config = ffi.new("paper_config *", settings)
        self.config.book.instruments = INSTRUMENTS
        self.config.book.orders_max = 512
        self.config.book.levels_max = 256
        self.config.orders_max = orders_max
        self.config.reports_max = reports_max
        self.config.latency_ns = LATENCY_NS
        self.config.first_match_id = 1
        size = lib.paper_bytes(self.config)
        assert size
        self.memory = ffi.new("uint8_t[]", size + 64)
        base = ffi.cast("uintptr_t", self.memory)
        self.paper = lib.paper_init(self.memory + (-int(base)) % 64, size, self.config)
        assert self.paper != ffi.NULL
        self.reports: list[tuple[object, ...]] = []

    def poll(self) -> None:
        report = ffi.new("exec_event *")
        while lib.paper_poll(self.paper, report):
            note: object = report.reason
            if report.header.type == lib.EXEC_FILL:
                note = chr(report.liquidity)
            self.reports.append(
                (
                    report.header.type,
                    report.header.origin_time_ns,
                    report.order_id,
                    report.price_ticks,
                    report.quantity_lots,
                    report.leaves_lots,
                    report.cumulative_lots,
                    note,
                )
            )

    def market(self, event: dict[str, int], time: int) -> None:
        target = ffi.new("norm_event *")
        target.header.type = event["type"]
        target.header.instrument = event["instrument"]
        target.header.flags = lib.FLAG_SELL if event["side"] == SELL else 0
        target.header.origin_time_ns = time
        target.order_ref = event["ref"]
        target.price_ticks = event["price"]
        target.quantity_lots = event["quantity"]
        target.reference = event["reference"]
        while lib.paper_market(self.paper, target) == lib.PAPER_FULL:
            self.poll()

    def command(self, command: dict[str, int], origin: int) -> None:
        target = ffi.new("cmd_event *")
        target.header.type = command["type"]
        target.header.instrument = command["instrument"]
        target.header.origin_time_ns = origin
        target.order_id = command["order_id"]
        target.target_order_id = command["target"]
        target.price_ticks = command["price"]
        target.quantity_lots = command["quantity"]
        target.side = command["side"]
        target.time_in_force = lib.TIF_IOC if command["ioc"] else lib.TIF_DAY
        while lib.paper_order(self.paper, target) == lib.PAPER_FULL:
            raise AssertionError("more orders on their way than the test allows for")

    def advance(self, now: int) -> None:
        while lib.paper_advance(self.paper, now) == lib.PAPER_FULL:
            self.poll()

    def queue(self, instrument: int, side: int) -> list[tuple[int, int, bool]]:
        """(price, quantity, ours) of every order, best first."""
        book = lib.paper_book(self.paper)
        levels = ffi.new("book_level[64]")
        orders = ffi.new("book_order[512]")
        standing = []
        for level in levels[0 : lib.book_depth(book, instrument, side, levels, 64)]:
            count = lib.book_queue(book, instrument, side, level.price_ticks, orders, 512)
            standing += [(o.price_ticks, o.quantity_lots, bool(o.order_ref >> 63)) for o in orders[0:count]]
        return standing


# kind, instrument, side, price or a bad one, quantity in hundreds or a bad one, which, time that passes, IOC or poll
Step = tuple[str, int, int, int, int, int, int, bool]


class Market:
    """Turns drawn numbers into events that a venue could have sent, were we not there."""

    def __init__(self) -> None:
        self.orders: dict[int, list[int]] = {}
        self.next_ref = 100

    def event(
        self, kind: str, instrument: int, side: int, price: int, quantity: int, which: int
    ) -> dict[str, int] | None:
        event = {"type": 0, "instrument": instrument, "side": side, "price": price + 1, "ref": 0, "reference": 0}
        event["quantity"] = max(quantity, 1) * 100
        if kind == "trade":
            return event | {"type": lib.NORM_TRADE}
        if kind == "add":
            self.next_ref += 1
            self.orders[self.next_ref] = [instrument, event["quantity"]]
            return event | {"type": lib.NORM_ADD, "ref": self.next_ref}
        if not self.orders:
            return None
        ref = list(self.orders)[which % len(self.orders)]
        instrument, resting = self.orders[ref]
        event |= {"ref": ref, "instrument": instrument}
        if kind == "delete":
            del self.orders[ref]
            return event | {"type": lib.NORM_DELETE, "quantity": 0}
        if kind == "replace":
            del self.orders[ref]
            self.next_ref += 1
            self.orders[self.next_ref] = [instrument, event["quantity"]]
            return event | {"type": lib.NORM_REPLACE, "reference": self.next_ref}
        event["quantity"] = min(event["quantity"], resting)
        self.orders[ref][1] -= event["quantity"]
        if not self.orders[ref][1]:
            del self.orders[ref]
        return event | {"type": lib.NORM_EXECUTE if kind == "execute" else lib.NORM_REDUCE}


KINDS = ["add"] * 6 + ["execute"] * 4 + ["reduce", "delete", "replace", "trade"] + ["new"] * 5 + ["swap"] + ["drop"] * 2


def draw_steps(chance: Random, count: int) -> list[Step]:
    """Long runs in which our orders rest among the market's: drawing each step through Hypothesis makes
    mostly short ones, where nothing meets."""
    return [
        (
            chance.choice(KINDS),
            chance.randrange(INSTRUMENTS),
            chance.randrange(2),
            chance.randrange(10),
            chance.randrange(7),
            chance.randrange(64),
            chance.randrange(3),
            chance.random() < 0.3,
        )
        for _ in range(count)
    ]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 250),
    fill=st.sampled_from([lib.PAPER_FILL_QUEUE, lib.PAPER_FILL_FRONT, lib.PAPER_FILL_THROUGH]),
)
def test_reports_and_queues_equal_the_slow_model(seed: int, count: int, fill: int) -> None:
    chance = Random(seed)
    kernel, model, market = Paper(fill=fill), SlowPaper(fill=fill), Market()
    time, next_id = 10, 1
    for kind, instrument, side, price, quantity, which, wait, flag in draw_steps(chance, count):
        time += wait
        if kind in ("new", "swap", "drop"):
            target = max(next_id - 1 - which % 16, 0) if kind != "new" else 0
            if price:  # ours crowd together, so that they queue behind each other
                price = 4 + side + price % 2
            if kind == "drop" and which % 4:
                quantity = 0
            type_ = {"new": lib.CMD_NEW, "swap": lib.CMD_REPLACE, "drop": lib.CMD_CANCEL}[kind]
            command = {
                "type": type_,
                "instrument": instrument,
                "side": side,
                "price": price,
                "quantity": quantity * 100,
            }
            command |= {"order_id": next_id, "target": target, "ioc": int(flag)}
            next_id += 1
            origin = time - chance.randrange(4)
            kernel.command(command, origin)
            model.command(command, origin)
        else:
            event = market.event(kind, instrument, side, price, quantity, which)
            if event is None:
                continue
            kernel.market(event, time)
            model.market(event, time)
        if flag:
            kernel.poll()
    kernel.advance(time + LATENCY_NS + 1)
    model.advance(time + LATENCY_NS + 1)
    kernel.poll()
    assert kernel.reports == model.reports
    for instrument in range(INSTRUMENTS):
        for side in (BUY, SELL):
            expected = [(o.price, o.quantity, bool(o.order_id)) for o in model.queue(instrument, side)]
            assert kernel.queue(instrument, side) == expected


def order(
    order_id: int, *, side: int, price: int, quantity: int, target: int = 0, type_: int | None = None
) -> dict[str, int]:
    return {
        "type": lib.CMD_NEW if type_ is None else type_,
        "instrument": 0,
        "side": side,
        "price": price,
        "quantity": quantity,
        "order_id": order_id,
        "target": target,
        "ioc": 0,
    }


def add(ref: int, *, side: int, price: int, quantity: int) -> dict[str, int]:
    base = {"type": lib.NORM_ADD, "instrument": 0, "side": side, "price": price, "quantity": quantity}
    return base | {"ref": ref, "reference": 0}


def test_an_order_waits_for_what_stands_ahead_of_it() -> None:
    paper = Paper()
    paper.market(add(1, side=BUY, price=100, quantity=300), 10)
    paper.command(order(1, side=BUY, price=100, quantity=200), 10)
    paper.market(add(2, side=BUY, price=100, quantity=500), 20)
    found = ffi.new("book_order *")
    assert lib.paper_find(paper.paper, 1, found) == lib.BOOK_OK and found.ahead_lots == 300
    execute = {"type": lib.NORM_EXECUTE, "instrument": 0, "side": 0, "price": 0, "reference": 1}
    paper.market(execute | {"ref": 1, "quantity": 300}, 21)
    paper.poll()
    assert [r[0] for r in paper.reports] == [lib.EXEC_ACCEPTED]
    paper.market(execute | {"ref": 2, "quantity": 150}, 22)
    paper.poll()
    assert paper.reports[-1] == (lib.EXEC_FILL, 22, 1, 100, 150, 50, 150, "A")


def market_state(kind: int, flags: int = 0) -> ffi.CData:
    event = ffi.new("norm_event *")
    event.header.type, event.header.flags, event.header.instrument = kind, flags, lib.NO_INSTRUMENT
    return event


def test_ours_stand_behind_what_a_snapshot_holds() -> None:
    paper = Paper()
    paper.command(order(1, side=BUY, price=100, quantity=200), 10)
    paper.market(add(1, side=BUY, price=100, quantity=300), 20)
    assert paper.queue(0, BUY) == [(100, 200, True), (100, 300, False)]
    assert lib.paper_market(paper.paper, market_state(lib.NORM_CLEAR, lib.FLAG_STALE)) == lib.PAPER_OK
    paper.market(add(2, side=BUY, price=100, quantity=400), 30)
    assert paper.queue(0, BUY) == [(100, 400, False)]
    assert lib.paper_market(paper.paper, market_state(lib.NORM_WHOLE)) == lib.PAPER_OK
    paper.market(add(3, side=BUY, price=100, quantity=500), 40)
    assert paper.queue(0, BUY) == [(100, 400, False), (100, 200, True), (100, 500, False)]
    execute = {"type": lib.NORM_EXECUTE, "instrument": 0, "side": 0, "price": 0, "reference": 1}
    paper.market(execute | {"ref": 3, "quantity": 50}, 50)
    paper.poll()
    assert paper.reports[-1] == (lib.EXEC_FILL, 50, 1, 100, 50, 150, 50, "A")


def test_ours_stand_first_in_a_new_session() -> None:
    paper = Paper()
    paper.market(add(1, side=BUY, price=100, quantity=300), 5)
    paper.command(order(1, side=BUY, price=100, quantity=200), 10)
    paper.advance(30)
    assert lib.paper_market(paper.paper, market_state(lib.NORM_CLEAR)) == lib.PAPER_OK
    assert paper.queue(0, BUY) == [(100, 200, True)]


def test_liquidity_is_taken_once() -> None:
    paper = Paper()
    paper.market(add(1, side=SELL, price=100, quantity=300), 10)
    paper.command(order(1, side=BUY, price=101, quantity=300), 10)
    paper.command(order(2, side=BUY, price=101, quantity=300), 10)
    paper.advance(20)
    paper.poll()
    fills = [r for r in paper.reports if r[0] == lib.EXEC_FILL]
    assert fills == [(lib.EXEC_FILL, 13, 1, 100, 300, 0, 300, "R")]
    assert paper.queue(0, BUY) == [(101, 300, True)] and paper.queue(0, SELL) == []


def test_an_order_takes_effect_after_its_latency_and_not_before() -> None:
    paper = Paper()
    paper.command(order(1, side=BUY, price=100, quantity=100), 10)
    paper.market(add(1, side=SELL, price=100, quantity=100), 10 + LATENCY_NS)
    paper.poll()
    assert paper.reports == []
    paper.market(add(2, side=SELL, price=200, quantity=100), 11 + LATENCY_NS)
    paper.poll()
    assert [(r[0], r[1]) for r in paper.reports] == [(lib.EXEC_ACCEPTED, 13), (lib.EXEC_FILL, 13)]


def test_reports_are_never_dropped_when_the_queue_is_small() -> None:
    paper = Paper(orders_max=8, reports_max=16)
    for ref in range(1, 101):
        paper.market(add(ref, side=SELL, price=100, quantity=1), ref)
    paper.command(order(1, side=BUY, price=100, quantity=100), 101)
    paper.advance(200)
    paper.poll()
    assert len(paper.reports) == 101 and paper.reports[-1][5:7] == (0, 100)


@pytest.mark.parametrize("change", [{"reports_max": 100}, {"reports_max": 64}, {"orders_max": 0}])
def test_a_configuration_out_of_range_is_refused(change: dict[str, int]) -> None:
    config = Paper().config
    for name, value in change.items():
        setattr(config, name, value)
    assert lib.paper_bytes(config) == 0


EXECUTE = {"type": lib.NORM_EXECUTE, "instrument": 0, "side": BUY, "price": 0, "reference": 1}


def fills_of(fill: int) -> list[int]:
    """Lots filled of an order of 200 behind 300, when 100 of those execute, then 100 a tick below."""
    paper = Paper(fill=fill)
    paper.market(add(1, side=BUY, price=100, quantity=300), 10)
    paper.market(add(2, side=BUY, price=99, quantity=300), 10)
    paper.command(order(1, side=BUY, price=100, quantity=200), 10)
    paper.market(EXECUTE | {"ref": 1, "quantity": 100}, 21)
    paper.market(EXECUTE | {"ref": 2, "quantity": 100}, 22)
    paper.poll()
    return [int(str(r[4])) for r in paper.reports if r[0] == lib.EXEC_FILL]


def test_fill_models_stand_on_both_sides_of_the_queue() -> None:
    assert fills_of(lib.PAPER_FILL_FRONT) == [100, 100], "first at its price, then past it"
    assert fills_of(lib.PAPER_FILL_QUEUE) == [100], "only what went past the whole queue"
    assert fills_of(lib.PAPER_FILL_THROUGH) == [100]
    assert fills_of(lib.PAPER_FILL_FRONT) != fills_of(lib.PAPER_FILL_QUEUE)


def arrivals(**settings: int) -> list[int]:
    """When orders 1 to 400, sent a microsecond apart, take effect, since they were sent."""
    paper = Paper(orders_max=512, reports_max=4096, **settings)
    for number in range(1, 401):
        paper.command(order(number, side=BUY, price=50, quantity=100), number * 1000)
    paper.advance(10**9)
    paper.poll()
    accepted = [r for r in paper.reports if r[0] == lib.EXEC_ACCEPTED]
    return [int(str(r[1])) - number * 1000 for number, r in enumerate(accepted, start=1)]


def test_latency_is_drawn_from_the_seed_and_the_order_alone() -> None:
    assert set(arrivals()) == {LATENCY_NS}
    spread = {"latency_spread_ns": 500, "latency_seed": 7}
    uniform = arrivals(latency=lib.PAPER_LATENCY_UNIFORM, **spread)
    assert uniform == arrivals(latency=lib.PAPER_LATENCY_UNIFORM, **spread)
    assert uniform != arrivals(latency=lib.PAPER_LATENCY_UNIFORM, latency_spread_ns=500, latency_seed=8)
    assert all(LATENCY_NS <= each < LATENCY_NS + 500 for each in uniform)
    assert 200 < sum(uniform) / len(uniform) < 300
    exponential = arrivals(latency=lib.PAPER_LATENCY_EXPONENTIAL, latency_spread_ns=100, latency_seed=7)
    assert 80 < sum(exponential) / len(exponential) < 125 and max(exponential) > 300


def test_orders_do_not_overtake_each_other() -> None:
    paper = Paper(latency=lib.PAPER_LATENCY_UNIFORM, latency_spread_ns=10**6, latency_seed=3)
    for number in range(1, 31):
        paper.command(order(number, side=BUY, price=50, quantity=100), 1000)
    paper.advance(10**9)
    paper.poll()
    accepted = [int(str(r[2])) for r in paper.reports if r[0] == lib.EXEC_ACCEPTED]
    times = [int(str(r[1])) for r in paper.reports if r[0] == lib.EXEC_ACCEPTED]
    assert accepted == list(range(1, 31)) and times == sorted(times)


def test_unknown_model_is_refused() -> None:
    settings = ffi.new("paper_config *", {"orders_max": 64, "reports_max": 128, "fill": 9})
    settings.book.instruments, settings.book.orders_max, settings.book.levels_max = 1, 64, 64
    assert lib.paper_bytes(settings) == 0
