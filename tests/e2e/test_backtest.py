"""A replay as a backtest: its money adds up exactly, and what another setting changes is found with its reason."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from hotpath.backtest.collect import load_run
from hotpath.backtest.compare import compare_runs
from hotpath.backtest.report import report_of
from hotpath.backtest.simulate import Outcome, backtest
from hotpath.errors import CaptureError
from hotpath.recordings import replay_recording
from hotpath.replay import ReplayOptions
from hotpath.states import keep_states, kept_states
from tests.support.busy import busy_config_file
from tests.support.engines import REPOSITORY
from tests.support.synthetic import write_synthetic_day

FEES = ("fees.paper.maker_micros_per_lot=-2000", "fees.paper.taker_micros_per_lot=3000", "fees.paper.sell_ppb=27800")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=40_000)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ReplayOptions:
    return ReplayOptions(config_path=busy_config_file(tmp_path_factory.mktemp("config")))


def run(
    day: Path, options: ReplayOptions, *settings: str, base: Path | None = None, out: Path | None = None
) -> Outcome:
    chosen = dataclasses.replace(options, settings=settings, out=out)
    return backtest(day, chosen, base=base, bar=lambda name: nullcontext(None), html=out is not None)


@pytest.fixture(scope="module")
def base(day: Path, options: ReplayOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is kept, with fees and digests of the state."""
    folder = tmp_path_factory.mktemp("base")
    run(day, dataclasses.replace(options, states_every=10_000), *FEES, out=folder)
    return folder


def test_money_adds_up_to_the_micro(base: Path) -> None:
    report = report_of(load_run(base))
    money = report.money
    assert report.orders["fills"] >= 10 and money.fees, "enough happened"
    assert money.realised + money.unrealised - money.fees == money.net
    assert report.equity[-1][1] == money.net, "the curve ends where the ledger does"
    assert sum(trade.net for trade in report.trades) == money.net, "round trips are all there is"
    assert sum(row.net for row in report.instruments) == money.net
    assert report.maker_fills + report.taker_fills == report.orders["fills"]
    assert report.drawdown >= max(0, -min(micros for _, micros in report.equity))


def test_same_settings_give_the_same_run_and_the_same_states(day: Path, options: ReplayOptions, base: Path) -> None:
    again = run(day, dataclasses.replace(options, states_every=10_000), *FEES, base=base)
    assert again.comparison is not None and again.comparison.equal
    assert again.comparison.first_state_apart is None and again.comparison.settings == []
    assert again.report.states == load_run(base).states and len(again.report.states) == 4
    assert len({digest for _, digest in again.report.states}) == 4


def test_batches_do_not_change_orders(day: Path, options: ReplayOptions, base: Path) -> None:
    """The order log is what a plain replay of the same settings gives."""
    again = run(day, options, *FEES)
    assert again.report.order_log_sha256 == load_run(base).order_log_sha256


def test_tighter_limit_removes_orders_and_says_which_limit(day: Path, options: ReplayOptions, base: Path) -> None:
    outcome = run(day, options, *FEES, "limits.open_orders_max=3", base=base)
    comparison = outcome.comparison
    assert comparison is not None and comparison.settings == ["risk.open_orders_max: 500 → 3"]
    assert comparison.removed > 0 and comparison.reasons["open_orders"] > 0
    first = comparison.differences[0]
    assert (first.kind, first.limit, first.reason) == ("removed", "open_orders", "refused: open orders")
    assert first.base is not None and first.base.order_id > 0
    counted = comparison.same + comparison.removed + comparison.changed
    assert counted == comparison.orders_base
    assert comparison.same + comparison.added + comparison.changed == comparison.orders_other


def test_higher_threshold_is_the_reason_by_its_score(day: Path, options: ReplayOptions, base: Path) -> None:
    comparison = run(day, options, *FEES, "signal.threshold=0.4", base=base).comparison
    assert comparison is not None
    first = comparison.differences[0]
    assert first.kind == "removed" and first.reason.startswith("threshold: |score| ") and "below 0.4" in first.reason


def test_fill_models_bound_each_other(day: Path, options: ReplayOptions) -> None:
    fills = {}
    for model in ("front", "queue", "through"):
        outcome = run(day, options, f"gateway.paper.fills={model}")
        assert outcome.report.venue.fills == model
        fills[model] = sum(row.bought_lots + row.sold_lots for row in outcome.report.instruments)
    assert fills["front"] > fills["queue"] > fills["through"]


def test_market_of_a_journal_is_run_again_under_other_limits(traded: Path) -> None:
    options = ReplayOptions()
    outcome = run(traded, options, "limits.order_quantity_lots_max=0")
    comparison = outcome.comparison
    assert comparison is not None and comparison.orders_base > 0
    assert outcome.report.orders["new"] == 0 and set(outcome.report.refused) == {"quantity"}
    assert all(each.kind == "removed" for each in comparison.differences)
    recorded = load_run(traded)
    assert len(recorded.events["cmd"]) and report_of(recorded).orders["fills"] >= 3


def test_replay_ends_in_the_state_in_which_the_run_ended(traded: Path, tmp_path: Path) -> None:
    """I8: books, features, working orders, positions and exposure of the live stages, made again from the journal."""
    replayed = replay_recording(traded)
    assert set(replayed.states) == {"feed", "signal", "risk"} and replayed.same, replayed.states
    copy = tmp_path / "copy"
    shutil.copytree(traded, copy)
    states = kept_states(copy)
    keep_states(states | {"risk": "0" * 16}, copy)
    assert not replay_recording(copy).same


def test_runs_over_other_markets_are_not_compared(
    day: Path, options: ReplayOptions, traded: Path, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError, match="not the same market"):
        run(day, options, base=traded)
    with pytest.raises(CaptureError, match="neither a replay nor a journal"):
        run(day, options, base=tmp_path)


def test_page_and_figures_are_written(base: Path) -> None:
    page = (base / "backtest.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "<script" not in page and "Equity and drawdown" in page
    document = json.loads((base / "backtest.json").read_text())
    assert document["report"]["money"]["net"] == document["report"]["equity"][-1][1]


def test_command_line_compares_with_what_was_before(day: Path, options: ReplayOptions) -> None:
    command = [sys.executable, "-m", "hotpath", "replay", str(day), "--config", str(options.config_path), "--json"]
    done = subprocess.run(
        [*command, "--set", "limits.collar_ppm_max=0"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    document = msgspec.json.decode(done.stdout)
    assert document["comparison"]["settings"] == ["risk.defaults.collar_ppm_max: 20000 → 0"]
    wrong = subprocess.run(
        [*command, "--set", "limits.coller_ppm_max=0"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert wrong.returncode == 78 and "did you mean risk.defaults.collar_ppm_max?" in wrong.stderr


def test_comparison_of_a_run_with_itself_is_empty(base: Path) -> None:
    kept = load_run(base)
    assert compare_runs(kept, kept).equal
