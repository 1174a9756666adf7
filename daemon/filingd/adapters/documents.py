"""Publishes small bodies in groups: whatever waits is written, made durable by one sync, renamed and reported together.

One sync a document costs as much as the document; one a group costs next to nothing (measured: 1,158 documents a
second against 2,659). A failure hits only the documents it concerns.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filingd.adapters.disk import previous_name, temporary_name, translated
from filingd.core import steps as step
from filingd.core.errors import DiskFaultError, StoreReplacedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filingd.adapters.anchor import Anchor
    from filingd.adapters.disk import Disk
    from filingd.core.errors import DiskFullError
    from filingd.ports import Steps

GROUP_MAX = 256
_FOLDERS_SYNCED_ONE_BY_ONE = 4  # from here on one sync of the file system is cheaper


class _Handed:
    """The documents of one caller: one future for all of them."""

    __slots__ = ("done", "left", "loop")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.left = count
        self.loop = loop
        self.done: asyncio.Future[None] = loop.create_future()


class _Waiting:
    """One document and who waits for it."""

    __slots__ = ("caller", "data", "error", "folder", "has_previous", "path", "previous", "temporary")

    def __init__(self, root: str, target: str, data: bytes, caller: _Handed) -> None:
        # Plain strings: on the path of every document they cost a twentieth of what path objects do.
        self.folder, _, name = f"{root}/{target}".rpartition("/")
        self.path = f"{self.folder}/{name}"
        self.temporary = f"{self.folder}/{temporary_name(name)}"
        self.previous = f"{self.folder}/{previous_name(name)}"
        self.data = data
        self.caller = caller
        self.error: DiskFullError | DiskFaultError | StoreReplacedError | None = None
        self.has_previous = False  # what lay under the name before is held until the folder is durable


class DocumentWriter:
    """One thread that publishes documents. `put` may be called from any number of tasks of one loop."""

    def __init__(self, root: Path, disk: Disk, steps: Steps, anchor: Anchor) -> None:
        self._anchor = anchor
        self._root = root
        self._top = str(root)
        self._disk = disk
        self._steps = steps
        self._waiting: deque[_Waiting] = deque()
        self._bell = threading.Condition()
        self._closed = False
        self._root_fd = -1
        self._known_folders: set[str] = set()
        self._thread: threading.Thread | None = None

    async def put_all(
        self, documents: Sequence[tuple[str, bytes]]
    ) -> list[DiskFullError | DiskFaultError | StoreReplacedError | None]:
        """Publish documents durably; for each the error that hit it, or None. What lay there before then still does."""
        if not documents:
            return []
        caller = _Handed(len(documents), asyncio.get_running_loop())
        waiting = [_Waiting(self._top, target, data, caller) for target, data in documents]
        with self._bell:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="filingd-documents", daemon=True)
                self._thread.start()
            self._waiting.extend(waiting)
            self._bell.notify()
        await caller.done
        return [one.error for one in waiting]

    def stop(self) -> None:
        """Publish what waits, then end. Blocks."""
        with self._bell:
            self._closed = True
            self._bell.notify()
        if self._thread is not None:
            self._thread.join()
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def _run(self) -> None:
        while group := self._next_group():
            self._publish(group)
            _report(group)

    def _next_group(self) -> list[_Waiting]:
        with self._bell:
            self._bell.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(GROUP_MAX, len(self._waiting)))]

    def _publish(self, group: list[_Waiting]) -> None:
        """Names that occur twice in a group must not share a temporary file: the later waits its turn."""
        while group:
            this_turn = {waiting.path: waiting for waiting in reversed(group)}
            self._publish_distinct(list(this_turn.values()))
            group = [waiting for waiting in group if this_turn[waiting.path] is not waiting]

    def _publish_distinct(self, group: list[_Waiting]) -> None:
        if not self._is_in_place(group):
            return
        for waiting in group:
            self._attempt(waiting, self._write)
        self._sync_bodies(_sound(group))
        if not self._is_in_place(_sound(group)):  # syncing may take long
            return
        for waiting in _sound(group):
            self._attempt(waiting, self._rename)
        self._steps.reached(step.BODY_RENAMED)
        self._sync_folders(_sound(group))
        self._steps.reached(step.FOLDER_SYNCED)
        if not self._is_in_place(_sound(group)):
            return
        for waiting in _sound(group):
            self._let_go_of_previous(waiting)

    def _is_in_place(self, group: list[_Waiting]) -> bool:
        """Whether the store is the one that was opened; if it is not, the group has failed."""
        try:
            self._anchor.check()
        except (StoreReplacedError, DiskFaultError) as error:
            for waiting in group:
                waiting.error = error
            return False
        return True

    def _attempt(self, waiting: _Waiting, work: Callable[[_Waiting], None]) -> None:
        try:
            work(waiting)
        except OSError as exc:
            waiting.error = translated(exc, "publish", waiting.path)
            self._disk.remove_quietly(waiting.temporary)
            self._known_folders.discard(waiting.folder)  # it may have been removed under us

    def _write(self, waiting: _Waiting) -> None:
        if waiting.folder not in self._known_folders:
            self._disk.make_folder(Path(waiting.folder), self._root)
            self._known_folders.add(waiting.folder)
        self._disk.write_file(waiting.temporary, waiting.data, sync=False)

    def _sync_bodies(self, group: list[_Waiting]) -> None:
        if not group:
            return
        try:
            self._sync_file_system()
        except OSError:
            # It does not say whose bytes were lost: ask for each file.
            for waiting in group:
                self._attempt(waiting, self._sync_one)
        self._steps.reached(step.BODY_SYNCED)

    def _sync_file_system(self) -> None:
        if self._root_fd < 0:
            self._root_fd = self._disk.syscalls.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        self._disk.syscalls.syncfs(self._root_fd)

    def _sync_one(self, waiting: _Waiting) -> None:
        fd = self._disk.syscalls.open(waiting.temporary, os.O_RDONLY)
        try:
            self._disk.syscalls.fsync(fd)
        finally:
            self._disk.close_quietly(fd)

    def _rename(self, waiting: _Waiting) -> None:
        try:
            self._disk.take_free_name(waiting.temporary, waiting.path)
        except FileExistsError:
            self._replace(waiting)

    def _replace(self, waiting: _Waiting) -> None:
        waiting.has_previous = self._held(waiting)
        try:
            self._disk.syscalls.rename(waiting.temporary, waiting.path)
        except OSError:
            self._let_go_of_previous(waiting)
            raise

    def _held(self, waiting: _Waiting) -> bool:
        """Give what lies under the name a second name, if anything does."""
        path, held = waiting.path, waiting.previous
        try:
            self._disk.syscalls.link(path, held)
        except FileNotFoundError:
            return False
        except FileExistsError:  # left over from a death between the two names
            self._disk.syscalls.unlink(held)
            self._disk.syscalls.link(path, held)
        return True

    def _let_go_of_previous(self, waiting: _Waiting) -> None:
        if waiting.has_previous:
            self._disk.remove_quietly(waiting.previous)

    def _put_back(self, waiting: _Waiting) -> None:
        if not waiting.has_previous:
            self._disk.remove_quietly(waiting.path)
            return
        with suppress(OSError):
            self._disk.syscalls.rename(waiting.previous, waiting.path)

    def _sync_folders(self, group: list[_Waiting]) -> None:
        by_folder: dict[str, list[_Waiting]] = {}
        for waiting in group:
            by_folder.setdefault(waiting.folder, []).append(waiting)
        if len(by_folder) > _FOLDERS_SYNCED_ONE_BY_ONE:
            with suppress(OSError):  # it does not say which folder: ask for each
                self._sync_file_system()
                return
        for folder, concerned in by_folder.items():
            self._sync_folder(folder, concerned)

    def _sync_folder(self, folder: str, concerned: list[_Waiting]) -> None:
        try:
            self._disk.sync_folder(folder)
        except OSError as exc:
            for waiting in concerned:
                waiting.error = translated(exc, "publish", waiting.path)
                self._put_back(waiting)


def _sound(group: Iterable[_Waiting]) -> list[_Waiting]:
    return [waiting for waiting in group if waiting.error is None]


def _report(group: list[_Waiting]) -> None:
    """Wake everybody with one call into the loop."""
    loop = group[0].caller.loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(_settle, group)


def _settle(group: list[_Waiting]) -> None:
    for waiting in group:
        caller = waiting.caller
        caller.left -= 1
        if not caller.left and not caller.done.done():
            caller.done.set_result(None)
