"""How KVK is asked (KVK reference, sections 1 to 3). Paths are data; links in answers are never followed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from filingd.core.model import Attempt, BodyPlan
from filingd.registries.kvk import payloads
from filingd.registries.kvk.operations import (
    ACCEPT,
    GEO_DATA,
    KEY_HEADER,
    PRODUCT_OF_PART,
    ZOEKEN,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filingd.registries.kvk.rules import KvkRules

ROWS_PER_PAGE = 100
MOST_PAGES = 10  # a thousand rows can be seen in all (section 6.1)
MOST_ROWS = ROWS_PER_PAGE * MOST_PAGES
PAGE = "pagina"
PAGE_SIZE = "resultatenPerPagina"


def profile(rules: KvkRules, lane: str, part: str, number: str, *, with_geo_data: bool) -> Attempt:
    """The attempt that asks for one part of a number."""
    path = rules.paths[part].replace("{number}", number)
    query = [(GEO_DATA, "true")] if with_geo_data else []
    return _attempt(rules, lane, part, path, query, profile_plan(rules, part, number))


def search(
    rules: KvkRules, lane: str, parameters: Sequence[tuple[str, str]], page: int, *, is_cell: bool
) -> Attempt:
    """The attempt that asks for one page of the results of a search; `is_cell`: its pages are judged together."""
    query = [*parameters, (PAGE, str(page)), (PAGE_SIZE, str(ROWS_PER_PAGE))]
    return _attempt(rules, lane, ZOEKEN, rules.paths[ZOEKEN], query, page_plan(rules), is_cell=is_cell)


def _attempt(
    rules: KvkRules,
    lane: str,
    part: str,
    path: str,
    query: Sequence[tuple[str, str]],
    body: BodyPlan,
    *,
    is_cell: bool = False,
) -> Attempt:
    text = f"?{urlencode(query, quote_via=quote)}" if query else ""
    return Attempt(
        lane=lane,
        route=f"{PRODUCT_OF_PART[part]}/{part}",
        url=f"{rules.base_url.rstrip('/')}{path}{text}",
        headers=(("Accept", ACCEPT),),
        secret_header=KEY_HEADER,
        body=body,
        is_document=True,
        shares_seal=is_cell,
    )


def profile_plan(rules: KvkRules, part: str, number: str) -> BodyPlan:
    """What the body of a part has to be."""
    return _plan(
        rules, payloads.read_page if part == ZOEKEN else partial(payloads.read_profile, part, number)
    )


def page_plan(rules: KvkRules) -> BodyPlan:
    """What a page of results has to be."""
    return _plan(rules, payloads.read_page)


def _plan(rules: KvkRules, read: Callable[[bytes], Mapping[str, Any]]) -> BodyPlan:
    return BodyPlan(
        rules.max_body_bytes, frozenset({"json"}), content_digest=payloads.content_digest, read=read
    )
