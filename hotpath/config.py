"""The engine's configuration: one TOML file, read once into frozen structs.

An unknown key, a missing file, a wrong type or a value out of range stops with file, key and reason.
Every key has a default that is safe to run with: no feed, the paper venue, small limits. Paths in the
file are relative to the file's own folder; after loading they are absolute. Secrets never stand in the
file: it names an environment variable or another file that holds them.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, field

from hotpath.config_control import ControlConfig
from hotpath.config_models import ModelsConfig
from hotpath.config_registry import RegistryConfig
from hotpath.config_risk import InstrumentRiskOverride, RiskConfig
from hotpath.config_seats import check_seats, check_strategies
from hotpath.config_text import toml_text
from hotpath.config_types import (
    Capacity,
    FeeRate,
    FeeVenue,
    Host,
    Milliseconds,
    Name,
    Port,
    PositiveInt,
    Scale,
    Section,
    SenderName,
    Weight,
    WholeInt,
)
from hotpath.errors import ConfigError
from hotpath.user_code import absolute_reference, split_reference

MICROS = 1_000_000
SENDERS_MAX = 16  # INGRESS_SENDERS_MAX of ffi/include/ingress.h; a test holds the two equal
IPC = "ipc://"
EVERY_KEY = "hotpath config show prints a file with every key and its default"


def read_secret(key: str, *, variable: str, path: str) -> str:
    """A password from an environment variable or a file, empty when neither is named. `key` is what their keys
    begin with. Raises ConfigError."""
    if variable:
        if variable not in os.environ:
            raise ConfigError(
                f"{key}_env: the environment variable {variable} is not set",
                next_step=f"export {variable} before starting the engine",
            )
        return os.environ[variable]
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ConfigError(f"{key}_file: {path}: {error.strerror}") from None
    return ""


class EngineConfig(Section, frozen=True):
    """[engine]: who the engine is, where its processes run and how they wait."""

    name: Name = "hotpath"
    state_dir: str = "var"  # intents, kill latch, logs
    topology: Literal["split", "paired", "fused"] = "paired"
    wait: Literal["spin", "yield", "park"] = "spin"
    cpus: Literal["auto"] | list[WholeInt] = "auto"  # one a process in path order, or one for all
    scheduler: Literal["other", "fifo"] = "other"
    priority: Annotated[int, Meta(ge=1, le=99)] = 50  # with scheduler = "fifo"
    lock_memory: bool = True
    calendar: str = ""  # of the reference data; empty: the only one there
    trading_date: Annotated[str, Meta(pattern=r"^(auto|\d{4}-\d{2}-\d{2})$")] = "auto"
    on_crash: Literal["recover", "end"] = (
        "recover"  # a stage's process died: rebuild it from the journal, or end killed
    )
    opening: Literal["flat", "carry"] = "flat"  # carry: begin with what the last journaled run held at its end
    restarts_max: WholeInt = 5  # of each process of the path, and of each strategy that may be, within
    restarts_window_s: WholeInt = 600  # so long; 0: over the whole run
    hang_ms: Milliseconds = 5000  # a process without a heartbeat for so long counts as hung


class RingsConfig(Section, frozen=True):
    """[rings]: slots of each ring, powers of two; a slot is 128 bytes."""

    raw: Annotated[int, Meta(ge=1024, le=2**24)] = 16384  # a packet of the smallest messages must fit
    ingress: Capacity = 16384  # what senders pushed, with feed.kind = "zmq"
    norm: Capacity = 16384
    signal: Capacity = 4096
    cmd: Capacity = 4096
    exec: Capacity = 16384
    reject: Capacity = 4096
    adjust: Capacity = 256  # what people say of positions
    changes: Capacity = 4096  # of the limits, line by line
    models: Capacity = 4096  # of the models, piece by piece
    decision: Capacity = 16384  # what models said
    intake: Capacity = 4096  # checked requests of all seats
    seat_orders: Capacity = 1024  # requests of each seat
    seat_reports: Capacity = 4096  # to each seat
    ctl: Capacity = 16384  # of each stage's turn records


class FeedConfig(Section, frozen=True):
    """[feed]: where market data comes from, and how many live orders the book holds."""

    kind: Literal["mold", "file", "pcap", "zmq", "none"] = "none"  # zmq: senders push it, see [ingress]
    address: Host = "127.0.0.1"  # mold: MoldUDP64 over UDP; a multicast address is joined on `interface`
    port: Port = 26400
    interface: Host = "127.0.0.1"
    b_address: str = ""  # of the second line, which carries the same packets; empty: there is none
    b_port: Port = 26410
    b_interface: Host = "127.0.0.1"
    rerequest_host: str = ""  # of the retransmission server; empty: there is none
    rerequest_port: Port = 26401
    rerequest2_host: str = ""  # of another one, asked when the first does not answer; empty: there is none
    rerequest2_port: Port = 26411
    request_tries: Annotated[int, Meta(ge=1, le=1000)] = 3  # without an answer, before the other server is asked
    session: Annotated[str, Meta(max_length=10)] = ""  # empty: the first one heard
    path: str = ""  # file: length-prefixed ITCH; pcap: a capture of MoldUDP64 packets
    pcap_ports: Annotated[list[Port], Meta(max_length=2)] = field(default_factory=list)  # lines A and B; empty: found
    pace: Literal["flat", "recorded", "rate"] = "recorded"
    speed: Annotated[float, Meta(gt=0, le=1e6)] = 1.0  # times the recorded pace
    rate_per_second: PositiveInt = 100_000  # with pace = "rate"
    silence_ms: Milliseconds = 5000  # books are stale when nothing was heard for so long
    line_silence_ms: Milliseconds = 3000  # one of two lines is told to be silent when nothing came on it for so long
    gap_wait_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 200  # that the other line may take to bring what is missing
    gap_timeout_ms: Milliseconds = 1000  # without progress, until a gap is given up
    request_interval_ms: Milliseconds = 20
    receive_batch: Annotated[int, Meta(ge=1, le=32)] = 16  # packets of one system call, while they come in bursts
    kernel_stamps: bool = False  # the kernel's own receive times, as the hop `kernel`
    busy_poll_us: Annotated[int, Meta(ge=0, le=1000)] = 0  # SO_BUSY_POLL: look into the network card's queue; 0: off
    orders_max: Annotated[int, Meta(ge=1024, le=2**26)] = 1 << 18
    levels_max: Annotated[int, Meta(ge=1024, le=2**24)] = 1 << 16
    symbols: list[Annotated[str, Meta(min_length=1, max_length=15)]] = field(default_factory=list)  # empty: all
    # a session joined late: "stale" until a snapshot; "trust" each book until an order turns up that was never added
    late_start: Literal["stale", "trust"] = "stale"
    snapshot_host: str = ""  # GLIMPSE 5.0, for what was lost for good or before a late start; empty: there is none
    snapshot_port: Port = 26403
    snapshot_username: Annotated[str, Meta(max_length=6)] = ""
    snapshot_password_env: str = ""  # name of the environment variable that holds the password
    snapshot_password_file: str = ""  # or a file that holds it
    snapshot_timeout_ms: Milliseconds = 10_000  # until one that is not whole is given up
    snapshot_retry_ms: Milliseconds = 500  # after a failure; doubled at each, up to half a minute
    snapshot_hold: Annotated[int, Meta(ge=4096, le=2**24)] = 1 << 17  # live messages kept aside meanwhile

    def snapshot_password(self) -> str:
        """The secret itself, from where the file says that it is. Never log what this returns."""
        return read_secret(
            "feed.snapshot_password", variable=self.snapshot_password_env, path=self.snapshot_password_file
        )


class FeaturesConfig(Section, frozen=True):
    """[signal.features]: windows of the features, named as in ffi/include/feature.h."""

    bar_ns: WholeInt = 1_000_000_000  # bars by venue time, or 0
    bar_trades: WholeInt = 0  # bars by trades, or 0
    sample_every: PositiveInt = 1
    ema_fast: PositiveInt = 8
    ema_slow: PositiveInt = 32
    zscore_window: PositiveInt = 64
    flow_window: PositiveInt = 32
    sma_fast: PositiveInt = 5
    sma_slow: PositiveInt = 20
    rsi_period: PositiveInt = 14
    macd_fast: PositiveInt = 12
    macd_slow: PositiveInt = 26
    macd_signal: PositiveInt = 9
    atr_period: PositiveInt = 14
    volatility_bars: PositiveInt = 20


class WeightsConfig(Section, frozen=True):
    """[signal.weights]: each strategy's part in the score; 0 leaves it out, below 0 takes its other side."""

    microprice: Weight = 1.0
    momentum: Weight = 0.5
    reversion: Weight = 0.5
    model: Weight = 0.0  # of the model in force, with models.enabled
    custom: Weight = 0.0  # of signal.native


