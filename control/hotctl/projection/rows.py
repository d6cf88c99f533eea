"""Events as rows: columns of arrays become tuples in the order of the table's columns.

Nothing here remembers anything: a row is a function of its event, its sequence and the run's reference data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import lib
from ffi.dtypes import enum_names
from hotpath.event_view import type_names
from hotpath.ledger import Execution, Valuation
from hotpath.ledger.fees import venue_name

Events = npt.NDArray[Any]
Row = tuple[Any, ...]
SIDES = {lib.SIDE_BUY: "buy", lib.SIDE_SELL: "sell"}
BIGINT_MAX = 2**63 - 1
MILLION = 1_000_000


class Names:
    """What a run's numbers are called."""

    def __init__(self, run_epoch: int, instruments: Events) -> None:
        self.run_epoch = run_epoch
        self._symbols = [symbol.decode("ascii", "replace") for symbol in instruments["symbol"].tolist()]
        self.tick_values = [int(value) for value in instruments["tick_value_micros"].tolist()]

    def symbol(self, instrument: int) -> str | None:
        """None for an event of no instrument."""
        return self._symbols[instrument] if instrument < len(self._symbols) else None

    def index(self, instrument: int) -> int | None:
        """The same number, None where it names no instrument."""
        return instrument if instrument < len(self._symbols) else None


def bounded(value: int) -> int:
    """What a BIGINT holds: a sum beyond it is a mistake somewhere else, and must not stop the projection."""
    return max(-BIGINT_MAX, min(BIGINT_MAX, value))


def clean_text(data: bytes) -> str:
    """Text of somebody's own as a database takes it."""
    return data.decode("utf-8", "replace").replace("\0", "")


@cache
def event_name(kind: int) -> str:
    """As "exec_fill"."""
    return type_names().get(kind, str(kind))


@cache
def reason_name(kind: int, reason: int) -> str | None:
    """This engine's reasons by name; the venue's are letters or numbers."""
    if not reason:
        return None
    if kind == lib.EXEC_REFUSED:
        return enum_names("reject_reason").get(reason, str(reason)).removeprefix("REJECT_").lower()
    if kind == lib.EXEC_REPEATED:
        return event_name(reason)
    return chr(reason) if 0x20 < reason < 0x7F else str(reason)


@cache
def enum_word(enum: str, prefix: str, value: int) -> str:
    """A value of an enum in lower case, without its prefix."""
    return enum_names(enum).get(value, str(value)).removeprefix(prefix).lower()


@cache
def venue_word(kind: int) -> str:
    """As the configuration names it."""
    return venue_name(kind)


def liquidity_letter(flag: int) -> str | None:
    """The venue's flag."""
    return chr(flag) if 0x20 < flag < 0x7F else None


def _columns(events: Events, *names: str) -> list[list[Any]]:
    """Columns as lists of Python numbers; a dot reaches into a struct."""
    found = []
    for name in names:
        column = events
        for part in name.split("."):
            column = column[part]
        found.append(column.tolist())
    return found


def exec_trail(names: Names, ring: str, events: Events, sequences: Sequence[int]) -> list[Row]:
    """``exec_event`` rows of the order audit trail."""
    run = names.run_epoch
    columns = _columns(
        events,
        "header.publish_time_ns",
        "header.origin_time_ns",
        "header.type",
        "order_id",
        "target_order_id",
        "header.instrument",
        "side",
        "price_ticks",
        "quantity_lots",
        "leaves_lots",
        "cumulative_lots",
        "reason",
        "match_id",
        "venue_ref",
        "session_sequence",
        "header.cause_sequence",
    )
    return [
        (
            run, ring, sequence, time, origin, event_name(kind), order or None, target or None, names.index(instrument),
            names.symbol(instrument), SIDES.get(side), price, lots, leaves, filled, reason_name(kind, reason),
            str(match) if match else None, str(ref) if ref else None, number or None, cause,
            None, None, None, None, None,
        )
        for sequence, time, origin, kind, order, target, instrument, side, price, lots, leaves, filled, reason, match,
        ref, number, cause in zip(sequences, *columns, strict=True)
    ]  # fmt: skip


def cmd_trail(names: Names, events: Events, sequences: Sequence[int]) -> list[Row]:
    """``cmd_event`` rows of the order audit trail."""
    run = names.run_epoch
    columns = _columns(
        events,
        "header.publish_time_ns",
        "header.origin_time_ns",
        "header.type",
        "order_id",
        "target_order_id",
        "header.instrument",
        "side",
        "price_ticks",
        "quantity_lots",
        "header.cause_sequence",
        "id.account",
        "id.strategy",
        "limits_version",
        "kill_epoch",
        "digest",
    )
    return [
        (
            run, "cmd", sequence, time, origin, event_name(kind), order, target or None, names.index(instrument),
            names.symbol(instrument), SIDES.get(side), price, lots, None, None, None, None, None, None, cause,
            account, strategy, limits, kill, f"{digest:016x}",
        )
        for sequence, time, origin, kind, order, target, instrument, side, price, lots, cause, account, strategy,
        limits, kill, digest in zip(sequences, *columns, strict=True)
    ]  # fmt: skip


def signal_rows(names: Names, events: Events, sequences: Sequence[int], *, order_id_base: int) -> list[Row]:
    """``signal_event`` rows."""
    run = names.run_epoch
    columns = _columns(
        events,
        "header.publish_time_ns",
        "header.origin_time_ns",
        "header.type",
        "target_order_id",
        "header.instrument",
        "account",
        "strategy",
        "side",
        "price_ticks",
        "quantity_lots",
        "header.cause_sequence",
    )
    score = _ppm(events["score"])
    threshold = _ppm(events["threshold"])
    return [
        (
            run, sequence, time, origin, event_name(kind), order_id_base + sequence + 1, target or None,
            names.index(instrument), names.symbol(instrument), account, strategy, SIDES.get(side), price, lots,
            score_ppm, threshold_ppm, cause,
        )
        for sequence, time, origin, kind, target, instrument, account, strategy, side, price, lots, cause, score_ppm,
        threshold_ppm in zip(sequences, *columns, score, threshold, strict=True)
    ]  # fmt: skip


def _ppm(column: npt.NDArray[Any]) -> list[int]:
    finite = np.nan_to_num(column.astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
    return [int(value) for value in np.rint(np.clip(finite, -1e6, 1e6) * MILLION).tolist()]


def execution_row(names: Names, entry: Execution, *, time_ns: int, origin_ns: int, told_ticks: int) -> Row:
    """A fill as it stands now."""
    lots = abs(entry.lots)
    state = "broken" if entry.broken else "corrected" if entry.price_ticks != told_ticks else "stands"
    value = lots * entry.price_ticks * names.tick_values[entry.instrument]
    return (
        names.run_epoch, entry.sequence, time_ns, origin_ns, entry.order_id, str(entry.match_id), entry.instrument,
        names.symbol(entry.instrument), venue_word(entry.venue), "sell" if entry.lots < 0 else "buy", lots,
        entry.price_ticks, bounded(value), bounded(entry.fee_micros), liquidity_letter(entry.liquidity), state,
        told_ticks,
    )  # fmt: skip


def valued_columns(value: Valuation, *, cash_micros: int) -> tuple[int, ...]:
    """lots, cost, cash, realised, unrealised, fees: what positions and their snapshots share."""
    return (
        value.lots,
        bounded(value.cost_micros),
        bounded(cash_micros),
        bounded(value.realised_micros),
        bounded(value.unrealised_micros),
        bounded(value.fees_micros),
    )
