"""The registrar beside an engine: what lands in the inbox while it trades is admitted, and the path does not notice."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hotpath.generated import write_generated_day
from hotpath.registry.log import Identity
from hotpath.registry.process import AliasRequest, ask
from hotpath.registry.store import Registry
from tests.support.busy import busy_config, file_feed
from tests.support.candidates import ROOMY, make_candidate
from tests.support.engines import EngineProcess, until


def test_models_are_admitted_and_refused_while_the_engine_trades(tmp_path: Path, engine: str) -> None:
    day = write_generated_day(tmp_path / "day.itch", messages=200_000)
    registry = Registry.create(tmp_path / "registry")
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine, "topology": "paired", "state_dir": str(tmp_path)}),
        feed=file_feed(day, pace="rate", rate_per_second=5000),
        registry=msgspec.structs.replace(ROOMY, enabled=True, folder=str(registry.folder), interval_ms=50),
    )
    process = EngineProcess(config, tmp_path, "--arm")
    try:
        until(lambda: process.count("gateway", "frames_out") >= 5, "5 orders")
        make_candidate(registry.inbox / "good")
        make_candidate(registry.inbox / "bad", model=b"\x00" * 100)
        until(lambda: len(registry.entries()) == 2, "both are judged")
        assert {each.what for each in registry.entries()} == {"admitted", "refused"}
        version = registry.versions("small")[0]
        ask(registry, AliasRequest("small", "champion", version, Identity("ann", "desk head"), "the first"))
        until(lambda: registry.alias("small", "champion") is not None, "the alias is moved")
        before = process.count("gateway", "frames_out")
        until(lambda: process.count("gateway", "frames_out") > before, "it goes on trading")
        process.signal()
        assert process.wait() == 0
    finally:
        process.close()
    assert registry.resolve("small", "champion") == version and registry.verify() == []
