"""Messages between two processes on two processors, beside the ways that Python programs use today.

    side 0 --message of 64 bytes--> side 1 --the same back--> side 0      round trip, p50 and p99
    side 0 --messages------------> side 1                                 one way, each looked at

Every channel runs in the same program (exchange.py), pinned alike, in turns: all of them once, then all again; a
figure is the median of its turns. Those that sleep are held to hotpath asleep on a doorbell, those that spin to
hotpath spinning; and once more to hotpath spinning, which is what one would change to.
"""

from __future__ import annotations

import sys
from functools import cache
from statistics import median
from typing import Any

from bench import ring
from bench.harness import BenchError, Options, compile_program, json_lines, run_program
from bench.peers.alone import answer_of
from bench.peers.channels import CHANNELS
from bench.peers.packages import PACKAGES
from bench.peers.rows import Figures

SPIN, PARK = "hotpath_spin", "hotpath_park"
SIZE = 64


def measured(channel: str) -> bool:
    """Whether its package is there."""
    package = CHANNELS[channel].package
    return package == "hotpath" or not PACKAGES[package].missing


@cache
def all_channels(options: Options) -> dict[str, dict[str, float]]:
    """Every channel's figures, or under "failed" nothing but that; the medians of a few turns."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in CHANNELS if measured(name)}
    for _ in range(options.pick(smoke=1, quick=1, full=3)):
        for name, found in turns.items():
            found.append(exchange(name, options))
    return {
        name: {key: median(each[key] for each in found) for key in found[0] if key not in ("channel", "size")}
        for name, found in turns.items()
    }


def exchange(channel: str, options: Options) -> dict[str, Any]:
    """One channel, once. Raises BenchError when a message was lost or changed."""
    trips = options.pick(smoke=300, quick=10_000, full=15_000)
    messages = options.pick(smoke=1_280, quick=25_600, full=51_200)
    command = [sys.executable, "-m", "bench.peers.exchange", channel]
    command += ["--trips", str(trips), "--messages", str(messages), "--size", str(SIZE)]
    command += ["--cpus", f"{options.engine_cpu},{options.driver_cpu}"]
    return answer_of(command, f"the exchange over {channel}")


def round_trip(options: Options, channel: str, beside: str) -> Figures:
    """ns there and back."""
    ours, theirs = (all_channels(options)[name] for name in (beside, channel))
    return Figures(
        ours=ours["p50_ns"],
        theirs=theirs["p50_ns"],
        ours_p99=ours["p99_ns"],
        theirs_p99=theirs["p99_ns"],
        verified="every answer is what was sent",
    )


def one_way(options: Options, channel: str, beside: str, *, batched: bool = False) -> Figures:
    """Messages a second."""
    key = "batched_per_second" if batched else "messages_per_second"
    ours, theirs = (all_channels(options)[name][key] for name in (beside, channel))
    return Figures(ours=ours, theirs=theirs, verified="every message in order, none lost")


@cache
def from_c(options: Options) -> dict[str, dict[str, float]]:
    """The ring from C, beside one cache line that goes to and fro."""
    rounds = options.pick(smoke=3, quick=11, full=21)
    trips = options.pick(smoke=2000, quick=20_000, full=50_000)
    messages = options.pick(smoke=20_000, quick=1_000_000, full=2_000_000)
    program = compile_program("programs/ring_bench.c", *ring.KERNELS)
    text = run_program(program, options.engine_cpu, options.driver_cpu, rounds, trips, messages)
    found = {record["what"]: record for record in json_lines(text)}
    if "one_way" not in found:
        raise BenchError("the ring's bench said nothing")
    return found


def c_round_trip(options: Options) -> Figures:
    """ns there and back, C to C."""
    floor, ours = from_c(options)["floor"], from_c(options)["ring_64"]
    return Figures(
        ours=ours["ns"],
        theirs=floor["ns"],
        ours_p99=ours["p99_ns"],
        theirs_p99=floor["p99_ns"],
        verified="every answer is what was sent",
    )


def c_note(options: Options) -> str:
    """One way from C, which no package here offers from Python."""
    way = from_c(options)["one_way"]
    return (
        f"The same ring from C: {way['ns']:.1f} ns a message one way, {way['messages_per_second'] / 1e6:.0f} million a "
        "second, none lost or torn. What a Python program pays above that is Python."
    )
