"""What a venue says twice, out of its order, or in contradiction: counted once, told apart, and not trusted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ffi import lib
from tests.gateway_scene import Scene, one_live_order
from tests.scripted_venue import accepted, broken, canceled, executed, rejected


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.gateway.die()
    made.venue.close()


def test_execution_told_twice_counts_once_and_stops_new_orders(scene: Scene) -> None:
    order_id, ref = one_live_order(scene)
    scene.venue.fill(ref, 10)
    scene.settle()
    (fill,) = scene.events(lib.EXEC_FILL)
    again = executed(ref, 10, 1_000_000, int(fill["match_id"]))
    scene.venue.stream += [again, executed(ref, 5, 1_000_000, int(fill["match_id"]) + 1)]
    scene.settle()
    assert [int(e["quantity_lots"]) for e in scene.events(lib.EXEC_FILL)] == [10, 5]
    (repeated,) = scene.events(lib.EXEC_REPEATED)
    assert (int(repeated["order_id"]), int(repeated["reason"])) == (order_id, lib.EXEC_FILL)
    assert int(scene.events(lib.EXEC_FILL)[-1]["cumulative_lots"]) == 15
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY
    scene.restart()
    scene.up()
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY, "the new process reads the same stream"
    assert len(scene.events(lib.EXEC_FILL)) == 2


def test_a_break_told_twice_takes_back_once(scene: Scene) -> None:
    _, ref = one_live_order(scene)
    scene.venue.fill(ref, 10)
    scene.venue.stream += [broken(ref, 1), broken(ref, 1)]
    scene.settle()
    assert [int(e["quantity_lots"]) for e in scene.events(lib.EXEC_BROKEN)] == [10]
    assert len(scene.events(lib.EXEC_REPEATED)) == 1
    assert scene.world.gateway_mode == lib.MODE_NORMAL


def test_a_break_is_known_however_many_executions_came_between(scene: Scene) -> None:
    _, ref = one_live_order(scene)
    scene.venue.fill(ref, 1)
    for _ in range(600):  # more than the exec ring holds
        scene.venue.stream += [b"R" + struct.pack(">QI", 1, ref) + b"R" + b"\0\0"] * 2
        scene.settle(2)
        scene.risk.read()
    scene.venue.stream.append(broken(ref, 1))
    scene.settle()
    assert [int(e["quantity_lots"]) for e in scene.events(lib.EXEC_BROKEN)] == [1]
    assert scene.world.gateway_mode == lib.MODE_NORMAL


def test_an_answer_told_twice_gives_nothing_back(scene: Scene) -> None:
    _, ref = one_live_order(scene)
    scene.venue.fill(ref, 10)
    scene.venue.stream.append(accepted(scene.venue.new_orders()[0]))
    scene.settle()
    (repeated,) = scene.events(lib.EXEC_REPEATED)
    assert int(repeated["reason"]) == lib.EXEC_ACCEPTED
    assert int(repeated["leaves_lots"]) == int(scene.events(lib.EXEC_FILL)[0]["leaves_lots"]) > 0
    assert scene.world.gateway_mode == lib.MODE_NORMAL


def test_an_order_both_taken_and_refused_is_not_given_up(scene: Scene) -> None:
    _, ref = one_live_order(scene)
    scene.venue.stream.append(rejected(ref, 0x1D))
    scene.settle()
    assert scene.events(lib.EXEC_REJECTED) == []
    assert scene.world.counter("OPEN_ORDERS") == 1
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY


def test_fills_and_cancels_may_come_before_the_acknowledgement(scene: Scene) -> None:
    scene.up()
    scene.venue.answers_orders = False
    first, second = scene.risk.new(quantity=100), scene.risk.new(quantity=100)
    scene.settle()
    one, two = scene.venue.new_orders()
    scene.venue.stream += [executed(one.user_ref, 60, 1_000_000, 1), canceled(one.user_ref, 10)]
    scene.venue.stream += [accepted(one), canceled(two.user_ref, 100), accepted(two)]
    scene.settle()
    answers = scene.events(lib.EXEC_ACCEPTED)
    assert [(int(e["order_id"]), int(e["leaves_lots"])) for e in answers] == [(first, 30), (second, 0)]
    assert int(answers[0]["cumulative_lots"]) == 60
    assert scene.world.counter("OPEN_ORDERS") == 1


def test_more_executed_than_was_left_counts_and_stops_new_orders(scene: Scene) -> None:
    order_id, ref = one_live_order(scene, quantity=100)
    scene.venue.stream += [executed(ref, 70, 1_000_000, 1), executed(ref, 31, 1_000_000, 2)]
    scene.settle()
    assert [int(e["quantity_lots"]) for e in scene.events(lib.EXEC_FILL)] == [70, 31]
    assert [int(e["order_id"]) for e in scene.events(lib.EXEC_FILL)] == [order_id, order_id]
    assert scene.world.counter("OVERFILLS") == 1
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY


def test_a_fill_after_the_cancel_of_everything_counts_and_stops_new_orders(scene: Scene) -> None:
    _, ref = one_live_order(scene, quantity=100)
    scene.venue.stream += [canceled(ref, 100), executed(ref, 5, 1_000_000, 1)]
    scene.settle()
    assert [int(e["quantity_lots"]) for e in scene.events(lib.EXEC_FILL)] == [5]
    assert scene.world.counter("OVERFILLS") == 1
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY


def test_a_fill_told_after_its_break_did_not_happen(scene: Scene) -> None:
    _, ref = one_live_order(scene, quantity=100)
    scene.venue.stream += [broken(ref, 1), executed(ref, 10, 1_000_000, 1)]
    scene.settle()
    assert scene.events(lib.EXEC_FILL) == []
    assert int(scene.events(lib.EXEC_REPEATED)[0]["reason"]) == lib.EXEC_FILL
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY
