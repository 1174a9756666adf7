"""Days as a calendar: a row a month, a cell a day, its state by letter and by colour."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import click

from filingd.cli.coverage import DayState

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from filingd.cli.coverage import Day


class Look(NamedTuple):
    """How a state is shown. The letter alone says everything: colour is for the eye only."""

    letter: str
    colour: str
    meaning: str


LOOKS: Mapping[DayState, Look] = {
    DayState.SEALED: Look("S", "green", "sealed: complete and verified"),
    DayState.EMPTY: Look("E", "cyan", "sealed as empty: nothing was published"),
    DayState.OPEN: Look("o", "yellow", "open"),
    DayState.ALARMING: Look("!", "bright_red", "open, and somebody should look"),
    DayState.ABSENT: Look("x", "magenta", "not obtainable"),
    DayState.NOT_DUE: Look(".", "bright_black", "not due yet"),
    DayState.UNPLANNED: Look("?", "bright_yellow", "expected, but not planned yet"),
}
_MARGIN = 9
_MARKED_DAYS = (1, 5, 10, 15, 20, 25, 30)


def family_of(day: Day) -> str:
    """What a day is a day of: `nbb/authentic`."""
    return day.group.rpartition("/")[0]


def calendars(days: Sequence[Day], *, colour: bool) -> Iterator[str]:
    """One calendar with its legend for each family."""
    for number, (family, group) in enumerate(itertools.groupby(days, key=family_of)):
        if number:
            yield ""
        members = list(group)
        first, last = members[0].day, members[-1].day
        yield f"{family}   {first} to {last}, {len(members)} {'day' if len(members) == 1 else 'days'}"
        yield ""
        yield from _months(members, colour=colour)
        yield ""
        yield from legend(members, colour=colour)


def legend(days: Iterable[Day], *, colour: bool) -> Iterator[str]:
    """The states that occur, with their counts; what is complete first."""
    counts = Counter(day.state for day in days)
    for state, look in LOOKS.items():
        if counts[state]:
            yield f"  {_painted(look.letter, look, colour=colour)} {counts[state]:>5}  {look.meaning}"


def _months(days: Sequence[Day], *, colour: bool) -> Iterator[str]:
    yield _header()
    for (year, month), cells in itertools.groupby(days, key=lambda each: (each.day.year, each.day.month)):
        by_number = {cell.day.day: cell for cell in cells}
        row = " ".join(_cell(by_number.get(number), colour=colour) for number in range(1, max(by_number) + 1))
        yield f"{f'{year}-{month:02}':<{_MARGIN}}{row.rstrip()}"


def _header() -> str:
    line = [" "] * (_MARGIN + 2 * 31)
    for number in _MARKED_DAYS:
        at = _MARGIN + 2 * (number - 1)
        line[at : at + len(str(number))] = str(number)
    return "".join(line).rstrip()


def _cell(day: Day | None, *, colour: bool) -> str:
    if day is None:
        return " "
    look = LOOKS[day.state]
    return _painted(look.letter, look, colour=colour)


def _painted(text: str, look: Look, *, colour: bool) -> str:
    return click.style(text, fg=look.colour, bold=look.letter in "!?" or None) if colour else text


def day_name(day: dt.date) -> str:
    """`2026-11-20 Fri`: whether it is a weekend matters to whoever looks."""
    return f"{day.isoformat()} {day:%a}"
