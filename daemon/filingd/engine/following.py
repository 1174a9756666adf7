"""What those who follow the feed have in common."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from filingd.core import events
from filingd.core.errors import FilingdError
from filingd.core.retry import backoff_s
from filingd.engine.defects import told

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from filingd.core.catalogue import Contribution
    from filingd.ports import Catalogue, Clock, Log

_DEFECT_S = (60.0, 3600.0)
_LOOK_S = 1.0  # another process may have recorded something


class Follower(Protocol):
    """A part of the engine that follows the feed beside the mirror, and never holds it up."""

    async def run(self) -> None:
        """Follow until cancelled."""
        ...

    async def is_current(self) -> bool:
        """Whether all that is recorded was dealt with, as far as it can be now."""
        ...

    def wake(self) -> None:
        """Something may have been recorded."""
        ...


class Audience(Protocol):
    """Who wants to know what comes into the catalogue, and acts on it when the catalogue is complete."""

    @property
    def has_work(self) -> bool:
        """Whether there is something for `follow_up`, or will be."""
        ...

    def note(self, contribution: Contribution) -> None:
        """The catalogue has something new."""
        ...

    async def follow_up(self, catalogue: Catalogue) -> bool:
        """Do a part of what there is to do; whether something is left."""
        ...


class Guard:
    """Keeps a defect in a part that only follows from ending the mirror: it is told, and the part begins again later."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._resting: set[str] = set()

    def is_resting(self, name: str) -> bool:
        """Whether that part met a defect and has not begun again."""
        return name in self._resting

    async def keep(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part until cancelled.

        Raises:
            FilingdError: the manifest itself failed: nothing can be promised any more.
        """
        defects = 0
        while True:
            try:
                return await run()
            except FilingdError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this part alone
                defects += 1
                self._log.error(events.ALARM_RAISED, kind="defect", detail=f"{name}: {told(error)}")
            self._resting.add(name)
            await self._clock.sleep(backoff_s(defects, *_DEFECT_S, jitter=1.0))
            self._resting.discard(name)


async def rest(clock: Clock, wake: asyncio.Event) -> None:
    """Until it was woken, or it is time to look."""
    wake.clear()
    waits = {asyncio.ensure_future(clock.sleep(_LOOK_S)), asyncio.ensure_future(wake.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
