"""What records and zips say of filings: casings, odd shapes, improved rows, and recorded rows of the real service."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.catalogue import ANY_VARIANT, DocumentPlace, Filing, calendar_day
from filingd.core.model import Member
from filingd.registries.nbb.filings import filings_in, places_in
from filingd.registries.nbb.models import folded
from filingd.registries.nbb.payloads import KNOWN_FIELDS, PayloadError

ROW: dict[str, Any] = {
    "ReferenceNumber": "2026-00999001", "DepositDate": "2026-06-24",
    "ExerciseDates": {"startDate": "2025-01-01", "endDate": "2025-12-31"}, "ModelType": "m87-f",
    "DepositType": "Initial", "Language": "NL", "Currency": "EUR", "EnterpriseNumber": "0999000129",
    "EnterpriseName": "VOORBEELD ALFA",
    "Address": {"Box": None, "City": "Gent", "CountryCode": "BE", "Number": "12", "PostalCode": "9000", "Street": "X"},
    "LegalForm": "610", "LegalSituation": "000", "FullFillLegalValidation": True, "ActivityCode": "62010",
    "GeneralAssemblyDate": "2026-06-10",
    "AccountingDataURL": "https://ws.example.invalid/authentic/deposit/2026-00999001/accountingData",
    "DataVersion": "Authentic", "ImprovementDate": None, "CorrectedData": None,
}  # fmt: skip
FILING = Filing(
    reference="2026-00999001", enterprise="0999000129", enterprise_name="VOORBEELD ALFA",
    deposit_date="2026-06-24", exercise_start="2025-01-01", exercise_end="2025-12-31", model="m87-f",
    deposit_type="Initial", language="NL", currency="EUR", legal_form="610", data_version="Authentic",
    offers_document=True,
)  # fmt: skip


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def filings(value: object, member: str | None = None) -> tuple[Filing, ...]:
    return filings_in(encoded(value), name=member or "the answer", member=member)


def only(*, member: str | None = None, **changes: Any) -> Filing:
    (filing,) = filings(ROW | changes, member)
    return filing


# ------------------------------------------------------------------------------------------------- fields


def test_every_field_is_taken_as_it_was_filed() -> None:
    assert only() == FILING


@given(seed=st.integers(), keys=st.permutations(sorted(ROW)))
def test_no_spelling_of_a_key_changes_what_is_taken(seed: int, keys: list[str]) -> None:
    rng = random.Random(seed)

    def spelled(key: str) -> str:
        signs = [sign.upper() if rng.random() < 0.5 else sign.lower() for sign in key]
        return "".join(sign + "_" * (rng.random() < 0.2) for sign in signs)

    record = {spelled(key): ROW[key] for key in keys}
    dates = next(key for key in record if folded(key) == "exercisedates")
    record[dates] = {spelled(key): value for key, value in ROW["ExerciseDates"].items()}
    assert filings(record) == (FILING,)


@pytest.mark.parametrize("known", sorted(ROW.keys() - {"ReferenceNumber"}))
def test_every_field_but_the_reference_may_be_null_or_missing(known: str) -> None:
    nulls: dict[str, Any] = {known: None}
    nulled = only(**nulls)
    (without,) = filings({key: value for key, value in ROW.items() if key != known})
    assert nulled.unknown == without.unknown == {}
    assert nulled.reference == without.reference == FILING.reference


def test_a_record_of_nothing_but_nulls_is_kept_if_something_gives_its_reference() -> None:
    (filing,) = filings(dict.fromkeys(ROW), "2026-00999001.json")
    assert filing == Filing("2026-00999001", offers_document=False, member="2026-00999001.json")


@pytest.mark.parametrize(
    "dates",
    [
        {"StartDate": "2025-01-01", "EndDate": "2025-12-31"},
        {"start_date": "2025-01-01", "enddate": "2025-12-31"},
    ],
)
def test_both_spellings_of_the_exercise_are_read(dates: dict[str, str]) -> None:
    filing = only(ExerciseDates=dates)
    assert (filing.exercise_start, filing.exercise_end) == ("2025-01-01", "2025-12-31")


@pytest.mark.parametrize("dates", [{}, {"startDate": None, "endDate": None}, None])
def test_an_exercise_without_dates_has_none(dates: object) -> None:
    filing = only(ExerciseDates=dates)
    assert (filing.exercise_start, filing.exercise_end, filing.unknown) == (None, None, {})


@pytest.mark.parametrize(
    "dates", ["2025", ["2025-01-01"], {"startDate": 2025, "endDate": "2025-12-31"}, {"from": "2025-01-01"}]
)
def test_an_exercise_that_cannot_be_read_is_kept_verbatim(dates: object) -> None:
    assert only(ExerciseDates=dates).unknown == {"ExerciseDates": dates}


def test_sentinel_dates_are_kept_as_filed_and_are_no_days() -> None:
    filing = only(ExerciseDates={"startDate": "1900-01-01", "endDate": "1989-12-31"})
    assert filing.exercise_start == "1900-01-01"
    assert calendar_day(filing.exercise_start) is None
    assert calendar_day(filing.exercise_end) is not None


def test_fields_nobody_knows_are_kept_verbatim() -> None:
    extra: dict[str, Any] = {"SupersededBy": {"ref": ["2026-1", 2.50]}, "newThing": None}
    assert only(**extra).unknown == extra


def test_a_known_field_of_an_unexpected_kind_is_kept_verbatim_and_not_guessed_at() -> None:
    filing = only(Currency=["EUR"], ModelType={"Code": "m87-f"})
    assert (filing.currency, filing.model) == (None, None)
    assert filing.unknown == {"Currency": ["EUR"], "ModelType": {"Code": "m87-f"}}


def test_of_two_spellings_of_one_key_the_first_with_a_value_counts_and_none_is_lost() -> None:
    (filing,) = filings({"currency": None, "Currency": "EUR", "CURRENCY": "BEF", "ReferenceNumber": "2026-1"})
    assert filing.currency == "EUR"
    assert filing.unknown == {"CURRENCY": "BEF"}


@pytest.mark.parametrize(("url", "offered"), [("https://x.invalid", True), (None, False), ("", False)])
def test_whether_a_document_is_offered_is_told_apart_from_silence(url: str | None, offered: bool) -> None:
    assert only(AccountingDataURL=url).offers_document is offered
    (silent,) = filings({key: value for key, value in ROW.items() if key != "AccountingDataURL"})
    assert silent.offers_document is None


# ------------------------------------------------------------------------------------------------- enterprises


@pytest.mark.parametrize("filed", ["0999.000.129", "BE 0999000129", "999000129", 999000129])
def test_a_number_is_kept_in_its_plain_form(filed: object) -> None:
    assert only(EnterpriseNumber=filed).enterprise == "0999000129"


@pytest.mark.parametrize("filed", [None, "", "  "])
def test_a_filing_without_a_number_is_kept_without_one(filed: object) -> None:
    assert only(EnterpriseNumber=filed).enterprise is None


def test_a_number_whose_check_digits_are_wrong_is_kept_as_filed() -> None:
    assert only(EnterpriseNumber="0999000128").enterprise == "0999000128"


# ------------------------------------------------------------------------------------------------- shapes


def test_a_list_gives_a_filing_for_each_of_its_objects_and_says_where_it_stood() -> None:
    found = filings([ROW, ROW | {"ReferenceNumber": "2026-00999002"}], "batch.json")
    assert [(f.reference, f.member, f.row) for f in found] == [
        ("2026-00999001", "batch.json", 0),
        ("2026-00999002", "batch.json", 1),
    ]


def test_an_empty_list_has_no_filings() -> None:
    assert filings([]) == ()


def test_a_byte_order_mark_hides_nothing() -> None:
    assert filings_in(b"\xef\xbb\xbf" + encoded(ROW), name="x") == (FILING,)


@pytest.mark.parametrize(
    "member", ["2026-00999001.json", "2026-00999001-reference.json", "folder/2026-00999001.json"]
)
def test_the_name_of_the_member_gives_a_reference_that_the_record_lacks(member: str) -> None:
    filing = only(member=member, ReferenceNumber=None)
    assert (filing.reference, filing.member, filing.variant) == ("2026-00999001", member, None)


@pytest.mark.parametrize("record", [{}, {"a": 1}, {"value": [ROW]}, {"statusCode": 401}])
def test_a_record_without_one_known_field_is_refused_by_name(record: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match=r"2026-7\.json parses, but none of its fields is known"):
        filings(record, "2026-7.json")


@pytest.mark.parametrize("reference", [None, "", 7, "2026 1", "2026-1\n", "a\u0000b"])
def test_a_record_without_a_usable_reference_is_refused_by_name(reference: object) -> None:
    with pytest.raises(PayloadError, match="the answer has no usable reference number"):
        only(ReferenceNumber=reference)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1,", b"[" * 100_000])
def test_what_is_no_json_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(PayloadError, match=r"m\.json is not JSON"):
        filings_in(data, name="m.json")


@pytest.mark.parametrize("value", [1, "x", None, [1], [[ROW]]])
def test_what_is_no_object_is_refused_by_name(value: object) -> None:
    with pytest.raises(PayloadError, match="the answer holds something else"):
        filings(value)


# ------------------------------------------------------------------------------------------------- improved rows


@pytest.mark.parametrize(
    ("data_version", "member", "variant"),
    [
        ("Pdf_extracted", None, "pdf_extracted"),
        ("Euro converted", None, "euro_converted"),
        ("Corrected", "2026-00999001-aa-corrected.json", "corrected"),
        ("Corrected", "2026-00999001-reference.json", "corrected"),
        (None, "2026-00999001-ocr-authentic.json", "pdf_extracted"),
        ("Authentic", "2026-00999001-SB-Corrected.json", "corrected"),
        (None, "2026-00999001-new-thing.json", ANY_VARIANT),
        ("Reviewed", "2026-00999001-new-thing.json", "reviewed"),
        (" ", None, None),
    ],
)
def test_the_kind_of_improvement_is_told_by_the_record_or_else_by_the_label(
    data_version: str | None, member: str | None, variant: str | None
) -> None:
    filing = only(member=member, DataVersion=data_version, ImprovementDate="2026-07-02", CorrectedData="AA")
    assert (filing.variant, filing.data_version) == (variant, data_version)
    assert (filing.improvement_date, filing.corrected_data) == ("2026-07-02", "AA")


# ------------------------------------------------------------------------------------------------- document zips


def a_member(name: str) -> Member:
    return Member(name, offset=60, packed_bytes=40, size_bytes=90, crc32=7, method=8)


@pytest.mark.parametrize(
    ("kind", "name", "variant"),
    [
        ("json", "2026-00999001.json", None),
        ("pdf", "2026-00999001.pdf", None),
        ("xbrl", "sub/2026-00999001.xbrl", None),
        ("json", "2026-00999001-aa-corrected.json", "corrected"),
        ("json", "2026-00999001-sb-corrected.json", "corrected"),
        ("json", "2026-00999001-ocr-authentic.json", "pdf_extracted"),
        ("json", "2026-00999001-euro-authentic.JSON", "euro_converted"),
        ("json", "2026-00999001-aa-sb.json", ANY_VARIANT),
        ("xbrl", "2026-00999001", None),
    ],
)
def test_a_member_is_the_document_of_the_filing_in_its_name(
    kind: str, name: str, variant: str | None
) -> None:
    assert places_in(kind, [a_member(name)]) == (
        DocumentPlace(
            "2026-00999001", kind, 90, variant, name, offset=60, packed_bytes=40, method=8, crc32=7
        ),
    )


@pytest.mark.parametrize(
    "name", ["readme.json", "2026-00999001.pdf", "2026-00999001/", "2026-00999001x.json"]
)
def test_a_member_that_fits_no_filing_or_another_dataset_has_no_place(name: str) -> None:
    assert places_in("json", [a_member(name)]) == ()


# ------------------------------------------------------------------------------------------------- recorded rows

SAMPLES = Path(
    os.environ.get("FILINGD_SAMPLES") or Path(__file__).resolve().parents[3] / "shared" / "samples"
)
if SAMPLES.name != "nbb":
    SAMPLES /= "nbb"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no recorded answers; FILINGD_SAMPLES names their folder")
def test_recorded_answers_of_the_service_are_understood_to_the_last_field() -> None:
    found = [
        filing
        for path in sorted(SAMPLES.glob("references-*.json"))
        for filing in filings_in(path.read_bytes(), name=path.name)
    ]
    assert len(found) > 50
    assert all(filing.unknown == {} for filing in found)
    assert all(filing.enterprise and filing.enterprise_name and filing.model for filing in found)
    assert all(calendar_day(filing.deposit_date) for filing in found)


def test_the_fields_of_a_record_are_those_of_the_reference() -> None:
    assert {folded(key) for key in ROW} == KNOWN_FIELDS
