"""Engines that are held from outside: one that trades on paper with its control process, and who calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hotctl.client import Client
from hotctl.profiles import Profile, listening_path
from hotpath.config import Config
from hotpath.config_control import ControlConfig
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.synthetic import write_synthetic_day


def held_config(name: str, folder: Path, **control: Any) -> Config:
    """A paper engine on a synthetic day that lasts longer than any test, with a control process."""
    day = folder / "synthetic.itch"
    if not day.exists():
        write_synthetic_day(day, messages=60_000)
    config = busy_config(engine={"name": name, "topology": "fused", "state_dir": str(folder), "wait": "park"})
    control = {"enabled": True, **control}
    feed = file_feed(day, pace="rate", rate_per_second=1_000)
    return msgspec.structs.replace(config, feed=feed, control=ControlConfig(**control))


@contextmanager
def held_engine(config: Config, folder: Path, *options: str) -> Iterator[EngineProcess]:
    """It runs, and its control process answers."""
    process = EngineProcess(config, folder, *options)
    try:
        until(lambda: process.count("gateway", "turns") or process.look(), "the engine's memory")
        if config.control.enabled:
            until(listening_path(folder, config.engine.name).exists, "the control process")
        yield process
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()


def host_client(process: EngineProcess, **options: Any) -> Client:
    """As somebody at the host calls."""
    return Client(Profile(engine=process.name, socket=str(process.folder / f"{process.name}.control.sock")), **options)
