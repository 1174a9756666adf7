"""Room on the disk: without it all lanes pause and nobody is blamed; with it they go on by themselves."""

from __future__ import annotations

import asyncio

import pytest

from engine.rig import KEEP_FREE_BYTES, KEY, TARGET, BadSpot, EngineRig, book
from fakes.http import Reply
from fakes.registry import CELLAR, DESK, FakeRegistry, lane_spec
from filingd.core import events
from filingd.core.errors import DiskFaultError, DiskFullError, StoreReplacedError
from filingd.core.model import State
from filingd.engine.supervisor import Until

NOW = 1_795_000_000.0
FULL = DiskFullError("There is no room.")
FAULT = DiskFaultError("The disk refused.")


def two_lanes(shelves: int = 4) -> FakeRegistry:
    registry = FakeRegistry(shelves, lanes=[lane_spec(DESK), lane_spec(CELLAR)])
    registry.lane_of = {key: CELLAR for key in registry.expected(0.0) if key.endswith("/text")}
    return registry


async def test_below_what_is_to_be_kept_free_nothing_is_asked_for_and_everything_else_goes_on() -> None:
    rig = EngineRig(two_lanes())
    rig.store.room_bytes = KEEP_FREE_BYTES - 1
    engine = await rig.begin(Until.SEALED)
    await rig.clock.sleep(600.0)
    assert rig.http.requests == []
    assert len(rig.log.of(events.ROOM_LOW, free_bytes=KEEP_FREE_BYTES - 1)) == 1, "said once"
    assert len(rig.log.of(events.HEARTBEAT)) >= 10
    rig.store.room_bytes = KEEP_FREE_BYTES + 1_000_000
    await rig.ended(engine)
    assert len(rig.log.of(events.ROOM_REGAINED)) == 1
    rig.check_agreement()


async def test_a_disk_that_fills_up_in_a_download_pauses_every_lane_and_costs_no_attempt() -> None:
    rig = EngineRig(two_lanes())
    rig.store.refusals["write"] = FULL
    engine = await rig.begin(Until.SEALED)
    await rig.until(lambda: rig.log.of(events.ROOM_LOW))
    await rig.clock.sleep(5.0)
    asked = len(rig.http.requests)
    assert 1 <= asked <= 4, "at most what was under way"
    assert {(row.state, row.attempts) for row in rig.manifest.rows.values()} == {(State.DUE, 0)}
    assert rig.store.partials == {}
    del rig.store.refusals["write"]
    await rig.ended(engine)
    assert rig.log.of(events.ITEM_FAILED) == []
    rig.check_agreement()


async def test_after_a_refusal_the_disk_is_left_alone_for_an_interval_even_if_it_seems_to_have_room() -> None:
    rig = EngineRig()
    rig.room.refused()
    await rig.room.check()
    assert not rig.room.is_open
    await rig.clock.sleep(10.0)
    await rig.room.check()
    assert rig.room.is_open


async def test_who_waited_for_work_while_the_room_went_does_not_begin_it() -> None:
    rig = EngineRig(FakeRegistry(shelves=0))
    engine = await rig.begin()
    await rig.clock.sleep(30.0)  # every worker waits for something to do by now
    rig.store.room_bytes = 0
    await rig.until(lambda: not rig.room.is_open)
    rig.registry.shelves = 5
    await rig.planner.plan()
    await rig.clock.sleep(600.0)
    assert rig.http.requests == []
    rig.store.room_bytes = 1 << 40
    await rig.until(lambda: len(rig.http.requests) == 10)
    rig.supervisor.stop()
    await rig.ended(engine)


@pytest.mark.parametrize("call", ["stage", "write", "finish", "publish"])
async def test_a_disk_that_refuses_one_body_for_another_reason_than_room_does_not_stop_the_others(
    call: str,
) -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    rig.store_port = spot = BadSpot(rig.store, TARGET, call, FAULT)
    await rig.run(Until.SEALED)
    assert spot.met == 1
    assert rig.log.of(events.ITEM_FAILED, key=KEY, reason="disk_fault")
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    assert rig.log.of(events.ROOM_LOW) == []
    rig.check_agreement()


async def test_a_write_that_cannot_be_left_out_waits_for_room_and_ends_when_filingd_does() -> None:
    rig = EngineRig()
    waiting = asyncio.create_task(rig.room.outlast(FULL))
    watching = asyncio.create_task(rig.room.watch())
    await waiting
    assert rig.clock.now() == pytest.approx(NOW + 10.0)
    ending = asyncio.create_task(rig.room.outlast(FULL))
    await rig.clock.sleep(1.0)
    rig.room.end()
    with pytest.raises(DiskFullError):
        await ending
    watching.cancel()


async def test_a_body_that_did_not_fit_is_fetched_again_when_there_is_room() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, book()))
    rig.store.refusals["finish"] = FULL
    row = await rig.attempt(attempts=1)
    assert (row.state, row.due_at, row.attempts, row.reason) == (State.DUE, NOW, 1, "disk_full")
    assert rig.store.partials == {}
    rig.store.refusals.clear()
    await rig.clock.sleep(10.0)
    await rig.room.check()
    assert (await rig.attempt()).state is State.STORED


async def test_a_disk_that_cannot_be_looked_at_for_a_while_is_told_once_and_ends_nothing() -> None:
    rig = EngineRig()
    watching = asyncio.create_task(rig.room.watch())
    rig.store.refusals["free_bytes"] = FAULT
    await rig.clock.sleep(50.0)
    assert len(rig.log.of(events.ALARM_RAISED, kind="disk_fault")) == 1
    del rig.store.refusals["free_bytes"]
    await rig.clock.sleep(50.0)
    assert rig.room.free_bytes == rig.store.room_bytes
    rig.store.refusals["free_bytes"] = FAULT
    await rig.clock.sleep(50.0)
    assert len(rig.log.of(events.ALARM_RAISED, kind="disk_fault")) == 2, "it is news again"
    assert not watching.done()
    watching.cancel()


async def test_a_store_that_was_exchanged_ends_a_daemon_that_has_nothing_to_do() -> None:
    rig = EngineRig()
    engine = await rig.begin()
    await rig.clock.sleep(600.0)
    assert not engine.done()
    rig.store.is_replaced = True
    with pytest.raises(StoreReplacedError):
        await rig.ended(engine)


async def test_whatever_stumbles_first_over_a_store_that_was_exchanged_the_exchange_is_named() -> None:
    rig = EngineRig()
    engine = await rig.begin()
    await rig.clock.sleep(1.0)

    async def stumble() -> None:
        rig.store.is_replaced = True
        raise KeyError(1)

    rig.planner.plan = stumble  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreReplacedError):
        await rig.ended(engine)
