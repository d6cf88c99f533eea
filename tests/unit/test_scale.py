"""Curves of cost: a bend is found where there is one and nowhere else, and each curve runs in smoke size."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from bench.harness import Options, default_options
from bench.scale import __main__ as scale
from bench.scale import depth, page, rules, shards
from bench.scale.curve import Bend, Curve, Line, Point, bend_text, count_text, find_bend, slope
from ffi import lib

DOUBLINGS = [2.0**power for power in range(12)]
SMOKE = default_options("smoke")


def noisy(values: list[float], *, part: float, seed: int = 1) -> list[float]:
    return list(np.asarray(values) * (1 + part * np.random.default_rng(seed).standard_normal(len(values))))


def curve_of(values: list[float], *, modelled: int = 0) -> Curve:
    marks = [index >= len(values) - modelled for index in range(len(values))]
    made = [
        Point(x, (value, value, value), modelled=mark) for x, value, mark in zip(DOUBLINGS, values, marks, strict=False)
    ]
    return Curve("some", "Some <title>", "one core", "things", "ns an event", "ns", [Line("a line", made)], why="Why.")


def test_bend_is_found_where_a_level_cost_begins_to_double() -> None:
    values = noisy([100.0 * max(1.0, x / 64) for x in DOUBLINGS], part=0.02)
    found = find_bend(DOUBLINGS, values)
    assert found is not None
    assert 32 < found.x < 128
    assert found.before == pytest.approx(1.0, abs=0.1)
    assert found.after == pytest.approx(2.0, abs=0.2)


def test_no_bend_in_a_level_line_however_it_scatters() -> None:
    found = [find_bend(DOUBLINGS, noisy([100.0] * 12, part=0.05, seed=seed)) for seed in range(200)]
    assert sum(bend is not None for bend in found) <= 10


def test_no_bend_in_a_straight_rise() -> None:
    assert find_bend(DOUBLINGS, noisy([10 * x**0.5 for x in DOUBLINGS], part=0.02)) is None
    plain = [float(x) for x in range(9)]
    assert find_bend(plain, noisy([100 + 7 * x for x in plain], part=0.002), scale="plain") is None


def test_no_bend_is_claimed_of_too_few_points() -> None:
    assert find_bend([1, 2, 4, 8], [1, 1, 10, 100]) is None


def test_bend_of_a_plain_axis_has_slopes_of_one_more() -> None:
    xs = [float(x) for x in range(12)]
    found = find_bend(xs, [50 + 2 * x + 10 * max(0, x - 6) for x in xs], scale="plain")
    assert found is not None
    assert found.x == pytest.approx(6, abs=0.3)
    assert [found.before, found.after] == pytest.approx([2, 12], abs=0.2)


def test_what_is_modelled_bends_nothing() -> None:
    curve = curve_of([100.0] * 8 + [1e6] * 4, modelled=4)
    assert curve.bends() == {"a line": None}
    assert slope(curve.lines[0], scale="log") == pytest.approx(1.0)
    assert "modelled" in page.table_of(curve).rows[-1][1]
    assert [point["modelled"] for point in curve.records()[0]["points"]][-5:] == [False, True, True, True, True]


def test_words_of_a_bend_name_what_grows() -> None:
    line = curve_of([100.0] * 6).lines[0]
    text = bend_text(line, Bend(1234.0, 1.0, 1.5), scale="log", unit="ns", of="instruments")
    assert text == "bends at about 1,200 instruments: x1.00 a doubling before, x1.50 a doubling after"
    assert bend_text(line, None, scale="log", unit="ns", of="things") == "no bend: x1.00 a doubling"
    assert [count_text(value) for value in (3, 14.2, 48_700, 2_345_678)] == ["3", "14.2", "49,000", "2.35 M"]


def test_page_escapes_and_says_that_a_run_was_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    written = page.write([curve_of([100.0 * max(1.0, x / 64) for x in DOUBLINGS])], size="smoke")
    text = written[0].read_text()
    assert "Some &lt;title&gt;" in text and "<title>Some" not in text
    assert "A smoke run" in text and "bends at about" in text and "<svg" in text
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")


def test_worst_case_of_a_book_keeps_every_order() -> None:
    assert depth.worst_cost(64, rounds_of=1) > 0


def test_rules_fold_as_many_strategies_as_they_say() -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p)
    features = np.ones(lib.FEATURES_MAX)
    market = np.zeros(lib.NATIVE_MARKET_MAX, np.int64)
    touched = []
    for count in (1, 8, 64):
        state = np.zeros(lib.NATIVE_STATE_MAX)
        score = kind(getattr(rules, f"rules_{count}").address)
        assert abs(score(features.ctypes.data, 2**lib.FEATURES_MAX - 1, market.ctypes.data, state.ctypes.data)) <= 0.001
        touched.append(int(np.count_nonzero(state)))
    assert touched == [1, 8, lib.NATIVE_STATE_MAX]
    with pytest.raises(AttributeError):
        _ = rules.lean_64


def test_shards_divide_every_message_of_an_instrument() -> None:
    market = shards.Market(messages=5000, instruments=16, live_orders=500)
    parts = [shards.shard_file(market, shard, 4)[1] for shard in range(4)]
    common = float(np.mean(shards.locates(market) < 0))
    assert sum(parts) - 3 * common == pytest.approx(1.0)
    assert parts[0] == shards.share(market, 4) == max(parts)


@pytest.mark.parametrize("name", ["readers", "seats", "shards"])
def test_curve_runs_in_smoke_size(name: str) -> None:
    curve = scale.CURVES[name](Options(size="smoke", engine_cpu=SMOKE.engine_cpu, driver_cpu=SMOKE.engine_cpu))
    assert all(point.value > 0 for line in curve.lines for point in line.points)
    assert curve.why and "spin control" in curve.control
    assert scale.finding_of(curve).bench == f"scale/{name}"
