"""The narrow protocols between the engine and the world. Each has a fake in the tests and one contract suite
that runs on the fake and on the real thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from filingd.core.catalogue import (
        Contributed,
        Contribution,
        Document,
        Entry,
        Forgotten,
        Listing,
        NameHit,
        Repeated,
        Totals,
    )
    from filingd.core.errors import DiskFaultError, DiskFullError, FilingdError, StoreReplacedError
    from filingd.core.feed import FeedEvent
    from filingd.core.forgetting import Scrub, Traces
    from filingd.core.keys import KeyReading
    from filingd.core.ledger import Spending
    from filingd.core.limits import LaneState
    from filingd.core.model import (
        AccountSpec,
        Answer,
        Attempt,
        BodyPlan,
        BodyReport,
        Change,
        Deferral,
        FlowLimits,
        GateSpec,
        Group,
        Holding,
        Item,
        Judgement,
        LaneSpec,
        Member,
        PartialRecord,
        QuarantineRecord,
        Request,
        ResponseHead,
        State,
        StoredBody,
        Verdict,
        Version,
    )
    from filingd.core.tombstones import Tombstone
    from filingd.core.watchlist import Reading, SavedSearch, Search, Terms

T = TypeVar("T")


class Clock(Protocol):
    """The only source of time. A rehearsal gives another one."""

    def now(self) -> float:
        """Unix seconds, UTC. May step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, the same for every process until the machine boots again."""
        ...

    def boot_id(self) -> str:
        """Names the period over which `monotonic` is comparable."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller."""
        ...


class Log(Protocol):
    """The status log. Event names are `subject.past_participle`; facts are JSON-serialisable."""

    def debug(self, event: str, **facts: Any) -> None: ...
    def info(self, event: str, **facts: Any) -> None: ...
    def warning(self, event: str, **facts: Any) -> None: ...
    def error(self, event: str, **facts: Any) -> None: ...


class Steps(Protocol):
    """Is told of each named step of the publish sequence (`core.steps`); the place where tests kill the process."""

    def reached(self, step: str) -> None: ...


class BodySink(Protocol):
    """Takes the bytes of one body, in order, on the event loop, without ever blocking it.

    The receiver asks for `buffer()`, fills some of it, says `advance(count)`. When `buffer()` returns None all
    buffers are with the side thread: the receiver pauses until `ready()` completes. `failure()` is what the side thread
    died of (DiskFullError, DiskFaultError), if it did: the receiver stops at once and raises it.
    """

    def buffer(self) -> memoryview | None: ...
    def advance(self, count: int) -> None: ...
    async def ready(self) -> None: ...
    def failure(self) -> Exception | None: ...


class Exchange(Protocol):
    """One response whose body has not been read yet."""

    @property
    def head(self) -> ResponseHead: ...

    async def read_capped(self, limit_bytes: int) -> tuple[bytes, bool]:
        """The body's first `limit_bytes`, and whether that was all of it. The rest is not read. Of a body that comes packed
        (gzip), these are the bytes that are in it.

        An error body (neither 200 nor 206) comes without the key that was sent; what is cut may be shorter then.
        """
        ...

    async def pour_into(self, sink: BodySink, max_bytes: int) -> int:
        """Stream the whole body into the sink; returns the bytes received.

        Raises:
            TransferError: it broke off, stalled, was too slow or grew past `max_bytes`. Bytes that arrived before
                are in the sink.
            DiskFullError, DiskFaultError: the sink failed.
        """
        ...


class HttpClient(Protocol):
    """Makes exchanges. Refuses redirects; resolves the key of a request at the last moment."""

    def exchange(
        self,
        request: Request,
        flow: FlowLimits,
        before_sending: Callable[[], Awaitable[None]] | None = None,
    ) -> AbstractAsyncContextManager[Exchange]:
        """Send the request and give the response.

        `before_sending` is called when the connection is there, and the request goes out at once when it returns.

        Raises (on entering):
            TransferError: no response head was had.
            Exception: what `before_sending` raised; nothing was sent.
        """
        ...

    async def close(self) -> None: ...