class ScalesConfig(Section, frozen=True):
    """[signal.scales]: what makes a full score, named as in ffi/include/strategy.h."""

    imbalance_scale: Scale = 0.8
    momentum_scale: Scale = 0.001
    zscore_scale: Scale = 3.0
    rsi_scale: Scale = 40.0


class SignalConfig(Section, frozen=True):
    """[signal]: features, strategies, and what an order of theirs looks like."""

    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    scales: ScalesConfig = field(default_factory=ScalesConfig)
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of |score|
    instruments: list[str] = field(default_factory=list)  # symbols; empty: every one marked traded
    account: Annotated[int, Meta(ge=0, le=65535)] = 1
    strategy_epoch: Annotated[int, Meta(ge=0, le=65535)] = 1  # move on when state is reset on purpose
    order_quantity_lots: PositiveInt = 100
    style: Literal["take", "join"] = "join"
    cooldown_ms: WholeInt = 500
    order_life_ms: Milliseconds = 2000
    replace_interval_ms: WholeInt = 100  # between two replacements of one order
    answer_timeout_ms: Milliseconds = 1000  # an order unanswered for so long is canceled
    position_lots_max: PositiveInt = 500  # the strategy's own bound; the risk limit is another matter
    native: str = ""  # compiled function that gives the score `custom`: "module:name" or "path.py:name"
    allow_unisolated: bool = False  # native code in one process with risk and gateway, on a real venue


