"""Makes the expected items exist and keeps them in the right place, at the start, at intervals and at the change of day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.model import Group, State, group_of
from filingd.engine.recording import record_what_stands

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from filingd.core.model import Item
    from filingd.ports import Clock, Log, Manifest, Registry

_CHUNK = 1000


class Planner:
    """Asks the registry what should be, compares with the manifest, and records the difference."""

    def __init__(
        self,
        registry: Registry,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        interval_s: float,
        on_change: Callable[[Iterable[str]], None],
    ) -> None:
        self._registry = registry
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._interval_s = interval_s
        self._on_change = on_change

    def wanted_groups(self, now: float) -> Collection[str]:
        """The groups of what is expected; a mirror is complete when these are."""
        return dict.fromkeys(group_of(key) for key in self._registry.expected(now))

    async def plan(self) -> int:
        """Plan once; returns how many items changed."""
        now = self._clock.now()
        keys = self._registry.expected(now)
        groups = await self._manifest.groups()
        known = await self._known(keys, groups)
        changes = self._registry.plan(now, known)
        await self._open_groups(keys, groups, now)
        for start in range(0, len(changes), _CHUNK):
            await record_what_stands(self._manifest, changes[start : start + _CHUNK], self._log)
        wanted = frozenset(keys)
        lost = [change.item.key for change in changes
                if change.item.state is State.ABSENT and change.item.key in wanted]  # fmt: skip
        if lost:
            self._log.error(
                events.ALARM_RAISED, kind="not_obtainable", count=len(lost), first=lost[0], last=lost[-1]
            )
        if changes:
            self._log.info(events.PLAN_MADE, expected=len(keys), changed=len(changes))
            self._on_change({group_of(change.item.key) for change in changes})
        return len(changes)

    async def run(self) -> None:
        """Plan again and again; runs until cancelled."""
        while True:
            await self._clock.sleep(self._interval_s)
            try:
                await self.plan()
            except (DiskFullError, DiskFaultError) as error:
                self._log.error(events.ALARM_RAISED, kind="plan_failed", detail=str(error))

    async def _known(self, keys: Sequence[str], groups: Sequence[Group]) -> dict[str, Item]:
        """What the manifest holds: of what is expected, and all else of the groups that were ever planned."""
        known = dict(await self._manifest.items(keys))
        for group in groups:
            known.update((item.key, item) for item in await self._manifest.group_items(group.key))
        return known

    async def _open_groups(self, keys: Sequence[str], groups: Sequence[Group], now: float) -> None:
        known = {group.key for group in groups}
        missing = dict.fromkeys(group_of(key) for key in keys if group_of(key) not in known)
        if missing:
            await self._manifest.save_groups(
                [Group(key, opened_at=now, reasons=("planned",)) for key in missing]
            )
