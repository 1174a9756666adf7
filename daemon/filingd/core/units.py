"""Sizes, durations and times of day as an operator writes them, and back.

A number without a unit is refused, because `timeout = 5` once meant milliseconds to somebody. What `format_*`
writes, `parse_*` reads back to the same value.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import TYPE_CHECKING

from filingd.core.errors import FilingdError

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES_PER_UNIT: Mapping[str, int] = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
MILLISECONDS_PER_UNIT: Mapping[str, int] = {
    "ms": 1,
    "s": 1000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_MOST_DIGITS = 32  # longer than any sane size or duration


class UnitError(FilingdError):
    """A size, duration or time of day that cannot be read. The text says what to write instead."""


def parse_size(text: str) -> int:
    """Bytes: `"5 GiB"` is 5 * 1024**3, `"20 MB"` is 20 * 1000**2. The case of the unit does not matter.

    Raises:
        UnitError: no number, no unit, or a unit that is not one of `BYTES_PER_UNIT`.
    """
    by_lower_case = {unit.lower(): factor for unit, factor in BYTES_PER_UNIT.items()}
    parts = _parts(text)
    if len(parts) != 1 or parts[0][1].lower() not in by_lower_case:
        raise UnitError(f'write a number and a unit, such as "5 GiB" (units: {", ".join(BYTES_PER_UNIT)})')
    number, unit = parts[0]
    return round(number * by_lower_case[unit.lower()])


def parse_duration(text: str) -> float:
    """Seconds, to the millisecond: `"30 s"`, `"15 min"`, `"1 h 30 min"`, `"250 ms"`.

    Raises:
        UnitError: no number, no unit, or a unit that is not one of `MILLISECONDS_PER_UNIT`.
    """
    parts = _parts(text)
    if not parts or any(unit not in MILLISECONDS_PER_UNIT for _, unit in parts):
        known = ", ".join(MILLISECONDS_PER_UNIT)
        raise UnitError(f'write a number and a unit, such as "30 s" or "1 h 30 min" (units: {known})')
    return round(sum(number * MILLISECONDS_PER_UNIT[unit] for number, unit in parts)) / 1000


def parse_time_of_day(text: str) -> dt.time:
    """A wall-clock time without a date: `"05:00"` or `"05:00:30"`.

    Raises:
        UnitError: it is not a time between 00:00 and 23:59:59.
    """
    match = _TIME_OF_DAY.fullmatch(text)
    if match is None:
        raise UnitError('write hours and minutes, such as "05:00"')
    hour, minute, second = (int(group or 0) for group in match.groups())
    return dt.time(hour, minute, second)


def format_size(size_bytes: int) -> str:
    """The shortest exact way to write a size: `5 GiB`, `20 MB`, `1025 B`."""
    exact = [
        (size_bytes // factor, unit)
        for unit, factor in BYTES_PER_UNIT.items()
        if size_bytes and not size_bytes % factor
    ]
    number, unit = min(exact, default=(size_bytes, "B"))
    return f"{number} {unit}"


def format_duration(seconds: float) -> str:
    """An exact way to write a duration, to the millisecond: `15 min`, `1 h 30 min`, `250 ms`."""
    left_ms = round(seconds * 1000)
    words = []
    for unit, factor in sorted(MILLISECONDS_PER_UNIT.items(), key=lambda each: -each[1]):
        count, left_ms = divmod(left_ms, factor)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words) or "0 s"


def format_time_of_day(moment: dt.time) -> str:
    """`05:00`, or `05:00:30` when there are seconds."""
    return moment.isoformat("seconds" if moment.second else "minutes")


def _parts(text: str) -> list[tuple[float, str]]:
    """Each number with its unit; empty if the text holds anything else."""
    text = text.strip()
    if not text or len(text) > _MOST_DIGITS:
        return []
    parts, end = [], 0
    while match := _PART.match(text, end):
        parts.append((float(match[1]), match[2]))
        end = match.end()
    return parts if end == len(text) and all(math.isfinite(number) for number, _ in parts) else []
