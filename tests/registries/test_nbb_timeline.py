"""Which products serve a day, when, and in which order days are worked off."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core import calendar
from filingd.core.model import Attempt, Deferral, State
from filingd.registries.nbb import requests, timeline
from filingd.registries.nbb.families import AUTHENTIC
from registries.nbb_cases import (
    ARCHIVE,
    BRUSSELS,
    DATASETS,
    EXTRACT,
    FRIDAY,
    SUNDAY,
    at,
    at_age,
    item_for,
    rules,
)

if TYPE_CHECKING:
    from filingd.registries.nbb.rules import NbbRules

DAYS = st.dates(dt.date(2020, 1, 1), dt.date(2040, 12, 31))
PRODUCT_SETS = st.sampled_from([(EXTRACT,), (ARCHIVE,), (EXTRACT, ARCHIVE)])


@st.composite
def any_rules(draw: st.DrawFn) -> NbbRules:
    """Windows with an overlap, without one, or with a gap; one or both products."""
    extract_max = draw(st.integers(1, 60))
    return rules(
        *draw(PRODUCT_SETS),
        extract_max_age_days=extract_max,
        extract_last_try_age_days=extract_max + draw(st.integers(0, 5)),
        edge_give_up_age_days=extract_max + draw(st.integers(5, 8)),
        archive_min_age_days=draw(st.integers(1, 80)),
        archive_max_age_days=draw(st.integers(100, 1200)),
        edge_slack_days=draw(st.integers(0, 10)),
        settles_at=draw(st.times(dt.time(0), dt.time(12))).replace(microsecond=0),
    )


# ------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("age", "products"),
    [
        (0, ()),
        (1, (EXTRACT,)),
        (27, (EXTRACT,)),
        (28, (EXTRACT, ARCHIVE)),
        (33, (EXTRACT, ARCHIVE)),
        (34, (ARCHIVE,)),
        (1096, (ARCHIVE,)),
        (1100, (ARCHIVE,)),
        (1101, ()),
    ],
)
def test_the_products_of_an_age(age: int, products: tuple[str, ...]) -> None:
    assert timeline.products_at(rules(), age) == products
    for alone in (EXTRACT, ARCHIVE):
        assert timeline.products_at(rules(alone), age) == tuple(name for name in products if name == alone)


@pytest.mark.parametrize(
    ("age", "doubtful"),
    [(1, False), (27, False), (28, True), (33, True), (35, True), (36, False), (1092, False), (1093, True)],
)
def test_near_an_edge_not_found_proves_nothing(age: int, doubtful: bool) -> None:
    assert timeline.is_doubtful(rules(), age) is doubtful


def test_an_edge_that_is_known_leaves_no_doubt() -> None:
    exact = rules(extract_max_age_days=30, extract_last_try_age_days=30, edge_give_up_age_days=30)
    assert not any(timeline.is_doubtful(exact, age) for age in range(1, 1000))


@pytest.mark.parametrize(
    ("refusals", "product"), [(0, EXTRACT), (1, ARCHIVE), (2, EXTRACT), (3, ARCHIVE), (7, ARCHIVE)]
)
@pytest.mark.parametrize("age", [28, 30, 33])
def test_at_the_edge_each_refusal_sends_the_item_to_the_other_product(
    age: int, refusals: int, product: str
) -> None:
    where = timeline.place(rules(), FRIDAY, "json", at_age(FRIDAY, age), refusals)
    assert where.lane == f"nbb/{product}"


@pytest.mark.parametrize("product", [EXTRACT, ARCHIVE])
@pytest.mark.parametrize("refusals", range(4))
def test_a_single_subscription_is_asked_whatever_it_refused(product: str, refusals: int) -> None:
    where = timeline.place(rules(product), FRIDAY, "json", at_age(FRIDAY, 30), refusals)
    assert where.lane == f"nbb/{product}"
    assert where.opens_at is not None


@pytest.mark.parametrize("refusals", range(4))
@pytest.mark.parametrize(("age", "product"), [(27, EXTRACT), (34, ARCHIVE)])
def test_outside_the_edge_refusals_change_nothing(age: int, product: str, refusals: int) -> None:
    assert timeline.place(rules(), FRIDAY, "json", at_age(FRIDAY, age), refusals).lane == f"nbb/{product}"


def test_a_day_too_young_for_the_archive_waits_for_it() -> None:
    where = timeline.place(rules(ARCHIVE), FRIDAY, "json", at_age(FRIDAY, 3))
    assert where.reason == "waits_for_archive"
    assert where.opens_at == at("2026-12-18 05:00")


def test_a_day_in_a_configured_gap_waits_for_the_archive() -> None:
    gap = rules(extract_last_try_age_days=30, archive_min_age_days=40)
    where = timeline.place(gap, FRIDAY, "json", at_age(FRIDAY, 35))
    assert (where.lane, where.reason) == ("nbb/authentic-archive", "waits_for_archive")
    assert where.opens_at == at("2026-12-30 05:00")


def test_with_a_configured_overlap_the_extract_is_still_asked_first() -> None:
    overlap = rules(archive_min_age_days=1)
    lanes = [timeline.place(overlap, FRIDAY, "json", at_age(FRIDAY, 2), n).lane for n in range(3)]
    assert lanes == ["nbb/extract", "nbb/authentic-archive", "nbb/extract"]


@pytest.mark.parametrize(
    ("products", "age", "reason"),
    [
        ((EXTRACT,), 34, "no_route"),
        ((EXTRACT,), 900, "no_route"),
        ((EXTRACT,), 1101, "outside_window"),
        ((EXTRACT, ARCHIVE), 1101, "outside_window"),
        ((ARCHIVE,), 5000, "outside_window"),
    ],
)
def test_a_day_that_nobody_serves_says_why(products: tuple[str, ...], age: int, reason: str) -> None:
    where = timeline.place(rules(*products), FRIDAY, "json", at_age(FRIDAY, age))
    assert (where.opens_at, where.reason) == (None, reason)
    assert where.lane == f"nbb/{products[0]}"


@given(configured=any_rules(), day=DAYS, age=st.integers(1, 1400), refusals=st.integers(0, 20))
def test_every_day_of_any_age_is_served_or_says_why_not(
    configured: NbbRules, day: dt.date, age: int, refusals: int
) -> None:
    where = timeline.place(configured, day, "pdf", at_age(day, age), refusals)
    serving = timeline.products_at(configured, age)
    if serving:
        assert where.opens_at is not None
        assert where.lane.removeprefix("nbb/") in serving
        assert where.reason is None
    elif ARCHIVE in configured.products and age < configured.archive_min_age_days:
        assert where.reason == "waits_for_archive"
        assert where.opens_at is not None
        assert timeline.products_at(configured, calendar.age_days(day, where.opens_at, BRUSSELS))
    else:
        assert where.opens_at is None
        assert where.reason in {"no_route", "outside_window"}


# ------------------------------------------------------------------------------------------------- the hour


def test_a_new_day_is_first_asked_for_at_the_installations_own_moment() -> None:
    own = rules(first_try_at=dt.time(6, 12))
    place = timeline.place(own, FRIDAY, "references", at_age(FRIDAY, 1, hour=5))
    assert (place.lane, place.opens_at) == ("nbb/extract", at("2026-11-21 06:12"))
    assert timeline.first_open_at(own, FRIDAY) == at("2026-11-21 05:00"), "settled is another matter"
    by_hand = requests.request(own, item_for(FRIDAY), at("2026-11-21 05:20"))
    assert isinstance(by_hand, Attempt), "who asks by hand does not wait for that moment"
    assert isinstance(requests.request(own, item_for(FRIDAY), at("2026-11-21 04:59")), Deferral)


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        ("2026-11-20", "2026-11-21 05:00"),
        ("2026-03-28", "2026-03-29 05:00"),  # opens on the day of 23 hours
        ("2026-03-29", "2026-03-30 05:00"),
        ("2026-10-24", "2026-10-25 05:00"),  # opens on the day of 25 hours
        ("2025-12-31", "2026-01-01 05:00"),
        ("2028-02-28", "2028-02-29 05:00"),
        ("2028-02-29", "2028-03-01 05:00"),
    ],
)
def test_a_day_settles_at_five_in_the_morning_after(day: str, opens: str) -> None:
    assert timeline.first_open_at(rules(), dt.date.fromisoformat(day)) == at(opens)


def test_before_the_settling_hour_nothing_is_asked() -> None:
    item = item_for(FRIDAY)
    early = requests.request(rules(), item, at("2026-11-21 04:59"))
    assert early == Deferral("not_published_yet", "nbb/extract", at("2026-11-21 05:00"))
    assert isinstance(requests.request(rules(), item, at("2026-11-21 05:00")), Attempt)


def test_a_day_that_has_not_ended_is_not_asked_for() -> None:
    assert requests.request(rules(), item_for(FRIDAY), at("2026-11-20 23:59")) == Deferral(
        "not_published_yet", "nbb/extract", at("2026-11-21 05:00")
    )


@given(configured=any_rules(), day=DAYS, refusals=st.integers(0, 3))
def test_no_request_is_ever_made_before_the_day_settled_or_for_a_day_to_come(
    configured: NbbRules, day: dt.date, refusals: int
) -> None:
    item = item_for(day, "pdf", nothing_count=refusals)
    opens_at = timeline.first_open_at(configured, day)
    assert isinstance(requests.request(configured, item, opens_at - 1), Deferral)
    assert isinstance(requests.request(configured, item, opens_at - 86_400), Deferral)


# ------------------------------------------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("age", "dataset", "path", "accept"),
    [
        (1, "references", "/extracts/batch/2026-11-20/references", "application/x.zip+json"),
        (1, "json", "/extracts/batch/2026-11-20/accountingData", "application/x.zip+jsonxbrl"),
        (1, "xbrl", "/extracts/batch/2026-11-20/accountingData", "application/x.zip+xbrl"),
        (1, "pdf", "/extracts/batch/2026-11-20/accountingData", "application/x.zip+pdf"),
        (40, "references", "/authentic-archive/2026-11-20/references", "application/x.zip+json"),
        (40, "json", "/authentic-archive/2026-11-20/accountingData", "application/x.zip+jsonxbrl"),
        (40, "xbrl", "/authentic-archive/2026-11-20/accountingData", "application/x.zip+xbrl"),
        (40, "pdf", "/authentic-archive/2026-11-20/accountingData", "application/x.zip+pdf"),
    ],
)
def test_path_and_media_type_are_those_of_the_cheat_sheet(
    age: int, dataset: str, path: str, accept: str
) -> None:
    attempt = requests.request(rules(), item_for(FRIDAY, dataset), at_age(FRIDAY, age))
    assert isinstance(attempt, Attempt)
    assert attempt.url == f"https://ws.example.invalid{path}"
    assert [value for name, value in attempt.headers if name == "Accept"] == [accept]
    assert attempt.secret_header == "NBB-CBSO-Subscription-Key"
    assert attempt.request_id_header == "X-Request-Id"
    assert attempt.route == f"{EXTRACT if age == 1 else ARCHIVE}/{dataset}"
    assert (attempt.body.inspector is not None) == (dataset == "references")


def test_the_request_id_can_be_left_out() -> None:
    attempt = requests.request(rules(send_request_id=False), item_for(FRIDAY), at_age(FRIDAY, 1))
    assert isinstance(attempt, Attempt)
    assert attempt.request_id_header is None


# ------------------------------------------------------------------------------------------------- re-checks


def test_a_stored_day_is_looked_at_again_at_two_and_at_twenty_seven_days() -> None:
    first = timeline.next_recheck_at(rules(), FRIDAY, at("2026-11-21 05:01"))
    assert first == at("2026-11-22 05:00")
    second = timeline.next_recheck_at(rules(), FRIDAY, first)
    assert second == at("2026-12-17 05:00")
    assert timeline.next_recheck_at(rules(), FRIDAY, second) is None


def test_a_recheck_is_planned_only_where_a_product_serves_the_day() -> None:
    assert timeline.next_recheck_at(rules(ARCHIVE), FRIDAY, at("2026-11-21 05:01")) is None
    late = rules(ARCHIVE, recheck_ages_days=(1090, 2))
    assert timeline.next_recheck_at(late, FRIDAY, at("2026-11-21 05:01")) == at_age(FRIDAY, 1090, hour=5)


# ------------------------------------------------------------------------------------------------- working days


@pytest.mark.parametrize(
    ("day", "working"),
    [
        ("2026-11-20", True),
        ("2026-11-21", False),
        ("2026-11-22", False),
        ("2026-07-21", False),  # national holiday
        ("2026-11-11", False),  # armistice
        ("2026-05-14", False),  # Ascension, a Thursday
        ("2026-04-06", False),  # Easter Monday
        ("2026-04-03", False),  # Good Friday: banks are closed
        ("2026-05-15", False),  # the Friday after Ascension: banks are closed
        ("2026-12-24", True),
        ("2024-12-26", False),  # banks are closed
        ("2027-01-01", False),
    ],
)
def test_working_days_are_those_on_which_belgian_banks_are_open(day: str, working: bool) -> None:
    assert timeline.is_working_day(dt.date.fromisoformat(day)) is working


# ------------------------------------------------------------------------------------------------- order of work


def rank(configured: NbbRules, day: dt.date, dataset: str, now: float) -> int:
    return timeline.place(configured, day, dataset, now).priority


def test_yesterday_comes_before_a_closing_window_before_the_rest_newest_first() -> None:
    now = at_age(FRIDAY, 0)
    order = [
        FRIDAY - dt.timedelta(days=age)
        for age in (1, 1100, 1094, 1093, 33, 30, 27, 2, 3, 26, 34, 35, 500, 1092)
    ]
    ranks = [rank(rules(), day, "json", now) for day in order]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


def test_without_the_archive_only_the_edge_of_the_extract_closes() -> None:
    now = at_age(FRIDAY, 0)
    order = [FRIDAY - dt.timedelta(days=age) for age in (1, 33, 31, 27, 2, 26)]
    ranks = [rank(rules(EXTRACT), day, "json", now) for day in order]
    assert ranks == sorted(ranks)


def test_without_the_extract_its_edge_closes_nothing() -> None:
    now = at_age(FRIDAY, 0)
    order = [FRIDAY - dt.timedelta(days=age) for age in (1100, 1093, 28, 30, 33, 34, 1092)]
    ranks = [rank(rules(ARCHIVE), day, "json", now) for day in order]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("configured", list(itertools.permutations(DATASETS)))
@pytest.mark.parametrize("age", [1, 10, 29])
def test_references_come_before_documents_whatever_the_configured_order(
    age: int, configured: tuple[str, ...]
) -> None:
    now = at_age(FRIDAY, age)
    by_rank = sorted(configured, key=lambda name: rank(rules(datasets=configured), FRIDAY, name, now))
    assert by_rank == list(DATASETS)


@given(now_day=DAYS, ages=st.lists(st.integers(1, 1100), min_size=2, unique=True))
def test_in_one_lane_the_new_day_always_wins_and_backfill_is_newest_first(
    now_day: dt.date, ages: list[int]
) -> None:
    now, configured = at_age(now_day, 0), rules()
    ranks = {age: rank(configured, now_day - dt.timedelta(days=age), "references", now) for age in ages}
    if 1 in ranks:
        assert min(ranks, key=ranks.__getitem__) == 1
    plain = sorted(age for age in ages if 2 <= age <= 26 or 34 <= age <= 1092)
    assert sorted(plain, key=ranks.__getitem__) == plain


def test_a_day_keeps_its_dataset_order_within_a_backfill() -> None:
    now = at_age(FRIDAY, 0)
    days = [FRIDAY - dt.timedelta(days=age) for age in (5, 6)]
    ranks = [rank(rules(), day, dataset, now) for day in days for dataset in DATASETS]
    assert ranks == sorted(ranks)


def test_names_read_back() -> None:
    key = AUTHENTIC.key_for(SUNDAY, "pdf")
    assert key == "nbb/authentic/2026-11-15/pdf"
    assert timeline.day_of(key) == timeline.day_of("nbb/authentic/2026-11-15") == SUNDAY
    assert item_for(SUNDAY).state is State.ACTIVE
