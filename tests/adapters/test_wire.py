"""The lean path for documents: what its parser accepts however the bytes are cut, what its connections survive, and
what it never does. What it has in common with the library's path is in test_http.py and the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from filingd.adapters import wire
from filingd.adapters.http import AioHttpClient
from filingd.adapters.wire_connection import WireConnection
from filingd.adapters.wire_response import ResponseParser
from filingd.core.errors import TransferError
from filingd.core.model import FlowLimits, Request, SecretRef
from support.raw_server import Connection, RawServer, answer, chunked, raw, stalled_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from filingd.adapters.wire import WireExchange
    from filingd.core.model import ResponseHead
    from support.raw_server import Script

KEY_PARTS = ("fedcba98", "76543210", "fedcba98", "76543210")  # never whole in the memory of the tests
FLOW = FlowLimits(connect_timeout_s=5, idle_timeout_s=5, min_bytes_per_s=1, min_rate_window_s=5)
HASTY = FlowLimits(connect_timeout_s=0.3, idle_timeout_s=0.3, min_bytes_per_s=1, min_rate_window_s=30)
OK = b"HTTP/1.1 200 OK\r\n"


# ---------------------------------------------------------------- the parser


class Parsed:
    """What came of a response that arrived in these pieces; reading stops at its end, as a connection does."""

    def __init__(self, pieces: Iterable[bytes], *, ends: bool = True) -> None:
        parser = ResponseParser()
        self.body = b""
        self.refusal: str | None = None
        self._feed(parser, list(pieces), ends=ends)
        self.head: ResponseHead | None = parser.head
        self.is_complete = parser.is_complete
        self.is_reusable = parser.is_reusable

    def _feed(self, parser: ResponseParser, pieces: list[bytes], *, ends: bool) -> None:
        try:
            while pieces and not parser.is_complete:
                parser.feed(pieces.pop(0))
                self.body += parser.take()
        except TransferError as error:
            self.refusal = f"{error.reason}: {error.detail}"
        if any(pieces):
            parser.is_reusable = False
        if ends and not parser.is_complete:
            parser.end()

    def outcome(self) -> tuple[object, ...]:
        """All of it, to be compared."""
        if self.refusal is not None:
            return (self.refusal.partition(":")[0],)
        return (self.head, self.body, self.is_complete, self.is_reusable)


RESPONSES = {
    "declared": OK + b'Content-Length: 5\r\nETag: "x"\r\n\r\nhello',
    "chunked": OK
    + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nX-Trailer: t\r\n\r\n",
    "until the end": OK + b"Content-Type: text/plain\r\n\r\nhello\r\nworld",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "nothing, with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "empty": OK + b"Content-Length: 0\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    + OK
    + b"Content-Length: 2\r\n\r\nok",
    "closing": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "short": OK + b"Content-Length: 50\r\n\r\nhello",
    "without its last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
    "followed by rubbish": OK + b"Content-Length: 2\r\n\r\nokxyz",
    "followed by another": (OK + b"Content-Length: 2\r\n\r\nok") * 2,
    "twice named": OK + b"Vary: a\r\nvary: b\r\nX-Empty:\r\nX-Spaced:  a b \t\r\nContent-Length: 0\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nraw",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\nlo\r\n0\r\n\r\n",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}


@pytest.mark.parametrize("name", RESPONSES)
@given(data=st.data())
def test_it_does_not_matter_where_a_response_is_cut_on_its_way(name: str, data: st.DataObject) -> None:
    response = RESPONSES[name]
    cuts = data.draw(st.lists(st.integers(0, len(response)), max_size=12).map(sorted))
    pieces = [response[a:b] for a, b in zip([0, *cuts], [*cuts, len(response)], strict=True)]
    assert Parsed(pieces).outcome() == Parsed([response]).outcome()


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_may_arrive_byte_by_byte(name: str) -> None:
    response = RESPONSES[name]
    assert Parsed(bytes([byte]) for byte in response).outcome() == Parsed([response]).outcome()


@pytest.mark.parametrize(
    ("name", "body", "complete", "reusable"),
    [
        ("declared", b"hello", True, True),
        ("chunked", b"hello", True, True),
        ("until the end", b"hello\r\nworld", True, False),
        ("nothing", b"", True, True),
        ("nothing, with a length", b"", True, True),
        ("empty", b"", True, True),
        ("interim", b"ok", True, True),
        ("closing", b"ok", True, False),
        ("old", b"ok", True, False),
        ("short", b"hello", False, False),
        ("without its last chunk", b"hel", False, False),
        ("followed by rubbish", b"ok", True, False),
        ("followed by another", b"ok", True, False),
    ],
)
def test_a_response_ends_where_its_framing_says(
    name: str, body: bytes, complete: bool, reusable: bool
) -> None:
    parsed = Parsed([RESPONSES[name]])
    assert (parsed.body, parsed.is_complete, parsed.is_reusable) == (body, complete, reusable)


def test_an_end_that_nothing_announces_is_only_believed_of_an_open_body() -> None:
    assert not Parsed([RESPONSES["until the end"]], ends=False).is_complete
    assert Parsed([RESPONSES["until the end"]], ends=True).is_complete
    assert not Parsed([OK + b"Content-Type: x\r\n"], ends=True).is_complete  # not even a head


def test_headers_of_one_name_are_joined_and_stripped() -> None:
    head = Parsed([RESPONSES["twice named"]]).head
    assert head is not None
    assert head.headers == {"vary": "a, b", "x-empty": "", "x-spaced": "a b", "content-length": "0"}


def test_trailers_are_no_headers() -> None:
    head = Parsed([RESPONSES["chunked"]]).head
    assert head is not None
    assert head.headers == {"transfer-encoding": "chunked"}


def test_interim_responses_leave_no_trace() -> None:
    head = Parsed([RESPONSES["interim"]]).head
    assert head is not None
    assert (head.status, head.headers) == (200, {"content-length": "2"})


def test_a_content_coding_is_left_alone() -> None:
    parsed = Parsed([OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"])
    assert parsed.body == b"\x1f\x8b\x08"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "Content-Length"),
        (OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "Content-Length"),
        (OK + b"Content-Length: 1, 2\r\n\r\nxx", "Content-Length"),
        (OK + b"Content-Length: -1\r\n\r\n", "Content-Length"),
        (OK + b"Content-Length:\r\n\r\n", "Content-Length"),
        (OK + b"Content-Length: 99999999999999999999999\r\n\r\n", "Content-Length"),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length"),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nxx", "transfer coding"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx", "chunk"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", "chunk"),
        (OK + b"A: b\r\n folded\r\n\r\n", "whitespace"),
        (OK + b"A: b\x00\r\n\r\n", "header value"),
        (OK + b"A b: c\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\nA: b\n\n", "CR"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "status"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "status"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "switched"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "switched"),
        (b"<html>", "HTTP"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_in_words(response: bytes, words: str) -> None:
    refusal = Parsed([response]).refusal
    assert refusal is not None
    assert refusal.startswith("bad_response: ")
    assert words.lower() in refusal.lower()


def head_of(count: int, size: int = 1) -> bytes:
    """A head of so many headers, with values of this size."""
    return OK + b"".join(b"X-%d: %s\r\n" % (number, b"y" * size) for number in range(count)) + b"\r\n"


def test_a_head_may_have_two_hundred_headers_and_no_more() -> None:
    assert Parsed([head_of(200)]).refusal is None
    assert Parsed([head_of(201)]).refusal == "bad_response: more than 200 headers"


def test_a_head_may_have_64_kib_and_no_more() -> None:
    assert Parsed([head_of(60, 1000)]).refusal is None
    assert Parsed([head_of(70, 1000)]).refusal == "bad_response: more than 65536 bytes of head"
    assert (
        Parsed([head_of(70, 1000) + b"a body in the same piece"]).refusal
        == "bad_response: more than 65536 bytes of head"
    )


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"HTTP/1.1 200 ", b"y" * 100),
        (OK + b"X: ", b"y" * 100),
        (OK, b"X" * 100),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        (b"", b"\r\n" * 50),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"y" * 100),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ", b"y" * 100),
    ],
    ids=["reason phrase", "value", "name", "interim responses", "blank lines", "chunk extension", "trailer"],
)
def test_what_is_no_body_never_goes_on_for_ever(opening: bytes, piece: bytes) -> None:
    parser = ResponseParser()
    parser.feed(opening)
    with pytest.raises(TransferError, match="bad_response"):
        _feed_on(parser, piece)


def _feed_on(parser: ResponseParser, piece: bytes) -> None:
    for _ in range(1_000):
        parser.feed(piece)


def test_a_parser_serves_one_response_after_the_other() -> None:
    parser = ResponseParser()
    for name in ("declared", "chunked", "nothing", "interim", "declared"):
        parser.begin()
        parser.feed(RESPONSES[name])
        assert (parser.is_complete, parser.is_reusable) == (True, True)
        assert parser.take() == Parsed([RESPONSES[name]]).body


# ---------------------------------------------------------------- connections


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Runs a test on both event loops."""

    def run_it(test: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return run_it


class World:
    """A server and a client whose inner parts may be looked at."""

    def __init__(self, server: RawServer, client: AioHttpClient) -> None:
        self.server = server
        self.client = client
        self.wire = client._wire

    def exchange(self, path: str = "/a", flow: FlowLimits = FLOW) -> WireExchange:
        request = Request(self.server.url(path), (), "rid-1", SecretRef("X-Key", "k"), is_document=True)
        return self.wire.exchange(request, flow)

    async def fetched(self, path: str = "/a", limit: int = 1 << 20, flow: FlowLimits = FLOW) -> bytes:
        async with self.exchange(path, flow) as exchange:
            return (await exchange.read_capped(limit))[0]

    async def reason(self, path: str = "/a", flow: FlowLimits = FLOW) -> str:
        with pytest.raises(TransferError) as caught:
            await self.fetched(path, flow=flow)
        return caught.value.reason

    @property
    def open(self) -> set[WireConnection]:
        return self.wire._open

    @property
    def idle(self) -> list[WireConnection]:
        return [connection for idle in self.wire._idle.values() for connection in idle]


@contextlib.asynccontextmanager
async def world(scripts: dict[str, Script], tls: ssl.SSLContext | None = None) -> AsyncIterator[World]:
    async with RawServer(scripts, tls) as server:
        client = AioHttpClient(lambda name: "".join(KEY_PARTS), "filingd-tests")
        yield World(server, client)
        await client.close()
        assert not client._wire._open


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact, for less than the 15 s that an idle connection lives."""
    async with asyncio.timeout(5):
        while not fact():
            await asyncio.sleep(0.001)


def test_documents_go_the_lean_way_and_bodies_do_not(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        async with world({"/a": answer(body=b"hello")}) as it:
            request = Request(it.server.url("/a"), (), "rid")
            document = Request(it.server.url("/a"), (), "rid", is_document=True)
            assert type(it.client.exchange(request, FLOW)) is not type(it.client.exchange(document, FLOW))
            assert await it.fetched() == b"hello"
            assert it.client._session is None, "the library has been used"

    run(test())


def test_the_connection_used_last_is_used_next(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        async with world({"/a": answer(body=b"hello")}) as it:
            async with it.exchange() as outer:
                async with it.exchange() as inner:
                    await inner.read_capped(10)
                await outer.read_capped(10)
            for _ in range(3):
                await it.fetched()
            assert [request.connection for request in it.server.requests] == [0, 1, 0, 0, 0]

    run(test())


def test_exchanges_at_once_have_a_connection_each_and_share_them_later(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        scripts = {f"/{number}": answer(body=b"%d" % number) for number in range(50)}
        async with world(scripts) as it:
            for _ in range(2):
                bodies = await asyncio.gather(*(it.fetched(path) for path in scripts))
                assert bodies == [b"%d" % number for number in range(50)]
            assert it.server.connections == 50
            assert len(it.idle) == 50

    run(test())


def test_a_server_that_closes_between_two_requests_is_asked_on_a_new_connection(
    run: Callable[[Any], None],
) -> None:
    async def once(connection: Connection) -> None:
        await answer(body=b"hello")(connection)
        connection.cut()

    async def test() -> None:
        async with world({"/a": once}) as it:
            for _ in range(3):
                assert await it.fetched() == b"hello"
                await until(lambda: not it.open)
                assert it.idle == []
            assert it.server.connections == len(it.server.requests) == 3

    run(test())


def test_an_idle_connection_is_closed_after_a_while(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "KEEP_ALIVE_S", 0.05)

    async def test() -> None:
        async with world({"/a": answer(body=b"hello")}) as it:
            await it.fetched()
            assert len(it.idle) == 1
            await until(lambda: not it.open)
            assert it.idle == []
            await it.fetched()
            assert it.server.connections == 2

    run(test())


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x", b"\r\n"])
def test_bytes_nobody_asked_for_end_an_idle_connection(run: Callable[[Any], None], surplus: bytes) -> None:
    idle = asyncio.Event()

    async def script(connection: Connection) -> None:
        await answer(body=b"hello")(connection)
        await idle.wait()
        await connection.send(surplus)

    async def test() -> None:
        async with world({"/a": script, "/b": answer(body=b"good")}) as it:
            assert await it.fetched() == b"hello"
            assert len(it.idle) == 1
            idle.set()
            await until(lambda: not it.open)
            assert await it.fetched("/b") == b"good"
            assert it.server.connections == 2

    run(test())


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x"])
def test_bytes_behind_a_body_are_dropped_and_their_connection_with_them(
    run: Callable[[Any], None], surplus: bytes
) -> None:
    async def test() -> None:
        whole = OK + b"Content-Length: 5\r\n\r\nhello" + surplus
        async with world({"/a": raw(whole, then_cut=False), "/b": answer(body=b"good")}) as it:
            assert await it.fetched() == b"hello"
            assert it.idle == []
            assert await it.fetched("/b") == b"good"
            assert it.server.connections == 2

    run(test())


@pytest.mark.parametrize("path", ["/close", "/old", "/open"])
def test_a_connection_that_the_server_will_not_keep_is_not_kept(
    run: Callable[[Any], None], path: str
) -> None:
    scripts = {
        "/close": answer(body=b"hello", Connection="close"),
        "/old": raw(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", then_cut=False),
        "/open": raw(b"HTTP/1.1 200 OK\r\n\r\nhello"),
    }

    async def test() -> None:
        async with world(scripts) as it:
            assert await it.fetched(path) == b"hello"
            assert it.idle == []

    run(test())


def test_a_body_read_up_to_a_limit_ends_its_connection_even_if_all_of_it_is_here(
    run: Callable[[Any], None],
) -> None:
    async def test() -> None:
        async with world({"/a": raw(OK + b"Content-Length: 5\r\n\r\nhello", then_cut=False)}) as it:
            assert await it.fetched(limit=4) == b"hell"
            assert it.idle == []
            await until(lambda: not it.open)

    run(test())


def test_a_small_body_left_unread_ends_its_connection(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        async with world({"/a": answer(body=b"hello")}) as it:
            async with it.exchange():
                (connection,) = it.open
                await until(lambda: connection.is_whole)
            assert it.idle == []
            assert await it.fetched() == b"hello"
            assert it.server.connections == 2

    run(test())


def test_a_server_that_speaks_before_it_is_asked_is_hung_up_on(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        near, far = socket.socketpair()
        with far:
            far.sendall(OK + b"Content-Length: 4\r\n\r\nevil")
            gone: list[WireConnection] = []
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: WireConnection(gone.append), sock=near
            )
            async with asyncio.timeout(5):
                await connection.closed()
            assert gone == [connection]
            assert not connection.is_open
            assert connection.body_bytes == 0

    run(test())


def test_a_body_that_nobody_reads_waits_in_the_server_not_in_memory(run: Callable[[Any], None]) -> None:
    body = bytes(range(256)) * 40_000

    async def test() -> None:
        async with world({"/a": answer(body=body), "/b": chunked(body, 5_000)}) as it:
            for path in ("/a", "/b"):
                async with it.exchange(path) as exchange:
                    (connection,) = it.open
                    await until(functools.partial(getattr, connection, "_is_paused"))
                    held_bytes = connection._response.buffered_bytes
                    assert 192 * 1024 <= held_bytes <= 256 * 1024
                    for _ in range(20):
                        await asyncio.sleep(0.001)
                    assert connection._response.buffered_bytes == held_bytes, "it was received on"
                    assert await exchange.read_capped(len(body)) == (body, True)
            assert len(it.idle) == 1

    run(test())


def test_many_requests_share_one_timer(run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    set_timers: list[float] = []
    set_timer = WireConnection._set_timer

    def counted(connection: WireConnection) -> None:
        set_timers.append(connection._deadline_at)
        set_timer(connection)

    monkeypatch.setattr(WireConnection, "_set_timer", counted)

    async def test() -> None:
        async with world({"/a": answer(body=b"hello")}) as it:
            for _ in range(100):
                await it.fetched(flow=FlowLimits())
            assert len(set_timers) == 2  # one for the first head, an earlier one for the first rest

    run(test())


def test_a_timer_set_for_an_earlier_request_does_not_cut_a_later_one_short(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "KEEP_ALIVE_S", 0.2)
    asked, allowed = asyncio.Event(), asyncio.Event()

    async def late(connection: Connection) -> None:
        asked.set()
        await allowed.wait()
        await answer(body=b"late")(connection)

    async def test() -> None:
        async with world({"/a": answer(body=b"hello"), "/late": late}) as it:
            await it.fetched()
            (connection,) = it.open
            first_at = connection._timer_at
            fetching = asyncio.create_task(it.fetched("/late"))
            await asked.wait()
            await until(lambda: connection._timer_at > first_at)  # it fired, and was set anew for the head
            allowed.set()
            assert await fetching == b"late"
            assert it.server.connections == 1

    run(test())


# ---------------------------------------------------------------- being stopped


@pytest.mark.parametrize("path", ["/mute", "/half"])
def test_a_cancelled_exchange_ends_its_connection_and_no_other(run: Callable[[Any], None], path: str) -> None:
    begun = asyncio.Event()

    async def mute(connection: Connection) -> None:
        begun.set()
        await connection.silence()

    async def half(connection: Connection) -> None:
        await connection.head(200, Content_Length=10)
        await connection.send(b"half")
        begun.set()
        await connection.silence()

    async def test() -> None:
        async with world({"/a": answer(body=b"hello"), "/mute": mute, "/half": half}) as it:
            async with it.exchange() as exchange:  # holds a connection of its own meanwhile
                fetching = asyncio.create_task(it.fetched(path))
                await begun.wait()
                await until(lambda: len(it.open) == 2)
                await asyncio.sleep(0)
                fetching.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await fetching
                await until(lambda: len(it.open) == 1)
                assert await exchange.read_capped(10) == (b"hello", True)
            assert await it.fetched() == b"hello"
            assert it.server.connections == 2

    run(test())


def unanswering() -> socket.socket:
    """Accepts connections, in the kernel, and never says a word."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_a_handshake_that_never_ends_is_a_failed_connection(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        with unanswering() as listener:
            client = AioHttpClient(lambda name: "k", "filingd-tests")
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
            with pytest.raises(TransferError) as caught:
                async with client.exchange(Request(url, (), "rid", is_document=True), HASTY):
                    pass
            assert caught.value.reason == "connect_failed"
            await client.close()

    run(test())


def test_a_connection_that_is_cancelled_while_it_is_made_is_closed(run: Callable[[Any], None]) -> None:
    async def test() -> None:
        with unanswering() as listener:
            client = AioHttpClient(lambda name: "k", "filingd-tests")
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
            exchange = client.exchange(Request(url, (), "rid", is_document=True), FLOW)
            entering = asyncio.create_task(exchange.__aenter__())
            listener.setblocking(False)
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                accepted.setblocking(False)
                await asyncio.get_running_loop().sock_recv(accepted, 100_000)  # its first words
                entering.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await entering
                with contextlib.suppress(ConnectionError):
                    while await asyncio.get_running_loop().sock_recv(accepted, 100_000):
                        pass
            await client.close()

    run(test())


def test_closing_the_client_ends_idle_and_busy_connections_and_makes_no_more(
    run: Callable[[Any], None],
) -> None:
    async def test() -> None:
        async with world({"/a": answer(body=b"hello"), "/half": stalled_after(b"half", 10)}) as it:
            reading = asyncio.create_task(it.reason("/half"))
            await until(lambda: it.server.requests)
            await it.fetched()
            assert (len(it.open), len(it.idle)) == (2, 1)
            await it.client.close()
            assert await reading == "connection_lost"
            assert (it.open, it.idle) == (set(), [])
            assert await it.reason() == "connection_lost"
            assert it.server.connections == 2

    run(test())


async def test_an_address_that_leads_nowhere_does_not_keep_the_next_one_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world({"/a": answer(body=b"hello")}) as it:
        with contextlib.ExitStack() as sockets:
            nowhere = sockets.enter_context(socket.socket())
            nowhere.bind(("127.0.0.2", 0))
            nowhere.listen(0)
            for _ in range(8):  # its queue is full: the kernel answers nobody else
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(nowhere.getsockname())
            good = ("127.0.0.1", int(it.server.url("").rpartition(":")[2]))

            async def two_addresses(*asked: object, **how: object) -> list[tuple[Any, ...]]:
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", to) for to in (nowhere.getsockname(), good)
                ]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two_addresses)
            assert await it.fetched(flow=FlowLimits(connect_timeout_s=4)) == b"hello"


