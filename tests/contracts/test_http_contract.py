"""What the engine may rely on of any HTTP client: the same suite on the fake and on both ways of the real one."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from fakes.http import FakeHttp, Reply
from filingd.adapters.http import AioHttpClient
from filingd.core.errors import DiskFullError, TransferError
from filingd.core.model import FlowLimits, Request, SecretRef
from support.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from filingd.ports import HttpClient
    from support.raw_server import Connection, Script

FLOW = FlowLimits(connect_timeout_s=5, idle_timeout_s=5)
BODY = bytes(range(256)) * 1000

REPLIES = {
    "/whole": Reply(200, BODY, {"ETag": '"v1"', "X-Odd-Case": "Yes"}),
    "/undeclared": Reply(200, BODY, declares_length=False),
    "/empty": Reply(200, b""),
    "/error": Reply(404, b'{"statusCode": 404}', {"Content-Type": "application/json"}),
    "/echo": Reply(403, b"no: " + b"0" * 32 + b"!", {"ETag": '"' + "0" * 32 + '"', "X-Other": "1" * 32}),
    "/redirect": Reply(302, b"", {"Location": "/whole"}),
    "/cut": Reply(200, BODY, breaks_after=1000),
    "/packed": Reply(200, gzip.compress(BODY), {"Content-Encoding": "gzip"}),
    "/packed-twice": Reply(200, gzip.compress(BODY) + gzip.compress(b"more"), {"Content-Encoding": "X-Gzip"}),
    "/packed-unsized": Reply(200, gzip.compress(BODY), {"Content-Encoding": "gzip"}, declares_length=False),
    "/packed-nothing": Reply(404, b"", {"Content-Encoding": "gzip"}),
    "/packed-error": Reply(
        404, gzip.compress(b'{"code": "' + b"0" * 32 + b'"}'), {"Content-Encoding": "gzip"}
    ),
    "/packed-bomb": Reply(200, gzip.compress(bytes(20_000_000)), {"Content-Encoding": "gzip"}),
    "/packed-cut": Reply(200, gzip.compress(BODY)[:-9], {"Content-Encoding": "gzip"}),
    "/packed-no": Reply(200, b"no gzip at all", {"Content-Encoding": "gzip"}),
    "/packed-no-error": Reply(500, b"no gzip at all", {"Content-Encoding": "gzip"}),
    "/mute": Reply(head_reason="connection_lost"),
}


def scripted(reply: Reply) -> Script:
    """The same reply on a real connection."""

    async def script(connection: Connection) -> None:
        if reply.head_reason is None:
            await connection.head(reply.status, **{**reply.headers, **_framing(reply)})
            body = reply.body if reply.breaks_after is None else reply.body[: reply.breaks_after]
            await (connection.send(body) if reply.declares_length else _in_chunks(connection, body))
        if reply.head_reason is not None or reply.breaks_after is not None:
            connection.cut()

    return script


def _framing(reply: Reply) -> Mapping[str, object]:
    if reply.declares_length:
        return {"Content-Length": len(reply.body)}
    return {"Transfer-Encoding": "chunked"}


async def _in_chunks(connection: Connection, body: bytes) -> None:
    await connection.chunk(body)
    await connection.send(b"0\r\n\r\n")


class Subject:
    """A client and where its replies are."""

    def __init__(
        self, client: HttpClient, base_url: str, server: FakeHttp | RawServer, *, is_document: bool = False
    ) -> None:
        self.client = client
        self.server = server
        self._base_url = base_url
        self._is_document = is_document

    def request(self, path: str, key_name: str | None = "the-key") -> Request:
        secret = SecretRef("X-Key", key_name) if key_name else None
        headers = (("Accept", "application/json"),)
        return Request(f"{self._base_url}{path}", headers, "rid-1", secret, self._is_document)


@pytest.fixture(params=["fake", "library", "wire"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        keys = {"the-key": "0" * 32}
        fake = FakeHttp(lambda asked: REPLIES[asked.url.removeprefix("http://127.0.0.1:1")], keys)
        yield Subject(fake, "http://127.0.0.1:1", fake)
        await fake.close()
        return
    async with RawServer({path: scripted(reply) for path, reply in REPLIES.items()}) as server:
        client = AioHttpClient({"the-key": "0" * 32}.__getitem__, "filingd-tests")
        yield Subject(client, server.url(""), server, is_document=request.param == "wire")
        await client.close()


class Sink:
    """Collects; refuses once it is told to."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.data = bytearray()
        self._buffer = bytearray(10_000)
        self._refusal = refusal

    def buffer(self) -> memoryview | None:
        return memoryview(self._buffer)

    def advance(self, count: int) -> None:
        self.data += self._buffer[:count]

    async def ready(self) -> None:
        await asyncio.sleep(0)

    def failure(self) -> Exception | None:
        return self._refusal if self.data else None


