"""What SQLite's result codes mean to an operator: one table, used wherever the manifest is touched."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from filingd.core.errors import (
    DiskFaultError,
    DiskFullError,
    FilingdError,
    ManifestBusyError,
    ManifestDamagedError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Primary result codes (the low byte of what SQLite reports), https://sqlite.org/rescode.html.
# A used-up quota (EDQUOT) reaches us as SQLITE_IOERR_WRITE: SQLite keeps no errno, so it stays a disk fault.
_REBUILD = "Run `filingd manifest rebuild` to make a new one from the stored files."
_FAULTS: Mapping[int, tuple[type[FilingdError], str, str]] = {
    sqlite3.SQLITE_FULL: (DiskFullError, "has no room to be written", "Free some space."),
    sqlite3.SQLITE_IOERR: (DiskFaultError, "met a disk error", "Check the disk and its file system."),
    sqlite3.SQLITE_READONLY: (
        DiskFaultError,
        "cannot be written",
        "Check its owner and mode, and whether the file system is read-only.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        DiskFaultError,
        "cannot be opened",
        "Check that its folder exists and may be written by this user.",
    ),
    sqlite3.SQLITE_PERM: (DiskFaultError, "may not be used by this user", "Check its owner and mode."),
    sqlite3.SQLITE_NOTADB: (ManifestDamagedError, "is not a database", _REBUILD),
    sqlite3.SQLITE_CORRUPT: (ManifestDamagedError, "is damaged", _REBUILD),
    sqlite3.SQLITE_BUSY: (
        ManifestBusyError,
        "is being written by another process and did not become free in time",
        "Wait until the other filingd command has ended, then try again.",
    ),
}
_UNEXPECTED = (StoreError, "could not be used", "This is a defect in filingd: please report it.")
_NO_ROOM_FOR_SHARED_MEMORY = sqlite3.SQLITE_IOERR_SHMSIZE


def translate(error: sqlite3.Error, path: Path) -> FilingdError:
    """The error an operator sees for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0)
    primary = sqlite3.SQLITE_FULL if code == _NO_ROOM_FOR_SHARED_MEMORY else code & 0xFF
    kind, finding, remedy = _FAULTS.get(primary, _UNEXPECTED)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return kind(f"The manifest {path} {finding} ({name}: {error}). {remedy}")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        DiskFullError, DiskFaultError, ManifestBusyError, ManifestDamagedError, StoreError: see the table above.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
