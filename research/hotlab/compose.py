"""Features made of features: the references of ``ffi/src/compose.c``, and the program that it runs.

    made = [MadeFeature("lean", op="product", of=["imbalance_top", "spread"])]
    compute_made(values, instruments, made)      the C kernel, as on the path
    reference(columns, made)                     the definition, one readable line an operation

Both see one instrument's evaluations in order: `lag`, `change` and `average` count those, not events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotlab.features import FEATURE_NAMES
from hotpath.registry.composition import program_of
from hotpath.registry.manifest import MadeFeature

Floats = npt.NDArray[np.float64]


def compute_made(values: Floats, instruments: npt.NDArray[np.uint32], made: Sequence[MadeFeature]) -> dict[str, Floats]:
    """Run the kernel over evaluations, each with FEATURES_MAX features and its instrument. Raises ManifestError."""
    program = program_of(made, FEATURE_NAMES)
    columns = np.full((len(values), lib.FEATURES_MAX + len(made)), np.nan)
    columns[:, : lib.FEATURES_MAX] = values
    row_at = ffi.from_buffer("double[]", columns, require_writable=True)
    width = columns.shape[1]
    state = ffi.new("compose_state *")
    for instrument in np.unique(instruments):
        lib.compose_init(state)
        for row in np.flatnonzero(instruments == instrument).tolist():
            lib.compose_run(program, state, row_at + row * width)
    return {each.name: columns[:, lib.FEATURES_MAX + index] for index, each in enumerate(made)}


def reference(columns: Mapping[str, Floats], made: Sequence[MadeFeature]) -> dict[str, Floats]:
    """The same of one instrument's evaluations, by definition."""
    found = dict(columns)
    for each in made:
        a = found[each.of[0]]
        b = found[each.of[-1]]
        found[each.name] = _defined(each, a, b)
    return {each.name: found[each.name] for each in made}


def _defined(made: MadeFeature, a: Floats, b: Floats) -> Floats:
    match made.op:
        case "sum":
            return a + b
        case "difference":
            return a - b
        case "product":
            return a * b
        case "ratio":
            return np.where(b == 0, np.nan, a / np.where(b == 0, 1, b))
        case "least":
            return np.minimum(a, b)
        case "most":
            return np.maximum(a, b)
        case "absolute":
            return np.abs(a)
        case "scale":
            return a * made.p + made.q
        case "clip":
            return np.clip(a, made.p, made.q)
        case "lag":
            return _lagged(a, int(made.p))
        case "change":
            return a - _lagged(a, int(made.p))
    return _average(a, made.p)


def _lagged(a: Floats, count: int) -> Floats:
    return np.concatenate([np.full(min(count, len(a)), np.nan), a[:-count]])


def _average(a: Floats, period: float) -> Floats:
    """Exponential, weight 2 / (period + 1), over what is known."""
    held, averages = np.nan, np.empty_like(a)
    for row, value in enumerate(a):
        if not np.isnan(value):
            held = value if np.isnan(held) else held + (value - held) * 2 / (period + 1)
        averages[row] = held
    return averages
