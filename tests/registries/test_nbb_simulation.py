"""All four datasets of a day, whatever is answered in whatever order: sealed in the end exactly if the bank's data agree.

Nothing here but pure functions: plan, request, interpret, record as the engine does, judge.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filingd.core.model import Answer, State
from filingd.registries.nbb import timeline
from registries.nbb_cases import (
    ARCHIVE,
    DAY_S,
    EXTRACT,
    FRIDAY,
    HOUR_S,
    SUNDAY,
    answer,
    at_age,
    rules,
    with_body,
)
from registries.nbb_world import Bank, Mirror

if TYPE_CHECKING:
    import datetime as dt

    from filingd.registries.nbb.rules import NbbRules

REFERENCES = [f"2026-{number:08}" for number in range(6)]
MODELS = st.sampled_from(["m01-f", "m87-f", "m02-f-p", "m900-p"])
MOST_TURNS = 3000

# What may go wrong with one answer; never what would be said of a day that is empty.
FAULTS: dict[str, Answer] = {
    "throttled": answer(429),
    "throttled for long": answer(429, Retry_After="7200"),
    "out of quota": answer(403, b"Out of call volume quota. Quota will be replenished in 01:00:00."),
    "busy": answer(503, Retry_After="30"),
    "server error": answer(500),
    "bad gateway": answer(502),
    "timeout": answer(504),
    "key refused": answer(401),
    "firewall": answer(403, b"<html>403 Forbidden</html>"),
    "wrong path": answer(404, b'{"statusCode": 404, "message": "Resource not found"}'),
    "media type": answer(415),
    "offline": Answer(transfer_reason="connect_failed"),
    "stalled": Answer(transfer_reason="stalled"),
    "cut": with_body(problem="short_body"),
    "bad crc": with_body(problem="zip_bad_crc"),
    "zip slip": with_body(problem="zip_bad_name"),
    "error under 200": with_body("json", problem="wrong_kind", head=b'{"statusCode": 500}'),
    "format changed": with_body(problem="inspect_failed"),
}
NOTHING: dict[str, Answer] = {
    "not found": answer(404),
    "no content": answer(204),
    "no bytes": with_body("empty"),
    "empty zip": with_body("empty_zip"),
}


@dataclass
class Story:
    """A bank, an operator, and the chances of each turn: which due item is worked, what goes wrong with its answer."""

    bank: Bank
    configured: NbbRules
    starts_at: float
    disturbances: list[str | None]
    choices: list[int]

    def run(self, mirror: Mirror, until: float) -> None:
        """Work off what is due, turn by turn, until nothing is due any more or the time is over."""
        for turn in range(MOST_TURNS):
            mirror.plan()
            due_at = mirror.next_due_at()
            if due_at is None or due_at > until:
                return
            mirror.now = max(mirror.now, due_at)
            mirror.plan()
            due = mirror.due()
            if not due:
                continue
            mirror.work(due[self._choice(turn) % len(due)], self._disturb)
            check_seal(mirror)
        raise AssertionError("the day never comes to rest")

    def _choice(self, turn: int) -> int:
        return self.choices[turn % len(self.choices)]

    def _disturb(self, dataset: str, truth: Answer) -> Answer:
        disturbance = self.disturbances.pop(0) if self.disturbances else None
        if disturbance in NOTHING and not self._may_be_denied(dataset):
            return truth
        return {**FAULTS, **NOTHING}.get(disturbance or "", truth)

    def _may_be_denied(self, dataset: str) -> bool:
        """Whether a false "nothing there" can be seen through, however often it is said.

        Not if it concerns the references of a Sunday, nor documents that no filing on the list asks for: a bank that
        says so for hours cannot be told from one that has nothing.
        """
        if dataset == "references":
            return timeline.is_working_day(self.bank.day)
        models = self.bank.filings.values()
        return any(dataset == "pdf" or not model.endswith("-p") for model in models)


def check_seal(mirror: Mirror) -> None:
    """Said in other words than the judge's: a sealed day holds what its list demands, and the list is the bank's."""
    if not mirror.is_sealed:
        return
    bank = mirror.bank
    states = {item.state for item in mirror.items.values()}
    assert states <= {State.STORED, State.RECHECKING, State.EMPTY}
    listed = mirror.held("references")
    # A Sunday that comes late may have been sealed as empty before; its re-check finds it (asserted at the end).
    is_late = bank.published_at > timeline.first_open_at(rules(), bank.day)
    if is_late and not listed and not timeline.is_working_day(bank.day):
        return
    assert bank.agrees_on(listed)
    # Late additions may be missing for a while; what was published from the first may not.
    assert listed >= bank.filings.keys()
    assert listed <= bank.filings.keys() | bank.additions.keys()
    assert mirror.held("pdf") == listed
    everything = {**bank.filings, **bank.additions}
    structured = {reference for reference in listed if not everything[reference].endswith("-p")}
    assert mirror.held("json") == mirror.held("xbrl") == structured


# ------------------------------------------------------------------------------------------------- any story


@st.composite
def banks(draw: st.DrawFn, day: dt.date, start_age: int) -> Bank:
    filings = draw(st.dictionaries(st.sampled_from(REFERENCES[:4]), MODELS, max_size=4))
    additions = draw(st.dictionaries(st.sampled_from(REFERENCES[4:]), MODELS, max_size=2)) if filings else {}
    opens_at = timeline.first_open_at(rules(), day)
    published_at = opens_at + draw(st.sampled_from([0, 0, 1, 5, 30])) * HOUR_S
    extract_last = draw(st.integers(27, 33))
    everything = sorted({**filings, **additions})
    somewhere = st.tuples(
        st.sampled_from(["json", "xbrl", "pdf"]), st.sampled_from(everything or REFERENCES[:1])
    )
    spoiled = draw(st.booleans())
    return Bank(
        day=day,
        filings=filings,
        additions=additions,
        published_at=published_at,
        complete_at=published_at + (draw(st.integers(0, 40)) * HOUR_S if start_age <= 1 else 0.0),
        extract_last_age=extract_last,
        archive_first_age=draw(st.integers(28, min(34, extract_last + 1))),
        empty_answer=draw(st.sampled_from(sorted(NOTHING)).map(NOTHING.__getitem__)),
        dropped=draw(st.frozensets(somewhere, max_size=2)) if spoiled else frozenset(),
        added=draw(st.frozensets(st.just(("json", "2026-99999999")), max_size=1)) if spoiled else frozenset(),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    day = draw(st.sampled_from([FRIDAY, SUNDAY]))
    products = draw(st.sampled_from([(EXTRACT, ARCHIVE), (EXTRACT, ARCHIVE), (EXTRACT,), (ARCHIVE,)]))
    start_age = draw(st.integers(1, 10 if products == (EXTRACT,) else 45))
    known_empty = frozenset({day}) if draw(st.booleans()) else frozenset()
    disturbance = st.none() | st.sampled_from(sorted(FAULTS)) | st.sampled_from(sorted(NOTHING))
    return Story(
        bank=draw(banks(day, start_age)),
        configured=rules(*products, known_empty_days=known_empty),
        starts_at=at_age(day, start_age, hour=draw(st.sampled_from([0, 6, 23]))),
        disturbances=draw(st.lists(disturbance, max_size=30)),
        choices=draw(st.lists(st.integers(0, 3), min_size=1, max_size=12)),
    )


def should_be_sealed(story: Story) -> bool:
    """Whether the bank's data agree, and prove what they say."""
    bank = story.bank
    if not bank.filings and timeline.is_working_day(bank.day):
        return bank.agrees and bank.day in story.configured.known_empty_days
    return bank.agrees


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("FILINGD_STORIES", "120")), deadline=None)
@given(story=stories())
def test_a_day_is_sealed_in_the_end_exactly_if_the_banks_data_agree(story: Story) -> None:
    if story.bank.day in story.configured.known_empty_days and story.bank.filings:
        # An operator who is wrong about an empty day gets what the bank has, once it is published.
        story.disturbances = [name for name in story.disturbances if name not in NOTHING]
        story.bank = dataclasses.replace(
            story.bank, published_at=timeline.first_open_at(rules(), story.bank.day)
        )
    mirror = Mirror(story.configured, story.bank, story.starts_at)
    story.run(mirror, until=at_age(story.bank.day, 150))
    assert mirror.is_sealed == should_be_sealed(story), mirror.judgement.reasons
    if mirror.is_sealed:
        assert mirror.held("pdf") == story.bank.filings.keys() | story.bank.additions.keys()


