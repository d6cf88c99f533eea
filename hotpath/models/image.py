"""From a version's folder to an image: the model and what it means for trading, resolved for one engine.

manifest.json + model.onnx (or model.blob) + [models] + symbols --> model_plan | blob    (ffi/include/scorer.h)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotpath.config import Config
from hotpath.config_models import ModelsConfig
from hotpath.errors import ModelError
from hotpath.models.compile import compile_model
from hotpath.registry.composition import FEATURE_NAMES, check_features, kernel_hash, program_of
from hotpath.registry.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, decode_manifest, version_of

TRIGGERS = ("book_change", "every_n", "timer")
PRICES = ("join", "take", "mid")
URGENCIES = ("rest", "follow", "cross")
TARGETS = ("step", "proportional")
ALIGN = int(lib.MODEL_ALIGN)
STATUS = (
    "",
    "is no image of this build",
    "has another digest than its bytes",
    "names a column that there is not",
    "has a trigger, policy or bound out of range",
    "has a made feature that the kernel refuses",
    "has a model that the executor refuses, or that does not fit it",
    "has feature windows that the kernel refuses",
)


def read_version(folder: Path, config: Config, symbols: Sequence[str]) -> bytes:
    """The image of a version's folder. Raises ModelError, or ManifestError of what the manifest says."""
    try:
        text, onnx = (folder / MANIFEST_FILE).read_bytes(), (folder / MODEL_FILE).read_bytes()
    except OSError as error:
        raise ModelError(
            f"{folder}: {error.strerror}: {Path(error.filename).name}",
            next_step=f"a version's folder has {MANIFEST_FILE} and {MODEL_FILE}",
        ) from None
    manifest = decode_manifest(text, where=str(folder / MANIFEST_FILE))
    if hashlib.sha256(onnx).hexdigest() != manifest.files[MODEL_FILE].sha256:
        raise ModelError(f"{folder / MODEL_FILE}: not the file that the manifest names", next_step="publish it again")
    return make_image(manifest, compile_version(manifest, onnx), config, symbols, version=version_of(text))


def compile_version(manifest: Manifest, onnx: bytes) -> bytes:
    """The native blob of a version: its score's output alone, its states carried."""
    score = manifest.outputs[manifest.policy.score.output].name
    return compile_model(onnx, outputs=[score], state=dict(getattr(manifest.state, "carried", {}))).blob


def make_image(
    manifest: Manifest, blob: bytes, config: Config, symbols: Sequence[str], *, version: str, reference: Any = None
) -> bytes:
    """The image of a manifest and its blob, checked as the path checks it.

    `reference`: rows of inputs and, last, scores, float64, of which drift is judged; without it the path's own first
    evaluations are. Raises ModelError.
    """
    features = manifest.features
    check_features(features)
    if features.kernel_hash != kernel_hash():
        raise ModelError(
            f"{manifest.name}: trained on feature kernels {features.kernel_hash[:12]}, this build's are "
            f"{kernel_hash()[:12]}",
            next_step="train it again with this release",
        )
    _check_windows(features.config, config, manifest.name)
    if features.native:
        raise ModelError(f"{manifest.name}: compiled features ({features.native[0].name}) have no seat on the path yet")
    plan = ffi.new("model_plan *")
    plan.magic, plan.version = lib.MODEL_PLAN_MAGIC, lib.MODEL_PLAN_VERSION
    for field, text in (("name", manifest.name), ("model_version", version)):
        setattr(plan, field, text.encode()[: ffi.sizeof(getattr(plan, field)) - 1])
    ffi.memmove(plan.kernel_sha256, bytes.fromhex(features.kernel_hash), 32)
    plan.feature = ffi.new("feature_config *", features.config)[0]
    plan.compose = program_of(features.made)[0]
    places = {each: index for index, each in enumerate(FEATURE_NAMES)}
    places |= {each.name: int(lib.FEATURES_MAX) + step for step, each in enumerate(features.made)}
    plan.column_count = len(features.columns)
    for index, name in enumerate(features.columns):
        plan.column[index] = places[name]
    _fill_instruments(plan, manifest, symbols)
    _fill_rules(plan, manifest)
    _fill_guard(plan, config.models, reference)
    return _sealed(plan, blob, manifest.name)


def _check_windows(windows: dict[str, int], config: Config, name: str) -> None:
    """The engine computes one set of features, for all that look at it."""
    own = config.signal.features
    odd = [key for key, value in windows.items() if getattr(own, key) != value]
    if odd:
        said = ", ".join(f"{key} = {windows[key]} (the engine's is {getattr(own, key)})" for key in odd)
        raise ModelError(
            f"{name}: trained with other windows: {said}", next_step="set them under [signal.features], or train again"
        )


