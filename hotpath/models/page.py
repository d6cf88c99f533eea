"""The models segment: two slots, a generation, and who writes it.

    image + parts --pieces--> ring `models` --> journal      then: slot, generation + 1 --> loader of the signal stage

A slot is a models_deck and the images that it names. It is written whole into the place that is not in force, and only
then named; a writer killed half-way leaves the old generation standing. Images are content-addressed: the journal has
each once a run, in pieces of CACHE_LINE_SIZE bytes, and each generation as one event that names them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.config import Config
from hotpath.errors import JournalError, ModelError, StageError
from hotpath.rings import RingWriter
from hotpath.segments import HEADER_SIZE, Segment
from hotpath.topology import CLOCK_SEGMENT, MODELS_SEGMENT

if TYPE_CHECKING:
    from hotpath.engine import EngineSpec

RING = "models"
PIECE: int = lib.CACHE_LINE_SIZE
CHUNK = 1 << 14  # events read or written at a time
PATIENCE_SECONDS = 10.0  # for the journal to make room
ROLES = ("champion", "challenger", "fallback")
PARTS = ("shadow", "instruments", "size")
REASONS = ("loaded", "shadowed", "canary", "promoted", "rolled back", "dropped", "fell back")
SLOT_HEAD = 4096  # the deck, and room to spare


@dataclass(frozen=True)
class Deck:
    """One generation: who plays which part. Digests of images; 0: nobody."""

    generation: int = 0
    digests: tuple[int, int, int] = (0, 0, 0)
    part: int = 0
    part_ppm: int = 0
    reason: int = 0
    who: str = ""

    def pack(self) -> bytes:
        """Its bytes: a models_deck, checksummed."""
        deck = ffi.new("models_deck *")
        deck.generation, deck.part, deck.part_ppm, deck.reason = self.generation, self.part, self.part_ppm, self.reason
        deck.digest = list(self.digests)
        data = bytes(ffi.buffer(deck))
        deck.checksum = lib.digest_bytes(0, data[8:], len(data) - 8)
        return bytes(ffi.buffer(deck))


def unpack_deck(data: bytes) -> Deck:
    """Raises JournalError for what is no deck."""
    size = ffi.sizeof("models_deck")
    deck = ffi.new("models_deck *")
    ffi.memmove(deck, data[:size], size)
    if deck.checksum != lib.digest_bytes(0, data[8:size], size - 8):
        raise JournalError("a generation of the models is damaged: its checksum differs")
    digests = (int(deck.digest[0]), int(deck.digest[1]), int(deck.digest[2]))
    who = data[size:PIECE].rstrip(b"\0").decode(errors="replace")
    return Deck(int(deck.generation), digests, int(deck.part), int(deck.part_ppm), int(deck.reason), who)


@dataclass
class Generation:
    """A deck with the images that it names."""

    deck: Deck
    images: dict[int, bytes] = field(default_factory=dict)  # by digest


def image_digest(image: bytes) -> int:
    """By which an image is known."""
    return int(ffi.cast("model_plan *", ffi.from_buffer(image)).digest)


def _slot_bytes(config: Config) -> int:
    return SLOT_HEAD + config.models.room_mib * (1 << 20)


def models_segment_bytes(config: Config) -> int:
    """Bytes of the whole segment."""
    return int(HEADER_SIZE + _page_bytes() + 2 * _slot_bytes(config))


def _page_bytes() -> int:
    return -(-int(ffi.sizeof("models_page")) // PIECE) * PIECE


def prepare_models(segment: Segment, config: Config) -> None:
    """Lay out a new segment: generation 0, no model."""
    page = segment.cast("models_page *")
    page.slot_bytes = _slot_bytes(config)
    for index in range(2):
        page.slot_offset[index] = _page_bytes() + index * int(page.slot_bytes)


def _slot(segment: Segment, index: int) -> Any:
    page = segment.cast("models_page *")
    return segment.cast("uint8_t *", HEADER_SIZE + int(page.slot_offset[index]))


def read_generation(segment: Segment) -> Generation:
    """What the page names, in memory of the caller's own; looked at again where a writer was faster."""
    page = segment.cast("models_page *")
    for _ in range(1000):
        generation = int(page.generation)
        if not generation:
            return Generation(Deck())
        found = read_slot(segment, generation)
        if found is not None and int(page.generation) == generation:
            return found
        time.sleep(0.0005)
    raise StageError("the models in shared memory are damaged", next_step="kill the engine, and start it again")


