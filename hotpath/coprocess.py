"""A seat beside the path, for programs of your own: read the market, send orders through the same gate.

    from hotpath.coprocess import Coprocess

    with Coprocess("engine", "alpha") as seat:
        while True:
            for event in seat.market.copy(64):          # dtype norm_event; an observer: it may lose, and says so
                ...
            token = seat.buy("AAPL", quantity_lots=100, price_ticks=1_234_500)
            for report in seat.reports():                # dtype report_event: what became of your tokens
                ...
            seat.heartbeat()                             # at least every `heartbeat_ms` of the configuration

The engine trusts nothing that is written here. A program that dies, hangs, floods or writes nonsense is cut off: its
orders are cancelled (or left, as configured), and everybody else trades on. It may attach again, and is told where
it stands: `orders` and `positions` hold the snapshot until the first report. docs/coprocess.md has the whole contract.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath import segments
from hotpath.errors import RingError, SeatCutError, SeatError, SeatFullError, SegmentMissingError
from hotpath.rings import RingReader, RingWriter
from hotpath.seat_lock import take_seat

NO_INSTRUMENT: int = lib.NO_INSTRUMENT
REPORTS_MAX = 1024
POLL_SECONDS = 0.0002
OWNER_INTERVAL_SECONDS = 0.1  # between two looks for the engine's process
ANOTHER_SEAT = "end that process first, or configure another seat: [[coprocesses]] in the engine's file"
ENGINE_ENDED = "engine_ended"  # `cut`, when nobody is left to cut
BUY, SELL = lib.SIDE_BUY, lib.SIDE_SELL
TIF = {"day": lib.TIF_DAY, "ioc": lib.TIF_IOC}


class Coprocess:
    """One seat of one engine, held by this process until it leaves, dies or is cut.

    `market` is the ring `norm`, as a RingReader. `symbols` are the instruments in the order of their indices.
    After attaching, `orders` (token: report) and `positions` (instrument: lots) are what the seat has; they are
    followed from the reports that `reports` hands out. Not for use by several threads.
    """

    def __init__(self, engine: str, name: str, *, timeout_seconds: float = 10.0) -> None:
        """Take the seat; waits so long for the engine to run.

        Raises SegmentMissingError when there is no such engine or seat, SegmentMismatchError when it was built from
        another layout or its run is dead, SeatError when another program has the seat or the engine does not answer.
        """
        self.engine = engine
        self.name = name
        self.token = 0  # the last one given out
        self.orders: dict[int, npt.NDArray[Any]] = {}
        self.positions: dict[int, int] = {}
        self.cut: str | None = None  # why the engine cut this seat off; "engine_ended" when it is gone itself
        deadline = time.monotonic() + timeout_seconds
        control = _wait_for_engine(engine, deadline)
        self.run_epoch = control.info.run_epoch
        self._engine_info = control.info
        self._control = control.cast("control_page *")
        self._owner_look_at = 0.0
        self._page_segment = self._attach(f"seat.{name}", lib.SEGMENT_SEAT)
        self._page = self._page_segment.cast("seat_page *")
        self._lock = take_seat(engine, self.name, run_epoch=self.run_epoch, next_step=ANOTHER_SEAT)
        try:
            self._client_segment = self._attach(f"seat.{name}.client", lib.SEGMENT_SEAT_CLIENT, writable=True)
            self._client = self._client_segment.cast("seat_client_page *")
            self._clock_segment = self._attach("clock", lib.SEGMENT_CLOCK)
            self._clock = self._clock_segment.cast("clock_page *")
            table = self._attach("instruments", lib.SEGMENT_INSTRUMENTS)
            self.instruments = table.view("instrument_entry", count=table.info.capacity).copy()
            self.symbols = [symbol.decode() for symbol in self.instruments["symbol"].tolist()]
            self._index = {symbol: index for index, symbol in enumerate(self.symbols)}
            self.market = RingReader(engine, "norm", name, gating=False, dtype="norm_event", run_epoch=self.run_epoch)
            self.market.join()
            self._batch = np.empty(REPORTS_MAX, dtype_of("report_event"))
            self._request = ffi.new("request_event *")
            self._reason = ffi.new("uint32_t *")
            self.attach(timeout_seconds=max(0.5, deadline - time.monotonic()))
        except BaseException:
            os.close(self._lock)
            raise

    # ---- taking the seat -------------------------------------------------------------------------------

    def _attach(self, segment: str, kind: int, *, writable: bool = False) -> segments.Segment:
        return segments.attach(self.engine, segment, kind, writable=writable, run_epoch=self.run_epoch)

    def attach(self, *, timeout_seconds: float = 10.0) -> None:
        """Take the seat anew, after a cut as well: what is open and held is in `orders` and `positions` afterwards."""
        deadline = time.monotonic() + timeout_seconds
        self.cut = None
        self._reports = RingReader(
            self.engine,
            f"seat.{self.name}.reports",
            self.name,
            gating=True,
            dtype="report_event",
            run_epoch=self.run_epoch,
        )
        self._reports.join()
        self.epoch = max(int(self._client.attach_epoch), int(self._page.attach_epoch)) % 0xFFFFFFFF + 1
        start_time = segments.process_start_time(os.getpid()) or 0
        lib.seat_client_announce(self._client, self.epoch, os.getpid(), start_time, self.now_ns)
        while not lib.seat_client_known(self._page, self.epoch):
            self._wait(deadline, "the engine does not take note of it")
        orders = self._attach(f"seat.{self.name}.orders", lib.SEGMENT_RING, writable=True)
        lib.seat_client_reset(orders.pointer, self._page.request_position)
        self._orders = RingWriter(self.engine, f"seat.{self.name}.orders", gates=["signal"], run_epoch=self.run_epoch)
        lib.seat_client_open(self._client, self.epoch)
        self.orders.clear()
        self.positions.clear()
        whole = False
        while not whole:
            for report in self._copy_reports():
                whole |= self._follow(report) == lib.REPORT_END
            if not whole:
                self._wait(deadline, "its snapshot does not come")

    def _wait(self, deadline: float, what: str) -> None:
        """A short sleep; raises SeatError after the deadline."""
        self.heartbeat()
        if time.monotonic() > deadline:
            raise SeatError(
                f"seat {self.name} of engine {self.engine}: {what}",
                next_step=f"is its signal stage turning? hotpath stat {self.engine}",
            )
        time.sleep(POLL_SECONDS)

    # ---- staying ---------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """The engine's clock, ns since the epoch."""
        return int(lib.clock_now(self._clock))

    def heartbeat(self) -> None:
        """Say that this program lives. Every call of this class that talks to the engine says so too.

        Raises SeatCutError when there is no engine any more to hear it.
        """
        lib.seat_client_beat(self._client, lib.clock_now(self._clock))
        if self._control.stop > 1 or self._owner_dead():
            self._raise_ended()

    def _owner_dead(self) -> bool:
        """Whether the engine was killed: it is looked for ten times a second."""
        now = time.monotonic()
        if now < self._owner_look_at:
            return False
        if not self._engine_info.owner_alive:
            return True
        self._owner_look_at = now + OWNER_INTERVAL_SECONDS
        return False

    def _raise_ended(self) -> None:
        self.cut = ENGINE_ENDED
        raise SeatCutError(
            f"seat {self.name}: engine {self.engine} has ended",
            next_step="its next run has seats of its own: leave this one, and make another Coprocess",
        )

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A call that may take `budget_ms` of the configuration, and is cut off when it takes longer."""
        lib.seat_client_busy(self._client, lib.clock_now(self._clock))
        try:
            yield
        finally:
            lib.seat_client_busy(self._client, 0)
            lib.seat_client_beat(self._client, lib.clock_now(self._clock))

    def _check(self) -> None:
        """Raise SeatCutError when the engine has cut this seat off, takes no more work, or is dead."""
        if self._control.stop or self._owner_dead():
            self._raise_ended()
        state = lib.seat_client_state(self._page, self._reason)
        if state == lib.SEAT_TAKEN and self._page.attach_epoch == self.epoch:
            return
        self.cut = enum_names("seat_cut").get(self._reason[0], "?").removeprefix("SEAT_CUT_").lower()
        raise SeatCutError(
            f"seat {self.name} of engine {self.engine} was cut: {self.cut}",
            next_step="what is open has been cancelled or left, as configured; attach() takes the seat again",
        )

    # ---- orders ----------------------------------------------------------------------------------------

    def index_of(self, instrument: int | str) -> int:
        """The index of a symbol. Raises SeatError for an unknown one."""
        if isinstance(instrument, str):
            if instrument not in self._index:
                raise SeatError(f"engine {self.engine} has no instrument {instrument}")
            return self._index[instrument]
        return instrument

    def buy(self, instrument: int | str, *, quantity_lots: int, price_ticks: int, **more: Any) -> int:
        """A buy order; see `order`."""
        return self.order(instrument, BUY, quantity_lots=quantity_lots, price_ticks=price_ticks, **more)

    def sell(self, instrument: int | str, *, quantity_lots: int, price_ticks: int, **more: Any) -> int:
        """A sell order; see `order`."""
        return self.order(instrument, SELL, quantity_lots=quantity_lots, price_ticks=price_ticks, **more)

    def order(
        self,
        instrument: int | str,
        side: int,
        *,
        quantity_lots: int,
        price_ticks: int,
        time_in_force: str = "day",
        cause: npt.NDArray[Any] | None = None,
        score: float = 0.0,
    ) -> int:
        """Ask for an order; returns its token, by which its reports name it.

        `cause` is the market event that it answers, for the record. Raises SeatFullError when the engine has not yet
        taken what was asked before, SeatCutError when this seat is cut off or the engine has ended, SeatError for an
        instrument or a time in force that it does not have.
        """
        if time_in_force not in TIF:
            raise SeatError(f"time_in_force {time_in_force!r}: hotpath takes {' and '.join(TIF)}")
        request = self._fill(lib.REQUEST_NEW, instrument, cause)
        request.price_ticks, request.quantity_lots = price_ticks, quantity_lots
        request.side, request.time_in_force, request.score = side, TIF[time_in_force], score
        return self._send_token(request)

    def replace(
        self, token: int, *, quantity_lots: int, price_ticks: int, cause: npt.NDArray[Any] | None = None
    ) -> int:
        """Ask for an open order at another price, for a quantity that includes what has been filled: its new token."""
        order = self.orders.get(token)
        if order is None:
            raise SeatError(f"seat {self.name}: no open order has token {token}")
        request = self._fill(lib.REQUEST_REPLACE, int(order["header"]["instrument"]), cause)
        request.price_ticks, request.quantity_lots = price_ticks, quantity_lots
        request.side, request.target_token = int(order["side"]), token
        return self._send_token(request)

    def cancel(self, token: int) -> None:
        """Ask for the end of an order."""
        request = self._fill(lib.REQUEST_CANCEL, NO_INSTRUMENT, None)
        request.target_token = token
        self._send(request)

    def cancel_all(self, instrument: int | str | None = None) -> None:
        """Ask for the end of every open order of this seat, or of those in one instrument."""
        self._send(self._fill(lib.REQUEST_CANCEL_ALL, NO_INSTRUMENT if instrument is None else instrument, None))

    def raised(self) -> None:
        """Say that this program cannot go on: the seat is cut, what is open is dealt with as configured."""
        self._send(self._fill(lib.REQUEST_RAISED, NO_INSTRUMENT, None))

    def _fill(self, kind: int, instrument: int | str, cause: npt.NDArray[Any] | None) -> Any:
        request = self._request
        ffi.memmove(request, bytes(ffi.sizeof("request_event")), ffi.sizeof("request_event"))
        request.header.type = kind
        request.header.instrument = self.index_of(instrument)
        request.attach_epoch = self.epoch
        if cause is not None:
            header = cause["header"]
            request.header.cause_sequence = int(header["stamp"]) - 1
            request.header.cause_input = lib.INPUT_NORM
            request.header.origin_time_ns = int(header["origin_time_ns"])
            request.bid_price_ticks, request.ask_price_ticks = (
                int(cause["bid_price_ticks"]),
                int(cause["ask_price_ticks"]),
            )
        return request

    def _send_token(self, request: Any) -> int:
        request.token = self.token + 1
        self._send(request)
        self.token += 1
        return self.token

    def _send(self, request: Any) -> None:
        self._check()
        now_ns = lib.clock_now(self._clock)
        request.header.publish_time_ns = now_ns
        status = lib.ring_publish(self._orders.c, request, ffi.sizeof("request_event"))
        lib.seat_client_beat(self._client, now_ns)
        if status == lib.RING_FULL:
            raise SeatFullError(
                f"seat {self.name}: the engine has not taken the {self._orders.c.mask + 1} requests before this one",
                next_step="send fewer, or make the ring larger: [rings] seat_orders",
            )
        if status != lib.RING_OK:
            raise RingError(f"seat {self.name}: request not published (status {status})")

    # ---- reports ---------------------------------------------------------------------------------------

    def reports(self) -> npt.NDArray[Any]:
        """What became of orders since the last call, oldest first: dtype ``report_event``, the caller's own copy.

        Follows them in `orders` and `positions`. A report of type REPORT_CUT is the last one of an attachment.
        Raises SeatCutError when the engine has ended and all that it reported has been handed out.
        """
        batch = self._copy_reports()
        if not len(batch):
            self.heartbeat()
        lib.seat_client_beat(self._client, lib.clock_now(self._clock))
        for report in batch:
            self._follow(report)
        return batch

    def _copy_reports(self) -> npt.NDArray[Any]:
        """New reports of this attachment; those of an earlier one are not ours."""
        batch: npt.NDArray[Any] = self._batch[: self._reports.copy_into(self._batch)]
        mine: npt.NDArray[Any] = batch[batch["attach_epoch"] == self.epoch]
        return mine.copy()

    def _follow(self, report: npt.NDArray[Any]) -> int:
        """Keep `orders` and `positions` in step; returns the report's type."""
        kind, token = int(report["header"]["type"]), int(report["token"])
        instrument = int(report["header"]["instrument"])
        if instrument != NO_INSTRUMENT:
            self.positions[instrument] = int(report["position_lots"])
        if kind in (lib.EXEC_ACCEPTED, lib.EXEC_REPLACED, lib.REPORT_ORDER, lib.EXEC_FILL, lib.EXEC_RESTATED):
            self.orders.pop(int(report["target_token"]), None)
            if report["leaves_lots"] > 0:
                self.orders[token] = report
            else:
                self.orders.pop(token, None)
        elif kind in (lib.EXEC_CANCELED, lib.EXEC_REJECTED, lib.EXEC_REFUSED) and report["leaves_lots"] <= 0:
            self.orders.pop(token, None)
        elif kind == lib.REPORT_END:
            self.token = max(self.token, token)
        elif kind == lib.REPORT_CUT:
            self.cut = enum_names("seat_cut").get(int(report["reason"]), "?").removeprefix("SEAT_CUT_").lower()
        return kind

    # ---- leaving ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the seat: what is open is cancelled or left, as configured."""
        if self._lock < 0:
            return
        try:
            if self.cut is None:
                self._send(self._fill(lib.REQUEST_DETACH, NO_INSTRUMENT, None))
        except (SeatCutError, SeatFullError):
            self.cut = self.cut or "left"
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait_for_engine(engine: str, deadline: float) -> segments.Segment:
    """The control segment of a living engine, as soon as there is one."""
    while True:
        try:
            return segments.attach(engine, "control", lib.SEGMENT_CONTROL)
        except SegmentMissingError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def name_of(report: npt.NDArray[Any]) -> str:
    """What a report says happened: "accepted", "fill", "canceled", "refused", "cut" ..."""
    name = enum_names("event_type").get(int(report["header"]["type"]), "unknown")
    return name.removeprefix("EXEC_").removeprefix("REPORT_").lower()


def reason_of(report: npt.NDArray[Any]) -> str:
    """Why: this engine's own word where it was the engine that said no, else the venue's code; empty for none."""
    reason = int(report["reason"])
    if not reason:
        return ""
    if int(report["header"]["type"]) == lib.REPORT_CUT:
        return enum_names("seat_cut").get(reason, str(reason)).removeprefix("SEAT_CUT_").lower()
    if int(report["header"]["flags"]) & lib.FLAG_REFUSED:
        return enum_names("reject_reason").get(reason, str(reason)).removeprefix("REJECT_").lower()
    return f"venue code {chr(reason) if 32 < reason < 127 else reason}"
