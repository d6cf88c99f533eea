"""Estimators, exports, evidence: what is trained is what is exported, and the future stays out of the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotlab import graphs, training, walk
from hotlab.dataset import Dataset
from hotlab.errors import ExtraMissingError, TrainingError
from hotlab.estimators import ESTIMATORS, Doubles, Estimator, Value, estimator_named, thresholds_on_grid
from hotlab.evaluation import Evidence, evaluate
from hotlab.features import FEATURE_NAMES
from hotlab.ingest import IngestOptions, ingest
from hotlab.made import made_features
from hotlab.making import feature_config, label_record, make_features, make_label
from hotlab.report import write_report
from hotpath.generated import write_generated_day
from hotpath.registry.manifest import MadeFeature

QUICK: dict[str, dict[str, Value]] = {
    "lightgbm": {"n_estimators": 12},
    "xgboost": {"n_estimators": 12},
    "mlp": {"hidden": "8", "max_iter": 30, "learning_rate_init": 0.01},
}
FAMILIES = [(name, task) for name, kind in ESTIMATORS.items() for task in kind.tasks if name != "torch"]
LEAST = 0.4  # correlation with a label that is half noise


def silent(_what: str, _done: int, _all: int) -> None:
    """Nobody watches."""


def market(count: int = 1500, *, seed: int = 3) -> tuple[graphs.Floats, Doubles]:
    """Inputs of very different size, one that counts, one that never varies; and a move that two of them explain."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 6)) * [1, 100, 0.01, 1, 1, 0]
    rows[:, 4] = np.round(rows[:, 4] * 2)
    return rows.astype(np.float32), rows[:, 0] + rows[:, 1] / 100 + random.normal(size=count)


def trained(name: str, task: str, *, seed: int = 1) -> tuple[Estimator, graphs.Floats, Doubles]:
    rows, move = market()
    return estimator_named(name, seed=seed, task=task, parameters=QUICK.get(name)).fit(rows, move), rows, move


@pytest.mark.parametrize(("name", "task"), FAMILIES)
def test_export_loads_and_agrees_with_who_trained_it(name: str, task: str) -> None:
    model, rows, move = trained(name, task)
    data = model.to_onnx()
    golden = training.golden_rows(rows, graphs.thresholds(data), seed=1)
    answers, worst = training.golden_answers(model, training.open_session(data), golden)
    assert worst < 1e-4 and len(answers) == len(golden)
    assert np.isnan(golden).any() and np.isinf(golden).any()
    scores = model.predict(rows)
    assert np.abs(scores).max() <= 1
    assert np.corrcoef(scores, move)[0, 1] > LEAST
    assert model.importance[5] == 0 and model.importance[:2].sum() > 0.4


@pytest.mark.parametrize(("name", "task"), FAMILIES)
def test_one_seed_is_one_model(name: str, task: str) -> None:
    first = trained(name, task)[0].to_onnx()
    assert trained(name, task)[0].to_onnx() == first


def test_lightgbm_decides_alike_at_every_threshold() -> None:
    """Its own thresholds are float64, the export's float32: a row that lies exactly on one must go the same way."""
    model, rows, _ = trained("lightgbm", "move")
    data = model.to_onnx()
    splits = graphs.thresholds(data)
    at = np.repeat(rows[:1], len(splits), axis=0)
    for row, (column, value) in enumerate(splits):
        at[row, column] = value
    answers, _ = training.golden_answers(model, training.open_session(data), at)
    np.testing.assert_allclose(answers, model.raw(at), rtol=1e-5, atol=1e-5)


def test_thresholds_move_down_to_the_grid_and_never_up() -> None:
    text = "tree_sizes=9\nthreshold=0.1 1.5 -0.1 -1.0000000180025095e-35\nleaf_value=1"
    lines = thresholds_on_grid(text).split("\n")
    assert lines[0].startswith("threshold=") and lines[1] == "leaf_value=1"
    values = [float(each) for each in lines[0].removeprefix("threshold=").split()]
    assert all(float(np.float32(each)) == each for each in values)
    assert values[0] <= 0.1 and values[1] == 1.5 and values[2] <= -0.1 and values[3] < -1.0000000180025095e-35


def test_a_missing_library_names_its_extra() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(ExtraMissingError) as raised:
            estimator_named("torch", seed=1).fit(*market())
        assert "hotpath-engine[torch]" in raised.value.next_step


