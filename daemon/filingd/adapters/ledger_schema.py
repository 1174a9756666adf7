"""The ledger as a file: its format, and how it is opened.

It is the only memory of what was spent, so it is never begun anew in place of one that is damaged, emptied or half gone. A new
one is made complete beside its name and then renamed: whatever has the name and is not whole was harmed later.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from filingd.adapters.sqlite_faults import SqliteFaults
from filingd.adapters.sqlite_read_only import connect_read_only
from filingd.core.errors import LedgerBusyError, LedgerDamagedError, LedgerTooNewError
from filingd.core.ledger import Spending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APPLICATION_ID = 0x66696C6C  # "fill"
FORMAT = 1
SIDE_FILES = ("-wal", "-shm")
BUSY_TIMEOUT_S = 5.0
CACHE_KIB = 256
WAL_KEPT_BYTES = 1024 * 1024

REMEDY = (
    "No call that costs money is made while nobody knows what was spent. Put a copy of it back. If there is none, move it away "
    "with its -wal and -shm files and start again: the month then begins at zero, so lower its calls and its budget by what was "
    "spent until it is over."
)
_FAULTS = SqliteFaults("ledger", LedgerDamagedError, REMEDY, LedgerBusyError)
translate = _FAULTS.translate
translated = _FAULTS.translated

_COLUMNS = Spending.__struct_fields__
_TABLE = """CREATE TABLE spendings (
    account TEXT NOT NULL,
    month TEXT NOT NULL,
    spent_calls INTEGER NOT NULL,
    spent_microeur INTEGER NOT NULL,
    reserved_calls INTEGER NOT NULL,
    reserved_microeur INTEGER NOT NULL,
    warned_percent INTEGER NOT NULL,
    first_at REAL,
    last_at REAL,
    paid_at REAL,
    day_calls INTEGER NOT NULL,
    day_microeur INTEGER NOT NULL,
    PRIMARY KEY (account, month)
) WITHOUT ROWID"""
_NAMES, _PLACES = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
_SELECT = f"SELECT {_NAMES} FROM spendings ORDER BY account, month"  # noqa: S608 - names of our own columns
_REPLACE = f"REPLACE INTO spendings ({_NAMES}) VALUES ({_PLACES})"  # noqa: S608 - as above


class Opened(NamedTuple):
    """A connection, and whether the ledger was made just now."""

    connection: sqlite3.Connection
    is_new: bool


def open_writable(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Opened:
    """A connection that writes; makes the ledger if there is none. Statements commit one by one unless `BEGIN` was said.

    Raises:
        LedgerDamagedError, LedgerTooNewError: this program cannot use the file.
        DiskFullError, DiskFaultError, LedgerBusyError: the disk or another process stands in the way.
    """
    is_new = not path.exists()
    if is_new:
        _make(path)
    _refuse_emptied(path)
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            _check_sound(connection, path)
            _set_pragmas(connection)
        except BaseException:
            connection.close()
            raise
    return Opened(connection, is_new)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that only reads a ledger that is there; works while a daemon writes, and is never in its way.

    Raises:
        LedgerDamagedError, LedgerTooNewError, DiskFaultError: it cannot be read.
    """
    _refuse_emptied(path)
    with translated(path):
        connection = connect_read_only(path, BUSY_TIMEOUT_S)
        try:
            _check_sound(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def spendings_in(connection: sqlite3.Connection) -> list[Spending]:
    """All months of all accounts, by account and month."""
    return [Spending(*row) for row in connection.execute(_SELECT)]


def write(connection: sqlite3.Connection, spendings: Sequence[Spending]) -> None:
    """Put rows in the place of those of the same account and month, inside a transaction of the caller."""
    connection.executemany(_REPLACE, [tuple(getattr(each, name) for name in _COLUMNS) for each in spendings])


def _make(path: Path) -> None:
    """A whole ledger under its name, durably, or nothing.

    Raises:
        LedgerDamagedError: the changes of a ledger that is gone lie there: it was no first start.
    """
    left_over = [name for suffix in SIDE_FILES if (name := path.with_name(path.name + suffix)).exists()]
    if left_over:
        raise LedgerDamagedError(
            f"The ledger {path} is gone, but {left_over[0].name} is still there. {REMEDY}"
        )
    from filingd.adapters.disk import Disk, Syscalls, disk_errors, temporary_of  # commands only read

    disk, temporary = Disk(Syscalls()), temporary_of(path)
    with disk_errors("make the ledger", path):
        disk.remove_quietly(temporary)
        with translated(path):
            _fill(temporary)
        disk.move(temporary, path)


def _fill(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Without a journal beside it: nobody can see the file before it is whole, and it is synced when it is closed.
        for statement in (
            "PRAGMA synchronous = FULL",
            f"PRAGMA application_id = {APPLICATION_ID}",
            f"PRAGMA user_version = {FORMAT}",
            _TABLE,
        ):
            connection.execute(statement).fetchone()


def _refuse_emptied(path: Path) -> None:
    """SQLite would take an empty file for a new ledger."""
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return  # SQLite says what is the matter
    if size_bytes == 0:
        raise LedgerDamagedError(f"The ledger {path} is empty (0 bytes). {REMEDY}")


def _check_sound(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise LedgerDamagedError(f"{path} is a database, but not a ledger of filingd. {REMEDY}")
    found = _pragma(connection, "user_version")
    if found > FORMAT:
        raise LedgerTooNewError(
            f"The ledger {path} has format {found}, written by a newer filingd; this one knows formats up to {FORMAT}. "
            "Install the newer filingd again."
        )
    # It is small: the whole of it is looked at, because SQLite would read a page that was cut off as one of zeros.
    (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if told != "ok":
        raise LedgerDamagedError(f"The ledger {path} is damaged ({told}). {REMEDY}")


def _set_pragmas(connection: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{CACHE_KIB}",
        f"journal_size_limit = {WAL_KEPT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchone()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
