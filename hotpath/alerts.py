"""What an operator should know at once, from one look at an engine: one list, worst first, for every screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from hotpath.stat import EngineStat

SILENT_NS = 1_000_000_000  # a stage that has not turned for so long is not well
LAG_SHARE = 0.25  # of a ring, that a reader may be behind
USE_SHARE = 0.8  # of a limit
ALARM, WARNING = "alarm", "warning"
# Counters that say that something was lost, or does not agree: anything but 0 is an alarm.
ALARMING = {
    "feed": {
        "gaps_lost": "messages were lost for good",
        "divergences": "books differed from the venue's snapshot",
        "snapshot_failures": "snapshots failed",
        "a_silent": "line A is silent",
        "b_silent": "line B is silent",
    },
    "risk": {
        "overfills": "executions exceed their orders",
        "unknown_executions": "executions are of no order of ours",
        "limits_refused": "copies of the limits were damaged",
    },
}


class AlertStat(Struct, frozen=True):
    """One thing."""

    level: str  # "alarm" or "warning"
    about: str  # a stage, a ring, a limit, a scope
    text: str


def alerts_of(stat: EngineStat) -> list[AlertStat]:
    """Everything that is wrong now, alarms first."""
    found = [*_stages(stat), *_switched_off(stat), *_counted(stat), *_rings(stat), *_limits(stat), *_beside(stat)]
    return sorted(found, key=lambda each: each.level != ALARM)


def _stages(stat: EngineStat) -> Iterator[AlertStat]:
    for name, stage in stat.stages.items():
        age = stage.heartbeat_age_ns
        if stage.state == "failed":
            yield AlertStat(ALARM, name, f"failed: {stage.error or 'it does not say why'}")
        elif stat.state == "running" and not stage.alive:
            yield AlertStat(ALARM, name, "its process is gone")
        elif stat.state == "running" and age is not None and age > SILENT_NS:
            yield AlertStat(ALARM, name, f"silent for {age / 1e9:.1f} s")


def _switched_off(stat: EngineStat) -> Iterator[AlertStat]:
    if stat.kill is not None and not stat.kill.effective:
        yield AlertStat(ALARM, "kill", f"not effective yet: {stat.kill.in_flight_bytes:,} bytes in flight")
    for cause, mode in stat.mode_words.items():
        yield AlertStat(WARNING, cause, f"demands {mode.replace('_', ' ')}")
    for scope, words in stat.switches.items():
        yield AlertStat(WARNING, scope, words.replace("_", " "))


def _counted(stat: EngineStat) -> Iterator[AlertStat]:
    for stage, names in ALARMING.items():
        for name, text in names.items():
            if count := stat.counter(stage, name):
                yield AlertStat(ALARM, stage, text if name.endswith("_silent") else f"{count:,} {text}")
    if stat.state != "running":
        return
    if stat.counter("feed", "stale"):
        yield AlertStat(ALARM, "feed", "no book can be believed")
    elif stale := stat.counter("feed", "stale_instruments"):
        yield AlertStat(WARNING, "feed", f"{stale:,} books are stale")
    if not stat.counter("gateway", "session_up"):
        yield AlertStat(ALARM, "gateway", "no session with the venue")
    unknown = stat.counter("gateway", "unknown") - stat.counter("gateway", "settled")
    if unknown > 0:
        yield AlertStat(ALARM, "gateway", f"{unknown:,} orders of unknown fate")


def _rings(stat: EngineStat) -> Iterator[AlertStat]:
    for name, ring in stat.rings.items():
        for reader, each in ring.readers.items():
            if each.lost:
                level = ALARM if reader == "journal" else WARNING  # who only looks on may lose events
                yield AlertStat(level, name, f"{reader} lost {each.lost:,} events")
            elif each.kind == "gating" and each.lag > LAG_SHARE * ring.capacity:
                yield AlertStat(WARNING, name, f"{reader} is {each.lag:,} events behind")


def _limits(stat: EngineStat) -> Iterator[AlertStat]:
    for each in stat.limits:
        if each.used is not None and each.limit > 0 and each.used >= USE_SHARE * each.limit:
            level = ALARM if each.used > each.limit else WARNING
            yield AlertStat(level, each.name, f"{each.used / each.limit:.0%} used")


def _beside(stat: EngineStat) -> Iterator[AlertStat]:
    for name, side in stat.sides.items():
        if stat.state == "running" and not side.alive:
            yield AlertStat(ALARM, name, f"{side.state}: its process is gone")
    for name, seat in stat.seats.items():
        if seat.state == "cut_off":
            yield AlertStat(WARNING, f"seat {name}", f"cut off: {seat.reason}")
    if stat.journal is not None and stat.journal.space != "enough":
        yield AlertStat(ALARM, "journal", f"{stat.journal.free_bytes >> 20:,} MiB are left on its disk")
