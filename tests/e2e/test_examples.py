"""The example strategies trade, and say the same again; so does what `hotpath new-strategy` makes, test included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from hotpath.cli import app
from hotpath.config import Config, StrategyConfig, WeightsConfig, config_toml
from hotpath.errors import ConfigError
from hotpath.new_strategy import write_strategy
from hotpath.replay import ReplayOptions, replay_file
from tests.support.busy import busy_config
from tests.support.engines import REPOSITORY
from tests.support.synthetic import write_synthetic_day

HERE = {**os.environ, "PYTHONPATH": str(REPOSITORY)}  # this hotpath, from whatever folder
EXAMPLES = "hotpath.examples.strategies"
GOOG = "data/itch_goog_20120621_derived/GOOG_20120621_L10.itch50"
MAKER = ("market_maker:MarketMaker", 100, 20)  # orders and fills at least
FLOW = ("flow_momentum:FlowMomentum", 10, 10)
COMPILED = ("microprice:microprice", 100, 5)


def example_config(reference: str) -> Config:
    """An engine that trades by one example alone."""
    config = busy_config(engine={"topology": "fused"})
    native = f"{EXAMPLES}.{reference}" if reference == COMPILED[0] else ""
    weights = WeightsConfig(microprice=0.0, momentum=0.0, reversion=0.0, custom=1.0 if native else 0.0)
    seat = StrategyConfig(name="example", account=2, strategy=100, code=f"{EXAMPLES}.{reference}")
    return msgspec.structs.replace(
        config,
        signal=msgspec.structs.replace(config.signal, native=native, weights=weights),
        strategies=[] if native else [seat],
    )


@pytest.mark.parametrize(("reference", "orders", "fills"), [MAKER, FLOW, COMPILED], ids=lambda value: str(value))
def test_the_example_trades_and_repeats_itself(
    reference: str, orders: int, fills: int, tmp_path: Path, engine: str
) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=12_000)
    path = tmp_path / "engine.toml"
    path.write_text(config_toml(example_config(reference)))
    logs = set()
    for _ in range(2):
        report = replay_file(day, ReplayOptions(config_path=path, engine_name=engine))
        assert report.notices == []
        assert report.count("gateway", "frames_out") >= orders and report.count("gateway", "fills") >= fills
        assert report.count("risk", "rejected") == 0
        logs.add(report.order_log_sha256)
    assert len(logs) == 1


@pytest.mark.parametrize("reference", [MAKER[0], pytest.param(FLOW[0], marks=pytest.mark.soak)])
def test_the_example_trades_a_real_day(reference: str, shared_data: Path, tmp_path: Path, engine: str) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(config_toml(example_config(reference)))
    report = replay_file(shared_data / GOOG.removeprefix("data/"), ReplayOptions(config_path=path, engine_name=engine))
    assert report.notices == [] and report.count("gateway", "fills") > 100


@pytest.mark.parametrize("kind", ["event", "batch", "cfunc"])
def test_what_new_strategy_makes_runs_and_passes_its_test(kind: str, tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["new-strategy", "lean_on", "--kind", kind, "--into", str(tmp_path)])
    assert made.exit_code == 0, made.output
    folder = tmp_path / "lean_on"
    assert f"pytest {folder}" in made.output
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path, env=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    if kind != "event":
        return
    replay = ["replay", str(folder / "day.itch"), "--config", str(folder / "engine.toml"), "--json"]
    command = [sys.executable, "-m", "hotpath", *replay]
    shown = subprocess.run(command, capture_output=True, timeout=100, check=False, env=HERE)
    assert shown.returncode == 0, shown.stderr
    assert msgspec.json.decode(shown.stdout)["notices"] == []


@pytest.mark.parametrize("name", ["Capital", "1st", "a b", "../up", "class", "signal", "risk", "json", "x" * 30, ""])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be a strategy's name"):
        write_strategy(name, kind="event", into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_strategy("mine", kind="event", into=tmp_path)
    with pytest.raises(ConfigError, match="is there already"):
        write_strategy("mine", kind="batch", into=tmp_path)
