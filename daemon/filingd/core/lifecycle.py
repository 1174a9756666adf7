"""The life of an item: one table, nothing else. An unknown transition is an error that names state and event."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from filingd.core.errors import LifeCycleError
from filingd.core.model import State

if TYPE_CHECKING:
    from collections.abc import Mapping


class Event(enum.Enum):
    """What can happen to an item."""

    LEASED = "leased"
    STORED = "stored"  # a verified body was published
    UNCHANGED = "unchanged"  # a re-check found the body that is already stored
    NOTHING = "nothing"  # the registry has nothing, not proven yet
    CONFIRMED_EMPTY = "confirmed_empty"
    WITHDRAWN = "withdrawn"  # proven nothing, and what was stored does not stand any more: its body is gone
    ABSENT = "absent"
    POSTPONED = "postponed"  # not yet, throttled, blocked, stopped: costs no attempt
    FAILED = "failed"
    GAVE_UP = "gave_up"
    LOST = "lost"  # the stored body is missing or damaged on disk
    FOUND = "found"  # a verified body lies on disk that no row knew
    FORGOTTEN = "forgotten"  # an operator was told to forget it: its body is gone and it is never asked for
    RETRIED = "retried"  # an operator, or a re-plan, wants it tried (again)


# A re-check takes away what is stored only where the registry says that it does not stand any more; whatever else it meets,
# the item goes back to STORED.
TABLE: Mapping[State, Mapping[Event, State]] = {
    State.DUE: {
        Event.FORGOTTEN: State.ABSENT,
        Event.LEASED: State.ACTIVE,
        Event.ABSENT: State.ABSENT,
        Event.FOUND: State.STORED,
        Event.RETRIED: State.DUE,
    },
    State.ACTIVE: {
        Event.FORGOTTEN: State.ABSENT,
        Event.STORED: State.STORED,
        Event.NOTHING: State.DUE,
        Event.CONFIRMED_EMPTY: State.EMPTY,
        Event.ABSENT: State.ABSENT,
        Event.POSTPONED: State.DUE,
        Event.FAILED: State.DUE,
        Event.GAVE_UP: State.QUARANTINED,
        Event.FOUND: State.STORED,
    },
    State.STORED: {
        Event.FORGOTTEN: State.ABSENT,
        Event.LEASED: State.RECHECKING,
        Event.LOST: State.DUE,
        Event.FOUND: State.STORED,
        Event.RETRIED: State.STORED,
    },
    State.RECHECKING: {
        Event.FORGOTTEN: State.ABSENT,
        Event.STORED: State.STORED,
        Event.UNCHANGED: State.STORED,
        Event.NOTHING: State.STORED,
        Event.CONFIRMED_EMPTY: State.STORED,
        Event.WITHDRAWN: State.EMPTY,
        Event.ABSENT: State.STORED,
        Event.POSTPONED: State.STORED,
        Event.FAILED: State.STORED,
        Event.GAVE_UP: State.STORED,
        Event.LOST: State.DUE,
        Event.FOUND: State.STORED,
    },
    State.EMPTY: {
        Event.FORGOTTEN: State.ABSENT,
        Event.LEASED: State.REASKING,
        Event.FOUND: State.STORED,
        Event.RETRIED: State.DUE,
    },
    # Nor does asking again take away what is proven: a refusal or a failure says nothing about an empty day.
    State.REASKING: {
        Event.FORGOTTEN: State.ABSENT,
        Event.STORED: State.STORED,
        Event.NOTHING: State.EMPTY,
        Event.CONFIRMED_EMPTY: State.EMPTY,
        Event.ABSENT: State.EMPTY,
        Event.POSTPONED: State.EMPTY,
        Event.FAILED: State.EMPTY,
        Event.GAVE_UP: State.EMPTY,
        Event.FOUND: State.STORED,
    },
    State.ABSENT: {
        Event.FORGOTTEN: State.ABSENT,
        Event.LEASED: State.ACTIVE,
        Event.FOUND: State.STORED,
        Event.RETRIED: State.DUE,
    },
    State.QUARANTINED: {
        Event.FORGOTTEN: State.ABSENT,
        Event.LEASED: State.ACTIVE,
        Event.FOUND: State.STORED,
        Event.RETRIED: State.DUE,
        Event.ABSENT: State.ABSENT,
    },
}


def next_state(state: State, event: Event) -> State:
    """The state that follows.

    Raises:
        LifeCycleError: this event cannot happen in this state.
    """
    following = TABLE[state].get(event)
    if following is None:
        raise LifeCycleError(
            f"An item that is {state.name} cannot be {event.value}. This is a defect in filingd: please report it."
        )
    return following
