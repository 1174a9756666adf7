"""The KVK desk: in which order a request is checked, and what it gets.

The order is that of the reference's section 15.2: key, rate and quota, product, `Accept`, parameters, data. KVK's own is
unknown.
"""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import fnmatch
import gzip
import time
from typing import TYPE_CHECKING, ClassVar

import msgspec

from filingd.sandbox.answers import Answer, HeldBody, short
from filingd.sandbox.desks import apply_wire, as_written, echo_key, first_of
from filingd.sandbox.faults import (
    EchoKey,
    Exactly,
    Head,
    Ipd,
    Redirect,
    Replace,
    Status,
    Subject,
    Throttle,
    Unauthorized,
)
from filingd.sandbox.kvk import errors
from filingd.sandbox.kvk.errors import Refusal
from filingd.sandbox.kvk.limits import next_month_at
from filingd.sandbox.kvk.operations import PREFIXES, operation_of
from filingd.sandbox.kvk.parameters import refusal_of
from filingd.sandbox.kvk.products import RELEASES, Lookup
from filingd.sandbox.kvk.settings import KvkKey
from filingd.sandbox.kvk.world import KVK_KEYS
from filingd.sandbox.limits import whole_seconds

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy, MultiMapping
    from yarl import URL

    from filingd.sandbox.faults import Effect, Stage
    from filingd.sandbox.keys import Holder
    from filingd.sandbox.kvk.operations import Operation
    from filingd.sandbox.kvk.payloads import LinkShape
    from filingd.sandbox.kvk.settings import Base, KvkSandboxSettings
    from filingd.sandbox.world import World

KEY_HEADER = "apikey"

JSON, HAL, HTML, TEXT = "application/json", "application/hal+json", "text/html", "text/plain"
_ACCEPTED = frozenset({JSON, HAL, "application/*", "*/*"})
_HSTS = "max-age=157680000 ; includeSubDomains"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none', default-src 'none'",
    "Feature-Policy": "'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "unknown",
    "Strict-Transport-Security": _HSTS,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_KEPT_OPEN = {"Connection": "keep-alive", "Keep-Alive": "timeout=60"}
_CLOSING = frozenset({400, 500})  # after these the connection was closed (section 3, 18.5)
_SMALL_BYTES = 20_000  # smaller answers are packed on the spot


@dataclasses.dataclass(slots=True)
class KvkCall:
    """One request with what is known of it before any check."""

    method: str
    path: str
    at: float
    headers: CIMultiDictProxy[str]
    query: MultiMapping[str]
    base: Base = "api"
    inner: str = ""  # the path after the base
    operation: Operation | None = None
    number: str = ""
    holder: Holder | None = None

    @property
    def key(self) -> str:
        """The key as it was sent."""
        return self.headers.get(KEY_HEADER, "")

    @property
    def is_paid(self) -> bool:
        """Whether each such call costs, whatever comes of it."""
        return self.operation is not None and self.operation.is_paid

    @property
    def slot(self) -> str:
        """The name of its key; empty if the key is unknown here."""
        return self.holder.slot if self.holder and self.holder.product == KVK_KEYS else ""

    @property
    def subject(self) -> Subject:
        """What fault rules match."""
        return Subject(
            at=self.at,
            registry="kvk",
            product=self.operation.product if self.operation else "",
            operation=self.operation.name if self.operation else "",
            number=self.number,
            path=self.path,
            slot=self.slot,
        )

    @property
    def accepts(self) -> list[str]:
        """The media types of its `Accept`, without parameters."""
        listed = self.headers.get("Accept", "*/*").split(",")
        return [kind.partition(";")[0].strip().lower() for kind in listed]

    @property
    def link_shape(self) -> LinkShape:
        """The link shape that its `Accept` asks for (section 3)."""
        wanted = next((kind for kind in self.accepts if kind in _ACCEPTED), JSON)
        return "objects" if wanted == HAL else "arrays"


