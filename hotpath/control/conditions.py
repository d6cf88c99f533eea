"""The preconditions of arming, each by name: what operators are shown before an engine may send orders.

session        the venue's session is up and its stream believed; no order id is given twice   hotpath/arming.py
adjustments    what people said of positions has come through to risk                          hotpath/ledger/desk.py
reconciled     what the venue reports is what the engine holds                                 hotpath/reconcile
clock          the engine's clock and the system's agree within a bound
versions       every process of the path runs this build of the extension
data           the feed is fresh
journal        it keeps up, its disk has room, and it has no hole
processes      every process of the path is there and beats
envelope       the signed deployment envelope allows this engine, venue, build and these bounds
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ffi import lib
from ffi.dtypes import layout_hash
from hotpath.arming import missing_preconditions
from hotpath.control.envelope import envelope_missing
from hotpath.control.requests import Condition
from hotpath.topology import STAGES

if TYPE_CHECKING:
    from hotpath.engine import EngineMemory

CLOCK_BOUND_NS = 50_000_000
EXTENSION = "/ffi/_native"


def conditions_of(memory: EngineMemory, *, adjustments: list[str], reconciliation: list[str]) -> list[Condition]:
    """Every precondition of a live engine, in the order in which people look at them."""
    return [
        _condition("session", missing_preconditions(memory), "up, or none is needed"),
        _condition("adjustments", adjustments, "heard by risk"),
        _condition("reconciled", reconciliation, _reconciled(memory)),
        _clock(memory),
        _versions(memory),
        _data(memory),
        _journal(memory),
        _processes(memory),
        _envelope(memory),
    ]


def _condition(name: str, missing: list[str], otherwise: str) -> Condition:
    return Condition(name, not missing, "; ".join(missing) or otherwise)


def _reconciled(memory: EngineMemory) -> str:
    return "nothing differs" if memory.spec.reconcile else "not asked for: [reconcile] username is empty"


def _clock(memory: EngineMemory) -> Condition:
    clock = memory.segments["clock"].cast("clock_page *")
    skew_ns = int(lib.clock_now(clock)) - time.time_ns()
    return Condition(
        "clock",
        abs(skew_ns) <= CLOCK_BOUND_NS,
        f"{skew_ns / 1e6:+.3f} ms from the system's, bound {CLOCK_BOUND_NS // 10**6} ms",
    )


def _versions(memory: EngineMemory) -> Condition:
    """Of one build when the same file is mapped: one that was built anew has another inode."""
    own = _builds(os.getpid())
    others = []
    for stage in STAGES:
        pid = int(memory.stage_page(stage).pid)
        found = _builds(pid) if pid else own
        if found != own:
            others.append(f"{stage} (process {pid}) runs another build")
    return _condition("versions", others, f"one build, layout {layout_hash():016x}")


def _builds(pid: int) -> frozenset[str]:
    """Device and inode of every mapped file of the extension; empty when the process cannot be looked into."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return frozenset()
    parts = [line.split() for line in lines if EXTENSION in line]
    return frozenset(f"{part[3]}/{part[4]}" for part in parts)


def _data(memory: EngineMemory) -> Condition:
    feed = memory.spec.config.feed
    if feed.kind in ("none", "file", "pcap"):
        return Condition("data", True, f'feed.kind = "{feed.kind}": not live')
    counter = memory.stage_page("feed").counter
    if counter[lib.FEED_STALE]:
        return Condition("data", False, "the feed is stale")
    return Condition("data", True, "the feed is fresh")


def _journal(memory: EngineMemory) -> Condition:
    if not memory.spec.journal:
        return Condition("journal", True, "this run keeps none")
    found = {lib.CAUSE_JOURNAL: "it is behind, or away", lib.CAUSE_JOURNAL_SPACE: "its disk has little room"}
    found[lib.CAUSE_JOURNAL_LOST] = "it has a hole, or its disk refused: only a new run is whole"
    missing = [why for cause, why in found.items() if int(memory.control.cause[cause]) != lib.MODE_NORMAL]
    return _condition("journal", missing, "it keeps up, with room on its disk")


def _envelope(memory: EngineMemory) -> Condition:
    config = memory.spec.config
    missing = [each.removeprefix("envelope: ") for each in envelope_missing(config)]
    return _condition("envelope", missing, "its signature holds" if config.control.envelope else "there is none")


def _processes(memory: EngineMemory) -> Condition:
    clock = memory.segments["clock"].cast("clock_page *")
    bound_ns = memory.spec.config.engine.hang_ms * 1_000_000
    silent = []
    for stage in STAGES:
        page = memory.stage_page(stage)
        beat = int(page.heartbeat_time_ns)
        if int(page.state) < int(lib.STAGE_READY) or not beat or int(lib.clock_now(clock)) - beat > bound_ns:
            silent.append(stage)
    return _condition("processes", [f"{stage} is not there" for stage in silent], "all beat")
