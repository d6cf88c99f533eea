"""Models on the live path: swapped under load, each event scored by one generation, replayed and rebuilt."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotlab.compose import compute_made
from hotlab.features import FEATURE_NAMES, FeatureConfig
from hotlab.kernel import compute_day
from hotlab.sampling import sample_rows
from hotpath.config import Config, WeightsConfig
from hotpath.explain.tell import explain_order
from hotpath.journal import Journal
from hotpath.models.compile import compile_model
from hotpath.models.desk import ModelDesk
from hotpath.models.executor import NativeModel
from hotpath.models.image import compile_version, make_image, read_version
from hotpath.models.page import ROLES
from hotpath.recordings import replay_recording
from hotpath.registry.composition import kernel_hash
from hotpath.registry.manifest import MANIFEST_FILE, MadeFeature, Sampling, version_of
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.live_models import COLUMNS, broken_log, forest, manifest_of, net, write_version
from tests.support.synthetic import write_synthetic_day

MESSAGES = 60_000
MASK = lib.MODEL_GENERATION_MASK
WHO: dict[str, Any] = {"who": "test", "why": "a test"}


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
    mlp, trees = images(tmp_path, config, desk.symbols)
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


def offline(onnx: bytes, config: Config, made: list[MadeFeature], columns: list[str], events: Any, count: int) -> Any:
    """Rows at which a model is asked, and its scores, with what a researcher has: hotlab and the executor."""
    windows = FeatureConfig(**msgspec.structs.asdict(config.signal.features))
    values, _ = compute_day(events, windows, instruments=count)
    rows = sample_rows(events, Sampling(), instruments=count)
    found = {name: values[rows, index] for index, name in enumerate(FEATURE_NAMES)}
    found |= compute_made(values[rows], events["header"]["instrument"][rows], made)
    inputs = np.stack([found[name] for name in columns], axis=1)
    rows, inputs = rows[~np.isnan(inputs).any(axis=1)], inputs[~np.isnan(inputs).any(axis=1)]
    model = NativeModel(compile_model(onnx).blob)
    outputs = np.array([model.run(row.astype(np.float32))[0] for row in inputs], np.float64)
    return rows, np.clip((outputs - 0.5) * 2.0, -1, 1)


def test_live_decisions_are_the_researchers_offline_ones_bit_for_bit(day: Path, tmp_path: Path, engine: str) -> None:
    config = model_config(tmp_path, engine, day)
    made = [MadeFeature(name="slow", op="average", of=["imbalance_top"], p=5.0)]
    columns, onnx = [*COLUMNS, "slow"], net(3, inputs=5)
    version = write_version(tmp_path, onnx, config, "mlp", columns=columns, made=made)
    config = msgspec.structs.replace(config, models=msgspec.structs.replace(config.models, load=str(version)))
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("gateway", "frames_out") >= 10, "orders")
        symbols = ModelDesk(engine, state_dir=tmp_path).symbols
        ended(process)
    finally:
        process.close()
    journal = Journal(tmp_path / "recording")
    decisions = journal.events("decision")
    live = decisions[decisions["status"] == lib.DECISION_SCORED]
    events = np.ascontiguousarray(journal.events("norm"))
    rows, scores = offline(onnx, config, made, columns, events, len(symbols))
    seen = int(decisions["header"]["cause_sequence"][-1])
    assert len(live) > 100 and (rows[rows <= seen] == live["header"]["cause_sequence"]).all()
    assert (scores[: len(live)].view(np.uint64) == live["score"].view(np.uint64)).all()
    wishes = np.abs(live["score"]) >= 0.2  # the policy of the manifest
    assert (live["wishes"] == wishes).all() and (live["acts"] == 1).all()
    assert (live["target_lots"][wishes] == np.where(live["score"][wishes] > 0, 300, -300)).all()
    story = explain_order(tmp_path / "recording", int(journal.events("cmd")["order_id"][5]))
    assert story.sound, [check for check in story.checks if not check.holds]
    (model,) = story.models
    assert (model.role, model.name, model.generation, model.acts) == ("champion", "mlp", 1, True)
    assert model.kernels == kernel_hash() and model.version.startswith(
        version_of((version / MANIFEST_FILE).read_bytes())
    )


def test_signal_killed_with_a_model_goes_on_as_if_it_had_not(running: EngineProcess, tmp_path: Path) -> None:
    desk = ModelDesk(running.name, state_dir=tmp_path)
    mlp, trees = images(tmp_path, running.config, desk.symbols)
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


def test_model_that_fails_gives_way_and_the_replay_knows_when(day: Path, tmp_path: Path, engine: str) -> None:
    config = model_config(tmp_path, engine, day, drift_every=1, drift_evaluations=100)
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("signal", "evaluations") >= 20, "evaluations")
        desk = ModelDesk(engine, state_dir=tmp_path)

        def image(name: str, onnx: bytes, reference: np.ndarray | None = None, **guard: int) -> bytes:
            changed = msgspec.structs.replace(config, models=msgspec.structs.replace(config.models, **guard))
            manifest = manifest_of(onnx, changed, name)
            blob = compile_version(manifest, onnx)
            return make_image(manifest, blob, changed, desk.symbols, version="0" * 32, reference=reference)

        def failed(role: int) -> str:
            roles = [each.failed for each in desk.status().roles if each.role == ROLES[role]]
            return roles[0] if roles else ""

        good = image("good", net(1))
        desk.load(good, **WHO)
        desk.load(image("log", broken_log()), **WHO)
        until(lambda: failed(0) == "nan", "a model without numbers")
        until(lambda: "(nan)" in process.errors(), "the notice of it")
        runs = desk.status().roles[1].runs
        until(lambda: desk.status().roles[1].runs > runs + 20, "the fallback in its place")
        desk.load(image("slow", net(2), latency_budget_ns=1), keep_previous=False, **WHO)
        until(lambda: failed(0) == "latency", "a model that takes longer than it may")
        stood = desk.status().roles[0].runs
        until(lambda: "(latency)" in process.errors(), "the notice of it")
        desk.load(good, **WHO)
        assert failed(0) == "" and stood <= 20  # a new generation is judged anew; the old one was asked no more
        elsewhere = np.random.default_rng(1).normal(50, 1, size=(1000, len(COLUMNS) + 1))
        desk.shadow(image("drifted", net(4), elsewhere), **WHO)
        until(lambda: failed(1) == "drift", "inputs that are not those of the reference")
        assert failed(0) == ""
        ended(process)
    finally:
        process.close()
    said = " ".join(process.report()["notices"])
    assert "log" in said and "(nan)" in said and "(latency)" in said and "has drifted" in said, said
    turns = Journal(tmp_path / "recording").events("signal.ctl")
    bits = np.unique(turns["model_generation"] >> lib.MODEL_TRIP_SHIFT).tolist()
    assert bits == [0, 1, 2]
    assert replay_recording(tmp_path / "recording").same
