"""Every bench runs at smoke size: compiles, pins, verifies its own result, and writes what machines read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import harness, run


@pytest.mark.parametrize("name", run.BENCHES)
def test_bench_runs_and_verifies_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = harness.default_options("smoke")
    if name in {"ring", "wire", "coprocess"} and not options.two_cores:
        pytest.skip("a second processor")
    finding = run.BENCHES[name](options)
    assert finding.records and finding.tables and not finding.skipped
    monkeypatch.setattr(harness, "OUT", tmp_path)
    harness.write_records(finding, options)
    lines = [msgspec.json.decode(line) for line in (tmp_path / f"{finding.bench}.jsonl").read_bytes().splitlines()]
    assert len(lines) == len(finding.records)
    assert all(line["host"]["processor"] and line["size"] == "smoke" for line in lines)
    assert all(len(row) == len(table.columns) for table in finding.tables for row in table.rows)


def test_unknown_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--only", "nothing"])
    assert "invalid choice" in capsys.readouterr().err


def test_wrong_result_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: harness.Options) -> harness.Finding:
        raise harness.BenchError("the sums differ")

    monkeypatch.setitem(run.BENCHES, "ring", broken)
    assert run.main(["--only", "ring", "--smoke"]) == 1
