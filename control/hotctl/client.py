"""The client: one call to a control process, and what its answers mean for a command line."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from hotctl.errors import CallError, DeniedError, UnknownOutcomeError, UnreachableError, UsageError
from hotctl.profiles import Profile, socket_of
from hotctl.protocol import message_types, path_of
from hotctl.v1 import mutation_pb2

Code = grpc.StatusCode
KINDS: dict[grpc.StatusCode, type[CallError]] = {
    Code.PERMISSION_DENIED: DeniedError,
    Code.UNAUTHENTICATED: DeniedError,
    Code.INVALID_ARGUMENT: UsageError,
    Code.NOT_FOUND: UsageError,
    Code.UNIMPLEMENTED: UsageError,
    Code.ALREADY_EXISTS: UsageError,
}
ANSWER_BYTES_MAX = 64 << 20
PROBE_SECONDS = 3.0


def new_request_id() -> str:
    """One that no other request has."""
    return f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(6)}"


class Client:
    """Calls to one control process: ``with Client(profile) as client: client.call("TradingService/Kill", ...)``."""

    def __init__(self, profile: Profile, *, timeout_s: float = 10.0) -> None:
        """Raises UnreachableError when it cannot be told where to call."""
        self.timeout_s = timeout_s
        self._profile = profile
        options = [("grpc.max_receive_message_length", ANSWER_BYTES_MAX), ("grpc.enable_http_proxy", 0)]
        if profile.target:
            self.target = profile.target
            if profile.server_name:
                options.append(("grpc.ssl_target_name_override", profile.server_name))  # type: ignore[arg-type]
            self._channel = grpc.secure_channel(profile.target, credentials(Path(profile.tls_dir)), options=options)
        else:
            path = socket_of(profile)
            if not path.exists():
                raise UnreachableError(
                    f"no control process listens at {path}",
                    next_step="hotctl serve CONFIG starts one, or [control] enabled = true; "
                    "a kill needs none: hotctl kill --local",
                )
            self.target = f"unix:{path}"
            self._channel = grpc.insecure_channel(self.target, options=options)

    def call(self, method: str, request: Any = None, *, timeout_s: float | None = None) -> Any:
        """One answer. Raises CallError and what is below it."""
        kinds = message_types(method)
        request = kinds[0]() if request is None else request
        invoke: Any = self._channel.unary_unary(
            path_of(method), request_serializer=kinds[0].SerializeToString, response_deserializer=kinds[1].FromString
        )
        try:
            return invoke(request, timeout=timeout_s or self.timeout_s)
        except grpc.RpcError as error:
            raise self._as_error(error, getattr(request, "mutation", None)) from None

    def stream(self, method: str, request: Any = None) -> Iterator[Any]:
        """Answers until either side ends."""
        kinds = message_types(method)
        invoke: Any = self._channel.unary_stream(
            path_of(method), request_serializer=kinds[0].SerializeToString, response_deserializer=kinds[1].FromString
        )
        try:
            yield from invoke(kinds[0]() if request is None else request)
        except grpc.RpcError as error:
            raise self._as_error(error, None) from None

    def _as_error(self, error: Any, mutation: Any) -> CallError:
        code, text = error.code(), error.details() or ""
        changes = mutation is not None and bool(mutation.request_id)
        again = f"ask again with the same request: --request-id {mutation.request_id}" if changes else ""
        if code == Code.UNAVAILABLE:
            # Refused before it was sent, and cut while it was under way, look the same.
            if changes and ("reset" in text.lower() or "closed" in text.lower()):
                return UnknownOutcomeError(f"{self.target}: cut while it was under way: {text}", next_step=again)
            refused = why_not(self._profile) if self._profile.target else ""
            if refused:
                return DeniedError(f"{self.target}: {refused}", next_step="hotctl certs show DIR tells what is good")
            return UnreachableError(f"{self.target}: {text}", next_step="hotctl kill --local needs no control process")
        if code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.UNKNOWN, Code.INTERNAL) and changes:
            return UnknownOutcomeError(f"{self.target}: {text}", next_step=again)
        if code == Code.DEADLINE_EXCEEDED:
            return UnreachableError(f"{self.target}: no answer in time")
        return KINDS.get(code, CallError)(text)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        self.close()


def mutation(*, reason: str, request_id: str = "", dry_run: bool = False) -> mutation_pb2.Mutation:
    """What every call that changes something carries."""
    return mutation_pb2.Mutation(request_id=request_id or new_request_id(), reason=reason, dry_run=dry_run)


def why_not(profile: Profile) -> str:
    """Why a handshake fails, which gRPC does not tell; empty when it does not fail, or nobody listens."""
    host, _, port = profile.target.rpartition(":")
    folder = Path(profile.tls_dir)
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, int(port)), timeout=PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=profile.server_name or host) as tls,
        ):
            tls.recv(1)  # TLS 1.3: whether our certificate was taken is told after the handshake
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not good: {error.verify_message}"
    except ssl.SSLError as error:
        return f"it refuses this certificate: {(error.reason or str(error)).replace('_', ' ').lower()}"
    except (OSError, ValueError):
        return ""
    return ""


def credentials(folder: Path) -> grpc.ChannelCredentials:
    """Of an operator's folder: ca.pem, client.pem, client.key. Raises UsageError."""
    try:
        ca, certificate, key = ((folder / name).read_bytes() for name in ("ca.pem", "client.pem", "client.key"))
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {(error.strerror or str(error)).lower()}",
            next_step="tls_dir of the profile names a folder that `hotctl certs issue` made",
        ) from None
    return grpc.ssl_channel_credentials(ca, key, certificate)
