"""What a user gets wrong, from the command line: each is one clear error that names the thing and the next step.

The rules are the same for all: no traceback, the exit code of its kind, the file or key by name, and below the
message an indented line that says what to do.
"""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ffi.dtypes import layout_hash
from hotpath.segments import SHM_FOLDER
from tests.fabricated_engine import FabricatedEngine
from tests.support.synthetic import write_synthetic_day

REPOSITORY = Path(__file__).parents[2]
DATA, UNAVAILABLE, SOFTWARE, NO_SPACE, CONFIG = 65, 69, 70, 71, 78


def hotpath(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """A verb, as its user calls it in this folder."""
    return run([sys.executable, "-m", "hotpath", *map(str, arguments)], folder=folder)


def run(command: list[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command with hotpath on its path."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str, step: str) -> None:
    """The error has its form: what, then what to do."""
    told = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    assert told and told[0].startswith("hotpath: "), done.stderr
    for text in said:
        assert text in told[0], told[0]
    assert len(told) == 2 and told[1].startswith("  ") and step in told[1], done.stderr


# ---- configuration -------------------------------------------------------------------------------------

BAD_CONFIGURATIONS = {
    "unknown key": ('[engine]\nnam = "x"\n', "bad.toml:2: engine.nam: unknown key (did you mean name?)"),
    "unknown table": ("[motor]\nx = 1\n", "motor: unknown key"),
    "wrong type": ("[engine]\nname = 5\n", "bad.toml:2: engine.name: expected `str`, got `int`"),
    "wrong type in a list": ('[engine]\ncpus = [1, "b"]\n', "engine.cpus"),
    "value not offered": ('[engine]\nwait = "sleep"\n', "engine.wait: bad value 'sleep' (one of: spin, yield, park)"),
    "out of range": ("[feed]\nport = 70000\n", "bad.toml:2: feed.port: expected `int` <= 65535, got 70000"),
    "not TOML": ("[engine\n", "bad.toml: not TOML: "),
    "not text": ("\xff\xfe", "bad.toml: not TOML: "),
}


@pytest.mark.parametrize("name", BAD_CONFIGURATIONS)
def test_bad_configuration_names_file_line_key_and_reason(name: str, tmp_path: Path) -> None:
    text, said = BAD_CONFIGURATIONS[name]
    (tmp_path / "bad.toml").write_text(text, encoding="latin-1")
    verb = "doctor" if name == "unknown key" else "run"
    refused(hotpath(verb, "bad.toml", folder=tmp_path), CONFIG, said, step="hotpath config show")


def test_missing_configuration_says_how_to_start_one(tmp_path: Path) -> None:
    refused(hotpath("run", "absent.toml", folder=tmp_path), CONFIG, "there is no such file", step="hotpath config show")


# ---- captures and recordings ---------------------------------------------------------------------------


def absent(folder: Path) -> Path:
    return folder / "absent.itch"


def empty(folder: Path) -> Path:
    (folder / "empty.itch").touch()
    return folder / "empty.itch"


def folder_in_place_of_a_file(folder: Path) -> Path:
    return folder


def noise(folder: Path) -> Path:
    (folder / "noise").write_bytes(b"\xec\x0c\x09\x59" * 1000)
    return folder / "noise"


def truncated(folder: Path) -> Path:
    path = write_synthetic_day(folder / "cut.itch", messages=500)
    path.write_bytes(path.read_bytes()[:-5])
    return path


BAD_CAPTURES: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "missing": (absent, "absent.itch: No such file or directory", "name a capture"),
    "empty": (empty, "at byte 0 of 0: the file is empty", "name a capture"),
    "noise": (noise, "at byte 0 of 4000: neither a length-prefixed ITCH message nor a pcap header", "name a capture"),
    "truncated": (truncated, "the last message is cut short", "tells what is whole"),
}


@pytest.mark.parametrize("name", BAD_CAPTURES)
def test_bad_capture_names_the_byte_and_the_reason(name: str, tmp_path: Path) -> None:
    make, said, step = BAD_CAPTURES[name]
    refused(hotpath("replay", make(tmp_path), folder=tmp_path), DATA, said, step=step)


def test_capture_of_an_engine_is_found_wanting_before_it_starts(tmp_path: Path, engine: str) -> None:
    (tmp_path / "e.toml").write_text(f'[engine]\nname = "{engine}"\n[feed]\nkind = "file"\npath = "absent.itch"\n')
    refused(hotpath("run", "e.toml", folder=tmp_path), DATA, "absent.itch: No such file", step="name a capture")


def test_inspect_says_how_much_of_a_truncated_capture_is_whole(tmp_path: Path) -> None:
    done = hotpath("inspect", truncated(tmp_path), folder=tmp_path)
    assert done.returncode == DATA and "Traceback" not in done.stderr
    assert "of a message cut short" in done.stdout, done.stdout


@pytest.mark.parametrize(("text", "said"), [(None, "holds no journal"), ("{", "truncated"), ("[]", "array")])
def test_folder_that_is_no_recording(text: str | None, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    if text is not None:
        (folder / "run.json").write_text(text)
    refused(hotpath("replay", folder, folder=tmp_path), DATA, "recording", said, step="hotpath journal")


# ---- reference data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file or directory"),
        ("x", "JSON is malformed"),
        ("{}", "missing required field"),
        ('{"calendars": {}, "instruments": 5}', "$.instruments"),
    ],
)
def test_bad_reference_data_says_how_to_make_some(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    done = hotpath("refdata", "check", "r.json", folder=tmp_path)
    refused(done, DATA, "r.json: ", step="hotpath refdata import")
    assert said.lower() in done.stderr.lower()


def test_reference_data_edited_by_hand_is_refused_until_it_is_sealed(tmp_path: Path) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=500)
    assert hotpath("refdata", "import", day, "r.json", folder=tmp_path).returncode == 0
    path = tmp_path / "r.json"
    path.write_text(path.read_text().replace('"round_lot":100', '"round_lot":10', 1))
    done = hotpath("refdata", "check", "r.json", folder=tmp_path)
    refused(done, DATA, "changed since it was sealed", step="hotpath refdata seal")


# ---- shared memory -------------------------------------------------------------------------------------


@pytest.fixture
def foreign(engine: str) -> Iterator[Path]:
    """The name of an engine's segment in /dev/shm, for a test to put something else there."""
    path = SHM_FOLDER / f"hotpath.{engine}.control"
    yield path
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def engine_of(path: Path) -> str:
    return path.name.split(".")[1]


def test_segment_of_noise_is_refused_and_the_next_run_removes_it(foreign: Path, tmp_path: Path) -> None:
    foreign.write_bytes(b"\x17" * 5000)
    done = hotpath("stat", engine_of(foreign), folder=tmp_path)
    refused(done, DATA, f"/{foreign.name}: half made or foreign", step=f"rm /dev/shm/hotpath.{engine_of(foreign)}.*")
    day = write_synthetic_day(tmp_path / "day.itch", messages=500)
    (tmp_path / "e.toml").write_text(
        f'[engine]\nname = "{engine_of(foreign)}"\ntopology = "fused"\nwait = "yield"\n'
        f'[feed]\nkind = "file"\npath = "{day}"\npace = "flat"\n'
    )
    assert hotpath("run", "e.toml", "--seconds", "0.1", folder=tmp_path).returncode == 0
    assert not foreign.exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_segment_is_neither_read_nor_removed(kind: str, foreign: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keep me")
    if kind == "link":
        foreign.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(foreign)
    else:
        foreign.mkdir()
    (tmp_path / "e.toml").write_text(f'[engine]\nname = "{engine_of(foreign)}"\n[feed]\nkind = "file"\npath = "d"\n')
    write_synthetic_day(tmp_path / "d", messages=500)
    for done in (
        hotpath("stat", engine_of(foreign), folder=tmp_path),
        hotpath("run", "e.toml", "--seconds", "0.1", folder=tmp_path),
    ):
        refused(done, NO_SPACE, foreign.name, step=f"ls -l {foreign}")
    assert foreign.exists() and secret.read_text() == "keep me"


def test_segment_of_another_layout_names_both(engine: str, tmp_path: Path) -> None:
    """The second word of a sealed header, changed: what another build would have left."""
    with FabricatedEngine(engine):
        with (SHM_FOLDER / f"hotpath.{engine}.control").open("r+b") as file:
            file.seek(8)
            file.write(struct.pack("<Q", 0x1234))
        done = hotpath("stat", engine, folder=tmp_path)
    hashes = f"layout hash is {0x1234:016x}, wanted {layout_hash():016x}"
    refused(done, DATA, hashes, step="one build of hotpath on both sides")


def test_engine_that_is_not_there(tmp_path: Path) -> None:
    done = hotpath("stat", "no-such-engine", folder=tmp_path)
    assert done.returncode == UNAVAILABLE and "no engine of that name" in done.stderr


def with_small_shm(command: list[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with 6 MB in place of /dev/shm, which it alone sees; it prints what is left there afterwards."""
    share = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = "mount -t tmpfs -o size=6m none /dev/shm"
    if run([*share, "bash", "-c", mount], folder=folder).returncode:
        pytest.skip("a file system cannot be mounted here, not even in a namespace of its own")
    inside = f"{mount} && {{ {shlex.join(command)}; code=$?; ls -A /dev/shm; exit $code; }}"
    return run([*share, "bash", "-c", inside], folder=folder)


@pytest.mark.parametrize("verb", ["run", "replay", "demo"])
def test_full_shared_memory_stops_the_start_and_leaves_nothing(verb: str, tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=500)
    (tmp_path / "e.toml").write_text(f'[engine]\nname = "{engine}"\n[feed]\nkind = "file"\npath = "{day}"\n')
    arguments = {"run": ["run", "e.toml"], "replay": ["replay", str(day)], "demo": ["demo", "--no-screen"]}[verb]
    done = with_small_shm([sys.executable, "-m", "hotpath", *arguments], folder=tmp_path)
    refused(done, NO_SPACE, "bytes of /dev/shm, which has", step="hotpath doctor CONFIG says how much the engine needs")
    assert done.stdout.strip() == "", f"left in /dev/shm: {done.stdout}"


# ---- the outside ---------------------------------------------------------------------------------------


def test_unknown_host_of_the_venue_names_the_key(tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=500)
    assert hotpath("refdata", "import", day, "r.json", folder=tmp_path).returncode == 0
    (tmp_path / "e.toml").write_text(
        f'[engine]\nname = "{engine}"\n[refdata]\npath = "r.json"\n'
        '[gateway]\nkind = "ouch50"\nusername = "A"\nhost = "venue.invalid"\n'
    )
    done = hotpath("run", "e.toml", folder=tmp_path)
    assert done.returncode == SOFTWARE and "Traceback" not in done.stderr
    assert "gateway.host: venue.invalid: " in done.stderr and "name an address" in done.stderr


def test_password_that_is_not_set_names_the_variable_and_never_the_secret(tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=500)
    assert hotpath("refdata", "import", day, "r.json", folder=tmp_path).returncode == 0
    (tmp_path / "e.toml").write_text(
        f'[engine]\nname = "{engine}"\n[refdata]\npath = "r.json"\n'
        '[gateway]\nkind = "ouch50"\nusername = "A"\npassword_env = "HOTPATH_TEST_ABSENT"\n'
    )
    done = hotpath("run", "e.toml", folder=tmp_path)
    assert done.returncode == SOFTWARE and "Traceback" not in done.stderr
    assert "HOTPATH_TEST_ABSENT is not set" in done.stderr and "export HOTPATH_TEST_ABSENT" in done.stderr
