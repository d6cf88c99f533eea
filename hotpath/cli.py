"""The command line `hotpath`: each verb imports what it needs when it is called, so that help is quick.

An error that hotpath raises on purpose is printed with what to do about it, and sets the exit code.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hotpath.errors import HotpathError
from hotpath.install.cli import install, uninstall
from hotpath.journal_cli import app as journal_app
from hotpath.models.cli import app as model_app
from hotpath.registry.cli import registrar
from hotpath.replay_cli import replay

app = typer.Typer(
    help="hotpath: a shared-memory, low-latency co-process engine for trading.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
refdata_app = typer.Typer(help="Instruments, calendars and lists: one versioned, hashed file.", no_args_is_help=True)
config_app = typer.Typer(help="The engine's configuration file.", no_args_is_help=True)
app.add_typer(refdata_app, name="refdata")
app.add_typer(config_app, name="config")
coprocess_app = typer.Typer(
    help="Programs of your own beside the path: seats, and what a C program needs.", no_args_is_help=True
)
app.add_typer(coprocess_app, name="coprocess")
app.add_typer(journal_app, name="journal")
app.add_typer(model_app, name="model")

adjust_app = typer.Typer(
    help="What people say of positions: opening ones, corporate actions, corrections. Kept with who and why, "
    "told to the engine that runs or to its next run, journaled.",
    no_args_is_help=True,
)
app.add_typer(adjust_app, name="adjust")
intents_app = typer.Typer(help="The orders that were sent, as the gateway keeps them.", no_args_is_help=True)
app.add_typer(intents_app, name="intents")

Topology = Literal["split", "paired", "fused"]
RUN_FAILED = 70
SPIN_SECONDS = 0.25  # of an empty loop on a processor of the path when a run is over, to stand beside its figures
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long to trade.")] = 20.0,
    topology: Annotated[Topology | None, typer.Option(help="Default: what suits this machine.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated order flow.")] = 1,
    instruments: Annotated[int, typer.Option(min=1, help="That the simulated venue lists.")] = 64,
    rate: Annotated[int, typer.Option(min=1, help="Orders a second of everybody else.")] = 20_000,
    out: Annotated[Path | None, typer.Option(help="Keep configuration, logs and intents in this folder.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Journal the run, for replay.")] = False,
    screen: Annotated[bool, typer.Option(help="Show the live screen while trading.")] = True,
    hold: Annotated[
        bool, typer.Option("--hold", help="Trade on until Ctrl-C or `hotctl drain`, held by `hotctl`; no screen.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="The same in the background, in out/demo; returns once it trades.")
    ] = False,
    json: Json = False,
) -> None:
    """Trade against the venue simulator for a while, watching, then report."""
    from hotpath.demo import DemoOptions, detach_demo, run_demo
    from hotpath.report_view import print_report

    options = DemoOptions(
        seconds=seconds,
        seed=seed,
        instruments=instruments,
        rate_per_second=rate,
        topology=topology,
        watch=screen and not json,
        out=out,
        record=record,
        hold=hold,
    )
    if detach:
        log = detach_demo(options)
        print(f"engine demo trades; its log: {log}")
        print("  see it: hotctl top   stop it: hotctl kill   end it: hotctl drain -m done")
        return
    outcome, report, venue = run_demo(options)
    print_report(report, json=json, venue=venue)
    if record and out is not None and not json:
        from hotpath.explain.find import invitation

        print(invitation(out / "recording"), end="")
    raise typer.Exit(RUN_FAILED if outcome.failed else 0)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="The engine's TOML file.")],
    arm: Annotated[bool, typer.Option("--arm", help="Allow orders as soon as every stage is ready.")] = False,
    clear_kill: Annotated[str, typer.Option(help="Accept a latched kill; says why.")] = "",
    clear_loss: Annotated[str, typer.Option(help="Accept a latched daily loss or drawdown; says why.")] = "",
    record: Annotated[Path | None, typer.Option(help="Journal the run into this folder.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; default: run until Ctrl-C.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show the live screen.")] = False,
    topology: Annotated[Topology | None, typer.Option(help="In place of the configured one.")] = None,
    json: Json = False,
) -> None:
    """Start every process of an engine, watch over them, stop them cleanly on Ctrl-C, and report."""
    from hotpath.journal import refuse_earlier_recording
    from hotpath.report_view import print_report
    from hotpath.run import RunOptions, run_engine

    if record is not None:
        refuse_earlier_recording(record)
    options = RunOptions(
        arm=arm,
        clear_kill=clear_kill,
        clear_loss=clear_loss,
        record=record,
        seconds=seconds,
        watch=watch and not json,
        topology=topology,
        spin_seconds=SPIN_SECONDS,
    )
    outcome, report = run_engine(config, options)
    print_report(report, json=json)
    raise typer.Exit(RUN_FAILED if outcome.failed else 0)


@app.command()
def keep(
    config: Annotated[Path, typer.Argument(help="The engine's TOML file.")],
    room: Annotated[Path, typer.Option(help="Folder in which its units wait, as /run/hotpath/NAME.")],
    arm: Annotated[bool, typer.Option("--arm", help="Allow orders as soon as every stage is ready.")] = False,
) -> None:
    """Hold the room of an engine whose processes are units of a service manager: systemd/README.md.

    It is `hotpath run` that starts no process: memory, order, arming, kills and restarts are its own, and units take
    the tickets that it writes.
    """
    from hotpath.report_view import print_report
    from hotpath.units.keep import keep as hold_room

    outcome, report = hold_room(config, room, arm=arm)
    print_report(report, json=False)
    raise typer.Exit(RUN_FAILED if outcome.failed else 0)


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="Process of the topology, as feed, feed-signal or engine.")],
    run_file: Annotated[Path, typer.Argument(help="What the supervisor wrote for this run.")],
) -> None:
    """Run one process of an engine whose supervisor is already there. For supervisors and for debugging."""
    # The stage process must import none of this module: it takes the place of this process.
    from hotpath.spawn import module_command, module_environment

    os.execve(
        sys.executable, module_command("hotpath.stage_process", name, str(run_file.resolve())), module_environment()
    )


app.command()(replay)
app.command()(registrar)
app.command()(install)
app.command()(uninstall)


@app.command()
def explain(
    order_id: Annotated[int, typer.Argument(min=1, help="The engine's own number of the order, as in every event.")],
    journal: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: the last run that left a journal here.")
    ] = None,
    json: Json = False,
) -> None:
    """Tell the whole story of one order: bytes, book, features, signal, every limit, wire, fills, nanoseconds.

    What can be computed again is, from the journal, by the path's own kernels, and held against the record; the
    exit code is 1 when anything is not as recorded. A replacement and a cancel are orders too, with numbers of
    their own. Reads only; works on finished, cut-off and growing journals.
    """
    from hotpath.explain.find import find_journal
    from hotpath.explain.tell import explain_order
    from hotpath.explain.view import print_story

    story = explain_order(find_journal(journal), order_id)
    print_story(story, json=json)
    raise typer.Exit(0 if story.sound else 1)


@app.command()
def evidence(
    day: Annotated[str, typer.Argument(help="Trading day, as 2026-11-20.")] = "",
    journal: Annotated[
        list[Path] | None, typer.Option(help="Folder of a run, or of many; again for more. Default: var/ and out/.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The signer's key, as --new-key made it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: evidence-DAY.zip here.")] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key in this file, and its public half beside it.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Check this pack instead of making one; needs no journal.")
    ] = None,
    public_key: Annotated[Path | None, typer.Option(help="Of whom you trust, for --verify.")] = None,
    json: Json = False,
) -> None:
    """Export what a day was run under and what was done in it, signed; or verify such a pack, offline.

    In it: limits and each change of them, refusals, kills and modes, orders from intent to fill as a chain of hashes,
    frames as they left, adjustments, reconciliation, hashes of build and layout. The verifier is one file that needs
    Python and the package cryptography alone: hotpath/evidence/verify.py.

      hotpath evidence --new-key desk.pem
      hotpath evidence 2026-11-20 --key desk.pem
      hotpath evidence --verify evidence-20261120.zip --public-key desk.pem.pub
    """
    from hotpath.evidence.make import run_evidence

    raise typer.Exit(
        run_evidence(
            day, journals=journal or [], key=key, out=out, new=new_key, verify=verify, public_key=public_key, json=json
        )
    )


@app.command()
def restore(
    copy: Annotated[Path, typer.Argument(help="Folder of a run, as hotpath journal receive keeps it.")],
    config: Annotated[Path, typer.Argument(help="TOML file of the engine that shall go on.")],
    source: Annotated[Path | None, typer.Option(help="What is left of the original: says what the copy lacks.")] = None,
    json: Json = False,
) -> None:
    """Make an engine ready to start from the copy of its journal: check, close, number on; say what is lost.

    The run that follows takes the venue's word for every order of the day before it may be armed.
    """
    import msgspec

    from hotpath.journal.restore import restore as bring_back
    from hotpath.journal.restore import restored_text

    restored = bring_back(copy, config, source=source)
    _report(msgspec.to_builtins(restored), restored_text(restored, config), json=json)


@app.command("new-strategy")
def new_strategy(
    name: Annotated[str, typer.Argument(help="Of the folder, the file and the class: small letters, digits and _.")],
    kind: Annotated[
        Literal["event", "batch", "cfunc"],
        typer.Option(help="Called for each event, with columns of events, or compiled by numba and called from C."),
    ] = "event",
    into: Annotated[Path, typer.Option(help="Where the folder is made.")] = Path("."),
    json: Json = False,
) -> None:
    """Make a folder with a strategy to begin from: it runs, and its test passes."""
    from hotpath.new_strategy import write_strategy

    made = write_strategy(name, kind=kind, into=into)
    text = (
        f"{made.folder}: {', '.join(made.files)}\n"
        f"  run it:  hotpath replay {made.folder / 'day.itch'} --config {made.folder / 'engine.toml'}\n"
        f"  test it: pytest {made.folder}"
    )
    _report({"folder": str(made.folder), "files": list(made.files)}, text, json=json)


@app.command()
def stat(
    engine: Annotated[str | None, typer.Argument(help="Its name; default: the only one here.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep the screen up to date until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 0.5,
    hdr_log: Annotated[
        Path | None, typer.Option(help="Also write every hop to this file, as an HdrHistogram V2 log.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a running or dead engine counted and measured. Reads only; disturbs nothing."""
    from hotpath.stat import run_stat, write_hdr_log

    if hdr_log is not None:
        write_hdr_log(engine, hdr_log)
    raise typer.Exit(run_stat(engine, watch=watch, json=json, interval_seconds=interval))


