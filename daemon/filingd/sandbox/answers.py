"""What a desk hands to the server: status, headers, a body that can be read from any byte, and how to send
it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from filingd.sandbox.faults import Cut, Stall
    from filingd.sandbox.settings import Framing

SEND_BYTES = 64 * 1024


class Body(Protocol):
    """Bytes that can be sent more than once, always the same."""

    async def measure(self) -> tuple[int, str]:
        """Size in bytes and SHA-256 in hex; may take a whole pass."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """The size, if it is known without a pass."""
        ...

    def chunks(self, start: int) -> AsyncIterator[bytes]:
        """The bytes from `start` on, in chunks of at most `SEND_BYTES`, or of the producer's size."""
        ...


class HeldBody:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._digest = ""

    @property
    def size_bytes(self) -> int:
        """See `Body`."""
        return len(self._data)

    @property
    def data(self) -> bytes:
        """All of it."""
        return self._data

    async def measure(self) -> tuple[int, str]:
        """See `Body`."""
        if not self._digest:
            self._digest = (await asyncio.to_thread(hashlib.sha256, self._data)).hexdigest()
        return len(self._data), self._digest

    async def chunks(self, start: int) -> AsyncIterator[bytes]:
        """See `Body`."""
        for offset in range(start, len(self._data), SEND_BYTES):
            yield self._data[offset : offset + SEND_BYTES]


class FlowingBody:
    """A body that is generated while it is sent, in a thread unless generating costs nothing."""

    def __init__(
        self, produce: Callable[[], Iterator[bytes]], size_bytes: int | None, *, effortless: bool
    ) -> None:
        self._produce = produce
        self._size_bytes = size_bytes
        self._effortless = effortless
        self._measured: tuple[int, str] | None = None

    @property
    def size_bytes(self) -> int | None:
        """See `Body`."""
        return self._size_bytes

    async def measure(self) -> tuple[int, str]:
        """See `Body`."""
        if self._measured is None:
            self._measured = await asyncio.to_thread(self._pass)
            self._size_bytes = self._measured[0]
        return self._measured

    def _pass(self) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        for piece in self._produce():
            digest.update(piece)
            size += len(piece)
        return size, digest.hexdigest()

    async def chunks(self, start: int) -> AsyncIterator[bytes]:
        """See `Body`."""
        pieces, to_skip = self._produce(), start
        while (piece := await self._next(pieces)) is not None:
            if len(piece) <= to_skip:
                to_skip -= len(piece)
                continue
            yield piece[to_skip:]
            to_skip = 0

    async def _next(self, pieces: Iterator[bytes]) -> bytes | None:
        if self._effortless:
            return next(pieces, None)
        return await asyncio.to_thread(next, pieces, None)


@dataclasses.dataclass(slots=True)
class Wire:
    """How an answer goes over the wire; the defaults are those of a server without faults."""

    framing: Framing = "length"
    start: int = 0  # of the body: a partial answer
    stop: int | None = None
    alter: bool = False  # send other bytes than those of the body
    cut: Cut | None = None
    stall: Stall | None = None
    drip_bytes_per_s: float = 0.0
    length_delta_bytes: int = 0


@dataclasses.dataclass(slots=True)
class Answer:
    """One answer."""

    status: int
    body: Body
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    wire: Wire = dataclasses.field(default_factory=Wire)
    reason: str | None = None
    repeated_headers: tuple[tuple[str, str], ...] = ()  # beside those of the same name in `headers`


def short(status: int, body: bytes, content_type: str, **headers: str) -> Answer:
    """An answer from a few bytes; underscores in header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, HeldBody(body), ({"Content-Type": content_type} if content_type else {}) | named)
