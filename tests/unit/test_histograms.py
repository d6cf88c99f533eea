"""Histograms in C and Python against the PyPI package hdrhistogram."""

from __future__ import annotations

import io
import math
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given, settings

from ffi import ffi, lib
from hotpath import histograms

VALUE_MAX = lib.HISTOGRAM_VALUE_MAX
PERCENTILES = [0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0]


def reference(values: list[int]) -> HdrHistogram:
    made = HdrHistogram(1, VALUE_MAX, 3)
    for value in values:
        made.record_value(value)
    return made


def recorded(values: list[int], name: str = "") -> histograms.Histogram:
    made = histograms.new(name)
    for value in values:
        lib.histogram_record(histograms.pointer(made), value)
    return made


def latencies(seed: int, count: int) -> list[int]:
    """Values over the whole range, most of them small, as latencies are."""
    random = np.random.default_rng(seed)
    return [int(value) for value in np.minimum(np.exp(random.normal(7, 3, count)), VALUE_MAX)]


values_of_any_size = st.lists(
    st.one_of(st.integers(0, 5000), st.integers(0, VALUE_MAX), st.sampled_from([2047, 2048, 4095, 4096, VALUE_MAX])),
    min_size=1,
    max_size=200,
)


# ---- buckets --------------------------------------------------------------------------------------------


@given(st.integers(0, VALUE_MAX))
def test_value_falls_in_the_bucket_of_the_reference(value: int) -> None:
    other = HdrHistogram(1, VALUE_MAX, 3)
    index = lib.histogram_index(value)
    assert index == other.get_counts_array_index(value)
    assert lib.histogram_highest_equivalent(index) == other.get_highest_equivalent_value(value)


def test_geometry_is_that_of_the_reference() -> None:
    assert HdrHistogram(1, VALUE_MAX, 3).counts_len == lib.HISTOGRAM_COUNTS
    assert lib.histogram_index(VALUE_MAX) == lib.HISTOGRAM_COUNTS - 1
    assert lib.histogram_highest_equivalent(lib.HISTOGRAM_COUNTS - 1) == VALUE_MAX


@given(st.integers(0, lib.HISTOGRAM_COUNTS - 1))
def test_buckets_join_without_gap_or_overlap(index: int) -> None:
    highest = lib.histogram_highest_equivalent(index)
    assert lib.histogram_index(highest) == index
    if index + 1 < lib.HISTOGRAM_COUNTS:
        assert lib.histogram_index(highest + 1) == index + 1


@given(st.integers(1, VALUE_MAX))
def test_bucket_is_within_a_thousandth_of_its_values(value: int) -> None:
    highest = lib.histogram_highest_equivalent(lib.histogram_index(value))
    assert 0 <= highest - value <= value / 1000


# ---- percentiles ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(values_of_any_size, st.sampled_from(PERCENTILES))
def test_percentile_is_the_value_at_its_rank(values: list[int], percentile: float) -> None:
    """By definition: the smallest recorded value with at least so many at or below it."""
    rank = max(1, math.ceil(round(percentile * len(values), 9) / 100 - 1e-12))
    expected = sorted(values)[rank - 1]
    got = histograms.value_at(recorded(values), percentile)
    assert lib.histogram_index(got) == lib.histogram_index(expected)


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_equal_those_of_the_reference(seed: int) -> None:
    """The reference rounds a rank to the nearest, so counts are chosen at which ranks are whole."""
    values = latencies(seed, 10_000)
    mine, other = recorded(values), reference(values)
    for percentile in PERCENTILES[1:]:
        assert histograms.value_at(mine, percentile) == other.get_value_at_percentile(percentile)
    assert int(mine["value_max"][0]) == max(values)
    assert int(mine["value_min"][0]) == min(values)


def test_whole_rank_is_not_rounded_up() -> None:
    assert histograms.value_at(recorded(list(range(1, 1001))), 99.9) == 999


def test_empty_histogram_gives_zero() -> None:
    assert histograms.value_at(histograms.new(), 99.0) == 0
    summary = histograms.summarise(histograms.new("feed"))
    assert (summary.name, summary.count, summary.min_ns, summary.max_ns, summary.mean_ns) == ("feed", 0, 0, 0, 0.0)


def test_value_beyond_the_range_is_clamped_and_counted() -> None:
    made = recorded([5, VALUE_MAX + 1, 2**64 - 1])
    assert (int(made["clamped_count"][0]), int(made["total_count"][0])) == (2, 3)
    assert histograms.value_at(made, 100.0) == VALUE_MAX


