"""`filingd status`: coverage as a calendar, open days with their reasons, lanes, items.

Reads the manifest only, so that it answers at once, while a daemon runs and without one. Nothing here may import
asyncio, aiohttp or rich.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import zoneinfo
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from filingd.cli.beginning import remarks_on_beginning
from filingd.cli.followed import companies_lines, followed_companies, searches_in, searches_lines
from filingd.cli.instants import Instant, iso_minute
from filingd.cli.options import config_option, json_option, load_settings, opened_manifest
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.coverage import Day
    from filingd.cli.lanes import Traffic
    from filingd.cli.status_report import StatusReport
    from filingd.core.model import Group, Item
    from filingd.settings import Settings

NBB_FAMILY = "nbb/authentic"
OPEN_DAYS_SHOWN = 15
ALARMS_SHOWN = 10
_WHEN = ("auto", "always", "never")

EXAMPLE = """\b
Examples:
  filingd status
  filingd status --since 2026-01-01 --colour always | less -R
  filingd status --check > /dev/null || mail -s "filingd" ops@example.org < /dev/null
  filingd status --json | jq -r '.coverage[].days[] | select(.state != "sealed") | .day'

\b
Exit codes: 0 it was told, 1 with --check: an alarm stands, 3 the configuration is wrong, 4 there is no manifest yet, or it
cannot be read.
"""


@click.command(epilog=EXAMPLE)
@config_option
@json_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of --json, and nothing else."
)
@click.option(
    "--check", "is_check", is_flag=True, help="End with exit code 1 while an alarm stands, for cron."
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Leave out earlier days.")
@click.option("--colour", "--color", type=click.Choice(_WHEN), default="auto", show_default=True,
              help="Colours; auto: on a terminal, unless NO_COLOR is set.")  # fmt: skip
@click.option("--rehearse-at", "at", type=Instant(), metavar="INSTANT",
              help="Tell the status of a rehearsal, as of this instant. Example: 2026-11-20T12:00+01:00")  # fmt: skip
def status(config_path: Path, as_json: bool, wants_schema: bool, is_check: bool, since: dt.datetime | None, colour: str,
           at: float | None) -> int:  # fmt: skip
    """Show standing alarms, coverage as a calendar, open days with reasons, lanes and items."""
    if wants_schema:
        click.echo(_schema_text())
        return ExitCode.OK
    settings = load_settings(config_path)
    first = since.date() if since else None
    now = time.time() if at is None else at
    report, days = _looked(settings, now, first)
    if as_json:
        click.echo(_json_text(report))
    else:
        click.echo("\n".join(_text_lines(settings, report, days, colour=wants_colour(colour))), color=True)
    return ExitCode.FAILED if is_check and report.alarms else ExitCode.OK


def wants_colour(when: str) -> bool:
    """Whether `auto`, `always` or `never` means colours here."""
    return when == "always" or (when == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


def _schema_text() -> str:
    import json

    from filingd.cli.status_report import schema

    return json.dumps(schema(), indent=2)


def _json_text(report: StatusReport) -> bytes:
    import msgspec

    return msgspec.json.encode(report)


# ------------------------------------------------------------------------------------------ what is known


def expected_days(settings: Settings, now: float) -> dict[str, dt.date]:
    """Every group that should exist now: the calendar days from `since` to yesterday (see `Registry.expected`)."""
    from filingd.core import calendar

    if settings.nbb is None:
        return {}
    yesterday = calendar.later_by(calendar.day_at(now, zoneinfo.ZoneInfo(settings.nbb.timezone)), -1)
    days = list(calendar.days_from(settings.nbb.since, yesterday))
    return {f"{family.path}/{day.isoformat()}": day for family in settings.nbb.families for day in days}


class Wanted(NamedTuple):
    """The days the configuration wants: all of them, those the manifest knows, and a look at the wanted items of one."""

    expected: Mapping[str, dt.date]
    groups: Sequence[Group]
    items_of: Callable[[str], Sequence[Item]]


def wanted_days(settings: Settings, reader: ManifestReader, now: float) -> Wanted:
    """What is wanted at an instant; the manifest is asked once for each thing."""
    from filingd.cli.standing import wanted_items

    expected = expected_days(settings, now)
    families = settings.nbb.families if settings.nbb else {}
    datasets_of = {family.path: datasets for family, datasets in families.items()}

    @functools.cache
    def items_of(group: str) -> Sequence[Item]:
        return wanted_items(reader.group_items(group), datasets_of.get(group.rpartition("/")[0], ()))

    groups = [group for group in reader.groups("") if group.key in expected]
    return Wanted(expected, groups, items_of)


def known_days(settings: Settings, wanted: Wanted, now: float, first: dt.date | None) -> list[Day]:
    """All days that the configuration wants, judged by the datasets it wants, from `first` on."""
    from filingd.cli.coverage import Proof, days_of

    nbb = settings.nbb
    proof = Proof(nbb.empty_confirmations, nbb.empty_interval_s) if nbb else Proof(2, 6 * 3600.0)
    days = days_of(wanted.groups, wanted.items_of, wanted.expected, now, proof)
    return [day for day in days if first is None or day.day >= first]


def days_at(settings: Settings, now: float) -> list[Day]:
    """All days, as `filingd status` would show them at an instant.

    Raises:
        StoreError: there is no manifest, or it cannot be read.
    """
    with opened_manifest(settings) as reader:
        return known_days(settings, wanted_days(settings, reader, now), now, None)


def report_of(
    settings: Settings, reader: ManifestReader, wanted: Wanted, days: Sequence[Day], now: float
) -> StatusReport:
    """Everything the command tells, as one value."""
    from filingd.cli import status_report as told
    from filingd.cli.lanes import account_reports, gate_reports, lane_reports, traffic_at

    traffic = traffic_at(settings, reader, now)
    store = settings.store
    daemon = _daemon(settings)
    return told.StatusReport(
        format=told.FORMAT,
        at=now,
        store=told.StoreReport(
            path=str(store.path),
            manifest=str(settings.manifest_path),
            log=str(settings.log_file) if settings.log_file else None,
            free_bytes=_free_bytes(store.path),
            keep_free_bytes=store.keep_free_bytes,
        ),
        daemon=daemon,
        alarms=_alarms(settings, reader, wanted, traffic, is_daemon_running=daemon.pid is not None),
        coverage=_families(days),
        lanes=lane_reports(traffic, reader),
        gates=gate_reports(traffic),
        accounts=account_reports(traffic),
        companies=followed_companies(reader, now),
        searches=searches_in(reader),
        items={state.name.lower(): count for state, count in reader.counts().items()},
        remarks=list(remarks_on_beginning(settings, now)),
    )


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _daemon(settings: Settings) -> Any:
    from filingd.adapters.lock import lock_holder
    from filingd.cli.status_report import DaemonReport

    holder = lock_holder(settings.store.path)
    return DaemonReport(holder.pid if holder else None, holder.purpose if holder else None)


def _alarms(
    settings: Settings, reader: ManifestReader, wanted: Wanted, traffic: Traffic, *, is_daemon_running: bool
) -> list[Any]:
    from filingd.cli.standing import standing_alarms
    from filingd.cli.status_report import AlarmReport

    standing = standing_alarms(
        settings,
        reader,
        wanted.groups,
        wanted.items_of,
        traffic,
        traffic.now,
        is_daemon_running=is_daemon_running,
    )
    return [
        AlarmReport(alarm.kind, alarm.subject, alarm.since_at, alarm.detail, alarm.remedy)
        for alarm in standing
    ]


def _families(days: Sequence[Day]) -> list[Any]:
    import itertools
    from collections import Counter

    from filingd.cli.calendar_view import LOOKS, family_of
    from filingd.cli.status_report import DayReport, FamilyReport

    families = []
    for family, group in itertools.groupby(days, key=family_of):
        members = list(group)
        counts = Counter(day.state.value for day in members)
        told = [
            DayReport(
                day.day.isoformat(),
                day.state.value,
                LOOKS[day.state].letter,
                list(day.reasons),
                day.sealed_at,
            )
            for day in members
        ]
        families.append(FamilyReport(family, dict(counts), told))
    return families


# ------------------------------------------------------------------------------------------ text


def status_lines(settings: Settings, now: float, first: dt.date | None = None, *, colour: bool) -> list[str]:
    """The text of the command.

    Raises:
        StoreError: there is no manifest, or it cannot be read.
    """
    report, days = _looked(settings, now, first)
    return _text_lines(settings, report, days, colour=colour)


def _looked(settings: Settings, now: float, first: dt.date | None) -> tuple[StatusReport, list[Day]]:
    with opened_manifest(settings) as reader:
        wanted = wanted_days(settings, reader, now)
        days = known_days(settings, wanted, now, first)
        return report_of(settings, reader, wanted, days, now), days


def _text_lines(settings: Settings, report: StatusReport, days: Sequence[Day], *, colour: bool) -> list[str]:
    from filingd.cli.calendar_view import calendars
    from filingd.cli.lanes import lane_lines
    from filingd.cli.money import account_lines

    lines = [_headline(report), "", *_alarm_lines(report)]
    lines += calendars(days, colour=colour)
    lines += ["", *_open_days(days)] if days else [*_why_no_days(settings, report), ""]
    lines += [*lane_lines(report.lanes, report.gates), *account_lines(report.accounts)]
    lines += companies_lines(report.companies)
    lines += searches_lines(report.searches)
    lines += ["", _item_line(report), *_store_lines(report)]
    return lines


def _headline(report: StatusReport) -> str:
    daemon = report.daemon
    working = f"{daemon.purpose} works on it (pid {daemon.pid})" if daemon.pid else "no daemon is running"
    return f"filingd status at {iso_minute(report.at)}: {working}"


def _alarm_lines(report: StatusReport) -> Iterator[str]:
    """What somebody should look at comes first."""
    if not report.alarms:
        return
    yield f"alarms: {len(report.alarms)}"
    for alarm in report.alarms[:ALARMS_SHOWN]:
        yield f"  ! {alarm.kind}, {alarm.subject}, since {iso_minute(alarm.since_at)}: {alarm.detail}"
        yield f"      {alarm.remedy}"
    if len(report.alarms) > ALARMS_SHOWN:
        yield f"  … and {len(report.alarms) - ALARMS_SHOWN} more (all of them: filingd status --json)"
    yield ""


def _why_no_days(settings: Settings, report: StatusReport) -> list[str]:
    if settings.nbb is None or not settings.nbb.families:
        return [
            "No publication days are mirrored: what lists and searches name is followed, and nothing else."
        ]
    return report.remarks or ["No wanted publication day is as late as --since."]


def _open_days(days: Sequence[Day]) -> Iterator[str]:
    """Days that are not sealed, oldest first, and why; those that are simply not due are left to the calendar."""
    from filingd.cli.calendar_view import LOOKS, day_name
    from filingd.cli.coverage import DayState

    quiet = {DayState.SEALED, DayState.EMPTY, DayState.NOT_DUE}
    waiting = [day for day in days if day.state not in quiet]
    if not waiting:
        return
    yield "open days, oldest first"
    for day in waiting[:OPEN_DAYS_SHOWN]:
        yield f"  {LOOKS[day.state].letter} {day_name(day.day)}  {'; '.join(day.reasons)}"
    if len(waiting) > OPEN_DAYS_SHOWN:
        yield f"  … and {len(waiting) - OPEN_DAYS_SHOWN} more (all of them: filingd status --json)"
    yield ""


def _item_line(report: StatusReport) -> str:
    counted = [f"{count:,} {state}" for state, count in report.items.items() if count]
    return f"items      {', '.join(counted) or 'none'}"


def _store_lines(report: StatusReport) -> Iterator[str]:
    store = report.store
    low = ", BELOW keep_free: downloads pause" if store.free_bytes < store.keep_free_bytes else ""
    yield f"store      {store.path} ({store.free_bytes / 1e9:,.1f} GB free{low})"
    yield f"log        {store.log or 'standard output of the daemon'}"
