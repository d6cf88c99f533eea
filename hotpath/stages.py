"""The stages of one process: C structures bound to the engine's segments, and the loop around them.

A process builds only its own stages; everything they touch in the loop is allocated, mapped and faulted in
here. The objects returned keep their memory alive; C holds bare pointers.
"""

from __future__ import annotations

import mmap
import socket
from pathlib import Path
from typing import Any

import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import intents, segments
from hotpath.captures import MappedFile
from hotpath.config import Config, CoprocessConfig, FeedConfig, GatewayConfig
from hotpath.control.paths import intents_path as intents_path
from hotpath.engine import EngineSpec, huge_memory
from hotpath.errors import StageError
from hotpath.flows import feed_packets
from hotpath.holders import Hold, hold, session_lock
from hotpath.limits import copy_bytes
from hotpath.models.loader import Loader
from hotpath.recovery_pace import pace_recovery
from hotpath.rings import CURSOR_BYTES
from hotpath.segments import Segment
from hotpath.sockets import open_lines, open_servers, resolve
from hotpath.topology import (
    MODELS_SEGMENT,
    MODELS_WATCH_SEGMENT,
    STAGES,
    Place,
    Ring,
    orders_ring,
    reports_ring,
    seat_client_segment,
    seat_segment,
    side_segment,
)

LOCATES = 65536
BATCH_MAX = 64  # events of one input in one turn: bounds how long the stages after it wait
CANCELS_KEPT = 64  # slots of the cmd ring
LOCKSTEP_MESSAGES = 1  # that the source gives a round: each order meets the market that caused it
OPEN_ORDERS_MAX = 1 << 16
PACE = {"flat": lib.SOURCE_FLAT_OUT, "recorded": lib.SOURCE_RECORDED, "rate": lib.SOURCE_RATE}
STYLE = {"take": lib.STYLE_TAKE, "join": lib.STYLE_JOIN}
VENUE = {"paper": lib.VENUE_PAPER, "ouch50": lib.VENUE_OUCH50, "ouch42": lib.VENUE_OUCH42}
PAPER_FILL = {
    "queue": lib.PAPER_FILL_QUEUE,
    "front": lib.PAPER_FILL_FRONT,
    "through": lib.PAPER_FILL_THROUGH,
}
PAPER_LATENCY = {
    "fixed": lib.PAPER_LATENCY_FIXED,
    "uniform": lib.PAPER_LATENCY_UNIFORM,
    "exponential": lib.PAPER_LATENCY_EXPONENTIAL,
}
WAIT = {"spin": lib.WAIT_SPIN, "yield": lib.WAIT_YIELD, "park": lib.WAIT_PARK}
RECEIVE_INTERVAL_NS = 2000  # between two looks at the venue's socket: an answer may wait so long, the path need not
MILLISECOND_NS = 1_000_000
SNAPSHOT_ORDER_BYTES = 44  # of an add with its length, the longer of the two kinds, and some to spare
SNAPSHOT_OTHER_BYTES = 16 << 20  # directory, states and notices of as many instruments as there may be
SNAPSHOT_RETRY_MS_MAX = 30_000
MICROSECOND_NS = 1_000
SWEEP_INTERVAL_NS = 10 * MILLISECOND_NS  # between two looks at working orders


