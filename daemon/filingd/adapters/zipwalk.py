"""Walks a zip while it passes, in chunks of any size, and believes nothing it has not seen.

    walk = ZipWalk(limits, inspector)
    walk.feed(chunk)          # as often as bytes arrive
    walk.finish()             # no more come
    walk.refusal              # None: the zip is sound

From local header to local header it inflates and checks every member; then the central directory must list
exactly what was walked; then the end records must agree with both; then nothing may follow. The one thing that
cannot be walked is a stored member whose size stands only behind it: the walk says so (`wants_directory`) and
is done again with the sizes from the central directory (APPNOTE.TXT 6.3.10, sections 4.3 and 4.4.4).

A zip64 record replaces a field only where the classic field says so. Everything between the first local header
and the last byte has to be accounted for: nothing before, between or after.
"""

from __future__ import annotations

import re
import stat
import struct
from array import array
from typing import TYPE_CHECKING, Any, cast

from isal import igzip_lib, isal_zlib

from filingd.core.errors import FilingdError
from filingd.core.kinds import base_name, content_digest
from filingd.core.model import Member

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from filingd.core.model import MemberInspector, ZipLimits

    Walking = Generator[None, memoryview, None]
    Taking = Generator[None, memoryview, bytes]

STORED, DEFLATED = 0, 8

_LOCAL_SIGNATURE = b"PK\x03\x04"
_CENTRAL_SIGNATURE = b"PK\x01\x02"
_END_SIGNATURE = b"PK\x05\x06"
_END64_SIGNATURE = b"PK\x06\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"

# signature, version, flags, method, time, date, crc, packed, size, name length, extra length
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
# signature, versions (2), flags, method, time, date, crc, packed, size, lengths of name, extra and comment,
# disk, internal and external attributes, offset of the local header
CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
# signature, disk, disk of directory, entries here, entries, directory size, directory offset, comment length
END_RECORD = struct.Struct("<4s4H2LH")
# signature, size of record, versions (2), disks (2), entries here, entries, directory size, directory offset
END64_RECORD = struct.Struct("<4sQ2H2L4Q")
# signature, disk, offset of the zip64 end record, disks
LOCATOR = struct.Struct("<4sLQL")
_DESCRIPTORS = tuple(
    (struct.Struct(layout), signed)
    for layout, signed in (("<4sLLL", True), ("<4sLQQ", True), ("<LLL", False), ("<LQQ", False))
)
_LONGEST_DESCRIPTOR = 24

_FLAG_ENCRYPTED = 0x0001
_FLAG_DESCRIPTOR = 0x0008
_FLAG_PATCH = 0x0020
_FLAG_STRONG_ENCRYPTION = 0x0040
_FLAG_UTF8 = 0x0800
_FLAG_MASKED = 0x2000

_ZIP64_EXTRA = 0x0001
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF

_INFLATE_IN = 256 * 1024  # packed bytes given to the inflater at once
_INFLATE_IN_BLIND = 32 * 1024  # the same where the end is unknown: what is left over is copied
_INFLATE_OUT = 512 * 1024  # inflated bytes taken at once: a bomb is seen after so many
INSPECTED_BYTES_MAX = 64 * 1024 * 1024  # an inspector is given whole members, so these must fit in memory

_INFLATE_ERROR = cast("type[Exception]", igzip_lib.IsalError)

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # nearly all; anything else is looked at closely

