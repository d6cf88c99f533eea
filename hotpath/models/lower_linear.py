"""Operators of ai.onnx.ml that are sums and scales: scikit-learn's scalers, linear models and normalisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ffi import lib
from hotpath.errors import ModelError
from hotpath.models.lower_dense import dense
from hotpath.models.lower_elementwise import combined, mapped, softmaxed
from hotpath.models.lower_shape import joined, looked_up
from hotpath.models.tensors import Array, Floats, Tensor, Value, contiguous, float32, fresh, reshaped

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering


def _row(call: Call, index: int = 0) -> Tensor:
    """An input as one event's row."""
    value = call.tensor(index)
    return contiguous(call.program, value)


def _scaler(call: Call) -> Sequence[Value]:
    value = _row(call)
    count = value.shape[-1]
    offset, scale = (
        np.array(call.numbers(name) or [default], np.float32) for name, default in (("offset", 0.0), ("scale", 1.0))
    )
    if offset.size not in (1, count) or scale.size not in (1, count):
        raise ModelError(f"{call.node.where()}: {offset.size} offsets, {scale.size} scales for {count} features")
    target = fresh(call.program, value.shape)
    call.program.op(
        lib.MODEL_SCALE,
        r=[
            value.ref,
            call.program.weights(np.broadcast_to(offset, (count,))),
            call.program.weights(np.broadcast_to(scale, (count,))),
            target.ref,
        ],
        n=[value.size, count],
    )
    return [target]


