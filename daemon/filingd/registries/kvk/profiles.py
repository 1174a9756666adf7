"""What is asked about a number: profiles by KVK number or branch number, the search by an RSIN.

Keys are `kvk/numbers/69599084/basisprofiel`. Each part is asked for by itself, as often as its terms say, and is no unit that
is ever complete.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.model import Blocked, Deferral, Nothing, Stored, leaf_of
from filingd.registries.kvk import answers, requests
from filingd.registries.kvk.answers import NO_RESULTS, NUMBER_REFUSED, REQUEST_REFUSED, Question
from filingd.registries.kvk.numbers import is_branch, is_company, is_rsin
from filingd.registries.kvk.operations import (
    API_VERSION_HEADER,
    PARTS_OF_COMPANY,
    PRODUCT_OF_PART,
    VESTIGINGSPROFIEL,
    ZOEKEN,
)
from filingd.registries.kvk.upkeep import put_off

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filingd.core.model import (
        Answer,
        Attempt,
        BodyPlan,
        BodyReport,
        Item,
        ResponseHead,
        Verdict,
    )
    from filingd.registries.kvk.answers import Memory
    from filingd.registries.kvk.rules import KvkRules
    from filingd.registries.kvk.terms import PartTerms

    TermsOf = Callable[[str, str], PartTerms | None]  # of a number and a part; None if it is not wanted

PREFIX = "kvk/numbers"
_TARGET = re.compile(
    rf"{PREFIX}/\d{{4}}/\d{{3}}/(?P<number>\d{{8}}|\d{{9}}|\d{{12}})\.(?P<part>[a-z]+)\.json", re.ASCII
)


def key_for(number: str, part: str) -> str:
    """The key of one part of a number in plain form."""
    return f"{PREFIX}/{number}/{part}"


def number_of(key: str) -> str:
    """The number a key speaks of."""
    return key.split("/")[2]


def parts_of(number: str) -> Sequence[str]:
    """What can be asked about a number of its kind."""
    if is_company(number):
        return PARTS_OF_COMPANY
    return (VESTIGINGSPROFIEL,) if is_branch(number) else (ZOEKEN,) if is_rsin(number) else ()


def stored(question: Question, head: ResponseHead, *, is_private: bool) -> Stored:
    """A good body, with the version of the API that served it (section 15.1.6). `is_private`: older ones may not stay."""
    version = head.header(API_VERSION_HEADER)
    facts = {"api_version": version} if version else {}
    has_older = question.item.version > 0
    drops_older = is_private and has_older and not question.rules.keep_versions_of_shielded
    return Stored(question.again_at, facts, drops_older)


class NumberLine:
    """The items about numbers. Its functions mean what those of `ports.Registry` mean, for its own keys alone."""

    def __init__(
        self, rules: KvkRules, memory: Memory, terms_of: TermsOf, lists_are_read: Callable[[], bool]
    ) -> None:
        self._lists_are_read = lists_are_read
        self._rules = rules
        self._memory = memory
        self._terms_of = terms_of

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        number, part = number_of(item.key), leaf_of(item.key)
        terms = self._terms_of(number, part)
        if terms is None:
            return put_off(item, now, lists_are_read=self._lists_are_read())
        lane = self._rules.lane_name(terms.account, PRODUCT_OF_PART[part])
        if part == ZOEKEN:
            return requests.search(self._rules, lane, [("rsin", number)], 1, is_cell=False)
        return requests.profile(self._rules, lane, part, number, with_geo_data=terms.with_geo_data)

    def interpret(self, item: Item, answer: Answer, now: float) -> Verdict:
        part = leaf_of(item.key)
        question = NumberQuestion(
            self._rules, self._memory, PRODUCT_OF_PART[part], item, self.recheck_at(item, now), now
        )
        return answers.interpret(question, answer)

    def target(self, key: str) -> str:
        number = number_of(key)
        return f"{PREFIX}/{number[:4]}/{number[4:7]}/{number}.{leaf_of(key)}.json"

    def key_of(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        if found is None or found["part"] not in parts_of(found["number"]):
            return None
        key = key_for(found["number"], found["part"])
        return key if self.target(key) == target else None

    def body_plan(self, key: str) -> BodyPlan:
        return requests.profile_plan(self._rules, leaf_of(key), number_of(key))

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        """After the interval of the part; never if nobody wants it any more."""
        terms = self._terms_of(number_of(item.key), leaf_of(item.key))
        return None if terms is None else after_at + terms.interval_s


class NumberQuestion(Question):
    """KVK was asked for one part of a number."""

    def sound(self, body: BodyReport, head: ResponseHead) -> Verdict:
        """Rows of a search hold addresses and no word on whether they are shielded: older ones never stay."""
        is_private = self.product == ZOEKEN or bool(body.facts.get("shielded"))
        return stored(self, head, is_private=is_private)

    def no_results(self, text: str) -> Verdict:
        """Nothing is registered under an RSIN any more: believed at once, and asked again as often as everything."""
        if self.product != ZOEKEN:
            return self.gone(text)
        self.memory.guard.note_answer(self.product)
        return Nothing(NO_RESULTS, self.again_at, confirmed=True, drops_held=True)

    def stopped(self, text: str) -> Verdict:
        """Calls of a product differ by the number alone, so all of them would be refused, and paid for: its lane is closed. The
        one parameter of a search by RSIN is the number."""
        if self.product == ZOEKEN:
            return self.believed(self.deferred(NUMBER_REFUSED, text, alarm=True))
        is_understood = self.memory.guard.note_not_understood(self.product)
        if is_understood and self.item.reason == REQUEST_REFUSED:  # others are not refused what this one is
            return self.believed(self.deferred(REQUEST_REFUSED, text, alarm=True))
        detail = (
            f"KVK refuses how {self.product} is asked for ({text}), so nothing more is asked of it: look at geo_data of the "
            "lists under [kvk.watch], and at [kvk.paths]; a restart asks once more"
        )
        return Blocked(REQUEST_REFUSED, detail)


def lane_of(rules: KvkRules, terms: PartTerms) -> str:
    """Where an item about a number waits."""
    return rules.lane_name(terms.account, PRODUCT_OF_PART[terms.part])
