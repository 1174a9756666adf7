"""What can be changed in the manifest, inside a transaction of the caller.

The interpreter lock is given away and taken back at every step of a statement, and against a busy event loop
each return costs up to a switch interval. So rows are checked as one JSON text and written many to a
statement: a few steps a batch, not a few a row.
"""

# Statements are put together from constants of these modules; values only ever travel as parameters.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from filingd.adapters.manifest_queries import DUE_ITEMS, DUE_PRIORITIES, Queries
from filingd.adapters.manifest_rows import (
    GROUP_COLUMNS,
    ITEM_COLUMNS,
    LANE_STATE_COLUMNS,
    TOMBSTONE_COLUMNS,
    VERSION_COLUMNS,
    Row,
    group_row,
    item_row,
    lane_state_row,
    to_ms,
    tombstone_row,
    version_row,
)
from filingd.core.errors import StoreError
from filingd.core.feed import FeedKind
from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import HOLDING_STATES, LEASED_STATES, Change, Group, Item, State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filingd.core.limits import LaneState
    from filingd.core.tombstones import Tombstone

MOST_ROWS_A_STATEMENT = 64  # 64 rows of 13 columns stay under 999 parameters, the smallest limit in use

# The first columns of a row, in its order: what a row has now can be compared with what it will have.
_STANDINGS = (
    "SELECT json_group_array(json_array(key, lane_id, state, priority, due_ms, version)) "
    "FROM items WHERE key IN (SELECT value FROM json_each(?))"
)
_KEY, _LANE_ID, _STATE, _DUE_MS, _VERSION = 0, 1, 2, 4, 5
_SEALED_MS = 2  # in a row of `groups`
_WRITE_ITEMS = (
    f"INSERT OR ROLLBACK INTO items ({ITEM_COLUMNS}) VALUES ",
    " ON CONFLICT (key) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in ITEM_COLUMNS.split(", ")[1:]),
)
_WRITE_VERSIONS = (f"REPLACE INTO versions ({VERSION_COLUMNS}) VALUES ", "")
_WRITE_GROUPS = (f"REPLACE INTO groups ({GROUP_COLUMNS}) VALUES ", "")
_WRITE_LANE_STATES = (f"REPLACE INTO lane_states ({LANE_STATE_COLUMNS}) VALUES ", "")
_WRITE_FEED = ("INSERT INTO feed (at_ms, kind, subject, version) VALUES ", "")
_WRITE_TOMBSTONES = (f"INSERT INTO tombstones ({TOMBSTONE_COLUMNS}) VALUES ", "")
_SEALED = "SELECT key, sealed_ms FROM groups WHERE sealed_ms IS NOT NULL AND key IN (SELECT value FROM json_each(?))"
_BURIED = "SELECT subject FROM tombstones WHERE subject IN (SELECT value FROM json_each(?))"
_PENDING = (
    "SELECT subject FROM tombstones WHERE erased_ms IS NULL "
    "AND subject IN (SELECT value FROM json_each(?)) ORDER BY subject"
)
_ERASE_AGAIN = (
    "UPDATE tombstones SET erased_ms = NULL, erased = NULL "
    "WHERE erased_ms IS NOT NULL AND subject IN (SELECT value FROM json_each(?))"
)
_NOTE_ERASED = (
    "UPDATE tombstones SET erased_ms = ?, erased = ? WHERE subject IN (SELECT value FROM json_each(?))"
)
_RETELL_ITEMS = (
    "INSERT INTO feed (at_ms, kind, subject, version) SELECT ?, ?, key, version FROM items "
    "WHERE version > 0 AND state IN (SELECT value FROM json_each(?)) ORDER BY stored_ms, key"
)
_RETELL_GROUPS = (
    "INSERT INTO feed (at_ms, kind, subject, version) SELECT ?, ?, key, 0 FROM groups "
    "WHERE sealed_ms IS NOT NULL ORDER BY sealed_ms, key"
)
_RETELL_ERASED = (
    "INSERT INTO feed (at_ms, kind, subject, version) SELECT ?, ?, subject, 0 FROM tombstones "
    "WHERE erased_ms IS NOT NULL ORDER BY subject"
)
_COUNT_STATES = (
    "INSERT INTO state_counts (state, items) VALUES ",
    " ON CONFLICT (state) DO UPDATE SET items = items + excluded.items",
)
_COUNT_SCHEDULED = (
    "INSERT INTO scheduled_counts (lane_id, items) VALUES ",
    " ON CONFLICT (lane_id) DO UPDATE SET items = items + excluded.items",
)
_LEASE = "UPDATE items SET state = ?, due_ms = NULL WHERE key IN (SELECT value FROM json_each(?))"
_NOTE_VERIFIED = (
    "UPDATE versions SET verified_ms = ?1 WHERE key = ?2 "
    "AND number = (SELECT version FROM items WHERE items.key = ?2)"
)


