"""A seal never lies: before anything in a sealed day changes, its `SHA256SUMS` goes and the manifest says that the day is open.

Bodies are exchanged and days are judged under one lock a day (`Unsealer.alone_with`): a seal that was judged before
an exchange cannot be written after it.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, layout, steps

if TYPE_CHECKING:
    from filingd.ports import Clock, Log, Manifest, Steps, Store


class Unsealer:
    """Opens groups again."""

    def __init__(
        self, store: Store, manifest: Manifest, clock: Clock, log: Log, steps_seen: Steps | None = None
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self.unrecorded: set[str] = set()  # items whose body was exchanged and whose row does not say so
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def alone_with(self, group: str) -> asyncio.Lock:
        """Whoever changes bodies of a group, or judges it and writes its seal, does so inside. Not reentrant."""
        lock = self._locks.get(group)
        if lock is None:
            lock = self._locks[group] = asyncio.Lock()
        return lock

    async def unseal(self, group: str, target: str, reason: str = "a body is about to change") -> None:
        """Take back the seal of a group, if it has one; `target` is any body in its folder.

        The file goes whatever the manifest says: a death between the file and the row leaves one that no row knows.
        """
        await self._store.remove(layout.beside(target, layout.SUMS_NAME))
        for known in await self._manifest.groups(group):
            if known.key == group and known.sealed_at is not None:
                if self._steps is not None:
                    self._steps.reached(steps.SUMS_REMOVED)
                opened = replace(known, sealed_at=None, opened_at=self._clock.now(), reasons=(reason,))
                await self._manifest.save_groups([opened])
                self._log.warning(events.DAY_REOPENED, group=group, reasons=[reason])
