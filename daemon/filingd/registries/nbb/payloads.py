"""What is inside the zips (NBB reference, sections 7, 8 and 15).

Casing of keys changed once without notice, so keys are matched whatever their case and underscores, and a file that
parses but holds no known field is refused rather than counted.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.errors import FilingdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from filingd.core.model import Member

# Section 7.2, all nineteen, as `folded` spells them.
KNOWN_FIELDS = frozenset(
    {
        "referencenumber", "depositdate", "exercisedates", "modeltype", "deposittype", "language", "currency",
        "enterprisenumber", "enterprisename", "address", "legalform", "legalsituation", "fullfilllegalvalidation",
        "activitycode", "generalassemblydate", "accountingdataurl", "dataversion", "improvementdate", "correcteddata",
    }
)  # fmt: skip
_REFERENCE = re.compile(r"\d{4}-\d+")
_MAX_UNKNOWN_FIELDS = 20  # enough to see what changed, bounded whatever arrives


class PayloadError(FilingdError):
    """A member of a references zip is not what it should be."""


def folded(key: str) -> str:
    """A key without case and underscores."""
    return key.replace("_", "").lower()


def reference_of(member_name: str) -> str | None:
    """The reference number in a member name: `{ref}.json` and `{ref}-reference.json` both occur (section 15.8)."""
    found = _REFERENCE.match(member_name.rpartition("/")[2])
    return found.group() if found else None


def is_pdf_only(model_type: str) -> bool:
    """Whether a filing of this model was filed as PDF, so that no JSON and no XBRL exist (section 7.2)."""
    return model_type.endswith("-p")


class ReferencesInspector:
    """Reads every member of a references zip while it passes; keeps reference and model as the member's note."""

    def __init__(self) -> None:
        self._filings = 0
        self._pdf_only = 0
        self._without_enterprise = 0
        self._known_fields: set[str] = set()
        self._unknown_fields: set[str] = set()
        self._casings: Counter[str] = Counter()

    def wants(self, name: str) -> bool:
        """Every file is looked at; what is no JSON is an error, not something to pass over."""
        return not name.endswith("/")

    def member(self, name: str, data: bytes) -> str | None:
        """Take one member: an object, or a list of them.

        Raises:
            PayloadError: it is no JSON, or nothing in it is known.
        """
        try:
            decoded = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise PayloadError(f"{name} in the references zip is not JSON ({error}).") from error
        records = decoded if isinstance(decoded, list) else [decoded]
        return "\n".join(self._take(name, record) for record in records)

    def facts(self) -> Mapping[str, Any]:
        """Counts over all members."""
        return {
            "filings": self._filings,
            "pdf_only": self._pdf_only,
            "without_enterprise": self._without_enterprise,
            "known_fields": len(self._known_fields),
            "unknown_fields": sorted(self._unknown_fields),
            "casing": "+".join(sorted(self._casings)),
        }

    def _take(self, name: str, record: object) -> str:
        if not isinstance(record, dict):
            raise PayloadError(f"{name} in the references zip holds no object.")
        fields = {folded(key): value for key, value in record.items()}
        known = KNOWN_FIELDS & fields.keys()
        if not known:
            raise PayloadError(
                f"{name} in the references zip parses, but none of its fields is known "
                f"({', '.join(list(record)[:5])}…). The bank may have changed the format."
            )
        self._count(record, fields, known)
        reference = fields.get("referencenumber") or reference_of(name)
        if not isinstance(reference, str) or not reference:
            raise PayloadError(f"{name} in the references zip has no reference number.")
        return f"{reference} {fields.get('modeltype') or '?'}"

    def _count(
        self, record: Mapping[str, object], fields: Mapping[str, object], known: frozenset[str]
    ) -> None:
        self._filings += 1
        self._pdf_only += is_pdf_only(str(fields.get("modeltype") or ""))
        self._without_enterprise += not fields.get("enterprisenumber")
        self._known_fields |= known
        if len(self._unknown_fields) < _MAX_UNKNOWN_FIELDS:
            self._unknown_fields |= fields.keys() - KNOWN_FIELDS
        self._casings["pascal" if next(iter(record))[:1].isupper() else "camel"] += 1


def filings_of(members: Iterable[Member]) -> dict[str, str]:
    """Reference number to model type, over the members of a references zip, from the notes its inspector left."""
    return dict(pair for member in members for pair in _noted(member))


def references_of(members: Iterable[Member]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The reference numbers a document zip holds, and the member names that carry none."""
    found: set[str] = set()
    odd: list[str] = []
    for member in members:
        if member.name.endswith("/"):
            continue
        reference = reference_of(member.name)
        if reference is None:
            odd.append(member.name)
        else:
            found.add(reference)
    return frozenset(found), tuple(odd)


def _noted(member: Member) -> Iterator[tuple[str, str]]:
    for line in (member.note or "").splitlines():
        reference, _, model = line.partition(" ")
        yield reference, model
