"""The operator's disk (see `ports.Store`). No call here blocks the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import aiofiles
import msgspec
from msgspec.structs import replace

from filingd.adapters.allocator import keep_freed_memory
from filingd.adapters.anchor import Anchor
from filingd.adapters.body import BodyExaminer
from filingd.adapters.disk import Disk, Syscalls, disk_errors, part_of, part_record_of
from filingd.adapters.documents import DocumentWriter
from filingd.adapters.layout import Layout, check_target
from filingd.adapters.scrubbing import edit_of_file, holds_trace
from filingd.adapters.sidethread import SideThreads
from filingd.adapters.staging import StagedBody, Workshop, feed_file, known_sizes, unreadable
from filingd.adapters.stored_body import OpenedBody
from filingd.adapters.tombstones import TombstoneFile
from filingd.adapters.zipwalk import ZipRefusedError
from filingd.core import steps as step
from filingd.core.errors import FilingdError, StoreError
from filingd.core.kinds import examine_document
from filingd.core.layout import FORGOTTEN_NAME
from filingd.core.model import PartialRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from filingd.core.errors import DiskFaultError, DiskFullError, StoreReplacedError
    from filingd.core.forgetting import Scrub, Traces
    from filingd.core.model import BodyPlan, BodyReport, Member, QuarantineRecord, StoredBody
    from filingd.core.tombstones import Tombstone
    from filingd.ports import Staged, Steps

T = TypeVar("T")

_ODD_JOB_THREADS = 4


class DiskStore:
    """A store below one folder, which has to be there.

    `steps` is told of each named step of publishing (see `core.steps`), on whatever thread takes it. Files of the store
    that must not be exchanged while it is open either, such as its lock and its manifest, are `anchored_names`. Without
    `mends_indexes` looking at a zip writes nothing.
    """

    def __init__(
        self,
        root: Path,
        steps: Steps,
        syscalls: Syscalls | None = None,
        *,
        anchored_names: Collection[str] = (),
        mends_indexes: bool = True,
    ) -> None:
        keep_freed_memory()
        self._root = root
        self._anchor = Anchor([root, *(root / name for name in anchored_names)])
        self._disk = Disk(syscalls or Syscalls())
        self._steps = steps
        self._layout = Layout(root, self._disk, mends_indexes=mends_indexes)
        self._threads = SideThreads("filingd-transfer")
        self._workshop = Workshop(self._layout, self._disk, steps, self._threads, self._anchor)
        self._documents = DocumentWriter(root, self._disk, steps, self._anchor)
        self._tombstones = TombstoneFile(root / FORGOTTEN_NAME, self._disk, steps)
        self._closing = threading.Event()
        self._odd_jobs = ThreadPoolExecutor(_ODD_JOB_THREADS, thread_name_prefix="filingd-disk")

    async def close(self) -> None:
        """Finish what waits and end all threads; a file that is being checked is not read to its end."""
        self._closing.set()
        await self._aside(self._stop)
        self._odd_jobs.shutdown(wait=False)

    def _stop(self) -> None:
        self._documents.stop()
        self._threads.stop()
        self._anchor.close()

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._odd_jobs, work)

    async def _in_place(self, work: Callable[[], T]) -> T:
        """Do it aside, in the store that was opened: what is told to be done, or not to be there, is so in that one."""

        def work_in_place() -> T:
            self._anchor.check()
            result = work()
            self._anchor.check()
            return result

        return await self._aside(work_in_place)

    async def check_in_place(self) -> None:
        """See `ports.Store`."""
        await self._aside(self._anchor.check)

    # ------------------------------------------------------------ bodies on their way

    async def partial(self, target: str) -> PartialRecord | None:
        """See `ports.Store`. `received_bytes` is what lies there, whatever was written down when."""
        return await self._aside(lambda: self._partial(target))

    def _partial(self, target: str) -> PartialRecord | None:
        path = self._layout.path(target)
        try:
            size_bytes = part_of(path).stat().st_size
            record = msgspec.json.decode(part_record_of(path).read_bytes(), type=PartialRecord)
        except (OSError, msgspec.DecodeError):
            return None
        if size_bytes == 0 or (record.total_bytes is not None and size_bytes > record.total_bytes):
            return None
        return replace(record, received_bytes=size_bytes)

    async def drop_partial(self, target: str) -> None:
        """See `ports.Store`."""
        await self._aside(lambda: self._drop_partial(target))

    def _drop_partial(self, target: str) -> None:
        path = self._layout.path(target)
        self._disk.remove_quietly(part_record_of(path))
        self._disk.remove_quietly(part_of(path))

    async def stage(
        self, target: str, plan: BodyPlan, resume: PartialRecord | None, record: PartialRecord | None
    ) -> Staged:
        """See `ports.Store`."""
        staged = StagedBody(self._workshop, target, plan)
        await staged.begin(resume, record)
        return staged

    # ------------------------------------------------------------ what is to be forgotten

    async def tombstones(self) -> Sequence[Tombstone]:
        """See `ports.Store`."""
        return await self._in_place(self._tombstones.read)

    async def add_tombstones(self, tombstones: Sequence[Tombstone]) -> None:
        """See `ports.Store`."""
        await self._in_place(lambda: self._tombstones.add(tombstones))

    async def traces(self, target: str, scrub: Scrub) -> Traces | None:
        """See `ports.Store`."""
        return await self._in_place(lambda: self._traces(target, scrub))

    def _traces(self, target: str, scrub: Scrub) -> Traces | None:
        path = self._layout.path(target)
        with disk_errors("read", path):
            try:
                fd = _opened(path)
            except FileNotFoundError:
                return None
            try:
                edit = edit_of_file(fd, os.fstat(fd).st_size, scrub)
            except ZipRefusedError as refusal:
                raise unreadable(path, refusal) from refusal
            finally:
                os.close(fd)
        return edit.traces if edit is not None else None

    async def holds_trace(self, target: str, scrub: Scrub) -> bool:
        """See `ports.Store`."""
        return await self._in_place(lambda: self._holds_trace(target, scrub))

    def _holds_trace(self, target: str, scrub: Scrub) -> bool:
        path = self._layout.path(target)
        with disk_errors("read", path):
            fd = _opened(path)
            try:
                return holds_trace(fd, os.fstat(fd).st_size, scrub)
            finally:
                os.close(fd)

    async def stage_scrubbed(
        self, target: str, plan: BodyPlan, scrub: Scrub
    ) -> tuple[Staged, BodyReport, Traces] | None:
        """See `ports.Store`."""
        path = self._layout.path(target)

        def opened() -> int:
            with disk_errors("read", path):
                return _opened(path)

        source_fd = await self._in_place(opened)
        staged = None
        try:
            staged = StagedBody(self._workshop, target, plan)
            await staged.begin(None, None)
            taken = await staged.take_scrubbed(source_fd, scrub)
            if taken is None:
                await staged.discard()
        except BaseException:
            if staged is not None:
                await staged.discard()
            raise
        finally:
            await self._aside(lambda: os.close(source_fd))
        return None if taken is None else (staged, *taken)

    # ------------------------------------------------------------ small files

    async def put_documents(
        self, documents: Sequence[tuple[str, bytes]]
    ) -> Sequence[DiskFullError | DiskFaultError | StoreReplacedError | None]:
        """See `ports.Store`."""
        for target, _ in documents:
            check_target(target)
        return await self._documents.put_all(documents)

    async def write_text(self, target: str, text: str) -> None:
        """See `ports.Store`."""
        await self._in_place(lambda: self._write_text(target, text))

    def _write_text(self, target: str, text: str) -> None:
        path = self._layout.path(target)
        with disk_errors("write", path):
            self._disk.make_folder(path.parent, self._root)
            self._disk.replace_file(path, text.encode(), sync=True)

    async def read_text(self, target: str) -> str | None:
        """See `ports.Store`; None if there is no such file."""
        path = self._layout.path(target)
        with disk_errors("read", path):
            try:
                async with aiofiles.open(path, encoding="utf-8") as file:
                    return await file.read()
            except FileNotFoundError:
                await self.check_in_place()
                return None

    async def remove(self, target: str) -> None:
        """See `ports.Store`."""
        await self._in_place(lambda: self._remove(target))

    def _remove(self, target: str) -> None:
        path = self._layout.path(target)
        with disk_errors("remove", path):
            try:
                self._disk.syscalls.unlink(path)
            except FileNotFoundError:
                return
            self._disk.sync_folder(path.parent)
        self._layout.drop_members(target)

    # ------------------------------------------------------------ what lies there

    async def check(self, target: str, plan: BodyPlan) -> BodyReport | None:
        """See `ports.Store`."""
        return await self._in_place(lambda: self._check(target, plan))

    def _check(self, target: str, plan: BodyPlan) -> BodyReport | None:
        path = self._layout.path(target)
        with disk_errors("read", path):
            try:
                fd = _opened(path)
            except FileNotFoundError:
                return None
            try:
                return self._examined(target, fd, plan)
            finally:
                os.close(fd)

    def _examined(self, target: str, fd: int, plan: BodyPlan) -> BodyReport:
        examiner = BodyExaminer(plan)
        feed_file(fd, lambda data: self._feed(examiner, data))
        report = examiner.report(
            None,
            known_sizes=lambda: known_sizes(fd, examiner.size_bytes),
            reread=lambda walk: feed_file(fd, walk.feed),
        )
        if report.problem is None and report.kind != "zip" and (plan.read or plan.content_digest):
            return examine_document(os.pread(fd, report.size_bytes, 0), plan)
        is_sound_zip = report.problem is None and report.kind in ("zip", "empty_zip")
        # An index that was made anew from the zip alone lacks what the inspector says of each member.
        if is_sound_zip and (plan.inspector is not None or not self._layout.has_fresh_members(target)):
            self._layout.write_members(target, examiner.members)
        return report

    def _feed(self, examiner: BodyExaminer, data: memoryview) -> None:
        if self._closing.is_set():
            raise StoreError("The store is closed: filingd is stopping.")
        examiner.feed(data)

    async def members(self, target: str) -> Sequence[Member] | None:
        """See `ports.Store`. An index made anew has no notes; `check` with the item's plan brings them back."""
        return await self._in_place(lambda: self._members(target))

    def _members(self, target: str) -> Sequence[Member] | None:
        with disk_errors("read", self._layout.path(target)):
            return self._layout.read_members(target)

    async def look_into(
        self, targets: Sequence[str], look: Callable[[int, StoredBody], T]
    ) -> Sequence[T | FilingdError]:
        """See `ports.Store`."""
        return await self._in_place(
            lambda: [self._look_into(at, target, look) for at, target in enumerate(targets)]
        )

    def _look_into(self, at: int, target: str, look: Callable[[int, StoredBody], T]) -> T | FilingdError:
        if self._closing.is_set():
            return StoreError("The store is closed: filingd is stopping.")
        path = self._layout.path(target)
        try:
            with disk_errors("read", path), OpenedBody(self._layout, target) as body:
                return look(at, body)
        except FilingdError as error:
            return error

    async def size_bytes(self, target: str) -> int | None:
        """See `ports.Store`."""
        return await self._in_place(lambda: self._size_bytes(target))

    async def sizes_bytes(self, targets: Sequence[str]) -> Sequence[int | None]:
        """See `ports.Store`."""
        return await self._in_place(lambda: [self._size_bytes(target) for target in targets])

    def _size_bytes(self, target: str) -> int | None:
        path = self._layout.path(target)
        with disk_errors("look at", path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    async def set_aside(self, target: str, record: QuarantineRecord) -> str | None:
        """See `ports.Store`."""
        return await self._in_place(lambda: self._set_aside(target, record))

    def _set_aside(self, target: str, record: QuarantineRecord) -> str | None:
        path = self._layout.path(target)
        if not path.exists():
            return None
        with disk_errors("quarantine", path):
            place = self._layout.quarantine(path, target, record)
        self._layout.drop_members(target)
        self._steps.reached(step.BODY_QUARANTINED)
        return place

    async def files(self, prefix: str) -> Sequence[str]:
        """See `ports.Store`."""
        return await self._in_place(lambda: self._layout.files(prefix))

    async def staged(self) -> Sequence[str]:
        """See `ports.Store`."""
        return await self._aside(
            lambda: sorted({target for _, target in self._layout.staging_files() if target is not None})
        )

    async def sweep(self, keep: frozenset[str]) -> Sequence[str]:
        """See `ports.Store`. Staging files that can never be resumed go in any case."""
        return await self._in_place(lambda: self._sweep(keep))

    def _sweep(self, keep: frozenset[str]) -> Sequence[str]:
        removed = []
        for path, target in self._layout.staging_files():
            if target is None or target not in keep or self._partial(target) is None:
                self._disk.remove_quietly(path)
                removed.append(path.relative_to(self._root).as_posix())
        return sorted(removed)

    async def free_bytes(self) -> int:
        """See `ports.Store`."""
        return await self._in_place(self._free_bytes)

    def _free_bytes(self) -> int:
        with disk_errors("look at", self._root):
            found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize


def _opened(path: Path) -> int:
    # Neither a link nor a pipe under a final name is a body; reading one might never end.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
