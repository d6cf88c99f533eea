"""Mutations: each once, each recorded before it happens and after, some only with a second person.

    intent line (on disk) -> one idempotent store -> outcome line
                      \\-- killed anywhere: the next control process finds the intent without an outcome, looks at what
                          stands, and writes the outcome that is true

The audit log is the only memory: which request ids are known, what waits for a second person, and what was answered
are read back from it at a start.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from hotctl.audit import INTENT, OUTCOME, PENDING, AuditLog, Record
from hotctl.errors import AuditError
from hotctl.protocol import message_types
from hotctl.server.refusal import Refusal, denied, no_such
from hotctl.server.roles import Caller, Role
from hotctl.v1 import mutation_pb2
from hotpath.config_control import ControlConfig
from hotpath.control.requests import Condition
from hotpath.errors import HotpathError

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
REASON_MAX = 500
KNOWN_MAX = 100_000  # request ids that are remembered
APPROVE, WITHDRAW = "ApprovalService/Approve", "ApprovalService/Withdraw"
SECOND_PERSON = Role.RISK_OFFICER

APPLIED = mutation_pb2.OUTCOME_APPLIED
FAILED = mutation_pb2.OUTCOME_FAILED
PARTIAL = mutation_pb2.OUTCOME_PARTIAL


@dataclass(frozen=True)
class Diff:
    """One value before and after."""

    name: str
    before: str
    after: str
    raises: bool = False


@dataclass
class Plan:
    """What a mutation would do, before it does anything."""

    changes: list[Diff] = field(default_factory=list)
    detail: str = ""
    token: dict[str, Any] = field(default_factory=dict)  # what `apply` and `settle` need; JSON
    extras: dict[str, Any] = field(default_factory=dict)  # other fields of a dry run's response
    conditions: list[Condition] = field(default_factory=list)

    @property
    def raises(self) -> bool:
        """Whether a second person must agree."""
        return any(change.raises for change in self.changes)


@dataclass
class Done:
    """What came of it."""

    outcome: Any = APPLIED
    detail: str = ""
    extras: dict[str, Any] = field(default_factory=dict)  # other fields of the response
    conditions: list[Condition] = field(default_factory=list)


class Action(Protocol):
    """One kind of mutation."""

    def plan(self, request: Any) -> Plan:
        """Look at what stands; changes nothing. Raises Refusal."""

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        """Do it, by one idempotent store."""

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        """What became of it when nobody saw the end: from what stands now."""


@dataclass
class Known:
    """A request id that was used."""

    identity: str
    method: str
    digest: str
    response: bytes | None = None  # None: it is being carried out


@dataclass
class Waiting:
    """A request that waits for a second person."""

    request_id: str
    identity: str
    method: str
    reason: str
    request: bytes
    changes: list[Diff]
    requested_time_ns: int
    expires_time_ns: int


class Mutations:
    """The one place through which everything goes that changes something."""

    def __init__(self, audit: AuditLog, config: ControlConfig, *, told: Callable[[Record], None] | None = None) -> None:
        """`told` hears of each line that tells of something done, for webhooks."""
        self.audit = audit
        self.actions: dict[str, Action] = {}
        self.waiting: dict[str, Waiting] = {}
        self.last_sequence = 0
        self._config = config
        self._told = told
        self._known: dict[str, Known] = {}
        self._registry = threading.Lock()  # of _known
        self._turn = threading.Lock()  # one mutation at a time; a kill waits for none

    # ---- a call ------------------------------------------------------------------------------------

    def call(self, method: str, request: Any, caller: Caller) -> Any:
        """Carry out one request, or say what it would do, or have it wait for a second person. Raises Refusal."""
        known = self._begin(method, request, caller)
        if known is not None:
            return known
        request_id = request.mutation.request_id
        try:
            with self._turn:
                self.expire()
                plan = self.actions[method].plan(request)
                if request.mutation.dry_run:
                    self._forget(request_id)
                    return self._response(method, request_id, mutation_pb2.OUTCOME_DRY_RUN, plan)
                if plan.raises and not self._config.single_operator:
                    return self._keep_waiting(method, request, caller, plan)
                return self._carry_out(method, request, caller, plan)
        except BaseException:
            self._forget_unanswered(request_id)
            raise

    def approve(self, request: Any, caller: Caller) -> Any:
        """Carry out what another asked for."""
        known = self._begin(APPROVE, request, caller)
        if known is not None:
            return known
        try:
            with self._turn:
                self.expire()
                waiting = self.find(request.pending_request_id)
                if waiting.identity.partition(":")[2] == caller.person:
                    raise denied(f"{caller.identity} asked for it: another person must approve")
                if caller.role is None or caller.role < SECOND_PERSON:
                    raise denied(f"{caller.identity} is {caller.word}: a {SECOND_PERSON.word} must approve")
                original = self._parse(waiting.method, waiting.request)
                plan = self.actions[waiting.method].plan(original)
                if request.mutation.dry_run:
                    self._forget(request.mutation.request_id)
                    return self._response(APPROVE, request.mutation.request_id, mutation_pb2.OUTCOME_DRY_RUN, plan)
                return self._carry_out(APPROVE, request, caller, plan, of=waiting)
        except BaseException:
            self._forget_unanswered(request.mutation.request_id)
            raise

    def withdraw(self, request: Any, caller: Caller) -> Any:
        """Have a request wait no longer."""
        known = self._begin(WITHDRAW, request, caller)
        if known is not None:
            return known
        try:
            with self._turn:
                self.expire()
                waiting = self.find(request.pending_request_id)
                plan = Plan(detail=f"{waiting.method} of {waiting.identity} is withdrawn")
                if request.mutation.dry_run:
                    self._forget(request.mutation.request_id)
                    return self._response(WITHDRAW, request.mutation.request_id, mutation_pb2.OUTCOME_DRY_RUN, plan)
                self._end_waiting(waiting, f"withdrawn by {caller.identity}: {request.mutation.reason}")
                return self._record(WITHDRAW, request, caller.identity, caller.word, plan, Done(detail=plan.detail))
        except BaseException:
            self._forget_unanswered(request.mutation.request_id)
            raise

    def kill(self, method: str, request: Any, caller: Caller) -> Any:
        """Waits for nobody, and not for the audit log either: a log that refuses costs the line, not the kill."""
        known = self._begin(method, request, caller)
        if known is not None:
            return known
        request_id = request.mutation.request_id
        action = self.actions[method]
        try:
            plan = action.plan(request)
            try:
                self._write_intent(method, request, caller, plan, sync=False)
            except HotpathError as error:
                print(f"control: a kill without its line: {error}", flush=True)
            done = action.apply(request, plan, request_id=request_id, who=caller.identity)
            return self._record(method, request, caller.identity, caller.word, plan, done)
        finally:
            self._forget_unanswered(request_id)

    def long(self, method: str, request: Any, caller: Caller) -> Any:
        """One that takes a while: others need not wait for its end, and it needs no second person."""
        known = self._begin(method, request, caller)
        if known is not None:
            return known
        request_id = request.mutation.request_id
        try:
            with self._turn:
                plan = self.actions[method].plan(request)
                if request.mutation.dry_run:
                    self._forget(request_id)
                    return self._response(method, request_id, mutation_pb2.OUTCOME_DRY_RUN, plan)
            return self._carry_out(method, request, caller, plan)
        except BaseException:
            self._forget_unanswered(request_id)
            raise

    # ---- second persons ----------------------------------------------------------------------------

    def find(self, name: str) -> Waiting:
        """A request that waits, by its id or the beginning of it. Raises Refusal."""
        found = [each for key, each in self.waiting.items() if name and key.startswith(name)]
        exact = self.waiting.get(name)
        if exact is not None:
            return exact
        if len(found) != 1:
            waiting = ", ".join(self.waiting) or "none does"
            raise no_such(f"{name!r} names {len(found)} requests that wait; those are: {waiting}")
        return found[0]

    def expire(self) -> None:
        """Those that waited too long wait no longer."""
        now = time.time_ns()
        for each in [each for each in self.waiting.values() if each.expires_time_ns <= now]:
            self._end_waiting(each, f"nobody approved it within {self._config.approval_s} s")

    def tick(self) -> None:
        """What happens with time alone."""
        with self._turn:
            self.expire()

    def _keep_waiting(self, method: str, request: Any, caller: Caller, plan: Plan) -> Any:
        now = time.time_ns()
        waiting = Waiting(
            request_id=request.mutation.request_id,
            identity=caller.identity,
            method=method,
            reason=request.mutation.reason,
            request=request.SerializeToString(deterministic=True),
            changes=plan.changes,
            requested_time_ns=now,
            expires_time_ns=now + self._config.approval_s * 1_000_000_000,
        )
        detail = f"waits for a second person: hotctl approve {waiting.request_id}"
        response: Any = self._response(
            method,
            waiting.request_id,
            mutation_pb2.OUTCOME_PENDING,
            plan,
            Done(detail=detail, conditions=plan.conditions),
        )
        response.receipt.expires_time_ns = waiting.expires_time_ns
        record = self._append(
            PENDING,
            identity=caller.identity,
            role=caller.word,
            method=method,
            request_id=waiting.request_id,
            reason=waiting.reason,
            detail={
                "request": _text(waiting.request),
                "response": _text(response.SerializeToString()),
                "changes": _changes(plan),
                "expires_time_ns": waiting.expires_time_ns,
            },
        )
        response.receipt.audit_sequence = record.sequence
        self.waiting[waiting.request_id] = waiting
        self._answer(waiting.request_id, response)
        return response

    def _end_waiting(self, waiting: Waiting, why: str) -> None:
        request = self._parse(waiting.method, waiting.request)
        plan = Plan(changes=waiting.changes)
        self._record(waiting.method, request, waiting.identity, "", plan, Done(outcome=FAILED, detail=why))
        self.waiting.pop(waiting.request_id, None)

    # ---- carrying out ------------------------------------------------------------------------------

    def _carry_out(self, method: str, request: Any, caller: Caller, plan: Plan, *, of: Waiting | None = None) -> Any:
        """Intent, store, outcome. `of`: the request that this one approves."""
        request_id = request.mutation.request_id
        action, original, who = self.actions[method if of is None else of.method], request, caller.identity
        if of is not None:
            original = self._parse(of.method, of.request)
            who = f"{of.identity}, approved by {caller.identity}"
        self._write_intent(method, request, caller, plan, of=of)
        try:
            done = action.apply(original, plan, request_id=of.request_id if of else request_id, who=who)
        except (Refusal, HotpathError) as error:  # it did not happen, and the log says so
            done = Done(outcome=FAILED, detail=str(error))
        return self._finish(method, request, caller.identity, caller.word, plan, done, of)

    def _write_intent(
        self, method: str, request: Any, caller: Caller, plan: Plan, *, of: Waiting | None = None, sync: bool = True
    ) -> None:
        detail: dict[str, Any] = {
            "request": _text(request.SerializeToString(deterministic=True)),
            "token": plan.token,
        }
        if plan.changes:
            detail["changes"] = _changes(plan)
        if of is not None:
            detail["of"] = {"request_id": of.request_id, "identity": of.identity, "method": of.method}
        self._append(
            INTENT,
            sync=sync,
            identity=caller.identity,
            role=caller.word,
            method=method,
            request_id=request.mutation.request_id,
            reason=request.mutation.reason,
            detail=detail,
        )

    def _finish(
        self, method: str, request: Any, identity: str, role: str, plan: Plan, done: Done, of: Waiting | None
    ) -> Any:
        response = self._record(method, request, identity, role, plan, done)
        if of is not None:
            who = f"approved by {identity}: {done.detail}"
            original = self._parse(of.method, of.request)
            self._record(of.method, original, of.identity, "", plan, Done(done.outcome, who, done.extras))
            self.waiting.pop(of.request_id, None)
        return response

    def _record(self, method: str, request: Any, identity: str, role: str, plan: Plan, done: Done) -> Any:
        """The outcome line; the response that it holds is what a retry is given. What is done is done: a log that
        refuses the line does not undo it, and the next start of this process settles the intent."""
        request_id = request.mutation.request_id
        response: Any = self._response(method, request_id, done.outcome, plan, done)
        detail: dict[str, Any] = {
            **{name: value for name, value in done.extras.items() if isinstance(value, int | str)},
            "outcome": mutation_pb2.Outcome.Name(done.outcome).removeprefix("OUTCOME_").lower(),
            "detail": done.detail,
            "changes": _changes(plan),
            "request": _text(request.SerializeToString(deterministic=True)),
            "response": _text(response.SerializeToString()),
        }
        who = {"identity": identity, "role": role, "method": method, "request_id": request_id}
        try:
            record = self._append(OUTCOME, **who, reason=request.mutation.reason, detail=detail)
            response.receipt.audit_sequence = record.sequence
        except AuditError as error:
            response.receipt.detail += f"; the outcome is not audited: {error}"
        self._answer(request_id, response)
        return response

    def _append(self, kind: str, **fields: Any) -> Record:
        record = self.audit.append(kind, **fields)
        self.last_sequence = record.sequence
        if self._told is not None and kind != INTENT:
            self._told(record)
        return record

    def _response(self, method: str, request_id: str, outcome: Any, plan: Plan, done: Done | None = None) -> Any:
        kind = message_types(method)[1]
        conditions = (done.conditions if done else []) or plan.conditions
        receipt = mutation_pb2.Receipt(
            request_id=request_id,
            outcome=outcome,
            detail=done.detail if done else plan.detail,
            changes=[
                mutation_pb2.Change(name=each.name, before=each.before, after=each.after, raises=each.raises)
                for each in plan.changes
            ],
            preconditions=[
                mutation_pb2.Precondition(name=each.name, holds=each.holds, detail=each.detail) for each in conditions
            ],
        )
        extras = done.extras if done else plan.extras
        names = {each.name for each in kind.DESCRIPTOR.fields}
        return kind(receipt=receipt, **{name: value for name, value in extras.items() if name in names})

    # ---- request ids -------------------------------------------------------------------------------

    def _begin(self, method: str, request: Any, caller: Caller) -> Any | None:
        """The recorded response of a request that is known; None when this one is the first. Raises Refusal."""
        mutation = request.mutation
        if not REQUEST_ID.fullmatch(mutation.request_id):
            raise no_such("mutation.request_id: 8 to 64 of [A-Za-z0-9_-]")
        if not 0 < len(mutation.reason.strip()) <= REASON_MAX:
            raise no_such(f"mutation.reason: why? 1 to {REASON_MAX} characters")
        digest = _digest(request)
        with self._registry:
            known = self._known.get(mutation.request_id)
            if known is None:
                self._remember(mutation.request_id, Known(caller.identity, method, digest))
                return None
        if (known.identity, known.method, known.digest) != (caller.identity, method, digest):
            raise Refusal(
                grpc.StatusCode.ALREADY_EXISTS,
                f"request id {mutation.request_id} was used for something else, by {known.identity}: {known.method}",
            )
        if known.response is None:
            raise Refusal(grpc.StatusCode.ABORTED, f"request {mutation.request_id} is being carried out: ask again")
        response: Any = self._parse_response(method, known.response)
        response.receipt.replayed = True
        return response

    def _remember(self, request_id: str, known: Known) -> None:
        self._known[request_id] = known
        while len(self._known) > KNOWN_MAX:
            self._known.pop(next(iter(self._known)))

    def _answer(self, request_id: str, response: Any) -> None:
        with self._registry:
            if request_id in self._known:
                self._known[request_id].response = response.SerializeToString()

    def _forget(self, request_id: str) -> None:
        with self._registry:
            self._known.pop(request_id, None)

    def _forget_unanswered(self, request_id: str) -> None:
        """A request that was refused changed nothing, and may be asked again."""
        with self._registry:
            known = self._known.get(request_id)
            if known is not None and known.response is None:
                del self._known[request_id]

    # ---- after a death -----------------------------------------------------------------------------

    def recover(self) -> list[str]:
        """Read the audit log back, and settle what was begun and not ended. Returns what was settled, in words."""
        intents: dict[str, Record] = {}
        for record in self.audit.records():
            self.last_sequence = record.sequence
            if record.kind == INTENT:
                intents[record.request_id] = record
                self._remember(record.request_id, self._known_of(record))
            elif record.kind == PENDING:
                self._remember(record.request_id, self._known_of(record))
                self.waiting[record.request_id] = self._waiting_of(record)
            elif record.kind == OUTCOME:
                intents.pop(record.request_id, None)
                if record.detail.get("asked_again"):
                    self._forget(record.request_id)
                    continue
                self.waiting.pop(record.request_id, None)
                self._remember(record.request_id, self._known_of(record))
        return [self._settle(record) for record in intents.values()]

    def _settle(self, record: Record) -> str:
        request: Any = self._parse(record.method, _bytes(record.detail["request"]))
        plan = Plan(token=record.detail["token"], changes=_diffs(record.detail.get("changes", [])))
        of = record.detail.get("of")
        waiting = self.waiting.get(of["request_id"]) if of else None
        method, original, request_id = record.method, request, record.request_id
        who = record.identity
        if of is not None:
            if waiting is None:  # its outcome stands: only that of the approval is missing
                done = Done(detail="settled after a restart: it had been carried out")
                self._record(record.method, request, record.identity, record.role, plan, done)
                return f"{record.method} {record.request_id}: {done.detail}"
            method, request_id = waiting.method, waiting.request_id
            original = self._parse(method, waiting.request)
            who = f"{waiting.identity}, approved by {record.identity}"
        try:
            done = self.actions[method].settle(original, plan, request_id=request_id, who=who)
        except (Refusal, HotpathError) as error:
            done = Done(outcome=FAILED, detail=str(error))
        done.detail = f"settled after a restart: {done.detail}"
        if done.outcome == FAILED:  # nothing was done: who asked may ask again, and what waited waits on
            waiting, done.extras["asked_again"] = None, "may be"
        self._finish(record.method, request, record.identity, record.role, plan, done, waiting)
        if done.outcome == FAILED:
            self._forget(record.request_id)
        return f"{record.method} {record.request_id}: {done.detail}"

    def _known_of(self, record: Record) -> Known:
        request: Any = self._parse(record.method, _bytes(record.detail["request"]))
        response = record.detail.get("response")
        return Known(record.identity, record.method, _digest(request), _bytes(response) if response else None)

    def _waiting_of(self, record: Record) -> Waiting:
        return Waiting(
            request_id=record.request_id,
            identity=record.identity,
            method=record.method,
            reason=record.reason,
            request=_bytes(record.detail["request"]),
            changes=_diffs(record.detail["changes"]),
            requested_time_ns=record.time_ns,
            expires_time_ns=record.detail["expires_time_ns"],
        )

    def _parse(self, method: str, content: bytes) -> Any:
        return message_types(method)[0].FromString(content)

    def _parse_response(self, method: str, content: bytes) -> Any:
        return message_types(method)[1].FromString(content)


def _digest(request: Any) -> str:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _changes(plan: Plan) -> list[dict[str, Any]]:
    return [{"name": e.name, "before": e.before, "after": e.after, "raises": e.raises} for e in plan.changes]


def _diffs(changes: list[dict[str, Any]]) -> list[Diff]:
    return [Diff(**each) for each in changes]
