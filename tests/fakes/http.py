"""An HTTP client that answers from a function (proven by tests/contracts/test_http_contract.py).

    http = FakeHttp(lambda request: Reply(200, body=b"..."))
    http.requests            # every request that was sent, in order
    http.most_at_once        # the highest number of exchanges open at the same time

A `Reply` can break: `breaks_after` bytes of its body with `break_reason`, or, with 0 bytes and `head_reason`, before
there is a head. `gate` is waited for before the head is given, so that a test can hold an exchange open;
`connect_gate` of the client is waited for before a request is sent, as if its connection took so long.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from filingd.core.errors import TransferError
from filingd.core.model import BODY_STATUSES, ResponseHead
from filingd.core.redaction import redact_secret, redact_secret_in_headers, without_begun_secret

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from filingd.core.model import FlowLimits, Request
    from filingd.ports import BodySink


@dataclass(frozen=True)
class Reply:
    """What the registry answers. Content-Length is added unless `declares_length` is off."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    declares_length: bool = True
    breaks_after: int | None = None
    break_reason: str = "connection_lost"
    head_reason: str | None = None
    gate: asyncio.Event | None = None
    body_gate: asyncio.Event | None = None  # waited for after the first half of the body

    @property
    def all_headers(self) -> dict[str, str]:
        """Headers as they are sent, lower case."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.declares_length:
            headers.setdefault("content-length", str(len(self.body)))
        return headers


class FakeHttp:
    """See the module."""

    def __init__(self, respond: Callable[[Request], Reply], keys: Mapping[str, str] | None = None) -> None:
        self._respond = respond
        self._keys = keys
        self.requests: list[Request] = []
        self.open_now = 0
        self.most_at_once = 0
        self.is_closed = False
        self.connect_gate: asyncio.Event | None = None

    def exchange(
        self,
        request: Request,
        flow: FlowLimits,
        before_sending: Callable[[], Awaitable[None]] | None = None,
    ) -> FakeExchange:
        """See `ports.HttpClient`."""
        return FakeExchange(self, request, before_sending)

    def key_of(self, request: Request) -> str:
        """The key that is sent along, if this client has keys; else nothing."""
        return (self._keys or {}).get(request.secret.name, "") if request.secret is not None else ""

    async def close(self) -> None:
        """See `ports.HttpClient`."""
        self.is_closed = True

    async def answer(
        self, request: Request, before_sending: Callable[[], Awaitable[None]] | None = None
    ) -> Reply:
        """Take note of a request and answer it.

        Raises:
            TransferError: no head is had.
        """
        if request.secret is not None and self._keys is not None and request.secret.name not in self._keys:
            raise TransferError("key_missing", request.secret.name)
        if self.connect_gate is not None:
            await self.connect_gate.wait()
        if before_sending is not None:
            await before_sending()
        self.requests.append(request)
        reply = self._respond(request)
        if reply.gate is not None:
            await reply.gate.wait()
        if reply.head_reason is not None:
            raise TransferError(reply.head_reason)
        if 300 <= reply.status < 400:
            raise TransferError("redirected", f"the answer was {reply.status}")
        return reply


class FakeExchange:
    """See `ports.Exchange`."""

    def __init__(
        self, client: FakeHttp, request: Request, before_sending: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._client = client
        self._before_sending = before_sending
        self._request = request
        self._reply = Reply()

    async def __aenter__(self) -> Self:
        self._client.open_now += 1
        self._client.most_at_once = max(self._client.most_at_once, self._client.open_now)
        try:
            self._reply = await self._client.answer(self._request, self._before_sending)
        except BaseException:
            self._client.open_now -= 1
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.open_now -= 1

    @property
    def head(self) -> ResponseHead:
        """Status and headers."""
        headers, key = self._reply.all_headers, self._client.key_of(self._request)
        return ResponseHead(self._reply.status, redact_secret_in_headers(headers, key) if key else headers)

    async def read_capped(self, limit_bytes: int) -> tuple[bytes, bool]:
        """See `ports.Exchange`."""
        reply = self._reply
        if reply.breaks_after is not None and reply.breaks_after <= limit_bytes:
            raise TransferError(reply.break_reason)
        body, is_sound = reply.body, True
        if self.head.is_gzipped and body:
            body, is_sound = _unpacked(body)
        if not is_sound and reply.status in BODY_STATUSES:
            raise TransferError("bad_response")
        shown, is_whole = body[:limit_bytes], is_sound and len(body) <= limit_bytes
        key = self._client.key_of(self._request)
        if key and reply.status not in BODY_STATUSES:
            shown = redact_secret(shown, key)[:limit_bytes]
            shown = shown if is_whole else without_begun_secret(shown, key)
        return shown, is_whole

    async def pour_into(self, sink: BodySink, max_bytes: int) -> int:
        """See `ports.Exchange`."""
        reply = self._reply
        declared = self.head.content_length
        if declared is not None and declared > max_bytes:
            raise TransferError("too_large", f"{declared} bytes are declared")
        arriving = reply.body if reply.breaks_after is None else reply.body[: reply.breaks_after]
        half = len(arriving) // 2
        await _pour(sink, arriving[:half])
        if reply.body_gate is not None:
            await reply.body_gate.wait()
        await _pour(sink, arriving[half:max_bytes])
        if len(arriving) > max_bytes:
            raise TransferError("too_large", f"more than {max_bytes} bytes arrive")
        if reply.breaks_after is not None:
            raise TransferError(reply.break_reason)
        return len(arriving)


def _unpacked(body: bytes) -> tuple[bytes, bool]:
    try:
        return gzip.decompress(body), True
    except (OSError, EOFError, zlib.error):
        return b"", False


async def _pour(sink: BodySink, data: bytes) -> None:
    while data:
        failure = sink.failure()
        if failure is not None:
            raise failure
        buffer = sink.buffer()
        if buffer is None:
            await sink.ready()
            continue
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        sink.advance(count)
        data = data[count:]
    failure = sink.failure()
    if failure is not None:
        raise failure
