"""Values to rows and back. Instants are kept to the millisecond, a UUID as 16 bytes, empty JSON as NULL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from filingd.core.feed import FeedEvent, FeedKind
from filingd.core.limits import LaneState
from filingd.core.model import LEASED_STATES, Group, Item, State, Version
from filingd.core.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = tuple[Any, ...]

ITEM_COLUMNS = (
    "key, lane_id, state, priority, due_ms, version, attempts, reason, "
    "nothing_count, nothing_ms, size_bytes, sha256, stored_ms"
)
VERSION_COLUMNS = (
    "key, number, path, size_bytes, sha256, stored_ms, route_id, "
    "request_id, etag, content_digest, member_count, verified_ms, facts"
)
GROUP_COLUMNS = "key, opened_ms, sealed_ms, checked_ms, reasons, facts"
LANE_STATE_COLUMNS = (
    "name, boot_id, reserved_until_s, parked_until_at, parked_for_s, "
    "park_reason, slowdown, strikes, key_index, throttles, blocks"
)
FEED_COLUMNS = "seq, at_ms, kind, subject, version"
TOMBSTONE_COLUMNS = "subject, is_enterprise, buried_ms, reason, erased_ms, erased"

_STATES = {int(state): state for state in State}
_UUID_LENGTH = 36


def to_ms(at: float | None) -> int | None:
    """An instant as it is kept: whole milliseconds, to the nearest. Rounding up or down would not survive
    being read and written again."""
    return None if at is None else round(at * 1000)


def from_ms(ms: int | None) -> float | None:
    """An instant in seconds."""
    return None if ms is None else ms / 1000


def item_row(item: Item, lane_id: int) -> Row:
    """A row of `items`. A leased item is never scheduled, whatever its `due_at` says."""
    state = item.state
    due_at, nothing_at, stored_at = item.due_at, item.nothing_at, item.stored_at
    return (
        item.key,
        lane_id,
        int(state),
        item.priority,
        None if due_at is None or state in LEASED_STATES else to_ms(due_at),
        item.version,
        item.attempts,
        item.reason,
        item.nothing_count,
        None if nothing_at is None else to_ms(nothing_at),
        item.size_bytes,
        item.sha256,
        None if stored_at is None else to_ms(stored_at),
    )


def item_from(row: Row, lane: str) -> Item:
    """The item of a row of `items`."""
    (
        key,
        _,
        state,
        priority,
        due_ms,
        version,
        attempts,
        reason,
        nothing_count,
        nothing_ms,
        size,
        sha256,
        stored_ms,
    ) = row
    return Item(
        key,
        lane,
        _STATES[state],
        priority,
        from_ms(due_ms),
        attempts,
        reason,
        nothing_count,
        from_ms(nothing_ms),
        size,
        sha256,
        from_ms(stored_ms),
        version,
    )


def version_row(version: Version, route_id: int) -> Row:
    """A row of `versions`."""
    return (
        version.key,
        version.number,
        version.path,
        version.size_bytes,
        version.sha256,
        to_ms(version.stored_at),
        route_id,
        _packed_id(version.request_id),
        version.etag,
        version.content_digest,
        version.member_count,
        to_ms(version.verified_at),
        _packed_json(version.facts),
    )


def version_from(row: Row, route: str) -> Version:
    """The version of a row of `versions`."""
    key, number, path, size, sha256, stored_ms, _, request_id, etag, digest, members, verified_ms, facts = row
    return Version(
        key=key,
        number=number,
        path=path,
        size_bytes=size,
        sha256=sha256,
        stored_at=stored_ms / 1000,
        route=route,
        request_id=_unpacked_id(request_id),
        etag=etag,
        content_digest=digest,
        member_count=members,
        verified_at=from_ms(verified_ms),
        facts=_unpacked_json(facts),
    )


def group_row(group: Group) -> Row:
    """A row of `groups`."""
    return (
        group.key,
        to_ms(group.opened_at),
        to_ms(group.sealed_at),
        to_ms(group.checked_at),
        json.dumps(group.reasons, ensure_ascii=False) if group.reasons else None,
        _packed_json(group.facts),
    )


def group_from(row: Row) -> Group:
    """The group of a row of `groups`."""
    key, opened_ms, sealed_ms, checked_ms, reasons, facts = row
    return Group(
        key=key,
        opened_at=opened_ms / 1000,
        sealed_at=from_ms(sealed_ms),
        checked_at=from_ms(checked_ms),
        reasons=tuple(json.loads(reasons)) if reasons else (),
        facts=_unpacked_json(facts),
    )


def lane_state_row(state: LaneState) -> Row:
    """A row of `lane_states`; its seconds are kept as they are, they guard a promise."""
    return (
        state.name,
        state.boot_id,
        state.reserved_until_s,
        state.parked_until_at,
        state.parked_for_s,
        state.park_reason,
        state.slowdown,
        state.strikes,
        state.key_index,
        state.throttles,
        state.blocks,
    )


def lane_state_from(row: Row) -> LaneState:
    """The lane state of a row of `lane_states`."""
    return LaneState(*row)


def feed_event_from(row: Row) -> FeedEvent:
    """The event of a row of `feed`."""
    seq, at_ms, kind, subject, version = row
    return FeedEvent(seq, at_ms / 1000, FeedKind(kind), subject, version)


def tombstone_row(tombstone: Tombstone) -> Row:
    """A row of `tombstones`."""
    return (
        tombstone.subject,
        int(tombstone.is_enterprise),
        to_ms(tombstone.buried_at),
        tombstone.reason,
        to_ms(tombstone.erased_at),
        _packed_json(tombstone.erased),
    )


def tombstone_from(row: Row) -> Tombstone:
    """The tombstone of a row of `tombstones`."""
    subject, is_enterprise, buried_ms, reason, erased_ms, erased = row
    return Tombstone(
        subject, bool(is_enterprise), buried_ms / 1000, reason, from_ms(erased_ms), _unpacked_json(erased)
    )


def _packed_json(facts: Mapping[str, Any]) -> str | None:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"), sort_keys=True) if facts else None


def _unpacked_json(text: str | None) -> Mapping[str, Any]:
    return json.loads(text) if text else {}


def _packed_id(request_id: str) -> str | bytes:
    if len(request_id) != _UUID_LENGTH:
        return request_id
    try:
        packed = bytes.fromhex(request_id.replace("-", ""))
    except ValueError:
        return request_id
    return packed if _unpacked_id(packed) == request_id else request_id


def _unpacked_id(packed: str | bytes) -> str:
    if isinstance(packed, str):
        return packed
    digits = packed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
