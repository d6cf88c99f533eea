"""Both sides' account of what was executed, and what is a break.

An execution that one side tells of must be told by the other within the grace, with the same lots and price. Positions
are compared at one point of the venue's own stream: what the engine is known to be ahead of or behind it at that point
is allowed for. Executions of earlier runs, of which this run's ring tells nothing, must be explained by the opening
positions: they count in the comparison of positions alone.

Pure: no clock, no socket; who calls says what happened, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hotpath.reconcile.wire import CopyExecution


class Key(NamedTuple):
    """What names an execution on both sides."""

    kind: str  # "E" executed, "B" broken, "F" corrected
    match: int
    symbol: str
    side: str
    price: int = 0  # of a correction: one match may have several


@dataclass
class Told:
    """An execution that one side has told of."""

    lots: int  # signed: bought; 0: a correction moves no position
    quantity: int
    price: int
    at_ns: int


@dataclass
class Break:
    """What both sides disagree about in one instrument."""

    symbol: str
    here_lots: int
    there_lots: int
    findings: list[str]


@dataclass
class Comparison:
    """One run's. `here` is the engine, `there` the venue."""

    grace_ns: int
    here_lots: dict[str, int] = field(default_factory=dict)  # positions as the engine folds them
    matched: int = 0
    confirmed: bool = False  # positions were compared
    breaks: dict[str, Break] = field(default_factory=dict)  # that stand, by symbol
    _here: dict[Key, Told] = field(default_factory=dict)  # told by one side only, so far
    _there: dict[Key, Told] = field(default_factory=dict)
    _earlier: dict[Key, Told] = field(default_factory=dict)  # of runs before
    _done: set[Key] = field(default_factory=set)

    @property
    def waiting(self) -> int:
        """Executions that one side has told of so far."""
        return len(self._here) + len(self._there)

    # ---- what happens ------------------------------------------------------------------------------

    def move(self, symbol: str, lots: int) -> None:
        """The engine's position moved by an adjustment, which no execution explains."""
        self.here_lots[symbol] = self.here_lots.get(symbol, 0) + lots

    def execute_here(self, key: Key, *, quantity: int, price: int, now_ns: int) -> None:
        """The engine published an execution."""
        told = Told(signed_lots(key, quantity), quantity, price, now_ns)
        self.move(key.symbol, told.lots)
        other = self._there.pop(key, None) or self._earlier.pop(key, None)
        if other is None:
            self._here[key] = told
        else:
            self._meet(key, told, other)

    def execute_there(self, execution: CopyExecution, *, now_ns: int) -> None:
        """The venue's copy told of an execution; one that it told before, as after a new login, is known."""
        key = key_of(execution)
        if key in self._done or key in self._there or key in self._earlier:
            return
        told = Told(signed_lots(key, execution.quantity), execution.quantity, execution.price, now_ns)
        other = self._here.pop(key, None)
        if other is None:
            self._there[key] = told
        else:
            self._meet(key, other, told)

    def _meet(self, key: Key, here: Told, there: Told) -> None:
        self._done.add(key)
        self.matched += 1
        same_price = key.kind == "B" or here.price == there.price
        if here.quantity != there.quantity or not same_price:
            told = f"{here.quantity} at {here.price} here, {there.quantity} at {there.price} there"
            self._find(key.symbol, f"execution {key.match} ({key.side}): {told}")

    # ---- what is found -----------------------------------------------------------------------------

    def expire(self, now_ns: int) -> None:
        """Executions that one side alone told of, for longer than the grace, are breaks. Each is found once."""
        for side, other, told_by in (("venue", "engine", self._there), ("engine", "venue", self._here)):
            for key in [key for key, told in told_by.items() if now_ns - told.at_ns > self.grace_ns]:
                if side == "venue" and not self.confirmed:
                    continue  # it may be of an earlier run
                told = told_by.pop(key)
                self._done.add(key)
                what = {"E": "execution", "B": "break", "F": "correction"}[key.kind]
                told_of = f"{what} {key.match} of {told.lots:+} lots"
                self._find(key.symbol, f"{told_of}: the {side} tells of it, the {other} does not")

    def compare(self, there: dict[str, int]) -> None:
        """The venue's positions, as of the last execution that its copy has told of."""
        if not self.confirmed:  # what is left unmatched by now was executed before this run
            self._earlier.update(self._there)
            self._there.clear()
            self.confirmed = True
        for symbol in sorted({*there, *self.here_lots, *self.breaks}):
            ahead = sum(told.lots for key, told in self._here.items() if key.symbol == symbol)
            behind = sum(told.lots for key, told in self._there.items() if key.symbol == symbol)
            here_lots, there_lots = self.here_lots.get(symbol, 0) - ahead + behind, there.get(symbol, 0)
            known = self.breaks.get(symbol)
            if known is not None:
                known.here_lots, known.there_lots = here_lots, there_lots
            if here_lots != there_lots:
                self._find(symbol, "positions differ", here_lots, there_lots)

    def _find(self, symbol: str, finding: str, here_lots: int | None = None, there_lots: int | None = None) -> None:
        here = self.here_lots.get(symbol, 0) if here_lots is None else here_lots
        known = self.breaks.setdefault(symbol, Break(symbol, here, here if there_lots is None else there_lots, []))
        if there_lots is not None:
            known.here_lots, known.there_lots = here, there_lots
        if finding not in known.findings:
            known.findings.append(finding)

    def clear(self, symbol: str) -> Break | None:
        """A person has settled it. A difference that still stands is found again by the next comparison."""
        return self.breaks.pop(symbol, None)


def key_of(execution: CopyExecution) -> Key:
    """The name of an execution that the copy tells of."""
    price = execution.price if execution.kind == "F" else 0
    return Key(execution.kind, execution.match, execution.symbol, execution.side, price)


def signed_lots(key: Key, quantity: int) -> int:
    """What an execution does to the position."""
    if key.kind == "F":
        return 0
    return quantity * (1 if key.side == "B" else -1) * (1 if key.kind == "E" else -1)
