"""Features and labels of a whole dataset, one source after the other, beside its events."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np

from hotlab import labels, sampling, schema
from hotlab.dataset import Dataset, FeatureRecord, LabelRecord
from hotlab.errors import DatasetError
from hotlab.features import FEATURE_NAMES, FeatureConfig
from hotlab.kernel import ConfigError as KernelError
from hotlab.kernel import compute_day, compute_features
from hotlab.labels import Labelled
from hotlab.schema import Events
from hotpath.config import Config, load_config
from hotpath.registry.composition import kernel_hash
from hotpath.registry.manifest import Sampling

Progress = Callable[[str, int, int], None]
KINDS = {  # of labels, and the parameters that each needs
    "fixed_horizon": ("horizon_ns",),
    "triple_barrier": ("up_ticks", "down_ticks", "horizon_ns"),
    "queue_aware": ("horizon_ns",),
}


def feature_config(path: Path | None, settings: dict[str, str]) -> FeatureConfig:
    """Windows as an engine's configuration has them, or the default's, with some changed. Raises DatasetError."""
    windows: dict[str, int] = msgspec.to_builtins((load_config(path) if path else Config()).signal.features)
    for key, text in settings.items():
        if key not in windows:
            near = difflib.get_close_matches(key, windows, n=3, cutoff=0.4) or list(windows)
            raise DatasetError(f"--set {key}: no such window", next_step=f"near it: {', '.join(near)}")
        if not text.isdecimal() or int(text) >= 2**32:
            raise DatasetError(f"--set {key}={text}: must be a whole number")
        windows[key] = int(text)
    config = FeatureConfig(**windows)
    try:
        compute_features(np.empty(0, schema.EVENT), config)
    except KernelError as error:
        raise DatasetError(f"the kernel refuses these windows: {error}") from None
    return config


def make_features(dataset: Dataset, config: FeatureConfig, progress: Progress) -> None:
    """Run the path's own kernel over every source. Raises ConfigError of hotlab.kernel for windows that cannot be."""
    instruments = len(dataset.about.instruments)
    for part in dataset.each_part():
        resets = dataset.about.sources[part].resets
        values, _ = compute_day(dataset.events(part), config, instruments=instruments, resets=resets)
        columns = {name: np.ascontiguousarray(values[:, index]) for index, name in enumerate(FEATURE_NAMES)}
        dataset.write_table("features", part, schema.arrow().table(columns))
        progress("features", part + 1, dataset.parts)
    dataset.about.features = FeatureRecord(kernel_hash(), asdict(config), list(FEATURE_NAMES))
    dataset.save()


def label_record(kind: str, parameters: dict[str, float], name: str = "") -> LabelRecord:
    """A label's definition, checked. Raises DatasetError for a kind or parameter that is not there."""
    if kind not in KINDS:
        raise DatasetError(f"no label is called {kind}", next_step=f"there is {', '.join(KINDS)}")
    given = {key: value for key, value in parameters.items() if value}
    if set(given) != set(KINDS[kind]):
        wanted = ", ".join(f"--{key.replace('_', '-')}" for key in KINDS[kind])
        raise DatasetError(f"{kind} takes {wanted}, each above 0; given: {', '.join(given) or 'none'}")
    if any(value < 0 for value in given.values()):
        raise DatasetError(f"{kind}: a parameter is below 0")
    return LabelRecord(name or kind, kind, given)


def make_label(dataset: Dataset, record: LabelRecord, progress: Progress) -> int:
    """Add one label, or replace it by name; returns how many rows have a value."""
    records = [each for each in dataset.about.labels if each.name != record.name] + [record]
    known = 0
    for part in dataset.each_part():
        events = dataset.events(part)
        made = labels_of(events, record, instruments=len(dataset.about.instruments))
        known += int((~np.isnan(made.value)).sum())
        columns = {record.name: made.value, f"{record.name}.end_ns": made.end_ns}
        for each in records[:-1]:
            value, end_ns = dataset.label(part, each.name)
            columns |= {each.name: value, f"{each.name}.end_ns": end_ns}
        dataset.write_table("labels", part, schema.arrow().table(columns))
        progress("labels", part + 1, dataset.parts)
    dataset.about.labels = records
    dataset.save()
    return known


def labels_of(events: Events, record: LabelRecord, *, instruments: int) -> Labelled:
    """A label at every event of a source: NaN where the signal stage would not look for a decision."""
    value = np.full(len(events), np.nan)
    end_ns = np.zeros(len(events), np.int64)
    rows = sampling.sample_rows(events, Sampling(), instruments=instruments)
    owner = events["header"]["instrument"]
    for instrument in range(instruments):
        own_events = np.flatnonzero(owner == instrument)
        own_rows = np.searchsorted(own_events, rows[owner[rows] == instrument])
        if not len(own_rows):
            continue
        made = _labelled(_in_time(events[own_events]), own_rows, record)
        value[own_events[own_rows]], end_ns[own_events[own_rows]] = made.value, made.end_ns
    return Labelled(value, end_ns)


def _in_time(events: Events) -> Events:
    """Time that runs back counts as the latest before it."""
    events["header"]["origin_time_ns"] = np.maximum.accumulate(events["header"]["origin_time_ns"])
    return events


def _labelled(events: Events, rows: labels.Rows, record: LabelRecord) -> Labelled:
    parameters = record.parameters
    horizon_ns = int(parameters["horizon_ns"])
    if record.kind == "queue_aware":
        return labels.queue_aware(events, rows, horizon_ns=horizon_ns)
    time_ns = events["header"]["origin_time_ns"][rows].astype(np.int64)
    mid = (events["bid_price_ticks"][rows] + events["ask_price_ticks"][rows]) / 2
    if record.kind == "triple_barrier":
        up, down = parameters["up_ticks"], parameters["down_ticks"]
        return labels.triple_barrier(time_ns, mid, up_ticks=up, down_ticks=down, horizon_ns=horizon_ns)
    return labels.fixed_horizon(time_ns, mid, horizon_ns=horizon_ns)