class Lease(NamedTuple):
    """Items taken from the schedule, as they were and as they are."""

    before: Sequence[Item]
    leased: Sequence[Item]


class Told(NamedTuple):
    """What is to be told in the feed."""

    kind: FeedKind
    subject: str
    version: int = 0


class Draft:
    """Rows about to be written, checked against what the rows have now. Touches no database."""

    def __init__(self, found: Mapping[str, Sequence[Any]]) -> None:
        self._found = found
        self.items: dict[str, Row] = {}
        self.versions: dict[tuple[str, int], Row] = {}
        self.events: list[Told] = []

    def take(self, changes: Iterable[tuple[State | None, Row, Row | None]]) -> None:
        """Take all changes of one call, or none: the state before, the new row, and its version's.

        Raises:
            StoreError: a row does not have the state that the change says it had.
        """
        rows: dict[str, Row] = {}
        versions: dict[tuple[str, int], Row] = {}
        events: list[Told] = []
        for before, row, version in changes:
            key = row[_KEY]
            found = rows.get(key) or self.items.get(key) or self._found.get(key)
            if not _fits(before, row, found):
                continue
            rows[key] = row
            if version is not None:
                versions[version[0], version[1]] = version
            events += _told(row, version, found)
        self.items.update(rows)
        self.versions.update(versions)
        self.events += events

    def deltas(self) -> tuple[list[Row], list[Row]]:
        """How the number of items in each state changes, and of those scheduled on each lane."""
        states: Counter[int] = Counter()
        lanes: Counter[int] = Counter()
        for key, row in self.items.items():
            _tally(states, lanes, row, 1)
            if key in self._found:
                _tally(states, lanes, self._found[key], -1)
        return _moved(states), _moved(lanes)


def _is_forgotten(item: Item) -> bool:
    return item.state is State.ABSENT and item.reason == FORGOTTEN_REASON


def _tally(states: Counter[int], lanes: Counter[int], row: Sequence[Any], count: int) -> None:
    states[row[_STATE]] += count
    if row[_DUE_MS] is not None:
        lanes[row[_LANE_ID]] += count


def _moved(counts: Counter[int]) -> list[Row]:
    return [(name, count) for name, count in counts.items() if count]


def _told(row: Row, version: Row | None, found: Sequence[Any] | None) -> list[Told]:
    """What a change of an item means to those who use its body; a version that is not the current one means nothing."""
    key, number = row[_KEY], row[_VERSION]
    had = found[_VERSION] if found is not None else 0
    if version is not None and version[1] == number and row[_STATE] in HOLDING_STATES:
        was_held = found is not None and found[_STATE] in HOLDING_STATES
        is_another = 0 < had < number or (had == number and was_held)
        return [Told(FeedKind.REPLACED if is_another else FeedKind.STORED, key, number)]
    is_lost = found is not None and found[_STATE] in HOLDING_STATES and row[_STATE] not in HOLDING_STATES
    return [Told(FeedKind.LOST, key, number)] if is_lost else []


def _fits(before: State | None, row: Row, found: Sequence[Any] | None) -> bool:
    """Whether a change applies. A new item that is there already is left as it is: plans may be repeated."""
    if before is None:
        return found is None
    has = _unlike(before, row[_VERSION], found)
    if has is not None:
        raise StoreError(
            f"Item {row[_KEY]} was expected to be {before.name} but {has}: it was changed meanwhile. "
            "Nothing was recorded for it; it will be looked at again."
        )
    return True


def _unlike(before: State, version: int, found: Sequence[Any] | None) -> str | None:
    """How a row differs from what a change was decided on. A version number never goes back: a row with a higher one
    came to the same state again by way of another body."""
    if found is None:
        return "is not in the manifest"
    if found[_STATE] != before:
        return f"is {State(found[_STATE]).name}"
    return None if found[_VERSION] <= version else f"has version {found[_VERSION]} already"


