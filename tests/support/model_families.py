"""Trained models by family, exported as their users export them: seeded, small, quick to fit.

Each builder takes a seed and gives the ONNX bytes and rows of features: some as in training, some with values that
equal thresholds, huge ones, and (for trees) NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
ROWS = 240


@dataclass(frozen=True)
class Exported:
    """A model's file, and rows to show it."""

    onnx: bytes
    rows: Floats


def _data(seed: int, *, classes: int = 0) -> tuple[Floats, Any]:
    """Features and a target; their number follows the seed."""
    random = np.random.default_rng(seed)
    features = int(random.integers(2, 40))
    rows = random.normal(size=(ROWS, features)).astype(np.float32) * random.uniform(0.2, 3, features).astype(np.float32)
    score = rows @ random.normal(size=features) + np.sin(rows[:, 0]) + random.normal(size=ROWS) * 0.1
    if not classes:
        return rows, score.astype(np.float32)
    return rows, np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score)


def _sklearn(make: Callable[[int], Any], *, classes: int = 0, **options: Any) -> Callable[[int], Exported]:
    def build(seed: int) -> Exported:
        from skl2onnx import to_onnx

        rows, target = _data(seed, classes=classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = make(seed).fit(rows, target)
            given = {"zipmap": False, **options} if classes else options
            exported = to_onnx(fitted, rows[:1], options={id(fitted): given} if given else None)
        return Exported(exported.SerializeToString(), rows)

    return build


def _pipeline(*steps: Any) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*steps)


def _linear(seed: int) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _scaled_ridge(seed: int) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    return _pipeline(StandardScaler(), Ridge())


def _ranged_lasso(seed: int) -> Any:
    from sklearn.linear_model import Lasso
    from sklearn.preprocessing import MinMaxScaler

    return _pipeline(MinMaxScaler(), Lasso(0.001))


def _principal(seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import Normalizer

    return _pipeline(Normalizer(), PCA(2), LinearRegression())


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import RobustScaler

    return _pipeline(RobustScaler(), LogisticRegression())


def _mlp_regressor(seed: int) -> Any:
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(seed)
    return _pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=tuple(int(size) for size in random.integers(1, 70, int(random.integers(1, 4)))),
            activation=str(random.choice(["relu", "tanh", "logistic", "identity"])),
            max_iter=20,
            random_state=seed,
        ),
    )


def _mlp_classifier(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    activation = str(np.random.default_rng(seed).choice(["relu", "tanh", "logistic"]))
    return MLPClassifier(hidden_layer_sizes=(19, 7), activation=activation, max_iter=20, random_state=seed)


def _tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(random_state=seed)


def _tree_classifier(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=4, random_state=seed)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=21, random_state=seed)


def _forest_classifier(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=13, max_depth=5, random_state=seed)


def _extra_trees(seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(n_estimators=9, max_depth=7, random_state=seed)


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=30, random_state=seed)


def _boosting_classifier(seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=12, random_state=seed)


def _boosted(library: str, *, classes: int = 0, **options: Any) -> Callable[[int], Exported]:
    """LightGBM or XGBoost, by onnxmltools."""

    def build(seed: int) -> Exported:
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        rows, target = _data(seed, classes=classes)
        rows[::7, 0] = np.nan  # branches for what is missing
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if library == "lightgbm":
                import lightgbm

                kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
                fitted = kind(n_estimators=25, num_leaves=15, verbose=-1, n_jobs=1, random_state=seed, **options)
                convert, more = onnxmltools.convert_lightgbm, {"zipmap": False}
            else:
                import xgboost

                kind = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
                fitted = kind(n_estimators=25, max_depth=5, n_jobs=1, random_state=seed, **options)
                convert, more = onnxmltools.convert_xgboost, {}
            fitted.fit(rows, target)
            types = [("x", FloatTensorType([None, rows.shape[1]]))]
            exported = convert(fitted, initial_types=types, target_opset=15, **more)
        return Exported(exported.SerializeToString(), rows)

    return build


FAMILIES: dict[str, Callable[[int], Exported]] = {
    "linear regression": _sklearn(_linear),
    "standard scaler, ridge": _sklearn(_scaled_ridge),
    "min-max scaler, lasso": _sklearn(_ranged_lasso),
    "normaliser, PCA, regression": _sklearn(_principal),
    "robust scaler, logistic": _sklearn(_logistic, classes=2),
    "logistic, three classes": _sklearn(_logistic, classes=3),
    "MLP regressor": _sklearn(_mlp_regressor),
    "MLP classifier": _sklearn(_mlp_classifier, classes=2),
    "MLP, four classes": _sklearn(_mlp_classifier, classes=4),
}

TREES: dict[str, Callable[[int], Exported]] = {
    "decision tree": _sklearn(_tree),
    "decision tree, two classes": _sklearn(_tree_classifier, classes=2),
    "random forest": _sklearn(_forest),
    "random forest, two classes": _sklearn(_forest_classifier, classes=2),
    "random forest, four classes": _sklearn(_forest_classifier, classes=4),
    "extra trees": _sklearn(_extra_trees),
    "gradient boosting": _sklearn(_boosting),
    "gradient boosting, two classes": _sklearn(_boosting_classifier, classes=2),
    "gradient boosting, three classes": _sklearn(_boosting_classifier, classes=3),
    "LightGBM": _boosted("lightgbm"),
    "LightGBM, forest": _boosted("lightgbm", boosting_type="rf", bagging_freq=1, bagging_fraction=0.5),
    "LightGBM, two classes": _boosted("lightgbm", classes=2),
    "LightGBM, three classes": _boosted("lightgbm", classes=3),
    "XGBoost": _boosted("xgboost"),
    "XGBoost, two classes": _boosted("xgboost", classes=2),
    "XGBoost, three classes": _boosted("xgboost", classes=3),
}
