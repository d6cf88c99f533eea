"""The protocol: its style, what it may not break, the code made of it, and the table of who may call what."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from hotctl.protocol import FILES, FOLDER, RELEASED, SOURCE, generate, message_types, methods
from hotctl.server.roles import LEAST_ROLE, Role
from hotctl.server.snapshot import from_wire, to_wire
from hotctl.v1 import snapshot_pb2
from hotpath.alerts import AlertStat
from hotpath.market_stat import InstrumentStat, LimitStat
from hotpath.stat import EngineStat, HopStat, JournalStat, ReaderStat, RestartStat, RingStat, StageStat


def buf(*arguments: str) -> None:
    program = shutil.which("buf")
    assert program is not None, "buf is missing: pip install buf-bin (the extra `dev`)"
    done = subprocess.run([program, *arguments], cwd=SOURCE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_protocol_is_in_the_style_of_buf() -> None:
    buf("lint")


def test_protocol_breaks_nothing_of_the_last_release() -> None:
    buf("breaking", "--against", str(RELEASED))


def test_committed_code_is_what_protoc_makes(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "hotctl" / "v1").iterdir()}
    kept = {path.name: path.read_text() for path in FOLDER.iterdir() if "_pb2" in path.name and path.is_file()}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == [], "run: python -m hotctl.protocol"


def test_every_file_of_the_protocol_is_served() -> None:
    assert sorted(FILES) == sorted(path.stem for path in (SOURCE / "hotctl" / "v1").glob("*.proto"))


def test_every_method_stands_in_the_table_of_roles() -> None:
    assert {name for name in LEAST_ROLE if not name.startswith("/")} == set(methods())


def test_every_call_that_changes_something_needs_more_than_a_viewer() -> None:
    for name in methods():
        changes = "mutation" in message_types(name)[0].DESCRIPTOR.fields_by_name
        assert changes == (LEAST_ROLE[name] > Role.VIEWER) or name == "AuditService/ExportAudit", name
        if changes:
            assert "receipt" in message_types(name)[1].DESCRIPTOR.fields_by_name, name


# ---- the snapshot ---------------------------------------------------------------------------------

SCALARS = {str: "string", bool: "bool", int: "int64", float: "double"}


def compare(struct: type[msgspec.Struct], message: Any) -> None:
    hints = get_type_hints(struct)
    fields = {field.name: field for field in message.fields}
    assert list(hints) == list(fields), message.full_name
    for name, hint in hints.items():
        field = fields[name]
        optional = type(None) in get_args(hint)
        if optional:
            hint = next(each for each in get_args(hint) if each is not type(None))
            assert field.has_presence, f"{message.full_name}.{name} may be absent"
        if get_origin(hint) is dict:
            entry = get_args(hint)[1]
            value = field.message_type.fields_by_name["value"]
            if isinstance(entry, type) and issubclass(entry, msgspec.Struct):
                compare(entry, value.message_type)
            continue
        if get_origin(hint) is list:
            assert field.is_repeated, f"{message.full_name}.{name} is a list"
            hint = get_args(hint)[0]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            compare(hint, field.message_type)


def test_snapshot_on_the_wire_has_the_fields_of_hotpath_stat() -> None:
    compare(EngineStat, snapshot_pb2.Snapshot.DESCRIPTOR)


def test_snapshot_comes_back_as_it_went() -> None:
    stage = StageStat("ready", 7, None, True, None, 1, 2, 3, "", {"fills": -4}, RestartStat(1, 2, {"fold": 3}))
    stat = EngineStat(
        engine="e", state="running", topology="fused", run_epoch=2**60, time_ns=5, clock="tsc", clock_frequency_hz=1,
        killed=True, kill_epoch=3, mode="normal", mode_words={"operator": "halted"}, instruments=2,
        stages={"risk": stage}, hops={"feed": HopStat(1, 2, 3, 4, 5, None), "risk": HopStat(1, 2, 3, 4, 5, 0)},
        rings={"norm": RingStat("feed", 8, 9, 0, {"risk": ReaderStat("gating", 1, 0)})},
        journal=JournalStat("none", 1, None, 2, 3, 4, 0.5, "norm", 0, 5, "low"),
        market=[InstrumentStat("B", *range(12)), InstrumentStat("A", *range(12))], positions_known=True,
        limits=[LimitStat("firm.a", None, 1.5, "lots"), LimitStat("firm.b", 0.0, 2.0, "lots")], limits_version=3,
        switches={"instrument.A": "killed"}, alerts=[AlertStat("alarm", "feed", "why")],
    )  # fmt: skip
    assert from_wire(snapshot_pb2.Snapshot.FromString(to_wire(stat).SerializeToString())) == stat


def test_a_field_that_only_one_side_has_is_an_error() -> None:
    class More(HopStat, frozen=True):
        extra: int = 1

    from hotctl.server.snapshot import fill

    with pytest.raises(AttributeError):
        fill(snapshot_pb2.HopStat(), More(1, 2, 3, 4, 5, None))
