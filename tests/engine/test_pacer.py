"""The pacer: order, cancellation, parking, changes of rate and what it makes durable, on a clock that takes no time."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from fakes.clock import FakeClock
from filingd.core.errors import DiskFullError
from filingd.core.limits import RESERVE_AHEAD_S, LaneState, Limit, succeeded, throttled, unparked
from filingd.core.model import LaneSpec
from filingd.engine.pacer import LaneClosedError, LanePacer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Row:
    """Keeps what a pacer saves, as slowly as it is told to, and refuses while `full`."""

    def __init__(self, clock: FakeClock, latency_s: float = 0.0) -> None:
        self.clock = clock
        self.latency_s = latency_s
        self.saved: list[LaneState] = []
        self.full = False
        self.at_once = 0

    async def save(self, state: LaneState) -> None:
        self.at_once += 1
        assert self.at_once == 1, "two saves at a time"
        try:
            await self.clock.sleep(self.latency_s)
            if self.full:
                raise DiskFullError("No room left for the manifest.")
            self.saved.append(state)
        finally:
            self.at_once -= 1

    @property
    def last(self) -> LaneState:
        return self.saved[-1]


def pacer_of(
    clock: FakeClock,
    row: Row | None = None,
    calls_per_s: float = 1.0,
    burst: int = 1,
    state: LaneState | None = None,
) -> LanePacer:
    spec = LaneSpec("nbb/extract", calls_per_s, burst)
    return LanePacer(spec, state or LaneState("nbb/extract"), clock, (row or Row(clock)).save)


async def release_times_s(pacer: LanePacer, clock: FakeClock, count: int) -> list[float]:
    times = []
    for _ in range(count):
        await pacer.acquire()
        times.append(clock.elapsed_s)
    return times


# ---------------------------------------------------------------- pace and order


async def test_who_comes_at_the_very_moment_of_a_slot_does_not_overtake_who_waits_for_it() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock)
    await pacer.acquire()
    waiting = asyncio.ensure_future(pacer.acquire())
    while not pacer.waiting:
        await asyncio.sleep(0)
    clock._monotonic_s += 1.5  # the slot is open, and who waits for it has not been woken yet
    assert not pacer.acquire_at_once()
    await waiting
    assert not pacer.acquire_at_once(), "and there was one slot"


async def test_the_first_call_of_a_new_lane_goes_at_once_and_the_rest_at_the_pace() -> None:
    clock = FakeClock()
    assert await release_times_s(pacer_of(clock), clock, 4) == pytest.approx([0, 1.006, 2.012, 3.018])


async def test_a_rested_lane_releases_its_burst_at_once() -> None:
    clock = FakeClock()
    times_s = await release_times_s(pacer_of(clock, burst=3), clock, 5)
    assert times_s == pytest.approx([0, 0, 0, 1.006, 2.012])


async def test_waiters_are_released_in_the_order_of_asking() -> None:
    clock, released = FakeClock(), []
    pacer = pacer_of(clock, calls_per_s=50.0)

    async def waiter(number: int) -> None:
        await pacer.acquire()
        released.append(number)

    await asyncio.gather(*(waiter(number) for number in range(64)))
    assert released == list(range(64))
    assert pacer.waiting == 0


async def test_with_calls_always_waiting_a_slow_disk_does_not_disturb_the_pace() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.3)
    pacer = pacer_of(clock, row, calls_per_s=100.0)
    await pacer.acquire()  # the very first one has to wait for the disk
    await clock.sleep(0.1)
    times_s = await release_times_s(pacer, clock, 2000)
    gaps_s = [after - before for before, after in pairwise(times_s)]
    assert max(gaps_s) < 0.0101
    assert 1999 / (times_s[-1] - times_s[0]) > 99.0
    assert len(row.saved) < times_s[-1], "less than one write a second"


async def test_a_lane_faster_than_its_callers_reserves_ahead_as_well() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.3)
    pacer = pacer_of(clock, row, calls_per_s=1000.0)
    await pacer.acquire()
    waited_s = 0.0
    for _ in range(500):
        await clock.sleep(0.02)  # the call itself; its slot has come before it is asked for
        asked_s = clock.monotonic()
        await pacer.acquire()
        waited_s += clock.monotonic() - asked_s
    assert waited_s == 0.0
    assert len(row.saved) > 3


async def test_a_waiter_that_is_cancelled_costs_no_slot_and_holds_up_nobody() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock)
    await pacer.acquire()
    doomed = [asyncio.create_task(pacer.acquire()) for _ in range(30)]
    survivor = asyncio.create_task(release_times_s(pacer, clock, 2))
    await clock.sleep(0.5)
    assert pacer.waiting == 31
    for task in doomed:
        task.cancel()
    assert await survivor == pytest.approx([1.006, 2.012])
    assert pacer.waiting == 0


@pytest.mark.parametrize("turns", range(12))
async def test_a_waiter_may_be_cancelled_at_any_turn_of_the_loop(turns: int) -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, Row(clock, latency_s=0.2))
    waiters = [asyncio.create_task(pacer.acquire()) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    waiters[0].cancel()
    waiters[1].cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert waiters[2].exception() is None
    assert clock.elapsed_s < 3 * 1.01 + 0.4
    await pacer.acquire()
    assert clock.elapsed_s < 4 * 1.01 + 0.4


async def test_a_waiter_cancelled_while_the_reservation_is_written_does_not_undo_it() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=5.0)
    pacer = pacer_of(clock, row)
    waiter = asyncio.create_task(pacer.acquire())
    await clock.sleep(1.0)
    waiter.cancel()
    await clock.sleep(5.0)
    assert len(row.saved) == 1


# ---------------------------------------------------------------- parking and rates


async def test_a_parked_lane_releases_nothing_until_it_opens_whatever_the_wall_clock_does() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock)
    await pacer.acquire()
    waiter = asyncio.create_task(pacer.acquire())
    await pacer.change(lambda state: throttled(state, clock.now(), 600.0))
    clock.step_wall(-86_400.0)
    await clock.sleep(100.0)
    clock.step_wall(30 * 86_400.0)
    assert pacer.opens_in_s() == pytest.approx(500.0)
    await waiter
    assert clock.elapsed_s == pytest.approx(600.0)
    assert pacer.opens_in_s() == 0.0


async def test_a_call_that_waits_for_its_slot_is_held_when_the_lane_parks_meanwhile() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, calls_per_s=50.0)
    await pacer.acquire()
    waiter = asyncio.create_task(release_times_s(pacer, clock, 1))
    await clock.sleep(0.001)
    await pacer.change(lambda state: throttled(state, clock.now(), 60.0))
    assert await waiter == pytest.approx([60.001])


async def test_unparking_wakes_who_waits() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock)
    await pacer.change(lambda state: throttled(state, clock.now(), 3600.0))
    waiter = asyncio.create_task(release_times_s(pacer, clock, 1))
    await clock.sleep(10.0)
    await pacer.change(unparked)
    assert await waiter == pytest.approx([10.0])


async def test_a_throttled_lane_goes_on_at_half_its_rate() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, calls_per_s=100.0)
    await release_times_s(pacer, clock, 50)
    await pacer.change(lambda state: throttled(state, clock.now(), 10.0))
    assert pacer.calls_per_s == 50.0
    times_s = await release_times_s(pacer, clock, 500)
    assert 499 / (times_s[-1] - times_s[0]) == pytest.approx(50.0, rel=0.01)


async def test_a_park_left_by_a_former_run_holds_but_never_for_longer_than_it_was_meant() -> None:
    clock = FakeClock()
    left = throttled(LaneState("nbb/extract"), clock.now() + 1e6, 60.0)  # the clock was 1e6 s ahead then
    pacer = pacer_of(clock, state=left)
    assert await release_times_s(pacer, clock, 1) == pytest.approx([60.0])


async def test_a_faster_rate_reaches_who_waits_once_the_slow_window_is_over() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, calls_per_s=0.01)
    await pacer.acquire()
    waiter = asyncio.create_task(release_times_s(pacer, clock, 3))
    await clock.sleep(95.0)
    pacer.set_rate(1.0, 1)
    assert await waiter == pytest.approx([100.005, 195.005, 196.01], abs=0.002)


async def test_during_a_speedup_the_slower_rate_holds_for_one_window() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, calls_per_s=2.0)
    times_s = await release_times_s(pacer, clock, 4)
    pacer.set_rate(100.0, 1)
    times_s += await release_times_s(pacer, clock, 300)
    changed_s = times_s[3]
    slow = Limit.of(2.0)
    for first_s, third_s in zip(times_s, times_s[slow.calls :], strict=False):
        assert first_s > changed_s or third_s - first_s >= slow.window_s


async def test_a_change_is_in_force_at_once_and_durable_on_return() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.5)
    pacer = pacer_of(clock, row)
    changing = asyncio.create_task(pacer.change(lambda state: throttled(state, clock.now(), 60.0)))
    await clock.sleep(0.1)
    assert pacer.opens_in_s() > 0
    assert row.saved == []
    assert await changing == row.last == pacer.state


async def test_a_transition_that_changes_nothing_costs_no_write() -> None:
    clock = FakeClock()
    row = Row(clock)
    pacer = pacer_of(clock, row)
    await pacer.change(succeeded)
    assert row.saved == []


async def test_many_changes_at_once_share_writes_and_none_starves() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.01)
    pacer = pacer_of(clock, row)

    def one_more_strike(state: LaneState) -> LaneState:
        return replace(state, strikes=state.strikes + 1)

    async def strike(delay_s: float) -> float:
        await clock.sleep(delay_s)
        began_s = clock.monotonic()
        await pacer.change(one_more_strike)
        return clock.monotonic() - began_s

    took_s = await asyncio.gather(*(strike(number * 0.001) for number in range(300)))
    assert max(took_s) < 0.021
    assert len(row.saved) < 40
    assert row.last.strikes == 300


# ---------------------------------------------------------------- durability


async def test_no_call_is_released_before_a_reservation_beyond_it_is_durable() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=3.0)
    pacer = pacer_of(clock, row)
    for _ in range(10):
        await pacer.acquire()
        assert row.last.boot_id == clock.boot_id()
        assert row.last.reserved_until_s >= clock.monotonic()


async def test_a_slow_lane_reserves_one_slot_at_a_time_and_a_resting_one_nothing() -> None:
    clock = FakeClock()
    row = Row(clock)
    pacer = pacer_of(clock, row, calls_per_s=0.01)
    await release_times_s(pacer, clock, 3)
    await clock.sleep(100_000.0)
    assert len(row.saved) == 3
    assert row.last.reserved_until_s < clock.monotonic() - 90_000


async def test_a_reservation_that_cannot_be_written_stops_the_call_and_the_next_one_tries_again() -> None:
    clock = FakeClock()
    row = Row(clock)
    row.full = True
    pacer = pacer_of(clock, row)
    for _ in range(3):
        with pytest.raises(DiskFullError):
            await pacer.acquire()
    row.full = False
    await pacer.acquire()
    assert len(row.saved) == 1


async def test_a_disk_that_fills_up_while_calls_are_released_stops_them_before_the_reservation_ends() -> None:
    clock = FakeClock()
    row = Row(clock)
    pacer = pacer_of(clock, row, calls_per_s=100.0)
    await pacer.acquire()
    row.full = True
    with pytest.raises(DiskFullError):
        await release_times_s(pacer, clock, math.ceil(RESERVE_AHEAD_S * 100))
    assert row.last.reserved_until_s <= clock.monotonic() <= row.last.reserved_until_s + 0.011
    row.full = False
    await pacer.acquire()


async def test_closing_records_exactly_when_the_last_call_was_released() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.2)
    pacer = pacer_of(clock, row, calls_per_s=10.0)
    await release_times_s(pacer, clock, 7)
    last_s = clock.monotonic()
    await clock.sleep(0.05)
    await pacer.close()
    assert row.last.reserved_until_s == last_s
    await pacer.close()


async def test_who_waits_when_the_lane_closes_is_told_so() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, calls_per_s=0.001)
    await pacer.acquire()
    waiters = [asyncio.create_task(pacer.acquire()) for _ in range(3)]
    await clock.sleep(1.0)
    await pacer.close()
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LaneClosedError] * 3
    assert clock.elapsed_s < 2.0
    with pytest.raises(LaneClosedError, match="nbb/extract is closed"):
        await pacer.acquire()


async def test_a_lane_that_never_ran_leaves_no_trace_when_closed() -> None:
    clock = FakeClock()
    row = Row(clock)
    await pacer_of(clock, row).close()
    assert row.saved == []


# ---------------------------------------------------------------- restarts


async def stopped_cleanly(clock: FakeClock, pacer: LanePacer) -> None:
    await pacer.close()


async def killed(clock: FakeClock, pacer: LanePacer) -> None:
    pass


async def rebooted(clock: FakeClock, pacer: LanePacer) -> None:
    await asyncio.sleep(0)
    clock.reboot(took_s=0.0)


@pytest.mark.parametrize("restart", [stopped_cleanly, killed, rebooted])
@pytest.mark.parametrize(("calls_per_s", "burst"), [(1.0, 1), (0.1, 1), (100.0, 1), (1.0, 6), (2.5, 2)])
async def test_restarting_in_a_loop_cannot_exceed_the_limit_nor_gain_a_burst(
    restart: Callable[[FakeClock, LanePacer], Awaitable[None]], calls_per_s: float, burst: int
) -> None:
    clock = FakeClock()
    row = Row(clock)
    row.saved.append(LaneState("nbb/extract"))
    limit = Limit.of(calls_per_s, burst)
    times_s: list[float] = []
    for _ in range(30):
        pacer = pacer_of(clock, row, calls_per_s, burst, state=row.last)
        times_s += await release_times_s(pacer, clock, burst + 1)
        await restart(clock, pacer)
    for first_s, last_s in zip(times_s, times_s[limit.calls :], strict=False):
        assert last_s - first_s >= limit.window_s
    assert len(times_s) <= calls_per_s * times_s[-1] + burst + 1


@pytest.mark.parametrize(
    ("restart", "rested_s", "first_s"),
    [
        (stopped_cleanly, 0.0, 10.005),
        (stopped_cleanly, 4.0, 10.005),
        (stopped_cleanly, 11.0, 11.0),
        (killed, 0.0, 10.005),
        (killed, 1.0, 11.005),  # it may have released until now, for all we know
        (killed, 4.0, 12.005),  # but not beyond its reservation
        (killed, 13.0, 13.0),
        (rebooted, 0.0, 10.005),
        (rebooted, 4.0, 14.005),  # the time before the reboot is not known
    ],
)
async def test_a_restart_waits_no_longer_than_the_promise_needs(
    restart: Callable[[FakeClock, LanePacer], Awaitable[None]], rested_s: float, first_s: float
) -> None:
    clock = FakeClock()
    row = Row(clock)
    pacer = pacer_of(clock, row, 0.1)
    await pacer.acquire()
    await restart(clock, pacer)
    clock.pass_time(rested_s)
    again = pacer_of(clock, row, 0.1, state=row.last)
    assert await release_times_s(again, clock, 1) == pytest.approx([first_s], abs=0.0011)


async def test_a_restart_keeps_slowdown_park_and_key() -> None:
    clock = FakeClock()
    row = Row(clock)
    pacer = pacer_of(clock, row)
    await pacer.change(lambda state: replace(throttled(state, clock.now(), 600.0), key_index=1))
    again = pacer_of(clock, row, state=row.last)
    assert (again.state.slowdown, again.state.key_index) == (2.0, 1)
    assert again.opens_in_s() == pytest.approx(600.0)
    assert again.calls_per_s == 0.5


async def test_a_change_whose_caller_is_cancelled_becomes_durable_all_the_same() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=1.0)
    pacer = pacer_of(clock, row)
    first = asyncio.create_task(pacer.change(lambda state: replace(state, strikes=1)))
    await clock.sleep(0.5)
    second = asyncio.create_task(pacer.change(lambda state: replace(state, strikes=2)))
    await clock.sleep(0.1)
    second.cancel()
    await first
    await clock.sleep(2.0)
    assert [state.strikes for state in row.saved] == [1, 2]


# ------------------------------------------------------------------------------------------ calls that are sent late


async def test_a_call_whose_connection_takes_long_holds_the_next_one_back_for_a_window_from_its_sending() -> (
    None
):
    clock = FakeClock()
    pacer = pacer_of(clock)
    await pacer.acquire()
    sending = pacer.sending()
    waiting = asyncio.create_task(pacer.acquire())
    await clock.sleep(30.0)
    assert not waiting.done(), "the first may arrive at any moment"
    await sending.begin()
    sent_s = clock.monotonic()
    await waiting
    assert 1.0 <= clock.monotonic() - sent_s <= 1.01


async def test_a_call_that_is_never_sent_holds_nobody_back_for_longer_than_a_window() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock)
    await pacer.acquire()
    sending = pacer.sending()
    waiting = asyncio.create_task(pacer.acquire())
    await clock.sleep(30.0)
    sending.end()
    ended_s = clock.monotonic()
    await waiting
    assert clock.monotonic() - ended_s <= 1.01
    sending.end()  # once more says nothing new
    waiting = asyncio.create_task(pacer.acquire())
    await clock.sleep(0.9)
    assert not waiting.done()
    await waiting


async def test_connections_that_are_being_made_take_no_more_room_than_their_calls() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, calls_per_s=4.0)
    await pacer.acquire()
    first = pacer.sending()
    for _ in range(3):
        await pacer.acquire()
    waiting = asyncio.create_task(pacer.acquire())
    await clock.sleep(5.0)
    assert waiting.done(), "three beside the one that may arrive at any moment"
    first.end()


async def test_a_call_is_not_sent_beyond_what_is_reserved_before_more_is() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.5)
    pacer = pacer_of(clock, row)
    await pacer.acquire()
    sending = pacer.sending()
    await clock.sleep(60.0)
    assert row.last.reserved_until_s < clock.monotonic()
    await sending.begin()
    assert row.last.reserved_until_s >= clock.monotonic()


async def test_a_call_that_cannot_be_covered_by_a_reservation_is_not_sent() -> None:
    clock = FakeClock()
    row = Row(clock)
    pacer = pacer_of(clock, row)
    await pacer.acquire()
    sending = pacer.sending()
    await clock.sleep(60.0)
    row.full = True
    with pytest.raises(DiskFullError):
        await sending.begin()


async def test_a_call_that_still_waits_for_its_connection_when_the_lane_is_closed_is_not_sent() -> None:
    clock = FakeClock()
    row = Row(clock, latency_s=0.5)
    pacer = pacer_of(clock, row)
    await pacer.acquire()
    sending = pacer.sending()
    await pacer.close()
    closed_at_s = row.last.reserved_until_s
    with pytest.raises(LaneClosedError):
        await sending.begin()
    assert row.last.reserved_until_s == closed_at_s <= clock.monotonic()


async def test_a_lane_that_a_restart_opened_is_remembered_as_open() -> None:
    saved: list[LaneState] = []

    async def save(state: LaneState) -> None:
        saved.append(state)

    opened = LaneState("a/b")
    pacer = LanePacer(LaneSpec("a/b", 1.0), opened, FakeClock(), save, is_changed=True)
    await pacer.close()
    assert [state.parked_until_at for state in saved] == [None]
