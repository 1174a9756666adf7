"""Starts everything, watches over it, and ends it: no new work, a grace period, then what is under way is kept or returned."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filingd.core import events
from filingd.core.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from filingd.engine.heartbeat import Heartbeat
    from filingd.engine.lane import Lane
    from filingd.engine.planner import Planner
    from filingd.engine.reconciler import Reconciler
    from filingd.engine.rescue import Rescue
    from filingd.engine.room import RoomGate
    from filingd.engine.worker import Worker
    from filingd.ports import Clock, Log, Manifest, Registry

_LOOK_S = 0.1
_ELSEWHERE_S = 1.0


class Until(enum.Enum):
    """When a run ends by itself."""

    STOPPED = "stopped"  # only when it is told to
    IDLE = "idle"  # when nothing is due
    SEALED = "sealed"  # when every expected day is sealed


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of a running service, as the composition root made them."""

    registry: Registry
    manifest: Manifest
    clock: Clock
    log: Log
    lanes: Mapping[str, Lane]
    worker: Worker
    planner: Planner
    reconciler: Reconciler
    rescue: Rescue
    room: RoomGate
    heartbeat: Heartbeat


class Supervisor:
    """Runs an engine until it is stopped or done."""

    def __init__(self, engine: Engine, grace_period_s: float) -> None:
        self._engine = engine
        self._grace_period_s = grace_period_s
        self._stop = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._helpers: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End soon. May be called from a signal handler; a second call changes nothing."""
        self._stop.set()

    async def run(self, until: Until) -> None:
        """Run to the end.

        Raises:
            Exception: what a part of the engine died of; everything was stopped in order first.
        """
        await self._engine.rescue.in_flight()
        await self._engine.room.check()
        await self._engine.planner.plan()
        await self._note_open_groups()
        self._start()
        try:
            await self._watch(until)
        finally:
            await self._shut_down()
        self._raise_what_died()

    # ------------------------------------------------------------------ start

    def _start(self) -> None:
        engine = self._engine
        for lane in engine.lanes.values():
            for number in range(lane.spec.concurrency):
                self._workers.add(asyncio.create_task(engine.worker.run(lane), name=f"{lane.name} {number}"))
        self._help(engine.worker.desk.run(), "documents")
        self._help(engine.planner.run(), "planner")
        self._help(engine.reconciler.run(), "reconciler")
        self._help(engine.room.watch(), "room")
        self._help(engine.heartbeat.run(), "heartbeat")
        self._help(self._listen(), "listener")
        self._sweep = asyncio.create_task(self._sweep_once(), name="sweep")

    def _help(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._helpers.add(asyncio.create_task(work, name=name))

    async def _sweep_once(self) -> None:
        await self._engine.rescue.sweep()

    async def _note_open_groups(self) -> None:
        groups = await self._engine.manifest.groups(f"{self._engine.registry.name}/")
        self._engine.reconciler.note(group.key for group in groups if group.sealed_at is None)

    async def _listen(self) -> None:
        """Notice what another process wrote to the manifest, such as `filingd items retry`."""
        while True:
            await self._engine.clock.sleep(_ELSEWHERE_S)
            if await self._engine.manifest.changed_elsewhere():
                self.wake()

    def wake(self) -> None:
        """Let every lane look for work."""
        for lane in self._engine.lanes.values():
            lane.wake()

    # ------------------------------------------------------------------ watch

    async def _watch(self, until: Until) -> None:
        while not self._stop.is_set() and not self._dead():
            if until is not Until.STOPPED and await self._is_done(until):
                return
            await self._pause(None if until is Until.STOPPED else _LOOK_S)

    async def _pause(self, seconds: float | None) -> None:
        """Until something ends, it is time to look again, or we are told to stop."""
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(self._stop.wait(), name="stop")}
        if seconds is not None:
            waits.add(asyncio.create_task(self._engine.clock.sleep(seconds), name="look"))
        sweeping = {self._sweep} if self._sweep is not None and not self._sweep.done() else set()
        try:
            await asyncio.wait(
                {*waits, *self._workers, *self._helpers, *sweeping}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()

    def _dead(self) -> list[asyncio.Task[None]]:
        swept = self._sweep is not None and self._sweep.done() and self._sweep.exception() is not None
        dead = [task for task in (*self._workers, *self._helpers) if task.done()]
        return [*dead, self._sweep] if swept and self._sweep is not None else dead

    async def _is_done(self, until: Until) -> bool:
        swept = self._sweep is not None and self._sweep.done()
        if not swept or not self._engine.reconciler.is_idle:
            return False
        if until is Until.SEALED:
            return await self._is_sealed()
        return await self._is_idle()

    async def _is_sealed(self) -> bool:
        groups = await self._engine.manifest.groups(f"{self._engine.registry.name}/")
        return all(group.sealed_at is not None for group in groups) and self._engine.worker.in_flight == 0

    async def _is_idle(self) -> bool:
        engine = self._engine
        if engine.worker.in_flight or any(lane.holds_items for lane in engine.lanes.values()):
            return False
        for lane in engine.lanes.values():
            due_at = await engine.manifest.next_due_at(lane.name)
            if due_at is not None and due_at <= engine.clock.now() and not lane.is_blocked:
                return False
        return engine.worker.in_flight == 0 and engine.reconciler.is_idle

    # ------------------------------------------------------------------ end

    async def _shut_down(self) -> None:
        engine = self._engine
        reason = "told" if self._stop.is_set() else "died" if self._dead() else "done"
        engine.log.info(events.DAEMON_STOPPING, reason=reason, active=engine.worker.in_flight,
                        grace_period_s=self._grace_period_s)  # fmt: skip
        engine.worker.stopping = True
        engine.room.end()
        await self._close_lanes()
        for task in self._workers - engine.worker.busy:
            task.cancel()
        await self._let_finish()
        for task in (*self._workers, *self._helpers, *([self._sweep] if self._sweep else [])):
            task.cancel()
        await asyncio.gather(*self._workers, *self._helpers, return_exceptions=True)
        if self._sweep is not None:
            await asyncio.gather(self._sweep, return_exceptions=True)
        returned = await self._give_back()
        engine.log.info(events.DAEMON_STOPPED, reason=reason, interrupted=returned)

    async def _give_back(self) -> int:
        try:
            return await self._engine.rescue.give_back()
        except DiskFullError:
            return 0  # the rescue of the next start finds them leased, and gives them back then

    async def _close_lanes(self) -> None:
        for lane in self._engine.lanes.values():
            with contextlib.suppress(DiskFullError):  # the reservation that is on the disk is the longer one
                await lane.close()

    async def _let_finish(self) -> None:
        """Items in hand, then the documents they became: all within one grace period."""
        grace = asyncio.create_task(self._engine.clock.sleep(self._grace_period_s), name="grace")
        drained = asyncio.create_task(self._drain(), name="drain")
        try:
            await asyncio.wait({grace, drained}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            grace.cancel()
            drained.cancel()

    async def _drain(self) -> None:
        if self._workers:
            await asyncio.wait(self._workers)
        if not any(helper.done() for helper in self._helpers):  # else nobody may be left who would do it
            await self._engine.worker.desk.drain()

    def _raise_what_died(self) -> None:
        ended = (*self._workers, *self._helpers, *([self._sweep] if self._sweep else []))
        errors = [task.exception() for task in ended if task.done() and not task.cancelled()]
        for error in errors:
            # Whoever waited for room was told to end without it: that is no death.
            if error is not None and not (self._stop.is_set() and isinstance(error, DiskFullError)):
                raise error
