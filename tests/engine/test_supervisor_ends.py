"""Start, watch and end: what is passing is outlasted, a stop is heeded at any time, and the end takes every step."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from engine.rig import GROUP, KEY, TARGET, EngineRig, Refusing, book, stored_row
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.errors import (
    DiskFaultError,
    ExitCode,
    ManifestBusyError,
    ManifestDamagedError,
    StoreError,
)
from filingd.core.model import State
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BUSY = ManifestBusyError("another process has it")


def never_returns(begun: asyncio.Event) -> Callable[..., Any]:
    async def wait(*_: Any, **__: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    return wait


# ---------------------------------------------------------------- a manifest that is busy


async def test_a_busy_manifest_is_waited_for_and_told_once_a_minute() -> None:
    rig = EngineRig()
    began_s = rig.clock.elapsed_s
    for _ in range(70):
        await rig.supervisor.outlast_busy(BUSY)
    assert rig.clock.elapsed_s - began_s == pytest.approx(70.0)
    assert len(rig.log.of(events.ALARM_RAISED, kind="manifest_busy")) == 2


async def test_a_stop_ends_the_wait_for_a_busy_manifest() -> None:
    rig = EngineRig()
    waiting = asyncio.create_task(rig.supervisor.outlast_busy(BUSY))
    await asyncio.sleep(0)
    rig.supervisor.stop()
    with pytest.raises(ManifestBusyError):
        await waiting
    with pytest.raises(ManifestBusyError):
        await rig.supervisor.outlast_busy(BUSY)


async def test_a_manifest_that_is_busy_at_the_end_is_left_to_the_next_start() -> None:
    rig = EngineRig()
    running = await rig.begin()
    await rig.until(lambda: rig.manifest.kept_groups and rig.row().state is State.STORED)
    rig.manifest.rows[KEY] = stored_row(book(), state=State.RECHECKING)
    refusing = Refusing(rig.manifest, "record", BUSY, times=99)
    rig.rescue._manifest = refusing
    rig.supervisor.stop()
    await running
    assert refusing.left < 99
    assert rig.row().state is State.RECHECKING
    assert rig.log.of(events.DAEMON_STOPPED, reason="told", interrupted=0)


async def test_a_busy_manifest_that_ends_a_run_is_something_outside() -> None:
    rig = EngineRig()
    rig.manifest_port = Refusing(rig.manifest, "changed_elsewhere", BUSY)
    with pytest.raises(ManifestBusyError) as caught:
        await rig.run(Until.STOPPED)
    assert caught.value.exit_code is ExitCode.UNAVAILABLE
    assert rig.log.of(events.DAEMON_STOPPED, reason="died")


# ---------------------------------------------------------------- the end


async def test_every_step_of_the_end_is_taken_whatever_one_of_them_raises(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = EngineRig()
    running = await rig.begin()
    await rig.until(lambda: rig.row().state is State.STORED if KEY in rig.manifest.rows else False)
    rig.manifest.rows[KEY] = stored_row(book(), state=State.RECHECKING)
    rig.lane.close = Refusing(rig.lane, "close", ManifestDamagedError("first")).close  # type: ignore[method-assign]
    rig.worker.desk.drain = Refusing(rig.worker.desk, "drain", StoreError("then")).drain  # type: ignore[method-assign]
    rig.supervisor.stop()
    with pytest.raises(ManifestDamagedError, match="first"):
        await running
    assert rig.row().state is State.STORED, "what was leased was given back all the same"
    assert rig.log.of(events.DAEMON_STOPPED, interrupted=1)
    del running
    gc.collect()
    assert "Traceback" not in capsys.readouterr().err


async def test_all_parts_that_died_are_heard_and_the_first_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = EngineRig()
    rig.build()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    rig.reconciler.run = Refusing(rig.reconciler, "run", StoreError("one")).run  # type: ignore[method-assign]
    rig.planner.run = Refusing(rig.planner, "run", StoreError("two")).run  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await rig.supervisor.run(Until.STOPPED)
    rig.supervisor._helpers.clear()
    gc.collect()
    assert told == []
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- the start


async def test_a_stop_while_the_last_run_is_settled_is_heeded_at_once_and_leaves_the_leases() -> None:
    rig = EngineRig()
    rig.manifest.rows[KEY] = stored_row(book(), state=State.RECHECKING)
    rig.store.published[TARGET] = book("a newer one, not recorded yet")
    begun = asyncio.Event()
    rig.store.check = never_returns(begun)  # type: ignore[method-assign]
    running = await rig.begin()
    await begun.wait()
    rig.supervisor.stop()
    async with asyncio.timeout(10):
        await running
    assert rig.row().state is State.RECHECKING, "nobody knows yet what lies there: the next start looks"
    assert rig.log.of(events.DAEMON_STOPPED, reason="told")


async def test_what_goes_wrong_at_the_start_is_raised_and_the_end_is_told() -> None:
    rig = EngineRig()
    rig.manifest_port = Refusing(rig.manifest, "leased_items", ManifestDamagedError("torn"))
    with pytest.raises(ManifestDamagedError, match="torn"):
        await rig.run()
    assert rig.log.of(events.DAEMON_STOPPED, reason="died")


# ---------------------------------------------------------------- the sweep


@pytest.mark.parametrize(
    ("error", "kind"), [(DiskFaultError("EIO"), "sweep_failed"), (ZeroDivisionError(), "defect")]
)
async def test_a_sweep_that_cannot_go_on_is_told_and_the_mirror_goes_on(error: Exception, kind: str) -> None:
    rig = EngineRig()
    rig.build()
    rig.rescue.sweep = Refusing(rig.rescue, "sweep", error).sweep  # type: ignore[method-assign]
    await rig.supervisor.run(Until.SEALED)
    assert rig.log.of(events.ALARM_RAISED, kind=kind)
    assert rig.log.of(events.DAEMON_STOPPED, reason="done")
    rig.check_agreement()


async def test_a_stop_after_a_sweep_that_failed_is_no_failure() -> None:
    rig = EngineRig()
    rig.build()
    rig.rescue.sweep = Refusing(rig.rescue, "sweep", DiskFaultError("EIO")).sweep  # type: ignore[method-assign]
    running = asyncio.create_task(rig.supervisor.run(Until.STOPPED))
    await rig.until(lambda: rig.log.of(events.ALARM_RAISED, kind="sweep_failed"))
    rig.supervisor.stop()
    await running
    assert rig.log.of(events.DAEMON_STOPPED, reason="told")


# ---------------------------------------------------------------- other processes


async def test_a_seal_that_another_process_took_back_is_judged_anew() -> None:
    rig = EngineRig(FakeRegistry(2))
    running = await rig.begin()
    await rig.until(lambda: len(rig.log.of(events.DAY_SEALED)) == 2)
    group = rig.manifest.kept_groups[GROUP]
    await rig.unsealer.unseal(group.key, TARGET, "its seal did not hold")
    await rig.clock.sleep(60.0)
    assert rig.manifest.kept_groups[GROUP].sealed_at is None, "nothing was noticed yet"
    rig.manifest.touch_elsewhere()
    await rig.until(lambda: len(rig.log.of(events.DAY_SEALED)) == 3)
    rig.supervisor.stop()
    await running
    rig.check_agreement()


async def test_a_command_that_writes_all_the_time_has_open_days_judged_only_now_and_then() -> None:
    rig = EngineRig()
    rig.registry.open_reasons[GROUP] = "a page is missing"
    running = await rig.begin()
    await rig.until(lambda: rig.log.of(events.DAY_OPEN))
    noted: list[str] = []
    note = rig.reconciler.note

    def noting(groups: Iterable[str]) -> None:
        noted.extend(groups := list(groups))
        note(groups)

    rig.reconciler.note = noting  # type: ignore[method-assign]
    for _ in range(60):
        rig.manifest.touch_elsewhere()
        await rig.clock.sleep(1.0)
    rig.supervisor.stop()
    await running
    assert 3 <= noted.count(GROUP) <= 6
