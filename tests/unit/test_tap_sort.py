"""Sorting a batch into its topics: stable, complete, and clean for the next batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ffi import ffi, lib
from ffi.dtypes import dtype_of

INSTRUMENT = st.one_of(
    st.integers(0, 5), st.sampled_from([lib.NO_INSTRUMENT, lib.INSTRUMENTS_MAX - 1, lib.INSTRUMENTS_MAX, 2**31])
)
PLACE = np.zeros(lib.INSTRUMENTS_MAX + 1, np.uint32)


@given(st.lists(INSTRUMENT, max_size=200))
def test_each_instrument_keeps_its_order_and_nothing_is_lost(instruments: list[int]) -> None:
    slots = np.zeros(max(1, len(instruments)), dtype_of("norm_event"))
    slots["header"]["instrument"][: len(instruments)] = instruments
    slots["header"]["stamp"] = np.arange(len(slots)) + 1
    ordered = np.zeros_like(slots)
    runs = np.zeros(len(slots), dtype_of("tap_run"))
    count = lib.tap_sort(
        ffi.cast("norm_event *", ffi.from_buffer(slots)),
        len(instruments),
        ffi.cast("uint32_t *", ffi.from_buffer(PLACE)),
        ffi.cast("norm_event *", ffi.from_buffer(ordered)),
        ffi.cast("tap_run *", ffi.from_buffer(runs)),
    )
    assert not PLACE.any()
    expected: dict[int, list[int]] = {}
    for index, instrument in enumerate(instruments):
        expected.setdefault(min(instrument, lib.INSTRUMENTS_MAX), []).append(index + 1)
    found = {}
    for run in runs[:count]:
        part = ordered[run["start"] : run["start"] + run["count"]]
        found[min(int(run["instrument"]), lib.INSTRUMENTS_MAX)] = part["header"]["stamp"].tolist()
    assert found == expected
    assert list(found) == list(expected), "runs follow their first slots"
