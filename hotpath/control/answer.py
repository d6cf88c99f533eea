"""What a supervisor does about a request of the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotpath.control.conditions import conditions_of
from hotpath.control.requests import Answer, Condition, Request
from hotpath.errors import StageError
from hotpath.latch import clear_latch

if TYPE_CHECKING:
    from hotpath.supervisor import Supervisor


def answer(supervisor: Supervisor, request: Request) -> Answer:
    """Carry out one request."""
    if request.what == "check":
        return Answer(True, conditions=conditions(supervisor))
    if request.what == "arm":
        return _arm(supervisor, request)
    if request.what == "disarm":
        supervisor.kill(f"disarmed by {request.who}: {request.why}", latch=False)
        return Answer(True, "disarmed: no new order leaves, open ones are cancelled")
    if request.what == "drain":
        supervisor.end_wanted = f"drained by {request.who}: {request.why}"
        return Answer(True, "the run ends: open orders are cancelled, then every process leaves")
    return Answer(False, f"{request.what}: no supervisor of this version knows that")


def conditions(supervisor: Supervisor) -> list[Condition]:
    """What must hold before this engine may be armed."""
    return conditions_of(
        supervisor.memory, adjustments=supervisor.desk.missing(), reconciliation=supervisor.reconciliation.missing
    )


def _arm(supervisor: Supervisor, request: Request) -> Answer:
    """Accept the kill that the request names, and no later one; its latch is put aside, with who and why."""
    found = conditions(supervisor)
    failing = [each for each in found if not each.holds]
    if failing:
        return Answer(False, "; ".join(f"{each.name}: {each.detail}" for each in failing), found)
    control = supervisor.memory.control
    standing = int(control.kill_epoch)
    if request.kill_epoch != standing:
        return Answer(False, f"kill {standing} stands, kill {request.kill_epoch} was accepted", found)
    try:
        clear_latch(supervisor.spec.config, reason=f"{request.why} ({request.who})")
    except StageError as error:
        return Answer(False, str(error), found)
    if not supervisor.accept(request.kill_epoch):
        return Answer(False, f"killed while arming: kill {int(control.kill_epoch)} stands", found)
    return Answer(True, f"armed: kill {request.kill_epoch} is accepted", found)
