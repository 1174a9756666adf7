"""What can be asked of the manifest, on one connection, synchronously. Nothing here reads a whole table.

Every list of keys travels as one JSON parameter: the text of a statement never changes, so SQLite prepares it
once.
"""

# Statements are put together from constants of these modules; values only ever travel as parameters.
# ruff: noqa: S608

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from filingd.adapters.manifest_rows import (
    FEED_COLUMNS,
    GROUP_COLUMNS,
    ITEM_COLUMNS,
    LANE_STATE_COLUMNS,
    TOMBSTONE_COLUMNS,
    VERSION_COLUMNS,
    Row,
    feed_event_from,
    from_ms,
    group_from,
    item_from,
    lane_state_from,
    to_ms,
    tombstone_from,
    version_from,
)
from filingd.core.model import LEASED_STATES, Group, Item, State, Version

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from filingd.core.feed import FeedEvent
    from filingd.core.limits import LaneState
    from filingd.core.tombstones import Tombstone

# The states of the index `items_noteworthy`. Queries repeat its condition word for word: so SQLite knows that
# it may use it.
NOTEWORTHY_STATES = LEASED_STATES | {State.QUARANTINED}
_NOTEWORTHY = "state IN (1, 3, 6, 7)"

_LAST_CODE_POINT = "\U0010ffff"

# One seek for each distinct priority that anything on the lane waits with, whatever the number of items.
SCHEDULE_HEADS = """
    WITH RECURSIVE heads(priority) AS (
        SELECT (SELECT priority FROM items WHERE lane_id = :lane AND due_ms IS NOT NULL
                ORDER BY priority LIMIT 1)
        UNION ALL
        SELECT (SELECT later.priority FROM items AS later
                WHERE later.lane_id = :lane AND later.due_ms IS NOT NULL AND later.priority > heads.priority
                ORDER BY later.priority LIMIT 1)
        FROM heads WHERE heads.priority IS NOT NULL
    ), scheduled(priority, due_ms) AS (
        SELECT heads.priority, (SELECT first.due_ms FROM items AS first
                WHERE first.lane_id = :lane AND first.priority = heads.priority AND first.due_ms IS NOT NULL
                ORDER BY first.due_ms LIMIT 1)
        FROM heads WHERE heads.priority IS NOT NULL
    )
"""
NEXT_DUE = f"{SCHEDULE_HEADS} SELECT min(due_ms) FROM scheduled"
DUE_PRIORITIES = f"{SCHEDULE_HEADS} SELECT priority FROM scheduled WHERE due_ms <= :now LIMIT :limit"
DUE_ITEMS = (
    f"SELECT {ITEM_COLUMNS} FROM items WHERE lane_id = ? AND priority = ? "
    "AND due_ms IS NOT NULL AND due_ms <= ? ORDER BY due_ms, key LIMIT ?"
)
ITEMS_BY_KEY = f"SELECT {ITEM_COLUMNS} FROM items WHERE key IN (SELECT value FROM json_each(?))"
ITEMS_OF_GROUP = (
    f"SELECT {ITEM_COLUMNS} FROM items WHERE key > ?1 || '/' AND key < ?1 || '0' "
    "AND instr(substr(key, length(?1) + 2), '/') = 0 ORDER BY key"
)
ITEMS_AFTER = f"SELECT {ITEM_COLUMNS} FROM items WHERE key > ? ORDER BY key LIMIT ?"
SLICE_END = "SELECT count(*), max(key) FROM (SELECT key FROM items WHERE key > ? ORDER BY key LIMIT ?)"
SLICE_IN_STATES = (
    f"SELECT {ITEM_COLUMNS} FROM items WHERE key > ? AND key <= ? "
    "AND state IN (SELECT value FROM json_each(?)) ORDER BY key LIMIT ?"
)
NOTEWORTHY_AFTER = (
    f"SELECT {ITEM_COLUMNS} FROM items WHERE {_NOTEWORTHY} AND state = ? AND key > ? ORDER BY key LIMIT ?"
)
KEYS_WITH_PREFIX = "SELECT key, state FROM items WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
ITEMS_WITH_PREFIX = (
    f"SELECT {ITEM_COLUMNS} FROM items WHERE key > ? AND key >= ? AND key < ? "
    "AND state IN (SELECT value FROM json_each(?)) ORDER BY key LIMIT ?"
)
NOTEWORTHY_WITH_PREFIX = (
    f"SELECT {ITEM_COLUMNS} FROM items WHERE {_NOTEWORTHY} AND state = ? "
    "AND key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
)
# Nothing but a part of the index `items_scheduled` is read.
SCHEDULED_AT = (
    "SELECT count(*), coalesce(sum(due_ms <= ?), 0), min(due_ms) FROM items "
    "WHERE lane_id = ? AND priority = ? AND due_ms IS NOT NULL"
)
VERSIONS_BY_KEY = f"SELECT {VERSION_COLUMNS} FROM versions WHERE key = ? ORDER BY number"
CURRENT_VERSIONS = (
    f"SELECT {', '.join('versions.' + column for column in VERSION_COLUMNS.split(', '))} "
    "FROM items JOIN versions ON versions.key = items.key AND versions.number = items.version "
    "WHERE items.key IN (SELECT value FROM json_each(?))"
)
VERSIONS_BY_NUMBER = (
    f"SELECT {', '.join('versions.' + column for column in VERSION_COLUMNS.split(', '))} "
    "FROM json_each(?) AS asked CROSS JOIN versions ON versions.key = json_extract(asked.value, '$[0]') "
    "AND versions.number = json_extract(asked.value, '$[1]')"
)
GROUPS_BY_PREFIX = f"SELECT {GROUP_COLUMNS} FROM groups WHERE key >= ? AND key < ? ORDER BY key"
FEED_AFTER = f"SELECT {FEED_COLUMNS} FROM feed WHERE seq > ? ORDER BY seq LIMIT ?"
TOMBSTONES = f"SELECT {TOMBSTONE_COLUMNS} FROM tombstones ORDER BY subject"
NO_LIMIT = -1
SLICE_ROWS = 20_000  # some 20 ms of reading


