"""Runs one Python strategy on its seat: memory, attachment, and the calls of its methods.

    StrategyHost.turn()    host_next (C) -> on_event | on_batch | on_order | on_timer ...   until there is nothing more

The same object serves a process of its own (hotpath/strategy_process.py) and a replay in this process
(hotpath/replay.py). Taking the seat is a matter of a few turns, since in virtual time nobody may wait for another.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath import segments
from hotpath.config import StrategyConfig
from hotpath.engine import EngineSpec, huge_memory
from hotpath.errors import RingError, StrategyError
from hotpath.seat_lock import take_seat
from hotpath.segments import Segment
from hotpath.strategy import Instrument, Report, Strategy, strategy_params
from hotpath.topology import answer_segment, orders_ring, reports_ring, seat_client_segment, seat_segment, side_segment
from hotpath.user_code import load_object

CALLS_MAX = 4096  # of one live turn: between two looks at signals
NEVER = 2**64 - 1
EPOCHS = 2**32 - 1


class StrategyHost:
    """One strategy, its tables and its seat.

    `error` is what it raised, `cut` the engine's reason for cutting it off; either ends its work.
    """

    def __init__(self, spec: EngineSpec, config: StrategyConfig, *, run_epoch: int, log: TextIO | None = None) -> None:
        """Load the class and announce the strategy to its seat.

        Raises ConfigError, StrategyError, SegmentError, or SeatError when another process has the seat.
        """
        self.spec = spec
        self.config = config
        self.run_epoch = run_epoch
        self.log = log or sys.stderr
        self.error: BaseException | None = None
        self.cut = ""
        self._kept: list[Any] = []
        self._leaving = 0  # the request by which it leaves, until it is sent
        self._started = self._open = False
        self._calls = self._reports = self._timers_told = 0
        self._timers: dict[str, list[int]] = {}  # interval, next instant
        self.strategy = self._make_strategy()
        self._lock = take_seat(spec.name, config.name, run_epoch=run_epoch, next_step="end that process first")
        try:
            self.c = self._make_host()
            self._bind_tables()
            self._announce()
        except BaseException:
            os.close(self._lock)
            raise

    # ---- the strategy ------------------------------------------------------------------------------

    def _make_strategy(self) -> Strategy:
        config = self.config
        key = f"strategies.{config.name}"
        found = load_object(config.code, key=f"{key}.class")
        if not isinstance(found, type) or not issubclass(found, Strategy):
            raise StrategyError(f"{key}.class: {config.code} is no subclass of hotpath.strategy.Strategy")
        self.batch_mode = self._mode(found) == "batch"
        try:
            params = strategy_params(found, config.params)
        except StrategyError as error:
            raise StrategyError(f"{key}.params: {error}", next_step=error.next_step) from None
        try:
            strategy = found()
        except SystemExit as error:
            raise StrategyError(
                f"{key}.class: {config.code} ended the process as it was made: {summary(error)}"
            ) from None
        strategy._host = self
        strategy.params = params
        return strategy

    def _mode(self, found: type[Strategy]) -> str:
        by_event = found.on_event is not Strategy.on_event
        by_batch = found.on_batch is not Strategy.on_batch
        if self.config.mode != "auto":
            return self.config.mode
        if by_event and by_batch:
            raise StrategyError(
                f"strategies.{self.config.name}: {found.__name__} has on_event and on_batch",
                next_step='say which: mode = "event" or mode = "batch"',
            )
        return "batch" if by_batch else "event"

    # ---- memory ------------------------------------------------------------------------------------

    def _segment(self, name: str, kind: int, *, writable: bool = False) -> Segment:
        found = segments.attach(self.spec.name, name, kind, writable=writable, run_epoch=self.run_epoch)
        self._kept.append(found)
        return found

    def _memory(self, size: int) -> Any:
        owner, pointer = huge_memory(size)
        self._kept.append(owner)
        return pointer

    def _make_host(self) -> Any:
        name, config, spec = self.config.name, self.config, self.spec
        c = ffi.new("strategy_host *")
        c.page = self._segment(seat_segment(name), lib.SEGMENT_SEAT).cast("seat_page *")
        client = self._segment(seat_client_segment(name), lib.SEGMENT_SEAT_CLIENT, writable=True)
        c.client = client.cast("seat_client_page *")
        c.clock = self._segment("clock", lib.SEGMENT_CLOCK).cast("clock_page *")
        self.control = self._segment("control", lib.SEGMENT_CONTROL).cast("control_page *")
        self.lockstep: Any = ffi.NULL
        if spec.lockstep:
            self.lockstep = self._segment("lockstep", lib.SEGMENT_LOCKSTEP, writable=True).cast("lockstep_page *")
            c.lockstep = self.lockstep
        answer = self._segment(answer_segment(name), lib.SEGMENT_HISTOGRAMS, writable=True)
        c.answer = ffi.NULL if spec.lockstep else answer.cast("histogram *")
        c.instruments = self._segment("instruments", lib.SEGMENT_INSTRUMENTS).cast("instrument_entry *")
        c.instrument_count = len(spec.instruments)
        c.batch_max, c.order_max = config.batch_max, config.open_orders_max
        c.columns = self.batch_mode
        c.wants = self.strategy.wants
        for key, _ in ffi.typeof("feature_config").fields:
            setattr(c.feature, key, getattr(spec.config.signal.features, key))
        if config.book:
            c.book = self._book()
        self._attach_reader(ffi.addressof(c, "norm"), "norm", lib.CURSOR_OBSERVER)
        self._attach_reader(ffi.addressof(c, "reports"), reports_ring(name), lib.CURSOR_GATING)
        lib.ring_join(ffi.addressof(c, "reports"))
        size = lib.host_bytes(c.instrument_count, c.batch_max, c.order_max)
        assert lib.host_init(c, self._memory(size), size), "the memory is as large as was asked for"
        self._choose_instruments(c)
        return c

    def _attach_reader(self, reader: Any, ring: str, kind: int) -> None:
        slots = self._segment(ring, lib.SEGMENT_RING)
        cursor = self._segment(f"{ring}.{self.config.name}", lib.SEGMENT_CURSOR, writable=True)
        _check(lib.ring_reader_attach(reader, slots.pointer, cursor.pointer, kind), ring)

    def _book(self) -> Any:
        feed = self.spec.config.feed
        config = ffi.new("book_config *")
        config.instruments = len(self.spec.instruments)
        config.orders_max, config.levels_max = feed.orders_max, feed.levels_max
        size = lib.book_bytes(config)
        return lib.book_init(self._memory(size), size, config)

    def _choose_instruments(self, c: Any) -> None:
        symbols = self.spec.symbols
        wanted = self.config.instruments
        unknown = sorted(set(wanted) - set(symbols))
        if unknown:
            raise StrategyError(
                f"strategies.{self.config.name}.instruments: {', '.join(unknown)}: not in the reference data"
            )
        if wanted:
            for index, symbol in enumerate(symbols):
                c.wanted[index] = symbol in wanted

    def _bind_tables(self) -> None:
        """NumPy views of what C keeps, read-only."""
        c, count = self.c, int(self.c.instrument_count)
        self.market = _view(c.market, "strategy_market", count)
        self.positions = _view(c.position, "strategy_position", count)
        values = np.frombuffer(ffi.buffer(c.value, count * lib.FEATURES_MAX * 8), np.float64)
        values.flags.writeable = False
        self.features: npt.NDArray[np.float64] = values.reshape(count, lib.FEATURES_MAX)
        self._orders = _view(c.order, "strategy_order", int(c.order_max))
        self._events = _view(c.event, "strategy_event", int(c.batch_max))
        self._levels = [_view(side, "book_level", lib.HOST_DEPTH_MAX) for side in (c.bid, c.ask)]
        self._counts = ffi.new("uint32_t[2]")
        self.instruments = tuple(Instrument(index, entry, c) for index, entry in enumerate(self.spec.instruments))
        self.by_symbol = {instrument.symbol: instrument for instrument in self.instruments}
        page = self._segment(side_segment(self.config.name), lib.SEGMENT_STAGE, writable=True)
        self.page = page.cast("stage_page *")

    @property
    def open_orders(self) -> npt.NDArray[Any]:
        """Orders that may be open: a view."""
        return self._orders[: self.c.order_count]

    def depth(self, index: int, levels: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """(bids, offers) of one instrument, best first: views."""
        if not lib.host_depth(self.c, index, max(0, levels), self._counts):
            raise StrategyError(
                f"strategy {self.config.name} keeps no book", next_step="say book = true in its [[strategies]]"
            )
        bids, offers = self._levels
        return bids[: self._counts[lib.SIDE_BUY]], offers[: self._counts[lib.SIDE_SELL]]

    # ---- the seat ----------------------------------------------------------------------------------

    def _announce(self) -> None:
        c = self.c
        c.attach_epoch = max(int(c.client.attach_epoch), int(c.page.attach_epoch)) % EPOCHS + 1
        start_time = segments.process_start_time(os.getpid()) or 0
        lib.seat_client_announce(c.client, c.attach_epoch, os.getpid(), start_time, lib.clock_now(c.clock))

    def _take_orders_ring(self) -> bool:
        """Whether the seat is ours: once the engine knows of us, the ring is emptied and opened."""
        c = self.c
        if not lib.seat_client_known(c.page, c.attach_epoch):
            lib.seat_client_beat(c.client, lib.clock_now(c.clock))
            return False
        ring = orders_ring(self.config.name)
        segment = self._segment(ring, lib.SEGMENT_RING, writable=True)
        lib.seat_client_reset(segment.pointer, c.page.request_position)
        writer = ffi.addressof(c, "orders")
        _check(lib.ring_writer_attach(writer, segment.pointer), ring)
        cursor = self._segment(f"{ring}.signal", lib.SEGMENT_CURSOR)
        _check(lib.ring_writer_gate(writer, cursor.pointer), ring)
        lib.seat_client_open(c.client, c.attach_epoch)
        self._open = True
        return True

    # ---- turns -------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether on_start has been called."""
        return self._started

    @property
    def over(self) -> bool:
        """Whether the engine has cut it off."""
        return bool(self.cut)

    def turn(self, *, calls_max: int | None = CALLS_MAX) -> int:
        """Tell the strategy what there is, in order, at most `calls_max` things; returns how many (0: nothing).

        What the strategy raises ends here: it is written to the log and the seat is cut.
        """
        if not self._open and not self._take_orders_ring():
            return 0
        if self._leaving:
            self._leave()
        calls = 0
        try:
            for news in islice(iter(partial(lib.host_next, self.c), lib.HOST_IDLE), calls_max):
                calls += 1
                self._tell(news)
        except (Exception, SystemExit) as error:  # sys.exit() in a strategy ends the strategy, not what runs it
            self._raised(error)
        self._calls += calls
        return calls

    def _tell(self, news: int) -> None:
        strategy = self.strategy
        if news == lib.HOST_EVENT:
            if self.batch_mode:
                strategy.on_batch(self._events[: self.c.event_count])
            else:
                strategy.on_event(self.c.event)
        elif news == lib.HOST_REPORT:
            self._reports += 1
            strategy.on_order(Report(self.c.report))
        elif news == lib.HOST_TIMER:
            self._timers_due()
        elif news == lib.HOST_STARTED:
            self._started = True
            strategy.on_start()
        elif news == lib.HOST_LOST:
            strategy.on_lost(int(self.c.lost_count))
        elif news == lib.HOST_CUT:
            self._was_cut()

    def set_timer(self, name: str, interval_ns: int) -> None:
        """Every `interval_ns`; 0: never."""
        if interval_ns:
            self._timers[name] = [interval_ns, self.c.now_ns + interval_ns]
        else:
            self._timers.pop(name, None)
        self._aim_timer()

    def _aim_timer(self) -> None:
        self.c.timer_due_ns = min((due for _, due in self._timers.values()), default=NEVER)

    def _timers_due(self) -> None:
        """Each timer that is due, once, however late: in the order in which they fell due."""
        now_ns = int(self.c.now_ns)
        due = sorted((timer[1], name) for name, timer in self._timers.items() if timer[1] <= now_ns)
        for _, name in due:
            timer = self._timers.get(name)
            if timer is None:
                continue  # taken back by another's call
            timer[1] = max(timer[1] + timer[0], now_ns + 1)
            self._timers_told += 1
            self._aim_timer()
            self.strategy.on_timer(name, now_ns)
        self._aim_timer()

    # ---- the end -----------------------------------------------------------------------------------

    def cut_off(self, error: BaseException) -> None:
        """The strategy cannot go on: nothing of it is sent from here on, and the engine is told."""
        if self.error is not None:
            return
        self.error = error
        self._leaving = lib.REQUEST_RAISED
        self._leave()

    def _leave(self) -> None:
        if lib.host_leave(self.c, self._leaving) or self.c.status == lib.HOST_NOT_TAKEN:
            self._leaving = 0

    def _raised(self, error: BaseException) -> None:
        traceback.print_exception(error, file=self.log)
        print(f"{self.config.name}: cut off: {summary(error)}", file=self.log, flush=True)
        self.cut_off(error)

    def _was_cut(self) -> None:
        self.cut = enum_names("seat_cut").get(self.c.cut_reason, "?").removeprefix("SEAT_CUT_").lower()
        if self.error is None:
            print(f"{self.config.name}: cut off by the engine: {self.cut}", file=self.log, flush=True)

    def stop(self) -> None:
        """The run ends: on_stop, then leave the seat."""
        if self._started and self.error is None and not self.cut:
            try:
                self.strategy.on_stop()
            except (Exception, SystemExit) as error:
                self._raised(error)
        lib.host_rest(self.c)
        if self.error is None and not self.cut:
            lib.host_leave(self.c, lib.REQUEST_DETACH)
        self.publish_counters()

    def publish_counters(self) -> None:
        """Write what was done into the strategy's page, for `hotpath stat`, and that it lives."""
        c, counter = self.c, self.page.counter
        counter[lib.STRATEGY_EVENTS] = c.events
        counter[lib.STRATEGY_HANDED] = c.handed
        counter[lib.STRATEGY_CALLS] = self._calls
        counter[lib.STRATEGY_LOST] = c.lost_count
        counter[lib.STRATEGY_REQUESTS] = c.requests
        counter[lib.STRATEGY_UNSENT] = c.unsent
        counter[lib.STRATEGY_REPORTS] = self._reports
        counter[lib.STRATEGY_TIMERS] = self._timers_told
        counter[lib.STRATEGY_OPEN_ORDERS] = c.order_count
        self.page.turns = self._calls
        self.page.heartbeat_time_ns = lib.clock_now(c.clock)

    def close(self) -> None:
        """Give the seat's lock back, and the memory."""
        self.let_go_of_lock()
        self._kept.clear()

    def let_go_of_lock(self) -> None:
        """Close it in this process. A process that was forked from it calls this, or it would keep the seat taken."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def summary(error: BaseException) -> str:
    """ "ZeroDivisionError: division by zero (maker.py:42 in on_event)": the innermost line of the user's own code."""
    own = str(Path(__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(own) or "examples" in frame.filename]
    where = f" ({Path(theirs[-1].filename).name}:{theirs[-1].lineno} in {theirs[-1].name})" if theirs else ""
    return f"{type(error).__name__}: {error}{where}"


def _view(pointer: Any, struct: str, count: int) -> npt.NDArray[Any]:
    dtype = dtype_of(struct)
    view = np.frombuffer(ffi.buffer(pointer, count * dtype.itemsize), dtype)
    view.flags.writeable = False
    return view


def _check(status: int, what: str) -> None:
    if status != lib.RING_OK:
        raise RingError(f"{what}: {enum_names('ring_status').get(status, str(status)).lower()}")
