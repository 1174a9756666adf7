"""Bytes in, one response out: HTTP/1.1 without any I/O, on llhttp.

Bounds hold while the bytes arrive, not after: a head, the trailers of a chunked body and the extensions of a chunk
are never collected beyond 64 KiB, whoever sends them. What llhttp is strict about stays strict (two lengths, a length
and chunks, bare line feeds, folded headers). Blank lines between responses are the one thing it skips in silence.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from filingd.core.errors import TransferError
from filingd.core.model import ResponseHead

_MAX_HEAD_BYTES = 64 * 1024
_MAX_HEADERS = 200


class _RefusedError(Exception):
    """Stops the parser from inside one of its callbacks; the words are in `ResponseParser`."""


class ResponseParser:
    """The responses of one connection, one at a time: `begin`, then `feed` until `is_complete`.

    The `on_…` methods are llhttp's. `is_complete` and `is_reusable` are about the response as far as it was fed;
    `body_bytes` counts its decoded body, taken or not.
    """

    __slots__ = (
        "_barren_bytes",
        "_body",
        "_head_bytes",
        "_header_count",
        "_headers",
        "_parser",
        "_refusal",
        "body_bytes",
        "head",
        "is_complete",
        "is_reusable",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect a new response; the one before was complete."""
        self.head: ResponseHead | None = None
        self.is_complete = False
        self.is_reusable = False
        self.body_bytes = 0
        self._body = bytearray()
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._head_bytes = 0
        self._barren_bytes = 0  # received since the response began or a byte of its body was found
        self._refusal = ""

    @property
    def buffered_bytes(self) -> int:
        """How much of the body is here and has not been taken."""
        return len(self._body)

    def take(self) -> bytes:
        """All of the body that is here; it is not kept."""
        data = bytes(self._body)
        self._body.clear()
        return data

    def feed(self, data: bytes | memoryview) -> None:
        """Take what arrived. Bytes behind the end of the response are dropped and make it not reusable.

        Raises:
            TransferError: (bad_response) it is not HTTP, or more of a head than is accepted.
        """
        self._barren_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            self.is_reusable = False
            if not self.is_complete:
                raise TransferError("bad_response", self._refusal or _words(exc)) from None
        if self._barren_bytes > _MAX_HEAD_BYTES and not self.is_complete:
            raise TransferError("bad_response", _too_long())

    def end(self) -> None:
        """The server sends no more: completes a body whose end nothing else announces."""
        self.is_reusable = False
        headers = self._headers
        if self.head is not None and "content-length" not in headers and "transfer-encoding" not in headers:
            self.is_complete = True

    # ------------------------------------------------------------ llhttp's side

    def on_message_begin(self) -> None:
        """Either the first byte of what was asked for, or of something that nobody asked for."""
        if self.is_complete:
            self._refuse("bytes follow the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; after the head, one trailer, which is counted and dropped."""
        self._header_count += 1
        self._head_bytes += len(name) + len(value)
        if self._header_count > _MAX_HEADERS:
            self._refuse(f"more than {_MAX_HEADERS} headers")
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(_too_long())
        if self.head is None:
            self._keep(name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t"))

    def on_headers_complete(self) -> None:
        """The head of the response, or an interim one (1xx), which says nothing we need."""
        status = self._parser.get_status_code()
        if status < 100 or status == 101:
            self._refuse("the protocol is switched" if status == 101 else "the status is no status")
        if status < 200:
            self._headers.clear()
            return
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._refuse("the body has a transfer coding nobody asked for")
        self.head = ResponseHead(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Some of the body, decoded from its chunks."""
        self._body += data
        self.body_bytes += len(data)
        self._barren_bytes = 0

    def on_message_complete(self) -> None:
        """The end of the response, or of an interim one."""
        if self.head is not None:
            self.is_complete = True
            self.is_reusable = self._parser.should_keep_alive()

    def _keep(self, name: str, value: str) -> None:
        known = self._headers.get(name)
        self._headers[name] = value if known is None else f"{known}, {value}"

    def _refuse(self, words: str) -> None:
        self._refusal = words
        raise _RefusedError


def _words(exc: Exception) -> str:
    """The parser's words are constants of its own; only a switch of protocols has none."""
    return "the protocol is switched" if isinstance(exc, HttpParserUpgrade) else str(exc)


def _too_long() -> str:
    return f"more than {_MAX_HEAD_BYTES} bytes of head"
