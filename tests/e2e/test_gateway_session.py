"""The gateway against a venue over real sockets on loopback: login, order life, reconnection, kill."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from tests.gateway_driver import MS, SECOND, run_until
from tests.gateway_scene import Scene, one_live_order
from tests.scripted_venue import (
    Held,
    ScriptedVenue,
    WireOrder,
    accepted,
    broken,
    canceled,
    corrected,
    packet,
    rejected,
    system_event,
)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.gateway.die()
    made.venue.close()


def test_login_asks_for_the_whole_stream_and_goes_up(scene: Scene) -> None:
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY
    scene.up()
    (login,) = scene.venue.logins
    assert login[:6] == b"hotpat" and login[6:16] == b"secret    " and login[16:26] == b" " * 10
    assert int(login[26:46]) == 1
    assert scene.world.gateway_mode == lib.MODE_NORMAL
    assert [int(e["venue_ref"]) for e in scene.events(lib.EXEC_SESSION_UP)] == [1]
    assert scene.world.intents().size == 0


def test_order_is_sent_accepted_and_filled(scene: Scene) -> None:
    scene.up()
    order_id = scene.risk.new(side=lib.SIDE_SELL, price=1_234_500, quantity=70, instrument=1)
    scene.until(lambda: len(scene.venue.new_orders()) == 1)
    (order,) = scene.venue.new_orders()
    assert (order.side, order.quantity, order.symbol, order.price) == ("S", 70, "MSFT", 1_234_500)
    assert int(order.client_order_id) == order_id
    scene.settle()
    (accepted,) = scene.events(lib.EXEC_ACCEPTED)
    assert int(accepted["order_id"]) == order_id and int(accepted["leaves_lots"]) == 70
    scene.venue.fill(order.user_ref, 30, price=1_234_600)
    scene.venue.fill(order.user_ref, 40, price=1_234_700)
    scene.settle()
    first, second = scene.events(lib.EXEC_FILL)
    assert [int(first[k]) for k in ("quantity_lots", "leaves_lots", "cumulative_lots", "price_ticks")] == [
        30,
        40,
        30,
        1_234_600,
    ]
    assert int(second["leaves_lots"]) == 0 and int(second["cumulative_lots"]) == 70
    assert int(second["session_sequence"]) == len(scene.venue.stream)
    assert scene.world.counter("OPEN_ORDERS") == 0


def test_a_command_read_twice_is_sent_once(scene: Scene) -> None:
    scene.up()
    command = scene.risk.command()
    scene.risk.publish(command)
    scene.risk.publish(command)
    scene.settle()
    assert len(scene.venue.new_orders()) == 1
    assert scene.world.counter("DUPLICATE_COMMANDS") == 1
    assert scene.events(lib.EXEC_REFUSED) == []


def test_wrong_password_latches(scene: Scene) -> None:
    scene.venue.login_answer = lambda _: packet("J", b"A")
    scene.until(lambda: scene.gateway.state == lib.SESSION_CLOSED)
    assert scene.gateway.reason == lib.SESSION_NOT_AUTHORISED
    for _ in range(50):
        scene.gateway.turn(advance_ns=SECOND)
        scene.venue.pump()
    assert len(scene.venue.logins) == 1
    assert scene.world.counter("LOGIN_REJECTS") == 1


def test_heartbeats_leave_when_nothing_else_does(scene: Scene) -> None:
    scene.up()
    for _ in range(5):
        scene.gateway.turn(advance_ns=SECOND + MS)
        scene.venue.say(packet("H"))
        scene.venue.pump()
        scene.settle(2)
    assert scene.venue.heartbeats == 5
    assert scene.gateway.state == lib.SESSION_UP


def test_silent_venue_is_left_and_called_again(scene: Scene) -> None:
    scene.up()
    scene.gateway.turn(advance_ns=16 * SECOND)
    assert scene.gateway.state == lib.SESSION_DISCONNECTED
    scene.gateway.turn()
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_SESSION_DOWN)] == [lib.SESSION_SILENT]
    scene.up()
    assert len(scene.venue.logins) == 2


def test_unanswered_login_times_out_and_back_off_doubles(scene: Scene) -> None:
    scene.venue.login_answer = lambda _: b""
    waits = []
    for attempt in range(1, 6):
        scene.until(lambda wanted=attempt: len(scene.venue.logins) == wanted)
        scene.gateway.turn(advance_ns=SECOND)
        assert scene.gateway.reason == lib.SESSION_LOGIN_TIMEOUT
        waits.append(int(scene.gateway.c.session.deadline_time_ns) - scene.gateway.now_ns)
    assert waits == [10 * MS, 20 * MS, 40 * MS, 80 * MS, 80 * MS]


def test_refused_connection_is_tried_again(scene: Scene) -> None:
    port = scene.venue.port
    scene.venue.close()
    for _ in range(20):
        scene.gateway.turn()
    assert scene.gateway.state == lib.SESSION_DISCONNECTED
    assert scene.gateway.reason == lib.SESSION_CONNECT_FAILED
    scene.venue = ScriptedVenue(port=port)
    scene.up()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (packet("J", b"S"), "NOT_AVAILABLE"),
        (packet("J", b"?"), "REFUSED"),
        (packet("A", b"       DAY" + b"7".rjust(20)), "SEQUENCE_GAP"),
        (packet("A", b"       DAY" + b"0".rjust(20)), "SEQUENCE_BACK"),
    ],
)
def test_login_answers_that_end_the_session_for_good(scene: Scene, answer: bytes, reason: str) -> None:
    scene.venue.login_answer = lambda _: answer
    scene.until(lambda: scene.gateway.state == lib.SESSION_CLOSED)
    assert scene.gateway.reason == getattr(lib, f"SESSION_{reason}")


def test_end_of_session_is_final(scene: Scene) -> None:
    scene.up()
    scene.venue.say(packet("Z"))
    scene.until(lambda: scene.gateway.state == lib.SESSION_CLOSED)
    scene.settle()
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_SESSION_DOWN)] == [lib.SESSION_ENDED]
    assert len(scene.venue.logins) == 1


def test_another_session_than_the_intent_files_is_refused(scene: Scene) -> None:
    scene.up()
    scene.venue.session = "     OTHER"
    scene.venue.drop()
    scene.until(lambda: scene.gateway.state == lib.SESSION_CLOSED)
    assert scene.gateway.reason == lib.SESSION_OTHER_SESSION
    assert scene.venue.logins[1][16:26] == b"       DAY"


def test_bytes_that_are_no_packet_end_the_connection(scene: Scene) -> None:
    scene.up()
    scene.venue.say(b"\0\0")
    scene.until(lambda: scene.gateway.state == lib.SESSION_DISCONNECTED)
    assert scene.gateway.reason == lib.SESSION_MALFORMED
    scene.up()


# ---- what the venue may say ----------------------------------------------------------------------


def test_replacement_takes_over_from_its_target(scene: Scene) -> None:
    first, ref = one_live_order(scene)
    scene.venue.fill(ref, 40)
    second = scene.risk.replace(first, quantity=80, price=990_000)
    scene.settle()
    (replaced,) = scene.events(lib.EXEC_REPLACED)
    assert (int(replaced["order_id"]), int(replaced["target_order_id"])) == (second, first)
    assert (int(replaced["leaves_lots"]), int(replaced["cumulative_lots"])) == (80, 40)
    wire = scene.venue.wire[-1]
    assert (wire.type, wire.previous_ref, wire.user_ref, wire.quantity, wire.price) == ("U", ref, ref + 1, 80, 990_000)
    scene.venue.fill(ref + 1, 80)
    scene.settle()
    assert int(scene.events(lib.EXEC_FILL)[-1]["cumulative_lots"]) == 120
    assert scene.world.counter("OPEN_ORDERS") == 0


def test_rejects_name_what_they_reject(scene: Scene) -> None:
    first, ref = one_live_order(scene)
    scene.venue.answers_orders = False
    second = scene.risk.replace(first)
    third = scene.risk.new()
    scene.settle()
    scene.venue.stream += [rejected(ref + 1, 0x1D), rejected(ref + 2, 0x17)]
    scene.settle()
    (refused,) = scene.events(lib.EXEC_REPLACE_REJECTED)
    assert (int(refused["order_id"]), int(refused["target_order_id"]), int(refused["reason"])) == (second, first, 0x1D)
    (refused,) = scene.events(lib.EXEC_REJECTED)
    assert (int(refused["order_id"]), int(refused["reason"])) == (third, 0x17)
    assert scene.world.counter("OPEN_ORDERS") == 1


def test_other_reports_reach_their_order(scene: Scene) -> None:
    order_id, ref = one_live_order(scene)
    scene.venue.fill(ref, 10)
    scene.venue.fill(ref, 10)
    stamp = struct.pack(">Q", 1)
    name = struct.pack(">I", ref)
    scene.venue.stream += [
        broken(ref, 1),
        b"P" + stamp + name,
        b"I" + stamp + name,
        b"T" + stamp + name + struct.pack(">QcQ", 1_000_100, b"N", 77),
        b"M" + stamp + name + b"B" + struct.pack(">I", 50),
        b"R" + stamp + name + b"R" + b"\0\0",
        b"D" + stamp + name + struct.pack(">IcIQc", 20, b"Q", 20, 1_000_000, b"R"),
        corrected(ref, 10, 1_000_200, 2),
        corrected(ref, 10, 1_000_300, 2),
        system_event("E"),
    ]
    scene.settle()
    for kind, expected in {
        lib.EXEC_BROKEN: {"match_id": 1, "reason": ord("E"), "quantity_lots": 10, "price_ticks": 1_000_000},
        lib.EXEC_PENDING_CANCEL: {"target_order_id": order_id},
        lib.EXEC_CANCEL_REJECTED: {"target_order_id": order_id},
        lib.EXEC_CANCELED: {"quantity_lots": 20, "leaves_lots": 30, "reason": ord("Q")},
    }.items():
        (event,) = scene.events(kind)
        assert int(event["order_id"]) == order_id
        assert {key: int(event[key]) for key in expected} == expected
    steps = [(int(e["venue_ref"]), int(e["price_ticks"])) for e in scene.events(lib.EXEC_CORRECTED)]
    assert steps == [(1_000_000, 1_000_200), (1_000_200, 1_000_300)], "each from the price before"
    assert {(int(e["match_id"]), int(e["quantity_lots"])) for e in scene.events(lib.EXEC_CORRECTED)} == {(2, 10)}
    assert [int(e["venue_ref"]) for e in scene.events(lib.EXEC_RESTATED)] == [77, 77, 77]
    assert scene.world.counter("MESSAGES_IN") == len(scene.venue.stream)
    assert int(scene.gateway.file.page()["next_expected_sequence"]) == len(scene.venue.stream) + 1
    assert scene.world.gateway_mode == lib.MODE_NORMAL


def test_break_of_a_fill_that_nobody_remembers_stops_new_orders(scene: Scene) -> None:
    _, ref = one_live_order(scene)
    scene.venue.stream.append(broken(ref, 4711))
    scene.settle()
    (event,) = scene.events(lib.EXEC_BROKEN)
    assert int(event["quantity_lots"]) == 0
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY


@pytest.mark.parametrize("message", [canceled(77, 1), b"A" + bytes(20), b"?"])
def test_report_that_cannot_be_placed_stops_new_orders(scene: Scene, message: bytes) -> None:
    scene.up()
    scene.venue.stream.append(message)
    scene.settle()
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY
    scene.risk.new()
    scene.settle()
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_REFUSED)] == [lib.REJECT_MODE]
    scene.restart()
    scene.up()
    assert scene.world.gateway_mode == lib.MODE_CANCEL_ONLY, "a new process reads the same stream"


# ---- refusals --------------------------------------------------------------------------------------


def test_refusals_by_reason(scene: Scene) -> None:
    scene.risk.new()
    scene.settle(1)
    scene.up()
    bad_digest = scene.risk.command()
    bad_digest.price_ticks += 1
    scene.risk.publish(bad_digest)
    scene.risk.new(instrument=9)
    scene.risk.new(quantity=1_000_000)
    scene.risk.new(price=0)
    scene.risk.replace(4711)
    scene.risk.cancel(4711)
    sent = scene.risk.new(cause=500)
    scene.risk.new(cause=500)
    scene.risk.publish(scene.risk.command(order_id=sent, cause=501))
    scene.risk.publish(scene.risk.command(kill_epoch=5))
    scene.settle()
    reasons = [int(e["reason"]) for e in scene.events(lib.EXEC_REFUSED)]
    assert reasons == [
        lib.REJECT_SESSION_DOWN,
        lib.REJECT_DIGEST,
        lib.REJECT_INSTRUMENT,
        lib.REJECT_ENCODING,
        lib.REJECT_ENCODING,
        lib.REJECT_UNKNOWN_ORDER,
        lib.REJECT_UNKNOWN_ORDER,
        lib.REJECT_DUPLICATE,
        lib.REJECT_DUPLICATE,
        lib.REJECT_KILLED,
    ]
    clash = scene.events(lib.EXEC_REFUSED)[8]
    assert (int(clash["order_id"]), int(clash["target_order_id"])) == (0, sent), "a live order is not released"
    assert len(scene.venue.new_orders()) == 1
    assert scene.world.counter("REFUSED") == len(reasons)


def test_modes_refuse_new_orders_and_let_cancels_pass(scene: Scene) -> None:
    order_id, ref = one_live_order(scene)
    lib.control_cause(scene.world.control, lib.CAUSE_OPERATOR, lib.MODE_HALTED)
    scene.risk.new()
    scene.risk.replace(order_id)
    scene.risk.cancel(order_id)
    scene.settle()
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_REFUSED)] == [lib.REJECT_MODE] * 2
    assert [(o.type, o.user_ref) for o in scene.venue.wire[-1:]] == [("X", ref)]
    (gone,) = scene.events(lib.EXEC_CANCELED)
    assert int(gone["order_id"]) == order_id and int(gone["leaves_lots"]) == 0


def test_any_order_is_found_by_its_id(scene: Scene) -> None:
    """Order ids have gaps where risk refused an intent."""
    scene.up()
    ids = [scene.risk.new(order_id=7 * i + 3) for i in range(200)]
    scene.settle(50)
    asked = ids[::3] + ids[:5] + [0, 1, 4, ids[-1] + 1]
    for target in asked:
        scene.risk.cancel(target)
    scene.settle(50)
    assert {int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED)} == set(ids[::3] + ids[:5])
    assert [int(e["target_order_id"]) for e in scene.events(lib.EXEC_REFUSED)] == asked[-4:]


def test_full_intent_file_refuses_orders_and_lets_cancels_pass(tmp_path: Path) -> None:
    scene = Scene(tmp_path, intents_max=3)
    orders = []
    scene.up()
    for _ in range(4):
        orders.append(scene.risk.new())
        scene.settle()
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_REFUSED)] == [lib.REJECT_INTENTS_FULL]
    scene.risk.cancel(orders[0])
    scene.settle()
    assert [int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED)] == orders[:1]
    scene.gateway.die()
    scene.venue.close()


# ---- kill ------------------------------------------------------------------------------------------


def test_kill_refuses_orders_cancels_all_and_tells_when_effective(scene: Scene) -> None:
    one_live_order(scene)
    scene.risk.new()
    scene.settle()
    epoch = lib.control_kill(scene.world.control)
    stale = scene.risk.command(kill_epoch=epoch - 1)
    scene.risk.publish(stale)
    scene.risk.new()
    scene.until(lambda: scene.world.control.killed_epoch_sent == epoch)
    scene.settle()
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_REFUSED)] == [lib.REJECT_KILLED] * 2
    assert len(scene.venue.new_orders()) == 2
    assert len(scene.events(lib.EXEC_CANCELED)) == 2 and not scene.venue.live
    assert lib.control_arm(scene.world.control, epoch) == 1
    scene.settle()
    assert [o.type for o in scene.venue.wire].count("X") == 2, "once for each order and kill"
    scene.risk.new()
    scene.settle()
    assert len(scene.venue.new_orders()) == 3


def test_cancels_of_a_kill_that_were_lost_leave_after_the_next_login(scene: Scene) -> None:
    one_live_order(scene)
    scene.venue.drop_inbound_after = 0
    epoch = lib.control_kill(scene.world.control)
    scene.until(lambda: scene.gateway.state != lib.SESSION_UP)
    lib.control_arm(scene.world.control, epoch)
    scene.up()
    scene.settle()
    assert len(scene.events(lib.EXEC_CANCELED)) == 1 and not scene.venue.live


def test_kill_between_plan_and_store_holds_the_order_back(scene: Scene) -> None:
    scene.up()
    scene.risk.new()
    gateway = scene.gateway
    lib.gateway_plan(gateway.c, gateway.plan)
    lib.control_kill(scene.world.control)
    lib.gateway_turn(gateway.c, gateway.plan)
    assert scene.world.intents().size == 0
    scene.settle()
    assert scene.world.intents().size == 0 and scene.venue.new_orders() == []
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_REFUSED)] == [lib.REJECT_KILLED]


# ---- limits of buffers -------------------------------------------------------------------------------


def test_partial_writes_keep_every_byte_in_order(tmp_path: Path) -> None:
    scene = Scene(tmp_path, session_socket_send_bytes=4096, session_send_bytes=2048)
    scene.up()
    scene.venue.reads = False
    scene.venue.connection_receive_bytes(4096)
    ids = [scene.risk.new(quantity=i + 1) for i in range(600)]
    for _ in range(200):
        scene.gateway.turn()
    framed = [int(order_id) for order_id in scene.world.intents()["order_id"]]
    assert 0 < len(framed) < 600, "the rest did not fit the send window"
    refused = scene.events(lib.EXEC_REFUSED)
    assert {int(event["reason"]) for event in refused} == {lib.REJECT_SEND_WINDOW}
    assert sorted([*framed, *(int(event["order_id"]) for event in refused)]) == ids
    scene.venue.reads = True
    scene.until(lambda: len(scene.venue.new_orders()) == len(framed))
    assert [o.quantity for o in scene.venue.new_orders()] == framed  # as each was numbered
    assert [int(o.client_order_id) for o in scene.venue.new_orders()] == framed
    scene.gateway.die()
    scene.venue.close()


def test_full_exec_ring_stops_reading_and_loses_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, exec_capacity=16)
    scene.up()
    scene.risk.read()
    scene.venue.fill_on_accept = True
    for _ in range(40):
        scene.risk.new(quantity=10)
    scene.settle(100)
    assert scene.world.counter("EXEC_FULL") > 0
    assert int(scene.gateway.file.page()["next_expected_sequence"]) < len(scene.venue.stream)
    scene.until(lambda: len(scene.events(lib.EXEC_FILL)) == 40)
    sequences = [int(e["session_sequence"]) for e in scene.risk.seen if e["session_sequence"]]
    assert sequences == list(range(sequences[0], len(scene.venue.stream) + 1))
    assert scene.gateway.state == lib.SESSION_UP
    scene.gateway.die()
    scene.venue.close()


# ---- cuts --------------------------------------------------------------------------------------------


def fold(events: list[Any]) -> list[tuple[int, int, int]]:
    """What the venue said, as (sequence, type, order id), in the order of publication."""
    return [
        (int(e["session_sequence"]), int(e["header"]["type"]), int(e["order_id"]))
        for e in events
        if e["session_sequence"]
    ]


def test_cut_after_any_byte_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Login answer, answer to the query, three accepts and three fills; the line is cut after each third
    byte (after every byte in the soak)."""
    length = 33 + 16 + 3 * 67 + 3 * 39
    for cut in range(1, length + 1, 1 if os.environ.get("HOTPATH_SOAK") else 3):
        scene = Scene(tmp_path / str(cut))
        scene.venue.cut_after = cut
        scene.until(lambda scene=scene: scene.gateway.state == lib.SESSION_UP)
        refs = []
        for _ in range(3):
            scene.risk.new()
            scene.settle(3)
            scene.until(lambda scene=scene: scene.gateway.state == lib.SESSION_UP)
        refs = list(scene.venue.live)
        for ref in refs:
            scene.venue.fill(ref, 60)
            scene.settle(3)
        scene.until(lambda scene=scene: scene.gateway.state == lib.SESSION_UP)
        scene.settle(10)
        scene.risk.read()
        told = fold(scene.risk.seen)
        spoken = [i + 1 for i, m in enumerate(scene.venue.stream) if m[0:1] not in b"QS"]
        assert [sequence for sequence, _, _ in told] == spoken, f"cut after byte {cut}"
        assert len({o.user_ref for o in scene.venue.new_orders()}) == len(scene.venue.new_orders())
        lost = [int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED) if e["session_sequence"] == 0]
        taken = [int(e["order_id"]) for e in scene.events(lib.EXEC_ACCEPTED)]
        assert sorted(lost + taken) == [1, 2, 3], "each order has one fate"
        assert len(scene.events(lib.EXEC_FILL)) == len(refs) == len(taken)
        scene.gateway.die()
        scene.venue.close()


def test_order_lost_on_the_way_is_unknown_then_settled_and_never_resent(scene: Scene) -> None:
    scene.up()
    scene.venue.drop_inbound_after = 0
    order_id = scene.risk.new()
    scene.until(lambda: len(scene.venue.logins) == 2)
    scene.up()
    (unknown,) = scene.events(lib.EXEC_UNKNOWN)
    assert int(unknown["order_id"]) == order_id and int(unknown["leaves_lots"]) == 100
    (dead,) = scene.events(lib.EXEC_CANCELED)
    assert (int(dead["order_id"]), int(dead["quantity_lots"]), int(dead["session_sequence"])) == (order_id, 100, 0)
    assert [o.type for o in scene.venue.wire] == ["Q", "X", "Q"], "a cancel for it, then the question; no order"
    assert scene.world.counter("SETTLED") == 1
    next_order = scene.risk.new()
    scene.settle()
    assert scene.venue.new_orders()[0].user_ref == 2
    assert int(scene.events(lib.EXEC_ACCEPTED)[0]["order_id"]) == next_order


def test_unknown_order_that_the_venue_has_is_cancelled(scene: Scene) -> None:
    scene.up()
    scene.venue.answers_orders = False
    order_id = scene.risk.new()
    scene.settle()
    order = scene.venue.new_orders()[0]
    scene.venue.drop()
    scene.venue.answers_orders = True
    scene.venue.live[order.user_ref] = Held(order, order.quantity)
    scene.venue.next_ref = 2
    scene.until(lambda: len(scene.venue.logins) == 2)
    scene.up()
    (dead,) = scene.events(lib.EXEC_CANCELED)
    assert int(dead["order_id"]) == order_id and int(dead["session_sequence"]) > 0
    assert scene.world.counter("SETTLED") == 0


