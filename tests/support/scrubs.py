"""A scrub for tests that know no registry: some members go, others get other content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.forgetting import Fate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filingd.core.model import Member


class Without:
    """Takes out the members that are named, and replaces others; never looks into one that it was not told to."""

    def __init__(
        self, gone: Collection[str], anew: Mapping[str, bytes] | None = None, *, hides: bool = False
    ) -> None:
        self.found: Collection[str] = ()
        self._gone = gone
        self._anew = anew or {}
        self._hides = hides

    def suspects(self, member: Member) -> bool:
        return member.name in self._gone or member.name in self._anew

    def wants(self, name: str) -> bool:
        return name in self._anew

    def member(self, name: str, data: bytes | None) -> Fate | bytes:
        assert (data is not None) == (name in self._anew)
        return Fate.GONE if name in self._gone else self._anew.get(name, Fate.KEPT)

    def document(self, data: bytes) -> bytes | None:
        left = data
        for name in self._gone:
            left = left.replace(name.encode(), b"")
        return left if left != data else None

    def names(self, data: bytes) -> bool:
        return any(name.encode() in data for name in self._gone)

    def is_hidden_in(self, kind: str) -> bool:
        return self._hides
