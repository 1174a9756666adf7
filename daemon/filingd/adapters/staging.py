"""A body on its way to a final name.

The event loop fills buffers; two side threads see each of them once, one to write and hash it, one to walk the zip
in it (inflating is four fifths of all the work, so it has a thread of its own). Whatever touches the disk runs on the
first of the two, in order, so that a cancelled caller cannot leave two steps running at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.structs import replace

from filingd.adapters.body import BodyExaminer
from filingd.adapters.disk import clean_of, part_of, part_record_of, previous_of, translated
from filingd.adapters.scrubbing import edit_of_file, holds_trace
from filingd.adapters.zipdirectory import read_directory
from filingd.adapters.zipwalk import ZipRefusedError
from filingd.core import steps as step
from filingd.core.errors import DiskFaultError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from filingd.adapters.anchor import Anchor
    from filingd.adapters.disk import Disk
    from filingd.adapters.layout import Layout
    from filingd.adapters.scrubbing import Edit
    from filingd.adapters.sidethread import SideThread, SideThreads
    from filingd.adapters.zipwalk import ZipWalk
    from filingd.core.forgetting import Scrub, Traces
    from filingd.core.model import BodyPlan, BodyReport, PartialRecord, QuarantineRecord
    from filingd.ports import Steps

T = TypeVar("T")

BUFFER_BYTES = 1024 * 1024
BUFFERS_A_TRANSFER = 4
_IDLE_BUFFERS_MAX = 16
_WRITEBACK_BYTES = 32 * 1024 * 1024  # the disk is told to begin after so many


class BufferPool:
    """Buffers that outlive a transfer: fresh megabytes from the system for each body would cost page faults."""

    def __init__(self) -> None:
        self._idle: list[bytearray] = []

    def take(self) -> bytearray:
        """A buffer of BUFFER_BYTES, with anything in it."""
        return self._idle.pop() if self._idle else bytearray(BUFFER_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        """Nobody looks at this buffer any more."""
        if len(self._idle) < _IDLE_BUFFERS_MAX:
            self._idle.append(buffer)


class Workshop:
    """What all bodies of one store share."""

    def __init__(
        self, layout: Layout, disk: Disk, steps: Steps, threads: SideThreads, anchor: Anchor
    ) -> None:
        self.anchor = anchor
        self.layout = layout
        self.disk = disk
        self.steps = steps
        self.threads = threads
        self.buffers = BufferPool()


class StagedBody:
    """See `ports.Staged`. Made by `DiskStore.stage`."""

    def __init__(self, workshop: Workshop, target: str, plan: BodyPlan) -> None:
        self._shop = workshop
        self._target = target
        self._plan = plan
        self._path = workshop.layout.path(target)
        self._loop = asyncio.get_running_loop()
        self._threads: tuple[SideThread, SideThread] | None = (
            workshop.threads.take(),
            workshop.threads.take(),
        )
        # of the event loop
        self._spare: list[bytearray] = []
        self._in_flight: deque[bytearray] = deque()  # handed over, in order
        self._recycled = 0  # how many came back so far
        self._filling: bytearray | None = None
        self._filled = 0
        self._advanced = 0
        self._resumed = 0
        self._waiter: asyncio.Future[None] | None = None
        # of all
        self._failure: Exception | None = None
        # of the writing thread
        self._fd = -1
        self._examiner = BodyExaminer(plan)  # its walk is the walking thread's
        self._written = 0
        self._writeback_at = 0
        self._stored = 0  # buffers done with
        # of the walking thread
        self._walked = 0  # buffers done with

    # ------------------------------------------------------------ beginning

    async def begin(self, resume: PartialRecord | None, record: PartialRecord | None) -> None:
        """Open the partial file; with `resume`, examine what is in it before anything new."""
        try:
            await self._call(lambda: self._open(resume, record))
        except asyncio.CancelledError:
            self._writer.submit(self._abandon if resume is None else self._close)
            self._leave()
            raise
        except BaseException:
            self._let_go()
            raise
        if resume is not None:
            self._resumed = resume.received_bytes
            self._submit_examination(resume.received_bytes)

    def _open(self, resume: PartialRecord | None, record: PartialRecord | None) -> None:
        self._shop.anchor.check()
        disk, part = self._shop.disk, part_of(self._path)
        try:
            disk.make_folder(self._path.parent, self._shop.layout.root)
            fresh = os.O_CREAT | os.O_TRUNC if resume is None else 0
            self._fd = disk.syscalls.open(part, os.O_RDWR | fresh)
            self._shop.steps.reached(step.PART_OPENED)
            if record is not None:
                disk.replace_file(part_record_of(self._path), msgspec.json.encode(record), sync=False)
                self._shop.steps.reached(step.PART_RECORDED)
        except OSError as exc:
            if resume is None:
                self._abandon()
            self._close()
            raise translated(exc, "stage", part) from exc

    def _submit_examination(self, count: int) -> None:
        """The writing thread reads the prefix for both; the walking thread takes nothing new before that is done."""
        done = threading.Event()

        def examine() -> None:
            self._guarded(lambda: self._examine_again(count))
            done.set()

        self._writer.submit(examine)
        self._walker.submit(lambda: _wait_for(done))

    def _examine_again(self, count: int) -> None:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        while self._written < count:
            got = os.preadv(self._fd, [buffer[: count - self._written]], self._written)
            if got == 0:
                raise OSError(errno.EIO, "the partial file is shorter than it was")
            self._examiner.feed(buffer[:got])
            self._written += got
        os.ftruncate(self._fd, count)
        os.lseek(self._fd, count, os.SEEK_SET)

    # ------------------------------------------------------------ the sink

    @property
    def received_bytes(self) -> int:
        """Bytes of the body so far, a resumed prefix included."""
        return self._resumed + self._advanced

    def buffer(self) -> memoryview | None:
        """Where the next bytes go; None while the side thread has all buffers."""
        if self._filling is None:
            self._filling = self._next_buffer()
            self._filled = 0
        return None if self._filling is None else memoryview(self._filling)[self._filled :]

    def advance(self, count: int) -> None:
        """`count` bytes of the buffer were filled."""
        self._filled += count
        self._advanced += count
        if self._filled == BUFFER_BYTES:
            self._hand_over()

    async def ready(self) -> None:
        """Until a buffer is free or a side thread failed."""
        while self._failure is None and self._filling is None and not self._may_take():
            self._waiter = self._loop.create_future()
            if not self._may_take():  # one may have come back before the side threads could see that we wait
                await self._waiter
        self._waiter = None

    def failure(self) -> Exception | None:
        """What a side thread died of, if one did."""
        return self._failure

    def _may_take(self) -> bool:
        self._recycle()
        return bool(self._spare) or len(self._in_flight) < BUFFERS_A_TRANSFER

    def _next_buffer(self) -> bytearray | None:
        if not self._may_take():
            return None
        return self._spare.pop() if self._spare else self._shop.buffers.take()

    def _recycle(self) -> None:
        """Both threads work in the order of handing over, so what both have passed is free."""
        while self._recycled < min(self._stored, self._walked):
            self._spare.append(self._in_flight.popleft())
            self._recycled += 1

    def _hand_over(self) -> None:
        buffer, count = self._filling, self._filled
        self._filling, self._filled = None, 0
        if buffer is None:
            return
        if count == 0:
            self._spare.append(buffer)
            return
        self._in_flight.append(buffer)
        chunk = memoryview(buffer)[:count]
        self._walker.submit(lambda: self._walk(chunk))
        self._writer.submit(lambda: self._store(chunk))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------ the side threads

    @property
    def _writer(self) -> SideThread:
        assert self._threads is not None, "the body was already published, kept, quarantined or discarded"
        return self._threads[0]

    @property
    def _walker(self) -> SideThread:
        assert self._threads is not None, "the body was already published, kept, quarantined or discarded"
        return self._threads[1]

    async def _call(self, work: Callable[[], T]) -> T:
        """Do it on the writing thread, after everything handed over so far has passed both."""
        self._hand_over()
        walked = threading.Event()
        self._walker.submit(walked.set)

        def work_then() -> T:
            walked.wait()
            return work()

        return await self._writer.call(work_then)

    def _store(self, chunk: memoryview) -> None:
        self._guarded(lambda: self._write(chunk))
        self._stored += 1
        self._tell()

    def _walk(self, chunk: memoryview) -> None:
        self._guarded(lambda: self._examiner.walk(chunk))
        self._walked += 1
        self._tell()

    def _tell(self) -> None:
        if self._waiter is not None:
            with suppress(RuntimeError):  # the loop is gone in a process that ends
                self._loop.call_soon_threadsafe(self._wake)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it unless something failed before; remember what it fails of."""
        if self._failure is not None:
            return
        try:
            work()
        except OSError as exc:
            self._failure = translated(exc, "write", part_of(self._path))
        except Exception as exc:  # noqa: BLE001 - a fault of ours must end this transfer, not the thread
            self._failure = exc

    def _write(self, chunk: memoryview) -> None:
        self._shop.disk.write_all(self._fd, chunk)
        self._written += len(chunk)
        if self._written - self._writeback_at >= _WRITEBACK_BYTES:
            self._shop.disk.syscalls.start_writeback(
                self._fd, self._writeback_at, self._written - self._writeback_at
            )
            self._writeback_at = self._written
        self._examiner.count(chunk)

    # ------------------------------------------------------------ the end

    async def finish(self, declared_bytes: int | None) -> BodyReport:
        """See `ports.Staged`."""
        return await self._call(lambda: self._complete(declared_bytes))

    def _complete(self, declared_bytes: int | None) -> BodyReport:
        if self._failure is not None:
            raise self._failure
        self._shop.steps.reached(step.BODY_RECEIVED)
        try:
            report = self._examiner.report(declared_bytes, self._known_sizes, self._reread)
        except OSError as exc:
            raise translated(exc, "read", part_of(self._path)) from exc
        self._shop.steps.reached(step.BODY_VERIFIED)
        return report

    def _known_sizes(self) -> Mapping[int, int]:
        return known_sizes(self._fd, self._written)

    def _reread(self, walk: ZipWalk) -> None:
        feed_file(self._fd, walk.feed)

    async def scrub(self, scrub: Scrub) -> tuple[BodyReport, Traces] | None:
        """See `ports.Staged`."""
        return await self._call(lambda: self._scrub(scrub))

    def _scrub(self, scrub: Scrub) -> tuple[BodyReport, Traces] | None:
        if self._failure is not None:
            raise self._failure
        members = self._examiner.members
        if members and not any(map(scrub.suspects, members)):
            return None  # by what the walk saw: such a zip need not be one that can be edited
        edit = self._edit(self._fd, self._written, scrub)
        if edit is None:
            return None
        disk, clean = self._shop.disk, clean_of(self._path)
        try:
            disk.syscalls.unlink(part_record_of(self._path))  # what is left must never be gone on with
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise translated(exc, "stage", self._path) from exc
        raw, self._fd = self._fd, -1
        try:
            self._fd = disk.syscalls.open(clean, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            report = self._take(edit)
            disk.syscalls.rename(clean, part_of(self._path))
        except OSError as exc:
            disk.remove_quietly(clean)
            raise translated(exc, "stage", clean) from exc
        finally:
            disk.close_quietly(raw)
        return report, edit.traces

    async def take_scrubbed(self, source_fd: int, scrub: Scrub) -> tuple[BodyReport, Traces] | None:
        """Take what is left of an open file when it is scrubbed; None if that is all of it. Nothing was taken before.

        Raises:
            DiskFullError, DiskFaultError: the disk refused, or what lies there cannot be read.
        """
        return await self._call(lambda: self._take_scrubbed(source_fd, scrub))

    def _take_scrubbed(self, source_fd: int, scrub: Scrub) -> tuple[BodyReport, Traces] | None:
        edit = self._edit(source_fd, os.fstat(source_fd).st_size, scrub)
        if edit is None:
            return None
        try:
            return self._take(edit), edit.traces
        except OSError as exc:
            raise translated(exc, "stage", part_of(self._path)) from exc

    def _edit(self, fd: int, size_bytes: int, scrub: Scrub) -> Edit | None:
        try:
            return edit_of_file(fd, size_bytes, scrub)
        except OSError as exc:
            raise translated(exc, "read", self._path) from exc
        except ZipRefusedError as refusal:
            raise unreadable(self._path, refusal) from refusal

    def _take(self, edit: Edit) -> BodyReport:
        """Write and examine all of an edit on this thread; nothing else is handed over meanwhile."""
        self._examiner, self._written, self._writeback_at = BodyExaminer(self._plan), 0, 0
        try:
            for part in edit.parts():
                chunk = memoryview(part)
                self._write(chunk)
                self._examiner.walk(chunk)
        except ZipRefusedError as refusal:
            raise unreadable(self._path, refusal) from refusal
        report = self._examiner.report(None, self._known_sizes, self._reread)
        if report.problem is not None:
            raise unreadable(self._path, ZipRefusedError(report.problem, report.problem_detail))
        return report

    async def holds_trace(self, scrub: Scrub) -> bool:
        """See `ports.Staged`."""
        return await self._call(lambda: holds_trace(self._fd, self._written, scrub))

    async def publish(self, previous_to: str | None) -> str:
        """See `ports.Staged`."""
        previous = None if previous_to is None else self._shop.layout.path(previous_to)
        await self._last(lambda: self._publish(previous))
        return self._target

    def _publish(self, previous: Path | None) -> None:
        if self._failure is not None:
            raise self._failure
        self._sync()
        self._shop.anchor.check()  # syncing may take long; what lies under these names now may be another's
        try:
            place_durably(self._shop, self._path, previous)
        except OSError as exc:
            self._abandon()
            raise translated(exc, "publish", self._path) from exc
        self._shop.anchor.check()
        if self._examiner.is_zip:
            self._shop.layout.write_members(self._target, self._examiner.members)
        else:  # an index without members would say that there is nothing in it
            self._shop.layout.drop_members(self._target)
        self._shop.steps.reached(step.INDEX_WRITTEN)

    def _sync(self) -> None:
        """After a failed sync nobody knows what is on the disk: such a body is never kept."""
        disk, fd = self._shop.disk, self._fd
        try:
            disk.syscalls.fsync(fd)
            self._shop.steps.reached(step.BODY_SYNCED)
            self._fd = -1
            disk.syscalls.close(fd)
        except OSError as exc:
            self._abandon()
            raise translated(exc, "sync", part_of(self._path)) from exc

    async def keep(self, record: PartialRecord) -> None:
        """See `ports.Staged`."""
        await self._last(lambda: self._keep(record))

    def _keep(self, record: PartialRecord) -> None:
        """What cannot be resumed is not kept: nothing arrived, or the disk is at fault."""
        if not self._shop.anchor.is_in_place():
            self._close()
            return
        if self._written == 0 or not (self._failure is None or isinstance(self._failure, DiskFullError)):
            self._abandon()
            return
        kept = replace(record, received_bytes=self._written)
        try:
            os.ftruncate(self._fd, self._written)  # a failed write may have left a part of a buffer
            self._shop.disk.replace_file(part_record_of(self._path), msgspec.json.encode(kept), sync=False)
        except OSError:
            if not part_record_of(self._path).exists():
                self._abandon()
        self._close()

    async def quarantine(self, record: QuarantineRecord) -> str:
        """See `ports.Staged`."""
        return await self._last(lambda: self._quarantine(record))

    def _quarantine(self, record: QuarantineRecord) -> str:
        self._shop.anchor.check()
        try:
            self._shop.disk.syscalls.fsync(self._fd)
            place = self._shop.layout.quarantine(part_of(self._path), self._target, record)
        except OSError as exc:
            raise translated(exc, "quarantine", part_of(self._path)) from exc
        self._shop.anchor.check()
        self._shop.disk.remove_quietly(part_record_of(self._path))
        self._close()
        self._shop.steps.reached(step.BODY_QUARANTINED)
        return place

    async def discard(self) -> None:
        """See `ports.Staged`."""
        if self._threads is not None:
            self._filled = 0
            await self._last(self._abandon)

    def _abandon(self) -> None:
        self._close()
        if not self._shop.anchor.is_in_place():
            return
        self._shop.disk.remove_quietly(part_of(self._path))
        self._shop.disk.remove_quietly(clean_of(self._path))
        self._shop.disk.remove_quietly(part_record_of(self._path))

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._shop.disk.close_quietly(fd)

    async def _last(self, work: Callable[[], T]) -> T:
        """Do it as the last thing with this body. A cancelled caller does not stop it; it is only not waited for."""
        try:
            result = await self._call(work)
        except asyncio.CancelledError:
            self._leave()
            raise
        self._let_go()
        return result

    def _leave(self) -> None:
        """Give the side threads back while they still work for us. Their buffers must not go to another body."""
        self._spare.clear()
        self._in_flight.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Give everything borrowed back. The side threads have done their last job by now."""
        if self._threads is None:
            return
        for thread in self._threads:
            self._shop.threads.give_back(thread)
        self._threads = None
        for buffer in (*self._spare, *self._in_flight):
            self._shop.buffers.give_back(buffer)
        self._spare.clear()
        self._in_flight.clear()


def _wait_for(event: threading.Event) -> None:
    event.wait()


def place_durably(shop: Workshop, path: Path, previous: Path | None) -> None:
    """Give a synced partial file its final name. The name is never missing and never shows half a file.

    The body that is there now is linked to `previous` first, if that is given, and held until the folder is
    durable, so that a failure puts it back.

    Raises:
        OSError: nothing lies under the name that was not there before.
    """
    made: list[Path] = []
    had_body = path.exists()
    try:
        if had_body:
            _hold_previous(shop, path, previous, made)
        shop.disk.syscalls.rename(part_of(path), path)
        shop.steps.reached(step.BODY_RENAMED)
        shop.disk.remove_quietly(part_record_of(path))
        shop.disk.sync_folder(path.parent)
    except OSError:
        _put_back(shop.disk, path, had_body, made)
        raise
    shop.steps.reached(step.FOLDER_SYNCED)
    shop.disk.remove_quietly(previous_of(path))


def _hold_previous(shop: Workshop, path: Path, previous: Path | None, made: list[Path]) -> None:
    """Link the body that is there to its other names; those that are new are added to `made`.

    A name under `versions/` that is taken belongs to a version the manifest may know: it is left as it is.
    """
    held = previous_of(path)
    shop.disk.remove_quietly(held)
    shop.disk.syscalls.link(path, held)
    made.append(held)
    if previous is None:
        return
    shop.disk.make_folder(previous.parent, shop.layout.root)
    if not previous.exists():
        shop.disk.syscalls.link(path, previous)
        made.append(previous)
    shop.disk.sync_folder(previous.parent)
    shop.steps.reached(step.PREVIOUS_KEPT)


def _put_back(disk: Disk, path: Path, had_body: bool, made: list[Path]) -> None:
    """Undo a rename that may or may not have happened."""
    if not had_body:
        disk.remove_quietly(path)
    elif made and not path.samefile(made[0]):
        disk.syscalls.rename(made[0], path)
    for name in made:
        disk.remove_quietly(name)


def known_sizes(fd: int, zip_bytes: int) -> Mapping[int, int]:
    """Packed sizes by offset of the local header, from the directory of a zip on disk."""
    lines = read_directory(lambda offset, count: os.pread(fd, count, offset), zip_bytes)
    return {line.header_at: line.packed_bytes for line in lines}


def feed_file(fd: int, feed: Callable[[memoryview], None]) -> None:
    """Pass a whole file on, a buffer at a time."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    at = 0
    while got := os.preadv(fd, [buffer], at):
        feed(buffer[:got])
        at += got


def unreadable(path: Path, refusal: ZipRefusedError) -> DiskFaultError:
    """What is said of a body from which something was to be taken out, and that could not be read or written anew."""
    return DiskFaultError(
        f"{path} holds what is to be forgotten, and it could not be taken out ({refusal}). `filingd verify --repair` has a "
        "damaged file fetched again; then forgetting goes on by itself."
    )
