from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Snapshot(_message.Message):
    __slots__ = ("engine", "state", "topology", "run_epoch", "time_ns", "clock", "clock_frequency_hz", "killed", "kill_epoch", "mode", "mode_words", "instruments", "stages", "hops", "rings", "seats", "sides", "journal", "kill", "market", "positions_known", "limits", "limits_version", "switches", "alerts", "on_disconnect")
    class ModeWordsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class StagesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StageStat
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StageStat, _Mapping]] = ...) -> None: ...
    class HopsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: HopStat
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[HopStat, _Mapping]] = ...) -> None: ...
    class RingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RingStat
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RingStat, _Mapping]] = ...) -> None: ...
    class SeatsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SeatStat
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SeatStat, _Mapping]] = ...) -> None: ...
    class SidesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StageStat
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StageStat, _Mapping]] = ...) -> None: ...
    class SwitchesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    RUN_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FREQUENCY_HZ_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    KILL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_WORDS_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    RINGS_FIELD_NUMBER: _ClassVar[int]
    SEATS_FIELD_NUMBER: _ClassVar[int]
    SIDES_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_VERSION_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    engine: str
    state: str
    topology: str
    run_epoch: int
    time_ns: int
    clock: str
    clock_frequency_hz: int
    killed: bool
    kill_epoch: int
    mode: str
    mode_words: _containers.ScalarMap[str, str]
    instruments: int
    stages: _containers.MessageMap[str, StageStat]
    hops: _containers.MessageMap[str, HopStat]
    rings: _containers.MessageMap[str, RingStat]
    seats: _containers.MessageMap[str, SeatStat]
    sides: _containers.MessageMap[str, StageStat]
    journal: JournalStat
    kill: KillStat
    market: _containers.RepeatedCompositeFieldContainer[InstrumentStat]
    positions_known: bool
    limits: _containers.RepeatedCompositeFieldContainer[LimitStat]
    limits_version: int
    switches: _containers.ScalarMap[str, str]
    alerts: _containers.RepeatedCompositeFieldContainer[AlertStat]
    on_disconnect: str
    def __init__(self, engine: _Optional[str] = ..., state: _Optional[str] = ..., topology: _Optional[str] = ..., run_epoch: _Optional[int] = ..., time_ns: _Optional[int] = ..., clock: _Optional[str] = ..., clock_frequency_hz: _Optional[int] = ..., killed: _Optional[bool] = ..., kill_epoch: _Optional[int] = ..., mode: _Optional[str] = ..., mode_words: _Optional[_Mapping[str, str]] = ..., instruments: _Optional[int] = ..., stages: _Optional[_Mapping[str, StageStat]] = ..., hops: _Optional[_Mapping[str, HopStat]] = ..., rings: _Optional[_Mapping[str, RingStat]] = ..., seats: _Optional[_Mapping[str, SeatStat]] = ..., sides: _Optional[_Mapping[str, StageStat]] = ..., journal: _Optional[_Union[JournalStat, _Mapping]] = ..., kill: _Optional[_Union[KillStat, _Mapping]] = ..., market: _Optional[_Iterable[_Union[InstrumentStat, _Mapping]]] = ..., positions_known: _Optional[bool] = ..., limits: _Optional[_Iterable[_Union[LimitStat, _Mapping]]] = ..., limits_version: _Optional[int] = ..., switches: _Optional[_Mapping[str, str]] = ..., alerts: _Optional[_Iterable[_Union[AlertStat, _Mapping]]] = ..., on_disconnect: _Optional[str] = ...) -> None: ...

