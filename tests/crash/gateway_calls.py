"""A gateway killed before and after every system call of its life: start, login, recovery, orders, cancels, logout.

    this process --commands--> [gateway, forked and traced, dies at a call] --tcp--> [simulator] --> tap, drop copy
                 <--executions--   the next one takes up what it left, and dies at the next place

One day is one session of many deaths; both durabilities of the intents. Calls are numbered by name, as they come in a
life that nobody cuts short. A day ends with a gateway that lives, which must find out what became of everything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hotpath.demo import RunningSimulator, running_simulator
from tests import gateway_driver
from tests.crash.day import Scene, check, copy_of, simulator_of
from tests.crash.tally import Tally, Work
from tests.crash.tracer import Do, Life, Point, TracedProcess
from tests.gateway_driver import World

DURABILITIES = ("process", "power")
DEATHS_OF_A_DAY = 80
QUICK_DEATHS = 24
DAYS_MAX = 100


class GatewayDay:
    """One session: its world, and the deaths in it."""

    def __init__(self, folder: Path, venue: RunningSimulator, durability: str) -> None:
        self.folder = folder / "engine"
        self.world = World(self.folder)
        self.scene = Scene(self.world)
        self._venue = venue
        self._durability = durability
        self._sent = self._told_to_stop = False
        self._ups = 0

    def life(self, choose: Callable[[Point], Do]) -> Life:
        """One gateway, from its start until it dies or has nothing left to do."""
        self.scene.read()
        self.world.control.stop = 0
        self._sent = self._told_to_stop = False
        self._ups = self.scene.ups
        port = str(self._venue.ready["order_port"])
        traced = TracedProcess(lambda: gateway_driver.main(str(self.folder), port, self._durability))
        return traced.run(choose, self._drive)

    def _drive(self) -> None:
        """Commands as soon as the session is up; the end when all of them are over."""
        if not self.scene.up_since(self._ups):
            return
        if not self._sent:
            self._sent = True
            self.scene.send()
        if self.scene.over() and not self._told_to_stop:
            self._told_to_stop = True
            self.world.control.stop = 1


def one_day(folder: Path, durability: str, deaths: list[Point]) -> tuple[Tally, list[Point]]:
    """A day with these deaths, judged, and every place that its gateways came to."""
    folder.mkdir(parents=True)
    tally, places = Tally(), dict[Point, None]()
    with running_simulator(simulator_of(folder), folder) as venue:
        day = GatewayDay(folder, venue, durability)

        def live(wanted: Point | None) -> Life:
            life = day.life(lambda point: Do.KILL if point == wanted else Do.GO_ON)
            places.update(dict.fromkeys(life.points))
            if life.exit_code:
                tally.wrong.append(f"{durability}: the gateway ended with {life.exit_code}, was to die {wanted}")
            return life

        for wanted in deaths:
            tally.counts["SIGKILL"] += live(wanted).killed_at is not None
        live(None)
        day.scene.read()
        executions, positions = copy_of(venue.ready["order_port"])
    try:
        check(day.scene, day.world, executions, positions, venue.summary, folder)
    except AssertionError as error:
        tally.wrong.append(f"{durability}: {str(error) or 'the oracle'}")
    tally.counts["orders"] += len(day.scene.orders)
    tally.counts["fills"] += len(executions)
    return tally, list(places)


def gateway_calls(work: Work) -> Tally:
    """Every call of both durabilities."""
    tally = Tally()
    for durability in DURABILITIES:
        chance = work.chance(f"gateway calls {durability}")
        first, places = one_day(work.folder / f"{durability}-0", durability, [])
        tally.take(first)
        tried: set[Point] = set()
        for number in range(1, DAYS_MAX):
            left = [point for point in places if point not in tried]
            if not left:
                break
            deaths = chance.sample(left, min(len(left), QUICK_DEATHS if work.quick else DEATHS_OF_A_DAY))
            tried.update(deaths)
            part, more = one_day(work.folder / f"{durability}-{number}", durability, deaths)
            tally.take(part)
            places += [point for point in more if point not in places]
            work.say(f"{durability}: died at {len(tried)} of {len(places)} places")
            if work.quick or part.wrong:
                break
        tally.notes.append(f"{durability}: {len(tried)} places")
    return tally
