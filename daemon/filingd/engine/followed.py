"""Lets a registry know who is followed, once, for a command that asks or judges without a `watcher.Watcher` at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.engine.leads import Leads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.ports import Companies, Manifest, Registry, Watchlists


async def follow_once(
    registry: Registry, watchlists: Sequence[Watchlists], manifest: Manifest | None
) -> None:
    """Have each kind of companies follow what its lists say, and whom stored bodies name. `watchlists` has one for each of
    `Registry.companies`. Without a manifest nobody knows what bodies name: then there may be more who are followed.
    """
    for companies, lists in zip(registry.companies, watchlists, strict=True):
        await _follow(companies, lists, manifest)


async def _follow(companies: Companies, lists: Watchlists, manifest: Manifest | None) -> None:
    reading = await lists.look()
    if reading is None:
        return
    # What a search finds is followed on the terms of the search: that has to be known first.
    companies.follow(reading.watched, reading.searches, is_whole=False)
    if manifest is not None:
        leads = Leads(companies, manifest)
        await leads.look()
        companies.follow(leads.united(reading.watched), is_whole=reading.is_complete)
