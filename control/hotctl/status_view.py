"""`hotctl status`: may it trade, what holds it back, what stands behind which process boundary, who you are to it.

Aligned; coloured on a terminal unless NO_COLOR says otherwise; plain elsewhere.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hotctl import panels
from hotctl.server.snapshot import from_wire
from hotpath.alerts import ALARM
from hotpath.screen import condition, format_elapsed
from hotpath.stat import EngineStat

DAY_SECONDS = 86_400
WIDTH_ELSEWHERE = 160
ALERTS_SHOWN = 8
BEHIND = {1: "a fault in it takes the whole path", 2: "a fault in one leaves the other two stages", 4: "a fault in one "
          "leaves the other three"}  # fmt: skip


def print_status(engine: dict[str, Any], causes: dict[str, Any] | None, snapshot: Any) -> None:
    """Of GetEngine, ListCauses and GetSnapshot; without a run the last two are None."""
    view = status_view(engine, causes, from_wire(snapshot) if snapshot is not None else None)
    if sys.stdout.isatty():
        Console().print(view)
        return
    console = Console(width=int(os.environ.get("COLUMNS", WIDTH_ELSEWHERE)), file=io.StringIO())
    with console.capture() as captured:
        console.print(view)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def status_view(engine: dict[str, Any], causes: dict[str, Any] | None, stat: EngineStat | None) -> RenderableType:
    """A line for each question that an operator asks, in that order."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    if stat is None or causes is None:
        table.add_row("engine", Text.assemble((engine["engine"], "bold"), "  no run is there"))
    else:
        elapsed = format_elapsed(max(0, stat.time_ns - stat.run_epoch))
        table.add_row(
            "engine",
            Text.assemble(
                (stat.engine, "bold"), "  ", condition(stat), f"  {stat.topology}, for {elapsed}", ("  ", ""),
                (f"version {engine['version']}" if engine["version"] else "", "dim"),
            ),
        )  # fmt: skip
        _add_running(table, engine, causes, stat)
    if engine["envelope"] not in ("", "none"):
        table.add_row("envelope", engine["envelope"])
    if engine["single_operator"]:
        table.add_row(
            "persons",
            Text("SINGLE OPERATOR: one person may arm and raise limits alone ([control] single_operator)", "yellow"),
        )
    if engine["approvals_waiting"]:
        waiting = f"{engine['approvals_waiting']} wait for a second person: hotctl approvals"
        table.add_row("requests", Text(waiting, "bold yellow"))
    table.add_row("you", _who(engine))
    return table


def _add_running(table: Table, engine: dict[str, Any], causes: dict[str, Any], stat: EngineStat) -> None:
    if causes["killed"]:
        done = "no order can leave any more" if stat.kill is None or stat.kill.effective else "NOT EFFECTIVE YET"
        table.add_row(
            "killed",
            Text.assemble((f"KILLED (epoch {causes['kill_epoch']})", "bold red"), f"  {done}; hotctl arm -m WHY"),
        )
        why = f"since {causes['kill_since']}: {causes['kill_reason']}" if causes.get("kill_reason") else ""
        table.add_row("", why or "no latch: it started killed, or was disarmed")
        if stat.kill is not None:
            left = f"{stat.kill.orders_open} of {stat.kill.orders_found} orders that were open are not yet cancelled"
            flight = f"; {stat.kill.in_flight_bytes} bytes in flight" if stat.kill.in_flight_bytes else ""
            table.add_row("", f"all of the engine; {left}{flight}")
    mode = str(causes["mode"])
    table.add_row("mode", Text(mode.replace("_", " "), "green" if mode == "normal" else "bold yellow"))
    for each in causes["causes"]:
        how = "latched" if each["latched"] else "clears itself"
        said = f"{each['mode'].replace('_', ' ')} because of {each['name']}"
        table.add_row("", Text.assemble((said, "yellow"), (f"  {how}: {each['cleared_by']}", "dim")))
    for scope, words in stat.switches.items():
        table.add_row("", Text(f"{scope}: {words}", "yellow"))
    gateway = stat.stages["gateway"].counters
    table.add_row(
        "orders",
        Text.assemble(
            f"{gateway.get('fills', 0):,} fills   ", panels.money(stat),
        ),
    )  # fmt: skip
    fullest = max((each for each in stat.limits if each.used is not None and each.limit), default=None,
                  key=lambda each: (each.used or 0.0) / each.limit)  # fmt: skip
    used = Text(f"version {engine['limits_version']}", "dim")
    if fullest is not None:
        used = Text.assemble(panels.bar((fullest.used or 0.0) / fullest.limit, 10), " ", panels.limit_line(fullest),
                             "   ", used)  # fmt: skip
    table.add_row("limits", used)
    boundaries = panels.isolation(stat)
    for index, line in enumerate(boundaries):
        table.add_row("isolation" if index == 0 else "", line)
    table.add_row("", Text(BEHIND.get(len(boundaries), ""), "dim"))
    for index, alert in enumerate(stat.alerts[:ALERTS_SHOWN]):
        style = "bold red" if alert.level == ALARM else "yellow"
        table.add_row("alerts" if index == 0 else "", Text.assemble((alert.about, style), f" {alert.text}"))


def _who(engine: dict[str, Any]) -> str:
    who = f"{engine['identity']} ({engine['role']})"
    if engine["key_age_s"]:
        age, left = engine["key_age_s"] / DAY_SECONDS, engine["key_left_s"] / DAY_SECONDS
        who += f", your key is {age:.0f} days old and good for {left:.0f} more"
    return who
