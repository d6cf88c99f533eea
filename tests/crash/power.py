"""The machine goes down: what a disk may then hold of journal and intents, rebuilt and taken up.

    journal   each write, cut, rename since the last sync is noted --> images: every prefix, sampled subsets of pages
              --> nothing that was synced is missing, nothing is there that was not published; a repair leaves it whole
    intents   as in test_power_loss.py, with more of its images

SIGKILL keeps the page cache; this is what it does not try. Pages reach the disk whole (4,096 bytes) or not at all, in
any order, sizes with them or not; names of a folder in the order of their changes, up to any of them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from hotpath.errors import JournalError
from hotpath.journal import Journal, writer
from hotpath.journal.format import RECORD_BYTES
from hotpath.journal.repair import close_at_last_good
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, Sizes
from tests.crash import test_power_loss as intents
from tests.crash.tally import Tally, Work
from tests.support.journals import RUN_EPOCH, make_folder, random_events

PAGE = 4096
RING = "exec"
SIZES = Sizes(first=512 * RECORD_BYTES, largest=512 * RECORD_BYTES)
STEPS = 40  # appends of the journal's day
EVENTS_OF_A_STEP = (5, 60, 200, 700)  # the last over more than one segment
SYNC_SHARE = 0.4
DEATH_SHARE = 0.15  # of steps after which another process goes on
SUBSETS, QUICK_SUBSETS = 12, 1
PREFIXES, QUICK_PREFIXES = 50, 3  # each of them, where they are not more
INTENT_PREFIXES, INTENT_SUBSETS = 40, 12


@dataclass
class Inode:
    """One file: what is on the disk for certain, and what may be."""

    synced: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    since: list[tuple[str, int, bytes]] = field(default_factory=list)  # ("page", offset, bytes) or ("size", size, b"")

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.now):
            self.now.extend(bytes(end - len(self.now)))
            self.since.append(("size", end, b""))
        self.now[offset:end] = data
        for page in range(offset // PAGE * PAGE, end, PAGE):
            self.since.append(("page", page, bytes(self.now[page : min(page + PAGE, len(self.now))])))

    def truncate(self, size: int) -> None:
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))
        self.since.append(("size", size, b""))

    def sync(self) -> None:
        self.synced, self.since = bytes(self.now), []

    def image(self, kept: list[bool]) -> bytes:
        """What the disk holds when of all that came since the last sync only this did."""
        content = bytearray(self.synced)
        size = len(content)
        for (what, at, data), there in zip(self.since, kept, strict=True):
            if not there:
                continue
            if what == "size":
                size = at
                continue
            content.extend(bytes(max(0, at + len(data) - len(content))))
            content[at : at + len(data)] = data
        return bytes(content[:size]).ljust(size, b"\0")


class Disk:
    """Stands in for ``os`` in the writer: does it all, and notes what was promised to be on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[dict[str, Inode]] = [{}]  # synced, then after each change since
        self._open: dict[int, Inode | None] = {}  # None: the folder

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        if Path(path) == self.folder:
            self._open[descriptor] = None
            return descriptor
        name = Path(path).name
        inode = self.names[-1].get(name)
        if inode is None:
            inode = Inode()
            self.names.append({**self.names[-1], name: inode})
        elif flags & os.O_TRUNC and inode.now:
            inode.truncate(0)
        self._open[descriptor] = inode
        return descriptor

    def _file(self, descriptor: int) -> Inode:
        inode = self._open[descriptor]
        assert inode is not None
        return inode

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        done = os.pwrite(descriptor, data, offset)
        self._file(descriptor).write(offset, bytes(data)[:done])
        return done

    def posix_fallocate(self, descriptor: int, offset: int, size: int) -> None:
        os.posix_fallocate(descriptor, offset, size)
        inode = self._file(descriptor)
        if offset + size > len(inode.now):
            inode.truncate(offset + size)

    def ftruncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)
        self._file(descriptor).truncate(size)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)
        self._file(descriptor).sync()

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)
        inode = self._open[descriptor]
        if inode is not None:
            inode.sync()
        else:
            self.names = self.names[-1:]

    def dup(self, descriptor: int) -> int:
        twin = os.dup(descriptor)
        self._open[twin] = self._open[descriptor]
        return twin

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        os.close(descriptor)

    def rename(self, source: Any, target: Any) -> None:
        os.rename(source, target)
        names = dict(self.names[-1])
        names[Path(target).name] = names.pop(Path(source).name)
        self.names.append(names)

    # ---- images ------------------------------------------------------------------------------------

    def images(self, chance: random.Random, *, prefixes: int, subsets: int) -> Iterator[dict[str, bytes]]:
        """What the folder may hold after a loss now: by name, contents."""
        inodes = list({id(inode): inode for names in self.names for inode in names.values()}.values())
        writes = [(inode, place) for inode in inodes for place in range(len(inode.since))]
        lengths = range(len(writes) + 1)
        for length in lengths if len(lengths) <= prefixes else sorted(chance.sample(lengths, prefixes)):
            yield self._image(chance.choice(self.names), inodes, {(id(i), place) for i, place in writes[:length]})
        for _ in range(subsets):
            share = chance.random()
            kept = {(id(inode), place) for inode, place in writes if chance.random() < share}
            yield self._image(chance.choice(self.names), inodes, kept)

    @staticmethod
    def _image(names: dict[str, Inode], inodes: list[Inode], kept: set[tuple[int, int]]) -> dict[str, bytes]:
        contents = {
            id(inode): inode.image([(id(inode), place) in kept for place in range(len(inode.since))])
            for inode in inodes
        }
        return {name: contents[id(inode)] for name, inode in names.items()}


