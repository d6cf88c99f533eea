"""In virtual time one file and one configuration give one order log, byte for byte, whatever the topology.

What could break it: a decision that reads a measured time, an order of turns that depends on processes,
memory that a run before left behind, a slice that ends in the middle of something.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ffi import lib
from hotpath import intents
from hotpath.engine import engine_memory
from hotpath.replay import ReplayOptions, order_log_digest, replay_file, replay_spec
from hotpath.report import RunReport
from hotpath.stages import ProcessStages, intents_path
from tests.support.busy import busy_config_file
from tests.support.synthetic import write_synthetic_day

TOPOLOGIES = ("fused", "paired", "split")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no frame at all


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded market of about ten seconds."""
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=20_000)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of an engine that trades often."""
    return busy_config_file(tmp_path_factory.mktemp("busy"))


def frames(folder: Path, engine: str) -> list[bytes]:
    with intents.read_intents(folder / f"{engine}.intents") as file:
        return file.frames()


def decisions(report: RunReport) -> dict[str, dict[str, int]]:
    """Every counter that a decision moved."""
    timed = {"negative_hops", "system_calls", "idle_turns"}
    return {
        stage: {name: value for name, value in stat.counters.items() if name not in timed}
        for stage, stat in report.stat.stages.items()
    }


@pytest.mark.parametrize("style", ["join", "take"])
def test_one_order_log_in_every_topology_and_again(style: str, day: Path, tmp_path: Path, engine: str) -> None:
    busy = busy_config_file(tmp_path, signal={"style": style})
    logs, reports = {}, {}
    for run in ("fused", "paired", "split", "fused again"):
        folder = tmp_path / run
        options = ReplayOptions(config_path=busy, topology=run.split()[0], out=folder, engine_name=engine)
        reports[run] = replay_file(day, options)
        logs[run] = frames(folder, engine)
        assert reports[run].order_log_sha256 == intents.frames_digest(logs[run])
    first = reports["fused"]
    assert first.count("gateway", "frames_out") > 100
    if style == "join":
        assert first.count("gateway", "replaces") > 0 and first.count("gateway", "cancels") > 0
    else:
        assert first.count("gateway", "fills") > 50
    for run, log in logs.items():
        assert log == logs["fused"], run
        assert decisions(reports[run]) == decisions(first), run


@pytest.mark.parametrize(
    "recorded", ["itch_aapl_20200130/locate-13-10k.bin", "itch_goog_20120621_derived/GOOG_20120621_L10.itch50"]
)
def test_recorded_day_trades_alike_in_every_topology(recorded: str, shared_data: Path, engine: str) -> None:
    path = shared_data / recorded
    digests = {}
    for run in ("fused", "paired", "split", "fused again"):
        report = replay_file(path, ReplayOptions(topology=run.split()[0], engine_name=engine))
        digests[run] = report.order_log_sha256
        assert report.count("gateway", "frames_out") > 0 and report.count("gateway", "fills") > 0
    assert len(set(digests.values())) == 1, digests


def test_file_that_carries_no_order_reports(shared_data: Path, engine: str) -> None:
    path = shared_data / "itch_dir_sample/sample.itch"
    for topology in TOPOLOGIES:
        report = replay_file(path, ReplayOptions(topology=topology, engine_name=engine))
        assert report.order_log_sha256 == EMPTY and report.outcome == "finished"
        assert report.count("feed", "messages") == 1000


def test_another_seed_gives_another_log(day: Path, busy: Path, tmp_path: Path, engine: str) -> None:
    """The comparison can fail."""
    other = write_synthetic_day(tmp_path / "other.itch", messages=20_000, seed=2)
    options = ReplayOptions(config_path=busy, topology="fused", engine_name=engine)
    assert replay_file(day, options).order_log_sha256 != replay_file(other, options).order_log_sha256


def test_another_threshold_gives_another_log(day: Path, busy: Path, tmp_path: Path, engine: str) -> None:
    other = busy_config_file(tmp_path, signal={"threshold": 0.35})
    logs = {
        replay_file(day, ReplayOptions(config_path=each, engine_name=engine)).order_log_sha256 for each in (busy, other)
    }
    assert len(logs) == 2


@pytest.mark.parametrize("count", [2, 64, 500])
def test_several_messages_a_round_give_one_log_too(count: int, day: Path, busy: Path, engine: str) -> None:
    logs = set()
    for topology in ("fused", "paired", "fused"):
        options = ReplayOptions(config_path=busy, topology=topology, messages_per_round=count, engine_name=engine)
        report = replay_file(day, options)
        assert report.count("feed", "messages") == 20_000 and report.count("gateway", "frames_out") > 0
        logs.add(report.order_log_sha256)
    assert len(logs) == 1


@pytest.mark.parametrize("slice_ns", [0, 3_000, 1_000_000])
def test_where_slices_end_changes_nothing(slice_ns: int, day: Path, busy: Path, tmp_path: Path, engine: str) -> None:
    options = ReplayOptions(config_path=busy, topology="fused", engine_name=engine)
    spec = replay_spec(day, options, state_dir=tmp_path)
    with engine_memory(spec) as memory:
        stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
        lib.control_arm(memory.control, memory.control.kill_epoch)
        while (result := stages.run(slice_ns)) == lib.DUTY_SLICE_OVER:
            pass
        stages.close()
    assert result == lib.DUTY_FINISHED
    whole = replay_file(day, options)
    assert order_log_digest(intents_path(spec.config)) == whole.order_log_sha256 != EMPTY
