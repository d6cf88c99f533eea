"""What is said late of an order: by a name that it gave up, after it was thought dead, of a refused replacement."""

from __future__ import annotations

import pytest

from ffi import lib
from tests.support.seat_driver import MILLISECOND_NS, DrivenSeats, placed


@pytest.fixture
def driven() -> DrivenSeats:
    driven = DrivenSeats()
    driven.attach().reports()
    return driven


def replaced_order(driven: DrivenSeats) -> tuple[int, int, int, int]:
    """An order and the live one that took its place; (token, order id, replacement's token, its id)."""
    token, order_id = placed(driven)
    replacement = driven.client.replace(token)
    driven.turn()
    new_id = driven.last_id
    driven.execution(lib.EXEC_REPLACED, new_id, target_order_id=order_id, leaves_lots=10, price_ticks=101)
    driven.client.reports()
    return token, order_id, replacement, new_id


def test_late_fill_of_a_replaced_order_moves_the_position_and_leaves_its_replacement_open(driven: DrivenSeats) -> None:
    token, order_id, replacement, new_id = replaced_order(driven)
    driven.fill(order_id, 4, leaves=0)
    (fill,) = driven.client.reports()
    assert (fill["token"], fill["cumulative_lots"], fill["position_lots"]) == (token, 4, 4)
    assert driven.seats.seat[0].open_orders == 1
    driven.client.cancel(replacement)
    driven.turn()
    assert driven.intents()[-1] == ("CANCEL", 101, 0, new_id)


@pytest.mark.parametrize("kind", ["EXEC_ACCEPTED", "EXEC_CANCELED", "EXEC_RESTATED", "EXEC_REJECTED"])
@pytest.mark.parametrize("leaves", [0, 3])
def test_late_word_on_a_replaced_order_changes_nothing_of_its_replacement(
    driven: DrivenSeats, kind: str, leaves: int
) -> None:
    _, order_id, _, new_id = replaced_order(driven)
    driven.execution(getattr(lib, kind), order_id, leaves_lots=leaves, price_ticks=55)
    order = driven.order_of(new_id)
    assert (order.state, order.leaves_lots, order.price_ticks) == (lib.SEAT_ORDER_LIVE, 10, 101)


