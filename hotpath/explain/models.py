"""What models said to an event: from the ring `decision`, with the images that the journal has."""

from __future__ import annotations

import numpy as np

from ffi import ffi
from ffi.dtypes import enum_names
from hotpath.explain.story import ModelPart
from hotpath.journal import Journal
from hotpath.models.image import plan_of
from hotpath.models.page import RING, ROLES, ModelsHistory

MASK = (1 << 24) - 1


def models_at(journal: Journal, enabled: bool, norm_sequence: int, instrument: int) -> list[ModelPart]:
    """Every model that was asked at this market event, the leading one first."""
    if not enabled or "decision" not in journal.rings:
        return []
    events = journal.events("decision")
    begin = int(np.searchsorted(events["header"]["cause_sequence"], norm_sequence, side="left"))
    end = int(np.searchsorted(events["header"]["cause_sequence"], norm_sequence, side="right"))
    history = ModelsHistory(lambda first, last: journal.events(RING, first, last), lambda: journal.next(RING))
    status = enum_names("decision_status")
    found = []
    for event in events[begin:end]:
        if int(event["header"]["instrument"]) != instrument:
            continue
        generation, digest = int(event["generation"]) & MASK, int(event["digest"])
        image = history.at(generation).images[digest]
        plan = plan_of(image)
        header = ffi.cast("model_header *", ffi.cast("uint8_t *", plan) + plan.blob_offset)
        found.append(
            ModelPart(
                role=ROLES[int(event["role"])],
                name=ffi.string(plan.name).decode(),
                version=ffi.string(plan.model_version).decode(),
                generation=generation,
                image=f"{digest:016x}",
                weights=f"{int(header.digest):016x}",
                kernels=bytes(plan.kernel_sha256).hex(),
                inputs=f"{int(event['inputs_digest']):016x}",
                output=float(event["output"]),
                score=float(event["score"]),
                ensemble=float(event["ensemble"]),
                target_lots=int(event["target_lots"]),
                position_lots=int(event["position_lots"]),
                status=status[int(event["status"])].removeprefix("DECISION_").lower(),
                acts=bool(event["acts"]),
            )
        )
    return found
