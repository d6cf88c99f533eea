"""Models in the memory of the process that runs them: checked, bound, and handed over by one pointer.

    slot in shared memory --copy, check--> scorer_model --> scorer_deck --> scorer.next      a thread, off the hot core
    generation of a turn record --the same--> scorer.next                                    recovery, replay

A deck is handed over only when the stage has taken the one before: so what each model remembers follows from the decks
that were in force, and a replay that goes through the same decks finds the same.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from hotpath.errors import JournalError, StageError
from hotpath.models.page import Deck, Generation, ModelsHistory, read_generation
from hotpath.segments import Segment

ALIGN = 64
LOOK_SECONDS = 0.002  # between two looks at the page
MASK: int = lib.MODEL_GENERATION_MASK
FALLBACK: int = lib.MODEL_FALLBACK


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Zeroed and faulted-in bytes on a cache line; the array owns them."""
    room = np.zeros(size + ALIGN, np.uint8)
    room[::4096] = 0
    start = -room.ctypes.data % ALIGN
    return room[start : start + size]


@dataclass
class Loaded:
    """One model with all memory that C points to."""

    digest: int
    model: Any  # scorer_model *
    owners: list[Any]
    state: npt.NDArray[np.uint8]


@dataclass
class BoundDeck:
    """A deck as the stage takes it."""

    deck: Deck
    c: Any  # scorer_deck *
    models: list[Loaded | None]


class Loader:
    """The models of one signal stage."""

    def __init__(self, scorer: Any, *, instruments: int) -> None:
        self._scorer = scorer
        self._instruments = instruments
        self._current: BoundDeck | None = None  # taken by the stage, or about to be
        self._before: BoundDeck | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.error = ""

    # ---- one deck ----------------------------------------------------------------------------------

    def hand_over(self, generation: Generation) -> None:
        """Let the stage take this generation next. It must have taken the one before. Raises StageError."""
        bound = self._bind(generation)
        self._before, self._current = self._current, bound
        lib.scorer_offer(self._scorer, bound.c)

    @property
    def is_taken(self) -> bool:
        """Whether the stage has what was handed over last."""
        return self._current is None or int(self._scorer.taken) == self._current.deck.generation

    def let_go(self) -> None:
        """Of the memory of a deck that the stage has left. A state that was carried on belongs to who has it now."""
        if self._before is None or self._current is None:
            return
        decks = (self._before, self._current)
        states = {each.state.ctypes.data: each.state for deck in decks for each in deck.models if each is not None}
        for loaded in filter(None, self._current.models):
            loaded.state = states[int(ffi.cast("uintptr_t", loaded.model.state))]
        self._before = None

    def _bind(self, generation: Generation) -> BoundDeck:
        deck = generation.deck
        c = ffi.new("scorer_deck *")
        c.generation, c.part, c.part_ppm = deck.generation, deck.part, deck.part_ppm
        models: list[Loaded | None] = []
        for role, digest in enumerate(deck.digests):
            loaded = self._known(role, digest) or self._load(generation.images[digest]) if digest else None
            models.append(loaded)
            c.role[role] = loaded.model if loaded else ffi.NULL
        return BoundDeck(deck, c, models)

    def _known(self, role: int, digest: int) -> Loaded | None:
        """The model itself where it stays at work. A fallback rests, and begins anew when it is wanted."""
        for before, loaded in enumerate(self._current.models if self._current else ()):
            if loaded is not None and loaded.digest == digest and (role != FALLBACK or before == FALLBACK):
                return loaded
        return None

    def _load(self, image: bytes) -> Loaded:
        own = aligned(len(image))
        own[:] = np.frombuffer(image, np.uint8)
        model = ffi.new("scorer_model *")
        status = lib.scorer_load(model, ffi.from_buffer(own), len(image))
        if status != lib.SCORER_OK:
            raise StageError(f"signal: a model is none (scorer status {status})", next_step="load another one")
        floats = [aligned(4 * max(int(count), 1)) for count in self._counts(model)]
        scratch, inputs, outputs = (ffi.from_buffer("float[]", each) for each in floats)
        lib.model_bind(ffi.addressof(model, "native"), scratch)
        model.inputs, model.outputs = inputs, outputs
        state = aligned(int(model.stride) * self._instruments)
        model.state = ffi.from_buffer("uint8_t[]", state)
        lib.scorer_reset(model, self._instruments)
        return Loaded(int(model.digest), model, [own, *floats], state)

    @staticmethod
    def _counts(model: Any) -> tuple[int, int, int]:
        native = model.native
        return native.scratch_count, native.input_count, native.output_count

    # ---- of a running engine -----------------------------------------------------------------------

    def first(self, page: Segment) -> None:
        """Whatever the page names before the stage's first turn."""
        generation = read_generation(page)
        if generation.deck.generation:
            self.hand_over(generation)

    def follow(self, page: Segment) -> None:
        """Begin to take up what the desk writes, in a thread of this process that keeps off its processor."""
        self._thread = threading.Thread(target=self._follow, args=(page,), name="models", daemon=True)
        self._thread.start()

    def _follow(self, page: Segment) -> None:
        _leave_processor()
        word = page.cast("models_page *")
        while not self._stop.wait(LOOK_SECONDS):
            standing = self._current.deck.generation if self._current else 0
            if not self.is_taken:
                continue
            self.let_go()
            if int(word.generation) == standing:
                continue
            try:
                self.hand_over(read_generation(page))
            except (StageError, KeyError, MemoryError) as error:
                self.error = str(error)  # what stands goes on; the desk says that nobody took it
                time.sleep(0.1)

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    # ---- of a recorded one -------------------------------------------------------------------------

    def show(self, history: ModelsHistory, generation: int) -> None:
        """Let the stage find the generation that its next turn names. Raises JournalError when it is not on record."""
        generation &= MASK
        standing = self._current.deck.generation if self._current else 0
        if generation == standing:
            return
        if not generation:
            raise JournalError("a turn without models follows one that had them")
        self.let_go()
        self.hand_over(history.at(generation))


def _leave_processor() -> None:
    """This thread's own affinity: any processor but the one that its process spins on, where there is another."""
    own = os.sched_getaffinity(0)
    others = set(range(os.cpu_count() or 1)) - own
    if others:
        with suppress(OSError):
            os.sched_setaffinity(threading.get_native_id(), others)


def spans_of(turns: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Stretches of turn records that name one generation: begin and end of each."""
    generations = turns["model_generation"] & MASK
    ends = [*(np.flatnonzero(np.diff(generations)) + 1).tolist(), len(turns)]
    return list(zip([0, *ends[:-1]], ends, strict=True)) if len(turns) else []
