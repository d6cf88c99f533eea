"""The verbs of ``hotpath journal``: each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="What a run wrote down: every event, checked and chained. FOLDER is that of one run.", no_args_is_help=True
)
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]
Folder = Annotated[Path, typer.Argument(help="Of one run, as `hotpath journal stat` lists them.")]
Rings = Annotated[str, typer.Option("--ring", help="Only these, with commas.")]
DAMAGED = 1


@app.command()
def verify(folder: Folder, json: Json = False) -> None:
    """Check every checksum, hash, count and the chain; the exit code is 1 when anything is damaged.

    What a crash may leave (a record that was being written) is told and is no damage; `repair` cuts it off.
    """
    from hotpath.journal import view
    from hotpath.journal.verify import verify as check

    verdict = check(folder)
    _report(view.verdict_dictionary(verdict), view.verdict_text(verdict), json=json)
    raise typer.Exit(DAMAGED if verdict.damaged else 0)


@app.command()
def cat(
    folder: Folder,
    ring: Rings = "",
    symbol: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    type_: Annotated[str, typer.Option("--type", help="Only these events, as fill or exec_fill,add.")] = "",
    begin: Annotated[int, typer.Option("--from", min=0, help="Sequence of the first.")] = 0,
    end: Annotated[int | None, typer.Option("--to", min=0, help="Sequence at which to stop, exclusive.")] = None,
    since: Annotated[str, typer.Option(help="Time of the first: 14:30, 14:30:05.25, or ns since the epoch.")] = "",
    until: Annotated[str, typer.Option(help="Time at which to stop.")] = "",
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print events in order of time; without --ring all but raw bytes and turn records.

    hotpath journal cat FOLDER --ring cmd,exec --symbol AAPL --since 14:30
    """
    from hotpath.journal.cat import parse_choice, run_cat
    from hotpath.journal.reader import Journal

    choice = parse_choice(
        Journal(folder), rings=ring, symbols=symbol, types=type_, begin=begin, end=end, since=since, until=until
    )
    run_cat(folder, choice, json=json, count=count)


@app.command()
def diff(
    left: Folder,
    right: Folder,
    ring: Rings = "",
    measured: Annotated[bool, typer.Option("--measured", help="Compare measured times too.")] = False,
    json: Json = False,
) -> None:
    """Tell where two journals part, ring by ring and field by field; the exit code is 1 when they do.

    Times that were measured differ in every run and are left out; what was decided must not differ.
    """
    import msgspec

    from hotpath.journal import view
    from hotpath.journal.compare import compare

    found = compare(left, right, rings=tuple(filter(None, ring.split(","))), measured=measured)
    _report(msgspec.to_builtins(found), view.difference_text(found), json=json)
    raise typer.Exit(0 if all(each.same for each in found) else 1)


@app.command()
def stat(
    where: Annotated[Path, typer.Argument(help="Folder of a run, of several, or an engine's TOML file.")] = Path("var"),
    json: Json = False,
) -> None:
    """List runs, or tell of one run what was recorded, when, in how many bytes, and what was lost."""
    from hotpath.journal import view

    runs = view.runs_below(where)
    if len(runs) == 1 and runs[0] == where:
        found = view.run_dictionary(where)
        _report(found, view.run_text(found), json=json)
        return
    summaries = [view.run_dictionary(run) for run in runs]
    _report(summaries, view.runs_text(where, summaries), json=json)


@app.command()
def repair(
    folder: Folder,
    cut: Annotated[bool, typer.Option("--cut", help="Also where more than the end is damaged.")] = False,
    json: Json = False,
) -> None:
    """Close the journal of a run that was cut off, each ring at its last good record.

    Nothing is thrown away: what is cut is kept beside it, in files that end in .cut.
    """
    import msgspec

    from hotpath.journal import view
    from hotpath.journal.repair import repair as mend

    repaired = mend(folder, cut_damage=cut)
    _report(msgspec.to_builtins(repaired), view.repair_text(folder, repaired), json=json)


@app.command()
def pack(folder: Folder, json: Json = False) -> None:
    """Compress what is closed of a run, a segment at a time; the records are checked before. Needs zstd.

    [journal] compress = true does so as the run goes on.
    """
    from hotpath.journal.retention import pack_run

    shrank = pack_run(folder)
    _report({"folder": str(folder), "shrank_bytes": shrank}, f"{folder}: {shrank >> 20:,} MiB less", json=json)


Certificate = Annotated[Path | None, typer.Option("--cert", help="TLS: this side's certificate (PEM).")]
Key = Annotated[Path | None, typer.Option("--key", help="TLS: its key.")]
Authority = Annotated[Path | None, typer.Option("--ca", help="TLS: whose signature the other side must show.")]


@app.command()
def ship(
    folder: Folder,
    to: Annotated[str, typer.Argument(help="HOST:PORT of hotpath journal receive.")],
    follow: Annotated[bool, typer.Option(help="Go on until the run has ended.")] = True,
    alert_seconds: Annotated[float, typer.Option(min=0.1, help="Lag at which to say so.")] = 5.0,
    cert: Certificate = None,
    key: Key = None,
    ca: Authority = None,
    json: Json = False,
) -> None:
    """Copy a run's journal to another disk as it grows; a lost connection is made again and goes on where it was.

    The lag stands in FOLDER/ship.json, and is told when it passes --alert-seconds. Without TLS only to this machine.
    """
    import dataclasses

    from hotpath.journal.ship import Peer, Shipper, parse_address

    peer = Peer(*parse_address(to), certificate=cert, key=key, authority=ca)
    peer.refuse_open()
    lag = Shipper(folder, peer, alert_seconds=alert_seconds).run(follow=follow)
    text = f"{folder}: shipped {lag.shipped_bytes:,} bytes; at worst {lag.longest_seconds:.3f} s behind"
    _report(dataclasses.asdict(lag), text, json=json)


@app.command()
def receive(
    root: Annotated[Path, typer.Argument(help="Folder of the copies, one a run.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 is any.")] = "127.0.0.1:26480",
    cert: Certificate = None,
    key: Key = None,
    ca: Authority = None,
) -> None:
    """Take copies of growing journals until Ctrl-C. A piece is acknowledged when it is on this disk."""
    from hotpath.journal.receive import Receiver
    from hotpath.journal.ship import Peer, parse_address

    receiver = Receiver(root, Peer(*parse_address(listen), certificate=cert, key=key, authority=ca))
    print(f"listening on port {receiver.port}", flush=True)
    try:
        receiver.serve()
    except KeyboardInterrupt:
        receiver.close()


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="Folder of the Parquet files, one a ring.")],
    ring: Rings = "",
    json: Json = False,
) -> None:
    """Write events as Parquet, with symbol and type by name. Needs the extra `journal` (pyarrow)."""
    from hotpath.journal.export import export as write

    rows = write(folder, out, rings=tuple(filter(None, ring.split(","))))
    _report(rows, "\n".join(f"{out / each}.parquet: {count:,} rows" for each, count in rows.items()), json=json)


def _report(summary: Any, text: str, *, json: bool) -> None:
    if json:
        import msgspec

        print(msgspec.json.encode(summary).decode())
    else:
        print(text)