class Statements(Queries):
    """Questions and changes on one connection that writes."""

    def __init__(self, connection: sqlite3.Connection, clock_now: Callable[[], float]) -> None:
        """`clock_now` gives the instant of what is told in the feed, in unix seconds."""
        super().__init__(connection)
        self._clock_now = clock_now
        self._identifiers: dict[tuple[str, str], int] = {}

    def rolled_back(self) -> None:
        """Forget what a transaction that was rolled back may have taught."""
        self._identifiers.clear()
        for names in self._names.values():
            names.clear()

    def record(self, calls: Sequence[Sequence[Change]]) -> list[Exception | None]:
        """Write the changes of several callers, sorted by key; says for each what was wrong, if anything.

        A call is taken whole or refused whole; a refused one does not touch the others.
        """
        draft = Draft(self._standings([change.item.key for call in calls for change in call]))
        outcomes = [self._draft(draft, call) for call in calls]
        self._write(_WRITE_ITEMS, [draft.items[key] for key in sorted(draft.items)])
        self._write(_WRITE_VERSIONS, [draft.versions[key] for key in sorted(draft.versions)])
        states, lanes = draft.deltas()
        self._write(_COUNT_STATES, states)
        self._write(_COUNT_SCHEDULED, lanes)
        self._tell(draft.events)
        return outcomes

    def lease(self, lane: str, now: float, limit: int) -> Lease:
        """Take what is due on a lane, by priority, then due time, then key."""
        due = self._due(lane, to_ms(now) or 0, limit)
        leased: dict[State, list[str]] = {}
        taken = [self._taken(item) for item in due]
        for item in taken:
            leased.setdefault(item.state, []).append(item.key)
        for state, keys in leased.items():
            self._connection.execute(_LEASE, (int(state), json.dumps(keys)))
        self._count_leased(lane, due, taken)
        return Lease(due, taken)

    def retry(self, keys: Sequence[str], now: float) -> list[str]:
        """Schedule items for now; what is leased or forgotten is left alone. Returns the keys of those that were changed."""
        known = [item for _, item in sorted(self.items(keys).items()) if item.state not in LEASED_STATES]
        idle = [item for item in known if not _is_forgotten(item)]
        changes = [
            Change(
                item.state,
                replace(item, state=next_state(item.state, Event.RETRIED), due_at=now, attempts=0),
            )
            for item in idle
        ]
        self.record([changes])
        return [item.key for item in idle]

    def note_verified(self, key: str, at: float) -> None:
        self._connection.execute(_NOTE_VERIFIED, (to_ms(at), key))

    def save_groups(self, groups: Sequence[Group]) -> None:
        rows = {group.key: group_row(group) for group in groups}
        sealed = dict(self._connection.execute(_SEALED, (json.dumps(list(rows)),)).fetchall())
        self._write(_WRITE_GROUPS, [rows[key] for key in sorted(rows)])
        self._tell(_told_of_seals(sealed, {key: row[_SEALED_MS] for key, row in rows.items()}))

    def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """See `ports.Manifest`."""
        rows = {tombstone.subject: tombstone_row(tombstone) for tombstone in tombstones}
        wanted = json.dumps(list(rows))
        for (buried,) in self._connection.execute(_BURIED, (wanted,)).fetchall():
            del rows[buried]
        self._connection.execute(_ERASE_AGAIN, (wanted,))
        self._write(_WRITE_TOMBSTONES, list(rows.values()))

    def note_erased(self, subjects: Sequence[str], at: float, erased: Mapping[str, Any]) -> None:
        """See `ports.Manifest`."""
        wanted = json.dumps(sorted(subjects))
        pending = [subject for (subject,) in self._connection.execute(_PENDING, (wanted,)).fetchall()]
        told = json.dumps(erased, sort_keys=True) if erased else None
        self._connection.execute(_NOTE_ERASED, (to_ms(at), told, json.dumps(pending)))
        self._tell([Told(FeedKind.FORGOTTEN, subject) for subject in pending])

    def drop_versions(self, key: str) -> None:
        """See `ports.Manifest`."""
        self._connection.execute("DELETE FROM versions WHERE key = ?", (key,))

    def drop_older(self, key: str, number: int) -> None:
        """See `ports.Manifest`."""
        dropped = self._connection.execute("DELETE FROM versions WHERE key = ? AND number < ?", (key, number))
        if dropped.rowcount:
            self._tell([Told(FeedKind.OLDER_REMOVED, key, number)])

    def save_cursor(self, name: str, seq: int) -> None:
        """See `ports.Manifest`."""
        self._connection.execute("REPLACE INTO cursors (name, seq) VALUES (?, ?)", (name, seq))

    def retell(self, after: int) -> None:
        """See `ports.Manifest`."""
        at_ms = to_ms(self._clock_now())
        begun = (after + 1, at_ms, int(FeedKind.BEGUN))
        self._connection.execute(
            "INSERT INTO feed (seq, at_ms, kind, subject, version) VALUES (?, ?, ?, '', 0)", begun
        )
        holding = json.dumps([int(state) for state in HOLDING_STATES])
        self._connection.execute(_RETELL_ITEMS, (at_ms, int(FeedKind.STORED), holding))
        self._connection.execute(_RETELL_GROUPS, (at_ms, int(FeedKind.SEALED)))
        self._connection.execute(_RETELL_ERASED, (at_ms, int(FeedKind.FORGOTTEN)))

    def begin_feed(self, after: int) -> None:
        """Begin the feed (anew), with numbers above any that were used."""
        self._connection.execute("DELETE FROM feed")
        self._connection.execute(
            "INSERT INTO feed (seq, at_ms, kind, subject, version) VALUES (?, ?, ?, '', 0)",
            (after + 1, to_ms(self._clock_now()), int(FeedKind.BEGUN)),
        )

    def save_lane(self, state: LaneState) -> None:
        self._write(_WRITE_LANE_STATES, [lane_state_row(state)])

    def _tell(self, events: Sequence[Told]) -> None:
        if events:
            at_ms = to_ms(self._clock_now())
            self._write(
                _WRITE_FEED, [(at_ms, int(kind), subject, version) for kind, subject, version in events]
            )

    def _draft(self, draft: Draft, call: Sequence[Change]) -> Exception | None:
        try:
            draft.take([self._rows_of(change) for change in call])
        except StoreError as error:
            return error
        return None

    def _rows_of(self, change: Change) -> tuple[State | None, Row, Row | None]:
        version = change.version
        return (
            change.before,
            item_row(change.item, self._identifier("lanes", change.item.lane)),
            None if version is None else version_row(version, self._identifier("routes", version.route)),
        )

    def _standings(self, keys: Sequence[str]) -> dict[str, Sequence[Any]]:
        (text,) = self._connection.execute(_STANDINGS, (json.dumps(keys),)).fetchone()
        return {standing[_KEY]: standing for standing in json.loads(text)}

    def _due(self, lane: str, now_ms: int, limit: int) -> list[Item]:
        lane_id = self._known_lane(lane)
        if lane_id is None or limit <= 0:
            return []
        sought = {"lane": lane_id, "now": now_ms, "limit": limit}
        rows: list[Row] = []
        for (priority,) in self._connection.execute(DUE_PRIORITIES, sought).fetchall():
            room = limit - len(rows)
            if room == 0:
                break
            rows += self._connection.execute(DUE_ITEMS, (lane_id, priority, now_ms, room)).fetchall()
        return self._as_items(rows)

    @staticmethod
    def _taken(item: Item) -> Item:
        return Item(
            item.key,
            item.lane,
            next_state(item.state, Event.LEASED),
            item.priority,
            None,
            item.attempts,
            item.reason,
            item.nothing_count,
            item.nothing_at,
            item.size_bytes,
            item.sha256,
            item.stored_at,
            item.version,
        )

    def _count_leased(self, lane: str, before: Sequence[Item], after: Sequence[Item]) -> None:
        if not before:
            return
        deltas = Counter(int(item.state) for item in after)
        deltas.subtract(int(item.state) for item in before)
        self._write(_COUNT_STATES, list(deltas.items()))
        self._write(_COUNT_SCHEDULED, [(self._identifier("lanes", lane), -len(before))])

    def _identifier(self, table: str, name: str) -> int:
        identifier = self._identifiers.get((table, name))
        if identifier is None:
            self._connection.execute(f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", (name,))
            (identifier,) = self._connection.execute(
                f"SELECT id FROM {table} WHERE name = ?", (name,)
            ).fetchone()
            self._identifiers[table, name] = identifier
        return int(identifier)

    def _write(self, statement: tuple[str, str], rows: Sequence[Row]) -> None:
        """Write rows by statements of 64, 32, 16… rows: seven texts a table, each prepared once."""
        begin, size = 0, MOST_ROWS_A_STATEMENT
        while begin < len(rows):
            while size > len(rows) - begin:
                size //= 2
            part = rows[begin : begin + size]
            self._connection.execute(_text(statement, len(part[0]), size), tuple(chain.from_iterable(part)))
            begin += size


def _told_of_seals(sealed: Mapping[str, int], now: Mapping[str, int | None]) -> list[Told]:
    """What is to be told of seals, from when each group was sealed so far and when it is from now on."""
    made = [key for key, sealed_ms in now.items() if sealed_ms not in (None, sealed.get(key))]
    taken_back = [key for key in sealed if now[key] is None]
    return [
        *(Told(FeedKind.SEALED, key) for key in made),
        *(Told(FeedKind.REOPENED, key) for key in taken_back),
    ]


_TEXTS: dict[tuple[str, int], str] = {}


def _text(statement: tuple[str, str], columns: int, rows: int) -> str:
    head, tail = statement
    text = _TEXTS.get((head, rows))
    if text is None:
        row = f"({', '.join('?' * columns)})"
        text = _TEXTS[head, rows] = head + ", ".join([row] * rows) + tail
    return text
