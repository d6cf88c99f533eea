"""Spans of runs, measured from C: as many as asked for, of rows in turn, with the state carried."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hotpath.models.compile import compile_model
from hotpath.models.executor import NativeModel
from hotpath.models.timing import latency, spans
from tests.support.model_blobs import layer

STEP = (Path(__file__).parents[1] / "data" / "models" / "torch-gru-step.onnx").read_bytes()


def test_every_call_has_a_span_and_percentiles_rise() -> None:
    model = NativeModel(layer()[0])
    rows = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    assert len(spans(model, rows, calls=100)) == 100
    found = latency(model, rows, calls=500)
    assert 0 < found.p50_ns <= found.p99_ns <= found.p999_ns <= found.max_ns and found.calls == 500
    assert found.clock_ns < found.max_ns
    assert latency(model, rows, calls=3, cold=True).calls == 3


def test_measuring_carries_the_state_through_the_rows() -> None:
    blob = compile_model(STEP, state={"h": "h_next"}).blob
    measured, stepped = NativeModel(blob), NativeModel(blob)
    rows = np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32)
    spans(measured, rows, calls=7)
    for call in range(7):
        stepped.run(rows[call % 3])
    assert measured.state.tolist() == stepped.state.tolist()
