"""The audit log: a chain that shows every line that was changed, left out, moved or cut off."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from hotctl.audit import INTENT, AuditLog, verify
from hotctl.errors import AuditError


def written(folder: Path, count: int = 5) -> AuditLog:
    log = AuditLog(folder / "audit.jsonl")
    for number in range(count):
        log.append(INTENT, identity="unix:alice", method="TradingService/Kill", reason=f"reason {number}")
    return log


def test_every_line_stands_on_the_one_before(tmp_path: Path) -> None:
    log = written(tmp_path)
    records = list(log.records())
    assert [record.sequence for record in records] == [1, 2, 3, 4, 5]
    verdict = verify(log.path)
    assert (verdict.whole, verdict.records, verdict.head_hash) == (True, 5, records[-1].hash)


@pytest.mark.parametrize("change", ["edit", "leave_out", "swap", "add_a_key", "make_again"])
def test_a_changed_line_is_found(tmp_path: Path, change: str) -> None:
    log = written(tmp_path)
    kept = verify(log.path).head_hash
    lines = log.path.read_bytes().splitlines(keepends=True)
    if change == "edit":
        lines[2] = lines[2].replace(b"reason 2", b"reason 9")
    elif change == "leave_out":
        del lines[2]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "add_a_key":
        lines[2] = lines[2].replace(b'"kind"', b'"also":1,"kind"')
    else:  # the whole file anew: its own chain is whole, and lacks the hash that was kept elsewhere
        log.path.unlink()
        lines = []
        written(tmp_path, 6)
        assert verify(log.path).whole
    if lines:
        log.path.write_bytes(b"".join(lines))
    assert not verify(log.path, head=kept).whole


def test_lines_that_were_cut_off_are_missed_by_who_kept_the_last_hash(tmp_path: Path) -> None:
    log = written(tmp_path)
    kept = verify(log.path).head_hash
    log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:3]))
    assert verify(log.path).whole
    assert not verify(log.path, head=kept).whole


def test_a_line_without_an_end_is_set_aside_by_the_next_to_append(tmp_path: Path) -> None:
    log = written(tmp_path)
    with log.path.open("ab") as file:
        file.write(b'{"sequence":6,"ti')
    assert log.append(INTENT).sequence == 6
    assert verify(log.path).whole
    assert b'{"sequence":6,"ti' in log.path.with_name("audit.jsonl.torn").read_bytes()


def test_a_damaged_last_line_takes_no_line_behind_it(tmp_path: Path) -> None:
    log = written(tmp_path)
    with log.path.open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(AuditError, match="damaged"):
        log.append(INTENT)


def append_many(folder: Path) -> None:
    log = AuditLog(folder / "audit.jsonl")
    for _ in range(50):
        log.append(INTENT, sync=False)


def test_two_processes_append_to_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    verdict = verify(tmp_path / "audit.jsonl")
    assert (verdict.whole, verdict.records) == (True, 100)
