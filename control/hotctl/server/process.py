"""The control process: every service behind the guard, behind the doors."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from concurrent import futures
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import msgspec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from hotctl.audit import OBSERVED, REFUSED, AuditLog, audit_path
from hotctl.errors import AuditError
from hotctl.profiles import Listening, listening_path
from hotctl.protocol import PACKAGE, methods
from hotctl.server.approvals import ApprovalService
from hotctl.server.books import Books
from hotctl.server.doors import Doors
from hotctl.server.guard import Guard
from hotctl.server.hands import Hands
from hotctl.server.limits import LimitsHands, LimitsService
from hotctl.server.looks import AuditService, EngineService, WatchService
from hotctl.server.mutations import Mutations
from hotctl.server.orders import IngestService, OrderService
from hotctl.server.refusal import Refusal
from hotctl.server.strategies import StrategyService
from hotctl.server.trading import TradingService
from hotctl.server.webhook import Webhook
from hotpath.config import Config
from hotpath.control.requests import write_whole
from hotpath.holders import Hold, hold
from hotpath.latch import latch_path, read_latch

THREADS = 16  # more than there may be watchers: a kill finds one
HARD_BYTES_MAX = 8 << 20  # that gRPC itself takes; the guard refuses, and audits, from far below
STOP_SECONDS = 1.0


def socket_path(config: Config) -> Path:
    """Where operators of this host knock."""
    return Path(config.control.socket or Path(config.engine.state_dir) / f"{config.engine.name}.control.sock")


class ControlServer:
    """One control process of one engine."""

    def __init__(self, config: Config, *, record: Path | None = None) -> None:
        """`record`: the folder of the run's journal, where it is not in its usual place.

        Raises HotpathError when it cannot listen, or another one does already.
        """
        self.config = config
        name = config.engine.name
        state_dir = Path(config.engine.state_dir)
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held: Hold = hold(
            state_dir / f"{name}.control.lock",
            f"the control of engine {name}",
            next_step="stop that process first: one at a time answers for an engine",
        )
        self._folder = Path(tempfile.mkdtemp(prefix="hotctl."))  # mode 0700: nobody else gets at the inner socket
        inner = self._folder / "inner"
        self.audit = AuditLog(audit_path(state_dir, name))
        self.hands = Hands(config)
        self.limits = LimitsHands(self.hands, self.audit)
        self.books = Books(self.hands, record)
        self.webhook = Webhook(config.control.webhook, engine=name)
        self.mutations = Mutations(self.audit, config.control, told=self.webhook.tell)
        self.doors = Doors(config.control, socket_path=socket_path(config), inner=inner, refused=self._turned_away)
        self._services: dict[str, Any] = {
            "TradingService": TradingService(self.hands, self.limits, self.mutations),
            "EngineService": EngineService(self.hands, self.limits, self.mutations),
            "LimitsService": LimitsService(self.limits, self.mutations),
            "WatchService": WatchService(self.hands),
            "ApprovalService": ApprovalService(self.mutations),
            "OrderService": OrderService(self.hands, self.books, self.limits, self.mutations),
            "StrategyService": StrategyService(self.hands, self.limits, self.mutations),
            "IngestService": IngestService(self.hands, self.mutations),
            "AuditService": AuditService(self.audit),
        }
        self._server = grpc.server(
            futures.ThreadPoolExecutor(THREADS, thread_name_prefix="call"),
            interceptors=[Guard(config.control, self.doors, self.audit)],
            options=[("grpc.max_receive_message_length", HARD_BYTES_MAX), ("grpc.so_reuseport", 0)],
        )
        self._server.add_generic_rpc_handlers(self._handlers())
        self._add_health_and_reflection()
        self._server.add_insecure_port(f"unix:{inner}")
        self._stopping = threading.Event()

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Every method that a service here has; those of services that are not there answer UNIMPLEMENTED."""
        from hotctl.protocol import message_types

        found: dict[str, dict[str, Any]] = {}
        for name, method in methods().items():
            service, _, call = name.partition("/")
            behaviour = getattr(self._services.get(service), call, _unimplemented)
            request, response = message_types(name)
            kind = (
                grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
            )
            found.setdefault(service, {})[call] = kind(
                behaviour, request_deserializer=request.FromString, response_serializer=response.SerializeToString
            )
        return tuple(
            grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", handlers)
            for service, handlers in found.items()
        )

    def _add_health_and_reflection(self) -> None:
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        services = sorted({f"{PACKAGE}.{name.partition('/')[0]}" for name in methods()})
        for name in ("", *services):
            servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)

    def start(self) -> None:
        """Settle what a predecessor left, then listen."""
        for settled in self.mutations.recover():
            print(f"control: {settled}", flush=True)
        self._server.start()
        self.doors.open()
        listening = Listening(str(self.doors.socket_path), self.doors.port, os.getpid())
        write_whole(
            listening_path(Path(self.config.engine.state_dir), self.config.engine.name), msgspec.json.encode(listening)
        )

    def serve(self) -> None:
        """Until told to stop."""
        while not self._stopping.wait(self.config.control.interval_ms / 1000):
            self._look_round()

    def stop(self) -> None:
        """Leave."""
        self._stopping.set()
        self.hands.leave()
        self.doors.close()
        self._server.stop(STOP_SECONDS).wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.webhook.close()
        self._held.release()

    def stop_soon(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """As a signal says."""
        self._stopping.set()

    # ---- what others do ----------------------------------------------------------------------------

    def _look_round(self) -> None:
        """What happens with time, and what was done to the engine past this process."""
        try:
            self.hands.beat()
            self.mutations.tick()
            self._observe_kill()
            self.limits.observe()
            self.hands.follow()
        except Refusal:
            return  # no engine runs
        except AuditError as error:
            print(f"control: {error}", flush=True)

    def _observe_kill(self) -> None:
        hands = self.hands
        run = hands.run()
        with hands.word:
            epoch = int(run.page.kill_epoch)
            if epoch == hands.own_epoch:
                return
            before, hands.own_epoch = hands.own_epoch, epoch
        latch = read_latch(latch_path(self.config)) or {}
        detail = {
            "before": before,
            "after": epoch,
            "armed_epoch": int(run.page.armed_epoch),
            "run_epoch": run.run_epoch,
        }
        record = self.audit.append(
            OBSERVED,
            method="TradingService/Kill",
            reason=str(latch.get("reason", "an engine starts killed" if epoch == 1 else "not said"))[:500],
            detail=detail,
        )
        self.webhook.tell(record)

    def _turned_away(self, peer: str, reason: str) -> None:
        try:
            self.audit.append(REFUSED, method="connect", detail={"peer": peer, "refusal": reason})
        except AuditError as error:
            print(f"control: not audited: {error}: {peer}: {reason}", flush=True)


def _unimplemented(_request: Any, _context: grpc.ServicerContext) -> Any:
    raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "no engine of this version serves that yet")


def serve(config: Config) -> None:
    """Serve until SIGINT or SIGTERM."""
    server = ControlServer(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.stop_soon)
    try:
        server.start()
        server.serve()
    finally:
        server.stop()