async def test_a_connection_that_is_ready_after_the_client_was_closed_is_not_used(tmp_path: Path) -> None:
    async with secured("127.0.0.1", tmp_path) as (server, client):
        exchange = client.exchange(Request(server.url("/a"), (), "rid", is_document=True), FLOW)
        entering = asyncio.create_task(exchange.__aenter__())
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(TransferError, match="connection_lost"):
            await entering
        assert server.requests == []


def test_a_head_that_drips_is_given_up_after_the_idle_timeout(run: Callable[[Any], None]) -> None:
    async def drips(connection: Connection) -> None:
        await connection.send(OK + b"X: ")
        while not connection.is_closing:
            await connection.send(b"y")
            await asyncio.sleep(0.02)

    async def test() -> None:
        async with world({"/a": drips}) as it:
            assert await it.reason(flow=HASTY) == "head_timeout"

    run(test())


# ---------------------------------------------------------------- what is sent


async def test_a_kept_connection_holds_nothing_of_the_key() -> None:
    async with world({"/a": answer(body=b"hello"), "/b": stalled_after(b"half", 10)}) as it:
        await it.fetched()
        assert it.server.requests[0].header("x-key") == "".join(KEY_PARTS)
        async with it.exchange("/b") as exchange:
            for holder in (it.wire, *it.open):
                assert held_text(holder, set()).find("".join(KEY_PARTS)) < 0
        assert held_text(exchange, set()).find("".join(KEY_PARTS)) < 0, (
            "a record may quote it, until it was read"
        )


