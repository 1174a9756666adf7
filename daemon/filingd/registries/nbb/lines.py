"""Kinds of items, told by the second part of their keys: `nbb/authentic/…`, `nbb/documents/…`, `nbb/enterprises/…`.

Each line knows how its items are asked for, what an answer about one is worth, and where its body lies. The registry
finds the line of a key in a table and leaves the rest to it.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Protocol

from filingd.core.model import State, leaf_of
from filingd.registries.nbb import answers, contributions, requests, sealing, timeline
from filingd.registries.nbb.days import DayQuestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.catalogue import Contribution
    from filingd.core.model import (
        Answer,
        Attempt,
        BodyPlan,
        Deferral,
        Holding,
        Item,
        Judgement,
        StoredBody,
        Verdict,
        Version,
    )
    from filingd.registries.nbb.rules import NbbRules


class Line(Protocol):
    """One kind of items. Its functions mean what those of `ports.Registry` mean, for its own keys alone."""

    def request(self, item: Item, now: float) -> Attempt | Deferral: ...

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict: ...

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None,
        supplements: Mapping[str, Holding] | None,
    ) -> Judgement | None: ...

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None: ...

    def target(self, key: str) -> str: ...

    def key_of(self, target: str) -> str | None: ...

    def body_plan(self, key: str) -> BodyPlan: ...

    def recheck_at(self, item: Item, after_at: float) -> float | None: ...


class DayLine:
    """The datasets of the publication days of one family."""

    def __init__(self, rules: NbbRules) -> None:
        self._rules = rules
        self._target = re.compile(
            rf"{rules.family.path}/\d{{4}}/\d\d/(?P<day>\d{{4}}-\d\d-\d\d)/(?P<dataset>[a-z]+)\.zip", re.ASCII
        )

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        return requests.request(self._rules, item, now)

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        return answers.interpret(DayQuestion(self._rules, item, attempt, siblings, now), answer)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None,
        supplements: Mapping[str, Holding] | None,
    ) -> Judgement | None:
        return sealing.judge(self._rules, group, holdings, now, twin, supplements)

    def contribution(self, version: Version, body: StoredBody) -> Contribution:
        return contributions.of_day(self._rules.family, version, body)

    def target(self, key: str) -> str:
        day = timeline.day_of(key).isoformat()
        return f"{self._rules.family.path}/{day[:4]}/{day[5:7]}/{day}/{leaf_of(key)}.zip"

    def key_of(self, target: str) -> str | None:
        found = self._target.fullmatch(target)
        day = _date(found["day"]) if found else None
        if found is None or day is None or found["dataset"] not in self._rules.family.datasets:
            return None
        key = self._rules.family.key_for(day, found["dataset"])
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
