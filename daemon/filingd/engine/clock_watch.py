"""Compares our clock with the registries': which day it is decides what is asked for, and of whom."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from filingd.core.retry import http_date_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from filingd.core.model import ResponseHead
    from filingd.ports import Clock

_LOOK_EVERY_S = 60.0
_NEWS_S = 30.0  # a Date header counts whole seconds: less is no change


class ClockWatch:
    """Looks at the `Date` of an answer now and then.

    `ahead_s` is by how much our clock is ahead of the registry's, as of the last look; None before the first.
    """

    def __init__(self, clock: Clock, on_change: Callable[[], None] = lambda: None) -> None:
        """`on_change` is told when the first look was had, and when the difference became another one."""
        self._clock = clock
        self._on_change = on_change
        self._looked_s = -math.inf
        self.ahead_s: float | None = None

    def look(self, head: ResponseHead) -> None:
        """An answer came."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        said_at = http_date_at(head.header("date") or "", self._clock.now())
        if said_at is None:
            return
        self._looked_s = now_s
        before_s, self.ahead_s = self.ahead_s, self._clock.now() - said_at
        if before_s is None or abs(before_s - self.ahead_s) > _NEWS_S:
            self._on_change()
