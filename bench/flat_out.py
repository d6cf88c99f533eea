"""How many events a second does the whole path replay on one core, flat out?

    file --(as fast as norm has room)--> feed --> signal --> risk --> gateway (paper venue and its book)

One order in about a thousand events. Beside it the virtual-time replay of `hotpath replay`, which hands a
baton round after every message.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.engine import bench_config, bench_spec, feed_instruments, fused_engine, scratch
from bench.harness import GOOG_DAY, BenchError, Finding, Options, Table, flow_file, met, pinned
from ffi import lib
from hotpath.replay import ReplayOptions, replay_file

AIM_PER_SECOND = 4_000_000
THRESHOLDS = {"flow": 0.54, "GOOG": 0.59}  # of the score: about one event in a thousand passes it
INSTRUMENTS = 64
SLICE_NS = 500_000  # the last one ends idle: short beside the shortest run


def run(options: Options) -> Finding:
    """Flat-out replay of a generated day, and of the derived day where it lies."""
    finding = Finding("flat_out")
    table = Table("Flat-out replay of the whole path, one core", ["feed", "events", "orders", "events a second", "aim"])
    messages = options.pick(smoke=50_000, quick=1_000_000, full=6_000_000)
    generated = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=min(50_000, messages // 10))
    repeats = options.pick(smoke=1, quick=2, full=5)
    with pinned(options.engine_cpu):
        for label, path in (("generated, 64 instruments", generated), ("derived GOOG day", GOOG_DAY)):
            if not path.exists():
                table.notes.append(f"skipped: {path.name} is not in the shared data")
                continue
            best = max((play(path, options) for _ in range(repeats)), key=lambda each: each[0])
            rate, events, orders = best
            aim = f"{AIM_PER_SECOND / 1e6:.0f} M/s: {met(rate, AIM_PER_SECOND, below=False)}"
            table.rows.append([label, f"{events:,}", f"{orders:,}", f"{rate / 1e6:.2f} M", aim])
            finding.records.append({"feed": label, "events": events, "orders": orders, "events_per_second": rate})
        if GOOG_DAY.exists() and options.size != "smoke":
            report = replay_file(GOOG_DAY, ReplayOptions(engine_name="bench-replay"))
            rate = report.count("feed", "messages") / report.seconds
            table.rows.append(
                ["the same in virtual time", f"{report.count('feed', 'messages'):,}", "", f"{rate / 1e6:.2f} M", ""]
            )
            finding.records.append({"feed": "virtual time", "events_per_second": rate})
    table.notes.append(f"the best of {repeats}; time is this process's processor time")
    finding.tables.append(table)
    return finding


def play(path: Path, options: Options) -> tuple[float, int, int]:
    """Events a second of processor time, events, orders."""
    with scratch() as folder:
        config = bench_config(
            "bench-flat",
            path,
            engine={"state_dir": str(folder)},
            feed={"pace": "flat"},
            signal={"threshold": THRESHOLDS["GOOG" if path == GOOG_DAY else "flow"]},
        )
        spec = bench_spec(config, feed_instruments(path), cpu=options.engine_cpu)
        with fused_engine(spec) as engine:
            began = time.process_time()
            while not engine.done():
                engine.run(SLICE_NS)
            seconds = time.process_time() - began
            engine.run(SLICE_NS)
            events = int(engine.source.sequence) - 1
            page = engine.memory.stage_page("gateway")
            norm = int(engine.stages.gateway.norm.next)
            if norm != int(engine.stages.feed.norm.next):
                raise BenchError("an event did not reach the end of the path")
            return events / seconds, events, int(page.counter[lib.GATEWAY_NEW_ORDERS])
