"""The arrows between rooms: ffi <- hotpath <- {hotctl, hotlab}; and what a running stage must not carry."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = {
    "ffi": REPOSITORY / "ffi",
    "hotpath": REPOSITORY / "hotpath",
    "hotctl": REPOSITORY / "control" / "hotctl",
    "hotlab": REPOSITORY / "research" / "hotlab",
}
MAY_IMPORT = {
    "ffi": {"ffi"},
    "hotpath": {"ffi", "hotpath"},
    "hotctl": set(ROOMS) - {"hotlab"},
    "hotlab": set(ROOMS) - {"hotctl"},
}
NOT_IN_A_STAGE = (
    "grpc", "google.protobuf", "asyncio", "sqlite3", "psycopg", "sqlalchemy", "matplotlib", "plotly", "typer", "click",
    "rich", "textual", "torch", "sklearn", "lightgbm", "xgboost", "pandas", "zmq", "psutil",
    "pyarrow", "onnx", "skl2onnx", "onnxmltools", "cryptography", "hotlab", "hotctl", "hotpath.registry",
)  # fmt: skip


def modules(room: str) -> Iterator[Path]:
    folder = ROOMS[room]
    return (path for path in sorted(folder.rglob("*.py")) if path.name != "_stamp.py")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_lies_below_it(room: str) -> None:
    for path in modules(room):
        rooms = {name.split(".")[0] for name in imported(path)} & set(ROOMS)
        assert rooms <= MAY_IMPORT[room], f"{path.relative_to(REPOSITORY)} imports {sorted(rooms - MAY_IMPORT[room])}"


def test_no_room_imports_tests_or_bench() -> None:
    for room in ROOMS:
        for path in modules(room):
            assert not {name.split(".")[0] for name in imported(path)} & {"tests", "bench"}, path


def test_proto_holds_only_protocol_files() -> None:
    assert {path.suffix for path in (REPOSITORY / "proto").rglob("*") if path.is_file()} <= {".proto", ".md", ".yaml"}


def test_nothing_is_called_common_or_utils() -> None:
    for room in ROOMS.values():
        for path in room.rglob("*"):
            assert path.stem.lower() not in {"common", "util", "utils", "helper", "helpers", "misc"}, path


def test_running_stage_carries_nothing_of_the_control_plane() -> None:
    code = f"""
import json, sys
import hotpath.stage_process
names = {NOT_IN_A_STAGE!r}
print(json.dumps([n for n in sys.modules if any(n == name or n.startswith(name + ".") for name in names)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []


def test_journal_carries_nothing_of_the_command_line() -> None:
    code = "import sys, hotpath.journal; print([n for n in ('typer', 'rich', 'grpc', 'asyncio') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
