"""What the simulator is asked to be: one frozen struct, from TOML or from code."""

from __future__ import annotations

import datetime
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from hotpath.config_types import Host, Milliseconds, PositiveInt, Scale, Section, WholeInt
from hotpath.errors import ConfigError
from hotpath.venues.fault_config import FaultsConfig

AnyPort = Annotated[int, Meta(ge=0, le=65535)]  # 0: pick a free one and say so in the ready line
NS_PER_SECOND = 1_000_000_000


class AccountConfig(Section, frozen=True):
    """One order session: who may log in and which protocol it speaks."""

    username: Annotated[str, Meta(min_length=1, max_length=6)] = "HOTPTH"
    password: Annotated[str, Meta(max_length=10)] = "simulator"
    protocol: Literal["ouch50", "ouch42"] = "ouch50"
    cancel_on_disconnect: bool = True
    drop_copy: Annotated[str, Meta(max_length=6)] = ""  # username of a second session that reports; empty: none
    positions: dict[str, int] = field(default_factory=dict)  # lots by symbol that it brings into the day


class SimulatorConfig(Section, frozen=True):
    """The whole simulator. Every default runs; times and rates are the venue's."""

    seed: WholeInt = 1
    trading_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] = "2026-11-20"
    time_zone: str = "America/New_York"
    open_time: Annotated[str, Meta(pattern=r"^\d{2}:\d{2}:\d{2}$")] = "09:30:00"  # venue time of the first order
    session: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,10}$")] = "SIM0000001"

    # the market
    market: Literal["crowd", "recording"] = "crowd"
    symbols: list[Annotated[str, Meta(min_length=1, max_length=8)]] = field(default_factory=list)
    instruments: Annotated[int, Meta(ge=1, le=16384)] = 64  # crowd: how many, where `symbols` is empty
    intents_per_second: PositiveInt = 20_000  # crowd: mean of Poisson arrivals; most make one message
    live_orders: Annotated[int, Meta(ge=16, le=1 << 24)] = 16_384  # crowd: target over all instruments
    increment_ticks: PositiveInt = 100  # prices of a dollar and more are multiples of it
    recording: str = ""  # length-prefixed ITCH file
    pace: Literal["recorded", "flat"] = "recorded"
    speed: Scale = 1.0  # times the recorded pace
    latency_ns: WholeInt = 0  # recording: an order's way into the market

    # the feed
    feed_address: Host = "127.0.0.1"  # unicast or a multicast group
    feed_port: AnyPort = 0
    feed_interface: Host = "127.0.0.1"  # multicast goes out here
    feed_b_address: str = ""  # of the second line; empty: the first one's
    feed_b_port: Annotated[int, Meta(ge=-1, le=65535)] = -1  # -1: one line only; 0: pick a free one
    feed_b_interface: Host = "127.0.0.1"
    retransmission_host: Host = "127.0.0.1"
    retransmission_port: AnyPort = 0
    packet_bytes_max: Annotated[int, Meta(ge=128, le=1472)] = 1472
    store_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 36)] = 1 << 27  # powers of two: messages that
    store_messages: Annotated[int, Meta(ge=1 << 10, le=1 << 32)] = 1 << 22  # can be asked for again

    # the snapshot service
    glimpse_host: Host = "127.0.0.1"
    glimpse_port: Annotated[int, Meta(ge=-1, le=65535)] = -1  # 0: pick a free one; -1: none
    glimpse_username: Annotated[str, Meta(min_length=1, max_length=6)] = "HOTPTH"
    glimpse_password: Annotated[str, Meta(max_length=10)] = "simulator"

    # the order session
    order_host: Host = "127.0.0.1"
    order_port: AnyPort = 0
    accounts: list[AccountConfig] = field(default_factory=lambda: [AccountConfig()])
    quantity_max: PositiveInt = 999_999
    heartbeat_ms: Milliseconds = 1000
    client_timeout_ms: Milliseconds = 15_000
    login_timeout_ms: Milliseconds = 10_000

    # the run
    start: Literal["now", "login"] = "now"  # login: the market waits for the first order session
    start_after_ms: WholeInt = 0
    duration_s: Annotated[float, Meta(ge=0)] = 0.0  # 0: until SIGTERM, or the end of the recording
    tick_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 500  # sleep between turns; 0 never sleeps
    linger_ms: WholeInt = 200  # after the end: heartbeats and retransmission go on for so long
    control_port: Annotated[int, Meta(ge=-1, le=65535)] = -1  # UDP on loopback; -1: none
    tap_path: str = ""  # every byte of the order sessions
    pcap_path: str = ""  # the wire as packets: feed, retransmission and order sessions
    feed_path: str = ""  # written at the end: all that was published and is still kept, as length-prefixed ITCH

    faults: FaultsConfig = field(default_factory=FaultsConfig)  # all off

    @property
    def midnight_ns(self) -> int:
        """Start of the trading day where the venue is, as ns since the epoch."""
        day = datetime.datetime.fromisoformat(self.trading_date)
        local = day.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone))
        return int(local.timestamp()) * NS_PER_SECOND

    @property
    def open_ns(self) -> int:
        """Venue time of the first order, since midnight."""
        hours, minutes, seconds = (int(part) for part in self.open_time.split(":"))
        return (hours * 3600 + minutes * 60 + seconds) * NS_PER_SECOND


def check_simulator_config(config: SimulatorConfig) -> None:
    """Raise ConfigError for values that contradict each other."""
    try:
        config.midnight_ns  # noqa: B018  (the property is the check)
    except (ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ConfigError(f"trading_date, time_zone: {error}") from None
    for name in ("store_bytes", "store_messages"):
        value = getattr(config, name)
        if value & (value - 1):
            raise ConfigError(f"{name}: {value} is not a power of two")
    if config.market == "recording" and not config.recording:
        raise ConfigError('recording: market = "recording" needs the path of an ITCH file')
    if config.feed_b_port > 0 and (config.feed_b_address or config.feed_address, config.feed_b_port) == (
        config.feed_address,
        config.feed_port,
    ):
        raise ConfigError(f"feed_b_port: {config.feed_b_port} is the first line's own")
    for name in ("halt", "crossed_book", "burst"):
        if config.market == "recording" and getattr(config.faults, name).active:
            raise ConfigError(f'faults.{name}: a recorded market goes its own way: use market = "crowd"')
    if config.faults.divergence.active and config.feed_b_port < 0:
        raise ConfigError("faults.divergence: needs a second line: set feed_b_port")
    names = [account.username.upper() for account in config.accounts]
    names += [account.drop_copy.upper() for account in config.accounts if account.drop_copy]
    if len(set(names)) != len(names):
        raise ConfigError("accounts: two have the same username")
    if len(set(config.symbols)) != len(config.symbols):
        raise ConfigError("symbols: one is named twice")


def load_simulator_config(path: str | Path) -> SimulatorConfig:
    """Read and check one TOML file. Raises ConfigError with file, key and reason."""
    try:
        config = msgspec.toml.decode(Path(path).read_bytes(), type=SimulatorConfig)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from None
    check_simulator_config(config)
    return config