@pytest.mark.parametrize("task", ["direction", "move"])
def test_torch_trains_the_same_kind_of_net(task: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: the extra torch")
    rows, move = market()
    model = estimator_named("torch", seed=1, task=task, parameters={"hidden": "8", "epochs": 5}).fit(rows, move)
    golden = training.golden_rows(rows, [], seed=1)
    assert training.golden_answers(model, training.open_session(model.to_onnx()), golden)[1] < 1e-4


def test_what_cannot_be_trained_is_refused_by_name() -> None:
    with pytest.raises(TrainingError, match="no estimator is called forest"):
        estimator_named("forest", seed=1)
    with pytest.raises(TrainingError, match="logistic does not learn move"):
        estimator_named("logistic", seed=1, task="move")
    with pytest.raises(TrainingError, match="has no parameter depth"):
        estimator_named("lightgbm", seed=1, parameters={"depth": 3})
    rows, _ = market()
    with pytest.raises(TrainingError, match="never moves both ways"):
        estimator_named("logistic", seed=1).fit(rows, np.ones(len(rows)))
    with pytest.raises(TrainingError, match="must be sizes of layers"):
        estimator_named("mlp", seed=1, parameters={"hidden": "wide"}).fit(*market())


def test_made_features_are_read_as_they_are_written() -> None:
    made = made_features(["lean=product:imbalance_top,spread", "before=lag:lean,p=3"])
    assert made[1] == MadeFeature(name="before", op="lag", of=["lean"], p=3.0)
    for text, words in (("x=power:mid", "power"), ("x=lag:mid,n=3", "n is no parameter"), ("x=lag:mids,p=1", "mid")):
        with pytest.raises(TrainingError, match=words):
            made_features([text])


# ---- splits and intervals ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), min_size=60, max_size=200), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_no_row_is_learned_whose_label_reaches_into_the_test(steps: list[tuple[int, int]], embargo_ns: int) -> None:
    time_ns = np.cumsum([wait for wait, _ in steps]).astype(np.int64)
    end_ns = time_ns + np.array([horizon for _, horizon in steps], np.int64)
    tested: list[int] = []
    try:
        for fold in walk.walk_forward(time_ns, end_ns, folds=3, embargo_ns=embargo_ns):
            first_ns = time_ns[fold.test[0]]
            assert (end_ns[fold.train] + embargo_ns < first_ns).all()
            assert (time_ns[fold.train] + embargo_ns < first_ns).all()
            left_out = set(range(fold.test[0])) - set(fold.train.tolist())
            assert fold.purged == len(left_out)
            assert all(max(end_ns[each], time_ns[each]) + embargo_ns >= first_ns for each in left_out)
            tested += fold.test.tolist()
    except TrainingError as error:
        assert "no row's label was known" in str(error)
        return
    assert tested == list(range(tested[0], len(time_ns)))


def test_an_interval_covers_what_it_says() -> None:
    """Of 30 samples of independent noise about 95 % of the intervals hold the truth, 0."""
    held = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        columns = [random.normal(size=300), random.normal(size=300)]
        interval = walk.bootstrap(walk.correlation, columns, seed=1, resamples=120)
        held += interval.low <= 0 <= interval.high
    assert held >= 24


def test_area_counts_pairs() -> None:
    random = np.random.default_rng(5)
    score, label = np.round(random.normal(size=80), 1), random.choice([-1.0, 0.0, 1.0], 80)
    pairs = [(u > d) + (u == d) / 2 for u in score[label > 0] for d in score[label < 0]]
    assert walk.area([score, label]) == pytest.approx(np.mean(pairs))


# ---- from a day to a report ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("lab")
    day = write_generated_day(folder / "day.itch", messages=20_000, instruments=2, live_orders=200)
    found = ingest([day], folder / "set", IngestOptions())
    make_features(found, feature_config(None, {"sma_slow": "6", "bar_ns": "200000000"}), silent)
    make_label(found, label_record("fixed_horizon", {"horizon_ns": 100_000_000.0}, "move"), silent)
    return found


def test_a_day_becomes_a_model_with_evidence(dataset: Dataset, tmp_path: Path) -> None:
    made = made_features(["lean=product:imbalance_top,spread", "before=lag:imbalance_top,p=2"])
    columns = ["imbalance_top", "imbalance_depth", "lean", "before"]
    spec = training.TrainSpec("logistic", "move", columns, made=made)
    run = training.train(dataset, spec, tmp_path / "run")
    again = training.train(dataset, spec, tmp_path / "again")
    assert (run.model_sha256, run.dataset_identity) == (again.model_sha256, dataset.identity)
    with pytest.raises(TrainingError, match="holds a model already"):
        training.train(dataset, spec, tmp_path / "run")
    evaluation, evidence = evaluate(tmp_path / "run", folds=3, embargo_ns=10**6, threshold=0.1, progress=silent)
    assert len(evaluation.folds) == 3 and all(fold.purged_rows > 0 for fold in evaluation.folds)
    figure = evaluation.figures["area_under_curve"]
    assert figure.low <= figure.value <= figure.high
    page = write_report(tmp_path / "run", run, evaluation, evidence).read_text()
    assert page.count("<svg") == 4 and "lean = product(imbalance_top, spread)" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page


def test_the_sketch_of_equity_is_what_a_ledger_makes_of_it(dataset: Dataset) -> None:
    matrix = training.matrix_of(dataset, training.TrainSpec("linear", "move", list(FEATURE_NAMES[:4])))
    rows = np.arange(len(matrix.inputs))
    random = np.random.default_rng(2)
    evidence = Evidence(random.uniform(-1, 1, len(rows)), matrix, rows)
    gains, trades = evidence.gains(0.6)
    total, lots = 0.0, 0
    for instrument in np.unique(matrix.instrument):
        held, own = 0.0, rows[matrix.instrument == instrument]
        for at, row in enumerate(own):
            wished = held if abs(evidence.score[row]) < 0.6 else float(np.sign(evidence.score[row]))
            wished = 0.0 if at == len(own) - 1 else wished
            total -= abs(wished - held) * matrix.spread[row] / 2
            lots += int(abs(wished - held))
            held = wished
            if at + 1 < len(own):
                total += held * (matrix.mid[own[at + 1]] - matrix.mid[row])
    assert gains.sum() == pytest.approx(total) and trades == lots
