"""Receives the rest of a body straight into the sink's buffers, past the HTTP library's stream reader.

Once the head is read, a body of known length is nothing but bytes: the transport is given another protocol, which
hands the kernel (or the TLS layer) the sink's own memory. It never asks for a byte more than the body has. Measured
gain over the library's reader: about half again, and half the CPU (works on asyncio and uvloop, plain and TLS).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from filingd.core.errors import TransferError

if TYPE_CHECKING:
    from filingd.core.flow import FlowMeter
    from filingd.ports import BodySink


class BodyReceiver(asyncio.BufferedProtocol):
    """The protocol of a transport whose remaining `length` bytes belong to the sink.

    `former` is the protocol that had the transport: it is told when the connection is lost, so that the library's
    bookkeeping stays right.
    """

    def __init__(
        self, transport: asyncio.Transport, sink: BodySink, length: int, former: asyncio.BaseProtocol
    ) -> None:
        self.received_bytes = 0
        self.failure: Exception | None = None
        self._transport = transport
        self._sink = sink
        self._left = length
        self._former = former
        self._lost = False
        self._turn: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ the transport's side

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's hint is not needed
        """Where to receive; only called while there is a buffer, since reading is paused otherwise."""
        buffer = self._sink.buffer()
        assert buffer is not None
        return buffer[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were received."""
        self._sink.advance(nbytes)
        self.received_bytes += nbytes
        self._left -= nbytes
        if self._left == 0 or self._sink.buffer() is None:
            self._transport.pause_reading()
            self._wake()

    def eof_received(self) -> bool:
        """The server will not send more; the transport closes itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, in the middle or not."""
        self._lost = True
        self._former.connection_lost(exc)
        self._wake()

    # ------------------------------------------------------------ the coroutine's side

    def fail(self, failure: Exception) -> None:
        """Give up for a reason the transport does not know."""
        self.failure = failure
        self._wake()

    async def receive(self, meter: FlowMeter) -> None:
        """Until the last byte is with the sink.

        Raises:
            TransferError: the connection broke, or `fail` was called.
            DiskFullError, DiskFaultError: the sink failed.
        """
        loop = asyncio.get_running_loop()
        while self._left:
            self._raise_failure()
            if self._sink.buffer() is None:
                meter.hold(loop.time())
                await self._sink.ready()
                meter.release(loop.time())
                continue
            if self._lost:
                raise TransferError("connection_lost", f"{self._left} bytes before the end")
            if not self._transport.is_closing():
                self._transport.resume_reading()
            self._turn = loop.create_future()
            await self._turn

    def _raise_failure(self) -> None:
        failure = self.failure or self._sink.failure()
        if failure is not None:
            raise failure

    def _wake(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
