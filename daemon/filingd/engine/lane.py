"""One lane at work: its items, its pace, its health."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from filingd.core import events, limits, steps
from filingd.core.lifecycle import Event, next_state
from filingd.core.limits import BLOCKED_REASONS
from filingd.core.model import Blocked, Change, Failed, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from filingd.core.limits import LaneState
    from filingd.core.model import Item, LaneSpec, Verdict
    from filingd.engine.pacer import LanePacer
    from filingd.ports import Clock, Log, Manifest, Steps

__all__ = ["BLOCKED_REASONS", "KeyUse", "Lane"]

_MANY = (
    4  # lanes with fewer workers take one item at a time, so that newer work never waits behind leased work
)
_SHORTEST_WAIT_S = 0.001
_LONGEST_WAIT_S = 60.0  # a lane looks again at least this often, whatever the manifest promised


class KeyUse(NamedTuple):
    """A key that a call is made with: which of the lane's, and how often it had been exchanged by then."""

    key_index: int
    edition: int


class Lane:
    """Hands due items to workers, no faster than was promised, and stops handing them out while it is parked."""

    def __init__(
        self,
        spec: LaneSpec,
        pacer: LanePacer,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
    ) -> None:
        self.spec = spec
        self.pacer = pacer
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self.on_health: list[
            Callable[[], None]
        ] = []  # told when it was closed to us, opened, or is well again
        self.refusal = ""  # what was said against the lane last
        self._editions = [0] * max(1, len(spec.key_names))  # how often each key was exchanged
        self._buffer: deque[Item] = deque()
        self._refill: asyncio.Task[None] | None = None
        self._leasing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._changes = 0  # so that a change that came between looking and waiting is not slept through
        self._at_gate: set[asyncio.Task[Any]] = set()  # tasks that wait for the moment of their call
        self._sent_away: set[asyncio.Task[Any]] = set()  # those of them that need not wait any longer
        self.waiting = 0  # workers that found nothing to do
        self._batch = spec.concurrency * 2 if spec.concurrency >= _MANY else 1
        self._low_water = spec.concurrency if spec.concurrency >= _MANY else 0

    # ------------------------------------------------------------------ work

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> LaneState:
        """Pace and health, as they would survive a restart."""
        return self.pacer.state

    @property
    def key_name(self) -> str | None:
        """The name of the key in use."""
        return limits.key_name_of(self.state, self.spec)

    @property
    def key_in_use(self) -> KeyUse:
        """Which key a call that is made now goes with."""
        index = self.state.key_index % len(self._editions)
        return KeyUse(index, self._editions[index])

    @property
    def holds_items(self) -> bool:
        """Whether items are here, or may be on their way here."""
        return bool(self._buffer) or self._leasing.locked()

    @property
    def is_blocked(self) -> bool:
        """Whether the registry refuses us on this lane, so that waiting for it may be in vain."""
        return not self._is_open() and self.state.park_reason in BLOCKED_REASONS | {limits.QUOTA}

    def wake(self) -> None:
        """Something changed: items came, or the lane may be open again."""
        self._changes += 1
        self._changed.set()

    async def next_item(self) -> Item:
        """The next due item, leased; waits until the lane is open and has one."""
        while True:
            changes = self._changes
            await self._until_open()
            if not self._buffer:
                async with self._leasing:
                    if not self._buffer:
                        await self._lease()
            if self._buffer and self._is_open():
                item = self._buffer.popleft()
                self._prefetch()
                return item
            if not self._buffer:
                await self._until_due(changes)

    async def turn(self) -> bool:
        """Wait for the moment of a call; False if the lane is parked, so that no item waits for it in hand."""
        if not self._is_open():
            return False
        if self.pacer.acquire_at_once():
            return True
        me = asyncio.current_task()
        assert me is not None, "a call is made by a task"
        self._at_gate.add(me)
        try:
            await self.pacer.acquire()
        except asyncio.CancelledError:
            if me in self._sent_away and me.uncancel() == 0:
                return False
            raise
        finally:
            self._at_gate.discard(me)
            self._sent_away.discard(me)
        return True

    def put_back(self, item: Item) -> None:
        """An item that was taken and not begun is the next one again."""
        self._buffer.appendleft(item)

    async def close(self) -> None:
        """Lease and release nothing more.

        Raises:
            DiskFullError, DiskFaultError, StoreError: what must survive of the lane could not be recorded.
        """
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.wait({self._refill})
        await self.pacer.close()

    async def give_back(self) -> None:
        """Return what was leased but not begun."""
        items = list(self._buffer)
        self._buffer.clear()
        now = self._clock.now()
        changes = [Change(item.state, replace(item, state=next_state(item.state, Event.POSTPONED), due_at=now))
                   for item in items]  # fmt: skip
        if changes:
            await self._manifest.record(changes)

    async def _lease(self) -> None:
        items = await self._manifest.lease(self.name, self._clock.now(), self._batch)
        self._buffer.extend(items)
        if items:
            self._steps.reached(steps.ITEM_LEASED)

    def _prefetch(self) -> None:
        idle = self._refill is None or self._refill.done()
        if idle and len(self._buffer) < self._low_water and self._is_open():
            self._refill = asyncio.create_task(self._lease_quietly(), name=f"{self.name} prefetch")

    async def _lease_quietly(self) -> None:
        async with self._leasing:
            await self._lease()

    async def _until_due(self, changes: int) -> None:
        """Wait for the next due item, or for a change after the first `changes`."""
        due_at = await self._manifest.next_due_at(self.name)
        if changes != self._changes:
            return
        wait_s = (
            _LONGEST_WAIT_S if due_at is None else min(max(due_at - self._clock.now(), 0.0), _LONGEST_WAIT_S)
        )
        await self._wait(wait_s)

    async def _until_open(self) -> None:
        if self._is_open():
            return
        while not self._is_open():
            await self._wait(min(max(self.pacer.opens_in_s(), _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
        self._log.info(events.LANE_OPENED, lane=self.name)

    def _is_open(self) -> bool:
        return self.pacer.opens_in_s() <= 0.0

    async def _wait(self, seconds: float) -> None:
        self.waiting += 1
        try:
            self._changed.clear()
            sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({sleeping, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                changed.cancel()
        finally:
            self.waiting -= 1

    # ------------------------------------------------------------------ keys

    async def keys_changed(self, names: Collection[str]) -> None:
        """Keys were exchanged: whoever waits because of the former ones goes on at once."""
        changed = [index for index, name in enumerate(self.spec.key_names) if name in names]
        for index in changed:
            self._editions[index] += 1
        if changed:
            await self._mend(lambda state: limits.rekeyed(state, changed[0]))

    async def reload(self) -> None:
        """An operator says that something was mended."""
        await self._mend(limits.reloaded)

    async def _mend(self, transition: Callable[[LaneState], LaneState]) -> None:
        before = self.state
        after = await self.pacer.change(transition)
        if after.parked_until_at != before.parked_until_at:
            self.wake()
            self._tell_health()

    def _tell_health(self) -> None:
        for tell in self.on_health:
            tell()

    # ------------------------------------------------------------------ health

    async def heed(self, verdict: Verdict, used: KeyUse) -> None:
        """Let a verdict speak for or against the lane as a whole; `used` is the key the call was made with."""
        match verdict:
            case Throttled():
                await self._throttled(verdict)
            case Blocked():
                await self._blocked(verdict, used)
            case Failed() if verdict.strikes_lane:
                await self._struck(verdict)
            case Failed():
                pass
            case _:
                await self._succeeded()

    async def _succeeded(self) -> None:
        before = self.state
        after = await self.pacer.change(limits.succeeded)
        if (before.strikes, before.throttles, before.blocks) != (
            after.strikes,
            after.throttles,
            after.blocks,
        ):
            self._tell_health()

    async def _throttled(self, verdict: Throttled) -> None:
        now = self._clock.now()
        self.refusal = ""
        rule = limits.quota_spent if verdict.is_quota else limits.throttled
        after = await self.pacer.change(lambda state: rule(state, now, verdict.retry_after_s))
        self._log.warning(events.LANE_THROTTLED, lane=self.name, reason=verdict.reason,
                          retry_after_s=verdict.retry_after_s, slowdown=after.slowdown,
                          until_at=after.parked_until_at)  # fmt: skip
        self._tell_health()
        await self._stand_still()

    async def _stand_still(self) -> None:
        """The lane was parked: whoever waits for its turn lets go, and what was leased waits on the schedule."""
        for task in self._at_gate:
            self._sent_away.add(task)
            task.cancel()
        await self.give_back()

    async def _struck(self, verdict: Failed) -> None:
        before, now = self.state, self._clock.now()
        self.refusal = verdict.detail or verdict.reason
        after = await self.pacer.change(lambda state: limits.struck(state, now))
        if after.parked_until_at != before.parked_until_at:
            self._log.warning(events.LANE_PARKED, lane=self.name, reason=verdict.reason, detail=verdict.detail,
                              strikes=after.strikes, until_at=after.parked_until_at)  # fmt: skip
            self._tell_health()
            await self._stand_still()

    async def _blocked(self, verdict: Blocked, used: KeyUse) -> None:
        if verdict.key_at_fault and used.edition != self._editions[used.key_index]:
            return  # said of a key that was exchanged meanwhile
        self.refusal = verdict.detail or verdict.reason
        before, now = self.state, self._clock.now()
        after = await self.pacer.change(
            lambda state: limits.blocked(
                state,
                self.spec,
                now,
                verdict.key_at_fault,
                used.key_index,
                is_key_missing=verdict.reason == limits.KEY_MISSING,
            )
        )
        if after.parked_until_at != before.parked_until_at:
            self._log.warning(events.LANE_PARKED, lane=self.name, reason=verdict.reason, detail=verdict.detail,
                            strikes=after.strikes, until_at=after.parked_until_at)  # fmt: skip
            self._tell_health()
            await self._stand_still()
        elif after.key_index != before.key_index:
            self._log.warning(events.LANE_KEY_SWITCHED, lane=self.name, key_index=after.key_index,
                              reason=verdict.reason, detail=verdict.detail)  # fmt: skip
