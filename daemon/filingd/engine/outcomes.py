"""From a verdict to the disk and the manifest: publish or refuse the body, then record the transition.

The manifest may lag behind the disk, never lead: everything here happens on disk first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from filingd.core import events, layout, steps
from filingd.core.dropping import Drop
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import (
    LEASED_STATES,
    Absent,
    Blocked,
    Change,
    Failed,
    Item,
    Nothing,
    NotYet,
    QuarantineRecord,
    State,
    Stored,
    Throttled,
    Version,
)
from filingd.core.redaction import kept_headers, redact_text
from filingd.engine.damage import UNREADABLE, move_aside, problem_of, read
from filingd.engine.dropping import Dropper, marked
from filingd.engine.recording import record_what_stands
from filingd.engine.transfer import stage_whole
from filingd.engine.undisturbed import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filingd.core.model import Attempt, BodyReport, Verdict
    from filingd.engine.documents import Handed
    from filingd.engine.forgetting import Forgetter
    from filingd.engine.transfer import Fetched
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Staged, Steps, Store


class Made(msgspec.Struct, frozen=True):
    """One attempt that was made: which item, how, under which request id, since when."""

    item: Item
    attempt: Attempt
    target: str
    request_id: str
    started_at: float


class Outcomes:
    """Carries out verdicts."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
        unsealer: Unsealer,
        redacted: Callable[[str], str] = redact_text,
    ) -> None:
        """`redacted` takes every key out of a text that is written down."""
        self._redacted = redacted
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self._unsealer = unsealer
        self._dropper = Dropper(store, manifest, log, steps_seen)
        self.forgetter: Forgetter | None = None  # says what must not be kept, be it refused or damaged

    def is_unrecorded(self, item: Item) -> bool:
        """Whether the item's body was exchanged and its row does not say so."""
        return item.key in self._unsealer.unrecorded

    async def carry_out(self, made: Made, fetched: Fetched, verdict: Verdict, judged_at: float) -> Item:
        """Do what the verdict, passed at `judged_at`, says; returns the item as recorded.

        Raises:
            DiskFullError, DiskFaultError: publishing was refused; nothing was recorded.
        """
        if isinstance(verdict, Stored):
            return await self._stored(made, fetched, verdict)
        await self._refuse_body(made, fetched, verdict)
        if _withdraws(verdict) and made.item.version and made.item.state is not State.REASKING:
            return await undisturbed(self._withdraw(made, verdict, judged_at))
        return await self._settle_made(made, verdict, judged_at)

    async def _settle_made(self, made: Made, verdict: Verdict, judged_at: float) -> Item:
        return await self.settle(
            made.item, verdict, judged_at, request_id=made.request_id, route=made.attempt.route
        )

    async def _withdraw(self, made: Made, verdict: Verdict, judged_at: float) -> Item:
        """What was stored does not stand any more. The row comes last: a leased one without a file is asked for again by the next
        start, and whoever follows what a body names hears of it from the row."""
        async with self._unsealer.alone_with(made.item.group):
            await self._unsealer.unseal(made.item.group, made.target)
            await self._dropper.remove_all(made.item, made.target)
            return await self._settle_made(made, verdict, judged_at)

    async def settle(
        self, item: Item, verdict: Verdict, judged_at: float | None = None, **facts: Any
    ) -> Item:
        """Record a verdict that stores nothing, passed at `judged_at` (None: now).

        What is counted from an instant (when it was first said that there is nothing) is counted from the one that
        the verdict counted its own next question from: else that question would come too early to prove anything.
        """
        event, changed, name = _settled(item, verdict, self._clock.now() if judged_at is None else judged_at)
        after = replace(changed, state=next_state(item.state, event))
        await self._manifest.record([Change(item.state, after)])
        level = self._log.warning if isinstance(verdict, Failed | Blocked) else self._log.info
        level(
            name,
            key=item.key,
            state=after.state.name.lower(),
            due_at=after.due_at,
            **_named(verdict),
            **facts,
        )
        return after

    async def doubt(self, keys: Sequence[str], reason: str) -> None:
        """Have items asked for again of which the registry said something that is not believed any more, with `reason`; what is
        under way, or due, is left as it is."""
        now, known = self._clock.now(), await self._manifest.items(keys)
        changes = [
            Change(
                item.state,
                replace(
                    item, state=next_state(item.state, Event.RETRIED), due_at=now, reason=reason, attempts=0
                ),
            )
            for item in known.values()
            if item.state not in LEASED_STATES and item.due_at is not None and item.due_at > now
        ]
        await record_what_stands(self._manifest, changes, self._log)

    # ------------------------------------------------------------------ a good body

    async def _stored(self, made: Made, fetched: Fetched, verdict: Stored) -> Item:
        is_held = made.item.state is State.RECHECKING
        if is_held and await self._is_unchanged(made, fetched) and await self._is_intact(made):
            return await undisturbed(self._unchanged(made, fetched, verdict))
        return await undisturbed(self._publish(made, fetched, verdict))

    async def _is_unchanged(self, made: Made, fetched: Fetched) -> bool:
        body = fetched.answer.body
        if body is None:
            return False
        if body.sha256 == made.item.sha256:
            return True
        current = await self._current(made.item)
        # The same members packed again are not another content: PDF days would double for nothing.
        return (
            current is not None
            and body.content_digest is not None
            and body.content_digest == current.content_digest
        )

    async def _is_intact(self, made: Made) -> bool:
        """Whether what lies on the disk is what was stored: a re-check looks at both ends."""
        report = await read(self._store, made.target, made.attempt.body)
        return report is not None and report.sha256 == made.item.sha256

    async def _current(self, item: Item) -> Version | None:
        """The version that the row speaks of, also when its body was lost."""
        return (await self._manifest.current_versions([item.key])).get(item.key)

    async def _stored_sha256(self, item: Item) -> bytes | None:
        """What was stored last, also if it was lost since; None if nothing was, as far as is known."""
        if item.sha256 is not None or not item.version:
            return item.sha256
        current = await self._current(item)
        return current.sha256 if current is not None else None

    async def _unchanged(self, made: Made, fetched: Fetched, verdict: Stored) -> Item:
        if fetched.staged is not None:
            await fetched.staged.discard()
        now = self._clock.now()
        after = replace(made.item, state=next_state(made.item.state, Event.UNCHANGED), due_at=verdict.recheck_at,
                        attempts=0, reason=None, nothing_count=0, nothing_at=None)  # fmt: skip
        await self._manifest.note_verified(made.item.key, now)
        self._log.info(
            events.ITEM_UNCHANGED, key=made.item.key, route=made.attempt.route, request_id=made.request_id
        )
        if verdict.drops_older and len(await self._manifest.versions(made.item.key)) > 1:
            return await self._drop_older(made, after, after.sha256 or b"")
        await self._manifest.record([Change(made.item.state, after)])
        return after

    async def _drop_older(self, made: Made, after: Item, sha256: bytes) -> Item:
        """Older versions were kept by other rules than those of today."""
        drop = Drop(sha256.hex(), after.due_at)
        await self._dropper.mark(made.item, drop)
        return await self._dropper.finish(marked(after, drop), made.target, after)

    async def _publish(self, made: Made, fetched: Fetched, verdict: Stored) -> Item:
        staged = fetched.staged
        if staged is None:
            assert fetched.document is not None, "a stored verdict without a body"
            staged = await stage_whole(self._store, made.target, made.attempt.body, fetched.document)
        async with self._unsealer.alone_with(made.item.group):
            await self._unsealer.unseal(made.item.group, made.target)
            stored_sha256 = await self._stored_sha256(made.item)
            previous_to = await self._place_of_previous(made, fetched, verdict, stored_sha256, staged)
            path = await self._exchange(staged, previous_to)
            self._unsealer.unrecorded.add(made.item.key)
            after = await self._record_stored(made, fetched, verdict, path, stored_sha256)
            if verdict.drops_older:
                drop = _drop_of(fetched, verdict)
                after = await self._dropper.finish(marked(after, drop), made.target, after)
            self._unsealer.unrecorded.discard(made.item.key)
            return after

    async def _place_of_previous(
        self, made: Made, fetched: Fetched, verdict: Stored, stored_sha256: bytes | None, staged: Staged
    ) -> str | None:
        """Where the body goes that lies there; what may not be kept goes nowhere, be it sound or damaged."""
        if not verdict.drops_older:
            return await self._make_way(made, fetched, stored_sha256, staged)
        try:
            await self._dropper.mark(made.item, _drop_of(fetched, verdict))
        except BaseException:
            await staged.discard()
            raise
        return None

    async def _make_way(
        self, made: Made, fetched: Fetched, stored_sha256: bytes | None, staged: Staged
    ) -> str | None:
        """Where the body goes that lies there: to the older versions if it is what was stored. If it is not, it is damaged
        and goes to quarantine now; if it is the very body that was fetched, it goes nowhere."""
        if stored_sha256 is None:
            return None
        try:
            report = await read(self._store, made.target, made.attempt.body)
            if report is None or report.sha256 == _digest(fetched):
                return None
            # What cannot be read now may be sound, and what a new body takes the place of is kept.
            may_be_it = report.problem == UNREADABLE and _digest(fetched) != stored_sha256
            if may_be_it or report.sha256 == stored_sha256:
                return layout.superseded(made.target, made.item.version)
            await self._set_aside(made, report)
        except BaseException:
            await staged.discard()
            raise
        return None

    async def _set_aside(self, made: Made, report: BodyReport) -> None:
        problem, detail = problem_of(report) or ("changed_on_disk", "it is sound, and not what was stored")
        now, route = self._clock.now(), made.attempt.route
        if self.forgetter is not None and await self.forgetter.is_removed(
            made.item.key, made.target, problem
        ):
            return
        where = await move_aside(self._store, made.item.key, made.target, route, now, problem, detail)
        self._log.error(events.ITEM_QUARANTINED, key=made.item.key, path=where, reason=problem, detail=detail,
                        request_id=made.request_id)  # fmt: skip

    @staticmethod
    async def _exchange(staged: Staged, previous_to: str | None) -> str:
        try:
            return await staged.publish(previous_to)
        except BaseException:
            await staged.discard()
            raise

    async def _record_stored(
        self, made: Made, fetched: Fetched, verdict: Stored, path: str, stored_sha256: bytes | None
    ) -> Item:
        body = fetched.answer.body
        assert body is not None, "a stored verdict without a body"
        now = self._clock.now()
        # The same again: it was lost or damaged here.
        after = _stored_item(made.item, body, verdict, now, is_known=body.sha256 == stored_sha256)
        version = _version_of(made, fetched, verdict, body, after.version, path, now)
        row = marked(after, _drop_of(fetched, verdict)) if verdict.drops_older else after
        await self._manifest.record([Change(made.item.state, row, version)])
        self._steps.reached(steps.ROW_RECORDED)
        self._say_stored(made, after, body, path, now)
        return after

    async def record_documents(self, group: Sequence[Handed]) -> None:
        """Record documents that are published, in one transaction."""
        now = self._clock.now()
        recorded = [(one, body, _stored_item(one.made.item, body, one.verdict, now))
                    for one in group if (body := one.fetched.answer.body) is not None]  # fmt: skip
        if not recorded:
            return
        await self._manifest.record([
            Change(
                one.made.item.state, after,
                _version_of(one.made, one.fetched, one.verdict, body, after.version, one.made.target, now),
            )
            for one, body, after in recorded
        ])  # fmt: skip
        self._steps.reached(steps.ROW_RECORDED)
        for one, body, after in recorded:
            self._say_stored(one.made, after, body, one.made.target, now)

    def _say_stored(self, made: Made, after: Item, body: BodyReport, path: str, now: float) -> None:
        is_another = 0 < made.item.version < after.version
        name = events.ITEM_VERSION_REPLACED if is_another else events.ITEM_STORED
        self._log.info(
            name, key=made.item.key, route=made.attempt.route, request_id=made.request_id, path=path,
            size_bytes=body.size_bytes, sha256=body.sha256.hex(), members=body.member_count, version=after.version,
            duration_s=round(now - made.started_at, 3), facts=body.facts,
        )  # fmt: skip

    # ------------------------------------------------------------------ anything else

    async def _refuse_body(self, made: Made, fetched: Fetched, verdict: Verdict) -> None:
        if fetched.staged is None:
            return
        if not (isinstance(verdict, Failed) and verdict.quarantine):
            await fetched.staged.discard()
            return
        if self.forgetter is not None and await self.forgetter.may_hold(made.item.key, fetched.staged):
            await fetched.staged.discard()
            self.forgetter.say_removed(verdict.reason, made.target)
            return
        head = fetched.answer.head
        detail = self._redacted(verdict.detail)  # it may quote the body, in which an error may quote the key
        record = QuarantineRecord(
            made.item.key, made.attempt.route, made.request_id, self._clock.now(), verdict.reason, detail,
            head.status if head else 0, kept_headers(head.headers) if head else {},
        )  # fmt: skip
        where = await fetched.staged.quarantine(record)
        self._steps.reached(steps.BODY_QUARANTINED)
        self._log.error(events.ITEM_QUARANTINED, key=made.item.key, path=where, reason=verdict.reason,
                        detail=verdict.detail, request_id=made.request_id)  # fmt: skip


