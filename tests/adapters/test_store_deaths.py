"""A process is killed at each step of publishing, for real; another one finds the store in order.

This is the store alone. tests/crash kills the whole daemon.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.test_store_contract import BODY, OTHER_BODY, PLAN, TARGET, pour
from fakes.store import NoSteps
from filingd.adapters.store import DiskStore
from filingd.core import steps as step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREVIOUS = "versions/nbb/json.1.zip"
STEPS = (
    step.PART_OPENED,
    step.PART_RECORDED,
    step.BODY_RECEIVED,
    step.BODY_VERIFIED,
    step.BODY_SYNCED,
    step.PREVIOUS_KEPT,
    step.BODY_RENAMED,
    step.FOLDER_SYNCED,
    step.INDEX_WRITTEN,
)

_PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from contracts.test_store_contract import BODY, PLAN, TARGET, partial_record, pour
from filingd.adapters.store import DiskStore

class Deadly:
    def reached(self, step):
        if step == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    store = DiskStore(Path(sys.argv[1]), Deadly())
    if sys.argv[3] == "document":
        await store.put_documents([(TARGET, BODY)])
    else:
        staged = await store.stage(TARGET, PLAN, None, partial_record())
        await pour(staged, BODY)
        await staged.finish(len(BODY))
        await staged.publish(sys.argv[3] or None)
    await store.close()

asyncio.run(main())
"""


def die_at(root: Path, name: str, previous_to: str) -> None:
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), *sys.path])}
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(root), name, previous_to], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL, f"{name} was never reached"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskStore]:
    made = DiskStore(tmp_path, NoSteps())
    yield made
    await made.close()


async def found(store: DiskStore, target: str) -> bytes | None:
    report = await store.check(target, PLAN)
    if report is None:
        return None
    assert report.problem is None, f"{target} is {report.problem}"
    return report.sha256


async def digest_of(store: DiskStore, data: bytes) -> bytes | None:
    await store.put_documents([("sample", data)])
    return await found(store, "sample")


@pytest.mark.parametrize("name", [name for name in STEPS if name != step.PREVIOUS_KEPT])
async def test_a_first_body_is_whole_or_absent_after_a_death(
    store: DiskStore, tmp_path: Path, name: str
) -> None:
    die_at(tmp_path, name, "")
    was_renamed = STEPS.index(name) >= STEPS.index(step.BODY_RENAMED)
    assert await store.files("nbb") == ([TARGET] if was_renamed else [])
    assert await found(store, TARGET) == (await digest_of(store, BODY) if was_renamed else None)
    if was_renamed:
        assert len(await store.members(TARGET) or []) == 40
    await store.sweep(frozenset())
    assert await _staging_files(tmp_path) == []


@pytest.mark.parametrize("name", STEPS)
async def test_the_body_that_was_there_survives_a_death(store: DiskStore, tmp_path: Path, name: str) -> None:
    await store.put_documents([(TARGET, OTHER_BODY)])
    die_at(tmp_path, name, PREVIOUS)
    old, new = await digest_of(store, OTHER_BODY), await digest_of(store, BODY)
    is_kept = STEPS.index(name) >= STEPS.index(step.PREVIOUS_KEPT)
    was_renamed = STEPS.index(name) >= STEPS.index(step.BODY_RENAMED)
    assert await found(store, TARGET) == (new if was_renamed else old)
    assert await found(store, PREVIOUS) == (old if is_kept else None)
    await store.sweep(frozenset())
    assert await _staging_files(tmp_path) == []


@pytest.mark.parametrize(
    "name", [step.PART_RECORDED, step.BODY_RECEIVED, step.BODY_VERIFIED, step.BODY_SYNCED]
)
async def test_what_had_arrived_can_be_gone_on_with_after_a_death(
    store: DiskStore, tmp_path: Path, name: str
) -> None:
    die_at(tmp_path, name, "")
    partial = await store.partial(TARGET)
    if name == step.PART_RECORDED:
        assert partial is None  # not a byte had arrived
        return
    assert partial is not None
    assert await store.sweep(frozenset({TARGET})) == []
    resumed = await store.stage(TARGET, PLAN, partial, None)
    await pour(resumed, BODY[partial.received_bytes :])
    assert (await resumed.finish(len(BODY))).problem is None
    await resumed.publish(None)
    assert await _staging_files(tmp_path) == []


@pytest.mark.parametrize("name", [step.BODY_SYNCED, step.BODY_RENAMED, step.FOLDER_SYNCED])
@pytest.mark.parametrize("had_one", [False, True])
async def test_a_document_is_whole_or_absent_after_a_death(
    store: DiskStore, tmp_path: Path, name: str, had_one: bool
) -> None:
    if had_one:
        await store.put_documents([(TARGET, OTHER_BODY)])
    die_at(tmp_path, name, "document")
    new = await digest_of(store, BODY)
    before = await digest_of(store, OTHER_BODY) if had_one else None
    assert await found(store, TARGET) == (before if name == step.BODY_SYNCED else new)
    await store.sweep(frozenset())
    assert await _staging_files(tmp_path) == []


async def _staging_files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob(".*"))
