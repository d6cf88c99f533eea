"""From a dataset to a model in a folder: rows at the sampling trigger, a fit, an ONNX file, golden rows.

    DIR/run.json             what was trained, on what, with which settings and seed
    DIR/model.onnx           float32, loads in ONNX Runtime, agrees with who trained it
    DIR/golden_inputs.npy    rows of the market; of what the path may also meet: NaN, infinities, every threshold
    DIR/golden_outputs.npy   what the library that trained it says of each

One dataset, one setting and one seed make one model, byte for byte, on one machine and with the same libraries.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from hotlab import graphs, sampling
from hotlab.compose import compute_made
from hotlab.dataset import Dataset, write_atomic
from hotlab.errors import PublishError, TrainingError, need
from hotlab.estimators import Doubles, Estimator, Value, estimator_named
from hotlab.features import FEATURE_NAMES
from hotlab.graphs import Floats
from hotpath.registry.composition import unknown_name
from hotpath.registry.errors import ManifestError
from hotpath.registry.manifest import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL_FILE, MadeFeature, Sampling, Score, Tensor

RUN_FILE = "run.json"
GOLDEN_MARKET, GOLDEN_THRESHOLDS = 64, 128
TOLERANCE = 1e-4  # absolute and relative, between ONNX Runtime and who trained it, before anything is written
LIBRARIES = (
    "numpy",
    "scikit-learn",
    "lightgbm",
    "xgboost",
    "xgboost-cpu",
    "torch",
    "onnx",
    "onnxmltools",
    "skl2onnx",
    "onnxruntime",
)


class TrainSpec(Struct, frozen=True):
    """What to train. `columns` are the model's inputs in order, of the engine's features and the made ones."""

    estimator: str
    label: str
    columns: list[str]
    made: list[MadeFeature] = field(default_factory=list)
    sampling: Sampling = field(default_factory=Sampling)
    task: str = ""
    parameters: dict[str, Value] = field(default_factory=dict)
    seed: int = 1
    unready: str = "abstain"


class TrainRun(Struct):
    """run.json."""

    spec: TrainSpec
    dataset: str
    dataset_identity: str
    rows: int
    task: str
    score: Score
    inputs: list[Tensor]
    outputs: list[Tensor]
    importance: dict[str, float]
    code_commit: str
    libraries: dict[str, str]
    model_sha256: str
    worst_difference: float  # between ONNX Runtime and who trained it, over the golden rows


@dataclass(frozen=True)
class Matrix:
    """Rows at which the model is asked and whose label is known, in time order over all sources."""

    inputs: Floats
    target: Doubles
    time_ns: npt.NDArray[np.int64]
    end_ns: npt.NDArray[np.int64]
    instrument: npt.NDArray[np.uint32]
    part: npt.NDArray[np.int32]
    mid: Doubles
    spread: Doubles


def default_columns(made: list[MadeFeature]) -> list[str]:
    """Those that do not depend on the level of prices, and all that are made."""
    levels = {"mid", "microprice", "vwap", "ema_fast", "ema_slow", "sma_fast", "sma_slow"}
    return [name for name in FEATURE_NAMES if name not in levels] + [each.name for each in made]


def matrix_of(dataset: Dataset, spec: TrainSpec) -> Matrix:
    """Every source's rows. Raises DatasetError, TrainingError, ManifestError."""
    known = [*FEATURE_NAMES, *(each.name for each in spec.made)]
    for name in spec.columns:
        if name not in known:
            raise TrainingError(unknown_name(name, known))
    if not spec.columns:
        raise TrainingError("a model needs at least one feature", next_step="--feature NAME, again for more")
    try:
        parts = [_part_rows(dataset, part, spec) for part in dataset.each_part()]
    except ManifestError as error:
        raise TrainingError(str(error)) from None
    return Matrix(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _part_rows(dataset: Dataset, part: int, spec: TrainSpec) -> tuple[npt.NDArray[Any], ...]:
    events = dataset.events(part)
    rows = sampling.sample_rows(events, spec.sampling, instruments=len(dataset.about.instruments))
    columns = dataset.features(part)
    values = np.column_stack([columns[name][rows] for name in FEATURE_NAMES])
    owner = events["header"]["instrument"][rows]
    found = {name: values[:, index] for index, name in enumerate(FEATURE_NAMES)}
    bounds = [0, *np.searchsorted(rows, dataset.about.sources[part].resets).tolist(), len(rows)]
    stretches = [compute_made(values[begin:end], owner[begin:end], spec.made) for begin, end in pairwise(bounds)]
    found |= {each.name: np.concatenate([made[each.name] for made in stretches]) for each in spec.made}
    inputs = np.column_stack([found[name] for name in spec.columns]).astype(np.float32)
    value, end_ns = dataset.label(part, spec.label)
    kept = ~np.isnan(value[rows])
    if spec.unready == "abstain":
        kept &= ~np.isnan(inputs).any(axis=1)
    time_ns = np.maximum.accumulate(events["header"]["origin_time_ns"][rows].astype(np.int64)) if len(rows) else rows
    rows, time_ns, inputs, owner = rows[kept], time_ns[kept], inputs[kept], owner[kept]
    mid = (events["bid_price_ticks"][rows] + events["ask_price_ticks"][rows]) / 2
    spread = (events["ask_price_ticks"][rows] - events["bid_price_ticks"][rows]).astype(np.float64)
    return inputs, value[rows], time_ns, end_ns[rows], owner, np.full(len(rows), part, np.int32), mid, spread


def estimator_of(spec: TrainSpec) -> Estimator:
    """A new one, as the settings say."""
    return estimator_named(spec.estimator, seed=spec.seed, task=spec.task, parameters=spec.parameters)


def train(dataset: Dataset, spec: TrainSpec, target: Path, *, repository: Path | None = None) -> TrainRun:
    """Fit on every row, export, compare, write. Raises TrainingError; a folder that has a run is refused."""
    if (target / RUN_FILE).exists():
        raise TrainingError(f"{target}: holds a model already", next_step="name another folder: --to DIR")
    matrix = matrix_of(dataset, spec)
    model = estimator_of(spec)
    model.fit(matrix.inputs, matrix.target)
    data = model.to_onnx()
    session = open_session(data)
    golden = golden_rows(matrix.inputs, graphs.thresholds(data), seed=spec.seed)
    answers, worst = golden_answers(model, session, golden)
    run = TrainRun(
        spec=spec,
        dataset=str(dataset.folder.resolve()),
        dataset_identity=dataset.identity,
        rows=len(matrix.inputs),
        task=model.task,
        score=model.score,
        inputs=[_tensor(each) for each in session.get_inputs()],
        outputs=[_tensor(each) for each in session.get_outputs()],
        importance=dict(zip(spec.columns, model.importance.tolist(), strict=True)),
        code_commit=commit_of(repository or Path.cwd()),
        libraries=versions(),
        model_sha256=hashlib.sha256(data).hexdigest(),
        worst_difference=worst,
    )
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(target / MODEL_FILE, data)
    np.save(target / GOLDEN_INPUTS, golden)
    np.save(target / GOLDEN_OUTPUTS, answers)
    write_atomic(target / RUN_FILE, msgspec.json.format(msgspec.json.encode(run), indent=1))
    return run


def read_run(folder: Path) -> TrainRun:
    """What `train` left. Raises PublishError when it is none or was changed."""
    try:
        run = msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=TrainRun)
        data = (folder / MODEL_FILE).read_bytes()
    except FileNotFoundError as error:
        raise PublishError(
            f"{folder}: holds no trained model: {error.filename}", next_step="hotlab train DATASET --to DIR"
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise PublishError(f"{folder / RUN_FILE}: cannot be read: {error}") from None
    if hashlib.sha256(data).hexdigest() != run.model_sha256:
        raise PublishError(f"{folder / MODEL_FILE}: is not the model that was trained", next_step="train it again")
    return run


# ---- what every model must show ----------------------------------------------------------------------


def open_session(data: bytes) -> Any:
    """ONNX Runtime on a model, one thread. Raises TrainingError when it does not load."""
    runtime = need("onnxruntime", extra="research", why="loading a model")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a tree of its own that it does not promise
        raise TrainingError(f"the exported model does not load: {error}") from None


def _tensor(value: Any) -> Tensor:
    types = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(double)": "float64"}
    shape = [each if isinstance(each, int) else -1 for each in value.shape]
    return Tensor(value.name, types[value.type], shape)  # type: ignore[arg-type]


def golden_rows(inputs: Floats, splits: list[tuple[int, float]], *, seed: int) -> Floats:
    """Rows of the market, the same with one column at a threshold, and what no market shows but a path may meet."""
    random = np.random.default_rng(seed)
    market = inputs[np.sort(random.choice(len(inputs), min(GOLDEN_MARKET, len(inputs)), replace=False))]
    chosen = [splits[each] for each in np.linspace(0, len(splits) - 1, min(len(splits), GOLDEN_THRESHOLDS)).astype(int)]
    at_threshold = np.repeat(market[:1], len(chosen), axis=0)
    for row, (column, value) in enumerate(chosen):
        at_threshold[row, column] = value
    odd = [np.full(inputs.shape[1], value, np.float32) for value in (0.0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40)]
    for value in (np.nan, np.inf, -np.inf):
        for column in range(inputs.shape[1]):
            row_with = market[0].copy()
            row_with[column] = value
            odd.append(row_with)
    return np.ascontiguousarray(np.vstack([market, at_threshold, *odd]), np.float32)


def golden_answers(model: Estimator, session: Any, golden: Floats) -> tuple[npt.NDArray[np.float32], float]:
    """What the library that trained it says of each row, and by how much ONNX Runtime differs at worst. Where a row is
    not finite the runtime's own answer stands: libraries refuse such rows, or make their own of them.

    Raises TrainingError when the two are not the same model.
    """
    name = session.get_inputs()[0].name
    exported = np.vstack([_flat(session.run(None, {name: row[None]})[model.output]) for row in golden])
    finite = np.isfinite(golden).all(axis=1) & (np.abs(golden) < 1e30).all(axis=1)
    original = exported.astype(np.float64)
    original[finite] = model.raw(golden[finite])
    difference = np.abs(exported[finite] - original[finite])
    worst = float(difference.max(initial=0.0))
    if (difference > TOLERANCE + TOLERANCE * np.abs(original[finite])).any():
        raise TrainingError(f"the exported model differs from the trained one by up to {worst:g}")
    return original.astype(np.float32), worst


def _flat(output: Any) -> npt.NDArray[np.float64]:
    return np.asarray(output, np.float64).reshape(1, -1)


def commit_of(folder: Path) -> str:
    """The commit of the repository that `folder` lies in, "+" behind it when something was changed; else empty."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + ("+" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Of the interpreter and of each library that is installed and may have had a part."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
