"""The tutorial of docs/research.md, command by command, as a reader types it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hotlab.cli import app
from hotpath.registry.store import Registry

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"^    ((?:hotlab|hotpath) .+)$", re.MULTILINE)
ROOMY = "[registry]\nlatency_ns_max = 1000000000\nlatency_cold_ns_max = 10000000000\n"


def run(command: str, folder: Path) -> str:
    """One line of the tutorial: `hotpath` as a process, `hotlab` in this one, which has its libraries by then.

    The registrar has time to spare where neighbours are loud.
    """
    words = shlex.split(command)
    if words[0] == "hotlab":
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{command}\n{done.output[-1500:]}\n{done.exception!r}"
        return done.output
    if words[1] == "registrar":
        (folder / "roomy.toml").write_text(ROOMY)
        words.insert(2, "roomy.toml")
    process = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout[-1500:]}\n{process.stderr[-1500:]}"
    return process.stdout


@pytest.mark.timeout(240)
def test_the_tutorial_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = COMMAND.findall((ROOT / "docs" / "research.md").read_text())
    said = {command: run(command, tmp_path) for command in commands}
    listed = json.loads(said["hotlab list --registry registry --json"])["models"]["lean"]["versions"]
    assert len(listed) == 2
    registry = Registry(tmp_path / "registry")
    first, second = (registry.manifest("lean", version) for version in listed)
    assert registry.admission("lean", listed[0]).executor == "native"
    assert second.features.columns == ["imbalance_top", "lean", "before"]
    assert second.training.sources[0].name == "recording" and not second.training.sources[0].gaps
    assert first.policy.threshold == 0.2 and first.training.dataset != "0" * 64
    assert (registry.version_folder("lean", listed[1]) / "report.html").exists()
    for verb in (f"show lean {listed[0][:8]}", f"lineage lean {listed[1][:8]}", f"diff lean {listed[0]} {listed[1]}"):
        assert run(f"hotlab {verb} --registry registry", tmp_path)
    run(f"hotlab export lean {listed[0][:8]} --registry registry --to out/lean", tmp_path)
    run("hotlab validate out/lean --config roomy.toml", tmp_path)
