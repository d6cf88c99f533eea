"""envelope sign, verify, check: what a deployment may ever touch, signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotctl.commands.options import say, show_one
from hotctl.errors import CallError, UsageError

app = typer.Typer(
    help="The deployment envelope: instruments, venues, values, positions and build that may ever trade, signed.",
    no_args_is_help=True,
)
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The engine's TOML file.")]
EnvelopeFile = Annotated[Path, typer.Argument(metavar="FILE", help="The envelope.")]


@app.command()
def sign(
    config: ConfigFile,
    file: EnvelopeFile,
    key: Annotated[Path, typer.Option(help="Ed25519, as hotpath evidence --new-key makes it.")],
    days: Annotated[int, typer.Option(min=1, help="That it is good for.")] = 30,
    instrument: Annotated[
        list[str] | None, typer.Option(metavar="SYMBOL=LOTS", help="Only these; again for more. Default: all traded.")
    ] = None,
) -> None:
    """Sign what this configuration may do with this build, from its own limits."""
    import msgspec

    from hotpath.config import load_config
    from hotpath.control.envelope import envelope_for, sign
    from hotpath.runs import load_instruments, traded_table

    loaded = load_config(config)
    table = traded_table(loaded, load_instruments(loaded))
    traded = [bytes(each["symbol"]).rstrip(b"\0").decode() for each in table if int(each["flags"]) & _traded()]
    envelope = envelope_for(loaded, traded, days=days)
    if instrument:
        chosen: dict[str, int] = {}
        for each in instrument:
            symbol, equals, lots = each.partition("=")
            if not equals or not lots.isdecimal() or symbol not in traded:
                raise UsageError(f"--instrument {each}: SYMBOL=LOTS, of an instrument that is traded")
            chosen[symbol] = int(lots)
        envelope = msgspec.structs.replace(envelope, instruments=chosen)
    sign(envelope, key=key, target=file)
    say(f'{file}: signed. In the configuration: [control] envelope = "{file}", envelope_key = "{key}.pub"')
    say("the engine takes it up when it starts; hotctl envelope check CONFIG looks before")


def _traded() -> int:
    from ffi import lib

    return int(lib.INSTRUMENT_TRADED)


@app.command()
def verify(file: EnvelopeFile, public_key: Annotated[Path, typer.Option(help="Of whom you trust.")]) -> None:
    """Check the signature, and show what it allows."""
    import msgspec

    from hotpath.control.envelope import read_signed

    envelope = read_signed(file, public_key=public_key)
    record = msgspec.to_builtins(envelope)
    lines = [f"{name}: {value}" for name, value in record.items() if name != "instruments"]
    lines += [f"  {symbol}: {lots:,} lots" for symbol, lots in sorted(envelope.instruments.items())]
    show_one(record, lambda: "\n".join(lines))


@app.command()
def check(config: ConfigFile) -> None:
    """Whether an engine of this configuration and this build could be armed under its envelope."""
    from hotpath.config import load_config
    from hotpath.control.envelope import envelope_missing, under_envelope

    loaded = under_envelope(load_config(config))
    if not loaded.control.envelope:
        raise UsageError("the configuration names no envelope: [control] envelope")
    missing = envelope_missing(loaded)
    show_one({"holds": not missing, "missing": missing}, lambda: "\n".join(missing) or "it holds")
    if missing:
        raise CallError("the engine would not be armed")
