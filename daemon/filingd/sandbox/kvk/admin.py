"""KVK's part of the administration: the truth to compare a mirror with, and what may happen to a company.

`base` as a query parameter is `api` (the default) or `test`.

GET               /kvk/companies           numbers that are known; `limit`
GET POST DELETE   /kvk/companies/NUMBER    the company now, with the answer of each operation and the SHA-256 of its bytes;
                                           POST a `register.Change`, such as {"is_shielded": true}; DELETE puts it back
GET               /kvk/branches/NUMBER     the same of a branch
GET               /kvk/search              every line that a search finds, beyond the visible ones too; KVK's own parameters
GET DELETE        /kvk/quota               calls granted by key and calendar month; DELETE counts anew
DELETE            /kvk/changes             puts all companies back
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from multidict import MultiDict

from filingd.core.errors import ConfigError
from filingd.sandbox.kvk.errors import Refusal, fout, status_of
from filingd.sandbox.kvk.operations import BRANCH_NUMBER, COMPANY_NUMBER, OPERATIONS, PREFIXES
from filingd.sandbox.kvk.parameters import refusal_of, search_of
from filingd.sandbox.kvk.products import Lookup
from filingd.sandbox.kvk.register import Change

if TYPE_CHECKING:
    import re

    from filingd.sandbox.kvk.register import Register
    from filingd.sandbox.kvk.registrations import Company
    from filingd.sandbox.kvk.settings import Base
    from filingd.sandbox.world import World


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


class KvkAdmin:
    """The handlers, bound to one sandbox's world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _base(self, request: web.Request) -> Base:
        for base in PREFIXES:
            if base == request.query.get("base", "api"):
                return base
        raise ConfigError(f"Unknown base {request.query['base']!r}. Known: {', '.join(PREFIXES)}.")

    def _register(self, request: web.Request) -> Register:
        return self._world.kvk.registers[self._base(request)]

    async def companies(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", 100))
        return _json({"companies": await asyncio.to_thread(self._register(request).numbers, limit)})

    async def company(self, request: web.Request) -> web.Response:
        number = _number(request, COMPANY_NUMBER)
        return _json(self._truth(request, self._register(request).company(number), number, COMPANY_NUMBER))

    async def branch(self, request: web.Request) -> web.Response:
        number = _number(request, BRANCH_NUMBER)
        owner = self._register(request).company_of_branch(number)
        return _json(self._truth(request, owner, number, BRANCH_NUMBER))

    def _truth(
        self, request: web.Request, company: Company | None, number: str, kind: re.Pattern[str]
    ) -> dict[str, Any]:
        lookup = Lookup(self._world, self._base(request), "arrays")
        with_geo = request.query.get("geoData", "false") == "true"
        answers = {
            operation.name: _answer(lookup.profile(operation, number, with_geo=with_geo))
            for operation in OPERATIONS
            if operation.number is kind
        }
        return _facts(company) | {"number": number, "known": company is not None, "answers": answers}

    async def change(self, request: web.Request) -> web.Response:
        try:
            change = msgspec.json.decode(await request.read() or b"{}", type=Change)
        except msgspec.DecodeError as error:
            raise ConfigError(f"A change of a company: {error}.") from error
        self._register(request).change(_number(request, COMPANY_NUMBER), change)
        return await self.company(request)

    async def undo(self, request: web.Request) -> web.Response:
        return _json({"undone": self._register(request).undo(_number(request, COMPANY_NUMBER))})

    async def undo_all(self, _: web.Request) -> web.Response:
        for register in self._world.kvk.registers.values():
            for number in register.changed():
                register.undo(number)
        return _json({"changed": []})

    async def search(self, request: web.Request) -> web.Response:
        query = MultiDict((name, value) for name, value in request.query.items() if name != "base")
        refusal = refusal_of(query, OPERATIONS[0].parameters, self._world.settings.kvk, is_search=True)
        if refusal:
            raise ConfigError(f"KVK would answer {fout(refusal).decode()}.")
        return _json(await asyncio.to_thread(self._all_found, self._register(request), query))

    def _all_found(self, register: Register, query: MultiDict[str]) -> dict[str, Any]:
        found = register.search(search_of(query).criteria)
        rows = found.between(0, len(found))
        return {"totaal": len(found), "rows": [[row.company, row.branch, row.kind] for row in rows]}

    async def quota(self, _: web.Request) -> web.Response:
        return _json({"granted": self._world.kvk.quota.report()})

    async def clear_quota(self, request: web.Request) -> web.Response:
        self._world.kvk.quota.clear()
        return await self.quota(request)


def _number(request: web.Request, shape: re.Pattern[str]) -> str:
    number = request.match_info["number"]
    if not shape.fullmatch(number):
        raise ConfigError(f"{number!r} has not the shape {shape.pattern}.")
    return number


def _facts(company: Company | None) -> dict[str, Any]:
    if company is None:
        return {}
    return {
        "kvk_number": company.number,
        "name": company.name,
        "rsin": company.rsin,
        "active": company.is_active,
        "non_mailing": company.is_non_mailing,
        "shielded": company.is_shielded,
        "branches": [branch.number for branch in company.branches],
    }


def _answer(found: dict[str, Any] | Refusal) -> dict[str, Any]:
    """What a call gets now, rules and limits aside."""
    status, body = (
        (status_of(found.code), fout(found))
        if isinstance(found, Refusal)
        else (200, msgspec.json.encode(found))
    )
    return {"status": status, "sha256": hashlib.sha256(body).hexdigest(), "body": msgspec.Raw(body)}


def kvk_routes(world: World) -> list[web.RouteDef]:
    """The routes for the administration's application."""
    admin = KvkAdmin(world)
    return [
        web.get("/kvk/companies", admin.companies),
        web.get("/kvk/companies/{number}", admin.company),
        web.post("/kvk/companies/{number}", admin.change),
        web.delete("/kvk/companies/{number}", admin.undo),
        web.get("/kvk/branches/{number}", admin.branch),
        web.get("/kvk/search", admin.search),
        web.get("/kvk/quota", admin.quota),
        web.delete("/kvk/quota", admin.clear_quota),
        web.delete("/kvk/changes", admin.undo_all),
    ]
