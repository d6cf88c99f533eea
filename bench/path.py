"""How long does a market event take to become an order, and does it stay so with many orders open?

    fused        feed, signal, risk, gateway: one process, one processor, spinning     ring to ring
    one core     the same four as processes, sharing one processor by yield

    T0 = the instant at which a message was due (open loop)      T1 = its order's frame stored and handed over

Percentiles are over order-producing events. `feed` holds what a late loop costs: the wait for the due
message to be seen. Beside each run stands the spin control, slice after slice on the same processor.
"""

from __future__ import annotations

from bench.engine import (
    ControlledRun,
    FusedEngine,
    PathRun,
    bench_config,
    bench_spec,
    feed_instruments,
    fused_engine,
    scratch,
)
from bench.harness import BenchError, Finding, Options, Table, flow_file, met, ns_text, pinned, spin_note
from ffi import ffi, lib
from hotpath.engine import EngineSpec
from hotpath.host import spin_control
from hotpath.report import RunReport, collect_report
from hotpath.supervisor import EngineName, Supervisor, supervise

INSTRUMENTS = 64
LIVE_ORDERS = 50_000
P50_AIM_NS = 600
P99_AIM_NS = 1500
OPEN_ORDERS = 10_000
INJECTED_BATCH = 1000
HOPS = {
    "order_feed": "feed: due, decoded, booked",
    "order_signal": "signal: features, score",
    "order_risk": "risk: every limit",
    "order_gateway": "order: encoded, intent stored",
    "order_path": "whole path",
}
COLUMNS = ["hop", "p50", "p99", "p99.9", "max", "budget p99", ""]


def run_fused(options: Options) -> Finding:
    """The fused path at two rates."""
    finding = Finding("path_fused")
    for rate in (100_000, 400_000):
        seconds = options.pick(smoke=0, quick=2, full=10 if rate <= 100_000 else 3)  # an order file holds 2^18
        messages = max(rate * seconds, 20_000)
        with scratch() as folder, pinned(options.engine_cpu):
            spec = fused_spec(
                folder_name=str(folder), name="bench-fused", options=options, messages=messages, rate=rate
            )
            result = measure_and_check(spec, options)
        finding.records.append(record_of(result, topology="fused"))
        finding.tables.append(hop_table(result, f"Fused on one core, {rate:,} messages a second"))
    return finding


def run_one_core(options: Options) -> Finding:
    """Four processes on one processor."""
    rate = 50_000
    messages = max(rate * options.pick(smoke=0, quick=2, full=18), 20_000)
    path = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=live_orders(messages))
    with scratch() as folder:
        config = bench_config(
            "bench-split",
            path,
            engine={"state_dir": str(folder), "topology": "split", "wait": "yield"},
            feed={"rate_per_second": rate},
        )
        spec = bench_spec(config, feed_instruments(path), cpu=options.engine_cpu)
        interval_ns = 10**9 // rate
        reports: list[RunReport] = []

        def finished() -> bool:
            page = supervisor.memory.stage_page("feed")
            return int(page.counter[lib.FEED_MESSAGES]) >= messages

        def collect() -> None:
            reports.append(collect_report(supervisor.memory, seconds=messages / rate))

        with EngineName(config):
            supervisor = Supervisor(spec, arm=True)
            outcome = supervise(supervisor, until=finished, before_removal=collect)
        control = spin_control(duration_ns=300_000_000, interval_ns=interval_ns, cpu=options.engine_cpu)
    if outcome.failed:
        raise BenchError(outcome.reason)
    result = PathRun(reports[0], control, rate, messages)
    check(result)
    return Finding(
        "path_one_core",
        [record_of(result, topology="split, one core")],
        [hop_table(result, f"Four processes on one core by yield, {rate:,} messages a second", budget=False)],
    )


def run_open_orders(options: Options) -> Finding:
    """The fused path with 0 and with 10,000 orders resting, in turns."""
    rate = 200_000
    messages = max(rate * options.pick(smoke=0, quick=2, full=6), 20_000)
    opened = options.pick(smoke=INJECTED_BATCH, quick=OPEN_ORDERS, full=OPEN_ORDERS)
    with scratch() as folder, pinned(options.engine_cpu):
        specs = [
            fused_spec(folder_name=str(folder), name=f"bench-{name}", options=options, messages=messages, rate=rate)
            for name in ("none", "many")
        ]
        with fused_engine(specs[0]) as none, fused_engine(specs[1]) as many:
            none.warm_up(warm_messages(messages))
            runs = [ControlledRun(none)]  # paused from here on
            many.warm_up(warm_messages(messages))
            rest_orders(many, opened)
            many.forget()
            runs.append(ControlledRun(many))
            while not (none.done() and many.done()):
                for run in runs:
                    run.step()
            results = [run.result(cpu=options.engine_cpu) for run in runs]
    table = Table(
        f"Open orders, fused, {rate:,} messages a second, A B A B",
        ["open orders", "orders sent", "p50", "p99", "p99.9", "max"],
    )
    records = []
    for result, count in zip(results, (0, opened), strict=True):
        check(result, open_orders=count)
        hop = result.report.stat.hops["order_path"]
        spans = [ns_text(each) for each in (hop.p50_ns, hop.p99_ns, hop.p999_ns, hop.max_ns)]
        table.rows.append([f"{count:,}", f"{hop.count:,}", *spans])
        records.append({**record_of(result, topology="fused"), "open_orders": count})
    table.notes += [spin_note(results[0].control), spin_note(results[1].control)]
    return Finding("path_open_orders", records, [table])


