"""LimitsService: limits read, compared and set, put back, tried against a recorded day.

One store changes them (hotpath/limits/desk.py): a version is in force whole or not at all, whoever is killed when. The
versions that stood are read back from the audit log, which holds what this process changed and what it saw others
change.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np

from hotctl.audit import OBSERVED, OUTCOME, AuditLog, Record
from hotctl.server.guard import CALLER
from hotctl.server.hands import Hands
from hotctl.server.mutations import FAILED, Diff, Done, Mutations, Plan
from hotctl.server.overrides import GRANT, WITHDRAW, GrantOverride, WithdrawOverride, wire_of
from hotctl.server.refusal import Refusal, no_such, not_now
from hotctl.v1 import limits_pb2, mutation_pb2
from hotpath.config import Config
from hotpath.errors import LimitsError, SegmentError, StaleVersionError
from hotpath.journal import Journal, journal_root
from hotpath.limits import LimitsCopy
from hotpath.limits.catalogue import Limit, Value, limits_of
from hotpath.limits.desk import LimitsDesk
from hotpath.limits_log import RING as CHANGES
from hotpath.spawn import module_command, module_environment

SETTINGS_MAX = 100
VERSIONS_MAX = 1000
REPLAY_SECONDS = 600.0
SET, REVERT = "LimitsService/SetLimits", "LimitsService/RevertLimits"
# Of these a larger value is neither always stricter nor always looser: whoever changes them asks a second person.
EITHER_WAY = frozenset(
    {"window_ms", "participation_window_ms", "breaker_window_ms", "breaker_cooldown_ms", "messages_free"}
)


def limit_of(name: str) -> Limit | None:
    """What a dotted name bounds."""
    kind = name.partition(".")[0].removeprefix("any_")
    try:
        return limits_of(kind).get(name.rpartition(".")[2])
    except KeyError:
        return None


def loosens(name: str, before: Value, after: Value) -> bool:
    """Whether a change lets more through than before, so that a second person must agree."""
    limit = limit_of(name)
    if before == after:
        return False
    if limit is None or limit.name in EITHER_WAY:
        return True
    if limit.bit:
        return bool(before) and not after
    if limit.name == "rearm_epoch":
        return True
    if before is None or after is None:  # off
        return after is None
    return after < before if limit.is_least else after > before


def text_of(value: Value) -> str:
    """As people write it."""
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def value_of(name: str, text: str) -> Value:
    """What people wrote. Raises Refusal."""
    limit = limit_of(name)
    word = text.strip().lower()
    if limit is not None and limit.bit:
        if word in ("yes", "true", "on"):
            return True
        if word in ("no", "false", "off"):
            return False
        raise no_such(f"{name}: yes or no, not {text!r}")
    if word in ("off", "none"):
        return None
    try:
        number = word.replace("_", "").replace(",", "")
        return int(number) if number.lstrip("+-").isdecimal() else float(number)
    except ValueError:
        raise no_such(f"{name}: {text!r} is no number") from None


class LimitsHands:
    """The limits of whatever run there is, and what was last seen of them."""

    def __init__(self, hands: Hands, audit: AuditLog) -> None:
        self.hands = hands
        self._audit = audit
        self._desk: LimitsDesk | None = None
        self._seen: LimitsCopy | None = None
        self._lock = threading.Lock()  # around a change and what is noted of it

    def desk(self) -> LimitsDesk:
        """Raises Refusal when no engine runs."""
        run = self.hands.run()
        if self._desk is None or self._desk.run_epoch != run.run_epoch:
            try:
                self._desk = LimitsDesk(self.hands.engine, state_dir=self.hands.config.engine.state_dir)
            except SegmentError as error:
                raise not_now(str(error)) from None
            self._seen = None
        return self._desk

    def read(self) -> LimitsCopy:
        """Those in force."""
        return self.desk().read()

    def try_change(self, based_on: int, edit: Callable[[LimitsCopy], None]) -> dict[str, tuple[Value, Value]]:
        """What a change would change, by name. Raises Refusal."""
        try:
            change = self.desk().change(based_on, edit, who="", why="", dry_run=True)
        except StaleVersionError as error:
            raise not_now(f"{error}; {error.next_step}") from None
        except LimitsError as error:
            raise no_such(f"{error}{error.next_step and '; '}{error.next_step}") from None
        return {name: (change.before[name], after) for name, after in change.after.items()}

    def change(self, based_on: int, edit: Callable[[LimitsCopy], None], *, who: str, why: str) -> int:
        """Put a change in force; returns the version. Raises StaleVersionError, LimitsError."""
        desk = self.desk()
        with self._lock:
            version = desk.change(based_on, edit, who=who, why=why).version
            self._seen = desk.read()
            return version

    def change_latest(self, edit: Callable[[LimitsCopy], None], *, who: str, why: str) -> int:
        """The same on whatever is in force: for a kill."""
        desk = self.desk()
        with self._lock:
            version = desk.change_latest(edit, who=who, why=why, kills=True).version
            self._seen = desk.read()
            return version

    def settle(self) -> LimitsCopy:
        """What stands once a change that its writer died in is finished."""
        desk = self.desk()
        with self._lock:
            desk.settle()
            self._seen = desk.read()
            return self._seen

    def observe(self) -> None:
        """Write down what others changed since the last look."""
        desk = self.desk()
        with self._lock:
            now = desk.read()
            before, self._seen = self._seen, now
        if before is None or before.version == now.version:
            return
        self._audit.append(
            OBSERVED,
            method=SET,
            reason="changed past this process, or a temporary limit reverted",
            detail={
                "version_before": before.version,
                "version": now.version,
                "run_epoch": desk.run_epoch,
                "changes": changes_of(before.differences(now)),
            },
        )


def changes_of(differences: dict[str, tuple[Value, Value]]) -> list[dict[str, Any]]:
    """As the audit log has them."""
    return [
        {"name": name, "before": text_of(old), "after": text_of(new), "raises": loosens(name, old, new)}
        for name, (old, new) in differences.items()
    ]


def diffs_of(differences: dict[str, tuple[Value, Value]]) -> list[Diff]:
    """As a plan has them."""
    return [Diff(**each) for each in changes_of(differences)]


class Change:
    """What SetLimits, RevertLimits and the switches of strategies have in common: a plan of names and values."""

    def __init__(self, limits: LimitsHands) -> None:
        self.limits = limits

    def plan_of(self, based_on: int, values: dict[str, Value], *, revert_after_s: int = 0) -> Plan:
        """Of setting these values on that version."""
        if not based_on:
            raise no_such("based_on_version: which version have you seen?")
        expires = time.time_ns() + revert_after_s * 1_000_000_000 if revert_after_s else 0
        changes = self.limits.try_change(based_on, _editor(values, expires=expires, who=""))
        detail = f"version {based_on + 1}" if changes else "nothing would change"
        return Plan(
            changes=diffs_of(changes),
            detail=detail + (f", reverts by itself after {revert_after_s} s" if expires else ""),
            token={"based_on": based_on, "values": values, "revert_after_s": revert_after_s},
            extras={"version": based_on},
        )

    def apply_values(self, plan: Plan, *, request_id: str, who: str, why: str) -> Done:
        """Put the plan in force."""
        token = plan.token
        if not plan.changes:
            return Done(detail="nothing to change", extras={"version": token["based_on"]})
        expires = time.time_ns() + token["revert_after_s"] * 1_000_000_000 if token["revert_after_s"] else 0
        edit = _editor(token["values"], expires=expires, who=who)
        version = self.limits.change(token["based_on"], edit, who=f"{who} [{request_id}]", why=why)
        extras = {"version": version, "run_epoch": self.limits.desk().run_epoch}
        return Done(detail=f"version {version} is in force", extras=extras)

    def settle_values(self, plan: Plan) -> Done:
        """From what stands: a version is in force whole or not at all."""
        standing = self.limits.settle()
        values = plan.token["values"]
        extras = {"version": standing.version, "run_epoch": self.limits.desk().run_epoch}
        if standing.version > plan.token["based_on"] and all(standing.get(n) == v for n, v in values.items()):
            return Done(detail=f"version {standing.version} is in force", extras=extras)
        return Done(outcome=FAILED, detail=f"version {standing.version} stands, without it", extras=extras)


def _editor(values: dict[str, Value], *, expires: int, who: str) -> Callable[[LimitsCopy], None]:
    def edit(copy: LimitsCopy) -> None:
        for name, value in values.items():
            if expires:
                copy.set_for_a_time(name, value, expires_time_ns=expires, who=who)
            else:
                copy.set(name, value)

    return edit


class SetLimits(Change):
    """Some limits, all of them or none."""

    def plan(self, request: Any) -> Plan:
        if not 0 < len(request.settings) <= SETTINGS_MAX:
            raise no_such(f"settings: 1 to {SETTINGS_MAX}")
        if request.against_day and not request.mutation.dry_run:
            raise no_such("against_day: only with dry_run")
        values = {each.name: value_of(each.name, each.value) for each in request.settings}
        return self.plan_of(request.based_on_version, values, revert_after_s=request.revert_after_s)

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.apply_values(plan, request_id=request_id, who=who, why=request.mutation.reason)

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.settle_values(plan)


class RevertLimits(Change):
    """The values of an earlier version of this run, as a new version."""

    def __init__(self, limits: LimitsHands, versions: Callable[[], list[Any]]) -> None:
        super().__init__(limits)
        self._versions = versions

    def plan(self, request: Any) -> Plan:
        copy = self.limits.read()
        if not 0 < request.to_version < copy.version:
            raise no_such(f"to_version: before {copy.version}, which is in force")
        values: dict[str, Value] = {}
        standing = copy.version
        for each in self._versions():
            if each.version > standing or standing <= request.to_version:
                continue
            if each.version != standing:
                raise not_now(f"version {standing} came into force unseen: what it changed is not known here")
            for change in each.changes:
                if change.name == "override":  # of one order, not of the limits
                    continue
                values[change.name] = value_of(change.name, change.before)
            standing = each.before
        if standing != request.to_version:
            raise not_now(f"the way back to version {request.to_version} is not known here: it ends at {standing}")
        return self.plan_of(request.based_on_version, values)

    def apply(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.apply_values(plan, request_id=request_id, who=who, why=request.mutation.reason)

    def settle(self, request: Any, plan: Plan, *, request_id: str, who: str) -> Done:
        return self.settle_values(plan)


class Version(msgspec.Struct):
    """One version that stood."""

    version: int
    before: int
    time_ns: int
    who: str
    why: str
    changes: list[Diff]


def versions_of(records: Iterable[Record], run_epoch: int) -> list[Version]:
    """The versions of a run that the audit log tells of, newest first."""
    found: list[Version] = []
    for record in records:
        detail = record.detail
        if "version" not in detail or detail.get("run_epoch") != run_epoch or not detail.get("changes"):
            continue
        if record.kind == OUTCOME and detail.get("outcome") not in ("applied", "partial"):
            continue
        changes = [Diff(**each) for each in detail["changes"]]
        before = int(detail.get("version_before", detail["version"] - 1))
        who = record.identity or "somebody past the control process"
        found.append(Version(int(detail["version"]), before, record.time_ns, who, record.reason, changes))
    return found[::-1]


class LimitsService:
    """As proto/hotctl/v1/limits.proto says."""

    def __init__(self, limits: LimitsHands, mutations: Mutations) -> None:
        self._limits = limits
        self._mutations = mutations
        mutations.actions |= {
            SET: SetLimits(limits),
            REVERT: RevertLimits(limits, self._versions),
            GRANT: GrantOverride(limits),
            WITHDRAW: WithdrawOverride(limits),
        }

    def _versions(self) -> list[Version]:
        return versions_of(self._mutations.audit.records(), self._limits.desk().run_epoch)

    def ListLimits(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        copy = self._limits.read()
        prefix = request.prefix
        scopes = [each for each in copy.scopes() if each.startswith(prefix) or prefix.startswith(each)]
        found = []
        for name, value in copy.values(scopes).items():
            limit = limit_of(name)
            if not name.startswith(prefix) or limit is None:
                continue
            found.append(limits_pb2.Limit(name=name, value=text_of(value), unit=limit.unit, meaning=limit.meaning))
        return limits_pb2.ListLimitsResponse(version=copy.version, limits=found)

    def SetLimits(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        response = self._mutations.call(SET, request, CALLER.get())
        if request.mutation.dry_run and request.against_day:
            values = {each.name: each.value for each in request.settings}
            described = against(self._limits.hands.config, request.against_day, values)
            response.differences.extend(limits_pb2.DifferentDecision(description=each) for each in described)
            if changed := changed_that_day(day_folder(self._limits.hands.config, request.against_day)):
                response.receipt.detail += f"; {changed} versions came into force in that run: both sides stand under "
                response.receipt.detail += "the limits that it began with"
        return response

    def RevertLimits(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call(REVERT, request, CALLER.get())

    def ListOverrides(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        now = time.time_ns()
        out = [wire_of(each) for each in self._limits.read().tokens() if each.expires_time_ns > now]
        return limits_pb2.ListOverridesResponse(overrides=out)

    def GrantOverride(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call(GRANT, request, CALLER.get())

    def WithdrawOverride(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._mutations.call(WITHDRAW, request, CALLER.get())

    def ListLimitVersions(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        most = min(request.count_max or 100, VERSIONS_MAX)
        return limits_pb2.ListLimitVersionsResponse(
            versions=[
                limits_pb2.LimitVersion(
                    version=each.version,
                    time_ns=each.time_ns,
                    who=each.who,
                    why=each.why,
                    changes=[
                        mutation_pb2.Change(name=one.name, before=one.before, after=one.after, raises=one.raises)
                        for one in each.changes
                    ],
                )
                for each in self._versions()[:most]
            ]
        )


# ---- against a recorded day -----------------------------------------------------------------------


def against(config: Config, day: str, values: dict[str, str]) -> list[str]:
    """Which orders of a recorded day would have been decided otherwise: the day's market runs twice, in a process of
    its own, as `hotpath replay DAY --set ...` does. Raises Refusal."""
    folder = day_folder(config, day)
    settings = [
        word for name, value in values.items() for word in ("--set", f"{setting_of(name)}={json_of(name, value)}")
    ]
    command = module_command("hotpath", "replay", str(folder), *settings, "--json")
    try:
        done = subprocess.run(
            command, env=module_environment(), capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, f"{day}: not through within {REPLAY_SECONDS:g} s") from None
    if done.returncode not in (0, 1):
        raise not_now(f"{day} cannot be replayed: {' | '.join(done.stderr.strip().splitlines()[-3:])}")
    found = msgspec.json.decode(done.stdout)
    comparison = found.get("comparison") or {}
    return [_described(each) for each in comparison.get("differences", [])]


def changed_that_day(folder: Path) -> int:
    """How many versions of the limits came into force after the run had begun."""
    journal = Journal(folder)
    if CHANGES not in journal.rings:
        return 0
    return len(np.unique(journal.events(CHANGES, journal.first(CHANGES))["version"]))


def _described(difference: dict[str, Any]) -> str:
    order = difference["base"] or difference["other"]
    what = f"{order['side']} {order['quantity_lots']:,} {order['symbol']} at {order['price']}"
    why = f" ({difference['limit']})" if difference["limit"] else ""
    return f"{difference['kind']}: order {order['order_id']:,}, {order['type']} {what}: {difference['reason']}{why}"


def day_folder(config: Config, day: str) -> Path:
    """A recorded run of this engine: the folder's name, or its trading day as yyyymmdd. Raises Refusal."""
    root = journal_root(config).resolve()
    runs = sorted(path for path in root.glob("*") if path.is_dir()) if root.is_dir() else []
    named = [path for path in runs if path.name == day or path.name.partition("-")[0] == day.replace("-", "")]
    asked = Path(day)
    if not named and asked.is_absolute() and asked.resolve().is_relative_to(Path(config.engine.state_dir).resolve()):
        named = [asked.resolve()]
    if not named:
        there = ", ".join(path.name for path in runs[-5:]) or "none"
        raise no_such(f"{day}: no recorded run of this engine; the last ones are: {there}")
    return named[-1]


def setting_of(name: str) -> str:
    """The configuration's key of a limit."""
    scope, _, limit = name.rpartition(".")
    kind, _, key = scope.partition(".")
    if kind == "instrument":
        return f"risk.instruments.{key}.{limit}"
    if kind == "firm":
        own = ("gross_value_currency_max", "open_orders_max", "messages_per_second_max", "stale_after_ms")
        return f"risk.{limit}" if limit in own else f"risk.firm.{limit}"
    tables = {"account": f"risk.accounts.{key}", "strategy": f"risk.strategies.{key}", "venue": "risk.venue"}
    return f"{tables.get(kind, f'risk.{kind}')}.{limit}"


def json_of(name: str, text: str) -> str:
    """A limit's value as --set reads it."""
    return msgspec.json.encode(value_of(name, text)).decode()
