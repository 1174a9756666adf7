"""The lean path for small documents: keep-alive HTTP/1.1 GETs at about a third of the general client's cost.

That client's objects cost more than a document of a few KiB. This path knows one thing only, a GET without redirects,
cookies, proxies or pipelining, and keeps every promise of `adapters.http`: a key goes nowhere but to the host it was
asked for, and no request is ever sent twice.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
from typing import TYPE_CHECKING, Self

import aiohappyeyeballs

from filingd.adapters.exchanges import KEEP_ALIVE_S, SentKey, Watch, described, fill, refuse_redirect
from filingd.adapters.inflating import capped, most_packed_bytes
from filingd.adapters.wire_connection import WireConnection
from filingd.core.errors import TransferError

if TYPE_CHECKING:
    from types import TracebackType

    from filingd.adapters.exchanges import BeforeSending, Keyring, Origin, Origins
    from filingd.core.model import FlowLimits, Request, ResponseHead
    from filingd.ports import BodySink

_NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305, section 5

_TARGET = re.compile(r"/[\x21-\x7e]*|\?[\x21-\x7e]*|")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)


class WireClient:
    """Connections by origin, the last used first. Made by `adapters.http`, which says what goes this way."""

    def __init__(self, keyring: Keyring, user_agent: str, context: ssl.SSLContext, origins: Origins) -> None:
        self._keyring = keyring
        self._user_agent = user_agent
        self._ssl = context
        self._origins = origins
        self._idle: dict[Origin, list[WireConnection]] = {}
        self._open: set[WireConnection] = set()
        self._is_closed = False

    def exchange(
        self, request: Request, flow: FlowLimits, before_sending: BeforeSending | None = None
    ) -> WireExchange:
        """See `ports.HttpClient`.

        Raises:
            ConfigError: (at once) the URL is neither https nor on loopback.
        """
        return WireExchange(self, self._origins.of(request.url), request, flow, before_sending)

    async def close(self) -> None:
        """Close all connections, for good. Exchanges under way break off."""
        self._is_closed = True
        connections = tuple(self._open)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.closed()

    async def send(
        self,
        origin: Origin,
        request: Request,
        flow: FlowLimits,
        key: SentKey,
        before_sending: BeforeSending | None,
    ) -> WireConnection:
        """Send a request on a connection that was kept or is made; `key` holds what was sent with it.

        Raises:
            TransferError: nothing could be sent.
            Exception: what `before_sending` raised.
        """
        if self._is_closed:
            raise TransferError("connection_lost", "the client is closed")
        connection = self._kept(origin)
        if connection is None:
            self._encoded(origin, request, key)  # no connection is made for what cannot be sent
            connection = await self._connected(origin, flow)
        try:
            if before_sending is not None:
                await before_sending()
            connection.send(self._encoded(origin, request, key), flow.idle_timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def give_back(self, origin: Origin, connection: WireConnection) -> None:
        """The exchange is over: keep its connection if that is sound."""
        if connection.is_free and not self._is_closed:
            connection.rest(KEEP_ALIVE_S)
            self._idle.setdefault(origin, []).append(connection)
        else:
            connection.close()

    def _kept(self, origin: Origin) -> WireConnection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_free:
                return connection
        return None

    async def _connected(self, origin: Origin, flow: FlowLimits) -> WireConnection:
        try:
            async with asyncio.timeout(flow.connect_timeout_s):
                connection = await self._made(origin)
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as exc:  # RuntimeError: uvloop, of a socket that has just failed
            reason = "tls_failed" if isinstance(exc, ssl.SSLError) else "connect_failed"
            raise TransferError(reason, described(exc)) from None
        if self._is_closed or not connection.is_open:
            connection.close()
            raise TransferError("connection_lost", "before the request was sent")
        self._open.add(connection)
        return connection

    async def _made(self, origin: Origin) -> WireConnection:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S
        )
        _, connection = await loop.create_connection(
            lambda: WireConnection(functools.partial(self._forget, origin)),
            sock=connected,
            ssl=self._ssl if origin.is_tls else None,
            server_hostname=origin.host if origin.is_tls else None,
        )
        return connection

    def _forget(self, origin: Origin, connection: WireConnection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(origin, [])
        if connection in idle:
            idle.remove(connection)

    def _encoded(self, origin: Origin, request: Request, key: SentKey) -> bytes:
        """The request as it goes out, the key in it.

        Raises:
            TransferError: the key cannot be had, or something in the request cannot be sent.
        """
        target = request.url[len(origin.text) :].partition("#")[0]
        if _TARGET.fullmatch(target) is None:
            raise TransferError("bad_response", "the request's path cannot be sent: nothing was")
        path = target if target.startswith("/") else f"/{target}"
        lines = [f"GET {path} HTTP/1.1\r\n", f"Host: {origin.host_header}\r\n"]
        lines += [_line("User-Agent", self._user_agent), "Accept-Encoding: identity\r\n"]
        lines += [_line(name, value) for name, value in request.headers if _may_be_added(name)]
        if request.secret is not None and _may_be_added(request.secret.header):
            lines.append(_line(request.secret.header, key.take(self._keyring, request.secret.name)))
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")


def _line(name: str, value: str) -> str:
    if _VALUE.fullmatch(value) is None:
        raise TransferError("bad_response", "a header of the request cannot be sent: nothing was")
    return f"{name}: {value}\r\n"


@functools.lru_cache(maxsize=256)
def _may_be_added(name: str) -> bool:
    """True; headers that frame a message or are this client's own are refused."""
    if _NAME.fullmatch(name) is None or name.lower() in _OURS:
        raise TransferError("bad_response", "a header of the request cannot be sent: nothing was")
    return True


