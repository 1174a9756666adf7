"""`filingd plan`: what would be fetched from now on. Fetches nothing, writes nothing."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.beginning import remarks_on_beginning
from filingd.cli.instants import Instant, iso_minute
from filingd.cli.options import config_option, json_option, load_settings, opened_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.core.model import Item
    from filingd.core.watchlist import Reading
    from filingd.engine.forecast import Call
    from filingd.ports import Registry
    from filingd.settings import Settings

ASSUMED_BYTES_PER_S = 10e6
# An ordinary working day (NBB reference, section 9); five days of seven are working days. Of improved data no figure is
# known: a twentieth of the filings is assumed.
ASSUMED_WORKING_DAY_BYTES: Mapping[str, float] = {
    "authentic/references": 1e6,
    "authentic/json": 3e6,
    "authentic/xbrl": 15e6,
    "authentic/pdf": 300e6,
    "improved/references": 50e3,
    "improved/json": 150e3,
}
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WORKING_SHARE = 5 / 7
WHY_NOT: Mapping[str, str] = {
    "no_route": "no subscribed product serves days of this age",
    "outside_window": "older than the archive reaches",
    "rolled_out": "the archive was asked at its far edge and no longer had it",
}

EXAMPLE = """\b
Examples:
  filingd plan
  filingd plan --json | jq '.due_now.by_lane'
