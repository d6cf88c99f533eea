"""What `hotpath tail` is told, and how events read."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import ConfigError
from hotpath.event_view import Seen, as_dictionary, as_line, price_text, types_named
from hotpath.journal import event_type
from hotpath.tail import parse_options, parse_since

NOW = datetime(2026, 11, 21, 14, 30, 5)


def options(**words: str) -> dict[str, object]:
    return {"rings": "", "symbols": "", "types": "", "since": "", "json": True, "count": None, **words}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"rings": "raw"}, "--ring raw: there is no such ring (one of: norm, signal, cmd, exec, reject, intake)"),
        ({"types": "filled"}, "--type filled: there is no such event (one of: "),
        ({"since": "yesterday"}, "--since yesterday: say 30s"),
    ],
)
def test_word_that_means_nothing_is_named(words: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}".replace("(", r"\(").replace(")", r"\)")):
        parse_options(**options(**words))  # type: ignore[arg-type]


def test_since_is_a_span_or_a_time() -> None:
    now_ns = int(NOW.timestamp()) * 10**9
    assert parse_since("30s", now=NOW) == now_ns - 30 * 10**9
    assert parse_since("1.5m", now=NOW) == now_ns - 90 * 10**9
    assert parse_since("14:30", now=NOW) == now_ns - 5 * 10**9
    assert parse_since("14:30:01", now=NOW) == now_ns - 4 * 10**9
    assert parse_since("2026-11-21T14:29:05", now=NOW) == now_ns - 60 * 10**9


def test_types_go_by_short_or_whole_name() -> None:
    assert types_named(["fill"]) == {lib.EXEC_FILL} == types_named(["exec_fill"])
    assert types_named(["cancel"]) == {lib.SIGNAL_CANCEL, lib.CMD_CANCEL, lib.REQUEST_CANCEL}


@pytest.mark.parametrize(
    ("ticks", "tick_value_micros", "shown"),
    [(5_853_300, 100, "585.3300"), (1, 100, "0.0001"), (-25, 100, "-0.0025"), (12, 250_000, "3.00"), (7, 1, "0.000007"),
     (3, 500_000, "1.50"), (1, 12_500, "0.0125"), (9, 0, "9t")],
)  # fmt: skip
def test_price_has_the_decimals_of_its_tick(ticks: int, tick_value_micros: int, shown: str) -> None:
    assert price_text(ticks, tick_value_micros) == shown


def seen(ring: str, struct: str, type_: int, **fields: int) -> Seen:
    slot = np.zeros(1, dtype_of(struct))
    slot["header"]["type"], slot["header"]["stamp"] = type_, 8
    slot["header"]["flags"] = fields.pop("flags", 0)
    for name, value in fields.items():
        slot[name] = value
    return Seen(ring, "GOOG", 100, slot[0])


def test_every_type_of_event_can_be_read() -> None:
    """By people and by machines; no type is left without a word of its own."""
    rings = {"request": "intake", "seat": "intake", "norm": "norm", "signal": "signal", "cmd": "cmd", "exec": "exec"}
    for name, value in ffi.typeof("enum event_type").relements.items():
        ring = rings.get(name.partition("_")[0].lower())
        if ring is None:
            continue
        event = seen(ring, event_type(ring), value)
        word = name.partition("_")[2].lower()
        assert f" {word} " in f"{as_line(event, lambda text, _: text)} "
        assert as_dictionary(event)["type"] == name.lower()


def test_event_reads_as_what_happened() -> None:
    def plain(text: str, _colour: str) -> str:
        return text

    fill = seen("exec", "exec_event", lib.EXEC_FILL, order_id=12, price_ticks=5_853_300, quantity_lots=100, side=1)
    assert "sell    100 @ 585.3300   order 12 leaves 0" in as_line(fill, plain)
    refused = seen("reject", "exec_event", lib.EXEC_REFUSED, order_id=9, reason=lib.REJECT_COLLAR)
    assert as_line(refused, plain).endswith("order 9 collar")
    gap = seen("norm", "norm_event", lib.NORM_GAP, quantity_lots=3, flags=lib.FLAG_STALE)
    assert as_line(gap, plain).endswith("3 messages missing stale")
    told = as_dictionary(fill)
    assert (told["sequence"], told["price"], told["side"]) == (7, "585.3300", "sell")
