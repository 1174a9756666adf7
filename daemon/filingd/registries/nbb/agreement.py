"""Whether the documents of a day are those its references list, and what is worth telling of both, family by family."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from filingd.core.model import EMPTY_STATES, HOLDING_STATES
from filingd.registries.nbb import documents, improved_documents
from filingd.registries.nbb.families import IMPROVED_DATA
from filingd.registries.nbb.payloads import (
    EXTRACTED,
    UNKNOWN_KIND,
    documents_in,
    filings_of,
    improvements_in,
    improvements_of,
    is_pdf_only,
    strangers_in,
)
from filingd.registries.nbb.timeline import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from filingd.core.model import Holding, Member, State
    from filingd.registries.nbb.rules import NbbRules

_ANSWERED_STATES = HOLDING_STATES | EMPTY_STATES


class Difference(NamedTuple):
    """Some filings or members of a dataset that do not agree."""

    dataset: str
    what: str
    which: Collection[str]


class Lacking(NamedTuple):
    """A listed document that the zip of a dataset should hold and does not; `key` is that of the item that asks for it by
    itself."""

    reference: str
    dataset: str
    key: str


class Agreement(NamedTuple):
    """What a day's references list, against what its zips hold. `filings` is the length of the list.

    `lacking` are the listed documents that no zip of the day holds although it should, as far as they can be asked for.
    """

    filings: int
    differences: Sequence[Difference]
    facts: Mapping[str, Any]  # plain JSON values
    lacking: Collection[Lacking] = ()


def agreement_of(
    rules: NbbRules, holdings: Mapping[str, Holding], supplements: Mapping[str, Holding]
) -> Agreement:
    """How far the documents of a day agree with its references; `holdings` with their member indexes.

    `supplements` are documents that were asked for one by one, by key.
    """
    if rules.family == IMPROVED_DATA:
        return _improved(rules, holdings, supplements)
    return _authentic(rules, holdings, supplements)


def members_of(holdings: Mapping[str, Holding], dataset: str) -> Sequence[Member]:
    """The members of a dataset's zip, as far as they are known."""
    holding = holdings.get(dataset)
    return (holding.members or ()) if holding is not None else ()


def _differences(found: Sequence[Difference]) -> list[Difference]:
    return [difference for difference in found if difference.which]


class _OneByOne:
    """What zips lack: how much of it came by itself, and of how much the bank said that it does not have it."""

    def __init__(self, supplements: Mapping[str, Holding]) -> None:
        self._supplements = supplements
        self._counts: dict[str, dict[str, int]] = {"supplied": {}, "unavailable": {}}
        self.lacking: set[Lacking] = set()

    def take(self, dataset: str, lacking: Iterable[Lacking]) -> set[Lacking]:
        """What of this is not answered yet."""
        states = {lack: self._state_of(lack) for lack in lacking}
        self.lacking |= states.keys()
        for name, answered in (("supplied", HOLDING_STATES), ("unavailable", EMPTY_STATES)):
            if count := sum(state in answered for state in states.values()):
                self._counts[name][dataset] = count
        return {lack for lack, state in states.items() if state not in _ANSWERED_STATES}

    def facts(self) -> dict[str, Any]:
        """Both counts by dataset, where there is anything to count."""
        return {name: counts for name, counts in self._counts.items() if counts}

    def _state_of(self, lack: Lacking) -> State | None:
        holding = self._supplements.get(lack.key)
        return holding.item.state if holding is not None else None


# ------------------------------------------------------------------------------------------------- authentic


def _authentic(
    rules: NbbRules, holdings: Mapping[str, Holding], supplements: Mapping[str, Holding]
) -> Agreement:
    """One document a filing and dataset; a filing made as PDF explains that it has no JSON and no XBRL.

    What a zip lacks may have come by itself, or the bank may have said that it has no such document: both are told.
    """
    listing = members_of(holdings, REFERENCES)
    listed = filings_of(listing)
    pdf_only = frozenset(reference for reference, model in listed.items() if is_pdf_only(model))
    found = [Difference(REFERENCES, "members without a filing", strangers_in(listing))]
    missing_by_model, singles = {}, _OneByOne(supplements)
    for dataset in (dataset for dataset in rules.datasets if dataset != REFERENCES):
        held = documents_in(dataset, members_of(holdings, dataset))
        explained = pdf_only if dataset in rules.family.not_of_pdf else frozenset[str]()
        missing_by_model[dataset] = len(explained - held.references)
        missing = listed.keys() - explained - held.references
        left = singles.take(
            dataset,
            (Lacking(reference, dataset, documents.key_for(reference, dataset)) for reference in missing),
        )
        found += [
            Difference(dataset, "listed but not in the zip", {lack.reference for lack in left}),
            Difference(dataset, "in the zip but not listed", held.references - listed.keys()),
            Difference(dataset, "in the zip more than once", held.repeated),
            Difference(dataset, "members that fit no filing", held.strangers),
        ]
    facts = {
        "filings": len(listed),
        "pdf_only": len(pdf_only),
        "missing_by_model": missing_by_model,
        **singles.facts(),
    }
    return Agreement(len(listed), _differences(found), facts, singles.lacking)


# ------------------------------------------------------------------------------------------------- improved


def _improved(
    rules: NbbRules, holdings: Mapping[str, Holding], supplements: Mapping[str, Holding]
) -> Agreement:
    """One line a filing and kind, whose documents are told by their labels (sections 6.6 and 8).

    Figures that were read out of a PDF occur without a line of their own: that is told and holds nothing up. A label
    nobody knows yet is told too, and may be whatever its filing still lacks. A line of a kind that cannot be asked for by
    itself stays unexplained.
    """
    listing = members_of(holdings, REFERENCES)
    listed = improvements_of(listing)
    found = [Difference(REFERENCES, "members without a filing", strangers_in(listing))]
    facts: dict[str, Any] = {
        "filings": len(listed),
        "kinds": dict(sorted(Counter(kind for _, kind in listed).items())),
    }
    singles = _OneByOne(supplements)
    if "json" in rules.datasets:
        held = improvements_in(members_of(holdings, "json"))
        missing = {(reference, kind) for reference, kind in listed if not held.has(reference, kind)}
        lacking = {
            Lacking(reference, "json", improved_documents.key_for(reference, kind)): (reference, kind)
            for reference, kind in missing
            if kind in improved_documents.KINDS
        }
        missing -= {lacking[lack] for lack in lacking.keys() - singles.take("json", lacking)}
        unlisted = {
            (reference, kind)
            for reference, kinds in held.kinds.items()
            for kind in kinds
            if kind != UNKNOWN_KIND and (reference, kind) not in listed
        }
        found += [
            Difference(
                "json",
                "listed but not in the zip",
                {f"{reference} {kind}" for reference, kind in missing},
            ),
            Difference(
                "json",
                "in the zip but not listed",
                {f"{reference} {kind}" for reference, kind in unlisted if kind != EXTRACTED},
            ),
            Difference("json", "members that fit no filing", held.strangers),
        ]
        facts["extracted_without_line"] = sum(kind == EXTRACTED for _, kind in unlisted)
        facts["unknown_labels"] = dict(sorted(held.of_unknown_kind.items()))
        facts |= singles.facts()
    return Agreement(len(listed), _differences(found), facts, singles.lacking)
