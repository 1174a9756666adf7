"""What is particular to the manifest on SQLite: format, faults, group commit, threads, cost of the schedule."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from filingd.adapters import manifest_queries as queries_module
from filingd.adapters import manifest_statements as statements_module
from filingd.adapters.manifest import SqliteManifest
from filingd.adapters.manifest_faults import translate
from filingd.adapters.manifest_queries import Queries
from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.manifest_schema import (
    APPLICATION_ID,
    MIGRATIONS,
    Migration,
    open_read_only,
    open_writable,
)
from filingd.adapters.manifest_statements import Statements
from filingd.core.errors import (
    DiskFaultError,
    DiskFullError,
    ExitCode,
    FilingdError,
    ManifestBusyError,
    ManifestDamagedError,
    ManifestTooNewError,
    StoreError,
)
from filingd.core.limits import LaneState
from filingd.core.model import Change, Group, Item, State, Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

NOW = 1_795_000_000.0
STORED_FORMATS = Path(__file__).with_name("manifest_versions")
NEXT_FORMAT = Migration(
    len(MIGRATIONS) + 1,
    (
        "ALTER TABLE items ADD COLUMN note TEXT",
        "UPDATE items SET note = 'migrated' WHERE state = 2",
        "CREATE TABLE extra (name TEXT PRIMARY KEY)",
    ),
)


def clock_now() -> float:
    return NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.db"


@pytest.fixture
async def manifest(path: Path) -> AsyncIterator[SqliteManifest]:
    made = await SqliteManifest.open(path, clock_now=clock_now, busy_timeout_s=0.05)
    yield made
    await made.close()


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writable(path, clock_now)) as opened:
        yield opened


def due(key: str, **fields: object) -> Item:
    return replace(Item(key, "extract", due_at=NOW), **fields)


def write(connection: sqlite3.Connection, *changes: Change) -> None:
    connection.execute("BEGIN IMMEDIATE")
    assert Statements(connection, clock_now).record([changes]) == [None]
    connection.execute("COMMIT")


def sample_changes() -> list[Change]:
    """One item in every state, two lanes, a version: enough to see that a migration keeps all of it."""
    version = Version(
        "nbb/authentic/2026-11-20/2", 1, "a/b.zip", 5, b"\x01" * 32, NOW, "extract", "r-1", facts={"n": 1}
    )
    return [
        Change(
            None,
            Item(
                f"nbb/authentic/2026-11-20/{state:d}",
                "extract" if state % 2 else "archive",
                state,
                due_at=NOW,
                reason=f"naïve {state.name}",
                version=int(state is State.STORED),
            ),
            version if state is State.STORED else None,
        )
        for state in State
    ]


# ---------------------------------------------------------------- the format and its migrations


def dump_of(path: Path) -> str:
    """The manifest as SQL text, with its numbers."""
    with closing(sqlite3.connect(path)) as connection:
        numbers = [
            f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        return "\n".join([*connection.iterdump(), *numbers]) + "\n"


def load(text: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(text)


def everything(path: Path) -> object:
    with ManifestReader(path) as reader:
        items = reader.page("", 99)
        return (
            items,
            reader.current_versions(item.key for item in items),
            reader.groups(),
            reader.lane_states(),
            reader.counts(),
            reader.scheduled_counts(),
            [(event.kind, event.subject, event.version) for event in reader.feed(0, 99)],
        )


def a_sample_manifest(path: Path) -> None:
    with closing(open_writable(path, clock_now)) as connection:
        write(connection, *sample_changes())
        statements = Statements(connection, clock_now)
        statements.save_groups([Group("nbb/authentic/2026-11-20", NOW, reasons=("json: not yet",))])
        statements.save_lane(LaneState("extract", "b-1", 12.5))


def test_there_is_a_stored_manifest_of_every_format() -> None:
    assert sorted(file.name for file in STORED_FORMATS.iterdir()) == [
        f"{migration.number:03}.sql" for migration in MIGRATIONS
    ]


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("stored", sorted(STORED_FORMATS.iterdir()), ids=lambda stored: stored.stem)
def test_a_stored_manifest_of_every_format_is_brought_forward_with_all_it_holds(
    stored: Path, tmp_path: Path
) -> None:
    load(stored.read_text(), tmp_path / "old.db")
    open_writable(tmp_path / "old.db", clock_now).close()
    a_sample_manifest(tmp_path / "new.db")
    assert everything(tmp_path / "old.db") == everything(tmp_path / "new.db")
    assert schema_of(tmp_path / "old.db") == schema_of(tmp_path / "new.db")


@pytest.mark.parametrize("stored", sorted(STORED_FORMATS.iterdir()), ids=lambda stored: stored.stem)
def test_a_future_format_migrates_every_stored_manifest(stored: Path, path: Path) -> None:
    load(stored.read_text(), path)
    with closing(open_writable(path, clock_now, migrations=[*MIGRATIONS, NEXT_FORMAT])) as connection:
        notes = connection.execute("SELECT state, note FROM items ORDER BY state").fetchall()
        history = connection.execute("SELECT version, applied_ms FROM history").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    assert notes == [(int(state), "migrated" if state is State.STORED else None) for state in State]
    assert version == NEXT_FORMAT.number
    assert history[-1] == (NEXT_FORMAT.number, round(NOW * 1000))


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    a_sample_manifest(path)
    before = dump_of(path)
    broken = Migration(NEXT_FORMAT.number, (*NEXT_FORMAT.statements, "CREATE TABLE items (key TEXT)"))
    with pytest.raises(StoreError, match="already exists"):
        open_writable(path, clock_now, migrations=[*MIGRATIONS, broken])
    assert dump_of(path) == before


def schema_of(path: Path) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.mark.parametrize("opener", [lambda path: open_writable(path, clock_now), open_read_only])
def test_a_manifest_of_a_newer_program_is_refused_by_both_numbers_and_a_remedy(
    path: Path, opener: Callable[[Path], sqlite3.Connection]
) -> None:
    open_writable(path, clock_now, migrations=[*MIGRATIONS, NEXT_FORMAT]).close()
    with pytest.raises(ManifestTooNewError) as caught:
        opener(path)
    text = str(caught.value)
    assert str(path) in text
    assert f"format {NEXT_FORMAT.number}" in text
    assert f"up to {len(MIGRATIONS)}" in text
    assert "Install the newer filingd" in text


@pytest.mark.parametrize("opener", [lambda path: open_writable(path, clock_now), open_read_only])
def test_a_file_that_is_no_database_is_refused_with_the_command_that_helps(
    path: Path, opener: Callable[[Path], sqlite3.Connection]
) -> None:
    path.write_bytes(b"PK\x03\x04" * 2000)
    with pytest.raises(
        ManifestDamagedError, match=r"manifest\.db is not a database .*filingd manifest rebuild"
    ):
        opener(path)


@pytest.mark.parametrize("opener", [lambda path: open_writable(path, clock_now), open_read_only])
def test_a_foreign_database_is_refused_and_left_alone(
    path: Path, opener: Callable[[Path], sqlite3.Connection]
) -> None:
    load("CREATE TABLE theirs (x)", path)
    before = path.read_bytes()
    with pytest.raises(ManifestDamagedError, match="not a manifest of filingd"):
        opener(path)
    assert path.read_bytes() == before


def test_a_damaged_page_is_told_as_damage_with_the_command_that_helps(path: Path) -> None:
    with closing(open_writable(path, clock_now)) as connection:
        write(connection, *(Change(None, due(f"g/{n:05}")) for n in range(2000)))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xff" * len(whole[4096:])
    path.write_bytes(whole)
    with (
        ManifestReader(path) as reader,
        pytest.raises(ManifestDamagedError, match="filingd manifest rebuild"),
    ):
        reader.page("", 10)


def test_a_manifest_whose_folder_is_missing_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(DiskFaultError, match="folder exists"):
        open_writable(tmp_path / "none" / "manifest.db", clock_now)


def test_a_new_manifest_has_its_numbers_and_its_promise_of_durability(connection: sqlite3.Connection) -> None:
    numbers = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version", "journal_mode", "synchronous")
    ]
    assert numbers == [APPLICATION_ID, len(MIGRATIONS), "wal", 2]


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFullError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, DiskFullError),
        (sqlite3.SQLITE_IOERR, DiskFaultError),
        (sqlite3.SQLITE_IOERR_FSYNC, DiskFaultError),
        (sqlite3.SQLITE_IOERR_WRITE, DiskFaultError),
        (sqlite3.SQLITE_READONLY, DiskFaultError),
        (sqlite3.SQLITE_CANTOPEN, DiskFaultError),
        (sqlite3.SQLITE_PERM, DiskFaultError),
        (sqlite3.SQLITE_CORRUPT, ManifestDamagedError),
        (sqlite3.SQLITE_NOTADB, ManifestDamagedError),
        (sqlite3.SQLITE_BUSY, ManifestBusyError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, ManifestBusyError),
        (sqlite3.SQLITE_MISUSE, StoreError),
    ],
)
def test_every_result_code_becomes_an_error_an_operator_can_act_on(
    code: int, kind: type[FilingdError], path: Path
) -> None:
    error = sqlite3.OperationalError("detail")
    error.sqlite_errorcode = code
    told = translate(error, path)
    assert type(told) is kind
    assert str(path) in str(told)


async def test_a_full_disk_fails_the_call_and_room_lets_the_next_one_through(
    manifest: SqliteManifest, path: Path
) -> None:
    await manifest.record([Change(None, due("g/first"))])
    await bound_pages(manifest, 30)
    with pytest.raises(DiskFullError, match=r"manifest\.db has no room"):
        await manifest.record([Change(None, due(f"g/{n:06}")) for n in range(5000)])
    await bound_pages(manifest, 1_000_000)
    await manifest.record([Change(None, due("g/second"))])
    assert (await manifest.counts())[State.DUE] == 2
    assert [item.key for item in await manifest.page("", 9)] == ["g/first", "g/second"]


async def bound_pages(manifest: SqliteManifest, pages: int) -> None:
    """Let SQLite report a full disk past this size."""
    await manifest._write(
        lambda statements: statements._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    )


async def test_a_call_that_fails_in_sqlite_does_not_touch_the_others_of_its_transaction(
    manifest: SqliteManifest,
) -> None:
    calls = [
        manifest.record([Change(None, due(f"g/{n:02}", priority=2**70 if n == 5 else 0))]) for n in range(12)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [5]
    assert isinstance(outcomes[5], OverflowError)
    assert (await manifest.counts())[State.DUE] == 11
    assert await manifest.scheduled_counts() == {"extract": 11}


async def test_a_call_that_cannot_be_encoded_does_not_touch_the_others(manifest: SqliteManifest) -> None:
    bad = Group("g/bad", NOW, facts={"set": {1, 2}})
    outcomes = await asyncio.gather(
        manifest.save_groups([bad]),
        manifest.save_groups([Group("g/good", NOW)]),
        manifest.record([Change(None, due("g/a", due_at=float("nan")))]),
        manifest.record([Change(None, due("g/b"))]),
        return_exceptions=True,
    )
    assert [outcome is None for outcome in outcomes] == [False, True, False, True]
    assert [group.key for group in await manifest.groups()] == ["g/good"]


async def test_a_manifest_that_another_process_holds_is_refused_clearly_and_used_again_after(
    manifest: SqliteManifest, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ManifestBusyError, match="being written by another process") as caught:
            await manifest.record([Change(None, due("g/a"))])
        assert caught.value.exit_code is ExitCode.UNAVAILABLE
        assert (await manifest.counts())[State.DUE] == 0, "reading needs no lock"
        assert not await manifest.changed_elsewhere(), "nor does asking whether anything changed"
    await manifest.record([Change(None, due("g/a"))])
    assert (await manifest.counts())[State.DUE] == 1


async def test_a_write_outlasts_another_process_that_holds_the_manifest(
    manifest: SqliteManifest, path: Path
) -> None:
    refusals: list[ManifestBusyError] = []
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")

        async def when_busy(error: ManifestBusyError) -> None:
            refusals.append(error)
            if len(refusals) == 2:
                await asyncio.to_thread(other.execute, "ROLLBACK")

        manifest.outlast_busy(when_busy)
        await manifest.record([Change(None, due("g/a"))])
    assert len(refusals) == 2
    assert (await manifest.counts())[State.DUE] == 1


OPENINGS: tuple[Callable[[Path], object], ...] = (lambda path: open_writable(path, clock_now), open_read_only)


@pytest.mark.parametrize("body", ["nbb/authentic/2026/11/2026-11-20/json.zip", "versions/nbb/a/json.v1.zip"])
@pytest.mark.parametrize("opening", OPENINGS, ids=["to write", "to read"])
def test_an_emptied_manifest_beside_bodies_is_refused_and_left_as_it_is(
    path: Path, body: str, opening: Callable[[Path], object]
) -> None:
    lost = path.with_name("manifest.db-wal")  # SQLite would remove it
    for file, data in ((path, b""), (path.parent / body, b"PK"), (lost, b"log")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    with pytest.raises(ManifestDamagedError, match=r"empty \(0 bytes\).*filingd manifest rebuild") as refused:
        opening(path)
    assert refused.value.exit_code == ExitCode.STORE
    assert (path.read_bytes(), lost.read_bytes()) == (b"", b"log")


@pytest.mark.parametrize(
    "beside", [None, "log/filingd.jsonl", "lock", "nbb/authentic/2026/11/2026-11-20/.json.zip.part"]
)
def test_an_empty_manifest_without_bodies_was_cut_at_its_birth_and_is_begun(
    path: Path, beside: str | None
) -> None:
    path.touch()
    if beside is not None:
        file = path.parent / beside
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    with closing(open_writable(path, clock_now)) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (0,)


async def test_a_failed_opening_is_raised_and_leaves_no_thread(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 400)
    with pytest.raises(ManifestDamagedError):
        await SqliteManifest.open(path, clock_now=clock_now)
    await no_manifest_threads()


async def no_manifest_threads() -> None:
    async with asyncio.timeout(10):
        while any(thread.name.startswith("manifest-") for thread in threading.enumerate()):
            await asyncio.sleep(0.001)


# ---------------------------------------------------------------- group commit


async def test_calls_that_wait_together_share_one_transaction(manifest: SqliteManifest) -> None:
    commits = await statements_seen(manifest, "COMMIT")
    await asyncio.gather(*(manifest.record([Change(None, due(f"g/{n:03}"))]) for n in range(200)))
    assert len(commits) == 1


async def test_a_batch_is_written_in_key_order_many_rows_to_a_statement(manifest: SqliteManifest) -> None:
    written = await statements_seen(manifest, "INSERT OR ROLLBACK INTO items")
    keys = [f"g/{n * 7919 % 1000:03}" for n in range(200)]
    await asyncio.gather(*(manifest.record([Change(None, due(key))]) for key in keys))
    assert len(written) == 4, "200 = 64 + 64 + 64 + 8"
    positions = ["".join(written).index(key) for key in sorted(keys)]
    assert positions == sorted(positions)


async def statements_seen(manifest: SqliteManifest, beginning: str) -> list[str]:
    """From now on, the statements of the writer that begin so, with their values."""
    seen: list[str] = []

    def trace(text: str) -> None:
        if text.startswith(beginning):
            seen.append(text)

    await manifest._write(lambda statements: statements._connection.set_trace_callback(trace))
    await manifest.note_verified("nothing", NOW)
    seen.clear()
    return seen


async def test_what_was_recorded_is_read_at_once(manifest: SqliteManifest) -> None:
    for n in range(200):
        await manifest.record([Change(None, due(f"g/{n:03}"))])
        assert await manifest.items([f"g/{n:03}"])


async def test_a_cancelled_lease_gives_its_items_back_as_they_were(
    manifest: SqliteManifest, path: Path
) -> None:
    items = [due("g/a", state=State.EMPTY), due("g/b"), due("g/c", state=State.STORED)]
    await manifest.record([Change(None, item) for item in items])
    for pauses in range(4):
        waiting = asyncio.ensure_future(manifest.lease("extract", NOW, 9))
        for _ in range(pauses):
            await asyncio.sleep(0)
        waiting.cancel()
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert isinstance(outcome, asyncio.CancelledError)
    await manifest.close()
    again = await SqliteManifest.open(path, clock_now=clock_now)
    assert list(await again.page("", 9)) == items
    assert await again.scheduled_counts() == {"extract": 3}
    assert (await again.counts())[State.ACTIVE] == 0
    await again.close()


async def test_a_lease_that_is_cancelled_while_it_waits_for_its_turn_is_undone_before_the_manifest_closes(
    manifest: SqliteManifest, path: Path
) -> None:
    await manifest.record([Change(None, due("g/a"))])
    begun = await statements_seen(manifest, "BEGIN IMMEDIATE")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        leasing = asyncio.ensure_future(manifest.lease("extract", NOW, 9))
        async with asyncio.timeout(10):
            while not begun:
                await asyncio.sleep(0)
        leasing.cancel()
        ending = asyncio.ensure_future(manifest.close())
        async with asyncio.timeout(10):
            while not manifest._writer._closing:
                await asyncio.sleep(0)
        other.execute("COMMIT")
    await ending
    again = await SqliteManifest.open(path, clock_now=clock_now)
    assert await again.leased_items() == []
    await again.close()


async def test_close_finishes_what_is_queued(path: Path) -> None:
    manifest = await SqliteManifest.open(path, clock_now=clock_now)
    waiting = [asyncio.ensure_future(manifest.record([Change(None, due(f"g/{n}"))])) for n in range(50)]
    await asyncio.sleep(0)
    await manifest.close()
    await asyncio.gather(*waiting)
    await no_manifest_threads()
    again = await SqliteManifest.open(path, clock_now=clock_now)
    assert (await again.counts())[State.DUE] == 50
    await again.close()


async def test_an_idle_writer_moves_the_log_into_the_database(manifest: SqliteManifest, path: Path) -> None:
    await manifest.record([Change(None, due(f"g/{n:06}")) for n in range(3000)])
    assert path.stat().st_size < 100_000
    async with asyncio.timeout(10):
        while path.stat().st_size < 100_000:
            await asyncio.sleep(0.01)
    assert (await manifest.counts())[State.DUE] == 3000


async def test_a_writer_that_is_never_idle_keeps_its_log_bounded(path: Path) -> None:
    manifest = await SqliteManifest.open(path, clock_now=clock_now)
    await manifest._write(
        lambda statements: statements._connection.execute("PRAGMA wal_autocheckpoint = 200").fetchone()
    )
    longest = 0
    for n in range(150):
        await manifest.record([Change(None, due(f"g/{m * 7919 % 1009:04}/{n:03}")) for m in range(100)])
        longest = max(longest, path.with_name("manifest.db-wal").stat().st_size)
    await manifest.close()
    assert longest < 3 * 200 * 4096 + 200 * 4096


# ---------------------------------------------------------------- other processes


async def test_a_manifest_opened_to_be_read_answers_and_changes_nothing(path: Path) -> None:
    writer = await SqliteManifest.open(path, clock_now=clock_now)
    await writer.record([Change(None, Item("g/a", "extract", due_at=NOW))])
    await writer.close()
    path.chmod(0o444)
    before = path.read_bytes()
    reader = await SqliteManifest.open_read_only(path)
    assert [item.key for item in await reader.page("", 9)] == ["g/a"]
    for change in (
        reader.note_verified("g/a", NOW),
        reader.record([Change(None, Item("g/b", "extract"))]),
        reader.lease("extract", NOW, 1),
    ):
        with pytest.raises(DiskFaultError, match="nothing can be changed"):
            await change
    await reader.close()
    assert path.read_bytes() == before


async def test_a_change_of_another_process_is_seen_once(manifest: SqliteManifest, path: Path) -> None:
    await manifest.record([Change(None, due("g/a"))])
    assert not await manifest.changed_elsewhere()
    subprocess.run([sys.executable, "-c", CHANGE_FROM_OUTSIDE, str(path)], check=True)
    assert await manifest.changed_elsewhere()
    assert not await manifest.changed_elsewhere()
    assert (await manifest.items(["g/a"]))["g/a"].due_at == NOW + 77


CHANGE_FROM_OUTSIDE = f"""
import sys
from pathlib import Path
from filingd.adapters.manifest_commands import ManifestWriter
with ManifestWriter(Path(sys.argv[1]), clock_now=lambda: 0.0) as writer:
    assert writer.retry(["g/a"], {NOW} + 77) == ["g/a"]
