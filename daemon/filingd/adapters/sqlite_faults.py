"""What SQLite's result codes mean to an operator: one table for every database of a store."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from filingd.core.errors import DiskFaultError, DiskFullError, FilingdError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_NO_ROOM_FOR_SHARED_MEMORY = sqlite3.SQLITE_IOERR_SHMSIZE
_WAIT = "Wait until the other filingd command has ended, then try again."


class SqliteFaults:
    """The table for one kind of database, which is called `name`.

    `damaged` is the error of one that cannot be read as a database, with the remedy; `busy` that of one that another process
    is writing. `on_damage` is told the file. What no table foresees is an error of the class `unexpected`.
    """

    def __init__(
        self,
        name: str,
        damaged: type[FilingdError],
        remedy: str,
        busy: type[FilingdError],
        on_damage: Callable[[Path], None] = lambda _: None,
        unexpected: type[FilingdError] = StoreError,
    ) -> None:
        self._unexpected = (unexpected, "could not be used", "This is a defect in filingd: please report it.")
        self._name = name
        self._damaged = damaged
        self._on_damage = on_damage
        # Primary result codes (the low byte of what SQLite reports), https://sqlite.org/rescode.html.
        # A used-up quota (EDQUOT) reaches us as SQLITE_IOERR_WRITE: SQLite keeps no errno, so it stays a disk fault.
        self._table: Mapping[int, tuple[type[FilingdError], str, str]] = {
            sqlite3.SQLITE_FULL: (DiskFullError, "has no room to be written", "Free some space."),
            sqlite3.SQLITE_IOERR: (
                DiskFaultError, "met a disk error", "Check the disk and its file system.",
            ),
            sqlite3.SQLITE_READONLY: (
                DiskFaultError, "cannot be written",
                "Check its owner and mode, and whether the file system is read-only.",
            ),
            sqlite3.SQLITE_CANTOPEN: (
                DiskFaultError, "cannot be opened",
                "Check that its folder exists and may be written by this user.",
            ),
            sqlite3.SQLITE_PERM: (
                DiskFaultError, "may not be used by this user", "Check its owner and mode.",
            ),
            sqlite3.SQLITE_NOTADB: (damaged, "is not a database", remedy),
            sqlite3.SQLITE_CORRUPT: (damaged, "is damaged", remedy),
            sqlite3.SQLITE_BUSY: (
                busy, "is being written by another process and did not become free in time", _WAIT,
            ),
        }  # fmt: skip

    def translate(self, error: sqlite3.Error, path: Path) -> FilingdError:
        """The error an operator sees for one of SQLite's."""
        code = getattr(error, "sqlite_errorcode", 0)
        primary = sqlite3.SQLITE_FULL if code == _NO_ROOM_FOR_SHARED_MEMORY else code & 0xFF
        kind, finding, remedy = self._table.get(primary, self._unexpected)
        if kind is self._damaged:
            self._on_damage(path)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        told = kind(f"The {self._name} {path} {finding} ({name}: {error}). {remedy}")
        told.__cause__ = error
        return told

    @contextlib.contextmanager
    def translated(self, path: Path) -> Iterator[None]:
        """Turn SQLite's errors into ours.

        Raises:
            DiskFullError, DiskFaultError, StoreError, and the errors of this kind of database: see the table above.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise self.translate(error, path) from error
