"""How does throughput grow when instruments are divided over several engines of one host, each on its own core?

    whole feed    every engine hears everything and drops what is not its own: [feed] symbols
    own feed      the venue, or something in front, has divided it: each engine hears its own alone

Shards share no memory, so one can be measured at a time: the busiest, which holds the busiest instrument. Several at
once are measured as far as there are processors: what they lose to each other there (last-level cache, memory)
is put on those that are modelled.

    messages a second of the whole market = 1 / (what one message of it costs the busiest shard)
"""

from __future__ import annotations

import multiprocessing
import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.harness import OUT, BenchError, Options, flow_file
from bench.scale.curve import Curve, Line, Point, count_text
from bench.scale.measure import FLAT, Control, Costs, event_costs, instruments_of, rounds, scale_engine, warm_up
from ffi import lib
from hotpath.captures import MappedFile, index_messages, message_lengths

WHOLE, OWN = "each hears the whole feed", "each hears its own instruments alone"
WAIT_SECONDS = 60.0
SHORT_SLICE_NS = 500_000  # one shard's file is short


class Market(msgspec.Struct, frozen=True):
    """The market that is divided."""

    messages: int
    instruments: int
    live_orders: int

    @property
    def path(self) -> Path:
        """All of it."""
        return flow_file(messages=self.messages, instruments=self.instruments, live_orders=self.live_orders)


def run(options: Options) -> Curve:
    """1 to 64 shards."""
    market = Market(
        messages=options.pick(smoke=100_000, quick=400_000, full=1_000_000),
        instruments=options.pick(smoke=16, quick=1024, full=1024),
        live_orders=options.pick(smoke=1000, quick=50_000, full=100_000),
    )
    counts = {"smoke": (1, 2), "quick": (1, 2, 4, 16, 64), "full": (1, 2, 4, 8, 16, 32, 64)}[options.size]
    control = Control(options)
    found = rounds(
        [float(each) for each in counts],
        options.pick(smoke=1, quick=3, full=5),
        lambda count: alone(market, int(count), options),
        control,
    )
    cpus = sorted(os.sched_getaffinity(0))
    together = {1: {name: [each[name] for each in found[1.0]] for name in (WHOLE, OWN)}}
    if options.two_cores and 2 in counts:
        together[2] = side_by_side(market, cpus, 2, repeats=options.pick(smoke=1, quick=3, full=5))
    lines = [line_of(name, found, together) for name in (WHOLE, OWN)]
    costs = {
        name: [float(np.median([each[name] for each in found[float(count)]])) for count in counts]
        for name in (WHOLE, OWN)
    }
    return Curve(
        name="shards",
        title="Engines on one host, instruments divided",
        topology=f"{market.instruments:,} instruments dealt out in turn, one fused engine a core, flat out",
        x_label="engines, a core each",
        y_label="messages a second of the whole market",
        unit="per second",
        lines=lines,
        y_scale="log",
        why=why(market, counts, costs, together),
        limits=[
            f"measured with {max(together)} at once on this host's {len(cpus)} processors; beyond, modelled: the "
            "busiest shard measured alone, times what engines lose to each other "
            + (f"({loss(found, together):.2f} with two)" if 2 in together else "(unknown: one processor)"),
            "nothing in this model stands for a network card, or for what divides the feed",
        ],
        control=control.note(),
        facts={"cost_ns": costs, "shares": {str(count): share(market, count) for count in counts}},
    )


def line_of(name: str, found: dict[float, list[Costs]], together: dict[int, dict[str, list[float]]]) -> Line:
    """Messages a second: measured where engines ran at once, else modelled."""
    lost = loss_of(name, found, together)
    made = []
    for count, costs in found.items():
        if int(count) in together:
            made.append(Point(count, tuple(1e9 / ns for ns in together[int(count)][name])))
        else:
            made.append(Point(count, (1e9 / (float(np.median([each[name] for each in costs])) * lost),), modelled=True))
    return Line(name, made)


def loss_of(name: str, found: dict[float, list[Costs]], together: dict[int, dict[str, list[float]]]) -> float:
    """By how much an event is dearer with another engine at work: at least 1."""
    if 2 not in together:
        return 1.0
    single = float(np.median([each[name] for each in found[2.0]]))
    return max(1.0, float(np.median(together[2][name])) / single)


def loss(found: dict[float, list[Costs]], together: dict[int, dict[str, list[float]]]) -> float:
    """The greater of both ways."""
    return max(loss_of(name, found, together) for name in (WHOLE, OWN))


def why(
    market: Market, counts: tuple[int, ...], costs: dict[str, list[float]], together: dict[int, dict[str, list[float]]]
) -> str:
    """What bends it."""
    most = counts[-1]
    dropped = max((costs[WHOLE][-1] - costs[OWN][-1]), 1.0) / max(1 - share(market, most), 1e-9)
    return (
        f"An event costs {costs[WHOLE][0]:.0f} ns; one of another shard's instruments is heard and dropped for "
        f"{dropped:.0f} ns. Where every engine hears everything that is the floor: no number of them gets through more "
        f"than {count_text(1e9 / dropped)} messages a second, and the line bends where dropping weighs as much as the "
        f"work. With the feed divided only unevenness is left: of {most} shards the busiest has "
        f"{share(market, most):.1%} of the messages, where {1 / most:.1%} would be its part."
    )


