"""Strategies that tests run, good and bad. Named in configurations by the path of this file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from hotpath.strategy import TOP, Report, Strategy

PATH = Path(__file__)


class Toy(Strategy):
    """Joins the touch of every `every`-th top of book, with at most ten orders; then does what `then` says."""

    wants = TOP
    defaults = {"every": 20, "after": 0, "then": "", "file": ""}

    def on_start(self) -> None:
        self.seen = self.ticks = 0
        self.reports: list[Report] = []
        self.set_timer("tick", 1_000_000_000)

    def on_event(self, event: Any) -> None:
        self.seen += 1
        if self.params.after and self.seen == self.params.after:
            getattr(self, self.params.then)()
        instrument = self.instrument(event.instrument)
        if self.seen % self.params.every or not instrument.two_sided:
            return
        for order in self.open_orders:
            self.cancel(int(order["token"]))
        if len(self.open_orders) >= 10:
            return
        if instrument.position_lots <= 0:
            self.buy(instrument, quantity_lots=100, price_ticks=instrument.ask_price_ticks)
        else:
            self.sell(instrument, quantity_lots=100, price_ticks=instrument.bid_price_ticks)

    def on_order(self, report: Report) -> None:
        self.reports.append(report)

    def on_timer(self, name: str, now_ns: int) -> None:
        self.ticks += 1

    def on_stop(self) -> None:
        if self.params.file:
            kinds = {
                kind: sum(report.kind == kind for report in self.reports) for kind in ("accepted", "fill", "canceled")
            }
            Path(self.params.file).write_text(f"{self.seen} {self.ticks} {kinds}")

    # ---- ways to go wrong --------------------------------------------------------------------------

    def divide(self) -> None:
        1 / 0  # noqa: B018

    def hang(self) -> None:
        while True:
            pass

    def tell_and_hang(self) -> None:
        Path(self.params.file).write_text(str(os.getpid()))
        self.hang()

    def leave_a_child_and_die(self) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.setsid()  # out of reach of whoever ends this strategy with all that it started
            os.write(writing, b"!")
            time.sleep(60.0)
            os._exit(0)
        os.read(reading, 1)  # not before it is out of reach
        with Path(self.params.file).open("a") as file:
            file.write(f"{child}\n")
        self.die()

    def exit(self) -> None:
        os._exit(3)

    def exit_in_silence(self) -> None:
        os._exit(0)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def price_of_nothing(self) -> None:
        self.buy(0, quantity_lots=1, price_ticks=float("nan"))  # type: ignore[arg-type]

    def half_a_tick(self) -> None:
        self.buy(0, quantity_lots=1, price_ticks=100.5)  # type: ignore[arg-type]

    def below_nothing(self) -> None:
        self.buy(0, quantity_lots=1, price_ticks=-100)

    def beyond_numbers(self) -> None:
        self.buy(0, quantity_lots=1, price_ticks=2**70)

    def no_quantity(self) -> None:
        self.sell(0, quantity_lots=0, price_ticks=100)

    def true_quantity(self) -> None:
        self.sell(0, quantity_lots=True, price_ticks=100)

    def nowhere(self) -> None:
        self.buy("NOWHERE", quantity_lots=1, price_ticks=100)

    def nowhere_by_number(self) -> None:
        self.buy(10**6, quantity_lots=1, price_ticks=100)

    def for_ever(self) -> None:
        self.buy(0, quantity_lots=1, price_ticks=100, time_in_force="for ever")

    def swallow(self) -> None:
        try:
            self.nowhere()
        except Exception:  # a strategy may not hide its nonsense
            self.swallowed = True


class Columns(Strategy):
    """The same market, a batch at a time."""

    wants = TOP
    defaults = {"file": ""}

    def on_start(self) -> None:
        self.rows = self.calls = 0
        self.checked = 0

    def on_batch(self, events: Any) -> None:
        self.rows += len(events)
        self.calls += 1
        last = {int(index): row for row, index in enumerate(events["instrument"])}
        for index, row in last.items():  # tables stand as of the batch's end
            top = self.market[index]
            self.checked += top["bid_price_ticks"] == events["bid_price_ticks"][row]
        if self.calls % 50 == 0:
            instrument = self.instrument(int(events["instrument"][-1]))
            if instrument.two_sided and not len(self.open_orders):
                self.buy(instrument, quantity_lots=100, price_ticks=instrument.bid_price_ticks)
            elif len(self.open_orders):
                self.cancel_all()

    def on_stop(self) -> None:
        if self.params.file:
            Path(self.params.file).write_text(f"{self.rows} {self.checked}")