"""


# ---------------------------------------------------------------- what the schedule costs


PLANNED: dict[str, tuple[str, Any]] = {
    "next_due_at": (queries_module.NEXT_DUE, {"lane": 1}),
    "due_priorities": (queries_module.DUE_PRIORITIES, {"lane": 1, "now": 0, "limit": 9}),
    "due_items": (queries_module.DUE_ITEMS, (1, 0, 0, 9)),
    "items": (queries_module.ITEMS_BY_KEY, ('["a"]',)),
    "group_items": (queries_module.ITEMS_OF_GROUP, ("g",)),
    "page": (queries_module.ITEMS_AFTER, ("a", 9)),
    "slice_end": (queries_module.SLICE_END, ("a", 9)),
    "slice_in_states": (queries_module.SLICE_IN_STATES, ("a", "b", "[1]", 9)),
    "noteworthy": (queries_module.NOTEWORTHY_AFTER, (6, "a", 9)),
    "current_versions": (queries_module.CURRENT_VERSIONS, ('["a"]',)),
    "versions": (queries_module.VERSIONS_BY_KEY, ("a",)),
    "numbered_versions": (queries_module.VERSIONS_BY_NUMBER, ('[["a", 1]]',)),
    "groups": (queries_module.GROUPS_BY_PREFIX, ("a", "b")),
    "keys_with_prefix": (queries_module.KEYS_WITH_PREFIX, ("", "a", "b", 9)),
    "standings": (statements_module._STANDINGS, ('["a"]',)),
    "lease": (statements_module._LEASE, (1, '["a"]')),
    "note_verified": (statements_module._NOTE_VERIFIED, (1, "a")),
}


@pytest.mark.parametrize("name", PLANNED)
def test_no_question_scans_or_sorts_a_table(name: str, connection: sqlite3.Connection) -> None:
    statement, values = PLANNED[name]
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert steps
    for step in steps:
        assert not step.startswith(("SCAN items", "SCAN versions", "SCAN groups")), steps
        assert "TEMP B-TREE" not in step, steps


@pytest.mark.parametrize("name", ["next_due_at", "due_priorities", "due_items"])
def test_the_schedule_is_read_by_its_own_index(name: str, connection: sqlite3.Connection) -> None:
    statement, values = PLANNED[name]
    plan = " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
    assert "items_scheduled" in plan


def test_noteworthy_items_are_found_by_their_own_index(connection: sqlite3.Connection) -> None:
    statement, values = PLANNED["noteworthy"]
    plan = " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
    assert "items_noteworthy" in plan


def steps_of(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """How many instructions of SQLite's machine a piece of work takes: a count, not a time."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 0)
    return count


