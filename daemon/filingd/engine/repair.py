"""Mends what verification found: sets the damaged body aside, wants it again, and lets the engine fetch just that.

Safe beside a running daemon: an item is claimed in the manifest first (STORED becomes RECHECKING, as by a lease), so
that nobody else touches its file meanwhile. A death in between is settled by the next start's rescue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec.structs import replace

from filingd.core import events, layout
from filingd.core.errors import DiskFaultError, DiskFullError, ManifestDamagedError, StoreError
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import LEASED_STATES, Change, Deferral, State
from filingd.engine.damage import UNREADABLE, Damage, read
from filingd.engine.verify import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from filingd.core.model import Item, Version
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.unseal import Unsealer
    from filingd.engine.verify import Finding, Verifier
    from filingd.ports import Clock, Log, Manifest, Registry, Store

VERIFY_ROUTE = "verify"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done about a finding. `kept_at` is where the damaged body lies now; `route` how it will be had again,
    None if nothing serves it any more, as with every older version."""

    finding: Finding
    kept_at: str | None = None
    route: str | None = None


class Repairer:
    """Takes findings to the point where fetching again is all that is left."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        verifier: Verifier,
        unsealer: Unsealer,
    ) -> None:
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._verifier = verifier
        self._unsealer = unsealer
        self._damage = Damage(registry, store, manifest, clock, log, unsealer)

    def heed(self, forgetter: Forgetter) -> None:
        """From now on nothing is set aside that holds, or may hide, what is forgotten: it is removed."""
        self._damage.forgetter = forgetter

    async def want_again(self, findings: Iterable[Finding]) -> list[Mended]:
        """Make every damaged or missing body due; those that changed meanwhile are left out of the answer."""
        mended = []
        for finding in findings:
            if finding.kind in {Kind.DAMAGED, Kind.MISSING} and finding.key is not None:
                done = await _unless_it_moved(self._want_again(finding.key))
                if done is not None:
                    mended.append(done)
        return mended

    async def set_older_aside(self, findings: Iterable[Finding]) -> list[Mended]:
        """Move every damaged older version to quarantine and let its row say so: it can never be had again.

        What cannot be read stays where it is: it may be sound, and the disk or its permissions at fault. To be done
        before `want_again`, after which an item that is damaged itself cannot be claimed.
        """
        mended = []
        for finding in findings:
            if finding.kind is Kind.OLD_VERSION and finding.key is not None:
                done = await _unless_it_moved(self._set_older_aside(finding.key, finding.path))
                if done is not None:
                    mended.append(done)
        return mended

    async def _set_older_aside(self, key: str, path: str) -> Mended | None:
        item = await self._claim(key)
        if item is None:
            return None
        finding, moved = None, None
        try:
            finding, moved = await self._move_older(item, path)
        except (DiskFullError, DiskFaultError) as error:
            self._tell_fault(key, error)
        # If somebody else has the claim by now, the row still says what the version was, and its file is gone.
        await _unless_it_moved(self._manifest.record([_returned(item, moved)]))
        return Mended(finding, moved.path) if finding is not None and moved is not None else None

    async def _move_older(self, item: Item, path: str) -> tuple[Finding | None, Version | None]:
        """The finding as it is now, and the version's new row if its body was moved."""
        target = self._registry.target(item.key)
        for version in await self._manifest.versions(item.key):
            if version.number < item.version and layout.superseded(target, version.number) == path:
                report = await read(self._store, path, self._registry.body_plan(item.key))
                finding = self._verifier.judge_older(version, path, report)
                if finding is None or finding.kind is not Kind.OLD_VERSION or finding.problem == UNREADABLE:
                    return None, None
                moved = await self._damage.set_older_aside(
                    version, path, VERIFY_ROUTE, finding.problem, finding.detail
                )
                return finding, moved
        return None, None

    def _tell_fault(self, key: str, error: Exception) -> None:
        self._log.error(events.ALARM_RAISED, kind="disk_fault", key=key, detail=str(error))

    async def unseal(self, findings: Iterable[Finding]) -> list[str]:
        """Take back seals that do not hold; returns the groups, to be judged anew."""
        groups = []
        for finding in findings:
            if finding.kind is Kind.SEAL and finding.key is not None:
                await self._unsealer.unseal(finding.key, finding.path, "its seal did not hold")
                groups.append(finding.key)
        return groups

    async def _want_again(self, key: str) -> Mended | None:
        item = await self._claim(key)
        if item is None:
            return None
        target = self._registry.target(key)
        report = await read(self._store, target, self._registry.body_plan(key))
        finding = self._verifier.judge(item, report)
        if (
            finding is None or finding.kind is Kind.SUSPECT
        ):  # sound after all: it was exchanged between two looks
            await self._manifest.record([_returned(item)])
            return None
        if not await self._is_still_claimed(item):
            return None  # a daemon that stopped gave our claim back; another may have stored a new body since
        try:
            kept_at = None
            if report is not None:
                kept_at = await self._damage.set_aside(key, VERIFY_ROUTE, finding.problem, finding.detail)
        except (DiskFullError, DiskFaultError) as error:  # it stays a finding; the others are mended
            self._tell_fault(key, error)
            await self._manifest.record([_returned(item)])
            return None
        return Mended(finding, kept_at, self._route(await self._lose(item, finding)))

    async def _claim(self, key: str) -> Item | None:
        item = await self._row(key)
        if item is None or item.state is not State.STORED:
            return None
        claimed = replace(item, state=next_state(item.state, Event.LEASED))
        try:
            await self._manifest.record([Change(item.state, claimed)])
        except StoreError:
            return None
        return claimed

    async def _is_still_claimed(self, item: Item) -> bool:
        row = await self._row(item.key)
        return row is not None and (row.state, row.version) in {
            (item.state, item.version),
            (State.STORED, item.version),
        }

    async def _row(self, key: str) -> Item | None:
        return (await self._manifest.items([key])).get(key)

    async def _lose(self, item: Item, finding: Finding) -> Item:
        reason = f"file_{finding.kind.value}"
        try:
            return await self._damage.lose(item, reason)
        except StoreError:  # a daemon that stopped gave back everything that was leased, our claim with it
            return await self._damage.lose(replace(item, state=State.STORED), reason)

    def _route(self, lost: Item) -> str | None:
        answer = self._registry.request(lost, self._clock.now())
        if isinstance(answer, Deferral):
            return None if answer.again_at is None else answer.lane
        return answer.route


