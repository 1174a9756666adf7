"""What state each publication day is in, told from the manifest alone. No I/O, and light to import."""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, NamedTuple

from filingd.core.model import EMPTY_STATES, FINISHED_STATES, HOLDING_STATES, State, leaf_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filingd.core.model import Group, Item

PLANNED = ("planned",)  # the planner's reason for a day nobody has judged yet
# Answers that are alarms once they are proven: the registry should have something and says that it has not.
ALARMING_REASONS = frozenset(
    {"nothing_on_a_working_day", "missing_though_listed", "documents_without_references"}
)
SETTLED_STATES = HOLDING_STATES | EMPTY_STATES  # what a seal accepts
_WAITING_REASONS = frozenset({None, "not_published_yet", "waits_for_archive"})


class DayState(enum.Enum):
    """How a day stands. The values are the names in `filingd status --json`."""

    SEALED = "sealed"
    EMPTY = "sealed_empty"
    OPEN = "open"
    ALARMING = "alarming"
    ABSENT = "not_obtainable"
    NOT_DUE = "not_due"
    UNPLANNED = "unplanned"


class Day(NamedTuple):
    """One publication day of one family (`nbb/authentic`). `reasons` is empty when it is sealed."""

    group: str
    day: dt.date
    state: DayState
    reasons: tuple[str, ...] = ()
    sealed_at: float | None = None


class Proof(NamedTuple):
    """From when on "nothing there" is a statement and no longer a delay: asked so often, over so long."""

    confirmations: int
    interval_s: float

    def is_reached(self, item: Item, now: float) -> bool:
        """Whether the answers to this item's questions prove something."""
        since = now if item.nothing_at is None else item.nothing_at
        span_s = self.interval_s * (self.confirmations - 1)
        return item.nothing_count >= self.confirmations and now - since >= span_s


def day_of_group(group: str) -> dt.date | None:
    """The publication day of a group, None if the group is no day."""
    try:
        return dt.date.fromisoformat(group.rpartition("/")[2])
    except ValueError:
        return None


def days_of(
    groups: Iterable[Group],
    items_of: Callable[[str], Sequence[Item]],
    expected: Mapping[str, dt.date],
    now: float,
    proof: Proof,
) -> list[Day]:
    """All days, by family and date: those the manifest knows, and those it should know.

    `items_of` is asked for open days only. `expected` maps the groups that should exist to their days.
    """
    days = {}
    for group in groups:
        day = day_of_group(group.key)
        if day is not None:
            days[group.key] = _known(group, day, items_of, now, proof)
    for key, day in expected.items():
        if key not in days:
            days[key] = Day(key, day, DayState.UNPLANNED, ("not planned yet: the daemon has not run since",))
    return [days[key] for key in sorted(days)]


def _known(
    group: Group, day: dt.date, items_of: Callable[[str], Sequence[Item]], now: float, proof: Proof
) -> Day:
    if group.sealed_at is not None:
        state = DayState.EMPTY if _holds_nothing(group) else DayState.SEALED
        return Day(group.key, day, state, (), group.sealed_at)
    items = items_of(group.key)
    return Day(group.key, day, open_state(items, now, proof), reasons_of(group, items))


def _holds_nothing(group: Group) -> bool:
    """A seal says how many files each dataset holds."""
    counts = group.facts.get("counts")
    return isinstance(counts, dict) and not any(counts.values())


def open_state(items: Sequence[Item], now: float, proof: Proof) -> DayState:
    """The state of a day that is not sealed."""
    if any(_is_alarming(item, now, proof) for item in items):
        return DayState.ALARMING
    if any(item.state is State.ABSENT for item in items):
        return DayState.ABSENT
    if not items:
        return DayState.UNPLANNED
    if all(item.state in FINISHED_STATES for item in items):
        return DayState.ALARMING  # everything is there and yet it does not agree
    return DayState.NOT_DUE if all(_has_not_begun(item, now) for item in items) else DayState.OPEN


def _is_alarming(item: Item, now: float, proof: Proof) -> bool:
    if item.state is State.QUARANTINED:
        return True
    return item.reason in ALARMING_REASONS and proof.is_reached(item, now)


def _has_not_begun(item: Item, now: float) -> bool:
    waits = item.due_at is not None and item.due_at > now
    untried = item.attempts == 0 and item.nothing_count == 0 and item.reason in _WAITING_REASONS
    return item.state is State.DUE and waits and untried


def reasons_of(group: Group, items: Sequence[Item]) -> tuple[str, ...]:
    """What the items say while they move on; what the last judgement said once nothing moves any more."""
    if any(item.state not in FINISHED_STATES for item in items):
        return live_reasons(items)
    if group.reasons and group.reasons != PLANNED:
        return group.reasons
    return live_reasons(items) or (("not judged yet",) if items else ("not asked for yet",))


def live_reasons(items: Iterable[Item]) -> tuple[str, ...]:
    """Which datasets keep a day open, in the words of the registry's own judgement: `json: due (connection_lost)`."""
    return tuple(
        f"{leaf_of(item.key)}: {item.state.name.lower()}" + (f" ({item.reason})" if item.reason else "")
        for item in items
        if item.state not in SETTLED_STATES
    )
