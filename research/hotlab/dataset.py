"""A dataset: a folder of Parquet files and one file that says what they were made from.

    DIR/dataset.json            sources and their hashes, instruments, gaps; features, labels and their settings
    DIR/events/000000.parquet   one file a source: the columns of norm_event (hotlab/schema.py)
    DIR/features/000000.parquet the same rows: one float64 column a feature, NaN where it was not ready
    DIR/labels/000000.parquet   the same rows: one column a label, and when it was known

Rows of the three agree by position. A file is replaced whole; `dataset.json` last, so that what it lists is there. Any
tool that reads Parquet reads a dataset: DuckDB, polars, pandas.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from hotlab import schema
from hotlab.errors import DatasetError
from hotlab.schema import Events

ABOUT = "dataset.json"
VERSION = 1
Kind = Literal["itch", "pcap", "journal", "table"]
Part = Literal["events", "features", "labels"]


class Gap(Struct, frozen=True):
    """Where something is missing: before the event `sequence` of its source."""

    sequence: int
    what: str


class SourceRecord(Struct, frozen=True):
    """One file or journal that was taken in. `resets`: rows before which the trading day rolled."""

    path: str
    kind: Kind
    sha256: str
    events: int
    first_time_ns: int
    last_time_ns: int
    gaps: list[Gap] = field(default_factory=list)
    gap_count: int = 0
    resets: list[int] = field(default_factory=list)


class InstrumentRecord(Struct, frozen=True):
    """One instrument; its place in the list is its index in every event of the dataset."""

    symbol: str
    price_increment_ticks: int
    tick_value_micros: int


class FeatureRecord(Struct, frozen=True):
    """What `features` was computed by."""

    kernel_hash: str
    config: dict[str, int]
    names: list[str]


class LabelRecord(Struct, frozen=True):
    """How one label is defined; by its name it has a column, and `<name>.end_ns`, when it was known."""

    name: str
    kind: str
    parameters: dict[str, float]


class About(Struct):
    """dataset.json."""

    version: int
    layout_hash: str
    sources: list[SourceRecord]
    instruments: list[InstrumentRecord]
    features: FeatureRecord | None = None
    labels: list[LabelRecord] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # sha256 by name

    @property
    def symbols(self) -> list[str]:
        """By index."""
        return [each.symbol for each in self.instruments]


class Dataset:
    """One folder. Raises DatasetError when it is none, or of another release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / ABOUT
        try:
            self.about = msgspec.json.decode(path.read_bytes(), type=About)
        except FileNotFoundError:
            raise DatasetError(
                f"{folder}: holds no dataset", next_step="make one: hotlab ingest SOURCE --to DIR"
            ) from None
        except (OSError, msgspec.MsgspecError) as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from None
        if self.about.version != VERSION:
            raise DatasetError(
                f"{path}: version {self.about.version}, read here is {VERSION}", next_step="ingest it again"
            )

    @classmethod
    def create(cls, folder: Path, about: About) -> Dataset:
        """Begin a new one. Raises DatasetError when the folder holds one already."""
        if (folder / ABOUT).exists():
            raise DatasetError(f"{folder}: holds a dataset already", next_step="name another folder with --to")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / ABOUT, msgspec.json.format(msgspec.json.encode(about), indent=1))
        return cls(folder)

    def save(self) -> None:
        """Write dataset.json anew."""
        write_atomic(self.folder / ABOUT, msgspec.json.format(msgspec.json.encode(self.about), indent=1))

    @property
    def identity(self) -> str:
        """SHA-256 of all that determines the rows: sources, their order, and the files made of them."""
        return hashlib.sha256(msgspec.json.encode(self.about, order="sorted")).hexdigest()

    @property
    def parts(self) -> int:
        """How many sources, and so files of each kind."""
        return len(self.about.sources)

    def rows(self, part: int) -> int:
        """Events of one source."""
        return self.about.sources[part].events

    # ---- files -----------------------------------------------------------------------------------

    def _path(self, kind: Part, part: int) -> Path:
        return self.folder / kind / f"{part:06}.parquet"

    def write_table(self, kind: Part, part: int, table: Any) -> None:
        """Put one file in its place; `save` makes it known."""
        path = self._path(kind, part)
        path.parent.mkdir(exist_ok=True)
        half = path.with_suffix(".half")
        schema.parquet().write_table(table, half, compression="zstd", use_dictionary=False)
        os.replace(half, path)
        self.about.files[str(path.relative_to(self.folder))] = file_sha256(path)

    def read_table(self, kind: Part, part: int, names: list[str] | None = None) -> Any:
        """One file. Raises DatasetError when it is not there or damaged."""
        path = self._path(kind, part)
        if str(path.relative_to(self.folder)) not in self.about.files:
            verb = {"features": "hotlab features DIR", "labels": "hotlab label DIR", "events": "hotlab ingest"}[kind]
            raise DatasetError(f"{self.folder}: has no {kind} yet", next_step=f"make them: {verb}")
        try:
            return schema.parquet().read_table(path, columns=names)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from None

    def verify(self) -> list[str]:
        """What is not as it was written."""
        wrong = []
        for name, recorded in self.about.files.items():
            path = self.folder / name
            if not path.exists():
                wrong.append(f"{name}: is missing")
            elif file_sha256(path) != recorded:
                wrong.append(f"{name}: was changed")
        return wrong

    # ---- what they hold --------------------------------------------------------------------------

    def events(self, part: int) -> Events:
        """The events of one source."""
        return self.numbered(part)[0]

    def numbered(self, part: int) -> tuple[Events, npt.NDArray[np.uint64]]:
        """The events of one source and their numbers in it."""
        return schema.events_of(self.read_table("events", part), where=str(self._path("events", part)))

    def features(self, part: int, names: list[str] | None = None) -> dict[str, npt.NDArray[np.float64]]:
        """Features by name, each as long as the events."""
        table = self.read_table("features", part, names)
        return {name: table.column(name).to_numpy() for name in table.column_names}

    def label(self, part: int, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """A label and the origin time at which it was known."""
        known = [each.name for each in self.about.labels]
        if name not in known:
            raise DatasetError(
                f"{self.folder}: has no label {name!r}; there is {', '.join(known) or 'none'}",
                next_step="make it: hotlab label DIR --kind fixed_horizon ...",
            )
        table = self.read_table("labels", part, [name, f"{name}.end_ns"])
        return table.column(name).to_numpy(), table.column(f"{name}.end_ns").to_numpy()

    def each_part(self) -> Iterator[int]:
        """Indexes of the sources, in order."""
        return iter(range(self.parts))


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file whole."""
    half = path.with_name(f".{path.name}.half")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


def file_sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
