"""What people say of positions: kept whole or not at all, in a file that shows every change."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.config import Config
from hotpath.errors import AdjustmentError
from hotpath.ledger.adjustments import (
    Adjustment,
    AdjustmentFile,
    Applied,
    adjustment_events,
    adjustments_path,
    money_micros,
    new_adjustment,
)
from hotpath.ledger.asking import ask, describe, told
from hotpath.ledger.fold import Execution, Ledger
from hotpath.refdata import Instrument, merge_instruments, save_refdata


def entry(symbol: str = "GOOG", *, lots: int = 1, why: str = "because") -> Adjustment:
    return new_adjustment(kind="correction", symbol=symbol, lots=lots, cost_micros=0, cash_micros=0, who="ann", why=why)


@pytest.fixture
def file(tmp_path: Path) -> AdjustmentFile:
    return AdjustmentFile(tmp_path / "state" / "adjustments")


def test_entries_get_rising_ids_and_are_pending_until_a_run_has_them(file: AdjustmentFile) -> None:
    assert file.all() == [] and file.pending() == []
    file.ask([entry("A"), entry("B")])
    file.ask([entry("C")])
    assert [(each.id, each.symbol) for each in file.pending()] == [(1, "A"), (2, "B"), (3, "C")]
    file.mark(Applied(ids=(1, 3), run_epoch=77))
    assert [each.id for each in file.pending()] == [2]
    assert file.fates()[3].run_epoch == 77 and len(file.all()) == 3


def test_line_cut_off_by_a_death_is_as_if_never_written(file: AdjustmentFile) -> None:
    file.ask([entry("A")])
    whole = file.path.read_bytes()
    file.ask([entry("B")])
    longer = file.path.read_bytes()
    for length in range(len(whole), len(longer)):
        file.path.write_bytes(longer[:length])
        assert [each.symbol for each in file.all()] == ["A"]
    file.ask([entry("C")])
    assert [(each.id, each.symbol) for each in file.all()] == [(1, "A"), (2, "C")]


def test_any_change_of_a_line_is_found(file: AdjustmentFile) -> None:
    file.ask([entry("A"), entry("B")])
    good = file.path.read_bytes()
    for place in range(0, len(good) - 1, 3):  # without the last newline, the last line was cut off
        bad = bytearray(good)
        bad[place] ^= 0x04
        file.path.write_bytes(bytes(bad))
        with pytest.raises(AdjustmentError):
            file.lines()
    first, _, rest = good.partition(b"\n")
    file.path.write_bytes(rest)  # the first one removed
    with pytest.raises(AdjustmentError, match="changed since"):
        file.lines()
    assert first


def _ask_many(path: Path) -> None:
    for _ in range(20):
        AdjustmentFile(path).ask([entry()])


def test_many_who_ask_at_once_get_an_id_each(file: AdjustmentFile) -> None:
    context = multiprocessing.get_context("spawn")
    people = [context.Process(target=_ask_many, args=(file.path,)) for _ in range(3)]
    for each in people:
        each.start()
    for each in people:
        each.join()
        assert each.exitcode == 0
    assert [each.id for each in file.all()] == list(range(1, 61))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lots": 0}, "changes nothing"),
        ({"lots": 2**60}, "more than a position"),
        ({"why": "  "}, "a reason"),
        ({"why": "x" * 2000}, "longer"),
        ({"kind": "wish"}, "no kind"),
    ],
)
def test_what_no_position_can_be_is_refused(change: dict[str, object], said: str) -> None:
    fields = {"kind": "opening", "symbol": "A", "lots": 1, "cost_micros": 0, "cash_micros": 0, "who": "a", "why": "b"}
    with pytest.raises(AdjustmentError, match=said):
        new_adjustment(**{**fields, **change})  # type: ignore[arg-type]


def test_money_is_exact_or_refused() -> None:
    assert money_micros("-12.345678", key="--cash") == -12_345_678
    for text in ("1.0000001", "NaN", "infinity", "twelve"):
        with pytest.raises(AdjustmentError):
            money_micros(text, key="--cash")


def test_events_carry_who_and_why_whole() -> None:
    why = "split é" * 30
    given = msgspec.structs.replace(entry(why=why, lots=-7), id=9)
    events = adjustment_events(given, instrument=3, now_ns=5)
    text = b"".join(bytes(event["text"])[: int(event["length"])] for event in events)
    assert text.decode() == f"ann\n{why}"
    assert set(events["parts"].tolist()) == {len(events)} and events["part"].tolist() == list(range(len(events)))
    assert set(events["id"].tolist()) == {9} and set(events["quantity_lots"].tolist()) == {-7}
    assert set(events["header"]["type"].tolist()) == {lib.ADJUST_CORRECTION} and np.all(
        events["header"]["instrument"] == 3
    )


def test_asking_knows_instruments_and_prices(tmp_path: Path) -> None:
    instruments = [
        Instrument(symbol="GOOG"),
        Instrument(symbol="COIN", tick_size="0.00000001", lot_size="1000", price_increment="0.01"),
    ]
    path = tmp_path / "refdata.json"
    save_refdata(merge_instruments(None, instruments), path)
    replace = msgspec.structs.replace
    config = Config()
    config = replace(
        config,
        engine=replace(config.engine, state_dir=str(tmp_path)),
        refdata=replace(config.refdata, path=str(path)),
    )
    words = {"kind": "opening", "cost": "", "cash": "0", "who": "ann", "why": "held"}
    assert ask(config, symbol="GOOG", lots=-300, price="585.33", **words).cost_micros == -300 * 585_330_000
    assert ask(config, symbol="COIN", lots=2, price="0.05", **words).cost_micros == 2 * 50_000_000
    with pytest.raises(AdjustmentError, match="whole number"):
        ask(config, symbol="GOOG", lots=1, price="0.0000001", **words)
    with pytest.raises(AdjustmentError, match="one of them"):
        ask(config, symbol="GOOG", lots=1, price="1", **{**words, "cost": "1"})
    file = AdjustmentFile(adjustments_path(config))
    file.mark(Applied(ids=(1,), run_epoch=0, reason="no such thing"))
    rows = told(config)
    assert [row["state"] for row in rows] == ["refused", "pending"]
    assert "no such thing" in describe(rows) and "ann: held" in describe(rows)


def test_split_keeps_the_cost_and_dividend_is_profit_at_once() -> None:
    ledger = Ledger([100])
    ledger.restore(
        [
            Execution(0, 0, 300, 0, adjusted=True, cost_micros=600_000_000),  # opening
            Execution(1, 0, 300, 0, adjusted=True),  # split 2 for 1
            Execution(2, 0, 0, 0, adjusted=True, cash_micros=1_500_000),  # dividend
            Execution(3, 0, -600, 11_000, order_id=1, match_id=1),
        ],
        session=0,
        session_sequence=0,
    )
    position = ledger.positions[0]
    assert (position.lots, position.cost_micros) == (0, 0)
    assert position.realised_micros == 600 * 11_000 * 100 - 600_000_000 + 1_500_000
