"""Verify an evidence pack offline: with this one file, Python, and the package `cryptography`; nothing of hotpath.

python verify.py evidence.zip signer.pem.pub
hotpath evidence --verify evidence.zip --public-key signer.pem.pub

signature    of manifest.json, by the key given; without one by the key in the pack, which proves only that the
             pack is in itself unchanged: compare its fingerprint by another way
files        exactly those that the manifest names, each with its SHA-256 and length
orders       each line of orders.jsonl names the SHA-256 of the line before: none was taken out or put in
layout       the text of the layout hashes to what the manifest says of the build
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "manifest.sig", "public_key.pem"
FORMAT = "hotpath evidence 1"
CHAIN_SEED = hashlib.sha256(b"hotpath orders 1").hexdigest()
BYTES_MAX = 4 << 30  # of all files together, unpacked: a pack from outside may lie about its size
PEM_BEGIN, PEM_END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: an Ed25519 public key is the 32 bytes behind it


@dataclass
class Verdict:
    """What was looked at, and what is wrong with it."""

    pack: str
    fingerprint: str = ""
    key_given: bool = False
    signed: bool = False
    files: int = 0
    orders: int = 0
    day: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Signed, whole, and unchanged."""
        return self.signed and not self.problems


def verify_pack(path: Path, public_key: bytes | None = None) -> Verdict:
    """Check a pack. `public_key`: PEM, of whom the caller trusts. Never raises for what is in the pack."""
    verdict = Verdict(str(path), key_given=public_key is not None)
    try:
        with zipfile.ZipFile(path) as pack:
            _verify(pack, verdict, public_key)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        verdict.problems.append(f"cannot be read: {error}")
    return verdict


def _verify(pack: zipfile.ZipFile, verdict: Verdict, public_key: bytes | None) -> None:
    names = [info.filename for info in pack.infolist()]
    if len(set(names)) < len(names):
        verdict.problems.append("a name stands in it twice")
        return
    if sum(info.file_size for info in pack.infolist()) > BYTES_MAX:
        verdict.problems.append(f"it would unpack to more than {BYTES_MAX:,} bytes")
        return
    manifest_bytes = pack.read(MANIFEST)
    key = public_key if public_key is not None else pack.read(PUBLIC_KEY)
    verdict.fingerprint = fingerprint(key)
    verdict.signed = signature_holds(key, bytes.fromhex(pack.read(SIGNATURE).decode().strip()), manifest_bytes)
    if not verdict.signed:
        verdict.problems.append("the signature is not that key's over this manifest")
    manifest: dict[str, Any] = json.loads(manifest_bytes)
    if manifest.get("format") != FORMAT:
        verdict.problems.append(f"is of format {manifest.get('format')!r}, this verifies {FORMAT!r}")
        return
    verdict.day = str(manifest["day"])
    _verify_files(pack, names, manifest, verdict)
    for name in sorted(manifest["files"]):
        if name.endswith("orders.jsonl") and name in names:
            verdict.orders += _verify_chain(pack.read(name), manifest["chains"].get(name, ""), name, verdict)
        if name.endswith("layout.txt") and name in names:
            digest = hashlib.sha256(pack.read(name)).digest()[:8]
            if int.from_bytes(digest, "little") != int(manifest["build"]["layout_hash"], 16):
                verdict.problems.append(f"{name}: does not hash to the layout that the manifest names")


def _verify_files(pack: zipfile.ZipFile, names: list[str], manifest: dict[str, Any], verdict: Verdict) -> None:
    told: dict[str, dict[str, Any]] = manifest["files"]
    for name in sorted(set(names) - set(told) - {MANIFEST, SIGNATURE, PUBLIC_KEY}):
        verdict.problems.append(f"{name}: the manifest does not know it")
    for name, what in sorted(told.items()):
        if name not in names:
            verdict.problems.append(f"{name}: is missing")
            continue
        data = pack.read(name)
        verdict.files += 1
        if len(data) != what["bytes"] or hashlib.sha256(data).hexdigest() != what["sha256"]:
            verdict.problems.append(f"{name}: is not what was signed")


def _verify_chain(data: bytes, head: str, name: str, verdict: Verdict) -> int:
    """Walk the order events; returns how many. Each line is hashed as it stands."""
    previous, count = CHAIN_SEED, 0
    for line in data.splitlines():
        count += 1
        if json.loads(line)["previous"] != previous:
            verdict.problems.append(f"{name}: line {count}: the chain is broken")
            return count
        previous = hashlib.sha256(line).hexdigest()
    if previous != head:
        verdict.problems.append(f"{name}: the chain does not end where the manifest says")
    return count


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a public key, as people compare it."""
    try:
        digest = hashlib.sha256(raw_key(pem)).hexdigest()
    except ValueError:
        return "no Ed25519 public key"
    return ":".join(digest[place : place + 4] for place in range(0, 32, 4))


def raw_key(pem: bytes) -> bytes:
    """The 32 bytes of a PEM public key. Raises ValueError when it is not an Ed25519 one."""
    begin, end = pem.find(PEM_BEGIN), pem.find(PEM_END)
    if begin < 0 or end < begin:
        raise ValueError("no PEM public key")
    try:
        der = base64.b64decode(b"".join(pem[begin + len(PEM_BEGIN) : end].split()), validate=True)
    except binascii.Error:
        raise ValueError("no PEM public key") from None
    if len(der) != len(SPKI_PREFIX) + 32 or not der.startswith(SPKI_PREFIX):
        raise ValueError("not an Ed25519 public key")
    return der[len(SPKI_PREFIX) :]


def signature_holds(pem: bytes, signature: bytes, message: bytes) -> bool:
    """Whether this key signed this message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(raw_key(pem)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def main(arguments: list[str]) -> int:
    """PACK [PUBLIC_KEY]: prints the verdict; the exit code is 0 when it is good."""
    if len(arguments) not in (1, 2):
        print("usage: python verify.py PACK [PUBLIC_KEY]", file=sys.stderr)
        return 64
    key = Path(arguments[1]).read_bytes() if len(arguments) == 2 else None
    verdict = verify_pack(Path(arguments[0]), key)
    by = "by the key given" if verdict.key_given else "by the key in the pack: compare its fingerprint by another way"
    print(f"{verdict.pack}: trading day {verdict.day}, {verdict.files} files, {verdict.orders} order events")
    print(f"  key {verdict.fingerprint}, {by}")
    for problem in verdict.problems:
        print(f"  {problem}")
    print("  good: signed, whole and unchanged" if verdict.good else "  NOT GOOD")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
