"""One schema from the journal to the live kernel: the columns of a dataset are the fields of ``norm_event``.

    norm_event (layout.h) --table_of--> Arrow table, one column a field --Parquet--> --events_of--> norm_event

Nothing here repeats a field: a column is there because ``ffi.dtypes`` has it. What comes back is what went in, bit for
bit, so that the kernels that run on the path run here. In front stands `sequence`: the event's number in its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi.dtypes import dtype_of
from hotlab.errors import DatasetError, need

Events = npt.NDArray[np.void]
EVENT = dtype_of("norm_event")
SEQUENCE = "sequence"
UNKEPT = ("stamp",)  # the ring's own word: it says nothing of the market


def arrow() -> Any:
    """The package pyarrow. Raises ExtraMissingError."""
    return need("pyarrow", extra="research", why="a dataset")


def parquet() -> Any:
    """Its Parquet reader and writer. Raises ExtraMissingError."""
    return need("pyarrow.parquet", extra="research", why="a dataset")


def columns() -> Iterator[tuple[str, npt.DTypeLike]]:
    """Name and dtype of each column, the header's fields first."""
    for name in dtype_of("event_header").names or ():
        if name not in UNKEPT:
            yield name, dtype_of("event_header")[name]
    for name in EVENT.names or ():
        if name != "header":
            yield name, EVENT[name]


def field(events: Events, name: str) -> npt.NDArray[Any]:
    """A column of events."""
    column: npt.NDArray[Any] = events["header"][name] if name in (EVENT["header"].names or ()) else events[name]
    return column


def table_of(events: Events, sequences: npt.NDArray[np.uint64]) -> Any:
    """Events as an Arrow table."""
    found = {SEQUENCE: np.ascontiguousarray(sequences, np.uint64)}
    found |= {name: np.ascontiguousarray(field(events, name)) for name, _ in columns()}
    return arrow().table(found)


def events_of(table: Any, *, where: str) -> tuple[Events, npt.NDArray[np.uint64]]:
    """What `table_of` was given. Raises DatasetError when a column is missing or of another type."""
    events = np.zeros(table.num_rows, EVENT)
    for name, dtype in columns():
        field(events, name)[:] = column_of(table, name, dtype, where=where)
    return events, column_of(table, SEQUENCE, np.dtype(np.uint64), where=where)


def column_of(table: Any, name: str, dtype: npt.DTypeLike, *, where: str) -> npt.NDArray[Any]:
    """One column, of exactly this dtype."""
    if name not in table.column_names:
        raise DatasetError(f"{where}: has no column {name}", next_step="ingest it again with this release")
    column: npt.NDArray[Any] = table.column(name).to_numpy()
    if column.dtype != np.dtype(dtype):
        raise DatasetError(f"{where}: column {name} is {column.dtype}, and should be {np.dtype(dtype)}")
    return column
