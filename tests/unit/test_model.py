"""The blob's loader refuses what it cannot vouch for, and the executor computes what the blob says."""

from __future__ import annotations

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import ModelError
from hotpath.models.blob import Program, reference, with_digest
from hotpath.models.executor import NativeModel, aligned
from tests.support.model_blobs import corpus, layer

HEADER, OP = dtype_of("model_header"), dtype_of("model_op")
BEST = int(lib.model_path_best())


def load(blob: bytes) -> tuple[int, int]:
    """Status, and the op to blame."""
    room = aligned(len(blob))
    room[:] = np.frombuffer(blob, np.uint8)
    model, op_index = ffi.new("model *"), ffi.new("uint32_t *")
    return int(lib.model_load(model, ffi.from_buffer(room), len(blob), op_index)), int(op_index[0])


def changed(blob: bytes, *, op: int | None = None, **fields: object) -> bytes:
    """A blob with fields of its header, or of one op, overwritten, and the digest that belongs to it."""
    copy = bytearray(blob)
    header = np.frombuffer(copy, HEADER, 1)
    row = header if op is None else np.frombuffer(copy, OP, 1, int(header["ops_offset"][0]) + op * OP.itemsize)
    for name, value in fields.items():
        if isinstance(value, tuple):
            row[name][0][value[0]] = value[1]
        else:
            row[name] = value
    return with_digest(bytes(copy))


def test_dense_layer_computes_in_the_stated_order() -> None:
    blob, matrix, bias = layer(inputs=11, outputs=35)
    features = np.random.default_rng(2).normal(size=11).astype(np.float32)
    sums = np.zeros((4, 35), np.float32)
    for k in range(11):
        sums[k % 4] += matrix[:, k] * features[k]
    expected = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + bias
    for path in range(BEST + 1):
        assert NativeModel(blob, path=path).run(features).tolist() == expected.tolist()


def test_nan_is_told_and_has_one_bit_pattern() -> None:
    blob, _, _ = layer()
    features = np.full(5, np.float32(np.nan)) * np.float32(-1)
    for path in range(BEST + 1):
        model, outputs = NativeModel(blob, path=path), np.zeros(19, np.float32)
        assert model.run_into(features, outputs) == lib.MODEL_NAN
        assert set(outputs.view(np.uint32).tolist()) == {0x7FC00000}
        assert model.run_into(np.ones(5, np.float32), outputs) == lib.MODEL_OK


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("BAD_MAGIC", {"magic": 1}),
        ("BAD_VERSION", {"version": 2}),
        ("BAD_SIZE", {"size": 4096}),
        ("BAD_SIZE", {"op_count": 1000}),
        ("TOO_LARGE", {"op_count": 1 << 30}),
        ("BAD_SIZE", {"weight_count": 1 << 20}),
        ("BAD_SIZE", {"ops_offset": (1 << 64) - 96}),
        ("BAD_ALIGNMENT", {"weights_offset": 100}),
        ("TOO_LARGE", {"scratch_count": (1 << 32) - 1}),
        ("BAD_COUNT", {"input_count": 0}),
        ("BAD_REFERENCE", {"input_count": 4}),
        ("BAD_REFERENCE", {"scratch_count": 18}),
        ("BAD_OUTPUT", {"output_count": 20}),
        ("BAD_REFERENCE", {"output_count": 18}),
        ("BAD_KIND", {"op": 0, "kind": lib.MODEL_KINDS}),
        ("BAD_FUNCTION", {"op": 0, "function": lib.MODEL_FUNCTIONS}),
        ("BAD_COUNT", {"op": 0, "n": (1, 0)}),
        ("BAD_REFERENCE", {"op": 0, "n": (1, 6)}),
        ("BAD_REFERENCE", {"op": 0, "n": (2, 1 << 25)}),
        ("BAD_REFERENCE", {"op": 0, "r": (1, reference(lib.MODEL_WEIGHTS, 100))}),
        ("BAD_REFERENCE", {"op": 0, "r": (3, reference(lib.MODEL_WEIGHTS, 0))}),
        ("BAD_REFERENCE", {"op": 0, "r": (3, reference(lib.MODEL_OUTPUT, 0))}),
        ("BAD_REFERENCE", {"op": 0, "r": (0, reference(lib.MODEL_OUTPUT, 0))}),
        ("BAD_REFERENCE", {"op": 0, "r": (0, reference(15, 0))}),
        ("BAD_OUTPUT", {"op": 1, "n": (0, 18)}),
    ],
)
def test_loader_refuses(status: str, fields: dict) -> None:
    blob, _, _ = layer()
    got, op_index = load(changed(blob, **fields))
    assert ffi.string(lib.model_status_text(got)) == ffi.string(lib.model_status_text(getattr(lib, f"MODEL_{status}")))
    if "op" in fields and status != "BAD_OUTPUT":
        assert op_index == fields["op"]


def test_loader_refuses_endless_work() -> None:
    """Rows that all lie on one another are within every space, and only their number is wrong."""
    blob, _, _ = layer()
    heavy = changed(changed(blob, op=0, n=(0, 1 << 26)), op=0, n=(3, 0))
    assert load(changed(heavy, op=0, n=(4, 0)))[0] == lib.MODEL_TOO_LARGE


