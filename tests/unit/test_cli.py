"""hotpath/cli.py: verbs as a user calls them, with their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hotpath.calendar import us_equities
from hotpath.refdata import Instrument, Refdata, save_refdata

USAGE, DATA, UNAVAILABLE, CONFIG = 2, 65, 69, 78


def hotpath(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hotpath", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def refdata_file(path: Path, *symbols: str) -> Path:
    instruments = [Instrument(symbol=symbol, venue_ids={"itch": at}) for at, symbol in enumerate(symbols, start=1)]
    save_refdata(Refdata(calendars={"us-equities": us_equities()}, instruments=instruments), path)
    return path


def test_help_lists_every_verb_and_imports_no_extension() -> None:
    code = (
        "import sys\nsys.argv = ['hotpath', '--help']\nimport hotpath.cli\n"
        "try:\n    hotpath.cli.main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'ffi._native', 'psutil', 'onnxruntime', 'grpc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    for verb in ("demo", "run", "stage", "replay", "stat", "report", "doctor", "inspect", "refdata", "config"):
        assert verb in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_unknown_verb_is_a_usage_error() -> None:
    assert hotpath("fly").returncode == USAGE


def test_error_prints_its_next_step_and_sets_the_exit_code(tmp_path: Path) -> None:
    done = hotpath("config", "check", tmp_path / "absent.toml")
    assert done.returncode == CONFIG
    assert done.stdout == ""
    assert done.stderr.splitlines()[0].endswith("absent.toml: there is no such file")
    assert "hotpath config show" in done.stderr.splitlines()[1]


def test_shown_defaults_are_a_valid_file(tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text(hotpath("config", "show").stdout)
    done = hotpath("config", "check", tmp_path / "engine.toml", "--json")
    assert done.returncode == 0
    assert [place["process"] for place in json.loads(done.stdout)["places"]] == ["feed-signal", "risk-gateway"]


def test_config_check_tells_where_processes_run(tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text('[engine]\ntopology = "fused"\n')
    done = hotpath("config", "check", tmp_path / "engine.toml")
    assert "engine " in done.stdout.splitlines()[1]
    assert "processor" in done.stdout


def test_refdata_verbs_on_one_file(tmp_path: Path) -> None:
    before, after = refdata_file(tmp_path / "a.json", "AAPL"), refdata_file(tmp_path / "b.json", "AAPL", "MSFT")
    assert "1 instruments" in hotpath("refdata", "check", before).stdout
    assert "MSFT" in hotpath("refdata", "show", after, "MSFT").stdout
    assert json.loads(hotpath("refdata", "show", after, "MSFT", "--json").stdout)["index"] == 1
    assert hotpath("refdata", "show", after, "X").returncode == DATA
    done = hotpath("refdata", "diff", before, after)
    assert (done.stdout, done.returncode) == ("+ instrument MSFT\n", 1)
    assert hotpath("refdata", "diff", before, before).returncode == 0


def test_refdata_seal_accepts_an_edit_as_the_next_version(tmp_path: Path) -> None:
    file = refdata_file(tmp_path / "a.json", "AAPL")
    file.write_text(file.read_text().replace('"round_lot":100', '"round_lot":10'))
    done = hotpath("refdata", "check", file)
    assert done.returncode == DATA
    assert f"hotpath refdata seal {file}" in done.stderr
    assert "version 2" in hotpath("refdata", "seal", file).stdout
    assert "version 2" in hotpath("refdata", "seal", file).stdout, "sealing again changes nothing"
    assert hotpath("refdata", "check", file).returncode == 0


def test_refdata_import_makes_and_then_updates_a_file(tmp_path: Path, shared_data: Path) -> None:
    file = tmp_path / "refdata.json"
    sample = shared_data / "itch_dir_sample" / "sample.itch"
    assert json.loads(hotpath("refdata", "import", sample, file, "--json").stdout)["added"] == 993
    assert "nothing new" in hotpath("refdata", "import", sample, file).stdout
    single = shared_data / "itch_goog_20120621_derived" / "GOOG_20120621_L10.itch50"
    assert "version 2" in hotpath("refdata", "import", single, file).stdout, "another day, another locate"
    assert hotpath("refdata", "check", file).returncode == 0


def test_inspect_counts_a_capture(shared_data: Path) -> None:
    done = hotpath("inspect", shared_data / "itch_aapl_20200130" / "locate-13-10k.bin", "--json")
    assert json.loads(done.stdout)["messages"] == 10_000


def test_replay_trades_and_reports(shared_data: Path) -> None:
    done = hotpath("replay", shared_data / "itch_aapl_20200130" / "locate-13-10k.bin", "--json")
    assert done.returncode == 0, done.stderr
    stat = json.loads(done.stdout)["stat"]
    assert stat["stages"]["feed"]["counters"]["messages"] == 10_000
    assert stat["hops"]["order_path"]["count"] > 0


def test_stat_without_that_engine_says_how_to_start_one() -> None:
    done = hotpath("stat", "no-such-engine")
    assert done.returncode == UNAVAILABLE
    assert "no engine of that name" in done.stderr


def test_reader_that_goes_away_is_no_error() -> None:
    shell = f"{sys.executable} -m hotpath config show | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "replay", "inspect"])
def test_missing_argument_is_a_usage_error(verb: str) -> None:
    assert hotpath(verb).returncode == USAGE
