"""An engine in this process, its loop counted or confined: ``python -m tests.support.confined PLAN.json``.

Started by tests/e2e/test_no_alloc.py with bench/programs/confine.c preloaded. The plan names what to do and the
engine's configuration; the answer is one line of JSON: what the loop did, and what it cost in allocations, mappings
or system calls; or none, when it made a forbidden one.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

from bench.latency.inside import Shim, address
from ffi import ffi, lib
from hotpath.config import load_config
from hotpath.engine import EngineMemory
from hotpath.runs import live_spec
from hotpath.stages import ProcessStages

ALLOCATE, FREE, MAP, COUNTS = 0, 1, 2, 3
SYSTEM_CALLS = 1024  # by number
ROUNDS_MAX = 200


def function_of(name: str) -> int:
    """The engine's loop, or one of the shim's canaries."""
    if name == "duty":
        return address(ffi.addressof(lib, "duty_run"))
    return Shim.canary(name)


def counters_of(stages: ProcessStages) -> dict[str, Any]:
    """Pointers to the counters that tell what the loop did."""
    feed, risk, gateway = (getattr(stages, name).stage.page.counter for name in ("feed", "risk", "gateway"))
    return {
        "messages": feed + lib.FEED_MESSAGES,
        "events": feed + lib.FEED_EVENTS,
        "feed_system_calls": feed + lib.FEED_SYSTEM_CALLS,
        "approved": risk + lib.RISK_APPROVED,
        "orders": gateway + lib.GATEWAY_FRAMES_OUT,
        "fills": gateway + lib.GATEWAY_FILLS,
        "gateway_system_calls": gateway + lib.GATEWAY_SYSTEM_CALLS,
    }


def count(stages: ProcessStages, plan: dict[str, Any]) -> dict[str, Any]:
    """Slices of the loop until `messages` are through, with what it allocated meanwhile."""
    pointers = counters_of(stages)
    found = (ctypes.c_uint64 * COUNTS)()
    total = [0] * COUNTS
    stages.run(plan.get("warm_ns", 0))
    before = {name: int(pointer[0]) for name, pointer in pointers.items()}
    for _ in range(ROUNDS_MAX):
        Shim().counted_call(
            function_of(plan["function"]), address(stages.duty), plan["slice_ns"], ctypes.addressof(found)
        )
        total = [sofar + new for sofar, new in zip(total, found, strict=True)]
        if plan["function"] != "duty" or pointers["messages"][0] - before["messages"] >= plan["messages"]:
            break
    done = {name: int(pointer[0]) - before[name] for name, pointer in pointers.items()}
    return {**done, "allocated": total[ALLOCATE], "freed": total[FREE], "mapped": total[MAP]}


def confine(stages: ProcessStages, plan: dict[str, Any]) -> dict[str, Any]:
    """One slice of the loop in a child that may call nothing but write and exit."""
    pointers = counters_of(stages)
    words = ffi.new("uint64_t *[]", list(pointers.values()))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        Shim().confined_call(
            function_of(plan["function"]),
            address(stages.duty),
            plan["slice_ns"],
            writing,
            address(words),
            len(pointers),
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    values = struct.unpack(f"={1 + len(pointers)}Q", answer) if answer else ()
    done = dict(zip(("result", *pointers), values, strict=True)) if values else {}
    return {**done, "exit": os.waitstatus_to_exitcode(status)}


def trace(stages: ProcessStages, plan: dict[str, Any]) -> dict[str, Any]:
    """One call, the system calls that it made counted by their numbers."""
    found = (ctypes.c_uint64 * SYSTEM_CALLS)()
    traced = Shim().traced_call
    result = traced(function_of(plan["function"]), address(stages.duty), plan["slice_ns"], found, len(found))
    return {"result": result, "calls": {str(number): count for number, count in enumerate(found) if count}}


def main(plan_path: Path) -> None:
    """Build the engine, do what the plan says, print the answer."""
    plan = json.loads(plan_path.read_text())
    spec = live_spec(load_config(plan["config"]))
    memory = EngineMemory(spec)
    try:
        stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
        stages.duty.wait = lib.WAIT_SPIN
        lib.control_arm(memory.control, memory.control.kill_epoch)
        answer = {"count": count, "confine": confine, "trace": trace}[plan["what"]](stages, plan)
        lib.control_kill(memory.control)
        stages.run(plan.get("drain_ns", 0))
        stages.close()
    finally:
        memory.unlink()
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
