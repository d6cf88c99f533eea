"""When a kill is effective: over real sockets, with a venue that does not read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from hotpath.limits.copy import LimitsCopy
from tests.gateway_driver import INSTRUMENTS, MS, SECOND
from tests.gateway_scene import Scene


def stalled(folder: Path, **config: Any) -> Scene:
    """A gateway with orders in its own buffer, in the kernel's and on the way, before a venue that reads nothing."""
    scene = Scene(folder, **{"session_socket_send_bytes": 4096, **config})
    scene.up()
    scene.venue.reads = False
    scene.venue.connection_receive_bytes(4096)
    stuck = False
    while not stuck:  # for longer than an acknowledgement may be delayed
        scene.risk.new()
        scene.gateway.turn()
        if scene.gateway.c.session.send_head != scene.gateway.c.session.send_tail:
            time.sleep(0.1)
            scene.gateway.turn()
            stuck = scene.gateway.c.session.send_head != scene.gateway.c.session.send_tail
    for _ in range(5):
        scene.risk.new()
    scene.gateway.turn()
    return scene


def resume(scene: Scene) -> None:
    """The venue reads again, with room for all."""
    scene.venue.reads = True
    scene.venue.connection_receive_bytes(1 << 20)


def over(scene: Scene) -> bool:
    """Every order is known to be gone; executions are read meanwhile."""
    scene.risk.read()
    return not scene.world.control.open_orders and scene.world.counter("OPEN_ORDERS") == 0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = stalled(tmp_path)
    yield made
    made.gateway.die()
    made.venue.close()


def test_kill_throws_away_what_has_not_left_and_waits_for_what_has(scene: Scene) -> None:
    control = scene.world.control
    stored = len(scene.world.intents())
    epoch = lib.control_kill(control)
    for _ in range(50):
        scene.step()
    assert control.killed_epoch_sent != epoch and not lib.control_effective(control, epoch)
    assert control.in_flight_bytes > 0 and control.discarded_orders >= 5
    resume(scene)
    scene.until(lambda: control.killed_epoch_sent == epoch)
    assert control.in_flight_bytes == 0
    scene.until(lambda: over(scene))
    assert len(scene.venue.new_orders()) == stored - control.discarded_orders
    assert control.sweep_epoch == epoch and control.sweep_orders == stored


def test_discarded_orders_are_told_to_be_gone_once_and_count_as_never_sent(scene: Scene) -> None:
    control = scene.world.control
    lib.control_kill(control)
    scene.step()
    resume(scene)
    scene.until(lambda: over(scene))
    on_the_wire = {int(order.client_order_id) for order in scene.venue.new_orders()}
    records = scene.world.intents()
    assert {int(each["order_id"]) for each in records if each["sent_time_ns"]} == on_the_wire
    gone = [int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED) if not e["session_sequence"]]
    assert sorted(gone) == sorted({int(each["order_id"]) for each in records} - on_the_wire)
    assert len(gone) == control.discarded_orders > 0
    assert scene.world.counter("OPEN_ORDERS") == 0


def test_connection_is_reset_when_the_venue_takes_nothing_and_the_next_login_cancels(tmp_path: Path) -> None:
    scene = stalled(tmp_path, kill_reset_ns=200 * MS)
    control = scene.world.control
    epoch = lib.control_kill(control)
    while not lib.control_effective(control, epoch):
        scene.gateway.turn(advance_ns=10 * MS)
    assert control.resets == 1 and scene.gateway.reason == lib.SESSION_KILLED
    assert control.in_flight_bytes == 0
    scene.venue.reads = True
    scene.until(lambda: over(scene) and scene.gateway.state == lib.SESSION_UP)
    records = scene.world.intents()
    assert len(scene.venue.new_orders()) < len(records) - control.discarded_orders, "what was under way never came"
    assert scene.venue.live == {}
    assert control.sweep_epoch == epoch
    scene.gateway.die()
    scene.venue.close()


def test_cancels_of_the_kill_do_not_hold_up_its_effect(tmp_path: Path) -> None:
    """Orders are acknowledged, then the venue stops reading: cancels are under way for ever, orders are not."""
    scene = Scene(tmp_path)
    scene.up()
    for _ in range(3):
        scene.risk.new()
    scene.settle()
    scene.venue.reads = False
    epoch = lib.control_kill(scene.world.control)
    for _ in range(5):
        scene.gateway.turn()
    assert scene.world.control.killed_epoch_sent == epoch
    assert scene.world.control.sweep_epoch == epoch and scene.world.control.open_orders == 3
    scene.gateway.die()
    scene.venue.close()


