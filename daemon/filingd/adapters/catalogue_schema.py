"""The catalogue as a file: its format, and how it is opened.

It is derived, so there are no migrations: a file of another format, of another name index, or one that is no database any
more is removed and begun anew, and whoever opened it reads the stored items again (`sources` says which are missing).
A damage that shows later leaves a mark beside the file, so that the next opening does the same.

`synchronous=NORMAL` is enough: after a power cut the last transactions may be missing, never a part of one, and what is
missing shows at the next start, where the versions in here are compared with those of the manifest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from filingd.adapters.sqlite_faults import SqliteFaults
from filingd.adapters.sqlite_read_only import connect_read_only
from filingd.core.catalogue import CatalogueDamagedError
from filingd.core.errors import DiskFaultError, StoreError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x66696C63  # "filc"
FORMAT = 1
SIDE_FILES = ("-wal", "-shm")
BUSY_TIMEOUT_S = 5.0
WRITER_CACHE_KIB = 16 * 1024  # a day's rows fall all over the indexes by enterprise and by name
READER_CACHE_KIB = 4 * 1024
WAL_BOUND_PAGES = 8000  # 32 MB, then SQLite moves it into the file by itself
WAL_KEPT_BYTES = 64 * 1024 * 1024
_DAMAGE_MARK = ".damaged"

_TABLES = (
    # How far the feed of the manifest was followed: one row, or none before everything stored was read once.
    "CREATE TABLE progress (id INTEGER PRIMARY KEY CHECK (id = 1), followed_seq INTEGER NOT NULL)",
    "CREATE TABLE words (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",  # families, kinds, variants
    "CREATE TABLE traits (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE)",
    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # `spoken_of` lists the references of an item: what replaces it finds its rows by them, and no index by item is needed,
    # which would take a third of the file.
    """CREATE TABLE sources (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        path TEXT NOT NULL,
        family_id INTEGER NOT NULL,
        published_on,
        filings INTEGER NOT NULL,
        places INTEGER NOT NULL,
        spoken_of BLOB NOT NULL
    )""",
    "CREATE INDEX sources_of_day ON sources (family_id, published_on) WHERE published_on IS NOT NULL",
    # Columns without a type hold a number or a text as they are given it (see `catalogue_rows`). No NOT NULL: with it every
    # statement that writes many rows would first copy each page it touches.
    """CREATE TABLE filings (
        reference, source_id INTEGER, ordinal INTEGER, enterprise, name_id INTEGER, traits_id INTEGER,
        deposit_date, exercise_start, exercise_end, improvement_date, member TEXT, row INTEGER, unknown TEXT,
        PRIMARY KEY (reference, source_id, ordinal)
    ) WITHOUT ROWID""",
    "CREATE INDEX filings_of_enterprise ON filings (enterprise)",
    "CREATE INDEX filings_named ON filings (name_id, enterprise)",
    """CREATE TABLE places (
        reference, source_id INTEGER, ordinal INTEGER, kind_id INTEGER, variant_id INTEGER, byte_offset INTEGER,
        packed_bytes INTEGER, size_bytes INTEGER, method INTEGER, crc32 INTEGER, member TEXT,
        PRIMARY KEY (reference, source_id, ordinal)
    ) WITHOUT ROWID""",
)
# Trigrams of folded names. Neither names nor positions are kept twice: what has all trigrams of a fragment is looked at.
_NAME_INDEX = (
    "CREATE VIRTUAL TABLE name_index USING "
    "fts5(folded, content = '', detail = none, columnsize = 0, tokenize = 'trigram case_sensitive 1')"
)


class Opened(NamedTuple):
    """A connection, and what is known of its file."""

    connection: sqlite3.Connection
    has_name_index: bool
    is_new: bool = False


def offers_name_index() -> bool:
    """Whether this SQLite can index names by trigrams (3.34 with FTS5); without it they are looked through."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(_NAME_INDEX)
        except sqlite3.OperationalError:
            return False
    return True


