"""The guard: one interceptor before every method. Who calls, may he, how much, how often; every refusal is audited.

A method that stands in no table is refused, whoever calls it.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import grpc

from hotctl.audit import REFUSED, AuditLog
from hotctl.errors import AuditError
from hotctl.protocol import short_name
from hotctl.server.doors import Doors
from hotctl.server.refusal import Refusal, denied
from hotctl.server.roles import LEAST_ROLE, Caller
from hotpath.config_control import ControlConfig
from hotpath.errors import HotpathError

UNTHROTTLED = "TradingService/Kill"
BUCKETS_MAX = 1000
CALLER: ContextVar[Caller] = ContextVar("caller")
Code = grpc.StatusCode


class Guard(grpc.ServerInterceptor):
    """In front of every method."""

    def __init__(self, config: ControlConfig, doors: Doors, audit: AuditLog) -> None:
        self._config = config
        self._doors = doors
        self._audit = audit
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, when
        self._lock = threading.Lock()
        self._watching = 0

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """The handler of a call, behind the checks."""
        method = short_name(str(handler_call_details.method))
        handler = continuation(handler_call_details)
        if handler is None or method not in LEAST_ROLE:
            return grpc.unary_unary_rpc_method_handler(self._unknown(method))
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._one(method, handler), response_serializer=handler.response_serializer
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._many(method, handler), response_serializer=handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(
            self._dialogue(method, handler),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unknown(self, method: str) -> Callable[[bytes, grpc.ServicerContext], Any]:
        def refuse(_request: bytes, context: grpc.ServicerContext) -> Any:
            caller = self._doors.caller(context.peer())
            self.refuse(method, caller, denied(f"{method}: there is no such method, or nobody may call it"), context)

        return refuse

    def _one(self, method: str, handler: Any) -> Callable[[bytes, grpc.ServicerContext], Any]:
        def call(request: bytes, context: grpc.ServicerContext) -> Any:
            caller, parsed = None, None
            try:
                caller = self._admit(method, context)
                parsed = self._parse(request, handler)
                CALLER.set(caller)
                return handler.unary_unary(parsed, context)
            except Exception as error:
                self.refuse(method, caller, as_refusal(method, error), context, parsed)

        return call

    def _many(self, method: str, handler: Any) -> Callable[[bytes, grpc.ServicerContext], Iterator[Any]]:
        def call(request: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
            caller = None
            try:
                caller = self._admit(method, context)
                parsed = self._parse(request, handler)
                with self._one_more_watcher():
                    yield from handler.unary_stream(parsed, context)
            except Exception as error:
                self.refuse(method, caller, as_refusal(method, error), context)

        return call

    def _dialogue(self, method: str, handler: Any) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        def call(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            caller = None
            try:
                caller = self._admit(method, context)
                with self._one_more_watcher():
                    yield from handler.stream_stream(requests, context)
            except Exception as error:
                self.refuse(method, caller, as_refusal(method, error), context)

        return call

    # ---- checks ------------------------------------------------------------------------------------

    def _admit(self, method: str, context: grpc.ServicerContext) -> Caller:
        caller = self._doors.caller(context.peer())
        if caller is None:
            raise Refusal(Code.UNAUTHENTICATED, "nobody stands behind this connection: it came through neither door")
        reason = self._doors.invalid(caller)
        if reason:
            raise Refusal(Code.UNAUTHENTICATED, f"{caller.identity}: {reason}")
        if caller.role is None:
            raise denied(
                f"{caller.identity} has no role here: control.roles of the engine's configuration names those who have"
            )
        least = LEAST_ROLE[method]
        if caller.role < least:
            raise denied(f"{caller.identity} is {caller.word}; {method} needs {least.word}")
        if method != UNTHROTTLED and not self._token(caller.identity):
            rate = self._config.requests_per_second_max
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"{caller.identity}: more than {rate} requests a second")
        return caller

    def _parse(self, request: bytes, handler: Any) -> Any:
        most = self._config.request_bytes_max
        if len(request) > most:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"a request of {len(request)} bytes; at most {most} are taken")
        try:
            return handler.request_deserializer(request)
        except Exception:
            raise Refusal(Code.INVALID_ARGUMENT, "the request is no message of this method") from None

    def _token(self, identity: str) -> bool:
        """A bucket of one second's requests."""
        rate, now = float(self._config.requests_per_second_max), time.monotonic()
        with self._lock:
            if len(self._buckets) >= BUCKETS_MAX and identity not in self._buckets:
                self._buckets.clear()
            tokens, since = self._buckets.get(identity, (rate, now))
            tokens = min(rate, tokens + (now - since) * rate)
            self._buckets[identity] = (max(0.0, tokens - 1), now)
            return tokens >= 1

    @contextlib.contextmanager
    def _one_more_watcher(self) -> Iterator[None]:
        """Each stream holds a thread; some must be left for a kill."""
        with self._lock:
            if self._watching >= self._config.watchers_max:
                raise Refusal(Code.RESOURCE_EXHAUSTED, f"{self._watching} streams are open: control.watchers_max")
            self._watching += 1
        try:
            yield
        finally:
            with self._lock:
                self._watching -= 1

    # ---- refusals ----------------------------------------------------------------------------------

    def refuse(
        self,
        method: str,
        caller: Caller | None,
        refusal: Refusal,
        context: grpc.ServicerContext,
        request: Any = None,
    ) -> None:
        """Write it down and end the call with it."""
        known = caller or self._doors.caller(context.peer())
        mutation = getattr(request, "mutation", None)
        try:
            self._audit.append(
                REFUSED,
                identity=known.identity if known else "",
                role=known.word if known else "",
                method=method[:200],
                request_id=mutation.request_id[:80] if mutation else "",
                reason=mutation.reason[:500] if mutation else "",
                detail={"code": refusal.code.name, "refusal": refusal.text, "peer": known.peer if known else ""},
            )
        except AuditError as error:
            print(f"control: not audited: {error}: {method}: {refusal.text}", flush=True)
        context.abort(refusal.code, refusal.text)


def as_refusal(method: str, error: Exception) -> Refusal:
    """What the caller is told of whatever went wrong."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, AuditError):
        return Refusal(Code.UNAVAILABLE, f"nothing was done, the audit log does not take it: {error}")
    if isinstance(error, HotpathError):
        step = f"; {error.next_step}" if error.next_step else ""
        return Refusal(Code.FAILED_PRECONDITION, f"{error}{step}")
    print(f"control: {method}:\n{''.join(traceback.format_exception(error))}", flush=True)
    return Refusal(Code.INTERNAL, f"{method} failed: {type(error).__name__}; the control process's log has more")
