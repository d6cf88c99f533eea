"""Every fault of the matrix: how it is configured, what an engine must do, and what shows that it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ffi import lib
from hotpath.venues.faulty_desk import CODES_42, CODES_50
from tests.faults.session import Case, Evidence

Check = Callable[[Evidence], list[str]]

TAKER: dict[str, dict[str, Any]] = {"signal": {"style": "take", "cooldown_ms": 2}}  # one that is filled often
TWO_LINES: dict[str, Any] = {"feed_b_port": 0}
GAP = {"probability": 0.04}


def all_of(*checks: Check) -> Check:
    """Everything that any of them finds."""
    return lambda evidence: [wrong for check in checks for wrong in check(evidence)]


def at_least(path: str, wanted: int | str = 1, *, share: float = 1.0) -> Check:
    """A counter reaches a number, another counter, or with "injected" a share of the injections."""

    def check(evidence: Evidence) -> list[str]:
        if isinstance(wanted, int):
            bound = wanted
        else:
            bound = int((evidence.injections if wanted == "injected" else evidence.count(wanted)) * share)
        found = evidence.count(path)
        return [] if found >= bound else [f"{path} = {found}, expected at least {bound}"]

    return check


def at_most(path: str, bound: int) -> Check:
    """A counter stays at or under a number."""
    return lambda e: [] if e.count(path) <= bound else [f"{path} = {e.count(path)}, expected at most {bound}"]


def exactly(path: str, wanted: int | str) -> Check:
    """A counter equals a number, another counter, or "injected"."""

    def check(evidence: Evidence) -> list[str]:
        if isinstance(wanted, int):
            value = wanted
        else:
            value = evidence.injections if wanted == "injected" else evidence.count(wanted)
        found = evidence.count(path)
        return [] if found == value else [f"{path} = {found}, expected {value} ({wanted})"]

    return check


def broken_packets_are_counted(evidence: Evidence) -> list[str]:
    """Each is malformed or of another session."""
    found = evidence.count("feed.packets_malformed") + evidence.count("feed.packets_other_session")
    return [] if found == evidence.injections else [f"{found} packets refused, {evidence.injections} were broken"]


def wrong_answers_are_refused(evidence: Evidence) -> list[str]:
    """They are malformed, of another session, or none to what was asked."""
    names = ("packets_malformed", "packets_other_session", "packets_wrong_answer", "packets_duplicate")
    found = sum(evidence.count(f"feed.{name}") for name in names)
    return [] if found >= evidence.injections // 2 else [f"{found} packets refused of {evidence.injections}"]


def every_code_was_given(evidence: Evidence) -> list[str]:
    """And each refused order is told with the venue's own reason."""
    codes = set(CODES_50 if evidence.ouch50 else CODES_42)
    missing = codes - evidence.account.reasons
    wrong = [f"codes never given: {sorted(missing)}"] if missing and evidence.injections >= len(codes) else []
    executions = evidence.events("exec")
    kinds = executions["header"]["type"]
    refused = executions[np.isin(kinds, (lib.EXEC_REJECTED, lib.EXEC_REPLACE_REJECTED))]
    told = {int(reason) for reason in refused["reason"][refused["session_sequence"] != 0]}
    if told != evidence.account.reasons:
        wrong.append(f"reasons published {sorted(told)}, on the wire {sorted(evidence.account.reasons)}")
    return wrong


def nothing_new_after_a_repeated_fill(evidence: Evidence) -> list[str]:
    """The gateway stops new orders within the turn that hears of it."""
    executions, commands = evidence.events("exec"), evidence.events("cmd")
    repeated = executions[executions["header"]["type"] == lib.EXEC_REPEATED]
    if not len(repeated):
        return ["no execution was told twice"]
    first_ns = int(repeated["header"]["publish_time_ns"][0])
    records = evidence.sent
    late = records[(records["time_ns"] > first_ns) & (records["type"] != lib.CMD_CANCEL)]
    wrong = [f"{len(late)} orders sent after it"] if len(late) else []
    if not len(commands):
        wrong.append("no command at all")
    return wrong


def repetitions_change_nothing(evidence: Evidence) -> list[str]:
    """As many as the stream has are told apart."""
    found, wire = evidence.count("gateway.repeated"), evidence.account.repeated
    return [] if found == wire > 0 else [f"gateway.repeated = {found}, the wire repeats {wire} executions"]


def breaks_and_corrections(kind: str) -> Check:
    """The engine counts as many as the wire tells."""

    def check(evidence: Evidence) -> list[str]:
        wire = evidence.account.broken if kind == "broken" else evidence.account.corrected
        found = evidence.count(f"gateway.{kind}")
        return [] if found == wire > 0 else [f"gateway.{kind} = {found}, on the wire {wire}"]

    return check


