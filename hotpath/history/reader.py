"""A sampled run, read back: series over time, hop histograms, and the report at its end where there is one.

What the files hold is checked as it is read: a run that was killed ends in a torn line, and a folder may
hold anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hotpath import histograms
from hotpath.errors import HistoryError
from hotpath.histograms import Histogram
from hotpath.history.sampler import FORMAT, HOPS, REPORT, SAMPLES
from hotpath.report import RunReport

Numbers = npt.NDArray[np.float64]
NOTHING: Numbers = np.zeros(0)


class Head(msgspec.Struct, frozen=True):
    """The first line of the samples."""

    format: int
    engine: str
    topology: str
    run_epoch: int
    start_time_ns: int
    lockstep: bool = False
    trading_day: int = 0
    gateway: str = ""
    feed: str = ""
    instruments: int = 0
    rings: dict[str, int] = {}
    host: dict[str, str] = {}


@dataclass
class HopSeries:
    """One hop over time: what was recorded between a sample and the one before. Spans in ns."""

    seconds: Numbers = field(default_factory=lambda: NOTHING)
    count: Numbers = field(default_factory=lambda: NOTHING)
    p50_ns: Numbers = field(default_factory=lambda: NOTHING)
    p99_ns: Numbers = field(default_factory=lambda: NOTHING)
    p999_ns: Numbers = field(default_factory=lambda: NOTHING)
    max_ns: Numbers = field(default_factory=lambda: NOTHING)


@dataclass
class RunHistory:
    """One run. `seconds` are the instants of the samples, from the start; each series has one value for each."""

    folder: Path
    head: Head
    seconds: Numbers
    series: dict[str, Numbers]
    hops: dict[str, HopSeries]
    histograms: dict[str, Histogram]
    report: RunReport | None
    remarks: list[str]

    def values(self, name: str) -> Numbers:
        """A series by its name; zeros when nothing was ever counted."""
        return self.series.get(name, np.zeros(len(self.seconds)))

    def last(self, name: str) -> float:
        """The last value of a series."""
        values = self.values(name)
        return float(values[-1]) if len(values) else 0.0

    def rate(self, name: str) -> Numbers:
        """How much a counter grew a second, up to each sample; a counter begun anew counts from 0."""
        values = self.values(name)
        if not len(values):
            return values
        steps = np.diff(values, prepend=0.0)
        steps = np.where(steps < 0, values, steps)
        spans = np.diff(self.seconds, prepend=0.0)
        return np.asarray(np.divide(steps, spans, out=np.zeros(len(steps)), where=spans > 0))

    def named(self, prefix: str) -> dict[str, Numbers]:
        """The series whose names begin so, by the rest of their names."""
        return {name.removeprefix(prefix): values for name, values in self.series.items() if name.startswith(prefix)}


def read_history(folder: Path) -> RunHistory:
    """A run's folder. Raises HistoryError when no run can be read from it."""
    remarks: list[str] = []
    try:
        lines = (folder / SAMPLES).read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise HistoryError(
            f"{folder / SAMPLES}: {(error.strerror or str(error)).lower()}",
            next_step="name the folder of one run: STATE_DIR/ENGINE.runs/START",
        ) from None
    try:
        head = msgspec.json.decode(lines[0], type=Head)
    except (IndexError, ValueError, msgspec.MsgspecError) as error:
        raise HistoryError(f"{folder / SAMPLES}: its first line is no head of a run: {error}") from None
    if head.format != FORMAT:
        raise HistoryError(
            f"{folder / SAMPLES}: format {head.format}, wanted {FORMAT}",
            next_step="read it with the build that made it",
        )
    samples = _samples(lines[1:], remarks)
    seconds = np.array([(each["t"] - head.start_time_ns) / 1e9 for each in samples])
    return RunHistory(
        folder=folder,
        head=head,
        seconds=seconds,
        series=_series(samples),
        hops=_hop_series(samples, seconds),
        histograms=_histograms(folder, remarks),
        report=_report(folder, remarks),
        remarks=remarks,
    )


def _samples(lines: list[bytes], remarks: list[str]) -> list[dict[str, Any]]:
    """Every whole line; the rest is left out, and said so."""
    samples: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=2):
        try:
            sample = msgspec.json.decode(line, type=dict[str, int | list[int]])
            if not isinstance(sample["t"], int) or not all(map(_is_value, sample.values())):
                raise ValueError("of another form")
        except (msgspec.MsgspecError, KeyError, ValueError):
            if number == len(lines) + 1 and not line.endswith(b"\n"):
                remarks.append("the last sample is torn: the run was killed while it was written")
            else:
                remarks.append(f"line {number} of {SAMPLES} is no sample and was left out")
            continue
        samples.append(sample)
    return samples


def _is_value(value: int | list[int]) -> bool:
    """A number that a counter holds, or the five of a hop."""
    numbers = [value] if isinstance(value, int) else value
    return all(-(2**63) <= number < 2**64 for number in numbers) and (isinstance(value, int) or len(value) == 5)


def _series(samples: list[dict[str, Any]]) -> dict[str, Numbers]:
    """Each sample tells what changed: the rest stands as it was."""
    names = sorted({name for sample in samples for name, value in sample.items() if isinstance(value, int)} - {"t"})
    series = {name: np.zeros(len(samples)) for name in names}
    now = dict.fromkeys(names, 0)
    for index, sample in enumerate(samples):
        now.update((name, value) for name, value in sample.items() if name in now and isinstance(value, int))
        for name, value in now.items():
            series[name][index] = value
    return series


def _hop_series(samples: list[dict[str, Any]], seconds: Numbers) -> dict[str, HopSeries]:
    rows: dict[str, list[tuple[float, ...]]] = {}
    for at, sample in zip(seconds, samples, strict=True):
        for name, value in sample.items():
            if isinstance(value, list):
                rows.setdefault(name.removeprefix("hop."), []).append((float(at), *value))
    return {name: HopSeries(*np.array(values, dtype=np.float64).T) for name, values in rows.items()}


def _histograms(folder: Path, remarks: list[str]) -> dict[str, Histogram]:
    """Every hop over the whole run: its intervals together."""
    merged: dict[str, Histogram] = {}
    try:
        with (folder / HOPS).open() as file:
            for interval in histograms.read_log(file):
                known = merged.get(interval.tag)
                merged[interval.tag] = (
                    interval.histogram
                    if known is None
                    else histograms.merge([known, interval.histogram], interval.tag[:31])
                )
    except (OSError, ValueError) as error:
        remarks.append(f"{HOPS}: {error}: percentile curves end there")
    return merged


def _report(folder: Path, remarks: list[str]) -> RunReport | None:
    try:
        return msgspec.json.decode((folder / REPORT).read_bytes(), type=RunReport)
    except FileNotFoundError:
        remarks.append("the run goes on, or was killed: it has left no report of its end")
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        remarks.append(f"{REPORT}: {error}")
    return None
