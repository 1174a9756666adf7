"""The manifest of a running daemon: SQLite behind two threads, one that writes and one that reads.

    event loop ── calls ──► writer thread: all that is queued becomes one transaction, synced once
               ── calls ──► reader thread: its own connection, never waits for the writer

A call that writes returns when its transaction is on the disk (group commit). If one call of a transaction
fails, the others are committed without it. Commands use `manifest_commands`, which needs no event loop.
"""

from __future__ import annotations

import contextlib
import enum
import sqlite3
from typing import TYPE_CHECKING, Any, cast

from filingd.adapters.batch_thread import BatchThread, Call
from filingd.adapters.manifest_faults import translate
from filingd.adapters.manifest_queries import Queries
from filingd.adapters.manifest_schema import BUSY_TIMEOUT_S, open_read_only, open_writable
from filingd.adapters.manifest_statements import Lease, Statements
from filingd.adapters.sqlite_reader import SqliteReader
from filingd.core.errors import DiskFaultError, DiskFullError, ManifestBusyError
from filingd.core.model import Change

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from filingd.core.feed import FeedEvent
    from filingd.core.limits import LaneState
    from filingd.core.model import Group, Item, State, Version
    from filingd.core.tombstones import Tombstone

IDLE_BEFORE_CHECKPOINT_S = 0.2


class _Kind(enum.Enum):
    RECORD = enum.auto()  # argument: the changes; all of a batch are checked and written together
    LEASE = enum.auto()  # argument: lane, now, limit
    OTHER = enum.auto()  # argument: a function of `Statements` or `Queries`
    LOOK = enum.auto()  # argument: a function of `Statements` that writes nothing and needs no lock


