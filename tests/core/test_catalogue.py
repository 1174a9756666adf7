"""The rules of the catalogue: days, names, what announces what, and in which order things are told."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.catalogue import (
    ANY_VARIANT,
    Document,
    DocumentPlace,
    Filing,
    Forgotten,
    Listing,
    NameFragmentError,
    Source,
    announces,
    calendar_day,
    entries,
    folded_fragment,
    folded_name,
    resolved,
)

REF = "2026-00999001"


def a_source(
    day: str | None = "2026-11-20", leaf: str = "references", family: str = "nbb/authentic"
) -> Source:
    return Source(f"{family}/{day}/{leaf}", 1, f"{family}/{day}/{leaf}.zip", family, day)


# ---------------------------------------------------------------- days


@given(st.dates())
def test_a_day_in_its_iso_form_is_that_day_unless_it_means_unknown(day: dt.date) -> None:
    unknown = {dt.date(1900, 1, 1), dt.date(9999, 1, 1)}
    assert calendar_day(day.isoformat()) == (None if day in unknown else day)


@pytest.mark.parametrize(
    "text", [None, "", "1900-01-01", "9999-01-01", "20260101", "2026-W01-1", "2026-02-30", "x" * 10]
)
def test_what_is_no_day_of_a_calendar_never_reaches_arithmetic(text: str | None) -> None:
    assert calendar_day(text) is None


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("CAFÉ  Créations ", "cafe creations"),
        ("Æquoreus ŁÓDŹ & ZN", "aequoreus lodz & zn"),
        ("Straßenfrei ØST", "strassenfrei ost"),
        ("ĲSSALON L’INVENTÉE", "ijssalon l'inventee"),  # noqa: RUF001 - real names hold such marks
        ("cafe\u0301\u0000\tbar", "cafe bar"),
        ("ΑΛΦΑ", "αλφα"),
    ],
)
def test_names_lose_case_accents_and_blanks(name: str, folded: str) -> None:
    assert folded_name(name) == folded


@given(st.text())
def test_folding_a_name_twice_is_folding_it_once(name: str) -> None:
    assert folded_name(folded_name(name)) == folded_name(name)


@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cs"])))
def test_a_name_is_found_whatever_its_case(name: str) -> None:
    assert folded_name(name.upper()) == folded_name(name.lower()) == folded_name(name)


@pytest.mark.parametrize("fragment", ["", "ab", "  é ", "a b"[:2]])
def test_a_fragment_of_fewer_than_three_letters_is_refused(fragment: str) -> None:
    with pytest.raises(NameFragmentError, match="at least 3 letters"):
        folded_fragment(fragment)


# ---------------------------------------------------------------- documents and records


@pytest.mark.parametrize(
    ("listed", "held", "listed_on", "held_since", "expected"),
    [
        (None, None, "2026-11-20", "2026-11-20", True),
        (
            None,
            None,
            "2026-11-20",
            "2026-11-21",
            True,
        ),  # an authentic document counts whatever day brought it
        (None, "corrected", "2026-11-20", "2026-11-20", False),
        ("corrected", None, "2026-11-20", "2026-11-20", False),
        ("corrected", "corrected", "2026-11-20", "2026-11-20", True),
        (
            "corrected",
            "corrected",
            "2026-11-20",
            "2026-11-21",
            False,
        ),  # a later correction under the same name
        ("corrected", "corrected", "2026-11-20", None, True),  # asked for by itself
        ("corrected", "pdf_extracted", "2026-11-20", "2026-11-20", False),
        ("corrected", ANY_VARIANT, "2026-11-20", "2026-11-20", True),
        ("corrected", ANY_VARIANT, "2026-11-20", "2026-11-21", False),
    ],
)
def test_which_record_announces_which_document(
    listed: str | None, held: str | None, listed_on: str | None, held_since: str | None, expected: bool
) -> None:
    filing, place = Filing(REF, variant=listed), DocumentPlace(REF, "json", 1, held)
    assert announces(filing, listed_on, place, held_since) is expected


def test_a_record_announces_no_document_of_another_filing() -> None:
    assert not announces(Filing(REF), None, DocumentPlace("2026-00999002", "json", 1), None)


# ---------------------------------------------------------------- entries


def test_the_filing_deposited_last_comes_first_and_what_has_no_day_comes_last() -> None:
    dates = {"a": "2024-05-01", "b": "9999-01-01", "c": "2026-05-01", "d": None, "e": "2025-05-01"}
    listings = [Listing(Filing(ref, deposit_date=date), a_source()) for ref, date in dates.items()]
    assert [entry.reference for entry in entries(listings, [])] == ["c", "e", "a", "d", "b"]


def test_an_entry_has_its_newest_record_first_and_its_documents_by_kind() -> None:
    days = ["2026-11-20", "2026-11-22", "2026-11-21"]
    listings = [Listing(Filing(REF), a_source(day)) for day in days]
    documents = [
        Document(DocumentPlace(REF, kind, 1), a_source(day, kind))
        for day in days
        for kind in ("xbrl", "json")
    ]
    (entry,) = entries(listings, documents)
    assert [one.source.published_on for one in entry.listings] == ["2026-11-22", "2026-11-21", "2026-11-20"]
    assert [one.place.kind for one in entry.documents] == ["json"] * 3 + ["xbrl"] * 3
    newest = entry.document("xbrl")
    assert newest is not None
    assert newest.source.published_on == "2026-11-22"


def test_the_authentic_document_is_not_mistaken_for_an_improved_one() -> None:
    places = [DocumentPlace(REF, "json", 1, "corrected"), DocumentPlace(REF, "json", 2)]
    (entry,) = entries([], [Document(place, a_source()) for place in places])
    authentic, corrected = entry.document("json"), entry.document("json", "corrected")
    assert authentic is not None
    assert corrected is not None
    assert (authentic.place.size_bytes, corrected.place.size_bytes) == (2, 1)
    assert entry.document("pdf") is None


def test_a_record_without_a_number_takes_the_one_another_record_of_its_filing_gives() -> None:
    parked, other = Listing(Filing(REF), a_source()), Filing(REF, enterprise="0999000129")
    assert resolved([parked], [parked.filing])[0].enterprise is None
    assert resolved([parked], [other, parked.filing])[0].enterprise == "0999000129"
    assert resolved([parked], [Filing("x", enterprise="0999000228")])[0].enterprise is None


def test_where_records_disagree_about_the_number_the_order_they_came_in_does_not_matter() -> None:
    parked = Listing(Filing(REF), a_source())
    records = [Filing(REF, enterprise=number) for number in ("0999000228", "0999000129")]
    assert resolved([parked], records) == resolved([parked], records[::-1])


def test_what_is_forgotten_adds_up() -> None:
    one, other = Forgotten(frozenset("a"), frozenset("x")), Forgotten(frozenset("b"))
    assert one | other == Forgotten(frozenset("ab"), frozenset("x"))
