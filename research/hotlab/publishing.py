"""From a trained run to a candidate in the registry's inbox: the manifest, and what it names, by one rename.

What happens then is the registrar's: nothing here writes outside of the inbox.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hotlab import training
from hotlab.dataset import Dataset
from hotlab.errors import PublishError
from hotlab.evaluation import EVALUATION_FILE
from hotpath.power_loss import sync_folder
from hotpath.registry import signing
from hotpath.registry.manifest import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MANIFEST_FILE,
    MODEL_FILE,
    REPORT_FILE,
    SIGNATURE_FILE,
    Features,
    FileRecord,
    Latency,
    Manifest,
    Policy,
    SourceRef,
    Training,
    encode_manifest,
    version_of,
)
from hotpath.registry.store import Registry, this_user

FILES = (MODEL_FILE, GOLDEN_INPUTS, GOLDEN_OUTPUTS, REPORT_FILE, EVALUATION_FILE)
REQUIRED = FILES[:3]


class PublishSpec(Struct, frozen=True):
    """What a publisher declares, besides what the run says."""

    name: str
    policy: Policy
    executor: str = "auto"
    instruments: list[str] = []
    fallback: str = "previous"
    notes: str = ""
    key: str = ""  # path of the signing key; empty: not signed
    signer: str = ""


def manifest_of(folder: Path, spec: PublishSpec) -> Manifest:
    """All that the run knows of itself, and what is declared. Raises PublishError."""
    run = training.read_run(folder)
    dataset = Dataset(Path(run.dataset))
    if dataset.identity != run.dataset_identity or dataset.about.features is None:
        raise PublishError(f"{dataset.folder}: is not as it was when the model was trained", next_step="train it again")
    record = next(each for each in dataset.about.labels if each.name == run.spec.label)
    evaluation = _evaluation(folder)
    try:
        return msgspec.convert(
            {
                "name": spec.name,
                "executor": spec.executor,
                "files": {name: _file_record(folder / name) for name in FILES if (folder / name).exists()},
                "inputs": run.inputs,
                "outputs": run.outputs,
                "features": Features(
                    columns=run.spec.columns,
                    kernel_hash=dataset.about.features.kernel_hash,
                    config=dataset.about.features.config,
                    made=run.spec.made,
                    unready=run.spec.unready,  # type: ignore[arg-type]
                ),
                "instruments": spec.instruments,
                "sampling": run.spec.sampling,
                "policy": msgspec.structs.replace(spec.policy, score=run.score),
                "training": Training(
                    dataset=run.dataset_identity,
                    sources=[
                        SourceRef(each.path, each.sha256, each.events, each.gap_count) for each in dataset.about.sources
                    ],
                    label={"name": record.name, "kind": record.kind, **record.parameters},
                    estimator=run.spec.estimator,
                    parameters=dict(run.spec.parameters),
                    seed=run.spec.seed,
                    rows=run.rows,
                    code_commit=run.code_commit,
                    libraries=run.libraries,
                ),
                "metrics": _metrics(evaluation),
                "latency": _latency(evaluation),
                "fallback": spec.fallback,
                "signer": signing.signer_of(Path(spec.key), spec.signer or this_user()) if spec.key else None,
                "notes": spec.notes,
            },
            Manifest,
        )
    except msgspec.ValidationError as error:
        raise PublishError(f"the manifest would not be one: {error}") from None


def _evaluation(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode((folder / EVALUATION_FILE).read_bytes())
    except FileNotFoundError:
        raise PublishError(
            f"{folder}: has no evidence", next_step=f"test it out of sample first: hotlab evaluate {folder}"
        ) from None
    except msgspec.MsgspecError as error:
        raise PublishError(f"{folder / EVALUATION_FILE}: cannot be read: {error}") from None
    return found


def _metrics(evaluation: dict[str, Any]) -> dict[str, float | None]:
    figures = {**evaluation["figures"], "net_ticks": evaluation["net_ticks"]}
    return {
        f"{name}{end}": each[key]
        for name, each in figures.items()
        for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
    }


def _latency(evaluation: dict[str, Any]) -> Latency:
    return msgspec.convert(evaluation["latency"], Latency)


def _file_record(path: Path) -> FileRecord:
    data = path.read_bytes()
    return FileRecord(hashlib.sha256(data).hexdigest(), len(data))


def publish(folder: Path, registry: Registry, spec: PublishSpec) -> str:
    """Put the run into the registry's inbox; returns the version that it would have. Raises PublishError."""
    manifest = manifest_of(folder, spec)
    for name in REQUIRED:
        if name not in manifest.files:
            raise PublishError(f"{folder}: has no {name}", next_step="train it again: hotlab train")
    data = encode_manifest(manifest)
    version = version_of(data)
    half = registry.inbox / f".{manifest.name}-{version}-{os.getpid()}"
    try:
        half.mkdir()
        for name in manifest.files:
            shutil.copyfile(folder / name, half / name)
        (half / MANIFEST_FILE).write_bytes(data)
        if spec.key:
            (half / SIGNATURE_FILE).write_bytes(signing.sign(data, Path(spec.key)))
        for path in half.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        os.rename(half, registry.inbox / f"{manifest.name}-{version}")
        sync_folder(registry.inbox)
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        raise PublishError(f"{registry.inbox}: {error.strerror}", next_step="is it there already?") from None
    return version


def export(registry: Registry, name: str, version: str, target: Path) -> list[str]:
    """Copy a version's files out, checked; returns their names. Raises PublishError, RegistryError."""
    manifest = registry.manifest(name, version)
    source = registry.version_folder(name, version)
    if target.exists():
        raise PublishError(f"{target}: is there already", next_step="name another folder: --to DIR")
    target.mkdir(parents=True)
    for file, record in manifest.files.items():
        data = (source / file).read_bytes()
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise PublishError(f"{name} {version}: {file} was changed", next_step="hotlab verify tells the rest")
        (target / file).write_bytes(data)
    for file in (MANIFEST_FILE, SIGNATURE_FILE):
        if (source / file).exists():
            shutil.copyfile(source / file, target / file)
    return sorted(path.name for path in target.iterdir())
