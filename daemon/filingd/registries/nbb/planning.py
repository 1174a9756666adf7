"""Which items should exist, and what has to change so that they do and wait in the right place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import calendar
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import LEASED_STATES, Change, Item, State, leaf_of
from filingd.registries.nbb import timeline
from filingd.registries.nbb.emptiness import OLD_DAYS_FACTOR
from filingd.registries.nbb.rules import DAY_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.registries.nbb.rules import NbbRules
    from filingd.registries.nbb.timeline import Place

# An item with one of these reasons waits for an hour on the calendar and for nothing else.
_CALENDAR_REASONS = frozenset({None, timeline.NOT_PUBLISHED_YET, timeline.WAITS_FOR_ARCHIVE})
_REVIVABLE_REASONS = frozenset({timeline.NO_ROUTE, timeline.OUTSIDE_WINDOW, timeline.NOT_WANTED})
_KEPT_STATES = frozenset({State.STORED, State.EMPTY})


def expected_keys(rules: NbbRules, now: float) -> list[str]:
    """Every dataset of every calendar day from `since` to yesterday, weekends included, oldest first."""
    yesterday = calendar.later_by(calendar.day_at(now, rules.zone), -1)
    return [
        rules.family.key_for(day, dataset)
        for day in calendar.days_from(rules.since, yesterday)
        for dataset in rules.datasets
    ]


def plan(rules: NbbRules, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
    """What has to change so that every expected item exists and waits in the right place, and no other waits at all.

    Planning twice changes nothing.
    """
    wanted = dict.fromkeys(expected_keys(rules, now))
    changes = [_planned(rules, key, known.get(key), now) for key in wanted]
    return [
        *(change for change in changes if change is not None),
        *dropped(item for key, item in known.items() if key not in wanted),
    ]


def dropped(unwanted: Iterable[Item]) -> list[Change]:
    """What has to change so that items nobody wants any more are left alone."""
    changes = (_dropped(item) for item in unwanted)
    return [change for change in changes if change is not None]


def _planned(rules: NbbRules, key: str, known: Item | None, now: float) -> Change | None:
    day, dataset = timeline.day_of(key), leaf_of(key)
    where = timeline.place(rules, day, dataset, now, timeline.refusals_of(known) if known else 0)
    if known is None:
        return Change(None, _new_item(key, where))
    if known.state in LEASED_STATES:
        return None
    if known.state is State.ABSENT:
        return _revived(rules, known, where, now)
    if known.due_at is None:
        return _compared_again(rules, known, now)
    after = _without_route(known, where) if where.opens_at is None else _moved(rules, known, where, now)
    return None if after == known else Change(known.state, after)


def _new_item(key: str, where: Place) -> Item:
    state = State.DUE if where.opens_at is not None else State.ABSENT
    return Item(key, where.lane, state, where.priority, where.opens_at, reason=where.reason)


def _moved(rules: NbbRules, known: Item, where: Place, now: float) -> Item:
    moved = replace(known, lane=where.lane, priority=where.priority)
    if known.state not in _KEPT_STATES and _waits_beyond_reason(rules, known, where, now):
        # The clock was ahead when it was asked for: neither that wait nor that evidence means anything.
        return replace(
            moved, due_at=where.opens_at, reason=where.reason, attempts=0, nothing_count=0, nothing_at=None
        )
    never_asked = known.state is State.DUE and timeline.refusals_of(known) == 0
    if never_asked and known.reason in _CALENDAR_REASONS:
        # It may open earlier than was thought: a product was subscribed, the settling hour was changed.
        return replace(moved, due_at=where.opens_at, reason=where.reason)
    return moved


def _waits_beyond_reason(rules: NbbRules, known: Item, where: Place, now: float) -> bool:
    longest_s = max(rules.ask_again_cap_s * OLD_DAYS_FACTOR, rules.give_up_pause_s, rules.retry_cap_s,
                    rules.empty_interval_s, rules.not_yet_interval_s, DAY_S)  # fmt: skip
    latest_at = max(now + longest_s, where.opens_at or 0.0)
    return known.due_at is not None and known.due_at > latest_at


def _without_route(known: Item, where: Place) -> Item:
    """Nobody serves it any more: what is wanted is absent, what is had (or known to be empty) is not asked for again."""
    if known.state in _KEPT_STATES:
        return replace(known, due_at=None)
    state = next_state(known.state, Event.ABSENT)
    return replace(known, state=state, priority=where.priority, due_at=None, reason=where.reason)


def _dropped(known: Item) -> Change | None:
    """The operator no longer wants it: what is had stays and is not compared again, nothing else is asked for."""
    if known.state in LEASED_STATES or known.state is State.ABSENT:
        return None
    if known.state in _KEPT_STATES:
        after = replace(known, due_at=None, reason=timeline.NOT_WANTED)
        return None if known.due_at is None else Change(known.state, after)
    state = next_state(known.state, Event.ABSENT)
    return Change(known.state, replace(known, state=state, due_at=None, reason=timeline.NOT_WANTED))


def _compared_again(rules: NbbRules, known: Item, now: float) -> Change | None:
    """What is had and was not wanted for a while is wanted again."""
    if known.state not in _KEPT_STATES or known.reason != timeline.NOT_WANTED:
        return None
    due_at = timeline.next_recheck_at(rules, timeline.day_of(known.key), now)
    return Change(known.state, replace(known, due_at=due_at, reason=None))


def _revived(rules: NbbRules, known: Item, where: Place, now: float) -> Change | None:
    if where.opens_at is None and known.reason == timeline.NOT_WANTED:
        return Change(known.state, replace(known, reason=where.reason))  # wanted again, but too late
    if where.opens_at is None or not _may_be_revived(rules, known, now):
        return None
    state = next_state(known.state, Event.RETRIED)
    revived = replace(
        known,
        state=state,
        lane=where.lane,
        priority=where.priority,
        due_at=where.opens_at,
        reason=where.reason,
        attempts=0,
    )
    return Change(known.state, revived)


def _may_be_revived(rules: NbbRules, known: Item, now: float) -> bool:
    if known.reason == timeline.ROLLED_OUT:
        # Only when the operator moved the edge: the archive itself has said that it no longer has the day.
        age = calendar.age_days(timeline.day_of(known.key), now, rules.zone)
        return age <= rules.archive_max_age_days
    return known.reason in _REVIVABLE_REASONS
