"""A stage whose process died, made again by its successor, so that the run goes on where it was cut off.

    journal, and rings for what it has not written --> recorded turns 1..N --> each digest as recorded
    stage page: the plan of turn N+1 ----------------> the turn that was cut off
    what stands in the live rings == what was made again; what is missing is published; the stage goes on

The stages are the live ones, bound to private rings while they are made again (ffi/include/rebuild.h), so a
difference is found before anything of it is seen: RecoveryError then says what differed, and the run ends killed.
The gateway is none of these: its intent file and the venue's stream are its memory (docs/gateway.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath import segments
from hotpath.engine import SLOT_SIZE, EngineSpec, huge_memory
from hotpath.errors import JournalError, RecoveryError
from hotpath.front_ends import RawTrace, SeatTraces, resume_feed, resume_seats
from hotpath.journal import Journal, event_type
from hotpath.limits_log import RING as CHANGES
from hotpath.limits_log import LimitsHistory, PrivateLimits, first_limits, spans_of
from hotpath.models import loader as models
from hotpath.models.page import RING as MODELS
from hotpath.models.page import ModelsHistory
from hotpath.rings import CURSOR_BYTES
from hotpath.stage_images import StageImage, make_image, newest_image, restore_image
from hotpath.stages import ProcessStages
from hotpath.topology import reports_ring

CHUNK = 1 << 16  # events read at a time
NEVER_LOOKED = 2**64 - 1  # at a page of limits
TURNS_BETWEEN_BEATS = 1 << 16
PATIENCE_SECONDS = 5.0  # for the journal to write what a ring no longer holds, and for a reader to make room
WAIT_SECONDS = 0.001
STAMP = slice(0, 8)
INGRESS = slice(24, 32)
PUBLISH = slice(32, 40)
MODEL_LATENCY = slice(ffi.offsetof("decision_event", "latency_ns"), ffi.offsetof("decision_event", "latency_ns") + 4)

# The rings of each stage's plan, word by word, and where its structure has the reader.
READERS = {
    "feed": (("raw", "raw_in"),),
    "signal": (("norm", "norm"), ("exec", "exec"), ("reject", "reject"), ("intake", "seats.intake_in")),
    "risk": (("norm", "norm"), ("exec", "exec"), ("signal", "signal")),
}
# The rings that it writes; the first is the one that its records count. What is measured, not decided, may differ.
WRITERS = {
    "feed": (("norm", (INGRESS, PUBLISH)),),
    "signal": (("signal", (INGRESS, PUBLISH)), ("decision", (MODEL_LATENCY,))),
    "risk": (("cmd", (PUBLISH,)), ("reject", (PUBLISH,))),
}
REBUILT = tuple(READERS)
FEEDS_RESUMED = ("none", "mold", "file", "zmq")  # a capture's line has no last number to go on from


class Past:
    """Every event of a run: from the journal's folder, and from the rings what the journal has not written yet."""

    def __init__(self, spec: EngineSpec, *, run_epoch: int, folder: Path) -> None:
        self.folder = folder
        self._journal = Journal(folder)
        self._rings: dict[str, segments.Segment] = {}
        self._spec = spec
        self._run_epoch = run_epoch

    def _ring(self, ring: str) -> segments.Segment:
        if ring not in self._rings:
            self._rings[ring] = segments.attach(
                self._spec.name, ring, lib.SEGMENT_RING, run_epoch=self._run_epoch, slot_size=SLOT_SIZE
            )
        return self._rings[ring]

    def head(self, ring: str) -> int:
        """Events published so far, one that a dying writer stamped and did not count included."""
        segment = self._ring(ring)
        position = int(segment.cast("ring_control *").position)
        stamps = segment.view("u8", offset=lib.RING_SLOTS_OFFSET, count=segment.info.capacity * SLOT_SIZE // 8)
        while int(stamps[position % segment.info.capacity * SLOT_SIZE // 8]) == position + 1:
            position += 1
        return position

    def _written(self, ring: str, begin: int, end: int) -> npt.NDArray[Any] | None:
        """What the journal holds from `begin` on, as far as one of its files goes; None when it holds no such event.

        Its checksums are looked at again: a state is not made of what a disk has changed. Raises RecoveryError.
        """
        for segment in self._journal.segments(ring):
            if segment.first <= begin < segment.next:
                records = segment.raw()[begin - segment.first : end - segment.first]
                packed = np.ascontiguousarray(records)
                good = int(lib.journal_valid(ffi.from_buffer(packed), begin, len(packed)))
                if good < len(packed):
                    raise RecoveryError(
                        f"{segment.path}: event {begin + good} of ring {ring} is not what was written",
                        next_step="hotpath journal verify FOLDER says where it is damaged",
                    )
                return packed
        return None

    def standing(self, ring: str, begin: int, end: int, struct: str = "") -> npt.NDArray[Any]:
        """A copy of what the ring itself holds of [begin, end), as far as it is whole from the first on."""
        segment = self._ring(ring)
        capacity = segment.info.capacity
        slots = segment.view(struct or event_type(ring), offset=lib.RING_SLOTS_OFFSET, count=capacity)
        numbers = np.arange(begin, min(end, begin + capacity), dtype=np.uint64)
        found: npt.NDArray[Any] = slots[numbers % np.uint64(capacity)]  # a copy
        stamps = slots["header"]["stamp"][numbers % np.uint64(capacity)]  # looked at after it
        whole = (stamps == numbers + np.uint64(1)) & (found["header"]["stamp"] == stamps)
        return found[: len(whole) if whole.all() else int(np.argmin(whole))]

    def chunk(self, ring: str, begin: int, end: int) -> npt.NDArray[Any]:
        """Events from `begin` on, one at least and at most up to `end`. Raises RecoveryError when it is nowhere."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            written = self._written(ring, begin, end)
            if written is not None:
                return written
            standing = self.standing(ring, begin, end)
            if len(standing):
                return standing
            if time.monotonic() > deadline:
                raise RecoveryError(
                    f"event {begin} of ring {ring} is in neither the journal (up to {self._journal.next(ring)}) "
                    "nor the ring",
                    next_step=f"record with a larger [rings] {ring}",
                )
            time.sleep(WAIT_SECONDS)
            self._journal.refresh()

    def limits(self) -> LimitsHistory:
        """Every version of the run's limits, from the first on."""
        first = first_limits(self._spec.config.risk, self._spec.symbols)
        return LimitsHistory(first, partial(self.chunk, CHANGES), partial(self.head, CHANGES))

    def models(self) -> ModelsHistory:
        """Every generation of the run's models."""
        return ModelsHistory(partial(self.chunk, MODELS), partial(self.head, MODELS))

    def follow(self, ring: str, trace: RawTrace | SeatTraces) -> None:
        """Take a trace up to the last event of its ring."""
        head = self.head(ring)
        while trace.count < head:
            trace.follow(self.chunk(ring, trace.count, min(head, trace.count + CHUNK)))


class PrivateRing:
    """A ring in this process's own memory, which the stage's kernel takes for a live one."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        size = lib.ring_bytes(capacity, SLOT_SIZE)
        self._owner, self.memory = huge_memory(size)
        self._cursor_owner, self.cursor = huge_memory(CURSOR_BYTES)
        header = {"kind": lib.SEGMENT_RING, "capacity": capacity, "slot_size": SLOT_SIZE}
        lib.segment_seal(self.memory, ffi.new("segment_header *", header))
        lib.segment_seal(self.cursor, ffi.new("segment_header *", {"kind": lib.SEGMENT_CURSOR, "capacity": 1}))

    def bind_writer(self, writer: Any, *, gated: bool) -> None:
        """Let `writer` write it; without a gate it is never full, and keeps its last events."""
        lib.ring_writer_attach(writer, self.memory)
        if gated:
            lib.ring_writer_gate(writer, self.cursor)

    def bind_reader(self, reader: Any) -> None:
        """Let `reader` read it."""
        lib.ring_reader_attach(reader, self.memory, self.cursor, lib.CURSOR_GATING)

    def bytes_of(self, sequences: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
        """The slots of these events, as rows of bytes."""
        rows: npt.NDArray[np.uint8] = slot_bytes(self.memory, self.capacity)[sequences % np.uint64(self.capacity)]
        return rows


def slot_bytes(ring: Any, capacity: int) -> npt.NDArray[np.uint8]:
    """The slots of a mapped ring as rows of bytes; nothing is copied."""
    start = ffi.cast("uint8_t *", ring) + lib.RING_SLOTS_OFFSET
    flat = np.frombuffer(ffi.buffer(start, capacity * SLOT_SIZE), np.uint8)
    return flat.reshape(capacity, SLOT_SIZE)


@dataclass
class Output:
    """A ring that the stage writes: its live writer, put aside, and a private ring in its place."""

    ring: str
    measured: tuple[slice, ...]  # bytes of a slot that may differ
    writer: Any  # of the stage
    private: PrivateRing
    live: Any = None  # what the stage's writer held before
    begin: int = 0  # events before it are not in the private ring


def _part(owner: Any, path: str) -> Any:
    """The structure at a dotted path."""
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


class StageRebuild:
    """One stage of this process, from the run's beginning to where its predecessor was cut off."""

    def __init__(self, stages: ProcessStages, stage: str, past: Past, beat: Callable[[], None]) -> None:
        self.name = stage
        self.turns = 0
        self._past = past
        self._beat = beat
        self._rings = stages.rings
        self._config = stages.spec.config
        self._stages = stages
        self._stage = getattr(stages, stage)
        self._context = self._stage.stage
        self._live_page = self._context.page
        self._page = ffi.new("stage_page *")
        self._c = ffi.new("rebuild *")
        self._c.stage, self._c.id = self._stage, self._context.id
        self._inputs = [(ring, _part(self._stage, path)) for ring, path in READERS[stage] if ring in self._rings]
        self._outputs = [
            Output(ring, measured, getattr(self._stage, ring), PrivateRing(self._capacity(ring)))
            for ring, measured in WRITERS[stage]
            if ring in self._rings
        ]
        self._saved: list[tuple[Any, Any]] = []  # structures of the stage, and what they held
        self._live_readers: list[Any] = []
        self._private: list[PrivateRing] = []
        self._given: dict[int, npt.NDArray[Any]] = {}  # recorded events that C reads from
        self._shadow_pages: list[Any] = []
        self._seat_pages: list[Any] = []
        self._limits: PrivateLimits | None = None
        self._models: ModelsHistory | None = None
        if stage != "signal" or self._stage.seats == ffi.NULL:
            return
        self._seats = self._stage.seats
        for index, config in enumerate(self._config.seats):
            seat = self._seats.seat[index]
            self._seat_pages.append(seat.page)
            ring = reports_ring(config.name)
            self._outputs.append(Output(ring, (PUBLISH,), seat.reports, PrivateRing(self._capacity(ring))))

    def _capacity(self, ring: str) -> int:
        return self._rings[ring].capacity(self._config.rings)

    # ---- private ---------------------------------------------------------------------------------

    def _save(self, structure: Any) -> Any:
        """Keep what a structure of the stage holds, to be put back."""
        pointer = ffi.addressof(structure)
        held = ffi.new(ffi.typeof(pointer), structure)
        self._saved.append((pointer, held))
        return held

    def bind(self) -> None:
        """Bind the stage to private rings and pages; what it held before is put back by `finish`."""
        self._context.page, self._context.hops = self._page, ffi.NULL
        self._save(self._context.ctl)
        self._context.ctl.slots = ffi.NULL
        for index, (ring, reader) in enumerate(self._inputs):
            self._live_readers.append(self._save(reader))
            private = PrivateRing(self._capacity(ring))
            private.bind_writer(ffi.addressof(self._c.input[index], "ring"), gated=True)
            private.bind_reader(ffi.addressof(reader))
            self._private.append(private)
        for output in self._outputs:
            output.live = self._save(output.writer)
            output.private.bind_writer(ffi.addressof(output.writer), gated=False)
        if self.name == "risk":
            self._stage.gate.counter = self._page.counter
            self._limits = PrivateLimits(self._past.limits())
            self._live_limits = self._stage.limits
            self._look_at_limits(self._limits.page)
        if self.name == "signal" and self._stages.models is not None:
            self._models = self._past.models()
            self._scorer = self._stage.scorer
            self._live_models = (self._scorer.page, self._scorer.watch, self._scorer.measures)
            self._watch = ffi.new("models_watch *")
            self._scorer.page, self._scorer.watch, self._scorer.measures = ffi.NULL, self._watch, 0
        for index, page in enumerate(self._seat_pages):
            shadow = ffi.new("seat_page *", page[0])
            shadow.refused = shadow.reports = shadow.reports_lost = 0
            self._seats.seat[index].page = shadow
            self._shadow_pages.append(shadow)

    def _look_at_limits(self, page: Any) -> None:
        """Let risk find its limits there, as if it had never looked."""
        self._stage.limits = page
        self._stage.limits_generation = NEVER_LOOKED
        self._stage.limits_waiting = 0

    def _show_limits(self, version: int) -> None:
        """Those by which the next turns decided. Raises RecoveryError when they are not on record."""
        if self._limits is None:
            return
        try:
            self._limits.show(version)
        except JournalError as error:
            raise RecoveryError(f"risk: {error}") from None

    def _show_models(self, generation: int) -> None:
        """Those that the next turns had. Raises RecoveryError when they are not on record."""
        if self._models is None or self._stages.models is None:
            return
        try:
            self._stages.models.show(self._models, generation)
        except JournalError as error:
            raise RecoveryError(f"signal: {error}") from None

    def _show(self, turn: Any) -> None:
        """All that this turn and those like it decided by, beside the events."""
        self._show_limits(int(turn["limits_version"]))
        self._show_models(int(turn["model_generation"]))

    def _spans(self, records: npt.NDArray[Any]) -> list[tuple[int, int]]:
        """Stretches of turns that decided by the same limits or models."""
        if self._limits is not None:
            return spans_of(records)
        return models.spans_of(records) if self._models is not None else [(0, len(records))]

    def take_image(self, image: StageImage) -> None:
        """Begin with the state that a snapshot holds. Raises RecoveryError."""
        if self._models is not None and image.models:
            self._show_models(image.models)
            if lib.scorer_apply(self._scorer, image.models, 0) != 1:
                raise RecoveryError(f"signal: the snapshot of turn {image.turn} names models that are not at hand")
        restore_image(self._stages, self.name, image, self._page, self._shadow_pages)
        self.turns = image.turn
        for index, (ring, reader) in enumerate(self._inputs):
            lib.rebuild_ring_place(
                ffi.addressof(self._c.input[index], "ring"), ffi.addressof(reader), image.readers[ring]
            )
        for output in self._outputs:
            output.begin = image.writers[output.ring]
            lib.rebuild_ring_place(ffi.addressof(output.writer), ffi.NULL, output.begin)

    def image(self) -> StageImage:
        """The state as it is now, between two turns."""
        readers = {ring: int(reader.next) for ring, reader in self._inputs}
        writers = {output.ring: int(output.writer.next) for output in self._outputs}
        return make_image(self._stages, self.name, self._page, self._shadow_pages, readers=readers, writers=writers)

    def replay(self) -> None:
        """Every recorded turn that is not made yet. Raises RecoveryError."""
        ring = f"{self.name}.ctl"
        total = self._past.head(ring)
        while self.turns < total:
            records = np.ascontiguousarray(self._past.chunk(ring, self.turns, min(total, self.turns + CHUNK)))
            self._c.turns, self._c.turn = ffi.cast("turn_event *", records.ctypes.data), 0
            for begin, end in self._spans(records):
                self._show(records[begin])
                self._c.turn_count = end
                self._run(lambda: lib.rebuild_run(self._c, TURNS_BETWEEN_BEATS), records)
            self.turns += len(records)

    def _run(self, run: Callable[[], int], records: npt.NDArray[Any]) -> None:
        while (status := run()) != lib.REBUILD_DONE:
            self._beat()
            if status == lib.REBUILD_HUNGRY:
                self._give(int(self._c.input_wanted))
            elif status == lib.REBUILD_DIFFERS:
                self._refuse(records[int(self._c.turn)])
            elif status == lib.REBUILD_BROKEN:
                error = enum_names("stage_error").get(int(self._page.error), "an error")
                raise RecoveryError(f"{self.name}: turn {int(self._context.turn) + 1} cannot be made again: {error}")

    def _give(self, index: int) -> None:
        """More events of one input."""
        ring = self._inputs[index][0]
        wanted = self._c.input[index]
        begin = int(wanted.ring.next)
        events = np.ascontiguousarray(self._past.chunk(ring, begin, begin + CHUNK))
        wanted.events, wanted.begin, wanted.end = ffi.cast("uint8_t *", events.ctypes.data), begin, begin + len(events)
        self._given[index] = events

    def _refuse(self, record: npt.NDArray[Any]) -> None:
        context = self._context
        output = self._outputs[0]
        said: dict[str, tuple[object, object]] = {
            "turn": (int(record["turn"]), int(context.turn)),
            "digest": (f"{int(record['digest']):016x}", f"{int(context.digest):016x}"),
            f"events of {output.ring}": (int(record["output_sequence"]), int(output.writer.next)),
        }
        found = ", ".join(f"{what} {was} then, {now} now" for what, (was, now) in said.items() if was != now)
        raise RecoveryError(f"{self.name}: turn {int(record['turn'])} is not what it was: {found}")

    # ---- and back --------------------------------------------------------------------------------

    def finish(self) -> None:
        """Run the turn that was cut off, compare, publish what is missing, and bind the stage to the live rings."""
        plan = ffi.addressof(self._live_page, "plan")
        cut = self._left_traces()
        if cut:
            self._show_limits(int(plan.limits_version))
            self._show_models(int(plan.model_generation))
            self._run(lambda: lib.rebuild_cut_turn(self._c, plan), np.empty(0))
            if int(self._context.turn) != self.turns + 1:
                raise RecoveryError(f"{self.name}: turn {self.turns + 1} left traces, and its plan makes none")
            self.turns += 1
        taken = [int(reader.next) for _, reader in self._inputs]
        outputs = [output for output in self._outputs if not self._reports_were_lost(output.ring)]
        made = [int(output.writer.next) for output in outputs]
        for output, end in zip(outputs, made, strict=True):
            self._compare(output, end)
        for pointer, held in self._saved:
            pointer[0] = held[0]
        for output, end in zip(outputs, made, strict=True):
            self._publish_missing(output, end)
        self._restore_pages()
        if cut:
            self._wait_room(f"{self.name}.ctl", self._context.ctl)
            lib.rebuild_record(ffi.addressof(self._context), plan, ffi.addressof(self._outputs[0].writer))
        for (_, reader), sequence in zip(self._inputs, taken, strict=True):
            lib.rebuild_reader_place(ffi.addressof(reader), sequence)

    def _left_traces(self) -> bool:
        """Whether the turn after the last recorded one took or published anything; then its plan was whole."""
        if int(self._live_page.turns) > self.turns:
            return True
        if any(int(output.live.next) > int(output.writer.next) for output in self._outputs):
            return True
        readers = zip(self._live_readers, self._inputs, strict=True)
        return any(int(live.next) > int(reader.next) for live, (_, reader) in readers)

    def _reports_were_lost(self, ring: str) -> bool:
        """Reports that found no room: which, nobody can tell any more. The seat is cut for it, as it would have been.

        Everything else of the stage is compared as ever.
        """
        names = [reports_ring(seat.name) for seat in self._config.seats]
        return ring in names and bool(self._seat_pages[names.index(ring)].reports_lost)

    def _compare(self, output: Output, made: int) -> None:
        """What the dead process published, as far as the ring still holds it, against what was made again."""
        standing, capacity = int(output.live.next), output.private.capacity
        if standing > made:
            raise RecoveryError(f"{self.name}: {standing} events stand in ring {output.ring}, {made} were made again")
        numbers = np.arange(max(output.begin, made - capacity), standing, dtype=np.uint64)
        slots = ffi.cast("uint8_t *", output.live.slots) - lib.RING_SLOTS_OFFSET
        found = slot_bytes(slots, capacity)[numbers % np.uint64(capacity)]
        again = output.private.bytes_of(numbers)
        # A slot whose event was being written over when its writer died has no stamp, and is not compared.
        whole = found[:, STAMP].copy().view(np.uint64).reshape(-1) == numbers + np.uint64(1)
        for span in output.measured:
            found[:, span] = again[:, span]
        differs = np.flatnonzero((found != again).any(axis=1) & whole)
        if len(differs):
            sequence = int(numbers[differs[0]])
            names = _fields_that_differ(output.ring, found[differs[0]], again[differs[0]])
            raise RecoveryError(f"{self.name}: event {sequence} of ring {output.ring} is not what it was: {names}")

    def _publish_missing(self, output: Output, made: int) -> None:
        while int(output.writer.next) < made:
            row = np.ascontiguousarray(output.private.bytes_of(np.array([int(output.writer.next)], np.uint64)))
            self._wait_room(output.ring, output.writer)
            lib.ring_publish(ffi.addressof(output.writer), ffi.from_buffer(row), SLOT_SIZE)

    def _wait_room(self, ring: str, writer: Any) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not lib.ring_room(ffi.addressof(writer)):
            self._beat()
            if time.monotonic() > deadline:
                raise RecoveryError(f"{self.name}: ring {ring} stays full: one of its readers does not read")
            time.sleep(WAIT_SECONDS)

    def _restore_pages(self) -> None:
        """What was counted again is exact; what only a front end counts stands as the dead process left it."""
        page = self._live_page
        for index in range(lib.COUNTERS_MAX):
            if self._page.counter[index]:
                page.counter[index] = self._page.counter[index]
        page.turns = self._context.turn
        page.error = lib.STAGE_ERROR_NONE
        self._context.page = page
        if self._models is not None:
            self._scorer.page, self._scorer.watch, self._scorer.measures = self._live_models
            self._scorer.watch.generation = self._scorer.in_force
        if self.name == "risk":
            self._stage.gate.counter = page.counter
            self._look_at_limits(self._live_limits)
        for index, (seat_page, shadow) in enumerate(zip(self._seat_pages, self._shadow_pages, strict=True)):
            seat = self._seats.seat[index]
            seat.page = seat_page
            seat_page.refused, seat_page.open_orders = shadow.refused, seat.open_orders
            seat.reports_lost = bool(seat_page.reports_lost) and bool(seat.attached)
            if not seat_page.reports_lost:
                seat_page.reports = shadow.reports


def _fields_that_differ(ring: str, found: npt.NDArray[np.uint8], again: npt.NDArray[np.uint8]) -> str:
    """Names of the fields, and both values."""
    dtype = dtype_of(event_type(ring) if not ring.startswith("seat.") else "report_event")
    was, now = (row.view(dtype)[0] for row in (found, again))

    def walk(dtype: np.dtype[Any], was: Any, now: Any) -> Iterator[str]:
        for name in dtype.names or ():
            inner = dtype[name]
            if inner.names:
                yield from walk(inner, was[name], now[name])
            elif np.any(was[name] != now[name]):
                yield f"{name} {was[name]} then, {now[name]} now"

    return ", ".join(walk(dtype, was, now)) or "in bytes that no field names"


# ---- the whole ------------------------------------------------------------------------------------------------


class Phases:
    """What the time of a restart went to, for the pages of its stages."""

    def __init__(self, clock: Any, *, noticed_ns: int, started_ns: int) -> None:
        self._clock = clock
        self.spans = [0] * lib.RESTART_SLOTS
        self.spans[lib.RESTART_WAIT] = max(0, started_ns - noticed_ns)
        self._last_ns = started_ns

    def split(self, first: int, second: int, *, last_ns: int) -> None:
        """What passed since the last phase belongs to `first`, its last `last_ns` to `second`."""
        self.end(first)
        last_ns = min(last_ns, self.spans[first])
        self.spans[first] -= last_ns
        self.spans[second] += last_ns

    def end(self, phase: int) -> None:
        """What passed since the last phase belongs to this one."""
        now_ns = int(lib.clock_now(self._clock))
        self.spans[phase] += max(0, now_ns - self._last_ns)
        self._last_ns = now_ns


def rebuild_stages(stages: ProcessStages, past: Past, phases: Phases) -> int:
    """Make every stage of this process again that can be; returns how many turns that took. Raises RecoveryError."""
    own = [stage for stage in REBUILT if stage in stages.place.stages]
    if "feed" in own and stages.spec.config.feed.kind not in FEEDS_RESUMED:
        raise RecoveryError(f'feed: feed.kind = "{stages.spec.config.feed.kind}" cannot be taken up in its middle')
    clock = stages.duty.clock
    pages = [getattr(stages, stage).stage.page for stage in stages.place.stages]

    def beat() -> None:
        for page in pages:
            lib.stage_beat(page, clock)

    turns = 0
    beat()
    images: dict[str, StageImage] = {}
    for stage in own:
        rebuild = StageRebuild(stages, stage, past, beat)
        rebuild.bind()
        image = newest_image(past.folder, stage, run_epoch=stages.run_epoch, up_to=past.head(f"{stage}.ctl"))
        if image is not None:
            rebuild.take_image(image)
            images[stage] = image
        begun = rebuild.turns
        phases.end(lib.RESTART_READ)
        rebuild.replay()
        phases.end(lib.RESTART_REPLAY)
        rebuild.finish()
        phases.end(lib.RESTART_FINISH)
        turns += rebuild.turns - begun
    if "feed" in own:
        raw = images["feed"].raw if "feed" in images else RawTrace()
        past.follow("raw", raw)
        resume_feed(stages, raw, past)
    if "signal" in own and stages.signal.seats != ffi.NULL:
        seats = images["signal"].seats if "signal" in images else SeatTraces()
        past.follow("intake", seats)
        resume_seats(stages, seats)
    if stages.gateway != ffi.NULL and stages.gateway.paper != ffi.NULL:
        _rebuild_paper(stages.gateway, past, beat)
    phases.end(lib.RESTART_RESUME)
    for page in pages:
        page.restart_ns = phases.spans
        page.restart_turns = turns
        page.restarts += 1
    return turns


def _rebuild_paper(gateway: Any, past: Past, beat: Callable[[], None]) -> None:
    """Give a paper venue the market up to where its predecessor had followed it."""
    begin, end = 0, int(gateway.norm.next)
    while begin < end:
        events = np.ascontiguousarray(past.chunk("norm", begin, min(end, begin + CHUNK)))
        lib.rebuild_paper(gateway.paper, ffi.cast("norm_event *", events.ctypes.data), len(events))
        begin += len(events)
        beat()