def _returned(item: Item, version: Version | None = None) -> Change:
    """A claimed item goes back as it was; `version` is the new row of an older one."""
    return Change(item.state, replace(item, state=next_state(item.state, Event.POSTPONED)), version)


async def _unless_it_moved(work: Awaitable[T]) -> T | None:
    """One item that moved on meanwhile keeps nobody from mending the others."""
    try:
        return await work
    except ManifestDamagedError:
        raise
    except StoreError:
        return None


# ------------------------------------------------------------------------------------------ fetching just that


class _OnlyThese:
    """A manifest in which nothing but some items is ever due. Everything else is the real one's."""

    def __init__(self, manifest: Manifest, keys: frozenset[str]) -> None:
        self._manifest = manifest
        self._keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manifest, name)

    async def lease(self, lane: str, now: float, limit: int) -> Sequence[Item]:
        """See `ports.Manifest`."""
        due = [item for item in await self._waiting(lane) if item.due_at is not None and item.due_at <= now]
        leased = []
        for item in sorted(due, key=lambda each: (each.priority, each.due_at, each.key))[:limit]:
            taken = replace(item, state=next_state(item.state, Event.LEASED), due_at=None)
            await self._manifest.record([Change(item.state, taken)])
            leased.append(taken)
        return leased

    async def next_due_at(self, lane: str) -> float | None:
        """See `ports.Manifest`."""
        return min(
            (item.due_at for item in await self._waiting(lane) if item.due_at is not None), default=None
        )

    async def _waiting(self, lane: str) -> list[Item]:
        known = await self._manifest.items(self._keys)
        return [item for item in known.values() if item.lane == lane and item.state not in LEASED_STATES]


def only_these(manifest: Manifest, keys: Iterable[str]) -> Manifest:
    """The manifest, narrowed: an engine that works with it fetches these items and no others."""
    return cast("Manifest", _OnlyThese(manifest, frozenset(keys)))
