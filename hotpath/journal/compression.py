"""Closed segments, packed: the head as it is, then the records as one zstd frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hotpath.errors import JournalError
from hotpath.journal.format import HEAD_BYTES

EXTRA = "pip install 'hotpath-engine[journal]', or use Python 3.14, which has it"
LEVEL = 3


def _zstd() -> Any:
    """A module with compress(data, level) and decompress(data). Raises JournalError when there is none."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        pass
    else:
        return zstd
    try:
        import zstandard
    except ImportError:
        raise JournalError("this Python has no zstd", next_step=EXTRA) from None
    return zstandard


def available() -> bool:
    """Whether segments can be packed and read here."""
    try:
        _zstd()
    except JournalError:
        return False
    return True


def packed(records: bytes) -> bytes:
    """Records as one frame."""
    frame: bytes = _zstd().compress(records, LEVEL)
    return frame


def unpacked(path: Path) -> bytes:
    """The records of a compressed segment."""
    try:
        records: bytes = _zstd().decompress(path.read_bytes()[HEAD_BYTES:])
    except JournalError:
        raise
    except Exception as error:  # each library has its own
        raise JournalError(f"{path}: cannot be unpacked: {error}") from None
    return records
