"""The promise of a lane: its rate holds in every sliding window, across restarts and clock steps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LaneState:
    """What survives of a lane from one run of the daemon to the next.

    `reserved_until_s` is on the monotonic clock of the boot named by `boot_id`: no call was released after it, and
    none may be released before it plus one window. `parked_until_at` (wall clock) and `parked_for_s` (its length, so
    that a clock that was set back cannot park a lane for longer than was meant) close the lane for a while.
    """

    name: str
    boot_id: str = ""
    reserved_until_s: float = 0.0
    parked_until_at: float | None = None
    parked_for_s: float = 0.0
    park_reason: str | None = None
    slowdown: float = 1.0  # the configured rate is divided by this
    strikes: int = 0  # failures in a row that speak against the lane
    key_index: int = 0  # which of its keys the lane uses
