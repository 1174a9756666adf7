"""What a references zip, a query answer and a document zip say of filings (NBB reference, sections 7, 8 and 15).

Every text is taken as filed. Keys are matched whatever their case and underscores; what cannot be understood is kept as an
unknown field rather than lost, and a record of which nothing is understood is refused rather than counted.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.catalogue import ANY_VARIANT, DocumentPlace, Filing
from filingd.registries.nbb.enterprises import enterprise_number
from filingd.registries.nbb.models import folded
from filingd.registries.nbb.payloads import (
    AUTHENTIC_DATA,
    CONVERTED,
    CORRECTED,
    EXTRACTED,
    KNOWN_FIELDS,
    PayloadError,
    reference_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filingd.core.model import Member

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LABEL_IN_NAME = re.compile(r"\d{4}-\d+-(?P<label>.+?)(?:\.[^.]*)?")
_UNIMPROVED_LABELS = frozenset({"reference", "references"})  # section 15.8: `{ref}-reference.json`
_VARIANT_OF_LABEL_END = {"ocr-authentic": EXTRACTED, "euro-authentic": CONVERTED, "corrected": CORRECTED}
_DOCUMENT_KINDS = frozenset({"json", "xbrl", "pdf"})
_TEXTS = {
    "enterprisename": "enterprise_name",
    "depositdate": "deposit_date",
    "modeltype": "model",
    "deposittype": "deposit_type",
    "language": "language",
    "currency": "currency",
    "legalform": "legal_form",
    "dataversion": "data_version",
    "improvementdate": "improvement_date",
    "correcteddata": "corrected_data",
}
_DATES = {"startdate": "exercise_start", "enddate": "exercise_end"}
_folded = functools.lru_cache(maxsize=1024)(folded)  # the same few keys, twenty thousand times a day


# ------------------------------------------------------------------------------------------------- records of filings


def filings_in(data: bytes, *, name: str, member: str | None = None) -> tuple[Filing, ...]:
    """The filings of one JSON text, an object or a list of them: a member of a references zip, or a query answer.

    `name` is what an error calls the text; it may give the reference number that a record lacks. `member` is the member
    it was read from, None for an answer.

    Raises:
        PayloadError: it is no JSON, holds something else than objects, or one without a known field or a reference number.
    """
    try:
        decoded = msgspec.json.decode(data.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"{name} is not JSON ({error}).") from error
    records = decoded if isinstance(decoded, list) else [decoded]
    return tuple(_filing(record, name, member, row) for row, record in enumerate(records))


def _filing(record: object, name: str, member: str | None, row: int) -> Filing:
    if not isinstance(record, dict):
        raise PayloadError(f"{name} holds something else than an object where a filing should be.")
    fields, unknown = _sorted_out(record)
    if not fields:
        raise PayloadError(
            f"{name} parses, but none of its fields is known ({', '.join(list(record)[:5])}…). "
            "The bank may have changed the format."
        )
    taken = _Taken(fields, unknown)
    found: dict[str, Any] = {field: taken.text(key) for key, field in _TEXTS.items()}
    return Filing(
        reference=_reference(taken, name),
        enterprise=_enterprise(taken),
        **found,
        **taken.exercise_dates(),
        variant=_variant_of_data_version(found["data_version"]) or _variant_of_name(member or ""),
        offers_document=taken.presence("accountingdataurl"),
        unknown=unknown,
        member=member,
        row=row,
    )


def _sorted_out(record: Mapping[str, Any]) -> tuple[dict[str, tuple[str, Any]], dict[str, Any]]:
    """Known fields, by folded key, with the key as filed; and all others. Of two spellings of one key, the first with a
    value counts and the other is kept as unknown."""
    fields: dict[str, tuple[str, Any]] = {}
    unknown: dict[str, Any] = {}
    for key, value in record.items():
        plain = _folded(key)
        if plain not in KNOWN_FIELDS:
            unknown[key] = value
        elif fields.get(plain, ("", None))[1] is None:
            fields[plain] = (key, value)
        elif value is not None:
            unknown[key] = value
    return fields, unknown


class _Taken:
    """Takes fields one by one; a value of a kind that was not expected joins the unknown fields."""

    def __init__(self, fields: Mapping[str, tuple[str, Any]], unknown: dict[str, Any]) -> None:
        self._fields = fields
        self._unknown = unknown

    def text(self, plain: str) -> str | None:
        return self._as_text(*self._fields.get(plain, ("", None)))

    def presence(self, plain: str) -> bool | None:
        """Whether the field has a value; None if there is no such field."""
        return bool(self._fields[plain][1]) if plain in self._fields else None

    def number(self, plain: str) -> str | None:
        key, value = self._fields.get(plain, ("", None))
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_integer else self._as_text(key, value)

    def exercise_dates(self) -> dict[str, str | None]:
        """Both dates; `startDate` and `StartDate` both occur, within an object of either casing (section 7.2)."""
        key, value = self._fields.get("exercisedates", ("", None))
        found: dict[str, str | None] = dict.fromkeys(_DATES.values())
        if value is None:
            return found
        if not isinstance(value, dict):
            self._odd(key, value)
            return found
        for name, text in value.items():
            field = _DATES.get(_folded(name))
            if field is None or not (text is None or isinstance(text, str)):
                self._odd(key, value)
            else:
                found[field] = found[field] or text
        return found

    def _as_text(self, key: str, value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        self._odd(key, value)
        return None

    def _odd(self, key: str, value: Any) -> None:
        self._unknown[key] = value


def _reference(taken: _Taken, name: str) -> str:
    reference = taken.text("referencenumber") or reference_of(name)
    if not reference or not reference.isprintable() or " " in reference:
        raise PayloadError(f"{name} has no usable reference number.")
    return reference


def _enterprise(taken: _Taken) -> str | None:
    """The number in its plain form; as filed where it is none; None where there is nothing (the filing is parked)."""
    filed = taken.number("enterprisenumber")
    if filed is None or not filed.strip():
        return None
    return enterprise_number(filed) or filed


# ------------------------------------------------------------------------------------------------- documents


def places_in(kind: str, members: Iterable[Member]) -> tuple[DocumentPlace, ...]:
    """The documents of a zip, told by the names of its members; members that fit no filing are left out.

    The agreement of the day tells of those (see `agreement`).
    """
    found = ((reference_of(member.name), member) for member in members)
    return tuple(_place(reference, kind, m) for reference, m in found if reference and _may_be(kind, m.name))


def _place(reference: str, kind: str, member: Member) -> DocumentPlace:
    return DocumentPlace(
        reference, kind, member.size_bytes, _variant_of_name(member.name), member.name, member.offset,
        member.packed_bytes, member.method, member.crc32,
    )  # fmt: skip


def _may_be(kind: str, name: str) -> bool:
    """Whether it is a file, and its extension does not say that it is one of another kind."""
    extension = name.lower().rpartition(".")[2]
    return not name.endswith("/") and (extension == kind or extension not in _DOCUMENT_KINDS)


# ------------------------------------------------------------------------------------------------- variants


def _variant_of_name(member_name: str) -> str | None:
    """The kind of improvement a member's label speaks of (section 8); None if it has no label."""
    found = _LABEL_IN_NAME.fullmatch(member_name.rpartition("/")[2])
    label = found["label"].lower() if found else ""
    if not label or label in _UNIMPROVED_LABELS:
        return None
    return next((kind for end, kind in _VARIANT_OF_LABEL_END.items() if label.endswith(end)), ANY_VARIANT)


def _variant_of_data_version(data_version: str | None) -> str | None:
    """The kind of improvement a record speaks of (section 6.6), in small letters and one word; None if it is authentic."""
    kind = "_".join((data_version or "").lower().split())
    return None if kind in ("", AUTHENTIC_DATA) else kind