def test_loader_refuses_every_flipped_bit_and_every_cut() -> None:
    blob, _, _ = layer(2, 3)
    assert load(blob)[0] == lib.MODEL_OK
    for at in range(0, len(blob) * 8, 7):
        flipped = bytearray(blob)
        flipped[at // 8] ^= 1 << at % 8
        assert load(bytes(flipped))[0] != lib.MODEL_OK
    for size in range(1, len(blob), 5):
        assert load(blob[:size])[0] == lib.MODEL_BAD_SIZE


def test_blob_must_lie_on_64_bytes() -> None:
    blob, _, _ = layer()
    room = aligned(len(blob) + 4)
    assert lib.model_load(ffi.new("model *"), ffi.from_buffer(room[4:]), len(blob), ffi.NULL) == lib.MODEL_BAD_ALIGNMENT


def test_python_says_what_is_wrong_and_what_to_do() -> None:
    blob, _, _ = layer()
    with pytest.raises(ModelError, match="op 0: reads or writes outside its space") as caught:
        NativeModel(changed(blob, op=0, r=(3, 0)))
    assert caught.value.next_step
    with pytest.raises(ModelError, match="6 inputs where the model takes 5"):
        NativeModel(blob).run(np.zeros(6))


def test_every_op_gives_equal_bits_on_every_path() -> None:
    random = np.random.default_rng(5)
    for blob in corpus():
        models = [NativeModel(blob, path=path) for path in range(BEST + 1)]
        for _ in range(20):
            row = (random.normal(size=models[0].handle.input_count) * 3).astype(np.float32)
            row[random.random(row.size) < 0.1] = random.choice([np.nan, np.inf, -np.inf, 0, 1e30, 1e-40])
            first, *others = (model.run(row).view(np.uint32).tolist() for model in models)
            assert all(other == first for other in others)


# ---- functions of one variable -------------------------------------------------------------------------------


def curve(function: int, values: np.ndarray, *, alpha: float = 0.0, beta: float = 0.0) -> np.ndarray:
    """One function over all values, equal on every path."""
    program = Program()
    program.input_count = program.output_count = values.size
    target = program.scratch(values.size)
    source = reference(lib.MODEL_INPUT, 0)
    program.op(lib.MODEL_MAP, function=function, r=[source, 0, 0, target], n=[values.size], alpha=alpha, beta=beta)
    program.op(lib.MODEL_EMIT, r=[target, 0, 0, reference(lib.MODEL_OUTPUT, 0)], n=[values.size])
    blob = program.blob(bytes(32))
    results = [NativeModel(blob, path=path).run(values) for path in range(BEST + 1)]
    for other in results[1:]:
        assert (other.view(np.uint32) == results[0].view(np.uint32)).all()
    return results[0]


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """The greatest distance, in units of the last place of the exact value; below the normal range, of its least."""
    unit = np.maximum(np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64), 2.0**-149)
    return float((np.abs(got.astype(np.float64) - exact) / unit).max())


GRID = np.unique(np.concatenate([np.linspace(-20, 20, 20001), np.logspace(-38, 1, 4000), -np.logspace(-38, 1, 4000)]))
GRID = GRID.astype(np.float32)


def test_own_functions_stay_near_the_exact_ones() -> None:
    import math

    exact = GRID.astype(np.float64)
    wide = np.linspace(-103, 88.7, 30001).astype(np.float32)
    assert ulps(curve(lib.MODEL_EXP, wide), np.exp(wide.astype(np.float64))) < 2
    assert ulps(curve(lib.MODEL_TANH, GRID), np.tanh(exact)) < 3
    assert ulps(curve(lib.MODEL_ERF, GRID), np.array([math.erf(x) for x in exact])) < 4
    positive = np.logspace(-44, 38, 30001).astype(np.float32)
    positive = positive[positive > 0]
    assert ulps(curve(lib.MODEL_LOG, positive), np.log(positive.astype(np.float64))) < 2
    assert ulps(curve(lib.MODEL_ELU, GRID, alpha=1.0), np.where(exact < 0, np.expm1(exact), exact)) < 6
    np.testing.assert_allclose(curve(lib.MODEL_SIGMOID, GRID), 1 / (1 + np.exp(-exact)), rtol=1e-6)
    np.testing.assert_allclose(curve(lib.MODEL_SOFTPLUS, GRID), np.logaddexp(0, exact), rtol=1e-6, atol=1e-12)


def test_own_functions_at_the_ends() -> None:
    ends = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e38, -1e38, 1e-45, 200, -200], np.float32)
    nan = np.nan
    expected = {
        lib.MODEL_EXP: [np.inf, 0, nan, 1, 1, np.inf, 0, 1, np.inf, 0],
        lib.MODEL_TANH: [1, -1, nan, 0, 0, 1, -1, 1e-45, 1, -1],
        lib.MODEL_ERF: [1, -1, nan, 0, 0, 1, -1, 1e-45, 1, -1],
        lib.MODEL_SIGMOID: [1, 0, nan, 0.5, 0.5, 1, 0, 0.5, 1, 0],
        lib.MODEL_SOFTPLUS: [np.inf, 0, nan, math_ln2(), math_ln2(), 1e38, 0, math_ln2(), 200, 0],
        lib.MODEL_LOG: [np.inf, nan, nan, -np.inf, -np.inf, 87.49823, nan, -103.27893, 5.2983174, nan],
        lib.MODEL_RELU: [np.inf, 0, nan, 0, 0, 1e38, 0, 1e-45, 200, 0],
        lib.MODEL_FLOOR: [np.inf, -np.inf, nan, 0, 0, 1e38, -1e38, 0, 200, -200],
    }
    for function, values in expected.items():
        np.testing.assert_allclose(
            curve(function, ends), np.array(values, np.float32), rtol=1e-6, err_msg=str(function)
        )


def math_ln2() -> float:
    return float(np.log(2.0))
