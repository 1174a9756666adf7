"""Follows the companies of the watchlists: has the registry asked about them, and their documents fetched.

None of this is part of the plan of days. The lists are compared with the manifest when they change, and what is known of a
company is looked at when its filings do. Who is named by a stored body may be followed, too (`leads`). Nothing of it has to be
durable: at a start, and once a day, all are looked at.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from filingd.core import events
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.engine.leads import Leads
from filingd.engine.recording import record_what_stands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from filingd.core.catalogue import Contribution
    from filingd.core.model import Change, Item
    from filingd.core.watchlist import Reading, SavedSearch, Terms
    from filingd.ports import Catalogue, Clock, Companies, Log, Manifest, Watchlists

LOOK_S = 10.0
SWEEP_S = 24 * 3600.0
_CHUNK = 1000
_SHARE = 20.0  # finding out who is followed may take one in so many seconds
_AT_ONCE = 256  # companies whose documents are looked at before others have their turn


_KEPT = (
    "{count} companies that are followed are in no list that could be read. They stay as they are until all lists can be read: "
    "bring the lists back; to follow none of them, leave one list that is empty."
)


class _Compared(NamedTuple):
    """What a comparison of lists and manifest changed: the companies that are new in it, and those that were taken out. `kept`
    would have been, had all lists been read."""

    added: set[str]
    removed: set[str]
    kept: set[str]


class Watchers:
    """All watchers of an engine as one."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    @property
    def has_work(self) -> bool:
        """Whether any has."""
        return any(watcher.has_work for watcher in self._watchers)

    async def is_current(self) -> bool:
        """Whether all are."""
        return all([await watcher.is_current() for watcher in self._watchers])

    def wake(self) -> None:
        """Let all look soon."""
        for watcher in self._watchers:
            watcher.wake()

    def __iter__(self) -> Iterator[Watcher]:
        return iter(self._watchers)

    async def read(self) -> None:
        """Let all read their lists."""
        for watcher in self._watchers:
            await watcher.read()

    async def look(self) -> None:
        """Let all look at once."""
        for watcher in self._watchers:
            await watcher.look()

    def tell_filings_to(self, on_filings: Callable[[], None]) -> None:
        """`on_filings` is told when there are companies for `follow_up`."""
        for watcher in self._watchers:
            watcher.on_filings = on_filings

    def note(self, contribution: Contribution) -> None:
        """See `following.Audience`."""
        for watcher in self._watchers:
            watcher.note(contribution)

    async def follow_up(self, catalogue: Catalogue) -> bool:
        """See `following.Audience`."""
        return any([await watcher.follow_up(catalogue) for watcher in self._watchers])


