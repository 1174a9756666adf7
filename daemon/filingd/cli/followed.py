"""What follows from lists and saved searches, as `filingd status` and `filingd plan` tell of it, without reading any list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.cli.instants import iso_minute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.status_report import FollowedReport, SearchStatusReport
    from filingd.core.model import Group

NBB_LANES = ("nbb/authentic-query", "nbb/improved")
SEARCHES = "kvk/searches/"
_OPEN_SHOWN = 5


def followed_companies(reader: ManifestReader, now: float) -> list[FollowedReport]:
    """The lanes on which numbers of lists are asked about."""
    from filingd.cli.status_report import FollowedReport
    from filingd.registries.kvk.ranks import RANK_NUMBER
    from filingd.registries.nbb.ranks import RANK_COMPANY

    ranks = dict.fromkeys(NBB_LANES, RANK_COMPANY)
    ranks |= {lane: RANK_NUMBER for lane in sorted(reader.scheduled_counts()) if lane.startswith("kvk/")}
    found = [FollowedReport(lane, *reader.scheduled_at(lane, rank, now)) for lane, rank in ranks.items()]
    return [each for each in found if each.companies]


def companies_lines(found: Sequence[FollowedReport]) -> Iterator[str]:
    """The same for people."""
    if found:
        yield ""
        yield "companies"
    for each in found:
        due = f"{each.due:,} due" if each.due else "none due"
        following = f", next {iso_minute(each.next_due_at)}" if each.next_due_at is not None else ""
        yield f"  {each.lane:<24} {each.companies:,} followed, {due}{following}"


def searches_in(reader: ManifestReader) -> list[SearchStatusReport]:
    """The saved searches that are asked again; what is left of others is passed over."""
    from filingd.cli.status_report import SearchStatusReport

    cells: dict[str, list[Group]] = {}
    for group in reader.groups(SEARCHES):
        cells.setdefault(group.key.rpartition("/")[0], []).append(group)
    return [
        SearchStatusReport(
            search,
            len(groups),
            sum(group.sealed_at is not None for group in groups),
            {group.key: list(group.reasons) for group in groups if group.sealed_at is None},
        )
        for search, groups in cells.items()
        if any(item.due_at is not None for group in groups for item in reader.group_items(group.key))
    ]


def searches_lines(found: Sequence[SearchStatusReport]) -> Iterator[str]:
    """The same for people."""
    if found:
        yield ""
        yield "searches"
    for each in found:
        yield f"  {each.search}  {each.sealed} of {each.cells} parts complete"
        for cell, reasons in list(each.open.items())[:_OPEN_SHOWN]:
            yield f"    {cell.rpartition('/')[2]}: {'; '.join(reasons)}"
        if len(each.open) > _OPEN_SHOWN:
            yield f"    … and {len(each.open) - _OPEN_SHOWN} more (all of them: filingd status --json)"
