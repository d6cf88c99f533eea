"""The key that signs evidence: Ed25519, its secret half readable by its owner alone.

hotpath evidence --new-key desk.pem      makes desk.pem and desk.pem.pub; give the second to whoever verifies
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hotpath.errors import EvidenceError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INSTALL = "pip install 'hotpath-engine[evidence]'"
PRIVATE = 0o600


def new_key(path: Path) -> str:
    """Make a key and, beside it, its public half; returns the fingerprint. An existing file is never overwritten."""
    _require()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for target, data, mode in ((path, secret, PRIVATE), (public_path(path), public_pem(key), 0o644)):
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            raise EvidenceError(
                f"{target}: is there already: a key is not overwritten",
                next_step="choose another name, or move it away",
            ) from None
        except OSError as error:
            raise EvidenceError(f"{target}: cannot be written: {error.strerror}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    from hotpath.evidence.verify import fingerprint

    return fingerprint(public_pem(key))


def public_path(path: Path) -> Path:
    """Where the public half of a key lies."""
    return path.with_name(f"{path.name}.pub")


def load_key(path: Path) -> Ed25519PrivateKey:
    """A key from its file. Raises EvidenceError when it is none, or when others may read it."""
    _require()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise EvidenceError(
            f"{path}: the key cannot be read: {error.strerror}", next_step="make one: hotpath evidence --new-key FILE"
        ) from None
    if mode & 0o077:
        raise EvidenceError(f"{path}: others may read this key", next_step=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise EvidenceError(f"{path}: is no key that can be used here") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError(f"{path}: is not an Ed25519 key", next_step="make one: hotpath evidence --new-key FILE")
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half, as PEM."""
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _require() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise EvidenceError(
            "evidence is signed with the package cryptography, which is not installed", next_step=INSTALL
        ) from None
