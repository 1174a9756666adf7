"""An event of the feed as consumers get it: a line of `filingd changes`, or what a hook reads.

Fields may be added; they are never renamed or removed.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from filingd.core.feed import FeedKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.feed import FeedEvent
    from filingd.core.model import Version


def _says(meaning: str) -> Meta:
    return Meta(description=meaning)


_OF_ITEMS = frozenset({FeedKind.STORED, FeedKind.REPLACED, FeedKind.LOST, FeedKind.OLDER_REMOVED})
_OF_GROUPS = frozenset({FeedKind.SEALED, FeedKind.REOPENED})


Kind = Literal["begun", "stored", "replaced", "lost", "sealed", "reopened", "forgotten", "older_removed"]


class ChangeLine(Struct, frozen=True):
    """One event. Which of the optional fields are there follows from its kind."""

    seq: Annotated[int, _says("its number: it rises from event to event and is never used twice")]
    at: Annotated[str, _says("when it was recorded, UTC, to the millisecond: 2026-11-20T11:00:00.123Z")]
    kind: Annotated[
        Kind,
        _says("what happened; more kinds may come: pass over what you do not know"),
    ]
    key: Annotated[
        str | UnsetType,
        _says("of stored, replaced, lost, older_removed: the item, such as nbb/authentic/2026-11-20/json"),
    ] = UNSET
    group: Annotated[
        str | UnsetType, _says("of sealed, reopened: the day, such as nbb/authentic/2026-11-20")
    ] = UNSET
    subject: Annotated[
        str | UnsetType, _says("of forgotten: the reference of the filing, or the number of the enterprise")
    ] = UNSET
    version: Annotated[
        int | UnsetType,
        _says(
            "of stored, replaced, lost: the number of the body, from 1 for each item; of older_removed: that of the body that "
            "is kept. Whoever holds a copy of an older one should let it go, too"
        ),
    ] = UNSET
    path: Annotated[
        str | UnsetType,
        _says(
            "where that body was put, relative to the store; absent, as the next two, if nothing is known of it any more. "
            "After the next version it lies under versions/"
        ),
    ] = UNSET
    size_bytes: Annotated[int | UnsetType, _says("its size")] = UNSET
    sha256: Annotated[
        str | UnsetType, _says("its SHA-256, hexadecimal: tells whether `path` still holds this body")
    ] = UNSET
    facts: Annotated[
        dict[str, Any] | UnsetType,
        _says(
            "of a record about one company: its `name`, `non_mailing` (whether the address may not be used for unsolicited "
            "post; null if the record does not say) and `shielded` (whether an address is); absent of all else"
        ),
    ] = UNSET


_TOLD_FACTS = ("non_mailing", "shielded", "name")  # what whoever uses a record has to know


def line_of(event: FeedEvent, version: Version | None) -> bytes:
    """The line of an event, with its end. `version` is the one the event speaks of, if anything is known of it."""
    return msgspec.json.encode(change_of(event, version)) + b"\n"


def change_of(event: FeedEvent, version: Version | None) -> ChangeLine:
    """The same as a value."""
    is_of_item = event.kind in _OF_ITEMS
    return ChangeLine(
        seq=event.seq,
        at=_iso(event.at),
        kind=cast("Kind", event.kind.name.lower()),
        key=event.subject if is_of_item else UNSET,
        group=event.subject if event.kind in _OF_GROUPS else UNSET,
        subject=event.subject if event.kind is FeedKind.FORGOTTEN else UNSET,
        version=event.version if is_of_item else UNSET,
        path=version.path if version else UNSET,
        size_bytes=version.size_bytes if version else UNSET,
        sha256=version.sha256.hex() if version else UNSET,
        facts=_told_facts(version.facts) if version else UNSET,
    )


def _told_facts(facts: Mapping[str, Any]) -> dict[str, Any] | UnsetType:
    told = {name: facts[name] for name in _TOLD_FACTS if name in facts}
    return told or UNSET


def _iso(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
