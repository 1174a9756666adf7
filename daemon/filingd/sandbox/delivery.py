"""Sending an answer, well or badly: framing, slices, cuts, stalls, drips, wrong lengths."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import struct
import time
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.answers import Answer
    from filingd.sandbox.journal import Entry, Journal, Outcome

SERVER = "filingd-sandbox"
_DRIP_TICK_S = 0.05
_OTHER_BYTES = bytes(byte ^ 0x55 for byte in range(256))
_LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Tear a connection down with RST."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


async def silence(seconds: float | None) -> None:
    """Say nothing for a while, or until the client goes away."""
    await (asyncio.Event().wait() if seconds is None else asyncio.sleep(seconds))


class _PlainResponse(web.StreamResponse):
    """A response without a Content-Type unless it was given one; the library would fill in one of its own."""

    async def _prepare_headers(self) -> None:
        given = "Content-Type" in self.headers
        await super()._prepare_headers()
        if not given:
            self.headers.pop("Content-Type", None)


class Delivery:
    """One answer on its way. Ends with an outcome for the journal."""

    def __init__(self, request: web.BaseRequest, answer: Answer, entry: Entry, journal: Journal) -> None:
        self._request, self._answer = request, answer
        self._entry, self._journal = entry, journal
        self._wire = answer.wire
        self._span_bytes: int | None = None  # what an honest server would send
        self._limit_bytes: int | None = None  # after so many the answer is cut
        self._target_bytes: int | None = None  # the smaller of the two: what will be sent
        self._sent_bytes = 0

    async def send(self) -> tuple[web.StreamResponse, Outcome]:
        """Send everything; returns the response and what became of it. Raises `ConnectionError` if the
        client left.
        """
        await self._settle_lengths()
        response = self._head()
        await response.prepare(self._request)
        async for chunk in self._shaped_chunks():
            await self._write(response, chunk)
        return response, await self._finish(response)

    # --- lengths ---

    async def _settle_lengths(self) -> None:
        body, wire = self._answer.body, self._wire
        size = body.size_bytes
        share = wire.cut is not None and wire.cut.after_bytes is None
        if size is None and (wire.framing == "length" or share):
            size = (await body.measure())[0]
        if size is not None:
            self._span_bytes = max((size if wire.stop is None else wire.stop) - wire.start, 0)
        if wire.cut is not None:
            self._limit_bytes = self._cut_after(self._span_bytes)
        known = [limit for limit in (self._span_bytes, self._limit_bytes) if limit is not None]
        self._target_bytes = min(known) if known else None

    def _cut_after(self, span_bytes: int | None) -> int:
        cut = self._wire.cut
        assert cut is not None
        if cut.after_bytes is None:
            return int((span_bytes or 0) * cut.after_share)
        return cut.after_bytes if span_bytes is None else min(cut.after_bytes, max(span_bytes - 1, 0))

    def _head(self) -> web.StreamResponse:
        answer = self._answer
        date = email.utils.formatdate(self._entry.started_at, usegmt=True)  # by the sandbox's own clock
        headers = {"Server": SERVER, "Date": date}
        response = _PlainResponse(status=answer.status, reason=answer.reason, headers=headers)
        response.headers.update(answer.headers)
        for name, value in answer.repeated_headers:
            response.headers.add(name, value)
        if answer.headers.get("Connection") == "close":
            response.force_close()
        if answer.status in (204, 304):
            return response
        if self._wire.framing == "chunked" and self._request.version >= (1, 1):
            response.enable_chunked_encoding()
        else:
            clean = self._wire.cut is not None and self._wire.cut.how == "clean"
            declared = self._limit_bytes if clean else self._span_bytes
            response.content_length = max((declared or 0) + self._wire.length_delta_bytes, 0)
        return response

    # --- bytes ---

    async def _shaped_chunks(self) -> AsyncIterator[bytes]:
        """The bytes to send, sliced, cut, altered, stalled and dripped as the wire says."""
        async for chunk in self._limited_chunks():
            altered = chunk.translate(_OTHER_BYTES) if self._wire.alter else chunk
            async for piece in self._around_stall(altered):
                async for drop in self._dripped(piece):
                    yield drop

    async def _limited_chunks(self) -> AsyncIterator[bytes]:
        left = self._target_bytes
        if left == 0:
            return
        async for chunk in self._answer.body.chunks(self._wire.start):
            piece = chunk if left is None else chunk[:left]
            yield piece
            if left is not None:
                left -= len(piece)
                if left == 0:
                    return

    async def _around_stall(self, chunk: bytes) -> AsyncIterator[bytes]:
        stall = self._wire.stall
        split = stall.after_bytes - self._sent_bytes if stall else -1
        if stall is None or not 0 <= split < len(chunk):
            yield chunk
            return
        if split:
            yield chunk[:split]
        await silence(stall.seconds)
        self._wire.stall = None
        yield chunk[split:]

    async def _dripped(self, chunk: bytes) -> AsyncIterator[bytes]:
        rate = self._wire.drip_bytes_per_s
        if not rate:
            yield chunk
            return
        step = max(int(rate * _DRIP_TICK_S), 1)
        due_s = time.monotonic()
        for offset in range(0, len(chunk), step):
            drop = chunk[offset : offset + step]
            due_s += len(drop) / rate
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            yield drop

    async def _write(self, response: web.StreamResponse, chunk: bytes) -> None:
        """Hand over one chunk. With the last one the request stops counting as open: once the client has
        it, it may ask again before this server's loop comes round.
        """
        if self._target_bytes is not None and self._sent_bytes + len(chunk) >= self._target_bytes:
            self._journal.release(self._entry)
        self._sent_bytes += len(chunk)
        self._entry.body_bytes = self._sent_bytes
        declared = response.content_length
        if declared is not None and self._sent_bytes > declared:
            await self._write_beyond(response, chunk, declared)
        else:
            await response.write(chunk)

    async def _write_beyond(self, response: web.StreamResponse, chunk: bytes, declared: int) -> None:
        """More than was declared: the library would hold it back, so it goes to the socket by itself."""
        inside = max(declared - (self._sent_bytes - len(chunk)), 0)
        if inside:
            await response.write(chunk[:inside])
        transport = self._request.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(chunk[inside:])

    # --- the end ---

    async def _finish(self, response: web.StreamResponse) -> Outcome:
        cut = self._wire.cut
        if cut is not None and cut.how == "reset":
            await self._drained()
            reset(self._request.transport)
            return "reset"
        if (cut is not None and cut.how == "short") or self._wire.length_delta_bytes:
            await self._drained()
            response.force_close()
            if self._request.transport is not None:
                self._request.transport.close()
            return "cut"
        self._journal.release(self._entry)
        await response.write_eof()
        return "cut" if cut is not None else "completed"

    async def _drained(self) -> None:
        """Wait until the kernel has what was written, so that an abrupt end takes nothing back."""
        transport = self._request.transport
        # a transport tells nobody when its buffer runs empty
        while isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
