"""[faults]: how the simulator misbehaves. Each fault is off until it is given a probability or times."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from hotpath.config_types import Milliseconds, PositiveInt, Section, WholeInt

Probability = Annotated[float, Meta(ge=0, le=1)]
Kinds = Annotated[str, Meta(pattern=r"^[AUCEJ]*$")]  # OUCH messages to a client, by their letters


class FaultConfig(Section, frozen=True):
    """When one fault strikes: at an opportunity of its own kind, by chance or at a time."""

    probability: Probability = 0.0  # at each opportunity
    times_ms: list[WholeInt] = field(default_factory=list)  # rising, since the market began: the next opportunity then
    count_max: WholeInt = 0  # injections; 0: no bound

    @property
    def active(self) -> bool:
        """Whether it can ever strike."""
        return bool(self.probability or self.times_ms)


class LineFault(FaultConfig, frozen=True):
    """Of the feed: every packet of a line is an opportunity."""

    line: Literal["a", "b", "both"] = "both"


class GapFault(LineFault, frozen=True):
    """A packet and up to `packets_max - 1` behind it are lost."""

    packets_max: PositiveInt = 3


class ReorderFault(LineFault, frozen=True):
    """A packet comes after up to `packets_max` that were sent behind it."""

    packets_max: PositiveInt = 4


class DelayFault(LineFault, frozen=True):
    """The line stands still and then catches up, in order."""

    delay_ms: Milliseconds = 20


class SilenceFault(LineFault, frozen=True):
    """Nothing at all is sent, and what would have been is lost."""

    span_ms: Milliseconds = 100


class DivergenceFault(LineFault, frozen=True):
    """The same messages with other bytes, and late, since a receiver believes the copy that comes first."""

    line: Literal["a", "b", "both"] = "b"
    delay_ms: WholeInt = 5


class AnswerLateFault(FaultConfig, frozen=True):
    """An answer to a request for retransmission comes late."""

    delay_ms: Milliseconds = 30


class CutFault(FaultConfig, frozen=True):
    """A connection is cut after a byte drawn between 1 and `bytes_max`. Opportunity: each connection."""

    bytes_max: PositiveInt = 4000


class StallFault(FaultConfig, frozen=True):
    """The venue does not read (stall) or does not write (mute) for a while. Opportunity: each read or write."""

    span_ms: Milliseconds = 50


class ReportFault(FaultConfig, frozen=True):
    """A message of an account's stream comes late, or again, under a later number. Opportunity: each of `kinds`."""

    delay_ms: WholeInt = 5
    kinds: Kinds = "AUCEJ"


class RejectFault(FaultConfig, frozen=True):
    """An order or replacement is refused. Opportunity: each. Codes are taken in turn; empty: all of the protocol's."""

    codes: list[Annotated[int, Meta(ge=1, le=65535)]] = field(default_factory=list)


class AfterwardsFault(FaultConfig, frozen=True):
    """Something happens to an order or an execution of ours, some time later."""

    delay_ms: WholeInt = 5


class MarketFault(FaultConfig, frozen=True):
    """The market itself, for a while. Opportunity: ten milliseconds."""

    span_ms: Milliseconds = 50


class BurstFault(MarketFault, frozen=True):
    """Venue time runs `factor` times as fast."""

    factor: Annotated[float, Meta(gt=1, le=1000)] = 10.0


class FaultsConfig(Section, frozen=True):
    """Every fault by its name; hotpath/venues/README.md says what an engine does under each."""

    # the feed
    gap: GapFault = field(default_factory=GapFault)
    duplicate: LineFault = field(default_factory=LineFault)
    reorder: ReorderFault = field(default_factory=ReorderFault)
    delay: DelayFault = field(default_factory=DelayFault)
    silence: SilenceFault = field(default_factory=SilenceFault)
    corrupt: LineFault = field(default_factory=LineFault)
    divergence: DivergenceFault = field(default_factory=DivergenceFault)
    answer_late: AnswerLateFault = field(default_factory=AnswerLateFault)
    answer_lost: FaultConfig = field(default_factory=FaultConfig)
    answer_wrong: FaultConfig = field(default_factory=FaultConfig)
    # the order session
    cut_out: CutFault = field(default_factory=CutFault)  # counted in bytes that leave the venue
    cut_in: CutFault = field(default_factory=CutFault)  # counted in bytes that reach it
    trickle: FaultConfig = field(default_factory=FaultConfig)  # a write leaves byte by byte. Opportunity: each write
    stall: StallFault = field(default_factory=StallFault)
    mute: StallFault = field(default_factory=StallFault)
    late_report: ReportFault = field(default_factory=ReportFault)
    repeated_report: ReportFault = field(default_factory=ReportFault)
    reject: RejectFault = field(default_factory=RejectFault)
    unsolicited_cancel: AfterwardsFault = field(default_factory=AfterwardsFault)  # opportunity: each order taken
    broken_trade: AfterwardsFault = field(default_factory=AfterwardsFault)  # opportunity: each execution of ours
    corrected_trade: AfterwardsFault = field(default_factory=AfterwardsFault)  # the same
    end_of_session: FaultConfig = field(default_factory=FaultConfig)  # of the order sessions; opportunity: 10 ms
    # the market
    halt: MarketFault = field(default_factory=MarketFault)
    crossed_book: MarketFault = field(default_factory=MarketFault)
    burst: BurstFault = field(default_factory=BurstFault)
