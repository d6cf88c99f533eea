"""status, kill, arm, disarm, mode, drain: whether orders may leave."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from hotctl.commands.options import (
    OPTIONS,
    DryRun,
    Reason,
    RequestId,
    as_dict,
    client,
    say,
    show,
    show_one,
    show_receipt,
)
from hotctl.errors import UsageError

Instrument = Annotated[str, typer.Option("--instrument", help="Only this one, by its symbol.")]
Strategy = Annotated[str, typer.Option("--strategy", help="Only this one, by number or seat.")]
Account = Annotated[str, typer.Option("--account", help="Only this one, by number.")]
Venue = Annotated[str, typer.Option("--venue", help="Only this one.")]
Mode = Literal["normal", "reduce_only", "cancel_only", "halted"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    app.command()(status)
    app.command()(kill)
    app.command()(arm)
    app.command()(disarm)
    app.command()(mode)
    app.command()(drain)


def _scope(**named: str) -> dict[str, Any]:
    """The scope of a request, by what was named."""
    given = [(kind, name) for kind, name in named.items() if name]
    if len(given) > 1:
        raise UsageError(f"one scope at a time, not {' and '.join(kind for kind, _ in given)}")
    return {"scope": f"SCOPE_{given[0][0].upper()}", "scope_name": given[0][1]} if given else {}


def status() -> None:
    """Show whether the engine may trade, every cause that holds it back, and who you are to it."""
    with client() as call:
        engine = as_dict(call.call("EngineService/GetEngine"))
        causes: dict[str, Any] | None = None
        snapshot: Any = None
        if engine["run_epoch"]:
            causes = as_dict(call.call("TradingService/ListCauses"))
            snapshot = call.call("WatchService/GetSnapshot").snapshot
    record = {**engine, "causes": causes, "state": snapshot.state if snapshot is not None else "absent"}
    if OPTIONS.output == "table":
        from hotctl.status_view import print_status

        print_status(engine, causes, snapshot)
        return
    show_one(record, str)


def kill(
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, if there is time to say it.")] = "killed by hand",
    wait: Annotated[
        bool, typer.Option("--wait", help="Until every cancel is confirmed; else the exit code is 7.")
    ] = False,
    instrument: Instrument = "",
    strategy: Strategy = "",
    account: Account = "",
    venue: Venue = "",
    request_id: RequestId = "",
) -> None:
    """Stop: no new order leaves, open ones are cancelled. No question is asked. Works without this process: --local."""
    from hotctl.client import mutation
    from hotctl.v1 import trading_pb2

    with client() as call:
        wait_ms = int(call.timeout_s * 1000) if wait else 0
        response = call.call(
            "TradingService/Kill",
            trading_pb2.KillRequest(
                mutation=mutation(reason=reason, request_id=request_id),
                wait_ms=wait_ms,
                **_scope(instrument=instrument, strategy=strategy, account=account, venue=venue),
            ),
            timeout_s=call.timeout_s + (wait_ms / 1000),
        )

    def extra() -> str:
        if instrument or strategy or account or venue:
            return f"  in force after {response.latched_ns / 1e6:.3f} ms; {response.open_orders} open orders"
        effective = (
            f"effective {response.effective_ns / 1e6:.3f} ms later" if response.effective else "not yet effective"
        )
        return (
            f"  word stored in {response.latched_ns / 1e3:.1f} us, {effective}; "
            f"{response.open_orders} open orders; latched on disk: {'yes' if response.latched_on_disk else 'NO'}"
        )

    show_receipt(response, extra=extra)


def arm(
    reason: Reason,
    epoch: Annotated[int, typer.Option(help="The kill that you accept; default: the one that stands.")] = 0,
    instrument: Instrument = "",
    strategy: Strategy = "",
    account: Account = "",
    venue: Venue = "",
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Ask that orders may leave again: every precondition must hold, and a second person must approve."""
    from hotctl.client import mutation
    from hotctl.v1 import trading_pb2

    with client() as call:
        what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
        scope = _scope(instrument=instrument, strategy=strategy, account=account, venue=venue)
        show_receipt(call.call("TradingService/Arm", trading_pb2.ArmRequest(mutation=what, kill_epoch=epoch, **scope)))


def disarm(reason: Reason, dry_run: DryRun = False, request_id: RequestId = "") -> None:
    """Stop without a latch: new orders stop, open ones are cancelled; arming again needs two persons as ever."""
    from hotctl.client import mutation
    from hotctl.v1 import trading_pb2

    with client() as call:
        what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
        show_receipt(call.call("TradingService/Disarm", trading_pb2.DisarmRequest(mutation=what)))


def mode(
    wanted: Annotated[Mode | None, typer.Argument(metavar="[MODE]", help="Default: show all causes.")] = None,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; needed to set one.")] = "",
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Show what tightens the engine, or set the operator's own mode. To loosen it needs a second person."""
    from hotctl.client import mutation
    from hotctl.v1 import trading_pb2

    with client() as call:
        if wanted is None:
            causes = as_dict(call.call("TradingService/ListCauses"))
            show(causes["causes"], columns=("name", "mode", "latched", "cleared_by"))
            say(f"in force: {causes['mode']}{', killed' if causes['killed'] else ''}")
            return
        what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
        value = f"TRADING_MODE_{wanted.upper()}"
        show_receipt(call.call("TradingService/SetMode", trading_pb2.SetModeRequest(mutation=what, mode=value)))


def drain(reason: Reason, dry_run: DryRun = False, request_id: RequestId = "") -> None:
    """End the run in order: open orders are cancelled, then every process leaves."""
    from hotctl.client import mutation
    from hotctl.v1 import engine_pb2

    with client() as call:
        what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
        show_receipt(call.call("EngineService/Drain", engine_pb2.DrainRequest(mutation=what)))
