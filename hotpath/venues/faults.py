"""Misbehaviour on purpose: which fault strikes when, from seeded streams, and what the market's own faults do.

                 .-> faulty_sockets: the feed's lines, the retransmission server, the order sessions
    [faults] ----+-> faulty_desk:    what the venue says of orders
                 '-> here:           the market, venue time, the sessions' end

A fault wraps a socket, a stream or the desk; where none is configured the venue's own is left as it is. Each fault
draws once at each of its opportunities, from a random stream of its own: one seed makes the same decisions over the
same opportunities, whatever other faults are configured.
"""

from __future__ import annotations

import heapq
import random
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ffi import lib
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.fault_config import FaultConfig, LineFault
from hotpath.venues.faulty_desk import FaultyDesk
from hotpath.venues.faulty_sockets import FaultyConnection, FaultyLine, FaultyRequests
from hotpath.venues.market import CrowdMarket, Market, publish
from hotpath.venues.orders import Desk

if TYPE_CHECKING:
    from hotpath.venues.simulator import Simulator

MILLISECOND_NS = 1_000_000
BEAT_NS = 10 * MILLISECOND_NS
PHANTOM_REF = 1 << 62  # order references that no participant has
PHANTOM_LOTS = 100
CROSSED_BY = 3  # increments that a phantom bid stands over the offer

LINE_FAULTS = ("gap", "duplicate", "reorder", "delay", "silence", "corrupt", "divergence")
ANSWER_FAULTS = ("answer_late", "answer_lost", "answer_wrong")
CONNECTION_FAULTS = ("cut_out", "cut_in", "trickle", "stall", "mute")
DESK_FAULTS = (
    "late_report",
    "repeated_report",
    "reject",
    "unsolicited_cancel",
    "broken_trade",
    "corrected_trade",
)
MARKET_FAULTS = ("halt", "crossed_book", "burst")


class Injector:
    """One fault: decides at each opportunity whether it strikes, and counts."""

    def __init__(self, name: str, config: Any, *, seed: int, elapsed_ms: Callable[[], float]) -> None:
        self.name = name
        self.config = config  # a FaultConfig, or one of the structs that extend it
        self.active: bool = config.active
        self.random = random.Random(f"{seed}/{name}")
        self.opportunities = 0
        self.injected = 0
        self._times_ms = sorted(config.times_ms, reverse=True)
        self._elapsed_ms = elapsed_ms

    def draw(self) -> bool:
        """Whether it strikes here; the stream moves on by one whatever the answer."""
        self.opportunities += 1
        strikes = self.random.random() < self.config.probability
        if self._times_ms and self._elapsed_ms() >= self._times_ms[-1]:
            self._times_ms.pop()
            strikes = True
        if self.config.count_max and self.injected >= self.config.count_max:
            return False
        return strikes and self.active

    def strikes(self) -> bool:
        """The same, counted as an injection at once."""
        strikes = self.draw()
        self.injected += strikes
        return strikes

    def happened(self) -> None:
        """What `draw` decided has come to pass."""
        self.injected += 1

    def calm(self) -> None:
        """Strike no more."""
        self.active = False


