"""The C gate as tests drive it: events as dicts, in memory that was not zeroed for it."""

from __future__ import annotations

from typing import Any

from ffi import ffi, lib
from tests.support.memory import Memory, fill_event
from tests.support.stages import ENGINE_LIMITS, INSTRUMENT_LIMITS, ORIGIN_NS, Limits, instruments


class DrivenGate:
    """A gate with limits of its own. `now_ns`, `mode` and `killed` are those of the next turn's plan."""

    def __init__(
        self, *, count: int = 2, orders_max: int = 64, now_ns: int = ORIGIN_NS, kernel: Any = lib, **entry: Any
    ) -> None:
        """`kernel`: whose gate; tests of the tests give one that was damaged on purpose."""
        self.kernel = kernel
        self.count = count
        self.orders_max = orders_max
        self.entries = instruments(count, **entry)
        self.limits = Limits(count)
        self.page = ffi.new("stage_page *")
        size = kernel.gate_bytes(count, orders_max)
        self.memory = Memory(size, dirty=True)
        self.gate = ffi.new("gate *")
        assert kernel.gate_init(self.gate, self.memory.pointer, size, count, orders_max) == 1
        self.gate.entry = self.entries
        self.gate.counter = self.page.counter
        self.plan = ffi.new("turn_plan *", {"now_ns": now_ns})
        self.command = ffi.new("cmd_event *")
        self.intent = ffi.new("signal_event *")
        self.exec = ffi.new("exec_event *")
        self.norm = ffi.new("norm_event *")
        self.order_id = 0
        self.cause = 0
        self.set_limits()

    def set_limits(self, *, entry: dict[str, int] | None = None, **engine: int) -> None:
        """New limits in force; what is not named is as in stages.py."""
        self.limits.publish(entry=entry, **engine)
        self.gate.limits = self.limits.copy(self.limits.page.generation)[0]
        self.engine_limits = ENGINE_LIMITS | engine
        self.instrument_limits = INSTRUMENT_LIMITS | (entry or {})

    def decide(self, fields: dict[str, Any], order_id: int) -> int:
        """gate_check on exactly these fields; what gate_measure said before must come out the same."""
        fill_event(self.intent, fields)
        rows = self.measure(order_id)
        foretold = next((row.reason for row in rows if row.outcome == lib.OUTCOME_REFUSES), lib.REJECT_NONE)
        reason = int(self.kernel.gate_check(self.gate, self.plan, self.intent, order_id, self.command))
        assert foretold == reason, [(row.reason, row.value, row.threshold, row.outcome) for row in rows]
        return reason

    def measure(self, order_id: int) -> list[Any]:
        """What each check has before it for the intent as it stands."""
        rows = ffi.new("gate_measured[]", lib.GATE_MEASURES_MAX)
        return [rows[i] for i in range(self.kernel.gate_measure(self.gate, self.plan, self.intent, order_id, rows))]

    def send(self, kind: int = lib.SIGNAL_NEW, **fields: Any) -> tuple[int, int]:
        """An intent, sensible where `fields` does not say otherwise: (order id, reason)."""
        self.order_id += 1
        self.cause += 1
        intent = {
            "type": kind,
            "instrument": 0,
            "side": lib.SIDE_BUY,
            "price_ticks": 10_000,
            "quantity_lots": 10,
            "cause_input": lib.INPUT_NORM,
            "cause_sequence": self.cause,
        } | fields
        return self.order_id, self.decide(intent, self.order_id)

    def execution(self, kind: int, order_id: int, **fields: Any) -> None:
        """One execution event."""
        fill_event(self.exec, {"type": kind, "order_id": order_id, "instrument": 0} | fields)
        self.kernel.gate_execution(self.gate, self.exec)

    def market(self, kind: int = lib.NORM_ADD, *, instrument: int = 0, **fields: Any) -> None:
        """One market event; by default a book of 9,990 to 10,010."""
        event = {"bid_price_ticks": 9_990, "ask_price_ticks": 10_010, "flags": lib.FLAG_TOP} | fields
        fill_event(self.norm, {"type": kind, "instrument": instrument} | event)
        self.kernel.gate_market(self.gate, self.plan, self.norm)

    def counter(self, index: int) -> int:
        return int(self.page.counter[index])

    def signed(self, index: int) -> int:
        """A gauge that holds a signed value."""
        return int(ffi.cast("int64_t", self.page.counter[index]))

    def state(self, instrument: int = 0) -> ffi.CData:
        return self.gate.instrument[instrument]
