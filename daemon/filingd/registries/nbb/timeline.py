"""One timeline: which items should exist, by which products they can be had at their age, and in which order."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import holidays

from filingd.core import calendar
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import LEASED_STATES, Change, Item, State, leaf_of
from filingd.registries.nbb.routes import AUTHENTIC_ARCHIVE, EXTRACT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.registries.nbb.rules import NbbRules

FAMILY = "nbb/authentic"
REFERENCES = "references"
NO_ROUTE = "no_route"
OUTSIDE_WINDOW = "outside_window"

# Order of work (DESIGN): what is new, what will be lost soonest, the rest newest first.
_CLASS_NEW = 0
_CLASS_CLOSING = 10_000_000
_CLASS_REST = 20_000_000
_CLOSING_DAYS = 3
_LAST_ORDINAL = 900_000  # later than any publication day; makes "newest first" an ascending number


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands on the timeline: its lane, its rank in it, and when it can be asked for first."""

    lane: str
    priority: int
    opens_at: float | None  # None: no subscribed product will ever serve it
    reason: str | None = None


def key_for(day: dt.date, dataset: str) -> str:
    """The item key of one dataset of one publication day."""
    return f"{FAMILY}/{day.isoformat()}/{dataset}"


def day_of(key: str) -> dt.date:
    """The publication day an item or group key speaks of."""
    parts = key.split("/")
    return dt.date.fromisoformat(parts[2])


def lane_name(product: str) -> str:
    """The lane of a product."""
    return f"nbb/{product}"


def first_open_at(rules: NbbRules, day: dt.date) -> float:
    """When a day counts as published: the settling hour of the next day (section 6.2)."""
    return calendar.instant_of(calendar.later_by(day, 1), rules.settles_at, rules.zone)


def products_at(rules: NbbRules, age_days: int) -> tuple[str, ...]:
    """The subscribed products that may serve a day of this age, the likeliest first (section 6.2, edge rule)."""
    windows = (
        (EXTRACT, 1, rules.extract_last_try_age_days),
        (AUTHENTIC_ARCHIVE, rules.archive_min_age_days, rules.archive_max_age_days + rules.edge_slack_days),
    )
    return tuple(name for name, low, high in windows if name in rules.products and low <= age_days <= high)


def place(rules: NbbRules, day: dt.date, dataset: str, now: float, refusals: int = 0) -> Place:
    """Where the item of this day and dataset waits now.

    Where two products serve the day, each refusal (nothing there, or a failure) sends it to the other one.
    """
    age = calendar.age_days(day, now, rules.zone)
    serving = products_at(rules, max(age, 1))
    priority = _priority(rules, day, dataset, age)
    if serving:
        product = serving[refusals % len(serving)]
        return Place(lane_name(product), priority, first_open_at(rules, day))
    if AUTHENTIC_ARCHIVE in rules.products and age < rules.archive_min_age_days:
        opens_on = calendar.later_by(day, rules.archive_min_age_days)
        opens_at = calendar.instant_of(opens_on, rules.settles_at, rules.zone)
        return Place(lane_name(AUTHENTIC_ARCHIVE), priority, opens_at, "waits_for_archive")
    fallback = lane_name(next(iter(rules.products), EXTRACT))
    too_old = age > rules.archive_max_age_days + rules.edge_slack_days
    return Place(fallback, priority, None, OUTSIDE_WINDOW if too_old else NO_ROUTE)


def expected_keys(rules: NbbRules, now: float) -> list[str]:
    """Every dataset of every calendar day from `since` to yesterday, weekends included, oldest first."""
    yesterday = calendar.later_by(calendar.day_at(now, rules.zone), -1)
    return [
        key_for(day, dataset)
        for day in calendar.days_from(rules.since, yesterday)
        for dataset in rules.datasets
    ]


def plan(rules: NbbRules, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
    """What has to change so that every expected item exists and waits in the right place."""
    changes = (_planned(rules, key, known.get(key), now) for key in expected_keys(rules, now))
    return [change for change in changes if change is not None]


def refusals_of(item: Item) -> int:
    """How often the item was asked for in vain in the present series."""
    return item.nothing_count + item.attempts


def next_recheck_at(rules: NbbRules, day: dt.date, stored_at: float) -> float | None:
    """When a stored day should be fetched again and compared: at the configured ages, while a product serves it."""
    for age in sorted(rules.recheck_ages_days):
        at = calendar.instant_of(calendar.later_by(day, age), rules.settles_at, rules.zone)
        if at > stored_at and products_at(rules, age):
            return at
    return None


def is_working_day(day: dt.date) -> bool:
    """Whether the bank can be expected to publish: a weekday that is no Belgian public holiday."""
    return day.weekday() < 5 and day not in _belgian_holidays(day.year)


@functools.lru_cache(maxsize=64)
def _belgian_holidays(year: int) -> frozenset[dt.date]:
    return frozenset(holidays.country_holidays("BE", years=year, categories=("public", "bank")))


def _priority(rules: NbbRules, day: dt.date, dataset: str, age: int) -> int:
    rank = rules.datasets.index(dataset) if dataset in rules.datasets else len(rules.datasets)
    if age <= 1:
        return _CLASS_NEW + rank
    last_age = (
        rules.archive_max_age_days if AUTHENTIC_ARCHIVE in rules.products else rules.extract_max_age_days
    )
    closing_ages = (rules.extract_max_age_days, last_age)
    if any(last - _CLOSING_DAYS <= age <= last for last in closing_ages):
        return _CLASS_CLOSING + day.toordinal() * 10 + rank
    return _CLASS_REST + (_LAST_ORDINAL - day.toordinal()) * 10 + rank


def _planned(rules: NbbRules, key: str, known: Item | None, now: float) -> Change | None:
    where = place(rules, day_of(key), leaf_of(key), now, refusals_of(known) if known else 0)
    if known is None:
        return Change(None, _new_item(key, where))
    if known.state in LEASED_STATES:
        return None
    if known.state is State.ABSENT and known.reason in {NO_ROUTE, OUTSIDE_WINDOW}:
        return _revived(known, where)
    if known.due_at is None or (known.lane, known.priority) == (where.lane, where.priority):
        return None
    return Change(known.state, replace(known, lane=where.lane, priority=where.priority))


def _new_item(key: str, where: Place) -> Item:
    state = State.DUE if where.opens_at is not None else State.ABSENT
    return Item(key, where.lane, state, where.priority, where.opens_at, reason=where.reason)


def _revived(known: Item, where: Place) -> Change | None:
    if where.opens_at is None:
        return None
    state = next_state(known.state, Event.RETRIED)
    return Change(known.state, replace(known, state=state, lane=where.lane, priority=where.priority,
                                       due_at=where.opens_at, reason=where.reason, attempts=0))  # fmt: skip
