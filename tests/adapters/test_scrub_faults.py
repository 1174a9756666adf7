"""Each system call fails once while something is taken out: the stored body is as it was, and nothing is left lying about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.test_store_faults import (
    FaultyCalls,
    failing,
    lying,
    outcome_of,
    published,
    staged_and_filled,
)
from contracts.test_store_contract import BODY, GONE, LEFT, PLAN, TARGET
from fakes.store import NoSteps
from filingd.adapters.store import DiskStore
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.tombstones import Tombstone
from support.scrubs import Without

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SCRUB = Without({GONE})
FIRST, SECOND = Tombstone("2026-00999001", False, 1.0), Tombstone("2026-00999002", False, 2.0)


@pytest.fixture
def calls() -> FaultyCalls:
    return FaultyCalls()


@pytest.fixture
async def store(tmp_path: Path, calls: FaultyCalls) -> AsyncIterator[DiskStore]:
    made = DiskStore(tmp_path, NoSteps(), calls)
    yield made
    calls.disarm()
    await made.close()


async def exchange(store: DiskStore) -> None:
    taken = await store.stage_scrubbed(TARGET, PLAN, SCRUB)
    assert taken is not None
    try:
        await taken[0].publish(None)
    except BaseException:
        await taken[0].discard()
        raise


async def arrive(store: DiskStore) -> None:
    staged = await staged_and_filled(store, BODY)
    try:
        assert await staged.scrub(SCRUB) is not None
        await staged.publish(None)
    except BaseException:
        await staged.discard()
        raise


@pytest.mark.parametrize(("call", "uses"), [("open", 6), ("write", 6), ("fsync", 4), ("rename", 2)])
async def test_a_stored_body_is_exchanged_whole_or_stays_as_it_was(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, uses: int
) -> None:
    await published(store, BODY, None)
    before, refused = lying(tmp_path), 0
    for at in range(1, uses + 1):
        for error in failing(calls, call, at):
            said = await outcome_of(exchange(store))
            if said is None:
                break  # it took fewer calls, or one that nobody depends on
            refused += 1
            assert type(said) is error
            assert lying(tmp_path) == before, f"{call} {at}"
        if said is None:
            break
    assert refused
    if lying(tmp_path) == before:
        calls.disarm()
        await exchange(store)
    assert [member.name for member in await store.members(TARGET) or ()] == LEFT


@pytest.mark.parametrize(("call", "uses"), [("open", 9), ("write", 12), ("fsync", 4), ("rename", 3)])
async def test_what_arrives_gets_its_name_without_what_is_forgotten_or_not_at_all(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, uses: int
) -> None:
    refused = 0
    for at in range(1, uses + 1):
        for error in failing(calls, call, at):
            said = await outcome_of(arrive(store))
            if said is not None:
                refused += 1
                assert type(said) is error
                assert lying(tmp_path) == {}, f"{call} {at}"
            else:
                assert [member.name for member in await store.members(TARGET) or ()] == LEFT
                calls.disarm()
                await store.remove(TARGET)
    assert refused


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
async def test_tombstones_are_written_or_it_is_said_that_they_were_not(
    store: DiskStore, calls: FaultyCalls, call: str
) -> None:
    await store.add_tombstones([FIRST])
    for error in failing(calls, call, 1):
        with pytest.raises((DiskFullError, DiskFaultError)) as refused:
            await store.add_tombstones([SECOND])
        assert type(refused.value) is error
        assert await store.tombstones() == [FIRST]
    await store.add_tombstones([SECOND])
    assert await store.tombstones() == [FIRST, SECOND]


async def test_a_line_that_a_death_cut_off_is_taken_away_by_the_next(
    store: DiskStore, tmp_path: Path
) -> None:
    await store.add_tombstones([FIRST])
    with (tmp_path / "forgotten.jsonl").open("a") as file:
        file.write('{"subject": "2026-0099')
    assert await store.tombstones() == [FIRST]
    await store.add_tombstones([SECOND])
    assert await store.tombstones() == [FIRST, SECOND]
    assert (tmp_path / "forgotten.jsonl").stat().st_mode & 0o777 == 0o640


async def test_a_zip_in_which_the_walk_saw_nothing_suspect_need_not_be_one_that_can_be_edited(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filingd.adapters.zipedit._DIRECTORY_BYTES_MAX", 1)
    staged = await staged_and_filled(store, BODY)
    assert await staged.scrub(Without({"2026-99999999.json"})) is None
    with pytest.raises(DiskFaultError, match="the directory cannot be"):
        await staged.scrub(SCRUB)
    await staged.discard()
