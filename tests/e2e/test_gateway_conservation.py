"""What leaves the gateway is what risk approved, one for one; what does not fit the send window is refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from tests.gateway_scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.gateway.die()
    made.venue.close()


def conservation(scene: Scene) -> int:
    """The mode that CAUSE_CONSERVATION demands."""
    return int(scene.world.control.cause[lib.CAUSE_CONSERVATION])


def test_commands_are_framed_refused_or_known_one_for_one(scene: Scene) -> None:
    scene.up()
    order_id = scene.risk.new(quantity=70)
    again = scene.risk.command(lib.CMD_NEW, order_id=order_id, quantity=70, cause=order_id)
    scene.risk.publish(again)
    scene.risk.replace(order_id, quantity=60)
    scene.risk.cancel(order_id)
    scene.risk.cancel(999)
    scene.until(lambda: scene.gateway.c.entered == 5)
    c = scene.gateway.c
    assert (c.left, c.declined, c.settled) == (3, 1, 1)
    assert conservation(scene) == lib.MODE_NORMAL


@pytest.mark.parametrize("count", ["left", "entered"])
def test_a_frame_too_many_or_too_few_halts_until_a_new_run(scene: Scene, count: str) -> None:
    scene.up()
    setattr(scene.gateway.c, count, int(getattr(scene.gateway.c, count)) + 1)
    scene.risk.new()
    scene.step()
    assert conservation(scene) == lib.MODE_HALTED
    assert scene.gateway.reason == lib.SESSION_NOT_CONSERVED
    assert scene.venue.new_orders() == []  # what was queued is gone with the connection
    refused = scene.risk.new()
    scene.until(lambda: bool(scene.events(lib.EXEC_REFUSED)))
    assert [int(event["order_id"]) for event in scene.events(lib.EXEC_REFUSED)] == [refused]
    scene.restart()
    assert conservation(scene) == lib.MODE_HALTED


def matches_with(terms: Any, command: Any, target: int, frame: Any, length: int, **other: int) -> bool:
    """Does the frame ask for the command, were it this one?"""
    asked = ffi.new("cmd_event *", command[0])
    for name, value in other.items():
        setattr(asked, name, value)
    return bool(lib.venue_order_matches(terms, asked, target, frame, length))


@pytest.mark.parametrize("kind", [lib.VENUE_OUCH50, lib.VENUE_OUCH42])
def test_a_frame_that_asks_for_anything_else_is_seen(kind: int) -> None:
    terms = ffi.new("venue_terms *", {"kind": kind, "price_scale": 1, "firm": b"    "})
    terms.display, terms.capacity, terms.customer = ord("Y"), ord("P"), ord("N")
    frame = ffi.new("uint8_t[80]")
    for type_, target in ((lib.CMD_NEW, 0), (lib.CMD_REPLACE, 6), (lib.CMD_CANCEL, 7)):
        command = ffi.new("cmd_event *", {"header": {"type": type_}, "price_ticks": 10_000, "quantity_lots": 70})
        command.order_id = 5
        length = lib.venue_encode_order(terms, command, b"GOOG", 7, target, frame, 80)

        matches = partial(matches_with, terms, command, target, frame, length)
        assert matches()
        assert not lib.venue_order_matches(terms, command, target + 1, frame, length) or type_ == lib.CMD_NEW
        assert not lib.venue_order_matches(terms, command, target, frame, length - 1)
        if type_ != lib.CMD_CANCEL:
            assert not matches(price_ticks=10_001) and not matches(quantity_lots=71)
        if type_ == lib.CMD_NEW:
            assert not matches(side=lib.SIDE_SELL)
        command.header.type = lib.CMD_NEW if type_ != lib.CMD_NEW else lib.CMD_REPLACE
        assert not matches()


def test_order_that_does_not_fit_the_send_window_is_refused_and_a_cancel_still_fits(tmp_path: Path) -> None:
    scene = Scene(tmp_path, session_send_bytes=1024)
    try:
        scene.up()
        first = scene.risk.new()
        scene.until(lambda: len(scene.venue.new_orders()) == 1)
        scene.settle()
        window = (1024 - 1024 // 4) // 80
        orders = [scene.risk.new() for _ in range(window + 2)]
        scene.risk.cancel(first)
        scene.step()
        told = [(int(e["order_id"]), int(e["reason"])) for e in scene.events(lib.EXEC_REFUSED)]
        assert told == [(order_id, lib.REJECT_SEND_WINDOW) for order_id in orders[window:]]
        assert scene.world.counter("CANCELS") == 1
        assert conservation(scene) == lib.MODE_NORMAL
    finally:
        scene.gateway.die()
        scene.venue.close()
