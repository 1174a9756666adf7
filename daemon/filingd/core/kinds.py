"""What a body is, told by its first bytes and never by its headers (NBB reference, section 4.2)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from filingd.core.errors import FilingdError
from filingd.core.model import BodyReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from filingd.core.model import BodyPlan

HEAD_BYTES = 2048  # how much of a body its report carries
NOTHING_KINDS = frozenset({"empty", "empty_zip"})  # a statement, not a wrong body

_LOCAL_HEADER = b"PK\x03\x04"
_ZIP_ENDS = (b"PK\x05\x06", b"PK\x06\x06")
_UTF8_MARK = b"\xef\xbb\xbf"
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")


def kind_of(head: bytes) -> str:
    """The kind of a body that begins with `head`; `empty` when there is no byte (see `BodyReport.kind`)."""
    if not head:
        return "empty"
    if head.startswith(_LOCAL_HEADER):
        return "zip"
    if head.startswith(_ZIP_ENDS):
        return "empty_zip"
    if head.startswith(b"%PDF-"):
        return "pdf"
    return _text_kind(head.removeprefix(_UTF8_MARK).lstrip(b" \t\r\n"))


def _text_kind(text: bytes) -> str:
    if text[:1] in (b"{", b"["):
        return "json"
    if text[:16].lower().startswith(_HTML_STARTS):
        return "html"
    return "xml" if text.startswith(b"<") else "other"


def length_problem(size_bytes: int, declared_bytes: int | None, plan: BodyPlan) -> tuple[str, str] | None:
    """Whether the size alone condemns a body: the problem's code and detail, or None."""
    if declared_bytes is not None and size_bytes != declared_bytes:
        code = "short_body" if size_bytes < declared_bytes else "long_body"
        return code, f"{size_bytes} bytes arrived, {declared_bytes} were declared"
    if size_bytes > plan.max_bytes:
        return "too_large", f"{size_bytes} bytes, at most {plan.max_bytes} are accepted"
    return None


def kind_problem(kind: str, plan: BodyPlan) -> tuple[str, str] | None:
    """Whether a body is of a kind that was not asked for. Nothing at all is not a wrong kind."""
    if kind in NOTHING_KINDS or kind in plan.accept:
        return None
    return "wrong_kind", f"it is {kind}, not {' or '.join(sorted(plan.accept))}"


def examine_document(data: bytes, plan: BodyPlan, declared_bytes: int | None = None) -> BodyReport:
    """The report of a small body that is held whole and is not a zip: counted, hashed, told by its kind, read."""
    kind = kind_of(data[:HEAD_BYTES])
    problem = length_problem(len(data), declared_bytes, plan) or kind_problem(kind, plan)
    facts: Mapping[str, Any] = {}
    if problem is None and plan.read is not None and kind not in NOTHING_KINDS:
        facts, problem = _read(data, plan.read)
    code, detail = problem or (None, "")
    return BodyReport(
        kind=kind,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).digest(),
        head=data[:HEAD_BYTES],
        problem=code,
        problem_detail=detail,
        content_digest=plan.content_digest(data) if plan.content_digest and code is None else None,
        facts=facts,
    )


def _read(
    data: bytes, read: Callable[[bytes], Mapping[str, Any]]
) -> tuple[Mapping[str, Any], tuple[str, str] | None]:
    try:
        return read(data), None
    except FilingdError as error:
        return {}, ("inspect_failed", str(error))


def content_digest(members: Iterable[tuple[str, int, int]]) -> bytes:
    """SHA-256 over base name, size and CRC of every member, sorted: one content, one digest, however packed.

    Each member adds `basename NUL size NUL crc LF`, size in decimal and CRC in eight hexadecimal digits.
    """
    rows = sorted((base_name(name), size, crc) for name, size, crc in members)
    lines = "".join([f"{name}\0{size_bytes}\0{crc32:08x}\n" for name, size_bytes, crc32 in rows])
    return hashlib.sha256(lines.encode()).digest()


def base_name(name: str) -> str:
    """The last part of a member's name."""
    return name.rpartition("/")[2]
