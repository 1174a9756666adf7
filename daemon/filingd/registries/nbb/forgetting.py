"""What of the bodies of NBB CBSO is of a forgotten filing or enterprise (NBB reference, sections 3, 7 and 8).

A filing is told by its reference number: in the key of an item, in the name of a member, in a record. Of which enterprise it
is, only records say: whoever finds one that is of a forgotten enterprise learns a reference that is forgotten as well.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from filingd.core.forgetting import Fate
from filingd.registries.nbb.enterprises import enterprise_number
from filingd.registries.nbb.filings import filings_in
from filingd.registries.nbb.payloads import PayloadError
from filingd.registries.nbb.records import PREFIX as RECORDS
from filingd.registries.nbb.timeline import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Collection

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import Member

_OF_FILING = re.compile(r"nbb/(?:documents|improved-documents|records)/(?P<reference>[^/]+)/[^/]+")
_OF_ENTERPRISE = re.compile(r"nbb/enterprises/(?P<number>[^/]+)/(?P<leaf>[^/]+)")
_OF_DAY = re.compile(r"nbb/[a-z]+/\d{4}-\d\d-\d\d/(?P<dataset>[a-z]+)", re.ASCII)
_REFERENCE = re.compile(r"\d{4}-\d+", re.ASCII)
_NAMED = re.compile(r"(?<![0-9])\d{4}-\d+(?![0-9])", re.ASCII)
_NAMED_BYTES = re.compile(rb"(?<![0-9])\d{4}-\d+(?![0-9])")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def subject_of(text: str) -> tuple[str, bool] | None:
    """Reference or enterprise number in plain form, and whether it is an enterprise; None if it can be neither."""
    bare = text.strip()
    if _REFERENCE.fullmatch(bare):
        return bare, False
    number = enterprise_number(bare)
    return (number, True) if number is not None else None


def is_forgotten(key: str, forgotten: Forgotten) -> bool:
    """Whether an item is a document of a forgotten filing, or an answer about a forgotten enterprise."""
    if filing := _OF_FILING.fullmatch(key):
        return filing["reference"] in forgotten.references
    enterprise = _OF_ENTERPRISE.fullmatch(key)
    return enterprise is not None and enterprise["number"] in forgotten.enterprises


def scrub(key: str, forgotten: Forgotten) -> Scrub | None:
    """What of a body of the item is forgotten; None if it is of one filing alone, or nothing is forgotten."""
    if not (forgotten.references or forgotten.enterprises):
        return None
    if day := _OF_DAY.fullmatch(key):
        return NbbScrub(forgotten, has_records=day["dataset"] == REFERENCES)
    if enterprise := _OF_ENTERPRISE.fullmatch(key):
        return NbbScrub(forgotten, has_records=True, owner=enterprise["number"])
    return NbbScrub(forgotten, has_records=True) if key.startswith(f"{RECORDS}/") else None


class _Left(NamedTuple):
    """What is left of a JSON text: the records that stay; None if all of them do."""

    records: list[bytes] | None


class NbbScrub:
    """See `core.forgetting.Scrub`. `has_records` says that there are records of filings in the body, in JSON; `owner` of which
    enterprise all of them are, whether they say so or not."""

    def __init__(self, forgotten: Forgotten, *, has_records: bool, owner: str | None = None) -> None:
        self._owner = owner
        self._forgotten = forgotten
        self._has_records = has_records
        self._found: set[str] = set()

    @property
    def found(self) -> Collection[str]:
        return self._found

    def suspects(self, member: Member) -> bool:
        if self._is_named_in(member.name):
            return True
        if not self.wants(member.name):
            return False
        # A note tells which filings the records are of (see `payloads.ReferencesInspector`), but not whose they are.
        return bool(self._forgotten.enterprises) or member.note is None or self._is_named_in(member.note)

    def wants(self, name: str) -> bool:
        return self._has_records and name.lower().endswith(".json")

    def member(self, name: str, data: bytes | None) -> Fate | bytes:
        """A member whose name speaks of a forgotten filing goes as a whole, any other as far as its records do."""
        left = self._left_of(data, name) if data is not None else None
        if self._is_named_in(name):
            return Fate.GONE
        if left is None or left.records is None:
            return Fate.KEPT
        return _list_of(left.records) if left.records else Fate.GONE

    def document(self, data: bytes) -> bytes | None:
        """An answer that lists filings keeps the others; one that lists no other becomes an empty list."""
        left = self._left_of(data, "the answer")
        return None if left is None or left.records is None else _list_of(left.records)

    def names(self, data: bytes) -> bool:
        found = _NAMED_BYTES.findall(data)
        return any(one.decode("ascii") in self._forgotten.references for one in found)

    def is_hidden_in(self, kind: str) -> bool:
        """Records are packed; a document is told by its member's name, which never is."""
        return self._has_records and kind == "zip"

    def _is_named_in(self, text: str) -> bool:
        return not self._forgotten.references.isdisjoint(_NAMED.findall(text))

    def _left_of(self, data: bytes, name: str) -> _Left | None:
        """The records of a JSON text that stay; None if nothing in it is understood, so that its name alone tells."""
        try:
            filings = filings_in(data, name=name, member=name)
        except PayloadError:
            return None
        gone = set()
        for filing in filings:
            if not self._forgotten.enterprises.isdisjoint({filing.enterprise, self._owner}):
                self._note(filing.reference)
                gone.add(filing.row)
            elif filing.reference in self._forgotten.references:
                gone.add(filing.row)
        if not gone:
            return _Left(None)
        return _Left([record for row, record in enumerate(_raw_records(data)) if row not in gone])

    def _note(self, reference: str) -> None:
        if reference not in self._forgotten.references:
            self._found.add(reference)


def _raw_records(data: bytes) -> list[bytes]:
    """Each record of a list as it was written; an object by itself is the only one."""
    text = data.removeprefix(_BYTE_ORDER_MARK).strip()
    if not text.startswith(b"["):
        return [text]
    return [bytes(record) for record in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _list_of(records: list[bytes]) -> bytes:
    return b"[" + b",\n".join(records) + b"]"
