"""Samples a run while it runs: a thread of the supervisor that reads the engine's segments now and then.

    <state_dir>/<engine>.runs/<start>/
        config.toml      as it ran
        samples.jsonl    a head, then one line a sample: what changed since the line before
        hops.hlog        every hop between two samples, as an HdrHistogram V2 interval log
        run.json         the report at the end; absent while the run goes on, and when it was killed

A sample is taken each second at first, then at ever longer intervals, none longer than 1/600 of the run so
far: 600 lines for ten minutes, 1,700 for an hour, 3,600 for a day. The newest 20 runs are kept. Nothing of
the path waits for this: segments are mapped read-only, and a disk that is full or slow ends the sampling.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import msgspec

from hotpath import histograms
from hotpath.config import config_toml
from hotpath.engine import EngineSpec
from hotpath.histograms import Histogram, Interval
from hotpath.report import RunReport
from hotpath.stat import EngineStat, EngineView

FORMAT = 1
SAMPLES, HOPS, REPORT, CONFIG = "samples.jsonl", "hops.hlog", "run.json", "config.toml"
INTERVAL_SECONDS = 1.0
PART_OF_RUN = 600
RUNS_KEPT = 20


class RunSampler:
    """One run: `begin` once its memory is there, `end` before it is removed, `finish` with its report."""

    def __init__(self, spec: EngineSpec, runs: Path | None, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """`runs` is the folder of all runs of the engine, this one's is made below it; None: nothing is sampled."""
        self.spec = spec
        self.folder: Path | None = None  # of this run, once it has begun
        self.trouble = ""  # why there are no more samples, if so
        self.samples = 0
        self._runs = runs
        self._interval_seconds = interval_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_over, name="sampler", daemon=True)
        self._before: dict[str, Any] = {}
        self._hops: dict[str, Histogram] = {}
        self._files: list[TextIO] = []

    def begin(self) -> None:
        """Make the folder and start sampling."""
        if self._runs is None:
            return
        self._view = EngineView(self.spec.name)
        self._began = time.monotonic()
        first = self._view.snapshot()
        self._last_ns = first.time_ns
        try:
            self._open(self._runs, first)
        except OSError as error:
            self._fail(error)
        self._sample(first)  # what was counted before now is no part of the first interval
        self._thread.start()

    def _open(self, runs: Path, first: EngineStat) -> None:
        self.folder = make_run_folder(runs, first.run_epoch)
        forget_old_runs(runs)
        (self.folder / CONFIG).write_text(config_toml(self.spec.config))
        for name in (SAMPLES, HOPS):
            self._files.append((self.folder / name).open("w"))
        head = {
            "format": FORMAT,
            "engine": self.spec.name,
            "topology": self.spec.config.engine.topology,
            "run_epoch": first.run_epoch,
            "start_time_ns": first.time_ns,
            "lockstep": self.spec.lockstep,
            "trading_day": self.spec.trading_day,
            "gateway": self.spec.config.gateway.kind,
            "feed": self.spec.config.feed.kind,
            "instruments": len(self.spec.instruments),
            "rings": {name: ring.capacity for name, ring in first.rings.items()},
            "host": host_facts(),
        }
        self._write(0, msgspec.json.encode(head).decode() + "\n")
        histograms.write_log_head(self._files[1], start_time_ns=first.time_ns)

    def end(self) -> None:
        """Take the last sample and close the files; call it while the memory is still there."""
        if self._over.is_set() or (not self._thread.is_alive() and not self._files):
            return
        self._over.set()
        self._thread.join()
        self._sample()
        for file in self._files:
            self._close(file)
        self._view.close()

    def _close(self, file: TextIO) -> None:
        """What could not be written before may fail once more here; the file is closed all the same."""
        try:
            file.close()
        except OSError as error:
            if not self.trouble:
                self._fail(error)

    def finish(self, report: RunReport) -> None:
        """Put the report of the whole run beside its samples."""
        if self.folder is None:
            return
        try:
            (self.folder / REPORT).write_bytes(msgspec.json.encode(report))
        except OSError as error:
            self._fail(error)

    def _sample_until_over(self) -> None:
        while not self.trouble:
            interval = max(self._interval_seconds, (time.monotonic() - self._began) / PART_OF_RUN)
            if self._over.wait(interval):
                return
            self._sample()

    def _sample(self, stat: EngineStat | None = None) -> None:
        """Write down one look, by default at this moment."""
        if self.trouble:
            return
        try:
            self._write_sample(stat or self._view.snapshot())
        except (OSError, ValueError) as error:
            self._fail(error)

    def _write_sample(self, stat: EngineStat) -> None:
        now = values_of(stat)
        line: dict[str, Any] = {"t": stat.time_ns}
        line.update((name, value) for name, value in now.items() if self._before.get(name, 0) != value)
        self._before = now
        hops = {}
        for name, hop in stat.hops.items():
            known = self._hops.get(name)
            if hop.count == (int(known["total_count"][0]) if known is not None else 0):
                continue
            histogram = histograms.snapshot(self._view.hop_histogram(name))
            between = histograms.difference(histogram, known) if known is not None else histogram
            self._hops[name] = histogram
            hops[name] = between
            line[f"hop.{name}"] = [
                int(between["total_count"][0]),
                *(histograms.value_at(between, percentile) for percentile in (50.0, 99.0, 99.9)),
                int(between["value_max"][0]),
            ]
        self._write(0, msgspec.json.encode(line).decode() + "\n")
        for name, between in hops.items():
            histograms.write_log_interval(self._files[1], Interval(name, self._last_ns, stat.time_ns, between))
        self._files[1].flush()
        self._last_ns = stat.time_ns
        self.samples += 1

    def _write(self, index: int, text: str) -> None:
        self._files[index].write(text)
        self._files[index].flush()

    def _fail(self, error: Exception) -> None:
        """No more samples: the run matters, its picture does not."""
        self.trouble = f"the run is no longer sampled into {self.folder}: {error}"


