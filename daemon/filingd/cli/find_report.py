"""What `filingd find` knows, as one value: the JSON for programs is this value, the text for people is made of it.

Dates are as filed; sizes are in bytes. Fields may be added; they are never renamed or removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Struct, field

from filingd.cli.export_line import ExportLine  # noqa: TC001 - msgspec needs it when the program runs
from filingd.cli.schemas import markdown_of, schema_of
from filingd.cli.schemas import says as _says
from filingd.core.catalogue import ANY_VARIANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from filingd.core.catalogue import Document, Entry, Listing

FORMAT = 1
_PREAMBLE = """\
# filingd find --json

One object. Dates are as filed, sizes in bytes, paths relative to the store. Fields may be added; they are never renamed or
removed. `filingd find --schema` prints the JSON Schema.

```
filingd find 0403.101.811 --json | jq -r '.filings[] | [.reference, .deposited_on, .model] | @tsv'
filingd find zwamberg --json | jq -r '.companies[].enterprise'
```
"""
_SHOWN_MEMBER = " » "


class DocumentReport(Struct, frozen=True):
    """One document, and where it lies."""

    kind: Annotated[str, _says("json, xbrl or pdf")]
    variant: Annotated[
        str | None,
        _says(
            "null: as filed. Else what the registry made of it: corrected, pdf_extracted, euro_converted; ? if its label "
            "is not known"
        ),
    ]
    path: Annotated[str, _says("the file it lies in")]
    member: Annotated[str | None, _says("its name in that zip; null if the file is the document")]
    offset: Annotated[int, _says("the byte of the file at which its data begins")]
    packed_bytes: Annotated[int, _says("how long its data is there")]
    method: Annotated[int, _says("how it is packed: 0 stored, 8 deflated")]
    size_bytes: Annotated[int, _says("its size, unpacked")]
    crc32: Annotated[int | None, _says("its checksum; null if the file is the document")]
    key: Annotated[str, _says("the item, such as nbb/authentic/2026-11-20/json")]
    version: Annotated[int, _says("the version of the item")]
    published_on: Annotated[str | None, _says("the publication day; null if it came by itself")]


class ListingReport(Struct, frozen=True):
    """One record that speaks of the filing, and where it was read."""

    published_on: Annotated[str | None, _says("the publication day; null if it was asked for by itself")]
    variant: Annotated[str | None, _says("null: the filing itself. Else the improvement it announces")]
    improvement_date: Annotated[str | None, _says("when the registry improved the data")]
    corrected_data: Annotated[str | None, _says("what it corrected: AA annual accounts, SB social balance")]
    key: Annotated[str, _says("the item")]
    path: Annotated[str, _says("the file it lies in")]
    member: Annotated[str | None, _says("its name in that zip; null if the file is the answer to a query")]


class FilingReport(Struct, frozen=True):
    """One filing: fields of its own record, then of any other that has them; null where none has."""

    reference: Annotated[str, _says("the registry's name for it")]
    enterprise: Annotated[str | None, _says("the number of the enterprise, in plain form")]
    name: Annotated[str | None, _says("the name of the enterprise, as filed")]
    deposited_on: Annotated[str | None, _says("the day of deposit")]
    exercise_start: Annotated[str | None, _says("the first day of the exercise")]
    exercise_end: Annotated[str | None, _says("the last day of the exercise")]
    model: Annotated[str | None, _says("the model, such as m87-f; one that ends in -p was filed as PDF")]
    deposit_type: Annotated[str | None, _says("Initial, Correction or Complementary")]
    language: Annotated[str | None, _says("the language")]
    currency: Annotated[str | None, _says("the currency")]
    legal_form: Annotated[str | None, _says("the code of the legal form")]
    listings: Annotated[list[ListingReport], _says("the records that speak of it, newest first")]
    documents: Annotated[list[DocumentReport], _says("by kind, newest first")]


class CompanyReport(Struct, frozen=True):
    """One enterprise."""

    enterprise: Annotated[
        str | None,
        _says("its number, in plain form, or as filed where it has none; null if no record gives one"),
    ]
    names: Annotated[list[str], _says("its names, as filed, the newest first")]
    filings: Annotated[int, _says("how many filings of it are known")]
    reference: Annotated[str | None, _says("its newest filing")]


class FindReport(Struct, frozen=True):
    """The answer of `filingd find --json`."""

    format: Annotated[int, _says("the format of this report: 1")]
    asked: Annotated[str, _says("what was asked for")]
    understood_as: Annotated[
        Literal["enterprise", "filing", "name", "number"],
        _says(
            "what it was taken for: an enterprise number, a reference, part of a name, a number of another registry"
        ),
    ]
    companies: Annotated[list[CompanyReport], _says("the enterprises it fits, by name")]
    filings: Annotated[
        list[FilingReport], _says("the filings, newest deposit first; none if several enterprises fit")
    ]
    more: Annotated[bool, _says("whether there are more companies or filings than --limit allows")]
    remarks: Annotated[list[str], _says("what else to know, in sentences: why nothing may have been found")]
    records: Annotated[
        list[ExportLine],
        _says("records that are held of a number, as `filingd export --no-body` writes them"),
    ] = field(default_factory=list)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    return schema_of(FindReport, "filingd find --json")


def as_markdown() -> str:
    """The text of docs/find-json.md."""
    return f"{_PREAMBLE}\n{markdown_of(schema())}"


# ------------------------------------------------------------------------------------------ from the catalogue


def company_of(enterprise: str | None, entries: Sequence[Entry]) -> CompanyReport:
    """An enterprise by all its filings, newest first."""
    names = (listing.filing.enterprise_name for entry in entries for listing in _own_first(entry.listings))
    return CompanyReport(
        enterprise,
        list(dict.fromkeys(name for name in names if name)),
        len(entries),
        entries[0].reference if entries else None,
    )


def filing_of(entry: Entry) -> FilingReport:
    """One filing with its records and documents."""
    records = _own_first(entry.listings)

    def first(look: Callable[[Listing], str | None]) -> str | None:
        return next((value for value in map(look, records) if value), None)

    return FilingReport(
        reference=entry.reference,
        enterprise=first(lambda one: one.enterprise),
        name=first(lambda one: one.filing.enterprise_name),
        deposited_on=first(lambda one: one.filing.deposit_date),
        exercise_start=first(lambda one: one.filing.exercise_start),
        exercise_end=first(lambda one: one.filing.exercise_end),
        model=first(lambda one: one.filing.model),
        deposit_type=first(lambda one: one.filing.deposit_type),
        language=first(lambda one: one.filing.language),
        currency=first(lambda one: one.filing.currency),
        legal_form=first(lambda one: one.filing.legal_form),
        listings=[_listing(one) for one in entry.listings],
        documents=[_document(one) for one in entry.documents],
    )


def _own_first(listings: Iterable[Listing]) -> list[Listing]:
    """Records of the filing itself before those of its improvements, which may lack fields or say other ones."""
    return sorted(listings, key=lambda one: one.filing.variant is not None)


def _listing(one: Listing) -> ListingReport:
    filing, source = one.filing, one.source
    return ListingReport(
        published_on=source.published_on,
        variant=filing.variant,
        improvement_date=filing.improvement_date,
        corrected_data=filing.corrected_data,
        key=source.key,
        path=source.path,
        member=filing.member,
    )


def _document(one: Document) -> DocumentReport:
    place, source = one.place, one.source
    return DocumentReport(
        kind=place.kind,
        variant=place.variant,
        path=source.path,
        member=place.member,
        offset=place.offset,
        packed_bytes=place.packed_bytes,
        method=place.method,
        size_bytes=place.size_bytes,
        crc32=place.crc32,
        key=source.key,
        version=source.version,
        published_on=source.published_on,
    )


# ------------------------------------------------------------------------------------------ text


def find_lines(report: FindReport, limit: int, shown: Callable[[str], str]) -> Iterator[str]:
    """The text for people. `shown` writes an enterprise number as people do."""
    if len(report.companies) > 1 or (report.companies and not report.filings):
        yield from _company_lines(report, limit, shown)
    elif report.filings:
        yield from _filing_lines(report, limit, shown)
    yield from _record_lines(report.records)
    yield from report.remarks


def _record_lines(records: Sequence[ExportLine]) -> Iterator[str]:
    for number in dict.fromkeys(record.number for record in records):
        own = [record for record in records if record.number == number]
        yield f"{number}  {next((record.name for record in own if record.name), 'no name is known')}"
        for record in own:
            told = [
                *(["no unsolicited post (non-mailing)"] if record.non_mailing else []),
                *(["address shielded"] if record.shielded else []),
            ]
            yield f"    {record.part:<22}{record.size_bytes:>12,} bytes  {record.path}  {', '.join(told)}".rstrip()


def _company_lines(report: FindReport, limit: int, shown: Callable[[str], str]) -> Iterator[str]:
    for company in report.companies:
        number = shown(company.enterprise) if company.enterprise else "no number"
        filings = f"{company.filings:,} filing{'s' * (company.filings != 1)}"
        yield f"{number:<14}{' / '.join(company.names) or 'no name'}  ({filings}, newest {company.reference})"
    if report.more:
        yield f"… and more: give more of the name, or raise --limit (now {limit})"


def _filing_lines(report: FindReport, limit: int, shown: Callable[[str], str]) -> Iterator[str]:
    for company in report.companies:
        number = shown(company.enterprise) if company.enterprise else "no enterprise number is known"
        yield f"{number}  {company.names[0] if company.names else 'no name is known'}"
        if company.names[1:]:
            yield f"earlier also {'; '.join(company.names[1:])}"
        if report.understood_as != "filing":
            yield f"{company.filings:,} filing{'s' * (company.filings != 1)}, newest deposit first"
    for filing in report.filings:
        yield ""
        yield from lines_of_filing(filing)
    if report.more:
        yield f"\n… and more: raise --limit (now {limit})"


def lines_of_filing(filing: FilingReport) -> Iterator[str]:
    """What is known of one filing, as text."""
    yield "  ".join([filing.reference, *_own_facts(filing)])
    days = sorted({one.published_on for one in filing.listings if one.variant is None and one.published_on})
    if days:
        yield f"    published {', '.join(days)}"
    if not filing.listings:
        yield "    no list of references speaks of it"
    yield from dict.fromkeys(f"    {_improvement(one)}" for one in filing.listings if one.variant is not None)
    if not filing.documents:
        yield "    no document of it is held"
    for document in filing.documents:
        member = f"{_SHOWN_MEMBER}{document.member}" if document.member else ""
        words = kind_and_variant(document.kind, document.variant)
        yield f"    {words:<22}{document.size_bytes:>12,} bytes  {document.path}{member}"


def _own_facts(filing: FilingReport) -> Iterator[str]:
    yield f"deposited {filing.deposited_on or '?'}"
    if filing.exercise_end:
        yield f"exercise {filing.exercise_start or '?'} to {filing.exercise_end}"
    yield from filter(None, (filing.model, filing.deposit_type, filing.language, filing.currency))


def _improvement(one: ListingReport) -> str:
    what = f" ({one.corrected_data})" if one.corrected_data else ""
    when = f" on {one.improvement_date}" if one.improvement_date else ""
    published = f", published {one.published_on}" if one.published_on else ""
    return f"improved by the registry: {_variant(one.variant)}{what}{when}{published}"


def kind_and_variant(kind: str, variant: str | None) -> str:
    """A document in words: `json`, `json corrected`."""
    return kind if variant is None else f"{kind} {_variant(variant)}"


def _variant(variant: str | None) -> str:
    return "improved otherwise" if variant == ANY_VARIANT else str(variant)


if __name__ == "__main__":
    print(as_markdown(), end="")
