"""The two markets that the simulator runs, behind one interface.

    command --> submit --.
                         +--> market --> published messages (the feed)
    time -----> advance -'          \\--> reports (ours)

A crowd of seeded participants trades through a matching engine, or a recorded day is played and our
orders trade against it on paper. All per-message work is the kernels'; Python sees our orders only.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ffi import ffi, lib
from hotpath.errors import CaptureError, VenueError
from hotpath.venues.config import SimulatorConfig

FILLS_MAX = 4096
EVENTS_MAX = 256
OWNED_MAX = 1 << 16
INTENTS_PER_TURN = 20_000  # then the sockets get their turn
MESSAGES_PER_TURN = 2_000
DIRECTORY_SCAN_BYTES = 64 << 20  # how far into a recording its instruments are looked for
NO_INSTRUMENT: int = lib.NO_INSTRUMENT
# Nasdaq Global Select, round lots of 100, common stock, live, tier 1: as most of a real day's are
DIRECTORY_DETAIL = b"QNNCZ PN 1NN"


class Command(NamedTuple):
    """What an order session wants of the market. `order_id` counts from 1 over all sessions."""

    type: int  # lib.CMD_NEW, CMD_REPLACE, CMD_CANCEL
    order_id: int
    target_order_id: int
    instrument: int
    side: int
    price_ticks: int
    quantity_lots: int  # CMD_REPLACE: executed included; CMD_CANCEL: what is to remain
    ioc: bool


class Report(NamedTuple):
    """What the market made of it, or did to it later. `type` is one of lib.EXEC_*."""

    type: int
    order_id: int
    target_order_id: int
    time_ns: int  # since the epoch, venue time
    price_ticks: int
    quantity_lots: int
    leaves_lots: int
    venue_ref: int
    match_id: int
    reason: int
    liquidity: str


class Market(Protocol):
    """What the simulator needs of a market."""

    publisher: Any  # publisher *
    symbols: dict[str, int]  # by name, without padding: instrument
    finished: bool
    now_ns: int  # venue time since the epoch

    def open_day(self) -> None:
        """Publish what stands before the first order."""

    def start_time_ns(self) -> int:
        """Venue time at which it begins, since the epoch."""

    def advance(self, now_ns: int) -> bool:
        """Run up to an instant of venue time; False when there is more to do before it."""

    def submit(self, command: Command) -> None:
        """One order of ours, now."""

    def take_reports(self) -> list[Report]:
        """What has happened to our orders since the last call, in order."""

    def publish_state(self, instrument: int, state: int) -> None:
        """Halt an instrument, or let it trade."""

    def publish_broken(self, instrument: int, match_id: int) -> None:
        """Tell the feed that an execution did not happen."""

    def live_book(self) -> Any:
        """The live orders, as the feed has told them: ``const book *``. For snapshots of it."""

    def locate_of(self, instrument: int) -> int:
        """The venue's number of an instrument today."""

    def trading_state(self, instrument: int) -> int:
        """As the feed has told it: enum trading_state."""

    def close_day(self) -> None:
        """Publish the end of the day."""

    def counts(self) -> dict[str, int]:
        """For the summary."""


def kernel_memory(size: int) -> tuple[Any, Any]:
    """(owner, pointer) of memory on a cache line; the owner keeps it alive. Raises VenueError when size is 0."""
    if not size:
        raise VenueError("the simulator's configuration is out of a kernel's range")
    try:
        owner = mmap.mmap(-1, size + lib.CACHE_LINE_SIZE)
    except OSError as error:
        raise VenueError(f"no memory for the simulator's books: {size:,} bytes: {error.strerror}") from None
    return owner, ffi.cast("uint8_t *", ffi.from_buffer(owner))


def make_kernel(name: str, config: Any) -> tuple[Any, Any]:
    """(owner, kernel) of `name`_init over memory of `name`_bytes."""
    size = getattr(lib, f"{name}_bytes")(config)
    owner, memory = kernel_memory(size)
    kernel = getattr(lib, f"{name}_init")(memory, size, config)
    if kernel == ffi.NULL:
        raise VenueError(f"the simulator's {name} refused its memory")
    return owner, kernel


