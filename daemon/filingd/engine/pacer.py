"""Releases the calls of one lane at its pace and keeps what must survive of the lane durable."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.errors import FilingdError
from filingd.core.limits import Pace, limit_of, opens_at, released_until_s, renewed_reservation_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from filingd.core.limits import LaneState
    from filingd.core.model import LaneSpec
    from filingd.ports import Clock

_DOZE_S = 0.05  # a nap shorter than this is not worth being woken from
_LONGEST_NAP_S = 3600.0


class LaneClosedError(FilingdError):
    """The lane was closed while a call waited for it."""


class LanePacer:
    """The gate of one lane, and the one holder of its `LaneState`.

    `acquire` returns at the very moment the call may be released, in the order of asking; the caller
    sends at once, or says by `sending` that something has to be awaited first. A parked lane releases nothing. A waiter that is
    cancelled costs no slot: a slot is taken only at the release. Health is changed through `change`, so
    that there is one writer of the state; parking is measured on the monotonic clock from there on,
    whatever the wall clock does.

    `save` makes a `LaneState` durable (the manifest's `save_lane`). It runs beside the waiting, ahead of
    need, and never twice at a time; if it fails, the error reaches whoever needed it, and no call is
    released without it.
    """

    def __init__(
        self,
        spec: LaneSpec,
        state: LaneState,
        clock: Clock,
        save: Callable[[LaneState], Awaitable[None]],
        *,
        is_changed: bool = False,
    ) -> None:
        """`state` is what the manifest holds of the lane, or a new one; `is_changed` says that it is not quite that, and has to
        be made durable. Does no I/O."""
        self._calls_per_s = spec.calls_per_s
        self._burst = spec.burst
        self._clock = clock
        self._save = save
        now_s = clock.monotonic()
        self._released_until_s = released_until_s(state, clock.boot_id(), now_s)
        self._pace = Pace(limit_of(state, spec.calls_per_s, spec.burst), self._released_until_s)
        known_s = 0.0 if math.isinf(self._released_until_s) else self._released_until_s
        self._state = replace(state, boot_id=clock.boot_id(), reserved_until_s=known_s)
        self._durable_until_s = -math.inf  # the durable row may belong to another boot
        self._changes = int(is_changed)  # counts changes of the state, to know which of them are durable
        self._durable_changes = 0
        self._save_took_s = 0.0
        self._saving: asyncio.Task[None] | None = None
        self._parked_until_s = self._park_end_s()
        self._turn = asyncio.Lock()
        self._nap: asyncio.Task[None] | None = None
        self._waiting = 0
        self._awaits_sending = False
        self._closed = False

    @property
    def state(self) -> LaneState:
        """The lane as it is now; what is durable may lag behind in health, never in what was released."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many calls wait in `acquire`."""
        return self._waiting

    @property
    def calls_per_s(self) -> float:
        """The rate in force, slowdown included."""
        return self._pace.limit.calls_per_s

    def opens_in_s(self) -> float:
        """Seconds until a parked lane opens; 0 if it is open. Steps of the wall clock do not matter here."""
        return max(0.0, self._parked_until_s - self._clock.monotonic())

    def acquire_at_once(self) -> bool:
        """Release the call if nobody waits and nothing has to be waited for; whether it was."""
        if self._waiting or self._closed:
            return False
        now_s = self._clock.monotonic()
        return self._released(now_s, now_s)

    async def acquire(self) -> None:
        """Wait until the call may be released.

        Raises:
            LaneClosedError: the lane was closed.
            Exception: whatever `save` raised; nothing was released.
        """
        if self.acquire_at_once():
            return
        wanted_s = self._clock.monotonic()
        self._waiting += 1
        try:
            async with self._turn:
                await self._release_in_time(wanted_s)
        finally:
            self._waiting -= 1

    def sending(self) -> Sending:
        """To be asked for at once after a release, nothing awaited: the call has yet to be sent."""
        self._pace.not_sent_yet()
        return Sending(self)

    async def until_covered(self) -> None:
        """Return when a durable reservation lies at or beyond this very moment.

        Raises:
            LaneClosedError: the lane was closed: what was not sent before is not sent any more.
            Exception: whatever `save` raised.
        """
        while (now_s := self._clock.monotonic()) > self._durable_until_s and not self._closed:
            self._reserve_ahead(now_s)
            await self._until_durable(self._changes)
        if self._closed:
            raise self._closed_error()
        self._released_until_s = max(self._released_until_s, now_s)

    def note_sent(self) -> None:
        """One of the calls that had yet to be sent was sent, or never will be."""
        self._pace.sent(self._clock.monotonic())
        if self._awaits_sending:
            self._wake()

    def set_rate(self, calls_per_s: float, burst: int) -> None:
        """Another configured rate, from now on; during the change the slower of both holds."""
        self._calls_per_s, self._burst = calls_per_s, burst
        self._repace()

    async def change(self, transition: Callable[[LaneState], LaneState]) -> LaneState:
        """Put a pure transition of `core.limits` into force at once, and return when it is durable.

        Raises:
            Exception: whatever `save` raised; the change is in force all the same.
        """
        before, after = self._state, transition(self._state)
        if after == before:
            return before
        self._put(after)
        if (after.parked_until_at, after.parked_for_s) != (before.parked_until_at, before.parked_for_s):
            self._parked_until_s = self._park_end_s()
        self._repace()
        await self._until_durable(self._changes)
        return after

    def shut(self) -> None:
        """Release nothing more, from this very moment on."""
        self._closed = True
        self._wake()

    async def close(self) -> None:
        """Release nothing more and record exactly when the last call was released.

        Raises:
            Exception: whatever `save` raised.
        """
        self.shut()
        if self._changes:
            exact_s = 0.0 if math.isinf(self._released_until_s) else self._released_until_s
            self._put(replace(self._state, reserved_until_s=exact_s))
            await self._until_durable(self._changes)

    async def _release_in_time(self, wanted_s: float) -> None:
        while not self._closed:
            now_s = self._clock.monotonic()
            if self._released(wanted_s, now_s):
                return
            opens_s = self._opens_s(wanted_s, now_s)
            if opens_s > now_s:
                self._awaits_sending = opens_s == math.inf
                await self._sleep(min(opens_s - now_s, _LONGEST_NAP_S))
            else:
                await self._until_durable(self._changes)
        raise self._closed_error()

    def _closed_error(self) -> LaneClosedError:
        return LaneClosedError(f"The lane {self._state.name} is closed: filingd is stopping.")

    def _opens_s(self, wanted_s: float, now_s: float) -> float:
        return max(self._pace.opens_at_s(wanted_s, now_s), self._parked_until_s)

    def _released(self, wanted_s: float, now_s: float) -> bool:
        opens_s = self._opens_s(wanted_s, now_s)
        self._reserve_ahead(now_s if opens_s == math.inf else max(opens_s, now_s))
        if not opens_s <= now_s <= self._durable_until_s:
            return False
        # Nothing is awaited between here and the caller: this is the moment of the release. The clock is
        # read again because the system may have stopped the process in between.
        self._released_until_s = self._clock.monotonic()
        self._pace.release(wanted_s, self._released_until_s)
        return True

    def _reserve_ahead(self, needed_s: float) -> None:
        reserved_s = self._state.reserved_until_s
        reserve_s = renewed_reservation_s(reserved_s, needed_s, self._save_took_s)
        if reserve_s != reserved_s:
            self._put(replace(self._state, reserved_until_s=reserve_s))
        self._keep_saving()

    def _park_end_s(self) -> float:
        now_at = self._clock.now()
        # The difference first: added to an instant, seconds since the boot would lose what is below a microsecond.
        return self._clock.monotonic() + (opens_at(self._state, now_at) - now_at)

    def _repace(self) -> None:
        limit = limit_of(self._state, self._calls_per_s, self._burst)
        self._pace.change(limit, self._clock.monotonic())
        self._wake()

    async def _sleep(self, seconds: float) -> None:
        if seconds <= _DOZE_S:
            await self._clock.sleep(seconds)
            return
        self._nap = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({self._nap})
        finally:
            self._wake()

    def _wake(self) -> None:
        if self._nap is not None:
            self._nap.cancel()
            self._nap = None

    def _put(self, state: LaneState) -> None:
        self._state = state
        self._changes += 1

    def _keep_saving(self) -> asyncio.Task[None] | None:
        if self._saving is None and self._durable_changes < self._changes:
            self._saving = asyncio.ensure_future(self._save_changes())
            self._saving.add_done_callback(self._saved)
        return self._saving

    def _saved(self, task: asyncio.Task[None]) -> None:
        self._saving = None
        if not task.cancelled() and task.exception() is None:
            self._keep_saving()  # what changed meanwhile; after a failure whoever needs it tries again

    async def _save_changes(self) -> None:
        state, changes, began_s = self._state, self._changes, self._clock.monotonic()
        await self._save(state)
        self._save_took_s = self._clock.monotonic() - began_s
        self._durable_changes, self._durable_until_s = changes, state.reserved_until_s

    async def _until_durable(self, changes: int) -> None:
        while self._durable_changes < changes and (saving := self._keep_saving()) is not None:
            await asyncio.wait({saving})  # so that a waiter that is cancelled does not cancel the write
            await saving


class Sending:
    """One call between its release and its sending. It lies in every window until one of the two is called."""

    __slots__ = ("_is_over", "_pacer")

    def __init__(self, pacer: LanePacer) -> None:
        self._pacer = pacer
        self._is_over = False

    async def begin(self) -> None:
        """The connection is there: return when the call may go out, which it does then at once.

        Waits only if making the connection took longer than what is reserved: whoever starts after a crash has to
        know how late a call can have been sent.

        Raises:
            LaneClosedError: filingd is stopping; the call must not go out.
            Exception: what the reservation died of; the call must not go out.
        """
        await self._pacer.until_covered()
        self.end()

    def end(self) -> None:
        """It was sent, or never will be. No error if that was known."""
        if not self._is_over:
            self._is_over = True
            self._pacer.note_sent()
