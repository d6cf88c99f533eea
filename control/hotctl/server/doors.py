"""The doors: a unix socket and a TLS port, and who stands behind each connection.

    client --unix--> SO_PEERCRED -----------+
                                            |   one connection each, from an abstract address that names the caller
    client --TLS---> certificate checked ---+--> inner unix socket --> gRPC: context.peer() is that address

gRPC for Python tells a handler neither the credentials of a unix peer nor of a handshake that failed. Here a
connection is accepted, its other end is identified, and its bytes are passed on from an address bound for it alone:
what is bound there cannot be bound again by somebody else, and the inner socket lies in a folder of this process's
owner. Identity is looked up by that address; a connection without an entry has none. Price: some 0.3 ms a call.
TLS is ended here, by OpenSSL: a refused certificate becomes a line of the audit log with its reason, and new
certificates and revocations are taken up without a restart (looked at for each connection and each call).
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hotctl.server.roles import Caller, Role
from hotctl.server.tls import BYTES, TlsConnection, TlsMaterial, reason_of
from hotpath.config_control import SOCKET_BYTES_MAX, ControlConfig
from hotpath.errors import StageError

REFUSALS_BURST = 20  # written one by one; then they are counted
REFUSALS_SECONDS = 10.0
URI = "hotctl:"  # of a certificate's subject alternative name: hotctl:ROLE/NAME

Readable = asyncio.StreamReader | TlsConnection
Writable = asyncio.StreamWriter | TlsConnection
Refused = Callable[[str, str], None]  # peer, reason


class Doors:
    """Both doors, in a thread of their own."""

    def __init__(self, config: ControlConfig, *, socket_path: Path, inner: Path, refused: Refused) -> None:
        """`inner`: where gRPC listens. `refused` is told of everybody who was turned away, from the doors' thread."""
        self.callers: dict[str, Caller] = {}
        self.socket_path = socket_path
        self.port = 0  # that mutual TLS is listened on
        self.tls = TlsMaterial(Path(config.tls_dir)) if config.host else None
        self._config = config
        self._inner = str(inner)
        self._told_refused = refused
        self._refusals: list[float] = []
        self._untold = 0
        self._number = 0
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="doors", daemon=True)
        self._started = threading.Event()
        self._trouble: Exception | None = None

    def open(self) -> None:
        """Listen. Raises StageError when that cannot be."""
        self._thread.start()
        self._started.wait()
        if self._trouble is not None:
            raise StageError(f"control: cannot listen: {self._trouble}") from None

    def close(self) -> None:
        """Listen no more; what is open is cut."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=2.0)
        self.socket_path.unlink(missing_ok=True)

    def caller(self, peer: str) -> Caller | None:
        """Who stands behind a connection, as gRPC names its peer."""
        return self.callers.get(peer.removeprefix("unix-abstract:"))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen())
        except Exception as error:
            self._trouble = error
            self._started.set()
            return
        self._started.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        path = str(self.socket_path)
        if len(path.encode()) > SOCKET_BYTES_MAX:
            raise ValueError(f"control.socket: {path} is longer than a unix socket's path may be: name a shorter one")
        self.socket_path.unlink(missing_ok=True)
        await asyncio.start_unix_server(self._at_socket, path)
        others = any(name.startswith("unix:") for name in self._config.roles)
        os.chmod(path, 0o666 if others else 0o600)  # others are told apart by who they are, behind the door
        if self.tls is not None:
            server = await asyncio.start_server(self._at_port, self._config.host, self._config.port)
            self.port = server.sockets[0].getsockname()[1]

    # ---- who ---------------------------------------------------------------------------------------

    async def _at_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid, _ = struct.unpack("3i", _socket_of(writer).getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        name = _user_name(uid)
        peer = f"pid {pid} of {name}"
        role = self._role(f"unix:{name}", Role.ADMIN if uid == os.geteuid() else None)
        await self._admit(reader, writer, Caller(f"unix:{name}", role, peer=peer))

    async def _at_port(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.tls is not None, "only then this door is open"
        address = writer.get_extra_info("peername")
        peer = f"{address[0]}:{address[1]}" if address else "somebody who left"
        connection = TlsConnection(self.tls.context(), reader, writer)
        try:
            certificate = await connection.handshake()
        except (OSError, ssl.SSLError, TimeoutError) as error:
            connection.close()
            self._refuse(peer, f"TLS: {reason_of(error)}")
            return
        role_word, name = _role_and_name(certificate)
        caller = Caller(
            f"cert:{name}",
            self._role(f"cert:{name}", Role.of(role_word)),
            issued_time_s=ssl.cert_time_to_seconds(certificate["notBefore"]),
            expires_time_s=ssl.cert_time_to_seconds(certificate["notAfter"]),
            serial=int(certificate["serialNumber"], 16),
            peer=peer,
        )
        await self._admit(connection, connection, caller)

    def _role(self, identity: str, otherwise: Role | None) -> Role | None:
        word = self._config.roles.get(identity)
        return Role.of(word) if word else otherwise

    def invalid(self, caller: Caller) -> str:
        """Why a certificate that was good when its connection began is so no longer; empty while it is."""
        if caller.expires_time_s and caller.expires_time_s < time.time():
            return "the certificate has expired"
        if self.tls is not None and caller.serial:
            self.tls.refresh()
            if caller.serial in self.tls.revoked:
                return "the certificate is revoked"
        return ""

    # ---- through -----------------------------------------------------------------------------------

    async def _admit(self, reader: Readable, writer: Writable, caller: Caller) -> None:
        if self._open >= self._config.connections_max:
            writer.close()
            self._refuse(caller.peer, f"{self._open} connections are open: control.connections_max")
            return
        self._number += 1
        self._open += 1
        address = f"hotctl.{os.getpid()}.{self._number}"
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            inner.bind(f"\0{address}")
            self.callers[address] = caller
            await self._loop.sock_connect(inner, self._inner)
            inner_reader, inner_writer = await asyncio.open_unix_connection(sock=inner)
            await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
        except OSError:
            inner.close()
        finally:
            self._open -= 1
            self.callers.pop(address, None)
            writer.close()

    def _refuse(self, peer: str, reason: str) -> None:
        now = time.monotonic()
        self._refusals = [at for at in self._refusals if now - at < REFUSALS_SECONDS]
        if len(self._refusals) >= REFUSALS_BURST:  # a flood must not fill the disk
            self._untold += 1
            return
        self._refusals.append(now)
        untold, self._untold = self._untold, 0
        self._told_refused(peer, reason + (f" ({untold} refusals before this one were not written)" if untold else ""))


async def _pass_on(reader: Readable, writer: Writable) -> None:
    """Bytes from one side to the other, until either ends."""
    try:
        while chunk := await reader.read(BYTES):
            writer.write(chunk)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass  # cut: the other side is told by the close
    finally:
        writer.close()


def _socket_of(writer: asyncio.StreamWriter) -> socket.socket:
    found: socket.socket = writer.get_extra_info("socket")
    return found


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _role_and_name(certificate: dict[str, Any]) -> tuple[str, str]:
    """What a certificate of our own making names; empty words where it names nothing."""
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI" and value.startswith(URI):
            role, _, name = value.removeprefix(URI).partition("/")
            return role, name
    return "", ""
