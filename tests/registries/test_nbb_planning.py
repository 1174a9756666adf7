"""Which items should exist, and what a second plan may change."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.lifecycle import Event, next_state
from filingd.core.model import Item, State
from filingd.registries.nbb import planning, timeline
from filingd.registries.nbb.families import AUTHENTIC
from registries.nbb_cases import (
    ARCHIVE,
    BRUSSELS,
    DATASETS,
    DAY_S,
    EXTRACT,
    FRIDAY,
    at,
    at_age,
    item_for,
    rules,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.registries.nbb.rules import NbbRules

SINCE = dt.date(2026, 11, 16)
NOW = at("2026-11-22 12:00")


def planned(configured: NbbRules, now: float, known: Mapping[str, Item] | None = None) -> dict[str, Item]:
    """What the manifest knows after a plan was recorded."""
    after = dict(known or {})
    after.update((change.item.key, change.item) for change in planning.plan(configured, now, after))
    return after


def one(configured: NbbRules, item: Item, now: float) -> Item:
    """The item after a plan that expects its day."""
    narrow = replace(configured, since=timeline.day_of(item.key), datasets=(item.key.rpartition("/")[2],))
    return planned(narrow, now, {item.key: item})[item.key]


# ------------------------------------------------------------------------------------------------- what should exist


def test_every_calendar_day_is_expected_weekends_and_holidays_included() -> None:
    keys = planning.expected_keys(rules(since=dt.date(2026, 11, 10), datasets=("references",)), NOW)
    assert [key.split("/")[2][-2:] for key in keys] == [f"{day}" for day in range(10, 22)]


def test_each_dataset_of_each_day_is_its_own_item() -> None:
    keys = planning.expected_keys(rules(since=dt.date(2026, 11, 20)), NOW)
    assert keys == [AUTHENTIC.key_for(dt.date(2026, 11, day), name) for day in (20, 21) for name in DATASETS]


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-03-29 00:00", "2026-03-28"),
        ("2026-03-29 23:59", "2026-03-28"),
        ("2026-03-30 00:00", "2026-03-29"),
        ("2026-10-25 00:00", "2026-10-24"),
        ("2026-10-25 23:59", "2026-10-24"),
        ("2026-01-01 00:00", "2025-12-31"),
        ("2024-03-01 00:00", "2024-02-29"),
    ],
)
def test_the_last_expected_day_is_yesterday_in_brussels(now: str, last: str) -> None:
    keys = planning.expected_keys(rules(since=dt.date(2024, 1, 1)), at(now))
    assert keys[-1] == f"nbb/authentic/{last}/pdf"


def test_a_since_that_has_not_come_expects_nothing() -> None:
    assert planning.expected_keys(rules(since=dt.date(2026, 11, 22)), NOW) == []
    assert planning.plan(rules(since=dt.date(2030, 1, 1)), NOW, {}) == []


@settings(max_examples=60)
@given(
    since=st.dates(dt.date(2022, 1, 1), dt.date(2026, 12, 31)),
    seconds=st.integers(0, 3 * 366 * 86_400),
    products=st.sampled_from([(EXTRACT,), (ARCHIVE,), (EXTRACT, ARCHIVE)]),
)
def test_at_any_instant_each_day_is_due_waits_or_says_why_not(
    since: dt.date, seconds: int, products: tuple[str, ...]
) -> None:
    configured = rules(*products, since=since, datasets=("references", "pdf"))
    now = at("2026-01-01 00:00") + seconds
    items = planned(configured, now)
    today = dt.datetime.fromtimestamp(now, BRUSSELS).date()
    assert len(items) == 2 * max(0, (today - since).days)
    for key, item in items.items():
        served = timeline.products_at(configured, (today - timeline.day_of(key)).days)
        assert item.lane.removeprefix("nbb/") in products
        if served:
            assert item.state is State.DUE
            assert item.due_at is not None
        elif item.state is State.DUE:
            assert item.reason == "waits_for_archive"
        else:
            assert (item.state, item.due_at) == (State.ABSENT, None)
            assert item.reason in {"no_route", "outside_window"}


# ------------------------------------------------------------------------------------------------- planning again


@settings(max_examples=40)
@given(days=st.integers(0, 1300), hours=st.integers(0, 23))
def test_planning_twice_changes_nothing(days: int, hours: int) -> None:
    configured = rules(since=SINCE - dt.timedelta(days=30), datasets=("references",))
    now = at("2026-11-17 00:00") + days * DAY_S + hours * 3600
    known = planned(configured, now)
    assert planning.plan(configured, now, known) == []


def test_a_since_that_moves_back_adds_days_and_touches_no_other() -> None:
    known = planned(rules(since=SINCE), NOW)
    changes = planning.plan(rules(since=SINCE - dt.timedelta(days=2)), NOW, known)
    assert {change.item.key.split("/")[2] for change in changes} == {"2026-11-14", "2026-11-15"}
    assert all(change.before is None for change in changes)


def test_a_day_that_leaves_the_extract_moves_to_the_archive() -> None:
    item = item_for(FRIDAY, state=State.DUE, due_at=NOW, attempts=2, reason="stalled")
    moved = one(rules(), item, at_age(FRIDAY, 34))
    assert (moved.lane, moved.attempts, moved.due_at, moved.reason) == (f"nbb/{ARCHIVE}", 2, NOW, "stalled")


def test_a_closing_window_raises_the_priority_of_what_still_waits() -> None:
    young = one(rules(), item_for(FRIDAY, state=State.DUE), at_age(FRIDAY, 20))
    closing = one(rules(), young, at_age(FRIDAY, 27))
    assert closing.priority < young.priority
    assert closing.state is State.DUE


@pytest.mark.parametrize("state", [State.ACTIVE, State.RECHECKING])
def test_a_leased_item_is_left_alone(state: State) -> None:
    item = item_for(FRIDAY, state=state, due_at=None)
    assert one(rules(), item, at_age(FRIDAY, 40)) is item
    assert one(rules(EXTRACT), item, at_age(FRIDAY, 40)) is item


@pytest.mark.parametrize("state", [State.STORED, State.EMPTY])
@pytest.mark.parametrize("age", [2, 30, 40, 2000])
def test_a_finished_item_is_left_alone(state: State, age: int) -> None:
    item = item_for(FRIDAY, state=state, due_at=None, reason="anything", nothing_count=2)
    assert one(rules(), item, at_age(FRIDAY, age)) is item


@pytest.mark.parametrize("state", [State.STORED, State.EMPTY])
def test_a_recheck_that_nobody_can_answer_any_more_is_dropped_and_what_is_had_stays(state: State) -> None:
    item = item_for(FRIDAY, state=state, due_at=NOW)
    after = one(rules(EXTRACT), item, at_age(FRIDAY, 40))
    assert after == replace(item, due_at=None)


@pytest.mark.parametrize("state", [State.DUE, State.QUARANTINED])
@pytest.mark.parametrize(("age", "reason"), [(34, "no_route"), (1101, "outside_window")])
def test_what_can_no_longer_be_had_is_absent_at_once(state: State, age: int, reason: str) -> None:
    item = item_for(FRIDAY, state=state, due_at=NOW + 1e9, attempts=3)
    after = one(rules(EXTRACT), item, at_age(FRIDAY, age))
    assert (after.state, after.due_at, after.reason) == (State.ABSENT, None, reason)
    assert after.state is next_state(state, Event.ABSENT)


def test_an_item_absent_for_want_of_a_subscription_revives_with_it() -> None:
    now = at_age(FRIDAY, 100)
    absent = one(rules(EXTRACT), item_for(FRIDAY, state=State.DUE), now)
    assert (absent.state, absent.reason) == (State.ABSENT, "no_route")
    revived = one(rules(), absent, now)
    assert (revived.state, revived.lane, revived.reason) == (State.DUE, f"nbb/{ARCHIVE}", None)
    assert revived.due_at is not None
    assert revived.due_at <= now


def test_an_item_outside_the_window_revives_when_the_window_is_configured_wider() -> None:
    now = at_age(FRIDAY, 1101)
    absent = one(rules(), item_for(FRIDAY, state=State.DUE), now)
    assert absent.reason == "outside_window"
    assert one(rules(), absent, now) is absent
    assert one(rules(archive_max_age_days=1500), absent, now).state is State.DUE


def test_a_day_the_archive_itself_no_longer_had_is_not_asked_for_again_by_every_plan() -> None:
    now = at_age(FRIDAY, 1098)  # past the nominal edge, within the slack
    gone = item_for(FRIDAY, state=State.ABSENT, due_at=None, reason="rolled_out")
    assert one(rules(), gone, now) is gone
    assert one(rules(archive_max_age_days=1500), gone, now).state is State.DUE


def test_an_absence_of_another_kind_is_not_revived() -> None:
    item = item_for(FRIDAY, state=State.ABSENT, due_at=None, reason="removed_by_the_bank")
    assert one(rules(), item, at_age(FRIDAY, 10)) is item


def test_an_item_that_waits_for_the_archive_is_due_at_once_when_the_extract_is_subscribed() -> None:
    now = at_age(FRIDAY, 5)
    waiting = one(rules(ARCHIVE), item_for(FRIDAY, product=ARCHIVE, state=State.DUE), now)
    assert (waiting.reason, waiting.due_at) == ("waits_for_archive", at("2026-12-18 05:00"))
    ready = one(rules(), waiting, now)
    assert (ready.lane, ready.reason) == (f"nbb/{EXTRACT}", None)
    assert ready.due_at is not None
    assert ready.due_at <= now


def test_an_item_never_asked_for_follows_the_settling_hour() -> None:
    item = one(rules(), item_for(FRIDAY, state=State.DUE), at("2026-11-21 01:00"))
    assert item.due_at == at("2026-11-21 05:00")
    earlier = one(rules(settles_at=dt.time(3)), item, at("2026-11-21 01:30"))
    assert earlier.due_at == at("2026-11-21 03:00")


@pytest.mark.parametrize(
    "item",
    [
        item_for(FRIDAY, state=State.DUE, due_at=NOW + 900, attempts=1, reason="stalled"),
        item_for(FRIDAY, state=State.DUE, due_at=NOW + 900, nothing_count=1, reason="nothing_published"),
        item_for(FRIDAY, state=State.DUE, due_at=NOW + 900, reason="rate"),
        item_for(FRIDAY, state=State.QUARANTINED, due_at=NOW + 900, reason="zip_bad_crc"),
    ],
)
def test_a_plan_never_shortens_or_lengthens_a_wait_that_has_another_cause(item: Item) -> None:
    after = one(rules(), item, NOW)
    assert (after.due_at, after.reason, after.state) == (item.due_at, item.reason, item.state)


# ------------------------------------------------------------------------------------------------- what is not wanted


@pytest.mark.parametrize("state", [State.DUE, State.QUARANTINED])
def test_a_dataset_that_is_no_longer_wanted_is_unscheduled_and_revives_when_it_is_wanted_again(
    state: State,
) -> None:
    item = item_for(FRIDAY, "pdf", state=state, due_at=NOW, attempts=3)
    without = rules(since=FRIDAY, datasets=("references", "json", "xbrl"))
    dropped = planned(without, NOW, {item.key: item})
    assert (dropped[item.key].due_at, dropped[item.key].reason) == (None, timeline.NOT_WANTED)
    assert not planning.plan(without, NOW, dropped)
    again = planned(rules(since=FRIDAY), NOW, dropped)[item.key]
    assert (again.state, again.reason, again.attempts) == (State.DUE, None, 0)
    assert again.due_at is not None
    assert again.due_at <= NOW


def test_a_since_that_moves_forward_unschedules_the_days_before_it() -> None:
    known = planned(rules(since=SINCE), NOW)
    later = planned(rules(since=FRIDAY), NOW, known)
    scheduled = {timeline.day_of(key) for key, item in later.items() if item.due_at is not None}
    assert min(scheduled) == FRIDAY


@pytest.mark.parametrize("state", [State.STORED, State.EMPTY])
def test_what_is_had_and_no_longer_wanted_stays_and_is_compared_again_only_when_it_is_wanted_again(
    state: State,
) -> None:
    recheck_at = at_age(FRIDAY, 2, hour=5)
    item = item_for(FRIDAY, "references", state=state, due_at=recheck_at, version=1)
    now = at_age(FRIDAY, 1)
    dropped = planned(rules(since=dt.date(2026, 11, 21)), now, {item.key: item})[item.key]
    assert dropped == replace(item, due_at=None, reason=timeline.NOT_WANTED)
    again = planned(rules(since=FRIDAY), now, {item.key: dropped})[item.key]
    assert (again.state, again.due_at, again.reason) == (state, recheck_at, None)


@pytest.mark.parametrize("state", [State.ACTIVE, State.RECHECKING])
def test_an_attempt_under_way_is_not_cut_because_its_item_is_no_longer_wanted(state: State) -> None:
    item = item_for(FRIDAY, state=state, due_at=None)
    assert planned(rules(since=dt.date(2026, 11, 21)), NOW, {item.key: item})[item.key] == item


def test_what_is_wanted_again_too_late_says_that_nobody_serves_it() -> None:
    item = item_for(FRIDAY, state=State.ABSENT, due_at=None, reason=timeline.NOT_WANTED)
    assert one(rules(EXTRACT), item, at_age(FRIDAY, 60)).reason == timeline.NO_ROUTE


# ------------------------------------------------------------------------------------------------- no longer wanted


ONLY_JSON = rules(since=FRIDAY, datasets=("references", "json"))


def dropped(item: Item) -> Item:
    """The item after a plan in which its dataset is no longer configured."""
    return planned(ONLY_JSON, NOW, {item.key: item})[item.key]


@pytest.mark.parametrize("state", [State.DUE, State.QUARANTINED])
def test_a_dataset_taken_out_of_the_configuration_is_not_asked_for(state: State) -> None:
    after = dropped(item_for(FRIDAY, "pdf", state=state, due_at=NOW))
    assert (after.state, after.due_at, after.reason) == (State.ABSENT, None, "not_wanted")
    assert dropped(after) is after


@pytest.mark.parametrize("state", [State.STORED, State.EMPTY])
def test_what_is_had_stays_when_it_is_no_longer_wanted_and_is_not_compared_again(state: State) -> None:
    after = dropped(item_for(FRIDAY, "pdf", state=state, due_at=NOW))
    assert (after.state, after.due_at, after.reason) == (state, None, "not_wanted")
    assert dropped(after) is after


@pytest.mark.parametrize("state", [State.ACTIVE, State.RECHECKING, State.REASKING])
def test_a_leased_item_that_is_no_longer_wanted_is_left_alone(state: State) -> None:
    item = item_for(FRIDAY, "pdf", state=state, due_at=None)
    assert dropped(item) is item


def test_a_day_before_a_since_that_moved_forward_is_no_longer_asked_for() -> None:
    earlier = item_for(FRIDAY - dt.timedelta(days=1), state=State.DUE, due_at=NOW)
    assert dropped(earlier).reason == "not_wanted"


def test_what_is_wanted_again_is_asked_for_again() -> None:
    again = one(rules(), dropped(item_for(FRIDAY, "pdf", state=State.DUE, due_at=NOW)), NOW)
    assert (again.state, again.reason) == (State.DUE, None)
    assert again.due_at is not None
    assert again.due_at <= NOW


@pytest.mark.parametrize("state", [State.STORED, State.EMPTY])
def test_what_was_had_and_is_wanted_again_is_compared_again(state: State) -> None:
    again = one(rules(), dropped(item_for(FRIDAY, "pdf", state=state, due_at=NOW)), NOW)
    assert (again.state, again.due_at, again.reason) == (state, at_age(FRIDAY, 27, hour=5), None)


def test_what_is_wanted_again_too_late_says_so_once() -> None:
    now = at_age(FRIDAY, 40)
    late = one(rules(EXTRACT), dropped(item_for(FRIDAY, "pdf", state=State.DUE, due_at=NOW)), now)
    assert (late.state, late.reason) == (State.ABSENT, "no_route")
    assert one(rules(EXTRACT), late, now) is late


@pytest.mark.parametrize("state", [State.DUE, State.QUARANTINED])
def test_what_a_clock_that_was_ahead_put_off_is_taken_up_again(state: State) -> None:
    key = AUTHENTIC.key_for(dt.date(2026, 11, 20), "json")
    put_off = Item(
        key,
        EXTRACT,
        state,
        0,
        NOW + 90 * DAY_S,
        reason="nothing_published",
        nothing_count=2,
        nothing_at=NOW + 80 * DAY_S,
    )
    configured = rules(since=dt.date(2026, 11, 20))
    after = planned(configured, NOW, {key: put_off})[key]
    assert after.due_at == timeline.first_open_at(configured, dt.date(2026, 11, 20))
    assert (after.nothing_count, after.nothing_at, after.attempts) == (0, None, 0)


def test_a_wait_that_the_rules_allow_is_left_alone() -> None:
    key = AUTHENTIC.key_for(dt.date(2026, 11, 20), "json")
    waits = Item(
        key,
        EXTRACT,
        State.DUE,
        0,
        NOW + 20 * 3600,
        reason="missing_though_listed",
        nothing_count=3,
        nothing_at=NOW,
    )
    after = planned(rules(since=dt.date(2026, 11, 20)), NOW, {key: waits}).get(key, waits)
    assert (after.due_at, after.nothing_count) == (waits.due_at, 3)
