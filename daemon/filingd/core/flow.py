"""Whether a transfer still moves: an idle timeout and a minimum throughput, as arithmetic.

The clock that counts is flow time: seconds since the start during which we were ready to receive. While our own
disk makes the server wait, nothing counts against the server.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filingd.core.model import FlowLimits

_LOOKS_A_LIMIT = 8  # a limit is checked this often within its own length
_LONGEST_LOOK_S = 5.0
_SHORTEST_LOOK_S = 0.01


class FlowMeter:
    """Judges one transfer, looked at every `look_every_s`; `now` is any clock that never goes back."""

    def __init__(self, limits: FlowLimits, now: float) -> None:
        self._limits = limits
        self._started = now
        self._held_s = 0.0
        self._held_since: float | None = None
        self._moved_at_s = 0.0  # flow time of the last look that saw new bytes
        self._samples: deque[tuple[float, int]] = deque([(0.0, 0)])  # (flow time, bytes so far), oldest first

    @property
    def look_every_s(self) -> float:
        """How often to call `verdict`."""
        shortest = min(self._limits.idle_timeout_s, self._limits.min_rate_window_s)
        return min(max(shortest / _LOOKS_A_LIMIT, _SHORTEST_LOOK_S), _LONGEST_LOOK_S)

    def hold(self, now: float) -> None:
        """From now on it is us who are not ready."""
        if self._held_since is None:
            self._held_since = now

    def release(self, now: float) -> None:
        """From now on the server may be blamed again."""
        if self._held_since is not None:
            self._held_s += now - self._held_since
            self._held_since = None

    def verdict(self, now: float, received_bytes: int) -> str | None:
        """`stalled`, `too_slow`, or None while all is well; `received_bytes` are those of this transfer."""
        flow_s = self._flow_time(now)
        if received_bytes != self._samples[-1][1]:
            self._moved_at_s = flow_s
        elif flow_s - self._moved_at_s >= self._limits.idle_timeout_s:
            return "stalled"
        self._samples.append((flow_s, received_bytes))
        return "too_slow" if self._rate_is_low(flow_s, received_bytes) else None

    def _flow_time(self, now: float) -> float:
        still_held_s = now - self._held_since if self._held_since is not None else 0.0
        return now - self._started - self._held_s - still_held_s

    def _rate_is_low(self, flow_s: float, received_bytes: int) -> bool:
        window_began_s = flow_s - self._limits.min_rate_window_s
        while len(self._samples) > 1 and self._samples[1][0] <= window_began_s:
            self._samples.popleft()
        began_s, began_bytes = self._samples[0]
        if began_s > window_began_s:
            return False  # the transfer is younger than the window
        return (received_bytes - began_bytes) < self._limits.min_bytes_per_s * (flow_s - began_s)
