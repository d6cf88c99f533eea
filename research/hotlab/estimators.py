"""Models that can be trained, each with `fit`, `predict` and `to_onnx`, as scikit-learn's are.

    name       library        learns
    linear     scikit-learn   the move, least squares with a ridge
    logistic   scikit-learn   the direction: rows that did not move are left out
    lightgbm   LightGBM       either: task = "direction" or "move"
    xgboost    XGBoost        either
    mlp        scikit-learn   either, a dense net with ReLU
    torch      PyTorch        either, the same net, by Adam

`predict` is a score: above 0 for up. For a direction it is 2 p - 1, for a move the move over three of its own
deviations, clamped to [-1, 1]; `score` of the manifest makes the same of the model's output. Libraries are imported
when they are needed; a missing one is an error that names the extra. A seed determines the model on one machine and
release.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from hotlab import graphs
from hotlab.errors import TrainingError, need
from hotlab.graphs import Activation, Floats
from hotpath.registry.manifest import Score

Doubles = npt.NDArray[np.float64]
Value = float | int | str | bool
Task = Literal["direction", "move"]
EXTRA = "research"
LIGHTGBM_ZERO = 1.0000000180025095e-35  # values up to this count as 0 there
FULL_DEVIATIONS = 3.0  # a predicted move of so many deviations is a full score


class Estimator(ABC):
    """One model. `parameters` are the library's, over the defaults of the class."""

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Value]]
    tasks: ClassVar[tuple[Task, ...]] = ("direction", "move")

    def __init__(self, *, seed: int, task: str = "", **parameters: Value) -> None:
        unknown = sorted(set(parameters) - set(self.defaults))
        if unknown:
            raise TrainingError(
                f"{self.name} has no parameter {unknown[0]}", next_step=f"it has {', '.join(self.defaults)}"
            )
        if task and task not in self.tasks:
            raise TrainingError(f"{self.name} does not learn {task}", next_step=f"it learns {' or '.join(self.tasks)}")
        self.task: Task = task or self.tasks[0]
        self.parameters: dict[str, Value] = {**self.defaults, **parameters}
        self.seed = seed
        self.center, self.scale = 0.5, 2.0
        self.importance: Doubles = np.empty(0)

    def fit(self, rows: Floats, target: Doubles) -> Estimator:
        """Learn. Raises TrainingError when there is nothing to learn from."""
        if self.task == "direction":
            moved = target != 0
            rows, target = rows[moved], (target[moved] > 0).astype(np.float64)
            if len(np.unique(target)) < 2:
                raise TrainingError("the label never moves both ways: there is no direction to learn")
        if len(rows) < 10:
            raise TrainingError(f"{len(rows)} rows are too few to learn from")
        self._fit(np.ascontiguousarray(rows, np.float32), target)
        if self.task == "move":
            deviation = float(np.std(self.raw(rows)[:, self.index])) or 1.0
            self.center, self.scale = 0.0, 1 / (FULL_DEVIATIONS * deviation)
        return self

    def predict(self, rows: Floats) -> Doubles:
        """Scores in [-1, 1]."""
        return np.clip((self.raw(rows)[:, self.index].astype(np.float64) - self.center) * self.scale, -1, 1)

    @property
    def score(self) -> Score:
        """How the manifest makes the score of the model's output."""
        return Score(output=self.output, index=self.index, center=self.center, scale=self.scale)

    output = 0  # of the graph's outputs, the one that is the score
    index = 0  # its column there

    @abstractmethod
    def _fit(self, rows: Floats, target: Doubles) -> None:
        """Learn a target of 0 and 1, or a move."""

    @abstractmethod
    def raw(self, rows: Floats) -> Doubles:
        """What the graph's output `output` is, by the library that trained it: (rows, columns)."""

    @abstractmethod
    def to_onnx(self) -> bytes:
        """The model as an ONNX file."""


class _Net(Estimator):
    """What is layers of weights in the end."""

    hidden: Activation = "relu"

    def _keep(self, layers: list[tuple[Floats, Floats]], mean: Doubles, scale: Doubles) -> None:
        self._layers = [(np.asarray(w, np.float32), np.asarray(b, np.float32)) for w, b in layers]
        self._mean, self._scale = mean.astype(np.float32), scale.astype(np.float32)
        strength = np.abs(self._layers[0][0]).sum(axis=1) * (self._scale != 0)
        self.importance = strength.astype(np.float64) / max(float(strength.sum()), 1e-30)

    @property
    def _shape(self) -> dict[str, Any]:
        last: Activation = "sigmoid" if self.task == "direction" else "identity"
        return {"hidden": self.hidden, "last": last, "mean": self._mean, "scale": self._scale}

    def raw(self, rows: Floats) -> Doubles:
        return graphs.run_dense(self._layers, rows, **self._shape)

    def to_onnx(self) -> bytes:
        return graphs.dense_net(self._layers, **self._shape)


