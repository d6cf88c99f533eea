"""The registry's folder: versions that never change, aliases that are replaced whole, the log, the inbox.

    DIR/models/NAME/VERSION/      manifest.json, model.onnx, model.blob, golden_*.npy, admission.json, report.html
    DIR/models/NAME/aliases/champion.json      {"version": ..., "sequence": of the log's line that moved it}
    DIR/log.jsonl                 every change, chained (log.py)
    DIR/inbox/                    candidates and requests, for the registrar alone to take
    DIR/refused/                  candidates that did not pass, each with refusal.json

Readers need no lock: a version appears whole by one rename, an alias likewise. Writers hold DIR/lock. VERSION begins
the SHA-256 of its manifest.json, which holds those of the other files: `verify` needs nothing else.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from hotpath.power_loss import sync_folder, write_durably
from hotpath.registry import log
from hotpath.registry.errors import RegistryError, UnknownModelError
from hotpath.registry.log import Entry, Identity
from hotpath.registry.manifest import BLOB_FILE, MANIFEST_FILE, VERSION_DIGITS, Manifest, decode_manifest, version_of

Alias = Literal["champion", "challenger", "shadow"]
ALIASES: tuple[str, ...] = get_args(Alias)
ADMISSION_FILE = "admission.json"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
VERSION = re.compile(rf"[0-9a-f]{{{VERSION_DIGITS}}}")
READ_ONLY, FOLDER_READ_ONLY = 0o444, 0o555


class AliasFile(Struct, frozen=True):
    """Where an alias points; `sequence` is the line of the log that says who moved it there."""

    version: str
    sequence: int


class Latencies(Struct, frozen=True):
    """One executor's, measured at admission: one row at a time."""

    p50_ns: int
    p99_ns: int
    cold_ns: int


class Admission(Struct, frozen=True):
    """admission.json: what was found when the version was admitted, on which host."""

    executor: str
    blob_sha256: str  # empty: the native executor does not run it
    latency: dict[str, Latencies]
    worst_difference: float
    signed_by: str  # fingerprint of the key; empty: not signed, or by none that is known
    sandbox: str
    host: str
    notes: list[str]


