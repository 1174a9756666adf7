"""`filingd find`: the filings of a company, and where each document lies.

Reads the catalogue, and of the numbers of KVK the manifest, while a daemon runs and without one.
Nothing here may import asyncio, aiohttp or rich.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from filingd.cli.not_found import STILL_BEING_MADE
from filingd.cli.options import config_option, json_option, load_settings, opened_catalogue, opened_manifest
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.cli.export_line import ExportLine
    from filingd.cli.find_report import FindReport
    from filingd.core.catalogue import Entry, NameHit
    from filingd.settings import Settings

_KVK_DIGITS = (8, 9, 12)  # a company, an RSIN, a branch
_KVK_ALONE_DIGITS = (8, 12)  # nine may also be an enterprise number without its zero
_HITS_A_COMPANY = 4  # names that are looked at for each company that is shown: one may have several

EXAMPLE = """\b
Examples:
  filingd find 0403.101.811                  # or BE0403101811, 403 101 811
  filingd find 2026-00999001
  filingd find zwamberg                      # part of a name: three letters or more, whatever the case and accents
  filingd find 69599084                      # a number of KVK
  filingd find 0403.101.811 --json | jq -r '.filings[].documents[] | [.kind, .path, .member] | @tsv'

\b
Exit codes: 0 found; 1 nothing was found, or a number has wrong check digits; 4 there is no catalogue yet, or it cannot be read.
"""


@click.command(epilog=EXAMPLE)
@config_option
@json_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of --json, and nothing else."
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True,
    help="At most so many companies, or filings of one; 0: all.",
)  # fmt: skip
@click.argument("what", nargs=-1, metavar="WHAT...")
def find(config_path: Path, as_json: bool, wants_schema: bool, limit: int, what: tuple[str, ...]) -> int:
    """Show the filings of a company, newest first, and where each of their documents lies.

    WHAT is an enterprise number in any usual spelling, a reference number, or a part of a name. A number of KVK (8, 9 or 12
    digits) shows the records that are held of it and of its branches; these are not found by name, but
    `filingd export --no-body` tells their names.
    """
    if wants_schema:
        click.echo(_schema_text())
        return ExitCode.OK
    asked = " ".join(what).strip()
    if not asked:
        raise click.UsageError(
            "Say WHAT to find: an enterprise number, a reference number, or part of a name."
        )
    settings = load_settings(config_path)
    records = _records_of(settings, asked)
    if records or _is_of_kvk_alone(settings, asked):
        report = _of_records(asked, records)
    else:
        with opened_catalogue(settings) as catalogue:
            report = Search(settings, catalogue, asked, limit or sys.maxsize).report()
            if catalogue.followed() is None and (report.companies or report.filings):
                report.remarks.append(STILL_BEING_MADE)
    is_found = bool(report.companies or report.filings or report.records)
    click.echo(_json_text(report) if as_json else _text(report, limit), err=not (as_json or is_found))
    return ExitCode.OK if is_found else ExitCode.FAILED


def _records_of(settings: Settings, asked: str) -> list[ExportLine]:
    """What is held of a number of KVK, and of its branches; a number is looked up as it is written, nothing is repaired."""
    if settings.kvk is None or not (asked.isascii() and asked.isdigit() and len(asked) in _KVK_DIGITS):
        return []
    import msgspec

    from filingd.cli.export import Export, Since
    from filingd.cli.export_line import ExportLine

    with opened_manifest(settings) as manifest:
        export = Export(settings, manifest, "kvk", ())
        return [
            msgspec.json.decode(line, type=ExportLine)
            for page in export.pages([asked], Since(), 0)
            for line in export.lines(page, with_body=False)
        ]


def _is_of_kvk_alone(settings: Settings, asked: str) -> bool:
    """Whether what is asked for can be nothing but a number of KVK."""
    is_number = asked.isascii() and asked.isdigit() and len(asked) in _KVK_DIGITS
    return (
        settings.kvk is not None and is_number and (settings.nbb is None or len(asked) in _KVK_ALONE_DIGITS)
    )


def _of_records(asked: str, records: Sequence[ExportLine]) -> FindReport:
    remarks = (
        []
        if records
        else [f"Nothing is held of {asked}. `filingd watch list {asked}` shows whether it is followed."]
    )
    return _report(asked, "number", records=records, remarks=remarks)


class _Company(NamedTuple):
    """An enterprise that a name led to: its number, if any record gives one, and one of its filings."""

    enterprise: str | None
    reference: str


class Search:
    """One question to the catalogue."""

    def __init__(self, settings: Settings, catalogue: CatalogueReader, asked: str, limit: int) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._asked = asked
        self._limit = limit

    def report(self) -> FindReport:
        """The answer.

        Raises:
            NameFragmentError: a part of a name has fewer than three letters.
            StoreError: the catalogue, or the manifest, cannot be read.
        """
        from filingd.registries.nbb.enterprises import enterprise_number, mistyped
        from filingd.registries.nbb.payloads import reference_of

        number = enterprise_number(self._asked)
        if number is not None:
            return self._of_enterprise(number)
        if reference_of(self._asked) == self._asked:
            return self._of_reference()
        meant = mistyped(self._asked)
        return self._of_name() if meant is None else self._of_mistyped(meant)

    def _of_enterprise(self, number: str) -> FindReport:
        found = self._catalogue.filings_of(number)
        if not found:
            remark = f"No filing of {_shown(number)} is known here."
            return _report(self._asked, "enterprise", remarks=[remark, *self._causes(number)])
        return self._of_company(number, found, "enterprise")

    def _of_company(self, number: str | None, found: Sequence[Entry], understood_as: Any) -> FindReport:
        from filingd.cli.find_report import company_of, filing_of

        return _report(
            self._asked, understood_as, companies=[company_of(number, found)],
            filings=[filing_of(entry) for entry in found[: self._limit]], more=len(found) > self._limit,
        )  # fmt: skip

    def _of_reference(self) -> FindReport:
        from filingd.cli.find_report import filing_of

        entry = self._catalogue.entry(self._asked)
        if entry is None:
            remark = f"No filing {self._asked} is known here."
            return _report(self._asked, "filing", remarks=[remark, *self._causes(self._asked)])
        number = filing_of(entry).enterprise
        return self._of_company(number, [entry], "filing")

    def _of_mistyped(self, meant: str) -> FindReport:
        """A number as filed, however wrong, finds what was filed under it."""
        found = self._catalogue.filings_of(self._asked)
        if found:
            return self._of_company(self._asked, found, "enterprise")
        remark = (
            f"{self._asked} is no enterprise number: its check digits, the last two, do not fit. With the first eight digits "
            f"as they are, it would be {_shown(meant)}."
        )
        return _report(self._asked, "enterprise", remarks=[remark])

    def _of_name(self) -> FindReport:
        from filingd.cli.find_report import company_of

        most_hits = min(self._limit * _HITS_A_COMPANY, sys.maxsize)
        hits = self._catalogue.names_like(self._asked, most_hits + 1)
        companies = self._companies(hits)
        if len(companies) == 1:
            number = companies[0].enterprise
            return self._of_company(number, self._filings(companies[0]), "name")
        if not companies:
            remark = f"No name here holds {self._asked!r}, whatever its case and accents."
            return _report(self._asked, "name", remarks=[remark, *self._causes(self._asked)])
        shown = [company_of(one.enterprise, self._filings(one)) for one in companies[: self._limit]]
        more = len(companies) > self._limit or len(hits) > most_hits
        return _report(self._asked, "name", companies=shown, more=more)

    def _companies(self, hits: Sequence[NameHit]) -> list[_Company]:
        """The enterprises that carry these names, in the order of the names."""
        found: dict[str, _Company] = {}
        for hit in hits:
            number = hit.enterprise or self._number_by_other_records(hit.reference)
            found.setdefault(number or hit.reference, _Company(number, hit.reference))
        return list(found.values())

    def _number_by_other_records(self, reference: str) -> str | None:
        entry = self._catalogue.entry(reference)
        numbers = (listing.enterprise for listing in entry.listings) if entry else ()
        return next((number for number in numbers if number), None)

    def _filings(self, company: _Company) -> Sequence[Entry]:
        """All filings of an enterprise; of one without a number, the one that is known."""
        if company.enterprise is not None:
            return self._catalogue.filings_of(company.enterprise)
        entry = self._catalogue.entry(company.reference)
        return [entry] if entry else []

    def _causes(self, subject: str) -> Iterator[str]:
        from filingd.cli.not_found import causes

        return causes(self._settings, self._catalogue, {subject})


def _report(asked: str, understood_as: Any, **found: Any) -> FindReport:
    from filingd.cli.find_report import FORMAT, FindReport

    empty: dict[str, Any] = {"companies": [], "filings": [], "more": False, "remarks": []}
    return FindReport(format=FORMAT, asked=asked, understood_as=understood_as, **{**empty, **found})


def _text(report: FindReport, limit: int) -> str:
    from filingd.cli.find_report import find_lines

    return "\n".join(find_lines(report, limit, _shown))


def _shown(number: str) -> str:
    from filingd.registries.nbb.enterprises import enterprise_number, shown

    return shown(number) if enterprise_number(number) == number else number


def _json_text(report: FindReport) -> bytes:
    import msgspec

    return msgspec.json.encode(report)


def _schema_text() -> str:
    import json

    from filingd.cli.find_report import schema

    return json.dumps(schema(), indent=2)