class KvkDesk:
    """Answers calls on both bases. The world is the sandbox's and may change between calls."""

    prefixes: ClassVar[tuple[str, ...]] = tuple(f"{prefix}/" for prefix in PREFIXES.values())
    key_header: ClassVar[str] = KEY_HEADER

    def __init__(self, world: World) -> None:
        self._world = world
        self._searches = 0

    @property
    def _settings(self) -> KvkSandboxSettings:
        return self._world.settings.kvk

    def read(self, method: str, url: URL, headers: CIMultiDictProxy[str]) -> KvkCall:
        """See `Desk`."""
        path = url.raw_path
        call = KvkCall(method, path, self._world.clock.now(), headers, url.query)
        call.base = next(base for base, prefix in PREFIXES.items() if path.startswith(f"{prefix}/"))
        call.inner = path.removeprefix(PREFIXES[call.base])
        found = operation_of(call.inner)
        if found:
            call.operation, call.number = found
            call.number = call.number or _searched_number(url.query)
        call.holder = self._world.keys.holder(call.key)
        return call

    async def answer(self, call: KvkCall) -> Answer:
        """See `Desk`."""
        answer = await self._answer(call)
        self._dress(call, answer)
        for effect in self._claim("answer", call):
            if isinstance(effect, EchoKey):
                echo_key(answer, effect, call.key)
        await self._pack(call, answer)
        return answer

    async def _answer(self, call: KvkCall) -> Answer:
        checks = (
            self._gateway_faults,
            self._check_route,
            self._check_key,
            self._check_limits,
            self._check_product,
            self._check_accept,
            self._check_parameters,
        )
        for check in checks:
            if (refusal := check(call)) is not None:
                return refusal
        return await self._look_up(call)

    def _claim(self, stage: Stage, call: KvkCall) -> list[Effect]:
        return self._world.faults.claim(stage, call.subject)

    # --- the chain ---

    def _gateway_faults(self, call: KvkCall) -> Answer | None:
        for effect in self._claim("gateway", call):
            if isinstance(effect, Status):
                return _with_pause(_page(effect.status), effect.retry_after)
            if isinstance(effect, Redirect):
                return short(effect.status, b"", "", Location=effect.location)
        return None

    def _check_route(self, call: KvkCall) -> Answer | None:
        settings = self._settings
        if any(fnmatch.fnmatchcase(call.inner, retired) for retired in settings.retired_paths):
            return _nothing_there(settings.retired_answer)
        if call.operation is None or call.method != "GET":
            return _nothing_there(f"404-{settings.no_route}")
        return None

    def _check_key(self, call: KvkCall) -> Answer | None:
        key = self._key(call)
        if first_of(self._claim("key", call), Unauthorized) or key is None or call.base not in key.bases:
            return self._unauthorized()
        return None

    def _key(self, call: KvkCall) -> KvkKey | None:
        """What is known of its key; one that was added while running opens everything."""
        if not call.slot:
            return None
        return self._settings.keys.get(call.slot) or _everything(call.key)

    def _unauthorized(self) -> Answer:
        variant = self._settings.unauthorized_body
        if variant == "fout":
            return short(401, errors.fout(Refusal("IPD1998")), JSON)
        return _page(401) if variant == "html" else short(401, b"", "")

    def _check_limits(self, call: KvkCall) -> Answer | None:
        for effect in self._claim("quota", call):
            if isinstance(effect, Throttle):
                return self._throttled(
                    effect, errors.QUOTA_TEXT if effect.of == "quota" else errors.RATE_TEXT
                )
            if isinstance(effect, Status):
                return _with_pause(short(effect.status, errors.RATE_TEXT, TEXT), effect.retry_after)
        limits = self._world.kvk
        wait_s = limits.rate.ask(self._settings, call.slot, time.monotonic())
        if wait_s:
            return self._over_limit(errors.RATE_TEXT, whole_seconds(wait_s))
        if not limits.quota.ask(self._settings, call.slot, call.at, is_paid=call.is_paid):
            return self._over_limit(errors.QUOTA_TEXT, whole_seconds(next_month_at(call.at) - call.at))
        return None

    def _over_limit(self, text: bytes, seconds: int) -> Answer:
        settings = self._settings
        effect = Throttle(
            status=settings.over_limit_status, seconds=seconds, retry_after=settings.over_limit_retry_after
        )
        return self._throttled(effect, text)

    def _throttled(self, effect: Throttle, text: bytes) -> Answer:
        pauses = {
            "seconds": str(effect.seconds),
            "date": email.utils.formatdate(self._world.clock.now() + effect.seconds, usegmt=True),
            "garbage": "soon, perhaps",
            "none": "",
        }
        return _with_pause(short(effect.status, text, TEXT), pauses[effect.retry_after])

    def _check_product(self, call: KvkCall) -> Answer | None:
        key = self._key(call)
        assert key is not None
        assert call.operation is not None
        return None if call.operation.product in key.products else _page(403)

    def _check_accept(self, call: KvkCall) -> Answer | None:
        if _ACCEPTED.isdisjoint(call.accepts):
            return short(406, b"", "")
        return None

    def _check_parameters(self, call: KvkCall) -> Answer | None:
        operation = call.operation
        assert operation is not None
        if operation.number is not None and not operation.number.fullmatch(call.number):
            return self._refused(Refusal(operation.malformed, call.number))
        refusal = refusal_of(
            call.query, operation.parameters, self._settings, is_search=operation.number is None
        )
        return self._refused(refusal) if refusal else None

    def _refused(
        self, *refusals: Refusal, status: int | None = None, is_nested: bool | None = None
    ) -> Answer:
        nested = self._settings.nested_errors if is_nested is None else is_nested
        wanted = errors.status_of(refusals[-1].code) if status is None else status
        return short(wanted, errors.fout(*refusals, is_nested=nested), JSON)

    # --- the lookup ---

    async def _look_up(self, call: KvkCall) -> Answer:
        effects = self._claim("lookup", call)
        answer = self._instead(call, effects)
        if answer is None:
            found = await self._found(call)
            answer = self._refused(found) if isinstance(found, Refusal) else self._good(call, found)
        return self._finish(call, answer)

    def _instead(self, call: KvkCall, effects: list[Effect]) -> Answer | None:
        for effect in effects:
            if isinstance(effect, Ipd):
                return self._error(call, effect)
            if isinstance(effect, Exactly):
                return as_written(effect)
            if isinstance(effect, Status):
                return self._refused(Refusal("IPD9999"), status=effect.status)
            if isinstance(effect, Replace):
                return _replaced(effect)
        return None

    def _error(self, call: KvkCall, effect: Ipd) -> Answer:
        assert call.operation is not None
        code = call.operation.not_found if effect.code == "not_found" else effect.code
        refusals = [Refusal(name, call.number) for name in (*effect.others, code)]
        return self._refused(*refusals, status=effect.status, is_nested=effect.nested or None)

    async def _found(self, call: KvkCall) -> bytes | Refusal:
        """The body, or why there is none; what may take long is asked in a thread."""
        assert call.operation is not None
        lookup = Lookup(self._world, call.base, call.link_shape)
        if call.operation.number is not None:
            payload = lookup.profile(call.operation, call.number, with_geo=_asks_geo(call))
            return payload if isinstance(payload, Refusal) else msgspec.json.encode(payload)
        self._searches += 1
        shift = self._searches if self._settings.order == "shifting" else 0
        page = await asyncio.to_thread(lookup.search, call.query, shift)
        return page if isinstance(page, Refusal) else msgspec.json.encode(page)

    def _good(self, call: KvkCall, data: bytes) -> Answer:
        assert call.operation is not None
        release = RELEASES[self._settings.release]
        version = release.search_version if call.operation.number is None else release.profile_version
        kind = HAL if HAL in call.accepts else JSON
        return short(200, data, kind, API_Version=version)

    def _finish(self, call: KvkCall, answer: Answer) -> Answer:
        """Headers and wire from the rules of the body stage."""
        felt = self._claim("body", call)
        head = first_of(felt, Head) or Head()
        if head.content_type is not None:
            answer.headers.pop("Content-Type", None)
            answer.headers |= {"Content-Type": head.content_type} if head.content_type else {}
        answer.headers |= head.headers
        answer.wire.framing = head.framing or answer.wire.framing
        apply_wire(answer.wire, felt)
        return answer

    # --- what all answers wear ---

    def _dress(self, call: KvkCall, answer: Answer) -> None:
        settings = self._settings
        closes = answer.status in _CLOSING or call.headers.get("Connection", "").lower() == "close"
        closing = {"Connection": "close"} if closes else _KEPT_OPEN
        leaked = _leaked(call.key) if settings.leaks_key else {}
        answer.headers = _HEADERS | closing | leaked | answer.headers
        if settings.repeated_hsts:
            answer.repeated_headers = (("Strict-Transport-Security", "max-age=0; includeSubDomains"),)
        answer.reason = ""

    async def _pack(self, call: KvkCall, answer: Answer) -> None:
        body = answer.body
        is_asked_for = self._settings.gzip and "gzip" in call.headers.get("Accept-Encoding", "")
        if not is_asked_for and not self._settings.gzip_unasked:
            return
        if isinstance(body, HeldBody) and body.data:
            answer.body = HeldBody(await _packed(body.data))
            answer.headers["Content-Encoding"] = "gzip"


