"""What the bank makes of filings afterwards (NBB reference, section 6.6): both ways of asking agree, and the figures hold."""

from __future__ import annotations

import collections
import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from filingd.sandbox import documents
from filingd.sandbox.days import DayStore
from filingd.sandbox.improved_documents import LABELS, label
from filingd.sandbox.removals import Removals
from filingd.sandbox.seasons import is_working_day
from filingd.sandbox.settings import settings_from

if TYPE_CHECKING:
    from filingd.sandbox.improvements import Improvement

AT = 4e9  # long after every day opened


def store(**fields: Any) -> DayStore:
    return DayStore(settings_from({"scale": 0.1, **fields}), "http://127.0.0.1:1", Removals())


def autumn(made: DayStore, count: int = 60) -> list[Improvement]:
    first = dt.date(2026, 9, 1)
    return [entry for n in range(count) for entry in made.improver.on_day(first + dt.timedelta(days=n))]


def document(made: DayStore, entry: Improvement) -> dict[str, Any]:
    return dict(json.loads(made.document(entry, "json")))


def test_a_days_list_and_the_lists_of_all_filings_hold_the_same_improvements() -> None:
    made = store(scale=0.02, extracted_share=0.9, corrected_share=0.2, foreign_currency_share=0.1)
    first, last = dt.date(2026, 7, 1), dt.date(2026, 8, 31)
    by_filing = [
        entry
        for n in range(200)
        for filing in made.generator.filings(last - dt.timedelta(days=n))
        for entry in made.improver.of_filing(filing)
        if first <= entry.finalised_on <= last
    ]
    days = [first + dt.timedelta(days=n) for n in range(62)]
    by_day = [entry for day in days for entry in made.improver.on_day(day)]
    assert len(by_day) == len(set(by_day)) > 300
    assert set(by_day) == set(by_filing)


def test_the_same_seed_gives_the_same_improvements_and_bytes_and_another_seed_others() -> None:
    entries = [autumn(store(seed=seed), 20) for seed in (3, 3, 4)]
    assert entries[0] == entries[1] != entries[2]
    texts = [
        [made.document(entry, "json") for entry in autumn(made, 20)]
        for made in (store(seed=3), store(seed=3))
    ]
    assert texts[0] == texts[1]
    assert texts[0]


def test_a_few_percent_of_the_filings_are_improved_days_to_months_after_their_publication() -> None:
    made = store()
    filings = [
        filing
        for n in range(90)
        for filing in made.generator.filings(dt.date(2026, 5, 1) + dt.timedelta(days=n))
    ]
    improved = [made.improver.of_filing(filing) for filing in filings]
    assert 0.02 < sum(bool(entries) for entries in improved) / len(filings) < 0.08
    lags = [(entry.finalised_on - entry.slot[0]).days for entries in improved for entry in entries]
    assert min(lags) >= 2
    assert max(lags) > 60
    assert all(is_working_day(entry.finalised_on) for entries in improved for entry in entries)


def test_weekends_have_no_improvements_and_at_a_small_scale_some_working_days_have_none() -> None:
    made = store(scale=0.01)
    days = [dt.date(2026, 9, 1) + dt.timedelta(days=n) for n in range(60)]
    counts = {day: len(made.improver.on_day(day)) for day in days}
    assert all(not count for day, count in counts.items() if day.weekday() > 4)
    working = [count for day, count in counts.items() if is_working_day(day)]
    assert 0 in working
    assert max(working) > 0


def test_the_kind_follows_from_the_filing() -> None:
    made = store(foreign_currency_share=0.05)
    seen = collections.Counter(entry.kind for entry in autumn(made))
    assert set(seen) == {"Pdf_extracted", "Euro_converted", "Corrected"}
    for entry in autumn(made):
        filing = made.generator.filing(*entry.slot)
        if entry.nth == 0:
            assert (entry.kind == "Pdf_extracted") == filing.pdf_only
            assert (entry.kind == "Euro_converted") == (filing.currency != "EUR" and not filing.pdf_only)
        assert entry.finalised_on > filing.published_on


def test_some_filings_are_improved_twice_under_the_same_name_with_other_figures() -> None:
    made = store(corrected_share=0.2)
    again = [entry for entry in autumn(made) if entry.nth == 1]
    same = other = 0
    for entry in again:
        first, second = made.improver.of_filing(made.generator.filing(*entry.slot))
        assert first.finalised_on < second.finalised_on
        if label(first, made._settings) == label(second, made._settings):
            same += 1
            assert document(made, first) != document(made, second)
        else:
            other += 1
    assert same > 5
    assert other > 1


def test_a_document_holds_the_complete_set_of_rubrics_and_changes_those_of_its_part_alone() -> None:
    made = store(corrected_share=0.3)
    by_part: dict[str, int] = collections.Counter()
    for entry in autumn(made, 4):
        if entry.kind != "Corrected" or entry.nth:
            continue
        before = {
            (row["Code"], row["Period"]): row for row in documents.rubrics(made.generator.filing(*entry.slot))
        }
        after = {(row["Code"], row["Period"]): row for row in document(made, entry)["Rubrics"]}
        assert list(before) == list(after)
        changed = {row["DataType"] for key, row in before.items() if after[key] != row}
        amounts, social = {"met:am1", "met:am2"}, {"met:dec1", "met:int4"}
        assert bool(changed & amounts) == ("AA" in entry.part)
        assert bool(changed & social) == ("SB" in entry.part)
        assert all(Decimal(row["Value"]) >= 0 for row in after.values() if row["DataType"] == "met:am1")
        by_part[entry.part] += 1
    assert set(by_part) == {"AA", "SB", "AA+SB"}


