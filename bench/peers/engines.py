"""The same strategy over the same day in hotpath, NautilusTrader and hftbacktest: replay, and tick to order.

    replay          hotpath        ITCH bytes -> book -> features -> the rule -> every limit -> paper venue
                    hftbacktest    L2 changes -> its book -> the rule, compiled -> its exchange
                    NautilusTrader quotes -> the rule, in Python -> its risk engine -> its exchange
    tick to order   hotpath        instant at which a message was due -> order frame stored
                    NautilusTrader quote handed over by its data client -> order at its execution client

Every engine must send exactly the orders that the referee (market.py) says: time, side and price of each.
"""

from __future__ import annotations

from bench.harness import BenchError, Options
from bench.peers import market
from bench.peers.alone import alone
from bench.peers.rows import Figures

TICK_RATE = 1_000  # messages a second: an event loop's timers have a millisecond
HOTPATH = "bench.peers.engine_hotpath"
RIVALS = {"hftbacktest": "bench.peers.engine_hftbacktest", "nautilus": "bench.peers.engine_nautilus"}


def replay(options: Options, rival: str) -> Figures:
    """Messages of the day a second of processor time."""
    day = market.day(options, messages=options.pick(smoke=20_000, quick=300_000, full=1_000_000))
    rounds = options.pick(smoke=1, quick=2, full=3)
    files = {"itch": str(day.itch), "levels": str(day.levels), "quotes": str(day.quotes)}
    ours = alone(f"{HOTPATH}:replay", cpu=options.engine_cpu, rounds=rounds, **files)
    theirs = alone(f"{RIVALS[rival]}:replay", cpu=options.engine_cpu, rounds=rounds, **files)
    said = checked(day, ours, theirs, rival)
    return Figures(ours=day.messages / ours["seconds"], theirs=day.messages / theirs["seconds"], verified=said)


def tick_to_order(options: Options) -> Figures:
    """ns from tick to order at a steady rate, in one process on one processor."""
    seconds = options.pick(smoke=2, quick=10, full=40)
    day = market.day(options, messages=TICK_RATE * seconds)
    ours = alone(f"{HOTPATH}:live", cpu=options.engine_cpu, itch=str(day.itch), rate=TICK_RATE)
    theirs = alone(
        f"{RIVALS['nautilus']}:live", cpu=options.engine_cpu, itch=str(day.itch), quotes=str(day.quotes), rate=TICK_RATE
    )
    return Figures(
        ours=ours["p50_ns"],
        theirs=theirs["p50_ns"],
        ours_p99=ours["p99_ns"],
        theirs_p99=theirs["p99_ns"],
        verified=checked(day, ours, theirs, "nautilus"),
    )


def checked(day: market.Day, ours: dict[str, list[object]], theirs: dict[str, list[object]], rival: str) -> str:
    """Both sent the referee's orders and had as many fills. Raises BenchError."""
    try:
        said = market.same_orders(day, ours["orders"], "hotpath")
        market.same_orders(day, theirs["orders"], rival)
    except ValueError as error:
        raise BenchError(str(error)) from None
    return f"{said}; filled {ours['fills']} and {theirs['fills']}"
