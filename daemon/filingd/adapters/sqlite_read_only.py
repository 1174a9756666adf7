"""How a database that another process may be writing is opened only to be read."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path


def connect_read_only(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection that only reads, of a database that can be read.

    Raises:
        sqlite3.Error: it cannot.
    """
    # A database in WAL mode needs its side files even to be read. A user who may not make them can still read
    # one that nobody has open: without a WAL file it does not change under us.
    try:
        return _probe(f"file:{quote(str(path))}?mode=ro", busy_timeout_s)
    except sqlite3.OperationalError:
        if path.with_name(path.name + "-wal").exists():
            raise
        return _probe(f"file:{quote(str(path))}?mode=ro&immutable=1", busy_timeout_s)


def _probe(uri: str, busy_timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA user_version").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
