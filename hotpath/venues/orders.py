"""The order desk: OUCH 5.0 and 4.2 messages to market commands, and market reports to OUCH messages.

    payload --> Desk.receive --> Command --> market
    market  --> Report --> Desk.deliver --> Account.stream (sequenced; kept whole for replay, on disk)

An account outlives its connections: its stream, its orders and its numbers are the day's. What memory a day takes
is bounded by the orders that are open (and 14 bytes for each token of 4.2, which may never come again).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from ffi import ffi, lib
from hotpath.reconcile.wire import CopyExecution, decode_request, encode_positions
from hotpath.venues.config import AccountConfig, SimulatorConfig
from hotpath.venues.market import Command, Market, Report
from hotpath.venues.message_log import MessageLog

MARKET_PRICES = (0x7FFFFFFF, 2_000_000_000)  # "at any price", as 4.2 and 5.0 clients write it
PRICE_TICKS_MAX = 1_999_999_900  # 199,999.99 dollars, the venue's highest
DOLLAR_TICKS = 10_000
MESSAGE_BYTES_MAX = 512
BREAKABLE_MAX = 4096  # executions that can still be declared not to have happened
SIDES = {ord("B"): 0, ord("S"): 1, ord("T"): 1, ord("E"): 1}

# OUCH 4.2 gives reasons as letters.
LETTER_OF_REASON: dict[int, str] = {
    lib.VENUE_HALTED: "H",
    lib.VENUE_BAD_QUANTITY: "Z",
    lib.VENUE_OVER_THRESHOLD: "Z",
    lib.VENUE_BAD_SYMBOL: "S",
    lib.VENUE_BAD_PRICE: "X",
    lib.VENUE_INVALID_DISPLAY: "D",
}


def _text(field: Any) -> str:
    """A text field of a message, without its padding."""
    return bytes(ffi.buffer(field)).decode("ascii", "replace").rstrip(" \0")


@dataclass
class Order:
    """One order of a session, as its own protocol names it."""

    account: Account
    order_id: int
    entry: Any  # ouch_order, as received; a replacement's has its order's side, symbol, capacity
    live: bool = True
    leaves_lots: int = 0


@dataclass
class Account:
    """Who may log in, and all that the venue remembers of them today."""

    config: AccountConfig
    stream: MessageLog = field(default_factory=MessageLog)  # sequenced messages
    by_name: dict[bytes | int, Order] = field(default_factory=dict)  # live orders, by token (4.2) or user_ref (5.0)
    tokens: set[bytes] = field(default_factory=set)  # 4.2: all that were ever used
    last_user_ref: int = 0  # 5.0: they only rise
    copy: DropCopy = field(init=False)

    def __post_init__(self) -> None:
        self.copy = DropCopy(self.config, self)

    @property
    def is_50(self) -> bool:
        """Speaks OUCH 5.0, else 4.2."""
        return self.config.protocol == "ouch50"


@dataclass
class DropCopy:
    """The second session of an account: it reports what was executed, and never trades (hotpath/reconcile/wire.py)."""

    config: AccountConfig
    account: Account
    stream: MessageLog = field(default_factory=MessageLog)
    positions: dict[str, int] = field(init=False)  # lots by symbol

    def __post_init__(self) -> None:
        self.positions = dict(self.config.positions)

    def tell(self, execution: CopyExecution) -> None:
        """One execution, and what it does to the position."""
        self.stream.append(execution.encode())
        if execution.kind == "F":
            return
        sign = (1 if execution.side == "B" else -1) * (1 if execution.kind == "E" else -1)
        symbol = execution.symbol
        self.positions[symbol] = self.positions.get(symbol, 0) + sign * execution.quantity

    def answer(self, payload: bytes) -> list[bytes]:
        """What to say, not numbered, to a message of the client."""
        request = decode_request(payload)
        return [] if request is None else encode_positions(request, self.positions, executions=len(self.stream))


class Desk:
    """Turns the sessions' messages into commands and the market's reports into messages."""

    def __init__(self, config: SimulatorConfig, market: Market) -> None:
        self.config = config
        self.market = market
        self.accounts = {account.username.upper(): Account(account) for account in config.accounts}
        self.copies = {name.upper(): a.copy for a in self.accounts.values() if (name := a.config.drop_copy)}
        self.orders: dict[int, Order] = {}
        self.matches: OrderedDict[int, list[tuple[Order, int]]] = OrderedDict()  # our last executions, by number
        self.counts = dict.fromkeys(
            (
                "orders_in",
                "replaces_in",
                "cancels_in",
                "queries_in",
                "ignored_in",
                "malformed_in",
                "accepted",
                "replaced",
                "fills",
                "filled_lots",
                "canceled",
                "rejected",
                "cancel_rejected",
                "broken",
            ),
            0,
        )
        self._next_order_id = 1
        self._entry = ffi.new("ouch_order *")
        self._target = ffi.new("uint8_t[]", MESSAGE_BYTES_MAX)
        for account in self.accounts.values():
            self._system_event(account, "S")

    # ---- in --------------------------------------------------------------------------------------

    def receive(self, account: Account, payload: bytes) -> None:
        """One unsequenced message of a logged-in session, and all that came of it."""
        self.deliver(self.market.take_reports())  # what happened before it is told before it
        self._obey(account, payload)
        self.deliver(self.market.take_reports())

    def _obey(self, account: Account, payload: bytes) -> None:
        entry = ffi.new("ouch_order *")
        decode = lib.ouch50_decode_order if account.is_50 else lib.ouch42_decode_order
        if decode(payload, len(payload), entry) != lib.OUCH_OK:
            self.counts["malformed_in"] += 1
            return
        kind = chr(entry.type)
        if kind == "O":
            self._enter(account, entry)
        elif kind == "U":
            self._replace(account, entry)
        elif kind == "X":
            self._cancel(account, entry)
        elif kind == "M":
            self._modify(account, entry)
        else:
            self.counts["queries_in"] += 1
            self._send(account, type=ord("Q"), user_ref=account.last_user_ref + 1)

    def _fresh(self, account: Account, entry: Any) -> bool:
        """Whether the number or token is new. A repeated one is ignored, so that resending is safe."""
        if account.is_50:
            if entry.user_ref <= account.last_user_ref:
                self.counts["ignored_in"] += 1
                return False
            account.last_user_ref = entry.user_ref
            return True
        token = bytes(ffi.buffer(entry.token))
        if token in account.tokens:
            self.counts["ignored_in"] += 1
            return False
        account.tokens.add(token)
        return True

    @staticmethod
    def _name(account: Account, entry: Any) -> bytes | int:
        return int(entry.user_ref) if account.is_50 else bytes(ffi.buffer(entry.token))

    @staticmethod
    def _previous_name(account: Account, entry: Any) -> bytes | int:
        return int(entry.previous_ref) if account.is_50 else bytes(ffi.buffer(entry.previous_token))

    def _add(self, account: Account, entry: Any) -> Order:
        order = Order(account, self._next_order_id, entry)
        self._next_order_id += 1
        self.orders[order.order_id] = order
        account.by_name[self._name(account, entry)] = order
        return order

    @staticmethod
    def _is_ioc(account: Account, entry: Any) -> bool:
        return bool(entry.time_in_force == ord("3") if account.is_50 else entry.tif_seconds == 0)

    def _price(self, entry: Any) -> tuple[int, bool]:
        """(limit in ticks, market order). A market order's limit crosses everything and never rests."""
        if entry.price in MARKET_PRICES:
            return (PRICE_TICKS_MAX if SIDES.get(entry.side) == 0 else 1), True
        return int(entry.price), False

    def _fault(self, _account: Account, entry: Any) -> int:
        """Why the venue will not have the order, 0 when it will."""
        symbol = bytes(ffi.buffer(entry.symbol)).decode("ascii", "replace").rstrip()
        price, is_market = self._price(entry)
        if symbol not in self.market.symbols:
            return int(lib.VENUE_BAD_SYMBOL)
        if entry.side not in SIDES:
            return int(lib.VENUE_BAD_SIDE)
        if entry.display == ord("N"):
            return int(lib.VENUE_INVALID_DISPLAY)  # hidden orders are not simulated
        if entry.quantity <= 0:
            return int(lib.VENUE_BAD_QUANTITY)
        if entry.quantity > self.config.quantity_max:
            return int(lib.VENUE_OVER_THRESHOLD)
        if not 0 < price <= PRICE_TICKS_MAX:
            return int(lib.VENUE_BAD_PRICE)
        if not is_market and price >= DOLLAR_TICKS and price % self.config.increment_ticks:
            return int(lib.VENUE_BAD_PRICE)
        return 0

    def _enter(self, account: Account, entry: Any) -> None:
        if not self._fresh(account, entry):
            return
        self.counts["orders_in"] += 1
        order = self._add(account, entry)
        fault = self._fault(account, entry)
        if fault:
            self._reject(order, fault)
            return
        self._submit(account, lib.CMD_NEW, order, target=0)

    def _submit(self, account: Account, type_: int, order: Order, *, target: int) -> None:
        entry = order.entry
        price, is_market = self._price(entry)
        symbol = bytes(ffi.buffer(entry.symbol)).decode("ascii", "replace").rstrip()
        ioc = is_market or self._is_ioc(account, entry)
        self.market.submit(
            Command(
                type_,
                order.order_id,
                target,
                self.market.symbols[symbol],
                SIDES[entry.side],
                price,
                int(entry.quantity),
                ioc,
            )
        )

    def _replace(self, account: Account, entry: Any) -> None:
        if not self._fresh(account, entry):
            return
        self.counts["replaces_in"] += 1
        old = account.by_name.get(self._previous_name(account, entry))
        order = self._add(account, entry)
        if old is None or not old.live:
            self._reject(order, lib.VENUE_REPLACE_NOT_ALLOWED)
            return
        # What a replacement does not say, it takes over.
        entry.side, entry.capacity, entry.cross = old.entry.side, old.entry.capacity, old.entry.cross
        entry.symbol, entry.firm = ffi.buffer(old.entry.symbol)[:], ffi.buffer(old.entry.firm)[:]
        fault = self._fault(account, entry)
        if fault:
            self._reject(order, fault)
            return
        self._submit(account, lib.CMD_REPLACE, order, target=old.order_id)

    def _cancel(self, account: Account, entry: Any) -> None:
        self.counts["cancels_in"] += 1
        order = account.by_name.get(self._name(account, entry))
        if order is None or not order.live:
            self._cancel_rejected(account, entry)
            return
        if entry.quantity and entry.quantity >= order.leaves_lots:
            self.counts["ignored_in"] += 1  # it asks for no less than there is
            return
        self._cancel_order(order, int(entry.quantity))

    def _cancel_order(self, order: Order, remaining: int) -> None:
        self.market.submit(Command(lib.CMD_CANCEL, 0, order.order_id, 0, 0, 0, remaining, False))

    def _cancel_rejected(self, account: Account, entry: Any) -> None:
        self.counts["cancel_rejected"] += 1
        self._send(account, type=ord("I"), user_ref=entry.user_ref, token=ffi.buffer(entry.token)[:])

    def _modify(self, account: Account, entry: Any) -> None:
        """Another kind of sale, or less of it; the place in the queue stays."""
        order = account.by_name.get(self._name(account, entry))
        if order is None or not order.live or SIDES.get(entry.side) != SIDES[order.entry.side]:
            self.counts["ignored_in"] += 1
            return
        order.entry.side = entry.side
        if 0 < entry.quantity < order.leaves_lots:
            self._cancel_order(order, int(entry.quantity))
            self.deliver(self.market.take_reports())
        self._send(account, type=ord("M"), side=entry.side, quantity=order.leaves_lots, **self._named(order))

    def cancel_all(self, account: Account) -> None:
        """Every live order of an account, as when its connection is lost."""
        for order in list(self.orders.values()):
            if order.account is account and order.live:
                self._cancel_order(order, 0)

    # ---- out -------------------------------------------------------------------------------------

    def deliver(self, reports: list[Report]) -> None:
        """Tell each order's session what happened to it."""
        for report in reports:
            order = self.orders.get(report.order_id)
            if order is not None:
                self._deliver_one(report, order)

    def _deliver_one(self, report: Report, order: Order) -> None:
        if report.type == lib.EXEC_ACCEPTED:
            self.counts["accepted"] += 1
            self._send_state("A", report, order)
        elif report.type == lib.EXEC_REPLACED:
            self.counts["replaced"] += 1
            self._forget(self.orders[report.target_order_id])
            self._send_state("U", report, order)
        elif report.type == lib.EXEC_FILL:
            self._send_fill(report, order)
        elif report.type == lib.EXEC_CANCELED:
            self.counts["canceled"] += 1
            self._leaves(order, report.leaves_lots)
            self._send(
                order.account,
                type=ord("C"),
                quantity=report.quantity_lots,
                reason=report.reason,
                time=report.time_ns,
                **self._named(order),
            )
        elif report.type == lib.EXEC_CANCEL_REJECTED:
            self._cancel_rejected(order.account, order.entry)
        else:  # EXEC_REJECTED, EXEC_REPLACE_REJECTED
            self._reject(order, report.reason, time=report.time_ns)

    def _leaves(self, order: Order, leaves_lots: int) -> None:
        order.leaves_lots = leaves_lots
        if not leaves_lots:
            self._forget(order)

    def _forget(self, order: Order) -> None:
        """A dead order answers as one that never was: only its number or token is not to be used again."""
        order.live = False
        self.orders.pop(order.order_id, None)
        order.account.by_name.pop(self._name(order.account, order.entry), None)

    @staticmethod
    def _named(order: Order) -> dict[str, Any]:
        entry = order.entry
        return {"user_ref": entry.user_ref, "token": ffi.buffer(entry.token)[:]}

    def _send_state(self, type_: str, report: Report, order: Order) -> None:
        """Accepted or Replaced: the whole order as the venue now holds it."""
        entry = order.entry
        order.leaves_lots = report.leaves_lots
        self._send(
            order.account,
            type=ord(type_),
            time=report.time_ns,
            side=entry.side,
            quantity=report.leaves_lots,
            symbol=ffi.buffer(entry.symbol)[:],
            price=entry.price,
            time_in_force=entry.time_in_force,
            tif_seconds=entry.tif_seconds,
            display=entry.display,
            order_ref=report.venue_ref,
            capacity=entry.capacity,
            iso=entry.iso,
            cross=entry.cross,
            firm=ffi.buffer(entry.firm)[:],
            min_quantity=entry.min_quantity,
            state=ord("L"),
            bbo_weight=ord(" "),
            cl_ord_id=ffi.buffer(entry.cl_ord_id)[:],
            previous_ref=entry.previous_ref,
            previous_token=ffi.buffer(entry.previous_token)[:],
            **self._named(order),
        )

    def _send_fill(self, report: Report, order: Order) -> None:
        self.counts["fills"] += 1
        self.counts["filled_lots"] += report.quantity_lots
        self.matches.setdefault(report.match_id, []).append((order, report.quantity_lots))
        if len(self.matches) > BREAKABLE_MAX:
            self._too_old_to_break(*self.matches.popitem(last=False))
        self._leaves(order, report.leaves_lots)
        self._copy("E", order, report.quantity_lots, report.price_ticks, report.match_id, report.time_ns)
        self._send(
            order.account,
            type=ord("E"),
            quantity=report.quantity_lots,
            price=report.price_ticks,
            liquidity=ord(report.liquidity),
            match=report.match_id,
            time=report.time_ns,
            **self._named(order),
        )

    def _copy(self, kind: str, order: Order, quantity: int, price: int, match: int, time_ns: int | None = None) -> None:
        """Tell the drop copy."""
        entry = order.entry
        reference = entry.cl_ord_id if order.account.is_50 else entry.token
        order.account.copy.tell(
            CopyExecution(
                kind,
                (self.market.now_ns if time_ns is None else time_ns) - self.config.midnight_ns,
                order.account.config.username,
                _text(reference),
                _text(entry.symbol),
                "S" if SIDES[entry.side] else "B",
                quantity,
                price,
                match,
            )
        )

    def _letter(self, reason: int) -> int:
        """What OUCH 4.2 calls a reason."""
        return ord(LETTER_OF_REASON.get(reason, "O"))

    def _reject(self, order: Order, reason: int, time: int | None = None) -> None:
        self.counts["rejected"] += 1
        self._leaves(order, 0)
        if not order.account.is_50:
            reason = self._letter(reason)
        self._send(
            order.account,
            type=ord("J"),
            reason=reason,
            cl_ord_id=ffi.buffer(order.entry.cl_ord_id)[:],
            time=time,
            **self._named(order),
        )

    def _too_old_to_break(self, match_id: int, parties: list[tuple[Order, int]]) -> None:
        """An execution is final."""

    def break_match(self, match_id: int) -> bool:
        """Declare one of our last executions not to have happened; False when it is none of them."""
        parties = self.matches.pop(match_id, None)
        if parties is None:
            return False
        for order, quantity in parties:
            self.counts["broken"] += 1
            self._copy("B", order, quantity, 0, match_id)
            self._send(
                order.account,
                type=ord("B"),
                match=match_id,
                reason=ord("E"),
                cl_ord_id=ffi.buffer(order.entry.cl_ord_id)[:],
                **self._named(order),
            )
        return True

    def instrument_of(self, order: Order) -> int:
        """Where an order of a session trades."""
        return self.market.symbols[bytes(ffi.buffer(order.entry.symbol)).decode("ascii", "replace").rstrip()]

    def _system_event(self, account: Account, event: str) -> None:
        self._send(account, type=ord("S"), event=ord(event))

    def close_day(self) -> None:
        """Tell each session that the day is over."""
        for account in self.accounts.values():
            self._system_event(account, "E")

    def _send(self, account: Account, *, time: int | None = None, **fields: Any) -> None:
        """Encode one message and append it to the account's stream."""
        report = ffi.new("ouch_report *", fields)
        report.time_ns = (self.market.now_ns if time is None else time) - self.config.midnight_ns
        encode = lib.ouch50_encode_report if account.is_50 else lib.ouch42_encode_report
        size = encode(report, self._target, MESSAGE_BYTES_MAX)
        assert size, f"a report of type {chr(report.type)} does not encode"  # ours, not the world's
        account.stream.append(bytes(ffi.buffer(self._target, size)))