def make_publisher(config: SimulatorConfig, instruments: int) -> tuple[Any, Any]:
    """(owner, publisher) as configured."""
    settings = ffi.new("publisher_config *")
    settings.session = config.session.ljust(10).encode()
    settings.midnight_ns = config.midnight_ns
    settings.store_bytes, settings.store_messages = config.store_bytes, config.store_messages
    settings.instruments = instruments
    settings.packet_bytes_max = config.packet_bytes_max
    return make_kernel("publisher", settings)


def publish(publisher: Any, type_: str, **fields: Any) -> None:
    """One ITCH message by the names of its fields in itch_message."""
    message = ffi.new("itch_message *")
    message.type = ord(type_)
    ffi.buffer(ffi.addressof(message, "detail"))[:] = b" " * ffi.sizeof(message.detail)
    for name, value in fields.items():
        if name == "detail":
            ffi.buffer(ffi.addressof(message, "detail"))[: len(value)] = value
        elif name == "number":
            for i, number in enumerate(value):
                message.number[i] = number
        else:
            setattr(message, name, value)
    target = ffi.new("uint8_t[64]")
    length = lib.itch_encode(message, target, 64)
    if not length or lib.publisher_message(publisher, target, length) != lib.PUBLISHER_OK:
        raise VenueError(f"an ITCH message of type {type_} cannot be encoded: {fields}")


def publish_broken(publisher: Any, instrument: int, match_id: int, time_ns: int) -> None:
    """The feed's word that an execution did not happen."""
    event = ffi.new("norm_event *", {"reference": match_id})
    event.header.type = lib.NORM_BROKEN
    event.header.instrument = instrument
    event.header.origin_time_ns = time_ns
    lib.publisher_event(publisher, event)


@dataclass
class LiveOrder:
    """An order of ours that rests with the crowd."""

    ref: int
    instrument: int
    side: int
    price_ticks: int
    leaves_lots: int
    filled_lots: int