async def test_the_key_is_held_while_an_error_may_quote_it_and_no_longer() -> None:
    async with world({"/a": answer(401, b"who are you?"), "/b": answer(302), "/c": raw(b"")}) as it:
        async with it.exchange() as exchange:
            assert "".join(KEY_PARTS) in held_text(exchange, set())
            await exchange.read_capped(1000)
        assert "".join(KEY_PARTS) not in held_text([exchange, it.wire, *it.open], set())
        for path in ("/b", "/c"):
            exchange = it.exchange(path)
            with pytest.raises(TransferError):
                await exchange.__aenter__()
            assert "".join(KEY_PARTS) not in held_text(exchange, set())


async def test_an_error_holds_nothing_of_the_key_in_the_frames_it_came_through() -> None:
    async with world({"/a": raw(b"")}) as it:
        with pytest.raises(TransferError) as caught:
            await it.fetched()
        trace = caught.value.__traceback__
        while trace is not None:
            held = {name: value for name, value in trace.tb_frame.f_locals.items() if name != "self"}
            assert "".join(KEY_PARTS) not in held_text(held, set())
            trace = trace.tb_next


def held_text(thing: object, seen: set[int]) -> str:
    """All texts and bytes that can be reached from an object through objects of filingd."""
    if isinstance(thing, bytes | bytearray | memoryview):
        return bytes(thing).decode("latin-1")
    if isinstance(thing, str):
        return thing
    if isinstance(thing, dict):
        return held_text([*thing.keys(), *thing.values()], seen)
    if isinstance(thing, list | tuple | set):
        return "\n".join(held_text(part, seen) for part in thing)
    # Only these are remembered: they outlive the search, so that no other object can have their id meanwhile.
    if not type(thing).__module__.startswith("filingd.") or id(thing) in seen:
        return ""
    seen.add(id(thing))
    names = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    values = [getattr(thing, name, None) for name in names | set(getattr(thing, "__dict__", ()))]
    return held_text(values, seen)


