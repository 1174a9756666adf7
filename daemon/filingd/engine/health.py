"""The health of a lane or of a gate: what verdicts, exchanged keys and operators do to it, and what is told of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core import events, limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from filingd.core.limits import LaneState
    from filingd.core.model import Blocked, Failed, LaneSpec, Throttled
    from filingd.engine.pacer import LanePacer
    from filingd.ports import Clock, Log


class Health:
    """Puts the transitions of `core.limits` into force on one pacer, and says so.

    Whatever was parked is on trial afterwards: one call at a time, until one goes well. A registry that still refuses, or that
    bills what it refuses, is asked once at each probe, however many calls may be made at the same time.
    """

    def __init__(
        self,
        spec: LaneSpec,
        pacer: LanePacer,
        clock: Clock,
        log: Log,
        stand_still: Callable[[], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        """`stand_still` is awaited when it was parked, `wake` is told when it may be open before its time."""
        self._spec = spec
        self._pacer = pacer
        self._clock = clock
        self._log = log
        self._stand_still = stand_still
        self._wake = wake
        self._is_told_shut = not self.is_open
        self._is_on_trial = pacer.state.park_reason is not None  # parked by a former run, perhaps long ago
        self._is_tried = False  # the call on trial is under way
        self.on_change: list[
            Callable[[], None]
        ] = []  # told when it was closed to us, opened, or is well again
        self.refusal = ""  # what was said against it last

    @property
    def is_open(self) -> bool:
        """Whether it takes calls."""
        return self._pacer.opens_in_s() <= 0.0

    @property
    def awaits_trial(self) -> bool:
        """Whether a call is under way on whose answer every other waits."""
        return self._is_on_trial and self._is_tried

    def begin_trial(self) -> bool:
        """A call begins: whether it is the one on trial, so that `end_trial` has to follow."""
        if not self._is_on_trial or self._is_tried:
            return False
        self._is_tried = True
        return True

    def end_trial(self) -> None:
        """The call on trial was answered, and what that says was heeded; or it was never made."""
        self._is_tried = False
        self._wake()

    def passed(self) -> None:
        """A call was answered in a way that does not speak against the others."""
        if self._is_on_trial and self.is_open:  # else it was under way when this was parked
            self._is_on_trial = False
            self._wake()

    def note_shut(self) -> None:
        """It takes no calls: when it does again, that is worth a line."""
        self._is_told_shut = True

    def note_open(self) -> None:
        """It takes calls: say so, if it did not before."""
        if self._is_told_shut:
            self._is_told_shut = False
            self._log.info(events.LANE_OPENED, lane=self._spec.name)

    def tell(self) -> None:
        """Something changed that others may want to know of."""
        for tell in self.on_change:
            tell()

    async def mend(self, transition: Callable[[LaneState], LaneState]) -> None:
        """An operator, or an exchanged key, may open it."""
        before = self._pacer.state
        after = await self._pacer.change(transition)
        if after.parked_until_at != before.parked_until_at:
            self._wake()
            self.tell()

    async def succeeded(self) -> None:
        """A call went well."""
        self.passed()
        before = self._pacer.state
        after = await self._pacer.change(limits.succeeded)
        counts = (before.strikes, before.throttles, before.blocks)
        if counts != (after.strikes, after.throttles, after.blocks):
            self.tell()

    async def throttled(self, verdict: Throttled, quota_pause_s: float | None = None) -> None:
        """The registry asked for patience; `quota_pause_s` is for how long, where it does not say when a quota is renewed."""
        now = self._clock.now()
        self.refusal = ""
        wait_s = verdict.retry_after_s
        if verdict.is_quota and wait_s is None:
            wait_s = quota_pause_s
        rule = limits.quota_spent if verdict.is_quota else limits.throttled
        after = await self._pacer.change(lambda state: rule(state, now, wait_s))
        self._log.warning(events.LANE_THROTTLED, lane=self._spec.name, reason=verdict.reason,
                          retry_after_s=verdict.retry_after_s, slowdown=after.slowdown,
                          until_at=after.parked_until_at)  # fmt: skip
        await self._shut()

    async def struck(self, verdict: Failed) -> None:
        """A call failed in a way that speaks against all of them."""
        before, now = self._pacer.state, self._clock.now()
        self.refusal = verdict.detail or verdict.reason
        after = await self._pacer.change(lambda state: limits.struck(state, now))
        if after.parked_until_at != before.parked_until_at:
            await self._parked(verdict, after)

    async def blocked(self, verdict: Blocked, key_index: int) -> None:
        """The registry refused us; `key_index` is the key the call was made with."""
        self.refusal = verdict.detail or verdict.reason
        before, now = self._pacer.state, self._clock.now()
        after = await self._pacer.change(
            lambda state: limits.blocked(
                state,
                self._spec,
                now,
                verdict.key_at_fault,
                key_index,
                is_key_missing=verdict.reason == limits.KEY_MISSING,
            )
        )
        if after.parked_until_at != before.parked_until_at:
            await self._parked(verdict, after)
        elif after.key_index != before.key_index:
            self._is_on_trial = True
            self._log.warning(events.LANE_KEY_SWITCHED, lane=self._spec.name, key_index=after.key_index,
                              reason=verdict.reason, detail=verdict.detail)  # fmt: skip

    async def _parked(self, verdict: Failed | Blocked, after: LaneState) -> None:
        self._log.warning(events.LANE_PARKED, lane=self._spec.name, reason=verdict.reason, detail=verdict.detail,
                          strikes=after.strikes, until_at=after.parked_until_at)  # fmt: skip
        await self._shut()

    async def _shut(self) -> None:
        self._is_on_trial = True
        self.note_shut()
        self.tell()
        await self._stand_still()
