"""An engine that trades often: what tests of whole engines configure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from hotpath.config import Config, EngineConfig, FeaturesConfig, FeedConfig, SignalConfig, config_toml
from hotpath.config_risk import InstrumentRisk, RiskConfig


def busy_config(**sections: dict[str, Any]) -> Config:
    """A configuration of short windows, low thresholds and wide limits; `sections` changes single keys."""
    config = Config(
        engine=EngineConfig(name="busy"),
        signal=SignalConfig(
            features=FeaturesConfig(bar_ns=100_000_000),
            threshold=0.2,
            cooldown_ms=5,
            order_life_ms=1000,
            replace_interval_ms=2,
            position_lots_max=100_000,
        ),
        risk=RiskConfig(
            gross_value_currency_max=10_000_000_000.0,
            open_orders_max=500,
            messages_per_second_max=100_000,
            require_trading_state=False,
            defaults=InstrumentRisk(position_lots_max=100_000, order_value_currency_max=1_000_000.0),
        ),
    )
    replace = msgspec.structs.replace
    for name, changes in sections.items():
        config = replace(config, **{name: replace(getattr(config, name), **changes)})
    return config


def busy_config_file(folder: Path, **sections: dict[str, Any]) -> Path:
    """The same as a file."""
    path = folder / "busy.toml"
    path.write_text(config_toml(busy_config(**sections)))
    return path


def file_feed(path: Path, **changes: Any) -> FeedConfig:
    """A recorded feed, flat out unless told otherwise."""
    return msgspec.structs.replace(FeedConfig(kind="file", path=str(path), pace="flat"), **changes)
