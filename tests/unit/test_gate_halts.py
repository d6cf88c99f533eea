"""Two halts of an instrument, the regulator's and the market's own: each is lifted by its own kind alone."""

from __future__ import annotations

import pytest

from ffi import ffi, lib
from tests.support.gate_driver import DrivenGate

REGULATORY, OPERATIONAL = "H", "h"


def normalised(letter: str, action: str, *, market: str = "Q") -> ffi.CData:
    """An ITCH trading action or operational halt of instrument 0, as the feed publishes it."""
    head = letter.encode() + (1).to_bytes(2, "big") + bytes(8) + b"AAPL    "
    body = action.encode() + b"    " + b" " if letter == REGULATORY else market.encode() + action.encode()
    message = head + body
    locate = ffi.new("uint32_t[65536]", [lib.NO_INSTRUMENT, 0])
    context = ffi.new("itch_context *", {"instrument": locate, "midnight_ns": 0})
    event = ffi.new("norm_event *")
    assert lib.itch_normalise(context, message, len(message), event) == lib.ITCH_OK
    return event


def reason_after(*steps: tuple[str, str]) -> int:
    gate = DrivenGate()
    gate.market()
    for letter, action in steps:
        event = normalised(letter, action)
        gate.market(event.header.type, order_ref=int(event.order_ref), reference=int(event.reference))
    return gate.send()[1]


@pytest.mark.parametrize(
    "steps",
    [
        [(REGULATORY, "H"), (OPERATIONAL, "H"), (OPERATIONAL, "T")],
        [(REGULATORY, "T"), (OPERATIONAL, "H"), (REGULATORY, "T")],
        [(OPERATIONAL, "H")],
    ],
)
def test_one_kind_does_not_lift_the_other(steps: list[tuple[str, str]]) -> None:
    assert reason_after(*steps) == lib.REJECT_NOT_TRADING


def test_both_lifted_trades() -> None:
    halted = [(REGULATORY, "H"), (OPERATIONAL, "H")]
    assert reason_after(*halted, (REGULATORY, "T"), (OPERATIONAL, "T")) == lib.REJECT_NONE


def test_halt_of_a_sister_market_is_a_notice() -> None:
    event = normalised(OPERATIONAL, "H", market="X")
    assert (event.header.type, event.order_ref, event.reference) == (lib.NORM_NOTICE, ord("h"), ord("X"))
