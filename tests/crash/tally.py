"""What a phase of the campaign is given, and what it hands back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """One phase, or one part of it: how much was done, and what did not hold."""

    counts: Counter[str] = field(default_factory=Counter)  # "SIGKILL", "cuts", "images", ...
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    replay: str = ""  # arguments of make crash that run a failure again, where the campaign's own would run more

    def take(self, other: Tally) -> None:
        """Add a part."""
        self.counts += other.counts
        self.wrong += other.wrong
        self.notes += other.notes
        self.replay = self.replay or other.replay


@dataclass(frozen=True)
class Work:
    """What is asked of a phase."""

    seed: int
    folder: Path  # its own, empty
    say: Callable[[str], None] = print
    quick: bool = False  # a sample of it: what every `make test` has time for
    kills: int = 0  # of the phase whose instants are drawn; the others know how many places there are
    keep: Path | None = None  # where the folders of failed runs are copied to

    def chance(self, purpose: str) -> random.Random:
        """Numbers that depend on the seed and on what they are for alone."""
        return random.Random(f"{self.seed} {purpose}")
