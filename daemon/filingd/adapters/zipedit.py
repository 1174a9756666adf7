"""Takes members out of a zip that lies on the disk and leaves all else of it as it is, to the byte. Blocking.

    edit = edit_of(read_at, zip_bytes, scrub)     # None: nothing has to go
    for part in edit.parts(): ...                 # the new zip, front to back

What stays is copied from local header to local header: packed bytes, flags, extra fields, data descriptors. Only the
offsets in the central directory and the figures in the end records are other ones. A member of which a part stays is
packed anew, under its own name and time (APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from filingd.adapters.zipdirectory import find_directory
from filingd.adapters.zipwalk import (
    CENTRAL_HEADER,
    DEFLATED,
    END64_RECORD,
    END_RECORD,
    INSPECTED_BYTES_MAX,
    LOCAL_HEADER,
    LOCATOR,
    STORED,
    ZipRefusedError,
    decoded_name,
    widened,
)
from filingd.core.forgetting import Fate, Traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filingd.core.forgetting import Scrub

    ReadAt = Callable[[int, int], bytes]  # (offset, count) -> at most count bytes

_CHUNK_BYTES = 1024 * 1024
_DIRECTORY_BYTES_MAX = 64 * 1024 * 1024
_DESCRIPTOR = 0x0008
_ZIP64_EXTRA = 0x0001
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_OFFSET_AT = 42  # in a line of the directory


class Entry(NamedTuple):
    """One line of the central directory, as it stands, and what it says. `end_at` is where the next entry begins."""

    line: bytes
    name: str
    header_at: int
    end_at: int
    packed_bytes: int
    size_bytes: int
    crc32: int
    method: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A zip by its directory: entries in the directory's order, and the end records behind it."""

    entries: Sequence[Entry]
    directory_at: int
    tail: bytes


class ZipEdit:
    """A zip without some members. `traces` says what is taken out; parts are read as they are asked for."""

    def __init__(
        self, read_at: ReadAt, listing: Listing, fates: Sequence[Fate | bytes], zip_bytes: int
    ) -> None:
        self._read_at = read_at
        self._listing = listing
        self._fates = fates
        gone = sum(fate is not Fate.KEPT for fate in fates)
        freed = sum(
            entry.end_at - entry.header_at + len(entry.line)
            for entry, fate in zip(listing.entries, fates, strict=True)
            if fate is Fate.GONE
        )
        self.traces = Traces(gone, min(freed, zip_bytes))

    def parts(self) -> Iterator[bytes]:
        """The bytes of the new zip.

        Raises:
            ZipRefusedError: what lies there is not what the directory says.
            OSError: it cannot be read.
        """
        at = 0
        lines: dict[int, bytes] = {}  # by place in the directory
        in_order = sorted(enumerate(self._listing.entries), key=lambda one: one[1].header_at)
        for place, entry in in_order:
            fate = self._fates[place]
            if fate is Fate.GONE:
                continue
            begins_at = at
            if isinstance(fate, bytes):
                local, line = _packed_anew(self._read_at, entry, fate)
                lines[place] = line_at(line, begins_at)
                at += len(local)
                yield local
            else:
                lines[place] = line_at(entry.line, begins_at)
                for part in self._copied(entry):
                    at += len(part)
                    yield part
        directory = b"".join(lines[place] for place in sorted(lines))
        yield directory
        yield end_records(self._listing.tail, len(lines), len(directory), at)

    def _copied(self, entry: Entry) -> Iterator[bytes]:
        at = entry.header_at
        while at < entry.end_at:
            part = self._read_at(at, min(_CHUNK_BYTES, entry.end_at - at))
            if not part:
                raise ZipRefusedError("zip_bad_header", f"the zip ends at {at}, within {entry.name!r}")
            at += len(part)
            yield part


def edit_of(read_at: ReadAt, zip_bytes: int, scrub: Scrub) -> ZipEdit | None:
    """What has to be taken out of a zip; None if nothing.

    Raises:
        ZipRefusedError: the zip cannot be read.
        OSError: from `read_at`.
    """
    listing = listing_of(read_at, zip_bytes)
    fates = [_fate(read_at, entry, scrub) for entry in listing.entries]
    return None if all(fate is Fate.KEPT for fate in fates) else ZipEdit(read_at, listing, fates, zip_bytes)


def _fate(read_at: ReadAt, entry: Entry, scrub: Scrub) -> Fate | bytes:
    is_file = not entry.name.endswith("/")
    data = inflated(read_at, entry) if is_file and scrub.wants(entry.name) else None
    return scrub.member(entry.name, data)


# ------------------------------------------------------------------------------------------------- reading