def test_extracted_figures_come_with_participating_interests_and_the_others_with_entity_and_rubrics_only() -> (
    None
):
    made = store(foreign_currency_share=0.05)
    keys = {entry.kind: set(document(made, entry)) for entry in autumn(made, 15)}
    plain = {"ReferenceNumber", "EnterpriseName", "LegalForm", "Rubrics"}
    assert keys["Pdf_extracted"] == plain | {"ParticipatingInterests"}
    assert keys["Euro_converted"] == keys["Corrected"] == plain


def test_a_converted_amount_is_in_euro_and_an_extracted_one_in_the_currency_it_was_filed_in() -> None:
    made = store(foreign_currency_share=0.2, pdf_only_share=0.3)
    seen = set()
    for entry in autumn(made, 4):
        filing = made.generator.filing(*entry.slot)
        if entry.nth or filing.currency == "EUR":
            continue
        filed = [row["Value"] for row in documents.rubrics(filing) if row["DataType"] == "met:am1"]
        shown = [row["Value"] for row in document(made, entry)["Rubrics"] if row["DataType"] == "met:am1"]
        assert (filed == shown) == (entry.kind == "Pdf_extracted")
        seen.add(entry.kind)
    assert seen == {"Pdf_extracted", "Euro_converted"}


def test_labels_are_the_four_known_ones_and_an_unknown_one_and_that_for_both_are_knobs() -> None:
    made = store(corrected_share=0.2, foreign_currency_share=0.02)
    assert {label(entry, made._settings) for entry in autumn(made)} == set(LABELS.values())
    odd = store(corrected_share=0.2, improved_unknown_label_share=0.2, improved_both_label="aa-sb-corrected")
    seen = collections.Counter(label(entry, odd._settings) for entry in autumn(odd))
    assert seen.keys() - LABELS.values() == {"restated-authentic", "aa-sb-corrected"}
    assert 0.1 < seen["restated-authentic"] / seen.total() < 0.3


def test_both_parts_on_one_day_are_one_line_and_one_document() -> None:
    made = store(corrected_share=0.2)
    for day in {entry.finalised_on for entry in autumn(made, 10) if entry.part == "AA+SB"}:
        view = made.view(day, "json", AT, family="improved")
        names = [made._name(view, entry) for entry in made.improvements(view)]
        assert len(names) == len(set(names)) == len({entry.slot for entry in made.improvements(view)})


def test_an_extraction_may_have_no_line_and_everything_else_has_one() -> None:
    made = store(pdf_only_share=0.3, unlisted_extraction_share=0.5)
    entries = autumn(made)
    unlisted = [entry for entry in entries if not entry.listed]
    assert {entry.kind for entry in unlisted} == {"Pdf_extracted"}
    day = unlisted[0].finalised_on
    views = {name: made.view(day, name, AT, family="improved") for name in ("references", "json")}
    assert set(made.member_digests(views["references"])) < set(made.member_digests(views["json"]))


@pytest.mark.parametrize(("fields", "pascal"), [({}, False), ({"casing": "pascal"}, True), ({"improved_casing": "pascal"}, True),
    ({"casing_flips": {"2026-09-01": "pascal"}}, True), ({"casing": "pascal", "improved_casing": "camel"}, False)])  # fmt: skip
def test_the_casing_of_improved_references_follows_the_authentic_one_or_a_knob_of_its_own(
    fields: dict[str, Any], pascal: bool
) -> None:
    made = store(**fields)
    entry = autumn(made)[0]
    view = made.view(entry.finalised_on, "references", AT, family="improved")
    row = json.loads(made._document(view, entry, 0))
    assert ("ReferenceNumber" in row, "referenceNumber" in row) == (pascal, not pascal)


def test_a_line_tells_what_was_made_when_and_of_which_part() -> None:
    made = store(corrected_share=0.2, improved_both_data="AA SB")
    for entry in autumn(made, 10):
        row = json.loads(made.reference(entry, "pascal"))
        assert row["DataVersion"] == entry.kind
        assert row["ImprovementDate"] == entry.finalised_on.isoformat()
        assert row["CorrectedData"] == {"": None, "AA+SB": "AA SB"}.get(entry.part, entry.part)
        assert len(row) == 19


def test_nothing_was_improved_of_what_was_deposited_before_april_2022() -> None:
    made = store(corrected_share=1.0)
    filings = made.generator.filings(dt.date(2022, 4, 6))
    assert {filing.deposited_on >= dt.date(2022, 4, 4) for filing in filings} == {True, False}
    for filing in filings:
        assert bool(made.improver.of_filing(filing)) <= (filing.deposited_on >= dt.date(2022, 4, 4))
    assert made.improver.on_day(dt.date(2022, 4, 5)) == []
