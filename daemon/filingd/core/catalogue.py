"""The catalogue as values: which filings there are, of whom, and where each of their documents lies.

The catalogue is derived. Each stored item *contributes* what its current body says: the filings a references dataset or
a query answer lists, the documents that lie in a zip or are a file by themselves. Taken together, the contributions of all
stored items are the catalogue; whatever order they came in, and however often, it is the same.

Texts are kept as they were filed. What a registry says of a filing beyond these fields (address, activity…) is read from
the record itself, which `Listing` places: item, member and row. Kept here, those some 800 bytes a filing would
make the catalogue four times as large, for the sake of bytes that lie on the disk anyway.
"""

from __future__ import annotations

import datetime as dt
import functools
import unicodedata
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.errors import FilingdError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANY_VARIANT = "?"  # of a document: nobody knows what its label means, so it may be any variant of its filing
SHORTEST_FRAGMENT = 3
# What registries write where they know no date (NBB reference, section 15.4). They are days of no calendar.
_SENTINELS = frozenset({dt.date(1900, 1, 1), dt.date(9999, 1, 1)})
# Letters that no decomposition brings to a base letter and a mark.
_PLAIN_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "’": "'", "‘": "'"}  # noqa: RUF001 - real names hold such marks
)


class CatalogueDamagedError(StoreError):
    """The catalogue cannot be read as a database. Nothing is lost: it is made anew from the stored files."""


class NameFragmentError(FilingdError):
    """A fragment of a name is too short to look for."""


# ------------------------------------------------------------------------------------------------- what items contribute


class Filing(msgspec.Struct, frozen=True):
    """One record a registry published of one filing. A filing may have several: repeated, corrected, improved.

    `reference` is the registry's own name for the filing and the key of everything. `enterprise` is its number in the
    registry's plain form, or as filed where it has none; None if the record does not say (the record is *parked*). Dates are
    texts as filed; `calendar_day` says which day one is, if any. `variant` says which of the documents of
    the filing the record announces: None the authentic ones, otherwise the kind of improvement. `offers_document` is
    whether the record points to a document: None if it does not speak of any. `unknown` are the fields nobody knows,
    verbatim. `member` and `row` say where the record was read: the member of the item's zip, None if the item is the
    answer itself, and the place in the list if it holds one.
    """

    reference: str
    enterprise: str | None = None
    enterprise_name: str | None = None
    deposit_date: str | None = None
    exercise_start: str | None = None
    exercise_end: str | None = None
    model: str | None = None
    deposit_type: str | None = None
    language: str | None = None
    currency: str | None = None
    legal_form: str | None = None
    data_version: str | None = None
    improvement_date: str | None = None
    corrected_data: str | None = None
    variant: str | None = None
    offers_document: bool | None = None
    unknown: Mapping[str, Any] = msgspec.field(default_factory=dict)
    member: str | None = None
    row: int = 0


class DocumentPlace(msgspec.Struct, frozen=True):
    """Where one document of a filing lies within its item.

    `kind` is `json`, `xbrl` or `pdf`. `member` is its name in the item's zip; its data begins at byte `offset`, `packed_bytes`
    long, packed by `method` (0 stored, 8 deflated), and inflates to `size_bytes` with this `crc32`. Where the item is the
    document, `member` is None, the data is the whole file and its checksum is in the manifest.
    """

    reference: str
    kind: str
    size_bytes: int
    variant: str | None = None
    member: str | None = None
    offset: int = 0
    packed_bytes: int = 0
    method: int = 0
    crc32: int | None = None


class Source(msgspec.Struct, frozen=True):
    """The stored item something was read from: its key, the version of its body, and where that lies in the store.

    `family` names a line of publication days (`nbb/authentic`) and `published_on` the day in it (ISO); None for what
    was asked for by itself.
    """

    key: str
    version: int
    path: str
    family: str
    published_on: str | None = None


class Contribution(msgspec.Struct, frozen=True):
    """All that one version of one item says."""

    source: Source
    filings: tuple[Filing, ...] = ()
    places: tuple[DocumentPlace, ...] = ()


class Contributed(msgspec.Struct, frozen=True):
    """What taking a contribution did.

    `is_new` is False if this version, or a newer one, was there already: then nothing changed. `vanished` are the
    references the version before spoke of and this one does not. `withheld` are references that were left out because
    they turned out to be of a forgotten enterprise; whoever keeps the tombstones adds them.
    """

    is_new: bool
    filings: int = 0
    places: int = 0
    filings_before: int = 0
    places_before: int = 0
    vanished: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


class Forgotten(msgspec.Struct, frozen=True):
    """What must never be in the catalogue again: filings by reference, and everything of some enterprises."""

    references: frozenset[str] = frozenset()
    enterprises: frozenset[str] = frozenset()

    def __or__(self, other: Forgotten) -> Forgotten:
        return Forgotten(self.references | other.references, self.enterprises | other.enterprises)


NOTHING_FORGOTTEN = Forgotten()

# ------------------------------------------------------------------------------------------------- what is answered


class Listing(msgspec.Struct, frozen=True):
    """A filing's record as it stands in the catalogue.

    `enterprise` is the number the record gives, or that another record of the same filing gives for it.
    """

    filing: Filing
    source: Source
    enterprise: str | None = None


