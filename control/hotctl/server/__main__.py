"""``python -m hotctl.server RUN_FILE``: the process `control`, as the supervisor starts it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from hotctl.server.process import ControlServer
from hotpath import host
from hotpath.run_file import read_run_file
from hotpath.side_runtime import run_side


def body(run_path: Path) -> None:
    """Serve until the supervisor says that the run is over."""
    host.die_with_parent()
    host.set_thread_name("control")
    _, spec = read_run_file(run_path)
    host.stand_aside(spec.placement)
    record = Path(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
    server = ControlServer(spec.config, record=record)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to answer
    signal.signal(signal.SIGTERM, server.stop_soon)
    try:
        server.start()
        server.serve()
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(run_side("control", body, sys.argv[1:]))
