"""From a journal and an order id to the order's story.

    order id --> intent (its sequence is in the id) --> what caused it --> market event --> raw bytes
                  |--> decision of risk --> command --> intent file: the frame --> executions

Whatever can be computed again is, by the path's own kernels, and held against the record: a check that does not hold
is said, never smoothed over.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import enum_names, flag_names
from hotpath import intents
from hotpath.config import Config
from hotpath.engine import EngineSpec
from hotpath.errors import IntentsError, JournalError
from hotpath.event_view import price_text, type_words
from hotpath.explain.models import models_at
from hotpath.explain.retell import (
    RetoldFeatures,
    RetoldFeed,
    RetoldGate,
    array_of,
    limit_row,
    rolls_between,
    whole,
)
from hotpath.explain.story import (
    Check,
    ComponentPart,
    Hop,
    MarketPart,
    ReportPart,
    RequestPart,
    RiskPart,
    SignalPart,
    Story,
    WirePart,
)
from hotpath.explain.wire import itch_words, order_words
from hotpath.journal import Journal
from hotpath.stages import fill_signal_config, intents_path
from hotpath.topology import Placement

MICROS = 1_000_000
TIMES = ("stamp", "ingress_time_ns", "publish_time_ns")  # of a header: measured, never the same again
REFUSALS = (lib.EXEC_REFUSED,)


def explain_order(folder: Path, order_id: int) -> Story:
    """The story of one order of a run. Raises JournalError when the journal does not hold it, or not enough of it."""
    return Teller(Journal(folder), order_id).tell()


class Teller:
    """One order, and all of the journal that concerns it."""

    def __init__(self, journal: Journal, order_id: int) -> None:
        self.journal = journal
        self.run = journal.run
        self.order_id = order_id
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self.signal_sequence = order_id - self.run.order_id_base - 1
        self._refuse_unknown()
        whole(journal, "signal", self.signal_sequence + 1, "this order's intent")
        self.intent = self._event("signal", self.signal_sequence)
        self.instrument = int(self.intent["header"]["instrument"])
        known = self.instrument < len(journal.instruments)
        self.entry = journal.instruments[self.instrument] if known else None
        self.symbol = self.entry["symbol"].decode() if self.entry is not None else ""
        tick_value = int(self.entry["tick_value_micros"]) if self.entry is not None else 0
        self.price = partial(price_text, tick_value_micros=tick_value)

    def _refuse_unknown(self) -> None:
        base, last = self.run.order_id_base, self.run.order_id_base + self.journal.next("signal")
        if self.order_id > base and self.order_id <= last:
            return
        where = f"this run has orders {base + 1:,} to {last:,}" if last > base else "this run has no order"
        earlier = 0 < self.order_id <= base
        raise JournalError(
            f"{self.journal.folder}: there is no order {self.order_id:,}: {where}",
            next_step="it is of an earlier run of that day: name that run's journal"
            if earlier
            else "hotpath journal cat --ring cmd lists the orders of a run",
        )

    def _event(self, ring: str, sequence: int) -> npt.NDArray[Any]:
        """One event by its sequence. Raises JournalError when it is not there."""
        found = self.journal.events(ring, sequence, sequence + 1)
        if not len(found):
            raise JournalError(f"{self.journal.folder}: event {sequence:,} of ring {ring} is not in the journal")
        event: npt.NDArray[Any] = found[0]
        return event

    def _check(self, what: str, holds: bool, found: str = "") -> None:
        self.checks.append(Check(what, bool(holds), "" if holds else found))

    # ---- the whole -----------------------------------------------------------------------------------

    def tell(self) -> Story:
        """Part by part, as it happened."""
        story = Story(
            order_id=self.order_id,
            headline="",
            outcome="",
            engine=self.run.config.engine.name,
            symbol=self.symbol,
            trading_day=self.run.trading_day,
            journal=str(self.journal.folder),
            build=f"{self.run.layout_hash:016x}",
            checks=self.checks,
            notes=self.notes,
        )
        market = self._cause_sequence("norm")
        seen = market if market is not None else self._answered()
        if seen is not None:
            story.market = self._market(seen)
        story.request = self._request()
        story.signal = self._signal()
        if market is not None:
            self._opinion(story, market)
        story.risk = self._risk()
        story.wire = self._wire()
        story.reports = self._reports()
        story.hops = self._hops(story)
        story.related = self._related()
        story.headline = self._headline()
        story.outcome = outcome_of(story)
        return story

    def _cause_sequence(self, ring: str) -> int | None:
        """Sequence of the event of that ring which the intent answers; None: another thing caused it."""
        header = self.intent["header"]
        wanted = {"norm": lib.INPUT_NORM, "intake": lib.INPUT_INTAKE}[ring]
        return int(header["cause_sequence"]) if int(header["cause_input"]) == wanted else None

    def _answered(self) -> int | None:
        """The market event that a seat says its request answers; None where it does not say, or nobody asked."""
        intake = self._cause_sequence("intake")
        if intake is None:
            return None
        header = self._event("intake", intake)["header"]
        said = int(header["cause_sequence"])
        if int(header["cause_input"]) != lib.INPUT_NORM or said >= self.journal.next("norm"):
            return None
        about = int(self._event("norm", said)["header"]["instrument"])
        return said if about == self.instrument else None

    def _headline(self) -> str:
        kind = type_words()[int(self.intent["header"]["type"])]
        side = side_word(int(self.intent["side"]))
        target = int(self.intent["target_order_id"])
        if int(self.intent["header"]["type"]) == lib.SIGNAL_CANCEL:
            return f"cancel order {target:,}, {side} {self.symbol}"
        price = self.price(int(self.intent["price_ticks"]))
        asked = f"{side} {int(self.intent['quantity_lots']):,} {self.symbol} @ {price}"
        return asked if kind == "new" else f"replace order {target:,}: {asked}"

    # ---- the market ----------------------------------------------------------------------------------

    def _market(self, sequence: int) -> MarketPart | None:
        """The event, the bytes that it came from, and the book before and after it."""
        whole(self.journal, "norm", sequence + 1, "the market event of this order")
        norm = self._event("norm", sequence)
        header = norm["header"]
        raw_sequence = int(header["cause_sequence"])
        whole(self.journal, "raw", raw_sequence + 1, "the book")
        feed = RetoldFeed(self.run, self.journal.instruments)
        feed.advance(self.journal, raw_sequence)
        before = feed.sides(self.instrument, self.price)
        feed.advance(self.journal, raw_sequence + 1)
        after = feed.sides(self.instrument, self.price)
        self._check_market(norm, feed.last_norm(), raw_sequence)
        raw = self._event("raw", raw_sequence)
        message = None
        if int(raw["header"]["type"]) == lib.RAW_MESSAGE:
            message = itch_words(bytes(raw["bytes"][: int(raw["length"])]))
        return MarketPart(
            raw_sequence=raw_sequence,
            session_sequence=int(raw["session_sequence"]),
            norm_sequence=sequence,
            type=type_words()[int(header["type"])],
            flags=[name.removeprefix("FLAG_").lower() for name in flag_names("event_flag", int(header["flags"]))],
            origin_time_ns=int(header["origin_time_ns"]),
            message=message,
            before=before,
            after=after,
        )

    def _check_market(self, recorded: Any, retold: Any, raw_sequence: int) -> None:
        """The event that the bytes make again is the one that the path saw."""
        what = "the book, rebuilt from the raw bytes, makes the same market event"
        if retold is None or int(retold["header"]["cause_sequence"]) != raw_sequence:
            self._check(what, False, "the bytes make no event")
            return
        differing = [
            name
            for name in recorded.dtype.names
            if name != "header" and not np.array_equal(recorded[name], retold[name])
        ]
        differing += [
            name
            for name in recorded["header"].dtype.names
            if name not in TIMES and recorded["header"][name] != retold["header"][name]
        ]
        self._check(what, not differing, f"differs in {', '.join(differing)}")

    # ---- who asked -------------------------------------------------------------------------------------

    def _request(self) -> RequestPart | None:
        """What a seat asked for, where one did."""
        sequence = self._cause_sequence("intake")
        if sequence is None:
            return None
        event = self._event("intake", sequence)
        seats = self.run.config.seats
        index = int(event["seat"])
        return RequestPart(
            seat=seats[index].name if index < len(seats) else str(index),
            intake_sequence=sequence,
            type=type_words()[int(event["header"]["type"])],
            token=int(event["token"]),
            target_token=int(event["target_token"]),
            price=self.price(int(event["price_ticks"])),
            quantity_lots=int(event["quantity_lots"]),
            score=float(event["score"]),
        )

    def _opinion(self, story: Story, market: int) -> None:
        """Features at the event and what the strategies made of them; equal to the bit to what the path saw."""
        config = self.run.config.signal
        told = RetoldFeatures(self._signal_config(), self.instrument)
        rolls = rolls_between(self.run, self.journal.events("signal.ctl"), lib.SIGNAL_INPUT_NORM)
        told.advance(self.journal, market + 1, rolls)
        scale = lib.STRATEGY_COMPONENT_SCALE
        recorded = [int(each) for each in self.intent["component"]]
        custom = recorded[lib.COMPONENT_CUSTOM] / scale
        story.models = models_at(self.journal, self.run.config.models.enabled, market, self.instrument)
        acting = [each.score for each in story.models if each.acts and each.role != "challenger"]
        acting += [each.score for each in story.models if each.acts]
        modelled = acting[0] if acting else recorded[lib.COMPONENT_MODEL] / scale
        score, components = told.score(custom, modelled)
        story.features = told.features()
        weights = [float(each) for each in told.config.strategy.weight]
        total = sum(abs(weight) for weight in weights) or 1.0
        names = enum_names("strategy_component")
        story.components = [
            ComponentPart(
                name=names[index].removeprefix("COMPONENT_").lower(),
                score=components[index] / scale,
                weight=weights[index],
                contribution=weights[index] * components[index] / scale / total,
            )
            for index in range(lib.COMPONENTS_MAX)
            if weights[index]
        ]
        self._check(
            "each strategy, computed again from the features, says what the path said",
            components == recorded,
            f"{components} now, {recorded} recorded",
        )
        if not acting and recorded[lib.COMPONENT_MODEL]:
            self.notes.append("the model was not asked at this event: its score is the one that it held")
            return
        if config.native:
            self.notes.append(
                f"the score custom is code of somebody's own ({config.native}): it is shown as recorded, not run again"
            )
            return
        bits = [np.float64(each).view(np.uint64) for each in (score, self.intent["score"])]
        self._check(
            "the score is equal to the bit",
            bits[0] == bits[1],
            f"{score!r} now, {float(self.intent['score'])!r} recorded",
        )

    def _signal_config(self) -> Any:
        target = ffi.new("signal_config *")
        spec = EngineSpec(
            config=self.run.config,
            instruments=self.journal.instruments,
            placement=Placement((), ()),
            midnight_ns=self.run.midnight_ns,
            strategy_epoch=self.run.strategy_epoch,
        )
        fill_signal_config(target, spec)
        return target

    def _signal(self) -> SignalPart:
        intent, header = self.intent, self.intent["header"]
        return SignalPart(
            sequence=self.signal_sequence,
            type=type_words()[int(header["type"])],
            side=side_word(int(intent["side"])),
            price_ticks=int(intent["price_ticks"]),
            price=self.price(int(intent["price_ticks"])),
            quantity_lots=int(intent["quantity_lots"]),
            time_in_force=enum_names("time_in_force")[int(intent["time_in_force"])].removeprefix("TIF_").lower(),
            target_order_id=int(intent["target_order_id"]),
            strategy=int(intent["strategy"]),
            strategy_epoch=int(intent["strategy_epoch"]),
            account=int(intent["account"]),
            leg=int(intent["leg"]),
            score=float(intent["score"]),
            threshold=float(intent["threshold"]),
            bid=self.price(int(intent["bid_price_ticks"])),
            ask=self.price(int(intent["ask_price_ticks"])),
            why=self._why(),
        )

    def _why(self) -> str:
        """Which rule of the strategy spoke."""
        intent = self.intent
        kind, cause = int(intent["header"]["type"]), int(intent["header"]["cause_input"])
        score, threshold = float(intent["score"]), float(intent["threshold"])
        if cause == lib.INPUT_INTAKE:
            return "a co-process or a Python strategy asked for it"
        if cause == lib.INPUT_TIMER:
            return "time: the order was older than order_life_ms, or had no answer for answer_timeout_ms"
        if kind == lib.SIGNAL_NEW:
            return f"|score| {abs(score):.4f} reached the threshold {threshold:g}, and no order was at work"
        if kind == lib.SIGNAL_CANCEL:
            return f"the score {score:+.4f} turned against the order, past the threshold {threshold:g}"
        return "the touch moved away from the resting order, which follows it"

    # ---- risk ------------------------------------------------------------------------------------------

    def _risk(self) -> RiskPart:
        """The gate as it stood, what each check measured, and its decision made again."""
        told = RetoldGate(self.run, self.journal.instruments)
        told.advance(self.journal, self.signal_sequence)
        intent = array_of("signal_event", told.keep(np.ascontiguousarray(self.intent.reshape(1))))
        rows = [limit_row(row, self.price) for row in told.measure(intent, self.order_id)]
        plan, gate = told.told.plan, told.gate
        state = gate.instrument[self.instrument] if self.instrument < gate.instrument_count else None
        part = RiskPart(
            turn=int(told.told.turn),
            now_ns=int(plan.now_ns),
            mode=enum_names("trading_mode")[plan.mode].removeprefix("MODE_").lower(),
            killed=bool(plan.killed),
            kill_epoch=int(plan.kill_epoch),
            limits_version=int(plan.limits_version),
            decision="",
            position_lots=int(state.position_lots) if state is not None else 0,
            open_buy_lots=int(state.open_buy_lots) if state is not None else 0,
            open_sell_lots=int(state.open_sell_lots) if state is not None else 0,
            open_orders=int(gate.open_orders),
            gross_value=f"{int(gate.gross_value_micros) / MICROS:,.2f}",
            limits=rows,
        )
        reason = told.decide(intent)
        decision = "approved" if reason == lib.REJECT_NONE else reason_word(reason)
        self._check_decision(told, reason, rows)
        return _replace(part, decision=decision)

    def _check_decision(self, told: RetoldGate, reason: int, rows: list[Any]) -> None:
        command = self._command
        recorded = lib.REJECT_NONE if command is not None else self._recorded_refusal()
        self._check(
            "the gate, rebuilt from the recorded turns, decides the same",
            reason == recorded,
            f"{reason_word(reason)} now, {'nothing' if recorded is None else reason_word(recorded)} recorded",
        )
        first = next((row.name for row in rows if row.outcome == "refuses"), "")
        self._check(
            "the limits below lead to that decision", first == ("" if not reason else reason_word(reason)), first
        )
        if command is not None:
            now, then = int(told.told.command.digest), int(command["digest"])
            self._check("the command's digest is the same", now == then, f"{now:016x} now, {then:016x} recorded")

    @cached_property
    def _command(self) -> Any:
        """The approved command; None when risk refused."""
        return self._first("cmd", lambda events: events["order_id"] == self.order_id)

    def _recorded_refusal(self) -> int | None:
        found = self._first("reject", lambda events: events["order_id"] == self.order_id)
        return None if found is None else int(found["reason"])

    def _first(self, ring: str, wanted: Any) -> Any:
        events = self.journal.events(ring)
        places = np.flatnonzero(wanted(events))
        return events[int(places[0])] if len(places) else None

    # ---- the wire ----------------------------------------------------------------------------------------

    @cached_property
    def _record(self) -> tuple[int, Any, bytes] | None:
        """Index, record and frame of the intent file."""
        kept = self.journal.folder / "intents"
        path = kept if kept.exists() else intents_path(self.run.config)
        try:
            with intents.read_intents(path) as file:
                records, frames = file.records(), file.frames()
        except IntentsError as error:
            if self._command is not None:
                self.notes.append(f"what went over the wire is not known: {error}")
            return None
        places = np.flatnonzero(records["order_id"] == self.order_id)
        if not len(places):
            return None
        index = int(places[0])
        return index, np.array(records[index]), frames[index]

    def _wire(self) -> WirePart | None:
        if self._record is None:
            return None
        index, record, frame = self._record
        kind = int(next(iter(set(self.journal.events("exec")["venue"].tolist()) - {0}), 0)) or _venue_kind(
            self.run.config
        )
        if self._command is not None:
            same = int(record["digest"]) == int(self._command["digest"])
            self._check("the frame was stored for the command that risk approved", same, "another digest")
        return WirePart(
            record=index,
            user_ref=int(record["user_ref"]),
            digest=f"{int(record['digest']):016x}",
            frame=order_words(frame, kind=kind),
            sent=bool(record["sent_time_ns"]),
        )

    # ---- what became of it -----------------------------------------------------------------------------------

    def _reports(self) -> list[ReportPart]:
        """Every execution that names the order, in order; a refusal by risk is told in its own part."""
        events = self.journal.events("exec")
        if not len(events):
            return []
        named = (events["order_id"] == self.order_id) | (events["target_order_id"] == self.order_id)
        sequences = self.journal.sequences("exec")
        sent_ns = int(self._record[1]["sent_time_ns"]) if self._record is not None else 0
        return [self._report(int(sequences[i]), events[i], sent_ns) for i in np.flatnonzero(named).tolist()]

    def _report(self, sequence: int, event: Any, sent_ns: int) -> ReportPart:
        kind = int(event["header"]["type"])
        ingress_ns = int(event["header"]["ingress_time_ns"])
        reason = int(event["reason"])
        told = ingress_ns - sent_ns if sent_ns and ingress_ns >= sent_ns and int(event["session_sequence"]) else None
        if kind in REFUSALS:
            word = reason_word(reason)
        else:
            word = (chr(reason) if 0x20 < reason < 0x7F else str(reason)) if reason else ""
        return ReportPart(
            sequence=sequence,
            type=type_words().get(kind, str(kind)),
            text=self._report_text(kind, event),
            price_ticks=int(event["price_ticks"]),
            price=self.price(int(event["price_ticks"])),
            quantity_lots=int(event["quantity_lots"]),
            leaves_lots=int(event["leaves_lots"]),
            cumulative_lots=int(event["cumulative_lots"]),
            match_id=int(event["match_id"]),
            reason=word,
            liquidity=chr(event["liquidity"]) if event["liquidity"] else "",
            origin_time_ns=int(event["header"]["origin_time_ns"]),
            after_sent_ns=told,
        )

    def _report_text(self, kind: int, event: Any) -> str:
        lots, price = int(event["quantity_lots"]), self.price(int(event["price_ticks"]))
        order, target = int(event["order_id"]), int(event["target_order_id"])
        if kind == lib.EXEC_FILL:
            return f"{lots:,} @ {price}, {int(event['leaves_lots']):,} left"
        if kind == lib.EXEC_REPLACED and target == self.order_id:
            return f"gave way to order {order:,}"
        if kind == lib.EXEC_REPLACED:
            return f"in place of order {target:,}: {lots:,} @ {price}"
        if kind == lib.EXEC_ACCEPTED:
            return f"{int(event['leaves_lots']):,} live @ {price}"
        if kind == lib.EXEC_CANCELED:
            return f"{lots:,} left the book, {int(event['leaves_lots']):,} stand"
        return f"{lots:,} @ {price}" if lots else ""

    # ---- time ------------------------------------------------------------------------------------------------

    def _hops(self, story: Story) -> list[Hop]:
        """Spans of the engine's clock, each from where the one before ended."""
        hops: list[Hop] = []

        def hop(name: str, begin: int, end: int, what: str) -> None:
            if begin and end and end >= begin:
                hops.append(Hop(name, end - begin, what))
            elif begin and end:
                self.notes.append(f"the hop {name} is negative by {begin - end:,} ns: two clocks, or a step of one")

        signal = self.intent["header"]
        t0 = int(signal["ingress_time_ns"])
        if story.market is not None and story.request is None:
            norm = self._event("norm", story.market.norm_sequence)["header"]
            raw = self._event("raw", story.market.raw_sequence)["header"]
            hop(
                "wait",
                int(raw["ingress_time_ns"]),
                int(norm["ingress_time_ns"]),
                "behind the packet's other messages",
            )
            hop("feed", int(norm["ingress_time_ns"]), int(norm["publish_time_ns"]), "decode, book, publish")
            hop("signal", int(norm["publish_time_ns"]), int(signal["publish_time_ns"]), "features, strategies, intent")
        else:
            hop("signal", t0, int(signal["publish_time_ns"]), "cause to intent")
        if self._command is None:
            return hops
        command = self._command["header"]
        hop("risk", int(signal["publish_time_ns"]), int(command["publish_time_ns"]), "every limit, command")
        if self._record is None or not int(self._record[1]["sent_time_ns"]):
            return hops
        sent_ns = int(self._record[1]["sent_time_ns"])
        hop("gateway", int(command["publish_time_ns"]), sent_ns, "intent stored, frame handed over")
        hop("T0 to T1", t0, sent_ns, "the whole path")
        first = next((report for report in story.reports if report.after_sent_ns is not None), None)
        if first is not None and first.after_sent_ns is not None:
            hops.append(Hop("answer", first.after_sent_ns, "until the venue's first answer was in memory"))
        return hops

    def _related(self) -> dict[str, list[int]]:
        """Orders of the same chain."""
        events = self.journal.events("signal")
        base = self.run.order_id_base + 1
        naming = np.flatnonzero(events["target_order_id"] == self.order_id)
        found: dict[str, list[int]] = {}
        if int(self.intent["target_order_id"]):
            found["of order"] = [int(self.intent["target_order_id"])]
        for kind, word in ((lib.SIGNAL_REPLACE, "replaced by"), (lib.SIGNAL_CANCEL, "canceled by")):
            chosen = [int(i) + base for i in naming if int(events["header"]["type"][i]) == kind]
            if chosen:
                found[word] = chosen
        return found