def fill_schedule(connection: sqlite3.Connection, count: int) -> None:
    """Items of 20 priorities that wait for later, and one of the last priority that is due."""
    write(
        connection,
        *(Change(None, due(f"g/{n:06}", priority=n % 20, due_at=NOW + 1 + n)) for n in range(count)),
        Change(None, due("g/due", priority=20, due_at=NOW)),
    )


@pytest.mark.parametrize("question", ["next_due_at", "lease"])
def test_what_waits_for_later_costs_a_lease_nothing(question: str, tmp_path: Path) -> None:
    costs = []
    for count in (400, 40_000):
        with closing(open_writable(tmp_path / f"{count}.db", clock_now)) as connection:
            fill_schedule(connection, count)
            statements = Statements(connection, clock_now)
            statements.next_due_at("extract")
            if question == "lease":
                costs.append(steps_of(connection, lambda: statements.lease("extract", NOW, 5)))  # noqa: B023 - called at once
            else:
                costs.append(steps_of(connection, lambda: statements.next_due_at("extract")))  # noqa: B023 - called at once
    few, many = costs
    assert many <= few * 1.2, f"{few} steps with 400 waiting items, {many} with 40,000"


def test_counts_cost_the_same_for_any_number_of_items(tmp_path: Path) -> None:
    costs = []
    for count in (400, 40_000):
        with closing(open_writable(tmp_path / f"{count}.db", clock_now)) as connection:
            fill_schedule(connection, count)
            queries = Queries(connection)
            costs.append(steps_of(connection, lambda: (queries.counts(), queries.scheduled_counts())))  # noqa: B023 - called at once
    assert costs[0] == costs[1]


