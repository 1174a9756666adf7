"""NBB CBSO as one `ports.Registry`: the pure functions of this folder, bound to the operator's rules."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.model import State, leaf_of
from filingd.registries.nbb import answers, documents, planning, requests, sealing, timeline
from filingd.registries.nbb.days import DayQuestion
from filingd.registries.nbb.documents import DocumentQuestion
from filingd.registries.nbb.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.model import (
        Answer,
        Attempt,
        BodyPlan,
        Change,
        Deferral,
        Holding,
        Item,
        Judgement,
        LaneSpec,
        Verdict,
    )
    from filingd.registries.nbb.rules import NbbRules

_FAMILY_BY_NAME = {family.name: family for family in FAMILIES}
_TARGET = re.compile(
    r"nbb/(?P<family>[a-z]+)/\d{4}/\d\d/(?P<day>\d{4}-\d\d-\d\d)/(?P<dataset>[a-z]+)\.zip", re.ASCII
)


class NbbRegistry:
    """The registry of the National Bank of Belgium's Central Balance Sheet Office.

    Each family of days has rules of its own; single documents go by those of the first. What the manifest holds of a
    family that is not wanted any more stays and can be judged; nothing of it is expected or asked for.
    """

    name = "nbb"

    def __init__(self, families: Sequence[NbbRules], query: LaneSpec | None = None) -> None:
        """The rules of each family that is wanted, at least one, and the lane of single documents, if there is one."""
        common = replace(families[0], documents_lane=query.name if query else None)
        self._query = query
        self._documents = common
        self._wanted = {
            rules.family.name: replace(rules, documents_lane=common.documents_lane) for rules in families
        }
        self._unwanted = {
            family.name: replace(common, family=family, datasets=family.datasets, products={})
            for family in FAMILIES
            if family.name not in self._wanted
        }

    def _rules(self, key: str) -> NbbRules:
        family = key.split("/", 2)[1]
        return self._wanted.get(family) or self._unwanted[family]

    def lanes(self) -> Sequence[LaneSpec]:
        """One lane per subscribed product."""
        lanes = [lane for rules in self._wanted.values() for lane in rules.products.values()]
        return [*lanes, self._query] if self._query else lanes

    def expected(self, now: float) -> Sequence[str]:
        return [key for rules in self._wanted.values() for key in planning.expected_keys(rules, now)]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        by_family: dict[str, dict[str, Item]] = {}
        for key, item in known.items():
            if not documents.is_document(key):  # those follow from judgements, not from the calendar
                by_family.setdefault(key.split("/", 2)[1], {})[key] = item
        changes: list[Change] = []
        for name, rules in self._wanted.items():
            changes += planning.plan(rules, now, by_family.pop(name, {}))
        for unwanted in by_family.values():
            changes += planning.dropped(unwanted.values())
        return changes

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        if documents.is_document(item.key):
            return documents.request(self._documents, item)
        return requests.request(self._rules(item.key), item, now)

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        if documents.is_document(item.key):
            return answers.interpret(DocumentQuestion(self._documents, item, attempt, now), answer)
        return answers.interpret(DayQuestion(self._rules(item.key), item, attempt, siblings, now), answer)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,
        supplements: Mapping[str, Item] | None = None,
    ) -> Judgement | None:
        if documents.is_document(group):
            return None
        return sealing.judge(self._rules(group), group, holdings, now, twin, supplements)

    def target(self, key: str) -> str:
        if documents.is_document(key):
            return documents.target(key)
        day = timeline.day_of(key).isoformat()
        return f"{self._rules(key).family.path}/{day[:4]}/{day[5:7]}/{day}/{leaf_of(key)}.zip"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        if found is None:
            return documents.key_of(target)
        family, day = _FAMILY_BY_NAME.get(found["family"]), _date(found["day"])
        if family is None or day is None or found["dataset"] not in family.datasets:
            return None
        key = family.key_for(day, found["dataset"])
        return key if self.target(key) == target else None

    def body_plan(self, key: str) -> BodyPlan:
        if documents.is_document(key):
            return documents.body_plan(self._documents, leaf_of(key))
        return requests.body_plan(self._rules(key), leaf_of(key))

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        if documents.is_document(item.key):
            return None
        # As when it was proven empty: if the references change, they ask for the documents.
        if item.state is State.EMPTY and leaf_of(item.key) != timeline.REFERENCES:
            return None
        return timeline.next_recheck_at(self._rules(item.key), timeline.day_of(item.key), after_at)


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None
