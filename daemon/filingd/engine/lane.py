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
from filingd.engine.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from filingd.core.ledger import Closing
    from filingd.core.limits import LaneState
    from filingd.core.model import Item, LaneSpec, Verdict
    from filingd.engine.account import Account, Reservation
    from filingd.engine.gate import Gate
    from filingd.engine.pacer import LanePacer, Sending
    from filingd.ports import Clock, Log, Manifest, Steps

__all__ = ["BLOCKED_REASONS", "KeyUse", "Lane", "Permit"]

_MANY = (
    4  # lanes with fewer workers take one item at a time, so that newer work never waits behind leased work
)
_CLOSED_TO_US = BLOCKED_REASONS | {limits.QUOTA}
_SHORTEST_WAIT_S = 0.001
_LONG_S = 60.0  # who works off what is due waits for a call of a spread account no longer than this
_LONGEST_WAIT_S = 60.0  # a lane looks again at least this often, whatever the manifest promised


class KeyUse(NamedTuple):
    """A key that a call is made with: which of the lane's, and how often it had been exchanged by then."""

    key_index: int
    edition: int


class Permit:
    """One call that may be made: released by the pace, and booked where it costs something. `end` it, whatever happens."""

    __slots__ = ("_reservation", "_sending", "_steps", "_trials")

    def __init__(
        self,
        sending: Sending,
        reservation: Reservation | None,
        trials: Sequence[Health],
        steps_seen: Steps,
    ) -> None:
        """`trials` are those of lane and gate that this call puts to the test."""
        self._trials = trials
        self._sending = sending
        self._reservation = reservation
        self._steps = steps_seen

    async def begin(self) -> None:
        """The connection is there: return when the call may go out, which it does then at once.

        Raises:
            MonthSpentError: the month turned meanwhile, and the new one has no room for it; the call must not go out.
            LaneClosedError: filingd is stopping; the call must not go out.
            Exception: what could not be recorded; the call must not go out.
        """
        if self._reservation is not None:
            await self._reservation.prepare()
        await self._sending.begin()
        if self._reservation is not None:
            self._reservation.begun()

    def answered(self) -> None:
        """The exchange is over, however it went."""
        if self._reservation is not None:
            self._steps.reached(steps.CALL_ANSWERED)
        self._settle()

    def end(self) -> None:
        """It is over and its answer was heeded, or it never began. No error if that was said."""
        self._settle()
        trials, self._trials = self._trials, ()
        for trial in trials:
            trial.end_trial()

    def _settle(self) -> None:
        self._sending.end()
        if self._reservation is not None:
            self._reservation.end()


