"""A registry that has nothing to do with companies: a library whose shelves hold a list, a text and pictures.

    registry = FakeRegistry(shelves=2)            # wants lib/shelf-1/list, lib/shelf-1/text, lib/shelf-2/list …
    registry.verdicts["lib/shelf-1/list"] = [NotYet("closed", 60.0), Stored()]   # one after the other; the last stays
    registry.answers                              # every answer that was interpreted

    registry.supplements["lib/shelf-1"] = ["lib/annex-1/text"]  # what a shelf needs from the annex, which is never sealed

It is pure but for these two. Without a verdict of the test's own, an answer means what its status says. With
`is_documents` the items are small JSON documents instead of zips.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.catalogue import Contribution, DocumentPlace, Filing, Source
from filingd.core.kinds import NOTHING_KINDS
from filingd.core.model import (
    FINISHED_STATES,
    Attempt,
    Blocked,
    BodyPlan,
    Change,
    Failed,
    Item,
    Judgement,
    LaneSpec,
    Nothing,
    Stored,
    Throttled,
    leaf_of,
)
from filingd.core.seal import FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.model import Answer, Deferral, Holding, StoredBody, Verdict, Version
    from filingd.ports import Companies

DESK, CELLAR = "lib/desk", "lib/cellar"  # two lanes: what is in the reading room, and what must be fetched
RETRY_S = 60.0
RECHECK_S = 86_400.0
LEAVES = ("list", "text")


def lane_spec(
    name: str = DESK, calls_per_s: float = 1000.0, burst: int = 100, concurrency: int = 2, keys: int = 1
) -> LaneSpec:
    """A lane that is never in the way, unless a test says otherwise."""
    return LaneSpec(name, calls_per_s, burst, concurrency, tuple(f"key-{number}" for number in range(keys)))


class FakeRegistry:
    """See the module."""

    name = "lib"
    companies: Companies | None = None

    def __init__(
        self,
        shelves: int = 1,
        leaves: Sequence[str] = LEAVES,
        lanes: Sequence[LaneSpec] | None = None,
        *,
        is_documents: bool = False,
    ) -> None:
        self.shelves = shelves
        self.leaves = leaves
        self._lanes = list(lanes) if lanes is not None else [lane_spec()]
        self.is_documents = is_documents
        self.lane_of: dict[str, str] = {}  # by key; the first lane if it is not here
        self.deferrals: dict[str, Deferral] = {}
        self.verdicts: dict[str, list[Verdict]] = {}
        self.answers: list[tuple[str, Answer]] = []
        self.open_reasons: dict[str, str] = {}  # shelves that do not agree, and why
        self.refetch: dict[str, float] = {}
        self.supplements: dict[str, list[str]] = {}
        self.fingerprints: dict[str, str] = {}  # by shelf; shelves without one may be alike
        self.facts: dict[str, int] = {}  # more of them than there are by themselves

    def lanes(self) -> Sequence[LaneSpec]:
        return self._lanes

    def expected(self, now: float) -> Sequence[str]:
        return [f"lib/shelf-{number}/{leaf}" for number in range(1, self.shelves + 1) for leaf in self.leaves]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        missing = (key for key in self.expected(now) if key not in known)
        return [Change(None, Item(key, self._lane(key), due_at=now)) for key in missing]

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        if item.key in self.deferrals:
            return self.deferrals[item.key]
        lane = self._lane(item.key)
        return Attempt(
            lane, f"{lane}/{leaf_of(item.key)}", f"http://library.invalid/{item.key}", (), "Reader-Card",
            self.body_plan(item.key), is_document=self.is_documents,
        )  # fmt: skip

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        self.answers.append((item.key, answer))
        wanted = self.verdicts.get(item.key)
        if wanted:
            return wanted.pop(0) if len(wanted) > 1 else wanted[0]
        return _verdict_of(answer, now)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,
        supplements: Mapping[str, Item] | None = None,
    ) -> Judgement | None:
        if group.startswith("lib/annex-"):
            return None
        waiting = [
            f"{leaf}: {holding.item.state.name.lower()}"
            for leaf, holding in holdings.items()
            if holding.item.state not in FINISHED_STATES
        ]
        reasons = [*waiting, *([self.open_reasons[group]] if group in self.open_reasons else [])]
        reasons += [f"a copy of {twin}"] if twin else []
        needed = self.supplements.get(group, [])
        missing = [key for key in needed if not _is_settled((supplements or {}).get(key))]
        reasons += [f"needs {key}" for key in missing]
        wants = tuple(Item(key, self._lane(key), due_at=now) for key in missing)
        refetch = [(key, at) for key, at in self.refetch.items() if key.startswith(f"{group}/")]
        members = {leaf: len(holding.members or ()) for leaf, holding in holdings.items()}
        facts = {"members": members, FINGERPRINT: self.fingerprints.get(group), **self.facts}
        return Judgement(tuple(reasons), facts, tuple(refetch), (), tuple(needed), wants)

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None:
        """A list holds a filing for each of its books, a text is a document of its shelf; an annex says nothing."""
        shelf, leaf = version.key.split("/")[1:]
        source = Source(version.key, version.number, version.path, self.name, shelf)
        if shelf.startswith("annex-"):
            return None
        if leaf != "list":
            return Contribution(source, places=(DocumentPlace(shelf, leaf, version.size_bytes),))
        titles = [body.read(member).decode() for member in body.members]
        return Contribution(source, tuple(Filing(shelf, enterprise_name=title) for title in titles))

    def target(self, key: str) -> str:
        return f"{key}.{'json' if self.is_documents else 'zip'}"

    def key_of(self, target: str) -> str | None:
        found = re.fullmatch(r"(lib/(?:shelf|annex)-\d+/([a-z]+))\.(?:json|zip)", target)
        is_ours = found is not None and found[2] in self.leaves and self.target(found[1]) == target
        return found[1] if found is not None and is_ours else None

    def body_plan(self, key: str) -> BodyPlan:
        return BodyPlan(1024 * 1024, frozenset({"json" if self.is_documents else "zip"}))

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        return after_at + RECHECK_S

    def _lane(self, key: str) -> str:
        return self.lane_of.get(key, self._lanes[0].name)


def _is_settled(item: Item | None) -> bool:
    return item is not None and item.state in FINISHED_STATES


def _verdict_of(answer: Answer, now: float) -> Verdict:
    if answer.transfer_reason is not None or answer.head is None:
        return Failed(answer.transfer_reason or "bad_response", now + RETRY_S)
    match answer.head.status:
        case 200 | 206:
            return _verdict_of_body(answer, now)
        case 404:
            return Nothing("no_such_book", now + RETRY_S)
        case 429:
            return Throttled("crowded", 30.0)
        case 401:
            return Blocked("card_refused", key_at_fault=True)
        case status:
            return Failed(f"status_{status}", now + RETRY_S)


def _verdict_of_body(answer: Answer, now: float) -> Verdict:
    body = answer.body
    assert body is not None, "a body was streamed and not examined"
    if body.problem is not None:
        return Failed(body.problem, now + RETRY_S, quarantine=True, strikes_lane=False)
    if body.kind in NOTHING_KINDS:
        return Nothing("blank_book", now + RETRY_S)
    return Stored(now + RECHECK_S)
