"""What the numbers of lists, and the results of searches, will take: counted from the lists and the manifest as they are."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from filingd.core import ledger
from filingd.core.model import HOLDING_STATES, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.core.model import Item
    from filingd.core.watchlist import Reading, Terms
    from filingd.ports import Companies, Registry

_CHUNK = 5000
_PAGE = 1000
_DEFAULT_ZONE = "UTC"


class FollowedCalls(NamedTuple):
    """Calls by lane that are due now, and those that come until the month ends. `searches` have not been asked yet; `leads` are
    answers still to come that will name further numbers."""

    due_now: Counter[str]
    this_month: Counter[str]
    searches: list[str]
    leads: int


def followed_calls(
    registry: Registry, readings: Sequence[Reading], reader: ManifestReader | None, now: float
) -> FollowedCalls:
    """Plan as the daemon would. `readings` are those of each of the registry's kinds of lists, in order."""
    found = FollowedCalls(Counter(), Counter(), [], 0)
    zone = next((account.zone for account in registry.accounts()), _DEFAULT_ZONE)
    month_ends_at = ledger.month_ends_at(
        ledger.month_at(now, zoneinfo.ZoneInfo(zone)), zoneinfo.ZoneInfo(zone)
    )
    leads = 0
    for companies, reading in zip(registry.companies, readings, strict=True):
        companies.follow(reading.watched, reading.searches)
        watched = _watched(companies, reading, reader)
        companies.follow(watched)
        found.searches.extend(_unasked(companies, reading, reader))
        for item in _planned(companies, list(watched), reader, now):
            if item.due_at is not None and item.due_at < month_ends_at:
                (found.due_now if item.due_at <= now else found.this_month)[item.lane] += 1
            is_lead = item.key.startswith(tuple(companies.lead_prefixes)) and item.due_at is not None
            if is_lead and item.state is State.DUE and companies.lead_terms(item.key, watched):
                leads += 1
    return found._replace(leads=leads)


def _watched(companies: Companies, reading: Reading, reader: ManifestReader | None) -> Mapping[str, Terms]:
    from filingd.engine.leads import united

    if reader is None or not companies.lead_prefixes:
        return reading.watched
    named = {key: names for key, names in _named(companies, reader) if names}
    return united(companies, named, reading.watched)


def _named(companies: Companies, reader: ManifestReader) -> Iterator[tuple[str, tuple[str, ...]]]:
    for prefix in companies.lead_prefixes:
        after = ""
        while page := reader.with_prefix(prefix, after, _PAGE, HOLDING_STATES):
            for key, version in reader.current_versions(item.key for item in page).items():
                yield key, tuple(companies.named(version.facts))
            after = page[-1].key


def _unasked(companies: Companies, reading: Reading, reader: ManifestReader | None) -> Iterator[str]:
    for name in sorted(reading.searches):
        prefix = companies.search_prefix(name)
        if reader is None or prefix is None or not reader.with_prefix(prefix, "", 1, HOLDING_STATES):
            yield name


def _planned(
    companies: Companies, numbers: Sequence[str], reader: ManifestReader | None, now: float
) -> Iterator[Item]:
    """The items about these numbers, as they are after the next comparison."""
    ahead = 0
    for start in range(0, len(numbers), _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        keys = [key for number in chunk for key in companies.keys(number)]
        known = dict(reader.items(keys)) if reader is not None else {}
        changes = companies.plan(chunk, known, now, ahead)
        ahead += sum(change.before is None for change in changes)
        known.update((change.item.key, change.item) for change in changes)
        yield from known.values()
