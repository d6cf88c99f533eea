"""manifest.json: all that a model is and means for trading, as data.

A version's name is the SHA-256 of its manifest's bytes, shortened; the manifest holds the hashes of the other files. So
a name stands for exactly these bytes, and the same training makes the same name. The signature lies beside it, in
manifest.sig: 64 bytes of Ed25519 over manifest.json as it is.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from hotpath.registry.errors import ManifestError

MANIFEST_FILE, SIGNATURE_FILE = "manifest.json", "manifest.sig"
MODEL_FILE, BLOB_FILE = "model.onnx", "model.blob"
GOLDEN_INPUTS, GOLDEN_OUTPUTS = "golden_inputs.npy", "golden_outputs.npy"
REPORT_FILE = "report.html"
FORMAT = 1
VERSION_DIGITS = 32
MANIFEST_BYTES_MAX = 1 << 20

ModelName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}\Z")]
ColumnName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Digits = Annotated[str, Meta(pattern=r"^[0-9a-f]{8,64}\Z")]
Text = Annotated[str, Meta(max_length=400)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Ops = Literal[
    "sum", "difference", "product", "ratio", "least", "most", "absolute", "scale", "clip", "lag", "change", "average",
]  # fmt: skip  # in the order of enum compose_op; a test holds the two equal


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """One object of the manifest."""


class FileRecord(Table, frozen=True):
    """One file of the version."""

    sha256: Sha256
    bytes: Count


class Tensor(Table, frozen=True):
    """One input or output; -1 in a shape is the batch, which is 1 on the path."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    dtype: Literal["float32", "int64", "float64"]
    shape: list[Annotated[int, Meta(ge=-1, le=1 << 20)]]


class MadeFeature(Table, frozen=True):
    """A feature made of others, evaluated at each sample: ffi/include/compose.h says what each operation does."""

    name: ColumnName
    op: Ops
    of: Annotated[list[ColumnName], Meta(min_length=1, max_length=2)]
    p: float = 0.0
    q: float = 0.0


class NativeFeature(Table, frozen=True):
    """A feature of one's own: a compiled function, C or numba, with the signature of hotpath.native.

    It is trusted code: the configuration of the engine must name the same reference.
    """

    name: ColumnName
    reference: Annotated[str, Meta(min_length=3, max_length=400)]
    sha256: Sha256  # of the file that defines it


class Features(Table, frozen=True):
    """What goes into the model, in order: names of the engine's features, of made ones and of native ones."""

    columns: Annotated[list[ColumnName], Meta(min_length=1, max_length=4096)]
    kernel_hash: Sha256  # hotpath.registry.kernel_hash: the bits that the kernels give
    config: dict[str, Count]  # of the feature kernel: windows and clocks
    made: Annotated[list[MadeFeature], Meta(max_length=32)] = field(default_factory=list)
    native: Annotated[list[NativeFeature], Meta(max_length=16)] = field(default_factory=list)
    clock: Literal["venue"] = "venue"  # of bars and intervals: the origin time of events
    unready: Literal["abstain", "pass"] = "abstain"  # a column is NaN: no score, or the model sees NaN


class Sampling(Table, frozen=True):
    """When the model is asked; research/hotlab/sampling.py says exactly at which events."""

    trigger: Literal["book_change", "every_n", "timer"] = "book_change"
    every: Annotated[int, Meta(ge=1, le=1_000_000)] = 1  # with "every_n"
    interval_ns: Annotated[int, Meta(ge=0, le=86_400_000_000_000)] = 0  # with "timer"


class State(Table, frozen=True):
    """What the model carries from sample to sample, one set for each instrument."""

    floats: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    carried: dict[str, str] = field(default_factory=dict)  # graph input: the graph output with its next value
    meaning: Text = ""  # two versions whose state means the same bear the same text
    on_swap: Literal["reset", "carry"] = "reset"


class Score(Table, frozen=True):
    """From the model's output to a score in [-1, 1]: (output[index] - center) * scale, clamped."""

    output: Annotated[int, Meta(ge=0, le=63)] = 0
    index: Annotated[int, Meta(ge=0, le=4095)] = 0
    center: float = 0.0
    scale: float = 1.0


class Policy(Table, frozen=True):
    """From score to order."""

    score: Score = field(default_factory=Score)
    target: Literal["step", "proportional"] = "step"  # the wished position: a full one by sign, or score times full
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of |score|: below it nothing is done
    position_lots: Annotated[int, Meta(ge=1, le=2**40)] = 100  # a full one
    order_lots: Annotated[int, Meta(ge=1, le=2**40)] = 100  # at most, of one order
    price: Literal["join", "take", "mid"] = "join"  # own best, the other side's, or half-way
    urgency: Literal["rest", "follow", "cross"] = "rest"  # left behind: stay, move along, or take
    hold_ns: Annotated[int, Meta(ge=0, le=86_400_000_000_000)] = 0  # between two orders of an instrument


