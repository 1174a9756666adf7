"""A store in memory that keeps the promises of `ports.Store` (proven by tests/contracts/test_store_contract.py).

    store = FakeStore()
    store.refusals["publish"] = DiskFullError("full")   # from now on this call is refused
    store.published["nbb/.../json.zip"]                 # bytes under final names

Bodies are examined by the real examiner, so reports, digests and member indexes are the real ones.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from filingd.adapters.body import BodyExaminer
from filingd.adapters.zipdirectory import read_directory, read_members
from filingd.adapters.zipedit import edit_of
from filingd.adapters.zipwalk import ZipRefusedError
from filingd.core import steps as step
from filingd.core.errors import (
    DiskFaultError,
    DiskFullError,
    FilingdError,
    StoreError,
    StoreReplacedError,
)
from filingd.core.forgetting import Traces
from filingd.core.kinds import kind_of
from filingd.core.tombstones import unknown_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filingd.adapters.zipwalk import ZipWalk
    from filingd.core.forgetting import Scrub
    from filingd.core.model import BodyPlan, BodyReport, Member, PartialRecord, QuarantineRecord, StoredBody
    from filingd.core.tombstones import Tombstone
    from filingd.ports import Staged, Steps

T = TypeVar("T")

_BUFFER_BYTES = 64 * 1024


class NoSteps:
    """Takes note of nothing."""

    def reached(self, step: str) -> None:
        """Nobody is waiting for it."""


class FakeBody:
    """One published file."""

    def __init__(self, store: FakeStore, target: str) -> None:
        self._store = store
        self._target = target

    @property
    def members(self) -> Sequence[Member]:
        return self._store._members(self._target) or ()

    def read(self, member: Member | None = None) -> bytes:
        data = self._store.published.get(self._target)
        if data is None:
            raise DiskFaultError(f"There is no {self._target}.")
        if member is None:
            return data
        packed = data[member.offset : member.offset + member.packed_bytes]
        return zlib.decompress(packed, -zlib.MAX_WBITS) if member.method else packed


class FakeStore:
    """See the module."""

    def __init__(self, steps: Steps | None = None, free_bytes: int = 1 << 40) -> None:
        self.published: dict[str, bytes] = {}
        self.partials: dict[str, tuple[bytes, PartialRecord | None]] = {}
        self.quarantined: dict[str, QuarantineRecord] = {}
        self.indexes: dict[str, tuple[bytes, list[Member]]] = {}
        self.refusals: dict[str, Exception] = {}
        self.kept_tombstones: list[Tombstone] = []
        self.room_bytes = free_bytes
        self.is_replaced = False
        self.steps: Steps = steps or NoSteps()

    def may(self, call: str) -> None:
        """Raise what the test wants this call to raise."""
        if self.is_replaced:
            raise StoreReplacedError("the store is another one")
        if call in self.refusals:
            raise self.refusals[call]

    async def check_in_place(self) -> None:
        self.may("check_in_place")

    async def free_bytes(self) -> int:
        self.may("free_bytes")
        return self.room_bytes

    async def partial(self, target: str) -> PartialRecord | None:
        data, record = self.partials.get(_checked(target), (b"", None))
        if record is None or not data or (record.total_bytes is not None and len(data) > record.total_bytes):
            return None
        return replace(record, received_bytes=len(data))

    async def drop_partial(self, target: str) -> None:
        self.partials.pop(_checked(target), None)

    async def stage(
        self, target: str, plan: BodyPlan, resume: PartialRecord | None, record: PartialRecord | None
    ) -> Staged:
        self.may("stage")
        prefix = self.partials[_checked(target)][0][: resume.received_bytes] if resume else b""
        earlier = self.partials.get(target, (b"", None))[1] if resume else None
        self.partials[target] = (prefix, record or earlier)
        self.steps.reached(step.PART_OPENED)
        if record is not None:
            self.steps.reached(step.PART_RECORDED)
        return FakeStaged(self, target, plan, prefix)

    async def tombstones(self) -> Sequence[Tombstone]:
        self.may("tombstones")
        return list(self.kept_tombstones)

    async def add_tombstones(self, tombstones: Sequence[Tombstone]) -> None:
        self.may("add_tombstones")
        self.kept_tombstones += unknown_of(tombstones, self.kept_tombstones)
        self.steps.reached(step.TOMBSTONE_WRITTEN)

    async def traces(self, target: str, scrub: Scrub) -> Traces | None:
        self.may("traces")
        data = self.published.get(_checked(target))
        edit = None if data is None else _edit(data, scrub)
        return None if edit is None else edit[1]

    async def holds_trace(self, target: str, scrub: Scrub) -> bool:
        self.may("holds_trace")
        return _holds_trace(self.published[_checked(target)], scrub)

    async def stage_scrubbed(
        self, target: str, plan: BodyPlan, scrub: Scrub
    ) -> tuple[Staged, BodyReport, Traces] | None:
        self.may("stage_scrubbed")
        edit = _edit(self.published[_checked(target)], scrub)
        if edit is None:
            return None
        staged = FakeStaged(self, target, plan, edit[0])
        self.partials[target] = (edit[0], None)
        return staged, await staged.finish(None), edit[1]

    async def put_documents(
        self, documents: Sequence[tuple[str, bytes]]
    ) -> Sequence[DiskFullError | DiskFaultError | StoreReplacedError | None]:
        return [self._put_document(_checked(target), data) for target, data in documents]

    def _put_document(
        self, target: str, data: bytes
    ) -> DiskFullError | DiskFaultError | StoreReplacedError | None:
        try:
            self.may("put_documents")
        except (DiskFullError, DiskFaultError, StoreReplacedError) as error:
            return error
        self.published[target] = data
        return None

    async def write_text(self, target: str, text: str) -> None:
        self.may("write_text")
        self.published[_checked(target)] = text.encode()

    async def read_text(self, target: str) -> str | None:
        self.may("read_text")
        data = self.published.get(_checked(target))
        return None if data is None else data.decode()

    async def remove(self, target: str) -> None:
        self.may("remove")
        self.published.pop(_checked(target), None)
        self.indexes.pop(target, None)

    async def check(self, target: str, plan: BodyPlan) -> BodyReport | None:
        self.may("check")
        data = self.published.get(_checked(target))
        if data is None:
            return None
        examiner, report = _examined(data, plan, None)
        is_sound_zip = report.problem is None and report.kind in ("zip", "empty_zip")
        if is_sound_zip and self.indexes.get(target, (b"", []))[0] != data:
            self.indexes[target] = (data, examiner.members)
        return report

    async def members(self, target: str) -> Sequence[Member] | None:
        self.may("members")
        return self._members(target)

    async def look_into(
        self, targets: Sequence[str], look: Callable[[int, StoredBody], T]
    ) -> Sequence[T | FilingdError]:
        self.may("look_into")
        return [self._look_into(at, target, look) for at, target in enumerate(targets)]

    def _look_into(self, at: int, target: str, look: Callable[[int, StoredBody], T]) -> T | FilingdError:
        try:
            return look(at, FakeBody(self, _checked(target)))
        except FilingdError as error:
            return error

    def _members(self, target: str) -> Sequence[Member] | None:
        data = self.published.get(_checked(target))
        if data is None:
            return None
        indexed, members = self.indexes.get(target, (b"", []))
        if indexed == data:
            return members
        try:
            members = read_members(lambda at, count: data[at : at + count], len(data))
        except ZipRefusedError:
            return None
        self.indexes[target] = (data, members)
        return members

    async def size_bytes(self, target: str) -> int | None:
        self.may("size_bytes")
        data = self.published.get(_checked(target))
        return None if data is None else len(data)

    async def sizes_bytes(self, targets: Sequence[str]) -> Sequence[int | None]:
        return [await self.size_bytes(target) for target in targets]

    async def set_aside(self, target: str, record: QuarantineRecord) -> str | None:
        self.may("set_aside")
        if _checked(target) not in self.published:
            return None
        place = self.quarantine(target, self.published.pop(target), record)
        self.indexes.pop(target, None)
        self.steps.reached(step.BODY_QUARANTINED)
        return place

    async def files(self, prefix: str) -> Sequence[str]:
        self.may("files")
        top = prefix.strip("/")
        if not top:
            return sorted(name for name in self.published if not name.startswith("quarantine/"))
        return sorted(name for name in self.published if name.startswith(f"{top}/"))

    async def staged(self) -> Sequence[str]:
        return sorted(self.partials)

    async def sweep(self, keep: frozenset[str]) -> Sequence[str]:
        self.may("sweep")
        gone = [
            target for target in self.partials if target not in keep or await self.partial(target) is None
        ]
        removed = []
        for target in gone:
            folder, _, name = target.rpartition("/")
            removed.append(f"{folder}/.{name}.part")
            if self.partials.pop(target)[1] is not None:
                removed.append(f"{folder}/.{name}.part.json")
        return sorted(removed)

    async def close(self) -> None:
        """Nothing is open."""

    def quarantine(self, target: str, data: bytes, record: QuarantineRecord) -> str:
        """Keep a refused body."""
        place = f"quarantine/{target}.{int(record.refused_at)}"
        while place in self.published:
            place += "-again"
        self.published[place] = data
        self.quarantined[place] = record
        return place


class FakeStaged:
    """See `ports.Staged`."""

    def __init__(self, store: FakeStore, target: str, plan: BodyPlan, prefix: bytes) -> None:
        self._store = store
        self._target = target
        self._plan = plan
        self._body = bytearray(prefix)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._examiner: BodyExaminer | None = None
        self._failed: Exception | None = None
        self._over = False

    @property
    def received_bytes(self) -> int:
        return len(self._body)

    def buffer(self) -> memoryview | None:
        return memoryview(self._buffer)

    def advance(self, count: int) -> None:
        self._failed = self._failed or self._store.refusals.get("write")
        if self._failed is None:
            self._body += self._buffer[:count]
            self._store.partials[self._target] = (bytes(self._body), self._record)

    async def ready(self) -> None:
        """A buffer is always free."""

    def failure(self) -> Exception | None:
        return self._failed

    async def finish(self, declared_bytes: int | None) -> BodyReport:
        self._raise_failure()
        self._store.may("finish")
        self._store.steps.reached(step.BODY_RECEIVED)
        self._examiner, report = _examined(bytes(self._body), self._plan, declared_bytes)
        self._store.steps.reached(step.BODY_VERIFIED)
        return report

    async def scrub(self, scrub: Scrub) -> tuple[BodyReport, Traces] | None:
        members = self._examiner.members if self._examiner else []
        if members and not any(map(scrub.suspects, members)):
            return None
        edit = _edit(bytes(self._body), scrub)
        if edit is None:
            return None
        self._body = bytearray(edit[0])
        self._store.partials[self._target] = (edit[0], None)
        return await self.finish(None), edit[1]

    async def holds_trace(self, scrub: Scrub) -> bool:
        return _holds_trace(bytes(self._body), scrub)

    async def publish(self, previous_to: str | None) -> str:
        self._raise_failure()
        try:
            self._store.may("publish")
        except Exception:
            self._forget()
            raise
        self._store.steps.reached(step.BODY_SYNCED)
        self._keep_previous(previous_to)
        self._store.published[self._target] = bytes(self._body)
        for name in (step.BODY_RENAMED, step.FOLDER_SYNCED):
            self._store.steps.reached(name)
        if self._examiner is None or self._examiner.is_zip:
            members = self._examiner.members if self._examiner else []
            self._store.indexes[self._target] = (bytes(self._body), members)
        else:
            self._store.indexes.pop(self._target, None)
        self._store.steps.reached(step.INDEX_WRITTEN)
        self._forget()
        return self._target

    async def keep(self, record: PartialRecord) -> None:
        if self._body:
            kept = replace(record, received_bytes=len(self._body))
            self._store.partials[self._target] = (bytes(self._body), kept)
            self._over = True
        else:
            self._forget()

    async def quarantine(self, record: QuarantineRecord) -> str:
        self._store.may("quarantine")
        place = self._store.quarantine(self._target, bytes(self._body), record)
        self._forget()
        self._store.steps.reached(step.BODY_QUARANTINED)
        return place

    async def discard(self) -> None:
        if not self._over:
            self._forget()

    @property
    def _record(self) -> PartialRecord | None:
        return self._store.partials.get(self._target, (b"", None))[1]

    def _keep_previous(self, previous_to: str | None) -> None:
        before = self._store.published.get(self._target)
        if before is not None and previous_to is not None:
            self._store.published.setdefault(_checked(previous_to), before)
            self._store.steps.reached(step.PREVIOUS_KEPT)

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _forget(self) -> None:
        self._store.partials.pop(self._target, None)
        self._over = True


def _examined(data: bytes, plan: BodyPlan, declared_bytes: int | None) -> tuple[BodyExaminer, BodyReport]:
    examiner = BodyExaminer(plan)
    examiner.feed(memoryview(data))

    def reread(walk: ZipWalk) -> None:
        walk.feed(memoryview(data))

    def sizes() -> dict[int, int]:
        lines = read_directory(lambda at, count: data[at : at + count], len(data))
        return {line.header_at: line.packed_bytes for line in lines}

    return examiner, examiner.report(declared_bytes, sizes, reread)


def _edit(data: bytes, scrub: Scrub) -> tuple[bytes, Traces] | None:
    """What is left of a body, and what was taken out."""
    if kind_of(data) not in ("zip", "empty_zip"):
        left = scrub.document(data)
        return None if left is None else (left, Traces(1, max(len(data) - len(left), 0)))
    try:
        edit = edit_of(lambda at, count: data[at : at + count], len(data), scrub)
    except ZipRefusedError as refusal:
        raise DiskFaultError(str(refusal)) from refusal
    return None if edit is None else (b"".join(edit.parts()), edit.traces)


def _holds_trace(data: bytes, scrub: Scrub) -> bool:
    try:
        if _edit(data, scrub) is not None:
            return True
    except DiskFaultError:
        if scrub.is_hidden_in(kind_of(data)):
            return True
    return scrub.names(data)


def _checked(target: str) -> str:
    if not target or target.startswith("/") or any(part.startswith(".") for part in target.split("/")):
        raise StoreError(f"{target!r} is not a place in a store: it must be relative, without hidden parts.")
    return target
