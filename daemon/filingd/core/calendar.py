"""Publication days in a registry's own time zone. Calendar arithmetic only: a day may have 23 or 25 hours."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def day_at(instant: float, zone: dt.tzinfo) -> dt.date:
    """The calendar day in `zone` at an instant (unix seconds)."""
    return dt.datetime.fromtimestamp(instant, zone).date()


def instant_of(day: dt.date, at: dt.time, zone: dt.tzinfo) -> float:
    """The instant (unix seconds) at which clocks in `zone` show `at` on `day`.

    A time that the spring change skips counts as an hour later, one that the autumn change repeats as its first.
    """
    return dt.datetime.combine(day, at, zone).timestamp()


def age_days(day: dt.date, now: float, zone: dt.tzinfo) -> int:
    """How many calendar days lie between `day` and today in `zone`; 1 for yesterday."""
    return (day_at(now, zone) - day).days


def days_from(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """Every calendar day from `first` to `last`, both included; none if `last` is earlier."""
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield dt.date.fromordinal(ordinal)


def later_by(day: dt.date, days: int) -> dt.date:
    """The day `days` calendar days after `day`."""
    return day + dt.timedelta(days=days)
