"""The nouns of filingd, as values. Instants are unix seconds (UTC, float) and end in `_at`; sizes are in bytes.

An *item* is one thing the operator wants, under a stable key such as `nbb/authentic/2026-11-20/json`. Everything
before the last slash is its *group* (`nbb/authentic/2026-11-20`), the unit that is sealed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from filingd.core.redaction import REDACTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class State(enum.IntEnum):
    """Where an item stands. The numbers are stored in the manifest: never renumber."""

    DUE = 0  # wanted, waiting for its turn
    ACTIVE = 1  # leased: an attempt is under way and there is nothing stored yet
    STORED = 2  # a verified body lies under its final name
    RECHECKING = 3  # leased, and a verified body lies under its final name
    EMPTY = 4  # confirmed: the registry has nothing for it
    ABSENT = 5  # it will never be served, as far as anybody can tell
    QUARANTINED = 6  # used up its tries; left alone for a while
    REASKING = 7  # leased, and proven that the registry had nothing for it


LEASED_STATES = frozenset({State.ACTIVE, State.RECHECKING, State.REASKING})
HOLDING_STATES = frozenset({State.STORED, State.RECHECKING})
EMPTY_STATES = frozenset({State.EMPTY, State.REASKING})
FINISHED_STATES = HOLDING_STATES | EMPTY_STATES | {State.ABSENT}


class Item(msgspec.Struct, frozen=True):
    """One row of the manifest: an item and all that is needed to decide about it.

    `due_at` is when it wants its next attempt; None means it is not scheduled (finished for good, or waiting for
    an operator). `priority` orders items within a lane, lowest first. `attempts` counts failures since the last
    success. `nothing_count` and `nothing_at` are the evidence for an empty item: how often the registry said that
    there is nothing, and since when, in an unbroken series. `size_bytes`, `sha256`, `stored_at` and `version` describe
    the body now under the final name; `version` numbers them from 1, is 0 before the first, and stays
    as it is when a body that was lost or damaged here is had again.
    """

    key: str
    lane: str
    state: State = State.DUE
    priority: int = 0
    due_at: float | None = 0.0
    attempts: int = 0
    reason: str | None = None
    nothing_count: int = 0
    nothing_at: float | None = None
    size_bytes: int | None = None
    sha256: bytes | None = None
    stored_at: float | None = None
    version: int = 0

    @property
    def group(self) -> str:
        """The key of the group this item belongs to."""
        return group_of(self.key)


def group_of(key: str) -> str:
    """Everything before the last slash of an item key."""
    return key.rpartition("/")[0]


def leaf_of(key: str) -> str:
    """Everything after the last slash of an item key: the dataset or document kind."""
    return key.rpartition("/")[2]


class Version(msgspec.Struct, frozen=True):
    """The evidence of one stored body: what it is and how it came.

    `path` is relative to the store: the final name under which the body was published; of an older version that was
    damaged on disk, the place in quarantine/ where what is left of it lies. `content_digest` is a digest over the
    members of a zip (name, size, CRC), so that a zip that was merely packed again can be told from one whose content
    changed. `facts` is what the registry's inspector found while the body passed (JSON-serialisable).
    """

    key: str
    number: int
    path: str
    size_bytes: int
    sha256: bytes
    stored_at: float
    route: str
    request_id: str
    etag: str | None = None
    content_digest: bytes | None = None
    member_count: int | None = None
    verified_at: float | None = None
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Change(msgspec.Struct, frozen=True):
    """One transition to be recorded: the state the item had, and the whole item as it is from now on.

    `before` is None for an item that is new. `version` is the body that became current with this change.
    """

    before: State | None
    item: Item
    version: Version | None = None


class Group(msgspec.Struct, frozen=True):
    """A day (or other unit) that is sealed as a whole. `reasons` says why it is open; empty when sealed."""

    key: str
    opened_at: float
    sealed_at: float | None = None
    checked_at: float | None = None
    reasons: tuple[str, ...] = ()
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


class LaneSpec(msgspec.Struct, frozen=True):
    """What the configuration promises for one lane: its rate, burst, concurrency and keys (names, never values).

    A lane with a `gate` passes it with every call, together with all others that do. One with an `account` spends of it:
    one call, and `price_microeur` (millionths of a euro) for it.
    """

    name: str
    calls_per_s: float
    burst: int = 1
    concurrency: int = 1
    key_names: tuple[str, ...] = ()
    gate: str | None = None
    account: str | None = None
    price_microeur: int = 0


class GateSpec(msgspec.Struct, frozen=True):
    """What several lanes promise together: the rate, burst and concurrency of all of them."""

    name: str
    calls_per_s: float
    burst: int = 1
    concurrency: int = 1


class AccountSpec(msgspec.Struct, frozen=True):
    """What may be spent in a calendar month of a time zone (an IANA name): calls and money, None for no limit.

    `is_spread`: calls that cost money are spaced so that what is left lasts until the month ends.
    """

    name: str
    zone: str
    calls_per_month: int | None = None
    budget_per_month_microeur: int | None = None
    is_spread: bool = False


class SecretRef(msgspec.Struct, frozen=True):
    """A header whose value only the HTTP client may look up."""

    header: str
    name: str


class ZipLimits(msgspec.Struct, frozen=True):
    """Bounds a zip must keep (NBB reference, section 8)."""

    max_entries: int = 200_000
    max_member_bytes: int = 512 * 1024 * 1024
    max_ratio: float = 200.0  # inflated over deflated, over the whole zip
    ratio_floor_bytes: int = 64 * 1024 * 1024  # a zip that inflates to less is never refused for its ratio


class MemberInspector(Protocol):
    """A registry's look at the members of a zip while they pass. Runs off the event loop; pure, no I/O."""

    def wants(self, name: str) -> bool:
        """Whether `member` should be called with the inflated bytes of this member."""
        ...

    def member(self, name: str, data: bytes) -> str | None:
        """Take one wanted member; the returned note is kept in the member index.

        Raises:
            core.errors.FilingdError: the member is not what it should be; the body is refused.
        """
        ...

    def facts(self) -> Mapping[str, Any]:
        """What was found over all members, JSON-serialisable."""
        ...


