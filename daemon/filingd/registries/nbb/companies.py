"""What the bank knows of one company: its filings, and what was made of them (NBB reference, sections 1 and 5.3).

Items have keys like `nbb/enterprises/0403101811/references` (authentic query) and `…/improved` (improved data). Each is
asked for again as often as the company's watchlists say. That the bank knows nothing of a company is as good an
answer as any: it is asked again all the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from filingd.core.model import BodyPlan, Deferral, Nothing, Stored, leaf_of
from filingd.registries.nbb import answers, contributions
from filingd.registries.nbb.enterprises import enterprise_number
from filingd.registries.nbb.families import AUTHENTIC, IMPROVED_DATA
from filingd.registries.nbb.question import Question
from filingd.registries.nbb.requests import query
from filingd.registries.nbb.routes import AUTHENTIC_QUERY, BY_ENTERPRISE, IMPROVED
from filingd.registries.nbb.timeline import NO_ROUTE
from filingd.registries.nbb.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    from filingd.registries.nbb.terms import NbbTerms

    TermsOf = Callable[[str], NbbTerms | None]

PREFIX = "nbb/enterprises"
FILINGS, IMPROVEMENTS = "references", "improved"
NO_FILINGS = "no_filings_known"
_PRODUCTS: Mapping[str, str] = {FILINGS: AUTHENTIC_QUERY, IMPROVEMENTS: IMPROVED}
_MAX_ANSWER_BYTES = (
    64 * 1024 * 1024
)  # a row has some 800 bytes; nobody has filed more than a few thousand times
_TARGET = re.compile(
    rf"{PREFIX}/\d{{4}}/\d{{3}}/(?P<number>\d{{10}})\.(?P<leaf>{FILINGS}|{IMPROVEMENTS})\.json", re.ASCII
)
_NUMBER_OF_ROW = re.compile(rb'"enterprisenumber"\s*:\s*"?([^"\\,\]}]*)["\\,\]}]')
_NO_ROWS = re.compile(rb"\s*\[\s*\]\s*")


def key_for(number: str, leaf: str) -> str:
    """The item key of what the bank knows of a company, by its number in plain form."""
    return f"{PREFIX}/{number}/{leaf}"


def number_of(key: str) -> str:
    """The company a key speaks of."""
    return key.split("/")[2]


def content_digest(data: bytes) -> bytes | None:
    """A digest of an answer that is the same whatever the order of its rows (section 7.2: it is arbitrary); None if it has
    no rows."""
    try:
        rows = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(rows, list):
        return None
    written = sorted(msgspec.json.encode(row, order="sorted") for row in rows)
    return hashlib.sha256(b"\n".join(written)).digest()


class CompanyLine:
    """The answers about companies. `lanes` has the lane of each product that is subscribed."""

    def __init__(self, rules: NbbRules, lanes: Mapping[str, str], terms_of: TermsOf) -> None:
        self._rules = rules
        self._lanes = lanes
        self._terms_of = terms_of

    def request(self, item: Item, now: float) -> Attempt | Deferral:  # noqa: ARG002 - one shape for all lines
        product = _PRODUCTS[leaf_of(item.key)]
        lane = self._lanes.get(product)
        if lane is None:
            return Deferral(NO_ROUTE, item.lane, None)
        operation = self._rules.operations[product, BY_ENTERPRISE]
        path = operation.path.replace("{cbe}", number_of(item.key))
        return query(
            self._rules, lane, f"{product}/{BY_ENTERPRISE}", operation.accept, path, self.body_plan(item.key)
        )

    def interpret(
        self,
        item: Item,
        attempt: Attempt,
        answer: Answer,
        siblings: Mapping[str, Holding],  # noqa: ARG002 - one shape for all lines
        now: float,
    ) -> Verdict:
        again_at = self.recheck_at(item, now)
        return answers.interpret(CompanyQuestion(self._rules, item, attempt, again_at, now), answer)

    def judge(self, *_: object) -> Judgement | None:
        """Nothing: what is known of a company is never complete."""
        return None

    def contribution(self, version: Version, body: StoredBody) -> Contribution:
        family = AUTHENTIC if leaf_of(version.key) == FILINGS else IMPROVED_DATA
        return contributions.of_answer(family, version, body)

    def target(self, key: str) -> str:
        number = number_of(key)
        return f"{PREFIX}/{number[:4]}/{number[4:7]}/{number}.{leaf_of(key)}.json"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        if found is None or enterprise_number(found["number"]) != found["number"]:
            return None
        key = key_for(found["number"], found["leaf"])
        return key if self.target(key) == target else None

    def body_plan(self, key: str) -> BodyPlan:  # noqa: ARG002 - one shape for all lines
        max_bytes = min(_MAX_ANSWER_BYTES, self._rules.max_body_bytes)
        return BodyPlan(max_bytes, accept=frozenset({"json"}), content_digest=content_digest)

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        """After the interval of the company's watchlists; never if it is in none any more."""
        terms = self._terms_of(number_of(item.key))
        return None if terms is None else after_at + terms.refresh_interval_s


class CompanyQuestion(Question):
    """The bank was asked what it knows of a company. `again_at` is when it is asked next, whatever it said."""

    def __init__(
        self, rules: NbbRules, item: Item, attempt: Attempt, again_at: float | None, now: float
    ) -> None:
        super().__init__(rules, item, attempt, now)
        self.number = number_of(item.key)
        self.again_at = again_at

    def sound(self, body: BodyReport) -> Verdict:
        """Rows about this company; anything else under a 200 is something else the service had to say."""
        if body.size_bytes <= len(body.head) and _NO_ROWS.fullmatch(body.head):
            return self.nothing(refused=False)
        if not _speaks_of(body.head, self.number):
            detail = f"it does not begin like the filings of {self.number}: {shown(body.head)}"
            return self.failed("not_the_answer", detail, quarantine=True, lane=True)
        return Stored(self.again_at)

    def nothing(self, *, refused: bool, text: bytes = b"") -> Verdict:  # noqa: ARG002 - both mean the same (5.3)
        """The bank knows no filing of the company: believed at once, and asked again like everything else."""
        return Nothing(NO_FILINGS, self.again_at, confirmed=True)

    def invalid(self, text: bytes) -> Verdict:
        """The service takes the number for malformed."""
        return self.paused("refused_as_invalid", shown(text), self.rules.give_up_pause_s)


def _speaks_of(head: bytes, number: str) -> bool:
    """Whether it begins like a list of references, and none of another company shows. A row may lack the number, or have null
    for it, and the order of the rows is arbitrary (section 7.2): that the number does not show says nothing."""
    plain = head.lower().replace(b"_", b"")
    if not plain.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[") or b"referencenumber" not in plain:
        return False
    told = (
        enterprise_number(found[1].decode("ascii", "replace")) for found in _NUMBER_OF_ROW.finditer(plain)
    )
    return all(found is None or found == number for found in told)
