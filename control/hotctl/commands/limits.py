"""limits list, show, set, history, revert, describe."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hotctl.commands.options import DryRun, Reason, RequestId, as_dict, client, say, show, show_receipt
from hotctl.errors import UsageError

app = typer.Typer(help="The limits that the gate decides by.", no_args_is_help=True)
override_app = typer.Typer(help="Leave for one order to breach limits, once.", no_args_is_help=True)
app.add_typer(override_app, name="override")
Name = Annotated[str, typer.Argument(help="As firm.open_orders_max or instrument.GOOG.position_lots_max.")]
Based = Annotated[
    int, typer.Option("--based-on", help="The version that you have seen; default: the one in force now.")
]


@app.command("list")
def list_limits(
    prefix: Annotated[str, typer.Argument(help="Only names that begin so, as firm or instrument.GOOG.")] = "",
    off: Annotated[bool, typer.Option("--all", help="Limits that are off as well.")] = False,
) -> None:
    """List the limits in force."""
    from hotctl.v1 import limits_pb2

    with client() as call:
        found = as_dict(call.call("LimitsService/ListLimits", limits_pb2.ListLimitsRequest(prefix=prefix)))
    rows = [each for each in found["limits"] if off or each["value"] not in ("off", "no")]
    show(rows, columns=("name", "value", "unit", "meaning"))
    say(f"version {found['version']}" + ("" if off else "; --all shows those that are off"))


@app.command("show")
def show_one_limit(name: Name) -> None:
    """Show one limit."""
    from hotctl.v1 import limits_pb2

    with client() as call:
        found = as_dict(call.call("LimitsService/ListLimits", limits_pb2.ListLimitsRequest(prefix=name)))
    rows = [each for each in found["limits"] if each["name"] == name]
    if not rows:
        raise UsageError(
            f"{name}: there is no such limit", next_step="hotctl limits list --all, or hotctl limits describe"
        )
    show(rows, columns=("name", "value", "unit", "meaning"))


@app.command()
def describe() -> None:
    """Explain every limit there is: scopes, unit, meaning, and the reason that it gives."""
    from hotpath.limits import describe as catalogue

    rows = [
        {
            "limit": each.name,
            "scopes": ", ".join(each.scopes),
            "unit": each.unit,
            "meaning": each.meaning,
            "reason": each.reason,
        }
        for each in catalogue()
    ]
    show(rows, columns=("limit", "scopes", "unit", "meaning", "reason"))


@app.command("set")
def set_limits(
    settings: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="VALUE: a number, off, yes or no.")],
    reason: Reason,
    based_on: Based = 0,
    revert_after: Annotated[
        str,
        typer.Option("--for", "--revert-after", help="Only for so long, as 90s, 15m or 2h; then it reverts by itself."),
    ] = "",
    dry_run: DryRun = False,
    against: Annotated[
        str, typer.Option(metavar="DAY", help="With --dry-run: list that day's orders that would be decided otherwise.")
    ] = "",
    request_id: RequestId = "",
) -> None:
    """Change limits, all of these or none. Lowering needs you alone, raising a second person."""
    from hotctl.client import mutation
    from hotctl.v1 import limits_pb2

    wanted = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"{setting}: NAME=VALUE")
        wanted.append(limits_pb2.LimitSetting(name=name, value=value))
    if against and not dry_run:
        raise UsageError("--against needs --dry-run: it only looks")
    with client() as call:
        request = limits_pb2.SetLimitsRequest(
            mutation=mutation(reason=reason, request_id=request_id, dry_run=dry_run),
            based_on_version=based_on or call.call("LimitsService/ListLimits").version,
            settings=wanted,
            revert_after_s=_seconds(revert_after),
            against_day=against,
        )
        response = call.call(
            "LimitsService/SetLimits", request, timeout_s=max(call.timeout_s, 600) if against else None
        )

    def extra() -> str:
        if not against:
            return ""
        lines = [f"  {each.description}" for each in response.differences]
        return "\n".join([f"{len(lines)} orders of {against} would have been decided otherwise", *lines])

    show_receipt(response, extra=extra)


@app.command()
def history(count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 20) -> None:
    """List the versions that stood in this run, newest first: who changed what, and why."""
    from hotctl.v1 import limits_pb2

    with client() as call:
        wanted = limits_pb2.ListLimitVersionsRequest(count_max=count)
        found = as_dict(call.call("LimitsService/ListLimitVersions", wanted))["versions"]
    rows = [
        {
            **each,
            "time": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["time_ns"] // 10**9)),
            "what": "; ".join(f"{one['name']}: {one['before']} -> {one['after']}" for one in each["changes"]),
        }
        for each in found
    ]
    show(rows, columns=("version", "time", "who", "why", "what"))


@app.command()
def revert(
    version: Annotated[int, typer.Argument(help="Whose values are wanted: hotctl limits history.")],
    reason: Reason,
    based_on: Based = 0,
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Put the values of an earlier version in force, as a new version."""
    from hotctl.client import mutation
    from hotctl.v1 import limits_pb2

    with client() as call:
        request = limits_pb2.RevertLimitsRequest(
            mutation=mutation(reason=reason, request_id=request_id, dry_run=dry_run),
            based_on_version=based_on or call.call("LimitsService/ListLimits").version,
            to_version=version,
        )
        show_receipt(call.call("LimitsService/RevertLimits", request))


