"""How long does a foreign program's round trip take: market event, its order, its report?

    driver's processor: the program, spinning            engine's processor: four stages fused, spinning
      norm ring (observer)              <-----------       feed
      seat.bench.orders                 ----------->       signal: front end, intake, turn -> risk -> cmd -> gateway
      seat.bench.reports                <-----------       signal, of the paper venue's answer

An order for every tenth market event at a steady rate that does not wait for answers; immediate-or-cancel at the bid,
so that none piles up. The same program in C and in Python, one after the other, on the same feed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bench.engine import FusedEngine, bench_config, bench_spec, feed_instruments, fused_engine, scratch
from bench.harness import (
    ROOT,
    BenchError,
    Finding,
    Options,
    Table,
    compile_program,
    flow_file,
    json_lines,
    ns_text,
    pinned,
    spin_note,
)
from bench.programs.coprocess_trader import TRIP
from ffi import lib
from hotpath.config import CoprocessConfig
from hotpath.host import spin_control

EVERY = 10  # market events for an order
RATE = 20_000  # market events a second
ATTACH_SECONDS = 4  # of market that a program may miss while it starts
SLICE_NS = 20_000_000
PATIENCE_SECONDS = 90.0
SEAT = CoprocessConfig(
    name="bench", account=2, strategy=100, messages_per_second_max=1_000_000, open_orders_max=4000, heartbeat_ms=30_000
)
PERCENTILES = (50.0, 99.0, 99.9, 100.0)


def run(options: Options) -> Finding:
    """C, then Python."""
    if not options.two_cores:
        return Finding("coprocess", skipped="a second processor, for the program")
    orders = options.pick(smoke=200, quick=5_000, full=30_000)
    program = compile_program("programs/coprocess_trader.c")
    finding = Finding("coprocess")
    for language, command in (
        ("C", [str(program)]),
        ("Python", [sys.executable, "-m", "bench.programs.coprocess_trader"]),
    ):
        legs = measure(command, orders, options)
        finding.records.append({"language": language, "orders": orders, "rate_per_second": RATE // EVERY, **legs})
    control = spin_control(duration_ns=300_000_000, interval_ns=10**9 // RATE, cpu=options.engine_cpu)
    finding.tables.append(table_of(finding.records, orders))
    finding.tables[0].notes.append(spin_note(control))
    return finding


def measure(command: list[str], orders: int, options: Options) -> dict[str, Any]:
    """One program beside a fresh engine; the percentiles of its legs."""
    messages = orders * EVERY + ATTACH_SECONDS * RATE
    path = flow_file(messages=messages, instruments=8, live_orders=2000)
    with scratch() as folder, pinned(options.engine_cpu):
        config = bench_config(
            "bench-coprocess",
            path,
            engine={"state_dir": str(folder)},
            feed={"rate_per_second": RATE},
            rings={"cmd": 1 << 17, "norm": 4096},
            signal={"threshold": 1.0, "weights": {"microprice": 0.0, "momentum": 0.0, "reversion": 1.0}},
        )
        config = msgspec.structs.replace(config, coprocesses=[SEAT])
        target = folder / "trips"
        with fused_engine(bench_spec(config, feed_instruments(path), cpu=options.engine_cpu)) as engine:
            arguments = ["bench-coprocess", "bench", str(orders), str(EVERY), str(target)]
            lost = drive(engine, ["taskset", "-c", str(options.driver_cpu), *command, *arguments], orders)
            return {"market_lost": lost, **legs_of(np.fromfile(target, TRIP), commands_of(engine))}


def drive(engine: FusedEngine, command: list[str], orders: int) -> int:
    """Run the engine until the program has ended; market events that it was too slow to read.

    Raises BenchError when it did not get every answer.
    """
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as program:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while program.poll() is None:
            engine.run(SLICE_NS)
            if time.monotonic() > deadline or engine.done():
                program.kill()
        assert program.stdout is not None, "it was asked for"
        text = program.stdout.read()
    (told,) = json_lines(text) or [{}]
    if program.returncode or (told.get("answered"), told.get("cut")) != (orders, 0):
        raise BenchError(f"{Path(command[3]).name}: ended with {program.returncode}, {told or 'said nothing'}")
    return int(told["lost"])


def commands_of(engine: FusedEngine) -> dict[int, int]:
    """When each order was published to the gateway, by order id."""
    ring = engine.memory.segments["cmd"]
    slots = ring.view("cmd_event", offset=lib.RING_SLOTS_OFFSET, count=ring.info.capacity)
    slots = slots[slots["header"]["stamp"] > 0]
    return dict(zip(slots["order_id"].tolist(), slots["header"]["publish_time_ns"].tolist(), strict=True))


def legs_of(trips: npt.NDArray[Any], published: dict[int, int]) -> dict[str, Any]:
    """Percentiles of each leg and of the whole. Raises BenchError when a trip's instants are out of order."""
    approved = np.array([published.get(int(order_id), 0) for order_id in trips["order_id"]], "u8")
    if not (approved > 0).all():
        raise BenchError(f"{int((approved == 0).sum())} orders never reached the gateway")
    instants = [trips["market_time_ns"], trips["sent_time_ns"], approved, trips["told_time_ns"]]
    legs = {}
    for name, start, end in (("think", 0, 1), ("approve", 1, 2), ("report", 2, 3), ("whole", 0, 3)):
        spans = instants[end].astype("i8") - instants[start].astype("i8")
        if spans.min() < 0:
            raise BenchError(f"a leg took {int(spans.min())} ns: {name}")
        legs[name] = {
            f"p{each:g}_ns": int(value)
            for each, value in zip(PERCENTILES, np.percentile(spans, PERCENTILES), strict=True)
        }
    return legs


def table_of(records: list[dict[str, Any]], orders: int) -> Table:
    """A row for each leg of each language."""
    said = {
        "whole": "event published to report read",
        "think": "of it: event published to request written",
        "approve": "request written to order published (intake, signal, risk)",
        "report": "order published to report read (gateway, paper venue, signal)",
    }
    table = Table(
        f"A foreign program's round trip, {orders:,} orders each, {RATE // EVERY:,} a second",
        ["", "p50", "p99", "p99.9", "max"],
    )
    for record in records:
        for leg, words in said.items():
            spans = [ns_text(record[leg][f"p{each:g}_ns"]) for each in PERCENTILES]
            table.rows.append([f"{record['language']}: {words}", *spans])
        if record["market_lost"]:
            table.notes.append(f"{record['language']}: {record['market_lost']:,} market events were overwritten unread")
    return table
