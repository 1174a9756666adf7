"""When an unfinished body may be gone on with, and when not (NBB reference, section 4.2; RFC 9110, 14).

A range is asked for only when the answer can be held against something: a strong ETag, or a known total size.
What comes back is believed only if everything it says agrees with what was asked and with what is known.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from filingd.core.model import PartialRecord, ResponseHead

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)


class ResumeOutcome(enum.Enum):
    """What to do with a response and the partial body at hand."""

    RESUME = "resume"  # the body of this response continues the partial body
    START_OVER = "start over"  # this response carries the whole body: drop the partial one
    ASK_AGAIN = "ask again"  # drop the partial body and make a new request without a range
    REFUSED = "refused"  # the response lies: drop the partial body and do not read this one
    UNRELATED = "unrelated"  # an error answer: it says nothing about the partial body, which stays


class ResumeVerdict(msgspec.Struct, frozen=True):
    """An outcome; `total_bytes` is the size the whole body has to have in the end, if that is known."""

    outcome: ResumeOutcome
    total_bytes: int | None = None
    detail: str = ""


def plan_resume(partial: PartialRecord | None, route: str) -> tuple[tuple[str, str], ...] | None:
    """The headers that ask for the rest of a partial body, or None when it cannot be asked for safely."""
    if partial is None or partial.route != route or partial.received_bytes <= 0:
        return None
    if partial.total_bytes is not None and partial.received_bytes >= partial.total_bytes:
        return None
    wanted = ("Range", f"bytes={partial.received_bytes}-")
    if partial.etag is not None:
        return (wanted, ("If-Range", partial.etag))
    return (wanted,) if partial.total_bytes is not None else None


def judge_resumed(head: ResponseHead, partial: PartialRecord | None) -> ResumeVerdict:
    """What a response means for the partial body whose rest was asked for (None: no range was asked for)."""
    if head.status == 206:
        return _judge_part(head, partial)
    if head.status == 416 and partial is not None:
        return ResumeVerdict(ResumeOutcome.ASK_AGAIN, detail="the server has no such range")
    if 200 <= head.status < 300:
        return ResumeVerdict(ResumeOutcome.START_OVER, head.content_length)
    return ResumeVerdict(ResumeOutcome.UNRELATED)


def _judge_part(head: ResponseHead, partial: PartialRecord | None) -> ResumeVerdict:
    if partial is None:
        return _refused("206 though no range was asked for")
    match = _CONTENT_RANGE.fullmatch(head.header("content-range") or "")
    if match is None:
        return _refused("206 without a readable Content-Range")
    start, end = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    lie = _lie_about_range(start, end, total, partial) or _lie_about_body(head, end - start + 1, partial)
    return _refused(lie) if lie else ResumeVerdict(ResumeOutcome.RESUME, total)


def _lie_about_range(start: int, end: int, total: int | None, partial: PartialRecord) -> str | None:
    if start != partial.received_bytes:
        return f"Content-Range begins at {start}, not at {partial.received_bytes}"
    if total is None:
        return "Content-Range does not give the total"
    if partial.total_bytes is not None and total != partial.total_bytes:
        return f"Content-Range gives a total of {total}, it was {partial.total_bytes}"
    if end != total - 1 or end < start:
        return f"Content-Range ends at {end} of {total}"
    return None


def _lie_about_body(head: ResponseHead, length: int, partial: PartialRecord) -> str | None:
    if head.content_length is not None and head.content_length != length:
        return f"Content-Length is {head.content_length}, Content-Range spans {length}"
    if partial.etag is not None and head.strong_etag != partial.etag:
        return "the ETag is not the one of the partial body"
    return None


def _refused(detail: str) -> ResumeVerdict:
    return ResumeVerdict(ResumeOutcome.REFUSED, detail=detail)
