"""KVK as one `ports.Registry`: the functions of this folder, bound to the operator's rules.

It remembers two things from answer to answer, for as long as the process lives: whether a refusal may be believed (`guard`), and
which searches KVK refused a parameter of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.plain_registry import PlainRegistry
from filingd.registries.kvk import forgetting, profiles
from filingd.registries.kvk.answers import Memory
from filingd.registries.kvk.cells import SearchLine
from filingd.registries.kvk.following import Companies
from filingd.registries.kvk.profiles import NumberLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import (
        AccountSpec,
        Answer,
        Attempt,
        BodyPlan,
        Change,
        Deferral,
        GateSpec,
        Holding,
        Item,
        Judgement,
        LaneSpec,
        Verdict,
    )
    from filingd.registries.kvk.rules import KvkRules

_OF_NUMBERS = f"{profiles.PREFIX}/"


class KvkRegistry(PlainRegistry):
    """The Trade Register of the Dutch Chamber of Commerce."""

    roots = ("kvk",)

    def __init__(self, rules: KvkRules) -> None:
        self._rules = rules
        memory = Memory(rules)
        self._searches = SearchLine(rules, memory)
        self._companies = Companies(rules, self._searches)
        self._numbers = NumberLine(rules, memory, self._companies.terms_of, self._companies.are_known)
        self.companies: tuple[Companies] = (self._companies,)

    def lanes(self) -> Sequence[LaneSpec]:
        """One for each key and product."""
        return self._rules.lanes()

    def gates(self) -> Sequence[GateSpec]:
        """One, which all lanes pass."""
        return self._rules.gates()

    def accounts(self) -> Sequence[AccountSpec]:
        """One for each key."""
        return self._rules.account_specs()

    def expected(self, now: float) -> Sequence[str]:  # noqa: ARG002 - searches are wanted at any time
        return self._searches.expected()

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        """Of searches alone: what is asked about numbers follows from watchlists."""
        ours = {key: item for key, item in known.items() if not key.startswith(_OF_NUMBERS)}
        return self._searches.plan(now, ours)

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        return self._line(item.key).request(item, now)

    def interpret(
        self,
        item: Item,
        attempt: Attempt,  # noqa: ARG002 - the key says what was asked for
        answer: Answer,
        siblings: Mapping[str, Holding],  # noqa: ARG002 - each answer speaks for itself
        now: float,
    ) -> Verdict:
        return self._line(item.key).interpret(item, answer, now)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,  # noqa: ARG002 - two cells may well find the same
        supplements: Mapping[str, Holding] | None = None,
    ) -> Judgement | None:
        if group.startswith(_OF_NUMBERS):
            return None  # what is known of a number is never complete
        return self._searches.judge(group, holdings, now, supplements)

    def target(self, key: str) -> str:
        return self._line(key).target(key)

    def key_of(self, target: str) -> str | None:
        return self._line(target).key_of(target)

    def body_plan(self, key: str) -> BodyPlan:
        return self._line(key).body_plan(key)

    def subject_of(self, text: str) -> tuple[str, bool] | None:
        return forgetting.subject_of(text)

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:
        return forgetting.is_forgotten(key, forgotten)

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:
        return forgetting.scrub(key, forgotten)

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        return self._line(item.key).recheck_at(item, after_at)

    def _line(self, key: str) -> NumberLine | SearchLine:
        return self._numbers if key.startswith(_OF_NUMBERS) else self._searches
