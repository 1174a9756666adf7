"""NBB CBSO as one `ports.Registry`: the pure functions of this folder, bound to the operator's rules."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from filingd.core.model import State, leaf_of
from filingd.registries.nbb import answers, planning, requests, sealing, timeline
from filingd.registries.nbb.rules import DATASETS

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

_TARGET = re.compile(
    rf"{timeline.FAMILY}/\d{{4}}/\d\d/(?P<day>\d{{4}}-\d\d-\d\d)/(?P<dataset>{'|'.join(DATASETS)})\.zip",
    re.ASCII,
)


class NbbRegistry:
    """The registry of the National Bank of Belgium's Central Balance Sheet Office."""

    name = "nbb"

    def __init__(self, rules: NbbRules) -> None:
        self._rules = rules

    def lanes(self) -> Sequence[LaneSpec]:
        """One lane per subscribed product."""
        return list(self._rules.products.values())

    def expected(self, now: float) -> Sequence[str]:
        return planning.expected_keys(self._rules, now)

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        return planning.plan(self._rules, now, known)

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        return requests.request(self._rules, item, now)

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        return answers.interpret(self._rules, item, attempt, answer, siblings, now)

    def judge(
        self, group: str, holdings: Mapping[str, Holding], now: float, twin: str | None = None
    ) -> Judgement:
        return sealing.judge(self._rules, group, holdings, now, twin)

    def target(self, key: str) -> str:
        day = timeline.day_of(key).isoformat()
        return f"{timeline.FAMILY}/{day[:4]}/{day[5:7]}/{day}/{leaf_of(key)}.zip"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        day = _date(found["day"]) if found else None
        if found is None or day is None:
            return None
        key = timeline.key_for(day, found["dataset"])
        return key if self.target(key) == target else None

    def body_plan(self, key: str) -> BodyPlan:
        return requests.body_plan(self._rules, leaf_of(key))

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        # As when it was proven empty: if the references change, they ask for the documents.
        if item.state is State.EMPTY and leaf_of(item.key) != timeline.REFERENCES:
            return None
        return timeline.next_recheck_at(self._rules, timeline.day_of(item.key), after_at)


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None
