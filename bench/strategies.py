"""What does each way of writing a strategy cost, and does one that misbehaves slow the path?

    file --(rate)--> feed --> norm ──┬──► signal stage: built in, in C, or a compiled score      --> signal ring
              (fused, processor 1)   └──► a strategy's process: Python, by event or by batch     --> its orders ring
                                          (processor 0, spinning)

One rule four ways, on the same events. `answer` is from the market event's publication in norm to that of the order's
request: the signal ring's for what runs in C, the strategy's own ring for Python. `an event` is processor time
without orders. Then the path itself, in turns, with a strategy process that hogs its interpreter and collects
garbage, stopped and running (bench/paired.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bench import traders
from bench.engine import FusedEngine, bench_config, bench_spec, feed_instruments, fused_engine, scratch
from bench.harness import (
    BenchError,
    Finding,
    Options,
    Table,
    compile_program,
    flow_file,
    json_lines,
    ns_text,
    pinned,
    run_program,
    spin_note,
)
from bench.paired import Counts, counts_of, p99_ratio
from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import histograms
from hotpath.config import StrategyConfig, WeightsConfig
from hotpath.engine import EngineMemory, EngineSpec, engine_memory
from hotpath.host import spin_control
from hotpath.rings import RingWriter
from hotpath.run_file import write_run_file
from hotpath.strategy_host import StrategyHost
from hotpath.topology import answer_segment, seat_segment, side_segment

INSTRUMENTS = 64
LIVE_ORDERS = 20_000
RATE = 20_000  # messages a second of the answers
PATH_RATE = 100_000  # of the path, with the hog beside it
SILENT = {"microprice": 0.0, "momentum": 0.0, "reversion": 0.0}
COMPILED = "hotpath.examples.strategies.microprice:microprice"
RING = 16384
START_SECONDS = 20.0
WINDOW_NS = 250_000_000
SETTLE_NS = 20_000_000
LIMIT = 1.02  # of the bound: below it the strategy is shown to leave the path alone
HOUR_NS = 3_600_000_000_000


def run(options: Options) -> Finding:
    """Answers, costs of an event, and the hog."""
    finding = Finding("strategies")
    costs = event_costs(options)
    table = Table("One rule, four ways", ["way", "runs in", "answers", "answer p50", "p99", "p99.9", "an event"])
    for way, place in (
        ("C, built in", "signal stage"),
        ("compiled by numba", "signal stage"),
        ("Python by event", "a process"),
        ("Python by batch", "a process"),
    ):
        if place == "a process" and not options.two_cores:
            table.notes.append(f"skipped: {way} needs a second processor")
            continue
        count, spans = answers(way, options)
        table.rows.append([way, place, f"{count:,}", *(ns_text(span) for span in spans), ns_text(costs[way])])
        finding.records.append(
            {
                "way": way,
                "answers": count,
                **dict(zip(("p50_ns", "p99_ns", "p999_ns"), spans, strict=True)),
                "event_ns": costs[way],
            }
        )
    with pinned(options.engine_cpu):
        table.notes.append(
            spin_note(spin_control(duration_ns=300_000_000, interval_ns=10**9 // RATE, cpu=options.engine_cpu))
        )
    table.notes.append(
        f"of a Python event: {ns_text(costs['tables'])} keep its tables (book, features, tops) in C, told by event "
        f"{ns_text(costs['told'])} in all, told by batch {ns_text(costs['told batch'])}"
    )
    finding.tables.append(table)
    if options.two_cores:
        finding.tables.append(hog_table(options, finding))
    return finding


# ---- the engine ----------------------------------------------------------------------------------


def seat(code: str, options: Options, **more: Any) -> StrategyConfig:
    """A strategy of the bench, with a seat that is never in its way."""
    settings: dict[str, Any] = {
        "open_orders_max": 1024,
        "messages_per_second_max": 1_000_000,
        "heartbeat_ms": 86_400_000,
        "budget_ms": 0,
        "wait": "spin",
        "cpu": options.driver_cpu,
    }
    return StrategyConfig(name="bench", account=2, strategy=100, code=f"{traders.PATH}:{code}", **{**settings, **more})


def spec_with(
    folder: str, options: Options, *, messages: int, rate: int, strategies: list[StrategyConfig], **signal_keys: Any
) -> EngineSpec:
    """A fused engine over a generated file, with these strategies beside it."""
    path = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=min(LIVE_ORDERS, messages // 10))
    config = bench_config(
        f"bench-py-{os.getpid()}",
        path,
        engine={"state_dir": folder, "wait": "spin"},
        rings={"norm": RING},
        feed={"rate_per_second": rate},
        signal=signal_keys,
    )
    config = msgspec.structs.replace(config, strategies=strategies)
    return bench_spec(config, feed_instruments(path), cpu=options.engine_cpu)


@contextmanager
def strategy_process(engine: FusedEngine) -> Iterator[subprocess.Popen[bytes]]:
    """The strategy of a running engine, in its process, told to begin."""
    spec = engine.spec
    run_path = f"{spec.config.engine.state_dir}/bench.run.json"
    write_run_file(Path(run_path), spec, run_epoch=engine.memory.run_epoch)
    command = [sys.executable, "-m", "hotpath.strategy_process", "bench", run_path]
    process = subprocess.Popen(command)
    page = engine.memory.segments[side_segment("bench")].cast("stage_page *")
    engine.source.sequence = 1
    engine.source.start_time_ns = lib.clock_now(engine.clock) + HOUR_NS  # no message is due until the strategy is there
    try:
        deadline = time.monotonic() + START_SECONDS
        while page.state < lib.STAGE_READY:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError("the strategy did not start")
            engine.run(5_000_000)
        engine.source.start_time_ns = lib.clock_now(engine.clock)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


# ---- answers -------------------------------------------------------------------------------------


def answers(way: str, options: Options) -> tuple[int, list[int]]:
    """How many, and p50, p99, p99.9 in ns of market event to request."""
    messages = max(RATE * options.pick(smoke=0, quick=2, full=8), 10_000)
    python = {"Python by event": "ByEvent", "Python by batch": "ByBatch"}.get(way)
    weights = WeightsConfig(**SILENT, custom=1.0) if way == "compiled by numba" else WeightsConfig()
    signal_keys: dict[str, Any] = {
        "threshold": 0.3 if python is None and way != "C, built in" else 0.1,
        "weights": weights,
    }
    if way == "compiled by numba":
        signal_keys["native"] = COMPILED
    if python:
        signal_keys["weights"] = WeightsConfig(**SILENT)
    strategies = [seat(python, options)] if python else []
    with scratch() as folder, pinned(options.engine_cpu):
        spec = spec_with(str(folder), options, messages=messages, rate=RATE, strategies=strategies, **signal_keys)
        with fused_engine(spec) as engine:
            if not python:
                play(engine, messages)
                return spans_of(
                    engine.memory.segments["hops.gateway"].view("histogram", count=lib.HOPS_MAX)[
                        lib.HOP_ORDER_SIGNAL : lib.HOP_ORDER_SIGNAL + 1
                    ]
                )
            with strategy_process(engine):
                answer = engine.memory.segments[answer_segment("bench")]
                play(engine, messages)
                return spans_of(answer.view("histogram"))


def play(engine: FusedEngine, messages: int) -> None:
    """The whole file."""
    while not engine.done():
        engine.run(50_000_000)
    engine.run(50_000_000)


def spans_of(histogram: npt.NDArray[Any]) -> tuple[int, list[int]]:
    """Count and percentiles."""
    merged = histograms.merge([histogram.copy()])
    count = int(merged["total_count"][0])
    if not count:
        raise BenchError("nothing was answered")
    return count, [histograms.value_at(merged, percentile) for percentile in (50.0, 99.0, 99.9)]


# ---- the cost of an event ------------------------------------------------------------------------


def event_costs(options: Options) -> dict[str, float]:
    """ns of processor time for one event, by way; nothing is asked for."""
    events = market_events(RING // 2)
    rounds = options.pick(smoke=1, quick=3, full=9)
    never = {"threshold": traders.NEVER}
    with pinned(options.engine_cpu):
        found = {
            "Python by event": drain("ByEvent", events, rounds, options, params=never) / len(events),
            "Python by batch": drain("ByBatch", events, rounds, options, params=never) / len(events),
            "told": drain("OnlyTold", events, rounds, options) / len(events),
            "told batch": drain("OnlyToldBatch", events, rounds, options) / len(events),
            "tables": drain("NotTold", events, rounds, options) / len(events),
            "compiled by numba": compiled_cost(rounds),
        }
        found["C, built in"] = built_in_cost(options)
    return found


def market_events(count: int) -> npt.NDArray[Any]:
    """`count` events of a generated market, each with the top after it, as norm holds them."""
    config = ffi.new(
        "flow_config *",
        {
            "seed": 1,
            "mean_gap_ns": 50_000,
            "increment_ticks": 100,
            "instruments": INSTRUMENTS,
            "live_orders": 2000,
            "runs_market": 1,
        },
    )
    size = lib.flow_bytes(config)
    memory = ffi.new("uint64_t[]", size // 8 + 16)
    base = int(ffi.cast("uintptr_t", memory))
    flow = lib.flow_init(ffi.cast("void *", base + -base % 64), size, config)
    settings = ffi.new("book_config *", {"instruments": INSTRUMENTS, "orders_max": 1 << 14, "levels_max": 1 << 14})
    book_size = lib.book_bytes(settings)
    book_memory = ffi.new("uint64_t[]", book_size // 8 + 16)
    base = int(ffi.cast("uintptr_t", book_memory))
    book = lib.book_init(ffi.cast("void *", base + -base % 64), book_size, settings)
    if flow == ffi.NULL or book == ffi.NULL:
        raise BenchError("no market can be generated")
    events = np.zeros(count, dtype_of("norm_event"))
    pointer = ffi.from_buffer("norm_event[]", events, require_writable=True)
    for _ in range(4 * count):  # a market that has begun
        lib.flow_next(flow, pointer)
        lib.book_apply(book, pointer)
    for index in range(count):
        lib.flow_next(flow, pointer + index)
        lib.book_apply(book, pointer + index)
    return events


def drain(code: str, events: npt.NDArray[Any], rounds: int, options: Options, **more: Any) -> float:
    """ns of processor time for all `events`, the least of some rounds."""
    best = float("inf")
    with scratch() as folder:
        spec = spec_with(str(folder), options, messages=10_000, rate=RATE, strategies=[seat(code, options, **more)])
        with engine_memory(spec) as memory:
            host = attached_host(spec, memory)
            host.c.wants = 0 if code == "NotTold" else lib.WANT_ALL
            pen = RingWriter(spec.name, "norm")
            for _ in range(rounds):
                if pen.publish(events) != len(events):
                    raise BenchError("the ring is too small")
                began = time.process_time_ns()
                host.turn(calls_max=None)
                best = min(best, time.process_time_ns() - began)
                if host.error is not None:
                    raise BenchError(f"{code}: {host.error}")
            if host.c.lost_count or host.c.events != rounds * len(events):
                raise BenchError(f"{code}: followed {host.c.events} of {rounds * len(events)} events")
            host.close()
    return best


def attached_host(spec: EngineSpec, memory: EngineMemory) -> StrategyHost:
    """A strategy in this process that has its seat; its signal stage is this function."""
    host = StrategyHost(spec, spec.config.strategies[0], run_epoch=memory.run_epoch)
    page = memory.segments[seat_segment("bench")].cast("seat_page *")
    reports = ffi.new("ring_writer *")
    segment = memory.segments["seat.bench.reports"]
    page.attach_epoch, page.state = host.c.attach_epoch, lib.SEAT_TAKEN
    lib.ring_writer_attach(reports, segment.pointer)
    report = ffi.new("report_event *", {"header": {"type": lib.REPORT_END, "instrument": lib.NO_INSTRUMENT}})
    report.attach_epoch = host.c.attach_epoch
    lib.ring_publish(reports, report, ffi.sizeof("report_event"))
    host.turn()
    if not host.started:
        raise BenchError("the strategy did not begin")
    return host


def compiled_cost(rounds: int) -> float:
    """ns of one call of the compiled example, from compiled code."""
    import numba

    from hotpath.examples.strategies.microprice import microprice

    function = microprice.ctypes
    calls = 1_000_000

    @numba.njit
    def loop(features: Any, market: Any, state: Any) -> float:
        total = 0.0
        for call in range(calls):
            features[lib_microprice] += 1e-9 * (call & 1)
            total += function(features.ctypes, ready, market.ctypes, state.ctypes)
        return total

    ready = np.uint32(2**lib.FEATURES_MAX - 1)
    lib_microprice = int(lib.FEATURE_MICROPRICE)
    features = np.ones(lib.FEATURES_MAX)
    market = np.zeros(lib.NATIVE_MARKET_MAX, np.int64)
    state = np.zeros(lib.NATIVE_STATE_MAX)
    loop(features, market, state)
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        loop(features, market, state)
        best = min(best, (time.process_time_ns() - began) / calls)
    return best


def built_in_cost(options: Options) -> float:
    """ns of one call of the built-in strategies and their ensemble, by the kernel's own bench."""
    program = compile_program(
        "kernels/feature_bench.c", "feature", "feature_math", "strategy", "digest", libraries=["m"]
    )
    lines = json_lines(
        run_program(program, "--rounds", options.pick(smoke=1, quick=20, full=100), cpu=options.engine_cpu)
    )
    line = next(each for each in lines if each["bench"] == "strategy_score")
    return float(line["ns_per_call"])