async def test_the_search_for_keys_finds_one_that_is_kept() -> None:
    async with world({"/a": answer(body=b"hello")}) as it:
        await it.fetched()
        (connection,) = it.open
        connection._response._refusal = "".join(KEY_PARTS)
        assert "".join(KEY_PARTS) in held_text(it.wire, set())


@pytest.mark.parametrize(
    "headers",
    [
        (("X", "two\r\nlines"),),
        (("X", "two\nlines"),),
        (("X", "nul\x00"),),
        (("X", "del\x7f"),),
        (("X", "snow ☃"),),
        (("X Y", "1"),),
        (("X:", "1"),),
        (("", "1"),),
        (("é", "1"),),
        (("Host", "elsewhere.invalid"),),
        (("content-length", "5"),),
        (("Transfer-Encoding", "chunked"),),
        (("Connection", "upgrade"),),
        (("Accept-Encoding", "gzip"),),
    ],
)
async def test_a_header_that_would_change_the_request_is_refused_before_anything_is_sent(
    headers: tuple[tuple[str, str], ...],
) -> None:
    async with world({"/a": answer()}) as it:
        with pytest.raises(TransferError) as caught:
            async with it.client.exchange(Request(it.server.url("/a"), headers, "rid", None, True), FLOW):
                pass
        assert caught.value.reason == "bad_response"
        assert not any(value in str(caught.value) for _, value in headers)
        assert (it.server.connections, it.server.requests) == (0, [])


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/a\x00", "/é", "/a\x7f"])
async def test_a_path_that_is_not_encoded_is_refused_before_anything_is_sent(path: str) -> None:
    async with world({"/a": answer()}) as it:
        with pytest.raises(TransferError, match="path"):
            async with it.client.exchange(Request(it.server.url(path), (), "rid", None, True), FLOW):
                pass
        assert (it.server.connections, it.server.requests) == (0, [])


