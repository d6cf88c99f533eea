"""A table of one's own, Parquet or CSV, as market events: one row, one change of the best prices, or one trade.

    time_ns            origin time, whole nanoseconds since 1970, never falling             required
    bid_price, ask_price, bid_quantity, ask_quantity    the best after the row; 0: none     required
    sequence           a number that rises by one from row to row: shows that none is missing
    symbol             default: the file's name
    bid_depth, ask_depth    lots of the best levels; default: those at the best
    trade_price, trade_quantity, aggressor    a printed execution in this row; aggressor "buy", "sell" or ""

Prices are whole ticks; with `tick` they are decimal prices, each of which must be a whole number of ticks. A table
without `sequence` cannot show that it is whole.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotlab import schema
from hotlab.dataset import Gap, InstrumentRecord, file_sha256
from hotlab.errors import SourceError, need
from hotlab.ingest import IngestOptions, Taken

QUOTE = ("bid_price", "ask_price", "bid_quantity", "ask_quantity")
OPTIONAL = ("sequence", "symbol", "bid_depth", "ask_depth", "trade_price", "trade_quantity", "aggressor")
TICKS_EXACT = 2**52  # beyond it a float64 does not hold every whole number
MICROS = 1_000_000
Ints = npt.NDArray[np.int64]


def take_table(path: Path, options: IngestOptions) -> Taken:
    """Read one. Raises SourceError with the row that is wrong."""
    table = _read(path)
    columns = _Columns(path, table, options.columns)
    tick = _tick(path, options.tick)
    count = table.num_rows
    events = np.zeros(count, schema.EVENT)
    times = columns.whole("time_ns")
    _refuse_rows(path, np.flatnonzero(np.diff(times) < 0) + 1, "time_ns falls")
    header = events["header"]
    header["origin_time_ns"] = header["ingress_time_ns"] = header["publish_time_ns"] = times
    symbols, header["instrument"] = columns.symbols(count)
    for side in ("bid", "ask"):
        events[f"{side}_price_ticks"] = columns.ticks(f"{side}_price", tick)
        events[f"{side}_quantity_lots"] = columns.whole(f"{side}_quantity")
        depth = columns.whole(f"{side}_depth") if columns.has(f"{side}_depth") else events[f"{side}_quantity_lots"]
        events[f"{side}_depth_lots"] = depth
    _kinds(columns, events, tick)
    _top_flags(events, len(symbols))
    sequences, gaps = _sequences(columns, count)
    value = max(round(float(tick) * MICROS), 1) if tick else 1
    return Taken(
        kind="table",
        sha256=file_sha256(path),
        events=events,
        sequences=sequences,
        instruments=[InstrumentRecord(symbol, price_increment_ticks=1, tick_value_micros=value) for symbol in symbols],
        gaps=gaps,
    )


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".csv":
            return need("pyarrow.csv", extra="research", why="reading CSV").read_csv(path)
        return schema.parquet().read_table(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from None


def _tick(path: Path, text: str) -> Decimal | None:
    if not text:
        return None
    try:
        tick = Decimal(text)
    except InvalidOperation:
        raise SourceError(f"--tick {text}: no number", next_step="say the price of one tick: --tick 0.01") from None
    if not tick.is_finite() or tick <= 0:
        raise SourceError(f"--tick {text}: must be above 0; for {path.name}", next_step="say the price of one tick")
    return tick


def _refuse_rows(path: Path, rows: npt.NDArray[np.intp], what: str) -> None:
    if len(rows):
        raise SourceError(f"{path}: row {int(rows[0]):,}: {what} ({len(rows):,} rows)")


class _Columns:
    """The table's columns by the names above."""

    def __init__(self, path: Path, table: Any, theirs: dict[str, str]) -> None:
        self.path, self._table = path, table
        known = {"time_ns", *QUOTE, *OPTIONAL}
        unknown = sorted(set(theirs) - known)
        if unknown:
            raise SourceError(
                f"--column {unknown[0]}: no column of ours", next_step=f"there is {', '.join(sorted(known))}"
            )
        self._names = {name: theirs.get(name, name) for name in known}
        missing = [name for name in ("time_ns", *QUOTE) if not self.has(name)]
        missing += [name for name in theirs if not self.has(name)]
        if missing:
            raise SourceError(
                f"{path}: has no column {self._names[missing[0]]!r}; it has {', '.join(table.column_names)}",
                next_step=f"name yours: --column {missing[0]}=THEIRS",
            )

    def has(self, name: str) -> bool:
        """Whether the table has it."""
        return self._names[name] in self._table.column_names

    def raw(self, name: str) -> npt.NDArray[Any]:
        """The values as they are. Raises SourceError for a column with empty cells."""
        column = self._table.column(self._names[name])
        if column.null_count and name not in ("aggressor", "trade_price", "trade_quantity"):
            raise SourceError(f"{self.path}: column {self._names[name]} has {column.null_count:,} empty cells")
        values: npt.NDArray[Any] = column.to_numpy()
        return values

    def whole(self, name: str) -> Ints:
        """Whole numbers. Raises SourceError for a row that has none."""
        values = self.raw(name)
        if values.dtype.kind not in "iuf":
            raise SourceError(f"{self.path}: column {self._names[name]} holds no numbers ({values.dtype})")
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > TICKS_EXACT)
            _refuse_rows(self.path, np.flatnonzero(bad), f"{self._names[name]} is no whole number")
        elif values.dtype == np.uint64:
            _refuse_rows(self.path, np.flatnonzero(values > 2**63 - 1), f"{self._names[name]} is too large")
        return values.astype(np.int64)

    def ticks(self, name: str, tick: Decimal | None) -> Ints:
        """Prices in whole ticks."""
        if tick is None:
            return self.whole(name)
        values = self.raw(name)
        if values.dtype.kind not in "iuf":
            raise SourceError(f"{self.path}: column {self._names[name]} holds no numbers ({values.dtype})")
        counts = np.rint(values.astype(np.float64) / float(tick))
        near = np.abs(counts * float(tick) - values) <= np.abs(values) * 1e-12 + 1e-15
        _refuse_rows(
            self.path,
            np.flatnonzero(~near | (np.abs(counts) > TICKS_EXACT)),
            f"{self._names[name]} is no whole number of ticks of {tick}",
        )
        return counts.astype(np.int64)

    def symbols(self, count: int) -> tuple[list[str], npt.NDArray[Any]]:
        """Names, and each row's place among them."""
        if not self.has("symbol"):
            return [self.path.stem.upper()[:15]], np.zeros(count, np.uint32)
        names, places = np.unique(self.raw("symbol").astype(str), return_inverse=True)
        return [str(name) for name in names], places.astype(np.uint32)


