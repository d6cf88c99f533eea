"""Drives a gateway in tests: rings and pages in files, so that a second process can take up after the
first, commands made as risk would make them, and time as the test says.

Run as a program it is a gateway process: python -m tests.gateway_driver FOLDER PORT [DURABILITY].
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath.intents import open_intents, read_intents

MS = 1_000_000
SECOND = 1_000 * MS
INSTRUMENTS = ("AAPL", "MSFT", "CVLT")


class World:
    """Rings, pages and the intent file of one gateway, in a folder. Opening it twice maps the same bytes."""

    def __init__(self, folder: Path, *, ring_capacity: int = 1024, exec_capacity: int = 1024) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mappings: list[Any] = []
        rings = {"cmd": ring_capacity, "exec": exec_capacity, "norm": ring_capacity, "ctl": ring_capacity}
        for name, capacity in rings.items():
            size = lib.ring_bytes(capacity, 128)
            setattr(self, name, self._map(name, size, kind=lib.SEGMENT_RING, capacity=capacity, slot_size=128))
            cursor = self._map(f"{name}.reader", 4096, kind=lib.SEGMENT_CURSOR, capacity=1)
            setattr(self, f"{name}_cursor", cursor)
        self.pages = self._map("pages", 65536)
        base = int(ffi.cast("uintptr_t", self.pages))
        self.control = ffi.cast("control_page *", base)
        self.stage_page = ffi.cast("stage_page *", base + 4096)
        self.clock = ffi.cast("clock_page *", base + 16384)
        self.instruments = ffi.cast("instrument_entry *", base + 20480)
        self.hops = self._map("hops", lib.HOPS_MAX * ffi.sizeof("histogram"))
        if self.clock.source == lib.CLOCK_UNSPECIFIED:
            lib.clock_calibrate(self.clock, 1_000_000, 0)
            for i in range(lib.HOPS_MAX):
                lib.histogram_reset(ffi.cast("histogram *", self.hops) + i)
            for i, symbol in enumerate(INSTRUMENTS):
                self.instruments[i].symbol = symbol.encode()

    cmd: Any
    cmd_cursor: Any
    exec: Any
    exec_cursor: Any
    norm: Any
    norm_cursor: Any
    ctl: Any
    ctl_cursor: Any

    def _map(self, name: str, size: int, *, kind: int = 0, capacity: int = 0, slot_size: int = 0) -> Any:
        path = self.folder / name
        fresh = not path.exists()
        with open(path, "w+b" if fresh else "r+b") as file:
            if fresh:
                file.truncate(size)
            mapping = mmap.mmap(file.fileno(), 0)  # as large as its maker made it
        self._mappings.append(mapping)
        pointer = ffi.cast("void *", ffi.from_buffer(mapping))
        if fresh and kind:
            header = np.zeros(1, dtype_of("segment_header"))
            header["layout_hash"] = layout_hash()
            header["capacity"] = capacity
            header["slot_size"] = slot_size
            header["kind"] = kind
            lib.segment_seal(pointer, ffi.cast("segment_header *", ffi.from_buffer(header)))
        return pointer

    def counter(self, name: str) -> int:
        return int(self.stage_page.counter[getattr(lib, f"GATEWAY_{name}")])

    @property
    def gateway_mode(self) -> int:
        """The strictest of the gateway's own causes."""
        return max(int(self.control.cause[cause]) for cause in (lib.CAUSE_SESSION, lib.CAUSE_BELIEF, lib.CAUSE_INTENTS))

    def intents(self) -> npt.NDArray[Any]:
        """The stored intents, read as another process would."""
        with read_intents(self.folder / "intents") as file:
            return file.records()


def make_config(**overrides: Any) -> Any:
    """A gateway_config with short time-outs; ``session_port=...`` reaches into the session's part."""
    config = ffi.new("gateway_config *")
    config.terms.kind = lib.VENUE_OUCH50
    config.terms.price_scale = 1
    config.terms.firm = b"    "
    config.terms.display, config.terms.capacity, config.terms.customer = ord("Y"), ord("P"), ord("N")
    line = config.session
    line.address = b"127.0.0.1"
    line.username, line.password = b"hotpat", b"secret    "
    line.send_bytes, line.receive_bytes = 65536, 131072
    line.heartbeat_ns, line.silence_ns = SECOND, 15 * SECOND
    line.connect_timeout_ns, line.login_timeout_ns = SECOND, SECOND
    line.backoff_ns_min, line.backoff_ns_max = 10 * MS, 80 * MS
    config.quiet_ns, config.query_timeout_ns = 2 * MS, 200 * MS
    config.orders_max, config.batch_max = 4096, 64
    config.instrument_count = len(INSTRUMENTS)
    for name, value in overrides.items():
        if name.startswith("session_"):
            setattr(config.session, name.removeprefix("session_"), value)
        elif name == "kind":
            config.terms.kind = value
        else:
            setattr(config, name, value)
    return config


