"""Whether a store is still the one that was opened. Blocking; called from side threads.

A path is only a name: a folder that is renamed, unmounted or restored from a backup under a running process leaves it
writing into another place than its manifest speaks of. What was opened is held by descriptor, so that it cannot be
mistaken for anything else, and compared with what the name shows now.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from filingd.adapters.disk import disk_errors
from filingd.core.errors import DiskFaultError, StoreReplacedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


_SHOWS_NOTHING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Anchor:
    """Holds on to some paths as they are now, or as they are when they first show something."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._held = {path: _held(path) for path in paths}

    def check(self) -> None:
        """Look whether each path still shows what it showed.

        Raises:
            StoreReplacedError: it shows something else, or nothing.
            DiskFaultError: that cannot be told now.
        """
        for path, fd in self._held.items():
            if fd is None:
                self._held[path] = _held(path)
            elif not _shows(path, fd):
                raise StoreReplacedError(
                    f"{path} is not what filingd opened any more: it was moved, removed, replaced or unmounted meanwhile."
                    " Nothing more is recorded. Put the store back as it was and start filingd again;"
                    " for a manifest that is lost, run `filingd manifest rebuild` first."
                )

    def is_in_place(self) -> bool:
        """Whether each path is known to show what it showed: whoever tidies up asks, and leaves alone what is another's."""
        try:
            self.check()
        except (StoreReplacedError, DiskFaultError):
            return False
        return True

    def close(self) -> None:
        """Let go."""
        while self._held:
            _, fd = self._held.popitem()
            if fd is not None:
                os.close(fd)


def _held(path: Path) -> int | None:
    # O_PATH: neither reads nor locks, and closing it does not drop SQLite's locks on the same file as another would.
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _shows(path: Path, fd: int) -> bool:
    with disk_errors("look at", path):
        try:
            return os.path.samestat(path.stat(), os.fstat(fd))
        except OSError as exc:
            if exc.errno in _SHOWS_NOTHING:
                return False
            raise
