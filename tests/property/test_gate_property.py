"""The risk gate equals a slow oracle over any stream of market events, intents, executions and time."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from ffi import lib
from tests.support.gate_driver import DrivenGate
from tests.support.gate_oracle import GateOracle
from tests.support.stages import ENGINE_LIMITS, INSTRUMENT_LIMITS

HUGE = 2**63 - 1
COUNT = 3
ORDERS_MAX = 32
PRICES = st.one_of(st.integers(90, 110), st.integers(90, 110), st.sampled_from([0, -1, 1, 7, 2**40, 2**62, HUGE]))
LOTS = st.one_of(st.integers(1, 12), st.integers(1, 12), st.sampled_from([0, -3, 50, 2**40, HUGE]))
BOOK_PRICES = st.one_of(st.integers(95, 105), st.integers(95, 105), st.sampled_from([0, 1, 2**62]))
SIDES = st.sampled_from([lib.SIDE_BUY, lib.SIDE_SELL])
STEPS_NS = st.sampled_from([0, 1, 1000, 300_000_000, 499_999_999, 10**9, 10**9 + 1, 10**12])
ENTRY_CHOICES = st.fixed_dictionaries(
    {
        "tick_value_micros": st.sampled_from([1, 100, 100, 2**40, 0]),
        "price_increment_ticks": st.sampled_from([1, 1, 5, 0]),
        "flags": st.sampled_from([lib.INSTRUMENT_TRADED] * 6 + [0, lib.INSTRUMENT_TRADED | lib.INSTRUMENT_RESTRICTED]),
    }
)
LIMIT_CHOICES = st.fixed_dictionaries(
    {
        "position_lots_max": st.sampled_from([20, 30, HUGE, 0]),
        "order_quantity_lots_max": st.sampled_from([12, 50, HUGE]),
        "order_value_micros_max": st.sampled_from([100_000, 10**15, HUGE]),
        "collar_ppm_max": st.sampled_from([50_000, 10**6, HUGE]),
        "flags": st.sampled_from([0, 0, 0, lib.LIMIT_NO_SHORT, lib.LIMIT_BLOCKED]),
    }
)
ENGINE_CHOICES = st.fixed_dictionaries(
    {
        "gross_value_micros_max": st.sampled_from([150_000, 10**15, HUGE]),
        "open_orders_max": st.sampled_from([8, 1000, 0]),
        "messages_per_second_max": st.sampled_from([3, 1000, HUGE, 0]),
        "stale_after_ns": st.sampled_from([10**9, lib.LIMIT_OFF]),
    }
)


class GateMachine(RuleBasedStateMachine):
    """Each rule does one thing to both; after each, everything that can be asked is compared."""

    sent = Bundle("sent")

    @initialize(
        entries=st.lists(ENTRY_CHOICES, min_size=COUNT, max_size=COUNT),
        limits=LIMIT_CHOICES,
        engine=ENGINE_CHOICES,
        require_state=st.sampled_from([False, False, True]),
        now_ns=st.sampled_from([0, 5, 1_580_367_600_000_000_000]),
        plain=st.booleans(),
    )
    def build(
        self,
        entries: list[dict[str, int]],
        limits: dict[str, int],
        engine: dict[str, int],
        require_state: bool,
        now_ns: int,
        plain: bool,
    ) -> None:
        """Odd instruments and limits half of the time, so that the other half gets beyond the first checks."""
        self.c = DrivenGate(count=COUNT, orders_max=ORDERS_MAX, now_ns=now_ns)
        if plain:
            entries = [{"tick_value_micros": 100, "price_increment_ticks": 1, "flags": 1} for _ in range(COUNT)]
            limits, engine = INSTRUMENT_LIMITS | {"position_lots_max": 40}, ENGINE_LIMITS
            require_state = False
        for index, entry in enumerate(entries):
            for name, value in entry.items():
                setattr(self.c.entries[index], name, value)
        self.c.gate.require_trading_state = require_state
        self.oracle = GateOracle(entries, [], {}, ORDERS_MAX, require_state)
        self.apply_limits(limits, engine)
        self.last_id = 0
        self.approvals: list[int] = []
        self.number = 0
        if plain:
            for instrument in range(COUNT):
                self.market(lib.NORM_ADD, instrument, lib.FLAG_TOP, 99, 101, 100, 0)

    def apply_limits(self, limits: dict[str, int], engine: dict[str, int]) -> None:
        self.c.set_limits(entry=limits, **engine)
        self.oracle.limits = [self.c.instrument_limits] * COUNT
        self.oracle.engine = self.c.engine_limits

    @property
    def now(self) -> int:
        return int(self.c.plan.now_ns)

    # ---- the world ----

    @rule(limits=LIMIT_CHOICES, engine=ENGINE_CHOICES)
    def change_limits(self, limits: dict[str, int], engine: dict[str, int]) -> None:
        self.apply_limits(limits, engine)

    @rule(step_ns=STEPS_NS)
    def pass_time(self, step_ns: int) -> None:
        self.c.plan.now_ns = self.now + step_ns

    @rule(mode=st.sampled_from([0, 0, 0, 1, 1, 2, 3]), killed=st.sampled_from([0, 0, 0, 1]))
    def change_mode(self, mode: int, killed: int) -> None:
        self.c.plan.mode, self.c.plan.killed = mode, killed

    @rule(
        kind=st.sampled_from([lib.NORM_ADD] * 6 + [lib.NORM_EXECUTE, lib.NORM_TRADE, lib.NORM_CROSS, lib.NORM_DELETE]),
        instrument=st.integers(0, COUNT - 1),
        flags=st.sampled_from([lib.FLAG_TOP, lib.FLAG_TOP, 0, lib.FLAG_STALE | lib.FLAG_TOP]),
        bid=BOOK_PRICES,
        ask=BOOK_PRICES,
        price=st.sampled_from([100, 101, 0]),
        ref=st.just(0),
    )
    def market(self, kind: int, instrument: int, flags: int, bid: int, ask: int, price: int, ref: int) -> None:
        event = {"type": kind, "instrument": instrument, "flags": flags, "order_ref": ref, "price_ticks": price}
        event |= {"bid_price_ticks": bid, "ask_price_ticks": ask}
        self.oracle.market(event, now=self.now)
        self.c.market(**({"kind": kind} | {k: v for k, v in event.items() if k != "type"}))

    @rule(instrument=st.integers(0, COUNT - 1), state=st.sampled_from([0, 1, 1, 2, 3, 4]))
    def trading_state(self, instrument: int, state: int) -> None:
        self.market(lib.NORM_STATUS, instrument, 0, 99, 101, 0, state)

    @rule(instrument=st.integers(0, COUNT - 1), state=st.sampled_from([0, 1, 1, 2]))
    def operational_state(self, instrument: int, state: int) -> None:
        self.market(lib.NORM_OPERATIONAL, instrument, 0, 99, 101, 0, state)

    @rule(kind=st.sampled_from([lib.NORM_GAP, lib.NORM_SILENT, lib.NORM_WHOLE, lib.NORM_CLEAR, lib.NORM_SYSTEM]))
    def market_breaks(self, kind: int) -> None:
        self.market(kind, lib.NO_INSTRUMENT, 0, 0, 0, 0, 0)

    # ---- intents ----

    @rule(
        target=sent,
        kind=st.sampled_from([lib.SIGNAL_NEW] * 6 + [lib.SIGNAL_CANCEL, lib.SIGNAL_NEW - 1, lib.SIGNAL_CANCEL + 1]),
        instrument=st.sampled_from([0, 0, 0, 1, 1, 2, COUNT, lib.NO_INSTRUMENT]),
        side=st.sampled_from([0, 0, 0, 1, 1, 1, 2]),
        price=PRICES,
        lots=LOTS,
        strategy=st.sampled_from([0, 0, 1, 255, 256]),
        source=st.sampled_from([lib.INPUT_NORM] * 4 + [lib.INPUT_TIMER, lib.INPUT_EXEC, 8, 255]),
        cause=st.sampled_from([None, None, None, None, 1, 5]),
        epoch=st.sampled_from([0, 0, 0, 1]),
        gap=st.sampled_from([0, 0, 1, 7]),
    )
    def intent(self, **intent: Any) -> Any:
        return self.send(target_order_id=0, **intent)

    @rule(
        target=sent, order=sent, lots=LOTS, price=PRICES, kind=st.sampled_from([lib.SIGNAL_REPLACE, lib.SIGNAL_CANCEL])
    )
    def change_order(self, order: dict[str, Any], lots: int, price: int, kind: int) -> Any:
        return self.send(
            kind=kind,
            instrument=order["instrument"],
            side=order["side"],
            price=price,
            lots=lots,
            target_order_id=order["order_id"],
        )

    def send(
        self,
        *,
        kind: int,
        instrument: int,
        side: int,
        price: int,
        lots: int,
        target_order_id: int,
        strategy: int = 0,
        source: int = lib.INPUT_NORM,
        cause: int | None = None,
        epoch: int = 0,
        gap: int = 0,
    ) -> Any:
        self.last_id += 1 + gap
        intent = {
            "type": kind,
            "instrument": instrument,
            "side": side,
            "price_ticks": price,
            "quantity_lots": lots,
            "target_order_id": target_order_id,
            "strategy": strategy,
            "strategy_epoch": epoch,
            "cause_input": source,
            "cause_sequence": self.last_id if cause is None else cause,
            "leg": 0,
        }
        worst_before = [self.oracle.worst(i) for i in range(COUNT)]
        mode, killed = int(self.c.plan.mode), bool(self.c.plan.killed)
        expected = self.oracle.decide(intent, self.last_id, now=self.now, mode=mode, killed=killed)
        assert self.c.decide(intent, self.last_id) == expected
        if expected != lib.REJECT_NONE:
            return multiple()
        self.check_approval(intent, worst_before, mode=mode, killed=killed)
        return intent | {"order_id": self.last_id}

    def check_approval(self, intent: dict[str, Any], worst_before: list[int], *, mode: int, killed: bool) -> None:
        """What must hold of every approval, whatever the oracle thinks."""
        command = self.c.command
        assert command.order_id == self.last_id
        assert command.digest == lib.digest_command(command)
        if intent["type"] == lib.SIGNAL_CANCEL:
            return
        assert not killed and mode <= lib.MODE_REDUCE_ONLY
        i, limit = intent["instrument"], self.c.instrument_limits["position_lots_max"]
        signed = 1 if intent["side"] == lib.SIDE_BUY else -1
        state = self.c.state(i)
        assert signed * state.position_lots + (state.open_buy_lots if signed > 0 else state.open_sell_lots) <= limit
        if mode == lib.MODE_REDUCE_ONLY:
            assert intent["type"] == lib.SIGNAL_NEW
            assert self.oracle.worst(i) <= worst_before[i]
        self.approvals.append(self.now)

    # ---- executions ----

    def execution(self, event: dict[str, Any], *, number: int = 0, session: int = 1) -> None:
        event = event | {"session_sequence": number, "session": session if number else 0}
        self.oracle.execution(event)
        fields = {k: v for k, v in event.items() if k not in ("type", "order_id")}
        self.c.execution(event["type"], event["order_id"], **fields)

    @rule(
        order=sent,
        kind=st.sampled_from(
            [lib.EXEC_FILL] * 3
            + [lib.EXEC_ACCEPTED, lib.EXEC_REJECTED, lib.EXEC_REFUSED, lib.EXEC_CANCELED, lib.EXEC_CANCELED]
            + [lib.EXEC_REPLACE_REJECTED, lib.EXEC_RESTATED, lib.EXEC_BROKEN, lib.EXEC_CANCEL_REJECTED]
            + [lib.EXEC_UNKNOWN, lib.EXEC_PENDING_CANCEL, lib.EXEC_CORRECTED, lib.EXEC_SESSION_UP, lib.EXEC_ADJUSTED]
        ),
        lots=st.integers(1, 15),
        leaves=st.sampled_from([0, 0, 0, 1, 4, 40, -2]),
        price=st.integers(90, 110),
        before=st.sampled_from([0, 95, 105]),
        number=st.sampled_from([None, None, None, 0, 1, 2]),
        session=st.sampled_from([1, 1, 1, 1, 2]),
    )
    def reported(
        self,
        order: dict[str, Any],
        kind: int,
        lots: int,
        leaves: int,
        price: int,
        before: int,
        number: int | None,
        session: int,
    ) -> None:
        """Anything about an order that was approved at some time, numbered anew, not at all, or again."""
        if number is None:
            self.number += 1
        event = {name: order[name] for name in ("order_id", "instrument", "side")}
        event |= {"type": kind, "quantity_lots": lots, "leaves_lots": leaves, "price_ticks": price, "venue_ref": before}
        self.execution(
            event | {"target_order_id": 0}, number=self.number if number is None else number, session=session
        )

    @rule(old=sent, new=sent, leaves=st.sampled_from([0, 3, 10, 40]))
    def replaced(self, old: dict[str, Any], new: dict[str, Any], leaves: int) -> None:
        event = {name: new[name] for name in ("order_id", "instrument", "side")}
        event |= {"type": lib.EXEC_REPLACED, "target_order_id": old["order_id"], "leaves_lots": leaves}
        if old["order_id"] != new["order_id"]:
            self.execution(event | {"quantity_lots": 0, "price_ticks": 100})

    @rule(
        kind=st.sampled_from([lib.EXEC_FILL, lib.EXEC_ACCEPTED, lib.EXEC_CANCELED, lib.EXEC_REPLACED]),
        instrument=st.sampled_from([0, 1, COUNT, lib.NO_INSTRUMENT]),
        side=SIDES,
        order_id=st.sampled_from([0, 2**40, 2**64 - 1]),
        leaves=st.sampled_from([0, 2]),
    )
    def of_no_order(self, kind: int, instrument: int, side: int, order_id: int, leaves: int) -> None:
        event = {"type": kind, "instrument": instrument, "side": side, "order_id": order_id, "leaves_lots": leaves}
        self.execution(event | {"quantity_lots": 2, "price_ticks": 100, "target_order_id": 2**50})

    # ---- always ----

    @precondition(lambda self: hasattr(self, "oracle"))
    @invariant()
    def all_is_equal(self) -> None:
        gate, oracle = self.c.gate, self.oracle
        for i in range(COUNT):
            state = gate.instrument[i]
            found = (state.position_lots, state.open_buy_lots, state.open_sell_lots)
            assert found == (oracle.position(i), oracle.open_lots(i, 0), oracle.open_lots(i, 1))
        assert gate.open_orders == len(oracle.orders)
        assert (gate.gross_value_micros, gate.net_value_micros) == (oracle.gross(), oracle.net())
        assert gate.cash_micros == oracle.cash()
        assert self.c.counter(lib.RISK_OVERFILLS) == oracle.overfills
        assert self.c.counter(lib.RISK_UNKNOWN_EXECUTIONS) == oracle.unknown
        assert self.c.counter(lib.RISK_DUPLICATE_EXECUTIONS) == oracle.duplicates
        assert self.c.counter(lib.RISK_POSITION_LOTS) == sum(abs(oracle.position(i)) for i in range(COUNT))
        table = {
            gate.order_id[place]: gate.order[place] for place in range(gate.order_mask + 1) if gate.order_id[place]
        }
        assert {key: (o.instrument, o.side, o.leaves_lots, o.filled_lots) for key, o in table.items()} == {
            key: (o.instrument, o.side, o.leaves, o.filled) for key, o in oracle.orders.items()
        }

    def teardown(self) -> None:
        """No reservation outlives its order: close all of them, and nothing is left."""
        if not hasattr(self, "oracle"):
            return
        for order_id, order in list(self.oracle.orders.items()):
            event = {"type": lib.EXEC_CANCELED, "order_id": order_id, "instrument": order.instrument, "leaves_lots": 0}
            self.execution(event | {"quantity_lots": order.leaves, "side": order.side, "price_ticks": 0})
        self.all_is_equal()
        assert self.c.gate.open_orders == 0
        for i in range(COUNT):
            assert self.c.state(i).open_buy_lots == self.c.state(i).open_sell_lots == 0


TestGate = GateMachine.TestCase
TestGate.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain takes minutes and says little
)
