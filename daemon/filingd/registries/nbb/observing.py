"""What the manifest knows of a publication day, as the facts that alarms are told from (NBB reference, section 13, rule 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from filingd.core import calendar
from filingd.core.alarms import DayFacts, Listing
from filingd.core.model import EMPTY_STATES, HOLDING_STATES, State, group_of, leaf_of
from filingd.registries.nbb.emptiness import (
    DOCUMENTS_WITHOUT_REFERENCES,
    MISSING_THOUGH_LISTED,
    NOTHING_ON_A_WORKING_DAY,
)
from filingd.registries.nbb.models import KNOWN_MODELS, folded
from filingd.registries.nbb.timeline import NOT_PUBLISHED_YET, REFERENCES, WAITS_FOR_ARCHIVE, day_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.core.model import Group, Item, Version

_ALARMING = frozenset({NOTHING_ON_A_WORKING_DAY, MISSING_THOUGH_LISTED, DOCUMENTS_WITHOUT_REFERENCES})
_UNREADABLE = frozenset({"inspect_failed", "zero_known_fields"})
_SETTLED_STATES = HOLDING_STATES | EMPTY_STATES
_WAITING_REASONS = frozenset({None, NOT_PUBLISHED_YET, WAITS_FOR_ARCHIVE})


class Observer(msgspec.Struct, frozen=True):
    """How days are looked at. `known_fields` and `known_models` are those an operator has looked at, besides filingd's own."""

    zone: dt.tzinfo
    settles_at: dt.time
    empty_confirmations: int
    empty_interval_s: float
    look_back_days: int
    known_fields: frozenset[str] = frozenset()
    known_models: frozenset[str] = frozenset()

    def listing_key(self, group: str, now: float) -> str | None:
        """The item that lists the filings of a day, if the day is young enough for its content to matter."""
        is_near = calendar.age_days(day_of(group), now, self.zone) <= 2 * self.look_back_days
        return f"{group}/{REFERENCES}" if is_near else None

    def day(self, group: Group, items: Sequence[Item], listing: Version | None, now: float) -> DayFacts:
        """The facts of a day; `items` are those that are wanted of it (none are needed of a sealed one), `listing` is what
        is stored of its references."""
        day = day_of(group.key)
        is_sealed = group.sealed_at is not None
        left = [] if is_sealed else [item for item in items if item.state not in _SETTLED_STATES]
        filings, with_json = _counts(group, items, is_sealed=is_sealed)
        return DayFacts(
            group=group.key,
            family=group_of(group.key),
            day=day,
            age_days=calendar.age_days(day, now, self.zone),
            published_at=calendar.instant_of(calendar.later_by(day, 1), self.settles_at, self.zone),
            opened_at=group.opened_at,
            is_sealed=is_sealed,
            begun_at=_begun_at(items),
            is_waiting=bool(left) and all(_has_not_begun(item, now) for item in left),
            gave_up=any(item.state is State.QUARANTINED for item in left),
            is_lost=any(item.state is State.ABSENT for item in left),
            answers={item.key: answer for item in left if (answer := self._answer(item, now)) is not None},
            unreadable_key=next((item.key for item in left if _is_unreadable(item)), None),
            listing=self._listing(listing),
            filings=filings,
            with_json=with_json,
            unknown_labels=group.facts.get("unknown_labels") or {},
        )

    def _answer(self, item: Item, now: float) -> tuple[str, float] | None:
        """The reason of an answer that is an alarm, once it is proven, and since when it is given."""
        if item.reason not in _ALARMING or item.nothing_at is None:
            return None
        span_s = self.empty_interval_s * (self.empty_confirmations - 1)
        is_proven = item.nothing_count >= self.empty_confirmations and now - item.nothing_at >= span_s
        return (item.reason, item.nothing_at) if is_proven else None

    def _listing(self, version: Version | None) -> Listing | None:
        if version is None:
            return None
        facts = version.facts
        return Listing(
            stored_at=version.stored_at,
            filings=facts.get("filings", 0),
            fields=facts.get("fields") or {},
            unknown_fields=_without(facts.get("unknown_fields") or {}, map(folded, self.known_fields)),
            unknown_models=_without(facts.get("models") or {}, (*KNOWN_MODELS, *self.known_models)),
            casing=facts.get("casing", ""),
        )


def _without(names: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """What nobody knows of these names, by their folded spelling, so that another casing makes no other name."""
    passed = {folded(name) for name in known}
    return {folded(name): count for name, count in names.items() if folded(name) not in passed}


def _begun_at(items: Iterable[Item]) -> float | None:
    instants = (at for item in items for at in (item.stored_at, item.nothing_at) if at is not None)
    return min(instants, default=None)


def _has_not_begun(item: Item, now: float) -> bool:
    waits = item.due_at is not None and item.due_at > now
    untried = item.attempts == 0 and item.nothing_count == 0 and item.reason in _WAITING_REASONS
    return item.state is State.DUE and waits and untried


def _is_unreadable(item: Item) -> bool:
    return leaf_of(item.key) == REFERENCES and item.reason in _UNREADABLE


def _counts(group: Group, items: Iterable[Item], *, is_sealed: bool) -> tuple[int | None, int | None]:
    """How many filings a day lists and how many have JSON, once both were judged together."""
    counts, filings = group.facts.get("counts"), group.facts.get("filings")
    held = {leaf_of(item.key) for item in items if item.state in HOLDING_STATES}
    if (
        not isinstance(counts, dict)
        or "json" not in counts
        or not (is_sealed or {REFERENCES, "json"} <= held)
    ):
        return None, None
    return filings, counts["json"]
