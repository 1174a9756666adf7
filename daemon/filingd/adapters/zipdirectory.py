"""Reads the central directory of a zip that lies on the disk, for what a forward walk cannot know.

Nothing here verifies content: that is the walk's (see `zipwalk`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from filingd.adapters.zipwalk import (
    CENTRAL_HEADER,
    END64_RECORD,
    END_RECORD,
    LOCAL_HEADER,
    LOCATOR,
    ZipRefusedError,
    decoded_name,
    widened,
)
from filingd.core.model import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadAt = Callable[[int, int], bytes]  # (offset, count) -> at most count bytes

_LONGEST_COMMENT = 0xFFFF
_DIRECTORY_BYTES_MAX = 64 * 1024 * 1024


class ListedMember(NamedTuple):
    """One line of a central directory."""

    name: str
    header_at: int
    packed_bytes: int
    size_bytes: int
    crc32: int
    method: int


def read_directory(read_at: ReadAt, zip_bytes: int) -> list[ListedMember]:
    """All lines of the central directory, folders included.

    Raises:
        ZipRefusedError: there is no directory, or it cannot be read.
        OSError: from `read_at`.
    """
    offset, size_bytes = find_directory(read_at, zip_bytes)
    if offset + size_bytes > zip_bytes or size_bytes > _DIRECTORY_BYTES_MAX:
        raise ZipRefusedError("zip_bad_header", f"the directory cannot be {size_bytes} bytes at {offset}")
    return list(_lines(read_at(offset, size_bytes)))


def read_members(read_at: ReadAt, zip_bytes: int) -> list[Member]:
    """The member index of a zip, made from its directory and local headers; no member has a note.

    Raises:
        ZipRefusedError: there is no directory, or it cannot be read.
        OSError: from `read_at`.
    """
    listed = read_directory(read_at, zip_bytes)
    return [_located(read_at, line) for line in listed if not line.name.endswith("/")]


def _located(read_at: ReadAt, line: ListedMember) -> Member:
    header = read_at(line.header_at, LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        raise ZipRefusedError("zip_bad_header", f"there is no local header at {line.header_at}")
    name_length, extra_length = struct.unpack_from("<2H", header, 26)
    return Member(
        name=line.name,
        offset=line.header_at + LOCAL_HEADER.size + name_length + extra_length,
        packed_bytes=line.packed_bytes,
        size_bytes=line.size_bytes,
        crc32=line.crc32,
        method=line.method,
    )


def find_directory(read_at: ReadAt, zip_bytes: int) -> tuple[int, int]:
    """Offset and size of the central directory, by way of the end records."""
    tail_at = max(0, zip_bytes - _LONGEST_COMMENT - END_RECORD.size - LOCATOR.size)
    tail = read_at(tail_at, zip_bytes - tail_at)
    at = _find_end(tail)
    *_, size_bytes, offset, _ = END_RECORD.unpack_from(tail, at)
    locator_at = at - LOCATOR.size
    if locator_at >= 0 and tail.startswith(b"PK\x06\x07", locator_at):
        _, _, record_at, _ = LOCATOR.unpack_from(tail, locator_at)
        record = read_at(record_at, END64_RECORD.size)
        if len(record) < END64_RECORD.size or not record.startswith(b"PK\x06\x06"):
            raise ZipRefusedError("zip_bad_header", f"there is no zip64 end record at {record_at}")
        *_, size_bytes, offset = END64_RECORD.unpack(record)
    return offset, size_bytes


def _find_end(tail: bytes) -> int:
    """Where the end record begins: its comment reaches exactly to the last byte."""
    at = len(tail)
    while (at := tail.rfind(b"PK\x05\x06", 0, at + 3)) >= 0:
        if at + END_RECORD.size <= len(tail):
            comment = END_RECORD.unpack_from(tail, at)[-1]
            if at + END_RECORD.size + comment == len(tail):
                return at
        if at == 0:
            break
        at -= 1
    raise ZipRefusedError("zip_no_end", "the zip has no end record")


def _lines(directory: bytes) -> Iterator[ListedMember]:
    at = 0
    while at < len(directory):
        if len(directory) - at < CENTRAL_HEADER.size or not directory.startswith(b"PK\x01\x02", at):
            raise ZipRefusedError("zip_bad_header", f"the directory cannot be read at its byte {at}")
        header = CENTRAL_HEADER.unpack_from(directory, at)
        flags, method, crc, packed, size = header[3], header[4], *header[7:10]
        name_at = at + CENTRAL_HEADER.size
        extra_at = name_at + header[10]
        name = decoded_name(directory[name_at:extra_at], flags, at)
        extra = directory[extra_at : extra_at + header[11]]
        size, packed, offset = widened(extra, [size, packed, header[16]], at)
        yield ListedMember(name, offset, packed, size, crc, method)
        at = extra_at + header[11] + header[12]
