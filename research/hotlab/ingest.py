"""From what was recorded to a dataset: captures, journals, and tables of one's own.

    ITCH file, pcap --the engine's own stages, in virtual time--> norm events --.
    journal ---------its norm ring, as it was ------------------> norm events --+--> dataset
    Parquet, CSV ----rows of quotes and trades -----------------> norm events --'

A capture goes through the very decoder and book of the path. Sources must be lossless: one with a gap, or that
cannot show that it has none, is refused, or with `allow_gaps` taken in with its gaps on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi import lib
from ffi.dtypes import layout_hash
from hotlab import schema
from hotlab.dataset import VERSION, About, Dataset, Gap, InstrumentRecord, Kind, SourceRecord, file_sha256
from hotlab.errors import GapError, SourceError
from hotlab.schema import Events

Progress = Callable[[str, int, int], None]  # source, done, in all
GAPS_LISTED = 100
NO_INSTRUMENT = 0xFFFFFFFF
BOOK_TYPES = (
    lib.NORM_ADD,
    lib.NORM_EXECUTE,
    lib.NORM_EXECUTE_PRICE,
    lib.NORM_REDUCE,
    lib.NORM_DELETE,
    lib.NORM_REPLACE,
    lib.NORM_TRADE,
)


@dataclass
class Taken:
    """One source, read."""

    kind: Kind
    sha256: str
    events: Events
    sequences: npt.NDArray[np.uint64]
    instruments: list[InstrumentRecord]
    gaps: list[Gap] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class IngestOptions:
    """What `hotlab ingest` can be told. `columns`: theirs by ours, of a table; `tick`: the price of one tick there."""

    allow_gaps: bool = False
    config: Path | None = None  # instruments and late start of a capture
    symbols: tuple[str, ...] = ()  # empty: all
    columns: dict[str, str] = field(default_factory=dict)
    tick: str = ""


def ingest(
    sources: Sequence[Path], target: Path, options: IngestOptions, *, progress: Progress | None = None
) -> Dataset:
    """Take every source in, in the order given. Raises SourceError, GapError, CaptureError."""
    taken: list[tuple[Path, Taken]] = []
    table: dict[str, InstrumentRecord] = {}
    for source in sources:
        found = take(source, options, progress or _silent)
        _refuse_gaps(source, found, options)
        _number_instruments(source, found, table, options)
        taken.append((source, found))
    about = About(
        version=VERSION,
        layout_hash=f"{layout_hash():016x}",
        sources=[_record(source, found) for source, found in taken],
        instruments=list(table.values()),
    )
    dataset = Dataset.create(target, about)
    for part, (_, found) in enumerate(taken):
        dataset.write_table("events", part, schema.table_of(found.events, found.sequences))
    dataset.save()
    return dataset


def _silent(_source: str, _done: int, _all: int) -> None:
    """Nobody watches."""


def take(source: Path, options: IngestOptions, progress: Progress) -> Taken:
    """Read one source, whatever it is."""
    if source.is_dir():
        return take_journal(source, progress)
    if source.suffix in (".parquet", ".csv"):
        from hotlab.tables import take_table

        return take_table(source, options)
    return take_capture(source, options, progress)


# ---- captures --------------------------------------------------------------------------------------


class _NormReader:
    """Takes every norm event of a replay, slice by slice."""

    def __init__(self, spec: Any) -> None:
        from hotpath.backtest.collect import Watcher

        self.table = np.array(spec.instruments)
        self.parts: list[Events] = []
        self._watcher = Watcher(spec.name, "norm")

    def drain(self) -> None:
        """What was published since."""
        while len(found := self._watcher.read()):
            self.parts.append(found.copy())

    def state(self, messages: int, stages: Any) -> None:
        """No digests are asked for."""


def take_capture(source: Path, options: IngestOptions, progress: Progress) -> Taken:
    """A file of ITCH messages, or a packet capture, through the path's own stages."""
    from hotpath import captures
    from hotpath.replay import ReplayOptions, replay_file

    readers: list[_NormReader] = []

    def watch(spec: Any) -> _NormReader:
        readers.append(_NormReader(spec))
        return readers[0]

    with captures.MappedFile(source) as file:
        kind: Kind = "pcap" if captures.detect_format(file) is captures.CaptureFormat.PCAP else "itch"
    settings = ("signal.position_lots_max=1", "signal.order_quantity_lots=2")  # the market alone: nothing is bought
    replay_file(
        source,
        ReplayOptions(config_path=options.config, topology="fused", settings=settings),
        progress=lambda done, total: progress(source.name, done, total),
        watch=watch,
    )
    reader = readers[0]
    reader.drain()
    events = np.concatenate(reader.parts) if reader.parts else np.empty(0, schema.EVENT)
    for clock in (
        "ingress_time_ns",
        "publish_time_ns",
    ):  # of this replay: they would differ each time
        events["header"][clock] = events["header"]["origin_time_ns"]
    sequences = np.arange(len(events), dtype=np.uint64)
    return Taken(
        kind=kind,
        sha256=file_sha256(source),
        events=events,
        sequences=sequences,
        instruments=_instruments(reader.table),
        gaps=list(_market_gaps(events, sequences)),
    )


def _instruments(table: npt.NDArray[Any]) -> list[InstrumentRecord]:
    return [
        InstrumentRecord(
            symbol=row["symbol"].decode(),
            price_increment_ticks=int(row["price_increment_ticks"]),
            tick_value_micros=int(row["tick_value_micros"]),
        )
        for row in table
    ]


