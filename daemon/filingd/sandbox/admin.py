"""The administration port: JSON in, JSON out, on its own loopback port and never under the registry's paths.

GET  /health                    alive, listening or not
GET  /schema                    JSON Schema of fault rules and of the settings
GET  POST /clock                {"at": instant, "advance_s": n, "rate": n}
GET  PUT POST DELETE /faults    PUT replaces all, POST adds one or a list, DELETE /faults/ID removes one
GET  DELETE /journal            entries; filters as query parameters (see `journal.matches`), `limit`
GET  /journal/summary           exact answers about the filtered entries; `window_s`
GET  /journal/paths             how often each path was asked for, by the filtered entries
GET  POST DELETE /keys          {"product", "key", "slot"}; DELETE with {"product", "slot" or "key"}
GET  PUT /settings              PUT lays the given fields over the present ones
GET  POST /listener             {"open": false} closes the registry's port, true opens it again
GET  POST DELETE /removals      {"reference", "from_at": instant or none for now} takes a filing down, for good or until
                                DELETE /removals/REFERENCE; DELETE /removals puts all back
GET  /days/YYYY-MM-DD           what that day holds now, the truth to compare a mirror with;
                                `product` (improved ones too), and `members=1` for a digest of each member
GET  /companies                 enterprise numbers that are known; `limit`
GET  /companies/NUMBER          what is known of a company now: its filings, their formats, their improvements
/kvk/...                        the same for KVK: see `kvk.admin`
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from filingd.core.errors import ConfigError, FilingdError
from filingd.sandbox.clock import parse_day, parse_instant, utc_text
from filingd.sandbox.days import DATASETS
from filingd.sandbox.faults import Rule, Subject, rules_from
from filingd.sandbox.generator import FIRST_OF_FORMAT
from filingd.sandbox.improved_documents import label
from filingd.sandbox.journal import calls_by_path, summarize
from filingd.sandbox.kvk.admin import kvk_routes
from filingd.sandbox.kvk.world import KVK_KEYS
from filingd.sandbox.queries import Queries
from filingd.sandbox.routes import family_of
from filingd.sandbox.settings import PRODUCTS, SandboxSettings, settings_from

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Mapping

    from filingd.sandbox.days import Dataset, View
    from filingd.sandbox.generator import Filing
    from filingd.sandbox.improvements import Improvement
    from filingd.sandbox.server import Sandbox

_QUERY_CONTROLS = ("window_s", "limit")


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


async def _read(request: web.Request) -> Any:
    try:
        return msgspec.json.decode(await request.read() or b"{}")
    except msgspec.DecodeError as error:
        raise ConfigError(f"The request body is not JSON: {error}.") from error


def _filters(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name not in _QUERY_CONTROLS}


@web.middleware
async def _explain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (FilingdError, ValueError) as error:
        return _json({"error": str(error)}, status=400)


class _Admin:
    """The handlers, bound to one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._world = sandbox.world

    async def health(self, _: web.Request) -> web.Response:
        return _json({"status": "ok", "listening": self._sandbox.listening, "base_url": self._world.base_url})

    async def schema(self, _: web.Request) -> web.Response:
        described = {"faults": list[Rule], "settings": SandboxSettings}
        return _json({name: msgspec.json.schema(kind) for name, kind in described.items()})

    # --- clock ---

    async def get_clock(self, _: web.Request) -> web.Response:
        clock = self._world.clock
        return _json({"at": clock.now(), "utc": utc_text(clock.now()), "rate": clock.rate})

    async def post_clock(self, request: web.Request) -> web.Response:
        order = await _read(request)
        if "rate" in order:
            self._world.clock.change_rate(float(order["rate"]))
        if "at" in order:
            self._world.clock.set(parse_instant(order["at"]))
        if "advance_s" in order:
            self._world.clock.advance(float(order["advance_s"]))
        return await self.get_clock(request)

    # --- faults ---

    async def get_faults(self, _: web.Request) -> web.Response:
        return _json({"faults": self._world.faults.report()})

    async def post_faults(self, request: web.Request) -> web.Response:
        return _json({"ids": self._world.faults.add(rules_from(await _read(request)))}, status=201)

    async def put_faults(self, request: web.Request) -> web.Response:
        return _json({"ids": self._world.faults.replace(rules_from(await _read(request)))})

    async def delete_faults(self, _: web.Request) -> web.Response:
        self._world.faults.clear()
        return _json({"faults": []})

    async def delete_fault(self, request: web.Request) -> web.Response:
        known = self._world.faults.remove(request.match_info["id"])
        return _json({"removed": known}, status=200 if known else 404)

    # --- journal ---

    async def get_journal(self, request: web.Request) -> web.Response:
        entries = self._sandbox.journal.entries(_filters(request.query))
        limit = int(request.query.get("limit", 0))
        return _json({"entries": entries[-limit:] if limit else entries})

    async def delete_journal(self, _: web.Request) -> web.Response:
        self._sandbox.journal.clear()
        return _json({"entries": []})

    async def summary(self, request: web.Request) -> web.Response:
        entries = self._sandbox.journal.entries(_filters(request.query))
        facts = summarize(entries, float(request.query.get("window_s", 1.0)))
        return _json(facts | {"dropped": self._sandbox.journal.dropped})

    async def paths(self, request: web.Request) -> web.Response:
        return _json({"paths": calls_by_path(self._sandbox.journal.entries(_filters(request.query)))})

    # --- keys ---

    async def get_keys(self, _: web.Request) -> web.Response:
        return _json({"keys": self._world.keys.by_product()})

    async def post_keys(self, request: web.Request) -> web.Response:
        order = await _read(request)
        self._world.keys.add(_key_product(order), str(order["key"]), str(order.get("slot", "extra")))
        return await self.get_keys(request)

    async def delete_keys(self, request: web.Request) -> web.Response:
        order = await _read(request)
        revoked = self._world.keys.revoke(
            _key_product(order), str(order.get("key") or order.get("slot") or "*")
        )
        return _json({"revoked": revoked})

    # --- settings and listener ---

    async def get_settings(self, _: web.Request) -> web.Response:
        return _json(self._world.settings)

    async def put_settings(self, request: web.Request) -> web.Response:
        self._world.apply(settings_from(await _read(request), self._world.settings))
        return await self.get_settings(request)

    async def get_listener(self, _: web.Request) -> web.Response:
        return _json({"open": self._sandbox.listening})

    async def post_listener(self, request: web.Request) -> web.Response:
        order = await _read(request)
        await self._sandbox.set_listening(open_door=bool(order.get("open", True)))
        return await self.get_listener(request)

    # --- truth ---

    async def day(self, request: web.Request) -> web.Response:
        day = parse_day(request.match_info["date"])
        product = request.query.get("product", "extract")
        _product({"product": product})
        with_members = request.query.get("members", "0") == "1"
        datasets = {
            name: await self._dataset(day, name, product, with_members=with_members)
            for name in DATASETS[family_of(product)]
        }
        opens_at = self._world.days.opens_at(day)
        return _json(
            {
                "date": day.isoformat(),
                "at": self._world.clock.now(),
                "opens_at": opens_at,
                "open": self._world.clock.now() >= opens_at,
                "datasets": datasets,
            }
            | await asyncio.to_thread(self._contents, day, product)
        )

    def _contents(self, day: dt.date, product: str) -> dict[str, Any]:
        if family_of(product) == "improved":
            return {"improvements": self._improvements(day, product)}
        return {"filings": self._filings(day, product)}

    def _filings(self, day: dt.date, product: str) -> list[dict[str, Any]]:
        days = self._world.days
        view = self._view(day, "references", product)
        shown = days.filings(view)
        names = {filing.reference_number for filing in shown}
        hidden = [filing for filing in days.all_filings(day) if filing.reference_number not in names]
        late_only = [filing for filing in hidden if filing.late and not view.late_shown]
        return [_facts(filing, shown=True) for filing in shown] + [
            _facts(filing, shown=False) for filing in late_only
        ]

    def _improvements(self, day: dt.date, product: str) -> list[dict[str, Any]]:
        days = self._world.days
        return [
            self._improvement_facts(entry) for entry in days.improvements(self._view(day, "json", product))
        ]

    def _improvement_facts(self, entry: Improvement) -> dict[str, Any]:
        filing = self._world.days.generator.filing(*entry.slot)
        return {
            "reference_number": filing.reference_number,
            "finalised_on": entry.finalised_on.isoformat(),
            "kind": entry.kind,
            "part": entry.part,
            "label": label(entry, self._world.settings),
            "listed": entry.listed,
        }

    def _view(self, day: dt.date, dataset: Dataset, product: str) -> View:
        now = self._world.clock.now()
        subject = Subject(at=now, registry="nbb", product=product, dataset=dataset, date=day.isoformat())
        return self._world.days.view(
            day, dataset, now, self._world.faults.mutations(subject), family_of(product)
        )

    async def _dataset(
        self, day: dt.date, dataset: Dataset, product: str, *, with_members: bool
    ) -> dict[str, Any]:
        days = self._world.days
        view = await asyncio.to_thread(self._view, day, dataset, product)
        body = await days.body(view)
        if body is None:
            return {"count": 0}
        size, digest = await body.measure()
        facts = {"count": len(days.entries(view)), "bytes": size, "sha256": digest}
        members = {"members": await asyncio.to_thread(days.member_digests, view)} if with_members else {}
        return facts | members

    async def companies(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", 100))
        return _json({"companies": await asyncio.to_thread(self._world.days.generator.numbers, limit)})

    async def company(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        known = self._world.days.generator.company(number) is not None
        return _json(
            {"number": number, "known": known, "filings": await asyncio.to_thread(self._of_company, number)}
        )

    def _of_company(self, number: str) -> list[dict[str, Any]]:
        queries = Queries(self._world, self._world.clock.now())
        return [
            _facts(filing, shown=True)
            | {"improvements": [self._improvement_facts(entry) for entry in queries.improvements_of(filing)]}
            for filing in queries.filings_of(number)
        ]

    # --- removals ---

    async def get_removals(self, _: web.Request) -> web.Response:
        return _json({"removals": self._world.removals.report()})

    async def post_removals(self, request: web.Request) -> web.Response:
        order = await _read(request)
        from_at = order.get("from_at")
        at = self._world.clock.now() if from_at is None else parse_instant(from_at)
        self._world.removals.add(str(order.get("reference", "")), at)
        return await self.get_removals(request)

    async def delete_removals(self, request: web.Request) -> web.Response:
        self._world.removals.clear()
        return await self.get_removals(request)

    async def delete_removal(self, request: web.Request) -> web.Response:
        known = self._world.removals.undo(request.match_info["reference"])
        return _json({"undone": known}, status=200 if known else 404)


def _facts(filing: Filing, *, shown: bool) -> dict[str, Any]:
    return {
        "reference_number": filing.reference_number,
        "published_on": filing.published_on.isoformat(),
        "model_type": filing.model_type,
        "deposit_type": filing.deposit_type,
        "enterprise_number": filing.company.number if filing.enterprise_listed else None,
        "structured": filing.structured,
        "formats": [name for name in FIRST_OF_FORMAT if filing.exists_as(name)],
        "late": filing.late,
        "shown": shown,
    }


def _product(order: dict[str, Any]) -> str:
    product = order.get("product")
    if product not in PRODUCTS:
        raise ConfigError(f"Unknown product {product!r}. Known: {', '.join(PRODUCTS)}.")
    return str(product)


def _key_product(order: dict[str, Any]) -> str:
    return KVK_KEYS if order.get("product") == KVK_KEYS else _product(order)


def make_admin(sandbox: Sandbox) -> web.Application:
    """The administration of one sandbox."""
    admin = _Admin(sandbox)
    application = web.Application(middlewares=[_explain_errors], client_max_size=64 * 1024 * 1024)
    application.router.add_routes(
        [
            web.get("/health", admin.health),
            web.get("/schema", admin.schema),
            web.get("/clock", admin.get_clock),
            web.post("/clock", admin.post_clock),
            web.get("/faults", admin.get_faults),
            web.post("/faults", admin.post_faults),
            web.put("/faults", admin.put_faults),
            web.delete("/faults", admin.delete_faults),
            web.delete("/faults/{id}", admin.delete_fault),
            web.get("/journal", admin.get_journal),
            web.delete("/journal", admin.delete_journal),
            web.get("/journal/summary", admin.summary),
            web.get("/journal/paths", admin.paths),
            web.get("/keys", admin.get_keys),
            web.post("/keys", admin.post_keys),
            web.delete("/keys", admin.delete_keys),
            web.get("/settings", admin.get_settings),
            web.put("/settings", admin.put_settings),
            web.get("/listener", admin.get_listener),
            web.post("/listener", admin.post_listener),
            web.get("/removals", admin.get_removals),
            web.post("/removals", admin.post_removals),
            web.delete("/removals", admin.delete_removals),
            web.delete("/removals/{reference}", admin.delete_removal),
            *kvk_routes(sandbox.world),
            web.get("/days/{date}", admin.day),
            web.get("/companies", admin.companies),
            web.get("/companies/{number}", admin.company),
        ]
    )
    return application
