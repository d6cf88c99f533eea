"""A gateway and a scripted venue over real sockets, stepped together by the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffi import lib
from tests.gateway_driver import Gateway, Risk, World, make_config, run_until
from tests.scripted_venue import ScriptedVenue


class Scene:
    """A world, its gateway and its venue, stepped together."""

    def __init__(self, folder: Path, **config: Any) -> None:
        exec_capacity = config.pop("exec_capacity", 1024)
        intents_max = config.pop("intents_max", 4096)
        self.world = World(folder, exec_capacity=exec_capacity)
        self.venue = ScriptedVenue()
        self.risk = Risk(self.world)
        self.config = make_config(session_port=self.venue.port, **config)
        self.intents_max = intents_max
        self.gateway = Gateway(self.world, self.config, intents_max=intents_max)

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
        self.gateway = Gateway(self.world, self.config, intents_max=self.intents_max)

    def events(self, type_: int) -> list[Any]:
        return self.risk.of_type(type_)


def one_live_order(scene: Scene, **fields: Any) -> tuple[int, int]:
    """An order that rests at the venue: its order id and user_ref."""
    scene.up()
    order_id = scene.risk.new(**fields)
    scene.settle()
    return order_id, scene.venue.new_orders()[-1].user_ref
