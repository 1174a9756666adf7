"""One stored file as the engine lets others look at it. Blocking; called from side threads."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from filingd.adapters.members import MemberReader
from filingd.core.catalogue import DocumentPlace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from filingd.adapters.layout import Layout
    from filingd.core.model import Member


class OpenedBody:
    """The `StoredBody` port, with `with`: the file is opened when it is first read."""

    def __init__(self, layout: Layout, target: str) -> None:
        self._layout = layout
        self._target = target
        self._path = layout.path(target)

    @cached_property
    def members(self) -> Sequence[Member]:
        """See `ports.StoredBody`."""
        return self._layout.read_members(self._target) or ()

    @cached_property
    def _reader(self) -> MemberReader:
        return MemberReader(self._path)

    def read(self, member: Member | None = None) -> bytes:
        """See `ports.StoredBody`."""
        return self._reader.read(member if member is not None else self._whole())

    def _whole(self) -> DocumentPlace:
        size_bytes = self._reader.size_bytes()
        return DocumentPlace("", "", size_bytes, packed_bytes=size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "_reader" in self.__dict__:
            self._reader.close()
