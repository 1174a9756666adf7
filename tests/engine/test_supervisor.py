"""A whole run: it ends when it should, lets what is under way finish, and gives back what it cannot."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.rig import KEY, TARGET, EngineRig, Refusing, book
from fakes.http import Reply
from fakes.registry import DESK, RECHECK_S, RETRY_S, FakeRegistry, lane_spec
from filingd.core import events
from filingd.core.errors import DiskFaultError, DiskFullError, StoreError
from filingd.core.model import LEASED_STATES, Item, State
from filingd.engine.supervisor import Supervisor, Until

if TYPE_CHECKING:
    from filingd.core.model import Request

NOW = 1_795_000_000.0


class DiedError(Exception):
    """What a part of the engine dies of in these tests."""


def longer_than(stamps: list[float], count: int) -> bool:
    return len(stamps) > count


def leased(rig: EngineRig) -> list[str]:
    return [row.key for row in rig.manifest.rows.values() if row.state in LEASED_STATES]


async def held_run(rig: EngineRig, until: Until = Until.STOPPED) -> asyncio.Task[None]:
    """A run with exchanges that are open until the test opens their gate."""
    engine = await rig.begin(until)
    await rig.until(lambda: rig.http.open_now)
    return engine


# ------------------------------------------------------------------------------------------ ending by itself


async def test_a_run_until_sealed_ends_when_every_shelf_is_sealed() -> None:
    rig = EngineRig(FakeRegistry(shelves=5))
    await rig.run(Until.SEALED)
    assert all(group.sealed_at for group in rig.manifest.kept_groups.values())
    assert len(rig.http.requests) == 10
    rig.check_agreement()
    assert rig.log.of(events.DAEMON_STOPPED, reason="done", interrupted=0)


async def test_a_second_run_asks_for_nothing() -> None:
    rig = EngineRig(FakeRegistry(shelves=5))
    await rig.run(Until.SEALED)
    published = dict(rig.store.published)
    for until in (Until.SEALED, Until.IDLE):
        await rig.run(until)
    assert len(rig.http.requests) == 10
    assert rig.store.published == published


async def test_an_errand_works_off_what_is_due_and_neither_plans_nor_sweeps() -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    rig.manifest.rows[KEY] = Item(KEY, rig.lane.name, due_at=NOW)
    rig.supervisor = Supervisor(rig.engine, 5.0, is_errand=True)
    await rig.supervisor.run(Until.IDLE)
    assert {row.key: row.state for row in rig.manifest.rows.values()} == {KEY: State.STORED}
    assert not rig.log.of(events.PLAN_MADE)
    assert not rig.log.of(events.SWEEP_FINISHED)


async def test_a_run_until_idle_ends_when_nothing_is_due_any_more_though_not_all_is_there() -> None:
    rig = EngineRig(respond=lambda _: Reply(500))
    await rig.run(Until.IDLE)
    assert {row.due_at for row in rig.manifest.rows.values()} == {NOW + RETRY_S}
    assert rig.clock.now() < NOW + RETRY_S
    assert len(rig.http.requests) == 2


async def test_a_run_until_sealed_goes_on_until_what_failed_is_there() -> None:
    replies = [Reply(500)] * 3
    rig = EngineRig(respond=lambda request: replies.pop() if replies else Reply(200, book(request.url)))
    await rig.run(Until.SEALED)
    assert rig.clock.now() >= NOW + RETRY_S
    rig.check_agreement()


async def test_a_run_does_not_end_before_the_sweep_is_through() -> None:
    rig = EngineRig(FakeRegistry(shelves=0))
    files, gate = rig.store.files, asyncio.Event()

    async def slow_files(prefix: str) -> object:
        await gate.wait()
        return await files(prefix)

    rig.store.files = slow_files  # type: ignore[method-assign, assignment]
    engine = await rig.begin(Until.IDLE)
    await rig.clock.sleep(30.0)
    assert not engine.done()
    gate.set()
    await rig.ended(engine)


async def test_second_looks_come_by_themselves_when_they_are_due() -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    engine = await rig.begin()
    await rig.until(lambda: len(rig.http.requests) == 1)
    await rig.clock.sleep(RECHECK_S + 61.0)
    assert len(rig.http.requests) == 2
    rig.supervisor.stop()
    await rig.ended(engine)
    rig.check_agreement()


async def test_what_another_process_wrote_is_noticed() -> None:
    rig = EngineRig(FakeRegistry(shelves=0))
    engine = await rig.begin()
    await rig.clock.sleep(30.3)
    rig.manifest.rows[KEY] = Item(KEY, DESK, due_at=rig.clock.now())
    rig.manifest.touch_elsewhere()
    await rig.clock.sleep(1.0)
    assert len(rig.http.requests) == 1
    rig.supervisor.stop()
    await rig.ended(engine)


# ------------------------------------------------------------------------------------------ being stopped


async def test_told_to_stop_it_begins_nothing_new_and_lets_what_is_under_way_finish() -> None:
    gate = asyncio.Event()
    rig = EngineRig(FakeRegistry(shelves=9), lambda _: Reply(200, book(), gate=gate))
    engine = await held_run(rig)
    under_way = rig.http.open_now
    rig.supervisor.stop()
    await rig.clock.sleep(2.0)
    assert not engine.done()
    gate.set()
    await rig.ended(engine)
    assert rig.clock.now() < NOW + 5.0
    stored = [row for row in rig.manifest.rows.values() if row.state is State.STORED]
    assert len(stored) == under_way == len(rig.http.requests)
    assert leased(rig) == []
    rig.check_agreement()
    assert rig.log.of(events.DAEMON_STOPPING, reason="told", active=under_way)
    assert rig.log.of(events.DAEMON_STOPPED, reason="told", interrupted=0)


async def test_what_does_not_finish_within_the_grace_period_is_cut_kept_and_given_back() -> None:
    never = asyncio.Event()
    reply = Reply(200, book(), {"ETag": '"one"'}, body_gate=never)
    rig = EngineRig(FakeRegistry(shelves=9), lambda _: reply, grace_period_s=5.0)
    engine = await held_run(rig)
    under_way, began_at = rig.http.open_now, rig.clock.now()
    rig.supervisor.stop()
    await rig.ended(engine)
    assert rig.clock.now() == pytest.approx(began_at + 5.0)
    assert leased(rig) == []
    assert {(row.state, row.attempts) for row in rig.manifest.rows.values()} == {(State.DUE, 0)}
    assert len(rig.store.partials) == under_way
    assert {name for name in rig.store.published if name.endswith(".zip")} == set()
    assert rig.log.of(events.DAEMON_STOPPED, interrupted=under_way)
    assert rig.http.open_now == 0


async def test_a_stop_while_nothing_is_under_way_is_at_once() -> None:
    rig = EngineRig()
    engine = await rig.begin()
    await rig.clock.sleep(100.0)
    began_at = rig.clock.now()
    rig.supervisor.stop()
    rig.supervisor.stop()
    await rig.ended(engine)
    assert rig.clock.now() == began_at


async def test_a_stop_before_the_run_begins_is_not_lost() -> None:
    rig = EngineRig()
    rig.supervisor.stop()
    await rig.supervisor.run(Until.STOPPED)
    assert rig.http.requests == []
    assert leased(rig) == []


@pytest.mark.parametrize("body", ["edition one", "edition two!"])
async def test_a_body_that_is_being_exchanged_at_the_end_of_the_grace_period_is_recorded_all_the_same(
    body: str,
) -> None:
    """Cut between the exchange and its row, the row would speak of bytes that are not there any more."""
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    await rig.attempt()
    rig.manifest.rows[KEY] = replace(rig.row(), due_at=NOW)
    rig.http._respond = lambda _: Reply(200, book(body))
    stage = rig.store.stage
    published = asyncio.Event()

    async def slow_stage(target: str, *given: object) -> object:
        staged = await stage(target, *given)  # type: ignore[arg-type]  # passed on as they came
        publish = staged.publish

        async def slow_publish(previous_to: str | None) -> str:
            place = await publish(previous_to)
            published.set()
            await rig.clock.sleep(60.0)
            return place

        staged.publish = slow_publish  # type: ignore[method-assign]
        return staged

    rig.store.stage = slow_stage  # type: ignore[method-assign, assignment]
    engine = await rig.begin()
    await published.wait()
    rig.supervisor.stop()
    await rig.ended(engine)
    assert rig.row().version == 2
    assert rig.store.published[TARGET] == book(body)
    rig.check_agreement()


async def test_a_lane_is_not_faster_after_a_stop_and_a_start() -> None:
    registry = FakeRegistry(shelves=30, leaves=("list",), lanes=[lane_spec(calls_per_s=2.0, burst=1)])
    rig = EngineRig(registry)
    stamps: list[float] = []

    def respond(_: Request) -> Reply:
        stamps.append(rig.clock.elapsed_s)
        return Reply(200, book())

    rig.http._respond = respond
    for _ in range(10):
        engine = await rig.begin()
        await rig.until(functools.partial(longer_than, stamps, len(stamps)))
        rig.supervisor.stop()
        await rig.ended(engine)
    assert all(later - earlier >= 1.0 for earlier, later in zip(stamps, stamps[2:], strict=False))


# ------------------------------------------------------------------------------------------ when a part dies


@pytest.mark.parametrize(
    "call", ["groups", "counts", "changed_elsewhere", "scheduled_counts", "next_due_at", "lease"]
)
async def test_a_part_that_dies_stops_the_run_in_order_and_its_error_is_raised(call: str) -> None:
    rig = EngineRig(FakeRegistry(shelves=0))
    rig.manifest.rows[KEY] = Item(KEY, DESK, due_at=NOW + 1e6)
    engine = await rig.begin()
    await rig.clock.sleep(2.0)
    failing = Refusing(rig.manifest, call, DiedError(call), times=10**6)
    for part in (rig.planner, rig.supervisor._engine.heartbeat, rig.lane):
        part._manifest = failing  # a manifest that fails from now on
    object.__setattr__(rig.supervisor._engine, "manifest", failing)
    with pytest.raises(DiedError, match=call):
        await rig.ended(engine)
    assert leased(rig) == []
    assert rig.log.of(events.DAEMON_STOPPED)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DiedError("odd"), "defect"),
        (DiskFaultError("broken"), "sweep_failed"),
        (DiskFullError("full"), "sweep_failed"),
    ],
)
async def test_a_sweep_that_fails_is_told_and_the_work_goes_on(error: Exception, kind: str) -> None:
    rig = EngineRig()
    rig.store_port = Refusing(rig.store, "files", error)
    await rig.run(Until.SEALED)
    rig.check_agreement()
    (alarm,) = rig.log.of(events.ALARM_RAISED, kind=kind)
    assert str(error) in alarm["detail"]


async def test_a_manifest_that_fails_in_the_sweep_ends_the_run_at_once_with_its_error() -> None:
    rig = EngineRig()
    rig.manifest_port = Refusing(rig.manifest, "page", StoreError("It is damaged."))
    with pytest.raises(StoreError, match="It is damaged"):
        await rig.run(Until.STOPPED)


async def test_a_part_that_dies_lets_the_transfers_under_way_finish_first() -> None:
    gate = asyncio.Event()
    rig = EngineRig(respond=lambda _: Reply(200, book(), gate=gate))
    engine = await held_run(rig)
    beat = rig.supervisor._engine.heartbeat

    async def die() -> None:
        raise DiedError("heartbeat")

    beat.beat = die  # type: ignore[method-assign]
    await rig.until(lambda: rig.log.of(events.DAEMON_STOPPING))
    gate.set()
    with pytest.raises(DiedError):
        await rig.ended(engine)
    assert {row.state for row in rig.manifest.rows.values()} == {State.STORED}
    assert rig.log.of(events.DAEMON_STOPPING, reason="died")


async def test_a_manifest_that_fails_in_the_middle_of_an_item_ends_the_run_with_its_error() -> None:
    rig = EngineRig()
    rig.manifest_port = Refusing(rig.manifest, "record", StoreError("It is closed."), times=10**6)
    rig.build()
    for key in rig.registry.expected(NOW):
        rig.manifest.rows[key] = Item(key, DESK, due_at=NOW)
    with pytest.raises(StoreError, match="It is closed"):
        await rig.supervisor.run(Until.SEALED)


async def test_a_full_disk_does_not_keep_a_run_from_ending_in_order() -> None:
    rig = EngineRig()
    engine = await rig.begin()
    await rig.clock.sleep(5.0)
    failing = Refusing(rig.manifest, "save_lane", DiskFullError("full"), times=10**6)
    rig.lane.pacer._save = failing.save_lane
    rig.manifest.rows[KEY] = Item(KEY, DESK, State.ACTIVE, due_at=None)
    rig.supervisor.stop()
    await rig.ended(engine)
    assert rig.log.of(events.DAEMON_STOPPED)
    assert leased(rig) == []
