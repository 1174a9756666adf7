"""How long to wait before trying again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.retry import LONGEST_ADVICE_S, backoff_s, parse_retry_after

NOW_AT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("007", 7.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sunday, 22-Nov-26 12:01:00 GMT", 60.0),
        ("Sun Nov 22 13:00:00 2026", 3600.0),
        ("Tue Dec  1 12:00:00 2026", 9 * 86_400.0),
        ("sun, 22 nov 2026 12:00:30 gmt", 30.0),
        ("Mon, 22 Nov 2026 12:00:30 GMT", 30.0),  # the day of the week is wrong; the date is not
        ("Sun, 22 Nov 2026 12:00:30 UTC", 30.0),
        ("Thu, 31 Dec 2026 23:59:60 GMT", 39 * 86_400.0 + 12 * 3600 - 1),  # a leap second
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("99999999999999999999", LONGEST_ADVICE_S),
        ("9" * 5000, LONGEST_ADVICE_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_ADVICE_S),
    ],
)
def test_sound_advice_is_understood(text: str, wait_s: float) -> None:
    assert parse_retry_after(text, NOW_AT) == wait_s


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "   ",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "0x10",
        "nan",
        "inf",
        "soon",
        "in 7 seconds",
        "\N{ARABIC-INDIC DIGIT SEVEN}",
        "7, 8",
        "Sun, 31 Feb 2026 12:00:00 GMT",
        "Sun, 22 Foo 2026 12:00:30 GMT",
        "Sun, 22 Nov 2026 25:00:30 GMT",
        "Sun, 22 Nov 2026 12:61:30 GMT",
        "Sun, 22 Nov 0000 12:00:30 GMT",
        "Sun, 22 Nov 2026 12:00:30 +0100",
        "2026-11-22T12:00:30Z",
        "Sun, 22 Nov 2026 12:00:30 GMT, again",
    ],
)
def test_what_makes_no_sense_is_no_advice(text: str | None) -> None:
    assert parse_retry_after(text, NOW_AT) is None


def test_two_digits_more_than_fifty_years_ahead_mean_the_past() -> None:
    assert parse_retry_after("Monday, 22-Nov-77 12:00:00 GMT", NOW_AT) == 0.0
    assert parse_retry_after("Sunday, 22-Nov-76 12:00:00 GMT", NOW_AT) == LONGEST_ADVICE_S


@given(seconds=st.integers(0, int(LONGEST_ADVICE_S)))
def test_a_date_and_the_seconds_until_it_say_the_same(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW_AT + seconds, tz=UTC), usegmt=True)
    assert parse_retry_after(date, NOW_AT) == parse_retry_after(str(seconds), NOW_AT) == seconds


@given(text=st.text(max_size=60))
def test_no_text_whatever_raises_or_gives_a_wait_out_of_bounds(text: str) -> None:
    wait_s = parse_retry_after(text, NOW_AT)
    assert wait_s is None or 0.0 <= wait_s <= LONGEST_ADVICE_S


@pytest.mark.parametrize(
    ("attempt", "jitter", "wait_s"),
    [
        (1, 1.0, 2.0),
        (2, 1.0, 4.0),
        (5, 1.0, 32.0),
        (1, 0.0, 1.0),
        (3, 0.5, 6.0),
        (10, 1.0, 900.0),
        (10**9, 1.0, 900.0),
        (0, 1.0, 2.0),
        (-3, 1.0, 2.0),
        (1, 7.0, 2.0),
        (1, -7.0, 1.0),
    ],
)
def test_waits_double_up_to_the_cap_and_jitter_takes_off_up_to_half(
    attempt: int, jitter: float, wait_s: float
) -> None:
    assert backoff_s(attempt, base_s=2.0, cap_s=900.0, jitter=jitter) == wait_s


@given(
    attempt=st.integers(1, 200),
    jitter=st.floats(0, 1),
    base_s=st.floats(0.001, 1e4),
    cap_s=st.floats(0.001, 1e6),
)
def test_a_wait_never_exceeds_the_cap_nor_shrinks_with_the_attempts(
    attempt: int, jitter: float, base_s: float, cap_s: float
) -> None:
    wait_s = backoff_s(attempt, base_s, cap_s, jitter)
    assert 0 < wait_s <= cap_s
    assert backoff_s(attempt + 1, base_s, cap_s, jitter) >= wait_s
