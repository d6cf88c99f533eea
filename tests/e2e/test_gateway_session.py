"""The gateway against a venue over real sockets on loopback: login, order life, reconnection, kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffi import lib
from tests.gateway_driver import MS, SECOND, Gateway, Risk, World, make_config, run_until
from tests.scripted_venue import ScriptedVenue, packet


class Scene:
    """A world, its gateway and its venue, stepped together."""

    def __init__(self, folder: Path, **config: Any) -> None:
        exec_capacity = config.pop("exec_capacity", 1024)
        self.world = World(folder, exec_capacity=exec_capacity)
        self.venue = ScriptedVenue()
        self.risk = Risk(self.world)
        self.config = make_config(session_port=self.venue.port, **config)
        self.gateway = Gateway(self.world, self.config)

    def step(self) -> None:
        self.gateway.turn()
        self.venue.pump()

    def until(self, condition: Any) -> None:
        run_until(condition, self.step)

    def up(self) -> None:
        self.until(lambda: self.gateway.state == lib.SESSION_UP)
        self.step()

    def settle(self, turns: int = 20) -> None:
        for _ in range(turns):
            self.step()

    def restart(self) -> None:
        self.gateway.die()
        self.gateway = Gateway(self.world, self.config)

    def events(self, type_: int) -> list[Any]:
        return self.risk.of_type(type_)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.gateway.die()
    made.venue.close()


def test_login_asks_for_the_whole_stream_and_goes_up(scene: Scene) -> None:
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY
    scene.up()
    (login,) = scene.venue.logins
    assert login[:6] == b"hotpat" and login[6:16] == b"secret    " and login[16:26] == b" " * 10
    assert int(login[26:46]) == 1
    assert scene.world.gateway_mode == lib.MODE_NORMAL
    assert [int(e["venue_ref"]) for e in scene.events(lib.EXEC_SESSION_UP)] == [1]
    assert scene.world.intents().size == 0


def test_order_is_sent_accepted_and_filled(scene: Scene) -> None:
    scene.up()
    order_id = scene.risk.new(side=lib.SIDE_SELL, price=1_234_500, quantity=70, instrument=1)
    scene.until(lambda: len(scene.venue.new_orders()) == 1)
    (order,) = scene.venue.new_orders()
    assert (order.side, order.quantity, order.symbol, order.price) == ("S", 70, "MSFT", 1_234_500)
    assert int(order.client_order_id) == order_id
    scene.settle()
    (accepted,) = scene.events(lib.EXEC_ACCEPTED)
    assert int(accepted["order_id"]) == order_id and int(accepted["leaves_lots"]) == 70
    scene.venue.fill(order.user_ref, 30, price=1_234_600)
    scene.venue.fill(order.user_ref, 40, price=1_234_700)
    scene.settle()
    first, second = scene.events(lib.EXEC_FILL)
    assert [int(first[k]) for k in ("quantity_lots", "leaves_lots", "cumulative_lots", "price_ticks")] == [
        30,
        40,
        30,
        1_234_600,
    ]
    assert int(second["leaves_lots"]) == 0 and int(second["cumulative_lots"]) == 70
    assert int(second["session_sequence"]) == len(scene.venue.stream)
    assert scene.world.counter("OPEN_ORDERS") == 0


def test_a_command_read_twice_is_sent_once(scene: Scene) -> None:
    scene.up()
    command = scene.risk.command()
    scene.risk.publish(command)
    scene.risk.publish(command)
    scene.settle()
    assert len(scene.venue.new_orders()) == 1
    assert scene.world.counter("DUPLICATE_COMMANDS") == 1
    assert scene.events(lib.EXEC_REFUSED) == []


def test_wrong_password_latches(scene: Scene) -> None:
    scene.venue.login_answer = lambda _: packet("J", b"A")
    scene.until(lambda: scene.gateway.state == lib.SESSION_CLOSED)
    assert scene.gateway.reason == lib.SESSION_NOT_AUTHORISED
    for _ in range(50):
        scene.gateway.turn(advance_ns=SECOND)
        scene.venue.pump()
    assert len(scene.venue.logins) == 1
    assert scene.world.counter("LOGIN_REJECTS") == 1


def test_heartbeats_leave_when_nothing_else_does(scene: Scene) -> None:
    scene.up()
    for _ in range(5):
        scene.gateway.turn(advance_ns=SECOND + MS)
        scene.venue.say(packet("H"))
        scene.venue.pump()
        scene.settle(2)
    assert scene.venue.heartbeats == 5
    assert scene.gateway.state == lib.SESSION_UP
