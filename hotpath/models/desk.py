"""The desk at which the models of a running engine are changed: by people, by the control plane, by the supervisor.

    lock -> read the generation in force -> new deck -> image on disk -> journal -> shared memory -> taken by signal

    load      an image becomes the champion; its predecessor rests as the fallback, or is let go (fallback = "flat")
    shadow    an image looks on: its decisions are recorded and compared, never traded
    canary    the challenger trades a fraction of the instruments, or of the size
    promote   the challenger becomes the champion
    rollback  the champion of before comes back
    drop      the challenger goes

Images and what was done lie in state_dir: ENGINE.models/DIGEST.image, ENGINE.models/history.jsonl.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.errors import ModelError
from hotpath.models.image import check_image, describe
from hotpath.models.page import PARTS, REASONS, ROLES, Deck, ModelsWriter, image_digest, read_generation
from hotpath.topology import INSTRUMENTS_SEGMENT, MODELS_SEGMENT, MODELS_WATCH_SEGMENT

TAKE_SECONDS = 5.0
MASK: int = lib.MODEL_GENERATION_MASK
TRIPS = ("", "latency", "nan", "drift")
PPM = 1_000_000


class HistoryLine(Struct):
    """One change."""

    run_epoch: int
    generation: int
    time_ns: int
    reason: str
    digests: tuple[str, str, str]
    part: str
    part_ppm: int
    who: str
    why: str


class RoleStatus(Struct):
    """How one model of the engine fares."""

    role: str
    digest: str
    model: str
    failed: str  # latency, nan, drift; empty: it has not
    runs: int
    abstained: int
    nan: int
    over_budget: int
    latency_mean_ns: int
    latency_max_ns: int
    wishes: int
    compared: int
    agreed: int


class ModelsStatus(Struct):
    """The models of an engine."""

    engine: str
    generation: int
    taken: int  # by the signal stage
    reason: str
    who: str
    part: str
    part_ppm: int
    swaps: int
    roles: list[RoleStatus]


@dataclass(frozen=True, slots=True)
class ModelChange:
    """What a change did."""

    generation: int
    is_taken: bool  # the signal stage had it within the desk's patience
    champion: str
    challenger: str
    fallback: str


class ModelDesk:
    """The models of one running engine. `state_dir` is the engine's own."""

    def __init__(self, engine: str, *, state_dir: str | Path, patience_seconds: float = TAKE_SECONDS) -> None:
        """Raises SegmentMissingError when no engine of this name runs, or none that models may be loaded into."""
        self.engine = engine
        self.folder = Path(state_dir) / f"{engine}.models"
        self.patience_seconds = patience_seconds
        self._segment = segments.attach(engine, MODELS_SEGMENT, lib.SEGMENT_MODELS)
        self.run_epoch = self._segment.info.run_epoch
        self._watch = segments.attach(engine, MODELS_WATCH_SEGMENT, lib.SEGMENT_MODELS_WATCH, run_epoch=self.run_epoch)
        self._journaled = any(each.segment == "side.journal" for each in segments.list_segments(engine))
        table = segments.attach(engine, INSTRUMENTS_SEGMENT, lib.SEGMENT_INSTRUMENTS, run_epoch=self.run_epoch)
        names = table.view(dtype_of("instrument_entry"), count=table.info.capacity)["symbol"]
        self.symbols = [bytes(each).rstrip(b"\0").decode() for each in names]
        self._writer: ModelsWriter | None = None

    # ---- verbs -------------------------------------------------------------------------------------

    def load(
        self, image: bytes, *, who: str, why: str, fallback: bytes | None = None, keep_previous: bool = True
    ) -> ModelChange:
        """Make it the champion. `fallback` takes its place when it fails; else its predecessor, or nobody."""
        with self._locked() as deck:
            resting = image_digest(fallback) if fallback else (deck.digests[0] if keep_previous else 0)
            images = {image_digest(each): each for each in (image, fallback) if each}
            digest = image_digest(image)
            wanted = replace(deck, digests=(digest, _other(deck.digests[1], digest), _other(resting, digest)))
            return self._put(wanted, images, lib.MODEL_REASON_LOADED, who=who, why=why)

    def shadow(self, image: bytes, *, who: str, why: str) -> ModelChange:
        """Let it look on."""
        with self._locked() as deck:
            digest = self._challenger(deck, image)
            wanted = replace(deck, digests=(deck.digests[0], digest, deck.digests[2]), part=0, part_ppm=0)
            return self._put(wanted, {digest: image}, lib.MODEL_REASON_SHADOWED, who=who, why=why)

    def canary(
        self, fraction: float, *, by: str = "instruments", who: str, why: str, image: bytes | None = None
    ) -> ModelChange:
        """Let the challenger (or this image, as it) trade a fraction of the instruments, or of the size."""
        if not 0 < fraction <= 1 or by not in PARTS[1:]:
            raise ModelError(f"a canary of {fraction:g} by {by}: a fraction in (0, 1], by instruments or size")
        with self._locked() as deck:
            digest = self._challenger(deck, image) if image else deck.digests[1]
            if not digest:
                raise ModelError("there is no challenger", next_step="hotpath model shadow CONFIG FOLDER comes first")
            if by == "size" and not deck.digests[0]:
                raise ModelError("there is no champion of whose size it could trade a part")
            digests = (deck.digests[0], digest, deck.digests[2])
            wanted = replace(deck, digests=digests, part=PARTS.index(by), part_ppm=round(fraction * PPM))
            return self._put(wanted, {digest: image} if image else {}, lib.MODEL_REASON_CANARY, who=who, why=why)

    def promote(self, *, who: str, why: str, keep_previous: bool = True) -> ModelChange:
        """The challenger becomes the champion."""
        with self._locked() as deck:
            champion, challenger, _ = deck.digests
            if not challenger:
                raise ModelError("there is no challenger to promote", next_step="hotpath model shadow comes first")
            wanted = Deck(digests=(challenger, 0, champion if keep_previous else 0))
            return self._put(wanted, {}, lib.MODEL_REASON_PROMOTED, who=who, why=why)

    def rollback(self, *, who: str, why: str) -> ModelChange:
        """The champion of before comes back; the present one and any challenger go."""
        with self._locked() as deck:
            before = self._champion_before(deck.digests[0])
            if not before:
                raise ModelError("there was no other champion in this run", next_step="hotpath model load names one")
            return self._put(Deck(digests=(before, 0, 0)), {}, lib.MODEL_REASON_ROLLED_BACK, who=who, why=why)

    def drop(self, *, who: str, why: str) -> ModelChange:
        """The challenger goes."""
        with self._locked() as deck:
            if not deck.digests[1]:
                raise ModelError("there is no challenger")
            wanted = Deck(digests=(deck.digests[0], 0, deck.digests[2]))
            return self._put(wanted, {}, lib.MODEL_REASON_DROPPED, who=who, why=why)

    # ---- looking -----------------------------------------------------------------------------------

    def status(self) -> ModelsStatus:
        """As it is now."""
        generation = read_generation(self._segment)
        deck, watch = generation.deck, self._watch.cast("models_watch *")
        failed = int(watch.generation) >> lib.MODEL_TRIP_SHIFT
        roles = []
        for index, digest in enumerate(deck.digests):
            if digest:
                cause = TRIPS[int(watch.trip_cause[index])] if failed >> index & 1 else ""
                roles.append(
                    _role_status(watch.health[index], index, describe(generation.images[digest]), digest, cause)
                )
        return ModelsStatus(
            engine=self.engine,
            generation=deck.generation,
            taken=int(watch.generation) & MASK,
            reason=REASONS[deck.reason] if deck.generation else "no model",
            who=self._who(deck.generation),
            part=PARTS[deck.part],
            part_ppm=deck.part_ppm,
            swaps=int(watch.swaps),
            roles=roles,
        )

    def _who(self, generation: int) -> str:
        mine = [line.who for line in self.history() if line.generation == generation]
        return mine[-1] if mine else ""

    def history(self) -> list[HistoryLine]:
        """Every change of this run, oldest first."""
        try:
            lines = (self.folder / "history.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = [msgspec.json.decode(line, type=HistoryLine) for line in lines]
        return [line for line in found if line.run_epoch == self.run_epoch]

    # ---- one change --------------------------------------------------------------------------------

    def _challenger(self, deck: Deck, image: bytes) -> int:
        digest = image_digest(image)
        if digest == deck.digests[0]:
            raise ModelError("this is the champion itself: it cannot challenge itself")
        return digest

    def _champion_before(self, digest: int) -> int:
        for line in reversed(self.history()):
            champion = int(line.digests[0], 16)
            if champion and champion != digest and self._image_path(champion).exists():
                return champion
        return 0

    def _put(self, deck: Deck, images: dict[int, bytes], reason: int, *, who: str, why: str) -> ModelChange:
        for image in images.values():
            check_image(image, describe(image))
        writer = self._of_lock()
        known = {**writer.standing.images, **images}
        for digest in filter(None, deck.digests):
            known[digest] = known.get(digest) or self._stored(digest)
            self._store(digest, known[digest])
        generation = writer.publish(replace(deck, reason=reason, who=who), known)
        self._note(replace(deck, generation=generation, reason=reason), who=who, why=why)
        names = [describe(known[digest]) if digest else "" for digest in deck.digests]
        return ModelChange(generation, self._wait(generation), *names)

    def _wait(self, generation: int) -> bool:
        """Whether the signal stage has taken it."""
        watch = self._watch.cast("models_watch *")
        deadline = time.monotonic() + self.patience_seconds
        while int(watch.generation) & MASK != generation:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def _image_path(self, digest: int) -> Path:
        return self.folder / f"{digest:016x}.image"

    def _stored(self, digest: int) -> bytes:
        try:
            return self._image_path(digest).read_bytes()
        except OSError as error:
            raise ModelError(f"{self._image_path(digest)}: {error.strerror}") from None

    def _store(self, digest: int, image: bytes) -> None:
        path = self._image_path(digest)
        if path.exists():
            return
        draft = path.with_suffix(".draft")
        draft.write_bytes(image)
        draft.rename(path)

    def _note(self, deck: Deck, *, who: str, why: str) -> None:
        a, b, c = (f"{digest:016x}" for digest in deck.digests)
        line = HistoryLine(
            run_epoch=self.run_epoch,
            generation=deck.generation,
            time_ns=time.time_ns(),
            reason=REASONS[deck.reason],
            digests=(a, b, c),
            part=PARTS[deck.part],
            part_ppm=deck.part_ppm,
            who=who,
            why=why,
        )
        with (self.folder / "history.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    def _of_lock(self) -> ModelsWriter:
        """What writes the next generation: others may have written the last one."""
        standing = int(self._segment.cast("models_page *").generation)
        if self._writer is None or self._writer.standing.deck.generation != standing:
            self._writer = ModelsWriter(self.engine, journaled=self._journaled, run_epoch=self.run_epoch)
        return self._writer

    @contextmanager
    def _locked(self) -> Iterator[Deck]:
        """Let no other process change models; the deck in force."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            standing = self._of_lock().standing
            for digest, image in standing.images.items():  # of models.load, which no desk has seen
                self._store(digest, image)
            if standing.deck.generation and not self.history():
                self._note(standing.deck, who="models.load", why="the configuration")
            yield standing.deck
        finally:
            os.close(descriptor)


def _other(digest: int, than: int) -> int:
    return 0 if digest == than else digest


def _role_status(health: Any, role: int, model: str, digest: int, failed: str) -> RoleStatus:
    runs = int(health.runs)
    return RoleStatus(
        role=ROLES[role],
        digest=f"{digest:016x}",
        model=model,
        failed=failed,
        runs=runs,
        abstained=int(health.abstained),
        nan=int(health.nan),
        over_budget=int(health.over_budget),
        latency_mean_ns=int(health.latency_sum_ns) // max(1, runs),
        latency_max_ns=int(health.latency_max_ns),
        wishes=int(health.wishes),
        compared=int(health.compared),
        agreed=int(health.agreed),
    )
