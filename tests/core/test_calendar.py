"""Publication days are calendar days in Brussels, whatever the length of a day."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core import calendar

BRUSSELS = ZoneInfo("Europe/Brussels")
DAYS = st.dates(dt.date(1990, 1, 1), dt.date(2090, 12, 31))


def utc(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2026-11-21T22:59:59", "2026-11-21"),  # winter: Brussels is an hour ahead
        ("2026-11-21T23:00:00", "2026-11-22"),
        ("2026-07-20T21:59:59", "2026-07-20"),  # summer: two hours
        ("2026-07-20T22:00:00", "2026-07-21"),
        ("2026-03-29T00:59:59", "2026-03-29"),  # the day of 23 hours
        ("2026-03-29T21:59:59", "2026-03-29"),
        ("2026-03-29T22:00:00", "2026-03-30"),
        ("2026-10-25T22:59:59", "2026-10-25"),  # the day of 25 hours
        ("2026-10-25T23:00:00", "2026-10-26"),
        ("2025-12-31T22:59:59", "2025-12-31"),
        ("2025-12-31T23:00:00", "2026-01-01"),
        ("2024-02-28T23:00:00", "2024-02-29"),
        ("2024-02-29T23:00:00", "2024-03-01"),
    ],
)
def test_the_day_is_the_one_clocks_in_brussels_show(instant: str, day: str) -> None:
    assert calendar.day_at(utc(instant), BRUSSELS) == dt.date.fromisoformat(day)


@pytest.mark.parametrize(
    ("day", "time", "instant"),
    [
        ("2026-01-15", "05:00", "2026-01-15T04:00:00"),
        ("2026-07-15", "05:00", "2026-07-15T03:00:00"),
        ("2026-03-29", "05:00", "2026-03-29T03:00:00"),
        ("2026-10-25", "05:00", "2026-10-25T04:00:00"),
        ("2026-03-29", "02:30", "2026-03-29T01:30:00"),  # skipped: an hour later, 03:30 on the clock
        ("2026-10-25", "02:30", "2026-10-25T00:30:00"),  # there twice: the first
        ("2026-01-01", "00:00", "2025-12-31T23:00:00"),
    ],
)
def test_an_hour_on_the_clock_becomes_one_instant(day: str, time: str, instant: str) -> None:
    at = calendar.instant_of(dt.date.fromisoformat(day), dt.time.fromisoformat(time), BRUSSELS)
    assert at == utc(instant)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_has_as_many_hours_as_the_calendar_gives_it(day: str, hours: int) -> None:
    begins = calendar.instant_of(dt.date.fromisoformat(day), dt.time(0), BRUSSELS)
    next_day = calendar.later_by(dt.date.fromisoformat(day), 1)
    assert calendar.instant_of(next_day, dt.time(0), BRUSSELS) - begins == hours * 3600
    assert calendar.day_at(begins, BRUSSELS) == dt.date.fromisoformat(day)
    assert calendar.day_at(begins + hours * 3600 - 1, BRUSSELS) == dt.date.fromisoformat(day)


@given(day=DAYS, age=st.integers(-400, 2000), seconds=st.integers(0, 23 * 3600 - 1))
def test_the_age_counts_calendar_days_at_every_second_of_the_day(
    day: dt.date, age: int, seconds: int
) -> None:
    now = calendar.instant_of(calendar.later_by(day, age), dt.time(0), BRUSSELS) + seconds
    assert calendar.age_days(day, now, BRUSSELS) == age


@given(day=DAYS, hour=st.integers(3, 23), minute=st.integers(0, 59))
def test_outside_the_hours_of_the_change_an_instant_reads_back_as_it_was_written(
    day: dt.date, hour: int, minute: int
) -> None:
    at = calendar.instant_of(day, dt.time(hour, minute), BRUSSELS)
    shown = dt.datetime.fromtimestamp(at, BRUSSELS)
    assert (shown.date(), shown.hour, shown.minute) == (day, hour, minute)


@given(first=DAYS, count=st.integers(0, 800))
def test_a_run_of_days_has_each_day_once(first: dt.date, count: int) -> None:
    days = list(calendar.days_from(first, calendar.later_by(first, count - 1)))
    assert len(days) == count
    assert days == sorted(set(days))
    assert all((later - day).days == 1 for day, later in itertools.pairwise(days))


def test_a_run_crosses_leap_days_and_year_ends() -> None:
    days = list(calendar.days_from(dt.date(2024, 2, 28), dt.date(2024, 3, 1)))
    assert [day.isoformat() for day in days] == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert list(calendar.days_from(dt.date(2026, 1, 2), dt.date(2026, 1, 1))) == []
    assert calendar.later_by(dt.date(2026, 1, 1), -1) == dt.date(2025, 12, 31)
    assert calendar.later_by(dt.date(2025, 2, 28), 1) == dt.date(2025, 3, 1)
