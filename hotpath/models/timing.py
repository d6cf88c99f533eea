"""How long a model takes, measured in C: for admission's budget, for reports, for the bench."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotpath.errors import ModelError
from hotpath.models.executor import Floats, Runnable

EVICT_BYTES = 64 << 20
CALIBRATION_NS = 20_000_000
Spans = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Latency:
    """Of many runs, in ns; `clock_ns`, one reading of the clock, is inside each."""

    p50_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: float
    calls: int
    clock_ns: float


def spans(model: Runnable | None, rows: Floats, *, calls: int, cold: bool = False) -> Spans:
    """ns of each run over the rows in turn, the state carried. None: of the clock alone.

    cold: caches are filled with something else before each run. Raises ModelError when a run fails."""
    clock = ffi.new("clock_page *")
    lib.clock_calibrate(clock, CALIBRATION_NS, 0)
    values = np.ascontiguousarray(rows, np.float32)
    evict = np.zeros(EVICT_BYTES if cold else 0, np.uint8)
    made: Spans = np.zeros(calls, np.uint32)
    what = ffi.new("model_measurement *")
    what.rows, what.row_count, what.calls = ffi.from_buffer("float[]", values), len(values), calls
    if cold:
        what.evict, what.evict_size = ffi.from_buffer("uint8_t[]", evict), evict.size
    state = np.zeros(0, np.float32) if model is None else model.state
    outputs = np.zeros(1 if model is None else model.handle.output_count, np.float32)
    status = lib.model_measure(
        ffi.NULL if model is None else model.handle,
        what,
        clock,
        ffi.from_buffer("float[]", state),
        ffi.from_buffer("float[]", outputs),
        ffi.from_buffer("uint32_t[]", made),
    )
    if status != lib.MODEL_OK:
        raise ModelError(f"a run failed: {ffi.string(lib.model_status_text(status)).decode()}")
    return made


def latency(model: Runnable, rows: Floats, *, calls: int, cold: bool = False) -> Latency:
    """Percentiles, after a warm-up of a tenth (none when cold)."""
    if not cold:
        spans(model, rows, calls=max(calls // 10, 10))
    made = spans(model, rows, calls=calls, cold=cold)
    p50, p99, p999 = np.percentile(made, [50, 99, 99.9], method="higher")
    clock = float(np.median(spans(None, rows, calls=1000)))
    return Latency(float(p50), float(p99), float(p999), float(made.max()), calls, clock)
