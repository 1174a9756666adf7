"""What can be asked of the catalogue, on one connection, synchronously.

Every list travels as one JSON parameter: the text of a statement never changes, so SQLite prepares it once. Nothing reads a
whole table, except a search by name where this SQLite has no trigrams.
"""

# Statements are put together from constants of these modules; values only ever travel as parameters.
# ruff: noqa: S608

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from filingd.adapters.catalogue_rows import (
    FILING_COLUMNS,
    PLACE_COLUMNS,
    SOURCE_COLUMNS,
    filing_from,
    pack_date,
    pack_enterprise,
    pack_reference,
    place_from,
    source_from,
    unpack_enterprise,
    unpack_reference,
    unpack_references,
)
from filingd.core.catalogue import (
    ANY_VARIANT,
    SHORTEST_FRAGMENT,
    Document,
    Entry,
    Listing,
    NameHit,
    Repeated,
    Totals,
    entries,
    folded_fragment,
    folded_name,
    in_reading_order,
    resolved,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from filingd.core.catalogue import Source

_FILING = ", ".join(f"f.{column}" for column in FILING_COLUMNS)
_PLACE = ", ".join(f"p.{column}" for column in PLACE_COLUMNS)
_SOURCE = ", ".join(SOURCE_COLUMNS)

_OF_ENTERPRISE = "SELECT DISTINCT reference FROM filings WHERE enterprise = ?"
_FILINGS = f"SELECT {_FILING} FROM filings f WHERE f.reference IN (SELECT value FROM json_each(?))"
_PLACES = f"SELECT {_PLACE} FROM places p WHERE p.reference IN (SELECT value FROM json_each(?))"
_PARKED = f"""
    SELECT {_FILING} FROM filings f WHERE f.enterprise IS NULL AND NOT EXISTS (
        SELECT 1 FROM filings other WHERE other.reference = f.reference AND other.enterprise IS NOT NULL)
    ORDER BY f.reference, f.source_id, f.ordinal LIMIT ?
"""
_SOURCES = f"SELECT {_SOURCE} FROM sources WHERE id IN (SELECT value FROM json_each(?))"
_VERSIONS = "SELECT key, version FROM sources WHERE key >= ? AND key < ?"
_VERSIONS_OF = "SELECT key, version FROM sources WHERE key IN (SELECT value FROM json_each(?))"
_OF_DAY = "SELECT spoken_of FROM sources WHERE family_id = ? AND published_on = ?"
_TOTALS = "SELECT count(*), coalesce(sum(filings), 0), coalesce(sum(places), 0) FROM sources"

# Whether a record of the day speaks of a document: `core.catalogue.announces`, in SQL.
_SAME_DAY = "(p.variant_id IS NULL OR {other}.published_on IS NULL OR {other}.published_on = :day)"
_TRAITS_VARIANT = "json_extract(t.body, '$[7]')"
_UNDOCUMENTED = f"""
    SELECT {_FILING} FROM json_each(:references) spoken
    CROSS JOIN filings f ON f.reference = spoken.value
    CROSS JOIN sources s ON s.id = f.source_id AND s.family_id = :family AND s.published_on = :day
    WHERE NOT EXISTS (
        SELECT 1 FROM places p CROSS JOIN sources o ON o.id = p.source_id
        WHERE p.reference = f.reference AND p.kind_id = :kind AND o.family_id = :family
        AND (p.variant_id = :any_variant
             OR p.variant_id IS (SELECT v.id FROM traits t JOIN words v ON v.text = {_TRAITS_VARIANT}
                                 WHERE t.id = f.traits_id))
        AND {_SAME_DAY.format(other="o")})
"""
_UNLISTED = f"""
    SELECT {_PLACE} FROM json_each(:references) spoken
    CROSS JOIN places p ON p.reference = spoken.value
    CROSS JOIN sources s ON s.id = p.source_id AND s.family_id = :family AND s.published_on = :day
    WHERE NOT EXISTS (
        SELECT 1 FROM filings f CROSS JOIN sources o ON o.id = f.source_id
        WHERE f.reference = p.reference AND o.family_id = :family
        AND (p.variant_id = :any_variant
             OR p.variant_id IS (SELECT v.id FROM traits t JOIN words v ON v.text = {_TRAITS_VARIANT}
                                 WHERE t.id = f.traits_id))
        AND {_SAME_DAY.format(other="o")})
"""
_REPEATED = """
    SELECT f.reference, f.traits_id, f.improvement_date, s.key, s.published_on = :day
    FROM json_each(:references) spoken
    CROSS JOIN filings f ON f.reference = spoken.value
    CROSS JOIN sources s ON s.id = f.source_id AND s.family_id = :family AND s.published_on IS NOT NULL
"""
_NAMED = (
    "SELECT enterprise, count(DISTINCT reference), min(reference) FROM filings WHERE name_id = ? "
    "GROUP BY enterprise ORDER BY enterprise"
)
_WITH_TRIGRAMS = "SELECT rowid FROM name_index WHERE name_index MATCH ?"
_ALL_NAMES = "SELECT id, name FROM names"
_NAME = "SELECT name FROM names WHERE id = ?"


class Queries:
    """Questions on one connection."""

    def __init__(self, connection: sqlite3.Connection, *, has_name_index: bool) -> None:
        self._connection = connection
        self._has_name_index = has_name_index
        self._traits: dict[int, str] = {}
        self._words: dict[int, str] = {}

    # --------------------------------------------------------------------------------------------- filings

    def filings_of(self, enterprise: str) -> list[Entry]:
        """See `ports.Catalogue`."""
        found = [
            one
            for (one,) in self._connection.execute(_OF_ENTERPRISE, (pack_enterprise(enterprise),)).fetchall()
        ]
        listings, documents = self._all_of(found)
        return entries((one for one in listings if one.enterprise == enterprise), documents)

    def entry(self, reference: str) -> Entry | None:
        """See `ports.Catalogue`."""
        found = entries(*self._all_of([pack_reference(reference)]))
        return found[0] if found else None

    def parked(self, limit: int) -> list[Listing]:
        """See `ports.Catalogue`."""
        return in_reading_order(self._as_listings(self._connection.execute(_PARKED, (limit,)).fetchall()))

    def _all_of(self, packed: Sequence[int | str]) -> tuple[list[Listing], list[Document]]:
        references = json.dumps(packed)
        listings = self._as_listings(self._connection.execute(_FILINGS, (references,)).fetchall())
        places = self._connection.execute(_PLACES, (references,)).fetchall()
        return resolved(listings, [one.filing for one in listings]), self._as_documents(places)

    def _resolved(self, listings: Sequence[Listing]) -> list[Listing]:
        """Each with its enterprise: the other records of those that give none are looked up."""
        parked = {pack_reference(one.filing.reference) for one in listings if one.filing.enterprise is None}
        rows = self._connection.execute(_FILINGS, (json.dumps(list(parked)),)).fetchall()
        return in_reading_order(resolved(listings, [one.filing for one in self._as_listings(rows)]))

    # --------------------------------------------------------------------------------------------- names

    def names_like(self, fragment: str, limit: int) -> list[NameHit]:
        """See `ports.Catalogue`."""
        folded = folded_fragment(fragment)
        search = self._by_trigrams if self._has_name_index else self._by_looking
        hits: list[NameHit] = []
        for name_id, name in search(folded):
            hits += self._hits(name_id, name)
            if len(hits) >= limit:
                break
        return sorted(hits, key=lambda hit: (hit.name, hit.enterprise or ""))[:limit]

    def _by_trigrams(self, folded: str) -> Iterator[tuple[int, str]]:
        for (name_id,) in self._connection.execute(_WITH_TRIGRAMS, (_trigrams(folded),)):
            (name,) = self._connection.execute(_NAME, (name_id,)).fetchone()
            if len(folded) == SHORTEST_FRAGMENT or folded in folded_name(name):
                yield name_id, name

    def _by_looking(self, folded: str) -> Iterator[tuple[int, str]]:
        for name_id, name in self._connection.execute(_ALL_NAMES):
            if folded in folded_name(name):
                yield name_id, name

    def _hits(self, name_id: int, name: str) -> list[NameHit]:
        rows = self._connection.execute(_NAMED, (name_id,)).fetchall()
        return [
            NameHit(name, unpack_enterprise(enterprise), count, unpack_reference(reference))
            for enterprise, count, reference in rows
        ]

    # --------------------------------------------------------------------------------------------- days

    def undocumented(self, family: str, published_on: str, kind: str) -> list[Listing]:
        """See `ports.Catalogue`."""
        asked = self._day(family, published_on) | {"kind": self._word_id(kind)}
        return self._resolved(self._as_listings(self._connection.execute(_UNDOCUMENTED, asked).fetchall()))

    def unlisted(self, family: str, published_on: str) -> list[Document]:
        """See `ports.Catalogue`."""
        rows = self._connection.execute(_UNLISTED, self._day(family, published_on)).fetchall()
        return sorted(self._as_documents(rows), key=lambda one: (one.source.key, one.place.offset))

    def repeated(self, family: str, published_on: str) -> list[Repeated]:
        """See `ports.Catalogue`."""
        asked = self._day(family, published_on)
        del asked["any_variant"]
        keys: dict[tuple[Any, ...], list[str]] = {}
        of_the_day = set()
        for reference, traits_id, improved_on, key, is_of_day in self._connection.execute(_REPEATED, asked):
            variant = json.loads(self._traits_of(traits_id))[7]
            keys.setdefault((unpack_reference(reference), variant, improved_on), []).append(key)
            if is_of_day:
                of_the_day.add((unpack_reference(reference), variant, improved_on))
        found = [
            Repeated(one[0], one[1], tuple(sorted(keys[one]))) for one in of_the_day if len(keys[one]) > 1
        ]
        return sorted(found, key=lambda one: (one.reference, one.variant or "", one.keys))

    def _day(self, family: str, published_on: str) -> dict[str, Any]:
        family_id, day = self._word_id(family), pack_date(published_on)
        bodies = self._connection.execute(_OF_DAY, (family_id, day)).fetchall()
        spoken_of = set(chain.from_iterable(unpack_references(body) for (body,) in bodies))
        return {
            "family": family_id,
            "day": day,
            "references": json.dumps(list(spoken_of)),
            "any_variant": self._word_id(ANY_VARIANT),
        }

    # --------------------------------------------------------------------------------------------- sources

    def sources(self, prefix: str) -> Mapping[str, int]:
        """See `ports.Catalogue`."""
        return dict(self._connection.execute(_VERSIONS, (prefix, prefix + "\U0010ffff")).fetchall())

    def versions_of(self, keys: Iterable[str]) -> Mapping[str, int]:
        """See `ports.Catalogue`."""
        return dict(self._connection.execute(_VERSIONS_OF, (json.dumps(list(keys)),)).fetchall())

    def followed(self) -> int | None:
        """See `ports.Catalogue`."""
        found = self._connection.execute("SELECT followed_seq FROM progress").fetchone()
        return int(found[0]) if found else None

    def totals(self) -> Totals:
        """See `ports.Catalogue`."""
        return Totals(*self._connection.execute(_TOTALS).fetchone())

    # --------------------------------------------------------------------------------------------- rows to values

    def _as_listings(self, rows: Iterable[Sequence[Any]]) -> list[Listing]:
        rows = list(rows)
        sources = self._sources_by_id(row[1] for row in rows)
        names = self._names_by_id(row[4] for row in rows)
        filings = (filing_from(row, names.get(row[4]), self._traits_of(row[5])) for row in rows)
        return [Listing(filing, sources[row[1]]) for row, filing in zip(rows, filings, strict=True)]

    def _as_documents(self, rows: Iterable[Sequence[Any]]) -> list[Document]:
        rows = list(rows)
        sources = self._sources_by_id(row[1] for row in rows)
        return [
            Document(
                place_from(row, self._word(row[3]), None if row[4] is None else self._word(row[4])),
                sources[row[1]],
            )
            for row in rows
        ]

    def _sources_by_id(self, ids: Iterable[int]) -> dict[int, Source]:
        rows = self._connection.execute(_SOURCES, (json.dumps(list(set(ids))),)).fetchall()
        return {row[0]: source_from(row, self._word(row[4])) for row in rows}

    def _names_by_id(self, ids: Iterable[int | None]) -> dict[int | None, str]:
        wanted = {one for one in ids if one is not None}
        return {one: self._connection.execute(_NAME, (one,)).fetchone()[0] for one in wanted}

    def _traits_of(self, traits_id: int) -> str:
        if traits_id not in self._traits:
            found = self._connection.execute("SELECT body FROM traits WHERE id = ?", (traits_id,)).fetchone()
            self._traits[traits_id] = found[0]
        return self._traits[traits_id]

    def _word(self, word_id: int) -> str:
        if word_id not in self._words:
            found = self._connection.execute("SELECT text FROM words WHERE id = ?", (word_id,)).fetchone()
            self._words[word_id] = found[0]
        return self._words[word_id]

    def _word_id(self, text: str) -> int | None:
        """None for a word that nothing in the catalogue uses; it equals nothing."""
        found = self._connection.execute("SELECT id FROM words WHERE text = ?", (text,)).fetchone()
        return found[0] if found else None


def _trigrams(folded: str) -> str:
    """All trigrams of a fragment, as a query: what has them all may have the fragment."""
    parts = {folded[at : at + 3] for at in range(len(folded) - 2)}
    return " AND ".join('"' + part.replace('"', '""') + '"' for part in sorted(parts))
