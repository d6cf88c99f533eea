"""Journals made by tests: of generated events, or with a ring written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi.dtypes import dtype_of
from hotpath.journal.format import END_FILE, INSTRUMENTS_FILE, RUN_FILE, End, RingEnd, event_type
from hotpath.journal.writer import RingWriter, Sizes

RUN_EPOCH = 1_700_000_000_000_000_000


def make_folder(folder: Path) -> Path:
    """A folder that a journal may be written into."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN_FILE).write_text("{}")
    np.save(folder / INSTRUMENTS_FILE, np.zeros(1, dtype_of("instrument_entry")))
    return folder


def random_events(ring: str, count: int, *, seed: int = 1) -> npt.NDArray[Any]:
    """Events of random bytes, with publish times that rise."""
    draw = np.random.default_rng(seed)
    events = np.frombuffer(draw.bytes(128 * count), dtype_of(event_type(ring))).copy()
    events["header"]["publish_time_ns"] = RUN_EPOCH + np.arange(count, dtype=np.uint64) * 1000
    return events


def write_ring(
    folder: Path, ring: str, events: npt.NDArray[Any], *, sizes: Sizes | None = None, batch: int = 1000
) -> RingEnd:
    """Write a ring's whole journal, from sequence 0."""
    writer = RingWriter(folder, ring, run_epoch=RUN_EPOCH, sizes=sizes)
    for begin in range(0, len(events), batch):
        writer.append(events[begin : begin + batch].copy(), begin)
    return writer.close()


def rewrite_ring(folder: Path, ring: str, events: npt.NDArray[Any]) -> None:
    """Put other events in the place of a ring's, with checksums and chain that hold."""
    for path in (*folder.glob(f"{ring}.[0-9]*.events*"), *folder.glob(f"{ring}.[0-9]*.chain")):
        path.unlink()
    end = msgspec.json.decode((folder / END_FILE).read_bytes(), type=End)
    end.rings[ring] = write_ring(folder, ring, events)
    (folder / END_FILE).write_bytes(msgspec.json.encode(end))
