"""Is a journal whole? Every checksum, every hash, every count, and what does not agree, by file and sequence.

Two kinds of findings. A *torn* end is what a crash may leave: records or an entry of the chain that were being
written. *Damage* is everything else: a record, hash, head or file that was whole once, or should be there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ffi import ffi, lib
from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.format import BLOCK_RECORDS, HEAD_BYTES, RECORD_BYTES, RingEnd
from hotpath.journal.reader import Journal, Segment

PAGE_BYTES = 4096  # what a loss of power leaves whole or not at all
READ_BYTES = 256 * layout.BLOCK_BYTES


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    ring: str
    file: str
    what: str
    torn: bool = False  # what a crash may leave, and no damage


@dataclass
class RingVerdict:
    """What was found of one ring."""

    events: int = 0  # good ones, up to the first that is not
    segments: int = 0
    lost: int = 0
    retired_before: int = 0  # sequence before which segments were removed
    chain: str = ""  # last value
    findings: list[Finding] = field(default_factory=list)


@dataclass
class Verdict:
    """What was found of a whole journal."""

    folder: str
    ended: bool
    rings: dict[str, RingVerdict] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        """All of them, ring by ring."""
        return [finding for ring in self.rings.values() for finding in ring.findings]

    @property
    def damaged(self) -> bool:
        """Whether something is wrong that no crash explains."""
        return any(not finding.torn for finding in self.findings)

    @property
    def events(self) -> int:
        """Good events of all rings."""
        return sum(ring.events for ring in self.rings.values())


def verify(folder: Path, *, progress: Callable[[int], None] = lambda _bytes: None) -> Verdict:
    """Read everything. Raises JournalError when the folder holds no journal at all.

    `progress` is told how many bytes were read.
    """
    journal, broken = _open(folder)
    verdict = Verdict(str(folder), journal.ended)
    missing: dict[str, list[int]] = {}  # first sequences of segments whose heads no disk has seen
    for path, finding in broken:
        verdict.rings.setdefault(finding.ring, RingVerdict()).findings.append(finding)
        if finding.torn:
            missing.setdefault(finding.ring, []).append(int(path.name.split(".")[-2]))
    for ring in journal.rings:
        found = verdict.rings.setdefault(ring, RingVerdict())
        _verify_ring(journal, ring, found, progress, missing=missing.get(ring, []))
    for ring, end in (journal.end.rings if journal.end else {}).items():
        found = verdict.rings.setdefault(ring, RingVerdict(chain=layout.chain_seed(folder, ring).hex()))
        _compare_end(ring, end, found)
    return verdict


def _open(folder: Path) -> tuple[Journal, list[tuple[Path, Finding]]]:
    """The journal without the segments whose heads cannot be read, and what is wrong with those."""
    broken = []
    ended = (folder / layout.END_FILE).exists()
    for ring, paths in layout.segment_files(folder).items():
        for path in paths.values():
            try:
                layout.read_head(path)
            except JournalError as error:
                what = str(error).removeprefix(f"{path}: ")
                torn = not ended and not any(_first_bytes(path))
                if torn:
                    what = "its head was not yet on the disk"
                broken.append((path, Finding(ring, path.name, what, torn)))
    return Journal(folder, without={path.name for path, _ in broken}), broken


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _verify_ring(
    journal: Journal, ring: str, found: RingVerdict, progress: Callable[[int], None], *, missing: list[int]
) -> None:
    segments = journal.segments(ring)
    chain = layout.chain_seed(journal.folder, ring)
    sequence = segments[0].first - segments[0].head.lost_before if segments else 0
    found.retired_before = sequence
    prefix = True  # nothing was wrong with the records so far
    torn = False  # the disk had not seen all of a segment before this one
    for index, segment in enumerate(segments):

        def report(what: str, *, torn: bool = False, file: str = segment.path.name) -> None:
            found.findings.append(Finding(ring, file, what, torn))

        if torn or any(first <= segment.first for first in missing):
            report("follows what was not yet on the disk", torn=True)
            continue
        head = segment.head
        if head.ring != ring or head.first_sequence != int(segment.path.name.removeprefix(f"{ring}.").split(".")[0]):
            report(f"its head says {head.ring} from {head.first_sequence}")
        if segment.first - head.lost_before != sequence:
            report(f"begins at {segment.first}, the one before ends at {sequence} and no loss was recorded")
            prefix = False
        if head.chain_before != chain and (index or not sequence):
            report("does not continue the chain" if index else "its chain does not begin with this run's hashes")
        last = index == len(segments) - 1
        walk = _Walk(segment, may_be_torn=not journal.ended, report=report, progress=progress)
        chain = walk.run(head.chain_before)
        found.events += walk.good if prefix else 0
        prefix &= not walk.stopped
        found.lost += head.lost_before
        found.segments += 1
        sequence = segment.first + walk.good
        torn = walk.stopped and not any(not each.torn for each in found.findings)
        if walk.stopped and not torn and not last:
            report(f"{len(segments) - 1 - index} later segments cannot be tied to it")
    found.chain = chain.hex()


class _Walk:
    """Through the records of one segment and its chain, side by side."""

    def __init__(
        self, segment: Segment, *, may_be_torn: bool, report: Callable[..., None], progress: Callable[[int], None]
    ) -> None:
        self.good = 0
        self.stopped = False
        self._segment = segment
        self._torn = may_be_torn
        self._report = report
        self._progress = progress
        self._entries = layout.read_chain(layout.chain_path(segment.path))
        self._checked = 0  # entries

    def run(self, chain: bytes) -> bytes:
        """Every record and every block; returns the last value of the chain."""
        covered = 0 if self._torn else int(self._entries["count"].sum())
        for data in self._pieces():
            self._progress(len(data))
            records = len(data) // RECORD_BYTES
            first = self._segment.first + self.good
            good = int(lib.journal_valid(ffi.from_buffer(data), first, records))
            for begin in range(0, good, BLOCK_RECORDS):
                block = memoryview(data)[begin * RECORD_BYTES : min(begin + BLOCK_RECORDS, good) * RECORD_BYTES]
                chain = self._check_block(block, chain, first + begin)
            self.good += good
            if good < records or len(data) % RECORD_BYTES:
                self.stopped = True
                self._explain(memoryview(data)[good * RECORD_BYTES :], first + good)
                break
        if self.good < covered and not self.stopped:
            self._report(f"{covered} records stand in the chain, {self.good} are left")
        elif self._checked < len(self._entries) and not self.stopped and not self._torn:
            self._report("the chain has entries of records that are not there")
        return chain

    def _pieces(self) -> Any:
        """The records, a few megabytes at a time. Raises nothing: what cannot be unpacked is reported."""
        if self._segment.compressed:
            try:
                data = self._segment.raw().tobytes()
            except JournalError as error:
                self._report(str(error))
                self.stopped = True
                return
            yield from (data[at : at + READ_BYTES] for at in range(0, len(data), READ_BYTES))
            return
        with self._segment.path.open("rb") as file:
            file.seek(HEAD_BYTES)
            while data := file.read(READ_BYTES):
                yield data

    def _check_block(self, block: memoryview, chain: bytes, first: int) -> bytes:
        digest = hashlib.sha256(block).digest()
        value = hashlib.sha256(chain + digest).digest()
        count = len(block) // RECORD_BYTES
        if self._checked >= len(self._entries):
            if count == BLOCK_RECORDS and not self._torn:
                self._report(f"block of sequence {first} is missing in the chain")
            elif not self._torn:
                self._report(f"its last {count} records are missing in the chain")
            return value
        entry = self._entries[self._checked]
        self._checked += 1
        if self._torn and int(entry["count"]) > count:
            return value  # synced before its records were
        if int(entry["first_sequence"]) != first or int(entry["count"]) > count:
            self._report(f"block {self._checked - 1} of the chain is {entry['first_sequence']}+{entry['count']}")
        elif int(entry["count"]) < count:
            self._report(f"the chain ends at {first + int(entry['count'])}, the records go on")
        elif entry["block_hash"].tobytes() != digest:
            self._report(f"block of sequence {first}: its hash is not that of its records")
        elif entry["chain_hash"].tobytes() != value:
            self._report(f"block of sequence {first}: its chain value does not follow from the one before")
        return value

    def _explain(self, rest: memoryview, first: int) -> None:
        """The record of sequence `first` is not good: torn by a crash, or damaged?"""
        if not np.frombuffer(rest, np.uint8).any():
            if not self._torn:
                self._report(f"ends at {first} with zeros: it was not closed")
            return
        records = len(rest) // RECORD_BYTES
        later = int(lib.journal_count_valid(ffi.from_buffer(rest), first, records))
        place = (first - self._segment.first) * RECORD_BYTES % PAGE_BYTES
        unwritten = not np.frombuffer(rest[: PAGE_BYTES - place], np.uint8).any()
        if self._torn and not later:
            self._report(f"torn at {first}: the record was being written", torn=True)
        elif self._torn and unwritten:
            self._report(f"torn at {first}: its page was not yet on the disk, {later:,} later records were", torn=True)
        else:
            self._report(f"record {first} is damaged; {later:,} good ones follow it in its piece")


def _compare_end(ring: str, end: RingEnd, found: RingVerdict) -> None:
    def report(what: str) -> None:
        found.findings.append(Finding(ring, layout.END_FILE, what))

    if found.retired_before:
        if end.chain != found.chain:
            report("its chain is another one")
        return
    if end.events != found.events:
        report(f"{end.events} events were written, {found.events} are left")
    elif end.chain != found.chain:
        report("its chain is another one")
    if end.lost != found.lost:
        report(f"{end.lost} events were lost, the segments tell of {found.lost}")
