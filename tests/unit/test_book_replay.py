"""The book of real order flow equals an independent truth after every message."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ffi import ffi, lib
from tests.book_driver import DrivenBook

LEVELS = 10
NO_PRICE = 9_999_999_999  # how the truth of the derived day writes a level that is not there


class Replay:
    """One file of length-prefixed ITCH through itch_normalise and the book; locates are instruments."""

    def __init__(self, path: Path, *, orders_max: int = 20_000) -> None:
        self.data = path.read_bytes()
        self.book = DrivenBook(instruments=65536, orders_max=orders_max, levels_max=orders_max)
        self.locates = ffi.new("uint32_t[]", list(range(65536)))
        self.context = ffi.new("itch_context *", {"instrument": self.locates})

    def events(self) -> Iterator[Any]:
        """The event of each message, after the book has taken it in."""
        event, at = ffi.new("norm_event *"), 0
        pointer = ffi.from_buffer(self.data)
        known = (lib.BOOK_OK, lib.BOOK_IGNORED)
        while at < len(self.data):
            length = self.data[at] << 8 | self.data[at + 1]
            assert lib.itch_normalise(self.context, pointer + at + 2, length, event) == lib.ITCH_OK
            assert lib.book_apply(self.book.book, event) in known
            yield event
            at += 2 + length


def test_aapl_top_of_book_equals_the_oracle_after_every_message(shared_data: Path) -> None:
    folder = shared_data / "itch_aapl_20200130"
    with (folder / "bbo_oracle_itchbook.csv").open() as file:
        oracle = {int(row["seq"]): row for row in csv.DictReader(file)}
    bid, ask = (0, 0), (0, 0)
    compared = flagged = 0
    for sequence, event in enumerate(Replay(folder / "locate-13-10k.bin").events(), start=1):
        row = oracle.get(sequence)
        before = bid, ask
        if row is not None:
            bid = ticks(row["bid_px"]), int(float(row["bid_sz"]))
            ask = ticks(row["ask_px"]), int(float(row["ask_sz"]))
        assert (event.bid_price_ticks, event.bid_quantity_lots) == bid, sequence
        assert (event.ask_price_ticks, event.ask_quantity_lots) == ask, sequence
        assert bool(event.header.flags & lib.FLAG_TOP) == ((bid, ask) != before), sequence
        flagged += bool(event.header.flags & lib.FLAG_TOP)
        compared += row is not None
    assert sequence == 10_000 and compared == len(oracle) == 2792
    assert flagged > 2000


def ticks(price: str) -> int:
    """Dollars to ticks; nan, an empty side, to 0."""
    dollars = float(price)
    return 0 if math.isnan(dollars) else round(dollars * 10_000)


def test_derived_day_equals_ten_levels_at_every_row(shared_data: Path) -> None:
    folder = shared_data / "itch_goog_20120621_derived"
    rows_after = np.loadtxt(folder / "GOOG_20120621_L10.idx", dtype=np.int64)
    truth = read_truth(folder / "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip")
    assert len(truth) == len(rows_after) == 147_916
    replay = Replay(folder / "GOOG_20120621_L10.itch50")
    level = np.dtype([("price", "<i8"), ("quantity", "<i8"), ("orders", "<u8")])
    ours = np.zeros((len(truth), 2, LEVELS), dtype=level)
    target = ffi.cast("book_level *", ours.ctypes.data)
    due, row = int(rows_after[0]), 0
    for count, event in enumerate(replay.events(), start=1):
        if count < due:
            continue
        for side in (lib.SIDE_SELL, lib.SIDE_BUY):
            lib.book_depth(replay.book.book, event.header.instrument, side, target, LEVELS)
            target += LEVELS
        row += 1
        due = int(rows_after[row]) if row < len(rows_after) else len(replay.data)
    assert (count, row) == (239_568, len(truth))
    there = np.abs(truth[..., 0]) != NO_PRICE
    np.testing.assert_array_equal(ours["price"], np.where(there, truth[..., 0], 0))
    np.testing.assert_array_equal(ours["quantity"], truth[..., 1])


def read_truth(path: Path) -> np.ndarray:
    """(row, ask then bid, level, price then size) from LOBSTER's ask, size, bid, size by level."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if "orderbook" in name)
        table = np.loadtxt(io.BytesIO(archive.read(name)), delimiter=",", dtype=np.int64)
    return table.reshape(len(table), LEVELS, 2, 2).transpose(0, 2, 1, 3)
