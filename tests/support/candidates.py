"""Candidates for a registry: a small one that every gate passes, and the pieces of those that none should."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hotlab import graphs
from hotpath.config_registry import RegistryConfig
from hotpath.registry.composition import PROBE_CONFIG, kernel_hash
from hotpath.registry.manifest import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MANIFEST_FILE,
    MODEL_FILE,
    Features,
    FileRecord,
    Manifest,
    Tensor,
    Training,
    encode_manifest,
)

COLUMNS = ["imbalance_top", "imbalance_depth", "spread"]
# Neighbours on this machine are no reason to refuse: what is slow is tested with a budget of its own.
ROOMY = RegistryConfig(latency_ns_max=10**9, latency_cold_ns_max=10**10, seconds_max=30)
LAYER = (np.array([[0.5], [-0.25], [0.125]], np.float32), np.array([0.0625], np.float32))
SHAPE: dict[str, Any] = {
    "hidden": "relu", "last": "sigmoid", "mean": np.zeros(3, np.float32), "scale": np.ones(3, np.float32),
}  # fmt: skip


def small_model(weight: float = 0.5) -> bytes:
    """Logistic, over three inputs."""
    layer = (LAYER[0] * np.float32(weight / 0.5), LAYER[1])
    return graphs.dense_net([layer], **SHAPE)


def golden() -> tuple[graphs.Floats, graphs.Floats]:
    """Rows, and what the small model says of them."""
    rows = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    rows[-1] = np.nan
    return rows, graphs.run_dense([LAYER], rows, **SHAPE).astype(np.float32)


def make_candidate(folder: Path, *, model: bytes | None = None, name: str = "small", **changes: Any) -> Path:
    """A folder that passes, but for what `changes` says of its manifest; files are hashed as they are."""
    folder.mkdir(parents=True)
    rows, answers = golden()
    (folder / MODEL_FILE).write_bytes(small_model() if model is None else model)
    np.save(folder / GOLDEN_INPUTS, rows)
    np.save(folder / GOLDEN_OUTPUTS, answers)
    manifest = Manifest(
        name=name,
        files=file_records(folder),
        inputs=[Tensor("inputs", "float32", [-1, 3])],
        outputs=[Tensor("outputs", "float32", [-1, 1])],
        features=Features(columns=COLUMNS, kernel_hash=kernel_hash(), config=PROBE_CONFIG),
        training=Training(
            dataset="0" * 64, sources=[], label={"name": "move"}, estimator="none", parameters={}, seed=1, rows=20
        ),
    )
    write_manifest(folder, msgspec.structs.replace(manifest, **changes))
    return folder


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Of every file but the manifest and its signature."""
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("manifest."):
            data = path.read_bytes()
            found[path.name] = FileRecord(hashlib.sha256(data).hexdigest(), len(data))
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))


def onnx_bytes(
    nodes: list[Any], *, inputs: list[Any] | None = None, outputs: list[Any] | None = None, **more: Any
) -> bytes:
    """A model of given nodes, from inputs (batch, 3) to outputs (batch, 1) unless said otherwise."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["batch", 3])],
        outputs or [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", 1])],
        more.pop("initializers", []),
        **more.pop("graph", {}),
    )
    opsets = more.pop("opsets", [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)])
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8, **more).SerializeToString()
    return data
