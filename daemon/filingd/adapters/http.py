"""The HTTP client: the only importer of aiohttp's client, and with `adapters.wire` the only place that sees a key.

What it never does: follow a redirect, send a key anywhere but to the host it was asked to, speak plain HTTP to
anything but loopback, repeat a request by itself (every call is reserved with the limiter), decompress, keep cookies.
"""

from __future__ import annotations

import contextlib
import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from filingd.adapters.exchanges import (
    KEEP_ALIVE_S,
    Origins,
    SentKey,
    Watch,
    described,
    fill,
    refuse_redirect,
    ssl_context,
)
from filingd.adapters.inflating import capped, most_packed_bytes
from filingd.adapters.takeover import BodyReceiver
from filingd.adapters.wire import WireClient
from filingd.core.errors import TransferError
from filingd.core.model import ResponseHead

if TYPE_CHECKING:
    from types import TracebackType

    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from filingd.adapters.exchanges import BeforeSending, Keyring
    from filingd.adapters.wire import WireExchange
    from filingd.core.model import FlowLimits, Request
    from filingd.ports import BodySink

_DNS_CACHE_S = 60
_READ_BUFFER_BYTES = 256 * 1024

# In this order: the first that fits names the reason. A class of aiohttp's may be a subclass of several.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ConnectionTimeoutError, "connect_failed"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (ssl.SSLError, "tls_failed"),
    (aiohttp.ClientConnectorError, "connect_failed"),
    (aiohttp.ClientHttpProxyError, "connect_failed"),
    (aiohttp.ClientPayloadError, "connection_lost"),
    (aiohttp.ClientResponseError, "bad_response"),
    (aiohttp.ClientConnectionError, "connection_lost"),
    (aiohttp.http_exceptions.HttpProcessingError, "bad_response"),
    (aiohttp.ClientError, "bad_response"),
    (ValueError, "bad_response"),
    (OSError, "connection_lost"),
)


def _translated(exc: BaseException, timeout_reason: str) -> TransferError:
    """Our error for one of the library's. No text of the library's is taken over: it may quote what was sent."""
    if isinstance(exc, TimeoutError) and not isinstance(exc, aiohttp.ConnectionTimeoutError):
        return TransferError(timeout_reason)
    reason = next((reason for kind, reason in _REASONS if isinstance(exc, kind)), "connection_lost")
    return TransferError(reason, described(exc))


_TRANSLATED = (
    aiohttp.ClientError,
    aiohttp.http_exceptions.HttpProcessingError,
    OSError,
    ValueError,
    RuntimeError,  # what the library says of a connection or session that was closed meanwhile
)