class PaperConfig(Section, frozen=True):
    """[gateway.paper]: how the paper venue treats our orders; it is where a replay and a backtest trade."""

    # "queue": each has its exact place in the queue; "front": ours stand first at their price (the best that could
    # be); "through": ours fill only when the market trades past their price (the worst that could be)
    fills: Literal["queue", "front", "through"] = "queue"
    # of each order, on top of gateway.latency_ns: "fixed": nothing; "uniform": up to latency_spread_ns;
    # "exponential": with that mean. Drawn from the seed and the order's number: the same in every replay
    latency: Literal["fixed", "uniform", "exponential"] = "fixed"
    latency_spread_ns: Annotated[int, Meta(ge=0, le=2**48)] = 0
    seed: WholeInt = 1


class GatewayConfig(Section, frozen=True):
    """[gateway]: the venue session that orders go to."""

    kind: Literal["ouch50", "ouch42", "paper"] = "paper"
    host: Host = "127.0.0.1"
    port: Port = 26402
    username: Annotated[str, Meta(max_length=6)] = ""
    password_env: str = ""  # name of the environment variable that holds the password
    password_file: str = ""  # or a file that holds it
    session: Annotated[str, Meta(max_length=10)] = ""  # empty: the one the venue has open
    firm: Annotated[str, Meta(max_length=4)] = ""
    on_disconnect: Literal["by_account", "cancels", "leaves"] = (
        "by_account"  # what the account's set-up at the venue does with open orders when the session ends; for people
    )
    heartbeat_ms: Milliseconds = 1000
    timeout_ms: Milliseconds = 5000  # the venue is lost when nothing was heard for so long
    reconnect_ms_min: Milliseconds = 50  # after a cut; doubled at each failure,
    reconnect_ms_max: Milliseconds = 5000  # up to this
    intents_max: Annotated[int, Meta(ge=1024, le=2**24)] = 1 << 18  # order frames of one trading day
    # process: an intent survives its process, and after a power loss the venue is asked. power: it is on disk before
    # its order leaves, which costs a write of the disk in every turn that sends (HOP_ORDER_SYNC)
    durability: Literal["process", "power"] = "process"
    intents_dir: str = ""  # of the intent file; on a tmpfs a store never waits for a disk. Empty: engine.state_dir
    kill_escalate_ms: Milliseconds = 500  # a kill that the gateway has not confirmed by then ends its process
    latency_ns: WholeInt = 20_000  # paper: an order's way to the venue
    paper: PaperConfig = field(default_factory=PaperConfig)

    def password(self) -> str:
        """The secret itself, from where the file says that it is. Never log what this returns."""
        return read_secret("gateway.password", variable=self.password_env, path=self.password_file)