class CrowdMarket:
    """Seeded participants and our orders meet in one matching engine."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        names = config.symbols or [self._symbol(i) for i in range(config.instruments)]
        self.symbols = {name: i for i, name in enumerate(names)}
        self.finished = False
        self.now_ns = self.start_time_ns()
        count = len(names)
        self._publisher_memory, self.publisher = make_publisher(config, count)
        for name, i in self.symbols.items():
            lib.publisher_instrument(self.publisher, i, i + 1, name.ljust(8).encode())
        engine = ffi.new("match_config *")
        engine.book.instruments = count
        engine.book.orders_max = 2 * config.live_orders + OWNED_MAX
        engine.book.levels_max = engine.book.orders_max
        engine.owned_max = OWNED_MAX
        engine.first_order_ref = engine.first_match_id = 1
        self._match_memory, self._match = make_kernel("match", engine)
        settings = ffi.new("flow_config *")
        settings.seed = config.seed
        settings.midnight_ns = config.midnight_ns
        settings.start_ns = config.open_ns
        settings.mean_gap_ns = max(1, 1_000_000_000 // config.intents_per_second)
        settings.increment_ticks = config.increment_ticks
        settings.instruments = count
        settings.live_orders = config.live_orders
        self._flow_memory, flow = make_kernel("flow", settings)
        self._crowd = ffi.new("exchange_crowd *")
        self._crowd.flow, self._crowd.match, self._crowd.publisher = flow, self._match, self.publisher
        self._events = ffi.new("norm_event[]", EVENTS_MAX)
        self._fills = ffi.new("match_fill[]", FILLS_MAX)
        self._output = ffi.new("match_output *")
        self._output.event, self._output.events_max = self._events, EVENTS_MAX
        self._output.fill, self._output.fills_max = self._fills, FILLS_MAX
        self._result = ffi.new("match_result *")
        self._status = ffi.new("int *")
        self._request = ffi.new("match_request *")
        self._live: dict[int, LiveOrder] = {}
        self._states: dict[int, int] = {}  # of those not trading as the day began
        self._reports: list[Report] = []

    @staticmethod
    def _symbol(instrument: int) -> str:
        name = ffi.new("char[8]")
        lib.flow_symbol(instrument, name)
        return bytes(ffi.buffer(name)).decode().rstrip()

    def start_time_ns(self) -> int:
        """The opening."""
        return self.config.midnight_ns + self.config.open_ns

    def open_day(self) -> None:
        """System events, a directory entry and a trading state for each instrument."""
        at = self.config.open_ns
        publish(self.publisher, "S", time_ns=at, event=ord("O"))
        for name, i in self.symbols.items():
            stock = name.ljust(8).encode()
            publish(
                self.publisher,
                "R",
                time_ns=at,
                locate=i + 1,
                stock=stock,
                detail=DIRECTORY_DETAIL,
                number=(100, 0),
            )
        for name, i in self.symbols.items():
            publish(self.publisher, "H", time_ns=at, locate=i + 1, stock=name.ljust(8).encode(), event=ord("T"))
        for event in "SQ":
            publish(self.publisher, "S", time_ns=at, event=ord(event))

    def close_day(self) -> None:
        """End of market hours, of system hours, of messages."""
        for event in "MEC":
            publish(self.publisher, "S", time_ns=self.now_ns - self.config.midnight_ns, event=ord(event))

    def advance(self, now_ns: int) -> bool:
        """The crowd's intents up to `now_ns`."""
        status = lib.exchange_run_crowd(self._crowd, now_ns, INTENTS_PER_TURN, self._output)
        self._collect()
        if status == lib.EXCHANGE_MORE:
            return False
        self.now_ns = max(self.now_ns, now_ns)
        return True

    def _collect(self) -> None:
        """Fills of ours become reports; a taker's come before its maker's, as it was first."""
        for fill in self._fills[0 : self._output.fills]:
            for owner, liquidity in ((fill.taker_owner, "R"), (fill.maker_owner, "A")):
                order = self._live.get(owner)
                if order is None:
                    continue
                order.leaves_lots -= fill.quantity_lots
                order.filled_lots += fill.quantity_lots
                if not order.leaves_lots:
                    del self._live[owner]
                self._report(
                    lib.EXEC_FILL,
                    owner,
                    order,
                    quantity_lots=fill.quantity_lots,
                    price_ticks=fill.price_ticks,
                    match_id=fill.match_id,
                    liquidity=liquidity,
                )
        self._output.fills = 0

    def _report(self, type_: int, order_id: int, order: LiveOrder | None, **changes: Any) -> None:
        values: dict[str, Any] = {
            "target_order_id": 0,
            "time_ns": self.now_ns,
            "price_ticks": order.price_ticks if order else 0,
            "quantity_lots": order.leaves_lots if order else 0,
            "leaves_lots": order.leaves_lots if order else 0,
            "venue_ref": order.ref if order else 0,
            "match_id": 0,
            "reason": 0,
            "liquidity": "",
        }
        self._reports.append(Report(type_, order_id, **(values | changes)))

    def take_reports(self) -> list[Report]:
        """See Market."""
        reports, self._reports = self._reports, []
        return reports

    def _ask(self, **fields: int) -> int:
        """One request to the engine: its status; the result in self._result. Fills come as reports."""
        ffi.memmove(self._request, ffi.new("match_request *", fields), ffi.sizeof("match_request"))
        self._request.time_ns = self.now_ns
        request = self._request
        while lib.exchange_submit(self._crowd, request, self._output, self._result, self._status) == lib.EXCHANGE_MORE:
            self._collect()
            request = ffi.NULL
        return int(self._status[0])

    def submit(self, command: Command) -> None:
        """See Market."""
        if command.type == lib.CMD_NEW:
            self._enter(command)
        elif command.type == lib.CMD_REPLACE:
            self._replace(command)
        else:
            self._cancel(command)

    def _enter(self, command: Command) -> None:
        order = LiveOrder(
            lib.match_next_order_ref(self._match),
            command.instrument,
            command.side,
            command.price_ticks,
            command.quantity_lots,
            0,
        )
        mark = len(self._reports)
        self._live[command.order_id] = order
        self._report(lib.EXEC_ACCEPTED, command.order_id, order)
        status = self._ask(
            action=lib.MATCH_ENTER,
            instrument=command.instrument,
            side=command.side,
            price_ticks=command.price_ticks,
            quantity_lots=command.quantity_lots,
            owner=command.order_id,
            time_in_force=lib.TIF_IOC if command.ioc else lib.TIF_DAY,
        )
        if status == lib.MATCH_REFUSED:
            del self._live[command.order_id], self._reports[mark:]
            self._refuse(lib.EXEC_REJECTED, command, self._result.reason)
            return
        self._settle(command.order_id, "I" if command.ioc else "Z")

    def _settle(self, order_id: int, reason: str) -> None:
        """After the engine is done with a taker: its fills, and what left unexecuted."""
        removed = self._result.removed_lots
        self._collect()
        order = self._live.get(order_id)
        if removed and order is not None:
            del self._live[order_id]
            self._report(lib.EXEC_CANCELED, order_id, order, quantity_lots=removed, leaves_lots=0, reason=ord(reason))

    def _refuse(self, type_: int, command: Command, reason: int) -> None:
        order_id = command.target_order_id if type_ == lib.EXEC_CANCEL_REJECTED else command.order_id
        self._report(type_, order_id, None, target_order_id=command.target_order_id, reason=reason)

    def _replace(self, command: Command) -> None:
        old = self._live.get(command.target_order_id)
        if old is None:
            self._refuse(lib.EXEC_REPLACE_REJECTED, command, lib.VENUE_REPLACE_NOT_ALLOWED)
            return
        if command.quantity_lots <= old.filled_lots:
            self._refuse(lib.EXEC_REPLACE_REJECTED, command, lib.VENUE_BAD_QUANTITY)
            return
        left = command.quantity_lots - old.filled_lots
        ref = lib.match_next_order_ref(self._match)
        new = LiveOrder(ref, old.instrument, old.side, command.price_ticks, left, old.filled_lots)
        mark = len(self._reports)
        self._live[command.order_id] = new
        self._report(lib.EXEC_REPLACED, command.order_id, new, target_order_id=command.target_order_id)
        status = self._ask(
            action=lib.MATCH_REPLACE,
            order_ref=old.ref,
            price_ticks=command.price_ticks,
            quantity_lots=left,
            owner=command.order_id,
            time_in_force=lib.TIF_IOC if command.ioc else lib.TIF_DAY,
        )
        if status == lib.MATCH_REFUSED:
            del self._live[command.order_id], self._reports[mark:]
            self._refuse(lib.EXEC_REPLACE_REJECTED, command, self._result.reason)
            return
        del self._live[command.target_order_id]
        self._settle(command.order_id, "I" if command.ioc else "Z")

    def _cancel(self, command: Command) -> None:
        order = self._live.get(command.target_order_id)
        if order is None or command.quantity_lots >= order.leaves_lots:
            self._refuse(lib.EXEC_CANCEL_REJECTED, command, lib.VENUE_OTHER)
            return
        gone = order.leaves_lots - command.quantity_lots
        self._ask(action=lib.MATCH_REDUCE, order_ref=order.ref, quantity_lots=gone)
        order.leaves_lots -= gone
        if not order.leaves_lots:
            del self._live[command.target_order_id]
        self._report(lib.EXEC_CANCELED, command.target_order_id, order, quantity_lots=gone, reason=ord("U"))

    def publish_state(self, instrument: int, state: int) -> None:
        """See Market."""
        lib.match_state(self._match, instrument, state, self.now_ns, self._output)
        self._states[instrument] = state
        for event in self._events[0 : self._output.events]:
            lib.publisher_event(self.publisher, ffi.addressof(event))
        self._output.events = 0

    def publish_broken(self, instrument: int, match_id: int) -> None:
        """See Market."""
        publish_broken(self.publisher, instrument, match_id, self.now_ns)

    def best(self, instrument: int, side: int) -> int:
        """The best price of a side in ticks; 0 when there is none."""
        level = ffi.new("book_level *")
        return int(level.price_ticks) if lib.book_depth(self.live_book(), instrument, side, level, 1) else 0

    def live_book(self) -> Any:
        """The engine's own book."""
        return lib.match_book(self._match)

    def locate_of(self, instrument: int) -> int:
        """See Market."""
        return instrument + 1

    def trading_state(self, instrument: int) -> int:
        """See Market."""
        return self._states.get(instrument, int(lib.STATE_TRADING))

    def counts(self) -> dict[str, int]:
        """See Market."""
        return {
            "intents": self._crowd.intents,
            "intents_refused": self._crowd.refused,
            "book_events": self._crowd.events,
            "unpublished": self._crowd.unpublished,
            "live_orders": lib.book_order_count(lib.match_book(self._match)),
        }


