"""The numbered messages of one session's day: kept on disk, so that a long day costs no memory.

    append --> tail (the last KEPT, in memory) --> since(number)     what everyone asks for
         '---> file: length, bytes, length, bytes, ...  --> since(number)     a client that begins anew
               marks: where in the file every MARKED-th message begins

The file has no name: it goes with the log, or with the process, however that ends.
"""

from __future__ import annotations

import struct
import tempfile
import weakref
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import islice

KEPT = 1024  # messages in memory
MARKED = 1024  # messages from one mark to the next
LENGTH = struct.Struct("<H")


class MessageLog:
    """Messages numbered from 1. One writer; nothing is ever taken out."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="hotpath-session-")  # noqa: SIM115  (as old as this log)
        weakref.finalize(self, self._file.close)
        self._end = 0  # bytes in the file
        self._marks = array("Q")
        self._tail: deque[bytes] = deque(maxlen=KEPT)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """The whole day, from number 1."""
        return iter(self.since(1, limit=self._count))

    def append(self, payload: bytes) -> None:
        """The next message, of at most 65,535 bytes. Raises OSError when the disk is full."""
        if self._count % MARKED == 0:
            self._marks.append(self._end)
        self._file.seek(self._end)
        self._file.write(LENGTH.pack(len(payload)) + payload)
        self._end += LENGTH.size + len(payload)
        self._tail.append(payload)
        self._count += 1

    def since(self, number: int, *, limit: int) -> list[bytes]:
        """At most `limit` messages from `number` on; none when that is yet to be said."""
        first_kept = self._count - len(self._tail) + 1
        if number >= first_kept:
            return list(islice(self._tail, number - first_kept, number - first_kept + limit))
        return self._read(number, min(limit, self._count + 1 - number))

    def _read(self, number: int, count: int) -> list[bytes]:
        mark, ahead = divmod(number - 1, MARKED)
        self._file.seek(self._marks[mark])
        return [self._next() for _ in range(ahead + count)][ahead:]

    def _next(self) -> bytes:
        (length,) = LENGTH.unpack(self._file.read(LENGTH.size))
        return self._file.read(length)