# ------------------------------------------------------------------------------------------------- told stories


def told(
    bank: Bank,
    *products: str,
    start_age: int = 1,
    disturbances: list[str | None] | None = None,
    **changes: Any,
) -> Mirror:
    """The story in the order of work, until the day is 150 days old."""
    starts_at = at_age(bank.day, start_age, hour=6)
    story = Story(bank, rules(*products, **changes), starts_at, disturbances or [], [0])
    mirror = Mirror(story.configured, bank, starts_at)
    story.run(mirror, until=at_age(bank.day, 150))
    return mirror


FILINGS = {"2026-00000001": "m01-f", "2026-00000002": "m02-f-p"}


def test_an_undisturbed_day_costs_four_calls_and_two_rechecks_of_each() -> None:
    mirror = told(Bank(FRIDAY, FILINGS))
    assert mirror.is_sealed
    assert mirror.asked == 4 * 3
    assert mirror.alarms == []


def test_an_empty_sunday_costs_two_calls_each_and_two_rechecks_of_the_references() -> None:
    mirror = told(Bank(SUNDAY, {}))
    assert mirror.is_sealed
    assert mirror.asked == 4 * 2 + 2
    assert mirror.alarms == []


def test_an_empty_sunday_found_at_the_edge_is_sealed_when_the_archive_alone_answers() -> None:
    mirror = told(Bank(SUNDAY, {}), start_age=29)
    assert mirror.is_sealed
    assert mirror.items[f"{mirror.group}/references"].nothing_at is not None
    assert mirror.judgement.facts["counts"]["pdf"] == 0


