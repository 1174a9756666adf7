"""A zip writer that streams, and that can be told to write every kind of bad zip.

Bytes come out as an iterator; nothing larger than one chunk is held. The layout follows the ZIP application
note (local headers, optional data descriptors, central directory, ZIP64 records). Timestamps are fixed, so
that the same members give the same bytes. The honest writer and the damaged one are the same code: a `Damage`
only changes the list of members, a number, or what is left out.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
import zlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Method = Literal["deflate", "stored"]
DamageKind = Literal[
    "crc",  # a member's CRC is wrong everywhere it is written
    "bitflip",  # a member's stored data are altered after its CRC was taken
    "no_eocd",  # the end-of-central-directory record is missing
    "duplicate",  # a member occurs twice under one name
    "zip_slip",  # ../evil.json
    "absolute",  # /evil.json
    "backslash",  # ..\evil.json
    "drive",  # C:evil.json
    "encrypted",  # a member's encryption flag is set
    "link",  # a member is a symbolic link to /etc/passwd
    "absent",  # the central directory lists a member that is not there
    "unlisted",  # a member is there but the central directory does not list it
    "renamed",  # a member's local name is another than its central name
    "bomb",  # a member that inflates to `bomb_bytes` of zeros
]
EVIL_NAMES = {
    "zip_slip": "../evil.json",
    "absolute": "/evil.json",
    "backslash": "..\\evil.json",
    "drive": "C:evil.json",
}

CHUNK_BYTES = 256 * 1024
_STAMP = (0 << 11 | 0 << 5 | 0, (2026 - 1980) << 9 | 1 << 5 | 1)  # 2026-01-01 00:00:00 in DOS time and date
_LIMIT_32 = 0xFFFFFFFF
_LIMIT_16 = 0xFFFF
_FLAG_ENCRYPTED, _FLAG_DESCRIPTOR, _FLAG_UTF8 = 0x1, 0x8, 0x800
_LINK_ATTRIBUTES = 0o120777 << 16
_FILE_ATTRIBUTES = 0o100644 << 16
_FOLDER_ATTRIBUTES = 0o040755 << 16 | 0x10


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """How a zip is written. With `descriptors`, sizes follow the data (bit 3), as a streaming server
    writes them.
    """

    method: Method = "deflate"
    zip64: Literal["auto", "forced"] = "auto"
    descriptors: bool = True
    folder: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a zip. `member` counts from 0; one that does not exist spoils nothing."""

    kind: DamageKind
    member: int = 0
    bomb_bytes: int = 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A member to write: a name, and a function that yields its data (again and again the same)."""

    name: str
    chunks: Callable[[], Iterable[bytes]]
    size_bytes: int  # uncompressed
    crc: int | None = None  # known beforehand, or None
    attributes: int = _FILE_ATTRIBUTES
    method: Method | None = None  # None: the layout's
    flags: int = 0
    crc_mask: int = 0  # laid over the CRC: a wrong one
    flip: bool = False  # alter the stored data
    local_name: str = ""  # written in the local header instead of `name`
    listed: bool = True  # in the central directory


@dataclasses.dataclass(slots=True)
class _Written:
    """What the central directory must say of a member."""

    member: Member
    offset: int
    crc: int
    stored_bytes: int
    zip64: bool


def member_of(name: str, data: bytes) -> Member:
    """A member from bytes in memory."""
    return Member(name, lambda: (data,), len(data))


def folder_of(name: str) -> Member:
    """A directory entry; `name` ends in a slash."""
    return Member(name, _nothing, 0, attributes=_FOLDER_ATTRIBUTES, method="stored")


def write_zip(
    members: Iterable[Member], layout: Layout = Layout(), damage: Damage | None = None
) -> Iterator[bytes]:
    """The bytes of a zip, in pieces of any size. Members are taken one at a time."""
    return _Writer(layout).write(_damaged(members, damage), damage)


def rechunk(pieces: Iterable[bytes], chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The same bytes in chunks of `chunk_bytes`, the last one shorter."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= chunk_bytes:
            yield bytes(buffer[:chunk_bytes])
            del buffer[:chunk_bytes]
    if buffer:
        yield bytes(buffer)


# --- damage -------------------------------------------------------------------------------------------------


def _damaged(members: Iterable[Member], damage: Damage | None) -> Iterator[Member]:
    """The members with one of them spoiled, or with one too many."""
    if damage is None:
        return iter(members)
    if damage.kind in _SPOILED:
        return _spoil(members, damage)
    addition = _addition(damage)
    return iter(members) if addition is None else itertools.chain(members, [addition])


_SPOILED: dict[str, dict[str, int | bool | str]] = {
    "crc": {"crc_mask": 0x5A5A5A5A},
    "bitflip": {"flip": True},
    "encrypted": {"flags": _FLAG_ENCRYPTED},
    "unlisted": {"listed": False},
    "renamed": {"local_name": "elsewhere.json"},
    "duplicate": {},
}


def _spoil(members: Iterable[Member], damage: Damage) -> Iterator[Member]:
    target: Member | None = None
    for index, member in enumerate(members):
        if index == damage.member:
            target = dataclasses.replace(member, **_SPOILED[damage.kind])  # type: ignore[arg-type]
            yield target
        else:
            yield member
    if target and damage.kind == "duplicate":
        yield target


def _addition(damage: Damage) -> Member | None:
    evil = b'{"referenceNumber":"2026-99999999"}'
    if damage.kind in EVIL_NAMES:
        return member_of(EVIL_NAMES[damage.kind], evil)
    if damage.kind == "link":
        return dataclasses.replace(
            member_of("2026-99999999.json", b"/etc/passwd"), attributes=_LINK_ATTRIBUTES
        )
    if damage.kind == "bomb":
        return Member(
            "2026-99999999.json", lambda: _zeros(damage.bomb_bytes), damage.bomb_bytes, method="deflate"
        )
    return None


def _zeros(length: int) -> Iterator[bytes]:
    block = bytes(CHUNK_BYTES)
    whole, rest = divmod(length, CHUNK_BYTES)
    yield from itertools.repeat(block, whole)
    yield block[:rest]


# --- writing ------------------------------------------------------------------------------------------------


class _Writer:
    """One zip being written; counts the offset."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._offset = 0
        self._written: list[_Written] = []

    def write(self, members: Iterator[Member], damage: Damage | None) -> Iterator[bytes]:
        for member in members:
            yield from self._counted(self._member(member))
        kind = damage.kind if damage else None
        if kind == "absent":
            ghost = member_of("2026-99999999.json", b"nothing")
            self._written.append(_Written(ghost, self._offset, 0, 7, zip64=False))
        start = self._offset
        listed = [entry for entry in self._written if entry.member.listed]
        for entry in listed:
            yield from self._counted([self._central_header(entry)])
        if kind != "no_eocd":
            yield self._end(start, len(listed))

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._offset += len(piece)
            yield piece

    def _member(self, member: Member) -> Iterator[bytes]:
        offset = self._offset
        zip64 = self._layout.zip64 == "forced" or member.size_bytes >= _LIMIT_32 - 64 * 1024 * 1024
        if self._layout.descriptors or member.size_bytes > CHUNK_BYTES * 16:
            return self._with_descriptor(member, offset, zip64=zip64)
        return self._with_sizes(member, offset, zip64=zip64)

    def _with_sizes(self, member: Member, offset: int, *, zip64: bool) -> Iterator[bytes]:
        """Local header with CRC and sizes; the member is small enough to be compressed first."""
        data = b"".join(member.chunks())
        crc = self._crc(zlib.crc32(data), member)
        stored = b"".join(self._compressed(member, [data]))
        self._written.append(_Written(_without_data(member), offset, crc, len(stored), zip64))
        yield self._local_header(member, crc, len(stored), len(data), zip64=zip64, descriptor=False)
        yield stored

    def _with_descriptor(self, member: Member, offset: int, *, zip64: bool) -> Iterator[bytes]:
        """Local header without sizes; CRC and sizes follow the data."""
        running = _RunningCrc(member.crc)
        yield self._local_header(member, 0, 0, 0, zip64=zip64, descriptor=True)
        stored_bytes = 0
        for piece in self._compressed(member, running.through(member.chunks())):
            stored_bytes += len(piece)
            yield piece
        crc = self._crc(running.value, member)
        self._written.append(_Written(_without_data(member), offset, crc, stored_bytes, zip64))
        sizes = struct.pack("<QQ" if zip64 else "<LL", stored_bytes, member.size_bytes)
        yield b"PK\x07\x08" + struct.pack("<L", crc) + sizes

    @staticmethod
    def _crc(value: int, member: Member) -> int:
        return value ^ member.crc_mask

    def _method(self, member: Member) -> Method:
        return member.method or self._layout.method

    def _compressed(self, member: Member, chunks: Iterable[bytes]) -> Iterator[bytes]:
        pieces = chunks if self._method(member) == "stored" else _deflate(chunks)
        return _flipped(pieces) if member.flip else (piece for piece in pieces if piece)

    def _flags(self, member: Member, *, descriptor: bool) -> int:
        utf8 = 0 if member.name.isascii() else _FLAG_UTF8
        return member.flags | utf8 | (_FLAG_DESCRIPTOR if descriptor else 0)

    def _name(self, name: str) -> bytes:
        return (self._layout.folder + name if self._layout.folder else name).encode()

    def _local_header(
        self, member: Member, crc: int, stored_bytes: int, size_bytes: int, *, zip64: bool, descriptor: bool
    ) -> bytes:
        name = self._name(member.local_name or member.name)
        extra = struct.pack("<HHQQ", 1, 16, size_bytes, stored_bytes) if zip64 else b""
        sizes = (_LIMIT_32, _LIMIT_32) if zip64 else (stored_bytes, size_bytes)
        head = struct.pack(
            "<4sHHHHHLLLHH", b"PK\x03\x04", 45 if zip64 else 20, self._flags(member, descriptor=descriptor),
            self._method_code(member), *_STAMP, crc, *sizes, len(name), len(extra),
        )  # fmt: skip
        return head + name + extra

    def _method_code(self, member: Member) -> int:
        return 0 if self._method(member) == "stored" else 8

    def _central_header(self, entry: _Written) -> bytes:
        member = entry.member
        name = self._name(member.name)
        wide = entry.zip64 or max(entry.offset, entry.stored_bytes, member.size_bytes) >= _LIMIT_32
        extra = (
            struct.pack("<HHQQQ", 1, 24, member.size_bytes, entry.stored_bytes, entry.offset) if wide else b""
        )
        sizes = (_LIMIT_32, _LIMIT_32) if wide else (entry.stored_bytes, member.size_bytes)
        descriptor = self._layout.descriptors or member.size_bytes > CHUNK_BYTES * 16
        head = struct.pack(
            "<4sHHHHHHLLLHHHHHLL", b"PK\x01\x02", 3 << 8 | (45 if wide else 20), 45 if wide else 20,
            self._flags(member, descriptor=descriptor), self._method_code(member), *_STAMP, entry.crc, *sizes,
            len(name), len(extra), 0, 0, 0, member.attributes, _LIMIT_32 if wide else entry.offset,
        )  # fmt: skip
        return head + name + extra

    def _end(self, start: int, count: int) -> bytes:
        length = self._offset - start
        wide = self._layout.zip64 == "forced" or count >= _LIMIT_16 or max(start, length) >= _LIMIT_32
        full = (_LIMIT_16, _LIMIT_16, _LIMIT_32, _LIMIT_32)
        numbers = full if wide else (count, count, length, start)
        plain = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, *numbers, 0)
        if not wide:
            return plain
        record = struct.pack(
            "<4sQHHLLQQQQ", b"PK\x06\x06", 44, 3 << 8 | 45, 45, 0, 0, count, count, length, start
        )
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, self._offset, 1)
        return record + locator + plain


