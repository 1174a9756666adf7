"""A catalogue in memory: what each present item contributed, and every answer worked out from that by looking at all of it.

It is the model the real one is compared with, and it runs the same contract suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.catalogue import (
    NOTHING_FORGOTTEN,
    Contributed,
    Contribution,
    Document,
    Entry,
    Filing,
    Forgotten,
    Listing,
    NameHit,
    Repeated,
    Totals,
    announces,
    entries,
    folded_fragment,
    folded_name,
    in_reading_order,
    resolved,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class FakeCatalogue:
    """All in one dictionary. Open to tests: `held`, `forgotten`."""

    def __init__(self, forgotten: Forgotten = NOTHING_FORGOTTEN) -> None:
        self.held: dict[str, Contribution] = {}
        self.forgotten = forgotten
        self.followed_seq: int | None = None
        self.began_anew = True

    async def contribute(self, contribution: Contribution) -> Contributed:
        key = contribution.source.key
        before = self.held.get(key)
        filings, places = _counts(before)
        if before is not None and before.source.version >= contribution.source.version:
            return Contributed(False, filings, places, filings, places)
        withheld = self._withhold(contribution)
        before = self.held.get(key)
        self.held[key] = after = self._without_forgotten(contribution)
        vanished = _spoken_of(before) - _spoken_of(after)
        return Contributed(True, *_counts(after), filings, places, tuple(sorted(vanished)), withheld)

    async def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.held.pop(key, None)

    async def forget(self, forgotten: Forgotten) -> Sequence[str]:
        theirs = {
            one.filing.reference for one in self._listings() if one.filing.enterprise in forgotten.enterprises
        }
        references = forgotten.references | theirs
        self._forget(Forgotten(references, forgotten.enterprises))
        return tuple(sorted(references))

    async def filings_of(self, enterprise: str) -> Sequence[Entry]:
        theirs = {one.filing.reference for one in self._listings() if one.filing.enterprise == enterprise}
        listings = [one for one in self._resolved(self._listings()) if one.filing.reference in theirs]
        documents = [one for one in self._documents() if one.place.reference in theirs]
        return entries((one for one in listings if one.enterprise == enterprise), documents)

    async def entry(self, reference: str) -> Entry | None:
        listings = [one for one in self._resolved(self._listings()) if one.filing.reference == reference]
        documents = [one for one in self._documents() if one.place.reference == reference]
        return next(iter(entries(listings, documents)), None)

    async def names_like(self, fragment: str, limit: int) -> Sequence[NameHit]:
        folded = folded_fragment(fragment)
        found: dict[tuple[str, str | None], set[str]] = {}
        for one in self._records():
            if one.enterprise_name is not None and folded in folded_name(one.enterprise_name):
                found.setdefault((one.enterprise_name, one.enterprise), set()).add(one.reference)
        hits = [NameHit(name, number, len(refs), min(refs)) for (name, number), refs in found.items()]
        return sorted(hits, key=lambda hit: (hit.name, hit.enterprise or ""))[:limit]

    async def undocumented(self, family: str, published_on: str, kind: str) -> Sequence[Listing]:
        held = [one for one in self._documents() if (one.source.family, one.place.kind) == (family, kind)]
        missing = [
            one
            for one in self._of_day(family, published_on)
            if not any(_fit(one, document) for document in held)
        ]
        return in_reading_order(self._resolved(missing))

    async def unlisted(self, family: str, published_on: str) -> Sequence[Document]:
        listed = [one for one in self._listings() if one.source.family == family]
        held = [
            d for d in self._documents() if (d.source.family, d.source.published_on) == (family, published_on)
        ]
        strangers = [document for document in held if not any(_fit(one, document) for one in listed)]
        return sorted(strangers, key=lambda one: (one.source.key, one.place.offset))

    async def repeated(self, family: str, published_on: str) -> Sequence[Repeated]:
        days = [
            one
            for one in self._listings()
            if one.source.family == family and one.source.published_on is not None
        ]
        found = {
            _line(one.filing): tuple(
                sorted(other.source.key for other in days if _line(other.filing) == _line(one.filing))
            )
            for one in self._of_day(family, published_on)
        }
        twice = [Repeated(line[0], line[1], keys) for line, keys in found.items() if len(keys) > 1]
        return sorted(twice, key=lambda one: (one.reference, one.variant or "", one.keys))

    async def parked(self, limit: int) -> Sequence[Listing]:
        found = [one for one in self._resolved(self._listings()) if one.enterprise is None]
        return in_reading_order(found)[:limit]

    async def sources(self, prefix: str = "") -> Mapping[str, int]:
        return {key: one.source.version for key, one in self.held.items() if key.startswith(prefix)}

    async def versions_of(self, keys: Iterable[str]) -> Mapping[str, int]:
        return {key: self.held[key].source.version for key in keys if key in self.held}

    async def followed(self) -> int | None:
        return self.followed_seq

    async def note_followed(self, seq: int | None) -> None:
        self.followed_seq = seq

    async def check_in_place(self) -> None:
        """Nobody takes it away."""

    async def totals(self) -> Totals:
        return Totals(len(self.held), len(self._listings()), len(self._documents()))

    async def close(self) -> None:
        """Nothing to close."""

    def _withhold(self, contribution: Contribution) -> tuple[str, ...]:
        found = {
            one.reference for one in contribution.filings if one.enterprise in self.forgotten.enterprises
        }
        found -= self.forgotten.references
        self._forget(Forgotten(frozenset(found)))
        return tuple(sorted(found))

    def _forget(self, forgotten: Forgotten) -> None:
        self.forgotten |= forgotten
        self.held = {key: self._without_forgotten(one) for key, one in self.held.items()}

    def _without_forgotten(self, contribution: Contribution) -> Contribution:
        gone = self.forgotten.references
        return replace(
            contribution,
            filings=tuple(one for one in contribution.filings if one.reference not in gone),
            places=tuple(one for one in contribution.places if one.reference not in gone),
        )

    def _listings(self) -> list[Listing]:
        return [Listing(filing, one.source) for one in self.held.values() for filing in one.filings]

    def _records(self) -> Iterator[Filing]:
        return (one.filing for one in self._listings())

    def _documents(self) -> list[Document]:
        return [Document(place, one.source) for one in self.held.values() for place in one.places]

    def _of_day(self, family: str, published_on: str) -> list[Listing]:
        return [
            o for o in self._listings() if (o.source.family, o.source.published_on) == (family, published_on)
        ]

    def _resolved(self, listings: Iterable[Listing]) -> list[Listing]:
        return resolved(listings, self._records())


def _fit(listing: Listing, document: Document) -> bool:
    return announces(
        listing.filing, listing.source.published_on, document.place, document.source.published_on
    )


def _line(filing: Filing) -> tuple[str, str | None, str | None]:
    return filing.reference, filing.variant, filing.improvement_date


def _counts(contribution: Contribution | None) -> tuple[int, int]:
    return (0, 0) if contribution is None else (len(contribution.filings), len(contribution.places))


def _spoken_of(contribution: Contribution | None) -> set[str]:
    if contribution is None:
        return set()
    return {one.reference for one in contribution.filings} | {one.reference for one in contribution.places}
