"""The lock that keeps a store to one daemon.

It is `flock` on `<store>/lock`, held for the life of the process: the kernel lets go of it when the process
dies, however it dies, so a file that was left behind is no obstacle. What is written inside is for people.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filingd.core.errors import DiskFaultError, DiskFullError, FilingdError, StoreLockedError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

LOCK_NAME = "lock"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_KERNEL_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who wrote the lock file: process, host, what it does, and since when (unix seconds)."""

    pid: int
    host: str
    purpose: str
    started_at: float


RUN_PURPOSE = "filingd run"  # of the daemon; all others are commands, which end by themselves


class StoreLock:
    """Keeps a store to one process. Take it with `acquire` or `with`; `started_at` is unix seconds.

    `purpose` is said to whoever comes second, such as `filingd run`.
    """

    def __init__(self, root: Path, *, started_at: float, purpose: str = RUN_PURPOSE) -> None:
        self._path = root / LOCK_NAME
        self._holder = LockHolder(os.getpid(), socket.gethostname(), purpose, started_at)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, without waiting.

        Raises:
            StoreLockedError: another process has it; the text names it.
            DiskFullError, DiskFaultError: the lock file cannot be made.
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise self._refusal(error) from error
        self._descriptor = descriptor
        self._introduce_ourselves(descriptor)

    def release(self) -> None:
        """Let go. No error if it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # The file stays: removing it would let two processes lock two files of the same name.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _disk_error(error, self._path) from error

    def _refusal(self, error: OSError) -> FilingdError:
        if error.errno != errno.EWOULDBLOCK:
            return _disk_error(error, self._path)
        holder = _read_holder(self._path)
        who = "another process" if holder is None else f"{holder.purpose} (pid {holder.pid} on {holder.host})"
        return StoreLockedError(
            f"The store {self._path.parent} is in use by {who}. Stop it first, or choose another [store] path."
        )

    def _introduce_ourselves(self, descriptor: int) -> None:
        # On a full disk the daemon still has to start: the lock holds without a word in it.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(self._holder)).encode() + b"\n", 0)


def lock_holder(root: Path) -> LockHolder | None:
    """Who has the lock of a store now, as far as this process can see; None if nobody does.

    It asks the kernel's list and never tries the lock: a look must not be in the way of a daemon that starts.
    """
    path = root / LOCK_NAME
    holder = _read_holder(path)
    return holder if holder is not None and _is_locked_by(holder.pid, path) else None


def clock_ahead_s(root: Path) -> float:
    """How far the clock of whoever has the lock is ahead of the real one, in seconds: a rehearsal keeps another clock.

    Zero if nobody has the lock. The holder wrote down when it began by its own clock, and the file when by the real one.
    """
    holder = lock_holder(root)
    return 0.0 if holder is None else holder.started_at - (root / LOCK_NAME).stat().st_mtime


def _read_holder(path: Path) -> LockHolder | None:
    try:
        return LockHolder(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _is_locked_by(pid: int, path: Path) -> bool:
    # A line reads `1: FLOCK  ADVISORY  WRITE 1234 fe:00:56789 0 EOF`: pid, then device and inode.
    inode = path.stat().st_ino
    for line in _KERNEL_LOCKS.read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[4] == str(pid) and fields[5].endswith(f":{inode}"):
            return True
    return False


def _disk_error(error: OSError, path: Path) -> FilingdError:
    if error.errno in _NO_ROOM:
        return DiskFullError(f"There is no room for the lock file {path}. Free some space.")
    return DiskFaultError(
        f"The lock file {path} cannot be used: {error.strerror}. "
        "Check that the store's folder exists and may be written by this user."
    )
