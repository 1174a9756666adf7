"""Sizes, durations and times of day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core import units

if TYPE_CHECKING:
    import datetime as dt


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("5 GiB", 5 * 1024**3),
        ("5GiB", 5 * 1024**3),
        ("  20 mb ", 20_000_000),
        ("1.5 KiB", 1536),
        ("0 B", 0),
        ("1 TiB", 1024**4),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "5", "GiB", "5 GiB 3 MiB", "5 gigs", "-1 GiB", "1e9 B", "5 GiB.", "\u0665 GiB", "9" * 40 + " B"],
)
def test_a_size_that_cannot_be_read_says_how_to_write_one(text: str) -> None:
    with pytest.raises(units.UnitError, match=r'such as "5 GiB"'):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 s", 30.0),
        ("15min", 900.0),
        ("1 h 30 min", 5400.0),
        ("250 ms", 0.25),
        ("2 d", 172_800.0),
        ("0.5 s", 0.5),
        ("0.1 s", 0.1),
        ("0 s", 0.0),
    ],
)
def test_a_duration_is_numbers_and_units(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "5 m", "5 M", "1 hour", "-1 s", "1 s x", "1,5 s", "inf s", "x 1 s"]
)
def test_a_duration_that_cannot_be_read_says_how_to_write_one(text: str) -> None:
    with pytest.raises(units.UnitError, match=r'such as "30 s"'):
        units.parse_duration(text)


@given(st.integers(min_value=0, max_value=2**62))
def test_a_written_size_reads_back_the_same(size_bytes: int) -> None:
    assert units.parse_size(units.format_size(size_bytes)) == pytest.approx(size_bytes, rel=1e-15)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_written_duration_reads_back_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert units.parse_duration(units.format_duration(seconds)) == seconds


def test_sizes_and_durations_are_written_as_a_person_would() -> None:
    assert units.format_size(5 * 1024**3) == "5 GiB"
    assert units.format_size(20_000_000) == "20 MB"
    assert units.format_size(1025) == "1025 B"
    assert units.format_duration(5400) == "1 h 30 min"
    assert units.format_duration(0.25) == "250 ms"
    assert units.format_duration(0) == "0 s"


@given(st.times().map(lambda moment: moment.replace(microsecond=0)))
def test_a_written_time_of_day_reads_back_the_same(moment: dt.time) -> None:
    assert units.parse_time_of_day(units.format_time_of_day(moment)) == moment


@pytest.mark.parametrize("text", ["", "5:00", "24:00", "05:60", "05.00", "05:00Z", "05:00:60"])
def test_a_time_of_day_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(units.UnitError, match=r'such as "05:00"'):
        units.parse_time_of_day(text)