class Staged(BodySink, Protocol):
    """A body on its way to a final name: written, hashed and walked by one side thread as it arrives."""

    @property
    def received_bytes(self) -> int:
        """Bytes of the body so far, a resumed prefix included."""
        ...

    async def finish(self, declared_bytes: int | None) -> BodyReport:
        """No more bytes come: drain, compare with the declared length, complete the walk.

        Raises:
            DiskFullError, DiskFaultError: the disk refused.
        """
        ...

    async def scrub(self, scrub: Scrub) -> tuple[BodyReport, Traces] | None:
        """After `finish` of a sound body: take out what is forgotten. What is left, examined anew, and what was taken out;
        None if nothing.

        Raises:
            DiskFullError, DiskFaultError: the disk refused, or it cannot be taken out: discard the body.
        """
        ...

    async def holds_trace(self, scrub: Scrub) -> bool:
        """After `finish`: whether the body, be it sound or not, holds or may hide what is forgotten."""
        ...

    async def publish(self, previous_to: str | None) -> str:
        """Sync, move the body that is there now to `previous_to` (if given), rename, sync the folder, index the members.

        Returns the path of the published file, relative to the store.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; nothing lies under the final name that was not there before.
        """
        ...

    async def keep(self, record: PartialRecord) -> None:
        """Leave the partial file and what is needed to resume it."""
        ...

    async def quarantine(self, record: QuarantineRecord) -> str:
        """Move the body to `quarantine/` with its record; returns where, relative to the store."""
        ...

    async def discard(self) -> None:
        """Remove every trace. Never raises."""
        ...


class Store(Protocol):
    """The operator's disk. `target` is a path relative to the store, such as `nbb/authentic/2026/11/2026-11-20/json.zip`.

    Whatever changes or looks raises StoreReplacedError when the store is not the one that was opened: what a caller is
    told was published, or is missing, is so in the store that its manifest speaks of.
    """

    async def check_in_place(self) -> None:
        """Look whether the store is still the one that was opened.

        Raises:
            StoreReplacedError: it was moved, unmounted or replaced.
            DiskFaultError: that cannot be told now.
        """
        ...

    async def free_bytes(self) -> int:
        """Room left on the file system of the store, for this process."""
        ...

    async def partial(self, target: str) -> PartialRecord | None:
        """What is left of an earlier, unfinished body, if it can be trusted at all."""
        ...

    async def drop_partial(self, target: str) -> None: ...

    async def stage(
        self, target: str, plan: BodyPlan, resume: PartialRecord | None, record: PartialRecord | None
    ) -> Staged:
        """Begin a body. With `resume`, the partial file's bytes are read again (hashed, walked) and new bytes follow them.

        `record` is written beside the partial file at once when given, so that even a killed process can resume.
        """
        ...

    async def tombstones(self) -> Sequence[Tombstone]:
        """What must not be had again, as it is written beside the manifest.

        Raises:
            StoreError: a line cannot be understood.
        """
        ...

    async def add_tombstones(self, tombstones: Sequence[Tombstone]) -> None:
        """Write more of them down, durably; whoever does so at the same time is not in the way.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; none of them is to be relied on.
        """
        ...

    async def traces(self, target: str, scrub: Scrub) -> Traces | None:
        """What a scrub would take out of a stored body; None if nothing, or if there is no such file.

        Raises:
            DiskFaultError: it cannot be read.
        """
        ...

    async def holds_trace(self, target: str, scrub: Scrub) -> bool:
        """Whether a file that need not be sound, such as one in quarantine, holds or may hide what is forgotten."""
        ...

    async def stage_scrubbed(
        self, target: str, plan: BodyPlan, scrub: Scrub
    ) -> tuple[Staged, BodyReport, Traces] | None:
        """Stage what is left of a stored body, to be published in its place; None if nothing has to be taken out.

        Raises:
            DiskFullError, DiskFaultError: the disk refused, or it cannot be taken out; the body is as it was.
        """
        ...

    async def put_documents(
        self, documents: Sequence[tuple[str, bytes]]
    ) -> Sequence[DiskFullError | DiskFaultError | StoreReplacedError | None]:
        """Publish small bodies (target, bytes) durably, all with one sync; for each the error that hit it, or None.

        Where there is an error, nothing lies under the final name that was not there before.
        """
        ...

    async def write_text(self, target: str, text: str) -> None:
        """Publish a small text file durably (day.json, SHA256SUMS), by rename."""
        ...

    async def read_text(self, target: str) -> str | None: ...

    async def remove(self, target: str) -> None:
        """Remove a file, durably; no error if there is none."""
        ...

    async def check(self, target: str, plan: BodyPlan) -> BodyReport | None:
        """Read a stored file again, hash and walk it; None if there is no such file. Mends its member index."""
        ...

    async def members(self, target: str) -> Sequence[Member] | None:
        """The member index of a stored zip; made anew from the zip if it is missing or damaged. None without the zip."""
        ...

    async def look_into(
        self, targets: Sequence[str], look: Callable[[int, StoredBody], T]
    ) -> Sequence[T | FilingdError]:
        """Let a function look at stored files, one after the other on a side thread: it is given the place in the list and
        the file, which is opened when it is first read. For each what it returned, or the error that hit it.
        """
        ...

    async def size_bytes(self, target: str) -> int | None:
        """The size of a stored file, None if there is none."""
        ...

    async def sizes_bytes(self, targets: Sequence[str]) -> Sequence[int | None]:
        """The same of many files, in one go."""
        ...

    async def set_aside(self, target: str, record: QuarantineRecord) -> str | None:
        """Move a damaged stored file to `quarantine/`; None if there was none."""
        ...

    async def files(self, prefix: str) -> Sequence[str]:
        """All published files below a folder, relative to the store, sorted; no partials, indexes or hidden files."""
        ...

    async def staged(self) -> Sequence[str]:
        """The targets that have staging files."""
        ...

    async def sweep(self, keep: frozenset[str]) -> Sequence[str]:
        """Remove staging files whose target is not in `keep`; returns what was removed."""
        ...

    async def close(self) -> None: ...


