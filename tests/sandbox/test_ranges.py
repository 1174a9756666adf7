from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.sandbox.ranges import Slice, decide, etag_of, requested

DIGEST = "ab" * 32
ETAG = etag_of(DIGEST, "correct")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=40-", (40, 100)),
        ("bytes=40-49", (40, 50)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=50-40", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_header_is_read_as_the_standard_says(header: str, span: tuple[int, int] | None) -> None:
    assert requested(header, 100) == span


def test_with_ranges_off_there_is_no_validator_and_everything_is_sent() -> None:
    assert decide("off", 100, DIGEST, "bytes=50-", ETAG) == Slice(200, 0, 100, {})


def test_a_correct_server_answers_206_with_the_span_and_total() -> None:
    answer = decide("correct", 100, DIGEST, "bytes=40-", ETAG)
    assert (answer.status, answer.start, answer.stop) == (206, 40, 100)
    assert answer.headers == {"ETag": ETAG, "Accept-Ranges": "bytes", "Content-Range": "bytes 40-99/100"}


def test_another_validator_in_if_range_means_everything() -> None:
    assert decide("correct", 100, DIGEST, "bytes=40-", '"other"').status == 200
    assert decide("correct", 100, DIGEST, "bytes=40-", "").status == 206


def test_a_weak_validator_never_allows_a_part() -> None:
    weak = etag_of(DIGEST, "weak_etag")
    assert weak.startswith("W/")
    assert decide("weak_etag", 100, DIGEST, "bytes=40-", weak).status == 200


def test_past_the_end_is_416_with_the_total() -> None:
    answer = decide("correct", 100, DIGEST, "bytes=100-", ETAG)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */100")


def test_each_lie_differs_from_the_truth_in_just_its_own_way() -> None:
    truth = decide("correct", 100, DIGEST, "bytes=40-", ETAG)
    assert decide("full_for_partial", 100, DIGEST, "bytes=40-", ETAG).status == 200
    assert decide("always_416", 100, DIGEST, "bytes=40-", ETAG).status == 416
    changed = decide("changed_etag", 100, DIGEST, "bytes=40-", ETAG)
    assert changed.headers["ETag"] != ETAG
    assert changed.alter
    wrong = decide("wrong_bytes", 100, DIGEST, "bytes=40-", ETAG)
    assert (wrong.headers, wrong.alter) == (truth.headers, True)
    total = decide("wrong_total", 100, DIGEST, "bytes=40-", ETAG)
    assert total.headers["Content-Range"] == "bytes 40-99/1100"
    start = decide("wrong_start", 100, DIGEST, "bytes=40-", ETAG)
    assert (start.start, start.headers["Content-Range"]) == (33, "bytes 33-99/100")


@given(st.integers(1, 10_000), st.integers(0, 12_000), st.integers(0, 12_000))
def test_an_honest_part_is_always_inside_the_body(size: int, first: int, last: int) -> None:
    answer = decide("correct", size, DIGEST, f"bytes={first}-{last}", ETAG)
    assert 0 <= answer.start <= answer.stop <= size
    assert (answer.status == 416) == (first >= size and last >= first)
