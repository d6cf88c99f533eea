"""Every bit of a small journal and of a small intent file flipped, and a journal torn at every byte of its end.

a journal that ended      whatever bit of whatever file: verify finds it
one that was cut off      whatever bit of its records: what is read is a prefix of what was written, unchanged;
                          a successor goes on behind it, and what it leaves is whole
its last records torn     at each byte, followed by zeros, by nothing, by noise: the same
durable intents           whatever bit of a record: it and those behind it count as never written
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import JournalError
from hotpath.journal import Journal
from hotpath.journal import format as layout
from hotpath.journal.format import END_FILE, HEAD_BYTES, RECORD_BYTES, End
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, Sizes, write_end
from hotpath.power_loss import whole_records
from tests.crash.tally import Tally, Work
from tests.support.journals import RUN_EPOCH, make_folder, random_events, write_ring

RING = "cmd"
RECORDS = 3
SIZES = Sizes(first=512 * RECORD_BYTES, largest=512 * RECORD_BYTES)
QUICK_STRIDE = 41  # of the bits of an ended journal
NOISE = bytes(range(1, 128))


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """One bit of a file the other way round, for a while."""
    with path.open("r+b", buffering=0) as file:
        file.seek(bit // 8)
        (was,) = file.read(1)
        for value in (was ^ 1 << bit % 8, was):
            file.seek(bit // 8)
            file.write(bytes([value]))
            if value != was:
                yield


def finds(folder: Path, changed: Path, end: End) -> bool:
    """Whether a look at the folder says that something is wrong; a bit of the end that changes nothing of what it says
    (the name of a key that is as by default) need not be seen."""
    try:
        if verify(folder).damaged:
            return True
    except JournalError:
        return True
    return changed.name == END_FILE and msgspec.json.decode(changed.read_bytes(), type=End) == end


def ended_journal(work: Work, tally: Tally) -> None:
    folder = make_folder(work.folder / "ended" / "journal")
    end = End({RING: write_ring(folder, RING, random_events(RING, RECORDS, seed=work.seed), sizes=SIZES)})
    write_end(folder, end)
    for path in sorted(folder.iterdir()):
        stride = QUICK_STRIDE if work.quick else 1
        for bit in range(work.seed % stride, path.stat().st_size * 8, stride):
            with flipped(path, bit):
                if not finds(folder, path, end):
                    tally.wrong.append(f"bit {bit} of {path.name} was flipped, and nobody saw it")
            tally.counts["flipped bits"] += 1
    if verify(folder).findings:
        tally.wrong.append("an ended journal is not whole")
    work.say(f"{tally.counts['flipped bits']} flipped bits")


class CutOff:
    """A journal whose process died: its file as it lay there, and what may be read of it."""

    def __init__(self, work: Work, name: str) -> None:
        self.folder = make_folder(work.folder / name)
        self.events = random_events(RING, RECORDS + 1, seed=work.seed)
        writer = RingWriter(self.folder, RING, run_epoch=RUN_EPOCH, sizes=SIZES)
        writer.append(self.events[:RECORDS].copy(), 0)
        writer.sync()
        self.path = layout.segment_path(self.folder, RING, 0)
        self.whole = self.path.read_bytes()

    def wrong(self, good: int) -> str:
        """What does not hold of the file as it now lies there, of which `good` records are untouched."""
        journal = Journal(self.folder)
        count = journal.count(RING)
        if count != good or not _same(journal.events(RING), self.events[:good]):
            return f"{good} records are good, {count} were read"
        return ""

    def succeed(self, good: int) -> str:
        """A successor appends one event and ends in order; then all is as it was."""
        writer = RingWriter(self.folder, RING, run_epoch=RUN_EPOCH, sizes=SIZES)
        writer.resume()
        if writer.next != good:
            return f"{good} records are good, a successor goes on at {writer.next}"
        writer.append(self.events[RECORDS:].copy(), good)
        write_end(self.folder, End({RING: writer.close()}))
        findings = verify(self.folder).findings
        kept = np.array(Journal(self.folder).events(RING))
        for path in (self.folder / END_FILE, *layout.ring_files(self.folder, RING)[1:]):
            path.unlink()
        self.path.write_bytes(self.whole)
        expected = np.concatenate([self.events[:good], self.events[RECORDS:]])
        return "" if not findings and _same(kept, expected) else f"after a successor: {findings[:1]}"


def _same(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    """Payloads, byte for byte."""
    a, b = (np.ascontiguousarray(each).view(np.uint8).reshape(-1, RECORD_BYTES)[:, 8:] for each in (found, expected))
    return a.shape == b.shape and bool((a == b).all())


def cut_off_journal(work: Work, tally: Tally) -> None:
    made = CutOff(work, "cut-off")
    stride = 7 if work.quick else 1
    for bit in range(0, RECORDS * RECORD_BYTES * 8, stride):
        good = bit // 8 // RECORD_BYTES
        with flipped(made.path, HEAD_BYTES * 8 + bit):
            wrong = made.wrong(good)
        tally.counts["flipped bits"] += 1
        if wrong:
            tally.wrong.append(f"bit {bit} of the records was flipped: {wrong}")


def torn_journal(work: Work, tally: Tally) -> None:
    made = CutOff(work, "torn")
    for cut in range(0, RECORDS * RECORD_BYTES, 5 if work.quick else 1):
        at, good = HEAD_BYTES + cut, cut // RECORD_BYTES
        rest = len(made.whole) - at
        tails = {"zeros": bytes(rest), "nothing": b"", "noise": NOISE + bytes(rest - len(NOISE))}
        for name, tail in tails.items():
            made.path.write_bytes(made.whole[:at] + tail)
            wrong = made.wrong(good) or made.succeed(good)
            tally.counts["torn ends"] += 1
            if wrong:
                tally.wrong.append(f"torn at byte {cut} of the records, then {name}: {wrong}")
                made = CutOff(work, f"torn-{cut}-{name}")
    work.say(f"{tally.counts['torn ends']} torn ends")


def intents(work: Work, tally: Tally) -> None:
    records = np.zeros(RECORDS, dtype_of("intent_record"))
    draw = np.random.default_rng(work.seed)
    records.view(np.uint8)[:] = draw.integers(0, 256, records.nbytes, np.uint8)
    records["stamp"] = np.arange(1, RECORDS + 1)
    pointer = ffi.cast("intent_record *", ffi.from_buffer(records))
    for index in range(RECORDS):
        records["checksum"][index] = lib.intent_checksum(pointer + index)
    raw = records.view(np.uint8)
    size = records.itemsize
    fields = records.dtype.fields
    assert fields is not None
    free = set[int]()  # what happens to an order after its record was stored is not covered
    for name in ("state", "sent_time_ns"):
        begin = fields[name][1]
        free |= set(range(begin, begin + fields[name][0].itemsize))
    for bit in range(records.nbytes * 8):
        index, byte = divmod(bit // 8, size)
        raw[bit // 8] ^= 1 << bit % 8
        kept = whole_records(records)
        raw[bit // 8] ^= 1 << bit % 8
        tally.counts["flipped bits"] += 1
        if kept != (RECORDS if byte in free else index):
            tally.wrong.append(f"bit {bit} of the intents was flipped: {kept} were taken for whole")


def torn(work: Work) -> Tally:
    """All of it."""
    tally = Tally()
    for part in (ended_journal, cut_off_journal, torn_journal, intents):
        part(work, tally)
    return tally
