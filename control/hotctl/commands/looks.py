"""snapshot, watch, top: what an engine does, once, again and again, or live."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hotctl.commands import options
from hotctl.commands.options import client, say
from hotctl.errors import CallError, UnreachableError, UsageError

if TYPE_CHECKING:
    from hotctl.client import Client
    from hotpath.stat import EngineStat

TOP_INTERVAL_MS = 500
Interval = Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between two looks.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    app.command()(snapshot)
    app.command()(watch)
    app.command()(top)


def stream(call: Client, *, interval_seconds: float) -> Iterator[EngineStat]:
    """Looks until either side leaves. Raises CallError."""
    from hotctl.server.snapshot import from_wire
    from hotctl.v1 import watch_pb2

    request = watch_pb2.WatchSnapshotsRequest(interval_ms=round(interval_seconds * 1000))
    for response in call.stream("WatchService/WatchSnapshots", request):
        yield from_wire(response.snapshot)


def snapshot(
    json: Annotated[bool, typer.Option("--json", help="One JSON object, as `hotpath stat --json` prints it.")] = False,
) -> None:
    """Show one look at the engine: every stage, hop, ring, book, position, limit and alert."""
    import msgspec

    with client() as call:
        looks = stream(call, interval_seconds=0.25)
        stat = next(looks)
        if json or options.OPTIONS.output != "table":
            print(msgspec.json.encode(stat).decode())
            return
        from rich.console import Console, Group
        from rich.text import Text

        from hotctl import panels
        from hotpath.screen import History

        history = History()
        history.add(stat)
        stat = next(looks, stat)  # rates are the difference of two
        history.add(stat)
        console = Console(width=None if sys.stdout.isatty() else 140)
        blank = Text()
        console.print(
            Group(
                panels.headline(stat, target=call.target), panels.safety(stat), blank,
                panels.latency(stat, history), blank, panels.stages(stat, history), blank,
                panels.flow(stat, history), blank, panels.limits(stat, history), blank,
                panels.instruments(stat, most=24), panels.money(stat), blank, panels.alerts(stat),
            )
        )  # fmt: skip


def watch(
    interval: Interval = 1.0,
    count: Annotated[int, typer.Option(min=0, help="End after so many looks; 0: when the run ends, or Ctrl-C.")] = 0,
) -> None:
    """Print a line for each look until the run ends: aligned for people, -o jsonl whole for machines."""
    import msgspec

    from hotctl.watch_line import WatchLines

    lines = WatchLines()
    with client() as call:
        try:
            for seen, stat in enumerate(stream(call, interval_seconds=interval), start=1):
                if options.OPTIONS.output == "table":
                    for line in lines.of(stat):
                        print(line, flush=True)
                else:
                    print(msgspec.json.encode(stat).decode(), flush=True)
                if seen == count:
                    return
        except KeyboardInterrupt:
            return
    say("the run has ended, or its control process has")


def top(
    interval: Interval = TOP_INTERVAL_MS / 1000,
    screenshot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what it shows as SVG, without a terminal, and end.")
    ] = None,
) -> None:
    """Watch an engine live: latency by hop, rates, rings, books, positions, orders, limits, mode, alerts.

    K then Enter kills; p holds the picture still; ? lists the keys; q leaves. Needs the extra `control`.
    """
    try:
        from hotctl.top import TopApp, picture
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise UsageError(
            "hotctl top needs Textual, which is not installed",
            next_step="pip install 'hotpath-engine[control]', or: hotctl watch",
        ) from None
    if screenshot is None and not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UsageError("hotctl top needs a terminal", next_step="without one: hotctl watch, or top --screenshot FILE")
    with client() as call:
        call.call("EngineService/GetEngine")  # who cannot be reached, or refuses, says so before the screen is taken
        app = TopApp(
            lambda: stream(call, interval_seconds=interval),
            target=call.target.rpartition("/")[2],
            kill=lambda: kill(call),
            hang_up=call.close,
        )
        if screenshot is None:
            app.run()
            return
        import asyncio

        asyncio.run(picture(app, screenshot))
        say(f"{screenshot}: written after {app.taken} looks")


def kill(call: Client) -> str:
    """Kill over gRPC; where nobody answers and the engine is of this host, past the control process."""
    from hotctl.client import mutation
    from hotctl.v1 import trading_pb2

    begun = time.monotonic()
    try:
        request = trading_pb2.KillRequest(mutation=mutation(reason="killed by hand, from top"))
        response = call.call("TradingService/Kill", request)
    except (UnreachableError, CallError) as error:
        if not isinstance(error, UnreachableError) or not call.target.startswith("unix:"):
            raise
        return kill_past_control(str(error))
    effective = "effective" if response.effective else "not effective yet"
    return (
        f"{response.receipt.detail}: {effective}, {response.open_orders:,} open orders, "
        f"answered in {(time.monotonic() - begun) * 1e3:.0f} ms"
    )


def kill_past_control(why: str) -> str:
    """`hotctl kill --local`, in a process of its own. Raises UnreachableError."""
    import subprocess

    from hotpath.spawn import module_command, module_environment

    engine = options.profile().engine
    named = [f"--engine={engine}"] if engine else []
    done = subprocess.run(
        module_command("hotctl", "kill", "--local", *named),
        capture_output=True, text=True, env=module_environment(), timeout=30, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 7):
        raise UnreachableError(f"{why}; {done.stderr.strip()}", next_step="hotctl kill --local, on the engine's host")
    return f"killed past the control process ({why}): {' '.join(done.stdout.split())}"
