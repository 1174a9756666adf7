from __future__ import annotations

import datetime as dt

import pytest

from filingd.core.errors import ConfigError
from filingd.sandbox.clock import (
    SandboxClock,
    brussels_day,
    brussels_instant,
    parse_day,
    parse_instant,
    utc_text,
)

FIVE = dt.time(5)


class _Ticks:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_clock_starts_where_it_is_told_and_ticks_at_its_rate() -> None:
    ticks = _Ticks()
    clock = SandboxClock(1000.0, rate=60.0, monotonic=ticks)
    ticks.now_s += 2
    assert clock.now() == 1120.0
    clock.change_rate(0.0)
    ticks.now_s += 50
    assert clock.now() == 1120.0


def test_the_clock_can_be_set_and_advanced_without_losing_its_rate() -> None:
    ticks = _Ticks()
    clock = SandboxClock(0.0, monotonic=ticks)
    clock.set(5000.0)
    clock.advance(86_400.0)
    ticks.now_s += 1
    assert clock.now() == 91_401.0


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        ("2026-03-28", "2026-03-28T04:00:00.000Z"),
        ("2026-03-29", "2026-03-29T03:00:00.000Z"),  # clocks go forward at 02:00
        ("2026-10-24", "2026-10-24T03:00:00.000Z"),
        ("2026-10-25", "2026-10-25T04:00:00.000Z"),  # clocks go back at 03:00
    ],
)
def test_five_in_brussels_is_right_on_both_sides_of_a_clock_change(day: str, utc: str) -> None:
    assert utc_text(brussels_instant(dt.date.fromisoformat(day), FIVE)) == utc


def test_the_brussels_day_changes_at_local_midnight() -> None:
    assert brussels_day(parse_instant("2026-07-01T21:59:59Z")) == dt.date(2026, 7, 1)
    assert brussels_day(parse_instant("2026-07-01T22:00:00Z")) == dt.date(2026, 7, 2)
    assert brussels_day(parse_instant("2026-12-01T22:59:59Z")) == dt.date(2026, 12, 1)
    assert brussels_day(parse_instant("2026-12-01T23:00:00Z")) == dt.date(2026, 12, 2)


def test_an_instant_without_an_offset_is_brussels_time() -> None:
    assert parse_instant("2026-11-20T06:00") == parse_instant("2026-11-20T05:00:00Z")
    assert parse_instant("2026-07-20T06:00") == parse_instant("2026-07-20T04:00:00+00:00")


def test_a_wrong_instant_is_quoted_in_the_error() -> None:
    with pytest.raises(ConfigError, match="'tomorrow' is not an instant"):
        parse_instant("tomorrow")


@pytest.mark.parametrize("text", ["20261120", "2026-W47-5", "2026-11-31", "2026-1-2", "", "20-11-2026"])
def test_only_year_month_day_is_a_day(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_day(text)
