"""What a strategy is told and sees: tables as of each event, depth, losses, timers, and which of two modes it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.config import Config, RingsConfig, StrategyConfig
from hotpath.engine import EngineMemory, EngineSpec, engine_memory, make_spec
from hotpath.errors import ConfigError, NonsenseError, SeatError, StrategyError
from hotpath.rings import RingWriter
from hotpath.strategy import FEATURES, TOP, TRADES, Strategy
from hotpath.strategy_host import StrategyHost, summary
from hotpath.topology import seat_segment
from hotpath.user_code import load_object

COUNT = 2
RING = 64


class Told(Strategy):
    """Remembers everything."""

    defaults = {"depth": 5}  # noqa: RUF012
    log: list[Any]

    def on_start(self) -> None:
        self.log.append("start")

    def on_event(self, event: Any) -> None:
        self.log.append((event.sequence, event.instrument, event.price_ticks, self.market["bid_price_ticks"].tolist()))

    def on_timer(self, name: str, now_ns: int) -> None:
        self.log.append(name)

    def on_lost(self, count: int) -> None:
        self.log.append(("lost", count))


class Leaves(Told):
    def on_event(self, event: Any) -> None:
        sys.exit(0)


class NeverMade(Told):
    def __init__(self) -> None:
        sys.exit(0)


class Quotes(Told):
    wants = TOP


class Trades(Told):
    wants = TRADES


class Both(Told):
    def on_batch(self, events: npt.NDArray[Any]) -> None:
        self.log.append(len(events))


def event(sequence: int, **fields: Any) -> npt.NDArray[Any]:
    """An order that rests as the best bid of instrument 0, unless told otherwise."""
    made = np.zeros(1, dtype_of("norm_event"))
    header = {"type": lib.NORM_ADD, "flags": lib.FLAG_TOP, "instrument": 0, "origin_time_ns": sequence}
    values = {
        "order_ref": sequence + 1, "price_ticks": 100 + sequence, "quantity_lots": 10,
        "bid_price_ticks": 100 + sequence, "bid_quantity_lots": 10, "ask_price_ticks": 900, "ask_quantity_lots": 30,
        "bid_depth_lots": 10, "ask_depth_lots": 30,
    }  # fmt: skip
    for name, value in fields.items():
        (header if name in header else values)[name] = value
    for name, value in header.items():
        made["header"][name] = value
    for name, value in values.items():
        made[name] = value
    return made


class Driven:
    """A host whose seat is ours by decree, and the market ring's pen."""

    def __init__(self, spec: EngineSpec, memory: EngineMemory) -> None:
        self.host = StrategyHost(spec, spec.config.strategies[0], run_epoch=memory.run_epoch)
        self.strategy = self.host.strategy
        self.log: list[Any] = []
        self.strategy.log = self.log  # type: ignore[attr-defined]
        page = memory.segments[seat_segment("told")].cast("seat_page *")  # as the signal stage would
        page.attach_epoch, page.state = self.host.c.attach_epoch, lib.SEAT_TAKEN
        assert self.host._take_orders_ring()
        self.host.c.trading = 1
        self.pen = RingWriter(spec.name, "norm")

    def tell(self, *events: npt.NDArray[Any]) -> list[Any]:
        """Publish, let it take its turn, and return what it was told."""
        for each in events:
            assert self.pen.publish(each)
        self.host.turn()
        told = list(self.log)
        self.log.clear()
        return told


def spec_of(engine: str, folder: Path, code: str, **changes: Any) -> EngineSpec:
    seat = StrategyConfig(name="told", account=2, strategy=100, code=f"{__file__}:{code}", **changes)
    config = Config(strategies=[seat], rings=RingsConfig(norm=RING))
    config = msgspec.structs.replace(
        config, engine=msgspec.structs.replace(config.engine, name=engine, state_dir=str(folder))
    )
    instruments = np.zeros(COUNT, dtype_of("instrument_entry"))
    instruments["symbol"] = [b"AAA", b"BBB"]
    instruments["price_increment_ticks"] = instruments["tick_value_micros"] = 100
    return make_spec(config, instruments, midnight_ns=0)


