"""What both ways of exchanging share: where a request may go, the key it takes along and never brings back, the watch
over its flow, and the words of an error, which quote nothing of what was sent."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from yarl import URL

from filingd.core.errors import ConfigError, FilingdError, TransferError
from filingd.core.flow import FlowMeter
from filingd.core.model import BODY_STATUSES, ResponseHead
from filingd.core.redaction import REDACTED, redact_secret, redact_secret_in_headers, without_begun_secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from filingd.core.model import FlowLimits
    from filingd.ports import BodySink

    Keyring = Callable[[str], str]  # the value of a key by its name; raises what it likes when it cannot
    BeforeSending = Callable[[], Awaitable[None]]

KEEP_ALIVE_S = 15.0  # shorter than any gateway's own, so that a call is not lost to a connection just closed
_ORIGIN = re.compile(r"[^/?#]*//[^/?#]*")


# ---------------------------------------------------------------- where a request may go


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Scheme, host and port. `text` is as the URL has it, `host` as it is resolved, `host_header` as it is sent."""

    text: str
    host: str
    port: int
    is_tls: bool
    host_header: str


class Origins:
    """The origins that requests may go to, each looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, Origin] = {}

    def of(self, url: str) -> Origin:
        """Where a URL leads; the same object for the same origin.

        Raises:
            ConfigError: it is neither https nor on loopback.
        """
        match = _ORIGIN.match(url)
        text = match.group() if match is not None else ""
        origin = self._known.get(text)
        if origin is None:
            origin = self._known[text] = _safe_origin(text)
        return origin


def _safe_origin(text: str) -> Origin:
    try:
        url = URL(text)
        host = url.host or ""
    except ValueError:
        raise ConfigError("A base URL cannot be read. Write it as https://host.") from None
    if not host or url.user or url.password:
        raise ConfigError(
            f"The base URL of {host or 'a registry'} must be https://host, without user or password."
        )
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise ConfigError(f"{url.scheme}://{host} is refused: write https (plain http only serves loopback).")
    return Origin(
        text, url.raw_host or host, url.port or 0, url.scheme == "https", url.host_port_subcomponent or host
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Trusts what the system trusts, or the certificates in a PEM file instead.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"The CA bundle {ca_bundle} cannot be read ({exc}). Give the path of a PEM file of certificates."
        ) from exc


# ---------------------------------------------------------------- what it takes along


def key_value(keyring: Keyring, name: str) -> str:
    """The value of a key, for a header, to be forgotten once it is sent.

    Raises:
        TransferError: (key_missing) it cannot be read, or no header can carry it.
    """
    try:
        key = keyring(name)
    except FilingdError as error:  # its text names place and remedy, never the key
        raise TransferError("key_missing", str(error) or name) from None
    except (OSError, LookupError, ValueError):
        raise TransferError("key_missing", name) from None
    if not key or not (key.isascii() and key.isprintable()):
        raise TransferError("key_missing", f"{name} is empty or has characters a header cannot carry")
    return key


class SentKey:
    """The key of one exchange, held from its sending until nothing of the answer can quote it any more.

    Registries are known to echo it in a header or in the text of an error. It is replaced here, at the only place
    that knows it: asked for again it might be another one, and a guess by its shape would spoil every ETag.
    """

    __slots__ = ("_is_stored", "_value")

    def __init__(self) -> None:
        self._value = ""
        self._is_stored = False  # whether the body may be kept: its length must not change

    def take(self, keyring: Keyring, name: str) -> str:
        """As `key_value`; the last one taken is the one that is sent."""
        self._value = key_value(keyring, name)
        return self._value

    def forget(self) -> None:
        """The exchange is over."""
        self._value = ""

    def removed_from(self, head: ResponseHead) -> ResponseHead:
        """The head without the key in any header."""
        if not self._value:
            return head
        headers = redact_secret_in_headers(head.headers, self._value)
        self._is_stored = head.status in BODY_STATUSES
        return head if headers is head.headers else ResponseHead(head.status, headers)

    def capped(self, data: bytes, limit_bytes: int) -> tuple[bytes, bool]:
        """The first `limit_bytes` of what was read of a body, and whether that is all; without the key.

        In a body that may be stored, something of the same length takes its place. What is cut ends before anything that may be
        the beginning of the key, so it can be shorter than the limit.
        """
        shown, is_whole = data[:limit_bytes], len(data) <= limit_bytes
        if self._value:
            instead = "*" * len(self._value) if self._is_stored else REDACTED
            shown = redact_secret(shown, self._value, instead)
            if not is_whole:
                shown = without_begun_secret(shown, self._value)
        return shown[:limit_bytes], is_whole


# ---------------------------------------------------------------- what became of it


def refuse_redirect(status: int) -> None:
    """The key goes to no other host.

    Raises:
        TransferError: (redirected) the status is one of a redirect.
    """
    if 300 <= status < 400:
        raise TransferError("redirected", f"the answer was {status}")


def described(exc: BaseException) -> str:
    """What happened in words of the operating system's or ours: a library's own may quote what was sent."""
    cause = getattr(exc, "os_error", exc)
    if not isinstance(cause, OSError) or cause.errno is None:
        return type(exc).__name__
    words = (
        os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
    )  # negative: a name was not resolved
    return f"{type(exc).__name__} ({words})"


# ---------------------------------------------------------------- how it flows


async def fill(sink: BodySink, data: bytes, meter: FlowMeter | None = None) -> None:
    """Copy bytes into the sink's buffers; `meter` is told while the sink makes us wait.

    Raises:
        DiskFullError, DiskFaultError: the sink failed.
    """
    rest = memoryview(data)
    while rest:
        failure = sink.failure()
        if failure is not None:
            raise failure
        buffer = sink.buffer()
        if buffer is None:
            await _held(sink, meter)
            continue
        count = min(len(buffer), len(rest))
        buffer[:count] = rest[:count]
        sink.advance(count)
        rest = rest[count:]


async def _held(sink: BodySink, meter: FlowMeter | None) -> None:
    loop = asyncio.get_running_loop()
    if meter is not None:
        meter.hold(loop.time())
    await sink.ready()
    if meter is not None:
        meter.release(loop.time())


class Watch:
    """One timer for a whole transfer: looks now and then whether it moves, and fails it when it does not.

    Set `received_bytes` to what counts the bytes so far; tell `meter` when it is us who are not ready.
    """

    __slots__ = ("_fail", "_loop", "_sink", "_timer", "meter", "received_bytes")

    def __init__(
        self, flow: FlowLimits, fail: Callable[[Exception], None], sink: BodySink | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fail = fail
        self._sink = sink
        self._timer: asyncio.TimerHandle | None = None
        self.meter = FlowMeter(flow, self._loop.time())
        self.received_bytes: Callable[[], int] = lambda: 0

    def __enter__(self) -> Self:
        self._rest()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _rest(self) -> None:
        self._timer = self._loop.call_later(self.meter.look_every_s, self._look)

    def _look(self) -> None:
        failure = self._sink.failure() if self._sink is not None else None
        reason = self.meter.verdict(self._loop.time(), self.received_bytes())
        if failure is None and reason is not None:
            failure = TransferError(reason)
        if failure is not None:
            self._fail(failure)
        else:
            self._rest()
