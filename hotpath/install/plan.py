"""What an installation consists of: files and links below a prefix, as a table of path and content.

etc/systemd/system/     units, the sandbox, which processes each engine has, drop-ins made from host.toml
etc/sysusers.d/         the user
etc/tmpfiles.d/         whose the configuration is
etc/sysctl.d/           what of the kernel's settings is safe to change while it runs
etc/security/limits.d/  the same limits for people of the group who run engines by hand
etc/hotpath/            NAME.toml, NAME.venue, host.toml: the owner's, made when absent and never again
"""

from __future__ import annotations

import sys
import sysconfig
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from hotpath.config import Config, config_toml, load_config
from hotpath.engine import EngineSpec
from hotpath.errors import ConfigError
from hotpath.runs import with_engine
from hotpath.side_processes import side_processes
from hotpath.spawn import PACKAGE_PARENT
from hotpath.topology import PROCESSES, Placement, cpu_ranges

PROGRAM = "/opt/hotpath/bin/python"  # in the units as they are kept; an installation names its own
SYSTEM = Path("etc/systemd/system")
SETTINGS = Path("etc/hotpath")
STATE = Path("/var/lib/hotpath")
HOST_FILE = SETTINGS / "host.toml"
STRATEGY = "strategy"  # the unit of which each strategy gets a copy under its own name
EVERYWHERE = ("keeper", "drain", "alert")

SYSUSERS = 'u hotpath - "hotpath engines" /nonexistent /usr/sbin/nologin\n'
TMPFILES = """d /etc/hotpath 0750 root hotpath
z /etc/hotpath/*.toml 0640 root hotpath
z /etc/hotpath/*.venue 0600 root root
d /var/lib/hotpath 0700 hotpath hotpath
"""
SYSCTL = """# What disturbs a spinning processor and can be changed while it runs. `hotpath doctor` tells the rest.
kernel.numa_balancing = 0
kernel.nmi_watchdog = 0
vm.stat_interval = 120
vm.swappiness = 1
"""
LIMITS = """@hotpath - memlock unlimited
@hotpath - rtprio 99
"""
HOST = """# Which processors the units may use; after a change: hotpath install
# [cpus]
# path = [2, 3]    # feed, signal, risk, gateway: isolated ones
# beside = [0, 1]  # everything else
"""


class HostCpus(Struct, frozen=True, forbid_unknown_fields=True):
    """[cpus] of host.toml; empty: all."""

    path: list[int] = msgspec.field(default_factory=list)
    beside: list[int] = msgspec.field(default_factory=list)


class HostFile(Struct, frozen=True, forbid_unknown_fields=True):
    """host.toml: what is true of this machine and of no engine alone."""

    cpus: HostCpus = msgspec.field(default_factory=HostCpus)


@dataclass
class Plan:
    """Paths are relative to the prefix."""

    files: dict[Path, str] = field(default_factory=dict)  # ours: made anew when they differ
    links: dict[Path, str] = field(default_factory=dict)
    owners: dict[Path, tuple[str, int]] = field(default_factory=dict)  # the owner's: content and mode when absent


def unit_folder() -> Path:
    """Where this package's units lie. Raises ConfigError."""
    for folder in (PACKAGE_PARENT / "systemd", Path(sysconfig.get_path("data")) / "share/hotpath/systemd"):
        if (folder / "hotpath@.target").exists():
            return folder
    raise ConfigError("this installation of hotpath has no units", next_step="install it from its wheel or a checkout")


