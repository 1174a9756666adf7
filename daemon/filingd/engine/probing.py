"""Makes single calls at the pace of their lane, to learn what is answered. Nothing of a body is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.errors import TransferError
from filingd.core.limits import LaneState, limit_of
from filingd.core.model import Answer
from filingd.engine.pacer import LanePacer

if TYPE_CHECKING:
    from filingd.core.model import FlowLimits, LaneSpec, Request
    from filingd.ports import Clock, HttpClient

_ERROR_BODY_BYTES = 8 * 1024


class Prober:
    """Asks on one lane, one call at a time.

    `former` is what is remembered of the lane: what was released by a daemon before counts. Nothing of these calls is
    remembered, so `rest` has to be awaited before anybody else uses the lane.
    """

    def __init__(
        self, spec: LaneSpec, former: LaneState | None, http: HttpClient, clock: Clock, flow: FlowLimits
    ) -> None:
        state = LaneState(spec.name)
        if former is not None:  # its pace; what parked it is no matter of pace
            state = LaneState(spec.name, former.boot_id, former.reserved_until_s, slowdown=former.slowdown)
        self._pacer = LanePacer(spec, state, clock, _forget)
        self._spec = spec
        self._http = http
        self._clock = clock
        self._flow = flow
        self._has_asked = False

    async def ask(self, request: Request) -> Answer:
        """Make one call as soon as it may be made."""
        await self._pacer.acquire()
        self._has_asked = True
        sending = self._pacer.sending()
        try:
            async with self._http.exchange(request, self._flow, sending.begin) as exchange:
                text, _ = await exchange.read_capped(_ERROR_BODY_BYTES)
                return Answer(exchange.head, error_body=text)
        except TransferError as error:
            return Answer(transfer_reason=error.reason, detail=error.detail)
        finally:
            sending.end()

    async def rest(self) -> None:
        """Return when the calls that were made lie outside every window: whoever calls next need not know of them."""
        if self._has_asked:
            limit = limit_of(self._pacer.state, self._spec.calls_per_s, self._spec.burst)
            await self._clock.sleep(limit.window_s + limit.margin_s)


async def _forget(_: LaneState) -> None:
    """Nothing is recorded: the lane is not asked by anybody else while we hold the lock."""
