"""Starts everything, watches over it, and ends it: no new work, a grace period, then what is under way is kept or returned."""

from __future__ import annotations

import asyncio
import enum
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from filingd.core import events
from filingd.core.errors import (
    DiskFaultError,
    DiskFullError,
    FilingdError,
    LedgerBusyError,
    ManifestBusyError,
)
from filingd.engine.defects import told
from filingd.engine.following import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from filingd.engine.account import Account
    from filingd.engine.alarm_watch import AlarmWatch
    from filingd.engine.following import Follower
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.gate import Gate
    from filingd.engine.heartbeat import Heartbeat
    from filingd.engine.key_watch import KeyWatch
    from filingd.engine.lane import Lane
    from filingd.engine.planner import Planner
    from filingd.engine.reconciler import Reconciler
    from filingd.engine.rescue import Rescue
    from filingd.engine.room import RoomGate
    from filingd.engine.watcher import Watchers
    from filingd.engine.worker import Worker
    from filingd.ports import Clock, Log, Manifest, Registry, Store

T = TypeVar("T")

_LOOK_S = 0.1
_WATCHLISTS = "watchlists"
_ELSEWHERE_S = 1.0
_JUDGE_ELSEWHERE_S = 15.0  # a command that writes for an hour must not have every open day judged each second
_BUSY_PAUSE_S = 1.0
_BUSY_TOLD_EVERY_S = 60.0