@pytest.mark.parametrize(
    ("written", "sent"),
    [("", "/"), ("/", "/"), ("?a=1", "/?a=1"), ("/a?b=%20#part", "/a?b=%20"), ("/a/../b//c", "/a/../b//c")],
)
async def test_a_path_is_sent_as_it_is_written(written: str, sent: str) -> None:
    async with world({sent: answer(body=b"hello")}) as it:
        assert await it.fetched(written) == b"hello"
        assert it.server.requests[0].path == sent
        assert it.server.requests[0].header("host") == it.server.url("").removeprefix("http://")


async def test_a_latin_header_value_is_sent_as_it_is() -> None:
    async with world({"/a": answer()}) as it:
        request = Request(it.server.url("/a"), (("X", "caf\xe9"),), "rid", is_document=True)
        async with it.client.exchange(request, FLOW):
            pass
        assert it.server.requests[0].header("x") == "caf\xe9"


async def test_a_key_is_looked_up_anew_for_each_request() -> None:
    keys = iter(["first", "first", "second"])  # once before the connection is made, once when it is there
    async with RawServer({"/a": answer()}) as server:
        client = AioHttpClient(lambda name: next(keys), "filingd-tests")
        request = Request(server.url("/a"), (), "rid", SecretRef("X-Key", "k"), is_document=True)
        for _ in range(2):
            async with client.exchange(request, FLOW):
                pass
        await client.close()
        assert [received.header("x-key") for received in server.requests] == ["first", "second"]


