"""Takes what is forgotten out of one body, or one item, so that a death at any moment leaves row and file agreeing or settled
by the next start.

Whoever exchanges a body claims its row first, as a lease does, so that nobody else works on it, here or in another process. The
row then says what is left of the body will be (`core.forgetting.Claim`), before it gets the name: a start that finds the claim
knows by the digest whether the exchange took place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from filingd.core import events, layout, steps
from filingd.core.catalogue import NOTHING_FORGOTTEN
from filingd.core.errors import DiskFullError
from filingd.core.forgetting import FORGOTTEN_REASON, TAKEN_OUT, Claim, claim_of, redacted
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import LEASED_STATES, Change, State, Version, group_of
from filingd.engine.damage import RESCUED_ROUTE, read
from filingd.engine.undisturbed import undisturbed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub, Traces
    from filingd.core.model import BodyReport, Item
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Staged, Steps, Store

_ROOM_TO_RECORD_BYTES = 1024 * 1024  # for the manifest, once the body lies there


@dataclass(slots=True)
class Tally:
    """What was erased, or would be. `refused` are the files that could not be dealt with, and why."""

    files: int = 0
    members: int = 0
    documents: int = 0
    versions: int = 0
    quarantined: int = 0
    partials: int = 0
    size_bytes: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)
    keys: dict[str, None] = field(default_factory=dict)  # of the items concerned, in order

    def facts(self) -> dict[str, int]:
        """The counts, as plain JSON."""
        names = ("files", "members", "documents", "versions", "quarantined", "partials", "size_bytes")
        return {name: getattr(self, name) for name in names}

    def concerns(self, key: str) -> None:
        """Something of this item goes."""
        self.groups.add(group_of(key))
        self.keys[key] = None


class Cleanable(Protocol):
    """What of a catalogue is needed to keep it clean; see `ports.Catalogue`."""

    async def forget(self, forgotten: Forgotten) -> Sequence[str]: ...
    async def drop(self, keys: Iterable[str]) -> None: ...


class Eraser:
    """See the module. `forgotten` is all that is forgotten at present."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
        unsealer: Unsealer,
        on_change: Callable[[Iterable[str]], None],
        on_found: Callable[[Iterable[str]], Awaitable[None]],
    ) -> None:
        """`on_change` is told the groups in which a body was exchanged; `on_found` buries what turned out, while a body
        was looked at, to be of a forgotten enterprise."""
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self._unsealer = unsealer
        self._on_change = on_change
        self.bury_found = on_found
        self._left: set[str] = set()  # leased by us, as the manifest refused to take note of the end
        self.forgotten: Forgotten = NOTHING_FORGOTTEN
        self.catalogue: Cleanable | None = None

    def say_scrubbed(self, key: str, traces: Traces) -> None:
        """Something was taken out of a body."""
        path = self._registry.target(key)
        self._log.warning(
            events.ITEM_SCRUBBED,
            key=redacted(key, self.forgotten),
            path=redacted(path, self.forgotten),
            members=traces.members,
        )

    # ------------------------------------------------------------------ after a death

    async def settle(self, item: Item) -> Item | None:
        """Settle a leased item whose body was being exchanged for what is left of it; None if that is not why it is leased.

        Raises:
            DiskFaultError: the file cannot be read.
        """
        claim = claim_of(item.reason)
        if claim is None:
            return None
        path = self._path_of(item, claim.number)
        report = await read(self._store, path, self._registry.body_plan(item.key)) if claim.sha256 else None
        if report is not None and report.sha256.hex() == claim.sha256:
            return await self._record(item, claim, self._unclaimed(item, claim), report, None)
        after = self._unclaimed(item, claim)
        await self._manifest.record([Change(item.state, after)])
        return after

    async def settle_left(self, item: Item) -> Item:
        """The row as it is once it is settled, if it is leased because the manifest refused to take note of how an exchange
        here ended: nobody works on such an item. Any other row is given back as it is.

        Raises:
            DiskFullError, DiskFaultError: the disk refuses still; the row is as it was.
        """
        if item.key not in self._left:
            return item
        after = await self.settle(item) if item.state in LEASED_STATES else None
        self._left.discard(item.key)
        if after is None:
            return item
        self._unsealer.unrecorded.discard(item.key)
        self._on_change([item.group])
        return after

    async def _let_go(self, claimed: Item, after: Item) -> None:
        """End a claim. If the manifest refuses, it is settled by `settle_left`."""
        self._left.add(after.key)
        await self._manifest.record([Change(claimed.state, after)])
        self._left.discard(after.key)

    @staticmethod
    def _unclaimed(item: Item, claim: Claim) -> Item:
        """The item as it was before it was claimed."""
        state = next_state(item.state, Event.POSTPONED)
        return replace(item, state=state, reason=claim.reason, due_at=claim.due_at)

    def _path_of(self, item: Item, number: int) -> str:
        target = self._registry.target(item.key)
        return target if number == item.version else layout.superseded(target, number)

    # ------------------------------------------------------------------ one body

    async def cleanse(self, key: str, path: str, tally: Tally) -> None:
        """Of a file that no row speaks of: nothing is recorded."""
        if self._registry.is_forgotten(key, self.forgotten):
            await self.remove(path, tally)
            return
        scrub = self._registry.scrub(key, self.forgotten)
        if scrub is None or await self._store.size_bytes(path) is None:
            return
        taken = await self._store.stage_scrubbed(path, self._registry.body_plan(key), scrub)
        await self.bury_found(scrub.found)
        if taken is not None:
            staged, _, traces = taken
            await undisturbed(_published(staged))
            self._count(tally, key, traces, is_older=False)

    async def remove(self, path: str, tally: Tally) -> None:
        size_bytes = await self._store.size_bytes(path)
        if size_bytes is None:
            return
        await self._store.remove(path)
        self._steps.reached(steps.TRACE_REMOVED)
        tally.documents += 1
        tally.size_bytes += size_bytes

    def _count(self, tally: Tally, key: str, traces: Traces, *, is_older: bool) -> None:
        tally.files += 1
        tally.versions += is_older
        tally.members += traces.members
        tally.size_bytes += traces.size_bytes
        tally.concerns(key)
        self.say_scrubbed(key, traces)

    async def exchange(self, item: Item, number: int, scrub: Scrub, tally: Tally) -> None:
        """Exchange one body of a stored item, on which nobody works, for what is left of it.

        Raises:
            StoreError: the row moved on meanwhile.
            DiskFullError, DiskFaultError: the disk refused; body and row are as they were.
        """
        await self._require_room(self._path_of(item, number))
        claim = _claim_on(item, number)
        claimed = replace(item, state=next_state(item.state, Event.LEASED), reason=claim.text())
        await self._manifest.record([Change(item.state, claimed)])
        self._steps.reached(steps.SCRUB_CLAIMED)
        try:
            await self._exchange_claimed(item, claimed, claim, scrub, tally)
        except BaseException:
            if item.key not in self._unsealer.unrecorded:
                await undisturbed(self._let_go(claimed, item))
            raise

    async def _require_room(self, path: str) -> None:
        """What is left of a body lies beside it for a while. It frees what it takes, so what is to stay free may serve."""
        needed_bytes = (await self._store.size_bytes(path) or 0) + _ROOM_TO_RECORD_BYTES
        free_bytes = await self._store.free_bytes()
        if free_bytes < needed_bytes:
            raise DiskFullError(
                f"Only {free_bytes} bytes are free, {needed_bytes} are needed to write what is left of "
                f"{redacted(path, self.forgotten)}."
            )

    async def _exchange_claimed(
        self, item: Item, claimed: Item, claim: Claim, scrub: Scrub, tally: Tally
    ) -> None:
        path, plan = self._path_of(item, claim.number), self._registry.body_plan(item.key)
        taken = await self._store.stage_scrubbed(path, plan, scrub)
        await self.bury_found(scrub.found)
        if taken is None:
            await self._let_go(claimed, item)
            return
        staged, report, traces = taken
        claim = claim._replace(sha256=report.sha256.hex())
        try:
            marked = replace(claimed, reason=claim.text())
            await self._manifest.record([Change(claimed.state, marked)])
            self._steps.reached(steps.SCRUB_STAGED)
            if claim.number == item.version:
                await self._unsealer.unseal(item.group, path, "something in it is forgotten")
                if self.catalogue is not None:  # where documents lie in the zip is another place from now on
                    await self.catalogue.drop([item.key])
        except BaseException:
            await staged.discard()
            raise
        await undisturbed(self._publish(staged, item, marked, claim, report, traces))
        self._count(tally, item.key, traces, is_older=claim.number != item.version)

    async def _publish(
        self, staged: Staged, item: Item, marked: Item, claim: Claim, report: BodyReport, traces: Traces
    ) -> None:
        await _published(staged)
        self._unsealer.unrecorded.add(item.key)  # as long as the row speaks of the body that is gone
        self._left.add(item.key)
        await self._record(marked, claim, item, report, traces)
        self._left.discard(item.key)
        self._unsealer.unrecorded.discard(item.key)

    async def _record(
        self, claimed: Item, claim: Claim, before: Item, report: BodyReport, traces: Traces | None
    ) -> Item:
        """Let row and version say what lies there now; the number of the version stays. Without `traces`, after a death,
        how much was taken out is told by the number of members."""
        versions = {version.number: version for version in await self._manifest.versions(claimed.key)}
        known = versions.get(claim.number) or self._unknown_version(claimed, claim.number)
        count = traces.members if traces else max((known.member_count or 0) - report.member_count, 1)
        facts = {**report.facts, TAKEN_OUT: int(known.facts.get(TAKEN_OUT, 0)) + count}
        version = replace(
            known, size_bytes=report.size_bytes, sha256=report.sha256, content_digest=report.content_digest,
            member_count=report.member_count, verified_at=self._clock.now(), facts=facts,
        )  # fmt: skip
        after = before
        if claim.number == before.version:
            after = replace(before, size_bytes=report.size_bytes, sha256=report.sha256)
        await self._manifest.record([Change(claimed.state, after, version)])
        self._steps.reached(steps.SCRUB_RECORDED)
        self._on_change([after.group])
        return after

    def _unknown_version(self, item: Item, number: int) -> Version:
        now = self._clock.now()
        return Version(item.key, number, self._registry.target(item.key), 0, b"", now, RESCUED_ROUTE, "")

    # ------------------------------------------------------------------ a whole item

    async def forget_item(self, item: Item, tally: Tally) -> None:
        """Remove the body of an item on which nobody works; from now on it is absent.

        Raises:
            StoreError: the row moved on meanwhile.
            DiskFaultError: the disk refused; the row is as it was.
        """
        taken = item
        if item.state is State.STORED:
            claim = _claim_on(item, item.version)
            taken = replace(item, state=next_state(item.state, Event.LEASED), reason=claim.text())
            await self._manifest.record([Change(item.state, taken)])
            self._steps.reached(steps.SCRUB_CLAIMED)
        try:
            await self.remove(self._registry.target(item.key), tally)
            await self._store.drop_partial(self._registry.target(item.key))
        except BaseException:
            if taken is not item:
                await undisturbed(self._let_go(taken, item))
            raise
        gone = replace(
            taken, state=next_state(taken.state, Event.FORGOTTEN), reason=FORGOTTEN_REASON, due_at=None, attempts=0,
            nothing_count=0, nothing_at=None, size_bytes=None, sha256=None, stored_at=None,
        )  # fmt: skip
        if gone != item:
            await self._let_go(taken, gone)
        await self._manifest.drop_versions(item.key)
        self._steps.reached(steps.ITEM_FORGOTTEN)
        if self.catalogue is not None:
            await self.catalogue.drop([item.key])
        if gone != item:
            tally.concerns(item.key)


def _claim_on(item: Item, number: int) -> Claim:
    """The claim on a body of an item that is stored; one that was left over is no reason of its row."""
    left_over = claim_of(item.reason)
    reason = item.reason if left_over is None else left_over.reason
    return Claim(number, reason=reason, due_at=item.due_at)


async def _published(staged: Staged) -> None:
    try:
        await staged.publish(None)
    except BaseException:
        await staged.discard()
        raise
