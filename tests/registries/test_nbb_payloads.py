"""What is inside the zips: casings, odd shapes, names, garbage, and recorded rows of the real service."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.model import Answer, Nothing, ResponseHead
from filingd.registries.nbb.models import folded
from filingd.registries.nbb.payloads import (
    KNOWN_FIELDS,
    PayloadError,
    ReferencesInspector,
    documents_in,
    file_count,
    filings_of,
    is_pdf_only,
    reference_of,
    strangers_in,
)
from registries.nbb_cases import (
    EXTRACT,
    FRIDAY,
    at_age,
    attempt_by,
    files,
    interpret,
    item_for,
    listing,
    member,
    rules,
)

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


def camel(key: str) -> str:
    return key[:1].lower() + key[1:]


def snake(key: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in key).lstrip("_")


def respelled(spell: Any, **changes: Any) -> dict[str, Any]:
    return {spell(key): value for key, value in (ROW | changes).items()}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def note_of(value: object, name: str = "2026-00999001.json") -> str | None:
    return ReferencesInspector().member(name, encoded(value))


# ------------------------------------------------------------------------------------------------- fields


def test_the_nineteen_fields_of_the_reference_are_known() -> None:
    assert {folded(key) for key in ROW} == KNOWN_FIELDS
    assert len(KNOWN_FIELDS) == 19


@pytest.mark.parametrize(
    ("spell", "casing"),
    [(str, "pascal"), (camel, "camel"), (snake, "camel"), (str.upper, "pascal"), (str.lower, "camel")],
)
def test_keys_are_matched_whatever_their_case_and_underscores(spell: Any, casing: str) -> None:
    inspector = ReferencesInspector()
    assert inspector.member("x.json", encoded(respelled(spell))) == "2026-00999001 m87-f"
    assert inspector.facts() == {
        "filings": 1, "pdf_only": 0, "without_enterprise": 0, "without_model": 0, "known_fields": 19,
        "fields": dict.fromkeys(sorted(KNOWN_FIELDS), 1), "models": {"m87": 1}, "unknown_fields": {}, "casing": casing,
    }  # fmt: skip


@given(seed=st.integers(), keys=st.permutations(sorted(ROW)))
def test_no_spelling_of_a_key_hides_a_filing(seed: int, keys: list[str]) -> None:
    rng = random.Random(seed)

    def spelled(key: str) -> str:
        signs = [sign.upper() if rng.random() < 0.5 else sign.lower() for sign in key]
        return "".join(sign + "_" * (rng.random() < 0.2) for sign in signs)

    record = {spelled(key): ROW[key] for key in keys}
    assert note_of(record) == "2026-00999001 m87-f"


def test_a_change_of_casing_within_one_zip_shows() -> None:
    inspector = ReferencesInspector()
    inspector.member("a.json", encoded(respelled(str)))
    inspector.member("b.json", encoded(respelled(camel, ReferenceNumber="2026-00999002")))
    assert inspector.facts()["casing"] == "camel+pascal"


def test_unknown_fields_are_named_as_they_are_spelled_and_counted() -> None:
    inspector = ReferencesInspector()
    for number in range(3):
        extra = {"SupersededBy": None} | ({"newThing": 1} if number else {})
        inspector.member("x.json", encoded(ROW | extra))
    assert inspector.facts()["unknown_fields"] == {"SupersededBy": 3, "newThing": 2}
    assert inspector.facts()["filings"] == 3


def test_unknown_fields_are_bounded_whatever_arrives() -> None:
    inspector = ReferencesInspector()
    for number in range(50):
        inspector.member("x.json", encoded(ROW | {f"field{number}" + "x" * 5000: 1}))
    unknown = inspector.facts()["unknown_fields"]
    assert len(unknown) == 20
    assert max(map(len, unknown)) == 60


@pytest.mark.parametrize(
    "record", [{}, {"a": 1}, {"value": [ROW]}, {"references": [ROW]}, {"statusCode": 401}]
)
def test_an_object_without_one_known_field_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="none of its fields is known"):
        note_of(record)


def test_facts_survive_json() -> None:
    inspector = ReferencesInspector()
    inspector.member("x.json", encoded(ROW | {"more": 1}))
    assert json.loads(json.dumps(inspector.facts())) == inspector.facts()


# ------------------------------------------------------------------------------------------------- shapes


def test_a_list_counts_each_of_its_objects() -> None:
    inspector = ReferencesInspector()
    rows = [ROW, ROW | {"ReferenceNumber": "2026-00999002", "ModelType": "m02-f-p"}]
    assert inspector.member("batch.json", encoded(rows)) == "2026-00999001 m87-f\n2026-00999002 m02-f-p"
    assert (inspector.facts()["filings"], inspector.facts()["pdf_only"]) == (2, 1)


def test_an_empty_list_notes_nothing() -> None:
    assert note_of([]) is None


@pytest.mark.parametrize(
    "name", ["2026-00999007.json", "2026-00999007-reference.json", "a/b/2026-00999007.json"]
)
def test_without_a_reference_number_the_name_of_the_member_gives_it(name: str) -> None:
    assert note_of(ROW | {"ReferenceNumber": None}, name) == "2026-00999007 m87-f"


def test_the_number_in_the_record_outweighs_the_name() -> None:
    assert note_of(ROW, "2026-00999007.json") == "2026-00999001 m87-f"


@pytest.mark.parametrize("reference", [17, True, ["x"], "2026 00999001", "2026-1\n2026-2", " "])
def test_a_reference_number_that_cannot_be_one_is_refused(reference: object) -> None:
    with pytest.raises(PayloadError, match="reference number"):
        note_of(ROW | {"ReferenceNumber": reference})


def test_a_record_without_any_reference_number_is_refused() -> None:
    with pytest.raises(PayloadError, match="reference number"):
        note_of(ROW | {"ReferenceNumber": None}, "readme.json")


@pytest.mark.parametrize("model", [None, "", 7, "m01 f", "m01\nf", ["m01-f"]])
def test_a_model_that_cannot_be_read_explains_nothing_and_is_counted(model: object) -> None:
    inspector = ReferencesInspector()
    assert inspector.member("x.json", encoded(ROW | {"ModelType": model})) == "2026-00999001 ?"
    assert (inspector.facts()["without_model"], inspector.facts()["pdf_only"]) == (1, 0)


def test_null_values_do_not_hide_a_filing() -> None:
    nulls = dict.fromkeys(ROW) | {"ReferenceNumber": "1980-06501355", "ModelType": "m900-p"}
    inspector = ReferencesInspector()
    assert inspector.member("x.json", encoded(nulls)) == "1980-06501355 m900-p"
    assert (inspector.facts()["without_enterprise"], inspector.facts()["pdf_only"]) == (1, 1)


def test_sentinel_dates_are_never_read_as_dates() -> None:
    sentinels = {
        "ExerciseDates": {"startDate": "1900-01-01", "endDate": None},
        "GeneralAssemblyDate": "9999-01-01",
        "DepositDate": "0000-00-00",
    }
    assert note_of(ROW | sentinels) == "2026-00999001 m87-f"


def test_a_byte_order_mark_is_passed_over() -> None:
    assert ReferencesInspector().member("x.json", b"\xef\xbb\xbf" + encoded(ROW)) == "2026-00999001 m87-f"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html></html>",
        b"{",
        b'{"ReferenceNumber": "2026-\xff"}',
        encoded(ROW)[:-1],
        encoded(ROW) + b"x",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        "{'ReferenceNumber': 1}".encode("utf-16"),
    ],
)
def test_what_is_no_json_is_refused_with_its_name(data: bytes) -> None:
    with pytest.raises(PayloadError, match=r"bad\.json"):
        ReferencesInspector().member("bad.json", data)


@pytest.mark.parametrize("value", [None, 1, "x", [1], [None], [[ROW]], [ROW, "x"]])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(PayloadError, match="holds no object"):
        note_of(value)


@given(data=st.binary(max_size=200))
def test_no_bytes_end_the_reading_of_a_zip_in_any_other_way(data: bytes) -> None:
    try:
        ReferencesInspector().member("x.json", data)
    except PayloadError:
        return


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(record=st.fixed_dictionaries({}, optional=dict.fromkeys(ROW, JSON_VALUES)) | JSON_VALUES)
def test_whatever_a_record_says_its_note_reads_back_or_it_is_refused(record: object) -> None:
    inspector = ReferencesInspector()
    try:
        note = inspector.member("2026-00999001.json", encoded(record))
    except PayloadError:
        return
    read = filings_of([member("2026-00999001.json", note)])
    assert len(read) <= inspector.facts()["filings"]
    assert bool(read) == bool(note)
    assert sum(map(is_pdf_only, read.values())) <= inspector.facts()["pdf_only"]


# ------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("2026-00999001.json", "2026-00999001"),
        ("2026-00999001-reference.json", "2026-00999001"),
        ("2026-00999001.xbrl", "2026-00999001"),
        ("folder/sub/2026-00999001.pdf", "2026-00999001"),
        ("2026-00999001", "2026-00999001"),
        ("2026-00999001 (1).pdf", "2026-00999001"),
        ("2022-20312345.json", "2022-20312345"),
        ("1986-44301616.pdf", "1986-44301616"),
        ("2026-1.json", "2026-1"),
        ("2026-00999001x.json", None),
        ("x2026-00999001.json", None),
        ("26-00999001.json", None),
        ("2026_00999001.json", None),
        ("readme.txt", None),
        ("2026-00999001/readme.txt", None),
        ("", None),
    ],
)
def test_the_reference_number_in_a_member_name(name: str, reference: str | None) -> None:
    assert reference_of(name) == reference


@pytest.mark.parametrize("name", ["{ref}.json", "{ref}-reference.json", "day/{ref}.json"])
def test_both_styles_of_member_names_list_the_same_filings(name: str) -> None:
    filings = {"2026-00999001": "m87-f", "2026-00999002": "m02-f-p"}
    assert filings_of(listing(filings, name)) == filings
    assert strangers_in(listing(filings, name)) == ()


@pytest.mark.parametrize(
    ("model", "pdf_only"),
    [("m02-f-p", True), ("m900-p", True), ("M120-F-P", True), ("m01-f", False), ("m01-p-f", False),
     ("?", False), ("", False), ("p", False)],
)  # fmt: skip
def test_the_suffix_p_means_filed_as_pdf(model: str, pdf_only: bool) -> None:
    assert is_pdf_only(model) is pdf_only


@pytest.mark.parametrize("models", [("m02-f-p", "m02-f"), ("m02-f", "m02-f-p")])
def test_a_filing_listed_twice_is_expected_in_full_if_either_line_says_so(models: tuple[str, str]) -> None:
    members = [member("a.json", f"2026-1 {models[0]}"), member("b.json", f"2026-1 {models[1]}")]
    assert filings_of(members) == {"2026-1": "m02-f"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("a.json", True), ("A.JSON", True), ("dir/", False), ("a.txt", False), ("json", False)],
)
def test_only_json_members_are_read(name: str, wanted: bool) -> None:
    assert ReferencesInspector().wants(name) is wanted


def test_a_member_without_a_filing_is_a_stranger() -> None:
    members = [*listing({"2026-1": "m01-f"}), member("readme.txt"), member("empty.json"), member("folder/")]
    assert strangers_in(members) == ("readme.txt", "empty.json")
    assert file_count(members) == 3


def test_a_document_zip_is_read_by_the_names_of_its_members() -> None:
    members = [
        *files(["2026-1", "2026-2"], "pdf"),
        member("more/2026-2.pdf"),
        member("2026-3.json"),
        member("readme.txt"),
        member("more/"),
        member("2026-4.PDF"),
        member("2026-5"),
    ]
    held = documents_in("pdf", members)
    assert held.references == {"2026-1", "2026-2", "2026-4", "2026-5"}
    assert held.repeated == ("2026-2",)
    assert held.strangers == ("2026-3.json", "readme.txt")


@pytest.mark.parametrize("dataset", ["json", "xbrl", "pdf"])
def test_the_zip_of_another_dataset_holds_nothing_but_strangers(dataset: str) -> None:
    for other in {"json", "xbrl", "pdf"} - {dataset}:
        held = documents_in(dataset, files(["2026-1"], other))
        assert (held.references, held.strangers) == (frozenset(), (f"2026-1.{other}",))


# ------------------------------------------------------------------------------------------------- recorded answers

SAMPLES = Path(
    os.environ.get("FILINGD_SAMPLES") or Path(__file__).resolve().parents[3] / "shared" / "samples"
)
if SAMPLES.name != "nbb":
    SAMPLES /= "nbb"


def recorded(pattern: str) -> list[Path]:
    found = sorted(SAMPLES.glob(pattern))
    if not found:
        pytest.skip(f"there are no recorded answers at {SAMPLES}/{pattern}; FILINGD_SAMPLES names the folder")
    return found


@pytest.mark.parametrize("spell", [str, camel, snake])
def test_every_recorded_row_is_understood_as_a_member(spell: Any) -> None:
    inspector, models = ReferencesInspector(), Counter[str]()
    for path in recorded("references-*.json"):
        decoded = json.loads(path.read_text(encoding="utf-8"))
        for row in decoded if isinstance(decoded, list) else [decoded]:
            data = encoded({spell(key): value for key, value in row.items()})
            note = inspector.member(f"{row['ReferenceNumber']}.json", data)
            assert note == f"{row['ReferenceNumber']} {row['ModelType']}"
            models[row["ModelType"]] += 1
    facts = inspector.facts()
    assert facts["filings"] == sum(models.values()) > 50
    assert facts["pdf_only"] == sum(count for model, count in models.items() if model.endswith("-p")) > 0
    assert models["m900-p"] > 0
    assert (facts["known_fields"], facts["unknown_fields"]) == (19, {})
    assert (facts["without_enterprise"], facts["without_model"]) == (0, 0)


def test_recorded_lists_read_whole_as_they_read_row_by_row() -> None:
    for path in recorded("references-*.json"):
        rows = json.loads(path.read_text(encoding="utf-8"))
        rows = rows if isinstance(rows, list) else [rows]
        note = ReferencesInspector().member(path.name, path.read_bytes())
        read = filings_of([member(path.name, note)])
        assert read.keys() == {row["ReferenceNumber"] for row in rows}


def test_recorded_404s_mean_nothing_there_even_when_cut() -> None:
    for path in recorded("error404-*.txt"):
        given_answer = Answer(ResponseHead(404, {}), error_body=path.read_bytes())
        verdict = interpret(
            rules(),
            item_for(FRIDAY, "json"),
            attempt_by(EXTRACT, "json"),
            given_answer,
            {},
            at_age(FRIDAY, 5),
        )
        assert isinstance(verdict, Nothing), path.name
        assert verdict.reason == "waits_for_references"


def test_recorded_documents_have_no_field_of_a_reference_but_their_number_and_names() -> None:
    for path in recorded("accountingData-*.json"):
        known = {folded(key) for key in json.loads(path.read_text(encoding="utf-8"))} & KNOWN_FIELDS
        assert known == {"referencenumber", "enterprisename", "address", "legalform"}