class AioHttpClient:
    """See `ports.HttpClient`.

    `keyring` gives a key's value by its name; it is asked at the moment of sending and its answer is kept no longer than
    the exchange, whose headers and error body never quote it (see `SentKey`).
    `proxy` is the URL of an HTTP proxy, `ca_bundle` the path of a file of certificates that replaces the system's.
    With `take_over` big bodies bypass the library's reader (see `adapters.takeover`). Documents bypass the library
    altogether (see `adapters.wire`), unless there is a proxy.
    """

    def __init__(
        self,
        keyring: Keyring,
        user_agent: str,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        take_over: bool = True,
    ) -> None:
        self._keyring = keyring
        self._user_agent = user_agent
        self._proxy = proxy
        self._take_over = take_over and proxy is None
        self._ssl = ssl_context(ca_bundle)
        self._session: aiohttp.ClientSession | None = None
        self._timeouts: dict[tuple[float, float], aiohttp.ClientTimeout] = {}
        self._origins = Origins()
        self._wire = WireClient(keyring, user_agent, self._ssl, self._origins)

    def exchange(
        self, request: Request, flow: FlowLimits, before_sending: BeforeSending | None = None
    ) -> AioHttpExchange | WireExchange:
        """See `ports.HttpClient`.

        Raises:
            ConfigError: (at once) the URL is neither https nor on loopback.
        """
        if request.is_document and self._proxy is None:
            return self._wire.exchange(request, flow, before_sending)
        self._origins.of(request.url)
        return AioHttpExchange(self, request, flow, before_sending)

    async def close(self) -> None:
        """Close all connections. Exchanges under way break off."""
        await self._wire.close()
        session, self._session = self._session, None
        if session is not None:
            # aiohttp 3.14 trips over a pooled TLS connection whose server has just sent garbage behind a body
            with contextlib.suppress(AttributeError):
                await session.close()

    async def send(
        self, request: Request, flow: FlowLimits, key: SentKey, before_sending: BeforeSending | None
    ) -> aiohttp.ClientResponse:
        """Send a request and give the library's response; `key` holds what was sent with it.

        Raises:
            TransferError: no response head was had.
            Exception: what `before_sending` raised.
        """
        _before_sending.set(before_sending)
        headers = dict(request.headers)
        if request.secret is not None:
            headers[request.secret.header] = key.take(self._keyring, request.secret.name)
        try:
            return await self._open_session().get(
                URL(request.url, encoded=True),
                headers=headers,
                timeout=self._timeout(flow),
                allow_redirects=False,
            )
        except _TRANSLATED as exc:
            raise _translated(exc, "head_timeout") from None

    def may_take_over(self, response: aiohttp.ClientResponse) -> bool:
        """Whether the body is nothing but a known number of bytes on a connection of its own."""
        headers = response.headers
        return (
            self._take_over
            and "Transfer-Encoding" not in headers
            and headers.get("Content-Encoding", "identity") == "identity"
            and headers.get("Content-Length", "").isdigit()
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = _TellingConnector(
                limit=0, ssl=self._ssl, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=_DNS_CACHE_S
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
                auto_decompress=False,
                read_bufsize=_READ_BUFFER_BYTES,
                proxy=self._proxy,
                middlewares=(_sent_once,),
            )
        return self._session

    def _timeout(self, flow: FlowLimits) -> aiohttp.ClientTimeout:
        wanted = (flow.connect_timeout_s, flow.idle_timeout_s)
        if wanted not in self._timeouts:
            self._timeouts[wanted] = aiohttp.ClientTimeout(total=None, connect=wanted[0], sock_read=wanted[1])
        return self._timeouts[wanted]


# What the connector has to do before a request of the running task is sent: the library hands it nothing of ours.
_before_sending: ContextVar[BeforeSending | None] = ContextVar("before_sending", default=None)


class _TellingConnector(aiohttp.TCPConnector):
    """Says when a connection is there, kept or new, and before anything is sent on it."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's signature
    ) -> Connection:
        """A connection for a request."""
        connection = await super().connect(req, traces, timeout)
        if (before_sending := _before_sending.get()) is not None:
            try:
                await before_sending()
            except BaseException:
                connection.close()
                raise
        return connection


async def _sent_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """The library would send a request again when a kept connection breaks; the limiter knows of one call only."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _translated(exc, "head_timeout") from None


class AioHttpExchange:
    """See `ports.Exchange`; enter it to send the request."""

    __slots__ = ("_before_sending", "_client", "_flow", "_head", "_key", "_request", "_response")

    def __init__(
        self,
        client: AioHttpClient,
        request: Request,
        flow: FlowLimits,
        before_sending: BeforeSending | None,
    ) -> None:
        self._client = client
        self._request = request
        self._flow = flow
        self._before_sending = before_sending
        self._key = SentKey()
        self._response: aiohttp.ClientResponse | None = None
        self._head: ResponseHead | None = None

    async def __aenter__(self) -> Self:
        try:
            self._response = response = await self._client.send(
                self._request, self._flow, self._key, self._before_sending
            )
            refuse_redirect(response.status)
        except BaseException:
            self._leave()
            raise
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._head = self._key.removed_from(ResponseHead(response.status, headers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._key.forget()
        if self._response is not None:
            self._response.close()  # a connection whose body was read to the end has gone back to the pool by now

    @property
    def head(self) -> ResponseHead:
        """Status and headers."""
        assert self._head is not None, "the exchange has not been entered"
        return self._head

    @property
    def _opened(self) -> aiohttp.ClientResponse:
        assert self._response is not None, "the exchange has not been entered"
        return self._response

    async def read_capped(self, limit_bytes: int) -> tuple[bytes, bool]:
        """See `ports.Exchange`, and `SentKey.capped`.

        Raises:
            TransferError: it broke off or stalled, or cannot be inflated.
        """
        content, most_bytes = self._opened.content, most_packed_bytes(self.head, limit_bytes)
        try:
            data = await content.readany()
            if not content.at_eof():
                with Watch(self._flow, content.set_exception) as watch:
                    data = await _read_on(content, data, most_bytes, watch)
        except _TRANSLATED as exc:
            raise _translated(exc, "stalled") from None
        return capped(self.head, data, limit_bytes, self._key)

    async def pour_into(self, sink: BodySink, max_bytes: int) -> int:
        """See `ports.Exchange`."""
        self._key.forget()  # what streams by is kept as it comes
        length = self.head.content_length
        if length is not None and length > max_bytes:
            raise TransferError("too_large", f"{length} bytes are declared, at most {max_bytes} are accepted")
        try:
            if (
                length is not None
                and self._client.may_take_over(self._opened)
                and self._opened.connection is not None
            ):
                return await self._take_over(sink, length)
            return await self._copy(sink, max_bytes)
        except _TRANSLATED as exc:
            raise _translated(exc, "stalled") from None

    async def _take_over(self, sink: BodySink, length: int) -> int:
        response = self._opened
        connection = response.connection
        assert connection is not None
        former, transport = connection.protocol, connection.transport
        if former is None or transport is None:
            return await self._copy(sink, length)
        early = _drained(response.content)
        if response.content.is_eof():
            await fill(sink, early)
            return len(early)
        transport.pause_reading()  # after the draining, which may have resumed it; nothing arrives in between
        former.read_timeout = None
        receiver = BodyReceiver(transport, sink, length - len(early), former)
        transport.set_protocol(receiver)
        with Watch(self._flow, receiver.fail, sink) as watch:
            watch.received_bytes = lambda: len(early) + receiver.received_bytes
            await fill(sink, early, watch.meter)
            await receiver.receive(watch.meter)
        return length

    async def _copy(self, sink: BodySink, max_bytes: int) -> int:
        content = self._opened.content
        with Watch(self._flow, content.set_exception, sink) as watch:
            received = 0
            watch.received_bytes = lambda: received
            while data := await content.readany():
                received += len(data)
                if received > max_bytes:
                    raise TransferError("too_large", f"more than {max_bytes} bytes arrive")
                await fill(sink, data, watch.meter)
        return received


async def _read_on(content: aiohttp.StreamReader, data: bytes, limit_bytes: int, watch: Watch) -> bytes:
    """The whole body, or more than the limit of it."""
    parts, size = [data], len(data)
    watch.received_bytes = lambda: size
    while size <= limit_bytes and (data := await content.readany()):
        parts.append(data)
        size += len(data)
    return b"".join(parts)


def _drained(content: aiohttp.StreamReader) -> bytes:
    """Everything the library has buffered. Reading makes it parse what it had put off, so it is asked again."""
    parts = []
    while part := content.read_nowait(-1):
        parts.append(part)
    return b"".join(parts)