def standard(rows: Floats) -> tuple[Doubles, Doubles]:
    """Mean and reciprocal deviation of each column; a column that never varies counts as 0."""
    values = rows.astype(np.float64)
    deviation = values.std(axis=0)
    varies = deviation > 1e-12 * np.maximum(np.abs(values).max(axis=0), 1e-300)
    return values.mean(axis=0), np.where(varies, 1 / np.where(varies, deviation, 1), 0)


class Linear(_Net):
    """Least squares with a ridge."""

    name, defaults, tasks = "linear", {"alpha": 1.0}, ("move",)

    def _fit(self, rows: Floats, target: Doubles) -> None:
        linear_model = need("sklearn.linear_model", extra=EXTRA, why="a linear model")
        mean, scale = standard(rows)
        model = linear_model.Ridge(alpha=float(self.parameters["alpha"])).fit((rows - mean) * scale, target)
        self._keep([(model.coef_.reshape(-1, 1), np.atleast_1d(model.intercept_))], mean, scale)


class Logistic(_Net):
    """Logistic regression with a ridge."""

    name, defaults, tasks = "logistic", {"C": 1.0, "max_iter": 300}, ("direction",)

    def _fit(self, rows: Floats, target: Doubles) -> None:
        linear_model = need("sklearn.linear_model", extra=EXTRA, why="a logistic model")
        mean, scale = standard(rows)
        model = linear_model.LogisticRegression(
            C=float(self.parameters["C"]), max_iter=int(self.parameters["max_iter"]), random_state=self.seed
        ).fit((rows - mean) * scale, target)
        self._keep([(model.coef_.reshape(-1, 1), np.atleast_1d(model.intercept_))], mean, scale)


def hidden_sizes(text: Value) -> tuple[int, ...]:
    """ "64-32" as (64, 32). Raises TrainingError."""
    try:
        sizes = tuple(int(part) for part in str(text).split("-"))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1 or max(sizes) > 4096:
        raise TrainingError(f"hidden={text}: must be sizes of layers, as 64-32")
    return sizes


class Mlp(_Net):
    """A dense net, by scikit-learn."""

    name = "mlp"
    defaults: ClassVar[dict[str, Value]] = {
        "hidden": "32-16",
        "alpha": 1e-4,
        "max_iter": 40,
        "learning_rate_init": 1e-3,
    }

    def _fit(self, rows: Floats, target: Doubles) -> None:
        networks = need("sklearn.neural_network", extra=EXTRA, why="an MLP")
        import warnings

        mean, scale = standard(rows)
        kind = networks.MLPClassifier if self.task == "direction" else networks.MLPRegressor
        model = kind(
            hidden_layer_sizes=hidden_sizes(self.parameters["hidden"]),
            alpha=float(self.parameters["alpha"]),
            max_iter=int(self.parameters["max_iter"]),
            learning_rate_init=float(self.parameters["learning_rate_init"]),
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=UserWarning)  # that it could learn on: max_iter is a choice
            model.fit((rows - mean) * scale, target)
        self._keep(list(zip(model.coefs_, model.intercepts_, strict=True)), mean, scale)


class Torch(_Net):
    """The same net, by PyTorch; the graph is written from its weights, so that no exporter has a say."""

    name = "torch"
    defaults: ClassVar[dict[str, Value]] = {
        "hidden": "32-16",
        "epochs": 30,
        "batch": 256,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
    }

    def _fit(self, rows: Floats, target: Doubles) -> None:
        torch = need("torch", extra="torch", why="a torch net")
        torch.manual_seed(self.seed)
        torch.use_deterministic_algorithms(True)
        mean, scale = standard(rows)
        inputs = torch.from_numpy(((rows - mean) * scale).astype(np.float32))
        wanted = torch.from_numpy(target.astype(np.float32)).reshape(-1, 1)
        sizes = [inputs.shape[1], *hidden_sizes(self.parameters["hidden"]), 1]
        linears = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
        parts = [part for each in linears[:-1] for part in (each, torch.nn.ReLU())]
        net = torch.nn.Sequential(*parts, linears[-1])
        loss = torch.nn.BCEWithLogitsLoss() if self.task == "direction" else torch.nn.MSELoss()
        rate, decay = float(self.parameters["learning_rate"]), float(self.parameters["weight_decay"])
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
        for _ in range(int(self.parameters["epochs"])):
            for batch in torch.randperm(len(inputs)).split(int(self.parameters["batch"])):
                optimizer.zero_grad()
                loss(net(inputs[batch]), wanted[batch]).backward()
                optimizer.step()
        layers = [(each.weight.detach().numpy().T, each.bias.detach().numpy()) for each in linears]
        self._keep(layers, mean, scale)


class _Trees(Estimator):
    """Boosted trees: the graph is by onnxmltools, the truth is the library's own predictor."""

    @property
    def output(self) -> int:  # type: ignore[override]
        """Of a classifier the second: the first is the class."""
        return 1 if self.task == "direction" else 0

    @property
    def index(self) -> int:  # type: ignore[override]
        """Of a classifier the column of "up"."""
        return 1 if self.task == "direction" else 0

    def _as_output(self, predicted: Doubles) -> Doubles:
        values = np.asarray(predicted, np.float64)
        return np.column_stack([1 - values, values]) if self.task == "direction" else values.reshape(-1, 1)

    def _input_type(self, count: int) -> list[Any]:
        need("onnxmltools", extra=EXTRA, why="exporting trees")
        from onnxmltools.convert.common.data_types import FloatTensorType

        return [(graphs.INPUT, FloatTensorType([None, count]))]


