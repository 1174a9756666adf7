"""The sandbox as a running server: one loopback port for both registries, another for its administration."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from filingd.core.errors import ConfigError, UnavailableError
from filingd.sandbox.admin import make_admin
from filingd.sandbox.clock import SandboxClock
from filingd.sandbox.delivery import Delivery, reset, silence
from filingd.sandbox.faults import Latency, Refuse, Rule, Stall, Subject
from filingd.sandbox.journal import SUBJECT_FIELDS, Entry, Journal, JournalFile
from filingd.sandbox.keys import fingerprint
from filingd.sandbox.kvk.desk import KvkDesk
from filingd.sandbox.kvk.operations import PREFIXES
from filingd.sandbox.nbb import NbbDesk
from filingd.sandbox.settings import SandboxSettings
from filingd.sandbox.world import make_world

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from filingd.sandbox.desks import Call, Desk
    from filingd.sandbox.journal import Outcome

LOOPBACK = "127.0.0.1"
_BACKLOG = 512
_STOP_GRACE_S = 0.25
_SECRET_HEADERS = frozenset({"authorization", "cookie"})

_log = logging.getLogger("filingd.sandbox")
_log.addHandler(logging.NullHandler())
_log.propagate = False  # broken connections are this program's business, not news


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Only 127.0.0.1 is served; port 0 takes a free one."""

    host: str = LOOPBACK
    port: int = 0
    admin_port: int = 0


class Sandbox:
    """A stand-in registry. `await start()`, use `base_url` and `admin_url`, `await stop()`.

    Raises `ConfigError` for a host other than 127.0.0.1 and `UnavailableError` for a port in use.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        clock: SandboxClock | None = None,
        address: Address = Address(),
        rules: Sequence[Rule] = (),
        journal_path: Path | None = None,
    ) -> None:
        if address.host != LOOPBACK:
            raise ConfigError(
                f"The sandbox serves {LOOPBACK} only, and was asked to listen on {address.host!r}. "
                "Its keys are public and its data are invented: leave the host out."
            )
        self._address = address
        self._sockets: dict[str, socket.socket] = {}
        self._journal_file = JournalFile(journal_path) if journal_path else None
        clock = clock or SandboxClock(time.time())
        self.journal = Journal(clock.now, file=self._journal_file)
        self.world = make_world(settings or SandboxSettings(), clock, "")
        self.world.faults.add(rules)
        self._desks: list[Desk[Any]] = [NbbDesk(self.world), KvkDesk(self.world)]
        self._unrecorded = _SECRET_HEADERS | {desk.key_header.lower() for desk in self._desks}
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._admin: web.AppRunner | None = None
        self._stopping = False

    @property
    def base_url(self) -> str:
        """Scheme, host and port of the registry, without a slash at the end."""
        return self.world.base_url

    @property
    def admin_url(self) -> str:
        """Scheme, host and port of the administration."""
        return self._url("admin")

    def _url(self, name: str) -> str:
        host, port = self._sockets[name].getsockname()
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen on both ports."""
        try:
            self._sockets["api"] = _bound(self._address.port, "--port")
            self._sockets["admin"] = _bound(self._address.admin_port, "--admin-port")
        except UnavailableError:
            for opened in self._sockets.values():
                opened.close()
            self._close_journal()
            raise
        self.world.base_url = self._url("api")
        self.world.apply(self.world.settings)
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None, logger=_log)
        await self._open_door(self._sockets["api"])
        self._admin = web.AppRunner(make_admin(self), access_log=None, logger=_log)
        await self._admin.setup()
        await web.SockSite(self._admin, self._sockets["admin"]).start()

    async def stop(self) -> None:
        """Stop listening, break off what is running, close the journal."""
        self._stopping = True
        self.world.days.close()
        await self.set_listening(open_door=False)
        if self._web:
            await self._web.shutdown(_STOP_GRACE_S)
        if self._admin:
            await self._admin.cleanup()
        self._close_journal()

    def _close_journal(self) -> None:
        if self._journal_file:
            self._journal_file.close()
            self._journal_file = None

    @property
    def listening(self) -> bool:
        """Whether the registry's port accepts connections."""
        return self._listener is not None

    async def set_listening(self, *, open_door: bool) -> None:
        """Close the registry's port, so that connections are refused by the kernel, or open it again."""
        if open_door and self._listener is None:
            port = int(self.world.base_url.rpartition(":")[2])
            await self._open_door(_bound(port, "--port"))
        elif not open_door and self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _open_door(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._protocol, sock=listening, backlog=_BACKLOG)

    def _protocol(self) -> asyncio.BaseProtocol:
        if self.world.faults.claim("accept", Subject(self.world.clock.now())):
            return _SlamDoor()
        assert self._web is not None
        return self._web()

    # --- one request ---

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        desk = self._desk_of(request)
        entry, call = self._enter(request, desk)
        try:
            response, outcome = await self._serve(request, desk, call, entry)
        except asyncio.CancelledError:
            self.journal.end(entry, "stopped" if self._stopping else "client_closed")
            raise
        except ConnectionError:
            self.journal.end(entry, "client_closed")
            raise
        except Exception:
            self.journal.end(entry, "failed")
            raise
        self.journal.end(entry, outcome)
        return response

    def _desk_of(self, request: web.BaseRequest) -> Desk[Any]:
        """The desk with the longest prefix of the path."""
        path = request.rel_url.raw_path
        fitting = [
            (prefix, desk) for desk in self._desks for prefix in desk.prefixes if path.startswith(prefix)
        ]
        return max(fitting, key=lambda entry: len(entry[0]))[1] if fitting else self._desks[0]

    def _enter(self, request: web.BaseRequest, desk: Desk[Any]) -> tuple[Entry, Call]:
        keys = self.world.keys
        path, in_path = keys.redacted(request.rel_url.raw_path)
        query, in_query = keys.redacted(request.rel_url.raw_query_string)
        entry = self.journal.start(request.method, path, query)
        call: Call = desk.read(request.method, request.rel_url, request.headers)
        entry.key_in_url = in_path or in_query or "key=" in query.lower()
        _describe(entry, call, request)
        entry.headers = {
            name: value for name, value in request.headers.items() if name.lower() not in self._unrecorded
        }
        self.journal.announced(entry)
        return entry, call

    async def _serve(
        self, request: web.BaseRequest, desk: Desk[Any], call: Call, entry: Entry
    ) -> tuple[web.StreamResponse, Outcome]:
        refused = await self._at_the_door(request, call)
        if refused:
            return web.Response(), "refused"
        answer = await desk.answer(call)
        entry.status = answer.status
        return await Delivery(request, answer, entry, self.journal).send()

    async def _at_the_door(self, request: web.BaseRequest, call: Call) -> bool:
        """Latency, silence, refusal; true if the connection is gone."""
        effects = self.world.faults.claim("door", call.subject)
        latency_ms = self.world.settings.latency_ms
        latency_ms += sum(effect.ms for effect in effects if isinstance(effect, Latency))
        if latency_ms:
            await asyncio.sleep(latency_ms / 1000)
        for effect in effects:
            if isinstance(effect, Stall):
                await silence(effect.seconds)
            elif isinstance(effect, Refuse):
                _slam(request.transport, effect)
                return True
        return False


