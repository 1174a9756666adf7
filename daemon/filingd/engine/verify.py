"""Reads what is stored again and compares it with what was recorded, the least recently verified first.

Works beside a running daemon: it takes no lease and writes nothing but `verified_at`. What it meets in the middle of a
change is looked at again before it is called a finding.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filingd.core import events, layout
from filingd.core.errors import DiskFaultError
from filingd.core.model import HOLDING_STATES, LEASED_STATES, group_of
from filingd.engine.damage import read
from filingd.engine.published import published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from filingd.core.model import BodyReport, Group, Item, Version
    from filingd.ports import Clock, Log, Manifest, Registry, Store

_PAGE = 500
_NEVER_AT = 0.0


class Kind(enum.Enum):
    """What is wrong with a file."""

    DAMAGED = "damaged"  # other bytes than were stored
    MISSING = "missing"
    SEAL = "seal"  # the day's own statement does not hold
    SUSPECT = "suspect"  # the bytes that were stored, but by the present rules they would be refused
    OLD_VERSION = "old_version"  # a superseded body under versions/ has other bytes than were stored
    OLD_VERSION_GONE = "old_version_gone"  # somebody made room; its content is stored nowhere else
    UNKNOWN = "unknown"  # a file that nothing in the manifest speaks of


HARMLESS = frozenset({Kind.UNKNOWN, Kind.OLD_VERSION_GONE})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `key` is an item's, or a group's for a seal; None if nobody knows it."""

    kind: Kind
    key: str | None
    path: str
    problem: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the stored files to read: those with this key prefix, not verified for `max_age_s`, and of these the
    `percent` that were not verified for longest, until `until_s` on the monotonic clock."""

    prefix: str = ""
    max_age_s: float | None = None
    percent: float = 100.0
    until_s: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing below the prefix is left out."""
        return self.max_age_s is None and self.percent >= 100.0 and self.until_s is None


