"""NBB CBSO as one `ports.Registry`: the pure functions of this folder, bound to the operator's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.model import leaf_of
from filingd.registries.nbb import (
    companies,
    documents,
    forgetting,
    improved_documents,
    planning,
    records,
)
from filingd.registries.nbb.companies import CompanyLine
from filingd.registries.nbb.documents import DocumentLine
from filingd.registries.nbb.families import FAMILIES
from filingd.registries.nbb.following import Companies
from filingd.registries.nbb.improved_documents import ImprovedDocumentLine
from filingd.registries.nbb.lines import DayLine
from filingd.registries.nbb.records import RecordLine
from filingd.registries.nbb.routes import AUTHENTIC_QUERY, IMPROVED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.catalogue import Contribution, Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import (
        AccountSpec,
        Answer,
        Attempt,
        BodyPlan,
        Change,
        Deferral,
        GateSpec,
        Holding,
        Item,
        Judgement,
        LaneSpec,
        StoredBody,
        Verdict,
        Version,
    )
    from filingd.registries.nbb.families import Family
    from filingd.registries.nbb.lines import Line
    from filingd.registries.nbb.rules import NbbRules


class NbbRegistry:
    """The registry of the National Bank of Belgium's Central Balance Sheet Office.

    Each family of days has rules of its own; what is asked for by a number goes by those that all have in common. What the
    manifest holds of a family that is not wanted any more stays and can be judged; nothing of it is expected or asked for.
    """

    roots = ("nbb",)

    def __init__(
        self,
        families: Sequence[NbbRules],
        query: LaneSpec | None = None,
        improved: LaneSpec | None = None,
        common: NbbRules | None = None,
    ) -> None:
        """The rules of each family that is wanted, and the lanes of the authentic query and of improved data, as far as these
        are subscribed. `common` are the rules that all have in common: by default those of the first family."""
        self._lanes = {
            product: lane for product, lane in ((AUTHENTIC_QUERY, query), (IMPROVED, improved)) if lane
        }
        lanes = {product: lane.name for product, lane in self._lanes.items()}
        common = replace(common or families[0], documents_lane=lanes.get(AUTHENTIC_QUERY))
        self._wanted = {
            rules.family.name: replace(rules, documents_lane=lanes.get(rules.family.single))
            for rules in families
        }
        self._companies = Companies(self._wanted, common, self._lanes)
        self.companies = (self._companies,)
        self._days = {
            family.name: DayLine(
                self._wanted.get(family.name) or _unwanted(common, family, lanes.get(family.single))
            )
            for family in FAMILIES
        }
        self._records = RecordLine(common)
        self._lines: dict[str, Line] = {
            **self._days,
            leaf_of(documents.PREFIX): DocumentLine(common),
            leaf_of(records.PREFIX): self._records,
            leaf_of(improved_documents.PREFIX): ImprovedDocumentLine(common, lanes.get(IMPROVED)),
            leaf_of(companies.PREFIX): CompanyLine(common, lanes, self._companies.terms_of),
        }

    def _line(self, key: str) -> Line:
        return self._lines[key.split("/", 2)[1]]

    def lanes(self) -> Sequence[LaneSpec]:
        """One lane per subscribed product."""
        lanes = [lane for rules in self._wanted.values() for lane in rules.products.values()]
        return list({lane.name: lane for lane in (*lanes, *self._lanes.values())}.values())

    def gates(self) -> Sequence[GateSpec]:
        """None: each subscription has limits of its own."""
        return ()

    def accounts(self) -> Sequence[AccountSpec]:
        """None: a subscription is paid for as a whole."""
        return ()

    def expected(self, now: float) -> Sequence[str]:
        return [key for rules in self._wanted.values() for key in planning.expected_keys(rules, now)]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        by_line: dict[str, dict[str, Item]] = {}
        for key, item in known.items():
            by_line.setdefault(key.split("/", 2)[1], {})[key] = item
        changes: list[Change] = []
        for (
            name
        ) in self._days:  # other lines follow from judgements and from watchlists, not from the calendar
            rules, items = self._wanted.get(name), by_line.get(name, {})
            changes += planning.plan(rules, now, items) if rules else planning.dropped(items.values())
        return changes

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        return self._line(item.key).request(item, now)

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        return self._line(item.key).interpret(item, attempt, answer, siblings, now)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,
        supplements: Mapping[str, Holding] | None = None,
    ) -> Judgement | None:
        return self._line(group).judge(group, holdings, now, twin, supplements)

    def resolving(self, reference: str, now: float) -> Item | None:
        return self._records.wanted(reference, now)

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None:
        return self._line(version.key).contribution(version, body)

    def target(self, key: str) -> str:
        return self._line(key).target(key)

    def key_of(self, target: str) -> str | None:
        root, *names = target.split("/", 2)
        line = self._lines.get(names[0]) if len(names) > 1 and root in self.roots else None
        return line.key_of(target) if line else None

    def body_plan(self, key: str) -> BodyPlan:
        return self._line(key).body_plan(key)

    def subject_of(self, text: str) -> tuple[str, bool] | None:
        return forgetting.subject_of(text)

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:
        return forgetting.is_forgotten(key, forgotten)

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:
        return forgetting.scrub(key, forgotten)

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        return self._line(item.key).recheck_at(item, after_at)


def _unwanted(common: NbbRules, family: Family, lane: str | None) -> NbbRules:
    """By which a family is judged of which nothing is wanted any more."""
    return replace(common, family=family, datasets=family.datasets, products={}, documents_lane=lane)
