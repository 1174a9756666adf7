"""`filingd manifest`: make the manifest anew from the files on disk."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.instants import Instant
from filingd.cli.options import config_option, json_option, load_settings
from filingd.core.errors import ExitCode, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from filingd.adapters.manifest_commands import ManifestBuilder
    from filingd.core.limits import LaneState
    from filingd.core.tombstones import Tombstone
    from filingd.engine.rebuild import Rebuilt
    from filingd.ports import Clock, Registry, Store
    from filingd.settings import Settings

_NAMED = 20
_TO_QUARANTINE = {True: "would go to quarantine/", False: "moved to quarantine/"}
_LEFT_UNREAD = "left where they are; repair the disk or the permissions and run again"
EXAMPLE = """\b
Examples:
  filingd manifest rebuild --dry-run
  filingd manifest rebuild
"""


@click.group()
def manifest() -> None:
    """Make the manifest anew from the files on disk."""


@manifest.command(epilog=EXAMPLE)
@config_option
@json_option
@click.option("--dry-run", is_flag=True, help="Say what would be found; write nothing, move nothing.")
@click.option("--rehearse-at", type=Instant(), metavar="INSTANT",
              help="As of this instant, for the store of a rehearsal.")  # fmt: skip
def rebuild(config_path: Path, as_json: bool, dry_run: bool, rehearse_at: float | None) -> int:
    """Read every stored file and make a new manifest of what is found; nothing is fetched.

    Needs the store to itself: stop the daemon first. A file counts if its content is sound, a day is sealed if its
    SHA256SUMS holds; damaged files go to quarantine/. The old manifest stays beside the new one. What the disk cannot
    tell is planned anew by the next `filingd run`. A file that cannot be read stays where it is, and the exit code is 1.
    """
    settings = load_settings(config_path)
    report = asyncio.run(_rebuild(settings, rehearse_at, dry_run=dry_run, quiet=as_json))
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_told(report)))
    is_lacking = report["unreadable"] or (dry_run and report["refused"])
    return ExitCode.FAILED if is_lacking else ExitCode.OK


async def _rebuild(
    settings: Settings, rehearse_at: float | None, *, dry_run: bool, quiet: bool
) -> dict[str, Any]:
    from filingd import app
    from filingd.adapters.lock import StoreLock

    root = settings.store.path
    if not root.is_dir():
        raise StoreError(f"There is no store at {root}. Check [store] path, or run `filingd run` to begin.")
    clock, registry = app.clock_for(rehearse_at), app.registry_of(settings)
    began_s = time.monotonic()
    with StoreLock(root, started_at=clock.now(), purpose="filingd manifest rebuild"):
        found, kept = await _made(settings, registry, clock, dry_run=dry_run, quiet=quiet)
        if not dry_run:
            await _forget_again(settings, rehearse_at)
    return _report(settings, found, kept, time.monotonic() - began_s, dry_run=dry_run)


async def _made(
    settings: Settings, registry: Registry, clock: Clock, *, dry_run: bool, quiet: bool
) -> tuple[Rebuilt, Path | None]:
    from filingd import app
    from filingd.adapters.manifest_commands import ManifestBuilder
    from filingd.adapters.steps import SilentSteps
    from filingd.adapters.store import DiskStore
    from filingd.engine.rebuild import Rebuilder

    path, progress = settings.manifest_path, _progress(quiet=quiet)
    store = DiskStore(settings.store.path, SilentSteps())
    try:
        buried = await _buried(store, path)
        await app.follow_lists(settings, registry, None)
        if dry_run:
            rebuilder = Rebuilder(registry, store, clock, None, progress, may_be_empty=bool(buried))
            return await rebuilder.rebuild(), None
        lanes = _lanes(path, registry, clock)
        building: AbstractContextManager[ManifestBuilder] = ManifestBuilder(path, clock_now=clock.now)
        with building as builder:
            builder.begin_feed(_feed_head(path, clock))
            builder.bury(buried)  # all of it is erased anew: what lies there now may have been put back
            rebuilder = Rebuilder(registry, store, clock, builder, progress, may_be_empty=bool(buried))
            found = await rebuilder.rebuild()
            for state in lanes:
                builder.add_lane(state)
            for name, seq in _cursors(path, settings).items():
                builder.add_cursor(name, seq)
            kept = builder.keep_old(_ending())
        await _say(settings, clock, found)
        return found, kept
    finally:
        await store.close()


async def _buried(store: Store, path: Path) -> Sequence[Tombstone]:
    """What is forgotten: by its own file, and by the old manifest if that can be read."""
    from msgspec.structs import replace

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.core.errors import FilingdError
    from filingd.core.tombstones import unknown_of

    written = await store.tombstones()
    try:
        with ManifestReader(path) as reader:
            recorded = reader.tombstones()
    except FilingdError:
        recorded = []
    known = [*recorded, *unknown_of(written, recorded)]
    return [replace(tombstone, erased_at=None, erased={}) for tombstone in known]


async def _forget_again(settings: Settings, rehearse_at: float | None) -> None:
    """Erase what is forgotten from what was found: it may have been put back."""
    from filingd import app

    async with app.opened_for_forgetting(settings, rehearse_at, has_lock=True) as opened:
        if opened.forgetter.has_forgotten:
            await opened.erase()


async def _say(settings: Settings, clock: Clock, found: Rebuilt) -> None:
    from filingd.adapters.logs import open_status_log
    from filingd.core import events

    log = open_status_log(settings.log_file, clock.now, console="off")
    log.info(events.MANIFEST_REBUILT, items=found.stored + found.empty, days=found.sealed + found.opened)
    await asyncio.to_thread(log.close)


def _ending() -> str:
    """What the name of the old manifest ends in; by the real time, so that no two are the same."""
    return f".before-rebuild-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"


def _feed_head(path: Path, clock: Clock) -> int:
    """The last number the feed may have used. Where the old manifest cannot say, one that no feed has reached: a mirror
    does not record a million events a second."""
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.core.errors import FilingdError

    try:
        with ManifestReader(path) as reader:
            return reader.feed_head()
    except FilingdError:
        return round(clock.now() * 1_000_000)


def _cursors(path: Path, settings: Settings) -> Mapping[str, int]:
    """How far hooks have come. Where the old manifest cannot say, they are told everything: at least once is what they are
    promised."""
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.core.errors import FilingdError

    try:
        with ManifestReader(path) as reader:
            return reader.cursors()
    except FilingdError:
        return {f"hooks.{name}": 0 for name in settings.hooks.by_name}


def _lanes(path: Path, registry: Registry, clock: Clock) -> list[LaneState]:
    """Each lane as the old manifest has it; if that cannot be read, as if a call had just been made on it."""
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.core.errors import FilingdError
    from filingd.core.limits import LaneState

    try:
        with ManifestReader(path) as reader:
            return list(reader.lane_states().values())
    except FilingdError:
        return [LaneState(spec.name, clock.boot_id(), clock.monotonic()) for spec in registry.lanes()]


# ------------------------------------------------------------------------------------------ the report


def _report(
    settings: Settings, found: Rebuilt, kept: Path | None, duration_s: float, *, dry_run: bool
) -> dict[str, Any]:
    from filingd.engine.damage import UNREADABLE

    return {
        "format": 1,
        "dry_run": dry_run,
        "manifest": str(settings.manifest_path),
        "kept_as": str(kept) if kept else None,
        "stored": found.stored,
        "stored_bytes": found.stored_bytes,
        "superseded": found.superseded,
        "empty": found.empty,
        "sealed_days": found.sealed,
        "open_days": found.opened,
        "refused": [
            {"path": path, "problem": problem} for path, problem in found.refused if problem != UNREADABLE
        ],
        "unreadable": [path for path, problem in found.refused if problem == UNREADABLE],
        "unknown": found.unknown,
        "duration_s": round(duration_s, 3),
    }


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    from filingd.cli.plan import human_bytes

    yield f"stored      {report['stored']:,} bodies, {human_bytes(report['stored_bytes'])}"
    yield f"superseded  {report['superseded']:,} earlier bodies under versions/"
    yield f"empty       {report['empty']:,} datasets that were proven to have nothing"
    yield f"days        {report['sealed_days']:,} sealed, {report['open_days']:,} to be judged by the next run"
    yield from _told_refused(report)
    yield from _named("unknown", report["unknown"], "left alone")
    if report["dry_run"]:
        yield "Nothing was written. Without --dry-run this becomes the new manifest."
        return
    yield f"The new manifest is {report['manifest']}" + (
        f"; the old one is kept as {report['kept_as']}." if report["kept_as"] else "."
    )


def _told_refused(report: Mapping[str, Any]) -> Iterator[str]:
    from filingd.core.layout import VERSIONS

    current: list[str] = []
    superseded: list[str] = []
    for each in report["refused"]:
        paths = superseded if each["path"].startswith(f"{VERSIONS}/") else current
        paths.append(f"{each['path']} ({each['problem']})")
    yield from _named("damaged", current, _TO_QUARANTINE[report["dry_run"]])
    yield from _named("damaged", superseded, "superseded anyhow, left where they are")
    yield from _named("unreadable", report["unreadable"], _LEFT_UNREAD)


def _named(word: str, paths: list[str], what: str) -> Iterator[str]:
    if paths:
        yield f"{word:<12}{len(paths):,} {'file' if len(paths) == 1 else 'files'}, {what}:"
        yield from (f"            {path}" for path in paths[:_NAMED])
    if len(paths) > _NAMED:
        yield f"            … and {len(paths) - _NAMED:,} more (all of them: --json)"


def _progress(*, quiet: bool) -> Callable[[Rebuilt], None]:
    if quiet or not sys.stderr.isatty():
        return lambda _: None
    return lambda found: click.echo(
        f"\r  {found.stored:,} bodies, {found.stored_bytes / 1e6:,.0f} MB ", err=True, nl=False
    )