class Manifest(Protocol):
    """The memory of filingd. A call that changes something returns when the change is durable.

    Calls that run at the same time share one transaction (group commit).
    """

    async def lease(self, lane: str, now: float, limit: int) -> Sequence[Item]:
        """Take up to `limit` items of the lane that are due at `now`, by priority then due time.

        They are ACTIVE or RECHECKING from then on.
        """
        ...

    async def record(self, changes: Sequence[Change]) -> None:
        """Write transitions; a `version` becomes the item's current one."""
        ...

    async def next_due_at(self, lane: str) -> float | None:
        """When the lane's next scheduled item is due; None if nothing is scheduled."""
        ...

    async def items(self, keys: Iterable[str]) -> Mapping[str, Item]: ...
    async def group_items(self, group: str) -> Sequence[Item]: ...
    async def leased_items(self) -> Sequence[Item]:
        """Items that are ACTIVE or RECHECKING: after a crash, those whose attempt was cut."""
        ...

    async def page(self, after: str, limit: int, states: frozenset[State] | None = None) -> Sequence[Item]:
        """Items in key order, after a key; for sweeps over everything."""
        ...

    async def current_versions(self, keys: Iterable[str]) -> Mapping[str, Version]: ...
    async def versions(self, key: str) -> Sequence[Version]: ...
    async def note_verified(self, key: str, at: float) -> None: ...

    async def groups(self, prefix: str = "") -> Sequence[Group]:
        """Groups whose key starts with the prefix, in key order."""
        ...

    async def save_groups(self, groups: Sequence[Group]) -> None: ...
    async def counts(self) -> Mapping[State, int]:
        """How many items are in each state; kept, not counted."""
        ...

    async def scheduled_counts(self) -> Mapping[str, int]:
        """How many items are scheduled on each lane."""
        ...

    async def lane_states(self) -> Mapping[str, LaneState]: ...
    async def save_lane(self, state: LaneState) -> None: ...
    async def feed(self, after: int, limit: int) -> Sequence[FeedEvent]:
        """What was stored, replaced, lost, sealed, reopened or forgotten since an event: in order, without a gap.

        An event becomes durable together with what it tells of.
        """
        ...

    async def feed_head(self) -> int:
        """The number of the last event, 0 if there is none."""
        ...

    async def retell(self, after: int) -> None:
        """Begin the feed anew above a number, and tell all that is stored, sealed and forgotten after it.

        For a manifest that was put back from a copy: the numbers it would use next have been told already.
        """
        ...

    async def cursors(self) -> Mapping[str, int]:
        """How far those who follow the feed have come, by name."""
        ...

    async def save_cursor(self, name: str, seq: int) -> None:
        """Remember how far one of them has come."""
        ...

    async def tombstones(self) -> Sequence[Tombstone]:
        """What must not be had again, by subject."""
        ...

    async def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """Remember what must not be had again. What is buried already stays as it was told first, and is to be erased again."""
        ...

    async def note_erased(self, subjects: Sequence[str], at: float, erased: Mapping[str, Any]) -> None:
        """Every trace of these is gone: remember when, and what was done, and tell it in the feed; once each."""
        ...

    async def drop_versions(self, key: str) -> None:
        """Remove the rows of all bodies of an item that holds none any more."""
        ...

    async def drop_older(self, key: str, number: int) -> None:
        """Remove the rows of all bodies of an item below this number, and tell it in the feed if there were any."""
        ...

    async def changed_elsewhere(self) -> bool:
        """Whether another process wrote to the manifest since the last call."""
        ...

    async def close(self) -> None: ...


