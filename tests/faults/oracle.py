"""What must hold of every run, whatever the venue did. Each check returns what is wrong; nothing means all is well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ffi import lib
from hotpath.recordings import replay_recording
from tests.faults import truth
from tests.faults.session import Evidence, session_numbers
from tests.support.engines import fold_position, wire_orders

ONE_REPLAY = threading.Lock()  # its shared memory is named after the process
SILENT_KINDS = b"SQ"  # of the stream: of no order, so no execution


def engine_ends_in_order(evidence: Evidence) -> list[str]:
    """No crash, no death of a stage, nothing left open."""
    wrong = []
    if evidence.exit_code != 0 or evidence.report.get("outcome") != "stopped":
        wrong.append(f"exit {evidence.exit_code}, {evidence.report.get('outcome')}: {evidence.errors.strip()[-200:]}")
    if "Traceback" in evidence.errors:
        wrong.append(f"traceback: {evidence.errors.strip()[-300:]}")
    late = "late_report" in evidence.case.faults  # a fill may then come after the cancel of what was left
    impossible = ("gateway.unmatched", "gateway.negative_hops", *(() if late else ("risk.unknown_executions",)))
    for path in (*impossible, "gateway.malformed", "risk.overfills"):
        if evidence.count(path):
            wrong.append(f"{path} = {evidence.count(path)}")
    if evidence.count("risk.duplicate_executions"):
        wrong.append(f"risk saw {evidence.count('risk.duplicate_executions')} executions twice")
    return wrong


def nothing_is_left_open(evidence: Evidence) -> list[str]:
    """Gateway and gate agree that every order is done with."""
    return [
        f"{path} = {evidence.count(path)} at the end"
        for path in ("gateway.open_orders", "risk.open_orders")
        if evidence.case.settles and evidence.count(path)
    ]


def no_order_is_sent_twice(evidence: Evidence) -> list[str]:
    """I2, and nothing on the wire that was not stored before, in the order in which it was stored."""
    entered = [order for order in evidence.told.orders if order.kind in "OU"]
    names = [order.name for order in entered]
    wrong = []
    if len(set(names)) != len(names):
        twice = {name.hex() for name in names if names.count(name) > 1}
        wrong.append(f"orders sent twice: {sorted(twice)[:5]}")
    places = {frame: place for place, frame in enumerate(evidence.stored)}
    if len(places) != len([f for f in evidence.stored if f[3:4] != b"X"]) + len(
        {f for f in evidence.stored if f[3:4] == b"X"}
    ):
        wrong.append("two intents have the same frame")
    found = [places.get(order.frame, -1) for order in entered]
    if -1 in found:
        wrong.append(f"{found.count(-1)} orders on the wire that no intent tells of")
    if found != sorted(found):
        wrong.append("orders left in another order than they were stored")
    frames = [frame for frame in wire_orders(evidence.folder / "tap") if frame[3:4] in (b"O", b"U")]
    if sorted(frames) != sorted(order.frame for order in entered):
        wrong.append("two readings of the tap differ")
    return wrong


def every_report_is_told_once(evidence: Evidence) -> list[str]:
    """I3: of the venue's stream nothing is lost, doubled or reordered."""
    told = evidence.told
    wrong = list(told.contradictions)
    if sorted(told.stream) != list(range(1, len(told.stream) + 1)):
        wrong.append("the tap's own stream has holes")
    expected = [n for n, payload in sorted(told.stream.items()) if payload[0] not in SILENT_KINDS]
    published = session_numbers(evidence.events("exec")).tolist()
    if published != expected:
        lost, more = set(expected) - set(published), set(published) - set(expected)
        wrong.append(
            f"reports: {len(expected)} on the wire, {len(published)} published; lost {sorted(lost)[:5]}, "
            f"more {sorted(more)[:5]}, in order: {published == sorted(published)}"
        )
    return wrong


def position_is_the_fold_of_executions(evidence: Evidence) -> list[str]:
    """I4: the wire's unique executions, the engine's ring and the gate's gauges say the same; so does money."""
    account = evidence.account
    symbols = evidence.recording.instruments["symbol"]
    published = fold_position(evidence.events("exec"))
    by_symbol = {bytes(symbols[i]).rstrip(b"\0 ").decode(): lots for i, lots in published.items()}
    wrong = []
    if by_symbol != account.position:
        wrong.append(f"position {by_symbol}, the wire says {account.position}")
    for path, value in {
        "risk.position_lots": sum(abs(lots) for lots in account.position.values()),
        "risk.bought_lots": account.bought,
        "risk.sold_lots": account.sold,
        "risk.cash_micros": account.cash_micros,
    }.items():
        if evidence.count(path) != value:
            wrong.append(f"{path} = {evidence.count(path)}, the wire says {value}")
    return wrong


def profit_is_cash_and_positions(evidence: Evidence) -> list[str]:
    """P&L against the venue's own books at the engine's last look."""
    if not evidence.case.settles:
        return []
    turns = evidence.events("risk.ctl")
    seen = int(turns["input_sequence"][-1][0])  # of norm; what the gate values positions at
    tops = truth.books(evidence.published[: _number_of(evidence, seen - 1)])
    symbols = {name: locate for locate, name in _symbols(evidence).items()}
    value = evidence.account.cash_micros
    for symbol, lots in evidence.account.position.items():
        bid, ask = tops[symbols[symbol]][:2]
        reference = (bid + ask) // 2 if bid and ask else bid or ask
        value += lots * reference * truth.TICK_VALUE_MICROS
    found = evidence.count("risk.pnl_micros")
    return [f"P&L {found}, from the wire and the books {value}"] if found != value else []


