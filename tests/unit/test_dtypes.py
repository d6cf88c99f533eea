"""ffi/dtypes.py: NumPy sees what C sees, and the hash sees every change."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import (
    counter_names,
    dtype_of,
    enum_names,
    enum_values,
    flag_names,
    layout_hash,
    layout_text,
    shared_structs,
)

REPOSITORY = Path(__file__).resolve().parents[2]
LAYOUT = REPOSITORY / "ffi" / "include" / "layout.h"


def leaves(ctype: ffi.CType, path: str = "", offset: int = 0) -> list[tuple[str, int, int]]:
    """(path, offset, size) of every number in a struct, as C lays it out."""
    found = []
    for name, field in ctype.fields:
        here, at = f"{path}{name}", offset + field.offset
        if field.type.kind == "struct":
            found += leaves(field.type, f"{here}.", at)
        else:
            found.append((here, at, ffi.sizeof(field.type)))
    return found


def numpy_leaf(dtype: np.dtype, path: str) -> tuple[int, int]:
    """(offset, size) of the same field in NumPy."""
    offset = 0
    for name in path.split("."):
        assert dtype.fields is not None, path
        dtype, inner = dtype.fields[name][:2]
        offset += inner
    return offset, dtype.itemsize


@pytest.mark.parametrize("struct", shared_structs())
def test_dtype_has_the_offsets_and_size_of_the_c_struct(struct: str) -> None:
    dtype = dtype_of(struct)
    assert dtype.itemsize == ffi.sizeof(struct)
    for path, offset, size in leaves(ffi.typeof(struct)):
        assert numpy_leaf(dtype, path) == (offset, size), path


def test_values_written_by_numpy_are_read_by_c() -> None:
    events = np.zeros(3, dtype_of("norm_event"))
    events[1]["header"]["flags"] = 0x8001
    events[1]["header"]["instrument"] = lib.NO_INSTRUMENT
    events[1]["price_ticks"] = -(2**62)
    events[2]["ask_depth_lots"] = 7
    seen = ffi.cast("norm_event *", ffi.from_buffer(events))
    assert (seen[1].header.flags, seen[1].header.instrument) == (0x8001, 0xFFFFFFFF)
    assert (seen[1].price_ticks, seen[2].ask_depth_lots) == (-(2**62), 7)


def test_signedness_and_text_follow_c() -> None:
    assert dtype_of("norm_event")["price_ticks"] == np.int64
    assert dtype_of("event_header")["stamp"] == np.uint64
    assert dtype_of("signal_event")["score"] == np.float64
    assert dtype_of("signal_event")["component"].base == np.int16
    assert dtype_of("instrument_entry")["symbol"] == np.dtype("S16")


def test_struct_with_a_pointer_is_refused() -> None:
    with pytest.raises(TypeError, match="pointer"):
        dtype_of("ring_writer")


def test_shared_structs_are_those_of_layout_h() -> None:
    declared = re.findall(r"^} (\w+);", LAYOUT.read_text(), re.MULTILINE)
    assert sorted(declared) == list(shared_structs())


def test_enum_names_and_values_are_inverse() -> None:
    assert enum_names("event_type")[enum_values("event_type")["NORM_ADD"]] == "NORM_ADD"
    assert enum_names("stage_id")[0] == "STAGE_FEED"


def test_flags_are_named_bit_by_bit() -> None:
    assert flag_names("event_flag", lib.FLAG_SELL | lib.FLAG_TOP) == ["FLAG_SELL", "FLAG_TOP"]
    assert flag_names("event_flag", 0x8000) == ["0x8000"]


def test_counter_names_are_the_enum_without_its_stage() -> None:
    assert counter_names("feed")[lib.FEED_PACKETS] == "packets"
    assert "counters" not in counter_names("feed").values()
    assert len(counter_names("feed")) == lib.FEED_COUNTERS


def test_risk_counts_each_reject_reason_by_name() -> None:
    names = counter_names("risk")
    assert names[lib.RISK_REJECTS + lib.REJECT_COLLAR] == "reject_collar"
    assert lib.RISK_REJECTS not in names


# ---- other layouts: built in a copy, in another process ---------------------------------------------


def copy_of_floor(target: Path) -> Path:
    """The floor's sources and its built extension, away from the repository."""
    shutil.copytree(REPOSITORY / "ffi", target / "ffi", ignore=shutil.ignore_patterns("__pycache__", "*.o"))
    return target


