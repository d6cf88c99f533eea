"""Strategies in C for [signal] native: ``bench.scale.rules:rules_16`` is sixteen in one compiled score."""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache
from typing import Any

from bench.harness import COMPILER, INCLUDES, OUT, ROOT, BenchError
from ffi.build import code_generation

SOURCE = ROOT / "bench" / "scale" / "programs" / "rules.c"


class Rule:
    """A compiled function by its address, as the signal stage calls it."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.library = library  # keeps it loaded
        self.address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value


@cache
def library() -> ctypes.CDLL:
    """The rules, compiled when their source is newer."""
    target = OUT / "bin" / "rules.so"
    watched = (SOURCE, ROOT / "ffi" / "include" / "native.h", ROOT / "ffi" / "include" / "feature.h")
    if not target.exists() or target.stat().st_mtime <= max(path.stat().st_mtime for path in watched):
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [COMPILER, *code_generation(), "-shared", "-fPIC", *INCLUDES, "-o", str(target), str(SOURCE)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BenchError(f"{SOURCE.name} does not compile:\n{result.stderr}")
    return ctypes.CDLL(str(target))


def __getattr__(name: str) -> Any:
    if not name.startswith("rules_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Rule(library(), name)