def nothing_rests_in_a_halt(evidence: Evidence) -> list[str]:
    """No intent was approved for an instrument after the gate had heard of its halt and before its end."""
    norm, signals, commands = evidence.events("norm"), evidence.events("signal"), evidence.events("cmd")
    status = norm["header"]["type"] == lib.NORM_STATUS
    wrong = 0
    placing = commands[commands["header"]["type"] != lib.CMD_CANCEL]
    for command in placing:
        cause = signals[int(command["header"]["cause_sequence"])]["header"]
        if int(cause["cause_input"]) != lib.INPUT_NORM:
            continue
        before = norm[: int(cause["cause_sequence"]) + 1]
        mine = before[status[: len(before)] & (before["header"]["instrument"] == cause["instrument"])]
        wrong += len(mine) > 0 and int(mine["order_ref"][-1]) != lib.STATE_TRADING
    return [f"{wrong} orders in a halted instrument"] if wrong else []


NO_GAP_LOST = exactly("feed.gaps_lost", 0)
FIRST_GAP_ONLY = all_of(NO_GAP_LOST, at_most("feed.gaps", 1))  # what was sent before the engine listened
# Some connections are cut before their login is answered.
RECONNECTS = all_of(
    at_least("gateway.disconnects", "injected", share=0.8), at_least("gateway.logins", "injected", share=0.8)
)

STORM: dict[str, dict[str, Any]] = {
    "gap": {"probability": 0.005},
    "duplicate": {"probability": 0.005},
    "reorder": {"probability": 0.005},
    "delay": {"probability": 0.005},
    "corrupt": {"probability": 0.005},
    "answer_late": {"probability": 0.2},
    "answer_lost": {"probability": 0.2},
    "answer_wrong": {"probability": 0.2},
    "cut_out": {"probability": 0.7, "bytes_max": 1500},
    "cut_in": {"probability": 0.7, "bytes_max": 1500},
    "trickle": {"probability": 0.02},
    "stall": {"probability": 0.02},
    "mute": {"probability": 0.01, "span_ms": 30},
    "late_report": {"probability": 0.1},
    "repeated_report": {"probability": 0.1, "kinds": "AUJ"},
    "reject": {"probability": 0.1},
    "unsolicited_cancel": {"probability": 0.3, "delay_ms": 1},
    "broken_trade": {"probability": 0.3},
    "corrected_trade": {"probability": 0.4},
    "halt": {"probability": 0.1},
    "crossed_book": {"probability": 0.1, "span_ms": 10},
    "burst": {"probability": 0.05, "span_ms": 10},
}
STORMY: dict[str, dict[str, Any]] = {"signal": {"style": "join", "cooldown_ms": 2}}


def all_faults_struck(evidence: Evidence) -> list[str]:
    """Each of the storm's faults, once at least in a long one."""
    missing = [name for name, count in evidence.injected.items() if not count]
    return [f"never struck: {', '.join(missing)}"] if missing and evidence.injections >= 1000 else []


