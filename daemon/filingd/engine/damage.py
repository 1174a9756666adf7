"""What happens to a stored file that is not what was recorded: set aside, lost and wanted again, or adopted as it is.

Rescue, repair and rebuild all do it in this one way: the seal goes first, the file is kept, the row is changed last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events
from filingd.core.errors import DiskFaultError
from filingd.core.kinds import NOTHING_KINDS
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import BodyReport, Change, QuarantineRecord, Version, group_of
from filingd.core.redaction import redact_text

if TYPE_CHECKING:
    from filingd.core.model import BodyPlan, Item
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Store

RESCUED_ROUTE = "rescued"
UNREADABLE = "unreadable"


def problem_of(report: BodyReport, *, may_be_empty: bool = False) -> tuple[str, str] | None:
    """Problem and detail of a body that may not lie under a final name; None if it may.

    A zip without files may, in a store in which something was forgotten: it may be what is left.
    """
    if report.problem is not None:
        return report.problem, report.problem_detail
    if report.kind in NOTHING_KINDS and not (may_be_empty and report.kind == "empty_zip"):
        return "wrong_kind", f"it is {report.kind}"
    return None


async def read(store: Store, target: str, plan: BodyPlan) -> BodyReport | None:
    """As `Store.check`; a file that the disk refuses to read is one with the problem `unreadable` and no digest."""
    try:
        return await store.check(target, plan)
    except DiskFaultError as error:
        return BodyReport("other", 0, b"", problem=UNREADABLE, problem_detail=str(error))


async def move_aside(
    store: Store, key: str, target: str, route: str, at: float, problem: str, detail: str
) -> str | None:
    """Move a file to quarantine with the reason; returns where, None if there was none.

    Raises:
        DiskFullError, DiskFaultError: the disk refused; it lies where it lay.
    """
    record = QuarantineRecord(key, route, "", at, problem, redact_text(detail), 0, {})
    return await store.set_aside(target, record)


class Damage:
    """Changes file, seal and row of one item together. The caller sees to it that nobody else does meanwhile."""

    def __init__(
        self, registry: Registry, store: Store, manifest: Manifest, clock: Clock, log: Log, unsealer: Unsealer
    ) -> None:
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._unsealer = unsealer
        self.forgetter: Forgetter | None = None  # says what must not be kept, not even in quarantine

    async def set_aside(self, key: str, route: str, problem: str, detail: str) -> str | None:
        """Take the seal back and move the body to quarantine; returns where, None if there was none.

        Raises:
            DiskFullError, DiskFaultError: the disk refused.
        """
        target = self._registry.target(key)
        await self._unsealer.unseal(group_of(key), target, f"{key} is damaged on disk")
        return await self._move_aside(key, target, route, problem, detail)

    async def set_older_aside(
        self, version: Version, path: str, route: str, problem: str, detail: str
    ) -> Version | None:
        """Move the body of an older version, which no seal speaks of, from `path` to quarantine.

        Returns the version's row as it has to be from now on, its `path` in quarantine; None if there was no file.

        Raises:
            DiskFullError, DiskFaultError: the disk refused.
        """
        where = await self._move_aside(version.key, path, route, problem, detail)
        return None if where is None else replace(version, path=where)

    async def _move_aside(self, key: str, target: str, route: str, problem: str, detail: str) -> str | None:
        if self.forgetter is not None and await self.forgetter.is_removed(key, target, problem):
            return None
        where = await move_aside(self._store, key, target, route, self._clock.now(), problem, detail)
        if where is not None:
            self._log.error(events.ITEM_QUARANTINED, key=key, path=where, reason=problem, detail=detail,
                            route=route)  # fmt: skip
        return where

    async def lose(self, item: Item, reason: str) -> Item:
        """The item has no body any more: take the seal back and want it again, with all its tries; the new row.

        Raises:
            StoreError: the row moved on meanwhile; it is as it is.
            DiskFullError, DiskFaultError: the disk refused.
        """
        target = self._registry.target(item.key)
        await self._unsealer.unseal(item.group, target, f"{item.key} is missing on disk")
        lost = replace(
            item, state=next_state(item.state, Event.LOST), due_at=self._clock.now(), attempts=0, reason=reason,
            size_bytes=None, sha256=None, stored_at=None,
        )  # fmt: skip
        await self._manifest.record([Change(item.state, lost)])
        self._log.error(events.ITEM_LOST, key=item.key, reason=reason, path=target)
        return lost

    async def adopt(self, item: Item, report: BodyReport) -> Item:
        """The sound body that lies there becomes the item's next version; the new row.

        Raises:
            StoreError: the row moved on meanwhile; it is as it is.
            DiskFullError, DiskFaultError: the disk refused.
        """
        now, target = self._clock.now(), self._registry.target(item.key)
        found = replace(
            item, state=next_state(item.state, Event.FOUND), reason=None, attempts=0, nothing_count=0, nothing_at=None,
            size_bytes=report.size_bytes, sha256=report.sha256, stored_at=now, version=item.version + 1,
        )  # fmt: skip
        stored = replace(found, due_at=self._registry.recheck_at(found, now))
        version = Version(
            item.key, stored.version, target, report.size_bytes, report.sha256, now, RESCUED_ROUTE, "",
            None, report.content_digest, report.member_count, now, report.facts,
        )  # fmt: skip
        await self._unsealer.unseal(item.group, target, f"{item.key} was found on disk")
        await self._manifest.record([Change(item.state, stored, version)])
        self._log.info(events.ITEM_FOUND, key=item.key, path=target, size_bytes=report.size_bytes)
        return stored
