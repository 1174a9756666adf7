"""Each system call fails once, for each reason: nothing half gets a final name, nothing is lost that was there."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.test_store_contract import BODY, OTHER_BODY, PLAN, REFUSAL, TARGET, partial_record, pour
from fakes.store import NoSteps
from filingd.adapters.disk import Syscalls
from filingd.adapters.store import DiskStore
from filingd.core.errors import DiskFaultError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from filingd.ports import Staged

ERRORS = {errno.EIO: DiskFaultError, errno.ENOSPC: DiskFullError, errno.EDQUOT: DiskFullError}
PREVIOUS = "versions/nbb/json.1.zip"


class FaultyCalls(Syscalls):
    """Fails the `at`-th use of one call (from 1), on everything below the store."""

    def __init__(self) -> None:
        self.armed: tuple[str, int, int] | None = None
        self.used: dict[str, int] = {}

    def arm(self, call: str, number: int, at: int = 1) -> None:
        self.used.clear()
        self.armed = (call, number, at)

    def disarm(self) -> None:
        self.armed = None

    @property
    def fired(self) -> bool:
        return self.armed is not None and self.used.get(self.armed[0], 0) >= self.armed[2]

    def _note(self, call: str) -> None:
        self.used[call] = self.used.get(call, 0) + 1
        if self.armed is not None and self.armed[0] == call and self.used[call] == self.armed[2]:
            raise OSError(self.armed[1], os.strerror(self.armed[1]))

    def open(self, path: Path | str, flags: int) -> int:
        self._note("open")
        return super().open(path, flags)

    def write(self, fd: int, data: memoryview) -> int:
        self._note("write")
        return super().write(fd, data[: max(1, len(data) // 2)])  # and the kernel takes only a part

    def fsync(self, fd: int) -> None:
        self._note("fsync")
        super().fsync(fd)

    def rename(self, source: Path | str, target: Path | str) -> None:
        self._note("rename")
        super().rename(source, target)

    def rename_to_free(self, source: str, target: str) -> None:
        self._note("rename_to_free")
        super().rename_to_free(source, target)

    def link(self, source: Path | str, target: Path | str) -> None:
        self._note("link")
        super().link(source, target)

    def close(self, fd: int) -> None:
        super().close(fd)
        self._note("close")

    def syncfs(self, fd: int) -> None:
        self._note("syncfs")
        super().syncfs(fd)


@pytest.fixture
def calls() -> FaultyCalls:
    return FaultyCalls()


@pytest.fixture
async def store(tmp_path: Path, calls: FaultyCalls) -> AsyncIterator[DiskStore]:
    made = DiskStore(tmp_path, NoSteps(), calls)
    yield made
    calls.disarm()
    await made.close()


def lying(root: Path) -> dict[str, bytes]:
    """Every file below the root but indexes."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_relative_to(root / "index")
    }


async def staged_and_filled(store: DiskStore, body: bytes) -> Staged:
    staged = await store.stage(TARGET, PLAN, None, partial_record(total_bytes=len(body)))
    try:
        await pour(staged, body)
        report = await staged.finish(len(body))
        assert report.problem is None
    except BaseException:
        await staged.discard()
        raise
    return staged


async def published(store: DiskStore, body: bytes, previous_to: str | None) -> None:
    staged = await staged_and_filled(store, body)
    try:
        await staged.publish(previous_to)
    except BaseException:
        await staged.discard()
        raise


async def outcome_of(publishing: Coroutine[Any, Any, None]) -> DiskFullError | DiskFaultError | None:
    """What the disk said, if it refused."""
    try:
        await publishing
    except (DiskFullError, DiskFaultError) as refusal:
        return refusal
    return None


def failing(calls: FaultyCalls, call: str, at: int) -> Iterator[type[Exception]]:
    for number, error in ERRORS.items():
        calls.arm(call, number, at)
        yield error
        calls.disarm()


PUBLISHING_CALLS = [("open", 9), ("write", 3), ("fsync", 8), ("rename", 2), ("close", 9)]


@pytest.mark.parametrize(("call", "uses"), PUBLISHING_CALLS)
async def test_publishing_the_first_body_is_all_or_nothing(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, uses: int
) -> None:
    fired = 0
    for at in range(1, uses + 1):
        for error in failing(calls, call, at):
            outcome = await outcome_of(published(store, BODY, None))
            if outcome is not None:
                fired += 1
                assert isinstance(outcome, error)
                assert str(tmp_path) in str(outcome)
                assert lying(tmp_path) == {}, f"{call} {at}"
            else:
                assert lying(tmp_path) == {TARGET: BODY}, f"{call} {at}"
                calls.disarm()
                await store.remove(TARGET)
            shutil.rmtree(tmp_path / "nbb", ignore_errors=True)
    assert fired >= len(ERRORS)