@override_app.command("list")
def list_overrides() -> None:
    """List the overrides that are out. Whether one was used, only the gate knows: each ends when it expires."""
    with client() as call:
        found = as_dict(call.call("LimitsService/ListOverrides"))["overrides"]
    rows = [
        {
            **each,
            "reasons": ", ".join(each["reasons"]),
            "until": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["expires_time_ns"] // 10**9)),
        }
        for each in found
    ]
    show(rows, columns=("id", "reasons", "symbol", "side", "quantity_lots_max", "until", "who"))


@override_app.command("grant")
def grant_override(
    reasons: Annotated[list[str], typer.Argument(metavar="REASON...", help="hotctl limits describe, column reason.")],
    lots: Annotated[int, typer.Option(min=1, help="Of the order, at most.")],
    value: Annotated[float, typer.Option(min=0.01, help="Of the order, at most, in the currency.")],
    reason: Reason,
    symbol: Annotated[str, typer.Option("--symbol", "-s", help="Only of this instrument.")] = "",
    side: Annotated[str, typer.Option(help="buy or sell; neither: either.")] = "",
    account: Annotated[int, typer.Option(help="Only of this account.")] = -1,
    strategy: Annotated[int, typer.Option(help="Only of this strategy.")] = -1,
    span: Annotated[str, typer.Option("--for", help="Until it is used, or so long, as 90s or 15m.")] = "5m",
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Let one order breach these limits, once; another person must approve it."""
    from hotctl.client import mutation
    from hotctl.v1 import limits_pb2

    wanted = limits_pb2.Override(
        reasons=reasons,
        quantity_lots_max=lots,
        order_value_micros_max=round(value * 1_000_000),
        symbol=symbol,
        side=side,
        account=account if account >= 0 else None,
        strategy=strategy if strategy >= 0 else None,
    )
    what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
    request = limits_pb2.GrantOverrideRequest(mutation=what, override=wanted, expires_after_s=_seconds(span))
    with client() as call:
        show_receipt(call.call("LimitsService/GrantOverride", request))


@override_app.command("withdraw")
def withdraw_override(
    override: Annotated[int, typer.Argument(help="Its id: hotctl limits override list.")],
    reason: Reason,
    dry_run: DryRun = False,
    request_id: RequestId = "",
) -> None:
    """Take an override back."""
    from hotctl.client import mutation
    from hotctl.v1 import limits_pb2

    what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
    with client() as call:
        request = limits_pb2.WithdrawOverrideRequest(mutation=what, id=override)
        show_receipt(call.call("LimitsService/WithdrawOverride", request))


def _seconds(span: str) -> int:
    if not span:
        return 0
    number, unit = (span[:-1], span[-1]) if span[-1:].isalpha() else (span, "s")
    factors = {"s": 1, "m": 60, "h": 3600}
    if not number.isdecimal() or unit not in factors:
        raise UsageError(f"--for {span}: as 90s, 15m or 2h")
    return int(number) * factors[unit]
