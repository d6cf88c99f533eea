"""The verb: look, measure, tell."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from hotpath.config import load_config
from hotpath.doctor import clocks, kernel, memory, network, processors
from hotpath.doctor.findings import Finding, examine
from hotpath.doctor.machine import Machine, this_machine
from hotpath.doctor.measure import Measured, Progress, measure
from hotpath.doctor.measured import measured_findings
from hotpath.doctor.needs import Needs, needs_of

QUICK_SECONDS = 0.1
AREAS = {
    "processors": processors.CHECKS,
    "memory": memory.CHECKS,
    "kernel": kernel.CHECKS,
    "network": network.CHECKS,
    "clocks": clocks.CHECKS,
}


class Diagnosis(Struct, frozen=True):
    """All that the doctor says. `levels` counts findings by level."""

    engine: str  # name of the configured engine; empty without a configuration
    findings: list[Finding]
    measured: Measured | None
    notes: tuple[str, ...]
    levels: dict[str, int]

    @property
    def healthy(self) -> bool:
        """Whether nothing is bad; warnings and what is unknown are no illness."""
        return not self.levels["bad"]


def look(machine: Machine, needs: Needs) -> list[Finding]:
    """Every check that only reads."""
    return [finding for area, checks in AREAS.items() for finding in examine(area, checks, machine, needs)]


def diagnose(config_path: Path | None, *, seconds: float, progress: Progress = lambda what: None) -> Diagnosis:
    """Examine this machine for the engine of a configuration, or for the default one. Raises ConfigError."""
    config = load_config(config_path) if config_path else None
    machine = this_machine()
    needs = needs_of(config, cpus=machine.cpus)
    findings = look(machine, needs)
    measured = measure(machine, machine.cpus, seconds=seconds, progress=progress)
    findings += measured_findings(measured, needs)
    levels = {level: sum(each.level == level for each in findings) for level in ("ok", "warn", "bad", "unknown")}
    return Diagnosis(config.engine.name if config else "", findings, measured, needs.notes, levels)