class BodyPlan(msgspec.Struct, frozen=True):
    """What a body has to be before it may have a final name.

    `accept` lists the kinds (see `BodyReport.kind`) that may be published. `max_bytes` bounds the transfer.
    `content_digest` gives, of a body that is held whole, a digest by which two bodies with the same content are known
    although their bytes differ, or None. `read` gives what such a body says, to be kept with its version as facts
    (JSON-serialisable); it raises FilingdError for one that is not what it should be, which is refused.
    """

    max_bytes: int
    accept: frozenset[str] = frozenset({"zip"})
    zip_limits: ZipLimits = ZipLimits()
    inspector: Callable[[], MemberInspector] | None = None
    content_digest: Callable[[bytes], bytes | None] | None = None
    read: Callable[[bytes], Mapping[str, Any]] | None = None


class Request(msgspec.Struct, frozen=True):
    """One HTTP exchange to be made. The key itself is not in here; only the client resolves `secret`.

    `is_document` says that a small body is expected, which a client may fetch in a leaner way.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    request_id: str
    secret: SecretRef | None = None
    is_document: bool = False


BODY_STATUSES = frozenset({200, 206})  # what comes with any other is no body of an item


class ResponseHead(msgspec.Struct, frozen=True):
    """Status line and headers of a response; header names are lower case."""

    status: int
    headers: Mapping[str, str]

    def header(self, name: str) -> str | None:
        """The value of a header, by any casing, or None."""
        return self.headers.get(name.lower())

    @property
    def content_length(self) -> int | None:
        """The declared length of the body in bytes, if it is declared and sane."""
        text = self.header("content-length")
        return int(text) if text is not None and text.isascii() and text.isdigit() else None

    @property
    def is_gzipped(self) -> bool:
        """Whether the body is packed; its declared length is that of the packed bytes then."""
        return (self.header("content-encoding") or "").strip().lower() in ("gzip", "x-gzip")

    @property
    def strong_etag(self) -> str | None:
        """The ETag if it is a strong one, as it was sent: one out of which a key was taken validates nothing."""
        etag = self.header("etag")
        if etag is None or REDACTED in etag:
            return None
        return etag if etag.startswith('"') and etag.endswith('"') and len(etag) > 1 else None


class Member(msgspec.Struct, frozen=True):
    """One member of a stored zip, as the walk saw it. `offset` is where its data begins, not its header."""

    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    crc32: int
    method: int  # 0 stored, 8 deflated
    note: str | None = None


class StoredBody(Protocol):
    """One stored file, to be read on a side thread."""

    @property
    def members(self) -> Sequence[Member]:
        """What is in a zip, in the order in which it lies there; nothing if it is no zip, or is not there."""
        ...

    def read(self, member: Member | None = None) -> bytes:
        """A member, or the whole file.

        Raises:
            DiskFaultError: the disk refused.
            FilingdError: it is not what was stored.
        """
        ...


class BodyReport(msgspec.Struct, frozen=True):
    """What is known of a body after its last byte: counted, hashed, walked.

    `kind` is what the bytes are, by magic, never by header: `zip`, `empty` (no byte), `empty_zip` (no file in
    it), `pdf`, `json`, `xml`, `html`, `other`. `problem` is None when the body is sound, otherwise one of
    `BODY_PROBLEMS`; `problem_detail` says where. `head` is the first 2 KiB.
    """

    kind: str
    size_bytes: int
    sha256: bytes
    head: bytes = b""
    problem: str | None = None
    problem_detail: str = ""
    member_count: int = 0
    inflated_bytes: int = 0
    content_digest: bytes | None = None
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


BODY_PROBLEMS: Mapping[str, str] = {
    "short_body": "fewer bytes arrived than were declared",
    "long_body": "more bytes arrived than were declared",
    "too_large": "more bytes than the configured bound",
    "wrong_kind": "the bytes are not what was asked for, whatever the headers say",
    "zip_no_end": "the zip has no end-of-central-directory record where it should",
    "zip_bad_header": "a local header or the central directory cannot be read",
    "zip_bad_data": "a member does not inflate",
    "zip_bad_crc": "a member's bytes do not have the CRC the zip gives for them",
    "zip_bad_method": "a member is compressed by a method other than stored or deflate",
    "zip_bad_name": "a member's name is absolute, climbs out, or holds a backslash, drive letter or NUL",
    "zip_duplicate": "two members have the same base name",
    "zip_encrypted": "a member is encrypted",
    "zip_link": "a member is a link or a device",
    "zip_too_many": "more members than the configured bound",
    "zip_member_too_large": "a member inflates to more than the configured bound",
    "zip_ratio": "the zip inflates to more than the configured ratio",
    "zip_directory_mismatch": "the central directory does not list what the zip holds",
    "zip_trailing": "bytes lie after the end of the zip",
    "inspect_failed": "the members are not what the registry says they are",
}

TRANSFER_REASONS: Mapping[str, str] = {
    "connect_failed": "no connection could be made",
    "connection_lost": "the connection broke before the end of the body",
    "head_timeout": "no response head within the idle timeout",
    "stalled": "no byte within the idle timeout",
    "too_slow": "the throughput stayed under the minimum",
    "too_large": "the body grew past the configured bound",
    "bad_response": "what arrived is not HTTP",
    "redirected": "the server answered with a redirect, which is refused: the key goes to no other host",
    "tls_failed": "the server's certificate was not accepted",
    "key_missing": "the key cannot be read",
}


class FlowLimits(msgspec.Struct, frozen=True):
    """Bounds on how a body flows. There is no total timeout: a long download may take its time if it moves."""

    connect_timeout_s: float = 30.0
    idle_timeout_s: float = 180.0
    min_bytes_per_s: float = 1024.0
    min_rate_window_s: float = 120.0


class PartialRecord(msgspec.Struct, frozen=True):
    """What must be known of an unfinished body to go on with it later (NBB reference, section 4.2)."""

    route: str
    received_bytes: int
    total_bytes: int | None
    etag: str | None  # strong ones only
    started_at: float
    request_id: str


class QuarantineRecord(msgspec.Struct, frozen=True):
    """Why a body was refused, kept beside it."""

    key: str
    route: str
    request_id: str
    refused_at: float
    problem: str
    detail: str
    status: int
    headers: Mapping[str, str]


# ---------------------------------------------------------------- what an attempt led to


class Answer(msgspec.Struct, frozen=True):
    """All that one attempt brought: a head and either a verified body, or the start of an error body, or a break.

    `body` is set when a 2xx body was streamed and examined; `error_body` holds at most 8 KiB of any other body;
    `transfer_reason` is one of `TRANSFER_REASONS` when the exchange broke off (`head` may then be None).
    """

    head: ResponseHead | None = None
    body: BodyReport | None = None
    error_body: bytes = b""
    transfer_reason: str | None = None
    detail: str = ""


class Stored(msgspec.Struct, frozen=True):
    """The body is good: publish it. `recheck_at` is when to fetch it again and compare, if ever.

    `facts` are kept with the version, beside those of the body (JSON-serialisable). `drops_older`: what was stored of the
    item before may not be kept.
    """

    recheck_at: float | None = None
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    drops_older: bool = False


class Nothing(msgspec.Struct, frozen=True):
    """The registry said that there is nothing. It counts towards the proof of emptiness; `confirmed` completes it.

    `drops_held`, with `confirmed`: what was stored of the item does not stand any more, and all of it is removed. Without it,
    a body that is held stays.
    """

    reason: str
    again_at: float | None
    confirmed: bool = False
    alarm: bool = False
    drops_held: bool = False


class NotYet(msgspec.Struct, frozen=True):
    """It cannot be had now and that is nobody's fault; costs no attempt."""

    reason: str
    again_at: float


