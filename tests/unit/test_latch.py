"""hotpath/latch.py: an engine that was killed stays so, whatever became of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotpath.config import Config, EngineConfig
from hotpath.errors import StageError
from hotpath.latch import clear_latch, latch_path, refuse_latched, set_latch


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(engine=EngineConfig(name="latched", state_dir=str(tmp_path)))


def test_latch_is_refused_until_it_is_cleared(config: Config) -> None:
    refuse_latched(config)
    set_latch(latch_path(config), reason="the feed died", epoch=3)
    with pytest.raises(StageError, match=r"latched in killed state since .*: the feed died"):
        refuse_latched(config)
    clear_latch(config, reason="seen")
    refuse_latched(config)


@pytest.mark.parametrize("torn", [b"", b'{"at": "2026-', b"\xff\xfe", b"[1]", b"{}"])
def test_torn_latch_latches_and_can_be_cleared(torn: bytes, config: Config, tmp_path: Path) -> None:
    latch_path(config).write_bytes(torn)
    with pytest.raises(StageError, match="unknown"):
        refuse_latched(config)
    clear_latch(config, reason="the disk was full")
    refuse_latched(config)
    (cleared,) = tmp_path.iterdir()
    assert json.loads(cleared.read_text())["cleared"] == "the disk was full"


def test_latch_that_cannot_be_written_leaves_the_one_before(config: Config, tmp_path: Path) -> None:
    path = latch_path(config)
    set_latch(path, reason="the first", epoch=1)
    (tmp_path / f"{path.name}.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        set_latch(path, reason="the second", epoch=2)
    with pytest.raises(StageError, match="the first"):
        refuse_latched(config)
