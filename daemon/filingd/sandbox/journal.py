"""What was asked and what was answered: one entry per request, and exact answers about them.

Instants are sandbox time (unix seconds); `*_mono_s` are seconds of this process's monotonic clock and serve
rates and overlaps. Keys appear as product, slot and a short hash, never as themselves.
"""

from __future__ import annotations

import collections
import dataclasses
import queue
import threading
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from filingd.core.errors import UnavailableError
from filingd.sandbox.kvk.limits import month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

# What a request has in common with the subject that fault rules match.
SUBJECT_FIELDS = ("registry", "product", "operation", "dataset", "date", "reference", "enterprise", "number")
Outcome = Literal["open", "completed", "client_closed", "refused", "reset", "cut", "stopped", "failed"]


class Entry(msgspec.Struct, kw_only=True):
    """One request. `released_mono_s` is taken before the last bytes leave, so that a client that waits for
    them and then asks again never seems to ask twice at once.
    """

    sequence: int
    started_at: float
    started_mono_s: float
    method: str
    path: str
    query: str = ""
    registry: str = ""
    product: str = ""
    operation: str = ""
    dataset: str = ""
    date: str = ""
    reference: str = ""
    enterprise: str = ""
    number: str = ""
    slot: str = ""
    key: str = ""
    key_name: str = ""  # product and slot of the key, such as kvk/main; empty if it is unknown
    is_paid: bool = False  # such a call is charged for
    key_in_url: bool = False
    request_id: str = ""
    range: str = ""
    if_range: str = ""
    user_agent: str = ""
    accept: str = ""
    headers: dict[str, str] = {}
    concurrency: int = 0  # open requests at its start, itself included
    status: int = 0
    body_bytes: int = 0  # body bytes handed to the connection
    outcome: Outcome = "open"
    released_mono_s: float | None = None
    ended_at: float | None = None
    ended_mono_s: float | None = None


