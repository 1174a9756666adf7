"""NBB CBSO as one `ports.Registry`: the pure functions of this folder, bound to the operator's rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import leaf_of
from filingd.registries.nbb import answers, requests, sealing, timeline

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

_TARGET = re.compile(r"nbb/authentic/\d{4}/\d{2}/(?P<day>\d{4}-\d{2}-\d{2})/(?P<dataset>[a-z]+)\.zip")


class NbbRegistry:
    """The registry of the National Bank of Belgium's Central Balance Sheet Office."""

    name = "nbb"

    def __init__(self, rules: NbbRules) -> None:
        self._rules = rules

    def lanes(self) -> Sequence[LaneSpec]:
        """One lane per subscribed product."""
        return list(self._rules.products.values())

    def expected(self, now: float) -> Sequence[str]:
        return timeline.expected_keys(self._rules, now)

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        return timeline.plan(self._rules, now, known)

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        return requests.request(self._rules, item, now)

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        del attempt  # every route of this registry answers in the same terms
        return answers.interpret(self._rules, item, answer, siblings, now)

    def judge(self, group: str, holdings: Mapping[str, Holding], now: float) -> Judgement:
        return sealing.judge(self._rules, group, holdings, now)

    def target(self, key: str) -> str:
        day = timeline.day_of(key).isoformat()
        return f"{timeline.FAMILY}/{day[:4]}/{day[5:7]}/{day}/{leaf_of(key)}.zip"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        return f"{timeline.FAMILY}/{found['day']}/{found['dataset']}" if found else None

    def body_plan(self, key: str) -> BodyPlan:
        return requests.body_plan(self._rules, leaf_of(key))