def make_plan(prefix: Path, engines: Iterable[Path]) -> Plan:
    """What shall be there. `engines` are configurations to add; those below the prefix are there already.

    Raises ConfigError for a file that is none, or an engine that does not fit its unit.
    """
    plan = Plan()
    for path in sorted(unit_folder().rglob("hotpath*")) + sorted(unit_folder().rglob("*.conf")):
        if path.is_file():
            plan.files[SYSTEM / path.relative_to(unit_folder())] = path.read_text().replace(PROGRAM, sys.executable)
    plan.files[Path("etc/sysusers.d/hotpath.conf")] = SYSUSERS
    plan.files[Path("etc/tmpfiles.d/hotpath.conf")] = TMPFILES
    plan.files[Path("etc/sysctl.d/60-hotpath.conf")] = SYSCTL
    plan.files[Path("etc/security/limits.d/60-hotpath.conf")] = LIMITS
    plan.owners[HOST_FILE] = (HOST, 0o644)
    known = {}
    for path in sorted((prefix / SETTINGS).glob("*.toml")):
        if path.name != HOST_FILE.name:
            known[path.stem] = load_config(path)
            _refuse_misplaced(path, known[path.stem])
    for path in engines:
        config = load_config(path)
        name = config.engine.name
        known.setdefault(name, with_engine(config, state_dir=str(STATE / name)))
        plan.owners[SETTINGS / f"{name}.toml"] = (config_toml(known[name]), 0o640)
    names: set[str] = set()
    for name, config in known.items():
        names |= _add_engine(plan, name, config)
    _add_processors(plan, prefix, names)
    return plan


def processes_of(config: Config) -> tuple[str, ...]:
    """Every process of an engine, each a unit."""
    spec = EngineSpec(config=config, instruments=np.empty(0), placement=Placement((), ()), midnight_ns=0)
    record = Path() if config.journal.enabled else None
    return (*PROCESSES[config.engine.topology], *(each.name for each in side_processes(spec, Path(), record=record)))


def _refuse_misplaced(path: Path, config: Config) -> None:
    """The unit gives an engine one name and one folder; a file that says otherwise would start and fail."""
    wanted = {"engine.name": (config.engine.name, path.stem)}
    wanted["engine.state_dir"] = (config.engine.state_dir, str(STATE / path.stem))
    for key, (found, right) in wanted.items():
        if found != right:
            raise ConfigError(f"{path}: {key}: {found}: its unit gives it {right}", next_step=f'{key} = "{right}"')


def _add_engine(plan: Plan, name: str, config: Config) -> set[str]:
    """Its units, as links of its keeper; returns the processes' names."""
    processes = processes_of(config)
    strategies = [each.name for each in config.strategies]
    template = plan.files[SYSTEM / f"hotpath-{STRATEGY}@.service"]
    for strategy in strategies:
        text = template.replace(f"join {STRATEGY} ", f"join {strategy} ").replace(f"/{STRATEGY}.", f"/{strategy}.")
        plan.files[SYSTEM / f"hotpath-{strategy}@.service"] = text.replace(f"%i: {STRATEGY},", f"%i: {strategy},")
    if strategies:
        after = "".join(f"After=hotpath-{each}@%i.service\n" for each in strategies)
        plan.files[SYSTEM / f"hotpath-drain@{name}.service.d/20-strategies.conf"] = f"[Unit]\n{after}"
    for process in (*processes, "drain"):
        unit = f"hotpath-keeper@{name}.service.wants/hotpath-{process}@{name}.service"
        plan.links[SYSTEM / unit] = f"../hotpath-{process}@.service"
    plan.owners[SETTINGS / f"{name}.venue"] = ("", 0o600)
    return set(processes)


def _add_processors(plan: Plan, prefix: Path, names: set[str]) -> None:
    """Drop-ins from host.toml. The keeper has them all: it places the path's processes. Raises ConfigError."""
    path = prefix / HOST_FILE
    try:
        host = msgspec.convert(tomllib.loads(path.read_text()), HostFile) if path.exists() else HostFile()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: {error}") from None
    on_path = {process for processes in PROCESSES.values() for process in processes}
    for name in sorted(names | set(EVERYWHERE)):
        cpus = host.cpus.path if name in on_path else host.cpus.beside
        if name == "keeper":
            cpus = [*host.cpus.path, *host.cpus.beside]
        if cpus:
            text = f"# Made from /{HOST_FILE} by hotpath install.\n[Service]\nCPUAffinity={cpu_ranges(cpus)}\n"
            plan.files[SYSTEM / f"hotpath-{name}@.service.d/20-host.conf"] = text
