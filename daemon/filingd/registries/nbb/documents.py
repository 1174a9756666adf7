"""Single documents by reference number: what a batch could not deliver (NBB reference, sections 1 and 5.3).

Their items have keys like `nbb/documents/2026-00999001/json` and lie in folders of at most a thousand filings each. A
reference number is an opaque text (section 3); only its shape is relied on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import BodyPlan, Deferral, Nothing, Stored, leaf_of
from filingd.registries.nbb import answers, contributions
from filingd.registries.nbb.families import AUTHENTIC
from filingd.registries.nbb.question import Question
from filingd.registries.nbb.requests import query
from filingd.registries.nbb.routes import AUTHENTIC_QUERY
from filingd.registries.nbb.timeline import NO_ROUTE
from filingd.registries.nbb.words import shown

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

PREFIX = "nbb/documents"
NOT_SERVED = "not_served"  # the bank itself says that it has no such document
NO_SUCH_DOCUMENT = "no_such_document"  # nothing there, for whatever reason; asked again before it is believed

HELD_WHOLE_BYTES = 64 * 1024 * 1024  # the largest instances known have 2 MB (section 7.4)
_PDF_BYTES = 2 * 1024 * 1024 * 1024
# By kind: what the bytes are (see `core.kinds`), how many at most, and whether it is small enough to be held whole.
_KINDS = {
    "json": ("json", HELD_WHOLE_BYTES, True),
    "xbrl": ("xml", HELD_WHOLE_BYTES, True),
    "pdf": ("pdf", _PDF_BYTES, False),
}
_REFERENCE = re.compile(r"\d{4}-\d+", re.ASCII)
_FOLDER_DIGITS = 3  # the last digits count within a folder
_TARGET = re.compile(
    rf"{PREFIX}/\d{{4}}/\d+/(?P<reference>\d{{4}}-\d+)\.(?P<kind>{'|'.join(_KINDS)})", re.ASCII
)
_STATEMENT = b"reference.number.not.found"  # section 15.2: this is the proof, whatever the model says


def key_for(reference: str, kind: str) -> str:
    """The item key of one document of a filing."""
    return f"{PREFIX}/{reference}/{kind}"


def may_be_asked_for(reference: str) -> bool:
    """Whether this can be a reference number: anything else is refused by the service, and by the disk."""
    return _REFERENCE.fullmatch(reference) is not None


def target(key: str) -> str:
    """Where a document lies, relative to the store."""
    reference = key.split("/")[2]
    return f"{PREFIX}/{folder_for(reference)}/{reference}.{leaf_of(key)}"


def folder_for(reference: str) -> str:
    """The folder of a filing, of at most a thousand; it is told by the reference number alone."""
    year, _, digits = reference.partition("-")
    return f"{year}/{digits[:-_FOLDER_DIGITS] or '0'}"


def key_of(path: str) -> str | None:
    """The inverse of `target`."""
    found = _TARGET.fullmatch(path)
    key = key_for(found["reference"], found["kind"]) if found else None
    return key if key is not None and target(key) == path else None


class DocumentLine:
    """Single authentic documents."""

    def __init__(self, rules: NbbRules) -> None:
        self._rules = rules

    def request(self, item: Item, now: float) -> Attempt | Deferral:  # noqa: ARG002 - one shape for all lines
        """The attempt to make, or why none can be made."""
        _, _, reference, kind = item.key.split("/")
        rules = self._rules
        if rules.documents_lane is None:
            return Deferral(NO_ROUTE, item.lane, None)
        operation = rules.operations[AUTHENTIC_QUERY, kind]
        return query(
            rules, rules.documents_lane, f"{AUTHENTIC_QUERY}/{kind}", operation.accept,
            operation.path.replace("{ref}", reference), self.body_plan(item.key), is_small=_KINDS[kind][2],
        )  # fmt: skip

    def interpret(
        self,
        item: Item,
        attempt: Attempt,
        answer: Answer,
        siblings: Mapping[str, Holding],  # noqa: ARG002 - one shape for all lines
        now: float,
    ) -> Verdict:
        """What an answer means (see `DocumentQuestion`)."""
        return answers.interpret(DocumentQuestion(self._rules, item, attempt, now), answer)

    def judge(self, *_: object) -> Judgement | None:
        """Nothing: no group of these is ever sealed."""
        return None

    def contribution(self, version: Version, body: StoredBody) -> Contribution:  # noqa: ARG002 - its place says all
        _, _, reference, kind = version.key.split("/")
        return contributions.of_document(AUTHENTIC, version, reference, kind)

    def target(self, key: str) -> str:
        return target(key)

    def key_of(self, target: str) -> str | None:
        return key_of(target)

    def body_plan(self, key: str) -> BodyPlan:
        """What the body of a document has to be (sections 4.2 and 7.4)."""
        magic, max_bytes, _ = _KINDS[leaf_of(key)]
        return BodyPlan(max_bytes=min(max_bytes, self._rules.max_body_bytes), accept=frozenset({magic}))

    def recheck_at(self, item: Item, after_at: float) -> float | None:  # noqa: ARG002 - one shape for all lines
        """Never: a filing stays as it was filed (section 6.5)."""
        return None


class DocumentQuestion(Question):
    """One document of a filing was asked for."""

    def __init__(
        self, rules: NbbRules, item: Item, attempt: Attempt, now: float, *, kind: str | None = None
    ) -> None:
        """`kind` is what the bytes have to be, if the key does not say so."""
        super().__init__(rules, item, attempt, now)
        _, _, self.reference, leaf = item.key.split("/")
        self.kind = kind or leaf

    def sound(self, body: BodyReport) -> Verdict:
        """A document; JSON that does not name the filing early on is something else the service had to say."""
        if self.kind == "json" and self.reference.encode() not in body.head:
            detail = f"it does not begin like a document of {self.reference}: {shown(body.head)}"
            return self.failed("not_the_document", detail, quarantine=True, lane=True)
        return Stored()

    def nothing(self, *, refused: bool, text: bytes = b"") -> Verdict:
        """A statement of the bank is believed at once, anything else when it was said often enough over long enough."""
        again_at = self.now + self.rules.unavailable_interval_s
        if refused and _STATEMENT in text:
            return Nothing(NOT_SERVED, again_at, confirmed=True)
        since = self.now if self.item.nothing_at is None else self.item.nothing_at
        span_s = self.rules.empty_interval_s * (self.rules.empty_confirmations - 1)
        if self.item.nothing_count + 1 >= self.rules.empty_confirmations and self.now - since >= span_s:
            return Nothing(NO_SUCH_DOCUMENT, again_at, confirmed=True)
        return Nothing(NO_SUCH_DOCUMENT, self.now + self.rules.empty_interval_s)

    def invalid(self, text: bytes) -> Verdict:
        """The service takes the reference number for malformed."""
        return self.paused("refused_as_invalid", shown(text), self.rules.give_up_pause_s)
