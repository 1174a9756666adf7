"""Small documents on their way to the disk: written, synced and recorded in groups.

A worker hands a document over and goes on; what waits is bounded. One sync, one transaction and two hops between
threads serve a whole group, which is what makes durability nearly free. While one group is recorded the next is written.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.engine.undisturbed import undisturbed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from filingd.core.model import Stored
    from filingd.engine.outcomes import Made, Outcomes
    from filingd.engine.transfer import Fetched
    from filingd.ports import Store

GROUP_MAX = 256
WAITING_MAX = 3 * GROUP_MAX
_GROUPS_AT_ONCE = 2  # one that is written, one that is recorded


class Handed(NamedTuple):
    """One document handed over: how it was asked for, what came, and what the registry makes of it."""

    made: Made
    fetched: Fetched
    verdict: Stored


class DocumentDesk:
    """Takes documents from workers and publishes them in groups."""

    def __init__(
        self,
        store: Store,
        outcomes: Outcomes,
        refused: Callable[[Made, Exception], Awaitable[None]],
        recorded: Callable[[Made], None] = lambda _: None,
    ) -> None:
        """`refused` settles a document that could not be published, and says why; `recorded` is told of each that was."""
        self._store = store
        self._outcomes = outcomes
        self._refused = refused
        self._recorded = recorded
        self._waiting: list[Handed] = []
        self._in_hand = 0
        self._disk_is_free = asyncio.Lock()
        self._came = asyncio.Event()
        self._went = asyncio.Event()

    @property
    def pending(self) -> int:
        """Documents that were handed over and are not recorded yet."""
        return len(self._waiting) + self._in_hand

    async def take(self, handed: Handed) -> None:
        """Take a document; waits only while too many are waiting."""
        while self.pending >= WAITING_MAX:
            self._went.clear()
            await self._went.wait()
        self._waiting.append(handed)
        self._came.set()

    async def run(self) -> None:
        """Publish what comes, until cancelled.

        Raises:
            Exception: what publishing died of.
        """
        serving = {asyncio.create_task(self._serve(), name="documents") for _ in range(_GROUPS_AT_ONCE)}
        try:
            ended, _ = await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def drain(self) -> None:
        """Return when everything that was handed over is settled."""
        while self.pending:
            self._went.clear()
            await self._went.wait()

    async def _serve(self) -> None:
        while True:
            group = await self._next_group()
            try:
                await undisturbed(self._publish(group))
            finally:
                self._in_hand -= len(group)
                self._went.set()

    async def _next_group(self) -> Sequence[Handed]:
        """What waits when the disk is free for it; from then on it is ours until the group is written."""
        await self._disk_is_free.acquire()
        try:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
        except BaseException:
            self._disk_is_free.release()
            raise
        group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
        self._in_hand += len(group)
        return group

    async def _publish(self, group: Sequence[Handed]) -> None:
        try:
            errors = await self._put(group)
        finally:
            self._disk_is_free.release()
        kept = [one for one, error in zip(group, errors, strict=True) if error is None]
        refused = [(one, error) for one, error in zip(group, errors, strict=True) if error is not None]
        try:
            await self._outcomes.record_documents(kept)
            for one in kept:
                self._recorded(one.made)
        except (DiskFullError, DiskFaultError) as error:
            refused += [(one, error) for one in kept]
        for one, why in refused:
            await self._refused(one.made, why)

    async def _put(self, group: Sequence[Handed]) -> Sequence[Exception | None]:
        try:
            return await self._store.put_documents(
                [(one.made.target, one.fetched.document or b"") for one in group]
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, a group that failed must not stop the rest
            return [error] * len(group)