@dataclass(slots=True)
class Verification:
    """What was looked at and found. `chosen` may be more than `checked` when time ran out."""

    stored: int = 0
    chosen: int = 0
    checked: int = 0
    checked_bytes: int = 0
    seals: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether everything that was looked at is what was stored."""
        return all(finding.kind in HARMLESS for finding in self.findings)


class Verifier:
    """Looks; changes nothing (see the module). Without `remembers` it does not even note what was verified when."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        on_progress: Callable[[Verification], None] = lambda _: None,
        *,
        remembers: bool = True,
    ) -> None:
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._on_progress = on_progress
        self._remembers = remembers

    async def verify(self, choice: Choice) -> Verification:
        """Read and compare. A file that the disk refuses to read is a finding like any other.

        Raises:
            DiskFaultError: the disk refuses to list the store, or the manifest.
        """
        began_s, found = self._clock.monotonic(), Verification()
        keys = await self._chosen(choice, found)
        for key in keys:
            if choice.until_s is not None and self._clock.monotonic() >= choice.until_s:
                break
            await self._check(key, found)
            self._on_progress(found)
        await self._check_seals(choice, keys[: found.checked], found)
        if choice.is_everything:
            await self._find_unknown(choice.prefix, found)
        self._say(found, self._clock.monotonic() - began_s)
        return found

    def _say(self, found: Verification, duration_s: float) -> None:
        for finding in found.findings:
            if finding.kind not in HARMLESS:
                self._log.error(events.VERIFY_DAMAGED, key=finding.key, path=finding.path, reason=finding.problem,
                                detail=finding.detail)  # fmt: skip
        self._log.info(
            events.VERIFY_FINISHED,
            checked=found.checked,
            damaged=sum(finding.kind not in HARMLESS | {Kind.MISSING} for finding in found.findings),
            missing=sum(finding.kind is Kind.MISSING for finding in found.findings),
            size_bytes=found.checked_bytes,
            duration_s=round(duration_s, 3),
        )

    # ------------------------------------------------------------------ which

    async def _chosen(self, choice: Choice, found: Verification) -> list[str]:
        aged: list[tuple[float, str]] = []
        async for page in self._stored_pages(choice.prefix):
            versions = await self._manifest.current_versions(item.key for item in page)
            for item in page:
                version = versions.get(item.key)
                seen_at = (version.verified_at if version else item.stored_at) or _NEVER_AT
                aged.append((seen_at, item.key))
        found.stored = len(aged)
        oldest_first = sorted(self._old_enough(aged, choice.max_age_s))
        wanted = -(-len(oldest_first) * choice.percent // 100)  # rounded up: one per cent of ten is one
        keys = [key for _, key in oldest_first[: int(wanted)]]
        found.chosen = len(keys)
        return keys

    async def _stored_pages(self, prefix: str) -> AsyncIterator[list[Item]]:
        after = key_before(prefix)
        while page := await self._manifest.page(after, _PAGE, HOLDING_STATES):
            after = page[-1].key
            matching = [item for item in page if item.key.startswith(prefix)]
            if matching:
                yield matching
            if len(matching) < len(page):
                return

    def _old_enough(
        self, aged: Iterable[tuple[float, str]], max_age_s: float | None
    ) -> Iterator[tuple[float, str]]:
        youngest_at = float("inf") if max_age_s is None else self._clock.now() - max_age_s
        return (pair for pair in aged if pair[0] <= youngest_at)

    # ------------------------------------------------------------------ bodies

    async def _check(self, key: str, found: Verification) -> None:
        found.checked += 1
        item = await self._item(key)
        if item is None or item.state not in HOLDING_STATES:
            return
        report = await read(self._store, self._registry.target(key), self._registry.body_plan(key))
        finding = self.judge(item, report)
        if finding is not None and await self._item(key) != item:
            return  # the daemon was exchanging the body while we read it
        if finding is not None:
            found.findings.append(finding)
        elif self._remembers:
            await self._manifest.note_verified(key, self._clock.now())
        found.checked_bytes += report.size_bytes if report else 0
        await self._check_old_versions(item, found)

    async def _item(self, key: str) -> Item | None:
        return (await self._manifest.items([key])).get(key)

    def judge(self, item: Item, report: BodyReport | None) -> Finding | None:
        """Whether what was read is what was stored."""
        path = self._registry.target(item.key)
        if report is None:
            return Finding(Kind.MISSING, item.key, path, "file_missing", "the file is gone")
        if report.sha256 != item.sha256:
            problem = report.problem or "other_bytes"
            detail = report.problem_detail or f"{report.size_bytes} bytes, {item.size_bytes} were stored"
            return Finding(Kind.DAMAGED, item.key, path, problem, detail)
        if report.problem is not None:
            return Finding(Kind.SUSPECT, item.key, path, report.problem, report.problem_detail)
        return None

    async def _check_old_versions(self, item: Item, found: Verification) -> None:
        if item.version < 2:
            return
        target, plan = self._registry.target(item.key), self._registry.body_plan(item.key)
        versions = await self._manifest.versions(item.key)
        for version in versions[:-1]:
            if layout.is_set_aside(version.path):
                continue  # it is known not to be kept any more
            path = layout.superseded(target, version.number)
            finding = self.judge_older(version, path, await read(self._store, path, plan))
            is_kept_twice = finding is not None and _has_same_content(version, versions[-1])
            if finding is not None and not (finding.kind is Kind.OLD_VERSION_GONE and is_kept_twice):
                found.findings.append(finding)

    @staticmethod
    def judge_older(version: Version, path: str, report: BodyReport | None) -> Finding | None:
        """Whether what was read at `path` is the body of an older version."""
        if report is None:
            return Finding(Kind.OLD_VERSION_GONE, version.key, path, "file_missing")
        if report.sha256 == version.sha256:
            return None
        problem = report.problem or "other_bytes"
        return Finding(Kind.OLD_VERSION, version.key, path, problem, report.problem_detail)

    # ------------------------------------------------------------------ seals

    async def _check_seals(self, choice: Choice, keys: Sequence[str], found: Verification) -> None:
        touched = {group_of(key) for key in keys}
        for group in await self._manifest.groups(choice.prefix):
            if group.sealed_at is not None and (choice.is_everything or group.key in touched):
                touched.add(group.key)
        for key in sorted(touched):
            known = await self._sealed_group(key)
            if known is not None:
                found.seals += 1
                await self._check_seal(known, found)

    async def _sealed_group(self, key: str) -> Group | None:
        groups = await self._manifest.groups(key)
        return next((each for each in groups if each.key == key and each.sealed_at is not None), None)

    async def _check_seal(self, group: Group, found: Verification) -> None:
        items = await self._manifest.group_items(group.key)
        if not items:
            return
        sums_path = layout.beside(self._registry.target(items[0].key), layout.SUMS_NAME)
        problem, detail = await self._seal_problem(sums_path, items)
        if problem and await self._sealed_group(group.key) == group:
            found.findings.append(Finding(Kind.SEAL, group.key, sums_path, problem, detail))

    async def _seal_problem(self, sums_path: str, items: Sequence[Item]) -> tuple[str, str]:
        seal = await self._text(layout.beside(sums_path, layout.SEAL_NAME))
        sums = await self._text(sums_path)
        if seal is None or sums is None:
            name = layout.SEAL_NAME if seal is None else layout.SUMS_NAME
            return "seal_missing", f"{name} is gone"
        wanted = {layout.name_of(self._registry.target(item.key)): item.sha256.hex()
                  for item in items if item.state in HOLDING_STATES and item.sha256}  # fmt: skip
        wanted[layout.SEAL_NAME] = hashlib.sha256(seal.encode()).hexdigest()
        listed = sums_of(sums)
        differing = sorted(
            name for name in wanted.keys() | listed.keys() if wanted.get(name) != listed.get(name)
        )
        if differing:
            return "seal_disagrees", f"{layout.SUMS_NAME} does not agree about {', '.join(differing)}"
        return "", ""

    async def _text(self, path: str) -> str | None:
        try:
            return await self._store.read_text(path)
        except (UnicodeDecodeError, DiskFaultError):
            return ""  # no seal that agrees with anything

    # ------------------------------------------------------------------ files nobody knows

    async def _find_unknown(self, prefix: str, found: Verification) -> None:
        seals = {layout.SEAL_NAME, layout.SUMS_NAME}
        paths = [
            path for path in await published(self._registry, self._store) if layout.name_of(path) not in seals
        ]
        for start in range(0, len(paths), _PAGE):
            keys = {path: self._registry.key_of(path) for path in paths[start : start + _PAGE]}
            known = await self._manifest.items(key for key in keys.values() if key is not None)
            for path, key in keys.items():
                if self._is_unknown(known.get(key) if key else None) and (key or "").startswith(prefix):
                    found.findings.append(Finding(Kind.UNKNOWN, key, path, "not_recorded"))

    @staticmethod
    def _is_unknown(item: Item | None) -> bool:
        return item is None or item.state not in HOLDING_STATES | LEASED_STATES


def _has_same_content(version: Version, current: Version) -> bool:
    """A body that was fetched again because it was damaged left no other file behind, and lost nothing."""
    if version.sha256 == current.sha256:
        return True
    return version.content_digest is not None and version.content_digest == current.content_digest


def key_before(prefix: str) -> str:
    """A key after which, in key order, everything with the prefix comes."""
    return prefix[:-1] + chr(ord(prefix[-1]) - 1) + "\U0010ffff" if prefix else ""


def sums_of(text: str) -> dict[str, str]:
    """A `SHA256SUMS` file: hexadecimal digest by file name; lines that are no such pair are kept as they are."""
    pairs = (line.partition("  ") for line in text.splitlines() if line)
    return {name or digest: digest for digest, _, name in pairs}
