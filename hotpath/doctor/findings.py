"""What the doctor says: findings, and the checks that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from hotpath.doctor.machine import Machine, UnreadableError
from hotpath.doctor.needs import Needs

Level = Literal["ok", "warn", "bad", "unknown"]


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    `effect_ns` is a span that was measured on this machine, or that a setting states; None where neither is so.
    `fix` holds commands, each as it is typed; `advice` says in words what no command can do.
    """

    area: str
    name: str
    level: Level
    found: str
    cause: str = ""  # why this is so, or why it matters
    effect: str = ""  # on the path
    effect_ns: int | None = None
    fix: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a check returns: a finding without its place."""

    level: Level
    found: str
    cause: str = ""
    effect: str = ""
    effect_ns: int | None = None
    fix: tuple[str, ...] = ()
    advice: str = ""


Check = Callable[[Machine, Needs], Verdict]


def examine(area: str, checks: Iterable[tuple[str, Check]], machine: Machine, needs: Needs) -> list[Finding]:
    """One finding a check, in order. A check that cannot read what it needs is unknown, with the reason."""
    findings = []
    for name, check in checks:
        try:
            verdict = check(machine, needs)
        except UnreadableError as error:
            verdict = Verdict("unknown", str(error))
        except (ValueError, IndexError) as error:
            verdict = Verdict("unknown", f"the kernel's answer is of another form: {error}")
        findings.append(
            Finding(
                area,
                name,
                verdict.level,
                verdict.found,
                cause=verdict.cause,
                effect=verdict.effect,
                effect_ns=verdict.effect_ns,
                fix=verdict.fix,
                advice=verdict.advice,
            )
        )
    return findings
