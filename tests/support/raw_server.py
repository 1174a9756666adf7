"""A server on loopback that sends exactly the bytes a test wants, when it wants them, and says what it received.

    async with RawServer({"/a": answer(200, body=b"...")}) as server:
        server.url("/a")
        server.requests[0].header("user-agent")

A path leads to a script: a coroutine that is given the connection and writes. A connection serves one request after
the other until a script closes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    Script = Callable[["Connection"], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    raw: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The value of a header, or None."""
        for line in self.raw.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Connection:
    """What a script may do."""

    def __init__(self, writer: asyncio.StreamWriter, server: RawServer) -> None:
        self._writer = writer
        self.server = server

    async def send(self, data: bytes) -> None:
        """Send bytes; a client that went away is no error."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def head(self, status: int = 200, **headers: object) -> None:
        """Send a status line and headers; underscores in names become dashes."""
        lines = [f"HTTP/1.1 {status} Whatever"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def silence(self) -> None:
        """Say nothing more until the server stops."""
        await self.server.stopping.wait()

    def cut(self) -> None:
        """End the connection in order, wherever the body is."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    @property
    def is_closing(self) -> bool:
        """Whether one side has ended it."""
        return self._writer.is_closing()


class RawServer:
    """See the module."""

    def __init__(self, scripts: Mapping[str, Script], tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Received] = []
        self.connections = 0
        self.stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self.stopping.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def url(self, path: str) -> str:
        """Where a script is served."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        connection = Connection(writer, self)
        try:
            while not connection.is_closing:
                raw = await reader.readuntil(b"\r\n\r\n")
                path = raw.split(b" ", 2)[1].decode()
                self.requests.append(Received(path, raw, number))
                await self._scripts[path](connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def answer(status: int = 200, body: bytes = b"", **headers: object) -> Script:
    """A plain answer with a right Content-Length."""

    async def script(connection: Connection) -> None:
        await connection.head(status, **{"Content_Length": len(body), **headers})
        await connection.send(body)

    return script


def chunked(body: bytes, chunk_bytes: int = 10_000, ends: bool = True) -> Script:
    """A chunked answer; without its end the connection is cut."""

    async def script(connection: Connection) -> None:
        await connection.head(200, Transfer_Encoding="chunked")
        for at in range(0, len(body), chunk_bytes):
            await connection.chunk(body[at : at + chunk_bytes])
        if ends:
            await connection.send(b"0\r\n\r\n")
        else:
            connection.cut()

    return script


def cut_after(body: bytes, declared: int, *, hard: bool = False) -> Script:
    """Declares more than it sends, then ends the connection in order, or at once."""

    async def script(connection: Connection) -> None:
        await connection.head(200, Content_Length=declared)
        await connection.send(body)
        if hard:
            connection.reset()
        else:
            connection.cut()

    return script


def stalled_after(body: bytes, declared: int) -> Script:
    """Sends some of the body and falls silent."""

    async def script(connection: Connection) -> None:
        await connection.head(200, Content_Length=declared)
        await connection.send(body)
        await connection.silence()

    return script


def dripping(piece: bytes, every_s: float, declared: int) -> Script:
    """Never stalls, never gets anywhere."""

    async def script(connection: Connection) -> None:
        await connection.head(200, Content_Length=declared)
        while not connection.is_closing:
            await connection.send(piece)
            await asyncio.sleep(every_s)

    return script


def raw(data: bytes, *, then_cut: bool = True) -> Script:
    """Whatever, then the end."""

    async def script(connection: Connection) -> None:
        await connection.send(data)
        if then_cut:
            connection.cut()
        else:
            await connection.silence()

    return script


async def silence(connection: Connection) -> None:
    """No answer at all."""
    await connection.silence()
