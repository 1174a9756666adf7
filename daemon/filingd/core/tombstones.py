"""What must not be had again: filings, or everything of an enterprise, that an operator was told to forget.

They lie twice in a store: in the manifest, and as one line of JSON each in `forgotten.jsonl`, which survives a manifest that
is lost. Whatever one of the two says, holds.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Tombstone(msgspec.Struct, frozen=True):
    """One filing or enterprise that was forgotten: its reference or number, when, and why, in the operator's words.

    `erased_at` is when every trace of it was gone; None while that is still to be done. `erased` says what was done then:
    counts, as plain JSON.
    """

    subject: str
    is_enterprise: bool
    buried_at: float
    reason: str = ""
    erased_at: float | None = None
    erased: Mapping[str, Any] = msgspec.field(default_factory=dict)


def line_of(tombstone: Tombstone) -> str:
    """A line of `forgotten.jsonl`, without its end."""
    buried = dt.datetime.fromtimestamp(tombstone.buried_at, dt.UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {
            "subject": tombstone.subject,
            "is_enterprise": tombstone.is_enterprise,
            "buried_at": buried.replace("+00:00", "Z"),
            "reason": tombstone.reason,
        },
        ensure_ascii=False,
    )


def tombstones_in(text: str, path: str) -> Sequence[Tombstone]:
    """The tombstones of a `forgotten.jsonl`, which is called `path` in an error.

    A last line that a death cut off was never promised to anybody and does not count; one that only lacks its end does: an
    editor, or whoever put the file back, may have left it so.

    Raises:
        StoreError: a line is no tombstone. What was to be forgotten could come back, so nobody goes on without it.
    """
    return [
        _tombstone_of(line, number, path)
        for number, line in enumerate(text[: whole_length(text)].split("\n"), 1)
        if line.strip()
    ]


def whole_length(text: str) -> int:
    """Up to where a `forgotten.jsonl` is whole: its end, unless its last line was cut off."""
    end = text.rfind("\n") + 1
    try:
        is_whole = isinstance(json.loads(text[end:]), dict)
    except ValueError:
        is_whole = False
    return len(text) if is_whole else end


def _tombstone_of(line: str, number: int, path: str) -> Tombstone:
    try:
        told = json.loads(line)
        buried_at = dt.datetime.fromisoformat(told["buried_at"]).timestamp()
        found = Tombstone(told["subject"], told["is_enterprise"], buried_at, str(told.get("reason", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_tombstone(line, number, path, repr(error)) from error
    if not (isinstance(found.subject, str) and found.subject and isinstance(found.is_enterprise, bool)):
        raise _no_tombstone(line, number, path, "subject or is_enterprise is of another kind")
    return found


def _no_tombstone(line: str, number: int, path: str, why: str) -> StoreError:
    return StoreError(
        f"{path}, line {number}, is no tombstone ({why}): {line[:80]!r}. What was to be forgotten might come back, so "
        "nothing is done. Mend the line, or take it out and run `filingd forget` for it again."
    )


def unknown_of(found: Iterable[Tombstone], known: Iterable[Tombstone]) -> list[Tombstone]:
    """Those of `found` whose subject no known tombstone has."""
    subjects = {tombstone.subject for tombstone in known}
    new: dict[str, Tombstone] = {}
    for tombstone in found:
        if tombstone.subject not in subjects:
            new.setdefault(tombstone.subject, tombstone)
    return list(new.values())
