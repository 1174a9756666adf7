"""Zips for tests, made by the standard library: small, streamed, wide, with folders."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from _typeshed import ReadableBuffer as Buffer


class Unseekable(io.RawIOBase):
    """Somewhere to write that cannot go back, so that sizes come behind the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self.data += memoryview(data)
        return len(memoryview(data))


def made_zip(
    members: Mapping[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    streamed: bool = False,
    force_zip64: bool = False,
    comment: bytes = b"",
    folders: Iterable[str] = (),
) -> bytes:
    """A zip. `streamed` puts CRC and sizes behind the data, `force_zip64` writes 64-bit sizes in front or behind."""
    seekable, pipe = io.BytesIO(), Unseekable()
    with zipfile.ZipFile(pipe if streamed else seekable, "w", method) as archive:
        for folder in folders:
            archive.writestr(zipfile.ZipInfo(folder), b"")
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=force_zip64) as member:
                member.write(data)
        archive.comment = comment
    return bytes(pipe.data) if streamed else seekable.getvalue()
