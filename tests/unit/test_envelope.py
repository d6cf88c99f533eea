"""The deployment envelope: signed, laid over the limits, and in the way of arming when anything differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hotpath.config import Config
from hotpath.config_control import ControlConfig
from hotpath.control.envelope import (
    SignedEnvelope,
    envelope_for,
    envelope_missing,
    read_signed,
    sign,
    under_envelope,
)
from hotpath.errors import ConfigError, LimitsError
from hotpath.evidence.keys import new_key
from hotpath.limits.page import configured

replace = msgspec.structs.replace


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "officer.pem")
    return tmp_path / "officer.pem"


def signed(tmp_path: Path, key: Path, **changes: Any) -> Config:
    """A configuration that names an envelope of GOOG and MSFT."""
    control = ControlConfig(envelope=str(tmp_path / "envelope"), envelope_key=f"{key}.pub")
    config = replace(Config(), control=control)
    envelope = replace(envelope_for(config, ["GOOG", "MSFT"], days=1), **changes)
    sign(envelope, key=key, target=tmp_path / "envelope")
    return config


def test_a_run_under_its_envelope_may_be_armed(tmp_path: Path, key: Path) -> None:
    config = under_envelope(signed(tmp_path, key, instruments={"GOOG": 7}))
    assert envelope_missing(config) == []
    copy = configured(config.risk, ["GOOG", "AAPL"])
    assert copy.get("instrument.GOOG.envelope_lots_max") == 7 and copy.get("instrument.AAPL.outside_envelope") is True
    assert copy.get("instrument.GOOG.outside_envelope") is False
    assert copy.get("firm.envelope_gross_value_currency_max") == config.risk.gross_value_currency_max
    with pytest.raises(LimitsError, match="signed"):
        copy.set("instrument.GOOG.envelope_lots_max", 8)


def test_no_envelope_is_in_nobodys_way() -> None:
    assert under_envelope(Config()) == Config() and envelope_missing(Config()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "another"}, "for engine another"),
        ({"expires": "2020-01-01T00:00:00+00:00"}, "expired"),
        ({"layout_hash": "0" * 16}, "for layout"),
        ({"extension_sha256": "0" * 64}, "for the build"),
        ({"venues": ("ouch50 venue:1",)}, "does not allow the venue paper"),
    ],
)
def test_what_differs_keeps_the_engine_unarmed(tmp_path: Path, key: Path, changes: dict[str, Any], words: str) -> None:
    (reason,) = envelope_missing(under_envelope(signed(tmp_path, key, **changes)))
    assert words in reason


def test_a_run_that_did_not_begin_under_it_is_not_armed(tmp_path: Path, key: Path) -> None:
    (reason,) = envelope_missing(signed(tmp_path, key))
    assert "began with other bounds" in reason


@pytest.mark.parametrize("change", ["text", "signature", "key", "missing", "nonsense", "format"])
def test_an_envelope_that_was_changed_is_none(tmp_path: Path, key: Path, change: str) -> None:
    config = signed(tmp_path, key, **({"format": 2} if change == "format" else {}))
    path = tmp_path / "envelope"
    found = msgspec.json.decode(path.read_bytes(), type=SignedEnvelope)
    if change == "text":
        found = replace(found, envelope=found.envelope.replace("1000", "9000", 1))
        path.write_bytes(msgspec.json.encode(found))
    elif change == "signature":
        path.write_bytes(msgspec.json.encode(replace(found, signature="A" * 88)))
    elif change == "key":
        (tmp_path / "other").mkdir()
        new_key(tmp_path / "other" / "key")
        config = replace(config, control=replace(config.control, envelope_key=str(tmp_path / "other" / "key.pub")))
    elif change == "missing":
        path.unlink()
    elif change == "nonsense":
        path.write_bytes(b"{}")
    with pytest.raises(ConfigError):
        under_envelope(config)
    assert envelope_missing(config)


def test_what_is_signed_is_what_is_read(tmp_path: Path, key: Path) -> None:
    signed(tmp_path, key)
    envelope = read_signed(tmp_path / "envelope", public_key=Path(f"{key}.pub"))
    assert set(envelope.instruments) == {"GOOG", "MSFT"}
