"""A recording and its replay: what is tampered with is found, what was lost is said, a roll happens once."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from ffi import ffi, lib
from hotpath.cli import app
from hotpath.engine import engine_memory
from hotpath.errors import CaptureError, ConfigError, StageError
from hotpath.journal import process as journal
from hotpath.recordings import Recording, replay_recording
from hotpath.replay import ReplayOptions, replay_file, replay_spec
from hotpath.replay_repeat import replay_repeatedly
from hotpath.stages import ProcessStages, fill_gateway_config
from tests.support.busy import busy_config, busy_config_file, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.journals import rewrite_ring
from tests.support.synthetic import write_synthetic_day

SECOND_NS = 10**9
MESSAGES = 60_000


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=MESSAGES)


def recorded_engine(day: Path, folder: Path, name: str, *, rate: int = 20_000) -> EngineProcess:
    """An engine on paper that records itself while it reads a day at 20,000 messages a second."""
    config = msgspec.structs.replace(
        busy_config(engine={"name": name, "topology": "paired", "state_dir": str(folder)}),
        feed=file_feed(day, pace="rate", rate_per_second=rate),
    )
    return EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))


@pytest.fixture
def running(day: Path, tmp_path: Path, engine: str) -> Iterator[EngineProcess]:
    process = recorded_engine(day, tmp_path, engine)
    try:
        until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
        yield process
    finally:
        process.close()


@pytest.fixture
def unhurried(day: Path, tmp_path: Path, engine: str) -> Iterator[EngineProcess]:
    """One whose rings hold seconds, so that no journal is lapped however long its start takes."""
    process = recorded_engine(day, tmp_path, engine, rate=2000)
    try:
        until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
        yield process
    finally:
        process.close()


# ---- what a replay finds -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(day: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a second and its orders on paper."""
    folder = tmp_path_factory.mktemp("recorded")
    process = recorded_engine(day, folder, f"t{os.getpid()}-recorded")
    try:
        until(lambda: process.count("gateway", "frames_out") >= 60, "60 orders")
        until(lambda: process.count("feed", "messages") > 18_000, "more events than a ring holds")
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    return folder / "recording"


def test_replay_decides_the_same_again_and_again(recording: Path) -> None:
    first, second = replay_recording(recording), replay_recording(recording)
    assert first.same and second.same and first.orders_replayed >= 60
    assert first.order_log_sha256 == second.order_log_sha256


def test_one_order_stream_in_every_topology(recording: Path) -> None:
    """Ten times in each is `hotpath replay RECORDING --topology all --times 10`; in four processes where it was two."""
    again = CliRunner().invoke(app, ["replay", str(recording), "--topology", "all", "--json"])
    assert again.exit_code == 0, again.output
    repeated = json.loads(again.output)
    made = repeated["repetitions"]
    assert [each["topology"] for each in made] == ["split", "paired", "fused"] and repeated["same"]
    assert len({each["order_log_sha256"] for each in made}) == 1 and made[0]["orders"] >= 60


def test_difference_is_found_in_whichever_process_it_arises(recording: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recording, copy)
    turns = np.array(Recording(copy).events("signal.ctl"))
    turns["digest"][len(turns) // 2] ^= 1
    rewrite_ring(copy, "signal.ctl", turns)
    found = replay_recording(copy, topology="split")
    assert not found.same and [(each.stage, each.turn) for each in found.mismatches] == [
        ("signal", int(turns["turn"][len(turns) // 2]))
    ]


def test_real_market_recorded_live_is_one_order_stream(shared_data: Path, tmp_path: Path, engine: str) -> None:
    """A slice of a real day, in real time, as the market of a live run."""
    capture = shared_data / "itch_aapl_20200130" / "locate-13-10k.bin"
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine, "topology": "paired", "state_dir": str(tmp_path)}),
        feed=file_feed(capture, pace="rate", rate_per_second=5_000, late_start="trust"),
    )
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("feed", "messages") >= 9_900, "the capture")
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    repeated = replay_repeatedly(tmp_path / "recording", ReplayOptions(), topology="paired", times=2)
    assert repeated.same and repeated.repetitions[0].orders > 20, repeated


def test_replay_stores_the_orders_of_a_turn_that_a_dying_gateway_could_not_record(
    recording: Path, tmp_path: Path
) -> None:
    """A gateway killed between its intents and its turn record: the recording as it would then be."""
    copy = tmp_path / "copy"
    shutil.copytree(recording, copy)
    records = Recording(copy).order_records()
    turns = np.array(Recording(copy).events("gateway.ctl"))
    frames: dict[int, list[bytes]] = {}
    for record in records:
        frame = bytes(record["frame"][: record["frame_length"]])
        frames.setdefault(int(record["time_ns"]), []).append(frame)

    def digests(of: np.ndarray) -> list[int]:
        digest, found = 0, []
        for time_ns in of["header"]["origin_time_ns"]:
            for frame in frames.get(int(time_ns), []):
                digest = int(lib.digest_bytes(digest, frame, len(frame)))
            found.append(digest)
        return found

    assert digests(turns) == turns["digest"].tolist(), "every digest is that of the frames"
    cut, end = [i for i, time_ns in enumerate(turns["header"]["origin_time_ns"]) if int(time_ns) in frames][20:60:30]
    later = turns[cut + 1 : end].copy()  # another process took up after the first death, and nobody after the second
    later["turn"] -= cut + 1
    later["digest"] = digests(later)
    rewrite_ring(copy, "gateway.ctl", np.concatenate([turns[:cut], later]))
    again = replay_recording(copy)
    assert again.same and again.orders_replayed == len(records), again.mismatches


