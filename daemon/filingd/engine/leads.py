"""What stored bodies name: numbers that are followed because an answer names them, such as the results of a saved search.

Nothing of this is kept: the facts of stored versions say it, and the feed of the manifest tells when they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filingd.core.feed import FeedKind
from filingd.core.model import HOLDING_STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.core.watchlist import Terms
    from filingd.ports import Companies, Manifest

_PAGE = 1000
_DEEPEST = 4  # a search names a company, whose list names branches: nobody leads further
_OF_BODIES = frozenset({FeedKind.STORED, FeedKind.REPLACED, FeedKind.LOST})


class Leads:
    """The numbers that stored bodies name, by the key of the item."""

    def __init__(self, companies: Companies, manifest: Manifest) -> None:
        self._companies = companies
        self._manifest = manifest
        self._prefixes = tuple(companies.lead_prefixes)
        self._named: dict[str, tuple[str, ...]] = {}
        self._after: int | None = None  # the last event that was dealt with; None before all was read once
        self._has_changed = False  # since somebody acted on it

    async def is_current(self) -> bool:
        """Whether all that is recorded was looked at."""
        return not self._prefixes or self._after == await self._manifest.feed_head()

    async def look(self) -> bool:
        """Look at what was recorded since; whether what is named differs from what somebody last acted on (`acted`)."""
        if not self._prefixes:
            return False
        if self._after is None:
            await self._read_all()
        while found := await self._manifest.feed(self._after or 0, _PAGE):
            if any(event.kind is FeedKind.BEGUN for event in found):
                await self._read_all()
                continue
            keys = {event.subject for event in found if event.kind in _OF_BODIES}
            await self._read(sorted(key for key in keys if key.startswith(self._prefixes)))
            self._after = found[-1].seq
        return self._has_changed

    def acted(self) -> None:
        """What is named now was acted upon."""
        self._has_changed = False

    def united(self, listed: Mapping[str, Terms]) -> Mapping[str, Terms]:
        """Who is followed in all."""
        return united(self._companies, self._named, listed)

    async def _read_all(self) -> None:
        head = await self._manifest.feed_head()
        gone = set(self._named)
        for prefix in self._prefixes:
            after = prefix
            while page := [item for item in await self._manifest.page(after, _PAGE, HOLDING_STATES)
                           if item.key.startswith(prefix)]:  # fmt: skip
                await self._read([item.key for item in page])
                gone.difference_update(item.key for item in page)
                after = page[-1].key
        for key in gone:
            self._note(key, ())
        self._after = head

    async def _read(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        items = await self._manifest.items(keys)
        versions = await self._manifest.current_versions(keys)
        for key in keys:
            item, version = items.get(key), versions.get(key)
            is_held = item is not None and item.state in HOLDING_STATES and version is not None
            self._note(key, self._names_in(version.facts) if is_held and version else ())

    def _names_in(self, facts: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(self._companies.named(facts))

    def _note(self, key: str, numbers: tuple[str, ...]) -> None:
        if self._named.get(key, ()) == numbers:
            return
        self._has_changed = True
        if numbers:
            self._named[key] = numbers
        else:
            del self._named[key]


def united(
    companies: Companies, named: Mapping[str, Iterable[str]], listed: Mapping[str, Terms]
) -> Mapping[str, Terms]:
    """Who is followed in all: those that are listed, and whoever is named by what is had of them, or of a search."""
    watched = dict(listed)
    for _ in range(_DEEPEST):
        is_changed = False
        for key, numbers in named.items():
            terms = companies.lead_terms(key, watched)
            if terms is not None:
                is_changed |= _unite(watched, numbers, terms)
        if not is_changed:
            break
    return watched if len(watched) == len(listed) else dict(sorted(watched.items()))


def _unite(watched: dict[str, Terms], numbers: Iterable[str], terms: Terms) -> bool:
    """Follow numbers on these terms, too; whether that changes anything."""
    is_changed = False
    for number in numbers:
        known = watched.get(number)
        both = terms if known is None or known is terms else known | terms
        if both != known:
            watched[number] = both
            is_changed = True
    return is_changed