class Registry:
    """One folder. Raises RegistryError when it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models_folder, self.inbox = folder / "models", folder / "inbox"
        self.refused, self.staging = folder / "refused", folder / ".staging"
        self.log_path = folder / log.LOG_FILE
        if not self.models_folder.is_dir() or not self.inbox.is_dir():
            raise RegistryError(
                f"{folder}: holds no registry", next_step="make one: hotpath registrar --folder DIR --once"
            )

    @classmethod
    def create(cls, folder: Path) -> Registry:
        """The registry at `folder`, made where there is none."""
        for name in ("models", "inbox", "refused", ".staging"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return cls(folder)

    # ---- reading -----------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Models that have a version."""
        return sorted(each.name for each in self.models_folder.iterdir() if NAME.fullmatch(each.name))

    def versions(self, name: str) -> list[str]:
        """In the order of their admission. Raises UnknownModelError."""
        folder = self._model_folder(name)
        found = {each.name for each in folder.iterdir() if VERSION.fullmatch(each.name)}
        admitted = [each.version for each in self.entries() if each.what == "admitted" and each.model == name]
        order = {version: place for place, version in enumerate(admitted)}
        return sorted(found, key=lambda version: (order.get(version, len(order)), version))

    def _model_folder(self, name: str) -> Path:
        folder = self.models_folder / name
        if not NAME.fullmatch(name) or not folder.is_dir():
            import difflib

            near = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.4) or self.names()[:6]
            raise UnknownModelError(f"no model is called {name}", next_step=f"there is {', '.join(near) or 'none yet'}")
        return folder

    def version_folder(self, name: str, version: str) -> Path:
        """Where a version's files are. `version` may be an alias, or the beginning of one version alone."""
        return self._model_folder(name) / self.resolve(name, version)

    def resolve(self, name: str, version: str) -> str:
        """The whole version that an alias or a beginning stands for. Raises UnknownModelError."""
        if version in ALIASES:
            found = self.alias(name, version)
            if found is None:
                raise UnknownModelError(f"{name} has no {version}")
            return found.version
        matching = [each for each in self.versions(name) if each.startswith(version)]
        if len(matching) != 1 or not version:
            what = "several versions begin" if matching else "no version begins"
            raise UnknownModelError(f"{name}: {what} with {version!r}", next_step="hotlab list shows them")
        return matching[0]

    def manifest(self, name: str, version: str) -> Manifest:
        """Of a version. Raises RegistryError when it was changed."""
        whole = self.resolve(name, version)
        path = self._model_folder(name) / whole / MANIFEST_FILE
        data = path.read_bytes()
        if version_of(data) != whole:
            raise RegistryError(
                f"{path}: was changed: it is no longer what its version says", next_step="hotlab verify"
            )
        return decode_manifest(data, where=str(path))

    def admission(self, name: str, version: str) -> Admission:
        """What was found when it was admitted."""
        path = self.version_folder(name, version) / ADMISSION_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=Admission)
        except (OSError, msgspec.MsgspecError) as error:
            raise RegistryError(f"{path}: cannot be read: {error}") from None

    def alias(self, name: str, alias: str) -> AliasFile | None:
        """Where an alias points; None: nowhere."""
        path = self._model_folder(name) / "aliases" / f"{alias}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=AliasFile)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise RegistryError(f"{path}: cannot be read: {error}", next_step="hotlab verify tells the rest") from None

    def entries(self) -> list[Entry]:
        """The log, as far as it holds."""
        return log.read_log(self.log_path)[0]

    def verify(self) -> list[str]:
        """What is not as the registry says: files, versions, aliases, log. Empty: all is."""
        entries, trouble = log.read_log(self.log_path)
        wrong = [f"{log.LOG_FILE}: {trouble}"] if trouble else []
        admitted = {(each.model, each.version) for each in entries if each.what == "admitted"}
        last: dict[tuple[str, str], Entry] = {(e.model, e.alias): e for e in entries if e.what == "alias"}
        for name in self.names():
            for version in self.versions(name):
                if (name, version) not in admitted:
                    wrong.append(f"{name} {version}: was put there, not admitted: the log does not know it")
                wrong += self._verify_version(name, version)
            for alias in ALIASES:
                found, logged = self.alias(name, alias), last.get((name, alias))
                if (found.version if found else "") != (logged.version if logged else ""):
                    wrong.append(f"{name} {alias}: points elsewhere than the log's last line about it says")
        missing = admitted - {(name, version) for name in self.names() for version in self.versions(name)}
        return wrong + [f"{name} {version}: was admitted and is gone" for name, version in sorted(missing)]

    def _verify_version(self, name: str, version: str) -> list[str]:
        folder = self.models_folder / name / version
        try:
            manifest, admission = self.manifest(name, version), self.admission(name, version)
        except (OSError, RegistryError) as error:
            return [f"{name} {version}: {error}"]
        expected = {file: record.sha256 for file, record in manifest.files.items()}
        if admission.blob_sha256:
            expected[BLOB_FILE] = admission.blob_sha256
        return [
            f"{name} {version}: {file}: {'is missing' if found is None else 'was changed'}"
            for file, sha256 in expected.items()
            if (found := _sha256(folder / file)) != sha256
        ]

    # ---- writing: the registrar's ------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among writers."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def install(self, staged: Path, name: str, version: str, who: Identity) -> Path:
        """Put a staged folder in its place for ever, and log it. Idempotent: a version is what its name says."""
        target = self.models_folder / name / version
        with self.locked():
            known = any(e.what == "admitted" and (e.model, e.version) == (name, version) for e in self.entries())
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                for path in staged.iterdir():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
                    path.chmod(READ_ONLY)
                sync_folder(staged)
                os.rename(staged, target)
                target.chmod(FOLDER_READ_ONLY)
                sync_folder(target.parent)
            if not known:
                log.append(self.log_path, _entry("admitted", who, model=name, version=version))
        return target

    def set_alias(self, name: str, alias: str, version: str, who: Identity, *, reason: str) -> AliasFile:
        """Move an alias, or with an empty version take it away; logged before it is done.

        Raises RegistryError for an alias that is not there or a reason that is not given.
        """
        if alias not in ALIASES:
            raise RegistryError(f"no alias is called {alias}", next_step=f"there is {', '.join(ALIASES)}")
        if not reason.strip():
            raise RegistryError(f"{name} {alias}: a change of an alias needs a reason")
        whole = self.resolve(name, version) if version else ""
        folder = self._model_folder(name) / "aliases"
        with self.locked():
            before = self.alias(name, alias)
            line = log.append(
                self.log_path,
                _entry(
                    "alias", who, model=name, version=whole, alias=alias, reason=reason,
                    before=before.version if before else "",
                ),
            )  # fmt: skip
            folder.mkdir(exist_ok=True)
            record = AliasFile(whole, line.sequence)
            self._write_alias(folder / f"{alias}.json", record)
        return record

    @staticmethod
    def _write_alias(path: Path, record: AliasFile) -> None:
        if not record.version:
            path.unlink(missing_ok=True)
        else:
            beside = path.with_name(f".{path.name}.half")
            write_durably(beside, msgspec.json.encode(record))
            beside.chmod(0o644)
            os.replace(beside, path)
        sync_folder(path.parent)

    def settle(self) -> list[str]:
        """Finish what a dead registrar began: aliases as the log's last lines say, staged folders away."""
        done = []
        with self.locked():
            for path in self.staging.iterdir():
                shutil.rmtree(path, ignore_errors=True)
            last = {(e.model, e.alias): e for e in self.entries() if e.what == "alias"}
            for (name, alias), entry in last.items():
                found = self.alias(name, alias)
                if (found.version if found else "") != entry.version:
                    folder = self._model_folder(name) / "aliases"
                    folder.mkdir(exist_ok=True)
                    self._write_alias(folder / f"{alias}.json", AliasFile(entry.version, entry.sequence))
                    done.append(f"{name} {alias}: set to {entry.version or 'nothing'}, as the log says")
        return done

    def log_refusal(self, name: str, version: str, who: Identity, *, gate: str, reason: str) -> None:
        """That a candidate was refused."""
        with self.locked():
            log.append(
                self.log_path, _entry("refused", who, model=name, version=version, gate=gate, reason=reason[:400])
            )


def _entry(
    what: str, who: Identity, *, model: str, version: str, alias: str = "", before: str = "", reason: str = "",
    gate: str = "",
) -> Entry:  # fmt: skip
    return Entry(0, "", who, what, model, version, alias, before, reason, gate)


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def this_user() -> str:
    """Who runs this process, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