def test_order_given_up_for_dead_is_cancelled_when_it_comes_to_life(scene: Scene) -> None:
    scene.up()
    scene.venue.drop_inbound_after = 0
    order_id = scene.risk.new()
    scene.until(lambda: len(scene.venue.logins) == 2)
    scene.up()
    late = WireOrder("O", 1, 0, "B", 100, "AAPL", 1_000_000, "0", "1")
    scene.venue.live[1] = Held(late, 100)
    scene.venue.stream.append(accepted(late))
    scene.settle()
    assert [int(e["order_id"]) for e in scene.events(lib.EXEC_ACCEPTED)] == [order_id]
    assert int(scene.events(lib.EXEC_CANCELED)[-1]["session_sequence"]) > 0
    assert not scene.venue.live


def test_replacement_of_a_dead_order_is_settled_by_a_later_answer(scene: Scene) -> None:
    first, ref = one_live_order(scene)
    scene.venue.fill(ref, 100)
    second = scene.risk.replace(first)
    third = scene.risk.new()
    scene.settle()
    (gone,) = scene.events(lib.EXEC_REPLACE_REJECTED)
    assert (int(gone["order_id"]), int(gone["target_order_id"]), int(gone["session_sequence"])) == (second, first, 0)
    assert int(scene.events(lib.EXEC_ACCEPTED)[-1]["order_id"]) == third


