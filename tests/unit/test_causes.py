"""Causes: the table is the code's, the strictest wins, and what clears itself does so after its hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from ffi import ffi, lib
from hotpath.control.causes import CAUSES, active_causes, cause_names, causes_of_bits, mode_names, modes_page

REPOSITORY = Path(__file__).resolve().parents[2]
MS = 1_000_000


def test_table_has_a_row_for_each_cause_in_the_order_of_the_code() -> None:
    assert [cause.name for cause in CAUSES] == cause_names()
    assert all(set(cause.modes) <= set(mode_names().values()) - {"normal"} for cause in CAUSES)


def test_page_is_what_the_code_says() -> None:
    page = (REPOSITORY / "docs" / "modes.md").read_text()
    assert page == modes_page(), "make it again: python -m hotpath.control.causes > docs/modes.md"


@pytest.mark.parametrize("number", range(lib.CAUSES))
def test_strictest_cause_is_in_force_whatever_its_place(number: int) -> None:
    control = ffi.new("control_page *")
    assert lib.control_mode(control) == lib.MODE_NORMAL and lib.control_causes(control) == 0
    lib.control_cause(control, number, lib.MODE_CANCEL_ONLY)
    other = (number + 7) % lib.CAUSES
    lib.control_cause(control, other, lib.MODE_REDUCE_ONLY)
    assert lib.control_mode(control) == lib.MODE_CANCEL_ONLY
    assert set(causes_of_bits(lib.control_causes(control))) == {cause_names()[number], cause_names()[other]}
    assert active_causes(control) == {cause_names()[number]: "cancel_only", cause_names()[other]: "reduce_only"}
    lib.control_cause(control, number, lib.MODE_NORMAL)
    assert lib.control_mode(control) == lib.MODE_REDUCE_ONLY


def test_a_byte_that_no_mode_has_counts_as_the_strictest() -> None:
    control = ffi.new("control_page *")
    control.cause[lib.CAUSE_OPERATOR] = 200
    assert lib.control_mode(control) == lib.MODE_HALTED and active_causes(control) == {"operator": "halted"}


def test_condition_tightens_at_once_and_clears_after_its_hold_on_end() -> None:
    control, memory = ffi.new("control_page *"), ffi.new("uint64_t *")

    def demand(mode: int, at_ms: int) -> int:
        lib.control_condition(control, lib.CAUSE_CLOCK, mode, at_ms * MS, 100 * MS, memory)
        return int(control.cause[lib.CAUSE_CLOCK])

    assert demand(lib.MODE_REDUCE_ONLY, 1) == lib.MODE_REDUCE_ONLY
    assert demand(lib.MODE_HALTED, 2) == lib.MODE_HALTED
    assert demand(lib.MODE_REDUCE_ONLY, 50) == lib.MODE_HALTED
    assert demand(lib.MODE_HALTED, 120) == lib.MODE_HALTED, "it was true again: the hold begins anew"
    assert demand(lib.MODE_NORMAL, 130) == lib.MODE_HALTED
    assert demand(lib.MODE_NORMAL, 229) == lib.MODE_HALTED
    assert demand(lib.MODE_NORMAL, 230) == lib.MODE_NORMAL


@pytest.fixture
def leases() -> ffi.CData:
    made = ffi.new("leases *")
    keep = (ffi.new("control_page *"), ffi.new("stage_page *"), ffi.new("stage_page *"))
    made.control, made.stage[lib.STAGE_RISK], made.feed = keep
    made.stage_ns, made.hold_ns, made.slept_ns = 1000 * MS, 500 * MS, 1000 * MS
    made.stale_hold_ns = 50 * MS
    made.beat_ns[lib.BEAT_SUPERVISOR] = 5000 * MS
    KEPT.append(keep)
    return made


KEPT: list[object] = []


def modes(leases: ffi.CData, at_ms: int) -> dict[str, str]:
    lib.leases_keep(leases, at_ms * MS)
    return active_causes(leases.control)


def test_lease_begins_with_the_first_heartbeat_and_is_over_after_silence(leases: ffi.CData) -> None:
    assert modes(leases, 10_000) == {}
    leases.stage[lib.STAGE_RISK].heartbeat_time_ns = 10_000 * MS
    assert modes(leases, 11_000) == {}
    assert modes(leases, 11_001) == {"lease_risk": "cancel_only"}
    leases.stage[lib.STAGE_RISK].heartbeat_time_ns = 12_000 * MS
    assert modes(leases, 12_001) == {"lease_risk": "cancel_only"}
    assert modes(leases, 12_500) == {"lease_risk": "cancel_only"}
    assert modes(leases, 12_501) == {}


def test_supervisor_that_left_in_order_is_not_missed_and_one_that_is_silent_is(leases: ffi.CData) -> None:
    lib.control_beat(leases.control, lib.BEAT_SUPERVISOR, 1000 * MS)
    assert modes(leases, 6001) == {"lease_supervisor": "reduce_only"}
    lib.control_beat(leases.control, lib.BEAT_SUPERVISOR, 0)
    assert modes(leases, 7000) == {"lease_supervisor": "reduce_only"} and modes(leases, 7500) == {}
    lib.control_beat(leases.control, lib.BEAT_CONTROL, 1)
    assert modes(leases, 99_000) == {}, "nobody waits for it where no lease is given"


def test_stale_books_and_sleep_tighten_for_their_hold(leases: ffi.CData) -> None:
    leases.feed.counter[lib.FEED_STALE] = 1
    lib.leases_slept(leases, 100 * MS)
    assert modes(leases, 100) == {"feed_stale": "reduce_only", "slept": "cancel_only"}
    leases.feed.counter[lib.FEED_STALE] = 0
    assert modes(leases, 599) == {"feed_stale": "reduce_only", "slept": "cancel_only"}
    assert modes(leases, 600) == {"feed_stale": "reduce_only"}, "whole since 599"
    assert modes(leases, 649) == {}
