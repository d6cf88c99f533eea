"""EngineService, WatchService and AuditService: what is there to see, and the end of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc
import msgspec

from ffi.dtypes import layout_hash
from hotctl import audit
from hotctl.audit import AuditLog
from hotctl.server.guard import CALLER
from hotctl.server.hands import Hands
from hotctl.server.limits import LimitsHands
from hotctl.server.mutations import APPLIED, FAILED, Diff, Done, Mutations, Plan
from hotctl.server.refusal import no_such
from hotctl.server.snapshot import to_wire
from hotctl.v1 import audit_pb2, engine_pb2, watch_pb2
from hotpath.config import Config
from hotpath.control.envelope import envelope_missing

RECORDS_MAX = 1000
CHUNK_BYTES = 256 << 10
INTERVAL_MS = (100, 60_000)
INTERVAL_MS_DEFAULT = 1000


class Drain:
    """The run ends in order, by the supervisor."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def plan(self, request: Any) -> Plan:
        run = self._hands.run()
        return Plan(
            changes=[Diff("run", "running", "ended")],
            detail=f"the run ends: {run.open_orders} open orders are cancelled first",
        )

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        answer = self._hands.ask(request_id, "drain", who=who, why=request.mutation.reason)
        return Done(outcome=APPLIED if answer.done else FAILED, detail=answer.detail)

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        answer = self._hands.answered(request_id)
        if answer is None:
            return Done(outcome=FAILED, detail="the supervisor was not asked")
        return Done(outcome=APPLIED if answer.done else FAILED, detail=answer.detail)


class EngineService:
    """As proto/hotctl/v1/engine.proto says."""

    def __init__(self, hands: Hands, limits: LimitsHands, mutations: Mutations) -> None:
        self._hands = hands
        self._limits = limits
        self._mutations = mutations
        mutations.actions["EngineService/Drain"] = Drain(hands)

    def GetEngine(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        caller = CALLER.get()
        now = time.time()
        return engine_pb2.GetEngineResponse(
            engine=self._hands.engine,
            run_epoch=self._hands.run_epoch(),
            version=_version(),
            layout_hash=f"{layout_hash():016x}",
            single_operator=self._hands.config.control.single_operator,
            identity=caller.identity,
            role=caller.word,
            key_age_s=int(now - caller.issued_time_s) if caller.issued_time_s else 0,
            key_left_s=int(caller.expires_time_s - now) if caller.expires_time_s else 0,
            approvals_waiting=len(self._mutations.waiting),
            limits_version=self._limits.read().version if self._hands.run_epoch() else 0,
            audit_sequence=self._mutations.last_sequence,
            envelope=_envelope(self._hands.config),
        )

    def Drain(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("EngineService/Drain", request, CALLER.get())


class WatchService:
    """As proto/hotctl/v1/watch.proto says."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def GetSnapshot(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return watch_pb2.GetSnapshotResponse(snapshot=to_wire(self._hands.snapshot()))

    def WatchSnapshots(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        interval_ms = request.interval_ms or INTERVAL_MS_DEFAULT
        if not INTERVAL_MS[0] <= interval_ms <= INTERVAL_MS[1]:
            raise no_such(f"interval_ms: {INTERVAL_MS[0]} to {INTERVAL_MS[1]}")
        while context.is_active():
            stat = self._hands.snapshot()
            yield watch_pb2.WatchSnapshotsResponse(snapshot=to_wire(stat))
            if stat.state != "running":
                return
            time.sleep(interval_ms / 1000)


class AuditService:
    """As proto/hotctl/v1/audit.proto says."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def ListAuditRecords(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        most = request.count_max or 100
        if most > RECORDS_MAX:
            raise no_such(f"count_max: at most {RECORDS_MAX}")
        found: list[audit.Record] = []
        for record in self._log.records():
            if request.from_sequence and record.sequence < request.from_sequence:
                continue
            found.append(record)
            if len(found) > most and not request.from_sequence:
                del found[0]
            if len(found) == most and request.from_sequence:
                break
        return audit_pb2.ListAuditRecordsResponse(records=[_on_wire(record) for record in found])

    def VerifyAudit(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        verdict = audit.verify(self._log.path)
        return audit_pb2.VerifyAuditResponse(
            whole=verdict.whole, records=verdict.records, head_hash=verdict.head_hash, detail=verdict.detail
        )

    def ExportAudit(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        chunk = bytearray()
        for line in self._log.lines():
            chunk += line + b"\n"
            if len(chunk) >= CHUNK_BYTES:
                yield audit_pb2.ExportAuditResponse(lines=bytes(chunk))
                chunk.clear()
        yield audit_pb2.ExportAuditResponse(lines=bytes(chunk))


def _envelope(config: Config) -> str:
    """What status says of the deployment envelope."""
    return ("; ".join(envelope_missing(config)) or "its signature holds") if config.control.envelope else "none"


def _on_wire(record: audit.Record) -> Any:
    fields = msgspec.to_builtins(record)
    detail = {key: value for key, value in fields.pop("detail").items() if key not in ("request", "response")}
    return audit_pb2.AuditRecord(**fields, detail_json=msgspec.json.encode(detail).decode())


def _version() -> str:
    try:
        return version("hotpath-engine")
    except PackageNotFoundError:
        return ""
