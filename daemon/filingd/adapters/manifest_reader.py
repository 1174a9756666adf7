"""A look at the manifest from a command: synchronous, light to import, safe beside a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.adapters.manifest_faults import translated
from filingd.adapters.manifest_queries import Queries
from filingd.adapters.manifest_schema import open_read_only

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from filingd.core.feed import FeedEvent
    from filingd.core.limits import LaneState
    from filingd.core.model import Group, Item, State, Version
    from filingd.core.tombstones import Tombstone


class ManifestReader:
    """A look at the manifest: read only, no lock, safe beside a running daemon. Close it, or use `with`.

    Raises (on making it, and by every method):
        StoreError: there is no manifest, or it must be brought forward first.
        ManifestTooNewError, ManifestDamagedError, DiskFaultError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_read_only(path)
        self._queries = Queries(self._connection)

    def items(self, keys: Iterable[str]) -> Mapping[str, Item]:
        with translated(self._path):
            return self._queries.items(keys)

    def group_items(self, group: str) -> Sequence[Item]:
        with translated(self._path):
            return self._queries.group_items(group)

    def leased_items(self) -> Sequence[Item]:
        """Items whose attempt is under way, or was cut when the daemon died."""
        with translated(self._path):
            return self._queries.leased_items()

    def page(self, after: str, limit: int, states: frozenset[State] | None = None) -> Sequence[Item]:
        """Items in key order, after a key."""
        found: list[Item] = []
        more: str | None = after
        with translated(self._path):
            while more is not None and len(found) < limit:
                items, more = self._queries.page(more, limit - len(found), states)
                found += items
        return found

    def with_prefix(
        self, prefix: str, after: str, limit: int, states: frozenset[State] | None = None
    ) -> Sequence[Item]:
        """Items whose key starts with the prefix, in key order, after a key; nothing else is read."""
        with translated(self._path):
            return self._queries.with_prefix(prefix, after, limit, states)

    def current_versions(self, keys: Iterable[str]) -> Mapping[str, Version]:
        with translated(self._path):
            return self._queries.current_versions(keys)

    def versions(self, key: str) -> Sequence[Version]:
        with translated(self._path):
            return self._queries.versions(key)

    def numbered_versions(self, asked: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], Version]:
        """Versions by key and number; those that are not there are left out."""
        with translated(self._path):
            return self._queries.numbered_versions(asked)

    def groups(self, prefix: str = "") -> Sequence[Group]:
        with translated(self._path):
            return self._queries.groups(prefix)

    def counts(self) -> Mapping[State, int]:
        with translated(self._path):
            return self._queries.counts()

    def scheduled_counts(self) -> Mapping[str, int]:
        with translated(self._path):
            return self._queries.scheduled_counts()

    def next_due_at(self, lane: str) -> float | None:
        with translated(self._path):
            return self._queries.next_due_at(lane)

    def scheduled_at(self, lane: str, priority: int, now: float) -> tuple[int, int, float | None]:
        """How many items wait on a lane with this priority, how many of them are due, and when the first is."""
        with translated(self._path):
            return self._queries.scheduled_at(lane, priority, now)

    def lane_states(self) -> Mapping[str, LaneState]:
        with translated(self._path):
            return self._queries.lane_states()

    def feed(self, after: int, limit: int) -> Sequence[FeedEvent]:
        """See `ports.Manifest`."""
        with translated(self._path):
            return self._queries.feed(after, limit)

    def feed_head(self) -> int:
        with translated(self._path):
            return self._queries.feed_head()

    def cursors(self) -> Mapping[str, int]:
        """See `ports.Manifest`."""
        with translated(self._path):
            return self._queries.cursors()

    def tombstones(self) -> Sequence[Tombstone]:
        with translated(self._path):
            return self._queries.tombstones()

    def data_version(self) -> int:
        """A number that changes when another connection commits to this file."""
        with translated(self._path):
            return self._queries.data_version()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
