"""The command line `hotctl`: what is done to an engine from outside of its path.

An error that is raised on purpose is printed with what to do about it, and sets the exit code.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hotctl.commands import audit, certs, drill, envelope, limits, looks, second_person, trades, trading
from hotctl.commands.options import take_options
from hotpath.errors import HotpathError

if TYPE_CHECKING:
    from hotctl.projection.status import Status

app = typer.Typer(
    help="hotctl: hold an engine from outside: see it, kill it, arm it, set its limits, prove who did what.\n\n"
    "Every verb takes --engine NAME (of this host) or --profile NAME (docs/control.md), -o table|json|jsonl, "
    "--timeout SECONDS and --no-input, anywhere on the line. Exit codes: 0 ok, 2 usage, 3 denied, 4 precondition, "
    "5 unreachable, 6 outcome unknown, 7 partial.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
projection_app = typer.Typer(
    help="The journal's events as tables, in SQLite or PostgreSQL ([projection] of the configuration). "
    "Every table can be made again from the journal.",
    no_args_is_help=True,
)
trading.register(app)
second_person.register(app)
trades.register(app)
looks.register(app)
app.add_typer(limits.app, name="limits")
app.add_typer(audit.app, name="audit")
app.add_typer(certs.app, name="certs")
app.add_typer(drill.app, name="drill")
app.add_typer(envelope.app, name="envelope")
app.add_typer(projection_app, name="projection")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The engine's TOML file.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]
BEHIND = 1


@app.callback()
def hotctl() -> None:
    """Look after engines."""


@projection_app.command("follow")
def projection_follow(
    config: ConfigFile,
    once: Annotated[bool, typer.Option("--once", help="Project what the journal holds now, then end.")] = False,
) -> None:
    """Bring the tables up to the journal and keep them there until Ctrl-C, through every outage of the database.

    An engine with [projection] enabled = true does this by itself; two at a time do no harm.
    """
    from hotctl.projection.projector import Projector
    from hotpath.config import load_config
    from hotpath.supervisor import StopSignals

    projector = Projector.of(load_config(config))
    started = time.monotonic()
    with closing(projector.database):
        if once:
            projector.catch_up()
        else:
            with StopSignals() as stop:
                projector.follow(lambda: not stop.set)
        projector.tell(always=True)
    seconds = time.monotonic() - started
    print(f"{projector.events:,} events in {seconds:.1f} s into {projector.database.shown}")


@projection_app.command("rebuild")
def projection_rebuild(config: ConfigFile, json: Json = False) -> None:
    """Drop every table and make them again from the journals that are left."""
    from hotctl.projection.projector import Projector
    from hotctl.projection.status import rebuild
    from hotpath.config import load_config

    loaded = load_config(config)
    started = time.monotonic()
    with closing(Projector.of(loaded).database) as database:
        projector = rebuild(loaded, database)
    seconds = time.monotonic() - started
    summary = {"events": projector.events, "seconds": round(seconds, 3), "database": projector.database.shown}
    rate = projector.events / seconds if seconds else 0.0
    _report(summary, f"{projector.events:,} events in {seconds:.1f} s ({rate:,.0f} a second)", json=json)


@projection_app.command("status")
def projection_status(config: ConfigFile, json: Json = False) -> None:
    """Tell what the tables hold and how far they are behind the journal; the exit code is 1 when they are."""
    import msgspec

    from hotctl.projection.projector import Projector
    from hotctl.projection.status import look
    from hotpath.config import load_config

    loaded = load_config(config)
    with closing(Projector.of(loaded).database) as database:
        status = look(loaded, database)
    summary = {**msgspec.to_builtins(status), "lag_events": status.lag_events}
    _report(summary, _status_text(status), json=json)
    raise typer.Exit(BEHIND if status.lag_events else 0)


def _status_text(status: Status) -> str:
    lines = [
        f"{status.database}",
        "  " + ", ".join(f"{name} {count:,}" for name, count in status.rows.items() if count),
    ]
    for run in status.runs:
        state = "complete" if run.complete else f"{run.lag_events:,} events behind"
        lines.append(f"  run {run.run_epoch}: {state}  ({run.folder})")
        lines += [
            f"    {lost:,} events of {ring} were lost before they were recorded" for ring, lost in run.lost.items()
        ]
    projector = status.projector
    if projector is None or not status.projector_lives:
        lines.append("  no projector runs: [projection] enabled = true, or hotctl projection follow CONFIG")
    else:
        state = "up" if projector.up else f"database down: {projector.trouble}"
        lines.append(
            f"  projector {projector.pid}: {state}, {projector.lag_events:,} events ({projector.lag_seconds:.1f} s) "
            f"behind, {projector.outages} outages"
        )
    return "\n".join(lines)


@projection_app.command("snapshot")
def projection_snapshot(config: ConfigFile, json: Json = False) -> None:
    """Keep the positions of the last run as they are now, beside those of every full hour."""
    from hotctl.projection.projector import Projector
    from hotctl.projection.status import take_snapshot
    from hotpath.config import load_config

    loaded = load_config(config)
    with closing(Projector.of(loaded).database) as database:
        rows = take_snapshot(database, loaded.engine.name)
    lines = [
        f"{row['symbol']:<10} {row['lots']:>10,} lots  realised {row['realised_micros'] / 1e6:>14,.2f}" for row in rows
    ]
    _report({"positions": rows}, "\n".join(lines) or "no position ever moved", json=json)


@app.command()
def serve(config: ConfigFile) -> None:
    """Be the control process of an engine by hand, until Ctrl-C: what [control] enabled = true has the engine start."""
    from hotctl.server.process import serve as serve_engine
    from hotpath.config import load_config

    serve_engine(load_config(config))


def _report(summary: dict[str, Any], text: str, *, json: bool) -> None:
    """One result, for a machine or for people."""
    if json:
        import msgspec

        print(msgspec.json.encode(summary).decode())
    else:
        print(text)


def main() -> None:
    """Entry point of the console script."""
    try:
        app(args=take_options(sys.argv[1:]))
    except HotpathError as error:
        print(f"hotctl: {error}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away: not our failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
