"""The companies of watchlists, as `filingd status` and `filingd plan` tell of them: by lane, without reading any list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.cli.instants import iso_minute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.status_report import FollowedReport

LANES = ("nbb/authentic-query", "nbb/improved")


def followed_companies(reader: ManifestReader, now: float) -> list[FollowedReport]:
    """Those lanes on which companies are asked about."""
    from filingd.cli.status_report import FollowedReport
    from filingd.registries.nbb.ranks import RANK_COMPANY

    found = [FollowedReport(lane, *reader.scheduled_at(lane, RANK_COMPANY, now)) for lane in LANES]
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