def test_code_that_a_recording_names_is_run_only_when_it_is_trusted(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording from elsewhere, whose native score is a file that leaves a trace when it is loaded."""
    copy, trace = tmp_path / "copy", tmp_path / "trace"
    shutil.copytree(recording, copy)
    code = f"{tmp_path}/theirs.py:score"
    (tmp_path / "theirs.py").write_text(f"open({str(trace)!r}, 'w').close()\nscore = None\n")
    run = msgspec.json.decode((copy / "run.json").read_bytes())
    run["config"]["signal"]["native"] = code
    (copy / "run.json").write_bytes(msgspec.json.encode(run))
    with pytest.raises(CaptureError, match=r"names code .* signal\.native = ") as caught:
        replay_recording(copy)
    assert code in str(caught.value) and "--trust-code" in caught.value.next_step and not trace.exists()
    with pytest.raises(ConfigError, match="not a compiled function"):
        replay_recording(copy, trust_code=True)
    assert trace.exists() and f"note: runs {code}" in capsys.readouterr().err


def test_second_recording_into_the_folder_is_refused(recording: Path, day: Path, tmp_path: Path, engine: str) -> None:
    shutil.copytree(recording, tmp_path / "recording")
    process = recorded_engine(day, tmp_path, engine)
    try:
        assert process.wait() == 65
    finally:
        process.close()
    assert "recording: holds a recording already" in process.errors()
    assert replay_recording(tmp_path / "recording").same


def test_journal_refuses_by_itself_too(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recording, copy)
    (copy / "run.json").unlink()  # what a journal that died leaves may be events alone
    assert journal.main([str(recording / "run.json"), str(copy)]) == 65
    assert "holds a recording already" in capsys.readouterr().err


def test_replay_leaves_nothing_where_the_run_kept_its_intents(recording: Path, tmp_path: Path) -> None:
    copy, kept = tmp_path / "copy", tmp_path / "tmpfs"
    shutil.copytree(recording, copy)
    kept.mkdir()
    run = Recording(copy).run
    gateway = msgspec.structs.replace(run.config.gateway, intents_dir=str(kept))
    run = msgspec.structs.replace(run, config=msgspec.structs.replace(run.config, gateway=gateway))
    (copy / "run.json").write_bytes(msgspec.json.encode(run))
    assert replay_recording(copy).same
    assert not list(kept.iterdir())


def test_gateway_of_a_replay_needs_neither_the_venue_nor_its_secret(tmp_path: Path) -> None:
    tiny = write_synthetic_day(tmp_path / "tiny.itch", messages=100)
    spec = replay_spec(tiny, ReplayOptions(), state_dir=tmp_path)
    venue = {"kind": "ouch50", "host": "venue.invalid", "username": "HOTPAT", "password_env": "HOTPATH_NOT_SET"}
    gateway = msgspec.structs.replace(spec.config.gateway, **venue)
    spec = dataclasses.replace(spec, config=msgspec.structs.replace(spec.config, gateway=gateway))
    target = ffi.new("gateway_config *")
    fill_gateway_config(target, spec, replay=True)
    assert target.replay == 1
    with pytest.raises(StageError, match=r"gateway\.host"):
        fill_gateway_config(target, spec, replay=False)


TAMPERED = {
    "a price on the wire": ("raw", "bytes"),
    "lots of the executions": ("exec", "quantity_lots"),
    "the time of a turn": ("signal.ctl", "origin_time_ns"),
    "whether it was killed": ("risk.ctl", "killed"),
}


@pytest.mark.parametrize("what", sorted(TAMPERED))
def test_tampered_recording_is_found(what: str, recording: Path, tmp_path: Path) -> None:
    ring, field = TAMPERED[what]
    copy = tmp_path / "copy"
    shutil.copytree(recording, copy)
    events = np.array(Recording(copy).events(ring))
    if field == "bytes":
        adds = np.flatnonzero(events["bytes"][:, 0] == ord("A"))
        events["bytes"][adds[len(adds) // 2], 34] ^= 1
    elif field == "quantity_lots":
        fills = np.flatnonzero(events["header"]["type"] == lib.EXEC_FILL)
        events["quantity_lots"][fills] *= 100_000  # past every limit
    elif field == "killed":
        events["killed"][:] ^= 1
    else:
        events["header"]["origin_time_ns"][len(events) // 4 :] += 3600 * SECOND_NS
    rewrite_ring(copy, ring, events)  # by somebody who knows the format: checksums hold
    assert not replay_recording(copy).same


def test_recording_with_a_hole_or_without_its_end_is_refused(recording: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recording, copy)
    end = msgspec.json.decode((copy / "end.json").read_bytes())
    end["rings"]["norm"]["lost"] = 7
    (copy / "end.json").write_bytes(msgspec.json.encode(end))
    with pytest.raises(CaptureError, match="7 events of ring norm were overwritten"):
        Recording(copy)
    (copy / "end.json").unlink()
    with pytest.raises(CaptureError, match="not a whole recording"):
        Recording(copy)


# ---- the journal behind, and gone --------------------------------------------------------------------


def journal_pid(process: EngineProcess) -> int:
    (pid,) = (
        child.pid for child in psutil.Process(process.process.pid).children() if "hotpath.journal" in child.cmdline()
    )
    return pid


def journal_mode(process: EngineProcess) -> str:
    stat = process.look()
    return stat.mode_words.get("journal", "normal") if stat else ""


def test_journal_that_falls_behind_tightens_and_catches_up(running: EngineProcess) -> None:
    """Half a ring behind: reduce only. Lapped before it could catch up: halted, and the hole is told."""
    pid = journal_pid(running)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: journal_mode(running) == "reduce_only", "reduce only")
    os.kill(pid, signal.SIGCONT)
    until(lambda: journal_mode(running) == "normal", "the journal's catching up")
    running.signal()
    assert running.wait() == 0, running.errors()
    assert any("half a ring behind" in notice for notice in running.report()["notices"])


def test_turn_without_a_record_halts_until_the_engine_is_started_again(day: Path, tmp_path: Path, engine: str) -> None:
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine, "state_dir": str(tmp_path), "hang_ms": 60_000}, rings={"ctl": 1024}),
        feed=file_feed(day, pace="rate", rate_per_second=2000),
    )
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        process.wait_trading(fills=1)
        os.kill(journal_pid(process), signal.SIGSTOP)
        until(lambda: "turns found no room in" in process.errors(), "word of it")
        os.kill(journal_pid(process), signal.SIGCONT)
        stat = process.look()
        assert stat is not None and stat.mode == "halted"
        assert any(ring.full_count for name, ring in stat.rings.items() if name.endswith(".ctl"))
        assert any(cause.startswith("record_") for cause in stat.mode_words), stat.mode_words
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()


def test_journal_that_was_killed_goes_on_where_it_was(unhurried: EngineProcess, tmp_path: Path) -> None:
    """Killed again and again: reduce only meanwhile, nothing missing at the end, and the run replays."""
    for _ in range(3):
        before = journal_pid(unhurried)
        os.kill(before, signal.SIGKILL)
        until(lambda: journal_mode(unhurried) == "reduce_only", "reduce only")
        until(lambda: journal_mode(unhurried) == "normal", "the successor's catching up")
        assert journal_pid(unhurried) != before
    messages = min(unhurried.count("feed", "messages") + 500, MESSAGES)
    until(lambda: unhurried.count("feed", "messages") >= messages, "the path to go on")
    unhurried.signal()
    assert unhurried.wait() == 0, unhurried.errors()
    notices = unhurried.report()["notices"]
    assert sum("the journal ended by SIGKILL; reduce only, restart" in notice for notice in notices) == 3, notices
    assert replay_recording(tmp_path / "recording").same


def test_engine_that_stops_while_its_journal_is_dead_loses_nothing(unhurried: EngineProcess, tmp_path: Path) -> None:
    os.kill(journal_pid(unhurried), signal.SIGKILL)
    unhurried.signal()
    assert unhurried.wait() == 0, unhurried.errors()
    assert replay_recording(tmp_path / "recording").same


# ---- the trading day rolls ---------------------------------------------------------------------------


def test_roll_resets_the_day_once(tmp_path: Path, engine: str) -> None:
    """A feed that runs over the calendar's roll: what belongs to the day begins anew, once."""
    busy = busy_config_file(tmp_path)
    trading_date = datetime.date(2020, 1, 30)
    quiet = write_synthetic_day(tmp_path / "quiet.itch", messages=10_000)
    options = ReplayOptions(config_path=busy, topology="fused", trading_date=trading_date, engine_name=engine)
    assert replay_file(quiet, options).count("risk", "rolls") == 0

    spec = replay_spec(quiet, options, state_dir=tmp_path)
    roll_ns = spec.roll_times_ns[0] - spec.midnight_ns
    assert roll_ns > 0
    across = write_synthetic_day(tmp_path / "across.itch", messages=10_000, start_ns=roll_ns - 2 * SECOND_NS)
    spec = replay_spec(across, options, state_dir=tmp_path / "across")
    with engine_memory(spec) as memory:
        stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
        lib.control_arm(memory.control, memory.control.kill_epoch)
        while stages.run(SECOND_NS) == lib.DUTY_SLICE_OVER:
            pass
        assert int(stages.risk.stage.page.counter[lib.RISK_ROLLS]) == 1
        assert int(stages.signal.roll_time_ns[0]) == spec.roll_times_ns[1], "one roll was used up"
        stages.close()
