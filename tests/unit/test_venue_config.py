"""The simulator's configuration: what it takes and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotpath.errors import ConfigError
from hotpath.venues import SimulatorConfig, load_simulator_config
from hotpath.venues.__main__ import parse


def test_a_toml_file_gives_what_it_says_and_defaults_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "venue.toml"
    path.write_text('seed = 9\nsymbols = ["AAPL"]\n[[accounts]]\nusername = "ME"\nprotocol = "ouch42"\n')
    config = parse(["--config", str(path), "--set", "tick_us=100", "--set", "start=login"])
    assert (config.seed, config.symbols, config.tick_us, config.start) == (9, ["AAPL"], 100, "login")
    assert config.accounts[0].protocol == "ouch42" and config.market == "crowd"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sed = 1", "sed"),
        ('seed = "one"', "seed"),
        ("store_bytes = 100000", "store_bytes"),
        ('market = "recording"', "recording"),
        ('trading_date = "2026-13-01"', "trading_date"),
        ('time_zone = "Nowhere/Land"', "time_zone"),
        ('symbols = ["A", "A"]', "symbols"),
        ("feed_port = 9000\nfeed_b_port = 9000", "feed_b_port"),
        ('[[accounts]]\nusername = "A"\n[[accounts]]\nusername = "a"', "accounts"),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "venue.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_simulator_config(path)


def test_midnight_is_that_of_the_venue() -> None:
    summer, winter = (SimulatorConfig(trading_date=day).midnight_ns for day in ("2026-07-01", "2026-11-20"))
    assert summer % 86_400_000_000_000 == 4 * 3_600_000_000_000
    assert winter % 86_400_000_000_000 == 5 * 3_600_000_000_000
