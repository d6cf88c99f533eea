"""What each strategy says: the references of ``ffi/src/strategy.c``, over whole arrays of features.

Features come as ``hotlab.features.reference`` or ``hotlab.kernel.compute_features`` give them: float64 arrays by
name, NaN where unready. Scores lie in [-1, 1], positive for buying, and are 0 where a feature is unready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib

Floats = npt.NDArray[np.float64]

COMPONENT_NAMES: tuple[str, ...] = tuple(
    name.removeprefix("COMPONENT_").lower()
    for _, name in sorted(ffi.typeof("enum strategy_component").elements.items())
)


@dataclass(frozen=True, kw_only=True)
class StrategyConfig:
    """Weights and scales, by the names of the kernel's ``strategy_config``; `weight` in the components' order."""

    weight: tuple[float, float, float, float, float]
    threshold: float
    imbalance_scale: float
    momentum_scale: float
    zscore_scale: float
    rsi_scale: float


def _clipped(score: Floats) -> Floats:
    return np.clip(score, -1, 1)


def _known(score: Floats) -> Floats:
    return np.nan_to_num(score, nan=0.0)


def microprice(features: Mapping[str, Floats], config: StrategyConfig) -> Floats:
    """Go where the book leans: half by the microprice's distance from the mid in half spreads, half by depth."""
    lean_top = (features["microprice"] - features["mid"]) / (features["spread"] / 2)
    return _known(_clipped((lean_top + features["imbalance_depth"]) / 2 / config.imbalance_scale))


def momentum(features: Mapping[str, Floats], config: StrategyConfig) -> Floats:
    """Follow the fast average of closes over the slow one."""
    return _known(_clipped((features["sma_fast"] / features["sma_slow"] - 1) / config.momentum_scale))


def reversion(features: Mapping[str, Floats], config: StrategyConfig) -> Floats:
    """Go against what has gone far, by z-score and by relative strength in equal parts."""
    distance = _clipped(features["zscore"] / config.zscore_scale)
    strength = _clipped((features["rsi"] - 50) / config.rsi_scale)
    return _known(-(distance + strength) / 2)


def reference(features: Mapping[str, Floats], config: StrategyConfig) -> tuple[Floats, dict[str, Floats]]:
    """The ensemble's score and each component's, as long as the features. The seats of the model and of the
    user's own function are empty: 0."""
    components = {
        "microprice": microprice(features, config),
        "momentum": momentum(features, config),
        "reversion": reversion(features, config),
    }
    components["model"] = components["custom"] = np.zeros_like(components["momentum"])
    weighted = [weight * components[name] for weight, name in zip(config.weight, COMPONENT_NAMES, strict=True)]
    return np.sum(weighted, axis=0) / np.abs(config.weight).sum(), components


def as_recorded(component: Floats) -> npt.NDArray[np.int16]:
    """A component's score as a signal event carries it."""
    scaled = component * lib.STRATEGY_COMPONENT_SCALE
    return np.asarray(np.trunc(scaled + np.copysign(0.5, scaled)), dtype=np.int16)
