"""docs/control-matrix.md says what the catalogue says, and names tests that there are."""

from __future__ import annotations

from pathlib import Path

from hotpath.limits import LIMITS
from hotpath.limits.matrix import BASE, PURPOSES, matrix
from tests.support.gate_scenes import scenes
from tests.unit import test_gate_limits

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "control-matrix.md"


def test_document_is_what_the_catalogue_makes() -> None:
    assert DOCUMENT.read_text() == matrix(), "python -m hotpath.limits.matrix > docs/control-matrix.md"


def test_every_reason_has_a_purpose_and_a_test() -> None:
    told = {scene.reason for scene in scenes()} | set(test_gate_limits.BASE) | {"safe_mode"}
    reasons = {limit.reason for limit in LIMITS if limit.reason} | {reason for reason, _ in BASE}
    assert reasons <= set(PURPOSES) and reasons <= told, sorted(reasons - told)
