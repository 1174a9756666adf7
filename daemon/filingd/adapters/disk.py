"""The system calls of the disk, and the few durable moves made of them. The only module with fsync and rename.

Everything here blocks and is called from side threads only. `Syscalls` is the seam through which tests inject
faults; errors leave this module as DiskFullError or DiskFaultError that name the path and what was tried.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filingd.core.errors import DiskFaultError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2
_RENAMEAT2 = getattr(_LIBC, "renameat2", None)  # glibc has it since 2.28, other libraries may not
_HERE, _NO_REPLACE = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
_NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS})


class Syscalls:
    """The calls that can fail, one method each."""

    def open(self, path: Path | str, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC, 0o640)

    def write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def rename(self, source: Path | str, target: Path | str) -> None:
        os.rename(source, target)  # noqa: PTH104 - the one place, and its name is the system call's

    def rename_to_free(self, source: str, target: str) -> None:
        """Rename, if the target is free; FileExistsError if not, EINVAL or ENOSYS where that is not offered."""
        if _RENAMEAT2 is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if _RENAMEAT2(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _NO_REPLACE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

    def link(self, source: Path | str, target: Path | str) -> None:
        os.link(source, target)

    def unlink(self, path: Path | str) -> None:
        os.unlink(path)  # noqa: PTH108 - as above

    def close(self, fd: int) -> None:
        os.close(fd)

    def syncfs(self, fd: int) -> None:
        """Make every file of the file system durable that was written before."""
        if _LIBC.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def start_writeback(self, fd: int, offset: int, count: int) -> None:
        """Let the disk begin with these bytes, so that the sync at the end is short. A hint: it never fails."""
        _LIBC.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(count), _SYNC_FILE_RANGE_WRITE)


def translated(exc: OSError, action: str, path: Path | str) -> DiskFullError | DiskFaultError:
    """The operator's words for a refusal of the disk."""
    if exc.errno in _NO_ROOM:
        return DiskFullError(
            f"There is no room to {action} {path} ({exc.strerror}). Free space or raise the quota;"
            " downloads go on by themselves when there is room."
        )
    return DiskFaultError(
        f"The disk refused to {action} {path}: {exc.strerror}."
        " Check the file system, its mount options and the permissions of the store."
    )


@contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Translate what the disk refuses within the block."""
    try:
        yield
    except OSError as exc:
        raise translated(exc, action, path) from exc


class Disk:
    """Durable moves. Nothing is reported done before it would survive a power cut."""

    def __init__(self, syscalls: Syscalls) -> None:
        self.syscalls = syscalls
        self._offers_rename_to_free = True

    def write_all(self, fd: int, data: memoryview) -> None:
        """Write everything, however often the kernel takes only a part."""
        while len(data):
            data = data[self.syscalls.write(fd, data) :]

    def close_quietly(self, fd: int) -> None:
        """Close a descriptor whose content no longer matters."""
        with suppress(OSError):
            self.syscalls.close(fd)

    def remove_quietly(self, path: Path | str) -> None:
        """Remove a file that may not be there and that nobody would miss."""
        with suppress(OSError):
            self.syscalls.unlink(path)

    def take_free_name(self, source: str, target: str) -> None:
        """Give a file another name that nothing has.

        Raises:
            FileExistsError: something has it; both are as they were.
        """
        if not (self._offers_rename_to_free and self._renamed_to_free(source, target)):
            self.syscalls.link(source, target)
            self.remove_quietly(source)

    def _renamed_to_free(self, source: str, target: str) -> bool:
        """Whether that could be done in one call; not on every file system, nor with every kernel."""
        try:
            self.syscalls.rename_to_free(source, target)
        except OSError as exc:
            if exc.errno not in _NOT_OFFERED:
                raise
            self._offers_rename_to_free = False
        return self._offers_rename_to_free

    def sync_folder(self, folder: Path | str) -> None:
        """Make the names in a folder durable."""
        fd = self.syscalls.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.syscalls.fsync(fd)
        finally:
            self.close_quietly(fd)

    def make_folder(self, folder: Path, top: Path) -> None:
        """Make a folder and those above it, up to `top`, each durable in its parent."""
        if folder == top or folder.is_dir():
            return
        self.make_folder(folder.parent, top)
        folder.mkdir(mode=0o750, exist_ok=True)
        self.sync_folder(folder.parent)

    def write_file(self, path: Path | str, data: bytes, sync: bool) -> None:
        """Write a new file whole; on any failure it is gone."""
        fd = self.syscalls.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            try:
                self.write_all(fd, memoryview(data))
                if sync:
                    self.syscalls.fsync(fd)
            except OSError:
                self.close_quietly(fd)
                raise
            self.syscalls.close(fd)
        except OSError:
            self.remove_quietly(path)
            raise

    def replace_file(self, path: Path, data: bytes, sync: bool) -> None:
        """Give a file new content, by rename: at every instant the name shows the old or the new content whole."""
        temporary = temporary_of(path)
        self.write_file(temporary, data, sync)
        try:
            self.syscalls.rename(temporary, path)
        except OSError:
            self.remove_quietly(temporary)
            raise
        if sync:
            self.sync_folder(path.parent)

    def move(self, source: Path, target: Path) -> None:
        """Move a file between folders, durably."""
        self.syscalls.rename(source, target)
        self.sync_folder(target.parent)
        if source.parent != target.parent:
            self.sync_folder(source.parent)


def part_of(path: Path) -> Path:
    """Where the body of `path` is staged."""
    return path.with_name(f".{path.name}.part")


def clean_of(path: Path) -> Path:
    """Where what is left of the staged body of `path` is written while something is taken out of it."""
    return path.with_name(f".{path.name}.clean")


def part_record_of(path: Path) -> Path:
    """Where what is needed to resume the body of `path` is kept."""
    return path.with_name(f".{path.name}.part.json")


def previous_of(path: Path) -> Path:
    """Where the body that lies under `path` is held while another takes its place."""
    return path.with_name(previous_name(path.name))


def temporary_of(path: Path) -> Path:
    """Where new content of `path` is written before it takes the name."""
    return path.with_name(temporary_name(path.name))


def previous_name(name: str) -> str:
    """The same, of a name alone."""
    return f".{name}.was"


def temporary_name(name: str) -> str:
    """The same, of a name alone."""
    return f".{name}.new"
