"""What a server does with Range and If-Range: pure rules, honest and lying (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filingd.sandbox.settings import RangeMode

_SINGLE = re.compile(r"^bytes=(?:(\d+)-(\d*)|-(\d+))$")


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """What is answered: a status, the bytes [start, stop) of the body, and the headers that go with it."""

    status: int
    start: int
    stop: int
    headers: dict[str, str]
    alter: bool = False  # other bytes than those of the body


def requested(range_header: str, size: int) -> tuple[int, int] | None:
    """The half-open span of a single byte range; None if the header is to be ignored (malformed, several
    ranges).

    An unsatisfiable range comes back as an empty span: start ≥ stop.
    """
    match = _SINGLE.match(range_header.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix:
        return max(size - int(suffix), 0), size if int(suffix) else 0
    start, stop = int(first), min(int(last) + 1, size) if last else size
    return None if last and int(last) < start else (start, stop)


def etag_of(digest: str, mode: RangeMode) -> str:
    """The validator of a body whose SHA-256 is `digest`, in hex."""
    strong = f'"{digest[:32]}"'
    return f"W/{strong}" if mode == "weak_etag" else strong


def decide(mode: RangeMode, size: int, digest: str, range_header: str, if_range: str) -> Slice:
    """The slice of one request. With `mode` "off" there is neither ETag nor Accept-Ranges and everything
    is sent.
    """
    if mode == "off":
        return Slice(200, 0, size, {})
    etag = etag_of(digest, mode)
    full = Slice(200, 0, size, {"ETag": etag, "Accept-Ranges": "bytes"})
    span = requested(range_header, size) if range_header else None
    if span is None or mode == "full_for_partial":
        return full
    if if_range and (if_range != etag or if_range.startswith("W/")) and mode in ("correct", "weak_etag"):
        return full
    if mode == "always_416" or span[0] >= span[1]:
        return Slice(416, 0, 0, full.headers | {"Content-Range": f"bytes */{size}"})
    return _partial(mode, size, etag, *span)


def _partial(mode: RangeMode, size: int, etag: str, start: int, stop: int) -> Slice:
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    if mode == "changed_etag":
        headers["ETag"] = f'"{"0" * 32}"'
        return Slice(206, start, stop, headers, alter=True)
    if mode == "wrong_bytes":
        return Slice(206, start, stop, headers, alter=True)
    if mode == "wrong_total":
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size + 1000}"
    if mode == "wrong_start":
        start = max(start - 7, 0) if start else min(7, stop - 1)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Slice(206, start, stop, headers)
