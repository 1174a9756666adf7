"""`filingd items`: list, show or retry single items. Works while a daemon runs and without one."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.instants import Instant, iso_minute, iso_second
from filingd.cli.options import config_option, json_option, load_settings, opened_manifest
from filingd.cli.status import NBB_FAMILY
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.core.model import Group, Item, Version

_STATES = ("due", "active", "stored", "rechecking", "empty", "absent", "quarantined", "reasking")
_PAGE = 1000
_SAME_CLOCK_S = 3600.0  # clocks that are further apart are not the same
_DATE = re.compile(r"\d{4}[\d-]*", re.ASCII)
_LIST_EXAMPLE = """\b
Examples:
  filingd items list --state quarantined
  filingd items list 2026-11-20                     # one day; 2026-11 is a month
  filingd items list nbb/authentic/2026-11 --json | jq -r '.items[].key'
"""
_SHOW_EXAMPLE = """\b
Example:
  filingd items show nbb/authentic/2026-11-20/json
"""
_RETRY_EXAMPLE = """\b
Examples:
  filingd items retry nbb/authentic/2026-11-20/json
  filingd items retry nbb/authentic/2026-11-20        # the whole day
  filingd items retry --all-failed
"""


@click.group()
def items() -> None:
    """List, show or retry single items.

    An item is one thing wanted, under a key such as nbb/authentic/2026-11-20/json.
    """


# ------------------------------------------------------------------------------------------ list


@items.command("list", epilog=_LIST_EXAMPLE)
@config_option
@json_option
@click.option(
    "--state", "states", type=click.Choice(_STATES), multiple=True, help="Only these; may be given again."
)
@click.option("--lane", help="Only items that wait on this lane, such as nbb/extract.")
@click.argument("prefix", default="", metavar="[PREFIX|DAY]")
@click.option(
    "--limit", type=click.IntRange(min=0), default=200, show_default=True, help="At most so many; 0: all."
)
def list_(config_path: Path, as_json: bool, states: tuple[str, ...], lane: str | None, prefix: str,
          limit: int) -> None:  # fmt: skip
    """List items in the order of their keys: all, or those of a day, a month, or whose key starts with PREFIX.

    A DAY is written 2026-11-20, a month 2026-11, a year 2026.
    """
    settings = load_settings(config_path)
    prefix = _key_prefix(prefix)
    with opened_manifest(settings) as reader:
        wanted = (item for item in _items_of(reader, prefix, states) if lane is None or item.lane == lane)
        found, more = _bounded(wanted, limit)
    if as_json:
        click.echo(
            json.dumps({"format": 1, "items": [item_facts(item) for item in found], "more": more}, indent=2)
        )
        return
    for item in found:
        click.echo(_line(item))
    if more:
        click.echo(
            f"… and more: raise --limit (now {limit}), or narrow it: to a day, or with --state or --lane"
        )
    elif not found:
        click.echo("No item matches.")


def _key_prefix(given: str) -> str:
    """What keys begin with, from a prefix of keys or from (the beginning of) a date."""
    return f"{NBB_FAMILY}/{given}" if _DATE.fullmatch(given) else given


def _items_of(reader: ManifestReader, prefix: str, states: Sequence[str]) -> Iterator[Item]:
    """Items whose key starts with the prefix, page by page."""
    from filingd.core.model import State

    wanted = frozenset(State[name.upper()] for name in states) or None
    after = ""
    while page := reader.with_prefix(prefix, after, _PAGE, wanted):
        yield from page
        after = page[-1].key


def _bounded(found: Iterable[Item], limit: int) -> tuple[list[Item], bool]:
    kept: list[Item] = []
    for item in found:
        if limit and len(kept) == limit:
            return kept, True
        kept.append(item)
    return kept, False


def item_facts(item: Item) -> dict[str, Any]:
    """An item as JSON; instants are unix seconds."""
    return {
        "key": item.key,
        "state": item.state.name.lower(),
        "lane": item.lane,
        "priority": item.priority,
        "due_at": item.due_at,
        "attempts": item.attempts,
        "reason": item.reason,
        "nothing_count": item.nothing_count,
        "nothing_at": item.nothing_at,
        "size_bytes": item.size_bytes,
        "sha256": item.sha256.hex() if item.sha256 else None,
        "stored_at": item.stored_at,
        "version": item.version,
    }


def _line(item: Item) -> str:
    parts = [f"{item.key:<40} {item.state.name.lower():<12}"]
    if item.size_bytes is not None:
        parts.append(f"{item.size_bytes:,} bytes")
    if item.reason:
        parts.append(item.reason)
    if item.attempts:
        parts.append(f"failed {item.attempts} times")
    if item.due_at is not None:
        parts.append(f"due {iso_minute(item.due_at)}")
    return "  ".join(parts).rstrip()


# ------------------------------------------------------------------------------------------ show


@items.command(epilog=_SHOW_EXAMPLE)
@config_option
@json_option
@click.argument("key")
def show(config_path: Path, as_json: bool, key: str) -> int:
    """Show everything that is known of one item: its row, its versions, its day, its files."""
    from filingd import app

    settings = load_settings(config_path)
    with opened_manifest(settings) as reader:
        item = reader.items([key]).get(key)
        if item is None:
            click.echo(f"No item has the key {key}. Keys look like nbb/authentic/2026-11-20/json; see "
                       "`filingd items list`.", err=True)  # fmt: skip
            return ExitCode.FAILED
        versions = reader.versions(key)
        group = next((found for found in reader.groups(item.group) if found.key == item.group), None)
    files = _files_of(settings.store.path, app.registry_of(settings).target(key), item.version)
    facts = {
        "format": 1,
        "item": item_facts(item),
        "versions": [version_facts(version) for version in versions],
        "group": _group_facts(group) if group else None,
        "files": files,
    }
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_told(facts)))
    return ExitCode.OK


def version_facts(version: Version) -> dict[str, Any]:
    """A version as JSON."""
    return {
        "number": version.number,
        "path": version.path,
        "size_bytes": version.size_bytes,
        "sha256": version.sha256.hex(),
        "stored_at": version.stored_at,
        "verified_at": version.verified_at,
        "route": version.route,
        "request_id": version.request_id,
        "etag": version.etag,
        "members": version.member_count,
        "content_digest": version.content_digest.hex() if version.content_digest else None,
        "facts": dict(version.facts),
    }


def _group_facts(group: Group) -> dict[str, Any]:
    return {
        "key": group.key,
        "sealed_at": group.sealed_at,
        "checked_at": group.checked_at,
        "reasons": list(group.reasons),
        "facts": dict(group.facts),
    }


def _files_of(root: Path, target: str, version: int) -> list[dict[str, Any]]:
    """What lies on disk for a target: published, earlier, unfinished and refused bodies."""
    from filingd.core import layout

    folder, name = root / layout.folder_of(target), layout.name_of(target)
    older = [layout.superseded(target, number) for number in range(1, version)]
    kinds = [
        ("current", [root / target]),
        ("partial", [folder / f".{name}.part"]),
        ("superseded", [root / path for path in older]),
        ("quarantined", [path for refused in (target, *older) for path in _refused(root, refused)]),
    ]
    return [
        {
            "kind": kind,
            "path": path.relative_to(root).as_posix(),
            "size_bytes": path.stat().st_size,
            **_why(path),
        }
        for kind, paths in kinds
        for path in paths
        if path.is_file() and not (kind == "quarantined" and path.suffix == ".json")
    ]


def _refused(root: Path, target: str) -> list[Path]:
    """What was set aside of a target, with its records."""
    from filingd.core import layout

    return sorted((root / layout.QUARANTINE / layout.folder_of(target)).glob(f"{layout.name_of(target)}.*"))


def _why(path: Path) -> dict[str, Any]:
    """The reason of a quarantined body, from the record beside it."""
    record = path.with_name(f"{path.name}.json")
    try:
        told = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        "problem": told.get("problem"),
        "detail": told.get("detail"),
        "refused_at": told.get("refused_at"),
    }


def _told(facts: Mapping[str, Any]) -> Iterator[str]:
    item = facts["item"]
    yield item["key"]
    for name, value in item.items():
        if name != "key" and value not in {None, ""}:
            yield f"  {name:<14} {_shown(name, value)}"
    yield from _told_versions(facts["versions"])
    yield from _told_group(facts["group"])
    yield "files" if facts["files"] else "files  none on disk"
    for file in facts["files"]:
        why = f"  {file['problem']}: {file['detail']}" if file.get("problem") else ""
        yield f"  {file['kind']:<12} {file['path']}  {file['size_bytes']:,} bytes{why}"


def _shown(name: str, value: Any) -> str:
    if name.endswith("_at"):
        return iso_second(value)
    return f"{value:,}" if name == "size_bytes" else str(value)


def _told_versions(versions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    from filingd.core.layout import is_set_aside

    if versions:
        yield "versions"
    for version in versions:
        verified = f", verified {iso_second(version['verified_at'])}" if version["verified_at"] else ""
        yield (
            f"  {version['number']}  {version['size_bytes']:,} bytes by {version['route']} "
            f"at {iso_second(version['stored_at'])}{verified}"
        )
        yield f"     sha256 {version['sha256']}"
        if version["request_id"]:
            yield f"     request {version['request_id']}"
        if is_set_aside(version["path"]):
            yield f"     damaged on disk since; what is left of it lies in {version['path']}"


def _told_group(group: Mapping[str, Any] | None) -> Iterator[str]:
    if group is None:
        return
    if group["sealed_at"] is not None:
        yield f"day    {group['key']} is sealed since {iso_second(group['sealed_at'])}"
    else:
        yield f"day    {group['key']} is open: {'; '.join(group['reasons']) or 'not judged yet'}"


# ------------------------------------------------------------------------------------------ retry


@items.command(epilog=_RETRY_EXAMPLE)
@config_option
@json_option
@click.argument("keys", nargs=-1, metavar="[KEY|PREFIX]...")
@click.option("--all-failed", is_flag=True, help="Every item that used up its tries (state quarantined).")
@click.option(
    "--rehearse-at",
    "at",
    type=Instant(),
    metavar="INSTANT",
    help="In a rehearsal: the instant from which on they are due.",
)
def retry(config_path: Path, as_json: bool, keys: tuple[str, ...], all_failed: bool, at: float | None) -> int:
    """Try items again now. A stored one is fetched again and compared.

    Items under way are left alone. A running daemon notices within a second; without one they are due at the next start.
    """
    from filingd.adapters.manifest_commands import ManifestWriter

    if not keys and not all_failed:
        raise click.UsageError("Name at least one KEY or PREFIX, or say --all-failed.")
    settings = load_settings(config_path)
    now = time.time() if at is None else at
    with opened_manifest(settings) as reader:
        wanted = _chosen(reader, keys, all_failed=all_failed)
        doubt = _clock_doubt(settings.store.path, reader, list(wanted.values()), now) if at is None else None
    if doubt is not None:
        click.echo(doubt, err=True)
    with ManifestWriter(settings.manifest_path, clock_now=time.time) as writer:
        changed = writer.retry(list(wanted), now) if wanted else []
    left = {key: _why_left(wanted[key]) for key in wanted if key not in set(changed)}
    if as_json:
        click.echo(json.dumps({"format": 1, "retried": list(changed), "left_alone": left}, indent=2))
    else:
        click.echo("\n".join(_told_retry(list(changed), left, wanted)))
    return ExitCode.OK if wanted or all_failed else ExitCode.FAILED


def _chosen(reader: ManifestReader, keys: Sequence[str], *, all_failed: bool) -> dict[str, Item]:
    """The items that are meant. A prefix ends at a slash: 2026-11-2 does not mean 2026-11-20."""
    wanted = dict(reader.items(keys))
    for prefix in keys:
        if prefix not in wanted:
            wanted |= {item.key: item for item in _items_of(reader, prefix.rstrip("/") + "/", ())}
    if all_failed:
        wanted |= {item.key: item for item in _items_of(reader, "", ("quarantined",))}
    return wanted


def _clock_doubt(root: Path, reader: ManifestReader, wanted: Sequence[Item], now: float) -> str | None:
    """What to say if this looks like the store of a rehearsal, which keeps another clock than the one taken here."""
    from filingd.adapters.lock import clock_ahead_s

    due = f"These items are due at {iso_minute(now)}, by the real clock"
    remedy = "To mean another instant, say --rehearse-at."
    ahead_s = clock_ahead_s(root)
    if abs(ahead_s) > _SAME_CLOCK_S:
        begins = "no sooner" if ahead_s < 0 else "at once"
        clock = iso_minute(now + ahead_s)
        return f"The daemon of this store rehearses: its clock says {clock}. {due}, and it tries them {begins}. {remedy}"
    newest_at = _newest_at(reader, wanted)
    if newest_at > now + _SAME_CLOCK_S:
        return f"This looks like the store of a rehearsal: its manifest knows of {iso_minute(newest_at)}. {due}. {remedy}"
    return None


def _newest_at(reader: ManifestReader, wanted: Sequence[Item]) -> float:
    """The latest instant at which something is recorded to have happened to these items and days next to them."""
    prefix = os.path.commonprefix([item.group for item in wanted])  # noqa: RUF071 - keys are text, no paths
    groups = reader.groups(prefix) if wanted else ()
    instants = [at for group in groups for at in (group.opened_at, group.sealed_at, group.checked_at)]
    return max(
        (at for at in (*instants, *(item.stored_at for item in wanted)) if at is not None), default=0.0
    )


def _why_left(item: Item) -> str:
    from filingd.core.forgetting import FORGOTTEN_REASON

    if item.reason == FORGOTTEN_REASON:
        return "it was forgotten (`filingd forget --list`) and is never asked for again"
    return f"it is {item.state.name.lower()}: an attempt is under way"


def _told_retry(changed: Sequence[str], left: Mapping[str, str], wanted: Mapping[str, Item]) -> Iterator[str]:
    if not wanted:
        yield "Nothing matches. `filingd items list` shows the keys."
    for key in changed:
        was = wanted[key].state.name.lower()
        yield f"{key}  was {was}; " + (
            "it is fetched again and compared" if was == "stored" else "it is due now"
        )
    for key, why in left.items():
        yield f"{key}  left alone: {why}"