class InstrumentStat(_message.Message):
    __slots__ = ("symbol", "tick_value_micros", "bid_price_ticks", "bid_lots", "ask_price_ticks", "ask_lots", "position_lots", "position_lots_max", "realised_micros", "unrealised_micros", "open_orders", "open_buy_lots", "open_sell_lots")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TICK_VALUE_MICROS_FIELD_NUMBER: _ClassVar[int]
    BID_PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    BID_LOTS_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    ASK_LOTS_FIELD_NUMBER: _ClassVar[int]
    POSITION_LOTS_FIELD_NUMBER: _ClassVar[int]
    POSITION_LOTS_MAX_FIELD_NUMBER: _ClassVar[int]
    REALISED_MICROS_FIELD_NUMBER: _ClassVar[int]
    UNREALISED_MICROS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    OPEN_BUY_LOTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SELL_LOTS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    tick_value_micros: int
    bid_price_ticks: int
    bid_lots: int
    ask_price_ticks: int
    ask_lots: int
    position_lots: int
    position_lots_max: int
    realised_micros: int
    unrealised_micros: int
    open_orders: int
    open_buy_lots: int
    open_sell_lots: int
    def __init__(self, symbol: _Optional[str] = ..., tick_value_micros: _Optional[int] = ..., bid_price_ticks: _Optional[int] = ..., bid_lots: _Optional[int] = ..., ask_price_ticks: _Optional[int] = ..., ask_lots: _Optional[int] = ..., position_lots: _Optional[int] = ..., position_lots_max: _Optional[int] = ..., realised_micros: _Optional[int] = ..., unrealised_micros: _Optional[int] = ..., open_orders: _Optional[int] = ..., open_buy_lots: _Optional[int] = ..., open_sell_lots: _Optional[int] = ...) -> None: ...

