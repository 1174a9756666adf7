"""What those who follow the feed have in common."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filingd.core.catalogue import Contribution
    from filingd.ports import Catalogue, Clock

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


async def rest(clock: Clock, wake: asyncio.Event) -> None:
    """Until it was woken, or it is time to look."""
    wake.clear()
    waits = {asyncio.ensure_future(clock.sleep(_LOOK_S)), asyncio.ensure_future(wake.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
