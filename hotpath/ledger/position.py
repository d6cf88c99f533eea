"""One instrument's position: lots, what they cost, and the money that moved.

    cost of the lots held  =  numerator / denominator      exact: a reduction takes its part of it, by average cost
    realised               =  cash + cost                  what came in, less what went out, plus what is held at cost
    unrealised             =  lots x mark - cost

Realised and unrealised together are cash and market value, which are whole numbers, whatever the cost is. A
fraction grows with each reduction until the position is flat again; beyond FRACTION_BITS it is rounded once to
whole micros, and counted: an error of half a micro between the two parts, none in their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

FRACTION_BITS = 4096


@dataclass(frozen=True)
class Valuation:
    """A position held against a price; `mark_ticks` 0: there is no price, and nothing is unrealised."""

    lots: int
    cost_micros: int
    mark_ticks: int
    realised_micros: int
    unrealised_micros: int
    fees_micros: int

    @property
    def net_micros(self) -> int:
        """Profit after fees."""
        return self.realised_micros + self.unrealised_micros - self.fees_micros


def round_half_even(numerator: int, denominator: int) -> int:
    """The nearest whole number; `denominator` is above 0."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole & 1))


class Position:
    """Lots, cost, cash and fees of one instrument."""

    __slots__ = (
        "bought_lots",
        "cash_micros",
        "denominator",
        "fees_micros",
        "lots",
        "numerator",
        "roundings",
        "sold_lots",
    )

    def __init__(self) -> None:
        self.lots = 0
        self.numerator = 0  # of the cost, micros; below 0 for a short position
        self.denominator = 1
        self.cash_micros = 0
        self.fees_micros = 0
        self.bought_lots = 0
        self.sold_lots = 0
        self.roundings = 0

    def trade(self, lots: int, unit_micros: int) -> None:
        """Buy (`lots` above 0) or sell so many at `unit_micros` a lot."""
        held, after = self.lots, self.lots + lots
        self.cash_micros -= lots * unit_micros
        if lots > 0:
            self.bought_lots += lots
        else:
            self.sold_lots -= lots
        self.lots = after
        if held == 0 or (held > 0) == (lots > 0):
            self.numerator += lots * unit_micros * self.denominator
        elif after == 0 or (after > 0) != (held > 0):  # through flat: what is left was all traded now
            self.numerator, self.denominator = after * unit_micros, 1
        else:
            self._keep(abs(after), abs(held))

    def adjust(self, lots: int, *, cost_micros: int, cash_micros: int) -> None:
        """Lots that no trade explains, what they are said to have cost, and money besides."""
        self.lots += lots
        self.cash_micros += cash_micros - cost_micros
        self.numerator += cost_micros * self.denominator
        if self.lots == 0:  # nothing is held at cost: what is left of it is profit or loss
            self.numerator, self.denominator = 0, 1

    def _keep(self, part: int, whole: int) -> None:
        """Keep so much of the cost."""
        self.numerator *= part
        self.denominator *= whole
        if self.denominator.bit_length() > FRACTION_BITS:
            common = gcd(self.numerator, self.denominator)
            self.numerator //= common
            self.denominator //= common
            if self.denominator.bit_length() > FRACTION_BITS:
                self.numerator, self.denominator = round_half_even(self.numerator, self.denominator), 1
                self.roundings += 1

    @property
    def cost_micros(self) -> int:
        """Cost of the lots held, to the nearest micro."""
        return round_half_even(self.numerator, self.denominator)

    @property
    def realised_micros(self) -> int:
        """Profit of what is closed, before fees, to the nearest micro."""
        return self.cash_micros + self.cost_micros

    def value(self, *, mark_ticks: int, tick_value_micros: int) -> Valuation:
        """The position at a price."""
        cost = self.cost_micros
        unrealised = self.lots * mark_ticks * tick_value_micros - cost if mark_ticks else 0
        return Valuation(self.lots, cost, mark_ticks, self.cash_micros + cost, unrealised, self.fees_micros)
