"""The feature kernel's rules, one at a time, against numbers worked out by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib

README = Path(__file__).resolve().parent.parent.parent / "research" / "README.md"
FEATURE_NAMES = [name for _, name in sorted(ffi.typeof("enum feature_id").elements.items())][:-1]
CONFIG = {
    "bar_ns": 100,
    "sample_every": 1,
    "ema_fast": 2,
    "ema_slow": 4,
    "zscore_window": 3,
    "flow_window": 2,
    "sma_fast": 2,
    "sma_slow": 3,
    "rsi_period": 2,
    "macd_fast": 2,
    "macd_slow": 3,
    "macd_signal": 2,
    "atr_period": 2,
    "volatility_bars": 2,
}


class Kernel:
    """One instrument's features; each call feeds one event and returns the ready values by name."""

    def __init__(self, **changes: int) -> None:
        self.config = ffi.new("feature_config *", {**CONFIG, **changes})
        assert lib.feature_config_check(self.config, ffi.NULL) == lib.FEATURE_OK
        self.state = ffi.new("feature_state *")
        lib.feature_init(self.state)

    def feed(self, event: Any) -> dict[str, float]:
        """Values of the ready features; those that are not must be NaN."""
        value = ffi.new("double[]", lib.FEATURES_MAX)
        ready = lib.feature_update(self.config, self.state, event, value)
        values = {}
        for index, name in enumerate(FEATURE_NAMES):
            assert math.isnan(value[index]) != bool(ready >> index & 1), name
            if ready >> index & 1:
                values[name.removeprefix("FEATURE_").lower()] = value[index]
        return values

    def quote(self, bid: int, ask: int, *, sizes: tuple[int, int] = (100, 100), **changes: Any) -> dict[str, float]:
        """Feed an order event that leaves this top of book."""
        return self.feed(make_event(bid=bid, ask=ask, sizes=sizes, **changes))

    def mids(self, *mids: int, **changes: Any) -> dict[str, float]:
        """Feed quotes two ticks wide around each mid; the values after the last."""
        values: dict[str, float] = {}
        for mid in mids:
            values = self.quote(mid - 1, mid + 1, **changes)
        return values

    def closes(self, *mids: int) -> dict[str, float]:
        """Feed one quote a bar, then one past the last bar's end, so that each mid is a bar's close."""
        for index, mid in enumerate(mids):
            self.mids(mid, time_ns=index * 100 + 50)
        return self.mids(mids[-1], time_ns=len(mids) * 100)


def make_event(
    *,
    bid: int = 99,
    ask: int = 101,
    sizes: tuple[int, int] = (100, 100),
    depths: tuple[int, int] = (500, 500),
    kind: str = "NORM_ADD",
    flags: int = 0,
    price: int = 0,
    lots: int = 0,
    time_ns: int = 0,
) -> Any:
    """A norm event with this top of book after it."""
    event = ffi.new("norm_event *")
    event.header.type = getattr(lib, kind)
    event.header.flags = flags
    event.header.origin_time_ns = time_ns
    event.price_ticks, event.quantity_lots = price, lots
    event.bid_price_ticks, event.ask_price_ticks = bid, ask
    event.bid_quantity_lots, event.ask_quantity_lots = sizes
    event.bid_depth_lots, event.ask_depth_lots = depths
    return event


def make_execution(lots: int, *, sell: bool, price: int = 100, **changes: Any) -> Any:
    """An execution of a resting order."""
    flags = lib.FLAG_PRINTABLE | (lib.FLAG_SELL if sell else 0)
    return make_event(kind="NORM_EXECUTE", flags=flags, price=price, lots=lots, **changes)


def test_quote_features_are_ready_at_the_first_quote() -> None:
    values = Kernel().quote(100, 104, sizes=(300, 100), depths=(100, 300))
    assert values == {"mid": 102, "spread": 4, "microprice": 103, "imbalance_top": 0.5, "imbalance_depth": -0.5}


