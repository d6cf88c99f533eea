"""StrategyService: pausing, resuming and retiring strategies, and their limits: by the switches of the limits' page."""

from __future__ import annotations

from typing import Any

import grpc

from hotctl.server.guard import CALLER
from hotctl.server.hands import Hands
from hotctl.server.limits import Change, LimitsHands, value_of
from hotctl.server.mutations import Done, Mutations, Plan
from hotctl.server.refusal import no_such
from hotctl.server.trading import strategy_number
from hotctl.v1 import strategy_pb2
from hotpath.limits import LimitsCopy
from hotpath.limits.catalogue import Value, limits_of


class Switch(Change):
    """One switch, or one limit, of a strategy."""

    def __init__(self, hands: Hands, limits: LimitsHands, settings: dict[str, Value] | None) -> None:
        """`settings`: what it puts; None: what the request says."""
        super().__init__(limits)
        self._hands = hands
        self._settings = settings

    def plan(self, request: Any) -> Plan:
        number = strategy_number(self._hands.config, request.strategy)
        scope = f"strategy.{number}"
        if self._settings is None:
            self._refuse_parameter(request.name)
            name = f"{scope}.{request.name}"
            values = {name: value_of(name, request.value)}
        else:
            values = {f"{scope}.{name}": value for name, value in self._settings.items()}
        return self.plan_of(self.limits.read().version, values)

    def _refuse_parameter(self, name: str) -> None:
        """Raises Refusal for what is fixed for a run."""
        config, first = self._hands.config, name.partition(".")[0]
        fixed = {"weights", "params", *config.signal.__struct_fields__}
        fixed |= {key for each in config.strategies for key in each.params}
        if first in fixed and name not in limits_of("strategy"):
            raise no_such(
                f"{name}: parameters and weights are fixed for a run, so that its replay decides the same: change it "
                "in the configuration and start again, or swap a model, whose versions are on the record. Limits "
                "can be set live: hotctl limits describe"
            )

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.apply_values(plan, request_id=request_id, who=who, why=request.mutation.reason)

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.settle_values(plan)


class StrategyService:
    """As proto/hotctl/v1/strategy.proto says."""

    def __init__(self, hands: Hands, limits: LimitsHands, mutations: Mutations) -> None:
        self._hands = hands
        self._limits = limits
        self._mutations = mutations
        mutations.actions |= {
            "StrategyService/PauseStrategy": Switch(hands, limits, {"paused": True}),
            "StrategyService/ResumeStrategy": Switch(hands, limits, {"paused": False, "killed": False}),
            "StrategyService/RetireStrategy": Switch(hands, limits, {"killed": True}),
            "StrategyService/SetStrategy": Switch(hands, limits, None),
        }

    def ListStrategies(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        copy, seats = self._limits.read(), self._hands.snapshot().seats
        numbers = {"signal": 1, **{seat.name: seat.strategy for seat in self._hands.config.seats}}
        return strategy_pb2.ListStrategiesResponse(
            strategies=[
                strategy_pb2.Strategy(
                    number=number,
                    name=name,
                    state=state_of(copy, number),
                    open_orders=seats[name].open_orders if name in seats else 0,
                )
                for name, number in sorted(numbers.items(), key=lambda item: item[1])
            ]
        )

    def PauseStrategy(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("StrategyService/PauseStrategy", request, CALLER.get())

    def ResumeStrategy(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("StrategyService/ResumeStrategy", request, CALLER.get())

    def RetireStrategy(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("StrategyService/RetireStrategy", request, CALLER.get())

    def SetStrategy(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call("StrategyService/SetStrategy", request, CALLER.get())


def state_of(copy: LimitsCopy, number: int) -> str:
    """What the switches of a strategy say."""
    states = {"killed": "retired", "paused": "paused", "cancel_only": "cancels only", "reduce_only": "reduces only"}
    for switch, state in states.items():
        if copy.get(f"strategy.{number}.{switch}"):
            return state
    return "running"
