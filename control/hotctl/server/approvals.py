"""ApprovalService: requests that wait for a second person."""

from __future__ import annotations

from typing import Any

import grpc

from hotctl.server.guard import CALLER
from hotctl.server.mutations import Mutations, Waiting
from hotctl.v1 import approval_pb2, mutation_pb2


class ApprovalService:
    """As proto/hotctl/v1/approval.proto says."""

    def __init__(self, mutations: Mutations) -> None:
        self._mutations = mutations

    def ListApprovals(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._mutations.tick()
        return approval_pb2.ListApprovalsResponse(
            approvals=[_on_wire(each) for each in list(self._mutations.waiting.values())]
        )

    def Approve(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.approve(request, CALLER.get())

    def Withdraw(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.withdraw(request, CALLER.get())


def _on_wire(waiting: Waiting) -> Any:
    return approval_pb2.Approval(
        request_id=waiting.request_id,
        identity=waiting.identity,
        method=waiting.method,
        reason=waiting.reason,
        changes=[
            mutation_pb2.Change(name=each.name, before=each.before, after=each.after, raises=each.raises)
            for each in waiting.changes
        ],
        requested_time_ns=waiting.requested_time_ns,
        expires_time_ns=waiting.expires_time_ns,
    )
