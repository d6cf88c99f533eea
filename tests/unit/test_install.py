"""hotpath install, into a folder in place of a host's root.

What could break it: a second run that changes something, a file of the owner's that is overwritten or removed, a unit
that an engine needs and does not get, a unit that systemd would not load.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hotpath.config import load_config
from hotpath.errors import ConfigError, HeldError
from hotpath.install.apply import differences, install, read_manifest, uninstall
from hotpath.install.plan import make_plan, processes_of
from hotpath.spawn import module_command, module_environment

CONFIG = """
[engine]
name = "demo"
topology = "split"
[tap]
enabled = true
[journal]
enabled = true
"""
SYSTEM = Path("etc/systemd/system")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "somewhere" / "engine.toml"
    path.parent.mkdir()
    path.write_text(CONFIG)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def everything(root: Path) -> dict[str, tuple[int, bytes | str]]:
    """Every file and link below a root, with its inode number: a file that was made again has another one."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_ino,
            os.readlink(path) if path.is_symlink() else path.read_bytes(),
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def put(root: Path, *engines: Path) -> list[str]:
    return [change.path for change in install(root, make_plan(root, engines)) if change.open]


def test_a_second_installation_changes_nothing(root: Path, engine: Path) -> None:
    assert put(root, engine)
    before = everything(root)
    assert put(root, engine) == [] and put(root) == []
    assert everything(root) == before


def test_an_engine_gets_the_units_of_its_processes_and_no_others(root: Path, engine: Path) -> None:
    put(root, engine)
    wants = root / SYSTEM / "hotpath-keeper@demo.service.wants"
    names = {path.name for path in wants.iterdir()}
    expected = {"feed", "signal", "risk", "gateway", "journal", "snapshots", "tap", "drain"}
    assert names == {f"hotpath-{name}@demo.service" for name in expected}
    assert all(path.resolve(strict=True).name == path.name.replace("@demo", "@") for path in wants.iterdir())
    config = load_config(root / "etc/hotpath/demo.toml")
    assert config.engine.state_dir == "/var/lib/hotpath/demo"
    assert set(processes_of(config)) == expected - {"drain"}


def test_a_topology_that_changes_takes_its_old_units_away(root: Path, engine: Path) -> None:
    put(root, engine)
    file = root / "etc/hotpath/demo.toml"
    file.write_text(file.read_text().replace('topology = "split"', 'topology = "fused"'))
    put(root)
    names = {path.name for path in (root / SYSTEM / "hotpath-keeper@demo.service.wants").iterdir()}
    assert "hotpath-engine@demo.service" in names and "hotpath-risk@demo.service" not in names


def test_a_strategy_gets_a_unit_of_its_own_name(root: Path, engine: Path) -> None:
    seat = '[[strategies]]\nname = "maker"\naccount = 2\nstrategy = 7\nclass = "maker.py:Maker"\n'
    (engine.parent / "maker.py").write_text("class Maker: pass\n")
    engine.write_text(CONFIG + seat)
    put(root, engine)
    text = (root / SYSTEM / "hotpath-maker@.service").read_text()
    assert "hotpath.units.join maker /run/hotpath/%i\n" in text and "/run/hotpath/%i/maker.ended" in text
    assert "strategy," not in text
    assert (
        "After=hotpath-maker@%i.service"
        in (root / SYSTEM / "hotpath-drain@demo.service.d/20-strategies.conf").read_text()
    )


def test_processors_of_the_host_become_drop_ins(root: Path, engine: Path) -> None:
    put(root, engine)
    (root / "etc/hotpath/host.toml").write_text("[cpus]\npath = [2, 3]\nbeside = [0, 1]\n")
    put(root)

    def affinity(name: str) -> str:
        return (root / SYSTEM / f"hotpath-{name}@.service.d/20-host.conf").read_text().splitlines()[-1]

    assert [affinity(name) for name in ("risk", "journal", "keeper")] == [
        "CPUAffinity=2-3", "CPUAffinity=0-1", "CPUAffinity=0-3"
    ]  # fmt: skip
    (root / "etc/hotpath/host.toml").write_text("[cpu]\npath = [2]\n")
    with pytest.raises(ConfigError, match="cpu"):
        make_plan(root, [])


