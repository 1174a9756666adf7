"""No sliding window ever holds more than the limit: the real pacer through many lives of the daemon.

A life has any number of workers that ask in any rhythm, wake-ups of any lateness, a disk of any slowness,
waiters that are cancelled and a wall clock that is stepped. It ends in a clean stop or in a kill at any
instant, with a write in flight that lands or does not; the next one begins at once or later, in the same
boot or another.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.clock import FakeClock
from filingd.core.limits import CATCH_UP_S, LaneState, Limit
from filingd.core.model import LaneSpec
from filingd.engine.pacer import LaneClosedError, LanePacer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Life:
    """One run of the daemon; durations are in windows of the limit, so that they matter at any rate."""

    windows: float
    workers: int
    gaps_in_windows: Sequence[float]
    cancel_every: int
    lateness_s: Sequence[float]
    save_s: float
    wall_step_s: float
    clean_stop: bool
    write_in_flight_lands: bool
    down_windows: float
    reboots: bool
    connecting_s: Sequence[float] = (0.0,)


LIVES = st.builds(
    Life,
    windows=st.floats(0.0, 3.0),
    workers=st.integers(1, 8),
    gaps_in_windows=st.lists(st.one_of(st.just(0.0), st.floats(0.0, 2.0)), min_size=1, max_size=8),
    cancel_every=st.sampled_from([0, 0, 2, 3, 7]),
    lateness_s=st.lists(
        st.one_of(st.just(0.0), st.floats(0.0, 0.005), st.floats(0.0, 1.5)), min_size=1, max_size=9
    ),
    save_s=st.one_of(st.just(0.0), st.floats(0.0, 0.05), st.floats(0.0, 4.0)),
    wall_step_s=st.floats(-1e7, 1e7),
    clean_stop=st.booleans(),
    write_in_flight_lands=st.booleans(),
    down_windows=st.one_of(st.just(0.0), st.floats(0.0, 2.0)),
    reboots=st.booleans(),
    connecting_s=st.lists(
        st.one_of(st.just(0.0), st.floats(0.0, 0.3), st.floats(0.0, 9.0)), min_size=1, max_size=5
    ),
)
RATES = st.one_of(st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.5, 10.0, 60.0]), st.floats(0.05, 60.0))


class World:
    """What outlives the daemon: the clock, the row in the manifest, and what the registry saw."""

    def __init__(self, calls_per_s: float, burst: int) -> None:
        self.limit = Limit.of(calls_per_s, burst)
        self.spec = LaneSpec("lane", calls_per_s, burst)
        self.lateness_s: Iterator[float] = itertools.repeat(0.0)
        self.clock = FakeClock(late_by=lambda: next(self.lateness_s))
        self.row = LaneState("lane")
        self.released_s: list[float] = []
        self.sent_s: list[float] = []

    async def live(self, life: Life) -> None:
        """One run of the daemon, to its end."""
        self.lateness_s = itertools.cycle(life.lateness_s)
        landing = True

        async def save(state: LaneState) -> None:
            try:
                await self.clock.sleep(life.save_s)
            except asyncio.CancelledError:
                if landing and life.write_in_flight_lands:
                    self.row = state
                raise
            self.row = state

        pacer = LanePacer(self.spec, self.row, self.clock, save)
        workers = [asyncio.create_task(self._work(pacer, life)) for _ in range(life.workers)]
        await self.clock.sleep(life.windows * self.limit.window_s / 2)
        self.clock.step_wall(life.wall_step_s)
        await self.clock.sleep(life.windows * self.limit.window_s / 2)
        if life.clean_stop:
            await pacer.close()
            assert self.released_s == [] or self.row.reserved_until_s <= self.clock.monotonic()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
        assert all(isinstance(outcome, (asyncio.CancelledError, LaneClosedError)) for outcome in outcomes)

    async def _work(self, pacer: LanePacer, life: Life) -> None:
        gaps, connecting_s = itertools.cycle(life.gaps_in_windows), itertools.cycle(life.connecting_s)
        for number in itertools.count(1):
            if life.cancel_every and number % life.cancel_every == 0:
                await self._ask_and_give_up(pacer, next(gaps) * self.limit.window_s, next(connecting_s))
            else:
                await self._call(pacer, next(connecting_s))
            await self.clock.sleep(next(gaps) * self.limit.window_s)

    async def _call(self, pacer: LanePacer, connecting_s: float) -> None:
        """One call, from its release to its sending."""
        await pacer.acquire()
        self._note_release()
        if not connecting_s:
            self.sent_s.append(self.clock.elapsed_s)
            return
        sending = pacer.sending()
        try:
            await self.clock.sleep(connecting_s)
            await sending.begin()
            assert self.row.reserved_until_s >= self.clock.monotonic()
            self.sent_s.append(self.clock.elapsed_s)
        finally:
            sending.end()

    async def _ask_and_give_up(self, pacer: LanePacer, patience_s: float, connecting_s: float) -> None:
        asking = asyncio.create_task(self._call(pacer, connecting_s))
        try:
            await self.clock.sleep(patience_s)
        finally:
            asking.cancel()
        await asyncio.wait({asking})

    def _note_release(self) -> None:
        assert self.row.boot_id == self.clock.boot_id()
        assert self.row.reserved_until_s >= self.clock.monotonic()
        self.released_s.append(self.clock.elapsed_s)


def assert_windows_kept(at_s: Sequence[float], limit: Limit) -> None:
    """Every window."""
    for first_s, last_s in zip(at_s, at_s[limit.calls :], strict=False):
        assert last_s - first_s >= limit.window_s


def assert_promise_kept(released_s: Sequence[float], limit: Limit) -> None:
    """Every window, and every longer span."""
    assert_windows_kept(released_s, limit)
    lowest, allowed = math.inf, limit.calls_per_s * CATCH_UP_S + limit.burst + 1e-6
    for number, at_s in enumerate(released_s):
        lowest = min(lowest, number - limit.calls_per_s * at_s)
        assert number + 1 - limit.calls_per_s * at_s - lowest <= allowed


@given(calls_per_s=RATES, burst=st.integers(1, 6), lives=st.lists(LIVES, min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_window_holds_more_than_the_limit_through_any_number_of_lives(
    calls_per_s: float, burst: int, lives: list[Life]
) -> None:
    world = World(calls_per_s, burst)
    for life in lives:
        asyncio.run(world.live(life))
        world.clock.pass_time(life.down_windows * world.limit.window_s)
        if life.reboots:
            world.clock.reboot(took_s=0.0)
    assert_promise_kept(world.released_s, world.limit)
    assert_windows_kept(world.sent_s, world.limit)


EAGER = Life(
    windows=12.0,
    workers=8,
    gaps_in_windows=[0.0],
    cancel_every=0,
    lateness_s=[0.0],
    save_s=0.02,
    wall_step_s=0.0,
    clean_stop=True,
    write_in_flight_lands=True,
    down_windows=0.0,
    reboots=False,
)


@given(
    calls_per_s=RATES,
    burst=st.integers(1, 6),
    lateness_s=st.lists(st.floats(0.0, 0.001), min_size=1, max_size=30),
    wall_step_s=st.floats(-1e7, 1e7),
    cancel_every=st.sampled_from([0, 2, 5]),
)
@settings(max_examples=60, deadline=None)
def test_with_calls_always_waiting_99_percent_of_the_allowance_is_used(
    calls_per_s: float, burst: int, lateness_s: list[float], wall_step_s: float, cancel_every: int
) -> None:
    world = World(calls_per_s, burst)
    life = Life(
        **{**vars(EAGER), "lateness_s": lateness_s, "wall_step_s": wall_step_s, "cancel_every": cancel_every}
    )
    asyncio.run(world.live(life))
    first_s, last_s = world.released_s[0], world.released_s[-1]
    assert len(world.released_s) >= 0.99 * calls_per_s * (last_s - first_s)
    assert last_s >= life.windows * world.limit.window_s - world.limit.spacing_s - 0.01


@given(calls_per_s=RATES, burst=st.integers(1, 6), lives=st.integers(2, 8), clean_stop=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_restart_costs_little_more_than_one_window(
    calls_per_s: float, burst: int, lives: int, clean_stop: bool
) -> None:
    world, began = World(calls_per_s, burst), []
    for _ in range(lives):
        began.append(len(world.released_s))
        asyncio.run(world.live(Life(**{**vars(EAGER), "windows": 3.0, "clean_stop": clean_stop})))
    for first in began[1:]:
        waited_s = world.released_s[first] - world.released_s[first - 1]
        # A kill can come a spacing after the last release, and only then does the window begin to count.
        wasted_s = world.limit.spacing_s + world.limit.margin_s + 2 * EAGER.save_s + 0.01
        assert waited_s <= world.limit.window_s + wasted_s