class Watcher:
    """Keeps items about companies as the watchlists want them."""

    def __init__(
        self,
        companies: Companies,
        lists: Watchlists,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        on_scheduled: Callable[[], None] = lambda: None,
        on_filings: Callable[[], None] = lambda: None,
        on_searches: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`on_scheduled` is told when items are to be fetched; `on_filings` when there are companies for `follow_up`;
        `on_searches` is called when the saved searches are others than before."""
        self._companies = companies
        self._lists = lists
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._on_scheduled = on_scheduled
        self.on_filings = on_filings
        self._on_searches = on_searches
        self._leads = Leads(companies, manifest)
        self._listed: Mapping[str, Terms] = {}  # by the lists themselves
        self._watched: Mapping[str, Terms] = {}  # by the lists, and by what is had because of them
        self._searches: Mapping[str, SavedSearch] = {}
        self._to_plan: set[str] = set()  # about whom the manifest may have to follow
        self._rests_until_s = -math.inf
        self._to_look_at: dict[str, None] = {}
        self._looking = asyncio.Lock()
        self._woken = asyncio.Event()
        self._has_read = False
        self._is_complete = False
        self._is_following_up = False
        self._untaken: Reading | None = None  # what was read and could not be recorded
        self._swept_at = clock.now()

    @property
    def has_work(self) -> bool:
        """Whether the lists have not been read yet, or companies wait for `follow_up` or are looked at now."""
        return not self._has_read or self._is_following_up or bool(self._to_look_at)

    async def run(self) -> None:
        """Look at the lists again and again; runs until cancelled."""
        while True:
            await self.look()
            if self._clock.now() - self._swept_at >= SWEEP_S:
                self._sweep()
            await self._until_woken()

    def wake(self) -> None:
        """Look soon."""
        self._woken.set()

    async def _until_woken(self) -> None:
        self._woken.clear()
        waits = {asyncio.ensure_future(self._clock.sleep(LOOK_S)), asyncio.ensure_future(self._woken.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # ------------------------------------------------------------------ the lists

    async def is_current(self) -> bool:
        """Whether the lists were read, and everybody is followed whom a stored body names."""
        return self._has_read and not self._to_plan and await self._leads.is_current()

    async def read(self) -> None:
        """Read the lists for the first time, so that whatever is asked for from now on is asked on their terms. The manifest
        follows at the next look."""
        async with self._looking:
            self._untaken = await self._lists.look()
            if self._untaken is not None:
                self._companies.follow(self._untaken.watched, self._untaken.searches, is_whole=False)

    async def look(self) -> None:
        """Read the lists if they changed, and let the manifest follow. What the disk refuses is tried again at the next look."""
        try:
            async with self._looking:
                self._untaken = await self._lists.look() or self._untaken
                if self._untaken is not None:
                    await self._leads.look()
                    await self._take(self._untaken)
                    self._untaken = None
                elif self._has_read and self._clock.monotonic() >= self._rests_until_s:
                    await self._follow_leads()
        except (DiskFullError, DiskFaultError) as error:
            self._log.error(events.ALARM_RAISED, kind="watchlists_failed", detail=str(error))

    async def _take(self, reading: Reading) -> None:
        self._listed, self._is_complete = reading.watched, reading.is_complete
        has_searches, self._searches = self._searches != reading.searches, reading.searches
        self._companies.follow(self._listed, reading.searches, is_whole=False)
        await self._follow()
        compared = await self._compare()
        self._to_plan.clear()
        self._look_at(compared.removed)
        self._tell(reading, compared)
        self._has_read = True
        if has_searches and self._on_searches is not None:
            await self._on_searches()

    async def _follow(self) -> None:
        """Follow whom lists and leads want now. Aside, and only now and then: with a million numbers it takes seconds."""
        began_s = self._clock.monotonic()
        watched, changed = await asyncio.to_thread(self._wanted)
        self._watched = watched
        self._companies.follow(watched)
        self._to_plan |= changed
        self._look_at(sorted(changed))
        self._leads.acted()
        now_s = self._clock.monotonic()
        self._rests_until_s = now_s + (now_s - began_s) * _SHARE

    def _wanted(self) -> tuple[Mapping[str, Terms], set[str]]:
        """Everybody who is to be followed, and about whom anything is other than before. Nothing that it reads changes meanwhile:
        whoever changes it waits for the look to end."""
        before, watched = self._watched, self._leads.united(self._listed)
        changed = {number for number, terms in watched.items() if before.get(number) != terms}
        return watched, changed | (before.keys() - watched.keys())

    async def _follow_leads(self) -> None:
        """Where stored bodies name others than before, only those are compared, and what the disk refused last time."""
        if await self._leads.look():
            await self._follow()
        if not self._to_plan:
            return
        compared = _Compared(set(), set(), set())
        while self._to_plan:
            numbers = sorted(islice(self._to_plan, _CHUNK))
            known = await self._manifest.items(
                key for each in numbers for key in self._companies.possible_keys(each)
            )
            await self._plan([number for number in numbers if number in self._watched], known, compared)
            self._to_plan.difference_update(numbers)
        self._log.info(
            events.LEADS_FOLLOWED,
            companies=len(self._watched),
            added=len(compared.added),
            removed=len(compared.removed),
        )

    def _tell(self, reading: Reading, compared: _Compared) -> None:
        problems = [*reading.findings]
        if compared.kept:
            problems.insert(0, _KEPT.format(count=len(compared.kept)))
        if not (self._has_read or reading.counts or problems or compared.removed):
            return  # nobody follows companies here
        say = self._log.warning if problems else self._log.info
        say(
            events.WATCHLIST_READ,
            companies=len(reading.watched),
            lists=dict(reading.counts),
            added=len(compared.added),
            removed=len(compared.removed),
            problems=problems,
            problem_count=reading.finding_count + bool(compared.kept),
        )

    async def _compare(self) -> _Compared:
        """Let the manifest have the items that the lists want, part by part: neither is ever held whole a second time."""
        compared = _Compared(set(), set(), set())
        numbers, first, after = list(self._watched), 0, self._companies.prefix
        while True:
            known, until = await self._part(after, numbers[first + _CHUNK : first + _CHUNK + 1])
            end = len(numbers) if until is None else bisect_left(numbers, until, first)
            await self._plan(numbers[first:end], known, compared)
            if until is None:
                return compared
            first, after = end, self._companies.prefix + until

    async def _part(self, after: str, bound: Sequence[str]) -> tuple[dict[str, Item], str | None]:
        """The next items about companies, and the first company that belongs to the next part; at most `bound`."""
        page = await self._manifest.page(after, _CHUNK)
        ours = [item for item in page if item.key.startswith(self._companies.prefix)]
        is_last = len(ours) < _CHUNK
        bounds = [*bound, *([] if is_last else [self._companies.number_of(ours[-1].key)])]
        until = min(bounds, default=None)
        number_of = self._companies.number_of
        return {item.key: item for item in ours if until is None or number_of(item.key) < until}, until

    async def _plan(self, numbers: Sequence[str], known: Mapping[str, Item], compared: _Compared) -> None:
        changes = self._companies.plan(numbers, known, self._clock.now(), len(compared.added))
        left_out = compared.removed if self._is_complete else compared.kept
        for change in changes:
            number = self._companies.number_of(change.item.key)
            if number not in self._watched:
                left_out.add(number)
            elif change.before is None:
                compared.added.add(number)
        await self._record(self._allowed(changes))

    def _allowed(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Without those that have something asked for no more, as long as lists that were never read may want it."""
        return changes if self._is_complete else [one for one in changes if one.item.due_at is not None]

    def _sweep(self) -> None:
        """Days were sealed since, or left their windows: what they did not bring may be wanted now."""
        self._swept_at = self._clock.now()
        self._look_at(self._watched)

    def _look_at(self, numbers: Iterable[str]) -> None:
        if not self._companies.has_filings:
            return
        self._to_look_at.update(dict.fromkeys(numbers))
        if self._to_look_at:
            self.on_filings()

    # ------------------------------------------------------------------ their filings

    def note(self, contribution: Contribution) -> None:
        """The catalogue has something new: the companies among it that are followed are looked at."""
        numbers = {one.enterprise for one in contribution.filings if one.enterprise is not None}
        self._look_at(sorted(numbers & self._watched.keys()))

    async def follow_up(self, catalogue: Catalogue) -> bool:
        """Have the documents fetched that are wanted of some of the companies whose filings changed; whether others are left.

        For whoever keeps the catalogue, when it is complete: in one that is not, documents seem to be missing.
        """
        numbers = list(islice(self._to_look_at, _AT_ONCE))
        for number in numbers:  # before it is looked at: what changes from now on is looked at again
            del self._to_look_at[number]
        self._is_following_up = True
        try:
            changes = await self._follow_ups(numbers, catalogue) if numbers else []
        except BaseException:
            self._to_look_at.update(dict.fromkeys(numbers))
            raise
        finally:
            self._is_following_up = False
        if changes:
            self._log.info(
                events.DOCUMENTS_FOLLOWED,
                companies=len(numbers),
                count=len(changes),
                first=changes[0].item.key,
            )
        return bool(self._to_look_at)

    async def _follow_ups(self, numbers: Sequence[str], catalogue: Catalogue) -> list[Change]:
        groups = await self._manifest.groups()
        open_groups = frozenset(group.key for group in groups if group.sealed_at is None)
        filings = {number: found for number in numbers if (found := await catalogue.filings_of(number))}
        keys = {number: self._companies.document_keys(found) for number, found in filings.items()}
        known = await self._manifest.items(key for of_one in keys.values() for key in of_one)
        now = self._clock.now()
        changes: list[Change] = []
        for number, entries in filings.items():
            items = {key: known[key] for key in keys[number] if key in known}
            changes += self._allowed(self._companies.follow_ups(number, entries, items, open_groups, now))
        await self._record(changes)
        return changes

    async def _record(self, changes: Sequence[Change]) -> None:
        for start in range(0, len(changes), _CHUNK):
            await record_what_stands(self._manifest, changes[start : start + _CHUNK], self._log)
        if changes:
            self._on_scheduled()
