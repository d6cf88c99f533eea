"""Two runs over one market: which orders were added, removed or changed, and why.

An order is known in both by what caused it: the same market event (its place in norm is the same, since the market
is), the same leg. One that time caused (an order too old) is known by the order that it is about.

Why an order of one run is not in the other:
    refused       the same intent was there, and a limit refused it: which one
    threshold     the same score did not reach the other threshold
    follows       an earlier difference of the instrument changed what the strategy had at work, or its position
    kept back     the strategy gave no such signal, for a reason of its own
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, field

from ffi import lib
from hotpath.backtest.collect import Run
from hotpath.event_view import price_text, type_words
from hotpath.explain.tell import reason_word, side_word

Key = tuple[Any, ...]
FIELDS = ("price_ticks", "quantity_lots", "side", "time_in_force")


class OrderSeen(Struct, frozen=True):
    """An order as a comparison shows it."""

    order_id: int
    type: str
    symbol: str
    side: str
    quantity_lots: int
    price_ticks: int
    price: str
    origin_time_ns: int


class Difference(Struct, frozen=True):
    """One order that is not the same in both."""

    kind: str  # added, removed, changed
    reason: str
    limit: str  # the limit that refused it in the other run; empty: none did
    base: OrderSeen | None
    other: OrderSeen | None
    changed: list[str] = field(default_factory=list)


class Comparison(Struct):
    """How `other` differs from `base`."""

    base: str
    other: str
    settings: list[str]  # keys whose values differ: "risk.defaults.collar_ppm_max: 20000 -> 500"
    orders_base: int
    orders_other: int
    same: int
    added: int
    removed: int
    changed: int
    reasons: dict[str, int]  # how many, by reason
    first_state_apart: int | None  # raw events after which the stages' state first differed; None: it never did
    net_micros_base: int
    net_micros_other: int
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """No order differs."""
        return not self.differences


class _Side:
    """One run, indexed by what caused its orders."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.signals = run.events["signal"]
        self.keys = list(_keys(run))
        self.place = {key: place for place, key in enumerate(self.keys)}
        commands = run.events["cmd"]
        base = run.order_id_base + 1
        self.commands = {int(order) - base: row for row, order in enumerate(commands["order_id"].tolist())}
        rejects = run.events["reject"]
        pairs = zip(rejects["order_id"].tolist(), rejects["reason"].tolist(), strict=True)
        self.refused = {int(order) - base: int(reason) for order, reason in pairs}
        self.threshold = run.config.signal.threshold

    def approved(self) -> dict[Key, int]:
        """Place of the intent of each order that was approved, by its key, in order."""
        return {key: place for place, key in enumerate(self.keys) if place in self.commands}

    def seen(self, place: int) -> OrderSeen:
        command = self.run.events["cmd"][self.commands[place]]
        return self._seen(command, int(command["order_id"]))

    def _seen(self, event: Any, order_id: int) -> OrderSeen:
        instrument = int(event["header"]["instrument"])
        price = int(event["price_ticks"])
        return OrderSeen(
            order_id=order_id,
            type=type_words()[int(event["header"]["type"])],
            symbol=self.run.symbols[instrument],
            side=side_word(int(event["side"])),
            quantity_lots=int(event["quantity_lots"]),
            price_ticks=price,
            price=price_text(price, self.run.tick_value_micros[instrument]),
            origin_time_ns=int(event["header"]["origin_time_ns"]),
        )


def _keys(run: Run) -> Iterator[Key]:
    """What names an intent in any run over this market."""
    signals = run.events["signal"]
    head = signals["header"]
    base = run.order_id_base + 1
    earlier: list[Key] = []
    repeats: dict[Key, int] = {}
    columns = zip(
        head["cause_input"].tolist(), head["cause_sequence"].tolist(), head["type"].tolist(),
        signals["strategy"].tolist(), head["instrument"].tolist(), signals["leg"].tolist(),
        signals["target_order_id"].tolist(),
        strict=True,
    )  # fmt: skip
    for cause, sequence, kind, strategy, instrument, leg, target in columns:
        if cause == lib.INPUT_NORM:
            key: Key = ("market", sequence, strategy, instrument, leg)
        else:
            about = earlier[target - base] if base <= target < base + len(earlier) else ("order", target)
            key = ("time", kind, strategy, instrument, about)
        count = repeats[key] = repeats.get(key, 0) + 1
        if count > 1:
            key = (*key, count)
        earlier.append(key)
        yield key


