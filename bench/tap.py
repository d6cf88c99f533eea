"""What does the path pay for being looked at? The tap and a subscriber, running and stopped, in turns.

    fused engine, one processor      rings ··observer cursors··> tap ──ipc──> hotpath tail     (the other processor)

One run; slices with and without, A B B A, the processes stopped and continued by signal between them. The
ratio of the path's p99 over order-producing events, from intended time. Two controls beside it: slices that
both have nothing say what the method itself sees; a loop that only keeps the other processor busy says what
this host makes of any neighbour, which is no property of the tap.
"""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.engine import MILLISECOND_NS, FusedEngine, fused_engine, scratch
from bench.harness import BenchError, Finding, Options, Table, ns_text, pinned
from bench.paired import Counts, Ratio, counts_of, p99_ratio
from bench.path import fused_spec, warm_messages
from ffi import lib
from hotpath.config import TapConfig
from hotpath.endpoints import tap_endpoint
from hotpath.engine import EngineSpec
from hotpath.run_file import write_run_file
from hotpath.topology import side_segment

LIMIT = 1.02
RATE = 50_000
SLICE_NS = 100 * MILLISECOND_NS
PAIRS = (("none", "tap"), ("idle", "busy"), ("still", "still again"))
SETTLE_NS = 30 * MILLISECOND_NS  # after a change: the tap catches up, the path's caches forget it
READY_SECONDS = 20.0


def run(options: Options) -> Finding:
    """The tap, and the control."""
    pairs = options.pick(smoke=2, quick=30, full=50)  # an order file holds 2^18
    messages = max(int(RATE * pairs * 2 * len(PAIRS) * (SLICE_NS + SETTLE_NS) / 1e9 * 1.1), 40_000)
    with scratch() as folder:
        plain = fused_spec(folder_name=str(folder), name="bench-tap", options=options, messages=messages, rate=RATE)
        spec = tapped(plain)
        with fused_engine(spec) as engine, onlookers(engine, folder, options) as processes, pinned(options.engine_cpu):
            tell([each for some in processes.values() for each in some], signal.SIGSTOP)
            engine.warm_up(warm_messages(messages))
            measured: dict[str, list[Counts]] = {name: [] for pair in PAIRS for name in pair}
            paused = engine.pause()
            for turn in range(pairs):
                for names in PAIRS:
                    for name in names if turn % 2 == 0 else reversed(names):
                        paused = measure(engine, processes.get(name, []), measured[name], paused)
            events = int(engine.memory.segments[side_segment("tap")].cast("stage_page *").counter[lib.TAP_FRAME_EVENTS])
    if not events:
        raise BenchError("the tap sent nothing: there was nothing to measure")
    table = Table(
        f"The path with the tap and a subscriber, fused, {RATE:,} messages a second, A B B A",
        ["p99 of the path", "without", "with", "ratio", "95% below"],
    )
    finding = Finding("tap", tables=[table])
    verdicts: dict[str, str] = {}
    for label, (without, with_it) in {
        "tap and tail": ("none", "tap"),
        "control: a busy neighbour": ("idle", "busy"),
        "control: nothing, twice": ("still", "still again"),
        "tap and tail over a busy neighbour": ("busy", "tap"),
    }.items():
        ratio = p99_ratio(measured[without], measured[with_it])
        table.rows.append(row(label, ratio))
        verdicts[label] = ratio.verdict(LIMIT)
        finding.records.append({"what": label, "rate_per_second": RATE, **ratio.record()})
    slices = f"{pairs} pairs of {SLICE_NS // MILLISECOND_NS} ms"
    table.notes.append(f"{events:,} events published to one subscriber; {slices}; bound by bootstrap over pairs")
    table.notes += [f"{label}: {verdict}" for label, verdict in verdicts.items()]
    return finding


def row(label: str, ratio: Ratio) -> list[str]:
    spans = [ns_text(ratio.p99_without_ns), ns_text(ratio.p99_with_ns)]
    return [label, *spans, f"{ratio.ratio:.3f}", f"{ratio.upper:.3f}"]


def tapped(spec: EngineSpec) -> EngineSpec:
    """The same engine with a tap."""
    return dataclasses.replace(spec, config=msgspec.structs.replace(spec.config, tap=TapConfig(enabled=True)))


def measure(engine: FusedEngine, beside: list[subprocess.Popen[Any]], into: list[Counts], paused: int) -> int:
    """One slice, after a while to settle; returns the instant at which the engine was paused again."""
    tell(beside, signal.SIGCONT)
    engine.resume(paused)
    engine.run(SETTLE_NS)
    paused = engine.pause()
    engine.forget()
    engine.resume(paused)
    engine.run(SLICE_NS)
    paused = engine.pause()
    hops = engine.memory.segments["hops.gateway"].cast("histogram *")
    into.append(counts_of(hops[lib.HOP_ORDER_PATH]))
    tell(beside, signal.SIGSTOP)
    return paused


def tell(processes: list[subprocess.Popen[Any]], number: int) -> None:
    for process in processes:
        process.send_signal(number)


@contextmanager
def onlookers(engine: FusedEngine, folder: Path, options: Options) -> Iterator[dict[str, list[subprocess.Popen[Any]]]]:
    """The tap of this engine with a subscriber to its orders, and a loop; on the driver's processor."""
    run_path = folder / "tap.run.json"
    write_run_file(run_path, engine.spec, run_epoch=engine.memory.run_epoch)
    endpoint = tap_endpoint(engine.spec.config)
    tail = ["hotpath", "tail", "--endpoint", endpoint, "--ring", "cmd,exec", "--json"]
    commands = [["-m", "hotpath.tap", str(run_path)], ["-m", *tail], ["-c", "while True: pass"]]
    nowhere = subprocess.DEVNULL
    with pinned(options.driver_cpu):  # which they inherit
        processes = [
            subprocess.Popen([sys.executable, *command], stdin=nowhere, stdout=nowhere, stderr=nowhere)
            for command in commands
        ]
    page = engine.memory.segments[side_segment("tap")].cast("stage_page *")
    try:
        deadline = time.monotonic() + READY_SECONDS
        while page.state != lib.STAGE_READY or not page.counter[lib.TAP_SUBSCRIPTIONS]:
            if time.monotonic() > deadline:
                raise BenchError("no tap with a subscriber came up")
            time.sleep(0.01)
        yield {"tap": processes[:2], "busy": processes[2:]}
    finally:
        for process in processes:
            process.kill()
            process.wait()
