"""The sandbox's own time: a clock that can be set, and the Brussels calendar of publication days.

Instants are unix seconds (float, UTC). A publication day D opens at a local hour of D+1 in Europe/Brussels
(NBB reference, section 6.2); local hours go through the zone, never through multiples of 86,400 s, so that
both days of a change between summer and winter time come out right.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from filingd.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

BRUSSELS = ZoneInfo("Europe/Brussels")


class SandboxClock:
    """Starts at an instant and ticks from there, `rate` sandbox seconds per real second (0 stands still)."""

    def __init__(
        self, start_at: float, rate: float = 1.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._base_at = start_at
        self._base_s = monotonic()
        self._rate = rate

    @property
    def rate(self) -> float:
        """Sandbox seconds per real second."""
        return self._rate

    def now(self) -> float:
        """The sandbox's present instant, in unix seconds."""
        return self._base_at + (self._monotonic() - self._base_s) * self._rate

    def set(self, at: float) -> None:
        """Continue from `at`; going back is allowed."""
        self._base_at, self._base_s = at, self._monotonic()

    def advance(self, seconds: float) -> None:
        """Jump `seconds` forward (or back, if negative)."""
        self.set(self.now() + seconds)

    def change_rate(self, rate: float) -> None:
        """Tick at another rate from the present instant on."""
        self.set(self.now())
        self._rate = rate


def brussels_day(at: float) -> dt.date:
    """The calendar day in Europe/Brussels at an instant."""
    return dt.datetime.fromtimestamp(at, BRUSSELS).date()


def brussels_instant(day: dt.date, local_time: dt.time) -> float:
    """The instant of a local time in Brussels; the first of two when the hour is doubled."""
    return dt.datetime.combine(day, local_time, tzinfo=BRUSSELS).timestamp()


def utc_text(at: float) -> str:
    """An instant as ISO 8601 in UTC, for people and JSON."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(value: str | float) -> float:
    """Unix seconds from a number or from ISO 8601; without an offset the text is Brussels time.

    Raises `ConfigError` naming the value.
    """
    if isinstance(value, int | float):
        return float(value)
    try:
        moment = dt.datetime.fromisoformat(value.strip())
    except ValueError as error:
        raise ConfigError(
            f"{value!r} is not an instant. Write ISO 8601, such as 2026-11-20T06:00:00+01:00 "
            "(Brussels time if the offset is left out), or unix seconds."
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=BRUSSELS)).timestamp()


def parse_day(text: str) -> dt.date:
    """A calendar day from `YYYY-MM-DD`, strictly; raises `ValueError` for anything else."""
    day = dt.date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(f"{text!r} is not YYYY-MM-DD")
    return day


def parse_local_time(text: str) -> dt.time:
    """A local time from `HH:MM`; raises `ConfigError` naming the value."""
    try:
        return dt.time.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"publish_at = {text!r} is not a local time. Write HH:MM, such as 05:00."
        ) from error
