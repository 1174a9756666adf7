"""`forgotten.jsonl`: what an operator was told to forget, one line each, beside the manifest. Blocking.

Lines are only ever added, under a lock on the file, so that a daemon and a command may both do so. A line that a death cut off
has no end and does not count; whoever adds the next one takes it away.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from filingd.adapters.disk import disk_errors
from filingd.core import steps as step
from filingd.core.tombstones import line_of, tombstones_in, unknown_of, whole_length

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from filingd.adapters.disk import Disk
    from filingd.core.tombstones import Tombstone
    from filingd.ports import Steps


class TombstoneFile:
    """One such file, which need not be there."""

    def __init__(self, path: Path, disk: Disk, steps: Steps) -> None:
        self._path = path
        self._disk = disk
        self._steps = steps

    def read(self) -> Sequence[Tombstone]:
        """All tombstones.

        Raises:
            StoreError: a line cannot be understood.
            DiskFaultError: the file cannot be read.
        """
        with disk_errors("read", self._path):
            try:
                text = self._path.read_bytes()
            except FileNotFoundError:
                return []
        return tombstones_in(text.decode("utf-8", "replace"), str(self._path))

    def add(self, tombstones: Sequence[Tombstone]) -> None:
        """Add those that are not there yet, durably.

        Raises:
            StoreError: a line that is there cannot be understood.
            DiskFullError, DiskFaultError: the disk refused.
        """
        is_new = not self._path.exists()
        with disk_errors("write", self._path):
            fd = self._disk.syscalls.open(self._path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._append(fd, tombstones)
            finally:
                self._disk.close_quietly(fd)
            if is_new:
                self._disk.sync_folder(self._path.parent)
        self._steps.reached(step.TOMBSTONE_WRITTEN)

    def _append(self, fd: int, tombstones: Sequence[Tombstone]) -> None:
        there = os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "surrogateescape")
        known = tombstones_in(there, str(self._path))
        new = unknown_of(tombstones, known)
        whole = there[: whole_length(there)]
        end = len(whole.encode("utf-8", "surrogateescape"))
        try:
            os.ftruncate(fd, end)
            os.lseek(fd, end, os.SEEK_SET)
            lines = "".join(f"{line_of(tombstone)}\n" for tombstone in new)
            if whole and not whole.endswith("\n"):
                lines = f"\n{lines}"
            self._disk.write_all(fd, memoryview(lines.encode()))
            self._disk.syscalls.fsync(fd)
        except OSError:
            os.ftruncate(fd, end)  # half a batch must not count
            raise