CASES: tuple[Case, ...] = (
    # ---- the feed
    Case(
        "gap",
        {"gap": GAP},
        "books stale at once; asks again; whole after the answers",
        all_of(NO_GAP_LOST, exactly("feed.gaps_closed", "feed.gaps"), at_least("feed.recovered")),
        ("feed.gaps", "feed.recovered", "signal.suppressed_stale"),
    ),
    Case(
        "gap_one_line",
        {"gap": {"probability": 0.05, "line": "a"}},
        "the other line fills it; books never stale",
        all_of(FIRST_GAP_ONLY, at_least("feed.b_first", "injected", share=0.8)),
        ("feed.holes_filled", "feed.gaps", "feed.b_first"),
        venue=TWO_LINES,
        engine={"feed": {"gap_wait_us": 20_000}},
    ),
    Case(
        "duplicate",
        {"duplicate": {"probability": 0.05}},
        "the copy is dropped",
        all_of(at_least("feed.packets_duplicate", "injected", share=0.9), FIRST_GAP_ONLY),
        ("feed.packets_duplicate",),
    ),
    Case(
        "reorder",
        {"reorder": {"probability": 0.05}},
        "kept aside until what is missing comes",
        all_of(NO_GAP_LOST, at_least("feed.reordered")),
        ("feed.reordered", "feed.holes_filled", "feed.gaps"),
    ),
    Case(
        "delay",
        {"delay": {"probability": 0.05, "delay_ms": 15}},
        "takes what comes, in order",
        FIRST_GAP_ONLY,
        ("feed.messages",),
    ),
    Case(
        "divergence",
        {"divergence": {"probability": 0.06, "delay_ms": 40}},
        "the first copy counts; each other one is counted",
        all_of(NO_GAP_LOST, at_least("feed.divergences", "injected", share=0.9)),
        ("feed.divergences",),
        venue=TWO_LINES,
    ),
    Case(
        "answer_late",
        {"gap": GAP, "answer_late": {"probability": 0.5, "delay_ms": 20}},
        "stale for longer; asks again; whole in the end",
        all_of(NO_GAP_LOST, exactly("feed.gaps_closed", "feed.gaps")),
        ("feed.gaps", "feed.requests", "feed.request_timeouts"),
        counted=("answer_late",),
    ),
    Case(
        "answer_lost",
        {"gap": GAP, "answer_lost": {"probability": 0.5}},
        "asks again until it is answered",
        all_of(NO_GAP_LOST, exactly("feed.gaps_closed", "feed.gaps"), at_least("feed.request_timeouts")),
        ("feed.gaps", "feed.requests", "feed.request_timeouts"),
        counted=("answer_lost",),
    ),
    Case(
        "answer_wrong",
        {"gap": GAP, "answer_wrong": {"probability": 0.5}},
        "the answer is refused and counted; asks again",
        all_of(NO_GAP_LOST, exactly("feed.gaps_closed", "feed.gaps"), wrong_answers_are_refused),
        ("feed.gaps", "feed.packets_wrong_answer", "feed.packets_malformed", "feed.packets_other_session"),
        counted=("answer_wrong",),
    ),
    Case(
        "gap_lost",
        {"gap": {"probability": 0.02}},
        "given up after gap_timeout_ms; books stale until a snapshot",
        all_of(at_least("feed.gaps_lost"), at_least("feed.snapshots")),
        ("feed.gaps_lost", "feed.snapshots", "signal.suppressed_stale"),
        venue={"glimpse_port": 0},
        engine={"feed": {"rerequest_host": "", "gap_timeout_ms": 10}},
        whole=False,
    ),
    Case(
        "silence",
        {"silence": {"probability": 0.02, "span_ms": 40}},
        "books stale after silence_ms; whole when heard and filled",
        all_of(NO_GAP_LOST, at_least("feed.silences", "injected", share=0.25)),
        ("feed.silences", "feed.recovered", "signal.suppressed_stale"),
        engine={"feed": {"silence_ms": 15}},
    ),
    Case(
        "corrupt",
        {"corrupt": {"probability": 0.05}},
        "dropped and counted; what it held is asked for",
        all_of(NO_GAP_LOST, broken_packets_are_counted),
        ("feed.packets_malformed", "feed.packets_other_session", "feed.recovered"),
    ),
    # ---- the order session
    Case(
        "cut_out",
        {"cut_out": {"probability": 1.0, "bytes_max": 700}},
        "down, CANCEL_ONLY; logs in again; replay; unknown orders cancelled, none resent",
        RECONNECTS,
        ("gateway.disconnects", "gateway.logins", "gateway.unknown", "gateway.settled"),
        engine=TAKER,
    ),
    Case(
        "cut_in",
        {"cut_in": {"probability": 1.0, "bytes_max": 700}},
        "the same; an order cut off in its middle is settled as never sent",
        RECONNECTS,
        ("gateway.disconnects", "gateway.logins", "gateway.unknown", "gateway.settled"),
        engine=TAKER,
    ),
    Case(
        "cut_out_42",
        {"cut_out": {"probability": 1.0, "bytes_max": 700}},
        "the same in OUCH 4.2",
        RECONNECTS,
        ("gateway.disconnects", "gateway.logins", "gateway.unknown", "gateway.settled"),
        protocol="ouch42",
        engine=TAKER,
        calm_seconds=1.5,  # nothing but a later order settles an unknown one
    ),
    Case(
        "cut_in_42",
        {"cut_in": {"probability": 1.0, "bytes_max": 700}},
        "the same in OUCH 4.2",
        RECONNECTS,
        ("gateway.disconnects", "gateway.logins", "gateway.unknown", "gateway.settled"),
        protocol="ouch42",
        engine=TAKER,
        calm_seconds=1.5,  # nothing but a later order settles an unknown one
    ),
    Case(
        "trickle",
        {"trickle": {"probability": 0.6}},
        "puts messages together; nothing is malformed",
        all_of(exactly("gateway.malformed", 0), exactly("gateway.disconnects", 1)),
        ("gateway.messages_in", "gateway.bytes_in"),
        engine=TAKER,
    ),
    Case(
        "reject_50",
        {"reject": {"probability": 0.6}},
        "each code of OUCH 5.0: the order is dead, its reservation released",
        all_of(exactly("gateway.rejected", "injected"), every_code_was_given),
        ("gateway.rejected",),
    ),
    Case(
        "reject_42",
        {"reject": {"probability": 0.6}},
        "each code of OUCH 4.2: the same",
        all_of(exactly("gateway.rejected", "injected"), every_code_was_given),
        ("gateway.rejected",),
        protocol="ouch42",
    ),
    Case(
        "late_report",
        {"late_report": {"probability": 0.3, "delay_ms": 8}},
        "fills and cancels before their ack are counted; nothing is given back by it",
        exactly("gateway.repeated", 0),
        ("gateway.accepted", "gateway.fills"),
        engine=TAKER,
    ),
    Case(
        "repeated_ack",
        {"repeated_report": {"probability": 0.4, "kinds": "AUJ", "delay_ms": 3}},
        "told as repeated; leaves unchanged; trades on",
        exactly("gateway.repeated", "injected"),
        ("gateway.repeated",),
        engine=TAKER,
    ),
    Case(
        "repeated_fill",
        {"repeated_report": {"probability": 1.0, "kinds": "E", "delay_ms": 2500}},
        "counted once; told as repeated; CANCEL_ONLY from the first one on",
        all_of(repetitions_change_nothing, nothing_new_after_a_repeated_fill),
        ("gateway.repeated", "gateway.fills", "risk.reject_mode"),
        engine=TAKER,
    ),
    Case(
        "unsolicited_cancel",
        {"unsolicited_cancel": {"probability": 0.6}},
        "the order is dead or smaller; reservation released; trades on",
        at_least("gateway.canceled", "injected", share=0.9),
        ("gateway.canceled",),
    ),
    Case(
        "broken_trade",
        {"broken_trade": {"probability": 0.5}},
        "position and cash taken back at the price that was told",
        breaks_and_corrections("broken"),
        ("gateway.broken", "gateway.fills"),
        engine=TAKER,
    ),
    Case(
        "corrected_trade",
        {"corrected_trade": {"probability": 0.5}, "broken_trade": {"probability": 0.1, "delay_ms": 20}},
        "cash and P&L move by the difference; the position stays",
        breaks_and_corrections("corrected"),
        ("gateway.corrected", "gateway.fills", "risk.pnl_micros"),
        engine=TAKER,
        counted=("corrected_trade",),
    ),
    Case(
        "slow_reader",
        {"stall": {"probability": 0.3, "span_ms": 25}},
        "orders without an answer count at worst case; cancels follow; none is resent",
        exactly("gateway.disconnects", 1),
        ("gateway.frames_out", "signal.cancels", "gateway.cancel_rejected"),
        engine={"signal": {"answer_timeout_ms": 20}},
    ),
    Case(
        "heartbeat_loss",
        {"mute": {"probability": 0.3, "span_ms": 90}},
        "gives the connection up after timeout_ms, logs in again, loses no report",
        at_least("gateway.disconnects", "injected", share=0.5),  # shorter than the time-out is no loss
        ("gateway.disconnects", "gateway.logins", "gateway.unknown"),
        engine={"gateway": {"heartbeat_ms": 30, "timeout_ms": 60}},
    ),
    # ---- the market
    Case(
        "halt",
        {"halt": {"probability": 0.5, "span_ms": 30}},
        "no order in the instrument until it trades again",
        nothing_rests_in_a_halt,
        ("risk.reject_not_trading", "gateway.rejected"),
    ),
    Case(
        "crossed_book",
        {"crossed_book": {"probability": 0.5, "span_ms": 15}},
        "no order on its prices; book follows the feed",
        at_least("signal.suppressed_crossed"),
        ("signal.suppressed_crossed", "risk.reject_crossed"),
    ),
    Case(
        "burst",
        {"burst": {"probability": 0.5, "span_ms": 15, "factor": 10.0}},
        "ten times the rate: nothing lost, nothing late for ever",
        NO_GAP_LOST,
        ("feed.messages", "feed.kernel_drops", "feed.raw_full"),
    ),
    # ---- all at once
    Case(
        "storm_50",
        STORM,
        "each of them at once: the same reactions, the same truth",
        all_faults_struck,
        ("gateway.disconnects", "gateway.repeated", "feed.gaps", "gateway.fills"),
        engine=STORMY,
        venue=TWO_LINES,
        weight=10,
    ),
    Case(
        "storm_42",
        STORM,
        "the same in OUCH 4.2",
        all_faults_struck,
        ("gateway.disconnects", "gateway.repeated", "feed.gaps", "gateway.fills"),
        protocol="ouch42",
        engine=STORMY,
        calm_seconds=1.5,
        venue=TWO_LINES,
        weight=10,
    ),
    Case(
        "storm_split",
        STORM,
        "the same with every stage in a process of its own",
        all_faults_struck,
        ("gateway.disconnects", "gateway.repeated", "feed.gaps", "gateway.fills"),
        engine={**STORMY, "engine": {"topology": "split"}},
        venue=TWO_LINES,
        weight=10,
    ),
)
