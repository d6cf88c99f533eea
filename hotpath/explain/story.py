"""The parts of an order's story: plain structures, in the order in which things happened.

Prices are ticks beside text in money; spans are nanoseconds, instants nanoseconds since the epoch on the clock named.
"""

from __future__ import annotations

from msgspec import Struct, field


class Check(Struct, frozen=True):
    """Something that was computed again and held against what was recorded."""

    what: str
    holds: bool
    found: str = ""  # where it does not hold: both sides


class Level(Struct, frozen=True):
    """One price level of one side."""

    price_ticks: int
    price: str
    quantity_lots: int
    orders: int


class Sides(Struct, frozen=True):
    """The best levels of a book, best first."""

    bids: list[Level]
    asks: list[Level]


class WireBytes(Struct, frozen=True):
    """Bytes as they were on the wire, and what they say."""

    hex: str
    says: str
    fields: dict[str, str | int]


class MarketPart(Struct, frozen=True):
    """The market event that caused the decision."""

    raw_sequence: int
    session_sequence: int  # the venue's number of the message
    norm_sequence: int
    type: str
    flags: list[str]
    origin_time_ns: int  # the venue's clock
    message: WireBytes | None  # None: a state of the line, not a message
    before: Sides
    after: Sides


class RequestPart(Struct, frozen=True):
    """What a co-process or a Python strategy asked for."""

    seat: str
    intake_sequence: int
    type: str
    token: int
    target_token: int
    price: str
    quantity_lots: int
    score: float


class FeatureValue(Struct, frozen=True):
    """One feature at the event. `value` is None while it is not ready; `bits` are those of the double."""

    name: str
    value: float | None
    bits: str


class ComponentPart(Struct, frozen=True):
    """One strategy's part in the score."""

    name: str
    score: float  # in [-1, 1]
    weight: float
    contribution: float  # to the ensemble's score


class ModelPart(Struct, frozen=True):
    """What one model said to the event."""

    role: str
    name: str
    version: str
    generation: int
    image: str  # digests, in hex
    weights: str
    kernels: str  # SHA-256 of what the feature kernels do
    inputs: str
    output: float
    score: float
    ensemble: float
    target_lots: int
    position_lots: int
    status: str
    acts: bool  # the order follows it


class SignalPart(Struct, frozen=True):
    """What the strategy wanted."""

    sequence: int
    type: str
    side: str
    price_ticks: int
    price: str
    quantity_lots: int
    time_in_force: str
    target_order_id: int
    strategy: int
    strategy_epoch: int
    account: int
    leg: int
    score: float
    threshold: float
    bid: str  # as the strategy saw them
    ask: str
    why: str


class LimitRow(Struct, frozen=True):
    """One check of the gate: what it measured and what it held that against."""

    name: str
    asks: str
    value: int
    threshold: int
    unit: str
    relation: str
    value_text: str
    threshold_text: str
    outcome: str  # passes, refuses, not asked, forgiven


class RiskPart(Struct, frozen=True):
    """The gate's decision, and the state it was made in."""

    turn: int
    now_ns: int
    mode: str
    killed: bool
    kill_epoch: int
    limits_version: int
    decision: str  # approved, or the reason of the refusal
    position_lots: int
    open_buy_lots: int
    open_sell_lots: int
    open_orders: int
    gross_value: str
    limits: list[LimitRow]


class WirePart(Struct, frozen=True):
    """The frame that left."""

    record: int  # in the intent file
    user_ref: int
    digest: str
    frame: WireBytes
    sent: bool


class ReportPart(Struct, frozen=True):
    """One answer of the venue, or of the gateway."""

    sequence: int
    type: str
    text: str
    price_ticks: int
    price: str
    quantity_lots: int
    leaves_lots: int
    cumulative_lots: int
    match_id: int
    reason: str
    liquidity: str
    origin_time_ns: int
    after_sent_ns: int | None  # the answer's bytes in memory, since the frame was handed over


class Hop(Struct, frozen=True):
    """A span between two instants of the engine's clock."""

    name: str
    ns: int
    what: str


class Story(Struct):
    """All of it. Parts that this order does not have are None."""

    order_id: int
    headline: str
    outcome: str
    engine: str
    symbol: str
    trading_day: int
    journal: str
    build: str
    market: MarketPart | None = None
    request: RequestPart | None = None
    features: list[FeatureValue] = field(default_factory=list)
    components: list[ComponentPart] = field(default_factory=list)
    models: list[ModelPart] = field(default_factory=list)
    signal: SignalPart | None = None
    risk: RiskPart | None = None
    wire: WirePart | None = None
    reports: list[ReportPart] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    related: dict[str, list[int]] = field(default_factory=dict)  # orders of the same chain, by what they are to it
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything that was computed again is as recorded."""
        return all(check.holds for check in self.checks)
