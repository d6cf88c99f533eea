"""drill kill: rehearse it before the open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Rehearsals on this host, against the simulator.", no_args_is_help=True)


@app.callback()
def drills() -> None:
    """Rehearse what must not fail."""


@app.command()
def kill(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The engine's TOML file.")],
    kills: Annotated[int, typer.Option(min=1, max=10_000, help="That are timed; one more is typed.")] = 20,
) -> None:
    """Kill an engine like this one while it trades with the simulator; append the figures to ENGINE.drills.jsonl.

    The exit code is 7 when an order byte came after a kill was effective, or the latch did not hold.
    """
    import msgspec

    from hotctl.commands.options import show_one
    from hotctl.errors import PartialError
    from hotpath.config import load_config
    from hotpath.drill.rehearse import drill_kill, drills_path

    loaded = load_config(config)
    report = drill_kill(loaded, kills=kills)
    record: dict[str, Any] = {**msgspec.to_builtins(report), "passed": report.passed}
    show_one(record, lambda: _text(record, drills_path(loaded)))
    if not report.passed:
        raise PartialError("the drill failed: do not trade with this host before you know why")


@app.command("list")
def list_drills(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The engine's TOML file.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 20,
) -> None:
    """List the drills of this engine, newest first, and whether they were passed."""
    import msgspec

    from hotctl.commands.options import show
    from hotctl.errors import UsageError
    from hotpath.config import load_config
    from hotpath.drill.rehearse import DrillReport, drills_path

    path = drills_path(load_config(config))
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        found = [msgspec.json.decode(line, type=DrillReport) for line in lines]
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: a line of it is no drill: {error}") from None
    rows = [
        {
            **msgspec.to_builtins(each),
            "verdict": "passed" if each.passed else "FAILED",
            "effective_p99_us": round(each.effective_ns_p99 / 1e3, 1),
            "typed_ms": round(each.typed_ns / 1e6, 1),
        }
        for each in reversed(found)
    ]
    columns = ("at", "drill", "verdict", "host", "topology", "kills", "effective_p99_us", "typed_ms", "late")
    show(rows[:count], columns=columns)


def _text(record: dict[str, Any], path: Path) -> str:
    def span(key: str) -> str:
        value = float(record[key])
        return f"{value / 1e3:,.1f} us" if value < 1e6 else f"{value / 1e6:,.1f} ms"

    verdict = "passed" if record["passed"] else "FAILED"
    return "\n".join(
        [
            f"{record['engine']}: drill kill {verdict} ({record['topology']}, {record['kills']} kills, "
            f"{record['orders']} orders on the wire)",
            f"  call to effective    p50 {span('effective_ns_p50')}, p99 {span('effective_ns_p99')}, "
            f"max {span('effective_ns_max')}",
            f"  last order byte      p99 {span('last_order_ns_p99')} after the call",
            f"  cancels confirmed    p99 {span('cancels_ns_p99')}",
            f"  typed to stored      {span('typed_ns')}",
            f"  late order bytes     {record['late']};  orders thrown away {record['discarded']};  "
            f"connections reset {record['resets']}",
            f"  latch over a restart {'held' if record['latched'] else 'DID NOT HOLD'}",
            f"  kept in {path}",
        ]
    )
