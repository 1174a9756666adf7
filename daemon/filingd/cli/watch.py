"""`filingd watch`: edit the watchlists, and show what is known of the companies in them. Works beside a running daemon,
which notices by itself."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.options import config_option, json_option, load_settings
from filingd.cli.watch_desks import desk_of_list, desks_of, only_list, sort_numbers
from filingd.core.errors import ExitCode
from filingd.core.watchlist import Entry, Finding, SearchError, lines_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from filingd.adapters.watchlists import ListEditor
    from filingd.cli.watch_desks import Desk

_LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_FIELD = re.compile(r"[A-Za-z_]+", re.ASCII)
_SHOWN_PROBLEMS = 20
_ADD_EXAMPLE = """\b
Examples:
  filingd watch add 0403.101.811 BE0403834160
  filingd watch add --list clients --note "since 2026" 0403.101.811
  filingd watch add --registry kvk --list clients 69599084
  filingd watch add --search molens naam=molen plaats=Utrecht type=hoofdvestiging

\b
Exit codes: 0 all are in the list now; 1 some numbers are none, the others were added.
"""
_REMOVE_EXAMPLE = """\b
Examples:
  filingd watch remove 0403.101.811
  filingd watch remove --list clients 0403.101.811
  filingd watch remove --search molens

\b
Exit codes: 0 all were removed; 1 some numbers are none, or were in no list.
"""
_IMPORT_EXAMPLE = """\b
Examples:
  filingd watch import clients.csv --list clients
  grep -h Gent *.csv | filingd watch import - --list gent
  filingd watch import molens.toml --list molens

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
        text = str(value).removesuffix(".csv").removesuffix(".toml")
        if _LIST_NAME.fullmatch(text) is None:
            self.fail(
                f"{value!r} cannot be the name of a list: use letters, digits, dots, dashes.", param, ctx
            )
        return text


def registry_option(command: Any) -> Any:
    """Add `--registry`, which arrives as `registry`."""
    return click.option(
        "--registry",
        metavar="NAME",
        help="nbb or kvk; needed if several are configured and nothing else tells.",
    )(command)


@click.group()
def watch() -> None:
    """Follow companies: what the registries know of them is fetched, and fetched again.

    A watchlist is a CSV file with one number a line, behind a comma whatever you want to remember; a saved search is a TOML
    file. These commands edit the files as you could by hand; a running daemon notices within seconds.
    """


# ------------------------------------------------------------------------------------------ add, import


@watch.command(epilog=_ADD_EXAMPLE)
@config_option
@registry_option
@click.option("--list", "name", type=_ListName(), help="The list; needed if there are several.")
@click.option("--note", default="", help="What to remember of them.")
@click.option(
    "--search", type=_ListName(), help="Save a search under this name; FIELD=VALUE... say what for."
)
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER... | FIELD=VALUE...")
def add(
    config_path: Path,
    registry: str | None,
    name: str | None,
    note: str,
    search: str | None,
    numbers: tuple[str, ...],
) -> int:
    """Add companies to a list, which is made if it is not there, or save a search whose results are followed."""
    desks = desks_of(load_settings(config_path), registry)
    if search is not None:
        return _add_search(desks, search, _toml_of(numbers))
    found = sort_numbers(_having(desks, name), numbers)
    for desk, good in zip(_having(desks, name), found.by_desk, strict=True):
        if good:
            _say_added(desk.editor, name or only_list(desk), [Entry(number, note) for number in good])
            _say([f"{shown(text)}: {told}" for text, told in _remarks(desk, numbers, good)])
    return _end(found.bad)