@app.command()
def reconcile(
    engine: Annotated[str, typer.Argument(help="Its name while it runs, or its TOML file.")],
    clear: Annotated[str, typer.Option(help="Settle the break of this symbol.")] = "",
    reason: Annotated[str, typer.Option(help="Why it is settled; kept with your name.")] = "",
    json: Json = False,
) -> None:
    """Show both sides of an engine, its own and the venue's report, and the breaks between them.

    A break holds its instrument: positions in it may only be reduced, over restarts, until a person clears it. Set
    right what caused it first: a difference that still stands is found again. The exit code is 1 while a break stands.
    Needs [reconcile] username in the configuration.
    """
    import msgspec

    from hotpath.reconcile.status import read_status
    from hotpath.reconcile.view import clear_break, describe, find_status

    path = find_status(engine)
    name = path.name.removesuffix(".reconcile.json")
    status = clear_break(path, symbol=clear, reason=reason) if clear else read_status(path, name)
    _report(msgspec.to_builtins(status), describe(status), json=json)
    raise typer.Exit(1 if status.breaks else 0)


@app.command()
def tail(
    engine: Annotated[str | None, typer.Argument(help="Its name; default: the only one here.")] = None,
    ring: Annotated[str, typer.Option(help="norm, signal, cmd, exec, reject, intake; several with commas.")] = "",
    symbol: Annotated[str, typer.Option(help="Only these, with commas: filtered before they are sent.")] = "",
    type_: Annotated[str, typer.Option("--type", help="Only these events, as fill or exec_fill,add.")] = "",
    since: Annotated[str, typer.Option(help="First what the rings still hold from then on: 30s, 5m, 14:30.")] = "",
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long; default: until Ctrl-C.")] = None,
    endpoint: Annotated[str, typer.Option(help="ipc://PATH of a tap, in place of the engine's own.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print what an engine does as it happens: market, signals, orders, executions. Needs [tap] enabled = true.

    Disturbs nothing: it reads the tap, which observes. Events that were lost on the way are counted in place.
    It waits through a restart of the engine and goes on with the next run.
    """
    from hotpath.tail import parse_options, run_tail

    options = parse_options(rings=ring, symbols=symbol, types=type_, since=since, json=json, count=count)
    raise typer.Exit(run_tail(engine, options, endpoint=endpoint, seconds=seconds))


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="ITCH file or packet capture.")], json: Json = False) -> None:
    """Tell what a capture holds: messages by type, instruments, time range, gaps, every byte accounted for."""
    from hotpath.inspect import run_inspect

    raise typer.Exit(run_inspect(file, json=json))


@app.command()
def report(
    run: Annotated[
        str | None, typer.Argument(help="Folder, configuration or engine; default: the last run in var/.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write into this folder; default: the run's own.")] = None,
    html: Annotated[bool, typer.Option(help="One self-contained page.")] = True,
    png: Annotated[bool, typer.Option(help="The pictures of the page as PNG.")] = True,
    json: Json = False,
) -> None:
    """Make a page, pictures and a table of what a run did over time. Reads what the run left; disturbs nothing.

    Every `hotpath run` keeps samples in STATE_DIR/ENGINE.runs/START, and `demo` and `replay` do with --out;
    a run that still goes on, or was killed, can be reported too.
    """
    from hotpath.history.make import ReportOptions, make_report

    make_report(ReportOptions(run=run, out=out, html=html, png=png), json=json)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(help="The engine's TOML file; default: the default engine.")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, max=60, help="To spin on each processor.")] = 1.0,
    quick: Annotated[bool, typer.Option("--quick", help="Spin for a tenth of a second only.")] = False,
    json: Json = False,
) -> None:
    """Tell what this machine does to an engine, and the command that mends it. Changes nothing.

    Reads the kernel's files, then spins on one processor after the other to see what interrupts it, and
    passes a cache line between each two. The exit code is 1 when something is bad.
    """
    from hotpath.doctor.examine import QUICK_SECONDS, diagnose
    from hotpath.doctor.view import doing, print_diagnosis

    with doing() as progress:
        diagnosis = diagnose(config, seconds=QUICK_SECONDS if quick else seconds, progress=progress)
    print_diagnosis(diagnosis, json=json)
    raise typer.Exit(0 if diagnosis.healthy else 1)


@refdata_app.command("check")
def refdata_check(file: Path, json: Json = False) -> None:
    """Verify a file: its form, its hash, and that it does not contradict itself."""
    from hotpath.refdata import load_refdata

    refdata = load_refdata(file)
    summary = {
        "file": str(file),
        "version": refdata.version,
        "sha256": refdata.sha256,
        "instruments": len(refdata.instruments),
        "calendars": sorted(refdata.calendars),
        "lists": {name: len(members) for name, members in refdata.lists.items()},
    }
    _report(
        summary,
        f"{file}: version {refdata.version}, {len(refdata.instruments):,} instruments, sealed {refdata.sha256[:12]}",
        json=json,
    )


@refdata_app.command("show")
def refdata_show(file: Path, symbols: Annotated[list[str] | None, typer.Argument()] = None, json: Json = False) -> None:
    """Print instruments, all or those named."""
    from hotpath.refdata import load_refdata

    refdata = load_refdata(file)
    chosen = [refdata.index_of(symbol) for symbol in symbols] if symbols else range(len(refdata.instruments))
    if json:
        import msgspec

        for index in chosen:
            entry = {"index": index, **msgspec.structs.asdict(refdata.instruments[index])}
            print(msgspec.json.encode(entry).decode())
        return
    print(
        f"{'index':>6}  {'symbol':<15} {'currency':<8} {'tick':>10} {'step':>8} {'round lot':>9}  {'calendar':<14} ids"
    )
    for index in chosen:
        each = refdata.instruments[index]
        ids = " ".join(f"{venue}={number}" for venue, number in each.venue_ids.items())
        print(
            f"{index:>6}  {each.symbol:<15} {each.currency:<8} {each.tick_size:>10} {each.price_increment:>8} "
            f"{each.round_lot:>9}  {each.calendar:<14} {ids}"
        )


@refdata_app.command("diff")
def refdata_diff(before: Path, after: Path, json: Json = False) -> None:
    """Print what changes from one file to another; the exit code is 1 when anything does."""
    from hotpath.refdata import load_refdata, refdata_differences

    lines = refdata_differences(load_refdata(before), load_refdata(after))
    _report({"differences": lines}, "\n".join(lines) or "no difference", json=json)
    raise typer.Exit(1 if lines else 0)


@refdata_app.command("import")
def refdata_import(
    capture: Annotated[Path, typer.Argument(help="Length-prefixed ITCH.")],
    file: Annotated[Path, typer.Argument(help="Made, or updated as its next version.")],
    json: Json = False,
) -> None:
    """Take instruments from the directory messages of a recorded feed, or from its orders where it has none."""
    from hotpath.captures import itch_messages
    from hotpath.refdata import instruments_of_itch, load_refdata, merge_instruments, save_refdata

    known = load_refdata(file) if file.exists() else None
    merged = merge_instruments(known, instruments_of_itch(itch_messages(capture)))
    saved = save_refdata(merged, file) if merged is not known else merged
    added = len(saved.instruments) - (len(known.instruments) if known else 0)
    summary = {"file": str(file), "version": saved.version, "instruments": len(saved.instruments), "added": added}
    what = f"{added:,} of {len(saved.instruments):,} instruments are new" if saved is not known else "nothing new"
    _report(summary, f"{file}: version {saved.version}: {what}", json=json)


@refdata_app.command("seal")
def refdata_seal(file: Path, json: Json = False) -> None:
    """Accept what was edited by hand as the next version."""
    import msgspec

    from hotpath.refdata import read_refdata, refdata_hash, save_refdata

    refdata = read_refdata(file)
    if refdata_hash(refdata) != refdata.sha256:
        refdata = save_refdata(msgspec.structs.replace(refdata, version=refdata.version + 1), file)
    summary = {"file": str(file), "version": refdata.version, "sha256": refdata.sha256}
    _report(summary, f"{file}: version {refdata.version}, sealed {refdata.sha256[:12]}", json=json)


@config_app.command("check")
def config_check(file: Path, json: Json = False) -> None:
    """Verify a file and tell where its processes would run on this machine."""
    import msgspec

    from hotpath.config import load_config
    from hotpath.topology import place

    config = load_config(file)
    placement = place(config)
    lines = [f"{file}: engine {config.engine.name}, {config.engine.topology}"]
    for each in placement.places:
        cpu = "any processor" if each.cpu is None else f"processor {each.cpu}"
        lines.append(f"  {each.process:<13} {cpu}, {each.wait}")
    lines += [f"  note: {note}" for note in placement.notes]
    _report({"config": msgspec.to_builtins(config), **msgspec.to_builtins(placement)}, "\n".join(lines), json=json)


@config_app.command("show")
def config_show(
    file: Annotated[Path | None, typer.Argument(help="Default: every default.")] = None, json: Json = False
) -> None:
    """Print the configuration with every default filled in; it is itself a valid file."""
    import msgspec

    from hotpath.config import Config, config_toml, load_config

    config = load_config(file) if file else Config()
    _report(msgspec.to_builtins(config), config_toml(config).rstrip(), json=json)


@config_app.command("diff")
def config_diff(before: Path, after: Path, json: Json = False) -> None:
    """Print what differs between two files once every default is filled in; the exit code is 1 when anything does."""
    from hotpath.config import config_differences, load_config

    lines = config_differences(load_config(before), load_config(after))
    _report({"differences": lines}, "\n".join(lines) or "no difference", json=json)
    raise typer.Exit(1 if lines else 0)


@adjust_app.command("add")
def adjust_add(
    config: Annotated[Path, typer.Argument(help="The engine's TOML file.")],
    kind: Annotated[Literal["opening", "corporate", "correction"], typer.Argument(help="What it is.")],
    symbol: Annotated[str, typer.Argument(help="Of the instrument.")],
    why: Annotated[str, typer.Option(help="The reason, for the record.")],
    lots: Annotated[int, typer.Option(help="That the position gains; below 0: loses.")] = 0,
    price: Annotated[str, typer.Option(help="Paid for each of those units.")] = "",
    cost: Annotated[str, typer.Option(help="Or the money for all of them; below 0 where it was received.")] = "",
    cash: Annotated[str, typer.Option(help="Money received besides, or below 0 paid: a dividend, a fee.")] = "0",
    who: Annotated[str, typer.Option(help="Default: the user who runs this.")] = "",
    json: Json = False,
) -> None:
    """Say that a position is another one than the executions make it. The engine takes it up at once if it runs.

    hotpath adjust add engine.toml opening GOOG --lots 300 --price 585.33 --why "held over night"
    hotpath adjust add engine.toml corporate GOOG --lots 300 --why "split 2 for 1"
    """
    import msgspec

    from hotpath.config import load_config
    from hotpath.ledger.asking import ask

    engine = load_config(config)
    kept = ask(engine, kind=kind, symbol=symbol, lots=lots, price=price, cost=cost, cash=cash, who=who, why=why)
    text = f"adjustment {kept.id}: {kept.symbol} {kept.quantity_lots:+,} lots, kept for the engine"
    _report(msgspec.to_builtins(kept), text, json=json)


@adjust_app.command("carry")
def adjust_carry(
    config: Annotated[Path, typer.Argument(help="The engine's TOML file.")],
    journal: Annotated[Path | None, typer.Argument(help="Folder of a run; default: the last one.")] = None,
    who: Annotated[str, typer.Option(help="Default: the user who runs this.")] = "",
    json: Json = False,
) -> None:
    """Make the positions at the end of a run the opening positions of the next one; once for each run."""
    import msgspec

    from hotpath.config import load_config
    from hotpath.ledger.asking import user_name
    from hotpath.ledger.carry import carry
    from hotpath.supervisor import EngineName

    engine = load_config(config)
    with EngineName(engine):  # while it runs, what it holds is not yet what it held
        kept = carry(engine, journal, who=who or user_name())
    lines = [f"adjustment {each.id}: {each.symbol} {each.quantity_lots:+,} lots" for each in kept]
    _report({"adjustments": msgspec.to_builtins(kept)}, "\n".join(lines) or "it ended flat", json=json)


@adjust_app.command("list")
def adjust_list(
    config: Annotated[Path, typer.Argument(help="The engine's TOML file.")],
    json: Json = False,
) -> None:
    """Every adjustment that was ever asked for, and which run has it."""
    import msgspec

    from hotpath.config import load_config
    from hotpath.ledger.asking import describe, told

    rows = told(load_config(config))
    _report({"adjustments": msgspec.to_builtins(rows)}, describe(rows), json=json)


@intents_app.command("clear")
def intents_clear(
    config: Annotated[Path, typer.Argument(help="The engine's TOML file.")],
    reason: Annotated[str, typer.Option(help="What was done about the disk; kept with your name beside the file.")],
    json: Json = False,
) -> None:
    """Accept a sync of the intents that failed, once the disk is seen to: they are written anew, and synced.

    Until then the engine is not armed. It must not run meanwhile.
    """
    from hotpath.broken_promise import clear_broken
    from hotpath.config import load_config
    from hotpath.supervisor import EngineName

    loaded = load_config(config)
    with EngineName(loaded):
        kept = clear_broken(loaded, reason=reason)
    _report({"kept": str(kept)}, f"cleared; the reason is kept in {kept}", json=json)


@coprocess_app.command("flags")
def coprocess_flags() -> None:
    """Print the compiler flags of a C or C++ program that includes hotpath_client.h.

    cc -O2 $(hotpath coprocess flags) program.c
    """
    from hotpath.seat_view import compiler_flags

    print(" ".join(compiler_flags()))


@coprocess_app.command("example")
def coprocess_example(
    name: Annotated[Literal["quoter.c", "quoter.py", "nautilus_bridge.py"], typer.Argument(help="Which one.")],
) -> None:
    """Print an example to start from: hotpath coprocess example quoter.c > quoter.c"""
    from importlib.resources import files

    print(files("hotpath.examples.coprocess").joinpath(name).read_text(), end="")


@coprocess_app.command("list")
def coprocess_list(
    engine: Annotated[str | None, typer.Argument(help="Default: the only one that runs.")] = None, json: Json = False
) -> None:
    """Who has which seat of an engine, what it did, and why it was cut if it was."""
    import msgspec

    from hotpath.seat_view import describe_seats, look_at_seats
    from hotpath.stat import find_engine

    name = find_engine(engine)
    seats = look_at_seats(name)
    told = [{"name": seat, **msgspec.to_builtins(stat)} for seat, stat in seats.items()]
    _report({"engine": name, "seats": told}, describe_seats(name, seats), json=json)


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
        app()
    except HotpathError as error:
        print(f"hotpath: {error}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away: not our failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