class LeasesConfig(Section, frozen=True):
    """[leases]: silence, and bounds of clock and path, past which the engine tightens by itself (docs/modes.md).

    0: nobody waits, nothing is measured.
    """

    stage_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 1000  # of feed, signal, risk and gateway
    supervisor_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 5000
    control_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 10_000  # of the control process, where one runs
    hold_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 500  # that all must be well before a lease's mode is lifted
    stale_hold_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 50  # that books must be whole before `feed_stale` is
    clock_skew_ns_max: WholeInt = 0  # engine clock to the system's; it is set once a run, and drifts by some ppm
    path_p99_ns_max: WholeInt = 0  # of message in memory to order handed over, in a window
    path_window_ms: Milliseconds = 1000
    path_orders_min: PositiveInt = 100  # in a window; fewer tell nothing
    guard_hold_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 5000  # that either must be within before it is lifted


class CoprocessConfig(Section, frozen=True):
    """[[coprocesses]]: a seat for a program of somebody's own, which sends orders through the same gate."""

    name: Name
    account: Annotated[int, Meta(ge=0, le=65535)]
    strategy: Annotated[int, Meta(ge=2, le=255)]  # names its orders for ever: no two seats share it; 1 is [signal]'s
    open_orders_max: Annotated[int, Meta(ge=1, le=4096)] = 64
    messages_per_second_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000  # new orders and replacements
    heartbeat_ms: Milliseconds = 500  # silence after which the seat is cut
    budget_ms: WholeInt = 0  # for one call that the program marks as such; 0: no bound but the heartbeat
    on_cut: Literal["cancel", "leave"] = "cancel"  # its open orders, when it is cut


class IngressConfig(Section, frozen=True):
    """[ingress]: feed handlers of somebody's own that push the market over ZeroMQ; with feed.kind = "zmq"."""

    senders: list[SenderName] = field(default_factory=list)  # those who may; each has one stream
    endpoint: str = ""  # ipc://PATH; empty: ENGINE.ingress in engine.state_dir. Only its owner may connect
    silence_ms: Milliseconds = 2000  # books are stale when a sender with a session was not heard for so long
    queue_frames_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000  # of one sender, while the ring is full


class TapConfig(Section, frozen=True):
    """[tap]: what `hotpath tail` and other onlookers read: every event, published over ZeroMQ; it may lose some."""

    enabled: bool = False
    endpoint: str = ""  # ipc://PATH; empty: ENGINE.tap in engine.state_dir. Only its owner may connect
    interval_ms: Annotated[int, Meta(ge=1, le=1000)] = 5  # between two looks at the rings
    queue_frames_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000  # of one slow subscriber; then it loses frames


class StrategyConfig(CoprocessConfig, frozen=True, kw_only=True):
    """[[strategies]]: a seat for a Python strategy, which the engine starts in a process of its own."""

    code: str = field(name="class")  # "module:Class" or "path.py:Class"
    mode: Literal["auto", "event", "batch"] = "auto"  # auto: by which of on_event and on_batch the class has
    instruments: list[str] = field(default_factory=list)  # whose events it is told; empty: all
    params: dict[str, Any] = field(default_factory=dict)  # the strategy's own, over the class's `params`
    heartbeat_ms: Milliseconds = 2000
    budget_ms: WholeInt = 250  # for one call of a method
    restart: bool = False  # after it was cut off
    book: bool = True  # keeps a book of every order, for depth()
    batch_max: Annotated[int, Meta(ge=1, le=16384)] = 256  # events of one on_batch
    wait: Literal["sleep", "yield", "spin"] = "sleep"  # for the next event
    cpu: WholeInt | None = None  # None: any that no spinning stage has


