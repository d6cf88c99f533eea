"""Builds the one compiled extension, ``ffi._native``, from ``include/`` and ``src/``.

The headers are both the C compiler's and cffi's ``cdef``: preprocessor lines other than integer
``#define``s are dropped, the rest is parsed as it stands. ``HOTPATH_SANITIZE=address,undefined`` (or
``thread``) makes a sanitizer build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from cffi import FFI
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a script: the package needs what this builds

from freshness import ROOM, source_stamp
from layout_text import layout_text, text_hash

INTEGER_DEFINE = re.compile(r"#define\s+\w+\s+(0[xX][0-9a-fA-F]+|\d+)\b")

LOCAL_INCLUDE = re.compile(r'^#include "(\w+\.h)"', re.MULTILINE)

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Wshadow=local", "-Wstrict-prototypes"]
# Floating point must give the same bits on every machine and dispatch path: no contraction into FMA.
CODE_GENERATION = ["-std=gnu11", "-O3", "-g", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]


# For other processors than this one's, gcc clears and copies structures with `rep stos`, whose start-up costs
# more than the whole structure: a few vector stores instead, where the compiler knows the words.
SMALL_BLOCKS = [
    "-mmemset-strategy=vector_loop:512:noalign,libcall:-1:noalign",
    "-mmemcpy-strategy=vector_loop:512:noalign,libcall:-1:noalign",
]


@cache
def code_generation() -> list[str]:
    """CODE_GENERATION, and SMALL_BLOCKS where the compiler has them."""
    compiler = os.environ.get("CC", "gcc")
    command = [compiler, *SMALL_BLOCKS, "-fsyntax-only", "-x", "c", os.devnull]
    try:
        known = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        known = False
    return CODE_GENERATION + (SMALL_BLOCKS if known else [])


def cdef_text(header: Path) -> str:
    """The header as cffi parses it."""
    lines = []
    for line in header.read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            match = INTEGER_DEFINE.match(stripped)
            if match is None:
                continue
            line = match.group(0)
        lines.append(line)
    return "\n".join(lines)


def sanitizer_flags() -> list[str]:
    """Compiler flags of the sanitizers named in HOTPATH_SANITIZE."""
    names = os.environ.get("HOTPATH_SANITIZE", "")
    return [f"-fsanitize={names}", "-fno-omit-frame-pointer", "-O1"] if names else []


def ordered_headers() -> list[Path]:
    """The headers whose kernels are here, each after those that it includes."""
    ordered: list[Path] = []

    def add(header: Path) -> None:
        if header in ordered:
            return
        for name in LOCAL_INCLUDE.findall(header.read_text()):
            add(header.parent / name)
        ordered.append(header)

    add(ROOM / "include" / "layout.h")
    for header in sorted((ROOM / "include").glob("*.h")):
        if (ROOM / "src" / f"{header.stem}.c").exists():
            add(header)
    return ordered


def make_ffi(*, warnings_are_errors: bool = False) -> FFI:
    """The configured builder. Sources are relative to the repository's root, as setuptools wants."""
    headers = ordered_headers()
    builder = FFI()
    for header in headers:
        builder.cdef(cdef_text(header))
    sanitizers = sanitizer_flags()
    builder.set_source(
        "ffi._native",
        "\n".join(f'#include "{header.name}"' for header in headers),
        sources=[str(path.relative_to(ROOM.parent)) for path in sorted((ROOM / "src").glob("*.c"))],
        include_dirs=["ffi/include", "ffi/src"],
        extra_compile_args=code_generation() + WARNINGS + sanitizers + (["-Werror"] if warnings_are_errors else []),
        extra_link_args=sanitizers,
        libraries=["rt"],
    )
    return builder


def lint() -> int:
    """Compile each C file alone with every warning an error; returns how many failed."""
    write_client()
    compiler = os.environ.get("CC", "gcc")
    flags = [*code_generation(), *WARNINGS, "-Werror", "-Iffi/include", "-Iffi/src", "-c", "-o", "/dev/null"]
    sources = sorted((ROOM / "src").glob("*.c"))
    results = [subprocess.run([compiler, *flags, str(path)], cwd=ROOM.parent, check=False) for path in sources]
    return sum(result.returncode != 0 for result in results)


def layout_names() -> dict[str, tuple[str, ...]]:
    """What layout.h declares, sorted: the structs, enums and constants that ffi/dtypes.py hashes."""
    text = cdef_text(ROOM / "include" / "layout.h")
    layout = FFI()
    layout.cdef(text)
    return {
        "LAYOUT_TYPES": tuple(sorted(layout.list_types()[0])),
        "LAYOUT_ENUMS": tuple(sorted(re.findall(r"^enum (\w+)", text, re.MULTILINE))),
        "LAYOUT_CONSTANTS": tuple(sorted(re.findall(r"^#define (\w+)", text, re.MULTILINE))),
    }


def write_client(room: Path = ROOM) -> None:
    """What C programs beside the engine include: the layout's hash, and in a package the headers themselves."""
    text = cdef_text(ROOM / "include" / "layout.h")
    names = layout_names()
    layout = FFI()
    layout.cdef(text)
    constants = {name: int(value, 0) for name, value in re.findall(r"^#define (\w+)\s+(\w+)", text, re.MULTILINE)}
    described = layout_text(
        layout,
        structs=names["LAYOUT_TYPES"],
        enums=names["LAYOUT_ENUMS"],
        constants={name: constants[name] for name in names["LAYOUT_CONSTANTS"]},
    )
    folder = room / "client"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "/* layout_hash.h: written by ffi/build.py: the hash of layout.h that a running engine must agree to. */",
        "#pragma once",
        f"#define HOTPATH_LAYOUT_HASH 0x{text_hash(described):016x}ull",
    ]
    (folder / "layout_hash.h").write_text("\n".join(lines) + "\n")
    if room != ROOM:
        shutil.copyfile(ROOM / "client" / "hotpath_client.h", folder / "hotpath_client.h")
        shutil.copyfile(ROOM / "include" / "layout.h", folder / "layout.h")


def write_stamp(room: Path = ROOM) -> None:
    """Record beside the extension what it is built from, for the check at import and the layout hash."""
    lines = [
        '"""Written by ffi/build.py: what ffi._native was built from."""',
        "",
        f'SOURCE_STAMP = "{source_stamp()}"',
    ]
    lines += [f"{name} = {names!r}" for name, names in layout_names().items()]
    (room / "_stamp.py").write_text("\n".join(lines) + "\n")


def build(*, verbose: bool = False, warnings_are_errors: bool = False) -> None:
    """Compile in place, so that a checkout imports its own extension."""
    os.chdir(ROOM.parent)
    write_client()
    extension = make_ffi(warnings_are_errors=warnings_are_errors).distutils_extension(
        tmpdir="build/cffi", verbose=verbose
    )
    command = build_ext(Distribution({"name": "ffi", "ext_modules": [extension], "verbose": int(verbose)}))
    command.inplace = command.force = True
    command.build_temp = "build/temp"
    command.ensure_finalized()
    command.run()
    write_stamp()


if __name__ == "__main__":
    if "--lint" in sys.argv:
        sys.exit(min(lint(), 1))
    build(verbose="--verbose" in sys.argv, warnings_are_errors="--werror" in sys.argv)
