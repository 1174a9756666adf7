"""A store that is exchanged for a copy of itself at the worst moment: nothing of the copy is touched."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from contracts.test_store_contract import BODY, PLAN, REFUSAL, TARGET, partial_record, pour
from fakes.store import NoSteps
from filingd.adapters.disk import Syscalls
from filingd.adapters.store import DiskStore
from filingd.core.errors import StoreReplacedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from filingd.ports import Staged

OTHER = "nbb/documents/1.json"


class Exchanging(Syscalls):
    """Puts a copy in the place of the store during the first sync after it is `armed`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.armed = False

    def exchange(self) -> None:
        """Now."""
        self.armed = False
        shutil.copytree(self.root, self.root.with_name("copy"))
        self.root.rename(self.root.with_name("elsewhere"))
        self.root.with_name("copy").rename(self.root)

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        if self.armed:
            self.exchange()

    def syncfs(self, fd: int) -> None:
        super().syncfs(fd)
        if self.armed:
            self.exchange()


def lying(root: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    root.mkdir()
    return root


@pytest.fixture
def calls(root: Path) -> Exchanging:
    return Exchanging(root)


async def half_received(store: DiskStore) -> Staged:
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    await pour(staged, BODY)
    await staged.finish(len(BODY))
    return staged


ENDINGS: dict[str, Callable[[Staged], Awaitable[object]]] = {
    "keep": lambda staged: staged.keep(partial_record()),
    "quarantine": lambda staged: staged.quarantine(REFUSAL),
    "discard": lambda staged: staged.discard(),
    "publish": lambda staged: staged.publish(None),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_body_that_ends_after_the_exchange_leaves_the_other_store_as_it_was(
    root: Path, calls: Exchanging, ending: str
) -> None:
    store = DiskStore(root, NoSteps(), calls)
    staged = await half_received(store)
    calls.exchange()
    before = lying(root)
    assert before, "the copy has the partial file too"
    if ending in ("publish", "quarantine"):
        with pytest.raises(StoreReplacedError):
            await ENDINGS[ending](staged)
    else:
        await ENDINGS[ending](staged)
    assert lying(root) == before
    await store.close()


async def test_an_exchange_while_a_body_is_synced_publishes_nothing_in_the_other_store(
    root: Path, calls: Exchanging
) -> None:
    store = DiskStore(root, NoSteps(), calls)
    first = await half_received(store)
    await first.publish(None)
    sealed = lying(root)
    staged = await half_received(store)
    calls.armed = True
    with pytest.raises(StoreReplacedError):
        await staged.publish("versions/nbb/authentic/2026/11/2026-11-20/json.v1.zip")
    assert {name: data for name, data in lying(root).items() if "/." not in name} == sealed
    await store.close()


async def test_an_exchange_while_documents_are_synced_publishes_none_in_the_other_store(
    root: Path, calls: Exchanging
) -> None:
    store = DiskStore(root, NoSteps(), calls)
    assert await store.put_documents([(OTHER, b"{}")]) == [None]
    calls.armed = True
    errors = await store.put_documents([("nbb/documents/2.json", b"{}"), (OTHER, b"[]")])
    assert [type(error) for error in errors] == [StoreReplacedError] * 2
    assert {name: data for name, data in lying(root).items() if "/." not in name} == {OTHER: b"{}"}
    await store.close()


async def test_the_folder_of_everything_published_is_held_as_soon_as_it_is_there(root: Path) -> None:
    store = DiskStore(root, NoSteps(), anchored_names=("nbb",))
    assert await store.put_documents([(OTHER, b"{}")]) == [None]
    await store.check_in_place()
    (root / "nbb").rename(root / "moved")
    (root / "nbb").mkdir()
    with pytest.raises(StoreReplacedError, match="nbb"):
        await store.check_in_place()
    await store.close()