async def test_the_head_is_there_before_the_body(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/whole"), FLOW) as exchange:
        assert exchange.head.status == 200
        assert exchange.head.headers["x-odd-case"] == "Yes"
        assert exchange.head.strong_etag == '"v1"'
        assert exchange.head.content_length == len(BODY)


@pytest.mark.parametrize(("path", "body"), [("/whole", BODY), ("/undeclared", BODY), ("/empty", b"")])
async def test_a_body_pours_into_the_sink(subject: Subject, path: str, body: bytes) -> None:
    sink = Sink()
    async with subject.client.exchange(subject.request(path), FLOW) as exchange:
        assert await exchange.pour_into(sink, len(body)) == len(body)
    assert sink.data == body


async def test_a_cut_body_leaves_what_came_before(subject: Subject) -> None:
    sink = Sink()
    async with subject.client.exchange(subject.request("/cut"), FLOW) as exchange:
        with pytest.raises(TransferError) as caught:
            await exchange.pour_into(sink, 1 << 30)
    assert caught.value.reason == "connection_lost"
    assert sink.data == BODY[:1000]


@pytest.mark.parametrize("path", ["/whole", "/undeclared"])
async def test_a_body_beyond_the_bound_is_stopped(subject: Subject, path: str) -> None:
    sink = Sink()
    async with subject.client.exchange(subject.request(path), FLOW) as exchange:
        with pytest.raises(TransferError) as caught:
            await exchange.pour_into(sink, len(BODY) - 1)
    assert caught.value.reason == "too_large"
    assert len(sink.data) < len(BODY)


async def test_the_failure_of_the_sink_is_raised(subject: Subject) -> None:
    sink = Sink(DiskFullError("full"))
    async with subject.client.exchange(subject.request("/whole"), FLOW) as exchange:
        with pytest.raises(DiskFullError):
            await exchange.pour_into(sink, 1 << 30)


async def test_an_error_body_is_read_up_to_a_limit(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/error"), FLOW) as exchange:
        assert exchange.head.status == 404
        assert await exchange.read_capped(1000) == (b'{"statusCode": 404}', True)
    async with subject.client.exchange(subject.request("/error"), FLOW) as exchange:
        assert await exchange.read_capped(5) == (b'{"sta', False)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/packed", BODY),
        ("/packed-unsized", BODY),
        ("/packed-twice", BODY + b"more"),
        ("/packed-nothing", b""),
    ],
)
async def test_a_small_body_that_comes_packed_is_read_as_what_is_in_it(
    subject: Subject, path: str, body: bytes
) -> None:
    for _ in range(2):  # the second time on a connection that was kept
        async with subject.client.exchange(subject.request(path), FLOW) as exchange:
            assert await exchange.read_capped(len(body)) == (body, True)
    if body:
        async with subject.client.exchange(subject.request(path), FLOW) as exchange:
            assert await exchange.read_capped(len(body) - 1) == (body[:-1], False)


