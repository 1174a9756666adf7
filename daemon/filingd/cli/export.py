"""`filingd export`: the records of companies as JSON lines, for whoever loads them into something else.

Reads manifest and files only, without a lock, while a daemon runs and without one. What is held is passed on by pages.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from typing import TYPE_CHECKING, NamedTuple

import click

from filingd.cli.instants import Instant
from filingd.cli.options import config_option, load_settings, opened_manifest
from filingd.cli.output import raw_standard_output
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.watch_desks import Desk
    from filingd.core.catalogue import Forgotten
    from filingd.core.model import Version
    from filingd.ports import Companies, Registry
    from filingd.settings import Settings

_PAGE = 500
_LOOKS = 3  # a body may be replaced after the manifest was asked: then it is asked again
_PARTS = (
    *(
        "basisprofiel",
        "eigenaar",
        "hoofdvestiging",
        "vestigingen",
        "vestigingsprofiel",
        "naamgeving",
        "zoeken",
    ),
    "references",
)

EXAMPLE = """\b
Examples:
  filingd export --registry kvk --part basisprofiel > companies.jsonl
  filingd export 69599084 | jq .body
  filingd export --since 1234 --no-body            # what was stored after event 1234 of `filingd changes`
  filingd export --since 2026-11-20T00:00Z

