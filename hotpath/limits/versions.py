"""The versions of a recorded run's limits, by name and value: what each changed, and who wanted it and why.

    journal: ring changes --LimitsHistory--> copy of version N, copy of version M --> {name: (before, after)}
    audit log of the control plane --(where it is at hand)--> who, why

The journal is the record of what was in force. The audit log only says more of it, and is read as lines: what it is
worth as evidence, `hotctl audit verify` tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hotpath.errors import JournalError
from hotpath.journal import Journal
from hotpath.limits.catalogue import Value
from hotpath.limits.copy import LimitsCopy
from hotpath.limits_log import RING, LimitsHistory, first_limits

FIRST = 1  # version that a run begins with: its configuration's
DONE = ("applied", "partial")  # outcomes after which a version may stand
LINE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError)

Changes = dict[str, tuple[Value, Value]]


class LimitVersions:
    """What later versions changed, asked for in their order; an earlier one costs the way from the first."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._symbols = [symbol.decode() for symbol in journal.instruments["symbol"].tolist()]
        self._history: LimitsHistory | None = None
        self._standing: LimitsCopy | None = None
        self._last: tuple[int, int, Changes] | None = None

    def changes(self, before: int, version: int) -> Changes:
        """Each name whose value differs between two versions: (before, after).

        Raises JournalError when they are not on record, or not yet: what is still being written is there next time.
        """
        if self._last is None or self._last[:2] != (before, version):
            standing = self._standing
            old = standing if standing is not None and standing.version == before else self._copy(before)
            self._standing = self._copy(version)
            self._last = (before, version, old.differences(self._standing))
        return self._last[2]

    def _copy(self, version: int) -> LimitsCopy:
        journal = self._journal
        if self._history is None or version < self._history.version:
            first = first_limits(journal.run.config.risk, self._symbols)
            self._history = LimitsHistory(first, partial(journal.events, RING), partial(journal.next, RING))
        try:
            return LimitsCopy(self._symbols, bytes(self._history.at(version)))
        except JournalError:
            self._history = self._standing = None  # it may stand in the middle of a version
            raise


class Wish(Struct, frozen=True):
    """Who wanted a version, and why."""

    who: str
    why: str


class _Detail(Struct):
    version: int = 0
    run_epoch: int = 0
    outcome: str = ""
    changes: list[Any] = []


class _Line(Struct):
    """Of the audit log, as far as it matters here."""

    kind: str = ""
    identity: str = ""
    reason: str = ""
    detail: _Detail = msgspec.field(default_factory=_Detail)


def wishes_of(lines: Iterable[bytes], run_epoch: int) -> dict[int, Wish]:
    """By version, those of one run that an audit log tells of; a line that is none of it is passed over."""
    found: dict[int, Wish] = {}
    for line in lines:
        try:
            told = msgspec.json.decode(line, type=_Line)
        except LINE_ERRORS:
            continue
        detail = told.detail
        if not detail.version or detail.run_epoch != run_epoch or not detail.changes:
            continue
        if told.kind == "observed" or (told.kind == "outcome" and detail.outcome in DONE):
            found[detail.version] = Wish(told.identity or "somebody past the control process", told.reason)
    return found


def wishes_for(journal: Journal) -> dict[int, Wish]:
    """From the audit log beside the journal, or in its engine's folder; none where there is neither."""
    engine = journal.run.config.engine
    name = f"{engine.name}.audit.jsonl"
    for path in (journal.folder / name, Path(engine.state_dir) / name):
        try:
            with path.open("rb") as file:
                return wishes_of(file, journal.run.run_epoch)
        except OSError:
            continue
    return {}
