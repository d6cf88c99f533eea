"""TradingService: kill, arm, disarm, modes."""

from __future__ import annotations

import time
from typing import Any

import grpc

from ffi import lib
from hotctl.server.guard import CALLER
from hotctl.server.hands import EFFECTIVE_SECONDS, Hands
from hotctl.server.limits import Change, LimitsHands
from hotctl.server.mutations import APPLIED, FAILED, PARTIAL, Diff, Done, Mutations, Plan
from hotctl.server.refusal import no_such, not_now
from hotctl.v1 import mutation_pb2, trading_pb2
from hotpath.config import Config
from hotpath.control.causes import CAUSES
from hotpath.errors import LimitsError
from hotpath.latch import standing_latch

WAIT_MS_MAX = 60_000
MODES = {
    trading_pb2.TRADING_MODE_NORMAL: (lib.MODE_NORMAL, "normal"),
    trading_pb2.TRADING_MODE_REDUCE_ONLY: (lib.MODE_REDUCE_ONLY, "reduce_only"),
    trading_pb2.TRADING_MODE_CANCEL_ONLY: (lib.MODE_CANCEL_ONLY, "cancel_only"),
    trading_pb2.TRADING_MODE_HALTED: (lib.MODE_HALTED, "halted"),
}
WORD = dict(MODES.values())
WIRE: dict[int, Any] = {value: wire for wire, (value, _) in MODES.items()}


def switch_of(request: Any, hands: Hands, limits: LimitsHands) -> str:
    """The limits' switch of a scope, as "instrument.GOOG.killed"; empty for the whole engine. Raises Refusal."""
    if request.scope in (trading_pb2.SCOPE_UNSPECIFIED, trading_pb2.SCOPE_ALL):
        return ""
    kind = trading_pb2.Scope.Name(request.scope).removeprefix("SCOPE_").lower()
    name = request.scope_name
    if kind == "strategy":
        name = str(strategy_number(hands.config, name))
    elif kind == "venue":
        name = "0"  # an engine has one
    switch = f"{kind}.{name}.killed"
    try:
        limits.read().get(switch)
    except LimitsError as error:
        raise no_such(str(error)) from None
    return switch


def strategy_number(config: Config, name: str) -> int:
    """Of a strategy's number or its seat's name; 1 is [signal]'s. Raises Refusal."""
    if name.isdecimal():
        return int(name)
    numbers = {"signal": 1, **{seat.name: seat.strategy for seat in config.seats}}
    if name not in numbers:
        raise no_such(f"strategy {name}: there are {', '.join(numbers)}")
    return numbers[name]