@pytest.mark.parametrize("previous_to", [None, PREVIOUS])
@pytest.mark.parametrize(("call", "uses"), [*PUBLISHING_CALLS, ("link", 2)])
async def test_replacing_a_body_is_all_or_nothing(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, uses: int, previous_to: str | None
) -> None:
    fired = 0
    for at in range(1, uses + 1):
        for error in failing(calls, call, at):
            armed, calls.armed = calls.armed, None
            await published(store, OTHER_BODY, None)
            calls.armed = armed
            calls.used.clear()
            outcome = await outcome_of(published(store, BODY, previous_to))
            if outcome is not None:
                fired += 1
                assert isinstance(outcome, error)
                assert lying(tmp_path) == {TARGET: OTHER_BODY}, f"{call} {at}"
            else:
                expected = {TARGET: BODY, **({previous_to: OTHER_BODY} if previous_to else {})}
                assert lying(tmp_path) == expected, f"{call} {at}"
            shutil.rmtree(tmp_path / "versions", ignore_errors=True)
    assert fired >= len(ERRORS)


@pytest.mark.parametrize("number", ERRORS)
async def test_a_failing_write_in_the_middle_reaches_the_receiver(
    store: DiskStore, calls: FaultyCalls, number: int
) -> None:
    staged = await store.stage(TARGET, PLAN, None, partial_record(total_bytes=None))
    calls.arm("write", number)
    with pytest.raises(ERRORS[number]):
        await pour_until_failure(staged, bytes(20 << 20))
    with pytest.raises(ERRORS[number]):
        await staged.finish(None)
    with pytest.raises(ERRORS[number]):
        await staged.publish(None)
    await staged.discard()
    assert await store.sweep(frozenset()) == []


async def test_a_full_disk_leaves_what_can_be_gone_on_with(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path
) -> None:
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    calls.arm("write", errno.ENOSPC, at=3)  # after a part of the buffer was written
    await pour(staged, BODY)
    with pytest.raises(DiskFullError):
        await staged.finish(None)
    calls.disarm()
    await staged.keep(partial_record())
    assert lying(tmp_path).keys() <= {
        f"{TARGET.rpartition('/')[0]}/.json.zip.part{end}" for end in ("", ".json")
    }
    partial = await store.partial(TARGET)
    if partial is not None:
        resumed = await store.stage(TARGET, PLAN, partial, None)
        await pour(resumed, BODY[partial.received_bytes :])
        assert (await resumed.finish(len(BODY))).problem is None
        await resumed.discard()


async def test_what_a_faulty_disk_holds_is_not_kept(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path
) -> None:
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    calls.arm("write", errno.EIO, at=3)
    await pour(staged, BODY)
    with pytest.raises(DiskFaultError):
        await staged.finish(None)
    calls.disarm()
    await staged.keep(partial_record())
    assert lying(tmp_path) == {}


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize(("call", "uses"), [("open", 2), ("write", 2), ("fsync", 3), ("rename", 2)])
async def test_quarantine_loses_no_byte(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, uses: int, number: int
) -> None:
    for at in range(1, uses + 1):
        staged = await staged_and_filled(store, BODY)
        calls.arm(call, number, at)
        try:
            await staged.quarantine(REFUSAL)
        except ERRORS[number]:
            calls.disarm()
            assert any(data == BODY for data in lying(tmp_path).values())
            await staged.discard()
        calls.disarm()
        assert TARGET not in lying(tmp_path)
        assert await store.sweep(frozenset()) == []


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize(
    ("call", "uses"), [("open", 2), ("write", 3), ("fsync", 2), ("rename", 1), ("close", 1)]
)
async def test_a_text_is_replaced_whole_or_not_at_all(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, uses: int, number: int
) -> None:
    await store.write_text("nbb/day.json", "before")
    for at in range(1, uses + 1):
        calls.arm(call, number, at)
        try:
            await store.write_text("nbb/day.json", "after!")
        except ERRORS[number]:
            assert lying(tmp_path)["nbb/day.json"] in (b"before", b"after!")
        calls.disarm()
        assert lying(tmp_path).keys() == {"nbb/day.json"}