def compare_runs(base: Run, other: Run) -> Comparison:
    """Order by order, in the order of time."""
    left, right = _Side(base), _Side(other)
    before, after = left.approved(), right.approved()
    differences: list[Difference] = []
    same = 0
    touched: dict[int, str] = {}  # instruments of which something differed already: what follows from it
    fills = _fills_apart(base, other)
    for key, place, is_base in _merged(left, right, before, after):
        _touch_fills(touched, fills, left if is_base else right, place)
        if is_base and key in after:
            changed = _changed(left, right, place, after[key])
            if not changed:
                same += 1
                continue
            reason = _follows(touched, left, place) or "the strategy saw or wanted something else"
            seen, now = left.seen(place), right.seen(after[key])
            differences.append(Difference("changed", reason, "", seen, now, changed))
        elif is_base:
            reason, limit = _why_absent(left, right, key, place, touched)
            differences.append(Difference("removed", reason, limit, left.seen(place), None))
        else:
            reason, limit = _why_absent(right, left, key, place, touched)
            differences.append(Difference("added", _turn_round(reason), limit, None, right.seen(place)))
        instrument = int((left if is_base else right).signals["header"]["instrument"][place])
        touched.setdefault(instrument, _name(differences[-1]))
    kinds = [difference.kind for difference in differences]
    reasons: dict[str, int] = {}
    for difference in differences:
        short = difference.limit or difference.reason.partition(":")[0]
        reasons[short] = reasons.get(short, 0) + 1
    return Comparison(
        base=base.name,
        other=other.name,
        settings=changed_settings(base, other),
        orders_base=len(before),
        orders_other=len(after),
        same=same,
        added=kinds.count("added"),
        removed=kinds.count("removed"),
        changed=kinds.count("changed"),
        reasons=dict(sorted(reasons.items(), key=lambda item: -item[1])),
        first_state_apart=_first_apart(base, other),
        net_micros_base=base.equity_micros[-1] if base.equity_micros else 0,
        net_micros_other=other.equity_micros[-1] if other.equity_micros else 0,
        differences=differences,
    )


def _fills_apart(base: Run, other: Run) -> dict[int, tuple[int, int]]:
    """Of each instrument, when the venue first filled otherwise, and whose order."""
    found: dict[int, tuple[int, int]] = {}
    told: list[dict[int, list[tuple[int, int, int, int]]]] = []
    for run in (base, other):
        executions = run.events["exec"]
        fills = executions[executions["header"]["type"] == lib.EXEC_FILL]
        by_instrument: dict[int, list[tuple[int, int, int, int]]] = {}
        head = fills["header"]
        columns = zip(
            head["instrument"].tolist(), head["origin_time_ns"].tolist(), fills["quantity_lots"].tolist(),
            fills["price_ticks"].tolist(), fills["order_id"].tolist(), strict=True,
        )  # fmt: skip
        for instrument, *fill in columns:
            by_instrument.setdefault(instrument, []).append((fill[0], fill[1], fill[2], fill[3]))
        told.append(by_instrument)
    for instrument in {*told[0], *told[1]}:
        pair = [each.get(instrument, []) for each in told]
        for place in range(max(map(len, pair))):
            rows = [fills[place] for fills in pair if place < len(fills)]
            if len(rows) < 2 or rows[0][:3] != rows[1][:3]:
                first = min(rows)
                found[instrument] = (first[0], first[3])
                break
    return found


