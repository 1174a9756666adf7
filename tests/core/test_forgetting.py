"""Tombstones as lines, claims as reasons of rows: what is written is read back, and what is spoilt is never passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.catalogue import Forgotten
from filingd.core.errors import StoreError
from filingd.core.forgetting import (
    FOUND_REASON,
    Claim,
    claim_of,
    forgotten_by,
    found_tombstones,
    redacted,
)
from filingd.core.layout import set_aside_of, superseded, superseded_of
from filingd.core.tombstones import Tombstone, line_of, tombstones_in, unknown_of

FILING = Tombstone("2026-00999001", False, 1_795_000_000.25, "order 7")
FIRM = Tombstone("0403101811", True, 1_795_000_001.0)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
INSTANTS = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)
SUBJECTS = st.from_regex(r"[0-9]{4}-[0-9]{8}", fullmatch=True)
TOMBSTONES = st.tuples(SUBJECTS, st.booleans(), INSTANTS, WORDS).map(lambda drawn: Tombstone(*drawn))


@given(st.lists(TOMBSTONES, max_size=5))
def test_tombstones_are_read_back_as_they_were_written(tombstones: list[Tombstone]) -> None:
    text = "".join(f"{line_of(one)}\n" for one in tombstones)
    assert text.count("\n") == len(tombstones)
    assert list(tombstones_in(text, "forgotten.jsonl")) == tombstones


@given(st.lists(TOMBSTONES, min_size=1, max_size=3))
def test_a_last_line_that_only_lacks_its_end_counts(tombstones: list[Tombstone]) -> None:
    text = "\n".join(line_of(one) for one in tombstones)
    assert list(tombstones_in(text, "forgotten.jsonl")) == tombstones


@given(st.lists(TOMBSTONES, min_size=1, max_size=3), st.data())
def test_a_last_line_that_a_death_cut_off_does_not_count(
    tombstones: list[Tombstone], data: st.DataObject
) -> None:
    text = "".join(f"{line_of(one)}\n" for one in tombstones)
    last = len(line_of(tombstones[-1])) + 1
    cut = text[: len(text) - data.draw(st.integers(2, last))]
    assert list(tombstones_in(cut, "forgotten.jsonl")) == tombstones[:-1]


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"subject": "", "is_enterprise": false, "buried_at": "2026-11-20T00:00:00Z"}',
        '{"subject": 7, "is_enterprise": false, "buried_at": "2026-11-20T00:00:00Z"}',
        '{"subject": "x", "is_enterprise": 1, "buried_at": "2026-11-20T00:00:00Z"}',
        '{"subject": "x", "is_enterprise": true, "buried_at": "yesterday"}',
        '{"subject": "x", "is_enterprise": true}',
    ],
)
def test_a_line_that_is_no_tombstone_names_file_line_and_remedy(line: str) -> None:
    with pytest.raises(StoreError, match=r"forgotten.jsonl, line 2, .*filingd forget"):
        tombstones_in(f"{line_of(FILING)}\n{line}\n", "forgotten.jsonl")


def test_only_what_is_unknown_is_new_and_the_first_of_two_counts() -> None:
    again = replace(FILING, reason="again")
    assert unknown_of([FILING, FIRM, replace(FIRM, reason="again")], [again]) == [FIRM]


@given(
    st.integers(0, 99),
    st.sampled_from(["", "ab" * 32]),
    st.none() | st.sampled_from(["not_wanted", "a reason of more words"]),
    st.none() | st.floats(0.0, 1e11),
)
def test_a_claim_is_read_back_from_the_reason_of_a_row(
    number: int, sha256: str, reason: str | None, due_at: float | None
) -> None:
    claim = Claim(number, sha256, reason, due_at)
    assert claim_of(claim.text()) == claim


@pytest.mark.parametrize(
    "reason", [None, "", "not_wanted", "forgetting", "forgetting x y", "forgotten", "forgetting 1"]
)
def test_no_other_reason_is_taken_for_a_claim(reason: str | None) -> None:
    assert claim_of(reason) is None


def test_what_tombstones_stand_for_is_told_apart() -> None:
    forgotten = forgotten_by([FILING, FIRM])
    assert forgotten == Forgotten(frozenset({FILING.subject}), frozenset({FIRM.subject}))
    found = found_tombstones(["2026-00000002", FILING.subject], forgotten, 5.0)
    assert found == [Tombstone("2026-00000002", False, 5.0, FOUND_REASON)]
    assert redacted("a 2026-00999001.json of 0403101811", forgotten) == "a (forgotten).json of (forgotten)"


@given(st.from_regex(r"nbb/[a-z]{1,5}/[0-9a-z-]{1,8}(\.[a-z]{1,4})?", fullmatch=True), st.integers(1, 999))
def test_the_place_of_an_older_version_says_whose_it_is(target: str, number: int) -> None:
    assert superseded_of(superseded(target, number)) == (target, number)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("quarantine/nbb/a/json.zip.20261120T113000Z", "nbb/a/json.zip"),
        ("quarantine/nbb/a/json.zip.20261120T113000Z-12", "nbb/a/json.zip"),
        ("quarantine/versions/nbb/a/json.v1.zip.20261120T113000Z", "versions/nbb/a/json.v1.zip"),
        ("quarantine/nbb/a/json.zip.20261120T113000Z.json", None),
        ("nbb/a/json.zip.20261120T113000Z", None),
    ],
)
def test_a_place_in_quarantine_says_whose_it_is(path: str, target: str | None) -> None:
    assert set_aside_of(path) == target
