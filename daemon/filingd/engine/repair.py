"""Mends what verification found: sets the damaged body aside, wants it again, and lets the engine fetch just that.

Safe beside a running daemon: an item is claimed in the manifest first (STORED becomes RECHECKING, as by a lease), so
that nobody else touches its file meanwhile. A death in between is settled by the next start's rescue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace

from filingd.core import events
from filingd.core.errors import StoreError
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import LEASED_STATES, Change, Deferral, QuarantineRecord, State, group_of
from filingd.engine.verify import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from filingd.core.model import Item
    from filingd.engine.unseal import Unsealer
    from filingd.engine.verify import Finding, Verifier
    from filingd.ports import Clock, Log, Manifest, Registry, Store

VERIFY_ROUTE = "verify"


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done about a finding. `kept_at` is where the damaged body lies now; `route` how it will be had again,
    None if nothing serves it any more."""

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

    async def want_again(self, findings: Iterable[Finding]) -> list[Mended]:
        """Make every damaged or missing body due; those that changed meanwhile are left out of the answer."""
        mended = []
        for finding in findings:
            if finding.kind in {Kind.DAMAGED, Kind.MISSING} and finding.key is not None:
                done = await self._want_again(finding.key)
                if done is not None:
                    mended.append(done)
        return mended

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
        report = await self._store.check(target, self._registry.body_plan(key))
        finding = self._verifier.judge(item, report)
        if (
            finding is None or finding.kind is Kind.SUSPECT
        ):  # sound after all: it was exchanged between two looks
            await self._manifest.record([_returned(item)])
            return None
        await self._unsealer.unseal(group_of(key), target, f"{key} is {finding.kind.value} on disk")
        kept_at = await self._set_aside(finding, target) if report is not None else None
        lost = await self._lose(item, finding)
        return Mended(finding, kept_at, self._route(lost))

    async def _claim(self, key: str) -> Item | None:
        item = (await self._manifest.items([key])).get(key)
        if item is None or item.state is not State.STORED:
            return None
        claimed = replace(item, state=next_state(item.state, Event.LEASED))
        try:
            await self._manifest.record([Change(item.state, claimed)])
        except StoreError:
            return None
        return claimed

    async def _set_aside(self, finding: Finding, target: str) -> str | None:
        record = QuarantineRecord(
            finding.key or "", VERIFY_ROUTE, "", self._clock.now(), finding.problem, finding.detail, 0, {}
        )
        where = await self._store.set_aside(target, record)
        self._log.error(events.ITEM_QUARANTINED, key=finding.key, path=where, reason=finding.problem,
                        detail=finding.detail, route=VERIFY_ROUTE)  # fmt: skip
        return where

    async def _lose(self, item: Item, finding: Finding) -> Item:
        lost = replace(
            item, state=next_state(item.state, Event.LOST), due_at=self._clock.now(), attempts=0,
            reason=f"file_{finding.kind.value}", size_bytes=None, sha256=None, stored_at=None,
        )  # fmt: skip
        try:
            await self._manifest.record([Change(item.state, lost)])
        except StoreError:  # a daemon that stopped gave back everything that was leased, our claim with it
            await self._manifest.record([Change(State.STORED, lost)])
        self._log.error(events.ITEM_LOST, key=item.key, reason=finding.problem, path=finding.path)
        return lost

    def _route(self, lost: Item) -> str | None:
        answer = self._registry.request(lost, self._clock.now())
        if isinstance(answer, Deferral):
            return None if answer.again_at is None else answer.lane
        return answer.route


def _returned(item: Item) -> Change:
    """A claimed item goes back as it was."""
    return Change(item.state, replace(item, state=next_state(item.state, Event.POSTPONED)))


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