class LightGbm(_Trees):
    """Gradient boosting, by LightGBM."""

    name = "lightgbm"
    defaults: ClassVar[dict[str, Value]] = {
        "n_estimators": 100, "num_leaves": 15, "learning_rate": 0.05, "min_child_samples": 50, "subsample": 0.8,
        "colsample_bytree": 0.8, "reg_lambda": 1.0,
    }  # fmt: skip

    def _fit(self, rows: Floats, target: Doubles) -> None:
        lightgbm = need("lightgbm", extra=EXTRA, why="LightGBM")
        kind = lightgbm.LGBMClassifier if self.task == "direction" else lightgbm.LGBMRegressor
        fixed = {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "subsample_freq": 1, "verbosity": -1}
        model = kind(random_state=self.seed, **fixed, **self.parameters).fit(rows, target)
        self._count = rows.shape[1]
        text = thresholds_on_grid(model.booster_.model_to_string())
        self._booster = lightgbm.Booster(model_str=text)
        gain = self._booster.feature_importance("gain").astype(np.float64)
        self.importance = gain / max(float(gain.sum()), 1e-30)

    def raw(self, rows: Floats) -> Doubles:
        return self._as_output(self._booster.predict(rows.astype(np.float32), num_threads=1))

    def to_onnx(self) -> bytes:
        convert = need("onnxmltools", extra=EXTRA, why="exporting trees").convert_lightgbm
        model = convert(
            self._booster, initial_types=self._input_type(self._count), zipmap=False, target_opset=graphs.OPSET
        )
        return serialized(model)


def thresholds_on_grid(text: str) -> str:
    """A LightGBM model whose thresholds are float32, each rounded down: on float32 rows it decides as before, and its
    export, which rounds to the nearest, then rounds nothing."""
    lines = []
    for line in text.split("\n"):
        if line.startswith("tree_sizes="):
            continue  # of the text as it was; without them it is read line by line
        if line.startswith("threshold="):
            values = np.array(line.removeprefix("threshold=").split(), np.float64)
            near = values.astype(np.float32)
            lower = (near > values) | ((values < 0) & (values >= -LIGHTGBM_ZERO))
            down = np.where(lower, np.nextafter(near, np.float32(-np.inf)), near)
            line = "threshold=" + " ".join(repr(float(value)) for value in down)
        lines.append(line)
    return "\n".join(lines)


class XgBoost(_Trees):
    """Gradient boosting, by XGBoost."""

    name = "xgboost"
    defaults: ClassVar[dict[str, Value]] = {
        "n_estimators": 100, "max_depth": 4, "learning_rate": 0.05, "min_child_weight": 5.0, "subsample": 0.8,
        "colsample_bytree": 0.8, "reg_lambda": 1.0,
    }  # fmt: skip

    def _fit(self, rows: Floats, target: Doubles) -> None:
        xgboost = need("xgboost", extra=EXTRA, why="XGBoost")
        kind = xgboost.XGBClassifier if self.task == "direction" else xgboost.XGBRegressor
        model = kind(random_state=self.seed, n_jobs=1, tree_method="hist", **self.parameters)
        self._model = model.fit(rows, target)
        self._count = rows.shape[1]
        gain = np.asarray(model.feature_importances_, np.float64)
        self.importance = gain / max(float(gain.sum()), 1e-30)

    def raw(self, rows: Floats) -> Doubles:
        rows = rows.astype(np.float32)
        if self.task == "direction":
            return np.asarray(self._model.predict_proba(rows), np.float64)
        return self._as_output(self._model.predict(rows))

    def to_onnx(self) -> bytes:
        convert = need("onnxmltools", extra=EXTRA, why="exporting trees").convert_xgboost
        return serialized(convert(self._model, initial_types=self._input_type(self._count), target_opset=graphs.OPSET))


def serialized(model: Any) -> bytes:
    """A graph of a library, with the opsets and format that ONNX Runtime has read for years, and no notes."""
    model.ir_version = graphs.IR_VERSION
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    model.graph.name = "hotlab"
    data: bytes = model.SerializeToString(deterministic=True)
    return data


ESTIMATORS: dict[str, type[Estimator]] = {each.name: each for each in (Linear, Logistic, LightGbm, XgBoost, Mlp, Torch)}


def estimator_named(name: str, *, seed: int, task: str = "", parameters: dict[str, Value] | None = None) -> Estimator:
    """A new one. Raises TrainingError for a name or parameter that is not there."""
    if name not in ESTIMATORS:
        raise TrainingError(f"no estimator is called {name}", next_step=f"there is {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name](seed=seed, task=task, **(parameters or {}))