def values_of(stat: EngineStat) -> dict[str, int]:
    """Every number of one look, by a flat name."""
    values: dict[str, int] = {"killed": int(stat.killed)}
    for stage, page in stat.stages.items():
        values.update((f"{stage}.{name}", value) for name, value in page.counters.items())
        values[f"rss.{stage}"] = page.rss_bytes
    for name, ring in stat.rings.items():
        values[f"ring.{name}.published"] = ring.published
        values[f"ring.{name}.full"] = ring.full_count
        for reader, seen in ring.readers.items():
            if seen.kind != "absent":
                values[f"ring.{name}.lag.{reader}"] = seen.lag
                values[f"ring.{name}.lost.{reader}"] = seen.lost
    return values


def host_facts() -> dict[str, str]:
    """The machine, as a reader of the report wants to know it."""
    model = ""
    try:
        with Path("/proc/cpuinfo").open() as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        pass
    return {
        "processor": model or platform.machine(),
        "processors": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def make_run_folder(runs: Path, run_epoch: int) -> Path:
    """A folder named for the instant at which the run began, in UTC."""
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(run_epoch / 1e9))
    for number in itertools.count(1):
        folder = runs / (name if number == 1 else f"{name}.{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise AssertionError("counting does not end")


def runs_folder(spec: EngineSpec) -> Path:
    """Where the runs of an engine are kept."""
    return Path(spec.config.engine.state_dir) / f"{spec.name}.runs"


def forget_old_runs(runs: Path, *, kept: int = RUNS_KEPT) -> None:
    """Remove the oldest of more than `kept` runs: folders that this module made, and nothing else."""
    every = sorted(path for path in runs.iterdir() if path.is_dir() and path.name[:8].isdigit())
    for path in every[: max(0, len(every) - kept)]:
        if (path / SAMPLES).exists():
            shutil.rmtree(path, ignore_errors=True)
