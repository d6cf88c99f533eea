"""[models]: trained models on the live path."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class ModelsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """[models]: room for models in the signal stage, and when one of them has failed."""

    enabled: bool = False  # models may be loaded while the engine runs: hotpath model load
    load: str = ""  # a version's folder (manifest.json, model.onnx): the champion from the first event on
    room_mib: Annotated[int, Meta(ge=1, le=1024)] = 64  # of one generation: champion, challenger and fallback
    latency_budget_ns: Annotated[int, Meta(ge=0, le=10_000_000_000)] = 0  # of one evaluation; 0: it may take any time
    over_budget_max: Annotated[int, Meta(ge=0, le=1024)] = 10  # evaluations over it, of 1024, before it has failed
    nan_max: Annotated[int, Meta(ge=0, le=1024)] = 0  # evaluations without a number, of 1024, the same
    drift_every: Annotated[int, Meta(ge=0, le=1_000_000)] = (
        16  # evaluations to one that is counted; 0: no drift is seen
    )
    drift_evaluations: Annotated[int, Meta(ge=100, le=1_000_000_000)] = 2000  # counted, before drift is judged
    drift_psi_max: Annotated[float, Meta(ge=0, le=100)] = 0.25  # of the score or any input; more: it has failed
