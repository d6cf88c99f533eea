"""hotpath/broken_promise.py: a sync of the intents that failed stays so until a person says why it may go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.broken_promise import clear_broken, is_broken, refuse_broken
from hotpath.cli import main
from hotpath.config import Config, EngineConfig, config_toml
from hotpath.errors import IntentsError, StageError
from hotpath.intents import IntentFile, create_intents, open_intents, read_intents
from hotpath.stages import intents_path

CAPACITY = 8


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(engine=EngineConfig(name="broken", state_dir=str(tmp_path)))
    create_intents(intents_path(made), capacity=CAPACITY, trading_day=20261120)
    return made


def opened(config: Config) -> IntentFile:
    return open_intents(intents_path(config), capacity=CAPACITY)


def break_promise(config: Config) -> bytes:
    """As the gateway does when the disk refuses; returns the whole file."""
    with opened(config) as file:
        file._page_view()["promise"] = lib.INTENT_PROMISE_BROKEN
        record = np.frombuffer(file.mapping, dtype_of("intent_record"), CAPACITY, lib.INTENT_RECORDS_OFFSET)
        record["stamp"][0], record["order_id"][0] = 1, 77
    return intents_path(config).read_bytes()


def test_engine_is_not_armed_until_a_person_says_what_was_done(config: Config) -> None:
    refuse_broken(config)
    break_promise(config)
    with pytest.raises(StageError, match="a sync of the intents failed") as refused:
        refuse_broken(config)
    assert "hotpath intents clear" in refused.value.next_step
    kept = clear_broken(config, reason="the disk was replaced")
    refuse_broken(config)
    assert json.loads(kept.read_text())["cleared"] == "the disk was replaced"


def test_records_stay_and_what_is_wanted_is_promised_again(config: Config) -> None:
    before = break_promise(config)
    clear_broken(config, reason="seen")
    after = intents_path(config).read_bytes()
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1  # the promise
    with opened(config) as file:
        assert file.last_order_id == 77
        file.promise("power")
        assert int(file.page()["promise"]) == lib.INTENT_PROMISE_POWER


def test_nothing_is_cleared_without_a_reason_or_a_failure(config: Config) -> None:
    with pytest.raises(IntentsError, match="nothing to clear"):
        clear_broken(config, reason="to be sure")
    break_promise(config)
    with pytest.raises(IntentsError, match="without a reason"):
        clear_broken(config, reason="  ")
    assert is_broken(intents_path(config))


def test_gateway_that_has_the_file_keeps_it(config: Config) -> None:
    break_promise(config)
    with opened(config), pytest.raises(IntentsError, match="held by another process"):
        clear_broken(config, reason="in a hurry")
    assert is_broken(intents_path(config))


def test_disk_that_refuses_again_changes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    break_promise(config)

    def refuse(path: Path, _content: bytes) -> None:
        if path.suffix == ".draft":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("hotpath.broken_promise.write_durably", refuse)
    with pytest.raises(IntentsError, match="cannot be written anew: Input/output error"):
        clear_broken(config, reason="it looked well")
    assert is_broken(intents_path(config))


def test_verb_clears_with_the_name_of_the_engine(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_promise(config)
    path = tmp_path / "engine.toml"
    path.write_text(config_toml(config))
    monkeypatch.setattr("sys.argv", ["hotpath", "intents", "clear", str(path), "--reason", "seen to"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in (0, None) and "the reason is kept in" in capsys.readouterr().out
    with read_intents(intents_path(config)) as file:
        assert int(file.page()["promise"]) == lib.INTENT_PROMISE_PROCESS
