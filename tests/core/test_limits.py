"""What a rate promises, how a pace keeps it, and what survives a restart: examples."""

from __future__ import annotations

import math

import pytest

from filingd.core.errors import ConfigError
from filingd.core.limits import (
    CATCH_UP_S,
    GUARD_MARGIN_S,
    RENEW_BELOW_S,
    RESERVE_AHEAD_S,
    LaneState,
    Limit,
    Pace,
    TokenBucket,
    WindowGuard,
    limit_of,
    released_until_s,
    renewed_reservation_s,
)


@pytest.mark.parametrize(
    ("calls_per_s", "burst", "calls", "window_s"),
    [
        (100.0, 1, 100, 1.0),
        (100.0, 10, 109, 1.0),
        (1.0, 1, 1, 1.0),
        (1.0, 5, 5, 1.0),
        (0.5, 1, 1, 2.0),
        (0.8, 1, 1, 1.25),
        (0.1, 3, 3, 10.0),
        (2.5, 1, 2, 0.8),
        (1.5, 2, 2, 1 / 1.5),
        (3 * 0.1 * 10, 1, 3, 1.0),  # a product that is a hair above 3
        (0.29 * 100, 1, 29, 1.0),  # a product that is a hair below 29
    ],
)
def test_a_rate_promises_so_many_calls_in_any_window(
    calls_per_s: float, burst: int, calls: int, window_s: float
) -> None:
    limit = Limit.of(calls_per_s, burst)
    assert limit.calls == calls
    assert limit.window_s == pytest.approx(window_s)


@pytest.mark.parametrize("calls_per_s", [0.01, 0.5, 1.0, 1.01, 1.5, 1.99, 2.5, 10.0, 99.9, 100.0, 1000.0])
def test_margin_and_slack_cost_less_than_a_hundredth_of_the_rate(calls_per_s: float) -> None:
    limit = Limit.of(calls_per_s)
    assert 0.99 < 1 / (limit.spacing_s * calls_per_s) < 1.0
    assert 0 < limit.margin_s <= GUARD_MARGIN_S


@pytest.mark.parametrize(
    ("calls_per_s", "burst"), [(0.0, 1), (-1.0, 1), (math.inf, 1), (math.nan, 1), (1.0, 0)]
)
def test_a_rate_that_is_no_rate_is_refused_in_words(calls_per_s: float, burst: int) -> None:
    with pytest.raises(ConfigError, match="above 0 and finite, the burst at least 1"):
        Limit.of(calls_per_s, burst)


def test_the_slowdown_divides_the_rate_and_leaves_the_burst() -> None:
    assert limit_of(LaneState("x", slowdown=4.0), 100.0, 3) == Limit.of(25.0, 3)


# ---------------------------------------------------------------- slots


def test_slots_are_absolute_however_late_anybody_asks() -> None:
    bucket = TokenBucket(Limit.of(100.0))
    spacing_s = Limit.of(100.0).spacing_s
    assert [bucket.reserve(wanted_s=7.0) for _ in range(4)] == pytest.approx(
        [7.0, 7.0 + spacing_s, 7.0 + 2 * spacing_s, 7.0 + 3 * spacing_s]
    )


def test_a_rested_bucket_gives_the_burst_at_once_and_then_one_at_a_time() -> None:
    bucket = TokenBucket(Limit.of(10.0, burst=3))
    spacing_s = Limit.of(10.0).spacing_s
    assert [bucket.reserve(0.0) for _ in range(5)] == pytest.approx([0, 0, 0, spacing_s, 2 * spacing_s])


def test_a_bucket_never_holds_more_than_its_burst_however_long_it_rests() -> None:
    bucket = TokenBucket(Limit.of(10.0, burst=2))
    bucket.reserve(0.0)
    assert [bucket.reserve(1e6) for _ in range(3)] == pytest.approx([1e6, 1e6, 1e6 + 0.1006])


def test_looking_at_the_next_slot_takes_nothing() -> None:
    bucket = TokenBucket(Limit.of(1.0))
    assert bucket.next_slot_s(3.0) == bucket.next_slot_s(3.0) == bucket.reserve(3.0) == 3.0


def test_a_bucket_that_was_drained_gives_its_first_slot_one_spacing_later() -> None:
    limit = Limit.of(2.0, burst=5)
    bucket = TokenBucket(limit, drained_at_s=100.0)
    assert bucket.next_slot_s(100.0) == pytest.approx(100.0 + limit.spacing_s)
    assert bucket.next_slot_s(100.0 + 5 * limit.spacing_s) == pytest.approx(100.0 + 5 * limit.spacing_s)


@pytest.mark.parametrize(
    ("burst_before", "taken", "burst_after", "at_once_after"),
    [(10, 4, 10, 6), (10, 4, 3, 3), (10, 9, 3, 1), (2, 1, 10, 1), (3, 0, 9, 3)],
)
def test_what_is_in_the_bucket_outlives_a_change_but_for_what_no_longer_fits(
    burst_before: int, taken: int, burst_after: int, at_once_after: int
) -> None:
    bucket = TokenBucket(Limit.of(1.0, burst_before))
    for _ in range(taken):
        bucket.reserve(50.0)
    bucket.change(Limit.of(2.0, burst_after), 50.0)
    slots_s = [bucket.reserve(50.0) for _ in range(20)]
    assert sum(slot_s <= 50.0 + 1e-9 for slot_s in slots_s) == at_once_after


# ---------------------------------------------------------------- the guard


def test_the_guard_opens_one_window_and_a_margin_after_the_nth_last_release() -> None:
    guard = WindowGuard(Limit.of(3.0))
    for released_s in (10.0, 10.1, 10.2):
        guard.note(released_s)
    assert guard.opens_at_s(10.2) == 10.0 + 1.0 + 0.005


