"""The examples that ship: compiled or run as their users do, against a running engine on paper."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ffi import lib
from ffi.dtypes import layout_hash
from hotpath import segments
from hotpath.config import CoprocessConfig
from hotpath.coprocess import Coprocess
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, most_quoted, until
from tests.support.synthetic import write_synthetic_day

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLES = REPOSITORY / "hotpath/examples/coprocess"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Wshadow", "-Werror"]
SECONDS = "1.5"


def flags() -> list[str]:
    """What `hotpath coprocess flags` prints."""
    command = [sys.executable, "-m", "hotpath", "coprocess", "flags"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="module")
def quoter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("quoter") / "quoter"
    compiler = [os.environ.get("CC", "gcc"), "-std=c11", "-O2", *WARNINGS, *flags()]
    subprocess.run([*compiler, str(EXAMPLES / "quoter.c"), "-o", str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def engine_name() -> str:
    return f"examples-{os.getpid()}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("engine")
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine_name, "state_dir": str(folder)}, signal={"threshold": 1.0}),
        feed=file_feed(
            write_synthetic_day(folder / "synthetic.itch", messages=240_000, live_orders=200),
            pace="rate",
            rate_per_second=6000,
        ),
        coprocesses=[CoprocessConfig(name="quoter", account=2, strategy=100)],
    )
    process = EngineProcess(config, folder, "--arm")
    try:
        until(lambda: process.count("feed", "events") > 100, "a market")
        yield process
    finally:
        process.close()
        segments.reap(engine_name)


def check_quoter(said: str) -> None:
    """It was accepted, followed the bid, and left."""
    assert re.search(r"^accepted ", said, re.MULTILINE), said
    assert re.search(r"^replaced |^fill ", said, re.MULTILINE), said
    assert re.search(r"^position -?\d+ lost 0", said, re.MULTILINE), said


def test_c_example_quotes_and_leaves(running: EngineProcess, quoter: Path) -> None:
    command = [str(quoter), running.name, "quoter", most_quoted(running.name), "10", SECONDS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.startswith("attached"), done.stdout
    check_quoter(done.stdout)
    page = segments.attach(running.name, "seat.quoter", lib.SEGMENT_SEAT).cast("seat_page *")
    until(lambda: page.state == lib.SEAT_EMPTY and page.open_orders == 0, "its order cancelled")


def test_c_example_that_was_silent_takes_its_seat_again(running: EngineProcess, quoter: Path) -> None:
    page = segments.attach(running.name, "seat.quoter", lib.SEGMENT_SEAT).cast("seat_page *")
    command = [str(quoter), running.name, "quoter", most_quoted(running.name), "10", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            until(lambda: page.state == lib.SEAT_TAKEN and page.open_orders > 0, "an order of the program's")
            program.send_signal(signal.SIGSTOP)
            until(lambda: page.state == lib.SEAT_CUT_OFF, "the cut")
            assert page.reason == lib.SEAT_CUT_HEARTBEAT
            program.send_signal(signal.SIGCONT)
            said, wrong = program.communicate(timeout=30)
        finally:
            program.kill()
    assert program.returncode == 0, wrong
    assert len(re.findall(r"^attached ", said, re.MULTILINE)) == 2, said
    check_quoter(said.split("silent too long\n")[1])
    until(lambda: page.state == lib.SEAT_EMPTY and page.open_orders == 0, "its order cancelled")


def test_python_example_quotes_and_leaves(running: EngineProcess) -> None:
    module = [sys.executable, "-m", "hotpath.examples.coprocess.quoter"]
    command = [*module, running.name, "quoter", most_quoted(running.name), "10", SECONDS]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    check_quoter(done.stdout)


def test_c_program_is_told_that_the_engine_was_killed(quoter: Path, tmp_path: Path, engine: str) -> None:
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine, "state_dir": str(tmp_path)}, signal={"threshold": 1.0}),
        feed=file_feed(write_synthetic_day(tmp_path / "synthetic.itch", messages=60_000), pace="rate"),
        coprocesses=[CoprocessConfig(name="quoter", account=2, strategy=100)],
    )
    process = EngineProcess(config, tmp_path, "--arm")
    try:
        until(lambda: process.count("feed", "events") > 100, "a market")
        command = [str(quoter), engine, "quoter", most_quoted(engine), "10", "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            try:
                page = segments.attach(engine, "seat.quoter", lib.SEGMENT_SEAT).cast("seat_page *")
                until(lambda: page.state == lib.SEAT_TAKEN, "the program's seat")
                process.process.kill()
                said = program.communicate(timeout=20)[0]
            finally:
                program.kill()
    finally:
        process.close()
    assert program.returncode == 75 and f"cut {lib.SEAT_CUT_ENGINE_ENDED}\n" in said, said


def test_c_program_is_told_why_it_may_not_have_a_seat(running: EngineProcess, quoter: Path) -> None:
    def refused(*arguments: str) -> str:
        done = subprocess.run(
            [str(quoter), *arguments, "X", "1", "0.1"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 69
        return done.stderr

    with Coprocess(running.name, "quoter"):
        assert f"is taken by process {os.getpid()}" in refused(running.name, "quoter")


def test_c_program_of_another_layout_is_refused(running: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "layout_hash.h").write_text(f"#define HOTPATH_LAYOUT_HASH 0x{layout_hash() ^ 1:016x}ull\n")
    header = tmp_path / "hotpath_client.h"
    header.write_text((REPOSITORY / "ffi/client/hotpath_client.h").read_text())
    target = tmp_path / "other"
    compiler = [os.environ.get("CC", "gcc"), "-O1", f"-I{tmp_path}", *flags()]
    subprocess.run([*compiler, str(EXAMPLES / "quoter.c"), "-o", str(target)], check=True)
    done = subprocess.run(
        [str(target), running.name, "quoter", "X", "1", "0.1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 69 and "another layout.h" in done.stderr


def test_header_is_cplusplus_too(tmp_path: Path) -> None:
    compiler = [os.environ.get("CXX", "g++"), "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run([*compiler, *flags(), str(EXAMPLES / "quoter.c")], check=True)


def test_hash_that_c_programs_bear_is_the_extensions_own() -> None:
    text = (REPOSITORY / "ffi/client/layout_hash.h").read_text()
    found = re.search(r"HOTPATH_LAYOUT_HASH (0x[0-9a-f]{16})ull", text)
    assert found and int(found[1], 16) == layout_hash()


def test_seats_are_listed(running: EngineProcess) -> None:
    command = [sys.executable, "-m", "hotpath", "coprocess", "list", running.name]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^quoter +empty +detached", said, re.MULTILINE), said
    told = json.loads(subprocess.run([*command, "--json"], cwd=REPOSITORY, capture_output=True, check=True).stdout)
    stat = running.look()
    assert stat is not None
    assert told["seats"] == [{"name": name, **msgspec.to_builtins(seat)} for name, seat in stat.seats.items()]