class ProcessStages:
    """The stages of one process, ready for `run`.

    `messages_per_round` is how many messages a recorded feed gives each lockstep round. `replay_gateway`
    makes the gateway encode orders without a venue: whoever replays a recording gives the executions.
    """

    def __init__(
        self,
        spec: EngineSpec,
        place: Place,
        *,
        run_epoch: int,
        messages_per_round: int = 0,
        replay_gateway: bool = False,
        strategies_here: bool = False,
        journal_epoch: int = 0,
    ) -> None:
        self.spec = spec
        self.place = place
        self.run_epoch = run_epoch
        self.messages_per_round = messages_per_round or LOCKSTEP_MESSAGES
        self.replay_gateway = replay_gateway
        self.strategies_here = strategies_here
        self.journal_epoch = journal_epoch or run_epoch  # of the run that is made again; by default this one
        self.feed: Any = ffi.NULL
        self.signal: Any = ffi.NULL
        self.risk: Any = ffi.NULL
        self.gateway: Any = ffi.NULL
        self.session_hold: Hold | None = None
        self.models: Loader | None = None  # where models may be loaded, in the process of signal
        self._kept: list[Any] = []  # owners of memory that C points into
        self._attached: dict[str, Segment] = {}
        self.rings = {ring.name: ring for ring in spec.rings}
        for stage in place.stages:
            setattr(self, stage, getattr(self, f"_build_{stage}")())
        self.duty = self._build_duty()

    # ---- segments ------------------------------------------------------------------------------

    def segment(self, name: str, kind: int, *, writable: bool = False) -> Segment:
        """A segment of this run, attached once; raises SegmentError when it is not this run's."""
        known = self._attached.get(name)
        if known is None or (writable and not known.writable):
            known = segments.attach(self.spec.name, name, kind, writable=writable, run_epoch=self.run_epoch)
            self._attached[name] = known
            self._kept.append(known)
        return known

    def _keep(self, owner: Any) -> Any:
        self._kept.append(owner)
        return owner

    def _memory(self, size: int) -> Any:
        owner, pointer = huge_memory(size)
        self._kept.append(owner)
        return pointer

    def _context(self, stage: str, context: Any) -> None:
        """What every stage has: its page, clock, control, histograms and turn records."""
        context.page = self.segment(f"stage.{stage}", lib.SEGMENT_STAGE, writable=True).cast("stage_page *")
        context.clock = self.segment("clock", lib.SEGMENT_CLOCK).cast("clock_page *")
        context.control = self.segment("control", lib.SEGMENT_CONTROL, writable=True).cast("control_page *")
        context.hops = self.segment(f"hops.{stage}", lib.SEGMENT_HISTOGRAMS, writable=True).cast("histogram *")
        if self.spec.lockstep:
            context.lockstep = self.segment("lockstep", lib.SEGMENT_LOCKSTEP, writable=True).cast("lockstep_page *")
        context.id = STAGES.index(stage)
        self._writer(f"{stage}.ctl", ffi.addressof(context, "ctl"))

    def _writer(self, name: str, writer: Any) -> None:
        """Attach as the writer of a ring, held back by its gating readers, ringing those who park."""
        ring = self.rings[name]
        segment = self.segment(name, lib.SEGMENT_RING, writable=True)
        _check(lib.ring_writer_attach(writer, segment.pointer), name)
        writer.looks_ahead = set(ring.gating) <= set(self.place.stages)
        for reader in ring.gating:
            cursor = self.segment(ring.cursor(reader), lib.SEGMENT_CURSOR)
            _check(lib.ring_writer_gate(writer, cursor.pointer), ring.cursor(reader))
        for process in self._parked_readers(ring):
            bell = self.segment(f"bell.{process}", lib.SEGMENT_DOORBELL, writable=True)
            _check(lib.ring_writer_bell(writer, bell.pointer), f"bell.{process}")

    def _parked_readers(self, ring: Ring) -> list[str]:
        return [
            each.process
            for each in self.spec.placement.places
            if each.wait == "park" and each is not self.place and set(each.stages) & set(ring.gating)
        ]

    def _reader(self, name: str, stage: str, reader: Any) -> None:
        """Attach as one of the readers that the ring's writer waits for."""
        ring = self.rings[name]
        segment = self.segment(name, lib.SEGMENT_RING)
        cursor = self.segment(ring.cursor(stage), lib.SEGMENT_CURSOR, writable=True)
        _check(lib.ring_reader_attach(reader, segment.pointer, cursor.pointer, lib.CURSOR_GATING), name)

    def _instruments(self) -> Any:
        return self.segment("instruments", lib.SEGMENT_INSTRUMENTS).cast("instrument_entry *")

    # ---- feed ----------------------------------------------------------------------------------

    def _build_feed(self) -> Any:
        config = self.spec.config.feed
        feed = self._keep(ffi.new("feed_stage *"))
        self._context("feed", feed.stage)
        self._writer("raw", ffi.addressof(feed, "raw"))
        self._reader("raw", "feed", ffi.addressof(feed, "raw_in"))
        self._writer("norm", ffi.addressof(feed, "norm"))
        feed.instruments = self._instruments()
        feed.instrument_count = len(self.spec.instruments)
        feed.locate = self._keep(ffi.new("uint32_t[]", LOCATES))
        feed.batch_max = self._feed_batch_max()
        feed.midnight_ns = self.spec.midnight_ns
        feed.silence_ns = config.silence_ms * MILLISECOND_NS if config.kind in ("mold", "zmq") else 0
        feed.trust_late_start = config.late_start == "trust"
        feed.book = self._book(config)
        if config.kind == "file":
            feed.source = self._source(config)
        elif config.kind == "pcap":
            self._capture(feed, config)
        elif config.kind == "mold":
            feed.line = self._line(config, feed.stage)
            pace_recovery(feed, self.rings["raw"], self.segment, config=self.spec.config.rings)
            if config.snapshot_host:
                feed.line.from_snapshot = 1
                feed.snapshot = self._snapshot(config, feed.stage)
        elif config.kind == "zmq":
            feed.ingress = self._ingress()
        lib.feed_init(feed)
        return feed

    def _ingress(self) -> Any:
        """What senders push, from the ring of the process that listens to them."""
        source = self._keep(ffi.new("ingress_source *"))
        self._reader("ingress", "feed", ffi.addressof(source, "ring"))
        source.page = self.segment(side_segment("ingress"), lib.SEGMENT_STAGE).cast("stage_page *")
        source.midnight_ns = self.spec.midnight_ns
        source.batch_max = self.messages_per_round if self.spec.lockstep else BATCH_MAX
        return source

    def _feed_batch_max(self) -> int:
        """Messages of one feed turn. Where signal shares the process, an order must not wait for the rest of its
        packet to be decoded: one. Elsewhere each message is published as it is decoded, and turns may be long;
        so they may flat out, where no message is due at any time."""
        feed = self.spec.config.feed
        if self.spec.lockstep:
            return self.messages_per_round if feed.kind == "pcap" else max(BATCH_MAX, self.messages_per_round)
        if feed.kind in ("file", "pcap") and feed.pace == "flat":
            return BATCH_MAX
        return 1 if "signal" in self.place.stages else BATCH_MAX

    def book_config(self, config: FeedConfig) -> Any:
        """``book_config *`` of this engine's books."""
        book = ffi.new("book_config *")
        book.instruments = len(self.spec.instruments)
        book.orders_max = config.orders_max
        book.levels_max = config.levels_max
        return book

    def _book(self, config: FeedConfig) -> Any:
        book_config = self.book_config(config)
        size = lib.book_bytes(book_config)
        book = lib.book_init(self._memory(size), size, book_config) if size else ffi.NULL
        if book == ffi.NULL:
            raise StageError(f"feed: no book of {config.orders_max} orders and {config.levels_max} levels can be made")
        return book

    def _source(self, config: FeedConfig) -> Any:
        """The recorded feed, mapped: its pages come in from the file as they are reached."""
        path = Path(config.path)
        if path.is_dir():
            return self._recorded_source(path)
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise StageError(f"feed: {path}: cannot be read: {error}") from None
        source = self._keep(ffi.new("source *"))
        source.bytes = ffi.cast("uint8_t *", self._keep(ffi.from_buffer(self._keep(mapped))))
        source.size = len(mapped)
        source.midnight_ns = self.spec.midnight_ns
        source.pace = lib.SOURCE_FLAT_OUT if self.spec.lockstep else PACE[config.pace]
        source.speed_ppm = round(config.speed * 1_000_000)
        source.interval_ns = max(1, 1_000_000_000 // config.rate_per_second)
        source.batch_max = self.messages_per_round if self.spec.lockstep else BATCH_MAX
        return source

    def _recorded_source(self, folder: Path) -> Any:
        """What a journal has of the market: every raw event, in the order in which it was received."""
        from hotpath.journal import Journal

        journal = Journal(folder)
        if journal.lost("raw") or journal.first("raw"):
            raise StageError(f"feed: {folder}: its raw events have a hole: the market cannot be played from it")
        events = self._keep(np.ascontiguousarray(journal.events("raw"), dtype_of("raw_event")))
        source = self._keep(ffi.new("source *"))
        source.events = ffi.cast("raw_event *", events.ctypes.data)
        source.size = len(events)
        source.finished = not len(events)
        source.batch_max = self.messages_per_round if self.spec.lockstep else BATCH_MAX
        return source

    def _capture(self, feed: Any, config: FeedConfig) -> None:
        """A line that is given the packets of a capture, by its own clock; nobody can be asked for what it lacks."""
        file = self._keep(MappedFile(Path(config.path)))
        chosen = self._keep(feed_packets(file, config.pcap_ports))
        capture = self._keep(ffi.new("capture *"))
        capture.bytes = file.pointer
        capture.packet = ffi.cast("pcap_packet *", chosen.packets.ctypes.data)
        capture.side = ffi.cast("uint8_t *", chosen.sides.ctypes.data)
        capture.count = len(chosen.packets)
        capture.pace = lib.SOURCE_FLAT_OUT if self.spec.lockstep else PACE[config.pace]
        capture.speed_ppm = round(config.speed * 1_000_000)
        line = self._line_memory(config, feed.stage)
        line.sides = chosen.lines
        for index in range(lib.LINE_SIDES_MAX):
            line.side[index].socket = line.request_socket[index] = -1
        feed.line, feed.capture = line, capture

    def _line_memory(self, config: FeedConfig, context: Any) -> Any:
        """A line as configured, without its sockets."""
        line = self._keep(ffi.cast("line *", self._memory(lib.line_bytes())))
        line.gap_wait_ns = config.gap_wait_us * MICROSECOND_NS
        line.gap_timeout_ns = config.gap_timeout_ms * MILLISECOND_NS
        line.line_silence_ns = config.line_silence_ms * MILLISECOND_NS
        line.session_wait_ns = config.silence_ms * MILLISECOND_NS
        line.clock = context.clock
        line.counter = context.page.counter
        if config.session:
            ffi.memmove(line.session, config.session.ljust(10).encode(), 10)
            line.pinned_session = 1
        return line

    def _line(self, config: FeedConfig, context: Any) -> Any:
        line = self._line_memory(config, context)
        lines, servers = open_lines(config), open_servers(config)
        for index, opened in enumerate(lines):
            line.side[index].socket = self._keep(opened).fileno()
        line.sides = len(lines)
        for index in range(lib.LINE_SERVERS_MAX):
            line.request_socket[index] = self._keep(servers[index]).fileno() if index < len(servers) else -1
        line.request_tries = config.request_tries
        line.batch_max = config.receive_batch
        line.request_interval_ns = config.request_interval_ms * MILLISECOND_NS
        line.hops = context.hops if config.kernel_stamps else ffi.NULL
        return line

    def _snapshot(self, config: FeedConfig, context: Any) -> Any:
        """The client of the snapshot server, with room for the largest snapshot that the books can take."""
        snapshot = self._keep(ffi.new("snapshot *"))
        server = snapshot.config
        try:
            server.address = socket.gethostbyname(config.snapshot_host).encode()
        except OSError as error:
            raise StageError(f"feed: snapshot server {config.snapshot_host}: {error.strerror}") from None
        server.port = config.snapshot_port
        server.username = config.snapshot_username.ljust(6).encode()
        server.password = config.snapshot_password().ljust(10).encode()
        server.send_bytes, server.receive_bytes = 1 << 12, 1 << 17
        server.heartbeat_ns = 1000 * MILLISECOND_NS
        for name in ("silence_ns", "connect_timeout_ns", "login_timeout_ns"):
            setattr(server, name, config.snapshot_timeout_ms * MILLISECOND_NS)
        snapshot.buffers = ffi.cast("uint8_t *", self._memory(server.send_bytes + server.receive_bytes))
        snapshot.capacity = SNAPSHOT_ORDER_BYTES * config.orders_max + SNAPSHOT_OTHER_BYTES
        snapshot.bytes = ffi.cast("uint8_t *", self._memory(snapshot.capacity))
        self._private_ring(snapshot, capacity=config.snapshot_hold)
        snapshot.timeout_ns = config.snapshot_timeout_ms * MILLISECOND_NS
        snapshot.backoff_ns_min = config.snapshot_retry_ms * MILLISECOND_NS
        snapshot.backoff_ns_max = max(config.snapshot_retry_ms, SNAPSHOT_RETRY_MS_MAX) * MILLISECOND_NS
        snapshot.counter = context.page.counter
        return snapshot

    def _private_ring(self, snapshot: Any, *, capacity: int) -> None:
        """A raw ring in this process's own memory, sealed like a segment: the kernels know no other kind."""
        slot_size = ffi.sizeof("raw_event")
        ring = self._memory(lib.ring_bytes(capacity, slot_size))
        cursor = self._memory(CURSOR_BYTES)
        lib.segment_seal(
            ring, ffi.new("segment_header *", {"kind": lib.SEGMENT_RING, "capacity": capacity, "slot_size": slot_size})
        )
        lib.segment_seal(cursor, ffi.new("segment_header *", {"kind": lib.SEGMENT_CURSOR, "capacity": 1}))
        writer, reader = ffi.addressof(snapshot, "hold"), ffi.addressof(snapshot, "hold_out")
        _check(lib.ring_writer_attach(writer, ring), "snapshot hold")
        _check(lib.ring_writer_gate(writer, cursor), "snapshot hold")
        _check(lib.ring_reader_attach(reader, ring, cursor, lib.CURSOR_GATING), "snapshot hold")

    # ---- signal --------------------------------------------------------------------------------

    def _build_signal(self) -> Any:
        count = len(self.spec.instruments)
        signal = self._keep(ffi.new("signal_stage *"))
        self._context("signal", signal.stage)
        self._reader("norm", "signal", ffi.addressof(signal, "norm"))
        self._reader("exec", "signal", ffi.addressof(signal, "exec"))
        self._reader("reject", "signal", ffi.addressof(signal, "reject"))
        self._writer("signal", ffi.addressof(signal, "signal"))
        fill_signal_config(signal.config, self.spec)
        signal.order_id_base = self.spec.order_id_base
        signal.feature = ffi.cast("feature_state *", self._memory(count * ffi.sizeof("feature_state")))
        signal.order = ffi.cast("working_order *", self._memory(count * ffi.sizeof("working_order")))
        signal.working = self._keep(ffi.new("uint32_t[]", count))
        self._bind_native(signal.native, count)
        signal.instruments = self._instruments()
        signal.instrument_count = count
        signal.batch_max = BATCH_MAX
        signal.sweep_interval_ns = SWEEP_INTERVAL_NS
        self._fill_rolls(signal)
        if self.spec.config.seats:
            signal.seats = self._seats(signal)
        if self.spec.config.models.enabled:
            signal.scorer = self._scorer(signal, count)
        lib.signal_init(signal)
        return signal

    def _scorer(self, signal: Any, count: int) -> Any:
        """The place of models. In a replay their generations are those that the turns name."""
        scorer = self._keep(ffi.new("scorer *"))
        page = self.segment(MODELS_SEGMENT, lib.SEGMENT_MODELS)
        watch = self.segment(MODELS_WATCH_SEGMENT, lib.SEGMENT_MODELS_WATCH, writable=True)
        scorer.page, scorer.watch = page.cast("models_page *"), watch.cast("models_watch *")
        scorer.instrument_count = count
        scorer.measures = not self.spec.lockstep and not self.replay_gateway
        self._writer("decision", ffi.addressof(signal, "decision"))
        self.models = Loader(scorer, instruments=count)
        return scorer

    def follow_models(self, *, succeeds: bool = False) -> None:
        """Take up what the desk names: now, and in a running engine from now on. `succeeds`: a dead one's place."""
        if self.models is None:
            return
        page = self.segment(MODELS_SEGMENT, lib.SEGMENT_MODELS)
        if not succeeds:
            self.models.first(page)
        if not self.spec.lockstep:
            self.models.follow(page)

    def _bind_native(self, native: Any, count: int) -> None:
        """The user's own function, if the configuration names one. Imports their code, and numba with it."""
        reference = self.spec.config.signal.native
        if not reference:
            return
        from hotpath.native import load_native

        native.function, owner = load_native(reference)
        self._keep(owner)
        native.state = ffi.cast("double *", self._memory(count * lib.NATIVE_STATE_MAX * ffi.sizeof("double")))

    def _seats(self, signal: Any) -> Any:
        """The places of co-processes. In a replay nobody comes to them: what they asked for is recorded."""
        terms = self.spec.config.seats
        count = len(self.spec.instruments)
        open_orders = sum(seat.open_orders_max for seat in terms)
        seats = self._keep(ffi.new("seats *"))
        size = lib.seats_bytes(len(terms), count, open_orders)
        if not lib.seats_init(seats, self._memory(size), size, len(terms), count, open_orders):
            raise StageError(f"signal: {len(terms)} seats, there may be {lib.SEATS_MAX}")
        seats.stage = ffi.addressof(signal, "stage")
        seats.signal = ffi.addressof(signal, "signal")
        self._writer("intake", ffi.addressof(seats, "intake"))
        self._reader("intake", "signal", ffi.addressof(seats, "intake_in"))
        seats.strategy_epoch = self.spec.strategy_epoch
        seats.order_id_base = self.spec.order_id_base
        seats.answer_timeout_ns = signal.config.answer_timeout_ns
        seats.sweep_interval_ns = SWEEP_INTERVAL_NS
        for index, config in enumerate(terms):
            self._seat(seats.seat[index], config)
        return seats

    def _seat(self, seat: Any, config: CoprocessConfig) -> None:
        seat.page = self.segment(seat_segment(config.name), lib.SEGMENT_SEAT, writable=True).cast("seat_page *")
        for key in ("account", "strategy", "policy", "open_orders_max", "messages_per_second_max"):
            setattr(seat, key, getattr(seat.page, key))
        seat.heartbeat_ns, seat.budget_ns = seat.page.heartbeat_ns, seat.page.budget_ns
        if self.replay_gateway:
            return
        client = self.segment(seat_client_segment(config.name), lib.SEGMENT_SEAT_CLIENT)
        seat.client = client.cast("seat_client_page *")
        self._reader(orders_ring(config.name), "signal", ffi.addressof(seat, "orders"))
        self._writer(reports_ring(config.name), ffi.addressof(seat, "reports"))

    def _fill_rolls(self, stage: Any) -> None:
        for index, roll_time_ns in enumerate(self.spec.roll_times_ns[: lib.ROLLS_AHEAD]):
            stage.roll_time_ns[index] = roll_time_ns

    # ---- risk ----------------------------------------------------------------------------------

    def _build_risk(self) -> Any:
        count = len(self.spec.instruments)
        risk = self._keep(ffi.new("risk_stage *"))
        self._context("risk", risk.stage)
        for name in ("norm", "exec", "signal"):
            self._reader(name, "risk", ffi.addressof(risk, name))
        self._writer("cmd", ffi.addressof(risk, "cmd"))
        self._writer("reject", ffi.addressof(risk, "reject"))
        risk.batch_max = BATCH_MAX
        risk.cancels_kept = min(CANCELS_KEPT, self.rings["cmd"].capacity(self.spec.config.rings) // 4)
        risk.order_id_base = self.spec.order_id_base
        self._fill_rolls(risk)
        gate_size = lib.gate_bytes(count, OPEN_ORDERS_MAX)
        lib.gate_init(ffi.addressof(risk, "gate"), self._memory(gate_size), gate_size, count, OPEN_ORDERS_MAX)
        risk.gate.entry = self._instruments()
        risk.gate.require_trading_state = self.spec.config.risk.require_trading_state
        if self.spec.config.models.enabled:
            watch = self.segment(MODELS_WATCH_SEGMENT, lib.SEGMENT_MODELS_WATCH)
            risk.models = watch.cast("models_watch *")
        risk.limits = self.segment("limits", lib.SEGMENT_LIMITS).cast("limits_page *")
        risk.limits_bytes = copy_bytes(count)
        for index in range(2):
            risk.limits_copy[index] = ffi.cast("limits_header *", self._memory(risk.limits_bytes))
        if not lib.risk_init(risk):
            raise StageError("risk: no copy of the limits is whole", next_step="start the engine again")
        return risk

    # ---- gateway -------------------------------------------------------------------------------

    def _hold_session(self, config: GatewayConfig) -> None:
        """One gateway for a venue session on this host, before it can log in and throw the other one out."""
        address = resolve(config.host, key="gateway.host")
        self.session_hold = hold(
            session_lock(address=address, port=config.port, username=config.username),
            f"gateway: the venue session of {config.username} at {config.host}:{config.port}",
            note=f"engine {self.spec.name}",
            next_step="stop that gateway first: of two in one session each would end the other's",
        )

    def _build_gateway(self) -> Any:
        config = self.spec.config
        if config.gateway.kind != "paper" and not self.replay_gateway:
            self._hold_session(config.gateway)
        settings = self._keep(ffi.new("gateway_config *"))
        fill_gateway_config(settings, self.spec, replay=self.replay_gateway)
        size = lib.gateway_bytes(settings)
        gateway = lib.gateway_init(self._memory(size), size, settings) if size else ffi.NULL
        if gateway == ffi.NULL:
            raise StageError("gateway: its configuration is out of range")
        self._context("gateway", gateway.stage)
        self._reader("cmd", "gateway", ffi.addressof(gateway, "cmd"))
        self._writer("exec", ffi.addressof(gateway, "exec"))
        if not self.replay_gateway:
            self._reader("adjust", "gateway", ffi.addressof(gateway, "adjust"))
        gateway.instruments = self._instruments()
        if not self.replay_gateway:
            gateway.limits = self.segment("limits", lib.SEGMENT_LIMITS).cast("limits_page *")
        if config.gateway.kind == "paper" and not self.replay_gateway:
            self._reader("norm", "gateway", ffi.addressof(gateway, "norm"))
            gateway.paper = self._paper(config)
        file = self._keep(
            intents.open_intents(
                intents_path(config), capacity=config.gateway.intents_max, trading_day=self.spec.trading_day
            )
        )
        status = lib.gateway_open(gateway, file.pointer, file.size)
        if status != lib.GATEWAY_OK:
            raise StageError(f"gateway: {intents_path(config)}: its intents contradict each other (status {status})")
        if not self.replay_gateway:
            self._promise(gateway, file, config.gateway)
        return gateway

    def _promise(self, gateway: Any, file: intents.IntentFile, config: GatewayConfig) -> None:
        """What the configuration wants of intents: that they outlive the process, or the machine's power."""
        try:
            file.promise(config.durability)
        except OSError as error:
            raise StageError(f"gateway: {file.path}: cannot be synced: {error.strerror}") from None
        if config.durability == "power":
            lib.gateway_make_durable(gateway, *file.durable())

    def _paper(self, config: Config) -> Any:
        settings = self._keep(ffi.new("paper_config *"))
        settings.book = self.book_config(config.feed)[0]
        settings.orders_max = OPEN_ORDERS_MAX
        settings.reports_max = 2 * OPEN_ORDERS_MAX
        settings.latency_ns = config.gateway.latency_ns
        settings.first_match_id = 1
        model = config.gateway.paper
        settings.fill, settings.latency = PAPER_FILL[model.fills], PAPER_LATENCY[model.latency]
        settings.latency_spread_ns, settings.latency_seed = model.latency_spread_ns, model.seed
        size = lib.paper_bytes(settings)
        paper = lib.paper_init(self._memory(size), size, settings) if size else ffi.NULL
        if paper == ffi.NULL:
            raise StageError("gateway: no paper venue of that size can be made")
        return paper

    # ---- the loop ------------------------------------------------------------------------------

    def _build_duty(self) -> Any:
        duty = self._keep(ffi.new("duty *"))
        for stage in self.place.stages:
            setattr(duty, stage, getattr(self, stage))
        duty.control = self.segment("control", lib.SEGMENT_CONTROL, writable=True).cast("control_page *")
        duty.clock = self.segment("clock", lib.SEGMENT_CLOCK).cast("clock_page *")
        if self.spec.lockstep:
            duty.lockstep = self.segment("lockstep", lib.SEGMENT_LOCKSTEP, writable=True).cast("lockstep_page *")
        bell = self.segment(f"bell.{self.place.process}", lib.SEGMENT_DOORBELL, writable=True)
        duty.bell = bell.cast("doorbell *")
        duty.wait = WAIT[self.place.wait]
        if not self.spec.lockstep:
            duty.leases = self._leases()
        duty.strategies_here = self.strategies_here
        duty.park_ns = MILLISECOND_NS // 5
        if self.place.wait == "spin" and not self.spec.lockstep and {"risk", "gateway"} & set(self.place.stages):
            duty.rehearsal = self._rehearsal(duty.clock)
        return duty

    def _leases(self) -> Any:
        """What this process watches of the others, and of itself (ffi/include/lease.h)."""
        config, here = self.spec.config.leases, set(self.place.stages)
        if not here & {"risk", "gateway"}:
            return ffi.NULL
        leases = self._keep(ffi.new("leases *"))
        leases.control = self.segment("control", lib.SEGMENT_CONTROL, writable=True).cast("control_page *")
        watched = set(STAGES[:-1]) - here if "gateway" in here else {"gateway"}
        for stage in watched:
            leases.stage[STAGES.index(stage)] = self.segment(f"stage.{stage}", lib.SEGMENT_STAGE).cast("stage_page *")
        leases.stage_ns = config.stage_ms * MILLISECOND_NS
        leases.hold_ns = config.hold_ms * MILLISECOND_NS
        leases.stale_hold_ns = config.stale_hold_ms * MILLISECOND_NS
        if "gateway" in here:
            leases.beat_ns[lib.BEAT_SUPERVISOR] = config.supervisor_ms * MILLISECOND_NS
            leases.beat_ns[lib.BEAT_CONTROL] = config.control_ms * MILLISECOND_NS
            leases.slept_ns = leases.stage_ns
            leases.feed = self.segment("stage.feed", lib.SEGMENT_STAGE).cast("stage_page *")
        return leases

    def _rehearsal(self, clock: Any) -> Any:
        """Orders that are never sent, in memory of this process's own."""
        settings = self._keep(ffi.new("gateway_config *"))
        fill_gateway_config(settings, self.spec, replay=True)  # no address, no secret
        size = lib.rehearsal_bytes(settings)
        made = lib.rehearsal_init(self._memory(size), size, settings, clock) if size else ffi.NULL
        if made == ffi.NULL:
            raise StageError("the rehearsal of orders cannot be made")
        return made

    def run(self, slice_ns: int) -> int:
        """Turn after turn for `slice_ns`, the GIL released: enum duty_result."""
        return int(lib.duty_run(self.duty, slice_ns))

    def close(self) -> None:
        """Leave the venue in order and let go of the memory."""
        if self.gateway != ffi.NULL:
            lib.gateway_close(self.gateway)
        if self.feed != ffi.NULL and self.feed.snapshot != ffi.NULL:
            lib.snapshot_close(self.feed.snapshot, lib.clock_now(self.feed.stage.clock))
        for owner in self._kept:
            if isinstance(owner, socket.socket):
                owner.close()
        if self.models is not None:
            self.models.close()
        self._kept.clear()
        self._attached.clear()
        if self.session_hold is not None:
            self.session_hold.release()


def _check(status: int, name: str) -> None:
    if status != lib.RING_OK:
        raise StageError(f"{name}: cannot be attached (ring status {status})")


def fill_signal_config(target: Any, spec: EngineSpec) -> None:
    """``signal_config`` from [signal]. Raises StageError naming the key that a kernel refuses."""
    signal = spec.config.signal
    for name in ffi.typeof("feature_config").fields:
        key = name[0]
        setattr(target.feature, key, getattr(signal.features, key))
    weights = signal.weights
    target.strategy.weight = [weights.microprice, weights.momentum, weights.reversion, weights.model, weights.custom]
    target.silent = not any(target.strategy.weight)
    if target.silent:  # the seats alone trade; the kernel's check wants a weight
        target.strategy.weight[lib.COMPONENT_MICROPRICE] = 1.0
    target.strategy.threshold = signal.threshold
    for key in ("imbalance_scale", "momentum_scale", "zscore_scale", "rsi_scale"):
        setattr(target.strategy, key, getattr(signal.scales, key))
    field = ffi.new("char **")
    if lib.feature_config_check(ffi.addressof(target, "feature"), field) != lib.FEATURE_OK:
        raise StageError(f"signal: signal.features.{ffi.string(field[0]).decode()} is out of range")
    if lib.strategy_config_check(ffi.addressof(target, "strategy"), field) != lib.STRATEGY_OK:
        raise StageError(f"signal: signal.{ffi.string(field[0]).decode()} is out of range")
    target.order_quantity_lots = signal.order_quantity_lots
    target.position_lots_max = signal.position_lots_max
    target.cooldown_ns = signal.cooldown_ms * MILLISECOND_NS
    target.order_life_ns = signal.order_life_ms * MILLISECOND_NS
    target.replace_interval_ns = signal.replace_interval_ms * MILLISECOND_NS
    target.answer_timeout_ns = signal.answer_timeout_ms * MILLISECOND_NS
    target.style = STYLE[signal.style]
    target.strategy_id = 1
    target.account = signal.account
    target.strategy_epoch = spec.strategy_epoch


def fill_gateway_config(target: Any, spec: EngineSpec, *, replay: bool) -> None:
    """``gateway_config`` from [gateway]."""
    config = spec.config.gateway
    target.terms.kind = VENUE[config.kind]
    target.terms.price_scale = 1
    target.terms.firm = config.firm.ljust(4).encode()
    target.terms.display = b"Y"[0]
    target.terms.capacity = b"P"[0]
    target.terms.customer = b"N"[0]
    session = target.session
    # A recording is replayed where neither the venue nor its secret is known.
    address = "0.0.0.0" if replay or config.kind == "paper" else resolve(config.host, key="gateway.host")
    session.address = address.encode()
    session.port = config.port
    session.username = config.username.ljust(6).encode()
    session.password = ("" if replay else config.password()).ljust(10).encode()
    session.send_bytes = 1 << 18
    session.receive_bytes = 1 << 20
    session.heartbeat_ns = config.heartbeat_ms * MILLISECOND_NS
    session.silence_ns = config.timeout_ms * MILLISECOND_NS
    session.connect_timeout_ns = 2000 * MILLISECOND_NS
    session.login_timeout_ns = 5000 * MILLISECOND_NS
    session.backoff_ns_min = config.reconnect_ms_min * MILLISECOND_NS
    session.backoff_ns_max = config.reconnect_ms_max * MILLISECOND_NS
    target.receive_interval_ns = RECEIVE_INTERVAL_NS
    target.quiet_ns = 100 * MILLISECOND_NS
    target.query_timeout_ns = 500 * MILLISECOND_NS
    target.kill_reset_ns = config.kill_escalate_ms * MILLISECOND_NS // 2  # before its process would be ended for it
    target.midnight_time_ns = spec.midnight_ns
    target.orders_max = config.intents_max
    target.batch_max = BATCH_MAX
    target.instrument_count = len(spec.instruments)
    target.replay = replay