# ---- one shard -----------------------------------------------------------------------------------


def alone(market: Market, count: int, options: Options) -> Costs:
    """What a message of the whole market costs the busiest of `count` shards, ns."""
    return {WHOLE: whole_feed(market, 0, count, options), OWN: own_feed(market, 0, count, options)}


def whole_feed(market: Market, shard: int, count: int, options: Options, barrier: Any = None) -> float:
    """Hearing all of it."""
    table = instruments_of(market.path).copy()
    others = np.arange(len(table)) % count != shard
    table["flags"][others] &= ~np.uint32(lib.INSTRUMENT_TRADED)
    table["flags"][others] |= np.uint32(lib.INSTRUMENT_FILTERED)
    with scale_engine(market.path, options, instruments=table) as engine:
        warm_up(engine, 2 * market.live_orders + market.instruments)
        meet(barrier)
        return event_costs(engine, live=False)[FLAT]


def own_feed(market: Market, shard: int, count: int, options: Options, barrier: Any = None) -> float:
    """Hearing its own: its cost for one of them, times their part of the whole."""
    path, part = shard_file(market, shard, count)
    with scale_engine(path, options) as engine:
        warm_up(engine, int(part * (2 * market.live_orders + market.instruments)))
        meet(barrier)
        return event_costs(engine, live=False, slice_ns=SHORT_SLICE_NS)[FLAT] * part


def meet(barrier: Any) -> None:
    """Wait for the other shards."""
    if barrier is not None:
        barrier.wait(WAIT_SECONDS)


@cache
def locates(market: Market) -> Any:
    """Of each message, its instrument; -1 where it is the whole market's."""
    with MappedFile(market.path) as file:
        offsets = index_messages(file)
        data = np.asarray(file.bytes)
        return (data[offsets + 1].astype(np.int64) << 8 | data[offsets + 2]) - 1


def share(market: Market, count: int) -> float:
    """The busiest shard's part of all messages."""
    return float(np.mean(heard(market, 0, count)))


def heard(market: Market, shard: int, count: int) -> Any:
    """Which messages a shard hears of a divided feed: its instruments', and those of the whole market."""
    return (locates(market) < 0) | (locates(market) % count == shard)


def shard_file(market: Market, shard: int, count: int) -> tuple[Path, float]:
    """The messages of one shard's instruments, and their part of all."""
    chosen = heard(market, shard, count)
    part = float(np.mean(chosen))
    if count == 1:
        return market.path, 1.0
    target = OUT / "inputs" / f"{market.path.stem}-shard{shard}of{count}.itch50"
    if not target.exists():
        with MappedFile(market.path) as file:
            offsets = index_messages(file)[chosen]
            lengths = message_lengths(file, offsets)
            data = np.asarray(file.bytes)
            parts = [data[at - 2 : at + length] for at, length in zip(offsets.tolist(), lengths.tolist(), strict=True)]
            partial = target.with_suffix(f".partial-{os.getpid()}")
            partial.write_bytes(np.concatenate(parts).tobytes())
        partial.rename(target)
    return target, part


# ---- several at once -----------------------------------------------------------------------------


def side_by_side(market: Market, cpus: list[int], count: int, *, repeats: int) -> dict[str, list[float]]:
    """What a message costs the slowest of `count` shards that run at once, each on its own processor."""
    for shard in range(count):
        shard_file(market, shard, count)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    workers = [
        context.Process(
            target=shard_process,
            args=(msgspec.json.encode(market), shard, count, cpus[shard], repeats, barrier, results),
        )
        for shard in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        answers = [results.get(timeout=WAIT_SECONDS + 20 * repeats) for _ in workers]
    finally:
        for worker in workers:
            worker.join(5)
            if worker.is_alive():
                worker.kill()
                worker.join()
    wrong = [answer for answer in answers if isinstance(answer, str)]
    if wrong:
        raise BenchError(f"a shard failed: {wrong[0]}")
    return {
        name: [max(pair) for pair in zip(*(answer[name] for answer in answers), strict=True)] for name in (WHOLE, OWN)
    }


def shard_process(
    market_text: bytes, shard: int, count: int, cpu: int, repeats: int, barrier: Any, results: Any
) -> None:
    """One shard, in a process of its own."""
    market = msgspec.json.decode(market_text, type=Market)
    options = Options(engine_cpu=cpu, driver_cpu=cpu)
    try:
        found: dict[str, list[float]] = {WHOLE: [], OWN: []}
        for _ in range(repeats):
            found[WHOLE].append(whole_feed(market, shard, count, options, barrier))
            found[OWN].append(own_feed(market, shard, count, options, barrier))
        results.put(found)
    except Exception as error:  # whatever it is, the parent says it
        barrier.abort()
        results.put(f"{type(error).__name__}: {error}")