def _kinds(columns: _Columns, events: schema.Events, tick: Decimal | None) -> None:
    """Rows are quotes, or printed executions of a known or unknown side."""
    events["header"]["type"] = lib.NORM_ADD
    events["price_ticks"], events["quantity_lots"] = events["bid_price_ticks"], events["bid_quantity_lots"]
    if not (columns.has("trade_price") and columns.has("trade_quantity")):
        return
    quantity = np.nan_to_num(columns.raw("trade_quantity").astype(np.float64))
    rows = quantity > 0
    prices = np.nan_to_num(columns.raw("trade_price").astype(np.float64))
    counts = np.rint(prices / float(tick)) if tick else prices
    whole = (quantity == np.floor(quantity)) & (counts == np.floor(counts))
    near = np.abs(counts * float(tick) - prices) <= np.abs(prices) * 1e-12 + 1e-15 if tick else whole
    _refuse_rows(columns.path, np.flatnonzero(rows & ~(whole & near)), "a trade's price or quantity is not whole")
    side = columns.raw("aggressor").astype(str) if columns.has("aggressor") else np.full(len(events), "")
    known = np.isin(side, ("buy", "sell"))
    events["header"]["type"][rows] = np.where(known, lib.NORM_EXECUTE, lib.NORM_TRADE)[rows]
    flags = lib.FLAG_PRINTABLE + np.where(side == "buy", lib.FLAG_SELL, 0)  # the resting order was the other side
    events["header"]["flags"][rows] = flags[rows]
    events["price_ticks"][rows], events["quantity_lots"][rows] = counts[rows], quantity[rows]


def _top_flags(events: schema.Events, instruments: int) -> None:
    """FLAG_TOP where the best prices or quantities differ from the instrument's row before."""
    names = ("bid_price_ticks", "ask_price_ticks", "bid_quantity_lots", "ask_quantity_lots")
    top = np.column_stack([events[name] for name in names])
    for instrument in range(instruments):
        rows = np.flatnonzero(events["header"]["instrument"] == instrument)
        moved = np.ones(len(rows), bool)
        moved[1:] = (top[rows[1:]] != top[rows[:-1]]).any(axis=1)
        events["header"]["flags"][rows[moved]] |= np.uint16(lib.FLAG_TOP)


def _sequences(columns: _Columns, count: int) -> tuple[npt.NDArray[np.uint64], list[Gap]]:
    if not columns.has("sequence"):
        return np.arange(count, dtype=np.uint64), [
            Gap(0, "its rows bear no numbers (--column sequence=...), so that it cannot show that none is missing")
        ]
    numbers = columns.whole("sequence")
    steps = np.diff(numbers)
    _refuse_rows(columns.path, np.flatnonzero(steps <= 0) + 1, "sequence does not rise")
    gaps = [
        Gap(int(numbers[row + 1]), f"{int(steps[row]) - 1:,} rows are missing") for row in np.flatnonzero(steps != 1)
    ]
    return numbers.astype(np.uint64), gaps
