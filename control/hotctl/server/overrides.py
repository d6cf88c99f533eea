"""One-off overrides: leave for one order to breach limits, granted by two people; once, for a time, or taken back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ffi import lib
from hotctl.server.mutations import FAILED, Diff, Done, Plan
from hotctl.server.refusal import no_such
from hotctl.v1 import limits_pb2
from hotpath.errors import LimitsError, StaleVersionError
from hotpath.limits.copy import LimitsCopy, Token

if TYPE_CHECKING:
    from hotctl.server.limits import LimitsHands

GRANT, WITHDRAW = "LimitsService/GrantOverride", "LimitsService/WithdrawOverride"
EXPIRES_S_MAX = 86_400
SIDES = {"": None, "buy": int(lib.SIDE_BUY), "sell": int(lib.SIDE_SELL)}
SIDE_WORDS = {side: word for word, side in SIDES.items()}


def token_of(request: Any, *, who: str, expires_time_ns: int) -> Token:
    """What a request asks for. Raises Refusal."""
    wanted = request.override
    if wanted.side not in SIDES:
        raise no_such("side: buy, sell, or neither word for both")
    if not wanted.reasons:
        raise no_such("reasons: at least one; hotctl limits describe lists them")
    if wanted.quantity_lots_max < 1 or wanted.order_value_micros_max < 1:
        raise no_such("an override has bounds of its own: quantity_lots_max and order_value_micros_max, 1 or more")
    if not 1 <= request.expires_after_s <= EXPIRES_S_MAX:
        raise no_such(f"expires_after_s: 1 to {EXPIRES_S_MAX}")
    return Token(
        reasons=tuple(wanted.reasons),
        who=who,
        expires_time_ns=expires_time_ns,
        quantity_lots_max=wanted.quantity_lots_max,
        order_value_micros_max=wanted.order_value_micros_max,
        instrument=wanted.symbol or None,
        account=wanted.account if wanted.HasField("account") else None,
        strategy=wanted.strategy if wanted.HasField("strategy") else None,
        side=SIDES[wanted.side],
    )


def wire_of(token: Token) -> limits_pb2.Override:
    """As the protocol has it."""
    return limits_pb2.Override(
        id=token.id,
        reasons=token.reasons,
        who=token.who,
        expires_time_ns=token.expires_time_ns,
        quantity_lots_max=token.quantity_lots_max,
        order_value_micros_max=token.order_value_micros_max,
        symbol=token.instrument or "",
        account=token.account,
        strategy=token.strategy,
        side=SIDE_WORDS[token.side],
    )


def words_of(token: Token) -> str:
    """For people, and the audit log."""
    bounds = f"up to {token.quantity_lots_max:,} lots, {token.order_value_micros_max / 1e6:,.2f} in value"
    whose = [f"{kind} {name}" for kind, name in (("account", token.account), ("strategy", token.strategy)) if name]
    what = " ".join(filter(None, (SIDE_WORDS[token.side], token.instrument or "of any instrument", *whose)))
    return f"one order {what} past {', '.join(token.reasons)}, {bounds}"


class _OnTheLatest:
    """A change of whatever version is in force: nobody has to have seen one for it."""

    def __init__(self, limits: LimitsHands) -> None:
        self._limits = limits

    def _change(self, edit: Callable[[LimitsCopy], None], *, who: str, why: str) -> int:
        while True:
            try:
                return self._limits.change(self._limits.read().version, edit, who=who, why=why)
            except StaleVersionError:
                continue

    def _extras(self, version: int, **more: int) -> dict[str, Any]:
        return {"version": version, "run_epoch": self._limits.desk().run_epoch, **more}


class GrantOverride(_OnTheLatest):
    """One token more. Always by two people."""

    def plan(self, request: Any) -> Plan:
        expires = time.time_ns() + request.expires_after_s * 1_000_000_000  # which also tells it from any other
        token = token_of(request, who="", expires_time_ns=expires)
        try:
            self._limits.read().clone().grant(token)
        except LimitsError as error:
            raise no_such(f"{error}{error.next_step and '; '}{error.next_step}") from None
        return Plan(
            changes=[Diff("override", "", words_of(token), raises=True)],
            detail=f"{words_of(token)}, within {request.expires_after_s} s",
            token={"expires_time_ns": expires},
        )

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        token = token_of(request, who=who, expires_time_ns=plan.token["expires_time_ns"])
        given: list[int] = []

        def grant(copy: LimitsCopy) -> None:
            given.append(copy.grant(token))

        version = self._change(grant, who=f"{who} [{request_id}]", why=request.mutation.reason)
        return Done(detail=f"override {given[-1]}: {plan.detail}", extras=self._extras(version, id=given[-1]))

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        copy = self._limits.settle()
        found = [each.id for each in copy.tokens() if each.expires_time_ns == plan.token["expires_time_ns"]]
        if found:
            return Done(detail=f"override {found[0]}: {plan.detail}", extras=self._extras(copy.version, id=found[0]))
        return Done(outcome=FAILED, detail="it was not granted, or is gone again")


class WithdrawOverride(_OnTheLatest):
    """One token less."""

    def plan(self, request: Any) -> Plan:
        found = [each for each in self._limits.read().tokens() if each.id == request.id]
        if not found:
            raise no_such(f"there is no override {request.id}: hotctl limits override list")
        return Plan(changes=[Diff("override", words_of(found[0]), "")], detail=f"override {request.id} is taken back")

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        why = request.mutation.reason
        version = self._change(lambda copy: copy.withdraw(request.id), who=f"{who} [{request_id}]", why=why)
        return Done(detail=plan.detail, extras=self._extras(version))

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        copy = self._limits.settle()
        if any(each.id == request.id for each in copy.tokens()):
            return Done(outcome=FAILED, detail=f"override {request.id} stands")
        return Done(detail=plan.detail, extras=self._extras(copy.version))
