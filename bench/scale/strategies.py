"""How does the cost of an event grow with strategies? In the path, and as processes in seats beside it.

file --> feed --> signal: the built-in score's parts | one compiled score that calls 1 to 64 --> risk --> gateway
                    ^ looks into each taken seat                                               all on one core
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from bench.engine import FusedEngine
from bench.harness import BenchError, Options, flow_file
from bench.scale.curve import Curve, Line, slope
from bench.scale.measure import FLAT, LIVE, Control, Costs, event_costs, points, rounds, scale_engine, warm_up
from ffi import lib
from hotpath.config import Config, CoprocessConfig
from hotpath.coprocess import Coprocess

INSTRUMENTS = 64
DAY_MS = 86_400_000
SLICE_NS = 2_000_000
WEIGHTS = {"microprice": 1.0, "momentum": 0.5, "reversion": 0.5}
SILENT = dict.fromkeys(WEIGHTS, 0.0)
BUILT_IN, COMPILED = "parts of the built-in score", "strategies in one compiled score"
NEVER = 1.0  # of the score: nothing leans so far


def feed_file(options: Options) -> tuple[Any, int]:
    """The market of both curves, and after how many messages it is as full as it will be."""
    messages = options.pick(smoke=40_000, quick=300_000, full=800_000)
    live = options.pick(smoke=1000, quick=10_000, full=10_000)
    return flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=live), 2 * live


def run(options: Options) -> Curve:
    """1 to 64 strategies asked at every event."""
    path, warm = feed_file(options)
    counts = (1, 64) if options.size == "smoke" else (1, 2, 4, 8, 16, 32, 64)
    parts = list(WEIGHTS)
    repeats = options.pick(smoke=1, quick=3, full=7)
    control = Control(options)

    def cost(**signal: Any) -> float:
        with scale_engine(path, options, signal={"threshold": NEVER, **signal}) as engine:
            warm_up(engine, warm)
            return event_costs(engine, live=False)[FLAT]

    def compiled(count: float) -> Costs:
        return {COMPILED: cost(native=f"bench.scale.rules:rules_{int(count)}", weights={**SILENT, "custom": 1.0})}

    def built_in(count: float) -> Costs:
        return {BUILT_IN: cost(weights={**SILENT, **{name: WEIGHTS[name] for name in parts[: int(count)]}})}

    theirs = points(rounds([float(each) for each in counts], repeats, compiled, control), COMPILED)
    ours = points(rounds([float(each) for each in range(1, len(parts) + 1)], repeats, built_in, control), BUILT_IN)
    first, last = theirs[0], theirs[-1]
    each = (last.value - first.value) / (last.x - first.x)
    weight = (
        f"About {(first.value - each) / each:,.0f} of them weigh as much as all the rest of the path."
        if each > 0
        else "That is within what these figures scatter."
    )
    return Curve(
        name="strategies",
        title="Strategies asked at each event",
        topology=f"fused on one core, {INSTRUMENTS} instruments, flat out, nothing ordered",
        x_label="strategies",
        y_label="ns an event",
        unit="ns",
        lines=[Line(COMPILED, theirs), Line(BUILT_IN, ours)],
        why=(
            f"One more strategy in C costs {each:.1f} ns an event, a call and its few loads; features are computed "
            f"once for all. {weight} The built-in score computes all its parts whatever their weights are, so that a "
            "score does not depend on which are used: it is level by design."
        ),
        limits=[
            "[signal] takes one compiled function and the built-in parts: more strategies on the path are one "
            f"function that calls them, as here, and share {lib.NATIVE_STATE_MAX} doubles of state an instrument",
            "each strategy with orders, limits and a name of its own needs a seat: the next curve",
        ],
        control=control.note(),
    )


def run_seats(options: Options) -> Curve:
    """0 to 16 seats taken by processes that follow the market and ask for nothing."""
    path, warm = feed_file(options)
    most = int(lib.SEATS_MAX)
    counts = (0, most) if options.size == "smoke" else (0, 1, 2, 4, 8, 12, most)
    control = Control(options)

    def measure(count: float) -> Costs:
        names = [f"seat{index}" for index in range(int(count))]
        with scale_engine(path, options, change=lambda config: with_seats(config, names)) as engine:
            seats = taken_seats(engine, names)
            warm_up(engine, warm)
            costs = event_costs(engine)
            if any(seat.cut for seat in seats):
                raise BenchError("a seat was cut off")
            return costs

    found = rounds([float(each) for each in counts], options.pick(smoke=1, quick=3, full=5), measure, control)
    lines = [Line(name, points(found, name)) for name in (FLAT, LIVE)]
    live, flat = (slope(line, scale="plain") for line in reversed(lines))
    return Curve(
        name="seats",
        title="Seats beside the path",
        topology=f"fused on one core, {INSTRUMENTS} instruments; every seat taken, its program silent",
        x_label="taken seats",
        y_label="ns an event",
        unit="ns",
        lines=lines,
        scale="plain",
        why=(
            f"The signal stage looks into each taken seat's ring once a loop: {live:.1f} ns a seat where a loop brings "
            f"one message, {flat:.1f} flat out, where it brings many. The market ring's writer does not know of them: "
            "seats observe."
        ),
        limits=[
            f"at most {most} seats (SEATS_MAX); what a strategy's own process pays for an event is bench/strategies.py"
        ],
        control=control.note(),
    )


def with_seats(config: Config, names: list[str]) -> Config:
    """The same with seats that nothing cuts off."""
    seats = [
        CoprocessConfig(name=name, account=2, strategy=2 + index, heartbeat_ms=DAY_MS)
        for index, name in enumerate(names)
    ]
    return msgspec.structs.replace(config, coprocesses=seats)


def taken_seats(engine: FusedEngine, names: list[str]) -> list[Coprocess]:
    """Take every seat, from a second thread, while the engine turns without any message."""
    source = engine.source
    seats: list[Coprocess] = []
    batch, source.batch_max = int(source.batch_max), 0
    failed: list[Exception] = []

    def take() -> None:
        try:
            seats.extend(Coprocess(engine.spec.name, name) for name in names)
        except Exception as error:  # whatever it is, the other thread says it
            failed.append(error)

    taking = threading.Thread(target=take)
    taking.start()
    while taking.is_alive():
        engine.run(SLICE_NS)
    taking.join()
    source.batch_max = batch
    if failed:
        raise BenchError(f"a seat was not to be had: {failed[0]}")
    return seats
