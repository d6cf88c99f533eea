"""What people changed at the desk, in a file: it outlives the run, so that a scope that was killed stays killed.

    <state_dir>/<engine>.limits   JSON: the version, each changed limit by name, what reverts by itself, overrides

Written whole beside its place, synced and renamed into it. Each changed limit is kept with the value that it replaced:
where the configuration says something else by the next start, people have thought again, and the configuration stands.
Switches stand until people undo them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct, field

from hotpath.config import Config
from hotpath.errors import LimitsError
from hotpath.limits.catalogue import Value
from hotpath.limits.copy import LimitsCopy, Temporary, Token
from hotpath.limits.page import configured
from hotpath.limits_log import LimitsWriter


class KeptValue(Struct, forbid_unknown_fields=True):
    """A limit that people changed: what it is, what the configuration had, who changed it last, and why."""

    value: Value
    base: Value
    who: str
    why: str
    at_time_ns: int


class KeptLimits(Struct, forbid_unknown_fields=True):
    """The file's content."""

    format: int
    engine: str
    run_epoch: int  # of the run that wrote it, in which `version` counts
    version: int
    values: dict[str, KeptValue] = field(default_factory=dict)
    temporary: list[Temporary] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)

    @property
    def killed_a_scope(self) -> bool:
        """True while a scope is killed."""
        return any(name.endswith(".killed") and kept.value for name, kept in self.values.items())

    def lay_over(self, copy: LimitsCopy) -> list[str]:
        """Give the configuration's limits what people changed. Returns names where the configuration stands."""
        left = []
        for name, kept in self.values.items():
            try:
                if name.rpartition(".")[2] not in SWITCHES and copy.get(name) != kept.base:
                    left.append(name)
                    continue
                copy.set(name, kept.value)
            except LimitsError:  # an instrument that is no longer traded, a limit that is no more
                left.append(name)
        self._lay_temporaries(copy, left)
        return left

    def _lay_temporaries(self, copy: LimitsCopy, left: list[str]) -> None:
        for each in self.temporary:
            try:
                if each.name in left or copy.get(each.name) != each.before:
                    left.append(each.name)
                    continue
                copy.set_for_a_time(each.name, each.value, expires_time_ns=each.expires_time_ns, who=each.who)
            except LimitsError:
                left.append(each.name)
        for token in self.tokens:
            try:
                copy.grant(token)
            except LimitsError:
                left.append(f"override {token.id}")


def lay_over_kept(config: Config, writer: LimitsWriter, symbols: list[str]) -> list[str]:
    """Let a run begin with what people changed in runs before: as its second version of the limits.

    Returns the names that the configuration has changed since: there its word stands. Raises LimitsError.
    """
    kept = read_kept(kept_path(Path(config.engine.state_dir), config.engine.name))
    if kept is None:
        return []
    copy = configured(config.risk, symbols)
    copy.expire(time.time_ns())
    left = kept.lay_over(copy)

    def make(version: int) -> bytearray:
        copy.header.version = version
        copy.header.kill_version = version if kept.killed_a_scope else 0
        copy.seal()
        return copy.memory

    writer.publish(make)
    return left


SWITCHES = ("killed", "paused", "reduce_only", "cancel_only")


def kept_path(state_dir: Path, engine: str) -> Path:
    """Where it lies."""
    return state_dir / f"{engine}.limits"


def read_kept(path: Path) -> KeptLimits | None:
    """The file's content; None where there is none. Raises LimitsError for one that cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptLimits)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise LimitsError(
            f"{path}: what people changed at the desk cannot be read: {error}",
            next_step="see what it says; put it aside to begin with the configuration's limits alone",
        ) from None


def write_kept(path: Path, kept: KeptLimits) -> None:
    """On disk, whole or not at all. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(kept), indent=1))
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
