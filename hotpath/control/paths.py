"""Where an engine keeps the files that outlive its runs."""

from __future__ import annotations

from pathlib import Path

from hotpath.config import Config


def latch_path(config: Config) -> Path:
    """The engine's latch; while the file lies there, no run of this engine is armed."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.killed"


def drop_path(config: Config) -> Path:
    """A file of this name kills the engine as soon as it is seen, and keeps it killed while it lies there."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.kill"


def intents_path(config: Config) -> Path:
    """The engine's intent file."""
    return Path(config.gateway.intents_dir or config.engine.state_dir) / f"{config.engine.name}.intents"
