"""From the registry to what the path runs: the same inputs as in training, the same scores, to the bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ffi import ffi, lib
from hotlab import evaluation, publishing, sampling, training
from hotlab.dataset import Dataset
from hotlab.features import FeatureConfig
from hotlab.ingest import IngestOptions, ingest
from hotlab.kernel import compute_day
from hotlab.made import made_features
from hotlab.making import feature_config, label_record, make_features, make_label
from hotpath.generated import write_generated_day
from hotpath.models.executor import NativeModel
from hotpath.registry.deploy import Deployment, deployment
from hotpath.registry.errors import RegistryError
from hotpath.registry.log import Identity
from hotpath.registry.manifest import BLOB_FILE, Policy
from hotpath.registry.process import Registrar
from hotpath.registry.store import Registry
from tests.support.candidates import ROOMY


def silent(_what: str, _done: int, _all: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, Dataset, Path]:
    """A day, a logistic model of three made and two plain features, evaluated, published, admitted."""
    folder = tmp_path_factory.mktemp("lab")
    day = write_generated_day(folder / "day.itch", messages=12_000, instruments=2, live_orders=200)
    dataset = ingest([day], folder / "set", IngestOptions())
    make_features(dataset, feature_config(None, {"bar_ns": "200000000"}), silent)
    make_label(dataset, label_record("fixed_horizon", {"horizon_ns": 100_000_000.0}, "move"), silent)
    made = made_features(["lean=product:imbalance_top,spread", "before=lag:lean,p=3", "smooth=average:lean,p=5"])
    columns = ["smooth", "imbalance_top", "before", "spread", "lean"]
    training.train(dataset, training.TrainSpec("logistic", "move", columns, made=made), folder / "run")
    evaluation.evaluate(folder / "run", folds=2, embargo_ns=0, threshold=0.3, progress=silent)
    registry = Registry.create(folder / "registry")
    publishing.publish(folder / "run", registry, publishing.PublishSpec("lean", Policy()))
    assert Registrar(registry, ROOMY).look(settled_seconds=0) == 1
    registry.set_alias("lean", "champion", registry.versions("lean")[0], Identity("ann"), reason="the first")
    return registry, dataset, folder / "run"


def live_inputs(found: Deployment, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The model's inputs at each sample as the path makes them: event by event, one state an instrument."""
    events = dataset.events(0)
    count = len(dataset.about.instruments)
    config = FeatureConfig(**found.manifest.features.config)
    values, _ = compute_day(events, config, instruments=count)
    states = [ffi.new("compose_state *") for _ in range(count)]
    for state in states:
        lib.compose_init(state)
    rows = sampling.sample_rows(events, found.manifest.sampling, instruments=count)
    width = lib.FEATURES_MAX + found.program.count
    value = np.empty(width)
    inputs = np.empty((len(rows), len(found.columns)), np.float32)
    for place, row in enumerate(rows.tolist()):
        value[: lib.FEATURES_MAX] = values[row]
        state = states[int(events["header"]["instrument"][row])]
        lib.compose_run(found.program, state, ffi.from_buffer("double[]", value, require_writable=True))
        inputs[place] = found.gather(value)
    return inputs, rows


def test_the_path_sees_the_inputs_that_were_learned_and_gives_the_scores_that_were_tested(
    published: tuple[Registry, Dataset, Path],
) -> None:
    registry, dataset, run_folder = published
    found = deployment(registry, "lean", "champion")
    inputs, _ = live_inputs(found, dataset)
    run = training.read_run(run_folder)
    matrix = training.matrix_of(dataset, run.spec)
    known = inputs[~np.isnan(inputs).any(axis=1)]
    assert known[: len(matrix.inputs)].tobytes() == matrix.inputs.tobytes()
    model = NativeModel(found.blob)
    session = training.open_session(found.onnx.read_bytes())
    name = session.get_inputs()[0].name
    for row in known[::50]:
        outputs = model.run(row)
        runtime = session.run(None, {name: row[None]})[0].reshape(-1)
        assert abs(found.score(outputs) - found.score(runtime)) < 1e-5
        assert -1 <= found.score(outputs) <= 1
    assert found.score(np.array([np.nan], np.float32)) == 0.0


def test_a_version_that_was_changed_is_not_deployed(published: tuple[Registry, Dataset, Path]) -> None:
    registry, _, _ = published
    blob = registry.version_folder("lean", "champion") / BLOB_FILE
    before = blob.read_bytes()
    os.chmod(blob, 0o644)
    try:
        blob.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(RegistryError, match="was changed after it was admitted"):
            deployment(registry, "lean", "champion")
    finally:
        blob.write_bytes(before)
    assert deployment(registry, "lean", "champion").blob == before
