"""`hotpath new-strategy NAME`: a folder with a strategy that runs, to begin from.

NAME/NAME.py         the strategy                     NAME/day.itch      a generated market to try it on
NAME/engine.toml     an engine that runs it           NAME/test_NAME.py  a test of it: pytest NAME
NAME/README.md       what is what
"""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from hotpath.config_seats import SEGMENT_WORDS
from hotpath.errors import ConfigError
from hotpath.generated import write_generated_day

Kind = Literal["event", "batch", "cfunc"]
NAME = r"[a-z][a-z0-9_]{0,23}"
DAY = "day.itch"
DAY_MESSAGES = 20_000

EVENT = Template('''"""$name: called for each market event it wants."""

from __future__ import annotations

from hotpath.strategy import BUY, TOP, Event, Report, Strategy


class $cls(Strategy):
    """Buys where the book leans up, sells where it leans down, one order at a time."""

    wants = TOP  # which events: TOP | TRADES | ORDERS | STATES
    defaults = {"quantity": 100, "lean": 0.7, "position_max": 300}  # [[strategies]] params go over these

    def on_start(self) -> None:
        """Orders may be sent from here on."""
        self.fills = 0
        self.set_timer("tidy", 1_000_000_000)

    def on_event(self, event: Event) -> None:
        """`event` is one object, filled in anew for each call: copy what is to be kept."""
        instrument = self.instrument(event.instrument)
        if event.stale or not instrument.two_sided or len(self.open_orders):
            return
        lean = instrument.feature("imbalance_top")  # NaN until it is ready: no comparison holds
        if lean > self.params.lean and instrument.position_lots < self.params.position_max:
            self.buy(instrument, quantity_lots=self.params.quantity, price_ticks=instrument.ask_price_ticks)
        elif lean < -self.params.lean and instrument.position_lots > -self.params.position_max:
            self.sell(instrument, quantity_lots=self.params.quantity, price_ticks=instrument.bid_price_ticks)

    def on_order(self, report: Report) -> None:
        """What became of an order: accepted, fill, canceled, rejected, refused ..."""
        if report.kind == "fill":
            self.fills += 1 if report.side == BUY else -1

    def on_timer(self, name: str, now_ns: int) -> None:
        """Nothing rests for longer than a second."""
        self.cancel_all()
''')

BATCH = Template('''"""$name: called with all events that came, as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hotpath.strategy import FEATURES, TOP, Strategy

LEAN = FEATURES["imbalance_depth"]  # a column of self.features


class $cls(Strategy):
    """Buys the instruments whose book leans up the most, sells those whose book leans down."""

    wants = TOP  # which events: TOP | TRADES | ORDERS | STATES
    defaults = {"quantity": 100, "lean": 0.7, "position_max": 300}  # [[strategies]] params go over these

    def on_start(self) -> None:
        """Orders may be sent from here on."""
        self.set_timer("tidy", 1_000_000_000)

    def on_batch(self, events: npt.NDArray[Any]) -> None:
        """Columns of the events: events["price_ticks"] ...; the tables stand as of the last of them."""
        moved = np.unique(events["instrument"])
        lean = np.nan_to_num(self.features[moved, LEAN])
        held = self.positions["position_lots"][moved]
        buys = moved[(lean > self.params.lean) & (held < self.params.position_max)]
        sells = moved[(lean < -self.params.lean) & (held > -self.params.position_max)]
        for index in buys.tolist():
            self.trade(index, buying=True)
        for index in sells.tolist():
            self.trade(index, buying=False)

    def trade(self, index: int, *, buying: bool) -> None:
        """At the far touch, one order of an instrument at a time."""
        instrument = self.instrument(index)
        if not instrument.two_sided or np.any(self.open_orders["instrument"] == index):
            return
        price = instrument.ask_price_ticks if buying else instrument.bid_price_ticks
        send = self.buy if buying else self.sell
        send(instrument, quantity_lots=self.params.quantity, price_ticks=price, time_in_force="ioc")

    def on_timer(self, name: str, now_ns: int) -> None:
        """Nothing rests for longer than a second."""
        self.cancel_all()
''')

CFUNC = Template('''"""$name: a score, compiled by numba and called from C at each event.

It needs numba: pip install 'hotpath-engine[strategies]'. It is trusted code inside the signal stage: no index may be
out of range, and it must decide from its arguments alone.
"""

from __future__ import annotations

from typing import Any

from hotpath.native import FEATURE_IMBALANCE_TOP, NATIVE_POSITION_LOTS, strategy_cfunc

WEIGHT = 0.3  # of the newest event in the average


@strategy_cfunc
def $name(features: Any, ready: int, market: Any, state: Any) -> float:
    """A score in [-1, 1], positive for buying. `state` is this instrument's own: 16 numbers, 0 at first."""
    if not ready >> FEATURE_IMBALANCE_TOP & 1:
        return 0.0
    state[0] += WEIGHT * (features[FEATURE_IMBALANCE_TOP] - state[0])
    return state[0] / (1.0 + abs(market[NATIVE_POSITION_LOTS]) / 1000.0)
''')

