"""Gives out documents as they were stored, or says that they are not there any more. Blocking; for commands.

What only the rarer cases need (the directory of a zip, the digest of a whole file) is imported there: a command begins anew each
time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.adapters.members import MemberDamagedError, MemberReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from filingd.adapters.members import Output
    from filingd.core.catalogue import Document
    from filingd.core.model import Member


class SoundDocument:
    """One stored document, read once to its end and found to be what was stored. Close it, or use `with`.

    `sha256` is the digest of the whole file, which counts where the file is the document.

    Raises (on making it):
        MemberDamagedError: it is not what was stored.
        DiskFaultError: the file is not there, or cannot be read.
    """

    def __init__(self, root: Path, document: Document, sha256: bytes | None = None) -> None:
        self._path = root / document.source.path
        self._place = document.place
        self._sha256 = sha256 if document.place.member is None else None
        self._reader = MemberReader(self._path)
        try:
            self.copy(_Nowhere())
        except BaseException:
            self.close()
            raise

    def copy(self, output: Output) -> None:
        """Write it to an open file, a part at a time.

        Raises:
            MemberDamagedError: it is not what was stored any more.
            DiskFaultError: the disk refused to read.
            OSError: from `output`.
        """
        if self._sha256 is None:
            self._reader.copy(self._place, output)
            return
        digesting = _Digesting(output)
        self._reader.copy(self._place, digesting)
        if digesting.sha256.digest() != self._sha256:
            raise MemberDamagedError(
                f"{self._path} is not what was stored: its SHA-256 is {digesting.sha256.hexdigest()} instead of "
                f"{self._sha256.hex()}. Run `filingd verify --repair`."
            )

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def relocated(root: Path, document: Document) -> Document | None:
    """Where the document lies by the directory of its zip as it is now; None if that does not list it.

    A zip may be replaced, or written again, before the catalogue tells where its members lie now.
    """
    from filingd.adapters.zipwalk import ZipRefusedError

    place = document.place
    if place.member is None:
        return None
    try:
        members = _members_now(root / document.source.path)
    except (OSError, ZipRefusedError):
        return None
    now = next((member for member in members if member.name == place.member), None)
    if now is None:
        return None
    moved = replace(
        place, offset=now.offset, packed_bytes=now.packed_bytes, size_bytes=now.size_bytes,
        method=now.method, crc32=now.crc32,
    )  # fmt: skip
    return replace(document, place=moved)


def _members_now(path: Path) -> Sequence[Member]:
    from filingd.adapters.zipdirectory import read_members

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return read_members(lambda at, count: os.pread(fd, count, at), os.fstat(fd).st_size)
    finally:
        os.close(fd)


class _Nowhere:
    def write(self, data: bytes, /) -> None:
        """Drop it."""


class _Digesting:
    def __init__(self, output: Output) -> None:
        import hashlib

        self._output = output
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        self.sha256.update(data)
        self._output.write(data)