def _remarks(desk: Desk, texts: Sequence[str], good: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is worth knowing of those texts that became numbers of a registry."""
    for text in texts:
        told = desk.companies.remark_on(text)
        if told is not None and desk.companies.plain_number(text) in good:
            yield text, told


@watch.command("import", epilog=_IMPORT_EXAMPLE)
@config_option
@registry_option
@click.option(
    "--list",
    "name",
    type=_ListName(),
    required=True,
    help="The list they are added to, or the search that is saved.",
)
@click.argument("file", type=click.File("rb"))
def import_(config_path: Path, registry: str | None, name: str, file: Any) -> int:
    """Add the companies of a CSV file to a list, with their notes, or save the search of a TOML file. - is standard input."""
    desks = desks_of(load_settings(config_path), registry)
    text = file.read().decode("utf-8-sig", "surrogateescape")
    if file.name.endswith(".toml"):
        return _add_search(desks, name, text)
    desk = desk_of_list(desks, name, lambda each: each.editor.names())
    lines = list(lines_of(text, desk.companies.plain_number, desk.companies.remark_on))
    _say_added(desk.editor, name, [line for line in lines if isinstance(line, Entry)])
    findings = [line for line in lines if isinstance(line, Finding)]
    code = _end([_told(file.name, finding) for finding in findings if finding.is_bad])
    _say([_told(file.name, finding) for finding in findings if finding.is_remark])
    return code


def _having(desks: Sequence[Desk], name: str | None) -> Sequence[Desk]:
    """Those that have a list of that name, if any has."""
    return [desk for desk in desks if name in desk.editor.names()] or desks


def _say_added(editor: ListEditor, name: str, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    added, known = editor.add(name, entries)
    there = f", {len(known):,} were in it already" if known else ""
    click.echo(f"{len(added):,} added to {editor.path(name)}{there}")


def _add_search(desks: Sequence[Desk], name: str, text: str) -> int:
    desk = desk_of_list([desk for desk in desks if desk.companies.knows_searches] or desks, name, _searches)
    try:
        changed = desk.editor.save_search(name, text)
    except SearchError as error:
        return _end([f"{name}: {error}"])
    click.echo(f"{'saved' if changed else 'there already'}: {desk.editor.search_path(name)}")
    return ExitCode.OK


def _searches(desk: Desk) -> Sequence[str]:
    return desk.editor.searches()


def _toml_of(fields: Sequence[str]) -> str:
    """The TOML of FIELD=VALUE; one that is given several times becomes a list."""
    table: dict[str, list[str]] = {}
    for field in fields:
        name, sign, value = field.partition("=")
        if not sign or _FIELD.fullmatch(name) is None:
            raise click.UsageError(f"{field!r} is no FIELD=VALUE; write such as naam=molen.")
        table.setdefault(name, []).append(value)
    return "".join(f"{name} = {_toml_value(values)}\n" for name, values in table.items())


def _toml_value(values: Sequence[str]) -> str:
    if len(values) > 1:
        return f"[{', '.join(_toml_value([value]) for value in values)}]"
    (value,) = values
    return value if value in ("true", "false") else json.dumps(value, ensure_ascii=False)


def _told(file_name: str, finding: Finding) -> str:
    return f"{file_name}, line {finding.line}: {finding.value}: {finding.text}"


# ------------------------------------------------------------------------------------------ remove


@watch.command(epilog=_REMOVE_EXAMPLE)
@config_option
@registry_option
@click.option("--list", "name", type=_ListName(), help="This list alone; without it, every list.")
@click.option("--search", type=_ListName(), help="Remove this saved search.")
@click.argument("numbers", nargs=-1, metavar="[NUMBER]...")
def remove(
    config_path: Path, registry: str | None, name: str | None, search: str | None, numbers: tuple[str, ...]
) -> int:
    """Take companies out of the lists, or remove a saved search. What is stored of them stays; nothing more is asked."""
    desks = desks_of(load_settings(config_path), registry)
    if search is not None:
        return _remove_search(desks, search)
    if not numbers:
        raise click.UsageError("Name the numbers, or a --search.")
    found = sort_numbers(_having(desks, name), numbers)
    missing = [
        number
        for desk, good in zip(_having(desks, name), found.by_desk, strict=True)
        for number in _removed(desk.editor, name, good)
    ]
    where = f"the list {name}" if name else "any list"
    return _end([*found.bad, *(f"{number}: It is not in {where}." for number in missing)])


def _removed(editor: ListEditor, name: str | None, numbers: Sequence[str]) -> list[str]:
    """Remove numbers; those that are in no list."""
    left = dict.fromkeys(numbers)
    for each in [name] if name else editor.names():
        removed = editor.remove(each, numbers) if numbers else []
        if removed:
            click.echo(f"{len(removed):,} removed from {editor.path(each)}")
        for number in removed:
            left.pop(number, None)
    return list(left)


def _remove_search(desks: Sequence[Desk], name: str) -> int:
    having = [desk for desk in desks if name in desk.editor.searches()]
    if not having:
        known = ", ".join(each for desk in desks for each in desk.editor.searches()) or "none"
        return _end([f"There is no saved search {name}. There are: {known}."])
    editor = desk_of_list(having, name, _searches).editor
    editor.remove_search(name)
    click.echo(f"removed: {editor.search_path(name)}")
    return ExitCode.OK


# ------------------------------------------------------------------------------------------ list


@watch.command("list", epilog=_LIST_EXAMPLE)
@config_option
@json_option
@registry_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of --json, and nothing else."
)
@click.option("--list", "name", type=_ListName(), help="This list alone.")
@click.option("--limit", type=click.IntRange(min=0), default=200, show_default=True,
              help="At most so many companies; 0: all.")  # fmt: skip
@click.argument("numbers", nargs=-1, metavar="[NUMBER]...")
def list_(config_path: Path, as_json: bool, registry: str | None, wants_schema: bool, name: str | None, limit: int,
          numbers: tuple[str, ...]) -> int:  # fmt: skip
    """Show lists and saved searches, and for each company what is known: when it was asked about, what is held and wanted."""
    from filingd.cli import watch_look, watch_report

    if wants_schema:
        click.echo(json.dumps(watch_report.schema(), indent=2))
        return ExitCode.OK
    settings = load_settings(config_path)
    found = sort_numbers(desks_of(settings, registry), numbers)
    wanted = found.by_desk if numbers else None
    report = watch_look.report(settings, desks_of(settings, registry), name, wanted, limit or sys.maxsize)
    as_text = (
        json.dumps(watch_report.as_facts(report), indent=2) if as_json else "\n".join(watch_look.text(report))
    )
    click.echo(as_text)
    return _end(found.bad)


def _end(bad: Sequence[str]) -> int:
    _say(bad)
    return ExitCode.FAILED if bad else ExitCode.OK


def _say(sentences: Sequence[str]) -> None:
    for sentence in sentences[:_SHOWN_PROBLEMS]:
        click.echo(sentence, err=True)
    if len(sentences) > _SHOWN_PROBLEMS:
        click.echo(f"… and {len(sentences) - _SHOWN_PROBLEMS:,} more", err=True)
