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
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from msgspec.structs import replace

from filingd.core.catalogue import NOTHING_FORGOTTEN, Contribution, DocumentPlace, Filing, Source
from filingd.core.forgetting import Fate, redacted
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
    State,
    Stored,
    Throttled,
    leaf_of,
)
from filingd.core.seal import FINGERPRINT
from filingd.core.watchlist import CompanyNumberError, SearchError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filingd.core.catalogue import Entry, Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import (
        AccountSpec,
        Answer,
        Deferral,
        GateSpec,
        Group,
        Holding,
        Member,
        StoredBody,
        Verdict,
        Version,
    )
    from filingd.core.watchlist import SavedSearch, Search
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

    roots: Sequence[str] = ("lib",)
    companies: Sequence[Companies] = ()

    def __init__(
        self,
        shelves: int = 1,
        leaves: Sequence[str] = LEAVES,
        lanes: Sequence[LaneSpec] | None = None,
        *,
        is_documents: bool = False,
        gates: Sequence[GateSpec] = (),
        accounts: Sequence[AccountSpec] = (),
    ) -> None:
        self._gates = gates
        self._accounts = accounts
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
        self.told_in: dict[str, str] = {}  # by shelf: the item that says whose it is
        self.fingerprints: dict[str, str] = {}  # by shelf; shelves without one may be alike
        self.facts: dict[str, int] = {}  # more of them than there are by themselves

    def lanes(self) -> Sequence[LaneSpec]:
        return self._lanes

    def gates(self) -> Sequence[GateSpec]:
        return self._gates

    def accounts(self) -> Sequence[AccountSpec]:
        return self._accounts

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
            self.body_plan(item.key), is_document=self.is_documents, shares_seal=not self.is_documents,
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
        supplements: Mapping[str, Holding] | None = None,
    ) -> Judgement | None:
        if group.startswith(("lib/annex-", "lib/book-")):
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
        return Judgement(tuple(reasons), facts, tuple(refetch), tuple(needed), wants)

    def resolving(self, reference: str, now: float) -> Item | None:
        """Nobody asks whose a shelf is, unless the test says where that is told."""
        key = self.told_in.get(reference)
        return Item(key, self._lane(key), due_at=now) if key else None

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None:
        """A list holds a filing for each of its books, a text is a document of its shelf; an annex says nothing."""
        shelf, leaf = version.key.split("/")[1:]
        source = Source(version.key, version.number, version.path, self.roots[0], shelf)
        if shelf.startswith("annex-"):
            return None
        if leaf != "list":
            return Contribution(source, places=(DocumentPlace(shelf, leaf, version.size_bytes),))
        titles = [body.read(member).decode() for member in body.members]
        return Contribution(source, tuple(Filing(shelf, enterprise_name=title) for title in titles))

    def target(self, key: str) -> str:
        return f"{key}.{'json' if self.is_documents else 'zip'}"

    def key_of(self, target: str) -> str | None:
        found = re.fullmatch(r"(lib/(?:shelf|annex|book)-\d+/([a-z]+))\.(?:json|zip)", target)
        is_ours = found is not None and found[2] in self.leaves and self.target(found[1]) == target
        return found[1] if found is not None and is_ours else None

    def body_plan(self, key: str) -> BodyPlan:
        return BodyPlan(1024 * 1024, frozenset({"json" if self.is_documents else "zip"}))

    def subject_of(self, text: str) -> tuple[str, bool] | None:
        return (text, text.startswith("author-")) if text.startswith(("book-", "author-")) else None

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:
        return key.split("/")[1] in forgotten.references

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:
        is_told_by_its_key = key.startswith("lib/book-") and not (self.is_documents and forgotten.enterprises)
        return None if is_told_by_its_key or forgotten == NOTHING_FORGOTTEN else FakeScrub(forgotten)

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        return after_at + RECHECK_S

    def _lane(self, key: str) -> str:
        return self.lane_of.get(key, self._lanes[0].name)


class ReaderTerms(NamedTuple):
    """How a reader is followed; `family` says that whoever is named on the card is, too."""

    refresh_interval_s: float = 60.0
    family: bool = False

    def __or__(self, other: ReaderTerms) -> ReaderTerms:
        return ReaderTerms(
            min(self.refresh_interval_s, other.refresh_interval_s), self.family or other.family
        )

    def words(self) -> Sequence[str]:
        return [f"every {self.refresh_interval_s:.0f} s"]


class ReaderSearch(NamedTuple):
    """Readers who live in a street: their numbers stand on one list."""

    street: str

    def words(self) -> Sequence[str]:
        return [self.street]