class _Writer:
    """Turns each batch of calls into one transaction."""

    def __init__(self, path: Path, clock_now: Callable[[], float], busy_timeout_s: float) -> None:
        self._path = path
        self._clock_now = clock_now
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection
        self._statements: Statements

    def open(self) -> None:
        self._connection = open_writable(self._path, self._clock_now, busy_timeout_s=self._busy_timeout_s)
        self._statements = Statements(self._connection, self._clock_now)

    def run(self, calls: Sequence[Call]) -> None:
        wanted = [call for call in calls if not call.future.cancelled()]
        for look in (call for call in wanted if call.kind is _Kind.LOOK):
            self._look(look)
        self._write([call for call in wanted if call.kind is not _Kind.LOOK])

    def _look(self, call: Call) -> None:
        try:
            call.result = call.argument(self._statements)
        except Exception as error:  # noqa: BLE001 - becomes the error of its call
            self._fail([call], error)

    def _write(self, wanted: Sequence[Call]) -> None:
        if not wanted:
            return
        try:
            self._transact(wanted)
        except Exception as error:  # noqa: BLE001 - becomes the error of the calls it belongs to
            self._roll_back()
            if len(wanted) == 1 or _concerns_all(error):
                self._fail(wanted, error)
            else:
                for call in wanted:
                    self._write([call])

    def idle(self) -> None:
        # Best effort: what cannot be moved now is moved at the next pause, or by SQLite at its bound.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def abandoned(self, call: Call) -> tuple[Any, Any] | None:
        """A lease whose caller is gone goes back to the schedule as it was."""
        if call.kind is not _Kind.LEASE or call.result is None or not call.result.leased:
            return None
        pairs = zip(call.result.before, call.result.leased, strict=True)
        return _Kind.RECORD, [Change(leased.state, before) for before, leased in pairs]

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # closing only tidies: everything promised is on the disk
            self._connection.close()

    def _transact(self, calls: Sequence[Call]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._record([call for call in calls if call.kind is _Kind.RECORD])
        for call in calls:
            if call.kind is _Kind.LEASE:
                call.result = self._statements.lease(*call.argument)
            elif call.kind is _Kind.OTHER:
                call.result = call.argument(self._statements)
        self._connection.execute("COMMIT")

    def _record(self, calls: Sequence[Call]) -> None:
        if calls:
            outcomes = self._statements.record([call.argument for call in calls])
            for call, outcome in zip(calls, outcomes, strict=True):
                call.error = outcome

    def _roll_back(self) -> None:
        self._statements.rolled_back()
        with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself when it can do nothing else
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _fail(self, calls: Sequence[Call], error: Exception) -> None:
        for call in calls:
            call.error = _told(error, self._path)


def _opened_queries(path: Path) -> tuple[sqlite3.Connection, Queries]:
    connection = open_read_only(path)
    return connection, Queries(connection)


class SqliteManifest:
    """The `Manifest` port on SQLite. Make it with `open`.

    Instants are kept to the millisecond. A cancelled `lease` gives its items back; a cancelled `record` may
    still be carried out.
    """

    def __init__(self, writer: BatchThread | None, reader: BatchThread, data_version: int) -> None:
        """Without a writer nothing can be changed."""
        self._only_writer = writer
        self._reader = reader
        self._data_version = data_version
        self._when_full: Callable[[DiskFullError], Awaitable[None]] | None = None
        self._when_busy: Callable[[ManifestBusyError], Awaitable[None]] | None = None

    @classmethod
    async def open(
        cls, path: Path, *, clock_now: Callable[[], float], busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> SqliteManifest:
        """Open the manifest: make a new one, or bring an older one forward. `clock_now` gives unix seconds.

        Raises:
            ManifestTooNewError, ManifestDamagedError: this program cannot use the file.
            DiskFullError, DiskFaultError, ManifestBusyError: the disk or another process stands in the way.
        """
        writer = BatchThread(
            "manifest-writer", _Writer(path, clock_now, busy_timeout_s), IDLE_BEFORE_CHECKPOINT_S
        )
        await writer.start()
        reader = BatchThread(
            "manifest-reader", SqliteReader(path, _opened_queries, translate), IDLE_BEFORE_CHECKPOINT_S
        )
        try:
            await reader.start()
            version = await writer.submit(_Kind.LOOK, Statements.data_version)
        except BaseException:
            await writer.close()
            raise
        return cls(writer, reader, cast("int", version))

    @classmethod
    async def open_read_only(cls, path: Path) -> SqliteManifest:
        """Open a manifest that is there, for a user who may only read. A call that changes something is refused.

        Raises:
            StoreError: there is none, or it has to be brought forward first.
            ManifestTooNewError, ManifestDamagedError, DiskFaultError: it cannot be read.
        """
        reader = BatchThread(
            "manifest-reader", SqliteReader(path, _opened_queries, translate), IDLE_BEFORE_CHECKPOINT_S
        )
        await reader.start()
        return cls(None, reader, 0)

    @property
    def _writer(self) -> BatchThread:
        if self._only_writer is None:
            raise DiskFaultError("The manifest was opened to be read only: nothing can be changed in it.")
        return self._only_writer

    def outlast_full_disk(self, when_full: Callable[[DiskFullError], Awaitable[None]]) -> None:
        """From now on a write that a full disk refused is tried again each time `when_full` returns.

        What `when_full` raises is raised to whoever wanted to write. Nothing of a refused write is in the manifest.
        """
        self._when_full = when_full

    def outlast_busy(self, when_busy: Callable[[ManifestBusyError], Awaitable[None]]) -> None:
        """The same for a write that did not get its turn because another process holds the manifest."""
        self._when_busy = when_busy

    async def lease(self, lane: str, now: float, limit: int) -> Sequence[Item]:
        """See `ports.Manifest`."""
        lease: Lease = await self._insist(_Kind.LEASE, (lane, now, limit))
        return lease.leased

    async def record(self, changes: Sequence[Change]) -> None:
        """Write transitions, all or none.

        Raises:
            StoreError: an item does not have the state that its change says it had; the text names both.
            DiskFullError, DiskFaultError, ManifestBusyError: nothing was written.
        """
        if changes:
            await self._insist(_Kind.RECORD, changes)

    async def note_verified(self, key: str, at: float) -> None:
        await self._write(lambda statements: statements.note_verified(key, at))

    async def save_groups(self, groups: Sequence[Group]) -> None:
        if groups:
            await self._write(lambda statements: statements.save_groups(groups))

    async def save_lane(self, state: LaneState) -> None:
        await self._write(lambda statements: statements.save_lane(state))

    async def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """See `ports.Manifest`."""
        if tombstones:
            await self._write(lambda statements: statements.bury(tombstones))

    async def note_erased(self, subjects: Sequence[str], at: float, erased: Mapping[str, Any]) -> None:
        """See `ports.Manifest`."""
        await self._write(lambda statements: statements.note_erased(subjects, at, erased))

    async def drop_versions(self, key: str) -> None:
        """See `ports.Manifest`."""
        await self._write(lambda statements: statements.drop_versions(key))

    async def drop_older(self, key: str, number: int) -> None:
        """See `ports.Manifest`."""
        await self._write(lambda statements: statements.drop_older(key, number))

    async def changed_elsewhere(self) -> bool:
        """See `ports.Manifest`. Asked on the writing connection, whose own commits do not count; takes no lock."""
        version: int = await self._writer.submit(_Kind.LOOK, Statements.data_version)
        changed = version != self._data_version
        self._data_version = version
        return changed

    async def next_due_at(self, lane: str) -> float | None:
        return cast("float | None", await self._ask(lambda queries: queries.next_due_at(lane)))

    async def items(self, keys: Iterable[str]) -> Mapping[str, Item]:
        wanted = list(keys)
        return cast("Mapping[str, Item]", await self._ask(lambda queries: queries.items(wanted)))

    async def group_items(self, group: str) -> Sequence[Item]:
        return cast("Sequence[Item]", await self._ask(lambda queries: queries.group_items(group)))

    async def leased_items(self) -> Sequence[Item]:
        return cast("Sequence[Item]", await self._ask(Queries.leased_items))

    async def page(self, after: str, limit: int, states: frozenset[State] | None = None) -> Sequence[Item]:
        """See `ports.Manifest`. A rare state is sought slice by slice: other questions get their turn."""
        found: list[Item] = []
        more: str | None = after
        while more is not None and len(found) < limit:
            items, more = await self._ask(_page(more, limit - len(found), states))
            found += items
        return found

    async def current_versions(self, keys: Iterable[str]) -> Mapping[str, Version]:
        wanted = list(keys)
        return cast(
            "Mapping[str, Version]", await self._ask(lambda queries: queries.current_versions(wanted))
        )

    async def versions(self, key: str) -> Sequence[Version]:
        return cast("Sequence[Version]", await self._ask(lambda queries: queries.versions(key)))

    async def groups(self, prefix: str = "") -> Sequence[Group]:
        return cast("Sequence[Group]", await self._ask(lambda queries: queries.groups(prefix)))

    async def counts(self) -> Mapping[State, int]:
        return cast("Mapping[State, int]", await self._ask(Queries.counts))

    async def scheduled_counts(self) -> Mapping[str, int]:
        return cast("Mapping[str, int]", await self._ask(Queries.scheduled_counts))

    async def lane_states(self) -> Mapping[str, LaneState]:
        return cast("Mapping[str, LaneState]", await self._ask(Queries.lane_states))

    async def feed(self, after: int, limit: int) -> Sequence[FeedEvent]:
        """See `ports.Manifest`."""
        return cast("Sequence[FeedEvent]", await self._ask(lambda queries: queries.feed(after, limit)))

    async def feed_head(self) -> int:
        return cast("int", await self._ask(Queries.feed_head))

    async def retell(self, after: int) -> None:
        """See `ports.Manifest`."""
        await self._write(lambda statements: statements.retell(after))

    async def cursors(self) -> Mapping[str, int]:
        return cast("Mapping[str, int]", await self._ask(Queries.cursors))

    async def save_cursor(self, name: str, seq: int) -> None:
        """See `ports.Manifest`."""
        await self._write(lambda statements: statements.save_cursor(name, seq))

    async def tombstones(self) -> Sequence[Tombstone]:
        return cast("Sequence[Tombstone]", await self._ask(Queries.tombstones))

    async def close(self) -> None:
        """Finish what is queued, then close. May be called twice."""
        await self._reader.close()
        if self._only_writer is not None:
            await self._only_writer.close()

    async def _write(self, change: Callable[[Statements], None]) -> None:
        await self._insist(_Kind.OTHER, change)

    async def _insist(self, kind: _Kind, argument: Any) -> Any:
        while True:
            try:
                return await self._writer.submit(kind, argument)
            except DiskFullError as error:
                if self._when_full is None:
                    raise
                await self._when_full(error)
            except ManifestBusyError as error:
                if self._when_busy is None:
                    raise
                await self._when_busy(error)

    async def _ask(self, question: Callable[[Queries], Any]) -> Any:
        return await self._reader.submit(_Kind.OTHER, question)


def _page(
    after: str, limit: int, states: frozenset[State] | None
) -> Callable[[Queries], tuple[list[Item], str | None]]:
    return lambda queries: queries.page(after, limit, states)


def _told(error: Exception, path: Path) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    told = translate(error, path)
    told.__cause__ = error
    return told


def _concerns_all(error: Exception) -> bool:
    """Whether trying the calls one by one is no use: another process holds the manifest."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
