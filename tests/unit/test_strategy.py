"""The strategies' scores against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ffi import ffi, lib


def make_config(**changes: Any) -> Any:
    """A valid configuration with the given scalars changed."""
    fields = {"threshold": 0.5, "imbalance_scale": 0.5, "momentum_scale": 0.001, "zscore_scale": 2.0, "rsi_scale": 25.0}
    return ffi.new("strategy_config *", {"weight": [2.0, 1.0, 1.0, 0.0, 0.0], **fields, **changes})


def score(config: Any, *, custom: float = 0.0, model: float = 0.0, **features: float) -> tuple[float, list[int]]:
    """Score the given features, all others being unready."""
    value = ffi.new("double[]", [float("nan")] * lib.FEATURES_MAX)
    ready = 0
    for name, number in features.items():
        index = getattr(lib, f"FEATURE_{name.upper()}")
        value[index] = number
        ready |= 1 << index
    component = ffi.new("int16_t[]", lib.COMPONENTS_MAX)
    return lib.strategy_score(config, value, ready, [model, custom], component), list(component)


def check(config: Any) -> tuple[int, str | None]:
    """Status and field name of a configuration's check."""
    field = ffi.new("const char **")
    status = lib.strategy_config_check(config, field)
    return status, ffi.string(field[0]).decode() if field[0] else None


def test_nothing_ready_scores_nothing() -> None:
    assert score(make_config()) == (0.0, [0, 0, 0, 0, 0])


def test_microprice_follows_the_heavier_side() -> None:
    total, component = score(make_config(), imbalance_top=0.3, imbalance_depth=0.1)
    assert component == [round(0.4 * 32767), 0, 0, 0, 0]
    assert total == pytest.approx(0.4 * 2 / 4)  # the unready two keep their weights


def test_momentum_is_the_averages_relative_distance() -> None:
    total, component = score(make_config(), sma_fast=10005.0, sma_slow=10000.0)
    assert component == [0, round(0.5 * 32767), 0, 0, 0]
    assert total == pytest.approx(0.125)


def test_reversion_sells_what_rose() -> None:
    total, component = score(make_config(), zscore=1.0, rsi=100.0)
    assert component == [0, 0, -round(0.75 * 32767), 0, 0]
    assert total == pytest.approx(-0.1875)


def test_a_component_needs_all_its_features() -> None:
    assert score(make_config(), imbalance_top=0.9, sma_fast=2.0, zscore=3.0) == (0.0, [0, 0, 0, 0, 0])


def test_the_users_own_score_weighs_as_any_other_and_nonsense_is_no_opinion() -> None:
    config = make_config(weight=[1.0, 0.0, 0.0, 0.0, 3.0])
    total, component = score(config, custom=0.5)
    assert component == [0, 0, 0, 0, round(0.5 * 32767)] and total == pytest.approx(0.375)
    assert score(config, custom=7.0)[0] == 0.75  # clamped before it is weighed
    assert score(config, custom=float("nan")) == (0.0, [0, 0, 0, 0, 0])


def test_scores_are_clamped() -> None:
    everything = {"imbalance_top": 0.99, "imbalance_depth": 0.99, "sma_fast": 2.0, "sma_slow": 1.0}
    total, component = score(make_config(), **everything, zscore=-9.0, rsi=0.0)
    assert (total, component) == (1.0, [32767, 32767, 32767, 0, 0])


def test_check_accepts_a_valid_configuration() -> None:
    assert check(make_config()) == (lib.STRATEGY_OK, None)


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"weight": [0.0, 0.0, 0.0, 0.0, 0.0]}, "STRATEGY_BAD_WEIGHT", "weight"),
        ({"weight": [float("nan"), 1.0, 0.0, 0.0, 0.0]}, "STRATEGY_BAD_WEIGHT", "weight"),
        ({"weight": [float("inf"), 1.0, 0.0, 0.0, 0.0]}, "STRATEGY_BAD_WEIGHT", "weight"),
        ({"threshold": 0.0}, "STRATEGY_BAD_THRESHOLD", "threshold"),
        ({"threshold": 1.5}, "STRATEGY_BAD_THRESHOLD", "threshold"),
        ({"threshold": float("nan")}, "STRATEGY_BAD_THRESHOLD", "threshold"),
        ({"imbalance_scale": 0.0}, "STRATEGY_BAD_SCALE", "imbalance_scale"),
        ({"momentum_scale": -1.0}, "STRATEGY_BAD_SCALE", "momentum_scale"),
        ({"zscore_scale": float("inf")}, "STRATEGY_BAD_SCALE", "zscore_scale"),
        ({"rsi_scale": float("nan")}, "STRATEGY_BAD_SCALE", "rsi_scale"),
    ],
)
def test_check_names_the_wrong_field(changes: dict[str, Any], status: str, field: str) -> None:
    assert check(make_config(**changes)) == (getattr(lib, status), field)


def test_a_checked_configuration_survives_values_out_of_contract() -> None:
    nan = float("nan")
    assert score(make_config(), zscore=nan, rsi=nan, sma_fast=nan, sma_slow=nan) == (0.0, [0, 0, 0, 0, 0])


def test_a_models_score_has_the_weight_of_its_own_component() -> None:
    config = make_config(weight=[0.0, 0.0, 0.0, 2.0, -1.0])
    assert score(config, model=0.75, custom=0.5)[0] == (2 * 0.75 - 0.5) / 3
    assert score(config, model=7.0)[1] == [0, 0, 0, lib.STRATEGY_COMPONENT_SCALE, 0]
