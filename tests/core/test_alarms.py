"""Alarms by table: what stands, what does not, what is said of it and when."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core import alarms, limits
from filingd.core.alarms import KINDS, Alarm, Bounds, DayFacts, Facts, LaneFacts, Listing, Told
from filingd.core.limits import LaneState

TODAY = dt.date(2026, 11, 20)
NOW = dt.datetime(2026, 11, 20, 11, 0, tzinfo=dt.UTC).timestamp()
HOUR_S, DAY_S = 3600.0, 86_400.0
BOUNDS = Bounds()
FIELDS = ("referencenumber", "enterprisenumber", "modeltype")


def published_at(age: int) -> float:
    """05:00 in Brussels on the day after, in winter."""
    day = TODAY - dt.timedelta(days=age - 1)
    return dt.datetime(day.year, day.month, day.day, 4, 0, tzinfo=dt.UTC).timestamp()


def day(age: int = 1, **fields: Any) -> DayFacts:
    """A day of this age that a mirror has expected since it was published, and that is not complete."""
    which = TODAY - dt.timedelta(days=age)
    known: dict[str, Any] = {
        "group": f"nbb/authentic/{which}",
        "family": "nbb/authentic",
        "day": which,
        "age_days": age,
        "published_at": published_at(age),
        "opened_at": published_at(age) - 4 * HOUR_S,
        "is_sealed": False,
    }
    return DayFacts(**(known | fields))


def sealed(age: int, **fields: Any) -> DayFacts:
    return day(age, is_sealed=True, **fields)


def listing(filings: int = 10, without: dict[str, int] | None = None, **fields: Any) -> Listing:
    """A list; `without` says how many filings lack a field."""
    counts = {field: filings - (without or {}).get(field, 0) for field in FIELDS}
    known: dict[str, Any] = {"stored_at": NOW, "filings": filings, "casing": "camel", "fields": counts}
    return Listing(**(known | fields))


def facts(*days: DayFacts, **fields: Any) -> Facts:
    return Facts(**{"now": NOW, "days": days, "lanes": (), **fields})


def kinds(*days: DayFacts, bounds: Bounds = BOUNDS, **fields: Any) -> list[str]:
    return [alarm.kind for alarm in alarms.standing(facts(*days, **fields), bounds)]


def test_a_mirror_that_is_well_has_no_alarm() -> None:
    days = [sealed(age, listing=listing(), filings=10, with_json=9) for age in range(1, 60)]
    assert (
        kinds(
            *days,
            lanes=[LaneFacts(LaneState("nbb/extract"))],
            free_bytes=9,
            clock_ahead_s=3.0,
            key_problems={},
        )
        == []
    )


# ------------------------------------------------------------------------------------------------- days that stay open

OPEN = {
    "published this morning": (day(1), []),
    "of the day before yesterday": (day(2), []),
    "open for more than two days": (day(4), ["day_open"]),
    "not due": (day(20, is_waiting=True), []),
    "complete": (sealed(26), []),
    "past 25 days": (day(26), ["day_uncommitted"]),
    "of exactly 25 days": (day(25), ["day_open"]),
    "waits for the archive": (day(27, is_waiting=True), []),
    "lost, could have been had": (day(40, is_lost=True), ["day_uncommitted"]),
    # A backfill: the mirror began an hour, or three days, ago.
    "of a backfill, its turn has not come": (day(700, opened_at=NOW - 3 * DAY_S), []),
    "of a backfill, half of it came an hour ago": (day(700, opened_at=NOW - 3 * DAY_S, begun_at=NOW - HOUR_S), []),
    "of a backfill, half of it came days ago": (day(700, opened_at=NOW - 4 * DAY_S, begun_at=NOW - 3 * DAY_S), ["day_open"]),
    "of a backfill, its tries were used up": (day(700, opened_at=NOW - 3 * DAY_S, gave_up=True), ["day_open"]),
    "of a backfill, its tries were used up at once": (day(700, opened_at=NOW - HOUR_S, gave_up=True), []),
    "of a backfill, never to be had": (day(1500, opened_at=NOW - 30 * DAY_S, is_lost=True), []),
    "within reach when the mirror began": (day(26, opened_at=NOW - 6 * DAY_S), ["day_uncommitted"]),
    "just out of reach when the mirror began": (day(32, opened_at=NOW - 4 * DAY_S), []),
    "an old one that was opened again": (day(400, opened_at=NOW - HOUR_S, begun_at=NOW - 300 * DAY_S), []),
    "opened again days ago": (day(400, opened_at=NOW - 3 * DAY_S, begun_at=NOW - 300 * DAY_S), ["day_open"]),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_a_day_that_is_not_complete(name: str) -> None:
    which, expected = OPEN[name]
    assert kinds(which) == expected


def test_a_backfill_of_three_years_says_nothing_while_it_is_under_way() -> None:
    began_at = NOW - 10 * DAY_S
    days = [day(age, opened_at=began_at) for age in range(40, 1096)]
    assert kinds(*days) == []


def test_since_when_a_day_is_open_is_since_it_could_be_had_and_was_wanted() -> None:
    (late,) = alarms.standing(facts(day(10)), BOUNDS)
    assert late.since_at == published_at(10)
    (wanted,) = alarms.standing(facts(day(10, opened_at=published_at(10) + DAY_S)), BOUNDS)
    assert wanted.since_at == published_at(10) + DAY_S


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(open_after_s=30 * DAY_S), ["day_uncommitted"]),
        (Bounds(uncommitted_age_days=60), ["day_open"]),
        (Bounds(uncommitted_age_days=60, open_after_s=60 * DAY_S), []),
    ],
)
def test_how_long_a_day_may_stay_open_is_the_operators_choice(bounds: Bounds, expected: list[str]) -> None:
    assert kinds(day(28), bounds=bounds) == expected


# ------------------------------------------------------------------------------------------------- answers

KEY = "nbb/authentic/2026-11-17/references"


@pytest.mark.parametrize(
    "kind", ["nothing_on_a_working_day", "missing_though_listed", "documents_without_references"]
)
def test_a_proven_answer_that_cannot_be_right_is_an_alarm_and_says_more_than_that_the_day_is_open(
    kind: str,
) -> None:
    (alarm,) = alarms.standing(facts(day(9, answers={KEY: (kind, NOW - 5.0)})), BOUNDS)
    assert (alarm.kind, alarm.subject, alarm.key, alarm.since_at) == (kind, KEY, KEY, NOW - 5.0)


def test_references_that_nobody_can_read_are_an_alarm_on_the_same_day() -> None:
    (alarm,) = alarms.standing(facts(day(1, unreadable_key=KEY)), BOUNDS)
    assert (alarm.kind, alarm.key) == ("list_unreadable", KEY)


# ------------------------------------------------------------------------------------------------- shares

SHARES = {
    (100, 85): [],
    (100, 84): ["low_json_share"],
    (100, 0): ["low_json_share"],
    (49, 0): [],
    (50, 0): ["low_json_share"],
    (100, 100): [],
    (100, 101): ["high_json_share"],
    (3, 4): ["high_json_share"],
    (0, 0): [],
}


@pytest.mark.parametrize(("counts", "expected"), SHARES.items())
def test_a_share_of_json_out_of_band(counts: tuple[int, int], expected: list[str]) -> None:
    filings, with_json = counts
    assert kinds(sealed(2, listing=listing(), filings=filings, with_json=with_json)) == expected


def test_a_share_is_no_alarm_when_it_is_not_known_too_old_or_allowed() -> None:
    low = sealed(2, listing=listing(), filings=100, with_json=10)
    assert kinds(replace(low, with_json=None)) == []
    assert kinds(replace(low, age_days=15)) == []
    assert kinds(low, bounds=Bounds(min_json_share=0.0)) == []
    assert kinds(low, bounds=Bounds(min_json_share=0.1)) == []
    assert (
        kinds(sealed(2, listing=listing(), filings=10, with_json=12), bounds=Bounds(max_json_share=1.2)) == []
    )


# ------------------------------------------------------------------------------------------------- what the list holds


def week(**last: Any) -> list[DayFacts]:
    """A week of like days; the last of them as given."""
    return [sealed(age, listing=listing()) for age in range(7, 1, -1)] + [sealed(1, listing=listing(**last))]


LISTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "as before": ({}, []),
    "another casing": ({"casing": "pascal"}, ["casing_changed"]),
    "two casings": ({"casing": "camel+pascal"}, ["casing_changed"]),
    "a field is gone": ({"without": {"modeltype": 10}}, ["field_missing"]),
    "most filings lack it": ({"without": {"modeltype": 6}}, ["field_missing"]),
    "half of them lack it": ({"without": {"modeltype": 5}}, []),
    "a small day lacks it": ({"filings": 3, "without": {"modeltype": 3}}, ["field_missing"]),
    "a tiny day lacks it": ({"filings": 2, "without": {"modeltype": 2}}, []),
    "renamed": ({"without": {"modeltype": 10}, "unknown_fields": {"modelcode": 10}}, ["field_missing", "unknown_field"]),
    "a new field": ({"unknown_fields": {"supersededby": 1}}, ["unknown_field"]),
    "a new model": ({"unknown_models": {"m999": 1}}, ["unknown_model"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_what_the_list_of_a_day_holds_beside_the_days_before(name: str) -> None:
    last, expected = LISTS[name]
    assert kinds(*week(**last)) == expected


def test_the_first_day_of_a_mirror_has_nothing_to_be_compared_with() -> None:
    assert kinds(sealed(1, listing=listing(casing="pascal", without={"modeltype": 10}))) == []


def test_an_unlisted_or_empty_day_is_nothing_to_compare_with() -> None:
    days = [
        sealed(5, listing=listing()),
        sealed(4),
        sealed(3, listing=listing(0)),
        sealed(2, listing=listing(casing="pascal")),
    ]
    (alarm,) = alarms.standing(facts(*days), BOUNDS)
    assert "2026-11-15: camel" in alarm.detail


def test_a_missing_field_stays_missed_while_it_is_missing_and_is_over_when_it_is_there_again() -> None:
    gone = {"modeltype": 10}
    days = [sealed(age, listing=listing(without=gone if age < 6 else {})) for age in range(9, 0, -1)]
    (alarm,) = alarms.standing(facts(*days), BOUNDS)
    assert (alarm.kind, alarm.subject) == ("field_missing", "nbb/authentic modeltype")
    assert "2026-11-15" in alarm.detail
    assert kinds(*days[:-1], sealed(1, listing=listing())) == []


def test_a_new_name_is_one_alarm_however_many_days_and_filings_carry_it() -> None:
    days = [
        sealed(age, listing=listing(unknown_fields={"newthing": 7}, stored_at=NOW - age))
        for age in range(9, 0, -1)
    ]
    (alarm,) = alarms.standing(facts(*days), BOUNDS)
    assert (alarm.subject, alarm.since_at) == ("nbb/authentic newthing", NOW - 9)


def test_families_are_told_apart() -> None:
    improved = sealed(
        2, family="nbb/improved", group="nbb/improved/2026-11-18", listing=listing(casing="pascal")
    )
    other = sealed(
        3, family="nbb/improved", group="nbb/improved/2026-11-17", listing=listing(casing="pascal")
    )
    assert kinds(*week(), improved, other) == []
    named = replace(improved, unknown_labels={"restated": 2})
    assert kinds(*week(), named, other) == ["unknown_label"]


def test_what_an_old_day_holds_is_history() -> None:
    days = [sealed(age, listing=listing(casing="camel" if age > 20 else "pascal", unknown_fields={"x": 1} if age > 14 else {}))
            for age in range(40, 0, -1)]  # fmt: skip
    assert kinds(*days) == []


# ------------------------------------------------------------------------------------------------- lanes and machine

LANES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "well": ({}, []),
    "asked for patience": ({"park_reason": "throttled", "throttles": 3, "parked_until_at": NOW + 9}, []),
    "refused": ({"park_reason": "keys_refused", "blocks": 2, "parked_until_at": NOW + 9}, ["lane_blocked"]),
    "tried again after a refusal": ({"park_reason": "keys_refused", "blocks": 2, "parked_until_at": NOW - 1}, ["lane_blocked"]),
    "well after a refusal": ({"park_reason": "keys_refused", "parked_until_at": NOW - 1}, []),
    "without a key": ({"park_reason": "key_missing", "blocks": 1, "parked_until_at": NOW + 9}, ["lane_blocked"]),
    "behind a firewall": ({"park_reason": "refused", "blocks": 2, "parked_until_at": NOW + 9}, ["lane_blocked"]),
    "out of quota": ({"park_reason": "quota", "throttles": 1, "parked_until_at": NOW + 9}, ["quota_spent"]),
    "failing a little": ({"park_reason": "failing", "strikes": 5, "parked_until_at": NOW + 9}, []),
    "failing for long": ({"park_reason": "failing", "strikes": 9, "parked_until_at": NOW + 9}, ["lane_failing"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LANES)
def test_a_lane(name: str) -> None:
    state, expected = LANES[name]
    assert kinds(lanes=[LaneFacts(LaneState("nbb/extract", **state), "what was said")]) == expected


def test_since_when_a_lane_is_closed_and_what_was_said() -> None:
    state = LaneState(
        "nbb/extract", park_reason="refused", blocks=1, parked_until_at=NOW + 100, parked_for_s=300.0
    )
    (said,) = alarms.standing(facts(lanes=[LaneFacts(state, "go away")]), BOUNDS)
    assert (said.subject, said.lane, said.since_at, said.detail) == (
        "nbb/extract",
        "nbb/extract",
        NOW - 200,
        "go away",
    )
    (read,) = alarms.standing(facts(lanes=[LaneFacts(state)]), BOUNDS)
    assert read.detail == limits.PARK_REASONS["refused"]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"free_bytes": 10, "keep_free_bytes": 10}, []),
        ({"free_bytes": 9, "keep_free_bytes": 10}, ["room_low"]),
        ({"clock_ahead_s": 120.0}, []),
        ({"clock_ahead_s": 121.0}, ["clock_skew"]),
        ({"clock_ahead_s": -121.0}, ["clock_skew"]),
        ({"key_problems": {"file:/k": "file:/k is empty."}}, ["key_unreadable"]),
    ],
)
def test_the_machine(known: dict[str, Any], expected: list[str]) -> None:
    assert kinds(**known) == expected


def test_every_kind_has_words_and_every_alarm_a_remedy() -> None:
    for kind, (meaning, remedy) in KINDS.items():
        assert meaning, kind
        assert meaning[0].islower(), kind
        assert remedy.endswith("."), kind


# ------------------------------------------------------------------------------------------------- what is said

ONE = Alarm("day_open", "nbb/authentic/2026-11-10", NOW - DAY_S, "open")
OTHER = Alarm("lane_blocked", "nbb/extract", NOW - HOUR_S, "no")
SKEW = Alarm("clock_skew", "clock", NOW - HOUR_S, "behind")


def test_an_alarm_is_raised_once_repeated_after_a_day_and_cleared_when_it_is_over() -> None:
    told: Any = ()
    story = []
    for hours in range(60):
        now = NOW + hours * HOUR_S
        stands = [ONE] if 2 <= hours < 51 else []
        found = alarms.news(told, stands, facts(now=now), DAY_S)
        told = found.told
        story += [(hours, name) for name in ("raised", "repeated", "cleared") if getattr(found, name)]
    assert story == [(2, "raised"), (26, "repeated"), (50, "repeated"), (51, "cleared")]
    assert told == []


def test_what_was_said_before_a_restart_is_not_said_again_and_stands_since_then() -> None:
    before = [Told(ONE, NOW - 60.0)]
    found = alarms.news(before, [replace(ONE, since_at=NOW)], facts(), DAY_S)
    assert (found.raised, found.repeated, found.cleared) == ([], [], [])
    assert [each.alarm.since_at for each in found.told] == [ONE.since_at]


def test_a_clock_that_was_set_back_is_no_reason_to_be_silent() -> None:
    found = alarms.news([Told(ONE, NOW + DAY_S)], [ONE], facts(), DAY_S)
    assert found.repeated == [ONE]


def test_what_these_facts_know_nothing_of_is_neither_raised_nor_cleared() -> None:
    before = [Told(SKEW, NOW - 60.0)]
    assert alarms.news(before, [], facts(), DAY_S).told == before
    assert alarms.news(before, [], facts(clock_ahead_s=0.0), DAY_S).cleared == [SKEW]


@given(st.lists(st.sets(st.sampled_from([ONE, OTHER, SKEW])), max_size=20))
def test_whatever_comes_and_goes_what_was_raised_and_not_cleared_is_what_stands(
    steps: list[set[Alarm]],
) -> None:
    told: Any = ()
    shown: set[Any] = set()
    for hour, stands in enumerate(steps):
        found = alarms.news(
            told, sorted(stands, key=lambda a: a.kind), facts(now=NOW + hour, clock_ahead_s=0.0), DAY_S
        )
        told = found.told
        for alarm in found.raised:
            assert alarm.identity not in shown
            shown.add(alarm.identity)
        shown -= {alarm.identity for alarm in found.cleared}
        assert shown == {alarm.identity for alarm in stands}


def test_what_was_said_outlives_the_way_through_a_file() -> None:
    told = [Told(ONE, NOW), Told(OTHER, NOW - 1)]
    assert list(alarms.told_of(alarms.told_text(told))) == told


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", '{"format": 2, "told": []}', "\udcff", '{"format": 1, "told": [{"told_at": 1}]}'],
)
def test_a_file_that_cannot_be_understood_says_nothing(text: str | None) -> None:
    assert list(alarms.told_of(text)) == []


def test_an_alarm_of_a_kind_that_is_no_more_is_left_out() -> None:
    text = alarms.told_text([Told(replace(ONE, kind="of_old"), NOW), Told(OTHER, NOW)])
    assert [each.alarm for each in alarms.told_of(text)] == [OTHER]
