"""The book's bench runs, verifies its own result, and gives the same one on the portable path."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["bench/kernels/book_bench.c", *(f"ffi/src/{name}.c" for name in ("book", "book_batch", "flow", "itch"))]
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Wshadow", "-Werror"]
SANITIZE = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]


def build(folder: Path, *extra: str) -> Path:
    """The bench, compiled as its header says."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    program = folder / "book_bench"
    command = [compiler, *FLAGS, *extra, "-Iffi/include", "-Iffi/src", *SOURCES, "-o", str(program)]
    subprocess.run(command, check=True, cwd=ROOT)
    return program


def run(program: Path, *arguments: str) -> dict[str, Any]:
    """The one line that it prints."""
    done = subprocess.run([program, *arguments], check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("extra", [(), ("-DHOTPATH_PORTABLE", *SANITIZE)], ids=["native", "portable"])
def test_bench_verifies_its_book_on_either_path(tmp_path: Path, extra: tuple[str, ...], shared_data: Path) -> None:
    program = build(tmp_path, *extra)
    day = ["--messages", "150000", "--instruments", "300", "--live", "20000", "--seed", "7"]
    results = [run(program, "synthetic", *day, "--batch", batch) for batch in ("1", "64")]
    for result in results:
        assert result["verified"] and result["refused"] == 0 and result["messages"] == 150_000
        assert result["checksum"] == "05d0ecafdb1fd7b9"  # of this seed, on every machine
    file = shared_data / "itch_goog_20120621_derived" / "GOOG_20120621_L10.itch50"
    result = run(program, "itch", str(file), "--repeat", "2")
    assert result["verified"] and result["refused"] == 0 and result["messages"] == 2 * 239_568
    assert result["checksum"] == "078126b73a9dd2c1"


def test_bench_refuses_what_it_does_not_understand(tmp_path: Path) -> None:
    program = build(tmp_path)
    cut = tmp_path / "cut.bin"
    cut.write_bytes(b"\x00\x24A")
    for arguments in (["synthetic", "--mesages", "5"], ["synthetic", "--batch", "0"], ["itch", str(cut)], ["other"]):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.startswith("book_bench: ") and not done.stdout
