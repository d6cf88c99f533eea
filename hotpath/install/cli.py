"""`hotpath install` and `hotpath uninstall`, as commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hotpath.install.apply import Change

Prefix = Annotated[Path, typer.Option(help="Root of the file system to install into.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]


def install(
    prefix: Prefix = Path("/"),
    engine: Annotated[
        list[Path] | None, typer.Option(help="Configuration to run as an engine of this host; again for more.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Do nothing; exit code 1 if anything would be done.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make what systemd needs to run engines here: user, units, sandbox, kernel settings, limits. Again: no change.

    An engine's file becomes /etc/hotpath/NAME.toml, with every key and its state in /var/lib/hotpath/NAME; from then
    on that file is the owner's. What people changed in other files is kept and named.
    """
    from hotpath.install.apply import differences
    from hotpath.install.apply import install as make
    from hotpath.install.plan import make_plan

    root = prefix.absolute()
    plan = make_plan(root, engine or [])
    changes = differences(root, plan) if check or dry_run else make(root, plan)
    _show(changes, json=json, nothing=f"{root}: installed, nothing to do")
    raise typer.Exit(1 if check and any(change.open for change in changes) else 0)


def uninstall(prefix: Prefix = Path("/"), dry_run: DryRun = False, json: Json = False) -> None:
    """Take back what `hotpath install` made. Configurations, keys, state and the user stay; no engine may run."""
    from hotpath.install.apply import uninstall as take_back

    root = prefix.absolute()
    _show(take_back(root, dry_run=dry_run), json=json, nothing=f"{root}: nothing is installed")


def _show(changes: list[Change], *, json: bool, nothing: str) -> None:
    import msgspec

    if json:
        print(msgspec.json.encode({"changes": changes}).decode())
        return
    for each in changes:
        print(f"{each.action:<7} {each.path}{f'  ({each.why})' if each.why else ''}")
    if not changes:
        print(nothing)
