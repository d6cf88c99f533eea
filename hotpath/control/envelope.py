"""The deployment envelope: what this deployment may ever touch, signed by somebody who is not at the desk.

    FILE: {"envelope": "<JSON text>", "signature": "<base64>"}      Ed25519 over the bytes of the text

It names the engine, its instruments with the largest position in each, the venues, the largest order and gross value,
and the build: the layout's hash and the compiled extension's. Its bounds are laid over [risk] when a run begins, as
limits that no desk can change (hotpath/limits/catalogue.py, `protected`), and all of it is checked again before the
engine is armed.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from ffi import _native
from ffi.dtypes import layout_hash
from hotpath.config import Config
from hotpath.config_risk import InstrumentRiskOverride
from hotpath.control.requests import write_whole
from hotpath.errors import ConfigError, EvidenceError
from hotpath.evidence.keys import load_key

FORMAT = 1
FILE_BYTES_MAX = 16 << 20
replace = msgspec.structs.replace


class Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed."""

    format: int
    engine: str
    expires: str  # ISO 8601; after it the engine is not armed
    layout_hash: str
    extension_sha256: str
    venues: tuple[str, ...]  # as venue_of names them
    order_value_currency_max: float
    gross_value_currency_max: float
    instruments: dict[str, int]  # lots, the largest |position| ever


class SignedEnvelope(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    envelope: str
    signature: str


def venue_of(config: Config) -> str:
    """The venue that a configuration trades at: "paper", or kind, host and port."""
    gateway = config.gateway
    return "paper" if gateway.kind == "paper" else f"{gateway.kind} {gateway.host}:{gateway.port}"


@cache
def extension_sha256() -> str:
    """Of the compiled extension that this process runs."""
    return hashlib.sha256(Path(str(_native.__file__)).read_bytes()).hexdigest()


def envelope_for(config: Config, symbols: list[str], *, days: int) -> Envelope:
    """What a configuration would do, as an envelope: for somebody to read, narrow, and sign."""
    limits = {symbol: config.risk.limits_of(symbol) for symbol in symbols}
    return Envelope(
        format=FORMAT,
        engine=config.engine.name,
        expires=(dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).isoformat(timespec="seconds"),
        layout_hash=f"{layout_hash():016x}",
        extension_sha256=extension_sha256(),
        venues=(venue_of(config),),
        order_value_currency_max=max((each.order_value_currency_max for each in limits.values()), default=0.0),
        gross_value_currency_max=config.risk.gross_value_currency_max,
        instruments={symbol: each.position_lots_max for symbol, each in limits.items() if not each.blocked},
    )


def sign(envelope: Envelope, *, key: Path, target: Path) -> None:
    """Write it, signed. Raises EvidenceError when the key cannot be used."""
    text = msgspec.json.format(msgspec.json.encode(envelope, order="deterministic")).decode()
    signature = base64.b64encode(load_key(key).sign(text.encode())).decode()
    write_whole(target, msgspec.json.encode(SignedEnvelope(text, signature)) + b"\n")


def read_signed(path: Path, *, public_key: Path) -> Envelope:
    """What the file says, when the key has signed it. Raises ConfigError."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise ConfigError(
            "control.envelope: it is checked with a package of its own",
            next_step="pip install 'hotpath-engine[control]'",
        ) from None
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"control.envelope: {path}: too large to be one")
        signed = msgspec.json.decode(path.read_bytes(), type=SignedEnvelope)
        key = serialization.load_pem_public_key(public_key.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"control.envelope_key: {public_key}: not an Ed25519 key")
        key.verify(base64.b64decode(signed.signature, validate=True), signed.envelope.encode())
        envelope = msgspec.json.decode(signed.envelope, type=Envelope)
    except OSError as error:
        raise ConfigError(f"control.envelope: {error.filename}: {(error.strerror or str(error)).lower()}") from None
    except InvalidSignature:
        raise ConfigError(f"control.envelope: {path}: not signed by {public_key}, or changed since") from None
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise ConfigError(f"control.envelope: {path}: no envelope: {error}") from None
    if envelope.format != FORMAT:
        raise ConfigError(f"control.envelope: {path}: of format {envelope.format}; this build reads {FORMAT}")
    return envelope


def configured_envelope(config: Config) -> Envelope | None:
    """The one that the configuration names; None where it names none. Raises ConfigError."""
    control = config.control
    if not control.envelope:
        return None
    return read_signed(Path(control.envelope), public_key=Path(control.envelope_key))


def under_envelope(config: Config) -> Config:
    """The configuration with the envelope's bounds as limits that no desk can change. Raises ConfigError."""
    envelope = configured_envelope(config)
    if envelope is None:
        return config
    risk = config.risk
    instruments = dict(risk.instruments)
    for symbol, lots in envelope.instruments.items():
        own = instruments.get(symbol, InstrumentRiskOverride())
        instruments[symbol] = replace(own, outside_envelope=False, envelope_lots_max=lots)
    for symbol in instruments.keys() - envelope.instruments.keys():
        instruments[symbol] = replace(instruments[symbol], outside_envelope=True)
    firm = replace(
        risk.firm,
        envelope_order_value_currency_max=envelope.order_value_currency_max,
        envelope_gross_value_currency_max=envelope.gross_value_currency_max,
    )
    defaults = replace(risk.defaults, outside_envelope=True)
    return replace(config, risk=replace(risk, firm=firm, defaults=defaults, instruments=instruments))


def envelope_missing(config: Config) -> list[str]:
    """Why the envelope keeps this run from being armed; empty when it does not, or there is none."""
    try:
        envelope = configured_envelope(config)
    except (ConfigError, EvidenceError) as error:
        return [f"envelope: {error}"]
    if envelope is None:
        return []
    found = []
    if envelope.engine != config.engine.name:
        found.append(f"it is for engine {envelope.engine}")
    if dt.datetime.fromisoformat(envelope.expires) <= dt.datetime.now(dt.UTC):
        found.append(f"it expired at {envelope.expires}")
    if envelope.layout_hash != f"{layout_hash():016x}":
        found.append(f"it is for layout {envelope.layout_hash}, this is {layout_hash():016x}")
    if envelope.extension_sha256 != extension_sha256():
        found.append(f"it is for the build {envelope.extension_sha256[:16]}, this is {extension_sha256()[:16]}")
    if venue_of(config) not in envelope.venues:
        found.append(f"it does not allow the venue {venue_of(config)}")
    if under_envelope(config).risk != config.risk:
        found.append("the run began with other bounds than it says: start the engine again")
    return [f"envelope: {each}" for each in found]
