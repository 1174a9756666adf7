"""The companies an operator follows: what is asked about them, and which of their documents are wanted.

Nothing of this is in the plan of days. What a company's watchlists want follows from its filings as the catalogue knows
them, whatever told of them first: the references of a day, which come anyway, or an answer about the company.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from filingd.core import calendar
from filingd.core.catalogue import calendar_day
from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import EMPTY_STATES, HOLDING_STATES, LEASED_STATES, Change, Item, State, group_of
from filingd.core.watchlist import SearchError
from filingd.registries.nbb import companies, documents, improved_documents, timeline
from filingd.registries.nbb.enterprises import plain_number
from filingd.registries.nbb.families import AUTHENTIC, IMPROVED_DATA
from filingd.registries.nbb.payloads import EXTRACTED, is_pdf_only
from filingd.registries.nbb.planning import dropped
from filingd.registries.nbb.ranks import RANK_COMPANY, RANK_FRESH, RANK_OLDER
from filingd.registries.nbb.routes import AUTHENTIC_QUERY, IMPROVED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from filingd.core.catalogue import Entry, Filing, Listing
    from filingd.core.model import Group, LaneSpec
    from filingd.core.watchlist import Search
    from filingd.registries.nbb.rules import NbbRules
    from filingd.registries.nbb.terms import NbbTerms

DOCUMENT_KINDS = ("json", "xbrl", "pdf")
# Section 6.4: what was deposited before has no document of that kind. Since when there are PDFs is not known well enough to
# leave any out (sections 6.4 and 15): the bank says for each that it has none.
FIRST_DEPOSITS: Mapping[str, dt.date] = {
    "json": dt.date(2022, 4, 4),
    "xbrl": dt.date(2007, 4, 1),
}
_FRESH_DAYS = 60
_OLDEST_YEARS = 60
_SHARE_FOR_NEW = 0.5  # of a lane's calls, for companies that are new: the rest goes to their documents


class Want(msgspec.Struct, frozen=True):
    """A document that is wanted. A body that was stored before `made_at` is asked for again."""

    item: Item
    made_at: float | None = None


class Companies:
    """Companies that are followed, by the rules of the operator. `rules` are those of all families that are wanted."""

    prefix = f"{companies.PREFIX}/"

    def __init__(
        self, rules: Mapping[str, NbbRules], common: NbbRules, lanes: Mapping[str, LaneSpec]
    ) -> None:
        """`lanes` has those of the authentic query and of improved data, as far as they are subscribed, by product."""
        self._rules = rules
        self._common = common
        self._lanes = lanes
        self._watched: Mapping[str, NbbTerms] = {}

    # ------------------------------------------------------------------ who is followed

    def plain_number(self, text: str) -> str:
        return plain_number(text)

    def remark_on(self, text: str) -> str | None:  # noqa: ARG002 - check digits leave nothing to doubt
        return None

    def number_of(self, key: str) -> str:
        return companies.number_of(key)

    knows_searches = False
    has_filings = True
    lead_prefixes: Sequence[str] = ()

    def spoken_for(self, facts: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002 - none speaks for another
        return ()

    def search_gaps(self, groups: Sequence[Group]) -> Sequence[str]:  # noqa: ARG002 - there are none
        return ()

    def search_prefix(self, name: str) -> str | None:  # noqa: ARG002 - there are none
        return None

    def follow(
        self,
        watched: Mapping[str, NbbTerms],
        searches: object = None,  # noqa: ARG002 - there are none
        *,
        is_whole: bool = True,  # noqa: ARG002 - nor does anybody lead to others
    ) -> None:
        self._watched = watched

    def search_of(self, table: Mapping[str, Any]) -> Search:  # noqa: ARG002 - whatever it says
        raise SearchError("The bank cannot be searched: list enterprise numbers in a CSV file instead.")

    def named(self, facts: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002 - no body names another company
        return ()

    def lead_terms(self, key: str, watched: Mapping[str, NbbTerms]) -> NbbTerms | None:  # noqa: ARG002 - see `named`
        return None

    def terms_of(self, number: str) -> NbbTerms | None:
        """The terms of a company; None if it is not followed."""
        return self._watched.get(number)

    # ------------------------------------------------------------------ what is asked about them

    def possible_keys(self, number: str) -> Sequence[str]:
        return [companies.key_for(number, leaf) for leaf in (companies.FILINGS, companies.IMPROVEMENTS)]

    def keys(self, number: str) -> Sequence[str]:
        terms = self._watched.get(number)
        if terms is None:
            return ()
        wanted = [(AUTHENTIC_QUERY, companies.FILINGS)]
        wanted += [(IMPROVED, companies.IMPROVEMENTS)] if terms.improved else []
        return [companies.key_for(number, leaf) for product, leaf in wanted if product in self._lanes]

    def plan(
        self, numbers: Sequence[str], known: Mapping[str, Item], now: float, ahead: int = 0
    ) -> Sequence[Change]:
        changes: list[Change | None] = []
        wanted = [key for number in numbers for key in self.keys(number)]
        for key in wanted:
            change = self._planned(key, known.get(key), now, ahead)
            ahead += change is not None and change.before is None
            changes.append(change)
        unwanted = known.keys() - set(wanted)
        return [
            *(change for change in changes if change is not None),
            *dropped(known[key] for key in sorted(unwanted)),
        ]

    def _planned(self, key: str, known: Item | None, now: float, ahead: int) -> Change | None:
        lane = self._lane_of(key)
        if known is None:
            due_at = now + ahead / (lane.calls_per_s * _SHARE_FOR_NEW)
            return Change(None, Item(key, lane.name, State.DUE, RANK_COMPANY, due_at))
        if known.state in LEASED_STATES or known.reason == FORGOTTEN_REASON:
            return None
        after = replace(known, lane=lane.name, priority=RANK_COMPANY)
        if known.state in HOLDING_STATES | EMPTY_STATES:
            after = replace(after, due_at=self._next_look_at(known, now), reason=_without_not_wanted(known))
        elif known.due_at is None:
            after = replace(after, state=next_state(known.state, Event.RETRIED), due_at=now, reason=None)
        return None if after == known else Change(known.state, after)

    def _next_look_at(self, known: Item, now: float) -> float:
        """As it is, but never later than the interval from now: it may have been shortened, or the company come back."""
        interval_s = self._watched[companies.number_of(known.key)].refresh_interval_s
        if known.due_at is not None:
            return min(known.due_at, now + interval_s)
        asked_at = known.nothing_at if known.stored_at is None else known.stored_at
        return max(now, (asked_at or 0.0) + interval_s)

    def _lane_of(self, key: str) -> LaneSpec:
        is_filings = key.endswith(f"/{companies.FILINGS}")
        return self._lanes[AUTHENTIC_QUERY if is_filings else IMPROVED]

    # ------------------------------------------------------------------ which of their documents are wanted

    def document_keys(self, entries: Sequence[Entry]) -> Sequence[str]:
        return [
            key
            for entry in entries
            if documents.may_be_asked_for(entry.reference)
            for key in (
                *(documents.key_for(entry.reference, kind) for kind in DOCUMENT_KINDS),
                *(improved_documents.key_for(entry.reference, kind) for kind in improved_documents.KINDS),
            )
        ]

    def follow_ups(
        self,
        number: str,
        entries: Sequence[Entry],
        known: Mapping[str, Item],
        open_groups: Collection[str],
        now: float,
    ) -> Sequence[Change]:
        wanted = {want.item.key: want for want in self._wanted(number, entries, open_groups, now)}
        interval_s = self._common.unavailable_interval_s
        changes = [_followed(want, known.get(key), interval_s, now) for key, want in wanted.items()]
        unwanted = (
            item for key, item in known.items() if key not in wanted and item.priority >= RANK_FRESH
        )  # what a day wants has another rank
        return [*(change for change in changes if change is not None), *dropped(unwanted)]

    def _wanted(
        self, number: str, entries: Sequence[Entry], open_groups: Collection[str], now: float
    ) -> Iterator[Want]:
        terms = self._watched.get(number)
        if terms is None:
            return
        coming = _Coming(self._rules, self._common, open_groups, now)
        for entry, filing in _newest(entries, terms.latest):
            if not documents.may_be_asked_for(entry.reference):
                continue
            rank = _rank(filing, calendar.day_at(now, self._common.zone))
            if AUTHENTIC_QUERY in self._lanes:
                yield from self._authentic(entry, filing, terms, coming, rank, now)
            if terms.improved and IMPROVED in self._lanes:
                yield from self._improved(entry, filing, coming, rank, now)

    def _authentic(
        self, entry: Entry, filing: Filing, terms: NbbTerms, coming: _Coming, rank: int, now: float
    ) -> Iterator[Want]:
        lane = self._lanes[AUTHENTIC_QUERY].name
        for kind in DOCUMENT_KINDS:
            is_wanted = kind in terms.documents and may_exist(filing, kind) and entry.document(kind) is None
            if is_wanted and not coming.by_a_day(entry, filing, kind):
                yield Want(Item(documents.key_for(entry.reference, kind), lane, priority=rank, due_at=now))

    def _improved(
        self, entry: Entry, filing: Filing, coming: _Coming, rank: int, now: float
    ) -> Iterator[Want]:
        lane = self._lanes[IMPROVED].name
        for kind in improved_documents.KINDS:
            made_on = _improved_on(entry, kind)
            if made_on is None and not _may_be_unlisted(filing, kind):
                continue
            if coming.by_an_improved_day(entry, filing, kind, made_on):
                continue
            made_at = None if made_on is None else timeline.first_open_at(self._common, made_on)
            item = Item(improved_documents.key_for(entry.reference, kind), lane, priority=rank, due_at=now)
            yield Want(item, made_at)


class _Coming:
    """Whether the zips of publication days have brought, or will bring, a document: then it is not asked for by itself.

    A day that is sealed has all that the bank serves of what it lists. One that is open may bring something as long as
    anybody serves it.
    """

    def __init__(
        self, rules: Mapping[str, NbbRules], common: NbbRules, open_groups: Collection[str], now: float
    ) -> None:
        self._rules = rules
        self._lag_days = common.publication_lag_days
        self._open_groups = open_groups
        self._now = now

    def by_a_day(self, entry: Entry, filing: Filing, kind: str) -> bool:
        """An authentic document. An answer about a company does not say when a filing was published, only when it was deposited:
        it may have been published within the lag from then."""
        rules = self._mirrored(AUTHENTIC.name, kind)
        if rules is None:
            return False
        listed = [day for listing in entry.listings if (day := _listed_on(listing, rules)) is not None]
        if listed:
            return any(self._has_or_may(rules, day) for day in listed)
        deposited = calendar_day(filing.deposit_date)
        return deposited is not None and any(
            self._may(rules, day) for day in self._days_from(rules, deposited)
        )

    def by_an_improved_day(self, entry: Entry, filing: Filing, kind: str, made_on: dt.date | None) -> bool:
        """An improved document; one that is in no list may have been made on any day since the filing was deposited."""
        rules = self._mirrored(IMPROVED_DATA.name, "json")
        if rules is None:
            return False
        if made_on is not None:
            return made_on >= rules.since and self._has_or_may(rules, made_on)
        deposited = calendar_day(filing.deposit_date)
        is_held = entry.document("json", kind) is not None
        return is_held or (deposited is not None and deposited >= rules.since)

    def _mirrored(self, family: str, dataset: str) -> NbbRules | None:
        rules = self._rules.get(family)
        return rules if rules is not None and dataset in rules.datasets else None

    def _days_from(self, rules: NbbRules, deposited: dt.date) -> Iterable[dt.date]:
        """The days on which it may have been published: it is known, so not after today."""
        today = calendar.day_at(self._now, rules.zone)
        last = min(calendar.later_by(deposited, self._lag_days), today)
        return calendar.days_from(max(deposited, rules.since), last)

    def _has_or_may(self, rules: NbbRules, day: dt.date) -> bool:
        if self._is_open(rules, day):
            return self._is_to_be_had(rules, day)
        return True

    def _may(self, rules: NbbRules, day: dt.date) -> bool:
        return self._is_open(rules, day) and self._is_to_be_had(rules, day)

    def _is_open(self, rules: NbbRules, day: dt.date) -> bool:
        is_over = day < calendar.day_at(self._now, rules.zone)  # today is planned from tomorrow on
        return not is_over or group_of(rules.family.key_for(day, timeline.REFERENCES)) in self._open_groups

    def _is_to_be_had(self, rules: NbbRules, day: dt.date) -> bool:
        return timeline.place(rules, day, timeline.REFERENCES, self._now).opens_at is not None


# ------------------------------------------------------------------------------------------------- rules


def may_exist(filing: Filing, kind: str) -> bool:
    """Whether model and date do not explain that a filing has no document of a kind (sections 6.4 and 7.2)."""
    if kind in AUTHENTIC.not_of_pdf and is_pdf_only(filing.model or ""):
        return False
    deposited, first = calendar_day(filing.deposit_date), FIRST_DEPOSITS.get(kind)
    return deposited is None or first is None or deposited >= first


def _may_be_unlisted(filing: Filing, kind: str) -> bool:
    """Whether figures may have been read out of a PDF although no line says so (section 6.6): out of an old one, too."""
    return kind == EXTRACTED and is_pdf_only(filing.model or "")


def _newest(entries: Iterable[Entry], latest: int) -> list[tuple[Entry, Filing]]:
    """The filings of the newest exercises (0: of all), each with the record that describes it. What does not say which
    exercise it is about is taken to be about the one before its deposit."""
    filings = [(entry, filing) for entry in entries if (filing := _record(entry)) is not None]
    if not latest:
        return filings
    ends = sorted({_exercise(filing) for _, filing in filings}, reverse=True)[:latest]
    return [(entry, filing) for entry, filing in filings if _exercise(filing) in ends]


def _record(entry: Entry) -> Filing | None:
    """The newest authentic record of a filing; of one that nothing but its improvements is known of, the newest of those."""
    records = [one.filing for one in entry.listings]
    return next((record for record in records if record.variant is None), next(iter(records), None))


def _exercise(filing: Filing) -> dt.date:
    return calendar_day(filing.exercise_end) or calendar_day(filing.deposit_date) or dt.date.min


def _rank(filing: Filing, today: dt.date) -> int:
    deposited = calendar_day(filing.deposit_date)
    if deposited is not None and (today - deposited).days <= _FRESH_DAYS:
        return RANK_FRESH
    years = max(today.year - _exercise(filing).year, 0)
    return RANK_OLDER + min(years, _OLDEST_YEARS)


def _improved_on(entry: Entry, kind: str) -> dt.date | None:
    """When the newest improvement of this kind was made, as far as a list says so."""
    days = (calendar_day(one.filing.improvement_date) for one in entry.listings if one.filing.variant == kind)
    return max((day for day in days if day is not None), default=None)


def _listed_on(listing: Listing, rules: NbbRules) -> dt.date | None:
    """The day of the family whose references list this record, if it is one that is mirrored."""
    if listing.source.published_on is None or listing.source.family != rules.family.path:
        return None
    day = dt.date.fromisoformat(listing.source.published_on)
    return day if day >= rules.since else None


def _followed(want: Want, known: Item | None, interval_s: float, now: float) -> Change | None:
    """What has to change so that a wanted document is asked for once, and again if it was made anew since."""
    if known is None:
        return Change(None, want.item)
    if known.state in LEASED_STATES or known.reason == FORGOTTEN_REASON:
        return None
    if known.state in HOLDING_STATES | EMPTY_STATES:
        is_made_anew = want.made_at is not None and _asked_at(known, interval_s) < want.made_at <= now
        is_waiting = known.due_at is not None and known.due_at <= now
        return Change(known.state, replace(known, due_at=now)) if is_made_anew and not is_waiting else None
    if known.due_at is not None:
        return None
    state = next_state(known.state, Event.RETRIED)
    fields = {"priority": want.item.priority, "lane": want.item.lane, "due_at": now, "reason": None}
    return Change(known.state, replace(known, state=state, attempts=0, **fields))


def _asked_at(known: Item, interval_s: float) -> float:
    """When what is had, or known not to be there, was last asked for, by when it is to be asked for next."""
    came_at = known.nothing_at if known.stored_at is None else known.stored_at
    looked_at = None if known.due_at is None else known.due_at - interval_s
    return max(came_at or 0.0, looked_at or 0.0)


def _without_not_wanted(known: Item) -> str | None:
    return None if known.reason == timeline.NOT_WANTED else known.reason
