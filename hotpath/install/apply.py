"""Compares a plan with what is there, and makes it so: whole files or none, and nothing that people changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import msgspec
from msgspec import Struct

import hotpath
from hotpath.errors import HeldError, HostError
from hotpath.install.plan import SETTINGS, Plan
from hotpath.segments import process_start_time

MANIFEST = SETTINGS / "installed.json"
FOLDER_MODE, FILE_MODE = 0o755, 0o644
COMMANDS = (
    ("systemd-sysusers", "hotpath.conf"),
    ("systemd-tmpfiles", "--create", "hotpath.conf"),
    ("sysctl", "--quiet", "--load", "/etc/sysctl.d/60-hotpath.conf"),
    ("systemctl", "daemon-reload"),
)
AFTER_REMOVAL = (("systemctl", "daemon-reload"),)
COMMAND_SECONDS = 60


class Manifest(Struct, frozen=True):
    """What was installed: paths relative to the prefix, with the hash of each file, or a link's target."""

    version: str = ""
    files: dict[str, str] = {}
    links: dict[str, str] = {}


class Change(Struct, frozen=True):
    """One difference between what shall be and what is."""

    action: str  # make, change, remove, keep
    path: str
    why: str = ""

    @property
    def open(self) -> bool:
        """Whether an installation would do something about it."""
        return self.action != "keep"


def read_manifest(prefix: Path) -> Manifest:
    """Of the installation that stands there; an empty one where there is none. Raises HostError."""
    path = prefix / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except (OSError, msgspec.MsgspecError) as error:
        raise HostError(f"{path}: cannot be read: {error}") from None


def differences(prefix: Path, plan: Plan) -> list[Change]:
    """What an installation would do, in its order."""
    manifest = read_manifest(prefix)
    changes = []
    for path, text in plan.files.items():
        changes += _difference(prefix, path, text, manifest)
    for path, target in plan.links.items():
        if not os.path.islink(prefix / path):
            changes.append(Change("make", str(path), f"a link to {target}"))
        elif os.readlink(prefix / path) != target:
            changes.append(Change("change", str(path), f"a link to {target}"))
    changes += [Change("make", str(path)) for path in plan.owners if not (prefix / path).exists()]
    planned = {str(path) for path in (*plan.files, *plan.links)}
    changes += _stale(prefix, manifest, planned)
    return changes


def _difference(prefix: Path, path: Path, text: str, manifest: Manifest) -> list[Change]:
    try:
        found = (prefix / path).read_text()
    except FileNotFoundError:
        return [Change("make", str(path))]
    if found == text:
        return []
    if manifest.files.get(str(path)) == digest(found):
        return [Change("change", str(path), f"from version {manifest.version}")]
    return [Change("keep", str(path), "changed by hand: say it in a drop-in, and remove this file")]


def _stale(prefix: Path, manifest: Manifest, planned: set[str]) -> list[Change]:
    """What an earlier installation made and this one would not."""
    changes = []
    for path, known in manifest.files.items():
        if path in planned or not (prefix / path).exists():
            continue
        own = digest((prefix / path).read_text()) == known
        changes.append(Change("remove", path) if own else Change("keep", path, "changed by hand"))
    for path, target in manifest.links.items():
        if path not in planned and os.path.islink(prefix / path) and os.readlink(prefix / path) == target:
            changes.append(Change("remove", path))
    return changes


def install(prefix: Path, plan: Plan) -> list[Change]:
    """Make it so; returns what was done, and what was kept. Raises HostError when the host refuses."""
    changes = differences(prefix, plan)
    texts = {str(path): text for path, text in plan.files.items()}
    links = {str(path): target for path, target in plan.links.items()}
    owners = {str(path): content for path, content in plan.owners.items()}
    try:
        for change in changes:
            path = prefix / change.path
            if change.action == "remove":
                _remove(prefix, path)
            elif change.action == "keep":
                continue
            elif change.path in links:
                _link(path, links[change.path])
            elif change.path in owners:
                _write(path, *owners[change.path])
            else:
                _write(path, texts[change.path], FILE_MODE)
        if any(change.open for change in changes) or not (prefix / MANIFEST).exists():
            kept = {change.path for change in changes if change.action == "keep"}
            hashes = {path: digest(text) for path, text in texts.items() if path not in kept}
            manifest = Manifest(hotpath.__version__, hashes, links)
            _write(prefix / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)).decode() + "\n", FILE_MODE)
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}", next_step="as root, or with another --prefix") from None
    if any(change.open for change in changes):
        _tell_host(prefix, COMMANDS)
    return changes


def uninstall(prefix: Path, *, dry_run: bool = False) -> list[Change]:
    """Take back what was installed; configurations, keys and state stay. Raises HeldError while an engine runs."""
    running = _running(prefix)
    if running:
        raise HeldError(f"engine {running[0]} runs", next_step=f"systemctl stop hotpath@{running[0]}.target")
    changes = _stale(prefix, read_manifest(prefix), set())
    if dry_run:
        return changes
    try:
        for change in changes:
            if change.open:
                _remove(prefix, prefix / change.path)
        (prefix / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}", next_step="as root") from None
    if changes:
        _tell_host(prefix, AFTER_REMOVAL)
    return changes


def _running(prefix: Path) -> list[str]:
    """Engines whose keeper lives."""
    found = []
    for path in sorted((prefix / "run/hotpath").glob("*/keeper.pid")):
        text = path.read_text().strip()
        if text.isdigit() and process_start_time(int(text)) is not None:
            found.append(path.parent.name)
    return found


def digest(text: str) -> str:
    """SHA-256 of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _folder(path: Path) -> None:
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says."""
    _folder(path.parent)
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    os.rename(draft, path)


def _link(path: Path, target: str) -> None:
    _folder(path.parent)
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    os.rename(draft, path)


def _remove(prefix: Path, path: Path) -> None:
    """The file, and folders of ours that it leaves empty."""
    path.unlink(missing_ok=True)
    folder = path.parent
    if folder != prefix and folder.name.startswith("hotpath") and not any(folder.iterdir()):
        folder.rmdir()


def _tell_host(prefix: Path, commands: tuple[tuple[str, ...], ...]) -> None:
    """Below another prefix there is no host to tell. Raises HostError."""
    if prefix != Path("/"):
        return
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"{' '.join(command)}: {error}") from None
        if done.returncode != 0:
            raise HostError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