class JournalFile:
    """JSON lines, appended by a thread of its own and flushed line by line: `started` and `ended` of each
    request.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UnavailableError(f"The journal file {path} cannot be opened: {error.strerror}.") from error
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="sandbox-journal", daemon=True)
        self._thread.start()

    def append(self, event: str, entry: Entry) -> None:
        """Queue one line; encoded now, since the entry goes on changing."""
        self._lines.put(msgspec.json.encode({"event": event, **msgspec.to_builtins(entry)}) + b"\n")

    def close(self) -> None:
        """Write what is queued and close."""
        self._lines.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._file.write(line)


class Journal:
    """All requests since the start or the last `clear`. Used from the event loop."""

    def __init__(
        self,
        now: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        file: JournalFile | None = None,
    ) -> None:
        self._now, self._monotonic, self._file = now, monotonic, file
        self._entries: collections.deque[Entry] = collections.deque(maxlen=KEPT_ENTRIES)
        self._sequence = 0
        self._dropped = 0
        self._open = 0

    def start(self, method: str, path: str, query: str) -> Entry:
        """Begin an entry; the caller fills in what it learns and ends it with `end`."""
        self._sequence += 1
        self._open += 1
        entry = Entry(
            sequence=self._sequence,
            started_at=self._now(),
            started_mono_s=self._monotonic(),
            method=method,
            path=path,
            query=query,
            concurrency=self._open,
        )
        self._dropped += len(self._entries) == KEPT_ENTRIES
        self._entries.append(entry)
        return entry

    def announced(self, entry: Entry) -> None:
        """The request's facts are known: write its first line."""
        if self._file:
            self._file.append("started", entry)

    def release(self, entry: Entry) -> None:
        """The last bytes are about to leave: the request no longer counts as open."""
        if entry.released_mono_s is None:
            entry.released_mono_s = self._monotonic()
            self._open -= 1

    def end(self, entry: Entry, outcome: Outcome) -> None:
        """The request is over."""
        self.release(entry)
        entry.ended_at, entry.ended_mono_s = self._now(), self._monotonic()
        entry.outcome = outcome
        if self._file:
            self._file.append("ended", entry)

    def clear(self) -> None:
        """Forget the entries; sequence numbers go on."""
        running = [entry for entry in self._entries if entry.outcome == "open"]
        self._entries.clear()
        self._entries.extend(running)
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Entries forgotten because there were more than `KEPT_ENTRIES`; the file has them all."""
        return self._dropped

    def entries(self, filters: Mapping[str, str]) -> list[Entry]:
        """The entries that match; see `matches`."""
        return [entry for entry in self._entries if matches(entry, filters)]


KEPT_ENTRIES = 200_000
GLOB_FILTERS = (
    "method",
    "path",
    "query",
    "registry",
    "product",
    "operation",
    "dataset",
    "date",
    "reference",
    "enterprise",
    "number",
    "slot",
    "key_name",
    "outcome",
    "request_id",
    "user_agent",
)


def matches(entry: Entry, filters: Mapping[str, str]) -> bool:
    """Whether an entry meets every filter: globs by field, `status`, `after` (sequence), `since_at`,
    `until_at`.
    """
    globs = all(fnmatchcase(getattr(entry, name), filters[name]) for name in GLOB_FILTERS if name in filters)
    return (
        globs
        and fnmatchcase(str(entry.status), filters.get("status", "*"))
        and entry.sequence > int(filters.get("after", 0))
        and float(filters.get("since_at", "-inf")) <= entry.started_at < float(filters.get("until_at", "inf"))
    )


def max_concurrency(entries: Iterable[Entry]) -> int:
    """The largest number of these requests that were open at once; one that ends as another starts does
    not overlap.
    """
    edges = []
    for entry in entries:
        edges.append((entry.started_mono_s, 1))
        edges.append((float("inf") if entry.released_mono_s is None else entry.released_mono_s, -1))
    open_now = most = 0
    for _, change in sorted(edges):
        open_now += change
        most = max(most, open_now)
    return most


def max_arrivals(entries: Iterable[Entry], window_s: float) -> int:
    """The largest number of arrivals in any sliding window [t, t + window_s)."""
    window: collections.deque[float] = collections.deque()
    most = 0
    for arrived in sorted(entry.started_mono_s for entry in entries):
        window.append(arrived)
        while window[0] <= arrived - window_s:
            window.popleft()
        most = max(most, len(window))
    return most


@dataclasses.dataclass(frozen=True, slots=True)
class _Identifiers:
    missing: int
    repeated: list[str]


def _identifiers(entries: list[Entry]) -> _Identifiers:
    counts = collections.Counter(entry.request_id for entry in entries if entry.request_id)
    return _Identifiers(
        missing=sum(not entry.request_id for entry in entries),
        repeated=sorted(name for name, count in counts.items() if count > 1),
    )


def calls_by_key_and_month(entries: Iterable[Entry]) -> dict[str, dict[str, dict[str, int]]]:
    """Every request that came in, by key (`unknown` if it is nobody's) and calendar month in Amsterdam by the sandbox's
    clock: `calls`, and of these `paid_calls`.
    """
    table: dict[str, dict[str, dict[str, int]]] = {}
    for entry in entries:
        months = table.setdefault(entry.key_name or "unknown", {})
        counts = months.setdefault(month_of(entry.started_at), {"calls": 0, "paid_calls": 0})
        counts["calls"] += 1
        counts["paid_calls"] += entry.is_paid
    return table


def calls_by_path(entries: Iterable[Entry]) -> dict[str, int]:
    """How often each path was asked for, whatever the query."""
    return dict(collections.Counter(entry.path for entry in entries))


def summarize(entries: list[Entry], window_s: float) -> dict[str, Any]:
    """Exact answers about these requests, as JSON values."""
    by_product: dict[str, list[Entry]] = collections.defaultdict(list)
    for entry in entries:
        by_product[entry.product].append(entry)
    identifiers = _identifiers(entries)
    return {
        "count": len(entries),
        "open": sum(entry.outcome == "open" for entry in entries),
        "by_status": dict(collections.Counter(str(entry.status) for entry in entries)),
        "by_outcome": dict(collections.Counter(entry.outcome for entry in entries)),
        "by_registry": dict(collections.Counter(entry.registry for entry in entries)),
        "by_operation": dict(collections.Counter(entry.operation for entry in entries)),
        "by_key_and_month": calls_by_key_and_month(entries),
        "by_product": {product: len(group) for product, group in by_product.items()},
        "body_bytes": sum(entry.body_bytes for entry in entries),
        "max_concurrency": max_concurrency(entries),
        "max_concurrency_by_product": {
            product: max_concurrency(group) for product, group in by_product.items()
        },
        "window_s": window_s,
        "max_arrivals": max_arrivals(entries, window_s),
        "max_arrivals_by_product": {
            product: max_arrivals(group, window_s) for product, group in by_product.items()
        },
        "key_in_url": any(entry.key_in_url for entry in entries),
        "request_ids_unique": not identifiers.repeated and not identifiers.missing,
        "request_ids_repeated": identifiers.repeated,
        "request_ids_missing": identifiers.missing,
    }