class WireExchange:
    """See `ports.Exchange`; enter it to send the request."""

    __slots__ = (
        "_before_sending",
        "_client",
        "_connection",
        "_flow",
        "_head",
        "_key",
        "_origin",
        "_request",
    )

    def __init__(
        self,
        client: WireClient,
        origin: Origin,
        request: Request,
        flow: FlowLimits,
        before_sending: BeforeSending | None,
    ) -> None:
        self._client = client
        self._before_sending = before_sending
        self._origin = origin
        self._request = request
        self._flow = flow
        self._key = SentKey()
        self._connection: WireConnection | None = None
        self._head: ResponseHead | None = None

    async def __aenter__(self) -> Self:
        connection = None
        try:
            connection = await self._client.send(
                self._origin, self._request, self._flow, self._key, self._before_sending
            )
            head = await connection.head()
            refuse_redirect(head.status)
        except BaseException:
            self._key.forget()
            if connection is not None:
                connection.close()
            raise
        self._connection, self._head = connection, self._key.removed_from(head)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._key.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.give_back(self._origin, connection)

    @property
    def head(self) -> ResponseHead:
        """Status and headers."""
        assert self._head is not None, "the exchange has not been entered"
        return self._head

    @property
    def _opened(self) -> WireConnection:
        assert self._connection is not None, "the exchange has not been entered, or has been left"
        return self._connection

    async def read_capped(self, limit_bytes: int) -> tuple[bytes, bool]:
        """See `ports.Exchange`, and `SentKey.capped`.

        Raises:
            TransferError: it broke off or stalled, or cannot be inflated.
        """
        connection, most_bytes = self._opened, most_packed_bytes(self.head, limit_bytes)
        data = connection.take() if connection.is_whole else await self._read_on(connection, most_bytes)
        if len(data) > most_bytes:
            connection.close()
        return capped(self.head, data, limit_bytes, self._key)

    async def _read_on(self, connection: WireConnection, limit_bytes: int) -> bytes:
        """The whole body, or more than the limit of it."""
        parts, size = [], 0
        with Watch(self._flow, connection.fail) as watch:
            watch.received_bytes = lambda: connection.body_bytes
            while size <= limit_bytes and (data := await connection.body()):
                parts.append(data)
                size += len(data)
        return b"".join(parts)

    async def pour_into(self, sink: BodySink, max_bytes: int) -> int:
        """See `ports.Exchange`."""
        self._key.forget()  # what streams by is kept as it comes
        length = self.head.content_length
        if length is not None and length > max_bytes:
            raise TransferError("too_large", f"{length} bytes are declared, at most {max_bytes} are accepted")
        connection = self._opened
        received = 0
        with Watch(self._flow, connection.fail, sink) as watch:
            watch.received_bytes = lambda: connection.body_bytes
            while data := await connection.body():
                received += len(data)
                if received > max_bytes:
                    raise TransferError("too_large", f"more than {max_bytes} bytes arrive")
                await fill(sink, data, watch.meter)
        return received
