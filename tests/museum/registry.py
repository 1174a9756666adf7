"""A third registry, kept to show what one takes: the objects of a museum, each a document under its inventory number.

    GET BASE/objects/17.json   200 the object · 404 there is none of that number · 429 ask later · 5xx trouble

Its key stands in a header, one lane asks two objects at a time, and what is not there is asked for again the next day. The
whole of it is this file and one line of wiring (`museum.daemon`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import (
    Absent,
    Attempt,
    Blocked,
    BodyPlan,
    Change,
    Deferral,
    Failed,
    Item,
    LaneSpec,
    Stored,
    Throttled,
)
from filingd.core.plain_registry import PlainRegistry
from filingd.core.retry import backoff_s, parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.model import Answer, Holding, Verdict

DAY_S = 86_400.0
LANE = LaneSpec("museum/objects", calls_per_s=200.0, burst=2, concurrency=2, key_names=("env:MUSEUM_KEY",))
PLAN = BodyPlan(max_bytes=64 * 1024, accept=frozenset({"json"}))
KEY = "museum/objects/{number}"
_TARGET = re.compile(r"museum/objects/(?P<number>[1-9][0-9]*)\.json", re.ASCII)


class Museum(PlainRegistry):
    """The objects 1 to `count`."""

    roots: Sequence[str] = ("museum",)

    def __init__(self, base_url: str, count: int) -> None:
        self._base_url = base_url
        self._count = count

    def lanes(self) -> Sequence[LaneSpec]:
        return (LANE,)

    # ------------------------------------------------------------------ plan: which items should exist

    def expected(self, now: float) -> Sequence[str]:
        return [KEY.format(number=number) for number in range(1, self._count + 1)]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        missing = (key for key in self.expected(now) if key not in known)
        return [Change(None, Item(key, LANE.name, due_at=now)) for key in missing]

    # ------------------------------------------------------------------ request: how to ask for one now

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        number = item.key.rpartition("/")[2]
        return Attempt(
            LANE.name, "museum/object", f"{self._base_url}/objects/{number}.json", (("Accept", "application/json"),),
            "X-Visitor", self.body_plan(item.key), is_document=True, shares_seal=False,
        )  # fmt: skip

    # ------------------------------------------------------------------ interpret: what an answer means

    def interpret(
        self,
        item: Item,
        attempt: Attempt,
        answer: Answer,
        siblings: Mapping[str, Holding],
        now: float,
    ) -> Verdict:
        status = answer.head.status if answer.head else 0
        if status == 200 and answer.body is not None and answer.body.problem is None:
            return Stored()
        if status == 404:
            return Absent("not_in_the_collection", now + DAY_S)
        if status == 429 and answer.head is not None:
            return Throttled("too_many_visitors", parse_retry_after(answer.head.header("retry-after"), now))
        if status in (401, 403):
            return Blocked("no_admission", key_at_fault=True)
        reason = (
            answer.transfer_reason or (answer.body.problem if answer.body else None) or f"status_{status}"
        )
        return Failed(reason, now + backoff_s(item.attempts + 1, 0.1, 5.0, 1.0), gave_up=item.attempts >= 5)

    # ------------------------------------------------------------------ where bodies lie

    def target(self, key: str) -> str:
        return f"{key}.json"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        return KEY.format(number=found["number"]) if found else None

    def body_plan(self, key: str) -> BodyPlan:
        return PLAN