def _fill_instruments(plan: Any, manifest: Manifest, symbols: Sequence[str]) -> None:
    known = {symbol: index for index, symbol in enumerate(symbols)}
    missing = [symbol for symbol in manifest.instruments if symbol not in known]
    if missing:
        raise ModelError(f"{manifest.name}: {', '.join(missing)}: this engine's reference data has no such instrument")
    chosen = [known[symbol] for symbol in manifest.instruments] or range(len(symbols))
    for index in chosen:
        plan.instruments[index // 64] |= 1 << index % 64


def _fill_rules(plan: Any, manifest: Manifest) -> None:
    sampling, policy, state = manifest.sampling, manifest.policy, manifest.state
    plan.trigger, plan.every = TRIGGERS.index(sampling.trigger), sampling.every
    plan.interval_ns = sampling.interval_ns
    plan.unready = lib.UNREADY_PASS if manifest.features.unready == "pass" else lib.UNREADY_ABSTAIN
    plan.on_swap = lib.STATE_CARRY if state.on_swap == "carry" else lib.STATE_RESET
    meaning = state.meaning.encode()
    plan.state_meaning = lib.digest_bytes(1, meaning, len(meaning)) if meaning else 0
    plan.output, plan.center, plan.scale = policy.score.index, policy.score.center, policy.score.scale
    plan.target, plan.threshold = TARGETS.index(policy.target), policy.threshold
    plan.position_lots, plan.order_lots = policy.position_lots, policy.order_lots
    plan.price, plan.urgency = PRICES.index(policy.price), URGENCIES.index(policy.urgency)
    plan.hold_ns = policy.hold_ns


def _fill_guard(plan: Any, config: ModelsConfig, reference: npt.NDArray[np.float64] | None) -> None:
    plan.latency_budget_ns, plan.over_budget_max = config.latency_budget_ns, config.over_budget_max
    plan.nan_max, plan.drift_every = config.nan_max, config.drift_every
    if reference is None or not len(reference):
        return
    inner = np.linspace(0, 1, int(lib.DRIFT_BINS) + 1)[1:-1]
    plan.drift_columns = reference.shape[1]
    for index, column in enumerate(reference.T):
        known = column[np.isfinite(column)]
        if not len(known):
            continue
        edges = np.quantile(known, inner)
        shares = np.bincount((known[:, None] > edges).sum(axis=1), minlength=int(lib.DRIFT_BINS)) / len(known)
        plan.drift_edge[index] = edges.tolist()
        plan.drift_share[index] = shares.tolist()


def _sealed(plan: Any, blob: bytes, name: str) -> bytes:
    size = int(ffi.sizeof("model_plan"))
    offset = -(-size // ALIGN) * ALIGN
    plan.blob_offset, plan.blob_bytes, plan.bytes = offset, len(blob), offset + len(blob)
    image = bytearray(offset + len(blob))
    image[:size] = bytes(ffi.buffer(plan))
    image[offset:] = blob
    view = ffi.cast("model_plan *", ffi.from_buffer(image))
    view.digest = lib.scorer_digest(view, len(image))
    check_image(bytes(image), name)
    return bytes(image)


def aligned_copy(image: bytes) -> npt.NDArray[np.uint8]:
    """The image on MODEL_ALIGN bytes; the array owns them."""
    room = np.zeros(len(image) + ALIGN, np.uint8)
    start = -room.ctypes.data % ALIGN
    copy = room[start : start + len(image)]
    copy[:] = np.frombuffer(image, np.uint8)
    return copy


def check_image(image: bytes, name: str = "image") -> None:
    """Raises ModelError for an image that the path would refuse."""
    copy = aligned_copy(image)
    status = lib.scorer_load(ffi.new("scorer_model *"), ffi.from_buffer(copy), len(image))
    if status != lib.SCORER_OK:
        raise ModelError(f"{name} {STATUS[status]}", next_step="make it again from its version: hotpath model load")


def plan_of(image: bytes) -> Any:
    """``model_plan *``; good while the bytes live."""
    return ffi.cast("model_plan *", ffi.from_buffer(image))


def describe(image: bytes) -> str:
    """ "queue-imbalance 3f2a.. (weights 91ab..)"."""
    plan = plan_of(image)
    header = ffi.cast("model_header *", ffi.cast("uint8_t *", plan) + plan.blob_offset)
    name, version = ffi.string(plan.name).decode(), ffi.string(plan.model_version).decode()
    return f"{name} {version[:12]} (weights {int(header.digest):016x})"
