"""Each label against a slow oracle that reads like its definition, and the rows at which a model is asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import lib
from hotlab import labels, sampling, schema
from hotlab.making import label_record, labels_of
from hotpath.registry.manifest import Sampling

SEED = 7


def walk(count: int = 300, *, seed: int = SEED, instruments: int = 2) -> schema.Events:
    """A made-up market: quotes, executions of both sides, now and then a stale or one-sided book."""
    random = np.random.default_rng(seed)
    events = np.zeros(count, schema.EVENT)
    bid = np.full(instruments, 1000)
    now = 10**18
    for event in events:
        instrument = int(random.integers(instruments))
        bid[instrument] += int(random.integers(-2, 3))
        now += int(random.integers(0, 50))
        header = event["header"]
        header["instrument"], header["origin_time_ns"] = instrument, now
        sell = bool(random.integers(2))
        header["type"] = random.choice([lib.NORM_ADD, lib.NORM_DELETE, lib.NORM_EXECUTE])
        header["flags"] = (lib.FLAG_SELL if sell else 0) | lib.FLAG_PRINTABLE | int(random.integers(2)) * lib.FLAG_TOP
        header["flags"] |= lib.FLAG_STALE if random.random() < 0.05 else 0
        event["bid_price_ticks"], event["ask_price_ticks"] = bid[instrument], bid[instrument] + random.integers(0, 4)
        event["bid_quantity_lots"], event["ask_quantity_lots"] = random.integers(1, 40), random.integers(1, 40)
        event["price_ticks"] = bid[instrument] + (3 if sell else 0)
        event["quantity_lots"] = random.integers(1, 30)
    return events


def path_of(steps: list[tuple[int, int]]) -> tuple[labels.Times, labels.Floats]:
    time_ns = np.cumsum([wait for wait, _ in steps]).astype(np.int64)
    return time_ns, 1000 + np.cumsum([step for _, step in steps]).astype(np.float64) / 2


paths = st.lists(st.tuples(st.integers(0, 20), st.integers(-4, 4)), max_size=60).map(path_of)


@given(paths, st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_fixed_horizon_is_the_move_until_then(path: tuple[labels.Times, labels.Floats], horizon_ns: int) -> None:
    time_ns, mid = path
    made = labels.fixed_horizon(time_ns, mid, horizon_ns=horizon_ns)
    for row, now in enumerate(time_ns):
        if now + horizon_ns > time_ns[-1]:
            assert math.isnan(made.value[row])
        else:
            latest = [m for t, m in zip(time_ns, mid, strict=True) if t <= now + horizon_ns][-1]
            assert made.value[row] == latest - mid[row]
        assert made.end_ns[row] == now + horizon_ns


@given(paths, st.integers(1, 4), st.integers(1, 4), st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_triple_barrier_is_what_is_touched_first(
    path: tuple[labels.Times, labels.Floats], up: int, down: int, horizon_ns: int
) -> None:
    time_ns, mid = path
    made = labels.triple_barrier(time_ns, mid, up_ticks=up, down_ticks=down, horizon_ns=horizon_ns)
    for row, now in enumerate(time_ns):
        expected, end = (0.0 if now + horizon_ns <= time_ns[-1] else math.nan), now + horizon_ns
        for later in range(row + 1, len(time_ns)):
            if time_ns[later] > now + horizon_ns:
                break
            if mid[later] >= mid[row] + up or mid[later] <= mid[row] - down:
                expected, end = (1.0 if mid[later] >= mid[row] + up else -1.0), time_ns[later]
                break
        assert made.value[row] == expected or (math.isnan(expected) and math.isnan(made.value[row]))
        assert made.end_ns[row] == end


def filled(events: schema.Events, row: int, end_ns: int, *, buy: bool) -> bool:
    """Whether an order that joins the queue at `row` trades by `end_ns`: event by event."""
    price = int(events["bid_price_ticks" if buy else "ask_price_ticks"][row])
    ahead = int(events["bid_quantity_lots" if buy else "ask_quantity_lots"][row])
    for event in events[row + 1 :]:
        if event["header"]["origin_time_ns"] > end_ns:
            return False
        resting_buy = not event["header"]["flags"] & lib.FLAG_SELL
        if event["header"]["type"] == lib.NORM_EXECUTE and resting_buy == buy:
            if event["price_ticks"] == price:
                ahead -= int(event["quantity_lots"])
            if event["price_ticks"] < price if buy else event["price_ticks"] > price:
                return True
        other = int(event["ask_price_ticks" if buy else "bid_price_ticks"])
        if ahead < 0 or (0 < other <= price if buy else other >= price):
            return True
    return False


@pytest.mark.parametrize("seed", range(6))
def test_queue_aware_keeps_the_moves_that_the_queue_could_have(seed: int) -> None:
    events = walk(seed=seed, instruments=1)
    rows = sampling.sample_rows(events, Sampling(), instruments=1)
    time_ns = events["header"]["origin_time_ns"].astype(np.int64)
    mid = (events["bid_price_ticks"] + events["ask_price_ticks"]) / 2
    plain = labels.fixed_horizon(time_ns[rows], mid[rows], horizon_ns=400)
    made = labels.queue_aware(events, rows, horizon_ns=400)
    kept = 0
    for place, row in enumerate(rows.tolist()):
        move = plain.value[place]
        if math.isnan(move) or not move:
            continue
        could = filled(events, row, int(time_ns[row]) + 400, buy=move > 0)
        kept += could
        assert made.value[place] == (move if could else 0.0)
    assert 0 < kept < len(rows)


def test_labels_of_a_source_belong_to_their_own_instrument() -> None:
    events = walk(400, instruments=3)
    record = label_record("fixed_horizon", {"horizon_ns": 200})
    whole = labels_of(events, record, instruments=3)
    for instrument in range(3):
        own = events["header"]["instrument"] == instrument
        alone = events[own].copy()
        alone["header"]["instrument"] = 0
        np.testing.assert_array_equal(whole.value[own], labels_of(alone, record, instruments=1).value)
    assert np.isnan(whole.value[~sampling.eligible(events, instruments=3)]).all()


def test_sampling_thins_each_instrument_by_itself() -> None:
    events = walk(400, instruments=2)
    every = sampling.sample_rows(events, Sampling(), instruments=2)
    third = sampling.sample_rows(events, Sampling(trigger="every_n", every=3), instruments=2)
    timed = sampling.sample_rows(events, Sampling(trigger="timer", interval_ns=500), instruments=2)
    for instrument in range(2):
        own = every[events["header"]["instrument"][every] == instrument]
        assert third[events["header"]["instrument"][third] == instrument].tolist() == own[::3].tolist()
        expected, latest = [], -1
        for row in own.tolist():
            period = int(events["header"]["origin_time_ns"][row]) // 500
            if period > latest:
                expected.append(row)
                latest = period
        assert timed[events["header"]["instrument"][timed] == instrument].tolist() == expected


def test_a_label_without_its_parameters_is_refused() -> None:
    with pytest.raises(Exception, match="--horizon-ns"):
        label_record("fixed_horizon", {})
    with pytest.raises(Exception, match="no label is called"):
        label_record("fixed", {"horizon_ns": 1})
