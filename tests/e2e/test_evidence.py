"""A pack of evidence: whoever has the public key sees what was signed, and every change to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hotctl.audit import AuditLog, audit_path
from hotpath.errors import EvidenceError
from hotpath.evidence.keys import load_key, new_key, public_path
from hotpath.evidence.pack import chain_head, chained, day_number, export_evidence, journals_of
from hotpath.evidence.verify import MANIFEST, SIGNATURE, verify_pack
from hotpath.journal import Journal
from tests.support.engines import REPOSITORY
from tests.support.trading_journal import TradingJournal, projected_config


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "desk.pem"
    new_key(path)
    return path


@pytest.fixture(scope="module")
def pack(traded: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack") / "evidence.zip"
    day = Journal(traded).run.trading_day
    verdict = export_evidence(day, journals_of(day, [traded.parent]), key_path=key, out=out)
    assert verdict.good, verdict.problems
    return out


def files_of(pack: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(pack) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def rewritten(pack: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The pack with something done to its files."""
    files = files_of(pack)
    change(files)
    with zipfile.ZipFile(target, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return target


def test_pack_holds_what_the_day_was_run_under_and_what_was_done(pack: Path, traded: Path) -> None:
    files = files_of(pack)
    limits = json.loads(files["run1/limits.json"])
    assert limits["engine"]["open_orders_max"] == 6 and limits["in_force"][0]["version"] == 1
    kills = json.loads(files["run1/kills.json"])
    assert {each["stage"] for each in kills} <= {"risk", "gateway"} and kills
    journal = Journal(traded)
    rejects = files["run1/rejects.jsonl"].splitlines()
    assert len(rejects) == journal.count("reject")
    orders = [json.loads(line) for line in files["run1/orders.jsonl"].splitlines()]
    by_ring = {
        ring: sum(each["ring"] == ring for each in orders) for ring in ("signal", "cmd", "exec", "reject", "wire")
    }
    for ring in ("signal", "cmd", "exec", "reject"):
        assert by_ring[ring] == journal.count(ring)
    assert by_ring["wire"] == by_ring["cmd"], "each approved order left as a frame"
    assert "password" not in files["run1/run.json"].decode().replace("password_env", "").replace("password_file", "")


def test_every_later_version_of_the_limits_says_what_it_changed_and_who_wanted_it(key: Path, tmp_path: Path) -> None:
    config = projected_config(tmp_path)
    run = TradingJournal(config, seed=3)
    run.grow(600)
    run.end()
    audit = AuditLog(audit_path(tmp_path, config.engine.name))
    told = {"version": 2, "run_epoch": run.run_epoch, "changes": [{"name": "a limit"}]}
    audit.append("intent", identity="ann", reason="narrower", detail=told)
    audit.append("outcome", identity="ann", reason="narrower", detail=told | {"outcome": "applied"})
    audit.append("outcome", identity="bob", reason="wider", detail=told | {"version": 3, "outcome": "failed"})
    audit.append("observed", reason="past this process", detail=told | {"version": 4})
    audit.append("outcome", identity="eve", detail=told | {"run_epoch": 5, "outcome": "applied"})
    out = tmp_path / "evidence.zip"
    verdict = export_evidence(20231114, [Journal(run.folder)], key_path=key, out=out)
    assert verdict.good, verdict.problems
    first, *later = json.loads(files_of(out)["run1/limits.json"])["in_force"]
    assert "changes" not in first and len(later) > 2
    for each in later:
        (change,) = each["changes"]
        assert change["name"] == "instrument.SYM1.collar_ppm_max" and change["after"] == 1000 * each["version"]
    assert [change["changes"][0]["before"] for change in later[1:]] == [
        change["changes"][0]["after"] for change in later[:-1]
    ]
    assert (later[0]["who"], later[0]["why"]) == ("ann", "narrower") and "who" not in later[1]
    assert later[2]["who"] == "somebody past the control process"


def test_version_that_is_not_on_record_is_said_to_be_unknown(key: Path, tmp_path: Path) -> None:
    run = TradingJournal(projected_config(tmp_path), seed=3)
    run.grow(300)
    run.end()
    for path in run.folder.glob("changes.*"):
        path.unlink()
    out = tmp_path / "evidence.zip"
    assert export_evidence(20231114, [Journal(run.folder)], key_path=key, out=out).good
    later = json.loads(files_of(out)["run1/limits.json"])["in_force"][1:]
    assert later and all("not on record" in each["unknown"] for each in later)


def test_verifier_needs_nothing_of_hotpath(pack: Path, key: Path, tmp_path: Path) -> None:
    """As a third party runs it: the one file, in a folder of its own, with the environment emptied."""
    shutil.copy(REPOSITORY / "hotpath" / "evidence" / "verify.py", tmp_path / "verify.py")
    command = [sys.executable, "-I", "verify.py", str(pack), str(public_path(key))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "good: signed, whole and unchanged" in done.stdout, done.stdout + done.stderr


def drop_line(files: dict[str, bytes]) -> None:
    lines = files["run1/orders.jsonl"].splitlines(keepends=True)
    files["run1/orders.jsonl"] = b"".join(lines[:5] + lines[6:])


def raise_limit(files: dict[str, bytes]) -> None:
    files["run1/limits.json"] = files["run1/limits.json"].replace(b'"open_orders_max": 6', b'"open_orders_max": 9')


def add_file(files: dict[str, bytes]) -> None:
    files["run1/more.json"] = b"{}"


def change_manifest(files: dict[str, bytes]) -> None:
    files[MANIFEST] = files[MANIFEST].replace(b'"day": "2', b'"day": "3')


def cut_signature(files: dict[str, bytes]) -> None:
    files[SIGNATURE] = files[SIGNATURE][:-3]


CHANGES = [drop_line, raise_limit, add_file, change_manifest, cut_signature]


@pytest.mark.parametrize("change", CHANGES, ids=[each.__name__ for each in CHANGES])
def test_every_change_is_found(
    change: Callable[[dict[str, bytes]], None], pack: Path, key: Path, tmp_path: Path
) -> None:
    changed = rewritten(pack, tmp_path / "changed.zip", change)
    assert not verify_pack(changed, public_path(key).read_bytes()).good
    assert verify_pack(pack, public_path(key).read_bytes()).good


def test_pack_of_another_signer_is_refused(pack: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "other.pem")
    verdict = verify_pack(pack, (tmp_path / "other.pem.pub").read_bytes())
    assert not verdict.good and "signature" in verdict.problems[0]


def test_what_is_no_pack_is_said(tmp_path: Path) -> None:
    for name, data in (("text", b"hello"), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        verdict = verify_pack(tmp_path / name)
        assert not verdict.good and verdict.problems[0].startswith("cannot be read")


def test_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "desk.pem"
    new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(EvidenceError, match="is there already"):
        new_key(path)
    path.chmod(0o644)
    with pytest.raises(EvidenceError, match="others may read this key"):
        load_key(path)


def test_day_without_a_journal_is_said(traded: Path) -> None:
    with pytest.raises(EvidenceError, match="no journal of trading day 19990101"):
        journals_of(day_number("1999-01-01"), [traded])


def test_chain_names_each_line_before() -> None:
    data = chained([{"a": 1}, {"a": 2}, {"a": 3}])
    lines = [json.loads(line) for line in data.splitlines()]
    assert len({each["previous"] for each in lines}) == 3
    assert chain_head(data) not in {each["previous"] for each in lines}