class FakeCompanies:
    """The readers of the library, by the four digits of their cards: `lib/readers/1234/card` is asked for each reader who is
    followed, and `lib/loans/REFERENCE/text` for each book a reader borrowed that the catalogue does not hold.

    A card names the family of its reader, a list of `lib/streets/` everybody who lives in a street that is searched."""

    prefix = "lib/readers/"
    knows_searches = True
    has_filings = True
    lead_prefixes: Sequence[str] = ("lib/readers/", "lib/streets/")

    def __init__(self) -> None:
        self.watched: Mapping[str, ReaderTerms] = {}
        self.searches: Mapping[str, SavedSearch] = {}
        self.is_whole = False

    def remark_on(self, text: str) -> str | None:
        return "It is a child's card." if text.startswith("9") else None

    def plain_number(self, text: str) -> str:
        bare = text.replace(".", "").strip()
        if not (bare.isascii() and bare.isdigit() and len(bare) == 4):
            raise CompanyNumberError("The number of a reader's card has four digits. Write it as 1234.")
        return bare

    def number_of(self, key: str) -> str:
        return key.split("/")[2]

    def follow(
        self,
        watched: Mapping[str, Any],
        searches: Mapping[str, SavedSearch] | None = None,
        *,
        is_whole: bool = True,
    ) -> None:
        self.watched, self.is_whole = watched, is_whole
        self.searches = self.searches if searches is None else searches

    def search_of(self, table: Mapping[str, Any]) -> Search:
        if not isinstance(table.get("street"), str):
            raise SearchError("street is missing; write the name of a street.")
        return ReaderSearch(table["street"])

    def spoken_for(self, facts: Mapping[str, Any]) -> Sequence[str]:
        return [f"{self.prefix}{name}/card" for name in facts.get("parents", ())]

    def search_gaps(self, groups: Sequence[Group]) -> Sequence[str]:
        return ()

    def search_prefix(self, name: str) -> str | None:
        return f"lib/streets/{name}/" if name in self.searches else None

    def named(self, facts: Mapping[str, Any]) -> Sequence[str]:
        return [*facts.get("names", ())]

    def lead_terms(self, key: str, watched: Mapping[str, Any]) -> ReaderTerms | None:
        if not key.startswith(self.prefix):
            search = self.searches.get(key.split("/")[2])
            return cast("ReaderTerms", search.terms) if search else None
        known = watched.get(self.number_of(key))
        return known if known is not None and known.family else None

    def possible_keys(self, number: str) -> Sequence[str]:
        return [f"{self.prefix}{number}/card"]

    def keys(self, number: str) -> Sequence[str]:
        return [f"{self.prefix}{number}/card"] if number in self.watched else []

    def plan(
        self, numbers: Sequence[str], known: Mapping[str, Item], now: float, ahead: int = 0
    ) -> Sequence[Change]:
        wanted = [key for number in numbers for key in self.keys(number)]
        new = [key for key in wanted if key not in known]
        made = [Change(None, Item(key, DESK, due_at=now + ahead + place)) for place, key in enumerate(new)]
        back = [_revived(known[key], now) for key in wanted if key in known and known[key].due_at is None]
        return [*made, *back, *_left_alone(known, wanted)]

    def document_keys(self, entries: Sequence[Entry]) -> Sequence[str]:
        return [f"lib/loans/{entry.reference}/text" for entry in entries]

    def follow_ups(
        self,
        number: str,
        entries: Sequence[Entry],
        known: Mapping[str, Item],
        open_groups: Collection[str],
        now: float,
    ) -> Sequence[Change]:
        lent = self.document_keys([entry for entry in entries if not entry.documents])
        wanted = [] if number not in self.watched or "lib/shelf-1" in open_groups else lent
        made = [Change(None, Item(key, DESK, due_at=now)) for key in wanted if key not in known]
        return [*made, *_left_alone(known, wanted)]


def _revived(item: Item, now: float) -> Change:
    state = item.state if item.state in FINISHED_STATES - {State.ABSENT} else State.DUE
    return Change(item.state, replace(item, state=state, due_at=now + RECHECK_S))


def _left_alone(known: Mapping[str, Item], wanted: Sequence[str]) -> list[Change]:
    unwanted = [item for key, item in known.items() if key not in wanted and item.due_at is not None]
    kept = {State.STORED, State.EMPTY}
    return [
        Change(
            item.state, replace(item, state=item.state if item.state in kept else State.ABSENT, due_at=None)
        )
        for item in unwanted
    ]


class FakeScrub:
    """A member goes whose name begins with that of a forgotten book, or whose text begins with that of a forgotten author."""

    def __init__(self, forgotten: Forgotten) -> None:
        self._forgotten = forgotten
        self.found: set[str] = set()

    def suspects(self, member: Member) -> bool:
        return bool(self._forgotten.enterprises) or self._is_forgotten(member.name)

    def wants(self, name: str) -> bool:
        return bool(self._forgotten.enterprises)

    def member(self, name: str, data: bytes | None) -> Fate | bytes:
        author = (data or b"").decode("utf-8", "replace").partition(" ")[0]
        book = name.partition(".")[0]
        if author in self._forgotten.enterprises and book not in self._forgotten.references:
            self.found.add(book)
        return Fate.GONE if self._is_forgotten(name) or author in self._forgotten.enterprises else Fate.KEPT

    def document(self, data: bytes) -> bytes | None:
        text = data.decode("utf-8", "replace")
        if any(author in text for author in self._forgotten.enterprises):
            self.found |= set(re.findall(r"book-\d+", text)) - self._forgotten.references
        lacking = redacted(text, self._forgotten)
        return None if lacking == text else lacking.encode()

    def names(self, data: bytes) -> bool:
        return any(book.encode() in data for book in self._forgotten.references)

    def is_hidden_in(self, kind: str) -> bool:
        return bool(self._forgotten.enterprises)

    def _is_forgotten(self, name: str) -> bool:
        return name.partition(".")[0] in self._forgotten.references


def _is_settled(holding: Holding | None) -> bool:
    return holding is not None and holding.item.state in FINISHED_STATES - {State.ABSENT}


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
