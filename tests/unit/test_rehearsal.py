"""The order that is never sent: it goes the whole way, every time, and nothing but private memory knows of it."""

from __future__ import annotations

from typing import Any

import pytest

from ffi import ffi, lib
from tests.support.memory import Memory

MANY = 1000  # past every ring and table that a rehearsal has


def settings(kind: int) -> Any:
    """The configuration of a gateway of this kind, as sound as a real one."""
    config = ffi.new("gateway_config *")
    config.terms.kind, config.terms.price_scale = kind, 1
    config.terms.firm = b"FIRM"
    config.terms.display, config.terms.capacity, config.terms.customer = b"YPN"
    session = config.session
    session.address = b"0.0.0.0"
    session.send_bytes, session.receive_bytes = 1 << 12, 1 << 17
    session.heartbeat_ns = session.silence_ns = session.backoff_ns_min = session.backoff_ns_max = 1_000_000
    config.orders_max, config.batch_max, config.instrument_count = 1 << 12, 64, 100
    return config


def clock() -> Any:
    page = ffi.new("clock_page *")
    lib.clock_calibrate(page, 1_000_000, 0)
    return page


@pytest.mark.parametrize("kind", ["VENUE_PAPER", "VENUE_OUCH50", "VENUE_OUCH42"])
def test_each_one_goes_through(kind: str) -> None:
    config, page = settings(getattr(lib, kind)), clock()
    memory = Memory(lib.rehearsal_bytes(config), dirty=True)
    rehearsal = lib.rehearsal_init(memory.pointer, memory.size, config, page)
    assert rehearsal != ffi.NULL
    assert [lib.rehearsal_run(rehearsal, ffi.NULL, ffi.NULL) for _ in range(MANY)] == [1] * MANY


def test_memory_that_is_too_small_or_a_kind_unknown_is_refused() -> None:
    config, page = settings(lib.VENUE_OUCH50), clock()
    memory = Memory(lib.rehearsal_bytes(config))
    assert lib.rehearsal_init(memory.pointer, memory.size - 1, config, page) == ffi.NULL
    assert lib.rehearsal_bytes(settings(lib.VENUE_UNSPECIFIED)) == 0