@pytest.mark.parametrize(
    "book",
    [
        {"bid": 0, "sizes": (0, 100)},
        {"ask": 0, "sizes": (100, 0)},
        {"bid": 101},
        {"bid": 102},
        {"bid": -5},
        {"ask": lib.FEATURE_VALUE_MAX + 1},
        {"sizes": (100, lib.FEATURE_VALUE_MAX + 1)},
        {"sizes": (-1, 100)},
    ],
    ids=["no bid", "no ask", "locked", "crossed", "negative", "price too large", "quantity too large", "bad quantity"],
)
def test_a_book_that_is_not_two_sided_gives_no_quote_but_keeps_the_rest(book: dict[str, Any]) -> None:
    kernel = Kernel()
    before = kernel.mids(100, 102, 104)
    during = kernel.feed(make_event(**book))
    assert during == {name: before[name] for name in ("ema_fast", "zscore")}
    after = kernel.mids(104)
    assert after == before  # the same top as before is not another quote


def test_a_stale_event_gives_nothing_and_changes_nothing() -> None:
    kernel = Kernel()
    before = kernel.mids(100, 102, 104)
    image = bytes(ffi.buffer(kernel.state))
    assert kernel.mids(900, flags=lib.FLAG_STALE, time_ns=10_000) == {}
    execution = make_execution(5, sell=True)
    execution.header.flags |= lib.FLAG_STALE
    assert kernel.feed(execution) == {}
    assert bytes(ffi.buffer(kernel.state)) == image
    assert kernel.mids(104) == before


def test_depth_imbalance_needs_depth() -> None:
    kernel = Kernel()
    assert "imbalance_depth" not in kernel.quote(99, 101, depths=(0, 500))
    assert kernel.quote(99, 101, depths=(750, 250))["imbalance_depth"] == 0.5


def test_ema_is_seeded_by_the_first_mid_and_ready_after_its_period() -> None:
    kernel = Kernel()
    assert "ema_fast" not in kernel.mids(100)
    values = kernel.mids(106)
    assert values["ema_fast"] == 104 and "ema_slow" not in values
    slow = ((100 * 0.6 + 106 * 0.4) * 0.6 + 105 * 0.4) * 0.6 + 104 * 0.4
    assert kernel.mids(105, 104)["ema_slow"] == pytest.approx(slow, rel=1e-15)


def test_an_unchanged_top_is_no_quote() -> None:
    assert "ema_fast" not in Kernel().mids(100, 100, 100, 100)


def test_a_changed_quantity_at_the_best_is_a_quote() -> None:
    kernel = Kernel()
    kernel.mids(100)
    assert kernel.mids(100, sizes=(100, 200))["ema_fast"] == 100


def test_the_first_quote_and_then_each_nth_is_a_sample() -> None:
    kernel = Kernel(sample_every=3)
    kernel.mids(100, 200, 300)
    assert kernel.state.sample_count == 1
    assert kernel.mids(106)["ema_fast"] == 104


def test_zscore_is_of_the_last_sample_in_its_window() -> None:
    values = Kernel().mids(50, 100, 102, 107)
    assert values["zscore"] == pytest.approx((107 - 103) / math.sqrt((9 + 1 + 16) / 3), rel=1e-15)


def test_zscore_of_a_flat_window_is_zero() -> None:
    kernel = Kernel()
    for lots in (1, 2, 3):
        values = kernel.mids(100, sizes=(lots, 1))
    assert values["zscore"] == 0


def test_zscore_is_exact_after_the_widest_prices() -> None:
    kernel = Kernel(zscore_window=lib.FEATURE_WINDOW_MAX)
    most = lib.FEATURE_VALUE_MAX
    for index in range(300):
        kernel.quote(1 + index, most - index)
    for index in range(lib.FEATURE_WINDOW_MAX):
        values = kernel.mids(100 + index % 2)
    assert values["zscore"] == 1.0  # two values in equal number: one deviation either side


def test_an_executed_sell_was_bought() -> None:
    kernel = Kernel()
    kernel.feed(make_execution(30, sell=True))
    values = kernel.feed(make_execution(10, sell=False))
    assert (values["trade_flow"], values["trade_imbalance"]) == (20, 0.5)
    values = kernel.feed(make_execution(10, sell=False))
    assert (values["trade_flow"], values["trade_imbalance"]) == (-20, -1)


def test_vwap_stays_exact_as_turnover_passes_64_bits() -> None:
    kernel = Kernel()
    for _ in range(5):
        values = kernel.feed(make_execution(2**23, sell=True, price=2**40))  # 2^63 each
        assert values["vwap"] == 2**40


