"""What does an intent cost that survives the machine, beside one that survives its process?

    process   claim --> fill --> commit                                      a store into a mapped file
    power     claim --> fill --> commit --> one write through to the disk    gateway.durability = "power"

The same C functions that the gateway calls, on the disk that holds `engine.state_dir` by default (out/bench), in rounds
that take turns; each of power's syncs carries the intents of one turn. What the sync adds stands beside the path's
budget (`hotpath stat`: "order: on disk") and not in it: T1 comes before. The file is read back at the end.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import ROOT, BenchError, Finding, Options, Table, ns_text
from ffi import ffi, lib
from hotpath import host
from hotpath.intents import IntentFile, open_intents

TURNS = (1, 8)  # intents of one turn
ROUNDS = 10
BUDGET_NS = 1_000_000  # hotpath.stat.SYNC_BUDGET_NS, the disk's own
FRAME = bytes(range(50))


def run(options: Options) -> Finding:
    """Both promises, for one order a turn and for eight."""
    turns = options.pick(smoke=20, quick=400, full=2000)
    folder = ROOT / "out" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    table = Table(
        "An intent stored, and stored on disk, by orders of one turn",
        ["promise", "orders", "p50", "p99", "p99.9", "max", "budget p99", ""],
    )
    finding = Finding("durability", tables=[table])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for orders in TURNS:
            spans = measure(Path(scratch), turns=turns, orders=orders)
            for promise, measured in spans.items():
                table.rows.append(row(promise, orders, measured))
                finding.records.append(
                    {
                        "promise": promise,
                        "orders": orders,
                        "turns": len(measured),
                        **{f"p{at}_ns": int(np.percentile(measured, at)) for at in (50, 99, 99.9)},
                        "max_ns": int(measured.max()),
                    }
                )
        on_tmpfs = host.on_tmpfs(Path(scratch))
    table.notes.append("a tmpfs has no disk: a sync there costs and promises nothing" if on_tmpfs else f"on {folder}")
    table.notes.append("power loses no order that left; process asks the venue after a power loss")
    return finding


def row(promise: str, orders: int, spans: Any) -> list[str]:
    p50, p99, p999 = (int(np.percentile(spans, at)) for at in (50, 99, 99.9))
    budget = ns_text(BUDGET_NS) if promise == "power" else ""
    verdict = "" if promise != "power" else "met" if p99 <= BUDGET_NS else "missed"
    return [promise, str(orders), ns_text(p50), ns_text(p99), ns_text(p999), ns_text(int(spans.max())), budget, verdict]


def measure(folder: Path, *, turns: int, orders: int) -> dict[str, Any]:
    """Spans of one turn's intents in ns, by promise; rounds of both take turns."""
    capacity = turns * orders + orders
    stores = {}
    files: list[IntentFile] = []
    for promise in ("process", "power"):
        file = open_intents(folder / f"{promise}-{orders}.intents", capacity=capacity)
        store = ffi.new("intent_store *")
        if lib.intent_attach(store, file.pointer, file.size) != lib.INTENT_OK:
            raise BenchError("the intent file cannot be attached")
        file.promise(promise)
        if promise == "power":
            lib.intent_make_durable(store, *file.durable())
        files.append(file)
        stores[promise] = store
    spans: dict[str, list[int]] = {promise: [] for promise in stores}
    each = max(1, turns // ROUNDS)
    while len(spans["power"]) + each <= turns:
        for promise, store in stores.items():
            spans[promise] += [turn(store, orders) for _ in range(each)]
    for file in files:
        if len(file.records()) != len(spans["power"]) * orders:
            raise BenchError("the file does not hold every intent")
        file.close()
    return {promise: np.array(measured) for promise, measured in spans.items()}


def turn(store: Any, orders: int) -> int:
    """Store one turn's intents as the gateway does; returns how long it took."""
    begin = time.perf_counter_ns()
    for _ in range(orders):
        record = lib.intent_claim(store)
        record.type = lib.CMD_NEW
        record.user_ref = record.order_id = store.next + 1
        record.frame_length = len(FRAME)
        ffi.memmove(record.frame, FRAME, len(FRAME))
        lib.intent_commit(store)
    if not lib.intent_sync(store):
        raise BenchError("the disk failed")
    return time.perf_counter_ns() - begin