# ---------------------------------------------------------------- callers that are cancelled


async def cancelled_at_once(work: Coroutine[Any, Any, Any]) -> None:
    """Cancel it while its first job is with the side thread."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_publishing_whose_caller_is_cancelled_is_finished_all_the_same(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, NoSteps())
    staged = await staged_and_filled(store, BODY)
    await cancelled_at_once(staged.publish(None))
    await staged.discard()
    await store.close()
    assert lying(tmp_path) == {TARGET: BODY}


async def test_a_keeping_whose_caller_is_cancelled_is_finished_all_the_same(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, NoSteps())
    staged = await store.stage(TARGET, PLAN, None, None)
    await pour(staged, BODY[:700])
    await cancelled_at_once(staged.keep(partial_record()))
    await store.close()
    again = DiskStore(tmp_path, NoSteps())
    assert await again.partial(TARGET) == partial_record(700)
    await again.close()


async def test_a_staging_whose_caller_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    store = DiskStore(tmp_path, NoSteps())
    await cancelled_at_once(store.stage(TARGET, PLAN, None, partial_record()))
    await store.close()
    assert lying(tmp_path) == {}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_bodies_after_a_cancelled_one_are_not_mixed_with_it(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, NoSteps())
    for number in range(20):
        lost = await store.stage("nbb/lost.zip", PLAN, None, None)
        await pour(lost, bytes([number]) * 3_000_000)
        await cancelled_at_once(lost.keep(partial_record()))
        staged = await staged_and_filled(store, BODY)
        await staged.publish(None)
        assert (tmp_path / TARGET).read_bytes() == BODY
    await store.close()
    assert (tmp_path / "nbb/.lost.zip.part").read_bytes() == bytes([19]) * 3_000_000


# ---------------------------------------------------------------- documents


DOCUMENTS = [(f"kvk/{number}/a.json", b"%d" % number) for number in range(3)]


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("call", ["open", "write", "rename", "close"])
async def test_a_fault_hits_only_the_document_concerned(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, number: int
) -> None:
    await store.put_documents([("kvk/seen/x", b"x"), *((target, b"old") for target, _ in DOCUMENTS)])
    calls.arm(call, number, at=2)
    outcomes = await store.put_documents(DOCUMENTS)
    assert calls.fired
    calls.disarm()
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [ERRORS[number]]
    for (target, data), outcome in zip(DOCUMENTS, outcomes, strict=True):
        assert (tmp_path / target).read_bytes() == (b"old" if outcome else data)
    assert lying(tmp_path).keys() == {"kvk/seen/x", *(target for target, _ in DOCUMENTS)}


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("call", ["open", "write", "rename_to_free", "close"])
async def test_a_fault_leaves_nothing_of_a_new_document_and_all_of_the_others(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, call: str, number: int
) -> None:
    await store.put_documents([(f"{target}.seen", b"x") for target, _ in DOCUMENTS])
    calls.arm(call, number, at=2)
    outcomes = await store.put_documents(DOCUMENTS)
    assert calls.fired
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [ERRORS[number]]
    new = {name: data for name, data in lying(tmp_path).items() if not name.endswith(".seen")}
    told = zip(DOCUMENTS, outcomes, strict=True)
    assert new == {target: data for (target, data), outcome in told if outcome is None}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
async def test_a_disk_that_cannot_rename_to_a_free_name_alone_is_asked_in_another_way(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, number: int
) -> None:
    calls.arm("rename_to_free", number)
    assert await store.put_documents(DOCUMENTS) == [None] * 3
    assert await store.put_documents([(DOCUMENTS[0][0], b"newer")]) == [None]
    assert lying(tmp_path) == {**dict(DOCUMENTS), DOCUMENTS[0][0]: b"newer"}
    assert calls.used["rename_to_free"] == 1, "and not asked again"


@pytest.mark.parametrize("number", ERRORS)
async def test_a_failing_group_sync_asks_each_document(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, number: int
) -> None:
    calls.arm("syncfs", number)
    assert await store.put_documents(DOCUMENTS) == [None] * 3
    assert calls.used["fsync"] >= 3
    assert {target: (tmp_path / target).read_bytes() for target, _ in DOCUMENTS} == dict(DOCUMENTS)


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("had_one", [False, True])
async def test_a_folder_that_cannot_be_synced_gives_its_documents_back(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path, had_one: bool, number: int
) -> None:
    await store.put_documents([("kvk/a/first", b"1"), *([("kvk/a/x", b"old")] if had_one else [])])
    calls.arm("fsync", number)
    outcomes = await store.put_documents([("kvk/a/x", b"new")])
    assert isinstance(outcomes[0], ERRORS[number])
    expected = {"kvk/a/first": b"1", **({"kvk/a/x": b"old"} if had_one else {})}
    assert lying(tmp_path) == expected


async def test_one_group_is_made_durable_by_one_sync(store: DiskStore, calls: FaultyCalls) -> None:
    await store.put_documents([("kvk/first", b"")])
    calls.used.clear()
    await store.put_documents([(f"kvk/{number}", b"x") for number in range(256)])
    assert (calls.used["syncfs"], calls.used.get("fsync", 0)) == (1, 1)


async def test_the_same_name_twice_in_a_group_ends_with_the_later(store: DiskStore, tmp_path: Path) -> None:
    assert await store.put_documents([("kvk/a", b"1"), ("kvk/b", b"2"), ("kvk/a", b"3")]) == [None] * 3
    assert lying(tmp_path) == {"kvk/a": b"3", "kvk/b": b"2"}


async def test_a_folder_removed_meanwhile_is_made_again(store: DiskStore, tmp_path: Path) -> None:
    await store.put_documents([("kvk/a/x", b"1")])
    shutil.rmtree(tmp_path / "kvk")
    outcomes = await store.put_documents([("kvk/a/x", b"2")])
    assert isinstance(outcomes[0], DiskFaultError)
    assert await store.put_documents([("kvk/a/x", b"2")]) == [None]


# ---------------------------------------------------------------- the index is derived


@pytest.mark.parametrize("damage", [b"", b"\x00", b"rubbish" * 100])
async def test_a_damaged_index_is_made_anew(store: DiskStore, tmp_path: Path, damage: bytes) -> None:
    await published(store, BODY, None)
    before = await store.members(TARGET)
    index = tmp_path / "index" / f"{TARGET}.members"
    index.write_bytes(damage)
    assert await store.members(TARGET) == before
    assert index.read_bytes() != damage


async def test_no_room_for_the_index_does_not_unpublish_the_body(
    store: DiskStore, calls: FaultyCalls, tmp_path: Path
) -> None:
    staged = await staged_and_filled(store, BODY)
    calls.arm("write", errno.ENOSPC)
    await staged.publish(None)
    assert calls.fired
    calls.disarm()
    assert lying(tmp_path) == {TARGET: BODY}
    assert not list((tmp_path / "index").rglob("*.*"))
    assert len(await store.members(TARGET) or []) == 40


# ---------------------------------------------------------------- a disk that is full for real


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of a few megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def full_soon(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "4m") as folder:
        yield folder


async def test_a_disk_that_really_fills_up_is_survived(full_soon: Path, make_room: Callable[[], Any]) -> None:
    store = DiskStore(full_soon, NoSteps())
    body = os.urandom(8 << 20)
    staged = await store.stage(TARGET, PLAN, None, partial_record(total_bytes=len(body)))
    with pytest.raises(DiskFullError, match="no room"):
        await pour_until_failure(staged, body)
    await staged.keep(partial_record(total_bytes=len(body)))
    assert await store.free_bytes() < 1 << 20
    outcomes = await store.put_documents([(f"kvk/{number}", os.urandom(400_000)) for number in range(4)])
    assert any(isinstance(outcome, DiskFullError) for outcome in outcomes)
    stored = [f"kvk/{number}" for number, outcome in enumerate(outcomes) if outcome is None]
    assert await store.files("kvk") == stored
    make_room()
    partial = await store.partial(TARGET)
    assert partial is not None
    resumed = await store.stage(TARGET, PLAN, partial, None)
    await pour(resumed, body[partial.received_bytes :])
    report = await resumed.finish(len(body))
    assert report.size_bytes == len(body)
    await resumed.discard()
    await store.close()


@pytest.fixture
def make_room(full_soon: Path) -> Callable[[], Any]:
    return lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(full_soon)], check=True)


async def pour_until_failure(staged: Staged, body: bytes) -> None:
    for at in range(0, len(body), 1 << 19):
        failure = staged.failure()
        if failure is not None:
            raise failure
        await pour(staged, body[at : at + (1 << 19)])
    await staged.finish(None)