class RecordedMarket:
    """A recorded day passes by; our orders trade against it on paper."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.finished = False
        self._file = self._map(config.recording)
        locates = self._scan(self._file)
        if not locates:
            raise CaptureError(f"{config.recording}: no instrument found: is it a length-prefixed ITCH 5.0 file?")
        self._instrument = ffi.new("uint32_t[65536]", [NO_INSTRUMENT] * 65536)
        self.symbols = {}
        for i, (locate, name) in enumerate(sorted(locates.items())):
            self._instrument[locate] = i
            self.symbols[name] = i
        self._publisher_memory, self.publisher = make_publisher(config, len(locates))
        for locate, name in locates.items():
            lib.publisher_instrument(self.publisher, self._instrument[locate], locate, name.ljust(8).encode())
        self._context = ffi.new("itch_context *")
        self._context.instrument, self._context.midnight_ns = self._instrument, config.midnight_ns
        settings = ffi.new("paper_config *")
        settings.book.instruments = len(locates)
        settings.book.orders_max = min(1 << 24, max(1 << 16, len(self._file) // 64))
        settings.book.levels_max = min(settings.book.orders_max, 1 << 22)
        settings.orders_max = OWNED_MAX
        settings.reports_max = 2 * OWNED_MAX
        settings.latency_ns = config.latency_ns
        settings.first_match_id = 1 << 40  # apart from the day's own
        self._paper_memory, self._paper = make_kernel("paper", settings)
        self._recording = ffi.new("exchange_recording *")
        self._bytes = ffi.from_buffer(self._file)
        self._recording.bytes = ffi.cast("uint8_t *", self._bytes)
        self._recording.size = len(self._file)
        self._recording.context, self._recording.paper = self._context, self._paper
        self._recording.publisher = self.publisher
        self._locates = sorted(locates)
        self._states = ffi.new("uint8_t[]", [lib.STATE_TRADING] * len(locates))
        if config.glimpse_port >= 0:
            self._book_memory, self._recording.book = make_kernel("book", ffi.addressof(settings, "book"))
            self._recording.state = self._states
        self._command = ffi.new("cmd_event *")
        self._exec = ffi.new("exec_event *")
        self._reports: list[Report] = []
        self.now_ns = self.start_time_ns()

    @staticmethod
    def _map(path: str) -> mmap.mmap:
        try:
            with Path(path).open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CaptureError(f"{path}: cannot be read: {error}") from None

    @staticmethod
    def _scan(file: mmap.mmap) -> dict[int, str]:
        """Names by locate, from directory messages and, where a slice has none, from adds and trades."""
        stock_offset = {b"R": 11, b"A": 24, b"F": 24, b"P": 24, b"Q": 19, b"H": 11}
        locates: dict[int, str] = {}
        position, end = 0, min(len(file), DIRECTORY_SCAN_BYTES)
        while position + 2 <= end:
            length = file[position] << 8 | file[position + 1]
            start = position + 2
            position = start + length
            offset = stock_offset.get(file[start : start + 1])
            if offset is None or position > len(file) or length < offset + 8:
                continue
            (locate,) = struct.unpack_from(">H", file, start + 1)
            if locate not in locates:
                locates[locate] = file[start + offset : start + offset + 8].decode("ascii", "replace").rstrip()
        return locates

    def start_time_ns(self) -> int:
        """Time of the first recorded message."""
        return self.config.midnight_ns + int(lib.exchange_recording_time(self._recording))

    def open_day(self) -> None:
        """The recording holds its own opening."""

    def close_day(self) -> None:
        """The recording holds its own end."""

    def advance(self, now_ns: int) -> bool:
        """The recorded messages up to `now_ns`; flat out, as many as one turn may hold."""
        flat = self.config.pace == "flat"
        until = (1 << 63) if flat else now_ns - self.config.midnight_ns
        status = lib.exchange_run_recording(self._recording, until, MESSAGES_PER_TURN)
        self._poll()
        self.finished = status == lib.EXCHANGE_END
        if status == lib.EXCHANGE_MORE and not flat:
            return False
        if flat:
            now_ns = self.config.midnight_ns + int(lib.exchange_recording_time(self._recording))
        self.now_ns = max(self.now_ns, now_ns)
        self._settle()
        return True

    def _settle(self) -> None:
        """Orders whose time has come take effect."""
        while lib.paper_advance(self._paper, self.now_ns) == lib.PAPER_FULL:
            self._poll()
        self._poll()

    def _poll(self) -> None:
        report = self._exec
        while lib.paper_poll(self._paper, report):
            self._reports.append(
                Report(
                    report.header.type,
                    report.order_id,
                    report.target_order_id,
                    report.header.origin_time_ns,
                    report.price_ticks,
                    report.quantity_lots,
                    report.leaves_lots,
                    report.venue_ref,
                    report.match_id,
                    report.reason,
                    chr(report.liquidity) if report.liquidity else "",
                )
            )

    def take_reports(self) -> list[Report]:
        """See Market."""
        reports, self._reports = self._reports, []
        return reports

    def submit(self, command: Command) -> None:
        """See Market."""
        target = self._command
        target.header.type = command.type
        target.header.instrument = command.instrument
        target.header.origin_time_ns = self.now_ns
        target.order_id, target.target_order_id = command.order_id, command.target_order_id
        target.side = command.side
        target.price_ticks, target.quantity_lots = command.price_ticks, command.quantity_lots
        target.time_in_force = lib.TIF_IOC if command.ioc else lib.TIF_DAY
        while lib.paper_order(self._paper, target) == lib.PAPER_FULL:
            self._settle()
        self._settle()

    def publish_state(self, instrument: int, state: int) -> None:
        """A recorded day has its own halts: refused."""
        raise VenueError("a recorded market cannot be halted")

    def publish_broken(self, instrument: int, match_id: int) -> None:
        """The execution was on paper, and no feed told of it: nothing to take back."""

    def live_book(self) -> Any:
        """The recorded orders; kept only where snapshots of them may be asked for."""
        return self._recording.book

    def locate_of(self, instrument: int) -> int:
        """See Market."""
        return self._locates[instrument]

    def trading_state(self, instrument: int) -> int:
        """See Market."""
        return int(self._states[instrument])

    def counts(self) -> dict[str, int]:
        """See Market."""
        return {"recorded_messages": self._recording.messages, "recorded_unknown": self._recording.unknown}


MARKETS: dict[str, Callable[[SimulatorConfig], Market]] = {"crowd": CrowdMarket, "recording": RecordedMarket}
