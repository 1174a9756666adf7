"""`filingd watch`: edit the watchlists, and show what is known of the companies in them. Works beside a running daemon,
which notices by itself."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.instants import iso_minute
from filingd.cli.options import (
    config_option,
    json_option,
    load_settings,
    opened_catalogue,
    opened_manifest,
)
from filingd.core.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.adapters.watchlists import ListEditor, WatchlistFolder
    from filingd.cli.watch_report import AnswerReport, CompanyReport, ListReport, WatchReport
    from filingd.core.catalogue import Entry as CatalogueEntry
    from filingd.core.model import Item
    from filingd.core.watchlist import Entry, Finding
    from filingd.ports import Companies, Registry
    from filingd.settings import Settings

FIRST_LIST = "watchlist"
_LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SHOWN_PROBLEMS = 20
_ADD_EXAMPLE = """\b
Examples:
  filingd watch add 0403.101.811 BE0403834160
  filingd watch add --list clients --note "since 2026" 0403.101.811

\b
Exit codes: 0 all are in the list now; 1 some numbers are none, the others were added.
"""
_REMOVE_EXAMPLE = """\b
Examples:
  filingd watch remove 0403.101.811
  filingd watch remove --list clients 0403.101.811

\b
Exit codes: 0 all were removed; 1 some numbers are none, or were in no list.
"""
_IMPORT_EXAMPLE = """\b
Examples:
  filingd watch import clients.csv --list clients
  grep -h Gent *.csv | filingd watch import - --list gent

\b
Exit codes: 0 every line was understood; 1 some were not, the others were imported.
"""
_LIST_EXAMPLE = """\b
Examples:
  filingd watch list
  filingd watch list 0403.101.811
  filingd watch list --list clients --limit 0 --json | jq '.companies[] | select(.documents_wanted > 0)'
"""


class _ListName(click.ParamType[str]):
    """The name of a list: it becomes the name of a file."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).removesuffix(".csv")
        if _LIST_NAME.fullmatch(text) is None:
            self.fail(
                f"{value!r} cannot be the name of a list: use letters, digits, dots, dashes.", param, ctx
            )
        return text


@click.group()
def watch() -> None:
    """Follow companies: whatever they file, and have filed, is fetched.

    A watchlist is a CSV file with one number a line, behind a comma whatever you want to remember. These commands edit the
    files as you could by hand; a running daemon notices within seconds.
    """


# ------------------------------------------------------------------------------------------ add, import


@watch.command(epilog=_ADD_EXAMPLE)
@config_option
@click.option("--list", "name", type=_ListName(), help="The list; needed if there are several.")
@click.option("--note", default="", help="What to remember of them.")
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER...")
def add(config_path: Path, name: str | None, note: str, numbers: tuple[str, ...]) -> int:
    """Add companies to a list; it is made if it is not there."""
    from filingd.core.watchlist import Entry

    settings = load_settings(config_path)
    companies, folder = _opened(settings)
    good, bad = _understood(companies, numbers)
    editor = folder.editor()
    name = name or _only_list(editor)
    _say_added(editor, name, [Entry(number, note) for number in good], good)
    return _end(bad)


@watch.command("import", epilog=_IMPORT_EXAMPLE)
@config_option
@click.option("--list", "name", type=_ListName(), required=True, help="The list they are added to.")
@click.argument("file", type=click.File("rb"))
def import_(config_path: Path, name: str, file: Any) -> int:
    """Add the companies of a CSV file to a list, with their notes. - is standard input."""
    from filingd.core.watchlist import Entry, Finding, lines_of

    settings = load_settings(config_path)
    companies, folder = _opened(settings)
    text = file.read().decode("utf-8-sig", "surrogateescape")
    lines = list(lines_of(text, companies.plain_number))
    entries = [line for line in lines if isinstance(line, Entry)]
    _say_added(folder.editor(), name, entries, [entry.number for entry in entries])
    findings = [line for line in lines if isinstance(line, Finding)]
    return _end([_told(file.name, finding) for finding in findings if finding.is_bad])