def test_an_empty_working_day_never_seals_and_alarms() -> None:
    mirror = told(Bank(FRIDAY, {}))
    assert not mirror.is_sealed
    assert set(mirror.alarms) == {"nothing_on_a_working_day"}


def test_a_day_too_young_for_the_only_subscription_is_fetched_when_the_archive_opens() -> None:
    mirror = told(Bank(FRIDAY, FILINGS), ARCHIVE)
    assert mirror.is_sealed
    assert {version.route.partition("/")[0] for version in mirror.versions.values()} == {ARCHIVE}


def test_a_day_is_had_from_the_archive_when_the_extract_closes_early() -> None:
    mirror = told(Bank(FRIDAY, FILINGS, extract_last_age=27), start_age=29)
    assert mirror.is_sealed
    assert {version.route.partition("/")[0] for version in mirror.versions.values()} == {ARCHIVE}


def test_a_day_is_had_from_the_extract_while_the_archive_opens_late() -> None:
    mirror = told(Bank(FRIDAY, FILINGS, extract_last_age=33, archive_first_age=34), start_age=30)
    assert mirror.is_sealed
    assert {version.route.partition("/")[0] for version in mirror.versions.values()} == {EXTRACT}


def test_a_day_published_thirty_hours_late_is_had_and_costs_no_attempt() -> None:
    late = timeline.first_open_at(rules(), FRIDAY) + 30 * HOUR_S
    mirror = told(Bank(FRIDAY, FILINGS, published_at=late, complete_at=late))
    assert mirror.is_sealed
    stored = [version.stored_at for version in mirror.versions.values()]
    assert max(stored) - late < 2 * DAY_S


def test_a_sunday_published_after_it_was_sealed_as_empty_is_found_by_the_recheck() -> None:
    late = at_age(SUNDAY, 1, hour=20)
    bank = Bank(SUNDAY, FILINGS, published_at=late, complete_at=late)
    mirror = told(bank)
    assert mirror.is_sealed
    assert mirror.held("pdf") == FILINGS.keys()


def test_late_additions_replace_what_was_stored() -> None:
    bank = Bank(FRIDAY, FILINGS, {"2026-00000009": "m87-f"}, complete_at=at_age(FRIDAY, 1, hour=18))
    mirror = told(bank)
    assert mirror.is_sealed
    assert {version.number for version in mirror.versions.values()} == {2}


def test_a_filing_that_is_never_delivered_keeps_the_day_open_at_falling_frequency() -> None:
    bank = Bank(FRIDAY, FILINGS, dropped=frozenset({("pdf", "2026-00000002")}))
    mirror = told(bank)
    assert mirror.judgement.reasons == ("pdf: 1 listed but not in the zip: 2026-00000002",)
    assert mirror.asked < 40


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_no_single_kind_of_fault_in_a_row_loses_a_day(fault: str) -> None:
    mirror = told(Bank(FRIDAY, FILINGS), disturbances=[fault] * 40)
    assert mirror.is_sealed
    assert mirror.held("pdf") == FILINGS.keys()


@pytest.mark.parametrize("denial", sorted(NOTHING))
def test_a_working_day_that_is_denied_for_days_is_still_had(denial: str) -> None:
    mirror = told(Bank(FRIDAY, FILINGS), disturbances=[denial] * 40)
    assert mirror.is_sealed
    assert mirror.held("pdf") == FILINGS.keys()


def test_a_day_older_than_the_window_is_absent_and_never_sealed() -> None:
    mirror = Mirror(rules(), Bank(FRIDAY, FILINGS), at_age(FRIDAY, 1200))
    mirror.plan()
    mirror.judge()
    assert not mirror.is_sealed
    assert {item.state for item in mirror.items.values()} == {State.ABSENT}
    assert mirror.next_due_at() is None
