"""Tells whether the compiled extension was built from the sources that lie beside it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

ROOM = Path(__file__).resolve().parent
REBUILD_COMMAND = "make build  (or: python ffi/build.py)"


def source_files(room: Path = ROOM) -> list[Path]:
    """Headers and sources in the order they are compiled and parsed: the layout first, the build script last."""
    headers = sorted((room / "include").glob("*.h"), key=lambda path: (path.name != "layout.h", path.name))
    if not headers:
        return []
    client = [room / "client" / "hotpath_client.h"]
    return (
        headers + client + sorted((room / "src").glob("*.h")) + sorted((room / "src").glob("*.c")) + [room / "build.py"]
    )


def source_stamp(room: Path = ROOM) -> str:
    """Hash of every header and source; empty where an installed package ships no sources."""
    files = source_files(room)
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_extension_is_fresh() -> None:
    """Raise ImportError when the extension is missing or older than its headers and sources."""
    if importlib.util.find_spec("ffi._native") is None:
        raise ImportError(f"the compiled extension ffi._native is missing; build it with: {REBUILD_COMMAND}")
    try:
        from ffi._stamp import SOURCE_STAMP
    except ImportError:
        raise ImportError(f"ffi/_stamp.py is missing; rebuild the extension with: {REBUILD_COMMAND}") from None
    expected = source_stamp()
    if expected and expected != SOURCE_STAMP:
        raise ImportError(
            f"the compiled extension ffi._native was built from other sources "
            f"(built from {SOURCE_STAMP[:12]}, found {expected[:12]}); rebuild it with: {REBUILD_COMMAND}"
        )