_BAD_TYPES = frozenset({stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


class ZipRefusedError(Exception):
    """What is wrong with a zip; `code` is one of `core.model.BODY_PROBLEMS`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class _SizeUnknownError(Exception):
    """A stored member whose size is not in front of it."""


class _Entry:
    """One local header, as it is being walked."""

    __slots__ = ("crc", "data_at", "flags", "header_at", "method", "name", "packed", "size", "stated")

    def __init__(self, header_at: int, name: str, flags: int, method: int) -> None:
        self.header_at = header_at
        self.name = name
        self.flags = flags
        self.method = method
        self.stated: int | None = None  # the size its header gives, if it gives one
        self.data_at = self.packed = self.size = self.crc = 0

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")

    @property
    def has_descriptor(self) -> bool:
        return bool(self.flags & _FLAG_DESCRIPTOR)


class _Entries:
    """All that was walked, in columns: two hundred thousand members have to fit in a few megabytes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.header_at = array("Q")
        self.data_at = array("Q")
        self.packed = array("Q")
        self.size = array("Q")
        self.crc = array("L")
        self.method = array("B")
        self.listed = bytearray()
        self.notes: dict[int, str] = {}
        self.base_names: set[str] = set()
        self._by_offset: dict[int, int] | None = None

    def add(self, entry: _Entry, note: str | None) -> None:
        if note is not None:
            self.notes[len(self.names)] = note
        self.names.append(entry.name)
        self.header_at.append(entry.header_at)
        self.data_at.append(entry.data_at)
        self.packed.append(entry.packed)
        self.size.append(entry.size)
        self.crc.append(entry.crc)
        self.method.append(entry.method)
        self.listed.append(0)

    def ordinal_at(self, offset: int, guess: int) -> int | None:
        """Which entry has its local header at `offset`; directories nearly always keep the order of the data."""
        if guess < len(self.header_at) and self.header_at[guess] == offset:
            return guess
        if self._by_offset is None:
            self._by_offset = {at: ordinal for ordinal, at in enumerate(self.header_at)}
        return self._by_offset.get(offset)

    def contents(self) -> Iterator[tuple[str, int, int]]:
        """Name, size and CRC of every file."""
        rows = zip(self.names, self.size, self.crc, strict=True)
        return (row for row in rows if not row[0].endswith("/"))

    def members(self) -> Iterator[Member]:
        for ordinal, name in enumerate(self.names):
            if not name.endswith("/"):
                yield Member(
                    name=name,
                    offset=self.data_at[ordinal],
                    packed_bytes=self.packed[ordinal],
                    size_bytes=self.size[ordinal],
                    crc32=self.crc[ordinal],
                    method=self.method[ordinal],
                    note=self.notes.get(ordinal),
                )


class ZipWalk:
    """The walk over one zip (see the module). `known_sizes`: packed sizes by offset of the local header."""

    def __init__(
        self,
        limits: ZipLimits,
        inspector: MemberInspector | None = None,
        known_sizes: Mapping[int, int] | None = None,
    ) -> None:
        self.refusal: ZipRefusedError | None = None
        self.wants_directory = False
        self.inflated_bytes = 0
        self._limits = limits
        self._inspector = inspector
        self._known_sizes = known_sizes
        self._entries = _Entries()
        self._chunk = memoryview(b"")
        self._at = 0  # how much of the chunk has been taken
        self._chunk_at = 0  # where in the zip the chunk begins
        self._ended = False
        self._over = False
        self._walking = self._walk()
        next(self._walking)

    # ------------------------------------------------------------ the outside

    def feed(self, chunk: memoryview) -> None:
        """Walk on. The chunk is not kept: its memory may be reused afterwards."""
        if self._over or not len(chunk):
            return
        try:
            self._walking.send(chunk)
        except ZipRefusedError as refusal:
            self._stop(refusal)
        except _SizeUnknownError:
            self.wants_directory = True
            self._stop(None)

    def finish(self) -> None:
        """No more bytes come."""
        if not self._over and not self._ended:
            self._stop(ZipRefusedError("zip_no_end", f"the zip breaks off at byte {self._position}"))
        self._walking.close()

    @property
    def members(self) -> Iterator[Member]:
        """What was walked so far, files only."""
        return self._entries.members()

    @property
    def member_count(self) -> int:
        """How many files were walked."""
        return len(self._entries.base_names)

    @property
    def digest(self) -> bytes:
        """The digest over the content of all members (see `core.kinds.content_digest`)."""
        return content_digest(self._entries.contents())

    def _stop(self, refusal: ZipRefusedError | None) -> None:
        self._over = True
        self.refusal = refusal
        self._chunk = memoryview(b"")

    # ------------------------------------------------------------ taking bytes

    @property
    def _position(self) -> int:
        return self._chunk_at + self._at

    def _more(self) -> Walking:
        """Wait for the next chunk; what is left of this one stays in front of it."""
        rest = bytes(self._chunk[self._at :])
        self._chunk_at += self._at
        self._chunk, self._at = memoryview(rest), 0
        chunk = yield
        self._chunk = memoryview(rest + chunk) if rest else chunk

    def _have(self, count: int) -> Walking:
        while len(self._chunk) - self._at < count:
            yield from self._more()

    def _take(self, count: int) -> Taking:
        if len(self._chunk) - self._at < count:
            yield from self._have(count)
        begin = self._at
        self._at += count
        return bytes(self._chunk[begin : begin + count])

    def _signature(self) -> Taking:
        if len(self._chunk) - self._at < 4:
            yield from self._have(4)
        return bytes(self._chunk[self._at : self._at + 4])

    # ------------------------------------------------------------ the walk

    def _walk(self) -> Walking:
        while (signature := (yield from self._signature())) == _LOCAL_SIGNATURE:
            yield from self._local_entry()
        directory_at = self._position
        if signature not in (_CENTRAL_SIGNATURE, _END64_SIGNATURE, _END_SIGNATURE):
            raise _no_end(directory_at)
        yield from self._directory()
        yield from self._end(directory_at, self._position - directory_at)
        self._ended = True
        yield from self._have(1)
        raise ZipRefusedError("zip_trailing", f"bytes follow the end of the zip at {self._position}")

    def _local_entry(self) -> Walking:
        header_at = self._position
        if len(self._chunk) - self._at < LOCAL_HEADER.size:
            yield from self._have(LOCAL_HEADER.size)
        header = LOCAL_HEADER.unpack_from(self._chunk, self._at)
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = header
        self._at += LOCAL_HEADER.size
        tail = yield from self._take(name_length + extra_length)
        entry = _Entry(header_at, decoded_name(tail[:name_length], flags, header_at), flags, method)
        self._admit(entry)
        size, packed = widened(tail[name_length:], [size, packed], header_at)
        entry.data_at = self._position
        entry.stated = None if entry.has_descriptor else size
        collected = self._collector(entry)
        if method == STORED:
            yield from self._stored(entry, self._stored_size(entry, packed), collected)
        else:
            yield from self._deflated(entry, None if entry.has_descriptor else packed, collected)
        if entry.has_descriptor:
            yield from self._descriptor(entry)
        elif (entry.size, entry.crc) != (size, crc):
            raise _damaged(entry, size, crc)
        self._entries.add(entry, self._inspected(entry, collected))

    def _admit(self, entry: _Entry) -> None:
        """Refuse what a header alone condemns."""
        if entry.flags & (_FLAG_ENCRYPTED | _FLAG_STRONG_ENCRYPTION | _FLAG_MASKED):
            raise ZipRefusedError("zip_encrypted", f"{entry.name!r} is encrypted")
        if entry.method not in (STORED, DEFLATED) or entry.flags & _FLAG_PATCH:
            raise ZipRefusedError("zip_bad_method", f"{entry.name!r} has method {entry.method}")
        if len(self._entries.names) >= self._limits.max_entries:
            raise ZipRefusedError("zip_too_many", f"more than {self._limits.max_entries} entries")
        _check_name(entry.name)
        if not entry.is_folder:
            self._admit_base_name(base_name(entry.name))

    def _admit_base_name(self, name: str) -> None:
        if name in self._entries.base_names:
            raise ZipRefusedError("zip_duplicate", f"there are two members called {name!r}")
        self._entries.base_names.add(name)

    def _stored_size(self, entry: _Entry, packed: int) -> int:
        if not entry.has_descriptor or packed:
            return packed
        if self._known_sizes is None:
            raise _SizeUnknownError
        known = self._known_sizes.get(entry.header_at)
        if known is None:
            raise ZipRefusedError("zip_directory_mismatch", f"{entry.name!r} is in the zip but not listed")
        return known

    def _collector(self, entry: _Entry) -> bytearray | None:
        wanted = self._inspector is not None and not entry.is_folder and self._inspector.wants(entry.name)
        return bytearray() if wanted else None

    def _inspected(self, entry: _Entry, collected: bytearray | None) -> str | None:
        if collected is None or self._inspector is None:
            return None
        try:
            return self._inspector.member(entry.name, bytes(collected))
        except FilingdError as exc:
            raise ZipRefusedError("inspect_failed", f"{entry.name!r}: {exc}") from exc

    # ------------------------------------------------------------ data

    def _stored(self, entry: _Entry, packed: int, collected: bytearray | None) -> Walking:
        self._check_size(entry, packed)
        left = packed
        while left:
            if self._at == len(self._chunk):
                yield from self._more()
            data = self._chunk[self._at : self._at + left]
            self._at += len(data)
            left -= len(data)
            self._account(entry, data, collected)
        entry.packed = packed

    def _deflated(self, entry: _Entry, packed: int | None, collected: bytearray | None) -> Walking:
        """Inflate `packed` bytes, or as many as the stream has when that is unknown (None)."""
        self._check_size(entry, entry.stated or 0)
        inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
        left = packed
        step = _INFLATE_IN_BLIND if left is None else _INFLATE_IN
        while not inflater.eof:
            if left == 0:
                raise ZipRefusedError("zip_bad_data", f"{entry.name!r} goes on past its packed size")
            if self._at == len(self._chunk):
                yield from self._more()
            data = self._chunk[self._at : self._at + (step if left is None else min(step, left))]
            self._at += len(data)
            left = None if left is None else left - len(data)
            self._inflate(inflater, data, entry, collected)
        unused = len(inflater.unused_data)
        if left or (unused and left is not None):
            raise ZipRefusedError("zip_bad_data", f"{entry.name!r} ends before its packed size")
        self._at -= unused
        entry.packed = self._position - entry.data_at

    def _inflate(
        self,
        inflater: igzip_lib.IgzipDecompressor,
        data: memoryview,
        entry: _Entry,
        collected: bytearray | None,
    ) -> None:
        try:
            self._account(entry, inflater.decompress(data, _INFLATE_OUT), collected)
            while not (inflater.eof or inflater.needs_input):
                self._account(entry, inflater.decompress(b"", _INFLATE_OUT), collected)
        except _INFLATE_ERROR as exc:
            raise ZipRefusedError("zip_bad_data", f"{entry.name!r} does not inflate: {exc}") from exc

    def _account(self, entry: _Entry, data: bytes | memoryview, collected: bytearray | None) -> None:
        entry.size += len(data)
        entry.crc = isal_zlib.crc32(data, entry.crc)
        self.inflated_bytes += len(data)
        self._check_size(entry, entry.size)
        if entry.stated is not None and entry.size > entry.stated:
            raise ZipRefusedError("zip_bad_data", f"{entry.name!r} goes on past the size its header gives")
        floor, ratio = self._limits.ratio_floor_bytes, self._limits.max_ratio
        if self.inflated_bytes > floor and self.inflated_bytes > ratio * self._position:
            raise ZipRefusedError(
                "zip_ratio", f"{self._position} bytes of zip already inflate to {self.inflated_bytes}"
            )
        if collected is not None:
            self._collect(entry, data, collected)

    def _collect(self, entry: _Entry, data: bytes | memoryview, collected: bytearray) -> None:
        if entry.size > INSPECTED_BYTES_MAX:
            raise ZipRefusedError("inspect_failed", f"{entry.name!r} is too large to be looked into")
        collected += data

    def _check_size(self, entry: _Entry, size_bytes: int) -> None:
        if size_bytes > self._limits.max_member_bytes:
            raise ZipRefusedError(
                "zip_member_too_large", f"{entry.name!r} has more than {self._limits.max_member_bytes} bytes"
            )

    def _descriptor(self, entry: _Entry) -> Walking:
        """Behind the data stand CRC and sizes, with or without a signature, in 32 or in 64 bits.

        Which of the four it is shows only by fitting: the values are known by now, and a signature follows.
        """
        yield from self._have(12 + 4)
        while True:
            tail = bytes(self._chunk[self._at : self._at + _LONGEST_DESCRIPTOR + 4])
            for layout, signed in _DESCRIPTORS:
                if _descriptor_fits(tail, layout, signed, entry):
                    self._at += layout.size
                    return
            if len(tail) == _LONGEST_DESCRIPTOR + 4:
                raise _damaged_by_descriptor(entry, tail)
            yield from self._have(len(tail) + 1)

    # ------------------------------------------------------------ the central directory and the end

    def _directory(self) -> Walking:
        guess = 0
        while (yield from self._signature()) == _CENTRAL_SIGNATURE:
            at = self._position
            yield from self._have(CENTRAL_HEADER.size)
            header = CENTRAL_HEADER.unpack_from(self._chunk, self._at)
            self._at += CENTRAL_HEADER.size
            name_length, extra_length, comment_length = header[10:13]
            tail = yield from self._take(name_length + extra_length + comment_length)
            name = decoded_name(tail[:name_length], header[3], at)
            self._compare(at, guess, header, name, tail[name_length : name_length + extra_length])
            guess += 1
        if guess != len(self._entries.names):
            missing = self._entries.names[self._entries.listed.index(0)]
            raise ZipRefusedError("zip_directory_mismatch", f"{missing!r} is in the zip but not listed")

    def _compare(self, at: int, guess: int, header: tuple[Any, ...], name: str, extra: bytes) -> None:
        """One line of the directory against what was walked."""
        _, _, _, flags, method, _, _, crc, packed, size, _, _, _, _, _, attributes, offset = header
        if flags & (_FLAG_ENCRYPTED | _FLAG_STRONG_ENCRYPTION | _FLAG_MASKED):
            raise ZipRefusedError("zip_encrypted", f"{name!r} is listed as encrypted")
        if stat.S_IFMT(attributes >> 16) in _BAD_TYPES:
            raise ZipRefusedError("zip_link", f"{name!r} is a link or a device")
        size, packed, offset = widened(extra, [size, packed, offset], at)
        entries = self._entries
        ordinal = entries.ordinal_at(offset, guess)
        if ordinal is None or entries.listed[ordinal]:
            raise ZipRefusedError("zip_directory_mismatch", f"{name!r} is listed but not in the zip")
        entries.listed[ordinal] = 1
        walked = (
            entries.names[ordinal],
            entries.method[ordinal],
            entries.crc[ordinal],
            entries.packed[ordinal],
            entries.size[ordinal],
        )
        if walked != (name, method, crc, packed, size):
            raise ZipRefusedError(
                "zip_directory_mismatch", f"{name!r} is listed with other sizes, CRC or name"
            )

    def _end(self, directory_at: int, directory_bytes: int) -> Walking:
        found = (len(self._entries.names), directory_bytes, directory_at)
        wide = yield from self._end64(found)
        at = self._position
        if (yield from self._signature()) != _END_SIGNATURE:
            raise _no_end(at)
        _, disk, directory_disk, here, total, size, offset, comment = END_RECORD.unpack(
            (yield from self._take(END_RECORD.size))
        )
        stated = (here, total, size, offset)
        actual = (found[0], *found)
        bounds = (_MAX16, _MAX16, _MAX32, _MAX32)
        for value, fact, bound in zip(stated, actual, bounds, strict=True):
            if value != fact and not (wide and value == bound):
                raise ZipRefusedError(
                    "zip_directory_mismatch", f"the end record at {at} states other figures"
                )
        if not {disk, directory_disk} <= ({0, _MAX16} if wide else {0}):
            raise ZipRefusedError("zip_bad_header", "the zip is one of several volumes")
        yield from self._take(comment)

    def _end64(self, found: tuple[int, int, int]) -> Generator[None, memoryview, bool]:
        """The zip64 end record and its locator, if they are there."""
        at = self._position
        if (yield from self._signature()) != _END64_SIGNATURE:
            return False
        record = END64_RECORD.unpack((yield from self._take(END64_RECORD.size)))
        _, record_bytes, _, _, disk, directory_disk, here, total, size, offset = record
        if (here, total, size, offset) != (found[0], *found) or disk or directory_disk:
            raise ZipRefusedError(
                "zip_directory_mismatch", f"the zip64 end record at {at} states other figures"
            )
        extensible = record_bytes - (END64_RECORD.size - 12)
        if not 0 <= extensible <= _MAX16:
            raise ZipRefusedError("zip_bad_header", f"the zip64 end record at {at} has an impossible size")
        yield from self._take(extensible)
        locator = LOCATOR.unpack((yield from self._take(LOCATOR.size)))
        if locator[0] != _LOCATOR_SIGNATURE or locator[1] or locator[2] != at or locator[3] > 1:
            raise ZipRefusedError("zip_bad_header", f"the zip64 locator does not lead to {at}")
        return True


def decoded_name(raw_name: bytes, flags: int, at: int) -> str:
    """A member's name as text; `at` is the offset of its header, for the refusal."""
    try:
        return raw_name.decode("utf-8" if flags & _FLAG_UTF8 else "cp437")
    except UnicodeDecodeError as exc:
        raise ZipRefusedError("zip_bad_name", f"the name in the header at {at} is not UTF-8") from exc


def _check_name(name: str) -> None:
    if _PLAIN_NAME.fullmatch(name):
        return
    parts = name.removesuffix("/").split("/")
    has_drive = len(name) > 1 and name[1] == ":" and name[0].isascii() and name[0].isalpha()
    if "" in parts or "." in parts or ".." in parts or "\\" in name or "\0" in name or has_drive:
        raise ZipRefusedError("zip_bad_name", f"a member is called {name[:200]!r}")


def widened(extra: bytes, fields: list[int], at: int) -> list[int]:
    """Replace those fields that are all ones by their 64-bit values from the zip64 extra field."""
    if _MAX32 not in fields:
        return fields
    wide = _zip64_values(extra, at)
    widened = []
    for value in fields:
        if value != _MAX32:
            widened.append(value)
            continue
        if not wide:
            raise ZipRefusedError("zip_bad_header", f"the header at {at} lacks a zip64 value")
        widened.append(wide.pop(0))
    return widened


def _zip64_values(extra: bytes, at: int) -> list[int]:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        body = extra[4 : 4 + length]
        if len(body) < length:
            break
        if kind == _ZIP64_EXTRA:
            return list(struct.unpack(f"<{length // 8}Q", body[: length // 8 * 8]))
        extra = extra[4 + length :]
    raise ZipRefusedError("zip_bad_header", f"the header at {at} lacks the zip64 field it refers to")


def _descriptor_fits(tail: bytes, layout: struct.Struct, signed: bool, entry: _Entry) -> bool:
    if len(tail) < layout.size + 4 or tail[layout.size : layout.size + 2] != b"PK":
        return False
    values = layout.unpack_from(tail)
    if signed and values[0] != _DESCRIPTOR_SIGNATURE:
        return False
    return tuple(values[-3:]) == (entry.crc, entry.packed, entry.size)


def _damaged_by_descriptor(entry: _Entry, tail: bytes) -> ZipRefusedError:
    stated = tail[4:8] if tail.startswith(_DESCRIPTOR_SIGNATURE) else tail[:4]
    if int.from_bytes(stated, "little") != entry.crc:
        return ZipRefusedError("zip_bad_crc", f"{entry.name!r} does not have the CRC behind it")
    return ZipRefusedError("zip_bad_data", f"{entry.name!r} does not have the sizes behind it")


def _damaged(entry: _Entry, size: int, crc: int) -> ZipRefusedError:
    if entry.size != size:
        return ZipRefusedError(
            "zip_bad_data", f"{entry.name!r} has {entry.size} bytes, its header says {size}"
        )
    return ZipRefusedError(
        "zip_bad_crc", f"{entry.name!r} has CRC {entry.crc:08x}, its header says {crc:08x}"
    )


def _no_end(at: int) -> ZipRefusedError:
    return ZipRefusedError("zip_no_end", f"neither a member nor the end of the zip begins at {at}")