class Ledger(Protocol):
    """What was spent of each account, by month. Only one process writes it."""

    async def spendings(self) -> Sequence[Spending]:
        """All months of all accounts, by account and month."""
        ...

    async def save(self, spendings: Sequence[Spending]) -> None:
        """Put these in the place of what is kept of the same accounts and months; returns when that is durable.

        Calls that run at the same time share one transaction, and are carried out in their order.
        """
        ...

    async def close(self) -> None: ...


class Commands(Protocol):
    """Runs an operator's commands, aside."""

    async def run(self, command: Sequence[str], text: bytes, timeout_s: float) -> str | None:
        """Run a command with `text` on its standard input; None if it succeeded, otherwise what happened, in words.

        Cancelled, it ends the command and everything that it began.
        """
        ...


class Keys(Protocol):
    """The keys of all lanes, where they lie. Their values are for the HTTP client alone."""

    async def are_outdated(self) -> bool:
        """Whether a file of a key was exchanged or touched since the last reading."""
        ...

    async def read(self) -> KeyReading:
        """Read all of them again; one that cannot be read stays as it was."""
        ...


class Watchlists(Protocol):
    """The operator's lists of companies."""

    async def look(self) -> Reading | None:
        """What they say, if anything about them changed since the last look; None if not. Never raises: what cannot be read
        is a finding, and counts as it was read last; what was never read makes the reading incomplete."""
        ...


class Catalogue(Protocol):
    """Which filings there are, of whom, and where each document lies. Derived: made anew from the stored items at any time.

    A call that changes something returns when questions see it. After a power cut the last changes may be missing, whole
    items of them: `sources` shows which.
    """

    async def contribute(self, contribution: Contribution) -> Contributed:
        """Take what a version of an item says, in place of what an older version said.

        A version that is not newer than the one that is there changes nothing.
        """
        ...

    async def drop(self, keys: Iterable[str]) -> None:
        """Take out what these items contributed; keys of others are passed over."""
        ...

    async def forget(self, forgotten: Forgotten) -> Sequence[str]:
        """Take these filings, and all of these enterprises, out and keep them out as long as this catalogue is open.

        Returns the references that are forgotten now. Whoever opens the catalogue says what was forgotten before.
        """
        ...

    async def filings_of(self, enterprise: str) -> Sequence[Entry]:
        """The filings of an enterprise, by its number in plain form, newest deposit first.

        With those whose own record gives no number, if another record of the same filing gives this one.
        """
        ...

    async def entry(self, reference: str) -> Entry | None:
        """All records and documents of one filing; None if neither is known."""
        ...

    async def names_like(self, fragment: str, limit: int) -> Sequence[NameHit]:
        """Names that hold the fragment, whatever the case and accents, sorted; any `limit` of them if there are more.

        Raises:
            NameFragmentError: the fragment has fewer than three letters.
        """
        ...

    async def undocumented(self, family: str, published_on: str, kind: str) -> Sequence[Listing]:
        """Records that the items of a day list and of which the family holds no document of this kind.

        Which documents count is said by `core.catalogue.announces`.
        """
        ...

    async def unlisted(self, family: str, published_on: str) -> Sequence[Document]:
        """Documents in the items of a day that no record of the family speaks of."""
        ...

    async def repeated(self, family: str, published_on: str) -> Sequence[Repeated]:
        """Records of a day that the day, or it and other days of the family, list more than once.

        The same improvement of another date is another record.
        """
        ...

    async def parked(self, limit: int) -> Sequence[Listing]:
        """Records without an enterprise number whose filing has no other record that gives one."""
        ...

    async def sources(self, prefix: str = "") -> Mapping[str, int]:
        """The items that contributed, by key, and which version of each."""
        ...

    async def versions_of(self, keys: Iterable[str]) -> Mapping[str, int]:
        """Which version of each of these items contributed, of those that did."""
        ...

    async def followed(self) -> int | None:
        """The last event of the manifest's feed that is dealt with in here; None before all that is stored was read once."""
        ...

    async def note_followed(self, seq: int | None) -> None:
        """Remember that. What was contributed before is there as long as this is remembered."""
        ...

    async def check_in_place(self) -> None:
        """Look whether it is still the one that was opened.

        Raises:
            CatalogueDamagedError: it was removed or exchanged, or a reader found it damaged.
        """
        ...

    async def totals(self) -> Totals: ...

    async def close(self) -> None: ...


