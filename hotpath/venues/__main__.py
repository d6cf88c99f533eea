"""``python -m hotpath.venues``: the venue simulator as a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys

import msgspec

from hotpath import host
from hotpath.errors import HotpathError
from hotpath.venues.config import SimulatorConfig, load_simulator_config
from hotpath.venues.simulator import run_simulator


def parse(arguments: list[str]) -> SimulatorConfig:
    """The configuration that the command line asks for. Raises HotpathError or exits with usage."""
    parser = argparse.ArgumentParser(prog="python -m hotpath.venues", description="The venue simulator.")
    parser.add_argument("--config", help="a TOML file of SimulatorConfig")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one key; the value as in JSON, or a bare word"
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process does, which started it")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        stay_with(options.parent)
    config = load_simulator_config(options.config) if options.config else SimulatorConfig()
    values = msgspec.to_builtins(config)
    for assignment in options.set:
        key, _, text = assignment.partition("=")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    try:
        return msgspec.convert(values, SimulatorConfig)
    except msgspec.ValidationError as error:
        parser.error(str(error))


def stay_with(parent: int) -> None:
    """End with the process that started this one; at once, when it is gone already."""
    host.die_with_parent()
    if os.getppid() != parent:
        raise SystemExit(0)


def main() -> int:
    """Exit code of the process."""
    try:
        return run_simulator(parse(sys.argv[1:]))
    except HotpathError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
