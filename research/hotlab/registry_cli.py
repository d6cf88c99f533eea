"""The verbs of `hotlab` that look at a registry, and the one that puts something into its inbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from hotpath.registry.manifest import Manifest
    from hotpath.registry.store import Registry

RegistryDir = Annotated[
    Path, typer.Option("--registry", metavar="DIR", envvar="HOTPATH_REGISTRY", help="The registry.")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that hotlab train made and hotlab evaluate tested.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Its name.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Its first digits, or champion, challenger, shadow.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]
SHORT = 12
REFUSED, CHANGED = 65, 1


def register(app: typer.Typer) -> None:
    """Add them, in this order."""
    for verb in (publish, validate, list_models, show, diff, lineage, verify, export):
        app.command("list" if verb is list_models else verb.__name__)(verb)


def _open(folder: Path) -> Registry:
    from hotpath.registry.store import Registry

    return Registry(folder)


def publish(
    run: Run,
    name: Annotated[str, typer.Option("--name", help="Of the model: small letters, digits, - and _.")],
    registry: RegistryDir,
    key: Annotated[
        str, typer.Option("--key", metavar="FILE", help="Sign with this key (hotpath evidence --new-key).")
    ] = "",
    threshold: Annotated[float, typer.Option("--threshold", help="Of |score|: below it nothing is done.")] = 0.5,
    target: Annotated[
        str, typer.Option("--target", help="step: full by the sign; proportional: score times full.")
    ] = "step",
    position_lots: Annotated[int, typer.Option("--position-lots", help="A full position.")] = 100,
    order_lots: Annotated[int, typer.Option("--order-lots", help="At most, of one order.")] = 100,
    price: Annotated[str, typer.Option("--price", help="join, take or mid.")] = "join",
    urgency: Annotated[
        str, typer.Option("--urgency", help="rest, follow or cross, when the market leaves it behind.")
    ] = "rest",
    hold_ns: Annotated[int, typer.Option("--hold-ns", help="Between two orders of an instrument.")] = 0,
    instruments: Annotated[list[str] | None, typer.Option("--symbol", help="Only these; again for more.")] = None,
    executor: Annotated[str, typer.Option("--executor", help="auto, native or onnxruntime.")] = "auto",
    fallback: Annotated[
        str, typer.Option("--fallback", help="previous, flat or a version, when it fails live.")
    ] = "previous",
    notes: Annotated[str, typer.Option("--notes", help="For people.")] = "",
    json: Json = False,
) -> None:
    """Put a trained and tested model into the registry's inbox, with a manifest that says what it means for trading.

    The registrar then takes it through its gates; hotlab list shows it once it is admitted.
    """
    from hotlab.publishing import PublishSpec
    from hotlab.publishing import publish as put

    spec = PublishSpec(
        name=name,
        policy=_policy(threshold, target, position_lots, order_lots, price, urgency, hold_ns),
        executor=executor,
        instruments=instruments or [],
        fallback=fallback,
        notes=notes,
        key=key,
    )
    version = put(run, _open(registry), spec)
    _report(
        {"model": name, "version": version},
        f"{name} {version} lies in the inbox of {registry}\n"
        f"next: hotpath registrar --folder {registry} --once, unless one runs; hotlab show {name} {version[:SHORT]}",
        json=json,
    )


def _policy(threshold: float, target: str, position: int, order: int, price: str, urgency: str, hold_ns: int) -> Any:
    from hotlab.errors import PublishError
    from hotpath.registry.manifest import Policy

    given = {
        "threshold": threshold, "target": target, "position_lots": position, "order_lots": order, "price": price,
        "urgency": urgency, "hold_ns": hold_ns,
    }  # fmt: skip
    try:
        return msgspec.convert(given, Policy)
    except msgspec.ValidationError as error:
        raise PublishError(f"the policy would not be one: {error}") from None


def validate(
    run: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="A folder with a manifest, as publish makes it.")],
    config: Annotated[Path | None, typer.Option("--config", help="An engine's TOML file: its [registry].")] = None,
    json: Json = False,
) -> None:
    """Take a candidate through every gate of admission here, in the same child, and admit it nowhere.

    The exit code is 65 when a gate refuses.
    """
    import tempfile

    from hotpath.config import Config, load_config
    from hotpath.registry.admission import admit
    from hotpath.registry.errors import RefusedError
    from hotpath.registry.log import Identity
    from hotpath.registry.store import Registry, this_user

    loaded = load_config(config) if config else Config()
    with tempfile.TemporaryDirectory() as scratch:
        registry = Registry.create(Path(scratch) / "registry")
        try:
            name, version = admit(registry, run, loaded.registry, Identity(this_user()), native=[loaded.signal.native])
        except RefusedError as refused:
            _report(
                {"admitted": False, "gate": refused.gate, "found": refused.found, "next_step": refused.next_step},
                f"{run}: {refused}\n  {refused.next_step}",
                json=json,
            )
            raise typer.Exit(REFUSED) from None
        admission = registry.admission(name, version)
        found = {"admitted": True, "model": name, "version": version, **msgspec.to_builtins(admission)}
        registry.version_folder(name, version).chmod(0o755)
    _report(found, f"{run}: would be admitted as {name} {version}\n" + _admission_text(found), json=json)


def list_models(registry: RegistryDir, json: Json = False) -> None:
    """Every model, its versions in the order of admission, and where its aliases point."""
    from hotpath.registry.store import ALIASES

    opened = _open(registry)
    found, lines = {}, []
    for name in opened.names():
        pointing = {alias: at.version for alias in ALIASES if (at := opened.alias(name, alias))}
        versions = opened.versions(name)
        found[name] = {"versions": versions, "aliases": pointing}
        lines.append(name)
        for version in versions:
            aliases = ", ".join(alias for alias, at in pointing.items() if at == version)
            manifest = opened.manifest(name, version)
            lines.append(
                f"  {version[:SHORT]}  {manifest.training.estimator:<9} {len(manifest.features.columns):>3} inputs  "
                f"{opened.admission(name, version).executor:<11} {aliases}"
            )
    lines += [f"{len(waiting)} wait in the inbox" for waiting in [_waiting(opened)] if waiting]
    _report({"models": found}, "\n".join(lines) or f"{registry}: no model yet", json=json)


def _waiting(registry: Registry) -> list[str]:
    return [each.name for each in registry.inbox.iterdir() if not each.name.startswith(".")]


def show(model: Model, version: Version, registry: RegistryDir, json: Json = False) -> None:
    """One version: its manifest, and what was found when it was admitted."""
    opened = _open(registry)
    whole = opened.resolve(model, version)
    manifest = msgspec.to_builtins(opened.manifest(model, whole))
    admission = msgspec.to_builtins(opened.admission(model, whole))
    lines = [f"{model} {whole}", *(f"  {key:<32} {value}" for key, value in _flat(manifest)), "admission:"]
    _report(
        {"version": whole, "manifest": manifest, "admission": admission},
        "\n".join(lines) + "\n" + _admission_text(admission),
        json=json,
    )


def _admission_text(admission: dict[str, Any]) -> str:
    lines = [f"  {key:<32} {value}" for key, value in _flat(admission)]
    return "\n".join(lines)


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def diff(model: Model, version: Version, other: Version, registry: RegistryDir, json: Json = False) -> None:
    """What differs between the manifests of two versions."""
    opened = _open(registry)
    before = dict(_flat(msgspec.to_builtins(opened.manifest(model, version))))
    after = dict(_flat(msgspec.to_builtins(opened.manifest(model, other))))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    found = {key: [before.get(key), after.get(key)] for key in keys}
    lines = [f"{key}\n  - {one}\n  + {two}" for key, (one, two) in found.items()]
    _report({"differs": found}, "\n".join(lines) or "they say the same", json=json)


def lineage(model: Model, version: Version, registry: RegistryDir, json: Json = False) -> None:
    """Where a version comes from, and what became of it: data, code, libraries, admission, every move of an alias."""
    opened = _open(registry)
    whole = opened.resolve(model, version)
    manifest = opened.manifest(model, whole)
    events = [each for each in opened.entries() if each.model == model and whole in (each.version, each.before)]
    lines = [f"{model} {whole}", *_origin(manifest)]
    for each in events:
        what = each.what if not each.alias else f"{each.alias} {'set' if each.version == whole else 'moved away'}"
        lines.append(f"  {each.time}  {what:<22} {each.who.user} {each.who.role}  {each.reason}".rstrip())
    found = {"version": whole, "training": manifest.training, "log": events}
    _report(msgspec.to_builtins(found), "\n".join(lines), json=json)


def _origin(manifest: Manifest) -> Iterator[str]:
    training = manifest.training
    for source in training.sources:
        gaps = f", {source.gaps} gaps" if source.gaps else ""
        yield f"  data     {source.name}  {source.events:,} events{gaps}  sha256 {source.sha256[:SHORT]}"
    yield f"  dataset  {training.dataset[:SHORT]}  {training.rows:,} rows, label {training.label['name']}"
    yield f"  code     {training.code_commit or 'not in a repository'}"
    yield f"  kernels  {manifest.features.kernel_hash[:SHORT]}"
    yield f"  by       {training.estimator}, seed {training.seed}; " + ", ".join(
        f"{name} {version}" for name, version in training.libraries.items()
    )


def verify(registry: RegistryDir, json: Json = False) -> None:
    """Check every file, version, alias and the chain of the log; the exit code is 1 when something was changed."""
    opened = _open(registry)
    wrong = opened.verify()
    count = sum(len(opened.versions(name)) for name in opened.names())
    _report(
        {"versions": count, "log_lines": len(opened.entries()), "wrong": wrong},
        "\n".join(wrong) or f"{registry}: {count} versions and {len(opened.entries())} lines of the log are as written",
        json=json,
    )
    raise typer.Exit(CHANGED if wrong else 0)


def export(
    model: Model,
    version: Version,
    registry: RegistryDir,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder, which must be new.")],
    json: Json = False,
) -> None:
    """Copy a version's files out, each checked: another registry's inbox takes the folder as it is."""
    from hotlab.publishing import export as copy

    files = copy(_open(registry), model, version, to)
    _report({"to": str(to), "files": files}, f"{to}: {', '.join(files)}", json=json)


def _report(summary: dict[str, Any], text: str, *, json: bool) -> None:
    print(msgspec.json.encode(summary).decode() if json else text)
