"""Foreign programs beside a running engine: they trade through its gate, die, come again, and are replayed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath import segments
from hotpath.config import CoprocessConfig
from hotpath.coprocess import Coprocess, name_of, reason_of
from hotpath.errors import SeatCutError, SeatError, SegmentMismatchError, SegmentMissingError
from hotpath.recordings import Recording, replay_recording
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.synthetic import write_synthetic_day

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ALPHA = CoprocessConfig(name="alpha", account=2, strategy=100)
BETA = CoprocessConfig(name="beta", account=3, strategy=101, on_cut="leave", heartbeat_ms=10_000)
RATE = 3000


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=120_000)


@pytest.fixture
def running(day: Path, tmp_path: Path, engine: str) -> Iterator[EngineProcess]:
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine, "topology": "paired", "state_dir": str(tmp_path)}),
        feed=file_feed(day, pace="rate", rate_per_second=RATE),
        coprocesses=[ALPHA, BETA],
    )
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("gateway", "frames_out") >= 5, "orders of the built-in strategy")
        yield process
    finally:
        process.close()


class Trader:
    """tests.support.trader in a process of its own."""

    def __init__(self, engine: str, seat: str, orders: int, *options: str) -> None:
        command = [sys.executable, "-m", "tests.support.trader", engine, seat, str(orders), *options]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def end(self, number: int = signal.SIGKILL) -> str:
        """End it; what it said of errors."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=30)[1]


