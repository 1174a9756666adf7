"""What was spent, durably: SQLite behind one thread that makes one transaction of all that is queued.

It is a file of its own because its past must never come back: a manifest may be made anew or restored from a backup, money
that was spent stays spent. Commands use `ledger_reader`, which needs no event loop and no lock.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, cast

from filingd.adapters.anchor import Anchor
from filingd.adapters.batch_thread import BatchThread, Call
from filingd.adapters.ledger_schema import (
    BUSY_TIMEOUT_S,
    open_writable,
    spendings_in,
    translate,
    write,
)
from filingd.core.errors import DiskFullError, FilingdError, LedgerBusyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from filingd.core.ledger import Spending

IDLE_BEFORE_CHECKPOINT_S = 0.5


class _Writer:
    """Turns each batch of calls into one transaction. The argument of a call is what is to be saved; None asks for all."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection
        self._anchor: Anchor
        self.is_new = False

    def open(self) -> None:
        self._connection, self.is_new = open_writable(self._path, self._busy_timeout_s)
        self._anchor = Anchor([self._path])

    def run(self, calls: Sequence[Call]) -> None:
        try:
            self._save([spending for call in calls for spending in call.argument or ()])
            self._anchor.check()  # what was saved in a file that lost its name is nobody's memory
            self._answer([call for call in calls if call.argument is None])
        except Exception as error:  # noqa: BLE001 - becomes the error of the calls
            self._roll_back()
            told = self._told(error)
            for call in calls:
                call.error = told

    def idle(self) -> None:
        # Best effort: what cannot be moved now is moved at the next pause, or by SQLite at its bound.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def abandoned(self, call: Call) -> tuple[Any, Any] | None:
        """What was saved stays: it says what was spent, whoever asked."""

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # closing only tidies: everything promised is on the disk
            self._connection.close()
        self._anchor.close()

    def _save(self, spendings: Sequence[Spending]) -> None:
        if spendings:
            self._connection.execute("BEGIN IMMEDIATE")
            write(self._connection, spendings)
            self._connection.execute("COMMIT")

    def _answer(self, questions: Sequence[Call]) -> None:
        for question in questions:
            question.result = spendings_in(self._connection)

    def _told(self, error: Exception) -> Exception:
        """What happened, in words; that the file is not the one that was opened explains whatever SQLite met."""
        if not isinstance(error, sqlite3.Error):
            return error
        try:
            self._anchor.check()
        except FilingdError as found:
            return found
        return translate(error, self._path)

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself when it can do nothing else
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class SqliteLedger:
    """The `Ledger` port on SQLite. Make it with `open`."""

    def __init__(self, writer: BatchThread, is_new: bool) -> None:
        self._writer = writer
        self.is_new = is_new  # whether there was none before
        self._when_full: Callable[[DiskFullError], Awaitable[None]] | None = None
        self._when_busy: Callable[[LedgerBusyError], Awaitable[None]] | None = None

    @classmethod
    async def open(cls, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> SqliteLedger:
        """Open the ledger; a new one is made only where there is none.

        Raises:
            LedgerDamagedError, LedgerTooNewError: this program cannot use the file.
            DiskFullError, DiskFaultError, LedgerBusyError: the disk or another process stands in the way.
        """
        worker = _Writer(path, busy_timeout_s)
        writer = BatchThread("ledger-writer", worker, IDLE_BEFORE_CHECKPOINT_S)
        await writer.start()
        return cls(writer, worker.is_new)

    def outlast_full_disk(self, when_full: Callable[[DiskFullError], Awaitable[None]]) -> None:
        """From now on a save that a full disk refused is tried again each time `when_full` returns.

        What `when_full` raises is raised to whoever wanted to save.
        """
        self._when_full = when_full

    def outlast_busy(self, when_busy: Callable[[LedgerBusyError], Awaitable[None]]) -> None:
        """The same for a save that did not get its turn because another process holds the ledger."""
        self._when_busy = when_busy

    async def spendings(self) -> Sequence[Spending]:
        """See `ports.Ledger`."""
        return cast("Sequence[Spending]", await self._insist(None))

    async def save(self, spendings: Sequence[Spending]) -> None:
        """See `ports.Ledger`.

        Raises:
            LedgerDamagedError, DiskFullError, DiskFaultError, LedgerBusyError, StoreReplacedError: it is not to be relied on.
        """
        if spendings:
            await self._insist(spendings)

    async def close(self) -> None:
        """Finish what is queued, then close. May be called twice."""
        await self._writer.close()

    async def _insist(self, argument: Sequence[Spending] | None) -> Any:
        while True:
            try:
                return await self._writer.submit(None, argument)
            except DiskFullError as error:
                if self._when_full is None:
                    raise
                await self._when_full(error)
            except LedgerBusyError as error:
                if self._when_busy is None:
                    raise
                await self._when_busy(error)
