"""A seal never lies: before a sealed day changes, its `SHA256SUMS` goes and the manifest says that the day is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, layout

if TYPE_CHECKING:
    from filingd.ports import Clock, Log, Manifest, Store


class Unsealer:
    """Opens groups again."""

    def __init__(self, store: Store, manifest: Manifest, clock: Clock, log: Log) -> None:
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log

    async def unseal(self, group: str, target: str, reason: str = "a body is about to change") -> None:
        """Take back the seal of a group, if it has one; `target` is any body in its folder."""
        for known in await self._manifest.groups(group):
            if known.key == group and known.sealed_at is not None:
                await self._store.remove(layout.beside(target, layout.SUMS_NAME))
                await self._manifest.save_groups([replace(known, sealed_at=None, reasons=(reason,))])
                self._log.warning(events.DAY_REOPENED, group=group, reasons=[reason])