class Queries:
    """Questions to one connection. Errors of SQLite pass through: the caller knows which file it is."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._names: dict[str, dict[int, str]] = {"lanes": {}, "routes": {}}

    def items(self, keys: Iterable[str]) -> dict[str, Item]:
        rows = self._connection.execute(ITEMS_BY_KEY, (json.dumps(list(keys)),)).fetchall()
        return {item.key: item for item in self._as_items(rows)}

    def group_items(self, group: str) -> list[Item]:
        return self._as_items(self._connection.execute(ITEMS_OF_GROUP, (group,)).fetchall())

    def leased_items(self) -> list[Item]:
        return self.noteworthy("", NO_LIMIT, LEASED_STATES)

    def noteworthy(self, after: str, limit: int, states: frozenset[State]) -> list[Item]:
        """Items in some of the states of the index, in key order."""
        rows: list[Row] = []
        for state in sorted(states):
            rows += self._connection.execute(NOTEWORTHY_AFTER, (int(state), after, limit)).fetchall()
        rows.sort()
        return self._as_items(rows if limit == NO_LIMIT else rows[:limit])

    def page(self, after: str, limit: int, states: frozenset[State] | None) -> tuple[list[Item], str | None]:
        """Items in key order, and the key to go on after when more may follow within this page.

        A state without an index is sought in a slice of bounded length, so that no call takes long: the
        caller asks again until the page is full or the key is None.
        """
        if states is not None and states <= NOTEWORTHY_STATES:
            return self.noteworthy(after, limit, states), None
        if states is None:
            return self._as_items(self._connection.execute(ITEMS_AFTER, (after, limit)).fetchall()), None
        return self._slice(after, limit, states)

    def _slice(self, after: str, limit: int, states: frozenset[State]) -> tuple[list[Item], str | None]:
        # Filtered in SQL: every row that is fetched costs a turn of the interpreter lock.
        length, end = self._connection.execute(SLICE_END, (after, SLICE_ROWS)).fetchone()
        wanted = json.dumps([int(state) for state in states])
        rows = self._connection.execute(SLICE_IN_STATES, (after, end, wanted, limit)).fetchall()
        more = end if length == SLICE_ROWS and len(rows) < limit else None
        return self._as_items(rows), more

    def with_prefix(self, prefix: str, after: str, limit: int, states: frozenset[State] | None) -> list[Item]:
        """Items (in some states) whose key starts with the prefix, in key order, after a key.

        Reads a range of an index and nothing beyond it, but all of it if few items are in these states.
        """
        bounds = (after, prefix, prefix + _LAST_CODE_POINT)
        rows: list[Row] = []
        if states is not None and states <= NOTEWORTHY_STATES:
            for state in states:
                found = self._connection.execute(NOTEWORTHY_WITH_PREFIX, (int(state), *bounds, limit))
                rows += found.fetchall()
            rows.sort()
        else:
            wanted = json.dumps([int(state) for state in (State if states is None else states)])
            rows = self._connection.execute(ITEMS_WITH_PREFIX, (*bounds, wanted, limit)).fetchall()
        return self._as_items(rows[:limit])

    def keys_with_prefix(
        self, prefix: str, after: str, limit: int, states: frozenset[State] | None
    ) -> tuple[list[str], str | None]:
        """The next keys that start with the prefix, those in some states of them, and the key to go on after."""
        bounds = (after, prefix, prefix + _LAST_CODE_POINT, limit)
        rows = self._connection.execute(KEYS_WITH_PREFIX, bounds).fetchall()
        keys = [key for key, state in rows if states is None or state in states]
        return keys, rows[-1][0] if len(rows) == limit else None

    def next_due_at(self, lane: str) -> float | None:
        lane_id = self._known_lane(lane)
        if lane_id is None:
            return None
        return from_ms(self._connection.execute(NEXT_DUE, {"lane": lane_id}).fetchone()[0])

    def scheduled_at(self, lane: str, priority: int, now: float) -> tuple[int, int, float | None]:
        """How many items wait on a lane with this priority, how many of them are due, and when the first is."""
        lane_id = self._known_lane(lane)
        if lane_id is None:
            return 0, 0, None
        row = self._connection.execute(SCHEDULED_AT, (to_ms(now), lane_id, priority)).fetchone()
        return row[0], row[1], from_ms(row[2])

    def versions(self, key: str) -> list[Version]:
        return self._as_versions(self._connection.execute(VERSIONS_BY_KEY, (key,)).fetchall())

    def current_versions(self, keys: Iterable[str]) -> dict[str, Version]:
        rows = self._connection.execute(CURRENT_VERSIONS, (json.dumps(list(keys)),)).fetchall()
        return {version.key: version for version in self._as_versions(rows)}

    def numbered_versions(self, asked: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Version]:
        """Versions by key and number; those that are not there are left out."""
        rows = self._connection.execute(VERSIONS_BY_NUMBER, (json.dumps(list(asked)),)).fetchall()
        return {(version.key, version.number): version for version in self._as_versions(rows)}

    def groups(self, prefix: str) -> list[Group]:
        bounds = (prefix, prefix + _LAST_CODE_POINT)
        return [group_from(row) for row in self._connection.execute(GROUPS_BY_PREFIX, bounds).fetchall()]

    def counts(self) -> dict[State, int]:
        rows = self._connection.execute("SELECT state, items FROM state_counts WHERE items <> 0").fetchall()
        return dict.fromkeys(State, 0) | {State(state): items for state, items in rows}

    def scheduled_counts(self) -> dict[str, int]:
        rows = self._connection.execute(
            "SELECT name, items FROM scheduled_counts JOIN lanes ON lanes.id = lane_id WHERE items <> 0"
        ).fetchall()
        return dict(rows)

    def lane_states(self) -> dict[str, LaneState]:
        rows = self._connection.execute(f"SELECT {LANE_STATE_COLUMNS} FROM lane_states").fetchall()
        return {row[0]: lane_state_from(row) for row in rows}

    def feed(self, after: int, limit: int) -> list[FeedEvent]:
        return [
            feed_event_from(row) for row in self._connection.execute(FEED_AFTER, (after, limit)).fetchall()
        ]

    def feed_head(self) -> int:
        (head,) = self._connection.execute("SELECT max(seq) FROM feed").fetchone()
        return int(head or 0)

    def cursors(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT name, seq FROM cursors").fetchall())

    def tombstones(self) -> list[Tombstone]:
        return [tombstone_from(row) for row in self._connection.execute(TOMBSTONES).fetchall()]

    def data_version(self) -> int:
        """A number that changes when another connection commits."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _as_items(self, rows: Sequence[Row]) -> list[Item]:
        return [item_from(row, self._name("lanes", row[1])) for row in rows]

    def _as_versions(self, rows: Sequence[Row]) -> list[Version]:
        return [version_from(row, self._name("routes", row[6])) for row in rows]

    def _name(self, table: str, identifier: int) -> str:
        names = self._names[table]
        if identifier not in names:
            names.update(self._connection.execute(f"SELECT id, name FROM {table}").fetchall())
        return names[identifier]

    def _known_lane(self, lane: str) -> int | None:
        row = self._connection.execute("SELECT id FROM lanes WHERE name = ?", (lane,)).fetchone()
        return None if row is None else int(row[0])
