"""Answers batches of questions to a database on a connection of its own, on the thread of a `BatchThread`."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from filingd.adapters.batch_thread import Call
    from filingd.core.errors import FilingdError


class SqliteReader:
    """The argument of a call is a function of the queries that `open_queries` makes of the file, beside its connection;
    `translate` says what an error of SQLite means for that file."""

    def __init__(
        self,
        path: Path,
        open_queries: Callable[[Path], tuple[sqlite3.Connection, Any]],
        translate: Callable[[sqlite3.Error, Path], FilingdError],
    ) -> None:
        self._path = path
        self._open_queries = open_queries
        self._translate = translate
        self._connection: sqlite3.Connection
        self._queries: Any

    def open(self) -> None:
        self._connection, self._queries = self._open_queries(self._path)

    def run(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if not call.future.cancelled():
                self._answer(call)

    def idle(self) -> None:
        """Nothing to do."""

    def abandoned(self, call: Call) -> tuple[Any, Any] | None:
        """An answer that nobody waits for needs no undoing."""

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _answer(self, call: Call) -> None:
        try:
            call.result = call.argument(self._queries)
        except sqlite3.Error as error:
            call.error = self._translate(error, self._path)
        except Exception as error:  # noqa: BLE001 - becomes the error of its call
            call.error = error
