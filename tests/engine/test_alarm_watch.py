"""Standing alarms at work: said once, remembered across restarts, over when they are over; a disk that refuses is no obstacle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from engine.rig import Refusing, SeenSteps
from fakes.clock import FakeClock
from fakes.log import FakeLog
from fakes.store import FakeStore
from filingd.core import alarms, events
from filingd.core.alarms import Bounds, Facts, LaneFacts
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.layout import ALARMS_NAME
from filingd.core.limits import LaneState
from filingd.engine.alarm_watch import AlarmWatch

DAY_S = 86_400.0
CLOSED = LaneState("lib/desk", park_reason="keys_refused", blocks=1, parked_until_at=1.0)


class Facing:
    """Facts as a test wants them, read at the clock's instant."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.looks = 0
        self.facts = Facts(0.0, (), ())

    async def gather(self) -> Facts:
        self.looks += 1
        return replace(self.facts, now=self._clock.now())


class Watched:
    """A watch on fakes; `again` is the same world after a restart."""

    def __init__(self, former: Watched | None = None) -> None:
        self.clock: FakeClock = former.clock if former else FakeClock()
        self.log = FakeLog()
        self.store: Any = former.store if former else FakeStore(SeenSteps())
        self.facing = Facing(self.clock)
        self.watch = self.made(self.store)

    def made(self, store: Any) -> AlarmWatch:
        gatherer: Any = self.facing
        return AlarmWatch(gatherer, Bounds(), DAY_S, store, self.clock, self.log)

    def lanes(self, *states: LaneState) -> None:
        self.facing.facts = Facts(
            0.0, (), [LaneFacts(state, "go away") for state in states], clock_ahead_s=0.0
        )

    def kinds(self, event: str = events.ALARM_RAISED) -> list[str]:
        return [facts["kind"] for facts in self.log.of(event)]


async def test_an_alarm_says_what_where_since_when_and_what_to_do() -> None:
    watched = Watched()
    watched.lanes(CLOSED)
    await watched.watch.look()
    (said,) = watched.log.of(events.ALARM_RAISED)
    assert (said["kind"], said["subject"], said["lane"], said["detail"]) == (
        "lane_blocked",
        "lib/desk",
        "lib/desk",
        "go away",
    )
    assert said["remedy"] == alarms.KINDS["lane_blocked"].remedy
    assert "group" not in said
    assert "repeated" not in said


async def test_it_is_said_once_repeated_after_a_day_and_its_end_is_told() -> None:
    watched = Watched()
    watching = asyncio.create_task(watched.watch.run())
    watched.lanes(CLOSED)
    await watched.clock.sleep(DAY_S / 2)
    assert watched.kinds() == ["lane_blocked"]
    await watched.clock.sleep(DAY_S)
    assert watched.kinds() == ["lane_blocked"] * 2
    assert watched.log.of(events.ALARM_RAISED)[1]["repeated"] is True
    watched.lanes()
    await watched.clock.sleep(61.0)
    assert watched.kinds(events.ALARM_CLEARED) == ["lane_blocked"]
    watching.cancel()
    await asyncio.wait({watching})


async def test_a_poke_is_followed_by_a_look_at_once_and_pokes_together_by_one() -> None:
    watched = Watched()
    watching = asyncio.create_task(watched.watch.run())
    await watched.clock.sleep(10.0)
    looks, poked_at = watched.facing.looks, watched.clock.now()
    watched.lanes(CLOSED)
    for _ in range(100):
        watched.watch.poke()
    await watched.clock.sleep(0.1)
    assert watched.facing.looks == looks + 1
    assert watched.kinds() == ["lane_blocked"]
    assert watched.clock.now() < poked_at + 0.2
    watching.cancel()
    await asyncio.wait({watching})


async def test_a_restart_says_nothing_twice_and_tells_the_end_of_what_was_said_before() -> None:
    before = Watched()
    before.lanes(CLOSED)
    await before.watch.look()
    after = Watched(before)
    after.lanes(CLOSED)
    await after.watch.look()
    assert after.kinds() == []
    after.lanes()
    await after.watch.look()
    assert after.kinds(events.ALARM_CLEARED) == ["lane_blocked"]
    assert alarms.told_of(after.store.published[ALARMS_NAME].decode()) == []


async def test_nothing_is_written_while_nothing_is_news() -> None:
    watched = Watched()
    for _ in range(3):
        await watched.watch.look()
    assert ALARMS_NAME not in watched.store.published
    watched.lanes(CLOSED)
    await watched.watch.look()
    written = watched.store.published.pop(ALARMS_NAME)
    await watched.watch.look()
    assert ALARMS_NAME not in watched.store.published
    assert b"lane_blocked" in written


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("read_text", DiskFaultError("broken")),
        ("write_text", DiskFaultError("broken")),
        ("write_text", DiskFullError("full")),
    ],
)
async def test_a_disk_that_refuses_keeps_nobody_from_being_told(call: str, error: Exception) -> None:
    watched = Watched()
    watch = watched.made(Refusing(watched.store, call, error))
    watched.lanes(CLOSED)
    await watch.look()
    await watch.look()
    assert watched.kinds() == ["lane_blocked"]


async def test_a_file_of_rubbish_is_written_anew() -> None:
    watched = Watched()
    await watched.store.write_text(ALARMS_NAME, "rubbish")
    watched.lanes(CLOSED)
    await watched.watch.look()
    assert watched.kinds() == ["lane_blocked"]
    assert len(alarms.told_of(watched.store.published[ALARMS_NAME].decode())) == 1
