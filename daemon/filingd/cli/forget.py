"""`filingd forget`: delete every stored trace of a filing, an enterprise or a number, and never store it again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.instants import Instant, iso_second
from filingd.cli.options import config_option, json_option, load_settings, opened_manifest
from filingd.cli.verify import Duration
from filingd.core.errors import ExitCode, FilingdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.app import Forgetting
    from filingd.core.tombstones import Tombstone
    from filingd.engine.erasing import Tally
    from filingd.settings import Settings

_NAMED = 20
_LOOK_EVERY_S = 0.2
EXAMPLE = """\b
Examples:
  filingd forget 2026-00999001 --reason "order 7 of 2026-11-20" --dry-run
  filingd forget 2026-00999001 0403.101.811 --reason "order 7 of 2026-11-20"
  filingd forget kvk:69599084 --reason "request of 2026-11-20"      # a KVK number, an RSIN, the number of a branch
  filingd forget --list

\b
Exit codes: 0 every trace is gone; 1 something is still to be erased, or you did not say yes; 2 a number means something in
several registries and it is not said which; 3, 4 as everywhere.
docs/forget.md says what is erased, and what is not.
"""


@click.command(epilog=EXAMPLE)
@config_option
@json_option
@click.argument("subjects", nargs=-1, metavar="[REFERENCE|NUMBER]...")
@click.option("--reason", help="Why, in your words; kept with the tombstone.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--list", "lists", is_flag=True, help="Show what is forgotten.")
@click.option(
"--wait", "wait_s", type=Duration(), default="10 min", metavar="DURATION", show_default=True,
    help="How long to wait for a running daemon to erase it.",
)  # fmt: skip
@click.option("--rehearse-at", type=Instant(), metavar="INSTANT",
              help="As of this instant, for the store of a rehearsal.")  # fmt: skip
def forget(
    config_path: Path, as_json: bool, subjects: tuple[str, ...], reason: str | None, dry_run: bool, yes: bool,
    lists: bool, wait_s: float, rehearse_at: float | None,
) -> int:  # fmt: skip
    """Delete every stored trace of a filing (by its REFERENCE) or an enterprise (by its NUMBER), and leave a tombstone, so that
    it never comes back: not by a re-check, a repair, a rebuilt manifest, a watchlist, a saved search or a file put back.

    At KVK a NUMBER is that of a company (8 digits; with all its branches), an RSIN (9; with its company) or that of a single
    branch (12). Where several registries have such numbers, write nbb: or kvk: before it.

    Zips that hold it are written anew without it; everything else in them stays to the byte, and the day is sealed again. A
    running daemon does the erasing, and this command waits for it; without one it does so itself. What is not held is buried
    all the same: it may come later.
    """
    settings = load_settings(config_path)
    if lists:
        return _list(settings, as_json=as_json)
    if not subjects:
        raise click.UsageError("Name at least one REFERENCE or NUMBER, or say --list.")
    if not reason and not dry_run:
        raise click.UsageError("Say why with --reason: it is kept with the tombstone.")
    ordered = _Order(subjects, reason or "", as_json=as_json, dry_run=dry_run, yes=yes, wait_s=wait_s)
    report = asyncio.run(_forget(settings, rehearse_at, ordered))
    if report is None:
        click.echo("Nothing was forgotten.", err=True)
        return ExitCode.FAILED
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_told(report)))
    return ExitCode.OK if report["dry_run"] or report["erased"] else ExitCode.FAILED


class _Order:
    """What was asked for on the command line."""

    def __init__(
        self,
        subjects: Sequence[str],
        reason: str,
        *,
        as_json: bool,
        dry_run: bool,
        yes: bool,
        wait_s: float,
    ) -> None:
        self.subjects = subjects
        self.reason = reason
        self.dry_run = dry_run
        self.asks = not yes and not as_json and sys.stdin.isatty()
        self.yes = yes or not sys.stdin.isatty()
        self.wait_s = wait_s


async def _forget(settings: Settings, rehearse_at: float | None, order: _Order) -> dict[str, Any] | None:
    """Once more, when whoever was to erase it has ended without."""
    until_s = time.monotonic() + order.wait_s
    while True:
        report = await _forget_once(settings, rehearse_at, order, until_s)
        if report is None or report["erased"] or report["left_to"] is None or time.monotonic() >= until_s:
            return report
        order.asks = False  # it was confirmed


async def _forget_once(
    settings: Settings, rehearse_at: float | None, order: _Order, until_s: float
) -> dict[str, Any] | None:
    from filingd import app

    async with app.opened_for_forgetting(settings, rehearse_at, is_dry=order.dry_run) as opened:
        began_s = time.monotonic()
        tombstones = _tombstones(opened, order)
        if order.dry_run or order.asks:
            would = await opened.forgetter.would_erase(tombstones)
            if order.dry_run:
                return _report(tombstones, would, began_s, dry_run=True)
            if not _is_confirmed(tombstones, would):
                return None
        await opened.forgetter.bury(tombstones)
        if opened.locked_by is None:
            tally = await opened.erase()
            return _report(tombstones, tally, began_s, dry_run=False)
        return await _handed_over(opened, tombstones, until_s, began_s)


def _tombstones(opened: Forgetting, order: _Order) -> list[Tombstone]:
    """What is to be buried, each once.

    Raises:
        FilingdError: something can be neither a filing nor an enterprise.
    """
    from filingd.core.tombstones import Tombstone

    found: dict[str, Tombstone] = {}
    for text in order.subjects:
        subject = opened.registry.subject_of(text)
        if subject is None:
            raise FilingdError(
                f"{text!r} can be nothing that is known by a number in a configured registry: the reference of a filing, such as "
                "2026-00999001, an enterprise number, such as 0403.101.811, whose last two digits check the others, a KVK number "
                "(8 digits), an RSIN (9 digits that pass the eleven-test) or the number of a branch (12). Nothing was forgotten."
            )
        found[subject[0]] = Tombstone(*subject, opened.clock.now(), order.reason)
    return list(found.values())


def _is_confirmed(tombstones: Sequence[Tombstone], would: Tally) -> bool:
    click.echo("\n".join(_told(_report(tombstones, would, time.monotonic(), dry_run=True))))
    return click.confirm("Delete all of this for good?", default=False)


async def _handed_over(
    opened: Forgetting, tombstones: Sequence[Tombstone], until_s: float, began_s: float
) -> dict[str, Any]:
    """Wait until the daemon erased it; for as long as there is one."""
    from filingd.adapters.lock import lock_holder

    wait_s = max(0.0, until_s - time.monotonic())
    click.echo(f"{opened.locked_by} erases it; waiting for up to {wait_s:,.0f} s.", err=True)
    wanted = {tombstone.subject for tombstone in tombstones}
    while time.monotonic() < until_s:
        is_held = lock_holder(opened.root) is not None  # before looking: it may erase and end in between
        known = {one.subject: one for one in await opened.manifest.tombstones() if one.subject in wanted}
        if all(one.erased_at is not None for one in known.values()):
            return _report_of_daemon(tombstones, known.values(), began_s)
        if not is_held:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return {**_facts(tombstones, began_s), "dry_run": False, "erased": False, "left_to": opened.locked_by}


# ------------------------------------------------------------------------------------------ the report


def _facts(tombstones: Sequence[Tombstone], began_s: float) -> dict[str, Any]:
    return {
        "format": 1,
        "subjects": [_told_tombstone(tombstone) for tombstone in tombstones],
        "duration_s": round(time.monotonic() - began_s, 3),
    }


def _report(
    tombstones: Sequence[Tombstone], tally: Tally, began_s: float, *, dry_run: bool
) -> dict[str, Any]:
    return {
        **_facts(tombstones, began_s),
        "dry_run": dry_run,
        "erased": not dry_run and not tally.refused,
        "left_to": None,
        "did": tally.facts(),
        "items": list(tally.keys),
        "refused": [{"path": path, "why": why} for path, why in tally.refused],
    }


def _report_of_daemon(tombstones: Sequence[Tombstone], known: Any, began_s: float) -> dict[str, Any]:
    did: Mapping[str, Any] = max((one.erased for one in known), key=len, default={})
    return {
        **_facts(tombstones, began_s), "dry_run": False, "erased": True, "left_to": None, "did": dict(did),
        "items": [], "refused": [],
    }  # fmt: skip


def _told_tombstone(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "subject": tombstone.subject,
        "is_enterprise": tombstone.is_enterprise,
        "buried_at": tombstone.buried_at,
        "reason": tombstone.reason,
        "erased_at": tombstone.erased_at,
    }


_COUNTS = (
    ("files", "files written anew without it"),
    ("members", "members of zips that are gone, or have fewer records"),
    ("documents", "files that are gone as a whole"),
    ("versions", "older versions among these files"),
    ("quarantined", "refused bodies in quarantine/ that are gone"),
    ("partials", "unfinished downloads that are gone"),
)


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    from filingd.cli.plan import human_bytes

    subjects = ", ".join(one["subject"] for one in report["subjects"])
    if report["left_to"]:
        yield f"{subjects}: buried, so it never comes back. {report['left_to']} has not erased all of it yet: "
        yield "`filingd forget --list` shows when it has."
        return
    did = report["did"]
    yield f"{subjects}: this would go" if report["dry_run"] else f"{subjects}: forgotten"
    yield from (f"  {did[name]:>8,}  {what}" for name, what in _COUNTS if did.get(name))
    if any(did.get(name) for name, _ in _COUNTS):
        yield f"  {human_bytes(did['size_bytes'])} less are stored"
    else:
        yield "  nothing of it is held" + ("" if report["dry_run"] else "; if it comes, it is not stored")
    yield from (f"  {key}" for key in report["items"][:_NAMED])
    if len(report["items"]) > _NAMED:
        yield f"  … and {len(report['items']) - _NAMED:,} more (all of them: --json)"
    yield from _told_refused(report)
    if not report["dry_run"]:
        yield "Not covered: copies made elsewhere, snapshots and backups, lines of the status log, the keys in `filingd changes`."


def _told_refused(report: Mapping[str, Any]) -> Iterator[str]:
    for each in report["refused"]:
        yield f"  REFUSED  {each['path']}: {each['why']}"
    if report["refused"]:
        yield "Not all of it is erased. It is buried, so it does not come back; run this again when that is mended."


# ------------------------------------------------------------------------------------------ the list


def _list(settings: Settings, *, as_json: bool) -> int:
    with opened_manifest(settings) as reader:
        tombstones = list(reader.tombstones())
    if as_json:
        click.echo(
            json.dumps({"format": 1, "forgotten": [_told_tombstone(one) for one in tombstones]}, indent=2)
        )
        return ExitCode.OK
    for one in tombstones:
        kind = "enterprise" if one.is_enterprise else "branch" if one.subject.isdigit() else "filing"
        state = f"erased {iso_second(one.erased_at)}" if one.erased_at is not None else "NOT ERASED YET"
        click.echo(
            f"{one.subject:<14} {kind:<10} buried {iso_second(one.buried_at)}  {state}  {one.reason}".rstrip()
        )
    if not tombstones:
        click.echo("Nothing is forgotten.")
    return ExitCode.OK