def _without_data(member: Member) -> Member:
    """What the central directory needs; the data may go."""
    return dataclasses.replace(member, chunks=_nothing)


def _nothing() -> Iterable[bytes]:
    return ()


class _RunningCrc:
    """The CRC of what passes through, unless it is known."""

    def __init__(self, known: int | None) -> None:
        self._known = known
        self.value = known or 0

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._known is None:
                self.value = zlib.crc32(chunk, self.value)
            yield chunk


def _deflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = None
    for chunk in chunks:
        packer = packer or zlib.compressobj(_level(chunk), zlib.DEFLATED, -15)
        yield packer.compress(chunk)
    yield (packer or zlib.compressobj(6, zlib.DEFLATED, -15)).flush()


def _level(first: bytes) -> int:
    """No effort for what does not shrink (a PDF): a probe from the middle decides. Still the deflate format."""
    middle = len(first) // 2
    probe = first[middle : middle + 4096]
    return 0 if len(probe) == 4096 and len(zlib.compress(probe, 1)) > 4000 else 6


def _flipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """One bit in the middle of the first piece is another."""
    flipped = False
    for piece in pieces:
        if piece and not flipped:
            middle, flipped = len(piece) // 2, True
            yield piece[:middle] + bytes([piece[middle] ^ 0x10]) + piece[middle + 1 :]
        elif piece:
            yield piece


