"""What does the path pay for being written down, and how much can be written?

    fused engine, one processor  --rings--> journal process --segments--> disk       (the other processor)

The path: two engines over the same feed in this process, one with a journal and one without, in slices A B B A; the
journal sleeps (SIGSTOP) while the other engine runs. It is the whole price: turn records that are kept, rings that wait
for one reader more, and a neighbour that hashes and writes. Two controls beside it: the engine without a journal
against itself, and against itself with a loop that keeps the other processor busy.

The ceiling: a writer that publishes executions as fast as the journal takes them, for each sync policy, to the disk
under out/. Every event is read back and counted, and the chain verified.
"""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import harness
from bench.engine import MILLISECOND_NS, FusedEngine, bench_config, bench_spec, feed_instruments, fused_engine, scratch
from bench.harness import BenchError, Finding, Options, Table, flow_file, ns_text, pinned
from bench.paired import Counts, counts_of, p99_ratio
from bench.path import INSTRUMENTS, fused_spec, warm_messages
from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.config import JournalConfig, RingsConfig
from hotpath.engine import EngineMemory, EngineSpec, engine_memory
from hotpath.journal import Journal
from hotpath.journal.verify import verify
from hotpath.rings import RingWriter
from hotpath.run_file import write_run_file
from hotpath.topology import side_segment

LIMIT = 1.02
RATE = 50_000
SLICE_NS = 100 * MILLISECOND_NS
SETTLE_NS = 30 * MILLISECOND_NS
READY_SECONDS = 20.0
PAIRS = (("none", "journal"), ("idle", "busy"), ("still", "still again"))
BATCH = 512
MIB = 1 << 20


def run(options: Options) -> Finding:
    """The path's price, then the ceiling."""
    finding = Finding("journal")
    measure_path(options, finding)
    measure_ceiling(options, finding)
    return finding


# ---- the path ----------------------------------------------------------------------------------------------


def measure_path(options: Options, finding: Finding) -> None:
    """Two engines in turns."""
    pairs = options.pick(smoke=2, quick=20, full=40)
    messages = max(int(RATE * pairs * 5 * (SLICE_NS + SETTLE_NS) / 1e9 * 1.6), 40_000)
    measured: dict[str, list[Counts]] = {name: [] for pair in PAIRS for name in pair}
    with scratch() as folder, ExitStack() as stack:
        plain, kept = (stack.enter_context(fused_engine(spec)) for spec in specs(folder, options, messages=messages))
        journal = stack.enter_context(journal_of(kept.memory, folder / "journal", options))
        stack.enter_context(pinned(options.engine_cpu))
        paused = {}
        for engine in (plain, kept):
            engine.warm_up(warm_messages(messages))
            paused[id(engine)] = engine.pause()
        busy = stack.enter_context(beside(["-c", "while True: pass"], options))
        for process in (journal, busy):
            process.send_signal(signal.SIGSTOP)
        for turn in range(pairs):
            for names in PAIRS:
                for name in names if turn % 2 == 0 else reversed(names):
                    engine = kept if name == "journal" else plain
                    neighbour = {"journal": journal, "busy": busy}.get(name)
                    measured[name].append(slice_of(engine, neighbour, paused))
        journal.send_signal(signal.SIGCONT)
        end_in_order(journal)
        events = check_journal(folder / "journal", kept.memory)
    table = Table(
        f"The path with a journal, fused, {RATE:,} messages a second, A B B A",
        ["p99 of the path", "without", "with", "ratio", "95% below"],
    )
    for label, (without, with_it) in {
        "journal": ("none", "journal"),
        "control: a busy neighbour": ("idle", "busy"),
        "control: nothing, twice": ("still", "still again"),
    }.items():
        if not all(counts.any() for name in (without, with_it) for counts in measured[name]):
            raise BenchError(f"{label}: a slice without an order: the engine halted, or its feed came to its end")
        ratio = p99_ratio(measured[without], measured[with_it])
        spans = [ns_text(ratio.p99_without_ns), ns_text(ratio.p99_with_ns)]
        table.rows.append([label, *spans, f"{ratio.ratio:.3f}", f"{ratio.upper:.3f}"])
        table.notes.append(f"{label}: {ratio.verdict(LIMIT)}")
        finding.records.append({"what": label, "rate_per_second": RATE, **ratio.record()})
    table.notes.append(
        f"{events:,} events journaled, verified; {pairs} pairs of {SLICE_NS // MILLISECOND_NS} ms slices"
    )
    finding.tables.append(table)


def specs(folder: Path, options: Options, *, messages: int) -> tuple[EngineSpec, EngineSpec]:
    """The same engine twice, the second with a journal."""
    plain = fused_spec(folder_name=str(folder), name="bench-plain", options=options, messages=messages, rate=RATE)
    config = plain.config
    engine = msgspec.structs.replace(config.engine, name="bench-kept", state_dir=str(folder / "kept"))
    rings = msgspec.structs.replace(config.rings, ctl=RingsConfig().ctl)  # a full one halts: as in production
    (folder / "kept").mkdir()
    kept = msgspec.structs.replace(config, engine=engine, rings=rings)
    return plain, dataclasses.replace(plain, config=kept, journal=True)


def slice_of(engine: FusedEngine, neighbour: subprocess.Popen[Any] | None, paused: dict[int, int]) -> Counts:
    """One slice of one engine, after a while to settle."""
    if neighbour is not None:
        neighbour.send_signal(signal.SIGCONT)
    engine.resume(paused[id(engine)])
    engine.run(SETTLE_NS)
    between = engine.pause()
    engine.forget()
    engine.resume(between)
    engine.run(SLICE_NS)
    paused[id(engine)] = engine.pause()
    counts = counts_of(engine.memory.segments["hops.gateway"].cast("histogram *")[lib.HOP_ORDER_PATH])
    if neighbour is not None:
        neighbour.send_signal(signal.SIGSTOP)
    return counts


