"""Versions of models for engines in tests: real ONNX files, written by hotlab's own graphs, with their manifests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hotlab.graphs import dense_net
from hotpath.config import Config
from hotpath.registry.composition import kernel_hash
from hotpath.registry.manifest import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MANIFEST_FILE,
    MODEL_FILE,
    Features,
    FileRecord,
    MadeFeature,
    Manifest,
    Policy,
    Sampling,
    Score,
    Tensor,
    Training,
    encode_manifest,
)

COLUMNS = ["imbalance_top", "imbalance_depth", "trade_imbalance", "spread"]


def net(seed: int, *, inputs: int = len(COLUMNS), hidden: int = 8, bias: float = 0.0) -> bytes:
    """An ONNX file: inputs -> hidden tanh -> one sigmoid."""
    random = np.random.default_rng(seed)
    layers = [
        (random.normal(size=(inputs, hidden)).astype(np.float32), random.normal(size=hidden).astype(np.float32)),
        (random.normal(size=(hidden, 1)).astype(np.float32), np.full(1, bias, np.float32)),
    ]
    scale = np.full(inputs, 1.0, np.float32)
    return dense_net(layers, hidden="tanh", last="sigmoid", mean=np.zeros(inputs, np.float32), scale=scale)


def logistic(seed: int, *, inputs: int = len(COLUMNS)) -> bytes:
    """An ONNX file of another family: one layer, and a sigmoid."""
    random = np.random.default_rng(seed)
    layers = [(random.normal(size=(inputs, 1)).astype(np.float32), np.zeros(1, np.float32))]
    ones, zeros = np.ones(inputs, np.float32), np.zeros(inputs, np.float32)
    return dense_net(layers, hidden="tanh", last="sigmoid", mean=zeros, scale=ones)


def forest(seed: int, *, inputs: int = len(COLUMNS)) -> bytes:
    """An ONNX file of boosted trees, exported by LightGBM's converter."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, inputs))
    target = rows[:, 0] + 0.3 * random.normal(size=400)
    model = lightgbm.LGBMRegressor(n_estimators=20, num_leaves=8, verbose=-1, seed=seed, n_jobs=1).fit(rows, target)
    return bytes(
        convert_lightgbm(model, initial_types=[("inputs", FloatTensorType([None, inputs]))]).SerializeToString()
    )


def manifest_of(onnx: bytes, config: Config, name: str, **changes: Any) -> Manifest:
    """A manifest whose features are those of the engine's own configuration."""
    windows = {key: int(value) for key, value in msgspec.structs.asdict(config.signal.features).items()}
    made: list[MadeFeature] = changes.pop("made", [])
    columns = changes.pop("columns", COLUMNS)
    file = FileRecord(hashlib.sha256(onnx).hexdigest(), len(onnx))
    fields: dict[str, Any] = {
        "name": name,
        "files": {MODEL_FILE: file, GOLDEN_INPUTS: file, GOLDEN_OUTPUTS: file},
        "inputs": [Tensor("inputs", "float32", [-1, len(columns)])],
        "outputs": [Tensor(changes.pop("output", "outputs"), "float32", [-1, 1])],
        "features": Features(columns=columns, kernel_hash=kernel_hash(), config=windows, made=made),
        "sampling": Sampling(),
        "policy": Policy(
            score=Score(center=0.5, scale=2.0), threshold=0.2, position_lots=300, order_lots=100, price="take"
        ),
        "training": Training("0" * 64, [], {}, "test", {}, 0, 0),
        **changes,
    }
    return Manifest(**fields)


def write_version(folder: Path, onnx: bytes, config: Config, name: str, **changes: Any) -> Path:
    """A version's folder."""
    target = folder / name
    target.mkdir(parents=True)
    (target / MODEL_FILE).write_bytes(onnx)
    (target / MANIFEST_FILE).write_bytes(encode_manifest(manifest_of(onnx, config, name, **changes)))
    return target


def broken_log(inputs: int = len(COLUMNS)) -> bytes:
    """An ONNX file whose score is the logarithm of its first input: no number where the book leans to the offer."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((inputs, 1), np.float32)
    weights[0] = 1.0
    nodes = [helper.make_node("MatMul", ["inputs", "w"], ["x"]), helper.make_node("Log", ["x"], ["outputs"])]
    graph = helper.make_graph(
        nodes,
        "log",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, [None, inputs])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    model.ir_version = 8
    return bytes(model.SerializeToString())
