"""Before any work: bring manifest and disk together after whatever ended the last run.

Only what was under way can differ, so the first part costs as much as was in flight. The sweep over everything that is
stored runs beside the daily work and stops at a bound: a folder that is not mounted must not become a full refetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, layout
from filingd.core.errors import DiskFaultError, StoreError
from filingd.core.kinds import NOTHING_KINDS
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import (
    FINISHED_STATES,
    HOLDING_STATES,
    BodyReport,
    Change,
    Item,
    QuarantineRecord,
    State,
    Version,
    group_of,
)
from filingd.engine.recording import record_what_stands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Store

RESCUED_ROUTE = "rescued"
_PAGE = 500
_LOST_BOUND = 100  # and a twentieth of what was looked at
_WITHOUT_FILE = frozenset({State.DUE, State.EMPTY, State.ABSENT, State.QUARANTINED})


@dataclass(slots=True)
class Tally:
    """What a rescue found."""

    returned: int = 0
    found: int = 0
    lost: int = 0
    refused: int = 0
    removed: int = 0


class Rescue:
    """Makes rows and files agree."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        unsealer: Unsealer,
        on_change: Callable[[Iterable[str]], None],
    ) -> None:
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._unsealer = unsealer
        self._on_change = on_change

    async def in_flight(self) -> Tally:
        """Settle every item whose attempt was cut, and remove staging files nobody will go on with."""
        tally = Tally()
        leased = await self._manifest.leased_items()
        keep = set()
        for item in leased:
            after = await self._settle(item, tally)
            if after.state is State.DUE:
                keep.add(self._registry.target(item.key))
        keep |= await self._resumable()
        tally.removed = len(await self._store.sweep(frozenset(keep)))
        self._log.info(events.RESCUE_FINISHED, returned=tally.returned, found=tally.found, lost=tally.lost,
                       refused=tally.refused, removed=tally.removed)  # fmt: skip
        return tally

    async def give_back(self) -> int:
        """At a stop: every leased item waits for its next turn; stopping is not a failure."""
        leased = await self._manifest.leased_items()
        now = self._clock.now()
        changes = [
            Change(item.state, replace(item, state=next_state(item.state, Event.POSTPONED), due_at=now))
            for item in leased
        ]
        return await record_what_stands(self._manifest, changes, self._log)

    async def sweep(self) -> Tally:
        """Look for rows without a file, files without a row and seals that are not there, over everything."""
        tally = Tally()
        await self._rows_without_file(tally)
        await self._files_without_row(tally)
        await self._rows_without_seal()
        self._log.info(events.SWEEP_FINISHED, found=tally.found, lost=tally.lost, refused=tally.refused)
        return tally

    # ------------------------------------------------------------------ what was under way

    async def settle(self, item: Item) -> Item:
        """Settle one leased item by what lies under its final name."""
        return await self._settle(item, Tally())

    async def _settle(self, item: Item, tally: Tally) -> Item:
        target = self._registry.target(item.key)
        try:
            report = await self._store.check(target, self._registry.body_plan(item.key))
        except DiskFaultError as error:
            self._log.error(events.ALARM_RAISED, kind="disk_fault", key=item.key, detail=str(error))
            return await self._back(item, tally)
        if report is None:
            return await self._without_file(item, tally)
        if item.sha256 is not None and report.sha256 == item.sha256:
            return await self._back(item, tally)
        if _problem_of(report) is not None:
            await self._refuse(item, target, report, tally)
            return await self._without_file(item, tally)
        return await self._found(item, target, report, tally)

    async def _without_file(self, item: Item, tally: Tally) -> Item:
        if item.state not in HOLDING_STATES:
            return await self._back(item, tally)
        tally.lost += 1
        return await self._lose(item)

    async def _back(self, item: Item, tally: Tally) -> Item:
        tally.returned += 1
        after = replace(item, state=next_state(item.state, Event.POSTPONED), due_at=self._clock.now())
        await self._manifest.record([Change(item.state, after)])
        return after

    async def _lose(self, item: Item) -> Item:
        after = replace(
            item, state=next_state(item.state, Event.LOST), due_at=self._clock.now(), reason="file_lost",
            size_bytes=None, sha256=None, stored_at=None,
        )  # fmt: skip
        await self._unsealer.unseal(
            item.group, self._registry.target(item.key), f"{item.key} is missing on disk"
        )
        await self._manifest.record([Change(item.state, after)])
        self._on_change([item.group])
        self._log.error(events.ITEM_LOST, key=item.key)
        return after

    async def _found(self, item: Item, target: str, report: BodyReport, tally: Tally) -> Item:
        tally.found += 1
        now = self._clock.now()
        stored = replace(
            item, state=next_state(item.state, Event.FOUND), reason=None, attempts=0, nothing_count=0, nothing_at=None,
            size_bytes=report.size_bytes, sha256=report.sha256, stored_at=now, version=item.version + 1,
        )  # fmt: skip
        after = replace(stored, due_at=self._registry.recheck_at(stored, now))
        version = Version(
            item.key, after.version, target, report.size_bytes, report.sha256, now, RESCUED_ROUTE, "",
            None, report.content_digest, report.member_count, now, report.facts,
        )  # fmt: skip
        await self._unsealer.unseal(item.group, target, f"{item.key} was found on disk")
        await self._manifest.record([Change(item.state, after, version)])
        self._on_change([item.group])
        self._log.info(events.ITEM_FOUND, key=item.key, path=target, size_bytes=report.size_bytes)
        return after

    async def _refuse(self, item: Item, target: str, report: BodyReport, tally: Tally) -> None:
        tally.refused += 1
        problem, detail = _problem_of(report) or ("", "")
        record = QuarantineRecord(item.key, RESCUED_ROUTE, "", self._clock.now(), problem, detail, 0, {})
        await self._unsealer.unseal(item.group, target, f"{item.key} is damaged on disk")
        where = await self._store.set_aside(target, record)
        self._log.error(events.ITEM_QUARANTINED, key=item.key, path=where, reason=problem, detail=detail,
                        request_id="")  # fmt: skip

    async def _resumable(self) -> set[str]:
        """Targets with a partial file whose item still wants its body: these may be gone on with."""
        keys = {self._registry.key_of(target): target for target in await self._store.staged()}
        keys.pop(None, None)
        known = await self._manifest.items(key for key in keys if key is not None)
        return {keys[key] for key, item in known.items() if item.state not in FINISHED_STATES}

    # ------------------------------------------------------------------ everything

    async def _rows_without_file(self, tally: Tally) -> None:
        begun_at = self._clock.now()
        after, looked = "", 0
        while page := await self._manifest.page(after, _PAGE, frozenset({State.STORED})):
            after = page[-1].key
            looked += len(page)
            older = [
                item for item in page if (item.stored_at or 0.0) < begun_at
            ]  # the others were just verified
            sizes = await self._store.sizes_bytes([self._registry.target(item.key) for item in older])
            for item, size_bytes in zip(older, sizes, strict=True):
                if size_bytes == item.size_bytes:
                    continue
                if tally.lost >= max(_LOST_BOUND, looked // 20):
                    self._log.error(
                        events.ALARM_RAISED, kind="many_files_missing", count=tally.lost, looked=looked
                    )
                    return
                tally.lost += await self._lose_if_unmoved(item, damaged=size_bytes is not None)

    async def _lose_if_unmoved(self, item: Item, *, damaged: bool) -> bool:
        async with self._unsealer.alone_with(item.group):
            if await self._row(item.key) != item:
                return False
            if damaged:
                report = BodyReport(
                    "other", 0, b"", problem="short_body", problem_detail="not the recorded size"
                )
                await self._refuse(item, self._registry.target(item.key), report, Tally())
            try:
                await self._lose(item)
            except StoreError:
                return False
            return True

    async def _row(self, key: str) -> Item | None:
        return (await self._manifest.items([key])).get(key)

    async def _files_without_row(self, tally: Tally) -> None:
        targets = [
            found for found in await self._store.files(self._registry.name) if self._registry.key_of(found)
        ]
        for start in range(0, len(targets), _PAGE):
            chunk = {self._registry.key_of(target) or "": target for target in targets[start : start + _PAGE]}
            known = await self._manifest.items(chunk)
            for key, target in chunk.items():
                item = known.get(key)
                if item is None or item.state in _WITHOUT_FILE:
                    async with self._unsealer.alone_with(group_of(key)):
                        await self._adopt(key, target, tally)

    async def _adopt(self, key: str, target: str, tally: Tally) -> None:
        item = await self._row(key)  # as it is now: it may have been fetched since the listing
        if item is not None and item.state not in _WITHOUT_FILE:
            return
        report = await self._readable(key, target)
        if report is None:
            return
        known = item or Item(
            key, lane=self._registry.lanes()[0].name if self._registry.lanes() else "", due_at=None
        )
        if item is None:
            await self._manifest.record([Change(None, known)])
        try:
            if _problem_of(report) is None:
                await self._found(known, target, report, tally)
            else:
                await self._refuse(known, target, report, tally)
        except StoreError:
            return  # it was leased meanwhile: the attempt under way decides
        self._on_change([group_of(key)])

    async def _readable(self, key: str, target: str) -> BodyReport | None:
        try:
            return await self._store.check(target, self._registry.body_plan(key))
        except DiskFaultError as error:
            self._log.error(events.ALARM_RAISED, kind="disk_fault", key=key, detail=str(error))
            return None

    async def _rows_without_seal(self) -> None:
        """A death while a seal was taken back leaves a row that says sealed and no `SHA256SUMS`."""
        for group in await self._manifest.groups(f"{self._registry.name}/"):
            if group.sealed_at is not None:
                async with self._unsealer.alone_with(group.key):
                    await self._check_seal(group.key)

    async def _check_seal(self, group: str) -> None:
        items = await self._manifest.group_items(group)
        if not items:
            return
        target = self._registry.target(items[0].key)
        if await self._store.size_bytes(layout.beside(target, layout.SUMS_NAME)) is None:
            await self._unsealer.unseal(group, target, "its seal is missing on disk")
            self._on_change([group])


def _problem_of(report: BodyReport) -> tuple[str, str] | None:
    """Why a file that lies under a final name cannot be a stored body. Nothing at all is no body either."""
    if report.problem is not None:
        return report.problem, report.problem_detail
    return ("wrong_kind", f"it is {report.kind}") if report.kind in NOTHING_KINDS else None
