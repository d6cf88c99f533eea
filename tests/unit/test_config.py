"""hotpath/config.py: what a configuration file may say, and how it is told that it may not."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ffi import ffi, lib
from ffi.freshness import ROOM
from hotpath.config import (
    Config,
    FeaturesConfig,
    GatewayConfig,
    ScalesConfig,
    WeightsConfig,
    config_toml,
    load_config,
    parse_config,
)
from hotpath.errors import ConfigError

FILE = Path("engine.toml")
STRATEGY = '[[strategies]]\nname = "s"\naccount = 1\nstrategy = 9\nclass = "s.py:S"\n'


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source=FILE)
    return str(caught.value)


def test_empty_file_is_the_defaults_and_they_are_safe() -> None:
    config = parse_config("", source=FILE)
    assert config.feed.kind == "none"
    assert config.gateway.kind == "paper"
    assert config.risk.gross_value_micros_max == 1_000_000 * 1_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[engine]\ntopolgy = "fused"', "engine.toml:2: engine.topolgy: unknown key (did you mean topology?)"),
        ("[engin]", "engine.toml:1: engin: unknown key (did you mean engine?)"),
        ("speed = 1", "engine.toml:1: speed: unknown key"),
        (
            '[engine]\n\ntopology = "fuse"',
            "engine.toml:3: engine.topology: bad value 'fuse' (one of: split, paired, fused)",
        ),
        ('[feed]\nport = "a"', "engine.toml:2: feed.port: expected `int`, got `str`"),
        ("[feed]\nport = 0", "engine.toml:2: feed.port: expected `int` >= 1, got 0"),
        ("[risk]\ngross_value_currency_max = nan", "expected `float` >= 0.0, got nan"),
        ("[risk]\ngross_value_currency_max = inf", "got inf"),
        (
            '[feed]\nkind = "zmq"',
            'engine.toml: ingress.senders: feed.kind = "zmq" needs the names of those who may push',
        ),
        ('[ingress]\nsenders = ["a", "a"]', "engine.toml: ingress.senders: a name stands there twice"),
        ('[ingress]\nsenders = ["a name"]', "engine.toml:2: ingress.senders"),
        ('[ingress]\nendpoint = "tcp://*:1"', 'engine.toml: ingress.endpoint: "tcp://*:1" is not an ipc://PATH'),
        ('[tap]\nendpoint = "tcp://*:1"', 'engine.toml: tap.endpoint: "tcp://*:1" is not an ipc://PATH'),
        ('[tap]\nendpoint = "ipc://@tap"', 'engine.toml: tap.endpoint: "ipc://@tap" names no file'),
        ('[tap]\nendpoint = "ipc://*"', 'engine.toml: tap.endpoint: "ipc://*" names no file'),
        ('[ingress]\nendpoint = "ipc://"', 'engine.toml: ingress.endpoint: "ipc://" names no file'),
        ("[gateway]\ncancel_on_disconnect = true", "engine.toml:2: gateway.cancel_on_disconnect: unknown key"),
        (
            f"[engine]\nhang_ms = 200\n{STRATEGY}budget_ms = 200",
            "engine.toml: strategies.s.budget_ms: must be below engine.hang_ms (200)",
        ),
        (
            f"[engine]\nhang_ms = 1000\n{STRATEGY}budget_ms = 0",
            "engine.toml: strategies.s.heartbeat_ms: must be below engine.hang_ms (1000)",
        ),
        ("[tap]\ninterval_ms = 0", "engine.toml:2: tap.interval_ms: expected `int` >= 1, got 0"),
        ("[rings]\nnorm = 100", "engine.toml: rings.norm: 100 is not a power of two"),
        (
            '[feed]\naddress = "239.1.1.1"\nport = 9000\nb_address = "239.1.1.1"\nb_port = 9000',
            "engine.toml: feed.b_port: the second line is the first one: give it an address or a port of its own",
        ),
        (
            '[feed]\nrerequest2_host = "127.0.0.1"',
            "engine.toml: feed.rerequest2_host: a second server needs a first one: set feed.rerequest_host",
        ),
        ("[feed]\nreceive_batch = 33", "feed.receive_batch: expected `int` <= 32, got 33"),
        (
            "[risk.instruments.A]\n[risk.instruments.AAPL]\nposition_lots_max = -1",
            "engine.toml:3: risk.instruments.AAPL.position_lots_max: expected `int` >= 0, got -1",
        ),
        ("[risk.instruments.A]\nposition = 3", "engine.toml:2: risk.instruments.A.position: unknown key"),
        ("[engine]\ncpus = [1, -2]", "engine.toml:2: engine.cpus[1]: expected `int` >= 0"),
        ("[engine]\ncpus = []", "engine.cpus: names no processor"),
        ('[feed]\nkind = "file"', "feed.path: "),
        ("[signal.features]\nbar_trades = 10", "signal.features.bar_ns: exactly one"),
        ("[signal.features]\nsma_fast = 20", "signal.features.sma_fast: must be below sma_slow (20)"),
        ("[signal.weights]\nmicroprice = 0\nmomentum = 0\nreversion = 0", "signal.weights: every weight is 0"),
        ('[gateway]\nkind = "ouch50"', "gateway.username: "),
        ('[gateway]\npassword_env = "A"\npassword_file = "b"', "only one may name the secret"),
        ("[gateway]\ntimeout_ms = 1000", "gateway.timeout_ms: must be above heartbeat_ms (1000)"),
        ("[gateway]\nreconnect_ms_max = 20", "gateway.reconnect_ms_max: must not be below reconnect_ms_min (50)"),
        ("[feed", "engine.toml: not TOML: "),
    ],
)
def test_refusal_names_file_key_and_reason(text: str, message: str) -> None:
    said = refusal(text)
    assert message in said
    assert said.startswith("engine.toml")


def test_missing_file_is_refused_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file") as caught:
        load_config(tmp_path / "absent.toml")
    assert "hotpath config show" in caught.value.next_step


def test_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'[engine]\nname = "\xe9"')
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(tmp_path / "latin.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text(
        '[feed]\nkind = "file"\npath = "day.itch"\n[refdata]\npath = "/etc/refdata.json"\n'
        '[tap]\nendpoint = "ipc://run/e.tap"\n[ingress]\nendpoint = "ipc:///run/e.in"\n'
    )
    config = load_config(tmp_path / "engine.toml")
    assert config.feed.path == str(tmp_path / "day.itch")
    assert config.refdata.path == "/etc/refdata.json"
    assert config.engine.state_dir == str(tmp_path / "var")
    assert config.tap.endpoint == f"ipc://{tmp_path}/run/e.tap"
    assert config.ingress.endpoint == "ipc:///run/e.in"


def test_rendered_configuration_loads_to_the_same(tmp_path: Path) -> None:
    config = parse_config(
        '[engine]\ncpus = [1, 2]\n[signal]\ninstruments = ["AAPL"]\nthreshold = 1\n'
        '[risk.instruments."BRK.A"]\nblocked = true\n[risk.instruments.MSFT]\ncollar_ppm_max = 5\n',
        source=tmp_path / "engine.toml",
    )
    assert parse_config(config_toml(config), source=tmp_path / "other.toml") == config


def test_instrument_limits_are_the_defaults_with_its_own_changes() -> None:
    config = parse_config(
        "[risk.defaults]\nposition_lots_max = 7\ncollar_ppm_max = 9\n[risk.instruments.AAPL]\ncollar_ppm_max = 0\n",
        source=FILE,
    )
    assert config.risk.limits_of("AAPL").collar_ppm_max == 0
    assert config.risk.limits_of("AAPL").position_lots_max == 7
    assert config.risk.limits_of("MSFT").collar_ppm_max == 9


def test_password_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENUE_PASSWORD", "s3cret")
    (tmp_path / "password").write_text("from-file\n")
    assert GatewayConfig(password_env="VENUE_PASSWORD").password() == "s3cret"
    assert GatewayConfig(password_file=str(tmp_path / "password")).password() == "from-file"
    shown = config_toml(Config(gateway=GatewayConfig(password_env="VENUE_PASSWORD")))
    assert "VENUE_PASSWORD" in shown
    assert "s3cret" not in shown
    monkeypatch.delenv("VENUE_PASSWORD")
    with pytest.raises(ConfigError, match="VENUE_PASSWORD is not set"):
        GatewayConfig(password_env="VENUE_PASSWORD").password()
    with pytest.raises(ConfigError, match="No such file"):
        GatewayConfig(password_file=str(tmp_path / "absent")).password()


def struct_fields(header: str, struct: str, kind: str) -> list[str]:
    body = re.search(rf"typedef struct \{{([^}}]*)\}} {struct};", (ROOM / "include" / header).read_text())
    assert body is not None
    return re.findall(rf"{kind} (\w+);", body.group(1))


def test_feature_keys_are_the_fields_of_the_kernel() -> None:
    assert list(msgspec.structs.asdict(FeaturesConfig())) == struct_fields("feature.h", "feature_config", r"uint\d+_t")


def test_strategy_keys_are_the_names_of_the_kernel() -> None:
    scales = list(msgspec.structs.asdict(ScalesConfig()))
    assert [*scales] == [
        name for name in struct_fields("strategy.h", "strategy_config", "double") if name != "threshold"
    ]
    for name in msgspec.structs.asdict(WeightsConfig()):
        assert hasattr(lib, f"COMPONENT_{name.upper()}")


def test_default_features_and_scales_pass_the_kernels_own_check() -> None:
    features = ffi.new("feature_config *", msgspec.structs.asdict(FeaturesConfig()))
    assert lib.feature_config_check(features, ffi.NULL) == lib.FEATURE_OK
    strategy = ffi.new("strategy_config *", {**msgspec.structs.asdict(ScalesConfig()), "threshold": 0.5})
    weights = WeightsConfig()
    strategy.weight = [weights.microprice, weights.momentum, weights.reversion, 0.0, weights.custom]
    assert lib.strategy_config_check(strategy, ffi.NULL) == lib.STRATEGY_OK
