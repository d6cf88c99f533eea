"""The verb ``hotpath evidence``: make a key, make a pack, or verify one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hotpath.errors import EvidenceError
from hotpath.evidence.keys import INSTALL, new_key, public_path
from hotpath.evidence.pack import day_number, export_evidence, journals_of
from hotpath.evidence.verify import verify_pack
from hotpath.evidence.view import print_verdict

PLACES = ("var", "out")  # where runs leave their journals, beside where the command is given


def run_evidence(
    day: str,
    *,
    journals: list[Path],
    key: Path | None,
    out: Path | None,
    new: Path | None,
    verify: Path | None,
    public_key: Path | None,
    json: bool,
) -> int:
    """Do what the options ask for; returns the exit code: 1 when a pack is not good. Raises EvidenceError."""
    if new is not None:
        told = {"key": str(new), "public_key": str(public_path(new)), "fingerprint": new_key(new)}
        text = f"{new}: a new key, for you alone\n{public_path(new)}: for whoever verifies\n  {told['fingerprint']}"
        print(msgspec.json.encode(told).decode() if json else text)
        return 0
    if verify is not None:
        return _verify(verify, public_key, json=json)
    if not day:
        raise EvidenceError(
            "no day is named", next_step="hotpath evidence 2026-11-20 --key FILE; hotpath evidence --help"
        )
    if key is None:
        raise EvidenceError(
            "no key is named to sign with", next_step="--key FILE; make one with: hotpath evidence --new-key FILE"
        )
    number = day_number(day)
    places = journals or [folder for place in PLACES for folder in sorted(Path(place).glob("*"))]
    target = out or Path(f"evidence-{number}.zip")
    verdict = export_evidence(number, journals_of(number, places), key_path=key, out=target)
    print_verdict(verdict, json=json, what="written and verified")
    return 0 if verdict.good else 1


def _verify(pack: Path, public_key: Path | None, *, json: bool) -> int:
    try:
        trusted = public_key.read_bytes() if public_key is not None else None
    except OSError as error:
        raise EvidenceError(f"{public_key}: cannot be read: {error.strerror}") from None
    try:
        verdict = verify_pack(pack, trusted)
    except ImportError:
        raise EvidenceError("a signature is verified with the package cryptography", next_step=INSTALL) from None
    print_verdict(verdict, json=json, what="verified")
    return 0 if verdict.good else 1
