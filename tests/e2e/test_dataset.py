"""From recordings to datasets: what the path saw is what research sees, to the bit; what is not whole is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotlab.dataset import Dataset
from hotlab.errors import DatasetError, GapError, SourceError
from hotlab.features import FEATURE_NAMES, FeatureConfig, reference
from hotlab.ingest import IngestOptions, ingest
from hotlab.kernel import compute_day, compute_features
from hotlab.making import label_record, make_features, make_label
from hotlab.strategies import COMPONENT_NAMES, StrategyConfig
from hotpath.generated import write_generated_day
from hotpath.journal import Journal
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until

CONFIG = FeatureConfig(
    bar_ns=200_000_000, bar_trades=0, sample_every=2, ema_fast=4, ema_slow=16, zscore_window=16, flow_window=8,
    sma_fast=3, sma_slow=7, rsi_period=5, macd_fast=4, macd_slow=9, macd_signal=3, atr_period=5, volatility_bars=8,
)  # fmt: skip
QUIET = IngestOptions()


def silent(_what: str, _done: int, _all: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generated_day(tmp_path_factory.mktemp("day") / "made-20240105.itch", messages=20_000, instruments=3)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of an engine that traded on paper."""
    folder = tmp_path_factory.mktemp("recorded")
    day = write_generated_day(folder / "day.itch", messages=60_000)
    config = msgspec.structs.replace(
        busy_config(engine={"name": f"t{os.getpid()}-dataset", "topology": "paired", "state_dir": str(folder)}),
        feed=file_feed(day, pace="rate", rate_per_second=20_000),
    )
    process = EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))
    try:
        until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
        process.signal()
        assert process.wait() == 0
    finally:
        process.close()
    return folder / "recording"


def test_a_capture_is_the_market_that_a_replay_sees(day: Path, tmp_path: Path) -> None:
    first = ingest([day], tmp_path / "first", QUIET)
    again = ingest([day], tmp_path / "again", QUIET)
    assert first.identity == again.identity, "one capture, one dataset, byte for byte"
    assert first.about.symbols == Dataset(tmp_path / "first").about.symbols
    assert first.rows(0) >= 20_000 and not first.about.sources[0].gaps
    with pytest.raises(DatasetError, match="holds a dataset already"):
        ingest([day], tmp_path / "first", QUIET)
    assert first.verify() == []
    (tmp_path / "first" / "events" / "000000.parquet").write_bytes(b"")
    assert first.verify() == ["events/000000.parquet: was changed"]


def test_features_of_a_journal_gave_the_recorded_scores_bit_for_bit(recording: Path, tmp_path: Path) -> None:
    """Each intent carries the ensemble's score: research must come to the same from the same events."""
    from hotlab.kernel import compute_scores

    journal = Journal(recording)
    signal = journal.run.config.signal
    config = FeatureConfig(**msgspec.to_builtins(signal.features))
    dataset = ingest([recording], tmp_path / "set", QUIET)
    events, sequences = dataset.numbered(0)
    make_features(dataset, config, silent)
    columns = dataset.features(0)
    values = np.column_stack([columns[name] for name in FEATURE_NAMES])
    computed, ready = compute_day(events, config, instruments=len(dataset.about.instruments))
    assert values.tobytes() == computed.tobytes(), "a file keeps every bit"
    weights = msgspec.structs.asdict(signal.weights)
    strategy = StrategyConfig(
        weight=tuple(weights.get(name, 0.0) for name in COMPONENT_NAMES),
        threshold=signal.threshold,
        **msgspec.structs.asdict(signal.scales),
    )
    scores, _ = compute_scores(values, ready, strategy)
    intents = journal.events("signal")
    caused = intents[(intents["header"]["cause_input"] == lib.INPUT_NORM) & (intents["strategy"] == 1)]
    assert len(caused) >= 20
    rows = np.searchsorted(sequences, caused["header"]["cause_sequence"])
    assert scores[rows].tobytes() == np.ascontiguousarray(caused["score"]).tobytes()


def test_instruments_of_a_day_have_states_of_their_own_and_the_reference_agrees(day: Path, tmp_path: Path) -> None:
    dataset = ingest([day], tmp_path / "set", QUIET)
    events = dataset.events(0)
    values, ready = compute_day(events, CONFIG, instruments=3)
    for instrument in range(3):
        own = events["header"]["instrument"] == instrument
        alone, alone_ready = compute_features(events[own], CONFIG)
        assert values[own].tobytes() == alone.tobytes() and (ready[own] == alone_ready).all()
        for index, column in enumerate(reference(events[own], CONFIG).values()):
            np.testing.assert_allclose(alone[:, index], column, rtol=1e-9, atol=1e-6, equal_nan=True)
    halves, _ = compute_day(events, CONFIG, instruments=3, resets=[9000])
    np.testing.assert_array_equal(halves[9000:], compute_day(events[9000:], CONFIG, instruments=3)[0])


def test_labels_are_added_one_by_one(day: Path, tmp_path: Path) -> None:
    dataset = ingest([day], tmp_path / "set", QUIET)
    with pytest.raises(DatasetError, match="no label 'move'"):
        dataset.label(0, "move")
    assert make_label(dataset, label_record("fixed_horizon", {"horizon_ns": 10**7}, "move"), silent) > 1000
    first = dataset.label(0, "move")
    barrier = {"horizon_ns": 10**8, "up_ticks": 100.0, "down_ticks": 100.0}
    make_label(dataset, label_record("triple_barrier", barrier, "barrier"), silent)
    again = Dataset(dataset.folder)
    assert [each.name for each in again.about.labels] == ["move", "barrier"]
    np.testing.assert_array_equal(again.label(0, "move")[0], first[0])
    assert set(np.unique(again.label(0, "barrier")[0])[:3]) == {-1.0, 0.0, 1.0}


