"""No sliding window ever holds more than the limit: for any arrivals, any lateness and any changes of rate."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from filingd.core.limits import CATCH_UP_S, Limit, Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RATES = st.one_of(
    st.sampled_from([0.1, 0.5, 0.8, 1.0, 1.25, 1.99, 2.0, 2.5, 10.0, 33.3, 100.0]),
    st.floats(0.05, 150.0, allow_nan=False),
)
LIMITS = st.builds(Limit.of, RATES, st.integers(1, 12))
GAPS_S = st.one_of(st.just(0.0), st.floats(0.0, 0.2), st.floats(0.0, 30.0))
LATENESS_S = st.one_of(st.just(0.0), st.floats(0.0, 0.003), st.floats(0.0, 2.0))


def over_the_limit(released_s: Sequence[float], limit: Limit) -> list[tuple[float, float]]:
    """Pairs of releases that are one too many apart within one window."""
    pairs = zip(released_s, released_s[limit.calls :], strict=False)
    return [(first_s, last_s) for first_s, last_s in pairs if last_s - first_s < limit.window_s]


def most_over_the_average(released_s: Sequence[float], calls_per_s: float) -> float:
    """The most calls, over all spans, by which a span holds more than rate times duration."""
    most, lowest = 0.0, math.inf
    for number, at_s in enumerate(released_s):
        lowest = min(lowest, number - calls_per_s * at_s)
        most = max(most, number + 1 - calls_per_s * at_s - lowest)
    return most


def release_all(
    pace: Pace,
    wanted_s: Iterable[float],
    lateness_s: Iterable[float],
    changes: Sequence[tuple[float, Limit]] = (),
) -> list[float]:
    """Release calls in order, each when the pace allows it and the sleeper has woken; change limits on the way."""
    now_s, late_s, pending, released_s = -math.inf, itertools.cycle(lateness_s), list(changes), []
    for wants_s in wanted_s:
        now_s = max(now_s, wants_s)
        while True:
            while pending and pending[0][0] <= now_s:
                pace.change(pending.pop(0)[1], now_s)
            opens_s = pace.opens_at_s(wants_s, now_s)
            if opens_s <= now_s:
                break
            woken_s = opens_s + next(late_s)
            now_s = max(now_s, min(woken_s, pending[0][0])) if pending else woken_s
        pace.release(wants_s, now_s)
        released_s.append(now_s)
    return released_s


def release_and_send_all(
    pace: Pace, wanted_s: Iterable[float], connecting_s: Iterable[float]
) -> tuple[list[float], list[float]]:
    """Release calls in order, each sent when its connection is there; the moments of both."""
    now_s, takes_s, released_s, sent_s = -math.inf, itertools.cycle(connecting_s), [], []
    connecting: list[float] = []

    def send_those_before(until_s: float) -> None:
        while connecting and connecting[0] <= until_s:
            sent_s.append(heapq.heappop(connecting))
            pace.sent(sent_s[-1])

    for wants_s in wanted_s:
        now_s = max(now_s, wants_s)
        send_those_before(now_s)
        while (opens_s := pace.opens_at_s(wants_s, now_s)) > now_s:
            now_s = min(opens_s, connecting[0]) if connecting else opens_s
            send_those_before(now_s)
        pace.release(wants_s, now_s)
        pace.not_sent_yet()
        heapq.heappush(connecting, now_s + next(takes_s))
        released_s.append(now_s)
    send_those_before(math.inf)
    return released_s, sent_s


@given(
    limit=LIMITS,
    gaps_s=st.lists(GAPS_S, min_size=1, max_size=200),
    connecting_s=st.lists(LATENESS_S, min_size=1, max_size=50),
)
@settings(max_examples=400, deadline=None)
def test_no_window_holds_more_than_the_limit_as_calls_are_sent_however_long_their_connections_take(
    limit: Limit, gaps_s: list[float], connecting_s: list[float]
) -> None:
    released_s, sent_s = release_and_send_all(Pace(limit), itertools.accumulate(gaps_s), connecting_s)
    assert len(sent_s) == len(released_s) == len(gaps_s)
    assert over_the_limit(sent_s, limit) == []
    assert over_the_limit(released_s, limit) == []


@given(
    limits=st.lists(LIMITS, min_size=2, max_size=2),
    change_s=st.floats(0.0, 5.0),
    count=st.integers(1, 200),
    connecting_s=st.lists(LATENESS_S, min_size=1, max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_calls_that_are_not_sent_yet_outlive_a_change_of_rate(
    limits: list[Limit], change_s: float, count: int, connecting_s: list[float]
) -> None:
    pace = Pace(limits[0])
    before = release_and_send_all(pace, itertools.repeat(0.0, count), connecting_s)[1]
    pace.change(limits[1], before[-1] + change_s)
    wanted_s = itertools.repeat(before[-1] + change_s, count)
    after = release_and_send_all(pace, wanted_s, connecting_s)[1]
    assert over_the_limit(after, limits[1]) == []
    slower = max(limits, key=lambda limit: limit.window_s / limit.calls)
    across = [*before[-slower.calls :], *after[: slower.calls]]
    assert over_the_limit(across, slower) == []


@given(
    limit=LIMITS,
    gaps_s=st.lists(GAPS_S, min_size=1, max_size=300),
    lateness_s=st.lists(LATENESS_S, min_size=1, max_size=50),
)
@settings(max_examples=400, deadline=None)
def test_no_window_holds_more_than_the_limit_whatever_arrives_and_however_late_it_wakes(
    limit: Limit, gaps_s: list[float], lateness_s: list[float]
) -> None:
    released_s = release_all(Pace(limit), itertools.accumulate(gaps_s), lateness_s)
    assert over_the_limit(released_s, limit) == []
    allowed = limit.calls_per_s * CATCH_UP_S + limit.burst
    assert most_over_the_average(released_s, limit.calls_per_s) <= allowed + 1e-6


@given(
    limits=st.lists(LIMITS, min_size=2, max_size=6),
    change_gaps_s=st.lists(st.floats(0.0, 3.0), min_size=5, max_size=5),
    gaps_s=st.lists(GAPS_S, min_size=1, max_size=300),
    lateness_s=st.lists(LATENESS_S, min_size=1, max_size=20),
)
@settings(max_examples=400, deadline=None)
def test_during_a_change_every_window_keeps_the_slower_of_both(
    limits: list[Limit], change_gaps_s: list[float], gaps_s: list[float], lateness_s: list[float]
) -> None:
    changes = list(zip(itertools.accumulate(change_gaps_s), limits[1:], strict=False))
    released_s = release_all(Pace(limits[0]), itertools.accumulate(gaps_s), lateness_s, changes)
    began_s = [-math.inf, *(at_s for at_s, _ in changes)]
    ended_s = [*began_s[1:], math.inf]
    for limit, from_s, to_s in zip(limits, began_s, ended_s, strict=True):
        # A window counts for a limit if it began while the limit was in force, or ended then or later.
        offending = [
            (first_s, last_s)
            for first_s, last_s in over_the_limit(released_s, limit)
            if first_s < to_s and last_s >= from_s
        ]
        assert from_s == to_s or offending == []


@given(limit=LIMITS, lateness_s=st.lists(st.floats(0.0, 0.001), min_size=1, max_size=300))
@settings(max_examples=200, deadline=None)
def test_with_calls_always_waiting_99_percent_of_the_allowance_is_used(
    limit: Limit, lateness_s: list[float]
) -> None:
    count = max(400, 20 * limit.calls)
    released_s = release_all(Pace(limit), itertools.repeat(0.0, count), lateness_s)
    allowance = limit.calls_per_s * released_s[-1]
    assert count >= 0.99 * allowance


@given(stalled_call=st.integers(1, 1900), stall_s=st.floats(0.0, CATCH_UP_S - 0.001))
@settings(max_examples=60, deadline=None)
def test_a_short_stall_delays_no_call_by_more_than_itself(stalled_call: int, stall_s: float) -> None:
    limit, calls = Limit.of(100.0), itertools.repeat(0.0, 2000)
    lateness_s = [stall_s if number == stalled_call else 0.0 for number in range(4000)]
    released_s = release_all(Pace(limit), calls, lateness_s)
    slots_s = [number * limit.spacing_s for number in range(2000)]
    assert all(at_s <= slot_s + stall_s + 1e-6 for at_s, slot_s in zip(released_s, slots_s, strict=True))
    assert over_the_limit(released_s, limit) == []


@given(limit=LIMITS, known_s=st.floats(0.0, 1e6), wait_s=st.floats(0.0, 100.0))
@settings(max_examples=200, deadline=None)
def test_the_first_release_of_a_new_run_is_a_window_after_the_old_ones_and_hardly_later(
    limit: Limit, known_s: float, wait_s: float
) -> None:
    starts_s = known_s + wait_s
    (first_s,) = release_all(Pace(limit, known_s), [starts_s], [0.0])
    assert first_s >= known_s + limit.window_s
    assert first_s <= max(starts_s, known_s + limit.window_s * 1.01 + 0.01)
