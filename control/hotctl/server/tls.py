"""Mutual TLS at the door: its files, and a connection whose refusal is told to the other side.

    bytes of the network -> BIO in -> SSLObject -> BIO out -> bytes of the network

asyncio's own TLS closes a connection whose handshake fails before the alert has left, so that an operator would learn
no more than "closed". Here the alert leaves first, and its reason goes to the audit log.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from hotpath.errors import StageError

TLS_FILES = ("ca.pem", "server.pem", "server.key", "crl.pem")
BYTES = 64 << 10  # of one read
HANDSHAKE_SECONDS = 5.0


class TlsMaterial:
    """The files of mutual TLS, read again when they have changed; broken ones leave the last good in force."""

    def __init__(self, folder: Path) -> None:
        """Raises StageError when they cannot be used."""
        self.folder = folder
        self.revoked: frozenset[int] = frozenset()
        self.trouble = ""
        self._stamp = self._look()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """What the next connection is accepted with."""
        self.refresh()
        return self._context

    def refresh(self) -> None:
        """Take up what has changed."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._context, self._stamp, self.trouble = self._load(), stamp, ""
        except StageError as error:
            self.trouble = str(error)

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        found: list[tuple[int, int] | None] = []
        for name in TLS_FILES:
            try:
                status = (self.folder / name).stat()
                found.append((status.st_mtime_ns, status.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # no session is resumed past a revocation
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        revoked: frozenset[int] = frozenset()
        try:
            context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
            context.load_verify_locations(self.folder / "ca.pem")
            if (self.folder / "crl.pem").exists():
                context.load_verify_locations(self.folder / "crl.pem")
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
                revoked = _revoked(self.folder / "crl.pem")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise StageError(
                f"control.tls_dir: {self.folder}: {error}", next_step="hotctl certs init DIR makes what is needed"
            ) from None
        self.revoked = revoked
        return context


class TlsConnection:
    """One accepted connection: decrypted bytes in, bytes to be encrypted out."""

    def __init__(self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> dict[str, Any]:
        """Returns the other side's certificate. Raises SSLError, OSError or TimeoutError, once the alert has left."""
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            while True:
                try:
                    self._tls.do_handshake()
                    await self._flush()
                    return dict(self._tls.getpeercert() or {})
                except ssl.SSLWantReadError:
                    await self._flush()
                    if not await self._receive():
                        raise ConnectionResetError("the other side left") from None
                except ssl.SSLError:
                    await self._flush()
                    raise

    async def read(self, count: int) -> bytes:
        """Some bytes; none at the end. Raises OSError."""
        while True:
            try:
                return self._tls.read(count)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    def write(self, content: bytes) -> None:
        """Have bytes sent; `drain` waits for them."""
        self._tls.write(content)

    async def drain(self) -> None:
        """Until the network took what was written."""
        await self._flush()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _receive(self) -> bool:
        found = await self._reader.read(BYTES)
        self._incoming.write(found)
        return bool(found)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
        await self._writer.drain()


def reason_of(error: BaseException) -> str:
    """Why a handshake failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return f"no handshake within {HANDSHAKE_SECONDS:g} s"
    return f"the handshake was cut: {error}".rstrip(": ")


def _revoked(path: Path) -> frozenset[int]:
    from cryptography import x509

    return frozenset(each.serial_number for each in x509.load_pem_x509_crl(path.read_bytes()))