class Gateway:
    """One gateway process's worth of state. Time stands still between turns unless the test moves it."""

    def __init__(
        self, world: World, config: Any, *, intents_max: int = 4096, paper: Any = ffi.NULL, durability: str = "process"
    ) -> None:
        self.world = world
        self.config = config
        size = lib.gateway_bytes(config)
        assert size, "the configuration is out of range"
        self._memory = mmap.mmap(-1, size)
        self.c = lib.gateway_init(ffi.from_buffer(self._memory), size, config)
        assert self.c != ffi.NULL
        self.c.stage.id = lib.STAGE_GATEWAY
        self.c.stage.page = world.stage_page
        self.c.stage.clock = world.clock
        self.c.stage.control = world.control
        self.c.stage.hops = ffi.cast("histogram *", world.hops)
        self.c.instruments = world.instruments
        self.c.paper = paper
        for reader, name in ((self.c.cmd, "cmd"), (self.c.norm, "norm")):
            status = lib.ring_reader_attach(
                ffi.addressof(reader), getattr(world, name), getattr(world, f"{name}_cursor"), lib.CURSOR_GATING
            )
            assert status == lib.RING_OK, (name, status, int(reader.next))
        for writer, name in ((self.c.exec, "exec"), (self.c.stage.ctl, "ctl")):
            assert lib.ring_writer_attach(ffi.addressof(writer), getattr(world, name)) == lib.RING_OK
        assert lib.ring_writer_gate(ffi.addressof(self.c.exec), world.exec_cursor) == lib.RING_OK
        self.file = open_intents(world.folder / "intents", capacity=intents_max)
        status = lib.gateway_open(self.c, self.file.pointer, self.file.size)
        assert status == lib.GATEWAY_OK, status
        self.file.promise(durability)
        if durability == "power":
            lib.gateway_make_durable(self.c, *self.file.durable())
        self.now_ns = int(lib.clock_now(world.clock))
        self.plan = ffi.new("turn_plan *")

    def turn(self, *, advance_ns: int = 100_000) -> bool:
        """One turn, so much later than the last."""
        self.now_ns += advance_ns
        lib.gateway_plan(self.c, self.plan)
        self.plan.now_ns = self.now_ns
        return bool(lib.gateway_turn(self.c, self.plan))

    @property
    def state(self) -> int:
        return int(self.c.session.state)

    @property
    def reason(self) -> int:
        return int(self.c.session.reason)

    def die(self) -> None:
        """Let go of everything as a killed process would: no logout, nothing flushed."""
        if self.c.session.fd >= 0:
            os.close(self.c.session.fd)
            self.c.session.fd = -1
        self.file.close()


class Risk:
    """What stands before and behind the gateway: writes commands, reads executions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._cmd = ffi.new("ring_writer *")
        self._exec = ffi.new("ring_reader *")
        assert lib.ring_writer_attach(self._cmd, world.cmd) == lib.RING_OK
        assert lib.ring_writer_gate(self._cmd, world.cmd_cursor) == lib.RING_OK
        assert lib.ring_reader_attach(self._exec, world.exec, world.exec_cursor, lib.CURSOR_GATING) == lib.RING_OK
        self.next_order_id = 1
        self.seen: list[Any] = []

    def command(self, type_: int = lib.CMD_NEW, **fields: Any) -> Any:
        """A command as an approved one; `cause` is its command_id's cause sequence."""
        event = ffi.new("cmd_event *")
        event.header.type = type_
        event.header.ingress_time_ns = int(lib.clock_now(self.world.clock))
        event.header.publish_time_ns = event.header.ingress_time_ns + 300
        event.feed_ns, event.signal_ns = 100, 100
        event.order_id = fields.pop("order_id", self.next_order_id)
        self.next_order_id = max(self.next_order_id, event.order_id + 1)
        event.id.cause_sequence = fields.pop("cause", event.order_id)
        event.id.account, event.id.strategy, event.id.input = 1, 1, lib.INPUT_NORM
        event.header.instrument = fields.pop("instrument", 0)
        event.header.flags = fields.pop("flags", 0)
        event.price_ticks = fields.pop("price", 1_000_000)
        event.quantity_lots = fields.pop("quantity", 100)
        event.kill_epoch = int(self.world.control.kill_epoch)
        event.limits_version = 1
        for name, value in fields.items():
            setattr(event, name, value)
        event.digest = lib.digest_command(event)
        return event

    def publish(self, event: Any) -> int:
        """Put it on the cmd ring; returns its order id."""
        assert lib.ring_publish(self._cmd, event, ffi.sizeof("cmd_event")) == lib.RING_OK
        return int(event.order_id)

    def new(self, **fields: Any) -> int:
        return self.publish(self.command(lib.CMD_NEW, **fields))

    def replace(self, target: int, **fields: Any) -> int:
        return self.publish(self.command(lib.CMD_REPLACE, target_order_id=target, **fields))

    def cancel(self, target: int, **fields: Any) -> int:
        return self.publish(self.command(lib.CMD_CANCEL, target_order_id=target, quantity=0, price=0, **fields))

    def read(self, count_max: int = 4096) -> list[Any]:
        """New executions, as structured elements; also kept in `seen`."""
        target = np.zeros(count_max, dtype_of("exec_event"))
        lost = ffi.new("uint64_t *")
        count = lib.ring_copy(self._exec, ffi.from_buffer(target), count_max, lost)
        events = list(target[:count])
        self.seen += events
        return events

    def of_type(self, type_: int) -> list[Any]:
        """Everything read so far of one type."""
        self.read()
        return [event for event in self.seen if event["header"]["type"] == type_]


def run_until(condition: Callable[[], bool], step: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Step until the condition holds; the watchdog is for a hang, not for speed."""
    end = time.monotonic() + seconds
    while not condition():
        step()
        assert time.monotonic() < end, "nothing came of it"


def main(folder: str, port: str, durability: str = "process") -> None:
    """A gateway process: turns until killed or told to stop."""
    world = World(Path(folder))
    gateway = Gateway(world, make_config(session_port=int(port)), durability=durability)
    while not world.control.stop:
        gateway.now_ns = int(lib.clock_now(world.clock))
        if not gateway.turn(advance_ns=0):
            time.sleep(0.0001)
    lib.gateway_close(gateway.c)


if __name__ == "__main__":
    main(*sys.argv[1:])