ENGINE = Template("""# An engine that runs $name. hotpath config show prints every key and its default.
[engine]
name = "$engine"
topology = "fused"

[signal]
$signal
[signal.features]
bar_ns = 100_000_000

[signal.weights] # of the built-in strategies$silent
microprice = 0.0
momentum = 0.0
reversion = 0.0
custom = $custom

[risk]
require_trading_state = false # the generated day has no opening
open_orders_max = 100

[risk.defaults]
position_lots_max = 1000
order_quantity_lots_max = 500
order_value_currency_max = 1_000_000.0
$seat""")

SEAT = Template("""
[[strategies]]
name = "$name"
account = 1
strategy = 100 # names its orders: no two strategies share a number
class = "$name.py:$cls"
params = { quantity = 100 }
budget_ms = 250 # for one call of a method; longer cuts it off
on_cut = "cancel"
""")

TEST = Template('''"""It trades, it is not cut off, and the same day gives the same orders."""

from __future__ import annotations

from pathlib import Path

from hotpath.replay import ReplayOptions, replay_file
from hotpath.report import RunReport

HERE = Path(__file__).resolve().parent


def replay() -> RunReport:
    return replay_file(HERE / "$day", ReplayOptions(config_path=HERE / "engine.toml"))


def test_it_trades_and_is_not_cut_off() -> None:
    report = replay()
    assert report.notices == []
    assert report.count("gateway", "new_orders") > 0
    assert report.count("gateway", "fills") > 0


def test_one_day_gives_one_order_log() -> None:
    assert replay().order_log_sha256 == replay().order_log_sha256
''')

README = Template("""# $name

A hotpath strategy, $kind_text.

    hotpath replay $day --config engine.toml    # run it over the generated day, in virtual time, and report
    pytest                                      # its test

| file | what |
|---|---|
| `$name.py` | the strategy |
| `engine.toml` | an engine that runs it: limits, $config_text |
| `$day` | a generated market of 8 instruments; replay a recorded day in its place when you have one |
| `test_$name.py` | that it trades, is not cut off, and decides the same again |

What it can see and ask for, what cuts it off, and what each way costs: docs/strategies.md of hotpath.
""")

KIND_TEXT = {
    "event": "called for each event",
    "batch": "called with columns of events",
    "cfunc": "compiled by numba and called on the path",
}


@dataclass(frozen=True)
class NewStrategy:
    """What was made."""

    folder: Path
    files: tuple[str, ...]


def write_strategy(name: str, *, kind: Kind, into: Path) -> NewStrategy:
    """Make the folder `into`/`name`. Raises ConfigError for a name that cannot be one, or a folder that is there."""
    if not re.fullmatch(NAME, name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name!r} cannot be a strategy's name",
            next_step="small letters, digits and _, a letter first, at most 24: it names a file, a class and a seat",
        )
    if name in SEGMENT_WORDS or name in sys.stdlib_module_names:
        whose = "a word of the engine's" if name in SEGMENT_WORDS else "the name of a module of Python's"
        raise ConfigError(
            f"{name!r} cannot be a strategy's name: it is {whose}", next_step=f"choose another one, as my_{name}"
        )
    folder = into / name
    if folder.exists():
        raise ConfigError(f"{folder} is there already", next_step="choose another name, or another place: --into")
    files = _files(name, kind)
    folder.mkdir(parents=True)
    for path, text in files.items():
        (folder / path).write_text(text)
    write_generated_day(folder / DAY, messages=DAY_MESSAGES)
    return NewStrategy(folder, (*files, DAY))


def _files(name: str, kind: Kind) -> dict[str, str]:
    words = {
        "name": name,
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "engine": name.replace("_", "-"),
        "day": DAY,
        "kind_text": KIND_TEXT[kind],
    }
    compiled = kind == "cfunc"
    engine = ENGINE.substitute(
        words,
        signal=f'native = "{name}.py:{name}"\nthreshold = 0.3\n' if compiled else "",
        silent="" if compiled else ": all 0, the seats alone trade",
        custom="1.0" if compiled else "0.0",
        seat="" if compiled else SEAT.substitute(words),
    )
    return {
        f"{name}.py": {"event": EVENT, "batch": BATCH, "cfunc": CFUNC}[kind].substitute(words),
        "engine.toml": engine,
        f"test_{name}.py": TEST.substitute(words),
        "README.md": README.substitute(words, config_text="`[signal] native`" if compiled else "the strategy's seat"),
    }