class JournalConfig(Section, frozen=True):
    """[journal]: every event of a run on the disk, in segments that are written ahead."""

    enabled: bool = True  # of `hotpath run`; --record FOLDER says where, and that it shall be
    folder: str = ""  # a folder for each run is made in it; empty: ENGINE.journal in engine.state_dir
    # what a loss of power may cost: what came after the last sync; nothing that a ring forgot; what was not yet written
    sync: Literal["interval", "batch", "none"] = "interval"
    sync_ms: Milliseconds = 1000  # with sync = "interval"
    segment_mib_first: Annotated[int, Meta(ge=1, le=1024)] = 1  # of each ring; doubled with each segment, up to
    segment_mib_max: Annotated[int, Meta(ge=1, le=1024)] = 64
    snapshot_s: WholeInt = 300  # between two snapshots of the stages, which shorten a restart; 0: none are made
    space_low_mib: WholeInt = 1024  # free on its disk: below, positions may only be reduced
    space_out_mib: WholeInt = 256  # below: no new orders
    compress: bool = False  # segments, once they are closed; needs zstd (the extra `journal`, or Python 3.14)
    keep_days: WholeInt = 0  # runs that ended longer ago are removed; 0: none ever is
    keep_mib: WholeInt = 0  # of all runs that ended, the oldest are removed beyond this; 0: none ever is


class ProjectionConfig(Section, frozen=True):
    """[projection]: the journal's events as tables in a database, for people and programs that ask in SQL."""

    enabled: bool = False  # beside the engine; `hotctl projection follow` does it at any time
    dsn: str = ""  # "postgresql://user@host/name"; empty: SQLite, ENGINE.projection.db in engine.state_dir
    password_env: str = ""  # name of the environment variable that holds the database's password
    batch_events: Annotated[int, Meta(ge=100, le=1_000_000)] = 20_000  # of each ring, in one transaction
    interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 200  # between two looks at the journal
    snapshot_minutes: Annotated[int, Meta(ge=1, le=1440)] = 60  # positions at each full hour, or as often as this


class ReconcileConfig(Section, frozen=True):
    """[reconcile]: a second session at the venue, which reports what was executed, to compare with the engine's own."""

    username: Annotated[str, Meta(max_length=6)] = ""  # of the drop copy; empty: nothing is reconciled
    host: str = ""  # empty: the gateway's
    port: Annotated[int, Meta(ge=0, le=65535)] = 0  # 0: the gateway's
    password_env: str = ""
    password_file: str = ""
    interval_s: PositiveInt = 300  # between two comparisons of all positions
    grace_ms: Milliseconds = 2000  # that one side may be behind the other with an execution

    def password(self) -> str:
        """The secret itself. Never log what this returns."""
        return read_secret("reconcile.password", variable=self.password_env, path=self.password_file)


class RefdataConfig(Section, frozen=True):
    """[refdata]: the file of instruments and calendars; empty: taken from the recorded feed."""

    path: str = ""


class FeeConfig(Section, frozen=True, kw_only=True):
    """[fees.VENUE]: what an execution costs there. Micros: millionths of the currency; ppb: billionths of the value.
    Below 0: a rebate."""

    maker_flags: str = "A"  # the venue's liquidity flags of an order that rested; every other one took
    maker_micros_per_lot: FeeRate = 0
    taker_micros_per_lot: FeeRate = 0
    maker_ppb: FeeRate = 0
    taker_ppb: FeeRate = 0
    sell_micros_per_lot: FeeRate = 0  # of a sale, besides
    sell_ppb: FeeRate = 0


