"""The gateway before the paper venue: same checks, same intent file, no wire and no system call."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from tests.gateway_driver import Gateway, Risk, World, make_config

MICROSECOND = 1_000


class PaperScene:
    """A world whose market the test makes, order by order."""

    def __init__(self, folder: Path, *, exec_capacity: int = 1024) -> None:
        self.world = World(folder, exec_capacity=exec_capacity)
        self.risk = Risk(self.world)
        self.config = make_config(kind=lib.VENUE_PAPER)
        self._norm = ffi.new("ring_writer *")
        assert lib.ring_writer_attach(self._norm, self.world.norm) == lib.RING_OK
        assert lib.ring_writer_gate(self._norm, self.world.norm_cursor) == lib.RING_OK
        self.venue_time_ns = 34_200_000_000_000
        self.gateway = self._start()

    def _start(self) -> Gateway:
        settings = ffi.new("paper_config *")
        settings.book.instruments, settings.book.orders_max, settings.book.levels_max = 3, 4096, 4096
        settings.orders_max, settings.reports_max = 256, 512
        settings.latency_ns, settings.first_match_id = 10 * MICROSECOND, 1
        size = lib.paper_bytes(settings)
        self._memory = mmap.mmap(-1, size)
        paper = lib.paper_init(ffi.from_buffer(self._memory), size, settings)
        assert paper != ffi.NULL
        return Gateway(self.world, self.config, paper=paper)

    def market(self, ref: int, price: int, quantity: int, *, sell: bool, type_: int = lib.NORM_ADD) -> None:
        """An event of the market, 100 microseconds after the last."""
        event = ffi.new("norm_event *")
        self.venue_time_ns += 100 * MICROSECOND
        event.header.type = type_
        event.header.origin_time_ns = self.venue_time_ns
        event.header.flags = lib.FLAG_SELL if sell else 0
        event.order_ref, event.price_ticks, event.quantity_lots = ref, price, quantity
        assert lib.ring_publish(self._norm, event, ffi.sizeof("norm_event")) == lib.RING_OK

    def order(self, type_: int = lib.CMD_NEW, **fields: Any) -> int:
        command = self.risk.command(type_, **fields)
        command.header.origin_time_ns = self.venue_time_ns
        return self.risk.publish(command)

    def turns(self, count: int = 4, *, advance_ns: int = 50 * MICROSECOND) -> None:
        for _ in range(count):
            self.gateway.turn(advance_ns=advance_ns)

    def restart(self) -> None:
        self.gateway.die()
        self.gateway = self._start()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[PaperScene]:
    made = PaperScene(tmp_path)
    yield made
    made.gateway.die()


def test_orders_fill_rest_and_cancel_without_a_system_call(scene: PaperScene) -> None:
    assert scene.world.gateway_mode == lib.MODE_NORMAL
    scene.market(1, 1_000_100, 60, sell=True)
    scene.turns()
    taker = scene.order(price=1_000_100, quantity=100, side=lib.SIDE_BUY)
    scene.turns()
    fills = scene.risk.of_type(lib.EXEC_FILL)
    assert [(int(e["order_id"]), int(e["quantity_lots"]), int(e["leaves_lots"])) for e in fills] == [(taker, 60, 40)]
    scene.order(lib.CMD_CANCEL, target_order_id=taker, quantity=0, price=0)
    scene.turns()
    (gone,) = scene.risk.of_type(lib.EXEC_CANCELED)
    assert int(gone["order_id"]) == taker and int(gone["leaves_lots"]) == 0
    assert scene.world.intents()["type"].tolist() == [lib.CMD_NEW, lib.CMD_CANCEL]
    assert scene.world.counter("SYSTEM_CALLS") == 0
    assert scene.world.counter("OPEN_ORDERS") == 0


def test_silence_of_the_market_is_time_too(scene: PaperScene) -> None:
    scene.market(1, 1_000_100, 60, sell=True)
    scene.turns(1)
    scene.order(price=999_000, quantity=10)
    scene.turns(1, advance_ns=MICROSECOND)
    assert scene.risk.of_type(lib.EXEC_ACCEPTED) == []
    scene.turns(1, advance_ns=20 * MICROSECOND)
    assert len(scene.risk.of_type(lib.EXEC_ACCEPTED)) == 1


def test_kill_cancels_what_rests(scene: PaperScene) -> None:
    scene.market(1, 1_000_100, 60, sell=True)
    orders = [scene.order(price=999_000 - i, quantity=10) for i in range(5)]
    scene.turns()
    epoch = lib.control_kill(scene.world.control)
    scene.order(price=999_000)
    scene.turns()
    assert sorted(int(e["order_id"]) for e in scene.risk.of_type(lib.EXEC_CANCELED)) == orders
    assert [int(e["reason"]) for e in scene.risk.of_type(lib.EXEC_REFUSED)] == [lib.REJECT_KILLED]
    assert scene.world.control.killed_epoch_sent == epoch


def test_full_exec_ring_holds_the_market_and_loses_nothing(tmp_path: Path) -> None:
    scene = PaperScene(tmp_path, exec_capacity=16)
    scene.market(1, 1_000_100, 60, sell=True)
    for i in range(40):
        scene.order(price=999_000 - i, quantity=10)
    scene.turns(10)
    assert scene.world.counter("EXEC_FULL") > 0
    for _ in range(10):
        scene.risk.read()
        scene.turns()
    assert len(scene.risk.of_type(lib.EXEC_ACCEPTED)) == 40
    scene.gateway.die()


def test_orders_die_with_the_process_that_held_them(scene: PaperScene) -> None:
    scene.market(1, 1_000_100, 60, sell=True)
    scene.turns()
    filled = scene.order(price=1_000_100, quantity=60)
    resting = scene.order(price=1_000_100, quantity=10)
    scene.turns()
    scene.market(2, 1_000_100, 4, sell=True)
    scene.turns()
    scene.restart()
    scene.turns()
    (gone,) = scene.risk.of_type(lib.EXEC_CANCELED)
    assert int(gone["order_id"]) == resting != filled
    assert (int(gone["quantity_lots"]), int(gone["cumulative_lots"]), int(gone["leaves_lots"])) == (6, 4, 0)
    scene.restart()
    scene.turns()
    assert len(scene.risk.of_type(lib.EXEC_CANCELED)) == 1
