"""The fake clock keeps its own promises: time moves only when everybody sleeps."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from fakes.clock import FakeClock


async def test_sleepers_wake_in_the_order_of_time_and_see_exact_instants() -> None:
    clock, woken = FakeClock(monotonic_s=0.0), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    await asyncio.gather(*(sleeper(seconds) for seconds in (3600.0, 1.0, 60.0, 0.0)))
    assert woken == [(0.0, 0.0), (1.0, 1.0), (60.0, 60.0), (3600.0, 3600.0)]


async def test_who_wakes_at_the_same_instant_wakes_in_the_order_of_falling_asleep() -> None:
    clock, woken = FakeClock(), []

    async def sleeper(number: int) -> None:
        await clock.sleep(5.0)
        woken.append(number)

    await asyncio.gather(*(sleeper(number) for number in range(20)))
    assert woken == list(range(20))


async def test_time_stands_still_while_somebody_still_works() -> None:
    clock, busy_until_turn = FakeClock(monotonic_s=0.0), 50
    seen_s = []

    async def worker() -> None:
        for _ in range(busy_until_turn):
            seen_s.append(clock.monotonic())
            await asyncio.sleep(0)

    sleeper = asyncio.create_task(clock.sleep(1.0))
    await asyncio.gather(worker(), sleeper)
    assert seen_s == [0.0] * busy_until_turn
    assert clock.monotonic() == 1.0


async def test_a_chain_of_futures_runs_to_its_end_before_time_moves() -> None:
    clock, seen_s = FakeClock(monotonic_s=0.0), []
    links = [asyncio.get_running_loop().create_future() for _ in range(10)]

    async def link(number: int) -> None:
        await links[number]
        if number + 1 < len(links):
            links[number + 1].set_result(None)
        seen_s.append(clock.monotonic())

    tasks = [asyncio.create_task(link(number)) for number in range(len(links))]
    late = asyncio.create_task(clock.sleep(9.0))
    await clock.sleep(1.0)
    links[0].set_result(None)
    await asyncio.gather(*tasks, late)
    assert seen_s == [1.0] * 10


async def test_a_sleeper_that_is_cancelled_does_not_move_time() -> None:
    clock = FakeClock(monotonic_s=0.0)
    long = asyncio.create_task(clock.sleep(100.0))
    await clock.sleep(1.0)
    assert clock.sleepers == 1
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await clock.sleep(1.0)
    assert (clock.monotonic(), clock.sleepers) == (2.0, 0)


async def test_time_can_be_held_while_the_world_outside_works() -> None:
    clock, seen_s = FakeClock(monotonic_s=0.0), []
    sleeper = asyncio.create_task(clock.sleep(1.0))
    with clock.held():
        for _ in range(20):
            await asyncio.to_thread(lambda: None)
            seen_s.append(clock.monotonic())
    await sleeper
    assert seen_s == [0.0] * 20
    assert clock.monotonic() == 1.0


async def test_wake_ups_are_as_late_as_the_test_wants() -> None:
    late_s = itertools.chain([0.25], itertools.repeat(0.0))
    clock = FakeClock(monotonic_s=0.0, late_by=lambda: next(late_s))
    await clock.sleep(1.0)
    assert clock.monotonic() == 1.25
    await clock.sleep(1.0)
    assert clock.monotonic() == 2.25


async def test_stepping_the_wall_clock_leaves_monotonic_time_alone() -> None:
    clock = FakeClock(now_at=1000.0, monotonic_s=10.0)
    clock.step_wall(-500.0)
    await clock.sleep(1.0)
    assert (clock.now(), clock.monotonic(), clock.elapsed_s) == (501.0, 11.0, 1.0)


async def test_a_reboot_begins_monotonic_time_anew_under_another_name_and_the_truth_goes_on() -> None:
    clock = FakeClock(now_at=1000.0, monotonic_s=10.0)
    await clock.sleep(2.0)
    before = clock.boot_id()
    clock.reboot(took_s=30.0)
    assert clock.boot_id() != before
    assert clock.monotonic() < 12.0
    assert (clock.now(), clock.elapsed_s) == (1032.0, 32.0)


def test_one_clock_outlives_event_loops() -> None:
    clock = FakeClock(monotonic_s=0.0)

    async def dies_while_others_sleep() -> None:
        asyncio.create_task(clock.sleep(100.0)).add_done_callback(lambda _: None)
        await clock.sleep(1.0)

    asyncio.run(dies_while_others_sleep())
    asyncio.run(clock.sleep(1.0))
    assert clock.monotonic() == 2.0
