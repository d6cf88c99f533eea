"""Doorbells: armed, rung, slept on. Whether a wake-up can be lost is asked in tests/crash."""

from __future__ import annotations

import multiprocessing
import threading
import time

import numpy as np
import pytest

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.rings import Doorbell, RingReader, RingWriter, create_ring

EPOCH = 1_700_000_000_000_000_000
LONG_NS = 30_000_000_000
SHORT_NS = 1_000_000


@pytest.fixture
def bell(engine: str) -> Doorbell:
    Doorbell.create(engine, "risk.bell", run_epoch=EPOCH)
    return Doorbell(engine, "risk.bell")


def test_sleep_ends_by_its_time_out(bell: Doorbell) -> None:
    bell.arm()
    assert not bell.park(timeout_ns=SHORT_NS)
    assert bell.c.sleeping == 0


def test_bell_rung_before_the_sleep_prevents_it(bell: Doorbell) -> None:
    bell.arm()
    bell.ring()
    assert bell.park(timeout_ns=LONG_NS)


def test_bell_is_not_rung_for_one_who_is_awake(bell: Doorbell) -> None:
    bell.ring()
    assert bell.c.wakes == 0
    bell.arm()
    bell.disarm()
    bell.ring()
    assert bell.c.wakes == 0


def test_bell_rings_once_for_each_sleep(bell: Doorbell) -> None:
    bell.arm()
    bell.ring()
    bell.ring()
    assert bell.c.wakes == 1


def test_sleeper_is_woken_by_another_thread(bell: Doorbell) -> None:
    bell.arm()
    ringer = threading.Timer(0.05, bell.ring)
    ringer.start()
    assert bell.park(timeout_ns=LONG_NS), "parked with the GIL released, or the ringer could not have run"
    ringer.join()


def _publish_later(engine: str) -> None:
    writer = RingWriter(engine, "norm", gates=["risk"], bells=["risk.bell"])
    time.sleep(0.2)
    writer.publish(np.zeros(1, dtype_of("norm_event")))


def test_commit_wakes_a_sleeper_in_another_process(engine: str, bell: Doorbell) -> None:
    create_ring(engine, "norm", capacity=8, readers=["risk"], run_epoch=EPOCH)
    reader = RingReader(engine, "norm", "risk", gating=True, dtype="norm_event")
    child = multiprocessing.get_context("spawn").Process(target=_publish_later, args=(engine,))
    child.start()
    bell.arm()
    if len(reader.copy(1)) == 0:
        assert bell.park(timeout_ns=LONG_NS)
        assert len(reader.copy(1)) == 1
    child.join(60)
    assert child.exitcode == 0


def test_spinning_and_yielding_return() -> None:
    lib.wait_spin()
    lib.wait_yield()
