"""Takes what is forgotten out of a file of any kind, by what a registry says of it (`core.forgetting.Scrub`). Blocking."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from filingd.adapters.zipedit import edit_of
from filingd.adapters.zipwalk import INSPECTED_BYTES_MAX, ZipRefusedError
from filingd.core.forgetting import Traces
from filingd.core.kinds import HEAD_BYTES, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.core.forgetting import Scrub

_CHUNK_BYTES = 1024 * 1024
_OVERLAP_BYTES = 64  # a name that lies across two chunks is seen all the same
_ZIP_KINDS = frozenset({"zip", "empty_zip"})


class Edit(Protocol):
    """What is left of a file."""

    @property
    def traces(self) -> Traces: ...
    def parts(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class _WholeEdit:
    """What is left of a file that is no zip."""

    data: bytes
    traces: Traces

    def parts(self) -> Iterator[bytes]:
        yield self.data


def edit_of_file(fd: int, size_bytes: int, scrub: Scrub) -> Edit | None:
    """What has to be taken out of an open file; None if nothing.

    Raises:
        ZipRefusedError: it cannot be read as what it begins like, or is too large to be looked into.
        OSError: the disk refused.
    """
    if kind_of(os.pread(fd, HEAD_BYTES, 0)) in _ZIP_KINDS:
        return edit_of(lambda at, count: os.pread(fd, count, at), size_bytes, scrub)
    if size_bytes > INSPECTED_BYTES_MAX:
        raise ZipRefusedError("too_large", f"{size_bytes} bytes are too many to be looked into")
    left = scrub.document(os.pread(fd, size_bytes, 0))
    return None if left is None else _WholeEdit(left, Traces(1, max(size_bytes - len(left), 0)))


def holds_trace(fd: int, size_bytes: int, scrub: Scrub) -> bool:
    """Whether a file that need not be sound holds, or may hide, what is forgotten.

    Raises:
        OSError: the disk refused.
    """
    kind = kind_of(os.pread(fd, HEAD_BYTES, 0))
    try:
        if edit_of_file(fd, size_bytes, scrub) is not None:
            return True
    except ZipRefusedError:
        if scrub.is_hidden_in(kind):
            return True
    return any(scrub.names(part) for part in _overlapping(fd, size_bytes))


def _overlapping(fd: int, size_bytes: int) -> Iterator[bytes]:
    at = 0
    while at < size_bytes:
        yield os.pread(fd, _CHUNK_BYTES, at)
        at += _CHUNK_BYTES - _OVERLAP_BYTES
