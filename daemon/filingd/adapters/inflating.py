"""Bodies that a registry compressed although nobody asked it to (KVK reference, section 18.5), within a bound.

Small bodies only, errors among them, whose words decide what is done: a body that is streamed to disk stays as it was served.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from filingd.core.errors import TransferError
from filingd.core.model import BODY_STATUSES

if TYPE_CHECKING:
    from filingd.adapters.exchanges import SentKey
    from filingd.core.model import ResponseHead

_GZIP_WINDOW = 31  # zlib: a gzip header, the largest window
_MOST_MEMBERS = 16
_OVERHEAD_BYTES = 1024


def most_packed_bytes(head: ResponseHead, limit_bytes: int) -> int:
    """How much of a body is worth reading if no more than `limit_bytes` of what is in it are wanted."""
    return limit_bytes + limit_bytes // 8 + _OVERHEAD_BYTES if head.is_gzipped else limit_bytes


def capped(head: ResponseHead, data: bytes, limit_bytes: int, key: SentKey) -> tuple[bytes, bool]:
    """The first `limit_bytes` of what is in a body, and whether that is all of it (see `SentKey.capped`). `data` is all of the
    body as it was sent, or more than `most_packed_bytes` of it.

    Raises:
        TransferError: (bad_response) a body that is wanted for itself cannot be inflated. An error's is shown as far as it can.
    """
    if not head.is_gzipped or not data:
        return key.capped(data, limit_bytes)
    is_cut = len(data) > most_packed_bytes(head, limit_bytes)
    inflated, is_sound = _inflated(data, limit_bytes)
    shown, is_whole = key.capped(inflated, limit_bytes)
    if is_whole and not is_sound and not is_cut and head.status in BODY_STATUSES:
        raise TransferError("bad_response", "the body is said to be gzip, and cannot be inflated")
    return shown, is_whole and is_sound


def _inflated(data: bytes, limit_bytes: int) -> tuple[bytes, bool]:
    """One byte more than the limit at most, and whether that is all of what was packed."""
    parts, room_bytes = [], limit_bytes + 1
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            parts.append(member.decompress(data, room_bytes))
        except zlib.error:
            return b"".join(parts), False
        room_bytes -= len(parts[-1])
        data = member.unused_data
        if not (member.eof and data and room_bytes > 0):
            return b"".join(parts), member.eof and not data
    return b"".join(parts), False
