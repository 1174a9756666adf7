"""The manifest as a file: its numbered format, how it is opened, and how an older one is brought forward.

The format's number is `PRAGMA user_version`. A released migration is never edited: a change is a new one, and
a dump of the format it starts from joins `tests/adapters/manifest_versions/`.

Instants are whole milliseconds (columns `_ms`). Zero and NULL take no room in a row: that keeps a finished
item, one of ten million, under 120 bytes.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filingd.adapters.manifest_faults import translated
from filingd.adapters.sqlite_read_only import connect_read_only
from filingd.core import layout
from filingd.core.errors import ManifestDamagedError, ManifestTooNewError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

APPLICATION_ID = (
    0x66696C67  # "filg": `file manifest.db` shows it, and a foreign database is not mistaken for ours
)
SIDE_FILES = ("-wal", "-shm")
BUSY_TIMEOUT_S = 5.0
WRITER_CACHE_KIB = 4096
READER_CACHE_KIB = 2048
WAL_BOUND_PAGES = 8000  # 32 MB: SQLite checkpoints by itself here if the writer was never idle before
WAL_KEPT_BYTES = 64 * 1024 * 1024
_WITHOUT_BODIES = frozenset({layout.INDEX, layout.QUARANTINE, "log"})


@dataclass(frozen=True, slots=True)
class Migration:
    """One step forward. All its statements, and the new number, become durable together."""

    number: int
    statements: tuple[str, ...]


_VERSION_1 = (
    "CREATE TABLE history (version INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL)",
    "CREATE TABLE lanes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE routes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # Columns of the two big tables carry no NOT NULL: with it, every statement that writes many rows would
    # first copy each page it touches, to be undone alone; ours are undone with their transaction. Types are
    # Python's care.
    """CREATE TABLE items (
        key TEXT PRIMARY KEY,
        lane_id INTEGER,
        state INTEGER,
        priority INTEGER,
        due_ms INTEGER,
        attempts INTEGER,
        reason TEXT,
        nothing_count INTEGER,
        nothing_ms INTEGER,
        size_bytes INTEGER,
        sha256 BLOB,
        stored_ms INTEGER,
        version INTEGER
    ) WITHOUT ROWID""",
    "CREATE INDEX items_scheduled ON items (lane_id, priority, due_ms) WHERE due_ms IS NOT NULL",
    # 1 and 3 are leased (asked for after a crash), 6 is quarantined (asked for by operators).
    "CREATE INDEX items_noteworthy ON items (state) WHERE state IN (1, 3, 6, 7)",
    """CREATE TABLE versions (
        key TEXT,
        number INTEGER,
        path TEXT,
        size_bytes INTEGER,
        sha256 BLOB,
        stored_ms INTEGER,
        route_id INTEGER,
        request_id,
        etag TEXT,
        content_digest BLOB,
        member_count INTEGER,
        verified_ms INTEGER,
        facts TEXT,
        PRIMARY KEY (key, number)
    ) WITHOUT ROWID""",
    """CREATE TABLE groups (
        key TEXT NOT NULL PRIMARY KEY,
        opened_ms INTEGER NOT NULL,
        sealed_ms INTEGER,
        checked_ms INTEGER,
        reasons TEXT,
        facts TEXT
    ) WITHOUT ROWID""",
    """CREATE TABLE lane_states (
        name TEXT NOT NULL PRIMARY KEY,
        boot_id TEXT NOT NULL,
        reserved_until_s REAL NOT NULL,
        parked_until_at REAL,
        parked_for_s REAL NOT NULL,
        park_reason TEXT,
        slowdown REAL NOT NULL,
        strikes INTEGER NOT NULL,
        key_index INTEGER NOT NULL,
        throttles INTEGER NOT NULL,
        blocks INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE state_counts (state INTEGER PRIMARY KEY, items INTEGER NOT NULL)",
    "CREATE TABLE scheduled_counts (lane_id INTEGER PRIMARY KEY, items INTEGER NOT NULL)",
)

