"""What can be changed in the catalogue, on one connection that writes, within a transaction of the caller."""

# Statements are put together from constants of these modules; values only ever travel as parameters.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from filingd.adapters.catalogue_queries import Queries
from filingd.adapters.catalogue_rows import (
    FILING_COLUMNS,
    PLACE_COLUMNS,
    filing_row,
    pack_date,
    pack_enterprise,
    pack_reference,
    pack_references,
    place_row,
    traits_of,
    traits_text,
    unpack_reference,
    unpack_references,
)
from filingd.core.catalogue import NOTHING_FORGOTTEN, Contributed, Forgotten, folded_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from filingd.adapters.catalogue_rows import Traits
    from filingd.core.catalogue import Contribution, DocumentPlace, Filing, Source

_INSERT_FILINGS = f"INSERT INTO filings VALUES ({', '.join('?' * len(FILING_COLUMNS))})"
_INSERT_PLACES = f"INSERT INTO places VALUES ({', '.join('?' * len(PLACE_COLUMNS))})"
_INSERT_SOURCE = (
    "INSERT INTO sources (key, version, path, family_id, published_on, filings, places, spoken_of) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_FIND_SOURCE = "SELECT id, version, filings, places, spoken_of FROM sources WHERE key = ?"
_OF_SOURCE = "source_id = :source AND reference IN (SELECT value FROM json_each(:references))"
_DROP_NAME = "INSERT INTO name_index (name_index, rowid, folded) VALUES ('delete', ?, ?)"
# The index keeps what was taken out of it until its parts are merged.
_MERGE_NAME_INDEX = "INSERT INTO name_index (name_index) VALUES ('optimize')"
_UNUSED_NAMES = """
    SELECT id, name FROM names WHERE id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM filings WHERE filings.name_id = names.id)
"""
_OF_ENTERPRISES = """
    SELECT DISTINCT reference FROM filings WHERE enterprise IN (SELECT value FROM json_each(?))
"""
_SPEAKING_OF = """
    SELECT source_id FROM filings WHERE reference IN (SELECT value FROM json_each(:references))
    UNION SELECT source_id FROM places WHERE reference IN (SELECT value FROM json_each(:references))
"""


class Statements(Queries):
    """Questions and changes on one connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        has_name_index: bool,
        forgotten: Forgotten = NOTHING_FORGOTTEN,
    ) -> None:
        super().__init__(connection, has_name_index=has_name_index)
        self._forgotten = forgotten
        self._word_ids: dict[str, int] = {}
        self._traits_ids: dict[Traits, int] = {}

    def rolled_back(self) -> None:
        """Unlearn what a transaction that was undone may have taught."""
        self._word_ids.clear()
        self._traits_ids.clear()
        self._words.clear()
        self._traits.clear()

    def note_followed(self, seq: int | None) -> None:
        """See `ports.Catalogue`."""
        self._connection.execute("DELETE FROM progress")
        if seq is not None:
            self._connection.execute("INSERT INTO progress (id, followed_seq) VALUES (1, ?)", (seq,))

    # --------------------------------------------------------------------------------------------- contributions

    def contribute(self, contribution: Contribution) -> Contributed:
        """See `ports.Catalogue`."""
        source = contribution.source
        found = self._connection.execute(_FIND_SOURCE, (source.key,)).fetchone()
        source_id, version, filings_before, places_before, spoken_of = found or (None, 0, 0, 0, None)
        if source_id is not None and version >= source.version:
            return Contributed(False, filings_before, places_before, filings_before, places_before)
        withheld = self._withhold(contribution.filings)
        before = set() if spoken_of is None else set(unpack_references(spoken_of))
        names = set() if source_id is None else self._drop(source_id, before)
        filings, places, after = self._insert(contribution)
        self._drop_unused_names(names)
        vanished = tuple(sorted(unpack_reference(one) for one in before - after))
        return Contributed(
            True, filings, places, filings_before, places_before, self._not_forgotten(vanished), withheld
        )

    def drop(self, keys: Iterable[str]) -> None:
        """See `ports.Catalogue`."""
        for key in keys:
            found = self._connection.execute(_FIND_SOURCE, (key,)).fetchone()
            if found is not None:
                self._drop_unused_names(self._drop(found[0], set(unpack_references(found[4]))))

    def _insert(self, contribution: Contribution) -> tuple[int, int, set[int | str]]:
        """Write a contribution without what is forgotten: how many filings and places, and the references it speaks of."""
        kept = self._forgotten.references
        filings = [(pack_reference(f.reference), f) for f in contribution.filings if f.reference not in kept]
        places = [(pack_reference(p.reference), p) for p in contribution.places if p.reference not in kept]
        spoken_of = {packed for packed, _ in filings} | {packed for packed, _ in places}
        source_id = self._insert_source(contribution.source, len(filings), len(places), spoken_of)
        self._connection.executemany(_INSERT_FILINGS, self._filing_rows(filings, source_id))
        self._connection.executemany(_INSERT_PLACES, self._place_rows(places, source_id))
        return len(filings), len(places), spoken_of

    def _insert_source(self, source: Source, filings: int, places: int, spoken_of: set[int | str]) -> int:
        family_id, day = self._learn_word(source.family), pack_date(source.published_on)
        row = (
            source.key,
            source.version,
            source.path,
            family_id,
            day,
            filings,
            places,
            pack_references(spoken_of),
        )
        return int(self._connection.execute(_INSERT_SOURCE, row).lastrowid or 0)

    def _filing_rows(self, filings: Sequence[tuple[int | str, Filing]], source_id: int) -> list[Any]:
        name_ids = self._learn_names({f.enterprise_name for _, f in filings if f.enterprise_name is not None})
        ordinals: Counter[int | str] = Counter()
        rows = []
        for packed, filing in filings:
            name_id = None if filing.enterprise_name is None else name_ids[filing.enterprise_name]
            traits_id = self._learn_traits(filing)
            rows.append(filing_row(filing, source_id, ordinals[packed], name_id, traits_id, packed))
            ordinals[packed] += 1
        return _in_key_order(rows)

    def _place_rows(self, places: Sequence[tuple[int | str, DocumentPlace]], source_id: int) -> list[Any]:
        ordinals: Counter[int | str] = Counter()
        rows = []
        for packed, place in places:
            kind_id = self._learn_word(place.kind)
            variant_id = None if place.variant is None else self._learn_word(place.variant)
            rows.append(place_row(place, source_id, ordinals[packed], kind_id, variant_id, packed))
            ordinals[packed] += 1
        return _in_key_order(rows)

    def _drop(self, source_id: int, spoken_of: set[int | str]) -> set[int]:
        """Remove what an item contributed; the names that may have lost their last filing."""
        names = self._remove_rows(source_id, spoken_of)
        self._connection.execute("DELETE FROM sources WHERE id = ?", (source_id,))
        return names

    def _remove_rows(self, source_id: int, packed: Iterable[int | str]) -> set[int]:
        asked = {"source": source_id, "references": json.dumps(list(packed))}
        rows = self._connection.execute(f"SELECT DISTINCT name_id FROM filings WHERE {_OF_SOURCE}", asked)
        names = {name_id for (name_id,) in rows.fetchall() if name_id is not None}
        for table in ("filings", "places"):
            self._connection.execute(f"DELETE FROM {table} WHERE {_OF_SOURCE}", asked)
        return names

    # --------------------------------------------------------------------------------------------- forgetting

    def forget(self, forgotten: Forgotten) -> tuple[str, ...]:
        """See `ports.Catalogue`."""
        numbers = json.dumps([pack_enterprise(number) for number in forgotten.enterprises])
        found = self._connection.execute(_OF_ENTERPRISES, (numbers,)).fetchall()
        references = forgotten.references | {unpack_reference(one) for (one,) in found}
        self._forgotten |= Forgotten(references, forgotten.enterprises)
        self._erase(references)
        return tuple(sorted(references))

    def _withhold(self, filings: Sequence[Filing]) -> tuple[str, ...]:
        """Forget the filings that turn out to be of a forgotten enterprise."""
        enterprises, known = self._forgotten.enterprises, self._forgotten.references
        if not enterprises:
            return ()
        found = {f.reference for f in filings if f.enterprise in enterprises and f.reference not in known}
        if found:
            self._forgotten |= Forgotten(frozenset(found))
            self._erase(found)
        return tuple(sorted(found))

    def _erase(self, references: Iterable[str]) -> None:
        """Remove every row of some filings, and the filings from what their items speak of."""
        packed = {pack_reference(reference) for reference in references}
        asked = {"references": json.dumps(list(packed))}
        names: set[int] = set()
        for (source_id,) in self._connection.execute(_SPEAKING_OF, asked).fetchall():
            names |= self._remove_rows(source_id, packed)
            self._recount(source_id, packed)
        if self._drop_unused_names(names) and self._has_name_index:
            self._connection.execute(_MERGE_NAME_INDEX)

    def _recount(self, source_id: int, erased: set[int | str]) -> None:
        (body,) = self._connection.execute(
            "SELECT spoken_of FROM sources WHERE id = ?", (source_id,)
        ).fetchone()
        left = [one for one in unpack_references(body) if one not in erased]
        asked = {"source": source_id, "references": json.dumps(left)}
        counts = [
            self._connection.execute(f"SELECT count(*) FROM {table} WHERE {_OF_SOURCE}", asked).fetchone()[0]
            for table in ("filings", "places")
        ]
        self._connection.execute(
            "UPDATE sources SET filings = ?, places = ?, spoken_of = ? WHERE id = ?",
            (*counts, pack_references(left), source_id),
        )

    def _not_forgotten(self, references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one for one in references if one not in self._forgotten.references)

    # --------------------------------------------------------------------------------------------- names

    def _learn_names(self, names: set[str]) -> dict[str, int]:
        """The numbers of names; those that are new join the index."""
        found, new = {}, []
        for name in names:
            row = self._connection.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
            if row is None:
                new.append(name)
            else:
                found[name] = row[0]
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM names").fetchone()
        found |= {name: last + number for number, name in enumerate(sorted(new), 1)}
        self._connection.executemany("INSERT INTO names VALUES (?, ?)", [(found[name], name) for name in new])
        if self._has_name_index:
            rows = [(found[name], folded_name(name)) for name in sorted(new)]
            self._connection.executemany("INSERT INTO name_index (rowid, folded) VALUES (?, ?)", rows)
        return found

    def _drop_unused_names(self, name_ids: set[int]) -> int:
        """Remove the names that no filing carries any more; how many."""
        if not name_ids:
            return 0
        unused = self._connection.execute(_UNUSED_NAMES, (json.dumps(list(name_ids)),)).fetchall()
        if self._has_name_index:
            folded = [(name_id, folded_name(name)) for name_id, name in unused]
            self._connection.executemany(_DROP_NAME, folded)
        self._connection.executemany("DELETE FROM names WHERE id = ?", [(name_id,) for name_id, _ in unused])
        return len(unused)

    # --------------------------------------------------------------------------------------------- words and traits

    def _learn_word(self, text: str) -> int:
        number = self._word_ids.get(text)
        if number is None:
            number = self._word_ids[text] = self._learn("words", "text", text)
        return number

    def _learn_traits(self, filing: Filing) -> int:
        traits = traits_of(filing)
        number = self._traits_ids.get(traits)
        if number is None:
            if filing.variant is not None:
                self._learn_word(filing.variant)  # questions compare it with that of documents
            number = self._traits_ids[traits] = self._learn("traits", "body", traits_text(traits))
        return number

    def _learn(self, table: str, column: str, text: str) -> int:
        self._connection.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (text,))
        found = self._connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", (text,))
        return int(found.fetchone()[0])


def _in_key_order(rows: list[Any]) -> list[Any]:
    """Numbers before texts, as SQLite orders them: neighbours go into one page."""
    key: Callable[[Any], Any] = lambda row: (isinstance(row[0], str), row[0], row[2])  # noqa: E731
    return sorted(rows, key=key)
