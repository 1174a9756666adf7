"""The catalogue as a file: what is begun anew and what is refused, what a command sees, how rows are packed, what is left
of what was forgotten, and which questions may never read a whole table."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.adapters import catalogue_queries, catalogue_statements
from filingd.adapters.catalogue import SqliteCatalogue
from filingd.adapters.catalogue_reader import CatalogueReader
from filingd.adapters.catalogue_rows import (
    pack_date,
    pack_enterprise,
    pack_reference,
    pack_references,
    unpack_date,
    unpack_enterprise,
    unpack_reference,
    unpack_references,
)
from filingd.adapters.catalogue_schema import (
    FORMAT,
    damage_mark_of,
    mark_damaged,
    offers_name_index,
    open_writable,
    translate,
)
from filingd.core.catalogue import (
    CatalogueDamagedError,
    Contribution,
    DocumentPlace,
    Filing,
    Forgotten,
    Source,
    Totals,
)
from filingd.core.errors import DiskFaultError, DiskFullError, StoreError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

REF = "2026-00999001"
DAY = "nbb/authentic/2026-11-20"
LISTED = Contribution(
    Source(f"{DAY}/references", 1, f"{DAY}/references.zip", "nbb/authentic", "2026-11-20"),
    filings=(
        Filing(REF, enterprise="0999000129", enterprise_name="VOORBEELD ZWAMBERG", deposit_date="2026-06-24"),
    ),
)
HELD = Contribution(
    Source(f"{DAY}/json", 1, f"{DAY}/json.zip", "nbb/authentic", "2026-11-20"),
    places=(
        DocumentPlace(REF, "json", 90, member=f"{REF}.json", offset=60, packed_bytes=40, method=8, crc32=7),
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


async def fill(path: Path) -> None:
    catalogue = await SqliteCatalogue.open(path)
    await catalogue.contribute(LISTED)
    await catalogue.contribute(HELD)
    await catalogue.close()


async def reopened(path: Path) -> tuple[bool, Totals]:
    catalogue = await SqliteCatalogue.open(path)
    totals = await catalogue.totals()
    await catalogue.close()
    return catalogue.began_anew, totals


# ---------------------------------------------------------------- opening


async def test_what_was_taken_in_is_there_after_a_restart(path: Path) -> None:
    await fill(path)
    assert await reopened(path) == (False, Totals(2, 1, 1))


async def test_a_new_catalogue_says_that_it_is_empty(path: Path) -> None:
    assert await reopened(path) == (True, Totals())


@pytest.mark.parametrize(
    "rubbish", [b"", b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
async def test_a_file_that_is_no_database_is_begun_anew(path: Path, rubbish: bytes) -> None:
    path.write_bytes(rubbish)
    assert await reopened(path) == (True, Totals())
    assert await reopened(path) == (False, Totals())


@pytest.mark.parametrize("version", [2 * FORMAT - 2, 2 * FORMAT + 2, 99])
async def test_another_format_older_or_newer_is_begun_anew(path: Path, version: int) -> None:
    await fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    assert await reopened(path) == (True, Totals())


async def test_a_catalogue_whose_names_are_indexed_otherwise_is_begun_anew(path: Path) -> None:
    await fill(path)
    other = await SqliteCatalogue.open(path, with_name_index=not await asyncio.to_thread(offers_name_index))
    assert other.began_anew
    await other.close()


async def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (thing)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnavailableError, match="not a catalogue of filingd"):
        await SqliteCatalogue.open(path)
    assert path.read_bytes() == before


async def test_a_damage_found_while_it_is_open_makes_the_next_opening_begin_anew(path: Path) -> None:
    catalogue = await SqliteCatalogue.open(path)
    for number in range(200):
        source = Source(f"k{number}", 1, "p", "nbb/authentic", "2026-11-20")
        await catalogue.contribute(Contribution(source, tuple(Filing(f"{number}-{n}") for n in range(20))))
    await catalogue.close()
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 8 * 4096))
    damaged = await SqliteCatalogue.open(path)
    asked = [damaged.entry(f"{number}-3") for number in range(200)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    faults = [one for one in found if isinstance(one, BaseException)]
    assert faults
    assert all(isinstance(one, CatalogueDamagedError) for one in faults)
    assert "made anew from the stored files" in str(faults[0])
    await damaged.close()
    assert damage_mark_of(path).exists()
    assert await reopened(path) == (True, Totals())
    assert not damage_mark_of(path).exists()


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskFaultError, match="cannot be opened"):
        await SqliteCatalogue.open(tmp_path / "nowhere" / "catalogue.db")


async def test_a_writer_that_does_not_let_go_is_told_and_costs_only_its_call(path: Path) -> None:
    catalogue = await SqliteCatalogue.open(path, busy_timeout_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another process"):
        await catalogue.contribute(LISTED)
    other.execute("COMMIT")
    other.close()
    assert (await catalogue.contribute(LISTED)).is_new
    await catalogue.close()


async def test_a_call_that_fails_does_not_take_those_with_it_that_came_together(path: Path) -> None:
    catalogue = await SqliteCatalogue.open(path)
    wrong = Contribution(LISTED.source, filings=(Filing(REF, row=2**70),))
    done = await asyncio.gather(
        catalogue.contribute(HELD),
        catalogue.contribute(wrong),
        catalogue.contribute(LISTED),
        return_exceptions=True,
    )
    assert isinstance(done[1], OverflowError)
    assert await catalogue.totals() == Totals(2, 1, 1)
    assert (await catalogue.filings_of("0999000129"))[0].documents[0].place == HELD.places[0]
    await catalogue.close()


async def test_nothing_is_let_in_after_the_end(path: Path) -> None:
    catalogue = await SqliteCatalogue.open(path)
    await catalogue.close()
    await catalogue.close()
    with pytest.raises(StoreError, match="stopping"):
        await catalogue.contribute(LISTED)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFullError),
        (sqlite3.SQLITE_IOERR_WRITE, DiskFaultError),
        (sqlite3.SQLITE_READONLY_DBMOVED, DiskFaultError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, UnavailableError),
        (sqlite3.SQLITE_CORRUPT_INDEX, CatalogueDamagedError),
        (sqlite3.SQLITE_MISUSE, UnavailableError),
    ],
)
def test_every_refusal_of_the_database_has_its_words(path: Path, code: int, kind: type[Exception]) -> None:
    error = sqlite3.OperationalError("said SQLite")
    error.sqlite_errorcode, error.sqlite_errorname = code, "NAME"
    told = translate(error, path)
    assert type(told) is kind
    assert str(path) in str(told)
    assert damage_mark_of(path).exists() == (kind is CatalogueDamagedError)


# ---------------------------------------------------------------- commands


async def test_a_command_sees_what_the_daemon_took_in_while_it_runs(path: Path) -> None:
    catalogue = await SqliteCatalogue.open(path)
    with await asyncio.to_thread(CatalogueReader, path) as reader:
        assert await asyncio.to_thread(reader.totals) == Totals()
        await catalogue.contribute(LISTED)
        await catalogue.contribute(HELD)
        assert await asyncio.to_thread(reader.filings_of, "0999000129") == await catalogue.filings_of(
            "0999000129"
        )
        assert await asyncio.to_thread(reader.names_like, "zwam", 5) == await catalogue.names_like("zwam", 5)
        assert await asyncio.to_thread(reader.sources) == await catalogue.sources()
    await catalogue.close()


def test_a_command_is_told_that_there_is_no_catalogue_yet(path: Path) -> None:
    with pytest.raises(StoreError, match="no catalogue at"):
        CatalogueReader(path)


async def test_a_command_never_changes_a_catalogue_it_cannot_read(path: Path) -> None:
    await fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another format"):
        await asyncio.to_thread(CatalogueReader, path)
    assert path.read_bytes() == before


# ---------------------------------------------------------------- forgetting


async def test_nothing_of_what_was_forgotten_is_left_in_the_file_or_beside_it(path: Path) -> None:
    traces = [b"ZWAMBERG"] + [b"zwa"] * await asyncio.to_thread(offers_name_index)
    await fill(path)
    assert all(trace in path.read_bytes() for trace in traces)
    catalogue = await SqliteCatalogue.open(path)
    await catalogue.forget(Forgotten(enterprises=frozenset({"0999000129"})))
    for file in path.parent.iterdir():
        assert not any(trace in file.read_bytes() for trace in traces), file
    await catalogue.close()
    assert not any(trace in path.read_bytes() for trace in traces)


async def test_what_was_forgotten_before_is_taken_out_on_opening(path: Path) -> None:
    await fill(path)
    catalogue = await SqliteCatalogue.open(path, forgotten=Forgotten(references=frozenset({REF})))
    assert await catalogue.totals() == Totals(sources=2)
    await catalogue.close()


# ---------------------------------------------------------------- packing

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
references = st.from_regex(r"\A[0-9]{4}-[0-9]{1,9}\Z") | texts


@given(references)
def test_a_reference_comes_back_from_its_packed_form(reference: str) -> None:
    assert unpack_reference(pack_reference(reference)) == reference


@given(references, references)
def test_two_references_never_have_one_packed_form(one: str, other: str) -> None:
    assert (pack_reference(one) == pack_reference(other)) == (one == other)


@given(st.none() | st.from_regex(r"\A[0-9]{9,11}\Z") | texts)
def test_an_enterprise_number_comes_back_from_its_packed_form(number: str | None) -> None:
    assert unpack_enterprise(pack_enterprise(number)) == number


@given(st.none() | st.dates().map(str) | st.from_regex(r"\A[0-9]{4}-?[0-9]{2}-?[0-9]{2}\Z") | texts)
def test_a_date_comes_back_from_its_packed_form(text: str | None) -> None:
    assert unpack_date(pack_date(text)) == text


@given(st.lists(references))
def test_the_references_of_an_item_come_back_each_once(found: list[str]) -> None:
    packed = [pack_reference(one) for one in found]
    again = unpack_references(pack_references(packed))
    assert len(again) == len(set(again))
    assert set(again) == set(packed)


# ---------------------------------------------------------------- what questions read

STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}{name}": statement
    for module in (catalogue_queries, catalogue_statements)
    for name, statement in vars(module).items()
    if isinstance(statement, str) and name.isupper() and statement.lstrip().startswith(("SELECT", "DELETE"))
}
MAY_READ_ALL = {"catalogue_queries_ALL_NAMES", "catalogue_queries_TOTALS"}


@pytest.mark.skipif(not offers_name_index(), reason="this SQLite has no trigrams")
@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - MAY_READ_ALL))
def test_no_question_reads_a_whole_table(path: Path, name: str) -> None:
    connection = open_writable(path, with_name_index=True).connection
    statement = STATEMENTS[name]
    asked = [None] * statement.count("?") or dict.fromkeys(
        ("references", "family", "day", "kind", "any_variant", "source")
    )
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", asked)]
    connection.close()
    assert plan
    scans = [
        step
        for step in plan
        if step.startswith("SCAN") and "VIRTUAL TABLE" not in step and "json_each" not in step
    ]
    assert scans == []


def test_the_statements_that_are_looked_at_are_those_there_are() -> None:
    assert len(STATEMENTS) > 15
    assert STATEMENTS.keys() > MAY_READ_ALL


@pytest.mark.parametrize("what", ["removed", "exchanged", "found damaged"])
async def test_a_catalogue_that_is_not_the_opened_one_any_more_says_so(path: Path, what: str) -> None:
    catalogue = await SqliteCatalogue.open(path)
    await catalogue.check_in_place()
    if what == "removed":
        path.unlink()
    elif what == "exchanged":
        shutil.copy(path, path.with_name("other"))
        path.with_name("other").rename(path)
    else:
        mark_damaged(path)
    with pytest.raises(CatalogueDamagedError):
        await catalogue.check_in_place()
    await catalogue.close()