class Lane:
    """Hands due items to workers, no faster than was promised, and stops handing them out while it is parked.

    A lane with a `gate` is released by the gate's pacer; its own holds its health alone. One with an `account` hands nothing out
    while that has no room for a call.
    """

    def __init__(
        self,
        spec: LaneSpec,
        pacer: LanePacer,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
        gate: Gate | None = None,
        account: Account | None = None,
    ) -> None:
        self.spec = spec
        self.pacer = pacer
        self.gate = gate
        self.account = account
        self._releasing = pacer if gate is None else gate.pacer
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self.health = Health(spec, pacer, clock, log, self.stand_still, self.wake)
        self._told_stop: Closing | None = None  # the stop of the account that was told
        self._editions = [0] * max(1, len(spec.key_names))  # how often each key was exchanged
        self._buffer: deque[Item] = deque()
        self._refill: asyncio.Task[None] | None = None
        self._leasing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._changes = 0  # so that a change that came between looking and waiting is not slept through
        self._at_gate: set[asyncio.Task[Any]] = set()  # tasks that wait for the moment of their call
        self._sent_away: set[asyncio.Task[Any]] = set()  # those of them that need not wait any longer
        self.waiting = 0  # workers that found nothing to do
        takes_many = spec.concurrency >= _MANY and not self._is_spread
        self._batch = spec.concurrency * 2 if takes_many else 1
        self._low_water = spec.concurrency if takes_many else 0
        if gate is not None:
            gate.lanes.append(self)
            gate.health.on_change.append(self.health.tell)
        if account is not None:
            account.on_change.append(self._account_changed)
            account.prices_microeur.add(spec.price_microeur)

    # ------------------------------------------------------------------ work

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> LaneState:
        """Pace and health, as they would survive a restart."""
        return self.pacer.state

    @property
    def refusal(self) -> str:
        """What was said against the lane last."""
        return self.health.refusal

    @property
    def on_health(self) -> list[Callable[[], None]]:
        """Told when it was closed to us, opened, or is well again."""
        return self.health.on_change

    @property
    def calls_per_s(self) -> float:
        """The rate in force, that of its gate if it passes one."""
        return self._releasing.calls_per_s

    @property
    def shut_for(self) -> tuple[str, float] | None:
        """Why it takes no calls now and when it does again (unix seconds); None if it does, or is merely paced."""
        now = self._clock.now()
        shut = [
            (limits.opens_at(state, now), state.park_reason or "")
            for state in (self.state, *((self.gate.state,) if self.gate else ()))
            if not limits.is_open(state, now)
        ]
        if (stop := self._stop()) is not None:
            shut.append((stop.until_at, stop.reason))
        at, reason = max(shut, default=(0.0, ""))
        return (reason, at) if shut else None

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
        """Whether we are refused on this lane, or may spend no more for long, so that waiting for it may be in vain."""
        if self._stop() is not None or self._closed_for_s() > _LONG_S:
            return True
        closed = [each for each in (self, self.gate) if each is not None and not each.health.is_open]
        return any(each.state.park_reason in _CLOSED_TO_US for each in closed)

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

    async def turn(self) -> Permit | None:
        """Wait for the moment of a call; None if the lane is closed, so that no item waits for it in hand.

        The call is booked before it waits: that takes a disk its time, and a call that was released waits for nothing.

        Raises:
            Exception: what could not be recorded; no call was released.
        """
        if not self._is_open():
            return None
        trials = [health for health in self._healths if health.begin_trial()]
        permit = None
        try:
            permit = await self._permitted(trials)
        finally:
            if permit is None:
                for trial in trials:
                    trial.end_trial()
        return permit

    async def _permitted(self, trials: Sequence[Health]) -> Permit | None:
        reservation = None
        if self.account is not None:
            reservation = await self.account.reserve(self.spec.price_microeur, self.name)
            if reservation is None:
                return None
        is_released = False
        try:
            is_released = not self._is_parked() and await self._released()
        finally:
            if not is_released and reservation is not None:
                reservation.end()
        return Permit(self._releasing.sending(), reservation, trials, self._steps) if is_released else None

    async def _released(self) -> bool:
        """Whether the call was released; not if the lane was parked while it waited."""
        if self._releasing.acquire_at_once():
            return True
        me = asyncio.current_task()
        assert me is not None, "a call is made by a task"
        self._at_gate.add(me)
        try:
            await self._releasing.acquire()
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

    def shut(self) -> None:
        """Release nothing more, from this very moment on."""
        self._releasing.shut()
        self.pacer.shut()

    async def close(self) -> None:
        """Lease and release nothing more. Its gate is closed by whoever closes all of its lanes.

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
        while not self._is_open():
            self._note_shut()
            changes = self._changes
            if self._buffer:
                await (
                    self.give_back()
                )  # others may change their rank, or be asked for them, while it is closed
            if changes != self._changes:
                continue
            await self._wait(min(max(self._opens_in_s(), _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
        self._note_open()

    def _note_shut(self) -> None:
        """A stop of the account is told once, as a parking is where it happens; to be paced is no news."""
        stop = self._stop()
        if stop is not None and stop != self._told_stop:
            self._told_stop = stop
            self.health.note_shut()
            self._log.warning(events.LANE_PARKED, lane=self.name, reason=stop.reason, until_at=stop.until_at,
                              detail=limits.PARK_REASONS[stop.reason])  # fmt: skip
            self.health.tell()

    def _note_open(self) -> None:
        if self._told_stop is not None:
            self._told_stop = None
            self.health.tell()
        self.health.note_open()
        if self.gate is not None:
            self.gate.health.note_open()

    def _is_open(self) -> bool:
        return self._opens_in_s() <= 0.0

    def _is_parked(self) -> bool:
        return self._parked_for_s() > 0.0

    def _opens_in_s(self) -> float:
        trial_s = _LONGEST_WAIT_S if any(each.awaits_trial for each in self._healths) else 0.0
        return max(self._parked_for_s(), self._closed_for_s(), trial_s)

    @property
    def _healths(self) -> Sequence[Health]:
        return (self.health,) if self.gate is None else (self.health, self.gate.health)

    def _closed_for_s(self) -> float:
        """For how long its account has no room."""
        closing = None if self.account is None else self.account.closing(self.spec.price_microeur)
        if self.account is None or closing is None:
            return 0.0
        deference_s = self.account.deference_s(self.name) if self._is_spread else 0.0
        return max(_SHORTEST_WAIT_S, closing.until_at + deference_s - self._clock.now())

    def _parked_for_s(self) -> float:
        gate_s = 0.0 if self.gate is None else self.gate.pacer.opens_in_s()
        return max(self.pacer.opens_in_s(), gate_s)

    def _stop(self) -> Closing | None:
        """The stop of the month, if its account is at one."""
        closing = None if self.account is None else self.account.closing(self.spec.price_microeur)
        return closing if closing is not None and closing.is_stop else None

    @property
    def _is_spread(self) -> bool:
        return self.account is not None and self.account.spec.is_spread and self.spec.price_microeur > 0

    def _account_changed(self) -> None:
        self.wake()
        self.health.tell()

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
            await self.health.mend(lambda state: limits.rekeyed(state, changed[0]))
            if self.gate is not None:
                await self.gate.health.mend(lambda state: limits.rekeyed(state, 0))

    async def reload(self) -> None:
        """An operator says that something was mended."""
        await self.health.mend(limits.reloaded)
        if self.gate is not None:
            await self.gate.health.mend(limits.reloaded)

    # ------------------------------------------------------------------ health

    async def heed(self, verdict: Verdict, used: KeyUse) -> None:
        """Let a verdict speak for or against the lane as a whole, or its gate; `used` is the key the call was made with."""
        match verdict:
            case Throttled():
                await self._throttled(verdict)
            case Blocked():
                await self._blocked(verdict, used)
            case Failed() if verdict.strikes_lane:
                await self.health.struck(verdict)
            case Failed():
                for health in self._healths:
                    health.passed()
            case _:
                await self.health.succeeded()
                if self.gate is not None:
                    await self.gate.health.succeeded()

    async def _throttled(self, verdict: Throttled) -> None:
        if not verdict.is_quota or self.account is None:
            await (self.gate or self).health.throttled(verdict)
            return
        # A quota belongs to a key, as far as anybody knows: those who pass the gate with another one go on.
        is_all_ours = self.gate is not None and all(each.account is self.account for each in self.gate.lanes)
        closed = self.gate if self.gate is not None and is_all_ours else self
        await closed.health.throttled(verdict, self.account.quota_pause_s)

    async def _blocked(self, verdict: Blocked, used: KeyUse) -> None:
        if verdict.key_at_fault and used.edition != self._editions[used.key_index]:
            return  # said of a key that was exchanged meanwhile
        if verdict.is_wide and self.gate is not None:
            await self.gate.health.blocked(verdict, 0)
        else:
            await self.health.blocked(verdict, used.key_index)

    async def stand_still(self) -> None:
        """No call is made for a while: whoever waits for its turn lets go, and what was leased waits on the schedule."""
        for task in self._at_gate:
            self._sent_away.add(task)
            task.cancel()
        await self.give_back()
