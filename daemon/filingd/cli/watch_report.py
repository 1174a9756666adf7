"""What `filingd watch list` knows, as one value: the JSON for programs is this value, the text for people is made of it.

Instants end in `_at` and are unix seconds (UTC). Fields may be added; they are never renamed or removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Struct, field

from filingd.cli.schemas import markdown_of, schema_of
from filingd.cli.schemas import says as _says

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
_PREAMBLE = """\
# filingd watch list --json

One object. Instants end in `_at` and are unix seconds (UTC). Fields may be added; they are never renamed or removed.
`filingd watch list --schema` prints the JSON Schema.

```
filingd watch list --json | jq -r '.companies[] | select(.filings == 0) | .number'
filingd watch list --limit 0 --json | jq '[.companies[].documents_wanted] | add'
```
"""


class AnswerReport(Struct, frozen=True):
    """One thing that is asked about a company."""

    key: Annotated[str, _says("the item, such as nbb/enterprises/0403101811/references")]
    state: Annotated[
        str | None,
        _says("its state: stored, empty (the registry knows nothing), due…; null if it is not planned yet"),
    ]
    came_at: Annotated[
        float | None,
        _says(
            "when the answer that is stored was last had or confirmed; of empty: since when nothing is known"
        ),
    ]
    next_at: Annotated[float | None, _says("when it is asked next; null: not scheduled")]
    reason: Annotated[str | None, _says("why it waits, or is what it is")]
    facts: Annotated[
        dict[str, Any],
        _says(
            "what the stored answer says of itself, such as `non_mailing` (the address may not be used for unsolicited post), "
            "`shielded` and `api_version`"
        ),
    ] = field(default_factory=dict)


class CompanyReport(Struct, frozen=True):
    """One company that is followed."""

    number: Annotated[str, _says("its number, in plain form")]
    lists: Annotated[list[str], _says("the lists it stands in")]
    name: Annotated[str | None, _says("as its newest filing gives it")]
    note: Annotated[str, _says("what stands behind the number in the first of these lists")]
    answers: Annotated[list[AnswerReport], _says("what is asked about it; empty without a subscription")]
    filings: Annotated[int, _says("its filings that are known")]
    documents: Annotated[int, _says("documents of these filings that are held, wherever they lie")]
    documents_wanted: Annotated[int, _says("documents that are asked for one by one and have not come yet")]
    documents_unavailable: Annotated[
        int, _says("documents that were asked for and that the registry does not have")
    ]
    registry: Annotated[str, _says("its registry, such as nbb")] = ""
    forgotten_at: Annotated[
        float | None,
        _says("when an operator had it forgotten: nothing is asked about it, although a list names it"),
    ] = None


class ListReport(Struct, frozen=True):
    """One watchlist."""

    name: Annotated[str, _says("its name")]
    path: Annotated[str, _says("its file")]
    companies: Annotated[int, _says("how many it names")]
    refresh_interval_s: Annotated[float, _says("how long until a company is asked about again")]
    documents: Annotated[list[str], _says("the kinds of documents that are wanted")]
    latest: Annotated[int, _says("of how many exercises; 0: of all")]
    improved: Annotated[bool, _says("whether improved data are wanted, too")]
    registry: Annotated[str, _says("its registry, such as nbb")] = ""
    terms: Annotated[list[str], _says("on what terms its companies are followed, in words")] = field(
        default_factory=list
    )


class SearchReport(Struct, frozen=True):
    """One saved search. A query with more hits than the registry shows is split into cells."""

    name: Annotated[str, _says("its name")]
    registry: Annotated[str, _says("its registry")]
    path: Annotated[str, _says("its file")]
    search: Annotated[list[str], _says("what is searched for, in words")]
    terms: Annotated[list[str], _says("on what terms the companies are followed that it finds, in words")]
    cells: Annotated[int, _says("cells that are known; 0 before it was asked for the first time")]
    sealed: Annotated[int, _says("of these, cells all of whose hits are held")]
    open: Annotated[list[str], _says("the others, each with the reason")]
    companies: Annotated[int, _says("companies that it found, each counted once")]
    gaps: Annotated[list[str], _says("cells whose parts find less than they do, and what to do")] = field(
        default_factory=list
    )


class WatchReport(Struct, frozen=True):
    """The answer of `filingd watch list --json`."""

    format: Annotated[int, _says("the format of this report: 1")]
    lists: Annotated[list[ListReport], _says("the lists")]
    company_count: Annotated[int, _says("companies that are followed, each counted once")]
    companies: Annotated[list[CompanyReport], _says("the first of them, by number, up to --limit")]
    more: Annotated[bool, _says("whether there are more")]
    problems: Annotated[list[str], _says("lines and files that cannot be used")]
    remarks: Annotated[list[str], _says("what else to know, such as a subscription that is missing")]
    searches: Annotated[list[SearchReport], _says("the saved searches")] = field(default_factory=list)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    return schema_of(WatchReport, "filingd watch list --json")


def as_markdown() -> str:
    """The text of docs/watch-list-json.md."""
    return f"{_PREAMBLE}\n{markdown_of(schema())}"


def as_facts(report: WatchReport) -> Mapping[str, Any]:
    """The report as plain JSON values."""
    import msgspec

    facts: Mapping[str, Any] = msgspec.to_builtins(report)
    return facts


if __name__ == "__main__":
    print(as_markdown(), end="")
