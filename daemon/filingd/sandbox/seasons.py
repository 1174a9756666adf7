"""How many filings a publication day holds: the curve of the year, of the week, and of Belgian holidays.

Filings per working day, from the running numbers and counts in the NBB reference, section 9. The year adds up
to about 495,000 (the bank says 500,000).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from filingd.sandbox.dice import die, share

if TYPE_CHECKING:
    import datetime as dt

    from filingd.sandbox.settings import SandboxSettings

# (first month and day of the period, filings per working day)
CURVE: tuple[tuple[tuple[int, int], int], ...] = (
    ((1, 1), 600),
    ((3, 1), 700),
    ((4, 1), 1000),
    ((5, 1), 1800),
    ((6, 1), 3000),
    ((6, 21), 6500),
    ((7, 1), 5500),
    ((8, 1), 2800),
    ((8, 21), 7000),
    ((9, 1), 2200),
    ((10, 1), 1200),
    ((11, 1), 800),
    ((12, 1), 700),
)
WEEKDAY_FACTORS = (1.15, 1.05, 1.0, 0.95, 0.85)  # Monday to Friday


@functools.lru_cache(maxsize=64)
def belgian_holidays(year: int) -> frozenset[dt.date]:
    """The public holidays of a year."""
    import holidays

    return frozenset(holidays.country_holidays("BE", years=year))


def is_working_day(day: dt.date) -> bool:
    """Monday to Friday and no Belgian public holiday."""
    return day.weekday() < 5 and day not in belgian_holidays(day.year)


def curve_filings(day: dt.date) -> int:
    """Filings of a working day at that time of the year."""
    return [filings for start, filings in CURVE if start <= (day.month, day.day)][-1]


def _day_share(settings: SandboxSettings, day: dt.date) -> float:
    if day in belgian_holidays(day.year):
        return settings.holiday_share
    if day.weekday() == 5:
        return settings.saturday_share
    return settings.sunday_share if day.weekday() == 6 else 1.0


def real_filings(settings: SandboxSettings, day: dt.date) -> int:
    """Filings of a day at scale 1, with the seed's own noise of about 12 %."""
    noise = 0.88 + 0.24 * share(die(settings.seed, "count"), day.toordinal())
    weekday = WEEKDAY_FACTORS[min(day.weekday(), 4)]
    return round(curve_filings(day) * weekday * noise * _day_share(settings, day))


def scaled(settings: SandboxSettings, day: dt.date, real: int) -> int:
    """`real_filings` at the settings' scale: at least one on a working day, whatever the scale."""
    count = round(real * settings.scale)
    return max(count, 1) if is_working_day(day) else count


def filings_count(settings: SandboxSettings, day: dt.date) -> int:
    """Filings of a day: what `filings_on` says, or what the season brings at that scale."""
    override = settings.filings_on.get(day.isoformat())
    return scaled(settings, day, real_filings(settings, day)) if override is None else override
