"""Rate and month quota as KVK keeps them. What counts, and how it is counted, is unknown: both are knobs (section 5)."""

from __future__ import annotations

import collections
import datetime as dt
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from filingd.sandbox.limits import SlidingWindow

if TYPE_CHECKING:
    from filingd.sandbox.kvk.settings import KvkSandboxSettings

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
ALL_KEYS = "*"


def month_of(at: float) -> str:
    """The calendar month in Amsterdam at an instant, such as 2026-11."""
    return dt.datetime.fromtimestamp(at, AMSTERDAM).strftime("%Y-%m")


def next_month_at(at: float) -> float:
    """The instant at which the next calendar month begins in Amsterdam."""
    now = dt.datetime.fromtimestamp(at, AMSTERDAM)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return dt.datetime(year, month, 1, tzinfo=AMSTERDAM).timestamp()


class RateLimit:
    """At most so many calls in any second of real time; refused calls do not count."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, int], SlidingWindow] = {}

    def ask(self, settings: KvkSandboxSettings, key: str, now_s: float) -> float:
        """Grant a call (0) or tell the seconds until the next would be granted. A changed limit starts a new window."""
        if not settings.calls_per_s:
            return 0.0
        name = (key if settings.rate_scope == "key" else ALL_KEYS, settings.calls_per_s)
        window = self._windows.setdefault(name, SlidingWindow(settings.calls_per_s, 1.0))
        return window.ask(now_s)


class MonthQuota:
    """Granted calls per key and calendar month."""

    def __init__(self) -> None:
        self._used: collections.Counter[tuple[str, str]] = collections.Counter()

    def ask(self, settings: KvkSandboxSettings, key: str, at: float, *, is_paid: bool) -> bool:
        """Count a call and grant it, or refuse it because the month is used up. What is not counted is always granted."""
        if settings.quota_counts == "paid" and not is_paid:
            return True
        name = (key if settings.quota_scope == "key" else ALL_KEYS, month_of(at))
        if settings.calls_per_month and self._used[name] >= settings.calls_per_month:
            return False
        self._used[name] += 1
        return True

    def report(self) -> dict[str, dict[str, int]]:
        """Granted calls by key (`*`: over all keys) and month."""
        table: dict[str, dict[str, int]] = {}
        for (key, month), calls in sorted(self._used.items()):
            table.setdefault(key, {})[month] = calls
        return table

    def clear(self) -> None:
        """Start counting anew."""
        self._used.clear()
