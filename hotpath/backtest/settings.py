"""``--set``: a configuration with other values, checked as the file's own are.

risk.defaults.collar_ppm_max=5000        any key of the configuration, by its dotted name
limits.collar_ppm_max=5000               a limit, of every instrument or of the engine: the same as under risk
limits.GOOG.position_lots_max=100        of one instrument
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hotpath.config import Config, FeeConfig, config_toml, parse_config
from hotpath.config_risk import InstrumentRisk, RiskConfig, ScopeRisk, TraderRisk
from hotpath.errors import ConfigError

HOW = "give it as --set KEY=VALUE, as in --set limits.position_lots_max=100"
ENGINE_LIMITS = {field.name for field in msgspec.structs.fields(RiskConfig)} - {"defaults", "instruments"}
FEES = {field.name for field in msgspec.structs.fields(FeeConfig)}
SCOPE_LIMITS = {field.name for field in msgspec.structs.fields(ScopeRisk)}
TRADER_LIMITS = {field.name for field in msgspec.structs.fields(TraderRisk)}
OPEN_TABLES = [["risk", "instruments"], ["risk", "accounts"], ["risk", "strategies"], ["fees"]]
INSTRUMENT_LIMITS = {field.name for field in msgspec.structs.fields(InstrumentRisk)}


def with_settings(config: Config, settings: Sequence[str]) -> Config:
    """The configuration with each "key=value" of `settings`. Raises ConfigError naming the one that is wrong."""
    document = msgspec.to_builtins(config)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {setting}: no value", next_step=HOW)
        _put(document, full_key(key.strip()), _value(value.strip()), setting)
        try:
            msgspec.convert(document, Config)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0]
            raise ConfigError(f"--set {setting}: {reason[:1].lower()}{reason[1:]}") from None
    return parse_config(config_toml(msgspec.convert(document, Config)), source=Path("--set"))


def full_key(key: str) -> str:
    """The configuration's own name of a key: limits have a shorter one."""
    section, _, rest = key.partition(".")
    if section != "limits" or not rest:
        return key
    if rest in ENGINE_LIMITS:
        return f"risk.{rest}"
    symbol, _, limit = rest.rpartition(".")
    if not symbol:
        return f"risk.defaults.{limit}"
    return f"risk.{rest}" if symbol in ("defaults",) else f"risk.instruments.{symbol}.{limit}"


def _value(text: str) -> Any:
    """As JSON says it; what is none is text."""
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text


def _put(document: dict[str, Any], key: str, value: Any, setting: str) -> None:
    """Set one key of a nested table. Only scopes with limits of their own and venues' fees may be new."""
    table: Any = document
    parts = key.split(".")
    for depth, part in enumerate(parts[:-1]):
        if isinstance(table, dict) and part not in table and parts[:depth] in OPEN_TABLES:
            table[part] = {}
        if parts[: depth + 1] == ["risk", "venue"] and table[part] is None:
            table[part] = {}
        if not isinstance(table, dict) or part not in table:
            raise ConfigError(f"--set {setting}: there is no {key}{_nearest(document, key)}", next_step=HOW)
        table = table[part]
    open_table = parts[:2] == ["risk", "instruments"] and parts[-1] in INSTRUMENT_LIMITS
    open_table |= parts[:-2] in OPEN_TABLES[1:3] and parts[-1] in TRADER_LIMITS
    open_table |= parts[:-1] == ["risk", "venue"] and parts[-1] in SCOPE_LIMITS
    open_table |= parts[0] == "fees" and parts[-1] in FEES
    if not isinstance(table, dict) or (parts[-1] not in table and not open_table):
        raise ConfigError(f"--set {setting}: there is no {key}{_nearest(document, key)}", next_step=HOW)
    table[parts[-1]] = value


def _nearest(document: dict[str, Any], key: str) -> str:
    """Advice for a misspelt key."""
    near = difflib.get_close_matches(key, list(_keys(document, "")), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _keys(table: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
