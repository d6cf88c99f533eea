"""The supervisor's eye on models: what failed is told, and drift is found from counts that the path keeps.

    model_health.bin (signal, every n-th evaluation) --population stability--> models_page.trip --> the next turn's plan

PSI = sum over bins of (share now - share of the reference) * ln(share now / share of the reference), of the evaluations
counted since the last look that had enough of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotpath.config_models import ModelsConfig
from hotpath.models.desk import MASK, TRIPS
from hotpath.models.image import describe, plan_of
from hotpath.models.page import ROLES, Deck, Generation, read_slot
from hotpath.segments import Segment

SHARE_MIN = 1e-4  # an empty bin is no infinite surprise
Shares = npt.NDArray[np.float64]


def stability(counts: npt.NDArray[Any], reference: npt.NDArray[Any]) -> Shares:
    """PSI of each row of counts against its row of shares; 0 where a reference is empty."""
    total = counts.sum(axis=1, keepdims=True)
    known = (reference.sum(axis=1) > 0) & (total[:, 0] > 0)
    now = np.maximum(counts / np.maximum(total, 1), SHARE_MIN)
    then = np.maximum(reference, SHARE_MIN)
    psi = ((now - then) * np.log(now / then)).sum(axis=1)
    return np.where(known, psi, 0.0)


class ModelWatch:
    """Of one running engine."""

    def __init__(self, page: Segment, watch: Segment, config: ModelsConfig) -> None:
        self._page, self._config = page, config
        self._watch = watch.cast("models_watch *")
        self._told = 0  # generation, with the roles whose failure was told
        self._generation = Generation(Deck())
        self._counted: dict[int, npt.NDArray[np.int64]] = {}  # by role, at the last judgement
        self.psi: dict[int, Shares] = {}  # by role, as last judged

    def check(self) -> list[str]:
        """Judge drift where there is enough to judge; what people should know since the last look."""
        standing = int(self._watch.generation)
        if standing & MASK != self._generation.deck.generation:
            self._begin(standing & MASK)
        found = self._judge(standing) if standing & MASK else []
        failed = (standing & ~self._told) >> lib.MODEL_TRIP_SHIFT
        for role in range(lib.MODEL_ROLES):
            if failed >> role & 1:
                found.append(self._failure(role))
        self._told |= standing & ~MASK
        return found

    def _begin(self, generation: int) -> None:
        if not generation:
            return
        found = read_slot(self._page, generation)
        if found is not None:  # else newer ones have come since, and are looked at next time
            before = self._generation.deck.digests
            self._generation, self._told = found, generation
            for role, digest in enumerate(found.deck.digests):
                if digest != before[role]:
                    self._counted.pop(role, None)
                    self.psi.pop(role, None)

    def _failure(self, role: int) -> str:
        digest = self._generation.deck.digests[role]
        name = describe(self._generation.images[digest]) if digest in self._generation.images else "a model"
        cause = TRIPS[int(self._watch.trip_cause[role])]
        return f"models: the {ROLES[role]} {name} failed ({cause}); {self._instead(role)}"

    def _instead(self, role: int) -> str:
        if role == lib.MODEL_CHALLENGER:
            return "it is asked no more"
        if role == lib.MODEL_CHAMPION and self._generation.deck.digests[lib.MODEL_FALLBACK]:
            return "the fallback is asked in its place"
        return "nobody takes its place: what is held is closed"

    def _judge(self, standing: int) -> list[str]:
        if not self._config.drift_every or standing & MASK != self._generation.deck.generation:
            return []
        drifted = 0
        for role, digest in enumerate(self._generation.deck.digests):
            image = self._generation.images.get(digest)
            if image is None or standing >> lib.MODEL_TRIP_SHIFT >> role & 1:
                continue
            plan = plan_of(image)
            psi = self._psi_of(role, plan) if plan.drift_columns else None
            if psi is not None and psi.max(initial=0.0) > self._config.drift_psi_max:
                drifted |= 1 << role
        if not drifted:
            return []
        page = self._page.cast("models_page *")
        page.trip = (standing & MASK) | drifted << lib.MODEL_TRIP_SHIFT
        return [
            f"models: the {ROLES[role]}'s {self._column(role)} has drifted: PSI {self.psi[role].max():.2f}"
            for role in range(lib.MODEL_ROLES)
            if drifted >> role & 1
        ]

    def _column(self, role: int) -> str:
        index = int(self.psi[role].argmax())
        count = int(plan_of(self._generation.images[self._generation.deck.digests[role]]).column_count)
        return f"input {index}" if index < count else "score"

    def _psi_of(self, role: int, plan: Any) -> Shares | None:
        """Of what was counted since the last time; None while it is too little."""
        columns = int(plan.drift_columns)
        now = np.array([list(self._watch.health[role].bin[index]) for index in range(columns)], np.int64)
        counted = now - self._counted.get(role, np.zeros_like(now))
        if (counted < 0).any():  # begun anew
            counted = now
        if int(counted[-1].sum()) < self._config.drift_evaluations:
            return None
        self._counted[role] = now
        reference = np.array([list(plan.drift_share[index]) for index in range(columns)])
        self.psi[role] = stability(counted, reference)
        return self.psi[role]
