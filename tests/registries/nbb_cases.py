"""Short ways to say things about NBB in tests. All companies and filings are made up."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from filingd.core.model import (
    Answer,
    Attempt,
    BodyPlan,
    BodyReport,
    Holding,
    Item,
    LaneSpec,
    Member,
    ResponseHead,
    State,
    Version,
)
from filingd.registries.nbb import answers
from filingd.registries.nbb.days import DayQuestion
from filingd.registries.nbb.families import AUTHENTIC
from filingd.registries.nbb.rules import NbbRules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filingd.core.model import Verdict

BRUSSELS = ZoneInfo("Europe/Brussels")
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
EXTRACT, ARCHIVE = "extract", "authentic-archive"
DATASETS = AUTHENTIC.datasets
FRIDAY = dt.date(2026, 11, 20)  # an ordinary working day
SUNDAY = dt.date(2026, 11, 15)


def rules(*products: str, **changes: Any) -> NbbRules:
    """The shipped rules, with these products (both, if none is named) and these changes."""
    lanes = {name: LaneSpec(f"nbb/{name}", 1.0) for name in products or (EXTRACT, ARCHIVE)}
    begin = NbbRules("https://ws.example.invalid", dt.date(2026, 10, 1), BRUSSELS, lanes)
    return replace(begin, **changes)


def at(text: str) -> float:
    """The instant when clocks in Brussels show this (`2026-11-22 12:00`)."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=BRUSSELS).timestamp()


def at_age(day: dt.date, age_days: int, hour: int = 12) -> float:
    """The instant when a day has this age, at this hour in Brussels."""
    later = day + dt.timedelta(days=age_days)
    return dt.datetime.combine(later, dt.time(hour), BRUSSELS).timestamp()


def item_for(
    day: dt.date,
    dataset: str = "references",
    product: str = EXTRACT,
    state: State = State.ACTIVE,
    **more: Any,
) -> Item:
    return Item(AUTHENTIC.key_for(day, dataset), f"nbb/{product}", state, **more)


def attempt_by(product: str, dataset: str = "references") -> Attempt:
    return Attempt(
        f"nbb/{product}", f"{product}/{dataset}", "https://ws.example.invalid/x", (), None, BodyPlan(1)
    )


def interpret(
    configured: NbbRules,
    item: Item,
    attempt: Attempt,
    given: Answer,
    siblings: Mapping[str, Holding],
    now: float,
) -> Verdict:
    """What an answer means for a dataset of a day."""
    return answers.interpret(DayQuestion(configured, item, attempt, siblings, now), given)


def answer(status: int, error_body: bytes = b"", **headers: str) -> Answer:
    """A response without a body worth keeping; underscores in header names become hyphens."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Answer(ResponseHead(status, named), error_body=error_body)


def with_body(kind: str = "zip", status: int = 200, **report: Any) -> Answer:
    """A 2xx answer whose body was examined."""
    facts = report.pop("facts", {"filings": 3, "pdf_only": 1} if kind == "zip" else {})
    body = BodyReport(kind, report.pop("size_bytes", 100), b"\0" * 32, facts=facts, **report)
    return Answer(ResponseHead(status, {}), body=body)


def member(name: str, note: str | None = None) -> Member:
    return Member(name, 0, 10, 20, 0, 8, note)


def listing(filings: Mapping[str, str], name: str = "{ref}.json") -> tuple[Member, ...]:
    """The members of a references zip, with the notes its inspector leaves."""
    return tuple(member(name.format(ref=ref), f"{ref} {model}") for ref, model in filings.items())


def files(references: Iterable[str], extension: str) -> tuple[Member, ...]:
    return tuple(member(f"{ref}.{extension}") for ref in references)


def holding(
    day: dt.date,
    dataset: str,
    members: tuple[Member, ...] | None = (),
    state: State = State.STORED,
    stored_at: float = 0.0,
    **more: Any,
) -> Holding:
    """A dataset as the manifest and the disk hold it; a body with these members if it is stored."""
    key = AUTHENTIC.key_for(day, dataset)
    if state not in {State.STORED, State.RECHECKING}:
        return Holding(Item(key, "nbb/extract", state, **more))
    digest = hashlib.sha256(key.encode()).digest()
    facts = {
        "filings": len(members or ()),
        "pdf_only": sum((m.note or "").endswith("-p") for m in members or ()),
    }
    version = Version(
        key, 1, f"{dataset}.zip", 10, digest, stored_at, f"extract/{dataset}", "id", content_digest=digest,
        facts=facts,
    )  # fmt: skip
    item = Item(key, "nbb/extract", state, sha256=digest, stored_at=stored_at, version=1, **more)
    return Holding(item, version, members)


def agreeing_day(day: dt.date, filings: Mapping[str, str], stored_at: float = 0.0) -> dict[str, Holding]:
    """All four datasets of a day, in full agreement."""
    structured = [ref for ref, model in filings.items() if not model.endswith("-p")]
    zips = {
        "references": listing(filings),
        "json": files(structured, "json"),
        "xbrl": files(structured, "xbrl"),
        "pdf": files(filings, "pdf"),
    }
    return {name: holding(day, name, zips[name], stored_at=stored_at) for name in DATASETS}
