"""Rate limits and quotas as the registry would keep them: a sliding window of granted calls."""

from __future__ import annotations

import collections
import math


class SlidingWindow:
    """At most `calls` grants in any window [t, t + window_s). Refused calls do not count."""

    def __init__(self, calls: int, window_s: float) -> None:
        self._calls, self._window_s = calls, window_s
        self._granted: collections.deque[float] = collections.deque()

    def ask(self, now_s: float) -> float:
        """Grant a call and return 0, or return the seconds until the next would be granted."""
        while self._granted and self._granted[0] <= now_s - self._window_s:
            self._granted.popleft()
        if len(self._granted) < self._calls:
            self._granted.append(now_s)
            return 0.0
        return max(self._granted[0] + self._window_s - now_s, 0.001)


def whole_seconds(wait_s: float) -> int:
    """Seconds as `Retry-After` tells them: rounded up."""
    return max(1, math.ceil(wait_s))
