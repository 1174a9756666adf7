"""Searches: what a query means, and an index that finds its lines among any number of seeded companies.

Matching is by whole words in one name, and by whole values in one address (KVK reference, section 2); case and accents of
the query must be right but for upper and lower case. A shielded address is found by its town alone.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING

from filingd.sandbox.kvk.registrations import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filingd.sandbox.kvk.registrations import Address, Row, RowType
    from filingd.sandbox.kvk.seeded import SeededCompanies

_ROW_BITS, _PART_BITS = 7, 3  # at most 128 lines of a company, at most 8 names or addresses of a line
_DOTS, _WORDS = re.compile(r"\."), re.compile(r"\w+")
_SCATTER = 2_654_435_761
_KEPT_RESULTS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Criteria:
    """What is searched for; what is empty or None is not asked."""

    company: str = ""
    branch: str = ""
    rsin: str = ""
    words: tuple[str, ...] = ()
    street: str = ""
    number: int | None = None
    letter: str = ""
    postcode: str = ""
    po_box: int | None = None
    town: str = ""
    kinds: frozenset[RowType] = frozenset()
    is_with_inactive: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is searched for; a type alone is no criterion."""
        return dataclasses.replace(self, kinds=frozenset(), is_with_inactive=False) == Criteria()

    @property
    def asks_address(self) -> bool:
        """Whether any part of an address is asked."""
        return bool(self._address_tokens)

    @property
    def _address_tokens(self) -> frozenset[str]:
        asked = {
            "street": self.street.casefold(), "number": self.number, "letter": self.letter.upper(),
            "postcode": self.postcode, "box": self.po_box, "town": self.town.casefold(),
        }  # fmt: skip
        return frozenset(f"{part}={value}" for part, value in asked.items() if value not in ("", None))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a name: `B.V.` is one of them."""
    return tuple(_WORDS.findall(_DOTS.sub("", text).casefold()))


def address_tokens(address: Address) -> frozenset[str]:
    """What an address is found by."""
    if address.foreign is not None:
        return frozenset()
    town = f"town={address.town.casefold()}"
    if address.is_shielded:
        return frozenset({town})
    facts = {
        "street": address.street.casefold(), "number": address.number or "", "letter": address.letter.upper(),
        "postcode": address.postcode, "box": address.po_box or "",
    }  # fmt: skip
    return frozenset({town, *(f"{part}={value}" for part, value in facts.items() if value)})


def matches(row: Row, criteria: Criteria) -> bool:
    """Whether a line is found."""
    return (
        criteria.company in ("", row.company)
        and criteria.branch in ("", row.branch)
        and criteria.rsin in ("", row.rsin)
        and (not criteria.kinds or row.kind in criteria.kinds)
        and (row.is_active or criteria.is_with_inactive)
        and (not criteria.words or matched_name(row, criteria) is not None)
        and (not criteria.asks_address or matched_address(row, criteria) is not None)
    )


def matched_name(row: Row, criteria: Criteria) -> str | None:
    """The name that has all the words, the expired one last."""
    wanted = set(criteria.words)
    known = (*row.names, row.expired_name) if row.expired_name else row.names
    return next((name for name in known if wanted <= set(words_of(name))), None)


def matched_address(row: Row, criteria: Criteria) -> Address | None:
    """The address that has everything asked."""
    wanted = criteria._address_tokens  # noqa: SLF001 - the two halves of one rule
    return next((address for address in row.addresses if wanted <= address_tokens(address)), None)


class SeededIndex:
    """Which lines of the seeded companies each word and each part of an address is in: numbers, not lines.

    Built in one pass over all companies; needs about 160 bytes a company.
    """

    def __init__(self, companies: SeededCompanies) -> None:
        self._companies = companies
        self._names: dict[str, array[int]] = defaultdict(_numbers)
        self._addresses: dict[str, array[int]] = defaultdict(_numbers)
        self._kinds: dict[str, array[int]] = defaultdict(_numbers)
        self._active = array("Q")
        for place in range(len(companies)):
            for ordinal, row in enumerate(rows_of(companies.at(place))):
                self._add(place << _ROW_BITS | ordinal, row)
        self.found = functools.lru_cache(maxsize=_KEPT_RESULTS)(self._found)

    def _add(self, line: int, row: Row) -> None:
        self._kinds[row.kind].append(line)
        if row.is_active:
            self._active.append(line)
        for part, name in enumerate(row.names):
            for word in set(words_of(name)):
                self._names[word].append(line << _PART_BITS | part)
        for part, address in enumerate(row.addresses):
            for token in address_tokens(address):
                self._addresses[token].append(line << _PART_BITS | part)

    def _found(self, criteria: Criteria) -> tuple[int, ...]:
        """The lines of a search by name or address, in an order that means nothing."""
        parts = []
        if criteria.words:
            parts.append(_in_all(self._names, set(criteria.words)))
        if criteria.asks_address:
            parts.append(_in_all(self._addresses, criteria._address_tokens))  # noqa: SLF001 - as above
        lines = set.intersection(*parts)
        if criteria.kinds:
            lines &= set().union(*(self._kinds[kind] for kind in criteria.kinds if kind in self._kinds))
        if not criteria.is_with_inactive:
            lines &= set(self._active)
        return tuple(sorted(lines, key=scattered))

    def row(self, line: int) -> Row:
        """A line by its number."""
        return rows_of(self._companies.at(place_of(line)))[line & (1 << _ROW_BITS) - 1]


def place_of(line: int) -> int:
    """The place of the company that a line is about."""
    return line >> _ROW_BITS


def scattered(line: int) -> int:
    """A key to sort by that puts a company's lines far apart."""
    return line * _SCATTER % 2**32


def _in_all(postings: dict[str, array[int]], tokens: Iterable[str]) -> set[int]:
    """The lines of which one and the same name (or address) is in every posting list."""
    lists = sorted((postings.get(token, _numbers()) for token in tokens), key=len)
    common = set(lists[0])
    for posting in lists[1:]:
        common.intersection_update(posting)
    return {entry >> _PART_BITS for entry in common}


def _numbers() -> array[int]:
    return array("Q")
