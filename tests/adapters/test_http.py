"""The HTTP client against a server that lies, cuts, stalls and drips: on both event loops, all three ways of
receiving, in the clear and encrypted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import trustme
import uvloop

from filingd.adapters.http import AioHttpClient
from filingd.core.errors import ConfigError, DiskFullError, TransferError
from filingd.core.model import TRANSFER_REASONS, FlowLimits, Request, SecretRef
from support.raw_server import (
    Connection,
    RawServer,
    answer,
    chunked,
    cut_after,
    dripping,
    raw,
    silence,
    stalled_after,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from filingd.ports import HttpClient
    from support.raw_server import Script

KEY = "0123456789abcdef0123456789abcdef"
AGENT = "filingd-tests/1 (+mailto:ops@example.invalid)"
BODY = random.Random(3).randbytes(3_000_000)
FLOW = FlowLimits(connect_timeout_s=5, idle_timeout_s=5, min_bytes_per_s=1, min_rate_window_s=5)
HASTY = FlowLimits(connect_timeout_s=0.3, idle_timeout_s=0.3, min_bytes_per_s=1, min_rate_window_s=30)


class Run(Protocol):
    """Runs a test with a server that has these scripts."""

    def __call__(
        self, test: Callable[[World], Coroutine[Any, Any, None]], scripts: Mapping[str, Script]
    ) -> None: ...


class Sink:
    """A sink in memory. `slots` buffers are lent at a time; `release` gives them back, at once unless it is held."""

    def __init__(self, slots: int = 1 << 30, buffer_bytes: int = 65_536) -> None:
        self.data = bytearray()
        self.slots = slots
        self.refusal: Exception | None = None
        self.waited = 0
        self._buffer = bytearray(buffer_bytes)
        self._room = asyncio.Event()

    def buffer(self) -> memoryview | None:
        return memoryview(self._buffer) if self.slots else None

    def advance(self, count: int) -> None:
        assert self.slots, "bytes were put where there was no buffer"
        self.data += self._buffer[:count]
        self.slots -= 1

    async def ready(self) -> None:
        self.waited += 1
        while not self.slots and self.refusal is None:
            self._room.clear()
            await self._room.wait()

    def failure(self) -> Exception | None:
        return self.refusal

    def release(self, slots: int = 1) -> None:
        self.slots += slots
        self._room.set()

    def fail(self, refusal: Exception) -> None:
        self.refusal = refusal
        self._room.set()


class World:
    """A server and a client on one event loop."""

    def __init__(self, server: RawServer, client: AioHttpClient, *, is_document: bool) -> None:
        self.server = server
        self.client = client
        self._is_document = is_document

    def request(self, path: str, **headers: str) -> Request:
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return self.asking(self.server.url(path), named, SecretRef("X-Key", "the-key"))

    def asking(
        self, url: str, headers: tuple[tuple[str, str], ...] = (), secret: SecretRef | None = None
    ) -> Request:
        return Request(url, headers, "rid-1", secret, self._is_document)

    async def poured(self, path: str, sink: Sink, max_bytes: int = 1 << 30, flow: FlowLimits = FLOW) -> int:
        async with self.client.exchange(self.request(path), flow) as exchange:
            return await exchange.pour_into(sink, max_bytes)

    async def reason(self, path: str, sink: Sink | None = None, flow: FlowLimits = FLOW, **more: int) -> str:
        """The reason why pouring broke off."""
        with pytest.raises(TransferError) as caught:
            await self.poured(path, sink if sink is not None else Sink(), flow=flow, **more)
        assert caught.value.reason in TRANSFER_REASONS
        assert KEY not in str(caught.value)
        assert caught.value.__cause__ is None or KEY not in repr(caught.value.__cause__)
        return caught.value.reason


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=["taken-over", "read", "wire"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=[False, True], ids=["http", "https"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def run(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    way: str,
    tls: bool,
    authority: trustme.CA,
    tmp_path: Path,
) -> Run:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def run_it(test: Callable[[World], Coroutine[Any, Any, None]], scripts: Mapping[str, Script]) -> None:
        async def main() -> None:
            client = AioHttpClient(
                {"the-key": KEY}.__getitem__, AGENT, ca_bundle=str(bundle), take_over=way == "taken-over"
            )
            async with RawServer(scripts, context if tls else None) as server:
                try:
                    async with asyncio.timeout(20):
                        await test(World(server, client, is_document=way == "wire"))
                finally:
                    await client.close()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    return run_it


# ---------------------------------------------------------------- whole bodies


@pytest.mark.parametrize("size", [0, 1, 100, 65_536, 1_000_000, len(BODY)])
def test_a_body_of_declared_length_arrives_whole(run: Run, size: int) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        assert await world.poured("/a", sink) == size
        assert hashlib.sha256(sink.data).digest() == hashlib.sha256(BODY[:size]).digest()

    run(test, {"/a": answer(body=BODY[:size])})


@pytest.mark.parametrize("chunk_bytes", [1_000, 300_000, len(BODY)])
def test_a_chunked_body_arrives_whole(run: Run, chunk_bytes: int) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        assert await world.poured("/a", sink) == len(BODY)
        assert sink.data == BODY

    run(test, {"/a": chunked(BODY, chunk_bytes)})


def test_a_body_that_ends_with_its_connection_arrives_whole(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        await world.poured("/a", sink)
        assert sink.data == BODY

    run(test, {"/a": raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)})


def test_a_body_that_begins_long_after_its_head_arrives_whole(run: Run) -> None:
    begun = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head(200, Content_Length=len(BODY))
        await begun.wait()
        await connection.send(BODY)

    async def test(world: World) -> None:
        sink = Sink()
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            pouring = asyncio.create_task(exchange.pour_into(sink, 1 << 30))
            await asyncio.sleep(0)
            begun.set()
            assert await pouring == len(BODY)
        assert sink.data == BODY

    run(test, {"/a": script})


def test_a_slow_sink_makes_the_server_wait_and_loses_nothing(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink(slots=1, buffer_bytes=10_000)
        pouring = asyncio.create_task(world.poured("/a", sink))
        while not pouring.done():
            await asyncio.sleep(0)
            if not sink.slots:
                sink.release()
        await pouring
        assert sink.data == BODY
        assert sink.waited > 10

    run(test, {"/a": answer(body=BODY)})


def test_bytes_behind_the_body_are_never_taken_for_it(run: Run) -> None:
    begun = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head(200, Content_Length=1000)
        await begun.wait()
        await connection.send(BODY)
        connection.cut()

    async def test(world: World) -> None:
        sink = Sink()
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            pouring = asyncio.create_task(exchange.pour_into(sink, 1 << 30))
            await asyncio.sleep(0)
            begun.set()
            with contextlib.suppress(TransferError):  # the library's reader may refuse the whole answer
                assert await pouring == 1000
        assert sink.data in (BODY[:1000], b"")

    run(test, {"/a": script})


def test_transfers_at_once_do_not_mix(run: Run) -> None:
    async def test(world: World) -> None:
        sinks = {path: Sink(buffer_bytes=7_000) for path in ("/a", "/b", "/c")}
        await asyncio.gather(*(world.poured(path, sink) for path, sink in sinks.items()))
        assert sinks["/a"].data == BODY
        assert sinks["/b"].data == BODY[::-1]
        assert sinks["/c"].data == BODY[:500_000]

    run(test, {"/a": answer(body=BODY), "/b": answer(body=BODY[::-1]), "/c": chunked(BODY[:500_000])})


# ---------------------------------------------------------------- bodies that break


@pytest.mark.parametrize("arriving", [0, 10, 700_000])
@pytest.mark.parametrize("hard", [False, True])
def test_a_cut_body_leaves_what_came_before(run: Run, arriving: int, hard: bool) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        assert await world.reason("/a", sink) == "connection_lost"
        assert BODY.startswith(sink.data)
        assert hard or len(sink.data) == arriving

    run(test, {"/a": cut_after(BODY[:arriving], len(BODY), hard=hard)})


def test_a_chunked_body_without_its_end_is_cut(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        assert await world.reason("/a", sink) == "connection_lost"
        assert sink.data == BODY[:50_000]

    run(test, {"/a": chunked(BODY[:50_000], ends=False)})


@pytest.mark.parametrize("arriving", [0, 100_000])
def test_a_stalled_body_is_given_up_after_the_idle_timeout(run: Run, arriving: int) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        began = asyncio.get_running_loop().time()
        assert await world.reason("/a", sink, HASTY) == "stalled"
        assert sink.data == BODY[:arriving]
        assert 0.25 < asyncio.get_running_loop().time() - began < 3

    run(test, {"/a": stalled_after(BODY[:arriving], len(BODY))})


def test_a_body_that_drips_is_too_slow(run: Run) -> None:
    slow = FlowLimits(connect_timeout_s=5, idle_timeout_s=5, min_bytes_per_s=10_000, min_rate_window_s=0.4)

    async def test(world: World) -> None:
        assert await world.reason("/a", flow=slow) == "too_slow"

    run(test, {"/a": dripping(b"x", 0.02, len(BODY))})


def test_a_slow_disk_is_not_blamed_on_the_server(run: Run) -> None:
    strict = FlowLimits(
        connect_timeout_s=5, idle_timeout_s=0.2, min_bytes_per_s=100_000, min_rate_window_s=0.2
    )

    async def test(world: World) -> None:
        sink = Sink(slots=1)
        pouring = asyncio.create_task(world.poured("/a", sink, flow=strict))
        while not sink.waited:
            await asyncio.sleep(0)
        await asyncio.sleep(0.5)  # the disk is busy for longer than any limit
        sink.release(1 << 30)
        assert await pouring == len(BODY)

    run(test, {"/a": answer(body=BODY)})


@pytest.mark.parametrize("script", [answer(body=BODY), chunked(BODY)], ids=["declared", "chunked"])
def test_a_body_beyond_the_bound_is_stopped(run: Run, script: Script) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        assert await world.reason("/a", sink, max_bytes=len(BODY) - 1) == "too_large"
        assert len(sink.data) < len(BODY)
        assert await world.poured("/a", Sink(), max_bytes=len(BODY)) == len(BODY)

    run(test, {"/a": script})


def test_a_failing_disk_stops_the_transfer_at_once(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        pouring = asyncio.create_task(world.poured("/a", sink, flow=HASTY))
        while not sink.data:
            await asyncio.sleep(0)
        sink.fail(DiskFullError("full"))
        with pytest.raises(DiskFullError):
            await pouring

    run(test, {"/a": stalled_after(BODY[:500_000], len(BODY))})


def test_a_disk_that_fails_while_we_wait_for_it_stops_the_transfer(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink(slots=1)
        pouring = asyncio.create_task(world.poured("/a", sink))
        while not sink.waited:
            await asyncio.sleep(0)
        sink.fail(DiskFullError("full"))
        with pytest.raises(DiskFullError):
            await pouring

    run(test, {"/a": answer(body=BODY)})


def test_a_cancelled_transfer_ends_its_connection(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        pouring = asyncio.create_task(world.poured("/a", sink))
        while not sink.data:
            await asyncio.sleep(0)
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        assert await world.poured("/b", Sink()) == 5
        assert world.server.connections == 2

    run(test, {"/a": stalled_after(BODY[:500_000], len(BODY)), "/b": answer(body=b"hello")})


# ---------------------------------------------------------------- heads


def test_the_head_has_lower_case_names(run: Run) -> None:
    async def test(world: World) -> None:
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            head = exchange.head
            assert (head.status, head.headers["etag"], head.header("ETag")) == (404, '"x"', '"x"')
            assert (head.content_length, head.strong_etag) == (2, '"x"')

    run(test, {"/a": answer(404, b"{}", ETag='"x"')})


def test_the_request_carries_what_it_must_and_nothing_else(run: Run) -> None:
    async def test(world: World) -> None:
        async with world.client.exchange(world.request("/a", Accept="application/x.zip+json"), FLOW):
            pass
        received = world.server.requests[0]
        names = {line.split(b":")[0].lower() for line in received.raw.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"accept", b"accept-encoding", b"user-agent", b"x-key"}
        assert received.header("x-key") == KEY
        assert received.header("accept") == "application/x.zip+json"
        assert received.header("accept-encoding") == "identity"
        assert received.header("user-agent") == AGENT
        assert KEY not in received.path

    run(test, {"/a": answer()})


def test_the_path_is_sent_as_it_is_written(run: Run) -> None:
    path = "/extracts/batch/2026-11-20/a%2Fb?year=2026&x=%20"

    async def test(world: World) -> None:
        async with world.client.exchange(world.request(path), FLOW):
            pass
        assert world.server.requests[0].path == path

    run(test, {path: answer()})


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_refused_and_not_followed(run: Run, status: int) -> None:
    async def test(world: World) -> None:
        assert await world.reason("/a") == "redirected"
        assert [request.path for request in world.server.requests] == ["/a"]

    run(test, {"/a": answer(status, Location="/b"), "/b": answer()})


def test_cookies_are_not_kept(run: Run) -> None:
    async def test(world: World) -> None:
        for _ in range(2):
            async with world.client.exchange(world.request("/a"), FLOW):
                pass
        assert [request.header("cookie") for request in world.server.requests] == [None, None]

    run(test, {"/a": answer(Set_Cookie="session=1")})


def test_no_answer_is_a_head_timeout(run: Run) -> None:
    async def test(world: World) -> None:
        assert await world.reason("/a", flow=HASTY) == "head_timeout"

    run(test, {"/a": silence})


def test_a_server_that_hangs_up_before_the_head_is_asked_once_only(run: Run) -> None:
    async def test(world: World) -> None:
        assert await world.poured("/b", Sink()) == 5  # a kept connection, on which a library would try again
        assert await world.reason("/a") == "connection_lost"
        assert [request.path for request in world.server.requests] == ["/b", "/a"]

    run(test, {"/a": raw(b""), "/b": answer(body=b"hello")})


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: twelve\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_response(run: Run, garbage: bytes) -> None:
    async def test(world: World) -> None:
        assert await world.reason("/a") == "bad_response"

    run(test, {"/a": raw(garbage)})


def test_a_key_that_the_server_echoes_does_not_reach_the_error(run: Run) -> None:
    async def test(world: World) -> None:
        assert await world.reason("/a") == "bad_response"

    run(test, {"/a": raw(b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\x00\r\n\r\n")})


MD5_ETAG = '"d41d8cd98f00b204e9800998ecf8427e"'  # shaped like a key, and none


@pytest.mark.parametrize("echoed", [KEY, KEY.upper(), KEY[:16] + KEY[16:].upper()])
def test_a_key_that_the_server_echoes_does_not_reach_the_head(run: Run, echoed: str) -> None:
    async def test(world: World) -> None:
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            headers = exchange.head.headers
            assert KEY not in str(headers).lower()
            assert headers["x-echo"] == "you sent [redacted], [redacted]"
            assert headers["x-[redacted]"] == "1"
            assert headers["content-md5"] == MD5_ETAG
            assert exchange.head.content_length == 5
            assert headers["etag"] == 'W/"[redacted]"'

    echo: dict[str, Any] = {
        "X-Echo": f"you sent {echoed}, {echoed}",
        f"X-{echoed}": 1,
        "ETag": f'W/"{echoed}"',
    }
    run(test, {"/a": answer(body=b"hello", Content_MD5=MD5_ETAG, **echo)})


def test_an_etag_with_the_key_in_it_validates_nothing_and_any_other_stays(run: Run) -> None:
    async def test(world: World) -> None:
        for path, strong_etag in (("/key", None), ("/md5", MD5_ETAG)):
            async with world.client.exchange(world.request(path), FLOW) as exchange:
                assert exchange.head.strong_etag == strong_etag

    run(test, {"/key": answer(ETag=f'"{KEY}"'), "/md5": answer(ETag=MD5_ETAG)})


def test_a_key_that_the_server_echoes_does_not_hinder_its_body(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        assert await world.poured("/a", sink) == len(BODY)
        assert sink.data == BODY

    run(test, {"/a": answer(body=BODY, X_Echo=KEY)})


def test_a_key_that_cannot_be_read_is_named_and_nothing_is_sent(run: Run) -> None:
    async def test(world: World) -> None:
        request = world.asking(world.server.url("/a"), secret=SecretRef("X-Key", "another-key"))
        with pytest.raises(TransferError, match="another-key") as caught:
            async with world.client.exchange(request, FLOW):
                pass
        assert caught.value.reason == "key_missing"
        assert world.server.requests == []

    run(test, {"/a": answer()})


def test_a_request_without_a_key_has_none(run: Run) -> None:
    async def test(world: World) -> None:
        async with world.client.exchange(world.asking(world.server.url("/a")), FLOW):
            pass
        assert world.server.requests[0].header("x-key") is None

    run(test, {"/a": answer()})


# ---------------------------------------------------------------- small bodies


@pytest.mark.parametrize(
    "script", [answer(body=b"x" * 5000), chunked(b"x" * 5000, 700)], ids=["declared", "chunked"]
)
@pytest.mark.parametrize(
    ("limit", "expected"), [(4999, (4999, False)), (5000, (5000, True)), (9999, (5000, True))]
)
def test_a_small_body_is_read_up_to_a_limit(
    run: Run, script: Script, limit: int, expected: tuple[int, bool]
) -> None:
    async def test(world: World) -> None:
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            data, is_whole = await exchange.read_capped(limit)
        assert (data, is_whole) == (b"x" * expected[0], expected[1])

    run(test, {"/a": script})


@pytest.mark.parametrize("status", [201, 204 + 1, 400, 401, 403, 404, 429, 500, 502])
def test_a_key_in_the_text_of_an_error_is_replaced(run: Run, status: int) -> None:
    async def test(world: World) -> None:
        for limit in (1000, len(text)):
            async with world.client.exchange(world.request("/a"), FLOW) as exchange:
                shown = b'{"message": "no such key: [redacted] ([redacted])"}'
                assert await exchange.read_capped(limit) == (shown, True)

    text = f'{{"message": "no such key: {KEY} ({KEY.upper()})"}}'.encode()
    run(test, {"/a": answer(status, text)})


@pytest.mark.parametrize("status", [200, 206])
def test_a_key_in_a_small_body_that_may_be_stored_is_masked_and_its_length_stays(
    run: Run, status: int
) -> None:
    async def test(world: World) -> None:
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            assert await exchange.read_capped(1000) == (b"my key is " + b"*" * len(KEY), True)
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            assert await exchange.read_capped(len(text) - 1) == (b"my key is ", False)

    text = f"my key is {KEY}".encode()
    run(test, {"/a": answer(status, text)})


@pytest.mark.parametrize("rest_bytes", [1, 1_000_000])
def test_a_key_that_is_cut_at_the_limit_is_cut_off_with_it(run: Run, rest_bytes: int) -> None:
    before = b"xyz" * 30

    async def test(world: World) -> None:
        for there in (0, 1, 7, 8, 16, 31):
            async with world.client.exchange(world.request("/a"), FLOW) as exchange:
                assert await exchange.read_capped(len(before) + there) == (before, False)
        async with world.client.exchange(world.request("/a"), FLOW) as exchange:
            assert await exchange.read_capped(len(before) + 32) == (before + b"[redacted]", False)

    run(test, {"/a": answer(500, before + KEY.upper().encode() + b"x" * rest_bytes)})


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (cut_after(b"half", 8), "connection_lost"),
        (stalled_after(b"half", 8), "stalled"),
        (stalled_after(b"", 8), "stalled"),
    ],
)
def test_a_small_body_that_breaks_off_is_no_body(run: Run, script: Script, reason: str) -> None:
    async def test(world: World) -> None:
        with pytest.raises(TransferError) as caught:
            async with world.client.exchange(world.request("/a"), HASTY) as exchange:
                await exchange.read_capped(1000)
        assert caught.value.reason == reason

    run(test, {"/a": script})


def test_a_small_body_that_drips_is_too_slow(run: Run) -> None:
    slow = FlowLimits(connect_timeout_s=5, idle_timeout_s=5, min_bytes_per_s=10_000, min_rate_window_s=0.4)

    async def test(world: World) -> None:
        with pytest.raises(TransferError, match="too_slow"):
            async with world.client.exchange(world.request("/a"), slow) as exchange:
                await exchange.read_capped(10_000)

    run(test, {"/a": dripping(b"x", 0.02, 9_000)})


def test_small_bodies_share_a_connection(run: Run) -> None:
    async def test(world: World) -> None:
        for _ in range(5):
            async with world.client.exchange(world.request("/a"), FLOW) as exchange:
                assert await exchange.read_capped(1000) == (b"hello", True)
        assert world.server.connections == 1

    run(test, {"/a": answer(body=b"hello")})


def test_a_connection_with_an_unread_body_is_not_used_again(run: Run) -> None:
    async def test(world: World) -> None:
        for _ in range(2):
            async with world.client.exchange(world.request("/a"), FLOW) as exchange:
                await exchange.read_capped(10)
        assert world.server.connections == 2

    run(test, {"/a": answer(body=BODY)})


def test_a_client_that_is_closed_breaks_off_what_is_under_way(run: Run) -> None:
    async def test(world: World) -> None:
        sink = Sink()
        pouring = asyncio.create_task(world.reason("/a", sink))
        while not sink.data:
            await asyncio.sleep(0)
        await world.client.close()
        assert await pouring == "connection_lost"

    run(test, {"/a": stalled_after(BODY[:500_000], len(BODY))})


# ---------------------------------------------------------------- where requests may go


BOTH_WAYS = pytest.mark.parametrize("is_document", [False, True], ids=["library", "wire"])


def refused_url(url: str, *, is_document: bool) -> str:
    client: HttpClient = AioHttpClient(lambda name: KEY, AGENT)
    with pytest.raises(ConfigError) as caught:
        client.exchange(Request(url, (), "rid", SecretRef("X-Key", "k"), is_document), FLOW)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://ws.example.invalid/x",
        "ftp://127.0.0.1/x",
        "https://user:secret@ws.example.invalid/x",
        "http://127.0.0.1@ws.example.invalid/x",
        "http://10.0.0.1/x",
        "//127.0.0.1/x",
        "",
    ],
)
@BOTH_WAYS
def test_plain_http_only_serves_loopback(url: str, is_document: bool) -> None:
    assert "secret" not in refused_url(url, is_document=is_document)


@pytest.mark.parametrize(
    "url",
    ["https://ws.example.invalid/x", "http://127.0.0.1:1/x", "http://[::1]:1/x", "http://localhost:1/x"],
)
@BOTH_WAYS
def test_https_and_loopback_are_accepted(url: str, is_document: bool) -> None:
    AioHttpClient(lambda name: KEY, AGENT).exchange(Request(url, (), "rid", is_document=is_document), FLOW)


@BOTH_WAYS
async def test_nobody_listening_is_connect_failed(is_document: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        client = AioHttpClient(lambda name: KEY, AGENT)
        with pytest.raises(TransferError, match="refused") as caught:
            async with client.exchange(
                Request(f"http://127.0.0.1:{port}/", (), "rid", None, is_document), FLOW
            ):
                pass
        await client.close()
    assert caught.value.reason == "connect_failed"


@BOTH_WAYS
async def test_a_certificate_nobody_signed_is_tls_failed(authority: trustme.CA, is_document: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    client = AioHttpClient(lambda name: KEY, AGENT)
    async with RawServer({"/a": answer()}, context) as server:
        request = Request(server.url("/a"), (), "rid", SecretRef("X-Key", "k"), is_document)
        with pytest.raises(TransferError) as caught:
            async with client.exchange(request, FLOW):
                pass
        assert server.requests == []
    await client.close()
    assert caught.value.reason == "tls_failed"


@BOTH_WAYS
async def test_a_proxy_is_used_and_the_body_read_through_it(is_document: bool) -> None:
    async with RawServer({"http://localhost:1/a": answer(body=BODY)}) as proxy:
        client = AioHttpClient(lambda name: KEY, AGENT, proxy=proxy.url(""))
        sink = Sink()
        async with client.exchange(
            Request("http://localhost:1/a", (), "rid", None, is_document), FLOW
        ) as exchange:
            await exchange.pour_into(sink, 1 << 30)
        await client.close()
    assert sink.data == BODY


def test_a_ca_bundle_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none\\.pem"):
        AioHttpClient(lambda name: KEY, AGENT, ca_bundle=str(tmp_path / "none.pem"))


@pytest.mark.parametrize("key", ["", "two\r\nlines", "é"])
@BOTH_WAYS
async def test_a_key_that_no_header_can_carry_is_not_sent(key: str, is_document: bool) -> None:
    client = AioHttpClient(lambda name: key, AGENT)
    request = Request("http://127.0.0.1:1/", (), "rid", SecretRef("X-Key", "k"), is_document)
    with pytest.raises(TransferError) as caught:
        async with client.exchange(request, FLOW):
            pass
    await client.close()
    assert caught.value.reason == "key_missing"


@BOTH_WAYS
async def test_the_key_that_was_sent_is_replaced_and_no_other_is_asked_for(is_document: bool) -> None:
    asked: list[str] = []

    def rotating(name: str) -> str:
        asked.append(f"{len(asked):032x}")
        return asked[-1]

    async def echo(connection: Connection) -> None:
        sent = connection.server.requests[-1].header("x-key")
        assert sent == asked[-1]
        text = f"{sent} {0xABC:032x}".encode()
        await connection.head(401, X_Echo=sent, Content_Length=len(text))
        await connection.send(text)

    client = AioHttpClient(rotating, AGENT)
    async with RawServer({"/a": echo}) as server:
        request = Request(server.url("/a"), (), "rid", SecretRef("X-Key", "k"), is_document)
        for _ in range(3):
            async with client.exchange(request, FLOW) as exchange:
                assert exchange.head.headers["x-echo"] == "[redacted]"
                assert await exchange.read_capped(1000) == (f"[redacted] {0xABC:032x}".encode(), True)
    await client.close()
    assert len(asked) == (4 if is_document else 3)  # the first before the connection was made, in vain


@BOTH_WAYS
async def test_a_key_is_in_nothing_that_can_be_printed(is_document: bool) -> None:
    client = AioHttpClient(lambda name: KEY, AGENT)
    async with RawServer({"/a": answer()}) as server:
        request = Request(server.url("/a"), (), "rid", SecretRef("X-Key", "k"), is_document)
        async with client.exchange(request, FLOW) as exchange:
            printable = [repr(thing) for thing in (request, client, exchange, exchange.head)]
    await client.close()
    assert KEY not in "".join(printable)
