"""Single documents by reference number: what a batch could not deliver (NBB reference, sections 1 and 5.3).

Their items have keys like `nbb/documents/2026-00999001/json` and lie in folders of at most a thousand filings each. A
reference number is an opaque text (section 3); only its shape is relied on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import Attempt, BodyPlan, Deferral, Nothing, Stored, leaf_of
from filingd.registries.nbb.question import Question
from filingd.registries.nbb.routes import AUTHENTIC_QUERY, KEY_HEADER, REQUEST_ID_HEADER
from filingd.registries.nbb.timeline import NO_ROUTE
from filingd.registries.nbb.words import shown

if TYPE_CHECKING:
    from filingd.core.model import BodyReport, Item, Verdict
    from filingd.registries.nbb.rules import NbbRules

PREFIX = "nbb/documents"
NOT_SERVED = "not_served"  # the bank itself says that it has no such document
NO_SUCH_DOCUMENT = "no_such_document"  # nothing there, for whatever reason; asked again before it is believed

_HELD_WHOLE_BYTES = 64 * 1024 * 1024  # the largest instances known have 2 MB (section 7.4)
_PDF_BYTES = 2 * 1024 * 1024 * 1024
# By kind: what the bytes are (see `core.kinds`), how many at most, and whether it is small enough to be held whole.
_KINDS = {
    "json": ("json", _HELD_WHOLE_BYTES, True),
    "xbrl": ("xml", _HELD_WHOLE_BYTES, True),
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


def is_document(key: str) -> bool:
    """Whether a key is that of a single document."""
    return key.startswith(f"{PREFIX}/")


def may_be_asked_for(reference: str) -> bool:
    """Whether this can be a reference number: anything else is refused by the service, and by the disk."""
    return _REFERENCE.fullmatch(reference) is not None


def target(key: str) -> str:
    """Where a document lies, relative to the store."""
    reference = key.split("/")[2]
    year, _, digits = reference.partition("-")
    return f"{PREFIX}/{year}/{digits[:-_FOLDER_DIGITS] or '0'}/{reference}.{leaf_of(key)}"


def key_of(path: str) -> str | None:
    """The inverse of `target`."""
    found = _TARGET.fullmatch(path)
    key = key_for(found["reference"], found["kind"]) if found else None
    return key if key is not None and target(key) == path else None


def body_plan(rules: NbbRules, kind: str) -> BodyPlan:
    """What the body of a document has to be (sections 4.2 and 7.4)."""
    magic, max_bytes, _ = _KINDS[kind]
    return BodyPlan(max_bytes=min(max_bytes, rules.max_body_bytes), accept=frozenset({magic}))


def request(rules: NbbRules, item: Item) -> Attempt | Deferral:
    """The attempt to make, or why none can be made."""
    _, _, reference, kind = item.key.split("/")
    if rules.documents_lane is None:
        return Deferral(NO_ROUTE, item.lane, None)
    operation = rules.operations[AUTHENTIC_QUERY, kind]
    return Attempt(
        lane=rules.documents_lane,
        route=f"{AUTHENTIC_QUERY}/{kind}",
        url=rules.base_url.rstrip("/") + operation.path.replace("{ref}", reference),
        headers=(("Accept", operation.accept), ("Cache-Control", "no-cache")),
        secret_header=KEY_HEADER,
        body=body_plan(rules, kind),
        request_id_header=REQUEST_ID_HEADER if rules.send_request_id else None,
        is_document=_KINDS[kind][2],
    )


class DocumentQuestion(Question):
    """One document of a filing was asked for."""

    def __init__(self, rules: NbbRules, item: Item, attempt: Attempt, now: float) -> None:
        super().__init__(rules, item, attempt, now)
        _, _, self.reference, self.kind = item.key.split("/")

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
