"""An engine held over gRPC: seen, killed, armed, audited; every request once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hotctl.audit import audit_path, verify
from hotctl.client import mutation
from hotctl.errors import CallError, UsageError
from hotctl.server.snapshot import from_wire
from hotctl.v1 import audit_pb2, mutation_pb2, trading_pb2
from tests.support.engines import EngineProcess, until
from tests.support.held import held_config, held_engine, host_client


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("held")
    config = held_config(f"t{os.getpid()}-held", folder, single_operator=True)
    with held_engine(config, folder) as running:
        yield running


def arm(engine: EngineProcess) -> None:
    with host_client(engine) as call:
        until(lambda: engine.count("feed", "messages") > 0, "the market")
        response = call.call("TradingService/Arm", trading_pb2.ArmRequest(mutation=mutation(reason="the test trades")))
        assert response.receipt.outcome == mutation_pb2.OUTCOME_APPLIED, response
    stat = engine.look()
    assert stat is not None and not stat.killed


def test_kill_over_grpc_is_effective_and_stands_in_the_audit_log(engine: EngineProcess) -> None:
    arm(engine)
    with host_client(engine) as call:
        request = trading_pb2.KillRequest(mutation=mutation(reason="test"), wait_ms=5000)
        response = call.call("TradingService/Kill", request)
        assert response.effective and response.latched_on_disk and response.open_orders == 0
        stat = engine.look()
        assert stat is not None and stat.killed and stat.kill_epoch == response.kill_epoch
        again = call.call("TradingService/Kill", request)
        assert again.receipt.replayed and again.kill_epoch == response.kill_epoch
        assert engine.look().kill_epoch == response.kill_epoch, "a retry has no second effect"  # type: ignore[union-attr]
        records = call.call("AuditService/ListAuditRecords", audit_pb2.ListAuditRecordsRequest()).records
        kinds = [each.kind for each in records if each.request_id == request.mutation.request_id]
        assert kinds == ["intent", "outcome"]
    assert verify(audit_path(engine.folder, engine.name)).whole


def test_a_request_id_is_good_for_one_request(engine: EngineProcess) -> None:
    with host_client(engine) as call:
        what = mutation(reason="test")
        call.call("TradingService/SetMode", trading_pb2.SetModeRequest(mutation=what, mode="TRADING_MODE_REDUCE_ONLY"))
        assert engine.look().mode_words == {"operator": "reduce_only"}  # type: ignore[union-attr]
        with pytest.raises(UsageError, match="used for something else"):
            call.call("TradingService/SetMode", trading_pb2.SetModeRequest(mutation=what, mode="TRADING_MODE_HALTED"))
        assert engine.look().mode_words == {"operator": "reduce_only"}  # type: ignore[union-attr]
        back = trading_pb2.SetModeRequest(mutation=mutation(reason="test"), mode="TRADING_MODE_NORMAL")
        call.call("TradingService/SetMode", back)
        assert engine.look().mode_words == {}  # type: ignore[union-attr]


def test_arming_accepts_the_kill_that_was_seen_and_no_other(engine: EngineProcess) -> None:
    with host_client(engine) as call:
        epoch = call.call("TradingService/ListCauses").kill_epoch
        if not call.call("TradingService/ListCauses").killed:
            epoch = call.call("TradingService/Kill", trading_pb2.KillRequest(mutation=mutation(reason="t"))).kill_epoch
        with pytest.raises(CallError, match="stands"):
            what = trading_pb2.ArmRequest(mutation=mutation(reason="an old one"), kill_epoch=epoch + 1)
            call.call("TradingService/Arm", what)
        assert engine.look().killed  # type: ignore[union-attr]


def test_a_look_over_grpc_is_the_look_at_the_host(engine: EngineProcess) -> None:
    with host_client(engine) as call:
        seen = from_wire(call.call("WatchService/GetSnapshot").snapshot)
        here = engine.look()
        assert here is not None
        assert (seen.engine, seen.run_epoch, seen.kill_epoch) == (here.engine, here.run_epoch, here.kill_epoch)
        assert seen.stages.keys() == here.stages.keys() and seen.rings.keys() == here.rings.keys()
        stream = call.stream("WatchService/WatchSnapshots")
        assert next(stream).snapshot.engine == engine.name


def test_a_mutation_without_a_reason_or_an_id_is_refused(engine: EngineProcess) -> None:
    with host_client(engine) as call:
        for what in (mutation_pb2.Mutation(request_id="12345678"), mutation_pb2.Mutation(reason="test")):
            with pytest.raises(UsageError):
                call.call("TradingService/Disarm", trading_pb2.DisarmRequest(mutation=what))


def test_what_no_service_serves_says_so(engine: EngineProcess) -> None:
    with host_client(engine) as call, pytest.raises(UsageError, match="serves that yet"):
        call.call("ModelService/ListModels")
