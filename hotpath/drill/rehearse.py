"""``hotctl drill kill CONFIG``: kill an engine like this one on this host, before the open, and write down how it went.

The engine has the configuration's processes, processors, waiting, leases and escalation, and trades with a simulator
through a tap on the wire; its name, folder and venue are its own, so it may be done beside a running engine. A kill is
timed from the call to *effective* on the engine's clock; then the tap is asked whether an order byte came after it. The
last kill is typed: a process of its own, as an operator would start it, and its latch must keep the next run unarmed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from ffi import lib
from hotpath.config import Config
from hotpath.drill.engine import PATIENCE_SECONDS, DrillEngine, drill_config, drill_venue, until
from hotpath.drill.wire import WireTap
from hotpath.scratch import scratch_folder
from hotpath.spawn import module_command, module_environment

ORDERS_BETWEEN = 10  # on the wire between two kills
LINGER_SECONDS = 0.02  # that late bytes are waited for after each kill
COMMAND = "hotctl"  # of another room, which this one knows by name alone


class DrillReport(Struct, frozen=True):
    """What came of a drill. Spans in ns."""

    drill: str
    at: str
    host: str
    engine: str
    topology: str
    wait: str
    kills: int
    effective_ns_p50: int
    effective_ns_p99: int
    effective_ns_max: int
    last_order_ns_p99: int  # from the call to the last byte of a new order; 0: it had left before
    cancels_ns_p99: int  # from the call until every cancel was confirmed
    orders: int  # on the wire, over the whole drill
    discarded: int  # framed, and thrown away
    resets: int
    typed_ns: int  # from the start of the command's process to the word's being stored
    latched: bool  # the next run refused to be armed
    late: int  # order bytes after effective: must be 0

    @property
    def passed(self) -> bool:
        """Whether everything that is promised held."""
        return self.late == 0 and self.latched


class Timed(Struct):
    """One kill. Spans in ns."""

    effective_ns: int
    last_order_ns: int
    cancels_ns: int
    discarded: int
    resets: int
    late: list[str]


def drills_path(config: Config) -> Path:
    """One JSON line for each drill of this engine."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.drills.jsonl"


def timed_kill(
    engine: DrillEngine, tap: WireTap, *, linger_seconds: float = LINGER_SECONDS, orders: int = ORDERS_BETWEEN
) -> Timed:
    """Kill while it trades, wait until all is confirmed, look for late bytes, and arm again."""
    control = engine.control
    engine.wait_trading(tap, orders=orders)
    resets = int(control.resets)
    epoch, called_ns = engine.kill()
    while not engine.effective(epoch):
        time.sleep(0.00005)
    tap.mark()
    until(lambda: engine.settled(epoch), "every cancel confirmed")
    cancels_ns = int(lib.clock_now(engine.clock)) - called_ns
    time.sleep(linger_seconds)
    found = Timed(
        effective_ns=max(0, int(control.effective_time_ns) - called_ns),
        last_order_ns=max(0, int(control.order_time_ns) - called_ns),
        cancels_ns=cancels_ns,
        discarded=int(control.discarded_orders),
        resets=max(0, int(control.resets) - resets),
        late=tap.late(),
    )
    tap.unmark()
    lib.control_arm(control, epoch)
    return found


def percentile(values: list[int], share: float) -> int:
    """The value below which so many lie, of the values themselves."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def typed_kill(engine: DrillEngine) -> tuple[int, dict[str, Any]]:
    """``hotctl kill --local`` as a process: ns from its start to the word's being stored, and what it said."""
    started_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    done = subprocess.run(
        module_command(COMMAND, "kill", "--local", engine.name, "--wait", "--json", "--reason", "drill"),
        env=module_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told = json.loads(done.stdout) if done.stdout else {"exit_code": done.returncode, "trouble": done.stderr}
    stored_ns = int(str(told.get("stored_monotonic_ns", started_ns)))
    return stored_ns - started_ns, told


def refuses_to_arm(config: Config, folder: Path) -> bool:
    """Whether the next run of this engine is kept from arming by the latch."""
    engine = DrillEngine(config, folder, "--arm")
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while engine.process.poll() is None and time.monotonic() < deadline:
            if engine.armed():
                return False
            time.sleep(0.01)
        return bool(engine.process.poll()) and "latched in killed state" in engine.said.read_text()
    finally:
        engine.close()


def drill_kill(config: Config, *, kills: int = 20) -> DrillReport:
    """Rehearse, and append what came of it to the engine's drills. Raises HotpathError when it cannot be done."""
    with scratch_folder("drill") as folder, drill_venue(folder) as (venue, tap):
        name = f"{config.engine.name[:14]}-d{os.getpid()}"
        own = drill_config(name, venue, tap, folder, like=config)
        engine = DrillEngine(own, folder, "--arm")
        try:
            engine.wait_trading(tap, orders=1)
            timed = [timed_kill(engine, tap) for _ in range(kills)]
            engine.wait_trading(tap, orders=ORDERS_BETWEEN)
            typed_ns, told = typed_kill(engine)
            tap.mark()
            engine.end()
        finally:
            engine.close()
        latched = bool(told.get("latched")) and refuses_to_arm(own, folder)
        report = DrillReport(
            drill="kill",
            at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            host=platform.node(),
            engine=config.engine.name,
            topology=own.engine.topology,
            wait=own.engine.wait,
            kills=kills + 1,
            effective_ns_p50=percentile([each.effective_ns for each in timed], 0.5),
            effective_ns_p99=percentile([each.effective_ns for each in timed], 0.99),
            effective_ns_max=max(each.effective_ns for each in timed),
            last_order_ns_p99=percentile([each.last_order_ns for each in timed], 0.99),
            cancels_ns_p99=percentile([each.cancels_ns for each in timed], 0.99),
            orders=tap.orders,
            discarded=sum(each.discarded for each in timed),
            resets=sum(each.resets for each in timed),
            typed_ns=typed_ns,
            latched=latched,
            late=sum(len(each.late) for each in timed) + len(tap.late()),
        )
    _keep(drills_path(config), report)
    return report


def _keep(path: Path, report: DrillReport) -> None:
    import msgspec

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(report) + b"\n")
        file.flush()
        os.fsync(file.fileno())
