"""Before any work: bring manifest and disk together after whatever ended the last run.

Only what was under way can differ, so the first part costs as much as was in flight. The sweep over everything that is
stored runs beside the daily work and stops at a bound: a folder that is not mounted must not become a full refetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, layout
from filingd.core.dropping import drop_of
from filingd.core.errors import DiskFaultError, ManifestDamagedError, StoreError
from filingd.core.forgetting import claim_of
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import FINISHED_STATES, HOLDING_STATES, Change, Item, State, group_of
from filingd.engine.damage import RESCUED_ROUTE, Damage, problem_of
from filingd.engine.dropping import Dropper, unmarked
from filingd.engine.published import published
from filingd.engine.recording import record_what_stands

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from filingd.core.model import BodyReport
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Steps, Store

_PAGE = 500
_LOST_BOUND = 100  # and a twentieth of what was looked at
_FAULT_BOUND = 100  # files the disk refuses before a part of the sweep is given up
_FAULT_PAUSE_S = 900.0  # a file that cannot be read is not looked at all day long
_WITHOUT_FILE = frozenset({State.DUE, State.EMPTY, State.ABSENT, State.QUARANTINED})


@dataclass(slots=True)
class Tally:
    """What a rescue found."""

    returned: int = 0
    found: int = 0
    lost: int = 0
    refused: int = 0
    removed: int = 0
    faults: int = 0


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
        steps_seen: Steps,
    ) -> None:
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._unsealer = unsealer
        self._on_change = on_change
        self._dropper = Dropper(store, manifest, log, steps_seen)
        self._damage = Damage(registry, store, manifest, clock, log, unsealer)
        self._forgetter: Forgetter | None = None

    def heed(self, forgetter: Forgetter) -> None:
        """From now on nothing is adopted or set aside with what is forgotten in it."""
        self._forgetter = self._damage.forgetter = forgetter

    async def in_flight(self) -> Tally:
        """Settle every item whose attempt was cut, and remove staging files nobody will go on with."""
        tally = Tally()
        leased = await self._manifest.leased_items()
        keep = set()
        for item in leased:
            if await self._is_due_again(item, tally):
                keep.add(self._registry.target(item.key))
        keep |= await self._resumable()
        tally.removed = len(await self._store.sweep(frozenset(keep)))
        self._log.info(events.RESCUE_FINISHED, returned=tally.returned, found=tally.found, lost=tally.lost,
                       refused=tally.refused, removed=tally.removed)  # fmt: skip
        return tally

    async def _is_due_again(self, item: Item, tally: Tally) -> bool:
        """Settle one; what the disk does not let settle stays leased, with its staging file, and keeps nobody else."""
        try:
            after = await self._settle(item, tally)
        except DiskFaultError as error:
            self._tell_fault(item.key, error, tally)
            return True
        return after.state is State.DUE

    async def give_back(self) -> int:
        """At a stop: every leased item waits for its next turn; stopping is not a failure.

        Where a body was exchanged and its row could not be written, or one was about to be for what is left of it, or older
        versions have to go, the item stays leased: the next start looks at the file.
        """
        unrecorded = self._unsealer.unrecorded
        leased = [
            item
            for item in await self._manifest.leased_items()
            if item.key not in unrecorded and claim_of(item.reason) is None and drop_of(item.reason) is None
        ]
        now = self._clock.now()
        changes = [
            Change(item.state, replace(item, state=next_state(item.state, Event.POSTPONED), due_at=now))
            for item in leased
        ]
        return await record_what_stands(self._manifest, changes, self._log)

    async def sweep(self) -> Tally:
        """Look for rows without a file, files without a row and seals that are not there, over everything."""
        tally = Tally()
        for part in (self._rows_without_file, self._files_without_row, self._rows_without_seal):
            try:
                await part(tally)
            except DiskFaultError as error:  # of the store as a whole: the other parts may still do
                self._log.error(events.ALARM_RAISED, kind="sweep_failed", detail=str(error))
        self._log.info(events.SWEEP_FINISHED, found=tally.found, lost=tally.lost, refused=tally.refused)
        return tally

    # ------------------------------------------------------------------ what was under way

    async def settle(self, item: Item) -> Item:
        """Settle one leased item by what lies under its final name."""
        after = await self._settle(item, Tally())
        self._unsealer.unrecorded.discard(item.key)
        self._on_change([item.group])
        return after

    async def _settle(self, item: Item, tally: Tally) -> Item:
        try:
            if self._forgetter is not None and (scrubbed := await self._forgetter.settle(item)) is not None:
                self._on_change([item.group])
                return scrubbed
            if (alone := await self._dropped(item, tally)) is not None:
                return alone
            after = await self._agree(item, tally)
        except DiskFaultError as error:
            if item.key in self._unsealer.unrecorded:
                raise  # given back with the row it has, the item would speak of another body
            self._tell_fault(item.key, error, tally)
            return await self._back(item, tally, _FAULT_PAUSE_S)
        return after or await self._back(item, tally)

    async def _dropped(self, item: Item, tally: Tally) -> Item | None:
        """Go on with removing what is older than the body that lies there; None if that is not why the item is leased, or if
        the body that was to take its place never got the name.

        Raises:
            DiskFaultError: the disk refused.
        """
        drop = drop_of(item.reason)
        report = await self._check(item.key) if drop is not None else None
        if drop is None or report is None or report.sha256.hex() != drop.sha256:
            return None
        target = self._registry.target(item.key)
        if item.sha256 == report.sha256:
            return await self._dropper.finish(item, target, unmarked(item, drop))
        await self._dropper.remove(item.key, target, item.version + 1)
        return await self._follow(item, report, tally)

    async def _agree(self, item: Item, tally: Tally) -> Item | None:
        """Let the row say what lies there; None if it does.

        Raises:
            DiskFaultError: the disk refused to read the body or to move it.
        """
        report = await self._check(item.key)
        if report is None:
            return await self._lose(item, tally)
        if item.sha256 is not None and report.sha256 == item.sha256:
            return None
        report = await self._cleansed(item.key)
        if report is None or (item.sha256 is not None and report.sha256 == item.sha256):
            return await self._lose(item, tally) if report is None else None
        problem = self._problem_of(report)
        if problem is None:
            return await self._follow(item, report, tally)
        tally.refused += 1
        await self._damage.set_aside(item.key, RESCUED_ROUTE, *problem)
        return await self._lose(item, tally)

    async def _follow(self, item: Item, report: BodyReport, tally: Tally) -> Item:
        """Let the row follow its file. If it cannot, nobody judges by the row; if somebody else has it now, they will."""
        self._unsealer.unrecorded.add(item.key)
        try:
            after = await self._adopt(item, report, tally)
        except StoreError:
            self._unsealer.unrecorded.discard(item.key)
            raise
        self._unsealer.unrecorded.discard(item.key)
        return after

    async def _check(self, key: str) -> BodyReport | None:
        return await self._store.check(self._registry.target(key), self._registry.body_plan(key))

    async def _cleansed(self, key: str) -> BodyReport | None:
        """What lies there, without what is forgotten in it: it is about to be adopted."""
        if self._forgetter is not None:
            await self._forgetter.cleanse(key)
        return await self._check(key)

    def _problem_of(self, report: BodyReport) -> tuple[str, str] | None:
        forgets = self._forgetter is not None and self._forgetter.has_forgotten
        return problem_of(report, may_be_empty=forgets)

    async def _back(self, item: Item, tally: Tally, pause_s: float = 0.0) -> Item:
        tally.returned += 1
        due_at = self._clock.now() + pause_s
        reason = None if drop_of(item.reason) else item.reason
        after = replace(item, state=next_state(item.state, Event.POSTPONED), due_at=due_at, reason=reason)
        await self._manifest.record([Change(item.state, after)])
        return after

    async def _lose(self, item: Item, tally: Tally) -> Item | None:
        if item.state not in HOLDING_STATES:
            return None
        after = await self._damage.lose(item, "file_lost")
        tally.lost += 1
        self._on_change([item.group])
        return after

    async def _adopt(self, item: Item, report: BodyReport, tally: Tally) -> Item:
        after = await self._damage.adopt(item, report)
        tally.found += 1
        self._on_change([item.group])
        return after

    def _tell_fault(self, key: str, error: DiskFaultError, tally: Tally) -> None:
        tally.faults += 1
        self._log.error(events.ALARM_RAISED, kind="disk_fault", key=key, detail=str(error))

    async def _resumable(self) -> set[str]:
        """Targets with a partial file whose item still wants its body: these may be gone on with."""
        keys = {self._registry.key_of(target): target for target in await self._store.staged()}
        keys.pop(None, None)
        known = await self._manifest.items(key for key in keys if key is not None)
        return {keys[key] for key, item in known.items() if item.state not in FINISHED_STATES}

    # ------------------------------------------------------------------ everything

    async def _rows_without_file(self, tally: Tally) -> None:
        after, looked = "", 0
        while page := await self._manifest.page(after, _PAGE, frozenset({State.STORED})):
            after = page[-1].key
            looked += len(page)
            sizes = await self._sizes_bytes(page, tally)
            for item, size_bytes in zip(page, sizes, strict=True):
                if size_bytes == item.size_bytes:
                    continue
                if tally.lost >= max(_LOST_BOUND, looked // 20):
                    self._log.error(
                        events.ALARM_RAISED, kind="many_files_missing", count=tally.lost, looked=looked
                    )
                    return
                await self._one(item.key, self._agree_if_unmoved(item, tally), tally)

    async def _sizes_bytes(self, items: Sequence[Item], tally: Tally) -> Sequence[int | None]:
        try:
            return await self._store.sizes_bytes([self._registry.target(item.key) for item in items])
        except DiskFaultError:
            return [await self._size_bytes(item, tally) for item in items]

    async def _size_bytes(self, item: Item, tally: Tally) -> int | None:
        """Of one of several that could not be looked at together; what cannot be seen is taken to be as it was."""
        sizes: list[int | None] = []

        async def look() -> None:
            sizes.append(await self._store.size_bytes(self._registry.target(item.key)))

        await self._one(item.key, look(), tally)
        return sizes[0] if sizes else item.size_bytes

    async def _one(self, key: str, work: Coroutine[None, None, None], tally: Tally) -> None:
        """One file or group that cannot be looked at never keeps the sweep from the others.

        Raises:
            DiskFaultError: it was one too many.
        """
        try:
            await work
        except DiskFaultError as error:
            self._tell_fault(key, error, tally)
            if tally.faults >= _FAULT_BOUND:
                raise
        except ManifestDamagedError:
            raise
        except StoreError:
            return  # it moved on meanwhile: the attempt under way decides

    async def _agree_if_unmoved(self, item: Item, tally: Tally) -> None:
        async with self._unsealer.alone_with(item.group):
            if await self._row(item.key) == item:
                await self._agree(item, tally)

    async def _row(self, key: str) -> Item | None:
        return (await self._manifest.items([key])).get(key)

    async def _files_without_row(self, tally: Tally) -> None:
        targets = [
            found for found in await published(self._registry, self._store) if self._registry.key_of(found)
        ]
        for start in range(0, len(targets), _PAGE):
            keys = [self._registry.key_of(target) or "" for target in targets[start : start + _PAGE]]
            known = await self._manifest.items(keys)
            for key in keys:
                item = known.get(key)
                if item is None or item.state in _WITHOUT_FILE:
                    await self._one(key, self._settle_unknown(key, tally), tally)

    async def _settle_unknown(self, key: str, tally: Tally) -> None:
        async with self._unsealer.alone_with(group_of(key)):
            item = await self._row(key)  # as it is now: it may have been fetched since the listing
            if item is not None and item.state not in _WITHOUT_FILE:
                return
            report = await self._cleansed(key)
            if report is None:
                return
            known = item or Item(key, self._any_lane(), due_at=None)
            if item is None:
                await self._manifest.record([Change(None, known)])
            problem = self._problem_of(report)
            if problem is None:
                await self._adopt(known, report, tally)
            else:
                tally.refused += 1
                await self._damage.set_aside(key, RESCUED_ROUTE, *problem)
                self._on_change([group_of(key)])

    def _any_lane(self) -> str:
        return next((spec.name for spec in self._registry.lanes()), "")

    async def _rows_without_seal(self, tally: Tally) -> None:
        """A death while a seal was taken back leaves a row that says sealed and no `SHA256SUMS`."""
        for group in await self._manifest.groups():
            if group.sealed_at is not None:
                await self._one(group.key, self._check_seal(group.key), tally)

    async def _check_seal(self, group: str) -> None:
        async with self._unsealer.alone_with(group):
            items = await self._manifest.group_items(group)
            if not items:
                return
            target = self._registry.target(items[0].key)
            if await self._store.size_bytes(layout.beside(target, layout.SUMS_NAME)) is None:
                await self._unsealer.unseal(group, target, "its seal is missing on disk")
                self._on_change([group])
