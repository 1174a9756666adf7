"""A manifest in memory that keeps every promise of the port; it runs the contract suite of the real one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.errors import StoreError
from filingd.core.feed import FeedEvent, FeedKind
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import HOLDING_STATES, LEASED_STATES, Change, Group, Item, State, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from filingd.core.limits import LaneState
    from filingd.core.tombstones import Tombstone


class FakeManifest:
    """All in dictionaries. Open to tests: `rows`, `kept_versions`, `recorded`, and `fail_next_write`."""

    def __init__(self, clock_now: Callable[[], float] = lambda: 0.0) -> None:
        self._clock_now = clock_now
        self.kept_feed = [FeedEvent(1, 0.0, FeedKind.BEGUN, "")]
        self.kept_cursors: dict[str, int] = {}
        self.kept_tombstones: dict[str, Tombstone] = {}
        self.rows: dict[str, Item] = {}
        self.kept_versions: dict[str, dict[int, Version]] = {}
        self.kept_groups: dict[str, Group] = {}
        self.kept_lanes: dict[str, LaneState] = {}
        self.recorded: list[Change] = []
        self.fail_next_write: Exception | None = None
        self.closed = False
        self._touched_elsewhere = False

    async def lease(self, lane: str, now: float, limit: int) -> Sequence[Item]:
        self._before_write()
        due = [
            item
            for item in self.rows.values()
            if item.lane == lane and item.due_at is not None and item.due_at <= _to_the_ms(now)
        ]
        due.sort(key=lambda item: (item.priority, item.due_at, item.key))
        leased = [
            replace(item, state=next_state(item.state, Event.LEASED), due_at=None)
            for item in due[: max(limit, 0)]
        ]
        self.rows.update((item.key, item) for item in leased)
        return leased

    async def record(self, changes: Sequence[Change]) -> None:
        self._before_write()
        staged: dict[str, Item] = {}
        told: list[tuple[FeedKind, str, int]] = []
        applied = [change for change in changes if self._stage(change, staged, told)]
        self._tell(told)
        self.rows.update(staged)
        self.recorded += applied
        for change in applied:
            if change.version is not None:
                version = _rounded_version(change.version)
                self.kept_versions.setdefault(version.key, {})[version.number] = version

    async def next_due_at(self, lane: str) -> float | None:
        self._require_open()
        return min(
            (item.due_at for item in self.rows.values() if item.lane == lane and item.due_at is not None),
            default=None,
        )

    async def items(self, keys: Iterable[str]) -> Mapping[str, Item]:
        self._require_open()
        return {key: self.rows[key] for key in keys if key in self.rows}

    async def group_items(self, group: str) -> Sequence[Item]:
        return [item for item in self._in_order() if item.group == group]

    async def leased_items(self) -> Sequence[Item]:
        return [item for item in self._in_order() if item.state in LEASED_STATES]

    async def page(self, after: str, limit: int, states: frozenset[State] | None = None) -> Sequence[Item]:
        wanted = [
            item for item in self._in_order() if item.key > after and (states is None or item.state in states)
        ]
        return wanted[:limit]

    async def current_versions(self, keys: Iterable[str]) -> Mapping[str, Version]:
        self._require_open()
        return {key: version for key in keys if (version := self._current(key)) is not None}

    async def versions(self, key: str) -> Sequence[Version]:
        self._require_open()
        return [version for _, version in sorted(self.kept_versions.get(key, {}).items())]

    async def note_verified(self, key: str, at: float) -> None:
        self._before_write()
        current = self._current(key)
        if current is not None:
            self.kept_versions[key][current.number] = replace(current, verified_at=_to_the_ms(at))

    async def groups(self, prefix: str = "") -> Sequence[Group]:
        self._require_open()
        return [group for key, group in sorted(self.kept_groups.items()) if key.startswith(prefix)]

    async def save_groups(self, groups: Sequence[Group]) -> None:
        self._before_write()
        by_key = {group.key: group for group in groups}
        before = {key: self._sealed_at(key) for key in by_key}
        now = {key: _maybe_to_the_ms(group.sealed_at) for key, group in by_key.items()}
        self._tell([(FeedKind.SEALED, key, 0) for key in by_key if now[key] not in (None, before[key])])
        self._tell([(FeedKind.REOPENED, key, 0) for key in sorted(by_key)
                    if now[key] is None and before[key] is not None])  # fmt: skip
        for group in groups:
            self.kept_groups[group.key] = replace(
                group,
                opened_at=_to_the_ms(group.opened_at),
                sealed_at=_maybe_to_the_ms(group.sealed_at),
                checked_at=_maybe_to_the_ms(group.checked_at),
            )

    async def counts(self) -> Mapping[State, int]:
        counted = Counter(item.state for item in self._in_order())
        return {state: counted[state] for state in State}

    async def scheduled_counts(self) -> Mapping[str, int]:
        return dict(Counter(item.lane for item in self._in_order() if item.due_at is not None))

    async def lane_states(self) -> Mapping[str, LaneState]:
        self._require_open()
        return dict(self.kept_lanes)

    async def save_lane(self, state: LaneState) -> None:
        self._before_write()
        self.kept_lanes[state.name] = state

    async def feed(self, after: int, limit: int) -> Sequence[FeedEvent]:
        self._require_open()
        return [event for event in self.kept_feed if event.seq > after][:limit]

    async def feed_head(self) -> int:
        self._require_open()
        return self.kept_feed[-1].seq

    async def retell(self, after: int) -> None:
        self._before_write()
        self.kept_feed.append(FeedEvent(after + 1, _to_the_ms(self._clock_now()), FeedKind.BEGUN, ""))
        held = [row for row in self.rows.values() if row.version > 0 and row.state in HOLDING_STATES]
        held.sort(key=lambda row: (row.stored_at or 0.0, row.key))
        self._tell((FeedKind.STORED, row.key, row.version) for row in held)
        sealed = [
            (group.sealed_at, key) for key, group in self.kept_groups.items() if group.sealed_at is not None
        ]
        self._tell((FeedKind.SEALED, key, 0) for _, key in sorted(sealed))
        erased = sorted(key for key, each in self.kept_tombstones.items() if each.erased_at is not None)
        self._tell((FeedKind.FORGOTTEN, key, 0) for key in erased)

    async def cursors(self) -> Mapping[str, int]:
        self._require_open()
        return dict(self.kept_cursors)

    async def save_cursor(self, name: str, seq: int) -> None:
        self._before_write()
        self.kept_cursors[name] = seq

    async def tombstones(self) -> Sequence[Tombstone]:
        self._require_open()
        return [tombstone for _, tombstone in sorted(self.kept_tombstones.items())]

    async def bury(self, tombstones: Sequence[Tombstone]) -> None:
        self._before_write()
        new = {t.subject: t for t in tombstones if t.subject not in self.kept_tombstones}
        for tombstone in tombstones:
            known = self.kept_tombstones.get(tombstone.subject)
            if known is not None:
                self.kept_tombstones[tombstone.subject] = replace(known, erased_at=None, erased={})
        self.kept_tombstones.update({subject: _tombstone_as_kept(t) for subject, t in new.items()})

    async def note_erased(self, subjects: Sequence[str], at: float, erased: Mapping[str, Any]) -> None:
        self._before_write()
        known = self.kept_tombstones
        pending = sorted(
            subject for subject in set(subjects) & known.keys() if known[subject].erased_at is None
        )
        for subject in pending:
            known[subject] = replace(known[subject], erased_at=_to_the_ms(at), erased=dict(erased))
        self._tell((FeedKind.FORGOTTEN, subject, 0) for subject in pending)

    async def drop_versions(self, key: str) -> None:
        self._before_write()
        self.kept_versions.pop(key, None)

    async def drop_older(self, key: str, number: int) -> None:
        self._before_write()
        kept = self.kept_versions.get(key, {})
        older = [known for known in kept if known < number]
        for known in older:
            del kept[known]
        if older:
            self._tell([(FeedKind.OLDER_REMOVED, key, number)])

    async def changed_elsewhere(self) -> bool:
        self._require_open()
        touched, self._touched_elsewhere = self._touched_elsewhere, False
        return touched

    async def close(self) -> None:
        self.closed = True

    def touch_elsewhere(self) -> None:
        """As if another process had written."""
        self._touched_elsewhere = True

    def _sealed_at(self, key: str) -> float | None:
        known = self.kept_groups.get(key)
        return known.sealed_at if known else None

    def _tell(self, events: Iterable[tuple[FeedKind, str, int]]) -> None:
        at = _to_the_ms(self._clock_now())
        for kind, subject, version in events:
            self.kept_feed.append(FeedEvent(self.kept_feed[-1].seq + 1, at, kind, subject, version))

    def _stage(self, change: Change, staged: dict[str, Item], told: list[tuple[FeedKind, str, int]]) -> bool:
        key = change.item.key
        found = staged.get(key) or self.rows.get(key)
        if change.before is None and found is not None:
            return False
        if change.before is not None and (found is None or found.state != change.before):
            has = "is not in the manifest" if found is None else f"is {found.state.name}"
            raise StoreError(f"Item {key} was expected to be {change.before.name} but {has}.")
        if found is not None and found.version > change.item.version:
            raise StoreError(f"Item {key} has version {found.version} already.")
        told += _told_of(change, found)
        staged[key] = _as_kept(change.item)
        return True

    def _current(self, key: str) -> Version | None:
        item = self.rows.get(key)
        return None if item is None else self.kept_versions.get(key, {}).get(item.version)

    def _in_order(self) -> list[Item]:
        self._require_open()
        return [self.rows[key] for key in sorted(self.rows)]

    def _before_write(self) -> None:
        self._require_open()
        if self.fail_next_write is not None:
            error, self.fail_next_write = self.fail_next_write, None
            raise error

    def _require_open(self) -> None:
        if self.closed:
            raise StoreError("The manifest is closed: filingd is stopping.")


def _told_of(change: Change, found: Item | None) -> list[tuple[FeedKind, str, int]]:
    item, had = change.item, found.version if found else 0
    holds = item.state in HOLDING_STATES
    if change.version is not None and change.version.number == item.version and holds:
        was_held = found is not None and found.state in HOLDING_STATES
        is_another = 0 < had < item.version or (had == item.version and was_held)
        return [(FeedKind.REPLACED if is_another else FeedKind.STORED, item.key, item.version)]
    if found is not None and found.state in HOLDING_STATES and not holds:
        return [(FeedKind.LOST, item.key, item.version)]
    return []


def _as_kept(item: Item) -> Item:
    return replace(
        item,
        due_at=None if item.state in LEASED_STATES else _maybe_to_the_ms(item.due_at),
        nothing_at=_maybe_to_the_ms(item.nothing_at),
        stored_at=_maybe_to_the_ms(item.stored_at),
    )


def _rounded_version(version: Version) -> Version:
    return replace(
        version,
        stored_at=_to_the_ms(version.stored_at),
        verified_at=_maybe_to_the_ms(version.verified_at),
    )


def _tombstone_as_kept(tombstone: Tombstone) -> Tombstone:
    return replace(
        tombstone,
        buried_at=_to_the_ms(tombstone.buried_at),
        erased_at=_maybe_to_the_ms(tombstone.erased_at),
    )


def _to_the_ms(at: float) -> float:
    return round(at * 1000) / 1000


def _maybe_to_the_ms(at: float | None) -> float | None:
    return None if at is None else _to_the_ms(at)
