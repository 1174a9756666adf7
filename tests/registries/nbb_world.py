"""One publication day at a made-up bank, and a mirror of it that knows nothing but the registry's pure functions.

`Bank` is the truth and answers like NBB: windows with edges of its own, late publication, late additions, a file or
none for what is empty. `Mirror` leases, asks, interprets, records and judges as the engine does, in any order of work.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import calendar
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import (
    FINISHED_STATES,
    HOLDING_STATES,
    LEASED_STATES,
    Absent,
    Answer,
    Attempt,
    Blocked,
    Deferral,
    Failed,
    Holding,
    Item,
    Judgement,
    Nothing,
    NotYet,
    State,
    Stored,
    Throttled,
    Verdict,
    Version,
    leaf_of,
)
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import BRUSSELS, EXTRACT, answer, files, listing, with_body

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from filingd.core.model import Member
    from filingd.registries.nbb.rules import NbbRules

LANE_PAUSE_S = 600.0  # how long a throttled or blocked lane is left alone


@dataclass(frozen=True)
class Bank:
    """The truth about one day. Ages are inclusive; `additions` appear in every zip at `complete_at`."""

    day: dt.date
    filings: Mapping[str, str]
    additions: Mapping[str, str] = field(default_factory=dict)
    published_at: float = 0.0
    complete_at: float = 0.0
    extract_last_age: int = 30
    archive_first_age: int = 28
    empty_answer: Answer = field(default_factory=lambda: answer(404))
    dropped: frozenset[tuple[str, str]] = (
        frozenset()
    )  # (dataset, reference) that a zip should hold and never does
    added: frozenset[tuple[str, str]] = frozenset()  # what a zip holds though nobody lists it

    def listed(self, now: float) -> dict[str, str]:
        """The references list at an instant."""
        if now < self.published_at:
            return {}
        return {**self.filings, **(self.additions if now >= self.complete_at else {})}

    def members(self, dataset: str, now: float) -> tuple[Member, ...]:
        """What the zip of a dataset holds at an instant."""
        listed = self.listed(now)
        if dataset == "references":
            return listing(listed)
        wanted = [ref for ref, model in listed.items() if dataset == "pdf" or not model.endswith("-p")]
        held = [ref for ref in wanted if (dataset, ref) not in self.dropped]
        extra = [ref for name, ref in self.added if name == dataset and now >= self.published_at]
        return files([*held, *extra], dataset)

    def answer(self, product: str, dataset: str, now: float) -> Answer:
        """What the bank answers when it is well."""
        age = calendar.age_days(self.day, now, BRUSSELS)
        serves = (1 <= age <= self.extract_last_age) if product == EXTRACT else age >= self.archive_first_age
        if not serves or now < self.published_at:
            return answer(404)
        members = self.members(dataset, now)
        if not members:
            return self.empty_answer
        facts = {
            "filings": len(members),
            "pdf_only": sum((found.note or "").endswith("-p") for found in members),
        }
        names = "\n".join(sorted(f"{found.name} {found.note}" for found in members))
        digest = hashlib.sha256(names.encode()).digest()
        given = with_body(facts=facts if dataset == "references" else {}, member_count=len(members))
        assert given.body is not None
        return replace(given, body=replace(given.body, sha256=digest))

    @property
    def agrees(self) -> bool:
        """Whether its zips hold, in the end, what its list demands."""
        return self.agrees_on(self.filings.keys() | self.additions.keys())

    def agrees_on(self, listed: AbstractSet[str]) -> bool:
        """Whether its zips hold what a list of these references demands, and nothing else."""
        models = {**self.filings, **self.additions}
        lost = any(
            reference in listed and (name == "pdf" or not models[reference].endswith("-p"))
            for name, reference in self.dropped
        )
        return not lost and not self.added


class Mirror:
    """The copy of one day."""

    def __init__(self, configured: NbbRules, bank: Bank, now: float) -> None:
        self.registry = NbbRegistry([replace(configured, since=bank.day)])
        self.bank = bank
        self.now = now
        self.items: dict[str, Item] = {}
        self.versions: dict[str, Version] = {}
        self.bodies: dict[str, tuple[Member, ...]] = {}
        self.judgement = Judgement(("planned",), {})
        self.alarms: list[str] = []
        self.asked = 0
        self._planned_at_age: int | None = None

    @property
    def group(self) -> str:
        return f"nbb/authentic/{self.bank.day.isoformat()}"

    @property
    def is_sealed(self) -> bool:
        return not self.judgement.reasons

    def plan(self) -> None:
        """Once a day while the windows shift, as the planner does at least; every tenth day later, to save time."""
        age = calendar.age_days(self.bank.day, self.now, BRUSSELS)
        if age == self._planned_at_age or (self.items and age > 40 and age % 10):
            return
        self._planned_at_age = age
        for change in self.registry.plan(self.now, self.items):
            if change.item.group == self.group:
                self._record(change.before, change.item)

    def next_due_at(self) -> float | None:
        return min((item.due_at for item in self.items.values() if item.due_at is not None), default=None)

    def due(self) -> list[str]:
        """The keys of what is due, in the order of work."""
        due = [item for item in self.items.values() if item.due_at is not None and item.due_at <= self.now]
        return [item.key for item in sorted(due, key=lambda item: (item.priority, item.due_at, item.key))]

    def work(self, key: str, disturb: Callable[[str, Answer], Answer]) -> None:
        """One turn of one due item."""
        leased = self.items[key]
        item = replace(leased, state=next_state(leased.state, Event.LEASED), due_at=None)
        self._record(leased.state, item)
        attempt = self.registry.request(item, self.now)
        if isinstance(attempt, Deferral):
            self._defer(item, attempt)
        elif attempt.lane != item.lane:
            self._settle(replace(item, lane=attempt.lane), NotYet("other_route", self.now))
        else:
            self._attempt(item, attempt, disturb)

    def _defer(self, item: Item, deferral: Deferral) -> None:
        moved = replace(item, lane=deferral.lane)
        if deferral.again_at is None:
            self._settle(moved, Absent(deferral.reason, None, alarm=True))
        else:
            assert deferral.again_at > self.now, "an item must not be deferred to the past"
            self._settle(moved, NotYet(deferral.reason, deferral.again_at))

    def _attempt(self, item: Item, attempt: Attempt, disturb: Callable[[str, Answer], Answer]) -> None:
        self.asked += 1
        product, _, dataset = attempt.route.partition("/")
        given = disturb(dataset, self.bank.answer(product, dataset, self.now))
        siblings = self._holdings(with_members=False)
        verdict = self.registry.interpret(item, attempt, given, siblings, self.now)
        if isinstance(verdict, Stored):
            self._store(item, attempt, given, verdict)
        else:
            self._settle(item, verdict)
        if not isinstance(verdict, Throttled | Blocked):
            self.judge()

    # -------------------------------------------------------------------------- recording

    def _store(self, item: Item, attempt: Attempt, given: Answer, verdict: Stored) -> None:
        body, dataset = given.body, leaf_of(item.key)
        assert body is not None
        assert body.problem is None, "a bad body was published"
        if item.state is State.RECHECKING and body.sha256 == item.sha256:
            unchanged = replace(item, state=next_state(item.state, Event.UNCHANGED), due_at=verdict.recheck_at,
                                attempts=0, reason=None)  # fmt: skip
            self._record(item.state, unchanged)
            return
        stored = replace(
            item, state=next_state(item.state, Event.STORED), due_at=verdict.recheck_at, attempts=0, reason=None,
            nothing_count=0, nothing_at=None, size_bytes=body.size_bytes, sha256=body.sha256, stored_at=self.now,
            version=item.version + 1,
        )  # fmt: skip
        self.versions[item.key] = Version(
            item.key, stored.version, self.registry.target(item.key), body.size_bytes, body.sha256, self.now,
            attempt.route, "id", member_count=body.member_count, facts=body.facts,
        )  # fmt: skip
        self.bodies[item.key] = self.bank.members(dataset, self.now)
        self._record(item.state, stored)

    def _settle(self, item: Item, verdict: Verdict) -> None:
        event, after = self._settled(item, verdict)
        if getattr(verdict, "alarm", False) or getattr(verdict, "gave_up", False):
            self.alarms.append(getattr(verdict, "reason", ""))
        self._record(item.state, replace(after, state=next_state(item.state, event)))

    def _settled(self, item: Item, verdict: Verdict) -> tuple[Event, Item]:
        match verdict:
            case Nothing():
                since = self.now if item.nothing_at is None else item.nothing_at
                asked = replace(item, due_at=verdict.again_at, reason=verdict.reason, attempts=0,
                                nothing_count=item.nothing_count + 1, nothing_at=since)  # fmt: skip
                return (Event.CONFIRMED_EMPTY if verdict.confirmed else Event.NOTHING), asked
            case NotYet():
                return Event.POSTPONED, replace(item, due_at=verdict.again_at, reason=verdict.reason)
            case Absent():
                return Event.ABSENT, replace(item, due_at=verdict.recheck_at, reason=verdict.reason)
            case Failed():
                attempts = 0 if verdict.gave_up else item.attempts + 1
                failed = replace(item, due_at=verdict.again_at, reason=verdict.reason, attempts=attempts)
                return (Event.GAVE_UP if verdict.gave_up else Event.FAILED), failed
            case Throttled() | Blocked():
                return Event.POSTPONED, replace(item, due_at=self.now + LANE_PAUSE_S, reason=verdict.reason)
            case Stored():
                raise AssertionError("a stored body is recorded where it is published")

    def _record(self, before: State | None, item: Item) -> None:
        known = self.items.get(item.key)
        assert (known.state if known else None) == before
        assert item.state in LEASED_STATES or item.due_at is None or item.due_at >= 0
        self.items[item.key] = item

    # -------------------------------------------------------------------------- judging

    def judge(self) -> None:
        complete = all(item.state in FINISHED_STATES for item in self.items.values())
        holdings = self._holdings(with_members=complete)
        judgement = self.registry.judge(self.group, holdings, self.now)
        assert judgement is not None, "a day is sealed one day"
        self.judgement = judgement
        for key, at in self.judgement.refetch:
            assert at > self.now, "another look must not lie in the past"
            item = self.items[key]
            if item.state in LEASED_STATES or (item.due_at is not None and item.due_at <= at):
                continue
            state = next_state(item.state, Event.RETRIED) if item.state is not State.STORED else item.state
            self._record(item.state, replace(item, state=state, due_at=at))

    def _holdings(self, *, with_members: bool) -> dict[str, Holding]:
        return {
            leaf_of(key): Holding(
                item,
                self.versions.get(key),
                self.bodies.get(key) if with_members and item.state in HOLDING_STATES else None,
            )
            for key, item in self.items.items()
        }

    def held(self, dataset: str) -> frozenset[str]:
        """The names of the files that lie in the store for a dataset."""
        key = f"{self.group}/{dataset}"
        if self.items[key].state not in HOLDING_STATES:
            return frozenset()
        return frozenset(found.name.partition(".")[0] for found in self.bodies[key])
