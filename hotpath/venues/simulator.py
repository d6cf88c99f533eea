"""The venue simulator's process: one loop over the market, the feed and the order sessions.

    every tick:  market up to now --> reports to sessions --> packets to the feed --> sleep in select
                                                                                       | wakes at once for
                                                                                       | an order or a request

Venue time starts at the opening and moves with the clock of this machine; nothing else of this machine
enters the market, so one seed publishes the same messages whatever the pace of the loop.
"""

from __future__ import annotations

import gc
import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ffi import lib
from hotpath.errors import VenueError
from hotpath.venues.config import SimulatorConfig, check_simulator_config
from hotpath.venues.faults import Faults
from hotpath.venues.feed import Feed
from hotpath.venues.glimpse import GlimpseServer
from hotpath.venues.market import MARKETS, Market
from hotpath.venues.sessions import SessionServer, wait
from hotpath.venues.tap import Tap

KEEP_ALIVE_NS = 100_000_000  # at the longest
END_OF_SESSION_PACKETS = 3  # UDP may lose one
MILLISECOND_NS = 1_000_000


class Simulator:
    """The simulated venue. Construct, then run; `stop` may be called from a signal handler."""

    def __init__(self, config: SimulatorConfig) -> None:
        check_simulator_config(config)
        self.config = config
        self.tap = Tap(config.tap_path, config.pcap_path)
        self.market: Market = MARKETS[config.market](config)
        self.faults = Faults(config)
        self.desk = self.faults.desk(self.market)
        self.sessions = SessionServer(config, self.desk, self.tap, self.faults.connection)
        self.feed = Feed(config, self.market.publisher, self.tap)
        self.feed.requests = self.faults.requests(self.feed.requests)
        for index, line in enumerate(self.feed.lines):
            line.socket = self.faults.line(line.socket, index=index)
        self.glimpse = GlimpseServer(config, self.market)
        self.control = self._open_control()
        self.began_ns = 0  # this machine's monotonic clock when the market started; 0: not yet
        self._stops = 0
        self._kept_alive_ns = 0
        self._keep_alive_ns = min(KEEP_ALIVE_NS, config.heartbeat_ms * MILLISECOND_NS // 2)

    def _open_control(self) -> socket.socket | None:
        if self.config.control_port < 0:
            return None
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        control.setblocking(False)
        try:
            control.bind(("127.0.0.1", self.config.control_port))
        except OSError as error:
            raise VenueError(f"control port {self.config.control_port}: {error.strerror}") from None
        return control

    def ready(self) -> dict[str, Any]:
        """Where everything is, for whoever started the process."""
        return {
            "event": "ready",
            "session": self.config.session,
            "trading_date": self.config.trading_date,
            "midnight_ns": self.config.midnight_ns,
            "feed_address": self.feed.lines[0].target[0],
            "feed_port": self.feed.lines[0].target[1],
            "feed_b_address": self.feed.lines[1].target[0] if len(self.feed.lines) > 1 else None,
            "feed_b_port": self.feed.lines[1].target[1] if len(self.feed.lines) > 1 else None,
            "retransmission_host": self.config.retransmission_host,
            "retransmission_port": self.feed.retransmission_port,
            "order_host": self.config.order_host,
            "order_port": self.sessions.port,
            "glimpse_host": self.config.glimpse_host,
            "glimpse_port": self.glimpse.port,
            "control_port": self.control.getsockname()[1] if self.control else None,
            "symbols": list(self.market.symbols),
        }

    def summary(self) -> dict[str, Any]:
        """What went in and out."""
        return {
            "event": "summary",
            "messages_out": int(lib.publisher_next_sequence(self.market.publisher)) - 1,
            **self.feed.counts,
            **self.desk.counts,
            **self.sessions.counts,
            **self.glimpse.counts,
            **self.market.counts(),
            "faults": self.faults.counts(),
        }

    def stop(self) -> None:
        """End the session at the next turn; asked again, do not linger."""
        self._stops += 1

    # ---- the loop ----------------------------------------------------------------------------------

    def run(self) -> None:
        """From the opening to the end of the session."""
        self.market.open_day()
        opened_ns = time.monotonic_ns()
        while not self._stops:
            now = time.monotonic_ns()
            if not self.began_ns and self._may_begin(now, opened_ns):
                self.began_ns = now
            caught_up = self._turn(now)
            if caught_up and self._is_over(now):
                break
            self._wait(self.config.tick_us / 1e6 if caught_up else 0.0)
        self._end()

    def _may_begin(self, now_ns: int, opened_ns: int) -> bool:
        if now_ns - opened_ns < self.config.start_after_ms * MILLISECOND_NS:
            return False
        return self.config.start == "now" or self.sessions.counts["logins"] > 0

    def _is_over(self, now_ns: int) -> bool:
        if self.market.finished:
            return True
        return bool(self.began_ns and self.config.duration_s and now_ns - self.began_ns >= self.config.duration_s * 1e9)

    def _venue_time(self, now_ns: int) -> int:
        """Venue time now, as ns since the epoch; at a duration's end exactly that long after the start."""
        elapsed = now_ns - self.began_ns
        if self.config.duration_s:
            elapsed = min(elapsed, int(self.config.duration_s * 1e9))
        if self.config.market == "recording":
            elapsed = int(elapsed * self.config.speed)
        return self.market.start_time_ns() + elapsed + self.faults.ahead_ns

    def _turn(self, now_ns: int) -> bool:
        """Market up to now, then what came of it; False when the market has more to do before now."""
        caught_up = True
        self.faults.turn(self, now_ns)
        if self.began_ns:
            caught_up = self.market.advance(self._venue_time(now_ns))
        self._deliver(now_ns)
        if now_ns - self._kept_alive_ns >= self._keep_alive_ns:
            self._kept_alive_ns = now_ns
            self.sessions.keep_alive(now_ns)
            self.glimpse.keep_alive(now_ns)
            self.feed.keep_alive(now_ns)
            self._deliver(now_ns)  # a dropped client's orders were canceled
        return caught_up

    def _deliver(self, now_ns: int) -> None:
        self.desk.deliver(self.market.take_reports())
        self.sessions.publish(now_ns)
        self.feed.flush(now_ns)

    def _wait(self, timeout_s: float) -> None:
        """Sleep until the next tick, or an order, a request or a command."""
        requests = self.feed.requests.fileno()
        control = self.control.fileno() if self.control else -1
        readers = [requests, *self.sessions.readers(), *self.glimpse.readers()] + ([control] if control >= 0 else [])
        writers = self.sessions.writers() + self.glimpse.writers()
        ready, writable = wait(readers, writers, timeout_s)
        if not ready and not writable:
            return
        now = time.monotonic_ns()
        if self.began_ns:
            self.market.advance(self._venue_time(now))  # an order meets the market as it is now
        for fd in ready:
            if fd == requests:
                self.feed.answer()
            elif fd == control:
                self._obey()
            else:
                self.sessions.ready(fd, now)
                self.glimpse.ready(fd, now)
        for fd in writable:
            self.sessions.writable(fd)
            self.glimpse.writable(fd)
        self._deliver(now)

    def _end(self) -> None:
        """End of market, of session, of stream; then linger for those who missed something."""
        now, stops = time.monotonic_ns(), self._stops
        self.faults.finish()
        self._deliver(now)
        self.market.close_day()
        self.desk.close_day()
        self._deliver(now)
        self.sessions.end_sessions(now)
        end = now + self.config.linger_ms * MILLISECOND_NS
        for _ in range(END_OF_SESSION_PACKETS):
            self.feed.signal(lib.MOLD_END_OF_SESSION, now)
        while time.monotonic_ns() < end and self._stops == stops:
            ready, writable = wait([self.feed.requests.fileno()], self.sessions.writers(), 0.01)
            if ready:
                self.feed.answer()
            for fd in writable:
                self.sessions.writable(fd)

    def close(self) -> None:
        """Close sockets and files."""
        if self.config.feed_path:
            self.feed.write_published(Path(self.config.feed_path))
        self.sessions.close()
        self.glimpse.close()
        self.feed.close()
        self.tap.close()
        if self.control:
            self.control.close()

    # ---- control -----------------------------------------------------------------------------------

    def _obey(self) -> None:
        """One JSON command from the loopback control port; the answer goes to the sender."""
        assert self.control is not None
        try:
            request, sender = self.control.recvfrom(4096)
        except OSError:
            return
        try:
            command = json.loads(request)
            answer: dict[str, Any] = {"ok": self._command(command)}
            if command["command"] in ("faults", "calm"):
                answer |= {"faults": self.faults.counts(), "held": self.faults.held}
        except (ValueError, KeyError, TypeError, VenueError) as error:
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        try:
            self.control.sendto(json.dumps(answer).encode(), sender)
        except OSError:
            return  # it did not wait for the answer

    def _command(self, command: dict[str, Any]) -> bool:
        name = command["command"]
        if name == "break":
            return self._break(int(command["match"]))
        if name in ("halt", "resume"):
            state = lib.STATE_HALTED if name == "halt" else lib.STATE_TRADING
            self.market.publish_state(self.market.symbols[command["symbol"]], state)
            return True
        if name == "plant":  # a position that nothing explains, for who must find it
            copy = self.desk.accounts[command["account"].upper()].copy
            copy.positions[command["symbol"]] = copy.positions.get(command["symbol"], 0) + int(command["lots"])
            return True
        if name == "faults":
            return True
        if name == "calm":
            self.faults.calm()
            return True
        if name == "disconnect":
            self.sessions.disconnect_all()
            return True
        if name == "stop":
            self.stop()
            return True
        raise ValueError(f"unknown command {name!r}")

    def _break(self, match_id: int) -> bool:
        parties = self.desk.matches.get(match_id)
        if not parties:
            return False
        self.market.publish_broken(self.desk.instrument_of(parties[0][0]), match_id)
        return self.desk.break_match(match_id)


def run_simulator(config: SimulatorConfig, *, say: Callable[[str], None] | None = None) -> int:
    """Run a venue until its end, SIGTERM or SIGINT: ready line and summary as JSON on stdout (or to `say`).

    Returns the exit code. Installs signal handlers, so it runs in a process's main thread.
    """
    tell = say or (lambda line: print(line, flush=True))
    simulator = Simulator(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: simulator.stop())
    try:
        gc.freeze()
        gc.disable()  # an order makes no cycles, and a pass over a day's orders takes milliseconds
        tell(json.dumps(simulator.ready()))
        simulator.run()
        tell(json.dumps(simulator.summary()))
    finally:
        gc.enable()
        simulator.close()
    return 0