def fused_spec(*, folder_name: str, name: str, options: Options, messages: int, rate: int) -> EngineSpec:
    """A fused engine over the generated feed."""
    path = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=live_orders(messages))
    config = bench_config(name, path, engine={"state_dir": folder_name}, feed={"rate_per_second": rate})
    return bench_spec(config, feed_instruments(path), cpu=options.engine_cpu)


def live_orders(messages: int) -> int:
    """Fewer where the day is too short to fill the book."""
    return min(LIVE_ORDERS, messages // 10)


def warm_messages(messages: int) -> int:
    """Until the book is as full as it will be."""
    return 2 * live_orders(messages)


def measure_and_check(spec: EngineSpec, options: Options) -> PathRun:
    """One run of the spec's file."""
    with fused_engine(spec) as engine:
        messages = len(list_messages(engine))
        engine.warm_up(warm_messages(messages))
        run = ControlledRun(engine)
        while not engine.done():
            run.step()
        result = run.result(cpu=options.engine_cpu)
    check(result)
    return result


def list_messages(engine: FusedEngine) -> range:
    """The numbers of the messages that the file's name tells."""
    return range(int(engine.spec.config.feed.path.rsplit("flow-", 1)[1].split("-", 1)[0]))


def rest_orders(engine: FusedEngine, count: int) -> None:
    """Give the gate intents of another strategy: orders that rest far from the market, until `count` do."""
    event = ffi.new("signal_event *")
    writer = ffi.addressof(engine.stages.signal, "signal")
    for index in range(count):
        instrument = index % INSTRUMENTS
        reference = int(engine.stages.risk.gate.instrument[instrument].bid_price_ticks)
        event.header.type = lib.SIGNAL_NEW
        event.header.cause_input = lib.INPUT_NORM
        event.header.cause_sequence = index + 1
        event.header.instrument = instrument
        event.header.origin_time_ns = int(engine.source.origin_time_ns)
        event.price_ticks = max(reference // 2 // 100 * 100, 100)
        event.quantity_lots = 1
        event.strategy = 2
        event.account = 1
        event.strategy_epoch = 1
        event.side = lib.SIDE_BUY
        event.time_in_force = lib.TIF_DAY
        if lib.ring_publish(writer, event, ffi.sizeof("signal_event")) != lib.RING_OK:
            raise BenchError("the signal ring took no more")
        if (index + 1) % INJECTED_BATCH == 0:
            paused = engine.pause()
            engine.run(1_000_000)
            engine.resume(paused)


def check(result: PathRun, *, open_orders: int = 0) -> None:
    """Every message decoded and booked, every intent approved, every order stored once."""
    stat = result.report.stat
    facts = {
        "a message was not decoded": stat.counter("feed", "messages") == result.messages,
        "an order of the book was unknown": stat.counter("feed", "unknown_order") == 0,
        "risk refused": not set(stat.rejects) - {"killed"},  # until the engine is armed
        "the gateway refused": stat.counter("gateway", "refused") == 0,
        "an approved order was not sent": stat.counter("risk", "approved") == stat.counter("gateway", "commands"),
        "a hop was negative": sum(stat.counter(stage, "negative_hops") for stage in stat.stages) == 0,
        "orders do not rest": stat.counter("gateway", "open_orders") >= open_orders,
    }
    wrong = [fact for fact, holds in facts.items() if not holds]
    if wrong:
        raise BenchError("; ".join(wrong))


def record_of(result: PathRun, *, topology: str) -> dict[str, object]:
    """The run for machines."""
    hops = result.report.stat.hops
    return {
        "topology": topology,
        "rate_per_second": result.rate_per_second,
        "messages": result.messages,
        "orders": result.orders,
        "hops": {name: hops[name] for name in HOPS},
        "control": {
            "p50_ns": result.control.p50_ns,
            "p99_ns": result.control.p99_ns,
            "verdict": result.control.verdict,
        },
    }


def hop_table(result: PathRun, title: str, *, budget: bool = True) -> Table:
    """Hops beside their budgets, the aim and the spin control below."""
    hops = result.report.stat.hops
    table = Table(f"{title}: {result.orders:,} orders of {result.messages:,} messages", COLUMNS)
    for name, label in HOPS.items():
        hop = hops[name]
        spans = [ns_text(each) for each in (hop.p50_ns, hop.p99_ns, hop.p999_ns, hop.max_ns)]
        limit = hop.budget_ns if budget else None
        table.rows.append(
            [label, *spans, ns_text(limit) if limit else "", met(hop.p99_ns, limit, below=True) if limit else ""]
        )
    path = hops["order_path"]
    if budget:
        aims = f"p50 {ns_text(P50_AIM_NS)}: {met(path.p50_ns, P50_AIM_NS, below=True)}; p99 {ns_text(P99_AIM_NS)}: "
        table.notes.append(f"aims, raw: {aims}{met(path.p99_ns, P99_AIM_NS, below=True)}")
    table.notes.append(spin_note(result.control))
    return table
