"""A gate with a bug in it, compiled apart and called beside the extension, on the extension's own structures."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from cffi import FFI

from ffi import ffi, lib
from ffi.build import cdef_text
from tests.mutants.plant import SOURCE, Mutant

INCLUDE = SOURCE.parent / "include"
UNITS = ("gate.c", "gate_follow.c", "gate_measure.c", "limit_copy.c", "digest.c")
HEADERS = ("layout.h", "ring.h", "stage.h", "gate.h", "gate_measure.h", "limit_copy.h")


class DamagedKernel:
    """What `lib` is to a test: functions of the damaged gate, constants of the real one."""

    def __init__(self, path: Path) -> None:
        self._ffi = FFI()
        self._ffi.cdef("\n".join(cdef_text(INCLUDE / header) for header in HEADERS))
        self._lib = self._ffi.dlopen(str(path))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("gate_", "limits_")):
            return getattr(lib, name)
        function = getattr(self._lib, name)
        kinds = self._ffi.typeof(function).args

        def call(*arguments: Any) -> Any:
            return function(*(self._there(kind, each) for kind, each in zip(kinds, arguments, strict=True)))

        return call

    def _there(self, kind: Any, argument: Any) -> Any:
        if kind.kind != "pointer":
            return argument
        pointer = ffi.addressof(argument) if ffi.typeof(argument).kind == "struct" else argument
        return self._ffi.cast(kind, int(ffi.cast("uintptr_t", pointer)))


def build(folder: Path, mutant: Mutant | None) -> Path:
    """Compile the gate with this bug, or without one. Raises CalledProcessError where that is no C any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCE.glob("*.h"):
        (folder / source.name).write_text(source.read_text())
    for unit in UNITS:
        (folder / unit).write_text((SOURCE / unit).read_text())
    if mutant is not None:
        path = folder / mutant.file
        path.write_text(mutant.apply(path.read_text()))
    made = folder / "gate.so"
    command = ["gcc", "-std=gnu11", "-O0", "-w", "-shared", "-fPIC", f"-I{folder}", f"-I{INCLUDE}", "-o", str(made)]
    subprocess.run([*command, *(str(folder / unit) for unit in UNITS), "-lm"], check=True, capture_output=True)
    return made