class Until(enum.Enum):
    """When a run ends by itself."""

    STOPPED = "stopped"  # only when it is told to
    IDLE = "idle"  # when nothing is due
    SEALED = "sealed"  # when every expected day is sealed


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of a running service, as the composition root made them."""

    registry: Registry
    store: Store
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
    key_watch: KeyWatch | None = None
    followers: Sequence[Follower] = ()
    watchers: Watchers | None = None
    forgetter: Forgetter | None = None
    alarm_watch: AlarmWatch | None = None
    gates: Sequence[Gate] = ()
    accounts: Sequence[Account] = ()


class Supervisor:
    """Runs an engine until it is stopped or done."""

    def __init__(self, engine: Engine, grace_period_s: float, *, is_errand: bool = False) -> None:
        """`is_errand`: what the manifest hands out is worked off and nothing else is begun: no plan, no sweep."""
        self._engine = engine
        self._is_errand = is_errand
        self._grace_period_s = grace_period_s
        self._stop = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._helpers: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.Task[None] | None = None
        self._ending = False
        self._busy_told_s: float | None = None
        self._guard = Guard(engine.clock, engine.log)

    def stop(self) -> None:
        """End soon. May be called from a signal handler; a second call changes nothing."""
        self._stop.set()

    def reload(self) -> None:
        """Look again at the keys, and at what else lies beside the configuration. May be called from a signal handler."""
        if self._engine.key_watch is not None:
            self._engine.key_watch.reload()

    async def run(self, until: Until) -> None:
        """Run to the end.

        Raises:
            Exception: what a part of the engine died of; everything was stopped in order first.
        """
        failures: list[Exception] = []
        endings: list[Exception] = []
        try:
            if await self._begin():
                await self._watch(until)
        except Exception as error:  # noqa: BLE001 - raised below, when everything was stopped
            failures.append(error)
        finally:
            endings = await self._shut_down(has_failed=bool(failures))
        errors = [*failures, *self._what_died_of(), *endings]
        if errors:
            await self._raise_if_replaced()
        self._raise_what_ended_it(errors)

    async def _raise_if_replaced(self) -> None:
        """A store that was exchanged is the cause, whatever part of us stumbled over it first."""
        with suppress(DiskFaultError):
            await self._engine.store.check_in_place()

    async def outlast_busy(self, error: ManifestBusyError | LedgerBusyError) -> None:
        """Another process holds the manifest, or the ledger: return when it is worth trying again, and say so now and then.

        Raises:
            ManifestBusyError, LedgerBusyError: `error` itself, because filingd is stopping.
        """
        if not self._ending and not self._stop.is_set():
            self._tell_busy(error)
            await self._first_of(self._engine.clock.sleep(_BUSY_PAUSE_S), self._stop.wait())
        if self._ending or self._stop.is_set():
            raise error

    def _tell_busy(self, error: ManifestBusyError | LedgerBusyError) -> None:
        now_s = self._engine.clock.monotonic()
        if self._busy_told_s is None or now_s - self._busy_told_s >= _BUSY_TOLD_EVERY_S:
            self._busy_told_s = now_s
            kind = "manifest_busy" if isinstance(error, ManifestBusyError) else "ledger_busy"
            self._engine.log.error(events.ALARM_RAISED, kind=kind, detail=str(error))

    @staticmethod
    async def _first_of(*works: Coroutine[Any, Any, Any]) -> None:
        """Wait for one of them, and let go of the others. None of them may raise."""
        tasks = {asyncio.create_task(work) for work in works}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    # ------------------------------------------------------------------ start

    async def _begin(self) -> bool:
        """Do what comes before all work, and begin it. False: we were told to stop, and nothing was begun."""
        preparing = asyncio.create_task(self._prepare(), name="start")
        try:
            await self._first_of(asyncio.wait({preparing}), self._stop.wait())
        finally:
            preparing.cancel()
            await asyncio.wait({preparing})
        if preparing.cancelled():
            return False
        preparing.result()
        if self._stop.is_set():
            return False
        self._start()
        return True

    async def _prepare(self) -> None:
        if self._engine.forgetter is not None:
            await self._engine.forgetter.load()  # before anything is adopted or arrives
        await self._engine.rescue.in_flight()
        await self._engine.room.check()
        if self._is_errand:
            return
        if self._engine.watchers is not None:
            await self._engine.watchers.read()
        await self._engine.planner.plan()
        await self._note_open_groups()

    def _start(self) -> None:
        engine = self._engine
        for lane in engine.lanes.values():
            for number in range(lane.spec.concurrency):
                self._workers.add(asyncio.create_task(engine.worker.run(lane), name=f"{lane.name} {number}"))
        self._help(engine.worker.desk.run(), "documents")
        self._help(engine.reconciler.run(), "reconciler")
        self._help(engine.room.watch(), "room")
        if engine.key_watch is not None:
            self._help(engine.key_watch.run(), "keys")
        self._help(self._stay_in_place(), "place")
        if self._is_errand:
            return
        self._help(engine.planner.run(), "planner")
        self._help(engine.heartbeat.run(), "heartbeat")
        if engine.alarm_watch is not None:
            self._help_guarded("alarms", engine.alarm_watch.run)
        self._help(self._listen(), "listener")
        for number, follower in enumerate(engine.followers):
            self._help_guarded(f"follower {number}", follower.run)
        for number, watcher in enumerate(engine.watchers or ()):
            self._help_guarded(f"{_WATCHLISTS} {number}", watcher.run)
        if engine.forgetter is not None:
            self._help(engine.forgetter.run(), "forgetting")
        self._sweep = asyncio.create_task(self._sweep_once(), name="sweep")

    def _help(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._helpers.add(asyncio.create_task(work, name=name))

    def _help_guarded(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._help(self._guard.keep(name, run), name)

    async def _sweep_once(self) -> None:
        """What the disk or a defect keeps us from looking at is told; the mirror goes on without it."""
        try:
            await self._engine.rescue.sweep()
        except (DiskFullError, DiskFaultError) as error:
            self._engine.log.error(events.ALARM_RAISED, kind="sweep_failed", detail=str(error))
        except FilingdError:
            raise  # the manifest itself failed: nothing can be promised any more
        except Exception as error:  # noqa: BLE001 - a defect in the sweep must not stop the daily work
            self._engine.log.error(events.ALARM_RAISED, kind="defect", detail=f"sweep: {told(error)}")

    async def _stay_in_place(self) -> None:
        """End with an error when the store is not the one that was opened, also while there is nothing to do."""
        while True:
            await self._engine.clock.sleep(_ELSEWHERE_S)
            with suppress(DiskFaultError):  # whoever needs the disk says so
                await self._engine.store.check_in_place()

    async def _note_open_groups(self) -> None:
        groups = await self._engine.manifest.groups()
        self._engine.reconciler.note(group.key for group in groups if group.sealed_at is None)

    async def _listen(self) -> None:
        """Notice what another process wrote, such as `filingd items retry`, or a seal `filingd verify` took back."""
        clock, is_changed, judge_s = self._engine.clock, False, 0.0
        while True:
            await clock.sleep(_ELSEWHERE_S)
            if await self._engine.manifest.changed_elsewhere():
                is_changed = True
                self.wake()
                if self._engine.forgetter is not None:
                    await self._engine.forgetter.look()
            if is_changed and clock.monotonic() >= judge_s:
                is_changed, judge_s = False, clock.monotonic() + _JUDGE_ELSEWHERE_S
                await self._note_open_groups()

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
        is_swept = self._is_errand or (self._sweep is not None and self._sweep.done())
        forgetter = None if self._is_errand else self._engine.forgetter
        is_clean = forgetter is None or forgetter.is_idle
        if not (is_swept and is_clean and self._engine.reconciler.is_idle):
            return False
        is_done = self._is_sealed if until is Until.SEALED else self._is_idle
        # Again at the end: whoever follows may have had items made.
        return await is_done() and await self._is_followed() and await is_done()

    async def _is_followed(self) -> bool:
        """Whether nobody who follows has anything left to do. An errand is followed up by the next run."""
        followers = () if self._is_errand else self._engine.followers
        behind: list[Follower] = [
            follower
            for number, follower in enumerate(followers)
            if not self._guard.is_resting(f"follower {number}") and not await follower.is_current()
        ]
        behind += [
            watcher
            for number, watcher in enumerate(() if self._is_errand else self._engine.watchers or ())
            if not self._guard.is_resting(f"{_WATCHLISTS} {number}") and not await watcher.is_current()
        ]
        for follower in behind:
            follower.wake()
        return not behind

    async def _is_sealed(self) -> bool:
        groups = await self._engine.manifest.groups()
        left = [group.key for group in groups if group.sealed_at is None]
        wanted = self._engine.planner.wanted_groups(self._engine.clock.now()) if left else ()
        return not any(key in wanted for key in left) and self._engine.worker.in_flight == 0

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

    async def _shut_down(self, *, has_failed: bool) -> list[Exception]:
        """Take every step, whatever one of them raises; returns what they raised."""
        engine, failures = self._engine, list[Exception]()
        self._ending = True
        reason = "told" if self._stop.is_set() else "died" if has_failed or self._dead() else "done"
        engine.log.info(events.DAEMON_STOPPING, reason=reason, active=engine.worker.in_flight,
                        grace_period_s=self._grace_period_s)  # fmt: skip
        engine.worker.stopping = True
        engine.room.end()
        for lane in engine.lanes.values():  # all of them before the first is waited for: its disk may be slow
            lane.shut()
        for lane in engine.lanes.values():
            await self._tried(lane.close(), failures)
        for gate in engine.gates:
            await self._tried(gate.pacer.close(), failures)
        for task in self._workers - engine.worker.busy:
            task.cancel()
        await self._tried(self._let_finish(), failures)
        await self._end_tasks()
        for account in engine.accounts:
            await self._tried(account.close(), failures)
        returned = await self._tried(self._give_back(), failures) or 0
        if engine.alarm_watch is not None and self._workers and not self._is_errand and not has_failed:
            await self._tried(engine.alarm_watch.look(), failures)  # a short run says what it leaves behind
        engine.log.info(events.DAEMON_STOPPED, reason=reason, interrupted=returned)
        return failures

    @staticmethod
    async def _tried(step: Coroutine[Any, Any, T], failures: list[Exception]) -> T | None:
        try:
            return await step
        except (DiskFullError, ManifestBusyError, LedgerBusyError):
            return None  # what is on the disk is safe: longer reservations, and leases that the next start returns
        except Exception as error:  # noqa: BLE001 - the other steps come first; it is raised after them
            failures.append(error)
            return None

    async def _end_tasks(self) -> None:
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _give_back(self) -> int:
        """Nothing, if nothing was begun: what is leased then is for the next start to settle."""
        return await self._engine.rescue.give_back() if self._workers else 0

    async def _let_finish(self) -> None:
        """Items in hand, then the documents they became: all within one grace period."""
        grace = asyncio.create_task(self._engine.clock.sleep(self._grace_period_s), name="grace")
        drained = asyncio.create_task(self._drain(), name="drain")
        try:
            await asyncio.wait({grace, drained}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            grace.cancel()
            drained.cancel()
        await asyncio.wait({drained})
        if not drained.cancelled():
            drained.result()

    async def _drain(self) -> None:
        if self._workers:
            await asyncio.wait(self._workers)
        if not any(helper.done() for helper in self._helpers):  # else nobody may be left who would do it
            await self._engine.worker.desk.drain()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._workers, *self._helpers, *([self._sweep] if self._sweep else [])]

    def _what_died_of(self) -> list[BaseException]:
        """Every error is taken from its task, so that none is told a second time by the event loop."""
        ended = [task for task in self._tasks() if task.done() and not task.cancelled()]
        return [error for task in ended if (error := task.exception()) is not None]

    def _raise_what_ended_it(self, errors: Iterable[BaseException]) -> None:
        # Whoever waited for room, or for the manifest, was told to end without it: that is no death.
        told_to_end = (DiskFullError, ManifestBusyError, LedgerBusyError) if self._stop.is_set() else ()
        for error in errors:
            if not isinstance(error, told_to_end):
                raise error
