"""An engine's shared memory: every segment of a run, made once by the supervisor.

    clock  control  limits  instruments  [lockstep]  [endpoints]
    stage.<stage>   hops.<stage>             one writer each: the process that runs the stage
    <ring>          <ring>.<reader>          slots, and a cursor for each reader
    bell.<process>                           where a parking process sleeps
    side.<process>                           page of a process beside the path

Stages attach to these by name (hotpath/stages.py); tools attach read-only (hotpath/stat.py).
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ffi import ffi, lib
from hotpath import limits, segments
from hotpath.config import Config, CoprocessConfig
from hotpath.control.disconnect import on_disconnect
from hotpath.control.paths import intents_path, latch_path
from hotpath.endpoints import ingress_endpoint, publish_endpoints, tap_endpoint
from hotpath.errors import ConfigError
from hotpath.limits.kept import lay_over_kept
from hotpath.limits_log import LimitsWriter
from hotpath.models.page import load_configured, models_segment_bytes, prepare_models
from hotpath.segments import HEADER_SIZE, Segment
from hotpath.topology import (
    ENDPOINTS_SEGMENT,
    MODELS_SEGMENT,
    MODELS_WATCH_SEGMENT,
    STAGES,
    Placement,
    Ring,
    answer_segment,
    place,
    ring_table,
    seat_client_segment,
    seat_segment,
    side_segment,
)

SLOT_SIZE = ffi.sizeof("norm_event")
CALIBRATION_NS = 100_000_000
HUGE_PAGE_BYTES = 2 << 20
SMALL_SEGMENTS = 64  # at most: pages, cursors and bells, each rounded up to a page
SEAT_SEGMENTS = 5  # of each seat, the same
MILLISECOND_NS = 1_000_000
SEAT_POLICY = {"cancel": lib.SEAT_CANCEL, "leave": lib.SEAT_LEAVE}
READ_NOTHING_MORE = 2**64 - 1  # a cursor here holds no writer back


@dataclass(frozen=True)
class EngineSpec:
    """All that decides what an engine's memory looks like and who runs what."""

    config: Config
    instruments: npt.NDArray[Any]  # dtype instrument_entry
    placement: Placement
    midnight_ns: int  # of the trading day, as ns since the epoch
    roll_times_ns: tuple[int, ...] = ()  # the next rolls of the trading day
    lockstep: bool = False  # virtual time, one turn of each stage a round
    journal: bool = False  # a journal reads every ring
    order_id_base: int = 0  # highest order id of the day's earlier runs
    trading_day: int = 0  # yyyymmdd
    strategy_epoch: int = 1  # moved on by each run that starts without its predecessor's state
    doubt: str = ""  # why the venue must be asked for the fate of earlier orders before arming; empty: it need not

    @property
    def name(self) -> str:
        """The engine's name, part of each segment's."""
        return self.config.engine.name

    @property
    def symbols(self) -> list[str]:
        """Symbols in reference-data order."""
        return [symbol.decode() for symbol in self.instruments["symbol"].tolist()]

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The rings of this engine."""
        return ring_table(
            paper=self.config.gateway.kind == "paper",
            journal=self.journal,
            tap=self.tap,
            ingress=self.ingress,
            models=self.config.models.enabled,
            seats=[seat.name for seat in self.config.seats],
        )

    @property
    def tap(self) -> bool:
        """Whether a tap runs beside the path; in virtual time there is nobody to look on."""
        return self.config.tap.enabled and not self.lockstep

    @property
    def reconcile(self) -> bool:
        """Whether the venue's own report is compared with what the engine holds."""
        return bool(self.config.reconcile.username) and not self.lockstep

    @property
    def projector(self) -> bool:
        """Whether the journal is brought into SQL tables as the run goes on."""
        return self.config.projection.enabled and self.journal

    @property
    def ingress(self) -> bool:
        """Whether the market is pushed by senders, through a process of their own."""
        return self.config.feed.kind == "zmq"

    @property
    def endpoints(self) -> dict[str, str]:
        """Where processes beside the path listen, by their names."""
        found = {"tap": tap_endpoint(self.config)} if self.tap else {}
        return {**found, "ingress": ingress_endpoint(self.config)} if self.ingress else found


def make_spec(config: Config, instruments: npt.NDArray[Any], **options: Any) -> EngineSpec:
    """A spec with its processes placed on this machine."""
    return EngineSpec(config=config, instruments=instruments, placement=place(config), **options)


