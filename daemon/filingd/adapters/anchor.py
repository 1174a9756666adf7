"""Whether a store is still the one that was opened. Blocking; called from side threads.

A path is only a name: a folder that is renamed, unmounted or restored from a backup under a running process leaves it
writing into another place than its manifest speaks of. What was opened is held by descriptor, so that it cannot be
mistaken for anything else, and compared with what the name shows now.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filingd.adapters.disk import disk_errors
from filingd.core.errors import StoreReplacedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Anchor:
    """Holds on to some paths as they are now; those that show nothing now are not held."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._held = [(path, fd) for path in paths if (fd := _held(path)) is not None]

    def check(self) -> None:
        """Look whether each path still shows what it showed.

        Raises:
            StoreReplacedError: it shows something else, or nothing.
            DiskFaultError: that cannot be told now.
        """
        for path, fd in self._held:
            if not _shows(path, fd):
                raise StoreReplacedError(
                    f"{path} is not what filingd opened any more: it was moved, removed, replaced or unmounted meanwhile."
                    " Nothing more is recorded. Put the store back as it was and start filingd again;"
                    " for a manifest that is lost, run `filingd manifest rebuild` first."
                )

    def close(self) -> None:
        """Let go."""
        while self._held:
            os.close(self._held.pop()[1])


def _held(path: Path) -> int | None:
    # O_PATH: neither reads nor locks, and closing it does not drop SQLite's locks on the same file as another would.
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _shows(path: Path, fd: int) -> bool:
    with disk_errors("look at", path):
        try:
            return os.path.samestat(path.stat(), os.fstat(fd))
        except (FileNotFoundError, NotADirectoryError):
            return False