@pytest.mark.parametrize("kind", ["NORM_TRADE", "NORM_CROSS"])
def test_a_print_without_a_known_aggressor_is_volume_but_no_flow(kind: str) -> None:
    kernel = Kernel()
    kernel.feed(make_execution(10, sell=True))
    values = kernel.feed(make_event(kind=kind, flags=lib.FLAG_PRINTABLE, price=110, lots=30))
    assert "trade_flow" not in values
    assert values["vwap"] == pytest.approx((100 * 10 + 110 * 30) / 40, rel=1e-15)


def test_an_execution_of_an_unknown_order_at_a_known_price_is_volume_but_no_flow() -> None:
    kernel = Kernel()
    for _ in range(3):
        execution = make_execution(10, sell=True)
        execution.header.flags |= lib.FLAG_UNKNOWN_ORDER
        values = kernel.feed(execution)
    assert values["vwap"] == 100 and "trade_flow" not in values


@pytest.mark.parametrize(
    "print_",
    [
        {"kind": "NORM_EXECUTE_PRICE", "flags": 0, "price": 100, "lots": 10},
        {"kind": "NORM_EXECUTE", "price": 0, "lots": 10},
        {"kind": "NORM_TRADE", "price": 100, "lots": 0},
        {"kind": "NORM_TRADE", "price": 100, "lots": -1},
        {"kind": "NORM_TRADE", "price": lib.FEATURE_VALUE_MAX + 1, "lots": 1},
        {"kind": "NORM_ADD", "price": 100, "lots": 10},
        {"kind": "NORM_BROKEN", "price": 100, "lots": 10},
    ],
)
def test_what_is_not_volume_is_not_a_trade(print_: dict[str, Any]) -> None:
    assert "vwap" not in Kernel().feed(make_event(**{"flags": lib.FLAG_PRINTABLE, **print_}))


def test_a_trade_counts_while_the_book_is_one_sided() -> None:
    assert Kernel().feed(make_execution(10, sell=True, bid=0, sizes=(0, 10))) == {"vwap": 100}


def test_a_time_bar_closes_before_the_first_event_past_its_end() -> None:
    kernel = Kernel()
    kernel.mids(100, time_ns=0)
    kernel.mids(104, time_ns=99)
    assert kernel.state.bar_count == 0
    kernel.mids(500, time_ns=100)
    assert (kernel.state.bar_count, kernel.state.bar_close) == (1, 208)


def test_empty_intervals_make_no_bars() -> None:
    kernel = Kernel()
    kernel.mids(100, time_ns=50)
    kernel.mids(104, time_ns=1_000_050)
    assert kernel.state.bar_count == 1
    kernel.feed(make_event(bid=0, time_ns=1_000_150))
    assert kernel.state.bar_count == 2
    kernel.feed(make_event(bid=0, time_ns=1_000_250))
    kernel.mids(104, time_ns=1_000_350)
    assert kernel.state.bar_count == 2  # an interval without a two-sided book is empty


def test_time_that_runs_back_stays_in_the_open_bar() -> None:
    kernel = Kernel()
    kernel.mids(100, time_ns=150)
    kernel.mids(110, time_ns=50)
    kernel.mids(100, time_ns=199)
    assert kernel.state.bar_count == 0
    kernel.mids(100, time_ns=200)
    assert kernel.state.bar_count == 1


def test_a_quiet_but_quoted_interval_is_a_flat_bar() -> None:
    assert Kernel().closes(100, 100, 100)["volatility"] == 0


def test_a_trade_bar_closes_with_its_last_trade() -> None:
    kernel = Kernel(bar_ns=0, bar_trades=2)
    kernel.feed(make_execution(10, sell=True, bid=99))
    assert kernel.state.bar_count == 0
    kernel.feed(make_execution(10, sell=True, bid=97))
    assert (kernel.state.bar_count, kernel.state.bar_close) == (1, 198)
    kernel.feed(make_execution(10, sell=True, bid=0))
    kernel.feed(make_execution(10, sell=True, bid=0))
    assert kernel.state.bar_count == 1  # no mid, no bar


