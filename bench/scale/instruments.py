"""How does the cost of an event grow with instruments, the number of orders in all books being the same?

file --(flat out | one message a loop)--> feed --> signal --> risk --> gateway        one core
"""

from __future__ import annotations

from bench.harness import Options, flow_file
from bench.scale.curve import Curve, Line
from bench.scale.measure import (
    FLAT,
    LIVE,
    Control,
    bytes_text,
    cache_bytes,
    event_costs,
    points,
    rounds,
    scale_engine,
    warm_up,
)
from ffi import ffi

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 10_000)
SOME = (1, 16, 64, 256, 1024, 4096, 10_000)
STATE = ("feature_state", "working_order", "gate_instrument", "instrument_entry")  # that each has in the stages


def run(options: Options) -> Curve:
    """1 to 10,000 instruments."""
    counts = {"smoke": (1, 8), "quick": SOME, "full": COUNTS}[options.size]
    live = options.pick(smoke=1000, quick=50_000, full=100_000)
    messages = options.pick(smoke=40_000, quick=400_000, full=1_000_000)
    control = Control(options)

    def measure(count: float) -> dict[str, float]:
        path = flow_file(messages=messages, instruments=int(count), live_orders=live)
        with scale_engine(path, options) as engine:
            warm_up(engine, 2 * live + int(count))
            return event_costs(engine)

    found = rounds([float(count) for count in counts], options.pick(smoke=1, quick=3, full=5), measure, control)
    state = sum(ffi.sizeof(name) for name in STATE)
    near, far = cache_bytes(2), cache_bytes(3)
    why = (
        f"An event touches one instrument's state: {bytes_text(state)} in signal and risk, books apart. "
        f"{near // state:,} instruments' fill a second-level cache of {bytes_text(near)}, {far // state:,} the "
        f"third level's {bytes_text(far)}. An event touches some lines of it only, and activity is uneven: so cost "
        "rises by and by, where the lines of instruments that come seldom have left the near caches."
        if near and far
        else f"An event touches one instrument's state, {bytes_text(state)}; this kernel does not say its caches."
    )
    return Curve(
        name="instruments",
        title="Instruments",
        topology="fused on one core, flat-out file, about one order in a thousand events",
        x_label="instruments",
        y_label="ns an event",
        unit="ns",
        lines=[Line(name, points(found, name)) for name in (FLAT, LIVE)],
        why=why,
        limits=[f"{live:,} orders rest in all, however many the instruments are: one book of them, or shallow ones"],
        control=control.note(),
        facts={"state_bytes": state, "cache_bytes": [near, far], "live_orders": live},
    )
