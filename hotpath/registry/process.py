"""The process `registrar`: admits what lands in the inbox, and moves aliases as it is asked to.

    inbox/NAME/               a candidate: a folder with a manifest    --admission.py--> models/ or refused/
    inbox/NAME.request.json   a request: alias, version, who, why      --store.py------> aliases/, log

It is the only writer of a registry. A name that begins with a dot is being written; a folder that changed within the
last second is left until the next look. Nothing on the path waits for it.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from hotpath import host
from hotpath.config import Config
from hotpath.config_registry import RegistryConfig
from hotpath.errors import HotpathError, StageError
from hotpath.holders import hold
from hotpath.power_loss import write_durably
from hotpath.registry.admission import admit
from hotpath.registry.errors import RefusedError
from hotpath.registry.log import Identity
from hotpath.registry.store import Registry, this_user
from hotpath.run_file import RunFile
from hotpath.topology import Placement

REQUEST_SUFFIX = ".request.json"
REFUSAL_FILE = "refusal.json"
REPORT = "an error of admission itself: report it, with the folder in refused/"
SETTLED_SECONDS = 1.0
REQUEST_BYTES_MAX = 1 << 16
POLL_SECONDS = 0.05
NICE = 10
Tell = Callable[[str], None]


class AliasRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator asks for. An empty version takes the alias away; "champion" is the one that trades."""

    model: str
    alias: str
    version: str
    who: Identity
    reason: Annotated[str, Meta(min_length=1, max_length=400)]


class Refusal(Struct, frozen=True):
    """refusal.json."""

    gate: str
    found: str
    next_step: str
    time: str


def registry_folder(config: Config) -> Path:
    """Where an engine's registry is."""
    named = config.registry.folder
    return Path(named) if named else Path(config.engine.state_dir) / f"{config.engine.name}.registry"


def ask(registry: Registry, request: AliasRequest) -> Path:
    """Leave a request in the inbox; the registrar takes the file away when it has answered in the log."""
    target = registry.inbox / f"{request.model}-{os.getpid()}-{time.time_ns()}{REQUEST_SUFFIX}"
    half = target.with_name(f".{target.name}")
    write_durably(half, msgspec.json.encode(request))
    os.rename(half, target)
    return target


class Registrar:
    """One registry's, and its only one: raises HeldError while another process is it."""

    def __init__(
        self, registry: Registry, config: RegistryConfig, *, native: Sequence[str] = (), tell: Tell = lambda text: None
    ) -> None:
        self.registry, self.config, self.native, self.tell = registry, config, native, tell
        self.who = Identity(f"{this_user()}@{platform.node()}", "registrar")
        self._hold = hold(
            registry.folder / "registrar.lock",
            f"the registry {registry.folder}",
            next_step="that one answers what lies in the inbox; stop it first, if it shall be this one",
        )
        for text in registry.settle():
            tell(text)

    def close(self) -> None:
        """Let another one be it."""
        self._hold.release()

    def look(self, *, settled_seconds: float = SETTLED_SECONDS) -> int:
        """Take everything that waits; returns how many were answered."""
        answered = 0
        for path in sorted(self.registry.inbox.iterdir()):
            if path.name.startswith("."):
                continue
            if path.name.endswith(REQUEST_SUFFIX):
                self._obey(path)
            elif path.is_dir() and not path.is_symlink() and not _settled(path, settled_seconds):
                continue
            else:
                self._judge(path)
            answered += 1
        return answered

    def _judge(self, candidate: Path) -> None:
        try:
            name, version = admit(self.registry, candidate, self.config, self.who, native=self.native)
        except RefusedError as refused:
            self._refuse(candidate, refused)
            return
        except Exception as error:  # whatever a candidate brings about, those behind it shall have their turn
            self._refuse(
                candidate, RefusedError("internal", f"{type(error).__name__}: {error}"[:400], next_step=REPORT)
            )
            return
        _remove(candidate)
        self.tell(f"admitted {name} {version}")

    def _refuse(self, candidate: Path, refused: RefusedError) -> None:
        kept = self.registry.refused / f"{candidate.name[:100]}-{time.time_ns()}"
        kept.mkdir()
        if candidate.is_dir() and not candidate.is_symlink():
            os.rename(candidate, kept / "candidate")
        else:
            _remove(candidate)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        refusal = Refusal(refused.gate, refused.found, refused.next_step, now)
        (kept / REFUSAL_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(refusal), indent=1))
        shown = candidate.name[:80]
        self.registry.log_refusal(shown, "", self.who, gate=refused.gate, reason=refused.found)
        self.tell(f"{shown}: {refused}" + (f" ({refused.next_step})" if refused.next_step else ""))

    def _obey(self, path: Path) -> None:
        """Do what a request asks for, or log why not."""
        try:
            data = path.read_bytes()[:REQUEST_BYTES_MAX] if path.is_file() and not path.is_symlink() else b""
            request = msgspec.json.decode(data, type=AliasRequest)
            self.registry.set_alias(request.model, request.alias, request.version, request.who, reason=request.reason)
            self.tell(f"{request.model} {request.alias}: {request.version or 'none'} ({request.who.user})")
        except (OSError, msgspec.MsgspecError, HotpathError) as error:
            self.registry.log_refusal(path.name[:80], "", self.who, gate="request", reason=str(error))
            self.tell(f"{path.name[:80]}: {error}")
        _remove(path)


def _settled(folder: Path, seconds: float) -> bool:
    """Whether nothing in it changed for a while: somebody may still be copying."""
    try:
        newest = max([folder.stat().st_mtime, *(each.lstat().st_mtime for each in folder.iterdir())])
    except OSError:
        return False
    return time.time() - newest >= seconds


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def say(text: str) -> None:
    """To the log of the process."""
    print(f"registrar: {text}", file=sys.stderr, flush=True)


_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


def watch(registrar: Registrar, *, interval_ms: int) -> None:
    """Look at the inbox until SIGTERM or SIGINT."""
    due = 0.0
    while not _told_to_stop:
        if time.monotonic() >= due:
            registrar.look()
            due = time.monotonic() + interval_ms / 1000
        time.sleep(POLL_SECONDS)


def run_registrar(run_path: Path) -> None:
    """Beside an engine, until it is told to stop. It has no page: an admission may take longer than a heartbeat."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to answer
    signal.signal(signal.SIGTERM, _stop)
    host.die_with_parent()
    host.set_thread_name("registrar")
    try:
        run = msgspec.json.decode(run_path.read_bytes(), type=RunFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise StageError(f"{run_path}: no run can be read from it: {error}") from None
    host.stand_aside(Placement(run.places, ()), nice=NICE)
    registry = Registry.create(registry_folder(run.config))
    native = [run.config.signal.native]
    watch(
        Registrar(registry, run.config.registry, native=native, tell=say), interval_ms=run.config.registry.interval_ms
    )


def run_alone(registry: Registry, config: RegistryConfig, *, once: bool, native: Sequence[str] = ()) -> int:
    """Without an engine; returns how many were answered, with `once` that is all that waits now."""
    registrar = Registrar(registry, config, native=native, tell=say)
    if once:
        try:
            return registrar.look(settled_seconds=0.0)
        finally:
            registrar.close()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    watch(registrar, interval_ms=config.interval_ms)
    return 0


def main(arguments: list[str]) -> int:
    """Entry point of the process: RUN_FILE."""
    try:
        run_registrar(Path(arguments[0]))
        return 0
    except HotpathError as error:
        say(f"{error} {error.next_step}".strip())
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
