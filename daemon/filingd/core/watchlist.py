"""Watchlists: which companies an operator follows, and on what terms. The text of a list in, numbers out, and back.

A line is a number, and behind a comma, semicolon or tab whatever its writer wants to remember. What begins with `#` is a
comment. The first line may be a header. How a number is written and checked is for the registry to say: numbers are
opaque texts here, in the registry's plain form.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from filingd.core.errors import FilingdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    PlainNumber = Callable[[str], str]  # raises CompanyNumberError
    Remark = Callable[[str], str | None]

_COMMENT = "#"
_NOTE_BEGINS = re.compile(r"[,;\t]")
_SHOWN_CHARACTERS = 60
# As editors count lines: a note may hold any other sign that Unicode calls a separator.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_BYTE_ORDER_MARK = "\ufeff"


T = TypeVar("T", bound="Terms")


class CompanyNumberError(FilingdError):
    """A text is no number of a company. Says why, and what to write."""


class SearchError(FilingdError):
    """A text is no saved search. Says why, and what to write."""


class Terms(Protocol):
    """How a company is followed, as its registry understands it. A value: compared, hashed, united."""

    @property
    def refresh_interval_s(self) -> float:
        """After how long what the registry knows of a company is asked for again, if nothing else is said."""
        ...

    def __or__(self, other: Any) -> Any:
        """Terms that satisfy both; the other are of the same kind."""
        ...

    def words(self) -> Sequence[str]:
        """The terms in words, a few for each."""
        ...


class Search(Protocol):
    """A saved search, as its registry understands it. A value: compared, hashed."""

    def words(self) -> Sequence[str]:
        """The search in words, a few for each of its parts."""
        ...


class Entry(msgspec.Struct, frozen=True):
    """One good line: the number in its plain form, and the note behind it as it was written."""

    number: str
    note: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One line that is not as it should be: its place in the list from 1, its value, what is wrong and what to do.

    `is_bad` says that the line counts for nothing; `is_remark` that its number counts, and is worth another look; else it is
    there already.
    """

    line: int
    value: str
    text: str
    is_bad: bool = True
    is_remark: bool = False


class SavedSearch(msgspec.Struct, frozen=True):
    """A search that is asked again and again, and on which terms those are followed that it finds."""

    search: Search
    terms: Terms


class Reading(msgspec.Struct, frozen=True):
    """What the lists say together: companies with their terms, by number; how many each list names; what is wrong with them,
    in whole sentences, the first `findings` of `finding_count`; and the saved searches, by name.

    `is_complete` is False if there may be lists that were never read: then nothing says that somebody is not followed any more.
    """

    watched: Mapping[str, Terms]
    counts: Mapping[str, int]
    findings: tuple[str, ...] = ()
    finding_count: int = 0
    is_complete: bool = True
    searches: Mapping[str, SavedSearch] = msgspec.field(default_factory=dict)


# ------------------------------------------------------------------------------------------------- reading


def lines_of(text: str, plain: PlainNumber, remark: Remark | None = None) -> Iterator[Entry | Finding]:
    """The entries of a list in their order, and its faults among them. `remark` tells what is worth knowing of a number that
    can be used: it follows the entry as a finding."""
    seen: dict[str, int] = {}
    may_be_header = True
    for position, found in enumerate(_LINE.finditer(text.removeprefix(_BYTE_ORDER_MARK)), 1):
        line = found[0]
        if _says_nothing(line):
            continue
        field, note = _split(line)
        is_header, may_be_header = may_be_header and _is_header(field), False
        if is_header:
            continue
        read = _read(position, field, note, plain, seen)
        yield read
        told = remark(field) if remark is not None and isinstance(read, Entry) else None
        if told is not None:
            yield Finding(position, shown(field), told, is_bad=False, is_remark=True)


def _read(position: int, field: str, note: str, plain: PlainNumber, seen: dict[str, int]) -> Entry | Finding:
    try:
        number = plain(field)
    except CompanyNumberError as error:
        return Finding(position, shown(field), str(error))
    if number in seen:
        return Finding(
            position, shown(field), f"Line {seen[number]} has it already; remove one.", is_bad=False
        )
    seen[number] = position
    return Entry(number, note)


def gathered(lists: Iterable[tuple[Iterable[str], T]]) -> dict[str, T]:
    """The companies of several lists, by number in order. Who stands in several is followed on the terms of all."""
    found: dict[str, T] = {}
    unions: dict[tuple[T, T], T] = {}  # one object for each, however many companies share it
    for numbers, terms in lists:
        for number in numbers:
            known = found.get(number, terms)
            found[number] = known if known is terms else unions.setdefault((known, terms), known | terms)
    return {number: found[number] for number in sorted(found)}


def shown(value: str) -> str:
    """A value of a list as a message may quote it."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in value[:_SHOWN_CHARACTERS])
    return printable + ("…" if len(value) > _SHOWN_CHARACTERS else "")


def _says_nothing(line: str) -> bool:
    bare = line.strip()
    return not bare or bare.startswith(_COMMENT)


def _split(line: str) -> tuple[str, str]:
    field, *rest = _NOTE_BEGINS.split(line, maxsplit=1)
    return field.strip().strip('"').strip(), rest[0].strip() if rest else ""


def _is_header(field: str) -> bool:
    return not any(sign.isdigit() for sign in field)


# ------------------------------------------------------------------------------------------------- editing


def with_entries(text: str, entries: Iterable[Entry], plain: PlainNumber) -> tuple[str, list[str], list[str]]:
    """The list with more companies at its end; which numbers were added, and which were there already.

    Everything that is there stays as it is.
    """
    there = {line.number for line in lines_of(text, plain) if isinstance(line, Entry)}
    added: dict[str, Entry] = {}
    known: dict[str, None] = {}
    for entry in entries:
        if entry.number in there:
            known[entry.number] = None
        else:
            added.setdefault(entry.number, entry)
    ending = _line_ending(text)
    body = text if not text or text.endswith(("\n", "\r")) else text + ending
    return body + "".join(_written(entry) + ending for entry in added.values()), list(added), list(known)


def without_numbers(
    text: str, numbers: Sequence[str], plain: PlainNumber
) -> tuple[str, list[str], list[str]]:
    """The list without these companies; which numbers were removed, and which were not there. Other lines stay as they are."""
    unwanted = dict.fromkeys(numbers)
    removed: dict[str, None] = {}
    kept: list[str] = []
    for line in _LINE.findall(text):
        number = _number_in(line, plain)
        if number is not None and number in unwanted:
            removed[number] = None
        else:
            kept.append(line)
    return "".join(kept), list(removed), [number for number in unwanted if number not in removed]


def _number_in(line: str, plain: PlainNumber) -> str | None:
    bare = line.removeprefix(_BYTE_ORDER_MARK)
    if _says_nothing(bare):
        return None
    try:
        return plain(_split(bare)[0])
    except CompanyNumberError:
        return None


def _written(entry: Entry) -> str:
    note = " ".join(entry.note.split())
    return f"{entry.number},{note}" if note else entry.number


def _line_ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