def test_killed_program_loses_its_orders_and_the_rest_trades_on(running: EngineProcess, tmp_path: Path) -> None:
    trader = Trader(running.name, "alpha", 20, "hold")
    try:
        assert trader.line() == {"orders": [], "positions": {}, "token": 0}
        told = trader.line()
        assert told["told"].get("accepted", 0) >= 10, told
        second = subprocess.run(
            [sys.executable, "-m", "tests.support.trader", running.name, "alpha", "1"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"is taken by process {trader.process.pid}" in second.stderr
    finally:
        trader.end()
    until(lambda: running.count("signal", "seats_cut") == 1, "the cut")
    until(lambda: open_orders(running, "alpha") == 0, "its orders cancelled")
    orders = running.count("gateway", "new_orders")
    until(lambda: running.count("gateway", "new_orders") > orders + 3, "the built-in strategy trading on")

    again = Trader(running.name, "alpha", 3)
    assert again.line()["token"] == 20 and again.line()["orders"]
    assert again.process.wait(timeout=30) == 0
    assert again.end() == ""
    until(lambda: running.count("signal", "seats_cut") == 2, "its leaving")

    running.signal()
    assert running.wait() == 0, running.errors()
    recording = Recording(tmp_path / "recording")
    intake, sent = recording.events("intake"), recording.events("cmd")
    assert int((intake["header"]["type"] == lib.REQUEST_NEW).sum()) == 23
    mine = sent[sent["id"]["strategy"] == 100]
    assert {lib.CMD_NEW, lib.CMD_CANCEL} <= set(mine["header"]["type"].tolist())
    assert set(mine["id"]["account"].tolist()) == {2} and set(mine["id"]["input"].tolist()) >= {lib.INPUT_INTAKE}
    replay = replay_recording(tmp_path / "recording")
    assert replay.same, replay.mismatches
    assert replay.orders_replayed == replay.orders_recorded > 40


def open_orders(process: EngineProcess, seat: str) -> int:
    """The engine's own gauge."""
    return int(segments.attach(process.name, f"seat.{seat}", lib.SEGMENT_SEAT).cast("seat_page *").open_orders)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_program_is_told_that_the_engine_has_ended(running: EngineProcess, number: int) -> None:
    with Coprocess(running.name, "beta") as seat:
        event = first_quote(seat)
        running.signal(number)
        running.wait()
        gone = pytest.raises(SeatCutError, match=f"engine {running.name} has ended")
        with gone:
            while True:  # a program that asks for nothing, and still reads what was reported last
                seat.reports()
        with gone:
            seat.buy(int(event["header"]["instrument"]), quantity_lots=10, price_ticks=low_price(event))
        with gone:
            seat.heartbeat()
        assert seat.cut == "engine_ended" and seat.token == 0


def test_unknown_time_in_force_is_refused_in_words(running: EngineProcess) -> None:
    with Coprocess(running.name, "beta") as seat, pytest.raises(SeatError, match="'gtc': hotpath takes day and ioc"):
        seat.buy(0, quantity_lots=10, price_ticks=100, time_in_force="gtc")


def test_left_orders_are_found_again_with_the_position(running: EngineProcess) -> None:
    with Coprocess(running.name, "beta") as seat:
        event = first_quote(seat)
        instrument = int(event["header"]["instrument"])
        resting = seat.buy(instrument, quantity_lots=10, price_ticks=low_price(event), cause=event)
        taken = seat.buy(instrument, quantity_lots=10, price_ticks=high_price(event), time_in_force="ioc")
        told = gather(seat, lambda: {resting, taken} <= {t for _, t in told_of(seat)})
        held = seat.positions.get(instrument, 0)
        kept = sorted(seat.orders)
        assert told and kept == [resting]
    with Coprocess(running.name, "beta") as seat:
        assert sorted(seat.orders) == kept and seat.positions.get(instrument, 0) == held
        replacement = seat.replace(resting, quantity_lots=20, price_ticks=low_price(event) - 100)
        gather(seat, lambda: replacement in seat.orders)
        assert resting not in seat.orders
        seat.cancel(replacement)
        gather(seat, lambda: not seat.orders)
        refused = seat.buy(instrument, quantity_lots=10, price_ticks=10 * high_price(event))
        reports = gather(seat, lambda: any(int(r["token"]) == refused for r in SEEN))
        last = reports[-1]
        assert (name_of(last), reason_of(last)) == ("refused", "collar")


SEEN: list[Any] = []


def told_of(seat: Coprocess) -> list[tuple[str, int]]:
    return [(name_of(report), int(report["token"])) for report in SEEN]


def gather(seat: Coprocess, done: Any) -> list[Any]:
    """Read reports until `done`."""
    SEEN.clear()

    def look() -> bool:
        SEEN.extend(seat.reports())
        return bool(done())

    until(look, "reports")
    return SEEN


def first_quote(seat: Coprocess) -> Any:
    """An event with both sides of a book."""
    found: list[Any] = []

    def look() -> bool:
        seat.heartbeat()
        events = seat.market.copy(64)
        good = events[(events["bid_price_ticks"] > 100_00) & (events["ask_price_ticks"] > 0)]
        found.extend(good[:1])
        return bool(found)

    until(look, "a quote")
    return found[0]


def low_price(event: Any) -> int:
    price = int(event["bid_price_ticks"]) - 500
    return price - price % 100


def high_price(event: Any) -> int:
    price = int(event["ask_price_ticks"]) + 1000
    return price - price % 100


def test_program_that_says_it_cannot_go_on_is_cut_and_may_come_again(running: EngineProcess) -> None:
    seat = Coprocess(running.name, "alpha")
    seat.raised()
    until(lambda: any(name_of(report) == "cut" for report in seat.reports()), "the cut")
    assert seat.cut == "raised"
    with pytest.raises(SeatCutError, match="raised"):
        seat.cancel_all()
    seat.attach()
    seat.heartbeat()
    seat.close()


def test_missing_engine_unknown_seat_and_another_layout_are_named(running: EngineProcess) -> None:
    with pytest.raises(SegmentMissingError, match="does not exist"):
        Coprocess("no-such-engine", "alpha", timeout_seconds=0.05)
    with pytest.raises(SegmentMissingError, match=r"seat\.nobody"):
        Coprocess(running.name, "nobody")
    with pytest.raises(SeatError, match="no instrument NOSUCH"), Coprocess(running.name, "alpha") as seat:
        seat.buy("NOSUCH", quantity_lots=1, price_ticks=1)
    path = segments.SHM_FOLDER / f"hotpath.{running.name}.seat.beta"
    with path.open("r+b") as file:
        file.seek(8)
        kept = file.read(8)
        file.seek(8)
        file.write(np.uint64(1).tobytes())
        file.flush()
        with pytest.raises(SegmentMismatchError, match="layout hash"):
            Coprocess(running.name, "beta")
        file.seek(8)
        file.write(kept)
