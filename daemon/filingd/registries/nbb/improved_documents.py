"""Single improved documents by reference number: what the bank made of a filing (NBB reference, sections 1 and 6.6).

Their items have keys like `nbb/improved-documents/2026-00999001/corrected`. The bank may improve a filing again: the
document then takes the place of the older one, which is kept as a version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import BodyPlan, Deferral, State, Stored, leaf_of
from filingd.registries.nbb import answers, contributions
from filingd.registries.nbb.documents import HELD_WHOLE_BYTES, DocumentQuestion, folder_for
from filingd.registries.nbb.families import IMPROVED_DATA
from filingd.registries.nbb.payloads import CONVERTED, CORRECTED, EXTRACTED
from filingd.registries.nbb.requests import query
from filingd.registries.nbb.routes import IMPROVED, ONE_DOCUMENT
from filingd.registries.nbb.timeline import NO_ROUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.catalogue import Contribution
    from filingd.core.model import (
        Answer,
        Attempt,
        BodyReport,
        Holding,
        Item,
        Judgement,
        StoredBody,
        Verdict,
        Version,
    )
    from filingd.registries.nbb.rules import NbbRules

PREFIX = "nbb/improved-documents"
KINDS = (CORRECTED, CONVERTED, EXTRACTED)
_TARGET = re.compile(
    rf"{PREFIX}/\d{{4}}/\d+/(?P<reference>\d{{4}}-\d+)\.(?P<kind>{'|'.join(KINDS)})\.json", re.ASCII
)


def key_for(reference: str, kind: str) -> str:
    """The item key of what the bank made of a filing; `kind` is one of `KINDS`."""
    return f"{PREFIX}/{reference}/{kind}"


class ImprovedDocumentQuestion(DocumentQuestion):
    """What the bank made of a filing was asked for."""

    def sound(self, body: BodyReport) -> Verdict:
        """A document. One that is compared is compared again after a while: so it shows when that was done last."""
        verdict = super().sound(body)
        if isinstance(verdict, Stored) and self.item.state is State.RECHECKING:
            return Stored(self.now + self.rules.unavailable_interval_s)
        return verdict


class ImprovedDocumentLine:
    """Single improved documents; `lane` is where they can be asked for, if that product is subscribed."""

    def __init__(self, rules: NbbRules, lane: str | None) -> None:
        self._rules = rules
        self._lane = lane

    def request(self, item: Item, now: float) -> Attempt | Deferral:  # noqa: ARG002 - one shape for all lines
        if self._lane is None:
            return Deferral(NO_ROUTE, item.lane, None)
        _, _, reference, kind = item.key.split("/")
        operation = self._rules.operations[IMPROVED, ONE_DOCUMENT]
        path = operation.path.replace("{ref}", reference).replace("{kind}", kind)
        return query(
            self._rules, self._lane, f"{IMPROVED}/{kind}", operation.accept, path, self.body_plan(item.key)
        )

    def interpret(
        self,
        item: Item,
        attempt: Attempt,
        answer: Answer,
        siblings: Mapping[str, Holding],  # noqa: ARG002 - one shape for all lines
        now: float,
    ) -> Verdict:
        return answers.interpret(
            ImprovedDocumentQuestion(self._rules, item, attempt, now, kind="json"), answer
        )

    def judge(self, *_: object) -> Judgement | None:
        """Nothing: the bank may improve a filing again at any time."""
        return None

    def contribution(self, version: Version, body: StoredBody) -> Contribution:  # noqa: ARG002 - its place says all
        _, _, reference, kind = version.key.split("/")
        return contributions.of_document(IMPROVED_DATA, version, reference, "json", kind)

    def target(self, key: str) -> str:
        reference = key.split("/")[2]
        return f"{PREFIX}/{folder_for(reference)}/{reference}.{leaf_of(key)}.json"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        key = key_for(found["reference"], found["kind"]) if found else None
        return key if key is not None and self.target(key) == target else None

    def body_plan(self, key: str) -> BodyPlan:  # noqa: ARG002 - one shape for all lines
        max_bytes = min(HELD_WHOLE_BYTES, self._rules.max_body_bytes)
        return BodyPlan(max_bytes, accept=frozenset({"json"}))

    def recheck_at(self, item: Item, after_at: float) -> float | None:  # noqa: ARG002 - one shape for all lines
        """Never by the calendar: a newer improvement in the company's list asks for it."""
        return None
