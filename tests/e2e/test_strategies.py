"""Python strategies in the engine: one class, live and in every replay; and what becomes of one that goes wrong.

What could break it: a strategy that sees a clock, a baton that stops with it, an order that outlives it, a path
that waits for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hotpath.config import Config, StrategyConfig, WeightsConfig, config_toml
from hotpath.errors import StageError
from hotpath.recordings import replay_recording
from hotpath.replay import ReplayOptions, replay_file
from hotpath.report import RunReport
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, segments_of, until
from tests.support.synthetic import write_synthetic_day
from tests.support.traders import PATH

SILENT = WeightsConfig(microprice=0.0, momentum=0.0, reversion=0.0)
NONSENSE = [
    ("price_of_nothing", "price_ticks is nan, not a whole number"),
    ("half_a_tick", "price_ticks is 100.5"),
    ("below_nothing", "bad price"),
    ("beyond_numbers", "bad price"),
    ("no_quantity", "bad quantity"),
    ("true_quantity", "quantity_lots is True"),
    ("nowhere", "no instrument 'NOWHERE'"),
    ("nowhere_by_number", "no instrument 1000000"),
    ("for_ever", "time_in_force is 'for ever'"),
    ("swallow", "no instrument 'NOWHERE'"),
]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=6000)


def toy(name: str = "toy", *, strategy: int = 100, code: str = "Toy", **params: Any) -> StrategyConfig:
    return StrategyConfig(name=name, account=2, strategy=strategy, code=f"{PATH}:{code}", params=params)


def with_strategies(*strategies: StrategyConfig, silent: bool = True, **sections: Any) -> Config:
    """A busy engine with these strategies; the built-in one says nothing unless told to."""
    config = busy_config(**sections)
    signal = msgspec.structs.replace(config.signal, weights=SILENT) if silent else config.signal
    return msgspec.structs.replace(config, strategies=list(strategies), signal=signal)


def replay(
    day: Path, config: Config, folder: Path, *, engine: str, topology: str = "fused", messages: int = 1
) -> RunReport:
    path = folder / "strategies.toml"
    path.write_text(config_toml(config))
    options = ReplayOptions(config_path=path, topology=topology, engine_name=engine, messages_per_round=messages)
    return replay_file(day, options)


def test_one_log_in_every_topology_and_again(day: Path, tmp_path: Path, engine: str) -> None:
    seen = tmp_path / "seen"
    config = with_strategies(
        toy(file=str(seen)),
        toy("second", strategy=101, every=37),
        toy("columns", strategy=102, code="Columns"),
        silent=False,
    )
    logs, views = set(), set()
    for topology in ("fused", "paired", "fused"):
        report = replay(day, config, tmp_path, engine=engine, topology=topology)
        assert report.count("signal", "requests") > 100 and report.count("gateway", "fills") > 10
        assert report.notices == []
        logs.add(report.order_log_sha256)
        views.add(seen.read_text())
    assert len(logs) == 1 and len(views) == 1
    alone = replay(day, with_strategies(silent=False), tmp_path, engine=engine)
    assert alone.order_log_sha256 not in logs


def test_a_batch_sees_every_event_and_its_tables_at_its_end(day: Path, tmp_path: Path, engine: str) -> None:
    seen = tmp_path / "seen"
    config = with_strategies(toy("columns", code="Columns", file=str(seen)))
    for messages in (1, 40):
        report = replay(day, config, tmp_path, engine=engine, messages=messages)
        rows, checked = (int(word) for word in seen.read_text().split())
        assert rows == report.count("feed", "top_changes")
        assert 0 < checked <= rows and (messages > 1 or checked == rows)


def test_a_strategy_that_raises_is_cut_alike_in_every_topology(day: Path, tmp_path: Path, engine: str) -> None:
    config = with_strategies(toy(after=1000, then="divide"), toy("second", strategy=101), silent=False)
    reports = [replay(day, config, tmp_path, engine=engine, topology=topology) for topology in ("fused", "paired")]
    for report in reports:
        (notice,) = report.notices
        assert "strategy toy was cut off: ZeroDivisionError: division by zero (traders.py:" in notice
        assert report.count("signal", "seats_cut") == 1
        assert report.count("gateway", "open_orders") <= 500
    assert reports[0].order_log_sha256 == reports[1].order_log_sha256
    whole = replay(day, with_strategies(toy(), toy("second", strategy=101), silent=False), tmp_path, engine=engine)
    assert whole.count("signal", "requests") > reports[0].count("signal", "requests") > 100


def test_a_replay_does_not_wait_for_a_strategy_that_left_in_its_middle(tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "short.itch", messages=1500)
    config = with_strategies(toy(after=100, then="exit_in_silence"))
    with pytest.raises(StageError, match="strategy toy ended with exit code 0"):
        replay(day, config, tmp_path, engine=engine, topology="paired")


@pytest.mark.parametrize(("then", "said"), NONSENSE)
def test_nonsense_is_cut_off_caught_or_not(then: str, said: str, tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "short.itch", messages=1500)
    report = replay(day, with_strategies(toy(after=100, then=then)), tmp_path, engine=engine)
    assert report.count("signal", "seats_cut") == 1
    assert len(report.notices) == 1 and said in report.notices[0], report.notices


def live_config(day: Path, folder: Path, engine: str, *strategies: StrategyConfig) -> Config:
    """A live engine over a file at a steady pace, on the paper venue, its built-in strategy trading."""
    config = with_strategies(
        *strategies,
        silent=False,
        engine={"name": engine, "state_dir": str(folder / "var"), "topology": "fused", "wait": "yield"},
    )
    feed = file_feed(day, pace="rate", rate_per_second=1500)
    return msgspec.structs.replace(config, feed=feed)


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("divide", "was cut off: raised: ZeroDivisionError: division by zero (traders.py:"),
        ("hang", "was cut off: budget: in hang, "),
        ("die", "ended by SIGKILL"),
    ],
)
def test_the_rest_trades_on(then: str, said: str, day: Path, tmp_path: Path, engine: str) -> None:
    config = live_config(
        day, tmp_path, engine, toy(after=300, then=then), toy("second", strategy=101, file=str(tmp_path / "seen"))
    )
    running = EngineProcess(config, tmp_path, "--arm", "--seconds", "60")
    try:
        until(lambda: running.count("signal", "seats_cut") == 1, "the cut")
        stat = running.look()
        assert stat is not None and stat.seats["toy"].state == "cut_off" and stat.seats["toy"].reason
        assert stat.seats["second"].state == "taken" and stat.seats["second"].python["handed"] > 0
        orders = running.count("gateway", "frames_out")
        until(lambda: running.count("gateway", "frames_out") > orders + 20, "orders of the others")
        running.signal()
        assert running.wait() == 0, running.errors()
    finally:
        running.close()
    assert "'fill': 0" not in (tmp_path / "seen").read_text()  # on the paper venue, whatever day the feed is of
    notices = running.report()["notices"]
    assert len(notices) == 1 and f"strategy toy {said}" in notices[0] and "goes on without it" in notices[0], notices
    assert segments_of(engine) == []


def test_one_that_may_be_restarted_is_told_where_it_stands(day: Path, tmp_path: Path, engine: str) -> None:
    again = msgspec.structs.replace(toy(after=200, then="die"), restart=True)
    running = EngineProcess(live_config(day, tmp_path, engine, again), tmp_path, "--arm", "--seconds", "60")
    try:
        until(lambda: running.count("signal", "seats_cut") >= 2, "a second life, and its end")
        running.signal()
        assert running.wait() == 0, running.errors()
    finally:
        running.close()
    assert "strategy toy ended by SIGKILL; restart 1 in" in running.report()["notices"][0]


def test_a_recorded_run_replays_without_python(day: Path, tmp_path: Path, engine: str) -> None:
    file = tmp_path / "trader.py"
    file.write_text(PATH.read_text())
    strategy = msgspec.structs.replace(toy(after=800, then="divide"), code=f"{file}:Toy")
    config = live_config(day, tmp_path, engine, strategy, toy("second", strategy=101))
    folder = tmp_path / "recording"
    running = EngineProcess(config, tmp_path, "--arm", "--record", str(folder), "--seconds", "60")
    try:
        until(lambda: running.count("signal", "seats_cut") == 1, "the cut")
        running.wait_trading(fills=10)
        running.signal()
        assert running.wait() == 0, running.errors()
    finally:
        running.close()
    file.unlink()  # nobody imports it
    comparison = replay_recording(folder)
    assert comparison.same and comparison.orders_recorded > 50, comparison


def test_a_class_that_cannot_be_run_stops_the_start(day: Path, tmp_path: Path, engine: str) -> None:
    config = live_config(day, tmp_path, engine, toy(whatever=1))
    running = EngineProcess(config, tmp_path, "--arm", "--seconds", "60")
    try:
        assert running.wait() == 70
    finally:
        running.close()
    assert "Toy has no parameter whatever" in running.errors()
    assert segments_of(engine) == []
