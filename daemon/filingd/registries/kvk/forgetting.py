"""What of the bodies of KVK is of a forgotten number (KVK reference, sections 6, 7 and 13).

An operator forgets a company by its KVK number or its RSIN, or a single branch by its number. What is about a company alone goes
as a whole; its branches are learned from whatever body names them and go as well; its rows go out of search results.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.forgetting import Fate
from filingd.core.model import leaf_of
from filingd.core.watchlist import CompanyNumberError
from filingd.registries.kvk import profiles, searches
from filingd.registries.kvk.numbers import is_branch, is_rsin, passes_eleven_test, plain_number
from filingd.registries.kvk.operations import PARTS_OF_COMPANY
from filingd.registries.kvk.payloads import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import Member

_COMPANY, _RSIN, _BRANCH = "kvkNummer", "rsin", "vestigingsnummer"
_NUMBER_FIELDS = (_COMPANY, _RSIN, _BRANCH)
_RESULTS = "resultaten"
_DIGITS = re.compile(rb"(?<![0-9])(?:[0-9]{12}|[0-9]{8,9})(?![0-9])")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def subject_of(text: str) -> tuple[str, bool] | None:
    """A number in plain form, and whether it is a company's (KVK number or RSIN); None if it can be none of KVK's.

    Nothing is repaired here: what is forgotten is gone, and a shortened number may be of another registry.
    """
    bare = re.sub(r"[\s.]+", "", text)
    try:
        number = plain_number(bare)
    except CompanyNumberError:
        return None
    if number not in bare or (is_rsin(number) and not passes_eleven_test(number)):
        return None
    return number, not is_branch(number)


def is_forgotten(key: str, forgotten: Forgotten) -> bool:
    """Whether an item is about a forgotten number."""
    if not key.startswith(f"{profiles.PREFIX}/"):
        return False
    return profiles.number_of(key) in forgotten.enterprises | forgotten.references


def scrub(key: str, forgotten: Forgotten) -> Scrub | None:
    """What of a body of the item is forgotten; None if nothing can be."""
    gone = forgotten.enterprises | forgotten.references
    if not gone or not key.startswith((f"{profiles.PREFIX}/", f"{searches.PREFIX}/")):
        return None
    is_of_company = key.startswith(f"{profiles.PREFIX}/") and leaf_of(key) in PARTS_OF_COMPANY
    return KvkScrub(gone, profiles.number_of(key) if is_of_company else None)


class KvkScrub:
    """See `core.forgetting.Scrub`. `owner` is the company that a body is about as a whole, if its key says so."""

    def __init__(self, gone: frozenset[str], owner: str | None = None) -> None:
        self._gone = gone
        self._owner = owner
        self._found: set[str] = set()

    @property
    def found(self) -> Collection[str]:
        return self._found

    def suspects(self, member: Member) -> bool:  # noqa: ARG002 - no body is a zip
        return False

    def wants(self, name: str) -> bool:  # noqa: ARG002 - no body is a zip
        return False

    def member(self, name: str, data: bytes | None) -> Fate | bytes:  # noqa: ARG002 - no body is a zip
        return Fate.KEPT

    def document(self, data: bytes) -> bytes | None:
        """A row of results that is of a forgotten number leaves a mark, so that the others still add up; a body that is of one
        becomes nothing but that mark, and what it names is found."""
        try:
            decoded = msgspec.json.decode(data.removeprefix(_BYTE_ORDER_MARK))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if not isinstance(decoded, dict) or decoded == LEFT_OUT:
            return None
        if self._owner in self._gone or self._is_gone(decoded) or self._is_gone(_owner_in(decoded)):
            self._learn(decoded)
            return msgspec.json.encode(LEFT_OUT)
        left = self._left_of(decoded)
        return None if left == decoded else msgspec.json.encode(left)

    def names(self, data: bytes) -> bool:
        return any(found.decode("ascii") in self._gone for found in _DIGITS.findall(data))

    def is_hidden_in(self, kind: str) -> bool:
        """In nothing but what is packed."""
        return kind == "zip"

    def _is_gone(self, record: Mapping[str, Any]) -> bool:
        return any(
            record.get(field) in self._gone for field in _NUMBER_FIELDS if isinstance(record.get(field), str)
        )

    def _left_of(self, value: object, key: str = "") -> object:
        """A value without the records in it that are of a forgotten number."""
        if isinstance(value, dict):
            kept = {name: inner for name, inner in value.items() if not self._is_gone_record(inner)}
            return {name: self._left_of(inner, name) for name, inner in kept.items()}
        if not isinstance(value, list):
            return value
        mark = [LEFT_OUT] if key == _RESULTS else []
        return [
            left for one in value for left in (mark if self._is_gone_record(one) else [self._left_of(one)])
        ]

    def _is_gone_record(self, value: object) -> bool:
        if not isinstance(value, dict) or not self._is_gone(value):
            return False
        self._learn(value)
        return True

    def _learn(self, record: Mapping[str, Any]) -> None:
        """What belongs to a company that is forgotten: its own number where an RSIN was forgotten, and its branches.

        Of a branch that is forgotten nothing else is: its company stays.
        """
        owner = _owner_in(record)
        companies = {self._owner, record.get(_COMPANY), record.get(_RSIN), owner.get(_RSIN)}
        if self._gone.isdisjoint(companies):
            return
        found = {one for inner in _records(record) for one in (inner.get(_COMPANY), inner.get(_BRANCH))}
        if self._owner is not None:
            found.add(self._owner)
        self._found |= {one for one in found if isinstance(one, str)} - self._gone


def _owner_in(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The owner that a basisprofiel embeds; it has the RSIN."""
    embedded = record.get("_embedded")
    owner = embedded.get("eigenaar") if isinstance(embedded, dict) else None
    return owner if isinstance(owner, dict) else {}


def _records(value: object) -> Iterator[Mapping[str, Any]]:
    """Every object in a value, itself included."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _records(one)
