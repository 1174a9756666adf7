"""Compares our clock with the registries': which day it is decides what is asked for, and of whom."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.retry import http_date_at

if TYPE_CHECKING:
    from filingd.core.model import ResponseHead
    from filingd.ports import Clock, Log

TOLERANCE_S = (
    120.0  # a Date header counts whole seconds, and an answer may be minutes on its way through caches
)
_LOOK_EVERY_S = 60.0
_TELL_EVERY_S = 6 * 3600.0


class ClockWatch:
    """Looks at the `Date` of an answer now and then, and tells when it is far from our own time."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._looked_s = -math.inf
        self._told_s = -math.inf

    def look(self, head: ResponseHead) -> None:
        """An answer came."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        said_at = http_date_at(head.header("date") or "", self._clock.now())
        if said_at is None:
            return
        self._looked_s = now_s
        ahead_s = self._clock.now() - said_at
        if abs(ahead_s) > TOLERANCE_S and now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._log.error(events.ALARM_RAISED, kind="clock_skew", detail=_told(ahead_s))


def _told(ahead_s: float) -> str:
    which = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"this machine's clock is {abs(ahead_s):.0f} s {which} the registry's: days are asked for too early or too late."
        " Set it right (timedatectl status)."
    )
