"""``hotctl kill --local`` as people type it, at an engine that trades: all of it, and a part."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from ffi import lib
from hotpath.control.paths import latch_path
from hotpath.drill.engine import DrillEngine, drill_config, drill_venue, until
from hotpath.spawn import module_command, module_environment


def typed(*words: str) -> tuple[int, dict[str, Any]]:
    """The command's exit code, and what it told a machine."""
    command = module_command("hotctl", "kill", "--local", *words, "-o", "json")
    done = subprocess.run(command, env=module_environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_part_and_whole_are_killed_with_the_supervisor_stopped(tmp_path: Path) -> None:
    with drill_venue(tmp_path) as (venue, tap):
        name = f"typed{os.getpid()}"
        config = drill_config(name, venue, tap, tmp_path, topology="paired", wait="yield")
        engine = DrillEngine(config, tmp_path, "--arm")
        try:
            engine.wait_trading(tap, orders=10)
            engine.process.send_signal(signal.SIGSTOP)
            code, part = typed("--engine", name, "--strategy", "9", "--instrument", venue.ready["symbols"][0])
            assert (code, part["effective"]) == (0, True), part
            assert not lib.control_killed(engine.control)
            engine.wait_trading(tap, orders=5)
            code, told = typed(name, "--wait", "-m", "enough for today")
            assert code == 0 and told["effective"] and told["latched"], told
            assert told["cancels_outstanding"] == 0 and told["alive"]
            latch = json.loads(latch_path(config).read_text())
            assert latch["reason"] == "enough for today" and latch["epoch"] == told["epoch"] and latch["who"]
            tap.mark()
            engine.process.send_signal(signal.SIGCONT)
            until(lambda: engine.settled(told["epoch"]), "every cancel confirmed")
            engine.end()
            assert tap.late() == []
        finally:
            engine.close()
