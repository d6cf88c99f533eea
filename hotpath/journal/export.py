"""``hotpath journal export``: a journal's events as Parquet, one file a ring, for every tool that reads tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi.dtypes import enum_names
from hotpath.errors import JournalError
from hotpath.journal.reader import Journal

PIECE = 1 << 16  # events of one row group
EXTRA = "pip install 'hotpath-engine[journal]'"


def export(folder: Path, out: Path, *, rings: tuple[str, ...] = ()) -> dict[str, int]:
    """Write `out`/<ring>.parquet; returns how many rows each has. Raises JournalError without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise JournalError("pyarrow is not installed", next_step=EXTRA) from None
    journal = Journal(folder)
    symbols = np.array([entry["symbol"].decode() for entry in journal.instruments] or [""])
    out.mkdir(parents=True, exist_ok=True)
    written = {}
    for ring in rings or journal.rings:
        writer, rows = None, 0
        path = out / f"{ring}.parquet"
        for segment in journal.segments(ring):
            for at in range(0, segment.count, PIECE):
                events = segment.records()[at : at + PIECE]
                table = pyarrow.table(_columns(events, segment.first + at, symbols))
                writer = writer or parquet.ParquetWriter(path, table.schema, compression="zstd")
                writer.write_table(table)
                rows += len(events)
        if writer is not None:
            writer.close()
        written[ring] = rows
    return written


def _columns(events: npt.NDArray[Any], first: int, symbols: npt.NDArray[Any]) -> dict[str, Any]:
    """A column for each field, with the event's sequence, symbol and the name of its type in front."""
    instrument = events["header"]["instrument"]
    known = instrument < len(symbols)
    names = {value: name.lower() for value, name in enum_names("event_type").items()}
    kinds, place = np.unique(events["header"]["type"], return_inverse=True)
    found: dict[str, Any] = {
        "sequence": np.arange(first, first + len(events), dtype=np.uint64),
        "type": np.array([names.get(int(kind), str(kind)) for kind in kinds])[place],
        "symbol": np.where(known, symbols[np.where(known, instrument, 0)], ""),
    }
    _flatten(events, found)
    return found


def _flatten(events: npt.NDArray[Any], found: dict[str, Any], prefix: str = "") -> None:
    for name in events.dtype.names or ():
        column = events[name]
        if name in ("header", "stamp", "type") or name.startswith("reserved"):
            if name == "header":
                _flatten(column, found)
            continue
        if column.dtype.fields:
            _flatten(column, found, f"{prefix}{name}_")
        elif column.ndim == 2 and column.dtype == np.uint8:
            found[prefix + name] = [row.tobytes() for row in column]
        elif column.ndim == 2:
            for index in range(column.shape[1]):
                found[f"{prefix}{name}_{index}"] = np.ascontiguousarray(column[:, index])
        else:
            found[prefix + name] = np.ascontiguousarray(column)