class Config(Section, frozen=True):
    """The whole file."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    rings: RingsConfig = field(default_factory=RingsConfig)
    feed: FeedConfig = field(default_factory=FeedConfig)
    signal: SignalConfig = field(default_factory=SignalConfig)
    risk: RiskConfig = field(default_factory=RiskConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    leases: LeasesConfig = field(default_factory=LeasesConfig)
    refdata: RefdataConfig = field(default_factory=RefdataConfig)
    journal: JournalConfig = field(default_factory=JournalConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    reconcile: ReconcileConfig = field(default_factory=ReconcileConfig)
    tap: TapConfig = field(default_factory=TapConfig)
    ingress: IngressConfig = field(default_factory=IngressConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    coprocesses: list[CoprocessConfig] = field(default_factory=list)
    strategies: list[StrategyConfig] = field(default_factory=list)
    control: ControlConfig = field(default_factory=ControlConfig)
    fees: dict[FeeVenue, FeeConfig] = field(default_factory=dict)  # "default": of venues that have no other

    @property
    def seats(self) -> list[CoprocessConfig]:
        """Every place beside the path that may send orders, in the order of their indices."""
        return [*self.coprocesses, *self.strategies]


def load_config(path: str | Path) -> Config:
    """Read and check one file. Raises ConfigError with file, key and reason."""
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{source}: there is no such file", next_step="hotpath config show prints a file of every default"
        ) from None
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}", next_step=EVERY_KEY) from None
    return parse_config(text, source=source)


def parse_config(text: str, *, source: Path) -> Config:
    """Check the text of a configuration file; `source` is named in errors and is what paths are relative to."""
    try:
        config = msgspec.toml.decode(text, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(error, text=text, source=source), next_step=EVERY_KEY) from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}", next_step=EVERY_KEY) from None
    _check(config, source=source)
    return _resolve_paths(config, folder=source.resolve().parent)


def config_toml(config: Config) -> str:
    """The configuration as a file that loads to the same."""
    return toml_text(msgspec.to_builtins(config))


def config_differences(before: Config, after: Config) -> list[str]:
    """What a change of files changes, a line for each key: `~`, `+` or `-`, the key, the values."""
    old, new = (_flat(msgspec.to_builtins(config)) for config in (before, after))
    lines = []
    for key in sorted({*old, *new}):
        if key not in new:
            lines.append(f"- {key}: {old[key]}")
        elif key not in old:
            lines.append(f"+ {key}: {new[key]}")
        elif old[key] != new[key]:
            lines.append(f"~ {key}: {old[key]} -> {new[key]}")
    return lines


def _flat(value: Any, key: str = "") -> dict[str, str]:
    """Each value as text, by its dotted key; what has a name goes by it, whatever its place in a list."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and each.get("name") for each in value):
        value = {each["name"]: each for each in value}
    if not isinstance(value, dict):
        return {key: msgspec.json.encode(value).decode()}
    found: dict[str, str] = {}
    for name, each in value.items():
        found |= _flat(each, f"{key}.{name}" if key else name)
    return found


def _explain(error: msgspec.ValidationError, *, text: str, source: Path) -> str:
    """msgspec's "reason - at `$.table.key`" as "file:line: table.key: reason"."""
    reason, _, where = str(error).partition(" - at `$")
    key = where.rstrip("`").lstrip(".")
    document = tomllib.loads(text)
    if "[...]" in key:  # msgspec does not say which symbol
        for symbol, table in document["risk"]["instruments"].items():
            try:
                msgspec.convert(table, InstrumentRiskOverride)
            except msgspec.ValidationError:
                key = key.replace("[...]", f".{symbol}")
                break
    unknown = re.search(r"unknown field `([^`]+)`", reason)
    if unknown:
        key = f"{key}.{unknown.group(1)}".lstrip(".")
        reason = "unknown key" + _nearest(key)
    else:
        reason = reason.replace("Invalid enum value", "bad value")
        reason = reason[:1].lower() + reason[1:] + _allowed(key)
        value = _value_at(key, document)
        if isinstance(value, str | int | float) and "got" not in reason and repr(value) not in reason:
            reason += f", got {value!r}"
    line = _line_of(key, text)
    return f"{source}:{line}: {key}: {reason}" if line else f"{source}: {key}: {reason}"


def _value_at(key: str, document: dict[str, Any]) -> Any:
    """What the file says at a dotted key; None when there is nothing of that name."""
    value: Any = document
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _allowed(key: str) -> str:
    """The values that a key of fixed choices may have; empty for other keys."""
    section, _, name = key.rpartition(".")
    owner: Any = Config
    for part in filter(None, section.split(".")):
        owner = get_type_hints(owner).get(part) if isinstance(owner, type) else None
    choices = get_args(get_type_hints(owner).get(name)) if isinstance(owner, type) else ()
    words = [choice for choice in choices if isinstance(choice, str)]
    return f" (one of: {', '.join(words)})" if words and len(words) == len(choices) else ""


