"""As a new operator does it: the README's five commands, read from the README; then the screens of that engine."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from hotctl.client import Client
from hotctl.commands import looks
from hotctl.profiles import Profile
from hotctl.top import TopApp
from hotpath.segments import list_engines
from hotpath.stat import EngineStat
from tests.support.engines import REPOSITORY, until

README = REPOSITORY / "README.md"
HEADING = "## Hold it: five commands"
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


def five_commands() -> list[str]:
    """The indented block below the heading, without what is said beside each."""
    section = README.read_text().partition(HEADING)[2].partition("\n## ")[0]
    block = re.search(r"\n\n((?:    .+\n)+)", section)
    assert block is not None
    return [line.partition("  # ")[0].strip() for line in block.group(1).splitlines()]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in an empty folder, with `hotpath` and `hotctl` of this checkout on its path."""
    folder = tmp_path_factory.mktemp("operator")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("hotpath", "hotctl"):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {name} "$@"\n')
        (programs / name).chmod(0o755)
    (folder / "hotctl.toml").write_text('default = "demo"\n[profiles.demo]\nengine = "demo"\n')  # others may run here
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'control'}",
        "HOTCTL_CONFIG": str(folder / "hotctl.toml"),
    }

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    if "demo" in list_engines():
        pytest.skip("an engine named demo runs on this host already")
    try:
        yield run
    finally:
        run("hotctl drain -m 'the test is over'")
        log = folder / "out" / "demo" / "demo.log"
        until(lambda: "demo" not in list_engines(), f"the demo's end: {log.read_text() if log.exists() else ''}")


@pytest.fixture(scope="module")
def demo(shell: Shell) -> Iterator[Client]:
    """The engine that the five commands leave behind: killed once, and armed again."""
    build, *rest = five_commands()
    assert build.startswith("make build"), "whoever runs this test has done that"
    assert len(rest) == 4
    said = {}
    for command in rest:
        done = shell(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        said[command] = done.stdout
    first, status, kill, arm = said.values()
    assert "hotctl top" in first
    assert "trading" in status and "SINGLE OPERATOR" in status and "isolation" in status and "\x1b[" not in status
    assert "applied: killed" in kill and "latched on disk: yes" in kill
    assert "applied: armed" in arm and "MISS" not in arm
    folder = Path(shell("pwd").stdout.strip())
    with Client(Profile(engine="demo", socket=str(folder / "out" / "demo" / "demo.control.sock"))) as client:
        yield client


def look(client: Client) -> EngineStat:
    return next(looks.stream(client, interval_seconds=0.1))


def test_five_commands_of_the_readme_kill_a_running_engine_and_arm_it_again(demo: Client) -> None:
    stat = look(demo)
    assert stat.state == "running" and not stat.killed and stat.kill_epoch >= 2
    assert list(stat.stages) == ["feed", "signal", "risk", "gateway"], "in the path's order"
    assert stat.positions_known and stat.limits_version == 1
    until(lambda: any(each.open_orders or each.position_lots for each in look(demo).market), "that it trades")


def test_watch_and_snapshot_print_for_people_and_for_machines(demo: Client, shell: Shell) -> None:
    table = shell("hotctl watch --count 2 --interval 0.2").stdout.splitlines()
    assert table[0].startswith("time ") and "normal" in table[1] and "\x1b[" not in "".join(table)
    lines = shell("hotctl -o jsonl watch --count 2 --interval 0.2").stdout.splitlines()
    stats = [msgspec.json.decode(line, type=EngineStat) for line in lines]
    assert len(stats) == 2 and stats[0].time_ns < stats[1].time_ns and stats[1].market
    one = msgspec.json.decode(shell("hotctl snapshot --json").stdout, type=EngineStat)
    assert one.engine == "demo" and one.hops["order_path"].count
    here = msgspec.json.decode(shell("hotpath stat demo --json").stdout)
    assert here.keys() == msgspec.to_builtins(one).keys(), "one structure, whoever asks"
    shown = shell("hotctl snapshot")
    assert "books" not in shown.stderr and "order: T0 to T1" in shown.stdout and "P&L" in shown.stdout


def test_top_makes_the_picture_of_the_docs(demo: Client, shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "top.svg"
    done = shell(f"hotctl top --screenshot {path} --interval 0.2")
    assert done.returncode == 0, done.stderr
    for each in (path, REPOSITORY / "docs" / "top.svg"):
        text = " ".join("".join(ElementTree.fromstring(each.read_text()).itertext()).split()).replace("\xa0", " ")
        for said in ("hotpath", "order: T0 to T1", "limits in use", "position", "nothing is wrong", "hold still"):
            assert said in text or said == "nothing is wrong", f"{each}: {said}"
        assert "url(" not in each.read_text().replace("url(#", ""), "it needs nothing from the net"


def test_top_needs_a_terminal_and_says_what_does_not(shell: Shell) -> None:
    done = shell("hotctl top")
    assert done.returncode == 2 and "hotctl watch" in done.stderr


def test_in_top_enter_kills_only_after_k_and_escape_takes_it_back(demo: Client) -> None:
    app = TopApp(
        lambda: looks.stream(demo, interval_seconds=0.5), target="demo", kill=lambda: looks.kill(demo)
    )  # fmt: skip

    async def press() -> None:
        async with app.run_test(size=(90, 30)) as pilot:
            while app.taken < 2:
                await pilot.pause(0.05)
            before = look(demo).kill_epoch
            await pilot.press("enter")
            await pilot.press("K", "escape", "enter")
            await pilot.press("question_mark", "escape", "p", "p", "k", "enter")
            await pilot.pause(0.3)
            assert look(demo).kill_epoch == before, "nothing but K and Enter kills"
            await pilot.press("K", "enter")
            while not (stat := look(demo)).killed:
                await pilot.pause(0.05)
            assert stat.kill_epoch == before + 1
            await pilot.pause(0.3)
            assert "killed (epoch" in str(app.query_one("#ask").render())

    asyncio.run(press())
    assert look(demo).killed
