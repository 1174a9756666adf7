"""Makes attempts: from a leased item to a recorded outcome. One bad item never stops the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from filingd.core import events
from filingd.core.errors import (
    DiskFaultError,
    DiskFullError,
    DoesNotFitError,
    FilingdError,
    LifeCycleError,
    StoreError,
)
from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.model import (
    Absent,
    Attempt,
    Blocked,
    Deferral,
    Failed,
    Nothing,
    NotYet,
    State,
    Stored,
    Throttled,
)
from filingd.core.retry import backoff_s
from filingd.engine.account import MonthSpentError
from filingd.engine.defects import told
from filingd.engine.documents import DocumentDesk, Handed
from filingd.engine.notices import Notices
from filingd.engine.outcomes import Made
from filingd.engine.pacer import LaneClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from filingd.core.model import Item, PartialRecord, Verdict
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.lane import KeyUse, Lane, Permit
    from filingd.engine.outcomes import Outcomes
    from filingd.engine.reconciler import Reconciler
    from filingd.engine.room import RoomGate
    from filingd.engine.transfer import Fetched, Transfer
    from filingd.ports import Clock, Log, Registry, Store

_DEFECT_PAUSE_S = 900.0  # a defect of ours must not become a storm on theirs
_DISK_FAULT_PAUSE_S = (
    60.0,
    6 * 3600.0,
)  # doubled with each fault: a folder with wrong rights mends when somebody looks
_DOES_NOT_FIT_LOOKS = 30  # a body that does not fit is asked for again after so many looks at the disk


class Worker:
    """The work of one item, shared by all workers of all lanes of a registry."""

    def __init__(
        self,
        registry: Registry,
        lanes: Mapping[str, Lane],
        transfer: Transfer,
        store: Store,
        outcomes: Outcomes,
        reconciler: Reconciler,
        room: RoomGate,
        slots: asyncio.Semaphore,
        clock: Clock,
        log: Log,
        new_request_id: Callable[[], str],
    ) -> None:
        self._registry = registry
        self._lanes = lanes
        self._transfer = transfer
        self._store = store
        self.adopt: Callable[[Item], Awaitable[Item]] | None = (
            None  # settles a leased item by what lies on disk
        )
        self.forgetter: Forgetter | None = None  # scrubs what arrives
        self._outcomes = outcomes
        self.desk = DocumentDesk(
            store,
            outcomes,
            lambda made, error: self._failed(made.item, error),
            self._documents_recorded,
        )
        self._reconciler = reconciler
        self._room = room
        self._slots = slots
        self._clock = clock
        self._log = log
        self._new_request_id = new_request_id
        self._notices = Notices(clock, log)
        self.stopping = False
        self.busy: set[asyncio.Task[Any]] = set()  # tasks with an item in hand

    @property
    def in_flight(self) -> int:
        """Items taken from a lane and not settled yet."""
        return len(self.busy) + self.desk.pending

    async def run(self, lane: Lane) -> None:
        """Work off a lane until cancelled, or until the item in hand is settled after `stopping` was set."""
        me = asyncio.current_task()
        assert me is not None, "a worker runs as a task"
        while self._goes_on():
            await self._room.wait()
            item = await lane.next_item()
            self.busy.add(me)
            try:
                async with self._slots if lane.gate is None else lane.gate.slots:
                    await self._handle(lane, item)
            except LaneClosedError:
                return  # stopping: whoever stops us returns the items that were not begun
            except DiskFullError:
                if self._goes_on():
                    raise
                return  # what cannot be recorded now is settled by the rescue of the next start
            finally:
                self.busy.discard(me)

    def _goes_on(self) -> bool:
        return not self.stopping

    async def _handle(self, lane: Lane, item: Item) -> None:
        try:
            await self._work(lane, item)
        except Exception as error:  # noqa: BLE001 - a defect in one item's path must not stop the others
            await self._failed(item, error)

    async def _failed(self, item: Item, error: Exception) -> None:
        """What went wrong with one item is settled as its own; what concerns all is raised."""
        if self._outcomes.is_unrecorded(item):
            await self._recorded_late(item, error)
        elif isinstance(error, DiskFullError):  # nobody's failure
            self._room.refused()
            await self._outcomes.settle(item, NotYet("disk_full", self._clock.now()), detail=str(error))
        elif isinstance(error, DiskFaultError):
            pause_s = backoff_s(item.attempts + 1, *_DISK_FAULT_PAUSE_S, jitter=1.0)
            await self._left_alone(item, "disk_fault", "disk_fault", str(error), pause_s)
        elif isinstance(error, DoesNotFitError):
            self._log.error(events.ALARM_RAISED, kind="does_not_fit", key=item.key, detail=str(error))
            again_at = self._clock.now() + _DOES_NOT_FIT_LOOKS * self._room.check_interval_s
            await self._outcomes.settle(item, NotYet("does_not_fit", again_at), detail=str(error))
        elif isinstance(error, FilingdError) and not isinstance(error, LifeCycleError):
            raise error  # stopping, or the manifest itself failed: nothing can be promised any more
        else:
            await self._left_alone(item, "defect", "internal_error", told(error), _DEFECT_PAUSE_S)

    async def _recorded_late(self, item: Item, error: Exception) -> None:
        """Its body was exchanged and its row could not be written: the row has to follow the file, whatever else."""
        if self.adopt is None or isinstance(error, StoreError):
            raise error
        self._log.error(events.ALARM_RAISED, kind="not_recorded", key=item.key, detail=told(error))
        await self.adopt(item)

    async def _left_alone(self, item: Item, kind: str, reason: str, detail: str, pause_s: float) -> None:
        self._log.error(events.ALARM_RAISED, kind=kind, key=item.key, detail=detail)
        again_at = self._clock.now() + pause_s
        await self._outcomes.settle(item, Failed(reason, again_at, detail, strikes_lane=False))

    async def _work(self, lane: Lane, item: Item) -> None:
        if not self._room.is_open:  # it was full again while the lane waited for something to do
            await self._outcomes.settle(item, NotYet("disk_full", self._clock.now()))
            return
        if self._is_forgotten(item):
            await self._outcomes.settle(item, Absent(FORGOTTEN_REASON))
            return
        attempt = self._registry.request(item, self._clock.now())
        if isinstance(attempt, Deferral):
            await self._defer(item, attempt)
        elif attempt.lane != lane.name:
            await self._reroute(item, attempt)
        else:
            await self._attempt(lane, item, attempt)

    def _is_forgotten(self, item: Item) -> bool:
        return self.forgetter is not None and self.forgetter.is_forgotten(item.key)

    async def _defer(self, item: Item, deferral: Deferral) -> None:
        moved = replace(item, lane=deferral.lane)
        if deferral.again_at is None:
            await self._outcomes.settle(moved, Absent(deferral.reason, None, alarm=True))
            self._log.error(events.ALARM_RAISED, kind="not_obtainable", key=item.key, detail=deferral.reason)
            self._reconciler.note([item.group])
        else:
            await self._outcomes.settle(moved, NotYet(deferral.reason, deferral.again_at))

    async def _reroute(self, item: Item, attempt: Attempt) -> None:
        await self._outcomes.settle(
            replace(item, lane=attempt.lane), NotYet("other_route", self._clock.now())
        )
        if attempt.lane in self._lanes:
            self._lanes[attempt.lane].wake()

    async def _attempt(self, lane: Lane, item: Item, attempt: Attempt) -> None:
        target = self._registry.target(item.key)
        if item.version == 0 and not attempt.is_document and await self._is_there(item, target):
            return
        partial = await self._transfer.left_over(target, attempt)
        permit = await lane.turn()
        if permit is None:
            await self._not_begun(lane, item)
            return
        try:
            await self._exchange(lane, item, attempt, target, partial, permit)
        except MonthSpentError:
            await self._not_begun(lane, item)
        finally:
            permit.end()

    @staticmethod
    async def _not_begun(lane: Lane, item: Item) -> None:
        lane.put_back(item)
        await lane.give_back()

    async def _exchange(
        self,
        lane: Lane,
        item: Item,
        attempt: Attempt,
        target: str,
        partial: PartialRecord | None,
        permit: Permit,
    ) -> None:
        """Make the call that was released, and whatever follows from it."""
        made = Made(item, attempt, target, self._new_request_id(), self._clock.now())
        self._log.debug(events.ITEM_LEASED, key=item.key, lane=lane.name, route=attempt.route,
                        request_id=made.request_id, attempt=item.attempts + 1)  # fmt: skip
        used = lane.key_in_use
        fetched = await self._transfer.fetch(
            made.target, attempt, made.request_id, lane.key_name, partial, permit.begin
        )
        permit.answered()
        self._notices.look(attempt.route, fetched.answer.head)
        if fetched.begin_again:
            await self._outcomes.settle(
                item, NotYet("resume_refused", self._clock.now()), request_id=made.request_id
            )
            return
        try:
            await self._conclude(lane, made, fetched, used)
        except BaseException:
            if fetched.staged is not None:
                await fetched.staged.discard()  # nothing happens if it was published or set aside before
            raise

    async def _is_there(self, item: Item, target: str) -> bool:
        """A body that no row knew lies under the final name (a lost manifest): it is looked at, never written over."""
        if self.adopt is None or await self._store.size_bytes(target) is None:
            return False
        await self.adopt(item)
        self._reconciler.note([item.group])
        return True

    async def _conclude(self, lane: Lane, made: Made, fetched: Fetched, used: KeyUse) -> None:
        siblings = {} if not made.attempt.shares_seal else await self._reconciler.holdings(made.item.group)
        judged_at = self._clock.now()
        verdict = self._registry.interpret(made.item, made.attempt, fetched.answer, siblings, judged_at)
        await lane.heed(verdict, used)
        if self._is_forgotten(made.item):  # since it was asked for
            verdict = Absent(FORGOTTEN_REASON)
        elif isinstance(verdict, Stored) and self.forgetter is not None:
            fetched = await self.forgetter.scrubbed(made.item.key, fetched)
            if self._is_forgotten(made.item):  # what came says that it is
                verdict = Absent(FORGOTTEN_REASON)
        is_first = made.item.version == 0
        if (
            fetched.document is not None
            and isinstance(verdict, Stored)
            and is_first
            and not verdict.drops_older
        ):
            await self.desk.take(Handed(made, fetched, verdict))
            return
        if isinstance(verdict, Blocked) and verdict.doubts:
            await self._outcomes.doubt(verdict.doubts, verdict.reason)
        await self._outcomes.carry_out(made, fetched, verdict, judged_at)
        self._alarm(made.item, verdict)
        if isinstance(verdict, Stored) or (isinstance(verdict, Nothing) and verdict.confirmed):
            self._reconciler.note_settled(made.item.key)
        if made.attempt.shares_seal and not isinstance(verdict, Throttled | Blocked):
            self._reconciler.note([made.item.group])

    def _documents_recorded(self, made: Made) -> None:
        self._reconciler.note_settled(made.item.key)
        if made.attempt.shares_seal:
            self._reconciler.note([made.item.group])

    def _alarm(self, item: Item, verdict: Verdict) -> None:
        if isinstance(verdict, Nothing) and item.state is not State.RECHECKING:
            return  # it stands in the item's row: see `alarm_watch`
        if getattr(verdict, "alarm", False) or (isinstance(verdict, Failed) and verdict.gave_up):
            reason = getattr(verdict, "reason", "")
            self._log.error(
                events.ALARM_RAISED, kind=reason, key=item.key, detail=getattr(verdict, "detail", "")
            )