class Absent(msgspec.Struct, frozen=True):
    """It will never be served, as far as can be known."""

    reason: str
    recheck_at: float | None = None
    alarm: bool = False
    detail: str = ""


class Failed(msgspec.Struct, frozen=True):
    """The attempt failed. `again_at` is the next try; `gave_up` says the tries are used up for now, which is told as an alarm;
    `alarm` has it told at once."""

    reason: str
    again_at: float
    detail: str = ""
    quarantine: bool = False
    gave_up: bool = False
    strikes_lane: bool = (
        True  # whether it speaks against the whole lane (5xx, no connection), not this item alone
    )
    alarm: bool = False


class Throttled(msgspec.Struct, frozen=True):
    """The registry asked for patience: the lane slows down; costs no attempt.

    `is_quota`: the calls of a period are used up, which is no matter of pace; the lane waits until there are new ones.
    """

    reason: str
    retry_after_s: float | None
    is_quota: bool = False


class Blocked(msgspec.Struct, frozen=True):
    """The product is closed to us: the lane parks and an alarm is raised. `key_at_fault`: try the other key once.

    `is_wide`: all lanes that pass the same gate are closed with it. `doubts`: keys of items of which too much was believed
    before it showed that the product is closed: they are asked for again when it is not.
    """

    reason: str
    detail: str = ""
    key_at_fault: bool = False
    is_wide: bool = False
    doubts: tuple[str, ...] = ()


