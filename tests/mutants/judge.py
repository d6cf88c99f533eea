"""Is a bug in the gate seen? Every scene and story that the tests tell is told to the damaged gate."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.kernel import DamagedKernel, build
from tests.mutants.plant import Mutant
from tests.support.gate_scenes import ScenedGate, scenes
from tests.unit import test_gate_limits as told_by

SCENES = "test_limit_passes_at_its_boundary_and_refuses_one_step_beyond"


def judge(mutant: Mutant | None, folder: Path) -> str | None:
    """What caught it; None when nothing did."""
    try:
        kernel = DamagedKernel(build(folder, mutant))
    except subprocess.CalledProcessError:
        return "the compiler"
    told = sorted(scenes(), key=lambda scene: scene.reason != (mutant.reason if mutant else ""))
    for scene in told:
        try:
            scene.check(kernel=kernel)
        except AssertionError:
            return scene.name
    return _by_tests(kernel)


def _by_tests(kernel: Any) -> str | None:
    """The stories of the unit tests, whose gates are made with another kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScenedGate.__init__, "__kwdefaults__", {"kernel": kernel})
        for name, test in _stories():
            try:
                test()
            except AssertionError:
                return name
    return None


def _stories() -> Iterator[tuple[str, Callable[[], None]]]:
    """Every test but the scenes', once for each of its parameters."""
    for name, test in inspect.getmembers(told_by, inspect.isfunction):
        if name.startswith("test_") and name != SCENES:
            for values in _parameters(test):
                yield name, partial(test, **values)


def _parameters(test: Callable[..., None]) -> list[dict[str, Any]]:
    sets: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = [name.strip() for name in mark.args[0].split(",")]
        rows = [row if len(names) > 1 else (row,) for row in mark.args[1]]
        sets = [{**each, **dict(zip(names, row, strict=True))} for each in sets for row in rows]
    return sets
