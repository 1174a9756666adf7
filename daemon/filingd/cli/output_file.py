"""A file that a command writes for its caller: there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filingd.core.errors import FilingdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filingd.adapters.members import Output


class OutputFileError(FilingdError):
    """The file that was asked for cannot be written."""


class _File:
    """Whatever refuses is told as what it is: not a fault of what is being read."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def write(self, data: bytes, /) -> None:
        left = memoryview(data)
        with _told(self._path):
            while left:
                left = left[os.write(self._descriptor, left) :]


@contextlib.contextmanager
def new_content(path: Path) -> Iterator[Output]:
    """Write a file by another name beside it, which becomes its own when all is written and synced.

    What was there stays until then, and after an error. A link is followed; what is no file (a pipe, a device) is written to.

    Raises:
        OutputFileError: it cannot be written.
    """
    with _told(path):
        real = path.resolve()
        is_stream = real.exists() and not real.is_file() and not real.is_dir()
    with _stream(real) if is_stream else _renamed_when_whole(real) as output:
        yield output


@contextlib.contextmanager
def _stream(path: Path) -> Iterator[Output]:
    with _told(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        yield _File(descriptor, path)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _renamed_when_whole(path: Path) -> Iterator[Output]:
    from filingd.adapters.disk import Disk, Syscalls

    disk = Disk(Syscalls())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with _told(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            yield _File(descriptor, path)
            with _told(path):
                disk.syscalls.fsync(descriptor)
        finally:
            os.close(descriptor)
        with _told(path):
            disk.syscalls.rename(temporary, path)
    except BaseException:
        disk.remove_quietly(temporary)
        raise


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFileError(
            f"{path} cannot be written: {error.strerror}. Name another file with --output, or make its folder or room there."
        ) from error
