"""The catalogue of a running daemon: SQLite behind two threads, one that writes and one that reads.

    event loop ── contribute, drop, forget ──► writer thread: all that is queued becomes one transaction
               ── questions ─────────────────► reader thread: its own connection, never waits for the writer

Commands use `catalogue_reader`, which needs no event loop. What the file is, and why it may be begun anew at any time, is
told in `catalogue_schema`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import sqlite3
from typing import TYPE_CHECKING, Any, cast

from filingd.adapters.batch_thread import BatchThread, Call
from filingd.adapters.catalogue_queries import Queries
from filingd.adapters.catalogue_schema import (
    BUSY_TIMEOUT_S,
    damage_mark_of,
    open_read_only,
    open_writable,
    translate,
)
from filingd.adapters.catalogue_statements import Statements
from filingd.adapters.sqlite_reader import SqliteReader
from filingd.core.catalogue import NOTHING_FORGOTTEN, CatalogueDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from filingd.core.catalogue import (
        Contributed,
        Contribution,
        Document,
        Entry,
        Forgotten,
        Listing,
        NameHit,
        Repeated,
        Totals,
    )

IDLE_BEFORE_CHECKPOINT_S = 0.5


class _Kind(enum.Enum):
    CHANGE = enum.auto()  # argument: a function of `Statements`
    ERASURE = enum.auto()  # the same; afterwards nothing of it may be left in the log
    QUESTION = enum.auto()  # argument: a function of `Queries`


class _Writer:
    """Turns each batch of calls into one transaction."""

    def __init__(
        self, path: Path, forgotten: Forgotten, *, with_name_index: bool | None, busy_timeout_s: float
    ) -> None:
        self._path = path
        self._forgotten = forgotten
        self._with_name_index = with_name_index
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection
        self._statements: Statements
        self.began_anew = False

    def open(self) -> None:
        opened = open_writable(
            self._path, with_name_index=self._with_name_index, busy_timeout_s=self._busy_timeout_s
        )
        self.began_anew = opened.is_new
        self._connection = opened.connection
        self._statements = Statements(
            self._connection, has_name_index=opened.has_name_index, forgotten=self._forgotten
        )

    def run(self, calls: Sequence[Call]) -> None:
        wanted = [call for call in calls if not call.future.cancelled()]
        self._write(wanted)
        if any(call.kind is _Kind.ERASURE and call.error is None for call in wanted):
            self._checkpoint("TRUNCATE")

    def idle(self) -> None:
        self._checkpoint("PASSIVE")

    def abandoned(self, call: Call) -> tuple[Any, Any] | None:
        """What was taken in stays: it is what the stored item says, whoever asked."""

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _write(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                call.result = call.argument(self._statements)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - becomes the error of the calls it belongs to
            self._roll_back()
            if len(calls) == 1:
                calls[0].error = _told(error, self._path)
            else:
                for call in calls:
                    self._write([call])

    def _roll_back(self) -> None:
        self._statements.rolled_back()
        with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself when it can do nothing else
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _checkpoint(self, how: str) -> None:
        with contextlib.suppress(sqlite3.Error):  # best effort: what cannot be moved now is moved later
            self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()


def _opened_queries(path: Path) -> tuple[sqlite3.Connection, Queries]:
    opened = open_read_only(path)
    return opened.connection, Queries(opened.connection, has_name_index=opened.has_name_index)


class SqliteCatalogue:
    """The `Catalogue` port on SQLite. Make it with `open`.

    `began_anew` says that it was empty when it was opened: there was none, or none that could be used. After a
    CatalogueDamagedError, closing and opening it again begins anew.
    """

    def __init__(
        self, writer: BatchThread, reader: BatchThread, path: Path, inode: int | None, *, began_anew: bool
    ) -> None:
        self._path = path
        self._inode = inode  # of the file that was opened
        self._writer = writer
        self._reader = reader
        self.began_anew = began_anew

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        forgotten: Forgotten = NOTHING_FORGOTTEN,
        with_name_index: bool | None = None,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> SqliteCatalogue:
        """Open the catalogue, or begin one. What is `forgotten` is left out from now on, and removed if it is in there.

        `with_name_index` None: names are indexed if this SQLite can do that.

        Raises:
            StoreError: the file is a database of something else.
            DiskFullError, DiskFaultError, UnavailableError: the disk or another process stands in the way.
        """
        work = _Writer(path, forgotten, with_name_index=with_name_index, busy_timeout_s=busy_timeout_s)
        writer = BatchThread("catalogue-writer", work, IDLE_BEFORE_CHECKPOINT_S)
        try:
            await writer.start()
            if forgotten != NOTHING_FORGOTTEN:
                await writer.submit(_Kind.ERASURE, lambda statements: statements.forget(forgotten))
            reader = BatchThread(
                "catalogue-reader", SqliteReader(path, _opened_queries, translate), IDLE_BEFORE_CHECKPOINT_S
            )
            try:
                await reader.start()
            except BaseException:
                await reader.close()
                raise
        except BaseException:
            await writer.close()
            raise
        inode = await asyncio.to_thread(_inode_of, path)
        return cls(writer, reader, path, inode, began_anew=work.began_anew)

    async def contribute(self, contribution: Contribution) -> Contributed:
        """See `ports.Catalogue`."""
        return cast("Contributed", await self._change(lambda statements: statements.contribute(contribution)))

    async def drop(self, keys: Iterable[str]) -> None:
        """See `ports.Catalogue`."""
        dropped = list(keys)
        await self._change(lambda statements: statements.drop(dropped))

    async def forget(self, forgotten: Forgotten) -> Sequence[str]:
        """See `ports.Catalogue`. Nothing of it is left in the file or its log, unless a command is reading just then."""
        erased = await self._writer.submit(_Kind.ERASURE, lambda statements: statements.forget(forgotten))
        return cast("Sequence[str]", erased)

    async def filings_of(self, enterprise: str) -> Sequence[Entry]:
        """See `ports.Catalogue`."""
        return cast("Sequence[Entry]", await self._ask(lambda queries: queries.filings_of(enterprise)))

    async def entry(self, reference: str) -> Entry | None:
        """See `ports.Catalogue`."""
        return cast("Entry | None", await self._ask(lambda queries: queries.entry(reference)))

    async def names_like(self, fragment: str, limit: int) -> Sequence[NameHit]:
        """See `ports.Catalogue`."""
        return cast("Sequence[NameHit]", await self._ask(lambda queries: queries.names_like(fragment, limit)))

    async def undocumented(self, family: str, published_on: str, kind: str) -> Sequence[Listing]:
        """See `ports.Catalogue`."""
        found = await self._ask(lambda queries: queries.undocumented(family, published_on, kind))
        return cast("Sequence[Listing]", found)

    async def unlisted(self, family: str, published_on: str) -> Sequence[Document]:
        """See `ports.Catalogue`."""
        return cast(
            "Sequence[Document]", await self._ask(lambda queries: queries.unlisted(family, published_on))
        )

    async def repeated(self, family: str, published_on: str) -> Sequence[Repeated]:
        """See `ports.Catalogue`."""
        return cast(
            "Sequence[Repeated]", await self._ask(lambda queries: queries.repeated(family, published_on))
        )

    async def parked(self, limit: int) -> Sequence[Listing]:
        """See `ports.Catalogue`."""
        return cast("Sequence[Listing]", await self._ask(lambda queries: queries.parked(limit)))

    async def sources(self, prefix: str = "") -> Mapping[str, int]:
        """See `ports.Catalogue`."""
        return cast("Mapping[str, int]", await self._ask(lambda queries: queries.sources(prefix)))

    async def versions_of(self, keys: Iterable[str]) -> Mapping[str, int]:
        """See `ports.Catalogue`."""
        asked = list(keys)
        return cast("Mapping[str, int]", await self._ask(lambda queries: queries.versions_of(asked)))

    async def followed(self) -> int | None:
        """See `ports.Catalogue`."""
        return cast("int | None", await self._ask(Queries.followed))

    async def note_followed(self, seq: int | None) -> None:
        """See `ports.Catalogue`."""
        await self._change(lambda statements: statements.note_followed(seq))

    async def totals(self) -> Totals:
        """See `ports.Catalogue`."""
        return cast("Totals", await self._ask(Queries.totals))

    async def check_in_place(self) -> None:
        """See `ports.Catalogue`."""
        await self._ask(lambda _: _require_in_place(self._path, self._inode))

    async def close(self) -> None:
        """Finish what is queued, then close. May be called twice."""
        await self._reader.close()
        await self._writer.close()

    async def _change(self, change: Callable[[Statements], Any]) -> Any:
        return await self._writer.submit(_Kind.CHANGE, change)

    async def _ask(self, question: Callable[[Queries], Any]) -> Any:
        return await self._reader.submit(_Kind.QUESTION, question)


def _inode_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _require_in_place(path: Path, inode: int | None) -> None:
    if _inode_of(path) != inode:
        raise CatalogueDamagedError(
            f"The catalogue {path} was removed, or another file was put in its place."
        )
    if damage_mark_of(path).exists():
        raise CatalogueDamagedError(f"The catalogue {path} was found to be damaged by whoever read it.")


def _told(error: Exception, path: Path) -> Exception:
    return translate(error, path) if isinstance(error, sqlite3.Error) else error
