"""The verbs of ``hotpath model``: each imports what it needs when it is called."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hotpath.models.desk import ModelChange, ModelDesk, ModelsStatus

app = typer.Typer(
    help="Models of a running engine, changed between two events. CONFIG is its file; docs/models.md.",
    no_args_is_help=True,
)
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The engine's TOML file.")]
ModelNamed = Annotated[
    str, typer.Argument(metavar="MODEL", help="A version's folder, or NAME@VERSION (or an alias) of the registry.")
]
Why = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]


def _desk(config: Path) -> ModelDesk:
    from hotpath.config import load_config
    from hotpath.models.desk import ModelDesk

    engine = load_config(config).engine
    return ModelDesk(engine.name, state_dir=engine.state_dir)


def _image(desk: ModelDesk, config: Path, named: str) -> bytes:
    from hotpath.config import load_config
    from hotpath.models.image import read_version
    from hotpath.registry.process import registry_folder
    from hotpath.registry.store import Registry

    loaded, folder = load_config(config), Path(named)
    if not folder.is_dir():
        name, _, version = named.partition("@")
        folder = Registry(registry_folder(loaded)).version_folder(name, version or "champion")
    return read_version(folder, loaded, desk.symbols)


def _tell(change: ModelChange) -> None:
    parts = [("champion", change.champion), ("challenger", change.challenger), ("fallback", change.fallback)]
    print(f"generation {change.generation}: " + "; ".join(f"{part} {name}" for part, name in parts if name))
    if not change.is_taken:
        print("the signal stage has not taken it yet: hotpath model status CONFIG tells when it has")


@app.command()
def load(
    config: ConfigFile,
    model: ModelNamed,
    fallback: Annotated[
        str,
        typer.Option(help="previous, flat, or a MODEL: what takes its place when it fails; default: its manifest's."),
    ] = "",
    reason: Why = "",
) -> None:
    """Make a model the champion, between two events."""
    desk = _desk(config)
    image = _image(desk, config, model)
    wanted = fallback or _declared_fallback(config, model)
    resting = None if wanted in ("previous", "flat") else _image(desk, config, wanted)
    keep = wanted == "previous"
    _tell(desk.load(image, who=getpass.getuser(), why=reason, fallback=resting, keep_previous=keep))


def _declared_fallback(config: Path, named: str) -> str:
    from hotpath.config import load_config
    from hotpath.registry.manifest import MANIFEST_FILE, decode_manifest
    from hotpath.registry.process import registry_folder
    from hotpath.registry.store import Registry

    folder = Path(named)
    name, _, version = named.partition("@")
    if not folder.is_dir():
        folder = Registry(registry_folder(load_config(config))).version_folder(name, version or "champion")
    manifest = decode_manifest((folder / MANIFEST_FILE).read_bytes(), where=str(folder))
    if manifest.fallback in ("previous", "flat"):
        return manifest.fallback
    return f"{manifest.name}@{manifest.fallback}"


@app.command()
def shadow(config: ConfigFile, model: ModelNamed, reason: Why = "") -> None:
    """Let a model look on: its decisions are recorded and compared, never traded."""
    desk = _desk(config)
    _tell(desk.shadow(_image(desk, config, model), who=getpass.getuser(), why=reason))


@app.command()
def canary(
    config: ConfigFile,
    fraction: Annotated[float, typer.Argument(help="In (0, 1].")],
    by: Annotated[str, typer.Option(help="instruments or size.")] = "instruments",
    model: Annotated[str, typer.Option(help="As which model; default: the challenger that is there.")] = "",
    reason: Why = "",
) -> None:
    """Let the challenger trade a fraction of the instruments, or of the size."""
    desk = _desk(config)
    image = _image(desk, config, model) if model else None
    _tell(desk.canary(fraction, by=by, who=getpass.getuser(), why=reason, image=image))


@app.command()
def promote(config: ConfigFile, reason: Why = "") -> None:
    """The challenger becomes the champion; its predecessor rests as the fallback."""
    _tell(_desk(config).promote(who=getpass.getuser(), why=reason))


@app.command()
def rollback(config: ConfigFile, reason: Why = "") -> None:
    """The champion of before comes back."""
    _tell(_desk(config).rollback(who=getpass.getuser(), why=reason))


@app.command()
def drop(config: ConfigFile, reason: Why = "") -> None:
    """The challenger goes."""
    _tell(_desk(config).drop(who=getpass.getuser(), why=reason))


@app.command()
def status(config: ConfigFile, json: Json = False) -> None:
    """Who plays which part, and how each fares."""
    import msgspec

    found = _desk(config).status()
    print(msgspec.json.encode(found).decode() if json else status_text(found))


def status_text(status: ModelsStatus) -> str:
    """A few lines."""
    head = (
        f"{status.engine}: generation {status.generation} ({status.reason}{f' by {status.who}' if status.who else ''})"
    )
    lines = [head if status.taken == status.generation else f"{head}, not taken yet: signal has {status.taken}"]
    for role in status.roles:
        part = role.role
        if part == "challenger":
            part += f" ({status.part}{f' {status.part_ppm / 1e6:.3g}' if status.part_ppm else ''})"
        fares = f"{role.runs:,} runs, {role.latency_mean_ns:,} ns each, at most {role.latency_max_ns:,}"
        if role.compared:
            fares += f"; agreed in {role.agreed / role.compared:.1%} of {role.compared:,}"
        if role.nan or role.over_budget:
            fares += f"; {role.nan:,} without a number, {role.over_budget:,} over budget"
        lines.append(f"  {part}: {role.model}{f' FAILED: {role.failed}' if role.failed else ''}")
        lines.append(f"    {fares}")
    return "\n".join(lines)
