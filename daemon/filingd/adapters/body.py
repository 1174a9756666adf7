"""Examines one body as it passes: counts, hashes, tells its kind, walks its zip. No disk, no loop, no thread of its own.

examiner = BodyExaminer(plan)
examiner.feed(chunk)
report = examiner.report(declared_bytes, reread)
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from filingd.adapters.zipwalk import ZipRefusedError, ZipWalk
from filingd.core.errors import FilingdError
from filingd.core.kinds import HEAD_BYTES, kind_of, kind_problem, length_problem
from filingd.core.model import BodyReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from filingd.core.model import BodyPlan, Member, MemberInspector

    Reread = Callable[[ZipWalk], None]  # feeds a whole zip, read again from the disk, to the walk
    KnownSizes = Callable[
        [], Mapping[int, int]
    ]  # packed sizes by offset of the local header, from the directory


class BodyExaminer:
    """The one pass over a body (see the module)."""

    def __init__(self, plan: BodyPlan) -> None:
        self._plan = plan
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._head = b""
        self._inspector: MemberInspector | None = plan.inspector() if plan.inspector else None
        self._walk = ZipWalk(plan.zip_limits, self._inspector)

    @property
    def size_bytes(self) -> int:
        """How many bytes passed so far."""
        return self._size_bytes

    @property
    def sha256(self) -> bytes:
        """The digest of what passed so far."""
        return self._digest.digest()

    @property
    def is_zip(self) -> bool:
        """Whether what passed begins like a zip."""
        return kind_of(self._head) in ("zip", "empty_zip")

    @property
    def members(self) -> list[Member]:
        """The member index, once `report` said that the zip is sound."""
        return list(self._walk.members)

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes; the memory may be reused afterwards."""
        self.count(chunk)
        self.walk(chunk)

    def count(self, chunk: memoryview) -> None:
        """One half of `feed`: count and hash. The halves may run on two threads."""
        self._digest.update(chunk)
        if len(self._head) < HEAD_BYTES:
            self._head += bytes(chunk[: HEAD_BYTES - len(self._head)])
        self._size_bytes += len(chunk)

    def walk(self, chunk: memoryview) -> None:
        """The other half: walk the zip."""
        self._walk.feed(chunk)

    def report(
        self, declared_bytes: int | None, known_sizes: KnownSizes | None = None, reread: Reread | None = None
    ) -> BodyReport:
        """What is known now that all bytes have passed.

        `known_sizes` and `reread` serve the zips that cannot be walked forwards (see `zipwalk`); without them
        such a zip is refused.
        """
        self._walk.finish()
        kind = kind_of(self._head)
        problem = length_problem(self._size_bytes, declared_bytes, self._plan)
        if self.is_zip:
            problem = problem or self._zip_problem(known_sizes, reread)
            kind = "empty_zip" if problem is None and self._walk.member_count == 0 else kind
        facts, problem = self._facts(kind, problem or kind_problem(kind, self._plan))
        return self._written_up(kind, problem, facts)

    def _zip_problem(self, known_sizes: KnownSizes | None, reread: Reread | None) -> tuple[str, str] | None:
        try:
            if self._walk.wants_directory:
                self._walk_again(known_sizes, reread)
        except ZipRefusedError as refusal:
            return refusal.code, refusal.detail
        refusal_seen = self._walk.refusal
        return (refusal_seen.code, refusal_seen.detail) if refusal_seen else None

    def _walk_again(self, known_sizes: KnownSizes | None, reread: Reread | None) -> None:
        if known_sizes is None or reread is None:
            raise ZipRefusedError("zip_bad_header", "a stored member does not say how long it is")
        self._inspector = self._plan.inspector() if self._plan.inspector else None
        self._walk = ZipWalk(self._plan.zip_limits, self._inspector, known_sizes())
        reread(self._walk)
        self._walk.finish()

    def _facts(
        self, kind: str, problem: tuple[str, str] | None
    ) -> tuple[Mapping[str, Any], tuple[str, str] | None]:
        if problem is not None or self._inspector is None or kind != "zip":
            return {}, problem
        try:
            return self._inspector.facts(), None
        except FilingdError as exc:
            return {}, ("inspect_failed", str(exc))

    def _written_up(self, kind: str, problem: tuple[str, str] | None, facts: Mapping[str, Any]) -> BodyReport:
        code, detail = problem or (None, "")
        is_zip = kind in ("zip", "empty_zip")
        return BodyReport(
            kind=kind,
            size_bytes=self._size_bytes,
            sha256=self.sha256,
            head=self._head,
            problem=code,
            problem_detail=detail,
            member_count=self._walk.member_count if is_zip else 0,
            inflated_bytes=self._walk.inflated_bytes if is_zip else 0,
            content_digest=self._walk.digest if is_zip and code is None else None,
            facts=facts,
        )
