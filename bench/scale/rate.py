"""How does latency grow with the message rate, to saturation? Open loop: T0 is when a message was due.

file --(rate, intended times)--> feed --> signal --> risk --> gateway        one core; about one order in eight
"""

from __future__ import annotations

from functools import partial

from bench.engine import FusedEngine
from bench.harness import BenchError, Options, flow_file
from bench.scale.curve import Curve, Line, Point, count_text
from bench.scale.measure import Control, Costs, check, points, rounds, scale_engine, warm_up
from ffi import lib
from hotpath.report import collect_report

RATES = (
    25_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000, 1_200_000, 1_500_000, 2_000_000,
    2_500_000, 3_000_000, 4_000_000,
)  # fmt: skip
SOME = (50_000, 100_000, 200_000, 400_000, 800_000, 1_200_000, 2_000_000, 3_000_000)
INSTRUMENTS = 64
SLICE_NS = 2_000_000
KEPT_UP = 0.99  # of the messages that were due
P50, P99, KEPT = "p50", "p99", "kept up"


def run(options: Options) -> Curve:
    """From 25,000 messages a second to more than there is time for."""
    rates = {"smoke": (50_000, 200_000), "quick": SOME, "full": RATES}[options.size]
    milliseconds = options.pick(smoke=50, quick=200, full=400)
    live = options.pick(smoke=1000, quick=20_000, full=50_000)
    messages = 2 * live + max(rates) * milliseconds // 1000
    path = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=live)
    control = Control(options)

    def measure(rate: float) -> Costs:
        with scale_engine(
            path, options, feed={"pace": "rate", "rate_per_second": int(rate)}, signal={"threshold": 0.1}
        ) as engine:
            warm_flat(engine, 2 * live)
            return offered(engine, count=int(rate) * milliseconds // 1000)

    found = rounds([float(rate) for rate in rates], options.pick(smoke=1, quick=3, full=3), measure, control)
    kept = points(found, KEPT)
    lines = [Line(name, points(found, name)) for name in (P50, P99)]
    return Curve(
        name="rate",
        title="Message rate",
        topology=f"fused on one core, {INSTRUMENTS} instruments, open loop, about one order in eight events",
        x_label="messages due a second",
        y_label="from the instant a message was due to its order",
        unit="ns",
        lines=lines,
        y_scale="log",
        why=why(kept),
        limits=[
            f"beyond saturation a queue grows for as long as the run lasts, here {milliseconds} ms: those points "
            "have no value of their own"
        ],
        control=control.note(),
        facts={"kept_up": {str(int(point.x)): point.value for point in kept}},
    )


def why(kept: list[Point]) -> str:
    """Where it saturates, in words."""
    late = next((point for point in kept if point.value < KEPT_UP), None)
    if late is None:
        return f"It kept up with {count_text(kept[-1].x)} messages a second: saturation lies beyond."
    before = max((point.x for point in kept if point.x < late.x), default=0.0)
    most = max(point.x * point.value for point in kept)
    return (
        f"Saturated between {count_text(before)} and {count_text(late.x)} messages a second: the path got through "
        f"{count_text(most)}, {1e9 / most:.0f} ns each with their orders. Below, an event waits for at most "
        "the one before it; near it, arrivals and the machine's own gaps meet a queue that has no time to empty, and "
        "the p99 leaves first. Beyond, each message finds a longer queue than the one before."
    )


def warm_flat(engine: FusedEngine, messages: int) -> None:
    """Fill the books at once, then forget; the next message is due now."""
    source = engine.source
    interval, source.interval_ns = int(source.interval_ns), 1
    warm_up(engine, messages)
    source.interval_ns = interval
    engine.forget()
    source.start_time_ns = int(lib.clock_now(engine.clock)) - int(source.sequence) * interval


def offered(engine: FusedEngine, *, count: int) -> Costs:
    """Percentiles of the path while `count` messages come due, and which part of them was taken in that time."""
    source, interval = engine.source, int(engine.source.interval_ns)
    first, now = int(source.sequence), partial(lib.clock_now, engine.clock)
    began = int(now())
    while int(now()) - began < count * interval and not engine.done():
        engine.run(SLICE_NS)
    due = min((int(now()) - began) / interval, count)
    taken = int(source.sequence) - first
    stat = collect_report(engine.memory, seconds=1.0).stat
    hop = stat.hops["order_path"]
    if not hop.count:
        raise BenchError("no order was made")
    if stat.counter("feed", "unknown_order") or stat.counter("gateway", "refused"):
        check(engine)
    return {P50: float(hop.p50_ns), P99: float(hop.p99_ns), KEPT: min(taken / due, 1.0)}
