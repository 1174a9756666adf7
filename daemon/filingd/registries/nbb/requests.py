"""How to ask for an item now: the route is chosen here, at the moment of the attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.model import Attempt, BodyPlan, Deferral, leaf_of
from filingd.registries.nbb import timeline
from filingd.registries.nbb.payloads import ReferencesInspector
from filingd.registries.nbb.routes import KEY_HEADER, REQUEST_ID_HEADER

if TYPE_CHECKING:
    from filingd.core.model import Item
    from filingd.registries.nbb.rules import NbbRules


def request(rules: NbbRules, item: Item, now: float) -> Attempt | Deferral:
    """The attempt to make, or why none can be made now."""
    day, dataset = timeline.day_of(item.key), leaf_of(item.key)
    where = timeline.place(rules, day, dataset, now, timeline.refusals_of(item))
    if where.opens_at is None or where.served_from > now:
        return Deferral(where.reason or timeline.NOT_PUBLISHED_YET, where.lane, where.opens_at)
    product = where.lane.rpartition("/")[2]
    operation = rules.operations[product, dataset]
    return Attempt(
        lane=where.lane,
        route=f"{product}/{dataset}",
        url=rules.base_url.rstrip("/") + operation.path.replace("{date}", day.isoformat()),
        headers=(("Accept", operation.accept), ("Cache-Control", "no-cache")),
        secret_header=KEY_HEADER,
        body=body_plan(rules, dataset),
        request_id_header=REQUEST_ID_HEADER if rules.send_request_id else None,
    )


def query(
    rules: NbbRules, lane: str, route: str, accept: str, path: str, body: BodyPlan, *, is_small: bool = True
) -> Attempt:
    """The attempt that asks a query product for something that is found by a number."""
    return Attempt(
        lane=lane,
        route=route,
        url=rules.base_url.rstrip("/") + path,
        headers=(("Accept", accept), ("Cache-Control", "no-cache")),
        secret_header=KEY_HEADER,
        body=body,
        request_id_header=REQUEST_ID_HEADER if rules.send_request_id else None,
        is_document=is_small,
        shares_seal=False,
    )


def body_plan(rules: NbbRules, dataset: str) -> BodyPlan:
    """What the body of a dataset has to be (sections 4.2 and 8)."""
    return BodyPlan(
        max_bytes=rules.max_body_bytes,
        accept=frozenset({"zip", "empty_zip", "empty"}),
        zip_limits=rules.zip_limits,
        inspector=ReferencesInspector if dataset == timeline.REFERENCES else None,
    )
