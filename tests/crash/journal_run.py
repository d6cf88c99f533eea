"""The journal process over real rings, with the test as the engine that publishes into them.

test --events--> rings --[journal process, forked, dies again and again]--> folder
  '------------------------ what was acknowledged is there, what is there is what was published <---'
"""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.config import JournalConfig, RingsConfig
from hotpath.engine import EngineMemory, EngineSpec, engine_memory, make_spec
from hotpath.errors import JournalError
from hotpath.journal import Journal, process
from hotpath.journal.format import END_FILE, RUN_FILE
from hotpath.journal.verify import verify
from hotpath.run_file import write_run_file
from hotpath.topology import Ring
from tests.crash.tracer import Do, Life, Point, TracedProcess
from tests.support.busy import busy_config
from tests.support.journals import random_events

Policy = Literal["interval", "batch", "none"]
SLOTS = 256  # of each ring: the journal's cursor matters
RAW_SLOTS = 1024
SEGMENT_UNIT = 64 << 10  # a block: segments change often
EVENTS_OF_A_LIFE = 24  # of each ring
EVENTS_BEFORE = (0, 500, 500)  # of a run's lives that are cut short, one of these: 512 fill a segment
EVENTS_MAX = 4000  # of a run's ring
OVERRUN = 0.1  # share of lives before which the observed rings go on without the journal
INSTRUMENTS = 3
RINGS = ("norm", "cmd", "exec")  # as many as make all the difference there is: one more has the same calls again


def spec_of(name: str, sync: Policy) -> EngineSpec:
    """An engine of small rings, of which only the journal will ever run."""
    small = RingsConfig(**dict.fromkeys(RingsConfig.__struct_fields__, SLOTS) | {"raw": RAW_SLOTS})
    journal = JournalConfig(sync=sync, sync_ms=5, segment_mib_max=2, space_low_mib=0, space_out_mib=0)
    config = msgspec.structs.replace(busy_config(engine={"name": name}), rings=small, journal=journal)
    return make_spec(config, np.zeros(INSTRUMENTS, dtype_of("instrument_entry")), midnight_ns=0, journal=True)


class RingEnd:
    """One ring as its writer sees it, and all that was ever published into it."""

    def __init__(self, memory: EngineMemory, ring: Ring, seed: int) -> None:
        self.name = ring.name
        self.gated = "journal" in ring.gating
        self.cursor = memory.cursor(ring, "journal")
        self._writer = ffi.new("ring_writer *")
        segment = memory.segments[ring.name]
        assert lib.ring_writer_attach(self._writer, segment.pointer) == lib.RING_OK
        if self.gated:
            gate = memory.segments[ring.cursor("journal")].pointer
            assert lib.ring_writer_gate(self._writer, gate) == lib.RING_OK
        self.slots = segment.info.capacity
        self.wanted = 0  # events, by the end of the present life
        self.published = random_events(ring.name, EVENTS_MAX, seed=seed)

    @property
    def next(self) -> int:
        return int(self._writer.next)

    @property
    def acknowledged(self) -> int:
        """What the journal has let go of: it must never be missing."""
        return int(self.cursor.position)

    def publish(self, count: int, *, waits: bool) -> None:
        """As many as there is room for; an observer is waited for only when asked to."""
        for _ in range(count):
            if (not self.gated and waits and self.next - self.acknowledged >= self.slots) or self.next == len(
                self.published
            ):
                return
            event = ffi.from_buffer(self.published[self.next : self.next + 1])
            if lib.ring_publish(self._writer, event, 128) != lib.RING_OK:
                return


