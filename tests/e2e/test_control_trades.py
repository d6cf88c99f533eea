"""Orders, positions, stories, strategies, adjustments and outside events over gRPC; webhooks."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from ffi import lib
from hotctl.audit import OUTCOME, Record
from hotctl.client import Client, mutation
from hotctl.errors import UsageError
from hotctl.server.webhook import Webhook, signature
from hotctl.v1 import ingest_pb2, mutation_pb2, order_pb2, strategy_pb2, trading_pb2
from hotpath.config_control import WebhookConfig
from hotpath.errors import ConfigError
from hotpath.journal import Journal, journal_root
from tests.support.engines import EngineProcess, fold_position, until
from tests.support.held import held_config, held_engine, host_client


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("held")
    config = held_config(f"t{os.getpid()}-trades", folder)
    with held_engine(config, folder, "--arm") as running:
        until(lambda: running.count("gateway", "fills") >= 3, "fills")
        yield running


@pytest.fixture
def call(engine: EngineProcess) -> Iterator[Client]:
    with host_client(engine, timeout_s=30) as client:
        yield client


def test_orders_and_positions_are_the_fold_of_what_was_journaled(engine: EngineProcess, call: Client) -> None:
    until(lambda: call.call("OrderService/ListPositions").positions, "a position")
    kill = trading_pb2.KillRequest(mutation=mutation(reason="to stand still"), wait_ms=5000)
    assert call.call("TradingService/Kill", kill).effective
    (folder,) = journal_root(engine.config).glob("*")

    def folded() -> dict[str, int]:
        journal = Journal(folder)
        symbols = [bytes(each).rstrip(b"\0").decode() for each in journal.instruments["symbol"].tolist()]
        return {symbols[index]: lots for index, lots in fold_position(journal.events("exec")).items()}

    def told() -> dict[str, int]:
        return {each.symbol: each.lots for each in call.call("OrderService/ListPositions").positions}

    until(lambda: told() == folded() != {}, "the same positions")
    until(lambda: not call.call("OrderService/ListOrders").orders, "no order is open after a kill")


def test_an_order_is_explained(engine: EngineProcess, call: Client) -> None:
    (folder,) = journal_root(engine.config).glob("*")
    executions = Journal(folder).events("exec")
    order = int(executions["order_id"][executions["header"]["type"] == lib.EXEC_FILL][0])
    found = call.call("OrderService/ExplainOrder", order_pb2.ExplainOrderRequest(order_id=order))
    assert str(order) in found.text and "risk" in found.text.lower()
    assert msgspec.json.decode(found.json)["order_id"] == order


def test_a_strategy_is_paused_by_one_person_and_resumed_by_two(call: Client) -> None:
    def state() -> str:
        return str(call.call("StrategyService/ListStrategies").strategies[0].state)

    assert state() == "running"
    pause = strategy_pb2.PauseStrategyRequest(mutation=mutation(reason="t"), strategy="signal")
    assert call.call("StrategyService/PauseStrategy", pause).receipt.outcome == mutation_pb2.OUTCOME_APPLIED
    assert state() == "paused"
    resume = strategy_pb2.ResumeStrategyRequest(mutation=mutation(reason="t"), strategy="1")
    assert call.call("StrategyService/ResumeStrategy", resume).receipt.outcome == mutation_pb2.OUTCOME_PENDING
    with pytest.raises(UsageError, match="there are signal"):
        nobody = strategy_pb2.PauseStrategyRequest(mutation=mutation(reason="t"), strategy="nobody")
        call.call("StrategyService/PauseStrategy", nobody)
    for name in ("orders_per_second_max", "position_lots_max"):
        limit: Any = {"name": name, "value": "5"}
        put = strategy_pb2.SetStrategyRequest(mutation=mutation(reason="t"), strategy="1", **limit)
        assert call.call("StrategyService/SetStrategy", put).receipt.outcome == mutation_pb2.OUTCOME_APPLIED
    for name in ("threshold", "weights.imbalance"):
        fixed: Any = {"name": name, "value": "0.5"}
        with pytest.raises(UsageError, match="fixed for a run"):
            what = strategy_pb2.SetStrategyRequest(mutation=mutation(reason="t"), strategy="1", **fixed)
            call.call("StrategyService/SetStrategy", what)
    retire = strategy_pb2.RetireStrategyRequest(mutation=mutation(reason="t"), strategy="1")
    call.call("StrategyService/RetireStrategy", retire)
    assert state() == "retired"


def test_an_adjustment_waits_for_a_second_person(call: Client) -> None:
    request = order_pb2.RecordAdjustmentRequest(
        mutation=mutation(reason="split"), symbol="ZAAAB", quantity_lots=100, kind="corporate"
    )
    response = call.call("OrderService/RecordAdjustment", request)
    assert response.receipt.outcome == mutation_pb2.OUTCOME_PENDING
    (change,) = response.receipt.changes
    assert change.name == "position.ZAAAB" and int(change.after) - int(change.before) == 100


def test_an_outside_event_is_numbered_and_on_the_record_once(call: Client) -> None:
    def event(**fields: Any) -> Any:
        what = mutation(reason="the exchange says so")
        return ingest_pb2.IngestEventRequest(mutation=what, kind="news", payload_json='{"headline":"x"}', **fields)

    request = event(symbol="ZAAAB")
    first = call.call("IngestService/IngestEvent", request)
    again = call.call("IngestService/IngestEvent", request)
    assert first.sequence == again.sequence == 1 and again.receipt.replayed and first.ingress_time_ns > 0
    assert call.call("IngestService/IngestEvent", event()).sequence == 2
    for payload in ("[1]", "{", '{"x":"' + "y" * (17 << 10) + '"}'):
        bad = ingest_pb2.IngestEventRequest(mutation=mutation(reason="t"), kind="news", payload_json=payload)
        with pytest.raises(UsageError, match="payload_json"):
            call.call("IngestService/IngestEvent", bad)


# ---- webhooks -------------------------------------------------------------------------------------


def test_a_webhook_is_signed_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((dict(self.headers.items()), body))
            self.send_response(500 if len(heard) == 1 else 204)
            self.end_headers()

        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002
            return

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOOK_SECRET", "a secret")
    url = f"http://127.0.0.1:{server.server_port}/alerts"
    hook = Webhook(WebhookConfig(url=url, secret_env="HOOK_SECRET"), engine="e")
    hook.tell(Record(1, 2, OUTCOME, method="TradingService/Kill", detail={"outcome": "applied", "response": "x"}))
    until(lambda: len(heard) == 2, "the second try")
    hook.close()
    server.shutdown()
    server.server_close()
    headers, body = heard[1]
    assert hmac.compare_digest(headers["X-Hotctl-Signature"], signature(b"a secret", headers["X-Hotctl-Time"], body))
    told = msgspec.json.decode(body)
    assert (told["engine"], told["method"], told["detail"]) == ("e", "TradingService/Kill", {"outcome": "applied"})
    assert hook.dropped == 0


@pytest.mark.parametrize("url", ["http://example.com/x", "ftp://example.com"])
def test_a_webhook_goes_encrypted_or_nowhere(url: str) -> None:
    with pytest.raises(ConfigError):
        Webhook(WebhookConfig(url=url, secret_env="HOME"), engine="e")


def test_a_webhook_without_a_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="secret"):
        Webhook(WebhookConfig(url="https://example.com"), engine="e")
