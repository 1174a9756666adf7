"""The wall clock and the monotonic clock: the only module that reads them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The clocks of this machine."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # CLOCK_MONOTONIC counts from the boot of the machine and is the same for every process.
        return time.monotonic()

    def boot_id(self) -> str:
        return self._boot_id

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RehearsalClock(SystemClock):
    """Ticks like the system's clock, but as if the program had been started at another instant."""

    def __init__(self, started_at: float) -> None:
        """`started_at` is the instant (unix seconds) that it is now."""
        super().__init__()
        self._offset_s = started_at - time.time()

    def now(self) -> float:
        return time.time() + self._offset_s


def _read_boot_id() -> str:
    try:
        return _BOOT_ID_FILE.read_text("ascii").strip()
    except OSError:
        # Without it every start counts as a new boot, which is the careful side.
        return f"unknown-{time.time_ns()}"
