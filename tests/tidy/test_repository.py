"""The rules of the repository, as a machine checks them."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import typer

REPOSITORY = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    "hotpath", "ffi", "proto", "control", "research", "systemd", "tests", "bench", "docs",
    "pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "LICENSE",
}  # fmt: skip
LINES_MAX = 700
LAYOUT_LINES_MAX = 1100  # every shared structure stands in this one file, by the rule of one truth
FILE_BYTES_MAX = 200_000
TEXT = {".py", ".c", ".h", ".md", ".toml", ".json", ".sh", ".proto", ".service", ".yml", ""}
# Modules that are run by name, not imported.
ENTRY_POINTS = {"hotpath.__main__", "hotpath.cli", "ffi.build", "ffi.setuptools_hook"}


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository, the ignored ones excepted."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    return tuple(path for name in filter(None, listed.split("\0")) if (path := REPOSITORY / name).is_file())


def texts() -> list[Path]:
    """Those that people write; what stands in tests/data was written by a release, and stays as it is."""
    kept = REPOSITORY / "tests" / "data"
    return [path for path in files() if path.suffix in TEXT and not path.is_relative_to(kept)]


def shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_top_level_is_fixed() -> None:
    found = {path.relative_to(REPOSITORY).parts[0] for path in files()}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize("name", ["hotpath", "ffi", "tests", "bench", "research/hotlab"])
def test_files_are_short_enough_to_read(name: str) -> None:
    for path in texts():
        if path == REPOSITORY / "ffi/include/layout.h":  # every shared layout stands in one file
            continue
        if path.is_relative_to(REPOSITORY / name) and path.suffix in {".py", ".c", ".h"}:
            most = LAYOUT_LINES_MAX if shown(path) == "ffi/include/layout.h" else LINES_MAX
            assert len(path.read_text().splitlines()) <= most, f"{shown(path)}: split it"


def test_no_file_is_large_or_recorded_market_data() -> None:
    for path in files():
        assert path.stat().st_size <= FILE_BYTES_MAX, shown(path)
        assert path.suffix not in {".itch", ".itch50", ".pcap", ".bin", ".so", ".o"}, f"{shown(path)}: not to be kept"


def test_nothing_generated_is_kept() -> None:
    kept = {shown(path) for path in files()}
    assert not kept & {"ffi/_native.c", "ffi/_stamp.py"}
    assert not [name for name in kept if "__pycache__" in name or name.endswith((".pyc", ".egg-info"))]


def test_no_path_of_a_machine_is_named() -> None:
    machine = re.compile(r"(?<![\w.$}/-])/(?:home|root|Users|work|workspace|mnt)/\w")
    for path in texts():
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not machine.search(line), f"{shown(path)}:{number}: {line.strip()}"


def test_text_is_tidy() -> None:
    for path in texts():
        content = path.read_bytes()
        assert b"\r" not in content, shown(path)
        assert not content or content.endswith(b"\n"), f"{shown(path)}: no newline at its end"
        for number, line in enumerate(content.split(b"\n"), start=1):
            assert line == line.rstrip(b" \t") or path.suffix == ".md", f"{shown(path)}:{number}: trailing space"


def test_nothing_is_left_to_do() -> None:
    mark = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b")
    for path in texts():
        assert not mark.search(path.read_text()), shown(path)


def test_every_module_is_used() -> None:
    """A module that nothing imports and no command runs is dead."""
    used: set[str] = set(ENTRY_POINTS)
    for path in files():
        if path.suffix != ".py":
            continue
        source = path.read_text()
        used |= set(re.findall(r"\b((?:hotpath|ffi|hotlab|hotctl)(?:\.\w+)+)\b", source))  # run by name: -m hotpath.x
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                used |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    rooms = {"hotpath": "", "ffi": "", "control/hotctl": "control/", "research/hotlab": "research/"}
    for room, prefix in rooms.items():
        for path in files():
            if path.suffix == ".py" and path.is_relative_to(REPOSITORY / room) and path.stem != "__init__":
                module = shown(path).removeprefix(prefix).removesuffix(".py").replace("/", ".")
                assert module in used or path.stem == "__main__", f"{shown(path)}: nothing uses it"


def test_every_kernel_has_its_header_and_every_header_its_kernel() -> None:
    room = REPOSITORY / "ffi"
    headers = {path.stem for path in (room / "include").glob("*.h")}
    included = " ".join(path.read_text() for path in (room / "src").glob("*.[ch]"))
    for source in (room / "src").glob("*.c"):
        own = source.stem in headers
        assert own or any(f'#include "{header}.h"' in source.read_text() for header in headers), shown(source)
    for private in (room / "src").glob("*.h"):
        assert f'#include "{private.name}"' in included, f"{shown(private)}: nothing includes it"
    for header in headers:
        assert (room / "src" / f"{header}.c").exists(), f"ffi/include/{header}.h has no src/{header}.c"


def test_every_kernel_header_says_what_it_is() -> None:
    for header in (REPOSITORY / "ffi" / "include").glob("*.h"):
        assert header.read_text().startswith(f"/* {header.name}: "), shown(header)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def verbs(program: str = "hotpath") -> set[str]:
    """Every verb of a command line, and of its groups."""
    app = importlib.import_module(f"{program}.cli").app
    found: set[str] = set()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found.add(name)
        found |= {f"{name} {verb}" for verb in getattr(command, "commands", {})}
    return found


# In backquotes, indented, or on a line of its own in a fenced block.
SNIPPET = re.compile(r"`([^`\n]+)`|^(?: {4}|\t)(.+)$|^((?:make|hotpath|hotctl|hotlab) .+)$", re.MULTILINE)
START = r"(?:^|&& |; |\$ )"
PROGRAM = r"((?:hotpath|hotctl|hotlab) [a-z][\w-]*)"


def test_every_command_stands_in_the_readme_and_the_changelog() -> None:
    readme, changelog = ((REPOSITORY / name).read_text() for name in ("README.md", "CHANGELOG.md"))
    for verb in {each.split()[0] for each in verbs()}:
        assert f"hotpath {verb}" in readme, f"README.md: hotpath {verb}"
        assert f"`{verb}`" in changelog, f"CHANGELOG.md: {verb}"


def test_every_command_in_a_readme_exists() -> None:
    targets = make_targets()
    known = {f"{program} {verb}" for program in ("hotpath", "hotctl", "hotlab") for verb in verbs(program)}
    groups = {verb.rpartition(" ")[0] for verb in known if verb.count(" ") == 2}
    for path in (path for path in files() if path.suffix == ".md" and path.name != "CHANGELOG.md"):
        for match in SNIPPET.finditer(path.read_text()):
            snippet = next(filter(None, match.groups()))
            for target in re.findall(START + r"make ([a-z][\w-]*)", snippet):
                assert target in targets, f"{shown(path)}: make {target}"
            for first, second in re.findall(
                START + r"((?:hotpath|hotctl|hotlab) [a-z][\w-]*)(?: ([a-z][\w-]*))?", snippet
            ):
                verb = f"{first} {second}" if first in groups and second else first
                assert verb in known, f"{shown(path)}: {verb}"


def test_every_room_has_a_readme() -> None:
    present = {path.relative_to(REPOSITORY).parts[0] for path in files()}
    for room in ("ffi", "hotpath", "research", "bench", "tests", "control", "systemd", "proto", "docs"):
        if room in present:
            assert (REPOSITORY / room / "README.md").exists(), f"{room} has no README.md"


def test_core_dependencies_are_the_agreed_ones() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[ <>=!~\[]", requirement)[0] for requirement in project["dependencies"]}
    agreed = "cffi grpcio msgspec numpy onnxruntime posix-ipc protobuf psutil pyzmq rich typer"
    assert names == set(agreed.split())
    extras = "research torch sql telemetry strategies dev report evidence journal nautilus peers control"
    assert set(project["optional-dependencies"]) == set(extras.split())


def test_version_is_written_once_in_two_places_that_agree() -> None:
    import hotpath

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == hotpath.__version__


def test_continuous_integration_calls_the_makefile_and_names_no_index() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    for verb in ("make setup", "make lint", "make test"):
        assert verb in script
    for path in (".ci/run", "Makefile", "pyproject.toml"):
        assert not re.search(r"index-url|pypi\.org|https?://(?!keepachangelog|semver)", (REPOSITORY / path).read_text())
