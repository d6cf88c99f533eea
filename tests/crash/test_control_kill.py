"""kill -9 of the control process at any line of any mutating call: nothing is half applied, a retry has one effect."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hotctl.audit import OUTCOME, AuditLog, audit_path, verify
from hotctl.client import mutation
from hotctl.errors import UnknownOutcomeError, UnreachableError
from hotctl.v1 import ingest_pb2, limits_pb2, mutation_pb2, order_pb2, strategy_pb2, trading_pb2
from hotpath.ledger.adjustments import AdjustmentFile, adjustments_path
from hotpath.limits import LimitsCopy
from hotpath.limits.desk import LimitsDesk
from tests.support.engines import REPOSITORY, EngineProcess, until
from tests.support.held import held_config, held_engine, host_client

SEED = int(os.environ.get("HOTPATH_SEED", "1"))
OPEN, RATE = "firm.open_orders_max", "firm.messages_per_second_max"


class Controls:
    """One control process after the other, each to be killed where the test says."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self._maker = subprocess.Popen(
            [sys.executable, "-m", "tests.support.dying_control", str(engine.folder / "engine.toml")],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "control")])},
        )  # fmt: skip
        self._pid = 0

    def start(self, kill_at: int = 0) -> None:
        self._pid = int(self._ask(str(kill_at)))

    def _ask(self, line: str) -> str:
        assert self._maker.stdin is not None
        self._maker.stdin.write(f"{line}\n")
        return self._read()

    def _read(self) -> str:
        assert self._maker.stdout is not None
        while True:
            line = self._maker.stdout.readline()
            assert line, "the maker of control processes ended"
            if not line.startswith("control:"):  # what a control process says of itself
                return line.strip()

    def ended(self) -> None:
        assert self._read() == "ended"
        self._pid = 0

    def stop(self) -> int:
        """Let it leave; how many lines its calls have run."""
        os.kill(self._pid, 15)
        self.ended()
        return int(self._ask("?"))

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, 9)
        assert self._maker.stdin is not None and self._maker.stdout is not None
        self._maker.stdin.close()
        self._maker.wait(10)
        self._maker.stdout.close()


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controls]:
    folder = tmp_path_factory.mktemp("held")
    config = held_config(f"t{os.getpid()}-ck", folder, enabled=False, single_operator=True)
    with held_engine(config, folder) as running:
        until(lambda: running.count("feed", "messages") > 0, "the market")
        made = Controls(running)
        try:
            yield made
        finally:
            made.close()
        assert verify(audit_path(folder, running.name)).whole


@dataclass
class Scene:
    """One kind of mutating call: what it asks, and the one word that shows how often it had an effect."""

    method: str
    request: Callable[[EngineProcess], Any]
    effects: Callable[[EngineProcess], Any]  # before and after
    once: Callable[[Any, Any], bool]  # whether `after` is `before` with one effect


def desk(engine: EngineProcess) -> LimitsDesk:
    return LimitsDesk(engine.name, state_dir=engine.folder)


def limits(engine: EngineProcess) -> Any:
    copy = desk(engine).read()
    assert copy.is_whole
    return copy.version, copy.get(OPEN), copy.get(RATE)


def set_limits(engine: EngineProcess) -> Any:
    version, opened, rate = limits(engine)
    settings = [
        limits_pb2.LimitSetting(name=name, value=str(value)) for name, value in ((OPEN, opened - 1), (RATE, rate - 1))
    ]
    return limits_pb2.SetLimitsRequest(mutation=mutation(reason="t"), based_on_version=version, settings=settings)


def revert(engine: EngineProcess) -> Any:
    version = desk(engine).version
    return limits_pb2.RevertLimitsRequest(
        mutation=mutation(reason="t"), based_on_version=version, to_version=version - 1
    )


def epochs(engine: EngineProcess) -> Any:
    stat = engine.look()
    assert stat is not None
    return stat.kill_epoch, stat.killed


def mode_of(engine: EngineProcess) -> Any:
    stat = engine.look()
    assert stat is not None
    return stat.mode_words.get("operator", "normal")


