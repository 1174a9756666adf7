"""How long to wait before trying again, from numbers and from what the registry says."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

LONGEST_ADVICE_S = 366 * 24 * 3600.0  # no registry means more than a year; the caller caps far below

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})"
# The three forms of RFC 9110, section 5.6.7. The day of the week is not believed, so it is not read.
_DATE_FORMS = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"[a-z]{{3}}, (?P<day>\d{{1,2}}) (?P<month>[a-z]{{3}}) (?P<year>\d{{4}}) {_TIME} (?:GMT|UTC)",
        rf"[a-z]{{6,9}}, (?P<day>\d{{2}})-(?P<month>[a-z]{{3}})-(?P<year>\d{{2}}) {_TIME} (?:GMT|UTC)",
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) +(?P<day>\d{{1,2}}) {_TIME} (?P<year>\d{{4}})",
    )
)


def backoff_s(attempt: int, base_s: float, cap_s: float, jitter: float) -> float:
    """Seconds to wait after the given failed attempt (from 1): `base_s`, doubled each time, at most `cap_s`.

    `jitter` from 0 to 1 spreads it between half of that and all of it.
    """
    doublings = min(max(attempt, 1) - 1, 64)
    whole_s = min(cap_s, math.ldexp(base_s, doublings))
    return whole_s * (0.5 + 0.5 * min(max(jitter, 0.0), 1.0))


def parse_retry_after(text: str | None, now_at: float) -> float | None:
    """Seconds to wait by a `Retry-After` header: a number of seconds, or a date (RFC 9110, section 10.2.3).

    None when there is no header or it makes no sense, a negative number included. A date in the past
    means no wait. What is longer than a year is given as a year; the caller caps it to what is sensible.
    """
    cleaned = (text or "").strip()
    if cleaned.isascii() and cleaned.isdigit():
        return min(float(cleaned), LONGEST_ADVICE_S)
    until_at = http_date_at(cleaned, now_at)
    return None if until_at is None else min(max(0.0, until_at - now_at), LONGEST_ADVICE_S)


def http_date_at(text: str, now_at: float) -> float | None:
    """The instant of an HTTP date in any of its three forms (RFC 9110, section 5.6.7); None if it is none.

    `now_at` tells the century of the one form that leaves it out.
    """
    found = next((match for form in _DATE_FORMS if (match := form.fullmatch(text))), None)
    if found is None or found["month"].lower() not in _MONTHS:
        return None
    month = _MONTHS.index(found["month"].lower()) + 1
    second = min(int(found["second"]), 59)  # a leap second is no date to Python
    try:
        return datetime(
            _full_year(found["year"], now_at),
            month,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            second,
            tzinfo=UTC,
        ).timestamp()
    except ValueError:
        return None


def _full_year(digits: str, now_at: float) -> int:
    if len(digits) == 4:
        return int(digits)
    # RFC 9110, section 5.6.7: two digits that seem more than 50 years ahead mean the past.
    this_year = datetime.fromtimestamp(now_at, tz=UTC).year
    year = this_year - this_year % 100 + int(digits)
    return year - 100 if year > this_year + 50 else year
