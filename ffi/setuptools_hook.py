"""Lets setuptools build ``ffi._native``: pyproject names this class as its ``build_ext`` command.

An editable install compiles beside the sources and a wheel compiles into itself; both carry the stamp
that ``ffi.freshness`` checks. It is loaded by path, before the package ``ffi`` can be imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from setuptools.command.build_ext import build_ext

ROOM = Path(__file__).resolve().parent


def load_build_script() -> ModuleType:
    """ffi/build.py as a module, without importing the package it builds."""
    spec = importlib.util.spec_from_file_location("hotpath_ffi_build", ROOM / "build.py")
    assert spec is not None and spec.loader is not None, "ffi/build.py lies beside this file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BuildNative(build_ext):
    """Builds the extension that ffi/build.py describes and writes the stamp of its sources."""

    def finalize_options(self) -> None:
        self.script = load_build_script()
        extension = self.script.make_ffi().distutils_extension(tmpdir="build/cffi")
        extension.depends = [str(path.relative_to(ROOM.parent)) for path in sorted(ROOM.glob("*/*.[ch]"))]
        self.distribution.ext_modules = [extension]
        super().finalize_options()

    def run(self) -> None:
        self.script.write_client()
        super().run()
        room = ROOM if self.inplace else Path(self.build_lib) / "ffi"
        room.mkdir(parents=True, exist_ok=True)
        self.script.write_stamp(room)
        self.script.write_client(room)
