"""Which engine a command means: a profile of the operator's own file, or an engine of this host.

~/.config/hotctl/config.toml            (or $HOTCTL_CONFIG)
    default = "desk"
    [profiles.desk]                     # on this host
    engine = "hotpath"
    [profiles.live]                     # at another machine, by mutual TLS
    target = "trading1:26500"
    tls_dir = "certs/alice"             # ca.pem, client.pem, client.key
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from hotctl.errors import UnreachableError, UsageError
from hotpath.holders import state_dir_of


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One engine, as an operator reaches it."""

    engine: str = ""  # of this host
    socket: str = ""  # its control socket; empty: where that engine keeps its state
    target: str = ""  # HOST:PORT of mutual TLS
    tls_dir: str = ""  # ca.pem, client.pem, client.key
    server_name: str = ""  # that the server's certificate is for; empty: the host of `target`


class Profiles(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's file."""

    default: str = ""
    profiles: dict[str, Profile] = {}


def profiles_path() -> Path:
    """Where the operator's file is."""
    folder = os.environ.get("XDG_CONFIG_HOME", "") or "~/.config"
    return Path(os.environ.get("HOTCTL_CONFIG", "") or f"{folder}/hotctl/config.toml").expanduser()


def read_profiles() -> Profiles:
    """The operator's file; empty when there is none. Raises UsageError."""
    path = profiles_path()
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), type=Profiles)
    except FileNotFoundError:
        return Profiles()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    folder = path.resolve().parent
    profiles = {
        name: msgspec.structs.replace(each, tls_dir=str(folder / Path(each.tls_dir).expanduser()))
        if each.tls_dir
        else each
        for name, each in found.profiles.items()
    }
    return msgspec.structs.replace(found, profiles=profiles)


def choose(*, profile: str, engine: str) -> Profile:
    """The profile that a command means: the one named, an engine of this host by its name, the default one, or the
    only engine of this host. Raises UsageError, UnreachableError."""
    if engine:
        return Profile(engine=engine)
    known = read_profiles()
    name = profile or os.environ.get("HOTCTL_PROFILE", "") or known.default
    if name:
        if name not in known.profiles:
            there = ", ".join(known.profiles) or "none"
            raise UsageError(f"profile {name}: there is none of that name", next_step=f"{profiles_path()} has: {there}")
        return known.profiles[name]
    return Profile(engine=only_engine())


def only_engine() -> str:
    """The engine that runs on this host. Raises UnreachableError when there is none, UsageError when there are more."""
    from hotpath.segments import list_engines

    found = [each for each in list_engines() if state_dir_of(each) is not None]
    if not found:
        raise UnreachableError(
            "no engine runs on this host", next_step="start one: hotpath run CONFIG, or hotpath demo"
        )
    if len(found) > 1:
        raise UsageError(
            f"there are several engines: {', '.join(found)}", next_step="name one: hotctl --engine NAME ..."
        )
    return found[0]


def socket_of(profile: Profile) -> Path:
    """The control socket of an engine of this host. Raises UnreachableError."""
    if profile.socket:
        return Path(profile.socket)
    state_dir = state_dir_of(profile.engine)
    if state_dir is None:
        raise UnreachableError(
            f"engine {profile.engine} does not run on this host", next_step="hotctl serve CONFIG answers without it"
        )
    listening = read_listening(state_dir, profile.engine)
    return Path(listening.socket) if listening else state_dir / f"{profile.engine}.control.sock"


class Listening(Struct, frozen=True):
    """Where a control process said that it listens."""

    socket: str
    port: int = 0  # of mutual TLS; 0: nowhere
    pid: int = 0


def listening_path(state_dir: Path, engine: str) -> Path:
    """Where it says so."""
    return state_dir / f"{engine}.control.json"


def read_listening(state_dir: Path, engine: str) -> Listening | None:
    """What it says; None when there is nothing to read."""
    try:
        return msgspec.json.decode(listening_path(state_dir, engine).read_bytes(), type=Listening)
    except (OSError, msgspec.MsgspecError):
        return None
