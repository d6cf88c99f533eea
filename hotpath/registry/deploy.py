"""A version as the path needs it: what to compute, what to run, when, and what a score means; nothing is parsed later.

    manifest --deployment()--> compose_program, columns as places in value[FEATURES_MAX + steps], executor, policy
                               |
    event -> feature_update -> value[FEATURES_MAX] -> compose_run -> value[...] -> gather -> float32 inputs -> model

The blob was made at admission; its hash is checked here. Everything is made off the path, before a swap.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotpath.registry.composition import FEATURE_NAMES, check_features, kernel_hash, program_of
from hotpath.registry.errors import RegistryError
from hotpath.registry.manifest import BLOB_FILE, MODEL_FILE, Manifest
from hotpath.registry.store import Registry


@dataclass(frozen=True)
class Deployment:
    """One version, ready to be loaded. `blob` is empty where ONNX Runtime runs it, from `onnx`."""

    name: str
    version: str
    manifest: Manifest
    executor: str
    blob: bytes
    onnx: Path
    feature_config: Any  # feature_config *
    program: Any  # compose_program *
    columns: npt.NDArray[np.uint16]  # places in value[FEATURES_MAX + steps], in the model's order

    def gather(self, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """The model's inputs from all values of one evaluation, as the path casts them."""
        return value[self.columns].astype(np.float32)

    def score(self, outputs: npt.NDArray[np.float32]) -> float:
        """(output - center) * scale, clamped to [-1, 1]; 0 for what is no number."""
        rule = self.manifest.policy.score
        score = (float(outputs[rule.index]) - rule.center) * rule.scale
        return max(-1.0, min(1.0, score)) if score == score else 0.0


def deployment(registry: Registry, name: str, version: str) -> Deployment:
    """A version (or alias) of a registry. Raises RegistryError where it is not what was admitted, or was trained on
    kernels that this build has not."""
    whole = registry.resolve(name, version)
    manifest, admission = registry.manifest(name, whole), registry.admission(name, whole)
    folder = registry.version_folder(name, whole)
    if manifest.features.kernel_hash != kernel_hash():
        raise RegistryError(
            f"{name} {whole}: trained on kernels {manifest.features.kernel_hash[:12]}; this build's are "
            f"{kernel_hash()[:12]}",
            next_step="train it again with this release",
        )
    check_features(manifest.features)
    blob = b""
    if admission.executor == "native":
        blob = _checked(folder / BLOB_FILE, admission.blob_sha256)
    _checked(folder / MODEL_FILE, manifest.files[MODEL_FILE].sha256)
    places = {each: place for place, each in enumerate(FEATURE_NAMES)}
    places |= {each.name: int(lib.FEATURES_MAX) + step for step, each in enumerate(manifest.features.made)}
    native = [each.name for each in manifest.features.native]
    if native:
        raise RegistryError(f"{name} {whole}: {', '.join(native)}: compiled features have no seat on the path yet")
    return Deployment(
        name=name,
        version=whole,
        manifest=manifest,
        executor=admission.executor,
        blob=blob,
        onnx=folder / MODEL_FILE,
        feature_config=ffi.new("feature_config *", manifest.features.config),
        program=program_of(manifest.features.made),
        columns=np.array([places[each] for each in manifest.features.columns], np.uint16),
    )


def _checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RegistryError(f"{path}: {error.strerror}", next_step="hotlab verify tells the rest") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RegistryError(f"{path}: was changed after it was admitted", next_step="hotlab verify tells the rest")
    return data
