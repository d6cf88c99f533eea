"""What the parts of a latency job hand back: a verdict each, the rows of its table, records for machines.

    pass          every test's interval lies inside its margin, every count within its limit
    inconclusive  something could not be told apart from the machine's noise, or could not be measured at all
    fail          a regression was shown; `caught` names the tests that showed it

The verdict of a whole is the worst of its parts. What could not be measured is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from bench.harness import Table


class Verdict(IntEnum):
    """In the order of severity, so that `max` joins several."""

    PASS = 0
    INCONCLUSIVE = 1
    FAIL = 2

    @property
    def word(self) -> str:
        """As it is printed and recorded."""
        return self.name.lower()

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 inconclusive; 2 is for a job that could not be run."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3}[self]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The joint verdict. Of nothing at all nothing is known."""
    found = list(verdicts)
    return max(found) if found else Verdict.INCONCLUSIVE


@dataclass
class Part:
    """One part of a job: counts, resources or timing.

    `caught` has one sentence for each test that failed, beginning with the test's name; `doubts` likewise for
    each that was inconclusive. `records` are flat dictionaries; the history keeps them as they are.
    """

    name: str
    verdict: Verdict
    tables: list[Table] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    caught: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    seconds: float = 0.0


def unmeasured(name: str, reason: str) -> Part:
    """A part that could not be measured here: inconclusive, and says why."""
    return Part(name, Verdict.INCONCLUSIVE, doubts=[f"{name}: not measured: {reason}"])
