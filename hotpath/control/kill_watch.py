"""What the supervisor does about kills: hears them from every side, latches each, and sees that they take effect.

SIGUSR1 to the supervisor            the word is stored in the handler, before anything else happens
the file ENGINE.kill in state_dir    looked for every round (50 ms), and by the gateway's own process as often
the word in memory, by whoever       latched here, should its killer not have come to it
not effective in kill_escalate_ms    fence, end the gateway's process, and with it its socket: effective by that
"""

from __future__ import annotations

import mmap
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ffi import ffi, lib
from hotpath.children import Child
from hotpath.control.paths import drop_path, intents_path
from hotpath.engine import EngineMemory
from hotpath.latch import read_drop, read_latch, set_latch


class KillWatch:
    """Looks at the kill words of one run, for its supervisor. `check` returns what people should know."""

    def __init__(self, memory: EngineMemory) -> None:
        config = memory.spec.config
        self._memory = memory
        self._drop, self._intents = drop_path(config), intents_path(config)
        self._escalate_seconds = config.gateway.kill_escalate_ms / 1000
        self._signals = self._signals_seen = 0
        self._known_epoch = int(memory.control.kill_epoch)  # kills of which the latch knows, and the one at the start
        self._first_epoch = self._known_epoch
        self._pending_epoch = 0
        self._dropped = False
        self._since = 0.0  # monotonic seconds, of the kill that is not yet effective
        self._escalated_epoch = 0

    def by_signal(self) -> None:
        """Called by a signal's handler: the word first, the rest in the next round."""
        lib.control_kill(self._memory.control)
        self._signals += 1

    @property
    def latched(self) -> bool:
        """Whether somebody killed since the run began, or a kill file lies there."""
        return self._dropped or int(self._memory.control.kill_epoch) != self._first_epoch

    def knows(self, epoch: int) -> None:
        """The supervisor itself killed, and has latched what there is to latch."""
        self._known_epoch = max(self._known_epoch, epoch)

    def check(self, children: list[Child], latch: Path) -> list[str]:
        """One round: files, words, effect."""
        if self._memory.spec.lockstep:
            return []
        return [*self._look_for_file(), *self._latch_others(latch), *self._see_to_effect(children)]

    def _look_for_file(self) -> list[str]:
        try:
            lies_there = self._drop.exists()
        except OSError:
            lies_there = False
        news = lies_there and not self._dropped
        self._dropped = lies_there
        if news and not lib.control_killed(self._memory.control):
            lib.control_kill(self._memory.control)
        return []

    def _latch_others(self, latch: Path) -> list[str]:
        """Whoever stored the word may have died before it latched it."""
        epoch = int(self._memory.control.kill_epoch)
        if epoch == self._known_epoch or not lib.control_killed(self._memory.control):
            return []
        told = self._signals != self._signals_seen or self._dropped
        if not told and self._pending_epoch != epoch:  # a killer says why in a moment: it stores the word first
            self._pending_epoch = epoch
            return []
        self._known_epoch = epoch
        reason = self._reason()
        notices = [f"killed (epoch {epoch}): {reason}"]
        standing = read_latch(latch)
        if standing is not None and standing.get("epoch") == epoch:
            return [f"killed (epoch {epoch}): {standing['reason']}"]
        try:
            set_latch(latch, reason=reason, epoch=epoch)
        except OSError as error:  # the kill itself stands in memory
            notices.append(f"not latched, {latch} cannot be written: {error.strerror}")
        return notices

    def _reason(self) -> str:
        if self._signals != self._signals_seen:
            self._signals_seen = self._signals
            return "SIGUSR1"
        dropped = read_drop(self._drop)
        return str(dropped["reason"]) if dropped else "another process stored the word and said nothing"

    # ---- escalation ------------------------------------------------------------------------------

    def _see_to_effect(self, children: list[Child]) -> list[str]:
        control = self._memory.control
        epoch = int(control.kill_epoch)
        if not lib.control_killed(control) or not control.armed_epoch or lib.control_effective(control, epoch):
            self._since = 0.0  # before the first arming nothing can have left
            return []
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since < self._escalate_seconds or self._escalated_epoch == epoch:
            return []
        child = next((each for each in children if "gateway" in each.stages), None)
        if child is None:
            return []
        return self._end_gateway(child, epoch)

    def _end_gateway(self, child: Child, epoch: int) -> list[str]:
        """No answer: it is fenced and ended. Its socket goes with it, reset: what the kernel held is gone."""
        self._escalated_epoch = epoch
        in_flight = int(self._memory.control.in_flight_bytes)
        fence(self._intents)
        what = f"the gateway did not confirm the kill within {self._escalate_seconds:g} s ({in_flight} bytes under way)"
        if not child.kill():
            self._escalated_epoch = 0
            return [f"{what}: process {child.name} was fenced and killed, and has not ended yet"]
        clock = self._memory.segments["clock"].cast("clock_page *")
        lib.control_reset(self._memory.control, epoch, lib.clock_now(clock))
        return [f"{what}: process {child.name} was fenced and ended, its connection reset"]


def fence(path: Path) -> bool:
    """Move the fencing epoch of an intent file on; False when there is no such file."""
    try:
        with path.open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    except (OSError, ValueError):
        return False
    lib.hotpath_fence(ffi.from_buffer(mapped))
    return True


class KillSignal:
    """SIGUSR1 as a kill: ``with KillSignal(watch.by_signal)``. Only a main thread hears signals."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._before: Any = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._kill()

    def __enter__(self) -> KillSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGUSR1, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGUSR1, self._before)
