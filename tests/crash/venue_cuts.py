"""The connection to the venue cut after every byte, sent or answered: no order leaves twice, no fill is lost.

    test: commands --cmd--> [gateway process] --tcp--> proxy, which cuts --tcp--> [simulator process]
                   <--exec--                                                         '--> wire tap, drop copy

One day of one session: for each byte a fresh connection is cut there while four commands are on their way (a new order,
its replacement, an order that is filled at once, a cancel), and the next connection finds out what became of them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hotpath.demo import running_simulator
from tests.crash.day import Scene, check, copy_of, simulator_of
from tests.crash.tally import Tally, Work
from tests.gateway_driver import World, run_until
from tests.support.cut_proxy import IN, OUT, CutProxy

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BYTES_MAX = 700  # of one connection in one direction; the scenario has fewer
QUICK_STRIDE = 23


def cut_at_bytes(folder: Path, direction: str, *, stride: int) -> int:
    """A day whose every stride-th byte of a direction is the last of its connection, judged; returns the cuts."""
    folder.mkdir(exist_ok=True)
    with running_simulator(simulator_of(folder), folder) as venue:
        world = World(folder / "engine")
        with CutProxy(("127.0.0.1", venue.ready["order_port"])) as proxy:
            command = [sys.executable, "-m", "tests.gateway_driver", str(folder / "engine"), str(proxy.port)]
            gateway = subprocess.Popen(command, cwd=REPOSITORY)
            try:
                scene = Scene(world)
                run_until(lambda: scene.up_since(0), scene.read)
                tried = 0
                for byte in range(1, BYTES_MAX, stride):
                    ups, cuts = scene.ups, proxy.cuts
                    proxy.arm(direction, byte)
                    run_until(lambda: scene.up_since(ups), scene.read)  # noqa: B023  (called here and now)
                    scene.send()
                    run_until(lambda: scene.over() and scene.up, scene.read)
                    tried += 1
                    if proxy.cuts == cuts and proxy.bytes[direction] < byte:
                        break  # the whole scenario has fewer bytes
                assert proxy.cuts > 200 // stride and tried >= proxy.cuts
                executions, positions = copy_of(venue.ready["order_port"])
                world.control.stop = 1
                gateway.wait(timeout=10)
            finally:
                gateway.kill()
                gateway.wait()
        scene.read()
    check(scene, world, executions, positions, venue.summary, folder)
    return proxy.cuts


def venue_cuts(work: Work) -> Tally:
    """Both directions."""
    tally = Tally()
    for direction in (OUT, IN):
        try:
            tally.counts["cuts"] += cut_at_bytes(
                work.folder / direction, direction, stride=QUICK_STRIDE if work.quick else 1
            )
        except AssertionError as error:
            tally.wrong.append(f"cut {direction}: {error}")
        work.say(f"{tally.counts['cuts']} cuts")
    return tally
