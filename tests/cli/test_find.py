"""`filingd find`: processes on a store that a real daemon mirrored from a real sandbox; the text by itself."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from filingd.adapters.manifest_commands import ManifestWriter
from filingd.cli import find_report
from filingd.cli.find_report import company_of, filing_of, find_lines, lines_of_filing
from filingd.core.catalogue import Document, DocumentPlace, Entry, Filing, Listing, Source
from filingd.core.errors import ExitCode
from filingd.core.tombstones import Tombstone
from filingd.registries.nbb.enterprises import shown
from support.catalogued import DAY, catalogued_mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.catalogued import Catalogued

ROOT = Path(__file__).resolve().parents[2]
REF = "2026-00999001"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogued]:
    yield from catalogued_mirrors(tmp_path_factory.mktemp("catalogued"))


def found(mirror: Catalogued, *asked: str) -> dict[str, Any]:
    said = mirror.run("find", *asked, "--json")
    assert (said.code, said.err) == (ExitCode.OK, "")
    jsonschema.validate(said.json, find_report.schema())
    return said.json


# ------------------------------------------------------------------------------------------ on a real store


@pytest.mark.slow
def test_a_number_in_every_usual_spelling_finds_the_same_filings(mirror: Catalogued) -> None:
    record = mirror.records()[0]
    number = record["enterprisenumber"]
    spellings = [number, shown(number), f"BE{number}", f"be {shown(number)}", number[1:]]
    reports = [found(mirror, spelling) for spelling in spellings]
    reports.append(found(mirror, *shown(number).split(".")))
    assert {json.dumps(one["filings"]) for one in reports} == {json.dumps(reports[0]["filings"])}
    assert record["referencenumber"] in [one["reference"] for one in reports[0]["filings"]]
    assert all(one["understood_as"] == "enterprise" for one in reports)


@pytest.mark.slow
def test_a_reference_finds_its_record_and_each_document_where_it_lies(mirror: Catalogued) -> None:
    for record in mirror.records():
        (filing,) = found(mirror, record["referencenumber"])["filings"]
        assert filing["enterprise"] == record["enterprisenumber"]
        assert filing["name"] == record["enterprisename"]
        assert filing["deposited_on"] == record["depositdate"]
        assert (filing["exercise_start"], filing["exercise_end"]) == tuple(record["exercisedates"].values())
        assert (filing["model"], filing["deposit_type"]) == (record["modeltype"], record["deposittype"])
        assert filing["listings"][0]["published_on"] == DAY
        for document in filing["documents"]:
            check_place(mirror.root, document)


def check_place(root: Path, document: dict[str, Any]) -> None:
    path = root / document["path"]
    if document["member"] is None:
        assert path.stat().st_size == document["size_bytes"]
        return
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(document["member"])
        assert (member.file_size, member.CRC) == (document["size_bytes"], document["crc32"])
        assert member.compress_size == document["packed_bytes"]


@pytest.mark.slow
def test_what_the_registry_improved_is_told_as_such(mirror: Catalogued) -> None:
    record = mirror.records(family="improved")[0]
    (filing,) = found(mirror, record["referencenumber"])["filings"]
    variant = record["dataversion"].lower()
    assert variant in [one["variant"] for one in filing["listings"]]
    assert ("json", variant) in [(one["kind"], one["variant"]) for one in filing["documents"]]
    said = mirror.run("find", record["referencenumber"])
    assert f"improved by the registry: {variant}" in said.out
    assert f"json {variant}" in said.out


@pytest.mark.slow
def test_part_of_a_name_lists_the_companies_it_fits_or_shows_the_only_one(mirror: Catalogued) -> None:
    report = found(mirror, "oor")
    assert len(report["companies"]) > 1
    assert report["filings"] == []
    assert all("oor" in " ".join(one["names"]).lower() for one in report["companies"])
    one = report["companies"][0]
    only = found(mirror, *one["names"][0].split())
    assert [company["enterprise"] for company in only["companies"]] == [one["enterprise"]]
    assert len(only["filings"]) == one["filings"]
    assert not report["more"]
    everything = found(mirror, "oor", "--limit", "0")
    assert (everything["companies"], everything["more"]) == (report["companies"], False)
    few = found(mirror, "oor", "--limit", "1")
    assert len(few["companies"]) == 1
    assert few["more"]
    assert (
        "… and more: give more of the name, or raise --limit (now 1)"
        in mirror.run("find", "oor", "--limit", "1").out
    )


@pytest.mark.slow
def test_a_number_with_wrong_check_digits_says_what_would_be_right(mirror: Catalogued) -> None:
    said = mirror.run("find", "0403.101.812")
    assert (said.code, said.out) == (ExitCode.FAILED, "")
    assert "0403.101.812 is no enterprise number" in said.err
    assert "it would be 0403.101.811" in said.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("0403.101.811", "No filing of 0403.101.811 is known here."),
        ("2026-99999999", "No filing 2026-99999999 is known here."),
        ("no such name", "No name here holds 'no such name'"),
    ],
)
def test_what_is_not_found_is_said_with_what_this_mirror_holds(
    mirror: Catalogued, asked: str, told: str
) -> None:
    said = mirror.run("find", asked)
    assert (said.code, said.out) == (ExitCode.FAILED, "")
    assert told in said.err
    assert "published since 2026-11-16" in said.err
    as_json = mirror.run("find", asked, "--json")
    assert (as_json.code, as_json.err) == (ExitCode.FAILED, "")
    assert told in as_json.json["remarks"][0]


@pytest.mark.slow
def test_what_was_forgotten_is_said_to_be(mirror: Catalogued, tmp_path: Path) -> None:
    spoiled = mirror.copy(tmp_path / "copy")
    with ManifestWriter(spoiled.root / "manifest.db", clock_now=lambda: 0.0) as writer:
        writer.bury([Tombstone("2026-99999999", False, 1_795_000_000.0, "order 12")])
    said = spoiled.run("find", "2026-99999999")
    assert (
        "2026-99999999 was forgotten on an operator's order at 2026-11-18 11:06 UTC (order 12); not every trace is erased yet."
        in said.err
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM progress", "The catalogue is being made from the stored files"),
        (
            "UPDATE progress SET followed_seq = followed_seq - 7",
            "The catalogue is 7 events behind the manifest",
        ),
    ],
)
def test_a_catalogue_that_is_not_complete_is_named_as_the_cause(
    mirror: Catalogued, tmp_path: Path, statement: str, told: str
) -> None:
    spoiled = mirror.copy(tmp_path / "copy")
    assert "behind" not in spoiled.run("find", "2026-99999999").err
    with contextlib.closing(
        sqlite3.connect(spoiled.root / "catalogue.db", isolation_level=None)
    ) as connection:
        connection.execute(statement)
    assert told in spoiled.run("find", "2026-99999999").err
    said = spoiled.run("find", mirror.records()[0]["referencenumber"])
    assert said.code == ExitCode.OK
    assert (told in said.out) == ("being made" in told)


@pytest.mark.slow
def test_without_a_catalogue_the_remedy_is_told(mirror: Catalogued, tmp_path: Path) -> None:
    spoiled = mirror.copy(tmp_path / "copy")
    for path in spoiled.root.glob("catalogue.db*"):
        path.unlink()
    said = spoiled.run("find", REF)
    assert said.code == ExitCode.STORE
    assert "`filingd run` makes it from the stored files" in said.err


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "told"), [([], "Say WHAT to find"), (["zz"], "at least 3 letters")])
def test_what_cannot_be_looked_for_is_told(mirror: Catalogued, asked: list[str], told: str) -> None:
    said = mirror.run("find", *asked)
    assert said.code in (ExitCode.USAGE, ExitCode.FAILED)
    assert told in said.err


@pytest.mark.slow
def test_the_schema_is_printed(mirror: Catalogued) -> None:
    assert mirror.run("find", "--schema").json == find_report.schema()


# ------------------------------------------------------------------------------------------ the report by itself


def source(day: str | None, dataset: str, family: str = "nbb/authentic") -> Source:
    return Source(f"{family}/{day}/{dataset}", 1, f"{family}/{day}/{dataset}.zip", family, day)


def listing(day: str, number: str | None = "0999000129", **fields: Any) -> Listing:
    filing = Filing(REF, enterprise=number, member=f"{REF}.json", **fields)
    return Listing(filing, source(day, "references"), number)


ENTRY = Entry(
    REF,
    (
        listing("2026-12-01", variant="corrected", enterprise_name="ALFA NV", improvement_date="2026-11-30",
                corrected_data="AA", data_version="Corrected"),
        listing("2026-11-20", enterprise_name="VOORBEELD ALFA", deposit_date="2026-06-24", model="m87-f",
                deposit_type="Correction", exercise_start="2025-01-01", exercise_end="2025-12-31", language="NL"),
    ),
    (
        Document(DocumentPlace(REF, "json", 21034, None, f"{REF}.json", 60, 2200, 8, 7), source("2026-11-20", "json")),
        Document(DocumentPlace(REF, "json", 900, "corrected", f"{REF}-aa-corrected.json", 60, 90, 8, 8),
                 source("2026-12-01", "json", "nbb/improved")),
        Document(DocumentPlace(REF, "pdf", 5), Source("k", 1, f"nbb/documents/2026/00999/{REF}.pdf", "nbb/authentic")),
    ),
)  # fmt: skip
TEXT = f"""\
{REF}  deposited 2026-06-24  exercise 2025-01-01 to 2025-12-31  m87-f  Correction  NL
    published 2026-11-20
    improved by the registry: corrected (AA) on 2026-11-30, published 2026-12-01
    json                        21,034 bytes  nbb/authentic/2026-11-20/json.zip » {REF}.json
    json corrected                 900 bytes  nbb/improved/2026-12-01/json.zip » {REF}-aa-corrected.json
    pdf                              5 bytes  nbb/documents/2026/00999/{REF}.pdf"""


def test_a_filing_is_told_by_its_own_record_first() -> None:
    assert "\n".join(lines_of_filing(filing_of(ENTRY))) == TEXT
    assert filing_of(ENTRY).name == "VOORBEELD ALFA"


def test_a_filing_without_record_or_document_says_so() -> None:
    bare = Entry(REF, (), ())
    assert list(lines_of_filing(filing_of(bare))) == [
        f"{REF}  deposited ?", "    no list of references speaks of it", "    no document of it is held"
    ]  # fmt: skip


def test_a_company_has_all_its_names_and_the_newest_is_its_own() -> None:
    company = company_of("0999000129", [ENTRY])
    assert company.names == ["VOORBEELD ALFA", "ALFA NV"]
    assert (company.filings, company.reference) == (1, REF)


def test_a_company_without_a_number_is_told_without_one() -> None:
    report = find_report.FindReport(
        1,
        "alfa",
        "name",
        [company_of(None, [ENTRY]), company_of("0999000129", [ENTRY, ENTRY])],
        [],
        False,
        [],
    )
    assert list(find_lines(report, 20, shown)) == [
        f"no number     VOORBEELD ALFA / ALFA NV  (1 filing, newest {REF})",
        f"0999.000.129  VOORBEELD ALFA / ALFA NV  (2 filings, newest {REF})",
    ]


def test_the_documented_report_is_the_one_the_program_makes() -> None:
    text = (ROOT / "docs" / "find-json.md").read_text("utf-8")
    assert text == find_report.as_markdown(), (
        "write it anew: python -m filingd.cli.find_report > docs/find-json.md"
    )
