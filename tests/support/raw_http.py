"""A client that shows what really came over the wire: no pooling, no repair, no opinion."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

AGENT = "filingd-tests/1 (+mailto:ops@example.invalid)"
KEY = "NBB-CBSO-Subscription-Key"
REFERENCES = "application/x.zip+json"


@dataclasses.dataclass
class Reply:
    """What came back until the server closed, reset, or fell silent."""

    head: bytes = b""
    raw_body: bytes = b""
    reset: bool = False  # ended by RST
    silent: bool = False  # nothing more came within the patience

    @property
    def status(self) -> int:
        """Status code; 0 if no head came."""
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name."""
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def chunked(self) -> bool:
        """Whether the body came in chunks."""
        return self.headers.get("transfer-encoding") == "chunked"

    @property
    def ended_in_chunks(self) -> bool:
        """Whether the last, empty chunk came."""
        return self.raw_body.endswith(b"0\r\n\r\n")

    @property
    def body(self) -> bytes:
        """The body without the framing of chunks."""
        return _without_chunks(self.raw_body) if self.chunked else self.raw_body


def _without_chunks(raw: bytes) -> bytes:
    body, position = bytearray(), 0
    while position < len(raw):
        line_end = raw.find(b"\r\n", position)
        length = int(raw[position:line_end], 16) if line_end >= 0 else 0
        if not length:
            break
        body += raw[line_end + 2 : line_end + 2 + length]
        position = line_end + 2 + length + 2
    return bytes(body)


def standard_headers(key: str = "1" * 32, accept: str = REFERENCES) -> dict[str, str]:
    """The headers of a well-behaved request."""
    return {"User-Agent": AGENT, KEY: key, "Accept": accept, "X-Request-Id": str(uuid.uuid4())}


async def ask(
    base_url: str,
    path: str,
    *,
    key: str | None = "1" * 32,
    accept: str | None = REFERENCES,
    method: str = "GET",
    headers: Mapping[str, str | None] | None = None,
    patience_s: float = 10.0,
) -> Reply:
    """One request on its own connection. A header set to None is left out."""
    wanted: dict[str, str | None] = {**standard_headers(), KEY: key, "Accept": accept, **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", "Host: sandbox.test", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    reply = Reply()
    host, _, port = base_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await _read_all(reader, reply, patience_s)
    finally:
        writer.close()
    return reply


async def _read_all(reader: asyncio.StreamReader, reply: Reply, patience_s: float) -> None:
    received = bytearray()
    try:
        while chunk := await asyncio.wait_for(reader.read(65536), patience_s):
            received += chunk
    except ConnectionResetError:
        reply.reset = True
    except TimeoutError:
        reply.silent = True
    reply.head, _, reply.raw_body = bytes(received).partition(b"\r\n\r\n")
