"""What has to go out of stored bodies because an operator was told to forget it: as values, and as a question to a registry.

A *tombstone* says what is forgotten; a *scrub* says what of one body that is. Bodies are scrubbed before they get a final
name, and those that have one already when a tombstone is new (see `engine.forgetting`).
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from filingd.core.catalogue import Forgotten
from filingd.core.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from filingd.core.model import Member

FORGOTTEN_REASON = "forgotten"  # of an item that is never asked for again
TAKEN_OUT = (
    "forgotten"  # of a version's facts: how many members of the zip were taken out, or had records taken out
)
FOUND_REASON = "of an enterprise that is forgotten"  # of a tombstone that nobody ordered by itself
_CLAIM = "forgetting"  # of an item whose body is being exchanged for what is left of it
_CLAIMED = re.compile(
    rf"{_CLAIM} (?P<number>[0-9]+) (?P<sha256>-|[0-9a-f]+) (?P<due>-|[0-9.e+-]*[0-9])(?: (?P<reason>.+))?",
    re.DOTALL,
)


class Fate(enum.Enum):
    """What becomes of a body or a member."""

    KEPT = "kept"
    GONE = "gone"


class Scrub(Protocol):
    """What of one body is forgotten. Pure; made by a registry for one item and used for one of its bodies.

    What is not a zip is judged by `document`, the members of a zip by `member`, which says `Fate`, or the bytes that take
    the place of those that were given.
    """

    @property
    def found(self) -> Collection[str]:
        """References that turned out, while the body was looked at, to be of a forgotten enterprise."""
        ...

    def suspects(self, member: Member) -> bool:
        """Whether a member of a zip, as its index tells of it, may have to go: then the zip has to be looked into."""
        ...

    def wants(self, name: str) -> bool:
        """Whether `member` has to be given the inflated bytes."""
        ...

    def member(self, name: str, data: bytes | None) -> Fate | bytes:
        """What becomes of a member; `data` is None if it was not wanted."""
        ...

    def document(self, data: bytes) -> bytes | None:
        """What takes the place of a body that is no zip; None if it stays as it is."""
        ...

    def names(self, data: bytes) -> bool:
        """Whether raw bytes, of a body that cannot be read, speak of what is forgotten as far as can be seen."""
        ...

    def is_hidden_in(self, kind: str) -> bool:
        """Whether a body of this kind that cannot be read may hide what is forgotten from `names`."""
        ...


class Traces(NamedTuple):
    """What was, or would be, taken out of one body: how many members, and how many bytes less it is."""

    members: int
    size_bytes: int


class Claim(NamedTuple):
    """What the row of an item says while one of its bodies is exchanged for what is left of it.

    `number` is that of the version. `sha256` is the digest of what is left, in hexadecimal, once that is known; `reason`
    and `due_at` are what the row said before: a leased row keeps no date.
    """

    number: int
    sha256: str = ""
    reason: str | None = None
    due_at: float | None = None

    def text(self) -> str:
        """As the reason of a row."""
        due = "-" if self.due_at is None else repr(self.due_at)
        return f"{_CLAIM} {self.number} {self.sha256 or '-'} {due} {self.reason or ''}".rstrip()


def claim_of(reason: str | None) -> Claim | None:
    """The claim a row speaks of, if it does."""
    found = _CLAIMED.fullmatch(reason or "")
    if found is None:
        return None
    due_at = None if found["due"] == "-" else float(found["due"])
    return Claim(int(found["number"]), found["sha256"].strip("-"), found["reason"], due_at)


def forgotten_by(tombstones: Iterable[Tombstone]) -> Forgotten:
    """What some tombstones stand for."""
    references: set[str] = set()
    enterprises: set[str] = set()
    for tombstone in tombstones:
        (enterprises if tombstone.is_enterprise else references).add(tombstone.subject)
    return Forgotten(frozenset(references), frozenset(enterprises))


def found_tombstones(found: Iterable[str], forgotten: Forgotten, now: float) -> list[Tombstone]:
    """The tombstones of references that turned out to be of a forgotten enterprise, without those that are there already."""
    new = sorted(set(found) - forgotten.references)
    return [Tombstone(reference, False, now, FOUND_REASON) for reference in new]


def redacted(text: str, forgotten: Forgotten) -> str:
    """A text about a body, without what it may quote of it."""
    for subject in (*forgotten.references, *forgotten.enterprises):
        if subject in text:
            text = text.replace(subject, "(forgotten)")
    return text
