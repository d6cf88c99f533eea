"""The fold: every execution once, in the order of its ring, and every adjustment in its place among them.

A break takes its fill out as if it had never happened; a correction gives it its other price. Either is rare, so the
instrument's history is folded again: what the ledger says is always the fold of the executions that stand.
A repetition (a number that the venue's session had before) changes nothing: the risk gate's own rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotpath.ledger.fees import FeeBook
from hotpath.ledger.marks import Marks
from hotpath.ledger.position import Position, Valuation

MOVING = (lib.EXEC_FILL, lib.EXEC_BROKEN, lib.EXEC_CORRECTED, lib.EXEC_ADJUSTED)


@dataclass(slots=True)
class Execution:
    """One entry of an instrument's history: a fill, or with `order_id` 0 and no price an adjustment."""

    sequence: int  # in exec
    instrument: int
    lots: int  # bought; below 0: sold
    price_ticks: int
    order_id: int = 0
    match_id: int = 0
    venue: int = 0
    liquidity: int = 0
    fee_micros: int = 0
    broken: bool = False
    adjusted: bool = False
    cost_micros: int = 0  # of an adjustment
    cash_micros: int = 0


class Ledger:
    """Positions of every instrument that ever moved, from executions and adjustments."""

    def __init__(self, tick_value_micros: Sequence[int], fees: FeeBook | None = None) -> None:
        """`tick_value_micros`: money of one tick of one lot, by instrument."""
        self._tick_values = [int(value) for value in tick_value_micros]
        self._fees = fees or FeeBook()
        self.positions: dict[int, Position] = {}
        self._history: dict[int, list[Execution]] = {}
        self._fills: dict[tuple[int, int], Execution] = {}
        self.session = 0  # of the last numbered execution, and its number
        self.session_sequence = 0
        self.executions = 0  # taken: repetitions and what moves nothing left out
        self.repeated = 0
        self.repeated_sequences: set[int] = set()  # of the last call of apply
        self.unmatched = 0  # breaks and corrections of fills that were never told

    def apply(
        self, executions: npt.NDArray[Any], adjustments: npt.NDArray[Any], *, first_sequence: int
    ) -> list[Execution]:
        """Fold ``exec_event`` rows from `first_sequence` on; `adjustments`: the ring adjust from its beginning.

        Returns the entries that are new or have changed, in order, each once.
        """
        changed: dict[int, Execution] = {}
        self.repeated_sequences = set()
        rewritten: set[int] = set()  # instruments whose history changed
        header = executions["header"]
        numbered = executions["session_sequence"] != 0
        chosen = np.flatnonzero(numbered | np.isin(header["type"], MOVING))
        rows = executions[chosen]
        head = rows["header"]
        columns = zip(
            (chosen + first_sequence).tolist(),
            head["type"].tolist(),
            head["instrument"].tolist(),
            rows["session"].tolist(),
            rows["session_sequence"].tolist(),
            rows["order_id"].tolist(),
            rows["match_id"].tolist(),
            rows["side"].tolist(),
            rows["quantity_lots"].tolist(),
            rows["price_ticks"].tolist(),
            rows["venue"].tolist(),
            rows["liquidity"].tolist(),
            rows["venue_ref"].tolist(),
            head["cause_sequence"].tolist(),
            strict=True,
        )
        for (
            sequence,
            kind,
            instrument,
            session,
            number,
            order,
            match,
            side,
            lots,
            price,
            venue,
            flag,
            ref,
            cause,
        ) in columns:
            if number and self._is_repeated(session, number):
                self.repeated += 1
                self.repeated_sequences.add(sequence)
                continue
            if kind not in MOVING or instrument >= len(self._tick_values):
                continue
            signed = -lots if side == lib.SIDE_SELL else lots
            if kind == lib.EXEC_FILL:
                entry = Execution(sequence, instrument, signed, price, order, match, venue, flag)
            elif kind == lib.EXEC_ADJUSTED:
                entry = adjustment_entry(
                    sequence, instrument, signed, money=signed64(ref), cause=cause, ring=adjustments
                )
                entry.match_id, entry.venue = match, venue
            else:
                revised = self._revise(order, match, price_ticks=price if kind == lib.EXEC_CORRECTED else None)
                if revised is not None:
                    changed[revised.sequence] = revised
                    rewritten.add(revised.instrument)
                continue
            self._take(entry)
            changed[sequence] = entry
        for instrument in rewritten:
            self._fold_again(instrument)
        return [changed[sequence] for sequence in sorted(changed)]

    def _is_repeated(self, session: int, number: int) -> bool:
        if session != self.session:
            self.session, self.session_sequence = session, 0
        if number <= self.session_sequence:
            return True
        self.session_sequence = number
        return False

    def _take(self, entry: Execution) -> None:
        """Fold one entry; its fee is set here."""
        self.executions += 1
        if not entry.adjusted:
            entry.fee_micros = self._fee(entry)
            self._fills[entry.order_id, entry.match_id] = entry
        self._history.setdefault(entry.instrument, []).append(entry)
        if not entry.broken:
            self._fold(self.positions.setdefault(entry.instrument, Position()), entry)

    def _revise(self, order_id: int, match_id: int, *, price_ticks: int | None) -> Execution | None:
        """Give a fill its other price, or with None take it back; None when there is no such fill. Its instrument's
        position is wrong until it is folded again."""
        entry = self._fills.get((order_id, match_id))
        if entry is None or entry.broken:
            self.unmatched += entry is None
            return None
        if price_ticks is None:
            entry.broken = True
            entry.fee_micros = 0
        else:
            entry.price_ticks = price_ticks
            entry.fee_micros = self._fee(entry)
        return entry

    def _fold_again(self, instrument: int) -> None:
        position = Position()
        for entry in self._history[instrument]:
            if not entry.broken:
                self._fold(position, entry)
        self.positions[instrument] = position

    def restore(self, entries: Iterable[Execution], *, session: int, session_sequence: int) -> None:
        """Take up where another ledger stood: its entries as they stand now, in order, and the last number it saw."""
        for entry in entries:
            self._take(entry)
        self.session, self.session_sequence = session, session_sequence

    def _fold(self, position: Position, entry: Execution) -> None:
        if entry.adjusted:
            position.adjust(entry.lots, cost_micros=entry.cost_micros, cash_micros=entry.cash_micros)
        else:
            position.trade(entry.lots, entry.price_ticks * self._tick_values[entry.instrument])
            position.fees_micros += entry.fee_micros

    def _fee(self, entry: Execution) -> int:
        if entry.broken:
            return 0
        lots = abs(entry.lots)
        return self._fees.fee_micros(
            venue=entry.venue,
            side=lib.SIDE_SELL if entry.lots < 0 else lib.SIDE_BUY,
            lots=lots,
            value_micros=lots * entry.price_ticks * self._tick_values[entry.instrument],
            liquidity=entry.liquidity,
        )

    def tick_value(self, instrument: int) -> int:
        """Money of one tick of one lot, in micros."""
        return self._tick_values[instrument]

    def valuation(self, instrument: int, marks: Marks) -> Valuation:
        """One instrument at its reference price."""
        return self.value_at(instrument, marks.price_ticks(instrument))

    def value_at(self, instrument: int, mark_ticks: int) -> Valuation:
        """One instrument at a price."""
        position = self.positions.get(instrument) or Position()
        return position.value(mark_ticks=mark_ticks, tick_value_micros=self._tick_values[instrument])


def signed64(word: int) -> int:
    """An int64 that was stored in a uint64."""
    return word - 2**64 if word >= 2**63 else word


def adjustment_entry(
    sequence: int, instrument: int, lots: int, *, money: int, cause: int, ring: npt.NDArray[Any]
) -> Execution:
    """An adjustment with its cost, which stands in its own ring; without that record all the money counts as cost."""
    cost, cash = -money, 0
    if cause < len(ring):
        cost, cash = int(ring[cause]["cost_micros"]), int(ring[cause]["cash_micros"])
    return Execution(sequence, instrument, lots, 0, adjusted=True, cost_micros=cost, cash_micros=cash)