def _say_added(editor: ListEditor, name: str, entries: Sequence[Entry], numbers: Sequence[str]) -> None:
    if not numbers:
        return
    added, known = editor.add(name, entries)
    there = f", {len(known):,} were in it already" if known else ""
    click.echo(f"{len(added):,} added to {editor.path(name)}{there}")


def _told(file_name: str, finding: Finding) -> str:
    return f"{file_name}, line {finding.line}: {finding.value}: {finding.text}"


# ------------------------------------------------------------------------------------------ remove


@watch.command(epilog=_REMOVE_EXAMPLE)
@config_option
@click.option("--list", "name", type=_ListName(), help="This list alone; without it, every list.")
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER...")
def remove(config_path: Path, name: str | None, numbers: tuple[str, ...]) -> int:
    """Take companies out of the lists. What is stored of them stays; nothing more is asked."""
    settings = load_settings(config_path)
    companies, folder = _opened(settings)
    good, bad = _understood(companies, numbers)
    editor = folder.editor()
    left = dict.fromkeys(good)
    for each in [name] if name else editor.names():
        removed = editor.remove(each, good)
        if removed:
            click.echo(f"{len(removed):,} removed from {editor.path(each)}")
        for number in removed:
            left.pop(number, None)
    where = f"the list {name}" if name else "any list"
    return _end([*bad, *(f"{number}: It is not in {where}." for number in left)])


# ------------------------------------------------------------------------------------------ list


@watch.command("list", epilog=_LIST_EXAMPLE)
@config_option
@json_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of --json, and nothing else."
)
@click.option("--list", "name", type=_ListName(), help="This list alone.")
@click.option("--limit", type=click.IntRange(min=0), default=200, show_default=True,
              help="At most so many companies; 0: all.")  # fmt: skip
@click.argument("numbers", nargs=-1, metavar="[NUMBER]...")
def list_(config_path: Path, as_json: bool, wants_schema: bool, name: str | None, limit: int,
          numbers: tuple[str, ...]) -> int:  # fmt: skip
    """Show the lists, and for each company what is known: when it was asked about, its filings, documents had and wanted."""
    import json

    from filingd.cli import watch_report

    if wants_schema:
        click.echo(json.dumps(watch_report.schema(), indent=2))
        return ExitCode.OK
    settings = load_settings(config_path)
    companies, _ = _opened(settings)
    good, bad = _understood(companies, numbers)
    report = _Look(settings, name, good if numbers else None, limit or sys.maxsize).report()
    text = json.dumps(watch_report.as_facts(report), indent=2) if as_json else "\n".join(_text(report))
    click.echo(text)
    return _end(bad)