def test_what_people_changed_is_kept_and_named(root: Path, engine: Path) -> None:
    put(root, engine)
    unit = root / SYSTEM / "hotpath-risk@.service"
    unit.write_text("mine\n")
    (root / "etc/hotpath/demo.venue").write_text("secret\n")
    changes = install(root, make_plan(root, [engine]))
    assert [(change.action, change.path) for change in changes] == [("keep", str(SYSTEM / "hotpath-risk@.service"))]
    uninstall(root)
    assert unit.read_text() == "mine\n"
    left = {path for path in everything(root) if not path.startswith("etc/hotpath/")}
    assert left == {str(SYSTEM / "hotpath-risk@.service")}
    assert (root / "etc/hotpath/demo.venue").read_text() == "secret\n"


def test_an_older_versions_files_are_brought_up_to_date(root: Path, engine: Path) -> None:
    plan = make_plan(root, [engine])
    older = make_plan(root, [engine])
    unit = SYSTEM / "hotpath-risk@.service"
    older.files[unit] = "[Unit]\nDescription=as it was\n"
    older.files[SYSTEM / "hotpath-gone@.service"] = "[Unit]\n"
    install(root, older)
    actions = {change.path: change.action for change in install(root, plan)}
    assert actions == {str(unit): "change", str(SYSTEM / "hotpath-gone@.service"): "remove"}
    assert (root / unit).read_text() == plan.files[unit]
    assert not differences(root, plan)


def test_keys_are_for_root_alone_whatever_the_umask(root: Path, engine: Path) -> None:
    before = os.umask(0)
    try:
        put(root, engine)
    finally:
        os.umask(before)
    assert (root / "etc/hotpath/demo.venue").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/hotpath/demo.toml").stat().st_mode & 0o777 == 0o640
    assert (root / SYSTEM / "hotpath-risk@.service").stat().st_mode & 0o777 == 0o644


def test_a_running_engine_is_not_uninstalled(root: Path, engine: Path) -> None:
    put(root, engine)
    room = root / "run/hotpath/demo"
    room.mkdir(parents=True)
    (room / "keeper.pid").write_text(f"{os.getpid()}\n")
    with pytest.raises(HeldError, match="demo"):
        uninstall(root)
    assert read_manifest(root).files


def test_a_file_that_does_not_fit_its_unit_is_refused(root: Path, engine: Path) -> None:
    put(root, engine)
    file = root / "etc/hotpath/demo.toml"
    file.rename(file.with_name("other.toml"))
    with pytest.raises(ConfigError, match=r"other\.toml: engine\.name: demo: its unit gives it other"):
        make_plan(root, [])


def hotpath(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        module_command("hotpath", *arguments), env=module_environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_check_says_what_is_missing_by_its_exit_code(root: Path, engine: Path) -> None:
    options = ("--prefix", str(root), "--engine", str(engine))
    assert hotpath("install", *options, "--dry-run").returncode == 0
    assert hotpath("install", *options, "--check").returncode == 1
    assert not root.exists()
    assert hotpath("install", *options).returncode == 0
    done = hotpath("install", *options, "--check")
    assert done.returncode == 0 and "nothing to do" in done.stdout, done.stdout


def test_config_diff_names_what_differs(tmp_path: Path, engine: Path) -> None:
    other = engine.with_name("other.toml")
    other.write_text(CONFIG.replace("split", "fused"))
    assert hotpath("config", "diff", str(engine), str(engine)).returncode == 0
    done = hotpath("config", "diff", str(engine), str(other))
    assert done.returncode == 1 and done.stdout == '~ engine.topology: "split" -> "fused"\n'