class EngineMemory:
    """The segments of one run, by name, owned by this process."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.run_epoch = time.time_ns()
        self.segments: dict[str, Segment] = {}
        self.limits_left: list[str] = []  # changed by people, and in the configuration since
        segments.reap(spec.name)
        try:
            self._create_pages()
            for ring in spec.rings:
                self._create_ring(ring)
            if spec.config.models.load and not spec.journal:  # where there is one it must be there to write them
                load_configured(spec, run_epoch=self.run_epoch)
            self._create_stage_pages()
            if not spec.lockstep:
                self._lay_over_limits()
        except BaseException:
            self.unlink()
            raise

    def _create(self, name: str, kind: int, size: int, *, capacity: int = 0, slot_size: int = 0) -> Segment:
        segment = segments.create(
            self.spec.name, name, kind, size, run_epoch=self.run_epoch, capacity=capacity, slot_size=slot_size
        )
        self.segments[name] = segment
        return segment

    def _create_page(self, name: str, kind: int, struct: str, count: int = 1) -> Segment:
        size = ffi.sizeof(struct)
        return self._create(name, kind, HEADER_SIZE + count * size, capacity=count, slot_size=size)

    def _create_pages(self) -> None:
        spec = self.spec
        clock = self._create_page("clock", lib.SEGMENT_CLOCK, "clock_page")
        lib.clock_calibrate(clock.cast("clock_page *"), CALIBRATION_NS, 0)
        control = self._create_page("control", lib.SEGMENT_CONTROL, "control_page")
        page = control.cast("control_page *")
        write_control_path(page.latch_path, latch_path(spec.config))
        write_control_path(page.intents_path, intents_path(spec.config))
        page.on_disconnect = on_disconnect(spec.config.gateway)
        page.kill_escalate_ns = spec.config.gateway.kill_escalate_ms * MILLISECOND_NS
        lib.control_kill(page)  # an engine starts killed until armed
        instruments = self._create_page(
            "instruments", lib.SEGMENT_INSTRUMENTS, "instrument_entry", len(spec.instruments)
        )
        instruments.view(spec.instruments.dtype, count=len(spec.instruments))[:] = spec.instruments
        table = self._create("limits", lib.SEGMENT_LIMITS, limits.segment_bytes(len(spec.instruments)))
        limits.publish_limits(table, spec.config.risk, spec.symbols)
        if spec.config.models.enabled:
            page = self._create(MODELS_SEGMENT, lib.SEGMENT_MODELS, models_segment_bytes(spec.config))
            prepare_models(page, spec.config)
            self._create_page(MODELS_WATCH_SEGMENT, lib.SEGMENT_MODELS_WATCH, "models_watch")
        if spec.lockstep:
            lockstep = self._create_page("lockstep", lib.SEGMENT_LOCKSTEP, "lockstep_page")
            lockstep.cast("lockstep_page *").strategies = len(spec.config.strategies)
        for index, seat in enumerate(spec.config.seats):
            page = self._create_page(seat_segment(seat.name), lib.SEGMENT_SEAT, "seat_page")
            fill_seat_page(page.cast("seat_page *"), seat, index)
            self._create_page(seat_client_segment(seat.name), lib.SEGMENT_SEAT_CLIENT, "seat_client_page")
        if spec.endpoints:
            table = self._create_page(ENDPOINTS_SEGMENT, lib.SEGMENT_ENDPOINTS, "endpoint_entry", len(spec.endpoints))
            publish_endpoints(table, spec.endpoints)
        for name in spec.endpoints:
            self._create_page(side_segment(name), lib.SEGMENT_STAGE, "stage_page")
        if spec.reconcile:
            self._create_page(side_segment("reconcile"), lib.SEGMENT_STAGE, "stage_page")
        if spec.projector:
            self._create_page(side_segment("projector"), lib.SEGMENT_STAGE, "stage_page")
        if spec.journal:
            self._create_page(side_segment("journal"), lib.SEGMENT_STAGE, "stage_page")
        for strategy in spec.config.strategies:
            self._create_page(side_segment(strategy.name), lib.SEGMENT_STAGE, "stage_page")
            answer = self._create_page(answer_segment(strategy.name), lib.SEGMENT_HISTOGRAMS, "histogram")
            name_histogram(answer.cast("histogram *"), "strategy_answer")
        for each in spec.placement.places:
            self._create_page(f"bell.{each.process}", lib.SEGMENT_DOORBELL, "doorbell")

    def _lay_over_limits(self) -> None:
        """What people changed in earlier runs stands in this one too, from its first order on."""
        writer = LimitsWriter(self.spec.name, journaled=self.spec.journal, run_epoch=self.run_epoch)
        self.limits_left = lay_over_kept(self.spec.config, writer, self.spec.symbols)

    def _create_stage_pages(self) -> None:
        """Last: whoever looks from outside begins with these, and finds all the rest when they are there."""
        for stage in STAGES:
            hops = self._create_page(f"hops.{stage}", lib.SEGMENT_HISTOGRAMS, "histogram", lib.HOPS_MAX)
            name_histograms(hops)
            self._create_page(f"stage.{stage}", lib.SEGMENT_STAGE, "stage_page")

    def _create_ring(self, ring: Ring) -> None:
        capacity = ring.capacity(self.spec.config.rings)
        size = lib.ring_bytes(capacity, SLOT_SIZE)
        self._create(ring.name, lib.SEGMENT_RING, size, capacity=capacity, slot_size=SLOT_SIZE)
        for reader in (*ring.gating, *ring.observers):
            self._create_page(ring.cursor(reader), lib.SEGMENT_CURSOR, "ring_cursor")

    def stage_page(self, stage: str) -> Any:
        """``stage_page *`` of one stage."""
        return self.segments[f"stage.{stage}"].cast("stage_page *")

    @property
    def control(self) -> Any:
        """``control_page *``."""
        return self.segments["control"].cast("control_page *")

    def cursor(self, ring: Ring, reader: str) -> Any:
        """``ring_cursor *`` of one reader of a ring."""
        return self.segments[ring.cursor(reader)].cast("ring_cursor *")

    def release_reader(self, reader: str) -> None:
        """Let no ring wait for a reader that is dead or was never there."""
        for ring in self.spec.rings:
            if reader in (*ring.gating, *ring.observers):  # of an observer too: the feed paces recovery by the journal
                self.cursor(ring, reader).position = READ_NOTHING_MORE

    def unlink(self) -> None:
        """Remove the names; the memory goes with the last mapping."""
        for segment in self.segments.values():
            segments.unlink_all([segment.info])
        self.segments.clear()


def shared_bytes(config: Config, *, instruments: int, journal: bool = True) -> int:
    """Shared memory that a run will ask for, within a few pages for each small segment: for who must know before."""
    seats = [seat.name for seat in config.seats]
    rings = ring_table(
        paper=config.gateway.kind == "paper",
        journal=journal,
        tap=config.tap.enabled,
        ingress=config.feed.kind == "zmq",
        models=config.models.enabled,
        seats=seats,
    )
    slots = sum(int(lib.ring_bytes(ring.capacity(config.rings), SLOT_SIZE)) for ring in rings)
    hops = (len(STAGES) * lib.HOPS_MAX + len(config.strategies)) * ffi.sizeof("histogram")
    tables = instruments * ffi.sizeof("instrument_entry") + limits.segment_bytes(instruments)
    tables += models_segment_bytes(config) if config.models.enabled else 0
    return int(slots + hops + tables) + (SMALL_SEGMENTS + SEAT_SEGMENTS * len(seats)) * mmap.PAGESIZE


def write_control_path(field: Any, path: Path) -> None:
    """A path for whoever has only the control page: a killer. Raises ConfigError when the page cannot hold it."""
    text = str(path.absolute()).encode()
    if len(text) >= lib.CONTROL_PATH_MAX:
        raise ConfigError(f"engine.state_dir: {path}: longer than {lib.CONTROL_PATH_MAX - 1} bytes")
    ffi.memmove(field, text, len(text))


@contextmanager
def engine_memory(spec: EngineSpec) -> Iterator[EngineMemory]:
    """The segments of one run, removed at the end."""
    memory = EngineMemory(spec)
    try:
        yield memory
    finally:
        memory.unlink()


def fill_seat_page(page: Any, seat: CoprocessConfig, index: int) -> None:
    """The terms of a seat, for its co-process to read."""
    page.index = index
    page.account = seat.account
    page.strategy = seat.strategy
    page.policy = SEAT_POLICY[seat.on_cut]
    page.open_orders_max = seat.open_orders_max
    page.messages_per_second_max = seat.messages_per_second_max
    page.heartbeat_ns = seat.heartbeat_ms * MILLISECOND_NS
    page.budget_ns = seat.budget_ms * MILLISECOND_NS


def hop_names() -> list[str]:
    """Names of the hops, in the order of ``enum hop``: "wait", "feed", "order_feed", ..."""
    from ffi.dtypes import enum_names

    names = enum_names("hop")
    return [names[index].removeprefix("HOP_").lower() for index in range(lib.HOPS_MAX)]


def name_histograms(segment: Segment) -> None:
    """Empty a stage's hop histograms and give them their names."""
    histograms = segment.cast("histogram *")
    for index, name in enumerate(hop_names()):
        name_histogram(ffi.addressof(histograms[index]), name)


def name_histogram(histogram: Any, name: str) -> None:
    """Empty one histogram and give it its name."""
    lib.histogram_reset(histogram)
    ffi.memmove(histogram.name, name.encode(), len(name))


def huge_memory(size: int) -> tuple[Any, Any]:
    """Private, zeroed, prefaulted memory on huge pages where the system gives them, to its last byte.

    Only an aligned piece of memory can be a huge page: what is large is rounded up to whole ones and begins on one.
    Returns (owner, ``void *``): the pointer is good while the owner lives.
    """
    large = size >= HUGE_PAGE_BYTES // 4
    length = -(-size // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES if large else max(size, mmap.PAGESIZE)
    spare = HUGE_PAGE_BYTES - mmap.PAGESIZE if large else 0
    owner = mmap.mmap(-1, length + spare, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = ffi.cast("uint8_t *", ffi.from_buffer(owner))
    start = -int(ffi.cast("uintptr_t", first)) % HUGE_PAGE_BYTES if large else 0
    segments.advise(owner, mmap.MADV_HUGEPAGE, start, length)
    segments.advise(owner, segments.MADV_POPULATE_WRITE, start, length)
    return owner, ffi.cast("void *", first + start)