def _slam(transport: asyncio.Transport | None, effect: Refuse) -> None:
    if effect.how == "rst":
        reset(transport)
    elif transport is not None:
        transport.close()


class _SlamDoor(asyncio.Protocol):
    """Resets a connection as soon as it is accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        reset(transport)


def _describe(entry: Entry, call: Call, request: web.BaseRequest) -> None:
    headers, subject, holder = request.headers, call.subject, call.holder
    for name in SUBJECT_FIELDS:
        setattr(entry, name, getattr(subject, name))
    entry.slot = holder.slot if holder else ""
    entry.key = f"{holder.product if holder else 'unknown'}#{fingerprint(call.key)}" if call.key else ""
    entry.key_name = f"{holder.product}/{holder.slot}" if holder else ""
    entry.is_paid = call.is_paid
    entry.request_id = headers.get("X-Request-Id", "")
    entry.range, entry.if_range = headers.get("Range", ""), headers.get("If-Range", "")
    entry.user_agent, entry.accept = headers.get("User-Agent", ""), headers.get("Accept", "")


def _bound(port: int, option: str) -> socket.socket:
    """A listening socket on loopback; raises `UnavailableError` naming the port."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
        raise UnavailableError(
            f"Port {port} on {LOOPBACK} {why}. Choose another with {option}, or 0 for a free one."
        ) from error
    listening.setblocking(False)
    return listening


def ready_facts(sandbox: Sandbox, pid: int) -> dict[str, Any]:
    """What a client needs to know of a running sandbox."""
    return {
        "base_url": sandbox.base_url,
        "admin_url": sandbox.admin_url,
        "pid": pid,
        "kvk_base_url": sandbox.base_url + PREFIXES["api"],
        "kvk_test_base_url": sandbox.base_url + PREFIXES["test"],
        "keys": {product: list(slots.values()) for product, slots in sandbox.world.keys.by_product().items()},
    }
