"""hotpath/refdata.py: one hashed file of instruments, and what it refuses."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.calendar import us_equities
from hotpath.errors import RefdataError
from hotpath.refdata import (
    Instrument,
    Refdata,
    instrument_table,
    instruments_of_itch,
    load_refdata,
    merge_instruments,
    refdata_differences,
    refdata_hash,
    refdata_problems,
    save_refdata,
)


def two_instruments() -> Refdata:
    return Refdata(
        calendars={"us-equities": us_equities()},
        instruments=[
            Instrument(symbol="AAPL", venue_ids={"itch": 13}),
            Instrument(symbol="BRK.A", venue_ids={"itch": 14}, round_lot=1),
        ],
    )


def itch_messages(path: Path) -> Iterator[bytes]:
    content, offset = path.read_bytes(), 0
    while offset + 2 <= len(content):
        (length,) = struct.unpack_from(">H", content, offset)
        yield content[offset + 2 : offset + 2 + length]
        offset += 2 + length


def test_saved_file_loads_to_the_same(tmp_path: Path) -> None:
    saved = save_refdata(two_instruments(), tmp_path / "refdata.json")
    assert load_refdata(tmp_path / "refdata.json") == saved
    assert (tmp_path / "refdata.json").read_text().count('"symbol"') == 2
    assert [path.name for path in tmp_path.iterdir()] == ["refdata.json"]


def test_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    save_refdata(two_instruments(), tmp_path / "a.json")
    save_refdata(two_instruments(), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_layout_of_the_file_does_not_matter_to_its_hash(tmp_path: Path) -> None:
    save_refdata(two_instruments(), tmp_path / "refdata.json")
    content = json.loads((tmp_path / "refdata.json").read_text())
    (tmp_path / "refdata.json").write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert load_refdata(tmp_path / "refdata.json").version == 1


def test_edit_by_hand_is_detected_and_explained(tmp_path: Path) -> None:
    path = tmp_path / "refdata.json"
    save_refdata(two_instruments(), path)
    path.write_text(path.read_text().replace('"round_lot":1,', '"round_lot":10,'))
    with pytest.raises(RefdataError, match="changed since it was sealed") as caught:
        load_refdata(path)
    assert "hotpath refdata seal" in caught.value.next_step


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"BRK.A"', '"AAPL"', "instrument AAPL: listed twice"),
        ('"itch":14', '"itch":13', "itch id 13 belongs to AAPL as well"),
        ('"itch":14', '"itch":70000', "itch locate 70000 is not in 1..65535"),
        ('"0.0001"', '"0.00000001"', "tick_size x lot_size is 0.01, not a whole number"),
        ('"0.0001"', '"0"', "must exceed 0"),
        ('"0.0001"', '"1e3"', "matching regex"),
        ('"0.01"', '"0.00015"', "price_increment / tick_size is 1.5, not a whole number"),
        ('"America/New_York"', '"Nowhere"', "time zone 'Nowhere' is unknown"),
        ('"calendar":"us-equities"', '"calendar":"lse"', "calendar 'lse' is not in the file"),
        ('"lists": {}', '"lists": {"restricted": ["X"]}', "list restricted: X is no instrument"),
        ('"format": 1', '"format": 2', "format 2; this engine reads format 1"),
        ('"currency"', '"currencies"', "unknown field `currencies`"),
        ('"version": 1', '"version": ', "JSON is malformed"),
    ],
)
def test_contradiction_is_refused_in_words(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "refdata.json"
    save_refdata(two_instruments(), path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RefdataError) as caught:
        load_refdata(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(RefdataError) as caught:
        load_refdata(tmp_path / "absent.json")
    assert "hotpath refdata import" in caught.value.next_step


def test_table_holds_what_the_path_needs() -> None:
    refdata = msgspec.structs.replace(two_instruments(), lists={"restricted": ["AAPL"], "traded": ["BRK.A"]})
    table = instrument_table(refdata)
    assert table["symbol"].tolist() == [b"AAPL", b"BRK.A"]
    assert table["venue_locate"].tolist() == [13, 14]
    assert table["tick_value_micros"].tolist() == [100, 100]
    assert table["price_increment_ticks"].tolist() == [100, 100]
    assert table["round_lot_lots"].tolist() == [100, 1]
    assert table["flags"].tolist() == [lib.INSTRUMENT_RESTRICTED, lib.INSTRUMENT_TRADED]
    assert np.all(table["currency"] == b"USD")


def test_import_takes_directory_messages(shared_data: Path) -> None:
    found = instruments_of_itch(itch_messages(shared_data / "itch_dir_sample" / "sample.itch"))
    assert len(found) == 993
    assert found[0] == Instrument(symbol="A", round_lot=100, venue_ids={"itch": 1})
    assert refdata_problems(merge_instruments(None, found)) == []


@pytest.mark.parametrize(
    ("file", "symbol", "locate"),
    [
        ("itch_aapl_20200130/locate-13-10k.bin", "AAPL", 13),
        ("itch_goog_20120621_derived/GOOG_20120621_L10.itch50", "GOOG", 1),
    ],
)
def test_import_finds_the_instrument_of_a_single_symbol_file(
    shared_data: Path, file: str, symbol: str, locate: int
) -> None:
    found = instruments_of_itch(itch_messages(shared_data / file))
    assert [(each.symbol, each.venue_ids["itch"]) for each in found] == [(symbol, locate)]


def test_merge_keeps_what_people_wrote_and_moves_venue_ids() -> None:
    before = msgspec.structs.replace(
        two_instruments(), instruments=[Instrument(symbol="AAPL", price_increment="0.05", venue_ids={"itch": 13})]
    )
    after = merge_instruments(
        before, [Instrument(symbol="MSFT", venue_ids={"itch": 13}), Instrument(symbol="AAPL", venue_ids={"itch": 20})]
    )
    assert after.version == before.version + 1
    assert after.symbols() == ["AAPL", "MSFT"]
    assert after.instruments[0].price_increment == "0.05"
    assert [each.venue_ids for each in after.instruments] == [{"itch": 20}, {"itch": 13}]
    assert refdata_problems(after) == []


def test_instrument_that_is_gone_from_the_venue_loses_a_reused_id() -> None:
    after = merge_instruments(two_instruments(), [Instrument(symbol="NEW", venue_ids={"itch": 13})])
    assert after.instruments[after.index_of("AAPL")].venue_ids == {}


def test_merge_of_known_instruments_is_no_new_version() -> None:
    before = two_instruments()
    assert merge_instruments(before, before.instruments) is before


def test_differences_name_place_and_values() -> None:
    before = two_instruments()
    after = msgspec.structs.replace(
        before,
        instruments=[Instrument(symbol="BRK.A", venue_ids={"itch": 14}, round_lot=10), before.instruments[0]],
        lists={"restricted": ["AAPL"]},
    )
    assert refdata_differences(before, after) == [
        "+ list restricted",
        "~ instrument BRK.A: round_lot 1 -> 10",
        "~ instruments: their order, and so their indices",
    ]
    assert refdata_differences(before, before) == []
    assert refdata_hash(before) != refdata_hash(after)
