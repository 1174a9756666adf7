"""A range is asked for only when its answer can be checked, and believed only when it agrees with everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.model import PartialRecord, ResponseHead
from filingd.core.resume import ResumeOutcome, judge_resumed, plan_resume

PARTIAL = PartialRecord(
    route="extract", received_bytes=400, total_bytes=1000, etag='"v1"', started_at=0.0, request_id="rid-1"
)
RESUME, START_OVER, ASK_AGAIN, REFUSED, UNRELATED = (
    ResumeOutcome.RESUME,
    ResumeOutcome.START_OVER,
    ResumeOutcome.ASK_AGAIN,
    ResumeOutcome.REFUSED,
    ResumeOutcome.UNRELATED,
)
RANGE = ("Range", "bytes=400-")


# ---------------------------------------------------------------- asking


@pytest.mark.parametrize(
    ("partial", "route", "headers"),
    [
        (None, "extract", None),
        (PARTIAL, "extract", (RANGE, ("If-Range", '"v1"'))),
        (PARTIAL, "authentic-archive", None),
        (replace(PARTIAL, total_bytes=None), "extract", (RANGE, ("If-Range", '"v1"'))),
        (replace(PARTIAL, etag=None), "extract", (RANGE,)),
        (replace(PARTIAL, etag=None, total_bytes=None), "extract", None),
        (replace(PARTIAL, received_bytes=0), "extract", None),
        (replace(PARTIAL, received_bytes=999), "extract", (("Range", "bytes=999-"), ("If-Range", '"v1"'))),
        (replace(PARTIAL, received_bytes=1000), "extract", None),
        (replace(PARTIAL, received_bytes=1001), "extract", None),
    ],
)
def test_a_range_is_asked_for_only_when_the_answer_can_be_checked(
    partial: PartialRecord | None, route: str, headers: tuple[tuple[str, str], ...] | None
) -> None:
    assert plan_resume(partial, route) == headers


# ---------------------------------------------------------------- being answered


def head(status: int = 206, /, **headers: str) -> ResponseHead:
    return ResponseHead(status, {name.replace("_", "-"): value for name, value in headers.items()})


GOOD = {"content_range": "bytes 400-999/1000", "content_length": "600", "etag": '"v1"'}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, RESUME),
        ({"content_length": None}, RESUME),
        ({"content_range": "Bytes 400-999/1000"}, RESUME),
        ({"content_range": None}, REFUSED),
        ({"content_range": ""}, REFUSED),
        ({"content_range": "bytes 400-999"}, REFUSED),
        ({"content_range": "bytes */1000"}, REFUSED),
        ({"content_range": "bytes 400-999/*"}, REFUSED),
        ({"content_range": "items 400-999/1000"}, REFUSED),
        ({"content_range": "bytes 400-999/1000, 1-2/3"}, REFUSED),
        ({"content_range": "bytes 400-999/1000x"}, REFUSED),
        ({"content_range": "bytes 0-999/1000", "content_length": "1000"}, REFUSED),
        ({"content_range": "bytes 399-999/1000", "content_length": "601"}, REFUSED),
        ({"content_range": "bytes 401-999/1000", "content_length": "599"}, REFUSED),
        ({"content_range": "bytes 400-999/1001"}, REFUSED),
        ({"content_range": "bytes 400-1000/1001", "content_length": "601"}, REFUSED),
        ({"content_range": "bytes 400-998/1000", "content_length": "599"}, REFUSED),
        ({"content_range": "bytes 400-1000/1000", "content_length": "601"}, REFUSED),
        ({"content_range": "bytes 400-99/1000"}, REFUSED),
        ({"content_length": "599"}, REFUSED),
        ({"content_length": "1000"}, REFUSED),
        ({"etag": '"v2"'}, REFUSED),
        ({"etag": 'W/"v1"'}, REFUSED),
        ({"etag": None}, REFUSED),
    ],
)
def test_a_part_is_believed_only_if_everything_agrees(
    changes: dict[str, str | None], outcome: ResumeOutcome
) -> None:
    headers = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    verdict = judge_resumed(head(**headers), PARTIAL)
    assert verdict.outcome is outcome
    assert verdict.total_bytes == (1000 if outcome is RESUME else None)
    assert bool(verdict.detail) == (outcome is REFUSED)


def test_without_a_known_etag_the_total_decides() -> None:
    partial = replace(PARTIAL, etag=None)
    assert judge_resumed(head(**GOOD), partial).outcome is RESUME
    assert judge_resumed(head(**{**GOOD, "etag": '"v9"'}), partial).outcome is RESUME


def test_without_a_known_total_the_etag_decides_and_the_total_is_learnt() -> None:
    verdict = judge_resumed(head(**GOOD), replace(PARTIAL, total_bytes=None))
    assert (verdict.outcome, verdict.total_bytes) == (RESUME, 1000)


@pytest.mark.parametrize(
    ("status", "partial", "outcome"),
    [
        (200, PARTIAL, START_OVER),
        (200, None, START_OVER),
        (206, None, REFUSED),
        (416, PARTIAL, ASK_AGAIN),
        (416, None, UNRELATED),
        (204, PARTIAL, START_OVER),
        (400, PARTIAL, UNRELATED),
        (404, PARTIAL, UNRELATED),
        (429, PARTIAL, UNRELATED),
        (503, PARTIAL, UNRELATED),
    ],
)
def test_every_other_status_has_its_meaning(
    status: int, partial: PartialRecord | None, outcome: ResumeOutcome
) -> None:
    assert judge_resumed(head(status, **GOOD), partial).outcome is outcome


def test_starting_over_knows_the_declared_length() -> None:
    assert judge_resumed(head(200, content_length="77"), PARTIAL).total_bytes == 77
    assert judge_resumed(head(200), PARTIAL).total_bytes is None


@given(
    start=st.integers(0, 1200),
    end=st.integers(0, 1200),
    total=st.one_of(st.none(), st.integers(0, 1200)),
    known_total=st.one_of(st.none(), st.integers(1, 1200)),
    received=st.integers(1, 1200),
)
def test_whatever_is_resumed_fits_without_gap_or_overlap(
    start: int, end: int, total: int | None, known_total: int | None, received: int
) -> None:
    partial = replace(PARTIAL, received_bytes=received, total_bytes=known_total)
    content_range = f"bytes {start}-{end}/{'*' if total is None else total}"
    verdict = judge_resumed(head(content_range=content_range, etag='"v1"'), partial)
    if verdict.outcome is RESUME:
        assert (start, end + 1) == (received, verdict.total_bytes)
        assert known_total in (None, verdict.total_bytes)
