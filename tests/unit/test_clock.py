"""The engine clock: near the system's, never backwards, the same in every process."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from ffi import ffi, lib
from hotpath import segments

EPOCH = 1_700_000_000_000_000_000
WINDOW_NS = 20_000_000


def calibrated(*, force_system: bool) -> ffi.CData:
    page = ffi.new("clock_page *")
    lib.clock_calibrate(page, WINDOW_NS, force_system)
    return page


SOURCES = pytest.mark.parametrize("force_system", [False, True], ids=["counter", "system"])


@SOURCES
def test_clock_runs_beside_the_system_clock(force_system: bool) -> None:
    page = calibrated(force_system=force_system)
    before = time.time_ns()
    now = lib.clock_now(page)
    after = time.time_ns()
    # Ten milliseconds for a machine that was stopped between two lines, and for a slewing system clock.
    assert before - 10_000_000 <= now <= after + 10_000_000


@SOURCES
def test_clock_never_runs_backwards(force_system: bool) -> None:
    page = calibrated(force_system=force_system)
    last = 0
    for _ in range(20_000):
        now = lib.clock_now(page)
        assert now >= last
        last = now


@SOURCES
def test_clock_measures_a_span_as_the_system_does(force_system: bool) -> None:
    page = calibrated(force_system=force_system)
    raw, ours = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), lib.clock_now(page)
    time.sleep(0.1)
    span_ours, span_raw = lib.clock_now(page) - ours, time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - raw
    # The two pairs of readings are not simultaneous; a millisecond of each hundred is left for that.
    assert abs(span_ours - span_raw) < max(1_000_000, span_raw // 100)


def test_forced_system_source_is_recorded() -> None:
    page = calibrated(force_system=True)
    assert (page.source, page.scale, page.error_ppb) == (lib.CLOCK_SYSTEM, 1 << 32, 0)


def test_counter_is_used_where_it_is_invariant() -> None:
    page = calibrated(force_system=False)
    assert page.source == (lib.CLOCK_TSC if lib.clock_tsc_invariant() else lib.CLOCK_SYSTEM)
    if page.source == lib.CLOCK_TSC:
        assert page.frequency_hz == pytest.approx((1 << 32) * 1e9 / page.scale, rel=1e-6)
        assert abs(page.error_ppb) < 1_000_000, "a thousandth: the two windows of the calibration agree"


def test_counter_behind_the_anchor_reads_a_little_less() -> None:
    """As on a core whose counter lags the one that calibrated: not 2^64 ticks later."""
    page = calibrated(force_system=False)
    if page.source != lib.CLOCK_TSC:
        page = calibrated(force_system=True)
    page.anchor_tsc += page.frequency_hz  # the anchor lies a second ahead
    now = lib.clock_now(page)
    assert page.anchor_time_ns - 2_000_000_000 < now < page.anchor_time_ns


def _read_in_child(engine: str, times: list[int]) -> None:
    page = segments.attach(engine, "clock", lib.SEGMENT_CLOCK).cast("clock_page *")
    times.append(lib.clock_now(page))


def test_two_processes_read_one_time(engine: str) -> None:
    page = segments.create(engine, "clock", lib.SEGMENT_CLOCK, 4096, run_epoch=EPOCH).cast("clock_page *")
    lib.clock_calibrate(page, WINDOW_NS, 0)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        times = manager.list()
        before = lib.clock_now(page)
        child = context.Process(target=_read_in_child, args=(engine, times))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert before < times[0] < lib.clock_now(page)
