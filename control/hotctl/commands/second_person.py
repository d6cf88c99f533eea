"""approvals, approve, withdraw: requests that wait for a second person."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from hotctl.commands.options import DryRun, Reason, RequestId, as_dict, client, show, show_receipt

Pending = Annotated[str, typer.Argument(metavar="REQUEST", help="Its id, or the beginning of it.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    app.command()(approvals)
    app.command()(approve)
    app.command()(withdraw)


def approvals() -> None:
    """List the requests that wait for a second person."""
    with client() as call:
        found = as_dict(call.call("ApprovalService/ListApprovals"))["approvals"]
    now = time.time_ns()
    rows = [{**each, "what": _what(each), "left_s": max(0, (each["expires_time_ns"] - now) // 10**9)} for each in found]
    show(rows, columns=("request_id", "identity", "method", "what", "reason", "left_s"))


def _what(request: dict[str, Any]) -> str:
    return "; ".join(f"{each['name']}: {each['before']} -> {each['after']}" for each in request["changes"])


def approve(request: Pending, reason: Reason, dry_run: DryRun = False, request_id: RequestId = "") -> None:
    """Let another's request happen: you must be another person, and risk officer or admin."""
    from hotctl.client import mutation
    from hotctl.v1 import approval_pb2

    with client() as call:
        what = mutation(reason=reason, request_id=request_id, dry_run=dry_run)
        wanted = approval_pb2.ApproveRequest(mutation=what, pending_request_id=request)
        show_receipt(call.call("ApprovalService/Approve", wanted))


def withdraw(request: Pending, reason: Reason, request_id: RequestId = "") -> None:
    """Take a request back, or refuse another's."""
    from hotctl.client import mutation
    from hotctl.v1 import approval_pb2

    with client() as call:
        what = mutation(reason=reason, request_id=request_id)
        wanted = approval_pb2.WithdrawRequest(mutation=what, pending_request_id=request)
        show_receipt(call.call("ApprovalService/Withdraw", wanted))
