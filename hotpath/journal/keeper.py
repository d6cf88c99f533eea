"""What the journal needs done beside its loop: syncs, room for the next segments, a look at the disk.

One thread. An error of its stops the journal: what a disk refused once is not asked of it again, since the system
forgets what it could not write and says yes the second time.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ffi import lib
from hotpath.config import JournalConfig
from hotpath.errors import JournalError
from hotpath.journal.retention import closed_segments, ended_runs, pack_segment, retire
from hotpath.journal.writer import MIB, RingWriter

LOOK_SECONDS = 0.02  # between two looks at which segments fill up
PACK_SECONDS = 10.0  # between two looks for closed segments
LOWEST_PRIORITY = 19
MILLISECOND_NS = 1_000_000
POLICY = {
    "none": lib.JOURNAL_SYNC_NONE,
    "interval": lib.JOURNAL_SYNC_INTERVAL,
    "batch": lib.JOURNAL_SYNC_BATCH,
}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Packer:
    """Packs closed segments and removes old runs, behind everybody else. What goes wrong here harms no run."""

    def __init__(self, folder: Path, root: Path, config: JournalConfig) -> None:
        """`root`: the folder of all runs; one that was told to lie elsewhere is no matter of retention."""
        self._folder = folder
        self._root = root
        self._config = config
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packer", daemon=True)

    def begin(self) -> None:
        """Start, where there is anything to do."""
        if self._config.compress or self._config.keep_days or self._config.keep_mib:
            self._thread.start()

    def end(self) -> None:
        """Stop after the segment in hand."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        first = True
        while first or not self._stopped.wait(PACK_SECONDS):
            try:
                self._tidy(earlier=first)
            except (OSError, JournalError) as error:
                print(f"journal: tidying up: {error}", file=sys.stderr)
                return
            first = False

    def _tidy(self, *, earlier: bool) -> None:
        if earlier:
            retire(self._root, self._config)
        if not self._config.compress:
            return
        for run in (*(ended_runs(self._root) if earlier else ()), self._folder):
            for path in list(closed_segments(run)):
                if self._stopped.is_set():
                    return
                pack_segment(path)


class Keeper:
    """Looks after the writers of one journal until it is stopped."""

    def __init__(
        self, folder: Path, config: JournalConfig, writers: Sequence[RingWriter], now_ns: Callable[[], int]
    ) -> None:
        """`now_ns`: the engine's clock."""
        self._folder = folder
        self._config = config
        self._writers = writers
        self._now_ns = now_ns
        self.error: OSError | None = None
        self.synced_time_ns = 0  # what was written before it is on the disk
        self.syncs = self.sync_ns_last = self.sync_ns_max = 0
        self.free_bytes = 0
        self.space: int = lib.JOURNAL_SPACE_ENOUGH
        self._no_room = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def begin(self) -> None:
        """Make room for every ring, then start to look after them. Raises OSError."""
        for writer in self._writers:
            if writer.wants_spare:
                writer.prepare()
        self._look_at_space()
        self._thread.start()

    def end(self) -> None:
        """Stop; the writers are the caller's alone from then on."""
        self._stopped.set()
        self._thread.join()

    def sync(self) -> None:
        """Have the disk hold all that was appended before this call. Raises OSError."""
        began_ns = self._now_ns()
        for writer in self._writers:
            writer.sync()
        took_ns = self._now_ns() - began_ns
        self.synced_time_ns = began_ns
        self.syncs += 1
        self.sync_ns_last, self.sync_ns_max = took_ns, max(took_ns, self.sync_ns_max)

    def _run(self) -> None:
        interval = self._config.sync_ms / 1000
        synced = time.monotonic()
        try:
            while not self._stopped.wait(LOOK_SECONDS):
                self._make_room()
                if time.monotonic() - synced < interval:
                    continue
                synced = time.monotonic()
                self._look_at_space()
                if self._config.sync == "interval":
                    self.sync()
        except OSError as error:
            self.error = error

    def _make_room(self) -> None:
        """A full disk is not yet an error: the present segments still have room, and orders stop meanwhile."""
        for writer in self._writers:
            if not writer.wants_spare:
                continue
            try:
                writer.prepare()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._no_room = True
                self._look_at_space()
                return
        if self._no_room:
            self._no_room = False
            self._look_at_space()

    def _look_at_space(self) -> None:
        status = os.statvfs(self._folder)
        self.free_bytes = status.f_bavail * status.f_frsize
        if self._no_room or self.free_bytes < self._config.space_out_mib * MIB:
            self.space = lib.JOURNAL_SPACE_OUT
        elif self.free_bytes < self._config.space_low_mib * MIB:
            self.space = lib.JOURNAL_SPACE_LOW
        else:
            self.space = lib.JOURNAL_SPACE_ENOUGH