class Faults:
    """Every fault of one simulator, and what is held back for later."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.began_ns = 0
        self.ahead_ns = 0  # how far bursts have taken venue time beyond this machine's clock
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._later_count = 0
        self._now_ns = 0
        self._beat_ns = 0
        self._burst_end_ns = 0
        self._phantoms = 0
        self.injectors: dict[str, Injector] = {}
        for name, fault in msgspec.structs.asdict(config.faults).items():
            for key in self._names(name, fault):
                self.injectors[key] = Injector(key, fault, seed=config.seed, elapsed_ms=self.elapsed_ms)

    @staticmethod
    def _names(name: str, fault: FaultConfig) -> list[str]:
        """A fault of the feed has a stream on each line that it strikes."""
        if not isinstance(fault, LineFault):
            return [name]
        return [f"{name}.{line}" for line in ("a", "b") if fault.line in (line, "both")]

    def elapsed_ms(self) -> float:
        """Since the market began; below 0 before."""
        return (time.monotonic_ns() - self.began_ns) / MILLISECOND_NS if self.began_ns else -1.0

    def after(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Do something once so much time has passed; at the venue's end at the latest."""
        self._later_count += 1
        due_ns = time.monotonic_ns() + int(delay_ms * MILLISECOND_NS)
        heapq.heappush(self._later, (due_ns, self._later_count, action))

    @property
    def held(self) -> int:
        """What is held back for later."""
        return len(self._later)

    def counts(self) -> dict[str, int]:
        """Injections by fault, the two lines' together; only of those that are configured."""
        found: dict[str, int] = {}
        for key, injector in self.injectors.items():
            if injector.config.active:
                name = key.partition(".")[0]
                found[name] = found.get(name, 0) + injector.injected
        return found

    # ---- wrapping --------------------------------------------------------------------------------------

    def _of(self, names: tuple[str, ...], suffix: str = "") -> dict[str, Injector] | None:
        """The injectors of these faults; None where all of them are off."""
        found = {name: self.injectors[name + suffix] for name in names if name + suffix in self.injectors}
        return found if any(injector.active for injector in found.values()) else None

    def line(self, plain: socket.socket, *, index: int) -> Any:
        """The socket of a feed's line."""
        injectors = self._of(LINE_FAULTS, (".a", ".b")[index])
        return FaultyLine(plain, injectors, self.after) if injectors else plain

    def requests(self, plain: socket.socket) -> Any:
        """The socket of the retransmission server."""
        injectors = self._of(ANSWER_FAULTS)
        return FaultyRequests(plain, injectors, self.after) if injectors else plain

    def connection(self, plain: socket.socket) -> Any:
        """A socket that the order port accepted."""
        injectors = self._of(CONNECTION_FAULTS)
        return FaultyConnection(plain, injectors) if injectors else plain

    def desk(self, market: Market) -> Desk:
        """The order desk."""
        injectors = self._of(DESK_FAULTS)
        return FaultyDesk(self.config, market, injectors, self.after) if injectors else Desk(self.config, market)

    # ---- time ------------------------------------------------------------------------------------------

    def turn(self, simulator: Simulator, now_ns: int) -> None:
        """What is due now, and the faults that have no opportunity but time."""
        if now_ns < self._burst_end_ns and self._now_ns:
            factor = self.config.faults.burst.factor
            self.ahead_ns += int((factor - 1) * (min(now_ns, self._burst_end_ns) - self._now_ns))
        self._now_ns = now_ns
        self.began_ns = simulator.began_ns
        while self._later and self._later[0][0] <= now_ns:
            heapq.heappop(self._later)[2]()
        if self.began_ns and now_ns - self._beat_ns >= BEAT_NS:
            self._beat_ns = now_ns
            self._beat(simulator, now_ns)

    def _beat(self, simulator: Simulator, now_ns: int) -> None:
        injectors = self.injectors
        if injectors["burst"].strikes():
            self._burst_end_ns = now_ns + injectors["burst"].config.span_ms * MILLISECOND_NS
        if injectors["halt"].strikes():
            self._halt(simulator.market, injectors["halt"])
        if injectors["crossed_book"].strikes():
            self._cross(simulator.market, injectors["crossed_book"])
        if injectors["end_of_session"].strikes():
            simulator.sessions.end_sessions(now_ns)

    def calm(self) -> None:
        """Inject nothing more; what was begun ends in its own time."""
        for injector in self.injectors.values():
            injector.calm()

    def finish(self) -> None:
        """The venue's end: whatever was held back happens now."""
        self.calm()
        while self._later:
            heapq.heappop(self._later)[2]()

    # ---- the market ------------------------------------------------------------------------------------

    def _halt(self, market: Market, injector: Injector) -> None:
        instrument = injector.random.randrange(len(market.symbols))
        market.publish_state(instrument, lib.STATE_HALTED)
        self.after(injector.config.span_ms, lambda: market.publish_state(instrument, lib.STATE_TRADING))

    def _cross(self, market: Market, injector: Injector) -> None:
        """A bid over the offer, by nobody, that nothing trades with; taken out again after a while."""
        assert isinstance(market, CrowdMarket), "check_simulator_config has refused others"
        symbol, instrument = injector.random.choice(sorted(market.symbols.items()))
        offer = market.best(instrument, lib.SIDE_SELL)
        if not offer:
            return
        self._phantoms += 1
        ref, locate = PHANTOM_REF + self._phantoms, instrument + 1
        publish(
            market.publisher,
            "A",
            time_ns=market.now_ns - self.config.midnight_ns,
            locate=locate,
            order_ref=ref,
            side=ord("B"),
            shares=PHANTOM_LOTS,
            stock=symbol.ljust(8).encode(),
            price=offer + CROSSED_BY * self.config.increment_ticks,
        )

        def remove() -> None:
            time_ns = market.now_ns - self.config.midnight_ns
            publish(market.publisher, "D", time_ns=time_ns, locate=locate, order_ref=ref)

        self.after(injector.config.span_ms, remove)
