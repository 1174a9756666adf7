"""Changes to the manifest from commands: synchronous, without an event loop.

`ManifestWriter` changes what an operator wants changed, also beside a running daemon, which sees it by
`changed_elsewhere`. `ManifestBuilder` makes a new manifest beside the old one and puts it in its place when
it is complete: `filingd manifest rebuild`. `ManifestReader`, for looking, is in `manifest_reader`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from filingd.adapters.manifest_faults import translated
from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.manifest_schema import BUSY_TIMEOUT_S, SIDE_FILES, open_writable
from filingd.adapters.manifest_statements import Statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

    from filingd.core.limits import LaneState
    from filingd.core.model import Change, Group, State
    from filingd.core.tombstones import Tombstone

__all__ = ["ManifestBuilder", "ManifestReader", "ManifestWriter"]

ROWS_A_TRANSACTION = 5_000
# SQLite grants its write lock without a queue: whoever changes much leaves room between two transactions.
PAUSE_FOR_OTHERS_S = 0.005


class ManifestWriter(ManifestReader):
    """Changes from a command, also beside a running daemon: short transactions that wait for their turn.

    Raises (by every method):
        ManifestBusyError: the daemon, or another command, did not let go of the manifest in time.
        DiskFullError, DiskFaultError: nothing of the current transaction was written.
    """

    def __init__(
        self, path: Path, *, clock_now: Callable[[], float], busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self._path = path
        self._connection = open_writable(path, clock_now, busy_timeout_s=busy_timeout_s)
        self._queries = self._statements = Statements(self._connection, clock_now)

    def record(self, changes: Sequence[Change]) -> None:
        """Write transitions, all or none.

        Raises:
            StoreError: an item does not have the state that its change says it had.
        """
        with self._transaction():
            (refused,) = self._statements.record([changes])
            if refused is not None:
                raise refused

    def save_groups(self, groups: Sequence[Group]) -> None:
        with self._transaction():
            self._statements.save_groups(groups)

    def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """See `ports.Manifest`."""
        with self._transaction():
            self._statements.bury(tombstones)

    def note_erased(self, subjects: Sequence[str], at: float, erased: Mapping[str, Any]) -> None:
        """See `ports.Manifest`."""
        with self._transaction():
            self._statements.note_erased(subjects, at, erased)

    def save_lane(self, state: LaneState) -> None:
        with self._transaction():
            self._statements.save_lane(state)

    def note_verified(self, key: str, at: float) -> None:
        with self._transaction():
            self._statements.note_verified(key, at)

    def retry(self, keys: Iterable[str], now: float) -> Sequence[str]:
        """Want these items tried now, with all their tries: what is stored is checked again, all else is due.

        Items that are being worked on, and keys that are not in the manifest, are left out of the answer. At
        most `ROWS_A_TRANSACTION` items change together; whoever is interrupted may repeat the command.
        """
        wanted = sorted(set(keys))
        changed: list[str] = []
        for begin in range(0, len(wanted), ROWS_A_TRANSACTION):
            changed += self._retry_together(wanted[begin : begin + ROWS_A_TRANSACTION], now)
        return changed

    def retry_prefix(self, prefix: str, now: float, states: frozenset[State] | None = None) -> Sequence[str]:
        """As `retry`, for all items (in some states) whose key starts with the prefix."""
        changed: list[str] = []
        for keys in self._keys_with_prefix(prefix, states):
            changed += self._retry_together(keys, now)
        return changed

    def _retry_together(self, keys: Sequence[str], now: float) -> Sequence[str]:
        with self._transaction():
            changed = self._statements.retry(keys, now)
        time.sleep(PAUSE_FOR_OTHERS_S)
        return changed

    def _keys_with_prefix(self, prefix: str, states: frozenset[State] | None) -> Iterator[list[str]]:
        after: str | None = ""
        while after is not None:
            with translated(self._path):
                keys, after = self._queries.keys_with_prefix(prefix, after, ROWS_A_TRANSACTION, states)
            yield keys

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._statements.rolled_back()
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise


class ManifestBuilder:
    """Makes a whole manifest anew, fast, and replaces the old one at the end. Needs the store's lock.

    With `with`: left by an error, nothing has changed; left in order, the new manifest is in its place,
    synced.
    """

    def __init__(self, path: Path, *, clock_now: Callable[[], float]) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._clock_now = clock_now

    def __enter__(self) -> Self:
        self._discard()
        self._connection = open_writable(self._new, self._clock_now)
        self._statements = Statements(self._connection, self._clock_now)
        with translated(self._new):
            # Nothing is promised before the end: no journal, one sync. A death leaves a file that is made
            # anew.
            self._connection.execute("PRAGMA journal_mode = OFF").fetchone()
            self._connection.execute("PRAGMA synchronous = OFF")
        return self

    def add(self, changes: Sequence[Change]) -> None:
        """Take items (`before` is None) and their versions; fastest in key order and some thousand a call.

        Raises:
            StoreError: a change does not fit what was added before; the rebuild is off.
        """
        with translated(self._new):
            self._connection.execute("BEGIN")
            (refused,) = self._statements.record([changes])
            if refused is not None:
                raise refused
            self._connection.execute("COMMIT")

    def add_groups(self, groups: Sequence[Group]) -> None:
        with translated(self._new):
            self._connection.execute("BEGIN")
            self._statements.save_groups(groups)
            self._connection.execute("COMMIT")

    def begin_feed(self, after: int) -> None:
        """Begin the feed with numbers above this one; before anything is added."""
        with translated(self._new):
            self._connection.execute("BEGIN")
            self._statements.begin_feed(after)
            self._connection.execute("COMMIT")

    def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """Remember what must not be had again."""
        with translated(self._new):
            self._connection.execute("BEGIN")
            self._statements.bury(tombstones)
            self._connection.execute("COMMIT")

    def add_cursor(self, name: str, seq: int) -> None:
        """Keep how far somebody who follows the feed has come."""
        with translated(self._new):
            self._connection.execute("BEGIN")
            self._statements.save_cursor(name, seq)
            self._connection.execute("COMMIT")

    def add_lane(self, state: LaneState) -> None:
        """Keep what is promised of a lane: a rebuild must not make it faster than it was."""
        with translated(self._new):
            self._connection.execute("BEGIN")
            self._statements.save_lane(state)
            self._connection.execute("COMMIT")

    def keep_old(self, ending: str) -> Path | None:
        """Leave the manifest that is there now under another name as well; None if there is none.

        Raises:
            DiskFullError, DiskFaultError: the disk refused.
        """
        from filingd.adapters.disk import Disk, Syscalls, disk_errors

        disk, kept = Disk(Syscalls()), self._path.with_name(self._path.name + ending)
        with disk_errors("keep the old manifest as", kept):
            for side in (*SIDE_FILES, ""):
                source = self._path.with_name(self._path.name + side)
                if source.exists():
                    disk.syscalls.link(source, kept.with_name(kept.name + side))
            disk.sync_folder(kept.parent)
        return kept if kept.exists() else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with translated(self._new):
                self._connection.close()
            if kind is None:
                self._replace()
        finally:
            self._discard()

    def _replace(self) -> None:
        from filingd.adapters.disk import Disk, Syscalls, disk_errors

        disk = Disk(Syscalls())
        with disk_errors("replace the manifest", self._path):
            descriptor = disk.syscalls.open(self._new, os.O_RDONLY)
            try:
                disk.syscalls.fsync(descriptor)
            finally:
                disk.close_quietly(descriptor)
            for ending in SIDE_FILES:  # a WAL of the old manifest must never be read into the new one
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            disk.move(self._new, self._path)

    def _discard(self) -> None:
        for ending in ("", "-journal", *SIDE_FILES):
            self._new.with_name(self._new.name + ending).unlink(missing_ok=True)