class Kill:
    """No new order leaves. Applied again at a restart when nobody saw the end: a kill that was meant is done."""

    def __init__(self, hands: Hands, limits: LimitsHands) -> None:
        self._hands = hands
        self._limits = limits

    def plan(self, request: Any) -> Plan:
        if request.mutation.dry_run:
            raise no_such("a kill has no dry run: hotctl drill kill rehearses one")
        if request.wait_ms > WAIT_MS_MAX:
            raise no_such(f"wait_ms: at most {WAIT_MS_MAX}")
        epoch = int(self._hands.run().page.kill_epoch)
        token = {"epoch": epoch, "run_epoch": self._hands.run().run_epoch}
        switch = switch_of(request, self._hands, self._limits)
        return Plan(token={**token, "switch": switch} if switch else token)

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        if "switch" in plan.token:
            return self._apply_scope(request, plan, request_id=request_id, who=who)
        begun = time.perf_counter_ns()
        epoch = self._hands.kill()
        latched_ns = time.perf_counter_ns() - begun
        trouble = self._hands.latch(reason=f"{request.mutation.reason} ({who})", epoch=epoch)
        swept = request.wait_ms > 0
        seconds = request.wait_ms / 1000 if swept else EFFECTIVE_SECONDS
        effective = self._hands.wait_effective(epoch, seconds=seconds, swept=swept)
        effective_ns = time.perf_counter_ns() - begun - latched_ns if effective else 0
        left = self._hands.run().open_orders
        detail = f"killed (epoch {epoch})" + ("" if effective else "; the gateway has not confirmed yet")
        plan.changes.append(Diff("kill_epoch", str(plan.token["epoch"]), str(epoch)))
        return Done(
            outcome=PARTIAL if trouble or (swept and (left or not effective)) else APPLIED,
            detail="; ".join(filter(None, (detail, trouble, f"{left} orders are open yet" if left else ""))),
            extras={
                "kill_epoch": epoch,
                "latched_ns": latched_ns,
                "latched_on_disk": not trouble,
                "effective": effective,
                "effective_ns": effective_ns,
                "bytes_in_flight": int(self._hands.run().page.in_flight_bytes),
                "open_orders": left,
            },
        )

    def _apply_scope(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        """A version of the limits in which the scope is killed: risk refuses, the gateway discards what is older."""
        switch = plan.token["switch"]
        begun = time.perf_counter_ns()
        was = self._limits.read().get(switch)
        why = request.mutation.reason
        version = self._limits.change_latest(lambda copy: copy.set(switch, True), who=f"{who} [{request_id}]", why=why)
        plan.changes.append(Diff(switch, "yes" if was else "no", "yes"))
        run = self._hands.run()
        extras = {"latched_ns": time.perf_counter_ns() - begun, "latched_on_disk": True, "version": version}
        extras |= {"kill_epoch": int(run.page.kill_epoch), "run_epoch": run.run_epoch, "open_orders": run.open_orders}
        return Done(detail=f"{switch} is in force with version {version} of the limits", extras=extras)

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        run = self._hands.run()
        if run.run_epoch != plan.token["run_epoch"]:
            return Done(outcome=FAILED, detail="the run that it was meant for has ended")
        if "switch" in plan.token:
            if self._limits.settle().get(plan.token["switch"]):
                return Done(detail=f"{plan.token['switch']} is in force", extras={"latched_on_disk": True})
            return self.apply(request, plan, request_id=request_id, who=who)
        epoch = int(run.page.kill_epoch)
        if epoch > plan.token["epoch"]:
            trouble = self._hands.latch(reason=f"{request.mutation.reason} ({who})", epoch=epoch)
            extras = {"kill_epoch": epoch, "latched_on_disk": not trouble}
            return Done(detail=f"killed (epoch {epoch}){trouble and '; '}{trouble}", extras=extras)
        return self.apply(request, plan, request_id=request_id, who=who)


class Arm(Change):
    """Orders may leave: by the supervisor, which looks at the preconditions once more. A scope by the limits."""

    def __init__(self, hands: Hands, limits: LimitsHands) -> None:
        super().__init__(limits)
        self._hands = hands

    def plan(self, request: Any) -> Plan:
        switch = switch_of(request, self._hands, self.limits)
        if switch:
            plan = self.plan_of(self.limits.read().version, {switch: False})
            if not plan.changes:
                raise not_now(f"{switch} is no already")
            return plan
        page = self._hands.run().page
        standing, armed = int(page.kill_epoch), int(page.armed_epoch)
        if request.kill_epoch and request.kill_epoch != standing:
            raise not_now(f"kill {standing} stands, not {request.kill_epoch}: look at it before you accept it")
        if standing == armed:
            raise not_now("the engine is armed already")
        conditions = self._hands.conditions()
        failing = [each for each in conditions if not each.holds]
        if failing and not request.mutation.dry_run:
            raise not_now("; ".join(f"{each.name}: {each.detail}" for each in failing))
        return Plan(
            changes=[Diff("armed_epoch", str(armed), str(standing), raises=True)],
            detail="every precondition holds" if not failing else f"{len(failing)} preconditions do not hold",
            token={"epoch": standing},
            conditions=conditions,
        )

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        answer = self._hands.ask(
            request_id, "arm", who=who, why=request.mutation.reason, kill_epoch=plan.token["epoch"]
        )
        return _of_supervisor(answer)

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        if "values" in plan.token:
            return self.settle_values(plan)
        answer = self._hands.answered(request_id)
        return _of_supervisor(answer) if answer else Done(outcome=FAILED, detail="the supervisor was not asked")


class Disarm:
    """Back to killed, without a latch."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def plan(self, request: Any) -> Plan:
        page = self._hands.run().page
        killed = bool(lib.control_killed(page))
        return Plan(
            changes=[] if killed else [Diff("killed", "no", "yes")],
            detail="killed already" if killed else "no new order will leave",
            token={"epoch": int(page.kill_epoch)},
        )

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return _of_supervisor(self._hands.ask(request_id, "disarm", who=who, why=request.mutation.reason))

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        answer = self._hands.answered(request_id)
        return _of_supervisor(answer) if answer else Done(outcome=FAILED, detail="the supervisor was not asked")


class SetMode:
    """The operator's own word."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def plan(self, request: Any) -> Plan:
        if request.mode not in MODES:
            raise no_such("mode: normal, reduce_only, cancel_only or halted")
        before, (after, word) = self._hands.mode(), MODES[request.mode]
        changes = [Diff("mode.operator", WORD[before], word, raises=after < before)] if after != before else []
        return Plan(changes=changes, detail=f"the operator's mode is {word}", token={"mode": after})

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        self._hands.set_mode(plan.token["mode"])
        return Done(detail=plan.detail or f"the operator's mode is {WORD[plan.token['mode']]}")

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        if self._hands.mode() == plan.token["mode"]:
            return Done(detail=f"the operator's mode is {WORD[plan.token['mode']]}")
        return Done(outcome=FAILED, detail=f"the operator's mode is {WORD[self._hands.mode()]}")


def _cause(name: str, mode: int) -> trading_pb2.Cause:
    row = next(each for each in CAUSES if each.name == name)
    return trading_pb2.Cause(name=name, mode=WIRE[mode], latched=row.kind == "latch", cleared_by=row.clears)


def _of_supervisor(answer: Any) -> Done:
    return Done(outcome=APPLIED if answer.done else FAILED, detail=answer.detail, conditions=answer.conditions)


class TradingService:
    """As proto/hotctl/v1/trading.proto says."""

    def __init__(self, hands: Hands, limits: LimitsHands, mutations: Mutations) -> None:
        self._hands = hands
        self._mutations = mutations
        mutations.actions |= {
            "TradingService/Kill": Kill(hands, limits),
            "TradingService/Arm": Arm(hands, limits),
            "TradingService/Disarm": Disarm(hands),
            "TradingService/SetMode": SetMode(hands),
        }

    def Kill(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.kill("TradingService/Kill", request, CALLER.get())

    def Arm(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("TradingService/Arm", request, CALLER.get())

    def Disarm(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("TradingService/Disarm", request, CALLER.get())

    def SetMode(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("TradingService/SetMode", request, CALLER.get())

    def ListCauses(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        words = sorted(self._hands.words().items(), key=lambda item: -item[1])
        page = self._hands.run().page
        killed = bool(lib.control_killed(page))
        stands = (standing_latch(self._hands.config) or {}) if killed else {}
        return trading_pb2.ListCausesResponse(
            causes=[_cause(name, mode) for name, mode in words],
            mode=WIRE[max((mode for _, mode in words), default=lib.MODE_NORMAL)],
            killed=killed,
            kill_epoch=int(page.kill_epoch),
            kill_reason=str(stands.get("reason", ""))[:500],
            kill_since=str(stands.get("at", ""))[:64],
        )

    def ListPreconditions(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return trading_pb2.ListPreconditionsResponse(
            preconditions=[
                mutation_pb2.Precondition(name=each.name, holds=each.holds, detail=each.detail)
                for each in self._hands.conditions()
            ]
        )
