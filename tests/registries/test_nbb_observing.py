"""What the manifest knows of a day, as facts for alarms."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any

import pytest

from filingd.core import alarms
from filingd.core.alarms import Bounds, Facts
from filingd.core.model import Group, Item, State, Version
from filingd.registries.nbb.models import KNOWN_MODELS, model_of
from filingd.registries.nbb.observing import Observer
from filingd.registries.nbb.payloads import KNOWN_FIELDS

BRUSSELS = zoneinfo.ZoneInfo("Europe/Brussels")
DAY = "nbb/authentic/2026-11-19"
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=BRUSSELS).timestamp()
HOUR_S = 3600.0
OBSERVER = Observer(BRUSSELS, dt.time(5), 2, 6 * HOUR_S, 14)


def item(dataset: str, state: State = State.DUE, **fields: Any) -> Item:
    return Item(f"{DAY}/{dataset}", "nbb/extract", state, **{"due_at": NOW - 1.0, **fields})


def listed(**facts: Any) -> Version:
    return Version(
        f"{DAY}/references", 1, "x.zip", 1, b"", NOW - HOUR_S, "extract/references", "id", facts=facts
    )


def facts_of(
    *items: Item, listing: Version | None = None, observer: Observer = OBSERVER, **group: Any
) -> alarms.DayFacts:
    return observer.day(Group(DAY, **{"opened_at": NOW - 12 * HOUR_S, **group}), items, listing, NOW)


def test_a_day_is_known_by_its_date_and_by_when_it_could_be_had() -> None:
    facts = facts_of(item("references"))
    assert (facts.family, facts.day, facts.age_days) == ("nbb/authentic", dt.date(2026, 11, 19), 1)
    assert facts.published_at == dt.datetime(2026, 11, 20, 5, 0, tzinfo=BRUSSELS).timestamp()


@pytest.mark.parametrize(
    ("items", "is_waiting"),
    [
        ([item("references", due_at=NOW + 1, reason="not_published_yet")], True),
        ([item("references", due_at=NOW + 1, reason="waits_for_archive")], True),
        ([item("references", due_at=NOW + 1)], True),
        ([item("references", due_at=NOW - 1)], False),
        ([item("references", due_at=NOW + 1, attempts=1)], False),
        ([item("references", due_at=NOW + 1, nothing_count=1)], False),
        ([item("references", due_at=NOW + 1, reason="server_error_500")], False),
        ([item("references", State.QUARANTINED, due_at=NOW + 1)], False),
        ([item("references", State.STORED), item("json", due_at=NOW + 1)], True),
        ([item("references", State.STORED)], False),
        ([], False),
    ],
)
def test_a_day_waits_when_nothing_that_is_left_of_it_is_due(items: list[Item], is_waiting: bool) -> None:
    assert facts_of(*items).is_waiting == is_waiting


@pytest.mark.parametrize(
    ("asked", "hours", "is_proven"), [(1, 9.0, False), (2, 5.9, False), (2, 6.0, True), (3, 30.0, True)]
)
def test_an_alarming_answer_counts_once_it_is_proven(asked: int, hours: float, is_proven: bool) -> None:
    said = item(
        "references", reason="nothing_on_a_working_day", nothing_count=asked, nothing_at=NOW - hours * HOUR_S
    )
    answers = facts_of(said).answers
    expected = {said.key: ("nothing_on_a_working_day", NOW - hours * HOUR_S)} if is_proven else {}
    assert answers == expected


def test_an_empty_holiday_that_is_proven_is_no_alarm() -> None:
    empty = [item(name, State.EMPTY, reason="nothing_published", nothing_count=2, nothing_at=NOW - 9 * HOUR_S)
             for name in ("references", "json", "xbrl", "pdf")]  # fmt: skip
    facts = facts_of(*empty, sealed_at=NOW, facts={"counts": {"json": 0}, "filings": 0})
    assert alarms.standing(Facts(NOW, [facts], []), Bounds()) == []


@pytest.mark.parametrize("reason", ["inspect_failed", "zero_known_fields"])
def test_references_that_cannot_be_read_are_named_documents_are_not(reason: str) -> None:
    assert facts_of(item("references", reason=reason, attempts=1)).unreadable_key == f"{DAY}/references"
    assert facts_of(item("json", reason=reason, attempts=1)).unreadable_key is None
    assert facts_of(item("references", State.STORED, reason=reason)).unreadable_key is None


def test_what_began_gave_up_or_is_lost_is_told() -> None:
    facts = facts_of(
        item("references", State.STORED, stored_at=5.0),
        item("json", nothing_at=7.0),
        item("pdf", State.QUARANTINED),
    )
    assert (facts.begun_at, facts.gave_up, facts.is_lost) == (5.0, True, False)
    assert facts_of(item("pdf", State.ABSENT, due_at=None)).is_lost


def test_what_nobody_knows_is_told_by_one_name_whatever_its_casing_and_without_what_was_looked_at() -> None:
    listing = listed(filings=9, fields={"modeltype": 9}, unknown_fields={"NewThing": 2, "superseded_by": 1},
                     models={"m87": 5, "m999": 1, "m777": 1}, casing="pascal")  # fmt: skip
    found = facts_of(listing=listing).listing
    assert found is not None
    assert (found.stored_at, found.filings, found.casing) == (NOW - HOUR_S, 9, "pascal")
    assert found.unknown_fields == {"newthing": 2, "supersededby": 1}
    assert found.unknown_models == {"m999": 1, "m777": 1}
    looked_at = Observer(BRUSSELS, dt.time(5), 2, 1.0, 14, frozenset({"newThing"}), frozenset({"M999"}))
    again = facts_of(listing=listing, observer=looked_at).listing
    assert again is not None
    assert (again.unknown_fields, again.unknown_models) == ({"supersededby": 1}, {"m777": 1})


def test_a_version_of_before_these_facts_were_kept_tells_nothing_wrong() -> None:
    facts = facts_of(listing=listed(filings=9, casing="camel", unknown_fields={}), sealed_at=NOW)
    assert alarms.standing(Facts(NOW, [facts], []), Bounds()) == []


@pytest.mark.parametrize(
    ("states", "sealed_at", "expected"),
    [
        ({"references": State.STORED, "json": State.STORED}, None, (100, 84)),
        ({"references": State.STORED, "json": State.DUE}, None, (None, None)),
        ({}, NOW, (100, 84)),
    ],
)
def test_counts_are_those_of_a_day_whose_references_and_json_are_both_there(
    states: dict[str, State], sealed_at: float | None, expected: tuple[int | None, int | None]
) -> None:
    items = [item(name, state) for name, state in states.items()]
    facts = facts_of(
        *items, sealed_at=sealed_at, facts={"filings": 100, "counts": {"references": 100, "json": 84}}
    )
    assert (facts.filings, facts.with_json) == expected


@pytest.mark.parametrize(("age", "is_near"), [(1, True), (28, True), (29, False), (900, False)])
def test_the_list_of_an_old_day_is_left_alone(age: int, is_near: bool) -> None:
    group = f"nbb/improved/{dt.date(2026, 11, 20) - dt.timedelta(days=age)}"
    assert OBSERVER.listing_key(group, NOW) == (f"{group}/references" if is_near else None)


@pytest.mark.parametrize(
    ("model_type", "model"), [("m02-f-p", "m02"), ("M87-f", "m87"), ("m900-p", "m900"), ("m120-f-p", "m120")]
)
def test_a_model_is_the_first_part_of_its_type_and_these_are_known(model_type: str, model: str) -> None:
    assert model_of(model_type) == model
    assert model in KNOWN_MODELS


def test_known_fields_are_spelled_as_they_are_compared() -> None:
    assert all(field == field.lower() and "_" not in field for field in KNOWN_FIELDS)
