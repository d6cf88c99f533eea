"""The hands on an engine: its words in shared memory, its files, its supervisor. Each deed is one store."""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc

from ffi import lib
from hotctl.server.refusal import Refusal, not_now
from hotpath import segments
from hotpath.config import Config
from hotpath.control.causes import cause_names
from hotpath.control.requests import Answer, Asker, Condition, Request
from hotpath.errors import SegmentError
from hotpath.latch import latch_path, set_latch
from hotpath.segments import Segment
from hotpath.stat import EngineStat, EngineView
from hotpath.topology import CLOCK_SEGMENT, CONTROL_SEGMENT, page_segment

ANSWER_SECONDS = 5.0  # for a supervisor, which looks every 50 ms unless it restarts a process
EFFECTIVE_SECONDS = 0.05  # that every kill waits for the gateway's word, if nothing longer is wanted


class Run:
    """One run of the engine, as this process sees it."""

    def __init__(self, engine: str) -> None:
        """Raises SegmentError when there is none."""
        self.control_segment = segments.attach(engine, CONTROL_SEGMENT, lib.SEGMENT_CONTROL, writable=True)
        self.run_epoch = self.control_segment.info.run_epoch
        self.gateway: Segment = segments.attach(
            engine, page_segment("gateway"), lib.SEGMENT_STAGE, run_epoch=self.run_epoch
        )
        self.page: Any = self.control_segment.cast("control_page *")
        self._clock = segments.attach(engine, CLOCK_SEGMENT, lib.SEGMENT_CLOCK, run_epoch=self.run_epoch)
        self.clock: Any = self._clock.cast("clock_page *")

    @property
    def open_orders(self) -> int:
        """Open or of unknown fate, as the gateway knows."""
        return int(self.gateway.view("stage_page")[0]["counter"][lib.GATEWAY_OPEN_ORDERS])


class Hands:
    """On whatever run there is."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.engine = config.engine.name
        self.asker = Asker(config)
        self.own_epoch = 0  # the last kill epoch that is accounted for in the audit log
        self.word = threading.Lock()  # around the word and what is noted of it
        self._run: Run | None = None
        self._view: EngineView | None = None
        self._attaching = threading.Lock()
        self._looking = threading.Lock()  # of its own: a look takes milliseconds, and a kill does not wait for one

    def run(self) -> Run:
        """The run that is there. Raises Refusal when there is none."""
        with self._attaching:
            if self._run is not None and self._run.control_segment.info.owner_alive:
                return self._run
            try:
                self._run = Run(self.engine)
            except SegmentError as error:
                self._run = None
                raise not_now(f"engine {self.engine} does not run: {error}") from None
            self.own_epoch = 0
            return self._run

    def beat(self) -> None:
        """Tell the engine that somebody holds it (leases.control_ms)."""
        run = self.run()
        lib.control_beat(run.page, lib.BEAT_CONTROL, lib.clock_now(run.clock))

    def leave(self) -> None:
        """Nobody waits for the next beat: this process leaves in order."""
        if self._run is not None:
            lib.control_beat(self._run.page, lib.BEAT_CONTROL, 0)

    def run_epoch(self) -> int:
        """When the run began; 0 when there is none."""
        try:
            return self.run().run_epoch
        except Refusal:
            return 0

    def snapshot(self) -> EngineStat:
        """One look. Raises Refusal when there is no engine."""
        with self._looking:
            try:
                if self._view is None or self._view.replaced:
                    self._view = EngineView(self.engine)
                return self._view.snapshot()
            except SegmentError as error:
                self._view = None
                raise not_now(f"engine {self.engine} does not run: {error}") from None

    def follow(self) -> None:
        """Keep up with the run's executions, so that a look knows every position. Raises Refusal when there is none."""
        with self._looking:
            try:
                if self._view is None or self._view.replaced:
                    self._view = EngineView(self.engine)
                self._view.follow()
            except SegmentError as error:
                self._view = None
                raise not_now(f"engine {self.engine} does not run: {error}") from None

    # ---- kill --------------------------------------------------------------------------------------

    def kill(self) -> int:
        """Store the word. Returns the epoch."""
        run = self.run()
        with self.word:
            self.own_epoch = int(lib.control_kill(run.page))
            return self.own_epoch

    def latch(self, *, reason: str, epoch: int) -> str:
        """Have it outlive restarts; returns what went wrong, empty when it is on disk."""
        try:
            set_latch(latch_path(self.config), reason=reason, epoch=epoch)
            return ""
        except OSError as error:
            return f"not latched on disk: {error.strerror}"

    def wait_effective(self, epoch: int, *, seconds: float, swept: bool) -> bool:
        """Whether the gateway said within the time that no new order leaves any more and, if `swept`, none is open."""
        run = self.run()
        deadline = time.monotonic() + seconds
        while True:
            if bool(lib.control_effective(run.page, epoch)) and not (swept and run.open_orders):
                return True
            if time.monotonic() >= deadline:
                return bool(lib.control_effective(run.page, epoch))
            time.sleep(0.0005)

    # ---- modes -------------------------------------------------------------------------------------

    def mode(self) -> int:
        """The operator's own word."""
        return int(self.run().page.cause[lib.CAUSE_OPERATOR])

    def set_mode(self, mode: int) -> None:
        """Store the operator's own word."""
        lib.control_cause(self.run().page, lib.CAUSE_OPERATOR, mode)

    def words(self) -> dict[str, int]:
        """Every cause that stands and the mode that it demands, by name."""
        page = self.run().page
        return {name: int(page.cause[index]) for index, name in enumerate(cause_names()) if page.cause[index]}

    # ---- the supervisor ----------------------------------------------------------------------------

    def ask(self, request_id: str, what: str, *, who: str, why: str, kill_epoch: int = 0) -> Answer:
        """Have the supervisor do it. Raises Refusal when it does not answer."""
        request = Request(self.run().run_epoch, what, who=who, why=why, kill_epoch=kill_epoch)
        try:
            answer = self.asker.ask(request_id, request, seconds=ANSWER_SECONDS)
            if answer is None:
                answer = self.asker.end(request_id, seconds=ANSWER_SECONDS)
        except TimeoutError as error:
            raise Refusal(grpc.StatusCode.UNKNOWN, f"{error}: it may have been done") from None
        except OSError as error:
            raise not_now(f"the supervisor cannot be asked: {self.asker.folder}: {error.strerror}") from None
        if answer is None:
            raise not_now(f"the supervisor of {self.engine} did not answer within {ANSWER_SECONDS:g} s")
        return answer

    def answered(self, request_id: str) -> Answer | None:
        """What the supervisor said to an earlier request; one that it has not taken up is withdrawn."""
        try:
            return self.asker.end(request_id, seconds=ANSWER_SECONDS)
        except TimeoutError:
            return None

    def conditions(self) -> list[Condition]:
        """What must hold before the engine may be armed."""
        return self.ask(f"check-{time.time_ns()}", "check", who="control", why="").conditions