class JournalRun:
    """One run of the engine's memory and its journal's folder."""

    def __init__(self, folder: Path, memory: EngineMemory, chance: random.Random) -> None:
        self.folder = folder / "journal"
        self.run_path = folder / "run"
        write_run_file(self.run_path, memory.spec, run_epoch=memory.run_epoch)
        rings = [ring for ring in memory.spec.rings if ring.name in RINGS]
        self.rings = [RingEnd(memory, ring, chance.randrange(1 << 30)) for ring in rings]
        self._chance = chance

    def begin(self) -> Life | None:
        """A first journal that writes some events and is killed; None where a run shall begin with nothing."""
        count = self._chance.choice(EVENTS_BEFORE)
        if not count:
            return None
        return self._life(lambda _: Do.KILL if self._all_written() else Do.GO_ON, events=count)

    def life(self, choose: Callable[[Point], Do], *, fault: int = errno.EIO) -> Life:
        """One journal process, from its start until it dies or has written the end."""
        if self._chance.random() < OVERRUN:
            for ring in self.rings:
                if not ring.gated:
                    ring.publish(ring.slots + 20, waits=False)
        return self._life(choose, fault=fault, ends=True)

    def _all_written(self) -> bool:
        return all(ring.acknowledged == ring.next == ring.wanted for ring in self.rings)

    def _life(
        self,
        choose: Callable[[Point], Do],
        *,
        events: int = EVENTS_OF_A_LIFE,
        fault: int = errno.EIO,
        ends: bool = False,
    ) -> Life:
        for ring in self.rings:
            ring.wanted = min(ring.next + events, EVENTS_MAX)
        traced = TracedProcess(self._journal, fault=fault)
        told = False

        def drive() -> None:
            nonlocal told
            for ring in self.rings:
                ring.publish(ring.wanted - ring.next, waits=True)
            if ends and not told and self._all_written():
                told = True
                os.kill(traced.pid, signal.SIGTERM)

        return traced.run(choose, drive)

    def _journal(self) -> int:
        """In the child, whose modules are its own."""
        sys.stderr = io.StringIO()  # what it says of each failure is expected, and there are hundreds
        process.MIB = SEGMENT_UNIT  # type: ignore[attr-defined]
        every = EngineSpec.rings.fget  # type: ignore[attr-defined]
        EngineSpec.rings = property(lambda spec: tuple(r for r in every(spec) if r.name in RINGS))  # type: ignore[method-assign, assignment]
        return process.main([str(self.run_path), str(self.folder)])

    @property
    def ended(self) -> bool:
        return (self.folder / END_FILE).exists()

    def wrong(self) -> list[str]:
        """What does not hold of what stands on the disk now."""
        if not (self.folder / RUN_FILE).exists():
            lost = [ring.name for ring in self.rings if ring.acknowledged]
            return [f"acknowledged, and no journal: {lost}"] if lost else []
        try:
            journal, verdict = Journal(self.folder), verify(self.folder)
        except JournalError as error:
            return [f"cannot be opened: {error}"]
        found = [f"{each.file}: {each.what}" for each in verdict.findings if not each.torn or verdict.ended]
        for ring in self.rings:
            found += self._ring_wrong(ring, journal, ended=verdict.ended)
        return found

    @staticmethod
    def _ring_wrong(ring: RingEnd, journal: Journal, *, ended: bool) -> list[str]:
        events, sequences = journal.events(ring.name), journal.sequences(ring.name)
        held = journal.next(ring.name)
        if held < ring.acknowledged:
            return [f"{ring.name}: {ring.acknowledged} events were acknowledged, {held} are left"]
        if ended and held != ring.next:
            return [f"{ring.name}: {ring.next} events were published, the journal ended with {held}"]
        if ring.gated and len(events) != held:
            return [f"{ring.name}: a ring that waits for the journal has holes: {journal.holes(ring.name)}"]
        lost = int(ring.cursor.lost_count)
        if ended and journal.lost(ring.name) > lost:
            return [f"{ring.name}: {journal.lost(ring.name)} events are missing, {lost} were told of"]
        if len(sequences) and int(sequences[-1]) >= ring.next:
            return [f"{ring.name}: event {sequences[-1]} was never published"]
        same = payload(events) == payload(ring.published[sequences.astype(np.int64)])
        return [] if same else [f"{ring.name}: events are not those that were published"]


def payload(events: np.ndarray[Any, Any]) -> bytes:
    """Events without their stamps."""
    return np.ascontiguousarray(events).view(np.uint8).reshape(-1, 128)[:, 8:].tobytes()


@contextmanager
def journal_run(
    folder: Path, sync: Literal["interval", "batch", "none"], chance: random.Random
) -> Iterator[JournalRun]:
    """A fresh engine's memory, and its journal yet to be begun."""
    folder.mkdir(parents=True)
    with engine_memory(spec_of(f"crash-journal-{os.getpid()}", sync)) as memory:
        yield JournalRun(folder, memory, chance)
