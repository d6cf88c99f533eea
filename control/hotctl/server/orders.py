"""OrderService and IngestService: what is open, what is held, why; what people and other systems say."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import grpc
import msgspec

from hotctl.audit import OUTCOME, AuditLog
from hotctl.server.books import Books
from hotctl.server.flatten import FLATTEN, Flatten
from hotctl.server.guard import CALLER
from hotctl.server.hands import Hands
from hotctl.server.limits import LimitsHands
from hotctl.server.mutations import FAILED, Diff, Done, Mutations, Plan
from hotctl.server.refusal import no_such, not_now
from hotctl.v1 import order_pb2
from hotpath.errors import AdjustmentError, HotpathError
from hotpath.ledger.adjustments import KINDS, AdjustmentFile, adjustments_path, new_adjustment

ORDERS_MAX = 1000
WRITTEN_SECONDS = 2.0
PAYLOAD_BYTES_MAX = 16 << 10
KIND = re.compile(r"[a-z0-9_]{1,32}")
ADJUST, INGEST = "OrderService/RecordAdjustment", "IngestService/IngestEvent"


class RecordAdjustment:
    """One line of the file of adjustments, which the supervisor tells the engine at once. Always by two people."""

    def __init__(self, hands: Hands, books: Books) -> None:
        self._hands = hands
        self._books = books

    def plan(self, request: Any) -> Plan:
        if request.kind not in KINDS:
            raise no_such(f"kind: one of {', '.join(KINDS)}")
        _, ledger, symbols = self._books.look()
        if request.symbol not in symbols:
            raise no_such(f"symbol {request.symbol}: the engine has none of that name")
        index = symbols.index(request.symbol)
        held = ledger.positions[index].lots if index in ledger.positions else 0
        after = held + request.quantity_lots
        change = Diff(f"position.{request.symbol}", str(held), str(after), raises=True)
        return Plan(changes=[change], detail=f"{request.kind}: {request.symbol} {request.quantity_lots:+,} lots")

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        _, ledger, symbols = self._books.look()
        unit = ledger.tick_value(symbols.index(request.symbol)) if request.price_ticks else 0
        try:
            entry = new_adjustment(
                kind=request.kind,
                symbol=request.symbol,
                lots=request.quantity_lots,
                cost_micros=request.quantity_lots * request.price_ticks * unit,
                cash_micros=0,
                who=who,
                why=f"{request.mutation.reason} [{request_id}]",
            )
            kept = self._file().ask([entry])[0]
        except AdjustmentError as error:
            return Done(outcome=FAILED, detail=str(error))
        return Done(detail=f"adjustment {kept.id} is kept, and told to the engine")

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        found = [each for each in self._file().all() if each.why.endswith(f"[{request_id}]")]
        if found:
            return Done(detail=f"adjustment {found[0].id} is kept, and told to the engine")
        return Done(outcome=FAILED, detail="it was not kept")

    def _file(self) -> AdjustmentFile:
        return AdjustmentFile(adjustments_path(self._hands.config))


class IngestEvent:
    """The outcome line of the audit log is the event's place: numbered, stamped, chained."""

    def __init__(self, hands: Hands, audit: AuditLog) -> None:
        self._hands = hands
        self._audit = audit

    def plan(self, request: Any) -> Plan:
        if not KIND.fullmatch(request.kind):
            raise no_such("kind: 1 to 32 of [a-z0-9_]")
        payload = request.payload_json.encode()
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise no_such(f"payload_json: {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX}")
        try:
            document = msgspec.json.decode(payload)
        except msgspec.DecodeError as error:
            raise no_such(f"payload_json: {error}") from None
        if not isinstance(document, dict):
            raise no_such("payload_json: an object is wanted")
        return Plan(detail=f"{request.kind} {request.symbol}".strip(), token={"time_ns": time.time_ns()})

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        sequence = 1 + sum(each.kind == OUTCOME and each.method == INGEST for each in self._audit.records())
        return Done(
            detail=f"event {sequence}: {plan.detail}",
            extras={
                "sequence": sequence,
                "ingress_time_ns": plan.token["time_ns"],
                "kind": request.kind,
                "symbol": request.symbol,
                "origin_time_ns": request.origin_time_ns,
                "payload": request.payload_json,
            },
        )

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.apply(request, plan, request_id=request_id, who=who)  # the line itself is the deed


class IngestService:
    """As proto/hotctl/v1/ingest.proto says."""

    def __init__(self, hands: Hands, mutations: Mutations) -> None:
        self._mutations = mutations
        mutations.actions[INGEST] = IngestEvent(hands, mutations.audit)

    def IngestEvent(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call(INGEST, request, CALLER.get())


class OrderService:
    """As proto/hotctl/v1/order.proto says."""

    def __init__(self, hands: Hands, books: Books, limits: LimitsHands, mutations: Mutations) -> None:
        self._hands = hands
        self._books = books
        self._mutations = mutations
        mutations.actions[ADJUST] = RecordAdjustment(hands, books)
        mutations.actions[FLATTEN] = Flatten(hands, books, limits)

    def ListOrders(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        orders, _, symbols = self._books.look()
        found = [each for each in list(orders.values()) if request.symbol in ("", symbols[each.instrument])]
        return order_pb2.ListOrdersResponse(
            orders=[
                order_pb2.Order(
                    order_id=each.order_id,
                    symbol=symbols[each.instrument],
                    side=each.side,
                    open_lots=each.open_lots,
                    price_ticks=each.price_ticks,
                    state=each.state,
                    strategy=each.strategy,
                    account=each.account,
                )
                for each in sorted(found, key=lambda each: each.order_id)[:ORDERS_MAX]
            ],
            open_orders=self._hands.run().open_orders,
        )

    def ListPositions(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        _, ledger, symbols = self._books.look()
        return order_pb2.ListPositionsResponse(
            positions=[
                order_pb2.Position(
                    symbol=symbols[index],
                    lots=each.lots,
                    cost_micros=each.cost_micros,
                    realised_micros=each.realised_micros,
                    fees_micros=each.fees_micros,
                    traded_lots=each.bought_lots + each.sold_lots,
                )
                for index, each in sorted(ledger.positions.items(), key=lambda item: symbols[item[0]])
                if each.lots or request.flat_too
            ]
        )

    def ExplainOrder(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        folder = self._books.folder()
        deadline = time.monotonic() + WRITTEN_SECONDS
        while True:
            try:
                return explained(folder, request.order_id)
            except HotpathError as error:  # of an order that is a moment old, the journal has not all yet
                if time.monotonic() > deadline:
                    raise not_now(f"{error}{error.next_step and '; '}{error.next_step}") from None
                time.sleep(0.1)

    def RecordAdjustment(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call(ADJUST, request, CALLER.get())

    def Flatten(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.long(FLATTEN, request, CALLER.get())


def explained(folder: Path, order_id: int) -> Any:
    """The story of one order, from the journal of a run."""
    from rich.console import Console

    from hotpath.explain.tell import explain_order
    from hotpath.explain.view import story_view

    story = explain_order(folder, order_id)
    console = Console(width=120, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(story_view(story))
    return order_pb2.ExplainOrderResponse(text=console.export_text(), json=msgspec.json.encode(story).decode())
