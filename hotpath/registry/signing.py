"""Signatures of manifests: Ed25519 over manifest.json as it is, with the keys of hotpath.evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hotpath.errors import EvidenceError
from hotpath.evidence.keys import load_key, public_pem
from hotpath.evidence.verify import fingerprint, raw_key
from hotpath.registry.errors import RegistryError
from hotpath.registry.manifest import Signer

SIGNATURE_BYTES = 64


def signer_of(key_path: Path, name: str) -> Signer:
    """What a manifest says of who signs it. Raises EvidenceError."""
    return Signer(name=name, fingerprint=fingerprint(public_pem(load_key(key_path))))


def sign(data: bytes, key_path: Path) -> bytes:
    """64 bytes. Raises EvidenceError for a key that cannot be used."""
    return load_key(key_path).sign(data)


def verified_by(data: bytes, signature: bytes, keys: Sequence[Path]) -> str:
    """Fingerprint of the first key that made the signature; empty: none did. Raises RegistryError, EvidenceError."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise EvidenceError(
            "signatures are checked with the package cryptography, which is not installed",
            next_step="pip install 'hotpath-engine[evidence]'",
        ) from None
    for path in keys:
        try:
            pem = path.read_bytes()
            key = Ed25519PublicKey.from_public_bytes(raw_key(pem))
        except (OSError, ValueError) as error:
            raise RegistryError(
                f"registry.keys: {path}: is no public key: {error}",
                next_step="hotpath evidence --new-key FILE makes one",
            ) from None
        try:
            key.verify(signature, data)
        except InvalidSignature:
            continue
        return fingerprint(pem)
    return ""
