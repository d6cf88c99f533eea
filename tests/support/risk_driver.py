"""The risk stage as tests drive it, with rings, limits and plans of its own."""

from __future__ import annotations

from typing import Any

from ffi import ffi, lib
from tests.support.memory import Memory, Ring
from tests.support.stages import Context, Limits, instruments

COUNT = 2


class DrivenRisk:
    """A risk stage with its rings, its limits and a pen for each input."""

    def __init__(self, *, cmd_capacity: int = 1024, reject_capacity: int = 1024, batch_max: int = 64) -> None:
        self.risk = ffi.new("risk_stage *")
        self.context = Context(self.risk.stage, lib.STAGE_RISK)
        self.rings = {
            "norm": Ring("norm_event", "risk", capacity=2048),
            "exec": Ring("exec_event", "risk", capacity=2048),
            "signal": Ring("signal_event", "risk", capacity=2048),
            "cmd": Ring("cmd_event", "gateway", capacity=cmd_capacity, dirty=True),
            "reject": Ring("exec_event", "signal", capacity=reject_capacity, dirty=True),
        }
        self.attach()
        self.entries = instruments(COUNT)
        self.limits = Limits(COUNT)
        self.limits.publish()
        self.gate_memory = Memory(lib.gate_bytes(COUNT, 256), dirty=True)
        self.copies = [Memory(self.limits.copy_bytes) for _ in range(2)]
        assert self.start() == 1
        self.risk.batch_max = batch_max
        self.pens = {name: self.rings[name].writer() for name in ("norm", "exec", "signal")}
        self.plan = ffi.new("turn_plan *")

    def attach(self) -> None:
        for name in ("norm", "exec", "signal"):
            self.rings[name].attach_reader(ffi.addressof(self.risk, name), "risk")
        for name in ("cmd", "reject"):
            self.rings[name].attach_writer(ffi.addressof(self.risk, name))

    def start(self) -> int:
        gate, size = ffi.addressof(self.risk, "gate"), self.gate_memory.size
        assert lib.gate_init(gate, self.gate_memory.pointer, size, COUNT, 256) == 1
        self.risk.gate.entry = self.entries
        self.risk.limits, self.risk.limits_bytes = self.limits.page, self.limits.copy_bytes
        for index, copy in enumerate(self.copies):
            self.risk.limits_copy[index] = ffi.cast("limits_header *", copy.pointer)
        return int(lib.risk_init(self.risk))

    def turn(self) -> int:
        """Plan, then take the turn."""
        lib.risk_plan(self.risk, self.plan)
        return int(lib.risk_turn(self.risk, self.plan))

    def quote(self, **fields: Any) -> int:
        """A fresh book of 9,990 to 10,010."""
        book = {"bid_price_ticks": 9_990, "ask_price_ticks": 10_010, "flags": lib.FLAG_TOP, "type": lib.NORM_ADD}
        return self.pens["norm"].publish(**(book | fields))

    def intent(self, **fields: Any) -> int:
        """A sensible intent; its order id."""
        intent = {"type": lib.SIGNAL_NEW, "price_ticks": 10_000, "quantity_lots": 10, "cause_input": lib.INPUT_NORM}
        intent["cause_sequence"] = self.rings["signal"].published
        return self.pens["signal"].publish(**(intent | fields)) + 1

    def report(self, kind: int, order_id: int, **fields: Any) -> int:
        """An execution event."""
        return self.pens["exec"].publish(**({"type": kind, "order_id": order_id} | fields))

    def counter(self, index: int) -> int:
        return self.context.counter(index)
