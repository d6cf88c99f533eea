"""A journal on a second disk: copied as it grows, over connections that break, and an engine that starts from it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hotpath.config import Config, ReconcileConfig, config_toml
from hotpath.demo import RunningSimulator
from hotpath.errors import JournalError
from hotpath.journal import Journal, journal_root
from hotpath.journal.format import END_FILE, End, crc32c
from hotpath.journal.receive import Receiver, take_piece
from hotpath.journal.restore import refuse_growing, restore, restored_text, was_killed
from hotpath.journal.ship import STATUS_FILE, Peer, Shipper
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, Sizes
from hotpath.ledger.adjustments import AdjustmentFile, adjustments_path, new_adjustment
from hotpath.ledger.carry import last_run
from hotpath.reconcile.status import ReconcileStatus, read_status, status_path
from hotpath.venues.config import AccountConfig
from tests.e2e.test_snapshot_engine import SERVICE, with_snapshots
from tests.support.busy import busy_config
from tests.support.engines import REPOSITORY, EngineProcess, engine_config, until, venue, wire_orders
from tests.support.journals import RUN_EPOCH, make_folder, random_events, write_ring

SMALL = Sizes(first=512 * 128, largest=1024 * 128)


@contextmanager
def receiver(root: Path, *, port: int = 0, **tls: Any) -> Iterator[Receiver]:
    """One that listens in this process."""
    listening = Receiver(root, Peer("127.0.0.1", port, **tls))
    thread = threading.Thread(target=listening.serve, daemon=True)
    thread.start()
    try:
        yield listening
    finally:
        listening.close()
        thread.join()


def test_copy_follows_over_lost_connections_and_is_the_same(tmp_path: Path) -> None:
    """The receiver goes away twice, and once the shipper does; a segment is packed meanwhile."""
    folder = make_folder(tmp_path / "20260101-1")
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    copy = tmp_path / "copies" / folder.name
    with receiver(tmp_path / "copies") as first:
        port = first.port
        shipper = Shipper(folder, Peer("127.0.0.1", port))
        thread = threading.Thread(target=shipper.run, daemon=True)
        writer.append(random_events("norm", 700), 0)
        thread.start()
        until(lambda: copy.exists() and _count(copy) == 700, "the first events")
    writer.append(random_events("norm", 1500, seed=2), 700)
    with receiver(tmp_path / "copies", port=port):
        until(lambda: _count(copy) == 2200, "those written while nobody listened")
    writer.append(random_events("norm", 100, seed=3), 2300)  # and a hole of 100
    ends = {"norm": writer.close()}
    (folder / END_FILE).write_bytes(msgspec.json.encode(End(ends)))
    with receiver(tmp_path / "copies", port=port):
        thread.join(timeout=30)
    assert not thread.is_alive() and shipper.lag.events == 0
    assert not verify(copy).findings and Journal(copy).ended
    for path in folder.iterdir():
        if path.name != STATUS_FILE:
            assert (copy / path.name).read_bytes() == path.read_bytes(), path.name
    told = json.loads((folder / STATUS_FILE).read_text())
    assert told["events"] == 0 and told["bytes"] == 0


def _count(folder: Path) -> int:
    try:
        return Journal(folder).count("norm")
    except JournalError:
        return 0


def test_lag_is_told_and_alerted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "20260101-1")
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    writer.append(random_events("norm", 300), 0)  # published long ago
    shipper = Shipper(folder, Peer("127.0.0.1", 9), alert_seconds=1)  # where nobody listens
    threading.Thread(target=shipper.run, daemon=True).start()
    until(lambda: shipper.lag.alert, "the alert")
    assert shipper.lag.events == 300 and not shipper.lag.connected and shipper.lag.seconds > 1
    assert "s behind (300 events)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        ({"file": "../evil", "offset": 0, "size": 1, "crc": 0}, "is no file of a journal"),
        ({"file": "norm.000000000000.events/../x", "offset": 0, "size": 1, "crc": 0}, "is no file of a journal"),
        ({"file": ".bashrc", "offset": 0, "size": 1, "crc": 0}, "is no file of a journal"),
        ({"file": "run.json", "offset": 5, "size": 1, "crc": 0}, "a piece at 5, here are 0"),
        ({"file": "run.json", "offset": 0, "size": 2**40, "crc": 0}, "a piece of"),
        ({"file": "run.json", "offset": 0, "size": -1, "crc": 0}, "a piece of"),
        ({"file": "run.json", "offset": 0, "size": 3, "crc": 0}, "the checksum of a piece does not hold"),
        ({"file": "run.json", "offset": 0, "size": 9, "crc": 0}, "cut off in a piece"),
        ({"file": 7}, "is no file of a journal"),
        ({}, "is no file of a journal"),
    ],
)
def test_receiver_takes_nothing_that_is_not_a_journal_s(message: dict, refusal: str, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=refusal):
        take_piece(tmp_path, message, io.BytesIO(b"abc"))
    assert not list(tmp_path.iterdir())
    good = {"file": "run.json", "offset": 0, "size": 3, "crc": crc32c(b"abc")}
    assert take_piece(tmp_path, good, io.BytesIO(b"abc")) == ("run.json", 3)


def test_nothing_leaves_the_machine_in_the_open(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="would be open to read"):
        Peer("192.0.2.1", 26480).refuse_open()
    with pytest.raises(JournalError, match="would be open to read"):
        Receiver(tmp_path, Peer("0.0.0.0", 0))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_both_sides_show_certificates(tmp_path: Path) -> None:
    ours, theirs = certificates(tmp_path / "ours"), certificates(tmp_path / "theirs")
    folder = make_folder(tmp_path / "20260101-1")
    end = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    end.append(random_events("norm", 300), 0)
    (folder / END_FILE).write_bytes(msgspec.json.encode(End({"norm": end.close()})))
    with receiver(tmp_path / "copies", **ours) as listening:
        for wrong in (theirs, {**theirs, "authority": ours["authority"]}, {}):
            with pytest.raises(JournalError):
                Shipper(folder, Peer("127.0.0.1", listening.port, **wrong)).run(follow=False)
        Shipper(folder, Peer("127.0.0.1", listening.port, **ours)).run(follow=False)
    assert not verify(tmp_path / "copies" / folder.name).findings


def certificates(folder: Path) -> dict[str, Any]:
    """An authority of one, which is its own certificate for 127.0.0.1."""
    folder.mkdir()
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=hotpath", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return {"certificate": certificate, "key": key, "authority": certificate}


@pytest.mark.parametrize("opening", ["flat", "carry"])
def test_engine_goes_on_from_the_copy_when_its_host_is_gone(opening: str, tmp_path: Path, engine: str) -> None:
    """Storage destroyed under load: the copy is closed, the venue tells the rest, both sides agree, it trades again.

    Flat: the run had been told of a position that the venue's day does not know. Carry: it knows of none.
    """
    replace = msgspec.structs.replace
    accounts = [AccountConfig(username="DEMO", drop_copy="DEMODC")]
    with venue(tmp_path, accounts=accounts, control_port=0, **SERVICE) as running:
        here, there = tmp_path / "here", tmp_path / "there"
        here.mkdir()
        there.mkdir()
        quick = busy_config(signal={"cooldown_ms": 20, "order_life_ms": 400, "style": "join"})
        config = with_snapshots(engine_config(engine, running, here, topology="paired", busy=quick), running)
        config = replace(
            config,
            engine=replace(config.engine, opening=opening),
            journal=replace(config.journal, enabled=True),
            reconcile=ReconcileConfig(username="DEMODC", password_file=config.gateway.password_file, interval_s=1),
        )
        if opening == "flat":
            hold_over_night(running, config, lots=300)
        with receiver(tmp_path / "copies") as listening:
            process = EngineProcess(config, here, "--arm")
            shipping = None
            try:
                process.wait_trading(fills=1)
                (run,) = journal_root(config).iterdir()
                shipping = subprocess.Popen(
                    [sys.executable, "-m", "hotpath", "journal", "ship", str(run), f"127.0.0.1:{listening.port}"],
                    cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                copy = tmp_path / "copies" / run.name
                until(lambda: (copy / "run.json").exists() and Journal(copy).count("exec") > 20, "the copy")
                fills = process.count("gateway", "fills")
                until(lambda: process.count("gateway", "fills") > fills, "a fill while it is shipped")
                process.signal(signal.SIGKILL)
                process.process.wait()
            finally:
                process.close()
                if shipping is not None:
                    shipping.kill()
                    shipping.wait()
        os.rename(here, tmp_path / "destroyed")
        again = moved(config, here, there, left=tmp_path / "destroyed")
        path = there / "engine.toml"
        path.write_text(config_toml(again))
        until(lambda: not _held(copy), "the copy's last piece")
        restored = restore(copy, path, source=tmp_path / "destroyed" / run.relative_to(here))
        assert restored.last_order_id > 0 and not restored.killed and not restored.trouble
        assert restored.lost_window_seconds is not None
        assert 0 <= restored.lost_window_seconds <= restored.lost_window_seconds_max
        assert f"the last {restored.lost_window_seconds:.3f} s" in restored_text(restored, path)
        assert bool(restored.carried_lots) == (opening == "flat")
        second = EngineProcess(again, there, "--arm")
        try:
            until(lambda: second.count("gateway", "new_orders") > 20, "orders of the restored engine")
            until(lambda: second.count("gateway", "fills") > 5, "fills")
            until(lambda: reconciled(again).comparisons > 1, "it is reconciled")
            second.signal()
            assert second.wait() == 0, second.errors()
        finally:
            second.close()
        status = reconciled(again)
    assert status.state == "ended" and not status.breaks and status.here == status.there
    last = last_run(again)
    assert last is not None and str(last) != restored.folder
    ids = [Journal(folder).events("cmd")["order_id"] for folder in (Path(restored.folder), last)]
    assert ids[0].max() < ids[1].min(), "no order id is given out twice"
    refs = [frame[4:8] for frame in wire_orders(tmp_path / "tap") if frame[3:4] == b"O"]
    assert len(set(refs)) == len(refs), "no order is sent twice"


@pytest.mark.parametrize(
    ("killed", "latched"), [([1, 0, 0], False), ([1, 0, 1], True), ([1, 1, 1], False), ([], False)]
)
def test_copy_that_ends_killed_leaves_its_engine_killed(killed: list[int], latched: bool, tmp_path: Path) -> None:
    """Whoever killed it: the host's death does not undo it. A run that was never armed was not killed by anybody."""
    folder = make_folder(tmp_path / "20260101-1")
    turns = random_events("risk.ctl", len(killed))
    turns["killed"] = killed
    write_ring(folder, "risk.ctl", turns)
    assert was_killed(Journal(folder)) == latched


