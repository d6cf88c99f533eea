"""The desk at which limits are changed, by whoever may: the control process, the supervisor, a person on the host.

    lock -> settle -> read -> compare version -> edit -> seal -> file (synced, renamed) -> journal -> shared memory

Several processes may write; each takes the lock for the whole of it. A writer killed anywhere leaves the old version or
the new one: who comes next finds a file that is ahead of shared memory, and finishes that change.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.errors import LimitsError, StaleVersionError
from hotpath.limits.catalogue import Value
from hotpath.limits.copy import LimitsCopy
from hotpath.limits.kept import KeptLimits, KeptValue, kept_path, read_kept, write_kept
from hotpath.limits.page import copy_in_force
from hotpath.limits_log import LimitsWriter
from hotpath.segments import Segment

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did: the names that differ with their values before and after, and the version after it."""

    before: dict[str, Value]
    after: dict[str, Value]
    version: int


class LimitsDesk:
    """The limits of one running engine. `state_dir` is the engine's own: the lock and the file lie there."""

    def __init__(self, engine: str, *, state_dir: str | Path) -> None:
        """Raises SegmentMissingError when no engine of this name runs."""
        self.engine = engine
        self.path = kept_path(Path(state_dir), engine)
        self._segment: Segment = segments.attach(engine, "limits", lib.SEGMENT_LIMITS)
        self.run_epoch = self._segment.info.run_epoch
        self._journaled = any(each.segment == "side.journal" for each in segments.list_segments(engine))
        instruments = segments.attach(engine, "instruments", lib.SEGMENT_INSTRUMENTS)
        table = instruments.view(dtype_of("instrument_entry"), count=instruments.info.capacity)
        self.symbols = [bytes(symbol).rstrip(b"\0").decode() for symbol in table["symbol"]]

    def read(self) -> LimitsCopy:
        """The limits in force, a copy of the caller's own."""
        copy = copy_in_force(self._segment, self.symbols)
        if not copy.is_whole:
            raise LimitsError(
                f"engine {self.engine}: the limits in force are damaged", next_step="kill it, and start it again"
            )
        return copy

    @property
    def version(self) -> int:
        """Of the limits in force."""
        return self.read().version

    def change(
        self,
        based_on: int,
        edit: Callable[[LimitsCopy], None],
        *,
        who: str,
        why: str,
        dry_run: bool = False,
        kills: bool = False,
    ) -> Change:
        """Let `edit` change a copy of the limits and put that in force, if `based_on` is still their version.

        `kills`: commands that were approved before it are not to be sent, also when no scope is newly killed.
        Raises StaleVersionError when others were faster, LimitsError for a value that cannot be.
        """
        with self._lock():
            self._settle()
            before = self.read()
            if before.version != based_on:
                raise StaleVersionError(
                    f"limits are at version {before.version} by now; the change was based on {based_on}",
                    next_step="look at them again, and change them from there",
                )
            before.expire(time.time_ns())
            after = before.clone()
            edit(after)
            return self._put(before, after, who=who, why=why, dry_run=dry_run, kills=kills)

    def change_latest(self, edit: Callable[[LimitsCopy], None], *, who: str, why: str, kills: bool = False) -> Change:
        """The same on whatever version is in force: for what must not wait, as a kill."""
        while True:
            try:
                return self.change(self.version, edit, who=who, why=why, kills=kills)
            except StaleVersionError:
                continue

    def _put(self, before: LimitsCopy, after: LimitsCopy, *, who: str, why: str, dry_run: bool, kills: bool) -> Change:
        differences = before.differences(after)
        change = Change(
            {name: values[0] for name, values in differences.items()},
            {name: values[1] for name, values in differences.items()},
            before.version + 1,  # what it would be; a number that a dead writer took is not used again
        )
        if dry_run:
            return change
        kills = kills or any(name.endswith(".killed") and value for name, value in change.after.items())
        writer = self._writer()
        change = replace(change, version=writer.version + 1)

        def make(version: int) -> bytearray:
            after.header.version = version
            if kills:
                after.header.kill_version = version
            after.seal()
            return after.memory

        make(change.version)
        if not after.is_whole:
            raise LimitsError("the limits that this would make contradict themselves; nothing was changed")
        write_kept(self.path, self._kept(change, after, who=who, why=why))
        writer.publish(make)
        return change

    def _writer(self) -> LimitsWriter:
        """What writes the next version: others may have written the last one."""
        return LimitsWriter(self.engine, journaled=self._journaled, run_epoch=self.run_epoch)

    def _kept(self, change: Change, after: LimitsCopy, *, who: str, why: str) -> KeptLimits:
        earlier = read_kept(self.path)
        values = dict(earlier.values) if earlier else {}
        temporary = after.temporaries()
        for name, value in change.after.items():
            if any(each.name == name for each in temporary):
                continue
            base = values[name].base if name in values else change.before[name]
            values[name] = KeptValue(value, base, who, why, time.time_ns())
        return KeptLimits(FORMAT, self.engine, self.run_epoch, change.version, values, temporary, after.tokens())

    def _settle(self) -> None:
        """Finish what a writer began that died between file and shared memory. Under the lock."""
        kept = read_kept(self.path)
        standing = self.read()
        if kept is None or kept.run_epoch != self.run_epoch or kept.version <= standing.version:
            return
        for name, each in kept.values.items():
            if standing.get(name) != each.value and not any(name == one.name for one in kept.temporary):
                standing.set(name, each.value)
        self._settle_passing(standing, kept)

        def make(version: int) -> bytearray:
            standing.header.version = version
            if kept.killed_a_scope:
                standing.header.kill_version = version
            standing.seal()
            return standing.memory

        self._writer().publish(make)

    def _settle_passing(self, standing: LimitsCopy, kept: KeptLimits) -> None:
        for temporary in kept.temporary:
            expires = temporary.expires_time_ns
            standing.set_for_a_time(temporary.name, temporary.value, expires_time_ns=expires, who=temporary.who)
        held = {token.id for token in standing.tokens()}
        for token in kept.tokens:
            if token.id not in held:
                standing.grant(token)

    def settle(self) -> int:
        """Finish what a dead writer began, if one did. Returns the version in force."""
        with self._lock():
            self._settle()
            return self.version

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let no other process change limits. It ends with the process that has it, whatever ended that."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
