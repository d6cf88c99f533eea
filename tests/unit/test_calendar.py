"""hotpath/calendar.py: which trading date an instant belongs to, and when that changes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotpath.calendar import Calendar, us_equities
from hotpath.errors import RefdataError

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000_000


def instant_ns(*parts: int, zone: ZoneInfo = NEW_YORK) -> int:
    return int(datetime(*parts, tzinfo=zone).timestamp()) * SECOND  # type: ignore[misc,arg-type]


def test_midnight_is_the_venues_local_midnight() -> None:
    winter = us_equities().midnight_ns(date(2020, 1, 30))
    assert datetime.fromtimestamp(winter / 1e9, UTC) == datetime(2020, 1, 30, 5, tzinfo=UTC)
    summer = us_equities().midnight_ns(date(2024, 8, 9))
    assert datetime.fromtimestamp(summer / 1e9, UTC) == datetime(2024, 8, 9, 4, tzinfo=UTC)


def test_roll_after_noon_opens_the_next_date() -> None:
    calendar = Calendar(time_zone="America/New_York", roll_time="17:00")
    assert calendar.trading_date(instant_ns(2026, 11, 17, 16, 59, 59)) == date(2026, 11, 17)
    assert calendar.trading_date(instant_ns(2026, 11, 17, 17)) == date(2026, 11, 18)
    assert calendar.next_roll_ns(instant_ns(2026, 11, 17, 9)) == instant_ns(2026, 11, 17, 17)


def test_roll_before_noon_keeps_the_small_hours_in_the_day_before() -> None:
    calendar = Calendar(time_zone="America/New_York", roll_time="03:00")
    assert calendar.trading_date(instant_ns(2026, 11, 18, 2, 59)) == date(2026, 11, 17)
    assert calendar.trading_date(instant_ns(2026, 11, 18, 3)) == date(2026, 11, 18)


def test_weekends_and_holidays_belong_to_the_next_business_day() -> None:
    calendar = us_equities()
    assert calendar.trading_date(instant_ns(2026, 11, 21, 12)) == date(2026, 11, 23)
    assert calendar.trading_date(instant_ns(2026, 11, 26, 12)) == date(2026, 11, 27)


@pytest.mark.parametrize(
    ("year", "days"),
    [  # as the exchanges published them
        (2024, "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25"),
        (2025, "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25"),
        (2026, "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25"),
    ],
)
def test_united_states_holidays(year: int, days: str) -> None:
    holidays = [day for day in us_equities().holidays if day.year == year]
    assert holidays == [date.fromisoformat(f"{year}-{day}") for day in days.split()]


def test_early_close_shortens_the_session() -> None:
    opened, closed = us_equities().session_ns(date(2026, 11, 27))
    assert (closed - opened) / SECOND == 3.5 * 3600
    opened, closed = us_equities().session_ns(date(2026, 11, 25))
    assert (closed - opened) / SECOND == 6.5 * 3600


def test_unknown_time_zone_is_refused_with_a_next_step() -> None:
    with pytest.raises(RefdataError, match="Mars/Olympus") as caught:
        Calendar(time_zone="Mars/Olympus").trading_date(0)
    assert "tzdata" in caught.value.next_step


def test_calendar_without_a_business_day_is_refused() -> None:
    with pytest.raises(RefdataError, match="no business day"):
        Calendar(time_zone="UTC", weekend=list(range(7))).trading_date(0)


@given(
    time_ns=st.integers(instant_ns(2024, 1, 1), instant_ns(2030, 12, 1)),
    roll=st.sampled_from(["00:00", "03:00", "12:00", "12:01", "17:00", "23:59"]),
)
def test_the_date_is_constant_until_the_next_roll_that_changes_it(time_ns: int, roll: str) -> None:
    calendar = Calendar(time_zone="America/New_York", roll_time=roll, holidays=us_equities().holidays)
    day = calendar.trading_date(time_ns)
    roll_ns = calendar.next_roll_ns(time_ns)
    assert calendar.is_business_day(day)
    assert roll_ns > time_ns
    assert calendar.trading_date(roll_ns - SECOND) == day
    assert calendar.trading_date(roll_ns) > day


def test_market_that_closes_before_it_opens_opened_on_the_evening_before() -> None:
    calendar = Calendar(time_zone="America/New_York", roll_time="17:00", open_time="18:00", close_time="17:00")
    opened, closed = calendar.session_ns(date(2026, 11, 18))
    assert (opened, closed) == (instant_ns(2026, 11, 17, 18), instant_ns(2026, 11, 18, 17))