"""


@click.command(epilog=EXAMPLE)
@config_option
@json_option
@click.option("--rehearse-at", "at", type=Instant(), metavar="INSTANT",
              help="Plan for a rehearsal, as of this instant. Example: 2026-11-20T12:00+01:00")  # fmt: skip
def plan(config_path: Path, as_json: bool, at: float | None) -> None:
    """Show what would be fetched, in how many calls and roughly how long; fetch nothing, write nothing.

    Looks at the manifest as it is, also while a daemon runs; without one it plans from an empty store.
    """
    import json

    from filingd import app

    settings = load_settings(config_path)
    registry = app.registry_of(settings)
    now = time.time() if at is None else at
    readings = [reading for folder in app.watched_by(settings, registry) if (reading := folder.look())]
    companies = _companies(settings, registry, readings, now)  # says which searches there are
    report = _report(settings, registry, _known(settings, registry, now), now)
    report["companies"] = companies
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_told(report)))


def _known(settings: Settings, registry: Registry, now: float) -> Mapping[str, Item]:
    if not settings.manifest_path.exists():
        return {}
    with opened_manifest(settings) as reader:
        return reader.items(registry.expected(now))


def _companies(
    settings: Settings, registry: Registry, readings: Sequence[Reading], now: float
) -> dict[str, Any]:
    """The watchlists as they are, what the manifest has of them, and the calls that they take."""
    from contextlib import ExitStack

    from filingd.cli.followed import followed_companies
    from filingd.cli.plan_followed import followed_calls
    from filingd.cli.watch_look import remarks_on_companies

    followed = sum(len(reading.watched) for reading in readings)
    with ExitStack() as stack:
        reader = stack.enter_context(opened_manifest(settings)) if settings.manifest_path.exists() else None
        lanes = followed_companies(reader, now) if reader else []
        calls = followed_calls(registry, readings, reader, now)
    return {
        "followed": followed,
        "searches": [name for reading in readings for name in reading.searches],
        "searches_not_asked_yet": calls.searches,
        "answers_that_will_name_more": calls.leads,
        "due_now": _calls(settings, registry, calls.due_now, now),
        "this_month": _calls(settings, registry, calls.this_month, now),
        "lists": {name: count for reading in readings for name, count in reading.counts.items()},
        "by_lane": {each.lane: {"companies": each.companies, "due": each.due, "next_due_at": each.next_due_at}
                    for each in lanes},
        "problems": sum(reading.finding_count for reading in readings),
        "remarks": list(remarks_on_companies(settings)) if followed else [],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------ the report


def _report(settings: Settings, registry: Registry, known: Mapping[str, Item], now: float) -> dict[str, Any]:
    from filingd.engine.forecast import forecast

    found = forecast(registry, known, now)
    sizes, basis = _sizes(known)
    return {
        "format": 1,
        "at": now,
        "expected": _span(found.expected),
        "finished_items": len(found.finished),
        "due_now": _part(settings, registry, found.due(now), sizes, now),
        "later": _part(settings, registry, found.later(now), sizes, now) | _when(found.later(now)),
        "not_obtainable": [
            {"reason": reason, "meaning": WHY_NOT.get(reason, reason), **_span(keys)}
            for reason, keys in sorted(found.not_obtainable.items())
        ],
        "not_subscribed": _not_subscribed(settings),
        "remarks": list(remarks_on_beginning(settings, now)),
        "assumed": {"bytes_per_s": ASSUMED_BYTES_PER_S, "bytes_by_series": sizes, "basis": basis},
    }


def _sizes(known: Mapping[str, Item]) -> tuple[dict[str, float], str]:
    """Bytes of one calendar day by series: from this store where it holds enough, else from the reference."""
    from filingd.engine.forecast import mean_bytes

    measured = mean_bytes(known)
    assumed = {name: size * _WORKING_SHARE for name, size in ASSUMED_WORKING_DAY_BYTES.items()}
    if not measured:
        return assumed, "an ordinary day at the bank; peaks in June, July and August are ten times that"
    return {**assumed, **measured}, "the mean of what this store holds"


def _span(keys: Sequence[str]) -> dict[str, Any]:
    days = sorted(_days_in(keys))
    return {
        "items": len(keys),
        "days": len(days),
        "first_day": days[0] if days else None,
        "last_day": days[-1] if days else None,
    }


def _days_in(keys: Iterable[str]) -> set[str]:
    """The publication days among them; other things are wanted, too."""
    return {day for key in keys if _DAY.fullmatch(day := key.split("/")[-2])}


def _part(
    settings: Settings, registry: Registry, calls: Sequence[Call], sizes: Mapping[str, float], now: float
) -> dict[str, Any]:
    from filingd.cli.money import cost_reports, costs_of
    from filingd.core.ledger import least_time_s
    from filingd.engine.forecast import calls_by_lane_and_route, series_of

    by_lane = calls_by_lane_and_route(calls)
    counts = {lane: sum(routes.values()) for lane, routes in by_lane.items()}
    calls_s = least_time_s(counts, registry.lanes(), registry.gates())
    body_bytes = round(sum(sizes.get(series_of(call.key), 0.0) for call in calls))
    return {
        "calls": len(calls),
        "rechecks": sum(call.is_recheck for call in calls),
        "days": len(_days_in(call.key for call in calls)),
        "bytes": body_bytes,
        "at_least_s": round(max(calls_s, body_bytes / ASSUMED_BYTES_PER_S), 1),
        "by_lane": by_lane,
        "accounts": cost_reports(costs_of(settings, registry, counts, now)),
    }


def _calls(settings: Settings, registry: Registry, by_lane: Mapping[str, int], now: float) -> dict[str, Any]:
    from filingd.cli.money import cost_reports, costs_of
    from filingd.core.ledger import least_time_s

    return {
        "calls": sum(by_lane.values()),
        "at_least_s": round(least_time_s(by_lane, registry.lanes(), registry.gates()), 1),
        "by_lane": dict(sorted(by_lane.items())),
        "accounts": cost_reports(costs_of(settings, registry, by_lane, now)),
    }


def _when(calls: Sequence[Call]) -> dict[str, Any]:
    instants = [call.at for call in calls]
    return {"first_at": min(instants, default=None), "last_at": max(instants, default=None)}


def _not_subscribed(settings: Settings) -> list[str]:
    from filingd.settings import PRODUCTS

    return [product for product in PRODUCTS if product not in settings.subscriptions] if settings.nbb else []


# ------------------------------------------------------------------------------------------ text


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    expected = report["expected"]
    yield f"filingd plan at {iso_minute(report['at'])}: nothing is fetched, nothing is written"
    yield ""
    for remark in report["remarks"]:
        yield f"note            {remark}"
    if expected["items"]:
        yield from _told_expected(report)
    for lost in report["not_obtainable"]:
        yield f"not obtainable  {lost['items']:,} datasets of {_days(lost)}: {lost['meaning']} ({lost['reason']})"
    yield from _told_companies(report["companies"])
    if report["not_subscribed"]:
        yield f"not subscribed  {', '.join(report['not_subscribed'])}"
    if report["expected"]["days"]:
        yield ""
        yield from _told_assumption(report["assumed"])


def _told_expected(report: Mapping[str, Any]) -> Iterator[str]:
    expected, later = report["expected"], report["later"]
    what = f"datasets of {_days(expected)}" if expected["days"] else "first pages of searches"
    yield f"wanted          {expected['items']:,} {what}"
    yield f"finished        {report['finished_items']:,} of them are stored or proven empty"
    yield from _told_part("due now", report["due_now"])
    yield from _told_part("later", later)
    if later["calls"]:
        yield f"                  from {iso_minute(later['first_at'])} to {iso_minute(later['last_at'])}"


def _told_companies(found: Mapping[str, Any]) -> Iterator[str]:
    if not (found["lists"] or found["searches"]):
        return
    lists = f"{len(found['lists'])} watchlist{'s' if len(found['lists']) > 1 else ''}"
    problems = f", {found['problems']:,} lines to look at" if found["problems"] else ""
    searches = f" and {len(found['searches'])} saved searches" if found["searches"] else ""
    yield f"companies       {found['followed']:,} in {lists}{searches}{problems} (filingd watch list)"
    yield from _told_calls("  due now", found["due_now"])
    yield from _told_calls("  this month", found["this_month"])
    if found["searches_not_asked_yet"]:
        yield f"                  not asked yet: {', '.join(found['searches_not_asked_yet'])}; what is found comes on top"
    if found["answers_that_will_name_more"]:
        count = found["answers_that_will_name_more"]
        yield f"                  {count:,} answers will name further numbers, such as branches: these come on top"
    for lane, counts in found["by_lane"].items():
        following = f", next {iso_minute(counts['next_due_at'])}" if counts["next_due_at"] is not None else ""
        yield f"                  {lane:<24} {counts['companies']:>6,} followed, {counts['due']:,} due{following}"
    for remark in found["remarks"]:
        yield f"                  {remark}"


def _told_calls(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    from filingd.cli.money import cost_lines

    if not part["calls"]:
        yield f"{name:<16}no calls"
        return
    yield f"{name:<16}{part['calls']:,} calls, at least {human_duration(part['at_least_s'])}"
    for lane, count in part["by_lane"].items():
        yield f"                  {lane:<24} {count:>6,} calls"
    yield from cost_lines(part["accounts"])


def _days(span: Mapping[str, Any]) -> str:
    if not span["days"]:
        return "no day"
    plural = "day" if span["days"] == 1 else "days"
    return f"{span['days']:,} {plural}, {span['first_day']} to {span['last_day']}"


def _told_part(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    from filingd.cli.money import cost_lines

    if not part["calls"]:
        yield f"{name:<16}no calls"
        return
    rechecks = f", {part['rechecks']:,} of them to compare what is stored" if part["rechecks"] else ""
    yield (
        f"{name:<16}{part['calls']:,} calls{rechecks}, about {human_bytes(part['bytes'])}, "
        f"at least {human_duration(part['at_least_s'])}"
    )
    for lane, routes in part["by_lane"].items():
        counted = ", ".join(f"{route.rpartition('/')[2]} {count:,}" for route, count in routes.items())
        yield f"                  {lane:<24} {sum(routes.values()):>6,} calls: {counted}"
    yield from cost_lines(part["accounts"])


def _told_assumption(assumed: Mapping[str, Any]) -> Iterator[str]:
    sizes = ", ".join(f"{name} {human_bytes(size)}" for name, size in assumed["bytes_by_series"].items())
    yield f"assumed         {human_bytes(assumed['bytes_per_s'])}/s; a calendar day: {sizes}"
    yield f"                ({assumed['basis']})"
    yield "                An empty day is asked for again until it is proven; that comes on top."


def human_bytes(size: float) -> str:
    """A size for people: `3.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 99.5 else f"{size:.2g} {unit}"
        size /= 1000
    return f"{size:,.2f} TB"


def human_duration(seconds: float) -> str:
    """A duration for people, to the second or coarser: `2 h 5 min`."""
    from filingd.core.units import format_duration

    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return format_duration(round(seconds / 60) * 60)
