"""What to say of a mirror whose first day has not come: a year mistyped by one looks like a mirror that is complete."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.settings import Settings


def remarks_on_beginning(settings: Settings, now: float) -> Iterator[str]:
    """One sentence if nothing is to be mirrored yet at an instant (unix seconds), else nothing."""
    from filingd.core import calendar

    if settings.nbb is None:
        return
    since = settings.nbb.since
    today = calendar.day_at(now, zoneinfo.ZoneInfo(settings.nbb.timezone))
    if since >= today:  # a day is expected once it is over
        when = "is today" if since == today else "lies in the future"
        begins_on = calendar.later_by(since, 1)
        yield f"nbb.since = {since} {when}: nothing is mirrored until {begins_on}, when that day is over."
