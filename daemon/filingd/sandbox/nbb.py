"""The NBB CBSO desk: which routes exist, in which order a request is checked, and what it gets.

The order is that of the real chain (NBB reference, section 12.1): application gateway, route, key, rate and
quota, parameters, Accept, lookup. The operations of all five products are in `routes`; a lookup is of a day
(`days`) or of a company or a single filing (`queries`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import email.utils
import re
import time
import uuid
from typing import TYPE_CHECKING, ClassVar, Literal

from filingd.sandbox import bodies
from filingd.sandbox.answers import Answer, HeldBody, Wire, short
from filingd.sandbox.clock import brussels_day, parse_day
from filingd.sandbox.days import with_fields
from filingd.sandbox.desks import apply_wire, as_written, echo_key, first_of
from filingd.sandbox.faults import (
    EchoKey,
    Empty,
    Exactly,
    Harm,
    Head,
    Huge,
    Ranges,
    Redirect,
    Replace,
    Shape,
    Status,
    Subject,
    Throttle,
    Unauthorized,
    Waf,
)
from filingd.sandbox.limits import SlidingWindow, whole_seconds
from filingd.sandbox.queries import NO_ENTERPRISE, NO_REFERENCE, Missing, Queries
from filingd.sandbox.ranges import decide
from filingd.sandbox.routes import KINDS_IN_PATH, PREFIXES, ROUTES, product_of
from filingd.sandbox.zips import Damage, folder_of, write_zip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy, MultiMapping
    from yarl import URL

    from filingd.sandbox.answers import Body
    from filingd.sandbox.days import Dataset, View
    from filingd.sandbox.documents import Casing
    from filingd.sandbox.faults import Effect, Stage
    from filingd.sandbox.keys import Holder
    from filingd.sandbox.routes import Route
    from filingd.sandbox.settings import EmptyVariant, Limit
    from filingd.sandbox.world import World

KEY_HEADER = "NBB-CBSO-Subscription-Key"
JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html"
# User-Agents that the application gateway turns away (section 4.1): none, a library's default, a bare browser
# name.
_BLOCKED_AGENTS = re.compile(
    r"^(|python-requests/.*|Python-urllib/.*|Python/[\d.]+ aiohttp/.*|Mozilla/5\.0)$", re.IGNORECASE
)


@dataclasses.dataclass(slots=True)
class Call:
    """One request with what is known of it before any check."""

    method: str
    path: str
    at: float
    headers: CIMultiDictProxy[str]
    query: MultiMapping[str]
    route: Route | None = None
    product: str = ""
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what stands in the path
    dataset: Dataset | None = None
    holder: Holder | None = None
    day: dt.date = dt.date.min
    year: int | None = None

    def param(self, name: str) -> str:
        """A text from the path; empty if its route has none of that name."""
        return self.params.get(name, "")

    @property
    def date_text(self) -> str:
        """The publication day as it was written; empty for a query."""
        return self.param("date")

    @property
    def key(self) -> str:
        """The key as it was sent."""
        return self.headers.get(KEY_HEADER, "")

    @property
    def is_paid(self) -> bool:
        """The bank charges for none of its services."""
        return False

    @property
    def subject(self) -> Subject:
        """What fault rules match."""
        return Subject(
            at=self.at,
            registry="nbb",
            product=self.product,
            operation=self.route.operation if self.route else "",
            dataset=self.dataset or "",
            date=self.date_text,
            reference=self.param("reference"),
            enterprise=self.param("enterprise"),
            path=self.path,
            slot=self.holder.slot if self.holder else "",
        )


class NbbDesk:
    """Answers calls. The world (clock, keys, rules, days) is the sandbox's and may change between calls.

    It stands where no other registry's paths begin, and tells whoever asks for an unknown path so.
    """

    prefixes: ClassVar[tuple[str, ...]] = ("/",)
    key_header: ClassVar[str] = KEY_HEADER

    def __init__(self, world: World) -> None:
        self._world = world
        self._windows: dict[tuple[str, str, Limit], SlidingWindow] = {}

    def read(self, method: str, url: URL, headers: CIMultiDictProxy[str]) -> Call:
        """What can be known of a request without judging it."""
        path = url.raw_path
        call = Call(method, path, self._world.clock.now(), headers, url.query)
        call.product = product_of(path)
        for route in ROUTES:
            if (params := route.match(path)) is not None:
                call.route, call.params = route, params
                call.dataset = _asked_dataset(route, headers)
        call.holder = self._world.keys.holder(headers.get(KEY_HEADER, ""))
        return call

    async def answer(self, call: Call) -> Answer:
        """The answer of the first check that fails, or the day's zip."""
        answer = await self._answer(call)
        for effect in self._claim("answer", call):
            if isinstance(effect, EchoKey):
                echo_key(answer, effect, call.key)
        return answer

    async def _answer(self, call: Call) -> Answer:
        checks = (
            self._check_agent,
            self._gateway_faults,
            self._check_route,
            self._check_key,
            self._check_limits,
            self._check_parameters,
            self._check_accept,
        )
        for check in checks:
            if (refusal := check(call)) is not None:
                return refusal
        return await self._look_up(call)

    def _claim(self, stage: Stage, call: Call) -> list[Effect]:
        return self._world.faults.claim(stage, call.subject)

    # --- the chain ---

    def _check_agent(self, call: Call) -> Answer | None:
        blocked = _BLOCKED_AGENTS.match(call.headers.get("User-Agent", "").strip())
        return gateway_answer(403) if blocked else None

    def _gateway_faults(self, call: Call) -> Answer | None:
        for effect in self._claim("gateway", call):
            if isinstance(effect, Status):
                return gateway_answer(effect.status, effect.retry_after)
            if isinstance(effect, Waf):
                return gateway_answer(403)
            if isinstance(effect, Redirect):
                return short(effect.status, b"", "", Location=effect.location)
        return None

    def _check_route(self, call: Call) -> Answer | None:
        if call.route is None or call.method != "GET":
            return short(404, bodies.apim(404, bodies.NO_ROUTE), JSON)
        return None

    def _check_key(self, call: Call) -> Answer | None:
        fault = first_of(self._claim("key", call), Unauthorized)
        if fault:
            return self._unauthorized(call, missing=fault.why == "missing")
        if KEY_HEADER not in call.headers:
            return self._unauthorized(call, missing=True)
        if call.holder is None:
            return self._unauthorized(call, missing=False)
        if call.holder.product != call.product:
            return self._unauthorized(call, missing=False, status=self._world.settings.wrong_product_status)
        return None

    def _unauthorized(self, call: Call, *, missing: bool, status: int = 401) -> Answer:
        text = bodies.MISSING_KEY if missing else bodies.INVALID_KEY
        realm = f"{self._world.base_url}/{PREFIXES[call.product]}"
        challenge = f'AzureApiManagementKey realm="{realm}",name="{KEY_HEADER}",type="header"'
        headers = {"WWW_Authenticate": challenge} if status == 401 else {}
        return short(status, bodies.apim(status, text), JSON, **headers)

    def _check_limits(self, call: Call) -> Answer | None:
        for effect in self._claim("quota", call):
            if isinstance(effect, Throttle):
                return self._throttled(effect)
            if isinstance(effect, Status):
                return _status_answer(effect, call)
        limit = self._world.settings.limits.get(call.product)
        return self._over_limit(call, limit) if limit else None

    def _over_limit(self, call: Call, limit: Limit) -> Answer | None:
        if limit.calls:
            wait_s = self._window(call.product, "rate", limit).ask(time.monotonic())
            if wait_s:
                return self._throttled(Throttle(seconds=whole_seconds(wait_s)))
        if limit.quota_calls:
            wait_s = self._window(call.product, "quota", limit).ask(call.at)
            if wait_s:
                return self._throttled(Throttle(status=403, seconds=whole_seconds(wait_s)))
        return None

    def _window(self, product: str, which: Literal["rate", "quota"], limit: Limit) -> SlidingWindow:
        """The window of a product; a changed limit starts a new one."""
        name = (product, which, limit)
        if name not in self._windows:
            size = (
                (limit.calls, limit.window_s)
                if which == "rate"
                else (limit.quota_calls, limit.quota_window_s)
            )
            self._windows[name] = SlidingWindow(*size)
        return self._windows[name]

    def _throttled(self, effect: Throttle) -> Answer:
        text = (
            bodies.rate_exceeded(effect.seconds)
            if effect.status == 429
            else bodies.quota_exceeded(effect.seconds)
        )
        forms = {
            "seconds": str(effect.seconds),
            "date": email.utils.formatdate(self._world.clock.now() + effect.seconds, usegmt=True),
            "garbage": "soon, perhaps",
            "none": "",
        }
        value = forms[effect.retry_after]
        headers = {"Retry_After": value} if value else {}
        return short(effect.status, bodies.apim(effect.status, text), JSON, **headers)

    def _check_parameters(self, call: Call) -> Answer | None:
        settings = self._world.settings
        if settings.strict_request_id and not _is_uuid(call.headers.get("X-Request-Id", "")):
            return self._problem(
                call, 400, "X-Request-Id", "request.id.invalid", "X-Request-Id must be a UUID"
            )
        return self._check_date(call) if "date" in call.params else self._check_names(call)

    def _check_names(self, call: Call) -> Answer | None:
        """Enterprise number, reference number, kind and year of a query. Other query parameters are ignored."""
        year = call.query.get("year", "") if call.param("enterprise") else ""
        for field, pattern, text in _NAMES:
            value = year if field == "year" else call.param(field)
            if value and not pattern.fullmatch(value):
                status = self._world.settings.status_malformed
                return self._problem(call, status, field, f"{field}.invalid", text)
        call.year = int(year) if year else None
        return None

    def _check_date(self, call: Call) -> Answer | None:
        settings = self._world.settings
        try:
            call.day = parse_day(call.date_text)
        except ValueError:
            return self._problem(
                call, settings.status_malformed, "date", "date.invalid", "date must be yyyy-MM-dd"
            )
        today = brussels_day(call.at)
        if call.day < today:
            return None
        status = settings.status_today if call.day == today else settings.status_future
        return self._problem(call, status, "date", "date.not.in.past", "date must be in the past")

    def _check_accept(self, call: Call) -> Answer | None:
        if call.dataset is None:
            return self._problem(call, 415, "Accept", "media.type.not.supported", "media type not supported")
        return None

    def _problem(self, call: Call, status: int, field: str, message_key: str, text: str) -> Answer:
        path = call.path.removeprefix(f"/{PREFIXES[call.product]}")
        violations = [bodies.violation(field, message_key, text)]
        return short(status, bodies.problem(status, path, call.at, violations), PROBLEM)

    # --- the lookup ---

    async def _look_up(self, call: Call) -> Answer:
        effects = self._claim("lookup", call)
        answer = self._instead(call, effects)
        if answer is not None:
            return answer
        if "date" not in call.params:
            return await self._query(call, effects)
        missing = self._not_available(call)
        if missing is not None:
            return self._nothing(call, missing)
        empty = first_of(effects, Empty)
        body = None
        if not empty:
            body = await self._world.days.body(await asyncio.to_thread(self._view, call, effects))
        if body is None:
            variant = empty.variant if empty else self._world.settings.empty_day
            return self._empty(call, variant)
        return await self._delivered(call, body)

    def _instead(self, call: Call, effects: list[Effect]) -> Answer | None:
        """What a rule answers in place of the lookup."""
        for effect in effects:
            if isinstance(effect, Status):
                return self._problem(
                    call, effect.status, "date", "backend.error", "request could not be processed"
                )
            if isinstance(effect, Exactly):
                return as_written(effect)
            if isinstance(effect, Replace):
                answer = _replacement(call, effect)
                return self._finish(call, answer, content_type=answer.headers.get("Content-Type", ""))
        return None

    def _not_available(self, call: Call) -> int | None:
        """The status for a day outside the product's window, or not published yet; None if it is there."""
        settings = self._world.settings
        if call.at < self._world.days.opens_at(call.day):
            return settings.status_not_yet
        age_days = (brussels_day(call.at) - call.day).days
        if call.route is not None and call.route.window == "extract":
            inside = age_days <= settings.extract_max_age_days
        else:
            oldest = _years_before(brussels_day(call.at), settings.archive_years)
            oldest -= dt.timedelta(days=settings.archive_edge_shift_days)
            inside = age_days >= settings.archive_min_age_days and call.day >= oldest
        return None if inside else settings.status_out_of_window

    def _nothing(self, call: Call, status: int = 404) -> Answer:
        """One body for every reason: not yet, nothing there, outside the window (section 5.3)."""
        return self._problem(call, status, "date", "batch.not.found", "No batch found for this date")

    def _view(self, call: Call, effects: list[Effect]) -> View:
        assert call.dataset is not None
        assert call.route is not None
        mutations = self._world.faults.mutations(call.subject)
        view = self._world.days.view(call.day, call.dataset, call.at, mutations, call.route.family)
        for effect in effects:
            if isinstance(effect, Shape):
                view = _shaped(view, effect)
            elif isinstance(effect, Harm):
                view = dataclasses.replace(
                    view, damage=Damage(effect.damage, effect.member, effect.bomb_bytes)
                )
            elif isinstance(effect, Huge):
                view = dataclasses.replace(view, huge_bytes=effect.total_bytes)
        return view

    def _empty(self, call: Call, variant: EmptyVariant) -> Answer:
        if variant == "404":
            return self._nothing(call)
        if variant == "204":
            return Answer(204, HeldBody(b""))
        return self._finish(call, Answer(200, HeldBody(_EMPTY_BODIES[variant])))

    # --- queries ---

    async def _query(self, call: Call, effects: list[Effect]) -> Answer:
        empty = first_of(effects, Empty)
        shape = first_of(effects, Shape) or Shape()
        found = _nothing_at_all(call) if empty else await asyncio.to_thread(self._found, call, shape)
        if isinstance(found, bytes):
            return await self._delivered(call, HeldBody(found))
        assert call.route is not None
        listing = call.dataset == "references" and call.route.operation != "depositReference"
        variant = empty.variant if empty else self._world.settings.no_references if listing else "404"
        if variant == "404":
            return self._problem(call, 404, found.field, found.message_key, found.text)
        if variant == "204":
            return Answer(204, HeldBody(b""))
        return self._finish(call, Answer(200, HeldBody(b"[]" if variant == "empty-array" else b"")))

    def _found(self, call: Call, shape: Shape) -> bytes | Missing:
        """The body of a query, or why there is none."""
        assert call.route is not None
        queries = Queries(self._world, call.at)
        casing: Casing = "camel" if shape.casing == "camel" else "pascal"
        if call.dataset == "references":
            rows = (
                _improved_rows(queries, call, casing)
                if call.route.family == "improved"
                else _rows(queries, call, casing)
            )
            shaped = [with_fields(row, shape.fields) for row in rows]
            if call.route.operation == "depositReference":
                return shaped[0] if shaped else NO_REFERENCE
            return b"[" + b",".join(shaped) + b"]" if shaped else _nothing_at_all(call)
        assert call.dataset is not None
        if call.route.family == "improved":
            document = queries.improved_document(call.param("reference"), KINDS_IN_PATH[call.param("kind")])
        else:
            document = queries.document(call.param("reference"), call.dataset)
        return with_fields(document, shape.fields) if isinstance(document, bytes) else document

    # --- delivery ---

    async def _delivered(self, call: Call, body: Body) -> Answer:
        effects = self._claim("body", call)
        ranges = first_of(effects, Ranges)
        mode = ranges.mode if ranges else self._world.settings.ranges
        answer = Answer(200, body)
        if mode != "off":
            size, digest = await body.measure()
            sliced = decide(
                mode, size, digest, call.headers.get("Range", ""), call.headers.get("If-Range", "")
            )
            answer.status, answer.headers = sliced.status, dict(sliced.headers)
            if sliced.status == 416:
                return Answer(416, HeldBody(b""), answer.headers)
            answer.wire = Wire(start=sliced.start, stop=sliced.stop, alter=sliced.alter)
        return self._finish(call, answer, effects)

    def _finish(
        self, call: Call, answer: Answer, effects: list[Effect] | None = None, content_type: str | None = None
    ) -> Answer:
        """Headers and wire of a 200 or 206, from settings and from the rules of the body stage."""
        settings = self._world.settings
        felt = self._claim("body", call) if effects is None else effects
        head = first_of(felt, Head) or Head()
        answer.headers |= self._content_headers(call, head, content_type) | head.headers
        answer.wire.framing = head.framing or settings.framing
        apply_wire(answer.wire, felt)
        return answer

    def _content_headers(self, call: Call, head: Head, content_type: str | None) -> dict[str, str]:
        settings = self._world.settings
        headers = {}
        chosen = settings.content_type if head.content_type is None else head.content_type
        if content_type is None:
            content_type = call.headers.get("Accept", "").strip() if chosen == "echo" else chosen
        if content_type:
            headers["Content-Type"] = content_type
        named = settings.content_disposition if head.content_disposition is None else head.content_disposition
        if named:
            headers["Content-Disposition"] = f'attachment; filename="{_file_name(call)}"'
        return headers


