"""Reads one member out of a stored zip by its recorded place, or many in the order they lie. Blocking.

Neither the zip's directory nor a local header is read: the place says where the data begins, and size and CRC say whether what
was read is what was stored. Where the zip was replaced meanwhile, the CRC does not fit and nothing is handed out as sound.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, cast

from isal import igzip_lib, isal_zlib

from filingd.adapters.disk import disk_errors
from filingd.core.errors import FilingdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_STORED, _DEFLATED = 0, 8
_CHUNK_BYTES = 256 * 1024  # what is held of a member while it is copied, packed and inflated each
_INFLATE_ERROR = cast("type[Exception]", igzip_lib.IsalError)


class MemberPlace(Protocol):
    """What has to be known: `core.model.Member` and `core.catalogue.DocumentPlace` both say it.

    A place without a CRC is a whole file, whose size alone is compared.
    """

    @property
    def offset(self) -> int: ...
    @property
    def packed_bytes(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def method(self) -> int: ...
    @property
    def crc32(self) -> int | None: ...


class Output(Protocol):
    """Where a member is copied to."""

    def write(self, data: bytes, /) -> object: ...


class MemberDamagedError(FilingdError):
    """What lies at a recorded place is not what was stored there."""


class MemberReader:
    """One stored file, open to be read. Close it, or use `with`.

    Raises (on making it):
        DiskFaultError: the file is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with disk_errors("read", path):
            # As when a stored file is checked: neither a link nor a pipe under a final name is a body.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)

    def size_bytes(self) -> int:
        """The size of the whole file.

        Raises:
            DiskFaultError: the disk refused.
        """
        with disk_errors("look at", self._path):
            return os.fstat(self._fd).st_size

    def read(self, place: MemberPlace) -> bytes:
        """A whole member, in memory.

        Raises:
            MemberDamagedError: it is not what the place says.
            DiskFaultError: the disk refused.
        """
        parts = list(self._checked(place))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def copy(self, place: MemberPlace, output: Output) -> int:
        """Write a member to an open file, a part at a time; returns its size.

        Raises:
            MemberDamagedError: it is not what the place says; that shows at the end, when its bytes are written.
            DiskFaultError: the disk refused to read.
            OSError: from `output`.
        """
        for part in self._checked(place):
            output.write(part)
        return place.size_bytes

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, place: MemberPlace) -> Iterator[bytes]:
        """The bytes of a member; never more than it should have, and an error at the end if they are not its own."""
        size_bytes, crc32 = 0, 0
        for part in self._inflated(place):
            size_bytes += len(part)
            if size_bytes > place.size_bytes:
                raise self._damaged(place, f"it goes on past its {place.size_bytes} bytes")
            crc32 = isal_zlib.crc32(part, crc32)
            yield part
        if size_bytes != place.size_bytes:
            raise self._damaged(place, f"it has {size_bytes} bytes instead of {place.size_bytes}")
        if place.crc32 is not None and crc32 != place.crc32:
            raise self._damaged(place, f"its CRC is {crc32:08x} instead of {place.crc32:08x}")

    def _inflated(self, place: MemberPlace) -> Iterator[bytes]:
        if place.method == _STORED:
            return self._packed(place)
        if place.method == _DEFLATED:
            return self._inflate(place)
        raise self._damaged(place, f"it is said to be packed by method {place.method}")

    def _inflate(self, place: MemberPlace) -> Iterator[bytes]:
        inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
        try:
            for packed in self._packed(place):
                yield inflater.decompress(packed, _CHUNK_BYTES)
                while not (inflater.eof or inflater.needs_input):
                    yield inflater.decompress(b"", _CHUNK_BYTES)
        except _INFLATE_ERROR as error:
            raise self._damaged(place, f"it does not inflate ({error})") from error
        except EOFError as error:
            raise self._damaged(place, "bytes follow where it should end") from error
        if not inflater.eof or inflater.unused_data:
            raise self._damaged(place, f"it does not end after its {place.packed_bytes} packed bytes")

    def _packed(self, place: MemberPlace) -> Iterator[bytes]:
        at, end = place.offset, place.offset + place.packed_bytes
        while at < end:
            with disk_errors("read", self._path):
                part = os.pread(self._fd, min(_CHUNK_BYTES, end - at), at)
            if not part:
                raise self._damaged(place, f"the file ends at {at}, {end - at} bytes early")
            at += len(part)
            yield part

    def _damaged(self, place: MemberPlace, finding: str) -> MemberDamagedError:
        name = getattr(place, "member", None) or getattr(place, "name", None) or "the document"
        return MemberDamagedError(
            f"{name} at byte {place.offset} of {self._path} is not what was stored: {finding}. The file may just have been "
            "replaced: try again. If that does not help, run `filingd verify --repair`."
        )
