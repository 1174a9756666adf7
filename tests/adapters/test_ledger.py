"""What is particular to the ledger on SQLite: it outlives deaths, and is never begun anew in place of one that was harmed."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from filingd.adapters.ledger import SqliteLedger
from filingd.adapters.ledger_reader import LedgerReader
from filingd.adapters.ledger_schema import FORMAT, open_writable, translate
from filingd.core.errors import (
    DiskFaultError,
    DiskFullError,
    ExitCode,
    FilingdError,
    LedgerBusyError,
    LedgerDamagedError,
    LedgerTooNewError,
    StoreReplacedError,
)
from filingd.core.ledger import Spending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPENT = Spending("reg/main", "2026-11", 9, 180_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def kept_in(path: Path, *spendings: Spending) -> None:
    """A ledger that was closed in order."""
    ledger = await SqliteLedger.open(path)
    await ledger.save(spendings)
    await ledger.close()


def looked_at(path: Path) -> list[Spending]:
    """What a command reads."""
    with LedgerReader(path) as reader:
        return list(reader.spendings())


async def test_it_says_whether_it_was_made_just_now(path: Path) -> None:
    first = await SqliteLedger.open(path)
    await first.close()
    second = await SqliteLedger.open(path)
    await second.close()
    assert (first.is_new, second.is_new) == (True, False)


DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from filingd.adapters.ledger import SqliteLedger
from filingd.core.ledger import Spending

async def main():
    ledger = await SqliteLedger.open(Path(sys.argv[1]))
    for count in range(1, 40):
        await ledger.save([Spending("reg/main", "2026-11", count)])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_saved_before_a_sudden_death_is_there_after_it(path: Path) -> None:
    died = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", DIES, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert path.with_name("ledger.db-wal").stat().st_size > 0
    assert [each.spent_calls for each in await asyncio.to_thread(looked_at, path)] == [39]
    ledger = await SqliteLedger.open(path)
    assert [each.spent_calls for each in await ledger.spendings()] == [39]
    await ledger.close()


# ---------------------------------------------------------------- harmed files


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 500)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def another_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE items (key TEXT)")


def garbled(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE spendings (a'")
        connection.commit()


def gone_but_for_its_changes(path: Path) -> None:
    path.with_name("ledger.db-wal").write_bytes(b"what had been changed")
    path.unlink()


@pytest.mark.parametrize(
    "harm", [emptied, overwritten, cut_short, another_database, garbled, gone_but_for_its_changes]
)
async def test_one_that_was_harmed_is_refused_with_the_remedy_and_left_as_it_is(
    path: Path, harm: Callable[[Path], None]
) -> None:
    await kept_in(path, SPENT)
    harm(path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(LedgerDamagedError) as refusal:
        await SqliteLedger.open(path)
    assert str(path) in str(refusal.value)
    assert "Put a copy of it back" in str(refusal.value)
    assert refusal.value.exit_code is ExitCode.STORE
    assert (path.read_bytes() if path.exists() else None) == before


async def test_one_of_a_newer_filingd_is_refused(path: Path) -> None:
    await kept_in(path, SPENT)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(LedgerTooNewError, match="Install the newer filingd again"):
        await SqliteLedger.open(path)
    with pytest.raises(LedgerTooNewError):
        await asyncio.to_thread(looked_at, path)


async def test_what_was_half_made_at_a_death_is_made_again(path: Path) -> None:
    path.with_name(".ledger.db.new").write_bytes(b"half")
    await kept_in(path, SPENT)
    assert [each.name for each in path.parent.iterdir()] == ["ledger.db"]


async def test_a_ledger_that_lost_its_name_takes_nothing_more(path: Path) -> None:
    ledger = await SqliteLedger.open(path)
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(StoreReplacedError):
        await ledger.save([SPENT])
    await ledger.close()


# ---------------------------------------------------------------- the disk and other processes


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFullError),
        (sqlite3.SQLITE_IOERR, DiskFaultError),
        (sqlite3.SQLITE_READONLY, DiskFaultError),
        (sqlite3.SQLITE_CANTOPEN, DiskFaultError),
        (sqlite3.SQLITE_NOTADB, LedgerDamagedError),
        (sqlite3.SQLITE_CORRUPT, LedgerDamagedError),
        (sqlite3.SQLITE_BUSY, LedgerBusyError),
    ],
)
def test_what_sqlite_meets_is_told_in_words_that_name_the_file(
    path: Path, code: int, kind: type[FilingdError]
) -> None:
    met = sqlite3.OperationalError("met")
    met.sqlite_errorcode = code
    told = translate(met, path)
    assert type(told) is kind
    assert f"The ledger {path} " in str(told)


async def with_a_full_disk(ledger: SqliteLedger) -> None:
    """No page more than there is."""
    connection = ledger._writer._worker._connection  # type: ignore[attr-defined]
    await asyncio.to_thread(lambda: connection.execute("PRAGMA max_page_count = 1").fetchone())


async def test_a_full_disk_is_told_and_nothing_of_the_save_is_kept(path: Path) -> None:
    ledger = await SqliteLedger.open(path)
    await ledger.save([SPENT])
    await with_a_full_disk(ledger)
    many = [replace(SPENT, account=f"reg/{number}") for number in range(500)]
    with pytest.raises(DiskFullError, match="no room"):
        await ledger.save(many)
    assert list(await ledger.spendings()) == [SPENT]
    await ledger.close()


async def test_a_save_that_a_full_disk_refused_is_tried_again_until_there_is_room(path: Path) -> None:
    ledger = await SqliteLedger.open(path)
    await with_a_full_disk(ledger)
    waits = 0

    async def room_is_made(_: DiskFullError) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:
            connection = ledger._writer._worker._connection  # type: ignore[attr-defined]
            await asyncio.to_thread(lambda: connection.execute("PRAGMA max_page_count = 1000").fetchone())

    ledger.outlast_full_disk(room_is_made)
    many = [replace(SPENT, account=f"reg/{number:03}") for number in range(500)]
    await ledger.save(many)
    assert waits == 3
    assert list(await ledger.spendings()) == many
    await ledger.close()


async def test_another_process_that_holds_it_is_waited_for_as_long_as_is_said(path: Path) -> None:
    ledger = await SqliteLedger.open(path, busy_timeout_s=0.01)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerBusyError):
        await ledger.save([SPENT])

    async def until_let_go(_: LedgerBusyError) -> None:
        await asyncio.to_thread(other.close)

    ledger.outlast_busy(until_let_go)
    await ledger.save([SPENT])
    assert list(await ledger.spendings()) == [SPENT]
    await ledger.close()


# ---------------------------------------------------------------- readers


async def test_a_reader_sees_what_is_saved_and_never_locks_the_writer_out(path: Path) -> None:
    ledger = await SqliteLedger.open(path, busy_timeout_s=0.01)
    reader = await asyncio.to_thread(LedgerReader, path)
    connection = reader._connection
    assert connection is not None
    await asyncio.to_thread(connection.execute, "BEGIN")
    assert list(await asyncio.to_thread(reader.spendings)) == []  # a read transaction is open from here on
    await ledger.save([SPENT])
    await asyncio.to_thread(connection.execute, "COMMIT")
    assert list(await asyncio.to_thread(reader.spendings)) == [SPENT]
    await asyncio.to_thread(reader.close)
    await ledger.close()


def test_where_there_is_no_ledger_nothing_was_spent_and_none_is_made(path: Path) -> None:
    with LedgerReader(path) as reader:
        assert list(reader.spendings()) == []
    assert not path.exists()


def test_an_opened_ledger_syncs_every_change(path: Path) -> None:
    with closing(open_writable(path).connection) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