def _touch_fills(touched: dict[int, str], fills: dict[int, tuple[int, int]], side: _Side, place: int) -> None:
    """An order after the first fill that differed follows from it."""
    head = side.signals["header"]
    instrument = int(head["instrument"][place])
    if instrument in touched or instrument not in fills:
        return
    time_ns, order_id = fills[instrument]
    if time_ns <= int(head["origin_time_ns"][place]):
        touched[instrument] = f"order {order_id:,} was filled otherwise"


def _merged(
    left: _Side, right: _Side, before: dict[Key, int], after: dict[Key, int]
) -> Iterator[tuple[Key, int, bool]]:
    """Every order once, in the order of its market's time: those of the base, and those that only the other has."""
    found = [(int(left.signals["header"]["origin_time_ns"][place]), 0, place, key) for key, place in before.items()]
    found += [
        (int(right.signals["header"]["origin_time_ns"][place]), 1, place, key)
        for key, place in after.items()
        if key not in before
    ]
    for _, side, place, key in sorted(found, key=lambda item: item[:3]):
        yield key, place, side == 0


def _changed(left: _Side, right: _Side, place: int, other: int) -> list[str]:
    """Fields of an order that both have, which differ."""
    one = left.run.events["cmd"][left.commands[place]]
    two = right.run.events["cmd"][right.commands[other]]
    found = [name for name in FIELDS if one[name] != two[name]]
    if one["header"]["type"] != two["header"]["type"]:
        found.insert(0, "type")
    return found


def _why_absent(has: _Side, lacks: _Side, key: Key, place: int, touched: dict[int, str]) -> tuple[str, str]:
    """Why the order of one run is not in the other, and the limit that refused it there."""
    there = lacks.place.get(key)
    if there is not None and there in lacks.refused:
        limit = reason_word(lacks.refused[there])
        return f"refused: {limit.replace('_', ' ')}", limit
    signal = has.signals[place]
    score = abs(float(signal["score"]))
    market = key[0] == "market" and int(signal["header"]["type"]) == lib.SIGNAL_NEW
    if market and score < lacks.threshold:
        return f"threshold: |score| {score:.4f} is below {lacks.threshold:g}", ""
    return _follows(touched, has, place) or "kept back: the strategy gave no such signal", ""


def _follows(touched: dict[int, str], side: _Side, place: int) -> str:
    first = touched.get(int(side.signals["header"]["instrument"][place]))
    return f"follows: {first} before it" if first else ""


def _name(difference: Difference) -> str:
    """A difference in a few words, for those that follow from it."""
    seen = difference.base or difference.other
    assert seen is not None, "a difference has a side"
    return f"order {seen.order_id:,} was {difference.kind}"


def _turn_round(reason: str) -> str:
    """A reason why the base lacks an order, said of the other run, which has it."""
    if reason.startswith("refused: "):
        return f"not refused: the base's {reason.removeprefix('refused: ')} did"
    return reason


def _first_apart(base: Run, other: Run) -> int | None:
    """After how many raw events the state first differed, by the digests that both runs have."""
    there = dict(other.states)
    return next((count for count, digest in base.states if count in there and there[count] != digest), None)


def changed_settings(base: Run, other: Run) -> list[str]:
    """Keys of the configuration that differ, apart from names and places of this machine."""
    local = ("engine.name", "engine.state_dir", "feed.path", "gateway.intents_dir", "engine.topology")
    before, after = (dict(_flat(msgspec.to_builtins(run.config), "")) for run in (base, other))
    keys = [key for key in {**before, **after} if key not in local]
    return [
        f"{key}: {before.get(key, 'unset')} → {after.get(key, 'unset')}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def same_market(base: Run, other: Run) -> bool:
    """Whether the two saw as many messages: else places in norm name other events."""
    return not base.messages or not other.messages or base.messages == other.messages


def orders_digest(run: Run) -> str:
    """SHA-256 over what each approved order says: equal digests, equal orders."""
    import hashlib

    commands = run.events["cmd"]
    digest = hashlib.sha256()
    for name in ("order_id", "target_order_id", *FIELDS):
        digest.update(np.ascontiguousarray(commands[name]).tobytes())
    digest.update(np.ascontiguousarray(commands["header"]["instrument"]).tobytes())
    return digest.hexdigest()
