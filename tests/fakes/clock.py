"""A clock for engine tests whose time moves only when everybody sleeps.

    clock = FakeClock()
    worker = asyncio.create_task(work(clock))   # sleeps for hours on this clock
    await clock.sleep(3600)                     # the test sleeps too; returns at once in real time
    assert ...                                  # everything due in that hour has run, in order of time

Rules:

- Time stands still while anything in the event loop can run. When nothing can, it jumps to the earliest
  sleeper, who is woken; who shares the instant is woken with it, in the order of falling asleep. So a
  test is deterministic and takes no real time, and a duration measured on this clock is exact.
- Time stands still while nobody sleeps on it; a test that waits for what never comes hangs, as with a
  real clock.
- What happens outside the event loop (a thread, a socket) is not seen: the loop looks idle while it waits
  for it. Wrap such waits in `with clock.held():`; time does not move inside.
- Only sleeping on this clock counts. `asyncio.sleep` and `asyncio.timeout` run on real time, beside it.

Faults: `late_by` makes every wake-up late, `step_wall` moves the wall clock, `reboot` starts another boot
(for the next process; nobody may be asleep). `elapsed_s` is the truth behind all of them.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class FakeClock:
    """Implements `filingd.ports.Clock` on asyncio's own event loop (it looks whether callbacks are ready)."""

    def __init__(
        self,
        now_at: float = 1_795_000_000.0,
        monotonic_s: float = 1_000.0,
        late_by: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`late_by` gives the seconds by which the next wake-up is late."""
        self._monotonic_s = monotonic_s
        self._wall_offset_s = now_at - monotonic_s
        self._late_by = late_by
        self._boot = 1
        self._born_s = monotonic_s  # when time began, on the monotonic clock of this boot
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._slept_count = 0
        self._watched_loop: asyncio.AbstractEventLoop | None = None
        self._holds = 0

    def now(self) -> float:
        """Unix seconds."""
        return self._monotonic_s + self._wall_offset_s

    def monotonic(self) -> float:
        """Seconds since some instant of this boot."""
        return self._monotonic_s

    def boot_id(self) -> str:
        """Another one after each `reboot`."""
        return f"boot-{self._boot}"

    @property
    def elapsed_s(self) -> float:
        """Seconds that have truly passed since the clock was made, whatever was stepped or rebooted."""
        return self._monotonic_s - self._born_s

    async def sleep(self, seconds: float) -> None:
        """Wait until that much time has passed on this clock; others run even for zero seconds."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._slept_count += 1
        due_s = self._monotonic_s + max(0.0, seconds) + self._late_by()
        heapq.heappush(self._sleepers, (due_s, self._slept_count, woken))
        self._watch(loop)
        await woken

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Time does not move inside."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._sleepers:
                self._watch(asyncio.get_running_loop())

    def step_wall(self, seconds: float) -> None:
        """Move the wall clock forward or (negative) back; monotonic time does not notice."""
        self._wall_offset_s += seconds

    def pass_time(self, seconds: float) -> None:
        """Let time pass without anybody running, as when the process is stopped or dead."""
        self._monotonic_s += seconds

    def reboot(self, took_s: float = 60.0) -> None:
        """The machine was off for a while; the monotonic clock begins anew under another boot id."""
        assert not self.sleepers, "somebody sleeps through the reboot"
        wall_at, elapsed_s = self.now() + took_s, self.elapsed_s + took_s
        self._boot += 1
        self._monotonic_s = 5.0
        self._wall_offset_s = wall_at - self._monotonic_s
        self._born_s = self._monotonic_s - elapsed_s

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        # A test's loop may have died with the watch scheduled on it: another loop gets its own.
        if self._watched_loop is not loop:
            self._watched_loop = loop
            loop.call_soon(self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs in every turn of the loop; time moves in a turn in which nothing else is ready."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers or self._holds:
            self._watched_loop = None
            return
        turns = cast("Any", loop)
        if not turns._ready and not turns._stopping:  # a test that ends does not sleep
            self._wake_the_next()
        loop.call_soon(self._look, loop)

    def _wake_the_next(self) -> None:
        self._monotonic_s = max(self._monotonic_s, self._sleepers[0][0])
        while self._sleepers and self._sleepers[0][0] <= self._monotonic_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