def listing_of(read_at: ReadAt, zip_bytes: int) -> Listing:
    """A zip by its directory.

    Raises:
        ZipRefusedError: it has none, or what it says cannot be.
        OSError: from `read_at`.
    """
    directory_at, size_bytes = find_directory(read_at, zip_bytes)
    if directory_at + size_bytes > zip_bytes or size_bytes > _DIRECTORY_BYTES_MAX:
        raise ZipRefusedError(
            "zip_bad_header", f"the directory cannot be {size_bytes} bytes at {directory_at}"
        )
    found = list(_lines(read_at(directory_at, size_bytes)))
    begins = sorted(entry.header_at for entry in found)
    ends = dict(pairwise([*begins, directory_at]))
    if (begins and begins[0] != 0) or any(begin >= end for begin, end in pairwise([*begins, directory_at])):
        raise ZipRefusedError("zip_directory_mismatch", "the directory does not account for all there is")
    entries = [entry._replace(end_at=ends[entry.header_at]) for entry in found]
    tail_at = directory_at + size_bytes
    return Listing(entries, directory_at, read_at(tail_at, zip_bytes - tail_at))


def _lines(directory: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(directory):
        if len(directory) - at < CENTRAL_HEADER.size or not directory.startswith(b"PK\x01\x02", at):
            raise ZipRefusedError("zip_bad_header", f"the directory cannot be read at its byte {at}")
        header = CENTRAL_HEADER.unpack_from(directory, at)
        flags, method, crc, packed, size = header[3], header[4], *header[7:10]
        name_at = at + CENTRAL_HEADER.size
        extra_at, end = name_at + header[10], name_at + sum(header[10:13])
        name = decoded_name(directory[name_at:extra_at], flags, at)
        size, packed, offset = widened(
            directory[extra_at : extra_at + header[11]], [size, packed, header[16]], at
        )
        yield Entry(directory[at:end], name, offset, 0, packed, size, crc, method)
        at = end


def inflated(read_at: ReadAt, entry: Entry) -> bytes:
    """The bytes of one member.

    Raises:
        ZipRefusedError: it is not what its line says, or too large to be looked into.
        OSError: from `read_at`.
    """
    if entry.size_bytes > INSPECTED_BYTES_MAX:
        raise ZipRefusedError("inspect_failed", f"{entry.name!r} is too large to be looked into")
    packed = read_at(entry.header_at + _front_bytes(read_at, entry), entry.packed_bytes)
    data = packed if entry.method == STORED else _inflated(packed, entry)
    if len(data) != entry.size_bytes or zlib.crc32(data) != entry.crc32:
        raise ZipRefusedError("zip_bad_crc", f"{entry.name!r} is not what its line in the directory says")
    return data


def _inflated(packed: bytes, entry: Entry) -> bytes:
    if entry.method != DEFLATED:
        raise ZipRefusedError("zip_bad_method", f"{entry.name!r} has method {entry.method}")
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size_bytes + 1)
    except zlib.error as error:
        raise ZipRefusedError("zip_bad_data", f"{entry.name!r} does not inflate: {error}") from error


def _front_bytes(read_at: ReadAt, entry: Entry) -> int:
    """How long the local header is, with name and extra field."""
    header = read_at(entry.header_at, LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise ZipRefusedError("zip_bad_header", f"there is no local header at {entry.header_at}")
    return int(LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(header)[-2:]))


# ------------------------------------------------------------------------------------------------- writing


def _packed_anew(read_at: ReadAt, entry: Entry, data: bytes) -> tuple[bytes, bytes]:
    """Local entry and line of a member with other content: same name, time, method and attributes."""
    packed = data
    if entry.method == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = deflater.compress(data) + deflater.flush()
    figures = (zlib.crc32(data), len(packed), len(data))
    front = read_at(entry.header_at, _front_bytes(read_at, entry))
    return _front_anew(front, figures) + packed, _line_anew(entry.line, figures)


def _front_anew(front: bytes, figures: tuple[int, int, int]) -> bytes:
    fields = list(LOCAL_HEADER.unpack_from(front))
    name_end = LOCAL_HEADER.size + fields[9]
    extra = _without_zip64(front[name_end:])
    fields[2] &= ~_DESCRIPTOR
    fields[6:9] = figures
    fields[10] = len(extra)
    return LOCAL_HEADER.pack(*fields) + front[LOCAL_HEADER.size : name_end] + extra


