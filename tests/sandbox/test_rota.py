"""From a day to its companies and back, and from a reference number to its filing: no way may lose one."""

from __future__ import annotations

import collections
import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filingd.sandbox.companies import enterprise_number, index_of
from filingd.sandbox.generator import Generator
from filingd.sandbox.settings import settings_from

UNTIL = dt.date(2026, 11, 20)


def generator(**fields: Any) -> Generator:
    return Generator(settings_from({"scale": 0.02, **fields}))


def days(first: dt.date, count: int) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for n in range(count)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"scale": 0.0005, "correction_share": 0.5},
        {"correction_share": 0.4},
        {"sunday_share": 1.0, "holiday_share": 1.0, "saturday_share": 1.0},
        {"filings_on": {"2026-03-04": 0, "2026-03-05": 900, "2026-03-08": 12_000}},
    ],
)
def test_the_days_of_two_years_and_the_lists_of_all_companies_hold_the_same_filings(
    fields: dict[str, Any],
) -> None:
    made = generator(**{"scale": 0.004, **fields})
    by_day = {filing.slot for day in days(dt.date(2025, 1, 1), 730) for filing in made.filings(day)}
    owned = {slot: made.rota.owner(*slot) for slot in by_day}
    listed = {
        slot: company
        for company in range(made.rota.companies)
        for slot in made.rota.slots_of(company, 2024, 2026)
        if made.exists(*slot) and 2025 <= slot[0].year <= 2026
    }
    assert listed == owned
    number = made.numbers(8)[7]
    mine = {
        filing.slot
        for filing in made.filings_of(number, dt.date(2026, 12, 31))
        if filing.published_on.year > 2024
    }
    assert mine == {slot for slot, company in owned.items() if enterprise_number(company) == number}


def test_the_owners_of_a_day_are_those_of_its_filings_one_by_one() -> None:
    made = generator(correction_share=0.3, filings_on={"2026-03-04": 3, "2026-03-05": 400})
    for day in days(dt.date(2026, 3, 2), 8):
        assert made.rota.owners(day) == [made.rota.owner(day, index) for index in range(made.rota.count(day))]


def test_a_company_has_each_of_its_filings_once() -> None:
    made = generator(correction_share=0.3, filings_on={"2026-03-08": 30_000})
    for number in made.numbers(100):
        slots = [filing.slot for filing in made.filings_of(number, UNTIL)]
        assert len(slots) == len(set(slots)) >= 2


def test_every_reference_number_leads_back_to_its_filing() -> None:
    made = generator(filings_on={"2026-03-05": 9000})
    for first in (
        dt.date(2026, 1, 1),
        dt.date(2022, 3, 20),
        dt.date(2022, 8, 25),
        dt.date(1999, 12, 20),
        dt.date(1978, 1, 2),
    ):
        for day in days(first, 70):
            for filing in made.filings(day):
                assert made.locate(filing.reference_number) == filing.slot
                assert made.exists(*filing.slot)
    addition = made.addition(dt.date(2026, 11, 19), 2)
    assert made.locate(addition.reference_number) == addition.slot
    assert not made.exists(*addition.slot)


@given(st.integers(1900, 2105), st.integers(0, 99_999_999))
@settings(max_examples=300, deadline=None)
def test_a_number_that_was_never_given_out_leads_nowhere_or_to_itself(year: int, number: int) -> None:
    made = generator()
    reference = f"{year}-{number:08d}"
    slot = made.locate(reference)
    assert slot is None or made.filing(*slot).reference_number == reference


@pytest.mark.parametrize("text", ["", "2026", "2026-1", "2026-000000001", "x026-00000001", "2026-00000001 "])
def test_what_is_no_reference_number_leads_nowhere(text: str) -> None:
    assert generator().locate(text) is None


@given(st.integers(0, 519_999))
@settings(max_examples=200)
def test_every_enterprise_number_leads_back_to_its_company(index: int) -> None:
    number = enterprise_number(index)
    assert index_of(number) == index
    assert number.startswith("09")
    assert int(number[8:]) == 97 - int(number[:8]) % 97
    assert index_of(f"{number[:8]}{(int(number[8:]) + 1) % 100:02d}") is None


def test_a_number_the_registry_does_not_know_has_no_company_and_no_filings() -> None:
    made = generator()
    beyond = enterprise_number(made.rota.companies)
    assert made.company(beyond) is None
    assert made.filings_of(beyond, UNTIL) == made.filings_of("0403101811", UNTIL) == []


def test_a_company_files_about_once_a_year_about_the_same_time() -> None:
    made = generator(correction_share=0.0)
    rows = [made.filings_of(number, UNTIL) for number in made.numbers(200)]
    recent = [[filing for filing in filings if 2023 <= filing.published_on.year <= 2025] for filings in rows]
    assert sum(len(filings) == 3 for filings in recent) > 150
    for filings in recent:
        dates = [filing.published_on.replace(year=2024).timetuple().tm_yday for filing in filings]
        assert not dates or max(dates) - min(dates) < 40
    histories = [len(filings) for filings in rows if filings]
    assert min(histories) <= 8
    assert max(histories) >= 30


def test_rows_of_a_company_share_its_address_and_differ_in_activity_and_sometimes_in_name() -> None:
    made = generator()
    rows = [made.filings_of(number, UNTIL) for number in made.numbers(60)]
    assert all(len({filing.company for filing in filings}) == 1 for filings in rows if filings)
    assert any(len({filing.enterprise_name for filing in filings}) > 1 for filings in rows)
    assert any(len({filing.activity_code for filing in filings}) > 1 for filings in rows)


def test_old_rows_are_those_of_their_time() -> None:
    made = generator()
    rows = [filing for number in made.numbers(400) for filing in made.filings_of(number, UNTIL)]
    by_age = collections.defaultdict(list)
    for filing in rows:
        by_age[filing.deposited_on.year].append(filing)
    assert {filing.model_type for filing in by_age[1983]} == {"m900-p"}
    assert {filing.currency for filing in by_age[1999]} == {"BEF"}
    assert {filing.linked for filing in by_age[1999]} == {False}
    assert {filing.linked for filing in by_age[2006] if filing.model_type == "m01-f"} == {True, False}
    assert {filing.linked for filing in by_age[2012]} == {True}
    assert not any(filing.model_type.startswith(("m87", "m81", "m07")) for filing in by_age[2014])
    assert any(filing.exercise_start == dt.date(1900, 1, 1) for filing in by_age[1990])


@pytest.mark.parametrize(
    ("document", "first"),
    [("json", dt.date(2022, 4, 4)), ("xbrl", dt.date(2007, 4, 1)), ("pdf", dt.date(1998, 1, 1))],
)
def test_a_format_exists_from_its_first_day_of_deposit_on(document: Any, first: dt.date) -> None:
    made = generator(pdf_only_share=0.0)
    around = [filing for day in days(first - dt.timedelta(days=20), 60) for filing in made.filings(day)]
    plain = [filing for filing in around if filing.structured or document == "pdf"]
    assert plain
    assert all(filing.exists_as(document) == (filing.deposited_on >= first) for filing in plain)
    assert {filing.exists_as(document) for filing in plain} == {True, False}


def test_one_company_is_found_without_making_a_day() -> None:
    made = generator(scale=1.0)
    made.filings_of(made.numbers(1)[0], UNTIL)
    assert made._cached_day.cache_info().misses == 0
