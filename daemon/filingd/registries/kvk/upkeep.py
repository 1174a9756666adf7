"""How items that follow from lists and searches are kept: asked for in time while somebody wants them, left alone after that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import EMPTY_STATES, HOLDING_STATES, LEASED_STATES, Change, Deferral, State
from filingd.registries.kvk.answers import NO_RESULTS, PARAMETER_REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filingd.core.model import Item

NOT_WANTED = "not_wanted"
# Whether something is wanted is known once the lists were read. What nobody wants is taken off the schedule when the lists are
# compared with it; what was in the way of that then waits for the next time.
WAITS_FOR_LISTS = "waits_for_lists"
LOOK_AGAIN_S = 5.0
_NEXT_COMPARISON_S = 24 * 3600.0
_PUT_OFF = frozenset({WAITS_FOR_LISTS, NOT_WANTED})
_WITHOUT_ANSWER = frozenset({None, NO_RESULTS, *_PUT_OFF})  # reasons for which nothing waits
_KEPT_STATES = HOLDING_STATES | EMPTY_STATES
_STOPPED = frozenset({FORGOTTEN_REASON, PARAMETER_REFUSED})  # nothing but an operator begins these again


def put_off(item: Item, now: float, *, lists_are_read: bool) -> Deferral:
    """What becomes of an item whose turn has come and that nobody wants, as far as is known."""
    if lists_are_read:
        return Deferral(NOT_WANTED, item.lane, now + _NEXT_COMPARISON_S)
    return Deferral(WAITS_FOR_LISTS, item.lane, now + LOOK_AGAIN_S)


def dropped(items: Iterable[Item], now: float) -> list[Change]:
    """What has to change as nobody wants these any more: what is had stays, and nothing is asked for.

    What waits for what KVK answered keeps its date: whoever is wanted again before it costs no call, and one that comes due
    unwanted is put off without any.
    """
    return [change for item in items if (change := _dropped(item, now)) is not None]


def _dropped(known: Item, now: float) -> Change | None:
    if known.state in LEASED_STATES or (known.state is State.ABSENT and known.due_at is None):
        return None
    if known.reason not in _WITHOUT_ANSWER and known.due_at is not None and known.due_at > now:
        return None
    if known.state in _KEPT_STATES:
        after = replace(known, due_at=None, reason=NOT_WANTED)
        return None if known.due_at is None else Change(known.state, after)
    after = replace(known, due_at=None, reason=NOT_WANTED)
    if known.state is State.ABSENT:
        return Change(known.state, after)
    return Change(known.state, replace(after, state=next_state(known.state, Event.ABSENT)))


def kept_up(known: Item, lane: str, rank: int, interval_s: float, now: float) -> Change | None:
    """What has to change so that a wanted item waits on its lane and is asked for in time; None if nothing."""
    if known.state in LEASED_STATES or known.reason in _STOPPED:
        return None
    after = replace(known, lane=lane, priority=rank)
    if known.reason in _PUT_OFF and known.due_at is not None:  # its turn had come
        after = replace(after, due_at=now, reason=None)
    elif known.state in _KEPT_STATES:
        reason = None if known.reason == NOT_WANTED else known.reason
        after = replace(after, due_at=_next_look_at(known, interval_s, now), reason=reason)
    elif known.due_at is None:
        after = replace(
            after, state=next_state(known.state, Event.RETRIED), due_at=now, reason=None, attempts=0
        )
    return None if after == known else Change(known.state, after)


def _next_look_at(known: Item, interval_s: float, now: float) -> float:
    """As it is, but never later than the interval from now: it may have been shortened. What waits for another reason waits."""
    if known.due_at is None:
        asked_at = known.nothing_at if known.stored_at is None else known.stored_at
        return max(now, (asked_at or 0.0) + interval_s)
    is_plain = known.reason in _WITHOUT_ANSWER
    return min(known.due_at, now + interval_s) if is_plain else known.due_at
