"""What the query products answer about a company or a single filing, at an instant.

The same filings as in the day's zips, and the same bytes for the same document: nothing is kept here, everything is
found through the generator (a company's filings and a reference number's place are computed, see `rota`). Not limited
to three years; a filing is there from the hour its day opens, with the changes of that day that rules ask for, and gone
once it is taken down.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

from filingd.sandbox import documents, improved_documents
from filingd.sandbox.clock import brussels_day
from filingd.sandbox.faults import Subject

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from filingd.sandbox.days import Dataset, DayStore, Family, View
    from filingd.sandbox.documents import Casing
    from filingd.sandbox.faults import FaultBook, Mutate
    from filingd.sandbox.generator import Filing
    from filingd.sandbox.improvements import Improvement
    from filingd.sandbox.world import World

_PRODUCT: dict[Family, str] = {"authentic": "authentic-query", "improved": "improved"}


@dataclasses.dataclass(frozen=True, slots=True)
class Missing:
    """Why there is nothing, in the words of the backend (section 5.2)."""

    field: str
    message_key: str
    text: str


NO_ENTERPRISE = Missing("Enterprise Number not found", "enterprise.number.not.found", "No deposit found")
NO_REFERENCE = Missing("Reference Number not found", "reference.number.not.found", "No deposit found")
_NOT_PUBLISHED = {
    "json": "no json xbrl published for this deposit",
    "xbrl": "no xbrl published for this deposit",
    "pdf": "no pdf published for this deposit",
}
_PDF_MODEL = {
    "json": "pdf model has no published json xbrl",
    "xbrl": "pdf model has no published xbrl",
    "pdf": "no pdf published for this deposit",
}


class Queries:
    """Single filings at one instant. Reads only; may be used from a thread."""

    def __init__(self, world: World, at: float) -> None:
        self._days: DayStore = world.days
        self._faults: FaultBook = world.faults
        self._removed = world.removals.gone(at)
        self._settings = world.settings
        self._public_url = world.settings.public_url or world.base_url
        self._at = at

    # --- authentic ---

    def filings_of(self, number: str, exercise_year: int | None = None) -> list[Filing]:
        """A company's filings in an arbitrary order; `exercise_year` keeps those whose exercise ends in it."""
        until = brussels_day(self._at)
        plain = self._days.generator.filings_of(number, until)
        shown = [now for filing in plain if (now := self._as_shown(filing)) is not None]
        shown += [filing for filing in self._added(until) if filing.company.number == number]
        return [
            filing
            for filing in shown
            if filing.reference_number not in self._removed
            and (exercise_year is None or filing.exercise_end.year == exercise_year)
        ]

    def filing(self, reference_number: str) -> Filing | None:
        """The filing of a reference number, if it is there."""
        slot = self._days.generator.locate(reference_number)
        if slot is None or reference_number in self._removed:
            return None
        filing = self._days.generator.filing(*slot)
        if self._days.generator.exists(*slot):
            return self._as_shown(filing)
        if not self._is_open(filing.published_on):
            return None
        added = self._view(filing.published_on, "authentic")
        return next((entry for entry in self._days.filings(added) if entry.slot == slot), None)

    def document(self, reference_number: str, dataset: Dataset) -> bytes | Missing:
        """One document, the bytes of the day's zip."""
        filing = self.filing(reference_number)
        if filing is None:
            return dataclasses.replace(NO_REFERENCE, message_key=f"{NO_REFERENCE.message_key}.{dataset}")
        assert dataset != "references"
        if filing.exists_as(dataset):
            return self._days.document(filing, dataset)
        texts = _PDF_MODEL if filing.pdf_only else _NOT_PUBLISHED
        return Missing(NO_REFERENCE.field, f"{NO_REFERENCE.message_key}.{dataset}", texts[dataset])

    def row(self, filing: Filing, casing: Casing = "pascal") -> bytes:
        """The reference object of a query; it always tells the enterprise number."""
        pascal = documents.reference_in_pascal(filing, self._public_url)
        return msgspec.json.encode(documents.in_casing(pascal, casing))

    # --- improved ---

    def improvements_of(self, filing: Filing) -> list[Improvement]:
        """What was made of a filing until now, unlisted documents included, the latest first."""
        if filing.reference_number in self._removed:
            return []
        plain = self._days.improver.of_filing(self._days.generator.filing(*filing.slot))
        days = {entry.finalised_on for entry in plain} | set(self._mutated_days("improved"))
        there = [
            entry
            for day in sorted(days, reverse=True)
            if self._is_open(day)
            for entry in self._improvements_on(day, plain)
        ]
        return [entry for entry in there if entry.slot == filing.slot]

    def _improvements_on(self, day: dt.date, plain: Iterable[Improvement]) -> list[Improvement]:
        if not self._mutations(day, "improved"):
            return [entry for entry in plain if entry.finalised_on == day]
        return self._days.improvements(self._view(day, "improved", "json"))

    def improved_document(self, reference_number: str, kind: str) -> bytes | Missing:
        """The latest document of a kind, the bytes of its day's zip."""
        filing = self.filing(reference_number)
        made = self.improvements_of(filing) if filing else []
        latest = next((entry for entry in made if entry.kind == kind), None)
        if latest is None:
            return dataclasses.replace(NO_REFERENCE, message_key=f"{NO_REFERENCE.message_key}.json")
        return self._days.document(latest, "json")

    def improved_row(self, entry: Improvement, casing: Casing = "pascal") -> bytes:
        """The reference object of an improvement; it always tells the enterprise number."""
        filing = self._days.generator.filing(*entry.slot)
        table = improved_documents.reference_object(entry, filing, casing, self._public_url, self._settings)
        return msgspec.json.encode(table)

    # --- what rules changed ---

    def _is_open(self, day: dt.date) -> bool:
        return self._at >= self._days.opens_at(day)

    def _mutations(self, day: dt.date, family: Family) -> list[Mutate]:
        subject = Subject(
            at=self._at, registry="nbb", product=_PRODUCT[family], dataset="references", date=day.isoformat()
        )
        return self._faults.mutations(subject)

    def _mutated_days(self, family: Family) -> list[dt.date]:
        """The days that a rule may have changed."""
        return self._faults.mutated_days(_PRODUCT[family], self._at)

    def _view(self, day: dt.date, family: Family, dataset: Dataset = "references") -> View:
        return self._days.view(day, dataset, self._at, self._mutations(day, family), family)

    def _as_shown(self, filing: Filing) -> Filing | None:
        """A published filing as its day shows it now, or None: not yet, taken away, or taken down."""
        day = filing.published_on
        if not self._is_open(day) or (filing.late and not self._days.shows_late(day, self._at)):
            return None
        if not self._mutations(day, "authentic"):
            return filing
        shown = self._days.filings(self._view(day, "authentic"))
        return next((entry for entry in shown if entry.slot == filing.slot), None)

    def _added(self, until: dt.date) -> list[Filing]:
        """The filings that rules add to open days."""
        return [
            self._days.generator.addition(day, mutation.member)
            for day in self._mutated_days("authentic")
            if day <= until and self._is_open(day)
            for mutation in self._mutations(day, "authentic")
            if mutation.change == "added"
        ]