def _nearest(key: str) -> str:
    """Advice for a misspelt key, empty when nothing is near."""
    import difflib

    table, _, name = key.rpartition(".")
    known: Any = msgspec.to_builtins(Config())
    for part in filter(None, table.split(".")):
        known = known.get(part, {}) if isinstance(known, dict) else {}
    near = difflib.get_close_matches(name, list(known) if isinstance(known, dict) else [], n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _line_of(key: str, text: str) -> int:
    """Line of `table.key` in the file, 0 when it cannot be told."""
    table, _, name = re.sub(r"\[.*", "", key).rpartition(".")
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        header = re.match(r"\[([^\[\]]+)\]", stripped)
        if header:
            current = header.group(1).strip()
            if current == key:
                return number
        elif current == table and re.match(rf"{re.escape(name)}\s*=", stripped):
            return number
    return 0


def _check(config: Config, *, source: Path) -> None:
    """What no single type can say."""

    def refuse(key: str, reason: str) -> None:
        raise ConfigError(f"{source}: {key}: {reason}")

    for ring, capacity in msgspec.structs.asdict(config.rings).items():
        if capacity & (capacity - 1):
            refuse(f"rings.{ring}", f"{capacity} is not a power of two")
    engine, feed, gateway = config.engine, config.feed, config.gateway
    if isinstance(engine.cpus, list) and not engine.cpus:
        refuse("engine.cpus", 'names no processor; say "auto" to leave the choice to the engine')
    if feed.kind in ("file", "pcap") and not feed.path:
        refuse("feed.path", f'feed.kind = "{feed.kind}" needs the path of a recorded feed')
    if feed.kind == "pcap" and feed.pace == "rate":
        refuse("feed.pace", 'a capture has a time of its own: "flat" or "recorded"')
    if feed.b_address and (feed.b_address, feed.b_port) == (feed.address, feed.port):
        refuse("feed.b_port", "the second line is the first one: give it an address or a port of its own")
    if feed.rerequest2_host and not feed.rerequest_host:
        refuse("feed.rerequest2_host", "a second server needs a first one: set feed.rerequest_host")
    if feed.kind == "zmq" and not config.ingress.senders:
        refuse("ingress.senders", 'feed.kind = "zmq" needs the names of those who may push')
    if len(config.ingress.senders) > SENDERS_MAX:
        refuse("ingress.senders", f"at most {SENDERS_MAX}")
    if len(set(config.ingress.senders)) < len(config.ingress.senders):
        refuse("ingress.senders", "a name stands there twice: each sender has one stream")
    for key, endpoint in (("tap.endpoint", config.tap.endpoint), ("ingress.endpoint", config.ingress.endpoint)):
        if endpoint and not endpoint.startswith(IPC):
            refuse(key, f'"{endpoint}" is not an ipc://PATH: what leaves this machine needs a proxy that you trust')
        elif endpoint and endpoint[len(IPC) :][:1] in ("", "*", "@"):
            refuse(key, f'"{endpoint}" names no file: only the permissions of a file keep others from connecting')
    features = config.signal.features
    if bool(features.bar_ns) == bool(features.bar_trades):
        refuse("signal.features.bar_ns", "exactly one of bar_ns and bar_trades must be set; the other is 0")
    for fast, slow in (("ema_fast", "ema_slow"), ("sma_fast", "sma_slow"), ("macd_fast", "macd_slow")):
        if getattr(features, fast) >= getattr(features, slow):
            refuse(f"signal.features.{fast}", f"must be below {slow} ({getattr(features, slow)})")
    weights = config.signal.weights
    if not any(msgspec.structs.astuple(weights)) and not config.seats:
        refuse("signal.weights", "every weight is 0: no strategy would ever speak")
    signal = config.signal
    if signal.native:
        try:
            split_reference(signal.native)
        except ValueError as error:
            refuse("signal.native", str(error))
    if bool(signal.native) != bool(weights.custom):
        said = "is 0, so that signal.native would never be heard" if signal.native else "needs signal.native"
        refuse("signal.weights.custom", said)
    if weights.model and not config.models.enabled:
        refuse("signal.weights.model", "needs models.enabled: else no model can come")
    if config.models.load and not config.models.enabled:
        refuse("models.load", "needs models.enabled")
    reason = unisolated(config)
    if reason:
        refuse("signal.native", reason)
    journal = config.journal
    if journal.segment_mib_max < journal.segment_mib_first:
        refuse("journal.segment_mib_max", f"must not be below segment_mib_first ({journal.segment_mib_first})")
    if journal.space_low_mib < journal.space_out_mib:
        refuse("journal.space_low_mib", f"must not be below space_out_mib ({journal.space_out_mib})")
    if re.search(r"://[^/@]*:[^/@]*@|password=", config.projection.dsn):
        refuse("projection.dsn", "holds a password; name the environment variable that has it: projection.password_env")
    if config.control.envelope and not config.control.envelope_key:
        refuse("control.envelope_key", "whose signature counts? The public key of whoever signs envelopes")
    if config.control.host and not config.control.tls_dir:
        refuse("control.tls_dir", "control.host needs certificates: hotctl certs init DIR makes them")
    check_seats(config, refuse)
    check_strategies(config, refuse)
    if gateway.kind != "paper" and not gateway.username:
        refuse("gateway.username", f'gateway.kind = "{gateway.kind}" needs the name to log in with')
    if config.reconcile.username and gateway.kind == "paper":
        refuse("reconcile.username", 'gateway.kind = "paper" has no venue to reconcile with')
    if config.reconcile.password_env and config.reconcile.password_file:
        refuse("reconcile.password_file", "password_env is set as well; only one may name the secret")
    if gateway.password_env and gateway.password_file:
        refuse("gateway.password_file", "password_env is set as well; only one may name the secret")
    if feed.snapshot_password_env and feed.snapshot_password_file:
        refuse("feed.snapshot_password_file", "snapshot_password_env is set as well; only one may name the secret")
    if feed.snapshot_host and not feed.snapshot_username:
        refuse("feed.snapshot_username", "a snapshot server needs the name to log in with")
    if feed.snapshot_hold & (feed.snapshot_hold - 1):
        refuse("feed.snapshot_hold", f"{feed.snapshot_hold} is not a power of two")
    if gateway.timeout_ms <= gateway.heartbeat_ms:
        refuse("gateway.timeout_ms", f"must be above heartbeat_ms ({gateway.heartbeat_ms})")
    if gateway.reconnect_ms_max < gateway.reconnect_ms_min:
        refuse("gateway.reconnect_ms_max", f"must not be below reconnect_ms_min ({gateway.reconnect_ms_min})")


def unisolated(config: Config) -> str:
    """Why this configuration may not trade: foreign code where orders are approved; empty when it may."""
    shared = config.engine.topology == "fused" and config.gateway.kind != "paper"
    if not config.signal.native or not shared or config.signal.allow_unisolated:
        return ""
    return (
        'with engine.topology = "fused" it would run in one process with risk and gateway, and on a real venue a '
        'fault of it could pass the limits; choose "paired" or "split", or say signal.allow_unisolated = true'
    )


def _resolve_paths(config: Config, *, folder: Path) -> Config:
    """The same configuration with absolute paths."""

    def absolute(path: str) -> str:
        return str((folder / Path(path).expanduser()).resolve()) if path else ""

    def absolute_endpoint(address: str) -> str:
        return f"{IPC}{absolute(address.removeprefix(IPC))}" if address else ""

    replace = msgspec.structs.replace
    return replace(
        config,
        engine=replace(config.engine, state_dir=absolute(config.engine.state_dir)),
        feed=replace(
            config.feed,
            path=absolute(config.feed.path),
            snapshot_password_file=absolute(config.feed.snapshot_password_file),
        ),
        signal=replace(config.signal, native=absolute_reference(config.signal.native, folder)),
        gateway=replace(
            config.gateway,
            password_file=absolute(config.gateway.password_file),
            intents_dir=absolute(config.gateway.intents_dir),
        ),
        refdata=replace(config.refdata, path=absolute(config.refdata.path)),
        reconcile=replace(config.reconcile, password_file=absolute(config.reconcile.password_file)),
        journal=replace(config.journal, folder=absolute(config.journal.folder)),
        registry=replace(
            config.registry,
            folder=absolute(config.registry.folder),
            keys=[absolute(each) for each in config.registry.keys],
        ),
        models=replace(config.models, load=absolute(config.models.load)),
        tap=replace(config.tap, endpoint=absolute_endpoint(config.tap.endpoint)),
        ingress=replace(config.ingress, endpoint=absolute_endpoint(config.ingress.endpoint)),
        control=replace(
            config.control,
            socket=absolute(config.control.socket),
            tls_dir=absolute(config.control.tls_dir),
            envelope=absolute(config.control.envelope),
            envelope_key=absolute(config.control.envelope_key),
        ),
        strategies=[replace(each, code=absolute_reference(each.code, folder)) for each in config.strategies],
    )
