"""The intent file: what a killed writer can leave, and what the next process makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from hotpath.errors import IntentsError
from hotpath.intents import IntentFile, create_intents, open_intents, read_intents


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IntentFile]:
    with open_intents(tmp_path / "engine.intents", capacity=8) as opened:
        yield opened


def attach(file: IntentFile) -> Any:
    store = ffi.new("intent_store *")
    assert lib.intent_attach(store, file.pointer, file.size) == lib.INTENT_OK
    return store


def fill(record: Any, *, user_ref: int, order_id: int, type_: int = lib.CMD_NEW) -> None:
    record.type = type_
    record.user_ref = user_ref
    record.order_id = order_id
    record.frame_length = 3
    record.frame = b"abc".ljust(80, b"\0")


def store_one(store: Any, **fields: Any) -> None:
    record = lib.intent_claim(store)
    fill(record, **fields)
    lib.intent_commit(store)


def test_a_new_file_is_empty_and_gives_out_reference_one(file: IntentFile) -> None:
    store = attach(file)
    assert (store.next, store.capacity, store.page.next_user_ref) == (0, 8, 1)
    assert file.records().size == 0
    assert file.same_boot


def test_a_stored_record_is_there_for_the_next_process(file: IntentFile) -> None:
    store = attach(file)
    store_one(store, user_ref=1, order_id=10)
    store_one(store, user_ref=1, order_id=11, type_=lib.CMD_CANCEL)
    store_one(store, user_ref=2, order_id=12)
    again = attach(file)
    assert (again.next, again.page.count, again.page.next_user_ref) == (3, 3, 3)
    assert file.frames() == [b"abc"] * 3
    assert file.last_order_id == 12


def test_a_record_without_its_stamp_was_never_sent(file: IntentFile) -> None:
    """Killed after each step of filling: only the stamp makes an intent."""
    store = attach(file)
    store_one(store, user_ref=1, order_id=1)
    record = lib.intent_claim(store)
    steps = {"user_ref": 2, "type": lib.CMD_NEW, "order_id": 2, "frame": b"half".ljust(80, b"\0")}
    for field, value in steps.items():
        setattr(record, field, value)
        again = attach(file)
        assert (again.next, again.page.next_user_ref) == (1, 2)
        assert len(file.records()) == 1
    lib.intent_commit(store)
    assert attach(file).next == 2


def test_a_page_that_trails_its_records_is_brought_up_to_them(file: IntentFile) -> None:
    """Killed between the stamp and the page."""
    store = attach(file)
    store_one(store, user_ref=1, order_id=1)
    store.page.count = 0
    store.page.next_user_ref = 1
    again = attach(file)
    assert (again.page.count, again.page.next_user_ref) == (1, 2)


def test_a_page_ahead_of_its_records_is_refused(file: IntentFile) -> None:
    """A machine that went down may have lost a page of the file."""
    store = attach(file)
    store_one(store, user_ref=1, order_id=1)
    store.records[0].stamp = 0
    assert lib.intent_attach(ffi.new("intent_store *"), file.pointer, file.size) == lib.INTENT_BAD_RECORD


def test_references_that_do_not_rise_are_refused(file: IntentFile) -> None:
    store = attach(file)
    store_one(store, user_ref=5, order_id=1)
    store_one(store, user_ref=5, order_id=2)
    assert lib.intent_attach(ffi.new("intent_store *"), file.pointer, file.size) == lib.INTENT_BAD_RECORD


def test_claim_returns_null_when_the_file_is_full(file: IntentFile) -> None:
    store = attach(file)
    for i in range(8):
        store_one(store, user_ref=i + 1, order_id=i + 1)
    assert lib.intent_claim(store) == ffi.NULL
    assert attach(file).next == 8


def test_settling_marks_stored_records_only(file: IntentFile) -> None:
    store = attach(file)
    store_one(store, user_ref=1, order_id=1)
    lib.intent_settle(store, 0)
    lib.intent_settle(store, 5)
    assert store.records[0].state == lib.INTENT_SETTLED
    assert store.records[5].state == lib.INTENT_EMPTY


def test_one_process_holds_the_file(file: IntentFile) -> None:
    with pytest.raises(IntentsError, match="held by another process"):
        open_intents(file.path, capacity=8)
    with read_intents(file.path) as reader:
        assert reader.capacity == 8
    file.close()
    open_intents(file.path, capacity=8).close()


def test_creation_never_replaces_a_file(file: IntentFile) -> None:
    with pytest.raises(IntentsError, match="exists already"):
        create_intents(file.path, capacity=8)
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name], "no draft is left"


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "engine.intents"
    path.write_bytes(b"not an intent file")
    with pytest.raises(IntentsError, match="no intent file"):
        open_intents(path, capacity=8)
    path.unlink()
    open_intents(path, capacity=16, trading_day=20261120).close()
    with pytest.raises(IntentsError, match="holds 16 records"):
        open_intents(path, capacity=8)
    with pytest.raises(IntentsError, match="trading day 20261120, not 20261121") as caught:
        open_intents(path, capacity=16, trading_day=20261121)
    assert "roll it" in caught.value.next_step
    with open(path, "r+b") as raw:
        raw.truncate(lib.intent_bytes(16) - 1)
    with pytest.raises(IntentsError, match="its records need"):
        read_intents(path)
    with pytest.raises(IntentsError, match="cannot be made"):
        create_intents(tmp_path / "none", capacity=0)