class _Look:
    """One look at the lists, the manifest and the catalogue."""

    def __init__(
        self, settings: Settings, name: str | None, numbers: Sequence[str] | None, limit: int
    ) -> None:
        from filingd import app

        self._settings = settings
        self._registry: Registry = app.registry_of(settings)
        self._folder = app.watched_by(settings, self._registry)[0]
        self._name = name
        self._numbers = numbers
        self._limit = limit

    def report(self) -> WatchReport:
        """What there is to tell.

        Raises:
            ConfigError: there is no such list.
            StoreError: manifest or catalogue cannot be read.
        """
        from filingd.cli import watch_report as told

        reading = self._folder.look()
        companies = self._registry.companies[0]
        assert reading is not None, "the first look always reads"
        companies.follow(reading.watched)
        lists = self._entries()
        wanted = self._wanted(lists)
        return told.WatchReport(
            told.FORMAT,
            [self._list(name, len(entries)) for name, entries in lists.items()],
            len(wanted),
            self._companies(wanted[: self._limit], lists, companies),
            len(wanted) > self._limit,
            list(reading.findings),
            list(remarks_on_companies(self._settings)),
        )

    def _entries(self) -> dict[str, dict[str, Entry]]:
        """The companies of each list, by number."""
        from filingd.core.watchlist import Entry

        editor = self._folder.editor()
        names = editor.names()
        if self._name is not None and self._name not in names:
            raise ConfigError(
                f"There is no list {self._name}: {editor.path(self._name)} does not exist. "
                f"There are: {', '.join(names) or 'none'}."
            )
        return {
            name: {line.number: line for line in editor.lines(name) if isinstance(line, Entry)}
            for name in names
            if self._name in (None, name)
        }

    def _wanted(self, lists: Mapping[str, Mapping[str, Entry]]) -> list[str]:
        there = {number for entries in lists.values() for number in entries}
        return sorted(there if self._numbers is None else there & set(self._numbers))

    def _list(self, name: str, count: int) -> ListReport:
        from filingd.cli.watch_report import ListReport

        terms = self._folder.terms_of(name)
        path = str(self._folder.editor().path(name))
        return ListReport(
            name,
            path,
            count,
            terms.refresh_interval_s,
            sorted(getattr(terms, "documents", ())),
            getattr(terms, "latest", 0),
            getattr(terms, "improved", False),
        )

    def _companies(
        self, numbers: Sequence[str], lists: Mapping[str, Mapping[str, Entry]], companies: Companies
    ) -> list[CompanyReport]:
        from contextlib import ExitStack

        with ExitStack() as stack:
            manifest = catalogue = None
            if numbers and self._settings.manifest_path.exists():
                manifest = stack.enter_context(opened_manifest(self._settings))
                catalogue = _catalogue_if_there(stack, self._settings)
            return [_company(number, lists, companies, manifest, catalogue) for number in numbers]


def _catalogue_if_there(stack: Any, settings: Settings) -> CatalogueReader | None:
    """Without a catalogue, filings are simply not known yet."""
    from filingd.core.layout import CATALOGUE_NAME

    if not (settings.store.path / CATALOGUE_NAME).exists():
        return None
    found: CatalogueReader = stack.enter_context(opened_catalogue(settings))
    return found


def _company(
    number: str,
    lists: Mapping[str, Mapping[str, Entry]],
    companies: Companies,
    manifest: ManifestReader | None,
    catalogue: CatalogueReader | None,
) -> CompanyReport:
    from filingd.cli.watch_report import CompanyReport
    from filingd.core.model import EMPTY_STATES, FINISHED_STATES

    own = {name: entries[number] for name, entries in lists.items() if number in entries}
    filings = catalogue.filings_of(number) if catalogue else []
    items = manifest.items(companies.document_keys(filings)).values() if manifest else []
    return CompanyReport(
        number,
        list(own),
        _name_in(filings),
        next(iter(own.values())).note,
        [_answer(key, manifest) for key in companies.keys(number)],
        len(filings),
        sum(len({(one.place.kind, one.place.variant) for one in entry.documents}) for entry in filings),
        sum(item.state not in FINISHED_STATES for item in items),
        sum(item.state in EMPTY_STATES for item in items),
    )


def _name_in(filings: Sequence[CatalogueEntry]) -> str | None:
    names = (listing.filing.enterprise_name for entry in filings for listing in entry.listings)
    return next((name for name in names if name), None)


def _answer(key: str, manifest: ManifestReader | None) -> AnswerReport:
    from filingd.cli.watch_report import AnswerReport

    item = manifest.items([key]).get(key) if manifest else None
    if manifest is None or item is None:
        return AnswerReport(key, None, None, None, None)
    return AnswerReport(key, item.state.name.lower(), _came_at(item, manifest), item.due_at, item.reason)


def _came_at(item: Item, manifest: ManifestReader) -> float | None:
    if item.stored_at is None:
        return item.nothing_at
    version = manifest.current_versions([item.key]).get(item.key)
    return max(item.stored_at, (version.verified_at if version else None) or 0.0)


