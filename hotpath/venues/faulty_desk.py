"""A desk that says things late, twice or wrongly, and does to orders what nobody asked for.

Whatever it says stands in the account's stream under a number, so it is the truth of the day: a report that is
told again has a new number and the same execution number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ffi import ffi, lib
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.faulty_sockets import After, Strikes
from hotpath.venues.market import Command, Market, Report
from hotpath.venues.message_log import MessageLog
from hotpath.venues.orders import Account, Desk, Order

# Every reason that OUCH 5.0 gives by number (the venue's appendix, risk checks included), and 4.2 by letter.
CODES_50 = tuple(range(0x01, 0x34))
CODES_42 = tuple(b"THZSDCLMRXNOWabcdefghijkmno")
CANCEL_REASONS = b"SDHTZKE"  # supervisory, regulatory, halted, time-out, system, collars, closed
CORRECTION_REASON = ord("E")


class FaultyStream(MessageLog):
    """An account's sequenced messages; some come later than what was said after them, some come again."""

    def __init__(self, messages: Iterable[bytes], injectors: dict[str, Strikes], after: After) -> None:
        super().__init__()
        for message in messages:
            super().append(message)
        self._late = injectors["late_report"]
        self._repeated = injectors["repeated_report"]
        self._after = after

    def append(self, payload: bytes) -> None:
        """Say it: now, later, or now and later."""
        kind = chr(payload[0])
        if kind in self._late.config.kinds and self._late.strikes():
            self._after(self._late.config.delay_ms, lambda: MessageLog.append(self, payload))
        else:
            super().append(payload)
        if kind in self._repeated.config.kinds and self._repeated.strikes():
            self._after(self._repeated.config.delay_ms, lambda: MessageLog.append(self, payload))


class FaultyDesk(Desk):
    """The order desk on a bad day."""

    def __init__(self, config: SimulatorConfig, market: Market, injectors: dict[str, Any], after: After) -> None:
        super().__init__(config, market)
        self.injectors: dict[str, Strikes] = injectors
        self._after = after
        self._rejects = 0
        self._cancel_reasons: dict[int, int] = {}  # by order: why we cancel it
        self._prices: dict[int, int] = {}  # by match: what was told
        for account in self.accounts.values():
            account.stream = FaultyStream(account.stream, injectors, after)

    # ---- refusals --------------------------------------------------------------------------------------

    def _fault(self, account: Account, entry: Any) -> int:
        fault = super()._fault(account, entry)
        reject = self.injectors["reject"]
        if not reject.draw() or fault:
            return fault
        reject.happened()
        codes = reject.config.codes or (CODES_50 if account.is_50 else CODES_42)
        self._rejects += 1
        return int(codes[(self._rejects - 1) % len(codes)])

    def _letter(self, reason: int) -> int:
        return reason if reason in CODES_42 else super()._letter(reason)

    # ---- afterwards ------------------------------------------------------------------------------------

    def _deliver_one(self, report: Report, order: Order) -> None:
        if report.type == lib.EXEC_CANCELED:
            report = report._replace(reason=self._cancel_reasons.pop(order.order_id, report.reason))
        super()._deliver_one(report, order)
        if report.type in (lib.EXEC_ACCEPTED, lib.EXEC_REPLACED):
            self._perhaps("unsolicited_cancel", lambda: self._cancel_unasked(order))
        elif report.type == lib.EXEC_FILL:
            self._prices[report.match_id] = report.price_ticks
            self._perhaps("broken_trade", lambda: self._break(report.match_id))
            self._perhaps("corrected_trade", lambda: self._correct(report.match_id))

    def _perhaps(self, name: str, action: Any) -> None:
        """Do it later, if the fault strikes. It is counted when there was still something to do it to."""
        fault = self.injectors[name]
        if not fault.draw():
            return

        def act() -> None:
            if action():
                fault.happened()

        self._after(fault.config.delay_ms, act)

    def _cancel_unasked(self, order: Order) -> bool:
        """All of an order, or part of it."""
        draw = self.injectors["unsolicited_cancel"].random
        part, reason = draw.random(), draw.choice(CANCEL_REASONS)
        if not order.live or not order.leaves_lots:
            return False
        remaining = int(order.leaves_lots * part) if part < 0.5 else 0
        self._cancel_reasons[order.order_id] = reason
        self.market.submit(Command(lib.CMD_CANCEL, 0, order.order_id, 0, 0, 0, remaining, False))
        return True

    def _break(self, match_id: int) -> bool:
        parties = self.matches.get(match_id)
        if not parties:
            return False
        self.market.publish_broken(self.instrument_of(parties[0][0]), match_id)
        return self.break_match(match_id)

    def break_match(self, match_id: int) -> bool:
        self._prices.pop(match_id, None)
        return super().break_match(match_id)

    def _too_old_to_break(self, match_id: int, parties: list[tuple[Order, int]]) -> None:
        del self._prices[match_id]

    def _correct(self, match_id: int) -> bool:
        """The same execution at another price."""
        parties = self.matches.get(match_id)
        if not parties:
            return False
        steps = self.injectors["corrected_trade"].random.choice((-2, -1, 1, 2))
        price = max(self.config.increment_ticks, self._prices[match_id] + steps * self.config.increment_ticks)
        self._prices[match_id] = price
        for order, quantity in parties:
            self._copy("F", order, quantity, price, match_id)
            self._send(
                order.account,
                type=ord("F"),
                quantity=quantity,
                price=price,
                liquidity=ord("R"),
                match=match_id,
                reason=CORRECTION_REASON,
                cl_ord_id=ffi.buffer(order.entry.cl_ord_id)[:],
                **self._named(order),
            )
        return True
