from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from filingd.sandbox.companies import enterprise_number
from filingd.sandbox.generator import Filing, Generator
from filingd.sandbox.seasons import filings_count, is_working_day, real_filings
from filingd.sandbox.settings import SandboxSettings, settings_from

FRIDAY = dt.date(2026, 11, 20)


def generator(**fields: Any) -> Generator:
    return Generator(settings_from({"scale": 0.2, **fields}))


def month(**fields: Any) -> list[Filing]:
    made = generator(**fields)
    return [filing for n in range(30) for filing in made.filings(dt.date(2026, 9, 1) + dt.timedelta(days=n))]


def test_the_same_seed_gives_the_same_filings_and_another_seed_others() -> None:
    assert generator(seed=4).filings(FRIDAY) == generator(seed=4).filings(FRIDAY)
    assert generator(seed=4).filings(FRIDAY) != generator(seed=5).filings(FRIDAY)


def test_the_year_at_scale_one_holds_about_half_a_million_filings() -> None:
    days = [dt.date(2025, 1, 1) + dt.timedelta(days=n) for n in range(365)]
    assert 450_000 < sum(real_filings(SandboxSettings(), day) for day in days) < 550_000


def test_the_season_peaks_in_early_july_and_late_august() -> None:
    at_scale_one = settings_from({"scale": 1.0})
    assert 500 < filings_count(at_scale_one, dt.date(2026, 11, 18)) < 1200
    assert 4_500 < filings_count(at_scale_one, dt.date(2026, 7, 2)) < 8_500
    assert 5_000 < filings_count(at_scale_one, dt.date(2026, 8, 27)) < 9_000


def test_a_working_day_is_never_empty_however_small_the_scale() -> None:
    tiny = settings_from({"scale": 0.0001})
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(365)]
    assert all(filings_count(tiny, day) >= 1 for day in days if is_working_day(day))


def test_sundays_and_belgian_holidays_are_empty_and_saturdays_nearly() -> None:
    real = settings_from({"scale": 1.0})
    assert filings_count(real, dt.date(2026, 11, 22)) == 0
    assert filings_count(real, dt.date(2026, 7, 21)) == 0  # national holiday, a Tuesday
    assert filings_count(real, dt.date(2026, 5, 14)) == 0  # Ascension
    assert 0 < filings_count(real, dt.date(2026, 11, 21)) < 40
    assert filings_count(settings_from({"scale": 1.0, "sunday_share": 0.5}), dt.date(2026, 11, 22)) > 100


def test_the_count_of_a_single_day_can_be_set() -> None:
    made = generator(filings_on={"2026-11-20": 0, "2026-11-22": 7})
    assert made.filings(FRIDAY) == ()
    assert len(made.filings(dt.date(2026, 11, 22))) == 7


def test_reference_numbers_are_unique_over_two_years_and_rise_with_the_days() -> None:
    made = generator(scale=0.02)
    seen: set[str] = set()
    last_of_day = ""
    for n in range(730):
        day = dt.date(2025, 1, 15) + dt.timedelta(days=n)
        numbers = [filing.reference_number for filing in made.filings(day)]
        assert not seen & set(numbers)
        seen |= set(numbers)
        if numbers and day.month > 1:  # in January deposits of the old year mix in
            assert min(numbers) > last_of_day
            last_of_day = max(numbers)
        elif day.month == 1:
            last_of_day = ""
    assert all(len(number) == 13 and number[4] == "-" for number in seen)


def test_more_filings_on_a_day_than_the_real_registry_has_still_have_numbers_of_their_own() -> None:
    made = generator(filings_on={"2026-11-18": 3000}, scale=1.0)
    numbers = [made.filings(dt.date(2026, 11, day)) for day in (17, 18, 19)]
    flat = [filing.reference_number for filings in numbers for filing in filings]
    assert len(flat) == len(set(flat)) > 4000


def test_an_addition_has_a_number_that_no_filing_of_any_near_day_has() -> None:
    made = generator()
    taken = {
        filing.reference_number
        for n in range(-5, 6)
        for filing in made.filings(FRIDAY + dt.timedelta(days=n))
    }
    added = {made.addition(FRIDAY, index).reference_number for index in range(3)}
    assert len(added) == 3
    assert not added & taken


def test_setting_the_count_of_one_day_moves_no_other_day() -> None:
    later = dt.date(2026, 11, 25)
    assert generator().filings(later) == generator(filings_on={"2026-11-20": 5000}).filings(later)


def test_about_four_percent_are_filed_as_pdf_and_the_share_is_a_knob() -> None:
    usual, many = month(), month(pdf_only_share=0.30)
    assert 0.03 < sum(filing.pdf_only for filing in usual) / len(usual) < 0.055
    assert 0.26 < sum(filing.pdf_only for filing in many) / len(many) < 0.34
    assert all(filing.structured != filing.pdf_only for filing in usual)


def test_a_correction_is_a_later_filing_of_the_same_enterprise_and_exercise() -> None:
    filings = month()
    initial = {(filing.company.number, filing.exercise_end, filing.model_type) for filing in filings}
    corrections = [filing for filing in filings if filing.deposit_type == "Correction"]
    late_in_month = [filing for filing in corrections if filing.published_on > dt.date(2026, 9, 21)]
    assert len(corrections) > 20
    assert late_in_month
    for filing in late_in_month:
        assert (filing.company.number, filing.exercise_end, filing.model_type) in initial


def test_some_references_lack_their_enterprise_number_and_some_names_are_not_ascii() -> None:
    filings = month()
    assert 0 < sum(not filing.enterprise_listed for filing in filings) < len(filings) * 0.03
    assert any(not filing.company.name.isascii() for filing in filings)


def test_a_company_keeps_its_name_and_address_over_all_its_filings() -> None:
    by_number = {filing.company.number: filing.company for filing in month()}
    assert all(by_number[filing.company.number] == filing.company for filing in month())


def test_some_days_have_one_big_xbrl_and_late_filings_are_a_share() -> None:
    filings = month(late_share=0.2, big_xbrl_every_days=5)
    big = [filing.published_on for filing in filings if filing.big_xbrl]
    assert 3 <= len(big) == len(set(big)) <= 6
    assert 0.15 < sum(filing.late for filing in filings) / len(filings) < 0.25


def test_deposit_comes_before_publication_and_the_sentinel_dates_occur() -> None:
    filings = month()
    assert all(filing.deposited_on < filing.published_on for filing in filings)
    assert any(filing.exercise_start == dt.date(1900, 1, 1) for filing in filings)
    assert any(filing.assembly_on == dt.date(9999, 1, 1) for filing in filings)


@given(st.integers(min_value=0, max_value=9_999))
@settings(max_examples=200)
def test_every_enterprise_number_is_synthetic_and_has_right_check_digits(index: int) -> None:
    number = enterprise_number(index)
    assert len(number) == 10
    assert number.startswith("0999")
    assert int(number[8:]) == 97 - int(number[:8]) % 97
