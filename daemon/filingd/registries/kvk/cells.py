"""The pages of saved searches: how they are asked for, and when a cell is complete (KVK reference, section 6.1).

Keys are `kvk/searches/molens-1f0c2a9b/type=hoofdvestiging/3`: the search, the cell, the page. A cell is complete when the rows of
its pages add up to what KVK says there are, or when it was split. Pages shift while they are fetched, so rows are counted by
what they are, not by where they stand.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from filingd.core.model import (
    EMPTY_STATES,
    HOLDING_STATES,
    Absent,
    Change,
    Deferral,
    Item,
    Judgement,
    Nothing,
    State,
)
from filingd.registries.kvk import answers, requests, searches
from filingd.registries.kvk.answers import NO_RESULTS, PARAMETER_REFUSED, Question
from filingd.registries.kvk.operations import ZOEKEN
from filingd.registries.kvk.profiles import stored
from filingd.registries.kvk.ranks import RANK_SEARCH
from filingd.registries.kvk.requests import MOST_PAGES, MOST_ROWS, PAGE, PAGE_SIZE, ROWS_PER_PAGE
from filingd.registries.kvk.searches import KvkSearch
from filingd.registries.kvk.terms import KvkTerms
from filingd.registries.kvk.upkeep import dropped, kept_up, put_off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filingd.core.model import Answer, Attempt, BodyPlan, BodyReport, Holding, ResponseHead, Verdict
    from filingd.core.watchlist import SavedSearch
    from filingd.registries.kvk.answers import Memory
    from filingd.registries.kvk.rules import KvkRules

BEYOND_REACH = "beyond_reach"
_TARGET = re.compile(
    rf"(?P<key>{searches.PREFIX}/[^/]+-[0-9a-f]{{8}}/[^/]+/(?P<page>[1-9][0-9]?))\.json", re.ASCII
)
_NAMED = re.compile(r"\[([^\]]*)\]")
_SETTLED_STATES = HOLDING_STATES | EMPTY_STATES


class Wanted:
    """One saved search that is wanted, and who pays for it."""

    def __init__(self, search: KvkSearch, terms: KvkTerms, rules: KvkRules) -> None:
        zoeken = terms.part(ZOEKEN)
        assert zoeken is not None, "terms always have the search"
        self.search = search
        self.terms = terms
        self.lane = rules.lane_name(zoeken.account, ZOEKEN)
        self.interval_s = search.refresh_interval_s or zoeken.interval_s


class SearchLine:
    """The items of saved searches. Its functions mean what those of `ports.Registry` mean, for its own keys alone."""

    def __init__(self, rules: KvkRules, memory: Memory) -> None:
        self._rules = rules
        self._memory = memory
        self._wanted: dict[str, Wanted] | None = None  # by folder; None before it was said which are
        self._stopped: set[str] = set()  # searches of which a parameter was refused

    def follow(self, saved: Mapping[str, SavedSearch]) -> None:
        """From now on these searches are wanted, by the name of their list, and no others."""
        self._wanted = {
            searches.folder_for(name, _search(one)): Wanted(_search(one), _terms(one), self._rules)
            for name, one in saved.items()
        }

    def folder_of(self, name: str) -> str | None:
        """The folder of a search that is wanted, by the name of its list."""
        return next((folder for folder in self._wanted or {} if searches.name_of(folder) == name), None)

    def wanted(self, key: str) -> Wanted | None:
        """The search an item or a group belongs to, if it is wanted."""
        return (self._wanted or {}).get(searches.folder_of(key))

    # ------------------------------------------------------------------ which items there are

    def expected(self) -> Sequence[str]:
        """The first page of each whole query; what else is needed follows from what that says."""
        return [searches.key_for(folder, searches.WHOLE, 1) for folder in self._wanted or {}]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        """What has to change so that wanted searches are asked for in time, and others are not."""
        if self._wanted is None:
            return []  # nobody has said yet which searches there are
        refused = {searches.folder_of(key) for key, item in known.items() if item.reason == PARAMETER_REFUSED}
        stopped = self._stopped | refused
        changes = [
            Change(None, Item(key, wanted.lane, State.DUE, RANK_SEARCH, now))
            for key in self.expected()
            if key not in known and (wanted := self.wanted(key)) and searches.folder_of(key) not in stopped
        ]
        left = []
        for key, item in known.items():
            wanted = self.wanted(key)
            if wanted is None or searches.folder_of(key) in stopped:
                left += [] if item.reason == PARAMETER_REFUSED else [item]
            elif (change := kept_up(item, wanted.lane, RANK_SEARCH, wanted.interval_s, now)) is not None:
                changes.append(change)
        return [*changes, *dropped(left, now)]

    # ------------------------------------------------------------------ asking

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        wanted, folder = self.wanted(item.key), searches.folder_of(item.key)
        if item.reason == PARAMETER_REFUSED:  # nothing but an operator has it tried again
            self._stopped.discard(folder)
        if folder in self._stopped:
            return Deferral(PARAMETER_REFUSED, item.lane, None)
        parameters = wanted.search.narrowed(searches.cell_in(item.key)) if wanted else None
        if wanted is None or parameters is None:
            return put_off(item, now, lists_are_read=self._wanted is not None)
        return requests.search(self._rules, wanted.lane, parameters, _page_of(item.key), is_cell=True)

    def interpret(self, item: Item, answer: Answer, now: float) -> Verdict:
        folder = searches.folder_of(item.key)
        again_at = self.recheck_at(item, now)
        question = PageQuestion(
            self._rules, self._memory, item, again_at, now, lambda: self._stopped.add(folder)
        )
        return answers.interpret(question, answer)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        supplements: Mapping[str, Holding] | None,
    ) -> Judgement | None:
        wanted = self.wanted(group)
        if wanted is None or wanted.search.narrowed(searches.cell_in(group)) is None:
            return None
        cell = _Cell(self._rules, wanted, group, holdings, now)
        if searches.folder_of(group) in self._stopped:
            return Judgement((cell.told_refusal(),), cell.facts())
        return cell.judged(supplements or {})

    # ------------------------------------------------------------------ bodies

    def target(self, key: str) -> str:
        return f"{key}.json"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        return found["key"] if found and int(found["page"]) <= MOST_PAGES else None

    def body_plan(self, key: str) -> BodyPlan:  # noqa: ARG002 - one shape for all lines
        return requests.page_plan(self._rules)

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        """After the interval of the search; never if nobody wants it any more."""
        wanted = self.wanted(item.key)
        return None if wanted is None else after_at + wanted.interval_s


class PageQuestion(Question):
    """KVK was asked for one page of a cell. `stop` is called when it refuses a parameter of the search."""

    def __init__(
        self,
        rules: KvkRules,
        memory: Memory,
        item: Item,
        again_at: float | None,
        now: float,
        stop: Callable[[], None],
    ) -> None:
        super().__init__(rules, memory, ZOEKEN, item, again_at, now)
        self._stop = stop

    def sound(self, body: BodyReport, head: ResponseHead) -> Verdict:  # noqa: ARG002 - one shape for all questions
        """Rows hold addresses and no word on whether they are shielded: older pages never stay."""
        return stored(self, head, is_private=True)

    def no_results(self, text: str) -> Verdict:  # noqa: ARG002 - one shape for all questions
        """Nothing fits, or the pages end before this one: an answer as good as any, asked for again as often. What was found
        before is followed no longer."""
        self.memory.guard.note_answer(self.product)
        return self._end()

    def stopped(self, text: str) -> Verdict:
        """Every page and cell of the search would be refused, unless it is the page that there is none of."""
        if self._is_later and _names_paging_alone(text):
            return self._end()
        self._stop()
        return Absent(PARAMETER_REFUSED, None, alarm=True, detail=text)

    def refused_as_invalid(self, text: str) -> Verdict:
        return self._end() if self._is_later else super().refused_as_invalid(text)

    @property
    def _is_later(self) -> bool:
        """Whether it differs by its number alone from a page that was not refused. What KVK answers beyond the last page is
        unknown (section 6.1); that rows are missing is seen when the cell is judged: then all its pages are asked for again."""
        return _page_of(self.item.key) > 1

    def _end(self) -> Nothing:
        return Nothing(NO_RESULTS, self.again_at, confirmed=True, drops_held=True)


# ------------------------------------------------------------------------------------------------- judging


class _Cell:
    """The pages of one cell as they are held, and what they add up to."""

    def __init__(
        self, rules: KvkRules, wanted: Wanted, group: str, holdings: Mapping[str, Holding], now: float
    ) -> None:
        self._rules = rules
        self._wanted = wanted
        self._folder, self._cell = searches.folder_of(group), searches.cell_in(group)
        self._holdings = {int(leaf): holding for leaf, holding in holdings.items()}
        self._now = now
        self._total = self._newest_total()
        self._pages = range(1, min(max(-(-self._total // ROWS_PER_PAGE), 1), MOST_PAGES) + 1)

    def judged(self, supplements: Mapping[str, Holding]) -> Judgement:
        if any(_is_refused(holding.item) for holding in self._holdings.values()):
            return Judgement((self.told_refusal(),), self.facts())
        if not self._is_settled(1):
            return Judgement((self._told_state(1),), self.facts())
        if self._total > MOST_ROWS:
            return self._split(supplements)
        return self._collected()

    def facts(self) -> dict[str, Any]:
        """What the seal, and whoever shows how far a search is, knows of the cell."""
        counted = self._counted()
        return {"totaal": self._total, "rows": len(counted), "repeated": counted.total() - len(counted)}

    def told_refusal(self) -> str:
        return (
            f"{PARAMETER_REFUSED}: KVK takes a parameter of the search for invalid: correct it, or have it tried again by "
            f"`filingd items retry {searches.PREFIX}/{self._folder}`"
        )

    # ------------------------------------------------------------------ more than can be seen

    def _split(self, supplements: Mapping[str, Holding]) -> Judgement:
        axis = self._wanted.search.next_axis(self._cell)
        if axis is None:
            reason = f"{BEYOND_REACH}: totaal {self._total}, at most {MOST_ROWS} can be seen and no axis of `split` is left"
            return Judgement((reason,), self.facts())
        cells = self._wanted.search.children(self._cell)
        keys = [searches.key_for(self._folder, cell, 1) for cell in cells]
        facts = {**self.facts(), "split_along": axis.name, "cells": len(keys)}
        if any(_is_refused(one.item) for one in supplements.values()):
            return Judgement((self.told_refusal(),), facts)
        left = [
            key
            for key in keys
            if key not in supplements or supplements[key].item.state not in _SETTLED_STATES
        ]
        if left:
            reason = f"totaal {self._total}: {len(left)} of {len(keys)} cells along {axis.name} have not answered yet"
            return Judgement((reason,), facts, supplements=tuple(keys), wants=tuple(map(self._item, left)))
        return self._split_through(axis.name, facts, supplements)

    def _split_through(self, axis: str, facts: Mapping[str, Any], cells: Mapping[str, Holding]) -> Judgement:
        """Every cell has answered. Cells may find the same row; together they cannot find fewer than there are."""
        found = sum(_total_of(one) for one in cells.values())
        if found >= self._total:
            return Judgement((), facts, supplements=tuple(cells))
        reason = (
            f"totaal {self._total}, and {found} in all cells along {axis}: values are missing in the search"
        )
        again = ((self._key(1), self._next_look_at()),)
        return Judgement((reason,), facts, refetch=again, supplements=tuple(cells))

    # ------------------------------------------------------------------ all pages

    def _collected(self) -> Judgement:
        missing = [page for page in self._pages if not self._is_there(page)]
        left = [page for page in self._pages if not self._is_settled(page)]
        wants = tuple(self._item(self._key(page)) for page in missing)
        if left:
            reasons = tuple(self._told_state(page) for page in left)
            return Judgement(reasons, self.facts(), wants=wants)
        count = self._counted().total() + self._left_out()
        if count == self._total:
            return Judgement((), self.facts())
        reason = f"{count} rows are there, totaal says {self._total}: pages may have shifted, and are fetched again"
        at = self._next_look_at()
        return Judgement(
            (reason,), self.facts(), refetch=tuple((self._key(page), at) for page in self._pages)
        )

    def _next_look_at(self) -> float:
        """Soon at first; the longer nothing has changed, the later."""
        versions = [holding.version for holding in self._holdings.values() if holding.version is not None]
        looked_at = max((version.verified_at or version.stored_at for version in versions), default=self._now)
        changed_at = max((version.stored_at for version in versions), default=self._now)
        wait_s = min(max(looked_at - changed_at, self._rules.mismatch_interval_s), self._wanted.interval_s)
        return looked_at + wait_s

    # ------------------------------------------------------------------ pages

    def _newest_total(self) -> int:
        """What KVK said last: pages are fetched one after the other, and the number changes meanwhile. Without an answer, or if
        the last was that there is nothing, it is 0."""
        if 1 in self._holdings and _is_nothing(self._holdings[1].item):
            return 0
        said = [
            (version.verified_at or version.stored_at, int(version.facts.get("totaal", 0)))
            for holding in self._held(self._holdings)
            if (version := holding.version) is not None
        ]
        return max(said, default=(0.0, 0))[1]

    def _held(self, pages: Iterable[int]) -> Sequence[Holding]:
        found = (self._holdings[page] for page in pages if page in self._holdings)
        return [one for one in found if one.item.state in HOLDING_STATES and not _is_nothing(one.item)]

    def _counted(self) -> Counter[tuple[str, ...]]:
        """The rows of all pages. One that stands on several pages has shifted and counts once; one that stands several times
        on one page is there as often."""
        counted: Counter[tuple[str, ...]] = Counter()
        for facts in self._facts_of_pages():
            counted |= Counter(map(tuple, facts.get("rows", ())))
        return counted

    def _left_out(self) -> int:
        return sum(int(facts.get("left_out", 0)) for facts in self._facts_of_pages())

    def _facts_of_pages(self) -> Sequence[Mapping[str, Any]]:
        return [one.version.facts for one in self._held(self._pages) if one.version is not None]

    def _is_there(self, page: int) -> bool:
        return page in self._holdings and self._holdings[page].item.state is not State.ABSENT

    def _is_settled(self, page: int) -> bool:
        return page in self._holdings and self._holdings[page].item.state in _SETTLED_STATES

    def _told_state(self, page: int) -> str:
        if page not in self._holdings:
            return f"page {page}: not asked for yet"
        item = self._holdings[page].item
        why = f" ({item.reason})" if item.reason else ""
        return f"page {page}: {item.state.name.lower()}{why}"

    def _key(self, page: int) -> str:
        return searches.key_for(self._folder, self._cell, page)

    def _item(self, key: str) -> Item:
        return Item(key, self._wanted.lane, State.DUE, RANK_SEARCH, self._now)


def _is_nothing(item: Item) -> bool:
    """Whether KVK said last that there is nothing, be a body held from before or not."""
    return item.state in EMPTY_STATES or item.reason == NO_RESULTS


def _total_of(holding: Holding) -> int:
    """How many rows the first page of a cell says there are."""
    if holding.version is None or holding.item.state not in HOLDING_STATES or _is_nothing(holding.item):
        return 0
    return int(holding.version.facts.get("totaal", 0))


def _names_paging_alone(text: str) -> bool:
    """Whether a refusal names no parameter, in the brackets it has for them, but those of paging."""
    names = {name.strip().lower() for found in _NAMED.findall(text) for name in found.split(",")}
    return names <= {PAGE.lower(), PAGE_SIZE.lower()}


def _is_refused(item: Item) -> bool:
    return item.reason == PARAMETER_REFUSED


def _page_of(key: str) -> int:
    return int(key.rpartition("/")[2])


def _search(saved: SavedSearch) -> KvkSearch:
    return cast(KvkSearch, saved.search)  # what this registry made of the operator's TOML


def _terms(saved: SavedSearch) -> KvkTerms:
    return cast(KvkTerms, saved.terms)