_EMPTY_BODIES = {
    "200-empty": b"",
    "empty-zip": b"".join(write_zip([])),
    "dirs-only": b"".join(write_zip([folder_of("accounts/"), folder_of("accounts/2026/")])),
}


_NAMES = (
    ("enterprise", re.compile(r"[01]\d{9}"), "enterprise number must have 10 digits"),
    ("reference", re.compile(r"\d{4}-\d+"), "reference number must be yyyy-nnnnnnnn"),
    ("kind", re.compile("|".join(KINDS_IN_PATH)), "unknown kind of improvement"),
    ("year", re.compile(r"\d{4}"), "year must be yyyy"),
)


def _rows(queries: Queries, call: Call, casing: Casing) -> list[bytes]:
    if call.param("enterprise"):
        return [
            queries.row(filing, casing) for filing in queries.filings_of(call.param("enterprise"), call.year)
        ]
    filing = queries.filing(call.param("reference"))
    return [queries.row(filing, casing)] if filing else []


def _improved_rows(queries: Queries, call: Call, casing: Casing) -> list[bytes]:
    if call.param("enterprise"):
        filings = queries.filings_of(call.param("enterprise"), call.year)
    else:
        filing = queries.filing(call.param("reference"))
        filings = [filing] if filing else []
    made = [entry for filing in filings for entry in queries.improvements_of(filing) if entry.listed]
    return [queries.improved_row(entry, casing) for entry in made]