def set_mode(engine: EngineProcess) -> Any:
    wanted = "TRADING_MODE_NORMAL" if mode_of(engine) != "normal" else "TRADING_MODE_CANCEL_ONLY"
    return trading_pb2.SetModeRequest(mutation=mutation(reason="t"), mode=wanted)


def switches(engine: EngineProcess) -> Any:
    copy = desk(engine).read()
    return copy.get("strategy.1.paused"), copy.get("strategy.1.killed")


def strategy_pause(_: EngineProcess) -> Any:
    return strategy_pb2.PauseStrategyRequest(mutation=mutation(reason="t"), strategy="1")


def strategy_resume(_: EngineProcess) -> Any:
    return strategy_pb2.ResumeStrategyRequest(mutation=mutation(reason="t"), strategy="1")


def strategy_retire(_: EngineProcess) -> Any:
    return strategy_pb2.RetireStrategyRequest(mutation=mutation(reason="t"), strategy="1")


def limits_version(engine: EngineProcess) -> Any:
    copy = desk(engine).read()
    return copy.version, copy.get("strategy.1.orders_per_second_max")


def strategy_set(engine: EngineProcess) -> Any:
    wanted: Any = {"name": "orders_per_second_max", "value": str((limits_version(engine)[1] or 1000) - 1)}
    return strategy_pb2.SetStrategyRequest(mutation=mutation(reason="t"), strategy="1", **wanted)


def tokens(engine: EngineProcess) -> Any:
    return {each.id for each in desk(engine).read().tokens()}


def withdraw_all(copy: LimitsCopy) -> None:
    for each in copy.tokens():
        copy.withdraw(each.id)


def grant(engine: EngineProcess) -> Any:
    if len(tokens(engine)) > 4:  # there are places for eight
        desk(engine).change_latest(withdraw_all, who="t", why="t")
    wanted = limits_pb2.Override(reasons=["quantity"], quantity_lots_max=1, order_value_micros_max=1)
    return limits_pb2.GrantOverrideRequest(mutation=mutation(reason="t"), override=wanted, expires_after_s=20)


def withdraw_override(engine: EngineProcess) -> Any:
    return limits_pb2.WithdrawOverrideRequest(mutation=mutation(reason="t"), id=max(tokens(engine), default=0))


def adjustments(engine: EngineProcess) -> Any:
    return len(AdjustmentFile(adjustments_path(engine.config)).all())


def adjust(_: EngineProcess) -> Any:
    return order_pb2.RecordAdjustmentRequest(
        mutation=mutation(reason="t"), symbol="ZAAAB", quantity_lots=1, kind="corporate"
    )


def events(engine: EngineProcess) -> Any:
    records = AuditLog(audit_path(engine.folder, engine.name)).records()
    return sum(each.kind == OUTCOME and each.method == "IngestService/IngestEvent" for each in records)


def ingest(_: EngineProcess) -> Any:
    return ingest_pb2.IngestEventRequest(mutation=mutation(reason="t"), kind="news", payload_json="{}")


