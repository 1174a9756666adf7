"""Nothing there: late, empty, at an edge, in another format, gone. Which one is believed, and when (sections 5.3, 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.model import Absent, Answer, Failed, Nothing, NotYet, State
from filingd.registries.nbb import timeline
from registries.nbb_cases import (
    ARCHIVE,
    DAY_S,
    EXTRACT,
    FRIDAY,
    HOUR_S,
    SUNDAY,
    answer,
    at,
    at_age,
    attempt_by,
    holding,
    interpret,
    item_for,
    listing,
    rules,
    with_body,
)

if TYPE_CHECKING:
    import datetime as dt

    from filingd.core.model import Holding, Item, Verdict
    from filingd.registries.nbb.rules import NbbRules

NOT_FOUND = answer(404)
EMPTY_FORMS = [answer(404), answer(204), with_body("empty"), with_body("empty_zip"), answer(404, b"{}")]
STATEMENTS = [answer(204), with_body("empty"), with_body("empty_zip")]


def judged(
    item: Item,
    now: float,
    given_answer: Answer = NOT_FOUND,
    siblings: dict[str, Holding] | None = None,
    configured: NbbRules | None = None,
    product: str = EXTRACT,
) -> Verdict:
    attempt = attempt_by(product, item.key.rpartition("/")[2])
    return interpret(configured or rules(), item, attempt, given_answer, siblings or {}, now)


def nothing(*args: Any, **more: Any) -> Nothing:
    verdict = judged(*args, **more)
    assert isinstance(verdict, Nothing)
    return verdict


def asked(day: dt.date, count: int, since: float, dataset: str = "references", **more: Any) -> Item:
    """An item that was told so often that there is nothing, since then."""
    return item_for(day, dataset, nothing_count=count, nothing_at=since, **more)


REFERENCES_EMPTY = {"references": holding(SUNDAY, "references", state=State.EMPTY)}


# ------------------------------------------------------------------------------------------------- the proof


@pytest.mark.parametrize("given_answer", EMPTY_FORMS)
def test_all_forms_of_nothing_confirm_a_sunday_after_two_answers_six_hours_apart(
    given_answer: Answer,
) -> None:
    first_at = at("2026-11-16 05:00")
    first = nothing(item_for(SUNDAY), first_at, given_answer)
    assert not first.confirmed
    assert first.again_at == first_at + 6 * HOUR_S
    second = nothing(asked(SUNDAY, 1, first_at), first.again_at, given_answer)
    assert second.confirmed
    assert second.reason == "nothing_published"
    assert second.again_at == at("2026-11-17 05:00")  # looked at again with the day's re-check


@pytest.mark.parametrize(
    ("count", "hours", "confirmed"),
    [(0, 0, False), (0, 100, False), (1, 5.99, False), (1, 6, True), (5, 5.99, False), (5, 6, True)],
)
def test_neither_often_nor_long_is_enough_alone(count: int, hours: float, confirmed: bool) -> None:
    since = at("2026-11-16 05:00")
    item = asked(SUNDAY, count, since) if count else item_for(SUNDAY)
    assert nothing(item, since + hours * HOUR_S).confirmed is confirmed


@pytest.mark.parametrize(("count", "hours", "confirmed"), [(1, 12, False), (2, 11.9, False), (2, 12, True)])
def test_three_confirmations_take_three_answers_and_two_intervals(
    count: int, hours: float, confirmed: bool
) -> None:
    since = at("2026-11-16 05:00")
    verdict = nothing(
        asked(SUNDAY, count, since), since + hours * HOUR_S, configured=rules(empty_confirmations=3)
    )
    assert verdict.confirmed is confirmed


def test_before_the_settling_hour_nothing_counts() -> None:
    assert judged(item_for(SUNDAY), at("2026-11-16 04:30")) == NotYet(
        "not_published_yet", at("2026-11-16 05:00")
    )


def test_an_empty_working_day_is_an_alarm_and_stays_open() -> None:
    since = at_age(FRIDAY, 3)
    first = nothing(item_for(FRIDAY), since)
    assert (first.reason, first.confirmed, first.alarm) == ("nothing_on_a_working_day", False, False)
    for count in (1, 2, 10):
        later = nothing(asked(FRIDAY, count, since), since + count * DAY_S)
        assert (later.reason, later.confirmed, later.alarm) == ("nothing_on_a_working_day", False, True)


def test_a_day_the_operator_knows_to_be_empty_is_empty_with_the_same_proof() -> None:
    configured, since = rules(known_empty_days=frozenset({FRIDAY})), at_age(FRIDAY, 3)
    assert not nothing(item_for(FRIDAY), since, configured=configured).confirmed
    verdict = nothing(asked(FRIDAY, 1, since), since + 6 * HOUR_S, configured=configured)
    assert (verdict.confirmed, verdict.reason, verdict.alarm) == (True, "known_empty_day", False)


def test_a_registry_that_need_not_publish_on_working_days_can_be_configured() -> None:
    since = at_age(FRIDAY, 3)
    configured = rules(expect_filings_on_working_days=False)
    assert nothing(asked(FRIDAY, 1, since), since + 6 * HOUR_S, configured=configured).confirmed


@pytest.mark.parametrize("state", [State.STORED, State.RECHECKING])
def test_references_are_not_empty_while_documents_of_the_day_are_stored(state: State) -> None:
    since = at("2026-11-16 05:00")
    documents = {"pdf": holding(SUNDAY, "pdf", state=state)}
    verdict = nothing(asked(SUNDAY, 4, since), since + 30 * HOUR_S, siblings=documents)
    assert (verdict.confirmed, verdict.reason, verdict.alarm) == (False, "documents_without_references", True)


# ------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize("dataset", ["json", "xbrl", "pdf"])
@pytest.mark.parametrize("state", [State.EMPTY, State.REASKING])
def test_documents_of_an_empty_day_are_empty_and_need_no_recheck_of_their_own(
    state: State, dataset: str
) -> None:
    since = at("2026-11-16 05:00")
    siblings = {"references": holding(SUNDAY, "references", state=state)}
    verdict = nothing(asked(SUNDAY, 1, since, dataset), since + 6 * HOUR_S, siblings=siblings)
    assert verdict == Nothing("nothing_published", None, confirmed=True)


@pytest.mark.parametrize("dataset", ["json", "xbrl", "pdf"])
@pytest.mark.parametrize("state", [None, State.DUE, State.ACTIVE, State.ABSENT, State.QUARANTINED])
def test_documents_are_not_empty_before_the_references_are_known(dataset: str, state: State | None) -> None:
    since = at("2026-11-16 05:00")
    siblings = {} if state is None else {"references": holding(SUNDAY, "references", state=state)}
    verdict = nothing(asked(SUNDAY, 9, since, dataset), since + 90 * HOUR_S, siblings=siblings)
    assert (verdict.confirmed, verdict.reason, verdict.alarm) == (False, "waits_for_references", False)


@pytest.mark.parametrize(
    ("dataset", "models", "reason", "confirmed"),
    [
        ("json", ["m02-f-p"], "only_pdf_filings", True),
        ("xbrl", ["m02-f-p", "m900-p"], "only_pdf_filings", True),
        ("json", ["m02-f-p", "m01-f"], "missing_though_listed", False),
        ("xbrl", ["m07-f"], "missing_though_listed", False),
        ("pdf", ["m02-f-p"], "missing_though_listed", False),
        ("pdf", ["m01-f"], "missing_though_listed", False),
    ],
)
def test_a_day_of_pdf_filings_explains_missing_json_and_xbrl_and_nothing_else(
    dataset: str, models: list[str], reason: str, confirmed: bool
) -> None:
    filings = {f"2026-{number:08}": model for number, model in enumerate(models)}
    siblings = {"references": holding(FRIDAY, "references", listing(filings))}
    since = at_age(FRIDAY, 3)
    verdict = nothing(asked(FRIDAY, 1, since, dataset), since + 6 * HOUR_S, siblings=siblings)
    assert (verdict.reason, verdict.confirmed) == (reason, confirmed)
    assert verdict.alarm is not confirmed


def test_references_without_known_facts_explain_nothing() -> None:
    known = holding(FRIDAY, "references")
    assert known.version is not None
    siblings = {"references": replace(known, version=replace(known.version, facts={}))}
    since = at_age(FRIDAY, 3)
    verdict = nothing(asked(FRIDAY, 1, since, "json"), since + 6 * HOUR_S, siblings=siblings)
    assert verdict.reason == "missing_though_listed"


# ------------------------------------------------------------------------------------------------- between two products


def sunday_at(age: int) -> float:
    return at_age(SUNDAY, age)


def test_at_the_edge_the_second_product_is_asked_at_once() -> None:
    now = sunday_at(30)
    first = nothing(item_for(SUNDAY), now)
    assert first == Nothing("nothing_by_one_route", now)
    second = nothing(asked(SUNDAY, 1, now), now, product=ARCHIVE)
    assert second.reason == "at_window_edge"
    assert second.again_at == now + 6 * HOUR_S


def test_the_answer_of_a_product_whose_turn_it_is_not_proves_nothing() -> None:
    now = sunday_at(30)
    item = item_for(SUNDAY, product=ARCHIVE, attempts=1)  # the extract failed, the archive has nothing
    verdict = judged(item, now, product=ARCHIVE)
    assert isinstance(verdict, Failed)
    assert (verdict.reason, verdict.strikes_lane) == ("nothing_by_one_route", False)
    where = timeline.place(
        rules(), SUNDAY, "references", now, timeline.refusals_of(replace(item, attempts=2))
    )
    assert where.lane == "nbb/extract"


@pytest.mark.parametrize("age", [28, 30, 33, 34, 35])
def test_not_found_by_both_keeps_a_sunday_open_until_the_archive_alone_must_know(age: int) -> None:
    since = sunday_at(age) - 3 * DAY_S
    product = ARCHIVE
    verdict = nothing(asked(SUNDAY, 9, since), sunday_at(age), product=product)
    assert (verdict.reason, verdict.confirmed) == ("at_window_edge", False)
    assert verdict.again_at == sunday_at(age) + DAY_S  # daily


def test_at_the_edge_even_a_day_known_to_be_empty_waits_for_the_archive() -> None:
    configured = rules(known_empty_days=frozenset({SUNDAY}))
    at_edge = nothing(asked(SUNDAY, 9, sunday_at(27)), sunday_at(30), configured=configured, product=ARCHIVE)
    assert (at_edge.reason, at_edge.confirmed) == ("at_window_edge", False)
    later = nothing(asked(SUNDAY, 9, sunday_at(27)), sunday_at(36), configured=configured, product=ARCHIVE)
    assert (later.reason, later.confirmed) == ("known_empty_day", True)


def test_past_the_edge_the_archive_alone_proves_it() -> None:
    verdict = nothing(asked(SUNDAY, 9, sunday_at(30)), sunday_at(36), product=ARCHIVE)
    assert (verdict.reason, verdict.confirmed) == ("nothing_published", True)


def test_at_the_edge_documents_of_an_empty_day_wait_like_its_references() -> None:
    item = asked(SUNDAY, 9, sunday_at(28), "json")
    at_edge = nothing(item, sunday_at(30), siblings=REFERENCES_EMPTY, product=ARCHIVE)
    assert (at_edge.reason, at_edge.confirmed) == ("at_window_edge", False)
    said = nothing(item, sunday_at(30), answer(204), siblings=REFERENCES_EMPTY, product=ARCHIVE)
    assert said.confirmed
    assert nothing(item, sunday_at(36), siblings=REFERENCES_EMPTY, product=ARCHIVE).confirmed


@pytest.mark.parametrize("given_answer", STATEMENTS)
def test_an_empty_file_is_a_statement_even_at_the_edge(given_answer: Answer) -> None:
    since = sunday_at(29)
    assert nothing(asked(SUNDAY, 3, since), sunday_at(30), given_answer, product=ARCHIVE).confirmed
    assert not nothing(asked(SUNDAY, 1, since), sunday_at(30), given_answer, product=ARCHIVE).confirmed


def test_where_the_operator_knows_the_edge_both_products_together_are_believed() -> None:
    exact = rules(extract_max_age_days=30, extract_last_try_age_days=30, edge_give_up_age_days=30)
    since = sunday_at(29)
    assert not nothing(asked(SUNDAY, 2, since), sunday_at(30), configured=exact).confirmed
    assert nothing(asked(SUNDAY, 3, since), sunday_at(30), configured=exact, product=ARCHIVE).confirmed


EXACT_EDGE = rules(
    extract_max_age_days=30,
    extract_last_try_age_days=30,
    edge_give_up_age_days=30,
    empty_interval_s=60.0,
    max_attempts=10**6,
)


def told_until_confirmed(answered: list[bool], now: float) -> dict[str, int] | None:
    """Ask once a minute; True is "nothing there", False a failure. How often each product had said it, if confirmed."""
    item, told = item_for(SUNDAY), {EXTRACT: 0, ARCHIVE: 0}
    for is_nothing in answered:
        refusals = timeline.refusals_of(item)
        lane = timeline.place(EXACT_EDGE, SUNDAY, "references", now, refusals).lane
        verdict = judged(
            item, now, NOT_FOUND if is_nothing else answer(500), configured=EXACT_EDGE, product=lane[4:]
        )
        told[lane[4:]] += is_nothing
        if isinstance(verdict, Failed):
            item = replace(item, attempts=item.attempts + 1)
        elif isinstance(verdict, Nothing):
            since = now if item.nothing_at is None else item.nothing_at
            item = replace(item, attempts=0, nothing_count=item.nothing_count + 1, nothing_at=since)
            if verdict.confirmed:
                return told
        now += 60.0
    return None


def test_two_answers_of_each_product_confirm() -> None:
    assert told_until_confirmed([True] * 4, sunday_at(29)) == {EXTRACT: 2, ARCHIVE: 2}
    assert told_until_confirmed([True] * 3, sunday_at(29)) is None


def test_a_product_that_always_fails_is_never_replaced_by_the_other() -> None:
    assert told_until_confirmed([False, True] * 100, sunday_at(29)) is None
    assert told_until_confirmed([True, False] * 100, sunday_at(29)) is None


@given(answered=st.lists(st.booleans(), min_size=4, max_size=60))
def test_a_confirmation_rests_on_two_answers_of_each_product(answered: list[bool]) -> None:
    told = told_until_confirmed(answered, sunday_at(29))
    assert told is None or min(told.values()) >= EXACT_EDGE.empty_confirmations


# ------------------------------------------------------------------------------------------------- old days


@pytest.mark.parametrize("age", [1093, 1096])
def test_near_its_far_edge_not_found_by_the_archive_proves_nothing(age: int) -> None:
    verdict = nothing(asked(SUNDAY, 5, sunday_at(age) - 9 * DAY_S), sunday_at(age), product=ARCHIVE)
    assert (verdict.reason, verdict.confirmed) == ("at_window_edge", False)


@pytest.mark.parametrize("age", [1097, 1100])
@pytest.mark.parametrize("dataset", ["references", "pdf"])
def test_past_its_far_edge_not_found_means_gone_and_alarms(age: int, dataset: str) -> None:
    verdict = judged(item_for(SUNDAY, dataset, ARCHIVE), sunday_at(age), product=ARCHIVE)
    assert verdict == Absent("rolled_out", None, alarm=True)


@pytest.mark.parametrize(("age", "cap_s"), [(20, DAY_S), (35, DAY_S), (36, 7 * DAY_S), (500, 7 * DAY_S)])
def test_an_open_day_is_asked_for_daily_and_past_the_edge_weekly(age: int, cap_s: float) -> None:
    now = at_age(FRIDAY, age)
    product = EXTRACT if age < 28 else ARCHIVE
    verdict = nothing(asked(FRIDAY, 39, now - 30 * DAY_S), now, product=product)
    assert verdict.again_at == now + cap_s


# ------------------------------------------------------------------------------------------------- late publication


def test_a_working_day_that_is_late_is_asked_for_hourly_at_first() -> None:
    now, item, waits = at("2026-11-21 05:00"), item_for(FRIDAY), []
    for _ in range(6):
        verdict = nothing(item, now)
        assert verdict.again_at is not None
        waits.append((verdict.again_at - now) / HOUR_S)
        since = now if item.nothing_at is None else item.nothing_at
        item = replace(item, nothing_count=item.nothing_count + 1, nothing_at=since)
        now = verdict.again_at
    assert waits == [1, 2, 4, 8, 16, 24]


@pytest.mark.parametrize(("state", "hours"), [(State.DUE, 6), (State.EMPTY, 6), (State.STORED, 1)])
def test_documents_of_a_sunday_are_awaited_hourly_only_if_filings_are_listed(
    state: State, hours: float
) -> None:
    now = at_age(SUNDAY, 1)
    members = listing({"2026-00000001": "m01-f"})
    siblings = {"references": holding(SUNDAY, "references", members, state)}
    assert nothing(item_for(SUNDAY, "pdf"), now, siblings=siblings).again_at == now + hours * HOUR_S


def test_a_late_day_is_found_within_twice_its_lateness() -> None:
    """Whatever the hour of publication, the first question after it comes soon in proportion."""
    for late_h in range(1, 30):
        now, item = at("2026-11-21 05:00"), item_for(FRIDAY)
        published_at = now + late_h * HOUR_S
        while now < published_at:
            verdict = nothing(item, now)
            since = now if item.nothing_at is None else item.nothing_at
            item = replace(item, nothing_count=item.nothing_count + 1, nothing_at=since)
            assert verdict.again_at is not None
            now = verdict.again_at
        assert now - at("2026-11-21 05:00") <= 2 * late_h * HOUR_S + HOUR_S


def test_no_wait_is_shorter_than_its_first_however_small_the_cap() -> None:
    configured = rules(ask_again_cap_s=60.0)
    verdict = nothing(asked(SUNDAY, 0, 0.0), at_age(SUNDAY, 5), configured=configured)
    assert verdict.again_at == at_age(SUNDAY, 5) + 6 * HOUR_S


@given(count=st.integers(0, 5000), age=st.integers(1, 1090))
def test_waits_never_overflow_and_never_lie_in_the_past(count: int, age: int) -> None:
    now = at_age(FRIDAY, age)
    serving = timeline.products_at(rules(), age)
    verdict = nothing(asked(FRIDAY, count, now - DAY_S), now, product=serving[count % len(serving)])
    assert verdict.again_at is not None
    assert now <= verdict.again_at <= now + 7 * DAY_S


# ------------------------------------------------------------------------------------------------- gone


def test_a_stored_day_the_registry_no_longer_has_is_kept_and_alarmed_when_proven() -> None:
    now = at_age(FRIDAY, 2, hour=5)
    item = item_for(FRIDAY, state=State.RECHECKING)
    first = nothing(item, now)
    assert (first.reason, first.confirmed, first.alarm) == ("no_longer_served", False, False)
    again = replace(item, nothing_count=1, nothing_at=now)
    second = nothing(again, now + 6 * HOUR_S)
    assert (second.reason, second.confirmed, second.alarm) == ("no_longer_served", False, True)
    assert second.again_at == at_age(FRIDAY, 27, hour=5)
    last = nothing(replace(again, nothing_count=5), at_age(FRIDAY, 27, hour=6))
    assert last.again_at is None


def test_a_stored_day_past_the_far_edge_is_no_alarm() -> None:
    verdict = nothing(item_for(FRIDAY, state=State.RECHECKING), at_age(FRIDAY, 1098), product=ARCHIVE)
    assert not verdict.alarm
