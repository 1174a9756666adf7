"""Shapes against the NBB reference, sections 7 and 15, and against recorded answers where they are
present.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from filingd.sandbox import documents
from filingd.sandbox.generator import Filing, Generator
from filingd.sandbox.settings import settings_from
from support.sandbox import samples_folder

if TYPE_CHECKING:
    from pathlib import Path

NINETEEN_KEYS = {
    "ReferenceNumber", "DepositDate", "ExerciseDates", "ModelType", "DepositType", "Language", "Currency",
    "EnterpriseNumber", "EnterpriseName", "Address", "LegalForm", "LegalSituation", "FullFillLegalValidation",
    "ActivityCode", "GeneralAssemblyDate", "AccountingDataURL", "DataVersion", "ImprovementDate", "CorrectedData",
}  # fmt: skip


def many() -> list[Filing]:
    made = Generator(settings_from({"scale": 0.3}))
    return [filing for day in range(16, 21) for filing in made.filings(dt.date(2026, 11, day))]


def recorded(pattern: str) -> list[Any]:
    folder: Path = samples_folder() / "nbb"
    if not folder.is_dir():
        pytest.skip(f"no recorded answers in {folder}; set FILINGD_SAMPLES to a folder that has some")
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def kinds(value: Any) -> Any:
    """The shape of a JSON value: key names and kinds, lists by their members' shapes."""
    if isinstance(value, dict):
        return {key: kinds(member) for key, member in value.items()}
    if isinstance(value, list):
        return "list"
    return "null" if value is None else type(value).__name__


def test_a_reference_has_nineteen_keys_and_the_enterprise_number_may_be_missing() -> None:
    objects = [documents.reference_object(filing, "pascal", "http://127.0.0.1:1") for filing in many()]
    missing = [keys for keys in objects if set(keys) != NINETEEN_KEYS]
    assert missing
    assert all(NINETEEN_KEYS - set(keys) == {"EnterpriseNumber"} for keys in missing)


def test_camel_case_lowers_the_first_letter_of_keys_and_of_the_address() -> None:
    filing = many()[0]
    pascal = documents.reference_object(filing, "pascal", "http://127.0.0.1:1")
    camel = documents.reference_object(filing, "camel", "http://127.0.0.1:1")
    assert [key[0].lower() + key[1:] for key in pascal] == list(camel)
    assert set(camel["address"]) == {"box", "city", "countryCode", "number", "postalCode", "street"}
    assert set(pascal["ExerciseDates"]) == set(camel["exerciseDates"]) == {"startDate", "endDate"}


def test_the_url_of_a_reference_is_the_single_document_on_the_sandbox_itself() -> None:
    filing = next(filing for filing in many() if filing.structured)
    shown = documents.reference_object(filing, "camel", "http://127.0.0.1:8480")
    expected = f"http://127.0.0.1:8480/authentic/deposit/{filing.reference_number}/accountingData"
    assert shown["accountingDataURL"] == expected


def test_no_am1_value_is_negative_and_the_results_are_am2() -> None:
    rows = [row for filing in many()[:60] for row in documents.rubrics(filing)]
    assert all(Decimal(row["Value"]) >= 0 for row in rows if row["DataType"] == "met:am1")
    assert {row["DataType"] for row in rows if row["Code"] == "9904"} == {"met:am2"}
    assert any(Decimal(row["Value"]) < 0 for row in rows if row["Code"] == "9904")


def test_amounts_keep_trailing_zeros_and_have_no_fixed_number_of_decimals() -> None:
    values = [
        row["Value"] for filing in many()[:40] for row in documents.rubrics(filing) if "am" in row["DataType"]
    ]
    assert any(re.search(r"\.\d0$", value) for value in values)
    assert {len(value.partition(".")[2]) for value in values} == {0, 1, 2}


def test_opening_values_stand_under_the_present_year_and_no_pair_occurs_twice() -> None:
    for filing in many()[:40]:
        rows = documents.rubrics(filing)
        pairs = [(row["Code"], row["Period"]) for row in rows]
        assert len(pairs) == len(set(pairs))
        assert {row["Period"] for row in rows if row["Code"].endswith("P")} == {"N"}
        assert 90 < len(rows) < 210


