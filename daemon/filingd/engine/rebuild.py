"""Makes a manifest from what lies on the disk: bodies that hold what they should, older ones, and what the seals say.

Nothing is believed that the disk does not prove: a body counts if its walk is sound, a seal if its sums are. What the
disk cannot tell (tries, postponements, days that nothing came of) is planned anew by the next run.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from filingd.core import layout
from filingd.core.errors import DiskFaultError, FilingdError
from filingd.core.forgetting import TAKEN_OUT
from filingd.core.model import Change, Group, Item, State, Version, group_of, leaf_of
from filingd.engine.damage import RESCUED_ROUTE, UNREADABLE, move_aside, problem_of, read
from filingd.engine.published import published
from filingd.engine.verify import sums_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from filingd.core.model import BodyReport
    from filingd.ports import Clock, Registry, Store

REBUILD_ROUTE = "rebuild"
NOT_SEALED = ("the manifest was rebuilt: not judged yet",)
_AT_ONCE = 2  # bodies read side by side; more only makes a spinning disk seek
_SEAL_FIELDS = frozenset({"format", "group", "sealed_at", "items"})


class Builder(Protocol):
    """A new manifest that takes the place of the old one when it is complete."""

    def add(self, changes: Sequence[Change]) -> None: ...
    def add_groups(self, groups: Sequence[Group]) -> None: ...


@dataclass(slots=True)
class Rebuilt:
    """What was found on the disk."""

    stored: int = 0
    stored_bytes: int = 0
    superseded: int = 0
    empty: int = 0
    sealed: int = 0
    opened: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # path and problem
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Seal:
    """A `day.json` that could be read: `holds` says whether `SHA256SUMS` agrees with everything there."""

    items: Mapping[str, Mapping[str, Any]]
    sealed_at: float | None
    facts: Mapping[str, Any]
    holds: bool


class Rebuilder:
    """Looks at every published file once."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        clock: Clock,
        builder: Builder | None,
        on_progress: Callable[[Rebuilt], None] = lambda _: None,
        *,
        may_be_empty: bool = False,
    ) -> None:
        """Without a builder nothing is written: bodies that would be refused stay where they are. `may_be_empty`: something
        was forgotten in this store, so a zip without files may be what is left of one."""
        self._may_be_empty = may_be_empty
        self._registry = registry
        self._store = store
        self._clock = clock
        self._builder = builder
        self._on_progress = on_progress
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def rebuild(self) -> Rebuilt:
        """Read everything and hand it to the builder, day by day.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; the old manifest is still the manifest.
        """
        found = Rebuilt()
        paths = await published(self._registry, self._store)
        older = self._by_key(await self._store.files(layout.VERSIONS))
        planned = {change.item.key: change.item for change in self._registry.plan(self._clock.now(), {})}
        folders: dict[str, list[str]] = {}
        for path in paths:
            folders.setdefault(layout.folder_of(path), []).append(path)
        for folder, members in sorted(folders.items()):
            await self._folder(folder, members, older, planned, found)
            self._on_progress(found)
        return found

    def _by_key(self, paths: Sequence[str]) -> dict[str, dict[int, str]]:
        """Superseded bodies by item and number."""
        older: dict[str, dict[int, str]] = {}
        for path in paths:
            numbered = layout.superseded_of(path)
            key = self._registry.key_of(numbered[0]) if numbered else None
            if numbered and key is not None:
                older.setdefault(key, {})[numbered[1]] = path
        return older

    # ------------------------------------------------------------------ one day

    async def _folder(
        self,
        folder: str,
        paths: Sequence[str],
        older: Mapping[str, Mapping[int, str]],
        planned: Mapping[str, Item],
        found: Rebuilt,
    ) -> None:
        bodies, others = await self._bodies(paths, found)
        seal = await self._seal(folder, bodies, others)
        group = await self._group_key(folder, bodies, seal)
        found.unknown += [
            path for path in others if layout.name_of(path) not in {layout.SEAL_NAME, layout.SUMS_NAME}
        ]
        if group is None:
            return
        changes: list[Change] = []
        for key, report in bodies.items():
            changes += await self._stored(key, report, seal, older.get(key, {}), planned.get(key), found)
        changes += self._empties(group, seal, bodies, planned, found)
        is_sealed_one_day = self._registry.judge(group, {}, self._clock.now()) is not None
        await self._write(changes, self._group(group, seal, found) if is_sealed_one_day else None)

    async def _bodies(self, paths: Sequence[str], found: Rebuilt) -> tuple[dict[str, BodyReport], list[str]]:
        """The sound bodies of a folder by item, and the files that are no bodies."""
        keyed = [(key, path) for path in paths if (key := self._registry.key_of(path)) is not None]
        reports = await asyncio.gather(*(self._read(key, path) for key, path in keyed))
        bodies: dict[str, BodyReport] = {}
        for (key, path), report in zip(keyed, reports, strict=True):
            if report is None:
                continue
            problem = problem_of(report, may_be_empty=self._may_be_empty)
            if problem is None:
                bodies[key] = report
            else:
                await self._refuse(key, path, problem, found)
        return bodies, [path for path in paths if self._registry.key_of(path) is None]

    async def _read(self, key: str, path: str) -> BodyReport | None:
        async with self._reading:
            return await read(self._store, path, self._registry.body_plan(key))

    async def _refuse(self, key: str, path: str, problem: tuple[str, str], found: Rebuilt) -> None:
        """What cannot be read stays where it is: it may be sound, and the disk or its permissions at fault."""
        found.refused.append((path, problem[0]))
        if self._builder is not None and problem[0] != UNREADABLE:
            await move_aside(self._store, key, path, REBUILD_ROUTE, self._clock.now(), *problem)

    async def _write(self, changes: Sequence[Change], group: Group | None) -> None:
        if self._builder is not None:
            await asyncio.to_thread(self._builder.add, changes)
            await asyncio.to_thread(self._builder.add_groups, [group] if group else [])

    # ------------------------------------------------------------------ what the seal says

    async def _seal(
        self, folder: str, bodies: Mapping[str, BodyReport], others: Sequence[str]
    ) -> _Seal | None:
        if f"{folder}/{layout.SEAL_NAME}" not in others:
            return None
        text = await self._text(f"{folder}/{layout.SEAL_NAME}")
        told = _decoded(text)
        if text is None or told is None:
            return None
        sums = await self._text(f"{folder}/{layout.SUMS_NAME}")
        listed = sums_of(sums) if sums is not None else {}
        present = {
            layout.name_of(self._registry.target(key)): body.sha256.hex() for key, body in bodies.items()
        }
        present[layout.SEAL_NAME] = hashlib.sha256(text.encode()).hexdigest()
        holds = sums is not None and listed == present
        if sums is not None and listed.get(layout.SEAL_NAME) != present[layout.SEAL_NAME]:
            return None  # somebody changed it: no word of it can be believed
        if any(group_of(key) != told.get("group") for key in bodies):
            return None  # the seal of another day, copied with its folder
        facts = {name: value for name, value in told.items() if name not in _SEAL_FIELDS}
        return _Seal(told["items"], _instant(told.get("sealed_at")), facts, holds)

    async def _text(self, path: str) -> str | None:
        try:
            return await self._store.read_text(path)
        except (UnicodeDecodeError, DiskFaultError):
            return None

    async def _group_key(
        self, folder: str, bodies: Mapping[str, BodyReport], seal: _Seal | None
    ) -> str | None:
        """The day of a folder: by its bodies, or by its seal if it has none and really belongs here."""
        for key in bodies:
            return group_of(key)
        told = _decoded(await self._text(f"{folder}/{layout.SEAL_NAME}")) if seal else None
        group = str(told.get("group")) if told else ""
        try:
            belongs = any(
                layout.folder_of(self._registry.target(f"{group}/{leaf}")) == folder
                for leaf in (seal.items if seal else ())
            )
        except (ValueError, IndexError, FilingdError):
            return None
        return group if belongs else None

    def _empties(
        self,
        group: str,
        seal: _Seal | None,
        bodies: Mapping[str, BodyReport],
        planned: Mapping[str, Item],
        found: Rebuilt,
    ) -> Iterator[Change]:
        """What the seal says was proven empty, with the evidence it gives."""
        for leaf, entry in (seal.items if seal else {}).items():
            key = f"{group}/{leaf}"
            if entry.get("state") != "empty" or key in bodies:
                continue
            found.empty += 1
            base = planned.get(key) or Item(key, self._any_lane())
            asked_since = _instant(entry.get("asked_since"))
            item = Item(
                key, base.lane, State.EMPTY, base.priority, None, reason=entry.get("reason"),
                nothing_count=int(entry.get("asked") or 0), nothing_at=asked_since,
            )  # fmt: skip
            yield Change(None, self._scheduled(item))

    def _group(self, key: str, seal: _Seal | None, found: Rebuilt) -> Group:
        now = self._clock.now()
        if seal is not None and seal.holds and seal.sealed_at is not None:
            found.sealed += 1
            return Group(key, seal.sealed_at, seal.sealed_at, seal.sealed_at, (), seal.facts)
        found.opened += 1
        return Group(key, now, reasons=NOT_SEALED)

    # ------------------------------------------------------------------ bodies

    async def _stored(
        self,
        key: str,
        report: BodyReport,
        seal: _Seal | None,
        older: Mapping[int, str],
        planned: Item | None,
        found: Rebuilt,
    ) -> list[Change]:
        """The row of a body and its versions, the superseded ones included."""
        told = dict((seal.items if seal else {}).get(leaf_of(key)) or {})
        is_told = told.get("sha256") == report.sha256.hex()
        number = max([int(told.get("version") or 0) + (0 if is_told else 1), *(each + 1 for each in older)])
        number = max(number, 1)
        current = self._version(key, number, self._registry.target(key), report, told if is_told else {})
        base = planned or Item(key, self._any_lane())
        item = Item(
            key, base.lane, State.STORED, base.priority, None, size_bytes=report.size_bytes,
            sha256=report.sha256, stored_at=current.stored_at, version=number,
        )  # fmt: skip
        item = self._scheduled(item)
        found.stored += 1
        found.stored_bytes += report.size_bytes
        superseded = [version async for version in self._superseded(key, older, found)]
        return [Change(None, item, current), *(Change(State.STORED, item, version) for version in superseded)]

    def _version(
        self, key: str, number: int, path: str, report: BodyReport, told: Mapping[str, Any]
    ) -> Version:
        now, taken_out = self._clock.now(), told.get(TAKEN_OUT)
        facts = {**report.facts, TAKEN_OUT: taken_out} if isinstance(taken_out, int) else report.facts
        return Version(
            key, number, path, report.size_bytes, report.sha256, _instant(told.get("stored_at")) or now,
            str(told.get("route") or RESCUED_ROUTE), str(told.get("request_id") or ""), None,
            report.content_digest, report.member_count, now, facts,
        )  # fmt: skip

    async def _superseded(self, key: str, older: Mapping[int, str], found: Rebuilt) -> AsyncIterator[Version]:
        for number, path in sorted(older.items()):
            report = await self._read(key, path)
            if report is None or report.problem is not None:
                found.refused.append((path, report.problem or "damaged" if report else "gone"))
                continue
            found.superseded += 1
            yield self._version(key, number, self._registry.target(key), report, {})

    def _scheduled(self, item: Item) -> Item:
        return replace(item, due_at=self._registry.recheck_at(item, self._clock.now()))

    def _any_lane(self) -> str:
        return next((spec.name for spec in self._registry.lanes()), "")


def _decoded(text: str | None) -> dict[str, Any] | None:
    """A seal, if the text is one at all."""
    try:
        told = json.loads(text or "")
    except ValueError:
        return None
    items = told.get("items") if isinstance(told, dict) else None
    is_seal = isinstance(items, dict) and all(isinstance(entry, dict) for entry in items.values())
    return told if is_seal else None


def _instant(text: object) -> float | None:
    """Unix seconds of an ISO 8601 instant with an offset."""
    if not isinstance(text, str):
        return None
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.timestamp() if parsed.tzinfo else None