def test_replacement_that_never_left_leaves_its_order_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path, session_socket_send_bytes=4096)
    scene.up()
    target = scene.risk.new()
    scene.settle()
    scene.venue.reads = False
    scene.venue.connection_receive_bytes(4096)
    while scene.gateway.c.session.send_head == scene.gateway.c.session.send_tail:
        scene.risk.new()
        scene.gateway.turn()
    replacement = scene.risk.command(lib.CMD_REPLACE, target_order_id=target, price=1_000_100)
    scene.risk.publish(replacement)
    scene.gateway.turn()
    lib.control_kill(scene.world.control)
    scene.gateway.turn()
    resume(scene)
    scene.until(lambda: over(scene))
    (told,) = scene.events(lib.EXEC_REPLACE_REJECTED)
    assert int(told["order_id"]) == replacement.order_id and int(told["target_order_id"]) == target
    canceled = {int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED)}
    assert target in canceled, "the sweep took it out by its own number"
    assert scene.world.counter("OPEN_ORDERS") == 0
    scene.gateway.die()
    scene.venue.close()


def test_second_kill_is_confirmed_by_itself(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.up()
    control = scene.world.control
    for _ in range(3):
        epoch = lib.control_kill(control)
        assert not lib.control_effective(control, epoch)
        scene.gateway.turn()
        assert control.killed_epoch_sent == epoch and control.effective_time_ns
        assert lib.control_arm(control, epoch)
        scene.gateway.turn(advance_ns=SECOND // 100)
    scene.gateway.die()
    scene.venue.close()


def test_reset_of_an_older_kill_is_not_taken_for_a_newer_one() -> None:
    control = ffi.new("control_page *")
    first, second = lib.control_kill(control), lib.control_kill(control)
    lib.control_reset(control, first, 5)
    assert lib.control_effective(control, first) and not lib.control_effective(control, second)
    lib.control_reset(control, second, 6)
    lib.control_reset(control, first, 7)
    assert lib.control_effective(control, second) and control.reset_time_ns == 6


# ---- scopes ------------------------------------------------------------------------------------------


def scoped(folder: Path) -> tuple[Scene, LimitsCopy, Any]:
    """A scene whose gateway looks at limits of three instruments, and what puts a version of them in force."""
    scene = Scene(folder)
    copy = LimitsCopy(list(INSTRUMENTS))
    size = copy.size
    memory = ffi.new("char[]", 64 + 2 * size)
    page = ffi.cast("limits_page *", memory)
    page.copy_offset = [64, 64 + size]
    page.copy_bytes = size

    def publish(version: int, *, kills: bool) -> None:
        copy.header.version = version
        if kills:
            copy.header.kill_version = version
        copy.seal()
        ffi.memmove(memory + page.copy_offset[(page.generation + 1) & 1], copy.data, size)
        page.generation += 1

    publish(1, kills=False)
    scene.gateway.c.limits = page
    KEPT.append(memory)
    return scene, copy, publish


KEPT: list[object] = []


def test_killed_scope_is_cancelled_and_the_rest_trades_on(tmp_path: Path) -> None:
    scene, copy, publish = scoped(tmp_path)
    scene.up()
    ids = [scene.risk.new(instrument=i % 3) for i in range(6)]
    scene.settle()
    copy.set("instrument.MSFT.killed", True)
    publish(2, kills=True)
    old = scene.risk.new(instrument=0)
    new = scene.risk.command(instrument=0, limits_version=2)
    scene.risk.publish(new)
    scene.until(lambda: scene.world.control.scoped_version_sent == 2 and not scene.world.control.scoped_orders_open)
    scene.settle()
    assert {int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED)} == {ids[1], ids[4]}
    (refused,) = scene.events(lib.EXEC_REFUSED)
    assert int(refused["order_id"]) == old and int(refused["reason"]) == lib.REJECT_LIMITS_VERSION
    assert new.order_id in {int(e["order_id"]) for e in scene.events(lib.EXEC_ACCEPTED)}
    assert scene.world.counter("OPEN_ORDERS") == 5 and not lib.control_killed(scene.world.control)
    scene.gateway.die()
    scene.venue.close()


def test_version_that_kills_nothing_refuses_nothing(tmp_path: Path) -> None:
    scene, copy, publish = scoped(tmp_path)
    scene.up()
    copy.set("instrument.AAPL.paused", True)
    publish(2, kills=False)
    scene.risk.new(instrument=0)
    scene.settle()
    assert scene.events(lib.EXEC_REFUSED) == [] and scene.world.counter("OPEN_ORDERS") == 1
    scene.gateway.die()
    scene.venue.close()