def test_symbols_can_be_chosen_and_sources_share_one_table(day: Path, tmp_path: Path) -> None:
    whole = ingest([day], tmp_path / "whole", QUIET)
    chosen = whole.about.symbols[2], whole.about.symbols[0]
    two = ingest([day, day], tmp_path / "two", IngestOptions(symbols=chosen))
    assert set(two.about.symbols) == set(chosen) and two.parts == 2
    for part in range(2):
        indexes = two.events(part)["header"]["instrument"]
        counts = {symbol: int((indexes == at).sum()) for at, symbol in enumerate(two.about.symbols)}
        everything = whole.events(0)["header"]["instrument"]
        assert counts == {each: int((everything == whole.about.symbols.index(each)).sum()) for each in chosen}
    with pytest.raises(SourceError, match="has no NONE"):
        ingest([day], tmp_path / "none", IngestOptions(symbols=("NONE",)))


def test_a_journal_that_was_cut_off_is_refused_or_its_gap_recorded(recording: Path, tmp_path: Path) -> None:
    cut = shutil.copytree(recording, tmp_path / "cut")
    (cut / "end.json").unlink()
    with pytest.raises(GapError, match="the run was cut off"):
        ingest([cut], tmp_path / "set", QUIET)
    assert not (tmp_path / "set").exists()
    dataset = ingest([cut], tmp_path / "set", IngestOptions(allow_gaps=True))
    assert "cut off" in dataset.about.sources[0].gaps[-1].what


def test_a_real_morning_becomes_a_dataset(shared_data: Path, tmp_path: Path) -> None:
    dataset = ingest([shared_data / "itch_aapl_20200130" / "locate-13-10k.bin"], tmp_path / "set", QUIET)
    assert dataset.about.symbols == ["AAPL"]
    make_features(dataset, CONFIG, silent)
    np.testing.assert_allclose(
        dataset.features(0, ["mid"])["mid"], reference(dataset.events(0), CONFIG)["mid"], equal_nan=True
    )


# ---- tables of one's own -------------------------------------------------------------------------------

HEAD = "n,t,bid,ask,bid_size,ask_size,px,qty,side\n"
ROWS = ["1,100,10.01,10.02,5,7,,,", "2,200,10.01,10.03,5,4,10.02,3,buy", "3,200,10.02,10.03,6,4,,,"]
COLUMNS = {
    "sequence": "n", "time_ns": "t", "bid_price": "bid", "ask_price": "ask", "bid_quantity": "bid_size",
    "ask_quantity": "ask_size", "trade_price": "px", "trade_quantity": "qty", "aggressor": "side",
}  # fmt: skip


def table(folder: Path, rows: list[str]) -> Path:
    path = folder / "mine.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return path


def test_a_table_becomes_quotes_and_trades(tmp_path: Path) -> None:
    options = IngestOptions(columns=COLUMNS, tick="0.01")
    dataset = ingest([table(tmp_path, ROWS)], tmp_path / "set", options)
    events, numbers = dataset.numbered(0)
    assert dataset.about.symbols == ["MINE"] and numbers.tolist() == [1, 2, 3]
    assert events["bid_price_ticks"].tolist() == [1001, 1001, 1002]
    assert events["header"]["type"].tolist() == [lib.NORM_ADD, lib.NORM_EXECUTE, lib.NORM_ADD]
    assert events["price_ticks"][1] == 1002 and events["header"]["flags"][1] & lib.FLAG_SELL
    values, _ = compute_day(events, CONFIG, instruments=1)
    assert values[0, 0] == 1001.5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROWS[0], "3,200,10.01,10.03,5,4,,,"], "1 rows are missing"),
        ([ROWS[1], "3,100,10.01,10.03,5,4,,,"], "time_ns falls"),
        (["1,100,10.015,10.02,5,7,,,"], "no whole number of ticks"),
        (["1,100,10.01,10.02,5.5,7,,,"], "no whole number"),
        (["1,100,10.01,,5,7,,,", ROWS[1]], "empty cells"),
        ([ROWS[1], "1,300,10.01,10.03,5,4,,,"], "sequence does not rise"),
        (["1,100,10.01,10.02,5,7,10.011,3,buy"], "a trade's price"),
    ],
)
def test_a_table_that_is_not_whole_is_refused_with_its_row(rows: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words):
        ingest([table(tmp_path, rows)], tmp_path / "set", IngestOptions(columns=COLUMNS, tick="0.01"))


def test_a_table_without_numbers_cannot_show_that_it_is_whole(tmp_path: Path) -> None:
    columns = {name: theirs for name, theirs in COLUMNS.items() if name != "sequence"}
    path = table(tmp_path, ROWS)
    with pytest.raises(GapError, match="bear no numbers"):
        ingest([path], tmp_path / "set", IngestOptions(columns=columns, tick="0.01"))
    with pytest.raises(SourceError, match="no column 'time_ns'"):
        ingest([path], tmp_path / "set", IngestOptions(tick="0.01"))