async def test_a_key_that_vanishes_while_the_connection_is_made_is_not_sent() -> None:
    keys = iter(["there"])
    async with RawServer({"/a": answer()}) as server:
        client = AioHttpClient(lambda name: next(keys, ""), "filingd-tests")
        request = Request(server.url("/a"), (), "rid", SecretRef("X-Key", "k"), is_document=True)
        with pytest.raises(TransferError, match="key_missing"):
            async with client.exchange(request, FLOW):
                pass
        await client.close()
        assert server.requests == []


@contextlib.asynccontextmanager
async def secured(name: str, folder: Path) -> AsyncIterator[tuple[RawServer, AioHttpClient]]:
    """A server with a certificate for this name, and a client that trusts who signed it."""
    authority = trustme.CA()
    bundle = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    client = AioHttpClient(lambda name: "k", "filingd-tests", ca_bundle=str(bundle))
    async with RawServer({"/a": answer(body=b"hello")}, context) as server:
        yield server, client
        await client.close()


async def test_origins_do_not_share_connections(tmp_path: Path) -> None:
    async with (
        secured("127.0.0.1", tmp_path) as (tls, client),
        RawServer({"/a": answer(body=b"clear")}) as clear,
    ):
        for _ in range(2):
            for server, body in ((clear, b"clear"), (tls, b"hello")):
                request = Request(server.url("/a"), (), "rid", is_document=True)
                async with client.exchange(request, FLOW) as exchange:
                    assert await exchange.read_capped(10) == (body, True)
        assert (clear.connections, tls.connections) == (1, 1)


async def test_a_certificate_is_for_the_host_of_the_url(tmp_path: Path) -> None:
    async with secured("localhost", tmp_path) as (server, client):
        named, numbered = server.url("/a").replace("127.0.0.1", "localhost"), server.url("/a")
        async with client.exchange(Request(named, (), "rid", is_document=True), FLOW) as exchange:
            assert await exchange.read_capped(10) == (b"hello", True)
        request = Request(numbered, (), "rid", SecretRef("X-Key", "k"), is_document=True)
        with pytest.raises(TransferError, match="tls_failed"):
            async with client.exchange(request, FLOW):
                pass
        assert [received.header("host") for received in server.requests] == [named[8:-2]]