def _normalizer(call: Call) -> Sequence[Value]:
    value = _row(call)
    functions = {"MAX": lib.MODEL_NORM_MAX, "L1": lib.MODEL_NORM_L1, "L2": lib.MODEL_NORM_L2}
    norm = call.text("norm", "MAX")
    if norm not in functions:
        raise ModelError(f"{call.node.where()}: norm {norm!r}")
    target = fresh(call.program, value.shape)
    count = value.shape[-1]
    call.program.op(
        lib.MODEL_NORMALIZE, function=functions[norm], r=[value.ref, 0, 0, target.ref], n=[value.size // count, count]
    )
    return [target]


def _linear_regressor(call: Call) -> Sequence[Value]:
    value = _row(call)
    targets = call.integer("targets", 1)
    matrix = _matrix(call, targets, value.shape[-1])
    bias = call.numbers("intercepts")
    scores = dense(call.program, value, matrix, float32(np.array(bias)) if bias else None, (1, targets))
    return [transformed(call, scores)]


def _matrix(call: Call, rows: int, columns: int) -> Floats:
    coefficients = np.array(call.numbers("coefficients"), np.float32)
    if rows < 1 or coefficients.size != rows * columns:
        raise ModelError(f"{call.node.where()}: {coefficients.size} coefficients for {rows} x {columns}")
    return coefficients.reshape(rows, columns)


def transformed(call: Call, scores: Tensor, kind: str | None = None) -> Tensor:
    """By the attribute post_transform, or by `kind`."""
    if kind is None:
        kind = call.text("post_transform", "NONE")
    program = call.program
    match kind:
        case "NONE":
            return scores
        case "LOGISTIC":
            return mapped(program, scores, lib.MODEL_SIGMOID)
        case "SOFTMAX":
            return softmaxed(program, contiguous(program, scores), scores.shape[-1], lib.MODEL_SOFTMAX_PLAIN)
        case "SOFTMAX_ZERO":
            return softmaxed(program, contiguous(program, scores), scores.shape[-1], lib.MODEL_SOFTMAX_ZERO)
        case "PROBIT":
            return mapped(program, scores, lib.MODEL_PROBIT)
        case _:
            raise ModelError(f"{call.node.where()}: post_transform {kind!r}")


# ---- classes -------------------------------------------------------------------------------------------------


def class_labels(call: Call) -> Floats:
    """As numbers; those that are text stand for their places."""
    numbers = call.integers("classlabels_ints") or call.integers("classlabels_int64s")
    if numbers:
        return float32(np.array(numbers))
    names = call.texts("classlabels_strings")
    if not names:
        raise ModelError(f"{call.node.where()}: no class labels")
    return np.arange(len(names), dtype=np.float32)


def most_likely(call: Call, scores: Tensor, labels: Floats) -> Tensor:
    """The label of the first greatest score."""
    dense_scores = contiguous(call.program, scores)
    index = fresh(call.program, (1,))
    call.program.op(lib.MODEL_ARGMAX, r=[dense_scores.ref, 0, 0, index.ref], n=[1, scores.size])
    return looked_up(call, labels, index)


def label_above(call: Call, score: Tensor, threshold: float, labels: Floats) -> Tensor:
    """labels[1] where the score is above the threshold, else labels[0]."""
    flat = reshaped(call.program, score, (1,))
    above = combined(call.program, flat, np.array([threshold], np.float32), lib.MODEL_GREATER)
    return looked_up(call, labels[:2], above)


def _linear_classifier(call: Call) -> Sequence[Value]:
    value = _row(call)
    labels = class_labels(call)
    bias = np.array(call.numbers("intercepts"), np.float32)
    rows = bias.size or len(call.numbers("coefficients")) // value.shape[-1]
    scores = dense(call.program, value, _matrix(call, rows, value.shape[-1]), bias if bias.size else None, (1, rows))
    if rows > 1:
        return [most_likely(call, scores, labels), transformed(call, scores)]
    if labels.size != 2:
        raise call.refuse(f"one score for {labels.size} classes")
    kind = call.text("post_transform", "NONE")
    label = label_above(call, scores, 0.0, labels)
    if kind == "LOGISTIC":
        positive = mapped(call.program, scores, lib.MODEL_SIGMOID)
        return [
            label,
            joined(call, [mapped(call.program, positive, lib.MODEL_AFFINE, alpha=-1.0, beta=1.0), positive], 1),
        ]
    if kind != "NONE":
        raise call.refuse(f"post_transform {kind!r} of one score")
    return [label, joined(call, [mapped(call.program, scores, lib.MODEL_NEGATE), scores], 1)]


def _array_feature_extractor(call: Call) -> Sequence[Value]:
    value, index = call.value(0), call.value(1)
    if isinstance(index, Tensor):
        if isinstance(value, Tensor) or value.size != value.shape[-1]:
            raise call.refuse("columns that are computed")
        table: Array = value.reshape(-1)
        if table.dtype == object:
            table = np.arange(table.size)
        return [reshaped(call.program, looked_up(call, table, index), (1, index.size))]
    columns = index.reshape(-1).astype(np.int64)
    if (columns < 0).any() or (columns >= value.shape[-1]).any():
        raise ModelError(f"{call.node.where()}: columns {columns.tolist()} of {value.shape[-1]}")
    if not isinstance(value, Tensor):
        return [value[..., columns]]
    source = contiguous(call.program, value)
    rank = len(source.shape)
    parts = [
        Tensor(source.ref + int(column), (*source.shape[:-1], 1), (*source.strides[: rank - 1], 1))
        for column in columns
    ]
    return [joined(call, parts, rank - 1)]


def _zip_map(call: Call) -> Sequence[Value]:
    """The dictionaries' values, as a row: the names of the classes stay outside."""
    return [call.tensor(0)]


def _feature_vectorizer(call: Call) -> Sequence[Value]:
    return [joined(call, [call.tensor(index) for index in range(len(call.inputs))], 1)]


def _imputer(call: Call) -> Sequence[Value]:
    value = _row(call)
    fill = np.array(call.numbers("imputed_value_floats"), np.float32)
    replaced = call.number("replaced_value_float", 0.0)
    if fill.size not in (1, value.shape[-1]):
        raise call.refuse(f"{fill.size} values for {value.shape[-1]} features")
    if np.isnan(replaced):
        missing = mapped(call.program, value, lib.MODEL_IS_NAN)
    else:
        missing = combined(call.program, value, np.array([replaced], np.float32), lib.MODEL_EQUAL)
    target = fresh(call.program, value.shape)
    source = call.program.weights(np.broadcast_to(fill, value.shape))
    call.program.op(lib.MODEL_SELECT, r=[missing.ref, source, value.ref, target.ref], n=[value.size, 1, 1])
    return [target]


def _binarizer(call: Call) -> Sequence[Value]:
    threshold = np.array([call.number("threshold", 0.0)], np.float32)
    return [combined(call.program, _row(call), threshold, lib.MODEL_GREATER)]


LOWERINGS: dict[str, Lowering] = {
    "Scaler": _scaler,
    "Normalizer": _normalizer,
    "LinearRegressor": _linear_regressor,
    "LinearClassifier": _linear_classifier,
    "ArrayFeatureExtractor": _array_feature_extractor,
    "ZipMap": _zip_map,
    "FeatureVectorizer": _feature_vectorizer,
    "Imputer": _imputer,
    "Binarizer": _binarizer,
}
