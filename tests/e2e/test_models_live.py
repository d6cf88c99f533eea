"""Models on the live path: swapped under load, each event scored by one generation, replayed and rebuilt."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi import ffi, lib
from hotpath.config import Config, WeightsConfig
from hotpath.journal import Journal
from hotpath.models.desk import ModelDesk
from hotpath.models.image import aligned_copy, read_version
from hotpath.recordings import replay_recording
from hotpath.registry.manifest import MadeFeature, Sampling
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.live_models import COLUMNS, forest, net, write_version
from tests.support.synthetic import write_synthetic_day

MESSAGES = 60_000
MASK = lib.MODEL_GENERATION_MASK
WHO = {"who": "test", "why": "a test"}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=MESSAGES)


def model_config(folder: Path, name: str, day: Path, *, rate: int = 4000, **models: object) -> Config:
    """An engine that trades by its model alone."""
    weights = WeightsConfig(microprice=0.0, momentum=0.0, reversion=0.0, model=1.0)
    config = busy_config(
        engine={"name": name, "topology": "paired", "state_dir": str(folder)},
        signal={"weights": weights},
        models={"enabled": True, "room_mib": 4, **models},
    )
    return msgspec.structs.replace(config, feed=file_feed(day, pace="rate", rate_per_second=rate))


@pytest.fixture
def running(day: Path, tmp_path: Path, engine: str) -> Iterator[EngineProcess]:
    config = model_config(tmp_path, engine, day)
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("signal", "evaluations") >= 20, "evaluations")
        yield process
    finally:
        process.close()


def symbols_of(desk: ModelDesk, folder: Path) -> list[str]:
    from ffi.dtypes import dtype_of
    from hotpath import segments

    table = segments.attach(desk.engine, "instruments", lib.SEGMENT_INSTRUMENTS)
    names = table.view(dtype_of("instrument_entry"), count=table.info.capacity)["symbol"]
    return [bytes(each).rstrip(b"\0").decode() for each in names]


def images(folder: Path, config: Config, symbols: list[str]) -> tuple[bytes, bytes]:
    """Two of different families."""
    mlp = write_version(folder, net(1), config, "mlp")
    made = [MadeFeature(name="before", op="lag", of=["imbalance_top"], p=2.0)]
    trees = write_version(
        folder, forest(2), config, "trees", columns=[*COLUMNS[:3], "before"], made=made,
        sampling=Sampling(trigger="every_n", every=2), output="variable",
    )  # fmt: skip
    return read_version(mlp, config, symbols), read_version(trees, config, symbols)


def ended(process: EngineProcess) -> None:
    process.signal()
    assert process.wait() == 0, process.errors()


def test_models_swap_under_load_and_every_event_is_scored_once(running: EngineProcess, tmp_path: Path) -> None:
    config = running.config
    desk = ModelDesk(running.name, state_dir=tmp_path)
    symbols = symbols_of(desk, tmp_path)
    mlp, trees = images(tmp_path, config, symbols)
    assert desk.load(mlp, **WHO).is_taken
    until(lambda: running.count("gateway", "frames_out") >= 5, "orders of a model")
    for index in range(20):
        assert desk.load((trees, mlp)[index % 2], **WHO).is_taken
    desk.shadow(trees, **WHO)
    until(lambda: desk.status().roles[1].compared >= 20, "decisions of both")
    desk.canary(0.5, by="instruments", **WHO)
    desk.canary(0.5, by="size", **WHO)
    desk.promote(**WHO)
    until(lambda: desk.status().roles[0].runs >= 20, "decisions of the new champion")
    assert desk.rollback(**WHO).champion.startswith("mlp")
    until(lambda: desk.status().roles[0].runs >= 20, "decisions of the old one")
    ended(running)
    journal = Journal(tmp_path / "recording")
    decisions, turns = journal.events("decision"), journal.events("signal.ctl")
    assert not journal.lost("norm") and not journal.lost("decision")
    champion = decisions[decisions["role"] == lib.MODEL_CHAMPION]
    causes = champion["header"]["cause_sequence"]
    assert len(np.unique(causes)) == len(causes) > 100  # no event was scored by two champions
    turn = np.searchsorted(turns["input_sequence"][:, 0], causes, side="right")
    assert (turns["model_generation"][turn] == champion["generation"]).all()  # but by that of its turn
    assert set(np.unique(champion["generation"] & MASK)) <= set(range(1, 27))
    assert (np.diff(turns["model_generation"].astype(np.int64)) >= 0).all()
    again = replay_recording(tmp_path / "recording")
    assert again.same and again.orders_replayed >= 5, again


def offline(image: bytes, journal: Journal, instruments: int) -> tuple[np.ndarray, np.ndarray]:
    """Norm sequences at which a model is asked, and its scores, by the kernels over the whole recording."""
    copy = aligned_copy(image)
    model = ffi.new("scorer_model *")
    assert lib.scorer_load(model, ffi.from_buffer(copy), len(image)) == lib.SCORER_OK
    counts = (model.native.scratch_count, model.native.input_count, model.native.output_count)
    owners = [np.zeros(int(count) + 16, np.float32) for count in counts]
    pointers = [ffi.from_buffer("float[]", each) for each in owners]
    lib.model_bind(ffi.addressof(model, "native"), pointers[0])
    model.inputs, model.outputs = pointers[1], pointers[2]
    state = np.zeros(int(model.stride) * instruments, np.uint8)
    model.state = ffi.from_buffer("uint8_t[]", state)
    lib.scorer_reset(model, instruments)
    features = ffi.new("feature_state[]", instruments)
    for index in range(instruments):
        lib.feature_init(features + index)
    events = np.ascontiguousarray(journal.events("norm"))
    rows, answers = np.zeros(len(events), np.uint64), ffi.new("scorer_answer[]", len(events))
    at, row_at = ffi.from_buffer("norm_event[]", events), ffi.from_buffer("uint64_t[]", rows)
    count = lib.scorer_batch(model, features, instruments, at, len(events), row_at, answers)
    return rows[:count], np.array([answers[index].score for index in range(count)])


def test_live_decisions_are_the_offline_ones_bit_for_bit(day: Path, tmp_path: Path, engine: str) -> None:
    config = model_config(tmp_path, engine, day)
    made = [MadeFeature(name="slow", op="average", of=["imbalance_top"], p=5.0)]
    version = write_version(tmp_path, net(3, inputs=5), config, "mlp", columns=[*COLUMNS, "slow"], made=made)
    config = msgspec.structs.replace(config, models=msgspec.structs.replace(config.models, load=str(version)))
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("gateway", "frames_out") >= 10, "orders")
        symbols = symbols_of(ModelDesk(engine, state_dir=tmp_path), tmp_path)
        ended(process)
    finally:
        process.close()
    journal = Journal(tmp_path / "recording")
    live = journal.events("decision")
    rows, scores = offline(read_version(version, config, symbols), journal, len(symbols))
    seen = int(live["header"]["cause_sequence"][-1])
    assert len(live) > 100 and (rows[rows <= seen] == live["header"]["cause_sequence"]).all()
    assert (scores[: len(live)].view(np.uint64) == live["score"].view(np.uint64)).all()


def test_signal_killed_with_a_model_goes_on_as_if_it_had_not(running: EngineProcess, tmp_path: Path) -> None:
    desk = ModelDesk(running.name, state_dir=tmp_path)
    mlp, trees = images(tmp_path, running.config, symbols_of(desk, tmp_path))
    desk.load(mlp, **WHO)
    desk.shadow(trees, **WHO)
    until(lambda: running.count("gateway", "frames_out") >= 5, "orders of a model")
    before = running.count("signal", "model_runs")
    dead = running.pid_of("signal")
    os.kill(dead, signal.SIGKILL)
    until(lambda: running.pid_of("signal") not in (0, dead), "its successor")
    until(lambda: running.count("signal", "model_runs") > before + 20, "what the successor is asked")
    assert desk.load(trees, **WHO).is_taken
    until(lambda: desk.status().roles[0].runs >= 20, "decisions of the next")
    ended(running)
    again = replay_recording(tmp_path / "recording")
    assert again.same and again.orders_replayed >= 5, again
