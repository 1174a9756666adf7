"""The status log as data: every event, its level, its facts and when it is written.

Names are `subject.past_participle` (`day.open` and `heartbeat` are states, not happenings). A line is a JSON
object: `ts`, `level`, `event`, then the facts. Names and facts are a promise to those who tail and grep: they
may be added, never renamed. `line_schema()` is the JSON Schema of a line; docs/status-log.md is made from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from filingd.core import alarms

if TYPE_CHECKING:
    from collections.abc import Mapping

DEBUG, INFO, WARNING, ERROR = "debug", "info", "warning", "error"
LEVELS = (DEBUG, INFO, WARNING, ERROR)
RESERVED = ("ts", "level", "event")  # what every line has besides its facts

_JSON_TYPES: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "strings": {"type": "array", "items": {"type": "string"}},
    "object": {"type": "object"},
    "instant": {"type": "number"},
}


class Fact(msgspec.Struct, frozen=True):
    """One key of a line. `kind` is a key of `_JSON_TYPES`; an instant is unix seconds, UTC.

    An optional fact may be left out or be null.
    """

    name: str
    kind: str
    meaning: str
    is_optional: bool = False


class Spec(msgspec.Struct, frozen=True):
    """One event. `levels` are those it may be written at, the usual one first."""

    name: str
    levels: tuple[str, ...]
    when: str
    facts: tuple[Fact, ...]


CATALOGUE: dict[str, Spec] = {}


def _event(name: str, levels: str | tuple[str, ...], when: str, *facts: Fact) -> str:
    CATALOGUE[name] = Spec(name, (levels,) if isinstance(levels, str) else levels, when, facts)
    return name


def _maybe(fact: Fact) -> Fact:
    return replace(fact, is_optional=True)


# ------------------------------------------------------------ facts that many events share

KEY = Fact("key", "string", "the item, such as nbb/authentic/2026-11-20/json")
GROUP = Fact("group", "string", "the day, such as nbb/authentic/2026-11-20")
LANE = Fact("lane", "string", "the lane, such as nbb/extract: the queue of one product")
ROUTE = Fact("route", "string", "how it was asked for, such as extract/json; `rescued` when found on disk")
REQUEST_ID = Fact(
    "request_id", "string", "the X-Request-Id of the attempt: quote it to the registry's support"
)
REASON = Fact("reason", "string", "a stable code that says why")
DETAIL = Fact("detail", "string", "more about it, for people")
STATE = Fact("state", "string", "the item's state from now on, in lower case")
DUE_AT = Fact("due_at", "instant", "when it is tried next; null: not scheduled")
PATH = Fact("path", "string", "where the file lies, relative to the store")
SIZE_BYTES = Fact("size_bytes", "integer", "size of the body")
SHA256 = Fact("sha256", "string", "digest of the body, 64 hexadecimal digits")
MEMBERS = Fact("members", "integer", "files in the zip")
VERSION = Fact(
    "version",
    "integer",
    "which body of this item it is, from 1; one that was lost or damaged here and had again keeps its number",
)
DURATION_S = Fact("duration_s", "number", "seconds from the first byte sent to now")
FACTS = Fact("facts", "object", "what the registry's inspection found")
STATUS = Fact("status", "integer", "HTTP status of the answer")
REASONS = Fact("reasons", "strings", "why, one sentence each")
UNTIL_AT = Fact("until_at", "instant", "until when")
FREE_BYTES = Fact("free_bytes", "integer", "room on the disk of the store")
KEEP_FREE_BYTES = Fact("keep_free_bytes", "integer", "the configured room to keep")

_SETTLED: tuple[Fact, ...] = (
    KEY,
    STATE,
    *map(_maybe, (DUE_AT, REASON, DETAIL, ROUTE, REQUEST_ID, STATUS, DURATION_S, LANE)),
)
_ARRIVED: tuple[Fact, ...] = (
    *(KEY, ROUTE, REQUEST_ID, PATH, SIZE_BYTES, SHA256, VERSION, DURATION_S),
    *map(_maybe, (MEMBERS, FACTS, LANE, STATUS)),
    _maybe(Fact("resumed_bytes", "integer", "bytes that were there from an earlier, interrupted attempt")),
    _maybe(Fact("bytes_per_s", "number", "throughput of this attempt")),
)
_RESCUED = (
    Fact("found", "integer", "verified files on disk that no row knew; recorded now"),
    Fact("lost", "integer", "rows whose file is gone or damaged; wanted again now"),
    Fact("refused", "integer", "files that are not what they should be; moved to quarantine/"),
)

# ------------------------------------------------------------ the daemon

DAEMON_STARTED = _event(
    "daemon.started", INFO, "The daemon begins, before anything else is done.",
    Fact("version", "string", "version of filingd"),
    Fact("pid", "integer", "process id"),
    _maybe(Fact("store", "string", "folder of the store")),
    _maybe(Fact("config", "string", "the configuration file")),
    _maybe(Fact("python", "string", "version of Python")),
    _maybe(Fact("until_idle", "boolean", "whether it ends when nothing is due")),
)  # fmt: skip
DAEMON_STOPPING = _event(
    "daemon.stopping", INFO, "It was told to stop: no new work, running transfers get the grace period.",
    REASON,
    _maybe(Fact("active", "integer", "transfers that are running")),
    _maybe(Fact("grace_period_s", "number", "how long they may take")),
)  # fmt: skip
DAEMON_STOPPED = _event(
    "daemon.stopped", INFO, "The last line of a clean end.",
    _maybe(REASON),
    _maybe(Fact("uptime_s", "number", "seconds since it started")),
    _maybe(Fact("interrupted", "integer", "transfers that were cut; they go on next time")),
)  # fmt: skip
DAEMON_FAILED = _event(
    "daemon.failed", ERROR, "The daemon ends because a part of it died.",
    _maybe(Fact("part", "string", "which part")),
    _maybe(Fact("error", "string", "class of the error")),
    DETAIL,
)  # fmt: skip
CLOCK_REHEARSED = _event(
    "clock.rehearsed", WARNING, "The program runs on another clock than the real one (--rehearse-at).",
    Fact("rehearsed_at", "instant", "the time it is taken to be"),
    _maybe(Fact("real_at", "instant", "the real time")),
)  # fmt: skip
DAEMON_RELOADED = _event(
    "daemon.reloaded", INFO,
    "It was asked to look again (SIGHUP): keys and what else lies in files beside the configuration are read anew, lanes that "
    "were closed to us try at once. The configuration itself is read at the start only.",
)  # fmt: skip
KEYS_READ = _event(
    "keys.read", (INFO, WARNING),
    "The keys were read anew, because a file changed or it was asked for; a warning if one of them could not be read.",
    Fact("changed", "strings", "references to the keys that are other ones now; lanes that waited for them go on at once"),
    Fact("problems", "strings", "what could not be read, why, what to do, and whether the former key stays in use"),
)  # fmt: skip
HEARTBEAT = _event(
    "heartbeat", INFO, "At every heartbeat_interval: how far the mirror is and how each lane does.",
    Fact("coverage", "object", "days by state: sealed, open, and the oldest open one"),
    Fact("lanes", "object", "by lane: open or parked and why, scheduled items, rate, calls"),
    Fact("items", "object", "how many items are in each state"),
    _maybe(Fact("accounts", "object", "by account: this month's calls and money, begun or spent, and what is left of them")),
    _maybe(Fact("uptime_s", "number", "seconds since the daemon started")),
    _maybe(Fact("rehearsed", "boolean", "true when the clock is a rehearsal's")),
    _maybe(Fact("active", "integer", "transfers that are running")),
    _maybe(Fact("received_bytes", "integer", "bytes received since the daemon started")),
    _maybe(Fact("stored", "integer", "bodies stored since the daemon started")),
    _maybe(Fact("attempts", "integer", "calls made since the daemon started")),
    _maybe(Fact("log_dropped", "integer", "debug lines dropped since the daemon started")),
    _maybe(FREE_BYTES),
    _maybe(Fact("rss_bytes", "integer", "memory of the process")),
)  # fmt: skip

LEADS_FOLLOWED = _event(
    "leads.followed", (INFO,),
    "What was stored names other numbers than before, such as the results of a saved search: they are followed from now on.",
    Fact("companies", "integer", "numbers that are followed, each counted once"),
    Fact("added", "integer", "numbers about which something is asked for the first time"),
    Fact("removed", "integer", "numbers that nobody follows any more"),
)  # fmt: skip

WATCHLIST_READ = _event(
    "watchlist.read", (INFO, WARNING),
    "The watchlists were read, at the start or because a list changed; a warning if something in them cannot be used.",
    Fact("companies", "integer", "companies that are followed, each counted once"),
    Fact("lists", "object", "how many each list names, by its name"),
    Fact("added", "integer", "companies about which something is asked that was not asked before"),
    Fact("removed", "integer", "companies about which nothing is asked any more; what is stored of them stays"),
    Fact("problems", "strings", "lines and files that cannot be used, with the remedy; the first twenty"),
    Fact("problem_count", "integer", "how many there are"),
)  # fmt: skip

# ------------------------------------------------------------ planning and rescue

PLAN_MADE = _event(
    "plan.made", INFO, "The expected items were compared with the manifest and something changed.",
    Fact("expected", "integer", "items that should exist"),
    Fact("changed", "integer", "items that were added, moved to another lane or re-prioritised"),
    _maybe(Fact("due", "integer", "items that are due now")),
)  # fmt: skip
PLAN_SKIPPED = _event(
    "plan.skipped",
    DEBUG,
    "An item moved on while the plan was made; the next plan sees it again.",
    KEY,
    DETAIL,
)
RESCUE_FINISHED = _event(
    "rescue.finished", INFO, "What was under way when the last run ended is settled; work begins.",
    Fact("returned", "integer", "items that wait for their turn again"), *_RESCUED,
    Fact("removed", "integer", "staging files that nobody would go on with"),
    _maybe(DURATION_S),
)  # fmt: skip
SWEEP_FINISHED = _event(
    "sweep.finished", INFO, "Every row was compared with its file and every file with its row.", *_RESCUED,
    _maybe(DURATION_S),
)  # fmt: skip
MANIFEST_REBUILT = _event(
    "manifest.rebuilt", INFO, "The manifest was made anew from the files on disk.",
    Fact("items", "integer", "items recorded"),
    _maybe(Fact("days", "integer", "days judged")), _maybe(DURATION_S),
)  # fmt: skip

# ------------------------------------------------------------ items

ITEM_LEASED = _event(
    "item.leased", DEBUG, "An attempt begins.",
    KEY, _maybe(LANE), _maybe(ROUTE), _maybe(REQUEST_ID),
    _maybe(Fact("attempt", "integer", "failures since the last success, plus one")),
    _maybe(Fact("resume_from_bytes", "integer", "bytes that are there already")),
)  # fmt: skip
ITEM_STORED = _event("item.stored", INFO, "A body was verified, published and recorded.", *_ARRIVED)
ITEM_VERSION_REPLACED = _event(
    "item.version_replaced", INFO, "A changed body was stored; the one before lies under versions/.",
    *_ARRIVED, _maybe(Fact("previous_path", "string", "where the body before lies")),
)  # fmt: skip
ITEM_UNCHANGED = _event(
    "item.unchanged", INFO, "A re-check found the content that is stored.",
    KEY, ROUTE, REQUEST_ID, _maybe(LANE), _maybe(SIZE_BYTES), _maybe(DURATION_S), _maybe(DUE_AT),
)  # fmt: skip
ITEM_NOTHING_FOUND = _event(
    "item.nothing_found", INFO, "The registry says that there is nothing; not proven yet.", *_SETTLED
)
ITEM_CONFIRMED_EMPTY = _event(
    "item.confirmed_empty", INFO, "It is proven that the registry has nothing for it.", *_SETTLED
)
ITEM_POSTPONED = _event(
    "item.postponed", (INFO, WARNING),
    "Not yet, throttled, blocked (a warning) or stopped: it is tried again and this cost no attempt.",
    *_SETTLED,
)  # fmt: skip
ITEMS_WANTED = _event(
    "items.wanted", INFO, "A day lacks something that is asked for by itself from now on.",
    GROUP, Fact("count", "integer", "how many items are new"), Fact("first", "string", "the key of the first of them"),
)  # fmt: skip
DOCUMENTS_FOLLOWED = _event(
    "documents.followed", INFO,
    "Filings of companies in the watchlists became known: the documents of them that nothing else brings are asked for.",
    Fact("companies", "integer", "how many companies were looked at"),
    Fact("count", "integer", "how many items are new, wanted again or wanted no more"),
    Fact("first", "string", "the key of the first of them"),
)  # fmt: skip
ITEM_FAILED = _event("item.failed", WARNING, "An attempt failed; the next one is scheduled.", *_SETTLED)
ITEM_GAVE_UP = _event(
    "item.gave_up", WARNING, "Its tries are used up; it is left alone for give_up_pause.", *_SETTLED
)
ITEM_ABSENT = _event("item.absent", INFO, "It will never be served, as far as can be known.", *_SETTLED)
ITEM_QUARANTINED = _event(
    "item.quarantined", ERROR, "A body was refused and kept, with its headers and the reason.",
    KEY, _maybe(PATH), REASON, _maybe(DETAIL), _maybe(REQUEST_ID), _maybe(ROUTE),
)  # fmt: skip
ITEM_FOUND = _event(
    "item.found", INFO, "A verified file lay on disk that no row knew; it is recorded now.",
    KEY, PATH, SIZE_BYTES,
)  # fmt: skip
ITEM_LOST = _event(
    "item.lost",
    ERROR,
    "The stored file is missing or damaged; it is wanted again.",
    KEY,
    _maybe(REASON),
    _maybe(PATH),
)
# ------------------------------------------------------------ lanes

_STRIKES = _maybe(Fact("strikes", "integer", "failures in a row that speak against the lane"))
_SLOWDOWN = Fact("slowdown", "number", "the configured rate is divided by this")
_RATE = Fact("calls_per_s", "number", "the rate from now on")
LANE_PARKED = _event(
    "lane.parked", WARNING, "The lane makes no calls for a while.",
    LANE, REASON, _maybe(UNTIL_AT), _maybe(DETAIL), _STRIKES, _maybe(STATUS),
)  # fmt: skip
LANE_OPENED = _event("lane.opened", INFO, "A parked lane works again.", LANE, _maybe(REASON))
LANE_THROTTLED = _event(
    "lane.throttled", WARNING, "The registry asked for patience.",
    LANE, REASON, _maybe(Fact("retry_after_s", "number", "how long it asked for")),
    _maybe(UNTIL_AT), _maybe(_SLOWDOWN), _maybe(STATUS),
)  # fmt: skip
LANE_KEY_SWITCHED = _event(
    "lane.key_switched", WARNING, "The registry refused a key; the lane goes on with its next one.",
    LANE, Fact("key_index", "integer", "which of the configured keys is used from now on, from 0"),
    _maybe(STATUS), _maybe(REASON), _maybe(DETAIL),
)  # fmt: skip

# ------------------------------------------------------------ accounts

_ACCOUNT = Fact("account", "string", "the account: the key whose calls and money they are")
ACCOUNT_WARNED = _event(
    "account.warned", WARNING, "80 or 95 % of the month's calls or budget are used; said once each a month.",
    _ACCOUNT, Fact("month", "string", "the calendar month, such as 2026-11"),
    Fact("percent", "integer", "which threshold was reached"),
    Fact("calls", "integer", "calls of this month, begun or spent"),
    Fact("microeur", "integer", "their price, in millionths of a euro"),
    _maybe(Fact("calls_per_month", "integer", "how many it may be; null: any number")),
    _maybe(Fact("budget_per_month_microeur", "integer", "how much it may be; null: any amount")),
    _maybe(Fact("runs_out_at", "instant", "when one of them is used up at today's pace; null: not this month")),
)  # fmt: skip
LEDGER_BEGUN = _event(
    "ledger.begun", (INFO, WARNING),
    "There was no ledger, and a new one was begun: this month's calls and money count from zero. A warning if lanes that spend "
    "of an account were in use before: the ledger was lost.",
    PATH, _maybe(DETAIL),
)  # fmt: skip

# ------------------------------------------------------------ days

DAY_SEALED = _event(
    "day.sealed", INFO, "Every dataset is there and agrees, or is proven empty; its seal is written.",
    GROUP, FACTS,
)  # fmt: skip
DAY_REOPENED = _event(
    "day.reopened", WARNING, "A sealed day is about to change; it counts as open until it is sealed again.",
    GROUP, REASONS,
)  # fmt: skip
DAY_OPEN = _event("day.open", (INFO, DEBUG), "A day was judged and is not complete, for other reasons than before.",
                  GROUP, REASONS, _maybe(FACTS))  # fmt: skip

# ------------------------------------------------------------ the catalogue

CATALOGUE_MADE = _event(
    "catalogue.made", INFO, "The catalogue was made from all that is stored.",
    Fact("sources", "integer", "items that say something of filings"),
    Fact("filings", "integer", "records of filings"),
    Fact("documents", "integer", "documents whose place is known"),
)  # fmt: skip
CATALOGUE_BEGUN_ANEW = _event(
    "catalogue.begun_anew", WARNING, "The catalogue is made anew from the stored files; nothing is downloaded for it.", DETAIL
)  # fmt: skip
FILINGS_DIFFERED = _event(
    "filings.differed", WARNING, "A dataset of a day was had again and speaks of other filings than before.",
    GROUP, KEY, VERSION,
    Fact("before", "integer", "records or documents in the body before"),
    Fact("now", "integer", "in this one"),
    Fact("vanished", "integer", "filings that are not in it any more"),
    _maybe(Fact("first", "string", "the first of them")),
)  # fmt: skip

FILINGS_REPEATED = _event(
    "filings.repeated", WARNING, "A day lists filings that it, or another day, lists as well.",
    GROUP,
    Fact("count", "integer", "how many filings"),
    Fact("first", "string", "the first of them"),
    Fact("keys", "strings", "the items that list it; one twice if it does so alone"),
)  # fmt: skip
FILINGS_PARKED = _event(
    "filings.parked", INFO, "Records do not say whose filings they are; that is asked for, filing by filing.",
    Fact("count", "integer", "how many are asked for from now on"),
    Fact("first", "string", "the key of the first of them"),
)  # fmt: skip

# ------------------------------------------------------------ hooks

HOOK_FAILED = _event(
    "hook.failed", WARNING, "The command of a hook failed; it is run again for the same event.",
    Fact("hook", "string", "which: on_stored or on_sealed"),
    Fact("seq", "integer", "the number of the event"),
    Fact("failures", "integer", "failures in a row"),
    Fact("again_at", "instant", "when it is run again"),
    DETAIL,
)  # fmt: skip

# ------------------------------------------------------------ alarms, room, verification

_SUBJECT = Fact(
    "subject",
    "string",
    "of an alarm that stands: what it is about; with `kind` it tells the alarm from others",
)
_SINCE_AT = Fact("since_at", "instant", "since when it stands, as far as that is known")
ALARM_RAISED = _event(
    "alarm.raised", ERROR,
    "Somebody should look. `kind` is stable; the other facts depend on it. An alarm with a `subject` stands until "
    "alarm.cleared, is repeated after [run] alarm_repeat, and is shown by `filingd status`.",
    Fact("kind", "string", "what is wrong. Standing: " + ", ".join(alarms.KINDS) + ". Others happen at one moment: "
         "not_obtainable, many_files_missing, seal_failed, same_content, no_longer_served, disk_fault, defect and others"),
    _maybe(_SUBJECT), _maybe(_SINCE_AT),
    _maybe(Fact("remedy", "string", "what to do about it")),
    _maybe(Fact("repeated", "boolean", "true if it was said before and still stands")),
    _maybe(GROUP), _maybe(KEY), _maybe(LANE), _maybe(REASON), _maybe(DETAIL), _maybe(STATUS),
    _maybe(Fact("count", "integer", "how many")),
    _maybe(Fact("looked", "integer", "out of how many")),
    _maybe(Fact("first", "string", "the first concerned")),
    _maybe(Fact("last", "string", "the last concerned")),
)  # fmt: skip
ALARM_CLEARED = _event(
    "alarm.cleared", INFO, "A standing alarm is over: what it was about is mended, or too old to matter.",
    Fact("kind", "string", "what was wrong"), _SUBJECT, _SINCE_AT,
)  # fmt: skip
ROOM_LOW = _event(
    "room.low", ERROR, "Too little room on the disk: downloads pause, everything else goes on.",
    FREE_BYTES, KEEP_FREE_BYTES, _maybe(DETAIL),
)  # fmt: skip
ROOM_REGAINED = _event(
    "room.regained", INFO, "There is room again: downloads go on.", FREE_BYTES, KEEP_FREE_BYTES
)
VERIFY_DAMAGED = _event(
    "verify.damaged", ERROR, "A stored file is not what was stored.",
    KEY, PATH, _maybe(REASON), _maybe(DETAIL),
    _maybe(Fact("repaired", "boolean", "whether it is wanted again")),
)  # fmt: skip
VERIFY_FINISHED = _event(
    "verify.finished", INFO, "Stored files were read again and compared.",
    Fact("checked", "integer", "files read"),
    Fact("damaged", "integer", "files that are not what was stored"),
    _maybe(Fact("missing", "integer", "files that are gone")), _maybe(SIZE_BYTES), _maybe(DURATION_S),
)  # fmt: skip

# ------------------------------------------------------------ forgetting: no line names what is forgotten

_ERASED = (
    Fact("files", "integer", "zips that were written anew without what is forgotten"),
    Fact("members", "integer", "members of zips that are gone, or have fewer records"),
    Fact("documents", "integer", "files that are gone, all of them"),
    Fact("versions", "integer", "older bodies among these files"),
    Fact("quarantined", "integer", "refused bodies that are gone"),
    Fact("partials", "integer", "unfinished bodies that are gone"),
    Fact("size_bytes", "integer", "how much less is stored"),
)
FORGETTING_ORDERED = _event(
    "forgetting.ordered", WARNING, "Something is to be forgotten: it never gets a final name again, and its traces are erased.",
    Fact("count", "integer", "how many filings and enterprises are new among it"),
)  # fmt: skip
FORGETTING_FINISHED = _event(
    "forgetting.finished", WARNING, "Every trace of what was to be forgotten is erased.",
    Fact("count", "integer", "how many filings and enterprises"), *_ERASED, _maybe(DURATION_S),
)  # fmt: skip
ITEM_SCRUBBED = _event(
    "item.scrubbed", WARNING, "What is forgotten was taken out of a body: one that arrived, or that was stored.",
    KEY, PATH, Fact("members", "integer", "members that are gone, or have fewer records"),
)  # fmt: skip
TRACE_REMOVED = _event(
    "trace.removed", WARNING, "A refused or unfinished body was not kept: it holds, or may hide, what is forgotten.",
    _maybe(REASON), _maybe(PATH),
)  # fmt: skip
ITEM_OLDER_REMOVED = _event(
    "item.older_removed", INFO,
    "All older versions of an item were removed for good: by what is said of it now they may not be kept.",
    KEY, VERSION, Fact("files", "integer", "files that were removed, from versions/ and quarantine/"),
)  # fmt: skip

# ------------------------------------------------------------ announcements

REGISTRY_WARNED = _event(
    "registry.warned", WARNING,
    "A registry announced something by a `Warning: 299` header, such as that a version of its API is retired: at most once a day "
    "for each route.",
    ROUTE, Fact("detail", "string", "the header, as it came"),
)  # fmt: skip

# ------------------------------------------------------------ the log itself

LOG_DROPPED = _event(
    "log.dropped", WARNING, "The disk of the log was too slow: debug lines were left out, no others.",
    Fact("lines", "integer", "how many since the last such line"),
)  # fmt: skip
LOG_DIVERTED = _event(
    "log.diverted", ERROR, "The log file could not be written for a while; the journal has those lines.",
    Fact("lines", "integer", "how many lines are missing here"), DETAIL,
)  # fmt: skip
LIBRARY_WARNED = _event(
    "library.warned", (WARNING, ERROR), "A library that filingd uses has something to say.",
    Fact("logger", "string", "which one"), DETAIL,
)  # fmt: skip


def line_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line of the status log: one alternative for each event."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "filingd status log line",
        "oneOf": [_spec_schema(spec) for spec in CATALOGUE.values()],
    }


def _spec_schema(spec: Spec) -> dict[str, Any]:
    return {
        "title": spec.name,
        "description": spec.when,
        "type": "object",
        "properties": {
            "ts": {
                "type": "string",
                "description": "when, UTC, to the millisecond",
                "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
            },
            "level": {"enum": list(spec.levels)},
            "event": {"const": spec.name},
            **{fact.name: _fact_schema(fact) for fact in spec.facts},
        },
        "required": [*RESERVED, *(fact.name for fact in spec.facts if not fact.is_optional)],
        "additionalProperties": False,
    }


def _fact_schema(fact: Fact) -> dict[str, Any]:
    plain = _JSON_TYPES[fact.kind]
    nullable = {**plain, "type": [plain["type"], "null"]} if fact.is_optional else plain
    return {**nullable, "description": fact.meaning}