def hold_over_night(running: RunningSimulator, config: Config, *, lots: int) -> None:
    """A position from before the day: the venue knows it, and people tell the engine."""
    symbol = running.ready["symbols"][0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(5)
        command = {"command": "plant", "account": "DEMO", "symbol": symbol, "lots": lots}
        line.sendto(json.dumps(command).encode(), ("127.0.0.1", running.ready["control_port"]))
        assert json.loads(line.recv(4096))["ok"]
    held = new_adjustment(
        kind="opening", symbol=symbol, lots=lots, cost_micros=lots * 10**8, cash_micros=0, who="test", why="over night"
    )
    AdjustmentFile(adjustments_path(config)).ask([held])


def moved(config: Config, here: Path, there: Path, *, left: Path) -> Config:
    """The configuration on another host: passwords and reference data are kept elsewhere too."""
    replace = msgspec.structs.replace
    for name in ("password", Path(config.refdata.path).name):
        shutil.copy(left / name, there)

    def to(path: str) -> str:
        return path.replace(str(here), str(there))

    return replace(
        config,
        engine=replace(config.engine, state_dir=str(there)),
        gateway=replace(config.gateway, intents_dir=str(there), password_file=to(config.gateway.password_file)),
        reconcile=replace(config.reconcile, password_file=to(config.reconcile.password_file)),
        refdata=replace(config.refdata, path=to(config.refdata.path)),
        feed=replace(config.feed, snapshot_password_file=to(config.feed.snapshot_password_file)),
    )


def reconciled(config: Config) -> ReconcileStatus:
    return read_status(status_path(config), config.engine.name)


def _held(copy: Path) -> bool:
    try:
        refuse_growing(copy)
    except JournalError:
        return True
    return False