def read_slot(segment: Segment, generation: int) -> Generation | None:
    """A generation that still lies in its slot: that in force, mostly the one before; None when it does not."""
    page, index = segment.cast("models_page *"), generation & 1
    slot = _slot(segment, index)
    try:
        deck = unpack_deck(bytes(ffi.buffer(slot, PIECE)))
    except JournalError:
        return None
    found = Generation(deck)
    for role in range(lib.MODEL_ROLES):
        offset, size = int(page.image_offset[index][role]), int(page.image_bytes[index][role])
        if offset and deck.digests[role] and offset + size <= page.slot_bytes:
            found.images[deck.digests[role]] = bytes(ffi.buffer(slot + offset, size))
    return found if deck.generation == generation and _is_whole(found) else None


def _is_whole(generation: Generation) -> bool:
    for digest in filter(None, generation.deck.digests):
        image = generation.images.get(digest, b"")
        if len(image) < ffi.sizeof("model_plan") or lib.scorer_digest(ffi.from_buffer(image), len(image)) != digest:
            return False
    return True


class ModelsWriter:
    """The one writer of a running engine's models: whoever has the desk's lock."""

    def __init__(self, engine: str, *, journaled: bool, run_epoch: int | None = None) -> None:
        """`journaled`: whether the run keeps a journal, which must have each generation before it is in force."""
        attach = segments.attach
        self.segment = attach(engine, MODELS_SEGMENT, lib.SEGMENT_MODELS, writable=True, run_epoch=run_epoch)
        self._clock = attach(engine, CLOCK_SEGMENT, lib.SEGMENT_CLOCK, run_epoch=run_epoch)
        self._ring = RingWriter(engine, RING, gates=("journal",) if journaled else (), run_epoch=run_epoch)
        self._journaled = journaled
        self.standing = read_generation(self.segment)
        ring = attach(engine, RING, lib.SEGMENT_RING, run_epoch=run_epoch)
        self._last = max(self.standing.deck.generation, self._last_logged(ring))
        self._written = set(self.standing.images)  # images that the journal has for certain

    def _last_logged(self, ring: Segment) -> int:
        """The generation of the last event in the ring: a predecessor may have died between log and page."""
        if not self._ring.next_sequence:
            return 0
        slots = ring.view("model_change", offset=lib.RING_SLOTS_OFFSET, count=ring.info.capacity)
        return int(slots["generation"][(self._ring.next_sequence - 1) % ring.info.capacity])

    def publish(self, deck: Deck, images: dict[int, bytes]) -> int:
        """Put a deck in force with the images that it names. Returns its generation.

        Raises StageError when the journal makes no room, ModelError when they do not fit: nothing is changed then.
        """
        named = {digest: images[digest] for digest in deck.digests if digest}
        page = self.segment.cast("models_page *")
        room = SLOT_HEAD + sum(-(-len(image) // PIECE) * PIECE for image in named.values())
        if room > page.slot_bytes:
            raise ModelError(
                f"these models take {room >> 20} MiB; the engine has room for {int(page.slot_bytes) >> 20}",
                next_step="start it with a larger models.room_mib",
            )
        self._last += 1
        whole = Deck(self._last, deck.digests, deck.part, deck.part_ppm, deck.reason, deck.who)
        for digest, image in named.items():
            if digest not in self._written:
                self._log(_pieces(image, digest, whole.generation))
                self._written.add(digest)
        self._log(_generation_event(whole))
        self._put(page, whole, named)
        self.standing = Generation(whole, named)
        return whole.generation

    def _put(self, page: Any, deck: Deck, named: dict[int, bytes]) -> None:
        index = deck.generation & 1
        slot, offset = _slot(self.segment, index), SLOT_HEAD
        places: dict[int, int] = {}
        for digest, image in named.items():
            ffi.memmove(slot + offset, image, len(image))
            places[digest] = offset
            offset += -(-len(image) // PIECE) * PIECE
        for role, digest in enumerate(deck.digests):
            page.image_offset[index][role] = places.get(digest, 0)
            page.image_bytes[index][role] = len(named[digest]) if digest else 0
        data = deck.pack()
        ffi.memmove(slot, data, len(data))
        lib.models_publish(page, deck.generation)

    def _log(self, events: npt.NDArray[Any]) -> None:
        header = events["header"]
        header["instrument"] = lib.NO_INSTRUMENT
        header["origin_time_ns"] = header["publish_time_ns"] = int(lib.clock_now(self._clock.cast("clock_page *")))
        done, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        while done < len(events):
            count = self._ring.publish(events[done : done + CHUNK])
            done += count
            if count:
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() > deadline:
                raise StageError(
                    "models: nothing is changed: the journal has not taken what was changed before",
                    next_step="hotpath stat shows how far it is behind; then try again",
                )
            else:
                time.sleep(0.0005)


def _pieces(image: bytes, digest: int, generation: int) -> npt.NDArray[Any]:
    padded = image + bytes(-len(image) % PIECE)
    rows = np.frombuffer(padded, np.uint8).reshape(-1, PIECE)
    events = np.zeros(len(rows), dtype_of("model_change"))
    events["header"]["type"] = lib.CTL_MODEL_BYTES
    events["digest"], events["generation"] = digest, generation
    events["offset"], events["bytes"] = np.arange(len(rows)) * PIECE, rows
    return events


def _generation_event(deck: Deck) -> npt.NDArray[Any]:
    events = np.zeros(1, dtype_of("model_change"))
    events["header"]["type"] = lib.CTL_MODELS
    events["generation"] = deck.generation
    data = (deck.pack() + deck.who.encode()[: PIECE - ffi.sizeof("models_deck")]).ljust(PIECE, b"\0")
    events["bytes"] = np.frombuffer(data, np.uint8)
    return events


class Events(Protocol):
    """Where recorded events come from: at least one from `begin` on, at most up to `end`."""

    def __call__(self, begin: int, end: int, /) -> npt.NDArray[Any]: ...


class ModelsHistory:
    """The generations of a run's models, from what was recorded."""

    def __init__(self, events: Events, head: Callable[[], int]) -> None:
        """`head()`: how many events of the ring `models` there are."""
        self._events, self._head = events, head
        self._next = 0
        self._images: dict[int, bytearray] = {}
        self.decks: dict[int, Deck] = {}

    def at(self, generation: int) -> Generation:
        """Raises JournalError when it is not on record, or is not what it was."""
        while generation not in self.decks:
            self._fetch(generation)
        deck = self.decks[generation]
        found = Generation(deck, {digest: self._image(digest) for digest in deck.digests if digest})
        if not _is_whole(found):
            raise JournalError(f"the models of generation {generation} are not what was in force: a digest differs")
        return found

    def _image(self, digest: int) -> bytes:
        pieces = self._images.get(digest)
        if pieces is None:
            raise JournalError(f"the model {digest:016x} is not on record")
        size = int(ffi.cast("model_plan *", ffi.from_buffer(pieces)).bytes)
        return bytes(pieces[:size])

    def _fetch(self, generation: int) -> None:
        head = self._head()
        if self._next >= head:
            raise JournalError(f"generation {generation} of the models is not on record")
        events = np.ascontiguousarray(self._events(self._next, min(head, self._next + CHUNK)))
        self._next += len(events)
        is_deck = events["header"]["type"] == lib.CTL_MODELS
        for event in events[is_deck]:
            deck = unpack_deck(event["bytes"].tobytes())
            self.decks[deck.generation] = deck
        pieces = events[~is_deck]
        for digest in np.unique(pieces["digest"]).tolist():
            mine = pieces[pieces["digest"] == digest]
            image = self._images.setdefault(digest, bytearray())
            size = int(mine["offset"].max()) + PIECE
            if len(image) < size:
                image.extend(bytes(size - len(image)))
            rows = np.frombuffer(image, np.uint8).reshape(-1, PIECE)
            rows[mine["offset"] // PIECE] = mine["bytes"]
            del rows


def load_configured(spec: EngineSpec, *, run_epoch: int) -> str:
    """Make models.load the champion of a run that begins. Returns its name and version. Raises ModelError."""
    from hotpath.models.image import describe, read_version

    image = read_version(Path(spec.config.models.load), spec.config, spec.symbols)
    writer = ModelsWriter(spec.name, journaled=spec.journal, run_epoch=run_epoch)
    digest = image_digest(image)
    writer.publish(Deck(digests=(digest, 0, 0), reason=lib.MODEL_REASON_LOADED, who="models.load"), {digest: image})
    return describe(image)
