"""Bodies are told by their bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.kinds import content_digest, examine_document, kind_of
from filingd.core.model import BodyPlan

JSON_PLAN = BodyPlan(max_bytes=100, accept=frozenset({"json"}))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"PK\x03\x04rest", "zip"),
        (b"PK\x05\x06rest", "empty_zip"),
        (b"PK\x06\x06rest", "empty_zip"),
        (b"PK", "other"),
        (b"%PDF-1.7", "pdf"),
        (b'{"a": 1}', "json"),
        (b"[]", "json"),
        (b'\xef\xbb\xbf \r\n{"a": 1}', "json"),
        (b"<?xml version='1.0'?>", "xml"),
        (b"<xbrl>", "xml"),
        (b"<!DOCTYPE HTML PUBLIC", "html"),
        (b"\n<html>", "html"),
        (b"Access denied", "other"),
        (b"   ", "other"),
    ],
)
def test_the_first_bytes_tell_the_kind(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    ("data", "declared", "problem"),
    [
        (b"{}", None, None),
        (b"{}", 2, None),
        (b"{}", 3, "short_body"),
        (b"{}", 1, "long_body"),
        (b"{" * 101, None, "too_large"),
        (b"<html>", None, "wrong_kind"),
        (b"", None, None),
        (b"", 2, "short_body"),
    ],
)
def test_a_document_is_examined_whole(data: bytes, declared: int | None, problem: str | None) -> None:
    report = examine_document(data, JSON_PLAN, declared)
    assert (report.problem, report.size_bytes) == (problem, len(data))
    assert report.sha256 == hashlib.sha256(data).digest()
    assert bool(report.problem_detail) == (problem is not None)


@given(st.permutations([("a/x", 1, 2), ("y", 1, 3), ("z", 0, 0)]))
def test_the_content_digest_knows_no_order_and_no_folders(members: list[tuple[str, int, int]]) -> None:
    assert content_digest(members) == content_digest([("x", 1, 2), ("z", 0, 0), ("d/y", 1, 3)])


@pytest.mark.parametrize(
    "other", [[("x", 1, 3)], [("x", 2, 2)], [("w", 1, 2)], [], [("x", 1, 2), ("y", 0, 0)]]
)
def test_the_content_digest_knows_name_size_and_crc(other: list[tuple[str, int, int]]) -> None:
    assert content_digest(other) != content_digest([("x", 1, 2)])