def _digest(fetched: Fetched) -> bytes | None:
    return fetched.answer.body.sha256 if fetched.answer.body is not None else None


def _drop_of(fetched: Fetched, verdict: Stored) -> Drop:
    return Drop((_digest(fetched) or b"").hex(), verdict.recheck_at)


def _version_of(
    made: Made, fetched: Fetched, verdict: Stored, body: BodyReport, number: int, path: str, now: float
) -> Version:
    """The evidence of a body that was just published."""
    head = fetched.answer.head
    return Version(
        made.item.key, number, path, body.size_bytes, body.sha256, now, made.attempt.route, made.request_id,
        head.header("etag") if head else None, body.content_digest, body.member_count, now,
        {**body.facts, **verdict.facts},
    )  # fmt: skip


def _stored_item(
    item: Item, body: BodyReport, verdict: Stored, now: float, *, is_known: bool = False
) -> Item:
    """The item with its new body; `is_known` says that it is the body it had."""
    return replace(
        item, state=next_state(item.state, Event.STORED), due_at=verdict.recheck_at, attempts=0, reason=None,
        nothing_count=0, nothing_at=None, size_bytes=body.size_bytes, sha256=body.sha256, stored_at=now,
        version=item.version + (not is_known),
    )  # fmt: skip


def _settled(item: Item, verdict: Verdict, now: float) -> tuple[Event, Item, str]:
    """The event, the item's new fields and the log event of a verdict that stores nothing."""
    match verdict:
        case Nothing():
            return _found_nothing(item, verdict, now)
        case NotYet():
            return (
                Event.POSTPONED,
                replace(item, due_at=verdict.again_at, reason=verdict.reason),
                events.ITEM_POSTPONED,
            )
        case Absent():
            return (
                Event.ABSENT,
                replace(item, due_at=verdict.recheck_at, reason=verdict.reason),
                events.ITEM_ABSENT,
            )
        case Failed():
            event = Event.GAVE_UP if verdict.gave_up else Event.FAILED
            attempts = 0 if verdict.gave_up else item.attempts + 1
            failed = replace(item, due_at=verdict.again_at, reason=verdict.reason, attempts=attempts)
            return event, failed, events.ITEM_GAVE_UP if verdict.gave_up else events.ITEM_FAILED
        case Throttled() | Blocked():
            return Event.POSTPONED, replace(item, due_at=now, reason=verdict.reason), events.ITEM_POSTPONED
        case Stored():
            raise AssertionError("a stored body is recorded where it is published")


def _found_nothing(item: Item, verdict: Nothing, now: float) -> tuple[Event, Item, str]:
    since = now if item.nothing_at is None else item.nothing_at
    asked = replace(item, due_at=verdict.again_at, reason=verdict.reason, attempts=0,
                    nothing_count=item.nothing_count + 1, nothing_at=since)  # fmt: skip
    if not verdict.confirmed:
        return Event.NOTHING, asked, events.ITEM_NOTHING_FOUND
    if _withdraws(verdict) and item.state is State.RECHECKING:
        bodiless = replace(asked, size_bytes=None, sha256=None, stored_at=None)
        return Event.WITHDRAWN, bodiless, events.ITEM_CONFIRMED_EMPTY
    return Event.CONFIRMED_EMPTY, asked, events.ITEM_CONFIRMED_EMPTY


def _withdraws(verdict: Verdict) -> bool:
    return isinstance(verdict, Nothing) and verdict.confirmed and verdict.drops_held


def _named(verdict: Verdict) -> dict[str, Any]:
    detail = getattr(verdict, "detail", "")
    reason = getattr(verdict, "reason", None)
    return {"reason": reason, "detail": detail} if detail else {"reason": reason}