def _nothing_at_all(call: Call) -> Missing:
    if call.param("enterprise"):
        return NO_ENTERPRISE
    key = (
        NO_REFERENCE.message_key
        if call.dataset == "references"
        else f"{NO_REFERENCE.message_key}.{call.dataset}"
    )
    return dataclasses.replace(NO_REFERENCE, message_key=key)


def _file_name(call: Call) -> str:
    if call.date_text:
        return f"{call.date_text}-{call.dataset}.zip"
    extension = "json" if call.dataset == "references" else call.dataset
    return f"{call.param('reference') or call.param('enterprise')}.{extension}"


def _asked_dataset(route: Route, headers: CIMultiDictProxy[str]) -> Dataset | None:
    """The dataset that the one Accept value selects; lists, parameters and `*/*` select nothing."""
    values = headers.getall("Accept", [])
    return route.datasets.get(values[0].strip().lower()) if len(values) == 1 else None


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _years_before(day: dt.date, years: int) -> dt.date:
    """The same calendar day years ago; 28 February for a 29th that does not exist."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def gateway_answer(status: int, retry_after: str = "") -> Answer:
    """Family 3: HTML of the application gateway, with its Server header."""
    headers = {"Server": bodies.GATEWAY_SERVER} | ({"Retry_After": retry_after} if retry_after else {})
    return short(status, bodies.gateway_page(status), HTML, **headers)


def _status_answer(effect: Status, call: Call) -> Answer:
    headers = {"Retry_After": effect.retry_after} if effect.retry_after else {}
    text = bodies.REASONS.get(effect.status, f"Error on {call.product}")
    return short(effect.status, bodies.apim(effect.status, text), JSON, **headers)


def _replacement(call: Call, effect: Replace) -> Answer:
    contents = {
        "json_error": (bodies.apim(500, "Internal server error"), JSON),
        "html": (bodies.gateway_page(502), HTML),
        "text": (f"No data for {call.date_text or call.path}\n".encode(), "text/plain"),
        "empty": (b"", ""),
    }
    data, content_type = contents[effect.body]
    return short(200, data, content_type if effect.content_type is None else effect.content_type)


def _shaped(view: View, shape: Shape) -> View:
    layout = view.layout
    given = {name: getattr(shape, name) for name in ("method", "zip64", "descriptors", "folder")}
    layout = dataclasses.replace(
        layout, **{name: value for name, value in given.items() if value is not None}
    )
    return dataclasses.replace(
        view,
        layout=layout,
        casing=shape.casing or view.casing,
        fields=shape.fields,
        renames=shape.renames,
        suffixed_names=view.suffixed_names
        if shape.reference_names is None
        else shape.reference_names == "suffixed",
    )
