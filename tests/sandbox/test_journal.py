from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.errors import UnavailableError
from filingd.sandbox.journal import (
    Entry,
    Journal,
    JournalFile,
    matches,
    max_arrivals,
    max_concurrency,
    summarize,
)
from filingd.sandbox.keys import KeyRing, fingerprint
from filingd.sandbox.limits import SlidingWindow

if TYPE_CHECKING:
    from pathlib import Path


def entry(start: float, end: float | None = None, **fields: Any) -> Entry:
    made = {"sequence": 1, "started_at": start, "started_mono_s": start, "method": "GET", "path": "/"}
    return Entry(**{**made, "released_mono_s": end, **fields})


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], 0),
        ([(0.0, 1.0), (1.0, 2.0)], 1),  # one ends as the next begins
        ([(0.0, 1.1), (1.0, 2.0)], 2),
        ([(0.0, None), (5.0, None), (6.0, 7.0)], 3),
        ([(0.0, 9.0), (1.0, 2.0), (3.0, 4.0)], 2),
    ],
)
def test_concurrency_is_the_largest_number_of_overlapping_requests(
    spans: list[tuple[float, float | None]], expected: int
) -> None:
    assert max_concurrency([entry(*span) for span in spans]) == expected


@given(st.lists(st.integers(0, 60)), st.integers(1, 20))
def test_arrivals_in_a_window_agree_with_counting_every_window(arrivals: list[int], window: int) -> None:
    entries = [entry(float(at)) for at in arrivals]
    counted = max((sum(start <= at < start + window for at in arrivals) for start in arrivals), default=0)
    assert max_arrivals(entries, float(window)) == counted


def test_a_summary_tells_repeated_and_missing_request_ids() -> None:
    entries = [entry(0, 1, request_id="a"), entry(1, 2, request_id="a"), entry(2, 3)]
    facts = summarize(entries, 1.0)
    assert facts["request_ids_repeated"] == ["a"]
    assert facts["request_ids_missing"] == 1
    assert facts["request_ids_unique"] is False


def test_filters_are_globs_and_bounds() -> None:
    seen = entry(5.0, 6.0, product="extract", date="2026-11-19")
    assert matches(seen, {"product": "ext*", "date": "2026-11-*", "since_at": "5", "until_at": "5.5"})
    assert not matches(seen, {"since_at": "5.1"})
    assert not matches(seen, {"status": "200"})
    assert not matches(seen, {"after": "1"})


def test_the_file_has_a_line_for_the_start_and_one_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    file = JournalFile(path)
    journal = Journal(lambda: 42.0, file=file)
    begun = journal.start("GET", "/x", "")
    journal.announced(begun)
    journal.end(begun, "completed")
    file.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["outcome"]) for line in lines] == [
        ("started", "open"),
        ("ended", "completed"),
    ]


def test_a_journal_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nowhere"):
        JournalFile(tmp_path / "nowhere" / "journal.jsonl")


def test_clearing_keeps_what_is_running_and_goes_on_counting() -> None:
    journal = Journal(lambda: 0.0)
    done, running = journal.start("GET", "/1", ""), journal.start("GET", "/2", "")
    journal.end(done, "completed")
    journal.clear()
    assert [kept.path for kept in journal.entries({})] == ["/2"]
    assert journal.start("GET", "/3", "").sequence == 3
    assert running.concurrency == 2


def test_a_key_is_replaced_by_its_fingerprint_even_after_it_was_revoked() -> None:
    ring = KeyRing({"extract": ["1" * 32, "2" * 32]})
    assert ring.revoke("extract", "primary") == 1
    clean, found = ring.redacted("/a?subscription-key=" + "1" * 32)
    assert found
    assert clean == f"/a?subscription-key=<key:{fingerprint('1' * 32)}>"


@given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(1, 9))
def test_no_sliding_window_ever_holds_more_grants_than_the_limit(
    asks: list[int], calls: int, window_s: int
) -> None:
    window = SlidingWindow(calls, float(window_s))
    granted = [at for at in sorted(asks) if window.ask(float(at)) == 0.0]
    for start in granted:
        assert sum(start <= at < start + window_s for at in granted) <= calls
