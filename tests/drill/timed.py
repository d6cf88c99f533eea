"""Kills that are timed: from the call to *effective*, and from the command's being typed to its word's being stored."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from ffi import lib
from hotpath.config import Config, EngineConfig
from hotpath.drill.engine import DrillEngine, drill_config, drill_venue
from hotpath.drill.rehearse import Timed, percentile, timed_kill, typed_kill
from hotpath.scratch import scratch_folder

TOPOLOGIES = ("fused", "paired", "split")
AIM_NS = {"fused": 200_000, "paired": 10_000_000, "split": 10_000_000}
TYPED = 20


def timed_kills(topology: str, *, kills: int) -> list[Timed]:
    """So many kills of one engine; a fused one has the last processor to itself, the caller the others."""
    cpus = sorted(os.sched_getaffinity(0))
    alone = topology == "fused" and len(cpus) > 1
    config = Config(engine=EngineConfig(topology=topology, wait="spin"))  # type: ignore[arg-type]
    if alone:
        config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, cpus=[cpus[-1]]))
    with scratch_folder("drill") as folder, drill_venue(folder, receive_bytes=0) as (venue, tap):
        if alone:
            for pid in (os.getpid(), venue.process.pid):
                os.sched_setaffinity(pid, set(cpus[:-1]))
        own = drill_config(f"timed{os.getpid()}", venue, tap, folder, like=config)
        engine = DrillEngine(own, folder, "--arm")
        os.sched_setaffinity(engine.process.pid, set(cpus))
        try:
            engine.wait_trading(tap, orders=1)
            return [timed_kill(engine, tap, linger_seconds=0.001, orders=3) for _ in range(kills)]
        finally:
            engine.end()
            engine.close()
            os.sched_setaffinity(0, set(cpus))


def report_timed(*, kills: int) -> int:
    """Print one line for each topology; how many order bytes came late."""
    late = 0
    for topology in TOPOLOGIES:
        count = kills if topology == "fused" else max(20, kills // 10)
        started = time.monotonic()
        found = timed_kills(topology, kills=count)
        spans = [each.effective_ns for each in found]
        late += sum(len(each.late) for each in found)
        print(
            f"{topology}: {count} kills, call to effective p50 {percentile(spans, 0.5) / 1e3:,.1f} us, "
            f"p99 {percentile(spans, 0.99) / 1e3:,.1f} us (aim {AIM_NS[topology] / 1e3:,.0f}), "
            f"max {max(spans) / 1e3:,.1f} us; last order byte p99 "
            f"{percentile([each.last_order_ns for each in found], 0.99) / 1e3:,.1f} us after the call; "
            f"cancels confirmed p99 {percentile([each.cancels_ns for each in found], 0.99) / 1e6:,.1f} ms; "
            f"{sum(each.discarded for each in found)} orders thrown away, {late} late; "
            f"{time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    return late


def report_typed() -> None:
    """Print how long `hotctl kill --local` takes to store its word, from its being typed, beside a bare interpreter."""
    with scratch_folder("drill") as folder, drill_venue(folder, receive_bytes=0) as (venue, tap):
        own = drill_config(f"typed{os.getpid()}", venue, tap, folder, like=Config())
        engine = DrillEngine(own, folder, "--arm")
        try:
            engine.wait_trading(tap, orders=3)
            spans, cpu, bare = [], [], []
            for _ in range(TYPED):
                span_ns, told = typed_kill(engine)
                spans.append(span_ns)
                cpu.append(int(str(told.get("stored_cpu_ns", 0))))
                bare.append(_bare_interpreter(folder))
                lib.control_arm(engine.control, engine.control.kill_epoch)
        finally:
            engine.end()
            engine.close()
    print(
        f"typed to stored: {TYPED} commands beside a trading engine, p50 {percentile(spans, 0.5) / 1e6:.1f} ms, "
        f"p99 {percentile(spans, 0.99) / 1e6:.1f} ms (aim 50), of which processor time p50 "
        f"{percentile(cpu, 0.5) / 1e6:.1f} ms; an interpreter that does nothing: "
        f"p50 {percentile(bare, 0.5) / 1e6:.1f} ms; load {os.getloadavg()[0]:.1f}"
    )


def _bare_interpreter(folder: Path) -> int:
    started_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", "pass"], check=True, cwd=folder)
    return time.monotonic_ns() - started_ns