class Companies(Protocol):
    """What a registry says of single companies that an operator follows. Pure, but for `follow`.

    Who is followed stands in the operator's lists, and follows from *leads*: stored bodies that name further numbers, such as
    the results of a saved search.

    Numbers are in the registry's plain form. Nothing of this is expected by a plan: who follows companies compares the
    watchlists with the manifest when they change, and looks at a company's documents when its filings do.
    """

    @property
    def prefix(self) -> str:
        """What the keys of all items about a company begin with; behind it stand its number, a slash and a leaf."""
        ...

    def plain_number(self, text: str) -> str:
        """A number, however it is written, in its plain form.

        Raises:
            CompanyNumberError: it is none.
        """
        ...

    def remark_on(self, text: str) -> str | None:
        """What is worth knowing of a text that is a number: that it had to be repaired, or looks mistyped. None: nothing is."""
        ...

    def number_of(self, key: str) -> str:
        """The number in the key of an item about a company."""
        ...

    def follow(
        self,
        watched: Mapping[str, Any],
        searches: Mapping[str, SavedSearch] | None = None,
        *,
        is_whole: bool = True,
    ) -> None:
        """From now on these companies are followed, on these terms (the registry's own), and no others; and these saved searches,
        by name. Without `searches` they stay as they are. Not `is_whole`: there may be more, whom leads will name."""
        ...

    def search_of(self, table: Mapping[str, Any]) -> Search:
        """A saved search, from its TOML.

        Raises:
            SearchError: it is none, or this registry knows no searches; says which field, its value and the remedy.
        """
        ...

    @property
    def has_filings(self) -> bool:
        """Whether the catalogue knows filings of them, so that documents may follow."""
        ...

    def possible_keys(self, number: str) -> Sequence[str]:
        """The keys of all items that could ever exist about a number."""
        ...

    @property
    def knows_searches(self) -> bool:
        """Whether searches can be saved."""
        ...

    def search_gaps(self, groups: Sequence[Group]) -> Sequence[str]:
        """What is known to be found by no part of a search that was split, in words, by the groups of its cells."""
        ...

    def search_prefix(self, name: str) -> str | None:
        """What the keys of the items of a saved search begin with; None if it is not followed."""
        ...

    @property
    def lead_prefixes(self) -> Sequence[str]:
        """What the keys of items begin with whose stored bodies may name further numbers."""
        ...

    def named(self, facts: Mapping[str, Any]) -> Sequence[str]:
        """The numbers that a stored body names, by the facts of its version."""
        ...

    def spoken_for(self, facts: Mapping[str, Any]) -> Sequence[str]:
        """The keys of the records that speak for a stored body where it does not say itself whom it is about, or whether that
        address may be used for unsolicited post (`non_mailing`); by the facts of its version. None speaks for most."""
        ...

    def lead_terms(self, key: str, watched: Mapping[str, Any]) -> Terms | None:
        """On which terms the numbers are followed that the body of an item names; None if they are not, because nobody in
        `watched`, and no search, wants it."""
        ...

    def keys(self, number: str) -> Sequence[str]:
        """The items that should exist about a company; none if it is not followed, or what it takes is not subscribed."""
        ...

    def plan(
        self, numbers: Sequence[str], known: Mapping[str, Item], now: float, ahead: int = 0
    ) -> Sequence[Change]:
        """What has to change so that the items about these companies exist and are asked for again in time, and all others
        of those `known` are left alone. `ahead` is how many new items a pass has planned already: all are spread over time.
        """
        ...

    def document_keys(self, entries: Sequence[Entry]) -> Sequence[str]:
        """The keys under which documents of these filings could be wanted one by one."""
        ...

    def follow_ups(
        self,
        number: str,
        entries: Sequence[Entry],
        known: Mapping[str, Item],
        open_groups: Collection[str],
        now: float,
    ) -> Sequence[Change]:
        """What has to change so that the documents of a company that its watchlists want, and that nothing else will bring, are
        asked for one by one. `entries` are all filings of the company that the catalogue knows, `known` the items that
        exist of `document_keys`, `open_groups` the groups that are not sealed. Asked twice, it changes nothing more.
        """
        ...