\b
Exit codes: 0 all was exported; 1 of a NUMBER nothing is held, or a file is not what was stored; 4 there is no manifest, or it
cannot be read; 141 the reader went away.
"""


class Since(NamedTuple):
    """From where on: after an event of the feed, or, without one, what was stored at an instant or later."""

    seq: int | None = None
    at: float = 0.0


class _SinceType(click.ParamType[Since]):
    """The number of an event, or an instant."""

    name = "number or instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Since:
        if isinstance(value, Since):
            return value
        text = str(value)
        if text.isascii() and text.isdigit():
            return Since(seq=int(text))
        return Since(at=Instant().convert(text, param, ctx))


@click.command(epilog=EXAMPLE)
@config_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of a line, and nothing else."
)
@click.option("--registry", metavar="NAME", help="The records of this registry alone: nbb or kvk.")
@click.option(
    "--part", "parts", type=click.Choice(_PARTS), multiple=True, help="These parts alone; may be repeated."
)
@click.option(
    "--since", type=_SinceType(), default=Since(), metavar="NUMBER|INSTANT",
    help="What was stored after this event of `filingd changes`, or since this instant.",
)  # fmt: skip
@click.option("--no-body", is_flag=True, help="Leave the records themselves out.")
@click.argument("numbers", nargs=-1, metavar="[NUMBER]...")
def export(
    config_path: Path, wants_schema: bool, registry: str | None, parts: tuple[str, ...], since: Since,
    no_body: bool, numbers: tuple[str, ...],
) -> int:  # fmt: skip
    """Write the records that are held of companies as JSON lines, each with its non-mailing indicator.

    With NUMBER... of these companies and their branches alone. What was forgotten is never written. docs/export-json.md explains
    each field.
    """
    if wants_schema:
        from filingd.cli.export_line import schema

        click.echo(json.dumps(schema(), indent=2))
        return ExitCode.OK
    settings = load_settings(config_path)
    with opened_manifest(settings) as manifest:
        export = Export(settings, manifest, registry, parts)
        head = manifest.feed_head()
        with io.BufferedWriter(raw_standard_output()) as output:
            for page in export.pages(numbers, since, head):
                for line in export.lines(page, with_body=not no_body):
                    output.write(line)
                output.flush()
    for fault in export.faults:
        click.echo(f"filingd: {fault}", err=True)
    click.echo(f"{export.count:,} records. The next export goes on with --since {head}.", err=True)
    return ExitCode.FAILED if export.faults else ExitCode.OK


class _Place(NamedTuple):
    """An item that may be exported, and the event that tells of it, if that was asked for."""

    key: str
    seq: int | None = None
    version: int | None = None  # the one of the event: a later one is told by a later event


class Export:
    """One export. `count` and `faults` grow as its lines are made."""

    def __init__(
        self, settings: Settings, manifest: ManifestReader, registry: str | None, parts: Sequence[str]
    ) -> None:
        from filingd import app
        from filingd.cli.watch_desks import desks_of

        self.count = 0
        self.faults: list[str] = []
        self._root = settings.store.path
        self._manifest = manifest
        self._registry: Registry = app.registry_of(settings)
        self._desks: Sequence[Desk] = desks_of(settings, registry)
        self._parts = frozenset(parts)
        self._since_at = 0.0

    # ------------------------------------------------------------------ which

    def pages(self, numbers: Sequence[str], since: Since, head: int) -> Iterator[Sequence[_Place]]:
        """What may be exported, a page at a time; `head` is the last event that counts."""
        self._since_at = since.at
        if since.seq is not None:
            return self._since_event(self._keys_of(numbers) if numbers else None, since.seq, head)
        return self._of_numbers(numbers) if numbers else self._everything()

    def _everything(self) -> Iterator[Sequence[_Place]]:
        for desk in self._desks:
            yield from self._below(desk.companies.prefix)

    def _below(self, prefix: str) -> Iterator[Sequence[_Place]]:
        from filingd.core.model import HOLDING_STATES

        after = ""
        while page := self._manifest.with_prefix(prefix, after, _PAGE, HOLDING_STATES):
            yield [_Place(item.key) for item in page]
            after = page[-1].key

    def _of_numbers(self, numbers: Sequence[str]) -> Iterator[Sequence[_Place]]:
        for keys in self._keys_of(numbers).values():
            yield [_Place(key) for key in keys]

    def _keys_of(self, numbers: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """What is held of each number, and of those that its records name."""
        from filingd.cli.watch_desks import sort_numbers

        found = sort_numbers(self._desks, numbers)
        self.faults += found.bad
        keys: dict[str, Sequence[str]] = {}
        for desk, good in zip(self._desks, found.by_desk, strict=True):
            for number in good:
                held = [*self._held(desk, number)]
                if not held:
                    self.faults.append(f"Of {number} nothing is held.")
                keys[number] = held
        return keys

    def _held(self, desk: Desk, number: str) -> Iterator[str]:
        seen: dict[str, None] = {}
        waiting = [number]
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen[one] = None
            for page in self._below(f"{desk.companies.prefix}{one}/"):
                keys = [place.key for place in page]
                yield from keys
                for version in self._manifest.current_versions(keys).values():
                    waiting += desk.companies.named(version.facts)

    def _since_event(
        self, keys_by_number: Mapping[str, Sequence[str]] | None, since: int, head: int
    ) -> Iterator[Sequence[_Place]]:
        from filingd.core.feed import FeedKind

        wanted = None if keys_by_number is None else {key for keys in keys_by_number.values() for key in keys}
        prefixes = tuple(desk.companies.prefix for desk in self._desks)
        told = frozenset({FeedKind.STORED, FeedKind.REPLACED})
        while since < head and (events := self._manifest.feed(since, _PAGE)):
            since = events[-1].seq
            yield [
                _Place(event.subject, event.seq, event.version)
                for event in events
                if event.kind in told and event.seq <= head and event.subject.startswith(prefixes)
                and (wanted is None or event.subject in wanted)
            ]  # fmt: skip

    # ------------------------------------------------------------------ lines

    def lines(self, places: Sequence[_Place], *, with_body: bool) -> Iterator[bytes]:
        """The lines of a page."""
        from filingd.core.forgetting import forgotten_by

        tombstones = self._manifest.tombstones()
        forgotten = forgotten_by(tombstones)
        pending = forgotten_by(one for one in tombstones if one.erased_at is None)
        wanted = [place for place in places if self._is_wanted(place.key, forgotten)]
        versions = self._current([place.key for place in wanted])
        said = self._non_mailing(versions.values())
        for place in wanted:
            version = versions.get(place.key)
            if (
                version is None
                or self._is_of_forgotten(version, forgotten)
                or version.stored_at < self._since_at
                or place.version not in (None, version.number)
            ):
                continue
            line = self._line(version, place.seq, said, pending, with_body=with_body)
            if line is not None:
                self.count += 1
                yield line

    def _is_wanted(self, key: str, forgotten: Forgotten) -> bool:
        if self._parts and key.rpartition("/")[2] not in self._parts:
            return False
        return not self._registry.is_forgotten(key, forgotten)

    def _is_of_forgotten(self, version: Version, forgotten: Forgotten) -> bool:
        """Whether it is about one company alone, which is forgotten: a branch that is not erased yet, for instance."""
        owners = self._spoken_for(version)
        return len(owners) == 1 and self._registry.is_forgotten(owners[0], forgotten)

    def _current(self, keys: Sequence[str]) -> Mapping[str, Version]:
        """The bodies that are held now of these items."""
        from filingd.core.model import HOLDING_STATES

        held = [key for key, item in self._manifest.items(keys).items() if item.state in HOLDING_STATES]
        return self._manifest.current_versions(held)

    def _line(
        self,
        version: Version,
        seq: int | None,
        said: Callable[[Version], bool | None],
        pending: Forgotten,
        *,
        with_body: bool,
    ) -> bytes | None:
        from filingd.cli.export_line import line_of

        scrub = self._registry.scrub(version.key, pending)
        body = None
        if with_body or scrub is not None:
            found = self._body(version)
            if found is None:
                return None
            version, body = found
            if scrub is not None and scrub.document(body) is not None:
                return None  # something in it is to be forgotten, and not erased yet
        number = self._number_of(version.key)
        return line_of(version, number, said(version), seq, body if with_body else None)

    def _number_of(self, key: str) -> str:
        return self._companies_of(key).number_of(key)

    def _spoken_for(self, version: Version) -> Sequence[str]:
        return self._companies_of(version.key).spoken_for(version.facts)

    def _companies_of(self, key: str) -> Companies:
        return next(desk.companies for desk in self._desks if key.startswith(desk.companies.prefix))

    # ------------------------------------------------------------------ what records say

    def _non_mailing(self, versions: Iterable[Version]) -> Callable[[Version], bool | None]:
        """What is said of each of these: by itself, or by those that speak for it."""
        silent = [version for version in versions if version.facts.get("non_mailing") is None]
        keys = {key for version in silent for key in self._spoken_for(version)}
        speaking = self._manifest.current_versions(keys)

        def said(version: Version) -> bool | None:
            own = version.facts.get("non_mailing")
            if own is not None:
                return bool(own)
            others = [
                speaking[key].facts.get("non_mailing") if key in speaking else None
                for key in self._spoken_for(version)
            ]
            return True if True in others else None if None in others or not others else False

        return said

    def _body(self, version: Version) -> tuple[Version, bytes] | None:
        """The body as it was stored, of this version or a later one; None if it is not held any more, or is damaged."""
        known: Version | None = version
        for _ in range(_LOOKS):
            if known is None:
                return None
            data = _read(self._root / known.path)
            if data is not None and hashlib.sha256(data).digest() == known.sha256:
                return known, data
            known = self._current([version.key]).get(version.key)
        self.faults.append(
            f"{version.path} is not what was stored, so {version.key} was left out. Run `filingd verify --repair`."
        )
        return None


def _read(path: Path) -> bytes | None:
    """A whole file; None if there is none, or if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        with open(fd, "rb") as file:
            return file.read()
    except OSError:
        return None
