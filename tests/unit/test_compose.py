"""Features made of features: the C kernel equals its reference to the bit, and refuses what it cannot run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import ffi
from ffi.dtypes import enum_names
from hotlab.compose import compute_made, reference
from hotlab.features import FEATURE_NAMES
from hotpath.registry.composition import OPS, PAIRS, check_features, kernel_hash, program_of
from hotpath.registry.errors import ManifestError
from hotpath.registry.manifest import Features, MadeFeature

PARAMETERS = {"clip": (-0.5, 0.75), "scale": (2.5, -1.0), "lag": (3, 0), "change": (5, 0), "average": (4, 0)}
numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324]))


def test_operations_are_named_as_in_the_kernel() -> None:
    names = [name.removeprefix("COMPOSE_").lower() for name in enum_names("compose_op").values()]
    assert tuple(names[:-1]) == OPS


@st.composite
def programs(draw: st.DrawFn) -> list[MadeFeature]:
    made: list[MadeFeature] = []
    for index in range(draw(st.integers(1, 8))):
        known = [*FEATURE_NAMES[:4], *(each.name for each in made)]
        op = draw(st.sampled_from(OPS))
        of = [draw(st.sampled_from(known)) for _ in range(2 if op in PAIRS else 1)]
        p, q = PARAMETERS.get(op, (0, 0))
        made.append(MadeFeature(name=f"made{index}", op=op, of=of, p=p, q=q))  # type: ignore[arg-type]
    return made


@given(programs(), st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=50))
@settings(max_examples=120, deadline=None)
def test_kernel_equals_reference(made: list[MadeFeature], rows: list[tuple[float, ...]]) -> None:
    values = np.zeros((len(rows), len(FEATURE_NAMES)))
    values[:, :4] = rows
    computed = compute_made(values, np.zeros(len(rows), np.uint32), made)
    with np.errstate(all="ignore"):
        expected = reference({name: values[:, i] for i, name in enumerate(FEATURE_NAMES)}, made)
    for name, column in expected.items():
        np.testing.assert_array_equal(computed[name], column, err_msg=name)


def test_each_instrument_has_a_state_of_its_own() -> None:
    made = [MadeFeature(name="before", op="lag", of=["mid"], p=1)]
    values = np.zeros((6, len(FEATURE_NAMES)))
    values[:, 0] = [1, 10, 2, 20, 3, 30]
    column = compute_made(values, np.array([0, 1] * 3, np.uint32), made)["before"]
    np.testing.assert_array_equal(column, [np.nan, np.nan, 1, 10, 2, 20])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            MadeFeature(name="x", op="sum", of=["mid", "imbalance"]),
            "called imbalance; near it: imbalance_",
        ),
        (MadeFeature(name="x", op="sum", of=["mid"]), "sum is of 2"),
        (MadeFeature(name="mid", op="absolute", of=["spread"]), "of that name already"),
        (MadeFeature(name="x", op="lag", of=["mid"], p=32), "bad parameter"),
        (MadeFeature(name="x", op="lag", of=["mid"], p=0.5), "bad parameter"),
        (MadeFeature(name="x", op="clip", of=["mid"], p=2, q=1), "bad parameter"),
        (MadeFeature(name="x", op="average", of=["mid"], p=float("nan")), "bad parameter"),
        (MadeFeature(name="x", op="absolute", of=["x"]), "no feature is called x"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(made: MadeFeature, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        program_of([made])


def test_features_of_a_manifest_are_checked_with_the_nearest_names() -> None:
    from hotpath.registry.composition import PROBE_CONFIG

    good = Features(columns=["mid", "spread"], kernel_hash=kernel_hash(), config=PROBE_CONFIG)
    check_features(good)
    with pytest.raises(ManifestError, match="microprice"):
        check_features(Features(columns=["micro_price"], kernel_hash=kernel_hash(), config=PROBE_CONFIG))
    with pytest.raises(ManifestError, match=r"features\.config: atr_period"):
        config = {key: value for key, value in PROBE_CONFIG.items() if key != "atr_period"}
        check_features(Features(columns=["mid"], kernel_hash=kernel_hash(), config=config))
    with pytest.raises(ManifestError, match=r"features\.config\.ema_fast: bad order"):
        check_features(Features(columns=["mid"], kernel_hash=kernel_hash(), config=PROBE_CONFIG | {"ema_fast": 16}))


def test_the_kernels_do_what_they_did() -> None:
    """Another hash means that models trained before mean something else: say so in the CHANGELOG."""
    assert kernel_hash() == "c0b931f1d10b73290316d12e2fcd440385c066b44e50cc9ea49fb367c7d6f2b6"
    assert ffi.sizeof("compose_step") == 24