def test_the_guard_of_a_lane_that_has_room_is_open_already() -> None:
    guard = WindowGuard(Limit.of(3.0))
    guard.note(10.0)
    guard.note(10.0)
    assert guard.opens_at_s(10.0) == -math.inf


def test_of_releases_it_cannot_know_the_guard_assumes_the_worst() -> None:
    guard = WindowGuard(Limit.of(100.0), unknown_until_s=50.0)
    assert guard.opens_at_s(50.0) == 51.005
    for count in range(99):
        guard.note(51.005 + count / 1000)
    assert guard.opens_at_s(51.2) == 51.005, "the hundredth still fits behind the unknown ones"
    guard.note(51.2)
    assert guard.opens_at_s(51.2) == pytest.approx(52.01)


def test_after_a_slowdown_earlier_releases_count_against_the_slower_limit() -> None:
    guard = WindowGuard(Limit.of(10.0))
    for tenth in range(10):
        guard.note(100.0 + tenth / 10)
    guard.change(Limit.of(2.0), 101.0)
    assert guard.opens_at_s(101.0) == pytest.approx(100.8 + 1.005)


def test_after_a_speedup_the_slower_limit_holds_for_one_window_more() -> None:
    guard = WindowGuard(Limit.of(2.0))
    guard.note(100.0)
    guard.note(100.5)
    guard.change(Limit.of(10.0), 100.6)
    assert guard.opens_at_s(100.6) == pytest.approx(101.005)
    guard.note(101.01)
    assert guard.opens_at_s(101.01) == pytest.approx(101.505)
    guard.note(101.51)
    assert guard.opens_at_s(101.51) == pytest.approx(101.605), (
        "the slower one lapses a window after the change"
    )
    assert guard.opens_at_s(101.61) < 101.61


def test_a_guard_that_is_given_a_longer_memory_assumes_the_worst_of_what_it_forgot() -> None:
    guard = WindowGuard(Limit.of(2.0))
    for released_s in (10.0, 20.0, 30.0, 40.0):
        guard.note(released_s)
    guard.change(Limit.of(0.05, burst=3), 40.0)
    assert guard.opens_at_s(42.0) == 20.0 + 20.0 + 0.005


def test_many_changes_of_a_resting_lane_do_not_pile_up() -> None:
    guard = WindowGuard(Limit.of(1.0))
    for second in range(1000):
        guard.change(Limit.of(1.0 + second % 2), float(second))
    assert len(guard._former) <= 3


# ---------------------------------------------------------------- the pace


def test_late_wake_ups_do_not_add_up() -> None:
    pace, now_s, wanted_s = Pace(Limit.of(100.0)), 0.0, 0.0
    for _ in range(1000):
        now_s = max(now_s, pace.opens_at_s(wanted_s, now_s)) + 0.0009
        pace.release(wanted_s, now_s)
    assert now_s == pytest.approx(999 * Limit.of(100.0).spacing_s, abs=0.002)


def test_a_stall_is_made_good_only_in_small() -> None:
    pace, stalled_s = Pace(Limit.of(100.0)), 10.0
    pace.release(0.0, 0.0)
    released = 0
    while pace.opens_at_s(0.0, stalled_s) <= stalled_s:
        pace.release(0.0, stalled_s)
        released += 1
    assert released == math.floor(CATCH_UP_S * 100) or released == math.floor(CATCH_UP_S * 100) + 1


def test_changing_to_the_same_rate_changes_nothing() -> None:
    pace = Pace(Limit.of(5.0))
    pace.release(1.0, 1.0)
    opens_s = pace.opens_at_s(1.0, 1.0)
    pace.change(Limit.of(5.0), 1.1)
    assert pace.opens_at_s(1.0, 1.1) == opens_s
    assert pace._guard._former == []


# ---------------------------------------------------------------- restarts


@pytest.mark.parametrize(
    ("state", "now_s", "until_s"),
    [
        (LaneState("new"), 500.0, -math.inf),
        (LaneState("rested", "this", 200.0), 500.0, 200.0),
        (LaneState("died with a reservation ahead", "this", 501.7), 500.0, 500.0),
        (LaneState("of another boot", "other", 200.0), 500.0, 500.0),
        (LaneState("of another boot that ran longer", "other", 9e9), 500.0, 500.0),
    ],
    ids=lambda value: value.name if isinstance(value, LaneState) else "",
)
def test_a_new_run_knows_until_when_calls_can_have_been_released(
    state: LaneState, now_s: float, until_s: float
) -> None:
    assert released_until_s(state, "this", now_s) == until_s


@pytest.mark.parametrize("burst", [1, 7])
def test_a_new_run_waits_one_window_from_the_last_possible_release_and_gets_no_fresh_burst(
    burst: int,
) -> None:
    limit = Limit.of(0.5, burst)
    pace = Pace(limit, released_until_s=100.0)
    assert pace.opens_at_s(100.5, 100.5) == pytest.approx(102.006, abs=0.0011)
    pace.release(100.5, 102.01)
    assert pace.opens_at_s(100.5, 102.01) == pytest.approx(104.012, abs=0.01)


def test_a_reservation_reaches_ahead_and_is_renewed_before_it_runs_out() -> None:
    assert renewed_reservation_s(10.0, needed_s=10.0) == 10.0 + RESERVE_AHEAD_S
    assert renewed_reservation_s(12.0, needed_s=12.0 - RENEW_BELOW_S) == 12.0
    assert renewed_reservation_s(12.0, needed_s=12.0 - RENEW_BELOW_S + 0.01) > 13.0
    assert renewed_reservation_s(0.0, needed_s=600.0) == 600.0 + RESERVE_AHEAD_S