def judge(folder: Path, image: dict[str, bytes], events: np.ndarray[Any, Any], *, synced: int, published: int) -> str:
    """What does not hold of a folder with these contents."""
    for name, content in image.items():
        (folder / name).write_bytes(content)
    try:
        verdict = verify(folder)
        if verdict.damaged:
            return f"taken for damaged: {[each.what for each in verdict.findings if not each.torn][:2]}"
        good = verdict.rings[RING].events if RING in verdict.rings else 0
        if not synced <= good <= published:
            return f"{synced} were synced, {published} published, {good} are good"
        if RING in verdict.rings:
            close_at_last_good(folder)
            if verify(folder).findings:
                return f"after a repair: {verify(folder).findings[:1]}"
            kept = np.array(Journal(folder).events(RING))
            if len(kept) != good or kept["price_ticks"].tolist() != events["price_ticks"][:good].tolist():
                return f"after a repair {len(kept)} events of {good}"
    except JournalError as error:
        return f"cannot be read: {error}"
    return ""


def journal_losses(work: Work, tally: Tally) -> None:
    """A day of appends and syncs, with a loss after each."""
    chance = work.chance("power journal")
    folder = make_folder(work.folder / "journal")
    events = random_events(RING, STEPS * max(EVENTS_OF_A_STEP), seed=work.seed)
    disk = Disk(folder)
    prefixes, subsets = (QUICK_PREFIXES, QUICK_SUBSETS) if work.quick else (PREFIXES, SUBSETS)
    synced = 0
    made = RingWriter(folder, RING, run_epoch=RUN_EPOCH, sizes=SIZES)
    for step in range(STEPS // 4 if work.quick else STEPS):
        with patch.object(writer, "os", disk):
            count = chance.choice(EVENTS_OF_A_STEP)
            made.append(events[made.next : made.next + count].copy(), made.next)
            if chance.random() < SYNC_SHARE:
                made.sync()
                synced = made.next
            if chance.random() < DEATH_SHARE:
                made = RingWriter(folder, RING, run_epoch=RUN_EPOCH, sizes=SIZES)
                made.resume()
        for number, image in enumerate(disk.images(chance, prefixes=prefixes, subsets=subsets)):
            place = make_folder(work.folder / "image")
            wrong = judge(place, image, events, synced=synced, published=made.next)
            tally.counts["journal images"] += 1
            if wrong:
                tally.wrong.append(f"journal, step {step}, image {number}: {wrong}")
            shutil.rmtree(place)
        work.say(f"{tally.counts['journal images']} images of a journal")


def intent_losses(work: Work, tally: Tally) -> None:
    """The day of test_power_loss.py, both durabilities."""
    for durability in ("process", "power"):
        chance = work.chance(f"power intents {durability}")
        prefixes, subsets = (1, 1) if work.quick else (INTENT_PREFIXES, INTENT_SUBSETS)
        for moment, loss in enumerate(intents.losses(work.folder / durability, durability)):
            for number, image in enumerate(intents.images(loss, chance, prefixes=prefixes, subsets=subsets)):
                folder = work.folder / f"{durability}-{moment}-{number}"
                boot = intents.NextBoot(folder, image, loss, durability)
                try:
                    boot.recover()
                    intents.check(boot)
                    if durability == "power" and boot.world.counter("ADOPTED"):
                        raise AssertionError("an order left that was not on disk")
                except AssertionError as error:
                    tally.wrong.append(f"intents, {durability}, moment {moment}, image {number}: {error}")
                finally:
                    boot.close()
                    shutil.rmtree(folder)
                tally.counts["intent images"] += 1
            loss.venue.close()
        work.say(f"{tally.counts['intent images']} images of intents")


def power(work: Work) -> Tally:
    """Journal and intents."""
    tally = Tally()
    journal_losses(work, tally)
    intent_losses(work, tally)
    return tally