class Registry(Protocol):
    """What a registry is: pure functions over data. No I/O, no clock, no event loop."""

    @property
    def roots(self) -> Sequence[str]:
        """What its keys begin with, before the first slash: the folders in the store below which its bodies lie."""
        ...

    @property
    def companies(self) -> Sequence[Companies]:
        """What it says of companies that are followed: one for each kind of watchlists; none if it knows no companies."""
        ...

    def lanes(self) -> Sequence[LaneSpec]: ...

    def gates(self) -> Sequence[GateSpec]:
        """The gates that lanes pass."""
        ...

    def accounts(self) -> Sequence[AccountSpec]:
        """The accounts that lanes spend of."""
        ...

    def expected(self, now: float) -> Sequence[str]:
        """The keys of all items that should exist now, oldest first."""
        ...

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        """What has to change so that every expected item exists, waits on the right lane and has the right priority."""
        ...

    def request(self, item: Item, now: float) -> Attempt | Deferral:
        """How to ask for the item now; the route is chosen here, from its age and from what is subscribed."""
        ...

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        """What an answer means. `siblings` are the other items of the group, by leaf."""
        ...

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,
        supplements: Mapping[str, Holding] | None = None,
    ) -> Judgement | None:
        """Whether a group is complete; `holdings` by leaf, with member indexes where they exist. None: it is no unit
        that is ever sealed.

        `supplements` are, by key, those items that exist of the `Judgement.supplements` of a judgement without them, as holdings
        without members.
        `twin` is another group that is sealed with the same `core.seal.FINGERPRINT`: then this one cannot be.
        """
        ...

    def resolving(self, reference: str, now: float) -> Item | None:
        """The item that says whose a filing is, whose records do not say it; None if it cannot be asked for."""
        ...

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None:
        """What a stored body says of filings; None if items of this kind say nothing.

        Raises:
            FilingdError: the body is not what it should be.
        """
        ...

    def target(self, key: str) -> str:
        """Where the item's body lies, relative to the store."""
        ...

    def key_of(self, target: str) -> str | None:
        """The item whose body lies there, if any: the inverse of `target`."""
        ...

    def body_plan(self, key: str) -> BodyPlan:
        """What a stored body of this item has to be."""
        ...

    def subject_of(self, text: str) -> tuple[str, bool] | None:
        """What an operator means by a filing or an enterprise that is to be forgotten: its reference or number in plain form,
        and whether it is an enterprise. None if it can be neither."""
        ...

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:
        """Whether an item as a whole is of what is forgotten: it is never asked for, and its body goes."""
        ...

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:
        """What of a body of an item is forgotten; None if none of its bodies can hold anything of several filings.

        Of an item that goes as a whole it tells what else is found to be forgotten.
        """
        ...

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        """When an item that is STORED or EMPTY should next be looked at again; None: never."""
        ...