def _line_anew(line: bytes, figures: tuple[int, int, int]) -> bytes:
    fields = list(CENTRAL_HEADER.unpack_from(line))
    name_end = CENTRAL_HEADER.size + fields[10]
    extra_end = name_end + fields[11]
    extra = _without_zip64(line[name_end:extra_end])
    fields[3] &= ~_DESCRIPTOR
    fields[7:10] = figures
    fields[11], fields[16] = len(extra), 0
    return CENTRAL_HEADER.pack(*fields) + line[CENTRAL_HEADER.size : name_end] + extra + line[extra_end:]


def line_at(line: bytes, offset: int) -> bytes:
    """A line of the directory for an entry that begins at `offset`; nothing else of it changes if that can be.

    The offset stays where it stood: in 32 bits, or in the zip64 field. Where 32 bits do not suffice any more, that field is
    made longer.
    """
    fields = CENTRAL_HEADER.unpack_from(line)
    size, packed, stood = fields[9], fields[8], fields[16]
    if stood != _MAX32 and offset < _MAX32:
        return line[:_OFFSET_AT] + struct.pack("<L", offset) + line[_OFFSET_AT + 4 :]
    before = (size == _MAX32) + (packed == _MAX32)  # values that come first in the zip64 field
    extra_at = CENTRAL_HEADER.size + fields[10]
    extra = line[extra_at : extra_at + fields[11]]
    wide = _zip64_of(extra)
    values = wide[: 8 * before] + struct.pack("<Q", offset) + wide[8 * (before + (stood == _MAX32)) :]
    widened_extra = _with_zip64(extra, values)
    patched = bytearray(line[:extra_at])
    struct.pack_into("<H", patched, 30, len(widened_extra))
    struct.pack_into("<L", patched, _OFFSET_AT, _MAX32)
    return bytes(patched) + widened_extra + line[extra_at + fields[11] :]


def _fields_of(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and whole bytes of each extra field; what is left over at the end has kind -1."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if 4 + length > len(extra):
            break
        yield kind, extra[: 4 + length]
        extra = extra[4 + length :]
    if extra:
        yield -1, extra


def _zip64_of(extra: bytes) -> bytes:
    return next((field[4:] for kind, field in _fields_of(extra) if kind == _ZIP64_EXTRA), b"")


def _without_zip64(extra: bytes) -> bytes:
    return b"".join(field for kind, field in _fields_of(extra) if kind != _ZIP64_EXTRA)


def _with_zip64(extra: bytes, values: bytes) -> bytes:
    """The extra fields with these values in the zip64 field, which stays where it stood, or comes first."""
    field = struct.pack("<HH", _ZIP64_EXTRA, len(values)) + values
    found = list(_fields_of(extra))
    if all(kind != _ZIP64_EXTRA for kind, _ in found):
        return field + extra
    return b"".join(field if kind == _ZIP64_EXTRA else each for kind, each in found)


def end_records(tail: bytes, entries: int, directory_bytes: int, directory_at: int) -> bytes:
    """The end records of a zip with other figures: those that were there, zip64 and comment included.

    Raises:
        ZipRefusedError: they cannot be read, or cannot hold the figures.
    """
    found = (entries, entries, directory_bytes, directory_at)
    wide, rest = b"", tail
    if tail.startswith(b"PK\x06\x06"):
        wide, rest = _end64(tail, found)
    if len(rest) < END_RECORD.size or not rest.startswith(b"PK\x05\x06"):
        raise ZipRefusedError("zip_no_end", "the zip has no end record behind its directory")
    end = list(END_RECORD.unpack_from(rest))
    for place, fact, bound in zip(range(3, 7), found, (_MAX16, _MAX16, _MAX32, _MAX32), strict=True):
        if wide and (end[place] == bound or fact >= bound):
            end[place] = bound
        elif fact > bound:
            raise ZipRefusedError("zip_bad_header", "the end record cannot hold its figures")
        else:
            end[place] = fact
    return wide + END_RECORD.pack(*end) + rest[END_RECORD.size :]


def _end64(tail: bytes, found: tuple[int, int, int, int]) -> tuple[bytes, bytes]:
    """The zip64 end record and its locator with other figures, and what comes behind them."""
    if len(tail) < END64_RECORD.size:
        raise ZipRefusedError("zip_no_end", "the zip64 end record is cut")
    record = list(END64_RECORD.unpack_from(tail))
    record_end = 12 + record[1]
    locator_end = record_end + LOCATOR.size
    if len(tail) < locator_end or not tail.startswith(b"PK\x06\x07", record_end):
        raise ZipRefusedError("zip_bad_header", "there is no locator behind the zip64 end record")
    record[6:10] = found
    locator = list(LOCATOR.unpack_from(tail, record_end))
    locator[2] = found[2] + found[3]
    wide = END64_RECORD.pack(*record) + tail[END64_RECORD.size : record_end] + LOCATOR.pack(*locator)
    return wide, tail[locator_end:]