def test_sma_is_the_mean_of_the_last_closes() -> None:
    values = Kernel().closes(100, 110, 120, 130)
    assert (values["sma_fast"], values["sma_slow"]) == (125, 120)


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ((100, 110, 104), 100 * 10 / 16),
        ((100, 110, 104, 110), 100 * (5 * 1 + 6) / (5 + 3 + 6)),  # averages 5.5 and 1.5
        ((100, 101, 102), 100),
        ((100, 99, 98), 0),
        ((100, 100, 100), 50),
    ],
)
def test_rsi_is_wilders(closes: tuple[int, ...], expected: float) -> None:
    assert Kernel().closes(*closes)["rsi"] == pytest.approx(expected, rel=1e-15)


def test_rsi_and_atr_need_a_period_of_changes() -> None:
    values = Kernel().closes(100, 110)
    assert "rsi" not in values and "atr" not in values and "volatility" not in values


def test_macd_and_its_signal_line() -> None:
    fast = slow = 100.0
    lines = []
    for close in (110, 105, 120):
        fast += (close - fast) * 2 / 3
        slow += (close - slow) * 2 / 4
        lines.append(fast - slow)
    values = Kernel().closes(100, 110, 105, 120)
    assert values["macd"] == pytest.approx(lines[2], rel=1e-15)
    assert values["macd_signal"] == pytest.approx(lines[1] + (lines[2] - lines[1]) * 2 / 3, rel=1e-15)
    assert "macd_signal" not in Kernel().closes(100, 110, 105)


def test_atr_widens_the_range_to_the_close_before() -> None:
    kernel = Kernel()
    kernel.mids(100, time_ns=50)
    kernel.mids(108, 104, 106, time_ns=150)  # high 108, previous close 100: 8
    kernel.mids(111, 110, time_ns=250)  # low 110, previous close 106: 5
    values = kernel.mids(110, time_ns=300)
    assert values["atr"] == 6.5
    kernel.mids(100, time_ns=399)
    assert kernel.mids(100, time_ns=400)["atr"] == (6.5 + 10) / 2


def test_volatility_is_the_root_of_summed_squared_log_returns() -> None:
    values = Kernel().closes(90, 100, 110, 121)
    assert values["volatility"] == pytest.approx(math.sqrt(2) * math.log(1.1), rel=1e-13)


def test_init_forgets_everything() -> None:
    kernel = Kernel()
    kernel.closes(100, 110, 120, 130)
    kernel.feed(make_execution(10, sell=True))
    fresh = Kernel()
    lib.feature_init(kernel.state)
    assert bytes(ffi.buffer(kernel.state)) == bytes(ffi.buffer(fresh.state))


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"bar_ns": 0}, "FEATURE_BAD_CLOCK", "bar_ns"),
        ({"bar_trades": 10}, "FEATURE_BAD_CLOCK", "bar_ns"),
        ({"sample_every": 0}, "FEATURE_BAD_PERIOD", "sample_every"),
        ({"ema_slow": 100_001}, "FEATURE_BAD_PERIOD", "ema_slow"),
        ({"zscore_window": 1}, "FEATURE_BAD_PERIOD", "zscore_window"),
        ({"zscore_window": 129}, "FEATURE_BAD_PERIOD", "zscore_window"),
        ({"flow_window": 65}, "FEATURE_BAD_PERIOD", "flow_window"),
        ({"sma_slow": 129}, "FEATURE_BAD_PERIOD", "sma_slow"),
        ({"volatility_bars": 0}, "FEATURE_BAD_PERIOD", "volatility_bars"),
        ({"ema_fast": 4}, "FEATURE_BAD_ORDER", "ema_fast"),
        ({"sma_fast": 3}, "FEATURE_BAD_ORDER", "sma_fast"),
        ({"macd_fast": 3}, "FEATURE_BAD_ORDER", "macd_fast"),
    ],
)
def test_check_names_the_wrong_field(changes: dict[str, int], status: str, field: str) -> None:
    config = ffi.new("feature_config *", {**CONFIG, **changes})
    name = ffi.new("const char **")
    assert lib.feature_config_check(config, name) == getattr(lib, status)
    assert ffi.string(name[0]).decode() == field


def test_the_table_of_features_names_each_once() -> None:
    table = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    documented = [name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert documented == [name.removeprefix("FEATURE_").lower() for name in FEATURE_NAMES]
