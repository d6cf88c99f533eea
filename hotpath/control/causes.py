"""What may tighten an engine: one row for each cause, from which docs/modes.md is made.

    python -m hotpath.control.causes          prints the table

Each cause owns a byte of the control page (enum cause of ffi/include/layout.h), which one process writes: the mode that
it demands. The strictest of all is in force; a stage samples it once a turn. A *condition* clears itself once it has
not been true for its hold; a *latch* stays until people, or a new run, clear it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ffi import lib
from ffi.dtypes import enum_names

Kind = Literal["condition", "latch", "word"]


@dataclass(frozen=True)
class Cause:
    """One row. `modes`: those that it may demand, strictest last."""

    name: str
    when: str
    modes: tuple[str, ...]
    kind: Kind
    hold: str
    writer: str
    clears: str
    scope: str = "engine"


def _lease(name: str, who: str, mode: str, key: str, writer: str) -> Cause:
    return Cause(
        f"lease_{name}",
        f"{who} was not heard for leases.{key}",
        (mode,),
        "condition",
        "leases.hold_ms",
        writer,
        "itself, when it is heard again",
    )


def _record(stage: str) -> Cause:
    return Cause(
        f"record_{stage}",
        f"a turn of {stage} could not be recorded: what follows cannot be replayed",
        ("halted",),
        "latch",
        "-",
        f"{stage}'s process",
        "a new run",
    )


CAUSES = (
    Cause("operator", "people said so", ("reduce_only", "cancel_only", "halted"), "word", "-", "control", "people"),
    Cause(
        "supervisor",
        "a process of the path is away and being made again; halted: it cannot be",
        ("cancel_only", "halted"),
        "condition",
        "until it is ready",
        "supervisor",
        "itself",
    ),
    *(_record(stage) for stage in ("feed", "signal", "risk", "gateway")),
    Cause(
        "session",
        "the venue session is not up, or not yet recovered",
        ("cancel_only",),
        "condition",
        "its recovery",
        "gateway's process",
        "itself",
    ),
    Cause(
        "belief",
        "the venue said what cannot be believed: unmatched, malformed, told twice",
        ("cancel_only",),
        "latch",
        "-",
        "gateway's process",
        "people, with a new day's intent file",
    ),
    Cause(
        "intents",
        "intents could not be written to the disk (gateway.durability)",
        ("halted",),
        "latch",
        "-",
        "gateway's process",
        "people, over restarts",
    ),
    Cause(
        "journal",
        "half a ring behind, or away and starting again",
        ("reduce_only",),
        "condition",
        "less than a quarter behind",
        "supervisor",
        "itself",
    ),
    Cause(
        "journal_space",
        "its disk has less than journal.space_low_mib, space_out_mib",
        ("reduce_only", "halted"),
        "condition",
        "-",
        "supervisor",
        "itself, with more room",
    ),
    Cause(
        "journal_lost",
        "it was lapped, its disk refused, or its restarts are used up",
        ("halted",),
        "latch",
        "-",
        "supervisor",
        "a new run",
    ),
    Cause(
        "reconcile",
        "positions were not compared for too long, or executions were missed",
        ("reduce_only",),
        "condition",
        "the next comparison",
        "supervisor",
        "itself",
    ),
    Cause(
        "feed_stale",
        "books are stale: a gap, silence, a snapshot under way",
        ("reduce_only",),
        "condition",
        "leases.stale_hold_ms",
        "gateway's process",
        "itself",
    ),
    _lease("feed", "the process of feed", "reduce_only", "stage_ms", "gateway's process"),
    _lease("signal", "the process of signal", "reduce_only", "stage_ms", "gateway's process"),
    _lease("risk", "the process of risk", "cancel_only", "stage_ms", "gateway's process"),
    _lease("gateway", "the process of the gateway", "cancel_only", "stage_ms", "risk's process"),
    _lease("supervisor", "the supervisor", "reduce_only", "supervisor_ms", "gateway's process"),
    _lease("control", "the control process", "reduce_only", "control_ms", "gateway's process"),
    Cause(
        "slept",
        "the gateway's own loop stood still for leases.stage_ms: what waits for it was decided before",
        ("cancel_only",),
        "condition",
        "leases.hold_ms",
        "gateway's process",
        "itself",
    ),
    Cause(
        "clock",
        "the engine's clock is leases.clock_skew_ns_max away from the system's, or from what that is corrected to",
        ("cancel_only",),
        "condition",
        "leases.guard_hold_ms",
        "supervisor",
        "itself",
    ),
    Cause(
        "latency",
        "p99 of the path over leases.path_window_ms is above leases.path_p99_ns_max; few orders tell nothing",
        ("reduce_only",),
        "condition",
        "leases.guard_hold_ms",
        "supervisor",
        "itself, and is tried again where nothing was ordered",
    ),
    Cause(
        "loss",
        "the firm's daily loss or drawdown over its limit, in this run or one before",
        ("reduce_only",),
        "latch",
        "-",
        "supervisor, from what the gate found",
        "people: firm.rearm_epoch, or --clear-loss",
    ),
    Cause(
        "model",
        "the champion failed, and no fallback stands in its place",
        ("reduce_only",),
        "latch",
        "-",
        "supervisor, from what signal found",
        "people: the next generation of models",
    ),
    Cause(
        "conservation",
        "what the gateway framed is not what risk approved, one for one",
        ("halted",),
        "latch",
        "-",
        "gateway's process",
        "a new run",
    ),
)


def cause_names() -> list[str]:
    """Names by their numbers in enum cause: "operator", "supervisor", ..."""
    names = enum_names("cause")
    return [names[index].removeprefix("CAUSE_").lower() for index in range(lib.CAUSES)]


def mode_names() -> dict[int, str]:
    """Names of the modes by their numbers, mildest first."""
    names = enum_names("trading_mode")
    return {number: name.removeprefix("MODE_").lower() for number, name in sorted(names.items())}


def active_causes(control: Any) -> dict[str, str]:
    """Every cause that stands and the mode that it demands; `control`: ``control_page *``, or an array's element."""
    words = control["cause"] if hasattr(control, "dtype") else control.cause
    modes = mode_names()
    return {name: modes.get(int(words[index]), "halted") for index, name in enumerate(cause_names()) if words[index]}


def causes_of_bits(bits: int) -> list[str]:
    """Names for the bits that a turn record holds."""
    return [name for index, name in enumerate(cause_names()) if bits >> index & 1]


TITLE = """# Modes

What an engine may still do, and why. Generated from `hotpath/control/causes.py`; a test compares it.

| mode | new orders | orders that only reduce a position | cancels |
|---|---|---|---|
| normal | yes | yes | yes |
| reduce_only | no | yes | yes |
| cancel_only | no | no | yes |
| halted | no | no | yes |

A **kill** is stricter than every mode and is no cause: it refuses new orders, throws away those that have not left,
cancels what is open, and stays over restarts (`docs/kill.md`). Every cause is a byte of shared memory with one writer;
the strictest is in force, and `hotpath stat` lists all that stand. *condition*: clears itself, after its hold;
*latch*: stays; *word*: as people said. A cause that clears itself never has to be switched off by hand.

| cause | when | mode | kind | hold | scope | written by | cleared by |
|---|---|---|---|---|---|---|---|
"""


def modes_page() -> str:
    """The text of docs/modes.md."""
    rows = (
        f"| {c.name} | {c.when} | {', '.join(c.modes)} | {c.kind} | {c.hold} | {c.scope} | {c.writer} | {c.clears} |"
        for c in CAUSES
    )
    return TITLE + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(modes_page(), end="")
