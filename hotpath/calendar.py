"""The trading day: a named time zone, a time at which the day rolls, weekends, holidays, early closes.

    roll_time 00:00            |--- Tuesday ---|--- Wednesday ---|
    roll_time 17:00    |--- Tuesday ---|--- Wednesday ---|          (a roll after noon opens the next date)

Instants are ns since the Unix epoch. A weekend or holiday belongs to the business day that follows it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct, field

from hotpath.errors import RefdataError

ClockTime = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
NOON = time(12)
ONE_DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOSED_DAYS_MAX = 30  # in a row; more is a mistake in the file


class Calendar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """When one market trades."""

    time_zone: str
    roll_time: ClockTime = "00:00"
    open_time: ClockTime = "00:00"
    close_time: ClockTime = "23:59"
    weekend: list[Annotated[int, Meta(ge=0, le=6)]] = field(default_factory=lambda: [5, 6])  # Monday is 0
    holidays: list[date] = field(default_factory=list)
    early_closes: dict[date, ClockTime] = field(default_factory=dict)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone. Raises RefdataError when this machine does not know it."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise RefdataError(
                f"time zone {self.time_zone!r} is unknown on this machine",
                next_step="check its spelling, or install the zones: sudo apt-get install tzdata",
            ) from None

    @cached_property
    def _closed(self) -> frozenset[date]:
        return frozenset(self.holidays)

    def is_business_day(self, day: date) -> bool:
        """Whether the market trades on a date."""
        return day.weekday() not in self.weekend and day not in self._closed

    def business_day_from(self, day: date) -> date:
        """The first business day that is not before `day`."""
        for _ in range(CLOSED_DAYS_MAX):
            if self.is_business_day(day):
                return day
            day += ONE_DAY
        raise RefdataError(f"calendar: no business day in the {CLOSED_DAYS_MAX} days before {day}")

    def trading_date(self, time_ns: int) -> date:
        """The trading date that an instant belongs to."""
        local = (EPOCH + timedelta(microseconds=time_ns // 1000)).astimezone(self.zone)
        roll = time.fromisoformat(self.roll_time)
        day = local.date()
        if roll > NOON and local.time() >= roll:
            day += ONE_DAY
        elif roll <= NOON and local.time() < roll:
            day -= ONE_DAY
        return self.business_day_from(day)

    def midnight_ns(self, day: date) -> int:
        """Local midnight of a date: what a venue's "nanoseconds since midnight" count from."""
        return self._instant_ns(day, time(0))

    def next_roll_ns(self, time_ns: int) -> int:
        """The instant after `time_ns` at which the trading date changes and daily state is reset."""
        roll = time.fromisoformat(self.roll_time)
        day = self.trading_date(time_ns)
        return self._instant_ns(day if roll > NOON else day + ONE_DAY, roll)

    def session_ns(self, day: date) -> tuple[int, int]:
        """Opening and closing instants of a business day, early closes included.

        A market that opens no earlier in the day than it closes opened on the evening before.
        """
        closing = time.fromisoformat(self.early_closes.get(day, self.close_time))
        opening = time.fromisoformat(self.open_time)
        eve = day - ONE_DAY if opening >= closing else day
        return self._instant_ns(eve, opening), self._instant_ns(day, closing)

    def _instant_ns(self, day: date, clock: time) -> int:
        local = datetime.combine(day, clock, tzinfo=self.zone)
        return (local - EPOCH) // timedelta(microseconds=1) * 1000


def us_equities(*, first_year: int = 2024, last_year: int = 2030) -> Calendar:
    """The calendar of the United States' equity markets, by the exchanges' own holiday rules."""
    holidays: list[date] = []
    early: dict[date, str] = {}
    for year in range(first_year, last_year + 1):
        thanksgiving = _weekday_of_month(year, 11, weekday=3, nth=4)
        fixed = [date(year, 7, 4), date(year, 12, 25)]
        if year >= 2022:
            fixed.append(date(year, 6, 19))
        observed = [_observed(day) for day in fixed]
        if date(year, 1, 1).weekday() != 5:  # a Saturday's New Year is not made up for on the old year's last day
            observed.append(_observed(date(year, 1, 1)))
        holidays += [
            *observed,
            _weekday_of_month(year, 1, weekday=0, nth=3),
            _weekday_of_month(year, 2, weekday=0, nth=3),
            _easter(year) - timedelta(days=2),
            _weekday_of_month(year, 6, weekday=0, nth=1) - timedelta(days=7),
            _weekday_of_month(year, 9, weekday=0, nth=1),
            thanksgiving,
        ]
        for day in (date(year, 7, 3), thanksgiving + ONE_DAY, date(year, 12, 24)):
            if day.weekday() < 5 and day not in holidays:
                early[day] = "13:00"
    holidays += [day for day in UNSCHEDULED_CLOSES if first_year <= day.year <= last_year]
    return Calendar(
        time_zone="America/New_York",
        open_time="09:30",
        close_time="16:00",
        holidays=sorted(holidays),
        early_closes=early,
    )


# Days of storm and mourning.
UNSCHEDULED_CLOSES = (date(2012, 10, 29), date(2012, 10, 30), date(2018, 12, 5), date(2025, 1, 9))


def _weekday_of_month(year: int, month: int, *, weekday: int, nth: int) -> date:
    """The nth Monday (0) to Sunday (6) of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _observed(day: date) -> date:
    """A holiday on Saturday is kept on Friday, one on Sunday on Monday."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _easter(year: int) -> date:
    """Easter Sunday, Gregorian (Meeus, Astronomical Algorithms, chapter 8)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = b // 4, b % 4
    f = (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    week = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * week) // 451
    month, day = divmod(h + week - 7 * m + 114, 31)
    return date(year, month, day + 1)
