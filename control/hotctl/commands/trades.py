"""orders, positions, explain, adjust, strategy, ingest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hotctl.commands.options import DryRun, Reason, RequestId, as_dict, client, say, show, show_one, show_receipt

Symbol = Annotated[str, typer.Option("--symbol", "-s", help="Only this instrument.")]
StrategyName = Annotated[str, typer.Argument(metavar="STRATEGY", help="Its number, or its seat's name.")]
strategy_app = typer.Typer(help="The strategies of an engine.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    app.command()(orders)
    app.command()(positions)
    app.command()(explain)
    app.command()(flatten)
    app.command()(adjust)
    app.command()(ingest)
    app.add_typer(strategy_app, name="strategy")


def orders(symbol: Symbol = "") -> None:
    """List open orders."""
    from hotctl.v1 import order_pb2

    with client() as call:
        found = as_dict(call.call("OrderService/ListOrders", order_pb2.ListOrdersRequest(symbol=symbol)))
    columns = ("order_id", "symbol", "side", "open_lots", "price_ticks", "state", "strategy", "account")
    show(found["orders"], columns=columns)
    say(f"{found['open_orders']} open, as the gateway counts; hotctl explain ORDER tells why one is there")


def positions(
    flat: Annotated[bool, typer.Option("--all", help="Those that are flat as well.")] = False,
) -> None:
    """List what is held, by instrument: the fold of every execution and adjustment of this run."""
    from hotctl.v1 import order_pb2

    with client() as call:
        found = as_dict(call.call("OrderService/ListPositions", order_pb2.ListPositionsRequest(flat_too=flat)))
    show(found["positions"], columns=("symbol", "lots", "cost_micros", "realised_micros", "fees_micros", "traded_lots"))


def explain(order: Annotated[int, typer.Argument(min=1, help="The engine's own number: hotctl orders.")]) -> None:
    """Tell the whole story of one order: bytes, book, features, signal, every limit, wire, fills, nanoseconds."""
    import msgspec

    from hotctl.v1 import order_pb2

    with client() as call:
        found = call.call(
            "OrderService/ExplainOrder",
            order_pb2.ExplainOrderRequest(order_id=order),
            timeout_s=max(60, call.timeout_s),
        )
    show_one(msgspec.json.decode(found.json), lambda: found.text.rstrip())


def flatten(
    reason: Reason,
    symbol: Symbol = "",
    seconds: Annotated[float, typer.Option("--for", min=0.1, max=300, help="How long to try, in seconds.")] = 10,
    slice_lots: Annotated[int, typer.Option("--slice", min=0, help="Of one order; 0: as the limits allow.")] = 0,
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Bring positions to zero, under the gate: reduce-only, cancel what is open, then IOC orders at the touch.

    Exit code 0: flat; 7: something is left. Reduce-only stays: hotctl mode normal, or hotctl limits set.
    """
    from hotctl.client import mutation
    from hotctl.v1 import order_pb2

    request = order_pb2.FlattenRequest(
        mutation=mutation(reason=reason, request_id=request_id, dry_run=dry_run),
        symbol=symbol,
        timeout_ms=int(seconds * 1000),
        slice_lots_max=slice_lots,
    )
    with client() as call:
        response = call.call("OrderService/Flatten", request, timeout_s=call.timeout_s + seconds)

    def extra() -> str:
        return "\n".join(
            f"  {each.side} {each.quantity_lots:,} {each.symbol} at {each.price_ticks:,}: "
            f"{each.filled_lots:,} executed, {each.result}"
            for each in response.orders
        )

    show_receipt(response, extra=extra)


def adjust(
    kind: Annotated[Literal["opening", "corporate", "correction"], typer.Argument(help="What it is.")],
    symbol: Annotated[str, typer.Argument(help="Instrument.")],
    lots: Annotated[int, typer.Option(help="Added to what is held; below 0: taken away.")],
    reason: Reason,
    price_ticks: Annotated[int, typer.Option(min=0, help="Of those lots; 0: without a cost.")] = 0,
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Say something of a position; another person must approve it."""
    from hotctl.client import mutation
    from hotctl.v1 import order_pb2

    with client() as call:
        request = order_pb2.RecordAdjustmentRequest(
            mutation=mutation(reason=reason, request_id=request_id, dry_run=dry_run),
            symbol=symbol,
            quantity_lots=lots,
            price_ticks=price_ticks,
            kind=kind,
        )
        show_receipt(call.call("OrderService/RecordAdjustment", request))


def ingest(
    kind: Annotated[str, typer.Argument(help="As news or halt_notice.")],
    payload: Annotated[Path, typer.Argument(help="A file that holds one JSON object; - is standard input.")],
    reason: Reason,
    symbol: Symbol = "",
    request_id: RequestId = "",
) -> None:
    """Put a rare event from outside on the record: checked, stamped, numbered, in the chain of the audit log."""
    import sys

    from hotctl.client import mutation
    from hotctl.v1 import ingest_pb2

    text = sys.stdin.read() if str(payload) == "-" else payload.read_text()
    with client() as call:
        what = mutation(reason=reason, request_id=request_id)
        request = ingest_pb2.IngestEventRequest(mutation=what, kind=kind, symbol=symbol, payload_json=text)
        show_receipt(call.call("IngestService/IngestEvent", request))


@strategy_app.command("list")
def list_strategies() -> None:
    """List every strategy, and whether it may trade."""
    with client() as call:
        found = as_dict(call.call("StrategyService/ListStrategies"))
    show(found["strategies"], columns=("number", "name", "state", "open_orders"))


def _strategy(method: str, strategy: str, reason: str, dry_run: bool, request_id: str, **fields: Any) -> None:
    from hotctl.client import mutation
    from hotctl.protocol import message_types

    what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
    with client() as call:
        show_receipt(call.call(method, message_types(method)[0](mutation=what, strategy=strategy, **fields)))


@strategy_app.command()
def pause(strategy: StrategyName, reason: Reason, dry_run: DryRun = False, request_id: RequestId = "") -> None:
    """No new order of it; what is open stays."""
    _strategy("StrategyService/PauseStrategy", strategy, reason, dry_run, request_id)


@strategy_app.command()
def resume(strategy: StrategyName, reason: Reason, dry_run: DryRun = False, request_id: RequestId = "") -> None:
    """Back from a pause or a retirement: needs a second person."""
    _strategy("StrategyService/ResumeStrategy", strategy, reason, dry_run, request_id)


@strategy_app.command()
def retire(strategy: StrategyName, reason: Reason, dry_run: DryRun = False, request_id: RequestId = "") -> None:
    """No order of it any more, and its open ones are cancelled; it stays so over restarts."""
    _strategy("StrategyService/RetireStrategy", strategy, reason, dry_run, request_id)


@strategy_app.command("set")
def set_strategy(
    strategy: StrategyName,
    setting: Annotated[str, typer.Argument(metavar="NAME=VALUE", help="A limit of it, as orders_per_second_max=5.")],
    reason: Reason,
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Change one of its limits. Its parameters and weights are fixed for a run: the configuration has them."""
    name, _, value = setting.partition("=")
    _strategy("StrategyService/SetStrategy", strategy, reason, dry_run, request_id, name=name, value=value)