async def test_a_rare_state_is_found_beyond_many_slices(
    manifest: SqliteManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries_module, "SLICE_ROWS", 10)
    await manifest.record([Change(None, due(f"g/{n:03}")) for n in range(100)])
    await manifest.record([Change(None, due(f"g/{n:03}+", state=State.EMPTY)) for n in (3, 55, 99)])
    empty = frozenset({State.EMPTY})
    assert [item.key for item in await manifest.page("", 9, empty)] == ["g/003+", "g/055+", "g/099+"]
    assert [item.key for item in await manifest.page("g/003+", 1, empty)] == ["g/055+"]
    assert await manifest.page("g/099+", 9, empty) == []


def test_a_thousand_priorities_are_leased_in_order(connection: sqlite3.Connection) -> None:
    write(connection, *(Change(None, due(f"g/{n:04}", priority=999 - n)) for n in range(1000)))
    taken = Statements(connection, clock_now).lease("extract", NOW, 600)
    assert [item.priority for item in taken.leased] == list(range(600))


def test_a_finished_row_stays_under_120_bytes(path: Path) -> None:
    count = 20_000
    with closing(open_writable(path, clock_now)) as connection:
        for begin in range(0, count, 2000):
            write(connection, *(finished(n) for n in range(begin, begin + 2000)))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert path.stat().st_size / count < 120


def finished(n: int) -> Change:
    sha256 = json.dumps(n).encode().rjust(32, b"\x9f")
    item = Item(
        f"nbb/document/2026-{n:08}",
        "authentic-query",
        State.STORED,
        100,
        None,
        size_bytes=8_282 + n,
        sha256=sha256,
        stored_at=NOW + n,
        version=1,
    )
    return Change(None, item)