@pytest.fixture
def driven(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[Driven]:
    code, changes = getattr(request, "param", ("Told", {}))
    spec = spec_of(engine, tmp_path, code, **changes)
    with engine_memory(spec) as memory:
        made = Driven(spec, memory)
        yield made
        made.host.close()


def test_tables_stand_as_of_each_event(driven: Driven) -> None:
    told = driven.tell(event(0), event(1, instrument=1), event(2))
    assert told == [(0, 0, 100, [100, 0]), (1, 1, 101, [100, 101]), (2, 0, 102, [102, 101])]
    instrument = driven.strategy.instrument("AAA")
    assert instrument.mid_ticks == 501.0 and instrument.two_sided and instrument.feature("mid") == 501.0
    assert driven.strategy.features[0, FEATURES["mid"]] == 501.0
    assert np.isnan(driven.strategy.features[1, FEATURES["rsi"]])


def test_features_are_the_signal_stages(driven: Driven) -> None:
    state, value = ffi.new("feature_state *"), ffi.new("double[]", lib.FEATURES_MAX)
    lib.feature_init(state)
    for sequence in range(40):
        each = event(sequence, ask_quantity_lots=5 + sequence % 7)
        driven.tell(each)
        ready = lib.feature_update(
            ffi.addressof(driven.host.c, "feature"), state, ffi.from_buffer("norm_event *", each), value
        )
        np.testing.assert_array_equal(driven.strategy.features[0], np.frombuffer(ffi.buffer(value)))
        assert driven.host.c.ready[0] == ready


def test_views_cannot_be_written(driven: Driven) -> None:
    strategy = driven.strategy
    for view in (strategy.market, strategy.features, strategy.positions, strategy.open_orders):
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 0


def test_depth_is_its_own_book(driven: Driven) -> None:
    driven.tell(*(event(sequence) for sequence in range(3)), event(3, price_ticks=102, order_ref=9))
    bids, offers = driven.strategy.depth("AAA", 2)
    assert bids["price_ticks"].tolist() == [102, 101] and bids["orders"].tolist() == [2, 1] and len(offers) == 0
    driven.tell(event(4, type=lib.NORM_DELETE, order_ref=9))
    assert driven.strategy.depth("AAA")[0]["orders"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("driven", [("Told", {"book": False})], indirect=True)
def test_depth_without_a_book_says_what_to_do(driven: Driven) -> None:
    with pytest.raises(StrategyError, match="keeps no book") as caught:
        driven.strategy.depth("AAA")
    assert "book = true" in caught.value.next_step


def test_a_strategy_that_was_lapped_is_told_and_begins_anew(driven: Driven) -> None:
    driven.tell(event(0))
    told = driven.tell(*(event(sequence) for sequence in range(1, RING + 20)))
    lost = driven.host.c.lost_count
    assert told[0] == ("lost", lost) and lost >= 19
    assert [each[0] for each in told[1:]] == list(range(1 + lost, RING + 20))
    assert len(driven.strategy.depth("AAA", lib.HOST_DEPTH_MAX)[0]) == len(told) - 1


def test_one_that_comes_late_has_lost_nothing(driven: Driven) -> None:
    told = driven.tell(*(event(sequence) for sequence in range(RING + 20)))
    assert all(each[0] != "lost" for each in told) and told[-1][0] == RING + 19


@pytest.mark.parametrize(
    ("driven", "sequences"),
    [(("Quotes", {}), [0, 2]), (("Trades", {}), [2]), (("Told", {"instruments": ["BBB"]}), [1])],
    indirect=["driven"],
)
def test_it_is_told_what_it_wants(driven: Driven, sequences: list[int]) -> None:
    print_of = {"type": lib.NORM_EXECUTE, "flags": lib.FLAG_TOP | lib.FLAG_PRINTABLE, "order_ref": 1}
    told = driven.tell(event(0), event(1, instrument=1, flags=0), event(2, **print_of))
    assert [each[0] for each in told] == sequences
    assert driven.strategy.market["events"].tolist() == [2, 1]  # its tables hold all of it
    assert driven.strategy.instrument(0).last_price_ticks == 102


def test_a_gap_makes_every_book_stale_until_its_own_next_event(driven: Driven) -> None:
    line = {"instrument": lib.NO_INSTRUMENT, "flags": 0}
    driven.tell(event(0), event(1, type=lib.NORM_GAP, **line))
    assert driven.strategy.market["stale"].tolist() == [1, 1]
    driven.tell(event(2, type=lib.NORM_WHOLE, **line))
    assert driven.strategy.market["stale"].tolist() == [1, 1], "that the line is whole brings no price"
    driven.tell(event(3, instrument=1))
    assert driven.strategy.market["stale"].tolist() == [1, 0]


def test_a_lapped_strategy_believes_an_instrument_once_it_is_heard_of(driven: Driven) -> None:
    driven.tell(event(0), event(1, instrument=1))
    driven.tell(*(event(sequence) for sequence in range(2, RING + 20)))
    assert driven.strategy.market["stale"].tolist() == [0, 1]


def test_a_cleared_market_empties_book_tops_and_features(driven: Driven) -> None:
    driven.tell(event(0), event(1, instrument=1))
    driven.tell(event(2, type=lib.NORM_CLEAR, instrument=lib.NO_INSTRUMENT, flags=0))
    assert driven.strategy.market["bid_price_ticks"].tolist() == [0, 0]
    assert driven.strategy.market["stale"].tolist() == [1, 1]
    assert len(driven.strategy.depth("AAA")[0]) == 0 and np.isnan(driven.strategy.features).all()


def test_timers_are_told_once_however_late_and_can_be_taken_back(driven: Driven) -> None:
    strategy, c = driven.strategy, driven.host.c
    c.now_ns = lib.clock_now(c.clock) - 10**9
    strategy.set_timer("slow", 500_000_000)
    strategy.set_timer("fast", 300_000_000)
    strategy.set_timer("never", 100_000_000)
    strategy.set_timer("never", 0)
    assert driven.tell()[:2] == ["fast", "slow"]
    strategy.set_timer("fast", 0)
    strategy.set_timer("slow", 0)
    assert driven.tell() == [] and c.timer_due_ns == 2**64 - 1


def test_nothing_is_told_before_the_seat_is_taken(driven: Driven) -> None:
    driven.host.c.trading = 0
    assert driven.tell(event(0)) == []
    assert driven.strategy.buy("AAA", quantity_lots=1, price_ticks=100) == 0
    assert driven.strategy.unsent_reason == "not_taken"


def test_an_unknown_instrument_ends_it(driven: Driven) -> None:
    with pytest.raises(NonsenseError, match="no instrument 'ZZZ'"):
        driven.strategy.instrument("ZZZ")
    assert isinstance(driven.host.error, NonsenseError)


def test_one_seat_one_strategy(driven: Driven) -> None:
    with pytest.raises(SeatError, match=r"seat told of engine .* is taken by process"):
        StrategyHost(driven.host.spec, driven.host.config, run_epoch=driven.host.run_epoch)


@pytest.mark.parametrize(
    ("code", "changes", "error", "said"),
    [
        ("Both", {}, StrategyError, "on_event and on_batch"),
        ("RING", {}, StrategyError, "no subclass"),
        ("Told", {"params": {"dept": 3}}, StrategyError, "no parameter dept"),
        ("Told", {"instruments": ["ZZZ"]}, StrategyError, "ZZZ: not in the reference data"),
        ("Nobody", {}, ConfigError, "has no Nobody"),
    ],
)
def test_a_class_that_cannot_be_run_is_told_why(
    code: str, changes: dict[str, Any], error: type[Exception], said: str, engine: str, tmp_path: Path
) -> None:
    spec = spec_of(engine, tmp_path, code, **changes)
    with engine_memory(spec) as memory, pytest.raises(error, match=said):
        StrategyHost(spec, spec.config.strategies[0], run_epoch=memory.run_epoch)


def test_mode_settles_which_of_two_methods(engine: str, tmp_path: Path) -> None:
    spec = spec_of(engine, tmp_path, "Both", mode="batch")
    with engine_memory(spec) as memory:
        driven = Driven(spec, memory)
        assert driven.tell(event(0), event(1), event(2)) == [3]
        driven.host.close()


def test_a_summary_names_the_users_own_line() -> None:
    try:
        int("none")
    except ValueError as error:
        assert "ValueError: invalid literal" in summary(error)
        assert "(test_strategy_host.py:" in summary(error)


@pytest.mark.parametrize("driven", [("Leaves", {})], indirect=True)
def test_strategy_that_exits_is_cut_off_like_one_that_raises(driven: Driven) -> None:
    driven.tell(event(0))
    assert isinstance(driven.host.error, SystemExit)
    assert summary(driven.host.error).startswith("SystemExit: 0 (test_strategy_host.py:")


def test_strategy_that_exits_as_it_is_made_is_an_error(engine: str, tmp_path: Path) -> None:
    spec = spec_of(engine, tmp_path, "NeverMade")
    with engine_memory(spec) as memory, pytest.raises(StrategyError, match="ended the process as it was made"):
        StrategyHost(spec, spec.config.strategies[0], run_epoch=memory.run_epoch)


def test_file_that_exits_as_it_is_loaded_is_an_error(engine: str, tmp_path: Path) -> None:
    (tmp_path / "quits.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError, match="SystemExit: 0"):
        load_object(f"{tmp_path / 'quits.py'}:Quits", key="strategies.told.class")
