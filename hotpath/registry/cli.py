"""The verb ``hotpath registrar``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def registrar(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The engine's TOML file; else the defaults.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="The registry; default: as configured.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Take what waits in the inbox now, then end.")] = False,
) -> None:
    """Admit models from a registry's inbox and move aliases as asked, until Ctrl-C. Makes the registry if need be.

    An engine with [registry] enabled = true does this by itself. docs/registry.md says what each gate looks at.
    """
    from hotpath.config import Config, load_config
    from hotpath.errors import ConfigError
    from hotpath.registry.process import registry_folder, run_alone
    from hotpath.registry.store import Registry

    if config is None and folder is None:
        raise ConfigError("no registry is named", next_step="hotpath registrar CONFIG, or --folder DIR")
    loaded = load_config(config) if config else Config()
    registry = Registry.create(folder or registry_folder(loaded))
    answered = run_alone(registry, loaded.registry, once=once, native=[loaded.signal.native])
    if once:
        print(f"{registry.folder}: {answered} answered")
