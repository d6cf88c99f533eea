"""hotpath's part of engines.py: a fused engine with the rule compiled on the path, and every limit on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.engine import FusedEngine, bench_config, bench_spec, feed_instruments, fused_engine, scratch
from bench.harness import BenchError
from bench.peers import lean
from ffi import lib
from hotpath.engine import EngineSpec
from hotpath.report import collect_report

SLICE_NS = 200_000_000
KEPT = 1 << 17  # orders and reports that the rings still hold at the end


def spec_of(itch: str, folder: Path, cpu: int, *, lockstep: bool, **feed: Any) -> EngineSpec:
    """The engine of the benches, with the rule."""
    config = bench_config(
        f"bench-peers-{os.getpid()}",
        Path(itch),
        engine={"state_dir": str(folder)},
        feed=feed,
        rings={"cmd": KEPT, "exec": KEPT},
        signal={
            "native": f"{lean.__file__}:lean",
            "weights": {"microprice": 0.0, "momentum": 0.0, "reversion": 0.0, "custom": 1.0},
            "threshold": 0.5,
        },
    )
    return bench_spec(config, feed_instruments(Path(itch)), cpu=cpu, lockstep=lockstep)


def sent(engine: FusedEngine) -> dict[str, Any]:
    """Orders and fills, from the rings. Raises BenchError when they no longer hold all."""
    found = {}
    for name in ("cmd", "exec"):
        ring = engine.memory.segments[name]
        slots = ring.view(f"{name}_event", offset=lib.RING_SLOTS_OFFSET, count=ring.info.capacity)
        slots = slots[slots["header"]["stamp"] > 0]
        if len(slots) == ring.info.capacity:
            raise BenchError(f"the ring {name} does not hold the whole run")
        found[name] = slots[np.argsort(slots["header"]["stamp"])]
    orders = found["cmd"][found["cmd"]["header"]["type"] == lib.CMD_NEW]
    sides = np.where(orders["side"] == lib.SIDE_BUY, 1, -1)
    columns = (orders["header"]["origin_time_ns"].astype("i8"), sides, orders["price_ticks"])
    fills = int((found["exec"]["header"]["type"] == lib.EXEC_FILL).sum())
    return {
        "orders": [list(each) for each in zip(*(column.tolist() for column in columns), strict=True)],
        "fills": fills,
    }


def replay(itch: str, rounds: int, **_: str) -> dict[str, Any]:
    """As `hotpath replay` does, in virtual time, a round of every stage after each message; seconds of processor time
    of the quickest round."""
    (cpu,) = os.sched_getaffinity(0)
    best, found = float("inf"), {}
    for _round in range(rounds):
        with scratch() as folder, fused_engine(spec_of(itch, folder, cpu, lockstep=True, pace="flat")) as engine:
            began = time.process_time()
            while engine.stages.run(SLICE_NS) == lib.DUTY_SLICE_OVER:
                pass
            best = min(best, time.process_time() - began)
            if not engine.done():
                raise BenchError("the replay ended early")
            found = sent(engine)
    return {"seconds": best, **found}


def live(itch: str, rate: int) -> dict[str, Any]:
    """At a rate: from the instant at which a message was due to its order's frame stored."""
    (cpu,) = os.sched_getaffinity(0)
    with scratch() as folder, fused_engine(spec_of(itch, folder, cpu, lockstep=False, rate_per_second=rate)) as engine:
        while not engine.done():
            engine.run(100_000_000)
        engine.run(10_000_000)
        hop = collect_report(engine.memory, seconds=1.0).stat.hops["order_path"]
        return {"p50_ns": hop.p50_ns, "p99_ns": hop.p99_ns, **sent(engine)}
