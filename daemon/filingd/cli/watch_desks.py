"""Which registry's watchlists a command means: told by `--registry`, by the name of a list, or by how a number is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from filingd.core.errors import ConfigError
from filingd.core.watchlist import CompanyNumberError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filingd.adapters.watchlists import ListEditor, WatchlistFolder
    from filingd.ports import Companies
    from filingd.settings import Settings

FIRST_LIST = "watchlist"


class Desk(NamedTuple):
    """The watchlists of one registry."""

    registry: str
    companies: Companies
    folder: WatchlistFolder

    @property
    def editor(self) -> ListEditor:
        """For whoever changes single lists."""
        return self.folder.editor()


def desks_of(settings: Settings, registry: str | None = None) -> list[Desk]:
    """The watchlists of all registries that are configured, or of one.

    Raises:
        ConfigError: that one is not configured, or none that knows companies.
    """
    from filingd import app

    joined = app.registry_of(settings)
    folders = app.watched_by(settings, joined)
    found = [
        Desk(companies.prefix.partition("/")[0], companies, folder)
        for companies, folder in zip(joined.companies, folders, strict=True)
    ]
    wanted = [desk for desk in found if registry in (None, desk.registry)]
    if not wanted:
        names = ", ".join(desk.registry for desk in found) or "none"
        raise ConfigError(f"No registry {registry} with companies is configured. There are: {names}.")
    return wanted


class Sorted(NamedTuple):
    """Numbers in plain form, each once, by the place of their desk; and what is wrong with those that are none."""

    by_desk: list[list[str]]
    bad: list[str]


def sort_numbers(desks: Sequence[Desk], texts: Iterable[str]) -> Sorted:
    """Find the desk of each number: the only one whose registry understands it, or the only one that need not add zeros."""
    found: list[dict[str, None]] = [{} for _ in desks]
    bad = []
    for text in texts:
        place = _place(desks, text)
        if isinstance(place, str):
            bad.append(f"{shown(text)}: {place}")
        else:
            found[place][desks[place].companies.plain_number(text)] = None
    return Sorted([list(numbers) for numbers in found], bad)


def _place(desks: Sequence[Desk], text: str) -> int | str:
    """The place of the desk, or why there is none."""
    plain: dict[int, str] = {}
    refusals = []
    for place, desk in enumerate(desks):
        try:
            plain[place] = desk.companies.plain_number(text)
        except CompanyNumberError as error:
            refusals.append(str(error))
    digits = "".join(sign for sign in text if sign.isdecimal())
    exact = [place for place, number in plain.items() if number == digits]
    likely = exact if len(exact) == 1 else list(plain)
    if len(likely) == 1:
        return likely[0]
    if likely:
        names = " or ".join(f"--registry {desks[place].registry}" for place in likely)
        return f"It may be a number of several registries; say which with {names}."
    return (
        refusals[0]
        if len(set(refusals)) == 1
        else " ".join(f"{desk.registry}: {refusal}" for desk, refusal in zip(desks, refusals, strict=True))
    )


def desk_of_list(desks: Sequence[Desk], name: str, names_of: Callable[[Desk], Sequence[str]]) -> Desk:
    """The desk that has a list or search of that name, or the only one there is.

    Raises:
        click.UsageError: several have one of that name, or none of several has.
    """
    having = [desk for desk in desks if name in names_of(desk)] or list(desks)
    if len(having) == 1:
        return having[0]
    names = " or ".join(f"--registry {desk.registry}" for desk in having)
    raise click.UsageError(f"Say which registry {name} is for: {names}.")


def only_list(desk: Desk) -> str:
    """The list that numbers are added to if none is named.

    Raises:
        click.UsageError: there are several.
    """
    names = desk.editor.names()
    if len(names) > 1:
        raise click.UsageError(f"There are several lists: say which with --list ({', '.join(names)}).")
    return names[0] if names else FIRST_LIST
