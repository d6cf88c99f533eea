"""A private certificate authority of one engine or one desk: mutual TLS by one command.

    DIR/ca.key  ca.pem  issued.json         the authority: keep ca.key off the engine's host if you can
    DIR/server/ca.pem  server.pem  server.key  crl.pem      [control] tls_dir of the engine
    DIR/NAME/ca.pem    client.pem  client.key               tls_dir of NAME's profile

A client's certificate names its role and its owner as a URI, hotctl:ROLE/NAME, which the engine believes because the
authority signed it. Keys are ECDSA over P-256, made where they are written, mode 0600. Source: RFC 5280.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import ipaddress
import os
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hotctl.errors import UsageError
from hotpath.control.requests import write_whole

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
ROLES = ("viewer", "operator", "risk_officer", "admin")
CA_DAYS = 3650
SERVER_DAYS = 825
BACKDATED = dt.timedelta(minutes=5)  # for clocks that are a little behind


class Issued(Struct):
    """One certificate that the authority signed."""

    name: str
    role: str  # "server" for the engine's own
    serial: str  # hexadecimal
    issued: str  # ISO 8601
    expires: str
    revoked: str = ""  # when; empty while it is good


class Authority:
    """The authority in one folder."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError when the packages are missing."""
        if importlib.util.find_spec("cryptography") is None:
            raise UsageError(
                "certificates need packages of their own", next_step="pip install 'hotpath-engine[control]'"
            )
        self.folder = folder

    # ---- verbs -------------------------------------------------------------------------------------

    def init(self, hosts: list[str]) -> None:
        """Make the authority, and the server's certificate for its names and addresses. Raises UsageError."""
        from cryptography import x509

        if (self.folder / "ca.key").exists():
            raise UsageError(
                f"{self.folder}: an authority is there already", next_step="hotctl certs show DIR lists what it signed"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _new_key()
        name = _name("hotctl authority")
        now = _now()
        certificate = (
            self._builder(name, name, key.public_key(), now, days=CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, _sha256())
        )
        _write(self.folder / "ca.key", _key_bytes(key), secret=True)
        _write(self.folder / "ca.pem", _pem(certificate))
        self._keep([])
        self._server(hosts or ["localhost", "127.0.0.1"])
        self._write_revocations()

    def issue(self, name: str, role: str, *, days: int) -> Path:
        """Sign a certificate for one person or program; returns its folder. Raises UsageError."""
        from cryptography import x509

        if not NAME.fullmatch(name) or name == "server":
            raise UsageError(f"{name!r}: a name of letters, digits, '_', '.' and '-', and not server")
        if role not in ROLES:
            raise UsageError(f"role {role!r}: one of {', '.join(ROLES)}")
        if any(each.name == name and not each.revoked for each in self.issued()):
            raise UsageError(
                f"{name} has a certificate that is good", next_step=f"hotctl certs revoke {self.folder} {name}"
            )
        target = self.folder / name
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"hotctl:{role}/{name}")])
        self._sign(target, "client", f"{role}/{name}", uri, days=days, role=role, name=name, client=True)
        return target

    def revoke(self, name: str) -> Issued:
        """Take a certificate back: the engine refuses it from its next look at crl.pem on. Raises UsageError."""
        issued = self.issued()
        found = [each for each in issued if each.name == name and not each.revoked]
        if not found:
            raise UsageError(f"{name} has no certificate that is good")
        found[-1].revoked = _now().isoformat()
        self._keep(issued)
        self._write_revocations()
        return found[-1]

    def renew_server(self, hosts: list[str]) -> None:
        """A new certificate for the server; taken up without a restart."""
        self._server(hosts)

    def issued(self) -> list[Issued]:
        """Everything that was signed, oldest first. Raises UsageError when there is no authority."""
        try:
            return msgspec.json.decode((self.folder / "issued.json").read_bytes(), type=list[Issued])
        except FileNotFoundError:
            raise UsageError(
                f"{self.folder}: no authority is there", next_step="hotctl certs init DIR makes one"
            ) from None

    # ---- how ---------------------------------------------------------------------------------------

    def _server(self, hosts: list[str]) -> None:
        from cryptography import x509

        names: list[Any] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        alternative = x509.SubjectAlternativeName(names)
        folder = self.folder / "server"
        self._sign(
            folder, "server", hosts[0], alternative, days=SERVER_DAYS, role="server", name="server", client=False
        )

    def _sign(
        self, folder: Path, stem: str, subject: str, alternative: Any, *, days: int, role: str, name: str, client: bool
    ) -> None:
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID

        authority, signing_key = self._authority()
        key, now = _new_key(), _now()
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate = (
            self._builder(_name(subject), authority.subject, key.public_key(), now, days=days)
            .add_extension(alternative, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
            .sign(signing_key, _sha256())
        )
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(folder / "ca.pem", (self.folder / "ca.pem").read_bytes())
        _write(folder / f"{stem}.key", _key_bytes(key), secret=True)
        _write(folder / f"{stem}.pem", _pem(certificate))
        expires = now + dt.timedelta(days=days)
        entry = Issued(name, role, f"{certificate.serial_number:x}", now.isoformat(), expires.isoformat())
        self._keep([*self.issued(), entry])

    def _builder(self, subject: Any, issuer: Any, public_key: Any, now: dt.datetime, *, days: int) -> Any:
        from cryptography import x509

        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    def _authority(self) -> tuple[Any, Any]:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            certificate = x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())
            return certificate, load_pem_private_key((self.folder / "ca.key").read_bytes(), password=None)
        except FileNotFoundError as error:
            raise UsageError(
                f"{error.filename}: not there", next_step="hotctl certs init DIR makes an authority"
            ) from None

    def _write_revocations(self) -> None:
        from cryptography import x509

        authority, key = self._authority()
        now = _now()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(now - BACKDATED)
            .next_update(authority.not_valid_after_utc)  # the list stands until it is written anew
        )
        for each in self.issued():
            if each.revoked:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(int(each.serial, 16))
                    .revocation_date(dt.datetime.fromisoformat(each.revoked))
                    .build()
                )
        _write(self.folder / "server" / "crl.pem", _pem(builder.sign(key, _sha256())))

    def _keep(self, issued: list[Issued]) -> None:
        _write(self.folder / "issued.json", msgspec.json.format(msgspec.json.encode(issued)) + b"\n")


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _name(common: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, signs_certificates: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_bytes(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found


def _pem(thing: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    found: bytes = thing.public_bytes(Encoding.PEM)
    return found


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    before = os.umask(0o177 if secret else 0o133)
    try:
        write_whole(path, content)
    finally:
        os.umask(before)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
