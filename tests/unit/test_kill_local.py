"""``hotctl kill --local``: what it takes lies where it thinks, and nothing slow is imported before the word stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ffi import ffi, lib
from ffi.dtypes import layout_hash
from hotctl import kill_local

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("struct", "field", "offset"),
    [
        ("control_page", "kill_epoch", 0),
        ("control_page", "armed_epoch", kill_local.ARMED),
        ("control_page", "killed_epoch_sent", kill_local.SENT),
        ("control_page", "effective_time_ns", kill_local.EFFECTIVE_TIME),
        ("control_page", "order_time_ns", kill_local.ORDER_TIME),
        ("control_page", "in_flight_bytes", kill_local.IN_FLIGHT),
        ("control_page", "sweep_epoch", kill_local.SWEPT),
        ("control_page", "sweep_orders", kill_local.SWEEP_ORDERS),
        ("control_page", "open_orders", kill_local.OPEN_ORDERS),
        ("control_page", "discarded_orders", kill_local.DISCARDED),
        ("control_page", "resets", kill_local.RESETS),
        ("control_page", "killed_epoch_reset", kill_local.RESET),
        ("control_page", "reset_time_ns", kill_local.RESET_TIME),
        ("control_page", "kill_escalate_ns", kill_local.ESCALATE),
        ("control_page", "latch_path", kill_local.LATCH_PATH),
        ("control_page", "intents_path", kill_local.INTENTS_PATH),
        ("stage_page", "pid", kill_local.STAGE_PID),
        ("segment_header", "layout_hash", kill_local.LAYOUT_HASH),
        ("segment_header", "owner_start_time", kill_local.OWNER_START),
        ("segment_header", "owner_pid", kill_local.OWNER_PID),
    ],
)
def test_field_lies_where_the_killer_looks(struct: str, field: str, offset: int) -> None:
    assert ffi.offsetof(struct, field) == offset


def test_constants_are_the_layouts() -> None:
    assert kill_local.BODY == lib.SEGMENT_HEADER_SIZE and kill_local.PATH_MAX == lib.CONTROL_PATH_MAX
    assert kill_local.layout_hash() == layout_hash()


@pytest.mark.parametrize("arguments", [["--wat"], ["--timeout", "soon"], ["--reason"], ["one", "two"]])
def test_misunderstanding_kills_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert kill_local.main(["--local", *arguments]) == kill_local.USAGE
    assert capsys.readouterr().err.startswith("hotctl: ")


def test_engine_that_is_not_there_is_said_to_be_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    assert kill_local.main(["--local", "no-such-engine"]) == kill_local.UNREACHABLE
    assert "no-such-engine" in capsys.readouterr().err


def test_nothing_is_imported_before_the_word_is_stored_that_it_can_do_without() -> None:
    """By name: a typing or a json that creeps in costs more than everything else here."""
    code = (
        "import sys; before = set(sys.modules); import hotctl.kill_local, ctypes; "
        "hotctl.kill_local.extension(); print(*sorted(set(sys.modules) - before))"
    )
    environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'control'}", "PATH": ""}
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    allowed = {"hotctl", "hotctl.kill_local", "mmap", "ctypes", "_ctypes", "struct", "_struct", "ctypes._endian"}
    assert set(found.stdout.split()) <= allowed | {"__future__", "os", "stat", "_stat", "posixpath", "genericpath"} | {
        "os.path", "_collections_abc", "types", "ctypes._aix",
    }  # fmt: skip
