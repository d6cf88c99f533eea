"""Both sides of a day, told in any interleaving, with some of it lost, doubled or changed: what is broken is found, and
nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from hotpath.reconcile.comparison import Comparison, Key, key_of
from hotpath.reconcile.wire import CopyExecution, decode

GRACE_NS = 1000
SYMBOLS = ("AAA", "BBB", "CCC")


@dataclass(frozen=True)
class Trade:
    symbol: str
    side: str
    quantity: int
    fault: str  # "", "lost here", "lost there", "other quantity", "other price"
    broken: bool  # later declared not to have happened, on both sides


trades = st.lists(
    st.builds(
        Trade,
        st.sampled_from(SYMBOLS),
        st.sampled_from("BS"),
        st.integers(1, 500),
        st.sampled_from(["", "", "", "", "lost here", "lost there", "other quantity", "other price"]),
        st.booleans(),
    ),
    max_size=25,
)


def there_of(number: int, trade: Trade, kind: str) -> CopyExecution:
    quantity = trade.quantity + (trade.fault == "other quantity")
    price = 0 if kind == "B" else 1_000_000 + 100 * (trade.fault == "other price")
    return CopyExecution(kind, 1, "DEMO", "1", trade.symbol, trade.side, quantity, price, number)


def told(day: list[Trade]) -> tuple[list[tuple[Key, int, int]], list[CopyExecution]]:
    """What each side tells, in the order in which it happened."""
    here, there = [], []
    for number, trade in enumerate(day, 1):
        for kind in "EB" if trade.broken else "E":
            if trade.fault != "lost here":
                here.append((Key(kind, number, trade.symbol, trade.side), trade.quantity, 1_000_000))
            if trade.fault != "lost there":
                there.append(there_of(number, trade, kind))
    return here, there


def moved(positions: dict[str, int], execution: CopyExecution) -> None:
    sign = (1 if execution.side == "B" else -1) * (1 if execution.kind == "E" else -1)
    positions[execution.symbol] = positions.get(execution.symbol, 0) + sign * execution.quantity


def broken_symbols(day: list[Trade]) -> set[str]:
    return {trade.symbol for trade in day if trade.fault}


@settings(max_examples=150, deadline=None)
@given(trades, st.randoms(use_true_random=False), st.booleans())
def test_what_is_broken_is_found_and_nothing_else(day: list[Trade], chance, twice: bool) -> None:  # type: ignore[no-untyped-def]
    comparison = Comparison(grace_ns=GRACE_NS)
    comparison.compare({})
    here, there = told(day)
    told_there, positions, now_ns = list(there), dict[str, int](), 0
    while here or there:
        now_ns += 1  # all of it within the grace
        if here and (not there or chance.random() < 0.5):
            key, quantity, price = here.pop(0)
            comparison.execute_here(key, quantity=quantity, price=price, now_ns=now_ns)
        else:
            execution = there.pop(0)
            moved(positions, execution)
            comparison.execute_there(execution, now_ns=now_ns)
        comparison.expire(now_ns)
        if not broken_symbols(day) and chance.random() < 0.3:
            comparison.compare(positions)
            assert not comparison.breaks, "one side is ahead of the other, no more"
    if twice:  # a new login tells the whole day again
        for execution in told_there:
            comparison.execute_there(execution, now_ns=now_ns)
    comparison.expire(now_ns + GRACE_NS + 1)
    comparison.compare(positions)
    assert set(comparison.breaks) == broken_symbols(day)
    assert comparison.waiting == 0
    for symbol in list(comparison.breaks):
        comparison.clear(symbol)
    comparison.compare(positions)
    differing = {symbol for symbol in SYMBOLS if comparison.here_lots.get(symbol, 0) != positions.get(symbol, 0)}
    assert set(comparison.breaks) == differing, "only what still differs is found again"


@given(trades)
def test_earlier_runs_must_be_explained_by_opening_positions(day: list[Trade]) -> None:
    """The copy tells of executions that this run's ring does not: openings count for them, or there is a break."""
    comparison, positions = Comparison(grace_ns=GRACE_NS), dict[str, int]()
    for execution in told(day)[1]:
        moved(positions, execution)
        comparison.execute_there(execution, now_ns=0)
    comparison.expire(GRACE_NS * 10)
    assert not comparison.breaks
    for symbol, lots in positions.items():
        comparison.move(symbol, lots)
    comparison.compare(positions)
    assert not comparison.breaks
    comparison.move("AAA", 1)
    comparison.compare(positions)
    assert set(comparison.breaks) == {"AAA"}
    (found,) = comparison.breaks.values()
    assert found.here_lots - found.there_lots == 1


@given(st.binary(max_size=90))
def test_bytes_from_outside_are_messages_or_none(payload: bytes) -> None:
    decode(payload)
    for head in (b"X", b"L", b"Z"):
        decode(head + payload)


@given(trades)
def test_executions_survive_the_wire(day: list[Trade]) -> None:
    for execution in told(day)[1]:
        assert decode(execution.encode()) == execution
        assert key_of(execution).match == execution.match