def test_cancel_without_a_session_leaves_after_the_next_login(scene: Scene) -> None:
    order_id, ref = one_live_order(scene)
    scene.venue.drop()
    scene.until(lambda: scene.gateway.state == lib.SESSION_DISCONNECTED)
    scene.risk.cancel(order_id)
    scene.gateway.turn()
    assert scene.world.intents()["type"].tolist() == [lib.CMD_NEW, lib.CMD_CANCEL]
    scene.up()
    scene.settle()
    assert ("X", ref) in [(o.type, o.user_ref) for o in scene.venue.wire]
    assert [int(e["order_id"]) for e in scene.events(lib.EXEC_CANCELED)] == [order_id]


def test_venue_without_account_query_does_not_hold_the_session_down(scene: Scene) -> None:
    scene.venue.answers_query = False
    scene.until(lambda: len(scene.venue.wire) == 1)
    scene.gateway.turn(advance_ns=SECOND)
    scene.up()


# ---- a new process -----------------------------------------------------------------------------------


def test_restart_rebuilds_orders_from_the_stream_and_publishes_nothing_twice(scene: Scene) -> None:
    first, ref = one_live_order(scene)
    scene.venue.fill(ref, 25)
    scene.settle()
    scene.risk.read()
    before = fold(scene.risk.seen)
    scene.restart()
    scene.venue.fill(ref, 25)
    scene.up()
    assert [int(login[26:46]) for login in scene.venue.logins] == [1, 1]
    scene.settle()
    scene.risk.read()
    after = fold(scene.risk.seen)
    assert after[: len(before)] == before and len(after) == len(before) + 1
    fill = scene.events(lib.EXEC_FILL)[-1]
    assert (int(fill["order_id"]), int(fill["cumulative_lots"]), int(fill["leaves_lots"])) == (first, 50, 50)
    assert int(fill["header"]["flags"]) & lib.FLAG_RECOVERED
    assert [int(e["reason"]) for e in scene.events(lib.EXEC_SESSION_DOWN)] == [lib.SESSION_STARTED]