# `feed` says what became of what, in order; its numbers are never used twice. 1 is stored, 4 is sealed, 0 is the
# beginning (see `core.feed`). What an older manifest holds is told first, in the order in which it came.
_VERSION_2 = (
    """CREATE TABLE feed (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER,
        kind INTEGER,
        subject TEXT,
        version INTEGER
    )""",
    """CREATE TABLE tombstones (
        subject TEXT NOT NULL PRIMARY KEY,
        is_enterprise INTEGER NOT NULL,
        buried_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        erased_ms INTEGER,
        erased TEXT
    ) WITHOUT ROWID""",
    "CREATE TABLE cursors (name TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO feed (seq, at_ms, kind, subject, version) VALUES (1, 0, 0, '', 0)",
    # 2 and 3 hold a body.
    """INSERT INTO feed (at_ms, kind, subject, version)
        SELECT coalesce(stored_ms, 0), 1, key, version FROM items WHERE state IN (2, 3) AND version > 0
        ORDER BY stored_ms, key""",
    """INSERT INTO feed (at_ms, kind, subject, version)
        SELECT sealed_ms, 4, key, 0 FROM groups WHERE sealed_ms IS NOT NULL ORDER BY sealed_ms, key""",
)

MIGRATIONS: tuple[Migration, ...] = (Migration(1, _VERSION_1), Migration(2, _VERSION_2))


def open_writable(
    path: Path,
    clock_now: Callable[[], float],
    *,
    migrations: Sequence[Migration] = MIGRATIONS,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> sqlite3.Connection:
    """A connection that writes: makes a new manifest, or brings an older one forward.

    Statements commit one by one unless `BEGIN` was said.

    Raises:
        ManifestTooNewError, ManifestDamagedError: this program cannot use the file.
        DiskFullError, DiskFaultError, StoreError: the disk or another process stands in the way.
    """
    _refuse_emptied(path)
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            version = _checked_version(connection, path, migrations)
            _set_writer_pragmas(connection)
            for migration in migrations[version:]:
                _migrate(connection, migration, clock_now())
        except BaseException:
            connection.close()
            raise
    return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that only reads; needs no lock and works while a daemon writes.

    Raises:
        StoreError: there is no manifest, or its format is older and has to be brought forward first.
        ManifestTooNewError, ManifestDamagedError, DiskFaultError: as for `open_writable`.
    """
    if not path.exists():
        raise StoreError(
            f"There is no manifest at {path}. Check [store] path, or run `filingd run` to begin."
        )
    _refuse_emptied(path)
    with translated(path):
        connection = connect_read_only(path, BUSY_TIMEOUT_S)
        try:
            _require_current(connection, path)
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
    return connection


def _refuse_emptied(path: Path) -> None:
    """A crash of the file system, or a copy that failed, may leave nothing of a manifest but its name.

    SQLite would take that for a new one. So is it, in a store without bodies: SQLite itself makes the file empty, and a
    death right then must not keep the next start from going on.

    Raises:
        ManifestDamagedError: it is empty, and there are bodies.
    """
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return  # SQLite says what is the matter
    if size_bytes == 0 and _holds_bodies(path.parent):
        raise ManifestDamagedError(
            f"The manifest {path} is empty (0 bytes), but there are stored files for it to know of: a crash of the file "
            "system or a copy that failed. Run `filingd manifest rebuild` to make a new one from the stored files."
        )


def _holds_bodies(root: Path) -> bool:
    for folder, folders, names in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in _WITHOUT_BODIES]
        elif any(not name.startswith(".") for name in names):
            return True
    return False


def _require_current(connection: sqlite3.Connection, path: Path) -> None:
    version = _checked_version(connection, path, MIGRATIONS)
    if version < len(MIGRATIONS):
        raise StoreError(
            f"The manifest {path} has format {version}; this filingd reads format {len(MIGRATIONS)}. "
            "Start `filingd run` once: it brings the manifest forward."
        )


def _checked_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> int:
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    if application_id == 0 and version == 0 and _is_empty(connection):
        return 0
    if application_id != APPLICATION_ID:
        raise ManifestDamagedError(
            f"{path} is a database, but not a manifest of filingd. Move it away, then run "
            "`filingd manifest rebuild`."
        )
    if version > len(migrations):
        raise ManifestTooNewError(
            f"The manifest {path} has format {version}, written by a newer filingd; this one knows formats "
            f"up to {len(migrations)}. Install the newer filingd again, or run `filingd manifest rebuild` "
            "with this one."
        )
    return version


def _set_writer_pragmas(connection: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{WRITER_CACHE_KIB}",
        f"wal_autocheckpoint = {WAL_BOUND_PAGES}",
        f"journal_size_limit = {WAL_KEPT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchone()


def _migrate(connection: sqlite3.Connection, migration: Migration, now: float) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _pragma(connection, "user_version") < migration.number:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute("INSERT INTO history VALUES (?, ?)", (migration.number, round(now * 1000)))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {migration.number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
