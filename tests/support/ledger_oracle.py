"""The ledger, slow and obvious: fractions, an average price, and a list of what stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class Happening:
    """A fill, or with no price an adjustment."""

    instrument: int
    lots: int
    price: int | None
    order: int = 0
    match: int = 0
    fee: Fraction = Fraction(0)
    cost: int = 0
    cash: int = 0


@dataclass
class Holding:
    """What the average-cost rule says of one instrument."""

    lots: int = 0
    average: Fraction = Fraction(0)
    realised: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)

    @property
    def cost(self) -> Fraction:
        return self.lots * self.average

    def fill(self, lots: int, price: int) -> None:
        closing = min(abs(lots), abs(self.lots)) if lots * self.lots < 0 else 0
        sign = 1 if lots > 0 else -1
        self.realised += closing * (price - self.average) * -sign
        self.lots += sign * closing
        opening = lots - sign * closing
        if opening:
            self.average = (self.lots * self.average + opening * price) / (self.lots + opening)
            self.lots += opening

    def adjust(self, lots: int, cost: int, cash: int) -> None:
        total = self.cost + cost
        self.lots += lots
        self.realised += cash
        if self.lots:
            self.average = total / self.lots
        else:
            self.realised -= total


@dataclass
class LedgerOracle:
    """`tick_values`: micros of one tick of one lot."""

    tick_values: list[int]
    standing: list[Happening] = field(default_factory=list)

    def fill(self, happening: Happening) -> None:
        self.standing.append(happening)

    def broken(self, order: int, match: int) -> None:
        self.standing = [h for h in self.standing if h.price is None or (h.order, h.match) != (order, match)]

    def corrected(self, order: int, match: int, price: int) -> None:
        for happening in self.standing:
            if happening.price is not None and (happening.order, happening.match) == (order, match):
                happening.price = price

    def holding(self, instrument: int) -> Holding:
        holding = Holding()
        for each in self.standing:
            if each.instrument != instrument:
                continue
            if each.price is None:
                holding.adjust(each.lots, each.cost, each.cash)
            else:
                holding.fill(each.lots, each.price * self.tick_values[instrument])
        return holding

    def fees(self, instrument: int, *, maker: int, taker: int, sell: int, ppb: int, makers: set[int]) -> int:
        """Per lot by who rested, per value on all, and on sales per lot: each execution to the nearest micro."""
        total = 0
        for each in self.standing:
            if each.instrument == instrument and each.price is not None:
                value = abs(each.lots) * each.price * self.tick_values[instrument]
                per_lot = (maker if each.match in makers else taker) + (sell if each.lots < 0 else 0)
                total += abs(each.lots) * per_lot + round(Fraction(value * ppb, 10**9))  # half to even
        return total
