"""The life of an item: the table, the drawing in the design, and what may never happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.errors import ExitCode, LifeCycleError
from filingd.core.lifecycle import TABLE, Event, next_state
from filingd.core.model import FINISHED_STATES, HOLDING_STATES, LEASED_STATES, State

KNOWN = [(state, event) for state in State for event in TABLE[state]]
UNKNOWN = [(state, event) for state in State for event in Event if event not in TABLE[state]]

# Whoever changes the table changes this list, on purpose: every way an item that holds a body can lose it.
WAYS_TO_LOSE_A_BODY = {
    (State.STORED, Event.LOST),
    (State.RECHECKING, Event.LOST),
    (State.RECHECKING, Event.WITHDRAWN),
    (State.STORED, Event.FORGOTTEN),
    (State.RECHECKING, Event.FORGOTTEN),
}


def test_every_state_has_a_row() -> None:
    assert set(TABLE) == set(State)


@pytest.mark.parametrize(("state", "event"), UNKNOWN)
def test_an_unknown_transition_names_state_and_event(state: State, event: Event) -> None:
    with pytest.raises(LifeCycleError, match=f"{state.name} cannot be {event.value}") as caught:
        next_state(state, event)
    assert caught.value.exit_code is ExitCode.FAILED


@pytest.mark.parametrize(
    ("state", "event", "following"),
    [
        (State.DUE, Event.LEASED, State.ACTIVE),
        (State.ACTIVE, Event.STORED, State.STORED),
        (State.ACTIVE, Event.CONFIRMED_EMPTY, State.EMPTY),
        (State.ACTIVE, Event.ABSENT, State.ABSENT),
        (State.ACTIVE, Event.GAVE_UP, State.QUARANTINED),
        (State.ACTIVE, Event.NOTHING, State.DUE),
        (State.ACTIVE, Event.POSTPONED, State.DUE),
        (State.ACTIVE, Event.FAILED, State.DUE),
        (State.STORED, Event.LEASED, State.RECHECKING),
        (State.RECHECKING, Event.UNCHANGED, State.STORED),
        (State.RECHECKING, Event.STORED, State.STORED),
        (State.STORED, Event.LOST, State.DUE),
        (State.QUARANTINED, Event.RETRIED, State.DUE),
        (State.EMPTY, Event.RETRIED, State.DUE),
        (State.ABSENT, Event.RETRIED, State.DUE),
    ],
)
def test_the_drawing_in_the_design_is_the_table(state: State, event: Event, following: State) -> None:
    assert next_state(state, event) is following


@pytest.mark.parametrize(("state", "event"), [pair for pair in KNOWN if pair[0] in HOLDING_STATES])
def test_only_a_lost_withdrawn_or_forgotten_body_takes_an_item_out_of_the_holding_states(
    state: State, event: Event
) -> None:
    assert (next_state(state, event) in HOLDING_STATES) is ((state, event) not in WAYS_TO_LOSE_A_BODY)


@pytest.mark.parametrize(("state", "event"), [pair for pair in KNOWN if pair[0] not in HOLDING_STATES])
def test_only_a_verified_body_brings_an_item_into_the_holding_states(state: State, event: Event) -> None:
    gains_a_body = event in {Event.STORED, Event.FOUND}
    assert (next_state(state, event) in HOLDING_STATES) is gains_a_body


@pytest.mark.parametrize("state", sorted(State))
def test_a_lease_is_the_only_way_into_a_leased_state(state: State) -> None:
    ways = {event for event in TABLE[state] if next_state(state, event) in LEASED_STATES}
    assert ways <= {Event.LEASED}


@pytest.mark.parametrize("state", sorted(LEASED_STATES))
def test_every_end_of_an_attempt_ends_the_lease(state: State) -> None:
    ends = {Event.STORED, Event.NOTHING, Event.CONFIRMED_EMPTY, Event.ABSENT}
    ends |= {Event.POSTPONED, Event.FAILED, Event.GAVE_UP}
    for event in ends:
        assert next_state(state, event) not in LEASED_STATES


@pytest.mark.parametrize("state", sorted(set(State) - LEASED_STATES))
def test_an_operator_can_have_whatever_is_not_under_way_tried_again(state: State) -> None:
    following = next_state(state, Event.RETRIED)
    assert Event.LEASED in TABLE[following]


@pytest.mark.parametrize("state", sorted(set(State) - LEASED_STATES))
def test_whatever_has_a_date_can_be_leased_when_it_comes(state: State) -> None:
    assert next_state(state, Event.LEASED) in LEASED_STATES


@given(st.lists(st.sampled_from(sorted(Event, key=str)), max_size=40))
def test_no_history_of_an_item_ends_where_nothing_can_follow(events: list[Event]) -> None:
    state = State.DUE
    for event in events:
        if event in TABLE[state]:
            state = next_state(state, event)
    assert TABLE[state]
    assert state in LEASED_STATES | FINISHED_STATES | {State.DUE, State.QUARANTINED}


def test_the_stored_numbers_of_the_states_never_change() -> None:
    assert {state.name: int(state) for state in State} == {
        "DUE": 0,
        "ACTIVE": 1,
        "STORED": 2,
        "RECHECKING": 3,
        "EMPTY": 4,
        "ABSENT": 5,
        "QUARANTINED": 6,
        "REASKING": 7,
    }