def _replace(part: RiskPart, **changes: Any) -> RiskPart:
    import msgspec

    return msgspec.structs.replace(part, **changes)


def _venue_kind(config: Config) -> int:
    return {"paper": int(lib.VENUE_PAPER), "ouch50": int(lib.VENUE_OUCH50), "ouch42": int(lib.VENUE_OUCH42)}[
        config.gateway.kind
    ]


def side_word(side: int) -> str:
    """ "buy" or "sell"."""
    return "sell" if side == lib.SIDE_SELL else "buy"


def reason_word(reason: int) -> str:
    """The name of an enum reject_reason; 0 is "approved"."""
    if reason == lib.REJECT_NONE:
        return "approved"
    return enum_names("reject_reason").get(reason, str(reason)).removeprefix("REJECT_").lower()


def outcome_of(story: Story) -> str:
    """What became of the order, in a few words."""
    if story.risk is not None and story.risk.decision != "approved":
        return f"refused by risk: {story.risk.decision.replace('_', ' ')}"
    refused = next((report for report in story.reports if report.type == "refused"), None)
    if refused is not None:
        return f"not sent: {refused.reason.replace('_', ' ')}"
    filled = sum(report.quantity_lots for report in story.reports if report.type == "fill")
    last = next((report.type for report in reversed(story.reports) if report.type != "fill"), "")
    if filled:
        rest = next((report.leaves_lots for report in reversed(story.reports) if report.type == "fill"), 0)
        return f"filled {filled:,}" + (
            f", then {last.replace('_', ' ')}" if rest and last not in ("", "accepted") else ""
        )
    if not story.reports:
        return "sent, no answer in the journal" if story.wire is not None else "approved, not sent in the journal"
    return last.replace("_", " ")