# --- huge zips ----------------------------------------------------------------------------------------------


def huge_members(names: list[str], total_bytes: int) -> list[Member]:
    """Members of equal size that hold `total_bytes` together and look like PDFs; one pattern, generated on
    the fly.
    """
    each = max(total_bytes // max(len(names), 1), 16)
    pattern = bytes(range(256)) * (CHUNK_BYTES // 256)
    crc = 0
    for chunk in _pdf_like(pattern, each):
        crc = zlib.crc32(chunk, crc)
    return [Member(name, lambda: _pdf_like(pattern, each), each, crc=crc, method="stored") for name in names]


def _pdf_like(pattern: bytes, length: int) -> Iterator[bytes]:
    head, tail = b"%PDF-1.4\n", b"\n%%EOF\n"
    yield head
    whole, rest = divmod(length - len(head) - len(tail), len(pattern))
    yield from itertools.repeat(pattern, whole)
    yield pattern[:rest]
    yield tail


def stored_zip_bytes(members: Iterable[Member], layout: Layout) -> int:
    """The exact size of an undamaged zip of stored members, by arithmetic: no data are generated."""
    empty = [dataclasses.replace(member, chunks=_nothing, crc=0) for member in members]
    return sum(map(len, _Sizer(layout).write(iter(empty), None))) + sum(member.size_bytes for member in empty)


class _Sizer(_Writer):
    """Writes everything but the data, while counting as if they were there."""

    def _with_sizes(self, member: Member, offset: int, *, zip64: bool) -> Iterator[bytes]:
        return self._with_descriptor(member, offset, zip64=zip64)

    def _with_descriptor(self, member: Member, offset: int, *, zip64: bool) -> Iterator[bytes]:
        descriptor = self._layout.descriptors or member.size_bytes > CHUNK_BYTES * 16
        self._written.append(_Written(member, offset, 0, member.size_bytes, zip64))
        yield self._local_header(member, 0, 0, 0, zip64=zip64, descriptor=descriptor)
        self._offset += member.size_bytes
        yield bytes(16 + (8 if zip64 else 0)) if descriptor else b""
