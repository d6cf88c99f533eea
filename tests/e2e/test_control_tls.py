"""Mutual TLS: who may, who may not, and that every refusal is clear and stands in the audit log; two persons."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from hotctl.audit import REFUSED, AuditLog, Record, audit_path, verify
from hotctl.certs import Authority
from hotctl.client import Client, mutation
from hotctl.errors import CallError, DeniedError, UsageError
from hotctl.profiles import Profile, read_listening
from hotctl.protocol import path_of
from hotctl.v1 import approval_pb2, mutation_pb2, trading_pb2
from tests.support.engines import EngineProcess, until
from tests.support.held import held_config, held_engine

REQUEST_BYTES_MAX = 4096


class Desk:
    """An engine with an authority, and its people."""

    def __init__(self, engine: EngineProcess, authority: Authority) -> None:
        self.engine = engine
        self.authority = authority
        listening = read_listening(engine.folder, engine.name)
        assert listening is not None
        self.target = f"127.0.0.1:{listening.port}"

    def client(self, folder: Path) -> Client:
        return Client(Profile(target=self.target, tls_dir=str(folder)))

    def person(self, name: str, role: str = "operator", *, days: int = 1) -> Client:
        folder = self.authority.folder / name
        return self.client(folder if folder.exists() else self.authority.issue(name, role, days=days))

    @property
    def log(self) -> AuditLog:
        return AuditLog(audit_path(self.engine.folder, self.engine.name))

    def refusals(self, since: int) -> list[Record]:
        return [each for each in self.log.records() if each.kind == REFUSED and each.sequence > since]

    @property
    def lines(self) -> int:
        return verify(self.log.path).records


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("held")
    authority = Authority(folder / "certs")
    authority.init(["127.0.0.1"])
    config = held_config(
        f"t{os.getpid()}-tls",
        folder,
        host="127.0.0.1",
        port=0,
        tls_dir=str(folder / "certs" / "server"),
        request_bytes_max=REQUEST_BYTES_MAX,
    )
    with held_engine(config, folder) as running:
        until(lambda: running.count("feed", "messages") > 0, "the market")
        yield Desk(running, authority)
        assert verify(audit_path(folder, running.name)).whole


def code_of(channel: Any, method: str) -> grpc.StatusCode:
    with channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(path_of(method))(b"", timeout=5)
    error: Any = refused.value
    code: grpc.StatusCode = error.code()
    return code


def test_a_certificate_names_person_role_and_age_of_the_key(desk: Desk) -> None:
    with desk.person("vera", "viewer") as call:
        found = call.call("EngineService/GetEngine")
        assert (found.identity, found.role) == ("cert:vera", "viewer")
        assert found.key_age_s > 0 and 0 < found.key_left_s <= 86_400
        assert call.call("WatchService/GetSnapshot").snapshot.engine == desk.engine.name


def test_a_role_that_may_not_is_told_which_may(desk: Desk) -> None:
    before = desk.lines
    with desk.person("vera", "viewer") as call, pytest.raises(DeniedError, match="needs operator"):
        call.call("TradingService/Kill", trading_pb2.KillRequest(mutation=mutation(reason="I may not")))
    (line,) = desk.refusals(before)
    assert (line.identity, line.role, line.method) == ("cert:vera", "viewer", "TradingService/Kill")
    assert line.reason == "" and "needs operator" in line.detail["refusal"]


@pytest.mark.parametrize("trouble", ["no certificate", "another authority", "expired", "revoked", "a server's"])
def test_a_certificate_that_is_not_good_is_refused_and_the_reason_written_down(
    desk: Desk, trouble: str, tmp_path: Path
) -> None:
    before = desk.lines
    server_ca = (desk.authority.folder / "ca.pem").read_bytes()
    if trouble == "no certificate":
        channel = grpc.secure_channel(desk.target, grpc.ssl_channel_credentials(server_ca))
        assert code_of(channel, "EngineService/GetEngine") == grpc.StatusCode.UNAVAILABLE
        words = "did not return a certificate"
    else:
        folder = tmp_path / "client"
        if trouble == "another authority":
            other = Authority(tmp_path / "other")
            other.init(["127.0.0.1"])
            folder, words = other.issue("mallory", "admin", days=1), "unable to get local issuer certificate"
            (folder / "ca.pem").write_bytes(server_ca)
        elif trouble == "expired":
            folder, words = desk.authority.issue("olga", "admin", days=0), "expired"
            time.sleep(1.1)
        elif trouble == "revoked":
            folder, words = desk.authority.issue("rita", "admin", days=1), "revoked"
            desk.authority.revoke("rita")
        else:
            folder.mkdir()
            server = desk.authority.folder / "server"
            for name, source in (("ca.pem", "ca.pem"), ("client.pem", "server.pem"), ("client.key", "server.key")):
                (folder / name).write_bytes((server / source).read_bytes())
            words = "unsuitable certificate purpose"
        told = {"another authority": "unknown ca", "a server's": "unsupported certificate"}.get(trouble, trouble)
        with desk.client(folder) as call, pytest.raises(DeniedError, match=f"refuses this certificate:.*{told}"):
            call.call("EngineService/GetEngine", timeout_s=5)
    until(lambda: desk.refusals(before), "the line")
    line = desk.refusals(before)[0]
    assert line.method == "connect" and words in line.detail["refusal"], line
    assert line.detail["peer"].startswith("127.0.0.1:")


def test_a_request_that_is_too_large_is_refused_before_it_is_read(desk: Desk) -> None:
    before = desk.lines
    with desk.person("oskar") as call, pytest.raises(CallError, match=f"at most {REQUEST_BYTES_MAX}"):
        what = mutation(reason="x" * REQUEST_BYTES_MAX)
        call.call("TradingService/Disarm", trading_pb2.DisarmRequest(mutation=what))
    (line,) = desk.refusals(before)
    assert line.identity == "cert:oskar" and "bytes" in line.detail["refusal"]


def test_anothers_request_id_is_refused(desk: Desk) -> None:
    what = mutation(reason="mine")
    request = trading_pb2.SetModeRequest(mutation=what, mode="TRADING_MODE_CANCEL_ONLY")
    with desk.person("oskar") as call:
        call.call("TradingService/SetMode", request)
    before = desk.lines
    with desk.person("otto") as call, pytest.raises(UsageError, match="used for something else, by cert:oskar"):
        call.call("TradingService/SetMode", request)
    (line,) = desk.refusals(before)
    assert (line.identity, line.request_id) == ("cert:otto", what.request_id)


def test_a_method_that_nobody_knows_is_denied(desk: Desk) -> None:
    before = desk.lines
    folder = desk.authority.issue("adam", "admin", days=1)
    credentials = grpc.ssl_channel_credentials(
        *((folder / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    )
    channel = grpc.secure_channel(desk.target, credentials)
    assert code_of(channel, "TradingService/KillNobody") == grpc.StatusCode.PERMISSION_DENIED
    assert desk.refusals(before)[0].method == "TradingService/KillNobody"


def test_arming_needs_a_second_person_of_another_name_and_a_higher_role(desk: Desk) -> None:
    with desk.person("oskar") as asking:
        request = trading_pb2.ArmRequest(mutation=mutation(reason="the market opens"))
        asked = asking.call("TradingService/Arm", request)
        assert asked.receipt.outcome == mutation_pb2.OUTCOME_PENDING
        assert desk.engine.look().killed  # type: ignore[union-attr]
        again = asking.call("TradingService/Arm", request)
        assert again.receipt.replayed and again.receipt.outcome == mutation_pb2.OUTCOME_PENDING

    def approve(client: Client) -> approval_pb2.ApproveResponse:
        with client as call:
            what = mutation(reason="seen")
            wanted = approval_pb2.ApproveRequest(mutation=what, pending_request_id=asked.receipt.request_id)
            response: approval_pb2.ApproveResponse = call.call("ApprovalService/Approve", wanted)
            return response

    with pytest.raises(DeniedError, match="needs risk_officer"):
        approve(desk.person("otto"))
    desk.authority.revoke("oskar")
    (desk.authority.folder / "oskar").rename(desk.authority.folder / "oskar.old")
    with pytest.raises(DeniedError, match="another person"):
        approve(desk.person("oskar", "admin"))
    assert desk.engine.look().killed  # type: ignore[union-attr]
    response = approve(desk.person("rosa", "risk_officer"))
    assert response.receipt.outcome == mutation_pb2.OUTCOME_APPLIED, response
    assert not desk.engine.look().killed  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="names 0 requests"):
        approve(desk.person("rosa", "risk_officer"))
    with desk.person("rosa") as call:
        call.call("TradingService/Kill", trading_pb2.KillRequest(mutation=mutation(reason="enough")))


def test_a_certificate_revoked_while_its_connection_is_open_is_refused(desk: Desk) -> None:
    with desk.person("nina", "viewer") as call:
        call.call("EngineService/GetEngine")
        desk.authority.revoke("nina")
        with pytest.raises(DeniedError, match="revoked"):
            call.call("EngineService/GetEngine")


def test_new_server_certificates_are_taken_up_without_a_restart_and_broken_ones_are_not(desk: Desk) -> None:
    before = read_listening(desk.engine.folder, desk.engine.name)
    desk.authority.renew_server(["127.0.0.1", "other.example"])
    server = desk.authority.folder / "server"
    with desk.client(desk.authority.folder / "rosa") as call:
        call.call("EngineService/GetEngine")
    good = (server / "server.pem").read_bytes()
    (server / "server.pem").write_bytes(b"nonsense")
    with desk.client(desk.authority.folder / "rosa") as call:
        call.call("EngineService/GetEngine")
    (server / "server.pem").write_bytes(good)
    assert read_listening(desk.engine.folder, desk.engine.name) == before, "the same process listens"
