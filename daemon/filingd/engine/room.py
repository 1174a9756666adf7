"""Whether there is room on the disk. A full disk is nobody's failure: downloads pause and go on by themselves."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.errors import DiskFaultError

if TYPE_CHECKING:
    from filingd.core.errors import DiskFullError
    from filingd.ports import Clock, Log, Store


_LONGEST_PAUSE_S = 3600.0
_ROOM_MADE_BYTES = 1024 * 1024  # less is the ebb and flow of logs


class RoomGate:
    """Open while the file system of the store has more than `keep_free_bytes` left."""

    def __init__(
        self, store: Store, clock: Clock, log: Log, keep_free_bytes: int, check_interval_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._keep_free_bytes = keep_free_bytes
        self.check_interval_s = check_interval_s
        self._open = asyncio.Event()
        self._open.set()
        self._refused_until_s = -math.inf
        self._pause_s = check_interval_s
        self._free_when_refused: int | None = None  # as of the first look after a refusal
        self._ending = False
        self._can_see = True
        self.free_bytes: int | None = None  # as of the last look

    @property
    def is_open(self) -> bool:
        """Whether downloads may run."""
        return self._open.is_set()

    async def wait(self) -> None:
        """Return when there is room."""
        await self._open.wait()

    def refused(self) -> None:
        """The disk refused a write although there seemed to be room (a quota, another program): wait and look again."""
        if self._open.is_set():  # more refusals of the same moment say nothing new
            self._pause_s = self._next_pause_s()
        self._refused_until_s = self._clock.monotonic() + self._pause_s
        self._free_when_refused = None
        self._shut(free_bytes=0)

    def _next_pause_s(self) -> float:
        """Twice as long when the room that was regained turned out to be none, up to an hour."""
        in_vain = self._clock.monotonic() - self._refused_until_s < 2 * self._pause_s
        return (
            min(2 * self._pause_s, max(_LONGEST_PAUSE_S, self.check_interval_s))
            if in_vain
            else self.check_interval_s
        )

    async def outlast(self, error: DiskFullError) -> None:
        """A write that cannot be left out was refused with `error`: return when it is worth trying again.

        Raises:
            DiskFullError: `error` itself, because filingd is stopping and will not wait for room.
        """
        if not self._ending:
            self.refused()
            await self._open.wait()
        if self._ending:
            raise error

    def end(self) -> None:
        """Nobody waits for room any more."""
        self._ending = True
        self._open.set()

    async def check(self) -> None:
        """Look once."""
        self.free_bytes = free_bytes = await self._store.free_bytes()
        if free_bytes < self._keep_free_bytes:
            self._shut(free_bytes)
        elif not self._open.is_set() and self._is_worth_a_try(free_bytes):
            self._log.info(events.ROOM_REGAINED, free_bytes=free_bytes, keep_free_bytes=self._keep_free_bytes)
            self._open.set()

    def _is_worth_a_try(self, free_bytes: int) -> bool:
        """After a refusal: when the pause is over, or at once when somebody made room."""
        if self._clock.monotonic() >= self._refused_until_s:
            return True
        if self._free_when_refused is None:
            self._free_when_refused = free_bytes
        return free_bytes - self._free_when_refused >= _ROOM_MADE_BYTES

    async def watch(self) -> None:
        """Look again and again; runs until cancelled. What keeps us from looking is told once, and may pass."""
        while True:
            await self._clock.sleep(self.check_interval_s)
            try:
                await self.check()
            except DiskFaultError as error:
                if self._can_see:
                    self._log.error(events.ALARM_RAISED, kind="disk_fault", detail=str(error))
                self._can_see = False
            else:
                self._can_see = True

    def _shut(self, free_bytes: int) -> None:
        if self._open.is_set() and not self._ending:
            self._log.error(events.ROOM_LOW, free_bytes=free_bytes, keep_free_bytes=self._keep_free_bytes)
            self._open.clear()
