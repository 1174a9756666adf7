"""One timeline: publication days, the products that serve a day at its age, and the order in which days are worked off.

What is known of the windows is rough (NBB reference, section 6.2): the extract serves a day from the next day on until
about its 30th day, the archive from about then for three years. Where an edge may lie, both products are asked, and
"not found" is no proof of anything (`is_doubtful`).
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING

import msgspec

from filingd.core import calendar

if TYPE_CHECKING:
    from filingd.core.model import Item
    from filingd.registries.nbb.rules import NbbRules

REFERENCES = "references"

# Reasons of items that wait or cannot be had.
NOT_PUBLISHED_YET = "not_published_yet"
WAITS_FOR_ARCHIVE = "waits_for_archive"
NO_ROUTE = "no_route"  # its window is open, but at a product that is not subscribed
OUTSIDE_WINDOW = "outside_window"  # older than anything the archive keeps
NOT_WANTED = "not_wanted"  # the operator took the dataset or the day out of the configuration
ROLLED_OUT = "rolled_out"  # the archive was asked for it past its nominal edge, and no longer had it

# Order of work (DESIGN): what is new, what will be lost soonest, the rest newest first.
_CLASS_NEW = 0
_CLASS_CLOSING = 10_000_000
_CLASS_REST = 20_000_000
_CLOSING_DAYS = 3
_LAST_ORDINAL = 900_000  # later than any publication day; makes "newest first" an ascending number


class Place(msgspec.Struct, frozen=True):
    """Where an item stands on the timeline: its lane, its rank in it, and when it can be asked for first."""

    lane: str
    priority: int
    opens_at: float | None  # None: no subscribed product will ever serve it
    reason: str | None = None
    served_from: float = 0.0  # what an operator who asks again by hand need not wait beyond


# ------------------------------------------------------------------------------------------------- names


def day_of(key: str) -> dt.date:
    """The publication day an item or group key speaks of."""
    return dt.date.fromisoformat(key.split("/")[2])


def lane_name(product: str) -> str:
    """The lane of a product."""
    return f"nbb/{product}"


# ------------------------------------------------------------------------------------------------- windows


def first_open_at(rules: NbbRules, day: dt.date) -> float:
    """When a day counts as published: the settling hour of the next day (section 6.2)."""
    return _settled_at(rules, day, 1)


def products_at(rules: NbbRules, age_days: int) -> tuple[str, ...]:
    """The subscribed products that may serve a day of this age, the likeliest first (section 6.2, edge rule)."""
    windows = (
        (rules.family.current, 1, rules.extract_last_try_age_days),
        (rules.family.archive, rules.archive_min_age_days, _archive_last_try_age(rules)),
    )
    return tuple(name for name, low, high in windows if name in rules.products and low <= age_days <= high)


def is_doubtful(rules: NbbRules, age_days: int) -> bool:
    """Whether "not found" may mean at this age that the day has left one window and not yet entered the next.

    The extract is trusted as many days below its nominal edge as it is tried above it (28 to 33 for an edge of 30),
    the archive from `edge_give_up_age_days` on until the same slack before its own far edge. Where the operator
    says that the edge is known (all three ages equal), there is no doubt.
    """
    tried_beyond = rules.extract_last_try_age_days - rules.extract_max_age_days
    first = rules.extract_max_age_days - tried_beyond + 1
    return first <= age_days <= rules.edge_give_up_age_days or _is_at_far_edge(rules, age_days)


def may_be_refused_as_invalid(rules: NbbRules, age_days: int) -> bool:
    """Whether a date of this age may lie outside the window of whoever is asked (section 11, row 3)."""
    band_begins = min(rules.archive_min_age_days, rules.extract_max_age_days)
    band_ends = max(rules.extract_last_try_age_days, rules.edge_give_up_age_days)
    return age_days <= 1 or band_begins <= age_days <= band_ends or _is_at_far_edge(rules, age_days)


def next_recheck_at(rules: NbbRules, day: dt.date, after_at: float) -> float | None:
    """When a day should next be fetched again and compared: at the configured ages, while a product serves it."""
    instants = (
        _settled_at(rules, day, age) for age in sorted(rules.recheck_ages_days) if products_at(rules, age)
    )
    return next((at for at in instants if at > after_at), None)


def is_served_at(rules: NbbRules, day: dt.date, at: float) -> bool:
    """Whether any subscribed product serves the day at that instant."""
    return bool(products_at(rules, calendar.age_days(day, at, rules.zone)))


def is_working_day(day: dt.date) -> bool:
    """Whether the bank can be expected to publish: a weekday on which Belgium and its banks are not closed."""
    return day.weekday() < 5 and day not in _belgian_holidays(day.year)


def _settled_at(rules: NbbRules, day: dt.date, age_days: int) -> float:
    return calendar.instant_of(calendar.later_by(day, age_days), rules.settles_at, rules.zone)


def _archive_last_try_age(rules: NbbRules) -> int:
    return rules.archive_max_age_days + rules.edge_slack_days


def _is_at_far_edge(rules: NbbRules, age_days: int) -> bool:
    return age_days > rules.archive_max_age_days - rules.edge_slack_days


@functools.lru_cache(maxsize=64)
def _belgian_holidays(year: int) -> frozenset[dt.date]:
    import holidays  # here, because it takes a tenth of a start and is wanted only where a day has nothing

    return frozenset(holidays.country_holidays("BE", years=year, categories=("public", "bank")))


# ------------------------------------------------------------------------------------------------- places


def place(rules: NbbRules, day: dt.date, dataset: str, now: float, refusals: int = 0) -> Place:
    """Where the item of this day and dataset waits now.

    Where two products serve the day, each refusal (nothing there, or a failure) sends it to the other one.
    """
    age = max(calendar.age_days(day, now, rules.zone), 1)
    priority = _priority(rules, day, dataset, age)
    serving = products_at(rules, age)
    if serving:
        product = serving[refusals % len(serving)]
        opens_at = _opens_at(rules, day, product)
        served_from = first_open_at(rules, day) if product == rules.family.current else opens_at
        return Place(lane_name(product), priority, opens_at, served_from=served_from)
    archive = rules.family.archive
    if archive in rules.products and age < rules.archive_min_age_days:
        opens_at = _opens_at(rules, day, archive)
        return Place(lane_name(archive), priority, opens_at, WAITS_FOR_ARCHIVE, opens_at)
    any_lane = lane_name(next(iter(rules.products), rules.family.current))
    reason = OUTSIDE_WINDOW if age > _archive_last_try_age(rules) else NO_ROUTE
    return Place(any_lane, priority, None, reason)


def refusals_of(item: Item) -> int:
    """How often the item was asked for in vain in the present series."""
    return item.nothing_count + item.attempts


def _opens_at(rules: NbbRules, day: dt.date, product: str) -> float:
    """When a product is first asked: a new day at the installation's own moment, lest all ask at once (section 13)."""
    age = 1 if product == rules.family.current else max(rules.archive_min_age_days, 1)
    if age > 1:
        return _settled_at(rules, day, age)
    return calendar.instant_of(
        calendar.later_by(day, 1), max(rules.first_try_at, rules.settles_at), rules.zone
    )


def priority_at(rules: NbbRules, day: dt.date, dataset: str, now: float) -> int:
    """The rank, in whatever lane, of what belongs to this day and dataset."""
    return _priority(rules, day, dataset, max(calendar.age_days(day, now, rules.zone), 1))


def _priority(rules: NbbRules, day: dt.date, dataset: str, age: int) -> int:
    # References come first whatever the order in the configuration: documents are judged by them.
    datasets = rules.family.datasets
    rank = datasets.index(dataset) if dataset in datasets else len(datasets)
    if age <= 1:
        return _CLASS_NEW + rank
    if _is_closing(rules, age):
        return _CLASS_CLOSING + day.toordinal() * 10 + rank
    return _CLASS_REST + (_LAST_ORDINAL - day.toordinal()) * 10 + rank


def _is_closing(rules: NbbRules, age: int) -> bool:
    """Whether a window that is open to us closes within days, or may have closed already."""
    edges = (
        (rules.family.current, rules.extract_max_age_days, rules.extract_last_try_age_days),
        (rules.family.archive, rules.archive_max_age_days, _archive_last_try_age(rules)),
    )
    return any(
        name in rules.products and last - _CLOSING_DAYS <= age <= last_try for name, last, last_try in edges
    )
