"""What must hold before an engine may be armed, beyond every stage being ready.

    intents       no sync of them failed that nobody has accepted since
    fates         after a power loss: the venue session is up, and with it the fate of every order of the day
    belief        the gateway believes what the venue told it
    numbers       no order of the venue's has an id that this run may give out

Each that does not hold is a sentence that names it. Nothing here changes anything.
"""

from __future__ import annotations

from ffi import lib
from hotpath.control.causes import mode_names
from hotpath.engine import EngineMemory
from hotpath.intents import read_intents
from hotpath.stages import intents_path


def _disbelief(memory: EngineMemory) -> str:
    """The mode that the gateway demands of itself; empty when it demands none."""
    own = (lib.CAUSE_SESSION, lib.CAUSE_BELIEF, lib.CAUSE_INTENTS)
    worst = max(int(memory.control.cause[cause]) for cause in own)
    return mode_names()[worst] if worst != lib.MODE_NORMAL else ""


def missing_preconditions(memory: EngineMemory) -> list[str]:
    """Why this engine may not be armed yet, most urgent first; empty when it may."""
    spec = memory.spec
    if spec.config.gateway.kind == "paper":
        return []
    counter = memory.stage_page("gateway").counter
    found = []
    if counter[lib.GATEWAY_PROMISE] == lib.INTENT_PROMISE_BROKEN:
        found.append("intents: a sync of them failed; end the engine, see to the disk, then: hotpath intents clear")
    if spec.doubt and (not counter[lib.GATEWAY_SESSION_UP] or counter[lib.GATEWAY_ADOPTING]):
        refused = int(counter[lib.GATEWAY_LOGIN_REJECTS])
        why = f"it refused {refused} logins" if refused else "its session is not up"
        found.append(f"fates: {spec.doubt}; the venue has not answered yet: {why}")
    elif spec.doubt and (mode := _disbelief(memory)):
        unmatched = int(counter[lib.GATEWAY_UNMATCHED])
        found.append(f"belief: the gateway does not believe the venue's stream ({mode}; {unmatched} reports unmatched)")
    if counter[lib.GATEWAY_ADOPTED]:
        with read_intents(intents_path(spec.config)) as file:
            highest = file.last_order_id
        if highest > spec.order_id_base:
            found.append(
                f"numbers: the venue told of orders up to id {highest} of which nothing here knew, and this run "
                f"counts from {spec.order_id_base + 1}: they are known now, start the engine again"
            )
    return found