def test_fill_of_a_replacement_that_is_not_yet_confirmed_counts_for_it(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.replace(token)
    driven.turn()
    driven.fill(driven.last_id, 10, leaves=0)
    assert driven.seats.seat[0].open_orders == 0
    driven.execution(lib.EXEC_REPLACED, driven.last_id, target_order_id=order_id, leaves_lots=0)
    assert driven.seats.seat[0].open_orders == 0 and driven.client.reports()[-1]["position_lots"] == 10


def test_late_fill_finds_its_seat_over_a_chain_of_replacements(driven: DrivenSeats) -> None:
    token, first_id, replacement, second_id = replaced_order(driven)
    driven.client.replace(replacement, price=102)
    driven.turn()
    driven.execution(lib.EXEC_REPLACED, driven.last_id, target_order_id=second_id, leaves_lots=10, price_ticks=102)
    driven.client.reports()
    driven.fill(first_id, 4, leaves=0)
    (fill,) = driven.client.reports()
    assert (fill["token"], fill["position_lots"]) == (token, 4) and driven.seats.seat[0].open_orders == 1
    driven.accept(first_id, leaves=6)
    assert driven.seats.seat[0].open_orders == 1, "it was replaced, and cannot live"


def test_replacement_of_an_order_that_was_thought_dead_is_open(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    replacement = driven.client.replace(token)
    driven.turn()
    replace_id = driven.last_id
    driven.execution(lib.EXEC_CANCELED, order_id, leaves_lots=0)
    driven.execution(lib.EXEC_REPLACED, replace_id, target_order_id=order_id, leaves_lots=10)
    assert driven.seats.seat[0].open_orders == 1
    driven.client.cancel(replacement)
    driven.turn()
    assert driven.intents()[-1] == ("CANCEL", 101, 0, replace_id)


def test_refused_cancel_of_a_replaced_order_leaves_that_of_its_replacement_under_way(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.replace(token)
    driven.turn()
    replace_id = driven.last_id
    driven.client.cancel(token)
    driven.turn()
    driven.execution(lib.EXEC_REPLACED, replace_id, target_order_id=order_id, leaves_lots=10)
    cancel_id = driven.last_id
    driven.execution(lib.EXEC_CANCEL_REJECTED, order_id, target_order_id=order_id)
    order = driven.order_of(replace_id)
    assert (order.cancel_id, order.asked) == (cancel_id, 1)
    assert driven.execution(lib.EXEC_REFUSED, cancel_id, reason=lib.REJECT_SESSION_DOWN) == 1


def test_cancel_that_crossed_a_replacement_and_found_no_room_leaves_with_the_sweep(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.replace(token)
    driven.turn()
    replace_id = driven.last_id
    driven.client.cancel(token)
    driven.turn()
    old_cancel = driven.last_id
    driven.seats.output_limit = int(driven.signal.next)
    driven.execution(lib.EXEC_REPLACED, replace_id, target_order_id=order_id, leaves_lots=10)
    driven.execution(lib.EXEC_REFUSED, old_cancel, reason=lib.REJECT_UNKNOWN_ORDER)
    assert driven.seats.seat[0].open_orders == 1, "the gate's word on the old order is not on the new one"
    for _ in range(120):
        driven.client.beat()
        driven.turn(after_ns=20 * MILLISECOND_NS)
    assert ("CANCEL", 101, 0, replace_id) in driven.intents()


def test_replacement_that_was_refused_and_lives_takes_its_orders_place(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.fill(order_id, 3, leaves=7)
    replacement = driven.client.replace(token)
    driven.turn()
    replace_id = driven.last_id
    driven.execution(lib.EXEC_REPLACE_REJECTED, replace_id, target_order_id=order_id)
    driven.client.reports()
    driven.execution(lib.EXEC_REPLACED, replace_id, target_order_id=order_id, leaves_lots=7, price_ticks=101)
    driven.fill(replace_id, 2, leaves=5)
    replaced, fill = driven.client.reports()
    assert (replaced["token"], replaced["target_token"]) == (replacement, token)
    assert (fill["token"], fill["cumulative_lots"], fill["position_lots"]) == (replacement, 5, 5)
    assert driven.seats.seat[0].open_orders == 1 and driven.order_of(replace_id).leaves_lots == 5


def test_refused_replacement_leaves_room_for_the_next_one(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    for _ in range(3 * driven.seats.order_count):
        driven.client.replace(token)
        driven.turn(after_ns=2 * MILLISECOND_NS)
        driven.execution(lib.EXEC_REPLACE_REJECTED, driven.last_id, target_order_id=order_id)
        driven.client.reports()
    assert driven.client.page.refused == 0 and driven.seats.seat[0].open_orders == 1


def test_order_that_lives_after_its_seat_was_cut_is_cancelled() -> None:
    driven = DrivenSeats()
    client = driven.attach()
    _, order_id = placed(driven)
    driven.execution(lib.EXEC_CANCELED, order_id, leaves_lots=0)
    client.send(lib.REQUEST_RAISED)
    driven.turn()
    driven.accept(order_id, leaves=10)
    driven.turn(after_ns=2 * MILLISECOND_NS)
    assert driven.intents()[-1] == ("CANCEL", 100, 0, order_id)


def test_order_that_lives_although_its_cancel_was_believed_is_cancelled_again(driven: DrivenSeats) -> None:
    token, order_id = placed(driven)
    driven.client.cancel(token)
    driven.turn()
    driven.execution(lib.EXEC_CANCELED, order_id, leaves_lots=0)
    driven.accept(order_id, leaves=10)
    for _ in range(120):
        driven.client.beat()
        driven.turn(after_ns=20 * MILLISECOND_NS)
    assert [intent[0] for intent in driven.intents()] == ["NEW", "CANCEL", "CANCEL"]
