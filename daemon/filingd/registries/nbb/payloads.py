"""What is inside the zips (NBB reference, sections 7, 8 and 15).

Casing of keys changed once without notice, so keys are matched whatever their case and underscores, and a file that
parses but holds no known field is refused rather than counted.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.errors import FilingdError
from filingd.registries.nbb.models import folded, model_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from filingd.core.model import Member

# Section 7.2, all nineteen, as `folded` spells them.
KNOWN_FIELDS = frozenset(
    {
        "referencenumber", "depositdate", "exercisedates", "modeltype", "deposittype", "language", "currency",
        "enterprisenumber", "enterprisename", "address", "legalform", "legalsituation", "fullfilllegalvalidation",
        "activitycode", "generalassemblydate", "accountingdataurl", "dataversion", "improvementdate", "correcteddata",
    }
)  # fmt: skip
NO_MODEL = "?"
_REFERENCE_IN_NAME = re.compile(r"(\d{4}-\d+)(?![0-9A-Za-z])")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_UNKNOWN_FIELDS = 20  # enough to see what changed, bounded whatever arrives
_MAX_FIELD_NAME = 60
_MAX_MODELS = 100  # more than there are; bounded whatever arrives
_EXTENSIONS = frozenset({".json", ".xbrl", ".pdf"})
AUTHENTIC_DATA = "authentic"  # what a row says that does not say it is improved
# Section 6.6: what the bank made of a filing, as `DataVersion` says it.
EXTRACTED, CONVERTED, CORRECTED = "pdf_extracted", "euro_converted", "corrected"
UNKNOWN_KIND = "?"
_LABEL_ENDS = {"ocr-authentic": EXTRACTED, "euro-authentic": CONVERTED, "corrected": CORRECTED}  # section 8


class PayloadError(FilingdError):
    """A member of a references zip is not what it should be."""


def reference_of(member_name: str) -> str | None:
    """The reference number a member name begins with: `{ref}.json` and `{ref}-reference.json` both occur (section 15.8)."""
    found = _REFERENCE_IN_NAME.match(_base_name(member_name))
    return found[1] if found else None


def is_pdf_only(model_type: str) -> bool:
    """Whether a filing of this model was filed as PDF, so that no JSON and no XBRL exist (section 7.2)."""
    return model_type.lower().endswith("-p")


# ------------------------------------------------------------------------------------------------- the references zip


class ReferencesInspector:
    """Reads every JSON member of a references zip while it passes; notes reference, model and data version of each
    filing in it.

    A member of another kind is left alone; having no note, it keeps the day open (see `strangers_in`).
    """

    def __init__(self) -> None:
        self._filings = 0
        self._pdf_only = 0
        self._without_enterprise = 0
        self._without_model = 0
        self._known_fields: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._unknown_fields: Counter[str] = Counter()
        self._casings: set[str] = set()

    def wants(self, name: str) -> bool:
        """Whether the member is called a JSON file."""
        return name.lower().endswith(".json")

    def member(self, name: str, data: bytes) -> str | None:
        """Take one member: an object, or a list of them. The note has one line for each: `reference model`, and
        the data version behind it where that is another than authentic.

        Raises:
            PayloadError: it is no JSON, or nothing in it is known.
        """
        try:
            decoded = msgspec.json.decode(data.removeprefix(_BYTE_ORDER_MARK))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PayloadError(f"{name} in the references zip is not JSON ({error}).") from error
        records = decoded if isinstance(decoded, list) else [decoded]
        return "\n".join(self._take(name, record) for record in records) or None

    def facts(self) -> Mapping[str, Any]:
        """Counts over all members; `fields`, `unknown_fields` and `models` say in how many filings each was seen."""
        return {
            "filings": self._filings,
            "pdf_only": self._pdf_only,
            "without_enterprise": self._without_enterprise,
            "without_model": self._without_model,
            "known_fields": len(self._known_fields),
            "fields": dict(sorted(self._known_fields.items())),
            "models": dict(sorted(self._models.items())),
            "unknown_fields": dict(sorted(self._unknown_fields.items())),
            "casing": "+".join(sorted(self._casings)),
        }

    def _take(self, name: str, record: object) -> str:
        if not isinstance(record, dict):
            raise PayloadError(f"{name} in the references zip holds no object.")
        fields = {folded(key): value for key, value in record.items()}
        if not KNOWN_FIELDS & fields.keys():
            raise PayloadError(
                f"{name} in the references zip parses, but none of its fields is known "
                f"({', '.join(list(record)[:5])}…). The bank may have changed the format."
            )
        reference = fields.get("referencenumber") or reference_of(name)
        if not _is_word(reference):
            raise PayloadError(f"{name} in the references zip has no usable reference number.")
        model = fields.get("modeltype")
        data_version = _data_version(fields.get("dataversion"))
        self._count(fields, has_model=_is_word(model))
        self._note_fields(record)
        line = f"{reference} {model if _is_word(model) else NO_MODEL}"
        return line if data_version == AUTHENTIC_DATA else f"{line} {data_version}"

    def _count(self, fields: Mapping[str, object], *, has_model: bool) -> None:
        self._filings += 1
        self._pdf_only += has_model and is_pdf_only(str(fields["modeltype"]))
        self._without_model += not has_model
        if has_model:
            self._note_model(model_of(str(fields["modeltype"]))[:_MAX_FIELD_NAME])
        self._without_enterprise += not fields.get("enterprisenumber")

    def _note_model(self, model: str) -> None:
        if model in self._models or len(self._models) < _MAX_MODELS:
            self._models[model] += 1

    def _note_fields(self, record: Mapping[str, object]) -> None:
        for key in record:
            plain, shown = folded(key), key[:_MAX_FIELD_NAME]
            if plain in KNOWN_FIELDS:
                self._known_fields[plain] += 1
                self._casings.add("pascal" if key[:1].isupper() else "camel")
            elif shown in self._unknown_fields or len(self._unknown_fields) < _MAX_UNKNOWN_FIELDS:
                self._unknown_fields[shown] += 1


def filings_of(members: Iterable[Member]) -> dict[str, str]:
    """Reference number to model type, over the members of a references zip, from the notes its inspector left.

    A filing that is listed twice counts as filed as PDF only if both lines say so: the more is expected of the zips.
    """
    found: dict[str, str] = {}
    for reference, model, _ in _noted(members):
        if reference not in found or is_pdf_only(found[reference]):
            found[reference] = model
    return found


def improvements_of(members: Iterable[Member]) -> frozenset[tuple[str, str]]:
    """Reference number and data version of every line of an improved references zip, from the notes of its inspector."""
    return frozenset((reference, data_version) for reference, _, data_version in _noted(members))


def strangers_in(members: Iterable[Member]) -> tuple[str, ...]:
    """The members of a references zip in which no filing was found."""
    return tuple(member.name for member in _files(members) if not member.note)


def _noted(members: Iterable[Member]) -> Iterator[tuple[str, str, str]]:
    for member in members:
        for line in member.note.split("\n") if member.note else ():
            reference, _, rest = line.partition(" ")
            model, _, data_version = rest.partition(" ")
            yield reference, model, data_version or AUTHENTIC_DATA


def _data_version(value: object) -> str:
    """As `DataVersion` says it, in small letters and in one word; what is not said is authentic."""
    return "_".join(value.lower().split()) if isinstance(value, str) and value.strip() else AUTHENTIC_DATA


def _is_word(value: object) -> bool:
    """Whether it can stand in a note: a text without blanks."""
    return isinstance(value, str) and bool(value) and not any(sign.isspace() for sign in value)


# ------------------------------------------------------------------------------------------------- a document zip


@dataclass(frozen=True, slots=True)
class Documents:
    """What a document zip holds, by reference number. The two other fields name members that fit no filing."""

    references: frozenset[str]
    repeated: tuple[str, ...]  # references that more than one member claims
    strangers: tuple[str, ...]  # no reference number in the name, or a file of another dataset


def documents_in(dataset: str, members: Iterable[Member]) -> Documents:
    """The filings a document zip holds, told by the names of its members (section 8)."""
    found: Counter[str] = Counter()
    strangers: list[str] = []
    for member in _files(members):
        reference = reference_of(member.name)
        if reference is None or not _may_be(dataset, member.name):
            strangers.append(member.name)
        else:
            found[reference] += 1
    repeated = tuple(sorted(reference for reference, count in found.items() if count > 1))
    return Documents(frozenset(found), repeated, tuple(strangers))


@dataclass(frozen=True, slots=True)
class Improvements:
    """What an improved JSON zip holds: reference numbers with the kinds their labels speak of.

    `of_unknown_kind` counts the members of each label nobody knows yet; they stand for any kind of their filing.
    """

    kinds: Mapping[str, frozenset[str]]  # by reference
    of_unknown_kind: Mapping[str, int]  # by label
    strangers: tuple[str, ...]

    def has(self, reference: str, kind: str) -> bool:
        """Whether some member may be what the line of a filing speaks of."""
        return not self.kinds.get(reference, frozenset()).isdisjoint({kind, UNKNOWN_KIND})


def improvements_in(members: Iterable[Member]) -> Improvements:
    """The improved documents of a zip, told by the names of its members: `{ref}-{label}.json` (section 8)."""
    kinds: dict[str, set[str]] = {}
    unknown: Counter[str] = Counter()
    strangers: list[str] = []
    for member in _files(members):
        reference = reference_of(member.name)
        if reference is None or not _may_be("json", member.name):
            strangers.append(member.name)
            continue
        label = _base_name(member.name).rpartition(".")[0].removeprefix(reference).strip("-").lower()
        kind = _kind_of_label(label)
        kinds.setdefault(reference, set()).add(kind)
        unknown[label] += kind == UNKNOWN_KIND
    held = {reference: frozenset(found) for reference, found in kinds.items()}
    return Improvements(held, dict(+unknown), tuple(strangers))


def _kind_of_label(label: str) -> str:
    return next((kind for end, kind in _LABEL_ENDS.items() if label.endswith(end)), UNKNOWN_KIND)


def _may_be(dataset: str, name: str) -> bool:
    """Whether the extension does not say that this is a file of another dataset."""
    base = _base_name(name).lower()
    extension = base[base.rfind(".") :]
    return extension == f".{dataset}" or extension not in _EXTENSIONS


def _files(members: Iterable[Member]) -> Sequence[Member]:
    return [member for member in members if not member.name.endswith("/")]


def file_count(members: Iterable[Member]) -> int:
    """How many members are files, not folders."""
    return len(_files(members))


def _base_name(name: str) -> str:
    return name.rpartition("/")[2]