def _market_gaps(events: Events, sequences: npt.NDArray[np.uint64]) -> Iterator[Gap]:
    """What the feed itself said was lost: for good, of one instrument's book, or not whole again by the end.

    What came after all, by retransmission or on the other line, is no gap.
    """
    header = events["header"]
    whole = np.flatnonzero(header["type"] == lib.NORM_WHOLE)
    for row in np.flatnonzero(header["type"] == lib.NORM_GAP).tolist():
        mended = len(whole) and whole[-1] > row
        if mended and not events["reference"][row] and header["instrument"][row] == NO_INSTRUMENT:
            continue
        lost = int(events["quantity_lots"][row])
        count = f" ({lost:,})" if lost > 0 else ""
        yield Gap(int(sequences[row]), f"messages of the feed were lost{count}")


# ---- journals --------------------------------------------------------------------------------------


def take_journal(folder: Path, progress: Progress) -> Taken:
    """The norm ring of a recorded run: what its signal stage saw, event by event."""
    from hotpath.journal import Journal

    journal = Journal(folder)
    total, parts, digest = journal.count("norm"), [], hashlib.sha256()
    for events in journal.batches("norm"):
        parts.append(np.array(events))
        digest.update(np.ascontiguousarray(events).tobytes())
        progress(folder.name, sum(map(len, parts)), total)
    events = np.concatenate(parts) if parts else np.empty(0, schema.EVENT)
    sequences = journal.sequences("norm")
    gaps = [
        Gap(after, f"{after - before:,} events were overwritten before they were recorded")
        for before, after in journal.holes("norm")
    ]
    if journal.first("norm"):
        gaps.insert(0, Gap(journal.first("norm"), "the journal's beginning was removed (retention)"))
    gaps += _market_gaps(events, sequences)
    if not journal.ended:
        gaps.append(Gap(journal.next("norm"), "the run was cut off: what came last may be missing"))
    return Taken(
        kind="journal",
        sha256=digest.hexdigest(),
        events=events,
        sequences=sequences,
        instruments=_instruments(journal.instruments),
        gaps=gaps,
        resets=_rolls(journal, sequences),
    )


def _rolls(journal: Any, sequences: npt.NDArray[np.uint64]) -> list[int]:
    """Rows before which the signal stage began its features anew: the first turn at or after each roll."""
    turns = journal.events("signal.ctl")
    turns = turns[turns["header"]["type"] == lib.CTL_TURN]
    rows = []
    times = turns["header"]["origin_time_ns"]  # now_ns of the turn
    for roll_ns in journal.run.roll_times_ns:
        turn = int(np.searchsorted(times, np.uint64(roll_ns)))
        if not roll_ns or turn >= len(turns) or turn == 0:
            continue
        before = int(turns["input_sequence"][turn - 1][lib.SIGNAL_INPUT_NORM])
        rows.append(int(np.searchsorted(sequences, np.uint64(before))))
    return rows


# ---- what they have in common ----------------------------------------------------------------------


def _refuse_gaps(source: Path, found: Taken, options: IngestOptions) -> None:
    if found.gaps and not options.allow_gaps:
        first = found.gaps[0]
        more = f", and {len(found.gaps) - 1:,} more" if len(found.gaps) > 1 else ""
        raise GapError(
            f"{source}: is not whole: before event {first.sequence:,}: {first.what}{more}",
            next_step="take another recording, or --allow-gaps: the gaps then stand in dataset.json and manifests",
        )


def _number_instruments(source: Path, found: Taken, table: dict[str, InstrumentRecord], options: IngestOptions) -> None:
    """Give each instrument its index in the dataset; events of those that are not wanted lose theirs."""
    known = {each.symbol for each in found.instruments}
    strangers = [symbol for symbol in options.symbols if symbol not in known]
    if strangers:
        raise SourceError(
            f"{source}: has no {', '.join(strangers)}", next_step=f"it has {', '.join(sorted(known)[:12])}"
        )
    index = np.full(len(found.instruments) + 1, NO_INSTRUMENT, np.uint32)
    places = {symbol: place for place, symbol in enumerate(table)}
    for place, each in enumerate(found.instruments):
        if options.symbols and each.symbol not in options.symbols:
            continue
        before = table.setdefault(each.symbol, each)
        if before != each:
            raise SourceError(
                f"{source}: {each.symbol} has other ticks than in the source before: {_differences(before, each)}",
                next_step="make a dataset of each",
            )
        index[place] = places.setdefault(each.symbol, len(places))
    instrument = found.events["header"]["instrument"]
    found.events["header"]["instrument"] = index[np.minimum(instrument, len(found.instruments))]


def _differences(one: InstrumentRecord, other: InstrumentRecord) -> str:
    before, after = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return ", ".join(f"{key} {before[key]} then, {after[key]} now" for key in before if before[key] != after[key])


def _record(source: Path, found: Taken) -> SourceRecord:
    times = found.events["header"]["origin_time_ns"]
    market = times[np.isin(found.events["header"]["type"], BOOK_TYPES)]
    return SourceRecord(
        path=source.name,
        kind=found.kind,
        sha256=found.sha256,
        events=len(found.events),
        first_time_ns=int(market[0]) if len(market) else 0,
        last_time_ns=int(market[-1]) if len(market) else 0,
        gaps=found.gaps[:GAPS_LISTED],
        gap_count=len(found.gaps),
        resets=found.resets,
    )
