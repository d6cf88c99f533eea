"""The path's own kernels over whole arrays of events: what the engine computed, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotlab.features import FEATURE_NAMES, Events, FeatureConfig, Floats
from hotlab.strategies import COMPONENT_NAMES, StrategyConfig


class ConfigError(ValueError):
    """A kernel refused its configuration; the message names status and field."""


def _checked(struct: str, check: Any, statuses: str, config: FeatureConfig | StrategyConfig) -> Any:
    native = ffi.new(
        f"{struct} *", {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
    )
    field = ffi.new("const char **")
    status = check(native, field)
    if status:
        raise ConfigError(f"{ffi.typeof(statuses).elements[status]}: {struct}.{ffi.string(field[0]).decode()}")
    return native


def compute_features(events: Events, config: FeatureConfig) -> tuple[Floats, npt.NDArray[np.uint32]]:
    """Run the feature kernel over one instrument's events.

    Returns values of shape (events, FEATURES_MAX) in the order of ``FEATURE_NAMES``, NaN where unready, and the
    ready masks. Raises ConfigError.
    """
    native = _checked("feature_config", lib.feature_config_check, "enum feature_status", config)
    events = np.ascontiguousarray(events)
    values = np.empty((len(events), lib.FEATURES_MAX))
    ready = np.empty(len(events), dtype=np.uint32)
    state = ffi.new("feature_state *")
    lib.feature_init(state)
    event_at = ffi.from_buffer("norm_event[]", events)
    value_at = ffi.from_buffer("double[]", values, require_writable=True)
    for i in range(len(events)):
        ready[i] = lib.feature_update(native, state, event_at + i, value_at + i * lib.FEATURES_MAX)
    return values, ready


def compute_day(
    events: Events, config: FeatureConfig, *, instruments: int, resets: Sequence[int] = ()
) -> tuple[Floats, npt.NDArray[np.uint32]]:
    """Run the feature kernel over the events of many instruments, as the signal stage does.

    Instruments are indexes below `instruments`; `resets` are rows before which the trading day rolled. Returns what
    ``compute_features`` does. Raises ConfigError.
    """
    native = _checked("feature_config", lib.feature_config_check, "enum feature_status", config)
    events = np.ascontiguousarray(events)
    values = np.empty((len(events), lib.FEATURES_MAX))
    ready = np.empty(len(events), dtype=np.uint32)
    states = ffi.new("feature_state[]", max(instruments, 1))
    event_at, ready_at = ffi.from_buffer("norm_event[]", events), ffi.from_buffer("uint32_t[]", ready)
    value_at = ffi.from_buffer("double[]", values, require_writable=True)
    bounds = sorted({0, *(row for row in resets if row < len(events)), len(events)})
    for begin, end in pairwise(bounds):
        for index in range(instruments):
            lib.feature_init(states + index)
        target = value_at + begin * lib.FEATURES_MAX
        lib.feature_batch(native, states, instruments, event_at + begin, end - begin, target, ready_at + begin)
    return values, ready


def by_name(values: Floats) -> dict[str, Floats]:
    """Columns of ``compute_features`` by the features' names."""
    return {name: values[:, index] for index, name in enumerate(FEATURE_NAMES)}


def compute_scores(
    values: Floats, ready: npt.NDArray[np.uint32], config: StrategyConfig
) -> tuple[Floats, dict[str, npt.NDArray[np.int16]]]:
    """Run the strategy kernel over what ``compute_features`` gave.

    Returns the ensemble's scores and each component's by name, as a signal event carries them. Raises ConfigError.
    """
    native = _checked("strategy_config", lib.strategy_config_check, "enum strategy_status", config)
    values = np.ascontiguousarray(values)
    scores = np.empty(len(values))
    components = np.empty((len(values), lib.COMPONENTS_MAX), dtype=np.int16)
    value_at, given = ffi.from_buffer("double[]", values), ffi.new("double[]", lib.GIVEN_MAX)
    component_at = ffi.from_buffer("int16_t[]", components, require_writable=True)
    for i in range(len(values)):
        scores[i] = lib.strategy_score(
            native, value_at + i * lib.FEATURES_MAX, int(ready[i]), given, component_at + i * lib.COMPONENTS_MAX
        )
    return scores, {name: components[:, index] for index, name in enumerate(COMPONENT_NAMES)}
