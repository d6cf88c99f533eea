"""What callgrind wrote, as samples: where in the engine's loop, in which function of the source, and what it cost.

    norm_commit'event_apply'feed_turn'all_step'duty_run'...     a function with its callers (--separate-callers)
    ring_inline.h:41   120 40 0 ...                             lines inlined into it keep their file

A line's stage is the first function below the loop that bears a stage's name; the rest is the loop's own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from bench.harness import BenchError
from bench.profile.source import Sources

EVENTS = ("Ir", "Dr", "Dw", "I1mr", "D1mr", "D1mw", "ILmr", "DLmr", "DLmw", "Bc", "Bcm", "Bi", "Bim")
ROOT = "duty_run"
LOOP = "duty loop"
STAGES = ("feed", "signal", "risk", "gateway")
CLONE = re.compile(r"\.(?:part|constprop|isra|cold|lto_priv)\b.*$")  # what the compiler adds to a name
Costs = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where something was spent: the calls down to it, outermost first, and the function of the source.

    `held_by` is the last of the calls: another name than `function` means that it was inlined there. `file` is empty
    for what is not ours: the C library, the compiler's own headers."""

    stack: tuple[str, ...]
    function: str
    file: str

    @property
    def held_by(self) -> str:
        """The function as compiled."""
        return self.stack[-1]

    @property
    def stage(self) -> str:
        """feed, signal, risk, gateway, or the loop that calls them."""
        for name in self.stack:
            prefix = name.split("_")[0]
            if prefix in STAGES:
                return prefix
        # gcc inlines the steps of the stages: then what it calls or holds says which it is
        prefix = self.function.split("_")[0]
        return prefix if prefix in STAGES else LOOP


Samples = dict[Place, Costs]


def read_samples(text: str, sources: Sources) -> Samples:
    """A callgrind file of one part: costs by place, in the order of EVENTS. Raises BenchError when it does not fit."""
    events = re.search(r"^events: (.+)$", text, re.MULTILINE)
    if events is None or tuple(events[1].split()) != EVENTS:
        raise BenchError(f"callgrind counted {events[1] if events else 'nothing'}, not {' '.join(EVENTS)}")
    found: dict[Place, Costs] = defaultdict(lambda: np.zeros(len(EVENTS)))
    for function, file, line, costs in own_lines(text):
        stack = stack_of(function)
        if not any(costs):
            continue
        if stack is None:
            raise BenchError(f"a cost outside of {ROOT}: {function}")
        name = PurePath(file).name
        inner = sources.function_at(name, line)
        place = Place(stack, inner or stack[-1], name if inner else "")
        found[place][: len(costs)] += costs
    if not found:
        raise BenchError("callgrind saw nothing of the engine's loop")
    return dict(found)


def stack_of(function: str) -> tuple[str, ...] | None:
    """ "leaf'caller'...'duty_run'python" as calls from duty_run on, outermost first; None where it is not below it."""
    names = [CLONE.sub("", name) for name in function.split("'") if not name.isdigit()]
    return tuple(reversed(names[: names.index(ROOT) + 1])) if ROOT in names else None


def own_lines(text: str) -> Iterator[tuple[str, str, int, list[int]]]:
    """Function, file, line and costs of every line that is no call's: with --compress-pos=no --compress-strings=no."""
    function, file, called = "", "", False
    for line in text.splitlines():
        kind, equals, rest = line.partition("=")
        if equals:
            if kind in ("fl", "fi", "fe"):
                file = rest
            elif kind == "fn":
                function = rest
            elif kind == "calls":
                called = True
        elif line[:1].isdigit():
            if not called:
                number, *costs = map(int, line.split())
                yield function, file, number, costs
            called = False