# ---- the ceiling -------------------------------------------------------------------------------------------


def measure_ceiling(options: Options, finding: Finding) -> None:
    """Executions as fast as they are taken, for each policy."""
    seconds = options.pick(smoke=1, quick=4, full=10) / 2
    table = Table(
        "What the journal writes, one ring, to the disk under out/",
        ["sync", "events/s", "MiB/s", "of sync, longest", "segments late"],
    )
    for sync in ("interval", "batch", "none"):
        found = ceiling(sync, seconds, options)
        finding.records.append({"what": "ceiling", "sync": sync, **found})
        longest = ns_text(found["sync_ns_max"]) if found["sync_ns_max"] else "-"
        rate = found["events_per_second"]
        table.rows.append([sync, f"{rate:,.0f}", f"{rate * 128 / MIB:,.0f}", longest, f"{found['segments_late']}"])
    table.notes.append(f"{seconds:g} s each; every event read back, checksums and chain verified; nothing lost")
    finding.tables.append(table)


def ceiling(sync: str, seconds: float, options: Options) -> dict[str, Any]:
    """One policy. Raises BenchError when an event is missing."""
    disk = harness.OUT / "journal-ceiling"
    shutil.rmtree(disk, ignore_errors=True)
    with scratch() as folder, engine_memory(writing_spec(folder, sync, options)) as memory:
        for reader in ("signal", "risk"):
            memory.release_reader(reader)
        with journal_of(memory, disk, options) as journal, pinned(options.engine_cpu):
            writer = RingWriter(memory.spec.name, "exec", gates=["journal"], run_epoch=memory.run_epoch)
            events = np.zeros(BATCH, dtype_of("exec_event"))
            events["order_id"] = np.arange(BATCH)
            deadline = time.monotonic() + seconds
            began = time.monotonic()
            while time.monotonic() < deadline:
                writer.publish(events)
            while int(memory.cursor(ring_of(memory, "exec"), "journal").position) < writer.next_sequence:
                if journal.poll() is not None:
                    raise BenchError("the journal died")
                time.sleep(0.0005)
            took = time.monotonic() - began
            end_in_order(journal)
        counter = memory.segments[side_segment("journal")].cast("stage_page *").counter
        found = {
            "events": writer.next_sequence,
            "events_per_second": writer.next_sequence / took,
            "sync_ns_max": int(counter[lib.JOURNAL_SYNC_NS_MAX]),
            "syncs": int(counter[lib.JOURNAL_SYNCS]),
            "segments_late": int(counter[lib.JOURNAL_SEGMENTS_LATE]),
        }
    verdict = verify(disk)
    if verdict.findings or verdict.rings["exec"].events != found["events"] or verdict.rings["exec"].lost:
        raise BenchError(f"{found['events']} events were published, the journal has {verdict.rings['exec']}")
    shutil.rmtree(disk)
    return found


def writing_spec(folder: Path, sync: str, options: Options) -> EngineSpec:
    """Memory for a ring and its journal; no stage runs."""
    feed = flow_file(messages=40_000, instruments=INSTRUMENTS, live_orders=1000)
    config = bench_config("bench-ceiling", feed, engine={"state_dir": str(folder)})
    journal = JournalConfig(sync=sync)  # type: ignore[arg-type]
    config = msgspec.structs.replace(config, journal=journal)
    return bench_spec(config, feed_instruments(feed), cpu=options.engine_cpu, journal=True)


def ring_of(memory: EngineMemory, name: str) -> Any:
    return next(ring for ring in memory.spec.rings if ring.name == name)


# ---- processes ---------------------------------------------------------------------------------------------


@contextmanager
def journal_of(memory: EngineMemory, folder: Path, options: Options) -> Iterator[subprocess.Popen[Any]]:
    """The journal of an engine, as the supervisor starts it."""
    run_path = Path(memory.spec.config.engine.state_dir) / "journal.run.json"
    write_run_file(run_path, memory.spec, run_epoch=memory.run_epoch)
    page = memory.segments[side_segment("journal")].cast("stage_page *")
    with beside(["-m", "hotpath.journal", str(run_path), str(folder)], options) as process:
        deadline = time.monotonic() + READY_SECONDS
        while page.state != lib.STAGE_READY:
            if time.monotonic() > deadline or process.poll() is not None:
                raise BenchError("the journal did not come up")
            time.sleep(0.01)
        yield process


@contextmanager
def beside(arguments: list[str], options: Options) -> Iterator[subprocess.Popen[Any]]:
    """A process on the driver's processor, gone at the end."""
    with pinned(options.driver_cpu):  # which it inherits
        process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end_in_order(journal: subprocess.Popen[Any]) -> None:
    """Let it write the rest. Raises BenchError when it fails."""
    journal.send_signal(signal.SIGTERM)
    if journal.wait(timeout=READY_SECONDS):
        raise BenchError(f"the journal ended with {journal.returncode}")


def check_journal(folder: Path, memory: EngineMemory) -> int:
    """Every event of every ring is there. Raises BenchError."""
    journal = Journal(folder)
    verdict = verify(folder)
    if verdict.findings:
        raise BenchError(f"the journal is damaged: {verdict.findings}")
    for ring in memory.spec.rings:
        if "journal" in (*ring.gating, *ring.observers):
            published = int(memory.segments[ring.name].cast("ring_control *").position)
            if journal.count(ring.name) + journal.lost(ring.name) != published:
                raise BenchError(f"{ring.name}: {published} published, {journal.count(ring.name)} journaled")
    return verdict.events