def test_gateway_that_dies_before_its_login_is_over_tells_no_second_down(scene: Scene) -> None:
    one_live_order(scene)
    scene.restart()
    scene.settle()
    scene.restart()
    scene.up()
    scene.risk.read()
    states = [int(e["header"]["type"]) for e in scene.risk.seen]
    states = [kind for kind in states if kind in (lib.EXEC_SESSION_UP, lib.EXEC_SESSION_DOWN)]
    assert states == [lib.EXEC_SESSION_UP, lib.EXEC_SESSION_DOWN, lib.EXEC_SESSION_UP]


def test_report_published_just_before_death_is_not_published_again(scene: Scene) -> None:
    """Killed between the exec ring's commit and the page's store: the ring itself tells."""
    one_live_order(scene)
    page = ffi.cast("intent_page *", ffi.cast("uint8_t *", scene.gateway.file.pointer) + lib.SEGMENT_HEADER_SIZE)
    page.next_expected_sequence -= 1
    scene.restart()
    scene.up()
    assert len(scene.events(lib.EXEC_ACCEPTED)) == 1


def test_restart_after_settling_does_not_settle_again(scene: Scene) -> None:
    scene.up()
    scene.venue.drop_inbound_after = 0
    scene.risk.new()
    scene.until(lambda: len(scene.venue.logins) == 2)
    scene.up()
    scene.restart()
    scene.up()
    assert len(scene.events(lib.EXEC_CANCELED)) == 1 and len(scene.events(lib.EXEC_UNKNOWN)) == 1


def test_second_gateway_fences_the_first(scene: Scene) -> None:
    scene.up()
    lib.intent_fence(ffi.addressof(scene.gateway.c, "intents"))
    scene.risk.new()
    scene.gateway.turn()
    assert (scene.gateway.state, scene.gateway.reason) == (lib.SESSION_CLOSED, lib.SESSION_FENCED)
    assert scene.world.stage_page.error == lib.STAGE_ERROR_SESSION
    assert scene.world.intents().size == 0


def test_logout_is_said(scene: Scene) -> None:
    scene.up()
    lib.gateway_close(scene.gateway.c)
    run_until(lambda: scene.venue.logouts == 1, scene.venue.pump)