class LimitStat(_message.Message):
    __slots__ = ("name", "used", "limit", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    used: float
    limit: float
    unit: str
    def __init__(self, name: _Optional[str] = ..., used: _Optional[float] = ..., limit: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class AlertStat(_message.Message):
    __slots__ = ("level", "about", "text")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    level: str
    about: str
    text: str
    def __init__(self, level: _Optional[str] = ..., about: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class KillStat(_message.Message):
    __slots__ = ("epoch", "effective", "in_flight_bytes", "orders_found", "orders_open", "latch")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FOUND_FIELD_NUMBER: _ClassVar[int]
    ORDERS_OPEN_FIELD_NUMBER: _ClassVar[int]
    LATCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    effective: bool
    in_flight_bytes: int
    orders_found: int
    orders_open: int
    latch: str
    def __init__(self, epoch: _Optional[int] = ..., effective: _Optional[bool] = ..., in_flight_bytes: _Optional[int] = ..., orders_found: _Optional[int] = ..., orders_open: _Optional[int] = ..., latch: _Optional[str] = ...) -> None: ...

class RestartStat(_message.Message):
    __slots__ = ("count", "turns", "spans_ns")
    class SpansNsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    SPANS_NS_FIELD_NUMBER: _ClassVar[int]
    count: int
    turns: int
    spans_ns: _containers.ScalarMap[str, int]
    def __init__(self, count: _Optional[int] = ..., turns: _Optional[int] = ..., spans_ns: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StageStat(_message.Message):
    __slots__ = ("state", "pid", "cpu", "alive", "heartbeat_age_ns", "turns", "idle_turns", "rss_bytes", "error", "counters", "restart")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AGE_NS_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    IDLE_TURNS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    state: str
    pid: int
    cpu: int
    alive: bool
    heartbeat_age_ns: int
    turns: int
    idle_turns: int
    rss_bytes: int
    error: str
    counters: _containers.ScalarMap[str, int]
    restart: RestartStat
    def __init__(self, state: _Optional[str] = ..., pid: _Optional[int] = ..., cpu: _Optional[int] = ..., alive: _Optional[bool] = ..., heartbeat_age_ns: _Optional[int] = ..., turns: _Optional[int] = ..., idle_turns: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., error: _Optional[str] = ..., counters: _Optional[_Mapping[str, int]] = ..., restart: _Optional[_Union[RestartStat, _Mapping]] = ...) -> None: ...

class HopStat(_message.Message):
    __slots__ = ("count", "p50_ns", "p99_ns", "p999_ns", "max_ns", "budget_ns", "recent_count", "recent_p50_ns", "recent_p99_ns")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_NS_FIELD_NUMBER: _ClassVar[int]
    P99_NS_FIELD_NUMBER: _ClassVar[int]
    P999_NS_FIELD_NUMBER: _ClassVar[int]
    MAX_NS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    RECENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    RECENT_P50_NS_FIELD_NUMBER: _ClassVar[int]
    RECENT_P99_NS_FIELD_NUMBER: _ClassVar[int]
    count: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    budget_ns: int
    recent_count: int
    recent_p50_ns: int
    recent_p99_ns: int
    def __init__(self, count: _Optional[int] = ..., p50_ns: _Optional[int] = ..., p99_ns: _Optional[int] = ..., p999_ns: _Optional[int] = ..., max_ns: _Optional[int] = ..., budget_ns: _Optional[int] = ..., recent_count: _Optional[int] = ..., recent_p50_ns: _Optional[int] = ..., recent_p99_ns: _Optional[int] = ...) -> None: ...

class ReaderStat(_message.Message):
    __slots__ = ("kind", "lag", "lost")
    KIND_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    kind: str
    lag: int
    lost: int
    def __init__(self, kind: _Optional[str] = ..., lag: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...

class RingStat(_message.Message):
    __slots__ = ("writer", "capacity", "published", "full_count", "readers")
    class ReadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ReaderStat
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ReaderStat, _Mapping]] = ...) -> None: ...
    WRITER_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    FULL_COUNT_FIELD_NUMBER: _ClassVar[int]
    READERS_FIELD_NUMBER: _ClassVar[int]
    writer: str
    capacity: int
    published: int
    full_count: int
    readers: _containers.MessageMap[str, ReaderStat]
    def __init__(self, writer: _Optional[str] = ..., capacity: _Optional[int] = ..., published: _Optional[int] = ..., full_count: _Optional[int] = ..., readers: _Optional[_Mapping[str, ReaderStat]] = ...) -> None: ...

class SeatStat(_message.Message):
    __slots__ = ("state", "reason", "pid", "account", "strategy", "open_orders", "requests", "refused", "reports", "reports_lost", "attachments", "cuts", "python", "answers", "answer_p50_ns", "answer_p99_ns", "answer_p999_ns")
    class PythonEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_LOST_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_P50_NS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_P99_NS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_P999_NS_FIELD_NUMBER: _ClassVar[int]
    state: str
    reason: str
    pid: int
    account: int
    strategy: int
    open_orders: int
    requests: int
    refused: int
    reports: int
    reports_lost: int
    attachments: int
    cuts: int
    python: _containers.ScalarMap[str, int]
    answers: int
    answer_p50_ns: int
    answer_p99_ns: int
    answer_p999_ns: int
    def __init__(self, state: _Optional[str] = ..., reason: _Optional[str] = ..., pid: _Optional[int] = ..., account: _Optional[int] = ..., strategy: _Optional[int] = ..., open_orders: _Optional[int] = ..., requests: _Optional[int] = ..., refused: _Optional[int] = ..., reports: _Optional[int] = ..., reports_lost: _Optional[int] = ..., attachments: _Optional[int] = ..., cuts: _Optional[int] = ..., python: _Optional[_Mapping[str, int]] = ..., answers: _Optional[int] = ..., answer_p50_ns: _Optional[int] = ..., answer_p99_ns: _Optional[int] = ..., answer_p999_ns: _Optional[int] = ...) -> None: ...

class JournalStat(_message.Message):
    __slots__ = ("sync", "interval_ns", "loss_window_ns", "sync_ns_last", "sync_ns_max", "lag_events", "lag_share", "lag_ring", "lost", "free_bytes", "space")
    SYNC_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_NS_FIELD_NUMBER: _ClassVar[int]
    LOSS_WINDOW_NS_FIELD_NUMBER: _ClassVar[int]
    SYNC_NS_LAST_FIELD_NUMBER: _ClassVar[int]
    SYNC_NS_MAX_FIELD_NUMBER: _ClassVar[int]
    LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAG_SHARE_FIELD_NUMBER: _ClassVar[int]
    LAG_RING_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    sync: str
    interval_ns: int
    loss_window_ns: int
    sync_ns_last: int
    sync_ns_max: int
    lag_events: int
    lag_share: float
    lag_ring: str
    lost: int
    free_bytes: int
    space: str
    def __init__(self, sync: _Optional[str] = ..., interval_ns: _Optional[int] = ..., loss_window_ns: _Optional[int] = ..., sync_ns_last: _Optional[int] = ..., sync_ns_max: _Optional[int] = ..., lag_events: _Optional[int] = ..., lag_share: _Optional[float] = ..., lag_ring: _Optional[str] = ..., lost: _Optional[int] = ..., free_bytes: _Optional[int] = ..., space: _Optional[str] = ...) -> None: ...
