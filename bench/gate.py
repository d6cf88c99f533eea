"""What does the risk gate cost with every limit on, and what does it cost to change limits a thousand times a second?

    orders at rest --> gate_check, gate_release, over and over       kernels/gate_bench.c: one core, warm
    fused engine, one processor  <-- limits page <-- a process that publishes 1,000 versions a second (the other one)

The first: ns of one check (each by itself) and instructions (callgrind) with 10, 1,000 and 10,000 orders open: they
must not grow with them. The second: pairs of slices A B B A of one run, the ratio of the path's p99 as
bench/paired.py says, with a busy neighbour and nothing at all as controls.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.engine import FusedEngine, fused_engine, scratch
from bench.harness import (
    BenchError,
    Finding,
    Options,
    Table,
    compile_program,
    default_options,
    has_valgrind,
    instructions,
    json_lines,
    met,
    pinned,
    run_program,
)
from bench.paired import Counts, p99_ratio
from bench.path import fused_spec, warm_messages
from bench.tap import LIMIT, RATE, SETTLE_NS, SLICE_NS, measure, row, tell
from ffi import ffi, lib
from ffi.dtypes import enum_names
from hotpath.limits_log import LimitsWriter

KERNELS = ("gate", "gate_follow", "limit_copy", "digest")
OPEN = (10, 1_000, 10_000)
AIM_NS = 150
CHANGES_PER_SECOND = 1000
PAIRS = (("none", "changing"), ("idle", "busy"), ("still", "still again"))


def run(options: Options) -> Finding:
    """Both."""
    finding = Finding("gate")
    orders(finding, options)
    changes(finding, options)
    return finding


def group_costs(options: Options) -> dict[str, dict[str, float]]:
    """What each group of limits adds to an order, on in every scope: for the control matrix."""
    program = compile_program("kernels/gate_bench.c", *KERNELS)
    names = {value: name.removeprefix("GROUP_").lower() for value, name in enum_names("limit_group").items()}
    found: dict[str, tuple[float, float]] = {}
    for mode in ("none", *names):
        (record,) = json_lines(run_program(program, 1000, mode, 100_000, cpu=options.engine_cpu))
        few, many = (instructions(program, 1000, mode, size) for size in (1000, 3000))
        found[names.get(mode, "none")] = ((many - few) / (2000 * 6), record["p50_ns"])  # type: ignore[call-overload]
    without = found.pop("none")
    return {
        name: {"instructions": round(count - without[0]), "ns": max(0, round(ns - without[1]))}
        for name, (count, ns) in found.items()
    }


def orders(finding: Finding, options: Options) -> None:
    """One order, by how many are open and how many limits are on."""
    program = compile_program("kernels/gate_bench.c", *KERNELS)
    calls = options.pick(smoke=2_000, quick=100_000, full=500_000)
    counted = has_valgrind() and options.size != "smoke"
    columns = ["limits on", "open orders", "check p50", "check p99", "check and release", "instructions", ""]
    table = Table("One order at the gate, warm, 64 instruments", columns)
    for limits in ("none", "all"):
        for count in OPEN:
            (record,) = json_lines(run_program(program, count, limits, calls, cpu=options.engine_cpu))
            each = None
            if counted:
                few, many = (instructions(program, count, limits, size) for size in (1000, 3000))
                each = (many - few) / (2000 * 6)
                record["instructions_per_order"] = each
            finding.records.append(record)
            spans = [f"{record[key]:.0f} ns" for key in ("p50_ns", "p99_ns", "ns_per_order")]
            verdict = met(record["p99_ns"], AIM_NS, below=True) if limits == "all" else ""
            shown = "-" if each is None else f"{each:,.0f}"
            table.rows.append([limits, f"{count:,}", *spans, shown, verdict])
    table.notes.append("none: those limits that cannot be off; all: each limit of each scope. Approved, then released")
    table.notes.append("instructions: of check and release together, callgrind")
    finding.tables.append(table)


def changes(finding: Finding, options: Options) -> None:
    """The path's tail while limits change."""
    pairs = options.pick(smoke=2, quick=30, full=50)
    messages = max(int(RATE * pairs * 2 * len(PAIRS) * (SLICE_NS + SETTLE_NS) / 1e9 * 1.1), 40_000)
    measured: dict[str, list[Counts]] = {name: [] for pair in PAIRS for name in pair}
    with scratch() as folder:
        spec = fused_spec(folder_name=str(folder), name="bench-gate", options=options, messages=messages, rate=RATE)
        with fused_engine(spec) as engine, writers(engine, options) as processes, pinned(options.engine_cpu):
            tell([each for some in processes.values() for each in some], signal.SIGSTOP)
            engine.warm_up(warm_messages(messages))
            before = int(engine.stages.risk.gate.limits.version)
            paused = engine.pause()
            for turn in range(pairs):
                for names in PAIRS:
                    for name in names if turn % 2 == 0 else reversed(names):
                        paused = measure(engine, processes.get(name, []), measured[name], paused)
            came = int(engine.stages.risk.gate.limits.version) - before
    if came < pairs:
        raise BenchError(f"{came} versions of the limits came into force: there was nothing to measure")
    table = Table(
        f"Limits changed {CHANGES_PER_SECOND:,} times a second, path fused, {RATE:,} messages a second, A B B A",
        ["p99 of the path", "without", "with", "ratio", "95% below"],
    )
    for label, (without, with_it) in {
        "limits changing": ("none", "changing"),
        "control: a busy neighbour": ("idle", "busy"),
        "control: nothing, twice": ("still", "still again"),
    }.items():
        ratio = p99_ratio(measured[without], measured[with_it])
        table.rows.append(row(label, ratio))
        table.notes.append(f"{label}: {ratio.verdict(LIMIT)}")
        finding.records.append({"what": label, "rate_per_second": RATE, **ratio.record()})
    table.notes.append(f"{came:,} versions came into force meanwhile")
    finding.tables.append(table)


@contextmanager
def writers(engine: FusedEngine, options: Options) -> Iterator[dict[str, list[subprocess.Popen[Any]]]]:
    """A process that changes limits, and one that only keeps its processor busy; on the driver's processor."""
    commands = [["-m", "bench.gate", engine.spec.name], ["-c", "while True: pass"]]
    with pinned(options.driver_cpu):  # which they inherit
        processes = [subprocess.Popen([sys.executable, *command]) for command in commands]
    try:
        time.sleep(1.5)  # it has imported what it needs
        yield {"changing": processes[:1], "busy": processes[1:]}
    finally:
        for process in processes:
            process.kill()
            process.wait()


def change_for_ever(engine: str) -> None:
    """Publish the same limits under a new version, a thousand times a second."""
    writer = LimitsWriter(engine, journaled=False)
    copy = bytearray(writer._copy)
    header = ffi.cast("limits_header *", ffi.from_buffer(copy))

    def make(version: int) -> bytearray:
        header.version = version
        header.firm.open_orders_max += 1 if version % 2 else -1
        lib.limits_seal(header)
        return copy

    due = time.monotonic()
    while True:
        writer.publish(make)
        due += 1 / CHANGES_PER_SECOND
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic() - 0.1)


if __name__ == "__main__":
    if sys.argv[1] == "--costs":
        print(json.dumps({"groups": group_costs(default_options())}, indent=1))
    else:
        change_for_ever(sys.argv[1])