def test_joint_committees_and_mandates_occur_in_all_recorded_variants() -> None:
    objects = [documents.accounting_object(filing) for filing in many()]
    committees = [entry for thing in objects for entry in thing["JointCommittees"]]
    assert any(entry["JointCommitteeCode"] is None for entry in committees)
    assert any(entry["JointCommittee"] is None for entry in committees)
    assert any(thing["JointCommittees"] == [] for thing in objects)
    persons = [person for thing in objects for person in thing["Administrators"]["NaturalPersons"]]
    assert any(person["Mandates"] == [] for person in persons)
    assert any(thing["Shareholders"]["EntityShareHolders"] for thing in objects)
    assert any(thing["ParticipatingInterests"] for thing in objects)


def test_an_xbrl_instance_is_well_formed_in_both_prefix_styles_and_both_identifiers() -> None:
    texts = [documents.xbrl(filing).decode() for filing in many()[:60]]
    for text in texts:
        root = ET.fromstring(text)
        assert root.tag == "{http://www.xbrl.org/2003/instance}xbrl"
    assert any("<xbrli:context" in text for text in texts)
    assert any("<context" in text for text in texts)
    assert any(">BE0999" in text for text in texts)
    assert any(">0999" in text for text in texts)
    assert all(50_000 < len(text) < 200_000 for text in texts)


def test_the_facts_of_the_xbrl_are_the_rubrics_of_the_json() -> None:
    filing = many()[3]
    root = ET.fromstring(documents.xbrl(filing))
    facts = [(element.text or "").strip() for element in root if "decimals" in element.attrib]
    assert facts == [row["Value"] for row in documents.rubrics(filing)]


def test_a_big_filing_has_an_xbrl_of_about_the_size_asked_for() -> None:
    made = Generator(settings_from({"big_xbrl_every_days": 1}))
    filing = next(filing for filing in made.filings(dt.date(2026, 11, 20)) if filing.big_xbrl)
    assert 1_900_000 < len(documents.xbrl(filing, 2_000_000)) < 2_100_000
    ET.fromstring(documents.xbrl(filing, 2_000_000))


def test_a_pdf_begins_and_ends_as_one_and_its_table_points_at_its_objects() -> None:
    data = documents.pdf(many()[0], 0.05)
    assert data.startswith(b"%PDF-1.4")
    assert data.endswith(b"%%EOF\n")
    start = int(data.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert data[start : start + 4] == b"xref"
    offsets = [int(line[:10]) for line in data[start:].split(b"\n")[3:9]]
    assert all(data[offset:].startswith(b"%d 0 obj" % number) for number, offset in enumerate(offsets, 1))


def test_a_revision_changes_the_figures_and_nothing_that_identifies_the_filing() -> None:
    import dataclasses

    filing = next(filing for filing in many() if filing.structured)
    changed = dataclasses.replace(filing, revision=1)
    assert documents.accounting_json(filing) != documents.accounting_json(changed)
    assert json.loads(documents.accounting_json(changed))["ReferenceNumber"] == filing.reference_number


def test_references_have_the_shape_of_recorded_ones() -> None:
    rows = [row for rows in recorded("references-*.json") for row in rows]
    known: dict[str, set[Any]] = {}
    for row in rows:
        for key, value in row.items():
            known.setdefault(key, set()).add(json.dumps(kinds(value), sort_keys=True))
    for filing in many():
        made = json.loads(documents.reference_json(filing, "pascal", "http://127.0.0.1:1"))
        assert set(made) - set(known) == set()
        for key, value in made.items():
            shape = json.dumps(kinds(value), sort_keys=True)
            if key not in {
                "Address",
                "ActivityCode",
                "GeneralAssemblyDate",
            }:  # null in the reference, not recorded
                assert shape in known[key], (key, value)


def _paths(value: Any, prefix: str = "") -> set[str]:
    if isinstance(value, dict):
        return {path for key, member in value.items() for path in _paths(member, f"{prefix}.{key}")}
    if isinstance(value, list):
        return {path for member in value for path in _paths(member, f"{prefix}[]")} | {f"{prefix}[]"}
    return {prefix}


def test_accounting_data_have_every_path_that_recorded_ones_have_and_the_same_data_types() -> None:
    real = recorded("accountingData-*.json")
    made = [json.loads(documents.accounting_json(filing)) for filing in many()[:150]]
    real_paths = {path for document in real for path in _paths(document)}
    made_paths = {path for document in made for path in _paths(document)}
    assert real_paths - made_paths == set()
    real_types = {row["DataType"] for document in real for row in document["Rubrics"]}
    assert {row["DataType"] for document in made for row in document["Rubrics"]} == real_types
    real_kind = {row["Code"]: row["DataType"] for document in real for row in document["Rubrics"]}
    for document in made:
        for row in document["Rubrics"]:
            assert real_kind.get(row["Code"], row["DataType"]) == row["DataType"], row
