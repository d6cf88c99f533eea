"""Exports of the libraries that people train with: native against ONNX Runtime, and each path against the others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hotpath.models.compile import compile_model
from hotpath.models.executor import NativeModel

pytest.importorskip("skl2onnx", reason="skl2onnx is missing: pip install -e '.[dev]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is missing")

from tests.support.model_families import FAMILIES, TREES
from tests.support.model_parity import bits, paths, reference, session_of

SEEDS = int(os.environ.get("HOTPATH_MODEL_SEEDS", "2"))
ABSOLUTE, RELATIVE = 1e-5, 1e-5
TORCH = sorted((Path(__file__).parents[1] / "data" / "models").glob("*.onnx"))


def assert_parity(data: bytes, rows: list[np.ndarray]) -> None:
    """On every row of inputs, each shaped as the file wants it."""
    blob = compile_model(data).blob
    models = [NativeModel(blob, path=path) for path in paths()]
    session = session_of(data)
    for row in rows:
        first, *others = (model.run(row) for model in models)
        np.testing.assert_allclose(first, reference(session, row), rtol=RELATIVE, atol=ABSOLUTE)
        for other in others:
            assert bits(other) == bits(first)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_trained_models_agree_and_paths_are_equal_bit_by_bit(family: str, seed: int) -> None:
    exported = FAMILIES[family](seed)
    assert_parity(exported.onnx, [row[None] for row in exported.rows[:40]])


@pytest.mark.parametrize("family", TREES)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_trained_trees_agree_on_nan_infinity_and_their_own_thresholds(family: str, seed: int) -> None:
    exported = TREES[family](seed)
    random = np.random.default_rng(seed)
    rows = exported.rows[:60].copy()
    rows[20:][random.random(rows[20:].shape) < 0.1] = np.nan
    rows[40:][random.random(rows[40:].shape) < 0.1] = np.inf
    rows[40:][random.random(rows[40:].shape) < 0.1] = -np.inf
    assert_parity(exported.onnx, [row[None] for row in rows])


@pytest.mark.parametrize("path", [path for path in TORCH if "step" not in path.stem], ids=lambda path: path.stem)
def test_torch_exports_agree(path: Path) -> None:
    data = path.read_bytes()
    shape = tuple(session_of(data).get_inputs()[0].shape)
    random = np.random.default_rng(1)
    assert_parity(data, [random.normal(size=shape).astype(np.float32) * 2 for _ in range(10)])


@pytest.mark.parametrize("path", [path for path in TORCH if "step" in path.stem], ids=lambda path: path.stem)
def test_carried_state_is_what_onnxruntime_is_given_back(path: Path) -> None:
    """200 steps: state from event to event here, from output to input there; then forgotten, and carried to another."""
    data = path.read_bytes()
    compiled = compile_model(data, state={"h": "h_next"})
    assert [port.name for port in compiled.outputs] == ["y"] and compiled.states[0].count == 11
    models = [NativeModel(compiled.blob, path=path) for path in paths()]
    session = session_of(data)
    hidden = np.zeros((1, 1, 11), np.float32)
    random = np.random.default_rng(2)
    for step in range(200):
        x = random.normal(size=(1, 1, 5)).astype(np.float32)
        y, hidden = session.run(["y", "h_next"], {"x": x, "h": hidden})
        first, *others = (model.run(x) for model in models)
        np.testing.assert_allclose(first, y.reshape(-1), rtol=RELATIVE, atol=ABSOLUTE)
        assert all(bits(other) == bits(first) for other in others), step
    carried = NativeModel(compiled.blob)
    carried.state[:] = models[0].state
    assert bits(carried.run(x)) == bits(models[0].run(x))
    models[0].reset()
    assert bits(models[0].run(x)) == bits(NativeModel(compiled.blob).run(x))


@pytest.mark.parametrize("exporter", ["", "-dynamo"])
def test_last_step_computes_no_more_than_its_receptive_field(exporter: str) -> None:
    """Two convolutions of 3 taps, the second dilated by 2: 7 steps, however long the window."""
    short, long = (
        next(path for path in TORCH if path.stem == f"torch-causal-convolutions{length}{exporter}").read_bytes()
        for length in ("", "-64")
    )
    channels = [session_of(data).get_inputs()[0].shape[2] for data in (short, long)]
    for data, inputs in zip((short, long), channels, strict=True):
        first = 5 * 6 * (3 * inputs + 1)  # the five steps that the second one's last window sees
        second = 6 * (3 * 6 + 3)
        copies = 3 * 70 * inputs  # of the window, into one with zeros before it
        assert NativeModel(compile_model(data).blob).work < first + second + copies + 100