def remarks_on_companies(settings: Settings) -> Iterator[str]:
    """What the subscriptions mean for the companies of watchlists."""
    subscribed = settings.subscriptions
    if "authentic-query" not in subscribed:
        yield (
            "Nothing is asked about companies: that takes a subscription to authentic-query. "
            "Write [nbb.products.authentic-query] with its `keys`."
        )
    wants_improved = settings.nbb is not None and any(each.improved for each in settings.nbb.watch.values())
    if wants_improved and "improved" not in subscribed:
        yield (
            "Improved data of companies are not expected: that takes a subscription to improved. "
            "Write [nbb.products.improved] with its `keys`, or take `improved` out of [nbb.watch]."
        )


# ------------------------------------------------------------------------------------------ text


def _text(report: WatchReport) -> Iterator[str]:
    if not report.lists:
        yield "There is no watchlist. `filingd watch add NUMBER` makes a first one."
    for each in report.lists:
        yield f"{each.name:<16} {each.companies:,} companies  {', '.join(_terms_told(each))}  {each.path}"
    if report.companies:
        yield ""
    for company in report.companies:
        yield from _company_told(company)
    if report.more:
        yield f"… and more, {report.company_count:,} in all: raise --limit, or name a --list or a NUMBER"
    if report.problems:
        yield ""
    for problem in report.problems:
        yield f"problem: {problem}"
    for remark in report.remarks:
        yield f"note: {remark}"


def _terms_told(each: ListReport) -> Iterator[str]:
    from filingd.core.units import format_duration

    yield f"every {format_duration(each.refresh_interval_s)}"
    yield "/".join(each.documents) or "no documents"
    yield f"the latest {each.latest}" if each.latest else "all years"
    if each.improved:
        yield "improved data"


def _company_told(company: CompanyReport) -> Iterator[str]:
    known = company.name or company.note
    yield f"{company.number}  {known}".rstrip() + f"  [{', '.join(company.lists)}]"
    wanted = f", {company.documents_wanted:,} on their way" if company.documents_wanted else ""
    missing = f", {company.documents_unavailable:,} not available" if company.documents_unavailable else ""
    yield f"            {company.filings:,} filings, {company.documents:,} documents{wanted}{missing}"
    for answer in company.answers:
        yield f"            {answer.key.rpartition('/')[2]}: {', '.join(_answer_told(answer))}"


def _answer_told(answer: AnswerReport) -> Iterator[str]:
    yield answer.state or "not planned yet"
    if answer.came_at is not None:
        word = "nothing known since" if answer.state == "empty" else "last had"
        yield f"{word} {iso_minute(answer.came_at)}"
    if answer.next_at is not None:
        yield f"next {iso_minute(answer.next_at)}"
    if answer.reason and answer.state != "empty":
        yield answer.reason


# ------------------------------------------------------------------------------------------ what all share


def _opened(settings: Settings) -> tuple[Companies, WatchlistFolder]:
    from filingd import app

    registry = app.registry_of(settings)
    return registry.companies[0], app.watched_by(settings, registry)[0]


def _understood(companies: Companies, texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The numbers in plain form, each once, and what is wrong with those that are none."""
    from filingd.core.watchlist import CompanyNumberError, shown

    good: dict[str, None] = {}
    bad: list[str] = []
    for text in texts:
        try:
            good[companies.plain_number(text)] = None
        except CompanyNumberError as error:
            bad.append(f"{shown(text)}: {error}")
    return list(good), bad


def _only_list(editor: ListEditor) -> str:
    names = editor.names()
    if len(names) > 1:
        raise click.UsageError(f"There are several lists: say which with --list ({', '.join(names)}).")
    return names[0] if names else FIRST_LIST


def _end(bad: Sequence[str]) -> int:
    for sentence in bad[:_SHOWN_PROBLEMS]:
        click.echo(sentence, err=True)
    if len(bad) > _SHOWN_PROBLEMS:
        click.echo(f"… and {len(bad) - _SHOWN_PROBLEMS:,} more", err=True)
    return ExitCode.FAILED if bad else ExitCode.OK
