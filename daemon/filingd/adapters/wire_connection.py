"""One kept connection: requests out, responses in, one at a time, on one timer.

The transport reads into 64 KiB of ours; once 192 KiB of a body wait for their reader it is paused, so that a
connection never holds more than 256 KiB of a body. Whatever the server says that nobody asked for ends it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import TYPE_CHECKING, cast

from filingd.adapters.exchanges import described
from filingd.adapters.wire_response import ResponseParser
from filingd.core.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filingd.core.model import ResponseHead

_READ_BYTES = 64 * 1024
_PAUSE_AT_BYTES = 192 * 1024


class WireConnection(asyncio.BufferedProtocol):
    """The protocol of one connection. `on_gone` is called once, when the connection is no more."""

    def __init__(self, on_gone: Callable[[WireConnection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._response = ResponseParser()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._is_busy = False
        self._is_paused = False
        self._failure: Exception | None = None
        self._turn: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._deadline_at = math.inf  # on the loop's clock: of the head while busy, of the rest while idle

    # ------------------------------------------------------------ the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be used from now on."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's hint is not needed
        """Where to receive; what is received is copied out at once."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were received."""
        if not self._is_busy or self._response.is_complete or self._failure is not None:
            self.close()  # nobody asked for them
            return
        try:
            self._response.feed(self._buffer[:nbytes])
        except TransferError as error:
            self.fail(error)
            self.close()
            return
        if self._response.buffered_bytes >= _PAUSE_AT_BYTES:
            self._pause()
        self._wake()

    def eof_received(self) -> bool:
        """The server will not send more; the transport closes itself."""
        self._response.end()
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more, in the middle of a response or not."""
        self._response.is_reusable = False
        reason = "tls_failed" if isinstance(exc, ssl.SSLError) else "connection_lost"
        self.fail(TransferError(reason, described(exc) if exc is not None else ""))
        if self._timer is not None:
            self._timer.cancel()
        self._gone.set()
        self._on_gone(self)

    # ------------------------------------------------------------ the coroutine's side

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended it."""
        return self._transport is not None and not self._gone.is_set() and not self._transport.is_closing()

    @property
    def is_free(self) -> bool:
        """Whether another request may be sent: the last response was read to its end and the server stays."""
        response = self._response
        return (
            response.is_reusable and response.buffered_bytes == 0 and self._failure is None and self.is_open
        )

    @property
    def is_whole(self) -> bool:
        """Whether all of the response is here."""
        return self._response.is_complete

    @property
    def body_bytes(self) -> int:
        """How much of the body has arrived, taken or not."""
        return self._response.body_bytes

    def send(self, request: bytes, head_within_s: float) -> None:
        """Send a request, on a connection that is open; nothing of it is kept."""
        assert self._transport is not None, "the connection has not been made"
        self._is_busy = True
        self._response.begin()
        self._expire_in(head_within_s)
        self._transport.write(request)

    async def head(self) -> ResponseHead:
        """The head of the response.

        Raises:
            TransferError: there will be none.
        """
        while (head := self._response.head) is None:
            await self._something()
        self._deadline_at = math.inf
        return head

    async def body(self) -> bytes:
        """The next of the body, at least a byte; nothing at its end. What arrived before a failure is given first.

        Raises:
            TransferError: it broke off, or `fail` was called.
        """
        while not self._response.buffered_bytes:
            if self._response.is_complete:
                return b""
            self._resume()
            await self._something()
        return self.take()

    def take(self) -> bytes:
        """What of the body is here and has not been taken."""
        return self._response.take()

    def rest(self, idle_s: float) -> None:
        """Wait for the next request, but not longer than this."""
        self._is_busy = False
        self._resume()
        self._expire_in(idle_s)

    def fail(self, failure: Exception) -> None:
        """Give up the response; the first failure counts."""
        self._failure = self._failure or failure
        self._wake()

    def close(self) -> None:
        """End it at once."""
        self._response.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Until it is no more."""
        await self._gone.wait()

    async def _something(self) -> None:
        """Until something arrives or fails."""
        if self._failure is not None:
            raise self._failure
        self._turn = self._loop.create_future()
        await self._turn

    def _wake(self) -> None:
        turn = self._turn
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _pause(self) -> None:
        if self._transport is not None and not self._is_paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self._is_paused = True

    def _resume(self) -> None:
        if self._transport is not None and self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    # ------------------------------------------------------------ the timer

    def _expire_in(self, seconds: float) -> None:
        """Set the deadline. The timer is left alone if it looks early enough: one costs more than a comparison."""
        self._deadline_at = self._loop.time() + seconds
        if self._timer_at > self._deadline_at:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline_at
        self._timer = self._loop.call_at(self._timer_at, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._deadline_at > self._loop.time():
            if self._deadline_at < math.inf:
                self._set_timer()
        elif self._is_busy:
            self.fail(TransferError("head_timeout"))
        else:
            self.close()
