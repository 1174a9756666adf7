"""The health of a lane: how it parks, slows down, changes keys and recovers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.limits import (
    PARK_REASONS,
    QUOTA_CAP_S,
    SLOWDOWN_MOST,
    STRIKES_TO_PAUSE,
    LaneState,
    blocked,
    is_open,
    key_name_of,
    limit_of,
    opens_at,
    quota_spent,
    rekeyed,
    reloaded,
    struck,
    succeeded,
    throttled,
    unparked,
)
from filingd.core.model import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_795_000_000.0
FRESH = LaneState("nbb/extract")
SPEC = LaneSpec("nbb/extract", 1.0, key_names=("first", "second"))


def waits_s(state: LaneState, fail: Callable[[LaneState, float], LaneState], times: int) -> list[float]:
    """How long the lane parks each time it fails again as soon as it opens."""
    now, waits = NOW, []
    for _ in range(times):
        state = fail(state, now)
        waits.append(opens_at(state, now) - now)
        now = opens_at(state, now)
    return waits


# ---------------------------------------------------------------- throttled


@pytest.mark.parametrize(
    ("retry_after_s", "wait_s"),
    [(7.0, 7.0), (0.0, 1.0), (-3.0, 1.0), (3600.0, 3600.0), (1e9, 3600.0), (None, 20.0)],
)
def test_a_throttled_lane_parks_as_long_as_it_is_told(retry_after_s: float | None, wait_s: float) -> None:
    state = throttled(FRESH, NOW, retry_after_s)
    assert (state.parked_until_at, state.parked_for_s) == (NOW + wait_s, wait_s)
    assert state.park_reason == "throttled"
    assert not is_open(state, NOW)
    assert not is_open(state, NOW + wait_s - 0.001)
    assert is_open(state, NOW + wait_s)


def test_the_cap_on_advice_is_the_callers_choice() -> None:
    assert throttled(FRESH, NOW, 1e9, cap_s=86_400.0).parked_for_s == 86_400.0


def test_without_advice_a_lane_that_is_throttled_again_and_again_waits_longer_each_time() -> None:
    waits = waits_s(FRESH, lambda state, now: throttled(state, now, None), 10)
    assert waits == [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_each_throttling_halves_the_rate_down_to_a_sixteenth() -> None:
    state, rates = FRESH, []
    for hour in range(6):
        state = throttled(state, NOW + hour * 7200, 1.0)
        rates.append(limit_of(state, 100.0, 1).calls_per_s)
    assert rates == [50, 25, 12.5, 6.25, 6.25, 6.25]


def test_a_storm_of_throttled_answers_counts_once() -> None:
    state = throttled(FRESH, NOW, 30.0)
    for in_flight in range(63):
        state = throttled(state, NOW + in_flight / 100, None)
    assert state == throttled(FRESH, NOW, 30.0)


def test_a_longer_advice_that_comes_while_parked_prolongs_and_a_shorter_one_does_not_shorten() -> None:
    state = throttled(FRESH, NOW, 30.0)
    assert opens_at(throttled(state, NOW + 1, 60.0), NOW + 1) == NOW + 61
    assert throttled(state, NOW + 1, 5.0) == state
    assert throttled(state, NOW + 1, 60.0).slowdown == 2.0


# ---------------------------------------------------------------- quota


@pytest.mark.parametrize(
    ("said_s", "wait_s"), [(176_400.0, 176_400.0), (0.0, 1.0), (1e9, QUOTA_CAP_S), (None, 20.0)]
)
def test_a_spent_quota_parks_until_it_is_replenished_and_keeps_the_pace(
    said_s: float | None, wait_s: float
) -> None:
    state = quota_spent(FRESH, NOW, said_s)
    assert (state.park_reason, state.slowdown) == ("quota", 1.0)
    assert opens_at(state, NOW) == NOW + wait_s
    assert "replenishes" in PARK_REASONS["quota"]


def test_without_word_of_when_a_spent_quota_is_asked_for_again_after_growing_waits() -> None:
    waits = waits_s(FRESH, lambda state, now: quota_spent(state, now, None), 10)
    assert waits == [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_answers_to_calls_that_were_under_way_prolong_a_quota_and_never_shorten_it() -> None:
    state = quota_spent(FRESH, NOW, 3600.0)
    assert quota_spent(state, NOW + 1, None) == state
    assert quota_spent(state, NOW + 1, 60.0) == state
    assert opens_at(quota_spent(state, NOW + 1, 7200.0), NOW + 1) == NOW + 7201


# ---------------------------------------------------------------- struck


def test_single_failures_do_not_pause_a_lane_and_the_fifth_in_a_row_does() -> None:
    state = FRESH
    for count in range(1, STRIKES_TO_PAUSE):
        state = struck(state, NOW)
        assert (state.strikes, is_open(state, NOW)) == (count, True)
    state = struck(state, NOW)
    assert state.park_reason == "failing"
    assert opens_at(state, NOW) == NOW + 60


def test_a_success_in_between_begins_the_count_anew() -> None:
    state = FRESH
    for _ in range(20):
        for _ in range(STRIKES_TO_PAUSE - 1):
            state = struck(state, NOW)
        state = succeeded(state)
    assert is_open(state, NOW)
    assert state.strikes == 0


@pytest.mark.parametrize(
    ("jitter", "pauses_s"), [(1.0, [60, 120, 240, 480, 900, 900]), (0.0, [30, 60, 120, 240, 450, 450])]
)
def test_pauses_grow_from_half_a_minute_to_a_quarter_of_an_hour(jitter: float, pauses_s: list[float]) -> None:
    state = replace(FRESH, strikes=STRIKES_TO_PAUSE - 1)
    assert waits_s(state, lambda s, now: struck(s, now, jitter=jitter), 6) == pauses_s


def test_failures_of_calls_that_were_under_way_when_the_pause_began_do_not_count() -> None:
    paused = struck(replace(FRESH, strikes=STRIKES_TO_PAUSE - 1), NOW)
    assert struck(paused, NOW + 10) == paused


# ---------------------------------------------------------------- blocked


def test_a_refused_key_gives_way_to_the_other_one_at_once() -> None:
    state = blocked(FRESH, SPEC, NOW, key_at_fault=True, used_key_index=0)
    assert is_open(state, NOW)
    assert key_name_of(state, SPEC) == "second"


def test_when_every_key_was_refused_the_lane_parks_and_says_so() -> None:
    state = blocked(FRESH, SPEC, NOW, key_at_fault=True)
    state = blocked(state, SPEC, NOW + 1, key_at_fault=True)
    assert opens_at(state, NOW + 1) == NOW + 301
    assert state.park_reason == "keys_refused"
    assert "every key" in PARK_REASONS[state.park_reason]


def test_every_probe_tries_every_key_and_probes_grow_from_five_minutes_to_six_hours() -> None:
    state, now, tried, waits = FRESH, NOW, [], []
    for _ in range(18):
        tried.append(key_name_of(state, SPEC))
        state = blocked(state, SPEC, now, key_at_fault=True, used_key_index=state.key_index)
        if not is_open(state, now):
            waits.append(opens_at(state, now) - now)
            now = opens_at(state, now)
    assert tried == ["first", "second"] * 9
    assert waits == [300, 600, 1200, 2400, 4800, 9600, 19_200, 21_600, 21_600]


def test_a_late_refusal_of_the_key_that_was_left_does_not_condemn_the_new_one() -> None:
    state = blocked(FRESH, SPEC, NOW, key_at_fault=True, used_key_index=0)
    for _ in range(7):
        assert blocked(state, SPEC, NOW + 1, key_at_fault=True, used_key_index=0) == state


def test_a_refusal_that_is_not_the_keys_fault_parks_at_once_and_keeps_the_key() -> None:
    state = blocked(FRESH, SPEC, NOW, key_at_fault=False)
    assert (state.key_index, state.park_reason) == (0, "refused")
    assert waits_s(FRESH, lambda s, now: blocked(s, SPEC, now, key_at_fault=False), 3) == [300, 600, 1200]


def test_after_another_refusal_a_refused_key_still_gives_way_to_the_other_one() -> None:
    state = blocked(FRESH, SPEC, NOW, key_at_fault=False)
    state = blocked(state, SPEC, NOW + 300, key_at_fault=True)
    assert is_open(state, NOW + 300)
    assert key_name_of(state, SPEC) == "second"


@pytest.mark.parametrize("key_names", [(), ("only",)])
def test_with_one_key_or_none_there_is_nothing_to_switch_to(key_names: tuple[str, ...]) -> None:
    spec = replace(SPEC, key_names=key_names)
    state = blocked(FRESH, spec, NOW, key_at_fault=True)
    assert opens_at(state, NOW) == NOW + 300
    assert key_name_of(state, spec) == (key_names[0] if key_names else None)


def test_a_key_index_from_a_former_configuration_still_names_a_key() -> None:
    assert key_name_of(replace(FRESH, key_index=5), SPEC) == "second"


@pytest.mark.parametrize("keys", [1, 2])
def test_a_key_index_from_a_former_configuration_is_no_excuse_for_a_refusal(keys: int) -> None:
    spec = replace(SPEC, key_names=SPEC.key_names[:keys])
    state = replace(FRESH, key_index=4 * keys)
    for index in range(keys):
        state = blocked(state, spec, NOW, key_at_fault=True, used_key_index=index)
    assert not is_open(state, NOW)


# ---------------------------------------------------------------- new keys


def _refused_everywhere() -> LaneState:
    state = blocked(FRESH, SPEC, NOW, key_at_fault=True)
    return blocked(state, SPEC, NOW, key_at_fault=True)


CLOSED = [_refused_everywhere(), blocked(FRESH, SPEC, NOW, key_at_fault=False), quota_spent(FRESH, NOW, 9e5)]


@pytest.mark.parametrize("state", CLOSED, ids=lambda state: state.park_reason)
@pytest.mark.parametrize("exchanged", [0, 1])
def test_a_new_key_opens_what_was_closed_to_us_at_once_and_is_the_one_that_is_tried(
    state: LaneState, exchanged: int
) -> None:
    after = rekeyed(state, exchanged)
    assert (is_open(after, NOW), after.key_index, after.blocks) == (True, exchanged, 0)


@pytest.mark.parametrize("state", CLOSED, ids=lambda state: state.park_reason)
def test_a_reload_opens_what_was_closed_to_us_and_keeps_the_key(state: LaneState) -> None:
    after = reloaded(state)
    assert (is_open(after, NOW), after.key_index) == (True, state.key_index)


def test_neither_makes_us_impatient_with_a_registry_that_asked_for_patience_or_fails() -> None:
    paused = struck(replace(FRESH, strikes=STRIKES_TO_PAUSE - 1), NOW)
    for state in (throttled(FRESH, NOW, 60.0), paused):
        assert rekeyed(state, 1) == state
        assert reloaded(state) == state


def test_a_new_first_key_leaves_a_lane_that_works_on_its_second_one() -> None:
    working = succeeded(blocked(FRESH, SPEC, NOW, key_at_fault=True))
    assert rekeyed(working, 0) == working
    halfway = blocked(FRESH, SPEC, NOW, key_at_fault=True)
    assert rekeyed(halfway, 0) == replace(halfway, blocks=0)


# ---------------------------------------------------------------- recovery


def test_successes_take_a_slowdown_back_slowly_and_never_beyond_the_configured_rate() -> None:
    state, rates = replace(FRESH, slowdown=16.0), []
    for _ in range(200):
        rates.append(limit_of(state, 100.0, 1).calls_per_s)
        state = succeeded(state)
    assert rates == sorted(rates)
    assert rates[1] < rates[0] * 1.03
    assert 130 < rates.index(100.0) < 145
    assert max(rates) == 100.0


def test_a_success_on_a_healthy_lane_is_no_news() -> None:
    assert succeeded(FRESH) is FRESH


def test_a_success_of_a_call_that_was_under_way_does_not_open_a_parked_lane() -> None:
    state = succeeded(throttled(FRESH, NOW, 60.0))
    assert opens_at(state, NOW) == NOW + 60


def test_unparking_opens_at_once_begins_the_counts_anew_and_keeps_slowdown_and_key() -> None:
    worn = replace(throttled(FRESH, NOW, 60.0), strikes=9, blocks=4, key_index=1)
    state = unparked(worn)
    assert is_open(state, NOW)
    assert state == replace(FRESH, slowdown=2.0, key_index=1)


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("step_s", [-1e8, -86_400.0, -61.0, -1.0, 0.0])
def test_a_clock_that_is_set_back_cannot_park_a_lane_for_longer_than_was_meant(step_s: float) -> None:
    state = throttled(FRESH, NOW, 60.0)
    now = NOW + step_s
    assert opens_at(state, now) - now <= 60.0
    assert not is_open(state, now)


def test_a_clock_that_is_set_forward_opens_a_lane_and_never_fails() -> None:
    state = throttled(FRESH, NOW, 60.0)
    assert opens_at(state, NOW + 1e9) == NOW + 1e9


# ---------------------------------------------------------------- the law

ERRORS: list[Callable[[LaneState, float], LaneState]] = [
    lambda state, now: throttled(state, now, None),
    lambda state, now: throttled(state, now, 0.0),
    lambda state, now: throttled(state, now, 100.0),
    lambda state, now: quota_spent(state, now, None),
    lambda state, now: quota_spent(state, now, 5000.0),
    lambda state, now: struck(state, now, jitter=0.3),
    lambda state, now: blocked(state, SPEC, now, key_at_fault=True),
    lambda state, now: blocked(state, SPEC, now, key_at_fault=False),
]


@given(
    slowdown=st.floats(1.0, SLOWDOWN_MOST),
    events=st.lists(st.tuples(st.sampled_from(ERRORS), st.floats(-1e4, 1e5)), max_size=40),
)
def test_no_sequence_of_errors_ever_makes_a_lane_faster(
    slowdown: float, events: list[tuple[Callable[[LaneState, float], LaneState], float]]
) -> None:
    state, now = replace(FRESH, slowdown=slowdown), NOW
    for fail, passed_s in events:
        now += passed_s  # negative: the clock was set back
        after = fail(state, now)
        assert limit_of(after, 100.0, 1).calls_per_s <= limit_of(state, 100.0, 1).calls_per_s
        assert opens_at(after, now) >= opens_at(state, now)
        state = after


@given(
    events=st.lists(
        st.sampled_from([*ERRORS, lambda s, _: succeeded(s), lambda s, _: unparked(s)]), max_size=80
    ),
    passed_s=st.floats(0.0, 1e4),
)
def test_whatever_happens_a_lane_runs_between_a_sixteenth_and_all_of_its_rate_and_opens_within_six_hours(
    events: list[Callable[[LaneState, float], LaneState]], passed_s: float
) -> None:
    state, now = FRESH, NOW
    for event in events:
        now += passed_s
        state = event(state, now)
        assert 1.0 <= state.slowdown <= SLOWDOWN_MOST
        assert opens_at(state, now) <= now + 6 * 3600
        assert state.park_reason is None or state.park_reason in PARK_REASONS
