"""The numbers an operator follows, and those that answers name: what is asked about them, each part once and in its own time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filingd.core.model import Change, Item, State, leaf_of
from filingd.registries.kvk import exporting, numbers, profiles, searches
from filingd.registries.kvk.operations import VESTIGINGEN, VESTIGINGSPROFIEL, ZOEKEN
from filingd.registries.kvk.ranks import RANK_NUMBER
from filingd.registries.kvk.upkeep import dropped, kept_up

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filingd.core.catalogue import Entry
    from filingd.core.model import Group
    from filingd.core.watchlist import SavedSearch
    from filingd.registries.kvk.cells import SearchLine
    from filingd.registries.kvk.rules import KvkRules
    from filingd.registries.kvk.searches import KvkSearch
    from filingd.registries.kvk.terms import KvkTerms, PartTerms


class Companies:
    """See `ports.Companies`. There are no documents beside the profiles."""

    prefix = f"{profiles.PREFIX}/"
    knows_searches = True
    has_filings = False
    lead_prefixes: Sequence[str] = (prefix, f"{searches.PREFIX}/")

    def __init__(self, rules: KvkRules, search_line: SearchLine) -> None:
        self._rules = rules
        self._search_line = search_line
        self._watched: Mapping[str, KvkTerms] = {}
        self._is_whole = False  # before anybody said who is followed

    # ------------------------------------------------------------------ who is followed

    def plain_number(self, text: str) -> str:
        return numbers.plain_number(text)

    def remark_on(self, text: str) -> str | None:
        """What is worth knowing of a number that can be used; see `numbers.remark_on`."""
        return numbers.remark_on(text)

    def number_of(self, key: str) -> str:
        return profiles.number_of(key)

    def follow(
        self,
        watched: Mapping[str, KvkTerms],
        searches: Mapping[str, SavedSearch] | None = None,
        *,
        is_whole: bool = True,
    ) -> None:
        self._watched, self._is_whole = watched, is_whole
        if searches is not None:
            self._search_line.follow(searches)

    def search_prefix(self, name: str) -> str | None:
        folder = self._search_line.folder_of(name)
        return None if folder is None else f"{searches.PREFIX}/{folder}/"

    def search_gaps(self, groups: Sequence[Group]) -> Sequence[str]:
        return searches.gaps(groups)

    def search_of(self, table: Mapping[str, Any]) -> KvkSearch:
        return searches.search_of(table)

    def terms_of(self, number: str, part: str) -> PartTerms | None:
        """How a part of a number is wanted; None if it is not."""
        terms = self._watched.get(number)
        return terms.part(part) if terms is not None else None

    def are_known(self) -> bool:
        """Whether it was said of everybody who is followed."""
        return self._is_whole

    # ------------------------------------------------------------------ whom answers name

    def named(self, facts: Mapping[str, Any]) -> Sequence[str]:
        return tuple(facts.get("names", ()))

    def spoken_for(self, facts: Mapping[str, Any]) -> Sequence[str]:
        return exporting.spoken_for(facts)

    def lead_terms(self, key: str, watched: Mapping[str, KvkTerms]) -> KvkTerms | None:
        """The companies that a search finds are followed on the terms of its list, those of an RSIN on the RSIN's; branches
        where their profiles are wanted of the company."""
        if not key.startswith(self.prefix):
            wanted = self._search_line.wanted(key)
            return wanted.terms if wanted is not None else None
        terms, part = watched.get(profiles.number_of(key)), leaf_of(key)
        if terms is None or part == ZOEKEN:
            return terms
        leads = part == VESTIGINGEN and terms.part(VESTIGINGEN) and terms.part(VESTIGINGSPROFIEL)
        return terms if leads else None

    # ------------------------------------------------------------------ what is asked about them

    def possible_keys(self, number: str) -> Sequence[str]:
        return [profiles.key_for(number, part) for part in profiles.parts_of(number)]

    def keys(self, number: str) -> Sequence[str]:
        return [profiles.key_for(number, terms.part) for terms in self._parts(number)]

    def _parts(self, number: str) -> Sequence[PartTerms]:
        wanted = (self.terms_of(number, part) for part in profiles.parts_of(number))
        return [terms for terms in wanted if terms is not None]

    def plan(
        self,
        numbers: Sequence[str],
        known: Mapping[str, Item],
        now: float,
        ahead: int = 0,  # noqa: ARG002 - whoever is new comes when it is his turn; nothing else waits behind them
    ) -> Sequence[Change]:
        changes: list[Change | None] = []
        wanted: set[str] = set()
        for number in numbers:
            for terms in self._parts(number):
                key = profiles.key_for(number, terms.part)
                wanted.add(key)
                changes.append(self._planned(key, terms, known.get(key), now))
        unwanted = (known[key] for key in sorted(known.keys() - wanted))
        return [*(change for change in changes if change is not None), *dropped(unwanted, now)]

    def _planned(self, key: str, terms: PartTerms, known: Item | None, now: float) -> Change | None:
        lane = profiles.lane_of(self._rules, terms)
        if known is not None:
            return kept_up(known, lane, RANK_NUMBER, terms.interval_s, now)
        return Change(None, Item(key, lane, State.DUE, RANK_NUMBER, now))

    # ------------------------------------------------------------------ documents: none

    def document_keys(self, entries: Sequence[Entry]) -> Sequence[str]:  # noqa: ARG002 - there are none
        return ()

    def follow_ups(
        self,
        number: str,  # noqa: ARG002 - there are none
        entries: Sequence[Entry],  # noqa: ARG002 - there are none
        known: Mapping[str, Item],
        open_groups: Collection[str],  # noqa: ARG002 - there are none
        now: float,
    ) -> Sequence[Change]:
        return dropped(known.values(), now)