def open_writable(
    path: Path, *, with_name_index: bool | None = None, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> Opened:
    """A connection that writes; a new file if there is none that can be used.

    `with_name_index` None: names are indexed if this SQLite can do that.

    Raises:
        StoreError: the file is a database of something else.
        DiskFullError, DiskFaultError, UnavailableError: the disk or another process stands in the way.
    """
    indexed = offers_name_index() if with_name_index is None else with_name_index
    if damage_mark_of(path).exists():
        remove(path)
    try:
        return _opened(path, indexed, busy_timeout_s)
    except CatalogueDamagedError:
        remove(path)
        return _opened(path, indexed, busy_timeout_s)


def open_read_only(path: Path) -> Opened:
    """A connection that only reads, without a lock, also while a daemon writes.

    Raises:
        StoreError: there is no catalogue, or none that this program can read.
        DiskFaultError, UnavailableError: the disk or another process stands in the way.
    """
    if not path.exists() or damage_mark_of(path).exists():
        raise StoreError(
            f"There is no catalogue at {path} yet. `filingd run` makes it from the stored files; it needs no download."
        )
    with translated(path):
        connection = connect_read_only(path, BUSY_TIMEOUT_S)
        try:
            version = _checked_version(connection, path)
            _require_readable(version, path)
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
    return Opened(connection, version == _version(with_name_index=True))


def remove(path: Path) -> None:
    """Remove the catalogue: it is derived.

    Raises:
        DiskFaultError: the disk refused.
    """
    try:
        for ending in (*SIDE_FILES, "", _DAMAGE_MARK):  # the mark last: until then it is known to be damaged
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise DiskFaultError(
            f"The disk refused to remove {path}: {error.strerror}. Check the permissions of the store."
        ) from error


def mark_damaged(path: Path) -> None:
    """See that the next opening begins anew; without a word if not even that can be written."""
    with contextlib.suppress(OSError):
        damage_mark_of(path).touch()


def damage_mark_of(path: Path) -> Path:
    """The file whose presence says that the catalogue is damaged."""
    return path.with_name(path.name + _DAMAGE_MARK)


def _opened(path: Path, with_name_index: bool, busy_timeout_s: float) -> Opened:
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            version = _checked_version(connection, path)
            _require_current(version, path, with_name_index=with_name_index)
            _set_writer_pragmas(connection)
            if version is None:
                _begin(connection, with_name_index=with_name_index)
        except BaseException:
            connection.close()
            raise
    return Opened(connection, with_name_index, version is None)


def _require_readable(version: int | None, path: Path) -> None:
    if version not in (_version(with_name_index=False), _version(with_name_index=True)):
        raise StoreError(
            f"The catalogue {path} has another format than this filingd reads. Start `filingd run` once: it makes the "
            "catalogue anew from the stored files."
        )


def _require_current(version: int | None, path: Path, *, with_name_index: bool) -> None:
    if version not in (None, _version(with_name_index=with_name_index)):
        raise CatalogueDamagedError(f"The catalogue {path} has another format.")


def _version(*, with_name_index: bool) -> int:
    return 2 * FORMAT + with_name_index


def _checked_version(connection: sqlite3.Connection, path: Path) -> int | None:
    """The number of the format; None for a file that is empty."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
        return None
    if application_id != APPLICATION_ID:
        raise UnavailableError(
            f"{path} is a database, but not a catalogue of filingd. Move it away; filingd makes a new one."
        )
    return int(version)


def _set_writer_pragmas(connection: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "secure_delete = ON",  # what is forgotten leaves no trace in free pages
        f"cache_size = -{WRITER_CACHE_KIB}",
        f"wal_autocheckpoint = {WAL_BOUND_PAGES}",
        f"journal_size_limit = {WAL_KEPT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchone()


def _begin(connection: sqlite3.Connection, *, with_name_index: bool) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
        connection.execute("ROLLBACK")  # somebody else began it just now
        return
    for statement in (*_TABLES, *([_NAME_INDEX] if with_name_index else [])):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {_version(with_name_index=with_name_index)}")
    connection.execute("COMMIT")


# ------------------------------------------------------------------------------------------------- faults

_REMADE = "It is made anew from the stored files at the next start of `filingd run`; no download is needed."
# A damage is marked, so that the next opening begins anew.
_FAULTS = SqliteFaults(
    "catalogue", CatalogueDamagedError, _REMADE, UnavailableError, mark_damaged, unexpected=UnavailableError
)

translate = _FAULTS.translate
translated = _FAULTS.translated
