"""The ledger against an oracle in fractions: any stream of fills, breaks, corrections, repetitions, adjustments."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.config import FeeConfig
from hotpath.ledger import FeeBook, Ledger
from hotpath.ledger.position import FRACTION_BITS, Position
from tests.support.ledger_oracle import Happening, LedgerOracle

TICK_VALUES = [100, 1, 12_500_000]
FEES = {"maker": -2_000, "taker": 3_000, "sell": 166, "ppb": 27_800}

fills = st.tuples(
    st.just("fill"), st.integers(0, 2), st.integers(-300, 300).filter(bool), st.integers(1, 10**6), st.booleans()
)
adjustments = st.tuples(
    st.just("adjust"),
    st.integers(0, 2),
    st.integers(-300, 300),
    st.integers(-(10**12), 10**12),
    st.integers(-(10**9), 10**9),
)
revisions = st.tuples(st.sampled_from(["broken", "corrected", "repeat"]), st.integers(0, 50), st.integers(1, 10**6))


def exec_event(kind: int, **fields: Any) -> npt.NDArray[Any]:
    """One ``exec_event``."""
    event = np.zeros(1, dtype_of("exec_event"))
    event["header"]["type"] = kind
    event["header"]["instrument"] = fields.pop("instrument", 0)
    event["header"]["cause_sequence"] = fields.pop("cause", 0)
    lots = fields.pop("lots", 0)
    event["side"] = lib.SIDE_SELL if lots < 0 else lib.SIDE_BUY
    event["quantity_lots"] = abs(lots)
    for name, value in fields.items():
        event[name] = value
    return event


class Streams:
    """The same happenings as events and as the oracle's list."""

    def __init__(self) -> None:
        self.oracle = LedgerOracle(TICK_VALUES)
        self.executions: list[npt.NDArray[Any]] = []
        self.adjustments: list[npt.NDArray[Any]] = []
        self.told: list[tuple[int, int]] = []
        self.makers: set[int] = set()
        self.number = 0

    def next(self) -> int:
        self.number += 1
        return self.number

    def fill(self, instrument: int, lots: int, price: int, maker: bool) -> None:
        number = self.next()
        order, match = 1000 + number, 2**63 + number
        self.told.append((order, match))
        if maker:
            self.makers.add(match)
        self.oracle.fill(Happening(instrument, lots, price, order, match))
        fields = {"order_id": order, "match_id": match, "price_ticks": price, "liquidity": ord("A" if maker else "R")}
        self.add(lib.EXEC_FILL, number, instrument=instrument, lots=lots, **fields)

    def add(self, kind: int, number: int, **fields: Any) -> None:
        session = 7 if number else 0
        venue = lib.VENUE_OUCH50
        self.executions.append(exec_event(kind, session=session, session_sequence=number, venue=venue, **fields))

    def adjust(self, instrument: int, lots: int, cost: int, cash: int) -> None:
        self.oracle.fill(Happening(instrument, lots, None, cost=cost, cash=cash))
        event = np.zeros(1, dtype_of("adjustment_event"))
        event["cost_micros"], event["cash_micros"] = cost, cash
        cause = len(self.adjustments)
        self.adjustments.append(event)
        money = (cash - cost) % 2**64
        self.add(lib.EXEC_ADJUSTED, 0, instrument=instrument, lots=lots, cause=cause, venue_ref=money)

    def revise(self, what: str, which: int, price: int) -> None:
        if not self.told:
            return
        if what == "repeat":
            self.executions.append(self.executions[which % len(self.executions)].copy())
            if self.executions[-1]["session_sequence"][0] == 0:
                self.executions.pop()  # made here, and so never told twice
            return
        order, match = self.told[which % len(self.told)]
        instrument = next((h.instrument for h in self.oracle.standing if h.match == match), 0)
        fields = {"instrument": instrument, "order_id": order, "match_id": match, "price_ticks": price}
        if what == "broken":
            self.oracle.broken(order, match)
            self.add(lib.EXEC_BROKEN, self.next(), **fields)
        else:
            self.oracle.corrected(order, match, price)
            self.add(lib.EXEC_CORRECTED, self.next(), **fields)


def fee_book() -> FeeBook:
    schedule = FeeConfig(
        maker_micros_per_lot=FEES["maker"],
        taker_micros_per_lot=FEES["taker"],
        sell_micros_per_lot=FEES["sell"],
        maker_ppb=FEES["ppb"],
        taker_ppb=FEES["ppb"],
    )
    return FeeBook({"default": schedule})


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(fills, fills, fills, adjustments, revisions), max_size=60), st.integers(1, 20))
def test_ledger_is_the_exact_fold_of_what_stands(happenings: list[Any], batch: int) -> None:
    streams = Streams()
    for what, *rest in happenings:
        if what == "fill":
            streams.fill(*rest)
        elif what == "adjust":
            streams.adjust(*rest)
        else:
            streams.revise(what, *rest)
    ledger = Ledger(TICK_VALUES, fee_book())
    empty = np.zeros(0, dtype_of("adjustment_event"))
    ring = np.concatenate([empty, *streams.adjustments])
    for begin in range(0, len(streams.executions), batch):
        events = np.concatenate(streams.executions[begin : begin + batch])
        ledger.apply(events, ring, first_sequence=begin)
    for instrument in range(len(TICK_VALUES)):
        holding = streams.oracle.holding(instrument)
        position = ledger.positions.get(instrument, Position())
        assert position.lots == holding.lots
        assert Fraction(position.numerator, position.denominator) == holding.cost
        assert position.cash_micros + Fraction(position.numerator, position.denominator) == holding.realised
        fees = streams.oracle.fees(instrument, makers=streams.makers, **FEES)
        assert position.fees_micros == fees
        for mark in (1, 777, 10**6):
            value = ledger.value_at(instrument, mark)
            market = position.lots * mark * TICK_VALUES[instrument]
            assert value.realised_micros + value.unrealised_micros == position.cash_micros + market
            assert abs(value.unrealised_micros - (market - holding.cost)) <= Fraction(1, 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 97), st.integers(1, 10**6))
def test_cost_that_grows_without_end_is_rounded_and_counted(lots: int, price: int) -> None:
    """A position that is never flat: each rounding costs half a micro at most, and cash knows nothing of it."""
    position, oracle = Position(), LedgerOracle([1]).holding(0)
    for step in range(1200):
        traded = lots if step % 2 == 0 else -(lots - 1)
        position.trade(traded, price + step)
        oracle.fill(traded, price + step)
        if position.denominator.bit_length() > FRACTION_BITS:
            raise AssertionError("a fraction that is not bounded")
    assert position.lots == oracle.lots
    assert abs(position.cash_micros + Fraction(position.numerator, position.denominator) - oracle.realised) <= Fraction(
        position.roundings, 2
    )
