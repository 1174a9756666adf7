"""A made-up Trade Register that can be searched, and a mirror of one saved search that knows nothing but the registry's pure
functions: it plans, asks, interprets, records and judges as the engine does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from msgspec.structs import replace

from filingd.core.kinds import examine_document
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import (
    HOLDING_STATES,
    LEASED_STATES,
    Absent,
    Answer,
    Attempt,
    Deferral,
    Failed,
    Holding,
    Item,
    Judgement,
    Nothing,
    NotYet,
    ResponseHead,
    State,
    Stored,
    Verdict,
    Version,
    leaf_of,
)
from filingd.core.watchlist import SavedSearch
from filingd.registries.kvk import searches
from registries.kvk_cases import EVERYTHING, NOW, fault, registry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from filingd.registries.kvk.searches import KvkSearch

_LANE_PAUSE_S = 600.0


class Firm(NamedTuple):
    """One row that can be found."""

    company: str
    branch: str
    kind: str
    town: str
    words: frozenset[str] = frozenset()

    @property
    def told(self) -> dict[str, Any]:
        own = {"vestigingsnummer": self.branch} if self.branch else {}
        where = {"binnenlandsAdres": {"type": "bezoekadres", "plaats": self.town}}
        return {"kvkNummer": self.company, **own, "naam": "Molen", "type": self.kind, "adres": where}

    @property
    def row(self) -> tuple[str, str, str]:
        return self.company, self.branch, self.kind


class Register:
    """The truth. `shuffle`, if there is one, gives the rows another order for each answer."""

    def __init__(self, firms: Iterable[Firm]) -> None:
        self.firms = list(firms)
        self.shuffle: random.Random | None = None

    def found(self, parameters: Mapping[str, list[str]]) -> list[Firm]:
        words = set(parameters.get("naam", [""])[0].split()) - {"molen"}
        return [
            firm
            for firm in self.firms
            if firm.kind in parameters.get("type", [firm.kind])
            and firm.town in parameters.get("plaats", [firm.town])
            and words <= firm.words
        ]

    def answer(self, url: str) -> Answer:
        parameters: dict[str, list[str]] = {}
        for name, value in parse_qsl(urlsplit(url).query, strict_parsing=True):
            parameters.setdefault(name, []).append(value)
        found = self.found(parameters)
        if self.shuffle is not None:
            self.shuffle.shuffle(found)
        size, number = int(parameters["resultatenPerPagina"][0]), int(parameters["pagina"][0])
        rows = found[(number - 1) * size : number * size]
        if not rows:
            return fault("IPD5200")
        body = {"pagina": number, "totaal": len(found), "resultaten": [firm.told for firm in rows]}
        return Answer(ResponseHead(200, {"api-version": "2.1.0"}), error_body=json.dumps(body).encode())


class Mirror:
    """The copy of one search."""

    def __init__(self, search: KvkSearch, register: Register, **rules: Any) -> None:
        self.search = search
        self.folder = searches.folder_for("molens", search)
        self.registry = registry({}, {"molens": SavedSearch(search, EVERYTHING)}, **rules)
        self.register = register
        self.now = NOW
        self.items: dict[str, Item] = {}
        self.versions: dict[str, Version] = {}
        self.judgements: dict[str, Judgement] = {}
        self.asked: list[str] = []
        self.disturb: Callable[[str], Answer | None] = lambda _: None
        self.plan()

    def plan(self) -> None:
        for change in self.registry.plan(self.now, self.items):
            known = self.items.get(change.item.key)
            assert change.before == (known.state if known else None)
            self.items[change.item.key] = change.item

    # ------------------------------------------------------------------ working

    def work(self, turns: int) -> None:
        """So many attempts, each of the item that has been due longest; time passes where nothing is due."""
        for _ in range(turns):
            due = [item for item in self.items.values() if item.due_at is not None]
            if not due:
                return
            item = min(due, key=lambda one: (one.due_at, one.key))
            self.now = max(self.now, item.due_at or 0.0) + 0.1
            self.attempt(item)

    def work_until_quiet(self, most: int = 500) -> None:
        """Until nothing is due within an hour."""
        for _ in range(most):
            due_at = [item.due_at for item in self.items.values() if item.due_at is not None]
            if not due_at or min(due_at) > self.now + 3600.0:
                return
            self.work(1)
        raise AssertionError(f"still at work after {most} attempts: {self.reasons()}")

    def attempt(self, item: Item) -> None:
        leased = replace(item, state=next_state(item.state, Event.LEASED))
        attempt = self.registry.request(leased, self.now)
        if isinstance(attempt, Deferral):
            self._settle(leased, Absent(attempt.reason, attempt.again_at), None)
        else:
            self.asked.append(attempt.url)
            answer = self.disturb(attempt.url) or self.register.answer(attempt.url)
            answer = self._examined(attempt, answer)
            self._settle(leased, self.registry.interpret(leased, attempt, answer, {}, self.now), answer)
        self.judge_open()

    @staticmethod
    def _examined(attempt: Attempt, answer: Answer) -> Answer:
        if answer.head is None or answer.head.status != 200:
            return answer
        body = examine_document(answer.error_body, attempt.body, len(answer.error_body))
        return Answer(answer.head, body=body)

    def _settle(self, item: Item, verdict: Verdict, answer: Answer | None) -> None:
        self.items[item.key] = self._settled(item, verdict, answer)

    def _settled(self, item: Item, verdict: Verdict, answer: Answer | None) -> Item:
        def to(event: Event, **fields: Any) -> Item:
            return replace(item, state=next_state(item.state, event), **fields)

        match verdict:
            case Stored():
                return self._stored(item, verdict, answer)
            case Nothing():
                event = Event.CONFIRMED_EMPTY if verdict.confirmed else Event.NOTHING
                if verdict.drops_held and item.state is State.RECHECKING:
                    event = Event.WITHDRAWN
                    del self.versions[item.key]
                count, since = item.nothing_count + 1, item.nothing_at or self.now
                return to(
                    event,
                    due_at=verdict.again_at,
                    reason=verdict.reason,
                    nothing_count=count,
                    nothing_at=since,
                )
            case Absent():
                return to(Event.ABSENT, due_at=verdict.recheck_at, reason=verdict.reason)
            case NotYet():
                return to(Event.POSTPONED, due_at=verdict.again_at, reason=verdict.reason)
            case Failed():
                attempts = 0 if verdict.gave_up else item.attempts + 1
                event = Event.GAVE_UP if verdict.gave_up else Event.FAILED
                return to(event, due_at=verdict.again_at, reason=verdict.reason, attempts=attempts)
        return to(Event.POSTPONED, due_at=self.now + _LANE_PAUSE_S, reason=verdict.reason)

    def _stored(self, item: Item, verdict: Stored, answer: Answer | None) -> Item:
        assert answer is not None
        body = answer.body
        assert body is not None
        known = self.versions.get(item.key)
        fields: dict[str, Any] = {
            "due_at": verdict.recheck_at, "reason": None, "attempts": 0, "nothing_count": 0, "nothing_at": None,
        }  # fmt: skip
        if (
            item.state is State.RECHECKING
            and known is not None
            and known.content_digest == body.content_digest
        ):
            self.versions[item.key] = replace(known, verified_at=self.now)
            return replace(item, state=State.STORED, **fields)
        self.versions[item.key] = Version(
            item.key, item.version + 1, f"{item.key}.json", body.size_bytes, body.sha256, self.now, "zoeken/zoeken", "",
            content_digest=body.content_digest, verified_at=self.now, facts={**body.facts, **verdict.facts},
        )  # fmt: skip
        return replace(item, state=State.STORED, stored_at=self.now, version=item.version + 1, **fields)

    # ------------------------------------------------------------------ judging

    def judge_open(self) -> None:
        for group in sorted({item.group for item in self.items.values()}):
            self.judge(group)

    def judge(self, group: str) -> None:
        of_group = [item for item in self.items.values() if item.group == group]
        holdings = {leaf_of(item.key): Holding(item, self.versions.get(item.key)) for item in of_group}
        judgement = self.registry.judge(group, holdings, self.now)
        assert judgement is not None
        supplements = {
            key: Holding(self.items[key], self.versions.get(key))
            for key in judgement.supplements
            if key in self.items
        }
        if supplements:
            again = self.registry.judge(group, holdings, self.now, None, supplements)
            assert again is not None
            judgement = again
        self.judgements[group] = judgement
        for wanted in judgement.wants:
            self._want(wanted)
        for key, at in judgement.refetch:
            self._refetch(key, at)

    def _want(self, wanted: Item) -> None:
        known = self.items.get(wanted.key)
        if known is None or (known.state is State.ABSENT and known.due_at is None):
            self.items[wanted.key] = wanted

    def _refetch(self, key: str, at: float) -> None:
        item = self.items[key]
        if item.state in LEASED_STATES or (item.due_at is not None and item.due_at <= at):
            return
        state = item.state if item.state is State.STORED else next_state(item.state, Event.RETRIED)
        self.items[key] = replace(item, state=state, due_at=at)

    # ------------------------------------------------------------------ what is known

    def reasons(self) -> dict[str, tuple[str, ...]]:
        """Why cells are open, by cell."""
        return {
            searches.cell_in(group): judgement.reasons
            for group, judgement in self.judgements.items()
            if judgement.reasons
        }

    def judgement(self, cell: str = searches.WHOLE) -> Judgement:
        return self.judgements[f"{searches.PREFIX}/{self.folder}/{cell}"]

    def rows(self, cell: str | None = None) -> set[tuple[str, str, str]]:
        """Every row that is held, of one cell or of all."""
        return {
            (row[0], row[1], row[2])
            for key, version in self.versions.items()
            if self.items[key].state in HOLDING_STATES and (cell is None or searches.cell_in(key) == cell)
            for row in version.facts["rows"]
        }