async def test_an_error_that_comes_packed_is_read_without_the_key_that_was_sent(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/packed-error"), FLOW) as exchange:
        assert await exchange.read_capped(1000) == (b'{"code": "[redacted]"}', True)
    async with subject.client.exchange(subject.request("/packed-error"), FLOW) as exchange:
        assert await exchange.read_capped(20) == (b'{"code": "', False)


async def test_a_bomb_is_inflated_to_the_bound_and_no_further(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/packed-bomb"), FLOW) as exchange:
        data, is_whole = await exchange.read_capped(100_000)
    assert (data, is_whole) == (bytes(100_000), False)


@pytest.mark.parametrize("path", ["/packed-cut", "/packed-no"])
async def test_a_body_that_cannot_be_inflated_is_no_answer(subject: Subject, path: str) -> None:
    async with subject.client.exchange(subject.request(path), FLOW) as exchange:
        with pytest.raises(TransferError) as caught:
            await exchange.read_capped(1 << 20)
    assert caught.value.reason == "bad_response"


async def test_an_error_that_cannot_be_inflated_is_still_told_by_its_status(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/packed-no-error"), FLOW) as exchange:
        assert exchange.head.status == 500
        assert await exchange.read_capped(1000) == (b"", False)


async def test_a_body_that_is_streamed_stays_as_it_was_served(subject: Subject) -> None:
    sink = Sink()
    async with subject.client.exchange(subject.request("/packed"), FLOW) as exchange:
        await exchange.pour_into(sink, 1 << 20)
    assert gzip.decompress(bytes(sink.data)) == BODY


async def test_neither_head_nor_error_quotes_the_key_that_was_sent(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/echo"), FLOW) as exchange:
        assert exchange.head.headers["etag"] == '"[redacted]"'
        assert exchange.head.headers["x-other"] == "1" * 32
        assert await exchange.read_capped(1000) == (b"no: [redacted]!", True)
    async with subject.client.exchange(subject.request("/echo"), FLOW) as exchange:
        assert await exchange.read_capped(30) == (b"no: ", False)
    async with subject.client.exchange(subject.request("/echo", None), FLOW) as exchange:
        assert exchange.head.header("ETag") == '"' + "0" * 32 + '"'


@pytest.mark.parametrize(
    ("path", "key_name", "reason"),
    [
        ("/redirect", "the-key", "redirected"),
        ("/mute", "the-key", "connection_lost"),
        ("/whole", "no-key", "key_missing"),
    ],
)
async def test_without_a_head_there_is_no_exchange(
    subject: Subject, path: str, key_name: str, reason: str
) -> None:
    exchange = subject.client.exchange(subject.request(path, key_name), FLOW)
    with pytest.raises(TransferError) as caught:
        await exchange.__aenter__()
    assert caught.value.reason == reason


async def test_a_request_needs_no_key(subject: Subject) -> None:
    async with subject.client.exchange(subject.request("/empty", None), FLOW) as exchange:
        assert exchange.head.status == 200


# ------------------------------------------------------------------------------------------ before sending


async def test_what_comes_before_sending_comes_when_the_connection_is_there_and_nothing_was_sent(
    subject: Subject,
) -> None:
    seen: list[int] = []

    async def before_sending() -> None:
        while isinstance(subject.server, RawServer) and not subject.server.connections:
            await asyncio.sleep(0)
        for _ in range(20):  # whatever was sent would have arrived
            await asyncio.sleep(0)
        seen.append(len(subject.server.requests))

    for _ in range(2):  # the second time on a connection that was kept
        async with subject.client.exchange(subject.request("/whole"), FLOW, before_sending) as exchange:
            await exchange.read_capped(1 << 20)
    assert seen == [0, 1]
    assert len(subject.server.requests) == 2
    if isinstance(subject.server, RawServer):
        assert subject.server.connections == 1


async def test_whatever_comes_before_sending_and_fails_keeps_the_request_from_being_sent(
    subject: Subject,
) -> None:
    async def refuse() -> None:
        raise DiskFullError("no room for the reservation")

    with pytest.raises(DiskFullError, match="no room"):
        async with subject.client.exchange(subject.request("/whole"), FLOW, refuse):
            raise AssertionError("there is nothing to enter")
    async with subject.client.exchange(subject.request("/whole"), FLOW) as exchange:
        assert (await exchange.read_capped(1 << 20))[0] == BODY
    assert len(subject.server.requests) == 1


async def test_one_request_is_not_held_back_by_what_another_waits_for(subject: Subject) -> None:
    gate = asyncio.Event()

    async def opened() -> None:
        await gate.wait()

    async def exchanged(before_sending: Callable[[], Awaitable[None]] | None) -> None:
        async with subject.client.exchange(subject.request("/whole"), FLOW, before_sending) as exchange:
            await exchange.read_capped(1 << 20)

    held = asyncio.create_task(exchanged(opened))
    await exchanged(None)
    assert not held.done()
    gate.set()
    await held
