"""The user's compiled function: its signature, its checks before the run, and what it moves in a replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from ffi import ffi, lib
from hotpath import native
from hotpath.config import WeightsConfig, load_config
from hotpath.errors import ConfigError, StageError
from hotpath.replay import ReplayOptions, replay_file
from hotpath.runs import live_spec, with_engine
from tests.support.busy import busy_config_file
from tests.support.synthetic import write_synthetic_day

LEAN = """
from hotpath.native import FEATURE_IMBALANCE_TOP, NATIVE_POSITION_LOTS, strategy_cfunc

@strategy_cfunc
def lean(features, ready, market, state):
    if not ready >> FEATURE_IMBALANCE_TOP & 1:
        return 0.0
    state[0] += 1.0
    return features[FEATURE_IMBALANCE_TOP] - market[NATIVE_POSITION_LOTS] / 100000.0

@strategy_cfunc
def nowhere(features, ready, market, state):
    return features[0] / 0.0

def plain(features, ready, market, state):
    return 0.0
"""
ONLY_CUSTOM = {"microprice": 0.0, "momentum": 0.0, "reversion": 0.0, "custom": 1.0}


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    path = tmp_path / "lean.py"
    path.write_text(LEAN)
    return path


def native_config(folder: Path, reference: str, **engine: object) -> Path:
    """A busy engine whose whole score is the user's function."""
    signal = {"native": reference, "weights": WeightsConfig(**ONLY_CUSTOM)}
    return busy_config_file(folder, signal=signal, engine=engine)


def test_a_decorated_function_is_called_with_named_places(lean: Path) -> None:
    function, owner = native.load_native(f"{lean}:lean")
    value = ffi.new("double[]", lib.FEATURES_MAX)
    value[lib.FEATURE_IMBALANCE_TOP] = 0.5
    state = ffi.new("double[]", 2 * lib.NATIVE_STATE_MAX)
    strategy = ffi.new("native_strategy *", {"function": function, "state": state})
    event = ffi.new("norm_event *", {"header": {"instrument": 1}})
    for _ in range(3):
        assert lib.native_score(strategy, event, 25_000, value, 1 << lib.FEATURE_IMBALANCE_TOP) == 0.25
    assert lib.native_score(strategy, event, 0, value, 0) == 0.0
    assert state[lib.NATIVE_STATE_MAX] == 3 and state[0] == 0  # each instrument's own
    lib.native_init(strategy, 2)
    assert state[lib.NATIVE_STATE_MAX] == 0
    assert owner.address == int(ffi.cast("uintptr_t", function))


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("nowhere", StageError, "not finite"),
        ("plain", ConfigError, "not a compiled function"),
        ("absent", ConfigError, "has no absent"),
    ],
)
def test_what_is_no_score_is_refused_before_the_run(lean: Path, name: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        native.load_native(f"{lean}:{name}")


def test_broken_code_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("first = 1\nsecond = first / 0\n")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError.*broken\.py:2"):
        native.load_native(f"{tmp_path / 'broken.py'}:second")


def test_one_log_in_every_topology_and_another_without(lean: Path, tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=6000)
    config = native_config(tmp_path, f"{lean}:lean")
    logs = {}
    for topology in ("fused", "paired"):
        report = replay_file(day, ReplayOptions(config_path=config, topology=topology, engine_name=engine))
        assert report.count("gateway", "frames_out") > 20
        assert report.count("signal", "native_nonsense") == 0
        logs[topology] = report.order_log_sha256
    built_in = replay_file(day, ReplayOptions(config_path=busy_config_file(tmp_path), engine_name=engine))
    assert logs["fused"] == logs["paired"] != built_in.order_log_sha256


def test_native_code_beside_the_keys_needs_permission(lean: Path, tmp_path: Path) -> None:
    live = native_config(tmp_path, f"{lean}:lean").read_text().replace('kind = "paper"', 'kind = "ouch50"')
    live = live.replace('username = ""', 'username = "me"')
    path = tmp_path / "live.toml"
    path.write_text(live)
    paired = load_config(path)  # signal apart from risk and gateway
    with pytest.raises(ConfigError, match=r"allow_unisolated = true"):
        live_spec(with_engine(paired, topology="fused"))
    path.write_text(live.replace('topology = "paired"', 'topology = "fused"'))
    with pytest.raises(ConfigError, match=r"signal\.native: .*allow_unisolated = true"):
        load_config(path)
    path.write_text(path.read_text().replace("allow_unisolated = false", "allow_unisolated = true"))
    assert load_config(path).signal.allow_unisolated


@pytest.mark.parametrize(
    ("native_key", "weight", "said"),
    [("my.py:f", 0.0, "never be heard"), ("", 1.0, "needs signal.native"), ("my.py", 1.0, "is not")],
)
def test_a_weight_and_a_function_come_together(native_key: str, weight: float, said: str, tmp_path: Path) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(f'[signal]\nnative = "{native_key}"\n[signal.weights]\ncustom = {weight}\n')
    with pytest.raises(ConfigError, match=said):
        load_config(path)