# ---- the hog ---------------------------------------------------------------------------------------


def hog_table(options: Options, finding: Finding) -> Table:
    """The path's p99 with the hog running over that with it stopped; beside it, what a plain loop there does."""
    table = Table(
        f"The path with a strategy that hogs its interpreter and collects garbage, {PATH_RATE:,} messages a second",
        ["p99 of the path", "without", "with", "ratio", "95% below"],
    )
    pairs = options.pick(smoke=2, quick=12, full=36)
    arms = ("none", "hog", "busy", "none again")
    seconds = len(arms) * pairs * (WINDOW_NS + SETTLE_NS) / 1e9
    messages = int(PATH_RATE * (1.5 * seconds + 4))  # and what comes due between windows
    measured: dict[str, list[Counts]] = {arm: [] for arm in arms}
    with scratch() as folder, pinned(options.engine_cpu):
        spec = spec_with(
            str(folder), options, messages=messages, rate=PATH_RATE, strategies=[seat("Hog", options)], threshold=0.3
        )
        with fused_engine(spec) as engine, strategy_process(engine) as hog, busy_loop(options) as loop:
            engine.warm_up(PATH_RATE // 2)
            for pair in range(pairs):
                for arm in arms if pair % 2 == 0 else reversed(arms):
                    measured[arm].append(window(engine, {"hog": hog, "busy": loop}, arm))
        table.notes.append(
            spin_note(spin_control(duration_ns=300_000_000, interval_ns=10**9 // PATH_RATE, cpu=options.engine_cpu))
        )
    for label, (without, with_it) in {
        "the hog": ("none", "hog"),
        "control: a plain loop in its place": ("none", "busy"),
        "control: nothing, twice": ("none", "none again"),
        "the hog over a plain loop": ("busy", "hog"),
    }.items():
        ratio = p99_ratio(measured[without], measured[with_it])
        spans = [ns_text(ratio.p99_without_ns), ns_text(ratio.p99_with_ns)]
        table.rows.append([label, *spans, f"{ratio.ratio:.3f}", f"{ratio.upper:.3f}"])
        table.notes.append(f"{label}: {ratio.verdict(LIMIT)}")
        finding.records.append({"what": label, "rate_per_second": PATH_RATE, **ratio.record()})
    table.notes.append(f"from the instant a message was due to its frame; {pairs} windows of {ns_text(WINDOW_NS)} each")
    return table


@contextmanager
def busy_loop(options: Options) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with the engine and uses up the same processor, stopped."""
    with pinned(options.driver_cpu):
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    process.send_signal(signal.SIGSTOP)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def window(engine: FusedEngine, beside: dict[str, subprocess.Popen[bytes]], arm: str) -> Counts:
    """The path's times over one window, with this process running beside it and the others stopped."""
    paused = engine.pause()
    for name, process in beside.items():
        process.send_signal(signal.SIGCONT if name == arm else signal.SIGSTOP)
    engine.resume(paused)
    engine.run(SETTLE_NS)
    paused = engine.pause()
    engine.forget()
    engine.resume(paused)
    engine.run(WINDOW_NS)
    if engine.done():
        raise BenchError("the file is too short")
    hops = engine.memory.segments["hops.gateway"].cast("histogram *")
    return counts_of(hops[lib.HOP_ORDER_PATH])