SCENES = {
    "set_limits": Scene(
        "LimitsService/SetLimits", set_limits, limits, lambda a, b: b == (a[0] + 1, a[1] - 1, a[2] - 1)
    ),
    "revert_limits": Scene(
        "LimitsService/RevertLimits", revert, limits, lambda a, b: b == (a[0] + 1, a[1] + 1, a[2] + 1)
    ),
    "arm": Scene(
        "TradingService/Arm",
        lambda _: trading_pb2.ArmRequest(mutation=mutation(reason="t")),
        epochs,
        lambda a, b: b == (a[0], False),
    ),
    "kill": Scene(
        "TradingService/Kill",
        lambda _: trading_pb2.KillRequest(mutation=mutation(reason="t")),
        epochs,
        lambda a, b: b == (a[0] + 1, True),
    ),
    "set_mode": Scene("TradingService/SetMode", set_mode, mode_of, lambda a, b: a != b),
    "kill_an_instrument": Scene(
        "TradingService/Kill",
        lambda _: trading_pb2.KillRequest(mutation=mutation(reason="t"), scope="SCOPE_INSTRUMENT", scope_name="ZAAAB"),
        lambda engine: desk(engine).read().get("instrument.ZAAAB.killed"),
        lambda _, b: bool(b),
    ),
    "disarm": Scene(
        "TradingService/Disarm",
        lambda _: trading_pb2.DisarmRequest(mutation=mutation(reason="t")),
        epochs,
        lambda a, b: not a[1] and b == (a[0] + 1, True),
    ),
    "pause": Scene("StrategyService/PauseStrategy", strategy_pause, switches, lambda _, b: b == (True, False)),
    "resume": Scene("StrategyService/ResumeStrategy", strategy_resume, switches, lambda _, b: b == (False, False)),
    "retire": Scene("StrategyService/RetireStrategy", strategy_retire, switches, lambda _, b: b[1]),
    "set_strategy": Scene(
        "StrategyService/SetStrategy", strategy_set, limits_version, lambda a, b: b == (a[0] + 1, (a[1] or 1000) - 1)
    ),
    "grant": Scene("LimitsService/GrantOverride", grant, tokens, lambda a, b: len(b - a) == 1),
    "withdraw_override": Scene(
        "LimitsService/WithdrawOverride", withdraw_override, tokens, lambda a, b: max(a) not in b
    ),
    "adjust": Scene("OrderService/RecordAdjustment", adjust, adjustments, lambda a, b: b == a + 1),
    "ingest": Scene("IngestService/IngestEvent", ingest, events, lambda a, b: b == a + 1),
}
BEFORE = {
    "disarm": "arm",
    "withdraw_override": "grant",
    "arm": "kill",
    "revert_limits": "set_limits",
}  # what must have happened for it to have an effect


def lines_of(controls: Controls, scene: Scene) -> int:
    """How many lines one such call runs."""
    controls.start()
    with host_client(controls.engine) as call:
        call.call(scene.method, scene.request(controls.engine))
    return controls.stop()


def prepare(controls: Controls, name: str) -> None:
    if name in BEFORE:
        controls.start()
        scene = SCENES[BEFORE[name]]
        with host_client(controls.engine) as call:
            call.call(scene.method, scene.request(controls.engine))
        controls.stop()


def killed_in_the_middle(controls: Controls, scene: Scene, kill_at: int) -> bool:
    """Whether it died in its call; one that ran fewer lines than the call before it did not."""
    engine = controls.engine
    controls.start(kill_at)
    request, before = scene.request(engine), scene.effects(engine)
    with host_client(engine, timeout_s=20) as call:
        try:
            call.call(scene.method, request)
            died = False
        except (UnreachableError, UnknownOutcomeError):
            died = True
    if died:
        controls.ended()
    else:
        controls.stop()
    controls.start()
    with host_client(engine, timeout_s=20) as call:
        response = call.call(scene.method, request)
        assert response.receipt.outcome == mutation_pb2.OUTCOME_APPLIED, response
        after = scene.effects(engine)
        assert scene.once(before, after), (before, after)
        assert call.call(scene.method, request).receipt.replayed
        assert scene.effects(engine) == after, "a retry has no second effect"
    controls.stop()
    assert verify(audit_path(engine.folder, engine.name)).whole
    return died


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("kills", [1, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_control_killed_anywhere_leaves_all_or_nothing_and_a_retry_has_one_effect(
    controls: Controls, name: str, kills: int
) -> None:
    scene = SCENES[name]
    prepare(controls, name)
    total = lines_of(controls, scene)
    assert total > 50
    chosen = random.Random(f"{SEED} {name}")
    died = 0
    for _ in range(kills):
        prepare(controls, name)
        died += killed_in_the_middle(controls, scene, chosen.randint(1, total))
    print(f"{name}: killed {died} times of {kills}, in {total} lines; HOTPATH_SEED={SEED}")
    assert died >= kills // 2