async def _packed(data: bytes) -> bytes:
    if len(data) < _SMALL_BYTES:
        return gzip.compress(data, 1, mtime=0)
    return await asyncio.to_thread(gzip.compress, data, 1, mtime=0)


def _searched_number(query: MultiMapping[str]) -> str:
    return query.get("kvkNummer") or query.get("vestigingsnummer") or query.get("rsin") or ""


def _asks_geo(call: KvkCall) -> bool:
    return call.query.get("geoData", "false").lower() == "true"


def _everything(key: str) -> KvkKey:
    return KvkKey(key=key)


def _leaked(key: str) -> dict[str, str]:
    """The gateway's headers as recorded in 2026, the key among them (section 3)."""
    account = "00000000-0000-0000-0000-000000000000"
    return {"ap": "Sandbox", "counter.id": "", "apiAuthzDetails": f"Not Set|{key}|{account}|quota?ok|rate?"}


def _page(status: int) -> Answer:
    return short(status, errors.page(status), HTML)


def _with_pause(answer: Answer, retry_after: str) -> Answer:
    answer.headers |= {"Retry-After": retry_after} if retry_after else {}
    return answer


def _nothing_there(variant: str) -> Answer:
    """The answer of a path that does not exist, such as `404-html`."""
    status, _, form = variant.partition("-")
    if form == "html":
        return _page(int(status))
    return short(
        int(status), b'{"message":"not found"}' if form == "json" else b"", JSON if form == "json" else ""
    )


def _replaced(effect: Replace) -> Answer:
    contents = {
        "json_error": (errors.fout(Refusal("IPD9999")), JSON),
        "html": (errors.page(502), HTML),
        "text": (b"temporarily out of order\n", TEXT),
        "empty": (b"", ""),
    }
    data, content_type = contents[effect.body]
    return short(200, data, content_type if effect.content_type is None else effect.content_type)