def _symbols(evidence: Evidence) -> dict[int, str]:
    """Names by locate, from the directory messages."""
    return {
        int.from_bytes(message[1:3], "big"): message[11:19].decode().rstrip()
        for message in evidence.published
        if message[:1] == b"R"
    }


def _live(raw: Any) -> Any:
    """Which raw events are messages of the feed itself, and none of a snapshot."""
    kinds = raw["header"]["type"]
    inside = np.cumsum((kinds == lib.RAW_SNAPSHOT_BEGIN).astype(int) - (kinds == lib.RAW_SNAPSHOT_END).astype(int))
    return (kinds == lib.RAW_MESSAGE) & (inside == 0)


def _messages(evidence: Evidence) -> Any:
    raw = evidence.events("raw")
    return raw[_live(raw)]


def _number_of(evidence: Evidence, norm_sequence: int) -> int:
    """The last message of the feed that stands behind the norm events up to this one."""
    raw = evidence.events("raw")[: int(evidence.events("norm")["header"]["cause_sequence"][norm_sequence]) + 1]
    taken = raw["session_sequence"][_live(raw)]
    snapshots = raw["session_sequence"][raw["header"]["type"] == lib.RAW_SNAPSHOT_END]
    return max(int(taken[-1]), int(snapshots[-1]) - 1 if len(snapshots) else 0)


def no_message_is_lost(evidence: Evidence) -> list[str]:
    """Every message of the feed up to the last, once, in order, byte for byte; or as a snapshot tells it."""
    messages = _messages(evidence)
    numbers = messages["session_sequence"]
    wrong = []
    if len(messages) < 1000:
        wrong.append(f"only {len(messages)} messages")
    rising = np.all(numbers[1:] > numbers[:-1])
    if not rising or (evidence.case.whole and not np.array_equal(numbers, np.arange(1, len(numbers) + 1))):
        wrong.append(f"{len(numbers)} messages taken up to number {numbers[-1]}: lost, twice or out of order")
    other = [
        int(number)
        for number, event in zip(numbers, messages, strict=True)
        if bytes(event["bytes"][: event["length"]]) != evidence.published[int(number) - 1]
    ]
    if other:
        wrong.append(f"{len(other)} messages are not as published, the first is {other[0]}")
    return wrong


def books_are_the_venues(evidence: Evidence) -> list[str]:
    """The last top of each book is the one that the published messages make."""
    norm = evidence.events("norm")
    tops = truth.books(evidence.published[: _number_of(evidence, len(norm) - 1)])
    wrong = []
    symbols = [bytes(name).rstrip(b"\0 ").decode() for name in evidence.recording.instruments["symbol"]]
    locates = {name: locate for locate, name in _symbols(evidence).items()}
    for instrument, symbol in enumerate(symbols):
        mine = norm[norm["header"]["instrument"] == instrument]
        if not len(mine):
            wrong.append(f"{symbol}: no event")
            continue
        last = mine[-1]
        names = ("bid_price_ticks", "ask_price_ticks", "bid_quantity_lots", "ask_quantity_lots")
        found = tuple(int(last[name]) for name in (*names, "bid_depth_lots", "ask_depth_lots"))
        if found != tops[locates[symbol]]:
            wrong.append(f"{symbol}: book {found}, the venue's {tops[locates[symbol]]}")
    return wrong


def nothing_is_sent_on_doubtful_prices(evidence: Evidence) -> list[str]:
    """I6: no order follows from a stale event or from a crossed book."""
    signals, norm = evidence.events("signal"), evidence.events("norm")
    header = signals["header"]
    placing = np.isin(header["type"], (lib.SIGNAL_NEW, lib.SIGNAL_REPLACE)) & (header["cause_input"] == lib.INPUT_NORM)
    causes = norm[header["cause_sequence"][placing]]
    wrong = []
    stale = int(np.count_nonzero(causes["header"]["flags"] & lib.FLAG_STALE))
    if stale:
        wrong.append(f"{stale} signals on stale books")
    crossed = int(np.count_nonzero(causes["bid_price_ticks"] >= causes["ask_price_ticks"]))
    if crossed:
        wrong.append(f"{crossed} signals on crossed books")
    return wrong


def nothing_is_sent_without_a_session(evidence: Evidence) -> list[str]:
    """Downs and ups alternate; no acknowledgement could come between them but of a recovery."""
    executions = evidence.events("exec")
    kinds = executions["header"]["type"]
    states = [int(k) for k in kinds[np.isin(kinds, (lib.EXEC_SESSION_UP, lib.EXEC_SESSION_DOWN))]]
    if any(a == b for a, b in pairwise(states)):
        return ["a session went up twice, or down twice"]
    return []


def replays_to_the_same(evidence: Evidence) -> list[str]:
    """I8: the recording of all this, run again, makes the same decisions and the same order bytes."""
    with ONE_REPLAY:
        again = replay_recording(evidence.folder / "recording")
    return [] if again.same else [f"replay differs: {again.mismatches[:2]}, orders equal: {again.orders_equal}"]


CHECKS: tuple[Callable[[Evidence], list[str]], ...] = (
    engine_ends_in_order,
    nothing_is_left_open,
    no_order_is_sent_twice,
    every_report_is_told_once,
    position_is_the_fold_of_executions,
    no_message_is_lost,
    books_are_the_venues,
    profit_is_cash_and_positions,
    nothing_is_sent_on_doubtful_prices,
    nothing_is_sent_without_a_session,
)


def judge(evidence: Evidence, *, replay: bool = False) -> list[str]:
    """Everything that is wrong with a run: what must always hold, then what its case expects."""
    checks = (*CHECKS, *((replays_to_the_same,) if replay else ()), evidence.case.check)
    wrong = []
    for check in checks:
        try:
            wrong += check(evidence)
        except Exception as error:
            name = getattr(check, "__name__", "check")
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    return wrong