def test_summary_is_that_of_the_values() -> None:
    values = latencies(7, 5000)
    summary, other = histograms.summarise(recorded(values, "risk")), reference(values)
    assert (summary.name, summary.count, summary.max_ns) == ("risk", 5000, max(values))
    assert summary.mean_ns == pytest.approx(other.get_mean_value(), rel=1e-3)


# ---- merged and subtracted ------------------------------------------------------------------------------


def test_merged_histogram_holds_all_values() -> None:
    first, second = latencies(1, 1000), latencies(2, 2000)
    merged = histograms.merge([recorded(first), recorded(second)], "both")
    whole = recorded(first + second, "both")
    assert merged.tobytes() == whole.tobytes()


def test_difference_is_what_was_recorded_between() -> None:
    made = recorded([10, 20, 3_000_000], "feed")
    earlier = histograms.snapshot(made)
    for value in (15, 40_000):
        lib.histogram_record(histograms.pointer(made), value)
    between = histograms.difference(histograms.snapshot(made), earlier)
    summary = histograms.summarise(between)
    assert (summary.name, summary.count, summary.min_ns) == ("feed", 2, 15)
    assert lib.histogram_index(summary.max_ns) == lib.histogram_index(40_000)
    assert (between["count"][0] == recorded([15, 40_000])["count"][0]).all()


def test_difference_of_equal_snapshots_is_empty() -> None:
    made = recorded([10, 20])
    assert histograms.summarise(histograms.difference(made, made.copy())).count == 0


def test_difference_of_strangers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        histograms.difference(recorded([10]), recorded([11]))


def test_snapshot_taken_between_two_stores_agrees_with_itself() -> None:
    """A stage was stopped after the bucket and before the total and the extremes."""
    torn = recorded([100, 200])
    torn["count"][0][lib.histogram_index(5000)] += 1
    summary = histograms.summarise(histograms.snapshot(torn))
    assert summary.count == 3
    assert lib.histogram_index(summary.max_ns) == lib.histogram_index(5000)


# ---- the log --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(values_of_any_size)
def test_encoded_histogram_decodes_to_the_same_counts(values: list[int]) -> None:
    decoded = HdrHistogram.decode(histograms.encode_v2(recorded(values)))
    assert decoded.get_total_count() == len(values)
    for value in values:
        assert decoded.get_count_at_value(value) == reference(values).get_count_at_value(value)


@pytest.mark.parametrize("count", [1, 63, 64, 2**13, 2**35, 2**55, 2**56, 2**61])
def test_count_of_any_size_is_encoded(count: int) -> None:
    made = recorded([1234])
    made["count"][0][lib.histogram_index(1234)] = count
    assert HdrHistogram.decode(histograms.encode_v2(made)).get_count_at_value(1234) == count


def test_log_is_opened_by_a_standard_reader(tmp_path: Path) -> None:
    values = {"feed": latencies(3, 2000), "risk": latencies(4, 1000)}
    start = 1_700_000_000_000_000_000
    log = io.StringIO()
    histograms.write_log(
        log,
        [histograms.Interval(tag, start, start + 2_000_000_000, recorded(got)) for tag, got in values.items()],
        start_time_ns=start,
    )
    path = tmp_path / "run.hlog"
    path.write_text(log.getvalue())
    reader = HistogramLogReader(str(path), HdrHistogram(1, VALUE_MAX, 3))
    for tag, expected in values.items():
        read = reader.get_next_interval_histogram()
        assert (read.get_tag(), read.get_total_count()) == (tag, len(expected))
        assert read.get_value_at_percentile(99.0) == histograms.value_at(recorded(expected), 99.0)
        assert (read.get_start_time_stamp(), read.get_end_time_stamp()) == (start / 1e6, start / 1e6 + 2000)
    assert reader.get_next_interval_histogram() is None
    reader.input_file.close()


def test_tag_that_would_break_its_line_is_refused() -> None:
    with pytest.raises(ValueError, match="tag"):
        histograms.write_log(io.StringIO(), [histograms.Interval("a,b", 0, 1, histograms.new())], start_time_ns=0)


def test_reset_keeps_the_name() -> None:
    made = recorded([1, 2, 3], "feed")
    lib.histogram_reset(histograms.pointer(made))
    assert made["name"][0] == b"feed"
    assert ffi.string(histograms.pointer(made).name) == b"feed"
    assert made.tobytes() == histograms.new("feed").tobytes()