class Document(msgspec.Struct, frozen=True):
    """A document as it stands in the catalogue."""

    place: DocumentPlace
    source: Source


class Entry(msgspec.Struct, frozen=True):
    """All that is known of one filing: its records, newest first, and its documents, by kind and newest first."""

    reference: str
    listings: tuple[Listing, ...]
    documents: tuple[Document, ...]

    def document(self, kind: str, variant: str | None = None) -> Document | None:
        """The newest document of a kind, or None."""
        return next((d for d in self.documents if (d.place.kind, d.place.variant) == (kind, variant)), None)


class NameHit(msgspec.Struct, frozen=True):
    """A name that records carry, and the enterprise they give with it; None where they give none.

    `reference` is one of their filings, of `references` in all.
    """

    name: str
    enterprise: str | None
    references: int
    reference: str


class Repeated(msgspec.Struct, frozen=True):
    """A filing that the days of one family list more than once, and the items that do; an item twice if it does so alone."""

    reference: str
    variant: str | None
    keys: tuple[str, ...]


class Totals(msgspec.Struct, frozen=True):
    """How much is in the catalogue."""

    sources: int = 0
    filings: int = 0
    places: int = 0


# ------------------------------------------------------------------------------------------------- rules


@functools.lru_cache(maxsize=4096)
def calendar_day(text: str | None) -> dt.date | None:
    """The day a filed text means; None if it is no date, or one of those that registries write for "unknown"."""
    if text is None or len(text) != len("2026-11-20"):
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text and day not in _SENTINELS else None


def entries(listings: Iterable[Listing], documents: Iterable[Document]) -> list[Entry]:
    """The records and documents put together by filing, the filing that was deposited last first."""
    by_reference: dict[str, tuple[list[Listing], list[Document]]] = {}
    for listing in listings:
        by_reference.setdefault(listing.filing.reference, ([], []))[0].append(listing)
    for document in documents:
        by_reference.setdefault(document.place.reference, ([], []))[1].append(document)
    made = [Entry(ref, _in_order(found), _by_kind(held)) for ref, (found, held) in by_reference.items()]
    return sorted(made, key=_age_of, reverse=True)


def resolved(listings: Iterable[Listing], records: Iterable[Filing]) -> list[Listing]:
    """The same records, each with the enterprise that it gives, or else any record of its filing does.

    `records` are all records of those filings that have one without. Where they disagree, the lowest number counts.
    """
    numbers: dict[str, str] = {}
    for filing in records:
        if filing.enterprise is not None:
            known = numbers.get(filing.reference, filing.enterprise)
            numbers[filing.reference] = min(filing.enterprise, known)
    return [
        Listing(one.filing, one.source, one.filing.enterprise or numbers.get(one.filing.reference))
        for one in listings
    ]


def in_reading_order(listings: Iterable[Listing]) -> list[Listing]:
    """Records in the order of reference, item and place in it."""
    return sorted(
        listings,
        key=lambda one: (one.filing.reference, one.source.key, one.filing.member or "", one.filing.row),
    )


def announces(listing: Filing, listed_on: str | None, place: DocumentPlace, held_since: str | None) -> bool:
    """Whether a record speaks of a document, both of one family; the days are those of their items.

    An improvement may be made again under the same name, so its document counts for its own day alone, unless it was
    asked for by itself (NBB reference, section 6.6). An authentic document counts whatever day brought it.
    """
    if listing.reference != place.reference or place.variant not in (listing.variant, ANY_VARIANT):
        return False
    return place.variant is None or None in (listed_on, held_since) or listed_on == held_since


@functools.lru_cache(maxsize=4096)
def folded_name(name: str) -> str:
    """A name without case, accents and superfluous blanks, by which it is found."""
    plain = name.lower() if name.isascii() else _without_accents(name)
    if not plain.isprintable():
        plain = "".join(sign if sign.isprintable() else " " for sign in plain)
    return " ".join(plain.split())


def _without_accents(name: str) -> str:
    bare = (sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    plain = unicodedata.normalize("NFKD", "".join(bare).casefold().translate(_PLAIN_LETTERS))
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


def folded_fragment(fragment: str) -> str:
    """A fragment to look for in folded names.

    Raises:
        NameFragmentError: it has fewer than three letters.
    """
    folded = folded_name(fragment)
    if len(folded) < SHORTEST_FRAGMENT:
        raise NameFragmentError(
            f"{fragment!r} is too short a part of a name to look for: give at least {SHORTEST_FRAGMENT} letters."
        )
    return folded


def _in_order(listings: list[Listing]) -> tuple[Listing, ...]:
    return tuple(
        sorted(in_reading_order(listings), key=lambda one: one.source.published_on or "", reverse=True)
    )


def _by_kind(documents: list[Document]) -> tuple[Document, ...]:
    documents = sorted(documents, key=lambda one: (one.source.key, one.place.offset))
    documents.sort(key=lambda one: one.source.published_on or "", reverse=True)
    return tuple(sorted(documents, key=lambda one: (one.place.kind, one.place.variant or "")))


def _age_of(entry: Entry) -> tuple[dt.date, str]:
    days = (calendar_day(listing.filing.deposit_date) for listing in entry.listings)
    return max((day for day in days if day is not None), default=dt.date.min), entry.reference
