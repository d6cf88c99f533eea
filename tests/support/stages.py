"""Stages as tests drive them: a context of their own, virtual time, limits, plans kept for replay."""

from __future__ import annotations

from typing import Any

from ffi import ffi, lib
from tests.support.memory import Memory, Ring

TRADED = lib.INSTRUMENT_TRADED
ORIGIN_NS = 1_580_367_600_000_000_000  # 2020-01-30 02:00 in New York


class Context:
    """The pages of one stage. Its plans see the virtual time of `lockstep`; measured times are the clock's."""

    def __init__(self, stage: ffi.CData, stage_id: int, *, now_ns: int = ORIGIN_NS, record: bool = True) -> None:
        self.page = ffi.new("stage_page *")
        self.clock = ffi.new("clock_page *")
        self.control = ffi.new("control_page *")
        self.lockstep = ffi.new("lockstep_page *", {"now_ns": now_ns})
        self.hops = ffi.new("histogram[]", lib.HOPS_MAX)
        self.records = Ring("turn_event", "journal", capacity=4096)
        lib.clock_calibrate(self.clock, 0, 1)
        stage.page, stage.clock, stage.control = self.page, self.clock, self.control
        stage.lockstep, stage.hops, stage.id = self.lockstep, self.hops, stage_id
        if record:
            self.records.attach_writer(ffi.addressof(stage, "ctl"))
        self.stage = stage
        self.stage_pointer = stage if ffi.typeof(stage).kind == "pointer" else ffi.addressof(stage)

    def counter(self, index: int) -> int:
        """A counter; a gauge that holds a signed value is read as one."""
        return int(self.page.counter[index])

    def plans(self) -> list[ffi.CData]:
        """The plans of all recorded turns, as replay reads them."""
        return [plan_of(record) for record in self.records.events()]


def plan_of(record: Any) -> ffi.CData:
    """The plan that a turn record tells."""
    plan = ffi.new("turn_plan *")
    plan.now_ns = int(record["header"]["origin_time_ns"])
    for name in ("kill_epoch", "limits_version", "model_generation", "weights_version", "mode", "killed"):
        setattr(plan, name, int(record[name]))
    for index in range(lib.INPUTS_MAX):
        plan.input_sequence[index] = int(record["input_sequence"][index])
    return plan


def instruments(count: int = 2, **fields: Any) -> ffi.CData:
    """`count` instrument entries: traded, a tick worth 100 micros, steps of one tick, locates from 1."""
    entries = ffi.new("instrument_entry[]", count)
    for index in range(count):
        entries[index].symbol = f"I{index}".encode()
        entries[index].venue_locate = index + 1
        entries[index].flags = TRADED
        entries[index].tick_value_micros = 100
        entries[index].price_increment_ticks = 1
        entries[index].round_lot_lots = 100
        for name, value in fields.items():
            setattr(entries[index], name, value)
    return entries


INSTRUMENT_LIMITS = {
    "position_lots_max": 1000,
    "order_quantity_lots_max": 500,
    "order_value_micros_max": 10**15,
    "collar_ppm_max": 100_000,
    "flags": 0,
}
ENGINE_LIMITS = {
    "gross_value_micros_max": 10**16,
    "open_orders_max": 10_000,
    "messages_per_second_max": 100_000,
    "stale_after_ns": 10**9,
}


class Limits:
    """The limits segment's body: two copies and a page. Its writer's protocol, each step apart."""

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self.copy_bytes = int(lib.limits_bytes(count, lib.SCOPES_MAX))
        first = ffi.sizeof("limits_page")
        self.memory = Memory(first + 2 * self.copy_bytes)
        self.page = ffi.cast("limits_page *", self.memory.pointer)
        self.page.copy_offset[0], self.page.copy_offset[1] = first, first + self.copy_bytes
        self.page.copy_bytes = self.copy_bytes
        self.version = 0

    def copy(self, generation: int) -> tuple[ffi.CData, ffi.CData]:
        """Header and entries of the copy that belongs to a generation."""
        address = ffi.cast("char *", self.memory.pointer) + self.page.copy_offset[generation & 1]
        return ffi.cast("limits_header *", address), ffi.cast(
            "instrument_limits *", address + ffi.sizeof("limits_header")
        )

    def write(self, *, version: int | None = None, entry: dict[str, int] | None = None, **engine: int) -> None:
        """Fill the copy that is not in force, checksum included. Limits not named here are off."""
        header, entries = self.copy(self.page.generation + 1)
        self.version = self.version + 1 if version is None else version
        lib.limits_clear(header, self.count, 0)
        header.version = self.version
        for name, value in (ENGINE_LIMITS | engine).items():
            setattr(header if hasattr(header, name) else header.firm, name, value)
        for index in range(self.count):
            for name, value in (INSTRUMENT_LIMITS | (entry or {})).items():
                setattr(entries[index] if hasattr(entries[index], name) else entries[index].scope, name, value)
        lib.limits_seal(header)

    def switch(self) -> None:
        """Put the copy that was written into force."""
        self.page.generation += 1

    def publish(self, **changes: Any) -> None:
        """Write, then switch."""
        self.write(**changes)
        self.switch()
