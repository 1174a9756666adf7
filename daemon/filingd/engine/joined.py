"""Several registries as one: what the engine works with.

Each key is told by its first part, before the first slash: the registry whose root that is answers for it. What is asked of no
key in particular is asked of all of them, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.errors import AmbiguousSubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.catalogue import Contribution, Forgotten
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
        StoredBody,
        Verdict,
        Version,
    )
    from filingd.ports import Companies, Registry

_NAMES_ROOT = ":"


class JoinedRegistry:
    """See the module. No two of the parts may have a root, a lane, a gate or an account of the same name."""

    def __init__(self, parts: Sequence[Registry]) -> None:
        self._parts = tuple(parts)
        self._by_root = {root: part for part in parts for root in part.roots}

    @property
    def roots(self) -> Sequence[str]:
        return tuple(self._by_root)

    @property
    def companies(self) -> Sequence[Companies]:
        return [companies for part in self._parts for companies in part.companies]

    def _part(self, key: str) -> Registry:
        return self._by_root[key.partition("/")[0]]

    def lanes(self) -> Sequence[LaneSpec]:
        return [lane for part in self._parts for lane in part.lanes()]

    def gates(self) -> Sequence[GateSpec]:
        return [gate for part in self._parts for gate in part.gates()]

    def accounts(self) -> Sequence[AccountSpec]:
        return [account for part in self._parts for account in part.accounts()]

    def expected(self, now: float) -> Sequence[str]:
        return [key for part in self._parts for key in part.expected(now)]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        by_root: dict[str, dict[str, Item]] = {}
        for key, item in known.items():
            by_root.setdefault(key.partition("/")[0], {})[key] = item
        return [
            change
            for part in self._parts
            for change in part.plan(
                now, {k: v for root in part.roots for k, v in by_root.get(root, {}).items()}
            )
        ]

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        return self._part(item.key).request(item, now)

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        return self._part(item.key).interpret(item, attempt, answer, siblings, now)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,
        supplements: Mapping[str, Holding] | None = None,
    ) -> Judgement | None:
        """None also for a group of a registry that is not configured any more: what is stored of it stays as it is."""
        part = self._by_root.get(group.partition("/")[0])
        return part.judge(group, holdings, now, twin, supplements) if part else None

    def resolving(self, reference: str, now: float) -> Item | None:
        items = (part.resolving(reference, now) for part in self._parts)
        return next((item for item in items if item is not None), None)

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None:
        part = self._by_root.get(version.key.partition("/")[0])
        return part.contribution(version, body) if part else None

    def target(self, key: str) -> str:
        return self._part(key).target(key)

    def key_of(self, target: str) -> str | None:
        part = self._by_root.get(target.partition("/")[0])
        return part.key_of(target) if part else None

    def body_plan(self, key: str) -> BodyPlan:
        return self._part(key).body_plan(key)

    def subject_of(self, text: str) -> tuple[str, bool] | None:
        """Of the registry whose root stands before a colon in the text, or of the only one for which the rest means something.

        Raises:
            AmbiguousSubjectError: it means something for several of them.
        """
        root, colon, rest = text.strip().partition(_NAMES_ROOT)
        if colon and root in self._by_root:
            return self._by_root[root].subject_of(rest)
        found = {part.roots[0]: subject for part in self._parts if (subject := part.subject_of(text))}
        if len(found) > 1:
            written = " or ".join(f"{root}{_NAMES_ROOT}{text.strip()}" for root in found)
            raise AmbiguousSubjectError(
                f"{text.strip()} means something in several registries. Write {written}."
            )
        return next(iter(found.values()), None)

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:
        part = self._by_root.get(key.partition("/")[0])
        return part is not None and part.is_forgotten(key, forgotten)

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:
        part = self._by_root.get(key.partition("/")[0])
        return part.scrub(key, forgotten) if part else None

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        return self._part(item.key).recheck_at(item, after_at)