def run_python(folder: Path, code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def text_with(layout: str, tmp_path: Path) -> str:
    """The layout text that dtypes.py would take its hash of, were layout.h this text.

    Parsed and laid out by cffi without compiling, which the compiled layout is then compared with.
    """
    copy = copy_of_floor(tmp_path)
    (copy / "ffi" / "include" / "layout.h").write_text(layout)
    code = (
        "import sys, types; sys.path.insert(0, 'ffi')\n"
        "import build\n"
        "from cffi import FFI\n"
        "from pathlib import Path\n"
        "parsed = FFI(); parsed.cdef(build.cdef_text(Path('ffi/include/layout.h')))\n"
        "fake = types.ModuleType('ffi'); fake.ffi = parsed; fake.lib = parsed.dlopen(None); fake.__path__ = ['ffi']\n"
        "stamp = types.ModuleType('ffi._stamp'); stamp.__dict__.update(build.layout_names())\n"
        "sys.modules.update({'ffi': fake, 'ffi._stamp': stamp})\n"
        "from ffi.dtypes import layout_text\n"
        "print(layout_text())\n"
    )
    done = run_python(copy, code)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


CHANGES = {
    "renamed field": ("uint64_t full_count;", "uint64_t fullness;"),
    "other type of the same size": ("int64_t leaves_lots;", "uint64_t leaves_lots;"),
    "two fields swapped": (
        "    uint64_t venue_ref; /* the venue's order number */\n    uint64_t match_id;",
        "    uint64_t match_id;\n    uint64_t venue_ref;",
    ),
    "longer array": ("uint8_t bytes[RAW_BYTES_MAX];\n} raw_event", "uint8_t bytes[RAW_BYTES_MAX + 8];\n} raw_event"),
    "nested struct grown": ("    uint8_t input;\n    uint8_t leg;\n} command_id", "    uint64_t leg;\n} command_id"),
    "event type renumbered": ("NORM_ADD = 16", "NORM_ADD = 17"),
    "counter inserted": ("    FEED_PACKETS,", "    FEED_FRAMES,\n    FEED_PACKETS,"),
    "constant changed": ("#define RING_SLOTS_OFFSET 4096", "#define RING_SLOTS_OFFSET 8192"),
}


def test_layout_text_is_the_same_parsed_or_compiled(tmp_path: Path) -> None:
    assert text_with(LAYOUT.read_text(), tmp_path) == layout_text()


@pytest.mark.parametrize("change", CHANGES)
def test_layout_hash_sees(change: str, tmp_path: Path) -> None:
    before, after = CHANGES[change]
    layout = LAYOUT.read_text()
    assert layout.count(before) >= 1, f"layout.h no longer holds {before!r}"
    assert text_with(layout.replace(before, after, 1), tmp_path) != layout_text()


def test_every_field_of_every_shared_struct_is_in_the_hash() -> None:
    lines = set(layout_text().splitlines())
    for struct in shared_structs():
        for name, field in ffi.typeof(struct).fields:
            assert f"field {struct}.{name} {field.type.cname} {field.offset}" in lines


def test_layout_hash_ignores_comments(tmp_path: Path) -> None:
    assert text_with(LAYOUT.read_text() + "\n/* another comment */\n", tmp_path) == layout_text()


def test_layout_hash_is_64_bits_and_stable_in_a_process() -> None:
    assert 0 < layout_hash() < 2**64
    assert layout_hash() == layout_hash()


# ---- a stale build -----------------------------------------------------------------------------------


def test_extension_older_than_its_layout_refuses_to_import(tmp_path: Path) -> None:
    copy = copy_of_floor(tmp_path)
    layout = copy / "ffi" / "include" / "layout.h"
    layout.write_text(layout.read_text() + "\n/* edited after the build */\n")
    done = run_python(copy, "import ffi")
    assert done.returncode != 0
    assert "built from other sources" in done.stderr
    assert "python ffi/build.py" in done.stderr


def test_missing_extension_names_the_command_that_builds_it(tmp_path: Path) -> None:
    copy = copy_of_floor(tmp_path)
    for library in (copy / "ffi").glob("_native*.so"):
        library.unlink()
    done = run_python(copy, "import ffi", "-S")  # without site: an editable install would lend the checkout's own
    assert "ffi._native is missing" in done.stderr
    assert "python ffi/build.py" in done.stderr


def test_fresh_copy_imports(tmp_path: Path) -> None:
    done = run_python(copy_of_floor(tmp_path), "import ffi.dtypes; print(ffi.dtypes.layout_hash())")
    assert done.stdout.strip() == str(layout_hash()), done.stderr
