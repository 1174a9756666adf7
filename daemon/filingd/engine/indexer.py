"""Keeps the catalogue: follows the feed of the manifest and lets each stored body say what it knows of filings.

The catalogue is derived and remembers how far it followed, so nothing here has to be durable: what was missed is read at the
next start, and a catalogue that is damaged, or that followed another manifest, is begun anew from the stored files.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.catalogue import CatalogueDamagedError, Contribution
from filingd.core.errors import DiskFaultError, DiskFullError, FilingdError, UnavailableError
from filingd.core.feed import FeedKind
from filingd.core.forgetting import forgotten_by
from filingd.core.model import HOLDING_STATES, Change, group_of
from filingd.core.retry import backoff_s
from filingd.engine.following import rest
from filingd.engine.recording import record_what_stands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

    from filingd.core.catalogue import Contributed, Forgotten, Listing, Source
    from filingd.core.feed import FeedEvent
    from filingd.core.model import StoredBody, Version
    from filingd.engine.following import Audience
    from filingd.ports import Catalogue, Clock, Log, Manifest, Registry, Store

_PAGE = 500
_MEMBERS_AT_ONCE = 5_000  # what is held of contributions at a time
_PARKED_AT_ONCE = 50_000  # more than a day ever had filings
_AGAIN_S = (60.0, 3600.0)  # a body that could not be read may be readable later
_TROUBLE_PAUSE_S = 15.0
_OPEN_LOOK_S = 0.1
_TROUBLE_TOLD_EVERY_S = 3600.0
_TROUBLES = (CatalogueDamagedError, DiskFullError, DiskFaultError, UnavailableError)  # `run` meets them, too


class Indexer:
    """One task that keeps the catalogue up with the manifest."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        open_catalogue: Callable[[bool], Awaitable[Catalogue]],
        clock: Clock,
        log: Log,
        audience: Audience | None = None,
        on_scheduled: Callable[[], None] = lambda: None,
    ) -> None:
        """`open_catalogue` opens it; told True, it begins anew whatever is there. `audience` hears of what comes into it;
        `on_scheduled` is told when items are to be fetched because of it."""
        self._audience = audience
        self._on_scheduled = on_scheduled
        self._may_have_parked = True
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._open_catalogue = open_catalogue
        self._clock = clock
        self._log = log
        self._after = -1  # the last event that was dealt with
        self._wake = asyncio.Event()
        self._unread: dict[str, None] = {}  # items whose bodies could not be read
        self._told_unread: set[str] = set()
        self._unread_looks = 0
        self._read_again_s = 0.0
        self._trouble_told_s: float | None = None
        self._is_in_trouble = False
        self._is_running = False
        self._catalogue: Catalogue | None = None  # while it is open
        self.bury: Callable[[Iterable[str]], Awaitable[None]] | None = None  # has more forgotten

    async def forget(self, forgotten: Forgotten) -> Sequence[str]:
        """As `ports.Catalogue.forget`, as soon as it is open; one that is in trouble is opened without what was forgotten."""
        while self._is_running and self._catalogue is None and not self._is_in_trouble:
            await self._clock.sleep(_OPEN_LOOK_S)
        if self._catalogue is None:
            return ()
        with contextlib.suppress(*_TROUBLES):
            return await self._catalogue.forget(forgotten)
        return ()

    async def drop(self, keys: Iterable[str]) -> None:
        """As `ports.Catalogue.drop`; of one that is not open, or in trouble, the feed tells when it goes on."""
        if self._catalogue is not None:
            with contextlib.suppress(*_TROUBLES):
                await self._catalogue.drop(keys)

    async def is_current(self) -> bool:
        """Whether everything that is recorded is in the catalogue, as far as the disk allows."""
        if self._is_in_trouble:
            return True
        is_heard = self._audience is None or not self._audience.has_work
        return is_heard and self._after >= await self._manifest.feed_head()

    def wake(self) -> None:
        """Something may have been recorded."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the feed until cancelled."""
        self._is_running = True
        try:
            await self._keep()
        finally:
            self._is_running = False

    async def _keep(self) -> None:
        begins_anew = False
        while True:
            try:
                self._catalogue = catalogue = await self._open_catalogue(begins_anew)
                try:
                    await self._follow(catalogue)
                finally:
                    self._catalogue = None
                    await catalogue.close()
                begins_anew = True
            except CatalogueDamagedError as error:
                self._log.warning(events.CATALOGUE_BEGUN_ANEW, detail=str(error))
                begins_anew = True
            except (DiskFullError, DiskFaultError, UnavailableError) as error:
                await self._outlast(error)

    async def _outlast(self, error: FilingdError) -> None:
        """The catalogue has to wait; nothing else does."""
        now_s = self._clock.monotonic()
        if self._trouble_told_s is None or now_s - self._trouble_told_s >= _TROUBLE_TOLD_EVERY_S:
            self._trouble_told_s = now_s
            self._log.error(events.ALARM_RAISED, kind="catalogue_failed", detail=str(error))
        self._is_in_trouble = True
        await self._clock.sleep(_TROUBLE_PAUSE_S)

    # ------------------------------------------------------------------ following

    async def _follow(self, catalogue: Catalogue) -> None:
        """Return when the catalogue has to be begun anew, because it followed another feed than this."""
        after, head = await catalogue.followed(), await self._manifest.feed_head()
        if after is None:
            after = await self._read_everything(catalogue, head)
        elif after <= head:
            await self._read_what_is_missing(catalogue)
        if after > head:
            # The manifest was put back from a copy: what it tells next must not have numbers that were told already.
            await self._manifest.retell(after)
        while after <= head:
            found = await self._manifest.feed(after, _PAGE)
            if any(event.kind is FeedKind.BEGUN for event in found):
                break
            if found:
                await self._take(catalogue, found)
                after = found[-1].seq
                head = max(head, after)
                await catalogue.note_followed(after)
            self._after, self._is_in_trouble, self._trouble_told_s = after, False, None
            if not found and not await self._followed_up(catalogue):
                await rest(self._clock, self._wake)
                await catalogue.check_in_place()
            if not found:
                head = await self._manifest.feed_head()
        self._log.warning(events.CATALOGUE_BEGUN_ANEW, detail="It followed another manifest than this one.")

    async def _followed_up(self, catalogue: Catalogue) -> bool:
        """Now that the catalogue is complete, act on it, and let the audience; whether there is more to do."""
        if self._unread and self._clock.monotonic() >= self._read_again_s:
            await self._read_again(catalogue)
        if self._may_have_parked:
            parked = await catalogue.parked(_PARKED_AT_ONCE)
            self._may_have_parked = False
            await self._resolve(parked)
        return self._audience is not None and await self._audience.follow_up(catalogue)

    async def _resolve(self, parked: Sequence[Listing]) -> None:
        """Ask whose filings these are, once each."""
        now = self._clock.now()
        wanted = {one.filing.reference: self._registry.resolving(one.filing.reference, now) for one in parked}
        items = {item.key: item for item in wanted.values() if item is not None}
        known = await self._manifest.items(items) if items else {}
        new = [Change(None, item) for key, item in items.items() if key not in known]
        await record_what_stands(self._manifest, new, self._log)
        if new:
            self._log.info(events.FILINGS_PARKED, count=len(new), first=new[0].item.key)
            self._on_scheduled()

    async def _read_everything(self, catalogue: Catalogue, head: int) -> int:
        """Read all that is stored; what changes meanwhile is told after `head`, which is returned."""
        after = ""
        while page := await self._manifest.page(after, _PAGE, HOLDING_STATES):
            after = page[-1].key
            await self._read(catalogue, [item.key for item in page])
        await catalogue.note_followed(head)
        totals = await catalogue.totals()
        self._log.info(
            events.CATALOGUE_MADE, sources=totals.sources, filings=totals.filings, documents=totals.places
        )
        return head

    async def _read_what_is_missing(self, catalogue: Catalogue) -> None:
        """What could not be read in an earlier run, whatever the feed says: a part of the manifest after the other."""
        after = ""
        while page := await self._manifest.page(after, _PAGE, HOLDING_STATES):
            after = page[-1].key
            held = await catalogue.versions_of([item.key for item in page])
            await self._read(catalogue, [item.key for item in page if item.key not in held])

    async def _read_again(self, catalogue: Catalogue) -> None:
        """A fault of the disk passes; what stays unreadable is tried ever more rarely, and told once."""
        keys, self._unread = list(self._unread), {}
        await self._read(catalogue, keys)
        self._told_unread &= self._unread.keys()
        self._unread_looks = self._unread_looks + 1 if self._unread else 0
        pause_s = backoff_s(self._unread_looks + 1, *_AGAIN_S, jitter=1.0)
        self._read_again_s = self._clock.monotonic() + pause_s

    async def _take(self, catalogue: Catalogue, found: Sequence[FeedEvent]) -> None:
        """Of several events of an item the last one counts: what is read is what lies there now."""
        last = {event.subject: event.kind for event in found if event.kind is not FeedKind.OLDER_REMOVED}
        gone = [key for key, kind in last.items() if kind in (FeedKind.LOST, FeedKind.REPLACED)]
        stored = [key for key, kind in last.items() if kind in (FeedKind.STORED, FeedKind.REPLACED)]
        replaced = [key for key in gone if last[key] is FeedKind.REPLACED]
        await catalogue.drop(key for key in gone if last[key] is FeedKind.LOST)
        if replaced:
            await self._drop_rewritten(catalogue, replaced)
        for contribution, outcome in await self._read(catalogue, stored):
            self._tell(contribution, outcome)
            if contribution.filings:
                await self._tell_repeated(catalogue, contribution.source)
        if FeedKind.FORGOTTEN in last.values():
            await catalogue.forget(forgotten_by(await self._manifest.tombstones()))

    async def _drop_rewritten(self, catalogue: Catalogue, keys: Sequence[str]) -> None:
        """A body that was written again under the same number has its documents elsewhere than before."""
        versions = await self._manifest.current_versions(keys)
        held = await catalogue.versions_of(keys)
        await catalogue.drop(
            key for key, number in held.items() if key in versions and versions[key].number == number
        )

    # ------------------------------------------------------------------ reading

    async def _read(
        self, catalogue: Catalogue, keys: Collection[str]
    ) -> list[tuple[Contribution, Contributed]]:
        """Let the current bodies of these items contribute, unless they have; what came of it."""
        versions = await self._manifest.current_versions(keys)
        held = await catalogue.versions_of(versions)
        new = [version for key, version in sorted(versions.items()) if held.get(key) != version.number]
        done: list[tuple[Contribution, Contributed]] = []
        for group in _in_groups(new):
            contributions = await self._contributions(group)
            outcomes = await asyncio.gather(*(catalogue.contribute(one) for one in contributions))
            done += zip(contributions, outcomes, strict=True)
            self._say_new(contributions)
        await self._bury([one for _, outcome in done for one in outcome.withheld])
        return done

    def _say_new(self, contributions: Sequence[Contribution]) -> None:
        self._may_have_parked |= any(
            filing.enterprise is None for contribution in contributions for filing in contribution.filings
        )
        if self._audience is not None:
            for contribution in contributions:
                self._audience.note(contribution)

    async def _contributions(self, versions: Sequence[Version]) -> list[Contribution]:
        def look(at: int, body: StoredBody) -> Contribution | None:
            return self._registry.contribution(versions[at], body)

        looked = await self._store.look_into([version.path for version in versions], look)
        found: list[Contribution] = []
        for version, outcome in zip(versions, looked, strict=True):
            if isinstance(outcome, FilingdError):
                self._note_unread(version.key, outcome)
            elif outcome is not None:
                found.append(outcome)
        return found

    def _note_unread(self, key: str, error: FilingdError) -> None:
        if key not in self._told_unread:
            self._told_unread.add(key)
            self._log.error(events.ALARM_RAISED, kind="not_catalogued", key=key, detail=str(error))
        if not self._unread:
            self._read_again_s = self._clock.monotonic() + _AGAIN_S[0]
        self._unread[key] = None

    async def _bury(self, withheld: Sequence[str]) -> None:
        """Filings that turned out to be of a forgotten enterprise are forgotten themselves."""
        if withheld and self.bury is not None:
            await self.bury(withheld)

    def _tell(self, contribution: Contribution, outcome: Contributed) -> None:
        """Two fetches of the same day that speak of other filings are told, whichever of them is right."""
        source, vanished = contribution.source, outcome.vanished
        came = outcome.filings + outcome.places - outcome.filings_before - outcome.places_before
        had_any = outcome.filings_before + outcome.places_before > 0
        if source.published_on is None or not had_any or not (vanished or came):
            return
        self._log.warning(
            events.FILINGS_DIFFERED, group=group_of(source.key), key=source.key, version=source.version,
            before=outcome.filings_before + outcome.places_before, now=outcome.filings + outcome.places,
            vanished=len(vanished), first=vanished[0] if vanished else None,
        )  # fmt: skip

    async def _tell_repeated(self, catalogue: Catalogue, source: Source) -> None:
        """A filing that a day lists twice, or that two days list, is told, whatever it means."""
        if source.published_on is None:
            return
        repeated = await catalogue.repeated(source.family, source.published_on)
        if repeated:
            self._log.warning(
                events.FILINGS_REPEATED, group=group_of(source.key), count=len(repeated), first=repeated[0].reference,
                keys=list(repeated[0].keys),
            )  # fmt: skip


def _in_groups(versions: Sequence[Version]) -> Iterator[list[Version]]:
    """Parts of a list that are read together; one that holds many members is a part by itself."""
    group: list[Version] = []
    members = 0
    for version in versions:
        if group and members + (version.member_count or 1) > _MEMBERS_AT_ONCE:
            yield group
            group, members = [], 0
        group.append(version)
        members += version.member_count or 1
    if group:
        yield group
