"""systemd/: what the service manager's own tools say of the units, and that units and processes have the same names.

What could break it: a setting that systemd does not know and silently drops, a process without a unit, a sandbox
that was opened for a moment and stayed open.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hotpath.topology import PROCESSES

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = REPOSITORY / "systemd"
EXPOSURE_MAX = 2.0
PROGRAM = "/opt/hotpath/bin/python"
SIDES = {"journal", "projector", "control", "reconcile", "snapshots", "registrar", "tap", "ingress", "strategy"}
BESIDE = {"keeper", "drain", "alert"}
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))


def instance(unit: str, name: str = "demo") -> str:
    return unit.replace("@.", f"@{name}.")


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the units as they are installed, and the programs that they name."""
    root = tmp_path_factory.mktemp("host")
    folder = root / "etc/systemd/system"
    shutil.copytree(UNITS, folder, ignore=shutil.ignore_patterns("*.md"))
    for path in folder.rglob("hotpath*.*"):
        if path.is_file():
            path.write_text(
                path.read_text().replace(PROGRAM, sys.executable).replace("/etc/hotpath/alert ", "/bin/true ")
            )
    return root


def test_every_process_has_a_unit_of_its_name() -> None:
    on_path = {process for processes in PROCESSES.values() for process in processes}
    assert {f"hotpath-{name}@.service" for name in on_path | SIDES | BESIDE} == set(SERVICES)
    for name in on_path | SIDES:
        text = (UNITS / f"hotpath-{name}@.service").read_text()
        assert f"hotpath.units.join {name} /run/hotpath/%i\n" in text
        assert f"/run/hotpath/%i/{name}.ended" in text


def test_nothing_is_drained_before_a_process_that_is_not_named() -> None:
    text = (UNITS / "hotpath-drain@.service").read_text()
    for unit in SERVICES:
        if unit not in {"hotpath-alert@.service", "hotpath-drain@.service"}:
            assert f"After={unit.replace('@', '@%i')}" in text, unit


def test_only_who_speaks_to_the_venue_has_its_key() -> None:
    holders = {unit for unit in SERVICES if "LoadCredential=" in (UNITS / unit).read_text()}
    assert holders == {f"hotpath-{name}@.service" for name in ("gateway", "risk-gateway", "engine", "reconcile")}


def test_no_unit_empties_shared_memory_when_it_stops() -> None:
    """RemoveIPC=yes removes every file of the user below /dev/shm: segments of a run, and an intent file."""
    assert "RemoveIPC=no\n" in (UNITS / "hotpath-@.service.d/10-sandbox.conf").read_text()
    assert not [path for path in UNITS.rglob("*.*") if path.is_file() and "\nRemoveIPC=yes" in path.read_text()]


def test_systemd_knows_every_setting(analyze: str, host: Path) -> None:
    folder = host / "etc/systemd/system"
    units = [str(folder / instance(unit)) for unit in [*SERVICES, "hotpath@.target"]] + [str(folder / "hotpath.slice")]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if "hotpath" in line]
    assert not said and done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure_is_small(unit: str, analyze: str, host: Path) -> None:
    bound = str(round(EXPOSURE_MAX * 10))
    command = [analyze, "security", "--offline=true", f"--root={host}", f"--threshold={bound}", "--no-pager"]
    done = subprocess.run(
        [*command, "--json=short", instance(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    open_points = [each["name"] for each in json.loads(done.stdout) if each["set"] is False and each["exposure"]]
    assert done.returncode == 0, f"{done.stderr} {open_points}"
