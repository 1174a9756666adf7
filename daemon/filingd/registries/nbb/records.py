"""Single records: what the bank says of one filing, where the references of its day leave something out (NBB reference, A2).

Rare records lack the enterprise number (section 7.2). Such a filing is parked: it is in the catalogue, and nobody's, until its
record was asked for by itself. Items have keys like `nbb/records/2026-00999001/reference`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import BodyPlan, Deferral, Item, leaf_of
from filingd.registries.nbb import answers, contributions, documents
from filingd.registries.nbb.documents import DocumentQuestion, folder_for
from filingd.registries.nbb.families import AUTHENTIC
from filingd.registries.nbb.requests import query
from filingd.registries.nbb.routes import AUTHENTIC_QUERY, ONE_RECORD
from filingd.registries.nbb.timeline import NO_ROUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.catalogue import Contribution
    from filingd.core.model import Answer, Attempt, Holding, Judgement, StoredBody, Verdict, Version
    from filingd.registries.nbb.rules import NbbRules

PREFIX = "nbb/records"
LEAF = "reference"
RANK = 20_000_000  # after all days, before the documents of companies that are followed
_MAX_BYTES = 1024 * 1024
_TARGET = re.compile(rf"{PREFIX}/\d{{4}}/\d+/(?P<reference>\d{{4}}-\d+)\.{LEAF}\.json", re.ASCII)


def key_for(reference: str) -> str:
    """The item key of a filing's record."""
    return f"{PREFIX}/{reference}/{LEAF}"


class RecordLine:
    """Single records; they are had through the authentic query, if that is subscribed."""

    def __init__(self, rules: NbbRules) -> None:
        self._rules = rules

    def wanted(self, reference: str, now: float) -> Item | None:
        """The item that resolves a parked filing; None if it cannot be asked for."""
        lane = self._rules.documents_lane
        if lane is None or not documents.may_be_asked_for(reference):
            return None
        return Item(key_for(reference), lane, priority=RANK, due_at=now)

    def request(self, item: Item, now: float) -> Attempt | Deferral:  # noqa: ARG002 - one shape for all lines
        rules = self._rules
        if rules.documents_lane is None:
            return Deferral(NO_ROUTE, item.lane, None)
        operation = rules.operations[AUTHENTIC_QUERY, ONE_RECORD]
        path = operation.path.replace("{ref}", item.key.split("/")[2])
        route = f"{AUTHENTIC_QUERY}/{ONE_RECORD}"
        return query(rules, rules.documents_lane, route, operation.accept, path, self.body_plan(item.key))

    def interpret(
        self,
        item: Item,
        attempt: Attempt,
        answer: Answer,
        siblings: Mapping[str, Holding],  # noqa: ARG002 - one shape for all lines
        now: float,
    ) -> Verdict:
        return answers.interpret(DocumentQuestion(self._rules, item, attempt, now, kind="json"), answer)

    def judge(self, *_: object) -> Judgement | None:
        """Nothing: no group of these is ever sealed."""
        return None

    def contribution(self, version: Version, body: StoredBody) -> Contribution:
        return contributions.of_answer(AUTHENTIC, version, body)

    def target(self, key: str) -> str:
        reference = key.split("/")[2]
        return f"{PREFIX}/{folder_for(reference)}/{reference}.{leaf_of(key)}.json"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        key = key_for(found["reference"]) if found else None
        return key if key is not None and self.target(key) == target else None

    def body_plan(self, key: str) -> BodyPlan:  # noqa: ARG002 - one shape for all lines
        return BodyPlan(min(_MAX_BYTES, self._rules.max_body_bytes), accept=frozenset({"json"}))

    def recheck_at(self, item: Item, after_at: float) -> float | None:  # noqa: ARG002 - one shape for all lines
        """Never: it was asked for because of what it says, and it has said it."""
        return None