Verdict = Stored | Nothing | NotYet | Absent | Failed | Throttled | Blocked


class Attempt(msgspec.Struct, frozen=True):
    """How one item is asked for now: on which lane, by which route, what the answer has to be."""

    lane: str
    route: str
    url: str
    headers: tuple[tuple[str, str], ...]
    secret_header: str | None
    body: BodyPlan
    request_id_header: str | None = (
        None  # the header that carries the attempt's own id, if the registry wants one
    )
    is_document: bool = False  # small enough to be held whole and written in a group
    shares_seal: bool = True  # its group is judged as a whole, with what else is in it


class Deferral(msgspec.Struct, frozen=True):
    """No attempt can be made now. `lane` is where the item should wait; `again_at` None means it is absent for now."""

    reason: str
    lane: str
    again_at: float | None


class Holding(msgspec.Struct, frozen=True):
    """What the manifest and the disk hold of one item of a group, for the judgement of the group."""

    item: Item
    version: Version | None = None
    members: Sequence[Member] | None = None


class Judgement(msgspec.Struct, frozen=True):
    """Whether a group is complete. `reasons` is empty when it is. `refetch` names items to fetch again, and when.

    `supplements` are the keys of items outside the group that may hold what is missing in it: whoever asks for a
    judgement asks again with those that exist. `wants` are items that should exist because of it and are not settled as
    far as the judgement was told.
    """

    reasons: tuple[str, ...]
    facts: Mapping[str, Any]
    refetch: tuple[tuple[str, float], ...] = ()
    supplements: tuple[str, ...] = ()
    wants: tuple[Item, ...] = ()
