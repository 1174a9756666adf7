"""Removes the older versions of an item for good, where a registry says that they may not be kept.

The row is marked before the new body gets its name (`core.dropping.Drop`), and stays leased until nothing older is left: whoever
starts after a death knows by the digest whether the exchange took place, and goes on. The body that is replaced never lies under
`versions/`. What the disk does not let go is told as an alarm; the item is left alone until the next start, which tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, layout, steps
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.dropping import Drop
    from filingd.core.model import Item
    from filingd.ports import Log, Manifest, Steps, Store

_RECORD_ENDING = ".json"  # of what is written beside a refused body


class Dropper:
    """See the module. The caller sees to it that nobody else works on the item."""

    def __init__(self, store: Store, manifest: Manifest, log: Log, steps_seen: Steps) -> None:
        self._store = store
        self._manifest = manifest
        self._log = log
        self._steps = steps_seen

    async def mark(self, item: Item, drop: Drop) -> None:
        """Let the row of a leased item say that all but one body has to go."""
        await self._manifest.record([Change(item.state, replace(item, reason=drop.text()))])
        self._steps.reached(steps.OLDER_CLAIMED)

    async def remove(self, key: str, target: str, number: int) -> None:
        """Remove whatever is older than the body with this number: files, then rows.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; what is left of it can be removed by another call.
        """
        paths = await self._older(target)
        for path in paths:
            if layout.is_set_aside(path):
                await self._store.remove(f"{path}{_RECORD_ENDING}")  # first: nobody would find it by itself
            await self._store.remove(path)
            self._steps.reached(steps.OLDER_REMOVED)
        await self._store.drop_partial(target)
        await self._manifest.drop_older(key, number)
        self._steps.reached(steps.OLDER_RECORDED)
        self._log.info(events.ITEM_OLDER_REMOVED, key=key, version=number, files=len(paths))

    async def remove_all(self, item: Item, target: str) -> None:
        """Remove every body of an item, the one that is held as well, and what is recorded of them. The row is the caller's.

        Older ones go first: if the disk refuses, the row is still true of the body that is held.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; what is left of it can be removed by another call.
        """
        await self.remove(item.key, target, item.version)
        await self._store.remove(target)
        self._steps.reached(steps.HELD_REMOVED)
        await self._manifest.drop_versions(item.key)

    async def finish(self, marked: Item, target: str, after: Item) -> Item:
        """Remove what is older than the body of `after`, and let the row say so; the row as it is then."""
        try:
            await self.remove(after.key, target, after.version)
            await self._manifest.record([Change(marked.state, after)])
        except (DiskFaultError, DiskFullError) as error:
            detail = (
                f"{error} Older versions that may not be kept may still be there; the next start tries again."
            )
            self._log.error(events.ALARM_RAISED, kind="older_versions_left", key=after.key, detail=detail)
            return marked
        return after

    async def _older(self, target: str) -> Sequence[str]:
        """All older and refused bodies of one item, wherever they lie."""
        folder = layout.folder_of(target)
        tops = (layout.VERSIONS, layout.QUARANTINE, f"{layout.QUARANTINE}/{layout.VERSIONS}")
        found = [path for top in tops for path in await self._store.files(f"{top}/{folder}")]
        return [path for path in found if _whose(path) == target]


def marked(item: Item, drop: Drop) -> Item:
    """The row of an item that is stored, as long as older versions of it may be there: leased still."""
    return replace(item, state=next_state(item.state, Event.LEASED), reason=drop.text(), due_at=None)


def unmarked(item: Item, drop: Drop) -> Item:
    """The same when nothing older is left of it."""
    return replace(item, state=next_state(item.state, Event.UNCHANGED), reason=None, due_at=drop.due_at)


def _whose(path: str) -> str | None:
    """The target that an older or refused body is, or was to be, of."""
    was = layout.set_aside_of(path) if layout.is_set_aside(path) else path
    older = layout.superseded_of(was) if was else None
    return older[0] if older else was