class SourceRef(Table, frozen=True):
    """One source of the training data."""

    name: Text
    sha256: Sha256
    events: Count
    gaps: Count = 0


class Training(Table, frozen=True):
    """Where the model comes from."""

    dataset: Sha256
    sources: list[SourceRef]
    label: dict[str, float | str]
    estimator: Text
    parameters: dict[str, float | str | bool | None]
    seed: Count
    rows: Count
    code_commit: Text = ""  # empty: not in a repository; "+" behind it: with changes
    libraries: dict[str, str] = field(default_factory=dict)


class Tolerance(Table, frozen=True):
    """By how much two executors may differ: absolute + relative * |value|. Trees agree leaf by leaf."""

    absolute: Annotated[float, Meta(ge=0, le=1)] = 1e-5
    relative: Annotated[float, Meta(ge=0, le=1)] = 1e-5


class Latency(Table, frozen=True):
    """Measured by who published, on his machine; admission measures again on its own."""

    executor: str
    host: Text
    p50_ns: Count
    p99_ns: Count
    cold_ns: Count


class Signer(Table, frozen=True):
    """Who signs, as the manifest claims; the signature proves it."""

    name: Text
    fingerprint: Annotated[str, Meta(max_length=100)]


class Manifest(Table, frozen=True, kw_only=True):
    """The whole of it."""

    format: Literal[1] = 1
    name: ModelName
    executor: Literal["auto", "native", "onnxruntime"] = "auto"  # auto: native where the model can be compiled
    files: dict[str, FileRecord]
    inputs: Annotated[list[Tensor], Meta(min_length=1, max_length=16)]
    outputs: Annotated[list[Tensor], Meta(min_length=1, max_length=16)]
    features: Features
    instruments: list[Annotated[str, Meta(min_length=1, max_length=15)]] = field(default_factory=list)  # empty: all
    sampling: Sampling = field(default_factory=Sampling)
    state: State = field(default_factory=State)
    policy: Policy = field(default_factory=Policy)
    training: Training
    metrics: dict[str, float | None] = field(default_factory=dict)
    latency: Latency | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    fallback: Annotated[str, Meta(pattern=r"^(flat|previous|[0-9a-f]{32})\Z")] = "previous"  # when it fails on the path
    signer: Signer | None = None
    notes: Annotated[str, Meta(max_length=4000)] = ""


def encode_manifest(manifest: Manifest) -> bytes:
    """Its bytes: one manifest, one text."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"


def decode_manifest(data: bytes, *, where: str) -> Manifest:
    """Read one. Raises ManifestError that names the key."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise ManifestError(f"{where}: {len(data):,} bytes; a manifest has at most {MANIFEST_BYTES_MAX:,}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{where}: {error}", next_step="publish it again: hotlab publish") from None
    check_manifest(manifest, where=where)
    return manifest


def version_of(data: bytes) -> str:
    """The version whose manifest has these bytes."""
    return hashlib.sha256(data).hexdigest()[:VERSION_DIGITS]


def check_manifest(manifest: Manifest, *, where: str) -> None:
    """What no single type can say. Raises ManifestError."""

    def refuse(key: str, reason: str) -> None:
        raise ManifestError(f"{where}: {key}: {reason}", next_step="correct it and publish again: hotlab publish")

    for needed in (MODEL_FILE, GOLDEN_INPUTS, GOLDEN_OUTPUTS):
        if needed not in manifest.files:
            refuse("files", f"{needed} is not among them")
    columns = manifest.features.columns
    if len(set(columns)) < len(columns):
        refuse("features.columns", "a name stands there twice")
    made = [each.name for each in manifest.features.made] + [each.name for each in manifest.features.native]
    if len(set(made)) < len(made):
        refuse("features.made", "a name stands there twice")
    sampling = manifest.sampling
    if sampling.trigger == "timer" and not sampling.interval_ns:
        refuse("sampling.interval_ns", 'must be above 0 with trigger = "timer"')
    score = manifest.policy.score
    if score.output >= len(manifest.outputs):
        refuse("policy.score.output", f"{score.output}: the model has {len(manifest.outputs)} outputs")
    if not score.scale:
        refuse("policy.score.scale", "is 0: every score would be")
    if bool(manifest.state.floats) != bool(manifest.state.carried):
        refuse("state.carried", "names what is carried exactly where state.floats is above 0")
    if manifest.state.on_swap == "carry" and not (manifest.state.floats and manifest.state.meaning):
        refuse("state.on_swap", '"carry" needs a state, and a meaning that the other version shares')
    if manifest.policy.order_lots > manifest.policy.position_lots * 2:
        refuse("policy.order_lots", "is more than from full on one side to full on the other")
