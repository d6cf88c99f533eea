"""The verb `hotpath replay`: a recorded feed, or a recorded run, through the same engine again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]


def replay(
    file: Annotated[
        Path, typer.Argument(help="Length-prefixed ITCH, a packet capture, or the folder of a recorded run.")
    ],
    config: Annotated[Path | None, typer.Option(help="The engine's TOML file; default: safe defaults.")] = None,
    topology: Annotated[
        Literal["split", "paired", "fused", "all"] | None,
        typer.Option(help="Default: as configured, or fused. all: each of them, and the order streams compared."),
    ] = None,
    times: Annotated[int, typer.Option(min=1, max=1000, help="So often, and the order streams compared.")] = 1,
    trading_date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Default: as the file is named, or the capture stamped."),
    ] = None,
    messages: Annotated[int, typer.Option(min=1, max=64, help="That arrive before the stages take a turn.")] = 1,
    port: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=65535, help="Of a capture: UDP port of the feed; again for its line B. Default: found."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the order log in this folder.")] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Of a recorded run: load and run the [signal] native that it names.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Another value, as limits.collar_ppm_max=50 or gateway.paper.fills=through; again for more."
        ),
    ] = None,
    diff: Annotated[
        Path | None, typer.Option(help="Compare with this run, order by order: a folder of --out, or a journal.")
    ] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Report trades, equity, drawdown, fees and slippage.")
    ] = False,
    states: Annotated[int, typer.Option(min=0, help="Digest all stages' state after each so many messages.")] = 0,
    json: Json = False,
) -> None:
    """Run the same engine over a recorded feed in virtual time, against the paper venue, and report.

    A capture's packets go through the same line code as live ones: lost and late ones, and two lines, included.
    A folder that `--record` made is run again turn by turn, and every order compared with the recorded one;
    the exit code is 1 when any differs, and of a feed when a strategy was cut off. It runs no code that the
    recording names, unless you say --trust-code. `--topology all --times 10` does it ten times as one process, as
    two and as four: one order stream, thirty times.

    With --set the market runs twice, as it was and with the new values, on the paper venue both times, and every
    order that differs is listed with the reason; a recorded run gives its market. --backtest reports one run.
    """
    from hotpath.report_view import print_comparison, print_report, progress_bar

    day = trading_date.date() if trading_date else None
    if set_ or diff or backtest or states:
        from hotpath.backtest.simulate import backtest as run_backtest
        from hotpath.backtest.view import print_outcome
        from hotpath.replay import ReplayOptions

        outcome = run_backtest(
            file,
            ReplayOptions(
                config_path=config,
                trading_date=day,
                messages_per_round=messages,
                ports=tuple(port or ()),
                out=out,
                settings=tuple(set_ or ()),
                trust_code=trust_code,
                states_every=states,
            ),
            base=diff,
            bar=lambda name: progress_bar(f"replaying {name}", shown=not json),
        )
        print_outcome(outcome.report, outcome.comparison, outcome.files, json=json)
        raise typer.Exit(1 if outcome.replay.notices else 0)
    if times > 1 or topology == "all":
        from hotpath.replay import ReplayOptions
        from hotpath.replay_repeat import print_repeated, replay_repeatedly

        options = ReplayOptions(
            config_path=config,
            trading_date=day,
            messages_per_round=messages,
            ports=tuple(port or ()),
            trust_code=trust_code,
        )
        repeated = replay_repeatedly(file, options, topology=topology or "fused", times=times)
        print_repeated(repeated, json=json)
        raise typer.Exit(0 if repeated.same else 1)
    if file.is_dir():
        from hotpath.recordings import replay_recording

        with progress_bar(f"replaying {file.name}", shown=not json) as progress:
            comparison = replay_recording(file, trust_code=trust_code, progress=progress, topology=topology or "fused")
        print_comparison(comparison, json=json)
        raise typer.Exit(0 if comparison.same else 1)
    from hotpath.replay import ReplayOptions, replay_file

    options = ReplayOptions(
        config_path=config,
        topology=topology,
        trading_date=day,
        messages_per_round=messages,
        ports=tuple(port or ()),
        out=out,
    )
    with progress_bar(f"replaying {file.name}", shown=not json) as progress:
        report = replay_file(file, options, progress=progress)
    print_report(report, json=json)
    raise typer.Exit(1 if report.notices else 0)
