"""Enterprise numbers: every way to write one leads to its ten digits, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.registries.nbb.enterprises import check_digits, enterprise_number, mistyped, shown

firsts = st.integers(min_value=0, max_value=19_999_999).map("{:08d}".format)
numbers = firsts.map(lambda first: f"{first}{check_digits(first):02d}")


@pytest.mark.parametrize(
    "written",
    [
        "0403101811",
        "403101811",
        "0403.101.811",
        "BE0403101811",
        "be 0403.101.811",
        " BE-0403 101 811 ",
        "0403/101/811",
    ],
)
def test_a_number_is_known_however_it_is_written(written: str) -> None:
    assert enterprise_number(written) == "0403101811"


@given(numbers)
def test_every_number_with_right_check_digits_is_itself(number: str) -> None:
    assert enterprise_number(number) == number
    assert enterprise_number(shown(number)) == number
    assert enterprise_number(f"BE {shown(number)}") == number


@given(numbers.filter(lambda number: number.startswith("0")))
def test_a_leading_zero_may_be_missing(number: str) -> None:
    assert enterprise_number(number[1:]) == number


@given(numbers, st.integers(0, 9), st.integers(1, 9))
def test_one_wrong_digit_makes_it_no_number(number: str, place: int, shift: int) -> None:
    wrong = str((int(number[place]) + shift) % 10)
    assert enterprise_number(number[:place] + wrong + number[place + 1 :]) is None


@given(st.text())
def test_whatever_is_accepted_has_ten_digits_that_fit(text: str) -> None:
    number = enterprise_number(text)
    assert number is None or (len(number) == 10 and int(number[8:]) == check_digits(number[:8]))


@pytest.mark.parametrize(
    "text", ["", "BE", "0403101812", "2403101811", "40310181", "00403101811", "٠٤٠٣١٠١٨١١", "0403101811x"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert enterprise_number(text) is None


def test_check_digits_are_never_zero() -> None:
    assert check_digits("00000097") == 97


@given(numbers, st.integers(1, 99))
def test_a_number_with_other_check_digits_is_told_with_the_right_ones(number: str, off: int) -> None:
    wrong = f"{number[:8]}{(int(number[8:]) + off) % 100:02d}"
    if enterprise_number(wrong) is None:
        assert mistyped(wrong) == mistyped(f"BE {shown(wrong)}") == number


@pytest.mark.parametrize(
    "text", ["0403.101.811", "403101811", "2403.101.811", "0403", "ZWAMBERG", "2026-00999001", ""]
)
def test_what_is_right_or_no_number_at_all_has_no_right_check_digits(text: str) -> None:
    assert mistyped(text) is None
