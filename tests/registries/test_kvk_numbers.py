"""Numbers as people and spreadsheets write them, and on what terms they are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.watchlist import CompanyNumberError
from filingd.registries.kvk.numbers import (
    is_branch,
    is_company,
    is_rsin,
    passes_eleven_test,
    plain_number,
    remark_on,
)
from filingd.registries.kvk.operations import PARTS, PARTS_WITH_GEO_DATA, ZOEKEN
from filingd.registries.kvk.terms import KvkTerms, PartTerms

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("69599084", "69599084"),
        ("6959 9084", "69599084"),
        ("6959.90.84", "69599084"),
        ("1012345", "01012345"),
        ("12345", "00012345"),
        ("859123455", "859123455"),
        ("8591.23.455", "859123455"),
        ("000038509504", "000038509504"),
        ("3850950412", "003850950412"),
        ("38509504123", "038509504123"),
        ("0000 3850 9504", "000038509504"),
        ("KVK 69599084", "69599084"),
        ("kvk-nummer: 1012345", "01012345"),
        ("RSIN 12345672", "012345672"),
        ("VEST 38509504", "000038509504"),
    ],
)  # fmt: skip
def test_a_number_is_told_by_its_length_or_by_the_name_in_front(text: str, number: str) -> None:
    assert plain_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "-", "abc", "1", "1234", "00000000", "1234567890123", "69599084x", "BE 69599084", "KVK 859123455",
        "RSIN 1234567890", "VEST 1234567890123", "٦٩٥٩٩٠٨٤", "²3456789", "6959,9084",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_in_whole_sentences(text: str) -> None:
    with pytest.raises(CompanyNumberError, match=r"^[A-Z].*\.$"):
        plain_number(text)
    assert remark_on(text) is None


@pytest.mark.parametrize("text", ["69599084", "6959 9084", "859123455", "000038509504", "KVK 69599084"])
def test_a_number_as_it_should_be_needs_no_remark(text: str) -> None:
    assert remark_on(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1012345", "KVK number 01012345"),
        ("38509504123", "branch number 038509504123"),
        ("RSIN 12345672", "RSIN 012345672"),
        ("859123456", "fails the check"),
        ("RSIN 12345678", "fails the check"),
    ],
)
def test_what_was_repaired_or_looks_mistyped_is_told(text: str, told: str) -> None:
    assert told in (remark_on(text) or "")


@given(st.text(max_size=20))
def test_whatever_is_read_is_of_one_kind_and_reads_the_same_again(text: str) -> None:
    try:
        number = plain_number(text)
    except CompanyNumberError:
        return
    assert [is_company(number), is_rsin(number), is_branch(number)].count(True) == 1
    assert plain_number(number) == number


@given(st.integers(10_000_000, 99_999_999), st.integers(0, 8))
def test_of_nine_digits_that_differ_in_the_last_at_most_one_passes(first_eight: int, digit: int) -> None:
    rsin = f"{first_eight}{digit}"
    assert passes_eleven_test(rsin) <= (not passes_eleven_test(f"{first_eight}{(digit + 1) % 10}"))


@pytest.mark.parametrize(
    ("rsin", "passes"), [("859123455", True), ("123456782", True), ("992760562", True), ("859123456", False)]
)
def test_the_eleven_test_knows_published_numbers(rsin: str, passes: bool) -> None:
    assert passes_eleven_test(rsin) is passes


# ------------------------------------------------------------------------------------------------- terms


PART_TERMS = st.builds(
    PartTerms,
    st.sampled_from(PARTS),
    st.sampled_from([DAY_S, 7 * DAY_S, 30 * DAY_S]),
    st.sampled_from(["a", "b"]),
    st.booleans(),
)
TERMS = st.builds(
    KvkTerms.of,
    st.sets(st.sampled_from(PARTS)),
    st.sampled_from([DAY_S, 7 * DAY_S, 30 * DAY_S]),
    st.sampled_from(["a", "b", "c"]),
    st.dictionaries(st.sampled_from(PARTS), st.sampled_from([DAY_S, 2 * DAY_S])),
    geo_data=st.booleans(),
)


@given(TERMS, TERMS, TERMS)
def test_the_union_of_terms_satisfies_each_and_does_not_depend_on_the_order(
    a: KvkTerms, b: KvkTerms, c: KvkTerms
) -> None:
    both = a | b
    for one in (a, b):
        for want in one.wants:
            got = both.part(want.part)
            assert got is not None
            assert got.interval_s <= want.interval_s
            assert got.with_geo_data >= want.with_geo_data
    assert {want.part for want in both.wants} == {want.part for want in (*a.wants, *b.wants)}
    assert both == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert hash(both) == hash(b | a)


@given(TERMS, TERMS)
def test_each_part_of_a_union_is_paid_for_once_and_by_somebody_who_wants_it(a: KvkTerms, b: KvkTerms) -> None:
    for want in (a | b).wants:
        wanted_by = [found for one in (a, b) if (found := one.part(want.part)) is not None]
        assert (want.interval_s, want.account) in {(found.interval_s, found.account) for found in wanted_by}


def test_terms_have_an_interval_for_each_part_and_geo_data_only_where_there_is_any() -> None:
    terms = KvkTerms.of(PARTS, 30 * DAY_S, "main", {"vestigingen": 7 * DAY_S}, geo_data=True)
    assert {want.part: want.interval_s / DAY_S for want in terms.wants} == {
        **dict.fromkeys(PARTS, 30), "vestigingen": 7, ZOEKEN: 30,
    }  # fmt: skip
    assert {want.part for want in terms.wants if want.with_geo_data} == PARTS_WITH_GEO_DATA
    assert terms.refresh_interval_s == 7 * DAY_S


def test_terms_are_told_in_words() -> None:
    terms = KvkTerms.of(
        ["vestigingen", "basisprofiel"], 30 * DAY_S, "main", {"vestigingen": 7 * DAY_S}, geo_data=True
    )
    assert terms.words() == [
        "basisprofiel every 30 d",
        "vestigingen every 7 d",
        "paid by main",
        "with geoData",
    ]
    assert KvkTerms.of([], DAY_S, "main").words() == ["paid by main"]


@pytest.mark.parametrize(
    "text", ["8750110.0", "68750110.0", "980000.07", "8750110,0", "9,8E+07", "9.800001E7", "68.750.110,00"]
)
def test_what_a_spreadsheet_made_a_quantity_of_is_no_number(text: str) -> None:
    with pytest.raises(CompanyNumberError, match="quantity"):
        plain_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("68.750.110", "68750110"),
        ("68 75 01 10", "68750110"),
        ("6875-0110", "68750110"),
        ("0000.3850.9504", "000038509504"),
    ],
)
def test_groups_of_digits_are_read_as_one_number(text: str, number: str) -> None:
    assert plain_number(text) == number
